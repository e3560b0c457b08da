//! Carried pairs: a valid one, and invalid ones.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::PrimeField;
use rollmill_algebra::{Fq, Fr, G1Affine};
use rollmill_plonk::gates::power_of_two;
use rollmill_plonk::srs::development_tau;
use rollmill_plonk::transcript::halves;
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair};

/// A carried pair as public inputs.
pub(crate) type PairFields = [Fr; PAIR_INPUTS];

/// A pair that holds, out of three numbers.
pub(crate) fn good_pair(l: u64, s_l: u64, s_r: u64) -> Pair {
    let g = G1Affine::generator();
    let [l, s_l, s_r] = [l, s_l, s_r].map(Fr::from);
    let r = (l - s_l) * development_tau() + s_r;
    Pair { l: (g * l).into_affine(), s_l, r: (g * r).into_affine(), s_r }
}

/// Pairs that must be rejected although the proof that carries them is good.
pub(crate) fn bad_pairs(good: &Pair) -> Vec<(String, PairFields)> {
    let fields = good.to_fields();
    let one = Fr::from(1u64);
    let zero = Fr::from(0u64);
    let swapped = Pair { l: good.r, r: good.l, s_l: good.s_r, s_r: good.s_l };
    let opposite = Pair { l: -good.l, ..*good };
    let mut out = vec![
        ("its sides are swapped".to_owned(), swapped.to_fields()),
        ("its left point is the opposite".to_owned(), opposite.to_fields()),
        // Taken for the identity, both would satisfy the equation.
        ("its points are (0, 0)".to_owned(), [zero; PAIR_INPUTS]),
    ];
    // A point off the curve whose term has weight zero.
    let level = good_pair(5, 5, 3);
    for (what, pair, at) in
        [("left", level, 0), ("right", Pair { r: good.r, s_r: zero, ..level }, 5)]
    {
        let mut fields = pair.to_fields();
        fields[at] += one;
        out.push((format!("its {what} point is off the curve and has weight zero"), fields));
    }
    let mut change = |what: String, changes: &[(usize, Fr)]| {
        let mut changed = fields;
        changes.iter().for_each(|(i, value)| changed[*i] = *value);
        out.push((what, changed));
    };
    for i in [4, 9] {
        change(format!("scalar {i} is another"), &[(i, fields[i] + one)]);
    }
    for start in [0, 5] {
        change(
            format!("point {start} is the identity"),
            &[(start, zero), (start + 1, zero), (start + 2, zero), (start + 3, zero)],
        );
    }
    for low in [0, 2, 5, 7] {
        let (low_half, high_half) = (fields[low], fields[low + 1]);
        change(format!("coordinate {low} is off the curve"), &[(low, low_half + one)]);
        // The same sum of halves, with a bit carried down.
        change(
            format!("coordinate {low} has a low half of 129 bits"),
            &[(low, low_half + power_of_two(128)), (low + 1, high_half - one)],
        );
        change(
            format!("coordinate {low} has a high half of 129 bits"),
            &[(low + 1, high_half + power_of_two(128))],
        );
        // q more: the same coordinate, and still less than 2^256.
        let [q_low, q_high] = [Fq::MODULUS.0[..2].to_vec(), Fq::MODULUS.0[2..].to_vec()]
            .map(|limbs| u128::from(limbs[0]) | u128::from(limbs[1]) << 64);
        let (sum, carry) = halves(&low_half).0.overflowing_add(q_low);
        let high = halves(&high_half).0 + q_high + u128::from(carry);
        change(
            format!("coordinate {low} is not below the modulus"),
            &[(low, Fr::from(sum)), (low + 1, Fr::from(high))],
        );
    }
    out
}
