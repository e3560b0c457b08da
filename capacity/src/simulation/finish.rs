//! What a run found.

use super::engine::Engine;
use super::{EpochOutcome, Outcome};

impl Engine<'_> {
    pub(super) fn finish(mut self) -> Outcome {
        let works = &self.setup.works;
        let fastest = self.setup.machines.iter().map(|machine| machine.speed).fold(0.0, f64::max);
        let critical = self.graph.critical(|work| works[usize::from(work)].p50 / fastest);
        let all: f64 = self.graph.nodes.iter().map(|node| works[usize::from(node.work)].p50).sum();
        let capacity: f64 = self.setup.machines.iter().map(|machine| machine.speed).sum();
        let accepted = self.epochs.iter().filter_map(|epoch| epoch.accepted);
        let makespan = accepted.fold(0.0, f64::max);
        let end = self.now;
        let live = self.agents.iter().filter(|agent| agent.is_live);
        let rest: f64 = live.map(|agent| end - agent.live_since).sum();
        let submission = self.setup.delays.submission;
        let epochs = self.epochs.iter().zip(&self.setup.epochs).zip(critical.iter().copied());
        self.outcome.epochs = epochs
            .map(|((state, load), critical)| {
                let proven = state.accepted.map(|accepted| accepted - submission);
                let is_late = proven.zip(load.submit_by).is_some_and(|(proven, by)| proven > by);
                EpochOutcome {
                    accepted_seconds: state.accepted,
                    critical_seconds: critical + submission,
                    submit_by_seconds: load.submit_by,
                    is_missed: is_late || state.accepted.is_none(),
                }
            })
            .collect();
        let longest = critical.into_iter().fold(0.0, f64::max);
        let outcome = &mut self.outcome;
        outcome.seed = self.setup.seed;
        outcome.jobs = self.graph.nodes.len();
        outcome.agents = self.setup.machines.len();
        outcome.makespan_seconds = makespan;
        outcome.floor_seconds = longest.max(all / capacity) + submission;
        outcome.agent_seconds += rest;
        outcome.utilisation = match outcome.agent_seconds > 0.0 {
            true => outcome.proving_seconds / outcome.agent_seconds,
            false => 0.0,
        };
        self.outcome
    }
}
