//! Proving and verifying keys of one circuit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Field};
use parking_lot::{Mutex, MutexGuard};
use rollmill_algebra::bytes::{
    DecodeError, FIELD_BYTES, G1_BYTES, fr_from_slice, fr_to_bytes, g1_from_slice, g1_to_bytes,
};
use rollmill_algebra::device::{
    Coeff, Column, Committed, Coset, Device, DeviceError, HostColumn, Lagrange,
};
use rollmill_algebra::field::{omega, powers};
use rollmill_algebra::{Fr, G1Affine, domain, poseidon2};
use sha2::{Digest, Sha256};

use crate::commitment_check;
pub use crate::commitment_check::CommitmentClaim;
use crate::layout::{Fingerprint, FixedColumns};
use crate::shape::{BLINDING_ROWS, GENERATOR, QUOTIENT_CHUNKS, Shape, fixed};
use crate::srs::{Srs, SrsError, srs_id_text};
use crate::transcript::fq_mod_r;
use crate::weaken::gone;

/// Domain tag of key digests.
pub const VK_DIGEST_DOMAIN: u64 = domain::VK_DIGEST;

/// Why a key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The verifying key has the wrong length.
    ///
    /// Do: Export it again; it is cut off or of another version.
    #[error("{code}: a verifying key has {expected} bytes, got {got}", code = self.code())]
    Length { expected: usize, got: usize },
    /// A part of the verifying key is malformed.
    ///
    /// Do: Export it again from a source that you trust.
    #[error("{code}: part {part} of the verifying key is malformed: {cause}", code = self.code(), cause = rollmill_errors::Bare(.source))]
    Part { part: usize, source: DecodeError },
    /// A fixed column commits to the identity, which a key must not contain.
    ///
    /// Do: Do not use this key; export it again from a source that you trust.
    #[error("{code}: fixed column {column} commits to the identity, which a key must not contain", code = self.code())]
    Identity { column: usize },
    /// A field of the verifying key is out of range.
    ///
    /// Do: Export it again; it is damaged or of another version.
    #[error("{code}: field `{field}` of the verifying key is out of range: {got}", code = self.code())]
    Field { field: &'static str, got: u64 },
    /// The verifying key is of a circuit of another size, or has another number of public inputs.
    ///
    /// Do: Use the verifying key that was made from the same fixed columns.
    #[error("{code}: the verifying key is for {expected}, the fixed columns are of {got}", code = self.code())]
    Shape { expected: Shape, got: Shape },
    /// The bases are of another SRS than the one that the key is to name.
    ///
    /// Do: Call `setup` with the id of the SRS that the bases were made from.
    #[error("{code}: the key is to name SRS {expected}, the bases are of SRS {got}", code = self.code())]
    OtherSrs { expected: String, got: String },
    /// The bases are of another size than the circuit. Larger ones would commit to other polynomials.
    ///
    /// Do: Make the bases for the size of the circuit, with `srs.lagrange(layout.shape.log_n)`.
    #[error("{code}: the circuit has {expected} rows, the bases are for {got}; make the bases for the size of the circuit", code = self.code())]
    OtherSize { expected: usize, got: usize },
    #[error(transparent)]
    Srs(#[from] SrsError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

rollmill_errors::coded! {
    KeyError {
        Self::Length { .. } => "PLK-050",
        Self::Part { .. } => "PLK-051",
        Self::Identity { .. } => "PLK-052",
        Self::Field { .. } => "PLK-053",
        Self::Srs(error) => (error),
        Self::Device(error) => (error),
        Self::Shape { .. } => "PLK-054",
        Self::OtherSrs { .. } => "PLK-055",
        Self::OtherSize { .. } => "PLK-056",
    }
}

/// What a verifier needs to know about a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Size, public inputs, width of limb cells.
    pub shape: Shape,
    /// Names the SRS, see [`crate::srs::Srs::id`].
    pub srs_id: Fr,
    /// Commitments to the fixed columns.
    pub fixed: [G1Affine; fixed::COUNT],
}

const VK_BYTES: usize = 12 + FIELD_BYTES + fixed::COUNT * G1_BYTES;

impl VerifyingKey {
    /// The digest that proofs and the key tree bind.
    pub fn digest(&self) -> Fr {
        poseidon2::hash(VK_DIGEST_DOMAIN, &self.digest_inputs())
    }

    /// What [`Self::digest`] hashes, in order.
    pub fn digest_inputs(&self) -> Vec<Fr> {
        let Shape { log_n, n_public, cell_bits } = self.shape;
        let mut inputs =
            vec![log_n, n_public, cell_bits].into_iter().map(Fr::from).collect::<Vec<_>>();
        if gone("verifier.key.digest.shape") {
            inputs.clear();
        }
        if !gone("verifier.key.digest.srs") {
            inputs.push(self.srs_id);
        }
        for point in self.fixed.iter().filter(|_| !gone("verifier.key.digest.fixed")) {
            inputs.extend([fq_mod_r(&point.x), fq_mod_r(&point.y)]);
        }
        inputs
    }

    /// Encodes the key: three 32-bit numbers, the SRS name, the commitments.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(VK_BYTES);
        for number in [self.shape.log_n, self.shape.n_public, self.shape.cell_bits] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&fr_to_bytes(&self.srs_id));
        for point in &self.fixed {
            out.extend_from_slice(&g1_to_bytes(point));
        }
        out
    }

    /// Reads a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let is_long = bytes.len() > VK_BYTES && gone("verifier.key.length");
        if bytes.len() != VK_BYTES && !is_long {
            return Err(KeyError::Length { expected: VK_BYTES, got: bytes.len() });
        }
        let number =
            |i: usize| bytes[4 * i..4 * i + 4].iter().fold(0u32, |acc, b| acc << 8 | u32::from(*b));
        let shape = Shape { log_n: number(0), n_public: number(1), cell_bits: number(2) };
        let range = |field, got: u32, ok: bool| {
            if ok { Ok(()) } else { Err(KeyError::Field { field, got: got.into() }) }
        };
        let fits = (4..=25).contains(&shape.log_n) || gone("verifier.key.log_n");
        range("log_n", shape.log_n, fits)?;
        let fits = (1..=16).contains(&shape.cell_bits) || gone("verifier.key.cell_bits");
        range("cell_bits", shape.cell_bits, fits)?;
        let rows = 1u64.checked_shl(shape.log_n).unwrap_or(0).saturating_sub(BLINDING_ROWS as u64);
        let fits = u64::from(shape.n_public) < rows || gone("verifier.key.n_public");
        range("n_public", shape.n_public, fits)?;
        let srs_id = fr_from_slice(&bytes[12..12 + FIELD_BYTES])
            .map_err(|source| KeyError::Part { part: 0, source })?;
        let mut fixed = [G1Affine::default(); fixed::COUNT];
        for (i, (slot, chunk)) in
            fixed.iter_mut().zip(bytes[12 + FIELD_BYTES..].chunks(G1_BYTES)).enumerate()
        {
            *slot =
                g1_from_slice(chunk).map_err(|source| KeyError::Part { part: 1 + i, source })?;
            if slot.is_zero() && !gone("verifier.key.identity") {
                return Err(KeyError::Identity { column: i });
            }
        }
        Ok(Self { shape, srs_id, fixed })
    }
}

/// Registered bases for one domain size.
#[derive(Debug)]
pub struct Bases<D: Device> {
    /// Lagrange basis of the domain.
    pub lagrange: D::Bases,
    /// Powers of τ, a few more than the domain has rows.
    pub monomial: D::Bases,
    /// Rows of the domain.
    pub(crate) n: usize,
    /// See [`Srs::id`].
    pub(crate) srs_id: Fr,
    check_msms: bool,
}

impl<D: Device> Bases<D> {
    /// Registers both bases of the domain of `2^log_n` rows; `lagrange` comes from [`Srs::lagrange`].
    pub fn new(device: &D, srs: &Srs, lagrange: &[G1Affine]) -> Result<Self, KeyError> {
        srs.require(lagrange.len())?;
        let powers = &srs.powers[..lagrange.len() + crate::srs::EXTRA_POWERS];
        Ok(Self {
            lagrange: device.register_bases(lagrange)?,
            monomial: device.register_bases(powers)?,
            n: lagrange.len(),
            srs_id: srs.id(),
            check_msms: false,
        })
    }

    /// Whether proofs check each batch of the device's commitments by a random linear combination, which costs
    /// one more MSM per batch.
    pub fn with_checked_msms(mut self, check_msms: bool) -> Self {
        self.check_msms = check_msms;
        self
    }

    /// Whether the two bases are of one SRS: committing to a vector of powers of a random number by values and
    /// by coefficients yields one point. Bases that differ pass with a probability below `2^log_n / r`, if
    /// nobody knew the seed when they were written.
    ///
    /// # Errors
    /// Those of the device.
    pub fn agree(&self, device: &D, log_n: u32, seed: [u64; 4]) -> Result<bool, DeviceError> {
        let number = commitment_check::random_factor(&seed, 0);
        let values = device.upload_vec(powers(number, 1 << log_n))?;
        let values: Column<D::Buffer, Lagrange> = Column::new(values);
        let coefficients = device.to_coeff(&[&values])?;
        let by_values = self.commit_values(device, &[&values.buffer])?;
        let coefficients: Vec<_> = coefficients.iter().map(|column| &column.buffer).collect();
        Ok(by_values == self.commit_coefficients(device, &coefficients)?)
    }

    /// Commits to polynomials by their values on the domain.
    pub(crate) fn commit_values(
        &self,
        device: &D,
        columns: &[&D::Buffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        self.commit(device, &self.lagrange, columns)
    }

    /// Uploads the values of polynomials on the domain, and commits to them.
    pub(crate) fn upload_values(
        &self,
        device: &D,
        columns: &[HostColumn<'_>],
    ) -> Result<Committed<D::Buffer>, DeviceError> {
        let (buffers, commitments) = device.upload_and_commit(&self.lagrange, columns)?;
        if self.check_msms {
            let columns: Vec<_> = buffers.iter().collect();
            commitment_check::check(device, &self.lagrange, &columns, &commitments)?;
        }
        Ok((buffers, commitments))
    }

    /// Commits to polynomials by their coefficients.
    pub(crate) fn commit_coefficients(
        &self,
        device: &D,
        columns: &[&D::Buffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        self.commit(device, &self.monomial, columns)
    }

    fn commit(
        &self,
        device: &D,
        bases: &D::Bases,
        columns: &[&D::Buffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        let commitments = device.commit(bases, columns)?;
        if self.check_msms {
            commitment_check::check(device, bases, columns, &commitments)?;
        }
        Ok(commitments)
    }
}

/// A circuit's proving key, on a device.
#[derive(Debug)]
pub struct ProvingKey<D: Device> {
    /// The verifier's part.
    pub vk: VerifyingKey,
    /// Its digest, computed once.
    pub vk_digest: Fr,
    /// The layout that the fixed columns are of.
    pub(crate) fingerprint: Fingerprint,
    /// Fixed columns by coefficients.
    pub fixed: Vec<Column<D::Buffer, Coeff>>,
    /// Fixed columns by values, from [`fixed::ARGUMENTS`] on.
    pub fixed_values: Vec<Column<D::Buffer, Lagrange>>,
    /// Powers of ω: the identity polynomial by values.
    pub identity: Column<D::Buffer, Lagrange>,
    /// The Lagrange polynomial of row 0, by values and by coefficients. Those of the last rows are its
    /// rotations.
    pub first: (Column<D::Buffer, Lagrange>, Column<D::Buffer, Coeff>),
    cosets: KeptCosets<D>,
}

/// Memory that keys may share for what they could compute again, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<AtomicU64>);

impl Budget {
    /// A budget of `bytes`; clones share it.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    fn reserve(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

type OnOneCoset<B> = Arc<Vec<Column<B, Coset>>>;

/// Columns that depend on the key alone, on the cosets that the quotient is evaluated on. Nearly half
/// of a proof's transforms are theirs, so they are cached up to the budget, and dropped when other work
/// needs their memory.
#[derive(Debug)]
struct KeptCosets<D: Device> {
    kept: Mutex<[Option<OnOneCoset<D::Buffer>>; QUOTIENT_CHUNKS]>,
    bytes_each: u64,
    budget: Budget,
}

impl<D: Device> KeptCosets<D> {
    fn kept(&self) -> MutexGuard<'_, [Option<OnOneCoset<D::Buffer>>; QUOTIENT_CHUNKS]> {
        self.kept.lock()
    }

    /// Drops what is cached. Returns its bytes.
    fn clear(&self) -> u64 {
        let dropped: Vec<_> = self.kept().iter_mut().filter_map(Option::take).collect();
        let bytes = dropped.len() as u64 * self.bytes_each;
        self.budget.release(bytes);
        bytes
    }
}

impl<D: Device> Drop for KeptCosets<D> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Representatives of the cosets that the quotient is evaluated on.
pub(crate) fn quotient_shifts(log_n: u32) -> [Fr; QUOTIENT_CHUNKS] {
    let eighth = omega(log_n + 3);
    std::array::from_fn(|i| Fr::from(GENERATOR) * eighth.pow([i as u64]))
}

/// Names a layout: SHA-256 over its shape and fixed columns. A key made for one layout serves exactly
/// the layouts of the same digest.
pub fn layout_digest(shape: &Shape, columns: &[Vec<Fr>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    if !gone("verifier.key.layout.shape") {
        for number in [shape.log_n, shape.n_public, shape.cell_bits] {
            hasher.update(number.to_be_bytes());
        }
    }
    for column in columns.iter().skip(usize::from(gone("verifier.key.layout.columns"))) {
        // In pieces that stay in the cache.
        for values in column.chunks(128) {
            let mut bytes = [0; 128 * FIELD_BYTES];
            for (chunk, value) in bytes.chunks_exact_mut(FIELD_BYTES).zip(values) {
                // Montgomery limbs: as good a name of the value as any, and free.
                for (word, limb) in chunk.chunks_exact_mut(8).zip(value.0.0) {
                    word.copy_from_slice(&limb.to_le_bytes());
                }
            }
            hasher.update(&bytes[..values.len() * FIELD_BYTES]);
        }
    }
    hasher.finalize().into()
}

/// Makes the verifying key: commits to every fixed column. `srs_id` is that of the bases, which are for the domain of
/// this shape.
///
/// # Errors
/// [`KeyError::OtherSrs`], [`KeyError::OtherSize`], [`KeyError::Identity`] and those of the device.
pub fn setup<D: Device>(
    device: &D,
    bases: &Bases<D>,
    srs_id: Fr,
    shape: Shape,
    columns: &[Vec<Fr>],
) -> Result<VerifyingKey, KeyError> {
    if bases.srs_id != srs_id {
        let [expected, got] = [srs_id, bases.srs_id].map(|id| srs_id_text(&id));
        return Err(KeyError::OtherSrs { expected, got });
    }
    if bases.n != shape.n() {
        return Err(KeyError::OtherSize { expected: shape.n(), got: bases.n });
    }
    let buffers = columns.iter().map(|c| device.upload(c)).collect::<Result<Vec<_>, _>>()?;
    let commitments = bases.commit_values(device, &buffers.iter().collect::<Vec<_>>())?;
    let mut fixed = [G1Affine::default(); fixed::COUNT];
    for (i, (slot, commitment)) in fixed.iter_mut().zip(&commitments).enumerate() {
        if commitment.is_zero() && !gone("verifier.key.made_identity") {
            return Err(KeyError::Identity { column: i });
        }
        *slot = *commitment;
    }
    Ok(VerifyingKey { shape, srs_id, fixed })
}

impl<D: Device> ProvingKey<D> {
    /// Brings a circuit's fixed columns to the device. `vk` must have been made from these columns: only the
    /// shapes are compared here, since a comparison of the commitments would cost as much as [`setup`].
    ///
    /// # Errors
    /// [`KeyError::Shape`] and those of the device.
    pub fn new(device: &D, vk: VerifyingKey, columns: &FixedColumns) -> Result<Self, KeyError> {
        if vk.shape != columns.shape {
            return Err(KeyError::Shape { expected: vk.shape, got: columns.shape });
        }
        let n = vk.shape.n();
        let upload = |values: &[Fr]| -> Result<Column<D::Buffer, Lagrange>, DeviceError> {
            Ok(Column::new(device.upload(values)?))
        };
        let mut fixed_values = columns.iter().map(|c| upload(c)).collect::<Result<Vec<_>, _>>()?;
        let fixed = device.to_coeff(&fixed_values.iter().collect::<Vec<_>>())?;
        fixed_values.drain(..fixed::ARGUMENTS);
        let identity = upload(&powers(omega(vk.shape.log_n), n))?;
        let mut first = vec![Fr::ZERO; n];
        first[0] = Fr::ONE;
        let first: Column<D::Buffer, Lagrange> = Column::new(device.upload_vec(first)?);
        let Some(first_coeff) = device.to_coeff(&[&first])?.pop() else {
            return Err(DeviceError::Shape {
                operation: "to_coeff",
                expected: "a column".into(),
                got: "none".into(),
            }
            .into());
        };
        Ok(Self {
            vk_digest: vk.digest(),
            vk,
            fingerprint: columns.fingerprint,
            fixed,
            fixed_values,
            identity,
            first: (first, first_coeff),
            cosets: KeptCosets {
                kept: Mutex::default(),
                bytes_each: ((fixed::COUNT + 1) * n * FIELD_BYTES) as u64,
                budget: Budget::default(),
            },
        })
    }

    /// Lets the key keep what it can compute again, as far as `budget` goes.
    pub fn with_budget(mut self, budget: &Budget) -> Self {
        self.cosets.budget = budget.clone();
        self
    }

    /// Drops what the key caches under its budget. Returns its bytes. What a running proof uses is freed when
    /// that proof ends.
    pub fn drop_kept(&self) -> u64 {
        self.cosets.clear()
    }

    /// The fixed columns, then the Lagrange polynomial of row 0, on the coset that the quotient's part
    /// `coset` is evaluated on.
    pub(crate) fn on_coset(
        &self,
        device: &D,
        coset: usize,
    ) -> Result<OnOneCoset<D::Buffer>, DeviceError> {
        let cosets = &self.cosets;
        if let Some(columns) = &cosets.kept()[coset] {
            return Ok(columns.clone());
        }
        let polys: Vec<_> = self.fixed.iter().chain([&self.first.1]).collect();
        let made = device.to_coset(&polys, quotient_shifts(self.vk.shape.log_n)[coset])?;
        let made = Arc::new(made);
        if cosets.budget.reserve(cosets.bytes_each) {
            let buffers: Vec<_> = made.iter().map(|column| &column.buffer).collect();
            let slot = &mut cosets.kept()[coset];
            // Another proof with this key may have been first.
            if slot.is_none() && device.keep(&buffers) {
                *slot = Some(made.clone());
            } else {
                cosets.budget.release(cosets.bytes_each);
            }
        }
        Ok(made)
    }
}
