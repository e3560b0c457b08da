//! Files of certificates and keys.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Longest file that is read, in bytes, so that a device file named by mistake does not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The algorithms of every TLS connection.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Why a file of certificates or keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemError {
    path: PathBuf,
    why: String,
}

impl PemError {
    /// The names of those settings that name the file.
    pub fn settings(&self, settings: &[(&str, &Option<PathBuf>)]) -> String {
        let is_it = |file: &Option<PathBuf>| file.as_ref() == Some(&self.path);
        let names = settings.iter().filter(|(_, file)| is_it(file)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.why)
    }
}

impl std::error::Error for PemError {}

/// A file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes may be a key.
        f.debug_struct("PemFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PemFile {
    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// The path, and why it cannot be read and what to do.
    pub fn read(path: &Path) -> Result<Self, PemError> {
        let failed = |why: String| PemError { path: path.to_owned(), why };
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(path);
        let read = opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        let length = read.map_err(|error| {
            failed(match error.kind() {
                std::io::ErrorKind::NotFound => "does not exist; correct the path".to_owned(),
                std::io::ErrorKind::PermissionDenied => {
                    "cannot be read; allow the user of this process to read it".to_owned()
                }
                _ => format!("cannot be read ({})", rollmill_errors::InWords(&error)),
            })
        })?;
        match length as u64 > FILE_BYTES_MAX {
            true => Err(failed(format!("is longer than {} MiB", FILE_BYTES_MAX >> 20))),
            false => Ok(Self { path: path.to_owned(), bytes }),
        }
    }

    fn failed(&self, why: impl Into<String>) -> PemError {
        PemError { path: self.path.clone(), why: why.into() }
    }

    /// The certificates in it, at least one, in order.
    ///
    /// # Errors
    /// The path and what is wrong with the file.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let read = CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        let list = read.map_err(|_| self.failed("is not PEM text"))?;
        match list.is_empty() {
            true => Err(self.failed("has no line `-----BEGIN CERTIFICATE-----`")),
            false => Ok(list),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, PemError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                let encrypted = self.bytes.windows(9).any(|window| window == b"ENCRYPTED");
                self.failed(match encrypted {
                    true => "is encrypted; write the key without a passphrase, readable only by the user of this process",
                    false => "has no private key (a line such as `-----BEGIN PRIVATE KEY-----`)",
                })
            }
            _ => self.failed("is not PEM text"),
        })
    }

    /// The chain in this file with the private key in `key`, which must be the key of its first
    /// certificate.
    ///
    /// # Errors
    /// The path and what is wrong with the file.
    pub fn with_key(&self, key: &Self) -> Result<CertifiedKey, PemError> {
        let (chain, secret) = (self.certificates()?, key.key()?);
        CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                key.failed(format!("is not the key of the certificate in {}", self.path.display()))
            }
            rustls::Error::InvalidCertificate(_) => {
                self.failed("has a first certificate that cannot be read")
            }
            _ => key.failed(
                "has a key of a kind that is not supported (use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more)",
            ),
        })
    }

    /// Adds each certificate as an authority that is trusted.
    ///
    /// # Errors
    /// The path and what is wrong with the file.
    pub fn add_to(&self, roots: &mut rustls::RootCertStore) -> Result<(), PemError> {
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|_| self.failed("has a certificate that cannot be read"))?;
        }
        Ok(())
    }
}
