//! Every interleaving of two brokers, two agents and two jobs, of the broker's rules and of rules with one missing.
//!
//! `cargo test -p rollmill-broker-model -- --nocapture` prints the figures; `make model` explores further.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use rollmill_broker_model::weak::{Finding, WEAKNESSES, Weakness};
use rollmill_broker_model::{Bounds, Exploration, Model, Rule, explore};
use rollmill_broker_rules::states::TRANSITIONS;
use stateright::{Checker, HasDiscoveries, Model as _};

/// What is explored: two jobs, one in more depth, one with agents that are asked to leave, one with the results of
/// second leases, and one with their rows. The last is the smallest, and the first that looks for a weakness.
const ALL: [(&str, Bounds); 5] = [
    ("two jobs", Bounds::BROAD),
    ("one job", Bounds::DEEP),
    ("leaving", Bounds::LEAVING),
    ("second leases", Bounds::SECONDS),
    ("rows of second leases", Bounds::SECOND_ROWS),
];

/// The graphs of [`ALL`].
fn explored() -> &'static [Exploration] {
    static EXPLORED: OnceLock<Vec<Exploration>> = OnceLock::new();
    EXPLORED.get_or_init(|| ALL.map(|(_, bounds)| explore(&Model::new(bounds))).into())
}

/// Goal: no event, lost, repeated or late, by whatever agent and whatever broker, breaks a rule. Method: `stateright`
/// visits every state; the graph of this crate has as many.
#[test]
fn no_interleaving_breaks_a_rule() {
    for ((name, bounds), graph) in ALL.into_iter().zip(explored()) {
        let checker = Model::new(bounds).checker().spawn_bfs().join();
        println!(
            "{name}: {} states, {} transitions, depth {}, {} rules",
            graph.states,
            graph.transitions,
            graph.depth,
            Rule::ALL.len()
        );
        checker.assert_properties();
        assert_eq!(checker.unique_state_count(), graph.states, "{name}");
        assert_eq!(graph.broken, 0, "{name}");
    }
}

/// Goal: nothing is lost. Whatever went wrong before, once brokers and agents work and nobody interferes every job can
/// be finished. The exception is the producer's own: it rejected the right result of a job that then waits for its
/// deadline.
#[test]
fn every_job_can_be_finished_from_every_state() {
    for ((name, _), graph) in ALL.iter().zip(explored()) {
        println!("{name}: {} final states, {} hopeless", graph.final_states, graph.hopeless);
        assert!(graph.final_states > 0, "{name}");
        assert!(
            graph.lost.is_empty(),
            "{name}: {} states, such as {:#?}",
            graph.lost.len(),
            graph.lost[0]
        );
    }
}

/// Goal: the table of transitions is what can happen, neither more nor less.
#[test]
fn every_transition_of_the_table_is_reached_and_no_other() {
    let text = |state: rollmill_broker_client::JobState| state.as_str();
    let table: BTreeSet<_> =
        TRANSITIONS.iter().map(|t| (t.from.map(text), text(t.to), t.statement)).collect();
    let reached: BTreeSet<_> = explored().iter().flat_map(|graph| graph.moves.clone()).collect();
    let missing: Vec<_> = table.difference(&reached).collect();
    let more: Vec<_> = reached.difference(&table).collect();
    assert!(missing.is_empty(), "in the table, and never reached: {missing:?}");
    assert!(more.is_empty(), "reached, and not in the table: {more:?}");
}

/// Goal: the model would notice. Method: each of these rules is missing in turn.
#[test]
fn every_weakness_is_found() {
    let mut missed = Vec::new();
    for weakness in WEAKNESSES {
        let found = ALL.iter().rev().any(|(_, bounds)| finds(weakness, *bounds));
        println!("{}: {}", weakness.name, if found { "found" } else { "NOT FOUND" });
        if !found {
            missed.push(weakness.name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

fn finds(weakness: &Weakness, bounds: Bounds) -> bool {
    let model = Model { step: weakness.step, second: weakness.second, ..Model::new(bounds) };
    match weakness.finding {
        Finding::Loses => !explore(&model).lost.is_empty(),
        Finding::Breaks(rule) => {
            let first = HasDiscoveries::AnyOf(BTreeSet::from([rule.name()]));
            let checker = model.checker().finish_when(first).spawn_bfs().join();
            checker.discovery(rule.name()).is_some()
        }
    }
}

/// Goal: states that differ in names alone are one without hiding anything. Method: a smaller model with and without
/// that; both find the same moves, and nothing else.
#[test]
fn names_make_no_difference() {
    let deep = Bounds { leases: 2, leases_in_all: 2, has_resume: false, ..Bounds::DEEP };
    for small in [deep, Bounds::LEAVING, Bounds::SECOND_ROWS] {
        let named = |is_symmetric| explore(&Model::new(Bounds { is_symmetric, ..small }));
        let (one, all) = (named(true), named(false));
        assert!(one.states < all.states, "{small:?}");
        assert_eq!(one.moves, all.moves, "{small:?}");
        assert_eq!((one.broken, one.lost.len()), (0, 0), "{small:?}");
        assert_eq!((all.broken, all.lost.len()), (0, 0), "{small:?}");
    }
}
