//! Whether any live agent can do the waiting jobs. A pure function of the queue and of what agents
//! reported, so that every case is a line in a test.

use std::time::Duration;

use rollmill_broker_client::{JobState, QueueView, SizeClass, UnableView};

/// What an agent of a tenant that is not in quarantine can do, and when it was last seen.
#[derive(Clone, Debug)]
pub struct Ability<T> {
    pub tenant: T,
    /// `type/version`, each.
    pub capabilities: Vec<String>,
    pub class: SizeClass,
    pub seen_seconds: f64,
}

/// Types of waiting jobs that no live agent can do: none of the tenant's agents seen within `live`
/// has the type and version and is of the class. Reported once it has been so for `after`.
pub fn unable<T: Clone + PartialEq>(
    queue: &[(T, QueueView)],
    agents: &[Ability<T>],
    live: Duration,
    after: Duration,
) -> Vec<(T, UnableView)> {
    let waits = |view: &QueueView| matches!(view.state, JobState::Ready | JobState::Delayed);
    let mut found: Vec<(T, UnableView)> = Vec::new();
    for (tenant, view) in queue.iter().filter(|(_, view)| waits(view)) {
        let wanted = format!("{}/{}", view.kind, view.version);
        let is_able = |agent: &&Ability<T>| {
            agent.tenant == *tenant
                && agent.class >= view.class
                && agent.capabilities.contains(&wanted)
        };
        let seen = agents
            .iter()
            .filter(is_able)
            .map(|agent| agent.seen_seconds)
            .fold(f64::INFINITY, f64::min);
        // At most for as long as the jobs wait, and since the last able agent was seen.
        let since_seconds = view.oldest_seconds.min(seen);
        if seen <= live.as_secs_f64() || since_seconds < after.as_secs_f64() {
            continue;
        }
        let same = |(of, other): &&mut (T, UnableView)| {
            *of == *tenant
                && other.kind == view.kind
                && other.version == view.version
                && other.class == view.class
        };
        match found.iter_mut().find(same) {
            // Ready and delayed jobs of one type are one entry.
            Some((_, other)) => {
                other.jobs += view.count;
                other.since_seconds = other.since_seconds.max(since_seconds);
            }
            None => found.push((
                tenant.clone(),
                UnableView {
                    kind: view.kind.clone(),
                    version: view.version.clone(),
                    class: view.class,
                    jobs: view.count,
                    since_seconds,
                },
            )),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Duration = Duration::from_secs(30);
    const AFTER: Duration = Duration::from_secs(10);

    fn queued(
        kind: &str,
        class: u8,
        state: JobState,
        oldest_seconds: f64,
    ) -> (&'static str, QueueView) {
        let view = QueueView {
            kind: kind.into(),
            version: "v1".into(),
            class: SizeClass::new(class).unwrap(),
            state,
            count: 2,
            oldest_seconds,
        };
        ("default", view)
    }

    fn agent(capability: &str, class: u8, seen_seconds: f64) -> Ability<&'static str> {
        Ability {
            tenant: "default",
            capabilities: vec![capability.into()],
            class: SizeClass::new(class).unwrap(),
            seen_seconds,
        }
    }

    fn kinds(
        queue: &[(&'static str, QueueView)],
        agents: &[Ability<&'static str>],
    ) -> Vec<(String, u8, u64)> {
        let unable = unable(queue, agents, LIVE, AFTER);
        unable.into_iter().map(|(_, view)| (view.kind, view.class.number(), view.jobs)).collect()
    }

    #[test]
    fn each_reason_why_nobody_is_able_is_found() {
        let queue = [queued("leaf", 1, JobState::Ready, 60.0)];
        let found = [("leaf".to_owned(), 1, 2)];
        assert_eq!(kinds(&queue, &[]), found, "no agent at all");
        assert_eq!(kinds(&queue, &[agent("root/v1", 3, 1.0)]), found, "another type");
        assert_eq!(kinds(&queue, &[agent("leaf/v2", 3, 1.0)]), found, "another version");
        assert_eq!(kinds(&queue, &[agent("leaf/v1", 0, 1.0)]), found, "too small a class");
        assert_eq!(kinds(&queue, &[agent("leaf/v1", 1, 31.0)]), found, "not live");
        let foreign = Ability { tenant: "other", ..agent("leaf/v1", 1, 1.0) };
        assert_eq!(kinds(&queue, &[foreign]), found, "of another tenant");
        assert_eq!(kinds(&queue, &[agent("leaf/v1", 2, 29.0)]), [], "one is able");
    }

    #[test]
    fn what_is_not_so_for_long_enough_or_does_not_wait_is_no_trouble() {
        assert_eq!(kinds(&[queued("leaf", 0, JobState::Ready, 9.0)], &[]), []);
        for state in [JobState::Leased, JobState::InputWanted] {
            assert_eq!(kinds(&[queued("leaf", 0, state, 60.0)], &[]), [], "{state:?}");
        }
    }

    #[test]
    fn ready_and_delayed_jobs_of_a_type_are_one_trouble_as_old_as_the_older() {
        let queue =
            [queued("leaf", 0, JobState::Ready, 20.0), queued("leaf", 0, JobState::Delayed, 50.0)];
        let found = unable(&queue, &[agent("leaf/v1", 0, 40.0)], LIVE, AFTER);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.jobs, found[0].1.since_seconds as u32), (4, 40));
    }
}
