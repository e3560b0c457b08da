//! Proving keys that stay on a device between proofs, as long as its memory is not wanted.

use std::collections::HashMap;
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

/// Registered bases by the binary logarithm of their number.
pub type BasesBySize<D> = HashMap<u32, Arc<Bases<D>>>;

/// The last `most` keys that were used, by name, and their bases.
#[derive(Debug)]
pub struct Resident<N, D: Device> {
    most: usize,
    held: Mutex<Held<N, D>>,
}

#[derive(Debug)]
struct Held<N, D: Device> {
    /// Least recently used first.
    keys: Vec<(N, Arc<Loaded<D>>)>,
    bases: BasesBySize<D>,
}

impl<N, D: Device> Held<N, D> {
    /// Drops what can be had again and nobody uses now: first what keys keep under their budget, then
    /// whole keys, the least recently used first; then bases that no key needs. False when there was
    /// nothing left.
    fn make_room(&mut self) -> bool {
        if self.keys.iter().any(|(_, loaded)| loaded.key.drop_kept() > 0) {
            return true;
        }
        if let Some(at) = self.keys.iter().position(|(_, loaded)| Arc::strong_count(loaded) == 1) {
            self.keys.remove(at);
            return true;
        }
        let all = self.bases.len();
        self.bases.retain(|_, bases| Arc::strong_count(bases) > 1);
        self.bases.len() < all
    }
}

impl<N: PartialEq, D: Device> Resident<N, D> {
    /// Room for `most` keys, at least one.
    pub fn new(most: usize) -> Self {
        let held = Held { keys: Vec::new(), bases: HashMap::new() };
        Self { most: most.max(1), held: Mutex::new(held) }
    }

    fn held(&self) -> MutexGuard<'_, Held<N, D>> {
        // What it guards is a cache: whatever a panicking thread left is still valid.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.held().keys.len()
    }

    /// The key of that name; `load` brings it to the device if it is not there, and again, with less
    /// kept for later, while `is_short` says that the device's memory did not suffice.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn key<E>(
        &self,
        name: N,
        is_short: impl Fn(&E) -> bool,
        mut load: impl FnMut(&mut BasesBySize<D>) -> Result<Loaded<D>, E>,
    ) -> Result<Arc<Loaded<D>>, E> {
        let mut held = self.held();
        if let Some(at) = held.keys.iter().position(|(other, _)| *other == name) {
            let entry = held.keys.remove(at);
            let loaded = Arc::clone(&entry.1);
            held.keys.push(entry);
            return Ok(loaded);
        }
        while held.keys.len() >= self.most {
            held.keys.remove(0);
        }
        let loaded = loop {
            match load(&mut held.bases) {
                Err(error) if is_short(&error) && held.make_room() => {}
                loaded => break Arc::new(loaded?),
            }
        };
        held.keys.push((name, Arc::clone(&loaded)));
        Ok(loaded)
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
                Err(ProveError::Device(DeviceError::Memory { .. })) if self.held().make_room() => {}
                outcome => return outcome,
            }
        }
        prove(device, key, bases, kind, witness, blinding)
    }
}
