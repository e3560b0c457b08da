//! What a prover may put in: limbs, halves, borrows, quotients that are not the honest ones.

use rollmill_plonk::check::check;

use super::*;

fn holds(lay_out: impl Fn(&mut Builder)) -> bool {
    let mut b = Builder::new(0, 10);
    lay_out(&mut b);
    let (layout, witness) = b.finish(None).unwrap();
    check(&layout, &witness).is_ok()
}

fn u(value: u64) -> Fr {
    Fr::from(value)
}

/// With cells of 10 bits a limb has 40. Each forged list recomposes to its value.
#[test]
fn limbs_beyond_their_width_are_rejected() {
    let by_limbs = |value: Fr, limbs: &[Fr]| {
        holds(|b| {
            let var = b.witness(value);
            range_by_limbs(b, var, 64, limbs);
        })
    };
    let step = power_of_two(40);
    assert!(by_limbs(step + u(7), &[u(7), u(1)]));
    assert!(!by_limbs(step + u(7), &[step + u(7), u(0)]));
    assert!(!by_limbs(power_of_two(64), &[u(0), power_of_two(24)]));
    assert!(!by_limbs(-u(1), &[-u(1), u(0)]));
    assert!(!by_limbs(u(8), &[u(7), u(0)]), "another value");
}

#[test]
fn ranges_of_64_and_128_bits_and_checked_sums_end_where_they_say() {
    let last = |bits: u32| power_of_two(bits) - u(1);
    for (bits, range) in [(64, range_u64 as fn(&mut Builder, Var)), (128, range_u128)] {
        for (value, good) in [(last(bits), true), (power_of_two(bits), false)] {
            let ok = holds(|b| {
                let var = b.witness(value);
                range(b, var);
            });
            assert_eq!(ok, good, "{bits} bits");
        }
    }
    for (a, good) in [(0, true), (1, false)] {
        let ok = holds(|b| {
            let (a, c) = (b.witness(u(a)), b.witness(last(64)));
            checked_add(b, a, c, 64);
        });
        assert_eq!(ok, good);
    }
}

#[test]
fn halves_other_than_the_canonical_ones_are_rejected() {
    let given = |value: Fr, halves: [Fr; 2]| {
        holds(|b| {
            let var = b.witness(value);
            halves_given(b, var, halves);
        })
    };
    let split = power_of_two(128);
    let modulus = Fr::MODULUS.0;
    let part = |low: u64, high: u64| Fr::from(u128::from(low) | u128::from(high) << 64);
    let (r_lo, r_hi) = (part(modulus[0], modulus[1]), part(modulus[2], modulus[3]));
    let value = split * u(9) + u(5);
    assert!(given(value, [u(5), u(9)]));
    assert!(!given(value, [u(6), u(9)]), "another value");
    assert!(!given(value, [u(5) + split, u(8)]), "a low half beyond 128 bits");
    assert!(!given(value, [u(5) - split, u(10)]), "a low half below zero");
    assert!(!given(u(5), [u(5) + r_lo, r_hi]), "the integer 5 + r");
    assert!(!given(u(5) - split, [u(5), -u(1)]), "a high half below zero");
    let inverse = ark_ff::Field::inverse(&split).unwrap();
    assert!(!given(u(5), [u(0), u(5) * inverse]), "a high half beyond 128 bits");
}

/// Each case is false as integers; both borrows are tried.
#[test]
fn a_borrow_that_is_not_due_does_not_help() {
    let below = |small: (u64, u64), large: (u64, u64), borrows: Fr| {
        holds(|b| {
            let mut halves =
                |(lo, hi): (u64, u64)| Halves { lo: b.witness(u(lo)), hi: b.witness(u(hi)) };
            let (small, large) = (halves(small), halves(large));
            halves_below_borrowing(b, small, large, borrows);
        })
    };
    let (no, yes) = (u(0), u(1));
    assert!(below((4, 1), (5, 1), no) && below((9, 1), (5, 2), yes));
    for (small, large) in [((5, 1), (4, 1)), ((5, 1), (5, 1)), ((0, 2), (9, 1)), ((9, 2), (0, 1))] {
        assert!(!below(small, large, no) && !below(small, large, yes), "{small:?} {large:?}");
    }
    assert!(!below((9, 1), (5, 2), no) && !below((4, 1), (5, 1), yes));
    // A "borrow" of −⌊r / 2^128⌋ takes r mod 2^128 into the low half: 5 would be below 5.
    let modulus = Fr::MODULUS.0;
    let high = Fr::from(u128::from(modulus[2]) | u128::from(modulus[3]) << 64);
    assert!(!below((5, 1), (5, 1), -high));
}

#[test]
fn another_quotient_or_remainder_is_rejected() {
    let divides = |value: Fr, divisor: Fr, parts: [Fr; 2]| {
        holds(|b| {
            let (value, divisor) = (b.witness(value), b.witness(divisor));
            divide_into(b, value, divisor, 64, parts);
        })
    };
    let half = ark_ff::Field::inverse(&u(2)).unwrap();
    assert!(divides(u(7), u(2), [u(3), u(1)]));
    assert!(!divides(u(7), u(2), [u(2), u(3)]), "a remainder not below the divisor");
    assert!(!divides(u(7), u(2), [u(4), -u(1)]), "a remainder below zero");
    assert!(!divides(u(7), u(2), [u(7) * half, u(0)]), "a quotient modulo r");
    assert!(!divides(u(7), u(2), [u(3), u(0)]), "another value");
    assert!(!divides(u(7), u(0), [u(0), u(7)]), "division by zero");
    // True of integers, but not of 64 bits.
    let (top, last) = (power_of_two(64), u(u64::MAX));
    assert!(divides(last, u(10), [u(u64::MAX / 10), u(5)]));
    assert!(!divides(top, u(10), [u(u64::MAX / 10), u(6)]), "a value beyond 64 bits");
    assert!(divides(last, last, [u(1), u(0)]));
    assert!(!divides(last, top, [u(0), last]), "a divisor beyond 64 bits");
}

#[test]
fn another_sign_than_the_values_is_rejected() {
    let given = |value: Fr, answer: Fr| {
        holds(|b| {
            let value = b.witness(value);
            is_negative_given(b, value, 8, answer);
        })
    };
    for (value, is_below) in [(u(0), 0), (u(255), 0), (-u(1), 1), (-u(256), 1)] {
        let mut b = Builder::new(0, 10);
        let var = b.witness(value);
        let answer = is_negative(&mut b, var, 8);
        assert_eq!(b.value(answer), u(is_below), "{value}");
        assert!(given(value, u(is_below)) && !given(value, u(1 - is_below)), "{value}");
    }
    for value in [u(256), -u(257), power_of_two(200)] {
        assert!(!given(value, u(0)) && !given(value, u(1)), "{value} does not fit");
    }
    // With a "bit" of 2, value·(1 − 4) − 2 is in range for a third of a number below zero.
    assert!(!given(-u(3), u(2)));
}
