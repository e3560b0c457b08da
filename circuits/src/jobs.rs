//! Proof jobs: canonical inputs, and how an agent proves one.
//!
//! A job is a pure function of its input and the keys: rollup proofs hide nothing, so they have no secret blinding,
//! and two agents generate the same bytes.

mod block_merge;
mod block_root;
mod client;
mod epoch_root;
mod input;
mod tx_base;
mod tx_merge;

use std::sync::Arc;
use std::time::Duration;

use rollmill_algebra::Fr;
use rollmill_algebra::device::{Device, DeviceError};
use rollmill_errors::{Coded, Disposition};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::key::KeyError;
use rollmill_plonk::layout::{Layout, LayoutError, Witness};
use rollmill_plonk::proof::{PROOF_BYTES, Proof, ProofError};
use rollmill_plonk::prover::ProveError;
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::join::JoinError;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::tree::WitnessError;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::{BlockRange, Circuit, Pair, TxRange};

use crate::children::Child;
use crate::circuit::{log_n, transcript};
use crate::keyset::{KeySet, RejectedProof};
use crate::registry::{Keys, Loaded, RegistryError};

pub use crate::block_root::BlockInput;
pub use block_merge::{BlockMergeInput, block_merge_input};
pub use block_root::{BlockRootInput, block_root_input};
pub use client::{NoJob, prove_blinded, prove_client, prove_unconstrained};
pub use epoch_root::{EpochRootInput, epoch_root_input};
pub use input::{Input, RangeData, dummy, input};
pub use tx_base::{TxBaseInput, tx_base_input};
pub use tx_merge::{TxMergeInput, tx_merge_input};

const OUTPUT_FORMAT: u8 = 2;

/// Why a job has no proof, or a result was rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// No circuit has this name or role.
    ///
    /// Do: Run broker, agent and prover node of the same release.
    #[error("{code}: there is no circuit `{got}`", code = self.code())]
    Kind { got: String },
    /// The bytes are the input or result of another circuit.
    ///
    /// Do: Run agent and prover node of the same release. Otherwise report it with the job's id.
    #[error("{code}: the bytes are for role {got}, not for {expected}", code = self.code())]
    Role { expected: Circuit, got: u8 },
    /// A circuit cannot verify a child of this type.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {parent} takes no child of {child}", code = self.code())]
    Child { parent: Circuit, child: Circuit },
    /// The input was made for other keys: its key root or protocol version differs.
    ///
    /// Do: Use the keys of this release on every machine (`rollmill-agent keys`), and delete all others.
    #[error("{code}: {what} of the input differs from that of these keys", code = self.code())]
    Keys { what: &'static str },
    /// The transaction of the input cannot be in its block: it has expired, does not allow the prices, or does
    /// not have the value.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: transaction: {what}", code = self.code())]
    Transaction { what: &'static str },
    /// The proof of a child does not verify.
    ///
    /// Do: Run agent and prover node of the same release. Otherwise report the range's capture.
    #[error("{code}: the proof of child {index} ({circuit}) is invalid: {cause}", code = self.code(), cause = rollmill_errors::Bare(.source))]
    ChildProof { index: usize, circuit: Circuit, source: RejectedProof },
    /// The proof states a public input that does not follow from the job's input.
    ///
    /// Do: Nothing: the result is rejected. If it recurs for one agent, test its device.
    #[error("{code}: public input {index} does not follow from the job's input", code = self.code())]
    PublicInput { index: usize },
    /// The proof just made does not verify.
    ///
    /// Do: Test the device: its memory, cooling and driver. If it recurs on the CPU, report it as
    /// SECURITY.md says.
    #[error("{code}: the proof just made does not verify: {reason}", code = self.code())]
    Unsatisfied { reason: String },
    /// The result of a job is invalid.
    ///
    /// Do: Nothing: it is rejected and proven again. If it recurs for one agent, test its device.
    #[error("{code}: the result is invalid: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Rejected(#[source] RejectedProof),
    /// No job of this circuit is about this part of the range, or the range has no such part.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: {circuit} proves nothing about {subject} of this range", code = self.code())]
    Subject { circuit: Circuit, subject: Subject },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Prove(#[from] ProveError),
}

rollmill_errors::coded! {
    JobError {
        Self::Kind { .. } => "CIR-001" permanent,
        Self::Role { .. } => "CIR-002" permanent,
        Self::Child { .. } => "CIR-003" permanent,
        Self::Keys { .. } => "CIR-004" permanent,
        Self::Transaction { .. } => "CIR-005" permanent,
        Self::ChildProof { .. } => "CIR-007" permanent,
        Self::PublicInput { .. } => "CIR-008" permanent,
        Self::Unsatisfied { .. } => "CIR-009" permanent,
        Self::Rejected(..) => "CIR-016" permanent,
        Self::Subject { .. } => "CIR-017" permanent,
        Self::Decode(error) => (error) permanent,
        Self::Proof(error) => (error) permanent,
        Self::Witness(error) => (error) permanent,
        Self::Join(error) => (error) permanent,
        Self::Registry(error) => (error),
        Self::Layout(error) => (error) permanent,
        Self::Prove(error) => (error),
    }
}

impl JobError {
    /// True when no retry can help, because the input itself is wrong.
    pub fn is_permanent(&self) -> bool {
        self.disposition() == Disposition::Permanent
    }

    /// The device's error, if it is the cause.
    pub fn device(&self) -> Option<&DeviceError> {
        match self {
            Self::Prove(ProveError::Device(error))
            | Self::Registry(
                RegistryError::Device(error) | RegistryError::Key(KeyError::Device(error)),
            ) => Some(error),
            _ => None,
        }
    }
}

/// A job's result: a circuit's public inputs, and the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub circuit: Circuit,
    pub public: Vec<Fr>,
    /// [`PROOF_BYTES`] bytes.
    pub proof: Vec<u8>,
}

impl Output {
    fn write(&self, out: &mut Writer) {
        out.u8(OUTPUT_FORMAT);
        out.u8(self.circuit as u8);
        out.frs(&self.public);
        out.raw(&self.proof);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, JobError> {
        from.version(OUTPUT_FORMAT)?;
        let role = from.u8()?;
        let circuit = Circuit::ALL.get(usize::from(role)).copied();
        let circuit = circuit.ok_or(JobError::Kind { got: format!("role {role}") })?;
        let public = from.frs(circuit.n_public())?;
        Ok(Self { circuit, public, proof: from.raw(PROOF_BYTES)?.to_vec() })
    }

    /// Encodes the result: format, role, public inputs, proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    /// Decodes [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JobError> {
        let mut from = Reader::new("job output", bytes);
        let output = Self::read(&mut from)?;
        from.finish()?;
        Ok(output)
    }

    fn tx_range(&self) -> Result<TxRange, JobError> {
        Ok(TxRange::from_fields(&self.public)?)
    }

    fn block_range(&self) -> Result<BlockRange, JobError> {
        Ok(BlockRange::from_fields(&self.public)?)
    }
}

/// A finished job.
#[derive(Debug, Clone)]
pub struct JobOutput {
    /// [`Output::to_bytes`].
    pub bytes: Vec<u8>,
    /// Rows of the circuit, without padding.
    pub rows: u64,
    pub witness_seconds: f64,
    pub proving_seconds: f64,
}

fn circuit_of(kind: &str) -> Result<Circuit, JobError> {
    Circuit::from_name(kind).ok_or_else(|| JobError::Kind { got: kind.to_owned() })
}

/// Computes the public inputs of a job's input by the native rules, with a placeholder pair at the end.
fn expected(set: &KeySet, input: &Input) -> Result<Vec<Fr>, JobError> {
    let (constants, public) = input.job().expected(&set.charged_rows(), Pair::trivial())?;
    if constants.vk_root != set.root() {
        return Err(JobError::Keys { what: "the key tree's root" });
    }
    if constants.protocol_version != PROTOCOL_VERSION {
        return Err(JobError::Keys { what: "the protocol version" });
    }
    Ok(public)
}

fn child(
    set: &KeySet,
    index: usize,
    circuit: Circuit,
    public: &[Fr],
    proof: &[u8],
) -> Result<Child, JobError> {
    set.verify(circuit, public, proof).map_err(|source| JobError::ChildProof {
        index,
        circuit,
        source,
    })?;
    let opened = set.opened(circuit);
    Ok(Child {
        public: public.to_vec(),
        proof: Proof::from_bytes(proof)?,
        vk: set.key(circuit).vk.clone(),
        leaf: opened.leaf,
        path: opened.path,
    })
}

fn children(set: &KeySet, outputs: &[Output]) -> Result<Vec<Child>, JobError> {
    outputs
        .iter()
        .enumerate()
        .map(|(i, output)| child(set, i, output.circuit, &output.public, &output.proof))
        .collect()
}

fn pair_of(set: &KeySet, outputs: &[Output; 2]) -> Result<[Child; 2], JobError> {
    let make = |i: usize| {
        let output = &outputs[i];
        child(set, i, output.circuit, &output.public, &output.proof)
    };
    Ok([make(0)?, make(1)?])
}

/// Lays out the circuit of a job with its witness, as [`prove`] does, for inspection.
///
/// # Errors
/// When the input is malformed, or a child's proof does not verify.
pub fn lay_out(set: &KeySet, kind: &str, input: &[u8]) -> Result<Builder, JobError> {
    Input::from_bytes(circuit_of(kind)?, input)?.job().build(set)
}

/// Checks that two lists of public inputs are equal except for the pair.
fn same_public(circuit: Circuit, expected: &[Fr], got: &[Fr]) -> Result<(), JobError> {
    match (0..circuit.pair_at()).find(|i| expected.get(*i) != got.get(*i)) {
        Some(index) => Err(JobError::PublicInput { index }),
        None => Ok(()),
    }
}

/// A job with its witness computed, ready for the device.
#[derive(Debug)]
pub struct Prepared<D: Device> {
    circuit: Circuit,
    loaded: Arc<Loaded<D>>,
    layout: Layout,
    witness: Witness,
    witness_seconds: f64,
}

/// The first half of a job: decodes the input, checks it by the native rules, verifies the children, and computes
/// the witness. `now` is a monotonic clock.
///
/// # Errors
/// [`JobError::is_permanent`] tells whether another agent could succeed.
pub fn prepare<D: Device>(
    keys: &Keys<D>,
    kind: &str,
    input: &[u8],
    now: &dyn Fn() -> Duration,
) -> Result<Prepared<D>, JobError> {
    let set = keys.set();
    let input = Input::from_bytes(circuit_of(kind)?, input)?;
    let expected = expected(set, &input)?;
    let circuit = input.circuit();
    let loaded = keys.proving_key(circuit)?;

    let started = now();
    let (layout, witness) = witness_of(set, &input, &expected)?;
    let witness_seconds = (now() - started).as_secs_f64();
    Ok(Prepared { circuit, loaded, layout, witness, witness_seconds })
}

/// What [`prepare`] does without a key on a device, for measurements of the host.
///
/// # Errors
/// As [`prepare`].
pub fn witness(set: &KeySet, kind: &str, input: &[u8]) -> Result<(Layout, Witness), JobError> {
    let input = Input::from_bytes(circuit_of(kind)?, input)?;
    witness_of(set, &input, &expected(set, &input)?)
}

fn witness_of(set: &KeySet, input: &Input, expected: &[Fr]) -> Result<(Layout, Witness), JobError> {
    let circuit = input.circuit();
    let (layout, witness) = input.job().build(set)?.finish(Some(log_n(circuit)))?;
    same_public(circuit, expected, &witness.public)?;
    Ok((layout, witness))
}

/// The second half of a job: proves, and verifies the proof. `goes_on` is asked between the rounds of the proof whether
/// it is still wanted.
///
/// # Errors
/// As [`prepare`], and [`ProveError::Stopped`] once `goes_on` returns false.
pub fn finish<D: Device>(
    keys: &Keys<D>,
    prepared: Prepared<D>,
    now: &dyn Fn() -> Duration,
    goes_on: &dyn Fn() -> bool,
) -> Result<JobOutput, JobError> {
    let Prepared { circuit, loaded, layout, mut witness, witness_seconds } = prepared;
    let started = now();
    let proof = keys.prove_while(&loaded, transcript(circuit), &witness, goes_on)?.to_bytes();
    let proving_seconds = (now() - started).as_secs_f64();
    if let Err(rejected) = keys.set().verify(circuit, &witness.public, &proof) {
        // Slow, so only after a failure. Names the gate, the row and the section.
        let reason = match check(&layout, &witness) {
            Err(violation) => rollmill_errors::Bare(&violation).to_string(),
            Ok(()) => rollmill_errors::Bare(&rejected).to_string(),
        };
        return Err(JobError::Unsatisfied { reason });
    }
    let public = std::mem::take(&mut witness.public);
    // A proof of the rollup hides nothing.
    witness.recycle();
    Ok(JobOutput {
        bytes: Output { circuit, public, proof }.to_bytes(),
        rows: layout.rows_used as u64,
        witness_seconds,
        proving_seconds,
    })
}

/// Does a whole job: [`prepare`] and [`finish`].
///
/// # Errors
/// As [`prepare`].
pub fn prove<D: Device>(
    keys: &Keys<D>,
    kind: &str,
    input: &[u8],
    now: &dyn Fn() -> Duration,
) -> Result<JobOutput, JobError> {
    finish(keys, prepare(keys, kind, input, now)?, now, &|| true)
}

/// Verifies a job's result: its public inputs follow from the input, and its proof and the pair that it carries are
/// valid. The children's proofs are not verified again, since the proof covers them.
pub fn verify(set: &KeySet, kind: &str, input: &[u8], output: &[u8]) -> Result<Output, JobError> {
    let input = Input::from_bytes(circuit_of(kind)?, input)?;
    let output = Output::from_bytes(output)?;
    if output.circuit != input.circuit() {
        let (expected, got) = (input.circuit(), output.circuit as u8);
        return Err(JobError::Role { expected, got });
    }
    same_public(output.circuit, &expected(set, &input)?, &output.public)?;
    set.verify(output.circuit, &output.public, &output.proof).map_err(JobError::Rejected)?;
    Ok(output)
}
