//! The price of gas in a block, from the price and the use of its parent: the twin of
//! `rollmill_protocol::gas::next_fee_per_gas`.
//!
//! Off its target t a price p moves by `max(1, ⌊p·|u − t| / 8t⌋)` for a use u, towards more when more was used, and
//! then into the bounds. All numbers are small, so that no equation wraps: p is below 2^64 and |u − t| at most
//! 2^[`GAS_BITS`], which leaves products and steps below 2^86, inside [`WIDTH`].

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::gas::FEE_PER_GAS_MAX;

use crate::gadgets::uint::{divide, is_negative, not, range_u64};
use crate::weaken::gone;

/// Bits of the distance between a block's use of gas and its target.
pub const GAS_BITS: u32 = 22;
/// Bits of every number of the rule.
const WIDTH: u32 = 88;

/// What a block's price follows from.
#[derive(Debug, Clone, Copy)]
pub struct PriceInputs {
    /// The parent's price, any number of 64 bits.
    pub parent: Var,
    /// Gas that the parent used.
    pub used: Var,
    /// The target, at least 1 and below 2^[`GAS_BITS`].
    pub target: Var,
    /// The lowest price, at most [`FEE_PER_GAS_MAX`].
    pub least: Var,
}

/// The price after a parent block. About 60 rows.
pub fn next_price(b: &mut Builder, inputs: PriceInputs) -> Var {
    let PriceInputs { parent, used, target, least } = inputs;
    if !gone("gadgets.price.parent") {
        range_u64(b, parent);
    }
    let one = Fr::from(1u64);
    let over = b.sub(used, target);
    let falls = is_negative(b, over, GAS_BITS);
    // 1 where the price rises, −1 where it falls.
    let sign = b.scale(falls, -Fr::from(2u64), one);
    let distance = b.mul(sign, over);
    let product = b.mul(parent, distance);
    let divisor = b.scale(target, Fr::from(8u64), Fr::from(0u64));
    let (quotient, _) = divide(b, product, divisor, WIDTH);
    let (on_target, is_small) = (b.is_zero(distance), b.is_zero(quotient));
    let is_off = not(b, on_target);
    let step = b.mul_add(is_small, is_off, one, Some(quotient), Fr::from(0u64));
    let moved = b.mul_add(sign, step, one, Some(parent), Fr::from(0u64));
    clamped(b, moved, least)
}

/// `moved`, at least −1, into the bounds of prices.
fn clamped(b: &mut Builder, moved: Var, least: Var) -> Var {
    let most = b.constant_u64(FEE_PER_GAS_MAX);
    let below = b.sub(moved, least);
    let is_below = is_negative(b, below, WIDTH);
    let above = b.sub(most, moved);
    let is_above = is_negative(b, above, WIDTH);
    let price = b.select(is_above, most, moved);
    b.select(is_below, least, price)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rollmill_plonk::check::check;

    use super::*;

    /// The rule in 128-bit integers, written from the specification.
    fn rule(p: u64, u: u64, t: u64, least: u64) -> u64 {
        let (p, u, t) = (u128::from(p), u128::from(u), u128::from(t));
        let step = |distance: u128| (p * distance / (8 * t)).max(1);
        let moved = match u.cmp(&t) {
            std::cmp::Ordering::Greater => p as i128 + step(u - t) as i128,
            std::cmp::Ordering::Equal => p as i128,
            std::cmp::Ordering::Less => p as i128 - step(t - u) as i128,
        };
        moved.clamp(least.into(), FEE_PER_GAS_MAX.into()) as u64
    }

    /// The circuit's price, or none if it rejects the inputs.
    fn priced(p: Fr, u: u64, t: u64, least: u64) -> Option<Fr> {
        let mut b = Builder::new(0, 10);
        let mut word = |value: u64| b.witness(Fr::from(value));
        let (used, target, least) = (word(u), word(t), word(least));
        let inputs = PriceInputs { parent: b.witness(p), used, target, least };
        let out = next_price(&mut b, inputs);
        let out = b.value(out);
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok().then_some(out)
    }

    #[test]
    fn the_price_is_that_of_the_rule_at_every_bound_and_for_random_inputs() {
        let mut cases = Vec::new();
        let top = (1 << GAS_BITS) - 1;
        for p in
            [0, 1, 7, 8, 1000, FEE_PER_GAS_MAX - 1, FEE_PER_GAS_MAX, FEE_PER_GAS_MAX + 1, u64::MAX]
        {
            for (u, t) in [(0, 1), (1, 1), (top, 1), (0, top), (top, top), (99, 100), (101, 100)] {
                cases.extend([1, 50, FEE_PER_GAS_MAX].map(|least| (p, u, t, least)));
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(31);
        for _ in 0..40 {
            let p = rng.r#gen::<u64>() >> rng.gen_range(0..64);
            let t = rng.gen_range(1..=top);
            cases.push((p, rng.gen_range(0..=top), t, rng.gen_range(1..=1000)));
        }
        for (p, u, t, least) in cases {
            let expected = Fr::from(rule(p, u, t, least));
            let got = priced(p.into(), u, t, least);
            assert_eq!(got, Some(expected), "price {p}, use {u}, target {t}, least {least}");
        }
    }

    /// A parent's price just below zero would fall to any price by its quotient.
    #[test]
    fn a_parents_price_beyond_64_bits_is_rejected() {
        assert!(priced(Fr::from(u64::MAX), 5, 5, 1).is_some());
        for price in [Fr::from(1u128 << 64), -Fr::from(1u64)] {
            assert_eq!(priced(price, 5, 5, 1), None, "{price}");
        }
    }

    #[test]
    fn a_use_far_beyond_every_limit_is_rejected() {
        let top = (1 << GAS_BITS) - 1;
        assert!(priced(Fr::from(9u64), top + 5, 5, 1).is_some());
        assert_eq!(priced(Fr::from(9u64), top + 6, 5, 1), None);
    }
}
