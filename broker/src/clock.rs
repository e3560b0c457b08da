//! The database's clock beside that of this process, which never jumps, and how long leases are spared once it was set.

use std::time::Duration;

use tokio::time::Instant;

/// A difference that no machine's clock gains in a few seconds, unless somebody sets it.
const JUMP: Duration = Duration::from_secs(5);
/// Part of a lease by which a smaller difference counts too: the next heartbeat comes after a quarter of a lease, and
/// the lease must outlast it.
const PART: u32 = 3;
/// Readings are in whole milliseconds, so that two of them may differ by this much also where leases are very short.
const ROUNDING: Duration = Duration::from_millis(10);
/// Leases that expiry waits for at most, however often the clock is set: two services that correct it in turn must not
/// leave the jobs of dead agents where they are.
const LEASES_MAX: u32 = 10;

/// A reading of the database's clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Since 1970.
    database: Duration,
    /// When it was asked for, and when it was there. It was made in between.
    asked: Instant,
    answered: Instant,
}

/// By how much the database's clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jump {
    Ahead(Duration),
    Back(Duration),
}

/// Compares each reading with the one before.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Option<Reading>,
    /// A smaller difference is none.
    least: Duration,
}

impl Clock {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { last: None, least: JUMP.min(lease / PART).max(ROUNDING) }
    }

    /// By how much the database's clock has jumped since the reading before, if it has.
    pub(crate) fn jump(
        &mut self,
        database: Duration,
        asked: Instant,
        answered: Instant,
    ) -> Option<Jump> {
        let last = self.last.replace(Reading { database, asked, answered })?;
        // Least and most time between the two.
        let least = asked.saturating_duration_since(last.answered);
        let most = answered.saturating_duration_since(last.asked);
        let ahead = database.saturating_sub(last.database.saturating_add(most));
        let back = last.database.saturating_add(least).saturating_sub(database);
        match (ahead > self.least, back > self.least) {
            (true, _) => Some(Jump::Ahead(ahead)),
            (false, true) => Some(Jump::Back(back)),
            (false, false) => None,
        }
    }
}

/// Until when no lease expires, so that agents that live can send a heartbeat first.
#[derive(Debug)]
pub(crate) struct Patience {
    lease: Duration,
    /// When the waiting began that nothing has expired since.
    since: Option<Instant>,
    until: Instant,
}

impl Patience {
    /// From the start of a broker.
    pub(crate) fn new(lease: Duration, now: Instant) -> Self {
        Self { lease, since: Some(now), until: now + lease }
    }

    /// Waits for heartbeats once more.
    pub(crate) fn extend(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.until = (now + self.lease).min(since + self.lease * LEASES_MAX);
    }

    /// Whether leases may expire now. The caller then lets them.
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        let is_over = now >= self.until;
        if is_over {
            self.since = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_seen_in_both_directions_and_a_slow_answer_is_none() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let at = Duration::from_secs;
        let mut clock = Clock::new(at(30));
        let mut read =
            |database, asked, answered| clock.jump(at(database), after(asked), after(answered));
        assert_eq!(read(1_000, 0, 0), None, "there is nothing to compare it with");
        assert_eq!(read(1_010, 10, 10), None);
        assert_eq!(read(1_025, 20, 20), None, "within what is allowed");
        assert_eq!(read(4_640, 30, 30), Some(Jump::Ahead(at(3_605))));
        assert_eq!(read(4_650, 40, 40), None, "once for each jump");
        assert_eq!(read(1_060, 50, 50), Some(Jump::Back(at(3_600))));
        // Two minutes pass until the answer: the reading may be of any moment of them.
        assert_eq!(read(1_062, 52, 172), None);
        assert_eq!(read(1_182, 172, 172), None);
        assert_eq!(read(1_192, 182, 300), None);
        assert_eq!(read(1_310, 300, 300), None);
    }

    #[test]
    fn a_short_lease_outlasts_no_jump_of_a_few_seconds() {
        let (start, at) = (Instant::now(), Duration::from_millis);
        let mut clock = Clock::new(at(3_000));
        let mut read =
            |database, time| clock.jump(at(database), start + at(time), start + at(time));
        assert_eq!(read(10_000, 0), None);
        assert_eq!(read(11_000, 0), None, "a heartbeat comes before the lease has run out");
        assert_eq!(read(12_001, 0), Some(Jump::Ahead(at(1_001))));
        assert_eq!(read(11_000, 0), Some(Jump::Back(at(1_001))));
    }

    #[test]
    fn a_clock_that_never_rests_puts_expiry_off_for_a_while_and_not_for_ever() {
        let (start, lease) = (Instant::now(), Duration::from_secs(30));
        let mut patience = Patience::new(lease, start);
        assert!(!patience.is_over(start + lease - Duration::from_secs(1)));
        assert!(patience.is_over(start + lease));
        let mut looks = Vec::new();
        // It is set every second.
        for second in 100..800 {
            let now = start + Duration::from_secs(second);
            patience.extend(now);
            if patience.is_over(now) {
                looks.push(second);
            }
        }
        assert_eq!(looks, [400, 701]);
        assert!(!patience.is_over(start + Duration::from_secs(799)));
        assert!(patience.is_over(start + Duration::from_secs(829)), "it rests again");
    }
}
