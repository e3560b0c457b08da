//! Certificates for tests: an authority in a folder, and what it signs.
//!
//! The functions panic where a test could not go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rollmill_net::{PemFile, provider};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// The years, from 1 January to 1 January, in which a certificate is valid unless a test says otherwise.
pub const YEARS: (i32, i32) = (2020, 2120);

/// An authority, whose certificate and what it signs are files in one folder.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate and of its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Signed {
    /// Accepts TLS connections with the certificate, for a server that a test makes itself.
    ///
    /// # Panics
    /// When the files cannot be read.
    pub fn acceptor(&self) -> TlsAcceptor {
        let read = |path: &Path| or_panic(PemFile::read(path));
        let identity = Arc::new(or_panic(read(&self.cert).with_key(&read(&self.key))));
        let builder = ServerConfig::builder_with_provider(provider());
        let config = or_panic(builder.with_safe_default_protocol_versions())
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
        TlsAcceptor::from(Arc::new(config))
    }
}

fn or_panic<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("no certificate for a test: {error}"),
    }
}

fn params(name: &str, hosts: &[&str], (first, last): (i32, i32)) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = or_panic(CertificateParams::new(hosts));
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
    params
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = params(name, &[], YEARS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    /// An authority that signed its own certificate, which is the file `NAME.pem` in `dir`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn new(dir: &Path, name: &str) -> Self {
        let (params, key) = (of_authority(name), or_panic(KeyPair::generate()));
        let pem = or_panic(params.self_signed(&key)).pem();
        Self::written(dir, name, &pem, Issuer::new(params, key))
    }

    /// An authority whose certificate, the file `NAME.pem`, is signed by this one.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = (of_authority(name), or_panic(KeyPair::generate()));
        let pem = or_panic(params.signed_by(&key, &self.issuer)).pem();
        Self::written(&self.dir, name, &pem, Issuer::new(params, key))
    }

    fn written(dir: &Path, name: &str, pem: &str, issuer: Issuer<'static, KeyPair>) -> Self {
        let authority = Self { dir: dir.to_owned(), name: name.to_owned(), issuer };
        or_panic(std::fs::write(authority.file(), pem));
        authority
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// Signs a certificate of a server and client for `hosts` (names and IP addresses), valid in [`YEARS`]. The files
    /// are `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn sign(&self, name: &str, hosts: &[&str]) -> Signed {
        self.sign_for(name, hosts, YEARS)
    }

    /// As [`Self::sign`], valid from 1 January of the first year to 1 January of the last.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn sign_for(&self, name: &str, hosts: &[&str], years: (i32, i32)) -> Signed {
        let mut params = params(name, hosts, years);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = or_panic(KeyPair::generate());
        let certificate = or_panic(params.signed_by(&key, &self.issuer));
        let file = |end: &str| self.dir.join(format!("{name}.{end}"));
        let signed = Signed { cert: file("pem"), key: file("key") };
        or_panic(std::fs::write(&signed.cert, certificate.pem()));
        or_panic(std::fs::write(&signed.key, key.serialize_pem()));
        signed
    }
}
