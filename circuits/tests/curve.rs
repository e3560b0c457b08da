//! Curve arithmetic in a circuit, against arkworks, and against every single changed cell.

use std::collections::HashMap;

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fr, G1Affine};
use rollmill_circuits::gadgets::curve::{Point, Table};
use rollmill_circuits::gadgets::straus::{
    Offset, Scalar, multi_scalar, offset_factor, short_multiple_of_generator,
};
use rollmill_circuits::gadgets::transcript::Transcript;
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
    let points: Vec<G1Affine> = (0..3).map(|_| random_point(&mut rng)).collect();
    let (_, offset) = Transcript::with_tag(&mut b, 77).end_with_offset(&mut b, 0);
    let start = Offset::new(&mut b, offset);
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
        + start.value() * offset_factor(64);
    assert_eq!(sum.value(), expected.into_affine());
    let (layout, witness) = b.finish(None).expect("fits");
    assert_eq!(check(&layout, &witness), Ok(()));
}

#[test]
fn a_point_off_the_curve_or_the_identity_is_rejected() {
    for point in [G1Affine::identity(), G1Affine::new_unchecked(1u64.into(), 3u64.into())] {
        let mut b = Builder::new(0, CELL_BITS);
        Point::fresh(&mut b, &point);
        let (layout, witness) = b.finish(None).expect("fits");
        assert!(check(&layout, &witness).is_err());
    }
}

/// The circuit with only as many rows as it uses: `check` does not look at the range table.
fn shrunk(b: Builder) -> (Layout, Witness) {
    let (mut layout, mut witness) = b.finish(None).expect("fits");
    layout.shape.log_n = (layout.rows_used + 8).next_power_of_two().trailing_zeros();
    for column in witness.wires.iter_mut().chain([&mut witness.m]) {
        column.truncate(layout.shape.n());
    }
    assert_eq!(check(&layout, &witness), Ok(()));
    (layout, witness)
}

/// The cells that hold one variable each, as (row, column), by following the permutation.
fn variables(layout: &Layout) -> Vec<Vec<(usize, usize)>> {
    let sigma = layout.sigma();
    let generator = rollmill_algebra::omega(layout.shape.log_n);
    let powers = rollmill_algebra::field::powers(generator, layout.shape.n());
    let cosets = rollmill_plonk::shape::column_cosets();
    let cells: HashMap<Fr, (usize, usize)> = (0..layout.shape.n())
        .flat_map(|row| (0..4).map(move |column| (row, column)))
        .map(|(row, column)| (cosets[column] * powers[row], (row, column)))
        .collect();
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    for row in 0..layout.rows_used {
        for column in 0..4 {
            let mut cycle = Vec::new();
            let mut at = (row, column);
            while seen.insert(at) {
                cycle.push(at);
                at = cells[&sigma[at.1][at.0]];
            }
            if !cycle.is_empty() {
                out.push(cycle);
            }
        }
    }
    out
}

/// Changes one variable (in all its cells) or one limb cell of `rows` at a time.
///
/// Free limb cells are those that no gate reads: whole rows beside which there is no pack, quotient or
/// carry, and the sixteenth cell of each group of carries.
fn assert_only_unread_limbs_are_free(b: Builder, rows: std::ops::Range<usize>) {
    let (layout, witness) = shrunk(b);
    let one = Fr::from(1u64);
    for cycle in variables(&layout) {
        if !cycle.iter().any(|(row, _)| rows.contains(row)) {
            continue;
        }
        let mut changed = witness.clone();
        for (row, column) in &cycle {
            changed.wires[*column][*row] += one;
        }
        assert!(check(&layout, &changed).is_err(), "variable at {cycle:?}");
    }
    // Limb cells of a row and of the next one that the row's gate reads.
    let reads = |row: usize| layout.fixed_row(row).limb_cells();
    for row in rows {
        let used = reads(row).min(8).max(reads(row - 1).saturating_sub(8));
        for column in 0..8 {
            let mut changed = witness.clone();
            let cell = &mut changed.wires[4 + column][row];
            *cell = if *cell == Fr::from(0u64) { one } else { *cell - one };
            let rejected = check(&layout, &changed).is_err();
            assert_eq!(rejected, column < used, "row {row} limb {column}");
        }
    }
}

#[test]
fn every_change_in_a_point_or_its_table_is_rejected() {
    let mut b = Builder::new(0, CELL_BITS);
    let start = b.rows();
    let point = Point::fresh(&mut b, &random_point(&mut rng()));
    Table::new(&mut b, &point);
    let rows = start..b.rows();
    assert_only_unread_limbs_are_free(b, rows);
}

/// Method: the first two reads of the generator's tables, one taken as it is and one added.
#[test]
fn every_change_in_a_read_and_its_addition_is_rejected() {
    let mut b = Builder::new(0, CELL_BITS);
    let c = b.witness(Fr::from(u128::MAX - 5));
    short_multiple_of_generator(&mut b, c);
    // Four tables of sixteen entries stand before the first read.
    let first = 1 + 4 * 16 * 3;
    assert_only_unread_limbs_are_free(b, first..first + 23);
}
