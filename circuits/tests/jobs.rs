//! Job inputs: one encoding each, strict, and rejected by the plain rules before anything is proven.

use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use rollmill_circuits::block_root::BlockInput;
use rollmill_circuits::circuit::{PROOF_LEN, cell_bits, log_n};
use rollmill_circuits::jobs::{self, Input, JobError, Output};
use rollmill_circuits::keyset::{CircuitKey, KeySet, KeySetError};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::{COMMITMENTS, EVALUATIONS, Proof};
use rollmill_plonk::shape::{Shape, fixed};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::verifier::PAIR_INPUTS;
use rollmill_protocol::join::JoinError;
use rollmill_protocol::state::{BalanceChange, Settlement};
use rollmill_protocol::tree::WitnessError;
use rollmill_protocol::{BlockRange, Circuit, Constants, Pair, ProofKind, Tx, TxTransition};
use sha2::{Digest, Sha256};

use crate::common::{BlockCase, chain, config, prover};

fn point(rng: &mut ChaCha8Rng) -> G1Affine {
    G1Projective::rand(rng).into()
}

/// Keys that no circuit has: enough for everything that comes before a proof.
fn keys() -> KeySet {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let srs = Srs::development(1);
    let keys = Circuit::ALL
        .iter()
        .map(|circuit| CircuitKey {
            circuit: *circuit,
            vk: VerifyingKey {
                shape: Shape {
                    log_n: log_n(*circuit),
                    n_public: circuit.n_public() as u32,
                    cell_bits: cell_bits(*circuit),
                },
                srs_id: srs.id(),
                fixed: std::array::from_fn::<_, { fixed::COUNT }, _>(|_| point(&mut rng)),
            },
            rows_used: 1000 + circuit.role(),
            layout_digest: [circuit.role() as u8; 32],
        })
        .collect();
    KeySet::new(keys, srs.tau_g2).unwrap()
}

/// Bytes of a proof of nothing.
fn proof_bytes() -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let points: [G1Affine; COMMITMENTS + 2] = std::array::from_fn(|_| point(&mut rng));
    let evaluations: [Fr; EVALUATIONS] = std::array::from_fn(|_| Fr::rand(&mut rng));
    Proof::from_parts(&points, evaluations).to_bytes()
}

fn output(circuit: Circuit, public: Vec<Fr>) -> Output {
    Output { circuit, public, proof: proof_bytes() }
}

fn two_txs() -> BlockCase {
    chain(&[2]).remove(0)
}

fn constants(set: &KeySet) -> Constants {
    set.constants(crate::common::CHAIN_ID, crate::common::version(), &config(), prover())
}

fn base_input(set: &KeySet, case: &BlockCase, tx: &Tx, transition: &TxTransition) -> Vec<u8> {
    let mut tx = tx.clone();
    tx.client_proof = proof_bytes();
    jobs::tx_base_input(constants(set), &case.block, case.commitment, &tx, transition)
}

/// Results of the block's transactions, with proofs of nothing.
fn tx_outputs(set: &KeySet, case: &BlockCase) -> Vec<Output> {
    let ranges = case.tx_ranges(constants(set));
    ranges.iter().map(|range| output(Circuit::TxBase, range.to_fields())).collect()
}

fn block_input(set: &KeySet, case: &BlockCase, children: &[Vec<u8>]) -> Vec<u8> {
    let (block, commitment) = (&case.block, case.commitment);
    let input = BlockInput::new(constants(set), config(), block, commitment, Fr::from(0u64));
    jobs::block_root_input(input, children).unwrap()
}

fn bytes(outputs: &[Output]) -> Vec<Vec<u8>> {
    outputs.iter().map(Output::to_bytes).collect()
}

/// The transaction with a proof of the private kernel, which states a pair.
fn of_the_kernel(tx: &Tx) -> Tx {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let [l, r] = std::array::from_fn(|_| point(&mut rng));
    let pair = Pair { l, s_l: Fr::rand(&mut rng), r, s_r: Fr::rand(&mut rng) };
    Tx { proof_kind: ProofKind::PrivateTail, pair, ..tx.clone() }
}

/// One input of every kind, honest but for the proofs; of transactions one that is paid from notes, one that claims
/// for a new account, one that withdraws, and one of private calls.
fn inputs(set: &KeySet) -> Vec<(Circuit, Vec<u8>)> {
    let cases = chain(&[2, 1, 0, 1]);
    let txs = bytes(&tx_outputs(set, &cases[0]));
    let mut chain_before = Fr::from(0u64);
    let mut blocks = Vec::new();
    for case in &cases {
        let ranges = case.tx_ranges(constants(set));
        let link = case.block.chain_link(chain_before, &case.opening());
        let (rows, pair) = (set.charged_rows(), Pair::trivial());
        let (constants, config) = (constants(set), config());
        let range =
            BlockRange::of_block(&ranges, &case.block, &link, constants, &config, &rows, pair)
                .unwrap();
        chain_before = range.chain_end;
        let circuit = rollmill_circuits::block_root::variant(ranges.len());
        blocks.push(output(circuit, range.to_fields()).to_bytes());
    }
    let base = |block: usize, i: usize| {
        let (tx, transition) = &cases[block].txs[i];
        (Circuit::TxBase, base_input(set, &cases[block], tx, transition))
    };
    let (tx, transition) = &cases[0].txs[0];
    vec![
        base(0, 1),
        base(1, 0),
        base(3, 0),
        (Circuit::TxBase, base_input(set, &cases[0], &of_the_kernel(tx), transition)),
        (Circuit::TxMerge, jobs::tx_merge_input(&txs[0], &txs[1]).unwrap()),
        (Circuit::BlockRoot0, block_input(set, &cases[2], &[])),
        (Circuit::BlockRoot1, block_input(set, &cases[1], &bytes(&tx_outputs(set, &cases[1])))),
        (Circuit::BlockRoot2, block_input(set, &cases[0], &txs)),
        (Circuit::BlockMerge, jobs::block_merge_input(&blocks[0], &blocks[1]).unwrap()),
        (Circuit::EpochRoot1, jobs::epoch_root_input(config(), &blocks[..1]).unwrap()),
        (Circuit::EpochRoot2, jobs::epoch_root_input(config(), &blocks[..2]).unwrap()),
    ]
}

#[test]
fn an_input_has_one_encoding() {
    let set = keys();
    for (circuit, bytes) in inputs(&set) {
        let input = Input::from_bytes(circuit, &bytes).unwrap();
        assert_eq!(input.circuit(), circuit);
        assert_eq!(input.to_bytes(), bytes);
        assert!(Input::from_bytes(circuit, &[bytes.as_slice(), &[0]].concat()).is_err());
        for n in (0..bytes.len()).step_by(211) {
            assert!(Input::from_bytes(circuit, &bytes[..n]).is_err(), "{circuit} cut at {n}");
        }
        for i in (0..bytes.len()).step_by(131).chain(0..2) {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1;
            if let Ok(other) = Input::from_bytes(circuit, &flipped) {
                assert!(other != input && other.to_bytes() == flipped, "{circuit} byte {i}");
            }
        }
    }
}

#[test]
fn an_input_for_another_circuit_is_rejected() {
    let set = keys();
    for (circuit, bytes) in inputs(&set) {
        for other in Circuit::ALL.into_iter().filter(|other| *other != circuit) {
            assert!(Input::from_bytes(other, &bytes).is_err(), "{circuit} as {other}");
        }
    }
    let rejected = jobs::verify(&set, "nonsense", &[], &[]).unwrap_err();
    assert_eq!(rejected.to_string(), "CIR-001: there is no circuit `nonsense`");
    for circuit in Circuit::ALL.into_iter().filter(|circuit| !circuit.is_job()) {
        let read = Input::from_bytes(circuit, &[3, circuit as u8]);
        assert!(matches!(read, Err(JobError::Kind { .. })), "{circuit} is no job");
    }
}

#[test]
fn children_of_circuits_that_are_not_accepted_are_rejected() {
    let set = keys();
    let case = two_txs();
    let txs = bytes(&tx_outputs(&set, &case));
    let blocks = jobs::block_merge_input(&txs[0], &txs[1]).unwrap();
    let rejected = Input::from_bytes(Circuit::BlockMerge, &blocks).unwrap_err();
    assert!(matches!(rejected, JobError::Child { .. }), "{rejected}");
    let mut merged = Output::from_bytes(&txs[0]).unwrap();
    merged.circuit = Circuit::TxMerge;
    let input = block_input(&set, &chain(&[1]).remove(0), &[merged.to_bytes()]);
    assert!(matches!(Input::from_bytes(Circuit::BlockRoot1, &input), Err(JobError::Child { .. })));
    assert!(jobs::epoch_root_input(config(), &[]).is_err());
}

#[test]
fn what_an_input_leads_to_is_compared_with_the_result() {
    let set = keys();
    for (circuit, input) in inputs(&set) {
        let mut public = vec![Fr::from(0u64); circuit.n_public()];
        let at = circuit.pair_at();
        public.splice(at.., Pair::trivial().to_fields());
        let wrong = output(circuit, public);
        let rejected = jobs::verify(&set, circuit.name(), &input, &wrong.to_bytes()).unwrap_err();
        assert!(matches!(rejected, JobError::PublicInput { .. }), "{circuit}: {rejected}");
        let other = if circuit == Circuit::TxMerge { Circuit::TxBase } else { Circuit::TxMerge };
        let wrong = output(other, vec![Fr::from(0u64); other.n_public()]);
        let rejected = jobs::verify(&set, circuit.name(), &input, &wrong.to_bytes()).unwrap_err();
        assert!(matches!(rejected, JobError::Role { .. }), "{circuit}: {rejected}");
    }
}

/// Goal: each kind of tampering is named before anything is proven.
#[test]
fn tampered_transactions_are_rejected_by_name() {
    let set = keys();
    let case = two_txs();
    let (tx, good) = &case.txs[0];
    let decode = |tx: &Tx, t: &TxTransition| {
        let input = base_input(&set, &case, tx, t);
        Input::from_bytes(Circuit::TxBase, &input).map(|_| ()).unwrap_err()
    };

    let mut t = good.clone();
    t.anchor.index += 1;
    assert!(matches!(decode(tx, &t), JobError::Witness(WitnessError::RootBefore)));
    // The other transaction's nullifier, through the low leaf of this one.
    let mut other = case.txs[1].1.clone();
    other.effects.start = case.txs[1].1.effects.start;
    let mut spent = case.txs[1].0.clone();
    spent.body.effects.nullifiers[0] = tx.body.effects.nullifiers[0];
    assert!(matches!(decode(&spent, &other), JobError::Witness(WitnessError::NotBracketed)));
    let mut t = good.clone();
    t.effects.start.nullifier_count += 1;
    assert!(matches!(decode(tx, &t), JobError::Witness(_)));
    let (next, after) = &case.txs[1];
    let mut t = after.clone();
    t.effects.start.note_count -= 8;
    assert!(matches!(decode(next, &t), JobError::Witness(WitnessError::NotEmpty)));
    let mut t = good.clone();
    let with_balance = |t: &mut TxTransition, value: u64| {
        let Settlement::Payer { change: BalanceChange::Update(update), .. } =
            &mut t.effects.settlement
        else {
            panic!("the first transaction pays from a balance")
        };
        update.leaf.value = Fr::from(value);
    };
    with_balance(&mut t, 5);
    assert!(matches!(decode(tx, &t), JobError::Transaction { .. }));
    with_balance(&mut t, 5_000_000_000);
    assert!(matches!(decode(tx, &t), JobError::Witness(WitnessError::RootBefore)));
    let mut cheap = tx.clone();
    cheap.body.effects.gas.max_fee_per_l2_gas = 1;
    assert!(matches!(decode(&cheap, good), JobError::Transaction { .. }));
    let mut late = tx.clone();
    late.body.effects.expiry_slot = case.block.header.slot - 1;
    assert!(matches!(decode(&late, good), JobError::Transaction { .. }));
    let mut withheld = tx.clone();
    withheld.body.logs[0][0] += Fr::from(1u64);
    assert!(matches!(decode(&withheld, good), JobError::Decode(_)));
}

/// Goal: the kind that an input names decides under whose key its client proof is verified, and no other number is a
/// kind. A proof of the built-in client states the trivial pair.
#[test]
fn the_kind_of_a_client_proof_names_the_circuit_that_verifies_it() {
    let set = keys();
    let case = two_txs();
    let (tx, transition) = &case.txs[0];
    let kernel = of_the_kernel(tx);
    for (tx, expected) in [(tx, Circuit::Client), (&kernel, Circuit::PrivateTail)] {
        let input = base_input(&set, &case, tx, transition);
        let rejected = jobs::lay_out(&set, "tx_base", &input).unwrap_err();
        let JobError::ChildProof { index: 0, circuit, .. } = rejected else {
            panic!("{expected}: {rejected}")
        };
        assert_eq!(circuit, expected);
    }
    let bytes = base_input(&set, &case, &kernel, transition);
    let at = bytes.len() - PROOF_LEN - PAIR_INPUTS * 32 - 1;
    assert_eq!(bytes[at], ProofKind::PrivateTail.id());
    for kind in 0..=255 {
        let mut changed = bytes.clone();
        changed[at] = kind;
        let read = Input::from_bytes(Circuit::TxBase, &changed);
        match kind {
            1 => assert!(read.is_ok()),
            _ => assert!(matches!(read, Err(JobError::Decode(_))), "kind {kind}"),
        }
    }
}

/// A claim through another path, and a second one of the same deposit.
#[test]
fn tampered_claims_are_rejected_by_name() {
    let set = keys();
    let case = chain(&[2, 1]).remove(1);
    let (tx, good) = &case.txs[0];
    let decode = |t: &TxTransition| {
        let input = base_input(&set, &case, tx, t);
        Input::from_bytes(Circuit::TxBase, &input).map(|_| ())
    };
    decode(good).unwrap();
    let mut t = good.clone();
    t.effects.claim.as_mut().unwrap().path[0] += Fr::from(1u64);
    assert!(matches!(decode(&t), Err(JobError::Witness(WitnessError::RootBefore))));
    let mut t = good.clone();
    t.effects.message_root += Fr::from(1u64);
    assert!(matches!(decode(&t), Err(JobError::Witness(WitnessError::RootBefore))));
    let mut t = good.clone();
    let insertion = &t.effects.claim.as_ref().unwrap().insertion;
    t.effects.start.nullifier_root = insertion.root_after;
    assert!(matches!(decode(&t), Err(JobError::Witness(_))));
}

#[test]
fn ranges_and_headers_that_do_not_join_are_rejected_by_name() {
    let set = keys();
    let case = two_txs();
    let txs = bytes(&tx_outputs(&set, &case));
    let verify = |circuit: Circuit, input: &[u8]| {
        let public = vec![Fr::from(0u64); circuit.n_public()];
        jobs::verify(&set, circuit.name(), input, &output(circuit, public).to_bytes()).unwrap_err()
    };
    let swapped = jobs::tx_merge_input(&txs[1], &txs[0]).unwrap();
    assert!(matches!(
        verify(Circuit::TxMerge, &swapped),
        JobError::Join(JoinError::Gap { what: "state" })
    ));
    let repeated = jobs::tx_merge_input(&txs[0], &txs[0]).unwrap();
    assert!(matches!(verify(Circuit::TxMerge, &repeated), JobError::Join(JoinError::Gap { .. })));

    let rejected = |change: &dyn Fn(&mut BlockCase)| {
        let mut case = case.clone();
        change(&mut case);
        verify(Circuit::BlockRoot2, &block_input(&set, &case, &txs))
    };
    let slot = rejected(&|case| case.block.header.slot = 0);
    assert!(matches!(slot, JobError::Join(JoinError::Header { what: "slot" })), "{slot}");
    let time = rejected(&|case| case.block.header.timestamp += 1);
    assert!(matches!(time, JobError::Join(JoinError::Parent { what: "timestamp" })), "{time}");
    let fees = rejected(&|case| case.block.header.total_fees += 1);
    assert!(matches!(fees, JobError::Join(JoinError::Header { what: "total_fees" })), "{fees}");
    let data = rejected(&|case| case.commitment.0[7] ^= 1);
    assert!(matches!(data, JobError::Join(JoinError::Link { what: "z" })), "{data}");
    let messages = rejected(&|case| case.block.messages.leaves[0] += Fr::from(1u64));
    assert!(matches!(messages, JobError::Join(JoinError::Header { .. })), "{messages}");
    let mut foreign = constants(&set);
    foreign.vk_root += Fr::from(1u64);
    let empty = chain(&[0]).remove(0);
    let (block, zero) = (&empty.block, Fr::from(0u64));
    let input = BlockInput::new(foreign, config(), block, empty.commitment, zero);
    let input = jobs::block_root_input(input, &[]).unwrap();
    assert!(matches!(verify(Circuit::BlockRoot0, &input), JobError::Keys { .. }));
}

#[test]
fn a_result_has_one_encoding() {
    let good = output(Circuit::TxMerge, vec![Fr::from(7u64); Circuit::TxMerge.n_public()]);
    let bytes = good.to_bytes();
    assert_eq!(bytes.len(), 2 + 32 * 45 + PROOF_LEN);
    assert_eq!(Output::from_bytes(&bytes).unwrap(), good);
    assert!(Output::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(Output::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    for i in 0..34 {
        let mut flipped = bytes.clone();
        flipped[i] ^= 0x80;
        assert!(Output::from_bytes(&flipped).is_err_and(|_| true) || i > 2, "byte {i}");
    }
}

#[test]
fn a_set_of_keys_is_read_strictly() {
    let set = keys();
    let bytes = set.to_bytes();
    assert_eq!(KeySet::from_bytes(&bytes).unwrap(), set);
    for i in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[i] ^= 1 << (i % 8);
        assert!(KeySet::from_bytes(&flipped).is_err(), "byte {i}");
        assert!(KeySet::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
    }
    assert!(KeySet::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    assert!(set.require_root(&set.root()).is_ok());
    let other = set.root() + Fr::from(1u64);
    assert!(matches!(set.require_root(&other), Err(KeySetError::Root { .. })));
}

/// Goal: whoever changes a set of keys and makes its digest anew has a set of another root, which no
/// deployment pins.
#[test]
fn a_set_of_keys_changed_with_its_digest_has_another_root() {
    let set = keys();
    let bytes = set.to_bytes();
    let contents = bytes.len() - 32;
    let (mut read, mut free) = (0, Vec::new());
    for i in 0..contents {
        let mut changed = bytes[..contents].to_vec();
        changed[i] ^= 1 << (i % 8);
        let digest = Sha256::digest(&changed);
        changed.extend_from_slice(&digest);
        if let Ok(other) = KeySet::from_bytes(&changed) {
            read += 1;
            if other.require_root(&set.root()).is_ok() {
                free.push(i);
            }
        }
    }
    assert!(read >= 9 * 8, "too few changes were read to show anything: {read}");
    // The layout digest only tells an agent that its build lays the circuit out otherwise; the key
    // itself, which the root covers, says what is proven.
    let layout_digests = Circuit::ALL.len() * 32;
    assert_eq!(free.len(), layout_digests, "{free:?}");
}

/// A job's input, byte by byte: another encoding is rejected, or means another job. Inputs that are made
/// of the same parts as one that is taken whole are taken at a stride.
#[test]
fn every_flipped_or_missing_byte_of_a_jobs_input_is_rejected_or_means_another_job() {
    let cases = [
        ("00-tx_base", Circuit::TxBase, 1),
        ("03-tx_merge", Circuit::TxMerge, 7),
        ("04-block_root_2", Circuit::BlockRoot2, 7),
        ("05-block_root_0", Circuit::BlockRoot0, 1),
        ("07-block_root_1", Circuit::BlockRoot1, 7),
        ("08-block_merge", Circuit::BlockMerge, 7),
        ("09-epoch_root_2", Circuit::EpochRoot2, 1),
    ];
    std::thread::scope(|scope| {
        for (name, circuit, stride) in cases {
            scope.spawn(move || flip_and_cut(name, circuit, stride));
        }
    });
}

fn flip_and_cut(name: &str, circuit: Circuit, stride: usize) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let bytes = std::fs::read(format!("{folder}/{name}.input")).unwrap();
    assert!(Input::from_bytes(circuit, &bytes).is_ok(), "{name}");
    for i in (0..bytes.len()).step_by(stride) {
        let mut flipped = bytes.clone();
        flipped[i] ^= 1 << (i % 8);
        if let Ok(other) = Input::from_bytes(circuit, &flipped) {
            assert_eq!(other.to_bytes(), flipped, "{name}: byte {i} has two encodings");
        }
    }
    // Reading stops where the bytes do, so that a cut inside a field is like one at its start.
    for i in (0..bytes.len()).step_by(61) {
        assert!(Input::from_bytes(circuit, &bytes[..i]).is_err(), "{name}: cut at {i}");
    }
}
