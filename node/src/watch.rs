//! A task that looks at something now and then, for as long as its process runs.

use std::future::Future;
use std::time::Duration;

use rollmill_service::{Again, Retry, Shutdown};

/// Takes a step, again `pause` after each success, until `shutdown` starts. A failed step is repeated after the
/// pauses of `retry`. A step that is under way when the shutdown starts is dropped, so each step must be one that a
/// killed process could leave behind too.
///
/// `succeeded` is called with the seconds since the first failure when a step succeeds after failures, and `failed`
/// with the error when the log is due: at the first failure, and then once a minute.
pub async fn watch<T, E, F: Future<Output = Result<T, E>>>(
    pause: Duration,
    mut retry: Retry,
    shutdown: &Shutdown,
    mut step: impl FnMut() -> F,
    succeeded: impl Fn(f64),
    failed: impl Fn(&E, Again),
) {
    while !shutdown.is_started() {
        let step = tokio::select! {
            () = shutdown.started() => return,
            step = step() => step,
        };
        match step {
            Ok(_) => {
                retry.succeeded(&succeeded);
                shutdown.within(pause).await;
            }
            Err(error) => retry.failed(shutdown.started(), |again| failed(&error, again)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::future::{pending, ready};

    use super::*;

    /// Longer than any test.
    const FOREVER: Duration = Duration::from_secs(1_000_000_000);

    const FIRST: Duration = Duration::from_millis(1);

    /// Pauses that grow threefold and no further.
    fn short() -> Retry {
        Retry::new(FIRST, 3 * FIRST)
    }

    /// What was logged: the seconds of an outage that ended, or the failure's text and what comes with it.
    #[derive(Debug, PartialEq)]
    enum Event {
        Ended,
        Failed(&'static str, Again),
    }

    /// Watches with these results, one a step, and starts the shutdown within the step after them. Returns the
    /// events and the number of steps.
    async fn events(results: &[Result<(), &'static str>]) -> (Vec<Event>, usize) {
        let (events, steps) = (RefCell::new(Vec::new()), Cell::new(0));
        let left = RefCell::new(results.iter().copied().collect::<VecDeque<_>>());
        let shutdown = Shutdown::new();
        let step = || {
            steps.set(steps.get() + 1);
            let next = left.borrow_mut().pop_front();
            let shutdown = &shutdown;
            async move {
                match next {
                    Some(result) => result,
                    None => {
                        shutdown.start();
                        // The step never ends by itself.
                        pending().await
                    }
                }
            }
        };
        let succeeded = |_| events.borrow_mut().push(Event::Ended);
        let failed = |error: &&'static str, again| {
            events.borrow_mut().push(Event::Failed(error, again));
        };
        watch(Duration::ZERO, short(), &shutdown, step, succeeded, failed).await;
        (events.into_inner(), steps.get())
    }

    #[tokio::test]
    async fn steps_follow_one_another_and_the_last_one_is_dropped_by_the_shutdown() {
        let (events, steps) = events(&[Ok(()), Ok(()), Ok(())]).await;
        assert_eq!((events, steps), (vec![], 4));
    }

    /// Goal: failures in a row are one event a minute, their end is another, and the pauses of the next outage start
    /// over. How they grow within one is tested with [`Retry`].
    #[tokio::test]
    async fn an_outage_is_logged_at_its_start_and_at_its_end() {
        let mut results = vec![Err("first"); 20];
        results.extend([Ok(()), Ok(()), Err("second"), Ok(())]);
        let (events, steps) = events(&results).await;
        assert_eq!(steps, results.len() + 1);
        let [
            Event::Failed("first", first),
            Event::Ended,
            Event::Failed("second", second),
            Event::Ended,
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((first.repeated, second.repeated), (0, 0));
        let range = FIRST.as_secs_f64() / 2.0..=FIRST.as_secs_f64();
        for again in [first, second] {
            assert!(range.contains(&again.retry_seconds), "{again:?}");
        }
    }

    /// Goal: a process ends at once, whatever its watcher waits for: the pause after a success, or the one after a
    /// failure. Without the shutdown either lasts longer than the test may.
    #[tokio::test]
    async fn a_shutdown_ends_both_kinds_of_pause() {
        for result in [Ok(()), Err("no")] {
            let (shutdown, steps) = (Shutdown::new(), Cell::new(0));
            let step = || {
                steps.set(steps.get() + 1);
                ready(result)
            };
            let retry = Retry::steady(FOREVER);
            let watching = watch(FOREVER, retry, &shutdown, step, |_| (), |_, _| ());
            let ending = async {
                while steps.get() == 0 {
                    tokio::task::yield_now().await;
                }
                // The watcher has come to its pause: only that lets this task run again.
                shutdown.start();
            };
            tokio::join!(watching, ending);
            assert_eq!(steps.get(), 1, "{result:?}");
        }
    }

    #[tokio::test]
    async fn no_step_is_taken_after_a_shutdown() {
        let shutdown = Shutdown::new();
        shutdown.start();
        let step = || -> std::future::Ready<Result<(), ()>> { panic!("a step after the end") };
        watch(FOREVER, short(), &shutdown, step, |_| (), |_, _| ()).await;
    }
}
