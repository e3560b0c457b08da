//! A user's keys and address.
//!
//! The nullifier key spends; the viewing key finds and reads notes. An address is written in bech32m
//! (BIP 350): `rollmill1`, 103 characters for npk ‖ compressed viewing key, and six of checksum. One
//! prefix serves every network, since keys and addresses are the same on each.

use std::fmt;
use std::str::FromStr;

use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{PrimeField, UniformRand};
use ark_grumpkin::{Affine, Projective};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Fe32, Hrp};
use rollmill_algebra::Fr;
use rollmill_circuits::client::AccountKeys;
use rollmill_protocol::field;
use rollmill_protocol::note::{self, ViewingKey};
use rollmill_pxe_store::MasterKeys;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::error::PxeError;

/// Bytes of a compressed Grumpkin point.
pub const POINT_BYTES: usize = 32;
/// The prefix of an address, before the separator `1`.
const HRP: Hrp = Hrp::parse_unchecked("rollmill");
/// Bytes of an address: npk and the compressed viewing key.
const BYTES: usize = 32 + POINT_BYTES;
/// Characters of an address: prefix, separator, five bits each, checksum.
const CHARACTERS: usize = 8 + 1 + (8 * BYTES).div_ceil(5) + 6;
const OLD_PREFIX: &str = "rm1";
const OLD_CHECK_BYTES: usize = 4;

/// A secret scalar of Grumpkin, whose order is BN254's base field.
pub type ViewingSecret = ark_grumpkin::Fr;

/// Secret keys of one account. They are wiped when they are dropped.
#[derive(Clone)]
pub struct Keys {
    pub nsk: Fr,
    pub vsk: ViewingSecret,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.nsk.zeroize();
        self.vsk.zeroize();
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("address", &self.address().to_string()).finish_non_exhaustive()
    }
}

impl Keys {
    /// New keys from a secure source of randomness.
    pub fn generate(rng: &mut (impl rand::RngCore + rand::CryptoRng)) -> Self {
        Self { nsk: Fr::rand(rng), vsk: ViewingSecret::rand(rng) }
    }

    /// Keys from a 32-byte seed, for development networks whose accounts must be reproducible.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let wide = |label: &[u8]| wide_digest(&[b"rollmill account v1", label], &[seed]);
        Self {
            nsk: Fr::from_le_bytes_mod_order(&wide(b"nullifier")),
            vsk: ViewingSecret::from_le_bytes_mod_order(&wide(b"viewing")),
        }
    }

    /// The randomness of the refund that the transaction with this first nullifier gets. It follows from
    /// the nullifier key, so that a wallet which was restored from its keys finds the note although no log
    /// tells of it; nobody else can link the note to its owner.
    pub fn refund_randomness(&self, first_nullifier: &Fr) -> Fr {
        let parts = [&field::to_bytes(&self.nsk), &field::to_bytes(first_nullifier)];
        Fr::from_le_bytes_mod_order(&wide_digest(&[b"rollmill refund v1"], &parts))
    }

    /// The keys as a store has them.
    pub fn master(&self) -> MasterKeys {
        MasterKeys::new(self.nsk, self.vsk)
    }

    /// The keys that a store has.
    pub fn from_master(keys: &MasterKeys) -> Self {
        Self { nsk: *keys.nullifier(), vsk: *keys.viewing() }
    }

    /// What the client circuit needs of the account.
    pub fn account(&self) -> AccountKeys {
        AccountKeys { nsk: self.nsk, viewing: self.address().viewing() }
    }

    /// The public keys.
    pub fn address(&self) -> Address {
        let vpk = (Projective::generator() * self.vsk).into_affine();
        Address { npk: note::npk(&self.nsk), vpk }
    }

    /// Encodes both secrets: 32 bytes each, big-endian and little-endian canonical.
    pub(crate) fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        // At its final capacity, so that no copy is left behind when it grows.
        let mut out = Zeroizing::new(Vec::with_capacity(64));
        out.extend_from_slice(&field::to_bytes(&self.nsk));
        // Writing to a vector cannot fail.
        let _ = self.vsk.serialize_compressed(&mut *out);
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

/// 64 bytes, so that a remainder of them is close to uniform: the SHA-256 digests of the labels, the
/// number of the half and the parts, which have 32 bytes each.
fn wide_digest(labels: &[&[u8]], parts: &[&[u8; 32]]) -> [u8; 64] {
    let mut out = [0u8; 64];
    for (i, half) in out.chunks_mut(32).enumerate() {
        let mut hasher = Sha256::new();
        labels.iter().for_each(|label| hasher.update(label));
        hasher.update([i as u8]);
        parts.iter().for_each(|part| hasher.update(part));
        half.copy_from_slice(&hasher.finalize());
    }
    out
}

/// What a sender needs to know about a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub npk: Fr,
    pub vpk: Affine,
}

impl Address {
    /// The viewing key in the form that the protocol hashes.
    pub fn viewing(&self) -> ViewingKey {
        match self.vpk.xy() {
            Some((x, y)) => ViewingKey { x, y },
            None => ViewingKey { x: Fr::from(0u64), y: Fr::from(0u64) },
        }
    }

    /// The address as a field element: the owner in notes. The account has no contract.
    pub fn to_field(&self) -> Fr {
        note::address(&note::keys_hash(&self.npk, &self.viewing()), &Fr::from(0u64))
    }

    /// The start of the name of this account's state file. It is the start of the old form of the
    /// address, so that a wallet finds the state that an earlier release wrote.
    pub fn to_file_name(&self) -> String {
        format!("{OLD_PREFIX}{}", hex::encode(&field::to_bytes(&self.npk)[..8]))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = field::to_bytes(&self.npk).to_vec();
        out.extend_from_slice(&point_to_bytes(&self.vpk));
        out
    }
}

/// bech32m (BIP 350), in lower case.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_to_fmt::<Bech32m, _>(f, HRP, &self.bytes()).map_err(|_| fmt::Error)
    }
}

/// Reads the text of [`Display`](fmt::Display), in upper or in lower case, and the old hexadecimal form.
impl FromStr for Address {
    type Err = PxeError;

    fn from_str(text: &str) -> Result<Self, PxeError> {
        let bad = |why: String| PxeError::Address { why };
        let bytes = if text.starts_with(OLD_PREFIX) { old_bytes(text) } else { bytes(text) };
        let bytes = bytes.map_err(bad)?;
        let bad = |why: &str| PxeError::Address { why: why.to_owned() };
        let (npk, vpk) = bytes.split_at(32);
        let npk: [u8; 32] = npk.try_into().map_err(|_| bad("it has the wrong length"))?;
        Ok(Self {
            npk: field::from_bytes(&npk).ok_or_else(|| bad("its first key is not canonical"))?,
            vpk: point_from_bytes(vpk).ok_or_else(|| bad("its viewing key is not a point"))?,
        })
    }
}

/// The bytes of an address in bech32m.
fn bytes(text: &str) -> Result<[u8; BYTES], String> {
    let separator = text.rfind('1').unwrap_or_default();
    let prefix = &text[..separator];
    if !prefix.eq_ignore_ascii_case(HRP.as_str()) {
        return Err(format!("it does not start with {HRP}1"));
    }
    let got = text.chars().count();
    if got != CHARACTERS {
        let what = if got < CHARACTERS { "a part is missing" } else { "it is too long" };
        return Err(format!("it has {got} characters, expected {CHARACTERS}; {what}"));
    }
    for (at, c) in text.char_indices().skip(separator + 1) {
        if Fe32::from_char(c).is_err() {
            return Err(format!("character {} is `{c}`, which no address has", at + 1));
        }
    }
    let lower = |c: char| c.is_ascii_lowercase();
    if text.contains(lower) && text.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("it mixes upper and lower case".to_owned());
    }
    match CheckedHrpstring::new::<Bech32m>(text) {
        // The last of the 103 characters of data holds three bits of padding, which must be 0.
        Ok(checked) if checked.validate_segwit_padding().is_err() => {
            Err("its last bits are not 0".to_owned())
        }
        Ok(checked) => {
            let bytes: Vec<u8> = checked.byte_iter().collect();
            bytes.try_into().map_err(|_| "it has the wrong length".to_owned())
        }
        Err(_) => Err(match mistyped(text, separator) {
            Some(at) => format!("its checksum is wrong; check character {}", at + 1),
            None => "its checksum is wrong; at least two characters are wrong".to_owned(),
        }),
    }
}

/// Index of the only character whose change makes the checksum right. The code finds every change of up
/// to three characters (BIP 173; its generator has distance 4 at this length), so at most one such
/// character exists. The right one is not reported, so that the user looks it up instead of guessing.
fn mistyped(text: &str, separator: usize) -> Option<usize> {
    let mut changed = text.as_bytes().to_vec();
    let is_upper = text.starts_with(|c: char| c.is_ascii_uppercase());
    for at in separator + 1..changed.len() {
        let own = changed[at];
        for other in Fe32::iter_alpha().map(Fe32::to_char) {
            changed[at] = if is_upper { other.to_ascii_uppercase() } else { other } as u8;
            let text = std::str::from_utf8(&changed).unwrap_or_default();
            if CheckedHrpstring::new::<Bech32m>(text).is_ok() {
                return Some(at);
            }
        }
        changed[at] = own;
    }
    None
}

/// The bytes of an address in the form before bech32m: `rm1` and the hex of the bytes with four of
/// their SHA-256. Read, and no longer written.
fn old_bytes(text: &str) -> Result<[u8; BYTES], String> {
    let body = text.strip_prefix(OLD_PREFIX).unwrap_or_default();
    let expected = OLD_PREFIX.len() + 2 * (BYTES + OLD_CHECK_BYTES);
    let got = text.chars().count();
    if got != expected {
        let what = if got < expected { "a part is missing" } else { "it is too long" };
        return Err(format!("it has {got} characters, expected {expected}; {what}"));
    }
    if let Some((at, c)) = body.char_indices().find(|(_, c)| !c.is_ascii_hexdigit()) {
        let at = OLD_PREFIX.len() + at + 1;
        return Err(format!("character {at} is `{c}`, which no address has"));
    }
    let bytes = hex::decode(body).map_err(|_| "it is not hexadecimal".to_owned())?;
    let (body, check) = bytes.split_at(BYTES);
    if Sha256::digest(body)[..OLD_CHECK_BYTES] != *check {
        return Err("its checksum is wrong; at least one character is wrong".to_owned());
    }
    body.try_into().map_err(|_| "it has the wrong length".to_owned())
}

/// Compresses a point.
pub fn point_to_bytes(point: &Affine) -> [u8; POINT_BYTES] {
    let mut bytes = Vec::with_capacity(POINT_BYTES);
    // Writing to a vector cannot fail; a compressed point has 32 bytes.
    let _ = point.serialize_compressed(&mut bytes);
    bytes.try_into().unwrap_or([0; POINT_BYTES])
}

/// Reads a compressed point; rejects the identity.
pub fn point_from_bytes(bytes: &[u8]) -> Option<Affine> {
    let point = Affine::deserialize_compressed(bytes).ok()?;
    (!point.is_zero() && point_to_bytes(&point) == bytes).then_some(point)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The error of a text that is not an address.
    fn why(text: &str) -> String {
        text.parse::<Address>().expect_err(text).to_string()
    }

    /// The form before bech32m.
    pub(crate) fn old_text(address: &Address) -> String {
        let mut bytes = address.bytes();
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..OLD_CHECK_BYTES]);
        format!("{OLD_PREFIX}{}", hex::encode(bytes))
    }

    #[test]
    fn an_address_has_one_text_and_reads_its_old_one() {
        let address = Keys::from_seed(&[7; 32]).address();
        let text = address.to_string();
        assert_eq!(
            text,
            "rollmill1rgxy9497ugy0e2z5g80csww98unudexwlmuh0jdnpndd9ckmp93wut88vhgnlas60ua0pj6qntcs2yldll58apythqz9523w6rh9rqq8y8jy2"
        );
        assert_eq!(text.len(), CHARACTERS);
        assert_eq!(text.parse::<Address>().expect("its own text"), address);
        assert_eq!(text.to_uppercase().parse::<Address>().expect("upper case"), address);
        let old = old_text(&address);
        assert_eq!((old.len(), &old[..19]), (139, &*address.to_file_name()));
        assert_eq!(old.parse::<Address>().expect("the old text"), address);
    }

    #[test]
    fn the_account_in_a_store_is_that_of_the_address() {
        let keys = Keys::from_seed(&[9; 32]);
        assert_eq!(keys.master().account().0, keys.address().to_field());
        assert_eq!(Keys::from_master(&keys.master()).address(), keys.address());
    }

    /// Goal: the error for a mistyped address names the position of the typo, and no typo yields
    /// another address.
    #[test]
    fn each_mistyped_character_is_found_and_named() {
        let text = Keys::from_seed(&[7; 32]).address().to_string();
        for at in "rollmill1".len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'q' { b'p' } else { b'q' };
            let changed = String::from_utf8(bytes.clone()).expect("ascii");
            let named = format!("check character {}", at + 1);
            assert!(why(&changed).ends_with(&named), "{}", why(&changed));
            bytes[at] = b'b';
            let changed = String::from_utf8(bytes).expect("ascii");
            let named = format!("character {} is `b`, which no address has", at + 1);
            assert!(why(&changed).ends_with(&named), "{}", why(&changed));
        }
        let swapped = format!("{}{}{}", &text[..60], &text[61..62], &text[60..61]) + &text[62..];
        assert!(swapped != text && why(&swapped).contains("at least two"), "{}", why(&swapped));
    }

    #[test]
    fn other_texts_are_no_addresses() {
        let address = Keys::from_seed(&[7; 32]).address();
        let (text, old) = (address.to_string(), old_text(&address));
        let hrp = |hrp: &str| {
            let hrp = Hrp::parse(hrp).expect("a prefix");
            bech32::encode::<Bech32m>(hrp, &address.bytes()).expect("short enough")
        };
        let of = |bytes: &[u8]| bech32::encode::<Bech32m>(HRP, bytes).expect("short enough");
        let bech32 = bech32::encode::<bech32::Bech32>(HRP, &address.bytes()).expect("short enough");
        let mut last = old.clone();
        let flipped = if last.pop() == Some('0') { '1' } else { '0' };
        last.push(flipped);
        for (text, expected) in [
            (String::new(), "does not start with rollmill1"),
            ("rollmill".to_owned(), "does not start with rollmill1"),
            (hrp("rollmull"), "does not start with rollmill1"),
            (hrp("bc"), "does not start with rollmill1"),
            (text[..CHARACTERS - 1].to_owned(), "117 characters, expected 118; a part is missing"),
            (format!("{text}q"), "119 characters, expected 118; it is too long"),
            (of(&[1; BYTES + 1]), "expected 118; it is too long"),
            (text.replacen("rollmill1", "ROLLMILL1", 1), "mixes upper and lower case"),
            (format!("{}é", &text[..CHARACTERS - 1]), "character 118 is `é`"),
            (bech32, "its checksum is wrong"),
            (of(&[0xff; BYTES]), "its first key is not canonical"),
            (of(&[0; BYTES]), "its viewing key is not a point"),
            (old[..137].to_owned(), "137 characters, expected 139; a part is missing"),
            (old.replacen("rm1", "rm1g", 1)[..139].to_owned(), "character 4 is `g`"),
            (last, "its checksum is wrong"),
        ] {
            assert!(why(&text).contains(expected), "{text}: {}", why(&text));
        }
    }

    /// Source: Python's hashlib. A wallet of another release must find the refunds of this one.
    #[test]
    fn the_randomness_of_a_refund_is_fixed_and_bound_to_key_and_transaction() {
        let (keys, first) = (Keys::from_seed(&[7; 32]), Fr::from(12345u64));
        let randomness = keys.refund_randomness(&first);
        assert_eq!(
            field::to_hex(&randomness),
            "0x2456f9bf2403c5045fe5e18f6746ecedfb80210d707efe8321e3f3da483f56e9"
        );
        assert_ne!(keys.refund_randomness(&Fr::from(12346u64)), randomness);
        assert_ne!(Keys::from_seed(&[8; 32]).refund_randomness(&first), randomness);
    }

    #[test]
    fn the_owner_of_notes_is_the_account_that_the_circuit_knows() {
        let keys = Keys::from_seed(&[7; 32]);
        assert_eq!(keys.account().address(), keys.address().to_field());
    }

    #[test]
    fn secrets_survive_their_bytes() {
        let keys = Keys::from_seed(&[9; 32]);
        let again = Keys::from_secret_bytes(&keys.to_secret_bytes()).expect("own bytes");
        assert_eq!(again.address(), keys.address());
        assert!(Keys::from_secret_bytes(&[0xff; 64]).is_none());
    }
}
