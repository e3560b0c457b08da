//! What an agent needs: checked at its start and by its subcommand `check`.

use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::{Answer, Client, ClientError, HeartbeatRequest, Options, Role};
use rollmill_circuits::registry::{RegistryError, SRS_NAME, check_srs, load_key_set};
use rollmill_circuits::store::{DirStore, Store, cache_dir};
use rollmill_service::{Finding, Preflight, Secret};

use crate::config::Config;
use crate::prover::{self, CheckedSrs, ProverError};

/// Whether the broker responds now; waiting for it is done elsewhere.
const OPTIONS: Options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(10) };

/// The checks, in the order in which they are reported. The SRS that they read is put into `checked`.
pub fn checks(config: &Config, checked: &CheckedSrs) -> Preflight {
    let config = Arc::new(config.clone());
    let [device, keys, spool, broker] = std::array::from_fn(|_| Arc::clone(&config));
    let checked = checked.clone();
    Preflight::new()
        .check("device", move || {
            let config = Arc::clone(&device);
            async move { device_of(config).await }
        })
        .check("keys", move || {
            let (config, checked) = (Arc::clone(&keys), checked.clone());
            async move {
                // An SRS has many megabytes, each of whose points is decoded.
                let found = tokio::task::spawn_blocking(move || keys_of(&config, &checked)).await;
                found.unwrap_or_else(|error| Finding::wrong(&error))
            }
        })
        .check("spool_dir", move || {
            std::future::ready(match &spool.spool_dir {
                Some(folder) => Finding::of_directory(folder, "--spool-dir"),
                None => Finding::Ok("in memory".to_owned()),
            })
        })
        .check("broker", move || {
            let config = Arc::clone(&broker);
            async move { broker_of(&config).await }
        })
}

async fn device_of(config: Arc<Config>) -> Finding {
    // A driver may take its time.
    let opened = tokio::task::spawn_blocking(move || prover::device(&config)).await;
    match opened {
        Ok(Ok(found)) => Finding::Ok(found),
        Ok(Err(error)) => {
            Finding::wrong(&error).todo("`rollmill-agent devices` lists what there is")
        }
        Err(error) => Finding::wrong(&error).todo("Report it with the driver's version"),
    }
}

pub(crate) fn keys_of(config: &Config, checked_srs: &CheckedSrs) -> Finding {
    let store = DirStore::new(cache_dir(config.keys_dir.as_deref()));
    let checked = load_key_set(&store).and_then(|set| {
        checked_srs.put(check_srs(&store, config.chain_id, &set)?);
        Ok(set)
    });
    match checked {
        Ok(set) => Finding::Ok(rollmill_circuits::version_name(&set)),
        Err(error) => {
            let remedy = remedy_of(&error, &store.place());
            Finding::wrong(&ProverError::from(error)).todo(remedy)
        }
    }
}

/// What to do about unusable keys; empty if the message says it.
fn remedy_of(error: &RegistryError, place: &str) -> String {
    match error {
        RegistryError::Srs(_) => format!(
            "Import the SRS of the deployment again with `rollmill-agent srs import --out {place}/{SRS_NAME}`; on a \
             development chain remove that file and run `rollmill-agent keys --keys-dir {place}`"
        ),
        RegistryError::Set(_) => format!(
            "Run `rollmill-agent keys --keys-dir {place}` to make the keys under {place}/{SRS_NAME}, or replace that \
             file by the SRS that the deployment was made under"
        ),
        _ => String::new(),
    }
}

async fn broker_of(config: &Config) -> Finding {
    let asked = async {
        let client =
            Client::new(&config.broker, config.token.as_ref().map(Secret::reveal), OPTIONS)?;
        // A request that only an agent may send; it names no job.
        client
            .heartbeat(&HeartbeatRequest { agent: config.agent_id(), leases: Vec::new() })
            .await?;
        Ok::<_, ClientError>(client.url().to_owned())
    };
    let error = match asked.await {
        Ok(url) => return Finding::Ok(format!("answers at {url}")),
        Err(error) => error,
    };
    let todo = match error.answer() {
        Answer::Quarantined => {
            "An operator can end it with `rollmill-broker pardon` and the name of the message"
                .to_owned()
        }
        _ => error.advice(Role::Agent),
    };
    match error.is_transient() {
        true => Finding::absent(&error).todo(todo),
        false => Finding::wrong(&error).todo(todo),
    }
}
