//! The whole graph of the states that can be reached.
//!
//! `stateright` answers whether a property holds in every state. "From every state every job can be finished" is no
//! such property, and its `eventually` does not see cycles, of which there are many here. With the edges at hand it is
//! a search backwards from the final states.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::action::{self, Move, is_calm};
use crate::state::{JobRow, Proof, State, fingerprint};
use crate::{Model, is_final};

/// What was found.
#[derive(Debug)]
pub struct Exploration {
    pub states: usize,
    pub transitions: usize,
    /// Events on the longest of the shortest ways to a state.
    pub depth: usize,
    pub final_states: usize,
    /// Every move that happened.
    pub moves: BTreeSet<Move>,
    /// States from which some job can never be finished, although replicas and agents work and nobody interferes.
    pub lost: Vec<State>,
    /// Such states in which the producer has rejected the right result of a job: it goes from one agent to the next
    /// until its deadline, or until the producer cancels it.
    pub hopeless: usize,
    /// States that break a rule, which `stateright` reports with the way that leads there.
    pub broken: usize,
}

/// Explores everything, breadth first.
pub fn explore(model: &Model) -> Exploration {
    let mut graph = Graph::default();
    graph.add(model.start(), 0);
    let mut calm: Vec<(u32, u32)> = Vec::new();
    let mut moves = BTreeSet::new();
    let (mut transitions, mut depth) = (0, 0);
    let mut actions = Vec::new();
    while let Some((index, at)) = graph.waiting.pop_front() {
        depth = depth.max(at);
        let state = graph.states[index as usize].clone();
        action::possible(model, &state, &mut actions);
        for action in actions.drain(..) {
            let Some((next, moved)) = action::apply(model, &state, action) else { continue };
            transitions += 1;
            moves.extend(moved);
            let to = graph.add(next, at + 1);
            if is_calm(model, &state, action) {
                calm.push((to, index));
            }
        }
    }
    let states = graph.states;
    let can_finish = backwards(&states, calm);
    let (mut lost, mut hopeless) = (Vec::new(), 0);
    for (state, can) in states.iter().zip(can_finish) {
        if can || state.broken.is_some() {
            continue;
        }
        match is_hopeless(state) {
            true => hopeless += 1,
            false => lost.push(state.clone()),
        }
    }
    Exploration {
        transitions,
        depth,
        moves,
        final_states: states.iter().filter(|state| is_final(state)).count(),
        lost,
        hopeless,
        broken: states.iter().filter(|state| state.broken.is_some()).count(),
        states: states.len(),
    }
}

/// Whether a job waits whose right result the producer has rejected.
fn is_hopeless(state: &State) -> bool {
    let waits = |row: &JobRow| !row.state.is_final() && row.is_banned(&Proof::Right);
    state.jobs.iter().flatten().any(waits)
}

/// Which states lead to a final one, by edges that are given from their end to their start.
fn backwards(states: &[State], mut edges: Vec<(u32, u32)>) -> Vec<bool> {
    edges.sort_unstable();
    let mut can_finish: Vec<bool> = states.iter().map(is_final).collect();
    let finals = can_finish.iter().enumerate().filter(|(_, is_final)| **is_final);
    let mut waiting: Vec<u32> = finals.filter_map(|(index, _)| u32::try_from(index).ok()).collect();
    while let Some(to) = waiting.pop() {
        let first = edges.partition_point(|(end, _)| *end < to);
        for (_, from) in edges[first..].iter().take_while(|(end, _)| *end == to) {
            let known = &mut can_finish[*from as usize];
            if !*known {
                *known = true;
                waiting.push(*from);
            }
        }
    }
    can_finish
}

#[derive(Default)]
struct Graph {
    states: Vec<State>,
    /// By fingerprint; two states may have one.
    known: HashMap<u64, Vec<u32>>,
    waiting: VecDeque<(u32, usize)>,
}

impl Graph {
    /// The number of a state, new or known.
    fn add(&mut self, state: State, depth: usize) -> u32 {
        let known = self.known.entry(fingerprint(&state)).or_default();
        if let Some(index) = known.iter().find(|index| self.states[**index as usize] == state) {
            return *index;
        }
        let index = u32::try_from(self.states.len()).expect("fewer than four billion states");
        known.push(index);
        self.states.push(state);
        self.waiting.push_back((index, depth));
        index
    }
}
