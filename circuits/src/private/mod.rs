//! The circuits of the private kernel: init, init2, inner and tail.
//!
//! Their rules are those of `rollmill_protocol::private`, which makes their witnesses. Wallets prove them, and TxBase
//! verifies the tail. Proofs of functions and of the kernel are made with blinding, and the tail adds a random pair to
//! the one that it publishes, so that the pair says nothing of the proofs below.
//!
//! A kernel requires `vk_root` and `protocol_version` of its child to be its own, and TxBase requires those of the
//! tail to be the network's. So every step was verified under the network's keys.

mod call;
mod dummy;
mod function;
mod lists;
pub mod step;
pub mod tail;

use rollmill_algebra::Fr;
use rollmill_algebra::pair::PAIR_INPUTS;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::Proof;
use rollmill_protocol::Circuit;
use rollmill_protocol::circuit::Verifier;
use rollmill_protocol::private::{
    ContractFunction, KernelInputs, KernelInputsLayout, KernelState, PrivateCall, TailWitness,
    TxRequest,
};
use rollmill_protocol::version::PROTOCOL_VERSION;

pub(crate) use self::dummy::dummy;
pub use self::function::FunctionKey;
use crate::circuit::{Dimensions, RANGE_CELL_BITS, RANGE_LOG_N};
use crate::gadgets::charge::OpenedLeaf;
use crate::gadgets::effects::{inputs_of, publish};
use crate::gadgets::fold::{ChildSpec, Children, ProofWitness, TreeKey};
use crate::weaken::gone;

/// Base-2 logarithm of the number of rows of each circuit of the kernel.
pub const LOG_N: u32 = RANGE_LOG_N;
/// Bits of a limb cell of each circuit of the kernel.
pub const CELL_BITS: u32 = RANGE_CELL_BITS;
/// Bits of a limb cell of every function.
pub const FUNCTION_CELL_BITS: u32 = 12;
/// The sizes that a function may have.
pub const FUNCTION_SIZES: [Dimensions; 5] =
    [function_size(13), function_size(14), function_size(15), function_size(16), function_size(17)];
/// The size of the kernel's circuits.
pub const KERNEL_SIZE: Dimensions = Dimensions { log_n: LOG_N, cell_bits: CELL_BITS };

const fn function_size(log_n: u32) -> Dimensions {
    Dimensions { log_n, cell_bits: FUNCTION_CELL_BITS }
}

/// Roles of the circuits whose proofs inner and tail accept.
const ROLES: [u32; 3] =
    [Circuit::PrivateInit as u32, Circuit::PrivateInner as u32, Circuit::PrivateInit2 as u32];

/// A call with the proof of its function.
#[derive(Debug, Clone)]
pub struct ProvenCall {
    pub call: PrivateCall<Fr>,
    /// What the proof states: the call's digest, or the circuit rejects it.
    pub digest: Fr,
    pub function: ContractFunction,
    pub proof: Proof,
    pub vk: VerifyingKey,
}

/// A proof of init, init2 or inner with its key and the key's place in the tree.
#[derive(Debug, Clone)]
pub struct ProvenState {
    pub inputs: KernelInputs,
    pub state: KernelState<Fr>,
    pub proof: Proof,
    pub vk: VerifyingKey,
    /// The leaf of the circuit that made the proof.
    pub opened: OpenedLeaf,
}

/// What the network names: the root of its key tree, and the version of its rules.
#[derive(Debug, Clone, Copy)]
struct NetworkVars {
    vk_root: Var,
    protocol_version: Var,
}

impl NetworkVars {
    fn new(b: &mut Builder, vk_root: Fr) -> Self {
        Self { vk_root: b.witness(vk_root), protocol_version: b.witness(PROTOCOL_VERSION.into()) }
    }
}

/// Verifies the proof of a call. Returns the call's words.
fn verify_call(b: &mut Builder, children: &mut Children, w: &ProvenCall) -> PrivateCall<Var> {
    b.section("digest of the call");
    let call = w.call.clone().map(|word| b.witness(word));
    let digest = call::digest(b, &call);
    let key =
        FunctionKey { selector: call.selector, contract: call.contract, witness: &w.function };
    let public = [w.digest];
    let proof = ProofWitness { proof: &w.proof, public: &public, vk: &w.vk };
    let (public, ()) = children.verify(b, key, proof);
    if !gone("circuits.private.child.call") {
        b.assert_equal(public[0], digest);
    }
    call
}

/// Verifies a proof of the kernel under the network's keys. Returns the state's words.
fn verify_state(
    b: &mut Builder,
    children: &mut Children,
    network: NetworkVars,
    w: &ProvenState,
) -> KernelState<Var> {
    let spec = ChildSpec {
        roles: &ROLES,
        n_public: KernelInputs::FIELDS,
        sizes: &[KERNEL_SIZE],
        pair_at: Some(Circuit::PrivateInner.pair_at()),
        transcript: Verifier::Circuit.transcript(),
    };
    let NetworkVars { vk_root, protocol_version } = network;
    let OpenedLeaf { leaf, path } = &w.opened;
    let (role, charged_rows) = (leaf.circuit as u32, leaf.charged_rows);
    let key = TreeKey { spec, role, charged_rows, path, vk_root, protocol_version };
    let public = w.inputs.to_fields();
    let proof = ProofWitness { proof: &w.proof, public: &public, vk: &w.vk };
    let (public, _) = children.verify(b, key, proof);
    let inputs: KernelInputsLayout<Var> = inputs_of(&public);
    if !gone("circuits.private.child.vk_root") {
        b.assert_equal(inputs.vk_root, vk_root);
    }
    if !gone("circuits.private.child.protocol_version") {
        b.assert_equal(inputs.protocol_version, protocol_version);
    }
    b.section("digest of the state");
    let state = w.state.clone().map(|word| b.witness(word));
    let digest = step::digest(b, &state);
    if !gone("circuits.private.child.state") {
        b.assert_equal(inputs.state, digest);
    }
    state
}

/// Publishes a state, and what is owed for the proofs below.
fn publish_state(
    b: &mut Builder,
    children: Children,
    network: NetworkVars,
    state: &KernelState<Var>,
) {
    b.section("digest of the new state");
    let state = step::digest(b, state);
    let pair = inputs_of(&children.fold(b));
    let NetworkVars { vk_root, protocol_version } = network;
    publish(b, &KernelInputsLayout { state, vk_root, protocol_version, pair }.into_vec());
}

/// `private_init` over the first call.
pub fn build_init(vk_root: Fr, request: &TxRequest, first: &ProvenCall) -> Builder {
    let mut b = Builder::new(Circuit::PrivateInit.n_public(), CELL_BITS);
    let network = NetworkVars::new(&mut b, vk_root);
    let mut children = Children::default();
    let call = verify_call(&mut b, &mut children, first);
    let state = step::init(&mut b, request, &call);
    publish_state(&mut b, children, network, &state);
    b
}

/// `private_init2` over the first call and the one that waits on top of the stack after it.
pub fn build_init2(vk_root: Fr, request: &TxRequest, [first, second]: [&ProvenCall; 2]) -> Builder {
    let mut b = Builder::new(Circuit::PrivateInit2.n_public(), CELL_BITS);
    let network = NetworkVars::new(&mut b, vk_root);
    let mut children = Children::default();
    let first = verify_call(&mut b, &mut children, first);
    let second = verify_call(&mut b, &mut children, second);
    let state = step::init2(&mut b, request, [&first, &second]);
    publish_state(&mut b, children, network, &state);
    b
}

/// `private_inner` over a proof of the kernel and a nested call.
pub fn build_inner(vk_root: Fr, before: &ProvenState, nested: &ProvenCall) -> Builder {
    let mut b = Builder::new(Circuit::PrivateInner.n_public(), CELL_BITS);
    let network = NetworkVars::new(&mut b, vk_root);
    let mut children = Children::default();
    let state = verify_state(&mut b, &mut children, network, before);
    let call = verify_call(&mut b, &mut children, nested);
    let state = step::inner(&mut b, &state, &call);
    publish_state(&mut b, children, network, &state);
    b
}

/// `private_tail` over a proof of the kernel. `hiding` is a pair that holds, see [`tail::hiding_pair`].
pub fn build_tail(
    vk_root: Fr,
    last: &ProvenState,
    w: &TailWitness,
    hiding: &[Fr; PAIR_INPUTS],
) -> Builder {
    let mut b = Builder::new(Circuit::PrivateTail.n_public(), CELL_BITS);
    let network = NetworkVars::new(&mut b, vk_root);
    let mut children = Children::default();
    let state = verify_state(&mut b, &mut children, network, last);
    let statement = tail::constrain(&mut b, &state, &last.state, w);
    b.section("random pair");
    children.add_pair(&mut b, hiding);
    let pair = inputs_of(&children.fold(&mut b));
    let NetworkVars { vk_root, protocol_version } = network;
    publish(&mut b, &statement.inputs(vk_root, protocol_version, pair).into_vec());
    b
}
