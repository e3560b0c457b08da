//! Sources of blobs: each against the suite that all must pass, hostile servers, and what happens while no source has a
//! blob.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy::primitives::B256;
use rollmill_l1::blob::{BYTES, Kzg};
use rollmill_l1::data::{
    Beacon, BlobArchive, BlobRef, BlobSource, BlobSources, BlockIds, Peer, SourceError, WebLimits,
};
use rollmill_l1::{L1BlockRef, TxRequest};
use rollmill_l1_testing::blob_source::{blob, conforms, named};
use rollmill_l1_testing::pay::payment;
use rollmill_l1_testing::web::{Answer, Web};
use rollmill_l1_testing::{Anvil, reorg, sender};
use serde_json::json;

/// Short, for answers that never come.
const SHORT: WebLimits =
    WebLimits { connect: Duration::from_secs(3), request: Duration::from_millis(300) };

fn beacon(web: &Web) -> Beacon {
    Beacon::new(&web.url, BlockIds::Numbers, WebLimits::default()).unwrap()
}

fn sources(archive: Option<&BlobArchive>, all: Vec<Box<dyn BlobSource>>) -> BlobSources {
    BlobSources::new(Kzg::start(), archive.cloned(), all)
}

fn archive() -> (tempfile::TempDir, BlobArchive) {
    let folder = tempfile::tempdir().unwrap();
    let archive = BlobArchive::open(folder.path()).unwrap();
    (folder, archive)
}

#[tokio::test]
async fn an_archive_conforms() {
    let (_folder, archive) = archive();
    let has = [blob(1).await, blob(2).await];
    for (blob, hash) in &has {
        archive.write(*hash, blob).unwrap();
    }
    conforms(&archive, &has, blob(3).await.1).await;
}

#[tokio::test]
async fn a_peer_conforms_and_is_asked_by_hash() {
    let has = [blob(1).await, blob(2).await];
    let served = has.clone();
    let web = Web::start(move |path| {
        let of_path = served.iter().find(|(_, hash)| path == format!("/base/blobs/{hash}"));
        of_path.map_or(Answer::Full(404, Vec::new()), |(blob, _)| {
            Answer::Full(200, blob.as_bytes().to_vec())
        })
    })
    .await;
    let peer = Peer::new(&format!("{}/base/", web.url), WebLimits::default()).unwrap();
    conforms(&peer, &has, blob(3).await.1).await;
}

#[tokio::test]
async fn a_beacon_node_conforms_whether_it_filters_or_not() {
    let has = [blob(1).await, blob(2).await];
    for filters in [true, false] {
        let served = has.clone();
        let web = Web::start(move |path| {
            let (place, hash) = path.split_once("?versioned_hashes=").unwrap();
            assert_eq!(place, "/eth/v1/beacon/blobs/5");
            let chosen = served.iter().filter(|(_, known)| !filters || hash == known.to_string());
            Answer::beacon(&chosen.map(|(blob, _)| blob.as_bytes()).collect::<Vec<_>>())
        })
        .await;
        conforms(&beacon(&web), &has, blob(3).await.1).await;
        // The right one of two is chosen.
        let found = sources(None, vec![Box::new(beacon(&web))]).get(&named(has[1].1)).await;
        assert_eq!(found.unwrap(), has[1].0);
    }
}

/// anvil, whose ids are numbers of execution blocks; and a reorg that drops the blob's block.
#[tokio::test]
async fn a_development_l1_conforms_until_a_reorg_drops_the_block() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let (data, hash) = blob(7).await;
    let of = data.clone();
    let made = tokio::task::spawn_blocking(move || Kzg::start().sidecar(of).unwrap());
    let sidecar = Some(Arc::new(made.await.unwrap()));
    let receipt = sender.send(TxRequest { sidecar, ..payment("propose/1", 5) }).await.unwrap();
    let block = L1BlockRef {
        number: receipt.block_number,
        hash: receipt.block_hash,
        timestamp: client.latest().await.unwrap().timestamp,
    };
    let wanted = BlobRef { versioned_hash: hash, block };
    let beacon = || Beacon::new(&anvil.url, BlockIds::Numbers, WebLimits::default()).unwrap();
    assert_eq!(beacon().fetch(&wanted).await.unwrap(), [data.as_bytes().to_vec()]);
    let (_folder, archive) = archive();
    let all = sources(Some(&archive), vec![Box::new(beacon())]);
    assert_eq!(all.get(&wanted).await.unwrap(), data);

    reorg(&client, 1).await;
    let error = beacon().fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
    // It was kept.
    assert_eq!(all.get(&wanted).await.unwrap(), data);
    let found: Vec<u64> = all.figures().iter().map(|of| of.found).collect();
    assert_eq!(found, [1, 1]);
}

/// The slot of a block follows from its time and two facts that the node is asked for once.
#[tokio::test]
async fn a_real_beacon_node_is_asked_by_slot() {
    let (data, hash) = blob(1).await;
    for spec in [
        json!({ "data": { "SECONDS_PER_SLOT": "12" } }),
        json!({ "data": { "SLOT_DURATION_MS": "12000", "SECONDS_PER_SLOT": "9" } }),
    ] {
        let bytes = data.as_bytes().to_vec();
        let web = Web::start(move |path| match path.split('?').next().unwrap() {
            "/eth/v1/beacon/genesis" => {
                Answer::json(&json!({ "data": { "genesis_time": "1000" } }))
            }
            "/eth/v1/config/spec" => Answer::json(&spec),
            // Time 1,060 is in slot 5 of 12 s.
            "/eth/v1/beacon/blobs/5" => Answer::beacon(&[&bytes]),
            _ => Answer::Full(404, Vec::new()),
        })
        .await;
        let beacon = Beacon::new(&web.url, BlockIds::Slots, WebLimits::default()).unwrap();
        let wanted = named(hash);
        let earlier = L1BlockRef { timestamp: 999, ..wanted.block };
        let too_early = BlobRef { block: earlier, ..wanted };
        let error = beacon.fetch(&too_early).await.unwrap_err();
        assert!(matches!(error, SourceError::NoSlot { block: 5, .. }), "{error}");
        for _ in 0..2 {
            assert_eq!(beacon.fetch(&wanted).await.unwrap(), [data.as_bytes()]);
        }
        assert_eq!(web.asked().len(), 4, "{:?}", web.asked());
    }
}

#[tokio::test]
async fn facts_of_a_beacon_node_that_are_none_are_asked_for_again() {
    let (data, hash) = blob(1).await;
    let web = Web::start(|_| Answer::Nothing).await;
    let beacon = Beacon::new(&web.url, BlockIds::Slots, WebLimits::default()).unwrap();
    for (genesis, spec) in [
        (
            json!({ "data": { "genesis_time": "soon" } }),
            json!({ "data": { "SECONDS_PER_SLOT": "12" } }),
        ),
        (
            json!({ "data": { "genesis_time": "0" } }),
            json!({ "data": { "SECONDS_PER_SLOT": "0" } }),
        ),
        (json!({ "data": { "genesis_time": "0" } }), json!({ "data": {} })),
        (json!({ "data": {} }), json!({ "data": {} })),
    ] {
        web.script(move |path| match path {
            "/eth/v1/beacon/genesis" => Answer::json(&genesis),
            _ => Answer::json(&spec),
        });
        let error = beacon.fetch(&named(hash)).await.unwrap_err();
        assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
    }
    let bytes = data.as_bytes().to_vec();
    web.script(move |path| match path {
        "/eth/v1/beacon/genesis" => Answer::json(&json!({ "data": { "genesis_time": "1000" } })),
        "/eth/v1/config/spec" => Answer::json(&json!({ "data": { "SECONDS_PER_SLOT": "12" } })),
        _ => Answer::beacon(&[&bytes]),
    });
    beacon.fetch(&named(hash)).await.unwrap();
}

/// What each of these servers answers, and the code of what follows.
#[tokio::test]
async fn no_answer_of_a_server_is_more_than_an_error() {
    let (data, hash) = blob(1).await;
    let (other, _) = blob(2).await;
    let mut not_canonical = data.as_bytes().to_vec();
    not_canonical[..32].fill(0xff);
    let short = &data.as_bytes()[..BYTES - 32];
    let huge = vec![b' '; 20 << 20];
    let text = |text: &str| Answer::Full(200, text.as_bytes().to_vec());
    let whole = Answer::beacon(&[data.as_bytes()]);
    let Answer::Full(_, whole) = whole else { panic!("{whole:?}") };
    let (_folder, archive) = archive();
    for (answer, code) in [
        (Answer::Full(404, Vec::new()), "does not have the blob"),
        (Answer::beacon(&[]), "does not have the blob"),
        (Answer::beacon(&[other.as_bytes()]), "returned another blob"),
        (Answer::beacon(&[&not_canonical]), "not below the order"),
        (Answer::beacon(&[short]), "bytes, expected 131072"),
        (Answer::Full(500, Vec::new()), "HTTP status 500"),
        (Answer::Full(400, Vec::new()), "HTTP status 400"),
        (Answer::Full(204, Vec::new()), "HTTP status 204"),
        (text(""), "is not understood"),
        (text("[]"), "is not understood"),
        (text("{\"data\":[7]}"), "is not understood"),
        (text("{\"data\":[\"0xzz\"]}"), "is not hexadecimal"),
        (text("{\"data\":[\"0x0\"]}"), "is not hexadecimal"),
        (Answer::Full(200, huge), "has more than"),
        (Answer::Endless, "has more than"),
        (Answer::Nothing, "cannot be reached"),
        (Answer::Half(whole), "no answer in time"),
    ] {
        let short_of = format!("{answer:.60?}");
        let limits = if matches!(answer, Answer::Half(_)) { SHORT } else { WebLimits::default() };
        let web = Web::start(move |_| answer.clone()).await;
        let beacon = Beacon::new(&web.url, BlockIds::Numbers, limits).unwrap();
        let all = sources(Some(&archive), vec![Box::new(beacon)]);
        let missing = all.get(&named(hash)).await.unwrap_err();
        assert!(missing.reasons.contains(code), "{short_of}: {missing}");
        assert_eq!(missing.code(), "L1-038");
        assert_eq!(archive.read(hash), Ok(None), "{short_of}");
        assert_eq!(all.figures()[1].found, 0);
    }
}

#[tokio::test]
async fn a_peers_answer_of_another_size_is_rejected() {
    let (data, hash) = blob(1).await;
    let longer = [data.as_bytes(), &[0]].concat();
    for (body, words) in [
        (longer, "has more than 131072 bytes"),
        (data.as_bytes()[1..].to_vec(), "131071 bytes, expected 131072"),
        (Vec::new(), "0 bytes, expected 131072"),
    ] {
        let web = Web::start(move |_| Answer::Full(200, body.clone())).await;
        let peer = Peer::new(&web.url, WebLimits::default()).unwrap();
        let missing = sources(None, vec![Box::new(peer)]).get(&named(hash)).await.unwrap_err();
        assert!(missing.reasons.contains(words), "{missing}");
    }
}

/// Goal: no single source that lies, fails or has nothing stands between a node and a blob.
#[tokio::test]
async fn the_next_source_is_asked_whatever_one_says_and_the_blob_is_kept() {
    let (data, hash) = blob(1).await;
    let (other, _) = blob(2).await;
    let lies = Web::start(move |_| Answer::beacon(&[other.as_bytes()])).await;
    let is_away = Web::start(|_| Answer::Nothing).await;
    let has_none = Web::start(|_| Answer::Full(404, Vec::new())).await;
    let bytes = data.as_bytes().to_vec();
    let has_it = Web::start(move |_| Answer::Full(200, bytes.clone())).await;
    let (_folder, archive) = archive();
    let all = sources(
        Some(&archive),
        vec![
            Box::new(beacon(&lies)),
            Box::new(beacon(&is_away)),
            Box::new(beacon(&has_none)),
            Box::new(Peer::new(&has_it.url, WebLimits::default()).unwrap()),
        ],
    );
    assert_eq!(all.get(&named(hash)).await.unwrap(), data);
    let counts = |all: &BlobSources| -> Vec<[u64; 3]> {
        all.figures().iter().map(|of| [of.found, of.absent, of.failed]).collect()
    };
    assert_eq!(counts(&all), [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0], [1, 0, 0]]);
    // From the archive the second time.
    assert_eq!(all.get(&named(hash)).await.unwrap(), data);
    assert_eq!(has_it.asked().len(), 1);
}

/// An archive that somebody else writes is trusted no more than a server: its digests are right, its names are not.
#[tokio::test]
async fn an_archive_with_another_blob_under_the_name_is_not_believed() {
    let ((data, hash), (other, _)) = (blob(1).await, blob(2).await);
    let (_folder, archive) = archive();
    archive.write(hash, &other).unwrap();
    let bytes = data.as_bytes().to_vec();
    let web = Web::start(move |_| Answer::beacon(&[&bytes])).await;
    let all = sources(Some(&archive), vec![Box::new(beacon(&web))]);
    assert_eq!(all.get(&named(hash)).await.unwrap(), data);
    assert_eq!(all.figures()[0].failed, 1);
}

/// Fault: the L1 node has dropped the blob, and nobody else has it. Later a peer does.
#[tokio::test]
async fn a_missing_blob_names_what_each_source_said_and_is_found_when_one_has_it() {
    let (data, hash) = blob(1).await;
    let expired = Web::start(|_| Answer::beacon(&[])).await;
    let is_there = Arc::new(AtomicBool::new(false));
    let (now, bytes) = (Arc::clone(&is_there), data.as_bytes().to_vec());
    let peer = Web::start(move |_| match now.load(Ordering::SeqCst) {
        true => Answer::Full(200, bytes.clone()),
        false => Answer::Nothing,
    })
    .await;
    let peer = Peer::new(&peer.url, WebLimits::default()).unwrap();
    let all = sources(None, vec![Box::new(beacon(&expired)), Box::new(peer)]);
    let missing = all.get(&named(hash)).await.unwrap_err();
    assert_eq!((missing.versioned_hash, missing.l1_block), (hash, 5));
    let reasons = &missing.reasons;
    assert!(
        reasons.contains("does not have") && reasons.contains("cannot be reached"),
        "{reasons}"
    );
    let rounds = expired.asked().len();
    is_there.store(true, Ordering::SeqCst);
    assert_eq!(all.get(&named(hash)).await.unwrap(), data);
    assert!(expired.asked().len() > rounds, "every source is asked again");
}

#[tokio::test]
async fn without_sources_every_blob_is_missing() {
    let missing = sources(None, Vec::new()).get(&named(B256::ZERO)).await.unwrap_err();
    assert!(missing.to_string().contains("no source is configured"), "{missing}");
}

#[tokio::test]
async fn a_url_is_checked_and_no_secret_of_it_is_shown() {
    for url in ["no url", "ftp://host/", "data:text", "http://"] {
        let error = Peer::new(url, WebLimits::default()).unwrap_err();
        assert_eq!(error.code(), "L1-003", "{url}: {error}");
    }
    let url = "http://user:secret@127.0.0.1:1/secret/";
    let beacon = Beacon::new(url, BlockIds::Numbers, WebLimits::default()).unwrap();
    assert_eq!(beacon.name(), "beacon node http://127.0.0.1:1");
    let error = beacon.fetch(&named(B256::ZERO)).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
