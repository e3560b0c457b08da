//! `rollmill-pxe serve`: the accounts of a store for programs of this machine.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngCore;
use rand::rngs::OsRng;
use rollmill_node_client::NodeClient;
use rollmill_pxe::contracts::prover::ContractProver;
use rollmill_pxe::contracts::{CallProver, abandon_planned, sync};
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keystore;
use rollmill_pxe::prover::LocalProver;
use rollmill_pxe::serve::access::TOKEN_LENGTH_MIN;
use rollmill_pxe::serve::{
    Access, OpenCallProver, OpenFunctionKeys, OpenProver, Service, SharedKeys,
};
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
    let access = Access::new(&config.serve.allow_origin, config.serve.apps.as_deref())?;
    // Whoever has the store's lock is its only service, so no other one replaces the token below.
    let store = {
        let password = home::password(config, "password of the store")?;
        Store::open(path, &password).map_err(PxeError::Store)?
    };
    // What a process left that was killed; nobody else plans anything yet.
    abandon_planned(&store, &sync::own_scope(&store)?).map_err(PxeError::Contract)?;
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
    let server = server.with_origins(access.origins());
    let (token, file) = token(config, path)?;
    access.check_owner(&token).map_err(|why| {
        let path = config.serve.apps.as_deref().unwrap_or(Path::new(""));
        PxeError::Apps { path: path.display().to_string(), why }
    })?;
    let service = service(config, store, node, token, shutdown.clone()).with_access(access);
    let service = Arc::new(service);
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
    let of_keys = Arc::new(OneProver::new(config.keys_dir.clone()));
    let of_calls = Arc::clone(&of_keys);
    let open_keys: OpenFunctionKeys = Box::new(move |chain_id| {
        let keys: Arc<SharedKeys> = of_keys.open(chain_id)?;
        Ok(keys)
    });
    let open_calls: OpenCallProver = Box::new(move |chain_id| {
        let prover: Arc<dyn CallProver> = of_calls.open(chain_id)?;
        Ok(prover)
    });
    let service = Service::new(store, node, token, open, shutdown);
    service.with_function_keys(open_keys).with_call_prover(open_calls)
}

/// The prover of contracts, which makes keys and proves calls under one SRS in memory.
struct OneProver {
    keys_dir: Option<PathBuf>,
    /// By the id of its chain, once somebody needed it.
    opened: Mutex<Option<(u64, Arc<ContractProver>)>>,
}

impl OneProver {
    const fn new(keys_dir: Option<PathBuf>) -> Self {
        Self { keys_dir, opened: Mutex::new(None) }
    }

    /// The prover of this chain. Whoever comes while it is opened waits for it.
    fn open(&self, chain_id: u64) -> Result<Arc<ContractProver>, PxeError> {
        let mut opened = self.opened.lock();
        if let Some((of, prover)) = &*opened
            && *of == chain_id
        {
            return Ok(Arc::clone(prover));
        }
        let prover = ContractProver::open(self.keys_dir.as_deref(), chain_id)?;
        let prover = Arc::new(prover.keeping_keys());
        *opened = Some((chain_id, Arc::clone(&prover)));
        Ok(prover)
    }
}

/// The access token: that of the settings, or a new one and the file that it was written to.
fn token(config: &Config, store: &Path) -> Result<(Secret, Option<PathBuf>), PxeError> {
    if let Some(token) = &config.serve.token {
        let length = token.reveal().trim().chars().count();
        if length < TOKEN_LENGTH_MIN {
            return Err(PxeError::TokenShort { length, least: TOKEN_LENGTH_MIN });
        }
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
    check_replaceable(&path)
        .and_then(|()| keystore::write_private(&path, line.as_bytes()))
        .map_err(|source| PxeError::TokenFile { path: path.display().to_string(), source })?;
    Ok((Secret::generated(text.as_str()), Some(path)))
}

/// Checks that a new token replaces nothing but an older one or an empty file: the path of a store or a keystore, given
/// by mistake, would cost the accounts.
///
/// # Errors
/// For anything else at the path, and for what cannot be read.
fn check_replaceable(path: &Path) -> io::Result<()> {
    let other = || io::Error::new(ErrorKind::AlreadyExists, "it exists and is no access token");
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(other()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let digits = 2 * TOKEN_BYTES;
    let mut bytes = Zeroizing::new(Vec::new());
    // One more than a token with the end of its line, to notice what is longer.
    std::fs::File::open(path)?.take(digits as u64 + 2).read_to_end(&mut bytes)?;
    let is_token = bytes
        .strip_suffix(b"\n")
        .is_some_and(|token| token.len() == digits && token.iter().all(u8::is_ascii_hexdigit));
    if bytes.is_empty() || is_token { Ok(()) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_replaces_a_token_or_an_empty_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(check_replaceable(&path).is_ok(), "nothing is there");
        let token = "0a".repeat(TOKEN_BYTES);
        for taken in [String::new(), format!("{token}\n")] {
            std::fs::write(&path, &taken).unwrap();
            assert!(check_replaceable(&path).is_ok(), "{taken:?}");
        }
        let long = format!("{token}\n\n");
        for kept in [token.as_str(), "\n", "word\n", &token.replace('a', "g"), &long] {
            std::fs::write(&path, kept).unwrap();
            let error = check_replaceable(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{kept:?}");
        }
        assert!(check_replaceable(folder.path()).is_err(), "a folder");
    }
}
