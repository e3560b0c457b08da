//! What a prover node needs: checked at its start and by its subcommand `check`.

use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::{Client, ClientError, Options, Role};
use rollmill_circuits::registry::load_key_set;
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_node::checks;
use rollmill_service::{Finding, Preflight, Secret};

use crate::config::Config;
use crate::lease::Names;
use crate::quotes::QuotesConfig;

/// Reports whether the broker responds now; waiting for it happens elsewhere.
const OPTIONS: Options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(10) };

/// The checks, in the order in which they are reported.
pub fn checks(config: &Config) -> Preflight {
    let config = Arc::new(config.clone());
    let [keys, id, account, broker, sources, quotes] = std::array::from_fn(|_| Arc::clone(&config));
    checks::node(Preflight::new(), &config.node)
        .check("keys", move || std::future::ready(keys_of(&keys)))
        .check("prover_id", move || {
            std::future::ready(Finding::Ok(match id.prover_id {
                None => "the account's own".to_owned(),
                Some(address) => address.to_string(),
            }))
        })
        .check("account", move || {
            let config = Arc::clone(&account);
            async move {
                match checks::Account::load(&config.node, config.account.key()).await {
                    Err(finding) => finding,
                    Ok(account) => account.finding(),
                }
            }
        })
        .check("broker", move || {
            let config = Arc::clone(&broker);
            async move { broker_of(&config).await }
        })
        .check("tx_sources", move || {
            let config = Arc::clone(&sources);
            async move {
                checks::sources("--tx-sources", &config.tx_sources, &config.node.genesis).await
            }
        })
        .check("quotes.proposers", move || {
            let config = Arc::clone(&quotes);
            async move { proposers_of(&config.quotes).await }
        })
}

/// Whether each proposer shows its quotes. Absent whatever the response is: both start in any order.
async fn proposers_of(config: &QuotesConfig) -> Finding {
    let Some((fee, proposers)) = config.asked() else {
        return Finding::Ok("none, so that nothing is quoted".to_owned());
    };
    let mut absent = Vec::new();
    for proposer in proposers {
        let client = match proposer.client() {
            Ok(client) => client,
            Err(error) => return Finding::wrong(&error),
        };
        // Of an epoch that is always over: only whether there is an answer counts.
        if let Err(error) = client.list(0).await {
            absent.push(error.to_string());
        }
    }
    match absent.first() {
        None => Finding::Ok(format!("{} proposers get quotes of {fee} AZT", proposers.len())),
        Some(why) => Finding::Absent {
            why: why.clone(),
            todo: format!("{} of {} proposers take no quotes", absent.len(), proposers.len()),
        },
    }
}

fn keys_of(config: &Config) -> Finding {
    let folder = cache_dir(config.keys_dir.as_deref());
    match load_key_set(&DirStore::new(folder)) {
        Ok(set) => Finding::Ok(rollmill_circuits::version_name(&set)),
        Err(error) => Finding::wrong(&error),
    }
}

async fn broker_of(config: &Config) -> Finding {
    let asked = async {
        let client =
            Client::new(&config.broker, config.token.as_ref().map(Secret::reveal), OPTIONS)?;
        let agents = client.status().await?.agents.len();
        // A request that needs the role `producer`.
        client.probe().await?;
        Ok::<_, ClientError>(format!("answers at {}, knows {agents} agents", client.url()))
    };
    let error = match asked.await {
        Ok(found) => return Finding::Ok(found),
        Err(error) => error,
    };
    let todo = error.advice(Role::Producer);
    match error.is_transient() {
        true => Finding::absent(&error).todo(todo),
        false => Finding::wrong(&error).todo(todo),
    }
}
