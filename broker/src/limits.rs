//! What the bearer of a token may use up at this replica: requests per second, and open connections.
//!
//! Time is a parameter. Nothing here grows without a bound: there is an entry for each token that was used, and one for
//! each agent of a fleet, of which there are at most [`AGENTS_MAX`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_broker_client::{AgentId, Role};
use rollmill_service::Connection;

use crate::error::BrokerError;
use crate::store::tokens::Bearer;

/// Requests that may come at once, in seconds of the rate.
const BURST_SECONDS: f64 = 2.0;
/// An agent of a fleet counts for this long after its last request.
const AGENT_COUNTS: Duration = Duration::from_secs(60);
/// Most agents of fleets that are counted.
const AGENTS_MAX: usize = 20_000;
/// Connections that a token may have whatever its limit says, so that a fleet's first agents get in.
const CONNECTIONS_MIN: usize = 64;

/// What one token has used.
#[derive(Debug)]
struct Used {
    /// Requests that it may still send now.
    left: f64,
    at: Instant,
    connections: Vec<Connection>,
    /// Agents of a fleet, and when each was last heard.
    agents: HashMap<AgentId, Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    tokens: Mutex<HashMap<String, Used>>,
}

impl Usage {
    /// Counts a request of the bearer on this connection. An urgent one counts, and is never one too many: it keeps a
    /// lease or a result, and the number of connections bounds how many there are.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRequests`] if it is one too many, or if the connection is.
    pub(crate) fn request(
        &self,
        bearer: &Bearer,
        connection: Option<&Connection>,
        is_urgent: bool,
        now: Instant,
    ) -> Result<(), BrokerError> {
        let Some(limits) = bearer.limits else { return Ok(()) };
        let mut tokens = self.tokens.lock();
        let used = tokens.entry(bearer.label.clone()).or_insert_with(|| Used {
            left: f64::INFINITY,
            at: now,
            connections: Vec::new(),
            agents: HashMap::new(),
        });
        let agents = match bearer.role {
            Role::Fleet => u32::try_from(used.agents.len()).unwrap_or(u32::MAX).max(1),
            _ => 1,
        };
        let per_second = limits.requests_per_second.saturating_mul(agents);
        used.take(per_second, is_urgent, now)?;
        match connection {
            Some(connection) => {
                let max = limits.connections.saturating_mul(agents);
                let least = if bearer.role == Role::Fleet { CONNECTIONS_MIN } else { 0 };
                used.connect(connection, (max as usize).max(least))
            }
            None => Ok(()),
        }
    }

    /// An agent of a fleet sent a request: the fleet's limits grow with its agents.
    pub(crate) fn heard(&self, fleet: &Bearer, agent: &AgentId, now: Instant) {
        let mut tokens = self.tokens.lock();
        let all: usize = tokens.values().map(|used| used.agents.len()).sum();
        let Some(used) = tokens.get_mut(&fleet.label) else { return };
        if let Some(heard) = used.agents.get_mut(agent) {
            *heard = now;
        } else if all < AGENTS_MAX {
            used.agents.insert(agent.clone(), now);
        }
    }

    /// Forgets what no longer counts: silent agents, closed connections, and tokens that were not used.
    pub(crate) fn tidy(&self, now: Instant) {
        self.tokens.lock().retain(|_, used| {
            used.agents.retain(|_, heard| now.saturating_duration_since(*heard) < AGENT_COUNTS);
            used.connections.retain(Connection::is_open);
            let is_idle = now.saturating_duration_since(used.at) >= AGENT_COUNTS;
            !(is_idle && used.agents.is_empty() && used.connections.is_empty())
        });
    }
}

impl Used {
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
    use super::*;
    use crate::store::tokens::Limits;

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

    #[test]
    fn whoever_needs_no_token_has_no_limit() {
        let usage = Usage::default();
        assert_eq!(served(&usage, &Bearer::operator("loopback"), Instant::now()), 1000);
    }
}
