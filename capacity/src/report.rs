//! What the program prints.

use std::fmt::Write as _;

use crate::CapacityError;
use crate::options::{PlanOptions, SimulateOptions};
use crate::plan::{Plan, plan};
use crate::simulation::{Block, EpochLoad, Outcome, run};

/// The output of `rollmill-capacity plan`.
///
/// # Errors
/// Those of [`plan`] and of the options.
pub fn plans(options: &PlanOptions) -> Result<String, CapacityError> {
    let cluster = options.cluster.cluster()?;
    let mut plans = Vec::new();
    for rate in &options.rates {
        plans.push(plan(&cluster, &options.traffic(*rate)?)?);
    }
    if options.cluster.json {
        return Ok(json(&plans));
    }
    let mut text = format!(
        "epochs of {} s, proven within {} s of their end; {} of them simulated with seed {}\n\n{:>6} {:>8} {:>8} {:>8} \
         {:>7} {:>9} {:>11} {:>12} {:>8} {:>8} {:>8}\n",
        options.epoch_seconds,
        options.prove_within,
        options.epochs,
        options.cluster.seed,
        "TX/S",
        "TXS",
        "JOBS",
        "AGENTS",
        "USED %",
        "WASTED %",
        "$/HOUR",
        "$/1000 TXS",
        "PATH s",
        "AFTER s",
        "BLOCKS"
    );
    for plan in &plans {
        line(&mut text, plan);
    }
    text.push_str(
        "\nTXS, JOBS and BLOCKS are per epoch. USED is the part of the agents' time in accepted proofs, WASTED the part \
         in others. PATH is the longest\npath of an epoch's jobs, AFTER the time from an epoch's end to the acceptance of \
         its proof.\n",
    );
    let slots = (options.epoch_seconds / options.slot_seconds).max(1) as usize;
    if let Some(first) = plans.iter().find(|plan| plan.blocks_per_epoch > slots) {
        let _ = writeln!(
            text,
            "From {} tx/s on an epoch has more blocks than its {slots} slots: one rollup with slots of {} s and blocks of \
             {} transactions\ncannot take that load. The plan is that of several, or of shorter slots.",
            first.transactions_per_second, options.slot_seconds, options.cluster.txs_per_block
        );
    }
    Ok(text)
}

fn line(text: &mut String, plan: &Plan) {
    let outcome = &plan.simulation;
    let _ = writeln!(
        text,
        "{:>6} {:>8} {:>8} {:>8} {:>7.1} {:>9.1} {:>11.2} {:>12.3} {:>8.1} {:>8.1} {:>8}",
        plan.transactions_per_second,
        plan.transactions_per_epoch,
        plan.jobs_per_epoch,
        plan.agents,
        100.0 * outcome.utilisation,
        100.0 * outcome.wasted_seconds / outcome.agent_seconds,
        plan.dollars_per_hour,
        plan.dollars_per_1000_transactions,
        plan.critical_path_seconds,
        plan.proven_after_seconds,
        plan.blocks_per_epoch
    );
}

/// The output of `rollmill-capacity simulate`.
///
/// # Errors
/// Those of the options; [`CapacityError::Missing`].
pub fn simulation(options: &SimulateOptions) -> Result<String, CapacityError> {
    let cluster = options.cluster.cluster()?;
    let txs = options.transactions as usize;
    let count = txs.div_ceil(options.cluster.txs_per_block);
    let last = f64::from(options.arrival_seconds);
    let blocks: Vec<Block> = (0..count)
        .map(|block| Block {
            txs: txs * (block + 1) / count - txs * block / count,
            lands: last * (block + 1) as f64 / count as f64,
        })
        .collect();
    let within = f64::from(options.prove_within);
    let submission = cluster.delays.submission;
    let submit_by = (within > 0.0).then_some(last + within - submission);
    let counts: Vec<usize> = blocks.iter().map(|block| block.txs).collect();
    let works = cluster.works(&counts)?;
    let epoch = EpochLoad { blocks, submit_by, window: within };
    let outcome = run(&cluster.setup(vec![epoch], works, u64::from(options.agents)));
    match options.cluster.json {
        true => Ok(json(&outcome)),
        false => Ok(shown(&outcome)),
    }
}

fn shown(outcome: &Outcome) -> String {
    let epoch = &outcome.epochs[0];
    let accepted = match epoch.accepted_seconds {
        Some(seconds) => format!("{seconds:.1} s"),
        None => "never".to_owned(),
    };
    let (all, part) =
        (outcome.agent_seconds, |seconds: f64| 100.0 * seconds / outcome.agent_seconds);
    let rows = [
        ("seed", outcome.seed.to_string()),
        ("jobs, attempts", format!("{}, {}", outcome.jobs, outcome.attempts)),
        ("agents", outcome.agents.to_string()),
        ("accepted after", accepted),
        ("floor", format!("{:.1} s (path {:.1} s)", outcome.floor_seconds, epoch.critical_seconds)),
        ("missed", epoch.is_missed.to_string()),
        ("agents' time", format!("{all:.0} s")),
        ("  accepted proofs", format!("{:.1} %", 100.0 * outcome.utilisation)),
        ("  wasted", format!("{:.1} %", part(outcome.wasted_seconds))),
        ("  loading keys", format!("{:.1} %", part(outcome.loading_seconds))),
        ("crashed, reclaimed", format!("{}, {}", outcome.crashes, outcome.reclaims)),
        ("second leases, won", format!("{}, {}", outcome.second_leases, outcome.second_leases_won)),
        ("dead letters", outcome.dead_letters.to_string()),
        ("events, rounds", format!("{}, {}", outcome.events, outcome.rounds)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<20} {value}");
    }
    text
}

fn json<T: serde::Serialize>(value: &T) -> String {
    // Numbers, texts and lists only, which all have a form in JSON.
    serde_json::to_string(value).map_or_else(|_| String::new(), |text| text + "\n")
}
