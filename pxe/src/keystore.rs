//! The keystore file: an account's keys under a password.
//!
//! JSON `{version, address, scrypt {log_n, r, p}, salt, nonce, ciphertext}`; the key is
//! scrypt(password, salt) (RFC 7914), the cipher ChaCha20-Poly1305 with the address as associated data,
//! so that a swapped address is rejected. The wallet's state file is sealed under a key derived from
//! the account's own secret.
//!
//! Keys and the text of an address are the same under every version of the protocol, so a keystore of
//! protocol 1 opens as it is. The state file belongs to one version ([`crate::wallet::State`]).

use std::fs;
use std::io::Write;
use std::path::Path;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::PxeError;
use crate::keys::{Address, Keys};

const VERSION: u32 = 1;
/// Base-2 logarithm of scrypt's cost: about 50 ms and 16 MiB.
const LOG_N: u8 = 14;
/// Files that ask for more than this are rejected.
const LOG_N_MAX: u8 = 20;
/// So are those that ask for more memory, in bytes.
const MEMORY_MAX: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    address: String,
    scrypt: ScryptParams,
    salt: String,
    nonce: String,
    ciphertext: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScryptParams {
    log_n: u8,
    r: u32,
    p: u32,
}

fn stretch(password: &str, salt: &[u8], params: ScryptParams) -> Option<Zeroizing<[u8; 32]>> {
    if params.log_n > LOG_N_MAX || params.r > 16 || params.p > 16 {
        return None;
    }
    if (128 * u64::from(params.r)) << params.log_n > MEMORY_MAX {
        return None;
    }
    let params = scrypt::Params::new(params.log_n, params.r, params.p, 32).ok()?;
    let mut key = Zeroizing::new([0u8; 32]);
    scrypt::scrypt(password.as_bytes(), salt, &params, key.as_mut_slice()).ok()?;
    Some(key)
}

/// Encrypts keys into the text of a keystore file.
pub fn seal(
    keys: &Keys,
    password: &str,
    rng: &mut (impl rand::RngCore + rand::CryptoRng),
) -> Result<String, PxeError> {
    let params = ScryptParams { log_n: LOG_N, r: 8, p: 1 };
    seal_at_cost(keys, keys.address().to_string(), password, params, rng)
}

fn seal_at_cost(
    keys: &Keys,
    address: String,
    password: &str,
    params: ScryptParams,
    rng: &mut (impl rand::RngCore + rand::CryptoRng),
) -> Result<String, PxeError> {
    let (mut salt, mut nonce) = ([0u8; 16], [0u8; 12]);
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut nonce);
    let key = stretch(password, &salt, params).ok_or(PxeError::keystore("scrypt failed"))?;
    let secret = keys.to_secret_bytes();
    let payload = Payload { msg: &secret, aad: address.as_bytes() };
    let ciphertext = ChaCha20Poly1305::new(Key::from_slice(key.as_slice()))
        .encrypt(Nonce::from_slice(&nonce), payload)
        .map_err(|_| PxeError::keystore("encryption failed"))?;
    let file = File {
        version: VERSION,
        address,
        scrypt: params,
        salt: hex::encode(salt),
        nonce: hex::encode(nonce),
        ciphertext: hex::encode(ciphertext),
    };
    serde_json::to_string_pretty(&file).map_err(|_| PxeError::keystore("encoding failed"))
}

/// Decrypts the text of a keystore file.
pub fn open(text: &str, password: &str) -> Result<Keys, PxeError> {
    let bad = PxeError::keystore;
    let file: File = serde_json::from_str(text).map_err(|_| bad("it is not a keystore file"))?;
    if file.version != VERSION {
        return Err(bad("its version is not known to this program"));
    }
    let salt = hex::decode(&file.salt).map_err(|_| bad("its salt is not hexadecimal"))?;
    let nonce = hex::decode(&file.nonce).map_err(|_| bad("its nonce is not hexadecimal"))?;
    let sealed =
        hex::decode(&file.ciphertext).map_err(|_| bad("its ciphertext is not hexadecimal"))?;
    if nonce.len() != 12 {
        return Err(bad("its nonce has the wrong length"));
    }
    let key = stretch(password, &salt, file.scrypt)
        .ok_or(bad("its scrypt parameters are not accepted"))?;
    let payload = Payload { msg: &sealed, aad: file.address.as_bytes() };
    let secret = ChaCha20Poly1305::new(Key::from_slice(key.as_slice()))
        .decrypt(Nonce::from_slice(&nonce), payload)
        .map_err(|_| bad("the password is wrong, or the file was changed"))?;
    let secret = Zeroizing::new(secret);
    let keys = Keys::from_secret_bytes(&secret).ok_or(bad("its contents are malformed"))?;
    // The text may be in the form of an earlier release.
    if !file.address.parse().is_ok_and(|address: Address| address == keys.address()) {
        return Err(bad("its address does not belong to its keys"));
    }
    Ok(keys)
}

/// Seals wallet state under the account's own secret.
pub fn seal_state(
    keys: &Keys,
    state: &[u8],
    rng: &mut (impl rand::RngCore + rand::CryptoRng),
) -> Result<Vec<u8>, PxeError> {
    let mut nonce = [0u8; 12];
    rng.fill_bytes(&mut nonce);
    let sealed = state_cipher(keys)
        .encrypt(Nonce::from_slice(&nonce), state)
        .map_err(|_| PxeError::state("encryption failed"))?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens sealed wallet state.
pub fn open_state(keys: &Keys, bytes: &[u8]) -> Result<Vec<u8>, PxeError> {
    let (nonce, sealed) = bytes.split_at_checked(12).ok_or(PxeError::state("it is too short"))?;
    state_cipher(keys)
        .decrypt(Nonce::from_slice(nonce), sealed)
        .map_err(|_| PxeError::state("it was changed, or belongs to another account"))
}

fn state_cipher(keys: &Keys) -> ChaCha20Poly1305 {
    let mut hasher = Sha256::new();
    hasher.update(b"rollmill wallet state v1");
    hasher.update(keys.to_secret_bytes());
    ChaCha20Poly1305::new(&hasher.finalize())
}

/// Writes a file so that a crash or a full disk leaves the old or the new contents, readable by the
/// owner only.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = rollmill_files::Unfinished::create_private(path)?;
    file.write_all(bytes)?;
    rollmill_service::failpoint!(blocking "pxe.before_rename");
    file.place()
}

/// Locks an account for one command: no other command can read or change its state meanwhile. The
/// operating system releases the lock when the process ends, even by a crash.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

/// Takes the lock at `path`, without waiting.
///
/// # Errors
/// [`PxeError::Busy`] while another command holds it, [`PxeError::File`] when the file cannot be created.
pub fn lock(path: &Path) -> Result<Lock, PxeError> {
    use std::os::unix::fs::OpenOptionsExt;
    let shown = path.display().to_string();
    let open =
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = open.map_err(|source| PxeError::File { path: shown.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(fs::TryLockError::WouldBlock) => Err(PxeError::Busy { path: shown }),
        Err(fs::TryLockError::Error(source)) => Err(PxeError::File { path: shown, source }),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_keystore_opens_with_its_password_only() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let keys = Keys::generate(&mut rng);
        let text = seal(&keys, "correct horse", &mut rng).expect("sealed");
        assert_eq!(open(&text, "correct horse").expect("opens").address(), keys.address());
        assert!(open(&text, "wrong").is_err());
        assert!(!text.contains(&hex::encode(keys.to_secret_bytes())));
    }

    #[test]
    fn a_changed_keystore_is_rejected() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
        let keys = Keys::generate(&mut rng);
        let text = seal(&keys, "p", &mut rng).expect("sealed");
        let other = Keys::generate(&mut rng).address().to_string();
        let swapped = text.replace(&keys.address().to_string(), &other);
        assert!(open(&swapped, "p").is_err());
        assert!(open(&text.replace("\"log_n\": 14", "\"log_n\": 63"), "p").is_err());
        assert!(open(&text[..text.len() / 2], "p").is_err());
    }

    #[test]
    fn a_keystore_takes_a_gibibyte_of_memory_at_most() {
        for (log_n, r, p) in [(20, 16, 1), (20, 9, 1), (21, 1, 1), (1, 1, 17), (1, 0, 1)] {
            let params = ScryptParams { log_n, r, p };
            assert!(stretch("p", b"salt", params).is_none(), "{log_n} {r} {p}");
        }
        assert!(stretch("p", b"salt", ScryptParams { log_n: 1, r: 1, p: 1 }).is_some());
    }

    /// Goal: an account of a release before bech32m opens, and one that names another account does not.
    #[test]
    fn a_keystore_with_the_old_form_of_the_address_opens() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(5);
        let (keys, other) = (Keys::generate(&mut rng), Keys::generate(&mut rng));
        let cost = ScryptParams { log_n: 1, r: 1, p: 1 };
        let mut of =
            |address: String| seal_at_cost(&keys, address, "p", cost, &mut rng).expect("sealed");
        let old = of(crate::keys::tests::old_text(&keys.address()));
        assert_eq!(open(&old, "p").expect("opens").address(), keys.address());
        for wrong in [
            other.address().to_string(),
            crate::keys::tests::old_text(&other.address()),
            "x".to_owned(),
        ] {
            let error = open(&of(wrong), "p").unwrap_err().to_string();
            assert!(error.contains("its address does not belong to its keys"), "{error}");
        }
    }

    /// Method: the cheapest scrypt, so that each of the thousands of attempts is fast.
    #[test]
    fn every_flipped_or_missing_byte_of_a_keystore_is_rejected_or_opens_the_same_keys() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(4);
        let keys = Keys::generate(&mut rng);
        let cost = ScryptParams { log_n: 1, r: 1, p: 1 };
        let address = keys.address().to_string();
        let text = seal_at_cost(&keys, address, "p", cost, &mut rng).expect("sealed");
        let secret = keys.to_secret_bytes();
        assert!(open(&text, "p").expect("whole").to_secret_bytes() == secret);
        let mut same = 0;
        for at in 0..text.len() {
            assert!(open(&text[..at], "p").is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = text.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                // Bytes that are not UTF-8 are rejected when the file is read.
                let Ok(flipped) = String::from_utf8(flipped) else { continue };
                match open(&flipped, "p") {
                    Err(error) => assert!(error.to_string().starts_with("PXE-"), "{error}"),
                    Ok(read) => {
                        // White space, or the case of a hexadecimal digit.
                        assert!(read.to_secret_bytes() == secret, "byte {at}, bit {bit}");
                        same += 1;
                    }
                }
            }
        }
        assert!(same < text.len(), "{same} changes went unseen");
    }

    #[test]
    fn every_flipped_or_missing_byte_of_sealed_state_is_rejected() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(5);
        let keys = Keys::generate(&mut rng);
        let sealed = seal_state(&keys, b"some state", &mut rng).expect("sealed");
        for at in 0..sealed.len() {
            assert!(open_state(&keys, &sealed[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                assert!(open_state(&keys, &flipped).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn an_account_is_held_by_one_command_at_a_time() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("alice.lock");
        let held = lock(&path).expect("free");
        assert!(matches!(lock(&path), Err(PxeError::Busy { .. })));
        drop(held);
        lock(&path).expect("free again");
    }

    #[test]
    fn state_of_another_account_is_rejected() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        let (a, b) = (Keys::generate(&mut rng), Keys::generate(&mut rng));
        let sealed = seal_state(&a, b"state", &mut rng).expect("sealed");
        assert_eq!(open_state(&a, &sealed).expect("own"), b"state");
        assert!(open_state(&b, &sealed).is_err());
        assert!(open_state(&a, &sealed[..sealed.len() - 1]).is_err());
    }
}
