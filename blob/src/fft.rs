//! Values of a polynomial at the 4,096th roots of unity, and back, over BLS12-381's scalar field.
//!
//! The values are in the order of a blob, which is that of the reversed bits of their index. That is the order in
//! which the two halves below leave and take them, so that nothing is permuted.

use std::sync::LazyLock;

use ark_bls12_381::Fr as Element;
use ark_ff::{FftField, Field};

use crate::ELEMENTS;

/// The powers 0 to 2,047 of ω and of its inverse, and the inverse of 4,096.
struct Roots {
    forward: Vec<Element>,
    backward: Vec<Element>,
    scale: Element,
}

static ROOTS: LazyLock<Roots> = LazyLock::new(|| {
    // The generator of arkworks' field is 7 (docs/book/protocol-2.md, "Blob"); a test compares.
    let omega = Element::get_root_of_unity(ELEMENTS as u64).expect("2^32 divides q - 1");
    let inverse = |value: Element| value.inverse().expect("it is not 0");
    let powers = |of: Element| {
        let power = std::iter::successors(Some(Element::ONE), |power| Some(*power * of));
        power.take(ELEMENTS / 2).collect()
    };
    Roots {
        forward: powers(omega),
        backward: powers(inverse(omega)),
        scale: inverse(Element::from(ELEMENTS as u64)),
    }
});

/// Replaces 4,096 coefficients by the values, in the order of a blob.
pub(crate) fn evaluate(values: &mut [Element]) {
    let roots = &ROOTS.forward;
    let mut half = ELEMENTS / 2;
    while half > 0 {
        let step = ELEMENTS / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), root) in low.iter_mut().zip(high).zip(roots.iter().step_by(step)) {
                (*a, *b) = (*a + *b, (*a - *b) * root);
            }
        }
        half /= 2;
    }
}

/// Replaces 4,096 values in the order of a blob by the coefficients.
pub(crate) fn interpolate(values: &mut [Element]) {
    let roots = &ROOTS.backward;
    let mut half = 1;
    while half < ELEMENTS {
        let step = ELEMENTS / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), root) in low.iter_mut().zip(high).zip(roots.iter().step_by(step)) {
                let product = *b * root;
                (*a, *b) = (*a + product, *a - product);
            }
        }
        half *= 2;
    }
    for value in values {
        *value *= ROOTS.scale;
    }
}
