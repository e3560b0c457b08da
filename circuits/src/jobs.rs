//! Proof jobs: canonical inputs, and what an agent does with one.
//!
//! A job is a pure function of its input and the keys: rollup proofs hide nothing, so they are made
//! without secret blinding, and two agents make the same bytes.

mod input;

use std::sync::Arc;
use std::time::Duration;

use rollmill_algebra::Fr;
use rollmill_algebra::device::{Device, DeviceError};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::key::{KeyError, ProvingKey, setup};
use rollmill_plonk::layout::{Layout, LayoutError, Witness};
use rollmill_plonk::proof::{PROOF_BYTES, Proof, ProofError};
use rollmill_plonk::prover::{Blinding, ProveError};
use rollmill_protocol::builder::{ArchiveWitness, Block};
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::join::JoinError;
use rollmill_protocol::tree::WitnessError;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::{
    BlockRange, ChainLink, Circuit, ClientInputs, Constants, EpochRoot, EthAddress, Header, Pair,
    Tx, TxRange, TxTransition,
};

use crate::block_merge::BlockMergeWitness;
use crate::block_root::BlockRootWitness;
use crate::children::Child;
use crate::circuit::{log_n, transcript};
use crate::client::ClientWitness;
use crate::epoch_root::EpochRootWitness;
use crate::keyset::{KeySet, RefusedProof};
use crate::registry::{Keys, Loaded, RegistryError};
use crate::tx_base::TxBaseWitness;
use crate::{block_merge, block_root, client, epoch_root, tx_base, tx_merge};

pub use input::{BlockInput, Input};

const OUTPUT_FORMAT: u8 = 1;

/// Why a job gave no proof, or a result was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// No circuit has this name or role.
    ///
    /// Do: Run broker, agent and prover node of the same release.
    #[error("CIR-001: there is no circuit `{got}`")]
    Kind { got: String },
    /// The bytes are the input or result of another circuit.
    ///
    /// Do: Run agent and prover node of the same release. Otherwise report it with the job's id.
    #[error("CIR-002: the bytes are for role {got}, not for {expected}")]
    Role { expected: Circuit, got: u8 },
    /// A circuit cannot verify a child of this type.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("CIR-003: {parent} takes no child of {child}")]
    Child { parent: Circuit, child: Circuit },
    /// The input was made for other keys: its key root or protocol version differs.
    ///
    /// Do: Use the keys of this release on every machine (`agent keys`), and delete all others.
    #[error("CIR-004: {what} of the input differs from that of these keys")]
    Keys { what: &'static str },
    /// The fee of the input does not follow from the transaction: its prices exceed the maximum, or
    /// the balance is too low.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("CIR-005: fee: {what}")]
    Fee { what: &'static str },
    /// The header of the input contradicts the blocks or transactions it covers.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("CIR-006: header: {what}")]
    Header { what: &'static str },
    /// The proof of a child does not verify.
    ///
    /// Do: Run agent and prover node of the same release. Otherwise report the range's capture.
    #[error("CIR-007: the proof of child {index} ({circuit}) is invalid: {source}")]
    ChildProof { index: usize, circuit: Circuit, source: RefusedProof },
    /// The proof states a public input that does not follow from the job's input.
    ///
    /// Do: Nothing: the result is rejected. If it recurs for one agent, test its device.
    #[error("CIR-008: public input {index} does not follow from the job's input")]
    PublicInput { index: usize },
    /// The proof just made does not verify.
    ///
    /// Do: Test the device: its memory, cooling and driver. If it recurs on the CPU, report it as
    /// SECURITY.md says.
    #[error("CIR-009: the proof just made does not verify: {reason}")]
    Unsatisfied { reason: String },
    /// The result of a job is invalid.
    ///
    /// Do: Nothing: it is rejected and proven again. If it recurs for one agent, test its device.
    #[error("CIR-016: the result is invalid: {0}")]
    Refused(#[source] RefusedProof),
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

impl JobError {
    /// True when no retry can help: the input itself is wrong.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Registry(_) | Self::Prove(_))
    }

    /// What the device said, if it is the cause.
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

/// A job's result: what a circuit states, and the proof of it.
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

    /// Canonical bytes: format, role, public inputs, proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    /// Reads canonical bytes.
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

/// The input of a TxBase job. `constants` are [`KeySet::constants`].
pub fn tx_base_input(
    constants: &Constants,
    price: FeePerGas,
    tx: &Tx,
    transition: &TxTransition,
) -> Vec<u8> {
    let witness = TxBaseWitness {
        constants: *constants,
        price,
        effects: tx.effects.clone(),
        transition: transition.clone(),
    };
    let mut proof = tx.client_proof.clone();
    // A proof of another length cannot be right; the job then says so instead of shifting bytes.
    proof.resize(PROOF_BYTES, 0);
    let (witness, anchor_header_hash) = (Box::new(witness), tx.anchor_header_hash);
    Input::TxBase { witness, anchor_header_hash, proof }.to_bytes()
}

/// The input of a TxMerge job over two results.
pub fn tx_merge_input(left: &[u8], right: &[u8]) -> Result<Vec<u8>, JobError> {
    let children = [Output::from_bytes(left)?, Output::from_bytes(right)?];
    Ok(Input::TxMerge { children }.to_bytes())
}

/// The input of a BlockRoot job over the results of the block's runs (0 to 2).
pub fn block_root_input(
    constants: &Constants,
    prover_id: EthAddress,
    block: &Block,
    chain_prev: Fr,
    ranges: &[Vec<u8>],
) -> Result<Vec<u8>, JobError> {
    let input = BlockInput {
        constants: *constants,
        prover_id,
        parent: block.parent.clone(),
        header: block.header.clone(),
        parent_path: block.archive.parent_path.clone(),
        append_path: block.archive.append.path.clone(),
        chain_prev,
        data_hash: block.data().data_hash(),
    };
    let children = ranges.iter().map(|r| Output::from_bytes(r)).collect::<Result<Vec<_>, _>>()?;
    if Circuit::variant(Family::BlockRoot, children.len()).is_none() {
        let (circuit, got) = ("block_root", children.len());
        return Err(JoinError::Children { circuit, got }.into());
    }
    Ok(Input::BlockRoot { block: Box::new(input), children }.to_bytes())
}

/// The input of a BlockMerge job over two results.
pub fn block_merge_input(left: &[u8], right: &[u8]) -> Result<Vec<u8>, JobError> {
    let children = [Output::from_bytes(left)?, Output::from_bytes(right)?];
    Ok(Input::BlockMerge { children }.to_bytes())
}

/// The input of an EpochRoot job over one or two results.
pub fn epoch_root_input(slots_per_epoch: u64, ranges: &[Vec<u8>]) -> Result<Vec<u8>, JobError> {
    let children = ranges.iter().map(|r| Output::from_bytes(r)).collect::<Result<Vec<_>, _>>()?;
    if Circuit::variant(Family::EpochRoot, children.len()).is_none() {
        let (circuit, got) = ("epoch_root", children.len());
        return Err(JoinError::Children { circuit, got }.into());
    }
    Ok(Input::EpochRoot { slots_per_epoch, children }.to_bytes())
}

fn circuit_of(kind: &str) -> Result<Circuit, JobError> {
    Circuit::from_name(kind).ok_or_else(|| JobError::Kind { got: kind.to_owned() })
}

fn client_inputs(w: &TxBaseWitness, anchor_header_hash: Fr) -> ClientInputs {
    ClientInputs {
        chain_id: w.constants.chain_id,
        version: w.constants.version,
        anchor_header_hash,
        tx_hash: w.transition.effects.tx_hash,
    }
}

/// The block of a BlockRoot input as the plain twin wants it; its transactions are not needed.
fn block_of(input: &BlockInput) -> Result<(Block, ChainLink), JobError> {
    let (parent, header) = (&input.parent, &input.header);
    // Without `..`, so that a new field must be given a rule here, or the place of its rule.
    let Header {
        chain_id,
        version,
        block_number,
        slot,
        timestamp,
        coinbase: _,       // the proposer's choice
        fee_per_l2_gas: _, // `BlockRange::of_block`, as all below but the archive's root
        fee_per_da_gas: _,
        total_fees: _,
        tx_count: _,
        last_archive_root: _, // `archive_after`
        state: _,
        txs_chain: _,
        in_hash: _,
        out_hash: _,
    } = header;
    let rules = [
        (parent.block_number.checked_add(1) == Some(*block_number), "block number"),
        (parent.slot < *slot, "slot"),
        (parent.timestamp < *timestamp, "timestamp"),
        (parent.chain_id == input.constants.chain_id, "parent's chain id"),
        (*chain_id == input.constants.chain_id, "chain id"),
        (parent.version == input.constants.version, "parent's version"),
        (*version == input.constants.version, "version"),
    ];
    if let Some((_, what)) = rules.iter().find(|(holds, _)| !holds) {
        return Err(JobError::Header { what });
    }
    let append = input::archive_after(input)?;
    let link = ChainLink::new(header, input.chain_prev, input.data_hash, append.root_after);
    let block = Block {
        header: header.clone(),
        header_hash: append.subtree_root,
        parent: parent.clone(),
        txs: Vec::new(),
        start: parent.state,
        end: header.state,
        archive: ArchiveWitness { parent_path: input.parent_path.clone(), append },
    };
    Ok((block, link))
}

/// The public inputs an input leads to by the plain twins, with a placeholder pair at the end.
fn expected(set: &KeySet, input: &Input) -> Result<Vec<Fr>, JobError> {
    let rows = set.charged_rows();
    let pair = Pair::trivial();
    let (constants, public) = match input {
        Input::TxBase { witness: w, .. } => {
            let range = TxRange::of_tx(&w.transition, w.constants, w.price, pair);
            (w.constants, range.to_fields())
        }
        Input::TxMerge { children: [left, right] } => {
            let range = left.tx_range()?.join(&right.tx_range()?, pair)?;
            (range.constants, range.to_fields())
        }
        Input::BlockRoot { block: input, children } => {
            let ranges = children.iter().map(Output::tx_range).collect::<Result<Vec<_>, _>>()?;
            let (block, link) = block_of(input)?;
            let (constants, prover) = (input.constants, input.prover_id);
            let range =
                BlockRange::of_block(&ranges, &block, &link, constants, prover, &rows, pair)?;
            (constants, range.to_fields())
        }
        Input::BlockMerge { children: [left, right] } => {
            let range = left.block_range()?.join(&right.block_range()?, &rows, pair)?;
            (range.constants, range.to_fields())
        }
        Input::EpochRoot { slots_per_epoch, children } => {
            let ranges = children.iter().map(Output::block_range).collect::<Result<Vec<_>, _>>()?;
            let root = EpochRoot::of_ranges(&ranges, *slots_per_epoch, &rows, pair)?;
            (root.constants, root.to_fields())
        }
    };
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

/// Lays the circuit of an input out. The children's proofs are verified first.
fn build(set: &KeySet, input: &Input) -> Result<Builder, JobError> {
    let circuit = input.circuit();
    Ok(match input {
        Input::TxBase { witness, anchor_header_hash, proof } => {
            let public = client_inputs(witness, *anchor_header_hash).to_fields();
            tx_base::build(witness, &child(set, 0, Circuit::Client, &public, proof)?)
        }
        Input::TxMerge { children } => {
            let constants = children[0].tx_range()?.constants;
            tx_merge::build(&constants, &pair_of(set, children)?)
        }
        Input::BlockRoot { block, children: outputs } => {
            let witness = BlockRootWitness {
                constants: block.constants,
                prover_id: block.prover_id,
                parent: block.parent.clone(),
                header: block.header.clone(),
                parent_path: block.parent_path.clone(),
                append_path: block.append_path.clone(),
                archive_root_before: block.header.last_archive_root,
                chain_prev: block.chain_prev,
                data_hash: block.data_hash,
                charges: [Circuit::TxBase, Circuit::TxMerge, circuit].map(|c| set.opened(c)),
            };
            block_root::build(&witness, &children(set, outputs)?)
        }
        Input::BlockMerge { children } => {
            let constants = children[0].block_range()?.constants;
            let witness = BlockMergeWitness { constants, charge: set.opened(circuit) };
            block_merge::build(&witness, &pair_of(set, children)?)
        }
        Input::EpochRoot { slots_per_epoch, children: outputs } => {
            let constants = outputs[0].block_range()?.constants;
            let slots_per_epoch = *slots_per_epoch;
            let charge = set.opened(circuit);
            let witness = EpochRootWitness { constants, slots_per_epoch, charge };
            epoch_root::build(&witness, &children(set, outputs)?)
        }
    })
}

/// The circuit of a job over its witness: what [`prove`] proves, to look at.
///
/// # Errors
/// When the input is none, or a child's proof does not verify.
pub fn lay_out(set: &KeySet, kind: &str, input: &[u8]) -> Result<Builder, JobError> {
    build(set, &Input::from_bytes(circuit_of(kind)?, input)?)
}

/// Requires two lists of public inputs to agree in everything but the pair.
fn same_public(circuit: Circuit, expected: &[Fr], got: &[Fr]) -> Result<(), JobError> {
    // Without a pair, everything.
    let compared = circuit.pair_at().unwrap_or(circuit.n_public());
    match (0..compared).find(|i| expected.get(*i) != got.get(*i)) {
        Some(index) => Err(JobError::PublicInput { index }),
        None => Ok(()),
    }
}

/// A job that needs only the device: its witness is made.
#[derive(Debug)]
pub struct Prepared<D: Device> {
    circuit: Circuit,
    loaded: Arc<Loaded<D>>,
    layout: Layout,
    witness: Witness,
    witness_seconds: f64,
}

/// The first half of a job: reads the input, checks it by the plain rules, verifies the children,
/// and computes the witness. `now` is a clock that only goes forward.
///
/// # Errors
/// [`JobError::is_permanent`] tells whether another agent could do better.
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
    let (layout, witness) = build(set, &input)?.finish(Some(log_n(circuit)))?;
    let witness_seconds = (now() - started).as_secs_f64();
    same_public(circuit, &expected, &witness.public)?;
    Ok(Prepared { circuit, loaded, layout, witness, witness_seconds })
}

/// The second half of a job: proves and verifies what it made.
///
/// # Errors
/// As [`prepare`].
pub fn finish<D: Device>(
    keys: &Keys<D>,
    prepared: Prepared<D>,
    now: &dyn Fn() -> Duration,
) -> Result<JobOutput, JobError> {
    let Prepared { circuit, loaded, layout, witness, witness_seconds } = prepared;
    let started = now();
    let (key, bases, kind) = (&loaded.key, &loaded.bases, transcript(circuit));
    let proof = keys.prove(key, bases, kind, &witness, Blinding::Off)?.to_bytes();
    let proving_seconds = (now() - started).as_secs_f64();
    if let Err(refused) = keys.set().verify(circuit, &witness.public, &proof) {
        // Slow, and only after a failure: names the gate and the row.
        let reason = match check(&layout, &witness) {
            Err(violation) => violation.to_string(),
            Ok(()) => refused.to_string(),
        };
        return Err(JobError::Unsatisfied { reason });
    }
    Ok(JobOutput {
        bytes: Output { circuit, public: witness.public, proof }.to_bytes(),
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
    finish(keys, prepare(keys, kind, input, now)?, now)
}

/// Verifies a job's result: it states what the input leads to, and its proof and the pair it carries
/// hold. The children's proofs, which the proof covers, are not verified again.
pub fn verify(set: &KeySet, kind: &str, input: &[u8], output: &[u8]) -> Result<Output, JobError> {
    let input = Input::from_bytes(circuit_of(kind)?, input)?;
    let output = Output::from_bytes(output)?;
    if output.circuit != input.circuit() {
        let (expected, got) = (input.circuit(), output.circuit as u8);
        return Err(JobError::Role { expected, got });
    }
    same_public(output.circuit, &expected(set, &input)?, &output.public)?;
    set.verify(output.circuit, &output.public, &output.proof).map_err(JobError::Refused)?;
    Ok(output)
}

/// Proves a transfer, blinded by `seed`, which must be secret and fresh. Answers the proof.
pub fn prove_client<D: Device>(
    keys: &Keys<D>,
    witness: &ClientWitness,
    seed: [u8; 32],
) -> Result<Vec<u8>, JobError> {
    let circuit = Circuit::Client;
    let loaded = keys.proving_key(circuit)?;
    let (layout, laid) = client::build(witness).finish(Some(log_n(circuit)))?;
    let (key, bases, kind) = (&loaded.key, &loaded.bases, transcript(circuit));
    let proof = keys.prove(key, bases, kind, &laid, Blinding::On { seed })?.to_bytes();
    if let Err(refused) = keys.set().verify(circuit, &laid.public, &proof) {
        let reason = match check(&layout, &laid) {
            Err(violation) => violation.to_string(),
            Ok(()) => refused.to_string(),
        };
        return Err(JobError::Unsatisfied { reason });
    }
    Ok(proof)
}

/// A valid proof that states `inputs` without a witness, under a key of the proof's own: for showing
/// that whoever verifies holds on to the client circuit's key.
pub fn prove_unconstrained<D: Device>(
    keys: &Keys<D>,
    inputs: &ClientInputs,
) -> Result<Vec<u8>, JobError> {
    let circuit = Circuit::Client;
    let fields = inputs.to_fields();
    let mut b = Builder::new(fields.len(), client::CELL_BITS);
    for (i, value) in fields.into_iter().enumerate() {
        let var = b.witness(value);
        b.set_public(i, var);
    }
    let (layout, laid) = b.finish(Some(log_n(circuit)))?;
    let loaded = keys.proving_key(circuit)?;
    let columns = layout.fixed_columns();
    let (device, srs) = (keys.device(), loaded.key.vk.srs_id);
    let vk =
        setup(device, &loaded.bases, srs, layout.shape, &columns).map_err(RegistryError::Key)?;
    let key = ProvingKey::new(device, vk, &columns).map_err(RegistryError::Key)?;
    let kind = transcript(circuit);
    let proof = keys.prove(&key, &loaded.bases, kind, &laid, Blinding::Off)?;
    Ok(proof.to_bytes())
}
