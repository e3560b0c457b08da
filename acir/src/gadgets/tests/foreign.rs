use num_bigint::{BigInt, Sign};
use num_integer::Integer;

use super::super::foreign::{Element, Modulus, Terms, from_words, is_below, is_equal, is_none};
use super::*;

/// The order of secp256k1.
const WORDS: [u64; 4] = [0xbfd25e8cd0364141, 0xbaaedce6af48a03b, 0xfffffffffffffffe, u64::MAX];

fn below_two_256(rng: &mut ChaCha8Rng) -> BigInt {
    from_words(std::array::from_fn(|_| rng.r#gen()))
}

#[test]
fn products_have_their_residue() {
    let (m, mut rng) = (Modulus::new(WORDS), random());
    let top: BigInt = (BigInt::from(1) << 256u32) - 1;
    let mut pairs: Vec<[BigInt; 2]> =
        (0..4).map(|_| [below_two_256(&mut rng), below_two_256(&mut rng)]).collect();
    pairs.push([top.clone(), top]);
    pairs.push([BigInt::from(0), from_words(WORDS)]);
    pairs.push([from_words(WORDS) - 1, from_words(WORDS) - 1]);
    for [x, y] in pairs {
        for k in [1, -1, 3] {
            let product: BigInt = &x * &y * k - &x;
            let expected = product.mod_floor(&from_words(WORDS));
            let ok = holds(|b| {
                let (x, y) = (Element::fresh(b, &x), Element::fresh(b, &y));
                let out = Terms::default().product(k, &x, &y).term(-1, &x).reduce(b, &m);
                let expected = Element::constant(b, &expected);
                let same = is_equal(b, &out, &expected);
                b.assert_constant(same, integer(1));
            });
            assert!(ok, "{k} · {x} · {y}");
        }
    }
}

/// Whether `x · y` is accepted as a multiple of the modulus, with this quotient.
fn is_multiple(x: &BigInt, y: &BigInt, quotient: &BigInt) -> bool {
    let m = Modulus::new(WORDS);
    holds(|b| {
        let (x, y) = (Element::fresh(b, x), Element::fresh(b, y));
        Terms::default().product(1, &x, &y).assert_zero_given(b, &m, quotient);
    })
}

#[test]
fn what_is_no_multiple_has_no_quotient() {
    let (m, mut rng) = (from_words(WORDS), random());
    let x = below_two_256(&mut rng);
    assert!(is_multiple(&x, &m, &x));
    assert!(!is_multiple(&x, &m, &(&x + 1)));
    assert!(!is_multiple(&x, &m, &(&x - 1)));
    let y = &m - 5;
    let product: BigInt = &x * &y;
    let power = BigInt::from(1) << 288u32;
    // The quotients that are right modulo 2^288, and modulo r, where no integer is.
    let by_euler = BigInt::from(1) << 287u32;
    let inverse = m.modpow(&(by_euler - 1), &power);
    let r = from_words(<Fr as ark_ff::PrimeField>::MODULUS.0);
    let native = m.mod_floor(&r).modpow(&(&r - 2), &r);
    for quotient in [
        product.div_floor(&m),
        product.div_floor(&m) + 1,
        (&product * inverse).mod_floor(&power),
        (&product * native).mod_floor(&r),
        BigInt::from_bytes_le(Sign::Plus, &[0xff; 40]),
    ] {
        assert!(!is_multiple(&x, &y, &quotient), "{quotient}");
    }
}

#[test]
fn comparisons_are_those_of_integers() {
    let m = from_words(WORDS);
    for (value, is_low, is_multiple) in [
        (BigInt::from(0), 1, 1),
        (BigInt::from(1), 1, 0),
        (&m - 1, 1, 0),
        (m.clone(), 0, 1),
        (&m + 1, 0, 0),
        ((BigInt::from(1) << 256u32) - 1, 0, 0),
        (BigInt::from(1) << 96u32, 1, 0),
        (BigInt::from(1) << 192u32, 1, 0),
    ] {
        let ok = holds(|b| {
            let element = Element::fresh(b, &value);
            let low = is_below(b, &element, &m);
            b.assert_constant(low, integer(is_low));
            let none = is_none(b, &element);
            b.assert_constant(none, integer(i64::from(value == BigInt::from(0))));
            let zero = Terms::default().term(1, &element).zero_bit(b, &Modulus::new(WORDS));
            b.assert_constant(zero, integer(is_multiple));
        });
        assert!(ok, "{value}");
    }
}
