//! halo2curves: the curve arithmetic of PSE's and Scroll's halo2.

use ark_ec::AffineRepr;
use ark_ff::{BigInt, PrimeField};
use halo2curves::CurveAffine;
use halo2curves::bn256::{Fq, Fr, G1Affine};
use halo2curves::group::Curve;
use rayon::prelude::*;
use rollmill_algebra::{Fr as OurFr, G1Affine as Ours};

/// The inputs of its MSMs, prepared before the clock starts.
pub(crate) struct Input {
    points: Vec<G1Affine>,
    scalars: Vec<Fr>,
}

impl Input {
    /// The same points and scalars; `None` if they cannot be taken over.
    pub(crate) fn of(points: &[Ours], scalars: &[OurFr]) -> Option<Self> {
        let points: Option<Vec<G1Affine>> = points.par_iter().map(point).collect();
        let scalars = scalars.par_iter().map(|x| Fr::from_raw(x.into_bigint().0)).collect();
        Some(Self { points: points?, scalars })
    }

    /// The MSM by its fastest function.
    pub(crate) fn msm(&self) -> G1Affine {
        halo2curves::msm::msm_best(&self.scalars, &self.points).to_affine()
    }
}

/// Whether an MSM equals ours.
pub(crate) fn equal(theirs: &G1Affine, ours: &Ours) -> bool {
    point(ours).is_some_and(|ours| ours == *theirs)
}

fn point(ours: &Ours) -> Option<G1Affine> {
    let limbs = |x: BigInt<4>| Fq::from_raw(x.0);
    match ours.xy() {
        Some((x, y)) => {
            Option::from(G1Affine::from_xy(limbs(x.into_bigint()), limbs(y.into_bigint())))
        }
        None => Some(G1Affine::default()),
    }
}
