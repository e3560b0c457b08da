//! The parts of bringing a network up.

use std::net::SocketAddr;

use rollmill_l1::L1Client;
use rollmill_node_client::NodeClient;
use rollmill_pxe::keys::Keys;

use super::{Bridged, ENDPOINTS};
use crate::bridge::Bridge;
use crate::deployment::Deployment;
use crate::endpoint::Endpoint;
use crate::keys::CircuitKeys;
use crate::{Error, Network, Options, Progress, accounts, services};

/// Checks what may be missing, which costs nothing before minutes are spent on keys.
pub(super) fn check_programs(network: &Network) -> Result<(), Error> {
    for program in
        ["rollmill-broker", "rollmill-agent", "rollmill-sequencer", "rollmill-prover-node"]
    {
        network.programs.own(program)?;
    }
    network.programs.contracts()?;
    Ok(())
}

/// The bridge of a run that has one. The account that claims the deposit comes last in `account_keys`.
pub(super) async fn open_bridge(
    options: &Options,
    network: &Network,
    l1: &L1Client,
    account_keys: &mut Vec<Keys>,
) -> Result<Option<Bridged>, Error> {
    if !options.has_bridge() {
        return Ok(None);
    }
    // From a seed of its own, so that the other accounts are the same with and without it.
    let claimant = accounts::account_keys(!options.seed, 1).remove(0);
    let address = claimant.address().to_field();
    let bridge = Bridge::open(l1, network).await?;
    let claimant_at = account_keys.len();
    account_keys.push(claimant);
    let claimant = (claimant_at, address);
    Ok(Some(Bridged { bridge, claimant, withdrawal: None, proven: Vec::new() }))
}

/// Starts faulty endpoints before L1 in a run under faults, and names the URLs that the network's processes use.
pub(super) async fn start_endpoints(
    options: &Options,
    network: &mut Network,
    l1_url: &str,
) -> Result<Vec<Endpoint>, Error> {
    let mut endpoints = Vec::new();
    if options.chaos.is_some() {
        for i in 0..ENDPOINTS {
            let (address, seed) = (network.ports.free()?, options.seed.wrapping_add(i));
            endpoints.push(Endpoint::start(address, l1_url, seed).await?);
        }
    }
    network.l1_urls = match endpoints.as_slice() {
        [] => vec![l1_url.to_owned()],
        faulty => faulty.iter().map(|endpoint| endpoint.url.clone()).collect(),
    };
    Ok(endpoints)
}

/// Starts the committee, the prover nodes and the agents. Returns the addresses of the members' nodes, and every node.
pub(super) async fn start_processes(
    options: &Options,
    network: &mut Network,
    progress: &mut Progress,
    (deployment, keys, broker): (&Deployment, &CircuitKeys, SocketAddr),
) -> Result<(Vec<SocketAddr>, Vec<NodeClient>), Error> {
    let sequencers = services::start_committee(network, deployment, options).await?;
    let mut nodes = Vec::new();
    for (i, sequencer) in (1..).zip(&sequencers) {
        progress.line(&format!("{}: node at http://{sequencer}", services::sequencer_name(i)));
        nodes.push(NodeClient::new(&format!("http://{sequencer}"))?);
    }
    for i in 1..=options.prover_nodes {
        let name = services::prover_node_name(i);
        let address = services::start_prover_node(
            network,
            deployment,
            keys,
            broker,
            &sequencers,
            &name,
            options,
        );
        nodes.push(NodeClient::new(&format!("http://{}", address.await?))?);
        progress.line(&format!("{name}: ready"));
    }
    for i in 1..=options.agents {
        services::start_agent(network, keys, broker, i).await?;
        progress.line(&format!("{}: ready", services::agent_name(i)));
    }
    Ok((sequencers, nodes))
}
