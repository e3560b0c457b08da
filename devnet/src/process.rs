//! Child processes: started under the guard, watched, stopped in order.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::task::JoinHandle;

use crate::Error;
use crate::guard::{EXEC, MARK};
use crate::rundir::RunDir;

/// Polling interval of a process that is starting.
const POLL: Duration = Duration::from_millis(50);

/// What to start.
#[derive(Debug, Clone)]
pub struct Program {
    /// Name in messages, and of the log file.
    pub name: String,
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(String, OsString)>,
    /// Where `/health` is served, for processes framed by `rollmill-service`.
    pub admin: Option<SocketAddr>,
}

impl Program {
    /// A program without arguments.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            admin: None,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a flag and its value.
    pub fn flag(self, flag: &str, value: impl Into<OsString>) -> Self {
        self.arg(flag).arg(value)
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds the frame's flags: admin address and log form.
    pub fn framed(mut self, admin: SocketAddr) -> Self {
        self.admin = Some(admin);
        self.flag("--admin-listen", admin.to_string())
    }
}

/// Starts programs so that they are killed with the supervisor.
#[derive(Debug, Clone)]
pub struct Launcher {
    devnet: PathBuf,
    mark: String,
}

impl Launcher {
    /// `devnet` is the program that acts as the go-between ([`crate::guard::dispatch`]).
    pub fn new(devnet: impl Into<PathBuf>, mark: impl Into<String>) -> Self {
        Self { devnet: devnet.into(), mark: mark.into() }
    }

    /// Starts `program` in its own process group, output appended to its log.
    ///
    /// The kernel sends the ordered signal when the *thread* that called this ends, so call it on a
    /// thread that lives as long as the network: with a current-thread runtime, the main one.
    ///
    /// # Errors
    /// [`Error::File`] for the log, [`Error::Spawn`] for the process.
    pub fn spawn(&self, program: &Program, dir: &RunDir) -> Result<Child, Error> {
        let log = dir.log(&program.name);
        let file = File::options().create(true).append(true).open(&log);
        let file = file.map_err(Error::file("open", &log))?;
        let errors = file.try_clone().map_err(Error::file("open", &log))?;
        let mut command = tokio::process::Command::new(&self.devnet);
        command.arg(EXEC).arg(std::process::id().to_string()).arg(&program.path);
        command.args(&program.arguments);
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        command.env(MARK, &self.mark);
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        command.process_group(0).kill_on_drop(true).current_dir(dir.path());
        let child = command
            .spawn()
            .map_err(|source| Error::Spawn { name: program.name.clone(), source })?;
        Ok(Child { program: program.clone(), child, log })
    }
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    program: Program,
    child: tokio::process::Child,
    log: PathBuf,
}

impl Child {
    /// Name in messages.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// What was started, to start it again.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Path of its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn pid(&self) -> Option<Pid> {
        // Linux process ids are below 2^22.
        self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
    }

    /// Fails if the process has exited.
    ///
    /// # Errors
    /// [`Error::Ended`] with its exit status and the last line it wrote.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::Ended {
                name: self.name().into(),
                status: status.to_string(),
                last_line: last_line(&self.log),
            }),
            Err(source) => Err(Error::Spawn { name: self.name().into(), source }),
        }
    }

    /// Waits until `/health` returns 200, the process ends, or `limit` has passed.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::NotReady`].
    pub async fn ready(&mut self, http: &reqwest::Client, limit: Duration) -> Result<(), Error> {
        let Some(admin) = self.program.admin else { return Ok(()) };
        let url = format!("http://{admin}/health");
        let start = Instant::now();
        loop {
            self.check()?;
            let answer = http.get(&url).timeout(Duration::from_secs(2)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            self.not_ready_after(start, limit)?;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the log contains `text` and returns what follows it on that line.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::NotReady`].
    pub async fn wait_for_line(&mut self, text: &str, limit: Duration) -> Result<String, Error> {
        let start = Instant::now();
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            // A line without its end may still be growing.
            let complete = log.rsplit_once('\n').map_or("", |(complete, _)| complete);
            if let Some(rest) = complete.lines().find_map(|line| Some(line.split_once(text)?.1)) {
                return Ok(rest.trim().to_owned());
            }
            self.check()?;
            self.not_ready_after(start, limit)?;
            tokio::time::sleep(POLL).await;
        }
    }

    fn not_ready_after(&self, start: Instant, limit: Duration) -> Result<(), Error> {
        if start.elapsed() < limit {
            return Ok(());
        }
        Err(Error::NotReady { name: self.name().into(), limit, last_line: last_line(&self.log) })
    }

    /// Sends the process a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, signal);
        }
    }

    /// Sends SIGKILL, as a crash would, and waits for the end.
    pub async fn kill(mut self) {
        if let Some(pid) = self.pid() {
            // Only this process, not its group: its children must cope with its death.
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.wait().await;
    }

    /// Asks the process to exit, and kills its whole group after `grace`. Returns its exit status; `None` if it had to
    /// be killed.
    pub async fn stop(mut self, grace: Duration) -> Option<ExitStatus> {
        let pid = self.pid()?;
        let _ = kill(pid, Signal::SIGTERM);
        // A frozen process handles the signal once it is resumed.
        let _ = kill(pid, Signal::SIGCONT);
        let ended = tokio::time::timeout(grace, self.child.wait()).await;
        // Members of the group that are left have lost their leader.
        let _ = killpg(pid, Signal::SIGKILL);
        match ended {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.wait().await;
                None
            }
        }
    }

    /// As [`Self::stop`], beside other work: the task returns how the process exited.
    pub fn terminate(self, limit: Duration) -> JoinHandle<Exit> {
        let start = Instant::now();
        let (program, log) = (self.program.clone(), self.log.clone());
        tokio::spawn(async move {
            let status = self.stop(limit).await;
            let seconds = start.elapsed().as_secs_f64();
            Exit { program, status, seconds, last_line: last_line(&log) }
        })
    }
}

/// How a process exited that was asked to.
#[derive(Debug)]
pub struct Exit {
    /// What to start again.
    pub program: Program,
    /// `None` if it had to be killed.
    pub status: Option<ExitStatus>,
    /// From the signal to the exit.
    pub seconds: f64,
    /// The last informative line of its log.
    pub last_line: String,
}

impl Exit {
    /// The exit code; `None` if a signal ended the process.
    pub fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// What is wrong with it, if the process did not exit with 0 within `grace`.
    pub fn fault(&self, grace: Duration) -> Option<String> {
        let Self { status, seconds, last_line, .. } = self;
        match status {
            None => Some(format!("did not exit within {seconds:.1} s")),
            Some(status) if !status.success() => {
                Some(format!("ended with {status}; its last line: \"{last_line}\""))
            }
            Some(_) if *seconds > grace.as_secs_f64() => {
                Some(format!("exited after {seconds:.1} s, and has {} s for it", grace.as_secs()))
            }
            Some(_) => None,
        }
    }
}

/// The last informative line of a log, cut to a width that fits a message.
pub fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // An error line is more informative than what the process logged afterwards.
    let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.starts_with("error:")).or_else(|| lines().next());
    line.unwrap_or("it wrote nothing").chars().take(300).collect()
}
