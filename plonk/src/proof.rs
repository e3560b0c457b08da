//! A proof: its parts, their order, and its one encoding.

use ark_ec::AffineRepr;
use rollmill_algebra::bytes::{
    DecodeError, FIELD_BYTES, G1_BYTES, fr_from_slice, fr_to_bytes, g1_from_slice, g1_to_bytes,
};
use rollmill_algebra::{Fr, G1Affine};

use crate::gates::Cells;
use crate::shape::{
    HELPERS, LIMBS, NEXT_ROTATIONS, QUOTIENT_CHUNKS, ROUTED, ROUTED_ROTATIONS, WIRES, fixed,
};
use crate::weaken::gone;

/// Columns opened at ζ only: m, helpers, quotient chunks, fixed columns.
pub const SET1: usize = 1 + HELPERS + QUOTIENT_CHUNKS + fixed::COUNT;
/// Columns opened at ζ and ζω: limb columns, z, s.
pub const SET2: usize = LIMBS + 2;
/// Columns opened at ζ, ζω and ζω²: routed columns.
pub const SET3: usize = ROUTED;
/// All columns that are opened; each has one short coefficient.
pub const CLAIMS: usize = SET1 + SET2 + SET3;
/// All evaluations of a proof.
pub const EVALUATIONS: usize = SET1 + NEXT_ROTATIONS * SET2 + ROUTED_ROTATIONS * SET3;
/// Points of a proof before the openings.
pub const COMMITMENTS: usize = WIRES + 1 + 2 + HELPERS + QUOTIENT_CHUNKS;
/// Bytes of a proof: every point uncompressed, every number 32 bytes, big-endian.
pub const PROOF_BYTES: usize = (COMMITMENTS + 2) * G1_BYTES + EVALUATIONS * FIELD_BYTES;

/// Why bytes are not a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The proof has the wrong length.
    ///
    /// Do: Get the proof again; it is cut off or of another version.
    #[error("PLK-020: a proof has {PROOF_BYTES} bytes, got {got}")]
    Length { got: usize },
    /// A part of the proof is not canonical, not on the curve, or the identity.
    ///
    /// Do: Reject the proof. Test the device that made it.
    #[error("PLK-021: part {part} of the proof is malformed: {source}")]
    Part { part: usize, source: DecodeError },
    /// A commitment is the identity, which no honest prover produces.
    ///
    /// Do: Reject the proof.
    #[error("PLK-022: part {part} of the proof is the identity point")]
    Identity { part: usize },
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
    /// Evaluations by set: set 1 at ζ; set 2 column by column at ζ, ζω; set 3 at ζ, ζω, ζω².
    pub evaluations: [Fr; EVALUATIONS],
    /// Opening quotient.
    pub w: G1Affine,
    /// Opening of the linearised combination at z′.
    pub w_prime: G1Affine,
}

impl Proof {
    /// The points in the order in which they are sent.
    pub fn points(&self) -> [G1Affine; COMMITMENTS + 2] {
        let mut all = self
            .wires
            .iter()
            .chain([&self.m, &self.z])
            .chain(&self.h)
            .chain([&self.s])
            .chain(&self.t)
            .chain([&self.w, &self.w_prime]);
        std::array::from_fn(|_| all.next().copied().unwrap_or_default())
    }

    /// The one encoding: commitments, evaluations, the two opening points.
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

    /// Reads a proof; every part is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        let is_long = bytes.len() > PROOF_BYTES && gone("verifier.proof.length");
        if bytes.len() != PROOF_BYTES && !is_long {
            return Err(ProofError::Length { got: bytes.len() });
        }
        let (head, rest) = bytes.split_at(COMMITMENTS * G1_BYTES);
        let (middle, tail) = rest.split_at(EVALUATIONS * FIELD_BYTES);
        let tail = &tail[..2 * G1_BYTES];
        let mut points = [G1Affine::default(); COMMITMENTS + 2];
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
                .map_err(|source| ProofError::Part { part: COMMITMENTS + 2 + i, source })?;
        }
        Ok(Self::from_parts(&points, evaluations))
    }

    /// Puts points in the order of [`Self::points`] and evaluations together.
    pub fn from_parts(
        points: &[G1Affine; COMMITMENTS + 2],
        evaluations: [Fr; EVALUATIONS],
    ) -> Self {
        let at = |i: usize| points[i];
        Self {
            wires: std::array::from_fn(at),
            m: at(12),
            z: at(13),
            h: [at(14), at(15)],
            s: at(16),
            t: std::array::from_fn(|i| at(17 + i)),
            evaluations,
            w: at(22),
            w_prime: at(23),
        }
    }

    /// The commitments in the order of the claims, with the key's fixed commitments in their place.
    pub fn claims(&self, fixed: &[G1Affine; fixed::COUNT]) -> [G1Affine; CLAIMS] {
        let mut all = [&self.m]
            .into_iter()
            .chain(&self.h)
            .chain(&self.t)
            .chain(fixed)
            .chain(&self.wires[ROUTED..])
            .chain([&self.z, &self.s])
            .chain(&self.wires[..ROUTED]);
        std::array::from_fn(|_| all.next().copied().unwrap_or_default())
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
/// chunks. The one place that knows the order.
pub fn cells_from_evaluations<E: Clone>(
    e: &[E; EVALUATIONS],
    computed: Computed<E>,
) -> (Cells<E>, [E; QUOTIENT_CHUNKS]) {
    let set2 = |column: usize, r: usize| e[SET1 + NEXT_ROTATIONS * column + r].clone();
    let start3 = SET1 + NEXT_ROTATIONS * SET2;
    let cells = Cells {
        w: std::array::from_fn(|r| {
            std::array::from_fn(|k| e[start3 + ROUTED_ROTATIONS * k + r].clone())
        }),
        l: std::array::from_fn(|r| std::array::from_fn(|k| set2(k, r))),
        fixed: std::array::from_fn(|k| e[1 + HELPERS + QUOTIENT_CHUNKS + k].clone()),
        m: e[0].clone(),
        h: std::array::from_fn(|k| e[1 + k].clone()),
        z: std::array::from_fn(|r| set2(LIMBS, r)),
        s: std::array::from_fn(|r| set2(LIMBS + 1, r)),
        x: computed.x,
        active: computed.active,
        first: computed.first,
        last: computed.last,
        public: computed.public,
    };
    (cells, std::array::from_fn(|i| e[1 + HELPERS + i].clone()))
}
