//! TLS of the HTTP clients: which servers they trust, the certificate that they present, and whether a token may go
//! without it.
//!
//! A process has one [`Tls`], which it installs when it starts; [`http_client`] uses it. The files are read
//! again by [`Tls::reload`] while connections stay open: the next handshake uses what was read.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::pem::{PemError, PemFile, provider};

/// The files that [`Tls`] reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities to trust beside those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Certificate chain and key to present to servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    fn read(&self) -> Result<Vec<PemFile>, PemError> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(identity).map(|path| PemFile::read(path)).collect()
    }
}

/// What the files contained.
#[derive(Debug)]
struct Loaded {
    read: Vec<PemFile>,
    ca: Option<PemFile>,
    identity: Option<Arc<CertifiedKey>>,
    /// Built at the first handshake: a process that speaks no TLS reads no certificates of the system.
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

impl Loaded {
    fn new(files: &TlsFiles, read: Vec<PemFile>) -> Result<Self, PemError> {
        let mut each = read.iter();
        let ca = files.ca.as_ref().and_then(|_| each.next()).cloned();
        if let Some(ca) = &ca {
            ca.add_to(&mut RootCertStore::empty())?;
        }
        let identity = match (each.next(), each.next()) {
            (Some(certificate), Some(key)) => Some(Arc::new(certificate.with_key(key)?)),
            _ => None,
        };
        Ok(Self { ca, identity, verifier: OnceLock::new(), read })
    }

    fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let build = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(of_the_system().iter().cloned());
            if let Some(ca) = &self.ca {
                ca.add_to(&mut roots).map_err(|error| error.to_string())?;
            }
            if roots.is_empty() {
                return Err("no certificate authority is trusted: install the system's certificates (package \
                            ca-certificates), or set --tls-ca"
                    .to_owned());
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| error.to_string())
        };
        self.verifier.get_or_init(build).clone().map_err(rustls::Error::General)
    }
}

/// The authorities that the system trusts, read once. Unreadable files are left out.
fn of_the_system() -> &'static [CertificateDer<'static>] {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

#[derive(Debug)]
struct Current {
    files: TlsFiles,
    loaded: RwLock<Arc<Loaded>>,
}

impl Current {
    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read())
    }
}

/// TLS of the clients of a process. Clones share one state.
#[derive(Debug, Clone)]
pub struct Tls {
    current: Arc<Current>,
    config: Arc<ClientConfig>,
    plain_tokens: bool,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn open(files: TlsFiles) -> Result<Self, PemError> {
        let loaded = Loaded::new(&files, files.read()?)?;
        let current = Arc::new(Current { files, loaded: RwLock::new(Arc::new(loaded)) });
        Ok(Self { config: Arc::new(config(&current)), current, plain_tokens: false })
    }

    /// The same, with clients that send tokens over plain HTTP to other machines too, or do not. They do not unless
    /// this says so: only whoever runs them knows that the network encrypts by itself.
    pub fn with_plain_tokens(self, plain_tokens: bool) -> Self {
        Self { plain_tokens, ..self }
    }

    /// Whether clients send tokens over plain HTTP to other machines.
    pub fn sends_plain_tokens(&self) -> bool {
        self.plain_tokens
    }

    /// Uses this for the clients that the process makes from now on. A process calls it once, at its start;
    /// returns false if that happened already, or a client was made before.
    pub fn install(self) -> bool {
        PROCESS.set(self).is_ok()
    }

    /// TLS of this process: what was installed, or else only trust in the system's authorities.
    pub fn of_process() -> Self {
        let system = || match Self::open(TlsFiles::default()) {
            Ok(tls) => tls,
            Err(_) => unreachable!("no file is read"),
        };
        PROCESS.get_or_init(system).clone()
    }

    /// Reads the files again, and returns whether they changed. Connections that are open stay so.
    ///
    /// # Errors
    /// As [`Self::open`]; what was read before stays in use.
    pub fn reload(&self) -> Result<bool, PemError> {
        let read = self.current.files.read()?;
        if read == self.current.loaded().read {
            return Ok(false);
        }
        *self.current.loaded.write() = Arc::new(Loaded::new(&self.current.files, read)?);
        Ok(true)
    }

    /// Whether there are files to read again.
    pub fn has_files(&self) -> bool {
        self.current.files != TlsFiles::default()
    }

    /// The certificate that clients present, if they have one.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.current.loaded().identity.as_ref()?.cert.first().cloned()
    }

    /// A client of HTTP servers, with or without TLS.
    pub fn http_client(&self) -> reqwest::ClientBuilder {
        #[allow(clippy::disallowed_methods, reason = "this adds the TLS that others would lack")]
        reqwest::Client::builder().tls_backend_preconfigured((*self.config).clone())
    }
}

static PROCESS: OnceLock<Tls> = OnceLock::new();

/// A client of HTTP servers with the TLS of this process.
pub fn http_client() -> reqwest::ClientBuilder {
    Tls::of_process().http_client()
}

/// A client without time limits, for tests and for programs that have limits of their own.
///
/// # Panics
/// If reqwest does not know the TLS that it is given, which depends on nothing at run time.
pub fn untimed_http_client() -> reqwest::Client {
    http_client().build().expect("TLS of the version that reqwest uses")
}

fn config(current: &Arc<Current>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider());
    let versions = builder.with_safe_default_protocol_versions();
    let mut config = versions
        .expect("the provider has algorithms of both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trust(Arc::clone(current))))
        .with_client_cert_resolver(Arc::new(Presented(Arc::clone(current))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would skip the checks of new files. Connections are kept open, so this costs little.
    config.resumption = Resumption::disabled();
    config
}

/// Checks servers against the authorities that were read last.
#[derive(Debug)]
struct Trust(Arc<Current>);

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.0.loaded().verifier()?;
        verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Presents the certificate that was read last.
#[derive(Debug)]
struct Presented(Arc<Current>);

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let identity = self.0.loaded().identity.clone()?;
        identity.key.choose_scheme(schemes).is_some().then_some(identity)
    }

    fn has_certs(&self) -> bool {
        self.0.loaded().identity.is_some()
    }
}
