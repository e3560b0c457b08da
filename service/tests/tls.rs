//! TLS of servers and clients, with certificates that each test makes.
//!
//! Time runs through the server's own limits; a test waits for what the server or the client does, never
//! for a clock.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use prometheus::Registry;
use rollmill_net_testing::{Authority, Signed};
use rollmill_service::{
    Error, HttpLimits, HttpServer, Protection, ServerTls, Shutdown, Tls, TlsFiles, listen,
    prometheus,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longer than any test takes: a limit that must not be what ends it.
const NEVER: Duration = Duration::from_secs(3600);
/// The name in the certificates of servers, which every system resolves to itself.
const NAME: &str = "localhost";

/// Settings that name one file.
const BOTH: &str = "listen_tls_cert and test.listen_tls_key";

fn patient() -> HttpLimits {
    HttpLimits { handshake: NEVER, idle: NEVER, head: NEVER, body: NEVER, ..HttpLimits::default() }
}

fn protection(signed: &Signed, client_ca: Option<PathBuf>) -> Protection {
    let (cert, key) = (Some(signed.cert.clone()), Some(signed.key.clone()));
    Protection { table: "test.", cert, key, client_ca, hosts: Vec::new() }
}

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    registry: Registry,
    tls: Option<Arc<ServerTls>>,
    task: JoinHandle<Result<(), Error>>,
}

impl Server {
    async fn start(limits: HttpLimits, protection: &Protection) -> Self {
        let registry = Registry::new();
        let server =
            HttpServer::open("test", "127.0.0.1:0", limits, protection, &registry).unwrap();
        let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/echo", post(|body: String| async { body }));
        let tls = server.tls();
        let task = tokio::spawn(server.serve(listener, router, shutdown.clone()));
        Self { address, shutdown, registry, tls, task }
    }

    fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}/", self.address.port())
    }

    fn expiry(&self) -> f64 {
        let families = self.registry.gather();
        let name = "rollmill_tls_certificate_expiry_timestamp_seconds";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_gauge().get_value()
    }

    /// Waits for the end of every connection, and returns how many the server closed for this reason.
    async fn stop_and_count(self, reason: &str) -> u64 {
        let registry = self.registry.clone();
        self.stop().await;
        closed(&registry, reason)
    }

    async fn stop(self) {
        self.shutdown.start();
        self.task.await.unwrap().unwrap();
    }
}

/// Connections that a server closed for this reason.
fn closed(registry: &Registry, reason: &str) -> u64 {
    let families = registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "rollmill_http_connections_closed_total")
        .unwrap();
    let is_of = |metric: &&prometheus::proto::Metric| {
        metric.get_label().iter().any(|label| label.value() == reason)
    };
    family.get_metric().iter().find(is_of).unwrap().get_counter().get_value() as u64
}

fn client(ca: Option<&Authority>, identity: Option<&Signed>) -> Tls {
    let identity = identity.map(|signed| (signed.cert.clone(), signed.key.clone()));
    Tls::open(TlsFiles { ca: ca.map(Authority::file), identity }).unwrap()
}

/// The answer, or why there is none, as the clients of this workspace word it.
async fn ask(tls: &Tls, url: &str) -> Result<String, String> {
    // A client of its own has a connection of its own.
    let http = tls.http_client().timeout(NEVER).build().unwrap();
    let words = |error: reqwest::Error| {
        rollmill_net::connection_failure(&error)
            .unwrap_or_else(|| format!("no words for {error:?}"))
    };
    let answer = http.get(url).send().await.map_err(words)?;
    let status = answer.status();
    let body = answer.text().await.map_err(words)?;
    match status.is_success() {
        true => Ok(body),
        false => Err(format!("{status} {body}")),
    }
}

/// Reads until the peer closes the connection, however it does.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut part).await {
        all.extend_from_slice(&part[..read]);
    }
    all
}

#[tokio::test]
async fn a_server_is_accepted_only_with_a_valid_certificate_of_a_trusted_authority_for_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let good = Server::start(patient(), &protection(&ours.sign("good", &[NAME]), None)).await;
    let trusting = client(Some(&ours), None);
    assert_eq!(ask(&trusting, &good.url("https", NAME)).await.as_deref(), Ok("here"));

    let unknown = ask(&client(Some(&other), None), &good.url("https", NAME)).await.unwrap_err();
    assert!(unknown.contains("an authority that is not trusted here; set --tls-ca"), "{unknown}");
    let wrong_name = ask(&trusting, &good.url("https", "127.0.0.1")).await.unwrap_err();
    assert!(
        wrong_name.contains("its certificate is for localhost and not for 127.0.0.1"),
        "{wrong_name}"
    );
    good.stop().await;

    let past = ours.sign_for("past", &[NAME], (2020, 2021));
    let future = ours.sign_for("future", &[NAME], (2999, 3000));
    for (signed, expected) in [(past, "has expired; renew it"), (future, "not valid yet")] {
        let server = Server::start(patient(), &protection(&signed, None)).await;
        let error = ask(&trusting, &server.url("https", NAME)).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        server.stop().await;
    }
}

/// IP addresses can be names in a certificate, and the chain may have an authority in between.
#[tokio::test]
async fn a_certificate_for_an_address_and_one_of_an_authority_in_between_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let root = Authority::new(dir.path(), "root");
    let middle = root.below("middle");
    let signed = middle.sign("leaf", &["127.0.0.1"]);
    let leaf = std::fs::read_to_string(&signed.cert).unwrap();
    let trusting = client(Some(&root), None);

    let alone = Server::start(patient(), &protection(&signed, None)).await;
    let error = ask(&trusting, &alone.url("https", "127.0.0.1")).await.unwrap_err();
    assert!(error.contains("not trusted"), "{error}");
    alone.stop().await;

    std::fs::write(&signed.cert, leaf + &std::fs::read_to_string(middle.file()).unwrap()).unwrap();
    let chain = Server::start(patient(), &protection(&signed, None)).await;
    assert_eq!(ask(&trusting, &chain.url("https", "127.0.0.1")).await.as_deref(), Ok("here"));
    chain.stop().await;
}

#[tokio::test]
async fn with_an_authority_of_clients_only_its_clients_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let protection = protection(&ours.sign("server", &[NAME]), Some(ours.file()));
    let server = Server::start(patient(), &protection).await;
    let url = server.url("https", NAME);

    let right = ours.sign("right", &["agent-1"]);
    assert_eq!(ask(&client(Some(&ours), Some(&right)), &url).await.as_deref(), Ok("here"));

    let none = ask(&client(Some(&ours), None), &url).await.unwrap_err();
    assert!(none.contains("requires a client certificate; set --tls-cert"), "{none}");
    let foreign = other.sign("foreign", &["agent-1"]);
    let wrong = ask(&client(Some(&ours), Some(&foreign)), &url).await.unwrap_err();
    assert!(wrong.contains("the server rejects this client's certificate"), "{wrong}");
    let past = ours.sign_for("past", &["agent-1"], (2020, 2021));
    let expired = ask(&client(Some(&ours), Some(&past)), &url).await.unwrap_err();
    assert!(expired.contains("this client's certificate: it has expired"), "{expired}");
    assert_eq!(server.stop_and_count("tls").await, 3);
}

#[tokio::test]
async fn plain_http_to_tls_and_tls_to_plain_http_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let tls = Server::start(patient(), &protection(&ours.sign("server", &[NAME]), None)).await;
    let error = ask(&client(None, None), &tls.url("http", NAME)).await.unwrap_err();
    assert!(error.starts_with("400 Bad Request"), "{error}");
    assert!(
        error.contains("\"SVC-015\",\"message\":\"this address serves TLS; use https://"),
        "{error}"
    );
    assert_eq!(tls.stop_and_count("tls").await, 1);

    let plain = Server::start(patient(), &Protection::default()).await;
    let error = ask(&client(Some(&ours), None), &plain.url("https", NAME)).await.unwrap_err();
    assert!(error.contains("does not speak TLS; use http://"), "{error}");
    plain.stop().await;
}

/// A client that is silent before or in its handshake, or sends it byte by byte, is closed at the deadline,
/// and one that sends something else than a handshake at once.
#[tokio::test]
async fn a_handshake_has_a_deadline_whatever_the_peer_does() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let protection = protection(&ours.sign("server", &[NAME]), None);
    let limits = HttpLimits { handshake: Duration::from_millis(50), ..patient() };
    let server = Server::start(limits, &protection).await;
    // A record of type handshake that announces 512 bytes and has 4.
    let partial = [22, 3, 1, 2, 0, 1, 0, 1, 252];
    for sent in [&[][..], &partial[..1], &partial[..]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        assert!(until_closed(&mut stream).await.is_empty());
    }
    // Each byte is progress, and the deadline stays.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let trickle = async {
        for byte in partial.iter().chain(std::iter::repeat(&0)) {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut nothing = [0];
    let closed = async { while matches!(reader.read(&mut nothing).await, Ok(1..)) {} };
    tokio::select! { () = trickle => {}, () = closed => {} }
    drop(stream);
    assert!(server.stop_and_count("handshake").await >= 3);
}

/// At the limit of connections one that is silent in its handshake makes place for another.
#[tokio::test]
async fn silent_handshakes_do_not_lock_out_others() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let protection = protection(&ours.sign("server", &[NAME]), None);
    let limits = HttpLimits { connections: 2, connections_per_peer: 2, ..patient() };
    let server = Server::start(limits, &protection).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let trusting = client(Some(&ours), None);
    assert_eq!(ask(&trusting, &server.url("https", NAME)).await.as_deref(), Ok("here"));
    drop(silent);
    assert!(server.stop_and_count("evicted").await >= 1);
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(dir.path(), "old"), Authority::new(dir.path(), "new"));
    let files = old.sign_for("server", &[NAME], (2020, 2100));
    let server = Server::start(patient(), &protection(&files, None)).await;
    let (url, tls) = (server.url("https", NAME), server.tls.clone().unwrap());
    let [trusts_old, trusts_new] = [&old, &new].map(|ca| client(Some(ca), None));
    // 1 January 2100 and 2101, 00:00 UTC.
    assert_eq!(server.expiry(), 4_102_444_800.0);
    assert_eq!(ask(&trusts_old, &url).await.as_deref(), Ok("here"));
    // A connection that is open stays so.
    let kept = trusts_old.http_client().timeout(NEVER).build().unwrap();
    kept.get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(!tls.reload().unwrap(), "nothing changed");

    new.sign_for("server", &[NAME], (2020, 2101));
    assert!(tls.reload().unwrap());
    assert_eq!(server.expiry(), 4_133_980_800.0);
    assert_eq!(ask(&trusts_new, &url).await.as_deref(), Ok("here"));
    let error = ask(&trusts_old, &url).await.unwrap_err();
    assert!(error.contains("not trusted"), "{error}");
    kept.get(&url).send().await.unwrap().bytes().await.unwrap();

    // Half of a renewal: the certificate is there and its key is not yet.
    let key = std::fs::read(&files.key).unwrap();
    new.sign_for("server", &[NAME], (2020, 2102));
    let renewed = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, key).unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("is not the key of the certificate in"), "{error}");
    assert_eq!(ask(&trusts_new, &url).await.as_deref(), Ok("here"));
    std::fs::write(&files.key, renewed).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(ask(&trusts_new, &url).await.as_deref(), Ok("here"));

    // A client reads its files again, too.
    std::fs::copy(new.file(), old.file()).unwrap();
    assert!(trusts_old.reload().unwrap());
    assert_eq!(ask(&trusts_old, &url).await.as_deref(), Ok("here"));
    std::fs::write(old.file(), "nonsense").unwrap();
    assert!(trusts_old.reload().is_err());
    assert_eq!(ask(&trusts_old, &url).await.as_deref(), Ok("here"));
    drop(kept);
    server.stop().await;
}

/// The signal that asks daemons to read their files again. The server has its handler before it answers.
#[tokio::test]
async fn a_hangup_makes_a_server_read_its_certificate_again() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Authority::new(dir.path(), name));
    let files = old.sign("server", &[NAME]);
    let server = Server::start(patient(), &protection(&files, None)).await;
    let url = server.url("https", NAME);
    assert_eq!(ask(&client(Some(&old), None), &url).await.as_deref(), Ok("here"));
    new.sign("server", &[NAME]);
    let kill =
        std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
    assert!(kill.unwrap().success());
    let trusts_new = client(Some(&new), None);
    while ask(&trusts_new, &url).await.is_err() {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let (one, two) = (ours.sign("one", &[NAME]), ours.sign("two", &[NAME]));
    let open = |protection: Protection| {
        let limits = HttpLimits::default();
        HttpServer::open("test", "127.0.0.1:0", limits, &protection, &Registry::new())
            .map(drop)
            .unwrap_err()
            .to_string()
    };

    let with = |cert: &Path, key: &Path| {
        open(protection(&Signed { cert: cert.to_owned(), key: key.to_owned() }, None))
    };
    let (empty, encrypted) = (dir.path().join("empty"), dir.path().join("encrypted"));
    std::fs::write(&empty, "").unwrap();
    let pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(&encrypted, pem).unwrap();
    for (error, setting, what) in [
        (with(&dir.path().join("none"), &one.key), "listen_tls_cert", "does not exist"),
        (with(dir.path(), &one.key), "listen_tls_cert", "cannot be read"),
        (with(&one.cert, &dir.path().join("none")), "listen_tls_key", "does not exist"),
        (with(&one.cert, &two.key), "listen_tls_key", "is not the key of the certificate in"),
        (with(&one.cert, &one.cert), BOTH, "has no private key"),
        (with(&one.cert, &encrypted), "listen_tls_key", "is encrypted; write the key without"),
        (with(&one.key, &one.key), BOTH, "has no line `-----BEGIN CERTIFICATE-----`"),
        (open(protection(&one, Some(empty))), "listen_client_ca", "has no line"),
    ] {
        let start = format!("SVC-011: cannot use the file of test.{setting}: ");
        assert!(error.starts_with(&start) && error.contains(what), "{error}");
    }
    let private = std::fs::read_to_string(&one.key).unwrap();
    let line = private.lines().nth(1).unwrap();
    let files = TlsFiles { ca: Some(one.key.clone()), identity: None };
    let error = Tls::open(files).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(line), "{error:?}");
}

/// What a page in a browser could send is rejected, and says so with a code.
#[tokio::test]
async fn requests_that_a_page_could_send_are_rejected() {
    let server = Server::start(patient(), &Protection::default()).await;
    let ask = async |head: &str, body: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let length = body.len();
        let request =
            format!("{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        String::from_utf8(until_closed(&mut stream).await).unwrap()
    };
    let own = format!("http://{}", server.address);
    let post = "POST /echo HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/json";
    let taken = ask(post, "body").await;
    assert!(taken.starts_with("HTTP/1.1 200 ") && taken.ends_with("\r\n\r\nbody"), "{taken}");
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nhost: localhost:1".to_owned(), "200"),
        (format!("GET / HTTP/1.1\r\nhost: {}\r\norigin: {own}", server.address), "200"),
        ("GET / HTTP/1.1\r\nhost: evil.example".to_owned(), "403 Forbidden SVC-012"),
        (format!("{post}\r\norigin: https://evil.example"), "403 Forbidden SVC-013"),
        (format!("{post}\r\norigin: null"), "403 Forbidden SVC-013"),
        (
            "POST /echo HTTP/1.1\r\nhost: a.b\r\ncontent-type: text/plain".to_owned(),
            "403 Forbidden SVC-012",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/plain".to_owned(),
            "415 Unsupported Media Type SVC-014",
        ),
        ("POST /echo HTTP/1.1\r\nhost: 127.0.0.1".to_owned(), "415 Unsupported Media Type SVC-014"),
    ] {
        let body = if head.starts_with("POST") { "x" } else { "" };
        let answer = ask(&head, body).await;
        let (status, code) = expected.split_once(" SVC").unwrap_or((expected, ""));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
        let code = if code.is_empty() { String::new() } else { format!("\"code\":\"SVC{code}\"") };
        assert!(answer.contains(&code), "{head}: {answer}");
    }
    server.stop().await;
}

/// Runs the commands of `docs/book/tls.md` and connects with what they made.
#[tokio::test]
async fn the_commands_of_the_book_make_files_that_servers_and_clients_take() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book/tls.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Commands of the broker with these files have tests of their own.
    let of_openssl = blocks.filter(|block| !block.contains("rollmill-broker"));
    let script = format!("set -eu\n{}", of_openssl.collect::<Vec<_>>().concat());
    assert!(script.contains("openssl req"), "{script}");
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir.path())
        .output()
        .expect("this test needs sh and openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let file = |name: &str| dir.path().join(name);
    let signed = Signed { cert: file("broker.pem"), key: file("broker.key") };
    let server = Server::start(patient(), &protection(&signed, Some(file("ca.pem")))).await;
    let open = |identity| Tls::open(TlsFiles { ca: Some(file("ca.pem")), identity }).unwrap();
    let url = server.url("https", "127.0.0.1");
    let agent = open(Some((file("agent.pem"), file("agent.key"))));
    assert_eq!(ask(&agent, &url).await.as_deref(), Ok("here"));
    let error = ask(&open(None), &url).await.unwrap_err();
    assert!(error.contains("requires a client certificate"), "{error}");
    server.stop().await;
}
