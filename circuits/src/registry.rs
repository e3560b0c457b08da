//! Keys of every circuit: made once, stored under digests, loaded when first needed.
//!
//! The store has what is slow to compute: the Lagrange form of the SRS and the commitments of verification
//! keys. Fixed columns are laid out again from the circuit, and their digest is compared with the one that the
//! key was made for, so the key of another build's circuit is rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rollmill_algebra::device::{Device, DeviceError};
use rollmill_plonk::key::{Bases, Budget, KeyError, ProvingKey, VerifyingKey, layout_digest};
use rollmill_plonk::layout::{FixedColumns, Layout, LayoutError, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, ProveError, prove_while};
use rollmill_plonk::resident::Resident;
use rollmill_plonk::srs::{Origin, Srs, SrsError};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_protocol::Circuit;
use serde::Serialize;

use crate::circuit::{FIXED_COLUMNS, PROOF_LEN, WIRE_COLUMNS, log_n, transcript, warm_order};
use crate::keyset::{CircuitKey, KeySet, KeySetError};
use crate::maker::{self, MadeKey, lagrange};
use crate::store::{Store, StoreError};
use crate::weaken::gone;

pub use rollmill_plonk::resident::Loaded;

/// Name of the SRS in a store.
pub const SRS_NAME: &str = "srs.bin";
/// Name of the set of keys in a store.
pub const KEY_SET_NAME: &str = "keys.set";

/// Why keys cannot be made or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A circuit has more rows than its size allows.
    ///
    /// Do: A bug in Rollmill: report it.
    #[error("{code}: the circuit {circuit} does not fit its size: {cause}", code = self.code(), cause = rollmill_errors::Bare(.source))]
    Layout { circuit: Circuit, source: LayoutError },
    /// A key was made for another layout of its circuit, by another build.
    ///
    /// Do: Run `rollmill-agent keys` of this build.
    #[error("{code}: the key of {circuit} was made for another layout (another build); run `rollmill-agent keys`", code = self.code())]
    Stale { circuit: Circuit },
    /// The key root differs from the one of this release under this SRS.
    ///
    /// Do: Delete the directory of keys and run `rollmill-agent keys`. A build with changed circuits needs a
    /// new root (see CONTRIBUTING.md).
    #[error("{code}: the keys have root {got}, this release expects {expected} under this SRS; delete the directory of keys and run `rollmill-agent keys`, or use the release's own build", code = self.code())]
    Root { expected: String, got: String },
    /// A file is missing from the directory of keys.
    ///
    /// Do: Run `rollmill-agent keys --keys-dir DIR`, or correct `--keys-dir`.
    #[error("{code}: there is no {name} in {place}; generate keys with `rollmill-agent keys --keys-dir {place}`, or correct --keys-dir", code = self.code())]
    Missing { name: &'static str, place: String },
    /// A file of the store is not what its name says.
    #[error(
        "{source}. The file is {name} in {place}: generate the keys again with `rollmill-agent keys --keys-dir {place}`, or correct --keys-dir"
    )]
    Damaged {
        name: &'static str,
        place: String,
        #[source]
        source: KeySetError,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Set(#[from] KeySetError),
    #[error(transparent)]
    Srs(#[from] SrsError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Prove(#[from] ProveError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

rollmill_errors::coded! {
    RegistryError {
        Self::Layout { .. } => "CIR-030",
        Self::Stale { .. } => "CIR-031",
        Self::Root { .. } => "CIR-033",
        Self::Missing { .. } => "CIR-032",
        Self::Damaged { source, .. } => (source),
        Self::Key(error) => (error),
        Self::Set(error) => (error),
        Self::Srs(error) => (error),
        Self::Device(error) => (error),
        Self::Prove(error) => (error),
        Self::Store(error) => (error),
    }
}

/// The layout of a circuit.
pub fn layout(circuit: Circuit) -> Result<Layout, RegistryError> {
    let layout = crate::jobs::dummy(circuit).layout(Some(log_n(circuit)));
    layout.map_err(|source| RegistryError::Layout { circuit, source })
}

/// Reads the SRS from the store. On a development chain a missing one is made, long enough for every circuit; on any
/// other chain it must have been imported, and a development SRS is rejected.
///
/// # Errors
/// [`RegistryError::Srs`] and [`RegistryError::Store`]
pub fn open_srs(store: &dyn Store, chain_id: u64) -> Result<Srs, RegistryError> {
    if let Some(srs) = stored_srs(store, chain_id)? {
        return Ok(srs);
    }
    // Checked first, because making one takes minutes.
    Srs::development(0).require_ceremony(chain_id)?;
    let srs = Srs::development(largest_log_n());
    store.put(SRS_NAME, &srs.to_bytes())?;
    Ok(srs)
}

/// Checks that the SRS in the store fits the chain and is that of the keys, as a prover needs it, and returns it.
/// Writes nothing: a missing SRS passes where [`open_srs`] would make it, and is `None`.
///
/// # Errors
/// As [`open_srs`] and [`Keys::new`].
pub fn check_srs(
    store: &dyn Store,
    chain_id: u64,
    set: &KeySet,
) -> Result<Option<Srs>, RegistryError> {
    let stored = stored_srs(store, chain_id)?;
    if let Some(srs) = &stored {
        require_srs_of(set, srs)?;
    } else {
        let made = Srs::development(0);
        made.require_ceremony(chain_id)?;
        require_srs_of(set, &made)?;
    }
    Ok(stored)
}

fn require_srs_of(set: &KeySet, srs: &Srs) -> Result<(), RegistryError> {
    match srs.tau_g2 == *set.tau_g2() {
        true => Ok(()),
        false => Err(KeySetError::Srs.into()),
    }
}

fn largest_log_n() -> u32 {
    Circuit::ALL.into_iter().map(log_n).max().expect("there are circuits")
}

/// The SRS in the store, checked for the chain and every circuit's size; `None` if the store has none.
fn stored_srs(store: &dyn Store, chain_id: u64) -> Result<Option<Srs>, RegistryError> {
    let Some(bytes) = store.get(SRS_NAME)? else { return Ok(None) };
    let srs = Srs::from_bytes(&bytes)?;
    srs.require_ceremony(chain_id)?;
    if srs.origin == Origin::Ceremony && !gone("keys.srs.secret") {
        srs.require_secret()?;
    }
    srs.require(1 << largest_log_n())?;
    Ok(Some(srs))
}

/// Roots of the key tree that this release was tested with, by the id of the SRS that they were made under, both in
/// hexadecimal. Any change of a circuit changes them, on purpose or not, so no command writes them.
const EXPECTED_ROOTS: [(&str, &str); 1] = [(DEVELOPMENT_ID, DEVELOPMENT_ROOT)];
const DEVELOPMENT_ID: &str = "0061ffd457d3c0729a5cbd92acc37fbb0582c71c661539f4676a62ecb785e058";
const DEVELOPMENT_ROOT: &str = "28057d59bba41c39dbcf85a0d51ec364d271ee68ff59bce9ea119599e024ab2e";

/// Checks that the keys are those that this release expects under their SRS. Returns false when it knows no root for
/// this SRS; then compare the root with one that someone else made.
///
/// # Errors
/// [`RegistryError::Root`]
pub fn require_expected_root(set: &KeySet) -> Result<bool, RegistryError> {
    require_root_of(set, &EXPECTED_ROOTS)
}

/// The root of the key tree, in hexadecimal.
pub fn root_text(set: &KeySet) -> String {
    hex::encode(rollmill_protocol::field::to_bytes(&set.root()))
}

fn require_root_of(set: &KeySet, expected: &[(&str, &str)]) -> Result<bool, RegistryError> {
    let id = rollmill_plonk::srs::srs_id(set.tau_g2());
    let id = hex::encode(rollmill_protocol::field::to_bytes(&id));
    let Some((_, expected)) = expected.iter().find(|(srs, _)| *srs == id) else { return Ok(false) };
    let got = root_text(set);
    if got != *expected && !gone("keys.root") {
        return Err(RegistryError::Root { expected: (*expected).to_owned(), got });
    }
    Ok(true)
}

/// Makes the keys of all circuits, or takes from the store those that were made for the same layouts (see
/// [`maker::make`]), and stores the set as [`KEY_SET_NAME`]. Calls `progress` for each circuit with whether its key
/// was in the store.
///
/// # Cost
/// Lays out every circuit, those of wallets too since the root covers them, and commits to 19 columns each. When all
/// keys are in the store, it lays the circuits out and checks the keys and the SRS.
pub fn make_keys<D: Device>(
    device: &D,
    srs: &Srs,
    store: &dyn Store,
    progress: &dyn Fn(Circuit, bool),
) -> Result<KeySet, RegistryError> {
    let layouts = Circuit::ALL.map(|circuit| move || layout(circuit));
    let layouts: Vec<_> = layouts.iter().map(|layout| layout as &dyn Fn() -> _).collect();
    let heard = |i: usize, kept| progress(Circuit::ALL[i], kept);
    let made = maker::make(device, srs, store, &layouts, &heard)?;
    let keys = made.into_iter().zip(Circuit::ALL).map(|(made, circuit)| {
        let MadeKey { vk, rows_used, layout_digest } = made;
        CircuitKey { circuit, vk, rows_used, layout_digest }
    });
    let keys = keys.collect();
    let set = KeySet::new(keys, srs.tau_g2)?;
    store.put(KEY_SET_NAME, &set.to_bytes())?;
    Ok(set)
}

/// Reads the set of keys that [`make_keys`] stored.
pub fn load_key_set(store: &dyn Store) -> Result<KeySet, RegistryError> {
    let bytes = store.get(KEY_SET_NAME)?;
    let missing = || RegistryError::Missing { name: KEY_SET_NAME, place: store.place() };
    KeySet::from_bytes(&bytes.ok_or_else(missing)?).map_err(|source| RegistryError::Damaged {
        name: KEY_SET_NAME,
        place: store.place(),
        source,
    })
}

/// Each key is loaded by one thread at a time.
#[derive(Debug, Default)]
struct Loading {
    held: Mutex<()>,
    /// Jobs that wait for the key.
    wanted: AtomicUsize,
}

/// What [`Keys::warm`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmed {
    /// Loaded this circuit's key.
    Key(Circuit),
    /// Was stopped before a key was complete.
    Stopped,
    /// All keys are loaded, or as many as are allowed.
    Nothing,
}

/// Why a load ended without a key.
enum NoKey {
    Error(RegistryError),
    Stopped,
}

impl From<RegistryError> for NoKey {
    fn from(error: RegistryError) -> Self {
        Self::Error(error)
    }
}

/// Everything needed to prove: verification keys, SRS and proving keys. A proving key is loaded when it is first used.
/// It stays loaded while it is among the `resident_max` keys used last, or until its memory is needed.
#[derive(Debug)]
pub struct Keys<D: Device> {
    device: Arc<D>,
    set: KeySet,
    srs: Srs,
    store: Arc<dyn Store>,
    resident: Resident<Circuit, D>,
    loading: [Loading; Circuit::ALL.len()],
    budget: Budget,
    check_msms: bool,
}

impl<D: Device> Keys<D> {
    /// Keys of this set, under the SRS that they were made with.
    ///
    /// # Errors
    /// [`KeySetError::Srs`]
    pub fn new(
        device: Arc<D>,
        set: KeySet,
        srs: Srs,
        store: Arc<dyn Store>,
        resident_max: usize,
    ) -> Result<Self, RegistryError> {
        require_srs_of(&set, &srs)?;
        Ok(Self {
            device,
            set,
            srs,
            store,
            resident: Resident::new(resident_max),
            loading: Default::default(),
            budget: Budget::default(),
            check_msms: false,
        })
    }

    /// Lets the keys together cache `bytes` of what they would compute again for each proof.
    pub fn with_cache(mut self, bytes: u64) -> Self {
        self.budget = Budget::new(bytes);
        self
    }

    /// Whether proofs check the device's commitments by a random linear combination.
    pub fn with_checked_msms(mut self, check_msms: bool) -> Self {
        self.check_msms = check_msms;
        self
    }

    /// The verification keys.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Where proving runs.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The circuits whose keys are in memory.
    pub fn resident(&self) -> Vec<Circuit> {
        Circuit::ALL.into_iter().filter(|circuit| self.resident.has(circuit)).collect()
    }

    /// Returns the proving key of a circuit, and loads it first if needed.
    ///
    /// # Errors
    /// [`RegistryError::Stale`] when this build lays the circuit out differently.
    pub fn proving_key(&self, circuit: Circuit) -> Result<Arc<Loaded<D>>, RegistryError> {
        if let Some(loaded) = self.resident.get(&circuit) {
            return Ok(loaded);
        }
        let wanted = &self.loading[circuit as usize].wanted;
        wanted.fetch_add(1, Ordering::Relaxed);
        let loaded = self.load(circuit, true, || Ok(()));
        wanted.fetch_sub(1, Ordering::Relaxed);
        loaded
    }

    /// Loads one key that no job has asked for yet, most used first, if memory is free: it evicts no key. Between
    /// parts of the work, each a fraction of a key's time, it stops if `go_on` returns false. A key that a job waits
    /// for is loaded to the end.
    ///
    /// # Errors
    /// As [`Self::proving_key`].
    pub fn warm(&self, go_on: &dyn Fn() -> bool) -> Result<Warmed, RegistryError> {
        let next = warm_order().into_iter().find(|circuit| !self.resident.has(circuit));
        let Some(circuit) = next.filter(|_| !self.resident.is_full()) else {
            return Ok(Warmed::Nothing);
        };
        let wanted = &self.loading[circuit as usize].wanted;
        let loaded =
            self.load(circuit, false, || match go_on() || wanted.load(Ordering::Relaxed) > 0 {
                true => Ok(()),
                false => Err(NoKey::Stopped),
            });
        match loaded {
            Ok(_) => Ok(Warmed::Key(circuit)),
            Err(NoKey::Stopped) => Ok(Warmed::Stopped),
            // Memory is full with fewer keys than are allowed.
            Err(NoKey::Error(error)) if is_short(&error) => Ok(Warmed::Nothing),
            Err(NoKey::Error(error)) => Err(error),
        }
    }

    /// Checks that a circuit's key was made for this build's layout, without loading it.
    ///
    /// # Errors
    /// [`RegistryError::Stale`]
    pub fn require_layout(&self, circuit: Circuit) -> Result<(), RegistryError> {
        let layout = layout(circuit)?;
        match layout_digest(&layout.shape, &layout.fixed_columns()) {
            digest if digest == self.set.key(circuit).layout_digest => Ok(()),
            _ => Err(RegistryError::Stale { circuit }),
        }
    }

    /// Loads a key without blocking other circuits' jobs. `stage` can stop it between its parts. If the device's
    /// memory is full and the key is `wanted` now, unused keys are evicted.
    fn load<E: From<RegistryError>>(
        &self,
        circuit: Circuit,
        wanted: bool,
        stage: impl Fn() -> Result<(), E>,
    ) -> Result<Arc<Loaded<D>>, E> {
        let _held = self.loading[circuit as usize].held.lock();
        if let Some(loaded) = self.resident.get(&circuit) {
            return Ok(loaded);
        }
        stage()?;
        self.resident.evict_to_fit_one();
        let known = self.set.key(circuit);
        let layout = layout(circuit)?;
        stage()?;
        let columns = layout.fixed_columns();
        drop(layout);
        stage()?;
        let bring = || self.bring(&known.vk, &columns);
        let (digest, mut loaded) = rayon::join(|| layout_digest(&known.vk.shape, &columns), bring);
        if digest != known.layout_digest {
            return Err(RegistryError::Stale { circuit }.into());
        }
        while wanted && loaded.as_ref().is_err_and(is_short) && self.resident.evict_unused() {
            loaded = bring();
        }
        Ok(self.resident.put(circuit, loaded?))
    }

    /// Uploads a key and its bases to the device.
    fn bring(&self, vk: &VerifyingKey, columns: &FixedColumns) -> Result<Loaded<D>, RegistryError> {
        let log_n = vk.shape.log_n;
        let bases = self.resident.bases(log_n, || {
            let points = lagrange(self.store.as_ref(), &self.srs, log_n)?;
            let bases = Bases::new(self.device.as_ref(), &self.srs, &points)?;
            Ok::<_, RegistryError>(bases.with_checked_msms(self.check_msms))
        })?;
        let key = ProvingKey::new(self.device.as_ref(), vk.clone(), columns)?;
        Ok(Loaded { key: key.with_budget(&self.budget), bases })
    }

    /// Proves on the device. If its memory is full, unused keys are evicted before the proof fails.
    ///
    /// # Errors
    /// As [`rollmill_plonk::prover::prove`].
    pub fn prove(
        &self,
        key: &ProvingKey<D>,
        bases: &Bases<D>,
        kind: TranscriptKind,
        witness: &Witness,
        blinding: Blinding,
    ) -> Result<Proof, ProveError> {
        self.resident.prove(self.device.as_ref(), key, bases, kind, witness, blinding)
    }

    /// As [`Self::prove`], without blinding and while `goes_on` returns true.
    ///
    /// # Errors
    /// As [`rollmill_plonk::prover::prove_while`].
    pub fn prove_while(
        &self,
        loaded: &Loaded<D>,
        kind: TranscriptKind,
        witness: &Witness,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Proof, ProveError> {
        let (device, Loaded { key, bases }) = (self.device.as_ref(), loaded);
        self.resident
            .evicting(|| prove_while(device, key, bases, kind, witness, Blinding::Off, goes_on))
    }
}

/// Whether the device has too little memory at the moment.
fn is_short(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Device(DeviceError::Memory { .. })
            | RegistryError::Key(KeyError::Device(DeviceError::Memory { .. }))
    )
}

/// Size of one circuit.
#[derive(Debug, Clone, Serialize)]
pub struct CircuitReport {
    pub circuit: &'static str,
    /// Rows of the circuit, without padding.
    pub rows: u64,
    pub log_n: u32,
    pub wires: u32,
    pub fixed_columns: u32,
    pub public_inputs: u32,
    pub proof_bytes: u64,
    /// Rows of each section, in order.
    pub sections: Vec<(String, usize)>,
}

/// Measures the sizes of a circuit on its layout.
pub fn report(circuit: Circuit) -> Result<CircuitReport, RegistryError> {
    let builder = crate::jobs::dummy(circuit);
    let sections = builder.section_rows();
    let layout = builder.layout(Some(log_n(circuit)));
    let layout = layout.map_err(|source| RegistryError::Layout { circuit, source })?;
    Ok(CircuitReport {
        circuit: circuit.name(),
        rows: layout.rows_used as u64,
        log_n: layout.shape.log_n,
        wires: WIRE_COLUMNS as u32,
        fixed_columns: FIXED_COLUMNS as u32,
        public_inputs: circuit.n_public() as u32,
        proof_bytes: PROOF_LEN as u64,
        sections,
    })
}

/// Time that one proof of a circuit takes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CircuitSeconds {
    pub witness_seconds: f64,
    pub proving_seconds: f64,
}

/// Times one proof of a circuit over a dummy witness, which takes as long as a valid one. `now` is a monotonic
/// clock. Loading the key is not counted.
pub fn measure<D: Device>(
    keys: &Keys<D>,
    circuit: Circuit,
    now: &dyn Fn() -> Duration,
) -> Result<CircuitSeconds, RegistryError> {
    let loaded = keys.proving_key(circuit)?;
    let started = now();
    let finished = crate::jobs::dummy(circuit).finish(Some(log_n(circuit)));
    let (_, witness) = finished.map_err(|source| RegistryError::Layout { circuit, source })?;
    let witnessed = now();
    let kind = transcript(circuit);
    // Blinded with a fixed seed: the commitments of an all-zero witness must not be the identity.
    let blinding = Blinding::On { seed: [1; 32] };
    keys.prove(&loaded.key, &loaded.bases, kind, &witness, blinding)?;
    Ok(CircuitSeconds {
        witness_seconds: (witnessed - started).as_secs_f64(),
        proving_seconds: (now() - witnessed).as_secs_f64(),
    })
}
