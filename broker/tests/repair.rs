//! Commands by which an operator mends a queue.

use crate::process::free_address;
use crate::support::{job, program};
use rollmill_broker::store::Tenant;
use rollmill_broker_client::{JobId, JobState, NewToken, Role};
use rollmill_broker_testing::TestSchema;

/// What a command prints to standard output, and whether it succeeds.
fn run(url: &str, arguments: &[&str]) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.current_dir(folder.path()).args(arguments).args(["--url", url]);
    let output = command.output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

/// Goal: one stuck job, or one epoch, is ended by a command and not by a request that an operator has to write.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_cancelled_and_an_epoch_is_dropped_by_command() {
    let broker = TestSchema::new().await.broker().await;
    let (url, client) = (rollmill_broker::url_of(broker.address), broker.client());
    let mut jobs = Vec::new();
    for input in [b"1", b"2"] {
        jobs.push(job(7, "leaf", client.put_artifact(7, input.to_vec()).await.unwrap()));
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    client.enqueue(jobs).await.unwrap();
    for expected in ["1 cancelled\n", "0 cancelled\n"] {
        assert_eq!(run(&url, &["cancel", ids[0].as_str()]), (expected.to_owned(), true));
    }
    let views = client.jobs(&ids).await.unwrap();
    let states: Vec<JobState> = views.iter().map(|view| view.state).collect();
    assert_eq!(states, [JobState::Cancelled, JobState::Ready]);
    let expected = "epoch 7 is deleted, and 2 jobs with it\n";
    assert_eq!(run(&url, &["epochs", "drop", "7"]), (expected.to_owned(), true));
    assert!(client.jobs(&ids).await.unwrap().is_empty());
    broker.stop().await;
}

/// Goal: whoever asks what is wrong learns what waits for somebody. Method: a dead letter and a quarantine.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_waits_for_somebody() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let (url, client) = (rollmill_broker::url_of(broker.address), broker.client());
    let input = client.put_artifact(7, b"1".to_vec()).await.unwrap();
    client.enqueue(vec![job(7, "leaf", input)]).await.unwrap();
    let store = schema.store().await;
    for statement in [
        "UPDATE job SET state = 'dead', finished_at = now()",
        "INSERT INTO agent (tenant, id, quarantined_at) VALUES ('default', 'bad', now())",
    ] {
        sqlx::query(statement).execute(store.pool()).await.unwrap();
    }
    let (text, is_sound) = run(&url, &["doctor"]);
    assert!(!is_sound, "{text}");
    for line in [
        "ok    epochs: ",
        "ok    disk: enough is free",
        "WRONG dead letters: 1; ",
        "WRONG agents: in quarantine for wrong results: bad; ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}: {text}");
    }
    broker.stop().await;
}

/// Fault: a token has the name of a certificate, and the broker asks nobody for one. Goal: whoever wonders why the agent is
/// rejected learns it. Method: the settings of the broker, and its database.
#[tokio::test]
async fn doctor_says_that_nobody_is_asked_for_a_certificate() {
    let schema = TestSchema::new().await;
    let folder = tempfile::tempdir().unwrap();
    let look = || {
        let mut command = program();
        command.args(["--database-url", "env:ROLLMILL_TEST_DATABASE"]);
        command.args(["--listen", &free_address(), "--data-dir"]).arg(folder.path()).arg("doctor");
        command.env("ROLLMILL_TEST_DATABASE", schema.database_url());
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    };
    let (text, is_sound) = look();
    assert!(is_sound && text.contains("ok    tokens: "), "{text}");
    let new = NewToken {
        certificate: Some("gpu-1.farm".to_owned()),
        ..NewToken::new("gpu", Role::Agent)
    };
    schema.store().await.create_token(&Tenant::default(), &new).await.unwrap();
    let (text, is_sound) = look();
    assert!(!is_sound && text.contains("WRONG tokens: certificates stand for gpu, "), "{text}");
    assert!(text.contains("--listen-client-ca"), "{text}");
}
