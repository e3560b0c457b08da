//! The blobs that a node serves to others, and what the client of another node makes of the answers.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::L1BlockRef;
use rollmill_l1::blob::{Blob, Kzg};
use rollmill_l1::data::{
    BlobArchive, BlobRef, BlobSource, BlobSources, Peer, SourceError, WebLimits,
};
use rollmill_protocol::Fr;
use rollmill_protocol::blob::encode_words;
use rollmill_service::{HttpLimits, HttpMetrics, Shutdown, serve_within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestNode;
use crate::AdmissionLimits;
use crate::rpc::{CallLimits, Rpc};

/// A served node, as another one sees it.
struct Served {
    _test: TestNode,
    address: String,
    peer: Peer,
    shutdown: Shutdown,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

impl Served {
    async fn start(archive: Option<&BlobArchive>, limits: CallLimits) -> Self {
        let test = TestNode::new();
        let rpc = Rpc::new(Arc::clone(&test.node), AdmissionLimits::default()).within(limits);
        let rpc = archive.into_iter().fold(rpc, |rpc, archive| rpc.with_blobs(archive.clone()));
        let listener = rollmill_service::listen("127.0.0.1:0", "listen").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = Shutdown::new();
        let metrics = HttpMetrics::new("rpc");
        let limits = HttpLimits::default();
        tokio::spawn(serve_within(listener, rpc.router(), limits, metrics, shutdown.clone()));
        let peer = Peer::new(&format!("http://{address}"), WebLimits::default()).unwrap();
        Self { _test: test, address, peer, shutdown }
    }

    /// The status of a GET.
    async fn status(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[9..12]).into_owned()
    }
}

fn archive() -> (tempfile::TempDir, BlobArchive) {
    let folder = tempfile::tempdir().unwrap();
    let archive = BlobArchive::open(folder.path()).unwrap();
    (folder, archive)
}

async fn blob() -> (Blob, BlobRef) {
    let made = tokio::task::spawn_blocking(|| {
        let blob = Blob::from_bytes(&encode_words(&[Fr::from(7u64)]).unwrap()).unwrap();
        let commitment = Kzg::start().commit(&blob).unwrap();
        (blob, commitment.versioned_hash())
    });
    let (blob, hash) = made.await.unwrap();
    let block = L1BlockRef { number: 5, hash: [5; 32].into(), timestamp: 60 };
    (blob, BlobRef { versioned_hash: hash.into(), block })
}

#[tokio::test]
async fn a_node_gets_from_another_what_that_one_keeps_and_keeps_it_too() {
    let ((_theirs, theirs), (_ours, ours)) = (archive(), archive());
    let (blob, wanted) = blob().await;
    let served = Served::start(Some(&theirs), CallLimits::default()).await;
    let error = served.peer.fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
    theirs.write(wanted.versioned_hash, &blob).unwrap();
    let peer = Peer::new(&format!("http://{}", served.address), WebLimits::default()).unwrap();
    let all = BlobSources::new(Kzg::start(), Some(ours.clone()), vec![Box::new(peer)]);
    assert_eq!(all.get(&wanted).await.unwrap(), blob);
    assert_eq!(ours.read(wanted.versioned_hash), Ok(Some(blob)));
}

#[tokio::test]
async fn what_is_no_hash_of_a_kept_blob_has_its_status() {
    let (_folder, archive) = archive();
    let served = Served::start(Some(&archive), CallLimits::default()).await;
    let hash = "ab".repeat(32);
    for (path, status) in [
        (format!("/blobs/0x{hash}"), "404"),
        (format!("/blobs/{hash}"), "400"),
        (format!("/blobs/0x{}", &hash[2..]), "400"),
        (format!("/blobs/0x{hash}00"), "400"),
        (format!("/blobs/0x{}", "zz".repeat(32)), "400"),
        ("/blobs/..%2f..%2fsecret".to_owned(), "400"),
        ("/blobs/".to_owned(), "404"),
        ("/blobs".to_owned(), "404"),
    ] {
        assert_eq!(served.status(&path).await, status, "{path}");
    }
}

#[tokio::test]
async fn a_node_without_archive_has_no_blob_and_a_busy_one_says_so() {
    let (blob, wanted) = blob().await;
    let without = Served::start(None, CallLimits::default()).await;
    let error = without.peer.fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");

    let (_folder, archive) = archive();
    archive.write(wanted.versioned_hash, &blob).unwrap();
    let limits = CallLimits { calls: 0, turn: Duration::ZERO, ..CallLimits::default() };
    let busy = Served::start(Some(&archive), limits).await;
    let error = busy.peer.fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Status { status: 503, .. }), "{error}");
}

/// Fault: a file of the archive was damaged. The node serves nothing of it, and has a place for it again.
#[tokio::test]
async fn a_damaged_blob_is_not_served() {
    let (folder, archive) = archive();
    let (blob, wanted) = blob().await;
    archive.write(wanted.versioned_hash, &blob).unwrap();
    let served = Served::start(Some(&archive), CallLimits::default()).await;
    served.peer.fetch(&wanted).await.unwrap();
    let of_hash = wanted.versioned_hash.to_string();
    let path = folder.path().join(&of_hash[64..]).join(&of_hash[2..]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = served.peer.fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Status { status: 500, .. }), "{error}");
    let error = served.peer.fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
}
