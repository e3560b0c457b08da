//! What a real node's pool accepts of one account. anvil accepts more.
//!
//! Source of the rules: go-ethereum, `core/txpool/legacypool` (`PriceBump: 10`), `core/txpool/blobpool`
//! (`PriceBump: 100`), `core/txpool/reserver.go` and `core/txpool/errors.go`.

use alloy::consensus::{Transaction as _, TxEip4844Variant, TxEnvelope};
use alloy::eips::eip7594::BlobTransactionSidecarVariant;
use rollmill_l1::blob::CELLS;

/// A rejection: code and text.
pub type RpcFailure = (i64, &'static str);

pub const KNOWN: RpcFailure = (-32000, "already known");
pub const UNDERPRICED: RpcFailure = (-32000, "replacement transaction underpriced");
pub const RESERVED: RpcFailure = (-32000, "address already reserved");
/// A blob transaction without its blob, or with the proofs that networks accepted before Osaka.
pub const SIDECAR: RpcFailure = (-32000, "missing or outdated sidecar in pooled transaction");

/// Whether a pool that contains `pool` of an account accepts `tx` of that account.
///
/// # Errors
/// The pool's rejection.
pub fn accepts(pool: &[TxEnvelope], tx: &TxEnvelope) -> Result<(), RpcFailure> {
    if let TxEnvelope::Eip4844(signed) = tx
        && !has_cell_proofs(signed.tx())
    {
        return Err(SIDECAR);
    }
    if pool.iter().any(|old| old.is_eip4844() != tx.is_eip4844()) {
        return Err(RESERVED);
    }
    match pool.iter().find(|old| (**old).nonce() == tx.nonce()) {
        Some(old) if !may_replace(old, tx) => Err(UNDERPRICED),
        _ => Ok(()),
    }
}

fn has_cell_proofs(tx: &TxEip4844Variant) -> bool {
    let TxEip4844Variant::TxEip4844WithSidecar(tx) = tx else { return false };
    let BlobTransactionSidecarVariant::Eip7594(sidecar) = &tx.sidecar else { return false };
    let hashes: Vec<_> = sidecar.versioned_hashes().collect();
    hashes == tx.tx.blob_versioned_hashes
        && sidecar.blobs.len() == hashes.len()
        && sidecar.cell_proofs.len() == CELLS * hashes.len()
}

fn may_replace(old: &TxEnvelope, new: &TxEnvelope) -> bool {
    let percent = if old.is_eip4844() { 200 } else { 110 };
    let fees = |tx: &TxEnvelope| {
        [Some(tx.max_fee_per_gas()), tx.max_priority_fee_per_gas(), tx.max_fee_per_blob_gas()]
    };
    let mut pairs = fees(old).into_iter().zip(fees(new));
    pairs.all(|pair| match pair {
        (Some(old), Some(new)) => new > old && new * 100 >= old * percent,
        _ => true,
    })
}
