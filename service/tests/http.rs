//! A server against peers that send slowly, send nothing, or do not read.
//!
//! Peers are distinguished by their address, so hostile ones connect from 127.0.0.2 where a test needs
//! two. Time runs through the server's own limits, which are short here; a test waits for what the
//! server does, never for a clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::{Extension, Router};
use prometheus::Registry;
use rollmill_service::{
    Connection, Error, HttpLimits, HttpMetrics, Shutdown, UnknownLimits, listen, prometheus,
    serve_within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longer than any test takes: a limit that must not be what ends it.
const NEVER: Duration = Duration::from_secs(3600);
const HONEST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const HOSTILE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn patient() -> HttpLimits {
    HttpLimits {
        connections: 64,
        connections_per_peer: 64,
        unknown: None,
        handshake: NEVER,
        idle: NEVER,
        head: NEVER,
        body: NEVER,
        body_bytes_per_second: 1,
        body_silence: NEVER,
        write_stall: NEVER,
        drain: Duration::from_millis(10),
    }
}

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    registry: Registry,
    task: JoinHandle<Result<(), Error>>,
}

impl Server {
    async fn start(limits: HttpLimits, router: Router) -> Self {
        let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, registry) = (Shutdown::new(), Registry::new());
        let metrics = HttpMetrics::new("test");
        metrics.register(&registry).unwrap();
        let served = serve_within(listener, router, limits, metrics, shutdown.clone());
        Self { address, shutdown, registry, task: tokio::spawn(served) }
    }

    /// A connection from `from` on which `sent` was sent.
    async fn connect(&self, from: IpAddr, sent: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream
    }

    /// The body of the response to a complete request on a new connection.
    async fn ask(&self, from: IpAddr, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut stream = self.connect(from, request.as_bytes()).await;
        let answer = until_closed(&mut stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    fn closed(&self, reason: &str) -> f64 {
        closed(&self.registry, reason)
    }
}

/// Connections that the server closed for this reason.
fn closed(registry: &Registry, reason: &str) -> f64 {
    let families = registry.gather();
    let name = "rollmill_http_connections_closed_total";
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let with = |metric: &&prometheus::proto::Metric| {
        metric.get_label().iter().any(|label| label.value() == reason)
    };
    family.get_metric().iter().find(with).unwrap().get_counter().get_value()
}

/// What a peer receives until the server closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn echo() -> Router {
    Router::new().route("/echo", post(|body: Bytes| async move { body }))
}

const HALF_BODY: &[u8] = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1";
const HALF_HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nhost";

/// Goal: each way of keeping a server waiting ends at its own limit, and is counted.
#[tokio::test]
async fn silence_half_heads_and_half_bodies_end_at_their_limits() {
    let soon = Duration::from_millis(20);
    for (sent, reason, limits) in [
        (&b""[..], "idle", HttpLimits { idle: soon, ..patient() }),
        (HALF_HEAD, "head", HttpLimits { head: soon, ..patient() }),
        (HALF_BODY, "body", HttpLimits { body: soon, ..patient() }),
        // The byte that arrived is worth a second, and an hour is left.
        (HALF_BODY, "body", HttpLimits { body_silence: soon, ..patient() }),
    ] {
        let server = Server::start(limits, echo()).await;
        assert_eq!(server.closed(reason), 0.0, "the series is there from the start");
        let mut stream = server.connect(HOSTILE, sent).await;
        assert_eq!(until_closed(&mut stream).await, "", "{reason}");
        server.shutdown.start();
        server.task.await.unwrap().unwrap();
        assert_eq!(closed(&server.registry, reason), 1.0);
    }
}

/// A response body that reports when its connection drops it.
struct Large(Vec<u8>, mpsc::UnboundedSender<()>);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let _ = self.1.send(());
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_at_its_limit() {
    let (ended, mut dropped) = mpsc::unbounded_channel();
    // More than the buffers of a connection hold.
    let large = move || async move { Bytes::from_owner(Large(vec![7; 64 << 20], ended)) };
    let limits = HttpLimits { write_stall: Duration::from_millis(20), ..patient() };
    let server = Server::start(limits, Router::new().route("/large", get(large))).await;
    let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    let _unread = server.connect(HOSTILE, request).await;
    dropped.recv().await.unwrap();
    server.shutdown.start();
    server.task.await.unwrap().unwrap();
    assert_eq!(closed(&server.registry, "stalled"), 1.0);
}

#[tokio::test]
async fn a_body_may_take_longer_the_more_of_it_arrives() {
    // No time at all for a body but what its bytes earn: a second each.
    let limits = HttpLimits { body: Duration::ZERO, body_bytes_per_second: 1, ..patient() };
    let server = Server::start(limits, echo()).await;
    let whole = "123456789";
    assert_eq!(server.ask(HONEST, whole).await, whole);
}

/// Goal: 256 incomplete bodies and as many silent connections lock out no one, neither other peers nor
/// the one they come from, at a small limit and with no deadline to help.
#[tokio::test]
async fn silent_connections_give_their_places_to_talking_ones() {
    let limits = HttpLimits { connections: 48, connections_per_peer: 32, ..patient() };
    let server = Server::start(limits, echo()).await;
    let mut silent = Vec::new();
    for i in 0..256 {
        let sent: &[u8] = [HALF_BODY, HALF_HEAD, b""][i % 3];
        silent.push(server.connect(HOSTILE, sent).await);
    }
    for from in [HONEST, HOSTILE, HONEST] {
        assert_eq!(server.ask(from, "hello").await, "hello", "{from}");
    }
    // The older ones had to go.
    assert_eq!(until_closed(&mut silent[0]).await, "");
    assert!(server.closed("evicted") >= 224.0, "{}", server.closed("evicted"));
}

/// Goal: the peer with the most connections pays for the bound on all of them.
#[tokio::test]
async fn a_busy_peer_cannot_push_out_the_silent_connections_of_another() {
    let limits = HttpLimits { connections: 8, connections_per_peer: 8, ..patient() };
    let server = Server::start(limits, echo()).await;
    let mut kept = server.connect(HONEST, HALF_BODY).await;
    let mut hostile = Vec::new();
    for _ in 0..64 {
        hostile.push(server.connect(HOSTILE, HALF_HEAD).await);
    }
    assert_eq!(server.ask(HOSTILE, "x").await, "x");
    kept.write_all(b"23456789").await.unwrap();
    let mut answer = vec![0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200 OK");
}

/// Goal: connections of nobody known stay few, and those of known peers do not count among them.
#[tokio::test]
async fn connections_that_nobody_vouches_for_stay_few() {
    let unknown = UnknownLimits {
        connections: 6,
        connections_per_peer: 4,
        after: Duration::ZERO,
        count_loopback: true,
    };
    let limits = HttpLimits { unknown: Some(unknown), ..patient() };
    let vouch = |Extension(connection): Extension<Connection>| async move {
        assert!(connection.is_open() && connection.is_same(&connection.clone()));
        connection.vouch();
    };
    let server = Server::start(limits, Router::new().route("/known", get(vouch))).await;
    let mut known = Vec::new();
    for _ in 0..10 {
        let request = b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut stream = server.connect(HOSTILE, request).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        known.push(stream);
    }
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(server.connect(HOSTILE, b"").await);
    }
    // The fifth of this peer made the first go.
    assert_eq!(until_closed(&mut silent[0]).await, "");
    for _ in 0..3 {
        silent.push(server.connect(HONEST, b"").await);
    }
    // And the seventh of all the next.
    assert_eq!(until_closed(&mut silent[1]).await, "");
    // Those that are known are open still.
    for stream in &mut known {
        stream
            .write_all(b"GET /known HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        assert!(until_closed(stream).await.contains("HTTP/1.1 200"));
    }
}

/// Goal: requests in progress are never aborted for a new connection.
#[tokio::test]
async fn a_request_that_is_worked_on_keeps_its_place() {
    let (arrived, mut seen) = mpsc::unbounded_channel();
    let gate = Shutdown::new();
    let opened = gate.clone();
    let slow = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
        let (arrived, opened) = (arrived.clone(), opened.clone());
        async move {
            arrived.send(peer).unwrap();
            opened.started().await;
            "done"
        }
    };
    let limits = HttpLimits { connections: 2, connections_per_peer: 2, ..patient() };
    let server = Server::start(limits, Router::new().route("/slow", get(slow))).await;
    let request = b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut first = server.connect(HONEST, request).await;
    let mut second = server.connect(HONEST, request).await;
    assert_eq!(seen.recv().await.unwrap().ip(), HONEST);
    seen.recv().await.unwrap();
    let mut third = server.connect(HONEST, b"").await;
    assert_eq!(until_closed(&mut third).await, "", "there is no place for it");
    assert_eq!(server.closed("full"), 1.0);
    // Shutdown lets them end.
    server.shutdown.start();
    gate.start();
    for stream in [&mut first, &mut second] {
        assert!(until_closed(stream).await.ends_with("done"));
    }
    server.task.await.unwrap().unwrap();
}

/// Goal: half-sent requests do not delay the end.
#[tokio::test]
async fn shutdown_does_not_wait_for_requests_that_never_arrive() {
    let server = Server::start(patient(), echo()).await;
    let mut open = Vec::new();
    for sent in [HALF_BODY, HALF_HEAD, b""] {
        open.push(server.connect(HOSTILE, sent).await);
    }
    // It got a response, so the connections before it were accepted too.
    assert_eq!(server.ask(HONEST, "x").await, "x");
    server.shutdown.start();
    server.task.await.unwrap().unwrap();
    for stream in &mut open {
        assert_eq!(until_closed(stream).await, "");
    }
}
