//! The durable row of a range.

use rollmill_protocol::Fr;
use rollmill_protocol::field::serde_fr;
use serde::{Deserialize, Serialize};

/// Maximum entries of a row's history.
const LOG_MAX: usize = 64;

/// An amount of wei as decimal digits: serde cannot read numbers of 128 bits inside of a tagged enum.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(wei: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(wei)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A block of a range, as it was on the chain when the row was last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeBlock {
    pub number: u64,
    #[serde(with = "serde_fr")]
    pub header_hash: Fr,
    /// L1 block that contains the proposal.
    pub l1_block: u64,
}

impl RangeBlock {
    /// Whether both are the same block of the rollup, in whichever L1 block.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.number, self.header_hash) == (other.number, other.header_hash)
    }
}

/// A root proof on the node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// SHA-256 of the file's bytes, as hexadecimal digits; also the file's name.
    pub digest: String,
    /// Last block that it proves.
    pub last: RangeBlock,
}

/// An L1 transaction that the sender was asked to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Fence of the submitter's lease under which it was decided.
    pub fence: u64,
    /// L1's head at that moment.
    pub l1_block: u64,
}

/// The L1 block that accepted the range's proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    pub attempt: u32,
    pub tx_hash: String,
    pub l1_block: u64,
    pub gas_used: u64,
    #[serde(with = "decimal")]
    pub fee_wei: u128,
}

/// Why a range waits without being worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Parking {
    /// A block of the range is not on the chain.
    Stale,
    /// The proven tip is at or beyond its end by another proof.
    Covered,
    /// The challenge period is over: no proof of it is accepted.
    Late,
    /// An operator must act. Only `rollmill-prover-node ranges retry` or a final fact ends it.
    Operator { reason: String },
}

impl Parking {
    /// The word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Covered => "covered",
            Self::Late => "late",
            Self::Operator { .. } => "operator",
        }
    }
}

/// Why a range ended without being proven by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GaveUp {
    /// L1 finalized a chain without its blocks.
    Stale,
    /// L1 finalized the end of its challenge period.
    Late,
    /// `rollmill-prover-node ranges abandon`.
    Abandoned,
}

/// The state of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Waits until fewer than `ranges_max` ranges are being proven, and for the transactions of its
    /// first block.
    Planned,
    /// Its jobs are at the broker.
    Proving,
    /// Its root proof is on this node's disk.
    RootReady,
    /// The sender was asked to send it, or is about to be.
    Submitting { intent: Intent },
    /// L1 accepted the proof, in a block that a reorg may still remove.
    Included { inclusion: Inclusion, intent: Intent },
    /// Waits for a fact to reverse, or to become final.
    Parked { parking: Parking, intent: Option<Intent> },
    /// L1 finalized this range's own proof.
    Final { inclusion: Inclusion },
    /// L1 finalized another proof of these blocks.
    Superseded,
    /// No proof of it can be accepted any more, or an operator abandoned it.
    GivenUp { reason: GaveUp },
}

impl State {
    /// Names of the states, for metrics.
    pub const NAMES: [&'static str; 12] = [
        "planned",
        "proving",
        "root_ready",
        "submitting",
        "included",
        "parked_stale",
        "parked_covered",
        "parked_late",
        "parked_operator",
        "final",
        "superseded",
        "given_up",
    ];

    /// The word for logs and metrics; one of [`Self::NAMES`].
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Proving => "proving",
            Self::RootReady => "root_ready",
            Self::Submitting { .. } => "submitting",
            Self::Included { .. } => "included",
            Self::Parked { parking, .. } => match parking {
                Parking::Stale => "parked_stale",
                Parking::Covered => "parked_covered",
                Parking::Late => "parked_late",
                Parking::Operator { .. } => "parked_operator",
            },
            Self::Final { .. } => "final",
            Self::Superseded => "superseded",
            Self::GivenUp { .. } => "given_up",
        }
    }

    /// Whether the row has ended. Only a reorganisation of the fact that ended it reopens it.
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Final { .. } | Self::Superseded | Self::GivenUp { .. })
    }
}

/// A line of a row's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// L1's head when it happened.
    pub l1_block: u64,
    pub what: String,
}

/// A range of blocks of one epoch, with all that must survive a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Assigned once, in order; identifies the row for operators.
    pub id: u64,
    pub epoch: u64,
    /// Never empty, numbers without gaps, from the epoch's first block on.
    pub blocks: Vec<RangeBlock>,
    /// Whether the last block is decided; until then the range grows with its epoch.
    pub frozen: bool,
    pub state: State,
    /// Number of the attempt to submit that is running, or of the next one; from 1.
    pub attempt: u32,
    /// The first attempt that counts: earlier ones were on a chain that L1 has reorganised away.
    pub first_attempt: u32,
    /// Attempts that failed without a fact that explains it.
    pub failures: u32,
    /// No attempt is made before this L1 block.
    pub not_before: u64,
    /// Unix seconds of L1 until which a proof of the epoch is accepted, once it was read.
    pub accepted_until: Option<u64>,
    pub root: Option<Root>,
    /// Whether unneeded jobs of this range may be left at the broker.
    pub cleanup: bool,
    /// Whether the failure that needs an operator has been captured.
    pub captured: bool,
    pub log: Vec<Entry>,
}

impl Row {
    /// A new range.
    pub fn new(id: u64, epoch: u64, blocks: Vec<RangeBlock>) -> Self {
        Self {
            id,
            epoch,
            blocks,
            frozen: false,
            state: State::Planned,
            attempt: 1,
            first_attempt: 1,
            failures: 0,
            not_before: 0,
            accepted_until: None,
            root: None,
            cleanup: false,
            captured: false,
            log: Vec::new(),
        }
    }

    /// Number of the first block.
    pub fn first(&self) -> u64 {
        self.blocks.first().map_or(0, |block| block.number)
    }

    /// Number of the last block so far.
    pub fn last(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.number)
    }

    /// The purpose of its L1 transactions. Other blocks have another purpose.
    pub fn purpose(&self) -> String {
        let end = self
            .blocks
            .last()
            .map_or_else(String::new, |block| rollmill_protocol::field::to_hex(&block.header_hash));
        format!("prove/{}-{}-{end}", self.first(), self.last())
    }

    /// The intent that may be pending on L1, in any state.
    pub fn intent(&self) -> Option<Intent> {
        match &self.state {
            State::Submitting { intent } | State::Included { intent, .. } => Some(*intent),
            State::Parked { intent, .. } => *intent,
            _ => None,
        }
    }

    pub(crate) fn note(&mut self, l1_block: u64, what: impl Into<String>) {
        if self.log.len() >= LOG_MAX {
            self.log.remove(0);
        }
        self.log.push(Entry { l1_block, what: what.into() });
    }
}
