//! How long building waits for the client proofs of a block on L1.

use std::time::{Duration, Instant};

use rollmill_protocol::Fr;

/// The wait for one block, which its header hash names. Another block, also one in its place after a reorganisation or a
/// prune, has a wait of its own.
#[derive(Debug, Default)]
pub(crate) struct ProofWait {
    of: Option<(Fr, Instant)>,
    /// The block that is built on although its client proofs were not found in time.
    abandoned: Option<Fr>,
}

/// What to do about the first block that is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofTurn {
    /// Build: there is none, or its wait was abandoned before.
    Build,
    /// Wait, for the first time.
    Start,
    /// Wait on.
    Wait,
    /// Build: the wait is abandoned now.
    Abandon,
}

impl ProofTurn {
    pub(crate) fn waits(self) -> bool {
        matches!(self, Self::Start | Self::Wait)
    }
}

impl ProofWait {
    /// Takes the first unverified block at a time, if there is one. It is waited for until `patience` has passed.
    pub(crate) fn turn(
        &mut self,
        block: Option<Fr>,
        now: Instant,
        patience: Duration,
    ) -> ProofTurn {
        let Some(block) = block else {
            *self = Self::default();
            return ProofTurn::Build;
        };
        if self.abandoned == Some(block) {
            return ProofTurn::Build;
        }
        let known = self.of.filter(|(of, _)| *of == block);
        let (_, since) = *self.of.insert(known.unwrap_or((block, now)));
        if now.saturating_duration_since(since) >= patience {
            *self = Self { of: None, abandoned: Some(block) };
            return ProofTurn::Abandon;
        }
        if known.is_none() { ProofTurn::Start } else { ProofTurn::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Goal: every block is waited for in full. Method: the script of a chain in which a block is verified and the next
    /// one is not, and in which a prune puts another block in the place of an abandoned one.
    #[test]
    fn each_block_has_its_own_wait() {
        use ProofTurn::{Abandon, Build, Start, Wait};
        let start = Instant::now();
        let [one, two, other] = [1u64, 2, 3].map(Fr::from);
        let script = [
            (0, None, Build),
            (0, Some(one), Start),
            (59, Some(one), Wait),
            // The first is verified, without a moment in which all are.
            (59, Some(two), Start),
            (118, Some(two), Wait),
            (119, Some(two), Abandon),
            (120, Some(two), Build),
            // Another block has its number now.
            (121, Some(other), Start),
            (180, Some(other), Wait),
            (181, Some(other), Abandon),
            (182, None, Build),
            (183, Some(other), Start),
        ];
        let mut wait = ProofWait::default();
        for (second, block, expected) in script {
            let now = start + Duration::from_secs(second);
            assert_eq!(wait.turn(block, now, PATIENCE), expected, "second {second}");
        }
    }

    #[test]
    fn without_patience_nothing_is_waited_for() {
        let (mut wait, now) = (ProofWait::default(), Instant::now());
        let block = Some(Fr::from(1u64));
        assert_eq!(wait.turn(block, now, Duration::ZERO), ProofTurn::Abandon);
        assert!(!wait.turn(block, now, Duration::ZERO).waits());
    }
}
