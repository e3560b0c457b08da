//! snarkjs's `.ptau` files of bn128, which is BN254.
//!
//! # Layout
//! Integers are little-endian. `ptau`, version 1 (u32), number of sections (u32); each section: type
//! (u32), length (u64), contents.
//!
//! | section | contents |
//! | --- | --- |
//! | 1 | 32 (u32), q (32 bytes), power k (u32), power of the ceremony (u32) |
//! | 2 | `[τ^i]` in G1 for i below 2^(k+1) − 1, 64 bytes each |
//! | 3 | `[τ^i]` in G2 for i below 2^k, 128 bytes each |
//! | 7 | number of contributions (u32), and a description of each, which is not read |
//! | others | powers for other proof systems; not read |
//!
//! Coordinates are little-endian in Montgomery form with R = 2^256, x before y, c0 before c1; the
//! identity is all zero. The contributions are not checked: a pinned digest shows that an SRS is a
//! ceremony's, and [`Srs::check`] that it is an SRS.
//!
//! Source: `src/powersoftau_utils.js` and `src/powersoftau_new.js` of snarkjs 0.7.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use ark_bn254::{Bn254, Fq2};
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{BigInt, BigInteger, PrimeField};
use rayon::prelude::*;
use rollmill_algebra::bytes::{DecodeError, G1_BYTES, G2_BYTES};
use rollmill_algebra::{Fq, Fr, G1Affine, G2Affine, G2Projective};
use sha2::{Digest, Sha256};

use super::{Origin, Srs, SrsError, origin_of, unreadable};
use crate::weaken::gone;

const MAGIC: &[u8; 4] = b"ptau";
const VERSION: u32 = 1;
const HEADER: u32 = 1;
const TAU_G1: u32 = 2;
const TAU_G2: u32 = 3;
const CONTRIBUTIONS: u32 = 7;
const FIELD_BYTES: usize = 32;
const HEADER_BYTES: u64 = 4 + FIELD_BYTES as u64 + 4 + 4;
/// The subgroup of Fr has 2^28 elements.
const POWER_MAX: u32 = 28;
/// A complete file has eleven.
const SECTIONS_MAX: u32 = 64;
/// Points read and decoded at a time.
const CHUNK: usize = 1 << 14;

impl Srs {
    /// Imports a `.ptau` file, checks all of its powers of τ that are read ([`Srs::check`] with `seed`, the
    /// same for G2, and [`Srs::require_secret`]), and keeps the first `powers` points in G1 or all of them.
    pub fn import_ptau<R: Read + Seek>(
        from: &mut R,
        powers: Option<usize>,
        seed: u64,
    ) -> Result<Self, SrsError> {
        let sections = sections(from)?;
        let power = power(from, &sections)?;
        contributed(from, &sections)?;
        let in_file = (1usize << (power + 1)) - 1;
        let count = powers.unwrap_or(in_file);
        if in_file < count {
            return Err(SrsError::TooShort { need: count, have: in_file });
        }
        let points: Vec<G1Affine> =
            points(from, &sections, TAU_G1, G1_BYTES, (in_file, count), g1)?;
        let in_file = 1usize << power;
        // τ itself is needed however few powers are.
        let count = in_file.min(count).max(2);
        let high: Vec<G2Affine> =
            self::points(from, &sections, TAU_G2, G2_BYTES, (in_file, count), g2)?;
        let tau_g2 = *high.get(1).ok_or(SrsError::Generator)?;
        let in_subgroup = tau_g2.is_in_correct_subgroup_assuming_on_curve();
        if !in_subgroup && !gone("srs.ptau.subgroup") {
            let source = DecodeError::NotInSubgroup;
            return Err(SrsError::Point { index: 1, source });
        }
        let origin = origin_of(&tau_g2, Origin::Ceremony);
        let srs = Self { powers: points, tau_g2, origin };
        if !gone("srs.ptau.check") {
            srs.check(seed)?;
        }
        if !consistent(&srs, &high, seed) && !gone("srs.ptau.powers_g2") {
            return Err(SrsError::Powers);
        }
        if !gone("srs.ptau.known") {
            srs.require_secret()?;
        }
        Ok(srs)
    }
}

/// Where each section's contents lie: start and length.
type Sections = BTreeMap<u32, (u64, u64)>;

fn sections<R: Read + Seek>(from: &mut R) -> Result<Sections, SrsError> {
    let rejected = |expected: String, got: String| SrsError::Ptau { expected, got };
    let end = from.seek(SeekFrom::End(0)).map_err(unreadable)?;
    from.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let truncated = |at: u64| {
        rejected(
            "complete sections".to_owned(),
            format!("a file that ends at byte {end}, in the one at byte {at}"),
        )
    };
    if end < 12 {
        return Err(truncated(0));
    }
    let magic: [u8; 4] = exact(from)?;
    if magic != *MAGIC {
        let (expected, got) = (MAGIC.escape_ascii(), magic.escape_ascii());
        return Err(rejected(format!("the first bytes `{expected}`"), format!("`{got}`")));
    }
    let version = u32::from_le_bytes(exact(from)?);
    if version != VERSION {
        return Err(rejected(format!("version {VERSION}"), version.to_string()));
    }
    let count = u32::from_le_bytes(exact(from)?);
    if count > SECTIONS_MAX {
        return Err(rejected(format!("at most {SECTIONS_MAX} sections"), count.to_string()));
    }
    let mut found = Sections::new();
    let mut at = 12u64;
    for _ in 0..count {
        if end - at < 12 {
            return Err(truncated(at));
        }
        from.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let section = u32::from_le_bytes(exact(from)?);
        let length = u64::from_le_bytes(exact(from)?);
        let start = at + 12;
        if length > end - start {
            return Err(truncated(at));
        }
        if found.insert(section, (start, length)).is_some() {
            let what = "it is there twice".to_owned();
            return Err(SrsError::Section { section, what });
        }
        at = start + length;
    }
    if at != end {
        return Err(rejected(format!("an end at byte {at}"), format!("{end} bytes")));
    }
    Ok(found)
}

/// The power of the file, once its header is one of this curve.
fn power<R: Read + Seek>(from: &mut R, sections: &Sections) -> Result<u32, SrsError> {
    seek(from, sections, HEADER, HEADER_BYTES)?;
    let rejected = |what: String| Err(SrsError::Section { section: HEADER, what });
    let field_bytes = u32::from_le_bytes(exact(from)?);
    if field_bytes as usize != FIELD_BYTES {
        return rejected(format!("expected a prime of {FIELD_BYTES} bytes, got {field_bytes}"));
    }
    let prime: [u8; FIELD_BYTES] = exact(from)?;
    if prime[..] != Fq::MODULUS.to_bytes_le()[..] {
        return rejected(format!(
            "expected the prime of bn128, got 0x{} read from the last byte",
            hex::encode(prime.iter().rev().copied().collect::<Vec<u8>>())
        ));
    }
    let power = u32::from_le_bytes(exact(from)?);
    let ceremony = u32::from_le_bytes(exact(from)?);
    if !(1..=POWER_MAX).contains(&power) || !(power..=POWER_MAX).contains(&ceremony) {
        return rejected(format!(
            "expected powers from 1 to {POWER_MAX}, the ceremony's not below the file's, got {power} of {ceremony}"
        ));
    }
    Ok(power)
}

/// Requires the file to list a contribution: before the first one τ is 1.
fn contributed<R: Read + Seek>(from: &mut R, sections: &Sections) -> Result<(), SrsError> {
    let rejected = |what: &str| SrsError::Section { section: CONTRIBUTIONS, what: what.to_owned() };
    let (start, length) = *sections.get(&CONTRIBUTIONS).ok_or_else(|| rejected("it is missing"))?;
    if length < 4 {
        return Err(rejected("it has no number of contributions"));
    }
    from.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    match u32::from_le_bytes(exact(from)?) {
        0 if !gone("srs.ptau.contributions") => Err(rejected("it lists no contribution")),
        _ => Ok(()),
    }
}

/// Goes to a section's start, if it is there with the right length.
fn seek<R: Seek>(
    from: &mut R,
    sections: &Sections,
    section: u32,
    expected: u64,
) -> Result<(), SrsError> {
    let rejected = |what: String| SrsError::Section { section, what };
    let (start, length) =
        *sections.get(&section).ok_or_else(|| rejected("it is missing".to_owned()))?;
    if length != expected {
        return Err(rejected(format!("expected {expected} bytes, got {length}")));
    }
    from.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    Ok(())
}

/// Reads the first `count` of the `in_file` points of a section.
fn points<R: Read + Seek, P: Send>(
    from: &mut R,
    sections: &Sections,
    section: u32,
    point_bytes: usize,
    (in_file, count): (usize, usize),
    decode: fn(&[u8]) -> Result<P, DecodeError>,
) -> Result<Vec<P>, SrsError> {
    seek(from, sections, section, in_file as u64 * point_bytes as u64)?;
    let mut out = Vec::with_capacity(count);
    let mut bytes = vec![0u8; CHUNK.min(count) * point_bytes];
    while out.len() < count {
        let first = out.len();
        let part = &mut bytes[..CHUNK.min(count - first) * point_bytes];
        from.read_exact(part).map_err(unreadable)?;
        let decoded: Vec<P> = part
            .par_chunks(point_bytes)
            .enumerate()
            .map(|(i, chunk)| {
                decode(chunk).map_err(|source| SrsError::Point { index: first + i, source })
            })
            .collect::<Result<_, _>>()?;
        out.extend(decoded);
    }
    Ok(out)
}

/// A coordinate in Montgomery form.
fn coordinate(bytes: &[u8], index: usize) -> Result<Fq, DecodeError> {
    let got = bytes.len();
    let word = bytes.as_chunks::<FIELD_BYTES>().0.get(index);
    let word = word.ok_or(DecodeError::Length { expected: (index + 1) * FIELD_BYTES, got })?;
    let mut limbs = [0u64; 4];
    for (limb, bytes) in limbs.iter_mut().zip(word.as_chunks::<8>().0) {
        *limb = u64::from_le_bytes(*bytes);
    }
    let limbs = BigInt::new(limbs);
    match limbs < Fq::MODULUS {
        true => Ok(Fq::new_unchecked(limbs)),
        false => Err(DecodeError::NotCanonical),
    }
}

/// A point on the curve. All zeros decode to the identity, which is no power of τ, so [`Srs::check`] rejects it.
fn g1(bytes: &[u8]) -> Result<G1Affine, DecodeError> {
    let point = G1Affine::new_unchecked(coordinate(bytes, 0)?, coordinate(bytes, 1)?);
    if point.is_on_curve() { Ok(point) } else { Err(DecodeError::NotOnCurve) }
}

/// A point on the curve. Only `[τ]` is kept, and only `[τ]` is checked to be in the subgroup.
fn g2(bytes: &[u8]) -> Result<G2Affine, DecodeError> {
    let part = |index| Ok(Fq2::new(coordinate(bytes, index)?, coordinate(bytes, index + 1)?));
    let point = G2Affine::new_unchecked(part(0)?, part(2)?);
    if point.is_on_curve() { Ok(point) } else { Err(DecodeError::NotOnCurve) }
}

/// Whether the points in G2 are successive powers of τ as well. Only `[τ]` is kept, but a file whose other
/// points are wrong is damaged or forged.
fn consistent(srs: &Srs, high: &[G2Affine], seed: u64) -> bool {
    let Some(tau) = srs.powers.get(1) else { return high.first() == Some(&G2Affine::generator()) };
    if high.first() != Some(&G2Affine::generator()) {
        return false;
    }
    let mut hasher = Sha256::new();
    hasher.update(seed.to_be_bytes());
    hasher.update(rollmill_algebra::bytes::g1_to_bytes(tau));
    for point in high {
        hasher.update(rollmill_algebra::bytes::g2_to_bytes(point));
    }
    let rho = Fr::from_be_bytes_mod_order(&hasher.finalize());
    let pairs = high.len() - 1;
    let scalars = rollmill_algebra::field::powers(rho, pairs);
    let low = G2Projective::msm_unchecked(&high[..pairs], &scalars).into_affine();
    let next = G2Projective::msm_unchecked(&high[1..], &scalars).into_affine();
    Bn254::pairing(G1Affine::generator(), next) == Bn254::pairing(*tau, low)
}

fn exact<const N: usize, R: Read>(from: &mut R) -> Result<[u8; N], SrsError> {
    let mut bytes = [0u8; N];
    from.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
