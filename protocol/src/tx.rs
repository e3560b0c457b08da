//! A transaction and the public effects it has.

use ark_ff::Zero;
use rollmill_algebra::pair::Pair;
use rollmill_algebra::{Fr, poseidon2};

use crate::block::BlockBody;
use crate::circuit::Circuit;
use crate::codec::{DecodeError, Reader, Writer};
use crate::config::SLOT_MAX;
use crate::domain;
use crate::field::{self, EthAddress};
use crate::gas::GasSettings;
use crate::layout::layout;
use crate::message::{OUT_LEAVES, withdraw_leaf};
use crate::public_inputs::PairLayout;
use crate::tree::Tree;
use crate::version::ENCODING_VERSION;

/// Most nullifiers, and as many note hashes, tags and logs, in a transaction.
pub const SLOTS: usize = 8;
/// The slot of note hashes that the refund of a transaction without a fee payer takes.
pub const REFUND_SLOT: usize = SLOTS - 1;
/// Most nullifiers that a transaction inserts: its own, and that of the deposit it claims.
pub const NULLIFIERS_MAX: usize = SLOTS + 1;
/// Most messages to L1 in a transaction.
pub const MESSAGES: usize = OUT_LEAVES;
/// Words of every log.
pub const LOG_WORDS: usize = 5;
/// Bytes of a log of the built-in client.
pub const LOG_BYTES: usize = 128;
/// Bytes that a word of such a log carries.
const LOG_WORD_BYTES: usize = 31;
/// The expiry of a transaction without one: the last slot there is.
pub const NO_EXPIRY: u64 = SLOT_MAX;
/// Largest client proof a transaction may carry.
pub const CLIENT_PROOF_BYTES_MAX: usize = 64 * 1024;

/// The words of a log.
pub type Log = [Fr; LOG_WORDS];

layout! {
    /// Everything a transaction does to public state, in the order of its hash. Absent entries are zero
    /// and follow the present ones, except for messages.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct TxEffects as TxEffectsLayout, "transaction effects", checked by check_decoded {
        /// Nullifiers; the first is always present and makes the transaction unique.
        pub nullifiers: [Fr; SLOTS],
        /// Leaves for the note-hash tree, already unique; the last is absent if there is a refund.
        pub note_hashes: [Fr; SLOTS],
        /// A discovery tag for each log, with its contract.
        pub tags: [Fr; SLOTS],
        /// [`log_hash`] of each log.
        pub log_hashes: [Fr; SLOTS],
        /// Leaves of general messages to L1; the first is absent if there is a withdrawal.
        pub messages: [Fr; MESSAGES],
        /// Reserved for calls of public functions: zero.
        pub public_calls_hash: Fr,
        /// Address whose public balance pays the fee; zero if notes pay it.
        pub fee_payer: Fr,
        /// Prices and limits the sender allows.
        pub gas: GasSettings,
        /// Value that enters the notes, in units.
        pub notes_in: u64,
        /// Value that leaves the notes, in units.
        pub notes_out: u64,
        /// Index of the claimed deposit in the message tree.
        pub claim_index: u64 as 38,
        /// Amount of the claimed deposit; zero without one.
        pub claim_amount: u64,
        /// L1 address of the withdrawal.
        pub withdraw_recipient: EthAddress,
        /// Amount of the withdrawal, in units; zero without one.
        pub withdraw_amount: u64,
        /// Partial of the note that takes what is left; present exactly without a fee payer.
        pub refund_partial: Fr,
        /// Last slot of a block that may have the transaction.
        pub expiry_slot: u64 as 48,
    }
}

/// Why effects and logs cannot be those of a transaction, in whichever block: the rules in the order in
/// which they are asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EffectsError {
    /// A number of the effects has too many bits.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: {what}: an integer below 2^{bits} expected, got {got}", code = self.code())]
    Range { what: &'static str, bits: u32, got: u64 },
    /// The first nullifier is absent.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: the first nullifier is absent", code = self.code())]
    FirstNullifierAbsent,
    /// An entry of a list follows one that is absent.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: {what}: entry {index} is present after entry {absent}, which is absent", code = self.code())]
    Gap { what: &'static str, index: usize, absent: usize },
    /// A tag is present and its log is not, or the other way round.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: {logs} logs need as many tags, got {tags}", code = self.code())]
    TagAndLog { logs: usize, tags: usize },
    /// The logs are not those whose hashes the effects have.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: log {index} of {expected} does not have the hash that the effects name", code = self.code())]
    Log { index: usize, expected: usize },
    /// The transaction has public calls, which this version does not have.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: public calls are not supported by this version", code = self.code())]
    PublicCalls,
    /// A claim has an index without an amount.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: a claim at index {index} without an amount", code = self.code())]
    ClaimShape { index: u64 },
    /// A claim has no fee payer whose deposit it could be.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: a claim without a fee payer", code = self.code())]
    ClaimWithoutPayer,
    /// A withdrawal has a recipient without an amount, or the other way round.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: a withdrawal needs both a recipient and an amount", code = self.code())]
    WithdrawShape,
    /// The place of the withdrawal's message is taken.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: message 0 is present beside a withdrawal, which takes its place", code = self.code())]
    Message0Taken,
    /// A transaction has both a fee payer and a note for the refund, or none of them.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: either a fee payer or a refund is expected", code = self.code())]
    RefundShape,
    /// The place of the refund's note is taken.
    ///
    /// Do: Create the transaction with a wallet of the same release.
    #[error("{code}: note hash 7 is present beside a refund, which takes its place", code = self.code())]
    Note7Taken,
}

rollmill_errors::coded! {
    EffectsError {
        Self::Range { .. } => "PRO-100",
        Self::FirstNullifierAbsent => "PRO-101",
        Self::Gap { .. } => "PRO-102",
        Self::TagAndLog { .. } => "PRO-103",
        Self::Log { .. } => "PRO-104",
        Self::PublicCalls => "PRO-105",
        Self::ClaimShape { .. } => "PRO-106",
        Self::ClaimWithoutPayer => "PRO-107",
        Self::WithdrawShape => "PRO-108",
        Self::Message0Taken => "PRO-109",
        Self::RefundShape => "PRO-110",
        Self::Note7Taken => "PRO-111",
    }
}

impl EffectsError {
    /// The name that the specification gives the rule.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Range { .. } => "range",
            Self::FirstNullifierAbsent => "first_nullifier_absent",
            Self::Gap { .. } => "gap",
            Self::TagAndLog { .. } => "tag_and_log",
            Self::Log { .. } => "log",
            Self::PublicCalls => "public_calls",
            Self::ClaimShape { .. } => "claim_shape",
            Self::ClaimWithoutPayer => "claim_without_payer",
            Self::WithdrawShape => "withdraw_shape",
            Self::Message0Taken => "message_0_taken",
            Self::RefundShape => "refund_shape",
            Self::Note7Taken => "note_7_taken",
        }
    }
}

/// The hash of a log: `hash(LOG_HASH, words)`.
pub fn log_hash(log: &Log) -> Fr {
    poseidon2::hash(domain::LOG_HASH, log)
}

/// The words of a log of the built-in client: its bytes in words of 31, big-endian, the last one padded
/// with zeros on the right.
pub fn log_words(bytes: &[u8; LOG_BYTES]) -> Log {
    let mut padded = [0; LOG_WORDS * LOG_WORD_BYTES];
    padded[..LOG_BYTES].copy_from_slice(bytes);
    let (words, _) = padded.as_chunks::<LOG_WORD_BYTES>();
    std::array::from_fn(|i| field::from_short_bytes(&words[i]))
}

/// The bytes of a log of the built-in client; `None` for words that [`log_words`] does not make.
pub fn log_bytes(log: &Log) -> Option<[u8; LOG_BYTES]> {
    let mut padded = [0; LOG_WORDS * LOG_WORD_BYTES];
    let (words, _) = padded.as_chunks_mut::<LOG_WORD_BYTES>();
    for (out, word) in words.iter_mut().zip(log) {
        let [0, part @ ..] = field::to_bytes(word) else { return None };
        *out = part;
    }
    let (bytes, padding) = padded.split_first_chunk::<LOG_BYTES>()?;
    padding.iter().all(|byte| *byte == 0).then_some(*bytes)
}

/// Number of leading entries that are present; an error when another one follows.
fn present(what: &'static str, values: &[Fr]) -> Result<usize, EffectsError> {
    let n = values.iter().take_while(|value| !value.is_zero()).count();
    match values[n..].iter().position(|value| !value.is_zero()) {
        None => Ok(n),
        Some(i) => Err(EffectsError::Gap { what, index: n + i, absent: n }),
    }
}

fn require(holds: bool, otherwise: EffectsError) -> Result<(), EffectsError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

impl TxEffects {
    /// Number of bytes: each field as one word.
    pub const BYTES: usize = Self::FIELDS * 32;

    /// Checks every rule that needs neither the logs nor a block.
    pub fn check(&self) -> Result<(), EffectsError> {
        self.check_lists()?;
        self.check_rest()
    }

    /// Checks every rule that needs no block.
    pub fn check_with_logs(&self, logs: &[Log]) -> Result<(), EffectsError> {
        self.check_lists()?;
        self.check_logs(logs)?;
        self.check_rest()
    }

    fn check_decoded(&self) -> Result<(), DecodeError> {
        Ok(self.check()?)
    }

    fn check_lists(&self) -> Result<(), EffectsError> {
        for (what, bits, got) in [
            ("claim_index", Tree::Messages.height() as u32, self.claim_index),
            ("expiry_slot", SLOT_MAX.trailing_ones(), self.expiry_slot),
        ] {
            require(got >> bits == 0, EffectsError::Range { what, bits, got })?;
        }
        require(!self.nullifiers[0].is_zero(), EffectsError::FirstNullifierAbsent)?;
        present("nullifiers", &self.nullifiers)?;
        present("note hashes", &self.note_hashes)?;
        let tags = present("tags", &self.tags)?;
        let logs = present("log hashes", &self.log_hashes)?;
        require(tags == logs, EffectsError::TagAndLog { logs, tags })
    }

    fn check_rest(&self) -> Result<(), EffectsError> {
        let has_payer = !self.fee_payer.is_zero();
        let claims = self.claim_amount != 0;
        let withdraws = self.withdraw_amount != 0;
        require(self.public_calls_hash.is_zero(), EffectsError::PublicCalls)?;
        let index = self.claim_index;
        require(claims || index == 0, EffectsError::ClaimShape { index })?;
        require(!claims || has_payer, EffectsError::ClaimWithoutPayer)?;
        let has_recipient = self.withdraw_recipient != EthAddress::default();
        require(withdraws == has_recipient, EffectsError::WithdrawShape)?;
        require(!withdraws || self.messages[0].is_zero(), EffectsError::Message0Taken)?;
        require(has_payer == self.refund_partial.is_zero(), EffectsError::RefundShape)?;
        require(has_payer || self.note_hashes[REFUND_SLOT].is_zero(), EffectsError::Note7Taken)
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

    /// The nullifiers that are present, without that of a claim.
    pub fn present_nullifiers(&self) -> impl Iterator<Item = &Fr> {
        self.nullifiers.iter().take_while(|nullifier| !nullifier.is_zero())
    }

    /// True when a fee balance pays; otherwise notes do.
    pub fn has_payer(&self) -> bool {
        !self.fee_payer.is_zero()
    }

    /// The two leaves in the block's tree of messages to L1.
    pub fn out_leaves(&self) -> [Fr; OUT_LEAVES] {
        let [first, second] = self.messages;
        if self.withdraw_amount == 0 {
            return [first, second];
        }
        [withdraw_leaf(self.withdraw_recipient, self.withdraw_amount), second]
    }

    /// Checks that `logs` are the ones hashed here.
    pub fn check_logs(&self, logs: &[Log]) -> Result<(), EffectsError> {
        let expected = self.log_count();
        for index in 0..expected.max(logs.len()) {
            let hash = logs.get(index).map(log_hash);
            let named = self.log_hashes.get(index).filter(|hash| !hash.is_zero()).copied();
            require(hash.is_some() && hash == named, EffectsError::Log { index, expected })?;
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

/// What made the client proof of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProofKind {
    /// The built-in client, which verifies no proof: its pair is the trivial one.
    BuiltIn,
    /// The last circuit of the private kernel.
    PrivateTail,
}

impl ProofKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::BuiltIn, Self::PrivateTail];

    /// The circuit under whose key a proof of this kind is verified. There is no other.
    pub const fn circuit(self) -> Circuit {
        match self {
            Self::BuiltIn => Circuit::Client,
            Self::PrivateTail => Circuit::PrivateTail,
        }
    }

    /// Its number in every encoding.
    pub const fn id(self) -> u8 {
        match self {
            Self::BuiltIn => 0,
            Self::PrivateTail => 1,
        }
    }

    /// Encodes the kind of a proof, and the pair that the proof states.
    pub fn write(self, pair: &Pair, out: &mut Writer) {
        out.u8(self.id());
        out.frs(&pair.to_fields());
    }

    /// Decodes what [`Self::write`] wrote.
    ///
    /// # Errors
    /// When no kind has the number, when the pair is malformed, or when a proof of this kind cannot state it.
    pub fn read(from: &mut Reader<'_>) -> Result<(Self, Pair), DecodeError> {
        let id = from.u8()?;
        let known = Self::ALL.into_iter().find(|kind| kind.id() == id);
        let kind = known.ok_or_else(|| DecodeError::OutOfRange {
            what: "proof kind",
            max: Self::PrivateTail.id().to_string(),
            got: id.to_string(),
        })?;
        let pair = crate::public_inputs::read_pair(from)?;
        if kind == Self::BuiltIn && pair != Pair::trivial() {
            return Err(DecodeError::Shape {
                what: "pair",
                reason: "the built-in client has the trivial pair".to_owned(),
            });
        }
        Ok((kind, pair))
    }
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
    /// What it does, and its logs.
    pub body: BlockBody,
    /// What made the client proof.
    pub proof_kind: ProofKind,
    /// What is still owed for the proofs below the client proof.
    pub pair: Pair,
    /// The client proof. Its public inputs are [`crate::ClientInputs`] of this transaction.
    pub client_proof: Vec<u8>,
}

impl Tx {
    /// Bytes of the largest transaction.
    pub const BYTES_MAX: usize = 1
        + 16
        + 32
        + TxEffects::BYTES
        + SLOTS * LOG_WORDS * 32
        + 1
        + PairLayout::<Fr>::CELLS * 32
        + 4
        + CLIENT_PROOF_BYTES_MAX;

    /// What it does.
    pub fn effects(&self) -> &TxEffects {
        &self.body.effects
    }

    /// `hash(TX, effects)`: the transaction's name. Chain, version, anchor and proof are bound to
    /// it by the client proof's public inputs.
    pub fn hash(&self) -> Fr {
        self.body.effects.tx_hash()
    }

    /// Canonical bytes: version byte, chain id, rollup version, anchor, effects, logs, proof kind, pair and
    /// the counted client proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(ENCODING_VERSION);
        out.u64(self.chain_id);
        out.u64(self.version);
        out.fr(&self.anchor_header_hash);
        self.body.write(&mut out);
        self.proof_kind.write(&self.pair, &mut out);
        out.counted(&self.client_proof);
        out.finish()
    }

    /// Reads canonical bytes: shapes, log hashes and the pair are checked, the proof is not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("transaction", bytes);
        from.version(ENCODING_VERSION)?;
        let chain_id = from.u64()?;
        let version = from.u64()?;
        let anchor_header_hash = from.fr()?;
        let body = BlockBody::read(&mut from)?;
        let (proof_kind, pair) = ProofKind::read(&mut from)?;
        let client_proof = from.counted(CLIENT_PROOF_BYTES_MAX)?.to_vec();
        from.finish()?;
        Ok(Self { chain_id, version, anchor_header_hash, body, proof_kind, pair, client_proof })
    }
}
