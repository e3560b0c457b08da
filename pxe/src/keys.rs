//! A user's keys and address.
//!
//! The nullifier key spends; the viewing key finds and reads notes. An address is written as `rm1`
//! and the hex of npk ‖ compressed viewing key ‖ four bytes of SHA-256 over both.

use std::fmt;
use std::str::FromStr;

use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{PrimeField, UniformRand};
use ark_grumpkin::{Affine, Projective};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use rollmill_algebra::Fr;
use rollmill_protocol::field;
use rollmill_protocol::note::{self, ViewingKey};
use sha2::{Digest, Sha256};

use crate::error::PxeError;

/// Bytes of a compressed Grumpkin point.
pub const POINT_BYTES: usize = 32;
const PREFIX: &str = "rm1";
const CHECK_BYTES: usize = 4;

/// A secret scalar of Grumpkin, whose order is BN254's base field.
pub type ViewingSecret = ark_grumpkin::Fr;

/// Secret keys of one account.
#[derive(Clone)]
pub struct Keys {
    pub nsk: Fr,
    pub vsk: ViewingSecret,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("address", &self.address().to_string()).finish_non_exhaustive()
    }
}

impl Keys {
    /// New keys out of a secure source of randomness.
    pub fn generate(rng: &mut (impl rand::RngCore + rand::CryptoRng)) -> Self {
        Self { nsk: Fr::rand(rng), vsk: ViewingSecret::rand(rng) }
    }

    /// Keys out of a 32-byte seed, for development networks whose accounts must be reproducible.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let wide = |label: &[u8]| {
            let mut out = [0u8; 64];
            for (i, half) in out.chunks_mut(32).enumerate() {
                let mut hasher = Sha256::new();
                hasher.update(b"rollmill account v1");
                hasher.update(label);
                hasher.update([i as u8]);
                hasher.update(seed);
                half.copy_from_slice(&hasher.finalize());
            }
            out
        };
        Self {
            nsk: Fr::from_le_bytes_mod_order(&wide(b"nullifier")),
            vsk: ViewingSecret::from_le_bytes_mod_order(&wide(b"viewing")),
        }
    }

    /// The public side.
    pub fn address(&self) -> Address {
        let vpk = (Projective::generator() * self.vsk).into_affine();
        Address { npk: note::npk(&self.nsk), vpk }
    }

    /// Encodes both secrets: 32 bytes each, big-endian and little-endian canonical.
    pub(crate) fn to_secret_bytes(&self) -> Vec<u8> {
        let mut out = field::to_bytes(&self.nsk).to_vec();
        // Writing into a vector does not fail.
        let _ = self.vsk.serialize_compressed(&mut out);
        out
    }

    pub(crate) fn from_secret_bytes(bytes: &[u8]) -> Option<Self> {
        let (nsk, vsk) = bytes.split_at_checked(32)?;
        let nsk = field::from_bytes(nsk.try_into().ok()?)?;
        if vsk.len() != 32 {
            return None;
        }
        Some(Self { nsk, vsk: ViewingSecret::deserialize_compressed(vsk).ok()? })
    }
}

/// What a sender needs to know of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub npk: Fr,
    pub vpk: Affine,
}

impl Address {
    /// The viewing key as the protocol hashes it.
    pub fn viewing(&self) -> ViewingKey {
        match self.vpk.xy() {
            Some((x, y)) => ViewingKey { x, y },
            None => ViewingKey { x: Fr::from(0u64), y: Fr::from(0u64) },
        }
    }

    /// The address as a field element: the owner in notes.
    pub fn to_field(&self) -> Fr {
        note::address(&self.npk, &self.viewing())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = field::to_bytes(&self.npk).to_vec();
        out.extend_from_slice(&point_to_bytes(&self.vpk));
        out
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.bytes();
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK_BYTES]);
        write!(f, "{PREFIX}{}", hex::encode(bytes))
    }
}

impl FromStr for Address {
    type Err = PxeError;

    fn from_str(text: &str) -> Result<Self, PxeError> {
        let bad = |why: &str| PxeError::Address { why: why.to_owned() };
        let body = text.strip_prefix(PREFIX).ok_or_else(|| bad("it does not start with rm1"))?;
        let expected = PREFIX.len() + 2 * (32 + POINT_BYTES + CHECK_BYTES);
        let got = text.chars().count();
        if got != expected {
            let what = if got < expected { "a part is missing" } else { "it is too long" };
            return Err(bad(&format!("it has {got} characters, expected {expected}; {what}")));
        }
        let bytes = hex::decode(body)
            .map_err(|_| bad("after rm1 it has another character than 0 to 9 and a to f"))?;
        let (body, check) = bytes.split_at(32 + POINT_BYTES);
        if Sha256::digest(body)[..CHECK_BYTES] != *check {
            return Err(bad("its check sum is wrong; a character was mistyped"));
        }
        let (npk, vpk) = body.split_at(32);
        let npk: [u8; 32] = npk.try_into().map_err(|_| bad("it has the wrong length"))?;
        Ok(Self {
            npk: field::from_bytes(&npk).ok_or_else(|| bad("its first key is not canonical"))?,
            vpk: point_from_bytes(vpk).ok_or_else(|| bad("its viewing key is not a point"))?,
        })
    }
}

/// Compresses a point.
pub fn point_to_bytes(point: &Affine) -> [u8; POINT_BYTES] {
    let mut bytes = Vec::with_capacity(POINT_BYTES);
    // Writing into a vector does not fail; a compressed point has 32 bytes.
    let _ = point.serialize_compressed(&mut bytes);
    bytes.try_into().unwrap_or([0; POINT_BYTES])
}

/// Reads a compressed point; the identity is refused.
pub fn point_from_bytes(bytes: &[u8]) -> Option<Affine> {
    let point = Affine::deserialize_compressed(bytes).ok()?;
    (!point.is_zero() && point_to_bytes(&point) == bytes).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text_and_a_mistyped_one_is_refused() {
        let address = Keys::from_seed(&[7; 32]).address();
        let text = address.to_string();
        assert_eq!(text.parse::<Address>().expect("its own text"), address);
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = if bytes[i] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).expect("ascii");
            assert!(changed.parse::<Address>().is_err(), "character {i}");
        }
        assert!(text[..text.len() - 2].parse::<Address>().is_err());
    }

    #[test]
    fn secrets_survive_their_bytes() {
        let keys = Keys::from_seed(&[9; 32]);
        let again = Keys::from_secret_bytes(&keys.to_secret_bytes()).expect("own bytes");
        assert_eq!(again.address(), keys.address());
        assert!(Keys::from_secret_bytes(&[0xff; 64]).is_none());
    }
}
