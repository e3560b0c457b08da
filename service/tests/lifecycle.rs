//! What the frame guarantees about a running process: graceful shutdown, and reported readiness.

use std::time::Duration;

use rollmill_service::{Error, Process, Shutdown};

#[tokio::test]
async fn shutdown_moves_forward_only_and_reaches_every_clone() {
    let shutdown = Shutdown::new();
    let clone = shutdown.clone();
    let waiter = tokio::spawn(async move { clone.started().await });
    shutdown.start();
    waiter.await.unwrap();
    shutdown.abort();
    shutdown.start();
    shutdown.aborted().await;
    assert!(shutdown.is_started());
}

#[tokio::test]
async fn a_taken_port_says_what_to_change() {
    let first = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = rollmill_service::listen(&address, "--listen").await.unwrap_err();
    assert!(matches!(error, Error::PortTaken { .. }));
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn a_server_ends_when_shutdown_is_pulled() {
    let process = Process::new("test-unit", ());
    let listener = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
    let server = tokio::spawn(rollmill_service::serve(
        listener,
        axum::Router::new(),
        process.shutdown.clone(),
    ));
    process.shutdown.start();
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}

#[test]
fn status_shows_the_facts_given() {
    let process = Process::new("test-unit", ());
    process.status_page.show("jobs", || serde_json::json!(3));
    process.ready();
    let status = process.status_page.status();
    assert_eq!(status["phase"], "ready");
    assert_eq!(status["jobs"], 3);
}

#[test]
fn readiness_is_the_conjunction_of_named_conditions() {
    let process = Process::new("test-unit", ());
    process.conditions.expect(&["broker", "l1"]);
    assert_eq!(process.status_page.not_ready().len(), 3, "starting, and two not checked");
    process.ready();
    process.conditions.set("broker", Ok(()));
    process.conditions.set("l1", Err("no answer".into()));
    assert_eq!(process.status_page.not_ready(), [("l1", "no answer".to_owned())]);
    let status = process.status_page.status();
    assert_eq!(status["ready"], false);
    assert_eq!(status["conditions"]["l1"]["reason"], "no answer");
    assert!(status["conditions"]["broker"]["since_unix_seconds"].as_u64().unwrap() > 0);
    let text = scrape(&process);
    assert!(text.contains("rollmill_condition{name=\"broker\"} 1"), "{text}");
    assert!(text.contains("rollmill_condition{name=\"l1\"} 0"), "{text}");
    assert!(text.contains("rollmill_last_success_timestamp_seconds{what=\"broker\"}"), "{text}");
    assert!(!text.contains("what=\"l1\""), "never succeeded: {text}");
    assert!(text.contains("rollmill_build_info{program=\"test-unit\""), "{text}");
    process.conditions.set("l1", Ok(()));
    assert!(process.status_page.not_ready().is_empty());
}

fn scrape<C>(process: &Process<C>) -> String {
    use rollmill_service::prometheus::{Encoder, TextEncoder};
    let mut text = Vec::new();
    TextEncoder::new().encode(&process.metrics.gather(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
