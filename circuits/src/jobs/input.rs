//! Job inputs: one canonical byte string each, with the children's proofs and the witness.
//!
//! The bytes are a format byte, the role, what the family's file writes, and the children. Decoding is strict. What can
//! be computed from the rest (roots after an operation, hashes, fees) is computed and not encoded. So an input has one
//! encoding, and a wrong one is rejected before anything is proven.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::builder::Block;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX};
use rollmill_protocol::join::JoinError;
use rollmill_protocol::message::MESSAGE_SUBTREE_HEIGHT;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::{
    ChargedRows, Circuit, Commitment, Config, Constants, Pair, Tx, TxTransition,
};

use super::{JobError, Output};
use super::{block_merge, block_root, client, epoch_root, tx_base, tx_merge};
use crate::keyset::KeySet;

const FORMAT: u8 = 3;

/// The jobs of one family of circuits. Each family has a file in this directory.
pub(super) trait Job {
    /// The circuit that proves this input.
    fn circuit(&self) -> Circuit;
    /// The results that the job verifies, left first.
    fn children(&self) -> &[Output];
    /// Encodes the part between the role and the children.
    fn write(&self, out: &mut Writer);
    /// Decodes what [`Self::write`] wrote, and the children of `circuit`.
    ///
    /// # Errors
    /// When the bytes are malformed, or the native rules reject their contents.
    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError>
    where
        Self: Sized;
    /// The input of the job about `subject` over these results. `None` if no job of this family is about it, or the
    /// range does not contain it.
    ///
    /// # Errors
    /// When the number of results is wrong.
    fn of(
        data: &dyn RangeData,
        subject: Subject,
        made: Vec<Output>,
    ) -> Result<Option<Self>, JobError>
    where
        Self: Sized;
    /// The public inputs by the native rules, with `pair` at their end, and their constants.
    ///
    /// # Errors
    /// When the rules reject the input.
    fn expected(&self, rows: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError>;
    /// Lays the circuit out. The children's proofs are verified first.
    ///
    /// # Errors
    /// When a child's proof is invalid.
    fn build(&self, set: &KeySet) -> Result<Builder, JobError>;
    /// Lays `circuit` out over a dummy witness.
    fn dummy(circuit: Circuit) -> Builder
    where
        Self: Sized;
}

/// A range of blocks that is being proven. Blocks and transactions are counted as in [`Subject`].
pub trait RangeData {
    /// [`KeySet::constants`] of the deployment and the prover.
    fn constants(&self) -> Constants;
    /// The parameters of the deployment.
    fn config(&self) -> Config;
    /// A block, the commitment to its data, and L1's chain before it.
    fn block(&self, block: usize) -> Option<(&Block, Commitment, Fr)>;
    /// A transaction and its effect on the state.
    fn tx(&self, block: usize, tx: usize) -> Option<(&Tx, &TxTransition)>;
}

/// Makes [`Input`], and everything that depends on a circuit's family, of one table.
macro_rules! families {
    ($($(#[doc = $doc:literal])+ $family:ident => $job:ty;)+) => {
        /// A job input, read.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Input {
            $($(#[doc = $doc])+ $family($job),)+
        }

        impl Input {
            pub(super) fn job(&self) -> &dyn Job {
                match self {
                    $(Self::$family(job) => job,)+
                }
            }

            fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
                match circuit.family() {
                    $(Family::$family => <$job>::read(from, circuit).map(Self::$family),)+
                }
            }

            fn of(
                circuit: Circuit,
                data: &dyn RangeData,
                subject: Subject,
                made: Vec<Output>,
            ) -> Result<Option<Self>, JobError> {
                Ok(match circuit.family() {
                    $(Family::$family => <$job>::of(data, subject, made)?.map(Self::$family),)+
                })
            }
        }

        /// The circuit laid out over a dummy witness: the rows are the same for every witness, so that
        /// this serves setup and measurements. No proof of it is valid.
        pub fn dummy(circuit: Circuit) -> Builder {
            match circuit.family() {
                $(Family::$family => <$job>::dummy(circuit),)+
            }
        }
    };
}

families! {
    /// None: wallets prove this circuit.
    Client => client::NoJob;
    /// One transaction takes effect.
    TxBase => tx_base::TxBaseInput;
    /// Two adjacent ranges of transactions become one.
    TxMerge => tx_merge::TxMergeInput;
    /// A range of transactions is a whole block.
    BlockRoot => block_root::BlockRootInput;
    /// Two adjacent ranges of blocks become one.
    BlockMerge => block_merge::BlockMergeInput;
    /// A range of blocks lies inside one epoch.
    EpochRoot => epoch_root::EpochRootInput;
    /// None: wallets prove these circuits.
    Kernel => client::NoJob;
    /// None: wallets prove this circuit.
    Tail => client::NoJob;
    /// None: wallets prove this circuit.
    KernelStart => client::NoJob;
}

impl Input {
    /// The circuit that proves this input.
    pub fn circuit(&self) -> Circuit {
        self.job().circuit()
    }

    /// The children that ranges come from; none for TxBase, whose child is a client proof.
    pub fn children(&self) -> &[Output] {
        self.job().children()
    }

    /// Canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.u8(self.circuit() as u8);
        self.job().write(&mut out);
        self.children().iter().for_each(|child| child.write(&mut out));
        out.finish()
    }

    /// Reads the input of a job of this circuit.
    pub fn from_bytes(circuit: Circuit, bytes: &[u8]) -> Result<Self, JobError> {
        let mut from = Reader::new("job input", bytes);
        from.version(FORMAT)?;
        let role = from.u8()?;
        if u64::from(role) != circuit.role() {
            return Err(JobError::Role { expected: circuit, got: role });
        }
        let input = Self::read(&mut from, circuit)?;
        from.finish()?;
        Ok(input)
    }
}

/// The input of the job that `circuit` proves about `subject`, over these results.
///
/// # Errors
/// When the range does not have the subject, or `circuit` proves nothing about it; when the number of
/// results is wrong, or one of them is malformed.
pub fn input(
    circuit: Circuit,
    data: &dyn RangeData,
    subject: Subject,
    made: &[Vec<u8>],
) -> Result<Vec<u8>, JobError> {
    let made = Input::of(circuit, data, subject, outputs(made)?)?;
    let made = made.filter(|input| input.circuit() == circuit);
    Ok(made.ok_or(JobError::Subject { circuit, subject })?.to_bytes())
}

/// Reads results.
pub(super) fn outputs(made: &[Vec<u8>]) -> Result<Vec<Output>, JobError> {
    made.iter().map(|bytes| Output::from_bytes(bytes)).collect()
}

/// Exactly two results, for a merge.
pub(super) fn two(circuit: &'static str, made: Vec<Output>) -> Result<[Output; 2], JobError> {
    made.try_into()
        .map_err(|made: Vec<Output>| JoinError::Children { circuit, got: made.len() }.into())
}

fn read_child(from: &mut Reader<'_>, parent: Circuit) -> Result<Output, JobError> {
    let child = Output::read(from)?;
    if parent.accepts().contains(&child.circuit) {
        Ok(child)
    } else {
        Err(JobError::Child { parent, child: child.circuit })
    }
}

pub(super) fn read_children(
    from: &mut Reader<'_>,
    parent: Circuit,
) -> Result<Vec<Output>, JobError> {
    (0..parent.child_count()).map(|_| read_child(from, parent)).collect()
}

pub(super) fn read_pair(from: &mut Reader<'_>, parent: Circuit) -> Result<[Output; 2], JobError> {
    Ok([read_child(from, parent)?, read_child(from, parent)?])
}

pub(super) fn read_constants(from: &mut Reader<'_>) -> Result<Constants, DecodeError> {
    Constants::from_fields(&from.frs(Constants::FIELDS)?)
}

pub(super) fn read_config(from: &mut Reader<'_>) -> Result<Config, DecodeError> {
    Config::from_fields(&from.frs(Config::FIELDS)?)
}

/// Parameters within their bounds, to lay a circuit out.
pub(super) fn dummy_config() -> Config {
    Config {
        genesis_time: 0,
        slot_seconds: 1,
        slots_per_epoch: 1,
        l2_gas_limit: L2_GAS_PER_TX,
        l2_gas_target: 1,
        da_gas_limit: DA_GAS_PER_TX,
        da_gas_target: 1,
        min_fee_per_gas: 1,
        message_subtree_height: MESSAGE_SUBTREE_HEIGHT as u64,
    }
}

/// Writes the siblings of a path.
///
/// # Panics
/// When the path has another length, which no tree of this crate's callers makes.
pub(super) fn write_path(out: &mut Writer, path: &[Fr], levels: usize) {
    assert_eq!(path.len(), levels, "siblings of a path in a job's input");
    out.frs(path);
}

pub(super) fn zero() -> Fr {
    Fr::from(0u64)
}

/// A layout's value whose field elements are all zero, which is in every range.
macro_rules! zeros {
    ($layout:ident) => {
        $layout::from_fields(&[rollmill_algebra::Fr::from(0u64); $layout::FIELDS])
            .expect("zero is in every range")
    };
}
pub(super) use zeros;
