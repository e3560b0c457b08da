//! How jobs move between states: which statement does it, for whom and when.
//!
//! `docs/book/states.md` is generated from this table. `broker/tests/states.rs` makes every transition on a real
//! PostgreSQL, records what the tables saw, and compares it with the table; `broker/model` explores which are reached.

use rollmill_broker_client::JobState;

/// One transition of the state diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before; [`None`] where the job is created.
    pub from: Option<JobState>,
    pub to: JobState,
    /// File in `broker/src/sql`.
    pub statement: &'static str,
    /// Who causes it.
    pub by: &'static str,
    /// When it happens.
    pub when: &'static str,
}

macro_rules! transitions {
    ($($from:tt => $to:ident, $statement:literal, $by:literal, $when:literal;)+) => {
        /// Every transition.
        pub const TRANSITIONS: &[Transition] = &[$(Transition {
            from: transitions!(@from $from),
            to: JobState::$to,
            statement: $statement,
            by: $by,
            when: $when,
        }),+];
    };
    (@from New) => { None };
    (@from $from:ident) => { Some(JobState::$from) };
}

transitions! {
    New => Ready, "enqueue.sql", "producer", "enqueues a job whose input is stored";
    Cancelled => Ready, "enqueue.sql", "producer", "enqueues the job again";
    Dead => Ready, "enqueue.sql", "producer", "enqueues a job whose deadline passed again, with a later deadline";
    Ready => Leased, "claim.sql", "broker", "grants the job to an agent that waits";
    Leased => Done, "complete_many.sql", "agent", "completes the job that it holds";
    Leased => Done, "complete.sql", "agent", "completes a job that another agent holds";
    Ready => Leased, "resume.sql", "agent", "still works on the job, of an Aztec prover node, after its lease expired";
    Delayed => Leased, "resume.sql", "agent", "still works on the job, of an Aztec prover node, after its lease expired";
    Ready => Done, "complete.sql", "agent", "completes the job after losing its lease";
    Delayed => Done, "complete.sql", "agent", "completes the job after losing its lease";
    InputWanted => Done, "complete.sql", "agent", "completes the job after losing its lease";
    Dead => Done, "complete.sql", "agent", "completes the job after losing its lease";
    Leased => Ready, "release_many.sql", "agent", "returns the job unharmed";
    Leased => Ready, "release.sql", "agent", "went away before the grant reached it";
    Leased => Ready, "session_return.sql", "agent", "starts again, while the session before held the job";
    Leased => Ready, "reopen.sql", "agent or broker", "a failure or an expired lease, with a retry at once";
    Leased => Delayed, "reopen.sql", "agent or broker", "a failure or an expired lease, with a retry after a pause";
    Leased => InputWanted, "reopen.sql", "agent", "reports that the input cannot be fetched, and the broker cannot read it either";
    Leased => Dead, "reopen.sql", "agent", "reports a failure that no retry can help, or the last one of the budget";
    Done => Ready, "reopen.sql", "producer", "rejects the result";
    Done => Dead, "reopen.sql", "producer", "rejects the third result";
    Done => Ready, "reopen_lost.sql", "broker", "finds that the result can no longer be read";
    Delayed => Ready, "promote.sql", "broker", "the pause is over";
    InputWanted => Ready, "artifact_put_many.sql", "producer", "uploads the input again";
    InputWanted => Ready, "input_uploaded.sql", "producer", "uploads an input again that is in the object store";
    Ready => Dead, "past_deadline.sql", "broker", "the deadline passed";
    Delayed => Dead, "past_deadline.sql", "broker", "the deadline passed";
    InputWanted => Dead, "past_deadline.sql", "broker", "the deadline passed";
    Dead => Ready, "replay.sql", "producer or operator", "replays a dead letter";
    Ready => Cancelled, "cancel.sql", "producer", "cancels the job";
    Delayed => Cancelled, "cancel.sql", "producer", "cancels the job";
    InputWanted => Cancelled, "cancel.sql", "producer", "cancels the job";
    Leased => Cancelled, "cancel.sql", "producer", "cancels the job";
    Ready => Cancelled, "epoch_cancel.sql", "producer or operator", "closes the job's epoch";
    Delayed => Cancelled, "epoch_cancel.sql", "producer or operator", "closes the job's epoch";
    InputWanted => Cancelled, "epoch_cancel.sql", "producer or operator", "closes the job's epoch";
    Leased => Cancelled, "epoch_cancel.sql", "producer or operator", "closes the job's epoch";
    Dead => Cancelled, "cancel.sql", "producer or operator", "drops a dead letter";
}
