//! The cluster at a glance, and how a client follows it: what the broker's web page shows.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::routes::{BodyLimit, Content, EventForm, Payload};
use crate::rules::Described as _;
use crate::shapes::wire;
use crate::{AgentId, AgentState, FailureClass, JobId, JobState, Role, Severity, SizeClass};

/// Name of the event that comes first, with a [`CallerView`].
pub const CALLER: &str = "caller";
/// Name of the events after it, each with an [`Overview`].
pub const OVERVIEW: &str = "overview";
/// What a stream sends after 15 s without an event, so that both ends notice a broken connection.
pub const HEARTBEAT: &[u8] = b":\n\n";

wire! {
    /// How long to follow.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EventsQuery {
        /// End after this many events `overview`; without end when absent.
        #[serde(default)]
        pub overviews: Option<u32>,
    }

    /// Who follows.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CallerView {
        /// What the caller's token allows.
        pub role: Role,
        /// Whose jobs and agents the caller sees.
        pub tenant: String,
        /// The broker's clock, in milliseconds since 1970, for a client whose own clock differs.
        pub now_unix_ms: u64,
    }

    /// The cluster at a glance. Queue, epochs and agents wanted are counted every 5 s, the rest is read every second.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Overview {
        /// Grows by one with each overview that differs from the one before, at this replica.
        pub number: u64,
        /// The worst trouble, or the best truth.
        pub headline: HeadlineView,
        /// Open epochs, and others with unfinished jobs, the oldest first; at most 64.
        pub epochs: Vec<EpochOverview>,
        /// The agents.
        pub agents: AgentsOverview,
        /// Unfinished jobs by type, those first that no live agent can do, then the oldest; at most 100.
        pub queue: Vec<QueueOverview>,
        /// How many entries the queue has.
        pub queue_entries: u64,
        /// The dead letters.
        pub dead_letters: DeadLettersOverview,
    }

    /// One sentence about the cluster.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HeadlineView {
        /// How it is meant.
        pub severity: Severity,
        /// The sentence, in English.
        pub text: String,
    }

    /// An epoch at a glance.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct EpochOverview {
        /// Its number.
        pub epoch: u64,
        /// Earliest deadline of its unfinished jobs, in seconds since 1970; null when they have none.
        pub deadline_unix_seconds: Option<u64>,
        /// When its unfinished jobs will be done and their result accepted, in seconds since 1970; null when there are
        /// none, or while no live agent can do one of them.
        pub finish_unix_seconds: Option<u64>,
        /// Less than a tenth of the time to the deadline will be left, or the finish is unknown.
        pub at_risk: bool,
        /// Its unfinished jobs.
        pub unfinished: u64,
        /// Its jobs that are done.
        pub done: u64,
        /// Share of its jobs that are done, rounded down: of those that its producer has enqueued so far and nobody has
        /// cancelled. Null when there are none, or more epochs than are shown.
        pub coverage_percent: Option<u32>,
        /// Seconds of agents in its jobs that are done, as the agents reported them.
        #[serde(default)]
        pub agent_seconds: u64,
        /// What these seconds cost, in cents of a dollar; null while the broker knows no price.
        #[serde(default)]
        pub cost_cents: Option<u64>,
        /// Its jobs by type, those first that are farthest from the root.
        pub kinds: Vec<KindOverview>,
    }

    /// Jobs of a type in an epoch.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct KindOverview {
        /// The type.
        pub kind: String,
        /// How many are in each job state; a state without a job is left out.
        pub states: BTreeMap<String, u64>,
    }

    /// Agents at a glance: those that were heard within a day.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct AgentsOverview {
        /// How many there are.
        pub total: u64,
        /// Live ones that are not in quarantine.
        pub live: u64,
        /// Those that fell silent less than 10 minutes ago.
        pub silent: u64,
        /// Those in quarantine.
        pub quarantined: u64,
        /// How many should be live.
        pub wanted: u64,
        /// What the live ones cost in an hour, in cents of a dollar; null while the broker knows no price.
        #[serde(default)]
        pub cents_per_hour: Option<u64>,
        /// Some of them, those in trouble first; at most 100.
        pub shown: Vec<AgentOverview>,
    }

    /// An agent at a glance.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AgentOverview {
        /// Its name.
        pub agent: AgentId,
        /// What it does.
        pub state: AgentState,
        /// When it was last heard, in seconds since 1970; null while it is live.
        pub last_seen_unix_seconds: Option<u64>,
        /// Jobs that it works on.
        pub leases: u32,
        /// Its results that producers rejected, since it was last pardoned.
        pub rejected: u32,
        /// The device that it proves on, as it says itself; empty if it says nothing.
        pub device: String,
        /// Name and release of its program, as it says itself.
        pub software: String,
        /// How fast it is beside the median of the agents that are shown: 2 means twice as fast. Null while it has
        /// measured nothing.
        pub speed: Option<f64>,
        /// Seconds of one job by type, of the three slowest types that it has measured.
        pub seconds: BTreeMap<String, f64>,
    }

    /// Unfinished jobs of a type in a state.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct QueueOverview {
        /// Type of the jobs.
        pub kind: String,
        /// Version of the jobs.
        pub version: String,
        /// Smallest class of agent that the jobs need.
        pub class: SizeClass,
        /// State of the jobs.
        pub state: JobState,
        /// How many.
        pub jobs: u64,
        /// When the oldest was enqueued, in seconds since 1970.
        pub oldest_unix_seconds: u64,
        /// They wait, and for 10 s no live agent has been able to do them.
        pub unable: bool,
    }

    /// Dead letters at a glance.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DeadLettersOverview {
        /// How many there are.
        pub total: u64,
        /// Some of them, the newest first; at most 50.
        pub shown: Vec<DeadLetterOverview>,
    }

    /// A dead letter at a glance.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DeadLetterOverview {
        /// The job.
        pub id: JobId,
        /// Why it failed last.
        pub class: Option<FailureClass>,
        /// What the agent, the producer or the broker wrote about it; at most 200 characters.
        pub message: String,
        /// When it became a dead letter, in seconds since 1970.
        pub since_unix_seconds: Option<u64>,
    }
}

/// What a device is called in the JSON that an agent sends about itself: name, memory and threads; [`None`] if it names
/// none.
pub fn device_of(info: &serde_json::Value) -> Option<String> {
    let device = &info["device"];
    let name = device["name"].as_str().filter(|name| !name.is_empty())?;
    let memory = device["memory_bytes"].as_u64().map(|n| format!(", {} GiB", n >> 30));
    let threads = device["threads"].as_u64().map(|n| format!(", {n} threads"));
    let text = format!("{name}{}{}", memory.unwrap_or_default(), threads.unwrap_or_default());
    Some(text.chars().filter(|c| !c.is_control()).collect())
}

/// One server-sent event. JSON has no line break, so that its data is one line.
///
/// # Errors
/// When the value has no JSON form.
pub fn event(name: &str, value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let data = serde_json::to_string(value)?;
    Ok(format!("event: {name}\ndata: {data}\n\n").into())
}

/// What was followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// Who followed.
    pub caller: CallerView,
    /// In the order in which they came.
    pub overviews: Vec<Overview>,
}

/// Server-sent events: one [`CALLER`], then each [`OVERVIEW`].
#[derive(Clone, Copy, Debug)]
pub struct OverviewEvents;

impl Payload for OverviewEvents {
    type Value = Followed;
    const FORM: Content = Content::Events(&[
        EventForm { name: CALLER, form: CallerView::FORM },
        EventForm { name: OVERVIEW, form: Overview::FORM },
    ]);
    const CONTENT_TYPE: Option<&'static str> = Some("text/event-stream");
    const LIMIT: BodyLimit = BodyLimit::None;
    const SUCCESS: u16 = 200;

    fn encode(value: &Followed) -> Result<Bytes, serde_json::Error> {
        let mut all = event(CALLER, &value.caller)?.to_vec();
        for overview in &value.overviews {
            all.extend_from_slice(&event(OVERVIEW, overview)?);
        }
        Ok(all.into())
    }

    fn decode(bytes: Bytes) -> Result<Followed, serde_json::Error> {
        use serde::de::Error as _;
        let text = std::str::from_utf8(&bytes).map_err(serde_json::Error::custom)?;
        let (mut caller, mut overviews) = (None, Vec::new());
        // What follows the last empty line is an event that was cut.
        for block in text.split_inclusive("\n\n").filter(|block| block.ends_with("\n\n")) {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            match (field("event: "), field("data: ")) {
                (Some(CALLER), Some(data)) => caller = Some(serde_json::from_str(data)?),
                (Some(OVERVIEW), Some(data)) => overviews.push(serde_json::from_str(data)?),
                // A heartbeat, or an event of a later release.
                _ => {}
            }
        }
        let caller = caller.ok_or_else(|| serde_json::Error::custom("it has no event `caller`"))?;
        Ok(Followed { caller, overviews })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed() -> Followed {
        let overview = |number| Overview {
            number,
            headline: HeadlineView { severity: Severity::Good, text: "a\n\nevent: caller".into() },
            epochs: vec![],
            agents: AgentsOverview::default(),
            queue: vec![],
            queue_entries: 0,
            dead_letters: DeadLettersOverview::default(),
        };
        let caller = CallerView { role: Role::Reader, tenant: "t".into(), now_unix_ms: 1 };
        Followed { caller, overviews: vec![overview(1), overview(2)] }
    }

    #[test]
    fn events_read_back_whatever_text_they_carry_and_whatever_lies_between() {
        let bytes = OverviewEvents::encode(&followed()).unwrap();
        assert_eq!(OverviewEvents::decode(bytes.clone()).unwrap(), followed());
        let later = b"event: of-a-later-release\ndata: 7\n\n";
        let more = [&bytes[..], HEARTBEAT, later, b"event: overview\ndata: {\"cut\""].concat();
        assert_eq!(OverviewEvents::decode(more.into()).unwrap(), followed());
    }

    #[test]
    fn a_stream_without_its_first_event_is_an_error() {
        for text in ["", ":\n\n", "event: caller\ndata: {}\n\n", "event: caller\n\n"] {
            assert!(OverviewEvents::decode(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_device_is_named_without_control_characters() {
        let device = serde_json::json!({"name": "H200\u{7}", "memory_bytes": 150_000_000_000_u64, "threads": 8});
        let info = serde_json::json!({ "device": device });
        assert_eq!(device_of(&info).as_deref(), Some("H200, 139 GiB, 8 threads"));
        for info in [serde_json::Value::Null, serde_json::json!({"device": {"name": ""}})] {
            assert_eq!(device_of(&info), None, "{info}");
        }
    }
}
