//! The database's clock beside that of this process, which never jumps.

use std::time::Duration;

use tokio::time::Instant;

/// A difference that no machine's clock gains in a few seconds, unless somebody sets it.
const JUMP: Duration = Duration::from_secs(5);

/// A reading of the database's clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Since 1970.
    database: Duration,
    /// When it was asked for, and when it was there. It was made in between.
    asked: Instant,
    answered: Instant,
}

/// Compares each reading with the one before.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Option<Reading>,
}

impl Clock {
    /// By how much the database's clock has jumped since the reading before, if it has, in either direction.
    pub(crate) fn jump(
        &mut self,
        database: Duration,
        asked: Instant,
        answered: Instant,
    ) -> Option<Duration> {
        let last = self.last.replace(Reading { database, asked, answered })?;
        // Least and most time between the two.
        let least = asked.saturating_duration_since(last.answered);
        let most = answered.saturating_duration_since(last.asked);
        let ahead = database.saturating_sub(last.database.saturating_add(most));
        let behind = last.database.saturating_add(least).saturating_sub(database);
        Some(ahead.max(behind)).filter(|jump| *jump > JUMP)
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
        let mut clock = Clock::default();
        let mut read =
            |database, asked, answered| clock.jump(at(database), after(asked), after(answered));
        assert_eq!(read(1_000, 0, 0), None, "there is nothing to compare it with");
        assert_eq!(read(1_010, 10, 10), None);
        assert_eq!(read(1_025, 20, 20), None, "within what is allowed");
        assert_eq!(read(4_640, 30, 30), Some(at(3_605)));
        assert_eq!(read(4_650, 40, 40), None, "once for each jump");
        assert_eq!(read(1_060, 50, 50), Some(at(3_600)));
        // Two minutes pass until the answer: the reading may be of any moment of them.
        assert_eq!(read(1_062, 52, 172), None);
        assert_eq!(read(1_182, 172, 172), None);
        assert_eq!(read(1_192, 182, 300), None);
        assert_eq!(read(1_310, 300, 300), None);
    }
}
