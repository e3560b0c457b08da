//! The prover: from a witness to a proof, on any device.
//!
//! Rounds and their order: `docs/book/protocol.md`. Between upload and openings every large array
//! stays on the device.

mod arguments;
mod quotient;

use ark_ec::AffineRepr;
use ark_ff::{Field, PrimeField, Zero};
use rollmill_algebra::device::{Coeff, Column, Device, DeviceError, Expr, Lagrange, Row, Work};
use rollmill_algebra::field::omega;
use rollmill_algebra::{Fr, G1Affine};
use sha2::{Digest, Sha256};

use self::arguments::arguments;
use self::quotient::quotient;
use crate::gates::Challenges;
use crate::key::{Bases, ProvingKey};
use crate::layout::Witness;
use crate::proof::{CLAIMS, COMMITMENTS, EVALUATIONS, Proof, SET1, SET2};
use crate::shape::{BLINDING_ROWS, HELPERS, LIMBS, ROUTED, WIRES, fixed};
use crate::transcript::{Transcript, TranscriptKind, short_coefficient};
use crate::weaken::{self, gone};

/// Columns that a proof holds at its peak, besides those of its key: in the quotient, where all its
/// polynomials are there by coefficients and on a coset, with the key's on that coset and what their
/// transforms keep between two passes.
pub const PEAK_COLUMNS: usize = 80;

/// Why no proof was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The witness was laid out for another circuit than the key.
    ///
    /// Do: Generate the key and the witness with the same build.
    #[error("PLK-060: the key is for {expected}, the witness has {got}")]
    Shape { expected: String, got: String },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A commitment is the identity; with blinding this has negligible probability.
    ///
    /// Do: Prove again with another seed.
    #[error("PLK-061: a commitment is the identity point; prove again with another seed")]
    Identity,
}

/// Where the values of the blinding rows come from.
#[derive(Debug, Clone, Copy)]
pub enum Blinding {
    /// Fixed values: the proof hides nothing. For proofs whose witness is public anyway.
    Off,
    /// A pseudo-random function of this secret seed and of everything that can change a challenge: key,
    /// transcript, public inputs, wires and multiplicities. The proof is zero-knowledge, and the same
    /// inputs give the same bytes.
    On { seed: [u8; 32] },
}

/// What a test may see and change while a proof is made; [`prove`] runs with one that does neither.
///
/// A cheating prover bends the columns of the arguments. A test of zero knowledge raises one blinding
/// value while the challenges stay as they are, and looks at what a verifier sees.
pub trait Probe<D: Device> {
    /// Takes the blinding value number `index` of this proof.
    fn blinding(&mut self, index: usize, value: &mut Fr) {
        let _ = (index, value);
    }
    /// Takes the challenges of one round: `eta, beta, gamma`; `alpha`; `zeta`; the coefficients of the
    /// claims; `z'`.
    fn challenges(&mut self, values: &mut [Fr]) {
        let _ = values;
    }
    /// Takes z, h0, h1 and s by values, before they are blinded.
    ///
    /// # Errors
    /// The device's.
    fn arguments(
        &mut self,
        device: &D,
        columns: &mut [D::Buffer; ARGUMENT_COLUMNS],
    ) -> Result<(), DeviceError> {
        let _ = (device, columns);
        Ok(())
    }
    /// Takes committed polynomials: all wires, m, z, h0, h1 and s together, then the five chunks.
    ///
    /// # Errors
    /// The device's.
    fn polynomials(&mut self, device: &D, polys: &[Poly<D>]) -> Result<(), DeviceError> {
        let _ = (device, polys);
        Ok(())
    }
}

/// The probe of an honest prover.
struct Silent;

impl<D: Device> Probe<D> for Silent {}

/// Columns of the arguments: z, h0, h1, s.
pub const ARGUMENT_COLUMNS: usize = 2 + HELPERS;

const BLINDING_LABEL: &[u8] = b"rollmill plonk blinding v2";
/// Of proofs that hide nothing, whose values are public.
const NO_BLINDING_LABEL: &[u8] = b"rollmill blinding v1";

/// A stream of blinding values.
struct Blinder {
    key: [u8; 32],
    counter: u64,
    drawn: usize,
    hides: bool,
}

impl Blinder {
    fn new(blinding: Blinding, kind: TranscriptKind, vk_digest: &Fr, witness: &Witness) -> Self {
        let mut hasher = Sha256::new();
        let add = |hasher: &mut Sha256, v: &Fr| {
            v.0.0.iter().for_each(|limb| hasher.update(limb.to_le_bytes()));
        };
        let hides = match blinding {
            Blinding::Off => {
                hasher.update(NO_BLINDING_LABEL);
                add(&mut hasher, vk_digest);
                false
            }
            // How many values there are of each is fixed by the key.
            Blinding::On { seed } => {
                hasher.update(BLINDING_LABEL);
                if !gone("zk.stream.kind") {
                    hasher.update([u8::from(kind == TranscriptKind::Keccak)]);
                }
                if !gone("zk.stream.key") {
                    add(&mut hasher, vk_digest);
                }
                if !gone("zk.stream.public") {
                    witness.public.iter().for_each(|v| add(&mut hasher, v));
                }
                if !gone("zk.stream.wires") {
                    witness.wires.iter().flatten().for_each(|v| add(&mut hasher, v));
                }
                if !gone("zk.stream.m") {
                    witness.m.iter().for_each(|v| add(&mut hasher, v));
                }
                if !gone("zk.stream.seed") {
                    hasher.update(seed);
                }
                true
            }
        };
        Self { key: hasher.finalize().into(), counter: 0, drawn: 0, hides }
    }

    fn next<D: Device, P: Probe<D> + ?Sized>(&mut self, probe: &mut P) -> Fr {
        let mut bytes = [0u8; 64];
        for half in bytes.chunks_mut(32) {
            let mut hasher = Sha256::new();
            hasher.update(self.key);
            hasher.update(self.counter.to_le_bytes());
            half.copy_from_slice(&hasher.finalize());
            self.counter += 1;
        }
        let mut value = Fr::from_le_bytes_mod_order(&bytes);
        probe.blinding(self.drawn, &mut value);
        self.drawn += 1;
        value
    }

    /// `count` values for the committed column of this number, in the order of sending.
    fn draw<D: Device, P: Probe<D> + ?Sized>(
        &mut self,
        column: usize,
        count: usize,
        probe: &mut P,
    ) -> Vec<Fr> {
        let mut values: Vec<Fr> = (0..count).map(|_| self.next(probe)).collect();
        if gone(weaken::ZK_COLUMN[column]) {
            values.fill(Fr::zero());
        }
        // Few enough that what is seen of the column outnumbers them.
        if gone("zk.cells") {
            values[1..].fill(Fr::zero());
        }
        values
    }

    /// The two values that hide one chunk of the quotient from the next. A proof that hides nothing has
    /// one of them.
    fn border<D: Device, P: Probe<D> + ?Sized>(&mut self, border: usize, probe: &mut P) -> Vec<Fr> {
        let count = if self.hides { 2 } else { 1 };
        let mut values: Vec<Fr> = (0..count).map(|_| self.next(probe)).collect();
        for (i, value) in values.iter_mut().enumerate() {
            if gone(weaken::ZK_CHUNK[2 * border + i]) {
                *value = Fr::zero();
            }
        }
        values
    }
}

type Values<D> = Column<<D as rollmill_algebra::device::Memory>::Buffer, Lagrange>;
/// A polynomial by its coefficients, on a device.
pub type Poly<D> = Column<<D as rollmill_algebra::device::Memory>::Buffer, Coeff>;

/// Makes a proof that `witness` satisfies the circuit of `key`.
///
/// A witness that does not satisfy it still gives bytes, which no verifier accepts; use
/// [`crate::check::check`] to find out why. The proof is a session of its own on the device: several
/// threads may prove at a time, and one that cannot fit fails with [`DeviceError::Memory`] before it
/// begins.
pub fn prove<D: Device>(
    device: &D,
    key: &ProvingKey<D>,
    bases: &Bases<D>,
    kind: TranscriptKind,
    witness: &Witness,
    blinding: Blinding,
) -> Result<Proof, ProveError> {
    prove_with(device, key, bases, kind, witness, blinding, &mut Silent)
}

/// As [`prove`], with a probe.
///
/// # Errors
/// As [`prove`], and the probe's.
pub fn prove_with<D: Device, P: Probe<D> + ?Sized>(
    device: &D,
    key: &ProvingKey<D>,
    bases: &Bases<D>,
    kind: TranscriptKind,
    witness: &Witness,
    blinding: Blinding,
    probe: &mut P,
) -> Result<Proof, ProveError> {
    let shape = key.vk.shape;
    let (n, usable) = (shape.n(), shape.usable_rows());
    let rows = witness.wires.first().map_or(0, Vec::len);
    if rows != n || witness.public.len() != shape.n_public as usize || witness.m.len() != n {
        return Err(ProveError::Shape {
            expected: format!("{n} rows and {} public inputs", shape.n_public),
            got: format!("{rows} rows and {} public inputs", witness.public.len()),
        });
    }
    let session = device.session(Work { name: "prove", n, columns: PEAK_COLUMNS })?;
    let device = session.as_ref().unwrap_or(device);
    let mut blinder = Blinder::new(blinding, kind, &key.vk_digest, witness);
    let mut transcript = Transcript::new(kind, witness.public.len());
    if !gone("transcript.key") {
        transcript.absorb(&key.vk_digest);
    }
    if !gone("transcript.public") {
        witness.public.iter().for_each(|p| transcript.absorb(p));
    }
    let mut points = Vec::with_capacity(COMMITMENTS + 2);

    // Round 1: wires and multiplicities.
    let mut wires: Vec<Values<D>> = Vec::with_capacity(WIRES + 1);
    for (i, column) in witness.wires.iter().chain([&witness.m]).enumerate() {
        let mut values = device.upload(column)?;
        device.write(&mut values, usable, &blinder.draw(i, n - usable, probe))?;
        wires.push(Column::new(values));
    }
    commit_values(device, bases, &wires, &mut points, &mut transcript)?;
    let mut drawn = transcript.squeeze(3);
    probe.challenges(&mut drawn);
    let challenges = Challenges { eta: drawn[0], beta: drawn[1], gamma: drawn[2] };

    // Round 2: permutation product, lookup helpers, bus sum.
    let second = arguments(device, key, &wires, challenges, &mut blinder, probe)?;
    commit_values(device, bases, &second, &mut points, &mut transcript)?;
    let one_challenge = |transcript: &mut Transcript, probe: &mut P| {
        let mut drawn = transcript.squeeze(1);
        probe.challenges(&mut drawn);
        drawn[0]
    };
    let alpha = one_challenge(&mut transcript, probe);

    // Round 3: the quotient.
    let all: Vec<&Values<D>> = wires.iter().chain(&second).collect();
    let polys = device.to_coeff(&all)?;
    drop(wires);
    drop(second);
    probe.polynomials(device, &polys)?;
    let mut public = witness.public.clone();
    public.resize(n, Fr::zero());
    let public: Values<D> = Column::new(device.upload_vec(public)?);
    let public = device.to_coeff(&[&public])?;
    let all: Vec<&Poly<D>> = polys.iter().chain(&public).collect();
    let chunks = quotient(device, key, &all, challenges, alpha, &mut blinder, probe)?;
    drop(public);
    probe.polynomials(device, &chunks)?;
    let buffers: Vec<_> = chunks.iter().map(|c| &c.buffer).collect();
    absorb_commitments(bases.commit_coefficients(device, &buffers)?, &mut points, &mut transcript)?;
    let zeta = one_challenge(&mut transcript, probe);

    // Round 4: evaluations, in the order of the proof's sets.
    let sets = opening_sets(&polys, &chunks, &key.fixed);
    let w = omega(shape.log_n);
    let opening_points = [zeta, zeta * w, zeta * w * w];
    let evaluations = evaluate(device, &sets, &opening_points)?;
    if !gone("transcript.evaluations") {
        evaluations.iter().for_each(|e| transcript.absorb(e));
    }
    let mut rho: Vec<Fr> =
        transcript.squeeze_short(CLAIMS).into_iter().map(short_coefficient).collect();
    probe.challenges(&mut rho);

    // Round 5: SHPLONK. Divisions drop remainders, so the interpolating polynomials never appear.
    let mut combined = Vec::with_capacity(3);
    let mut at = 0;
    for set in &sets {
        let terms: Vec<_> =
            set.iter().zip(&rho[at..]).map(|(column, rho)| (&column.buffer, *rho)).collect();
        combined.push(device.linear_combination(&terms)?);
        at += set.len();
    }
    let mut quotients = Vec::with_capacity(3);
    for (i, buffer) in combined.iter().enumerate() {
        let mut column: Poly<D> = Column::new(buffer.clone());
        for point in &opening_points[..=i] {
            column = device.divide_by_linear(&column, *point)?;
        }
        quotients.push(column.buffer);
    }
    let one = Fr::from(1u64);
    let h = device.linear_combination(&quotients.iter().map(|q| (q, one)).collect::<Vec<_>>())?;
    absorb_commitments(bases.commit_coefficients(device, &[&h])?, &mut points, &mut transcript)?;
    let z_prime = one_challenge(&mut transcript, probe);
    let d = opening_points.map(|p| z_prime - p);
    let terms = [
        (&combined[0], d[1] * d[2]),
        (&combined[1], d[2]),
        (&combined[2], one),
        (&h, -(d[0] * d[1] * d[2])),
    ];
    let l: Poly<D> = Column::new(device.linear_combination(&terms)?);
    let w_prime = device.divide_by_linear(&l, z_prime)?;
    let last = bases.commit_coefficients(device, &[&w_prime.buffer])?;
    absorb_commitments(last, &mut points, &mut transcript)?;

    let points: [G1Affine; COMMITMENTS + 2] = std::array::from_fn(|i| points[i]);
    Ok(Proof::from_parts(&points, evaluations))
}

fn commit_values<D: Device>(
    device: &D,
    bases: &Bases<D>,
    columns: &[Values<D>],
    points: &mut Vec<G1Affine>,
    transcript: &mut Transcript,
) -> Result<(), ProveError> {
    let buffers: Vec<_> = columns.iter().map(|c| &c.buffer).collect();
    absorb_commitments(bases.commit_values(device, &buffers)?, points, transcript)
}

fn absorb_commitments(
    commitments: Vec<G1Affine>,
    points: &mut Vec<G1Affine>,
    transcript: &mut Transcript,
) -> Result<(), ProveError> {
    for point in commitments {
        if point.is_zero() {
            return Err(ProveError::Identity);
        }
        if !gone(weaken::POINT[points.len()]) {
            transcript.absorb_point(&point);
        }
        points.push(point);
    }
    Ok(())
}

/// Positions of the columns handed to the kernels.
mod at {
    use super::{LIMBS, ROUTED, fixed};
    pub(super) const W: usize = 0;
    pub(super) const L: usize = ROUTED;
    pub(super) const M: usize = ROUTED + LIMBS;
    pub(super) const Z: usize = M + 1;
    pub(super) const H: usize = Z + 1;
    pub(super) const S: usize = H + 2;
    pub(super) const FIXED: usize = S + 1;
    pub(super) const FIRST: usize = FIXED + fixed::COUNT;
    pub(super) const X: usize = FIRST + 1;
    pub(super) const PUBLIC: usize = X + 1;
}

/// Zero on the blinding rows, one elsewhere, from the Lagrange polynomial of row 0 in `first`: that of
/// row `n − k` is its rotation by k.
fn active<E: Expr, R: Row<E>>(row: &R, first: usize) -> E {
    (1..=BLINDING_ROWS).fold(E::constant(Fr::ONE), |sum, k| sum - row.cell(first, k))
}

/// The opened polynomials by set, in the order of [`Proof::claims`].
fn opening_sets<'a, B>(
    polys: &'a [Column<B, Coeff>],
    chunks: &'a [Column<B, Coeff>],
    fixed: &'a [Column<B, Coeff>],
) -> [Vec<&'a Column<B, Coeff>>; 3] {
    let set1 = [&polys[at::M], &polys[at::H], &polys[at::H + 1]]
        .into_iter()
        .chain(chunks)
        .chain(fixed)
        .collect();
    let set2 = polys[at::L..at::M].iter().chain([&polys[at::Z], &polys[at::S]]).collect();
    [set1, set2, polys[..ROUTED].iter().collect()]
}

fn evaluate<D: Device>(
    device: &D,
    sets: &[Vec<&Poly<D>>; 3],
    points: &[Fr; 3],
) -> Result<[Fr; EVALUATIONS], ProveError> {
    let mut out = [Fr::zero(); EVALUATIONS];
    let starts = [0, SET1, SET1 + 2 * SET2];
    for (r, point) in points.iter().enumerate() {
        let columns: Vec<&Poly<D>> = sets[r..].iter().flatten().copied().collect();
        let mut values = device.evaluate(&columns, *point)?.into_iter();
        for set in r..3 {
            for column in 0..sets[set].len() {
                out[starts[set] + (set + 1) * column + r] = values.next().unwrap_or_default();
            }
        }
    }
    Ok(out)
}
