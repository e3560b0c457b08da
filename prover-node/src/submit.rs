//! Submits root proofs as L1 transactions, and reports their outcomes.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use rollmill_circuits::jobs::Output;
use rollmill_l1::abi::{self, EpochArgs};
use rollmill_l1::alloy::eips::BlockId;
use rollmill_l1::economics::PROOF_GAS_SPARE;
use rollmill_l1::{Expiry, L1Error, RollupContract, TxRequest, TxSender, TxStatus};
use rollmill_node::Node;
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::{EpochRoot, EthAddress, Fr};

use crate::ranges::{Inclusion, RangeBlock, Row, Sent, SubmitFailure};

/// Sends proofs and knows their outcomes.
pub trait Submitter: Send + Sync + 'static {
    /// Records the current attempt and sends it. Submitting an attempt again continues it.
    ///
    /// # Errors
    /// Why nothing was sent.
    fn submit(
        &self,
        row: &Row,
        proof: &[u8],
        fence: u64,
    ) -> impl Future<Output = Result<(), SubmitFailure>> + Send;

    /// The outcome of the row's attempts: the success of any, else the outcome of the current one.
    fn sent(&self, row: &Row) -> Option<Sent>;
}

/// The public inputs of the root proof differ from those that the contract computes.
///
/// Do: Run the release of the deployment's contract. Otherwise report it with the range's capture.
#[derive(Debug, thiserror::Error)]
#[error("{code}: the public inputs of the proof differ from the contract's: {what} is {ours}, the contract expects {theirs}", code = self.code())]
struct InputsDiffer {
    what: String,
    ours: String,
    theirs: String,
}

rollmill_errors::coded! {
    InputsDiffer {
        Self { .. } => "PRN-020",
    }
}

/// The chain that was followed.
pub trait FollowedChain: Debug + Send + Sync {
    /// L1's chain with this block; `None` if the block is not part of it, or that cannot be read.
    fn chain(&self, block: &RangeBlock) -> Option<Fr>;
}

impl FollowedChain for Node {
    fn chain(&self, block: &RangeBlock) -> Option<Fr> {
        let record = self.block_record(BlockRef::Number(block.number)).ok().flatten()?;
        (record.header_hash == block.header_hash).then_some(record.chain)
    }
}

/// Submits through the sender of one account.
#[derive(Debug)]
pub struct L1Submitter {
    pub sender: Arc<TxSender>,
    pub contract: RollupContract,
    pub rollup: EthAddress,
    pub followed: Arc<dyn FollowedChain>,
}

impl Submitter for L1Submitter {
    async fn submit(&self, row: &Row, proof: &[u8], fence: u64) -> Result<(), SubmitFailure> {
        let rejected = |reason: String| SubmitFailure::Rejected { reason };
        let output = Output::from_bytes(proof).map_err(|error| rejected(error.to_string()))?;
        let root = EpochRoot::from_fields(&output.public).map_err(|e| rejected(e.to_string()))?;
        let args = abi::epoch_args(&root);
        let input = abi::submit_calldata(args.clone(), output.proof.clone());
        let request = TxRequest::call(row.purpose(), abi::address(self.rollup), input);
        let sent = match self.require_inputs(&args, &output, BlockId::latest()).await {
            Ok(()) => self.sender.submit(bounded(request, row, fence)).await.map_err(failure),
            differ => differ,
        };
        match sent {
            Err(SubmitFailure::Rejected { reason }) => {
                Err(self.confirmed(row, &args, &output, reason).await)
            }
            sent => sent,
        }
    }

    fn sent(&self, row: &Row) -> Option<Sent> {
        let purpose = row.purpose();
        let status = |attempt| self.sender.status(&purpose, attempt);
        outcome_of(row, status, self.sender.attempt_for(&purpose))
    }
}

impl L1Submitter {
    /// Requires that the contract expects the public inputs of the proof, after an L1 block.
    async fn require_inputs(
        &self,
        args: &EpochArgs,
        output: &Output,
        at: BlockId,
    ) -> Result<(), SubmitFailure> {
        let rejected = |what: String, ours: String, theirs: String| {
            let reason = InputsDiffer { what, ours, theirs }.to_string();
            Err(SubmitFailure::Rejected { reason })
        };
        let theirs = self.contract.public_inputs_at(args.clone(), at).await.map_err(failure)?;
        let ours: Vec<_> = output.public.iter().map(abi::word).collect();
        if ours.len() != theirs.len() {
            let (ours, theirs) = (ours.len().to_string(), theirs.len().to_string());
            return rejected("their number".to_owned(), ours, theirs);
        }
        match (0..ours.len()).find(|index| ours[*index] != theirs[*index]) {
            Some(index) => {
                let (ours, theirs) = (ours[index].to_string(), theirs[index].to_string());
                rejected(format!("number {index}"), ours, theirs)
            }
            None => Ok(()),
        }
    }

    /// A rejection, if L1 repeats it after one block in whose chain the range is as it was followed. An endpoint on
    /// another chain rejects every proof of this one. That passes, and the next turns submit again.
    async fn confirmed(
        &self,
        row: &Row,
        args: &EpochArgs,
        output: &Output,
        reason: String,
    ) -> SubmitFailure {
        let why = match self.try_on_our_chain(row, args, output).await {
            Err(repeated @ (SubmitFailure::Rejected { .. } | SubmitFailure::Unknown { .. })) => {
                return repeated;
            }
            Err(
                SubmitFailure::Order { reason }
                | SubmitFailure::Late { reason }
                | SubmitFailure::Transient { reason },
            ) => reason,
            Ok(()) => "L1 accepts it after its newest block".to_owned(),
        };
        let why = rollmill_service::uncoded(&why);
        SubmitFailure::Transient { reason: format!("{reason}; not confirmed: {why}") }
    }

    /// Simulates the submission after L1's newest block, if its chain has the range as it was followed.
    async fn try_on_our_chain(
        &self,
        row: &Row,
        args: &EpochArgs,
        output: &Output,
    ) -> Result<(), SubmitFailure> {
        let passing = |reason: &str| SubmitFailure::Transient { reason: reason.to_owned() };
        let last = row.blocks.last();
        let ours = last.and_then(|last| Some((last.number, self.followed.chain(last)?)));
        let (number, chain) = ours.ok_or_else(|| passing("the node no longer has the range"))?;
        let head = self.sender.client().latest().await.map_err(failure)?;
        // By its hash, so that only endpoints answer that have this block.
        let at = BlockId::from(head.hash);
        let theirs = self.contract.block_record_at(number, at).await.map_err(failure)?;
        if theirs.chain != abi::word(&chain) {
            return Err(passing("an L1 endpoint has another block than the node followed"));
        }
        self.require_inputs(args, output, at).await?;
        let (from, proof) = (self.sender.account(), output.proof.clone());
        self.contract.try_proof(from, args.clone(), proof, at).await.map_err(failure)
    }
}

/// The outcome of a row's attempts, from their status at the sender. `next` is the attempt number that
/// the sender would give the next payload of the row's purpose.
fn outcome_of(row: &Row, status: impl Fn(u32) -> Option<TxStatus>, next: u32) -> Option<Sent> {
    let mut present = None;
    for attempt in (row.first_attempt..=row.attempt).rev() {
        let status = status(attempt);
        let is_present = attempt == row.attempt;
        match status {
            Some(TxStatus::Included(receipt)) if receipt.succeeded => {
                return Some(Sent::Included(Inclusion {
                    attempt,
                    tx_hash: receipt.tx_hash.to_string(),
                    l1_block: receipt.block_number,
                    gas_used: receipt.gas_used,
                    fee_wei: receipt
                        .effective_gas_price_wei
                        .saturating_mul(receipt.gas_used.into()),
                }));
            }
            Some(TxStatus::Included(receipt)) if is_present => {
                present = Some(Sent::Reverted { tx_hash: receipt.tx_hash.to_string() });
            }
            Some(TxStatus::Pending { .. }) if is_present => present = Some(Sent::Pending),
            Some(TxStatus::Lost { .. }) if is_present => present = Some(Sent::Lost),
            // A dropped attempt can be submitted again under its number.
            Some(_) | None => {}
        }
    }
    // The sender knows later attempts than this row, which was lost and planned again.
    present.or((next > row.attempt).then_some(Sent::Lost))
}

/// The request as the row's current attempt: it expires when the window closes, is sent only while
/// the lease with this fence is held, and can be included late.
fn bounded(request: TxRequest, row: &Row, fence: u64) -> TxRequest {
    TxRequest {
        attempt: row.attempt,
        expires: row.accepted_until.map(Expiry::Timestamp),
        fence: Some(fence),
        gas_spare: PROOF_GAS_SPARE,
        ..request
    }
}

/// Classifies an error of the sender or the contract.
fn failure(error: L1Error) -> SubmitFailure {
    let text = rollmill_service::one_line(&error);
    match &error {
        L1Error::WouldRevert { reason, .. } => failure_of_revert(reason, text),
        // A call of a view function that reverted.
        L1Error::Answer { code_number: 3, message, .. } => failure_of_revert(message, text),
        L1Error::Reverted { .. } | L1Error::IntentConflict { .. } => {
            SubmitFailure::Unknown { reason: text }
        }
        _ => SubmitFailure::Transient { reason: text },
    }
}

/// Classifies an error of the contract by its decoded name.
fn failure_of_revert(revert: &str, reason: String) -> SubmitFailure {
    let name: String = revert.chars().take_while(char::is_ascii_alphanumeric).collect();
    match name.as_str() {
        // Another chain than the one that was followed, or one that was proven meanwhile.
        "EpochWithoutBlocks" | "EpochBeforeNotProven" | "RangeEndWrong" | "BlockUnknown" => {
            SubmitFailure::Order { reason }
        }
        "ChallengeOver" => SubmitFailure::Late { reason },
        "ProofRejected" | "WorkNotGrowing" | "NotCanonical" => SubmitFailure::Rejected { reason },
        _ => SubmitFailure::Unknown { reason },
    }
}

#[cfg(test)]
mod tests {
    use rollmill_l1::TxReceipt;

    use super::*;

    /// Goal: no proof is sent after its window, nor by a node whose lease was superseded.
    #[test]
    fn a_submission_carries_its_attempt_its_window_and_its_fence() {
        let blocks = vec![RangeBlock { number: 4, header_hash: Fr::from(7u64), l1_block: 90 }];
        let mut row = Row::new(1, 2, blocks);
        (row.attempt, row.accepted_until) = (3, Some(120));
        let call = TxRequest::call(row.purpose(), Default::default(), Default::default());
        let request = bounded(call, &row, 9);
        assert!(request.purpose.starts_with("prove/4-4-"), "{}", request.purpose);
        assert_eq!((request.attempt, request.fence), (3, Some(9)));
        assert_eq!(request.expires, Some(Expiry::Timestamp(120)));
        assert_eq!((request.gas_limit, request.gas_spare), (None, PROOF_GAS_SPARE), "simulated");
    }

    fn included(succeeded: bool, at_block: u64) -> TxStatus {
        TxStatus::Included(TxReceipt {
            id: "prove".to_owned(),
            nonce: 0,
            tx_hash: Default::default(),
            block_number: at_block,
            block_hash: Default::default(),
            succeeded,
            gas_used: 7,
            effective_gas_price_wei: 11,
            contract_address: None,
            attempts: 1,
            is_final: false,
        })
    }

    /// Goal: a success of any attempt counts; of the other outcomes only the current attempt's counts;
    /// and an attempt is over if the sender knows later ones, which an earlier row of the range made.
    #[test]
    fn a_rows_outcome_is_that_of_its_attempts_at_the_sender() {
        let blocks = vec![RangeBlock { number: 4, header_hash: Fr::from(7u64), l1_block: 90 }];
        let mut row = Row::new(1, 2, blocks);
        (row.first_attempt, row.attempt) = (2, 3);
        let outcome = |known: &[(u32, TxStatus)], next: u32| {
            let status = |attempt| {
                let mut known = known.iter();
                known.find(|(of, _)| *of == attempt).map(|(_, status)| status.clone())
            };
            outcome_of(&row, status, next)
        };
        let pending = TxStatus::Pending { nonce: 0, attempts: 1 };
        let dropped = TxStatus::Dropped { reason: "it has expired".to_owned() };
        let is_in = |outcome, at_block| matches!(outcome, Some(Sent::Included(it)) if it.l1_block == at_block && it.fee_wei == 77);
        assert_eq!(outcome(&[], 0), None, "never submitted");
        assert_eq!(outcome(&[], 3), None, "submitted, and forgotten by nobody");
        assert_eq!(outcome(&[(3, dropped)], 3), None, "the same attempt can be submitted again");
        assert_eq!(outcome(&[(3, pending.clone())], 3), Some(Sent::Pending));
        assert_eq!(outcome(&[(3, TxStatus::Lost { nonce: 0 })], 4), Some(Sent::Lost));
        assert!(matches!(outcome(&[(3, included(false, 5))], 4), Some(Sent::Reverted { .. })));
        assert!(is_in(outcome(&[(3, included(true, 5))], 4), 5));
        assert!(is_in(outcome(&[(2, included(true, 6)), (3, pending.clone())], 3), 6));
        assert_eq!(outcome(&[(2, included(false, 6)), (3, pending)], 3), Some(Sent::Pending));
        // Attempt 1 belongs to an earlier row, which may have covered another range.
        assert_eq!(outcome(&[(1, included(true, 4))], 3), None);
        // The sender is at attempt 4, and without this rule the row would submit attempt 3 forever.
        assert_eq!(outcome(&[], 4), Some(Sent::Lost));
        assert_eq!(outcome(&[(4, included(false, 9))], 5), Some(Sent::Lost));
    }

    /// Goal: each error of the contract is mapped to a fact or left to an operator; none is guessed.
    #[test]
    fn the_contracts_errors_map_to_facts() {
        let kind = |revert: &str| match failure_of_revert(revert, String::new()) {
            SubmitFailure::Order { .. } => "order",
            SubmitFailure::Late { .. } => "late",
            SubmitFailure::Rejected { .. } => "rejected",
            SubmitFailure::Transient { .. } => "passing",
            SubmitFailure::Unknown { .. } => "unknown",
        };
        for (revert, expected) in [
            ("EpochWithoutBlocks { epoch: 3 }", "order"),
            ("EpochBeforeNotProven { firstBlock: 3, provenTip: 1 }", "order"),
            ("RangeEndWrong { earliest: 3, latest: 4, got: 9 }", "order"),
            ("BlockUnknown { pendingTip: 3, got: 4 }", "order"),
            ("ChallengeOver { epoch: 1, challengeEnd: 9, time: 10 }", "late"),
            ("ProofRejected { epoch: 1, lastBlock: 2 }", "rejected"),
            ("WorkNotGrowing { paid: 7, got: 7 }", "rejected"),
            ("NotCanonical { value: 1 }", "rejected"),
            ("execution reverted", "unknown"),
            ("out of gas: ProofRejected", "unknown"),
        ] {
            assert_eq!(kind(revert), expected, "{revert}");
        }
    }
}
