//! Proving keys that stay on a device between proofs, as long as its memory is not wanted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The last `most` keys that were used, by name, and the bases of each size.
///
/// Bases are made one after another; keys are loaded by whoever asks, so that those that are there can be
/// had meanwhile.
#[derive(Debug)]
pub struct Resident<N, D: Device> {
    most: usize,
    /// Least recently used first.
    keys: Mutex<Vec<(N, Arc<Loaded<D>>)>>,
    bases: Mutex<HashMap<u32, Arc<Bases<D>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard are caches: whatever a panicking thread left is still valid.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<N: PartialEq, D: Device> Resident<N, D> {
    /// Room for `most` keys, at least one.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), keys: Mutex::default(), bases: Mutex::default() }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        lock(&self.keys).len()
    }

    /// Whether a further key would make another one go.
    pub fn is_full(&self) -> bool {
        self.count() >= self.most
    }

    /// Whether the key of that name is there. It does not count as used.
    pub fn has(&self, name: &N) -> bool {
        lock(&self.keys).iter().any(|(other, _)| other == name)
    }

    /// The key of that name, if it is there.
    pub fn get(&self, name: &N) -> Option<Arc<Loaded<D>>> {
        let mut keys = lock(&self.keys);
        let at = keys.iter().position(|(other, _)| other == name)?;
        let entry = keys.remove(at);
        let loaded = Arc::clone(&entry.1);
        keys.push(entry);
        Some(loaded)
    }

    /// Drops the least recently used keys until there is room for one more: to be called before that one
    /// is made, so that memory never holds it besides.
    pub fn make_room(&self) {
        let mut keys = lock(&self.keys);
        while keys.len() >= self.most {
            keys.remove(0);
        }
    }

    /// Holds a key from now on.
    pub fn put(&self, name: N, loaded: Loaded<D>) -> Arc<Loaded<D>> {
        let loaded = Arc::new(loaded);
        self.make_room();
        lock(&self.keys).push((name, Arc::clone(&loaded)));
        loaded
    }

    /// The `2^log_n` bases, made if they are not there.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn bases<E>(
        &self,
        log_n: u32,
        make: impl FnOnce() -> Result<Bases<D>, E>,
    ) -> Result<Arc<Bases<D>>, E> {
        // Whoever finds them locked needs what is being made.
        let mut bases = lock(&self.bases);
        Ok(match bases.entry(log_n) {
            Entry::Occupied(made) => Arc::clone(made.get()),
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(make()?))),
        })
    }

    /// Drops what can be had again and nobody uses now: first what keys keep under their budget, then
    /// whole keys, the least recently used first; then bases that no key needs. False when there was
    /// nothing left.
    pub fn give_way(&self) -> bool {
        let mut keys = lock(&self.keys);
        if keys.iter().any(|(_, loaded)| loaded.key.drop_kept() > 0) {
            return true;
        }
        if let Some(at) = keys.iter().position(|(_, loaded)| Arc::strong_count(loaded) == 1) {
            keys.remove(at);
            return true;
        }
        drop(keys);
        let mut bases = lock(&self.bases);
        let all = bases.len();
        bases.retain(|_, bases| Arc::strong_count(bases) > 1);
        bases.len() < all
    }

    /// Proves on the device. Where its memory is short, what is kept for later gives way before the
    /// proof is refused.
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
        // What is dropped may be made again meanwhile, by this proof or another; not forever.
        for _ in 0..2 * (self.most + 1) {
            match prove(device, key, bases, kind, witness, blinding) {
                Err(ProveError::Device(DeviceError::Memory { .. })) if self.give_way() => {}
                outcome => return outcome,
            }
        }
        prove(device, key, bases, kind, witness, blinding)
    }
}
