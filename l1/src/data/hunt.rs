//! The search for one blob until a source has it.

use std::time::Duration;

use rollmill_blob::Blob;
use rollmill_net::{Backoff, Outage};
use tokio::time::Instant;

use super::BlobRef;
use super::sources::BlobSources;

/// First and longest pause between two rounds over all sources.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// The search for one blob: asks every source, again and again, after growing pauses.
///
/// The pauses are kept in the value, so a caller may leave [`Self::found`] at any time, such as to read from L1, and come
/// back. Dropping it ends the search.
#[derive(Debug)]
pub struct Hunt<'a> {
    sources: &'a BlobSources,
    wanted: BlobRef,
    backoff: Backoff,
    outage: Outage,
    /// When the next round is due; `None` for at once.
    due: Option<Instant>,
}

impl<'a> Hunt<'a> {
    pub(super) fn new(sources: &'a BlobSources, wanted: BlobRef) -> Self {
        let backoff = Backoff::new(PAUSE.0, PAUSE.1);
        Self { sources, wanted, backoff, outage: Outage::default(), due: None }
    }

    /// With other pauses, at most `first` and later `longest`, and never more than a day.
    #[must_use]
    pub fn pausing(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff::new(first, longest.min(PAUSE_MAX));
        self
    }

    /// The blob that is searched for.
    pub fn wanted(&self) -> &BlobRef {
        &self.wanted
    }

    /// The blob, as soon as a source has it. Cancel safe.
    pub async fn found(&mut self) -> Blob {
        loop {
            if let Some(due) = self.due {
                tokio::time::sleep_until(due).await;
            }
            match self.sources.get(&self.wanted).await {
                Ok(blob) => {
                    self.due = None;
                    self.sources.set_missing(None);
                    if let Some(wait_seconds) = self.outage.ended() {
                        tracing::info!(
                            blob = %self.wanted.versioned_hash,
                            wait_seconds,
                            "data of a block found"
                        );
                    }
                    return blob;
                }
                Err(missing) => {
                    let pause = self.backoff.pause();
                    self.due = Some(Instant::now() + pause);
                    if let Some(repeated) = self.outage.failed() {
                        tracing::warn!(
                            blob = %self.wanted.versioned_hash,
                            l1_block = self.wanted.block.number,
                            error = %missing,
                            repeated,
                            retry_seconds = pause.as_secs_f64(),
                            "data of a block missing; retrying"
                        );
                    }
                    self.sources.set_missing(Some(missing));
                }
            }
        }
    }
}

impl Drop for Hunt<'_> {
    fn drop(&mut self) {
        self.sources.set_missing(None);
    }
}
