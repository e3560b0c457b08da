//! Checks of what a sequencer needs, run at startup and by the subcommand `check`.

use std::sync::Arc;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::{abi, attest};
use rollmill_node::checks;
use rollmill_protocol::EthAddress;
use rollmill_service::{Finding, Preflight};
use rollmill_validator_client::ValidatorClient;

use crate::config::Config;
use crate::error::SequencerError;

/// The checks: those of the node, the coinbase, the account and the other members of the committee.
pub fn checks(config: &Config) -> Preflight {
    let coinbase = config.coinbase;
    let [own, peers] = std::array::from_fn(|_| Arc::new(config.clone()));
    checks::node(Preflight::new(), &config.node)
        .check("coinbase", move || {
            std::future::ready(Finding::Ok(match coinbase {
                None => "the account".to_owned(),
                Some(nobody) if nobody == EthAddress::default() => {
                    format!("{nobody}, so that nobody receives the fees")
                }
                Some(coinbase) => coinbase.to_string(),
            }))
        })
        .check("account", move || {
            let config = Arc::clone(&own);
            async move {
                match checks::Account::load(&config.node, config.account.key()).await {
                    Err(finding) => finding,
                    Ok(account) => match &account.committee {
                        Some(members) => member(&config, members, &account),
                        None => account.finding(),
                    },
                }
            }
        })
        .check("committee.peers", move || {
            let config = Arc::clone(&peers);
            async move { others(&config).await }
        })
}

/// The finding for an account, given the present committee.
fn member(config: &Config, members: &[Address], account: &checks::Account) -> Finding {
    if !members.contains(&account.address) {
        return Finding::wrong(&SequencerError::NotAMember {
            members: members.len(),
            account: account.address.to_string(),
        });
    }
    if config.committee.attest_only {
        return Finding::Ok(format!("{}, which attests only", account.address));
    }
    let listed = config.committee.others().iter().map(|peer| abi::address(peer.account));
    let known = listed.filter(|peer| members.contains(peer) && *peer != account.address).count();
    let needed = attest::quorum(members.len());
    match known + 1 < needed {
        true => Finding::Absent {
            why: format!(
                "the committee has {} members, of whom {needed} must sign; committee.peers lists \
                 {known} of the others",
                members.len()
            ),
            todo: "List the other members in --committee-peers".to_owned(),
        },
        false => account.finding(),
    }
}

/// Whether each other member signs with the account that the settings name.
async fn others(config: &Config) -> Finding {
    let committee = &config.committee;
    let token = committee.peers_token.as_ref().map(|token| token.reveal());
    let mut absent = Vec::new();
    for peer in committee.others() {
        let client = match ValidatorClient::new(peer.url.as_str(), token) {
            Ok(client) => client,
            Err(error) => return Finding::wrong(&error),
        };
        match client.identity().await {
            Ok(identity) => {
                let account = EthAddress::from_hex(&identity.account).ok();
                if account != Some(peer.account) || identity.chain_id != config.node.chain_id {
                    let (url, expected, chain) = (client.url(), peer.account, config.node.chain_id);
                    let why = format!(
                        "the validator at {url} signs as {:.42} on chain {}, not as {expected} on \
                         chain {chain}",
                        identity.account, identity.chain_id
                    );
                    return Finding::Wrong { why, todo: "Correct --committee-peers".to_owned() };
                }
            }
            // Absent whatever the response is: members start in any order.
            Err(error) => absent.push(error.to_string()),
        }
    }
    match absent.first() {
        None => Finding::Ok(format!("{} other members", committee.others().len())),
        Some(why) => Finding::Absent {
            why: why.clone(),
            todo: format!("{} of {} do not answer", absent.len(), committee.others().len()),
        },
    }
}
