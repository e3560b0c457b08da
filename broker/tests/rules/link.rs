//! The way to PostgreSQL: a Unix socket before the server's, which can lose a request or an answer, or fall silent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest wait for the end of a connection that was cut.
const LIMIT: Duration = Duration::from_secs(30);

/// What is lost with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// What the broker sends next: the statement is not executed.
    Request,
    /// What the server sends next: the statement was executed, and the broker does not know it.
    Answer,
}

/// A cut that is waiting for its message.
#[derive(Clone, Copy, Debug)]
struct Cut {
    lost: Lost,
    /// Messages of that direction which pass before it.
    after: u32,
}

#[derive(Debug)]
struct Shared {
    cut: Mutex<Option<Cut>>,
    /// Connections that were cut and that the server has not ended yet.
    ending: watch::Sender<usize>,
    /// How often the way fell silent.
    silenced: watch::Sender<u32>,
}

impl Shared {
    fn strikes(&self, lost: Lost) -> bool {
        let mut cut = self.cut.lock();
        match &mut *cut {
            Some(armed) if armed.lost == lost && armed.after == 0 => {
                *cut = None;
                true
            }
            Some(armed) if armed.lost == lost => {
                armed.after -= 1;
                false
            }
            _ => false,
        }
    }
}

/// The way of one replica. It ends with its value.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    directory: TempDir,
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// A way to the server that these options reach by its socket.
    pub(crate) fn new(options: &PgConnectOptions) -> Self {
        let port = options.get_port();
        let name = format!(".s.PGSQL.{port}");
        let server = options.get_socket().expect("the test's server has a socket").join(&name);
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(&name)).unwrap();
        let shared = Arc::new(Shared {
            cut: Mutex::new(None),
            ending: watch::Sender::new(0),
            silenced: watch::Sender::new(0),
        });
        let task = tokio::spawn(serve(listener, server, shared.clone()));
        Self { shared, directory, port, task }
    }

    /// The same server by this way.
    pub(crate) fn options(&self, options: &PgConnectOptions) -> PgConnectOptions {
        options.clone().socket(self.directory.path()).port(self.port)
    }

    /// Cuts the connection that has the message after the next `after`.
    pub(crate) fn arm(&self, lost: Lost, after: u32) {
        *self.shared.cut.lock() = Some(Cut { lost, after });
    }

    /// Ends a cut that did not come to pass; returns whether it did.
    pub(crate) fn disarm(&self) -> bool {
        self.shared.cut.lock().take().is_none()
    }

    /// Nothing passes any more on the connections that there are, and neither side is told. New ones are as before.
    pub(crate) fn silence(&self) {
        self.shared.silenced.send_modify(|count| *count += 1);
    }

    /// Waits until the server has ended the connections that were cut, and with them their transactions.
    pub(crate) async fn settle(&self) {
        let mut ending = self.shared.ending.subscribe();
        let ended = tokio::time::timeout(LIMIT, ending.wait_for(|count| *count == 0)).await;
        ended.expect("PostgreSQL ends a connection that was cut").expect("the link is there");
    }
}

async fn serve(listener: UnixListener, server: PathBuf, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, shared) = (server.clone(), shared.clone());
        tokio::spawn(async move {
            if let Ok(server) = UnixStream::connect(server).await {
                carry(client, server, &shared).await;
            }
        });
    }
}

/// Carries both directions until one side ends or the connection is cut.
async fn carry(client: UnixStream, server: UnixStream, shared: &Shared) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut silenced = shared.silenced.subscribe();
    let cut = loop {
        tokio::select! {
            _ = silenced.changed() => std::future::pending::<()>().await,
            read = from_client.read(&mut request) => match read {
                Ok(length) if length > 0 => {
                    if shared.strikes(Lost::Request) {
                        break true;
                    }
                    if to_server.write_all(&request[..length]).await.is_err() {
                        break false;
                    }
                }
                _ => break false,
            },
            read = from_server.read(&mut answer) => match read {
                Ok(length) if length > 0 => {
                    if shared.strikes(Lost::Answer) {
                        break true;
                    }
                    if to_client.write_all(&answer[..length]).await.is_err() {
                        break false;
                    }
                }
                _ => break false,
            },
        }
    };
    if cut {
        // Before the broker sees the end.
        shared.ending.send_modify(|count| *count += 1);
    }
    drop((from_client, to_client));
    // The server ends its side when it has nothing more to do and finds no request.
    let _ = to_server.shutdown().await;
    while from_server.read(&mut answer).await.is_ok_and(|length| length > 0) {}
    if cut {
        shared.ending.send_modify(|count| *count -= 1);
    }
}
