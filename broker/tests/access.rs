//! Every route, asked with every kind of token: the status and code of each answer.

use crate::support::requests::{INPUT, request};
use rollmill_broker::store::{Role, Store, Tenant};
use rollmill_broker_client::routes::RouteName;
use rollmill_broker_client::{Digest, ErrorBody, NewToken, TokenLabel};
use rollmill_broker_testing::TestSchema;

/// Who may call a route, and what a token of another tenant gets where one of this tenant finds what is there.
struct Row {
    open: &'static [Role],
    foreign: Foreign,
}

/// What the bearer of another tenant's token finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Foreign {
    /// Nothing of that name: status and code.
    Unknown(u16, &'static str),
    /// An answer of its own tenant, without what is there.
    Empty,
    /// The route makes something of the caller's own.
    Own,
}

const AGENTS: &[Role] = &[Role::Agent, Role::Fleet, Role::Operator];
const WRITERS: &[Role] = &[Role::Producer, Role::Agent, Role::Fleet, Role::Operator];
const PRODUCERS: &[Role] = &[Role::Producer, Role::Operator];
const OPERATORS: &[Role] = &[Role::Operator];
const ALL: &[Role] = &Role::ALL;

/// The table. It repeats that of the routes on purpose: who opens a route by mistake changes both. The match has no
/// wildcard, so that a new route does not compile without a row.
fn row(route: RouteName) -> Row {
    let (open, foreign) = match route {
        RouteName::PutArtifact | RouteName::PutArtifacts => (WRITERS, Foreign::Own),
        RouteName::GetArtifact => (ALL, Foreign::Unknown(404, "BRK-014")),
        RouteName::Enqueue => (PRODUCERS, Foreign::Unknown(422, "BRK-013")),
        RouteName::List | RouteName::Query | RouteName::Wait | RouteName::Changes => {
            (ALL, Foreign::Empty)
        }
        RouteName::Reject => (PRODUCERS, Foreign::Unknown(404, "BRK-011")),
        RouteName::Cancel => (PRODUCERS, Foreign::Empty),
        RouteName::History => (ALL, Foreign::Unknown(404, "BRK-011")),
        RouteName::Epochs => (ALL, Foreign::Empty),
        RouteName::OpenEpoch | RouteName::CloseEpoch => (PRODUCERS, Foreign::Own),
        RouteName::DropEpoch => (PRODUCERS, Foreign::Empty),
        RouteName::AcquireName => (PRODUCERS, Foreign::Own),
        RouteName::RenewName | RouteName::ReleaseName => (PRODUCERS, Foreign::Empty),
        RouteName::OpenSession => (AGENTS, Foreign::Own),
        RouteName::Claim => (AGENTS, Foreign::Empty),
        RouteName::Heartbeat => (AGENTS, Foreign::Empty),
        RouteName::Progress | RouteName::Fail | RouteName::Release => {
            (AGENTS, Foreign::Unknown(404, "BRK-011"))
        }
        RouteName::Complete => (AGENTS, Foreign::Unknown(404, "BRK-011")),
        RouteName::Status | RouteName::Autoscale | RouteName::Events | RouteName::OpenApi => {
            (ALL, Foreign::Empty)
        }
        RouteName::ReplayDead | RouteName::DropDead => (PRODUCERS, Foreign::Empty),
        RouteName::Pardon | RouteName::Drain => (OPERATORS, Foreign::Empty),
        RouteName::ListTokens | RouteName::Audit => (OPERATORS, Foreign::Empty),
        RouteName::AddToken => (OPERATORS, Foreign::Own),
        RouteName::RotateToken | RouteName::RevokeToken | RouteName::ResumeToken => {
            (OPERATORS, Foreign::Unknown(404, "BRK-028"))
        }
    };
    Row { open, foreign }
}

/// What the default tenant has.
async fn fill(store: &Store) {
    let tenant = Tenant::default();
    let digest = Digest::of(INPUT);
    store.put_artifact(&tenant, 7, digest, INPUT.to_vec()).await.unwrap();
    let (kind, version) = ("leaf".parse().unwrap(), "v1".parse().unwrap());
    let job = rollmill_broker_client::NewJob::new(7, &kind, version, digest);
    store.enqueue(&tenant, &[job]).await.unwrap();
    sqlx::query(
        "INSERT INTO agent (tenant, id, quarantined_at) VALUES ('default', 'quarantined', now())",
    )
    .execute(store.pool())
    .await
    .unwrap();
}

fn often(label: &str, role: Role, tenant: &str) -> NewToken {
    let requests_per_second = Some(1_000_000);
    NewToken { requests_per_second, tenant: Some(tenant.into()), ..NewToken::new(label, role) }
}

/// Status, code and body of an answer.
struct Got {
    status: u16,
    code: String,
    text: String,
}

impl Got {
    /// What is wrong, if it is not the answer wanted.
    fn differs(&self, route: RouteName, who: &str, wanted: (u16, &str)) -> Option<String> {
        let is_wanted = (self.status, self.code.as_str()) == wanted;
        (!is_wanted)
            .then(|| format!("{route:?}, {who}: {} {}, not {wanted:?}", self.status, self.text))
    }
}

struct Lab {
    url: String,
    http: reqwest::Client,
}

impl Lab {
    async fn ask(&self, route: RouteName, token: Option<&str>) -> Got {
        let (path, body) = request(route);
        let method: reqwest::Method = route.spec().method.as_str().parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let code =
            serde_json::from_str::<ErrorBody>(&text).map_or_else(|_| String::new(), |e| e.code);
        Got { status, code, text }
    }
}

/// Goal: who gets in where, exhaustively. Method: every route, with no token, a wrong, an expired, a revoked and a
/// suspended one, and with one of every role of this tenant and of another.
#[tokio::test]
async fn every_route_answers_every_kind_of_token_as_the_table_says() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let default = Tenant::default();
    let mut made = Vec::new();
    for role in Role::ALL {
        for tenant in ["default", "other"] {
            let new = often(&format!("{role}-{tenant}"), role, tenant);
            let token = store.create_token(&default, &new).await.unwrap().token;
            made.push((role, tenant, token));
        }
    }
    let spare = async |label: &str| {
        let new = often(label, Role::Operator, "default");
        store.create_token(&default, &new).await.unwrap().token
    };
    spare("of-default").await;
    let (expired, revoked, suspended) =
        (spare("expired").await, spare("revoked").await, spare("suspended").await);
    let label: TokenLabel = "revoked".parse().unwrap();
    store.revoke_token(&default, None, &label).await.unwrap();
    for change in [
        "UPDATE token SET expires_at = now() WHERE label = 'expired'",
        "UPDATE token SET suspended_at = now() WHERE label = 'suspended'",
    ] {
        sqlx::query(change).execute(store.pool()).await.unwrap();
    }
    let broker = schema.broker().await;
    let url = rollmill_broker::url_of(broker.address);
    let lab = Lab { url, http: rollmill_service::untimed_http_client() };

    let mut wrong = Vec::new();
    for route in RouteName::ALL {
        let Row { open, foreign } = row(*route);
        fill_again(&store).await;
        let near = format!("{}g", &made[0].2[..made[0].2.len() - 1]);
        for (who, token, wanted) in [
            ("no token", None, (401, "BRK-023")),
            ("a wrong one", Some("rm_00"), (401, "BRK-023")),
            ("one that is nearly right", Some(near.as_str()), (401, "BRK-023")),
            ("an expired one", Some(expired.as_str()), (401, "BRK-023")),
            ("a revoked one", Some(revoked.as_str()), (401, "BRK-023")),
            ("a suspended one", Some(suspended.as_str()), (403, "BRK-037")),
        ] {
            wrong.extend(lab.ask(*route, token).await.differs(*route, who, wanted));
        }
        for (role, tenant, token) in &made {
            let who = format!("{role} of {tenant}");
            fill_again(&store).await;
            let got = lab.ask(*route, Some(token)).await;
            let is_let_in = !matches!(got.status, 401 | 403 | 500..);
            let wanted = match (open.contains(role), *tenant, foreign) {
                (false, ..) => (403, "BRK-024"),
                (true, "default", _) if is_let_in => continue,
                (true, "default", _) | (true, _, Foreign::Empty) => (200, ""),
                (true, _, Foreign::Unknown(status, code)) => (status, code),
                (true, _, Foreign::Own) => (route.spec().success, ""),
            };
            wrong.extend(got.differs(*route, &who, wanted));
            if *tenant == "other" && foreign == Foreign::Empty {
                let id = format!("7:leaf:{}", Digest::of(INPUT));
                // A heartbeat repeats what it was told.
                let shows = got.text.contains(&id) && *route != RouteName::Heartbeat;
                if shows || got.text.contains("of-default") || got.text.contains(r#""count":1"#) {
                    wrong.push(format!("{route:?}, {who}: what is another's: {}", got.text));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the default tenant has, as it was. The other tenant has an open epoch of the same number, since agents open none.
async fn fill_again(store: &Store) {
    for statement in [
        "DELETE FROM job",
        "DELETE FROM artifact",
        "DELETE FROM epoch",
        "INSERT INTO epoch (tenant, number) VALUES ('other', 7)",
        "DELETE FROM agent",
        "DELETE FROM token WHERE label = 'made-by-the-test'",
        "UPDATE token SET revoked_at = NULL WHERE label = 'of-default'",
        "UPDATE named_lease SET holder = NULL, incarnation = NULL",
    ] {
        sqlx::query(statement).execute(store.pool()).await.unwrap();
    }
    fill(store).await;
}

/// Goal: the table above and that of the routes are one. A route that opens by mistake fails here by name.
#[test]
fn the_roles_of_the_routes_are_those_of_the_table() {
    for route in RouteName::ALL {
        let mut wanted: Vec<&str> = row(*route).open.iter().map(|role| role.as_str()).collect();
        let listed = route.spec().roles.iter().chain([&Role::Operator]);
        let mut listed: Vec<&str> = listed.map(|role| role.as_str()).collect();
        wanted.sort_unstable();
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(wanted, listed, "{route:?}: left: the test, right: the routes");
    }
}
