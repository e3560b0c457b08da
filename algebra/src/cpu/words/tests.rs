//! The operations on numbers at the ends of their bounds: the twin against arkworks' elements, the assembly against its
//! twin, word for word, and what is beyond a bound against the twin that checks them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ark_bn254::{FqConfig, FrConfig};
use ark_ff::{BigInteger, Field};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// The residue of a number.
fn residue<M: Modulus>(number: &Words) -> Element<M> {
    let mut number = BigInt::new(*number);
    while number >= M::MODULUS {
        number.sub_with_borrow(&M::MODULUS);
    }
    Element::<M>::new_unchecked(number)
}

/// Numbers below `below · p`, or of any four words where that is 0. Those that stress carries come first: 0, 1,
/// multiples of p and their neighbours; each word alone, full and empty among full ones; and bits in runs.
fn samples<M: Modulus>(below: usize, random: usize) -> Vec<Words> {
    let p = M::MODULUS.0;
    let mut all: Vec<Words> = vec![[0; 4], [1, 0, 0, 0], M::ONE, M::R2.0];
    for k in 1..=5 {
        let kp = multiple(p, k);
        all.extend([kp, difference(&kp, &[1, 0, 0, 0]).0, add(&kp, &[1, 0, 0, 0])]);
    }
    for value in [1, 2, u64::MAX, u64::MAX - 1, 1 << 63, p[0], p[3], M::INV] {
        for at in 0..4 {
            let mut alone = [0; 4];
            alone[at] = value;
            let mut among = [u64::MAX; 4];
            among[at] = value.wrapping_neg();
            let mut in_p = p;
            in_p[at] = value;
            all.extend([alone, among, in_p]);
        }
    }
    for bit in 0..256 {
        let mut low = [0; 4];
        (0..bit).for_each(|i: usize| low[i / 64] |= 1 << (i % 64));
        all.extend([low, low.map(|word| !word)]);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(20_270_101 + below as u64);
    let is_below = |number: &Words| below == 0 || difference(number, &multiple(p, below)).1;
    all.retain(is_below);
    let edges = all.len();
    while all.len() < edges + random {
        let number: Words = rng.r#gen();
        all.extend(is_below(&number).then_some(number));
    }
    all
}

/// `number · factor`.
fn scaled(number: &Words, factor: u64) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = 0;
    for i in 0..4 {
        (out[i], carry) = number[i].carrying_mul_add(factor, carry, 0);
    }
    out[4] = carry;
    out
}

/// Asserts that `number` is below `(1 + 0.1891 · square)p`, which bounds a product of up to `square · p²`.
fn assert_product<M: Modulus>(number: &Words, square: usize) {
    let left = scaled(number, 10_000);
    let right = scaled(&M::MODULUS.0, 10_000 + 1891 * square as u64);
    assert!(left.iter().rev().lt(right.iter().rev()), "{number:x?} is above 1 + 0.1891 · {square}");
}

/// The ends of the numbers below `below · p`.
fn ends<M: Modulus>(below: usize) -> [Words; 4] {
    let most = difference(&multiple(M::MODULUS.0, below), &[1, 0, 0, 0]).0;
    [[0; 4], [1, 0, 0, 0], M::MODULUS.0.map(|word| word >> 1), most]
}

fn products_are_arkworks<M: Modulus>(products: impl Products) {
    // The second factor of the last is any number; 2^256 is below 5.5p.
    for (bounds, square) in [([1, 1], 1), ([2, 2], 4), ([4, 1], 4), ([4, 0], 22)] {
        let (left, right) = (samples::<M>(bounds[0], 100), samples::<M>(bounds[1], 100));
        for a in &left {
            for b in &right {
                let product = products.mul::<M>(a, b);
                assert_eq!(residue::<M>(&product), residue::<M>(a) * residue::<M>(b));
                assert_product::<M>(&product, square);
            }
        }
    }
    for below in [2, 4] {
        for a in samples::<M>(below, 1000) {
            let square = products.square::<M>(&a);
            assert_eq!(residue::<M>(&square), residue::<M>(&a).square());
            assert_product::<M>(&square, below * below);
        }
    }
}

/// All combinations of the ends, then each first factor with changing others.
fn dots<M: Modulus>([a, c]: [usize; 2], mut check: impl FnMut([Words; 4])) {
    let any = [[u64::MAX; 4], [0; 4], [0, 0, 0, u64::MAX], [u64::MAX, 0, 0, 0]];
    for a in ends::<M>(a) {
        for c in ends::<M>(c) {
            for b in ends::<M>(5).into_iter().chain(any) {
                any.into_iter().chain(ends::<M>(2)).for_each(|d| check([a, b, c, d]));
            }
        }
    }
    let (left, right, all) = (samples::<M>(a, 300), samples::<M>(c, 300), samples::<M>(0, 300));
    let at = |numbers: &[Words], i: usize| numbers[i % numbers.len()];
    for i in 0..20_000 {
        check([at(&left, i), at(&all, 7 * i + 1), at(&right, 3 * i + i / 11), at(&all, 5 * i)]);
    }
}

fn dots_are_arkworks<M: Modulus>(products: impl Products) {
    for bounds in [[2, 2], [1, 3], [3, 1]] {
        dots::<M>(bounds, |[a, b, c, d]| {
            let dot = products.dot::<M>([&a, &b], [&c, &d]);
            let expected =
                residue::<M>(&a) * residue::<M>(&b) + residue::<M>(&c) * residue::<M>(&d);
            assert_eq!(residue::<M>(&dot), expected, "{a:x?} · {b:x?} + {c:x?} · {d:x?}");
            assert_product::<M>(&dot, 22);
        });
    }
    // First factors that come to 4p itself.
    for k in 0..=4 {
        let [a, c] = [k, 4 - k].map(|k| multiple(M::MODULUS.0, k));
        for b in [[u64::MAX; 4], [0; 4]].iter().chain(&ends::<M>(5)) {
            let dot = products.dot::<M>([&a, b], [&c, b]);
            assert_eq!(residue::<M>(&dot), residue::<M>(&[0; 4]), "{a:x?} and {c:x?} by {b:x?}");
            assert_product::<M>(&dot, 22);
        }
    }
    // What is known of the second factors bounds the result further.
    for a in ends::<M>(2) {
        for b in ends::<M>(2) {
            let dot = products.dot::<M>([&a, &b], [&b, &a]);
            assert_product::<M>(&dot, 8);
        }
    }
}

/// First factors that come to 4p, or to a little less, in several ways, with second factors of any size.
fn longer_sums<M: Modulus>(mut check: impl FnMut([[Words; 2]; 4])) {
    let any = [[u64::MAX; 4], [0; 4], [0, 0, 0, u64::MAX], [u64::MAX, 0, 0, 0]];
    let any: Vec<Words> = any.into_iter().chain(ends::<M>(5)).collect();
    for bounds in [[1, 1, 1, 1], [2, 1, 1, 0], [1, 0, 0, 3], [0, 4, 0, 0]] {
        // Nothing is below 0p, so zero stands for it.
        let firsts = bounds.map(|below| match below {
            0 => [[0; 4]; 4],
            _ => ends::<M>(below),
        });
        for i in 0..4 * 4 * 4 * 4 {
            let digits = [i % 4, i / 4 % 4, i / 16 % 4, i / 64];
            for shift in 0..any.len() {
                check(std::array::from_fn(|k| {
                    [firsts[k][digits[k]], any[(shift + k * (i % 3)) % any.len()]]
                }));
            }
        }
    }
    for multiples in [[1, 1, 1, 1], [2, 1, 1, 0], [0, 2, 0, 2], [1, 0, 0, 3], [0, 4, 0, 0]] {
        let firsts = multiples.map(|k| multiple(M::MODULUS.0, k));
        for i in 0..any.len() * any.len() {
            let (start, step) = (i % any.len(), i / any.len());
            check(std::array::from_fn(|k| [firsts[k], any[(start + k * step) % any.len()]]));
        }
    }
    let (first, second) = (samples::<M>(1, 300), samples::<M>(0, 300));
    for i in 0..20_000 {
        check(std::array::from_fn(|k| {
            let at = i * (2 * k + 1) + k * (i / 7);
            [first[at % first.len()], second[(3 * at + k) % second.len()]]
        }));
    }
}

fn longer_sums_are_arkworks<M: Modulus>(products: impl Products) {
    longer_sums::<M>(|pairs| {
        let terms = pairs.each_ref().map(|[a, b]| residue::<M>(a) * residue::<M>(b));
        let (factors, values) =
            (pairs.each_ref().map(|[a, _]| *a), pairs.each_ref().map(|[_, b]| b));
        let four = products.dot_factors::<M>(&factors, values);
        assert_eq!(residue::<M>(&four), terms.iter().sum::<Element<M>>(), "{pairs:x?}");
        // Second factors are below 5.5p.
        assert_product::<M>(&four, 22);
        let [first, second, third, _] = factors;
        let three = products.dot_factors::<M>(&[first, second, third, [0; 4]], values);
        assert_eq!(residue::<M>(&three), terms[..3].iter().sum::<Element<M>>(), "{pairs:x?}");
        assert_product::<M>(&three, 22);
    });
}

#[test]
fn sums_of_three_and_four_products_of_words_are_arkworks_sums_within_their_bounds() {
    longer_sums_are_arkworks::<FqConfig>(Portable);
    longer_sums_are_arkworks::<FrConfig>(Portable);
}

/// Each pair beside another, in both places.
#[cfg(target_arch = "x86_64")]
fn two_products_of_assembly_are_the_twins<M: Modulus>(adx: Adx) {
    let (left, right) = (samples::<M>(4, 200), samples::<M>(0, 200));
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate() {
            let c = &left[(i + 7 * j + 1) % left.len()];
            let d = &right[(3 * i + j + 1) % right.len()];
            let expected = [Portable.mul::<M>(a, b), Portable.mul::<M>(c, d)];
            assert_eq!(adx.mul_two::<M>([a, c], [b, d]), expected, "{a:x?} {b:x?} {c:x?} {d:x?}");
            let [second, first] = adx.mul_two::<M>([c, a], [d, b]);
            assert_eq!([first, second], expected, "{a:x?} {b:x?} {c:x?} {d:x?}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn longer_sums_of_assembly_are_the_twins<M: Modulus>(adx: Adx) {
    longer_sums::<M>(|pairs| {
        let (factors, values) =
            (pairs.each_ref().map(|[a, _]| *a), pairs.each_ref().map(|[_, b]| b));
        for factors in [factors, [[0; 4], factors[1], factors[2], factors[3]]] {
            let expected = Portable.dot_factors::<M>(&factors, values);
            assert_eq!(adx.dot_factors::<M>(&factors, values), expected, "{pairs:x?}");
        }
    });
}

/// Goal: no number is multiplied by that of another. Method: lengths without, with one and with several twos, and
/// factors that are all different.
#[test]
fn each_product_of_many_is_that_of_its_own_factors() {
    fn check<const N: usize>(products: impl Products) {
        let (left, right) = (samples::<FqConfig>(4, 100), samples::<FqConfig>(0, 100));
        for i in 0..100 {
            let a: [Words; N] = std::array::from_fn(|k| left[left.len() - 1 - (i + 7 * k) % 100]);
            let b: [Words; N] = std::array::from_fn(|k| right[right.len() - 1 - (i + 9 * k) % 100]);
            let expected: [Words; N] =
                std::array::from_fn(|k| Portable.mul::<FqConfig>(&a[k], &b[k]));
            assert_eq!(products.mul_each::<FqConfig, N>(&a, &b), expected, "{N} products, {i}");
        }
    }
    for scalar in Scalar::available() {
        with_products!(scalar, products => {
            check::<1>(products);
            check::<2>(products);
            check::<3>(products);
            check::<4>(products);
            check::<5>(products);
        });
    }
}

#[test]
fn products_of_words_are_arkworks_products_within_their_bounds() {
    products_are_arkworks::<FqConfig>(Portable);
    products_are_arkworks::<FrConfig>(Portable);
}

#[test]
fn sums_of_two_products_of_words_are_arkworks_sums_within_their_bounds() {
    dots_are_arkworks::<FqConfig>(Portable);
    dots_are_arkworks::<FrConfig>(Portable);
}

#[cfg(target_arch = "x86_64")]
fn products_of_assembly_are_the_twins<M: Modulus>(adx: Adx) {
    let (left, right) = (samples::<M>(4, 400), samples::<M>(0, 400));
    for a in &left {
        for b in &right {
            assert_eq!(adx.mul::<M>(a, b), Portable.mul::<M>(a, b), "{a:x?} · {b:x?}");
        }
        assert_eq!(adx.square::<M>(a), Portable.square::<M>(a), "{a:x?} squared");
    }
    for bounds in [[2, 2], [1, 3], [3, 1]] {
        dots::<M>(bounds, |[a, b, c, d]| {
            let pairs = [[&a, &b], [&c, &d]];
            let expected = Portable.dot::<M>(pairs[0], pairs[1]);
            assert_eq!(adx.dot::<M>(pairs[0], pairs[1]), expected, "{pairs:x?}");
        });
    }
    // Long chains, whose numbers no one chose.
    let (mut a, mut b) = (left[left.len() - 1], left[left.len() - 2]);
    for _ in 0..50_000 {
        let (product, square) = (adx.mul::<M>(&a, &b), adx.square::<M>(&b));
        assert_eq!(product, Portable.mul::<M>(&a, &b));
        assert_eq!(square, Portable.square::<M>(&b));
        (a, b) = (square, product);
    }
}

#[cfg(target_arch = "x86_64")]
fn differences_of_assembly_are_the_twins<M: Modulus, const K: usize>(adx: Adx) {
    let p = M::MODULUS.0;
    let mut subtrahends = samples::<M>(K, 200);
    subtrahends.push(multiple(p, K));
    for a in &samples::<M>(5 - K, 200) {
        for b in &subtrahends {
            let expected = Portable.sub::<M, K>(a, b);
            assert_eq!(adx.sub::<M, K>(a, b), expected, "{a:x?} − {b:x?} + {K}p");
        }
    }
    for a in &samples::<M>(0, 1000) {
        assert_eq!(adx.less::<M, K>(a), Portable.less::<M, K>(a), "{a:x?} less {K}p");
    }
    for a in samples::<M>(1, 1000).iter().chain([&p]) {
        for negative in [false, true] {
            let expected = Portable.negated_if::<M>(negative, a);
            assert_eq!(adx.negated_if::<M>(negative, a), expected, "{a:x?}, {negative}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn assembly_is_the_twin<M: Modulus>(adx: Adx) {
    products_of_assembly_are_the_twins::<M>(adx);
    two_products_of_assembly_are_the_twins::<M>(adx);
    longer_sums_of_assembly_are_the_twins::<M>(adx);
    differences_of_assembly_are_the_twins::<M, 1>(adx);
    differences_of_assembly_are_the_twins::<M, 2>(adx);
    differences_of_assembly_are_the_twins::<M, 4>(adx);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_assembly_returns_the_words_of_its_twin() {
    let Some(adx) = Adx::detect() else {
        eprintln!("not run: this processor has no BMI2 and ADX");
        return;
    };
    assembly_is_the_twin::<FqConfig>(adx);
    assembly_is_the_twin::<FrConfig>(adx);
}

fn sums_keep_residues_and_bounds_in<M: Modulus>(products: impl Products) {
    let p = M::MODULUS.0;
    for a in &samples::<M>(2, 100) {
        for b in &samples::<M>(2, 100) {
            let (x, y) = (residue::<M>(a), residue::<M>(b));
            assert_eq!(residue::<M>(&add(a, b)), x + y);
            let rest = products.sub::<M, 2>(a, b);
            assert_eq!(residue::<M>(&rest), x - y);
            assert!(difference(&rest, &multiple(p, 4)).1, "{a:x?} − {b:x?}");
        }
        let reduced = products.less::<M, 1>(a);
        assert_eq!(element::<M>(reduced), residue::<M>(a));
    }
    for a in &samples::<M>(4, 1000) {
        let reduced = products.less::<M, 2>(a);
        assert_eq!(residue::<M>(&reduced), residue::<M>(a));
        assert!(difference(&reduced, &multiple(p, 2)).1);
    }
    for a in &samples::<M>(5, 1000) {
        let reduced = products.less::<M, 4>(a);
        assert_eq!(residue::<M>(&reduced), residue::<M>(a));
        assert!(difference(&reduced, &multiple(p, 4)).1);
    }
    for a in &samples::<M>(1, 1000) {
        assert_eq!(products.negated_if::<M>(false, a), *a);
        assert_eq!(residue::<M>(&products.negated_if::<M>(true, a)), -residue::<M>(a));
    }
}

/// At a bound itself: what is subtracted at most, what is reduced at least, and the two negatives of zero.
fn sums_are_exact_at_their_bounds_in<M: Modulus, const K: usize>(products: impl Products) {
    let (p, kp) = (M::MODULUS.0, multiple(M::MODULUS.0, K));
    let below = difference(&kp, &[1, 0, 0, 0]).0;
    assert_eq!(products.sub::<M, K>(&[0; 4], &kp), [0; 4]);
    assert_eq!(products.sub::<M, K>(&[0; 4], &below), [1, 0, 0, 0]);
    assert_eq!(products.sub::<M, K>(&[0; 4], &[0; 4]), kp);
    assert_eq!(products.less::<M, K>(&kp), [0; 4]);
    assert_eq!(products.less::<M, K>(&below), below);
    assert_eq!(products.negated_if::<M>(true, &[0; 4]), p);
    assert_eq!(products.negated_if::<M>(true, &p), [0; 4]);
    assert_eq!(products.negated_if::<M>(false, &p), p);
}

#[test]
fn sums_of_words_keep_residues_and_bounds() {
    for scalar in Scalar::available() {
        with_products!(scalar, products => {
            sums_keep_residues_and_bounds_in::<FqConfig>(products);
            sums_keep_residues_and_bounds_in::<FrConfig>(products);
            sums_are_exact_at_their_bounds_in::<FqConfig, 1>(products);
            sums_are_exact_at_their_bounds_in::<FqConfig, 2>(products);
            sums_are_exact_at_their_bounds_in::<FrConfig, 1>(products);
            sums_are_exact_at_their_bounds_in::<FrConfig, 2>(products);
        });
    }
}

/// Goal: the laws notice a kernel that exceeds a bound. Method: the smallest inputs beyond each bound, and the largest
/// within it.
#[test]
fn the_twin_that_checks_rejects_what_is_beyond_a_bound() {
    type R = FrConfig;
    let kp = |k| multiple(R::MODULUS.0, k);
    let one = [1, 0, 0, 0];
    let below = |k| difference(&kp(k), &one).0;
    let above = |k| add(&kp(k), &one);
    let within: [(&str, &dyn Fn() -> Words); 8] = [
        ("mul", &|| Checked.mul::<R>(&below(4), &[u64::MAX; 4])),
        ("dot", &|| Checked.dot::<R>([&kp(2), &kp(5)], [&kp(2), &kp(5)])),
        ("dot_factors, three", &|| {
            Checked.dot_factors::<R>(&[kp(2), kp(1), kp(1), kp(0)], [&kp(5); 4])
        }),
        ("dot_factors, four", &|| Checked.dot_factors::<R>(&[kp(1); 4], [&kp(5); 4])),
        ("sub", &|| Checked.sub::<R, 2>(&below(3), &kp(2))),
        ("less", &|| Checked.less::<R, 4>(&kp(5))),
        ("negated_if", &|| Checked.negated_if::<R>(true, &kp(1))),
        ("element", &|| element::<R>(below(1)).0.0),
    ];
    let beyond: [(&str, &dyn Fn() -> Words); 13] = [
        ("mul", &|| Checked.mul::<R>(&kp(4), &one)),
        ("square", &|| Checked.square::<R>(&kp(4))),
        ("dot", &|| Checked.dot::<R>([&above(2), &one], [&kp(2), &one])),
        ("dot_factors, three", &|| {
            Checked.dot_factors::<R>(&[kp(2), kp(1), above(1), kp(0)], [&one; 4])
        }),
        ("dot_factors, four", &|| {
            Checked.dot_factors::<R>(&[above(1), kp(1), kp(1), kp(1)], [&one; 4])
        }),
        ("mul_two, first", &|| Checked.mul_two::<R>([&kp(4), &one], [&one, &one])[0]),
        ("mul_two, second", &|| Checked.mul_two::<R>([&one, &kp(4)], [&one, &one])[0]),
        ("sub, minuend", &|| Checked.sub::<R, 2>(&kp(3), &one)),
        ("sub, subtrahend", &|| Checked.sub::<R, 2>(&kp(2), &above(2))),
        ("less", &|| Checked.less::<R, 2>(&above(5))),
        ("negated_if", &|| Checked.negated_if::<R>(false, &above(1))),
        ("element", &|| element::<R>(kp(1)).0.0),
        ("add", &|| add(&kp(3), &kp(3))),
    ];
    let panics = |work: &dyn Fn() -> Words| catch_unwind(AssertUnwindSafe(work)).is_err();
    for (name, work) in within {
        assert!(!panics(work), "{name} rejects what is within its bounds");
    }
    for (name, work) in beyond {
        assert!(panics(work), "{name} accepts what is beyond its bounds");
    }
}
