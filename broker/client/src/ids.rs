//! Identifiers, each its own type, each checked where it enters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::limits::EPOCH_MAX;
use crate::rules::{At, Characters, Described, Form, Id, Text, Violation, decimals_up_to};

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is not 64 lower-case hexadecimal digits.
    ///
    /// Do: Pass the digest as the broker prints it.
    #[error("{}: {}", self.code(), self.message())]
    Digest,
    /// The text is not a job id of the form `EPOCH:TYPE:DIGEST`.
    ///
    /// Do: Pass the id as `rollmill-broker jobs` prints it.
    #[error("{}: {}", self.code(), self.message())]
    Job,
    /// The name is empty, too long, or has a character outside `[A-Za-z0-9._-]`.
    ///
    /// Do: Choose another name.
    #[error("{}: {}", self.code(), self.message())]
    Name { what: &'static str, max: usize },
    /// The label of a token is empty, too long, or has control characters.
    ///
    /// Do: Pass the label as `rollmill-broker tokens list` prints it.
    #[error("{}: {}", self.code(), self.message())]
    Label { max: usize },
}

rollmill_errors::coded! {
    IdError {
        Self::Digest => "BRC-001",
        Self::Job => "BRC-002",
        Self::Name { .. } => "BRC-003",
        Self::Label { .. } => "BRC-004",
    }
}

impl IdError {
    /// What is wrong, without the code: for a message that has a code of its own.
    pub fn message(&self) -> String {
        match self {
            Self::Digest => "a digest is 64 lower-case hexadecimal digits".to_owned(),
            Self::Job => "a job ID is EPOCH:TYPE:DIGEST".to_owned(),
            Self::Name { what, max } => {
                format!("{what} has 1 to {max} characters of A-Z a-z 0-9 . _ -")
            }
            Self::Label { max } => {
                format!("the label of a token has 1 to {max} characters without control characters")
            }
        }
    }
}

/// SHA-256 of an artifact, which is also its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// As text.
    const TEXT: Text = Text::new(Characters::Hex, 64, 64);

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // One spelling per digest: an id that contains it must compare equal as text.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(IdError::Digest);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Digest)?;
        Ok(Self(bytes))
    }
}

/// A job's permanent name: `EPOCH:TYPE:DIGEST` with the digest of its input. Equal work has equal
/// ids, whoever enqueues it and however often.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    text: String,
    epoch: u64,
    kind_end: usize,
    input: Digest,
}

impl JobId {
    /// Longest id, in characters.
    const LENGTH_MAX: usize = 19 + 1 + KindName::LENGTH_MAX + 1 + 64;

    /// The regular expression of its text.
    fn pattern() -> String {
        let (epoch, digest) = (decimals_up_to(EPOCH_MAX), Digest::TEXT.expression());
        format!("^{epoch}:{}:{digest}$", KindName::TEXT.expression())
    }

    /// The id of the job of `kind` with this input in this epoch.
    pub fn new(epoch: u64, kind: &KindName, input: Digest) -> Self {
        let head = format!("{epoch}:{kind}");
        let kind_end = head.len();
        Self { text: format!("{head}:{input}"), epoch, kind_end, input }
    }

    /// Epoch the job belongs to.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Job type.
    pub fn kind(&self) -> &str {
        let head = &self.text[..self.kind_end];
        head.split_once(':').map_or("", |(_, kind)| kind)
    }

    /// Digest of the input.
    pub fn input(&self) -> Digest {
        self.input
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut parts = text.split(':');
        let (Some(epoch), Some(kind), Some(input), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdError::Job);
        };
        let number: u64 = epoch.parse().map_err(|_| IdError::Job)?;
        let kind = KindName::from_str(kind).map_err(|_| IdError::Job)?;
        let input = Digest::from_str(input).map_err(|_| IdError::Job)?;
        let id = Self::new(number, &kind, input);
        // With leading zeros or a sign one job would have two names. Postgres counts to 2^63 - 1.
        if id.text != text || number > EPOCH_MAX {
            return Err(IdError::Job);
        }
        Ok(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({})", self.text)
    }
}

fn may_be_in_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:literal $(, $more:ident)?) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Longest name, in characters.
            pub const LENGTH_MAX: usize = $max;

            /// What it may be.
            pub const TEXT: Text = Text::new(Characters::Name, 1, $max)$(.$more())?;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if !Self::TEXT.accepts(text) {
                    return Err(IdError::Name { what: $what, max: $max });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.0)
            }
        }
    };
}

name!(
    /// Name of an agent, stable across its restarts so that a quarantine holds. It is a part of a path, so it has more
    /// than dots.
    AgentId, "an agent ID", 100, more_than_dots
);
name!(
    /// A job type, such as `tx_base`. It is opaque to the broker.
    KindName, "a job type", 60
);
name!(
    /// One start of a process: random, so that two live processes of one identity are distinguishable.
    Incarnation, "an incarnation", 64
);

name!(
    /// One start of an agent, as the broker knows it.
    SessionId, "a session", 64
);
name!(
    /// Where an agent is installed: random, and kept on its disk.
    Installation, "an installation", 64
);

impl AgentId {
    /// The name of a process: what of its host's name a name may contain, or `agent`, and its id.
    pub fn of_process(host: &str, id: u32) -> Self {
        let host = host.bytes().filter(|b| may_be_in_a_name(*b)).take(60).map(char::from);
        let host: String = host.collect();
        let host = if host.is_empty() { "agent" } else { &host };
        Self(format!("{host}-{id}"))
    }
}

impl Incarnation {
    /// A new one. Make it once when the process starts.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl SessionId {
    /// A new one.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl Installation {
    /// A new one. Make it once and keep it on disk.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

/// The label of a token, as one that exists may have it: releases before this one took any text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenLabel(String);

impl TokenLabel {
    /// What it may be. A path loses parts that are only dots.
    const TEXT: Text = Text::new(Characters::Printable, 1, 200).more_than_dots();

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a part of a path.
    pub(crate) fn in_path(&self) -> String {
        let byte = |b: u8| match may_be_in_a_name(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        };
        self.0.bytes().map(byte).collect()
    }
}

impl FromStr for TokenLabel {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if !Self::TEXT.accepts(text) {
            return Err(IdError::Label { max: Self::TEXT.max });
        }
        Ok(Self(text.to_owned()))
    }
}

/// Number of a job's lease. It grows by one with every grant, and fences every transition but
/// completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseEpoch(pub u64);

impl fmt::Display for LeaseEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Described for LeaseEpoch {
    const FORM: &'static Form = &Form::Whole { min: 0, max: EPOCH_MAX, format: "int64" };

    fn check(&self, at: &At) -> Result<(), Violation> {
        match self.0 <= EPOCH_MAX {
            true => Ok(()),
            false => {
                Err(Violation::Wrong(format!("{} is {self}; it is 0 to {EPOCH_MAX}", at.name)))
            }
        }
    }
}

/// What an id is, for schemas. Reading it has checked it.
macro_rules! described {
    ($($type:ident: $what:literal, $pattern:expr, $min:expr, $max:expr;)+) => {$(
        impl Described for $type {
            const FORM: &'static Form = &Form::Id(Id {
                name: stringify!($type),
                what: $what,
                pattern: $pattern,
                length: ($min, $max),
            });

            fn check(&self, _: &At) -> Result<(), Violation> {
                Ok(())
            }
        }
    )+};
    ($($type:ident: $what:literal;)+) => {
        described! {
            $($type: $what, || $type::TEXT.pattern(), $type::TEXT.min, $type::TEXT.max;)+
        }
    };
}

described! {
    JobId: "`EPOCH:TYPE:DIGEST` with the digest of the job's input.", Self::pattern, 1, Self::LENGTH_MAX;
}

described! {
    Digest: "SHA-256 of an artifact.";
    AgentId: "Name of an agent, the same after a restart.";
    KindName: "A job type, or the version of one.";
    Incarnation: "One start of a process: a random name.";
    SessionId: "One start of an agent, as the broker knows it.";
    Installation: "Where an agent is installed: a random name.";
    TokenLabel: "Label of a token.";
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                // The answer that carries this has a code of its own.
                text.parse().map_err(|error: IdError| serde::de::Error::custom(error.message()))
            }
        }
    )*};
}

as_text!(Digest, JobId, AgentId, KindName, Incarnation, SessionId, Installation);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_reads_back_as_it_was_written() {
        let kind: KindName = "tx_base".parse().unwrap();
        let id = JobId::new(7, &kind, Digest::of(b"input"));
        let read: JobId = id.as_str().parse().unwrap();
        assert_eq!(read, id);
        assert_eq!((read.epoch(), read.kind(), read.input()), (7, "tx_base", Digest::of(b"input")));
    }

    #[test]
    fn the_name_of_a_process_is_a_name_whatever_its_host_is_called() {
        let long = "x".repeat(300);
        for (host, name) in [
            ("gpu-7.example\n", "gpu-7.example-4294967295"),
            ("näme of/a:host", "nmeofahost-4294967295"),
            ("", "agent-4294967295"),
            ("é", "agent-4294967295"),
            (&long, &format!("{}-4294967295", &long[..60])),
        ] {
            let id = AgentId::of_process(host, u32::MAX);
            assert_eq!((id.as_str(), name.parse()), (name, Ok(id.clone())), "{host}");
        }
    }

    #[test]
    fn any_label_can_be_a_part_of_a_path() {
        let label: TokenLabel = "GPU farm/7 %é".parse().unwrap();
        assert_eq!(label.in_path(), "GPU%20farm%2F7%20%25%C3%A9");
        for wrong in ["", ".", "..", "a\nb", &"x".repeat(201)] {
            assert!(wrong.parse::<TokenLabel>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let digest = Digest::of(b"x").to_string();
        for text in [
            format!("07:t:{digest}"),
            format!("+7:t:{digest}"),
            format!("7:t:{}", digest.to_uppercase()),
            format!("7::{digest}"),
            format!("7:t:{digest}:"),
            format!("7:t u:{digest}"),
            format!("18446744073709551615:t:{digest}"),
            "7:t:abc".to_owned(),
            String::new(),
        ] {
            assert_eq!(text.parse::<JobId>(), Err(IdError::Job), "{text}");
        }
    }
}
