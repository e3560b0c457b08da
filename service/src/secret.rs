//! A value that never appears in output.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use parking_lot::Mutex;

use crate::http::tls;
use crate::values::Guarded;

/// A secret, given in the settings as a reference: `file:PATH` or `env:NAME`.
///
/// The reference may be shown and is what [`Debug`](fmt::Debug) shows; the value is read while the
/// settings are parsed, and is accessible only through [`Secret::reveal`]. Every setting rejects a
/// literal value, since files get copied and command lines are public on the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    reference: String,
    value: String,
}

impl Secret {
    /// A secret generated in the process itself, shown as `generated`. It cannot be read back from
    /// printed settings.
    pub fn generated(value: impl Into<String>) -> Self {
        Self { reference: "generated".into(), value: value.into() }
    }

    /// The value. Pass it to the code that needs it and keep no copy.
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Whether a request's header `Authorization` has the secret as a bearer token. The comparison does not stop at
    /// the first difference, so that its time does not tell how much was right.
    pub fn is_bearer_of(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let (given, expected) = (given.trim().as_bytes(), self.value.trim().as_bytes());
        let different = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
        // A request without the header gives nothing, which must not be a token.
        let is_given = !given.is_empty() && given.len() == expected.len();
        is_given && std::hint::black_box(different) == 0
    }

    /// Rejects a text that is no reference, and reads nothing.
    pub(crate) fn check_reference(text: &str) -> Result<(), &'static str> {
        match text.starts_with("file:") || text.starts_with("env:") {
            true => Ok(()),
            false => Err(LITERAL),
        }
    }

    fn resolve(reference: String) -> Result<Self, String> {
        let value = if let Some(path) = reference.strip_prefix("file:") {
            read_bounded(path.as_ref()).map_err(|error| unreadable(path, &error))?
        } else if let Some(name) = reference.strip_prefix("env:") {
            std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    format!("environment variable {name} is not set; set it, or use file:PATH")
                }
                std::env::VarError::NotUnicode(_) => {
                    format!("environment variable {name} is not UTF-8; correct its value")
                }
            })?
        } else {
            return Err(LITERAL.into());
        };
        let value = value.trim_end_matches(['\r', '\n']).to_owned();
        if value.trim().is_empty() {
            return Err(format!("{reference} holds an empty secret; write the secret there"));
        }
        Ok(Self { reference, value })
    }
}

/// A secret whose file is read again, so that another one in it needs no restart. Clones share it.
#[derive(Clone, Debug)]
pub struct RotatingSecret {
    present: Arc<Mutex<Secret>>,
}

impl RotatingSecret {
    /// One that is `secret` for now.
    pub fn new(secret: Secret) -> Self {
        Self { present: Arc::new(Mutex::new(secret)) }
    }

    /// What was read last.
    pub fn present(&self) -> Secret {
        self.present.lock().clone()
    }

    /// Reads the file again; returns the secret if it is another one. If it cannot be read, the one before stays. The
    /// environment of a process does not change.
    pub fn read_again(&self) -> Option<Secret> {
        let mut present = self.present.lock();
        if !present.reference.starts_with("file:") {
            return None;
        }
        match Secret::resolve(present.reference.clone()) {
            Ok(read) if read == *present => None,
            Ok(read) => {
                tracing::info!("another secret read");
                *present = read.clone();
                Some(read)
            }
            Err(error) => {
                tracing::warn!(error, "secret not read again; keeping the one before");
                None
            }
        }
    }

    /// Reads the file again each minute and at SIGHUP, and passes another secret on, until it is dropped.
    pub async fn keep(self, changed: impl Fn(&Secret) + Clone + Send + 'static) {
        let read = move || {
            if let Some(secret) = self.read_again() {
                changed(&secret);
            }
        };
        tls::keep(read).await;
    }
}

/// What is wrong with a text that is no reference. It is not repeated: it may be the secret itself.
const LITERAL: &str = "expected file:PATH or env:NAME; a secret is never given literally";

/// Maximum length of a settings file or of a secret's file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a text file of at most [`FILE_BYTES_MAX`] bytes, so that a device file named by mistake does
/// not fill the memory.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match read as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("longer than {} MiB", FILE_BYTES_MAX >> 20),
        )),
        false => Ok(text),
    }
}

/// Why a secret's file cannot be read, and what to do.
fn unreadable(path: &str, error: &std::io::Error) -> String {
    let (what, fix) = match error.kind() {
        std::io::ErrorKind::NotFound => ("does not exist", "correct the path"),
        std::io::ErrorKind::PermissionDenied => {
            ("cannot be read", "allow the user of this process to read it")
        }
        std::io::ErrorKind::InvalidData => ("is not UTF-8", "write the secret as text"),
        std::io::ErrorKind::IsADirectory => ("is a directory", "name a file in it"),
        _ => {
            return format!(
                "file {path} cannot be read ({}); check the file",
                rollmill_errors::InWords(error)
            );
        }
    };
    format!("file {path} {what}; {fix}")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.reference)
    }
}

impl std::str::FromStr for Secret {
    type Err = Guarded;

    fn from_str(reference: &str) -> Result<Self, Guarded> {
        Self::resolve(reference.to_owned()).map_err(Guarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a secret that is replaced in its file is found once, and a file that is being written costs nothing.
    #[test]
    fn a_secret_that_is_replaced_in_its_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "old\n").unwrap();
        let rotating = RotatingSecret::new(format!("file:{}", file.display()).parse().unwrap());
        assert!(rotating.read_again().is_none());
        std::fs::write(&file, "").unwrap();
        assert!(rotating.read_again().is_none(), "half-written");
        std::fs::write(&file, "new\n").unwrap();
        assert_eq!(rotating.clone().read_again().unwrap().reveal(), "new");
        assert!(rotating.read_again().is_none(), "clones share it");
        std::fs::remove_file(&file).unwrap();
        assert!(rotating.read_again().is_none());
        assert_eq!(rotating.present().reveal(), "new");
        assert!(!format!("{rotating:?}").contains("new"));
        assert!(RotatingSecret::new(Secret::generated("x")).read_again().is_none());
    }

    #[test]
    fn only_the_very_token_is_the_bearer() {
        let token = Secret::generated("right");
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            token.is_bearer_of(&headers)
        };
        assert!(with("Bearer right"));
        for wrong in
            ["Bearer wrong", "Bearer righ", "Bearer rightt", "right", "Basic right", "Bearer "]
        {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!token.is_bearer_of(&HeaderMap::new()));
    }

    /// Attack: no header, or one without a token, at a server whose token is a blank line.
    #[test]
    fn blanks_are_no_secret_and_nobody_is_the_bearer_of_none() {
        for blank in ["", " ", "\t "] {
            let token = Secret::generated(blank);
            assert!(!token.is_bearer_of(&HeaderMap::new()), "{blank:?}");
            for given in ["Bearer", "Bearer ", "Bearer  "] {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, given.parse().unwrap())]);
                assert!(!token.is_bearer_of(&headers), "{blank:?} {given:?}");
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, " \t\n").unwrap();
        assert!(format!("file:{}", file.display()).parse::<Secret>().is_err());
    }
}
