//! Checks a device's commitments by one random linear relation among them.

use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::Zero;
use rayon::prelude::*;
use rollmill_algebra::bytes::g1_to_bytes;
use rollmill_algebra::device::{Device, DeviceError};
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use sha2::{Digest, Sha256};

use crate::key::Bases;

/// Bytes of a random factor: a wrong commitment passes with probability 2^−128.
const FACTOR_BYTES: usize = 16;

/// Requires `Σ ρ_i · commitments[i]` to be the device's commitment to `Σ ρ_i · columns[i]`, where the factors
/// ρ are a hash of the commitments.
///
/// It costs one MSM with full-size scalars and detects any MSM of this batch that the device computed wrongly.
/// It does not detect wrong bases on the device, whose MSMs agree with one another; no proof that uses them
/// verifies.
///
/// # Errors
/// [`DeviceError::Wrong`] when they differ, and the device's own errors.
pub(crate) fn check<D: Device>(
    device: &D,
    bases: &D::Bases,
    columns: &[&D::Buffer],
    commitments: &[G1Affine],
) -> Result<(), DeviceError> {
    let factors = factors(commitments);
    let terms: Vec<(&D::Buffer, Fr)> = columns.iter().copied().zip(factors.clone()).collect();
    if terms.is_empty() {
        return Ok(());
    }
    let combined = device.linear_combination(&terms)?;
    let got = device.commit(bases, &[&combined])?;
    let expected =
        G1Projective::msm(commitments, &factors).expect("one factor for each").into_affine();
    if columns.len() == commitments.len() && got == [expected] {
        return Ok(());
    }
    Err(DeviceError::Wrong { device: device.name(), operation: "commit" })
}

/// A claim that points are the commitments to columns of values. Random factors combine any number of them,
/// so that the check takes one commitment.
#[derive(Debug)]
pub struct CommitmentClaim {
    seed: [u64; 4],
    column: Vec<Fr>,
    commitments: Vec<G1Affine>,
    factors: Vec<Fr>,
}

impl CommitmentClaim {
    /// An empty claim. The seed must be unknown to whoever made the commitments.
    pub fn new(seed: [u64; 4]) -> Self {
        Self { seed, column: Vec::new(), commitments: Vec::new(), factors: Vec::new() }
    }

    /// Adds columns of one length and the claimed commitment to each.
    pub fn add(&mut self, columns: &[Vec<Fr>], commitments: &[G1Affine]) {
        let first = self.factors.len() as u64;
        let factors: Vec<Fr> =
            (0..commitments.len() as u64).map(|i| random_factor(&self.seed, first + i)).collect();
        let rows = columns.iter().map(Vec::len).max().unwrap_or(0).max(self.column.len());
        self.column.resize(rows, Fr::from(0u64));
        self.column.par_iter_mut().enumerate().for_each(|(row, sum)| {
            for (column, factor) in columns.iter().zip(&factors) {
                if let Some(value) = column.get(row).filter(|value| !value.is_zero()) {
                    *sum += *value * factor;
                }
            }
        });
        self.commitments.extend_from_slice(commitments);
        self.factors.extend(factors);
    }

    /// Whether every commitment is right. A false claim passes with probability 2^−128.
    ///
    /// # Errors
    /// Those of the device.
    pub fn holds<D: Device>(&self, device: &D, bases: &Bases<D>) -> Result<bool, DeviceError> {
        let column = device.upload(&self.column)?;
        let got = bases.commit_values(device, &[&column])?;
        let claimed =
            G1Projective::msm(&self.commitments, &self.factors).expect("one factor for each");
        Ok(got == [claimed.into_affine()])
    }
}

/// Random number `index` of the seed, 128 bits.
pub(crate) fn random_factor(seed: &[u64; 4], index: u64) -> Fr {
    let mut hasher = Sha256::new();
    seed.iter().chain([&index]).for_each(|word| hasher.update(word.to_le_bytes()));
    let digest = hasher.finalize();
    let bytes = *digest.first_chunk::<FACTOR_BYTES>().expect("a digest is longer");
    Fr::from(u128::from_le_bytes(bytes))
}

fn factors(commitments: &[G1Affine]) -> Vec<Fr> {
    let mut seed = Sha256::new();
    for point in commitments {
        seed.update(if point.is_zero() { [0; 64] } else { g1_to_bytes(point) });
    }
    let seed = seed.finalize();
    (0..commitments.len() as u64)
        .map(|i| {
            let digest = Sha256::new().chain_update(seed).chain_update(i.to_le_bytes()).finalize();
            let bytes = *digest.first_chunk::<FACTOR_BYTES>().expect("a digest is longer");
            Fr::from(u128::from_le_bytes(bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ark_ec::PrimeGroup;
    use rollmill_algebra::CpuDevice;
    use rollmill_algebra::device::{Memory, Msm};

    use super::*;

    #[test]
    fn one_wrong_commitment_among_many_is_found_at_any_place() {
        let device = CpuDevice::new(1);
        let points: Vec<G1Affine> = (1..=64u64)
            .map(|i| (G1Projective::generator() * Fr::from(i * i + 1)).into_affine())
            .collect();
        let bases = device.register_bases(&points).unwrap();
        // Columns of several lengths, small ones, one of zeros and an empty one.
        let columns: Vec<_> = [64, 64, 7, 1, 0]
            .map(|len| (0..len).map(|i| -Fr::from(i * 977 + len)).collect::<Vec<_>>())
            .iter()
            .map(|values| device.upload(values).unwrap())
            .chain([
                device.upload_u16(&[3; 64]).unwrap(),
                device.upload(&[Fr::from(0u64); 9]).unwrap(),
            ])
            .collect();
        let columns: Vec<_> = columns.iter().collect();
        let right = device.commit(&bases, &columns).unwrap();
        check(&device, &bases, &columns, &right).unwrap();
        check(&device, &bases, &[], &[]).unwrap();

        let wrong = Err(DeviceError::Wrong { device: device.name(), operation: "commit" });
        for i in 0..right.len() {
            let others = [
                (right[i] + G1Projective::generator()).into_affine(),
                G1Affine::zero(),
                -right[i],
                right[(i + 1) % right.len()],
            ];
            for other in others.into_iter().filter(|other| *other != right[i]) {
                let mut tampered = right.clone();
                tampered[i] = other;
                assert_eq!(check(&device, &bases, &columns, &tampered), wrong, "column {i}");
            }
        }
        // Two errors that add up to nothing.
        let mut tampered = right.clone();
        tampered[0] = (right[0] + points[5]).into_affine();
        tampered[1] = (right[1] - points[5]).into_affine();
        assert_eq!(check(&device, &bases, &columns, &tampered), wrong);
        assert_eq!(check(&device, &bases, &columns, &right[1..]), wrong, "one is missing");
    }
}
