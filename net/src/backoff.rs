//! Growing pauses between retries, with jitter.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The pauses between retries of one operation: each twice as long as the one before, up to a maximum.
/// Each is drawn from between half of its length and all of it, so that processes that failed together
/// do not retry together. Each value of this type seeds its own random generator.
///
/// It never gives up: the caller retries until it succeeds, until its deadline, or until it is shut down.
///
/// ```
/// use std::time::Duration;
/// let mut retry = rollmill_net::Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// assert!(retry.pause() <= Duration::from_millis(200));
/// assert!(retry.pause() <= Duration::from_millis(400));
/// retry.reset();
/// assert!(retry.pause() <= Duration::from_millis(200));
/// ```
#[derive(Debug)]
pub struct Backoff {
    schedule: ExponentialBuilder,
    pauses: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    /// The first pause is at most `first`, each later one at most twice its predecessor's maximum and at most
    /// `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        // backon adds up to the whole pause as jitter, so its schedule is half of this one.
        let schedule = ExponentialBuilder::new()
            .with_min_delay(first.min(longest) / 2)
            .with_max_delay(longest / 2)
            .without_max_times()
            .with_jitter();
        Self { schedule, pauses: schedule.build(), longest }
    }

    /// Pauses that do not grow, for retries whose pace something else sets: from half of `pause` to all of it.
    pub fn steady(pause: Duration) -> Self {
        Self::new(pause, pause)
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        // The iterator is endless. backon computes in 32-bit floats, which may round up.
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }

    /// A try succeeded: the next pause is the first again.
    pub fn reset(&mut self) {
        self.pauses = self.schedule.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from a seed (SplitMix64).
    fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % below
        }
    }

    #[test]
    fn each_pause_is_between_half_of_its_length_and_all_of_it() {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        println!("seed {seed}");
        let mut number = numbers(seed);
        for _ in 0..500 {
            let first = Duration::from_micros(1 + number(5_000_000));
            let longest = Duration::from_micros(1 + number(600_000_000));
            let mut backoff = Backoff::new(first, longest);
            for _ in 0..2 {
                let mut base = first.min(longest);
                for step in 0..40 {
                    let pause = backoff.pause();
                    // The floats have 24 bits.
                    let lower = (base / 2).mul_f64(0.999_999) - base.min(Duration::from_nanos(10));
                    assert!(pause <= base.mul_f64(1.000_001), "step {step} {first:?} {longest:?}");
                    assert!(pause >= lower, "step {step} {first:?} {longest:?}: {pause:?}");
                    assert!(pause <= longest, "step {step}: {pause:?} is over {longest:?}");
                    base = (base * 2).min(longest);
                }
                backoff.reset();
            }
        }
    }

    #[test]
    fn two_instances_draw_different_pauses() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let pauses =
            |mut backoff: Backoff| -> Vec<Duration> { (0..20).map(|_| backoff.pause()).collect() };
        let (one, other) = (Backoff::new(first, longest), Backoff::new(first, longest));
        assert_ne!(pauses(one), pauses(other));
        let mut again = Backoff::steady(first);
        let before: Vec<_> = (0..20).map(|_| again.pause()).collect();
        again.reset();
        let after: Vec<_> = (0..20).map(|_| again.pause()).collect();
        assert_ne!(before, after, "a reset repeats the jitter");
        assert!(before.iter().all(|pause| (first / 2..=first).contains(pause)), "{before:?}");
    }

    #[test]
    fn a_pause_of_nothing_stays_nothing() {
        let mut backoff = Backoff::steady(Duration::ZERO);
        assert!((0..10).all(|_| backoff.pause().is_zero()));
    }
}
