//! That one broker kept the jobs of both deployments apart.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_broker_client::{JobState, JobView, ListQuery, ROLLUP_LABEL};

use super::{Upgrade, label_of};
use crate::Error;

/// What the broker counted of the jobs that it cancelled, whoever asked for it.
const CANCELLED: &str = "rollmill_broker_jobs_cancelled_total";

/// The jobs of each deployment at the end.
type Sides<'a> = BTreeMap<&'a str, Vec<JobView>>;

impl Upgrade<'_> {
    /// Requires that each job of both deployments is done, that none was cancelled meanwhile, and that both had jobs of an
    /// epoch with the same number.
    pub(super) async fn require_one_queue(&mut self) -> Result<(), Error> {
        let failed = |reason| {
            let what = "one queue for both deployments".to_owned();
            Error::Upgrade { what, reason }
        };
        let mut sides = Sides::new();
        for side in &self.sides {
            let label = Some(format!("{ROLLUP_LABEL}={}", label_of(side.deployment.rollup)));
            let query = ListQuery { label, ..ListQuery::default() };
            sides.insert(side.name, self.jobs.client().list_all(&query).await?);
        }
        let cancelled = self.network.metric("broker", CANCELLED).await;
        let cancelled =
            cancelled.ok_or_else(|| failed(format!("the broker does not show {CANCELLED}")))?;
        let shared = shared_epochs(&sides, cancelled).map_err(failed)?;
        self.report.shared_epochs = shared.into_iter().collect();
        self.report.jobs =
            sides.iter().map(|(name, jobs)| ((*name).to_owned(), jobs.len() as u64)).collect();
        Ok(())
    }
}

/// The epochs of which all deployments had jobs.
///
/// Each deployment finishes its ranges in a run, so its prover node finds none of its own jobs to cancel. A job that was
/// cancelled is therefore one that the other's prover node took for its own. It may be done by now: whoever still needs a
/// cancelled job enqueues it again, and the job shows nothing of it. So the broker's count decides.
///
/// # Errors
/// A sentence that says what is wrong.
fn shared_epochs(sides: &Sides<'_>, cancelled: f64) -> Result<BTreeSet<u64>, String> {
    if cancelled != 0.0 {
        return Err(format!("{cancelled} jobs were cancelled, and nobody may cancel one"));
    }
    for (name, jobs) in sides {
        if let Some(job) = jobs.iter().find(|job| job.state != JobState::Done) {
            return Err(format!("job {} of {name} is {}", job.id, job.state.as_str()));
        }
    }
    let epochs: Vec<BTreeSet<u64>> =
        sides.values().map(|jobs| jobs.iter().map(|job| job.id.epoch()).collect()).collect();
    let shared = epochs.iter().cloned().reduce(|shared, of| &shared & &of).unwrap_or_default();
    match shared.is_empty() {
        true => Err(format!("no epoch has jobs of both: {epochs:?}")),
        false => Ok(shared),
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::{Digest, JobId, SizeClass};

    use super::*;

    fn job(epoch: u64, state: JobState) -> JobView {
        let kind = "tx_base".parse().unwrap();
        JobView {
            id: JobId::new(epoch, &kind, Digest::of(b"x")),
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

    fn sides(alpha: Vec<JobView>, beta: Vec<JobView>) -> Sides<'static> {
        BTreeMap::from([("alpha", alpha), ("beta", beta)])
    }

    #[test]
    fn a_job_that_was_cancelled_and_done_again_is_noticed() {
        use JobState::{Cancelled, Done};
        let done = |epochs: &[u64]| epochs.iter().map(|epoch| job(*epoch, Done)).collect();
        let apart = sides(done(&[3, 4]), done(&[4, 5]));
        assert_eq!(shared_epochs(&apart, 0.0), Ok(BTreeSet::from([4])));
        // Nothing in the lists differs.
        assert!(shared_epochs(&apart, 1.0).unwrap_err().contains("1 jobs were cancelled"));
        let lost = sides(done(&[4]), vec![job(4, Done), job(4, Cancelled)]);
        assert!(shared_epochs(&lost, 0.0).unwrap_err().ends_with("of beta is cancelled"));
        let alone = shared_epochs(&sides(done(&[3]), done(&[4])), 0.0);
        assert!(alone.unwrap_err().contains("no epoch has jobs of both"));
        assert!(shared_epochs(&sides(Vec::new(), Vec::new()), 0.0).is_err());
    }
}
