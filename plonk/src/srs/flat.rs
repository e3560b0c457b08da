//! Barretenberg's flat files: `bn254_g1.dat`, 64 bytes per point, x‖y big-endian, and `bn254_g2.dat`,
//! the 128 bytes x.c0‖x.c1‖y.c0‖y.c1 of `[τ]` in G2.

use std::io::Read;

use rayon::prelude::*;
use rollmill_algebra::bytes::{G1_BYTES, G2_BYTES, g1_to_bytes, g2_from_bytes, g2_to_bytes};

use super::{Origin, Srs, SrsError, decode_points, origin_of, unreadable};
use crate::weaken::gone;

/// Offsets of each coordinate: in this crate's order (c1 before c0, as in EIP-197) and in Barretenberg's.
const SWAPPED: [(usize, usize); 4] = [(0, 32), (32, 0), (64, 96), (96, 64)];

impl Srs {
    /// Imports the two files, checks all of it ([`Srs::check`] with `seed`, [`Srs::require_secret`]), and
    /// keeps the first `powers` points or all of them.
    pub fn import_flat<A: Read, B: Read>(
        g1: A,
        g2: B,
        powers: Option<usize>,
        seed: u64,
    ) -> Result<Self, SrsError> {
        let bytes_max = powers.map_or(u64::MAX, |powers| powers.saturating_mul(G1_BYTES) as u64);
        let mut points = Vec::new();
        g1.take(bytes_max).read_to_end(&mut points).map_err(unreadable)?;
        // One byte more, so that a longer file is detected.
        let mut tau = Vec::new();
        g2.take(G2_BYTES as u64 + 1).read_to_end(&mut tau).map_err(unreadable)?;
        if gone("srs.flat.length") {
            tau.truncate(G2_BYTES);
        }
        let length = SrsError::Length { expected: G2_BYTES, got: tau.len() };
        let tau: &[u8; G2_BYTES] = tau.as_slice().try_into().map_err(|_| length)?;
        let tau_g2 =
            g2_from_bytes(&swapped(tau)).map_err(|source| SrsError::Point { index: 0, source })?;
        let powers_kept = decode_points(&points)?;
        let (need, have) = (powers.unwrap_or(0), powers_kept.len());
        if have < need && !gone("srs.flat.short") {
            return Err(SrsError::TooShort { need, have });
        }
        let origin = origin_of(&tau_g2, Origin::Ceremony);
        let srs = Self { powers: powers_kept, tau_g2, origin };
        if !gone("srs.flat.check") {
            srs.check(seed)?;
        }
        if !gone("srs.flat.known") {
            srs.require_secret()?;
        }
        Ok(srs)
    }

    /// The contents of `bn254_g1.dat` and `bn254_g2.dat`.
    pub fn to_flat(&self) -> (Vec<u8>, [u8; G2_BYTES]) {
        let points = self.powers.par_iter().flat_map_iter(g1_to_bytes).collect();
        (points, swapped(&g2_to_bytes(&self.tau_g2)))
    }
}

/// Converts between the two orders of coordinates. It is its own inverse.
fn swapped(from: &[u8; G2_BYTES]) -> [u8; G2_BYTES] {
    let mut out = [0u8; G2_BYTES];
    for (to, at) in SWAPPED {
        out[to..to + 32].copy_from_slice(&from[at..at + 32]);
    }
    out
}
