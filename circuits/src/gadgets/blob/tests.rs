//! Values against arkworks, and what a prover may put in: other residues, shifted limbs, other quotients.

use ark_ff::Field;
use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rollmill_plonk::check::check;

use super::*;

fn holds(lay_out: impl FnOnce(&mut Builder)) -> bool {
    let mut b = Builder::new(0, 16);
    lay_out(&mut b);
    let (layout, witness) = b.finish(None).unwrap();
    check(&layout, &witness).is_ok()
}

fn random(rng: &mut ChaCha20Rng) -> Fr {
    let mut bytes = [0u8; 48];
    rng.fill(&mut bytes[..]);
    Fr::from_le_bytes_mod_order(&bytes)
}

fn residue_of(word: Fr) -> Fv {
    residue(word.into_bigint().0)
}

#[test]
fn a_polynomial_has_the_value_that_arkworks_computes() {
    let mut rng = ChaCha20Rng::seed_from_u64(4_844);
    let top = -Fr::from(1u64);
    for (n, z) in
        [(1, random(&mut rng)), (2, top), (8, random(&mut rng)), (9, Fr::from(0u64)), (82, top)]
    {
        let words: Vec<Fr> =
            (0..n).map(|i| if i % 5 == 4 { top } else { random(&mut rng) }).collect();
        let point = residue_of(z);
        let wanted = words.iter().rev().fold(Fv::from(0u64), |sum, w| sum * point + residue_of(*w));
        let wanted_power = point.pow([n as u64]);
        assert!(holds(|b| {
            let z = b.witness(z);
            let powers = Powers::new(b, z);
            let words: Vec<Scalar> = words
                .iter()
                .map(|word| {
                    let word = b.witness(*word);
                    Scalar::of_word(b, word)
                })
                .collect();
            let value = powers.evaluate(b, &words);
            assert_eq!(residue(value.value(b)), wanted, "{n} words");
            let power = powers.power(b, n as u32);
            assert_eq!(residue(power.value(b)), wanted_power, "power {n}");
            let halves = value.halves(b);
            let again = Scalar::of_halves(b, halves);
            assert_eq!(again.value(b), value.value(b));
            let join = power.times_plus(b, &again, &value);
            assert_eq!(residue(join.value(b)), wanted_power * wanted + wanted);
        }));
    }
}

/// Rows of the parts of a transaction's evaluation, for the budget of the circuits.
#[test]
fn an_evaluation_takes_as_many_rows_as_the_budget_says() {
    let mut b = Builder::new(0, 16);
    let mut rows = Vec::new();
    let mut mark =
        |b: &Builder, what: &str, before: usize| rows.push((what.to_owned(), b.rows() - before));
    let z = b.witness(Fr::from(77u64));
    let before = b.rows();
    let powers = Powers::new(&mut b, z);
    mark(&b, "powers", before);
    let before = b.rows();
    let words: Vec<Scalar> = (0..82)
        .map(|i| {
            let word = b.witness(Fr::from(i as u64) - Fr::from(40u64));
            Scalar::of_word(&mut b, word)
        })
        .collect();
    mark(&b, "82 words", before);
    let before = b.rows();
    let value = powers.evaluate(&mut b, &words);
    mark(&b, "evaluation", before);
    let before = b.rows();
    let power = powers.power(&mut b, 82);
    mark(&b, "z^82", before);
    let before = b.rows();
    let (y, p) = (value.halves(&mut b), power.halves(&mut b));
    let (y, p) = (Scalar::of_halves(&mut b, y), Scalar::of_halves(&mut b, p));
    mark(&b, "halves", before);
    let before = b.rows();
    p.times_plus(&mut b, &y, &value);
    p.times(&mut b, &power);
    mark(&b, "join", before);
    let (layout, witness) = b.finish(None).unwrap();
    check(&layout, &witness).unwrap();
    let wanted = [("powers", 222), ("82 words", 738), ("evaluation", 1237), ("z^82", 153)];
    let wanted = wanted.into_iter().chain([("halves", 4), ("join", 62)]);
    assert_eq!(rows, wanted.map(|(what, rows)| (what.to_owned(), rows)).collect::<Vec<_>>());
    assert_eq!(layout.rows_used, 2537);
}

fn int(words: &[u64]) -> BigInt {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    BigInt::from_bytes_le(Sign::Plus, &bytes)
}

fn two(bits: u32) -> BigInt {
    BigInt::from(1) << bits
}

fn r() -> BigInt {
    int(&Fr::MODULUS.0)
}

fn order() -> BigInt {
    int(&ORDER)
}

fn field(value: &BigInt) -> Fr {
    let (_, bytes) = value.mod_floor(&r()).to_bytes_le();
    Fr::from_le_bytes_mod_order(&bytes)
}

/// Limb `i` of a number that is not negative.
fn limb(value: &BigInt, i: u32) -> BigInt {
    (value >> (64 * i)).mod_floor(&two(64))
}

fn limbs<const N: usize>(value: &BigInt) -> [Fr; N] {
    std::array::from_fn(|i| field(&limb(value, i as u32)))
}

/// Two products and an addend, and what a cheating prover says about them.
struct Case {
    products: [([u64; 4], [u64; 4]); 2],
    addend: [u64; 4],
}

impl Case {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(7_594);
        let mut words = || std::array::from_fn(|_| rng.r#gen::<u64>());
        Self { products: [(words(), words()), (words(), words())], addend: words() }
    }

    fn total(&self) -> BigInt {
        let products = self.products.iter().map(|(x, y)| int(x) * int(y)).sum::<BigInt>();
        products + int(&self.addend)
    }

    /// What is left at limb position `k` with this result and quotient.
    fn position(&self, k: u32, out: &BigInt, quotient: &BigInt) -> BigInt {
        let mut sum = BigInt::from(0);
        for i in 0..=k.min(4) {
            let j = k - i;
            for (x, y) in self.products.map(|(x, y)| (int(&x), int(&y))) {
                sum += limb(&x, i) * limb(&y, j);
            }
            sum -= limb(quotient, i) * limb(&order(), j);
        }
        sum + limb(&int(&self.addend), k) - limb(out, k)
    }

    /// The reduction that is off by `off`: `Σ a·b + addend = v·q + out + off`. The carries leave `low` at the
    /// positions 0 and 1, and `middle` at 2 and 3.
    fn off_by(&self, off: &BigInt, low: &BigInt, middle: &BigInt) -> Reduction {
        let claimed = self.total() - off;
        let (quotient, out) = claimed.div_mod_floor(&order());
        assert_ne!(quotient.sign(), Sign::Minus, "another sign of the error is needed");
        let s: Vec<BigInt> = (0..5).map(|k| self.position(k, &out, &quotient)).collect();
        let c1 = (&s[0] + (&s[1] << 64) - low) >> 128;
        let c2: BigInt = (&s[2] + (&s[3] << 64) + &c1 - middle) >> 128;
        let c3 = (&s[4] + &c2) >> 64;
        Reduction {
            out: limbs(&out),
            quotient: limbs(&quotient),
            carries: [c1, c2, c3].map(|carry| field(&carry)),
        }
    }

    fn honest(&self) -> Reduction {
        let zero = BigInt::from(0);
        self.off_by(&zero, &zero, &zero)
    }

    fn accepts(&self, reduction: &Reduction) -> bool {
        holds(|b| {
            let mut scalar = |words: [u64; 4]| {
                let limbs = words.map(|word| b.witness(from_u64(word)));
                Element::from_limbs(b, limbs).range(b);
                let native = b.linear(&weighted(&limbs), Fr::from(0u64));
                Scalar { limbs, native }
            };
            let products = self.products.map(|(x, y)| (scalar(x), scalar(y)));
            let addend = scalar(self.addend);
            reduced_given(b, &products, Some(&addend), reduction);
        })
    }
}

/// Small numbers x and y with `x + 2^bits · y = 0` modulo r, of about half the length of r.
fn short_relation(bits: u32) -> (BigInt, BigInt) {
    let (mut a, mut c) = ((r(), BigInt::from(0)), (two(bits).mod_floor(&r()), BigInt::from(1)));
    while c.0.bits() > 127 {
        let step = &a.0 / &c.0;
        let next = (&a.0 - &step * &c.0, &a.1 - &step * &c.1);
        (a, c) = (c, next);
    }
    assert_eq!((&c.0 - (&c.1 << bits)).mod_floor(&r()), BigInt::from(0));
    (c.0, -c.1)
}

#[test]
fn the_honest_reduction_is_that_of_long_division_and_any_residue_of_64_bit_limbs_serves() {
    let case = Case::new();
    let long = case.honest();
    let short = Reduction::of(&case.products, case.addend);
    assert_eq!(long.out, short.out);
    assert_eq!(long.quotient, short.quotient);
    assert_eq!(long.carries, short.carries);
    assert!(case.accepts(&long));
    // The result need not be canonical: out + v, with a quotient less by one, is the same residue.
    let (quotient, out) = case.total().div_mod_floor(&order());
    let (quotient, out) = (quotient - 1, out + order());
    assert!(out < two(256));
    let s: Vec<BigInt> = (0..5).map(|k| case.position(k, &out, &quotient)).collect();
    let c1: BigInt = (&s[0] + (&s[1] << 64)) >> 128;
    let c2: BigInt = (&s[2] + (&s[3] << 64) + &c1) >> 128;
    let c3: BigInt = (&s[4] + &c2) >> 64;
    let carries = [c1, c2, c3].map(|carry| field(&carry));
    assert!(case.accepts(&Reduction { out: limbs(&out), quotient: limbs(&quotient), carries }));
}

/// Each error satisfies all equations but one. The lengths in the head of the module are what excludes the rest.
#[test]
fn an_error_that_one_group_alone_sees_is_rejected() {
    let case = Case::new();
    let zero = BigInt::from(0);
    // The sign that leaves a quotient which is not negative, and inside its limbs.
    let off = |off: BigInt, low: BigInt, middle: BigInt| {
        let sign = if case.total() < off { -1 } else { 1 };
        case.off_by(&(off * sign), &(low * sign), &(middle * sign))
    };
    let (x, y) = short_relation(320);
    let low = off(&x + (y << 320), x, zero.clone());
    let (x, y) = short_relation(192);
    let middle = off((&x << 128) + (y << 320), zero.clone(), x);
    let high = off(r() << 256, zero.clone(), zero.clone());
    let native = off(two(320), zero.clone(), zero.clone());
    for (name, forged) in [("low", low), ("middle", middle), ("high", high), ("native", native)] {
        assert_ne!(forged.out, case.honest().out, "{name}");
        assert!(!case.accepts(&forged), "{name}");
    }
    // Modulo 2^320 and modulo r at once: only a quotient beyond its range does it.
    let wrapped: BigInt = r() << 320;
    assert!(!case.accepts(&case.off_by(&-wrapped, &zero, &zero)), "the quotient's fifth limb");
}

#[test]
fn limbs_and_carries_beyond_their_range_are_rejected() {
    let case = Case::new();
    let honest = case.honest();
    let shift = |limbs: [Fr; 4]| {
        let [l0, l1, l2, l3] = limbs;
        [l0 + power_of_two(64), l1 - Fr::from(1u64), l2, l3]
    };
    assert!(
        !case.accepts(&Reduction { out: shift(honest.out), ..honest }),
        "a shifted limb of the result"
    );

    // Carries of any size leave the equation modulo r alone: out − v is another number below r.
    let (quotient, out) = case.total().div_mod_floor(&order());
    let (quotient, out) = (quotient + 1, (out - order()).mod_floor(&r()));
    let s: Vec<Fr> = (0..5).map(|k| field(&case.position(k, &out, &quotient))).collect();
    let inverse = |bits: u32| power_of_two(bits).inverse().unwrap();
    let c1 = (s[0] + s[1] * power_of_two(64)) * inverse(128);
    let c2 = (s[2] + s[3] * power_of_two(64) + c1) * inverse(128);
    let c3 = (s[4] + c2) * inverse(64);
    let forged = Reduction { out: limbs(&out), quotient: limbs(&quotient), carries: [c1, c2, c3] };
    assert!(!case.accepts(&forged), "carries");

    // Without a range, four limbs of a quotient solve the four equations for any result.
    let zero = Fr::from(0u64);
    let mut out = honest.out;
    out[0] += Fr::from(1u64);
    let v: [Fr; 4] = ORDER.map(Fr::from);
    let (t64, wanted) = (power_of_two(64), {
        let value = |fr: [Fr; 4]| fr.iter().rev().fold(zero, |sum, l| sum * power_of_two(64) + l);
        let empty = BigInt::from(0);
        let s: Vec<Fr> = (0..5).map(|k| field(&case.position(k, &empty, &empty))).collect();
        let native = field(&case.total()) - value(out);
        let t64 = power_of_two(64);
        [
            s[0] + s[1] * t64 - out[0] - out[1] * t64,
            s[2] + s[3] * t64 - out[2] - out[3] * t64,
            s[4],
            native,
        ]
    });
    let native = field(&order());
    let matrix = [
        [v[0] + v[1] * t64, v[0] * t64, zero, zero],
        [v[2] + v[3] * t64, v[1] + v[2] * t64, v[0] + v[1] * t64, v[0] * t64],
        [zero, v[3], v[2], v[1]],
        std::array::from_fn(|i| native * power_of_two(64 * i as u32)),
    ];
    let [q0, q1, q2, q3] = solved(matrix, wanted);
    let forged = Reduction { out, quotient: [q0, q1, q2, q3, zero], carries: [zero; 3] };
    assert!(!case.accepts(&forged), "a quotient of any size");
}

/// Gauss–Jordan elimination.
fn solved(mut matrix: [[Fr; 4]; 4], mut right: [Fr; 4]) -> [Fr; 4] {
    for i in 0..4 {
        let pivot = (i..4).find(|row| matrix[*row][i] != Fr::from(0u64)).expect("a regular matrix");
        matrix.swap(i, pivot);
        right.swap(i, pivot);
        let inverse = matrix[i][i].inverse().unwrap();
        matrix[i] = matrix[i].map(|cell| cell * inverse);
        right[i] *= inverse;
        for row in (0..4).filter(|row| *row != i) {
            let factor = matrix[row][i];
            let pivot = matrix[i];
            for (cell, above) in matrix[row].iter_mut().zip(pivot) {
                *cell -= factor * above;
            }
            let step = factor * right[i];
            right[row] -= step;
        }
    }
    right
}

#[test]
fn words_and_halves_other_than_the_canonical_limbs_are_rejected() {
    let word = Fr::from(5u64);
    let given = |limbs: [Fr; 4], integer: u64| {
        holds(|b| {
            let word = b.witness(word);
            Scalar::of_word_given(b, word, limbs, [integer, 0, 0, 0]);
        })
    };
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    assert!(given([word, zero, zero, zero], 5));
    assert!(!given([word + one, zero, zero, zero], 6), "another word");
    assert!(!given([word + power_of_two(64), -one, zero, zero], 5), "a limb beyond 64 bits");
    assert!(!given(limbs(&(r() + 5)), 5), "the integer 5 + r");

    let half = power_of_two(64) * Fr::from(7u64) + Fr::from(9u64);
    let given = |halves: [Fr; 2], limbs: [[Fr; 2]; 2]| {
        holds(|b| {
            let halves = halves.map(|half| b.witness(half));
            Scalar::of_halves_given(b, halves, limbs);
        })
    };
    let [good, shifted] = [[9, 7], [9, 6]].map(|pair: [u64; 2]| pair.map(Fr::from));
    let shifted = [shifted[0] + power_of_two(64), shifted[1]];
    assert!(given([half, half], [good, good]));
    assert!(!given([half, half + one], [good, good]), "another half");
    assert!(!given([half, half], [shifted, good]), "a limb beyond 64 bits");
    assert!(
        !given([half, power_of_two(128)], [good, [zero, power_of_two(64)]]),
        "a half of 129 bits"
    );
}
