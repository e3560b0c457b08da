//! A schema with the verbs that the tests are written in.

#![allow(dead_code, unreachable_pub)]

pub mod aztec;
pub mod document;
pub mod generate;
pub mod requests;
pub mod target;

use std::process::Command;
use std::time::Duration;

use rollmill_broker::error::BrokerError;
use rollmill_broker::policy::Next;
use rollmill_broker::store::{Candidate, Completed, Match, Store, Tenant};
use rollmill_broker_client::{
    AgentId, Capability, CompleteRequest, Digest, FailRequest, FailureClass, HeartbeatRequest,
    JobView, LeaseRef, ListQuery, NewJob, ProgressRequest, RejectRequest, RejectResponse,
    ReleaseRequest, SizeClass,
};
use rollmill_broker_testing::TestSchema;
use sqlx::PgConnection;

/// The broker's program, for which the disk of this machine is never too full: only a test of its own fills a disk.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-broker"));
    command.env("ROLLMILL_BROKER_DISK_FREE_MIN_PERCENT", "0");
    command
}

pub const KINDS: [&str; 2] = ["leaf", "root"];

pub struct Bench {
    pub schema: TestSchema,
    pub store: Store,
    pub tenant: Tenant,
}

impl Bench {
    pub async fn new() -> Self {
        let schema = TestSchema::new().await;
        let store = schema.store().await;
        Self { schema, store, tenant: Tenant::default() }
    }

    pub async fn put(&self, epoch: u64, bytes: &[u8]) -> Digest {
        let digest = digest(bytes);
        self.store.put_artifact(&self.tenant, epoch, digest, bytes.to_vec()).await.unwrap();
        digest
    }

    pub async fn ready_job(&self, epoch: u64, kind: &str, rank: u32) -> NewJob {
        self.ready_job_with(epoch, kind, rank, format!("{epoch}{kind}{rank}").as_bytes()).await
    }

    pub async fn ready_job_with(&self, epoch: u64, kind: &str, rank: u32, input: &[u8]) -> NewJob {
        let mut job = job(epoch, kind, self.put(epoch, input).await);
        job.rank = rank;
        self.store.enqueue(&self.tenant, std::slice::from_ref(&job)).await.unwrap();
        job
    }

    pub async fn peek(&self) -> Vec<Candidate> {
        self.peek_class(SizeClass::SMALLEST).await
    }

    pub async fn peek_class(&self, class: SizeClass) -> Vec<Candidate> {
        let wanted: Vec<_> = KINDS.iter().map(|kind| (capability(kind), class)).collect();
        let mut jobs = self.store.peek(&self.tenant, &wanted, 10).await.unwrap();
        jobs.sort_by_key(|job| (job.epoch, std::cmp::Reverse(job.rank), job.seq));
        jobs
    }

    /// Leases the first ready job to an agent.
    pub async fn lease(&self, name: &str) -> LeaseRef {
        let seq = self.peek().await[0].seq;
        // A transaction that failed is rolled back a moment after its error is returned, and a claim passes over what it
        // holds.
        let free = sqlx::query("SELECT seq FROM job WHERE seq = $1 FOR UPDATE").bind(seq);
        free.execute(self.store.pool()).await.unwrap();
        let granted = self.store.claim(&[Match { seq, agent: agent(name) }]).await.unwrap();
        let grant = &granted[0].grant;
        LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch }
    }

    /// Moves a lease's end into the past, by the database's clock.
    pub async fn run_out(&self, lease: &LeaseRef) {
        let id = lease.job.as_str();
        let moved =
            sqlx::query("UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE id = $1")
                .bind(id)
                .execute(self.store.pool())
                .await
                .unwrap();
        assert_eq!(moved.rows_affected(), 1);
    }

    pub async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(self.store.pool()).await.unwrap();
    }

    pub async fn complete(
        &self,
        name: &str,
        lease: &LeaseRef,
        result: Digest,
    ) -> Result<Completed, BrokerError> {
        let (agent, lease) = (agent(name), lease.clone());
        let stats = serde_json::json!({ "rows": 1 });
        self.store.complete(&self.tenant, &CompleteRequest { agent, lease, result, stats }).await
    }

    pub async fn fail(
        &self,
        name: &str,
        lease: &LeaseRef,
        class: FailureClass,
    ) -> Result<Next, BrokerError> {
        let (agent, lease) = (agent(name), lease.clone());
        let request = FailRequest { agent, lease, class, message: "as the test says".into() };
        self.store.fail(&self.tenant, &request, 0.5).await
    }

    pub async fn release(&self, name: &str, lease: &LeaseRef) -> Result<(), BrokerError> {
        let request = ReleaseRequest { agent: agent(name), lease: lease.clone() };
        self.store.release(&self.tenant, &request).await
    }

    pub async fn progress(&self, name: &str, lease: &LeaseRef) -> Result<(), BrokerError> {
        let request = ProgressRequest { agent: agent(name), lease: lease.clone(), progress: 0.5 };
        self.store.progress(&self.tenant, &request).await
    }

    pub async fn heartbeat(&self, name: &str, lease: &LeaseRef) -> Vec<LeaseRef> {
        let request = HeartbeatRequest { agent: agent(name), leases: vec![lease.clone()] };
        self.store.heartbeat(&self.tenant, &request).await.unwrap()
    }

    pub async fn reject(&self, lease: &LeaseRef, result: Digest) -> RejectResponse {
        let request =
            RejectRequest { id: lease.job.clone(), result, reason: "does not verify".into() };
        self.store.reject(&self.tenant, &request, 0.5).await.unwrap()
    }

    pub async fn view(&self, lease: &LeaseRef) -> JobView {
        let ids = [lease.job.clone()];
        self.store.jobs(&self.tenant, &ids).await.unwrap().remove(0)
    }

    pub async fn only_job(&self) -> JobView {
        let mut jobs = self.store.list(&self.tenant, &ListQuery::default()).await.unwrap();
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    pub async fn outcomes(&self, lease: &LeaseRef) -> Vec<&'static str> {
        let attempts = self.store.history(&self.tenant, &lease.job).await.unwrap();
        attempts.into_iter().map(|attempt| attempt.outcome.as_str()).collect()
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

pub fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

pub fn capability(kind: &str) -> Capability {
    Capability { kind: kind.parse().unwrap(), version: "v1".parse().unwrap() }
}

pub fn job(epoch: u64, kind: &str, input: Digest) -> NewJob {
    NewJob::new(epoch, &kind.parse().unwrap(), "v1".parse().unwrap(), input)
}

/// The process of a statement that waits for a lock of this connection, once there is one. `query` is a pattern of LIKE.
pub async fn blocked(holder: &mut PgConnection, query: &str) -> i32 {
    blocked_many(holder, query, 1).await[0]
}

/// As [`blocked`], once there are this many.
pub async fn blocked_many(holder: &mut PgConnection, query: &str, count: usize) -> Vec<i32> {
    let search = async {
        loop {
            // Within a transaction the view keeps what the first look found.
            sqlx::query("SELECT pg_stat_clear_snapshot()").execute(&mut *holder).await.unwrap();
            let found: Vec<i32> = sqlx::query_scalar(
                "SELECT pid FROM pg_stat_activity
                 WHERE pg_blocking_pids(pid) @> ARRAY[pg_backend_pid()] AND query LIKE $1",
            )
            .bind(query)
            .fetch_all(&mut *holder)
            .await
            .unwrap();
            if found.len() >= count {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), search).await.unwrap()
}
