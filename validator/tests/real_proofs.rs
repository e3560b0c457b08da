//! A member that verifies real client proofs: those of the golden epoch, under its keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollmill_circuits::jobs::{Input, TxBaseInput};
use rollmill_circuits::keyset::KeySet;
use rollmill_l1::L1Error;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::SignerSync;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::attest::{self, Duty};
use rollmill_l1::blob::{Blob, Kzg};
use rollmill_node::{
    BlockSigner, ClientProofVerifier, L1Position, L1Update, Node, NodeSettings, PoolLimits,
    ProofRejected,
};
use rollmill_protocol::blob::encode;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{
    Circuit, ClientInputs, Commitment, EthAddress, Fr, Genesis, ProofKind, Tx,
};
use rollmill_service::prometheus::Registry;
use rollmill_validator::{AttestError, Duties, Metrics, Settings, Validator};
use rollmill_validator_client::{Proposal, SIGNATURE_BYTES};

/// Slot of L1's head and of the block.
const SLOT: u64 = 2;

fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../circuits/tests/golden");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

fn genesis() -> Genesis {
    Genesis::from_json(&String::from_utf8(golden("genesis.json")).unwrap()).unwrap()
}

/// Transactions of the golden epoch's first block, with their client proofs.
fn txs() -> [Tx; 2] {
    ["00-tx_base.input", "01-tx_base.input"].map(|name| {
        let input = Input::from_bytes(Circuit::TxBase, &golden(name)).unwrap();
        let Input::TxBase(input) = input else { unreachable!("{name} is of a transaction") };
        let TxBaseInput { witness, anchor_header_hash, proof_kind, pair, proof } = input;
        Tx {
            chain_id: genesis().chain_id,
            version: genesis().version(),
            anchor_header_hash,
            body: witness.body.clone(),
            proof_kind,
            pair,
            client_proof: proof,
        }
    })
}

/// The verifier of the golden keys. The golden genesis was made before they were, so it names another root of the key
/// tree than the proofs.
#[derive(Debug)]
struct GoldenKeys(KeySet);

impl ClientProofVerifier for GoldenKeys {
    fn verify(
        &self,
        kind: ProofKind,
        inputs: &ClientInputs,
        proof: &[u8],
    ) -> Result<(), ProofRejected> {
        let inputs = ClientInputs { vk_root: self.0.root(), ..*inputs };
        let verified = self.0.verify(kind.circuit(), &inputs.to_fields(), proof);
        verified.map(drop).map_err(|error| ProofRejected { reason: error.to_string() })
    }
}

fn key(member: u64) -> PrivateKeySigner {
    format!("{:064x}", member + 1).parse().unwrap()
}

/// Member 0 proposes, member 1 attests.
#[derive(Debug)]
struct Two;

impl Duties for Two {
    async fn duty(&self, slot: u64) -> Result<Option<Duty>, L1Error> {
        let members: Vec<Address> = [0, 1].map(|i| key(i).address()).into();
        Ok(Some(Duty { slot, epoch: 0, proposer: members[0], members }))
    }
}

/// Block 1 with these transactions, signed by its proposer.
fn proposal(txs: Vec<Tx>) -> Proposal {
    let genesis = genesis();
    let built = genesis.build(MemoryStore::new()).unwrap();
    let env = BlockEnv { slot: SLOT, coinbase: EthAddress([9; 20]), messages: vec![] };
    let (parent, store) = (&built.header, built.state.store);
    let mut builder = BlockBuilder::new(parent, store, &genesis.config, env).unwrap();
    for tx in &txs {
        builder.apply(tx).unwrap();
    }
    let (block, _) = builder.finish().unwrap();
    let blob = Blob::from_bytes(&encode(&block.txs).unwrap()).unwrap();
    let commitment = Commitment(Kzg::start().commit(&blob).unwrap().0);
    let chain = block.chain_link(Fr::from(0u64), &block.opening(commitment)).chain();
    let (word, rollup) = (rollmill_l1::abi::word(&chain), genesis.rollup.0.into());
    let digest = attest::block_digest(genesis.chain_id, rollup, 1, SLOT, word);
    let signature = key(0).sign_hash_sync(&digest).unwrap().as_bytes();
    Proposal { chain, commitment, signature, header: block.header, txs }
}

/// Attack: a proposer includes a transaction that nobody proved, or whose proof was altered. Its effects are valid, so
/// only the proof tells; each is offered in a block that is otherwise right.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_with_an_altered_client_proof_is_not_attested() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = genesis();
    let settings = NodeSettings {
        data_dir: folder.path().join("node"),
        genesis: genesis.clone(),
        l1_start: L1Position { number: 0, hash: [0; 32] },
        pool: PoolLimits::default(),
        state_blocks: 64,
    };
    let verifier = GoldenKeys(KeySet::from_bytes(&golden("keys.set")).unwrap());
    let node = Node::open(settings, Arc::new(verifier)).unwrap();
    let time = genesis.config.timestamp(SLOT).unwrap();
    let to = L1Position { number: 1, hash: [1; 32] };
    node.apply(&L1Update::Extend { to, time, finalized: None, events: vec![] }).unwrap();
    let record = folder.path().join("signatures.redb");
    let signer = BlockSigner::open(&record, key(1), genesis.chain_id, genesis.rollup, 0).unwrap();
    let signer = Arc::new(signer);
    let evidence = folder.path().join("evidence");
    let settings = Settings { checks: 1, turn: Duration::MAX, token: None, evidence };
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let validator = Validator::new(node, Arc::clone(&signer), Kzg::start(), Two, settings, metrics);
    let validator = Arc::new(validator);

    let attest = async |txs: Vec<Tx>| -> Result<[u8; SIGNATURE_BYTES], AttestError> {
        validator.attest(proposal(txs).to_bytes()).await
    };
    let honest = txs();
    let proof = |from: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let [first, mut second] = honest.clone();
        second.client_proof = honest[from].client_proof.clone();
        change(&mut second.client_proof);
        vec![first, second]
    };
    let last = honest[1].client_proof.len() - 1;
    for (what, txs) in [
        ("a changed evaluation", proof(1, &|bytes| bytes[last] ^= 1)),
        ("the proof of another transaction", proof(0, &|_| ())),
        ("a proof cut short", proof(1, &|bytes| bytes.truncate(last))),
        ("zeros", proof(1, &|bytes| bytes.fill(0))),
    ] {
        let error = attest(txs).await.unwrap_err();
        assert!(matches!(error, AttestError::Proof { index: 1, .. }), "{what}: {error}");
        assert_eq!(signer.signed(SLOT).unwrap(), None, "{what}");
    }
    attest(honest.to_vec()).await.unwrap();
    assert!(signer.signed(SLOT).unwrap().is_some());
}
