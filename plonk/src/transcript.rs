//! Fiat–Shamir transcripts: one for proofs that a circuit verifies, one for the proof that L1 does.
//!
//! The pattern of messages is fixed by the shape; its one variable, the number of public inputs, is
//! part of the start state. `docs/book/transcript.md` argues that nothing can be reordered or left out.

use ark_ff::PrimeField;
use rollmill_algebra::bytes::{fr_to_bytes, g1_to_bytes};
pub use rollmill_algebra::pair::halves;
use rollmill_algebra::{Fq, Fr, G1Affine, domain, poseidon2};
use sha3::{Digest, Keccak256};

use crate::gates::power_of_two;
use crate::weaken::gone;

/// Domain tag of the Poseidon2 transcript.
pub const TRANSCRIPT_DOMAIN: u64 = domain::TRANSCRIPT;
const KECCAK_LABEL: &[u8] = b"rollmill plonk v1";

/// Which transcript a circuit's proofs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TranscriptKind {
    /// For proofs that are verified in a circuit.
    Poseidon2,
    /// For the proof that is verified on L1.
    Keccak,
}

/// Absorbs messages and returns challenges.
#[derive(Debug, Clone)]
pub enum Transcript {
    /// A duplex sponge of rate 3 over Fr.
    Poseidon2 { state: [Fr; 4], queue: Vec<Fr> },
    /// A hash chain of 32 bytes.
    Keccak { state: [u8; 32], buffer: Vec<u8> },
}

/// `x mod r`, for a coordinate below q. Two points of the curve that agree in both coordinates modulo
/// r are equal except with negligible chance, since q − r < 2^128 (see `docs/book/transcript.md`).
pub fn fq_mod_r(x: &Fq) -> Fr {
    Fr::from_le_bytes_mod_order(&ark_ff::BigInteger::to_bytes_le(&x.into_bigint()))
}

/// `2c + 1 − 2^128`: the odd, signed coefficient that represents the short value `c`.
pub fn short_coefficient(c: u128) -> Fr {
    let c = Fr::from(c);
    c + c + Fr::from(1u64) - power_of_two(128)
}

impl Transcript {
    /// A transcript for a proof with `n_public` public inputs.
    pub fn new(kind: TranscriptKind, n_public: usize) -> Self {
        let n_public = if gone("transcript.n_public") { 0 } else { n_public };
        match kind {
            TranscriptKind::Poseidon2 => {
                let tag = u128::from(TRANSCRIPT_DOMAIN) | (n_public as u128) << 64;
                let zero = Fr::from(0u64);
                Self::Poseidon2 { state: [zero, zero, zero, Fr::from(tag)], queue: Vec::new() }
            }
            TranscriptKind::Keccak => {
                let mut hasher = Keccak256::new();
                hasher.update(KECCAK_LABEL);
                hasher.update(fr_to_bytes(&Fr::from(n_public as u64)));
                Self::Keccak { state: hasher.finalize().into(), buffer: Vec::new() }
            }
        }
    }

    /// Takes a field element.
    pub fn absorb(&mut self, value: &Fr) {
        match self {
            Self::Poseidon2 { queue, .. } => queue.push(*value),
            Self::Keccak { buffer, .. } => buffer.extend_from_slice(&fr_to_bytes(value)),
        }
    }

    /// Takes a point, which is not the identity.
    pub fn absorb_point(&mut self, point: &G1Affine) {
        match self {
            Self::Poseidon2 { queue, .. } => queue.extend([fq_mod_r(&point.x), fq_mod_r(&point.y)]),
            Self::Keccak { buffer, .. } => buffer.extend_from_slice(&g1_to_bytes(point)),
        }
    }

    /// Gives `count` challenges.
    pub fn squeeze(&mut self, count: usize) -> Vec<Fr> {
        match self {
            Self::Poseidon2 { state, queue } => {
                if queue.is_empty() {
                    poseidon2::permute(state);
                }
                for chunk in queue.chunks(3) {
                    for (slot, value) in state.iter_mut().zip(chunk) {
                        *slot += value;
                    }
                    poseidon2::permute(state);
                }
                queue.clear();
                let mut out = Vec::with_capacity(count);
                while out.len() < count {
                    if !out.is_empty() {
                        poseidon2::permute(state);
                    }
                    out.extend_from_slice(&state[..3.min(count - out.len())]);
                }
                out
            }
            Self::Keccak { .. } => self.keccak_states(count).iter().map(cut).collect(),
        }
    }

    /// Gives `count` short values of at most 128 bits: two for each element squeezed.
    pub fn squeeze_short(&mut self, count: usize) -> Vec<u128> {
        let elements = count.div_ceil(2);
        let mut out: Vec<u128> = match self {
            Self::Poseidon2 { .. } => {
                self.squeeze(elements).iter().flat_map(|e| <[u128; 2]>::from(halves(e))).collect()
            }
            Self::Keccak { .. } => {
                let half =
                    |bytes: &[u8]| bytes.iter().fold(0u128, |acc, b| acc << 8 | u128::from(*b));
                let states = self.keccak_states(elements);
                states.iter().flat_map(|s| [half(&s[16..]), half(&s[..16])]).collect()
            }
        };
        out.truncate(count);
        out
    }

    fn keccak_states(&mut self, count: usize) -> Vec<[u8; 32]> {
        let Self::Keccak { state, buffer } = self else { return Vec::new() };
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            let mut hasher = Keccak256::new();
            hasher.update(*state);
            hasher.update(&*buffer);
            buffer.clear();
            *state = hasher.finalize().into();
            out.push(*state);
        }
        out
    }
}

/// A 256-bit state cut to 253 bits, which is below r.
fn cut(state: &[u8; 32]) -> Fr {
    let mut bytes = *state;
    bytes[0] &= 0x1f;
    Fr::from_be_bytes_mod_order(&bytes)
}
