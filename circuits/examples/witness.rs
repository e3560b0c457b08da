//! Times witness generation over the golden jobs and what a key's layout takes, the least of several runs
//! each, and names both by a digest, so that two builds can be compared.
//!
//! `cargo run -p rollmill-circuits --example witness -- [RUNS] [CIRCUIT]`

use std::time::Instant;

use rollmill_circuits::circuit::log_n;
use rollmill_circuits::jobs;
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry;
use rollmill_plonk::key::layout_digest;
use rollmill_protocol::Circuit;
use sha2::{Digest, Sha256};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runs: usize = arguments.next().map_or(5, |runs| runs.parse().expect("a number of runs"));
    let only = arguments.next().unwrap_or_default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let set = KeySet::from_bytes(&std::fs::read(format!("{folder}/keys.set")).expect("keys"))
        .expect("set");
    for name in
        ["00-tx_base", "03-tx_merge", "04-block_root_2", "08-block_merge", "09-epoch_root_2"]
    {
        let kind = &name[3..];
        if !kind.starts_with(&only) {
            continue;
        }
        let input = std::fs::read(format!("{folder}/{name}.input")).expect("input");
        let circuit = Circuit::from_name(kind).expect("name");
        let mut best = [f64::MAX; 6];
        let mut hash = Vec::new();
        let mut digest = String::new();
        for _ in 0..runs {
            let mut times = Vec::new();
            let mut at = Instant::now();
            let mut lap = || {
                times.push(at.elapsed().as_secs_f64() * 1e3);
                at = Instant::now();
            };
            let builder = jobs::lay_out(&set, kind, &input).expect("job");
            lap();
            let (_, witness) = builder.finish(Some(log_n(circuit))).expect("fits");
            lap();
            let layout = registry::layout(circuit).expect("layout");
            lap();
            let columns = layout.fixed_columns();
            lap();
            let bytes = layout_digest(&layout.shape, &columns);
            lap();
            digest = hex::encode(&bytes[..8]);
            let mut hasher = Sha256::new();
            for column in witness.wires.iter().chain([&witness.m]) {
                for value in column {
                    for word in value.0.0 {
                        hasher.update(word.to_le_bytes());
                    }
                }
            }
            hash = hasher.finalize().to_vec();
            for (best, time) in best.iter_mut().zip(times) {
                *best = best.min(time);
            }
        }
        println!(
            "{kind:13} build {:6.1} finish {:6.1} | layout {:6.1} columns {:6.1} digest {:6.1} ms | witness {} layout {digest}",
            best[0],
            best[1],
            best[2],
            best[3],
            best[4],
            hex::encode(&hash[..8])
        );
    }
}
