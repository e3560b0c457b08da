//! What goes over the wire: a quote as canonical bytes, a list of quotes and an error as JSON.

use rollmill_l1::alloy::hex;
use rollmill_l1::quote::SignedQuote;
use serde::{Deserialize, Serialize};

/// `POST`: the bytes of a [`SignedQuote`]; 201 if it is new to the proposer, 200 if it is known. `GET`, with `/` and the
/// number of an epoch: the [`ShownQuote`]s of the epoch, the cheapest one first.
pub const QUOTES_PATH: &str = "/quotes";
/// Most quotes of an epoch that a proposer keeps.
pub const QUOTES_MAX: usize = 64;

/// What a proposer did with a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It keeps the quote, in place of an earlier one of the prover if there was one.
    New,
    /// It had this very quote.
    Known,
}

/// A quote as a proposer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownQuote {
    /// `0x` and 40 digits.
    pub prover: String,
    pub epoch: u64,
    /// In AZT, with at most 18 decimals.
    pub fee: String,
    /// The last slot in which the quote is valid.
    pub valid_until_slot: u64,
    /// `0x` and the 130 digits of r, s, and 27 or 28.
    pub signature: String,
}

impl From<&SignedQuote> for ShownQuote {
    fn from(SignedQuote { quote, signature }: &SignedQuote) -> Self {
        Self {
            prover: quote.prover.to_string(),
            epoch: quote.epoch,
            fee: quote.fee.to_string(),
            valid_until_slot: quote.valid_until_slot,
            signature: hex::encode_prefixed(signature),
        }
    }
}
