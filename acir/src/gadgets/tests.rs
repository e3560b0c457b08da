//! What a prover may put in: histories, slopes, digits, halves and table rows that are not the honest ones.

mod curve;
mod foreign;
mod memory;

use ark_ff::UniformRand;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::gates::power_of_two;

use super::polynomial::{Polynomial, integer};
use super::{aes, logic, range, word};

/// Whether the rows hold. Cells of 8 bits: a range check of more than 32 bits is made of several.
fn holds(lay_out: impl FnOnce(&mut Builder)) -> bool {
    let mut b = Builder::new(0, 8);
    lay_out(&mut b);
    let (layout, witness) = b.finish(None).unwrap();
    check(&layout, &witness).is_ok()
}

/// A generator of random numbers, with its seed printed.
fn random() -> ChaCha8Rng {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

#[test]
fn a_sum_of_any_width_is_zero_exactly_where_it_is() {
    let mut rng = random();
    for (products, terms) in
        [(0, 0), (0, 1), (1, 0), (0, 5), (1, 1), (2, 1), (2, 2), (3, 0), (12, 30), (0, 71)]
    {
        for excess in [0, 1] {
            let ok = holds(|b| {
                let vars: Vec<Var> = (0..9).map(|_| b.witness(Fr::rand(&mut rng))).collect();
                let mut pick = || vars[rng.gen_range(0..vars.len())];
                let picked: Vec<[Var; 2]> =
                    (0..products + terms).map(|_| [pick(), pick()]).collect();
                let mut sum = Polynomial::default();
                for [x, y] in &picked[..products] {
                    sum = sum.product(Fr::rand(&mut rng), *x, *y);
                }
                for [x, _] in &picked[products..] {
                    sum = sum.term(Fr::rand(&mut rng), *x);
                }
                let value = sum.clone().variable(b);
                let value = b.value(value);
                sum.plus(integer(excess) - value).assert_zero(b);
            });
            assert_eq!(ok, excess == 0, "{products} products, {terms} terms, off by {excess}");
        }
    }
}

#[test]
fn terms_that_cancel_need_no_row_of_their_own() {
    let rows = |terms: usize| {
        let mut b = Builder::new(0, 8);
        let x = b.witness(integer(3));
        let before = b.rows_with_waiting();
        let sum = (0..terms).fold(Polynomial::default(), |sum, i| {
            sum.term(integer(if i % 2 == 0 { 1 } else { -1 }), x)
        });
        sum.assert_zero(&mut b);
        b.rows_with_waiting() - before
    };
    assert_eq!(rows(1_000), rows(0));
}

#[test]
fn ranges_of_every_width_end_where_they_say() {
    for bits in [0, 1, 2, 8, 31, 32, 33, 64, 127, 128, 129, 248, 249, 252, 253] {
        for (value, good) in [
            (power_of_two(bits) - integer(1), true),
            (integer(0), true),
            (power_of_two(bits), false),
            (integer(-1), false),
        ] {
            let ok = holds(|b| {
                let value = b.witness(value);
                range::range(b, value, bits);
            });
            assert_eq!(ok, good, "{value} in {bits} bits");
        }
    }
    assert!(holds(|b| {
        let value = b.witness(integer(-1));
        range::range(b, value, 254);
    }));
}

#[test]
fn halves_beyond_their_width_are_rejected() {
    let split = power_of_two(128);
    let given = |value: Fr, halves: [Fr; 2]| {
        holds(|b| {
            let value = b.witness(value);
            range::halves_given(b, value, 253, halves);
        })
    };
    assert!(given(split * integer(9) + integer(5), [integer(5), integer(9)]));
    assert!(!given(split * integer(9) + integer(5), [integer(6), integer(9)]), "another value");
    assert!(!given(split * integer(9), [split, integer(8)]), "a low half of 129 bits");
    let top = power_of_two(125);
    assert!(!given(split * top, [integer(0), top]), "a high half of 126 bits");
    assert!(!given(-split, [integer(0), integer(-1)]), "a high half below zero");
}

#[test]
fn logic_is_what_the_bits_say() {
    for (left, right, bits, good) in
        [(12u64, 10u64, 4, true), (12, 10, 3, false), (3, 5, 248, true)]
    {
        for xor in [false, true] {
            let expected = if xor { left ^ right } else { left & right };
            let ok = holds(|b| {
                let (left, right) = (b.witness(Fr::from(left)), b.witness(Fr::from(right)));
                let out = logic::logic(b, left, right, bits, xor);
                b.assert_constant(out, Fr::from(expected));
            });
            assert_eq!(ok, good, "{left} and {right} in {bits} bits, xor {xor}");
        }
    }
}

#[test]
fn a_sum_of_words_loses_its_carry() {
    let max = u64::from(u32::MAX);
    for count in 1..8 {
        for constant in [0, 7, u32::MAX] {
            let total = count * max + u64::from(constant);
            let ok = holds(|b| {
                let word = b.witness(Fr::from(max));
                let sum = word::sum(b, &vec![word; count as usize], constant);
                b.assert_constant(sum.value, Fr::from(total & max));
                let joined = word::join(b, &sum.bits);
                b.assert_equal(joined, sum.value);
            });
            assert!(ok, "{count} words and {constant}");
        }
    }
}

#[test]
fn bits_that_are_not_in_the_s_box_are_rejected() {
    // The S-box of 0x53 is 0xed (FIPS 197, section 5.1.1).
    let bits =
        |byte: u8| -> [Fr; 8] { std::array::from_fn(|i| Fr::from(u64::from(byte >> i & 1))) };
    let given = |address: u64, bits: [Fr; 8]| {
        holds(|b| {
            let table = aes::Table::new(b);
            let address = b.witness(Fr::from(address));
            table.substitute_given(b, address, bits);
        })
    };
    assert!(given(0x53, bits(0xed)));
    assert!(!given(0x53, bits(0xec)));
    assert!(!given(0x54, bits(0xed)));
    assert!(!given(256, bits(0x63)));
    let mut two = bits(0xed);
    (two[0], two[1]) = (two[0] - integer(2), two[1] + integer(1));
    assert!(!given(0x53, two), "bits of one value that are no bits");
}
