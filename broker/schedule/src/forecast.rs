//! When an epoch will be finished, how many agents are wanted, and which of them may go.

use std::collections::BTreeMap;

use rollmill_broker_client::SizeClass;

use crate::view::{Epoch, View};

/// An epoch is at risk when less than this part of its window is left after its predicted finish.
pub const MARGIN: f64 = 0.1;
/// Agents wanted beyond what the arithmetic asks for, as a factor: for failures, loading and uneven durations.
pub const HEADROOM: f64 = 1.2;
/// An agent may go when it has been idle for this long, in seconds.
pub const IDLE: f64 = 60.0;

/// What is expected of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// When its proof is accepted; absent while no live agent can do a job that remains.
    pub finish: Option<f64>,
    /// The finish lies beyond `submit_by` less [`MARGIN`] of the window, or is absent. Never without a deadline, and
    /// never once the epoch is stale.
    pub is_at_risk: bool,
    /// Seconds of work that remain, on an agent of speed 1.
    pub remaining_seconds: f64,
}

/// Forecasts each epoch of the view, in its order. An epoch gets what the older ones of its tenant leave over, so their
/// work counts as well.
pub fn epochs(view: &View<'_>, now: f64) -> Vec<Forecast> {
    view.epochs.iter().map(|epoch| forecast(view, epoch, now)).collect()
}

fn forecast(view: &View<'_>, epoch: &Epoch<'_>, now: f64) -> Forecast {
    let seconds_of = |epoch: &Epoch<'_>| -> f64 {
        let demands = epoch.remaining.iter();
        demands.map(|demand| demand.jobs as f64 * view.works[demand.work].p50).sum()
    };
    let before = |other: &&Epoch<'_>| {
        other.tenant == epoch.tenant && other.number < epoch.number && !other.is_stale
    };
    let ahead: f64 = view.epochs.iter().filter(before).map(seconds_of).sum();
    let remaining_seconds = seconds_of(epoch);
    // The agents that can do all of what remains decide; where none can do all, those that can do the scarcest.
    let capacity = epoch.remaining.iter().filter(|demand| demand.jobs > 0).map(|demand| {
        let able = view
            .abilities
            .iter()
            .zip(view.capacity)
            .filter(|(ability, _)| ability.fits(epoch.tenant, demand.work, demand.class));
        able.map(|(_, speed)| speed).sum::<f64>()
    });
    let capacity = capacity.fold(f64::INFINITY, f64::min);
    let finish = (capacity > 0.0).then(|| {
        finish(now, ahead + remaining_seconds, capacity, epoch.longest_path, epoch.submission)
    });
    let is_late = |by| finish.is_none_or(|finish| is_late(finish, by, epoch.window));
    let is_at_risk = !epoch.is_stale && epoch.submit_by.is_some_and(is_late);
    Forecast { finish, is_at_risk, remaining_seconds }
}

/// When work is accepted that takes `seconds` on an agent of speed 1 and has a path of `longest_path` seconds, on agents
/// whose speeds add up to `capacity` (above 0), with `submission` seconds after the last proof.
pub fn finish(now: f64, seconds: f64, capacity: f64, longest_path: f64, submission: f64) -> f64 {
    now + (seconds / capacity).max(longest_path) + submission
}

/// Whether a finish is later than `submit_by` less [`MARGIN`] of the window.
pub fn is_late(finish: f64, submit_by: f64, window: f64) -> bool {
    finish > submit_by - MARGIN * window
}

/// Work of an epoch for one set of agents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Jobs that are not done.
    pub jobs: u64,
    /// What they take on an agent of speed 1.
    pub seconds: f64,
    /// Seconds of the longest path among them.
    pub longest_path: f64,
    /// When the last must be done; absent where any time will do.
    pub submit_by: Option<f64>,
}

/// Agents of speed 1 wanted for loads, the most urgent first: so many that each load is done in time behind those before
/// it, with [`HEADROOM`]. For a load at most one for each job of it and of those before it: a load that is late already
/// wants nobody for the work of later ones. At least one while there is a job, none without.
pub fn agents_wanted(loads: &[Load], now: f64) -> u64 {
    let (mut jobs, mut seconds, mut wanted) = (0_u64, 0.0, 0);
    for load in loads.iter().filter(|load| load.jobs > 0) {
        jobs = jobs.saturating_add(load.jobs);
        seconds += load.seconds;
        wanted = wanted.max(1);
        let Some(by) = load.submit_by else { continue };
        let left = by - now - load.longest_path;
        let needed = match left > 0.0 {
            true => (HEADROOM * seconds / left).ceil(),
            false => f64::INFINITY,
        };
        // Saturates; the number of jobs is the bound.
        wanted = wanted.max(jobs.min(needed as u64));
    }
    wanted
}

/// A live agent, for [`scale_in`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    pub key: u64,
    pub class: SizeClass,
    pub speed: f64,
    /// How many keys it has in memory.
    pub resident: usize,
    /// For how long it has been idle; absent while it works.
    pub idle_seconds: Option<f64>,
}

/// Agents by class. For those wanted it is the smallest class that their jobs need.
pub type ByClass = BTreeMap<SizeClass, u64>;

/// How many of the wanted agents are not there. A class takes its own agents and what larger ones leave, since an agent
/// holds the jobs of smaller classes too.
fn missing(there: &ByClass, wanted: &ByClass) -> u64 {
    let of = |agents: &ByClass, class: SizeClass| agents.get(&class).copied().unwrap_or(0);
    let classes: Vec<SizeClass> = SizeClass::LARGEST.holds().collect();
    let (mut spare, mut missing) = (0_u64, 0_u64);
    for class in classes.into_iter().rev() {
        let (have, need) = (of(there, class).saturating_add(spare), of(wanted, class));
        missing = missing.saturating_add(need.saturating_sub(have));
        spare = have.saturating_sub(need);
    }
    missing
}

/// Keys of the agents that may go while those stay that are wanted, in the order in which they should: those idle for
/// [`IDLE`], those without a key in memory first, then the slowest, then the longest idle. Where a class lacks agents, one
/// of a smaller class may go all the same: it could not stand in.
pub fn scale_in(members: &[Member], wanted: &ByClass) -> Vec<u64> {
    let mut there = ByClass::new();
    for member in members {
        *there.entry(member.class).or_default() += 1;
    }
    let least = missing(&there, wanted);
    let mut idle: Vec<(f64, &Member)> = members
        .iter()
        .filter_map(|member| Some((member.idle_seconds.filter(|idle| *idle >= IDLE)?, member)))
        .collect();
    idle.sort_by(|(a_idle, a), (b_idle, b)| {
        let warm = (a.resident > 0).cmp(&(b.resident > 0));
        let speed = a.speed.total_cmp(&b.speed);
        warm.then(speed).then(b_idle.total_cmp(a_idle)).then(a.key.cmp(&b.key))
    });
    let mut going = Vec::new();
    for (_, member) in idle {
        let mut left = there.clone();
        if let Some(count) = left.get_mut(&member.class) {
            *count = count.saturating_sub(1);
        }
        if missing(&left, wanted) <= least {
            there = left;
            going.push(member.key);
        }
    }
    going
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(jobs: u64, seconds: f64, longest_path: f64, submit_by: Option<f64>) -> Load {
        Load { jobs, seconds, longest_path, submit_by }
    }

    /// 10 blocks of 100 transactions: 1,999 jobs of 2,668 s, path 15.3 s; 600 s left, 60 s of them for submission.
    #[test]
    fn ten_blocks_of_100_transactions_in_ten_minutes_want_seven_agents() {
        assert_eq!(agents_wanted(&[load(1999, 2668.0, 15.3, Some(540.0))], 0.0), 7);
    }

    #[test]
    fn wanted_is_bounded_by_the_jobs_and_is_one_while_one_is_open() {
        assert_eq!(agents_wanted(&[], 0.0), 0);
        assert_eq!(agents_wanted(&[load(0, 0.0, 0.0, Some(1.0))], 0.0), 0);
        assert_eq!(agents_wanted(&[load(3, 0.1, 0.0, None)], 0.0), 1, "any time will do");
        assert_eq!(agents_wanted(&[load(3, 100.0, 10.0, Some(5.0))], 0.0), 3, "too late already");
        assert_eq!(agents_wanted(&[load(3, 0.1, 0.0, Some(1e9))], 0.0), 1);
    }

    #[test]
    fn a_later_epoch_waits_behind_the_work_of_the_earlier_ones() {
        let first = load(100, 100.0, 0.0, Some(1_000.0));
        let second = load(100, 100.0, 0.0, Some(60.0));
        assert_eq!(agents_wanted(&[first, second], 0.0), 4, "200 s × 1.2 in 60 s");
        let third = load(50, 900.0, 0.0, None);
        assert_eq!(agents_wanted(&[third, second], 0.0), 20, "1,000 s × 1.2 in 60 s");
    }

    #[test]
    fn a_load_that_is_late_wants_no_agents_for_the_work_behind_it() {
        let late = load(3, 6.0, 0.0, Some(-1.0));
        let rest = load(10_000, 20_000.0, 10.0, Some(40_010.0));
        assert_eq!(agents_wanted(&[late], 0.0), 3, "one for each job, whatever is left");
        // 20,006 s × 1.2 in 40,000 s.
        assert_eq!(agents_wanted(&[late, rest], 0.0), 3);
        let soon = load(10_000, 20_000.0, 10.0, Some(1_010.0));
        assert_eq!(agents_wanted(&[late, soon], 0.0), 25, "20,006 s × 1.2 in 1,000 s");
    }

    #[test]
    fn the_finish_is_bounded_by_work_and_by_the_longest_path() {
        assert_eq!(finish(100.0, 50.0, 5.0, 3.0, 2.0), 112.0);
        assert_eq!(finish(100.0, 50.0, 50.0, 3.0, 2.0), 105.0);
        assert!(!is_late(190.0, 200.0, 100.0) && is_late(190.1, 200.0, 100.0));
    }

    #[test]
    fn the_cold_the_slow_and_the_long_idle_go_first_and_the_wanted_stay() {
        let member = |key, speed, resident, idle_seconds| Member {
            key,
            class: SizeClass::SMALLEST,
            speed,
            resident,
            idle_seconds,
        };
        let members = [
            member(1, 1.0, 3, Some(500.0)),
            member(2, 2.0, 0, Some(70.0)),
            member(3, 1.0, 0, Some(61.0)),
            member(4, 1.0, 0, Some(59.9)),
            member(5, 1.0, 0, None),
            member(6, 1.0, 0, Some(90.0)),
        ];
        let scale_in =
            |wanted| super::scale_in(&members, &ByClass::from([(SizeClass::SMALLEST, wanted)]));
        assert_eq!(scale_in(0), [6, 3, 2, 1]);
        assert_eq!(scale_in(4), [6, 3]);
        assert_eq!(scale_in(6), [] as [u64; 0]);
        assert_eq!(scale_in(u64::MAX), [] as [u64; 0]);
    }

    /// Two agents of class 0 and two of class 2, all idle; the smaller have been so for longer.
    #[test]
    fn a_large_agent_stays_for_its_jobs_and_stands_in_for_small_ones() {
        let class = |number| SizeClass::new(number).unwrap();
        let member = |key, of, idle| Member {
            key,
            class: class(of),
            speed: 1.0,
            resident: 0,
            idle_seconds: Some(idle),
        };
        let members =
            [member(1, 0, 900.0), member(2, 0, 800.0), member(3, 2, 700.0), member(4, 2, 600.0)];
        let goes = |wanted: &[(u8, u64)]| {
            let wanted = wanted.iter().map(|(number, count)| (class(*number), *count)).collect();
            scale_in(&members, &wanted)
        };
        assert_eq!(goes(&[]), [1, 2, 3, 4]);
        assert_eq!(goes(&[(2, 1)]), [1, 2, 3], "one large agent stays");
        assert_eq!(goes(&[(1, 2)]), [1, 2], "the small ones cannot do the jobs of class 1");
        assert_eq!(goes(&[(0, 3)]), [1], "large agents do small jobs");
        assert_eq!(goes(&[(0, 1), (2, 1)]), [1, 2]);
        // Nobody is large enough for class 3, and no agent that is there makes up for it.
        assert_eq!(goes(&[(3, 2)]), [1, 2, 3, 4]);
        assert_eq!(goes(&[(2, 5), (0, 1)]), [1]);
    }
}
