//! What every source of blobs must do, whatever it is.

use alloy::primitives::B256;
use rollmill_l1::L1BlockRef;
use rollmill_l1::blob::{BYTES, Blob, Kzg};
use rollmill_l1::data::{BlobRef, BlobSource, SourceError};

/// A blob whose first element is `number` and whose others are 0, and its versioned hash.
pub async fn blob(number: u8) -> (Blob, B256) {
    let make = move || {
        let mut bytes = vec![0; BYTES];
        bytes[31] = number;
        let blob = Blob::from_bytes(&bytes).unwrap();
        let commitment = Kzg::start().commit(&blob).unwrap();
        (blob, B256::from(commitment.versioned_hash()))
    };
    tokio::task::spawn_blocking(make).await.unwrap()
}

/// A blob of L1 block 5.
pub fn named(versioned_hash: B256) -> BlobRef {
    let block = L1BlockRef { number: 5, hash: B256::repeat_byte(5), timestamp: 1_060 };
    BlobRef { versioned_hash, block }
}

/// Checks a source that has the blobs `has`, with their hashes, and does not have `lacks`.
pub async fn conforms(source: &dyn BlobSource, has: &[(Blob, B256)], lacks: B256) {
    assert!(!source.name().is_empty());
    // Twice, since a first answer may leave something behind.
    for _ in 0..2 {
        for (blob, hash) in has {
            let found = source.fetch(&named(*hash)).await.unwrap();
            let is_there = found.iter().any(|bytes| bytes == blob.as_bytes());
            assert!(is_there, "{} has {hash}", source.name());
        }
        match source.fetch(&named(lacks)).await {
            Err(SourceError::Absent { name }) => assert_eq!(name, source.name()),
            // A server may ignore the hash and return all blobs of the L1 block.
            Ok(found) => {
                let known = |bytes: &Vec<u8>| has.iter().any(|(blob, _)| blob.as_bytes() == bytes);
                assert!(!found.is_empty() && found.iter().all(known), "{}", source.name());
            }
            Err(other) => panic!("{other}"),
        }
    }
}
