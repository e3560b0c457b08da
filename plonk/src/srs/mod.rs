//! The structured reference string: powers of τ in G1, and τ in G2.
//!
//! A **development** SRS is generated here from a public τ. It is marked in its encoding, and every program
//! on a chain that is not a development chain must reject it ([`Srs::require_ceremony`]). The SRS of a
//! ceremony is imported ([`Srs::import_ptau`], [`Srs::import_flat`]) and checked.

mod flat;
mod known;
mod pinned;
mod ptau;

use ark_bn254::Bn254;
use ark_ec::pairing::Pairing;
use ark_ec::scalar_mul::BatchMulPreprocessing;
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{Field, PrimeField};
use rayon::prelude::*;
use rollmill_algebra::bytes::{
    DecodeError, G1_BYTES, G2_BYTES, g1_from_slice, g1_to_bytes, g2_from_bytes, g2_to_bytes,
};
use rollmill_algebra::field::{inverse_of_nonzero, omega};
use rollmill_algebra::{Fr, G1Affine, G1Projective, G2Affine};
use sha2::{Digest, Sha256};

pub use self::pinned::Pinned;
use crate::weaken::gone;

const MAGIC: &[u8; 8] = b"RMSRS\0\0\x01";
const HEADER_BYTES: usize = 8 + 1 + 8 + G2_BYTES;
/// Powers beyond the domain size that blinded quotient chunks need.
pub const EXTRA_POWERS: usize = 8;
/// Chains without value: the only ones on which a development SRS may be used. Generated Solidity verifiers
/// for a development SRS check the chain against this list.
///
/// 31337 is the default of anvil and hardhat. 1337, which geth uses for private networks of any purpose,
/// is not here.
pub const DEVELOPMENT_CHAINS: [u64; 1] = [31337];
/// Label from which the public τ of a development SRS is derived.
const DEVELOPMENT_LABEL: &[u8] = b"rollmill development srs: tau is public, never use with value";

/// Where an SRS comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// τ is publicly known.
    Development,
    /// Imported from a ceremony.
    Ceremony,
}

/// Why an SRS was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrsError {
    /// The file is not an SRS file of this version.
    ///
    /// Do: Generate or import one with `rollmill-agent srs`.
    #[error("{code}: not a Rollmill SRS file of this version, which begins with `RMSRS` and the version 1; make or import one with `rollmill-agent srs`", code = self.code())]
    Magic,
    /// The SRS file is shorter or longer than its header states.
    ///
    /// Do: Download or generate it again.
    #[error("{code}: the SRS file has {got} bytes, its header announces {expected}", code = self.code())]
    Length { expected: usize, got: usize },
    /// A point of the SRS is malformed.
    ///
    /// Do: Download the file again from a source that you trust.
    #[error("{code}: point {index} of the SRS is malformed: {cause}", code = self.code(), cause = rollmill_errors::Bare(.source))]
    Point { index: usize, source: DecodeError },
    /// The digest of the SRS file does not match its contents: it is damaged.
    ///
    /// Do: Download or generate it again.
    #[error("{code}: the SRS file's digest does not match its contents; fetch or make it again", code = self.code())]
    Digest,
    /// The first point of the SRS is not the generator.
    ///
    /// Do: Do not use this SRS. Download the file again from a source that you trust.
    #[error("{code}: the first point is not the generator", code = self.code())]
    Generator,
    /// The points of the SRS are not successive powers of one τ.
    ///
    /// Do: Do not use this SRS. Download the file again from a source that you trust.
    #[error("{code}: the points are not successive powers of one τ", code = self.code())]
    Powers,
    /// The SRS is too short for the circuit.
    ///
    /// Do: Generate or import a longer one with `rollmill-agent srs`.
    #[error("{code}: the SRS has {have} powers, {need} are needed; make or import a longer one", code = self.code())]
    TooShort { need: usize, have: usize },
    /// This is a development SRS, whose τ is public, and the chain is not a development chain.
    ///
    /// Do: Import the SRS of a ceremony with `rollmill-agent srs import`.
    #[error("{code}: this is a development SRS (its τ is public) and chain {chain_id} is not a development chain; import a ceremony's SRS", code = self.code())]
    Development { chain_id: u64 },
    /// The SRS differs from the pinned one.
    ///
    /// Do: Use the SRS with which the deployment's keys were made.
    #[error("{code}: the SRS is not the pinned one: expected digest {expected}, got {got}", code = self.code())]
    Pinned { expected: String, got: String },
    /// The SRS cannot be read.
    ///
    /// Do: Check its path and permissions.
    #[error("{code}: the SRS cannot be read: {reason}", code = self.code())]
    Read { reason: String },
    /// The file is not a readable ptau file.
    ///
    /// Do: Download it again, or pass a file that snarkjs can read.
    #[error("{code}: not a ptau file that can be read: expected {expected}, got {got}", code = self.code())]
    Ptau { expected: String, got: String },
    /// τ of this SRS is publicly known, so anyone can forge proofs under it.
    ///
    /// Do: Import the SRS of a ceremony with `rollmill-agent srs import`.
    #[error("{code}: τ of this SRS is publicly known ({what}), so anyone can forge proofs under it; import a ceremony's SRS", code = self.code())]
    Known { what: String },
    /// A section of the ptau file is malformed.
    ///
    /// Do: Download it again from a source that you trust.
    #[error("{code}: section {section} of the ptau file is wrong: {what}", code = self.code())]
    Section { section: u32, what: String },
}

rollmill_errors::coded! {
    SrsError {
        Self::Magic => "PLK-040",
        Self::Length { .. } => "PLK-041",
        Self::Point { .. } => "PLK-042",
        Self::Digest => "PLK-043",
        Self::Generator => "PLK-044",
        Self::Powers => "PLK-045",
        Self::TooShort { .. } => "PLK-046",
        Self::Development { .. } => "PLK-047",
        Self::Pinned { .. } => "PLK-048",
        Self::Read { .. } => "PLK-049",
        Self::Ptau { .. } => "PLK-070",
        Self::Known { .. } => "PLK-072",
        Self::Section { .. } => "PLK-071",
    }
}

/// Powers of τ.
#[derive(Debug, Clone)]
pub struct Srs {
    /// `[τ^i]` for `i` below the length.
    pub powers: Vec<G1Affine>,
    /// `[τ]` in G2.
    pub tau_g2: G2Affine,
    /// Where it comes from.
    pub origin: Origin,
}

/// τ of every development SRS.
pub fn development_tau() -> Fr {
    Fr::from_be_bytes_mod_order(&Sha256::digest(DEVELOPMENT_LABEL))
}

/// `[τ]` in G2 of every development SRS.
pub fn development_tau_g2() -> G2Affine {
    (G2Affine::generator() * development_tau()).into_affine()
}

impl Srs {
    /// Generates a development SRS for domains of up to `2^log_n` rows.
    pub fn development(log_n: u32) -> Self {
        Self::development_of((1usize << log_n) + EXTRA_POWERS)
    }

    /// Generates a development SRS of `count` powers, at least one.
    pub fn development_of(count: usize) -> Self {
        let scalars = rollmill_algebra::field::powers(development_tau(), count.max(1));
        Self {
            powers: fixed_base(&scalars),
            tau_g2: development_tau_g2(),
            origin: Origin::Development,
        }
    }

    /// The Lagrange basis of the domain of `2^log_n` rows: `[L_i(τ)]`, `2^log_n` points.
    ///
    /// A development SRS uses its public τ. An imported SRS needs an inverse transform over points, which
    /// takes minutes for large domains, so callers store the result.
    ///
    /// # Errors
    /// [`SrsError::TooShort`]
    pub fn lagrange(&self, log_n: u32) -> Result<Vec<G1Affine>, SrsError> {
        let n = 1usize << log_n;
        self.require(n)?;
        match self.origin {
            Origin::Development => Ok(fixed_base(&lagrange_at(development_tau(), log_n))),
            Origin::Ceremony => Ok(point_intt(&self.powers[..n], log_n)),
        }
    }

    /// Checks that there are powers for a domain of `n` rows: `n + EXTRA_POWERS`.
    ///
    /// # Errors
    /// [`SrsError::TooShort`]
    pub fn require(&self, n: usize) -> Result<(), SrsError> {
        let need = n + EXTRA_POWERS;
        let have = self.powers.len();
        let is_short = have < need && !gone("srs.require");
        if is_short { Err(SrsError::TooShort { need, have }) } else { Ok(()) }
    }

    /// Rejects a development SRS on a chain that is not one of [`DEVELOPMENT_CHAINS`].
    ///
    /// # Errors
    /// [`SrsError::Development`]
    pub fn require_ceremony(&self, chain_id: u64) -> Result<(), SrsError> {
        let allowed = DEVELOPMENT_CHAINS.contains(&chain_id) || gone("srs.development_chain");
        if self.origin == Origin::Development && !allowed {
            return Err(SrsError::Development { chain_id });
        }
        Ok(())
    }

    /// The id of the SRS, from τ in G2: SHA-256 of the encoding with the top byte zero. Keys contain it.
    pub fn id(&self) -> Fr {
        srs_id(&self.tau_g2)
    }

    /// SHA-256 of `[τ]_2` and of the first powers, as many as a domain of `2^log_n` rows needs. Unlike
    /// [`Self::id`], which depends on τ alone, it distinguishes forged powers from honest ones.
    pub fn powers_digest(&self, log_n: u32) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(g2_to_bytes(&self.tau_g2));
        for power in self.powers.iter().take((1 << log_n) + EXTRA_POWERS) {
            hasher.update(g1_to_bytes(power));
        }
        hasher.finalize().into()
    }

    /// Encodes the SRS: magic, origin, number of powers, `[τ]_2`, powers, SHA-256 of all of these.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.powers.len() * G1_BYTES + 32);
        out.extend_from_slice(MAGIC);
        out.push(u8::from(self.origin == Origin::Development));
        out.extend_from_slice(&(self.powers.len() as u64).to_be_bytes());
        out.extend_from_slice(&g2_to_bytes(&self.tau_g2));
        for power in &self.powers {
            out.extend_from_slice(&g1_to_bytes(power));
        }
        let digest = Sha256::digest(&out);
        out.extend_from_slice(&digest);
        out
    }

    /// Decodes an SRS. The digest detects damage. The pairing check of [`Self::check`] detects a wrong SRS;
    /// imports run it, this does not.
    ///
    /// # Errors
    /// [`SrsError::Magic`], [`SrsError::Length`], [`SrsError::Digest`], [`SrsError::Point`] and
    /// [`SrsError::Generator`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SrsError> {
        if bytes.len() < HEADER_BYTES + 32 || &bytes[..8] != MAGIC && !gone("srs.magic") {
            return Err(SrsError::Magic);
        }
        let (body, digest) = bytes.split_at(bytes.len() - 32);
        let mut count = [0u8; 8];
        count.copy_from_slice(&body[9..17]);
        let count = u64::from_be_bytes(count);
        let expected = usize::try_from(count)
            .ok()
            .and_then(|c| c.checked_mul(G1_BYTES))
            .and_then(|b| b.checked_add(HEADER_BYTES + 32))
            .unwrap_or(usize::MAX);
        if expected != bytes.len() && !gone("srs.length") {
            return Err(SrsError::Length { expected, got: bytes.len() });
        }
        if Sha256::digest(body).as_slice() != digest && !gone("srs.digest") {
            return Err(SrsError::Digest);
        }
        let origin = match body[8] {
            0 => Origin::Ceremony,
            1 => Origin::Development,
            _ => return Err(SrsError::Magic),
        };
        let mut g2 = [0u8; G2_BYTES];
        g2.copy_from_slice(&body[17..HEADER_BYTES]);
        let tau_g2 = g2_from_bytes(&g2).map_err(|source| SrsError::Point { index: 0, source })?;
        let origin = origin_of(&tau_g2, origin);
        let powers = decode_points(&body[HEADER_BYTES..])?;
        let srs = Self { powers, tau_g2, origin };
        if srs.powers.first() != Some(&G1Affine::generator()) && !gone("srs.generator") {
            return Err(SrsError::Generator);
        }
        Ok(srs)
    }

    /// Checks the whole SRS: the first point is the generator and each later point is τ times the one before
    /// it, by one random linear combination. `seed` must not be known to whoever made the SRS.
    ///
    /// # Errors
    /// [`SrsError::Generator`] and [`SrsError::Powers`]
    pub fn check(&self, seed: u64) -> Result<(), SrsError> {
        let starts = self.powers.first() == Some(&G1Affine::generator());
        let identity = self.tau_g2.is_zero();
        if !starts && !gone("srs.check.generator") || identity && !gone("srs.check.identity") {
            return Err(SrsError::Generator);
        }
        let pairs = self.powers.len().saturating_sub(1);
        let mut hasher = Sha256::new();
        hasher.update(seed.to_be_bytes());
        // τ is hashed too: an attacker who could choose it after ρ could make any points pass.
        if !gone("srs.check.tau_in_hash") {
            hasher.update(g2_to_bytes(&self.tau_g2));
        }
        for power in &self.powers {
            hasher.update(g1_to_bytes(power));
        }
        let rho = Fr::from_be_bytes_mod_order(&hasher.finalize());
        let scalars = rollmill_algebra::field::powers(rho, pairs);
        let low = G1Projective::msm_unchecked(&self.powers[..pairs], &scalars).into_affine();
        let high = G1Projective::msm_unchecked(&self.powers[1..], &scalars).into_affine();
        let left = Bn254::pairing(high, G2Affine::generator());
        if left != Bn254::pairing(low, self.tau_g2) && !gone("srs.check.powers") {
            return Err(SrsError::Powers);
        }
        Ok(())
    }
}

/// See [`Srs::id`].
pub fn srs_id(tau_g2: &G2Affine) -> Fr {
    let mut digest: [u8; 32] = Sha256::digest(g2_to_bytes(tau_g2)).into();
    digest[0] = 0;
    Fr::from_be_bytes_mod_order(&digest)
}

/// An SRS's id in hexadecimal.
pub(crate) fn srs_id_text(id: &Fr) -> String {
    hex::encode(rollmill_algebra::bytes::fr_to_bytes(id))
}

fn unreadable(error: std::io::Error) -> SrsError {
    SrsError::Read { reason: rollmill_errors::InWords(&error).to_string() }
}

/// The origin of an SRS. The mark cannot be removed: the known point makes it a development SRS, whatever the
/// file states.
fn origin_of(tau_g2: &G2Affine, stated: Origin) -> Origin {
    let is_development = *tau_g2 == development_tau_g2() && !gone("srs.origin");
    if is_development { Origin::Development } else { stated }
}

fn decode_points(bytes: &[u8]) -> Result<Vec<G1Affine>, SrsError> {
    if !bytes.len().is_multiple_of(G1_BYTES) {
        let expected = bytes.len().next_multiple_of(G1_BYTES);
        return Err(SrsError::Length { expected, got: bytes.len() });
    }
    bytes
        .par_chunks(G1_BYTES)
        .enumerate()
        .map(|(index, chunk)| {
            g1_from_slice(chunk).map_err(|source| SrsError::Point { index, source })
        })
        .collect()
}

/// `[s]` for every scalar.
fn fixed_base(scalars: &[Fr]) -> Vec<G1Affine> {
    let generator = G1Projective::from(G1Affine::generator());
    let table = BatchMulPreprocessing::new(generator, scalars.len());
    let chunk = scalars.len().div_ceil(rayon::current_num_threads()).max(1);
    scalars.par_chunks(chunk).flat_map_iter(|part| table.batch_mul(part)).collect()
}

/// `L_i(τ) = ω^i (τ^n − 1) / (n (τ − ω^i))`.
fn lagrange_at(tau: Fr, log_n: u32) -> Vec<Fr> {
    let n = 1usize << log_n;
    let domain = rollmill_algebra::field::powers(omega(log_n), n);
    let mut out: Vec<Fr> = domain.iter().map(|w| tau - w).collect();
    rollmill_algebra::field::batch_invert(&mut out);
    let n_inverse = inverse_of_nonzero(&Fr::from(n as u64));
    let factor = (tau.pow([n as u64]) - Fr::ONE) * n_inverse;
    out.iter_mut().zip(&domain).for_each(|(v, w)| *v *= factor * w);
    out
}

/// Inverse transform over points: Lagrange bases out of powers.
fn point_intt(powers: &[G1Affine], log_n: u32) -> Vec<G1Affine> {
    let n = powers.len();
    let mut a: Vec<G1Projective> = powers.iter().map(|p| p.into_group()).collect();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - log_n);
        if log_n > 0 && i < j {
            a.swap(i, j);
        }
    }
    let inverse = inverse_of_nonzero(&omega(log_n));
    let mut half = 1;
    while half < n {
        let step = inverse.pow([(n / (2 * half)) as u64]);
        let twiddles = rollmill_algebra::field::powers(step, half);
        a.par_chunks_mut(2 * half).for_each(|block| {
            let (low, high) = block.split_at_mut(half);
            low.par_iter_mut().zip(high).zip(&twiddles).for_each(|((x, y), t)| {
                let product = *y * t;
                *y = *x - product;
                *x += product;
            });
        });
        half *= 2;
    }
    let n_inverse = inverse_of_nonzero(&Fr::from(n as u64));
    a.par_iter_mut().for_each(|p| *p *= n_inverse);
    G1Projective::normalize_batch(&a)
}
