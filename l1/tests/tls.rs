//! L1 endpoints and beacon nodes behind TLS. One test, since a process has one set of files for its TLS.

use rollmill_l1::L1Client;
use rollmill_l1::data::{Beacon, BlobSource, BlockIds, WebLimits};
use rollmill_l1_testing::blob_source::{blob, named};
use rollmill_l1_testing::web::{Answer, Web};
use rollmill_l1_testing::{Anvil, CHAIN_ID};
use rollmill_net::{Tls, TlsFiles};
use rollmill_net_testing::{Authority, Signed};
use tokio::net::{TcpListener, TcpStream};

/// A server at `https://localhost`, with this certificate, that passes everything on to `target`, which starts
/// with `http://`.
async fn proxy(signed: &Signed, target: &str) -> String {
    let acceptor = signed.acceptor();
    let target = target.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                // A client that rejects the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn servers_are_reached_over_tls_if_their_certificates_are_good() {
    let folder = tempfile::tempdir().unwrap();
    let [trusted, other] = ["trusted", "other"].map(|name| Authority::new(folder.path(), name));
    let files = TlsFiles { ca: Some(trusted.file()), identity: None };
    assert!(Tls::open(files).unwrap().install());
    endpoint_of_l1(&trusted, &other).await;
    beacon_node(&trusted, &other).await;
}

async fn endpoint_of_l1(trusted: &Authority, other: &Authority) {
    let anvil = Anvil::start();
    let good = proxy(&trusted.sign("l1", &["localhost"]), &anvil.url).await;
    let client = L1Client::connect(std::slice::from_ref(&good), CHAIN_ID).await.unwrap();
    assert_eq!(client.latest().await.unwrap().number, 0);

    let foreign = proxy(&other.sign("l1-foreign", &["localhost"]), &anvil.url).await;
    let error = L1Client::connect(std::slice::from_ref(&foreign), CHAIN_ID).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let text = error.to_string();
    assert!(text.contains("not trusted here; set --tls-ca") && text.contains(&foreign), "{text}");
    let named = good.replace("localhost", "127.0.0.1");
    let text = L1Client::connect(&[named], CHAIN_ID).await.unwrap_err().to_string();
    assert!(text.contains("its certificate is for localhost and not for 127.0.0.1"), "{text}");
    let plain = anvil.url.replace("http://", "https://");
    let text = L1Client::connect(&[plain], CHAIN_ID).await.unwrap_err().to_string();
    assert!(text.contains("does not speak TLS; use http://"), "{text}");

    // An endpoint that cannot be trusted is left for one that can.
    L1Client::connect(&[foreign, good], CHAIN_ID).await.unwrap().latest().await.unwrap();
}

async fn beacon_node(trusted: &Authority, other: &Authority) {
    let (blob, hash) = blob(1).await;
    let bytes = blob.as_bytes().to_vec();
    let web = Web::start(move |_| Answer::beacon(&[&bytes])).await;
    let of = |url: &str| Beacon::new(url, BlockIds::Numbers, WebLimits::default()).unwrap();
    let good = of(&proxy(&trusted.sign("beacon", &["localhost"]), &web.url).await);
    let fetched = good.fetch(&named(hash)).await.unwrap();
    assert_eq!(fetched, [blob.as_bytes().to_vec()]);

    let foreign = of(&proxy(&other.sign("beacon-foreign", &["localhost"]), &web.url).await);
    let text = foreign.fetch(&named(hash)).await.unwrap_err().to_string();
    assert!(text.contains("not trusted here; set --tls-ca"), "{text}");
}
