//! Each operation against big integers, on numbers at the ends of their bounds.
#![allow(unsafe_code)]

use ark_ff::{Field, Zero};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A number below 2^260 as limbs, with its residue.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu::ifma) struct Number<F> {
    pub(in crate::cpu::ifma) limbs: [u64; 5],
    pub(in crate::cpu::ifma) residue: F,
}

pub(in crate::cpu::ifma) fn number<M: Modulus>(limbs: [u64; 5]) -> Number<M::Field> {
    let base = M::Field::from(1u64 << LIMB_BITS);
    let mut residue = M::Field::zero();
    for limb in limbs.iter().rev() {
        residue = residue * base + M::Field::from(*limb);
    }
    Number { limbs, residue }
}

pub(in crate::cpu::ifma) fn minus_one(mut limbs: [u64; 5]) -> [u64; 5] {
    for limb in &mut limbs {
        if *limb > 0 {
            *limb -= 1;
            return limbs;
        }
        *limb = LIMB;
    }
    limbs
}

/// Numbers below `2^260` that stress carries and bounds: 0, 1, multiples of p and their neighbours,
/// full limbs, alternating ones; then random numbers below 2p.
pub(in crate::cpu::ifma) fn samples<M: Modulus>(below: u64) -> Vec<Number<M::Field>> {
    let mut limbs =
        vec![[0; 5], [1, 0, 0, 0, 0], [LIMB, LIMB, LIMB, LIMB, 0], [LIMB, 0, LIMB, 0, 1]];
    for k in 1..=below {
        let kp = multiple(M::P, k);
        limbs.push(minus_one(kp));
        if k < below {
            limbs.push(kp);
            limbs.push([kp[0] + 1, kp[1], kp[2], kp[3], kp[4]]);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(below);
    while limbs.len() % LANES != 0 || limbs.len() < 64 {
        let mut random = std::array::from_fn(|_| rng.r#gen::<u64>() & LIMB);
        random[4] %= M::P[4] * below;
        limbs.push(random);
    }
    limbs.into_iter().map(number::<M>).collect()
}

pub(in crate::cpu::ifma) fn pack<F: Copy>(numbers: &[Number<F>]) -> EightMemory {
    let mut memory = EightMemory::ZERO;
    for (lane, number) in numbers.iter().enumerate() {
        for (row, limb) in memory.0.iter_mut().zip(number.limbs) {
            row[lane] = limb;
        }
    }
    memory
}

pub(in crate::cpu::ifma) fn lane(memory: &EightMemory, lane: usize) -> [u64; 5] {
    std::array::from_fn(|i| memory.0[i][lane])
}

pub(in crate::cpu::ifma) fn below(a: [u64; 5], b: [u64; 5]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Add,
    Sub,
    Mul,
    MulPair,
    Reduce,
    Canonical,
    /// A product less a number, carried and reduced at once.
    MulSub,
    Square,
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn apply<M: Modulus>(operation: Operation, a: &EightMemory, b: &EightMemory) -> EightMemory {
    let (a, b) = (a.load(), b.load());
    EightMemory::from_eight(match operation {
        Operation::Add => add(a, b),
        Operation::Sub => sub::<M, 8>(a, b),
        Operation::Mul => mul::<M>(a, b),
        Operation::MulPair => products::<M, 2>(&[b, a], &[a, b])[1],
        Operation::Reduce => reduce::<M>(a),
        Operation::Canonical => canonical::<M>(a),
        // SAFETY: this function has the target feature.
        Operation::Square => carry(unsafe { square_limbs::<M, 1>(&[a]) }[0]),
        Operation::MulSub => {
            // SAFETY: this function has the target feature.
            let [product] = unsafe { product_limbs::<M, 1>(&[a], &[b]) };
            carry_and_reduce::<M>(limbs_less::<M, 8>(product, b))
        }
    })
}

/// `bounds` are those of the operands and `bound` the result's, as multiples
/// of p.
fn check<M: Modulus>(operation: Operation, bounds: [u64; 2], bound: u64) {
    let [left, mut right] = bounds.map(samples::<M>);
    let r_inverse = M::Field::from(2u64).pow([260]).inverse().unwrap();
    for _ in 0..right.len() {
        right.rotate_left(1);
        let right = right.chunks_exact(LANES).cycle();
        for (a, b) in left.chunks_exact(LANES).zip(right) {
            // SAFETY: the caller found the instructions.
            let out = unsafe { apply::<M>(operation, &pack(a), &pack(b)) };
            for i in 0..LANES {
                let out = lane(&out, i);
                let (x, y) = (a[i].residue, b[i].residue);
                let expected = match operation {
                    Operation::Add => x + y,
                    Operation::Sub => x - y,
                    Operation::Mul | Operation::MulPair => x * y * r_inverse,
                    Operation::Reduce | Operation::Canonical => x,
                    Operation::MulSub => x * y * r_inverse - y,
                    Operation::Square => x * x * r_inverse,
                };
                assert_eq!(
                    number::<M>(out).residue,
                    expected,
                    "{operation:?} of {:?}",
                    (a[i], b[i])
                );
                assert!(out.iter().all(|limb| *limb <= LIMB), "{operation:?}: {out:?}");
                assert!(below(out, multiple(M::P, bound)), "{operation:?}: {out:?}");
            }
        }
    }
}

fn check_all<M: Modulus>() {
    if super::super::Ifma::detect().is_none() {
        // Nothing else runs this code on a processor without IFMA either.
        eprintln!("not run: this processor has no AVX-512 IFMA");
        return;
    }
    check::<M>(Operation::Add, [8, 8], 16);
    check::<M>(Operation::Sub, [8, 8], 16);
    check::<M>(Operation::Reduce, [84, 8], 2);
    check::<M>(Operation::Canonical, [84, 8], 1);
    check::<M>(Operation::MulSub, [8, 8], 2);
    check::<M>(Operation::MulSub, [84, 8], 2);
    check::<M>(Operation::Square, [8, 8], 3);
    check::<M>(Operation::Square, [80, 8], 79);
    for operation in [Operation::Mul, Operation::MulPair] {
        check::<M>(operation, [8, 8], 3);
        check::<M>(operation, [84, 1], 3);
        check::<M>(operation, [84, 80], 82);
    }
}

#[test]
fn operations_keep_residues_and_bounds_in_the_base_field() {
    check_all::<Q>();
}

#[test]
fn operations_keep_residues_and_bounds_in_the_scalar_field() {
    check_all::<R>();
}

#[test]
fn limbs_survive_the_way_into_vectors_and_back() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn there_and_back(words: &[[u64; 4]; LANES]) -> ([[u64; 4]; LANES], EightMemory) {
        let mut out = [[0; 4]; LANES];
        // SAFETY: both arrays are eight runs of four words.
        unsafe {
            let loaded = load_run(words.as_ptr().cast(), 4);
            store_run(join_limbs(split_limbs(loaded)), out.as_mut_ptr().cast(), 4);
            (out, EightMemory::from_eight(split_limbs_times_16(loaded)))
        }
    }
    if super::super::Ifma::detect().is_none() {
        eprintln!("not run: this processor has no AVX-512 IFMA");
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut words: [[u64; 4]; LANES] = std::array::from_fn(|_| rng.r#gen());
    words[0] = [u64::MAX; 4];
    words[1] = [0; 4];
    // SAFETY: the processor has the instructions.
    let (out, times_16) = unsafe { there_and_back(&words) };
    assert_eq!(out, words);
    for (i, words) in words.iter().enumerate() {
        let mut shifted = ark_ff::BigInt::<5>::new([words[0], words[1], words[2], words[3], 0]);
        shifted <<= 4;
        let s = shifted.0;
        let expected = [
            s[0] & LIMB,
            (s[0] >> 52 | s[1] << 12) & LIMB,
            (s[1] >> 40 | s[2] << 24) & LIMB,
            (s[2] >> 28 | s[3] << 36) & LIMB,
            s[3] >> 16 | s[4] << 48,
        ];
        assert_eq!(lane(&times_16, i), expected);
    }
}
