//! Whether the data of a block is missing, as a condition of the process and as a metric.

use rollmill_l1::data::DataMissing;
use rollmill_service::{Conditions, Shutdown};
use tokio::sync::watch;

rollmill_service::metrics! {
    /// The data of blocks, which is in blobs on L1.
    pub struct DataMetrics: "rollmill_node_" {
        /// 1 while no source has the data of a block, before which the chain is held.
        data_missing: IntGauge,
    }
}

/// Keeps the condition `data` and the metric until `shutdown` starts or the sources are gone.
pub async fn watch_data(
    mut missing: watch::Receiver<Option<DataMissing>>,
    metrics: DataMetrics,
    conditions: Conditions,
    shutdown: Shutdown,
) {
    loop {
        let now = missing.borrow_and_update().clone();
        metrics.data_missing.set(now.is_some().into());
        conditions.set("data", now.map_or(Ok(()), |missing| Err(missing.to_string())));
        tokio::select! {
            changed = missing.changed() => if changed.is_err() { return },
            () = shutdown.started() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rollmill_l1::L1BlockRef;
    use rollmill_l1::blob::Kzg;
    use rollmill_l1::data::{BlobRef, BlobSources};
    use rollmill_service::prometheus::Registry;

    use super::*;

    /// Goal: an operator sees what is missing, in the metric and by name, and that it was found or is no longer needed.
    #[tokio::test]
    async fn missing_data_is_a_condition_and_a_metric_until_the_search_ends() {
        let registry = Registry::new();
        let metrics = DataMetrics::new(&registry).unwrap();
        let shown = || {
            let families = registry.gather();
            let family = families.iter().find(|f| f.name() == "rollmill_node_data_missing");
            family.unwrap().get_metric()[0].get_gauge().get_value()
        };
        let (conditions, shutdown) = (Conditions::default(), Shutdown::new());
        let sources = BlobSources::new(Kzg::start(), None, Vec::new());
        let watching =
            watch_data(sources.watch_missing(), metrics, conditions.clone(), shutdown.clone());
        let task = tokio::spawn(watching);
        let block = L1BlockRef { number: 5, hash: [5; 32].into(), timestamp: 60 };
        let wanted = BlobRef { versioned_hash: [1; 32].into(), block };
        let mut hunt = sources.hunt(wanted).pausing(Duration::MAX, Duration::MAX);
        let is_shown = async {
            while conditions.failing().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = hunt.found() => panic!("there is no source"),
            () = is_shown => {}
        }
        let failing = conditions.failing();
        assert_eq!(failing[0].0, "data");
        assert!(failing[0].1.contains("L1-038: no source has blob 0x0101"), "{failing:?}");
        assert_eq!(shown(), 1.0);
        drop(hunt);
        while !conditions.failing().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(shown(), 0.0);
        shutdown.start();
        task.await.unwrap();
    }
}
