//! A development L1 as a process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rollmill_l1::L1Client;

/// Default chain id of anvil.
pub const CHAIN_ID: u64 = 31337;

/// An anvil process that ends with the value, or with the test process if that is killed.
pub struct Anvil {
    child: Child,
    pub url: String,
}

impl Anvil {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(args: &[&str]) -> Self {
        // setpriv asks the kernel to kill anvil when its parent dies, which needs no unsafe code.
        let mut command = if cfg!(target_os = "linux") {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(binary());
            command
        } else {
            Command::new(binary())
        };
        command.args(["--port", "0", "--hardfork", "osaka", "--enable-tx-gas-limit"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("setpriv of util-linux or anvil cannot be started");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil ended before it listened");
        // anvil stops when its output is not read.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, url: format!("http://{address}") }
    }

    pub async fn client(&self) -> L1Client {
        L1Client::connect(std::slice::from_ref(&self.url), CHAIN_ID).await.unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
    let path = contracts.join(format!("node_modules/@foundry-rs/anvil-{os}-{arch}/bin/anvil"));
    assert!(path.exists(), "no anvil at {}: run `make setup`", path.display());
    path
}
