//! Placeholders, to lay the kernel's circuits out for their keys. No proof in them is valid.

use ark_ec::AffineRepr;
use rollmill_algebra::pair::Pair;
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::{COMMITMENTS, EVALUATIONS, Proof};
use rollmill_plonk::shape::{Shape, fixed};
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::private::{
    ContractFunction, FUNCTION_HEIGHT, KernelInputs, KernelState, Padding, PrivateCall, SIZES,
    TailWitness, TxRequest,
};
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{Circuit, EthAddress, Header, StateRefs, TxState};

use super::{
    FUNCTION_SIZES, KERNEL_SIZE, ProvenCall, ProvenState, build_init, build_init2, build_inner,
    build_tail,
};
use crate::circuit::Dimensions;
use crate::gadgets::charge::OpenedLeaf;

/// A circuit of the kernel over placeholders, to lay it out; `None` for another circuit.
pub(crate) fn dummy(circuit: Circuit) -> Option<Builder> {
    let root = zero();
    Some(match circuit {
        Circuit::PrivateInit => build_init(root, &request(), &call()),
        Circuit::PrivateInit2 => build_init2(root, &request(), [&call(), &call()]),
        Circuit::PrivateInner => build_inner(root, &state(), &call()),
        Circuit::PrivateTail => {
            build_tail(root, &state(), &tail_witness(), &Pair::trivial().to_fields())
        }
        _ => return None,
    })
}

fn zero() -> Fr {
    Fr::from(0u64)
}

fn proof() -> Proof {
    Proof::from_parts(&[G1Affine::generator(); COMMITMENTS + 2], [zero(); EVALUATIONS])
}

fn key(size: Dimensions, n_public: usize) -> VerifyingKey {
    let Dimensions { log_n, cell_bits } = size;
    let shape = Shape { log_n, n_public: n_public as u32, cell_bits };
    VerifyingKey { shape, srs_id: zero(), fixed: [G1Affine::generator(); fixed::COUNT] }
}

fn request() -> TxRequest {
    TxRequest {
        origin: zero(),
        selector: zero(),
        args_hash: zero(),
        chain_id: 0,
        version: 0,
        gas: GasSettings::default(),
        salt: zero(),
    }
}

fn call() -> ProvenCall {
    let function = ContractFunction {
        vk_digest: zero(),
        log_n: 0,
        index: 0,
        path: [zero(); FUNCTION_HEIGHT],
        artifact_hash: zero(),
        bytecode_commitment: zero(),
        salt: zero(),
        init_hash: zero(),
        deployer: zero(),
        keys_hash: zero(),
    };
    let [size, ..] = FUNCTION_SIZES;
    let call = PrivateCall::empty();
    ProvenCall { call, digest: zero(), function, proof: proof(), vk: key(size, 1) }
}

fn state() -> ProvenState {
    let inputs =
        KernelInputs { state: zero(), vk_root: zero(), protocol_version: 0, pair: Pair::trivial() };
    ProvenState {
        inputs,
        state: KernelState::empty(),
        proof: proof(),
        vk: key(KERNEL_SIZE, KernelInputs::FIELDS),
        opened: OpenedLeaf::dummy(Circuit::PrivateInit),
    }
}

fn tail_witness() -> TailWitness {
    let [size, ..] = SIZES;
    TailWitness {
        anchor: header(),
        gas: GasSettings::default(),
        note_paths: Vec::new(),
        nullifier_paths: Vec::new(),
        nsks: Vec::new(),
        padding: Padding {
            size,
            note_hashes: [zero(); SLOTS],
            nullifiers: [zero(); SLOTS],
            tags: [zero(); SLOTS],
            log_hashes: [zero(); SLOTS],
        },
    }
}

fn header() -> Header {
    let tx_state = TxState {
        note_root: zero(),
        note_count: 0,
        nullifier_root: zero(),
        nullifier_count: 0,
        public_data_root: zero(),
        public_data_count: 0,
    };
    Header {
        chain_id: 0,
        version: 0,
        block_number: 0,
        slot: 0,
        timestamp: 0,
        coinbase: EthAddress::default(),
        fee_per_l2_gas: 0,
        fee_per_da_gas: 0,
        l2_gas_used: 0,
        da_gas_used: 0,
        total_fees: 0,
        tx_count: 0,
        last_archive_root: zero(),
        state: StateRefs { tx_state, message_root: zero(), message_count: 0 },
        txs_chain: zero(),
        in_hash: zero(),
        out_root: zero(),
    }
}
