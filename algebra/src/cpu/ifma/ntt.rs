//! Number-theoretic transforms in two passes over the data, eight columns or rows at a time.
//!
//! With `n = n1 · n2`, an input index is `i1 · n2 + i2` and an output index `k1 + n1 · k2`. Pass 1
//! transforms over i1 and multiplies by `ω^(i2 · k1)`; pass 2 transforms over i2. The eight lanes are
//! eight neighbouring i2, then eight neighbouring k1, so no pass mixes lanes, each works in a buffer
//! that the second-level cache holds, and memory is read and written in runs of 256 bytes. Shifts of a
//! coset and the division by n ride on the factors between the passes; only what depends on i1 or k2
//! costs a separate product.
//!
//! Source: the four-step transform, Bailey, "FFTs in external or hierarchical memory", 1990.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use ark_ff::Field;
use rayon::prelude::*;

use super::Ifma;
use super::field::{
    Eight, EightMemory, Factor, LANES, R, add, canonical, factor, join_limbs, load_run, mul,
    products, products_here, raw_fr, splat, split_limbs, store_run, sub,
};
use crate::Fr;
use crate::cpu::ntt::Direction;
use crate::field::omega;

/// Smallest transform that splits into two passes of at least eight.
pub(in crate::cpu) const LOG_N_MIN: u32 = 6;
/// Largest pass, for the largest transform, 2^28.
const LOG_PASS_MAX: usize = 14;

/// Roots of unity as factors, for the transforms of one pass, forwards and backwards. Layer k holds
/// `ω^i` for `i < 2^k` and `ω` of order `2^(k + 1)`.
#[derive(Debug, Default)]
pub(in crate::cpu) struct PassRoots {
    forward: [OnceLock<Vec<Factor>>; LOG_PASS_MAX],
    inverse: [OnceLock<Vec<Factor>>; LOG_PASS_MAX],
}

impl PassRoots {
    fn layers(&self, inverse: bool, log_n: u32) -> Vec<&[Factor]> {
        let tables = if inverse { &self.inverse } else { &self.forward };
        let layers = tables.iter().zip(0..log_n).map(|(table, k)| {
            table.get_or_init(|| {
                let root = omega(k + 1);
                factors(if inverse { inverse_of(root) } else { root }, 1 << k)
            })
        });
        layers.map(Vec::as_slice).collect()
    }
}

fn inverse_of(value: Fr) -> Fr {
    value.inverse().expect("roots and sizes are not zero")
}

fn factors(base: Fr, n: usize) -> Vec<Factor> {
    crate::field::powers(base, n).into_iter().map(|power| factor(power, raw_fr)).collect()
}

/// The factors of one transform.
struct Plan<'a> {
    n1: usize,
    n2: usize,
    layers1: Vec<&'a [Factor]>,
    layers2: Vec<&'a [Factor]>,
    /// For each i1, on the way in.
    scale_in: Option<Vec<Factor>>,
    /// For each k2, on the way out.
    scale_out: Option<Vec<Factor>>,
    /// The factor between the passes is `start · start_base^i2 · (step_base · root^i2)^k1`.
    start: Fr,
    start_base: Fr,
    step_base: Fr,
    root: Fr,
}

impl<'a> Plan<'a> {
    fn new(log_n: u32, direction: Direction, roots: &'a PassRoots) -> Self {
        let (log1, log2) = (log_n / 2, log_n - log_n / 2);
        let (n1, n2) = (1usize << log1, 1usize << log2);
        let inverse = matches!(direction, Direction::Inverse { .. });
        let root = omega(log_n);
        let mut plan = Self {
            n1,
            n2,
            layers1: roots.layers(inverse, log1),
            layers2: roots.layers(inverse, log2),
            scale_in: None,
            scale_out: None,
            start: Fr::ONE,
            start_base: Fr::ONE,
            step_base: Fr::ONE,
            root,
        };
        match direction {
            Direction::Forward { shift } => {
                if shift != Fr::ONE {
                    plan.scale_in = Some(factors(shift.pow([n2 as u64]), n1));
                    plan.start_base = shift;
                }
            }
            Direction::Inverse { shift_inverse } => {
                plan.root = inverse_of(root);
                plan.start = inverse_of(Fr::from(1u64 << log_n));
                if shift_inverse != Fr::ONE {
                    plan.step_base = shift_inverse;
                    plan.scale_out = Some(factors(shift_inverse.pow([n1 as u64]), n2));
                }
            }
        }
        plan
    }

    /// For eight neighbouring i2 the first factor between the passes, and what it grows by with k1.
    fn between(&self, i2: usize) -> [EightMemory; 2] {
        let exponent = [i2 as u64];
        let mut start = self.start * self.start_base.pow(exponent);
        let mut step = self.step_base * self.root.pow(exponent);
        let mut out = [EightMemory::ZERO; 2];
        for lane in 0..LANES {
            for (memory, value) in out.iter_mut().zip([start, step]) {
                for (row, limb) in memory.0.iter_mut().zip(factor(value, raw_fr)) {
                    row[lane] = limb;
                }
            }
            start *= self.start_base;
            step *= self.root;
        }
        out
    }
}

/// An array that threads write to at disjoint indices.
#[derive(Clone, Copy)]
struct Shared(*mut Fr);

// SAFETY: the passes below write each element from one task only.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

// An element is its four limbs and nothing else, so a pointer to one is a pointer to its limbs.
const _: () = assert!(size_of::<Fr>() == 32);

impl Shared {
    fn limbs(self, index: usize) -> *mut u64 {
        self.0.wrapping_add(index).cast()
    }
}

impl Ifma {
    /// Transforms `values`, whose number is a power of two from `2^LOG_N_MIN` up, into `out`. `between`
    /// is memory for the data between the passes; its contents before and after are unspecified. All
    /// three are of one length.
    pub(in crate::cpu) fn transform(
        self,
        values: &[Fr],
        direction: Direction,
        roots: &PassRoots,
        between: &mut [Fr],
        out: &mut [Fr],
    ) {
        let n = values.len();
        let log_n = n.trailing_zeros();
        assert!(n.is_power_of_two() && log_n >= LOG_N_MIN && log_n <= 2 * LOG_PASS_MAX as u32);
        let plan = Plan::new(log_n, direction, roots);
        assert!(between.len() == n && out.len() == n);
        let middle = Shared(between.as_mut_ptr());
        let target = Shared(out.as_mut_ptr());

        (0..plan.n2 / LANES).into_par_iter().for_each_init(Vec::new, |buffer, block| {
            buffer.resize(plan.n1, EightMemory::ZERO);
            // SAFETY: the processor has the instructions. The task writes the elements of `middle`
            // whose index modulo n2 is in `8 · block ..+ 8`, and there are n of them.
            unsafe { pass_1(&plan, values, block * LANES, buffer, middle) }
        });
        (0..plan.n1 / LANES).into_par_iter().for_each_init(Vec::new, |buffer, block| {
            buffer.resize(plan.n2, EightMemory::ZERO);
            // SAFETY: as above, with `target` and the index modulo n1. No thread writes `middle` now.
            unsafe { pass_2(&plan, middle, block * LANES, buffer, target) }
        });
    }
}

/// # Safety
/// `out` has n elements, and no other thread accesses those that this call writes.
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn pass_1(
    plan: &Plan<'_>,
    values: &[Fr],
    i2: usize,
    buffer: &mut [EightMemory],
    out: Shared,
) {
    let shift = usize::BITS - plan.n1.trailing_zeros();
    for i1 in 0..plan.n1 {
        let row = &values[i1 * plan.n2 + i2..][..LANES];
        // SAFETY: the eight elements of `row`, four words each.
        let mut value = split_limbs(unsafe { load_run(row.as_ptr().cast(), 4) });
        if let Some(scale) = &plan.scale_in {
            value = mul::<R>(value, splat(&scale[i1]));
        }
        buffer[i1.reverse_bits() >> shift].store(value);
    }
    transform(buffer, &plan.layers1);
    let [start, step] = plan.between(i2);
    let (mut between, step) = (start.load(), step.load());
    for (k1, value) in buffer.iter().enumerate() {
        let [value, next] = products::<R, 2>(&[value.load(), between], &[between, step]);
        between = next;
        let start = k1 * plan.n2 + i2;
        // SAFETY: as the caller promises. The number is below 4p, so below 2^256.
        unsafe { store_run(join_limbs(value), out.limbs(start), 4) };
    }
}

/// # Safety
/// `values` and `out` have n elements, and no other thread accesses those of `out` that this call
/// writes.
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn pass_2(
    plan: &Plan<'_>,
    values: Shared,
    k1: usize,
    buffer: &mut [EightMemory],
    out: Shared,
) {
    let shift = usize::BITS - plan.n2.trailing_zeros();
    for i2 in 0..plan.n2 {
        let place = values.limbs(k1 * plan.n2 + i2).cast_const();
        // SAFETY: eight rows of n2 elements from k1 on, and k1 + 7 is below n1.
        let value = split_limbs(unsafe { load_run(place, 4 * plan.n2) });
        buffer[i2.reverse_bits() >> shift].store(value);
    }
    transform(buffer, &plan.layers2);
    for (k2, value) in buffer.iter().enumerate() {
        let mut value = value.load();
        if let Some(scale) = &plan.scale_out {
            value = mul::<R>(value, splat(&scale[k2]));
        }
        let start = plan.n1 * k2 + k1;
        let words = join_limbs(canonical::<R>(value));
        // SAFETY: as the caller promises.
        unsafe { store_run(words, out.limbs(start), 4) };
    }
}

/// `(a + t, a − t + 3p)` for t below 3p: each layer of butterflies adds 3p to the bound.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn butterfly(a: Eight, t: Eight) -> (Eight, Eight) {
    (add(a, t), sub::<R, 3>(a, t))
}

/// Decimation in time on values in bit-reversed order, eight transforms at once; `layers.len()` is
/// `log_n`, at least 3.
///
/// Bounds: inputs are below 4p. The first two layers, which multiply by 1 but once, leave numbers
/// below 16p, and each later one adds 3p, so that 14 layers stay below 52p. Times a root, below p,
/// that is less than (2 + 52 / 84)p; times a factor between the passes, below 3p, less than 4p.
#[target_feature(enable = "avx512f,avx512ifma")]
fn transform(values: &mut [EightMemory], layers: &[&[Factor]]) {
    let quarter_turn = splat(&layers[1][1]);
    for block in values.chunks_exact_mut(4) {
        let [a, b, c, d] = [block[0].load(), block[1].load(), block[2].load(), block[3].load()];
        let (a, b) = (add(a, b), sub::<R, 4>(a, b));
        let (c, d) = (add(c, d), sub::<R, 4>(c, d));
        let d = mul::<R>(d, quarter_turn);
        block[0].store(add(a, c));
        block[2].store(sub::<R, 8>(a, c));
        let (b, d) = butterfly(b, d);
        block[1].store(b);
        block[3].store(d);
    }
    let mut k = 2;
    while k + 1 < layers.len() {
        two_layers(values, layers[k], layers[k + 1]);
        k += 2;
    }
    if k < layers.len() {
        let (half, layer) = (1 << k, layers[k]);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), root) in low.iter_mut().zip(high).zip(layer) {
                let (x, y) = butterfly(a.load(), mul::<R>(b.load(), splat(root)));
                a.store(x);
                b.store(y);
            }
        }
    }
}

/// Two layers in one pass over the buffer.
#[target_feature(enable = "avx512f,avx512ifma")]
fn two_layers(values: &mut [EightMemory], first: &[Factor], second: &[Factor]) {
    let half = first.len();
    let (second_low, second_high) = second.split_at(half);
    for block in values.chunks_exact_mut(4 * half) {
        let (low, high) = block.split_at_mut(2 * half);
        let (q0, q1) = low.split_at_mut(half);
        let (q2, q3) = high.split_at_mut(half);
        for j in 0..half {
            let root = splat(&first[j]);
            // SAFETY: this function has the target feature.
            let [b, d] =
                unsafe { products_here::<R, 2>(&[q1[j].load(), q3[j].load()], &[root, root]) };
            let (a, b) = butterfly(q0[j].load(), b);
            let (c, d) = butterfly(q2[j].load(), d);
            let roots = [splat(&second_low[j]), splat(&second_high[j])];
            // SAFETY: this function has the target feature.
            let [c, d] = unsafe { products_here::<R, 2>(&[c, d], &roots) };
            let (a, c) = butterfly(a, c);
            let (b, d) = butterfly(b, d);
            q0[j].store(a);
            q1[j].store(b);
            q2[j].store(c);
            q3[j].store(d);
        }
    }
}
