//! Explores more of the model than the tests do, and prints what it found: `make model`.
//!
//! `explore LEASES` sets how many leases of all jobs together may end without a result.

use std::error::Error;

use rollmill_broker_model::{Bounds, Model, Rule, explore};
use stateright::{Checker, Model as _};

fn main() -> Result<(), Box<dyn Error>> {
    let mut bounds = Bounds::LARGE;
    if let Some(leases) = std::env::args().nth(1) {
        bounds.leases_in_all = leases.parse()?;
    }
    println!("{bounds:?}");
    let graph = explore(&Model::new(bounds));
    println!(
        "{} states, {} transitions, depth {}, {} final states, {} kinds of moves",
        graph.states,
        graph.transitions,
        graph.depth,
        graph.final_states,
        graph.moves.len()
    );
    println!("{} states in which a job is lost, {} hopeless", graph.lost.len(), graph.hopeless);
    let checker = Model::new(bounds).checker().threads(2).spawn_bfs().join();
    let broken = checker.discoveries();
    for (rule, path) in &broken {
        println!("broken: {rule}, by {:?}", path.clone().into_actions());
    }
    println!("stateright: {} states, {} rules", checker.unique_state_count(), Rule::ALL.len());
    match broken.is_empty() && graph.lost.is_empty() && graph.broken == 0 {
        true => Ok(()),
        false => Err("the model found an error".into()),
    }
}
