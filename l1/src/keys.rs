//! Loads signing keys: from an encrypted keystore file, or from an environment variable in development.

use std::fmt;
use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;

use crate::error::L1Error;

/// The source of a signing key.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// An environment variable with 64 hexadecimal digits. For development: other programs of the
    /// same user can read it.
    Environment { variable: String },
    /// A keystore file (scrypt) and the file with its password, whose last line end is not part of the
    /// password.
    Keystore { path: PathBuf, password_file: PathBuf },
}

// Prints only the source, never the key.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Keystore { path, .. } => write!(f, "keystore {}", path.display()),
        }
    }
}

impl KeySource {
    /// Takes the lock of the keystore file, which no other process of this machine gets while the value exists.
    /// What signs blocks takes it, so that no two processes sign with one key. A key in the environment has none.
    ///
    /// # Errors
    /// [`L1Error::Key`] when another process has the lock, or the file cannot be opened.
    pub fn lock(&self) -> Result<Option<KeyLock>, L1Error> {
        let Self::Keystore { path, .. } = self else { return Ok(None) };
        let failed = |reason: String| L1Error::Key { from: format!("{self:?}"), reason };
        let opened = std::fs::File::open(path);
        let file = opened.map_err(|error| {
            failed(format!("it cannot be read ({})", rollmill_errors::InWords(&error)))
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(KeyLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(failed("another process signs blocks with it; stop that process".to_owned()))
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(failed(format!("it cannot be locked ({})", rollmill_errors::InWords(&error))))
            }
        }
    }

    /// Loads the key. Decrypting a keystore takes about a second of one core.
    pub fn load(&self) -> Result<PrivateKeySigner, L1Error> {
        let failed = |reason: String| L1Error::Key { from: format!("{self:?}"), reason };
        match self {
            Self::Environment { variable } => {
                let text = std::env::var(variable)
                    .map_err(|_| failed("it is not set, or not text".to_owned()))?;
                from_hex(&text).map_err(failed)
            }
            Self::Keystore { path, password_file } => {
                let password = std::fs::read_to_string(password_file).map_err(|error| {
                    failed(format!(
                        "password file {}: {}",
                        password_file.display(),
                        rollmill_errors::InWords(&error)
                    ))
                })?;
                read_keystore(path, password.trim_end_matches(['\r', '\n']))
            }
        }
    }
}

/// The key of a secret's text: 64 hexadecimal digits. `from` says where the text came from.
///
/// # Errors
/// [`L1Error::Key`], which never repeats the text.
pub fn parse_key(from: &str, text: &str) -> Result<PrivateKeySigner, L1Error> {
    from_hex(text).map_err(|reason| L1Error::Key { from: from.to_owned(), reason })
}

/// The lock of a keystore file; see [`KeySource::lock`].
#[derive(Debug)]
pub struct KeyLock {
    _file: std::fs::File,
}

/// The key of 64 hexadecimal digits, with or without `0x`. The error never repeats the text.
fn from_hex(text: &str) -> Result<PrivateKeySigner, String> {
    let digits = text.trim().strip_prefix("0x").unwrap_or(text.trim());
    let expected = "64 hexadecimal digits of a number from 1 below the curve order are expected";
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| expected.to_owned())?;
    PrivateKeySigner::from_slice(&bytes).map_err(|_| expected.to_owned())
}

/// Decrypts a keystore file.
pub fn read_keystore(path: &Path, password: &str) -> Result<PrivateKeySigner, L1Error> {
    let failed =
        |reason: String| L1Error::Key { from: format!("keystore {}", path.display()), reason };
    let bytes = std::fs::read(path).map_err(|error| {
        failed(format!(
            "it cannot be read ({}); correct --l1-keystore",
            rollmill_errors::InWords(&error)
        ))
    })?;
    let parsed: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    if !parsed.is_some_and(|keystore| keystore.get("crypto").is_some_and(|c| c.is_object())) {
        let expected = "it is not a keystore file (JSON with a section `crypto`)";
        return Err(failed(format!("{expected}; correct --l1-keystore")));
    }
    PrivateKeySigner::decrypt_keystore(path, password).map_err(|error| {
        let why = "the password is wrong, or the file is damaged";
        failed(format!("{why} ({error}); check --l1-keystore and --l1-password-file"))
    })
}

/// Writes a key to a new keystore file, encrypted under the password.
///
/// # Errors
/// [`L1Error::Key`] if the file exists: a key is never overwritten.
pub fn write_keystore(
    path: &Path,
    signer: &PrivateKeySigner,
    password: &str,
) -> Result<(), L1Error> {
    let failed =
        |reason: String| L1Error::Key { from: format!("keystore {}", path.display()), reason };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(failed("a file name is expected".to_owned()));
    };
    rollmill_files::make_folder(folder)
        .map_err(|error| failed(rollmill_errors::InWords(&error).to_string()))?;
    // The library writes into the existing file, which only its owner can read.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            failed("exists already and is not overwritten".to_owned())
        }
        _ => failed(rollmill_errors::InWords(&error).to_string()),
    })?;
    let mut rng = rand::thread_rng();
    PrivateKeySigner::encrypt_keystore(folder, &mut rng, signer.to_bytes(), password, Some(name))
        .map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(error.to_string())
    })?;
    // Whoever is told the address sends it ether, which is lost with the key.
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .and_then(|()| rollmill_files::sync_folder_of(path))
        .map_err(|error| failed(rollmill_errors::InWords(&error).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn a_keystore_returns_its_key_to_the_right_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        let signer = from_hex(KEY).unwrap();
        write_keystore(&path, &signer, "correct horse").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "others can read the keystore");
        }

        let password_file = folder.path().join("password");
        std::fs::write(&password_file, "correct horse\n").unwrap();
        let source = KeySource::Keystore { path: path.clone(), password_file };
        assert_eq!(source.load().unwrap().address(), signer.address());

        let error = read_keystore(&path, "wrong").unwrap_err();
        assert_eq!(error.code(), "L1-015");
        assert!(error.to_string().contains("the password is wrong"), "{error}");
        let garbage = folder.path().join("garbage");
        for text in ["", "garbage", "{}", "[1]"] {
            std::fs::write(&garbage, text).unwrap();
            let error = read_keystore(&garbage, "x").unwrap_err().to_string();
            assert!(error.contains("not a keystore file"), "{error}");
            assert!(!error.contains("password"), "{error}");
        }
        let missing = read_keystore(&folder.path().join("none"), "x").unwrap_err().to_string();
        assert!(missing.contains("it cannot be read (No such file"), "{missing}");
        let again = write_keystore(&path, &signer, "other").unwrap_err();
        assert!(again.to_string().contains("not overwritten"), "{again}");
    }

    #[test]
    fn a_keystore_is_locked_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        let password_file = folder.path().join("password");
        let source = KeySource::Keystore { path: path.clone(), password_file };
        assert_eq!(source.lock().unwrap_err().code(), "L1-015");
        write_keystore(&path, &from_hex(KEY).unwrap(), "correct horse").unwrap();
        let held = source.lock().unwrap().unwrap();
        let error = source.lock().unwrap_err().to_string();
        assert!(error.contains("another process signs blocks"), "{error}");
        // Reading it needs no lock.
        assert!(read_keystore(&path, "correct horse").is_ok());
        drop(held);
        assert!(source.lock().unwrap().is_some());
        let variable = KeySource::Environment { variable: "X".into() };
        assert!(variable.lock().unwrap().is_none());
    }

    #[test]
    fn a_bad_key_is_rejected_without_being_repeated() {
        for text in ["", "0x12", &format!("{KEY}00"), &"z".repeat(64), &"0".repeat(64)] {
            let message = from_hex(text).unwrap_err();
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
        assert!(from_hex(&format!("0x{KEY}\n")).is_ok());
    }
}
