//! Access tokens, as hashes, and what their bearers may do.

use rand::RngCore;
use rand::rngs::OsRng;
use rollmill_broker_client::rules::{At, Described as _};
use rollmill_broker_client::{
    AgentId, FLEET_LABEL, NewToken, Role, Rotation, TOKEN_FORMS, TokenForm, TokenLabel,
    TokenSecret, TokenState, TokenView,
};
use sha2::{Digest as _, Sha256};

use super::audit::By;
use super::sql::{
    BearerRow, Bearers, Statement, TokenAdd, TokenCertificate, TokenFree, TokenLabelled,
    TokenResume, TokenRevoke, TokenRotate, TokenRow, Tokens, TokensAny,
};
use super::{Store, Tenant};
use crate::error::BrokerError;

/// Limits of tokens that have none of their own.
const REQUESTS: u32 = 50;
const PRODUCER_REQUESTS: u32 = 2_000;
const CONNECTIONS: u32 = 64;
const FLEET_CONNECTIONS: u32 = 4;

/// What the bearer of a token may use up at one replica; for a token of several agents, each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) requests_per_second: u32,
    pub(crate) connections: u32,
}

impl Limits {
    const fn of(role: Role) -> Self {
        match role {
            Role::Producer => {
                Self { requests_per_second: PRODUCER_REQUESTS, connections: CONNECTIONS }
            }
            Role::Fleet => Self { requests_per_second: REQUESTS, connections: FLEET_CONNECTIONS },
            Role::Agent | Role::Operator | Role::Reader => {
                Self { requests_per_second: REQUESTS, connections: CONNECTIONS }
            }
        }
    }
}

/// How the agents of a token are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The one agent of the token, whatever it calls itself.
    One(AgentId),
    /// As each calls itself, below the token's label.
    Below(String),
    /// As each calls itself: agents of a token of a release before fleets, those of Aztec, and operators, who may do
    /// everything.
    Given,
}

/// The bearer of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) label: String,
    pub(crate) role: Role,
    pub(crate) tenant: Tenant,
    pub(crate) naming: Naming,
    /// [`None`] for whoever needs no token.
    pub(crate) limits: Option<Limits>,
    pub(crate) suspended: bool,
    pub(crate) expires_unix_seconds: Option<u64>,
}

impl Bearer {
    /// An operator without a token, known to the record by this label.
    pub(crate) fn operator(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            role: Role::Operator,
            tenant: Tenant::default(),
            naming: Naming::Given,
            limits: None,
            suspended: false,
            expires_unix_seconds: None,
        }
    }

    /// Whether an upload of the bearer opens its epoch. One of an agent does not.
    pub(crate) fn opens_epochs(&self) -> bool {
        matches!(self.role, Role::Producer | Role::Operator)
    }

    /// Whether several agents share the token: a fleet, and agents of a token of a release before fleets.
    pub(crate) fn is_of_several(&self) -> bool {
        self.role == Role::Fleet || (self.role == Role::Agent && self.naming == Naming::Given)
    }

    /// Rejects a bearer with none of these roles. An operator may do everything.
    pub(crate) fn require(&self, roles: &[Role]) -> Result<(), BrokerError> {
        if self.role == Role::Operator || roles.contains(&self.role) {
            return Ok(());
        }
        Err(BrokerError::Forbidden)
    }

    /// The identity of the bearer's agent that calls itself `given`. It comes from the token: a name alone opens nobody
    /// else's leases, and a new name clears no quarantine of another token.
    pub(crate) fn identity(&self, given: &AgentId) -> Result<AgentId, BrokerError> {
        let below = match &self.naming {
            Naming::One(agent) => return Ok(agent.clone()),
            Naming::Given => return Ok(given.clone()),
            Naming::Below(label) => format!("{label}.{given}"),
        };
        below.parse().map_err(|_| {
            let most = AgentId::LENGTH_MAX.saturating_sub(self.label.len() + 1);
            BrokerError::bad(format!(
                "an agent of this token has a name of at most {most} characters"
            ))
        })
    }

    /// The tenant whose tokens and record the bearer may see; [`None`] for all. Operators of the default tenant run the
    /// cluster.
    pub(crate) fn scope(&self) -> Option<&Tenant> {
        (self.tenant != Tenant::default()).then_some(&self.tenant)
    }
}

impl<'a> From<&'a Bearer> for By<'a> {
    fn from(bearer: &'a Bearer) -> Self {
        Self { tenant: &bearer.tenant, label: &bearer.label }
    }
}

pub(crate) fn hash(token: &str) -> [u8; 32] {
    // 256 random bits need no slow hash: there is nothing to guess.
    Sha256::digest(token.as_bytes()).into()
}

/// As [`hash`], of a name in a client's certificate. No secret has this hash: a secret is text, and no text has the byte 0xff.
pub(crate) fn certificate_hash(name: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update([0xff_u8]).chain_update("certificate ");
    hash.chain_update(name.to_ascii_lowercase()).finalize().into()
}

/// A new secret.
///
/// # Errors
/// [`BrokerError::Internal`] if the system has no randomness.
pub fn secret() -> Result<String, BrokerError> {
    let mut secret = [0; 32];
    OsRng.try_fill_bytes(&mut secret).map_err(|error| BrokerError::Internal {
        reason: format!("the system's source of randomness failed: {error}"),
    })?;
    Ok(format!("rm_{}", hex::encode(secret)))
}

/// What a new token will be, checked.
struct Wanted {
    tenant: Tenant,
    agent: Option<AgentId>,
    /// In lower case.
    certificate: Option<String>,
}

fn check(new: &NewToken, own: &Tenant) -> Result<Wanted, BrokerError> {
    new.check(&At::TOP)?;
    let NewToken { label, role, tenant, agent, certificate, .. } = new;
    let certificate = certificate.as_ref().map(|name| name.to_ascii_lowercase());
    if certificate.is_some() && *role == Role::Operator {
        return Err(BrokerError::bad(
            "a token of the role operator has a secret: a browser presents a certificate for every page that asks",
        ));
    }
    let tenant = tenant.clone().map_or_else(|| own.clone(), Tenant);
    let agent_fits = |form: &TokenForm| match (&form.agent, agent) {
        (None, None) => true,
        (Some(text), Some(agent)) => text.accepts(agent.as_str()),
        (None, Some(_)) | (Some(_), None) => false,
    };
    let mut forms = TOKEN_FORMS.iter().filter(|form| form.roles.contains(role));
    let certificate_fits = |form: &TokenForm| form.certificate || certificate.is_none();
    if forms.any(|form| form.label.accepts(label) && agent_fits(form) && certificate_fits(form)) {
        // The label is a name.
        let own_name = || label.parse::<AgentId>().ok().filter(|_| *role == Role::Agent);
        return Ok(Wanted { tenant, agent: agent.clone().or_else(own_name), certificate });
    }
    Err(BrokerError::bad(match (role, agent) {
        (Role::Fleet, None) => format!("the label of a fleet has {}", FLEET_LABEL.says()),
        (Role::Agent, _) => {
            "the name of a token's agent has no dot; give the token a name without one".to_owned()
        }
        _ => "only a token of the role agent names an agent".to_owned(),
    }))
}

/// Seconds, which are below 2^53.
fn seconds(given: Option<u64>) -> Option<f64> {
    given.map(|seconds| seconds as f64)
}

fn limit(given: Option<u32>) -> Option<i32> {
    given.and_then(|limit| i32::try_from(limit).ok())
}

/// The role that a row stands for. Fleets are stored as agents with a mark.
fn role_of(role: Role, fleet: bool) -> Role {
    match (role, fleet) {
        (Role::Agent, true) => Role::Fleet,
        (role, _) => role,
    }
}

impl Store {
    /// Creates a token that never ends, with the limits of its role, and returns its secret.
    pub async fn add_token(
        &self,
        label: &str,
        role: Role,
        tenant: &Tenant,
    ) -> Result<String, BrokerError> {
        let new = NewToken { tenant: Some(tenant.0.clone()), ..NewToken::new(label, role) };
        Ok(self.create_token(tenant, &new).await?.token)
    }

    /// Creates a token and returns its secret; it cannot be shown again. It is empty where a certificate stands for the
    /// token.
    pub async fn create_token<'a>(
        &self,
        by: impl Into<By<'a>>,
        new: &NewToken,
    ) -> Result<TokenSecret, BrokerError> {
        let token = secret()?;
        self.keep_token(by.into(), new, &token).await?;
        let token = if new.certificate.is_none() { token } else { String::new() };
        Ok(TokenSecret { label: new.label.clone(), token })
    }

    /// Records a token with this secret, as a hash, or with that of the name in the certificate that stands for it.
    pub(crate) async fn keep_token(
        &self,
        by: By<'_>,
        new: &NewToken,
        secret: &str,
    ) -> Result<(), BrokerError> {
        let Wanted { tenant, agent, certificate } = check(new, by.tenant)?;
        let NewToken { label, role, .. } = new;
        let fleet = *role == Role::Fleet;
        let add = TokenAdd {
            hash: &certificate.as_deref().map_or_else(|| hash(secret), certificate_hash),
            label,
            role: if fleet { Role::Agent } else { *role },
            tenant: &tenant,
            fleet,
            agent: agent.as_ref(),
            valid_seconds: seconds(new.valid_seconds),
            requests_per_second: limit(new.requests_per_second),
            connections: limit(new.connections),
            certificate: certificate.as_deref(),
        };
        let mut tx = self.pool.begin().await?;
        if certificate.is_some() {
            TokenFree { hash: add.hash }.run(&mut *tx).await?;
        }
        if add.run(&mut *tx).await? == 0 {
            let is_labelled = TokenLabelled { label }.one(&mut *tx).await?.found;
            return Err(match certificate.filter(|_| !is_labelled) {
                Some(certificate) => BrokerError::CertificateTaken { certificate },
                None => BrokerError::LabelTaken { label: label.clone() },
            });
        }
        let of = certificate.map_or_else(String::new, |name| format!(", certificate {name}"));
        let detail = format!("{label}, role {role}{of}");
        By::record_of(by.label, &tenant, &mut tx, "add token", &detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a token another secret; the one before stays valid for a while. `scope` is the tenant whose tokens the
    /// caller may change.
    pub async fn rotate_token<'a>(
        &self,
        by: impl Into<By<'a>>,
        scope: Option<&Tenant>,
        label: &TokenLabel,
        how: &Rotation,
    ) -> Result<TokenSecret, BrokerError> {
        let Rotation { overlap_seconds, valid_seconds } = *how;
        how.check(&At::TOP)?;
        let token = secret()?;
        let rotate = TokenRotate {
            label,
            hash: &hash(&token),
            overlap_seconds: overlap_seconds as f64,
            valid_seconds: seconds(valid_seconds),
            tenant: scope,
        };
        let mut tx = self.pool.begin().await?;
        let present = TokenCertificate { label, tenant: scope }.optional(&mut *tx).await?;
        if present.is_some_and(|row| row.certificate.is_some()) {
            return Err(BrokerError::NoSecret { label: label.as_str().to_owned() });
        }
        let tenant = Tenant(known(rotate.optional(&mut *tx).await?, label)?.tenant);
        let detail = format!("{}, overlap {overlap_seconds} s", label.as_str());
        By::record_of(by.into().label, &tenant, &mut tx, "rotate token", &detail).await?;
        tx.commit().await?;
        Ok(TokenSecret { label: label.as_str().to_owned(), token })
    }

    /// Revokes a token, with the secret before its rotation.
    pub async fn revoke_token<'a>(
        &self,
        by: impl Into<By<'a>>,
        scope: Option<&Tenant>,
        label: &TokenLabel,
    ) -> Result<(), BrokerError> {
        let mut tx = self.pool.begin().await?;
        let revoked = TokenRevoke { label, tenant: scope }.optional(&mut *tx).await?;
        let tenant = Tenant(known(revoked, label)?.tenant);
        let by = by.into().label;
        By::record_of(by, &tenant, &mut tx, "revoke token", label.as_str()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends the suspension of a token; returns whether it was suspended.
    pub async fn resume_token<'a>(
        &self,
        by: impl Into<By<'a>>,
        scope: Option<&Tenant>,
        label: &TokenLabel,
    ) -> Result<bool, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let resumed = TokenResume { label, tenant: scope }.optional(&mut *tx).await?;
        let resumed = known(resumed, label)?;
        if resumed.suspended {
            let (by, tenant) = (by.into().label, Tenant(resumed.tenant));
            By::record_of(by, &tenant, &mut tx, "resume token", label.as_str()).await?;
        }
        tx.commit().await?;
        Ok(resumed.suspended)
    }

    /// Every token of a tenant, or of all.
    pub async fn tokens(&self, tenant: Option<&Tenant>) -> Result<Vec<TokenView>, BrokerError> {
        let view = |row: TokenRow| TokenView {
            label: row.label,
            role: role_of(row.role.0, row.fleet),
            tenant: row.tenant,
            state: match () {
                () if row.revoked => TokenState::Revoked,
                () if row.expired => TokenState::Expired,
                () if row.suspended => TokenState::Suspended,
                () => TokenState::Valid,
            },
            agent: row.agent.map(|agent| agent.0),
            certificate: row.certificate,
            created_unix_ms: row.created_ms.0,
            expires_unix_ms: row.expires_ms.map(|at| at.0),
            previous_until_unix_ms: row.previous_ms.map(|at| at.0),
            requests_per_second: row.requests_per_second.map(|limit| limit.0),
            connections: row.connections.map(|limit| limit.0),
            rejected: row.rejected.0,
        };
        Ok(Tokens { tenant }.all(&self.pool).await?.into_iter().map(view).collect())
    }

    /// Whether a token was ever made. Once it was, requests need one, also when all have ended since.
    pub(crate) async fn has_tokens(&self) -> Result<bool, BrokerError> {
        Ok(TokensAny {}.one(&self.pool).await?.found)
    }

    /// The valid secrets' hashes and bearers, read together so that a check costs no query. A row that this release
    /// cannot read opens nothing, and stops none of the others.
    pub(crate) async fn bearers(&self) -> Result<BearersRead, BrokerError> {
        let mut read = BearersRead::default();
        for row in (Bearers {}).all(&self.pool).await? {
            let label = row.label.clone();
            match bearer(row) {
                Ok(bearer) => read.bearers.push(bearer),
                Err(what) => read.unreadable.push((label, what)),
            }
        }
        Ok(read)
    }
}

/// What the tokens of the database are to this release.
#[derive(Debug, Default)]
pub(crate) struct BearersRead {
    /// Hashes of secrets, each with its bearer.
    pub(crate) bearers: Vec<([u8; 32], Bearer)>,
    /// Labels of tokens that it cannot read, each with what is wrong: a newer release wrote it, or somebody by hand.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// The bearer of a secret, or what of its row cannot be read.
fn bearer(row: BearerRow) -> Result<([u8; 32], Bearer), String> {
    let hash = <[u8; 32]>::try_from(row.hash);
    let hash = hash.map_err(|hash| format!("its hash has {} bytes", hash.len()))?;
    let role = Role::parse(&row.role).ok_or_else(|| format!("`{}` is no role", row.role))?;
    let role = role_of(role, row.fleet);
    let agent = row.agent.map(|name| name.parse::<AgentId>()).transpose();
    let agent = agent.map_err(|error| format!("its agent: {}", error.message()))?;
    let naming = match (role, agent) {
        (Role::Fleet, _) => Naming::Below(row.label.clone()),
        (_, Some(agent)) => Naming::One(agent),
        (_, None) => Naming::Given,
    };
    let of_role = Limits::of(match (role, &naming) {
        // Several share it: see [`Bearer::is_of_several`].
        (Role::Agent, Naming::Given) => Role::Fleet,
        (role, _) => role,
    });
    let limit = |own: Option<i32>, of_role: u32| match own.map(u32::try_from) {
        None => Ok(of_role),
        Some(Ok(own)) => Ok(own),
        Some(Err(_)) => Err("a limit of it is negative".to_owned()),
    };
    let limits = Limits {
        requests_per_second: limit(row.requests_per_second, of_role.requests_per_second)?,
        connections: limit(row.connections, of_role.connections)?,
    };
    let bearer = Bearer {
        label: row.label,
        role,
        tenant: Tenant(row.tenant),
        naming,
        limits: Some(limits),
        suspended: row.suspended,
        expires_unix_seconds: row.expires.map(|at| at.0),
    };
    Ok((hash, bearer))
}

fn known<T>(row: Option<T>, label: &TokenLabel) -> Result<T, BrokerError> {
    row.ok_or_else(|| BrokerError::UnknownToken { label: label.as_str().to_owned() })
}
