//! The running prover node: the controller's turns, and the tasks of the sender and the lease.

use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::Client;
use rollmill_node::Pruner;
use rollmill_sequencer_client::QuoteClient;
use rollmill_service::{Again, Failure, Retry, Shutdown, one_line};
use tokio::task::JoinSet;

use crate::claims::Claims;
use crate::lease::{self, Identity, RENEW};
use crate::ports::NodePorts;
use crate::quotes::Quoter;
use crate::ranges::controller::Controller;

/// Longest time between two turns.
const PACE: Duration = Duration::from_secs(1);
/// Pause between polls of the deadline of the oldest unproven epoch.
const WATCH: Duration = Duration::from_secs(2);
/// First and longest pause after a failed turn.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// See the module.
#[derive(Debug)]
pub struct ProverNode {
    pub controller: Controller,
    pub ports: NodePorts,
    pub broker: Client,
    /// Name of the submitter's lease and who takes it; absent in a process that submits nothing.
    pub submits: Option<(String, Identity)>,
    /// Prunes when a deadline was missed and nobody else has pruned.
    pub pruner: Arc<Pruner>,
    /// Shows what the prover is owed, and claims it.
    pub claims: Arc<Claims>,
    /// Sends quotes to proposers, if the settings name some.
    pub quotes: Option<(Quoter, Vec<QuoteClient>)>,
}

impl ProverNode {
    /// Proves until `shutdown` starts. Finished proofs stay at the broker; the lease is released.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        let (names, health) = (self.broker.clone(), Arc::clone(&self.ports.health));
        let (lease, stop) = (self.ports.lease.clone(), shutdown.clone());
        match self.submits.take() {
            Some((name, identity)) => {
                tasks.spawn(lease::keep(names, name, identity, lease, health, RENEW, stop))
            }
            None => tasks.spawn(lease::probe(names, health, RENEW, stop)),
        };
        let sender = Arc::clone(&self.ports.submitter.sender);
        let (mut sent, stop) = (sender.watch(), shutdown.clone());
        tasks.spawn(sender.run(async move { stop.started().await }));
        let (news, stop) = (self.ports.provers.news(), shutdown.clone());
        tasks.spawn(async move {
            while !stop.is_started() {
                tokio::select! {
                    () = stop.started() => break,
                    // The sender lives as long as the ports.
                    changed = sent.changed() => match changed {
                        Ok(()) => news.notify_one(),
                        Err(_) => break,
                    },
                }
            }
        });
        let (pruner, stop) = (Arc::clone(&self.pruner), shutdown.clone());
        tasks.spawn(async move { pruner.run(WATCH, &stop).await });
        let (claims, stop) = (Arc::clone(&self.claims), shutdown.clone());
        tasks.spawn(async move { claims.run(&stop).await });
        if let Some((quoter, proposers)) = self.quotes.take() {
            tasks.spawn(quoter.run(proposers, shutdown.clone()));
        }
        self.turns(shutdown).await;
        // Stops the proving tasks; the lease's task still has to release it.
        drop(self.ports);
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn turns(&mut self, shutdown: &Shutdown) {
        let mut tips = self.ports.running.node.watch_tips();
        let news = self.ports.provers.news();
        let mut retry = Retry::new(RETRY.0, RETRY.1);
        while !shutdown.is_started() {
            tips.mark_unchanged();
            let turn = tokio::select! {
                turn = self.controller.turn(&mut self.ports) => turn,
                () = shutdown.started() => break,
            };
            self.ports.conditions();
            if let Err(error) = turn {
                self.ports.metrics.failures_total.inc();
                let log = |Again { repeated, retry_seconds }| {
                    let error = one_line(error.as_ref());
                    tracing::warn!(error, repeated, retry_seconds, "control loop failed; retrying");
                };
                retry.failed(shutdown.started(), log).await;
                continue;
            }
            retry.succeeded(|wait_seconds| tracing::info!(wait_seconds, "control loop recovered"));
            tokio::select! {
                () = shutdown.started() => break,
                _ = tips.changed() => {}
                () = news.notified() => {}
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }
}
