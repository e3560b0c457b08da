//! Signed bytes, and the responses of nodes to them.

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

/// Whether a node rejects a form for its price, on its own or compared with the one in its pool,
/// which only the node knows. Nodes agree on this word, not on a code. Source: error texts of
/// go-ethereum `core/txpool/errors.go`, and of anvil.
pub(crate) fn says_underpriced(error: &TransportError) -> bool {
    let message = error.as_error_resp().map(|payload| payload.message.to_lowercase());
    message.is_some_and(|m| m.contains("underpriced") || m.contains("less than block base fee"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::rpc::json_rpc::ErrorPayload;
    use alloy::transports::{RpcError, TransportErrorKind};

    fn rpc_failure(message: &'static str) -> TransportError {
        RpcError::ErrorResp(ErrorPayload { code: -32000, message: message.into(), data: None })
    }

    #[test]
    fn rejections_for_the_price_are_understood() {
        for (message, expected) in [
            ("replacement transaction underpriced", true),
            ("transaction underpriced: gas tip cap 0", true),
            ("max fee per gas less than block base fee", true),
            ("already known", false),
            ("nonce too low: next nonce 7, tx nonce 3", false),
            ("Insufficient funds for gas * price + value", false),
        ] {
            assert_eq!(says_underpriced(&rpc_failure(message)), expected, "{message}");
        }
        assert!(!says_underpriced(&TransportErrorKind::backend_gone()));
    }
}
