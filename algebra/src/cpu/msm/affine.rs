//! Affine points and their additions in batches.

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Field};

use super::pairs;
#[cfg(target_arch = "x86_64")]
use crate::cpu::avx2::{Avx2, curve::Befores};
#[cfg(target_arch = "x86_64")]
use crate::cpu::ifma::{Ifma, curve::Products};
use crate::cpu::words::{Scalar, Words, with_products};
use crate::{Fq, G1Affine};

/// Set in an index to mean the point's negative.
pub(in crate::cpu) const SIGN: u32 = 1 << 31;

/// An affine point in one cache line: x then y, four limbs each, Montgomery form. The identity is all
/// zero, which no point of the curve is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(in crate::cpu) struct Flat(pub(in crate::cpu) [u64; 8]);

impl Flat {
    pub(in crate::cpu) const IDENTITY: Self = Self([0; 8]);

    pub(super) fn is_identity(&self) -> bool {
        *self == Self::IDENTITY
    }

    fn new(x: Fq, y: Fq) -> Self {
        Self::from_words(&x.0.0, &y.0.0)
    }

    pub(in crate::cpu) fn from_words(x: &Words, y: &Words) -> Self {
        Self([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]])
    }

    /// The words of x.
    pub(in crate::cpu) fn x_words(&self) -> &Words {
        &self.0.as_chunks().0[0]
    }

    /// The words of y.
    pub(in crate::cpu) fn y_words(&self) -> &Words {
        &self.0.as_chunks().0[1]
    }

    fn x(&self) -> Fq {
        Fq::new_unchecked(BigInt::new(*self.x_words()))
    }

    fn y(&self) -> Fq {
        Fq::new_unchecked(BigInt::new(*self.y_words()))
    }

    pub(in crate::cpu) fn from_affine(point: &G1Affine) -> Self {
        if point.is_zero() { Self::IDENTITY } else { Self::new(point.x, point.y) }
    }

    pub(in crate::cpu) fn to_affine(self) -> G1Affine {
        if self.is_identity() {
            G1Affine::identity()
        } else {
            G1Affine::new_unchecked(self.x(), self.y())
        }
    }

    fn negative(&self) -> Self {
        Self::new(self.x(), -self.y())
    }

    /// The point that an index with its sign means.
    #[inline]
    pub(super) fn signed(points: &[Self], index: u32) -> Self {
        let point = points[(index & !SIGN) as usize];
        if index & SIGN == 0 { point } else { point.negative() }
    }
}

/// How points are added, and with it in which form they are kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Adder {
    /// One at a time, in arkworks' form.
    Scalar(Scalar),
    /// Four at a time, in the form of [`crate::cpu::avx2`].
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// Eight at a time, in the form of [`crate::cpu::ifma`].
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma),
}

/// Memory that additions need, kept between calls.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    careful: Vec<Fq>,
    words: Vec<Words>,
    #[cfg(target_arch = "x86_64")]
    avx2: Befores,
    #[cfg(target_arch = "x86_64")]
    ifma: Products,
}

impl Adder {
    /// A point in arkworks' form to that of the additions.
    fn formed(self, point: &Flat) -> Flat {
        match self {
            Self::Scalar(_) => *point,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.import(point),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => ifma.import(point),
        }
    }

    /// The way back.
    fn plain(self, point: &Flat) -> Flat {
        match self {
            Self::Scalar(_) => *point,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.export(point),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => ifma.export(point),
        }
    }

    pub(super) fn import(self, point: &G1Affine) -> Flat {
        self.formed(&Flat::from_affine(point))
    }

    pub(super) fn export(self, point: &Flat) -> G1Affine {
        self.plain(point).to_affine()
    }

    /// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]`, with one inversion in all. No point named
    /// may be the identity. Returns whether some sum is.
    pub(super) fn add_pairs(
        self,
        points: &[Flat],
        pairs: &[[u32; 2]],
        out: &mut [Flat],
        scratch: &mut Scratch,
    ) -> bool {
        let are_different = match self {
            Self::Scalar(scalar) => with_products!(scalar, products => {
                pairs::add_pairs(products, points, pairs, out, &mut scratch.words)
            }),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.add_pairs(points, pairs, out, &mut scratch.avx2),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => ifma.add_pairs(points, pairs, out, &mut scratch.ifma),
        };
        if are_different {
            return false;
        }
        // Equal or opposite points are among them, which honest bases never contain. Halving leaves the slow
        // way to few pairs around them.
        if pairs.len() > 32 {
            let (pairs, more_pairs) = pairs.split_at(pairs.len() / 2);
            let (out, more_out) = out.split_at_mut(pairs.len());
            let some_identity = self.add_pairs(points, pairs, out, scratch);
            return self.add_pairs(points, more_pairs, more_out, scratch) | some_identity;
        }
        self.add_any_pairs(points, pairs, out, scratch)
    }

    /// [`Self::add_pairs`], the slow way, which knows all cases.
    fn add_any_pairs(
        self,
        points: &[Flat],
        pairs: &[[u32; 2]],
        out: &mut [Flat],
        scratch: &mut Scratch,
    ) -> bool {
        match self {
            Self::Scalar(_) => add_pairs(points, pairs, out, &mut scratch.careful),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) | Self::Ifma(_) => {
                self.add_formed_pairs(points, pairs, out, &mut scratch.careful)
            }
        }
    }

    /// [`add_pairs`] of points in the form of vectors.
    #[cfg(target_arch = "x86_64")]
    fn add_formed_pairs(
        self,
        points: &[Flat],
        pairs: &[[u32; 2]],
        out: &mut [Flat],
        careful: &mut Vec<Fq>,
    ) -> bool {
        let plain: Vec<Flat> = pairs
            .as_flattened()
            .iter()
            .map(|index| {
                let point = self.plain(&points[(index & !SIGN) as usize]);
                Flat::signed(&[point], index & SIGN)
            })
            .collect();
        let pairs: Vec<[u32; 2]> = (0..pairs.len() as u32).map(|k| [2 * k, 2 * k + 1]).collect();
        let some_identity = add_pairs(&plain, &pairs, out, careful);
        for sum in out {
            *sum = self.formed(sum);
        }
        some_identity
    }
}

/// What the slope of the line through two points is divided by, and which of the cases it is.
enum Slope {
    Chord(Fq),
    Tangent(Fq),
    Vertical,
}

#[inline]
fn slope(p: &Flat, q: &Flat) -> Slope {
    let dx = q.x() - p.x();
    if dx != Fq::ZERO {
        Slope::Chord(dx)
    } else if p.y() == q.y() {
        Slope::Tangent(p.y().double())
    } else {
        Slope::Vertical
    }
}

/// `out[k] = points[pairs[k][0]] + points[pairs[k][1]]`, with one inversion in all. No point named may
/// be the identity. Returns whether some sum is.
///
/// Cost: five products and a square for each pair. Source: the affine chord and tangent formulas.
fn add_pairs(
    points: &[Flat],
    pairs: &[[u32; 2]],
    out: &mut [Flat],
    products: &mut Vec<Fq>,
) -> bool {
    products.clear();
    let mut product = Fq::ONE;
    for [a, b] in pairs {
        products.push(product);
        match slope(&Flat::signed(points, *a), &Flat::signed(points, *b)) {
            Slope::Chord(divisor) | Slope::Tangent(divisor) => product *= divisor,
            Slope::Vertical => {}
        }
    }
    // Not zero: no divisor is, for no point of this curve has y = 0 (its order is odd).
    let mut inverse = product.inverse().unwrap_or(Fq::ZERO);
    let mut some_identity = false;
    for ((pair, out), before) in pairs.iter().zip(out).zip(products).rev() {
        let p = Flat::signed(points, pair[0]);
        let q = Flat::signed(points, pair[1]);
        let (rise, divisor) = match slope(&p, &q) {
            Slope::Chord(divisor) => (q.y() - p.y(), divisor),
            Slope::Tangent(divisor) => {
                let square = p.x().square();
                (square.double() + square, divisor)
            }
            Slope::Vertical => {
                *out = Flat::IDENTITY;
                some_identity = true;
                continue;
            }
        };
        let slope = rise * (inverse * *before);
        inverse *= divisor;
        let x = slope.square() - p.x() - q.x();
        *out = Flat::new(x, slope * (p.x() - x) - p.y());
    }
    some_identity
}
