//! Deploys contracts on L1.

use alloy::primitives::{Address, Bytes};

use crate::abi::{self, Parameters};
use crate::error::L1Error;
use crate::sender::{TxReceipt, TxRequest, TxSender};

/// A deployed contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub address: Address,
    pub receipt: TxReceipt,
}

/// Creates a contract from creation code, constructor arguments included ([`abi::creation`]).
///
/// `id` names the transaction: the same id after a restart returns the same contract.
///
/// # Errors
/// As [`TxSender::send`], and [`L1Error::Reverted`] if the constructor reverted.
pub async fn deploy(sender: &TxSender, id: &str, code: Bytes) -> Result<Deployment, L1Error> {
    let receipt = sender.send(TxRequest::create(id, code)).await?;
    match receipt.contract_address {
        Some(address) if receipt.succeeded => Ok(Deployment { address, receipt }),
        _ => Err(L1Error::Reverted { id: id.to_owned(), tx_hash: receipt.tx_hash }),
    }
}

/// Creates a rollup. Its verifier must be on L1 already.
pub async fn deploy_rollup(
    sender: &TxSender,
    id: &str,
    parameters: &Parameters,
) -> Result<Deployment, L1Error> {
    deploy(sender, id, abi::rollup_creation(parameters)).await
}

/// The creation code in an artifact as `contracts/build.js` writes it, or as forge does.
pub fn creation_code(artifact: &str) -> Result<Bytes, L1Error> {
    let bad = |reason: String| L1Error::Decode { what: "contract artifact", reason };
    let value: serde_json::Value =
        serde_json::from_str(artifact).map_err(|error| bad(error.to_string()))?;
    let code = &value["bytecode"];
    let text = code.as_str().or_else(|| code["object"].as_str());
    let text = text.ok_or_else(|| bad("field `bytecode` is missing".to_owned()))?;
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|error| bad(format!("field `bytecode`: {error}")))?;
    if bytes.is_empty() {
        return Err(bad("field `bytecode` is empty: the contract is abstract".to_owned()));
    }
    Ok(bytes.into())
}
