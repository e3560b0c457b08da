//! The program `rollmill-l1` as a process, against the real contracts on a development L1.

mod bridge;
mod deploying;
mod governance;
mod money;
mod stakes;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::economics::Economics;
use rollmill_l1::{Azt, TxRequest};
use rollmill_l1_testing::{Anvil, KEYS, Network, signer};
use serde_json::Value;

/// Seconds of the window for proofs and of the challenge period.
const WINDOW: u32 = 20_000;

/// A deployment whose verifiers accept every proof, and an operator's folder.
struct Case {
    anvil: Anvil,
    network: Network,
    economics: Economics,
    /// Flags that name contracts.
    contracts: Vec<String>,
}

impl Case {
    async fn new() -> Self {
        let anvil = Anvil::start();
        let network = Network::on(anvil.client().await, true, WINDOW).await;
        Self::of(anvil, network).await
    }

    async fn of(anvil: Anvil, network: Network) -> Self {
        let economics = network.rollup.economics(&network.info).await.unwrap();
        let contracts = vec![format!("--rollup={}", network.rollup.address())];
        Self { anvil, network, economics, contracts }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.network.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(0, arguments)
    }

    /// The program with the key and the journal of one of the development accounts.
    fn command_of(&self, account: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-l1"));
        command
            .args(arguments)
            .args(&self.contracts)
            .args(["--l1-urls", &self.anvil.url, "--poll-ms", "10"])
            .arg("--intents")
            .arg(self.path(&format!("operator-{account}.json")))
            .env("ROLLMILL_L1_KEY", KEYS[account])
            .stdin(Stdio::null());
        command
    }

    /// What the program prints as JSON.
    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        // The variable of the key has the program's prefix, and is no unknown setting.
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!log.contains("unknown environment variable"), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code and the last line of a command that fails.
    fn fail(&self, arguments: &[&str]) -> (i32, String) {
        failed(&self.command(arguments).output().unwrap())
    }

    /// As [`Self::fail`], by another of the development accounts.
    fn fail_as(&self, account: usize, arguments: &[&str]) -> (i32, String) {
        failed(&self.command_of(account, arguments).output().unwrap())
    }

    async fn nonce(&self) -> u64 {
        let provider = self.network.client.provider();
        provider.get_transaction_count(signer(0).address()).await.unwrap()
    }

    async fn tokens(&self, account: Address) -> Azt {
        self.economics.balance(account).await.unwrap()
    }

    /// Lets seconds pass on L1, in one block.
    async fn pass(&self, seconds: u64) {
        let provider = self.network.client.provider();
        provider.anvil_increase_time(seconds).await.unwrap();
        provider.anvil_mine(Some(1), None).await.unwrap();
    }

    /// Sends tokens from the first account.
    async fn give(&self, to: Address, amount: &str) {
        use rollmill_l1::alloy::sol_types::SolCall;
        let value = azt(amount).word();
        let call = rollmill_l1::abi::AztToken::transferCall { to, value }.abi_encode();
        let token = self.economics.token();
        let request = TxRequest::call(format!("give/{to}/{amount}"), token, call.into());
        assert!(self.network.sender.send(request).await.unwrap().succeeded);
    }
}

fn failed(output: &Output) -> (i32, String) {
    let line =
        String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    assert!(!line.contains(KEYS[0]), "a key is shown: {line}");
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), line)
}

/// Requires an exit code, a code and a part of the message.
#[track_caller]
fn assert_failed((exit, line): (i32, String), expected: i32, code: &str, part: &str) {
    assert_eq!(exit, expected, "{line}");
    assert!(line.contains(&format!("error: {code}: ")) && line.contains(part), "{line}");
}

fn azt(text: &str) -> Azt {
    text.parse().unwrap()
}
