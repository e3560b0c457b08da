use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_broker_client::path_ms;
use rollmill_protocol::circuit::Circuit;
use rollmill_protocol::plan::EpochPlan;

use super::graph::{Graph, work_of};
use super::*;

/// Every circuit takes a second.
fn setup(blocks: &[usize], agents: usize) -> Setup {
    let blocks = blocks.iter().map(|txs| Block { txs: *txs, lands: 0.0 }).collect();
    let machine =
        Machine { speed: 1.0, class: SizeClass::SMALLEST, mtbf: None, reclaimed_after: None };
    Setup {
        seed: 1,
        epochs: vec![EpochLoad { blocks, submit_by: None, window: 1e6 }],
        works: vec![Work { p50: 1.0, p95: 1.0, load: 0.0 }; Circuit::ALL.len()],
        machines: vec![machine; agents],
        delays: Delays { submission: 0.0, ..Delays::default() },
        faults: Faults::default(),
        resident_keys: 9,
        has_second_leases: true,
        has_measured_ranks: true,
        limit: 1e6,
    }
}

#[test]
fn an_epoch_on_enough_agents_takes_its_longest_path_and_the_delays() {
    let outcome = run(&setup(&[4, 4], 8));
    // 8 bases, 4 merges, 2 block roots, 1 epoch root.
    assert_eq!((outcome.jobs, outcome.attempts), (15, 15));
    assert_eq!(outcome.epochs[0].critical_seconds, 4.0);
    assert_eq!(outcome.floor_seconds, 4.0);
    let makespan = outcome.makespan_seconds;
    assert!((4.0..4.4).contains(&makespan), "{makespan}");
    assert_eq!(outcome.wasted_seconds, 0.0);
    assert_eq!(outcome.proving_seconds.round(), 15.0);
}

#[test]
fn a_lone_agent_takes_the_sum_of_all_jobs_and_is_busy_throughout() {
    let outcome = run(&setup(&[4, 4], 1));
    assert_eq!(outcome.floor_seconds, 15.0);
    assert!((15.0..16.0).contains(&outcome.makespan_seconds), "{outcome:?}");
    assert!(outcome.utilisation > 0.9, "{outcome:?}");
}

#[test]
fn the_same_seed_has_the_same_outcome_and_another_one_another() {
    let mut setup = setup(&[32; 8], 10);
    setup.machines[0].mtbf = Some(20.0);
    setup.faults = Faults { transient: 0.02, invalid: 0.01, stragglers: 0.01 };
    let first = run(&setup);
    assert_eq!(first, run(&setup));
    assert!(first.wasted_seconds > 0.0 && first.crashes > 0, "{first:?}");
    assert!(first.epochs[0].accepted_seconds.is_some(), "{first:?}");
    setup.seed = 2;
    assert_ne!(first.makespan_seconds, run(&setup).makespan_seconds);
}

#[test]
fn nothing_is_faster_than_its_floor_whatever_fails() {
    for seed in 0..30 {
        let mut setup = setup(&[7, 0, 1, 32, 5], 3 + seed as usize % 5);
        setup.seed = seed;
        for machine in &mut setup.machines {
            machine.mtbf = (seed % 3 == 0).then_some(60.0);
            machine.reclaimed_after = (seed % 4 == 0).then_some(90.0);
        }
        setup.faults.transient = 0.05;
        let outcome = run(&setup);
        assert!(outcome.makespan_seconds >= outcome.floor_seconds, "seed {seed}: {outcome:?}");
        assert!(outcome.epochs[0].accepted_seconds.is_some(), "seed {seed}: {outcome:?}");
        assert!(outcome.utilisation <= 1.0, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn reclaimed_agents_release_their_jobs_at_once_and_crashed_ones_after_the_lease() {
    let mut spot = setup(&[32; 4], 4);
    let mut crash = spot.clone();
    spot.machines.iter_mut().for_each(|machine| machine.reclaimed_after = Some(30.0));
    crash.machines.iter_mut().for_each(|machine| machine.mtbf = Some(30.0));
    for setup in [&mut spot, &mut crash] {
        setup.delays.replace = 5.0;
    }
    let (spot, crash) = (run(&spot), run(&crash));
    assert!(spot.reclaims > 0 && crash.crashes > 0);
    assert!(spot.makespan_seconds < crash.makespan_seconds, "{spot:?} {crash:?}");
}

#[test]
fn a_wrong_result_goes_to_another_agent_and_the_third_loses_the_epoch() {
    let mut setup = setup(&[1], 5);
    setup.faults.invalid = 1.0;
    let outcome = run(&setup);
    assert_eq!((outcome.attempts, outcome.dead_letters), (3, 1));
    assert!(outcome.epochs[0].is_missed);
}

#[test]
fn second_leases_save_an_epoch_at_risk_from_stragglers() {
    let mut with = setup(&[16], 40);
    with.works.iter_mut().for_each(|work| (work.p50, work.p95) = (10.0, 11.0));
    with.faults.stragglers = 0.2;
    // At risk from the start: the margin of the window is longer than what is left.
    with.epochs[0].submit_by = Some(400.0);
    with.epochs[0].window = 4_000.0;
    let without = Setup { has_second_leases: false, ..with.clone() };
    let (with, without) = (run(&with), run(&without));
    assert!(with.second_leases_won > 0, "{with:?}");
    assert_eq!(without.second_leases, 0);
    assert!(with.makespan_seconds < without.makespan_seconds, "{with:?} {without:?}");
}

/// Goal: the rank of each job is the one that a prover node sends the broker: the milliseconds of every proof up to the
/// root, as they were measured on the cluster's machines.
#[test]
fn ranks_are_what_a_prover_node_sends_the_broker() {
    let counts = [5, 0, 1, 32];
    let mut setup = setup(&counts, 3);
    for (place, work) in setup.works.iter_mut().enumerate() {
        work.p50 = 0.3 + 0.7 * place as f64;
    }
    for (machine, speed) in setup.machines.iter_mut().zip([4.0, 0.5, 2.0]) {
        machine.speed = speed;
    }
    let plan = EpochPlan::new(&counts).unwrap();
    let seconds = |node: usize| setup.works[usize::from(work_of(plan.nodes[node].circuit))].p50;
    for (place, node) in Graph::new(&setup).nodes.iter().enumerate() {
        let path = std::iter::successors(Some(place), |node| plan.nodes[*node].parent);
        assert_eq!(node.rank, path_ms(path.map(|node| seconds(node) / 2.0)), "{place}");
    }
    setup.has_measured_ranks = false;
    for (node, planned) in Graph::new(&setup).nodes.iter().zip(&plan.nodes) {
        assert_eq!(node.rank as usize, planned.steps_to_root);
    }
}

/// Fault: a slow proof on a short path is left for last.
#[test]
fn a_short_path_with_a_slow_proof_goes_first() {
    let mut measured = setup(&[16, 1], 2);
    let slow = Circuit::ALL.iter().position(|circuit| circuit.name() == "block_root_1").unwrap();
    measured.works[slow] = Work { p50: 20.0, p95: 20.0, load: 0.0 };
    let counted = Setup { has_measured_ranks: false, ..measured.clone() };
    let [measured, counted] = [measured, counted].map(|setup| run(&setup).makespan_seconds);
    // 53 s of work on two agents. By the number of proofs, 28 jobs of 1 s come before the path of 22 s.
    assert!((26.5..30.0).contains(&measured) && counted > 35.0, "{measured} {counted}");
}

/// Goal: measured ranks cost no time. An order by paths is no optimum, so that single cases may be somewhat worse.
#[test]
fn measured_ranks_make_no_epoch_longer() {
    let (mut measured, mut counted) = (0.0, 0.0);
    for seed in 0..60 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let sizes = [0, 1, 2, 3, 5, 8, 17, 32];
        let count = random.gen_range(1..=8);
        let counts: Vec<usize> =
            (0..count).map(|_| sizes[random.gen_range(0..sizes.len())]).collect();
        let mut setup = setup(&counts, random.gen_range(1..=12));
        for work in &mut setup.works {
            let seconds = random.gen_range(0.5..8.0);
            *work = Work { p50: seconds, p95: seconds, load: 0.0 };
        }
        let by_count = Setup { has_measured_ranks: false, ..setup.clone() };
        let [of_time, of_count] = [setup, by_count].map(|setup| run(&setup).makespan_seconds);
        assert!(of_time <= 1.1 * of_count, "seed {seed}: {of_time} s, {of_count} s by count");
        (measured, counted) = (measured + of_time, counted + of_count);
    }
    assert!(measured <= 1.002 * counted, "{measured} s, {counted} s by count");
}

#[test]
fn an_epoch_that_cannot_meet_its_deadline_is_cancelled() {
    let mut setup = setup(&[32; 4], 1);
    setup.epochs[0].submit_by = Some(20.0);
    let outcome = run(&setup);
    assert!(outcome.epochs[0].is_missed && outcome.epochs[0].accepted_seconds.is_none());
    assert!(outcome.attempts < 30, "{outcome:?}");
}

#[test]
fn keys_are_loaded_once_by_each_agent_and_again_after_a_crash() {
    let mut setup = setup(&[8], 2);
    setup.works.iter_mut().for_each(|work| work.load = 3.0);
    let outcome = run(&setup);
    // Two agents, at most four circuits.
    assert!(outcome.loading_seconds >= 9.0 && outcome.loading_seconds <= 24.0, "{outcome:?}");
    setup.resident_keys = 1;
    assert!(run(&setup).loading_seconds >= outcome.loading_seconds);
}

#[test]
fn an_attempt_that_fails_while_it_loads_has_loaded_for_no_longer_than_it_lasted() {
    let mut setup = setup(&[1], 1);
    setup.works.iter_mut().for_each(|work| work.load = 3.0);
    setup.faults.transient = 1.0;
    let loading: Vec<f64> = (0..20)
        .map(|seed| {
            setup.seed = seed;
            run(&setup).loading_seconds
        })
        .collect();
    // Three attempts of four end before the key is loaded, at a moment of their own.
    assert!(loading.iter().all(|seconds| (0.0..=3.0).contains(seconds)), "{loading:?}");
    assert!(loading.iter().any(|seconds| *seconds < 3.0), "{loading:?}");
}
