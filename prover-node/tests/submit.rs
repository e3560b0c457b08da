//! What becomes of a proof that L1 rejects, on the real contracts with verifiers that reject.

use std::sync::Arc;

use rollmill_circuits::jobs::Output;
use rollmill_l1::TxSender;
use rollmill_l1::abi::{self, EpochArgs};
use rollmill_l1::alloy::primitives::U256;
use rollmill_l1_testing::{Anvil, Network, range, sender};
use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_protocol::{Circuit, EthAddress, Fr, Pair};
use rollmill_prover_node::ranges::{RangeBlock, Row, SubmitFailure};
use rollmill_prover_node::submit::{FollowedChain, L1Submitter, Submitter};

/// Index of the chain after the last block among the public inputs.
const CHAIN_END: usize = 12;

/// L1's chain after a node's only block.
#[derive(Debug)]
struct Followed(Option<Fr>);

impl FollowedChain for Followed {
    fn chain(&self, _: &RangeBlock) -> Option<Fr> {
        self.0
    }
}

/// An L1 with one block, and a proof of it whose public inputs are right.
struct Case {
    network: Network,
    sender: Arc<TxSender>,
    row: Row,
    chain: Fr,
    output: Output,
    _anvil: Anvil,
}

impl Case {
    async fn new() -> Self {
        let anvil = Anvil::start();
        let network = Network::on(anvil.client().await, false, 100_000).await;
        network.propose(1).await;
        let record = network.rollup.block_record(1).await.unwrap();
        let words = Pair::trivial().to_fields();
        let pair = std::array::from_fn(|i| U256::from_be_bytes(abi::word(&words[i]).0));
        let inputs = network.rollup.public_inputs(EpochArgs { pair, ..range(0, 1) }).await.unwrap();
        let public = inputs.iter().map(|word| abi::element(word).unwrap()).collect();
        let header_hash = abi::element(&record.archiveRoot).unwrap();
        let block = RangeBlock { number: 1, header_hash, l1_block: 1 };
        Self {
            sender: Arc::new(sender(&network.client, network.folder.path(), 1).await),
            row: Row::new(1, 0, vec![block]),
            chain: abi::element(&record.chain).unwrap(),
            output: Output { circuit: Circuit::EpochRoot1, public, proof: vec![7; PROOF_BYTES] },
            network,
            _anvil: anvil,
        }
    }

    /// Why a node that has followed this chain sends nothing.
    async fn submit(&self, output: &Output, followed: Option<Fr>) -> SubmitFailure {
        let submitter = L1Submitter {
            sender: Arc::clone(&self.sender),
            contract: self.network.rollup.clone(),
            rollup: EthAddress(self.network.rollup.address().into_array()),
            followed: Arc::new(Followed(followed)),
        };
        submitter.submit(&self.row, &output.to_bytes(), 1).await.unwrap_err()
    }
}

/// Fault: the endpoint that answers is on another chain than the one that was followed. There every proof is wrong, and
/// a range that is parked for it would wait for an operator although L1 turns back. Goal: it is submitted again.
#[tokio::test]
async fn a_rejection_counts_only_on_the_chain_that_was_followed() {
    let case = Case::new().await;
    let mut other = case.output.clone();
    other.public[CHAIN_END] += Fr::from(1u64);
    for (output, why) in [(&case.output, "ProofRejected"), (&other, "PRN-020: ")] {
        match case.submit(output, Some(case.chain)).await {
            SubmitFailure::Rejected { reason } => assert!(reason.contains(why), "{reason}"),
            failure => panic!("{failure:?}"),
        }
        for followed in [Some(case.chain + Fr::from(1u64)), None] {
            match case.submit(output, followed).await {
                SubmitFailure::Transient { reason } => assert!(reason.contains(why), "{reason}"),
                failure => panic!("{failure:?}"),
            }
        }
    }
}
