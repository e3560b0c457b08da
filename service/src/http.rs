//! Listens and serves with limits, so that no peer can keep a server from serving the others.
//!
//! A connection waits either for its peer (a TLS handshake, nothing sent yet, a partial head, a partial body, a response
//! that is not read) or for the process. Each wait for a peer has a deadline; waiting for the process
//! has none here. The number of connections is limited, in total and per peer address. At a limit a new
//! connection replaces the one that has been silent longest, so that silent connections cannot lock out
//! active ones.

mod connection;
mod guard;
mod slots;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;

use crate::listener::Protection;
use crate::metrics::{Declared, with_label};
use crate::{Backoff, Error, Shutdown};
pub use connection::Connection;
use connection::{Ended, Serving};
use guard::Guard;
pub use guard::RequestError;
use slots::Slots;
pub use tls::{ClientCertificate, ServerTls, certificate_end};

/// Pause after an error of `accept` that concerns the process, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on `address` (`host:port`; port 0 lets the system choose). `setting` is the setting that an
/// error names.
pub async fn listen(address: &str, setting: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            Error::PortTaken { address: address.into(), setting: setting.into() }
        }
        _ => Error::Listen { address: address.into(), setting: setting.into(), source },
    })
}

/// Limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Maximum open connections. Half of the process's limit of open files is used if that is
    /// lower, so that descriptors are left for the database, L1 and the admin address.
    pub connections: usize,
    /// Maximum open connections of one peer address.
    pub connections_per_peer: usize,
    /// Bounds of connections on which nobody has identified himself; `None` for a server without identities.
    pub unknown: Option<UnknownLimits>,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the first byte of a request on an open connection.
    pub idle: Duration,
    /// Time for the head of a request, from its first byte.
    pub head: Duration,
    /// Time for the body of a request; each [`Self::body_bytes_per_second`] bytes received add a
    /// second.
    pub body: Duration,
    /// Lowest mean rate at which a body may arrive once [`Self::body`] is used up. Above 0.
    pub body_bytes_per_second: u64,
    /// Maximum time in which a peer sends nothing of a body that its handler waits for, however much it sent before.
    pub body_silence: Duration,
    /// Maximum time in which a peer reads nothing of a response.
    pub write_stall: Duration,
    /// After shutdown started: time for requests that have not arrived completely. Requests that
    /// arrived get their responses.
    pub drain: Duration,
}

/// Bounds of connections on which no request has been vouched for with [`Connection::vouch`]. Beyond them those that have
/// been silent longest are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownLimits {
    /// All of them.
    pub connections: usize,
    /// Those of one peer address.
    pub connections_per_peer: usize,
    /// A connection counts once it has been open this long, so that many honest peers may come at once.
    pub after: Duration,
    /// Whether those of this machine count too. Behind a proxy on it all are.
    pub count_loopback: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_per_peer: 1024,
            unknown: None,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            body_bytes_per_second: 16 * 1024,
            body_silence: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_millis(500),
        }
    }
}

impl HttpLimits {
    /// Limits of the admin address: few connections, reserved for it.
    pub fn admin() -> Self {
        Self { connections: 64, connections_per_peer: 32, ..Self::default() }
    }
}

crate::metrics! {
    /// Metrics of a server's connections.
    pub(crate) struct ConnectionMetrics: "rollmill_http_" {
        /// Open connections of `server`: `admin`, `rpc` of a node, `broker`, `committee`, `quotes`, `pxe`.
        connections: IntGauge,
        /// Connections that `server` closed, by reason.
        connections_closed_total: IntCounterVec[reason in Ended::REASONS],
    }
}

/// Metrics of a server's connections, under its name.
#[derive(Debug, Clone)]
pub struct HttpMetrics(ConnectionMetrics);

impl HttpMetrics {
    pub(crate) fn declared() -> Vec<Declared> {
        with_label("server", ConnectionMetrics::declared())
    }

    /// Creates series with the label `server`, so that a process may have several servers. Every reason
    /// for which the server itself closes connections starts at 0.
    pub fn new(server: &str) -> Self {
        Self(ConnectionMetrics::create(&[("server", server)]))
    }

    /// Registers the series.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.0.register(registry)
    }
}

/// The error for metrics that a registry has already.
pub(crate) fn unregistered(source: prometheus::Error) -> Error {
    Error::Serve { source: std::io::Error::other(source) }
}

/// A server of one address: its limits, its certificate, and which requests it takes.
#[derive(Debug)]
pub struct HttpServer {
    limits: HttpLimits,
    metrics: HttpMetrics,
    tls: Option<Arc<ServerTls>>,
    guard: Option<Guard>,
}

impl HttpServer {
    /// The server `name` of `address` (`host:port`), protected by `protection`: its certificate is read, and
    /// requests that a page in a browser could send are rejected. `name` labels its metrics, which
    /// `registry` shows.
    ///
    /// # Errors
    /// [`Error::Tls`] for a file that cannot be used.
    pub fn open(
        name: &'static str,
        address: &str,
        limits: HttpLimits,
        protection: &Protection,
        registry: &Registry,
    ) -> Result<Self, Error> {
        let metrics = HttpMetrics::new(name);
        metrics.register(registry).map_err(unregistered)?;
        let tls = ServerTls::open(name, protection, registry)?;
        let guard = Some(Guard::new(address, &protection.hosts, tls.is_some()));
        Ok(Self { limits, metrics, tls, guard })
    }

    /// Serves pages of these origins too, each as browsers write it: `https://shop.example`. The handlers answer the
    /// questions of browsers about them (CORS).
    #[must_use]
    pub fn with_origins(self, origins: Vec<String>) -> Self {
        Self { guard: self.guard.map(|guard| guard.with_origins(origins)), ..self }
    }

    /// Its certificate, if it serves TLS.
    pub fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.clone()
    }

    /// Serves until `shutdown` starts and every request that arrived has its response. A handler that
    /// waits long must itself watch `shutdown`. Handlers may extract `ConnectInfo<SocketAddr>`.
    ///
    /// # Errors
    /// None at present; errors of single connections end those.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: axum::Router,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        let Self { limits, metrics, tls, guard } = self;
        let total = match open_files_max() {
            Some(files) => limits.connections.min((files / 2).max(1)),
            None => limits.connections,
        };
        let slots = Arc::new(Slots::new(
            total,
            limits.connections_per_peer.max(1),
            limits.unknown,
            metrics,
        ));
        let serving = Arc::new(Serving { router, limits, tls: tls.clone(), guard });
        let reload = async {
            match tls {
                // The error is logged and counted.
                Some(tls) => tls::keep(move || drop(tls.reload())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = accept(listener, &serving, &slots, &shutdown) => {}
            () = reload => {}
        }
        Ok(())
    }
}

/// Accepts connections until `shutdown` starts, and waits for the end of all.
async fn accept(
    listener: TcpListener,
    serving: &Arc<Serving>,
    slots: &Arc<Slots>,
    shutdown: &Shutdown,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.started() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, serving, slots, shutdown),
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                slots.report_accept_error(&error);
                slots.evict_one();
                shutdown.within(Backoff::steady(ACCEPT_PAUSE).pause()).await;
            }
        }
    }
    // So that no peer waits in the backlog of a server that shuts down.
    drop(listener);
    slots.empty().await;
}

/// Serves plain HTTP within [`HttpLimits::default`], as [`HttpServer::serve`] does, and takes every request.
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    shutdown: Shutdown,
) -> Result<(), Error> {
    serve_within(listener, router, HttpLimits::default(), HttpMetrics::new("http"), shutdown).await
}

/// [`serve`] within `limits`.
pub async fn serve_within(
    listener: TcpListener,
    router: axum::Router,
    limits: HttpLimits,
    metrics: HttpMetrics,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let server = HttpServer { limits, metrics, tls: None, guard: None };
    server.serve(listener, router, shutdown).await
}

fn admit(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    serving: &Arc<Serving>,
    slots: &Arc<Slots>,
    shutdown: &Shutdown,
) {
    // Requests in progress take all places, so the connection is closed.
    let Some(slot) = slots.take(peer.ip()) else { return };
    let _ = stream.set_nodelay(true);
    let (serving, shutdown) = (Arc::clone(serving), shutdown.clone());
    tokio::spawn(async move {
        let ended = connection::run(stream, peer, &serving, &slot, shutdown).await;
        slot.release(ended);
    });
}

fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Raises this process's soft limit of open files, which is 1,024 where systemd starts it: half of that is too few
/// connections for some hundred agents. As far as the hard limit allows; connections keep to what there is.
pub(crate) fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(1 << 16);
    if soft < wanted {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    }
}

/// The soft limit of open files of this process; `None` where the system does not report it.
fn open_files_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
