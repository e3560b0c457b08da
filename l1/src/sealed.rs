//! The journal's contents as bytes: versions, and the digest that a changed digit breaks.

use alloy::primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::intent::Intent;
use crate::intent_v1;

/// Version 3 added blobs, version 4 spare gas. A file of version 2 or 3 is one of version 4 without them.
pub(crate) const VERSION: u32 = 4;

/// The contents of the file. A changed digit would be a changed nonce, so the contents carry a digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed<C> {
    /// Keccak-256 of the contents as compact JSON.
    pub(crate) digest: B256,
    pub(crate) contents: C,
}

impl Contents {
    pub(crate) fn digest(&self) -> serde_json::Result<B256> {
        Ok(keccak256(serde_json::to_vec(self)?))
    }

    /// Reads a sealed file of this version or an earlier one; the error is a few words.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let damaged = |error: String| {
            format!(
                "is damaged ({error}); restore it, or move it away once its account has no \
                 pending transaction"
            )
        };
        let sealed: Sealed<serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        match sealed.contents.get("version").and_then(serde_json::Value::as_u64) {
            Some(1) => unseal::<intent_v1::Contents>(bytes)
                .map(intent_v1::Contents::migrate)
                .map_err(damaged),
            Some(2 | 3) => unseal::<Self>(bytes)
                .map(|contents| Self { version: VERSION, ..contents })
                .map_err(damaged),
            // Another version's digest covers fields that this program does not know.
            Some(version) if version != u64::from(VERSION) => Err(format!(
                "has version {version}, this program reads versions 1 to {VERSION}; use the \
                 program that wrote it"
            )),
            _ => unseal(bytes).map_err(damaged),
        }
    }
}

/// The contents of a sealed file, whose digest must be theirs.
fn unseal<C: Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<C, String> {
    let sealed: Sealed<C> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match serde_json::to_vec(&sealed.contents) {
        Ok(bytes) if keccak256(&bytes) == sealed.digest => Ok(sealed.contents),
        Ok(_) => Err("its digest is that of other contents".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    pub(crate) version: u32,
    pub(crate) chain_id: u64,
    /// Distinguishes a development chain from its successor with the same chain id.
    pub(crate) genesis_hash: B256,
    pub(crate) account: Address,
    pub(crate) intents: Vec<Intent>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::TxRequest;

    /// Goal: this version continues what a process of version 2 or 3 left in flight. What is absent leaves no trace in
    /// the text, so that the digest of an earlier version covers the same bytes.
    #[test]
    fn a_file_of_version_2_or_3_is_one_of_version_4_without_what_was_added() {
        for version in [2, 3] {
            let request = TxRequest::call("propose/17", Address::with_last_byte(9), vec![1].into());
            let intents = vec![Intent { seq: 1, ..Intent::new(request, 5, 90_000) }];
            let (chain_id, genesis_hash, account) = (31337, B256::ZERO, Address::ZERO);
            let written = Contents { version, chain_id, genesis_hash, account, intents };
            let digest = written.digest().unwrap();
            let bytes = serde_json::to_vec(&Sealed { digest, contents: &written }).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("blob") && !text.contains("spare"), "{text}");
            let read = Contents::read(&bytes).unwrap();
            assert_eq!((read.version, &read.intents), (VERSION, &written.intents));
            let again = Sealed { digest: read.digest().unwrap(), contents: &read };
            let again = Contents::read(&serde_json::to_vec(&again).unwrap()).unwrap();
            assert_eq!(again.intents, written.intents);
        }
    }

    #[test]
    fn spare_gas_is_kept() {
        let request = TxRequest::call("claim", Address::with_last_byte(9), vec![1].into());
        let request = TxRequest { gas_spare: 300_000, ..request };
        let intents = vec![Intent { seq: 1, ..Intent::new(request, 5, 90_000) }];
        let (chain_id, genesis_hash, account) = (31337, B256::ZERO, Address::ZERO);
        let written = Contents { version: VERSION, chain_id, genesis_hash, account, intents };
        let sealed = Sealed { digest: written.digest().unwrap(), contents: &written };
        let read = Contents::read(&serde_json::to_vec(&sealed).unwrap()).unwrap();
        assert_eq!(read.intents[0].gas_spare, 300_000);
    }
}
