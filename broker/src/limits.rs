//! What the bearer of a token may use up at this replica: requests per second, and open connections.
//!
//! Time is a parameter. Nothing here grows without a bound: there is an entry for each token that was used, and in it
//! one for each agent of a token of several, of which there are at most [`AGENTS_MAX`]. Names are the agents' own
//! invention, so the bound is each token's: those of one token leave the others theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_broker_client::{AgentId, Role};
use rollmill_service::Connection;
use tokio::sync::Semaphore;

use crate::api::admission;
use crate::error::BrokerError;
use crate::store::tokens::{Bearer, Limits};

/// Requests that may come at once, in seconds of the rate.
const BURST_SECONDS: f64 = 2.0;
/// An agent of several counts for this long after its last request.
const AGENT_COUNTS: Duration = Duration::from_secs(60);
/// Most agents of a token that are counted.
const AGENTS_MAX: usize = 10_000;
/// Connections that a token of several agents may have whatever its limit says, so that the first ones get in.
const CONNECTIONS_MIN: usize = 64;

/// What one token has used.
#[derive(Debug)]
struct Used {
    /// Requests that it may still send now.
    left: f64,
    at: Instant,
    connections: Vec<Connection>,
    /// Agents of a token of several, and when each was last heard.
    agents: HashMap<AgentId, Instant>,
    /// What it may have of the memory for bodies, and of that for urgent ones.
    shares: [Arc<Semaphore>; 2],
}

/// What a request may use.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Its connection is within the limits.
    pub(crate) is_within: bool,
    /// What its token may have of the memory for bodies; [`None`] for all of it.
    pub(crate) share: Option<Arc<Semaphore>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    tokens: Mutex<HashMap<String, Used>>,
}

impl Usage {
    /// Counts a request of the bearer on this connection; returns what it may use. An urgent
    /// request counts, and is never one too many, on whatever connection: it keeps a lease or a result. One that came
    /// on a connection beyond the limit leaves it among those that nobody vouches for, which have a bound of their own.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRequests`] if it is one too many, or if the connection is.
    pub(crate) fn request(
        &self,
        bearer: &Bearer,
        connection: Option<&Connection>,
        is_urgent: bool,
        now: Instant,
    ) -> Result<Admitted, BrokerError> {
        let Some(limits) = bearer.limits else {
            return Ok(Admitted { is_within: true, share: None });
        };
        let mut tokens = self.tokens.lock();
        let used = used(&mut tokens, bearer, now);
        used.take(used.per_second(limits, bearer), is_urgent, now)?;
        let share = Some(Arc::clone(&used.shares[usize::from(is_urgent)]));
        let Some(connection) = connection else {
            return Ok(Admitted { is_within: true, share });
        };
        match used.connect(connection, used.connections_max(limits, bearer)) {
            Ok(()) => Ok(Admitted { is_within: true, share }),
            Err(_) if is_urgent => Ok(Admitted { is_within: false, share }),
            Err(error) => Err(error),
        }
    }

    /// Counts the connection of a request whose body says whether it is urgent, and returns what its body may use. Its
    /// connection does not decide whether it is served: one beyond the limit is left among those that nobody vouches
    /// for. [`Self::count`] follows once the body was read.
    pub(crate) fn arrive(
        &self,
        bearer: &Bearer,
        connection: Option<&Connection>,
        now: Instant,
    ) -> Admitted {
        let Some(limits) = bearer.limits else { return Admitted { is_within: true, share: None } };
        let mut tokens = self.tokens.lock();
        let used = used(&mut tokens, bearer, now);
        let max = used.connections_max(limits, bearer);
        let is_within = connection.is_none_or(|connection| used.connect(connection, max).is_ok());
        Admitted { is_within, share: Some(Arc::clone(&used.shares[0])) }
    }

    /// Counts a request after [`Self::arrive`]. It may come from any number of agents without names, as Aztec's are, so
    /// a token that is not a producer's has the limit for each of its connections, whose number has a limit too.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRequests`] if it is one too many, and not urgent.
    pub(crate) fn count(
        &self,
        bearer: &Bearer,
        is_urgent: bool,
        now: Instant,
    ) -> Result<(), BrokerError> {
        let Some(limits) = bearer.limits else { return Ok(()) };
        let mut tokens = self.tokens.lock();
        let used = used(&mut tokens, bearer, now);
        let connections = match bearer.role {
            Role::Producer => 1,
            _ => u32::try_from(used.connections.len()).unwrap_or(u32::MAX),
        };
        let of_connections = limits.requests_per_second.saturating_mul(connections);
        used.take(used.per_second(limits, bearer).max(of_connections), is_urgent, now)
    }

    /// An agent of several under one token sent a request: the token's limits grow with its agents.
    pub(crate) fn heard(&self, bearer: &Bearer, agent: &AgentId, now: Instant) {
        let mut tokens = self.tokens.lock();
        let Some(used) = tokens.get_mut(&bearer.label) else { return };
        if let Some(heard) = used.agents.get_mut(agent) {
            *heard = now;
        } else if used.agents.len() < AGENTS_MAX {
            used.agents.insert(agent.clone(), now);
        }
    }

    /// Forgets what no longer counts: silent agents, closed connections, and tokens that were not used.
    pub(crate) fn tidy(&self, now: Instant) {
        self.tokens.lock().retain(|_, used| {
            used.agents.retain(|_, heard| now.saturating_duration_since(*heard) < AGENT_COUNTS);
            used.connections.retain(Connection::is_open);
            let is_idle = now.saturating_duration_since(used.at) >= AGENT_COUNTS;
            let holds = used.shares.iter().any(|share| Arc::strong_count(share) > 1);
            !(is_idle && used.agents.is_empty() && used.connections.is_empty()) || holds
        });
    }
}

/// What the bearer's token has used.
fn used<'a>(tokens: &'a mut HashMap<String, Used>, bearer: &Bearer, now: Instant) -> &'a mut Used {
    tokens.entry(bearer.label.clone()).or_insert_with(|| Used {
        left: f64::INFINITY,
        at: now,
        connections: Vec::new(),
        agents: HashMap::new(),
        shares: [false, true].map(|is_urgent| Arc::new(admission::share(is_urgent))),
    })
}

impl Used {
    /// Agents that have the limits of the token, each.
    fn agents(&self, bearer: &Bearer) -> u32 {
        match bearer.is_of_several() {
            true => u32::try_from(self.agents.len()).unwrap_or(u32::MAX).max(1),
            false => 1,
        }
    }

    fn per_second(&self, limits: Limits, bearer: &Bearer) -> u32 {
        limits.requests_per_second.saturating_mul(self.agents(bearer))
    }

    fn connections_max(&self, limits: Limits, bearer: &Bearer) -> usize {
        let max = limits.connections.saturating_mul(self.agents(bearer));
        let least = if bearer.is_of_several() { CONNECTIONS_MIN } else { 0 };
        (max as usize).max(least)
    }

    fn take(&mut self, per_second: u32, is_urgent: bool, now: Instant) -> Result<(), BrokerError> {
        let rate = f64::from(per_second);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * rate).min(rate * BURST_SECONDS);
        self.at = now;
        if self.left < 1.0 && !is_urgent {
            return Err(BrokerError::TooManyRequests {
                what: "requests per second",
                max: per_second,
                // Whole seconds, as the header has them.
                retry_seconds: ((1.0 - self.left) / rate).ceil() as u64,
            });
        }
        self.left = (self.left - 1.0).max(0.0);
        Ok(())
    }

    fn connect(&mut self, connection: &Connection, max: usize) -> Result<(), BrokerError> {
        if self.connections.iter().any(|known| known.is_same(connection)) {
            return Ok(());
        }
        if self.connections.len() >= max {
            self.connections.retain(Connection::is_open);
        }
        if self.connections.len() >= max {
            return Err(BrokerError::TooManyRequests {
                what: "connections",
                max: u32::try_from(max).unwrap_or(u32::MAX),
                retry_seconds: 1,
            });
        }
        self.connections.push(connection.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Extension, Router};
    use rollmill_service::{HttpLimits, HttpMetrics, Shutdown, listen, serve_within};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    use super::*;
    use crate::store::tokens::Naming;

    /// Connections as a server has them, each with its client's end.
    async fn connections(count: usize) -> Vec<(Connection, TcpStream)> {
        let (seen, mut held) = tokio::sync::mpsc::unbounded_channel();
        let show = move |Extension(connection): Extension<Connection>| async move {
            let _ = seen.send(connection);
        };
        let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(show));
        let (limits, metrics) = (HttpLimits::default(), HttpMetrics::new("test"));
        tokio::spawn(serve_within(listener, router, limits, metrics, Shutdown::new()));
        let mut all = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            all.push((held.recv().await.unwrap(), stream));
        }
        all
    }

    fn bearer(role: Role, requests_per_second: u32) -> Bearer {
        let limits = Some(Limits { requests_per_second, connections: 4 });
        Bearer { role, limits, ..Bearer::operator("t") }
    }

    fn served(usage: &Usage, bearer: &Bearer, now: Instant) -> usize {
        (0..1000).take_while(|_| usage.request(bearer, None, false, now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_twice_the_rate_and_then_the_rate_counts() {
        let (usage, reader, start) = (Usage::default(), bearer(Role::Reader, 10), Instant::now());
        assert_eq!(served(&usage, &reader, start), 20);
        let error = usage.request(&reader, None, false, start).unwrap_err();
        let BrokerError::TooManyRequests { max, retry_seconds, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((max, retry_seconds), (10, 1));
        usage.request(&reader, None, true, start).expect("an urgent one is never too many");
        assert_eq!(served(&usage, &reader, start + Duration::from_millis(500)), 5);
        assert_eq!(served(&usage, &reader, start + Duration::from_secs(3600)), 20);
    }

    #[test]
    fn a_fleet_has_the_limits_of_each_of_its_agents() {
        let (usage, fleet, start) = (Usage::default(), bearer(Role::Fleet, 10), Instant::now());
        assert_eq!(served(&usage, &fleet, start), 20);
        for name in ["t.a", "t.b", "t.c"] {
            usage.heard(&fleet, &name.parse().unwrap(), start);
        }
        let later = start + Duration::from_secs(30);
        assert_eq!(served(&usage, &fleet, later), 60);
        usage.heard(&fleet, &"t.a".parse().unwrap(), later);
        let much_later = later + Duration::from_secs(50);
        usage.tidy(much_later);
        assert_eq!(served(&usage, &fleet, much_later), 20, "two of three fell silent");
    }

    /// Fault: an upgrade of a cluster whose agents share a token of the role agent, as they did before there were
    /// fleets.
    #[test]
    fn agents_of_a_token_from_before_fleets_have_the_limits_of_each() {
        let (usage, start) = (Usage::default(), Instant::now());
        let old = Bearer { naming: Naming::Given, ..bearer(Role::Agent, 10) };
        let one = Bearer { naming: Naming::One("a".parse().unwrap()), ..bearer(Role::Agent, 10) };
        assert_eq!((served(&usage, &old, start), one.is_of_several()), (20, false));
        for name in ["a", "b", "c"] {
            usage.heard(&old, &name.parse().unwrap(), start);
        }
        assert_eq!(served(&usage, &old, start + Duration::from_secs(30)), 60);
    }

    /// Fault: a fleet makes up names without end. The agents of another are counted all the same.
    #[test]
    fn the_names_of_one_fleet_leave_another_its_own() {
        let (usage, start) = (Usage::default(), Instant::now());
        let (busy, other) = (bearer(Role::Fleet, 1), bearer(Role::Fleet, 10));
        let other = Bearer { label: "other".into(), ..other };
        for fleet in [&busy, &other] {
            usage.request(fleet, None, false, start).unwrap();
        }
        for n in 0..2 * AGENTS_MAX {
            usage.heard(&busy, &format!("t.{n}").parse().unwrap(), start);
        }
        assert_eq!(usage.tokens.lock()["t"].agents.len(), AGENTS_MAX);
        for n in 0..3 {
            usage.heard(&other, &format!("other.{n}").parse().unwrap(), start);
        }
        assert_eq!(served(&usage, &other, start + Duration::from_secs(30)), 60);
    }

    /// Goal: no heartbeat and no result is rejected for the number of connections; and a connection beyond it is not
    /// taken for one of somebody known, or one token could open all that there are.
    #[tokio::test]
    async fn a_connection_beyond_the_limit_serves_what_is_urgent_and_is_not_vouched_for() {
        let (usage, agent, now) = (Usage::default(), bearer(Role::Agent, 1000), Instant::now());
        let limits = Some(Limits { requests_per_second: 1000, connections: 2 });
        let naming = Naming::One("a".parse().unwrap());
        let agent = Bearer { limits, naming, ..agent };
        let held = connections(3).await;
        let ask = |n: usize, is_urgent| {
            let admitted = usage.request(&agent, Some(&held[n].0), is_urgent, now)?;
            Ok::<_, BrokerError>(admitted.is_within)
        };
        assert!(ask(0, false).unwrap() && ask(1, true).unwrap());
        let error = ask(2, false).unwrap_err();
        assert!(matches!(error, BrokerError::TooManyRequests { max: 2, .. }), "{error}");
        assert!(!ask(2, true).unwrap());
        assert!(ask(0, false).unwrap(), "the first ones stay within");
    }

    /// Goal: a request whose body says what it is for is counted once, and agents without names have the limit for each
    /// of their connections, of which there are not more than the token may have.
    #[tokio::test]
    async fn a_request_that_is_known_by_its_body_counts_after_it_was_read() {
        let start = Instant::now();
        let held = connections(5).await;
        for (role, burst) in [(Role::Producer, 20), (Role::Agent, 80), (Role::Operator, 80)] {
            let usage = Usage::default();
            let naming = Naming::One("a".parse().unwrap());
            let bearer = Bearer { naming, ..bearer(role, 10) };
            // Arriving uses up no request, and never fails.
            let arrive = |(connection, _): &(Connection, TcpStream)| {
                usage.arrive(&bearer, Some(connection), start).is_within
            };
            let is_within: Vec<bool> = held.iter().map(arrive).collect();
            assert_eq!(is_within, [true, true, true, true, false]);
            let share = usage.arrive(&bearer, None, start).share.unwrap();
            assert_eq!(share.available_permits(), admission::share(false).available_permits());
            let count = |is_urgent| usage.count(&bearer, is_urgent, start);
            assert_eq!((0..1000).take_while(|_| count(false).is_ok()).count(), burst, "{role}");
            count(true).expect("an urgent one is never too many");
        }
        let usage = Usage::default();
        let none = Bearer::operator("loopback");
        assert!(usage.count(&none, false, start).is_ok());
        assert!(usage.arrive(&none, None, start).share.is_none());
    }

    #[test]
    fn whoever_needs_no_token_has_no_limit() {
        let usage = Usage::default();
        assert_eq!(served(&usage, &Bearer::operator("loopback"), Instant::now()), 1000);
    }
}
