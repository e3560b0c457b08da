//! Watches the broker's jobs: prints a line for each finished job, and collects figures for the report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rollmill_broker_client::{
    BATCH_MAX, Client, JobId, JobState, JobView, LeaseEpoch, ListQuery, Options, ROLLUP_LABEL,
    WorkStats,
};
use rollmill_l1::alloy::primitives::Address;

use crate::{Error, JobReport, Progress};

/// What the broker's jobs have shown so far.
#[derive(Debug)]
pub struct Jobs {
    client: Client,
    book: Book,
}

impl Jobs {
    /// Watches the broker at `address`. Requests are retried while it is unavailable.
    ///
    /// # Errors
    /// [`Error::Broker`] when the address cannot be used.
    pub fn watch(address: SocketAddr) -> Result<Self, Error> {
        let options =
            Options { patience: Duration::from_secs(60), timeout: Duration::from_secs(10) };
        let client = Client::new(&format!("http://{address}"), None, options)?;
        Ok(Self { client, book: Book::default() })
    }

    /// Shows a deployment's name with its jobs.
    pub fn name(&mut self, rollup: Address, name: &str) {
        self.book.names.insert(format!("{rollup:#x}"), name.to_owned());
    }

    /// The broker's client, for more than watching.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Polls once, shows what changed, and returns the jobs.
    ///
    /// # Errors
    /// [`Error::Broker`] when the broker stays unavailable.
    pub async fn poll(&mut self, progress: &mut Progress) -> Result<Vec<JobView>, Error> {
        // BATCH_MAX is 1,000.
        let query = ListQuery { limit: Some(BATCH_MAX as u32), ..ListQuery::default() };
        let jobs = self.client.list(&query).await?;
        for line in self.book.update(&jobs) {
            progress.line(&line);
        }
        progress.status(summary(&jobs));
        Ok(jobs)
    }

    /// Figures of every finished job, in the order in which they finished.
    pub fn reports(&self) -> &[JobReport] {
        &self.book.reports
    }
}

/// What was known of each job at the last poll.
#[derive(Debug, Default)]
struct Book {
    known: BTreeMap<JobId, (JobState, u32)>,
    /// Names of deployments by the label of their jobs, if there are several.
    names: BTreeMap<String, String>,
    reports: Vec<JobReport>,
}

impl Book {
    /// Records a poll and returns the lines to show.
    fn update(&mut self, jobs: &[JobView]) -> Vec<String> {
        let mut lines = Vec::new();
        // The broker lists the newest first.
        for job in jobs.iter().rev() {
            let before = self.known.insert(job.id.clone(), (job.state, job.attempts));
            let was = before.map(|(state, _)| state);
            match job.state {
                JobState::Done if was != Some(JobState::Done) => {
                    let report = report(job);
                    lines.push(done_line(&self.short(job), job, &report));
                    self.reports.push(report);
                }
                JobState::Dead if was != Some(JobState::Dead) => {
                    lines.push(format!("{} dead-lettered{}", self.short(job), failure(job)));
                }
                JobState::Ready | JobState::Delayed | JobState::Leased
                    if was == Some(JobState::Done) =>
                {
                    lines.push(format!("{} is proven again{}", self.short(job), failure(job)));
                }
                JobState::Ready | JobState::Delayed if was == Some(JobState::Leased) => {
                    lines.push(format!(
                        "{} goes back to the queue{}",
                        self.short(job),
                        failure(job)
                    ));
                }
                _ => {}
            }
        }
        lines
    }

    /// `epoch 1 tx_base 3fa9c1d2`: epoch, type and the start of the input's digest, after the deployment's name.
    fn short(&self, job: &JobView) -> String {
        let name = job.labels.get(ROLLUP_LABEL).and_then(|rollup| self.names.get(rollup));
        let name = name.map_or_else(String::new, |name| format!("{name}: "));
        let (id, digest) = (&job.id, job.id.input().to_string());
        format!("{name}epoch {} {:<12} {}", id.epoch(), id.kind(), &digest[..8])
    }
}

fn failure(job: &JobView) -> String {
    job.failure.as_ref().map_or(String::new(), |failure| {
        format!(" ({}: {})", failure.class.as_str(), failure.message)
    })
}

fn report(job: &JobView) -> JobReport {
    // An agent that reports no times, or malformed ones, still generated a proof.
    let stats: WorkStats =
        job.stats.clone().and_then(|stats| serde_json::from_value(stats).ok()).unwrap_or_default();
    JobReport {
        circuit: job.id.kind().into(),
        rows: stats.rows,
        witness_seconds: stats.witness_seconds,
        proving_seconds: stats.proving_seconds,
        proof_bytes: stats.proof_bytes,
        agent: job.agent.as_ref().map_or("unknown".into(), ToString::to_string),
    }
}

fn done_line(short: &str, job: &JobView, report: &JobReport) -> String {
    let again =
        if job.attempts > 1 { format!(", attempt {}", job.attempts) } else { String::new() };
    format!(
        "{} proven by {}: {} rows, witness {:.2} s, proof {:.2} s, {} B{again}",
        short,
        report.agent,
        report.rows,
        report.witness_seconds,
        report.proving_seconds,
        report.proof_bytes,
    )
}

fn summary(jobs: &[JobView]) -> String {
    let count = |state: JobState| jobs.iter().filter(|job| job.state == state).count();
    let working: Vec<String> = jobs
        .iter()
        .filter_map(|job| {
            let lease = job.lease.as_ref().filter(|_| job.state == JobState::Leased)?;
            Some(format!("{} on {}", job.id.kind(), lease.agent))
        })
        .collect();
    if jobs.is_empty() {
        return "waiting for jobs".into();
    }
    let waiting = count(JobState::Ready) + count(JobState::Delayed);
    let working = if working.is_empty() { "none".into() } else { working.join(", ") };
    format!("{} proven, {waiting} waiting, at work: {working}", count(JobState::Done))
}

/// A job that an agent works on, as seen at one poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub job: JobId,
    pub agent: String,
    pub lease_epoch: LeaseEpoch,
}

/// The lease of one of `agents` with the most remaining work, whose agent is to be killed.
///
/// `rank` is the producer's estimate of the path still to do, so the highest is the earliest in the
/// epoch: there is most left to recover.
pub fn victim(jobs: &[JobView], agents: &[String]) -> Option<Holding> {
    jobs.iter()
        .filter(|job| job.state == JobState::Leased)
        .filter_map(|job| Some((job, job.lease.as_ref()?)))
        .filter(|(_, lease)| agents.iter().any(|agent| agent == lease.agent.as_str()))
        .max_by_key(|(job, _)| job.rank)
        .map(|(job, lease)| Holding {
            job: job.id.clone(),
            agent: lease.agent.to_string(),
            lease_epoch: lease.lease_epoch,
        })
}

/// Whether work on the job of `held` continues: the job is done, or leased again.
pub fn goes_on(jobs: &[JobView], held: &Holding) -> bool {
    jobs.iter().any(|job| {
        job.id == held.job
            && (job.state == JobState::Done
                || job.lease.as_ref().is_some_and(|lease| lease.lease_epoch > held.lease_epoch))
    })
}

/// Number of grants and results: grows when any job is granted or done.
pub fn activity(jobs: &[JobView]) -> u64 {
    jobs.iter().map(|job| u64::from(job.attempts) + u64::from(job.state == JobState::Done)).sum()
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::{
        Digest, FailureClass, FailureView, KindName, LeaseView, SizeClass,
    };

    use super::*;

    fn job(kind: &str, state: JobState) -> JobView {
        let kind: KindName = kind.parse().unwrap();
        JobView {
            id: JobId::new(1, &kind, Digest::of(kind.as_str().as_bytes())),
            version: "v1".parse().unwrap(),
            rank: 0,
            class: SizeClass::SMALLEST,
            state,
            attempts: 1,
            lease: None,
            result: None,
            agent: None,
            stats: None,
            failure: None,
            labels: BTreeMap::new(),
            created_unix_ms: 0,
            finished_unix_ms: None,
        }
    }

    fn leased(kind: &str, agent: &str, lease_epoch: u64, rank: u32) -> JobView {
        let lease = LeaseView {
            agent: agent.parse().unwrap(),
            lease_epoch: LeaseEpoch(lease_epoch),
            expires_in_ms: 1000,
            progress: None,
        };
        JobView { lease: Some(lease), rank, ..job(kind, JobState::Leased) }
    }

    #[test]
    fn a_job_that_ends_is_shown_once_with_its_figures() {
        let mut done = job("tx_base", JobState::Done);
        done.agent = Some("agent-2".parse().unwrap());
        let stats = WorkStats { rows: 99, proving_seconds: 2.5, ..WorkStats::default() };
        done.stats = Some(serde_json::to_value(stats).unwrap());
        let mut book = Book::default();
        assert!(book.update(&[job("tx_base", JobState::Ready)]).is_empty());
        let lines = book.update(&[done.clone()]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("proven by agent-2: 99 rows"), "{lines:?}");
        assert!(lines[0].starts_with("epoch 1 tx_base"), "{lines:?}");
        assert!(book.update(&[done]).is_empty());
        assert_eq!(book.reports.len(), 1);
        assert_eq!(book.reports[0].proving_seconds, 2.5);
    }

    #[test]
    fn a_job_of_one_of_several_deployments_is_shown_with_its_name() {
        let mut done = job("tx_base", JobState::Done);
        done.labels.insert(ROLLUP_LABEL.into(), "0xab".into());
        let mut book = Book::default();
        book.names.insert("0xab".into(), "beta".into());
        assert!(book.update(&[done])[0].starts_with("beta: epoch 1 tx_base"));
    }

    #[test]
    fn a_rejected_result_and_a_lost_lease_are_shown_with_the_reason() {
        let failure = FailureView { class: FailureClass::InvalidProof, message: "no".into() };
        let again = JobView { failure: Some(failure), ..job("tx_merge", JobState::Ready) };
        let mut book = Book::default();
        book.update(&[job("tx_merge", JobState::Done)]);
        let lines = book.update(std::slice::from_ref(&again));
        assert!(lines[0].contains("is proven again (invalid_proof: no)"), "{lines:?}");

        let mut book = Book::default();
        book.update(&[leased("tx_merge", "agent-1", 1, 0)]);
        let lines = book.update(&[again]);
        assert!(lines[0].contains("goes back to the queue"), "{lines:?}");
    }

    #[test]
    fn the_victim_holds_the_work_with_the_longest_path_left() {
        let jobs = [
            leased("block_root_1", "agent-1", 1, 5),
            leased("tx_base", "agent-2", 4, 9),
            leased("tx_merge", "stranger", 1, 99),
        ];
        let held = victim(&jobs, &["agent-1".into(), "agent-2".into()]).unwrap();
        assert_eq!((held.agent.as_str(), held.lease_epoch), ("agent-2", LeaseEpoch(4)));
        assert_eq!(victim(&jobs, &[]), None);
    }

    #[test]
    fn work_goes_on_once_the_job_is_leased_anew_or_done() {
        let held = victim(&[leased("tx_base", "agent-1", 4, 0)], &["agent-1".into()]).unwrap();
        assert!(!goes_on(&[leased("tx_base", "agent-1", 4, 0)], &held));
        assert!(goes_on(&[leased("tx_base", "agent-2", 5, 0)], &held));
        assert!(goes_on(&[job("tx_base", JobState::Done)], &held));
        assert!(!goes_on(&[job("tx_merge", JobState::Done)], &held));
    }

    #[test]
    fn the_status_says_who_works_on_what() {
        let jobs = [
            job("tx_base", JobState::Done),
            leased("tx_merge", "agent-1", 1, 0),
            job("tx_base", JobState::Ready),
        ];
        assert_eq!(summary(&jobs), "1 proven, 1 waiting, at work: tx_merge on agent-1");
        assert_eq!(summary(&[]), "waiting for jobs");
    }
}
