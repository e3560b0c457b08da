//! TLS of a server: its certificate, and the authority of its clients' certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use prometheus::Registry;
use rollmill_net::{PemError, PemFile, provider};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::guard::RequestError;
use crate::listener::Protection;
use crate::metrics::{Declared, with_label};
use crate::{Error, Outage};

/// How often the files of certificates are read again. SIGHUP does it immediately.
const RELOAD: Duration = Duration::from_secs(60);
/// The first byte of a TLS connection: a record of type handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Bytes of a rejected client that are read so that its system delivers the reason before it learns that
/// the connection is closed.
const REST_MAX: usize = 64 * 1024;

crate::metrics! {
    /// Metrics of a certificate and its files.
    pub(crate) struct TlsMetrics: "rollmill_tls_" {
        /// Unix time at which the first certificate in the chain of `server` expires: `rpc` of a node,
        /// `broker`, `committee`, `quotes`, or `client` for what the process presents to servers.
        certificate_expiry_timestamp_seconds: Gauge = f64::NAN,
        /// Times that the changed files of `server` were read, by outcome. After `failed` what was read
        /// before stays in use.
        reloads_total: IntCounterVec[outcome in ["ok", "failed"]],
    }
}

impl TlsMetrics {
    pub(crate) fn labelled() -> Vec<Declared> {
        with_label("server", Self::declared())
    }

    pub(crate) fn of(server: &str, registry: &Registry) -> Result<Self, Error> {
        let metrics = Self::create(&[("server", server)]);
        metrics.register(registry).map_err(super::unregistered)?;
        Ok(metrics)
    }

    /// Shows when the first of `chain` expires, and warns if it has.
    pub(crate) fn show(&self, server: &str, chain: &[CertificateDer<'_>]) {
        let Some(expiry) = chain.iter().filter_map(expiry).min() else { return };
        self.certificate_expiry_timestamp_seconds.set(expiry.as_secs_f64());
        if SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now >= expiry) {
            tracing::warn!(server, "certificate expired");
        }
    }

    /// Counts and logs that the files were read again, if they changed.
    pub(crate) fn reloaded(&self, server: &str, outcome: &Result<bool, PemError>) {
        let label = match outcome {
            Ok(false) => return,
            Ok(true) => {
                tracing::info!(server, "certificate files read again");
                "ok"
            }
            Err(error) => {
                tracing::error!(server, %error, "changed certificate files unusable; keeping those read before");
                "failed"
            }
        };
        self.reloads_total.with_label_values(&[label]).inc();
    }
}

/// When a certificate expires, since the Unix epoch; `None` if it cannot be read.
fn expiry(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

/// The certificate that the client of a connection presented, if the server requires one. An authority of the server's
/// `listen_client_ca` signed it, and it was valid in the handshake. Each request of the connection has it as an extension,
/// `Arc<ClientCertificate>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    names: Vec<String>,
    ends: Duration,
}

impl ClientCertificate {
    /// Reads a certificate; `None` if it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        let ends = certificate.validity().not_after.to_unix_duration();
        let all = certificate.get_extension::<SubjectAltName>().ok()?;
        let mut names = Vec::new();
        for name in all.map(|(_, all)| all.0).into_iter().flatten() {
            if let GeneralName::DnsName(name) = name {
                names.push(name.to_string().to_ascii_lowercase());
            }
        }
        Some(Self { names, ends })
    }

    /// Its DNS names (RFC 5280, section 4.2.1.6), in lower case. The subject is none of them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is no longer valid: a connection may outlive it.
    pub fn has_ended(&self, now: SystemTime) -> bool {
        now.duration_since(UNIX_EPOCH).is_ok_and(|now| now > self.ends)
    }

    /// How long it is still valid; nothing once it has ended.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.ends.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// What the client of a connection presented.
pub(super) fn client_certificate<S>(stream: &TlsStream<S>) -> Option<Arc<ClientCertificate>> {
    let (_, connection) = stream.get_ref();
    let first = connection.peer_certificates()?.first()?;
    ClientCertificate::of(first).map(Arc::new)
}

/// When the first certificate in the chain of a server expires, since the Unix epoch; `None` for plain HTTP. The files
/// are read as the server reads them.
///
/// # Errors
/// The file that cannot be used, and why.
pub fn certificate_end(protection: &Protection) -> Result<Option<Duration>, PemError> {
    let Some((certificate, key)) = protection.identity() else { return Ok(None) };
    let files = [Some(certificate), Some(key), protection.client_ca.as_deref()];
    let (chain, _) = config(&read(files)?)?;
    Ok(chain.iter().filter_map(expiry).min())
}

/// Calls `reload` each minute and at SIGHUP, until it is dropped.
pub(crate) async fn keep(reload: impl Fn() + Clone + Send + 'static) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => Some(hangups),
        Err(error) => {
            let error = rollmill_errors::InWords(&error).to_string();
            tracing::warn!(error, "SIGHUP not handled; certificate files are read each minute");
            None
        }
    };
    loop {
        let hangup = async {
            match &mut hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(RELOAD) => {}
            _ = hangup => {}
        }
        // Fails only if `reload` panics; the next round calls it again.
        let _ = tokio::task::spawn_blocking(reload.clone()).await;
    }
}

#[derive(Debug)]
struct Loaded {
    read: Vec<PemFile>,
    config: Arc<ServerConfig>,
}

/// The certificate of a server. Its files are read again each minute and at SIGHUP; a connection keeps
/// what was read before it.
#[derive(Debug)]
pub struct ServerTls {
    server: &'static str,
    protection: Protection,
    loaded: RwLock<Loaded>,
    metrics: TlsMetrics,
    failures: Outage,
}

impl ServerTls {
    /// Reads the files of `protection`; `None` if it has no certificate.
    pub(super) fn open(
        server: &'static str,
        protection: &Protection,
        registry: &Registry,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some((certificate, key)) = protection.identity() else { return Ok(None) };
        let files = [Some(certificate), Some(key), protection.client_ca.as_deref()];
        let of_setting = |error| Error::Tls { setting: protection.setting(&error), error };
        let read = read(files).map_err(of_setting)?;
        let (chain, config) = config(&read).map_err(of_setting)?;
        let metrics = TlsMetrics::of(server, registry)?;
        metrics.show(server, &chain);
        Ok(Some(Arc::new(Self {
            server,
            protection: protection.clone(),
            loaded: RwLock::new(Loaded { read, config }),
            metrics,
            failures: Outage::default(),
        })))
    }

    /// Reads the files again, and returns whether they changed.
    ///
    /// # Errors
    /// The file that cannot be used, and why; what was read before stays in use.
    pub fn reload(&self) -> Result<bool, PemError> {
        let outcome = self.read_again();
        self.metrics.reloaded(self.server, &outcome);
        outcome
    }

    fn read_again(&self) -> Result<bool, PemError> {
        let Some((certificate, key)) = self.protection.identity() else { return Ok(false) };
        let read = read([Some(certificate), Some(key), self.protection.client_ca.as_deref()])?;
        if read == self.loaded.read().read {
            return Ok(false);
        }
        let (chain, config) = config(&read)?;
        *self.loaded.write() = Loaded { read, config };
        self.metrics.show(self.server, &chain);
        Ok(true)
    }

    /// The handshake with a client. `None` after a failure, which is logged and whose reason was sent.
    /// The caller sets the deadline.
    pub(super) async fn accept<S>(&self, stream: S) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.loaded.read().config));
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Some(stream),
            Err((error, mut stream)) => {
                self.report(&error);
                finish(&mut stream).await;
                None
            }
        }
    }

    fn report(&self, error: &std::io::Error) {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        // Without an error of TLS the peer went away, such as a probe that only connects.
        let Some(tls) = tls else { return };
        if let Some(repeated) = self.failures.failed() {
            let (server, error) = (self.server, rollmill_net::handshake_failure(tls));
            tracing::warn!(server, error, repeated, "TLS handshake failed");
        }
    }
}

/// Whether the peer speaks TLS, by its first byte, which is left to read; `None` if it sends none.
pub(super) async fn speaks_tls(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await.ok()?;
    (read > 0).then_some(first[0] == HANDSHAKE)
}

/// Tells a peer that speaks plain HTTP what this address serves.
pub(super) async fn reject_plain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let (error, body) = (RequestError::PlainHttp, RequestError::PlainHttp.body());
    let response = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        error.status(),
        body.len()
    );
    // The peer may be gone, and then needs no answer.
    let _ = stream.write_all(response.as_bytes()).await;
    finish(stream).await;
}

/// Ends a connection so that the peer reads what was sent last: a system that receives data on a closed
/// connection discards what its process has not read yet.
async fn finish<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(REST_MAX as u64);
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
}

fn read(files: [Option<&Path>; 3]) -> Result<Vec<PemFile>, PemError> {
    files.into_iter().flatten().map(PemFile::read).collect()
}

/// The chain of a server, and how it speaks TLS. `files` are the certificate, its key, and the authority of
/// clients' certificates if they must present one.
fn config(
    files: &[PemFile],
) -> Result<(Vec<CertificateDer<'static>>, Arc<ServerConfig>), PemError> {
    let [certificate, key, authority @ ..] = files else {
        unreachable!("a certificate has a key");
    };
    let identity = Arc::new(certificate.with_key(key)?);
    let chain = identity.cert.clone();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has algorithms of both versions");
    let builder = match authority.first() {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            file.add_to(&mut roots)?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            builder.with_client_cert_verifier(verifier.expect("the file has a certificate"))
        }
    };
    let resolver = rustls::sign::SingleCertAndKey::from(identity);
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((chain, Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use rollmill_net_testing::{Authority, Signed};

    use super::*;

    fn certificate(signed: &Signed) -> ClientCertificate {
        let read = |path: &Path| PemFile::read(path).unwrap();
        let identity = read(&signed.cert).with_key(&read(&signed.key)).unwrap();
        ClientCertificate::of(&identity.cert[0]).unwrap()
    }

    #[test]
    fn the_names_of_a_certificate_are_its_dns_names_and_neither_addresses_nor_its_subject() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority");
        let several = authority.sign("several", &["Agent-1.farm", "10.0.0.1", "b"]);
        assert_eq!(certificate(&several).names(), ["agent-1.farm", "b"]);
        assert!(certificate(&authority.sign("agent-1", &[])).names().is_empty());
        assert_eq!(ClientCertificate::of(&CertificateDer::from(vec![0x30, 0x00])), None);
    }

    #[test]
    fn a_certificate_ends_with_the_second_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority");
        let certificate = certificate(&authority.sign_for("agent", &["agent"], (2020, 2021)));
        // 1 January 2021, 00:00:00 UTC.
        let end = UNIX_EPOCH + Duration::from_secs(1_609_459_200);
        assert!(!certificate.has_ended(end));
        assert!(certificate.has_ended(end + Duration::from_secs(1)));
        let hour = Duration::from_secs(3600);
        assert_eq!(certificate.left(end - hour), hour);
        assert_eq!(certificate.left(end + hour), Duration::ZERO);
    }
}
