//! Rust types of the contracts, generated from the committed artifacts, and conversions between them
//! and the protocol's types.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolInterface, SolValue};
use rollmill_protocol::{Config, DecodeError, EpochRoot, EthAddress, Fr, Header, Opening, field};

/// Types generated from `contracts/artifacts/NAME.json`, each contract in a module of its own.
macro_rules! bindings {
    ($($(#[$doc:meta])* $module:ident, $contract:ident, $file:literal;)+) => {$(
        $(#[$doc])*
        #[allow(missing_docs, unreachable_pub, missing_debug_implementations, clippy::all)]
        pub mod $module {
            alloy::sol!(
                #[sol(rpc)]
                #[derive(Debug, PartialEq, Eq)]
                $contract,
                $file
            );
        }
        pub use $module::$contract;
    )+};
}

bindings! {
    /// The chain of blocks and its proofs.
    rollup, Rollup, "../contracts/artifacts/Rollup.json";
    /// Messages to L2.
    inbox, Inbox, "../contracts/artifacts/Inbox.json";
    /// Messages from L2.
    outbox, Outbox, "../contracts/artifacts/Outbox.json";
    /// Deposits and withdrawals of the fee asset.
    fee_portal, FeePortal, "../contracts/artifacts/FeePortal.json";
    /// What provers, proposers and signers earn.
    rewards, Rewards, "../contracts/artifacts/Rewards.json";
    /// Bonds of proposers.
    bond_vault, BondVault, "../contracts/artifacts/BondVault.json";
    /// A committee that does not change.
    fixed_committee, FixedCommittee, "../contracts/artifacts/FixedCommittee.json";
    /// Validators with a stake, and the committees that are drawn of them.
    staking, Staking, "../contracts/artifacts/Staking.json";
    /// Votes of the token's holders.
    governance, Governance, "../contracts/artifacts/Governance.json";
    /// Delays what the votes decide.
    timelock_controller, TimelockController, "../contracts/artifacts/TimelockController.json";
    /// All deployments, and the canonical one.
    deployments, Deployments, "../contracts/artifacts/Deployments.json";
    /// A deployment's contracts and rates.
    registry, Registry, "../contracts/artifacts/Registry.json";
    /// The fee asset.
    azt_token, AztToken, "../contracts/artifacts/AztToken.json";
    /// What a verifier of a root circuit answers.
    verifier, IVerifier, "../contracts/artifacts/IVerifier.json";
    /// Block data in blobs.
    blob_availability, BlobAvailability, "../contracts/artifacts/BlobAvailability.json";
}

pub use registry::IRegistry::Rates;
pub use rollup::IRollup::{
    Attestations, BlockRecord, Config as L1Config, Contracts, EpochArgs, EpochRecord, Parameters,
    ProposeArgs, RootKey, Schedule,
};
pub use rollup::Rollup::DaInput;

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

/// The protocol's parameters as the contract's.
///
/// # Errors
/// [`DecodeError`] names the first one that is out of its bounds.
pub fn l1_config(of: &Config) -> Result<L1Config, DecodeError> {
    of.check()?;
    // The bounds are below the types' ends.
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(L1Config {
        genesisTime: of.genesis_time,
        slotSeconds: narrow(of.slot_seconds),
        slotsPerEpoch: narrow(of.slots_per_epoch),
        l2GasLimit: narrow(of.l2_gas_limit),
        l2GasTarget: narrow(of.l2_gas_target),
        daGasLimit: narrow(of.da_gas_limit),
        daGasTarget: narrow(of.da_gas_target),
        minFeePerGas: of.min_fee_per_gas,
        messageSubtreeHeight: u8::try_from(of.message_subtree_height).unwrap_or(u8::MAX),
    })
}

/// The arguments of an epoch proof; the contract knows the other public inputs itself.
pub fn epoch_args(root: &EpochRoot) -> EpochArgs {
    let words = root.pair.to_fields();
    let pair = std::array::from_fn(|i| {
        words.get(i).map_or(U256::ZERO, |w| U256::from_be_bytes(word(w).0))
    });
    EpochArgs {
        epoch: root.epoch,
        lastBlock: root.last_block,
        prover: address(root.constants.prover_id),
        numConstraints: root.num_constraints,
        pair,
    }
}

/// What a proposer states of a block with this header.
pub fn propose_args(header: &Header, archive_root: &Fr) -> ProposeArgs {
    ProposeArgs {
        blockNumber: header.block_number,
        slot: alloy::primitives::aliases::U48::saturating_from(header.slot),
        previousArchiveRoot: word(&header.last_archive_root),
        archiveRoot: word(archive_root),
        headerHash: word(&header.hash()),
        inHash: word(&header.in_hash),
        outRoot: word(&header.out_root),
        coinbase: address(header.coinbase),
        totalFees: header.total_fees,
        txCount: u16::try_from(header.tx_count).unwrap_or(u16::MAX),
        feePerL2Gas: header.fee_per_l2_gas,
        feePerDaGas: header.fee_per_da_gas,
        l2GasUsed: header.l2_gas_used,
        daGasUsed: header.da_gas_used,
    }
}

/// The first blob of the transaction as a block's data, opened as stated with this KZG proof.
pub fn da_input(opening: &Opening, proof: &[u8]) -> DaInput {
    DaInput {
        blobIndex: U256::ZERO,
        z: U256::from_be_bytes(word(&opening.z).0),
        y: U256::from_be_bytes(opening.y_bytes()),
        commitment: opening.commitment.0.to_vec().into(),
        proof: proof.to_vec().into(),
    }
}

/// What a block without transactions has for data.
pub fn no_data() -> DaInput {
    DaInput {
        blobIndex: U256::ZERO,
        z: U256::ZERO,
        y: U256::ZERO,
        commitment: Bytes::new(),
        proof: Bytes::new(),
    }
}

/// Calldata of `propose`.
pub fn propose_calldata(args: ProposeArgs, attestations: Attestations, data: DaInput) -> Bytes {
    Rollup::proposeCall { args, attestations, data }.abi_encode().into()
}

/// Calldata of `submitEpochProof`.
pub fn submit_calldata(args: EpochArgs, proof: Vec<u8>) -> Bytes {
    Rollup::submitEpochProofCall { args, proof: proof.into() }.abi_encode().into()
}

/// Calldata of `prune`.
pub fn prune_calldata() -> Bytes {
    Rollup::pruneCall {}.abi_encode().into()
}

/// Creation code followed by its encoded constructor arguments.
pub fn creation(bytecode: &[u8], arguments: &[u8]) -> Bytes {
    [bytecode, arguments].concat().into()
}

/// Creation code of a rollup with these parameters.
pub fn rollup_creation(parameters: &Parameters) -> Bytes {
    creation(&Rollup::BYTECODE, &parameters.abi_encode())
}

/// Describes a revert's data: the contracts' own errors by name with their values, text reverts
/// unchanged. `None` for other data.
pub fn describe_revert(data: &[u8]) -> Option<String> {
    macro_rules! own {
        ($($errors:path),+ $(,)?) => {$(
            if let Ok(error) = <$errors>::abi_decode(data) {
                return Some(without_variant(&format!("{error:?}")));
            }
        )+};
    }
    own!(
        Rollup::RollupErrors,
        Inbox::InboxErrors,
        Outbox::OutboxErrors,
        FeePortal::FeePortalErrors,
        Rewards::RewardsErrors,
        BondVault::BondVaultErrors,
        FixedCommittee::FixedCommitteeErrors,
        Staking::StakingErrors,
        Governance::GovernanceErrors,
        TimelockController::TimelockControllerErrors,
        Deployments::DeploymentsErrors,
        Registry::RegistryErrors,
        BlobAvailability::BlobAvailabilityErrors,
        AztToken::AztTokenErrors,
    );
    alloy::sol_types::decode_revert_reason(data).filter(|text| !text.is_empty())
}

/// Extracts `Name { … }` from `Name(Name { … })`, the form in which the generated types print
/// themselves.
fn without_variant(text: &str) -> String {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(text).to_owned()
}
