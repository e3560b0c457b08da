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
