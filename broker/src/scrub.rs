//! The scrubber: reads stored artifacts again, slowly and without end, so that damaged ones are found before somebody
//! needs them. See [`crate::store::Store::scrub`].

use std::num::NonZeroU64;
use std::time::Duration;

use rollmill_service::{Conditions, one_line};

use crate::background::{Task, within};
use crate::broker::Shared;
use crate::store::{StoredCopy, Verdict, limited};

/// Least time from the beginning of a pass to that of the next one.
pub(crate) const PASS: Duration = Duration::from_secs(24 * 3600);
/// Shortest and longest pause between two looks whether something is due.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often a copy is tried that cannot be read, before the next one is.
const TRIES: u32 = 3;
/// Longest time for one copy. Each part of a large one has its own limit.
const COPY_MAX: Duration = Duration::from_secs(3600);
/// Holds while the last copy could be read, whatever its bytes, and what followed from them was done. Damage does not end
/// it: a broker that found some has dealt with it, and serves as well as any other.
const CONDITION: &str = "artifacts";

/// Checks stored artifacts until shutdown. `bytes_per_second` is of all replicas together.
pub(crate) async fn keep(shared: &Shared, conditions: &Conditions, bytes_per_second: NonZeroU64) {
    let mut task = Task::new("scrubber");
    conditions.set(CONDITION, Ok(()));
    while !shared.shutdown.is_started() {
        let taken = within(shared, shared.store.scrub_take(bytes_per_second, PASS)).await;
        let Some(batch) = task.report(taken, &shared.shutdown).await else { continue };
        for copy in &batch.copies {
            check(shared, conditions, &mut task, copy).await;
        }
        tokio::select! {
            () = tokio::time::sleep(batch.pause.clamp(PAUSE.0, PAUSE.1)) => {}
            () = shared.shutdown.started() => {}
        }
    }
}

/// Checks a copy, and counts what was found.
async fn check(shared: &Shared, conditions: &Conditions, task: &mut Task, copy: &StoredCopy) {
    for _ in 0..TRIES {
        let checked = tokio::select! {
            checked = limited(COPY_MAX, shared.store.scrub(copy)) => checked,
            () = shared.shutdown.started() => return,
        };
        // The task logs it.
        conditions.record(CONDITION, checked.as_ref().map(|_| ()).map_err(|error| one_line(error)));
        if let Some((verdict, reopened)) = task.report(checked, &shared.shutdown).await {
            return count(shared, copy, verdict, reopened);
        }
        if shared.shutdown.is_started() {
            return;
        }
    }
    count(shared, copy, Verdict::Unread, 0);
}

fn count(shared: &Shared, copy: &StoredCopy, verdict: Verdict, reopened: u64) {
    let StoredCopy { tenant, digest, epoch, bytes } = copy;
    let metrics = &shared.metrics;
    metrics.scrubbed_artifacts_total.with_label_values(&[verdict.as_str()]).inc();
    let tenant = tenant.as_str();
    match verdict {
        Verdict::Gone => return,
        Verdict::Unread => {
            tracing::warn!(tenant, epoch, %digest, "stored artifact not read; the next pass tries again");
            return;
        }
        Verdict::Whole => {}
        Verdict::Mended => {
            tracing::warn!(tenant, epoch, %digest, "stored artifact damaged; replaced by a whole copy");
        }
        Verdict::Damaged => {
            let jobs = reopened;
            tracing::error!(tenant, epoch, %digest, jobs, "stored artifact damaged; no copy is whole");
            shared.count_lost(reopened);
        }
    }
    metrics.scrubbed_bytes_total.inc_by(*bytes);
}
