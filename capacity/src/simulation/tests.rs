use rollmill_protocol::circuit::Circuit;

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
