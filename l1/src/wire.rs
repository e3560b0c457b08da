//! Signed bytes, and what a node says to them.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{B256, TxKind};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::TransportError;

use crate::error::L1Error;
use crate::fees::Fees;
use crate::intent::Intent;

/// A transaction ready to be sent.
pub(crate) struct Signed {
    pub(crate) tx_hash: B256,
    pub(crate) raw: Vec<u8>,
}

/// Signs an intent at these fees. Signatures are deterministic (RFC 6979), so that the same form
/// signed again has the same hash.
pub(crate) fn sign(
    signer: &PrivateKeySigner,
    chain_id: u64,
    intent: &Intent,
    fees: Fees,
) -> Result<Signed, L1Error> {
    let tx = TxEip1559 {
        chain_id,
        nonce: intent.nonce,
        gas_limit: intent.gas_limit,
        max_fee_per_gas: fees.max_fee_wei,
        max_priority_fee_per_gas: fees.max_priority_fee_wei,
        to: intent.to.map_or(TxKind::Create, TxKind::Call),
        value: intent.value,
        access_list: Default::default(),
        input: intent.input.clone(),
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).map_err(|error| L1Error::Key {
        from: format!("account {}", signer.address()),
        reason: error.to_string(),
    })?;
    let signed = tx.into_signed(signature);
    let tx_hash = *signed.hash();
    Ok(Signed { tx_hash, raw: TxEnvelope::from(signed).encoded_2718() })
}

/// What a node's refusal of a transaction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broadcast {
    /// The node has it already.
    Known,
    /// The account's nonce is past it.
    NonceUsed,
    /// It pays less than the node asks for, or hardly more than the form that the node holds.
    Underpriced,
    /// The account cannot pay.
    Funds,
    Other,
}

/// Nodes agree on the words, not on codes. Source: error texts of go-ethereum `core/txpool/errors.go`
/// and `core/error.go`, and of anvil.
pub(crate) fn classify(error: &TransportError) -> Broadcast {
    let Some(payload) = error.as_error_resp() else { return Broadcast::Other };
    let message = payload.message.to_lowercase();
    let says = |words: &str| message.contains(words);
    if says("already known") || says("already imported") || says("known transaction") {
        Broadcast::Known
    } else if says("nonce too low") {
        Broadcast::NonceUsed
    } else if says("underpriced") || says("less than block base fee") {
        Broadcast::Underpriced
    } else if says("insufficient funds") {
        Broadcast::Funds
    } else {
        Broadcast::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::rpc::json_rpc::ErrorPayload;
    use alloy::transports::{RpcError, TransportErrorKind};

    fn refusal(message: &'static str) -> TransportError {
        RpcError::ErrorResp(ErrorPayload { code: -32000, message: message.into(), data: None })
    }

    #[test]
    fn refusals_of_real_nodes_are_understood() {
        for (message, expected) in [
            ("already known", Broadcast::Known),
            ("transaction already imported", Broadcast::Known),
            ("nonce too low: next nonce 7, tx nonce 3", Broadcast::NonceUsed),
            ("replacement transaction underpriced", Broadcast::Underpriced),
            ("transaction underpriced: gas tip cap 0", Broadcast::Underpriced),
            ("max fee per gas less than block base fee", Broadcast::Underpriced),
            ("Insufficient funds for gas * price + value", Broadcast::Funds),
            ("execution reverted", Broadcast::Other),
        ] {
            assert_eq!(classify(&refusal(message)), expected, "{message}");
        }
        assert_eq!(classify(&TransportErrorKind::backend_gone()), Broadcast::Other);
    }
}
