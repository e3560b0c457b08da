//! What follows a failed attempt. A pure function, so that every case is a line in a test.

use std::time::Duration;

use rollmill_broker_client::{FailureClass, SizeClass};

/// A failed attempt, as far as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub failure: FailureClass,
    /// Failures of this class so far, this one included, since the budget was last renewed.
    pub count: u32,
    /// Class of agent that the job needs at present.
    pub size: SizeClass,
}

/// What happens to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Back into the queue.
    Retry {
        pause: Duration,
        /// Class of agent needed from now on.
        size: SizeClass,
        /// Not to the agent that failed, until the job's exclusions are forgotten.
        exclude: bool,
    },
    /// Out of the queue until the producer uploads the input again.
    AwaitInput,
    /// A dead letter.
    GiveUp,
}

/// Decides. `spread` in `[0, 1)` moves the pause by a quarter either way, so that jobs which failed
/// together do not come back together.
///
/// `docs/book/states.md` has a table of what this function decides for each class.
///
/// A time-out alone never makes a dead letter: a job's deadline does, once it has passed.
pub fn after(failed: Failure, spread: f64) -> Next {
    let Failure { failure, count, size } = failed;
    let retry = |pause| Next::Retry { pause: spread_by(pause, spread), size, exclude: false };
    let elsewhere = Next::Retry { pause: Duration::ZERO, size, exclude: true };
    match failure {
        FailureClass::Transient if count <= 20 => retry(doubling(500, count)),
        FailureClass::InputMissing => Next::AwaitInput,
        FailureClass::OutOfMemory => match size.larger() {
            Some(size) => Next::Retry { pause: Duration::ZERO, size, exclude: false },
            None if count <= 5 => retry(doubling(1_000, count)),
            None => Next::GiveUp,
        },
        FailureClass::InvalidProof if count < 3 => elsewhere,
        FailureClass::VersionMismatch if count < 10 => elsewhere,
        // A time-out says little about the job: a machine crashed or was slow. The pause still grows,
        // since a job that crashes its agents must not take them all.
        FailureClass::AgentDied | FailureClass::HardLimit => {
            retry(if count <= 1 { Duration::ZERO } else { doubling(1_000, count - 1) })
        }
        FailureClass::ResultLost => retry(Duration::ZERO),
        FailureClass::Transient
        | FailureClass::InvalidProof
        | FailureClass::VersionMismatch
        | FailureClass::BadInput
        | FailureClass::ResultTooLarge
        | FailureClass::PastDeadline => Next::GiveUp,
    }
}

/// Longest pause that [`after`] decides.
pub const PAUSE_MAX: Duration = Duration::from_secs(75);

/// Agents that may make one rejected result before its job is given up.
pub const MAKERS_MAX: u32 = 3;

/// Decides after an agent made a result that the job's producer rejected before. `makers` counts the agents that
/// made it, this one included.
///
/// A job's result is mostly a function of its input, so a producer that rejects a right result, for example
/// during an upgrade, would otherwise hand the job from agent to agent until its deadline.
pub fn after_repeat(makers: u32, size: SizeClass) -> Next {
    match makers < MAKERS_MAX {
        true => Next::Retry { pause: Duration::ZERO, size, exclude: true },
        false => Next::GiveUp,
    }
}

fn doubling(first_ms: u64, count: u32) -> Duration {
    let ms = first_ms.saturating_mul(1 << count.saturating_sub(1).min(16));
    Duration::from_millis(ms.min(60_000))
}

fn spread_by(pause: Duration, spread: f64) -> Duration {
    pause.mul_f64(0.75 + 0.5 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, count: u32) -> Failure {
        Failure { failure: class, count, size: SizeClass::SMALLEST }
    }

    #[test]
    fn an_invalid_proof_never_returns_to_its_agent_and_the_third_is_a_dead_letter() {
        for count in 1..3 {
            let next = after(failure(FailureClass::InvalidProof, count), 0.5);
            assert!(matches!(next, Next::Retry { exclude: true, .. }));
        }
        assert_eq!(after(failure(FailureClass::InvalidProof, 3), 0.5), Next::GiveUp);
    }

    #[test]
    fn timeouts_alone_never_make_a_dead_letter() {
        for class in [FailureClass::AgentDied, FailureClass::HardLimit] {
            for count in [1, 2, 10, 1_000, u32::MAX] {
                let next = after(failure(class, count), 0.99);
                let Next::Retry { pause, .. } = next else { panic!("{class:?} {count}") };
                assert!(pause <= PAUSE_MAX);
            }
        }
    }

    #[test]
    fn the_first_death_of_an_agent_costs_no_pause() {
        let next = after(failure(FailureClass::AgentDied, 1), 0.9);
        assert!(matches!(next, Next::Retry { pause: Duration::ZERO, .. }));
    }

    #[test]
    fn out_of_memory_climbs_the_classes_before_it_spends_its_budget() {
        let failed =
            |size, count| after(Failure { size, ..failure(FailureClass::OutOfMemory, count) }, 0.5);
        let classes: Vec<SizeClass> = SizeClass::LARGEST.holds().collect();
        for pair in classes.windows(2) {
            let next = Next::Retry { pause: Duration::ZERO, size: pair[1], exclude: false };
            assert_eq!(failed(pair[0], 9), next);
        }
        let size = SizeClass::LARGEST;
        assert!(matches!(failed(size, 5), Next::Retry { size: of, .. } if of == size));
        assert_eq!(failed(size, 6), Next::GiveUp);
    }

    #[test]
    fn bad_input_is_a_dead_letter_at_once() {
        assert_eq!(after(failure(FailureClass::BadInput, 1), 0.5), Next::GiveUp);
    }

    #[test]
    fn transient_pauses_grow_and_stay_below_their_cap() {
        assert_eq!(spread_by(doubling(500, u32::MAX), 1.0), PAUSE_MAX);
        let pause = |count| match after(failure(FailureClass::Transient, count), 0.5) {
            Next::Retry { pause, .. } => pause,
            Next::GiveUp | Next::AwaitInput => Duration::MAX,
        };
        assert_eq!(pause(1), Duration::from_millis(500));
        assert_eq!(pause(2), Duration::from_millis(1_000));
        assert_eq!(pause(20), Duration::from_secs(60));
        assert_eq!(pause(21), Duration::MAX);
    }
}
