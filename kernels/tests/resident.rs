//! Keys that stay on a card give way to proofs, the least recently used first.

mod common;

use std::cell::Cell;
use std::sync::Arc;

use rollmill_algebra::CpuDevice;
use rollmill_algebra::device::DeviceError;
use rollmill_kernels::{CudaDevice, CudaOptions, Emulation};
use rollmill_plonk::key::{Bases, Budget, KeyError, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, PEAK_COLUMNS, ProveError, prove};
use rollmill_plonk::resident::{Loaded, Resident};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;

use common::proof::{all_cosets, circuit};

const LOG_N: u32 = 10;
const KIND: TranscriptKind = TranscriptKind::Poseidon2;

/// Two circuits of one size, with what the CPU makes of them.
struct Circuits {
    srs: Srs,
    all: Vec<(Layout, Witness, VerifyingKey, Proof)>,
}

impl Circuits {
    fn new() -> Self {
        let (srs, cpu) = (Srs::development(LOG_N), CpuDevice::scalar(2));
        let bases = Bases::new(&cpu, &srs, &srs.lagrange(LOG_N).unwrap()).unwrap();
        let made = |cell_bits| {
            let (layout, witness) = circuit(cell_bits, Some(LOG_N));
            let columns = layout.fixed_columns();
            let vk = setup(&cpu, &bases, srs.id(), layout.shape, &columns).unwrap();
            let key = ProvingKey::new(&cpu, vk.clone(), &columns).unwrap();
            let proof = prove(&cpu, &key, &bases, KIND, &witness, Blinding::Off).unwrap();
            (layout, witness, vk, proof)
        };
        let all = [8, 9].map(made).into();
        Self { srs, all }
    }
}

/// A card of some size with keys on it.
struct Card<'a> {
    device: CudaDevice,
    circuits: &'a Circuits,
    resident: Resident<usize, CudaDevice>,
    budget: Budget,
    loads: Cell<u32>,
}

impl<'a> Card<'a> {
    fn new(circuits: &'a Circuits, bytes: u64, kept_bytes: u64) -> Self {
        let options = CudaOptions { budget_bytes: Some(bytes), ..CudaOptions::default() };
        let emulation = Emulation { late: false, ..Emulation::new(common::library()) };
        let device = CudaDevice::emulated(&emulation, &options).unwrap();
        let (resident, budget) = (Resident::new(9), Budget::new(kept_bytes));
        Self { device, circuits, resident, budget, loads: Cell::new(0) }
    }

    fn load(&self, name: usize) -> Result<Arc<Loaded<CudaDevice>>, KeyError> {
        if let Some(loaded) = self.resident.get(&name) {
            return Ok(loaded);
        }
        loop {
            match self.bring(name) {
                Err(KeyError::Device(DeviceError::Memory { .. }))
                    if self.resident.evict_unused() => {}
                loaded => return Ok(self.resident.put(name, loaded?)),
            }
        }
    }

    fn bring(&self, name: usize) -> Result<Loaded<CudaDevice>, KeyError> {
        self.loads.set(self.loads.get() + 1);
        let (layout, _, vk, _) = &self.circuits.all[name];
        let srs = &self.circuits.srs;
        let make = || Bases::new(&self.device, srs, &srs.lagrange(LOG_N).unwrap());
        let bases = self.resident.bases(LOG_N, make)?;
        let key = ProvingKey::new(&self.device, vk.clone(), &layout.fixed_columns())?;
        Ok(Loaded { key: key.with_budget(&self.budget), bases })
    }

    /// Proves, and compares the proof with the CPU's.
    fn prove(&self, name: usize) -> Result<(), ProveError> {
        let loaded = self.load(name).expect("keys fit");
        let (_, witness, _, expected) = &self.circuits.all[name];
        let (key, bases) = (&loaded.key, &loaded.bases);
        let proof = self.resident.prove(&self.device, key, bases, KIND, witness, Blinding::Off)?;
        assert!(proof.to_bytes() == expected.to_bytes());
        let (_, peak, budget) = self.device.memory_usage();
        assert!(peak <= budget);
        Ok(())
    }

    fn used(&self) -> u64 {
        self.device.memory_usage().0
    }
}

#[test]
fn keys_are_evicted_for_proofs_the_least_recently_used_first_and_only_where_they_must() {
    let circuits = Circuits::new();
    let proof = CudaDevice::peak_bytes(1 << LOG_N, PEAK_COLUMNS);
    let cosets = all_cosets(LOG_N);

    // Memory for all.
    let card = Card::new(&circuits, 1 << 29, 0);
    card.prove(0).unwrap();
    let one = card.used();
    card.load(1).unwrap();
    let key = card.used() - one;
    drop(card);

    // Two keys, what one of them keeps, and a proof.
    let card = Card::new(&circuits, one + key + cosets + proof, 2 * cosets);
    for name in [0, 1, 0] {
        card.prove(name).unwrap();
    }
    assert_eq!((card.resident.count(), card.loads.get()), (2, 2), "nothing had to go");
    assert!(card.used() >= one + key + cosets, "and what fits is kept");

    // Two keys and a proof: what is kept goes, keys stay.
    let card = Card::new(&circuits, one + key + proof, 2 * cosets);
    for name in [0, 1, 0] {
        card.prove(name).unwrap();
    }
    assert_eq!((card.resident.count(), card.loads.get()), (2, 2));

    // One key and a proof: the other key goes, and is loaded again when it is used.
    let card = Card::new(&circuits, one + proof, 2 * cosets);
    for name in [0, 1, 0] {
        card.prove(name).unwrap();
        assert_eq!(card.resident.count(), 1);
    }
    assert_eq!(card.loads.get(), 3);
    // A key in use stays, so that a proof with another does not fit.
    let held = card.load(0).unwrap();
    let rejected = card.prove(1).unwrap_err();
    let ProveError::Device(DeviceError::Memory { needed_bytes, free_bytes, .. }) = rejected else {
        panic!("{rejected}")
    };
    assert_eq!((needed_bytes, free_bytes), (proof, proof - key));
    drop(held);
    card.prove(1).unwrap();

    // A byte less: rejected, with the numbers, once nothing is left to drop.
    let card = Card::new(&circuits, one + proof - 1, 2 * cosets);
    card.prove(0).expect("tables are yet to be made");
    let rejected = card.prove(0).unwrap_err();
    let ProveError::Device(DeviceError::Memory { needed_bytes, free_bytes, .. }) = rejected else {
        panic!("{rejected}")
    };
    assert_eq!((needed_bytes, free_bytes), (proof, proof - 1));
}
