//! What crosses the wire about tokens, the record of changes, and agents' sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::LIST_MAX;
use crate::rules::Rule::{self, AtMost, Within};
use crate::rules::{Characters, KEPT, Text};
use crate::shapes::wire;
use crate::{AgentId, Capability, Installation, Role, SessionId, SizeClass, TokenState};

/// Most entries of the record in one answer.
pub const AUDIT_MAX: u32 = 1000;
/// Longest time for which the secret before a rotation stays valid, in seconds: 30 days.
pub const OVERLAP_SECONDS_MAX: u64 = 30 * 86_400;
/// Longest validity of a token that has an end, in seconds: ten years.
pub const VALIDITY_SECONDS_MAX: u64 = 3_653 * 86_400;
/// Largest limit of requests per second, and of connections, that a token can have.
pub const TOKEN_LIMIT_MAX: u32 = 1_000_000;

/// Labels that stand in the record for the broker itself, for commands on its database, and for callers without a
/// token. A token has none of them, or what its bearer does would look like what the broker does.
pub const RESERVED_LABELS: &[&str] = &["broker", "database", "loopback", "operator.token"];
/// The label of a new token.
pub const NEW_LABEL: Text =
    Text::new(Characters::Name, 1, 60).more_than_dots().except(RESERVED_LABELS);
/// The label of a new token of a fleet: the names of its agents start with it and a dot.
pub const FLEET_LABEL: Text = Text::new(Characters::Undotted, 1, 40);
/// The label of a new token of one agent that has no other name.
pub const AGENT_LABEL: Text = Text::new(Characters::Undotted, 1, 60);
/// The name of a token's one agent. Those of fleets have a dot.
pub const AGENT_NAME: Text = Text::new(Characters::Undotted, 1, AgentId::LENGTH_MAX);
/// A DNS name in a client's certificate.
pub const CERTIFICATE_NAME: Text = Text::new(Characters::Name, 1, 253);
/// The name of a tenant.
pub const TENANT: Text = Text::new(Characters::Name, 1, 60);

/// What a new token of some roles is like.
#[derive(Clone, Copy, Debug)]
pub struct TokenForm {
    /// The roles.
    pub roles: &'static [Role],
    /// Its label.
    pub label: Text,
    /// The name of its agent; [`None`] if it names none.
    pub agent: Option<Text>,
    /// Whether a certificate may stand for it. A browser presents one for every page that asks, so none stands for an
    /// operator's.
    pub certificate: bool,
}

/// Every way to make a token.
pub const TOKEN_FORMS: &[TokenForm] = &[
    TokenForm {
        roles: &[Role::Producer, Role::Reader],
        label: NEW_LABEL,
        agent: None,
        certificate: true,
    },
    TokenForm { roles: &[Role::Operator], label: NEW_LABEL, agent: None, certificate: false },
    TokenForm { roles: &[Role::Fleet], label: FLEET_LABEL, agent: None, certificate: true },
    TokenForm { roles: &[Role::Agent], label: AGENT_LABEL, agent: None, certificate: true },
    TokenForm {
        roles: &[Role::Agent],
        label: NEW_LABEL,
        agent: Some(AGENT_NAME),
        certificate: true,
    },
];

wire! {
    /// A token to create.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct NewToken {
        /// Its name for people and for the record: 1 to 60 of the characters `A-Z a-z 0-9 . _ -`, and at most 40
        /// without a dot for the role `fleet`. A label is never used twice; `broker`, `database`, `loopback` and
        /// `operator.token` stand for the broker itself.
        #[rule(Rule::Text(&NEW_LABEL))]
        pub label: String,
        /// What the bearer may do.
        pub role: Role,
        /// Whose jobs the bearer sees; that of the caller when absent. Only operators of the tenant `default` create
        /// tokens of others.
        #[rule(Rule::Text(&TENANT))]
        #[serde(default)]
        pub tenant: Option<String>,
        /// Name of the one agent of a token of the role `agent`, without a dot; the label when absent.
        #[serde(default)]
        pub agent: Option<AgentId>,
        /// A DNS name in the certificates of the bearer, of upper or lower case: whoever presents one of the broker's
        /// `listen_client_ca` with this name, and sends no token, is the bearer. The token has no secret then. Not for the role
        /// `operator`, and only by an operator of the default tenant. Of the tokens that are not revoked one has a name.
        #[rule(Rule::Text(&CERTIFICATE_NAME))]
        #[serde(default)]
        pub certificate: Option<String>,
        /// How long it is valid from now; without end when absent.
        #[rule(Within(1, VALIDITY_SECONDS_MAX))]
        #[serde(default)]
        pub valid_seconds: Option<u64>,
        /// Requests per second at each replica, with bursts of twice as many; for a fleet those of each of its
        /// agents. When absent 50, and 2,000 for a producer.
        #[rule(Within(1, TOKEN_LIMIT_MAX as u64))]
        #[serde(default)]
        pub requests_per_second: Option<u32>,
        /// Open connections at each replica; for a fleet those of each of its agents, 4 when absent. Else 64 when
        /// absent.
        #[rule(Within(1, TOKEN_LIMIT_MAX as u64))]
        #[serde(default)]
        pub connections: Option<u32>,
    }

    /// A token's secret, which is shown this once.
    #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TokenSecret {
        /// The label.
        pub label: String,
        /// What the bearer sends; empty where a certificate stands for the token.
        pub token: String,
    }

    /// How a token is rotated.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Rotation {
        /// How long the secret before stays valid; at most 30 days.
        #[rule(Within(0, OVERLAP_SECONDS_MAX))]
        #[serde(default)]
        pub overlap_seconds: u64,
        /// How long the token is valid from now; as before when absent.
        #[rule(Within(1, VALIDITY_SECONDS_MAX))]
        #[serde(default)]
        pub valid_seconds: Option<u64>,
    }

    /// Every token that the caller may see.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct TokensResponse {
        /// The oldest first.
        pub tokens: Vec<TokenView>,
    }

    /// A token, without its secret.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TokenView {
        /// Its name.
        pub label: String,
        /// What its bearer may do.
        pub role: Role,
        /// Whose jobs its bearer sees.
        pub tenant: String,
        /// Whether it opens the broker.
        pub state: TokenState,
        /// Its one agent; null for other roles, and for a token of a release before fleets, whose agents name
        /// themselves.
        #[serde(default)]
        pub agent: Option<AgentId>,
        /// The DNS name in the certificates that stand for it; null for a token with a secret.
        #[serde(default)]
        pub certificate: Option<String>,
        /// When it was created, in milliseconds since 1970.
        pub created_unix_ms: u64,
        /// When it ends, in milliseconds since 1970.
        #[serde(default)]
        pub expires_unix_ms: Option<u64>,
        /// Until when the secret before the last rotation is valid, in milliseconds since 1970; null when it no longer
        /// is.
        #[serde(default)]
        pub previous_until_unix_ms: Option<u64>,
        /// As set; null for that of the role.
        #[serde(default)]
        pub requests_per_second: Option<u32>,
        /// As set; null for that of the role.
        #[serde(default)]
        pub connections: Option<u32>,
        /// Results of its agents that producers rejected, since it was last resumed or a day passed without one.
        pub rejected: u32,
    }

    /// Which part of the record to read.
    #[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AuditQuery {
        /// Only entries before this one.
        #[serde(default)]
        pub before: Option<u64>,
        /// At most [`AUDIT_MAX`]; 100 when absent.
        #[rule(Within(1, AUDIT_MAX as u64))]
        #[serde(default)]
        pub limit: Option<u32>,
    }

    /// A part of the record.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct AuditResponse {
        /// The newest first.
        pub entries: Vec<AuditView>,
        /// There are older ones: ask again with `before` set to the number of the last.
        #[serde(default)]
        pub more: bool,
    }

    /// A change, and who made it.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct AuditView {
        /// Numbers grow with time, and some are left out.
        pub number: u64,
        /// When, in milliseconds since 1970.
        pub unix_ms: u64,
        /// Whose jobs or tokens.
        pub tenant: String,
        /// Label of the token; `loopback` for a caller without one, `operator.token` for the file of that name in the
        /// data directory, `database` for a command that worked on the database, `broker` for what it does by itself.
        pub by: String,
        /// What was done.
        pub action: String,
        /// To what.
        pub detail: String,
    }

    /// An agent that starts.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SessionRequest {
        /// The agent's name. A token of the role `agent` has one of its own, which counts instead.
        pub agent: AgentId,
        /// Where the agent is installed: a random name that it keeps on disk.
        pub installation: Installation,
        /// The session that this process had before, if any.
        #[serde(default)]
        pub replaces: Option<SessionId>,
        /// At most 256: what the agent can do.
        #[rule(AtMost(LIST_MAX))]
        pub capabilities: Vec<Capability>,
        /// The agent's class. It gets jobs of its class and below.
        pub class: SizeClass,
        /// Name and release of the agent's program.
        #[rule(Rule::Text(&KEPT))]
        #[serde(default)]
        pub software: String,
        /// The device that it proves on.
        #[serde(default)]
        pub device: SessionDevice,
        /// Types of job whose keys are loaded, at most 256.
        #[rule(AtMost(LIST_MAX), Rule::Text(&KEPT))]
        #[serde(default)]
        pub resident_keys: Vec<String>,
        /// Measured seconds of one job by type, at most 256.
        #[rule(AtMost(LIST_MAX), Rule::Text(&KEPT))]
        #[serde(default)]
        pub seconds: BTreeMap<String, f64>,
    }

    /// A device, as its agent sees it.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SessionDevice {
        /// Identity of the hardware, if it has one: a quarantine holds for it whatever its agents are called.
        #[rule(Rule::Text(&KEPT))]
        #[serde(default)]
        pub uuid: Option<String>,
        /// `cpu`, `cuda`, `wgpu` or `icicle`.
        #[rule(Rule::Text(&KEPT))]
        #[serde(default)]
        pub kind: String,
        /// The model.
        #[rule(Rule::Text(&KEPT))]
        #[serde(default)]
        pub name: String,
        /// Memory for proofs.
        #[serde(default)]
        pub memory_bytes: Option<u64>,
        /// Version of the driver.
        #[rule(Rule::Text(&KEPT))]
        #[serde(default)]
        pub driver: Option<String>,
        /// Threads in use.
        #[serde(default)]
        pub threads: Option<u64>,
    }

    /// A session.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct SessionResponse {
        /// For the agent's claims.
        pub session: SessionId,
        /// The identity that the token gives the agent.
        pub agent: AgentId,
        /// An earlier session of this installation ended with this one, and this many of its leases were returned to
        /// the queue.
        pub returned: u32,
        /// Two live agents have this installation: its disk was copied.
        #[serde(default)]
        pub is_shared: bool,
    }
}

impl NewToken {
    /// A token of the caller's tenant without end and with the limits of its role.
    pub fn new(label: &str, role: Role) -> Self {
        Self {
            label: label.to_owned(),
            role,
            tenant: None,
            agent: None,
            certificate: None,
            valid_seconds: None,
            requests_per_second: None,
            connections: None,
        }
    }
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSecret").field("label", &self.label).finish_non_exhaustive()
    }
}
