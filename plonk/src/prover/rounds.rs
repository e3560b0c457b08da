//! What the prover sends and draws, round by round.

use ark_ec::AffineRepr;
use rollmill_algebra::device::Device;
use rollmill_algebra::{Fr, G1Affine};

use super::{Probe, ProveError};
use crate::proof::EVALUATIONS;
use crate::schedule::{CLAIMS, Challenge, Drawn, Message, POINTS, ROUNDS, Round};
use crate::transcript::{Transcript, short_coefficient};
use crate::weaken::{self, gone};

/// The prover's side of the rounds: what it has sent, and what was drawn.
pub(super) struct Rounds {
    transcript: Transcript,
    points: Vec<G1Affine>,
    left: std::slice::Iter<'static, Round>,
    pub(super) drawn: Drawn<Fr>,
}

impl Rounds {
    pub(super) fn new(transcript: Transcript) -> Self {
        let points = Vec::with_capacity(POINTS);
        Self { transcript, points, left: ROUNDS.iter(), drawn: Drawn::new() }
    }

    /// The round that is next.
    fn round(&self) -> &'static Round {
        self.left.as_slice().first().expect("the prover has no more rounds than the schedule")
    }

    /// Sends the commitments of one round.
    pub(super) fn send(&mut self, commitments: Vec<G1Affine>) -> Result<(), ProveError> {
        assert_eq!(
            commitments.len(),
            self.round().points(),
            "a round sends what the schedule lists"
        );
        for point in commitments {
            if point.is_zero() {
                return Err(ProveError::Identity);
            }
            if !gone(weaken::POINT[self.points.len()]) {
                self.transcript.absorb_point(&point);
            }
            self.points.push(point);
        }
        Ok(())
    }

    /// Sends the evaluations.
    pub(super) fn send_evaluations(&mut self, evaluations: &[Fr; EVALUATIONS]) {
        assert_eq!(
            self.round().sends,
            Message::Evaluations,
            "a round sends what the schedule lists"
        );
        if !gone("transcript.evaluations") {
            evaluations.iter().for_each(|e| self.transcript.absorb(e));
        }
    }

    /// Draws what follows the round's message, and ends the round, unless the probe stops the proof.
    pub(super) fn draw<D: Device, P: Probe<D> + ?Sized>(
        &mut self,
        probe: &mut P,
    ) -> Result<(), ProveError> {
        probe.goes_on()?;
        let round = self.round();
        let mut values = match round.draws {
            [Challenge::Rho] => {
                let short = self.transcript.squeeze_short(CLAIMS);
                short.into_iter().map(short_coefficient).collect()
            }
            several => self.transcript.squeeze(several.len()),
        };
        probe.challenges(&mut values);
        self.drawn.put(round, values);
        self.left.next();
        Ok(())
    }

    /// All points. The last round's challenge is the verifier's alone.
    pub(super) fn points(self) -> [G1Affine; POINTS] {
        self.points.try_into().expect("every round was sent")
    }
}
