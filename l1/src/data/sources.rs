//! All sources of one process, asked in order.

use std::sync::atomic::{AtomicU64, Ordering};

use rollmill_blob::{Blob, BlobError, Kzg};
use rollmill_errors::Bare;
use rollmill_net::Outage;

use super::archive::BlobArchive;
use super::error::{DataMissing, SourceError};
use super::{BlobRef, BlobSource};

/// What one source has done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFigures {
    /// [`BlobSource::name`].
    pub name: String,
    /// Blobs that it returned, verified.
    pub found: u64,
    /// Times that it did not have a blob.
    pub absent: u64,
    /// Times that it could not be asked, or returned something else.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    found: AtomicU64,
    absent: AtomicU64,
    failed: AtomicU64,
}

/// The sources of blobs of one process.
#[derive(Debug)]
pub struct BlobSources {
    kzg: Kzg,
    archive: Option<BlobArchive>,
    sources: Vec<(Box<dyn BlobSource>, Counts)>,
    /// Failures to write to the blob archive.
    unkept: Outage,
}

impl BlobSources {
    /// Asks `archive` first, then `sources` in their order. What one of these has is written to it.
    pub fn new(kzg: Kzg, archive: Option<BlobArchive>, sources: Vec<Box<dyn BlobSource>>) -> Self {
        let first = archive.clone().map(|archive| Box::new(archive) as Box<dyn BlobSource>);
        let all = first.into_iter().chain(sources);
        let sources = all.map(|source| (source, Counts::default())).collect();
        Self { kzg, archive, sources, unkept: Outage::default() }
    }

    /// The blob, from the first source that has it. Every source is asked once.
    ///
    /// # Errors
    /// [`DataMissing`] with what each source said.
    pub async fn get(&self, wanted: &BlobRef) -> Result<Blob, DataMissing> {
        let mut reasons = Vec::new();
        for (place, (source, counts)) in self.sources.iter().enumerate() {
            let error = match self.ask(source.as_ref(), wanted).await {
                Ok(blob) => {
                    counts.found.fetch_add(1, Ordering::Relaxed);
                    // The first is the blob archive itself.
                    if let Some(archive) = self.archive.as_ref().filter(|_| place > 0) {
                        self.keep(archive, wanted, &blob).await;
                    }
                    return Ok(blob);
                }
                Err(error) => error,
            };
            let count = match &error {
                SourceError::Absent { .. } => &counts.absent,
                _ => &counts.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
            reasons.push(Bare(&error).to_string());
        }
        if reasons.is_empty() {
            reasons.push("no source is configured".to_owned());
        }
        Err(DataMissing {
            versioned_hash: wanted.versioned_hash,
            l1_block: wanted.block.number,
            reasons: reasons.join("; "),
        })
    }

    /// What each source has done so far, in the order in which they are asked.
    pub fn figures(&self) -> Vec<SourceFigures> {
        let figures = self.sources.iter().map(|(source, counts)| SourceFigures {
            name: source.name().to_owned(),
            found: counts.found.load(Ordering::Relaxed),
            absent: counts.absent.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
        });
        figures.collect()
    }

    /// The blob among what one source returns.
    async fn ask(&self, source: &dyn BlobSource, wanted: &BlobRef) -> Result<Blob, SourceError> {
        let name = || source.name().to_owned();
        let candidates = source.fetch(wanted).await?;
        let (kzg, hash) = (self.kzg, wanted.versioned_hash.0);
        let verify = move || named(kzg, candidates, &hash);
        let found = tokio::task::spawn_blocking(verify).await;
        let failed = |reason| SourceError::Malformed { name: name(), reason };
        match found {
            Ok(Ok(Some(blob))) => Ok(blob),
            Ok(Ok(None)) => Err(SourceError::Wrong { name: name() }),
            Ok(Err(error)) => Err(failed(Bare(&error).to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Writes a blob to the blob archive. That it cannot is no reason to hold the chain.
    async fn keep(&self, archive: &BlobArchive, wanted: &BlobRef, blob: &Blob) {
        let (archive, hash, blob) = (archive.clone(), wanted.versioned_hash, blob.clone());
        let write = move || archive.write(hash, &blob);
        match tokio::task::spawn_blocking(write).await {
            Ok(Err(error)) => {
                if let Some(repeated) = self.unkept.failed() {
                    tracing::warn!(%error, repeated, "blob not archived");
                }
            }
            Ok(Ok(())) => _ = self.unkept.ended(),
            // The runtime is shutting down.
            Err(_) => {}
        }
    }
}

/// The blob with this hash among `candidates`. The error is that of a candidate, if one is no blob and none is right.
fn named(kzg: Kzg, candidates: Vec<Vec<u8>>, hash: &[u8; 32]) -> Result<Option<Blob>, BlobError> {
    let mut bad = None;
    for bytes in candidates {
        match Blob::from_bytes(&bytes) {
            Ok(blob) if kzg.is_named(&blob, hash)? => return Ok(Some(blob)),
            Ok(_) => {}
            Err(error) => bad = Some(error),
        }
    }
    bad.map_or(Ok(None), Err)
}
