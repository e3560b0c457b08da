//! A client that only occupies connections: silent ones, ones with half a head, and ones whose body comes a byte a
//! second. Each is opened again when the broker has closed it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Pause before a connection that was closed or refused is opened again.
const AGAIN: Duration = Duration::from_millis(100);
/// Time between two bytes of a slow body.
const BYTE: Duration = Duration::from_secs(1);
const HALF_A_HEAD: &[u8] = b"POST /v1/jobs HTTP/1.1\r\nhost: localhost";
const HEAD: &[u8] =
    b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                      content-length: 4096\r\n\r\n";

/// What a connection does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Silent,
    HalfHead,
    SlowBody,
}

/// The connections. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Hostile {
    _tasks: JoinSet<()>,
    closed: Arc<AtomicU64>,
}

impl Hostile {
    /// Opens `count` connections, spread over the addresses and the kinds.
    pub(super) fn start(addresses: &[SocketAddr], count: usize) -> Self {
        let (mut tasks, closed) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let kinds = [Kind::Silent, Kind::HalfHead, Kind::SlowBody].into_iter().cycle();
        for (address, kind) in addresses.iter().cycle().zip(kinds).take(count) {
            let (address, closed) = (*address, Arc::clone(&closed));
            tasks.spawn(async move {
                loop {
                    if let Ok(stream) = TcpStream::connect(address).await {
                        // Whatever ended it, the broker has no more of it.
                        let _ = stay(stream, kind).await;
                        closed.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { _tasks: tasks, closed }
    }

    /// How many the broker has closed so far.
    pub(super) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Stays connected for as long as the broker lets it.
async fn stay(mut stream: TcpStream, kind: Kind) -> std::io::Result<()> {
    match kind {
        Kind::Silent => {}
        Kind::HalfHead => stream.write_all(HALF_A_HEAD).await?,
        Kind::SlowBody => stream.write_all(HEAD).await?,
    }
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => if read? == 0 { return Ok(()) },
            () = tokio::time::sleep(BYTE), if matches!(kind, Kind::SlowBody) => {
                stream.write_all(b" ").await?;
            }
        }
    }
}
