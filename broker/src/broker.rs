//! One replica: its background work and its HTTP interface.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use rollmill_broker_client::{AgentId, QueueView, Role, UnableView};
use rollmill_service::{
    ClientCertificate, HttpLimits, HttpServer, Outage, Process, Shutdown, Traces, UnknownLimits,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ability;
use crate::api::{self, admission::Admission};
use crate::autoscale::{self, Outlook, Present};
use crate::aztec;
use crate::background;
use crate::config::Config;
use crate::credential::Credential;
use crate::disk::Disk;
use crate::dispatch::Dispatcher;
use crate::drains::Drains;
use crate::error::BrokerError;
use crate::first;
use crate::hub::Hub;
use crate::lanes::Lanes;
use crate::limits::Usage;
use crate::metrics::{Buffer, Metrics};
use crate::overview::{Counted, Overviews};
use crate::policy::Next;
use crate::sightings::Sightings;
use crate::store::audit::LOOPBACK;
use crate::store::tokens::{Bearer, BearersRead, Naming, certificate_hash, hash};
use crate::store::{Store, Tenant, queue_of};

/// Bounds of the listener. An agent has a few connections and many agents may share an address; the
/// memory of their bodies has a bound of its own.
const LIMITS: HttpLimits = HttpLimits {
    connections: 10_000,
    connections_per_peer: 4_096,
    unknown: Some(UnknownLimits {
        connections: 128,
        connections_per_peer: 16,
        after: Duration::from_secs(1),
        count_loopback: false,
    }),
    handshake: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    body: Duration::from_secs(10),
    body_bytes_per_second: 1_024,
    body_silence: Duration::from_secs(10),
    write_stall: Duration::from_secs(30),
    drain: Duration::from_secs(2),
};

/// What the parts of a replica share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) lanes: Lanes,
    pub(crate) sightings: Sightings,
    /// Agents that were asked to leave.
    pub(crate) drains: Drains,
    pub(crate) hub: Hub,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    pub(crate) shutdown: Shutdown,
    pub(crate) artifact_bytes_max: usize,
    /// See the setting.
    pub(crate) second_leases_max_percent: u32,
    /// See the setting.
    pub(crate) agent_cents_per_hour: u32,
    /// See the setting.
    pub(crate) scrub_bytes_per_second: u64,
    pub(crate) admission: Admission,
    pub(crate) disk: Disk,
    pub(crate) aztec: aztec::Settings,
    /// Requests that failed through no fault of the client. Never ends, so it bounds their log events.
    pub(crate) request_failures: Outage,
    /// Waiting types of job that no live agent can do, as of the last count.
    unable: RwLock<Vec<(Tenant, UnableView)>>,
    /// What is expected of each tenant's epochs, as of the last count.
    outlooks: RwLock<HashMap<Tenant, Outlook>>,
    /// The queue, as of the last count.
    queue: RwLock<Option<QueueCount>>,
    /// What the web page shows.
    pub(crate) overviews: Overviews,
    /// What the bearers of tokens have used up.
    pub(crate) usage: Usage,
    access: RwLock<Access>,
    /// How often the tokens were found to be others.
    token_changes: watch::Sender<u64>,
    /// Lasts while there are tokens that cannot be read.
    token_damage: Outage,
    /// Held while they are read: an older reading must not replace a newer one.
    token_reading: tokio::sync::Mutex<()>,
    /// The secret of whoever can read the data directory, as a hash.
    operator: Option<[u8; 32]>,
    /// A token is required.
    closed: AtomicBool,
}

/// The queue of every tenant.
#[derive(Debug)]
struct QueueCount {
    at: SystemTime,
    entries: Vec<(Tenant, QueueView)>,
}

/// The tokens as last read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Access {
    bearers: HashMap<[u8; 32], Arc<Bearer>>,
    /// Names of agents, and labels of fleets, that belong to a token, by tenant.
    owned: HashSet<(Tenant, String)>,
}

impl Access {
    fn of(read: Vec<([u8; 32], Bearer)>) -> Self {
        let mut owned = HashSet::new();
        for (_, bearer) in &read {
            let name = match &bearer.naming {
                Naming::One(agent) => agent.as_str(),
                Naming::Below(label) => label.as_str(),
                Naming::Given => continue,
            };
            owned.insert((bearer.tenant.clone(), name.to_owned()));
        }
        let bearers = read.into_iter().map(|(hash, bearer)| (hash, Arc::new(bearer))).collect();
        Self { bearers, owned }
    }

    /// The bearer for whom a certificate stands: that of the one token with a name of it. None of a certificate that is no
    /// longer valid, and none where it names two, since nobody could say which is meant.
    fn of_certificate(
        &self,
        certificate: &ClientCertificate,
        now: SystemTime,
    ) -> Option<Arc<Bearer>> {
        if certificate.has_ended(now) {
            return None;
        }
        let names = certificate.names().iter();
        let mut found = names.filter_map(|name| self.bearers.get(&certificate_hash(name)));
        let first = found.next()?;
        found.all(|other| Arc::ptr_eq(other, first)).then(|| Arc::clone(first))
    }

    /// Whether the name belongs to another token than one whose agents name themselves.
    fn owns(&self, tenant: &Tenant, agent: &AgentId) -> bool {
        let text = agent.as_str();
        let first = text.split_once('.').map_or(text, |(first, _)| first);
        self.owned.contains(&(tenant.clone(), first.to_owned()))
    }
}

/// The file in the data directory with the secret of [`serve_with_operator`].
pub const OPERATOR_TOKEN_FILE: &str = "operator.token";

impl Shared {
    /// Whom a credential stands for.
    pub(crate) fn bearer(&self, credential: &Credential) -> Result<Arc<Bearer>, BrokerError> {
        if !self.closed.load(Ordering::Relaxed) {
            // `serve` starts without a token only on loopback, and only where the settings allow it.
            return Ok(Arc::new(Bearer::operator(LOOPBACK)));
        }
        let bearer = match credential {
            Credential::Nothing => None,
            Credential::Secret(hash) if self.operator == Some(*hash) => {
                return Ok(Arc::new(Bearer::operator(OPERATOR_TOKEN_FILE)));
            }
            Credential::Secret(hash) => self.access.read().bearers.get(hash).cloned(),
            Credential::Certificate(certificate) => {
                self.access.read().of_certificate(certificate, SystemTime::now())
            }
        };
        let bearer = bearer.ok_or(BrokerError::Unauthorized)?;
        match bearer.suspended {
            true => Err(BrokerError::TokenSuspended { label: bearer.label.clone() }),
            false => Ok(bearer),
        }
    }

    /// The identity of a bearer's agent that calls itself `given`: see [`Bearer::identity`].
    pub(crate) fn identity(
        &self,
        bearer: &Bearer,
        given: &AgentId,
    ) -> Result<AgentId, BrokerError> {
        let agent = bearer.identity(given)?;
        let is_free = bearer.naming == Naming::Given && bearer.role != Role::Operator;
        if is_free && self.access.read().owns(&bearer.tenant, &agent) {
            return Err(BrokerError::Forbidden);
        }
        if bearer.is_of_several() {
            self.usage.heard(bearer, &agent, Instant::now());
        }
        Ok(agent)
    }

    /// Reads the valid tokens; returns whether one is required. When the last one has ended or was revoked, the broker
    /// does not accept requests without a token, nor does one that starts then.
    pub(crate) async fn read_tokens(&self) -> Result<bool, BrokerError> {
        let _reading = self.token_reading.lock().await;
        let BearersRead { bearers: read, unreadable } = self.store.bearers().await?;
        let is_closed = !read.is_empty()
            || self.closed.load(Ordering::Relaxed)
            || self.store.has_tokens().await?;
        self.closed.store(is_closed, Ordering::Relaxed);
        let access = Access::of(read);
        let is_news = {
            let mut present = self.access.write();
            let is_news = *present != access;
            *present = access;
            if is_news {
                let ends = present.bearers.values();
                let ends =
                    ends.filter_map(|it| Some((it.label.as_str(), it.expires_unix_seconds?)));
                self.metrics.show_tokens(ends);
            }
            is_news
        };
        if is_news {
            self.token_changes.send_modify(|count| *count += 1);
        }
        self.report_unreadable(&unreadable);
        Ok(is_closed)
    }

    /// Says that there are tokens that open nothing because this release cannot read them.
    fn report_unreadable(&self, unreadable: &[(String, String)]) {
        let tokens = unreadable.len();
        self.metrics.unreadable_tokens.set(i64::try_from(tokens).unwrap_or(i64::MAX));
        let Some((label, error)) = unreadable.first() else {
            if let Some(wait_seconds) = self.token_damage.ended() {
                tracing::info!(wait_seconds, "every token readable again");
            }
            return;
        };
        if let Some(repeated) = self.token_damage.failed() {
            tracing::warn!(label, error, tokens, repeated, "token not readable; it opens nothing");
        }
    }

    /// Reads the tokens after one was changed. What was changed stays so if that fails, and its secret has to reach who
    /// asked for it; the next reading, a moment later, finds it.
    pub(crate) async fn follow_tokens(&self) {
        if let Err(error) = self.read_tokens().await {
            let error = rollmill_service::one_line(&error);
            tracing::warn!(error, "changed token not read yet");
        }
    }

    /// Says so where nobody can get in until there is a token again.
    fn warn_without_tokens(&self) {
        let is_closed = self.closed.load(Ordering::Relaxed);
        if is_closed && self.operator.is_none() && self.access.read().bearers.is_empty() {
            tracing::warn!("no token is valid; add one with `rollmill-broker tokens add`");
        }
    }

    /// Waits until the token of a caller opens the broker no more, and returns why: for requests that last longer than a
    /// token may.
    pub(crate) async fn until_closed_to(&self, credential: &Credential) -> BrokerError {
        let mut changes = self.token_changes.subscribe();
        loop {
            if let Err(error) = self.bearer(credential) {
                return error;
            }
            tokio::select! {
                changed = changes.changed() => {
                    // The sender is this replica's own.
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                }
                () = credential.ended() => {}
            }
        }
    }

    pub(crate) fn count_next(&self, next: Next) {
        match next {
            Next::GiveUp => {
                self.metrics.dead_letters_total.inc();
                self.hub.became_final();
            }
            Next::AwaitInput => {
                self.metrics.inputs_wanted_total.inc();
                self.hub.became_final();
            }
            Next::Retry { .. } => self.hub.became_ready(),
        }
    }

    /// Counts done jobs that were reopened, and wakes those that wait for jobs.
    pub(crate) fn count_lost(&self, reopened: u64) {
        if reopened > 0 {
            self.metrics.results_lost_total.inc_by(reopened);
            self.hub.became_ready();
        }
    }

    /// The tenant's waiting types of job that no live agent can do.
    pub(crate) fn unable(&self, tenant: &Tenant) -> Vec<UnableView> {
        let unable = self.unable.read();
        unable.iter().filter(|(of, _)| of == tenant).map(|(_, view)| view.clone()).collect()
    }

    /// The epochs that were at risk when the jobs were counted last, and how many agents were live then.
    pub(crate) fn at_risk(&self) -> (Vec<(Tenant, u64)>, u64) {
        let outlooks = self.outlooks.read();
        let mut epochs = Vec::new();
        for (tenant, outlook) in outlooks.iter() {
            let at_risk = outlook.epochs.iter().filter(|epoch| epoch.at_risk);
            epochs.extend(at_risk.map(|epoch| (tenant.clone(), epoch.epoch)));
        }
        (epochs, outlooks.values().map(|outlook| outlook.autoscale.live).sum())
    }

    /// What is expected of the tenant's epochs.
    pub(crate) fn outlook(&self, tenant: &Tenant) -> Outlook {
        self.outlooks.read().get(tenant).cloned().unwrap_or_default()
    }

    /// What was counted last of the tenant's jobs.
    pub(crate) fn counted(&self, tenant: &Tenant) -> Counted {
        let counted = self.queue.read();
        let Some(QueueCount { at, entries }) = &*counted else { return Counted::default() };
        let own = entries.iter().filter(|(of, _)| of == tenant);
        Counted {
            at: at.duration_since(UNIX_EPOCH).ok().map(|age| age.as_secs_f64()),
            queue: own.map(|(_, view)| view.clone()).collect(),
            unable: self.unable(tenant),
            outlook: self.outlook(tenant),
        }
    }

    /// Shows how full the buffers of this replica are.
    pub(crate) fn show_buffers(&self) {
        let [requests, bodies, urgent] = self.admission.fill();
        for (buffer, share) in [
            (Buffer::Claims, self.dispatcher.fill()),
            (Buffer::Agents, self.sightings.fill()),
            (Buffer::Requests, requests),
            (Buffer::Bodies, bodies),
            (Buffer::UrgentBodies, urgent),
        ] {
            self.metrics.show_buffer(buffer, share);
        }
    }

    /// Counts the queue and finds the types of job that no live agent can do; logs when that starts and
    /// ends.
    pub(crate) async fn count_queue(&self) -> Result<(), BrokerError> {
        let backlog = self.store.backlog(None).await?;
        let at = SystemTime::now();
        let queue = queue_of(&backlog);
        let agents = self.store.abilities().await?;
        let rules = self.store.rules();
        let found = ability::unable(&queue, &agents, rules.live, rules.unable_after);
        self.metrics
            .show_queue(queue.iter().map(|(_, view)| view), found.iter().map(|(_, view)| view));
        let leases = backlog
            .iter()
            .filter_map(|entry| Some((entry.view.kind.as_str(), entry.lease_seconds?)));
        self.metrics.show_leases(leases);
        self.metrics.show_agents(&agents, self.drains.live(), rules.live);
        self.metrics.show_sessions(self.store.count_sessions().await?);
        let mut idle = self.dispatcher.idle_agents(rules.live);
        // They are leaving already.
        idle.retain(|agent| !self.drains.has(&agent.tenant, &agent.id));
        // After the list: whoever is granted a job in between is busy.
        let busy = self.store.busy_agents().await?;
        let work = |tenant: &Tenant, kind: &str, version: &str| {
            self.dispatcher.work(tenant, kind, version)
        };
        let present = Present { agents: &agents, idle: &idle, busy: &busy, live: rules.live };
        let outlooks = autoscale::outlooks(&backlog, &present, work);
        self.metrics.show_outlooks(outlooks.values());
        // Held until the end, so that whoever reads all of it reads one count.
        let mut counted = self.queue.write();
        *self.outlooks.write() = outlooks;
        let mut unable = self.unable.write();
        let same = |(a, x): &(Tenant, UnableView), (b, y): &(Tenant, UnableView)| {
            (a, &x.kind, &x.version, x.class) == (b, &y.kind, &y.version, y.class)
        };
        for entry in found.iter().filter(|new| !unable.iter().any(|old| same(old, new))) {
            let UnableView { kind, version, class, jobs, since_seconds } = &entry.1;
            tracing::warn!(
                circuit = kind,
                version,
                class = class.number(),
                jobs,
                since_seconds,
                "no live agent for waiting jobs"
            );
        }
        for (_, view) in unable.iter().filter(|old| !found.iter().any(|new| same(old, new))) {
            let UnableView { kind, version, class, since_seconds, .. } = view;
            tracing::info!(
                circuit = kind,
                version,
                class = class.number(),
                since_seconds,
                "jobs no longer wait for a live agent"
            );
        }
        *unable = found;
        *counted = Some(QueueCount { at, entries: queue });
        Ok(())
    }
}

/// A number in `[0, 1)` for spreading retries.
pub(crate) fn spread() -> f64 {
    rand::Rng::gen_range(&mut rand::thread_rng(), 0.0..1.0)
}

/// Serves on `listener` until `process.shutdown`, over a store that is migrated.
///
/// # Errors
/// [`BrokerError::OpenToAll`] when the address is reachable from outside and there is no token;
/// [`BrokerError::OperatorFile`] when there is none on loopback, and the first one cannot be written;
/// what [`Store::check`] rejects; and errors of the HTTP server.
pub async fn serve(
    process: &Process<Config>,
    store: Store,
    listener: TcpListener,
) -> Result<(), rollmill_service::Failure> {
    serve_with_operator(process, store, listener, None).await
}

/// As [`serve`], and whoever sends the secret `operator` is an operator of the default tenant, although no token of the
/// database has it.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with_operator(
    process: &Process<Config>,
    store: Store,
    listener: TcpListener,
    operator: Option<&str>,
) -> Result<(), rollmill_service::Failure> {
    store.check().await?;
    store.join_objects().await?;
    let (config, registry) = (&process.config, &process.metrics);
    let protection = config.listener.protection();
    let server = HttpServer::open("broker", &config.listen, LIMITS, &protection, registry)?;
    let metrics = Metrics::new(registry)?;
    process.show_disk(&process.config.data_dir)?;
    let shutdown = process.shutdown.clone();
    let channel = store.channel().await?;
    // They end with the last of what they serve.
    let mut lane_tasks = JoinSet::new();
    let lanes = Lanes::start(&store, &metrics, &shutdown, &mut lane_tasks);
    let shared = Arc::new(Shared {
        store,
        lanes,
        sightings: Sightings::default(),
        drains: Drains::default(),
        hub: Hub::new(),
        dispatcher: Dispatcher::new(metrics.clone(), process.traces.clone()),
        metrics,
        traces: process.traces.clone(),
        shutdown: shutdown.clone(),
        artifact_bytes_max: process.config.artifact_bytes_max,
        second_leases_max_percent: process.config.second_leases_max_percent,
        agent_cents_per_hour: process.config.agent_cents_per_hour,
        scrub_bytes_per_second: process.config.scrub_bytes_per_second,
        admission: Admission::new(process.config.requests_max),
        disk: Disk::new(&process.config.data_dir, process.config.disk_free_min_percent),
        aztec: aztec::Settings::of(&process.config),
        request_failures: Outage::default(),
        unable: RwLock::default(),
        outlooks: RwLock::default(),
        queue: RwLock::default(),
        overviews: Overviews::default(),
        usage: Usage::default(),
        access: RwLock::default(),
        token_changes: watch::Sender::new(0),
        token_damage: Outage::default(),
        token_reading: tokio::sync::Mutex::default(),
        operator: operator.map(hash),
        closed: AtomicBool::new(false),
    });
    let address = listener.local_addr()?;
    require_token(&shared, config, address).await?;
    shared.warn_without_tokens();

    let mut tasks = background::start(&shared, &process.conditions, channel);
    tracing::info!(%address, "serving");
    process.ready();
    let served = server.serve(listener, api::router(shared), shutdown.clone()).await;
    shutdown.start();
    while tasks.join_next().await.is_some() {}
    Ok(served?)
}

/// Requires a token of every caller, and makes one where there is none. The settings may let in every program of this
/// machine instead.
async fn require_token(
    shared: &Shared,
    config: &Config,
    address: SocketAddr,
) -> Result<(), BrokerError> {
    if shared.read_tokens().await? {
        return Ok(());
    }
    if !address.ip().is_loopback() {
        return Err(BrokerError::OpenToAll { address: address.to_string() });
    }
    if config.open_on_loopback {
        tracing::info!(%address, "open to every program of this machine until there is a token");
        return Ok(());
    }
    first::make(&shared.store, &config.data_dir).await?;
    shared.read_tokens().await.map(drop)
}

/// The address of the listener: the real port where port 0 was asked for.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The design's bounds for clients that are slow, silent or unknown.
    #[test]
    fn slow_silent_and_unknown_clients_have_bounds() {
        let ten = Duration::from_secs(10);
        assert_eq!([LIMITS.head, LIMITS.body, LIMITS.body_silence], [ten; 3]);
        assert_eq!((LIMITS.idle, LIMITS.body_bytes_per_second), (Duration::from_secs(75), 1_024));
        let unknown = LIMITS.unknown.expect("there are tokens");
        assert_eq!((unknown.connections, unknown.connections_per_peer), (128, 16));
    }

    /// Goal: a certificate stands for one token or for none. Method: names of two tokens, of one, and of none; and the time
    /// after its end, on a connection that is open still.
    #[test]
    fn a_certificate_stands_for_the_one_token_that_it_names_while_it_is_valid() {
        let dir = tempfile::tempdir().unwrap();
        let authority = rollmill_net_testing::Authority::new(dir.path(), "ca");
        let certificate = |file: &str, names: &[&str]| {
            let signed = authority.sign_for(file, names, (2020, 2021));
            let read = |path: &std::path::Path| rollmill_net::PemFile::read(path).unwrap();
            let identity = read(&signed.cert).with_key(&read(&signed.key)).unwrap();
            ClientCertificate::of(&identity.cert[0]).unwrap()
        };
        let bearer = |name: &str| {
            let bearer = Bearer { role: Role::Agent, ..Bearer::operator(name) };
            (certificate_hash(name), bearer)
        };
        let access = Access::of(vec![bearer("gpu-1"), bearer("gpu-2")]);
        let end = UNIX_EPOCH + Duration::from_secs(1_609_459_200);
        let stands_for = |file: &str, names: &[&str], now| {
            let found = access.of_certificate(&certificate(file, names), now);
            found.map(|bearer| bearer.label.clone())
        };
        assert_eq!(stands_for("a", &["gpu-1"], end).as_deref(), Some("gpu-1"));
        assert_eq!(stands_for("b", &["other", "GPU-2"], end).as_deref(), Some("gpu-2"));
        assert_eq!(stands_for("c", &["gpu-1", "gpu-1"], end).as_deref(), Some("gpu-1"));
        assert_eq!(stands_for("d", &["gpu-1", "gpu-2"], end), None, "which of them?");
        assert_eq!(stands_for("e", &["gpu-3", "gpu-1.farm"], end), None);
        // The subject is the name of the file.
        assert_eq!(stands_for("gpu-1", &[], end), None);
        assert_eq!(stands_for("f", &["gpu-1"], end + Duration::from_secs(1)), None);
        assert!(!access.bearers.contains_key(&hash("gpu-1")));
    }

    #[test]
    fn names_that_belong_to_a_token_are_known_by_tenant() {
        let bearer = |naming| Bearer { role: Role::Agent, naming, ..Bearer::operator("t") };
        let read =
            [Naming::One("gpu-7".parse().unwrap()), Naming::Below("farm".into()), Naming::Given];
        let read = read.into_iter().enumerate().map(|(n, naming)| ([n as u8; 32], bearer(naming)));
        let access = Access::of(read.collect());
        let owns =
            |tenant: &str, name: &str| access.owns(&Tenant(tenant.into()), &name.parse().unwrap());
        for name in ["gpu-7", "farm", "farm.a", "farm.a.b", "gpu-7.x"] {
            assert!(owns("default", name), "{name}");
            assert!(!owns("other", name), "{name}");
        }
        assert!(!owns("default", "t") && !owns("default", "gpu-70") && !owns("default", "x.farm"));
    }
}
