//! Deploys the contracts on the development L1, and writes the files by which the processes find them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rollmill_circuits::circuit::contracts as root_contracts;
use rollmill_l1::abi::{self, Rates, RootKey};
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::primitives::{Address, Bytes, U256};
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::alloy::sol_types::{SolCall, SolConstructor};
use rollmill_l1::blob::Sidecar;
use rollmill_l1::{
    Chosen, Followed, L1Client, L1Error, Plan, SenderConfig, Terms, TxRequest, TxSender,
    creation_code, deploy, root_key,
};
use rollmill_plonk::solidity;
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX};
use rollmill_protocol::{Config, EthAddress, Genesis};

use crate::accounts::genesis_archive_root;
use crate::keys::CircuitKeys;
use crate::{ANVIL_CHAIN_ID, Error, Options};

/// Keys of anvil's first accounts, which are public.
pub const DEPLOYER_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
pub const PROPOSER_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
pub const PROVER_KEY: &str = "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";

const WARMING_KEY: &str = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";

/// A slot is at least two L1 blocks long, since a proposal must land in the slot it was made in, and
/// anvil mines one block per second. One more block allows for a busy machine.
pub const SLOT_SECONDS: u32 = 3;
/// Proving takes minutes on a small machine: enough for a day.
const PROOF_WINDOW_SECONDS: u32 = 86_400;
/// Under faults a deadline may be missed, and the chain must continue after that.
const CHAOS_PROOF_WINDOW_SECONDS: u32 = 180;
/// Time in which anybody may still prove after the window, and that an epoch has after a late one before it.
const CHALLENGE_SECONDS: u32 = 60;
/// More than a run proposes before one of its epochs is proven.
const MAX_UNPROVEN_EPOCHS: u16 = 128;

/// Base units of the token in one unit on L2, as the contract has it.
pub const UNIT: u64 = 1_000_000_000;
/// Base units of one token.
pub const TOKEN: u128 = 1_000_000_000_000_000_000;
/// The deployer's tokens, of which it funds everything else.
const SUPPLY: u128 = 1_000_000_000 * TOKEN;
/// What the first block of an epoch locks, and how many epochs the proposer can open unproven.
const BOND: u128 = 1_000 * TOKEN;
const BONDS: u128 = 200;
/// Pays for proofs and blocks.
const TREASURY: u128 = 1_000_000 * TOKEN;

/// A rollup on L1.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub l1_url: String,
    pub rollup: Address,
    pub contracts: abi::Contracts,
    /// The fee asset.
    pub token: Address,
    /// Verifiers of ranges of one block and of more.
    pub verifiers: [Address; 2],
    /// L1 block before the deployment.
    pub l1_start: u64,
    /// First L1 block that has all of the deployment.
    pub l1_ready: u64,
    pub config: Config,
    /// What L1 pays at first.
    pub rates: Rates,
    /// Genesis file.
    pub genesis: PathBuf,
    /// File with the client circuit's key.
    pub client_key: PathBuf,
}

impl Deployment {
    /// The contracts whose events are followed.
    pub fn followed(&self) -> Followed {
        Followed { rollup: self.rollup, inbox: self.contracts.inbox }
    }

    /// The verifier of a range of so many blocks.
    pub fn verifier_of(&self, blocks: u64) -> Address {
        self.verifiers[usize::from(blocks > 1)]
    }
}

/// Slots of an epoch that holds `blocks` blocks: enough time to send the transactions of all of them from
/// any point of its first half on.
pub fn slots_per_epoch(blocks: u32) -> u32 {
    (4 * blocks).max(8)
}

/// The signer of one of the well-known keys above.
///
/// # Errors
/// [`Error::L1Key`] if the text is no key.
pub fn signer(key: &str) -> Result<PrivateKeySigner, Error> {
    key.parse().map_err(|_| Error::L1Key)
}

/// The parameters of a deployment with slot 0 at `genesis_time`.
pub(crate) fn config(genesis_time: u64, options: &Options) -> Config {
    Config {
        genesis_time,
        slot_seconds: SLOT_SECONDS.into(),
        slots_per_epoch: slots_per_epoch(options.blocks).into(),
        l2_gas_limit: 32 * L2_GAS_PER_TX,
        l2_gas_target: 16 * L2_GAS_PER_TX,
        da_gas_limit: 32 * DA_GAS_PER_TX,
        da_gas_target: 16 * DA_GAS_PER_TX,
        min_fee_per_gas: 1,
        message_subtree_height: 6,
    }
}

fn rates() -> Rates {
    Rates {
        feePerConstraint: 1_000_000,
        blockReward: U96::from(TOKEN),
        proposerBps: 8_000,
        attesterBps: 2_000,
        proverBps: 0,
        challengeShareBps: 5_000,
        committeeSize: 4,
        bondAmount: U96::from(BOND),
        minStake: U96::from(TOKEN),
    }
}

/// Deploys the contracts on L1, funds them, and writes the files that name them. `genesis` makes the genesis of
/// the rollup at an address under a config.
///
/// # Errors
/// [`Error::L1`] when L1 rejects it, [`Error::File`] for the artifacts or the files.
pub async fn deploy_contracts(
    l1: SocketAddr,
    contracts: &Path,
    data: &Path,
    keys: &CircuitKeys,
    genesis_time: u64,
    genesis: impl FnOnce(EthAddress, Config) -> Genesis,
    options: &Options,
) -> Result<Deployment, Error> {
    let l1_url = format!("http://{l1}");
    let client = L1Client::connect(std::slice::from_ref(&l1_url), ANVIL_CHAIN_ID).await?;
    let start = client.latest().await?;
    let sender_config =
        SenderConfig { poll_interval: Duration::from_millis(50), ..Default::default() };
    let intents = data.join("deployer-intents.json");
    let signer_of = signer(DEPLOYER_KEY)?;
    let sender = TxSender::open(client.clone(), signer_of, &intents, sender_config).await?;

    let [one_block, more_blocks] = deploy_verifiers(&sender, contracts, keys).await?;
    let verifiers = [one_block.verifier, more_blocks.verifier];
    let code = abi::BlobAvailability::BYTECODE.clone();
    let data_availability = deploy(&sender, "BlobAvailability", code).await?.address;
    let members = vec![signer(PROPOSER_KEY)?.address()];
    let committee = abi::FixedCommittee::constructorCall { members }.abi_encode();
    let code = abi::creation(&abi::FixedCommittee::BYTECODE, &committee);
    let selection = deploy(&sender, "FixedCommittee", code).await?.address;
    let (timelock, token) = deploy_token(&sender).await?;

    let plan = Plan::new(&sender, "rollup").await?;
    let config = config(genesis_time, options);
    let genesis = genesis(EthAddress(plan.rollup().into_array()), config);
    let window = match options.chaos {
        Some(_) => CHAOS_PROOF_WINDOW_SECONDS,
        None => PROOF_WINDOW_SECONDS,
    };
    let terms = Terms {
        genesis_archive_root: genesis_archive_root(&genesis)?,
        vk_root: keys.set().root(),
        config,
        one_block,
        more_blocks,
        proof_window_seconds: window,
        challenge_seconds: CHALLENGE_SECONDS,
        proof_grace_seconds: CHALLENGE_SECONDS,
        max_unproven_epochs: MAX_UNPROVEN_EPOCHS,
        data_availability,
        token,
        timelock,
        selection: Chosen::Existing(selection),
        rates: rates(),
    };
    let rollup = plan.deploy(&sender, "rollup", &terms).await?.address;
    let all = client.rollup(rollup).await?.info().await?.contracts;
    fund(&sender, token, &all, &genesis).await?;

    let deployment = Deployment {
        l1_url,
        rollup,
        contracts: all,
        token,
        verifiers,
        l1_start: start.number,
        l1_ready: client.latest().await?.number,
        config,
        rates: rates(),
        genesis: data.join("genesis.json"),
        client_key: data.join("client.key"),
    };
    let write =
        |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(Error::file("write", path));
    write(&deployment.genesis, genesis.to_json().as_bytes())?;
    write(&deployment.client_key, &keys.client_key().to_bytes())?;
    Ok(deployment)
}

/// Sends a blob to a development L1, from an account that does nothing else.
///
/// With the first one anvil loads the points of its KZG setup, which takes seconds. A proposal would miss its slot
/// meanwhile.
///
/// # Errors
/// [`Error::L1`].
pub async fn warm_up(l1: SocketAddr, intents: &Path) -> Result<(), Error> {
    let client = L1Client::connect(&[format!("http://{l1}")], ANVIL_CHAIN_ID).await?;
    let signer = signer(WARMING_KEY)?;
    let to = signer.address();
    let sender = TxSender::open(client, signer, intents, SenderConfig::default()).await?;
    let sidecar = Some(Arc::new(Sidecar::empty()));
    let request = TxRequest { sidecar, ..TxRequest::call("warm-up", to, Bytes::new()) };
    sender.send(request).await?;
    Ok(())
}

/// Deploys both generated verifiers, and opens their leaves in the key tree.
async fn deploy_verifiers(
    sender: &TxSender,
    contracts: &Path,
    keys: &CircuitKeys,
) -> Result<[RootKey; 2], Error> {
    let code = |name: &str| {
        let path = contracts.join("artifacts").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        Ok::<_, Error>(creation_code(&text)?)
    };
    let mut roots = Vec::new();
    for (circuit, name) in root_contracts() {
        // A verifier of other keys would reject every proof, after minutes of proving.
        let path = contracts.join("src").join(format!("{name}.sol"));
        let source = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let key = &keys.set().key(circuit).vk;
        if source != solidity::generate(key, keys.set().tau_g2(), &name, Some(circuit.pair_at())) {
            return Err(Error::VerifierStale { path });
        }
        let verifier = deploy(sender, &name, code(&name)?).await?.address;
        let opened = keys.set().opened(circuit);
        roots.push(root_key(verifier, opened.leaf.charged_rows, &opened.path)?);
    }
    let got = roots.len();
    roots.try_into().map_err(|_| {
        let reason = format!("{got} of them, two expected");
        Error::from(L1Error::Decode { what: "root circuits", reason })
    })
}

/// Deploys the fee asset, whose minter is a timelock that only the deployer can schedule.
async fn deploy_token(sender: &TxSender) -> Result<(Address, Address), Error> {
    let admin = sender.account();
    let timelock = abi::TimelockController::constructorCall {
        minDelay: U256::ZERO,
        proposers: vec![admin],
        executors: vec![Address::ZERO],
        admin,
    };
    let code = abi::creation(&abi::TimelockController::BYTECODE, &timelock.abi_encode());
    let timelock = deploy(sender, "TimelockController", code).await?.address;
    let token = abi::AztToken::constructorCall {
        minter: timelock,
        holder: admin,
        supply: U256::from(SUPPLY),
    };
    let code = abi::creation(&abi::AztToken::BYTECODE, &token.abi_encode());
    Ok((timelock, deploy(sender, "AztToken", code).await?.address))
}

/// Backs what genesis created on L2, pays for proofs and blocks, and posts the proposer's bonds.
async fn fund(
    sender: &TxSender,
    token: Address,
    contracts: &abi::Contracts,
    genesis: &Genesis,
) -> Result<(), Error> {
    let notes = genesis.notes.iter().map(|note| note.value);
    let units = notes.chain(genesis.fee_balances.iter().map(|balance| balance.amount));
    let backing = units.map(|units| U256::from(units) * U256::from(UNIT)).sum();
    let bonds = U256::from(BOND) * U256::from(BONDS);
    let proposer = signer(PROPOSER_KEY)?.address();
    let transfer = |to, value| abi::AztToken::transferCall { to, value }.abi_encode();
    let vault = contracts.bondVault;
    let approve = abi::AztToken::approveCall { spender: vault, value: bonds }.abi_encode();
    let deposit = abi::BondVault::depositCall { account: proposer, amount: bonds }.abi_encode();
    for (id, to, input) in [
        ("fund/fee-portal", token, transfer(contracts.feePortal, backing)),
        ("fund/rewards", token, transfer(contracts.rewards, U256::from(TREASURY))),
        ("fund/approve", token, approve),
        ("fund/bonds", vault, deposit),
    ] {
        let receipt = sender.send(TxRequest::call(id, to, Bytes::from(input))).await?;
        if !receipt.succeeded {
            let (id, tx_hash) = (id.to_owned(), receipt.tx_hash);
            return Err(L1Error::Reverted { id, tx_hash }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses are those that anvil prints when it starts.
    #[test]
    fn the_keys_are_those_of_anvils_accounts() {
        let address = |key: &str| signer(key).unwrap().address().to_string();
        assert_eq!(address(DEPLOYER_KEY), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(address(PROPOSER_KEY), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
        assert_eq!(address(PROVER_KEY), "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
        assert_eq!(address(WARMING_KEY), "0x90F79bf6EB2c4f870365E785982E1f101E93b906");
    }
}
