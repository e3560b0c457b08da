//! Scans: what each element of an array meets of those before it.
//!
//! In parallel they take two passes over parts of the array: what each part comes to by itself, and, from
//! what those before it come to, its elements.
//!
//! # Bounds, in multiples of r
//! What is carried is below 2 in products, below 1 in sums, and below 2.76 in quotients: a product of a number below
//! 4 with the point, which is below 1, is below 1.76, to which an element adds less than 1.

use ark_bn254::FrConfig as R;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;

use super::CpuDevice;
#[cfg(target_arch = "x86_64")]
use super::ifma::{
    Ifma,
    scan::{SEGMENTS, segment_len},
};
#[cfg(target_arch = "x86_64")]
use super::words::Portable;
use super::words::{Products, Scalar, Words, add, element, with_products};
use crate::Fr;

/// What is carried from element to element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scan {
    /// The product of the elements before.
    Products,
    /// Their sum.
    Sums,
    /// Horner's rule from the last element to the first, `point · carried + element`: the quotient of the
    /// polynomial by `X − point`.
    Quotient { point: Fr },
}

impl Scan {
    /// What the first element meets.
    pub(super) fn start(self) -> Fr {
        match self {
            Self::Products => Fr::ONE,
            Self::Sums | Self::Quotient { .. } => Fr::ZERO,
        }
    }

    pub(super) fn is_backwards(self) -> bool {
        matches!(self, Self::Quotient { .. })
    }

    #[inline(always)]
    fn step<P: Products>(self, products: P, carried: &Words, value: &Fr) -> Words {
        match self {
            Self::Products => products.mul::<R>(carried, &value.0.0),
            Self::Sums => products.less::<R, 1>(&add(carried, &value.0.0)),
            Self::Quotient { point } => add(&products.mul::<R>(carried, &point.0.0), &value.0.0),
        }
    }

    /// The element that is carried.
    #[inline(always)]
    fn carried<P: Products>(self, products: P, number: &Words) -> Fr {
        element::<R>(match self {
            Self::Products => products.less::<R, 1>(number),
            Self::Sums => *number,
            Self::Quotient { .. } => products.less::<R, 1>(&products.less::<R, 2>(number)),
        })
    }

    /// What to multiply by what a part of `len` elements meets, to know its share of what the part
    /// carries on.
    fn weight(self, len: usize) -> Fr {
        match self {
            Self::Products | Self::Sums => Fr::ONE,
            Self::Quotient { point } => point.pow([len as u64]),
        }
    }

    /// What a part that comes to `total` by itself carries on from what it meets.
    fn join(self, carried: Fr, weight: Fr, total: &Fr) -> Fr {
        match self {
            Self::Products => carried * total,
            Self::Sums => carried + total,
            Self::Quotient { .. } => carried * weight + total,
        }
    }

    fn total<P: Products>(self, products: P, values: &[Fr]) -> Fr {
        let start = self.start().0.0;
        let step = |carried, value| self.step(products, &carried, value);
        let total = match self.is_backwards() {
            false => values.iter().fold(start, step),
            true => values.iter().rev().fold(start, step),
        };
        self.carried(products, &total)
    }

    fn run<P: Products>(self, products: P, values: &[Fr], start: Fr, out: &mut [Fr]) {
        let mut carried = start.0.0;
        let step = |(slot, value): (&mut Fr, &Fr)| {
            *slot = self.carried(products, &carried);
            carried = self.step(products, &carried, value);
        };
        match self.is_backwards() {
            false => out.iter_mut().zip(values).for_each(step),
            true => out.iter_mut().zip(values).rev().for_each(step),
        }
    }

    /// From what each part comes to by itself, what it meets.
    fn meet(self, lens: &[usize], parts: &mut [Fr]) {
        let mut carried = self.start();
        let (mut known_len, mut weight) = (0, Fr::ONE);
        let each = |(len, part): (&usize, &mut Fr)| {
            if *len != known_len {
                (known_len, weight) = (*len, self.weight(*len));
            }
            let next = self.join(carried, weight, part);
            *part = carried;
            carried = next;
        };
        match self.is_backwards() {
            false => lens.iter().zip(parts).for_each(each),
            true => lens.iter().zip(parts).rev().for_each(each),
        }
    }
}

/// How a chunk of an array is scanned.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// As one part.
    Whole(Scalar),
    /// As many segments and what is left.
    #[cfg(target_arch = "x86_64")]
    Segments(Ifma),
}

impl Way {
    /// Number of parts of any piece.
    fn parts(self) -> usize {
        match self {
            Self::Whole(_) => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Segments(_) => SEGMENTS + 1,
        }
    }

    /// Their lengths in a chunk of `len` elements.
    fn lens(self, len: usize) -> impl Iterator<Item = usize> {
        let segment = match self {
            Self::Whole(_) => 0,
            #[cfg(target_arch = "x86_64")]
            Self::Segments(_) => segment_len(len),
        };
        let segments = self.parts() - 1;
        std::iter::repeat_n(segment, segments).chain([len - segments * segment])
    }

    fn totals(self, scan: Scan, values: &[Fr]) -> Vec<Fr> {
        match self {
            Self::Whole(scalar) => {
                vec![with_products!(scalar, products => scan.total(products, values))]
            }
            #[cfg(target_arch = "x86_64")]
            Self::Segments(ifma) => {
                let rest = &values[SEGMENTS * segment_len(values.len())..];
                let mut totals = ifma.scan_totals(scan, values).to_vec();
                // Fewer than twice the number of segments: too few to choose a path for.
                totals.push(scan.total(Portable, rest));
                totals
            }
        }
    }

    fn run(self, scan: Scan, values: &[Fr], starts: &[Fr], out: &mut [Fr]) {
        match self {
            Self::Whole(scalar) => {
                with_products!(scalar, products => scan.run(products, values, starts[0], out))
            }
            #[cfg(target_arch = "x86_64")]
            Self::Segments(ifma) => {
                let rest = SEGMENTS * segment_len(values.len());
                let (of_segments, of_rest) = starts.split_first_chunk().expect("a part and more");
                ifma.scan(scan, values, *of_segments, out);
                scan.run(Portable, &values[rest..], of_rest[0], &mut out[rest..]);
            }
        }
    }
}

impl CpuDevice {
    /// What each of `values` meets.
    pub(super) fn scan(&self, values: &[Fr], scan: Scan) -> Vec<Fr> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let (mut way, mut chunk_len) = (Way::Whole(self.scalar), self.chunk_len(values.len()));
        if self.threads() == 1 {
            // One part needs no pass that finds what parts come to.
            chunk_len = values.len().max(1);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            way = Way::Segments(ifma);
        }
        let mut out = self.recycler.take(values.len());
        self.pool.install(|| {
            let chunks = values.len().div_ceil(chunk_len);
            let mut parts = vec![scan.start(); chunks * way.parts()];
            if parts.len() > 1 {
                parts = values
                    .par_chunks(chunk_len)
                    .flat_map_iter(|part| way.totals(scan, part))
                    .collect();
                let lens: Vec<usize> =
                    values.chunks(chunk_len).flat_map(|part| way.lens(part.len())).collect();
                scan.meet(&lens, &mut parts);
            }
            out.par_chunks_mut(chunk_len)
                .zip(values.par_chunks(chunk_len))
                .zip(parts.par_chunks(way.parts()))
                .for_each(|((out, values), starts)| way.run(scan, values, starts, out));
        });
        out
    }
}
