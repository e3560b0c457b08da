//! Rust types of the contracts, generated from the committed artifacts, and conversions between them
//! and the protocol's types.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolInterface, SolValue};
use rollmill_protocol::{EpochRoot, EthAddress, Fr, field};

/// Types generated from `contracts/artifacts/Rollup.json`.
#[allow(missing_docs, unreachable_pub, missing_debug_implementations, clippy::all)]
pub mod rollup {
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug, PartialEq, Eq)]
        Rollup,
        "../contracts/artifacts/Rollup.json"
    );
}

/// Types generated from `contracts/artifacts/IVerifier.json`.
#[allow(missing_docs, unreachable_pub, missing_debug_implementations, clippy::all)]
pub mod verifier {
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug, PartialEq, Eq)]
        IVerifier,
        "../contracts/artifacts/IVerifier.json"
    );
}

/// Types generated from `contracts/artifacts/EpochVerifier.json`, for its errors.
#[allow(missing_docs, unreachable_pub, missing_debug_implementations, clippy::all)]
mod epoch_verifier {
    alloy::sol!(
        #[derive(Debug, PartialEq, Eq)]
        EpochVerifier,
        "../contracts/artifacts/EpochVerifier.json"
    );
}

use epoch_verifier::EpochVerifier;

pub use rollup::Rollup;
pub use rollup::Rollup::{BlockRecord, EpochArgs, Parameters, ProofRecord, ProposeArgs};
pub use verifier::IVerifier;

/// Converts a field element to a word of the contract.
pub fn word(value: &Fr) -> B256 {
    B256::from(field::to_bytes(value))
}

/// The field element of a contract's word; `None` when the word is not canonical.
pub fn element(word: &B256) -> Option<Fr> {
    field::from_bytes(&word.0)
}

/// The protocol's address as alloy's.
pub fn address(value: EthAddress) -> Address {
    Address::from(value.0)
}

/// The arguments of an epoch proof; the contract knows the other public inputs itself.
pub fn epoch_args(root: &EpochRoot) -> EpochArgs {
    let words = root.pair.to_fields();
    let pair = std::array::from_fn(|i| {
        words.get(i).map_or(U256::ZERO, |w| U256::from_be_bytes(word(w).0))
    });
    EpochArgs {
        firstBlock: root.first_block,
        lastBlock: root.last_block,
        prover: address(root.prover_id),
        outHash: word(&root.out_hash),
        numConstraints: root.num_constraints,
        pair,
    }
}

/// Calldata of `propose`.
pub fn propose_calldata(args: ProposeArgs, data: Vec<u8>) -> Bytes {
    Rollup::proposeCall { args, data: data.into() }.abi_encode().into()
}

/// Calldata of `submitEpochProof`.
pub fn submit_calldata(args: EpochArgs, proof: Vec<u8>) -> Bytes {
    Rollup::submitEpochProofCall { args, proof: proof.into() }.abi_encode().into()
}

/// Calldata of `prune`.
pub fn prune_calldata() -> Bytes {
    Rollup::pruneCall {}.abi_encode().into()
}

/// Creation code of a rollup with these parameters.
pub fn rollup_creation(parameters: &Parameters) -> Bytes {
    creation(&Rollup::BYTECODE, &parameters.abi_encode())
}

/// Creation code followed by its encoded constructor arguments.
pub fn creation(bytecode: &[u8], arguments: &[u8]) -> Bytes {
    [bytecode, arguments].concat().into()
}

/// Describes a revert's data: the contracts' own errors by name with their values, text reverts
/// unchanged. `None` for other data.
pub fn describe_revert(data: &[u8]) -> Option<String> {
    if let Ok(error) = Rollup::RollupErrors::abi_decode(data) {
        return Some(without_variant(&format!("{error:?}")));
    }
    if let Ok(error) = EpochVerifier::EpochVerifierErrors::abi_decode(data) {
        return Some(without_variant(&format!("{error:?}")));
    }
    alloy::sol_types::decode_revert_reason(data).filter(|text| !text.is_empty())
}

/// Extracts `Name { … }` from `Name(Name { … })`, the form in which the generated types print
/// themselves.
fn without_variant(text: &str) -> String {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(text).to_owned()
}
