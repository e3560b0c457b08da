//! Makes verification keys, or reuses stored ones after a check.
//!
//! Whoever writes a file also writes its digest, so a digest detects damage but not a forgery. Therefore the contents
//! are checked as well: the SRS by a pairing, its Lagrange form and stored keys by one random linear combination
//! each, with factors that are drawn after the files were read. A file that fails is made again. An SRS that
//! fails is rejected, because it cannot be made again.

use std::collections::HashMap;
use std::hash::BuildHasher;

use rayon::prelude::*;
use rollmill_algebra::bytes::{G1_BYTES, g1_from_slice, g1_to_bytes};
use rollmill_algebra::device::Device;
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::key::{Bases, CommitmentClaim, VerifyingKey, layout_digest, setup};
use rollmill_plonk::layout::Layout;
use rollmill_plonk::shape::Shape;
use rollmill_plonk::srs::Srs;

use crate::registry::RegistryError;
use crate::store::Store;
use crate::weaken::gone;

/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// A key, and the layout that it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKey {
    pub vk: VerifyingKey,
    /// Rows of the circuit, without padding.
    pub rows_used: u64,
    /// Digest of the layout.
    pub layout_digest: [u8; DIGEST_BYTES],
}

/// Makes the keys of these layouts, or takes them from the store if they were made for the same layouts. Each
/// layout is laid out once, or twice if the store has a wrong key for it. Calls `progress` for each with its index
/// and whether its key was in the store.
///
/// # Errors
/// [`rollmill_plonk::srs::SrsError`] when the SRS is not successive powers of one secret; those of the store and
/// of the device.
pub fn make<D: Device>(
    device: &D,
    srs: &Srs,
    store: &dyn Store,
    layouts: &[&dyn Fn() -> Result<Layout, RegistryError>],
    progress: &dyn Fn(usize, bool),
) -> Result<Vec<MadeKey>, RegistryError> {
    if !gone("keys.srs.check") {
        srs.check(fresh_seed()[0])?;
    }
    let mut maker = Maker { device, srs, store, bases: HashMap::new(), digests: HashMap::new() };
    let mut keys: Vec<Option<MadeKey>> = vec![None; layouts.len()];
    let mut claims: HashMap<u32, (CommitmentClaim, Vec<usize>)> = HashMap::new();
    for (i, layout) in layouts.iter().enumerate() {
        let layout = layout()?;
        let columns = layout.fixed_columns();
        let digest = layout_digest(&layout.shape, &columns);
        let rows_used = layout.rows_used as u64;
        let vk = match maker.kept(&layout.shape, &digest)? {
            Some(vk) => {
                let fresh = || (CommitmentClaim::new(fresh_seed()), Vec::new());
                let (claim, of) = claims.entry(layout.shape.log_n).or_insert_with(fresh);
                claim.add(&columns, &vk.fixed);
                of.push(i);
                vk
            }
            None => {
                progress(i, false);
                maker.make(layout.shape, &columns, &digest)?
            }
        };
        keys[i] = Some(MadeKey { vk, rows_used, layout_digest: digest });
    }
    for (log_n, (claim, of)) in claims {
        let bases = maker.bases(log_n)?;
        let is_true = claim.holds(device, bases)? || gone("keys.columns");
        for i in of {
            progress(i, is_true);
            if is_true {
                continue;
            }
            // Which of them is false does not matter: all can be made again.
            let layout = layouts[i]()?;
            let columns = layout.fixed_columns();
            if let Some(key) = &mut keys[i] {
                key.vk = maker.make(layout.shape, &columns, &key.layout_digest)?;
            }
        }
    }
    Ok(keys.into_iter().flatten().collect())
}

struct Maker<'a, D: Device> {
    device: &'a D,
    srs: &'a Srs,
    store: &'a dyn Store,
    bases: HashMap<u32, Bases<D>>,
    /// Digests of the powers that domains of these sizes use.
    digests: HashMap<u32, [u8; DIGEST_BYTES]>,
}

impl<D: Device> Maker<'_, D> {
    fn powers_digest(&mut self, log_n: u32) -> [u8; DIGEST_BYTES] {
        *self.digests.entry(log_n).or_insert_with(|| self.srs.powers_digest(log_n))
    }

    fn name(&mut self, log_n: u32, layout: &[u8; DIGEST_BYTES]) -> String {
        let powers = self.powers_digest(log_n);
        format!("key-{}-{}.bin", hex::encode(&layout[..16]), hex::encode(&powers[..16]))
    }

    /// The key in the store that claims to be made for this layout and these powers.
    fn kept(
        &mut self,
        shape: &Shape,
        layout: &[u8; DIGEST_BYTES],
    ) -> Result<Option<VerifyingKey>, RegistryError> {
        let name = self.name(shape.log_n, layout);
        let Some(bytes) = self.store.get_sealed(&name)? else { return Ok(None) };
        let powers = self.powers_digest(shape.log_n);
        let Some((bytes, made_under)) = bytes.split_last_chunk::<DIGEST_BYTES>() else {
            return Ok(None);
        };
        let Some((bytes, made_for)) = bytes.split_last_chunk::<DIGEST_BYTES>() else {
            return Ok(None);
        };
        let is_its = (made_for == layout || gone("keys.layout"))
            && (*made_under == powers || gone("keys.powers"));
        let vk = VerifyingKey::from_bytes(bytes).ok().filter(|_| is_its);
        let id = self.srs.id();
        Ok(vk.filter(|vk| (vk.shape == *shape && vk.srs_id == id) || gone("keys.shape")))
    }

    fn make(
        &mut self,
        shape: Shape,
        columns: &[Vec<Fr>],
        layout: &[u8; DIGEST_BYTES],
    ) -> Result<VerifyingKey, RegistryError> {
        let (device, id) = (self.device, self.srs.id());
        let vk = setup(device, self.bases(shape.log_n)?, id, shape, columns)?;
        let name = self.name(shape.log_n, layout);
        let powers = self.powers_digest(shape.log_n);
        let bytes = [&vk.to_bytes()[..], layout, &powers].concat();
        self.store.put_sealed(&name, bytes)?;
        Ok(vk)
    }

    /// Bases of one size. A Lagrange form from the store is compared with the powers first.
    fn bases(&mut self, log_n: u32) -> Result<&Bases<D>, RegistryError> {
        if !self.bases.contains_key(&log_n) {
            let points = lagrange(self.store, self.srs, log_n)?;
            let mut bases = Bases::new(self.device, self.srs, &points)?;
            let agree = bases.agree(self.device, log_n, fresh_seed())? || gone("keys.lagrange");
            if !agree {
                let points = make_lagrange(self.store, self.srs, log_n)?;
                bases = Bases::new(self.device, self.srs, &points)?;
            }
            self.bases.insert(log_n, bases);
        }
        Ok(&self.bases[&log_n])
    }
}

/// The SRS in Lagrange form, from the store, or computed and stored. A stored one is only checked for damage: a
/// prover with a forged one makes proofs that no verifier accepts.
///
/// # Errors
/// Those of the store, and [`rollmill_plonk::srs::SrsError::TooShort`].
pub fn lagrange(store: &dyn Store, srs: &Srs, log_n: u32) -> Result<Vec<G1Affine>, RegistryError> {
    let kept = store.get_sealed(&lagrange_name(srs, log_n))?;
    match kept.and_then(|bytes| read_points(&bytes, 1 << log_n)) {
        Some(points) => Ok(points),
        None => make_lagrange(store, srs, log_n),
    }
}

fn make_lagrange(store: &dyn Store, srs: &Srs, log_n: u32) -> Result<Vec<G1Affine>, RegistryError> {
    let points = srs.lagrange(log_n)?;
    let bytes = points.iter().flat_map(g1_to_bytes).collect();
    store.put_sealed(&lagrange_name(srs, log_n), bytes)?;
    Ok(points)
}

/// The name of a Lagrange form in a store.
pub fn lagrange_name(srs: &Srs, log_n: u32) -> String {
    let id = rollmill_protocol::field::to_bytes(&srs.id());
    format!("lagrange-{log_n}-{}.bin", hex::encode(&id[16..]))
}

/// Decodes stored points; `None` when they are damaged.
fn read_points(bytes: &[u8], n: usize) -> Option<Vec<G1Affine>> {
    if bytes.len() != n * G1_BYTES {
        return None;
    }
    bytes.par_chunks(G1_BYTES).map(|chunk| g1_from_slice(chunk).ok()).collect()
}

/// A random number, drawn after the files were read, so that nobody who wrote a file could know it.
fn fresh_seed() -> [u64; 4] {
    // The keys of a new state come from the system's source of randomness.
    let state = std::hash::RandomState::new();
    std::array::from_fn(|i| state.hash_one(i))
}
