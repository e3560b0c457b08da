//! Certificates of clients that stand for tokens without secrets.

use std::time::Duration;

use crate::identity::{code, label, often, session};
use rollmill_broker::store::{Role, Store, Tenant};
use rollmill_broker::{Config, ListenerConfig};
use rollmill_broker_client::{
    Client, ClientError, Installation, NewToken, Options, Rotation, TokenView,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_net_testing::{Authority, Signed};
use rollmill_service::{Tls, TlsFiles};

const OPTIONS: Options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(20) };

/// A broker that requires certificates of its authority, and an operator with a secret besides.
struct Lab {
    _dir: tempfile::TempDir,
    ours: Authority,
    other: Authority,
    broker: TestBroker,
    url: String,
    secret: String,
    store: Store,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ours = Authority::new(dir.path(), "ours");
        let other = Authority::new(dir.path(), "other");
        let server = ours.sign("broker", &["localhost"]);
        let listener = ListenerConfig {
            listen_tls_cert: Some(server.cert),
            listen_tls_key: Some(server.key),
            listen_client_ca: Some(ours.file()),
            ..ListenerConfig::default()
        };
        let schema = TestSchema::new().await;
        let store = schema.store().await;
        let new = often("me", Role::Operator);
        let secret = store.create_token(&Tenant::default(), &new).await.unwrap().token;
        let broker = schema.broker_with(Config { listener, ..Config::default() }).await;
        let url = format!("https://localhost:{}", broker.address.port());
        Self { _dir: dir, ours, other, broker, url, secret, store }
    }

    /// A client with a certificate, and a secret where one is given.
    fn client(&self, signed: &Signed, secret: Option<&str>) -> Client {
        let identity = Some((signed.cert.clone(), signed.key.clone()));
        let tls = Tls::open(TlsFiles { ca: Some(self.ours.file()), identity }).unwrap();
        Client::with_tls(&self.url, secret, OPTIONS, &tls).unwrap()
    }

    fn operator(&self) -> Client {
        self.client(&self.ours.sign("operator", &["laptop"]), Some(&self.secret))
    }
}

fn named(name: &str, role: Role, certificate: &str) -> NewToken {
    NewToken { certificate: Some(certificate.to_owned()), ..NewToken::new(name, role) }
}

/// Goal: an agent needs no secret. Its certificate gives it the identity, the role and no more than these, however often the
/// certificate is renewed.
#[tokio::test]
async fn a_certificate_stands_for_the_token_that_has_its_name() {
    let lab = Lab::new().await;
    let operator = lab.operator();
    let added = operator.add_token(&named("gpu", Role::Agent, "GPU-1.farm")).await.unwrap();
    assert_eq!((added.label.as_str(), added.token.as_str()), ("gpu", ""));
    let tokens = operator.tokens().await.unwrap();
    let view = tokens.iter().find(|token| token.label == "gpu").unwrap();
    assert_eq!(view.certificate.as_deref(), Some("gpu-1.farm"));

    let here = Installation::random();
    for (file, host) in [("first", "gpu-1.farm"), ("renewed", "Gpu-1.Farm")] {
        let agent = lab.client(&lab.ours.sign(file, &["10.0.0.7", host]), None);
        let opened = agent.open_session(&session("as-it-likes", &here, None)).await.unwrap();
        assert_eq!(opened.agent.as_str(), "gpu");
        assert_eq!(code(agent.tokens().await), "BRK-024");
    }
    // Who sends a secret, sends one: a wrong one is told, and none is made of a name.
    let signed = lab.ours.sign("agent", &["gpu-1.farm"]);
    for secret in ["rm_wrong", "gpu-1.farm", "certificate gpu-1.farm", &"0".repeat(64)] {
        assert_eq!(code(lab.client(&signed, Some(secret)).status().await), "BRK-023", "{secret}");
    }
    lab.broker.stop().await;
}

/// Fault: certificates of another authority, of a time that is over, with another name, with the name in the subject alone, and
/// with those of two tokens; and the token is revoked while the connection is open.
#[tokio::test]
async fn other_certificates_open_nothing_and_neither_does_that_of_a_revoked_token() {
    let lab = Lab::new().await;
    let operator = lab.operator();
    for name in ["gpu-1", "gpu-2"] {
        operator.add_token(&named(name, Role::Agent, name)).await.unwrap();
    }
    for signed in [
        lab.other.sign("foreign", &["gpu-1"]),
        lab.ours.sign_for("expired", &["gpu-1"], (2020, 2021)),
        lab.ours.sign_for("early", &["gpu-1"], (2110, 2111)),
    ] {
        let error = lab.client(&signed, None).status().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{signed:?}: {error}");
    }
    for (file, names) in [
        ("unknown", &["gpu-3"][..]),
        ("longer", &["gpu-1.farm", "agpu-1", "*.gpu-1"]),
        ("gpu-1", &[]),
        ("both", &["gpu-1", "gpu-2"]),
    ] {
        let client = lab.client(&lab.ours.sign(file, names), None);
        assert_eq!(code(client.status().await), "BRK-023", "{names:?}");
    }
    let signed = lab.ours.sign("right", &["gpu-1"]);
    let agent = lab.client(&signed, None);
    agent.status().await.unwrap();
    operator.revoke_token(&label("gpu-1")).await.unwrap();
    assert_eq!(code(agent.status().await), "BRK-023");
    // The name is free again, for a token with another label.
    operator.add_token(&named("gpu-1-again", Role::Agent, "gpu-1")).await.unwrap();
    agent.status().await.unwrap();
    let opened = agent.open_session(&session("x", &Installation::random(), None)).await.unwrap();
    assert_eq!(opened.agent.as_str(), "gpu-1-again");
    lab.broker.stop().await;
}

/// Goal: no two tokens have one name, an operator always has a secret, and a token without one has none to rotate.
#[tokio::test]
async fn a_token_of_a_certificate_has_one_name_and_no_secret() {
    let lab = Lab::new().await;
    let operator = lab.operator();
    operator.add_token(&named("gpu", Role::Agent, "gpu-1")).await.unwrap();
    for (new, expected) in [
        (named("other", Role::Producer, "GPU-1"), "BRK-051"),
        (named("gpu", Role::Agent, "gpu-2"), "BRK-049"),
        (named("gpu", Role::Agent, "gpu-1"), "BRK-049"),
        (named("boss", Role::Operator, "boss"), "BRK-010"),
        (named("blank", Role::Agent, ""), "BRK-010"),
        (named("words", Role::Agent, "gpu 1"), "BRK-010"),
        (named("long", Role::Agent, &"x".repeat(254)), "BRK-010"),
    ] {
        assert_eq!(code(operator.add_token(&new).await), expected, "{new:?}");
    }
    let rotated = operator.rotate_token(&label("gpu"), &Rotation::default()).await;
    assert_eq!(code(rotated), "BRK-052");
    let agent = lab.client(&lab.ours.sign("agent", &["gpu-1"]), None);
    agent.status().await.unwrap();
    lab.broker.stop().await;
}

/// Fault: during a rolling upgrade a replica of a release before certificates revokes the token of one. Goal: its name is
/// free. Method: the statement of that release.
#[tokio::test]
async fn a_name_is_free_although_an_older_release_revoked_its_token() {
    let lab = Lab::new().await;
    let operator = lab.operator();
    let agent = lab.client(&lab.ours.sign("agent", &["gpu-1"]), None);
    operator.add_token(&named("gpu", Role::Agent, "gpu-1")).await.unwrap();
    agent.status().await.unwrap();
    // One that is valid keeps its name, whoever asks.
    let taken = named("again", Role::Agent, "gpu-1");
    assert_eq!(code(operator.add_token(&taken).await), "BRK-051");
    let revoke = "UPDATE token SET revoked_at = now(), previous_hash = NULL, previous_until = NULL
                  WHERE label = 'gpu'";
    sqlx::raw_sql(revoke).execute(lab.store.pool()).await.unwrap();
    operator.add_token(&taken).await.unwrap();
    let opened = agent.open_session(&session("x", &Installation::random(), None)).await.unwrap();
    assert_eq!(opened.agent.as_str(), "again");
    lab.broker.stop().await;
}

/// Fault: during a rolling upgrade a replica of a release before certificates gives the token of one a secret. Goal: the
/// secret alone opens it, and the name is free. Method: the statement of that release.
#[tokio::test]
async fn a_token_that_an_older_release_gave_a_secret_has_no_certificate() {
    let lab = Lab::new().await;
    let operator = lab.operator();
    operator.add_token(&named("gpu", Role::Agent, "gpu-1")).await.unwrap();
    sqlx::query(
        "UPDATE token SET previous_hash = hash, hash = sha256('rm_new'), previous_until = now() + interval '1 hour'
         WHERE label = 'gpu'",
    )
    .execute(lab.store.pool())
    .await
    .unwrap();
    // The replica reads the tokens again when one changes.
    operator.add_token(&NewToken::new("other", Role::Reader)).await.unwrap();
    let signed = lab.ours.sign("agent", &["gpu-1"]);
    assert_eq!(code(lab.client(&signed, None).status().await), "BRK-023");
    lab.client(&signed, Some("rm_new")).status().await.unwrap();
    let view = |tokens: Vec<TokenView>| tokens.into_iter().find(|token| token.label == "gpu");
    let shown = view(operator.tokens().await.unwrap()).unwrap();
    assert_eq!((shown.certificate, shown.previous_until_unix_ms), (None, None));
    // The certificate stands for another token now.
    operator.add_token(&named("again", Role::Agent, "gpu-1")).await.unwrap();
    let agent = lab.client(&signed, None);
    let opened = agent.open_session(&session("x", &Installation::random(), None)).await.unwrap();
    assert_eq!(opened.agent.as_str(), "again");
    // And the first one is rotated as any other.
    let how = Rotation { overlap_seconds: 3600, ..Rotation::default() };
    let rotated = operator.rotate_token(&label("gpu"), &how).await.unwrap();
    for secret in ["rm_new", rotated.token.as_str()] {
        lab.client(&signed, Some(secret)).status().await.unwrap();
    }
    let shown = view(operator.tokens().await.unwrap()).unwrap();
    assert!(shown.certificate.is_none() && shown.previous_until_unix_ms.is_some(), "{shown:?}");
    lab.broker.stop().await;
}

/// Fault: the operator of a tenant takes the name of another tenant's producer, to be sent its inputs.
#[tokio::test]
async fn an_operator_of_a_tenant_adds_no_token_of_a_certificate() {
    let lab = Lab::new().await;
    let operator = lab.operator();
    let of_eleven = |new: NewToken| NewToken { tenant: Some("eleven".into()), ..new };
    let added = operator.add_token(&of_eleven(often("boss", Role::Operator))).await.unwrap();
    let boss = lab.client(&lab.ours.sign("boss", &["laptop-11"]), Some(&added.token));
    let taken = named("own", Role::Producer, "producer-12");
    for new in [taken.clone(), of_eleven(taken.clone())] {
        assert_eq!(code(boss.add_token(&new).await), "BRK-010", "{new:?}");
    }
    let producer = lab.client(&lab.ours.sign("producer", &["producer-12"]), None);
    assert_eq!(code(producer.status().await), "BRK-023");
    // Without a certificate it may, and who runs the cluster may for it.
    boss.add_token(&NewToken { certificate: None, ..taken.clone() }).await.unwrap();
    let given = NewToken { label: "given".into(), ..of_eleven(taken) };
    operator.add_token(&given).await.unwrap();
    producer.status().await.unwrap();
    lab.broker.stop().await;
}
