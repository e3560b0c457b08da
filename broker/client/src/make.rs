//! Short ways to make what crosses the wire.

use std::collections::BTreeMap;

use crate::{
    AgentId, Capability, ClaimRequest, CompleteRequest, Digest, Grant, JobId, KindName, LeaseRef,
    NewJob, SizeClass, WAIT_MS_MAX,
};

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
