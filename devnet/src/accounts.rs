//! Accounts that send private transfers to each other.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_deployment::{Account, Amount, L2Account};
use rollmill_l1::Azt;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::{EthAddress, Fr, Tx};
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keys::{Address, Keys};
use rollmill_pxe::wallet::{Order, Wallet};

use crate::keys::CircuitKeys;
use crate::{Error, Progress};

/// Notes of each account at genesis, and their amount. Two, so that the first transfer can join
/// them: an account sends a little more than one note holds.
const NOTES: usize = 2;
const NOTE_VALUE: u64 = 1 << 40;
/// Fee balance of each account: enough for some hundred thousand transactions at the first price.
const FEE_BALANCE: u64 = 1 << 50;

/// The accounts, in a ring: each sends to the next.
#[derive(Debug)]
pub struct Accounts {
    wallets: Vec<Wallet>,
    keys: Arc<CircuitKeys>,
    rng: ChaCha20Rng,
    rounds: u64,
}

/// Keys of `n` accounts, derived from one seed.
pub fn account_keys(seed: u64, n: usize) -> Vec<Keys> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    (0..n).map(|_| Keys::generate(&mut rng)).collect()
}

/// What each account has at genesis: notes and a public balance. `others` are accounts whose keys are elsewhere.
pub fn facts(accounts: &[Keys], others: &[Address]) -> Vec<Account> {
    let amount = |units| Amount(Azt::from_units(units));
    let account = |address| Account {
        address: L2Account(address),
        notes_azt: vec![amount(NOTE_VALUE); NOTES],
        public_azt: Some(amount(FEE_BALANCE)),
    };
    let addresses = accounts.iter().map(Keys::address).chain(others.iter().copied());
    addresses.map(account).collect()
}

impl Accounts {
    /// Wallets with empty state.
    pub fn new(seed: u64, accounts: Vec<Keys>, keys: Arc<CircuitKeys>) -> Self {
        let wallets = accounts.into_iter().map(Wallet::new).collect();
        // Separate from the stream of random numbers for the keys.
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(1);
        Self { wallets, keys, rng, rounds: 0 }
    }

    /// One transfer from each of the first `count` accounts to the next, proven and not sent.
    ///
    /// Every transfer of a round spends notes of another account, so they can be sent in any order.
    /// Proving blocks a thread for seconds, so it runs on a separate thread.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn prepare_round(
        &mut self,
        count: usize,
        node: &NodeClient,
        progress: &mut Progress,
    ) -> Result<Vec<Tx>, Error> {
        self.rounds += 1;
        let mut txs = Vec::with_capacity(count);
        for i in 0..count.min(self.wallets.len()) {
            let to = self.wallets[(i + 1) % self.wallets.len()].address();
            // The first round joins both genesis notes of an account.
            let amount = if self.rounds == 1 { NOTE_VALUE + 1 } else { 1_000 + self.rounds };
            progress.status(format!("account {i} proves a transfer"));
            let start = std::time::Instant::now();
            txs.push(self.prepare(i, Order::transfer(to, amount), node).await?);
            progress.line(&format!(
                "account {i} proved a private transfer of {amount} to account {}: {:.2} s",
                (i + 1) % self.wallets.len(),
                start.elapsed().as_secs_f64()
            ));
        }
        Ok(txs)
    }

    async fn prepare(
        &mut self,
        index: usize,
        order: Order,
        node: &NodeClient,
    ) -> Result<Tx, Error> {
        let keys = self.wallets[index].keys().clone();
        let mut wallet = std::mem::replace(&mut self.wallets[index], Wallet::new(keys));
        let (node, prover) = (node.clone(), Arc::clone(&self.keys));
        let mut rng = ChaCha20Rng::from_rng(&mut self.rng).map_err(|error| Error::Spawn {
            name: "the transfer's randomness".into(),
            source: std::io::Error::other(error),
        })?;
        let handle = tokio::runtime::Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let result = handle.block_on(async {
                wallet.sync(&node).await?;
                wallet.prepare(&node, prover.as_ref(), &order, &mut rng).await
            });
            (wallet, result)
        });
        let (wallet, result) =
            work.await.map_err(|error| PxeError::Prove(format!("the prover panicked: {error}")))?;
        self.wallets[index] = wallet;
        Ok(result?)
    }

    /// One transfer of account `index` to the next, proven and not sent.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn prepare_one(&mut self, index: usize, node: &NodeClient) -> Result<Tx, Error> {
        let to = self.wallets[(index + 1) % self.wallets.len()].address();
        self.prepare(index, Order::transfer(to, 1_000), node).await
    }

    /// A withdrawal of account `index` to an account on L1, proven and not sent.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn withdraw(
        &mut self,
        index: usize,
        to: EthAddress,
        amount: u64,
        node: &NodeClient,
    ) -> Result<Tx, Error> {
        self.prepare(index, Order::withdraw(to, amount), node).await
    }

    /// The claim of the deposit of account `index`, proven and not sent. `None` while no block has the deposit.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn claim(&mut self, index: usize, node: &NodeClient) -> Result<Option<Tx>, Error> {
        self.wallets[index].sync(node).await?;
        match self.wallets[index].find_deposit(node).await {
            Ok(deposit) => self.prepare(index, Order::claim(deposit), node).await.map(Some),
            Err(PxeError::NoDeposit { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sum of the notes of account `index`, after a look at the node.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn balance(&mut self, index: usize, node: &NodeClient) -> Result<u64, Error> {
        self.wallets[index].sync(node).await?;
        Ok(self.wallets[index].balance())
    }

    /// Units of account `index` on L2, after a look at the node: in notes, and in the public balance.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn units(&mut self, index: usize, node: &NodeClient) -> Result<(u64, u64), Error> {
        let notes = self.balance(index, node).await?;
        Ok((notes, self.wallets[index].fee_balance(node).await?))
    }

    /// Number of accounts.
    pub fn len(&self) -> usize {
        self.wallets.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.wallets.is_empty()
    }

    /// Spendable balances after reading the chain, to be shown at the end.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn balances(&mut self, node: &NodeClient) -> Result<Vec<u64>, Error> {
        let mut balances = Vec::new();
        for wallet in &mut self.wallets {
            wallet.sync(node).await?;
            balances.push(wallet.balance());
        }
        Ok(balances)
    }
}

/// The block that has a transaction; `None` while there is none.
///
/// # Errors
/// [`Error::Dropped`] once the node has given the transaction up, [`Error::Node`].
pub(crate) async fn block_of(tx: &Tx, node: &NodeClient) -> Result<Option<u64>, Error> {
    match node.transaction_status(&tx.hash()).await? {
        TxStatus::Included { block_number, .. } | TxStatus::Proven { block_number, .. } => {
            Ok(Some(block_number))
        }
        TxStatus::Dropped { reason } => Err(Error::Dropped { tx_hash: to_hex(&tx.hash()), reason }),
        TxStatus::Unknown | TxStatus::Pending { .. } => Ok(None),
    }
}

/// Requires that less than `limit` has passed while a transaction is in no block.
///
/// # Errors
/// [`Error::NotIncluded`].
pub(crate) fn require_time(tx_hash: &Fr, elapsed: Duration, limit: Duration) -> Result<(), Error> {
    match elapsed < limit {
        true => Ok(()),
        false => Err(Error::NotIncluded { tx_hash: to_hex(tx_hash), elapsed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_accounts() {
        let of = |seed| facts(&account_keys(seed, 3), &[]);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn a_transaction_is_waited_for_within_the_time_of_the_run_only() {
        let (hash, limit) = (Fr::from(7u64), Duration::from_secs(60));
        assert!(require_time(&hash, Duration::from_secs(59), limit).is_ok());
        let error = require_time(&hash, limit, limit).unwrap_err();
        assert_eq!(error.code(), "NET-044");
        assert!(error.to_string().contains(&to_hex(&hash)), "{error}");
    }
}
