//! Multi-scalar multiplication by ICICLE, of which the first over a set of bases is compared with the
//! CPU's.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, PrimeField};
use parking_lot::Mutex;
use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Msm};
use rollmill_algebra::{Fq, Fr, G1Affine, G1Projective};

use crate::device::{IcicleDevice, convert, shape};
use crate::library::{Affine, Limbs, Points, Projective};

const OPERATION: &str = "commit";
/// Scalars up to this many bits are declared short, which saves ICICLE most of the work. It is the
/// width of the columns that are uploaded as small values.
const SMALL_BITS: u32 = 16;

/// Bases in the device's memory.
#[derive(Debug)]
pub struct IcicleBases {
    points: Points,
    /// The bases, until the first MSM was compared with the CPU's.
    unchecked: Mutex<Option<Vec<G1Affine>>>,
}

/// A point as ICICLE takes it: canonical coordinates, and zeros for the identity.
fn canonical(point: &G1Affine) -> Affine {
    let (x, y) = point.xy().unwrap_or_default();
    [x.into_bigint().0, y.into_bigint().0]
}

/// The affine point of a homogeneous one; none when that is no point of the curve.
fn point_of(coordinates: &Projective) -> Option<G1Affine> {
    let [x, y, z] = coordinates.map(|limbs| Fq::from_bigint(ark_ff::BigInt(limbs)));
    let (x, y, z) = (x?, y?, z?);
    if z == Fq::ZERO {
        // Of the points at infinity the curve has (0 : y : 0) alone.
        return (x == Fq::ZERO && y != Fq::ZERO).then(G1Affine::identity);
    }
    // Homogeneous (x : y : z) is (x·z : y·z² : z) in the coordinates that arkworks divides.
    let point = G1Projective::new_unchecked(x * z, y * z * z, z).into_affine();
    point.is_on_curve().then_some(point)
}

impl IcicleDevice {
    fn msm(&self, bases: &IcicleBases, scalars: &[Fr]) -> Result<G1Affine, DeviceError> {
        if scalars.is_empty() {
            return Ok(G1Affine::identity());
        }
        let canonical = convert(self.cpu.threads(), scalars, |scalar| scalar.into_bigint().0);
        let high = |[low, rest @ ..]: &Limbs| low >> SMALL_BITS != 0 || rest != &[0; 3];
        let bits = if canonical.iter().any(high) { 0 } else { SMALL_BITS };
        let sum = self
            .library
            .msm(&canonical, bits, &bases.points)
            .map_err(|error| self.failed(OPERATION, error))?;
        let Some(sum) = point_of(&sum) else {
            let n = scalars.len();
            let error = self.wrong(format!("an MSM of {n} scalars is not on the curve"));
            return Err(self.failed(OPERATION, error));
        };
        Ok(sum)
    }

    /// Compares the first MSM that could differ with the CPU's.
    fn first_check(
        &self,
        bases: &IcicleBases,
        column: &CpuBuffer,
        sum: G1Affine,
    ) -> Result<(), DeviceError> {
        // A column of zeros does not test the points.
        if column.as_slice().iter().all(|scalar| *scalar == Fr::ZERO) {
            return Ok(());
        }
        let mut unchecked = bases.unchecked.lock();
        let Some(points) = unchecked.as_ref() else { return Ok(()) };
        let registered = self.cpu.register_bases(&points[..column.len()])?;
        if self.cpu.commit(&registered, &[column])? != [sum] {
            let what = format!("an MSM of {} scalars differs from the CPU's", column.len());
            return Err(self.failed(OPERATION, self.wrong(what)));
        }
        *unchecked = None;
        Ok(())
    }
}

impl Msm for IcicleDevice {
    type Bases = IcicleBases;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<IcicleBases, DeviceError> {
        const OPERATION: &str = "register_bases";
        self.check(OPERATION)?;
        let points = convert(self.cpu.threads(), bases, canonical);
        let points = self
            .library
            .upload(&self.id, &points)
            .map_err(|error| self.failed(OPERATION, error))?;
        Ok(IcicleBases { points, unchecked: Mutex::new(Some(bases.to_vec())) })
    }

    fn commit(
        &self,
        bases: &IcicleBases,
        columns: &[&CpuBuffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        self.check(OPERATION)?;
        let len = bases.points.len();
        if let Some(column) = columns.iter().find(|column| column.len() > len) {
            let expected = format!("columns of at most {len} scalars");
            return shape(OPERATION, expected, column.len().to_string());
        }
        let mut sums = Vec::with_capacity(columns.len());
        for column in columns {
            let sum = self.msm(bases, column.as_slice())?;
            self.first_check(bases, column, sum)?;
            sums.push(sum);
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use ark_ec::PrimeGroup;

    use super::*;

    #[test]
    fn homogeneous_points_are_read_and_others_rejected() {
        let generator = G1Projective::generator().into_affine();
        let limbs = |value: u64| Fq::from(value).into_bigint().0;
        let z = Fq::from(5u64);
        let (x, y) = generator.xy().unwrap();
        let scaled = [x * z, y * z, z].map(|value| value.into_bigint().0);
        assert_eq!(point_of(&scaled), Some(generator));
        assert_eq!(point_of(&[limbs(0), limbs(3), limbs(0)]), Some(G1Affine::identity()));
        assert_eq!(point_of(&[limbs(0), limbs(0), limbs(0)]), None);
        assert_eq!(point_of(&[limbs(1), limbs(1), limbs(0)]), None);
        assert_eq!(point_of(&[limbs(1), limbs(1), limbs(1)]), None);
        let mut large = scaled;
        large[0] = Fq::MODULUS.0;
        assert_eq!(point_of(&large), None);
        assert_eq!(canonical(&G1Affine::identity()), [[0; 4]; 2]);
        assert_eq!(canonical(&generator), [limbs(1), limbs(2)]);
    }
}
