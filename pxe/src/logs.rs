//! Encrypted logs, by which only the recipient finds a note.
//!
//! Layout of the 128 bytes, which a transaction publishes in five words ([`log_words`]): compressed ephemeral point (32) ‖ ciphertext of 80 bytes ‖ tag (16). The
//! plaintext is value (8, big-endian) ‖ randomness (32) ‖ sender's compressed viewing key (32) ‖ zeros
//! (8). The cipher is ChaCha20-Poly1305 (RFC 8439) under the SHA-256 of a label, the shared point and
//! the ephemeral point; each key serves one message, so the nonce is zero.
//!
//! A log's discovery tag is a hash of a secret that both parties derive from their static keys, the
//! recipient, and a counter; a recipient who knows the sender queries the next tags. Logs of unknown
//! senders are found by trying to decrypt.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::UniformRand;
use ark_grumpkin::Affine;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use rollmill_algebra::Fr;
use rollmill_algebra::poseidon2;
use rollmill_protocol::Log;
use rollmill_protocol::field;
use rollmill_protocol::note::{BUILT_IN_CONTRACT, discovery_tag, silo_tag};
use rollmill_protocol::tx::{LOG_BYTES, log_bytes, log_words};
use sha2::{Digest, Sha256};

use crate::keys::{Address, Keys, POINT_BYTES, ViewingSecret, point_from_bytes, point_to_bytes};

const PLAIN_BYTES: usize = 80;

/// The contents of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogNote {
    pub value: u64,
    pub randomness: Fr,
    /// The sender's viewing key, so that the recipient can follow its tags from now on.
    pub sender: Affine,
}

fn cipher(shared: &Affine, ephemeral: &[u8]) -> ChaCha20Poly1305 {
    let mut hasher = Sha256::new();
    hasher.update(b"rollmill log v1");
    hasher.update(point_to_bytes(shared));
    hasher.update(ephemeral);
    ChaCha20Poly1305::new(&hasher.finalize())
}

/// Encrypts a log to `recipient`.
pub fn encrypt(
    recipient: &Address,
    note: &LogNote,
    rng: &mut (impl rand::RngCore + rand::CryptoRng),
) -> Log {
    let secret = ViewingSecret::rand(rng);
    let ephemeral = point_to_bytes(&(Affine::generator() * secret).into_affine());
    let shared = (recipient.vpk * secret).into_affine();
    let mut plain = Vec::with_capacity(PLAIN_BYTES);
    plain.extend_from_slice(&note.value.to_be_bytes());
    plain.extend_from_slice(&field::to_bytes(&note.randomness));
    plain.extend_from_slice(&point_to_bytes(&note.sender));
    plain.resize(PLAIN_BYTES, 0);
    let sealed = cipher(&shared, &ephemeral)
        .encrypt(&Nonce::default(), plain.as_slice())
        .unwrap_or_else(|_| vec![0; PLAIN_BYTES + 16]);
    let mut log = [0; LOG_BYTES];
    let (head, tail) = log.split_at_mut(POINT_BYTES);
    head.copy_from_slice(&ephemeral);
    tail.copy_from_slice(&sealed);
    log_words(&log)
}

/// Decrypts a log if it is for these keys.
pub fn decrypt(keys: &Keys, log: &Log) -> Option<LogNote> {
    let log = log_bytes(log)?;
    let (ephemeral, sealed) = log.split_at(POINT_BYTES);
    let shared = (point_from_bytes(ephemeral)? * keys.vsk).into_affine();
    let plain = cipher(&shared, ephemeral).decrypt(&Nonce::default(), sealed).ok()?;
    let (value, rest) = plain.split_at_checked(8)?;
    let (randomness, rest) = rest.split_at_checked(32)?;
    let (sender, padding) = rest.split_at_checked(POINT_BYTES)?;
    if padding.iter().any(|b| *b != 0) {
        return None;
    }
    Some(LogNote {
        value: u64::from_be_bytes(value.try_into().ok()?),
        randomness: field::from_bytes(randomness.try_into().ok()?)?,
        sender: point_from_bytes(sender)?,
    })
}

/// The secret of a pair of parties for logs that go to `recipient`: both compute it, from their own
/// viewing secret and the other's viewing key.
pub fn pair_secret(own: &ViewingSecret, other: &Affine, recipient: &Fr) -> Fr {
    let shared = (*other * own).into_affine();
    let (x, y) = shared.xy().unwrap_or_default();
    poseidon2::hash(rollmill_protocol::domain::TAG, &[x, y, *recipient])
}

/// The tag of the log number `counter`, which the client circuit makes a published one of.
pub fn tag(secret: &Fr, counter: u64) -> Fr {
    discovery_tag(secret, counter)
}

/// The tag of the log number `counter` as a transaction publishes it.
pub fn published_tag(secret: &Fr, counter: u64) -> Fr {
    silo_tag(&Fr::from(BUILT_IN_CONTRACT), &tag(secret, counter))
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn only_the_recipient_reads_a_log() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(5);
        let (alice, bob, eve) =
            (Keys::generate(&mut rng), Keys::generate(&mut rng), Keys::generate(&mut rng));
        let note = LogNote { value: 42, randomness: Fr::from(7u64), sender: alice.address().vpk };
        let log = encrypt(&bob.address(), &note, &mut rng);
        assert_eq!(decrypt(&bob, &log), Some(note));
        assert_eq!(decrypt(&eve, &log), None);
        let bytes = log_bytes(&log).expect("a log of this client");
        for i in 0..LOG_BYTES {
            let mut changed = bytes;
            changed[i] ^= 1;
            assert_eq!(decrypt(&bob, &log_words(&changed)), None, "byte {i}");
        }
        // Words of another contract's log, which no bytes have.
        for word in 0..log.len() {
            let mut other = log;
            other[word] += Fr::from(2u64).pow([248]);
            assert_eq!(decrypt(&bob, &other), None, "word {word}");
        }
    }

    #[test]
    fn both_parties_derive_the_same_tags() {
        let (alice, bob) = (Keys::from_seed(&[1; 32]), Keys::from_seed(&[2; 32]));
        let to = bob.address().to_field();
        let sent = pair_secret(&alice.vsk, &bob.address().vpk, &to);
        let seen = pair_secret(&bob.vsk, &alice.address().vpk, &to);
        assert_eq!(tag(&sent, 3), tag(&seen, 3));
        assert_ne!(tag(&sent, 3), tag(&sent, 4));
        let back = pair_secret(&bob.vsk, &alice.address().vpk, &alice.address().to_field());
        assert_ne!(sent, back);
    }
}
