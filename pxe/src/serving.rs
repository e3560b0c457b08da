//! `rollmill-pxe serve`: the accounts of a store for programs of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngCore;
use rand::rngs::OsRng;
use rollmill_node_client::NodeClient;
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keystore;
use rollmill_pxe::prover::LocalProver;
use rollmill_pxe::serve::{OpenProver, Service};
use rollmill_pxe::wallet::ClientProver;
use rollmill_pxe_store::{Store, Zeroizing};
use rollmill_service::{
    HttpLimits, HttpServer, Outcome, Process, Protection, Secret, Shutdown, listen,
};

use crate::cli::Config;
use crate::home;

/// Bytes of an access token that is made here.
const TOKEN_BYTES: usize = 32;
/// Maximum open connections; few programs of one machine use a wallet.
const CONNECTIONS: usize = 256;

pub(crate) async fn run(process: &Process<Config>) -> Outcome {
    let (config, shutdown) = (&process.config, &process.shutdown);
    let path = config.store.as_ref().ok_or(PxeError::NoStore)?;
    // Whoever has the store's lock is its only service, so no other one replaces the token below.
    let store = {
        let password = home::password(config, "password of the store")?;
        Store::open(path, &password).map_err(PxeError::Store)?
    };
    let node = NodeClient::new(&config.node_url)?;
    let address = &config.serve.listen;
    let listener = listen(address, "--serve-listen").await?;
    let bound = listener.local_addr()?;
    let limits = HttpLimits {
        connections: CONNECTIONS,
        connections_per_peer: CONNECTIONS,
        ..HttpLimits::default()
    };
    let protection = Protection::default();
    let server = HttpServer::open("pxe", address, limits, &protection, &process.metrics)?;
    let (token, file) = token(config, path)?;
    let service = Arc::new(service(config, store, node, token, shutdown.clone()));
    let file = file.as_ref().map(|file| file.display().to_string());
    tracing::info!(address = %bound, path = file, "wallet service listening; the path is that of the access token");
    process.ready();
    server.serve(listener, service.router(), shutdown.clone()).await?;
    service.settle().await;
    Ok(())
}

fn service(
    config: &Config,
    store: Store,
    node: NodeClient,
    token: Secret,
    shutdown: Shutdown,
) -> Service {
    let keys_dir = config.keys_dir.clone();
    let open: OpenProver = Box::new(move |chain_id| {
        let prover: Arc<dyn ClientProver> =
            Arc::new(LocalProver::open(keys_dir.as_deref(), chain_id)?);
        Ok(prover)
    });
    Service::new(store, node, token, open, shutdown)
}

/// The access token: that of the settings, or a new one and the file that it was written to.
fn token(config: &Config, store: &Path) -> Result<(Secret, Option<PathBuf>), PxeError> {
    if let Some(token) = &config.serve.token {
        return Ok((token.clone(), None));
    }
    let path = config.serve.token_file.clone().unwrap_or_else(|| {
        let mut name = store.file_name().unwrap_or_default().to_owned();
        name.push(".token");
        store.with_file_name(name)
    });
    let mut bytes = Zeroizing::new([0u8; TOKEN_BYTES]);
    OsRng.fill_bytes(bytes.as_mut_slice());
    let text = Zeroizing::new(hex::encode(bytes.as_slice()));
    let line = Zeroizing::new(format!("{}\n", text.as_str()));
    keystore::write_private(&path, line.as_bytes())
        .map_err(|source| PxeError::TokenFile { path: path.display().to_string(), source })?;
    Ok((Secret::generated(text.as_str()), Some(path)))
}
