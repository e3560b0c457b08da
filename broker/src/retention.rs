//! The task that ends and deletes what is not kept any longer, and shows what is.

use std::time::Duration;

use rollmill_broker_client::EpochState;
use rollmill_service::{Conditions, Outage};

use crate::background::{Task, within};
use crate::broker::Shared;
use crate::store::{Retired, limited};

/// Pause between two looks at the disk.
const DISK: Duration = Duration::from_secs(5);
/// Pause between two rounds.
const ROUND: Duration = Duration::from_secs(10);
/// Longest time of a round, which deletes whole epochs; the next one goes on where it ended.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(3600);

/// Keeps the condition `disk`.
pub(crate) async fn watch_disk(shared: &Shared, conditions: &Conditions) {
    loop {
        let dir = shared.disk.dir().display();
        // Clients get the same without the path, which says nothing to them.
        let seen = shared
            .disk
            .look()
            .map_err(|error| format!("{} (data_dir is {dir})", rollmill_service::one_line(&error)));
        conditions.set("disk", seen);
        tokio::select! {
            () = tokio::time::sleep(DISK) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Ends and deletes, round after round. Replicas do this side by side; each step may be repeated.
pub(crate) async fn retire(shared: &Shared) {
    let mut task = Task::new("retention");
    // Never ends, so it bounds the log events of epochs that cannot be deleted.
    let failures = Outage::default();
    loop {
        let round = limited(ROUND_MAX, shared.store.retire(shared.disk.require().is_err()));
        let round = tokio::select! {
            round = round => round,
            () = shared.shutdown.started() => return,
        };
        for retired in task.report(round, &shared.shutdown).await.into_iter().flatten() {
            match retired {
                Retired::Closed { tenant, epoch } => {
                    tracing::warn!(
                        tenant = tenant.as_str(),
                        epoch,
                        "epoch silent for too long; closed"
                    );
                    shared.hub.became_final();
                }
                Retired::Dropped { tenant, epoch, outcome, jobs } => {
                    let (tenant, outcome) = (tenant.as_str(), outcome.as_str());
                    tracing::info!(tenant, epoch, outcome, jobs, "epoch deleted");
                    shared.metrics.epochs_dropped_total.with_label_values(&[outcome]).inc();
                    shared.hub.became_final();
                }
                Retired::Kept { tenant, epoch, reason: error } => {
                    if let Some(repeated) = failures.failed() {
                        let tenant = tenant.as_str();
                        tracing::warn!(
                            tenant,
                            epoch,
                            error,
                            repeated,
                            "epoch not deleted; the next round tries again"
                        );
                    }
                }
            }
        }
        show(shared).await;
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = shared.shutdown.started() => return,
        }
    }
}

/// Shows what is kept; nothing while the database is unavailable.
async fn show(shared: &Shared) {
    let (epochs, kept) = (&shared.metrics.epochs, &shared.metrics.kept_bytes);
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match within(shared, shared.store.count_epochs()).await {
        Ok(counts) => {
            for state in EpochState::ALL {
                let count = counts.iter().find(|(of, _)| *of == state).map_or(0, |(_, n)| *n);
                epochs.with_label_values(&[state.as_str()]).set(number(count));
            }
        }
        Err(_) => epochs.reset(),
    }
    match within(shared, shared.store.kept()).await {
        Ok(bytes) => {
            kept.with_label_values(&["row"]).set(number(bytes.rows));
            kept.with_label_values(&["object"]).set(number(bytes.objects));
        }
        Err(_) => kept.reset(),
    }
    let partitions = &shared.metrics.partitions;
    match within(shared, shared.store.partitions()).await {
        Ok(tables) => {
            partitions.with_label_values(&["used"]).set(number(tables.used));
            partitions.with_label_values(&["due"]).set(number(tables.due));
        }
        Err(_) => partitions.reset(),
    }
}
