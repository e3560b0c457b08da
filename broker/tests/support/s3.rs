//! A server that speaks S3 over a directory, in this process: the crate `s3s` with its file system. It checks signatures as
//! Amazon's does. In front of it a proxy loses, delays, cuts and changes what passes.

#![allow(dead_code, unreachable_pub)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const BUCKET: &str = "artifacts";
pub const KEY: &str = "AKIATEST";
pub const SECRET: &str = "a-secret-that-no-message-shows";

/// What the proxy does with answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    None = 0,
    /// Closes each connection at once.
    Away = 1,
    /// Ends each answer after some bytes of its body.
    Cut = 2,
    /// Takes the request and says nothing.
    Silent = 3,
}

/// The server and its proxy.
pub struct S3 {
    root: PathBuf,
    pub address: SocketAddr,
    fault: Arc<AtomicU8>,
    pub connections: Arc<AtomicUsize>,
}

impl S3 {
    /// Starts both over `root`. Without `signed` it takes requests as they go to Google's buckets, that nobody signed.
    pub async fn start(root: &Path, signed: bool) -> Self {
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        if signed {
            builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        }
        let server = serve(builder.build(), signed).await;
        let (fault, connections) = (Arc::new(AtomicU8::new(0)), Arc::default());
        let address = proxy(server, Arc::clone(&fault), Arc::clone(&connections)).await;
        Self { root: root.to_owned(), address, fault, connections }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// The file of an object.
    pub fn file(&self, object: &str) -> PathBuf {
        self.root.join(BUCKET).join(object)
    }
}

/// Google's names of the headers that matter here, as S3 calls them.
const GOOGLE: [(&str, &str); 2] =
    [("x-goog-copy-source", "x-amz-copy-source"), ("x-goog-if-generation-match", "if-none-match")];

/// The same request in the words of S3. A generation of zero is an object that is not there.
fn translate(request: &mut hyper::Request<hyper::body::Incoming>) {
    let headers = request.headers_mut();
    // Empty: nobody signed.
    headers.remove(hyper::header::AUTHORIZATION);
    for (theirs, ours) in GOOGLE {
        if let Some(value) = headers.remove(theirs) {
            let value = if ours == "if-none-match" { "*".parse().unwrap() } else { value };
            headers.insert(ours, value);
        }
    }
}

async fn serve(service: S3Service, signed: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let answer = hyper::service::service_fn(move |mut request| {
                    if !signed {
                        translate(&mut request);
                    }
                    hyper::service::Service::call(&service, request)
                });
                let _ = http.serve_connection(TokioIo::new(socket), answer).await;
            });
        }
    });
    address
}

async fn proxy(
    server: SocketAddr,
    fault: Arc<AtomicU8>,
    connections: Arc<AtomicUsize>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let fault = Arc::clone(&fault);
            tokio::spawn(async move {
                if fault.load(Ordering::SeqCst) == Fault::Away as u8 {
                    return;
                }
                let Ok(upstream) = TcpStream::connect(server).await else { return };
                let (mut from, mut to) = client.into_split();
                let (mut back, mut forth) = upstream.into_split();
                let up = async { tokio::io::copy(&mut from, &mut forth).await };
                let down = pass(&mut back, &mut to, &fault);
                tokio::select! {
                    _ = up => {}
                    () = down => {}
                }
            });
        }
    });
    address
}

/// Passes on what the server answers, as the fault says.
async fn pass(
    back: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    fault: &AtomicU8,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    loop {
        let Ok(count @ 1..) = back.read(&mut buffer).await else { return };
        let now = fault.load(Ordering::SeqCst);
        if now == Fault::Away as u8 {
            return;
        }
        if now == Fault::Silent as u8 {
            std::future::pending::<()>().await;
        }
        passed += count;
        if now == Fault::Cut as u8 && passed > 64 << 10 {
            let _ = to.write_all(&buffer[..count / 2]).await;
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
