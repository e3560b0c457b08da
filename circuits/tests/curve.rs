//! Curve arithmetic in a circuit, against arkworks, and against every single changed cell.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fr, G1Affine};
use rollmill_circuits::gadgets::curve::{Point, Table};
use rollmill_circuits::gadgets::straus::{
    Scalar, multi_scalar, offset_factor, short_multiple_of_generator,
};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::transcript::short_coefficient;

const CELL_BITS: u32 = 16;

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(11)
}

fn random_point(rng: &mut ChaCha8Rng) -> G1Affine {
    (G1Affine::generator() * Fr::rand(rng)).into_affine()
}

#[test]
fn a_short_multiple_of_the_generator_is_the_right_one() {
    let mut b = Builder::new(0, CELL_BITS);
    let c = 0x8123_4567_89ab_cdef_0011_2233_4455_6677u128;
    let var = b.witness(Fr::from(c));
    let point = short_multiple_of_generator(&mut b, var);
    let expected = (G1Affine::generator() * short_coefficient(c)).into_affine();
    assert_eq!(point.value(), expected);
    println!("multiple of the generator: {} rows", b.rows());
    let (layout, witness) = b.finish(None).expect("fits");
    assert_eq!(check(&layout, &witness), Ok(()));
}

#[test]
fn a_sum_of_multiples_is_the_right_one() {
    let mut rng = rng();
    let mut b = Builder::new(0, CELL_BITS);
    let points: Vec<G1Affine> = (0..4).map(|_| random_point(&mut rng)).collect();
    let start = Point::fresh(&mut b, &points[3]);
    let inside: Vec<Point> = points[..3].iter().map(|p| Point::fresh(&mut b, p)).collect();
    let before = b.rows();
    let tables: Vec<Table> = inside.iter().map(|p| Table::new(&mut b, p)).collect();
    println!("table: {} rows", (b.rows() - before) / 3);
    let short = u128::rand(&mut rng);
    let long = [Fr::rand(&mut rng), Fr::from(0u64)];
    let c = b.witness(Fr::from(short));
    let s = long.map(|s| b.witness(s));
    let terms = [
        (&tables[0], Scalar::Short(c)),
        (&tables[1], Scalar::Long(s[0])),
        (&tables[2], Scalar::Long(s[1])),
    ];
    let sum = multi_scalar(&mut b, &start, &terms, &[&inside[1]]);
    let expected = points[0] * short_coefficient(short)
        + points[1] * (long[0] + Fr::from(1u64))
        + points[2] * long[1]
        + points[3] * offset_factor(64);
    assert_eq!(sum.value(), expected.into_affine());
    let (layout, witness) = b.finish(None).expect("fits");
    assert_eq!(check(&layout, &witness), Ok(()));
}

#[test]
fn a_point_off_the_curve_or_the_identity_is_refused() {
    for point in [G1Affine::identity(), G1Affine::new_unchecked(1u64.into(), 3u64.into())] {
        let mut b = Builder::new(0, CELL_BITS);
        Point::fresh(&mut b, &point);
        let (layout, witness) = b.finish(None).expect("fits");
        assert!(check(&layout, &witness).is_err());
    }
}
