//! Why a quote is not kept.

use rollmill_errors::Bare;
use rollmill_l1::Azt;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::quote::SignedQuote;
use rollmill_node::NodeError;
use rollmill_protocol::DecodeError;
use rollmill_sequencer_client::QUOTES_MAX;

/// What is wrong with a request or a quote, or with this proposer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The bearer token is missing or wrong.
    ///
    /// Do: Name the proposer's token in `--quotes-proposers` of the prover node, as `URL=file:PATH`.
    #[error("{code}: the bearer token is missing or wrong; the prover node names it in its setting quotes.proposers, as URL=file:PATH", code = self.code())]
    Token,
    /// The body exceeds the size of a quote.
    ///
    /// Do: Send a quote of this release.
    #[error("{code}: a quote has {} bytes", SignedQuote::BYTES, code = self.code())]
    TooLarge,
    /// The body is incomplete.
    ///
    /// Do: Send the quote again; check the network or proxy.
    #[error("{code}: the quote is incomplete; send it again", code = self.code())]
    Body,
    /// The bytes are not a quote.
    ///
    /// Do: Run prover node and proposer of the same release.
    #[error("{code}: not a quote: {cause}", code = self.code(), cause = Bare(.0))]
    Malformed(#[from] DecodeError),
    /// There is no such path, or it does not end in the number of an epoch.
    ///
    /// Do: Correct the URL in `--quotes-proposers`. The quotes of an epoch are at `/quotes/EPOCH`.
    #[error("{code}: there is no such path; the quotes of an epoch are at /quotes/EPOCH", code = self.code())]
    UnknownPath,
    /// The path takes another method.
    ///
    /// Do: Run prover node and proposer of the same release.
    #[error("{code}: the path takes another method", code = self.code())]
    WrongMethod,
    /// The quote is for an epoch that is over, or for one that is far ahead.
    ///
    /// Do: Nothing if the epoch has just ended. Otherwise check that prover and proposer follow the same L1.
    #[error("{code}: quotes are taken for epochs {first} to {last}, this one is for {got}", code = self.code())]
    Epoch { first: u64, last: u64, got: u64 },
    /// The quote is no longer valid.
    ///
    /// Do: Check that the prover node follows L1: it quotes again before a quote expires.
    #[error("{code}: the quote was valid until slot {until}, now is slot {slot}", code = self.code())]
    Expired { slot: u64, until: u64 },
    /// The quote is valid for too long.
    ///
    /// Do: Lower `--quotes-valid-slots` of the prover node.
    #[error("{code}: the quote is valid until slot {until}, it may be valid until slot {last} at most", code = self.code())]
    TooLong { last: u64, until: u64 },
    /// The proposer has a list of provers, and this one is not on it.
    ///
    /// Do: Ask the proposer to add the prover's account to its setting `quotes.provers`.
    #[error("{code}: prover {prover} is not one of those that this proposer takes quotes of (its setting quotes.provers)", code = self.code())]
    Prover { prover: Address },
    /// The signature is not the prover's for this quote, in this deployment, in the one form that counts.
    ///
    /// Do: Check that both use the same rollup contract on the same chain, and that the key is the prover's.
    #[error("{code}: the quote has no signature of prover {prover} for chain {chain_id} and rollup {rollup}", code = self.code())]
    Signature { prover: Address, chain_id: u64, rollup: Address },
    /// The proposer has a quote of the prover for the epoch that is valid for longer, or as long and cheaper.
    ///
    /// Do: Nothing: a quote binds until its last slot. A later one replaces it if it is valid for longer.
    #[error("{code}: prover {prover} quoted {fee} AZT for epoch {epoch} until slot {until}; a quote that replaces it is valid for longer, or as long and cheaper", code = self.code())]
    Superseded { prover: Address, epoch: u64, fee: Azt, until: u64 },
    /// The proposer has as many quotes for the epoch as it keeps, and this one is not cheaper than all of them.
    ///
    /// Do: Quote less, or ask the proposer to name its provers in its setting `quotes.provers`.
    #[error("{code}: {QUOTES_MAX} quotes for epoch {epoch} are kept, the dearest of {dearest} AZT; a further one must be cheaper", code = self.code())]
    Full { epoch: u64, dearest: Azt },
    /// The proposer checks as many quotes as it may.
    ///
    /// Do: Nothing: the prover node sends the quote again.
    #[error("{code}: the proposer is busy with other requests about quotes; ask again later", code = self.code())]
    Busy,
    /// The proposer's node does not know the slot.
    #[error(transparent)]
    Slot(#[from] NodeError),
    /// The task that reads the slot and checks the quote panicked.
    ///
    /// Do: A bug in Rollmill: report it with the proposer's log.
    #[error("{code}: internal error: the request was not worked on; see the proposer's log", code = self.code())]
    Died(#[from] tokio::task::JoinError),
}

rollmill_errors::coded! {
    QuoteError {
        Self::Token => "SEQ-020",
        Self::TooLarge => "SEQ-021",
        Self::Body => "SEQ-022",
        Self::Malformed(_) => "SEQ-023",
        Self::UnknownPath => "SEQ-024",
        Self::WrongMethod => "SEQ-025",
        Self::Epoch { .. } => "SEQ-026",
        Self::Expired { .. } => "SEQ-027",
        Self::TooLong { .. } => "SEQ-028",
        Self::Prover { .. } => "SEQ-029",
        Self::Signature { .. } => "SEQ-030",
        Self::Superseded { .. } => "SEQ-031",
        Self::Full { .. } => "SEQ-032",
        Self::Died(_) => "SEQ-033",
        Self::Busy => "SEQ-034" retried,
        Self::Slot(error) => (error) retried,
    }
}

impl QuoteError {
    /// Every code that it can have.
    pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
        Self::own_codes().chain(NodeError::own_codes())
    }

    /// The HTTP status, from which a client tells the kinds of failures apart. 503 asks the prover to try again.
    pub fn status(&self) -> u16 {
        match self {
            Self::Body | Self::Malformed(_) => 400,
            Self::Token => 401,
            Self::Prover { .. } | Self::Signature { .. } => 403,
            Self::UnknownPath => 404,
            Self::WrongMethod => 405,
            Self::Superseded { .. } => 409,
            Self::TooLarge => 413,
            Self::Epoch { .. } | Self::Expired { .. } | Self::TooLong { .. } => 422,
            Self::Full { .. } => 429,
            Self::Died(_) => 500,
            Self::Busy | Self::Slot(_) => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use rollmill_sequencer_client::{ClientError, Reason, Rejection};

    use super::*;

    #[test]
    fn a_client_tells_from_the_status_what_is_wrong() {
        let (prover, rollup, fee) = (Address::ZERO, Address::ZERO, Azt::ZERO);
        for (error, expected) in [
            (QuoteError::Token, Reason::Token),
            (QuoteError::Prover { prover }, Reason::Prover),
            (QuoteError::Signature { prover, chain_id: 1, rollup }, Reason::Prover),
            (QuoteError::Superseded { prover, epoch: 1, fee, until: 2 }, Reason::Superseded),
            (QuoteError::Epoch { first: 1, last: 2, got: 3 }, Reason::Terms),
            (QuoteError::Expired { slot: 2, until: 1 }, Reason::Terms),
            (QuoteError::TooLong { last: 1, until: 2 }, Reason::Terms),
            (QuoteError::Full { epoch: 1, dearest: fee }, Reason::Full),
            (QuoteError::Busy, Reason::Busy),
            (QuoteError::TooLarge, Reason::Other),
            (QuoteError::Body, Reason::Other),
            (QuoteError::UnknownPath, Reason::Other),
            (QuoteError::WrongMethod, Reason::Other),
        ] {
            let (code, message) = (error.code().to_owned(), error.to_string());
            let told = ClientError::Rejected(Rejection { status: error.status(), code, message });
            assert_eq!(told.reason(), expected, "{error}");
        }
    }
}
