//! Signed bytes, and the responses of nodes to them.

use alloy::consensus::{
    SignableTransaction, TxEip1559, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy::primitives::{B256, Signature, TxKind};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::TransportError;
use rollmill_blob::Sidecar;

use crate::error::L1Error;
use crate::fees::Fees;
use crate::intent::Intent;

/// A transaction ready to be sent.
pub(crate) struct Signed {
    pub(crate) tx_hash: B256,
    pub(crate) raw: Vec<u8>,
}

/// Signs an intent at these fees, with the sidecar of its blob if it has one. Signatures are deterministic (RFC 6979),
/// so that the same form signed again has the same hash.
pub(crate) fn sign(
    signer: &PrivateKeySigner,
    chain_id: u64,
    intent: &Intent,
    sidecar: Option<&Sidecar>,
    fees: Fees,
) -> Result<Signed, L1Error> {
    let tx: TxEnvelope = match (sidecar, intent.to) {
        (Some(sidecar), Some(to)) => {
            let tx = TxEip4844 {
                chain_id,
                nonce: intent.nonce,
                gas_limit: intent.gas_limit,
                max_fee_per_gas: fees.max_fee_wei,
                max_priority_fee_per_gas: fees.max_priority_fee_wei,
                to,
                value: intent.value,
                access_list: Default::default(),
                blob_versioned_hashes: vec![sidecar.versioned_hash().into()],
                max_fee_per_blob_gas: fees.max_blob_fee_wei.unwrap_or_default(),
                input: intent.input.clone(),
            };
            let signature = signature(signer, tx.signature_hash())?;
            let tx = TxEip4844WithSidecar::from_tx_and_sidecar(tx, with_cell_proofs(sidecar));
            TxEip4844Variant::from(tx).into_signed(signature).into()
        }
        _ => {
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
            let signature = signature(signer, tx.signature_hash())?;
            tx.into_signed(signature).into()
        }
    };
    Ok(Signed { tx_hash: *tx.tx_hash(), raw: tx.encoded_2718() })
}

/// A signature of a hash.
pub(crate) fn signature(signer: &PrivateKeySigner, hash: B256) -> Result<Signature, L1Error> {
    signer.sign_hash_sync(&hash).map_err(|error| L1Error::Key {
        from: format!("account {}", signer.address()),
        reason: error.to_string(),
    })
}

/// The form with cell proofs (EIP-7594), which is the only one that networks accept since Osaka.
fn with_cell_proofs(sidecar: &Sidecar) -> BlobTransactionSidecarVariant {
    let proofs = sidecar.cell_proofs().iter().map(|proof| proof.0.into()).collect();
    let commitments = vec![sidecar.commitment().0.into()];
    // The length is fixed by the type.
    let blob = alloy::eips::eip4844::Blob::from_slice(sidecar.blob().as_bytes());
    BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594 {
        blobs: vec![blob],
        commitments,
        cell_proofs: proofs,
    })
}

/// Whether a node rejects a form for its price, on its own or compared with the one in its pool,
/// which only the node knows. Nodes agree on this word, not on a code. Source: error texts of
/// go-ethereum `core/txpool/errors.go`, and of anvil.
pub(crate) fn says_underpriced(error: &TransportError) -> bool {
    let message = error.as_error_resp().map(|payload| payload.message.to_lowercase());
    const TOO_LOW: [&str; 3] =
        ["underpriced", "less than block base fee", "less than block blob gas fee"];
    message.is_some_and(|m| TOO_LOW.iter().any(|words| m.contains(words)))
}

/// Whether a node rejects a form because a pool contains the account's transactions of the other kind: those
/// with a blob and those without exclude each other. Source: error texts of go-ethereum
/// `core/txpool/errors.go`, and of reth.
pub(crate) fn says_reserved(error: &TransportError) -> bool {
    let message = error.as_error_resp().map(|payload| payload.message.to_lowercase());
    message.is_some_and(|m| {
        m.contains("address already reserved") || m.contains("conflicts with existing transaction")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::{BlobId, Intent};
    use crate::sender::TxRequest;
    use alloy::consensus::Transaction as _;
    use alloy::eips::eip2718::Decodable2718;
    use alloy::primitives::Address;
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
            ("max fee per blob gas less than block blob gas fee", true),
            ("already known", false),
            ("nonce too low: next nonce 7, tx nonce 3", false),
            ("Insufficient funds for gas * price + value", false),
        ] {
            assert_eq!(says_underpriced(&rpc_failure(message)), expected, "{message}");
        }
        assert!(!says_underpriced(&TransportErrorKind::backend_gone()));
    }

    #[test]
    fn rejections_for_the_other_kind_are_understood() {
        for (message, expected) in [
            ("address already reserved", true),
            ("transaction type 2 conflicts with existing transaction for 0x00", true),
            ("replacement transaction underpriced", false),
        ] {
            assert_eq!(says_reserved(&rpc_failure(message)), expected, "{message}");
        }
    }

    /// EIP-4844: the hash that is signed and the hash of the transaction leave the sidecar out. EIP-7594: the
    /// sidecar has one proof per cell.
    #[test]
    fn a_blob_transaction_has_cell_proofs_and_a_hash_without_them() {
        let signer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
        let request = TxRequest::call("propose/1", Address::with_last_byte(9), vec![1, 2].into());
        let blob = Some(BlobId::empty());
        let intent = Intent { blob, ..Intent::new(request, 3, 90_000) };
        let fees = Fees::after_base_fee(50, 4).after_blob_base_fee(6);
        let sidecar = Sidecar::empty();
        let signed = sign(&signer, 31337, &intent, Some(&sidecar), fees).unwrap();

        let TxEnvelope::Eip4844(read) = TxEnvelope::decode_2718(&mut &signed.raw[..]).unwrap()
        else {
            panic!("another type");
        };
        assert_eq!(*read.hash(), signed.tx_hash);
        let recovered = read.signature().recover_address_from_prehash(&read.signature_hash());
        assert_eq!(recovered.unwrap(), signer.address());
        let TxEip4844Variant::TxEip4844WithSidecar(whole) = read.tx() else { panic!("no sidecar") };
        let BlobTransactionSidecarVariant::Eip7594(carried) = &whole.sidecar else {
            panic!("the form before EIP-7594");
        };
        assert_eq!(carried.cell_proofs.len(), rollmill_blob::CELLS);
        let tx = &whole.tx;
        assert_eq!(tx.clone().into_signed(*read.signature()).hash(), read.hash());
        assert_eq!(tx.blob_versioned_hashes().unwrap(), [sidecar.versioned_hash()]);
        assert_eq!((tx.max_fee_per_gas(), tx.max_fee_per_blob_gas()), (104, Some(12)));
        assert_eq!((tx.nonce(), tx.gas_limit(), tx.input().len()), (3, 90_000, 2));
        let again = sign(&signer, 31337, &intent, Some(&sidecar), fees).unwrap();
        assert_eq!(again.raw, signed.raw);
    }
}
