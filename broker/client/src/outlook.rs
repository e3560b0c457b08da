//! What the broker expects: when epochs will be finished, and how many agents are wanted.

use serde::{Deserialize, Serialize};

use crate::shapes::wire;
use crate::{AgentId, SizeClass};

wire! {
    /// What the broker expects of an epoch. It knows the jobs that are enqueued, and none that its producer will enqueue
    /// later.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct OutlookView {
        /// The epoch.
        pub epoch: u64,
        /// Its unfinished jobs.
        pub jobs: u64,
        /// Seconds until they will be done and their result accepted, with 60 s for the latter; null while no live agent can
        /// do one of them.
        pub finish_in_seconds: Option<f64>,
        /// Seconds until the earliest deadline of its jobs; negative when it has passed, null when they have none, as
        /// those of Aztec's prover nodes.
        pub deadline_in_seconds: Option<f64>,
        /// Less than a tenth of the time to the deadline will be left, or the finish is unknown.
        pub at_risk: bool,
    }

    /// Agents that do the same work: those of one version of the circuits and one class.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct PoolView {
        /// Version of the jobs.
        pub version: String,
        /// Smallest class of agent that they need.
        pub class: SizeClass,
        /// Their types.
        pub kinds: Vec<String>,
        /// Unfinished jobs.
        pub jobs: u64,
        /// What they take one agent, in seconds.
        pub seconds: f64,
        /// Whether a job of each type was measured by this broker since it started, of this tenant. It takes the mean of the
        /// measured types for the others, and 10 s before the first.
        pub measured: bool,
        /// Live agents that can do all of the types.
        pub live: u64,
        /// Agents that should be there, so that each epoch meets its deadline with a fifth to spare: at most one for each job
        /// of the epoch and of the older ones, at least one while there is a job. Without a deadline it is one, however
        /// many jobs there are.
        pub wanted: u64,
    }

    /// Agents of one size class, for an autoscaler of machines of that size.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ClassView {
        /// The class.
        pub class: SizeClass,
        /// Agents that should be there for the jobs that need at least this class, and no larger one. Agents of larger classes
        /// count for them too.
        pub wanted: u64,
        /// Live agents of this class, and of no other.
        pub live: u64,
        /// Agents of this class that may be stopped, in this order: those of the list of all classes.
        pub removable: Vec<AgentId>,
    }

    /// How many agents should be there, and which may go.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct AutoscaleResponse {
        /// The sum of `wanted` of all pools.
        pub wanted: u64,
        /// Live agents that are not in quarantine and were not asked to leave.
        pub live: u64,
        /// One for each version and class with unfinished jobs.
        pub pools: Vec<PoolView>,
        /// Each size class, from the smallest on, also without jobs and agents. Empty from a broker of a release before this
        /// field.
        #[serde(default)]
        pub classes: Vec<ClassView>,
        /// Agents that may be stopped, in this order, while as many others of each class stay as are wanted: they hold no
        /// lease, and have waited at the broker that answers for 60 s without a job. Those without a key in memory come first,
        /// then those that have waited longest. Ask each to leave first: it may be granted a job at any time.
        pub removable: Vec<AgentId>,
    }
}
