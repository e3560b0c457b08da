//! How many workgroups a dispatch has, by measured time.
//!
//! A driver ends a program whose dispatch takes too long: Windows after 2 s, and an integrated GPU cannot show a
//! screen meanwhile. What a workgroup takes differs between adapters by a factor of a hundred, so no number of points
//! is right for all. The first dispatches of each kernel are timed, each by itself, until one of full length takes
//! between [`SHORT`] and [`LONG`].

use std::fmt::Debug;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A dispatch that takes longer is too long: its kernel's dispatches are halved.
pub(crate) const LONG: Duration = Duration::from_millis(100);
/// A dispatch of full length that takes less is too short: its kernel's dispatches are doubled.
pub(crate) const SHORT: Duration = Duration::from_millis(10);
/// Workgroups of a kernel's first dispatch. Those of the slowest kernel, a million additions of points, take 0.1 s on
/// integrated graphics (a model, not measured).
pub(crate) const START: u32 = 1 << 8;

/// What dispatches are timed with.
pub trait Clock: Debug + Send + Sync {
    /// The time since some fixed moment.
    fn now(&self) -> Duration;
}

/// The clock of the system.
#[derive(Debug)]
pub(crate) struct SystemClock(Instant);

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The length of a kernel's dispatches on one device.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// Most workgroups of a dispatch.
    most: u32,
    /// Dispatches of up to so many workgroups need no further timing.
    known: u32,
    /// Most workgroups that the adapter takes.
    limit: u32,
}

/// A dispatch to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) groups: u32,
    /// Whether to time it.
    pub(crate) timed: bool,
    /// Thousandths of the longest dispatch of its kernel.
    pub(crate) load: u32,
}

impl Pace {
    pub(crate) fn new(limit: u32) -> Self {
        Self(Mutex::new(State { most: START.min(limit), known: 0, limit }))
    }

    /// Most workgroups of a dispatch.
    pub(crate) fn most(&self) -> u32 {
        self.0.lock().most
    }

    /// The next dispatch of a launch with `left` workgroups to go, at least one.
    pub(crate) fn next(&self, left: u32) -> Part {
        let State { most, known, .. } = *self.0.lock();
        let groups = left.min(most);
        let load = (u64::from(groups) * 1000).div_ceil(u64::from(most)) as u32;
        Part { groups, timed: groups > known, load }
    }

    /// A dispatch of so many workgroups took that long.
    pub(crate) fn took(&self, groups: u32, elapsed: Duration) {
        let mut state = self.0.lock();
        let state = &mut *state;
        if elapsed > LONG && groups > 1 {
            // A time that was known for fewer may be wrong as well.
            (state.most, state.known) = (groups / 2, 0);
            return;
        }
        // Lengths that differ by less than a factor of two are not timed one by one.
        state.known = state.known.max(groups.next_power_of_two().min(state.most));
        if elapsed < SHORT && groups == state.most {
            state.most = state.most.saturating_mul(2).min(state.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 65_535;

    /// Runs launches of `groups` workgroups until none is timed any more, on an adapter on which a workgroup takes
    /// `each`. Returns the length of a dispatch and how many were timed.
    fn settled(pace: &Pace, groups: u32, each: Duration) -> (u32, u32) {
        let mut timed = 0;
        for _ in 0..40 {
            let before = timed;
            let mut left = groups;
            while left > 0 {
                let part = pace.next(left);
                assert!(part.groups >= 1 && part.groups <= left && part.load <= 1000, "{part:?}");
                if part.timed {
                    timed += 1;
                    pace.took(part.groups, each * part.groups);
                }
                left -= part.groups;
            }
            if timed == before {
                return (pace.most(), timed);
            }
        }
        panic!("not settled: {pace:?}");
    }

    #[test]
    fn a_dispatch_is_halved_until_it_takes_a_tenth_of_a_second() {
        // 1 ms for each workgroup: 256 and 128 take too long, 64 do not.
        let pace = Pace::new(LIMIT);
        assert_eq!(settled(&pace, 4096, Duration::from_millis(1)), (64, 3));
        // Where a single workgroup takes longer there is nothing left to halve.
        let pace = Pace::new(LIMIT);
        assert_eq!(settled(&pace, 64, Duration::from_secs(1)).0, 1);
    }

    #[test]
    fn a_dispatch_is_doubled_until_it_takes_a_hundredth_of_a_second() {
        // 1 µs for each workgroup: 16,384 take 16 ms.
        let pace = Pace::new(LIMIT);
        assert_eq!(settled(&pace, 1 << 20, Duration::from_micros(1)), (16_384, 7));
        let pace = Pace::new(LIMIT);
        let most = settled(&pace, 1 << 20, Duration::ZERO).0;
        assert_eq!(most, LIMIT, "and no further than the adapter takes");
    }

    #[test]
    fn a_short_launch_says_nothing_of_a_long_one() {
        let pace = Pace::new(LIMIT);
        assert_eq!(settled(&pace, 5, Duration::from_millis(1)), (START, 1));
        assert!(!pace.next(8).timed && pace.next(9).timed);
        assert_eq!(settled(&pace, 4096, Duration::from_millis(1)).0, 64);
    }

    /// The first dispatch on some drivers contains the rest of the compilation.
    #[test]
    fn one_slow_dispatch_is_made_up_for() {
        let pace = Pace::new(LIMIT);
        pace.took(pace.next(LIMIT).groups, Duration::from_secs(3));
        assert_eq!(pace.most(), START / 2);
        assert_eq!(settled(&pace, 1 << 20, Duration::from_micros(1)).0, 16_384);
    }
}
