//! The keys of every circuit: generated once into the cache, then shared by devnet, agents and nodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::circuit::log_n;
use rollmill_circuits::client::{self, ClientWitness};
use rollmill_circuits::jobs;
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::{self, Keys};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_protocol::{Circuit, ClientInputs};
use rollmill_pxe::error::PxeError;
use rollmill_pxe::wallet::ClientProver;

use crate::{ANVIL_CHAIN_ID, Error, JobReport, Progress};

/// The keys of one build, and a prover of client proofs that records them.
#[derive(Debug)]
pub struct CircuitKeys {
    folder: PathBuf,
    keys: Keys<CpuDevice>,
    client_rows: u64,
    proofs: Mutex<Vec<ClientProof>>,
}

/// A client proof that was generated here.
#[derive(Debug, Clone, Copy)]
struct ClientProof {
    witness: Duration,
    proving: Duration,
    bytes: usize,
}

impl CircuitKeys {
    /// Loads the keys from `folder` and generates missing ones. Blocks for seconds, or for minutes when
    /// there are none; `progress` gets a line for each generated key.
    ///
    /// # Errors
    /// [`Error::Keys`].
    pub fn open(folder: &Path, progress: &(dyn Fn(String) + Sync)) -> Result<Self, Error> {
        let store = Arc::new(DirStore::new(folder));
        let device = Arc::new(CpuDevice::default());
        let srs = registry::open_srs(store.as_ref(), ANVIL_CHAIN_ID)?;
        let set =
            registry::make_keys(device.as_ref(), &srs, store.as_ref(), &|circuit, is_kept| {
                if !is_kept {
                    progress(format!("making the key of {}", circuit.name()));
                }
            })?;
        // A layout counts a circuit's rows, which the key set keeps as what is charged.
        let client_rows = set.key(Circuit::Client).rows_used;
        let keys = Keys::new(device, set, srs, store, 1)?;
        Ok(Self { folder: folder.into(), keys, client_rows, proofs: Mutex::new(Vec::new()) })
    }

    /// The directory of the keys, for the agents.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The verification keys.
    pub fn set(&self) -> &KeySet {
        self.keys.set()
    }

    /// A valid proof with the public inputs of `tx`, of a circuit of the client's shape that constrains
    /// nothing: what a forger who may choose the key can generate.
    ///
    /// # Errors
    /// [`Error::Wallet`] when it cannot be made.
    pub fn proof_under_another_key(&self, tx: &rollmill_protocol::Tx) -> Result<Vec<u8>, Error> {
        jobs::prove_unconstrained(&self.keys, &ClientInputs::of(tx, self.set().root()))
            .map_err(|error| PxeError::Prove(rollmill_errors::Bare(&error).to_string()).into())
    }

    /// Figures of the client proofs so far.
    pub fn reports(&self) -> Vec<JobReport> {
        let proofs = self.proofs.lock();
        let report = |proof: &ClientProof| JobReport {
            circuit: Circuit::Client.name().into(),
            rows: self.client_rows,
            witness_seconds: proof.witness.as_secs_f64(),
            proving_seconds: proof.proving.as_secs_f64(),
            proof_bytes: proof.bytes as u64,
            agent: "pxe".into(),
        };
        proofs.iter().map(report).collect()
    }
}

impl ClientProver for CircuitKeys {
    fn prove(&self, witness: &ClientWitness, seed: [u8; 32]) -> Result<Vec<u8>, PxeError> {
        // One call generates witness and proof. The witness alone is generated once more, to time it.
        let start = Instant::now();
        let log_rows = Some(log_n(Circuit::Client));
        client::build(witness)
            .finish(log_rows)
            .map_err(|error| PxeError::Prove(rollmill_errors::Bare(&error).to_string()))?;
        let witnessed = start.elapsed();
        let start = Instant::now();
        let proof = jobs::prove_client(&self.keys, witness, seed)
            .map_err(|error| PxeError::Prove(rollmill_errors::Bare(&error).to_string()))?;
        let proving = start.elapsed().saturating_sub(witnessed);
        let made = ClientProof { witness: witnessed, proving, bytes: proof.len() };
        self.proofs.lock().push(made);
        Ok(proof)
    }
}

/// Opens the keys on a separate thread, so that signals are handled meanwhile.
///
/// # Errors
/// As [`CircuitKeys::open`].
pub async fn open(progress: &mut Progress) -> Result<Arc<CircuitKeys>, Error> {
    let folder = cache_dir(None);
    progress.line(&format!("keys: in {}", folder.display()));
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let opening = tokio::task::spawn_blocking(move || {
        CircuitKeys::open(&folder, &move |line| {
            // The receiver is gone only when nobody needs the result any more.
            let _ = sender.send(line);
        })
    });
    while let Some(line) = lines.recv().await {
        progress.line(&line);
    }
    let keys = opening.await.map_err(|error| Error::Spawn {
        name: "the making of keys".into(),
        source: std::io::Error::other(error),
    })??;
    Ok(Arc::new(keys))
}
