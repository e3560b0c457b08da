//! The command lines of the network's own processes.

use std::net::SocketAddr;
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;

use crate::deployment::{Deployment, PROVER_KEY, member_key, signer};
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
/// Variable in which the members of a committee find their token.
const TOKEN_VARIABLE: &str = "ROLLMILL_COMMITTEE_TOKEN";
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
        .flag("--deployment", &deployment.file)
        .flag("--node-listen", listen.to_string())
        .flag("--node-blob-archive", network.dir.data(&format!("{}-blobs", program_name)))
        .flag("--node-beacon-urls", &deployment.l1_url)
        .flag("--node-beacon-ids", "numbers")
}

/// A member of the committee with its node.
#[derive(Debug, Clone)]
pub(crate) struct Sequencer {
    pub name: String,
    /// Key of its L1 account.
    pub key: String,
    pub min_txs: u32,
    pub max_txs: u32,
    /// Longest wait for `min_txs` transactions.
    pub max_wait_seconds: u64,
    /// Most blocks of an epoch; 0 for as many as it has slots.
    pub blocks_per_epoch: u32,
    /// Its place in a committee of several.
    pub seat: Option<Seat>,
}

/// A member's place in a committee of several.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// Where it attests.
    pub listen: SocketAddr,
    /// The other members' accounts, and where they attest.
    pub peers: Vec<(Address, SocketAddr)>,
    /// The other members' nodes, for client proofs.
    pub nodes: Vec<SocketAddr>,
    /// What all members send each other; a secret.
    pub token: String,
}

impl Seat {
    /// The places of all members, in their order.
    fn all(
        accounts: &[Address],
        nodes: &[SocketAddr],
        listen: &[SocketAddr],
        token: &str,
    ) -> Vec<Self> {
        let seat = |(i, at): (usize, &SocketAddr)| {
            let others = || (0..accounts.len()).filter(move |other| *other != i);
            Self {
                listen: *at,
                peers: others().map(|other| (accounts[other], listen[other])).collect(),
                nodes: others().map(|other| nodes[other]).collect(),
                token: token.to_owned(),
            }
        };
        listen.iter().enumerate().map(seat).collect()
    }

    /// The settings of its sequencer. The token is not among them: it is in the environment.
    fn flags(&self) -> Vec<(&'static str, String)> {
        let peers: Vec<String> = self
            .peers
            .iter()
            .map(|(account, address)| format!("{account}=http://{address}"))
            .collect();
        let token = format!("env:{TOKEN_VARIABLE}");
        vec![
            ("--committee-listen", self.listen.to_string()),
            ("--committee-listen-token", token.clone()),
            ("--committee-peers", peers.join(",")),
            ("--committee-peers-token", token),
            ("--node-tx-sources", urls(&self.nodes)),
        ]
    }
}

impl Sequencer {
    /// The sequencer of a deployment whose blocks are made as soon as there is something to put into them.
    pub(crate) fn eager(name: &str, key: &str, max_txs: u32) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_owned(),
            min_txs: 1,
            max_txs,
            max_wait_seconds: MAX_WAIT_SECONDS,
            blocks_per_epoch: 0,
            seat: None,
        }
    }

    /// Member `i` of a network's committee, counted from 1.
    fn of(options: &Options, i: u32) -> Self {
        // Under faults a transfer may be lost, so that a block never fills; between two rounds a single one is sent.
        let is_short = options.chaos.is_some() || options.terminate;
        let max_wait_seconds = if is_short { 2 } else { MAX_WAIT_SECONDS };
        // A claim waits for the block of its deposit, so that blocks cannot all be full.
        let (min_txs, blocks_per_epoch) =
            if options.has_bridge() { (1, 0) } else { (options.txs, options.blocks) };
        let eager = Self::eager(&sequencer_name(i), &member_key(i), options.txs);
        Self { min_txs, max_wait_seconds, blocks_per_epoch, ..eager }
    }

    /// Starts it with its node's JSON-RPC at `listen`.
    ///
    /// # Errors
    /// As [`Network::start`].
    pub(crate) async fn start(
        &self,
        network: &mut Network,
        deployment: &Deployment,
        listen: SocketAddr,
    ) -> Result<(), Error> {
        let admin = network.ports.free()?;
        let name = &self.name;
        let program = Program::new(name, network.programs.own("rollmill-sequencer")?);
        let program = with_node(program, network, deployment, listen)
            .env(KEY_VARIABLE, &self.key)
            .flag("--intents", network.dir.data(&format!("{name}-intents.json")))
            .flag("--committee-signatures", network.dir.data(&format!("{name}-signatures.redb")))
            .flag("--coinbase", signer(&self.key)?.address().to_string())
            .flag("--min-txs", self.min_txs.to_string())
            .flag("--max-txs", self.max_txs.to_string())
            .flag("--max-wait-seconds", self.max_wait_seconds.to_string())
            .flag("--blocks-per-epoch", self.blocks_per_epoch.to_string())
            .framed(admin);
        let program = match &self.seat {
            None => program,
            Some(seat) => {
                let flags = seat.flags().into_iter();
                let program = program.env(TOKEN_VARIABLE, &seat.token);
                flags.fold(program, |program, (flag, value)| program.flag(flag, value))
            }
        };
        network.start(program, NODE_LIMIT).await
    }
}

/// Name of the sequencer of member `i`, counted from 1.
pub fn sequencer_name(i: u32) -> String {
    if i == 1 { "sequencer".to_owned() } else { format!("sequencer-{i}") }
}

/// Starts the sequencer of each member of the committee. Returns their nodes' JSON-RPC addresses.
///
/// # Errors
/// As [`Network::start`].
pub async fn start_committee(
    network: &mut Network,
    deployment: &Deployment,
    options: &Options,
) -> Result<Vec<SocketAddr>, Error> {
    let ports = |network: &mut Network| -> Result<Vec<SocketAddr>, Error> {
        (0..options.committee).map(|_| network.ports.free()).collect()
    };
    let nodes = ports(network)?;
    let seats = match options.committee {
        1 => vec![None],
        _ => {
            let (listen, token) = (ports(network)?, format!("{:032x}", rand::random::<u128>()));
            let seats = Seat::all(&deployment.members, &nodes, &listen, &token);
            seats.into_iter().map(Some).collect()
        }
    };
    for ((i, seat), listen) in (1..).zip(seats).zip(&nodes) {
        Sequencer { seat, ..Sequencer::of(options, i) }.start(network, deployment, *listen).await?;
    }
    Ok(nodes)
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
    sequencers: &[SocketAddr],
    name: &str,
    options: &Options,
) -> Result<SocketAddr, Error> {
    let prover = ProverNode {
        name: name.to_owned(),
        key: PROVER_KEY.to_owned(),
        // The sequencer adds no more blocks to an epoch, so there is nothing to wait for.
        prefix_blocks: options.first_blocks(),
        // Tampering needs the root proof while L1 has not accepted it, and a follower to inspect.
        dry_run: options.tamper.is_some() || name == FOLLOWER,
    };
    prover.start(network, deployment, keys, broker, sequencers).await
}

/// A prover node.
#[derive(Debug, Clone)]
pub(crate) struct ProverNode {
    pub name: String,
    /// Key of its L1 account.
    pub key: String,
    /// Blocks of an epoch after which it proves without waiting for more.
    pub prefix_blocks: u32,
    /// Whether it sends nothing to L1.
    pub dry_run: bool,
}

impl ProverNode {
    /// Starts it; it asks the nodes of `sources` for client proofs. Returns its node's JSON-RPC address.
    ///
    /// # Errors
    /// As [`Network::start`].
    pub(crate) async fn start(
        &self,
        network: &mut Network,
        deployment: &Deployment,
        keys: &CircuitKeys,
        broker: SocketAddr,
        sources: &[SocketAddr],
    ) -> Result<SocketAddr, Error> {
        let (listen, admin) = (network.ports.free()?, network.ports.free()?);
        let name = &self.name;
        let program = Program::new(name, network.programs.own("rollmill-prover-node")?);
        let program = with_node(program, network, deployment, listen)
            .env(KEY_VARIABLE, &self.key)
            .flag("--intents", network.dir.data(&format!("{name}-intents.json")))
            .flag("--prover-id", signer(&self.key)?.address().to_string())
            .flag("--broker", format!("http://{broker}"))
            .flag("--tx-sources", urls(sources))
            .flag("--keys-dir", keys.folder())
            .flag("--prefix-blocks", self.prefix_blocks.to_string())
            .framed(admin);
        let program = if self.dry_run { program.arg("--dry-run") } else { program };
        network.start(program, NODE_LIMIT).await?;
        Ok(listen)
    }
}

/// URLs as a setting takes several.
fn urls(addresses: &[SocketAddr]) -> String {
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    urls.join(",")
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

#[cfg(test)]
mod tests {
    use rollmill_sequencer::config::Config;

    use super::*;

    /// Goal: each member knows all others and nobody else. Method: the sequencer's own settings, read from the flags.
    #[test]
    fn each_member_is_told_of_every_other_one_and_not_of_itself() {
        for members in 2..=7_u8 {
            let port = |base: u16, i: u8| SocketAddr::from(([127, 0, 0, 1], base + u16::from(i)));
            let accounts: Vec<Address> = (0..members).map(Address::repeat_byte).collect();
            let at = |base| (0..members).map(|i| port(base, i)).collect::<Vec<_>>();
            let seats = Seat::all(&accounts, &at(100), &at(200), "secret");
            assert_eq!(seats.len(), usize::from(members));
            for (i, seat) in (0..members).zip(seats) {
                let mut flags = seat.flags();
                assert!(flags.iter().all(|(_, value)| !value.contains("secret")), "{flags:?}");
                // The program reads a token where it is named, and here it is in no environment.
                let named = |(_, value): &(&str, String)| *value == format!("env:{TOKEN_VARIABLE}");
                assert_eq!(flags.extract_if(.., |flag| named(flag)).count(), 2);
                let words: Vec<String> =
                    flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let loaded = rollmill_service::load::<Config>("rollmill-sequencer", &words, &[]);
                let config = loaded.unwrap().0;
                let committee = &config.committee;
                assert_eq!(committee.listen, Some(port(200, i).to_string()));
                let others = || (0..members).filter(|other| *other != i);
                let expected: Vec<_> = others()
                    .map(|other| ([other; 20], format!("http://{}", port(200, other))))
                    .collect();
                let got = committee.others().iter().map(|peer| (peer.account.0, peer.url.clone()));
                let trimmed = got
                    .map(|(account, url)| (account, url.as_str().trim_end_matches('/').to_owned()));
                assert_eq!(trimmed.collect::<Vec<_>>(), expected);
                assert_eq!(config.node.tx_sources.len(), usize::from(members - 1));
            }
        }
    }
}
