//! Deployments by the program, with the keys and verifiers of the release.

use std::path::Path;
use std::process::Command;

use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::registry::{load_key_set, make_keys, open_srs};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_l1::L1Client;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1_testing::{Anvil, CHAIN_ID, KEYS, signer, trial};
use serde_json::Value;

use crate::{assert_failed, failed};

struct Lab {
    _anvil: Anvil,
    url: String,
    client: L1Client,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        // Kept in the cache, so that only the first test of a machine makes them.
        let store = DirStore::new(cache_dir(None));
        if load_key_set(&store).is_err() {
            let srs = open_srs(&store, CHAIN_ID).unwrap();
            make_keys(&CpuDevice::default(), &srs, &store, &|_, _| {}).unwrap();
        }
        let anvil = Anvil::start();
        let client = anvil.client().await;
        let url = trial::before(&anvil.url).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("facts.toml"), rollmill_deployment::SAMPLE).unwrap();
        std::fs::write(folder.path().join("key"), format!("0x{}\n", KEYS[0])).unwrap();
        Self { _anvil: anvil, url, client, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn deploy(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-l1"));
        command
            .args(["deploy", "facts.toml", "--key", "file:key", "--yes", "--json"])
            .args(["--l1-urls", &self.url, "--poll-ms", "10"])
            .args(more)
            .current_dir(self.path());
        command
    }

    async fn nonce(&self) -> u64 {
        let count = self.client.provider().get_transaction_count(signer(0).address());
        count.await.unwrap()
    }
}

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !log.contains(KEYS[0]), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Goal: an operator tries the sample, deploys it, is killed after each kind of moment, and gets one deployment, which
/// other commands take by its file alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_tried_deployed_and_used_by_its_file() {
    let lab = Lab::new().await;
    let tried = json(&mut lab.deploy(&["--dry-run"]));
    let steps = tried["step"].as_array().unwrap().len() as u64;
    assert!(tried["gas"].as_u64().unwrap() > 10_000_000 && steps > 15, "{tried}");
    assert!(!lab.path().join("deployment").exists() && lab.nonce().await == 0);

    // Kills at the moments between a block and the journal, which need the failpoints of the test build.
    for failpoint in
        ["deploy.begun", "deploy.mined", "deploy.recorded", "deploy.mined@2", "deploy.mined@5"]
    {
        let killed = lab.deploy(&[]).env("ROLLMILL_FAILPOINT", failpoint).output().unwrap();
        assert!(!killed.status.success(), "{failpoint} was not reached: {killed:?}");
    }
    let deployed = json(&mut lab.deploy(&[]));
    assert_eq!((deployed["rollup"].clone(), lab.nonce().await), (tried["rollup"].clone(), steps));
    // Nothing is left to send.
    assert_eq!(json(&mut lab.deploy(&["--dry-run"]))["steps_done"], steps);

    let file = lab.path().join("deployment/deployment.toml");
    let mut shown = Command::new(env!("CARGO_BIN_EXE_rollmill-l1"));
    shown.args(["deployment", "--json", "--l1-urls", &lab.url, "--deployment"]).arg(&file);
    let shown = json(&mut shown);
    assert_eq!(shown["rollup"], deployed["rollup"]);
    assert_eq!(shown["version"].to_string(), deployed["version"].as_str().unwrap());
}

/// Goal: a mistake is found before anything is sent, and says where it is.
#[tokio::test(flavor = "multi_thread")]
async fn mistakes_send_nothing() {
    let lab = Lab::new().await;
    let wrong = rollmill_deployment::SAMPLE.replace("slot_seconds = 36", "slot_seconds = 0");
    std::fs::write(lab.path().join("facts.toml"), wrong).unwrap();
    let got = failed(&lab.deploy(&[]).output().unwrap());
    assert_failed(got, 2, "DEP-001", "schedule.slot_seconds");
    let other = rollmill_deployment::SAMPLE.replace("chain_id = 31337", "chain_id = 1");
    std::fs::write(lab.path().join("facts.toml"), other).unwrap();
    let got = failed(&lab.deploy(&[]).output().unwrap());
    // The keys of tests are of a development SRS.
    assert_ne!(got.0, 0, "{got:?}");
    assert_eq!(lab.nonce().await, 0);
    std::fs::write(lab.path().join("facts.toml"), rollmill_deployment::SAMPLE).unwrap();
    let got = failed(&lab.deploy(&["--verifiers", "."]).output().unwrap());
    assert_failed(got, 1, "DEP-002", "EpochRoot1Verifier.sol");
    std::fs::write(lab.path().join("key"), "not a key").unwrap();
    let got = failed(&lab.deploy(&[]).output().unwrap());
    assert!(got.1.contains("L1-015") && !got.1.contains("not a key"), "{got:?}");
    assert_eq!(lab.nonce().await, 0);
}
