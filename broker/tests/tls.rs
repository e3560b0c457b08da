//! The client and the broker over TLS, and what keeps pages in browsers out.

use std::path::PathBuf;
use std::time::Duration;

use rollmill_broker::{Config, ListenerConfig};
use rollmill_broker_client::{Answer, Client, ClientError, Options};
use rollmill_broker_testing::TestSchema;
use rollmill_net_testing::{Authority, Signed};
use rollmill_service::{Tls, TlsFiles};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

const OPTIONS: Options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(20) };

fn tls(ca: &Authority, identity: Option<&Signed>) -> Tls {
    let identity = identity.map(|signed| (signed.cert.clone(), signed.key.clone()));
    Tls::open(TlsFiles { ca: Some(ca.file()), identity }).unwrap()
}

/// Goal: artifacts of several records of TLS pass both ways, a client without the right certificate gets
/// nothing, and each failure says what to do and counts as passing: a certificate can be renewed.
#[tokio::test]
async fn client_and_broker_speak_tls_with_certificates_of_both() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let server = ours.sign("broker", &["localhost"]);
    let listener = ListenerConfig {
        listen_tls_cert: Some(server.cert.clone()),
        listen_tls_key: Some(server.key.clone()),
        listen_client_ca: Some(ours.file()),
        ..ListenerConfig::default()
    };
    let schema = TestSchema::new().await;
    let broker = schema.broker_with(Config { listener, ..Config::default() }).await;
    let url = format!("https://localhost:{}", broker.address.port());
    let client = |tls: &Tls| Client::with_tls(&url, None, OPTIONS, tls).unwrap();

    let agent = ours.sign("agent", &["agent-1"]);
    let right = client(&tls(&ours, Some(&agent)));
    let body = vec![7; 3 << 20];
    let digest = right.put_artifact(1, body.clone()).await.unwrap();
    assert_eq!(right.get_artifact(&digest).await.unwrap(), body);

    let foreign = other.sign("foreign", &["agent-1"]);
    for (tls, reason) in [
        (tls(&ours, None), "requires a client certificate; set --tls-cert and --tls-key"),
        (tls(&ours, Some(&foreign)), "the server rejects this client's certificate"),
        (tls(&other, Some(&agent)), "not trusted here; set --tls-ca"),
    ] {
        let error = client(&tls).status().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        assert_eq!(error.answer(), Answer::Transient);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let plain = url.replace("https://", "http://");
    let error = Client::new(&plain, None, OPTIONS).unwrap().status().await.unwrap_err();
    assert_eq!(error.answer(), Answer::Incompatible);
    assert!(error.to_string().starts_with("SVC-015: this address serves TLS"), "{error}");
    broker.stop().await;
}

/// Goal: the client reports the rule that rejects its host, with the setting that allows it.
#[tokio::test]
async fn a_host_that_is_no_name_of_the_broker_is_rejected_until_the_settings_have_it() {
    let schema = TestSchema::new().await;
    for (hosts, is_taken) in [(vec![], false), (vec!["broker.example".to_owned()], true)] {
        let listener = ListenerConfig { listen_hosts: hosts, ..ListenerConfig::default() };
        let broker = schema.broker_with(Config { listener, ..Config::default() }).await;
        let url = format!("http://{}/v1/status", broker.address);
        let http = rollmill_service::untimed_http_client();
        let answer = http.get(url).header("host", "broker.example:8551").send().await.unwrap();
        assert_eq!(answer.status() == 200, is_taken, "{}", answer.status());
        if !is_taken {
            let body: rollmill_broker_client::ErrorBody = answer.json().await.unwrap();
            assert_eq!(body.code, "SVC-012");
            assert!(body.message.contains("add the name to the server's setting listen_hosts"));
        }
        broker.stop().await;
    }
}

/// Serves the PostgreSQL behind `socket` over TLS, as it does itself with `ssl = on`: the client asks for TLS with 8
/// bytes, and `S` agrees (PostgreSQL's documentation, "Message Flow", "SSL Session Encryption"). Returns the port.
async fn postgres_with_tls(signed: &Signed, socket: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = signed.acceptor();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let mut asked = [0; 8];
                stream.read_exact(&mut asked).await.unwrap();
                assert_eq!(asked, [0, 0, 0, 8, 4, 210, 22, 47], "the client asks for TLS");
                stream.write_all(b"S").await.unwrap();
                // A client that rejects the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = UnixStream::connect(socket).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    port
}

/// Goal: a database's URL can ask for TLS, with an authority of its own, and the certificate is checked.
#[tokio::test]
async fn the_database_is_reached_over_tls_if_its_certificate_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let schema = TestSchema::new().await;
    let direct = schema.connect_options();
    let socket = direct.get_socket().unwrap().join(format!(".s.PGSQL.{}", direct.get_port()));
    let port = postgres_with_tls(&ours.sign("postgres", &["localhost"]), socket).await;
    let (user, database) = (direct.get_username(), direct.get_database().unwrap_or("postgres"));
    let connect = async |ca: &Authority, host: &str| {
        let url = format!(
            "postgres://{user}@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={}",
            ca.file().display()
        );
        let options: PgConnectOptions = url.parse().unwrap();
        let mut connection = PgConnection::connect_with(&options).await?;
        sqlx::query_scalar::<_, i32>("SELECT 7").fetch_one(&mut connection).await
    };
    assert_eq!(connect(&ours, "localhost").await.unwrap(), 7);
    for (ca, host) in [(&other, "localhost"), (&ours, "127.0.0.1")] {
        let error = connect(ca, host).await.unwrap_err();
        assert!(matches!(error, sqlx::Error::Tls(_) | sqlx::Error::Io(_)), "{error:?}");
    }
}
