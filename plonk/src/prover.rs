//! The prover: from a witness to a proof, on any device.
//!
//! Rounds and their order: `docs/book/protocol.md`. Between upload and openings every large array
//! stays on the device, but for the few blinding cells that are patched in on the host.

use ark_ec::AffineRepr;
use ark_ff::{Field, PrimeField, Zero};
use rollmill_algebra::device::{
    Coeff, Column, Coset, Device, DeviceError, Expr, Lagrange, Row, RowKernel,
};
use rollmill_algebra::field::{omega, powers};
use rollmill_algebra::{Fr, G1Affine};
use sha2::{Digest, Sha256};

use crate::gates::{CONSTRAINTS, Cells, Challenges, Constants, Fold, bus_fractions, constraints};
use crate::key::{Bases, ProvingKey};
use crate::layout::Witness;
use crate::proof::{CLAIMS, COMMITMENTS, EVALUATIONS, Proof, SET1, SET2};
use crate::shape::{
    GENERATOR, HELPERS, LIMBS, QUOTIENT_CHUNKS, ROUTED, WIRES, column_cosets, fixed,
};
use crate::transcript::{Transcript, TranscriptKind, short_coefficient};

/// Why no proof was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The witness was laid out for another circuit.
    #[error("PLK-060: the key is for {expected}, the witness has {got}")]
    Shape { expected: String, got: String },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A commitment came out as the identity; with blinding this has negligible chance.
    #[error("PLK-061: a commitment is the identity point; prove again with another seed")]
    Identity,
}

/// Where the values of the blinding rows come from.
#[derive(Debug, Clone, Copy)]
pub enum Blinding {
    /// Fixed values: the proof hides nothing. For proofs whose witness is public anyway.
    Off,
    /// A pseudo-random function of this secret seed, the key and the witness: the proof is
    /// zero-knowledge, and the same inputs give the same bytes.
    On { seed: [u8; 32] },
}

/// A stream of blinding values.
struct Blinder {
    key: [u8; 32],
    counter: u64,
}

impl Blinder {
    fn new(blinding: Blinding, vk_digest: &Fr, witness: &Witness) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"rollmill blinding v1");
        let mut add = |v: &Fr| v.0.0.iter().for_each(|limb| hasher.update(limb.to_le_bytes()));
        add(vk_digest);
        if let Blinding::On { seed } = blinding {
            witness.wires.iter().flatten().for_each(add);
            hasher.update(seed);
        }
        Self { key: hasher.finalize().into(), counter: 0 }
    }

    fn next(&mut self) -> Fr {
        let mut bytes = [0u8; 64];
        for half in bytes.chunks_mut(32) {
            let mut hasher = Sha256::new();
            hasher.update(self.key);
            hasher.update(self.counter.to_le_bytes());
            half.copy_from_slice(&hasher.finalize());
            self.counter += 1;
        }
        Fr::from_le_bytes_mod_order(&bytes)
    }

    fn fill(&mut self, cells: &mut [Fr]) {
        cells.iter_mut().for_each(|cell| *cell = self.next());
    }
}

type Values<D> = Column<<D as rollmill_algebra::device::Memory>::Buffer, Lagrange>;
type Poly<D> = Column<<D as rollmill_algebra::device::Memory>::Buffer, Coeff>;

/// Makes a proof that `witness` satisfies the circuit of `key`.
///
/// A witness that does not satisfy it still gives bytes, which no verifier accepts; use
/// [`crate::check::check`] to find out why.
pub fn prove<D: Device>(
    device: &D,
    key: &ProvingKey<D>,
    bases: &Bases<D>,
    kind: TranscriptKind,
    witness: &Witness,
    blinding: Blinding,
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
    let mut blinder = Blinder::new(blinding, &key.vk_digest, witness);
    let mut transcript = Transcript::new(kind, witness.public.len());
    transcript.absorb(&key.vk_digest);
    witness.public.iter().for_each(|p| transcript.absorb(p));
    let mut points = Vec::with_capacity(COMMITMENTS + 2);

    // Round 1: wires and multiplicities.
    let mut wires: Vec<Values<D>> = Vec::with_capacity(WIRES + 1);
    for column in witness.wires.iter().chain([&witness.m]) {
        let mut values = column.clone();
        blinder.fill(&mut values[usable..]);
        wires.push(Column::new(device.upload(&values)?));
    }
    commit_values(device, bases, &wires, &mut points, &mut transcript)?;
    let drawn = transcript.squeeze(3);
    let challenges = Challenges { eta: drawn[0], beta: drawn[1], gamma: drawn[2] };

    // Round 2: permutation product, lookup helpers, bus sum.
    let second = arguments(device, key, &wires, challenges, &mut blinder)?;
    commit_values(device, bases, &second, &mut points, &mut transcript)?;
    let alpha = transcript.squeeze(1)[0];

    // Round 3: the quotient.
    let all: Vec<&Values<D>> = wires.iter().chain(&second).collect();
    let polys = device.to_coeff(&all)?;
    drop(wires);
    drop(second);
    let mut public = vec![Fr::zero(); n];
    public[..witness.public.len()].copy_from_slice(&witness.public);
    let public: Values<D> = Column::new(device.upload(&public)?);
    let public = device.to_coeff(&[&public])?;
    let chunks = quotient(device, key, &polys, &public, challenges, alpha)?;
    let chunks = blind_chunks(device, chunks, n, &mut blinder)?;
    let buffers: Vec<_> = chunks.iter().map(|c| &c.buffer).collect();
    absorb_commitments(device.commit(&bases.monomial, &buffers)?, &mut points, &mut transcript)?;
    let zeta = transcript.squeeze(1)[0];

    // Round 4: evaluations, in the order of the proof's sets.
    let sets = opening_sets(&polys, &chunks, &key.fixed);
    let w = omega(shape.log_n);
    let opening_points = [zeta, zeta * w, zeta * w * w];
    let evaluations = evaluate(device, &sets, &opening_points)?;
    evaluations.iter().for_each(|e| transcript.absorb(e));
    let rho: Vec<Fr> =
        transcript.squeeze_short(CLAIMS).into_iter().map(short_coefficient).collect();

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
    absorb_commitments(device.commit(&bases.monomial, &[&h])?, &mut points, &mut transcript)?;
    let z_prime = transcript.squeeze(1)[0];
    let d = opening_points.map(|p| z_prime - p);
    let terms = [
        (&combined[0], d[1] * d[2]),
        (&combined[1], d[2]),
        (&combined[2], one),
        (&h, -(d[0] * d[1] * d[2])),
    ];
    let l: Poly<D> = Column::new(device.linear_combination(&terms)?);
    let w_prime = device.divide_by_linear(&l, z_prime)?;
    let last = device.commit(&bases.monomial, &[&w_prime.buffer])?;
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
    absorb_commitments(device.commit(&bases.lagrange, &buffers)?, points, transcript)
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
        transcript.absorb_point(&point);
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
    pub(super) const X: usize = FIXED + fixed::COUNT;
    pub(super) const ACTIVE: usize = X + 1;
    pub(super) const FIRST: usize = ACTIVE + 1;
    pub(super) const LAST: usize = FIRST + 1;
    pub(super) const PUBLIC: usize = LAST + 1;
}

/// Numerators and denominators of the permutation product and of the bus.
struct ArgumentKernel {
    challenges: Challenges<Fr>,
    cell_bits: u32,
}

impl RowKernel for ArgumentKernel {
    type Constants<E: Expr> = (Constants<E>, [E; ROUTED]);
    fn constants<E: Expr>(&self) -> Self::Constants<E> {
        let Challenges { eta, beta, gamma } = self.challenges;
        let challenges = Challenges {
            eta: E::constant(eta),
            beta: E::constant(beta),
            gamma: E::constant(gamma),
        };
        let names = column_cosets().map(|k| E::constant(k * beta));
        (Constants::new(challenges, self.cell_bits), names)
    }
    fn outputs(&self) -> usize {
        2 * (HELPERS + 2)
    }
    fn eval<E: Expr, R: Row<E>>(&self, k: &Self::Constants<E>, row: &R, out: &mut [E]) {
        let (k, names) = k;
        // The order of columns here: wires, m, fixed, identity, active.
        const FIXED: usize = WIRES + 1;
        let zero = E::constant(Fr::zero());
        let w: [[E; ROUTED]; 3] =
            std::array::from_fn(|r| std::array::from_fn(|i| row.cell(at::W + i, r)));
        let Challenges { beta, gamma, .. } = k.challenges.clone();
        let x = row.cell(FIXED + fixed::COUNT, 0);
        let mut numerator = E::constant(Fr::from(1u64));
        let mut denominator = numerator.clone();
        for i in 0..ROUTED {
            let shifted = w[0][i].clone() + gamma.clone();
            numerator = numerator * (shifted.clone() + x.clone() * names[i].clone());
            let sigma = row.cell(FIXED + fixed::SIGMA + i, 0);
            denominator = denominator * (shifted + sigma * beta.clone());
        }
        let cells = Cells {
            w,
            l: [
                std::array::from_fn(|i| row.cell(at::L + i, 0)),
                std::array::from_fn(|_| zero.clone()),
            ],
            fixed: std::array::from_fn(|i| row.cell(FIXED + i, 0)),
            m: row.cell(at::M, 0),
            h: [zero.clone(), zero.clone()],
            z: [zero.clone(), zero.clone()],
            s: [zero.clone(), zero.clone()],
            x: zero.clone(),
            active: row.cell(FIXED + fixed::COUNT + 1, 0),
            first: zero.clone(),
            last: zero.clone(),
            public: zero,
        };
        out[0] = numerator;
        out[1] = denominator;
        for (i, fraction) in bus_fractions(k, &cells).into_iter().enumerate() {
            out[2 + 2 * i] = fraction.numerator;
            out[3 + 2 * i] = fraction.denominator;
        }
    }
}

/// Multiplies pairs of columns.
struct ProductKernel;

impl RowKernel for ProductKernel {
    type Constants<E: Expr> = ();
    fn constants<E: Expr>(&self) {}
    fn outputs(&self) -> usize {
        HELPERS + 2
    }
    fn eval<E: Expr, R: Row<E>>(&self, _: &(), row: &R, out: &mut [E]) {
        let ratio: Vec<E> =
            (0..HELPERS + 2).map(|i| row.cell(2 * i, 0) * row.cell(2 * i + 1, 0)).collect();
        let step = ratio[1].clone() + ratio[2].clone() + ratio[3].clone();
        out[0] = ratio[0].clone();
        out[1] = ratio[1].clone();
        out[2] = ratio[2].clone();
        out[3] = step;
    }
}

/// z, the helpers and s, in the order in which they are sent, blinded.
fn arguments<D: Device>(
    device: &D,
    key: &ProvingKey<D>,
    wires: &[Values<D>],
    challenges: Challenges<Fr>,
    blinder: &mut Blinder,
) -> Result<Vec<Values<D>>, ProveError> {
    let columns: Vec<&D::Buffer> = wires
        .iter()
        .chain(&key.fixed_values)
        .chain([&key.identity, &key.active.0])
        .map(|c| &c.buffer)
        .collect();
    let kernel = ArgumentKernel { challenges, cell_bits: key.vk.shape.cell_bits };
    let mut fractions = device.rows(&kernel, &columns)?;
    for denominator in fractions.iter_mut().skip(1).step_by(2) {
        device.invert(denominator)?;
    }
    let ratios = device.rows(&ProductKernel, &fractions.iter().collect::<Vec<_>>())?;
    drop(fractions);
    let z = device.prefix_product(&ratios[0])?;
    let s = device.prefix_sum(&ratios[3])?;
    let usable = key.vk.shape.usable_rows();
    // z and s end on the first blinding row with the values the verifier asks for; the helpers have no
    // constraint there.
    let blinded = [(&z, usable + 1), (&ratios[1], usable), (&ratios[2], usable), (&s, usable + 1)];
    let mut out = Vec::with_capacity(4);
    for (buffer, from) in blinded {
        let mut values = device.download(buffer)?;
        blinder.fill(&mut values[from..]);
        out.push(Column::new(device.upload(&values)?));
    }
    Ok(out)
}

/// Every constraint, folded by powers of α.
struct QuotientKernel {
    challenges: Challenges<Fr>,
    cell_bits: u32,
    alpha_powers: Vec<Fr>,
}

impl RowKernel for QuotientKernel {
    type Constants<E: Expr> = (Constants<E>, Vec<E>);
    fn constants<E: Expr>(&self) -> Self::Constants<E> {
        let Challenges { eta, beta, gamma } = self.challenges;
        let challenges = Challenges {
            eta: E::constant(eta),
            beta: E::constant(beta),
            gamma: E::constant(gamma),
        };
        let powers = self.alpha_powers.iter().map(|p| E::constant(*p)).collect();
        (Constants::new(challenges, self.cell_bits), powers)
    }
    fn outputs(&self) -> usize {
        1
    }
    fn eval<E: Expr, R: Row<E>>(&self, k: &Self::Constants<E>, row: &R, out: &mut [E]) {
        let cells = Cells {
            w: std::array::from_fn(|r| std::array::from_fn(|i| row.cell(at::W + i, r))),
            l: std::array::from_fn(|r| std::array::from_fn(|i| row.cell(at::L + i, r))),
            fixed: std::array::from_fn(|i| row.cell(at::FIXED + i, 0)),
            m: row.cell(at::M, 0),
            h: std::array::from_fn(|i| row.cell(at::H + i, 0)),
            z: std::array::from_fn(|r| row.cell(at::Z, r)),
            s: std::array::from_fn(|r| row.cell(at::S, r)),
            x: row.cell(at::X, 0),
            active: row.cell(at::ACTIVE, 0),
            first: row.cell(at::FIRST, 0),
            last: row.cell(at::LAST, 0),
            public: row.cell(at::PUBLIC, 0),
        };
        let mut fold = Fold::new(&k.1);
        constraints(&k.0, &cells, &mut fold);
        out[0] = fold.finish();
    }
}

/// The quotient by `X^n − 1`, cut into chunks of `n` coefficients.
///
/// Evaluated coset by coset: on the coset `g_j·H` the polynomial `X^n` is the constant `g_j^n`, so the
/// values there give `T_j = Σ_i (g_j^n)^i t_i`, and five cosets give the five chunks.
fn quotient<D: Device>(
    device: &D,
    key: &ProvingKey<D>,
    polys: &[Poly<D>],
    public: &[Poly<D>],
    challenges: Challenges<Fr>,
    alpha: Fr,
) -> Result<Vec<Poly<D>>, ProveError> {
    let shape = key.vk.shape;
    let kernel = QuotientKernel {
        challenges,
        cell_bits: shape.cell_bits,
        alpha_powers: powers(alpha, CONSTRAINTS),
    };
    let n = shape.n();
    let eighth = omega(shape.log_n + 3);
    let mut shifts = [Fr::zero(); QUOTIENT_CHUNKS];
    let mut shift = Fr::from(GENERATOR);
    for slot in &mut shifts {
        *slot = shift;
        shift *= eighth;
    }
    let mut parts: Vec<D::Buffer> = Vec::with_capacity(QUOTIENT_CHUNKS);
    for shift in shifts {
        let sources: Vec<&Poly<D>> = polys
            .iter()
            .chain(&key.fixed)
            .chain([&key.active.1, &key.ends[0], &key.ends[1]])
            .chain(public)
            .collect();
        let mut columns = device.to_coset(&sources, shift)?;
        let identity = Column::new(device.linear_combination(&[(&key.identity.buffer, shift)])?);
        columns.insert(at::X, identity);
        let buffers: Vec<&D::Buffer> = columns.iter().map(|c| &c.buffer).collect();
        let mut values = device.rows(&kernel, &buffers)?;
        let Some(values) = values.pop() else { continue };
        let values: Column<D::Buffer, Coset> = Column::new(values);
        let coefficients = device.from_coset(&[&values], shift)?;
        parts.extend(coefficients.into_iter().map(|c| c.buffer));
    }
    let nodes = shifts.map(|s| s.pow([n as u64]));
    let inverse = inverse_vandermonde(nodes);
    let mut chunks = Vec::with_capacity(QUOTIENT_CHUNKS);
    for row in inverse {
        let terms: Vec<_> = parts
            .iter()
            .zip(row.iter().zip(nodes))
            .map(|(part, (v, node))| {
                // The vanishing polynomial is the constant node − 1 on a coset.
                (part, *v * (node - Fr::ONE).inverse().unwrap_or_default())
            })
            .collect();
        chunks.push(Column::new(device.linear_combination(&terms)?));
    }
    Ok(chunks)
}

/// Row `i` holds the weights that take the values `T(node_j)` to coefficient `i` of T.
fn inverse_vandermonde(nodes: [Fr; QUOTIENT_CHUNKS]) -> [[Fr; QUOTIENT_CHUNKS]; QUOTIENT_CHUNKS] {
    let mut out = [[Fr::zero(); QUOTIENT_CHUNKS]; QUOTIENT_CHUNKS];
    for (j, node) in nodes.iter().enumerate() {
        // Coefficients of Π_{k≠j} (X − node_k) / (node_j − node_k).
        let mut poly = vec![Fr::ONE];
        let mut scale = Fr::ONE;
        for (k, other) in nodes.iter().enumerate() {
            if k == j {
                continue;
            }
            scale *= *node - other;
            let mut next = vec![Fr::zero(); poly.len() + 1];
            for (i, c) in poly.iter().enumerate() {
                next[i + 1] += c;
                next[i] -= *c * other;
            }
            poly = next;
        }
        let scale = scale.inverse().unwrap_or_default();
        for (i, c) in poly.into_iter().enumerate() {
            out[i][j] = c * scale;
        }
    }
    out
}

/// Hides the chunks from each other: `t_i += b_i X^n`, `t_{i+1} −= b_i`.
fn blind_chunks<D: Device>(
    device: &D,
    chunks: Vec<Poly<D>>,
    n: usize,
    blinder: &mut Blinder,
) -> Result<Vec<Poly<D>>, ProveError> {
    let mut carried = Fr::zero();
    let mut out = Vec::with_capacity(chunks.len());
    let last = chunks.len() - 1;
    for (i, chunk) in chunks.into_iter().enumerate() {
        let mut values = device.download(&chunk.buffer)?;
        values[0] -= carried;
        if i < last {
            carried = blinder.next();
            values.resize(n, Fr::zero());
            values.push(carried);
        }
        out.push(Column::new(device.upload(&values)?));
    }
    Ok(out)
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
