//! The prover: from a witness to a proof, on any device.
//!
//! Rounds and their order: `docs/book/protocol.md`. Between upload and openings every large array
//! stays on the device.

mod arguments;
mod quotient;
mod rounds;

use ark_ff::{Field, PrimeField, Zero};
use rayon::prelude::*;
use rollmill_algebra::device::{
    Coeff, Column, Device, DeviceError, Expr, HostColumn, Lagrange, Row, Work,
};
use rollmill_algebra::{Fr, G1Affine};
use sha2::{Digest, Sha256};

use self::arguments::arguments;
use self::quotient::{public_values, quotient};
use self::rounds::Rounds;
use crate::gates::Challenges;
use crate::key::{Bases, ProvingKey};
use crate::layout::Witness;
use crate::proof::{EVALUATIONS, Proof};
use crate::schedule::{
    CLAIM_ORDER, CLAIMS, Challenge, Group, Message, OPENING_POINTS, OPENINGS, OpeningSet, ROUNDS,
};
use crate::shape::{BLINDING_ROWS, HELPERS, ROUTED, Shape, fixed};
use crate::srs::srs_id_text;
use crate::transcript::{Transcript, TranscriptKind};
use crate::verifier::opening_points;
use crate::weaken::{self, gone};

/// Columns in memory at a proof's peak, besides those of its key: in the quotient, where all its
/// polynomials are there by coefficients and on a coset, with the key's on that coset and what their
/// transforms keep between two passes.
pub const PEAK_COLUMNS: usize = 80;

/// Why no proof was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The witness was laid out for another circuit than the key.
    ///
    /// Do: Generate the key and the witness with the same build.
    #[error("{code}: the key is for {expected}, the witness has {got}", code = self.code())]
    Shape { expected: String, got: String },
    /// Key and witness belong to different circuits of the same size, or the circuit's code laid out other rows for
    /// this witness.
    ///
    /// Do: Use the key of this circuit. If it is, correct the circuit: it must lay out the same rows whatever the
    /// values are, so it must not branch on a value.
    #[error("{code}: key and witness belong to different circuits of the same size; use the key of this circuit, and do not branch on values when you lay it out", code = self.code())]
    Circuit,
    /// The bases are of another SRS or another size than the key.
    ///
    /// Do: Register the bases of the SRS and the size that the key was made with.
    #[error("{code}: the key is for {expected}, the bases are of {got}", code = self.code())]
    Bases { expected: String, got: String },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A commitment is the identity; with blinding this has negligible probability.
    ///
    /// Do: Prove again with another seed.
    #[error("{code}: a commitment is the identity point; prove again with another seed", code = self.code())]
    Identity,
    /// Nobody wanted the proof any more while it was made.
    ///
    /// Do: Nothing. Prove again if the proof is needed after all.
    #[error("{code}: stopped before the proof was finished, since nobody wants it any more", code = self.code())]
    Stopped,
}

rollmill_errors::coded! {
    ProveError {
        Self::Shape { .. } => "PLK-060" permanent,
        Self::Device(error) => (error),
        Self::Identity => "PLK-061",
        Self::Circuit => "PLK-062" permanent,
        Self::Bases { .. } => "PLK-063" permanent,
        Self::Stopped => "PLK-064",
    }
}

/// Where the values of the blinding rows come from.
#[derive(Debug, Clone, Copy)]
pub enum Blinding {
    /// Fixed values: the proof hides nothing. For proofs whose witness is public anyway.
    Off,
    /// A pseudo-random function of this secret seed and of everything that can change a challenge: key,
    /// transcript, public inputs, wires and multiplicities. The proof is zero-knowledge, and the same
    /// inputs produce the same bytes.
    On { seed: [u8; 32] },
}

/// What a test may see and change while a proof is made; [`prove`] runs with one that does neither, and
/// [`prove_while`] with one that may stop it.
///
/// A cheating prover bends the columns of the arguments. A test of zero knowledge raises one blinding
/// value while the challenges stay as they are, and looks at what a verifier sees.
pub trait Probe<D: Device> {
    /// Takes the blinding value number `index` of this proof.
    fn blinding(&mut self, index: usize, value: &mut Fr) {
        let _ = (index, value);
    }
    /// Whether to go on after a round.
    ///
    /// # Errors
    /// [`ProveError::Stopped`] where not.
    fn goes_on(&mut self) -> Result<(), ProveError> {
        Ok(())
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

/// The probe of an honest prover whose result may lose its use.
struct While<'a>(&'a dyn Fn() -> bool);

impl<D: Device> Probe<D> for While<'_> {
    fn goes_on(&mut self) -> Result<(), ProveError> {
        if (self.0)() { Ok(()) } else { Err(ProveError::Stopped) }
    }
}

/// Columns of the arguments: z, h0, h1, s.
pub const ARGUMENT_COLUMNS: usize = 2 + HELPERS;

const BLINDING_LABEL: &[u8] = b"rollmill plonk blinding v3";
/// Of proofs that hide nothing, whose values are public.
const NO_BLINDING_LABEL: &[u8] = b"rollmill blinding v1";

/// A stream of blinding values.
struct Blinder {
    key: [u8; 32],
    counter: u64,
    drawn: usize,
    hides: bool,
}

/// Adds an element to what is hashed, by its words in memory.
fn add(hasher: &mut Sha256, v: &Fr) {
    hasher.update(v.0.0.map(u64::to_le_bytes).as_flattened());
}

/// The hash of a column.
fn digest(column: &[Fr]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    column.iter().for_each(|v| add(&mut hasher, v));
    hasher.finalize().into()
}

impl Blinder {
    fn new(blinding: Blinding, kind: TranscriptKind, vk_digest: &Fr, witness: &Witness) -> Self {
        let mut hasher = Sha256::new();
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
                let mut columns: Vec<&[Fr]> = Vec::new();
                if !gone("zk.stream.wires") {
                    columns.extend(witness.wires.iter().map(Vec::as_slice));
                }
                if !gone("zk.stream.m") {
                    columns.push(&witness.m);
                }
                // All threads hash: the columns of 2^17 rows are 50 MiB.
                let digests: Vec<[u8; 32]> = columns.into_par_iter().map(digest).collect();
                hasher.update(digests.as_flattened());
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
/// A witness that does not satisfy it still yields bytes, which no verifier accepts; use
/// [`crate::check::check`] to find out why. The proof is a session of its own on the device: several
/// threads can prove at a time, and a proof that does not fit in memory fails with [`DeviceError::Memory`]
/// before it starts.
///
/// # Errors
/// [`ProveError::Shape`], [`ProveError::Circuit`] and [`ProveError::Bases`] when key, witness and bases do not
/// belong together, before any work is done; [`ProveError::Identity`], and those of the device.
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

/// As [`prove`], while the proof is needed: `goes_on` is asked after each of the rounds but the last.
///
/// # Errors
/// As [`prove`], and [`ProveError::Stopped`] once `goes_on` returns false.
pub fn prove_while<D: Device>(
    device: &D,
    key: &ProvingKey<D>,
    bases: &Bases<D>,
    kind: TranscriptKind,
    witness: &Witness,
    blinding: Blinding,
    goes_on: &dyn Fn() -> bool,
) -> Result<Proof, ProveError> {
    prove_with(device, key, bases, kind, witness, blinding, &mut While(goes_on))
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
    require_shape(&shape, witness)?;
    require_circuit(key, witness)?;
    require_bases(key, bases)?;
    let session = device.session(Work { name: "prove", n, columns: PEAK_COLUMNS })?;
    let device = session.as_ref().unwrap_or(device);
    let mut blinder = Blinder::new(blinding, kind, &key.vk_digest, witness);
    let mut rounds = Rounds::new(start_of_transcript(kind, &key.vk_digest, &witness.public));

    // Wires and multiplicities.
    let (wires, commitments) =
        upload_wires(device, bases, in_order_of_sending(witness), usable, &mut blinder, probe)?;
    rounds.send(commitments)?;
    rounds.draw(probe)?;
    let challenges = Challenges {
        eta: rounds.drawn.get(Challenge::Eta),
        beta: rounds.drawn.get(Challenge::Beta),
        gamma: rounds.drawn.get(Challenge::Gamma),
    };

    // Permutation product, lookup helpers, bus sum.
    let second = arguments(device, key, &wires, challenges, &mut blinder, probe)?;
    rounds.send(commit_values(device, bases, &second)?)?;
    rounds.draw(probe)?;
    let alpha = rounds.drawn.get(Challenge::Alpha);

    // The quotient.
    let all: Vec<&Values<D>> = wires.iter().chain(&second).collect();
    let polys = device.to_coeff(&all)?;
    drop(wires);
    drop(second);
    probe.polynomials(device, &polys)?;
    let public = public_values(device, &witness.public, &polys)?;
    let public = device.to_coeff(&[&public])?;
    let all: Vec<&Poly<D>> = polys.iter().chain(&public).collect();
    let chunks = quotient(device, key, &all, challenges, alpha, &mut blinder, probe)?;
    drop(public);
    probe.polynomials(device, &chunks)?;
    let buffers: Vec<_> = chunks.iter().map(|c| &c.buffer).collect();
    rounds.send(bases.commit_coefficients(device, &buffers)?)?;
    rounds.draw(probe)?;

    // Evaluations.
    let sent: Vec<&Poly<D>> = polys.iter().chain(&chunks).collect();
    let fixed: Vec<&Poly<D>> = key.fixed.iter().collect();
    let claims = CLAIM_ORDER.map(|claim| claim.pick(&sent, &fixed));
    let opening_points = opening_points(rounds.drawn.get(Challenge::Zeta), shape.log_n);
    let evaluations = evaluate(device, &claims, &opening_points)?;
    rounds.send_evaluations(&evaluations);
    rounds.draw(probe)?;

    open(device, bases, &claims, &opening_points, &mut rounds, probe)?;
    Ok(Proof::from_parts(&rounds.points(), evaluations))
}

fn require_shape(shape: &Shape, witness: &Witness) -> Result<(), ProveError> {
    let n = shape.n();
    let rows = witness.wires.first().map_or(0, Vec::len);
    if rows == n && witness.public.len() == shape.n_public as usize && witness.m.len() == n {
        return Ok(());
    }
    Err(ProveError::Shape {
        expected: format!("{n} rows and {} public inputs", shape.n_public),
        got: format!("{rows} rows and {} public inputs", witness.public.len()),
    })
}

fn require_circuit<D: Device>(key: &ProvingKey<D>, witness: &Witness) -> Result<(), ProveError> {
    match key.fingerprint == witness.fingerprint {
        true => Ok(()),
        false => Err(ProveError::Circuit),
    }
}

fn require_bases<D: Device>(key: &ProvingKey<D>, bases: &Bases<D>) -> Result<(), ProveError> {
    let (n, srs_id) = (key.vk.shape.n(), key.vk.srs_id);
    if (bases.n, bases.srs_id) == (n, srs_id) {
        return Ok(());
    }
    let text = |n: usize, srs_id: Fr| format!("{n} rows and SRS {}", srs_id_text(&srs_id));
    Err(ProveError::Bases { expected: text(n, srs_id), got: text(bases.n, bases.srs_id) })
}

/// A transcript with the statement: the key's digest and the public inputs.
fn start_of_transcript(kind: TranscriptKind, vk_digest: &Fr, public: &[Fr]) -> Transcript {
    let mut transcript = Transcript::new(kind, public.len());
    if !gone("transcript.key") {
        transcript.absorb(vk_digest);
    }
    if !gone("transcript.public") {
        public.iter().for_each(|p| transcript.absorb(p));
    }
    transcript
}

/// The last two rounds, SHPLONK: opens the claims, in the order of [`CLAIM_ORDER`], at the first points of
/// `opening_points`, as many as their sets have. Divisions drop remainders, so the interpolating polynomials
/// never appear.
fn open<D: Device, P: Probe<D> + ?Sized>(
    device: &D,
    bases: &Bases<D>,
    claims: &[&Poly<D>; CLAIMS],
    opening_points: &[Fr; OPENING_POINTS],
    rounds: &mut Rounds,
    probe: &mut P,
) -> Result<(), ProveError> {
    let mut combined = Vec::with_capacity(OPENINGS.len());
    for set in 0..OPENINGS.len() {
        let weighted = CLAIM_ORDER.iter().zip(claims).zip(&rounds.drawn.rho);
        let terms: Vec<_> = weighted
            .filter(|((claim, _), _)| claim.set == set)
            .map(|((_, column), rho)| (&column.buffer, *rho))
            .collect();
        combined.push(device.linear_combination(&terms)?);
    }
    let mut quotients: Vec<Poly<D>> = combined.iter().cloned().map(Column::new).collect();
    for (i, point) in opening_points.iter().enumerate() {
        // All sets that are opened there in one batch.
        let sets: Vec<usize> =
            (0..OPENINGS.len()).filter(|set| i < OPENINGS[*set].points).collect();
        let claims: Vec<_> = sets.iter().map(|set| (&quotients[*set], *point)).collect();
        for (set, quotient) in sets.iter().zip(device.divide_all(&claims)?) {
            quotients[*set] = quotient;
        }
    }
    let one = Fr::from(1u64);
    let h = {
        let terms: Vec<_> = quotients.iter().map(|quotient| (&quotient.buffer, one)).collect();
        device.linear_combination(&terms)?
    };
    drop(quotients);
    rounds.send(bases.commit_coefficients(device, &[&h])?)?;
    rounds.draw(probe)?;
    let z_prime = rounds.drawn.get(Challenge::ZPrime);
    let d = opening_points.map(|p| z_prime - p);
    let factor = |set: &OpeningSet| d[set.points..].iter().product::<Fr>();
    let terms: Vec<_> = combined
        .iter()
        .zip(OPENINGS.iter().map(factor))
        .chain([(&h, -d.iter().product::<Fr>())])
        .collect();
    let l: Poly<D> = Column::new(device.linear_combination(&terms)?);
    let w_prime = device.divide_by_linear(&l, z_prime)?;
    rounds.send(bases.commit_coefficients(device, &[&w_prime.buffer])?)?;
    Ok(())
}

/// The columns of a witness in the order in which round 1 sends them.
fn in_order_of_sending(witness: &Witness) -> Vec<&Vec<Fr>> {
    let (routed, limbs) = witness.wires.split_at(ROUTED);
    let Message::Points(groups) = ROUNDS[0].sends else { unreachable!("round 1 sends the wires") };
    let columns = groups.iter().flat_map(|group| match group {
        Group::Routed => routed,
        Group::Limbs => limbs,
        Group::Multiplicities => std::slice::from_ref(&witness.m),
        other => unreachable!("{other:?} follows from the first challenges"),
    });
    columns.collect()
}

/// Uploads the columns of round 1, with blinding from row `usable` on, and commits to them.
fn upload_wires<D: Device, P: Probe<D> + ?Sized>(
    device: &D,
    bases: &Bases<D>,
    columns: Vec<&Vec<Fr>>,
    usable: usize,
    blinder: &mut Blinder,
    probe: &mut P,
) -> Result<(Vec<Values<D>>, Vec<G1Affine>), DeviceError> {
    let draw = |(i, column): (usize, &&Vec<Fr>)| blinder.draw(i, column.len() - usable, probe);
    let blinding: Vec<Vec<Fr>> = columns.iter().enumerate().map(draw).collect();
    let columns: Vec<HostColumn<'_>> = columns
        .into_iter()
        .zip(&blinding)
        .map(|(values, rest)| HostColumn { values, start: usable, rest })
        .collect();
    let (buffers, commitments) = bases.upload_values(device, &columns)?;
    Ok((buffers.into_iter().map(Column::new).collect(), commitments))
}

fn commit_values<D: Device>(
    device: &D,
    bases: &Bases<D>,
    columns: &[Values<D>],
) -> Result<Vec<G1Affine>, DeviceError> {
    let buffers: Vec<_> = columns.iter().map(|c| &c.buffer).collect();
    bases.commit_values(device, &buffers)
}

/// Positions of the columns handed to the kernels: committed columns in the order of sending, then others.
mod at {
    use super::{Group, fixed};
    use crate::schedule::ROUNDS;
    pub(super) const W: usize = Group::Routed.point();
    pub(super) const L: usize = Group::Limbs.point();
    pub(super) const M: usize = Group::Multiplicities.point();
    pub(super) const Z: usize = Group::Product.point();
    pub(super) const H: usize = Group::Helpers.point();
    pub(super) const S: usize = Group::Sum.point();
    pub(super) const FIXED: usize = ROUNDS[0].points() + ROUNDS[1].points();
    pub(super) const FIRST: usize = FIXED + fixed::COUNT;
    pub(super) const X: usize = FIRST + 1;
    pub(super) const PUBLIC: usize = X + 1;
}

/// Zero on the blinding rows, one elsewhere, from the Lagrange polynomial of row 0 in `first`: that of
/// row `n − k` is its rotation by k.
fn active<E: Expr, R: Row<E>>(row: &R, first: usize) -> E {
    (1..=BLINDING_ROWS).fold(E::constant(Fr::ONE), |sum, k| sum - row.cell(first, k))
}

/// The evaluations of the columns of all claims, point by point.
fn evaluate<D: Device>(
    device: &D,
    columns: &[&Poly<D>; CLAIMS],
    points: &[Fr; OPENING_POINTS],
) -> Result<[Fr; EVALUATIONS], ProveError> {
    let mut places = Vec::with_capacity(EVALUATIONS);
    let mut claims: Vec<(&Poly<D>, Fr)> = Vec::with_capacity(EVALUATIONS);
    for (rotation, point) in points.iter().enumerate() {
        let all = CLAIM_ORDER.iter().zip(columns.iter().copied());
        for (claim, column) in all.filter(|(claim, _)| claim.evaluations().len() > rotation) {
            places.push(claim.evaluation + rotation);
            claims.push((column, *point));
        }
    }
    let values = device.evaluate_all(&claims)?;
    assert_eq!(values.len(), claims.len(), "a device evaluates each column");
    let mut out = [Fr::zero(); EVALUATIONS];
    for (place, value) in places.into_iter().zip(values) {
        out[place] = value;
    }
    Ok(out)
}
