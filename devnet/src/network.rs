//! The processes of one network: starts them in order, watches them, and stops them in reverse order.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::JoinHandle;

use crate::guard::{self, Guard};
use crate::process::{Child, Exit, Launcher, Program};
use crate::{Error, Ports, Programs, RunDir};

/// Chain id of the development L1. The development SRS is accepted on this one only.
pub const ANVIL_CHAIN_ID: u64 = 31_337;

/// How long anvil may take to listen. It takes a twentieth of a second on an idle machine.
const ANVIL_LIMIT: Duration = Duration::from_secs(30);
/// Unix time of the first block of an anvil whose time its user moves: 15 January 2027.
const IDLE_ANVIL_START: &str = "1800000000";
/// How long the broker may take to start, the creation of its database included.
const BROKER_LIMIT: Duration = Duration::from_secs(60);
/// How long a process may take to show its metrics, or whether it can do its work.
const METRICS_LIMIT: Duration = Duration::from_secs(2);
/// How long a process may take to exit after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A network that is starting or running.
#[derive(Debug)]
pub struct Network {
    pub dir: RunDir,
    pub programs: Programs,
    pub ports: Ports,
    pub http: reqwest::Client,
    /// URLs of L1 for the processes, in the order in which they try them.
    pub l1_urls: Vec<String>,
    launcher: Launcher,
    mark: String,
    guard: Option<Guard>,
    children: Vec<Child>,
    /// Names in the order in which they first came up. A process that was killed and started again
    /// keeps its place.
    order: Vec<String>,
    /// The process that is expected to exit on its own.
    exiting: Option<String>,
}

impl Network {
    /// A network without processes, with its directory and its guard.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DirInUse`], [`Error::Spawn`].
    pub fn new(programs: Programs, devnet: &std::path::Path, dir: RunDir) -> Result<Self, Error> {
        let unique: u32 = rand::random();
        let mark = format!("{}-{unique:08x}", std::process::id());
        let removed = (!dir.is_kept()).then(|| dir.path());
        let guard = Guard::start(devnet, &mark, removed).inspect_err(|_| {
            // The first error is the one to report.
            let _ = dir.remove();
        })?;
        Ok(Self {
            programs,
            ports: Ports::new(unique),
            http: rollmill_service::untimed_http_client(),
            l1_urls: Vec::new(),
            launcher: Launcher::new(devnet, &mark),
            guard: Some(guard),
            children: Vec::new(),
            order: Vec::new(),
            exiting: None,
            mark,
            dir,
        })
    }

    /// Whether any process was started.
    pub fn has_started(&self) -> bool {
        !self.order.is_empty()
    }

    /// Mark that every process of this network carries in its environment.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Starts a program and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Ended`] with the last line of the process's log, [`Error::NotReady`].
    pub async fn start(&mut self, program: Program, limit: Duration) -> Result<(), Error> {
        let http = self.http.clone();
        self.launch(program)?.ready(&http, limit).await
    }

    /// Starts a program without waiting. It belongs to the network immediately, so that an interruption
    /// stops it too.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Spawn`].
    pub fn launch(&mut self, program: Program) -> Result<&mut Child, Error> {
        let child = self.launcher.spawn(&program, &self.dir)?;
        if !self.order.contains(&program.name) {
            self.order.push(program.name);
        }
        Ok(self.children.push_mut(child))
    }

    fn child_mut(&mut self, name: &str) -> Result<&mut Child, Error> {
        self.children.iter_mut().find(|child| child.name() == name).ok_or_else(|| not_running(name))
    }

    /// Starts anvil: one block per second and one immediately for each transaction, with the gas limit
    /// of a transaction of the real L1. A block is final when `epoch_slots` twice are on top of it.
    /// Returns its RPC address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_anvil(&mut self, epoch_slots: u32) -> Result<SocketAddr, Error> {
        let slots = epoch_slots.to_string();
        let flags = ["--block-time", "1", "--mixed-mining", "--slots-in-an-epoch", &slots];
        self.start_anvil_with(&flags).await
    }

    /// Starts an anvil that mines a block for each transaction and no others, so that whoever uses it moves
    /// its time. The first block's time is always the same. Returns its RPC address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_idle_anvil(&mut self) -> Result<SocketAddr, Error> {
        self.start_anvil_with(&["--timestamp", IDLE_ANVIL_START]).await
    }

    async fn start_anvil_with(&mut self, flags: &[&str]) -> Result<SocketAddr, Error> {
        let address = self.ports.free()?;
        let program = Program::new("anvil", self.programs.anvil()?)
            .flag("--host", address.ip().to_string())
            .flag("--port", address.port().to_string())
            .flag("--chain-id", ANVIL_CHAIN_ID.to_string())
            .flag("--hardfork", "osaka")
            .arg("--enable-tx-gas-limit");
        let program = flags.iter().fold(program, |program, flag| program.arg(flag));
        self.start(program, ANVIL_LIMIT).await?;
        // The log may have the line of an earlier anvil, on another port.
        let listening = format!("Listening on {address}");
        self.child_mut("anvil")?.wait_for_line(&listening, ANVIL_LIMIT).await?;
        Ok(address)
    }

    /// Starts the broker with a private PostgreSQL. Returns its HTTP address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_broker(&mut self) -> Result<SocketAddr, Error> {
        let address = self.ports.free()?;
        let admin = self.ports.free()?;
        let program = Program::new("broker", self.programs.own("rollmill-broker")?)
            .flag("--listen", address.to_string())
            .flag("--data-dir", self.dir.data("broker"))
            // Short, so that a killed agent's job is soon granted to another agent.
            .flag("--lease-seconds", "15")
            // Every process of the network is this user's.
            .arg("--open-on-loopback")
            // The network writes some hundred megabytes, also on a machine that has little more.
            .flag("--disk-free-min-percent", "1")
            .framed(admin);
        self.start(program, BROKER_LIMIT).await?;
        Ok(address)
    }

    /// Fails if any process has exited, except one that is expected to.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn check(&mut self) -> Result<(), Error> {
        let exiting = self.exiting.as_deref();
        let mut others = self.children.iter_mut().filter(|child| Some(child.name()) != exiting);
        others.try_for_each(Child::check)
    }

    /// Declares that a process will exit on its own: [`Self::check`] ignores it, and
    /// [`Self::take_exited`] reports when it has.
    pub fn expect_exit(&mut self, name: &str) {
        self.exiting = Some(name.to_owned());
    }

    /// Kills a process as a crash would, and returns its program, to restart it.
    ///
    /// # Errors
    /// [`Error::Ended`] when it is not running.
    pub async fn kill(&mut self, name: &str) -> Result<Program, Error> {
        self.child_mut(name)?.check()?;
        let child = self.take(name)?;
        let program = child.program().clone();
        child.kill().await;
        Ok(program)
    }

    /// Asks a process to exit, waits for that, and returns its program, to restart it.
    ///
    /// # Errors
    /// [`Error::Ended`] when it is not running.
    pub async fn end(&mut self, name: &str) -> Result<Program, Error> {
        let child = self.take(name)?;
        let program = child.program().clone();
        child.stop(STOP_GRACE).await;
        Ok(program)
    }

    /// Sends a process SIGTERM, and SIGKILL after `limit`. The task returns how it exited, with its program, to restart
    /// it.
    ///
    /// # Errors
    /// [`Error::Ended`] when it is not running.
    pub fn terminate(&mut self, name: &str, limit: Duration) -> Result<JoinHandle<Exit>, Error> {
        self.child_mut(name)?.check()?;
        Ok(self.take(name)?.terminate(limit))
    }

    /// Whether a process answers that it has started.
    pub async fn is_healthy(&mut self, name: &str) -> bool {
        let http = self.http.clone();
        match self.child_mut(name) {
            Ok(child) => child.ready(&http, Duration::ZERO).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Whether a process says that it can do its work.
    pub async fn is_ready(&self, name: &str) -> bool {
        let child = self.children.iter().find(|child| child.name() == name);
        let Some(admin) = child.and_then(|child| child.program().admin) else { return false };
        let answer =
            self.http.get(format!("http://{admin}/ready")).timeout(METRICS_LIMIT).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Whether the process of [`Self::expect_exit`] has exited; then it is removed from the network.
    ///
    /// # Errors
    /// [`Error::Ended`] when it is not one of the network's.
    pub fn take_exited(&mut self, name: &str) -> Result<bool, Error> {
        if self.child_mut(name)?.check().is_ok() {
            return Ok(false);
        }
        self.exiting = None;
        self.take(name).map(|_| true)
    }

    fn take(&mut self, name: &str) -> Result<Child, Error> {
        let at = self.children.iter().position(|child| child.name() == name);
        at.map(|at| self.children.remove(at)).ok_or_else(|| not_running(name))
    }

    /// The value of a series without labels at a process's `/metrics`; `None` while the process does not serve it.
    pub async fn metric(&self, name: &str, series: &str) -> Option<f64> {
        let child = self.children.iter().find(|child| child.name() == name)?;
        let url = format!("http://{}/metrics", child.program().admin?);
        let answer = self.http.get(&url).timeout(METRICS_LIMIT).send().await.ok()?;
        let text = answer.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Whether a process of this name belongs to the network and was not killed.
    pub fn runs(&self, name: &str) -> bool {
        self.children.iter().any(|child| child.name() == name)
    }

    /// Freezes a process, as a machine that hangs would.
    ///
    /// # Errors
    /// [`Error::Ended`] when it is not running.
    pub fn freeze(&mut self, name: &str) -> Result<(), Error> {
        self.signal(name, Signal::SIGSTOP)
    }

    /// Resumes a frozen process.
    ///
    /// # Errors
    /// As [`Self::freeze`].
    pub fn thaw(&mut self, name: &str) -> Result<(), Error> {
        self.signal(name, Signal::SIGCONT)
    }

    fn signal(&mut self, name: &str, signal: Signal) -> Result<(), Error> {
        let child = self.child_mut(name)?;
        child.check()?;
        child.signal(signal);
        Ok(())
    }

    /// Stops all processes, last started first, and removes the directory.
    ///
    /// Returns how many orphaned processes had to be killed; 0 is expected.
    ///
    /// # Errors
    /// [`Error::File`] when the folder cannot be removed.
    pub async fn stop(mut self) -> Result<usize, Error> {
        // The process that started last depends on the others, so it stops first.
        let place = |child: &Child| self.order.iter().position(|name| name == child.name());
        self.children.sort_by_key(place);
        while let Some(child) = self.children.pop() {
            child.stop(STOP_GRACE).await;
        }
        let left = guard::sweep(&self.mark, Duration::from_secs(2));
        let removed = self.dir.remove();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
        removed.map(|()| left)
    }
}

fn not_running(name: &str) -> Error {
    Error::Ended { name: name.into(), status: "not running".into(), last_line: String::new() }
}
