//! Tests leave nothing behind, however they end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rollmill_broker_testing::TestSchema;

const CHILD: &str = "ROLLMILL_TEST_LEFTOVERS";

/// Fault: a test program with its Postgres is killed. Both are gone from the temporary directory
/// afterwards, and so is the server. Method: a child whose temporary directory is one of ours.
#[test]
fn a_killed_test_program_leaves_neither_data_nor_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leftovers::child_with_a_server", "--ignored", "--nocapture"])
        .env("TMPDIR", dir.path())
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines
        .map(Result::unwrap)
        .find_map(|line| line.split_once("server ").map(|(_, pid)| pid.to_owned()))
        .expect("the child has a server");
    assert_eq!(entries(dir.path()), 1, "its data lies there while it lives");
    child.kill().unwrap();
    child.wait().unwrap();
    while entries(dir.path()) > 0 {
        std::thread::yield_now();
    }
    assert!(!Path::new("/proc").join(pid).exists(), "the server ended first");
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[tokio::test]
#[ignore = "not a test: the process that the test above starts and kills"]
async fn child_with_a_server() {
    std::env::var(CHILD).expect("started by a test");
    let schema = TestSchema::new().await;
    let root = schema.objects().parent().unwrap();
    let lines = std::fs::read_to_string(root.join("pg/postmaster.pid")).unwrap();
    println!("server {}", lines.lines().next().unwrap());
    std::future::pending::<()>().await;
}
