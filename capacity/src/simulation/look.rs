//! The cluster as the scheduler sees it.

use rollmill_broker_client::SizeClass;
use rollmill_broker_schedule::{
    Agent as Idle, Decisions, Demand, Epoch, Job as Waiting, Lease, Tenant, View, schedule,
};

use super::engine::{Engine, EpochState, Trouble};

/// Heads of a queue beyond one for each idle agent, as in the broker.
const SPARE: usize = 16;

impl Engine<'_> {
    /// What the broker's scheduler says. Leases and deadlines are looked at once in a while only.
    pub(super) fn decide(&self, looks: bool, random: u64) -> Decisions {
        let agents: Vec<_> = self.idle.iter().map(|agent| self.idle_agent(*agent)).collect();
        let none = Trouble::default();
        let trouble = |job: u32| self.trouble.get(&job).unwrap_or(&none);
        let mut jobs = Vec::new();
        for queue in self.queues.values() {
            for (_, _, key) in queue.iter().take(agents.len() + SPARE) {
                let job = (*key & u64::from(u32::MAX)) as u32;
                jobs.push(Waiting { key: *key, ..self.waiting(job, trouble(job)) });
            }
        }
        let mut leases = Vec::new();
        let demands: Vec<Vec<Demand>> =
            self.epochs.iter().map(|epoch| if looks { demands(epoch) } else { vec![] }).collect();
        let mut epochs = Vec::new();
        if looks {
            for (job, held) in &self.leases {
                for (agent, _, started, is_second) in held {
                    leases.push(Lease {
                        job: self.waiting(*job, trouble(*job)),
                        identity: *agent as u64,
                        device: *agent as u64,
                        speed: self.agents[*agent].machine.speed,
                        started: *started,
                        is_second: *is_second || !self.setup.has_second_leases,
                    });
                }
            }
            epochs =
                (0..self.epochs.len()).map(|epoch| self.epoch(epoch, &demands[epoch])).collect();
        }
        let mut capacity = vec![0.0; self.abilities.len()];
        let mut live_agents = 0;
        if looks {
            for agent in self.agents.iter().filter(|agent| agent.is_live) {
                capacity[usize::from(agent.machine.class.number())] += agent.machine.speed;
                live_agents += 1;
            }
        }
        let view = View {
            tenants: &[Tenant::default()],
            shares: &self.shares,
            works: &self.setup.works,
            abilities: &self.abilities,
            agents: &agents,
            jobs: &jobs,
            leases: &leases,
            epochs: &epochs,
            live_agents,
            capacity: &capacity,
        };
        schedule(&view, self.now, random)
    }

    fn idle_agent(&self, agent: usize) -> Idle<'_> {
        let state = &self.agents[agent];
        Idle {
            key: agent as u64,
            identity: agent as u64,
            device: agent as u64,
            ability: usize::from(state.machine.class.number()),
            speed: state.machine.speed,
            resident: &state.resident,
            since: state.idle_since.unwrap_or(self.now),
            is_draining: false,
        }
    }

    fn waiting<'t>(&self, job: u32, trouble: &'t Trouble) -> Waiting<'t> {
        let node = self.graph.nodes[job as usize];
        Waiting {
            key: u64::from(job),
            tenant: 0,
            work: usize::from(node.work),
            class: self.jobs[job as usize].class,
            epoch: u64::from(node.epoch),
            rank: node.rank,
            since: self.jobs[job as usize].since,
            excluded: &trouble.excluded,
        }
    }

    fn epoch<'d>(&self, epoch: usize, remaining: &'d [Demand]) -> Epoch<'d> {
        let (load, state) = (&self.setup.epochs[epoch], &self.epochs[epoch]);
        let is_open = state.accepted.is_none() && !state.is_lost;
        Epoch {
            tenant: 0,
            number: epoch as u64,
            is_stale: state.is_lost,
            submit_by: load.submit_by.filter(|_| is_open),
            window: load.window,
            submission: self.setup.delays.submission,
            remaining,
            longest_path: self.longest_path(state),
        }
    }

    /// Seconds, as the broker takes them from the highest rank: as measured, or the mean of the jobs for each proof.
    fn longest_path(&self, epoch: &EpochState) -> f64 {
        let rank = epoch.by_rank.last_key_value().map_or(0.0, |(rank, _)| f64::from(*rank));
        if self.setup.has_measured_ranks {
            return rank / 1e3;
        }
        let jobs: u64 = epoch.by_work.iter().sum();
        let each = epoch.by_work.iter().zip(&self.setup.works);
        let seconds: f64 = each.map(|(jobs, work)| *jobs as f64 * work.p50).sum();
        rank * seconds / jobs.max(1) as f64
    }
}

fn demands(epoch: &EpochState) -> Vec<Demand> {
    let open = epoch.by_work.iter().enumerate().filter(|(_, jobs)| **jobs > 0);
    open.map(|(work, jobs)| Demand { work, class: SizeClass::SMALLEST, jobs: *jobs }).collect()
}
