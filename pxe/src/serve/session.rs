//! The work of one request on one account.

use std::sync::Arc;

use rand::rngs::OsRng;
use rollmill_node_client::wire::Field;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_pxe_store::Account;
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::Service;
use super::error::CallError;
use super::methods::reason;
use super::wire::{Receipt, Sent};
use crate::contracts;
use crate::error::PxeError;
use crate::keys::Address;
use crate::stored;
use crate::wallet::{Delivery, Earlier, IdempotencyKey, Order, Wallet, node_error};

/// An account whose turn it is.
pub(super) struct Session<'s> {
    pub(super) service: &'s Service,
    pub(super) wallet: Wallet,
    pub(super) runtime: Handle,
    pub(super) account: Account,
    /// Transactions of which the response informs the client.
    told: Vec<Fr>,
    /// As `told`, transactions of contracts.
    pub(super) told_calls: Vec<Fr>,
}

/// The result of a request, and where the request says that it has it.
type Answer<T> = (Result<T, CallError>, oneshot::Sender<()>);

impl Service {
    /// Runs `work` on an account once it is its turn, on a thread that may block: a sync decrypts, a transaction is
    /// proven. It is finished also if nobody waits for it any more.
    pub(super) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        address: &Address,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let account = Account(address.to_field());
        let queue = self.queue(account)?;
        // One is the service's, one is this request's, and each other request that uses the account or waits has one.
        if Arc::strong_count(&queue) > self.limits.of_account.saturating_add(1) {
            return Err(CallError::Busy);
        }
        let turn = tokio::time::timeout(self.limits.turn, queue.lock_owned()).await;
        let turn = turn.map_err(|_| CallError::Busy)?;
        let (answer, mut answered) = oneshot::channel();
        let (service, runtime) = (Arc::clone(self), Handle::current());
        tokio::task::spawn_blocking(move || service.work_now(account, turn, runtime, work, answer));
        let waited = tokio::time::timeout(self.limits.answer, &mut answered).await;
        let (result, taken) = match waited {
            Ok(Ok(answer)) => answer,
            // The work panicked, or the process ends.
            Ok(Err(_)) => return Err(CallError::Died),
            Err(_) => {
                // What was answered just now still counts; a later answer finds nobody.
                answered.close();
                let seconds = self.limits.answer.as_secs();
                answered.try_recv().map_err(|_| CallError::Late { seconds })?
            }
        };
        // From here to the response nothing waits, so a client that goes away does not drop this request any more.
        // The work waits for it, unless it panicked.
        let _ = taken.send(());
        result
    }

    /// Does `work` on the thread of the caller, which may block, and ends the turn.
    fn work_now<T>(
        &self,
        account: Account,
        mut turn: OwnedMutexGuard<Option<Wallet>>,
        runtime: Handle,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, CallError>,
        answer: oneshot::Sender<Answer<T>>,
    ) {
        let wallet = match turn.take() {
            Some(wallet) => Ok(wallet),
            None => stored::keys(&self.store, account)
                .and_then(|keys| stored::load(&self.store, account, keys)),
        };
        let wallet = match wallet {
            Ok(wallet) => wallet,
            Err(error) => {
                hand_over(answer, Err(error.into()));
                return;
            }
        };
        let mut session =
            Session { service: self, wallet, runtime, account, told: vec![], told_calls: vec![] };
        let result = work(&mut session);
        if !session.told.is_empty() || !session.told_calls.is_empty() {
            rollmill_service::failpoint!(blocking "pxe.before_report");
        }
        if hand_over(answer, result) {
            session.report();
        }
        *turn = Some(session.wallet);
    }
}

/// Whether a request took the result. A result on its way to a request that is dropped meanwhile is not taken, so its
/// transactions stay unreported. The wait is short: the request takes it at once, or is dropped.
fn hand_over<T>(answer: oneshot::Sender<Answer<T>>, result: Result<T, CallError>) -> bool {
    let (taken, is_taken) = oneshot::channel();
    answer.send((result, taken)).is_ok() && is_taken.blocking_recv().is_ok()
}

impl Session<'_> {
    /// Reads the chain up to the pending tip and saves what was found.
    pub(super) fn sync(&mut self) -> Result<(), CallError> {
        self.runtime.block_on(self.wallet.sync(&self.service.node))?;
        Ok(self.save()?)
    }

    fn save(&self) -> Result<(), PxeError> {
        stored::save(&self.service.store, self.account, &self.wallet)
    }

    /// As [`Self::sync`], before something is sent.
    ///
    /// # Errors
    /// [`PxeError::Interrupted`] once for transactions of which no client was informed: a user who repeats a request
    /// without a response would pay twice.
    pub(super) fn begin(&mut self) -> Result<(), CallError> {
        self.sync()?;
        let interrupted = self.wallet.unreported();
        if interrupted.is_empty() {
            return Ok(());
        }
        let hashes: Vec<String> = interrupted.iter().map(to_hex).collect();
        self.told = interrupted;
        Err(PxeError::Interrupted { hashes: hashes.join(", ") }.into())
    }

    /// As [`Self::begin`] for an order with a key: returns the transaction that an earlier request with the key made.
    /// Transactions of other requests are no concern of a client that repeats its own with their keys.
    ///
    /// # Errors
    /// Those of [`Wallet::recall`]. Those of [`Self::sync`] only if the key is new: what an earlier request made is on
    /// the disk, whether the node answers or not.
    pub(super) fn begin_keyed(
        &mut self,
        key: &IdempotencyKey,
        order: &Order,
    ) -> Result<Option<Sent>, CallError> {
        let synced = self.sync();
        match self.wallet.recall(key, order)? {
            Some(earlier) => Ok(Some(repeated(&earlier))),
            None => synced.map(|()| None),
        }
    }

    /// Builds, proves and sends the transaction of an order.
    ///
    /// # Errors
    /// Only when nothing was sent, or the node rejected it finally.
    pub(super) fn send(
        &mut self,
        order: &Order,
        key: Option<&IdempotencyKey>,
    ) -> Result<Sent, CallError> {
        let genesis = self.runtime.block_on(self.service.node.genesis()).map_err(node_error)?;
        let prover = self.service.prover(genesis.chain_id)?;
        let (service, account) = (self.service, self.account);
        let mut keep = |wallet: &Wallet| stored::save(&service.store, account, wallet);
        let (node, wallet, mut rng) = (&service.node, &mut self.wallet, OsRng);
        let delivery = wallet.deliver(node, &*prover, order, key, &mut rng, &mut keep);
        let (tx, doubt) = match self.runtime.block_on(delivery) {
            Ok(Delivery::Accepted(tx)) => (tx, None),
            Ok(Delivery::Unknown(tx, error)) => (tx, Some(error)),
            Ok(Delivery::Earlier(earlier)) => return Ok(repeated(&earlier)),
            Err(error) => {
                // Nothing was sent. That the state could not be saved does no harm: the next sync queries the node.
                if let Err(error) = self.save() {
                    tracing::warn!(%error, "wallet state not saved");
                }
                return Err(error.into());
            }
        };
        let hash = tx.hash();
        tracing::info!(tx = to_hex(&hash), "transaction sent");
        self.told.push(hash);
        let receipt = if doubt.is_none() { Receipt::Accepted } else { Receipt::Unknown };
        let doubt = doubt.as_ref().map(reason);
        Ok(Sent { hash: Field(hash), receipt, doubt, repeated: false })
    }

    /// Records that a client was informed of the transactions.
    fn report(&mut self) {
        for hash in std::mem::take(&mut self.told_calls) {
            if let Err(error) = contracts::report(&self.service.store, self.account, &hash) {
                tracing::warn!(%error, "wallet state not saved; the next request that sends something gets PXE-018");
            }
        }
        if self.told.is_empty() {
            return;
        }
        let told = std::mem::take(&mut self.told);
        told.iter().for_each(|hash| self.wallet.report(hash));
        if let Err(error) = self.save() {
            tracing::warn!(%error, "wallet state not saved; the next request that sends something gets PXE-018");
        }
    }
}

/// The result of a request that repeats an earlier one with its key.
pub(super) fn repeated(earlier: &Earlier) -> Sent {
    let (receipt, doubt) = match earlier.accepted {
        true => (Receipt::Accepted, None),
        false => {
            let doubt = PxeError::Unconfirmed { hash: to_hex(&earlier.tx_hash) };
            (Receipt::Unknown, Some(reason(&doubt)))
        }
    };
    Sent { hash: Field(earlier.tx_hash), receipt, doubt, repeated: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Race: a request is dropped when the result is on its way. Its transactions must stay unreported.
    #[test]
    fn only_a_result_that_the_request_says_it_has_is_taken() {
        for (is_read, says_so) in [(true, true), (true, false), (false, false)] {
            let (answer, answered) = oneshot::channel::<Answer<u64>>();
            let work = std::thread::spawn(move || hand_over(answer, Ok(7)));
            if is_read {
                let (result, taken) = answered.blocking_recv().unwrap();
                assert_eq!(result.unwrap(), 7);
                if says_so {
                    taken.send(()).unwrap();
                }
            } else {
                drop(answered);
            }
            assert_eq!(work.join().unwrap(), says_so, "read: {is_read}");
        }
    }
}
