//! The prover node in service: turns of the controller, the sender's and the lease's tasks.

use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::Client;
use rollmill_service::{Failure, Shutdown, one_line};
use tokio::task::JoinSet;

use crate::lease::{self, Identity, RENEW};
use crate::ports::NodePorts;
use crate::ranges::controller::Controller;
use crate::submit::Submitter;

/// Longest time between two turns, and between two looks of the sender.
const PACE: Duration = Duration::from_secs(1);
/// Pause after a turn that failed.
const RETRY: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct ProverNode {
    pub controller: Controller,
    pub ports: NodePorts,
    pub broker: Client,
    /// Name of the submitter's lease.
    pub lease_name: String,
    pub identity: Identity,
}

impl ProverNode {
    /// Proves until `shutdown` starts. What was proven stays with the broker; the lease is released.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        tasks.spawn(lease::keep(
            self.broker.clone(),
            self.lease_name.clone(),
            self.identity.clone(),
            self.ports.lease.clone(),
            Arc::clone(&self.ports.health),
            RENEW,
            shutdown.clone(),
        ));
        let submitter = Arc::clone(&self.ports.submitter);
        let (tips, stop) = (self.ports.running.node.watch_tips(), shutdown.clone());
        let news = self.ports.provers.news();
        tasks.spawn(async move {
            let mut tips = tips;
            while !stop.is_started() {
                if let Err(error) = submitter.tick().await {
                    tracing::warn!(error, "L1 not read for pending submissions; retrying in 1 s");
                }
                news.notify_one();
                tokio::select! {
                    () = stop.started() => break,
                    _ = tips.changed() => {}
                    () = tokio::time::sleep(PACE) => {}
                }
            }
        });
        self.turns(shutdown).await;
        // Ends the proving tasks; the lease's task still has to release it.
        drop(self.ports);
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn turns(&mut self, shutdown: &Shutdown) {
        let mut tips = self.ports.running.node.watch_tips();
        let news = self.ports.provers.news();
        let mut failing = false;
        while !shutdown.is_started() {
            tips.mark_unchanged();
            let turn = tokio::select! {
                turn = self.controller.turn(&mut self.ports) => turn,
                () = shutdown.started() => break,
            };
            let pause = match turn {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("turns succeed again");
                    }
                    PACE
                }
                Err(error) => {
                    self.ports.metrics.failures.inc();
                    self.ports.conditions(false);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %one_line(error.as_ref()), "turn failed; retrying every 2 s");
                    }
                    tokio::select! {
                        () = shutdown.started() => break,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                    continue;
                }
            };
            self.ports.conditions(true);
            tokio::select! {
                () = shutdown.started() => break,
                _ = tips.changed() => {}
                () = news.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
