//! The first sentence of the overview: the worst trouble, or the best truth. A pure function, so that every case is a
//! line in a test.

use rollmill_broker_client::{
    AutoscaleResponse, HeadlineView, OutlookView, QueueView, Severity, UnableView,
};

/// What the sentence is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Conditions of the process that do not hold.
    pub(super) failing: &'a [&'a str],
    /// Whether the broker has counted its jobs since it started.
    pub(super) is_counted: bool,
    pub(super) epochs: &'a [OutlookView],
    pub(super) unable: &'a [UnableView],
    pub(super) autoscale: &'a AutoscaleResponse,
    pub(super) queue: &'a [QueueView],
    /// Unfinished jobs as the page lists them. Read every second, the rest every 5 s.
    pub(super) unfinished: u64,
    /// Live agents as the page lists them.
    pub(super) live: u64,
    pub(super) dead_letters: u64,
    pub(super) quarantined: u64,
}

/// The sentence. What comes first in its body is worse than what follows.
pub(super) fn headline(facts: &Facts<'_>) -> HeadlineView {
    let (severity, text) = condition(facts)
        .or_else(|| starting(facts))
        .or_else(|| late(facts))
        .or_else(|| stuck(facts))
        .or_else(|| missing(facts))
        .or_else(|| close(facts))
        .or_else(|| unable(facts))
        .or_else(|| waiting(facts))
        .or_else(|| in_time(facts))
        .or_else(|| without_deadline(facts))
        .unwrap_or_else(|| idle(facts));
    HeadlineView { severity, text }
}

type Sentence = Option<(Severity, String)>;

/// The broker itself lacks something.
fn condition(facts: &Facts<'_>) -> Sentence {
    let has = |name: &str| facts.failing.contains(&name);
    let text = match facts.failing.first()? {
        _ if has("database") => {
            "The broker's database does not answer, so no job is granted and no result accepted."
                .to_owned()
        }
        _ if has("object_store") => {
            "The object store does not answer, so large inputs and results cannot be read."
                .to_owned()
        }
        _ if has("disk") => {
            "The broker's disk is nearly full, so it takes no artifacts and no jobs.".to_owned()
        }
        _ if has("descriptors") => {
            "The broker has nearly as many files open as it may, and soon takes no connection."
                .to_owned()
        }
        name => format!("The broker's condition {name} does not hold."),
    };
    Some((Severity::Trouble, text))
}

fn starting(facts: &Facts<'_>) -> Sentence {
    let text = || "The broker has just started and counts its jobs.".to_owned();
    (!facts.is_counted).then(|| (Severity::Good, text()))
}

/// An epoch's deadline has passed.
fn late(facts: &Facts<'_>) -> Sentence {
    let deadline = |epoch: &OutlookView| epoch.deadline_in_seconds.filter(|left| *left <= 0.0);
    let (epoch, left) = least(facts, deadline)?;
    let jobs = count(epoch.jobs, "job");
    let text = format!(
        "Epoch {} missed its deadline {} ago, with {jobs} unfinished",
        epoch.epoch,
        span(-left)
    );
    Some((Severity::Trouble, text + &others(facts)))
}

/// An epoch has a deadline, and a job that no live agent can do.
fn stuck(facts: &Facts<'_>) -> Sentence {
    let deadline = |epoch: &OutlookView| {
        epoch.deadline_in_seconds.filter(|_| epoch.finish_in_seconds.is_none())
    };
    let (epoch, left) = least(facts, deadline)?;
    let why = match facts.unable.first() {
        _ if facts.autoscale.live == 0 => "no agent is live".to_owned(),
        Some(unable) => format!("no live agent can do jobs of type {}", unable.kind),
        None => "no live agent can do some of its jobs".to_owned(),
    };
    let text = format!("Epoch {} has {} until its deadline, and {why}", epoch.epoch, span(left));
    Some((Severity::Trouble, text + &others(facts)))
}

/// An epoch will be proven too late.
fn missing(facts: &Facts<'_>) -> Sentence {
    let (epoch, margin) = least(facts, |epoch| margin(epoch).filter(|margin| *margin < 0.0))?;
    let text = format!("Epoch {} will miss its deadline by {}", epoch.epoch, span(-margin));
    Some((Severity::Trouble, text + &more_agents(facts) + &others(facts)))
}

/// An epoch will be proven with little to spare.
fn close(facts: &Facts<'_>) -> Sentence {
    let (epoch, margin) = least(facts, |epoch| margin(epoch).filter(|_| epoch.at_risk))?;
    let text =
        format!("Epoch {} will be proven only {} before its deadline", epoch.epoch, span(margin));
    Some((Severity::Warning, text + &more_agents(facts) + &others(facts)))
}

/// Jobs wait that nobody can do, of epochs without a deadline.
fn unable(facts: &Facts<'_>) -> Sentence {
    let worst = facts.unable.iter().max_by_key(|unable| unable.jobs)?;
    let text = match facts.live {
        0 => {
            let jobs: u64 = facts.unable.iter().map(|unable| unable.jobs).sum();
            let wait = if jobs == 1 { "waits" } else { "wait" };
            format!("No agent is live, and {} {wait}.", count(jobs, "job"))
        }
        _ => format!(
            "No live agent can do {} of type {}.",
            count_of(worst.jobs, "waiting job"),
            worst.kind
        ),
    };
    Some((Severity::Trouble, text))
}

/// Something waits for an operator.
fn waiting(facts: &Facts<'_>) -> Sentence {
    let text = match (facts.dead_letters, facts.quarantined) {
        (0, 0) => return None,
        (0, 1) => "1 agent is in quarantine until an operator pardons it.".to_owned(),
        (0, agents) => {
            format!("{} are in quarantine until an operator pardons them.", count(agents, "agent"))
        }
        (1, _) => "1 dead letter waits for an operator.".to_owned(),
        (letters, _) => format!("{} wait for an operator.", count(letters, "dead letter")),
    };
    Some((Severity::Warning, text))
}

/// The epoch with the least to spare is in time.
fn in_time(facts: &Facts<'_>) -> Sentence {
    let (epoch, margin) = least(facts, margin)?;
    let text =
        format!("Epoch {} will be proven {} before its deadline.", epoch.epoch, span(margin));
    Some((Severity::Good, text))
}

/// The oldest epoch has no deadline.
fn without_deadline(facts: &Facts<'_>) -> Sentence {
    let epoch = facts.epochs.first()?;
    Some(match epoch.finish_in_seconds {
        Some(finish) => {
            let text = format!("Epoch {} will be proven in about {}.", epoch.epoch, span(finish));
            (Severity::Good, text)
        }
        None => {
            let text = format!("Epoch {} waits for an agent that can do its jobs.", epoch.epoch);
            (Severity::Warning, text)
        }
    })
}

/// Nothing needs attention. Jobs and agents that are newer than the last count appear in the page's lists only, so the
/// larger number of jobs is named, and the agents of the list.
fn idle(facts: &Facts<'_>) -> (Severity, String) {
    let left = facts.queue.iter().map(|entry| entry.count).sum::<u64>().max(facts.unfinished);
    let work = match left {
        0 => "No job is unfinished".to_owned(),
        1 => "1 job is unfinished".to_owned(),
        jobs => format!("{} are unfinished", count(jobs, "job")),
    };
    let text = match facts.live {
        0 => format!("{work}, and no agent is live."),
        1 => format!("{work}, and 1 agent is live."),
        agents => format!("{work}, and {} are live.", count(agents, "agent")),
    };
    (Severity::Good, text)
}

/// From the predicted finish to the deadline.
fn margin(epoch: &OutlookView) -> Option<f64> {
    Some(epoch.deadline_in_seconds? - epoch.finish_in_seconds?)
}

/// The epoch with the smallest value, the oldest of equal ones.
fn least<'a>(
    facts: &Facts<'a>,
    value: impl Fn(&OutlookView) -> Option<f64>,
) -> Option<(&'a OutlookView, f64)> {
    let valued = facts.epochs.iter().filter_map(|epoch| Some((epoch, value(epoch)?)));
    valued.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// What an operator can do about it.
fn more_agents(facts: &Facts<'_>) -> String {
    match facts.autoscale.wanted.saturating_sub(facts.autoscale.live) {
        0 => String::new(),
        1 => "; 1 more agent is needed".to_owned(),
        more => format!("; {} are needed", count(more, "more agent")),
    }
}

/// The end of a sentence about an epoch at risk: how many others there are.
fn others(facts: &Facts<'_>) -> String {
    match facts.epochs.iter().filter(|epoch| epoch.at_risk).count().saturating_sub(1) {
        0 => ".".to_owned(),
        1 => "; 1 more epoch is at risk.".to_owned(),
        more => format!("; {more} more epochs are at risk."),
    }
}

/// A number with its thing.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// As [`count`], with `the` for a single one.
fn count_of(number: u64, thing: &str) -> String {
    if number == 1 { format!("the {thing}") } else { count(number, thing) }
}

/// A time in one or two units, rounded down.
fn span(seconds: f64) -> String {
    // Saturates, and a negative number is 0.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |first: u64, unit: &str, second: u64, lower: &str| match second {
        0 => format!("{first} {unit}"),
        _ => format!("{first} {unit} {second} {lower}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{minutes} min"),
        7_200..172_800 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::{JobState, SizeClass};

    use super::*;

    /// What a case is made of; everything is well where it says nothing.
    #[derive(Default)]
    struct Case {
        failing: Vec<&'static str>,
        is_starting: bool,
        epochs: Vec<OutlookView>,
        unable: Vec<(&'static str, u64)>,
        /// Live agents, and those wanted.
        agents: (u64, u64),
        queued: u64,
        /// Unfinished jobs and live agents that came since the count.
        since: (u64, u64),
        dead_letters: u64,
        quarantined: u64,
    }

    impl Case {
        fn headline(&self) -> HeadlineView {
            let unable = |(kind, jobs): &(&str, u64)| UnableView {
                kind: (*kind).to_owned(),
                version: "v1".into(),
                class: SizeClass::SMALLEST,
                jobs: *jobs,
                since_seconds: 11.0,
            };
            let queue = QueueView {
                kind: "leaf".into(),
                version: "v1".into(),
                class: SizeClass::SMALLEST,
                state: JobState::Ready,
                count: self.queued,
                oldest_seconds: 1.0,
            };
            let (live, wanted) = self.agents;
            headline(&Facts {
                failing: &self.failing,
                is_counted: !self.is_starting,
                epochs: &self.epochs,
                unable: &self.unable.iter().map(unable).collect::<Vec<_>>(),
                autoscale: &AutoscaleResponse { live, wanted, ..AutoscaleResponse::default() },
                queue: &[queue],
                unfinished: self.since.0,
                live: live + self.since.1,
                dead_letters: self.dead_letters,
                quarantined: self.quarantined,
            })
        }
    }

    /// An epoch by its predicted finish and its deadline, both in seconds from now.
    fn epoch(
        number: u64,
        finish: Option<f64>,
        deadline: Option<f64>,
        at_risk: bool,
    ) -> OutlookView {
        OutlookView {
            epoch: number,
            jobs: 120,
            finish_in_seconds: finish,
            deadline_in_seconds: deadline,
            at_risk,
        }
    }

    #[track_caller]
    fn says(case: &Case, severity: Severity, text: &str) {
        assert_eq!(case.headline(), HeadlineView { severity, text: text.to_owned() });
    }

    #[test]
    fn an_epoch_that_is_in_time_is_the_best_truth() {
        let fine = |margin| epoch(42, Some(300.0), Some(300.0 + margin), false);
        for (margin, text) in [
            (180.0, "3 min"),
            (119.9, "119 s"),
            (120.0, "2 min"),
            (0.5, "0 s"),
            (7_199.0, "119 min"),
            (7_200.0, "2 h"),
            (8_000.0, "2 h 13 min"),
            (172_800.0, "2 d"),
            (200_000.0, "2 d 7 h"),
            (f64::INFINITY, "213503982334601 d 7 h"),
        ] {
            let case = Case { epochs: vec![fine(margin)], agents: (4, 4), ..Case::default() };
            let text = format!("Epoch 42 will be proven {text} before its deadline.");
            says(&case, Severity::Good, &text);
        }
        let least = vec![
            epoch(41, Some(100.0), Some(1_000.0), false),
            epoch(42, Some(200.0), Some(500.0), false),
            epoch(43, Some(300.0), None, false),
        ];
        let case = Case { epochs: least, agents: (4, 9), ..Case::default() };
        says(&case, Severity::Good, "Epoch 42 will be proven 5 min before its deadline.");
    }

    #[test]
    fn an_epoch_without_a_deadline_has_a_finish_or_waits() {
        let case = |finish| Case { epochs: vec![epoch(7, finish, None, false)], ..Case::default() };
        says(&case(Some(95.0)), Severity::Good, "Epoch 7 will be proven in about 95 s.");
        let text = "Epoch 7 waits for an agent that can do its jobs.";
        says(&case(None), Severity::Warning, text);
    }

    #[test]
    fn without_an_epoch_it_says_who_is_there() {
        for (live, queued, text) in [
            (0, 0, "No job is unfinished, and no agent is live."),
            (1, 0, "No job is unfinished, and 1 agent is live."),
            (12, 0, "No job is unfinished, and 12 agents are live."),
            (12, 1, "1 job is unfinished, and 12 agents are live."),
            (12, 5, "5 jobs are unfinished, and 12 agents are live."),
        ] {
            says(&Case { agents: (live, 0), queued, ..Case::default() }, Severity::Good, text);
        }
        // What came since the last count is listed on the page already.
        let case = Case { agents: (0, 0), since: (18, 120), ..Case::default() };
        says(&case, Severity::Good, "18 jobs are unfinished, and 120 agents are live.");
        let case = Case { is_starting: true, agents: (0, 0), ..Case::default() };
        says(&case, Severity::Good, "The broker has just started and counts its jobs.");
    }

    /// Epochs, types that nobody can do, agents that are live and wanted; how the sentence is meant, and the sentence.
    type Row<'a> =
        (Vec<OutlookView>, &'a [(&'static str, u64)], (u64, u64), Severity, &'static str);

    #[track_caller]
    fn all_say(rows: Vec<Row<'_>>) {
        for (epochs, unable, agents, severity, text) in rows {
            // What is less bad than an epoch in trouble is not said.
            let (unable, dead_letters) = (unable.to_vec(), 3);
            let case = Case { epochs, unable, agents, dead_letters, ..Case::default() };
            says(&case, severity, text);
        }
    }

    fn late() -> OutlookView {
        epoch(41, None, Some(-300.0), true)
    }

    fn stuck() -> OutlookView {
        epoch(42, None, Some(540.0), true)
    }

    fn misses() -> OutlookView {
        epoch(43, Some(900.0), Some(660.0), true)
    }

    fn misses_more() -> OutlookView {
        epoch(44, Some(2_000.0), Some(700.0), true)
    }

    fn close_to() -> OutlookView {
        epoch(45, Some(980.0), Some(1_000.0), true)
    }

    fn fine() -> OutlookView {
        epoch(46, Some(100.0), Some(1_000.0), false)
    }

    #[test]
    fn an_epoch_that_cannot_be_finished_is_named_with_what_is_missing() {
        let root: &[(&str, u64)] = &[("root", 3)];
        all_say(vec![
            (
                vec![late(), fine()],
                &[],
                (4, 9),
                Severity::Trouble,
                "Epoch 41 missed its deadline 5 min ago, with 120 jobs unfinished.",
            ),
            (
                vec![stuck(), fine()],
                root,
                (0, 9),
                Severity::Trouble,
                "Epoch 42 has 9 min until its deadline, and no agent is live.",
            ),
            (
                vec![stuck()],
                root,
                (4, 9),
                Severity::Trouble,
                "Epoch 42 has 9 min until its deadline, and no live agent can do jobs of type root.",
            ),
            (
                vec![stuck()],
                &[],
                (4, 9),
                Severity::Trouble,
                "Epoch 42 has 9 min until its deadline, and no live agent can do some of its jobs.",
            ),
            (
                vec![late(), stuck(), misses(), misses_more(), close_to()],
                root,
                (0, 9),
                Severity::Trouble,
                "Epoch 41 missed its deadline 5 min ago, with 120 jobs unfinished; 4 more epochs are at risk.",
            ),
        ]);
    }

    #[test]
    fn an_epoch_that_will_be_late_is_named_with_the_agents_that_it_needs() {
        all_say(vec![
            (
                vec![misses(), fine()],
                &[],
                (4, 7),
                Severity::Trouble,
                "Epoch 43 will miss its deadline by 4 min; 3 more agents are needed.",
            ),
            (
                vec![misses(), misses_more()],
                &[],
                (4, 5),
                Severity::Trouble,
                "Epoch 44 will miss its deadline by 21 min; 1 more agent is needed; 1 more epoch is at risk.",
            ),
            (
                vec![misses()],
                &[],
                (7, 7),
                Severity::Trouble,
                "Epoch 43 will miss its deadline by 4 min.",
            ),
            (
                vec![fine(), close_to()],
                &[],
                (7, 7),
                Severity::Warning,
                "Epoch 45 will be proven only 20 s before its deadline.",
            ),
        ]);
    }

    #[test]
    fn what_waits_for_somebody_comes_before_good_news() {
        for (unable, live, dead_letters, quarantined, severity, text) in [
            (
                &[("leaf", 12)][..],
                4,
                3,
                1,
                Severity::Trouble,
                "No live agent can do 12 waiting jobs of type leaf.",
            ),
            (
                &[("leaf", 1)],
                4,
                3,
                1,
                Severity::Trouble,
                "No live agent can do the waiting job of type leaf.",
            ),
            (&[("leaf", 1)], 0, 3, 1, Severity::Trouble, "No agent is live, and 1 job waits."),
            (
                &[("leaf", 12), ("root", 3)],
                0,
                3,
                1,
                Severity::Trouble,
                "No agent is live, and 15 jobs wait.",
            ),
            (&[], 4, 3, 1, Severity::Warning, "3 dead letters wait for an operator."),
            (&[], 4, 1, 1, Severity::Warning, "1 dead letter waits for an operator."),
            (
                &[],
                4,
                0,
                1,
                Severity::Warning,
                "1 agent is in quarantine until an operator pardons it.",
            ),
            (
                &[],
                4,
                0,
                2,
                Severity::Warning,
                "2 agents are in quarantine until an operator pardons them.",
            ),
            (&[], 4, 0, 0, Severity::Good, "Epoch 46 will be proven 15 min before its deadline."),
        ] {
            let (epochs, unable, agents) = (vec![fine()], unable.to_vec(), (live, 4));
            let case =
                Case { epochs, unable, agents, dead_letters, quarantined, ..Case::default() };
            says(&case, severity, text);
        }
    }

    #[test]
    fn what_the_broker_lacks_comes_first() {
        for (failing, text) in [
            (
                &["database", "disk", "object_store"][..],
                "The broker's database does not answer, so no job is granted and no result accepted.",
            ),
            (
                &["disk", "object_store"],
                "The object store does not answer, so large inputs and results cannot be read.",
            ),
            (&["disk"], "The broker's disk is nearly full, so it takes no artifacts and no jobs."),
            (
                &["descriptors"],
                "The broker has nearly as many files open as it may, and soon takes no connection.",
            ),
            (&["clock"], "The broker's condition clock does not hold."),
        ] {
            let epochs = vec![epoch(41, None, Some(-300.0), true)];
            let case =
                Case { failing: failing.to_vec(), is_starting: true, epochs, ..Case::default() };
            says(&case, Severity::Trouble, text);
        }
    }
}
