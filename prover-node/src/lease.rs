//! The submitter's lease: a named lease at the broker, renewed by its own task.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_broker_client::{
    AgentId, Client, ClientError, Digest, Incarnation, JobId, NamedLeaseResponse, SUBMITTER_LEASE,
};
use rollmill_l1::Right;
use rollmill_service::{Backoff, Shutdown};
use uuid::Uuid;

use crate::jobs::Health;

/// How long the lease lasts without a renewal.
pub const TTL: Duration = SUBMITTER_LEASE;
/// How often it is renewed, or requested.
pub const RENEW: Duration = Duration::from_secs(10);
/// Nothing is submitted when the last renewal is older than this. Half of the lease is then still left
/// at the broker, so there is no other holder.
pub const TRUSTED: Duration = Duration::from_secs(15);

/// How long to wait at shutdown for the response to the last request.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// The identity file of this prover node cannot be read or written.
///
/// Do: Check the directory of `--intents`, its permissions and its disk.
#[derive(Debug, thiserror::Error)]
#[error("{code}: cannot use the identity file {path}: {cause}. Check the folder of the setting intents", code = self.code(), cause = rollmill_errors::InWords(.source))]
pub struct IdentityError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

rollmill_errors::coded! {
    IdentityError {
        Self { .. } => "PRN-031",
    }
}

/// The holder of a lease: random bits stored on disk, and as many for this process, because a process
/// id may be equal in two containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Stored beside the intents, and as long as they are.
    pub holder: AgentId,
    /// Of this process.
    pub incarnation: Incarnation,
}

impl Identity {
    /// Reads the identity file beside the file of intents, or creates it.
    pub fn open(intents: &Path) -> Result<Self, IdentityError> {
        let path = intents.with_extension("identity");
        let failed = |source| IdentityError { path: path.clone(), source };
        let holder = match std::fs::read_to_string(&path) {
            Ok(text) => Uuid::parse_str(text.trim()).map_err(|_| {
                failed(io::Error::other("it holds no identity; remove it to make a new one"))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fresh = Uuid::new_v4();
                rollmill_files::make_folder_of(&path).map_err(failed)?;
                let text = format!("{}\n", fresh.simple());
                rollmill_files::write(&path, &[text.as_bytes()]).map_err(failed)?;
                fresh
            }
            Err(error) => return Err(failed(error)),
        };
        let holder = format!("prover-node-{}", holder.simple());
        let holder = holder.parse().map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self { holder, incarnation: Incarnation::random() })
    }
}

/// The lease as far as this process knows.
#[derive(Debug, Default, Clone)]
struct Known {
    /// Fence and the moment before the last successful request was sent.
    lease: Option<(u64, Instant)>,
    other: Option<String>,
}

/// The lease as the controller sees it. Clones share it.
#[derive(Debug, Default, Clone)]
pub struct Lease {
    known: Arc<Mutex<Known>>,
}

impl Lease {
    /// The fence, while the lease is held and was renewed lately.
    pub fn fence(&self, now: Instant) -> Option<u64> {
        let known = self.known.lock();
        let trusted = |at: &Instant| now.saturating_duration_since(*at) <= TRUSTED;
        known.lease.filter(|(_, at)| trusted(at)).map(|(fence, _)| fence)
    }

    /// Whether an L1 transaction may be sent under this fence.
    pub fn right(&self, fence: u64, now: Instant) -> Right {
        match self.fence(now) {
            Some(held) if held == fence => Right::Held,
            Some(_) => Right::Gone,
            None if self.other().is_some() => Right::Gone,
            None => Right::Unknown,
        }
    }

    /// The other holder, as last reported.
    pub fn other(&self) -> Option<String> {
        self.known.lock().other.clone()
    }

    /// Records a response. `asked` is the moment before the request, at which the lease starts.
    pub fn take(&self, answer: &NamedLeaseResponse, asked: Instant) {
        let mut known = self.known.lock();
        let before = known.lease.map(|(fence, _)| fence);
        if answer.held {
            if before != Some(answer.fence) {
                tracing::info!(fence = answer.fence, "submitter's lease acquired");
            }
            (known.lease, known.other) = (Some((answer.fence, asked)), None);
        } else {
            let holder = answer.holder.as_ref().map(ToString::to_string);
            if before.is_some() {
                tracing::warn!(holder = ?holder, "submitter's lease lost");
            } else if known.other != holder {
                tracing::info!(holder = ?holder, "standby; another prover node of this id submits");
            }
            (known.lease, known.other) = (None, holder);
        }
    }

    /// Records that another holder has the lease.
    fn give_up(&self) {
        self.known.lock().lease = None;
    }

    fn known_fence(&self) -> Option<u64> {
        let known = self.known.lock();
        known.lease.map(|(fence, _)| fence)
    }
}

/// The broker's named leases: a trait, so that tests can replace them.
pub trait Names: Send + Sync + 'static {
    /// Asks for something that only a producer may, and that changes nothing.
    fn probe(&self) -> impl Future<Output = Result<(), ClientError>> + Send;
    /// Acquires the name, or reports who holds it.
    fn acquire(
        &self,
        name: &str,
        identity: &Identity,
    ) -> impl Future<Output = Result<NamedLeaseResponse, ClientError>> + Send;
    /// Renews the name.
    fn renew(
        &self,
        name: &str,
        identity: &Identity,
        fence: u64,
    ) -> impl Future<Output = Result<NamedLeaseResponse, ClientError>> + Send;
    /// Releases the name.
    fn release(
        &self,
        name: &str,
        identity: &Identity,
        fence: u64,
    ) -> impl Future<Output = Result<NamedLeaseResponse, ClientError>> + Send;
}

impl Names for Client {
    async fn probe(&self) -> Result<(), ClientError> {
        // A job that does not exist.
        let Ok(kind) = "check".parse() else { return Ok(()) };
        self.cancel(&[JobId::new(0, &kind, Digest::of(b"rollmill check"))]).await.map(drop)
    }

    async fn acquire(
        &self,
        name: &str,
        identity: &Identity,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.acquire_name(name, &identity.holder, &identity.incarnation, TTL).await
    }

    async fn renew(
        &self,
        name: &str,
        identity: &Identity,
        fence: u64,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.renew_name(name, &identity.holder, &identity.incarnation, fence, TTL).await
    }

    async fn release(
        &self,
        name: &str,
        identity: &Identity,
        fence: u64,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.release_name(name, &identity.holder, &identity.incarnation, fence).await
    }
}

/// How long another holder's lease lasts if it is not renewed. A standby requests the lease at that
/// time, to take over as soon as possible.
fn until_free(answer: &NamedLeaseResponse) -> Duration {
    // The broker counts in milliseconds and may round down.
    const MARGIN: Duration = Duration::from_millis(50);
    u64::try_from(answer.expires_in_ms).map_or(RENEW, Duration::from_millis) + MARGIN
}

/// In place of [`keep`] in a process that submits nothing. It takes no lease, since it would keep others from submitting,
/// but notices too that the broker is unreachable or rejects the token.
pub async fn probe<N: Names>(names: N, health: Arc<Health>, every: Duration, shutdown: Shutdown) {
    let mut retry = Backoff::new(every / 4, every);
    while !shutdown.is_started() {
        let answer = tokio::select! {
            answer = names.probe() => answer,
            () = shutdown.started() => return,
        };
        let pause = match answer {
            Ok(()) => {
                health.answered();
                retry.reset();
                every
            }
            Err(error) => {
                health.failed(&error);
                retry.pause()
            }
        };
        shutdown.within(pause).await;
    }
}

/// Acquires the lease and renews it until `shutdown` starts, then releases it. While there are no other
/// requests, this also notices that the broker is unreachable or rejects the token.
pub async fn keep<N: Names>(
    names: N,
    name: String,
    identity: Identity,
    lease: Lease,
    health: Arc<Health>,
    every: Duration,
    shutdown: Shutdown,
) {
    // A failed renewal is retried before the next one is due.
    let mut retry = Backoff::new(every / 4, every);
    while !shutdown.is_started() {
        let asked = Instant::now();
        let fence = lease.known_fence();
        let request = async {
            match fence {
                Some(fence) => names.renew(&name, &identity, fence).await,
                None => names.acquire(&name, &identity).await,
            }
        };
        let mut request = std::pin::pin!(request);
        let answer = tokio::select! {
            answer = &mut request => answer,
            // A grant in flight would block the others for a whole lease.
            () = shutdown.started() => match tokio::time::timeout(LAST_ANSWER, request).await {
                Ok(answer) => answer,
                Err(_) => break,
            },
        };
        let mut pause = every;
        match answer {
            Ok(answer) => {
                health.answered();
                retry.reset();
                lease.take(&answer, asked);
                // A lost lease may be free again by now.
                if !answer.held && fence.is_some() {
                    continue;
                }
                if !answer.held {
                    pause = until_free(&answer).min(every);
                }
            }
            Err(error) => {
                health.failed(&error);
                pause = retry.pause();
            }
        }
        shutdown.within(pause).await;
    }
    if let Some(fence) = lease.known_fence() {
        match names.release(&name, &identity, fence).await {
            Ok(_) => {
                lease.give_up();
                tracing::info!(fence, "submitter's lease released");
            }
            Err(error) => {
                tracing::warn!(error = %rollmill_service::one_line(&error), "submitter's lease not released; it will expire");
            }
        }
    }
}
