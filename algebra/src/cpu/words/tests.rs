//! The operations on numbers at the ends of their bounds: the assembly against its twin, word for word, and the
//! twin against arkworks' elements.

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

/// Whether `number` is at most `(1 + a · b / 2^256)`, in multiples of p, for a and b below `bounds` multiples.
fn assert_bound<M: Modulus>(number: &Words, bounds: [usize; 2]) {
    // 0.1891 · αβ, in ten thousandths.
    let ten_thousandths = 10_000 + 1891 * bounds[0] as u64 * bounds[1] as u64;
    let top = u128::from(number[3]) * 10_000;
    assert!(top <= u128::from(M::MODULUS.0[3] + 1) * u128::from(ten_thousandths), "{number:x?}");
}

fn products_are_arkworks<M: Modulus>(products: impl Products) {
    for bounds in [[1, 1], [2, 2], [4, 1]] {
        let (left, right) = (samples::<M>(bounds[0], 100), samples::<M>(bounds[1], 100));
        for a in &left {
            for b in &right {
                let product = products.mul::<M>(a, b);
                assert_eq!(residue::<M>(&product), residue::<M>(a) * residue::<M>(b));
                assert_bound::<M>(&product, bounds);
            }
        }
    }
    for below in [2, 4] {
        for a in samples::<M>(below, 1000) {
            let square = products.square::<M>(&a);
            assert_eq!(residue::<M>(&square), residue::<M>(&a).square());
            assert_bound::<M>(&square, [below, below]);
        }
    }
}

#[test]
fn products_of_words_are_arkworks_products_within_their_bounds() {
    products_are_arkworks::<FqConfig>(Portable);
    products_are_arkworks::<FrConfig>(Portable);
}

#[cfg(target_arch = "x86_64")]
fn assembly_is_the_twin<M: Modulus>(adx: Adx) {
    let left = samples::<M>(4, 400);
    for a in &left {
        for b in &samples::<M>(0, 400) {
            assert_eq!(adx.mul::<M>(a, b), Portable.mul::<M>(a, b), "{a:x?} · {b:x?}");
        }
        assert_eq!(adx.square::<M>(a), Portable.square::<M>(a), "{a:x?} squared");
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
#[test]
fn the_assembly_returns_the_words_of_its_twin() {
    let Some(adx) = Adx::detect() else {
        println!("no BMI2 and ADX here: nothing to compare");
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
            assert_eq!(residue::<M>(&products.sub::<M, 2>(a, b)), x - y);
        }
        let reduced = products.less::<M, 1>(a);
        assert_eq!(element::<M>(reduced), residue::<M>(a));
    }
    for a in &samples::<M>(4, 1000) {
        let reduced = products.less::<M, 2>(a);
        assert_eq!(residue::<M>(&reduced), residue::<M>(a));
        assert!(difference(&reduced, &multiple(p, 2)).1);
    }
    for a in &samples::<M>(1, 1000) {
        assert_eq!(products.negated_if::<M>(false, a), *a);
        assert_eq!(residue::<M>(&products.negated_if::<M>(true, a)), -residue::<M>(a));
    }
}

#[test]
fn sums_of_words_keep_residues_and_bounds() {
    sums_keep_residues_and_bounds_in::<FqConfig>(Portable);
    sums_keep_residues_and_bounds_in::<FrConfig>(Portable);
}
