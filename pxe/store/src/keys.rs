//! Keys of an account: four kinds, and what a contract sees of them.
//!
//! An address commits to two secrets: the nullifier key, which spends, and the incoming viewing key, which finds and
//! reads notes. The outgoing viewing key and the tagging key follow from the nullifier key, so that whoever can spend
//! has all four, and whoever is shown one viewing key learns none of the others.
//!
//! A contract never sees a master key. It is given `H(APP_KEY; nsk, contract)` of the nullifier key, and `H(APP_KEY;
//! kind, high, low, contract)` of the others, where high and low are the halves of the scalar.

use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{PrimeField, UniformRand};
use ark_grumpkin::{Affine, Projective};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use rollmill_algebra::poseidon2;
use rollmill_protocol::note::{self, ViewingKey};
use rollmill_protocol::{Fr, field};
use zeroize::{Zeroize, Zeroizing};

use crate::seal::mac;
use crate::tables::{Account, AccountRow};

/// A secret scalar of Grumpkin, whose order is BN254's base field.
pub type ViewingSecret = ark_grumpkin::Fr;

/// The tag APP_KEY of the protocol's hashes.
const APP_KEY: u64 = 38;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Spends notes.
    Nullifier,
    /// Finds and reads notes that the account receives.
    IncomingViewing,
    /// Reads notes that the account sends.
    OutgoingViewing,
    /// Derives the secrets of tags.
    Tagging,
}

/// The secrets of an account. They are wiped when they are dropped.
#[derive(Clone)]
pub struct MasterKeys {
    nullifier: Fr,
    viewing: ViewingSecret,
}

impl Drop for MasterKeys {
    fn drop(&mut self) {
        self.nullifier.zeroize();
        self.viewing.zeroize();
    }
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKeys").field("account", &self.account()).finish_non_exhaustive()
    }
}

impl MasterKeys {
    /// Keys that were made elsewhere.
    pub fn new(nullifier: Fr, viewing: ViewingSecret) -> Self {
        Self { nullifier, viewing }
    }

    /// New keys from a secure source of randomness. No seed phrase leads back to them.
    pub fn generate(rng: &mut (impl rand::RngCore + rand::CryptoRng)) -> Self {
        Self::new(Fr::rand(rng), ViewingSecret::rand(rng))
    }

    /// The keys number `index` of a seed of BIP 39.
    pub(crate) fn of_seed(seed: &[u8; 64], index: u32) -> Self {
        let of = |label: &[u8]| wide(seed, label, &index.to_be_bytes());
        let nullifier = of(b"rollmill account nullifier key v1:");
        let viewing = of(b"rollmill account viewing key v1:");
        Self::new(
            Fr::from_le_bytes_mod_order(nullifier.as_slice()),
            ViewingSecret::from_le_bytes_mod_order(viewing.as_slice()),
        )
    }

    /// The account that they belong to, which has no contract.
    pub fn account(&self) -> Account {
        Account(note::address(&self.keys_hash(), &Fr::from(0u64)))
    }

    /// The master nullifier key.
    pub fn nullifier(&self) -> Zeroizing<Fr> {
        Zeroizing::new(self.nullifier)
    }

    /// The master incoming viewing key.
    pub fn viewing(&self) -> Zeroizing<ViewingSecret> {
        Zeroizing::new(self.viewing)
    }

    /// The master key of a kind as a scalar; that of the nullifier key is not one, so it gives none.
    pub fn scalar(&self, kind: KeyKind) -> Option<Zeroizing<ViewingSecret>> {
        let label: &[u8] = match kind {
            KeyKind::Nullifier => return None,
            KeyKind::IncomingViewing => return Some(Zeroizing::new(self.viewing)),
            KeyKind::OutgoingViewing => b"rollmill outgoing viewing key v1:",
            KeyKind::Tagging => b"rollmill tagging key v1:",
        };
        Some(self.derived(label))
    }

    /// The key with which the account's contract signs. No contract is given anything of it.
    pub fn signing(&self) -> Zeroizing<ViewingSecret> {
        self.derived(b"rollmill signing key v1:")
    }

    /// A scalar that follows from the nullifier key.
    fn derived(&self, label: &[u8]) -> Zeroizing<ViewingSecret> {
        let nullifier = Zeroizing::new(field::to_bytes(&self.nullifier));
        let bytes = wide(nullifier.as_slice(), label, &[]);
        Zeroizing::new(ViewingSecret::from_le_bytes_mod_order(bytes.as_slice()))
    }

    /// Hash of the public keys, which every address of the account is a hash of.
    pub fn keys_hash(&self) -> Fr {
        let (x, y) = self.public(KeyKind::IncomingViewing).xy().unwrap_or_default();
        note::keys_hash(&note::npk(&self.nullifier), &ViewingKey { x, y })
    }

    /// The public part of a key that is a scalar; the identity for the nullifier key, whose public part is a hash.
    pub fn public(&self, kind: KeyKind) -> Affine {
        match self.scalar(kind) {
            Some(scalar) => (Projective::generator() * *scalar).into_affine(),
            None => Affine::identity(),
        }
    }

    /// What a contract is given of a key.
    pub fn app_key(&self, kind: KeyKind, contract: &Fr) -> Zeroizing<Fr> {
        let Some(scalar) = self.scalar(kind) else {
            return Zeroizing::new(poseidon2::hash(APP_KEY, &[self.nullifier, *contract]));
        };
        let bytes = scalar_bytes(&scalar);
        let (low, high) = bytes.split_at(16);
        let number = Fr::from(kind as u64);
        let inputs = [number, half(high), half(low), *contract];
        Zeroizing::new(poseidon2::hash(APP_KEY, &inputs))
    }

    pub(crate) fn to_row(&self, label: String, origin: Option<(u32, u32)>) -> AccountRow {
        let viewing = *scalar_bytes(&self.viewing);
        AccountRow { label, origin, nullifier: field::to_bytes(&self.nullifier), viewing }
    }

    pub(crate) fn of_row(row: &AccountRow) -> Option<Self> {
        let nullifier = field::from_bytes(&row.nullifier)?;
        let viewing = ViewingSecret::deserialize_compressed(row.viewing.as_slice()).ok()?;
        Some(Self::new(nullifier, viewing))
    }
}

/// 64 bytes, so that a remainder of them is close to uniform.
fn wide(key: &[u8], label: &[u8], part: &[u8]) -> Zeroizing<[u8; 64]> {
    let mut out = Zeroizing::new([0u8; 64]);
    for (i, half) in out.chunks_mut(32).enumerate() {
        half.copy_from_slice(&mac(key, &[label, &[i as u8], part]));
    }
    out
}

/// 32 bytes, little-endian.
fn scalar_bytes(scalar: &ViewingSecret) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    // A scalar has 32 bytes, and writing to memory cannot fail.
    let _ = scalar.serialize_compressed(bytes.as_mut_slice());
    bytes
}

/// Half of a scalar, of 16 bytes.
fn half(bytes: &[u8]) -> Fr {
    Fr::from_le_bytes_mod_order(bytes)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    const SCALARS: [KeyKind; 3] =
        [KeyKind::IncomingViewing, KeyKind::OutgoingViewing, KeyKind::Tagging];

    #[test]
    fn a_contracts_nullifier_key_is_that_of_the_protocols_vectors() {
        let keys = MasterKeys::new(Fr::from(1000u64), ViewingSecret::from(1u64));
        let key = keys.app_key(KeyKind::Nullifier, &Fr::from(17u64));
        assert_eq!(
            field::to_hex(&key),
            "0x0d71c5696303d2af8d8258ec2046fa2a73e09dc4928aa1ea2a668e16ed11d11a"
        );
    }

    #[test]
    fn keys_of_two_kinds_contracts_or_accounts_are_different() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let accounts = [MasterKeys::generate(&mut rng), MasterKeys::generate(&mut rng)];
        let mut seen = std::collections::BTreeSet::new();
        for keys in &accounts {
            for kind in SCALARS.into_iter().chain([KeyKind::Nullifier]) {
                for contract in [1u64, 2] {
                    assert!(seen.insert(*keys.app_key(kind, &Fr::from(contract))), "{kind:?}");
                }
            }
        }
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn viewing_and_tagging_keys_differ_and_follow_from_the_two_secrets_of_an_address() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let keys = MasterKeys::generate(&mut rng);
        let again = MasterKeys::new(*keys.nullifier(), *keys.scalar(SCALARS[0]).expect("a scalar"));
        for kind in SCALARS {
            assert_eq!(keys.public(kind), again.public(kind));
        }
        assert_ne!(keys.public(SCALARS[0]), keys.public(SCALARS[1]));
        assert_ne!(keys.public(SCALARS[1]), keys.public(SCALARS[2]));
        // Whoever is shown the incoming viewing key of two accounts cannot tell that their other keys are related.
        let other = MasterKeys::new(Fr::from(5u64), *keys.scalar(SCALARS[0]).expect("a scalar"));
        assert_ne!(keys.public(SCALARS[1]), other.public(SCALARS[1]));
    }

    #[test]
    fn a_row_has_the_keys_and_a_debug_text_has_not() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let keys = MasterKeys::generate(&mut rng);
        let back = MasterKeys::of_row(&keys.to_row("a".to_owned(), None)).expect("keys");
        assert_eq!(back.account(), keys.account());
        let text = format!("{keys:?}");
        assert!(!text.contains(&format!("{:?}", *keys.nullifier())), "{text}");
        let mut row = keys.to_row(String::new(), None);
        row.nullifier = [0xff; 32];
        assert!(MasterKeys::of_row(&row).is_none());
        row = keys.to_row(String::new(), None);
        row.viewing = [0xff; 32];
        assert!(MasterKeys::of_row(&row).is_none());
    }
}
