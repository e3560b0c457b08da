//! A proof: its parts, their order, and its only encoding.

use ark_ec::AffineRepr;
use rollmill_algebra::bytes::{
    DecodeError, FIELD_BYTES, G1_BYTES, fr_from_slice, fr_to_bytes, g1_from_slice, g1_to_bytes,
};
use rollmill_algebra::{Fr, G1Affine};

use crate::gates::Cells;
use crate::schedule::{CLAIM_ORDER, Group};
pub use crate::schedule::{CLAIMS, COMMITMENTS, EVALUATIONS, POINTS};
use crate::shape::{HELPERS, QUOTIENT_CHUNKS, ROUTED, WIRES, fixed};
use crate::weaken::gone;

/// Bytes of a proof: every point uncompressed, every number 32 bytes, big-endian.
pub const PROOF_BYTES: usize = POINTS * G1_BYTES + EVALUATIONS * FIELD_BYTES;

/// Why bytes are not a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The proof has the wrong length.
    ///
    /// Do: Get the proof again; it is cut off or of another version.
    #[error("{code}: a proof has {PROOF_BYTES} bytes, got {got}", code = self.code())]
    Length { got: usize },
    /// A part of the proof is not canonical, not on the curve, or the identity.
    ///
    /// Do: Reject the proof. Test the device that made it.
    #[error("{code}: part {part} of the proof is malformed: {cause}", code = self.code(), cause = rollmill_errors::Bare(.source))]
    Part { part: usize, source: DecodeError },
    /// A commitment is the identity, which no honest prover produces.
    ///
    /// Do: Reject the proof.
    #[error("{code}: part {part} of the proof is the identity point", code = self.code())]
    Identity { part: usize },
}

rollmill_errors::coded! {
    ProofError {
        Self::Length { .. } => "PLK-020",
        Self::Part { .. } => "PLK-021",
        Self::Identity { .. } => "PLK-022",
    }
}

/// A proof for one circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Wire columns, routed ones first.
    pub wires: [G1Affine; WIRES],
    /// Multiplicities.
    pub m: G1Affine,
    /// Permutation product.
    pub z: G1Affine,
    /// Lookup helpers.
    pub h: [G1Affine; HELPERS],
    /// Bus sum.
    pub s: G1Affine,
    /// Quotient chunks.
    pub t: [G1Affine; QUOTIENT_CHUNKS],
    /// Evaluations of each claim in order, at as many points as its set is opened at.
    pub evaluations: [Fr; EVALUATIONS],
    /// Opening quotient.
    pub w: G1Affine,
    /// Opening of the linearised combination at z′.
    pub w_prime: G1Affine,
}

impl Proof {
    /// The points in the order in which they are sent.
    pub fn points(&self) -> [G1Affine; POINTS] {
        let mut points = [None; POINTS];
        for group in Group::ALL.iter().filter(|group| **group != Group::Fixed) {
            for (column, point) in points[group.points()].iter_mut().enumerate() {
                *point = Some(self.point(*group, column));
            }
        }
        points.map(|point| point.expect("each point of a proof is of one group"))
    }

    /// One point of a group.
    fn point(&self, group: Group, column: usize) -> G1Affine {
        match group {
            Group::Routed => self.wires[column],
            Group::Limbs => self.wires[ROUTED + column],
            Group::Multiplicities => self.m,
            Group::Product => self.z,
            Group::Helpers => self.h[column],
            Group::Sum => self.s,
            Group::Chunks => self.t[column],
            Group::Opening => self.w,
            Group::OpeningAtZPrime => self.w_prime,
            Group::Fixed => unreachable!("the key has the commitments to fixed columns"),
        }
    }

    /// Encodes the proof in [`PROOF_BYTES`] bytes: commitments, evaluations, the two opening points.
    pub fn to_bytes(&self) -> Vec<u8> {
        let points = self.points();
        let mut out = Vec::with_capacity(PROOF_BYTES);
        for point in &points[..COMMITMENTS] {
            out.extend_from_slice(&g1_to_bytes(point));
        }
        for value in &self.evaluations {
            out.extend_from_slice(&fr_to_bytes(value));
        }
        for point in &points[COMMITMENTS..] {
            out.extend_from_slice(&g1_to_bytes(point));
        }
        out
    }

    /// Decodes a proof.
    ///
    /// # Errors
    /// [`ProofError`], if the length is wrong, a part is not canonical or not on the curve, or a commitment is the
    /// identity.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        let is_long = bytes.len() > PROOF_BYTES && gone("verifier.proof.length");
        if bytes.len() != PROOF_BYTES && !is_long {
            return Err(ProofError::Length { got: bytes.len() });
        }
        let (head, rest) = bytes.split_at(COMMITMENTS * G1_BYTES);
        let (middle, tail) = rest.split_at(EVALUATIONS * FIELD_BYTES);
        let tail = &tail[..(POINTS - COMMITMENTS) * G1_BYTES];
        let mut points = [G1Affine::default(); POINTS];
        for (part, (slot, chunk)) in
            points.iter_mut().zip(head.chunks(G1_BYTES).chain(tail.chunks(G1_BYTES))).enumerate()
        {
            *slot = g1_from_slice(chunk).map_err(|source| ProofError::Part { part, source })?;
            if slot.is_zero() && !gone("verifier.proof.identity") {
                return Err(ProofError::Identity { part });
            }
        }
        let mut evaluations = [Fr::from(0u64); EVALUATIONS];
        for (i, (slot, chunk)) in evaluations.iter_mut().zip(middle.chunks(FIELD_BYTES)).enumerate()
        {
            *slot = fr_from_slice(chunk)
                .map_err(|source| ProofError::Part { part: POINTS + i, source })?;
        }
        Ok(Self::from_parts(&points, evaluations))
    }

    /// A proof from its points, in the order of [`Self::points`], and its evaluations.
    pub fn from_parts(points: &[G1Affine; POINTS], evaluations: [Fr; EVALUATIONS]) -> Self {
        let at = |group: Group, column: usize| points[group.point() + column];
        let wire = |k: usize| match k.checked_sub(ROUTED) {
            None => at(Group::Routed, k),
            Some(limb) => at(Group::Limbs, limb),
        };
        Self {
            wires: std::array::from_fn(wire),
            m: at(Group::Multiplicities, 0),
            z: at(Group::Product, 0),
            h: std::array::from_fn(|i| at(Group::Helpers, i)),
            s: at(Group::Sum, 0),
            t: std::array::from_fn(|i| at(Group::Chunks, i)),
            evaluations,
            w: at(Group::Opening, 0),
            w_prime: at(Group::OpeningAtZPrime, 0),
        }
    }

    /// The commitments in the order of the claims, with the key's fixed commitments in their place.
    pub fn claims(&self, fixed: &[G1Affine; fixed::COUNT]) -> [G1Affine; CLAIMS] {
        let points = self.points();
        CLAIM_ORDER.map(|claim| claim.pick(&points, fixed))
    }
}

/// What a verifier computes by itself at ζ.
#[derive(Debug, Clone)]
pub struct Computed<E> {
    /// ζ.
    pub x: E,
    /// Value of the indicator of non-blinding rows.
    pub active: E,
    /// Value of the Lagrange polynomial of row 0.
    pub first: E,
    /// Value of the Lagrange polynomial of the first blinding row.
    pub last: E,
    /// Value of the public-input polynomial.
    pub public: E,
}

/// Sorts the evaluations of a proof into the cells the gates are written over, and the quotient
/// chunks.
pub fn cells_from_evaluations<E: Clone>(
    e: &[E; EVALUATIONS],
    computed: Computed<E>,
) -> (Cells<E>, [E; QUOTIENT_CHUNKS]) {
    let at = |group: Group, column: usize, r: usize| e[group.evaluation(column, r)].clone();
    let here = |group: Group, column: usize| at(group, column, 0);
    let cells = Cells {
        w: std::array::from_fn(|r| std::array::from_fn(|k| at(Group::Routed, k, r))),
        l: std::array::from_fn(|r| std::array::from_fn(|k| at(Group::Limbs, k, r))),
        fixed: std::array::from_fn(|k| here(Group::Fixed, k)),
        m: here(Group::Multiplicities, 0),
        h: std::array::from_fn(|k| here(Group::Helpers, k)),
        z: std::array::from_fn(|r| at(Group::Product, 0, r)),
        s: std::array::from_fn(|r| at(Group::Sum, 0, r)),
        x: computed.x,
        active: computed.active,
        first: computed.first,
        last: computed.last,
        public: computed.public,
    };
    (cells, std::array::from_fn(|i| here(Group::Chunks, i)))
}
