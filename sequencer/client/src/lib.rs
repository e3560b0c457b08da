//! What a prover sends to a proposer, and the client that it sends it with.
//!
//! ```no_run
//! # async fn example(quote: rollmill_l1::quote::SignedQuote) -> Result<(), rollmill_sequencer_client::ClientError> {
//! let proposer = rollmill_sequencer_client::QuoteClient::new("http://127.0.0.1:8580", None)?;
//! proposer.post(&quote).await?;
//! # Ok(()) }
//! ```

mod client;
mod error;
mod wire;

pub use client::QuoteClient;
pub use error::{ClientError, Reason};
pub use rollmill_net::{ErrorBody, Rejection};
pub use wire::{QUOTES_MAX, QUOTES_PATH, ShownQuote, Stored};
