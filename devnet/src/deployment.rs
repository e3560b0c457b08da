//! Deploys the contracts on the development L1, and writes the files by which the processes find them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollmill_circuits::circuit::contracts as root_contracts;
use rollmill_l1::abi::{self, Parameters, word};
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{L1Client, SenderConfig, TxSender, creation_code, deploy, deploy_rollup};
use rollmill_plonk::solidity;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::{Fr, Genesis};

use crate::keys::CircuitKeys;
use crate::{ANVIL_CHAIN_ID, Error, Options};

/// Keys of anvil's first accounts, which are public.
pub const DEPLOYER_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
pub const PROPOSER_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
pub const PROVER_KEY: &str = "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";

/// Number of the deployment on the development L1.
pub const ROLLUP_VERSION: u64 = 1;
/// A slot is at least two L1 blocks long, since a proposal must land in the slot it was made in, and
/// anvil mines one block per second. One more block allows for a busy machine.
pub const SLOT_SECONDS: u32 = 3;
/// Proving takes minutes on a small machine and L1 blocks come each second: enough for a day.
const PROOF_WINDOW_L1_BLOCKS: u64 = 100_000;
/// Under faults a window may be missed, and the chain must continue after that.
const CHAOS_PROOF_WINDOW_L1_BLOCKS: u64 = 240;

/// A rollup on L1.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub l1_url: String,
    pub rollup: Address,
    pub verifier: Address,
    /// L1 block before the deployment.
    pub l1_start: u64,
    /// First L1 block that has all of the deployment.
    pub l1_ready: u64,
    pub slots_per_epoch: u32,
    /// Genesis file.
    pub genesis: PathBuf,
    /// File with the client circuit's key.
    pub client_key: PathBuf,
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

/// Deploys verifier and rollup on L1 and writes the files that name them.
///
/// `archive_root` is the archive's root after the genesis block.
///
/// # Errors
/// [`Error::L1`] when L1 rejects it, [`Error::File`] for the artifact or the files.
pub async fn deploy_contracts(
    l1: SocketAddr,
    contracts: &Path,
    data: &Path,
    keys: &CircuitKeys,
    genesis: &Genesis,
    archive_root: Fr,
    options: &Options,
) -> Result<Deployment, Error> {
    let l1_url = format!("http://{l1}");
    let client = L1Client::connect(std::slice::from_ref(&l1_url), ANVIL_CHAIN_ID).await?;
    let start = client.latest().await?;
    let config = SenderConfig { poll_interval: Duration::from_millis(50), ..Default::default() };
    let intents = data.join("deployer-intents.json");
    let sender = TxSender::open(client.clone(), signer(DEPLOYER_KEY)?, &intents, config).await?;

    let verifier = deploy_verifier(&sender, contracts, keys).await?;
    let slots_per_epoch = slots_per_epoch(options.blocks);
    let parameters = Parameters {
        genesisArchiveRoot: word(&archive_root),
        vkRoot: word(&keys.set().root()),
        verifier,
        proposer: signer(PROPOSER_KEY)?.address(),
        rollupVersion: ROLLUP_VERSION,
        protocolVersion: PROTOCOL_VERSION,
        genesisTime: genesis.timestamp,
        slotSeconds: SLOT_SECONDS,
        slotsPerEpoch: slots_per_epoch,
        proofWindowL1Blocks: match options.chaos {
            Some(_) => CHAOS_PROOF_WINDOW_L1_BLOCKS,
            None => PROOF_WINDOW_L1_BLOCKS,
        },
    };
    let rollup = deploy_rollup(&sender, "rollup", &parameters).await?.address;

    let deployment = Deployment {
        l1_url,
        rollup,
        verifier,
        l1_start: start.number,
        l1_ready: client.latest().await?.number,
        slots_per_epoch,
        genesis: data.join("genesis.json"),
        client_key: data.join("client.key"),
    };
    let write =
        |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(Error::file("write", path));
    write(&deployment.genesis, genesis.to_json().as_bytes())?;
    write(&deployment.client_key, &keys.client_key().to_bytes())?;
    Ok(deployment)
}

/// Deploys both generated verifiers and the contract that chooses between them.
async fn deploy_verifier(
    sender: &TxSender,
    contracts: &Path,
    keys: &CircuitKeys,
) -> Result<Address, Error> {
    let code = |name: &str| {
        let path = contracts.join("artifacts").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        Ok::<_, Error>(creation_code(&text)?)
    };
    let mut words = Vec::new();
    for (circuit, name) in root_contracts() {
        // A verifier of other keys would reject every proof, after minutes of proving.
        let path = contracts.join("src").join(format!("{name}.sol"));
        let source = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let key = &keys.set().key(circuit).vk;
        if source != solidity::generate(key, keys.set().tau_g2(), &name, circuit.pair_at()) {
            return Err(Error::VerifierStale { path });
        }
        let address = deploy(sender, &name, code(&name)?).await?.address;
        words.extend_from_slice(address.into_word().as_slice());
    }
    let chooser = abi::creation(&code("EpochVerifier")?, &words);
    Ok(deploy(sender, "EpochVerifier", chooser).await?.address)
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
    }
}
