//! What a proposer sends to the members of its committee, and the client that it sends it with.
//!
//! ```no_run
//! # async fn example(proposal: bytes::Bytes) -> Result<(), rollmill_validator_client::ClientError> {
//! let member = rollmill_validator_client::ValidatorClient::new("http://127.0.0.1:8570", None)?;
//! let signature = member.attest(proposal).await?;
//! # Ok(()) }
//! ```

mod client;
mod error;
mod wire;

pub use client::ValidatorClient;
pub use error::ClientError;
pub use rollmill_net::ErrorBody;
pub use wire::{
    ATTEST_PATH, IDENTITY_PATH, Identity, PROPOSAL_BYTES_MAX, Proposal, SIGNATURE_BYTES,
};
