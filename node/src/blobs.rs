//! The blobs of blocks, from the sources that the settings name.

use std::path::PathBuf;
use std::sync::Arc;

use rollmill_l1::L1Error;
use rollmill_l1::blob::Kzg;
use rollmill_l1::data::{
    Beacon, BlobArchive, BlobRef, BlobSource, BlobSources, BlockIds, Peer, SourceError, WebLimits,
};
use rollmill_service::{StatusPage, values};

use crate::l1_events::{BlobMissing, BlockBlobs, GettingBlob, WantedBlob};

/// Settings of the sources of blobs: a part of the table `[node]`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Blobs")]
pub struct BlobConfig {
    /// Directory that keeps the blobs of all blocks; several processes may share it
    ///
    /// L1 keeps a blob for about 18 days. Deleting the node's database does not lose them.
    #[arg(id = "node.blob_archive", long, value_name = "DIR", default_value = "node-blobs")]
    pub archive: PathBuf,

    /// URLs of beacon nodes of L1, asked in order for a blob that the directory lacks [default: none]
    #[arg(id = "node.beacon_urls", long, value_name = "URL,...", default_value = "")]
    #[arg(hide_default_value = true, value_parser = values::urls)]
    pub beacon_urls: values::Urls,

    /// How the beacon nodes name an L1 block: by its slot, or by its number as anvil does
    #[arg(id = "node.beacon_ids", long, value_name = "KIND", default_value = "slots")]
    pub beacon_ids: BeaconIds,

    /// JSON-RPC URLs of nodes of the rollup, asked after the beacon nodes [default: none]
    #[arg(id = "node.blob_peers", long, value_name = "URL,...", default_value = "")]
    #[arg(hide_default_value = true, value_parser = values::urls)]
    pub peers: values::Urls,
}

/// How a beacon node names the block of an L1 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BeaconIds {
    /// By its slot: every beacon node
    Slots,
    /// By the number of the L1 block: anvil
    Numbers,
}

/// The sources of blobs of one process.
#[derive(Debug, Clone)]
pub struct NodeBlobs {
    /// Also for commitments and proofs of new blobs.
    pub kzg: Kzg,
    /// A proposer writes its own blobs to it, so that its node never has to ask for them.
    pub archive: BlobArchive,
    sources: Arc<BlobSources>,
}

impl NodeBlobs {
    /// The sources of these settings. Nothing is asked yet.
    ///
    /// # Errors
    /// [`L1Error::Url`], and [`SourceError::Disk`] if the directory cannot be created, as
    /// [`BlobsError`].
    pub fn open(config: &BlobConfig) -> Result<Self, BlobsError> {
        let kzg = Kzg::start();
        let archive = BlobArchive::open(&config.archive)?;
        let ids = match config.beacon_ids {
            BeaconIds::Slots => BlockIds::Slots,
            BeaconIds::Numbers => BlockIds::Numbers,
        };
        let mut sources: Vec<Box<dyn BlobSource>> = Vec::new();
        for url in &config.beacon_urls {
            sources.push(Box::new(Beacon::new(url, ids, WebLimits::default())?));
        }
        for url in &config.peers {
            sources.push(Box::new(Peer::new(url, WebLimits::default())?));
        }
        let sources = Arc::new(BlobSources::new(kzg, Some(archive.clone()), sources));
        Ok(Self { kzg, archive, sources })
    }

    /// Shows under `/status` what each source has done.
    pub fn show(&self, status_page: &StatusPage) {
        let sources = Arc::clone(&self.sources);
        status_page.show("blob_sources", move || {
            let figures = sources.figures().into_iter().map(|of| {
                serde_json::json!({
                    "name": of.name, "found": of.found, "absent": of.absent, "failed": of.failed,
                })
            });
            figures.collect()
        });
    }
}

impl BlockBlobs for NodeBlobs {
    fn get<'a>(&'a self, wanted: &'a WantedBlob) -> GettingBlob<'a> {
        let versioned_hash = wanted.versioned_hash.into();
        Box::pin(async move {
            let wanted = BlobRef { versioned_hash, block: wanted.l1_block };
            let blob = self.sources.get(&wanted).await;
            blob.map(|blob| blob.as_bytes().to_vec())
                .map_err(|missing| BlobMissing(missing.to_string()))
        })
    }
}

/// Why the sources of blobs cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobsError {
    /// A URL is none.
    #[error(transparent)]
    Url(#[from] L1Error),
    /// The directory of blobs cannot be used.
    #[error(transparent)]
    Archive(#[from] SourceError),
}

rollmill_errors::coded! {
    BlobsError {
        Self::Url(error) => (error),
        Self::Archive(error) => (error),
    }
}
