//! What must hold for a node to do its work, as conditions of its process.
//!
//! `l1` is met while L1 can be read, `synced` once its head was reached, `data` unless a block on L1 lacks its data
//! and L1's head was not reached since, `chain` while L1 contains no rejected block, and `fees` while its L1
//! transactions can pay for their gas.

use std::time::Duration;

use rollmill_node_client::wire::Tips;
use rollmill_service::{Conditions, Shutdown};
use tokio::sync::watch;

use crate::l1_events::{L1Events, L1Position, L1SourceError, L1Update};

/// A source of events that records whether it could be read.
#[derive(Debug)]
pub(crate) struct Watched<E> {
    source: E,
    conditions: Conditions,
}

impl<E> Watched<E> {
    pub(crate) fn new(source: E, conditions: Conditions) -> Self {
        conditions.expect(&["l1", "synced"]);
        Self { source, conditions }
    }
}

impl<E: L1Events> L1Events for Watched<E> {
    async fn next(&mut self, known: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
        let next = self.source.next(known).await;
        match &next {
            Ok(update) => {
                self.conditions.set("l1", Ok(()));
                // A step may end before a block without data, so only L1's head shows that none is missing.
                if update.is_none() {
                    self.conditions.set("data", Ok(()));
                    self.conditions.set("synced", Ok(()));
                }
            }
            Err(error @ L1SourceError::DataMissing { .. }) => {
                self.conditions.set("l1", Ok(()));
                self.conditions.set("data", Err(rollmill_service::one_line(error)));
            }
            Err(error) => self.conditions.set("l1", Err(rollmill_service::one_line(error))),
        }
        next
    }
}

/// Keeps the condition `chain` until `shutdown` starts.
pub(crate) async fn watch_chain(
    mut tips: watch::Receiver<Tips>,
    conditions: Conditions,
    shutdown: Shutdown,
) {
    loop {
        let rejected = tips.borrow_and_update().rejected.clone();
        conditions.set(
            "chain",
            rejected.map_or(Ok(()), |block| {
                Err(format!("block {} on L1 is rejected: {}", block.block_number, block.reason))
            }),
        );
        tokio::select! {
            changed = tips.changed() => if changed.is_err() { return },
            () = shutdown.started() => return,
        }
    }
}

/// Keeps the condition `fees` until `shutdown` starts or the sender is gone: it is not met from a price
/// above the limit until none has followed for `quiet`. A caller that gave up asks for no price any more.
pub(crate) async fn watch_fees<Q: Future<Output = ()>>(
    mut rejections: watch::Receiver<u64>,
    quiet: impl Fn() -> Q,
    conditions: Conditions,
    shutdown: Shutdown,
) {
    let mut limited = false;
    loop {
        conditions.set("fees", if limited { Err(FEES_LIMITED.to_owned()) } else { Ok(()) });
        tokio::select! {
            changed = rejections.changed() => match changed {
                Ok(()) => limited = true,
                Err(_) => return,
            },
            () = quiet(), if limited => limited = false,
            () = shutdown.started() => return,
        }
    }
}

/// How long no price is above the limit until the condition `fees` is met again: what waits for a lower
/// price is retried with every L1 block.
pub(crate) const FEES_QUIET: Duration = Duration::from_secs(60);
/// Why the condition `fees` is not met.
const FEES_LIMITED: &str =
    "gas on L1 costs more than the setting l1_max_fee_gwei allows; transactions to L1 wait";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollmill_l1::L1Error;
    use tokio::sync::Notify;

    use super::*;

    struct Script(Vec<Result<Option<L1Update>, L1SourceError>>);

    impl L1Events for Script {
        async fn next(&mut self, _: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
            self.0.remove(0)
        }
    }

    #[tokio::test]
    async fn l1_and_synced_follow_what_the_source_answers() {
        let conditions = Conditions::default();
        let at = L1Position { number: 7, hash: [7; 32] };
        let step = L1Update::Rewind { to: at };
        let unreachable = || L1Error::Unreachable { what: "the head", reason: "no answer".into() };
        let missing = || L1SourceError::DataMissing {
            block: 3,
            versioned_hash: [1; 32],
            reason: "no source is configured".to_owned(),
        };
        let script = vec![
            Ok(Some(step.clone())),
            Err(unreachable().into()),
            Ok(None),
            Err(missing()),
            Ok(Some(step)),
            Err(missing()),
            Err(unreachable().into()),
            Ok(None),
            Err(unreachable().into()),
        ];
        let mut source = Watched::new(Script(script), conditions.clone());
        let failing = || {
            let names: Vec<_> = conditions.failing().into_iter().map(|(name, _)| name).collect();
            names.join(" ")
        };
        assert_eq!(failing(), "l1 synced");
        let shown = ["synced", "l1 synced", "", "data", "data", "data", "data l1", "", "l1"];
        for expected in shown {
            let _ = source.next(&[at]).await;
            assert_eq!(failing(), expected);
        }
        assert_eq!(conditions.failing()[0].1, unreachable().to_string());
    }

    /// Goal: the condition recovers without another request, since there may be none.
    #[tokio::test]
    async fn a_fee_above_the_limit_is_a_condition_until_none_is_rejected_for_a_while() {
        let (sender, receiver) = watch::channel(0);
        let (conditions, shutdown) = (Conditions::default(), Shutdown::new());
        let while_is_over = Arc::new(Notify::new());
        let over = Arc::clone(&while_is_over);
        let quiet = move || Arc::clone(&over).notified_owned();
        let watching = watch_fees(receiver, quiet, conditions.clone(), shutdown.clone());
        let task = tokio::spawn(watching);
        for count in 1..4 {
            sender.send(count).unwrap();
            while conditions.failing() != [("fees", FEES_LIMITED.to_owned())] {
                tokio::task::yield_now().await;
            }
            while_is_over.notify_one();
            while !conditions.failing().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        shutdown.start();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_rejected_block_is_named_until_it_is_gone() {
        use rollmill_node_client::wire::{RejectedBlock, Tip};
        use rollmill_protocol::Fr;
        let tip = Tip { block_number: 4, header_hash: Fr::from(1u64), slot: 4 };
        let rejected =
            RejectedBlock { block_number: 5, l1_block: 9, reason: "NODE-010: no".into() };
        let (pending, verified, proven, finalized) = (tip, tip, tip, tip);
        let tips = |rejected| Tips { pending, verified, proven, finalized, l1_block: 9, rejected };
        let (sender, receiver) = watch::channel(tips(Some(rejected)));
        let (conditions, shutdown) = (Conditions::default(), Shutdown::new());
        let task = tokio::spawn(watch_chain(receiver, conditions.clone(), shutdown));
        while conditions.failing().is_empty() {
            tokio::task::yield_now().await;
        }
        let expected = "block 5 on L1 is rejected: NODE-010: no";
        assert_eq!(conditions.failing(), [("chain", expected.to_owned())]);
        sender.send(tips(None)).unwrap();
        while !conditions.failing().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(sender);
        task.await.unwrap();
    }
}
