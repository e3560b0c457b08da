//! A deployment on a development L1, and the programs that follow it, run as processes.
#![allow(missing_debug_implementations, reason = "no test prints them")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rollmill_l1::abi::{self, Parameters, ProposeArgs, word};
use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{
    L1BlockRef, L1Client, RollupContract, SenderConfig, TxRequest, TxSender, deploy, deploy_rollup,
};
use rollmill_protocol::Fr;
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::version::PROTOCOL_VERSION;

use rollmill_l1_testing::Anvil;
use serde_json::Value;

pub use rollmill_l1_testing::anvil;
pub use rollmill_protocol_testing as chain;

/// The first key of anvil's well-known development mnemonic: deployer and proposer.
pub const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Creation code of a contract that does nothing: no proof is sent to it.
const EMPTY_CONTRACT: [u8; 4] = [0x60, 0x01, 0x5f, 0xf3];
pub const SLOTS_PER_EPOCH: u32 = 8;

/// Long enough that no test leaves a slot.
pub const SLOT_SECONDS: u32 = 10_000;

/// A rollup on its own L1, with the genesis of the protocol's tests, in the middle of slot 5.
pub struct Deployment {
    pub anvil: Anvil,
    pub client: L1Client,
    pub rollup: RollupContract,
    pub parameters: Parameters,
    /// The L1 block before the rollup's.
    pub start: L1BlockRef,
    pub folder: tempfile::TempDir,
}

impl Deployment {
    pub async fn new(vk_root: &Fr) -> Self {
        let anvil = Anvil::start();
        let client = anvil.client().await;
        let folder = tempfile::tempdir().unwrap();
        let sender = sender(&client, &folder.path().join("deployer.json")).await;
        let verifier = deploy(&sender, "verifier", EMPTY_CONTRACT.into()).await.unwrap();
        let start = client.latest().await.unwrap();
        let genesis = chain::genesis();
        let built = genesis.build(MemoryStore::new()).unwrap();
        let parameters = Parameters {
            genesisArchiveRoot: word(&built.state.archive_root),
            vkRoot: word(vk_root),
            verifier: verifier.address,
            proposer: sender.account(),
            rollupVersion: chain::VERSION,
            protocolVersion: PROTOCOL_VERSION,
            genesisTime: start.timestamp - 11 * u64::from(SLOT_SECONDS) / 2,
            slotSeconds: SLOT_SECONDS,
            slotsPerEpoch: SLOTS_PER_EPOCH,
            proofWindowL1Blocks: 1_000,
        };
        let rollup = deploy_rollup(&sender, "rollup", &parameters).await.unwrap().address;
        let rollup = client.rollup(rollup).await.unwrap();
        std::fs::write(folder.path().join("genesis.json"), genesis.to_json()).unwrap();
        Self { anvil, client, rollup, parameters, start, folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Posts a block that the contract accepts and every node rejects: its data is not a block.
    pub async fn propose_nonsense(&self) {
        let sender = sender(&self.client, &self.path("nonsense.json")).await;
        let tips = self.rollup.tips().await.unwrap();
        let args = ProposeArgs {
            blockNumber: tips.pending + 1,
            slot: self.rollup.current_slot().await.unwrap(),
            previousArchiveRoot: self.rollup.block_record(tips.pending).await.unwrap().archiveRoot,
            archiveRoot: B256::with_last_byte(1),
            headerHash: B256::with_last_byte(2),
            coinbase: Address::ZERO,
            totalFees: 0,
        };
        let call = abi::propose_calldata(args, b"nonsense".to_vec());
        let request = TxRequest::call("nonsense", self.rollup.address(), call);
        assert!(sender.send(request).await.unwrap().succeeded);
    }

    /// Starts a program with its own node in this deployment. The client circuit's key is expected in
    /// the folder as `client.key`.
    pub fn run(&self, program: &str, flags: &[&str]) -> Program {
        self.run_with(program, flags, &[])
    }

    /// The output and exit code of a program that is expected to exit.
    pub fn output(&self, program: &str, flags: &[&str]) -> std::process::Output {
        self.command(program, &self.anvil.url, flags).stdout(Stdio::piped()).output().unwrap()
    }

    /// [`Self::run`] with these environment variables too.
    pub fn run_with(&self, program: &str, flags: &[&str], variables: &[(&str, &str)]) -> Program {
        let mut command = self.command(program, &self.anvil.url, flags);
        command.envs(variables.iter().copied());
        Program::start(command)
    }

    /// [`Self::run`] with another address of L1.
    pub fn run_at(&self, program: &str, l1_url: &str, flags: &[&str]) -> Program {
        Program::start(self.command(program, l1_url, flags))
    }

    fn command(&self, program: &str, l1_url: &str, flags: &[&str]) -> Command {
        let mut command = if cfg!(target_os = "linux") {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", program]);
            command
        } else {
            Command::new(program)
        };
        let path = |name: &str| self.path(name).display().to_string();
        let own = [
            ("--admin-listen", "127.0.0.1:0".to_owned()),
            ("--node-listen", "127.0.0.1:0".to_owned()),
            ("--node-l1-urls", l1_url.to_owned()),
            ("--node-poll-ms", "10".to_owned()),
            ("--node-rollup", self.rollup.address().to_string()),
            ("--node-l1-start", self.start.number.to_string()),
            ("--node-genesis", path("genesis.json")),
            ("--node-client-key", path("client.key")),
            ("--node-data-dir", path("node")),
            ("--intents", path("intents.json")),
        ];
        // The test's own value takes the place of these.
        for (flag, value) in own.iter().filter(|(flag, _)| !flags.contains(flag)) {
            command.args([*flag, value]);
        }
        command
            .args(flags)
            .env("ROLLMILL_L1_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// A sender of the first account that polls often.
pub async fn sender(client: &L1Client, path: &Path) -> TxSender {
    let config = SenderConfig { poll_interval: Duration::from_millis(10), ..Default::default() };
    let signer: PrivateKeySigner = KEY.parse().unwrap();
    TxSender::open(client.clone(), signer, path, config).await.unwrap()
}

/// A program that ends with the value.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    read: Vec<String>,
    admin: String,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(send.send(line)));
        });
        let mut program = Self { child, lines, read: Vec::new(), admin: String::new() };
        let line = program.line_with("admin endpoint");
        let (_, address) = line.split_once("address=").unwrap();
        program.admin = address.split_whitespace().next().unwrap().trim_matches('"').to_owned();
        program
    }

    /// Sends SIGTERM, and waits for the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.wait()
    }

    /// The next line of the log that holds `text`.
    pub fn line_with(&mut self, text: &str) -> String {
        while let Ok(line) = self.lines.recv() {
            self.read.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("the program ended without `{text}`:\n{}", self.read.join("\n"));
    }

    /// The exit code, once the program has ended by itself.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The body of a response of the admin address.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// Polls `/status` until `ready` returns true for it, and returns it.
    pub fn status(&self, ready: impl Fn(&Value) -> bool) -> Value {
        loop {
            let status = serde_json::from_str(&self.get("/status")).unwrap();
            if ready(&status) {
                return status;
            }
        }
    }

    /// A figure under `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
