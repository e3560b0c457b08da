//! What happens, in order.

use rollmill_errors::Bare;
use rollmill_l1::abi::{self, AztToken, Deployments, FeePortal, Registry, Rollup, word};
use rollmill_l1::alloy::consensus::Transaction;
use rollmill_l1::alloy::eips::BlockId;
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::primitives::{Address, Bytes, U256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::rpc::types::TransactionRequest;
use rollmill_l1::alloy::sol_types::{SolCall, SolError};
use rollmill_l1::{EpochProven, TxRequest};
use rollmill_node::PoolError;
use rollmill_node_client::ClientError;
use rollmill_protocol::{EthAddress, Fr, Tx, TxRejection};
use rollmill_pxe::withdrawal::Withdrawal;

use super::audit::{self, Unclaimed};
use super::{Person, Upgrade, unix_now};
use crate::Error;
use crate::bridge::{azt, base_units};
use crate::deployment::{TREASURY, send};
use crate::error::rpc;
use crate::governance::Motion;

/// Units that the user deposits on alpha, and moves to beta later.
const DEPOSIT: u64 = 1 << 40;
const MOVED: u64 = 1 << 39;
/// Units that somebody else deposits on beta before the user comes, and does not claim.
const EARLY: u64 = 1 << 38;

const ALPHA: usize = 0;
const BETA: usize = 1;

/// Gas of a submission that must revert. An estimate would reject it before it is sent.
const CROSSED_GAS: u64 = 3_000_000;

impl Upgrade<'_> {
    pub(super) async fn story(&mut self) -> Result<(), Error> {
        let first = self.alpha().await?;
        let genesis_time = self.sides[ALPHA].deployment.config.genesis_time;
        self.beta(genesis_time).await?;
        let withdrawal = self.both(&first).await?;
        self.paid_out(&withdrawal).await?;
        // So that the deposit's blocks and the claim's are in one epoch.
        self.epoch_starts().await?;
        self.deposit(BETA, "user", MOVED).await?;
        let block = self.claim(BETA).await?;
        self.proven(BETA, block).await?;
        self.require_one_queue().await?;
        let unclaimed = Unclaimed::from([(self.sides[BETA].name, EARLY)]);
        let names = self.names()?;
        let (token, sides) = (self.common.token, &mut self.sides);
        let (held, minted) = audit::check(&self.l1, token, sides, &unclaimed, &names).await?;
        (self.report.holdings, self.report.minted) = (held, minted);
        self.step("both", format!("{} AZT minted, and as many held", self.report.minted));
        Ok(())
    }

    /// Alpha is listed, funded and canonical by a vote. The user deposits there and claims, and the epoch is proven.
    /// Returns its proof.
    async fn alpha(&mut self) -> Result<EpochProven, Error> {
        let alpha = self.found("alpha", unix_now()).await?;
        let (rollup, contracts) = (alpha.rollup, alpha.contracts.clone());
        self.launch("alpha", alpha).await?;
        self.delegate().await?;
        let motion = self.recognized("alpha", 0, &contracts);
        self.decide("alpha", &motion).await?;
        self.require_canonical("alpha", rollup).await?;
        self.epoch_starts().await?;
        self.deposit(ALPHA, "user", DEPOSIT).await?;
        let block = self.claim(ALPHA).await?;
        self.proven(ALPHA, block).await?;
        let proven = self.sides[ALPHA].proven.iter().max_by_key(|event| event.last_block);
        proven.cloned().ok_or_else(|| unmet("alpha's epoch", "there is no proof of it"))
    }

    /// Beta is deployed with alpha's slots and epochs, so that an epoch's number means the same time on both. Governance
    /// adds it, funds it, makes it canonical and ends alpha's block reward.
    async fn beta(&mut self, genesis_time: u64) -> Result<(), Error> {
        let beta = self.found("beta", genesis_time).await?;
        let (rollup, contracts) = (beta.rollup, beta.contracts.clone());
        let alpha = &self.sides[ALPHA].deployment;
        let mut next = alpha.rates.clone();
        next.blockReward = U96::ZERO;
        let registry = alpha.contracts.registry;
        let motion =
            self.recognized("beta", 1, &contracts).call(registry, &Registry::setRatesCall { next });
        self.decide("beta", &motion).await?;
        self.require_canonical("beta", rollup).await?;
        self.launch("beta", beta).await
    }

    /// The motion that lists a deployment as number `id`, makes it canonical and funds it.
    fn recognized(&self, name: &str, id: u64, contracts: &abi::Contracts) -> Motion {
        let add = Deployments::addCall { name: name.to_owned(), registry: contracts.registry };
        let mint = AztToken::mintCall { to: contracts.rewards, amount: U256::from(TREASURY) };
        let (list, token) = (self.common.deployments, self.common.token);
        Motion::new(&self.common, &format!("Move to {name}"))
            .call(list, &add)
            .call(list, &Deployments::setCanonicalCall { id: U256::from(id) })
            .call(token, &mint)
    }

    /// In one epoch, alpha has the user's withdrawal and beta its first blocks. The withdrawal and alpha's earlier proof
    /// are worth nothing on beta. Both epochs are proven. Returns the withdrawal.
    async fn both(&mut self, first: &EpochProven) -> Result<Tx, Error> {
        let to = EthAddress(self.user.account().into_array());
        let alpha = &mut self.sides[ALPHA];
        let withdrawal = alpha.accounts.withdraw(0, to, MOVED, &alpha.node).await?;
        self.step("alpha", format!("the user proved a withdrawal of {MOVED} units"));
        self.crossed_transaction(&withdrawal).await?;
        self.epoch_starts().await?;
        self.deposit(BETA, "early depositor", EARLY).await?;
        self.sides[ALPHA].node.send_transaction(&withdrawal).await?;
        let block = self.included(ALPHA, &withdrawal).await?;
        // The deposit is in beta's second block.
        while self.sides[BETA].tip() < 2 {
            self.turn("beta's first two blocks").await?;
        }
        self.crossed_proof(first).await?;
        self.proven(ALPHA, block).await?;
        self.proven(BETA, 2).await?;
        Ok(withdrawal)
    }

    /// Deposits units of a person for the person on L2.
    async fn deposit(&mut self, side: usize, who: &str, units: u64) -> Result<(), Error> {
        let person = self.person(who);
        let to: Fr = person.l2.address().to_field();
        let Self { common, sides, .. } = self;
        let (portal, amount) = (sides[side].deployment.contracts.feePortal, base_units(units));
        let approve = AztToken::approveCall { spender: portal, value: amount };
        let deposit = FeePortal::depositCall { to: word(&to), amount };
        let (token, name) = (common.token, sides[side].name);
        let sender = &self.person(who).l1;
        send(sender, &format!("{name}/approve"), token, &approve).await?;
        send(sender, &format!("{name}/deposit"), portal, &deposit).await?;
        self.step(name, format!("the {who} deposited {units} units on L1"));
        Ok(())
    }

    fn person(&self, who: &str) -> &Person {
        if who == "user" { &self.user } else { &self.early }
    }

    /// The user claims its deposit as soon as a block has it. Returns the block of the claim.
    async fn claim(&mut self, side: usize) -> Result<u64, Error> {
        let name = self.sides[side].name;
        let claim = loop {
            let of = &mut self.sides[side];
            if let Some(claim) = of.accounts.claim(0, &of.node).await? {
                break claim;
            }
            self.turn("a block with the deposit").await?;
        };
        self.sides[side].node.send_transaction(&claim).await?;
        let block = self.included(side, &claim).await?;
        self.step(name, format!("the user's claim is in block {block}"));
        Ok(block)
    }

    /// A transaction for alpha is rejected by beta's node, since it names alpha's version. An anchor that beta does not
    /// have would be a reason too, and shows nothing about versions.
    async fn crossed_transaction(&mut self, tx: &Tx) -> Result<(), Error> {
        let what = "withdrawal made for alpha";
        let beta = &self.sides[BETA];
        let expected = self.l1.rollup(beta.deployment.rollup).await?.info().await?.version;
        let answer = match beta.node.send_transaction(tx).await {
            Ok(_) => return Err(unmet(what, "beta's node accepted it")),
            Err(error) => error,
        };
        if !is_other_version(&answer, expected, tx.version) {
            // Without a code the node was not reached.
            return match answer.node_code() {
                None => Err(answer.into()),
                Some(_) => Err(unmet(what, &format!("rejected for another reason: {answer}"))),
            };
        }
        self.rejected(what, "node of beta", &answer.to_string());
        Ok(())
    }

    /// A proof that alpha accepted is rejected by beta, unchanged and with the arguments of beta's own epoch; the latter
    /// also as a transaction.
    async fn crossed_proof(&mut self, first: &EpochProven) -> Result<(), Error> {
        let sent = self.l1.provider().get_transaction_by_hash(first.place.tx_hash).await;
        let sent = sent
            .map_err(rpc("transaction"))?
            .ok_or_else(|| Error::NoReceipt { tx_hash: first.place.tx_hash.to_string() })?;
        let call = Rollup::submitEpochProofCall::abi_decode(sent.inner.input())
            .map_err(|error| unmet("alpha's proof", &error.to_string()))?;
        let beta = &self.sides[BETA];
        let (last, rollup) = (beta.tip(), beta.deployment.rollup);
        let slot = beta.blocks.get(&last).map_or(0, |block| block.slot);
        let args = abi::EpochArgs { epoch: beta.epoch(slot), lastBlock: last, ..call.args.clone() };
        let what = "proof of alpha's epoch";
        let unchanged = abi::submit_calldata(call.args, call.proof.to_vec());
        // Beta is younger than that epoch.
        let answer = self.crossed::<Rollup::EpochWithoutBlocks>(what, unchanged, BlockId::latest());
        let answer = answer.await?;
        self.rejected(what, "rollup of beta", &answer);
        // Everything but the proof is beta's own, so only the verifier can reject it.
        let what = "proof of alpha, arguments of beta's epoch";
        let fitted = abi::submit_calldata(args, call.proof.to_vec());
        let answer = self.crossed::<Rollup::ProofRejected>(what, fitted.clone(), BlockId::latest());
        let answer = answer.await?;
        self.rejected(what, "rollup of beta", &answer);
        self.crossed_in_a_transaction(rollup, fitted).await
    }

    /// Requires that beta's rollup rejects a call with the error `E`, on the state after a block of L1. Returns its words.
    async fn crossed<E: SolError>(
        &self,
        what: &str,
        input: Bytes,
        after: BlockId,
    ) -> Result<String, Error> {
        let (by, rollup) = (self.user.account(), self.sides[BETA].deployment.rollup);
        let request = TransactionRequest::default().from(by).to(rollup).input(input.into());
        let data = match self.l1.provider().call(request).block(after).await {
            Ok(_) => return Err(unmet(what, "beta's rollup accepted it")),
            Err(error) => {
                let data = error.as_error_resp().and_then(|payload| payload.as_revert_data());
                data.ok_or_else(|| rpc("call")(error))?
            }
        };
        let expected = E::SIGNATURE;
        reason_of::<E>(&data).map_err(|got| unmet(what, &format!("expected {expected}, got {got}")))
    }

    async fn crossed_in_a_transaction(
        &mut self,
        rollup: Address,
        input: Bytes,
    ) -> Result<(), Error> {
        let what = "that proof in a transaction";
        let request = TxRequest::call("crossed proof", rollup, input.clone());
        let request = TxRequest { gas_limit: Some(CROSSED_GAS), ..request };
        let receipt = self.user.l1.send(request).await?;
        if receipt.succeeded {
            return Err(unmet(what, "beta's rollup accepted it"));
        }
        if receipt.gas_used >= CROSSED_GAS {
            return Err(unmet(what, "it ran out of gas"));
        }
        // A receipt names no reason, but the state before its block does.
        let before = BlockId::number(receipt.block_number.saturating_sub(1));
        let answer = self.crossed::<Rollup::ProofRejected>(what, input, before).await?;
        let answer = format!("{answer}, after {} gas", receipt.gas_used);
        self.rejected(what, "rollup of beta", &answer);
        Ok(())
    }

    /// L1 pays the withdrawal to the user, in full.
    async fn paid_out(&mut self, tx: &Tx) -> Result<(), Error> {
        let alpha = &self.sides[ALPHA];
        let portal = alpha.deployment.contracts.feePortal;
        let found = loop {
            // The node follows L1 a moment later.
            let found = Withdrawal::find(&self.sides[ALPHA].node, &tx.hash()).await?;
            if found.is_proven {
                break found;
            }
            self.turn("the proof in alpha's node").await?;
        };
        let recipient = Address::from(found.recipient.0);
        let before = self.balance(recipient).await?;
        let withdraw = FeePortal::withdrawCall {
            number: found.block_number,
            transaction: u16::try_from(found.tx).unwrap_or(u16::MAX),
            recipient,
            units: found.amount,
            path: found.path.iter().map(word).collect(),
        };
        send(&self.user.l1, "withdraw", portal, &withdraw).await?;
        let (got, due) = (self.balance(recipient).await? - before, base_units(MOVED));
        if got != due {
            let reason = format!("{} AZT instead of {}", azt(got), azt(due));
            return Err(Error::Unpaid { what: "withdrawal", reason });
        }
        self.step("alpha", format!("L1 paid the withdrawal: {} AZT", azt(got)));
        Ok(())
    }
}

/// Whether a node rejected a transaction because it is for another deployment. The code is that of any rule of the next
/// block; the cause is in the text.
fn is_other_version(answer: &ClientError, expected: u64, got: u64) -> bool {
    let rejection = TxRejection::WrongVersion { expected, got };
    let cause = Bare(&rejection).to_string();
    let rejected = PoolError::from(rejection);
    answer.node_code() == Some(rejected.code()) && answer.to_string().ends_with(&cause)
}

/// A revert in words: as a success if it is the error `E`, else as a failure.
fn reason_of<E: SolError>(data: &Bytes) -> Result<String, String> {
    let words = abi::describe_revert(data).unwrap_or_else(|| format!("revert data {data}"));
    match data.starts_with(&E::SELECTOR) {
        true => Ok(words),
        false => Err(words),
    }
}

fn unmet(what: &str, reason: &str) -> Error {
    Error::Upgrade { what: what.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use rollmill_node_client::wire::{ErrorData, RpcError};

    use super::*;

    #[test]
    fn only_the_other_version_is_the_reason_that_counts() {
        let answer = |code: &str, rejection: &TxRejection| {
            let text = format!("{code}: the next block cannot include it: {}", Bare(rejection));
            let data = ErrorData { code: code.to_owned() };
            ClientError::Rejected(RpcError { code: -32_000, message: text, data })
        };
        let version = TxRejection::WrongVersion { expected: 7, got: 6 };
        assert!(is_other_version(&answer("NODE-021", &version), 7, 6));
        assert!(!is_other_version(&answer("NODE-021", &version), 6, 7));
        assert!(!is_other_version(&answer("NODE-022", &version), 7, 6));
        let anchor = TxRejection::UnknownAnchor { anchor: Fr::from(5u64) };
        assert!(!is_other_version(&answer("NODE-021", &anchor), 7, 6));
    }

    #[test]
    fn only_the_expected_error_of_the_contract_is_the_rejection() {
        let rejected = Rollup::ProofRejected { epoch: 3, lastBlock: 2 }.abi_encode();
        let words = reason_of::<Rollup::ProofRejected>(&rejected.clone().into()).unwrap();
        assert!(words.starts_with("ProofRejected"), "{words}");
        let other = reason_of::<Rollup::EpochWithoutBlocks>(&rejected.into()).unwrap_err();
        assert_eq!(other, words);
        for data in [&[0u8; 0][..], &[0xff, 0xfe, 0xfd]] {
            assert!(reason_of::<Rollup::ProofRejected>(&data.to_vec().into()).is_err(), "{data:?}");
        }
    }
}
