//! The example and the page about it do what they say, on a real Postgres: a stranger starts from them.

#[path = "../examples/producer.rs"]
#[allow(dead_code, unreachable_pub)] // The example's own `main`, and what it shows.
mod producer;

use std::time::Duration;

use rollmill_broker::store::{Role, Tenant};
use rollmill_broker_client::{Capability, ClaimRequest, Client, CompleteRequest, Digest, Grant};
use rollmill_broker_testing::TestSchema;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(10);

/// Goal: jobs are done and checked, and a producer that runs again has its results at once.
#[tokio::test]
async fn the_producer_gets_its_results_and_runs_again_without_an_agent() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let inputs = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let agent = tokio::spawn({
        let client = client.clone();
        async move { producer::work(&client, "agent", 3).await.map_err(|error| error.to_string()) }
    });
    let first = producer::produce(&client, &inputs, PATIENCE, POLL).await.expect("done");
    agent.await.expect("no panic").expect("the agent did its jobs");
    let expected: Vec<_> =
        inputs.iter().map(|input| Digest::of(input).to_string().into_bytes()).collect();
    assert_eq!(first, expected);
    let again = producer::produce(&client, &inputs, PATIENCE, POLL).await.expect("done before");
    assert_eq!(again, expected);
    broker.stop().await;
}

/// Goal: a wrong result is rejected and the job done by another agent.
#[tokio::test]
async fn a_wrong_result_is_rejected_and_another_agent_does_the_job() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let liar = {
        let client = client.clone();
        async move {
            let grant = claim(&client, "liar").await;
            let result = client.put_artifact(1, b"a lie".to_vec()).await.expect("stored");
            let agent = "liar".parse().expect("a name");
            let request = CompleteRequest::new(agent, grant.lease(), result);
            client.complete(&request).await.expect("reported");
            // Only now does an honest agent come.
            producer::work(&client, "honest", 1).await.expect("done");
        }
    };
    let inputs = [b"one".to_vec()];
    let (results, ()) = tokio::join!(producer::produce(&client, &inputs, PATIENCE, POLL), liar);
    assert_eq!(results.expect("done"), [Digest::of(b"one").to_string().into_bytes()]);
    broker.stop().await;
}

async fn claim(client: &Client, agent: &str) -> Grant {
    let capability = Capability {
        kind: "sha256".parse().expect("a type"),
        version: "1".parse().expect("a version"),
    };
    let request = ClaimRequest::new(agent.parse().expect("a name"), vec![capability]);
    client.claim(&request).await.expect("asked").expect("a job")
}

/// Goal: a producer whose jobs are gone enqueues them again. Method: an agent holds the job when its epoch
/// is dropped; another agent comes afterwards.
#[tokio::test]
async fn a_producer_enqueues_again_what_the_broker_has_lost() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let inputs = [b"one".to_vec()];
    let others = async {
        claim(&client, "first").await;
        assert_eq!(client.drop_epoch(1).await.expect("dropped"), 1);
        producer::work(&client, "second", 1).await.expect("done");
    };
    // A wait that started before the epoch was dropped ends without jobs.
    let poll = Duration::from_millis(200);
    let (results, ()) = tokio::join!(producer::produce(&client, &inputs, PATIENCE, poll), others);
    assert_eq!(results.expect("done"), [Digest::of(b"one").to_string().into_bytes()]);
    broker.stop().await;
}

/// Goal: the commands of the page print what the page says. Method: a shell runs the blocks of the section
/// one after the other, each followed by a line that ends its output.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_print_what_it_says() {
    const END: &str = "-- end of the block";
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let folder = tempfile::tempdir().expect("a folder");
    for (label, role, file) in [
        ("my-producer", Role::Producer, "producer.token"),
        ("my-agents", Role::Fleet, "agent.token"),
    ] {
        let token = store.add_token(label, role, &Tenant::default()).await.expect("added");
        let file = folder.path().join(file);
        std::fs::write(file, format!("{token}\n")).expect("written");
    }
    let broker = schema.broker().await;

    let page = include_str!("../../docs/book/queue.md");
    let section = page.split("\n## ").find(|section| section.starts_with("With curl\n"));
    let mut script = String::new();
    let mut expected: Vec<(&str, &str)> = Vec::new();
    for fenced in section.expect("the section").split("```").skip(1).step_by(2) {
        let (language, text) = fenced.split_once('\n').expect("a language");
        match language {
            "sh" => {
                script += &format!("{text}echo; echo '{END}'\n");
                expected.push((text, ""));
            }
            "json" => expected.last_mut().expect("a command").1 = text,
            other => panic!("a block of {other}"),
        }
    }
    let output = tokio::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("URL", rollmill_broker::url_of(broker.address))
        .output()
        .await
        .expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    let printed = String::from_utf8(output.stdout).expect("text");
    let printed: Vec<&str> = printed.split_terminator(&format!("{END}\n")).collect();
    assert_eq!(printed.len(), expected.len(), "{printed:?}");
    for ((command, wanted), got) in expected.into_iter().zip(printed) {
        assert!(agrees(wanted.trim(), got.trim()), "{command}printed {got}instead of {wanted}");
    }
    broker.stop().await;
}

/// Whether `got` is `wanted`, in which an ellipsis stands for any text.
fn agrees(wanted: &str, got: &str) -> bool {
    let mut pieces = wanted.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| got.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        last = Some(piece);
    }
    rest.is_empty() || last.is_some_and(str::is_empty)
}

#[test]
fn an_ellipsis_stands_for_any_text() {
    for (wanted, got) in [("a…c", "abbc"), ("a…", "abc"), ("…c", "abc"), ("a…c…", "acx")]
    {
        assert!(agrees(wanted, got), "{wanted} {got}");
    }
    for (wanted, got) in [("ab", "abc"), ("a…c", "abcd"), ("", "a"), ("a…b", "a"), ("b…", "ab")]
    {
        assert!(!agrees(wanted, got), "{wanted} {got}");
    }
}
