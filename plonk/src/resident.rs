//! Proving keys that stay on a device between proofs, until other work needs its memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use rollmill_algebra::device::{Device, DeviceError};

use crate::key::{Bases, ProvingKey};
use crate::layout::Witness;
use crate::proof::Proof;
use crate::prover::{Blinding, ProveError, prove};
use crate::transcript::TranscriptKind;

/// A proving key with the bases of its size.
#[derive(Debug)]
pub struct Loaded<D: Device> {
    pub key: ProvingKey<D>,
    pub bases: Arc<Bases<D>>,
}

/// A cache of the `capacity` most recently used keys, by name, and of the bases of each size.
///
/// Bases are made under a lock, one after another. Callers load keys themselves, so that cached keys remain
/// available in the meantime.
#[derive(Debug)]
pub struct Resident<N, D: Device> {
    capacity: usize,
    /// Least recently used first.
    keys: Mutex<Vec<(N, Arc<Loaded<D>>)>>,
    bases: Mutex<HashMap<u32, Arc<Bases<D>>>>,
}

impl<N: PartialEq, D: Device> Resident<N, D> {
    /// A cache of up to `capacity` keys, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), keys: Mutex::default(), bases: Mutex::default() }
    }

    /// Number of cached keys.
    pub fn count(&self) -> usize {
        self.keys.lock().len()
    }

    /// Whether a further key would evict another one.
    pub fn is_full(&self) -> bool {
        self.count() >= self.capacity
    }

    /// Whether the key of that name is cached. This does not count as a use.
    pub fn has(&self, name: &N) -> bool {
        self.keys.lock().iter().any(|(other, _)| other == name)
    }

    /// The key of that name, if it is cached.
    pub fn get(&self, name: &N) -> Option<Arc<Loaded<D>>> {
        let mut keys = self.keys.lock();
        let at = keys.iter().position(|(other, _)| other == name)?;
        let entry = keys.remove(at);
        let loaded = Arc::clone(&entry.1);
        keys.push(entry);
        Some(loaded)
    }

    /// Evicts the least recently used keys until one more fits. Call it before loading that key, so that memory
    /// never contains both.
    pub fn evict_to_fit_one(&self) {
        let mut keys = self.keys.lock();
        while keys.len() >= self.capacity {
            keys.remove(0);
        }
    }

    /// Caches a key.
    pub fn put(&self, name: N, loaded: Loaded<D>) -> Arc<Loaded<D>> {
        let loaded = Arc::new(loaded);
        self.evict_to_fit_one();
        self.keys.lock().push((name, Arc::clone(&loaded)));
        loaded
    }

    /// The bases of the domain of `2^log_n` rows, made by `make` if they are not cached.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn bases<E>(
        &self,
        log_n: u32,
        make: impl FnOnce() -> Result<Bases<D>, E>,
    ) -> Result<Arc<Bases<D>>, E> {
        // A caller that waits for this lock needs the bases that are being made.
        let mut bases = self.bases.lock();
        Ok(match bases.entry(log_n) {
            Entry::Occupied(made) => Arc::clone(made.get()),
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(make()?))),
        })
    }

    /// Evicts the next cached data that nothing uses: first what keys cache under their budget, then whole keys,
    /// the least recently used first, then bases that no key needs. Returns false when there was none.
    pub fn evict_unused(&self) -> bool {
        let mut keys = self.keys.lock();
        if keys.iter().any(|(_, loaded)| loaded.key.drop_kept() > 0) {
            return true;
        }
        if let Some(at) = keys.iter().position(|(_, loaded)| Arc::strong_count(loaded) == 1) {
            keys.remove(at);
            return true;
        }
        drop(keys);
        let mut bases = self.bases.lock();
        let all = bases.len();
        bases.retain(|_, bases| Arc::strong_count(bases) > 1);
        bases.len() < all
    }

    /// Proves on the device. When its memory is too small, cached data is evicted before the error is
    /// returned.
    ///
    /// # Errors
    /// As [`prove`].
    pub fn prove(
        &self,
        device: &D,
        key: &ProvingKey<D>,
        bases: &Bases<D>,
        kind: TranscriptKind,
        witness: &Witness,
        blinding: Blinding,
    ) -> Result<Proof, ProveError> {
        self.evicting(|| prove(device, key, bases, kind, witness, blinding))
    }

    /// Does what proves, and again after each eviction where the device's memory is too small.
    ///
    /// # Errors
    /// Those of `prove`.
    pub fn evicting(
        &self,
        prove: impl Fn() -> Result<Proof, ProveError>,
    ) -> Result<Proof, ProveError> {
        // Evicted data may be made again in the meantime, by this proof or another, so the attempts are bounded.
        for _ in 0..2 * (self.capacity + 1) {
            match prove() {
                Err(ProveError::Device(DeviceError::Memory { .. })) if self.evict_unused() => {}
                outcome => return outcome,
            }
        }
        prove()
    }
}
