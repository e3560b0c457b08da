//! What the broker shows of itself: its queue and its agents.

use serde::{Deserialize, Serialize};

use crate::shapes::wire;
use crate::{AgentId, JobState, OutlookView, SizeClass, UnableView};

wire! {
    /// Queue and agents.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct StatusResponse {
        /// Unfinished jobs.
        pub queue: Vec<QueueView>,
        /// Agents seen within a day, the last seen first; at most 1000.
        pub agents: Vec<AgentView>,
        /// Jobs in state `dead`.
        pub dead_letters: u64,
        /// Waiting types of job that no live agent can do. The broker counts every 5 s.
        #[serde(default)]
        pub unable: Vec<UnableView>,
        /// Epochs with unfinished jobs, the oldest first; at most 1000. The broker counts every 5 s.
        #[serde(default)]
        pub epochs: Vec<OutlookView>,
    }

    /// Jobs of a type in a state.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct QueueView {
        /// Type of the jobs.
        pub kind: String,
        /// Version of the jobs.
        pub version: String,
        /// Smallest class of agent that the jobs need.
        #[serde(default)]
        pub class: SizeClass,
        /// State of the jobs.
        pub state: JobState,
        /// How many.
        pub count: u64,
        /// Age of the oldest, since it was enqueued.
        pub oldest_seconds: f64,
    }

    /// An agent that has contacted the broker.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct AgentView {
        /// Its name.
        pub agent: AgentId,
        /// As the agent last sent it.
        pub info: serde_json::Value,
        /// Time since its last request.
        pub last_seen_seconds: f64,
        /// Jobs that it works on.
        pub leases: u32,
        /// Its results that producers rejected, since it was last pardoned.
        pub rejected: u32,
        /// Whether it can claim nothing until an operator pardons it.
        pub quarantined: bool,
        /// Label of the token of whoever asked it to leave; null while nobody has. It can claim nothing then.
        #[serde(default)]
        pub draining_by: Option<String>,
    }

    /// What an agent is asked.
    #[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct DrainRequest {
        /// Takes it back: the agent gets jobs again. One that has left already does not come back by that.
        #[serde(default)]
        pub undo: bool,
    }
}
