//! The worker that proves the rollup's circuits.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Device, DeviceError, Memory};
use rollmill_broker_client::WorkStats;
use rollmill_circuits::jobs::{self, JobError};
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::{self, Keys, RegistryError, load_key_set, make_keys, open_srs};
use rollmill_circuits::store::{DirStore, Store, cache_dir};
use rollmill_circuits::{Circuit, version_name};
use rollmill_plonk::prover::ProveError;
use rollmill_plonk::srs::Srs;

use crate::accelerator::{Accelerator, choose, cpu};
use crate::config::Config;
use crate::devices::ChoiceError;
use crate::heartbeat::Cancel;
use crate::pace::Pace;
use crate::worker::{DeviceReport, Prepared, Warmed, WorkError, WorkOutput, Worker};
use crate::{calibration, machine, nvml};

/// Points of the known-answer test.
const PROBE: usize = 600;

/// Why there is no prover.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProverError {
    /// Proving keys or SRS are missing or unusable.
    ///
    /// Do: Run `rollmill-agent keys`, or set `--keys-dir` to a directory that holds them.
    #[error("{}: cannot load the proving keys and the SRS: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    Keys {
        #[source]
        source: RegistryError,
    },
    /// The device failed its known-answer test: it computes wrong values.
    ///
    /// Do: Update its driver, or select another device with `--device`. `rollmill-agent devices` lists them.
    #[error("{}: device {device} failed its known-answer test: {what}; update its driver, or select another --device", self.code())]
    Device { device: String, what: String },
    /// There is no device to prove on.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
}

rollmill_errors::coded! {
    ProverError {
        Self::Keys { .. } => "AGT-030",
        Self::Device { .. } => "AGT-031",
        Self::Choice(error) => (error),
    }
}

impl From<RegistryError> for ProverError {
    fn from(source: RegistryError) -> Self {
        Self::Keys { source }
    }
}

/// The SRS that the check at startup read, for the prover that starts next: a file of 8 MiB, of which each point is
/// decoded, is read once. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CheckedSrs(Arc<Mutex<Option<Srs>>>);

impl CheckedSrs {
    pub(crate) fn put(&self, srs: Option<Srs>) {
        *self.0.lock() = srs;
    }

    fn take(&self) -> Option<Srs> {
        self.0.lock().take()
    }
}

/// Generates the keys of all circuits on the CPU, or finds them in the store; logs each circuit. Before, it measures
/// which sizes suit this machine's CPU, if nobody has: the keys take far longer.
pub fn make(config: &Config) -> Result<KeySet, ProverError> {
    let device = cpu(config);
    let (store, srs) = base(config, &device, &CheckedSrs::default())?;
    let device = calibration::measured(device, calibration::file().as_deref());
    let progress = |circuit: Circuit, kept: bool| {
        let state = if kept { "found" } else { "making" };
        tracing::info!(circuit = circuit.name(), state, "proving key");
    };
    Ok(make_keys(&device, &srs, store.as_ref(), &progress)?)
}

/// A prover, and its device in a few words.
pub struct Opened {
    pub worker: Arc<dyn Worker>,
    pub device: String,
    /// Of the card, where it is one of NVIDIA's.
    pub uuid: Option<String>,
    pub why: String,
    /// The device that was asked for cannot be used.
    pub fell_back: bool,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("device", &self.device).finish_non_exhaustive()
    }
}

/// Opens the device that the settings choose and closes it again. Returns which it is and why.
///
/// # Errors
/// When the settings leave no device that can be used.
pub fn device(config: &Config) -> Result<String, ProverError> {
    let chosen = choose(config)?;
    Ok(format!("{}: {}", chosen.device.name(), chosen.why))
}

/// Opens the device that the settings choose and the prover on it: keys from `config.keys_dir`, the
/// device checked by a known answer. The SRS is `checked`, or else that in `config.keys_dir`.
pub fn open(config: &Config, checked: &CheckedSrs) -> Result<Opened, ProverError> {
    let chosen = choose(config)?;
    let name = chosen.device.name();
    match chosen.fell_back {
        true => {
            tracing::warn!(device = name, reason = chosen.why, "device unavailable; CPU selected")
        }
        false => tracing::info!(device = name, reason = chosen.why, "device selected"),
    }
    let report = report(config, &chosen.device);
    let uuid = report.uuid.clone();
    let worker = match chosen.device {
        Accelerator::Cpu(device) => prover(config, *device, report, Pace::default(), checked)?,
        Accelerator::Cuda(device) => {
            let pace = Pace::of_card(config, &device);
            prover(config, *device, report, pace, checked)?
        }
        Accelerator::Wgpu(device) => prover(config, *device, report, Pace::ONE_AHEAD, checked)?,
        Accelerator::Icicle(device) => prover(config, *device, report, Pace::ONE_AHEAD, checked)?,
    };
    Ok(Opened { worker, device: name, uuid, why: chosen.why, fell_back: chosen.fell_back })
}

/// What is known of an open device.
fn report(config: &Config, device: &Accelerator) -> DeviceReport {
    let threads = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let known = DeviceReport { name: device.name(), threads, ..DeviceReport::default() };
    match device {
        Accelerator::Cpu(_) => {
            let memory_bytes = rollmill_service::memory::usable_bytes();
            DeviceReport { kind: "cpu".into(), memory_bytes, ..known }
        }
        Accelerator::Cuda(device) => {
            let uuid = device.uuid().map(str::to_owned);
            let card = uuid.as_deref().and_then(|uuid| nvml::Card::open(uuid).ok());
            DeviceReport {
                kind: "cuda".into(),
                memory_bytes: device.memory_bytes(),
                driver: card.and_then(|card| card.driver()),
                uuid,
                ..known
            }
        }
        Accelerator::Wgpu(device) => DeviceReport {
            kind: "wgpu".into(),
            memory_bytes: device.memory_bytes(),
            driver: Some(device.adapter().driver.clone()).filter(|driver| !driver.is_empty()),
            ..known
        },
        Accelerator::Icicle(device) => {
            DeviceReport { kind: "icicle".into(), memory_bytes: device.memory_bytes(), ..known }
        }
    }
}

fn prover<D: Device + 'static>(
    config: &Config,
    device: D,
    report: DeviceReport,
    pace: Pace,
    checked: &CheckedSrs,
) -> Result<Arc<dyn Worker>, ProverError> {
    let (store, srs) = base(config, &device, checked)?;
    let set = load_key_set(store.as_ref())?;
    let version = version_name(&set);
    let cache = config.key_cache_bytes(device.memory_bytes());
    let keys = Keys::new(Arc::new(device), set, srs, store, config.resident_keys)?;
    let keys = keys.with_cache(cache).with_checked_msms(config.check_sums);
    // Keys are generated together, so one key of another build means that all are; checked here and not
    // by a job.
    keys.require_layout(Circuit::TxBase)?;
    Ok(Arc::new(Prover { keys, version, report, pace, started: Instant::now() }))
}

/// Opens the store and the SRS, and checks the device.
fn base<D: Device>(
    config: &Config,
    device: &D,
    checked: &CheckedSrs,
) -> Result<(Arc<dyn Store>, Srs), ProverError> {
    let store: Arc<dyn Store> = Arc::new(DirStore::new(cache_dir(config.keys_dir.as_deref())));
    let srs = match checked.take() {
        Some(srs) => srs,
        None => open_srs(store.as_ref(), config.chain_id)?,
    };
    known_answer(device, &srs)?;
    tracing::info!(device = device.name(), "known-answer test passed");
    Ok((store, srs))
}

/// A sum of multiples of `[τ^i]` that is also known by its scalars: `Σ c_i τ^i` with the bases computed
/// one by one.
fn known_answer<D: Device>(device: &D, srs: &Srs) -> Result<(), ProverError> {
    let failed = |what: String| ProverError::Device { device: device.name(), what };
    let points = &srs.powers[..PROBE.min(srs.powers.len())];
    let mut value = Fr::from(7u64);
    let scalars: Vec<Fr> = points
        .iter()
        .map(|_| {
            value = value * value + Fr::from(1u64);
            value
        })
        .collect();
    let bases = device.register_bases(points).map_err(|error| failed(error.to_string()))?;
    let column = device.upload(&scalars).map_err(|error| failed(error.to_string()))?;
    let got = device.commit(&bases, &[&column]).map_err(|error| failed(error.to_string()))?;
    let expected = rollmill_algebra::plain::msm(points, &scalars);
    if got.first() != Some(&expected) {
        return Err(failed(format!("an MSM of {} scalars is wrong", points.len())));
    }
    Ok(())
}

struct Prover<D: Device> {
    keys: Keys<D>,
    version: String,
    report: DeviceReport,
    pace: Pace,
    started: Instant,
}

impl<D: Device + 'static> Worker for Prover<D> {
    fn circuits(&self) -> Vec<(String, String)> {
        let jobs = Circuit::ALL.into_iter().filter(|circuit| circuit.is_job());
        jobs.map(|circuit| (circuit.name().to_owned(), self.version.clone())).collect()
    }

    fn device(&self) -> DeviceReport {
        self.report.clone()
    }

    fn resident_keys(&self) -> Vec<String> {
        self.keys.resident().into_iter().map(|circuit| circuit.name().to_owned()).collect()
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    fn prepare(
        self: Arc<Self>,
        kind: &str,
        input: &[u8],
        cancel: &Cancel,
    ) -> Result<Prepared, WorkError> {
        if cancel.is_cancelled() {
            return Err(WorkError::Cancelled);
        }
        let clock = || self.started.elapsed();
        let prepared = jobs::prepare(&self.keys, kind, input, &clock).map_err(classify)?;
        Ok(Box::new(move |cancel| {
            if cancel.is_cancelled() {
                return Err(WorkError::Cancelled);
            }
            let clock = || self.started.elapsed();
            let goes_on = || !cancel.is_cancelled();
            let made = jobs::finish(&self.keys, prepared, &clock, &goes_on).map_err(classify)?;
            let stats = WorkStats {
                rows: made.rows,
                witness_seconds: made.witness_seconds,
                proving_seconds: made.proving_seconds,
                proof_bytes: rollmill_plonk::proof::PROOF_BYTES as u64,
                peak_memory_bytes: machine::peak_bytes().unwrap_or(0),
            };
            Ok(WorkOutput { result: made.bytes, stats })
        }))
    }

    fn warm(&self, cancel: &Cancel) -> Result<Warmed, WorkError> {
        let warmed = self.keys.warm(&|| !cancel.is_cancelled());
        Ok(match warmed.map_err(|error| classify(error.into()))? {
            registry::Warmed::Key(circuit) => Warmed::Loaded(circuit.name().to_owned()),
            registry::Warmed::Stopped => Warmed::Stopped,
            registry::Warmed::Nothing => Warmed::Nothing,
        })
    }

    fn verify(&self, kind: &str, input: &[u8], result: &[u8]) -> Result<(), WorkError> {
        jobs::verify(self.keys.set(), kind, input, result)
            .map(drop)
            .map_err(|error| WorkError::InvalidProof { message: error.to_string() })
    }
}

fn classify(error: JobError) -> WorkError {
    let message = error.to_string();
    match error.device() {
        Some(DeviceError::Memory { .. }) => return WorkError::OutOfMemory { message },
        Some(DeviceError::Lost { .. }) => return WorkError::DeviceLost { message },
        Some(DeviceError::Wrong { .. }) => return WorkError::InvalidProof { message },
        _ => {}
    }
    match error {
        JobError::Prove(ProveError::Stopped) => WorkError::Cancelled,
        JobError::Kind { got } => WorkError::VersionMismatch { kind: got },
        // The children were verified and the plain rules hold, so a proof that does not verify was
        // made wrong here.
        JobError::Unsatisfied { .. } => WorkError::InvalidProof { message },
        error if error.is_permanent() => WorkError::BadInput { message },
        _ => WorkError::Transient { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the broker learns the threads in use, not the machine's, and the memory that proofs fit in.
    #[test]
    fn the_device_is_reported_as_it_is_used() {
        let config = Config { threads: 1, ..Config::default() };
        let told = report(&config, &Accelerator::Cpu(Box::new(cpu(&config))));
        assert_eq!((told.kind.as_str(), told.threads), ("cpu", 1));
        assert_eq!(told.name, cpu(&config).name());
        assert!(told.memory_bytes.is_some_and(|bytes| bytes > 0));
        let config = Config::default();
        let told = report(&config, &Accelerator::Cpu(Box::new(cpu(&config))));
        assert_eq!(told.threads, std::thread::available_parallelism().unwrap().get());
    }

    /// Goal: the SRS is read and decoded once at the start. Method: it is gone after the check.
    #[test]
    fn a_prover_starts_with_the_srs_that_was_checked() {
        let folder = tempfile::tempdir().unwrap();
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../circuits/tests/golden/keys.set");
        std::fs::copy(keys, folder.path().join(registry::KEY_SET_NAME)).unwrap();
        let largest = Circuit::ALL.into_iter().map(rollmill_circuits::circuit::log_n).max();
        let srs = Srs::development(largest.unwrap());
        let path = folder.path().join(registry::SRS_NAME);
        std::fs::write(&path, srs.to_bytes()).unwrap();
        let config = Config { keys_dir: Some(folder.path().to_owned()), ..Config::default() };
        let checked = CheckedSrs::default();
        let found = crate::preflight::keys_of(&config, &checked);
        assert!(matches!(found, rollmill_service::Finding::Ok(_)), "{found:?}");
        std::fs::write(&path, b"no SRS").unwrap();
        let (_, opened) = base(&config, &cpu(&config), &checked).unwrap();
        assert!(opened.powers == srs.powers);
        // Nothing is left of it: who starts again reads the file.
        let again = base(&config, &cpu(&config), &checked).map(|_| ());
        assert!(
            matches!(again, Err(ProverError::Keys { source: RegistryError::Srs(_) })),
            "{again:?}"
        );
    }

    /// A broker treats each differently: memory asks for a larger agent, a lost device for another one, and
    /// one that computes wrongly counts against this agent.
    #[test]
    fn what_a_device_can_fail_by_is_told_apart() {
        let device = || "a".to_owned();
        let (operation, reason) = ("commit", "r".to_owned());
        for (error, code) in [
            (DeviceError::Memory { operation, needed_bytes: 2, free_bytes: 1 }, "AGT-002"),
            (DeviceError::Lost { device: device(), reason: reason.clone() }, "AGT-007"),
            (DeviceError::Wrong { device: device(), operation }, "AGT-003"),
            (DeviceError::Failed { device: device(), reason }, "AGT-001"),
        ] {
            let text = error.to_string();
            let told = classify(JobError::Prove(ProveError::Device(error)));
            assert_eq!(told.code(), code, "{text}");
            assert!(told.to_string().contains(&text), "{told}");
        }
        // Nobody failed where nobody wants the proof any more.
        let stopped = classify(JobError::Prove(ProveError::Stopped));
        assert!(matches!(stopped, WorkError::Cancelled) && stopped.class().is_none());
    }
}
