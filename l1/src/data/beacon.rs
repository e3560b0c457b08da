//! Beacon nodes, which keep blobs for about 18 days.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::error::SourceError;
use super::web::{Server, WebLimits};
use super::{BlobRef, BlobSource, Fetch};
use crate::error::L1Error;
use rollmill_blob::BYTES;

/// Blobs in one answer: more than any L1 block may have for years, for servers that ignore the filter.
const BLOBS_MAX: usize = 72;
/// Bytes of an answer with so many blobs in hexadecimal.
const ANSWER_MAX: usize = BLOBS_MAX * (2 * BYTES + 16) + 4096;
/// Bytes of an answer about the chain; the specification of a chain has about 10 kB.
const FACTS_MAX: usize = 256 << 10;

/// How a beacon API names the block of an L1 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockIds {
    /// By its slot, which follows from the block's time and two facts that the node is asked for once: all real beacon
    /// nodes.
    Slots,
    /// By the number of the L1 block: anvil.
    Numbers,
}

/// The `/eth/v1/beacon/blobs` of one beacon node.
#[derive(Debug)]
pub struct Beacon {
    server: Server,
    ids: BlockIds,
    clock: OnceCell<Clock>,
}

/// When slots begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    genesis_time: u64,
    slot_millis: u64,
}

impl Clock {
    /// The slot of a block with this time, in Unix seconds.
    fn slot(self, timestamp: u64) -> Option<u64> {
        let millis = timestamp.checked_sub(self.genesis_time)?.checked_mul(1000)?;
        millis.checked_div(self.slot_millis)
    }
}

/// An answer of the beacon API.
#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Genesis {
    genesis_time: String,
}

/// Newer specifications have milliseconds, older ones seconds, some both.
#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "SLOT_DURATION_MS")]
    millis: Option<String>,
    #[serde(rename = "SECONDS_PER_SLOT")]
    seconds: Option<String>,
}

impl Beacon {
    /// The node at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`L1Error::Url`]
    pub fn new(url: &str, ids: BlockIds, limits: WebLimits) -> Result<Self, L1Error> {
        Ok(Self { server: Server::new("beacon node", url, limits)?, ids, clock: OnceCell::new() })
    }

    async fn id(&self, wanted: &BlobRef) -> Result<u64, SourceError> {
        match self.ids {
            BlockIds::Numbers => Ok(wanted.block.number),
            BlockIds::Slots => {
                let clock = self.clock.get_or_try_init(|| self.ask_clock()).await?;
                clock.slot(wanted.block.timestamp).ok_or_else(|| SourceError::NoSlot {
                    name: self.server.name.clone(),
                    block: wanted.block.number,
                })
            }
        }
    }

    async fn ask_clock(&self) -> Result<Clock, SourceError> {
        let genesis = self.server.get(&["eth", "v1", "beacon", "genesis"], None, FACTS_MAX).await?;
        let genesis: Genesis = self.read(&genesis)?;
        let spec = self.server.get(&["eth", "v1", "config", "spec"], None, FACTS_MAX).await?;
        let spec: Spec = self.read(&spec)?;
        let millis = spec.millis.as_deref().map(|text| self.number(text)).transpose()?;
        let seconds = spec.seconds.as_deref().map(|text| self.number(text)).transpose()?;
        let slot_millis = millis.or(seconds.and_then(|seconds| seconds.checked_mul(1000)));
        match slot_millis.filter(|millis| *millis > 0) {
            Some(slot_millis) => {
                Ok(Clock { genesis_time: self.number(&genesis.genesis_time)?, slot_millis })
            }
            None => Err(self.malformed("it has no duration of a slot".to_owned())),
        }
    }

    fn number(&self, text: &str) -> Result<u64, SourceError> {
        text.parse().map_err(|_| self.malformed(format!("`{text:.40}` is no number")))
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, SourceError> {
        let read: Result<Data<T>, _> = serde_json::from_slice(body);
        read.map(|read| read.data).map_err(|error| {
            self.malformed(format!("line {}, column {}", error.line(), error.column()))
        })
    }

    fn malformed(&self, reason: String) -> SourceError {
        SourceError::Malformed { name: self.server.name.clone(), reason }
    }

    async fn ask(&self, wanted: &BlobRef) -> Result<Vec<Vec<u8>>, SourceError> {
        let id = self.id(wanted).await?.to_string();
        let query = format!("versioned_hashes={}", wanted.versioned_hash);
        let path = ["eth", "v1", "beacon", "blobs", &id];
        let body = self.server.get(&path, Some(&query), ANSWER_MAX).await?;
        let texts: Vec<String> = self.read(&body)?;
        // A block that was replaced, or whose blobs were dropped, has none.
        if texts.is_empty() {
            return Err(SourceError::Absent { name: self.server.name.clone() });
        }
        let blob = |text: &String| {
            hex::decode(text.strip_prefix("0x").unwrap_or(text))
                .map_err(|_| self.malformed("a blob is not hexadecimal".to_owned()))
        };
        texts.iter().map(blob).collect()
    }
}

impl BlobSource for Beacon {
    fn name(&self) -> &str {
        &self.server.name
    }

    fn fetch<'a>(&'a self, wanted: &'a BlobRef) -> Fetch<'a> {
        Box::pin(self.ask(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mainnet: slot 0 on 2020-12-01 12:00:23 UTC, 12 s each. The merge's block 15,537,394 has timestamp 1,663,224,179
    /// and is in slot 4,700,013.
    #[test]
    fn the_first_block_of_the_merge_is_in_its_slot() {
        let clock = Clock { genesis_time: 1_606_824_023, slot_millis: 12_000 };
        assert_eq!(clock.slot(1_663_224_179), Some(4_700_013));
        assert_eq!(clock.slot(1_606_824_023), Some(0));
        assert_eq!(clock.slot(1_606_824_022), None);
        assert_eq!(clock.slot(u64::MAX), None);
    }
}
