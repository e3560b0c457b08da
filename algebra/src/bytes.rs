//! Canonical bytes of field elements and points, big-endian as Ethereum writes them.
//!
//! Each value has one encoding and decoding accepts no other, so that equal values mean equal bytes
//! and digests can be taken of them.

use ark_bn254::Fq2;
use ark_ec::AffineRepr;
use ark_ff::{BigInt, PrimeField};

use crate::{Fq, Fr, G1Affine, G2Affine};

/// Bytes of one field element, of Fr or Fq.
pub const FIELD_BYTES: usize = 32;
/// Bytes of one G1 point.
pub const G1_BYTES: usize = 64;
/// Bytes of one G2 point.
pub const G2_BYTES: usize = 128;

/// Why bytes were rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A number is not below the field's modulus.
    ///
    /// Do: Correct or fetch again the file, proof or message that contains it; the text around the
    /// code names it.
    #[error("{code}: a field element is not below the modulus", code = self.code())]
    NotCanonical,
    /// The coordinates do not satisfy the curve equation.
    ///
    /// Do: Correct or fetch again the file, proof or message that contains the point; the text around
    /// the code names it.
    #[error("{code}: a point is not on the curve", code = self.code())]
    NotOnCurve,
    /// The point is on the twist but outside the prime-order subgroup.
    ///
    /// Do: Reject the data: no honest program writes such a point. Fetch the file again from a
    /// source that you trust.
    #[error("{code}: a point is not in the prime-order subgroup", code = self.code())]
    NotInSubgroup,
    /// There are too few or too many bytes.
    ///
    /// Do: Fetch the file or message again; it is cut off or of another version.
    #[error("{code}: expected {expected} bytes, got {got}", code = self.code())]
    Length { expected: usize, got: usize },
}

rollmill_errors::coded! {
    DecodeError {
        Self::NotCanonical => "ALG-001",
        Self::NotOnCurve => "ALG-002",
        Self::NotInSubgroup => "ALG-003",
        Self::Length { .. } => "ALG-004",
    }
}

fn encode<F: PrimeField<BigInt = BigInt<4>>>(value: &F) -> [u8; FIELD_BYTES] {
    let mut out = [0; FIELD_BYTES];
    for (bytes, limb) in out.rchunks_exact_mut(8).zip(value.into_bigint().0) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    out
}

fn decode<F: PrimeField<BigInt = BigInt<4>>>(bytes: &[u8; FIELD_BYTES]) -> Result<F, DecodeError> {
    let mut limbs = [0u64; 4];
    for (i, byte) in bytes.iter().enumerate() {
        let limb = &mut limbs[3 - i / 8];
        *limb = *limb << 8 | u64::from(*byte);
    }
    F::from_bigint(BigInt::new(limbs)).ok_or(DecodeError::NotCanonical)
}

/// The part of `bytes` that starts at `32 · index`. The callers' array lengths keep it inside.
fn word<const N: usize>(bytes: &[u8; N], index: usize) -> &[u8; FIELD_BYTES] {
    bytes.as_chunks().0.get(index).expect("an index below N / 32")
}

/// Encodes a scalar.
pub fn fr_to_bytes(value: &Fr) -> [u8; FIELD_BYTES] {
    encode(value)
}

/// Decodes a scalar; rejects numbers from r up (ALG-001).
pub fn fr_from_bytes(bytes: &[u8; FIELD_BYTES]) -> Result<Fr, DecodeError> {
    decode(bytes)
}

/// Decodes a scalar from a slice, whose length is checked first (ALG-004, ALG-001).
pub fn fr_from_slice(bytes: &[u8]) -> Result<Fr, DecodeError> {
    decode(sized(bytes)?)
}

/// Encodes a coordinate.
pub fn fq_to_bytes(value: &Fq) -> [u8; FIELD_BYTES] {
    encode(value)
}

/// Decodes a coordinate; rejects numbers from q up (ALG-001).
pub fn fq_from_bytes(bytes: &[u8; FIELD_BYTES]) -> Result<Fq, DecodeError> {
    decode(bytes)
}

/// Encodes a point as `x ‖ y`; the identity is 64 zero bytes, as in EIP-196.
pub fn g1_to_bytes(point: &G1Affine) -> [u8; G1_BYTES] {
    let mut out = [0; G1_BYTES];
    if let Some((x, y)) = point.xy() {
        out[..32].copy_from_slice(&encode(&x));
        out[32..].copy_from_slice(&encode(&y));
    }
    out
}

/// Decodes a point (ALG-001, ALG-002). Every point on the curve is in the group: the cofactor is 1.
pub fn g1_from_bytes(bytes: &[u8; G1_BYTES]) -> Result<G1Affine, DecodeError> {
    let (x, y): (Fq, Fq) = (decode(word(bytes, 0))?, decode(word(bytes, 1))?);
    // (0, 0) is not on the curve, so it can encode the identity.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(G1Affine::identity());
    }
    let point = G1Affine::new_unchecked(x, y);
    if point.is_on_curve() { Ok(point) } else { Err(DecodeError::NotOnCurve) }
}

/// Decodes a point from a slice, whose length is checked first (ALG-004, then as above).
pub fn g1_from_slice(bytes: &[u8]) -> Result<G1Affine, DecodeError> {
    g1_from_bytes(sized(bytes)?)
}

/// Encodes a point as EIP-197 does: `x.im ‖ x.re ‖ y.im ‖ y.re`; the identity is all zero.
pub fn g2_to_bytes(point: &G2Affine) -> [u8; G2_BYTES] {
    let mut out = [0; G2_BYTES];
    if let Some((x, y)) = point.xy() {
        for (bytes, value) in out.chunks_exact_mut(32).zip([x.c1, x.c0, y.c1, y.c0]) {
            bytes.copy_from_slice(&encode(&value));
        }
    }
    out
}

/// Decodes a point and checks that it has order r (ALG-001, ALG-002, ALG-003).
pub fn g2_from_bytes(bytes: &[u8; G2_BYTES]) -> Result<G2Affine, DecodeError> {
    let x = Fq2::new(decode(word(bytes, 1))?, decode(word(bytes, 0))?);
    let y = Fq2::new(decode(word(bytes, 3))?, decode(word(bytes, 2))?);
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(G2Affine::identity());
    }
    let point = G2Affine::new_unchecked(x, y);
    if !point.is_on_curve() {
        return Err(DecodeError::NotOnCurve);
    }
    if !point.is_in_correct_subgroup_assuming_on_curve() {
        return Err(DecodeError::NotInSubgroup);
    }
    Ok(point)
}

fn sized<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length { expected: N, got: bytes.len() })
}

#[cfg(test)]
mod tests {
    use ark_ec::CurveGroup;
    use ark_ff::{AdditiveGroup, Field, UniformRand};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn one_encodes_as_31_zeros_and_a_one() {
        let mut expected = [0; 32];
        expected[31] = 1;
        assert_eq!(fr_to_bytes(&Fr::ONE), expected);
        assert_eq!(fq_to_bytes(&Fq::ONE), expected);
    }

    #[test]
    fn a_modulus_is_rejected_and_the_number_below_it_is_not() {
        let mut bytes = fr_to_bytes(&-Fr::ONE);
        assert_eq!(fr_from_bytes(&bytes), Ok(-Fr::ONE));
        bytes[31] += 1;
        assert_eq!(fr_from_bytes(&bytes), Err(DecodeError::NotCanonical));
        assert_eq!(fr_from_bytes(&[0xff; 32]), Err(DecodeError::NotCanonical));
        let mut bytes = fq_to_bytes(&-Fq::ONE);
        assert_eq!(fq_from_bytes(&bytes), Ok(-Fq::ONE));
        bytes[31] += 1;
        assert_eq!(fq_from_bytes(&bytes), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn a_wrong_length_is_named() {
        assert_eq!(fr_from_slice(&[0; 31]), Err(DecodeError::Length { expected: 32, got: 31 }));
        assert_eq!(g1_from_slice(&[0; 65]), Err(DecodeError::Length { expected: 64, got: 65 }));
    }

    #[test]
    fn the_identity_is_all_zero() {
        assert_eq!(g1_to_bytes(&G1Affine::identity()), [0; 64]);
        assert_eq!(g1_from_bytes(&[0; 64]), Ok(G1Affine::identity()));
        assert_eq!(g2_from_bytes(&[0; 128]), Ok(G2Affine::identity()));
    }

    #[test]
    fn a_point_off_the_curve_is_rejected() {
        let mut bytes = g1_to_bytes(&G1Affine::generator());
        bytes[63] ^= 1;
        assert_eq!(g1_from_bytes(&bytes), Err(DecodeError::NotOnCurve));
    }

    /// Method: walk x until a point of the twist is found; its order is r only by a rare accident.
    #[test]
    fn a_twist_point_of_wrong_order_is_rejected() {
        let point = (1u64..)
            .find_map(|x| {
                G2Affine::get_point_from_x_unchecked(Fq2::new(Fq::from(x), Fq::ZERO), false)
            })
            .unwrap();
        assert_eq!(g2_from_bytes(&g2_to_bytes(&point)), Err(DecodeError::NotInSubgroup));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn decoding_undoes_encoding(seed: u64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let scalar = Fr::rand(&mut rng);
            prop_assert_eq!(fr_from_bytes(&fr_to_bytes(&scalar)), Ok(scalar));
            let point = (G1Affine::generator() * scalar).into_affine();
            prop_assert_eq!(g1_from_bytes(&g1_to_bytes(&point)), Ok(point));
            let point = (G2Affine::generator() * scalar).into_affine();
            prop_assert_eq!(g2_from_bytes(&g2_to_bytes(&point)), Ok(point));
        }

        #[test]
        fn any_accepted_bytes_encode_back_to_themselves(bytes: [u8; 32]) {
            if let Ok(value) = fr_from_bytes(&bytes) {
                prop_assert_eq!(fr_to_bytes(&value), bytes);
            }
        }
    }
}
