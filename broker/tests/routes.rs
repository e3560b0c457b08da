//! What a rejection looks like. Who may call which route is in `access.rs`.

use rollmill_broker::Config;
use rollmill_broker_client::{Digest, ErrorBody};
use rollmill_broker_testing::TestSchema;

/// Goal: the author of a client learns from the message which value is wrong and what it may be.
#[tokio::test]
async fn a_rejection_says_which_value_is_wrong_and_what_it_may_be() {
    let config = Config { artifact_bytes_max: 1000, ..Config::default() };
    let broker = TestSchema::new().await.broker_with(config).await;
    let url = rollmill_broker::url_of(broker.address);
    let http = rollmill_service::untimed_http_client();
    let digest = Digest::of(b"x");
    let claim = |fields: &str| format!(r#"{{"agent":"a","wait_ms":0,{fields}}}"#);
    let job =
        |fields: &str| format!(r#"{{"jobs":[{{"id":"1:leaf:{digest}","version":"1",{fields}}}]}}"#);
    let fail = format!(
        r#"{{"agent":"a","lease":{{"job":"1:leaf:{digest}","lease_epoch":1}},"class":"agent_died","message":""}}"#
    );
    let capability = r#"{"kind":"leaf","version":"1"}"#;
    let many = vec![capability; 257].join(",");
    let (list, object) = ("[]".to_owned(), "an object");
    for (status, path, body, message) in [
        (400, "claim", claim(r#""class":9,"capabilities":[]"#), "class is 9; it is 0 to 3"),
        (
            413,
            "claim",
            claim(&format!(r#""class":0,"capabilities":[{many}]"#)),
            "the number of `capabilities` exceeds the limit of 256",
        ),
        (
            400,
            "claim",
            claim(r#""class":0,"capabilities":["leaf"]"#),
            "\"leaf\", expected an object",
        ),
        // A struct could be read from an array as well.
        (400, "claim", claim(r#""class":0,"capabilities":[["leaf","1"]]"#), object),
        (400, "epochs/7/changes", list, object),
        (400, "jobs", job(r#""class":9"#), "class is 9; it is 0 to 3"),
        (400, "jobs", job(r#""hard_limit_seconds":0"#), "is 0; it is 1 to 2147483647"),
        (400, "jobs", job(r#""deadline_unix_seconds":1099511627777"#), "it is 0 to 1099511627776"),
        (
            400,
            "jobs",
            job(&format!(r#""labels":{{"a":"{}"}}"#, "x".repeat(201))),
            "labels has 0 to 200 characters without control characters",
        ),
        (400, "jobs", job(r#""labels":{"a\u0000":"b"}"#), "without control characters"),
        (
            400,
            "epochs/7/close",
            r#"{"outcome":"silent"}"#.into(),
            "only the broker sets the outcome",
        ),
        (400, "epochs/7/close", r#"{"outcome":"final","label":"a=\u0000"}"#.into(), "NAME=VALUE"),
        (400, "fail", fail, "only the broker sets the failure class `agent_died`"),
    ] {
        let request =
            http.post(format!("{url}/v1/{path}")).header("content-type", "application/json");
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path} {body}");
        let answer: ErrorBody = answer.json().await.unwrap();
        assert!(answer.message.contains(message), "{path} {body}: {}", answer.message);
    }
    let large = broker.client().put_artifact(1, vec![0; 1001]).await.unwrap_err().to_string();
    let limit = "in bytes (setting `artifact_bytes_max`) exceeds the limit of 1000";
    assert!(large.contains(limit), "{large}");
    broker.stop().await;
}

/// Goal: one code in each answer, 404 for what is no path and 405 for what is no method, counted by code.
/// Method: malformed values in every place, a body that is too long with and without its length.
#[tokio::test]
async fn each_rejection_has_one_code_and_is_counted_by_it() {
    let config = Config { artifact_bytes_max: 1000, ..Config::default() };
    let broker = TestSchema::new().await.broker_with(config).await;
    let url = rollmill_broker::url_of(broker.address);
    let http = rollmill_service::untimed_http_client();
    let digest = Digest::of(b"x");
    let requests = [
        (404, "BRK-032", http.get(format!("{url}/v1/nothing"))),
        (404, "BRK-032", http.post(format!("{url}/v1/dead-letters/burn"))),
        (404, "BRK-032", http.get(format!("{url}/page.html"))),
        (405, "BRK-033", http.post(format!("{url}/"))),
        (405, "BRK-033", http.delete(format!("{url}/v1/jobs"))),
        (405, "BRK-033", http.get(format!("{url}/v1/claim"))),
        (400, "BRK-010", http.get(format!("{url}/v1/artifacts/zz"))),
        (400, "BRK-010", http.put(format!("{url}/v1/artifacts/{digest}")).body("x")),
        (400, "BRK-010", http.put(format!("{url}/v1/artifacts/{digest}?epoch=-1")).body("x")),
        (400, "BRK-010", http.get(format!("{url}/v1/jobs?state=lost"))),
        // A text that PostgreSQL cannot take was answered 503.
        (400, "BRK-010", http.get(format!("{url}/v1/jobs?label=a%3D%00"))),
        // An upload of nothing looked at no epoch.
        (400, "BRK-010", http.post(format!("{url}/v1/artifacts?epoch=9223372036854775808"))),
        (
            400,
            "BRK-010",
            http.post(format!("{url}/v1/jobs/query"))
                .header("content-type", "application/xml")
                .body(r#"{"ids":[]}"#),
        ),
        (400, "BRK-010", http.get(format!("{url}/v1/jobs/7:leaf:00/history"))),
        (400, "BRK-010", http.post(format!("{url}/v1/agents/a%20b/pardon"))),
        (400, "BRK-010", http.delete(format!("{url}/v1/epochs/9223372036854775808"))),
        (
            400,
            "BRK-010",
            http.post(format!("{url}/v1/jobs/query"))
                .header("content-type", "application/json")
                .body(r#"{"ids":["7:leaf:0"]}"#),
        ),
        (
            413,
            "BRK-017",
            http.put(format!("{url}/v1/artifacts/{digest}?epoch=1")).body(vec![0; 1001]),
        ),
    ];
    let mut counted = std::collections::BTreeMap::new();
    for (status, code, request) in requests {
        let request = request.build().unwrap();
        let shown = format!("{} {}", request.method(), request.url());
        let answer = http.execute(request).await.unwrap();
        assert_eq!(answer.status(), status, "{shown}");
        let answer: ErrorBody = answer.json().await.unwrap();
        assert_eq!(answer.code, code, "{shown}: {}", answer.message);
        assert!(!answer.message.contains("BR"), "a second code: {}", answer.message);
        assert!(!answer.message.contains("deserialize"), "a library's words: {}", answer.message);
        *counted.entry(code).or_insert(0) += 1;
    }
    let put = format!("/v1/artifacts/{digest}?epoch=1");
    for (method, path) in [("PUT", put.as_str()), ("POST", "/v1/jobs/query")] {
        let answer = send_chunked(broker.address, method, path).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
        assert!(answer.contains("\"BRK-017\""), "{path}: {answer}");
        *counted.entry("BRK-017").or_insert(0) += 1;
    }
    let families = broker.metrics.gather();
    let family = families.iter().find(|f| f.name() == "rollmill_broker_refusals_total").unwrap();
    for metric in family.get_metric() {
        let code = metric.get_label()[0].value();
        let wanted = counted.get(code).copied().unwrap_or(0);
        assert_eq!(metric.get_counter().get_value().round() as u64, wanted, "{code}");
    }
}

/// Sends a body without a length, 5 MiB in chunks, and returns the answer as text.
async fn send_chunked(address: std::net::SocketAddr, method: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let sender = tokio::spawn(async move {
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        write.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..80 {
            // The broker answers and closes before all of it is sent.
            if write.write_all(&chunk).await.is_err() {
                break;
            }
        }
        write
    });
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.ends_with('}') {
        let count = read.read(&mut bytes).await.unwrap();
        assert_ne!(count, 0, "the answer broke off: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    drop(read);
    drop(sender.await);
    text
}
