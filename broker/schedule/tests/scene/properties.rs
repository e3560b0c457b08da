//! What holds of every decision, on random clusters. Each failure names its seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollmill_broker_client::SizeClass;
use rollmill_broker_schedule::{
    Ability, Agent, Demand, Epoch, Job, Lease, PATIENCE, SPECULATION_SHARE, Share, Shares, Tenant,
    View, Work, schedule,
};

use super::{NOW, Scene, at_risk, for_scenes, is_cancelled, twin};

#[test]
fn the_fast_scheduler_decides_as_its_plain_twin() {
    for seed in 0..3_000 {
        let mut scene = Scene::random(seed);
        // The twin has no tie-breaker: no two agents have waited equally long.
        for (position, agent) in scene.agents.iter_mut().enumerate() {
            agent.5 += position as f64 / 1e3;
        }
        scene.with(|view| {
            let decisions = schedule(view, NOW, seed);
            let (grants, shares) = twin(view, &decisions, &at_risk(view, &decisions));
            assert_eq!(decisions.grants, grants, "seed {seed}: {view:?}");
            assert_eq!(decisions.shares, shares, "seed {seed}");
        });
    }
}

#[test]
fn no_agent_gets_what_it_cannot_do_and_nobody_gets_two() {
    for_scenes(|view, decisions| {
        let (mut jobs, mut agents) = (BTreeMap::new(), BTreeMap::new());
        let all = decisions.grants.iter().chain(&decisions.second_leases);
        for grant in all {
            let waiting = view.jobs.iter().find(|job| job.key == grant.job);
            let mut leased = view.leases.iter().map(|lease| &lease.job);
            let job = waiting.or_else(|| leased.find(|job| job.key == grant.job));
            let job = job.unwrap();
            let agent = view.agents.iter().find(|agent| agent.key == grant.agent).unwrap();
            let ability = &view.abilities[agent.ability];
            assert!(ability.class >= job.class && ability.works.contains(&job.work));
            assert!(ability.tenants.contains(&job.tenant));
            assert!(!job.excluded.contains(&agent.identity));
            assert!(!agent.is_draining, "it was asked to leave");
            assert!(!is_cancelled(view, decisions, job));
            assert_eq!(jobs.insert(grant.job, ()), None, "two grants of a job");
            assert_eq!(agents.insert(grant.agent, ()), None, "two grants to an agent");
        }
    });
}

#[test]
fn no_agent_stays_idle_that_can_do_a_waiting_job() {
    for_scenes(|view, decisions| {
        for job in view.jobs.iter().filter(|job| !is_cancelled(view, decisions, job)) {
            if decisions.grants.iter().any(|grant| grant.job == job.key) {
                continue;
            }
            for agent in view.agents.iter().filter(|agent| !agent.is_draining) {
                let is_able = view.abilities[agent.ability].fits(job.tenant, job.work, job.class)
                    && !job.excluded.contains(&agent.identity);
                let is_busy = decisions.grants.iter().any(|grant| grant.agent == agent.key);
                assert!(!is_able || is_busy, "agent {} and job {}", agent.key, job.key);
            }
        }
    });
}

/// Goal: within a tenant no job is passed over for one of a later epoch or lower rank by an agent that can do both.
#[test]
fn the_oldest_epoch_goes_first_and_then_the_highest_rank() {
    for_scenes(|view, decisions| {
        for grant in &decisions.grants {
            let job = view.jobs.iter().find(|job| job.key == grant.job).unwrap();
            let agent = view.agents.iter().find(|agent| agent.key == grant.agent).unwrap();
            let place = |job: &Job<'_>| (job.epoch, std::cmp::Reverse(job.rank));
            for other in view.jobs.iter().filter(|other| other.tenant == job.tenant) {
                let is_able =
                    view.abilities[agent.ability].fits(other.tenant, other.work, other.class)
                        && !other.excluded.contains(&agent.identity);
                let is_granted = decisions.grants.iter().any(|grant| grant.job == other.key);
                if is_able && !is_granted && !is_cancelled(view, decisions, other) {
                    assert!(place(other) >= place(job), "{} before {}", job.key, other.key);
                }
            }
        }
    });
}

#[test]
fn second_leases_keep_their_bounds() {
    let seen = AtomicUsize::new(0);
    for_scenes(|view, decisions| {
        let running = view.leases.iter().filter(|lease| lease.is_second).count();
        let most = (view.live_agents as f64 * SPECULATION_SHARE) as usize;
        let new = decisions.second_leases.len();
        seen.fetch_add(new, Ordering::Relaxed);
        assert!(new == 0 || running + new <= most, "{running} and {new} of {most}");
        let at_risk = at_risk(view, decisions);
        for grant in &decisions.second_leases {
            let mut of_job = view.leases.iter().filter(|lease| lease.job.key == grant.job);
            let lease = of_job.next().unwrap();
            assert!(!lease.is_second && of_job.next().is_none(), "one a job");
            let agent = view.agents.iter().find(|agent| agent.key == grant.agent).unwrap();
            assert!(agent.identity != lease.identity && agent.device != lease.device);
            assert!(NOW - lease.started > view.works[lease.job.work].p95 / lease.speed);
            let of = |job: &Job<'_>| (job.tenant, job.work, job.class);
            assert!(!view.jobs.iter().any(|job| of(job) == of(&lease.job)), "its type waits");
            let mut epochs = view.epochs.iter().zip(&at_risk);
            assert!(epochs.any(|(epoch, at_risk)| {
                (epoch.tenant, epoch.number) == (lease.job.tenant, lease.job.epoch) && *at_risk
            }));
        }
    });
    assert!(seen.into_inner() > 0, "no scene has a second lease");
}

#[test]
fn stale_and_hopeless_epochs_are_cancelled_and_no_others() {
    for_scenes(|view, decisions| {
        for (position, epoch) in view.epochs.iter().enumerate() {
            let is_hopeless = epoch.submit_by.is_some_and(|by| NOW + epoch.longest_path / 2.0 > by);
            let is_cancelled = decisions.cancelled_epochs.contains(&position);
            assert_eq!(is_cancelled, epoch.is_stale || is_hopeless, "epoch {position}");
            for lease in view.leases {
                let is_of = (lease.job.tenant, lease.job.epoch) == (epoch.tenant, epoch.number);
                if is_of && is_cancelled {
                    assert!(decisions.cancelled_leases.contains(&lease.job.key));
                }
            }
        }
    });
}

#[test]
fn the_same_view_has_the_same_decisions_in_any_order() {
    for seed in 0..500 {
        let scene = Scene::random(seed);
        scene.with(|view| {
            let first = schedule(view, NOW, seed);
            assert_eq!(first, schedule(view, NOW, seed), "seed {seed}");
            let (mut agents, mut jobs) = (view.agents.to_vec(), view.jobs.to_vec());
            agents.reverse();
            jobs.reverse();
            let turned = View { agents: &agents, jobs: &jobs, ..*view };
            assert_eq!(first, schedule(&turned, NOW, seed), "seed {seed}, reversed");
        });
    }
}

/// Two tenants that always have jobs, served one job at a time; returns the virtual times after each grant.
fn served(weights: [f64; 2], works: &[Work], rounds: usize, shares: &mut Shares) -> Vec<[u64; 2]> {
    let tenants = weights.map(|weight| Tenant { weight, ..Tenant::default() });
    let ability = Ability {
        tenants: vec![0, 1],
        works: (0..works.len()).collect(),
        class: SizeClass::LARGEST,
    };
    let (mut counts, mut history) = ([0, 0], Vec::new());
    for round in 0..rounds {
        let agent = Agent {
            key: 1,
            identity: 1,
            device: 1,
            ability: 0,
            speed: 1.0,
            resident: &[0, 1],
            since: 0.0,
            is_draining: false,
        };
        let job = |tenant: usize| Job {
            key: tenant as u64,
            tenant,
            work: (round + tenant) % works.len(),
            class: SizeClass::SMALLEST,
            epoch: 0,
            rank: 0,
            since: 0.0,
            excluded: &[],
        };
        let jobs = [job(0), job(1)];
        let view = View {
            tenants: &tenants,
            shares,
            works,
            abilities: std::slice::from_ref(&ability),
            agents: &[agent],
            jobs: &jobs,
            leases: &[],
            epochs: &[],
            live_agents: 1,
            capacity: &[1.0],
        };
        let decisions = schedule(&view, 0.0, 0);
        counts[decisions.grants[0].job as usize] += 1;
        history.push(counts);
        *shares = decisions.shares;
    }
    history
}

/// Goal: two tenants that always have jobs are apart by no more than one grant of the longest.
#[test]
fn seconds_by_weight_differ_by_at_most_one_grant() {
    let works = [3.0, 7.0].map(|p50| Work { p50, p95: p50, load: 0.0 });
    let mut shares = Shares::default();
    for _ in 0..200 {
        served([2.0, 1.0], &works, 1, &mut shares);
        let apart = shares.of[0].virtual_seconds - shares.of[1].virtual_seconds;
        assert!(apart.abs() <= 7.0, "{shares:?}");
    }
}

#[test]
fn a_tenant_of_weight_two_gets_twice_the_jobs() {
    let works = [Work { p50: 1.0, p95: 1.0, load: 0.0 }];
    let counts = served([2.0, 1.0], &works, 300, &mut Shares::default());
    assert_eq!(*counts.last().unwrap(), [200, 100]);
}

#[test]
fn a_tenant_that_was_idle_has_saved_nothing_up() {
    let works = [Work { p50: 1.0, p95: 1.0, load: 0.0 }];
    let busy = Share { virtual_seconds: 500.0, is_active: true };
    let mut shares = Shares { clock: 499.0, of: vec![busy, Share::default()] };
    let counts = served([1.0, 1.0], &works, 100, &mut shares);
    assert_eq!(*counts.last().unwrap(), [50, 50]);
}

#[test]
fn a_tenant_at_risk_uses_its_reserve_at_once() {
    for seed in 0..3_000 {
        let scene = Scene::random(seed);
        scene.with(|view| {
            let decisions = schedule(view, NOW, seed);
            let Some(first) = decisions.grants.first().copied() else { return };
            let of = view.jobs.iter().find(|job| job.key == first.job).unwrap().tenant;
            let at_risk = at_risk(view, &decisions);
            let has_reserve = |number: usize| {
                let tenant = view.tenants[number];
                let mut epochs = view.epochs.iter().zip(&at_risk);
                epochs.any(|(epoch, at_risk)| epoch.tenant == number && *at_risk)
                    && tenant.busy < (tenant.reserved * view.live_agents as f64) as usize
            };
            // Another one with a reserve that is served at all is served before one without.
            if !has_reserve(of) {
                for grant in decisions.grants {
                    let job = view.jobs.iter().find(|job| job.key == grant.job).unwrap();
                    assert!(!has_reserve(job.tenant), "seed {seed}: tenant {}", job.tenant);
                }
            }
        });
    }
}

fn agent(key: u64, resident: &[usize]) -> Agent<'_> {
    Agent {
        key,
        identity: key,
        device: key,
        ability: 0,
        speed: 1.0,
        resident,
        since: 0.0,
        is_draining: false,
    }
}

/// Goal: a stream of jobs whose key the agent has does not keep a job waiting for ever whose key it must load.
#[test]
fn a_job_that_needs_loading_is_overtaken_for_the_patience_and_no_longer() {
    let works = [Work { p50: 1.0, p95: 1.0, load: 2.0 }; 2];
    let ability = Ability { tenants: vec![0], works: vec![0, 1], class: SizeClass::LARGEST };
    let job = |key: u64, work: usize, since: f64| Job {
        key,
        tenant: 0,
        work,
        class: SizeClass::SMALLEST,
        epoch: 0,
        rank: 0,
        since,
        excluded: &[],
    };
    let is_served = |second: &u64| {
        let jobs = [job(0, 0, 0.0), job(1 + second, 1, *second as f64)];
        let view = View {
            tenants: &[Tenant::default()],
            shares: &Shares::default(),
            works: &works,
            abilities: std::slice::from_ref(&ability),
            agents: &[agent(1, &[1])],
            jobs: &jobs,
            leases: &[],
            epochs: &[],
            live_agents: 1,
            capacity: &[1.0],
        };
        schedule(&view, *second as f64, 0).grants[0].job == 0
    };
    assert_eq!((0..1_000).find(is_served), Some(PATIENCE as u64));
}

/// Goal: an epoch that is given up reserves no agents and gets no second leases.
#[test]
fn a_lost_epoch_takes_nothing_from_the_others() {
    let works = [Work { p50: 1.0, p95: 1.0, load: 0.0 }; 2];
    let ability = Ability { tenants: vec![0, 1], works: vec![0, 1], class: SizeClass::LARGEST };
    let agents = [1, 2, 3].map(|key| agent(key, &[]));
    let job = |key: u64, tenant: usize, work: usize, epoch: u64| Job {
        key,
        tenant,
        work,
        class: SizeClass::SMALLEST,
        epoch,
        rank: 0,
        since: 0.0,
        excluded: &[],
    };
    let lease = Lease {
        job: job(9, 0, 1, 0),
        identity: 9,
        device: 9,
        speed: 1.0,
        started: NOW - 500.0,
        is_second: false,
    };
    let remaining = [Demand { work: 1, class: SizeClass::SMALLEST, jobs: 1 }];
    let share = |virtual_seconds| Share { virtual_seconds, is_active: true };
    let first_and_second_leases = |is_stale: bool, submit_by: f64| {
        let lost = Epoch {
            tenant: 0,
            number: 0,
            is_stale,
            submit_by: Some(submit_by),
            window: 100.0,
            submission: 5.0,
            remaining: &remaining,
            longest_path: 20.0,
        };
        let view = View {
            tenants: &[Tenant { reserved: 1.0, ..Tenant::default() }, Tenant::default()],
            shares: &Shares { clock: 0.0, of: vec![share(100.0), share(0.0)] },
            works: &works,
            abilities: std::slice::from_ref(&ability),
            agents: &agents,
            jobs: &[job(0, 0, 0, 1), job(1, 1, 0, 1)],
            leases: &[lease],
            epochs: &[lost],
            live_agents: 10,
            capacity: &[10.0],
        };
        let decisions = schedule(&view, NOW, 0);
        (decisions.grants[0].job, decisions.second_leases.len())
    };
    // At risk it takes its tenant's reserve, although the other tenant has had less.
    assert_eq!(first_and_second_leases(false, NOW + 15.0), (0, 1));
    assert_eq!(first_and_second_leases(false, NOW + 5.0), (1, 0), "too late to hope");
    assert_eq!(first_and_second_leases(true, NOW + 15.0), (1, 0), "nobody wants it");
}
