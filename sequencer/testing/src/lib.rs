//! A deployment on a development L1, and the programs that follow it, run as processes.
#![allow(missing_debug_implementations, reason = "no test prints them")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{L1BlockRef, L1Client, RollupContract, SenderConfig, TxSender};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_path, vk_tree};
use rollmill_protocol::{Circuit, Config, EthAddress, Fr, Genesis, Tx};

use rollmill_l1_testing::{Anvil, Network, Setup, config, root_leaves, signer};
use serde_json::Value;

pub use rollmill_l1_testing::anvil;
pub use rollmill_protocol_testing as chain;

/// The first key of anvil's well-known development mnemonic: deployer and proposer.
pub const KEY: &str = rollmill_l1_testing::KEYS[0];
pub const SLOTS_PER_EPOCH: u64 = 8;

/// Long enough that no test leaves a slot.
pub const SLOT_SECONDS: u64 = 10_000;

/// Seconds after an epoch in which its proof is in time, and those of the challenge period after it.
pub const WINDOW: u32 = 100_000;

/// A rollup on its own L1, with the notes and balances of the protocol's tests, in the middle of slot 5.
pub struct Deployment {
    pub anvil: Anvil,
    pub client: L1Client,
    pub rollup: RollupContract,
    pub network: Network,
    pub genesis: Genesis,
    /// The L1 block before the rollup's.
    pub start: L1BlockRef,
    pub folder: tempfile::TempDir,
    levels: Vec<Vec<Fr>>,
}

impl Deployment {
    /// With a key tree of these leaves; without one for a root circuit, a made-up leaf takes its place. No proof
    /// is accepted. The committee is account 0.
    pub async fn new(leaves: &[VkLeaf]) -> Self {
        Self::with_committee(leaves, vec![signer(0).address()]).await
    }

    /// [`Self::new`] with another committee.
    pub async fn with_committee(leaves: &[VkLeaf], members: Vec<Address>) -> Self {
        let anvil = Anvil::start();
        let client = anvil.client().await;
        let folder = tempfile::tempdir().unwrap();
        let start = client.latest().await.unwrap();
        let mut leaves = leaves.to_vec();
        for root in root_leaves(Fr::from(0u64)) {
            if leaves.iter().all(|leaf| leaf.circuit != root.circuit) {
                leaves.push(root);
            }
        }
        let levels = vk_tree(&leaves);
        let config = Config {
            slot_seconds: SLOT_SECONDS,
            slots_per_epoch: SLOTS_PER_EPOCH,
            ..config(start.timestamp - 11 * SLOT_SECONDS / 2)
        };
        let genesis = |rollup: EthAddress, vk_root: Fr| Genesis {
            chain_id: anvil::CHAIN_ID,
            rollup,
            vk_root,
            config,
            ..chain::genesis()
        };
        let root = |rollup, vk_root| {
            let built = genesis(rollup, vk_root).build(MemoryStore::new()).unwrap();
            built.state.archive_root
        };
        let setup = Setup { leaves: &leaves, window: WINDOW, config, members, genesis: &root };
        let network = Network::with(client.clone(), setup).await;
        let rollup = EthAddress(network.rollup.address().into_array());
        let genesis = genesis(rollup, levels[VK_TREE_HEIGHT][0]);
        std::fs::write(folder.path().join("genesis.json"), genesis.to_json()).unwrap();
        let rollup = network.rollup.clone();
        Self { anvil, client, rollup, network, genesis, start, folder, levels }
    }

    /// Siblings of a circuit's leaf in the key tree.
    pub fn vk_path(&self, circuit: Circuit) -> [Fr; VK_TREE_HEIGHT] {
        vk_path(&self.levels, circuit)
    }

    /// Transaction number `i`, whose client proof only a test believes.
    pub fn tx(&self, i: u64, anchor: Fr) -> Tx {
        Tx { version: self.genesis.version(), ..chain::tx(i, anchor) }
    }

    /// Lets an epoch that has a block now miss its deadline: the epoch ends, and window and challenge period
    /// pass, and `more` seconds.
    pub async fn miss_deadline(&self, more: u64) {
        use rollmill_l1::alloy::providers::ext::AnvilApi;
        let provider = self.client.provider();
        let seconds = SLOTS_PER_EPOCH * SLOT_SECONDS + 2 * u64::from(WINDOW) + more;
        provider.anvil_increase_time(seconds).await.unwrap();
        provider.anvil_mine(Some(1), None).await.unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Posts a block that the contract accepts and every node rejects: its header is none.
    pub async fn propose_nonsense(&self) {
        let slot = self.rollup.current_slot().await.unwrap();
        self.network.propose(slot).await;
    }

    /// Starts a program with its own node in this deployment. The client keys are expected in
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
            ("--node-blob-archive", path("blobs")),
            ("--intents", path("intents.json")),
        ];
        let sequencer = [("--committee-signatures", path("signatures.redb"))];
        let more = if program.ends_with("sequencer") { &sequencer[..] } else { &[] };
        // The test's own value takes the place of these.
        for (flag, value) in own.iter().chain(more).filter(|(flag, _)| !flags.contains(flag)) {
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
