//! Short ways to make what crosses the wire.

use std::collections::BTreeMap;

use crate::{
    AgentId, Capability, ClaimRequest, CompleteRequest, Digest, Grant, JobId, KindName, LeaseRef,
    NewJob, PATH_MS_MAX, SizeClass, WAIT_MS_MAX,
};

/// The rank of a job whose producer measures: milliseconds of the jobs that must follow each other up to the root, its
/// own included, of which each takes so many seconds. It is both [`NewJob::rank`] and [`NewJob::path_ms`].
pub fn path_ms(seconds: impl IntoIterator<Item = f64>) -> u32 {
    // Each job counts, however fast it is: a parent never has the rank of its child.
    let ms: f64 = seconds.into_iter().map(|seconds| (seconds * 1e3).ceil()).sum();
    ms.min(PATH_MS_MAX as f64) as u32
}

impl NewJob {
    /// A job of rank and class 0 without deadline or labels.
    pub fn new(epoch: u64, kind: &KindName, version: KindName, input: Digest) -> Self {
        Self {
            id: JobId::new(epoch, kind, input),
            version,
            rank: 0,
            path_ms: None,
            class: SizeClass::SMALLEST,
            deadline_unix_seconds: None,
            hard_limit_seconds: None,
            labels: BTreeMap::new(),
        }
    }
}

impl ClaimRequest {
    /// A claim by an agent of class 0 that waits as long as the broker lets it and says nothing about
    /// itself.
    pub fn new(agent: AgentId, capabilities: Vec<Capability>) -> Self {
        let info = serde_json::Value::Null;
        Self {
            agent,
            capabilities,
            class: SizeClass::SMALLEST,
            wait_ms: WAIT_MS_MAX,
            info,
            session: None,
        }
    }
}

impl Grant {
    /// The lease, as its holder names it in later requests.
    pub fn lease(&self) -> LeaseRef {
        LeaseRef { job: self.job.clone(), lease_epoch: self.lease_epoch }
    }
}

impl CompleteRequest {
    /// The result of an agent that says nothing about its work.
    pub const fn new(agent: AgentId, lease: LeaseRef, result: Digest) -> Self {
        Self { agent, lease, result, stats: serde_json::Value::Null }
    }
}
