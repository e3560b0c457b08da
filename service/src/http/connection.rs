//! One connection: its phase and its deadline.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use super::HttpLimits;
use super::guard::Guard;
use super::slots::Slot;
use super::tls::{self, ClientCertificate, ServerTls};
use crate::Shutdown;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The peer closed it, it broke, or it was no longer needed.
    ByPeer,
    /// The TLS handshake did not end in time.
    Handshake,
    /// The TLS handshake failed, or the peer spoke plain HTTP.
    Tls,
    /// No request came.
    Idle,
    /// The head of a request did not arrive in time.
    Head,
    /// The body of a request did not arrive in time.
    Body,
    /// The peer did not read its response.
    Stalled,
    /// It was evicted for another connection.
    Evicted,
    /// All places were taken.
    Full,
    /// Shutdown started before its request had arrived.
    Drained,
}

impl Ended {
    pub(super) const REASONS: [&'static str; 9] =
        ["handshake", "tls", "idle", "head", "body", "stalled", "evicted", "full", "drained"];

    /// The metric's label for connections that the server closed.
    pub(super) fn reason(self) -> Option<&'static str> {
        Some(match self {
            Self::ByPeer => return None,
            Self::Handshake => "handshake",
            Self::Tls => "tls",
            Self::Idle => "idle",
            Self::Head => "head",
            Self::Body => "body",
            Self::Stalled => "stalled",
            Self::Evicted => "evicted",
            Self::Full => "full",
            Self::Drained => "drained",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The TLS handshake.
    Handshake,
    /// Nothing of a request has arrived.
    Idle,
    Head,
    Body {
        received: u64,
    },
    /// The request has arrived, or its handler needs no more of it.
    Working,
    /// The response is being produced and sent.
    Answering,
}

#[derive(Debug, Clone, Copy)]
struct At {
    phase: Phase,
    /// When the phase started.
    since: Instant,
    /// When the peer last sent or read something.
    active: Instant,
    /// Since when the peer has read nothing although bytes are waiting for it.
    stalled: Option<Instant>,
    /// Since when the handler has waited for more of the body. A handler that does something else meanwhile reads
    /// nothing, so that the peer can send nothing.
    awaited: Option<Instant>,
}

/// Progress of a connection.
#[derive(Debug)]
pub(super) struct Progress {
    at: Mutex<At>,
    /// Somebody has vouched for a request on it.
    is_known: AtomicBool,
}

/// The connection that a request came on, as an extension of the request. It keeps nothing open.
#[derive(Debug, Clone)]
pub struct Connection(Weak<Progress>);

impl Connection {
    /// Whether it is open still.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// A request on it came from somebody known: the connection no longer counts among the unknown.
    pub fn vouch(&self) {
        if let Some(progress) = self.0.upgrade() {
            progress.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Whether both are one connection.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let at = At { phase: Phase::Idle, since: now, active: now, stalled: None, awaited: None };
        Self { at: Mutex::new(at), is_known: AtomicBool::new(false) }
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock()
    }

    fn enter(&self, phase: Phase) {
        let mut at = self.at();
        (at.phase, at.since, at.awaited) = (phase, Instant::now(), None);
    }

    fn read(&self) {
        let mut at = self.at();
        at.active = Instant::now();
        if at.phase == Phase::Idle {
            (at.phase, at.since) = (Phase::Head, at.active);
        }
    }

    fn body(&self, bytes: u64) {
        let mut at = self.at();
        if let Phase::Body { received } = &mut at.phase {
            *received = received.saturating_add(bytes);
        }
    }

    fn awaits_body(&self, is_pending: bool) {
        let mut at = self.at();
        if is_pending {
            at.awaited.get_or_insert_with(Instant::now);
        } else {
            at.awaited = None;
        }
    }

    fn body_ended(&self) {
        let is_body = matches!(self.at().phase, Phase::Body { .. });
        if is_body {
            self.enter(Phase::Working);
        }
    }

    fn wrote(&self, is_pending: bool) {
        let mut at = self.at();
        let now = Instant::now();
        if is_pending {
            at.stalled.get_or_insert(now);
        } else {
            (at.stalled, at.active) = (None, now);
        }
    }

    /// Since when the peer has been silent, if it is the peer's turn.
    pub(super) fn waits_for_peer_since(&self) -> Option<Instant> {
        let at = self.at();
        let is_theirs = !matches!(at.phase, Phase::Working | Phase::Answering);
        (is_theirs || at.stalled.is_some()).then_some(at.active)
    }

    /// The deadline of the current phase, and why the connection ends after it.
    fn deadline(&self, limits: &HttpLimits, draining: Option<Instant>) -> Option<(Instant, Ended)> {
        let at = *self.at();
        let phase = match at.phase {
            Phase::Handshake => Some((at.since + limits.handshake, Ended::Handshake)),
            Phase::Idle => Some((at.since + limits.idle, Ended::Idle)),
            Phase::Head => Some((at.since + limits.head, Ended::Head)),
            Phase::Body { received } => {
                let earned = Duration::from_secs(received / limits.body_bytes_per_second.max(1));
                let whole = at.since + limits.body + earned;
                // What arrived quickly must not buy a long silence.
                let silent = at.awaited.map(|awaited| at.active.max(awaited) + limits.body_silence);
                Some((silent.map_or(whole, |silent| whole.min(silent)), Ended::Body))
            }
            Phase::Working | Phase::Answering => None,
        };
        let stalled = at.stalled.map(|since| (since + limits.write_stall, Ended::Stalled));
        // Shutdown does not wait for requests that have not arrived, but for the rest of a response
        // that the peer reads.
        let drained = draining.filter(|_| phase.is_some() || at.stalled.is_some());
        let drained = drained.map(|since| (since + limits.drain, Ended::Drained));
        [phase, stalled, drained].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// What the connections of a server share.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) limits: HttpLimits,
    pub(super) tls: Option<Arc<ServerTls>>,
    /// `None` takes every request.
    pub(super) guard: Option<Guard>,
}

/// Serves one connection: its TLS handshake, then its requests one after the other.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    serving: &Arc<Serving>,
    slot: &Slot,
    shutdown: Shutdown,
) -> Ended {
    let watch = Watch { limits: serving.limits, slot, shutdown };
    let stream = Watched { stream, progress: Arc::clone(&slot.progress) };
    let Some(tls) = &serving.tls else {
        return requests(stream, (peer, None), serving, &watch).await;
    };
    slot.progress.enter(Phase::Handshake);
    match watch.until(pin!(handshake(stream, tls)), |_| {}).await {
        Ok(Handshake::Done(stream)) => {
            slot.progress.enter(Phase::Idle);
            let certificate = tls::client_certificate(&stream);
            requests(*stream, (peer, certificate), serving, &watch).await
        }
        Ok(Handshake::Failed) => Ended::Tls,
        Ok(Handshake::Gone) => Ended::ByPeer,
        Err(ended) => ended,
    }
}

enum Handshake {
    Done(Box<TlsStream<Watched>>),
    Failed,
    /// The peer sent nothing.
    Gone,
}

async fn handshake(mut stream: Watched, tls: &ServerTls) -> Handshake {
    match tls::speaks_tls(&stream.stream).await {
        None => Handshake::Gone,
        Some(false) => {
            tls::reject_plain(&mut stream).await;
            Handshake::Failed
        }
        Some(true) => match tls.accept(stream).await {
            Some(stream) => Handshake::Done(Box::new(stream)),
            None => Handshake::Failed,
        },
    }
}

/// The address of a peer, and the certificate that it presented.
type Client = (SocketAddr, Option<Arc<ClientCertificate>>);

async fn requests<S>(stream: S, client: Client, serving: &Arc<Serving>, watch: &Watch<'_>) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        answer(request, client.clone(), Arc::clone(serving), Arc::clone(&watch.slot.progress))
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = watch.until(pin!(connection), |connection| connection.graceful_shutdown()).await;
    ended.map_or_else(|ended| ended, |_| Ended::ByPeer)
}

/// What may end a connection beside its peer.
struct Watch<'a> {
    limits: HttpLimits,
    slot: &'a Slot,
    shutdown: Shutdown,
}

impl Watch<'_> {
    /// Polls `future` until it ends, or its connection does. `drain` is called once if shutdown starts.
    async fn until<F: Future>(
        &self,
        mut future: Pin<&mut F>,
        drain: impl Fn(Pin<&mut F>),
    ) -> Result<F::Output, Ended> {
        let progress = &self.slot.progress;
        let mut evicted = pin!(self.slot.evicted.notified());
        let mut started = pin!(self.shutdown.started());
        let mut timer = pin!(tokio::time::sleep(self.limits.idle));
        let mut draining = None;
        poll_fn(|context| {
            if evicted.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Ended::Evicted));
            }
            if draining.is_none() && started.as_mut().poll(context).is_ready() {
                draining = Some(Instant::now());
                drain(future.as_mut());
            }
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            // The progress changes only in the poll above, so this sees every change.
            let Some((at, ended)) = progress.deadline(&self.limits, draining) else {
                return Poll::Pending;
            };
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            timer.as_mut().poll(context).map(|()| Err(ended))
        })
        .await
    }
}

async fn answer(
    request: Request<Incoming>,
    (peer, certificate): Client,
    serving: Arc<Serving>,
    progress: Arc<Progress>,
) -> Result<Response<Tracked>, std::convert::Infallible> {
    progress.enter(Phase::Body { received: 0 });
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(ConnectInfo(peer));
    parts.extensions.insert(Connection(Arc::downgrade(&progress)));
    if let Some(certificate) = certificate {
        parts.extensions.insert(certificate);
    }
    if body.is_end_stream() {
        progress.body_ended();
    }
    let checked = serving.guard.as_ref().map(|guard| guard.check(&parts, !body.is_end_stream()));
    let response = match checked {
        Some(Err(error)) => {
            tracing::debug!(%peer, %error, "request rejected");
            error.response()
        }
        _ => {
            let body = Arriving { body, progress: Arc::clone(&progress) };
            let mut router = serving.router.clone();
            router.call(Request::from_parts(parts, Body::new(body))).await?
        }
    };
    progress.enter(Phase::Answering);
    Ok(response.map(|body| Tracked { body, progress }))
}

/// A request's body that records how much of it arrived.
#[derive(Debug)]
struct Arriving {
    body: Incoming,
    progress: Arc<Progress>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.progress.awaits_body(polled.is_pending());
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.progress.body(bytes as u64);
                if self.body.is_end_stream() {
                    self.progress.body_ended();
                }
            }
            Poll::Ready(_) => self.progress.body_ended(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.progress.body_ended();
    }
}

/// A response's body that records when nothing is left of it.
#[derive(Debug)]
struct Tracked {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.progress.enter(Phase::Idle);
    }
}

/// A stream that records when its peer sends and reads bytes.
#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress.wrote(polled.is_pending());
        polled
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.progress.wrote(polled.is_pending());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a handler that does something else between two reads of a body, such as storing a part of it, costs its
    /// peer no connection.
    #[test]
    fn only_a_handler_that_waits_for_the_body_measures_its_silence() {
        let limits = HttpLimits { body_silence: Duration::from_secs(1), ..HttpLimits::default() };
        let progress = Progress::new();
        let left = || progress.deadline(&limits, None).unwrap().0 - progress.at().since;
        progress.enter(Phase::Body { received: 0 });
        assert_eq!(left(), limits.body);
        progress.awaits_body(true);
        assert!(left() < limits.body);
        progress.awaits_body(false);
        assert_eq!(left(), limits.body);
    }
}
