//! The command lines of the network's own processes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::deployment::{Deployment, PROPOSER_KEY, PROVER_KEY, signer};
use crate::keys::CircuitKeys;
use crate::process::Program;
use crate::{ANVIL_CHAIN_ID, Error, Network, Options};

/// How long a process with a node may take to open its database and follow L1.
pub(crate) const NODE_LIMIT: Duration = Duration::from_secs(120);
/// How long an agent may take to load its keys and SRS.
const AGENT_LIMIT: Duration = Duration::from_secs(600);
/// Name of a prover node that only follows L1.
pub const FOLLOWER: &str = "follower";
/// Variable in which sequencer and prover node find their development key.
const KEY_VARIABLE: &str = "ROLLMILL_L1_KEY";
/// The sequencer waits for full blocks for as long as devnet itself waits.
const MAX_WAIT_SECONDS: u64 = 86_400;

/// Name of agent `i`, counted from 1.
pub fn agent_name(i: u32) -> String {
    format!("agent-{i}")
}

/// Flags of the node inside sequencer and prover node. Its JSON-RPC is on `listen`.
fn with_node(
    program: Program,
    network: &Network,
    deployment: &Deployment,
    listen: SocketAddr,
) -> Program {
    let data = network.dir.data(&program.name);
    let program_name = program.name.clone();
    program
        .flag("--node-data-dir", data)
        .flag("--node-l1-urls", network.l1_urls.join(","))
        .flag("--node-chain-id", ANVIL_CHAIN_ID.to_string())
        .flag("--node-rollup", deployment.rollup.to_string())
        .flag("--node-l1-start", deployment.l1_start.to_string())
        .flag("--node-genesis", &deployment.genesis)
        .flag("--node-client-key", &deployment.client_key)
        .flag("--node-listen", listen.to_string())
        .flag("--node-blob-archive", network.dir.data(&format!("{}-blobs", program_name)))
        .flag("--node-beacon-urls", &deployment.l1_url)
        .flag("--node-beacon-ids", "numbers")
}

/// Starts the sequencer. Returns its node's JSON-RPC address.
///
/// # Errors
/// As [`Network::start`].
pub async fn start_sequencer(
    network: &mut Network,
    deployment: &Deployment,
    options: &Options,
) -> Result<SocketAddr, Error> {
    let (listen, admin) = (network.ports.free()?, network.ports.free()?);
    // Under faults a transfer may be lost, so that a block never fills.
    let patience_seconds = if options.chaos.is_some() { 2 } else { MAX_WAIT_SECONDS };
    // A claim waits for the block of its deposit, so that blocks cannot all be full.
    let (min_txs, blocks_per_epoch) =
        if options.has_bridge() { (1, 0) } else { (options.txs, options.blocks) };
    let program = Program::new("sequencer", network.programs.own("rollmill-sequencer")?);
    let program = with_node(program, network, deployment, listen)
        .env(KEY_VARIABLE, PROPOSER_KEY)
        .flag("--intents", network.dir.data("sequencer-intents.json"))
        .flag("--committee-signatures", network.dir.data("sequencer-signatures.redb"))
        .flag("--coinbase", signer(PROPOSER_KEY)?.address().to_string())
        .flag("--min-txs", min_txs.to_string())
        .flag("--max-txs", options.txs.to_string())
        .flag("--max-wait-seconds", patience_seconds.to_string())
        .flag("--blocks-per-epoch", blocks_per_epoch.to_string())
        .framed(admin);
    network.start(program, NODE_LIMIT).await?;
    Ok(listen)
}

/// Name of prover node `i`, counted from 1.
pub fn prover_node_name(i: u32) -> String {
    if i == 1 { "prover-node".to_owned() } else { format!("prover-node-{i}") }
}

/// Starts a prover node. Returns its node's JSON-RPC address.
///
/// # Errors
/// As [`Network::start`].
pub async fn start_prover_node(
    network: &mut Network,
    deployment: &Deployment,
    keys: &CircuitKeys,
    broker: SocketAddr,
    sequencer: SocketAddr,
    name: &str,
    options: &Options,
) -> Result<SocketAddr, Error> {
    let (listen, admin) = (network.ports.free()?, network.ports.free()?);
    let program = Program::new(name, network.programs.own("rollmill-prover-node")?);
    let program = with_node(program, network, deployment, listen)
        .env(KEY_VARIABLE, PROVER_KEY)
        .flag("--intents", network.dir.data(&format!("{name}-intents.json")))
        .flag("--prover-id", signer(PROVER_KEY)?.address().to_string())
        .flag("--broker", format!("http://{broker}"))
        .flag("--tx-sources", format!("http://{sequencer}"))
        .flag("--keys-dir", keys.folder())
        // The sequencer adds no more blocks to an epoch, so there is nothing to wait for.
        .flag("--prefix-blocks", options.first_blocks().to_string())
        .framed(admin);
    // Tampering needs the root proof while L1 has not accepted it, and a follower to inspect.
    let dry = options.tamper.is_some() || name == FOLLOWER;
    let program = if dry { program.arg("--dry-run") } else { program };
    network.start(program, NODE_LIMIT).await?;
    Ok(listen)
}

/// Starts agent `i`.
///
/// # Errors
/// As [`Network::start`].
pub async fn start_agent(
    network: &mut Network,
    keys: &CircuitKeys,
    broker: SocketAddr,
    i: u32,
) -> Result<(), Error> {
    let admin = network.ports.free()?;
    let name = agent_name(i);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let program = Program::new(&name, network.programs.own("rollmill-agent")?)
        .flag("--broker", format!("http://{broker}"))
        .flag("--name", &name)
        .flag("--keys-dir", keys.folder())
        .flag("--chain-id", ANVIL_CHAIN_ID.to_string())
        // They share the machine, and the last proofs of an epoch wait for one another: then one has all of it.
        .flag("--threads", cores.to_string())
        // When the network is taken down, agents release jobs instead of finishing them.
        .flag("--drain-seconds", "0")
        .framed(admin);
    network.start(program, AGENT_LIMIT).await
}
