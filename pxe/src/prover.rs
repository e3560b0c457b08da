//! Generates client proofs on this machine's CPU.

use std::path::Path;
use std::sync::Arc;

use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::client::ClientWitness;
use rollmill_circuits::jobs::prove_client;
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::{Keys, RegistryError, load_key_set, open_srs};
use rollmill_circuits::store::{DirStore, Store, cache_dir};

use crate::error::PxeError;
use crate::wallet::ClientProver;

/// Proves with keys from a directory.
#[derive(Debug)]
pub struct LocalProver {
    keys: Keys<CpuDevice>,
}

impl LocalProver {
    /// Opens the keys in `cache` (see [`cache_dir`]). A development SRS is accepted only on a
    /// development chain.
    pub fn open(cache: Option<&Path>, chain_id: u64) -> Result<Self, PxeError> {
        let failed =
            |error: RegistryError| PxeError::Prove(rollmill_errors::Bare(&error).to_string());
        let store: Arc<dyn Store> = Arc::new(DirStore::new(cache_dir(cache)));
        let set: KeySet = load_key_set(store.as_ref()).map_err(failed)?;
        let srs = open_srs(store.as_ref(), chain_id).map_err(failed)?;
        let device = Arc::new(CpuDevice::default());
        Ok(Self { keys: Keys::new(device, set, srs, store, 1).map_err(failed)? })
    }
}

impl ClientProver for LocalProver {
    fn prove(&self, witness: &ClientWitness, seed: [u8; 32]) -> Result<Vec<u8>, PxeError> {
        // A node would reject the proof: the transaction names the deployment's key root.
        if self.keys.set().root() != witness.vk_root {
            let why = "these proving keys are not those of the deployment that the node serves";
            return Err(PxeError::Prove(why.to_owned()));
        }
        prove_client(&self.keys, witness, seed)
            .map_err(|error| PxeError::Prove(rollmill_errors::Bare(&error).to_string()))
    }
}
