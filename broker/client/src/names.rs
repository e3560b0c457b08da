//! Enums whose values have one name each: on the wire, in the database, in metrics and in help texts.

use std::fmt;

/// A value with a name. The name is what crosses the wire as JSON, what the database stores and
/// what people read.
pub trait Named: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// What it is, in two or three words.
    const WHAT: &'static str;
    /// Every value, in the order of declaration.
    const VALUES: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;

    /// The value of that name.
    fn of_name(name: &str) -> Option<Self> {
        Self::VALUES.iter().copied().find(|value| value.name() == name)
    }
}

/// Declares enums with the name of each value. JSON, [`Named`], `ALL`, `as_str` and `parse` come from
/// the same list; the broker's tests compare the list with the CHECK constraints of its tables.
#[macro_export]
macro_rules! named {
    ($($(#[$meta:meta])* pub enum $type:ident is $what:literal {
        $($(#[$value_meta:meta])* $value:ident = $name:literal,)+
    })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$value_meta])* $value,)+
        }

        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$value),+];

            /// Its name, the same on the wire, in the database and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }

            /// The value of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|value| value.as_str() == name)
            }
        }

        impl $crate::Named for $type {
            const WHAT: &'static str = $what;
            const VALUES: &'static [Self] = &Self::ALL;

            fn name(self) -> &'static str {
                self.as_str()
            }
        }

        impl $crate::rules::Described for $type {
            const FORM: &'static $crate::rules::Form =
                &$crate::rules::Form::Names($crate::rules::Names {
                    name: stringify!($type),
                    what: $what,
                    names: &[$($name),+],
                });

            fn check(&self, at: &$crate::rules::At) -> Result<(), $crate::rules::Violation> {
                at.check_name($what, self.as_str())
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&name).ok_or_else(|| {
                    let known = Self::ALL.map(Self::as_str).join(", ");
                    serde::de::Error::custom(format!("`{name}` is no {}: one of {known}", $what))
                })
            }
        }
    )+};
}

named! {
    /// The state of a job. `docs/book/states.md` shows which statement moves it from one to the next.
    pub enum JobState is "job state" {
        /// Waits for an agent.
        Ready = "ready",
        /// Waits for its backoff to pass.
        Delayed = "delayed",
        /// Its input cannot be read. The producer uploads it again, which makes the job ready.
        InputWanted = "input_wanted",
        /// An agent works on it.
        Leased = "leased",
        /// Has a result. The producer may still reject it, which reopens the job.
        Done = "done",
        /// A dead letter: not tried again until an operator or the producer replays it.
        Dead = "dead",
        /// No longer needed. Enqueueing it again reopens it.
        Cancelled = "cancelled",
    }

    /// The state of an epoch. `docs/book/retention.md` says what moves it from one to the next.
    pub enum EpochState is "epoch state" {
        /// Takes artifacts, jobs and results.
        Open = "open",
        /// Takes nothing more, and can be read. Its producer may open it again.
        Closing = "closing",
        /// Its jobs and artifacts are deleted. Its producer may open it again, as a new generation.
        Gone = "gone",
    }

    /// Why an epoch was closed; it decides how long the epoch is kept.
    pub enum EpochOutcome is "outcome of an epoch" {
        /// All that it was for is final.
        Final = "final",
        /// Somebody else's result made its own worthless.
        Superseded = "superseded",
        /// Its producer gave it up.
        GivenUp = "given_up",
        /// Nothing was heard of its producer for a long time.
        Silent = "silent",
        /// An operator ended it, or its producer forgot it.
        Operator = "operator",
    }

    /// The state or outcome of an attempt at a job.
    pub enum AttemptOutcome is "outcome of an attempt" {
        /// The agent holds the lease.
        Running = "running",
        /// The agent's result became the job's while it held the lease.
        Completed = "completed",
        /// The agent's result became the job's after its lease, or without one.
        CompletedLate = "completed_late",
        /// The agent reported a failure.
        Failed = "failed",
        /// The lease expired.
        Expired = "expired",
        /// The agent released the job.
        Released = "released",
        /// The producer rejected the result.
        Rejected = "rejected",
        /// Another agent's result came first.
        Superseded = "superseded",
        /// The job was cancelled meanwhile.
        Cancelled = "cancelled",
        /// The result was the job's, and its bytes can no longer be read.
        ResultLost = "result_lost",
    }

    /// Why an attempt ended without a result. Each class has a retry policy of its own
    /// (`rollmill_broker::policy`).
    pub enum FailureClass is "failure class" {
        /// Temporary: network, disk, a restart.
        Transient = "transient",
        /// The broker has no readable input for the job. It then reads the input itself: if it can, the
        /// failure counts as transient, else the job waits for its producer.
        InputMissing = "input_missing",
        /// The job does not fit on the agent's device. It goes to a larger class of agent.
        OutOfMemory = "out_of_memory",
        /// The agent's own check rejected its proof, or the producer did. The job goes to another agent; this
        /// one gets it again only when every live agent that could do it is excluded, or when a dead letter is replayed.
        InvalidProof = "invalid_proof",
        /// The agent does not have that version of the circuit after all.
        VersionMismatch = "version_mismatch",
        /// The input breaks a constraint or cannot be decoded. No retry can help.
        BadInput = "bad_input",
        /// The result is larger than the broker accepts. No retry can help.
        ResultTooLarge = "result_too_large",
        /// The lease expired without a heartbeat. Set by the broker only.
        AgentDied = "agent_died",
        /// The agent held the lease longer than the job's hard limit. Set by the broker only.
        HardLimit = "hard_limit",
        /// The job was done and its result's bytes can no longer be read. Nobody is blamed. Set by the
        /// broker only.
        ResultLost = "result_lost",
        /// The job's deadline passed before it was done. Set by the broker only.
        PastDeadline = "past_deadline",
    }

    /// What a rejection did.
    pub enum RejectOutcome is "outcome of a rejection" {
        /// The job waits for another agent; or for any, when the result's bytes could not be read and so
        /// nobody is to blame.
        Reopened = "reopened",
        /// The job is a dead letter: too many agents returned wrong proofs.
        DeadLettered = "given_up",
        /// That result was not, or is no longer, the job's. Nothing changed.
        Stale = "stale",
    }

    /// What a completion did.
    pub enum CompleteOutcome is "outcome of a completion" {
        /// This is the job's result now.
        Accepted = "accepted",
        /// The job had a result already, this one or another; the first one stays.
        AlreadyDone = "already_done",
    }

    /// What a token's bearer may do. The table of routes says which role each route needs.
    pub enum Role is "role" {
        /// Enqueue, read, reject, cancel, hold names.
        Producer = "producer",
        /// Claim and report, as the one agent that the token names.
        Agent = "agent",
        /// Claim and report, as any number of agents, which have names below the token's.
        Fleet = "fleet",
        /// Everything.
        Operator = "operator",
        /// Read only.
        Reader = "reader",
    }

    /// Whether a token opens the broker.
    pub enum TokenState is "state of a token" {
        /// It does.
        Valid = "valid",
        /// Not until an operator resumes it: producers rejected too many results of its agents.
        Suspended = "suspended",
        /// No longer: its time is over.
        Expired = "expired",
        /// No longer: an operator ended it.
        Revoked = "revoked",
    }

    /// How a sentence about the cluster is meant.
    pub enum Severity is "severity" {
        /// Work is lost, or will be, unless somebody acts.
        Trouble = "trouble",
        /// Something waits for an operator, or has little to spare.
        Warning = "warning",
        /// Nobody needs to act.
        Good = "good",
    }

    /// What an agent does, those first that need an operator.
    pub enum AgentState is "state of an agent" {
        /// It gets no job until an operator pardons it.
        Quarantined = "quarantined",
        /// It was heard until a moment ago, and is no longer.
        Silent = "silent",
        /// It is live, and a producer has rejected a result of it since it was last pardoned.
        Suspect = "suspect",
        /// It is live, and somebody asked it to leave.
        Draining = "draining",
        /// It is live and works on a job.
        Working = "working",
        /// It is live and waits for a job.
        Idle = "idle",
        /// It has not been heard for 10 minutes; most likely somebody stopped it.
        Gone = "gone",
    }
}

impl JobState {
    /// Whether nothing more happens to the job by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }

    /// Whether the producer has something to do: take a result, upload an input, or decide about a
    /// dead letter. [`crate::Client::wait`] returns on these.
    pub const fn awaits_producer(self) -> bool {
        self.is_final() || matches!(self, Self::InputWanted)
    }
}

impl FailureClass {
    /// Names of those that only the broker sets.
    pub const OF_BROKER: &[&str] = &[
        Self::AgentDied.as_str(),
        Self::HardLimit.as_str(),
        Self::ResultLost.as_str(),
        Self::PastDeadline.as_str(),
    ];

    /// Whether only the broker may report it.
    pub fn is_brokers(self) -> bool {
        Self::OF_BROKER.contains(&self.as_str())
    }
}

impl EpochOutcome {
    /// Names of those that only the broker sets.
    pub const OF_BROKER: &[&str] = &[Self::Silent.as_str(), Self::Operator.as_str()];
}
