//! The golden epoch as files, and each circuit over a valid witness.

use std::path::PathBuf;

use rollmill_circuits::client;
use rollmill_circuits::jobs::{self, EpochRootInput, Input};
use rollmill_circuits::keyset::KeySet;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::Circuit;

use super::{genesis_chain, transfer};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The file of this name.
pub fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

/// The circuits that have a witness here: all but those of the private kernel, whose witnesses are in
/// `private_whole.rs`.
pub fn circuits() -> impl Iterator<Item = Circuit> {
    Circuit::ALL.into_iter().filter(|circuit| circuit.role() < Circuit::PrivateInit.role())
}

/// The keys of the epoch.
pub fn keys() -> KeySet {
    KeySet::from_bytes(&file("keys.set")).expect("the golden keys")
}

/// Names of the jobs without their ending, children before parents.
pub fn jobs() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".input").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The first job of a circuit; none if the epoch has none.
pub fn job_of(circuit: Circuit) -> Option<String> {
    jobs().into_iter().find(|name| &name[3..] == circuit.name())
}

/// The circuit of an epoch of other results than the golden one has.
pub fn epoch_root(set: &KeySet, circuit: Circuit, ranges: &[&str]) -> Builder {
    let two = Input::from_bytes(Circuit::EpochRoot2, &file("09-epoch_root_2.input")).unwrap();
    let Input::EpochRoot(EpochRootInput { config, .. }) = two else { unreachable!() };
    let ranges: Vec<Vec<u8>> = ranges.iter().map(|name| file(name)).collect();
    let input = jobs::epoch_root_input(config, &ranges).unwrap();
    jobs::lay_out(set, circuit.name(), &input).unwrap()
}

/// A circuit of [`circuits`] over a valid witness, of the golden epoch if it has one.
pub fn whole(set: &KeySet, circuit: Circuit) -> Builder {
    if let Some(name) = job_of(circuit) {
        return jobs::lay_out(set, circuit.name(), &file(&format!("{name}.input"))).unwrap();
    }
    match circuit {
        Circuit::Client => {
            let (header, store) = genesis_chain();
            client::build(&transfer(&header, &store, 1))
        }
        // The golden epoch has three blocks. Its second one alone is an epoch too.
        Circuit::EpochRoot1 => epoch_root(set, circuit, &["05-block_root_0.output"]),
        other => panic!("{other} has no job in the golden epoch: put one there, or a witness here"),
    }
}
