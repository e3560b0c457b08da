//! A transaction and the public effects it has.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use crate::codec::{DecodeError, Reader, Writer};
use crate::domain;
use crate::field;
use crate::gas::GasSettings;
use crate::layout::layout;
use crate::version::ENCODING_VERSION;

/// Most nullifiers, and as many note hashes, tags and logs, in a transaction.
pub const SLOTS: usize = 8;
/// Most messages to L1 in a transaction.
pub const MESSAGES: usize = 2;
/// Bytes of every encrypted log.
pub const LOG_BYTES: usize = 128;
/// Largest client proof a transaction may carry.
pub const CLIENT_PROOF_BYTES_MAX: usize = 64 * 1024;

layout! {
    /// Everything a transaction does to public state, in the order of its hash. Absent entries are zero
    /// and follow the present ones.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct TxEffects as TxEffectsLayout, "transaction effects", checked by check {
        /// Nullifiers; the first is always present and makes the transaction unique.
        pub nullifiers: [Fr; SLOTS],
        /// Leaves for the note-hash tree, already unique.
        pub note_hashes: [Fr; SLOTS],
        /// A discovery tag for each log.
        pub tags: [Fr; SLOTS],
        /// [`log_hash`] of each log.
        pub log_hashes: [Fr; SLOTS],
        /// Messages to L1. The bridge is not there yet, so that these must be zero.
        pub messages: [Fr; MESSAGES],
        /// Address whose public balance pays the fee.
        pub fee_payer: Fr,
        /// Prices and limits the sender allows.
        pub gas: GasSettings,
    }
}

/// The hash of a log's bytes: SHA-256 with the first byte zeroed.
pub fn log_hash(log: &[u8]) -> Fr {
    field::sha256_field(log)
}

/// Number of leading non-zero entries; an error when a non-zero entry follows a zero.
fn present(what: &'static str, values: &[Fr]) -> Result<usize, DecodeError> {
    let n = values.iter().take_while(|value| !value.is_zero()).count();
    match values[n..].iter().position(|value| !value.is_zero()) {
        None => Ok(n),
        Some(i) => Err(DecodeError::Shape {
            what,
            reason: format!("entry {} is present after entry {n}, which is absent", n + i),
        }),
    }
}

impl TxEffects {
    /// Number of bytes: each field as one word.
    pub const BYTES: usize = Self::FIELDS * 32;

    /// Checks the shape: a first nullifier, absent entries last, a tag for each log, no messages.
    pub fn check(&self) -> Result<(), DecodeError> {
        if present("nullifiers", &self.nullifiers)? == 0 {
            return Err(DecodeError::Shape {
                what: "nullifiers",
                reason: "the first nullifier is absent".to_owned(),
            });
        }
        present("note hashes", &self.note_hashes)?;
        let tags = present("tags", &self.tags)?;
        let logs = present("log hashes", &self.log_hashes)?;
        if tags != logs {
            return Err(DecodeError::Shape {
                what: "tags",
                reason: format!("{logs} logs need as many tags, got {tags}"),
            });
        }
        if self.messages.iter().any(|message| !message.is_zero()) {
            return Err(DecodeError::Shape {
                what: "messages",
                reason: "messages to L1 are not supported by this version".to_owned(),
            });
        }
        Ok(())
    }

    /// `hash(TX, fields)`.
    pub fn tx_hash(&self) -> Fr {
        poseidon2::hash(domain::TX, &self.to_fields())
    }

    /// [`Self::tx_hash`] of each of `effects`.
    pub fn tx_hashes<'a>(effects: impl IntoIterator<Item = &'a Self>) -> Vec<Fr> {
        let fields = |effects: &Self| -> [Fr; Self::FIELDS] {
            let fields = effects.to_fields();
            std::array::from_fn(|i| fields[i])
        };
        let inputs: Vec<_> = effects.into_iter().map(fields).collect();
        poseidon2::hash_all(domain::TX, &inputs)
    }

    /// Number of logs that belong to these effects.
    pub fn log_count(&self) -> usize {
        self.log_hashes.iter().take_while(|hash| !hash.is_zero()).count()
    }

    /// The nullifiers that are present.
    pub fn present_nullifiers(&self) -> impl Iterator<Item = &Fr> {
        self.nullifiers.iter().take_while(|nullifier| !nullifier.is_zero())
    }

    /// Checks that `logs` are the ones hashed here.
    pub fn check_logs(&self, logs: &[Vec<u8>]) -> Result<(), DecodeError> {
        const WHAT: &str = "logs";
        if logs.len() != self.log_count() {
            return Err(DecodeError::Length {
                what: WHAT,
                expected: self.log_count(),
                got: logs.len(),
            });
        }
        for (i, (log, hash)) in logs.iter().zip(&self.log_hashes).enumerate() {
            if log.len() != LOG_BYTES {
                return Err(DecodeError::Length {
                    what: "bytes of a log",
                    expected: LOG_BYTES,
                    got: log.len(),
                });
            }
            if log_hash(log) != *hash {
                return Err(DecodeError::Shape {
                    what: WHAT,
                    reason: format!("log {i} does not have the hash the effects name"),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.frs(&self.to_fields());
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_fields(&from.frs(Self::FIELDS)?)
    }
}

/// Reads the logs that belong to `effects`.
pub(crate) fn read_logs(
    from: &mut Reader<'_>,
    effects: &TxEffects,
) -> Result<Vec<Vec<u8>>, DecodeError> {
    let logs: Vec<Vec<u8>> = (0..effects.log_count())
        .map(|_| from.raw(LOG_BYTES).map(<[u8]>::to_vec))
        .collect::<Result<_, _>>()?;
    effects.check_logs(&logs)?;
    Ok(logs)
}

/// A transaction as a user sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment.
    pub version: u64,
    /// Hash of the header whose state the client proved against.
    pub anchor_header_hash: Fr,
    /// What it does.
    pub effects: TxEffects,
    /// The encrypted logs, each [`LOG_BYTES`] long.
    pub logs: Vec<Vec<u8>>,
    /// The client proof. Its public inputs are [`crate::ClientInputs`] of this transaction.
    pub client_proof: Vec<u8>,
}

impl Tx {
    /// `hash(TX, effects)`: the transaction's name. Chain, version, anchor and proof are bound to
    /// it by the client proof's public inputs.
    pub fn hash(&self) -> Fr {
        self.effects.tx_hash()
    }

    /// Canonical bytes: version byte, chain id, rollup version, anchor, effects, logs, and the
    /// counted client proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(ENCODING_VERSION);
        out.u64(self.chain_id);
        out.u64(self.version);
        out.fr(&self.anchor_header_hash);
        self.effects.write(&mut out);
        for log in &self.logs {
            out.raw(log);
        }
        out.counted(&self.client_proof);
        out.finish()
    }

    /// Reads canonical bytes: shapes and log hashes are checked, the proof is not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("transaction", bytes);
        from.version(ENCODING_VERSION)?;
        let chain_id = from.u64()?;
        let version = from.u64()?;
        let anchor_header_hash = from.fr()?;
        let effects = TxEffects::read(&mut from)?;
        let logs = read_logs(&mut from, &effects)?;
        let client_proof = from.counted(CLIENT_PROOF_BYTES_MAX)?.to_vec();
        from.finish()?;
        Ok(Self { chain_id, version, anchor_header_hash, effects, logs, client_proof })
    }
}
