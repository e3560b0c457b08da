//! Scans: what each element of an array meets of those before it.
//!
//! In parallel they take two passes over parts of the array: what each part comes to by itself, and, from
//! what those before it come to, its elements.

use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;

use super::CpuDevice;
#[cfg(target_arch = "x86_64")]
use super::ifma::{
    Ifma,
    scan::{SEGMENTS, segment_len},
};
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

    fn step(self, carried: Fr, value: &Fr) -> Fr {
        match self {
            Self::Products => carried * value,
            Self::Sums => carried + value,
            Self::Quotient { point } => carried * point + value,
        }
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

    fn total(self, values: &[Fr]) -> Fr {
        let step = |carried, value| self.step(carried, value);
        match self.is_backwards() {
            false => values.iter().fold(self.start(), step),
            true => values.iter().rev().fold(self.start(), step),
        }
    }

    fn run(self, values: &[Fr], mut carried: Fr, out: &mut [Fr]) {
        let step = |(slot, value): (&mut Fr, &Fr)| {
            *slot = carried;
            carried = self.step(carried, value);
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
    Whole,
    /// As many segments and what is left.
    #[cfg(target_arch = "x86_64")]
    Segments(Ifma),
}

impl Way {
    /// Number of parts of any piece.
    fn parts(self) -> usize {
        match self {
            Self::Whole => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Segments(_) => SEGMENTS + 1,
        }
    }

    /// Their lengths in a chunk of `len` elements.
    fn lens(self, len: usize) -> impl Iterator<Item = usize> {
        let segment = match self {
            Self::Whole => 0,
            #[cfg(target_arch = "x86_64")]
            Self::Segments(_) => segment_len(len),
        };
        let segments = self.parts() - 1;
        std::iter::repeat_n(segment, segments).chain([len - segments * segment])
    }

    fn totals(self, scan: Scan, values: &[Fr]) -> Vec<Fr> {
        match self {
            Self::Whole => vec![scan.total(values)],
            #[cfg(target_arch = "x86_64")]
            Self::Segments(ifma) => {
                let rest = &values[SEGMENTS * segment_len(values.len())..];
                let mut totals = ifma.scan_totals(scan, values).to_vec();
                totals.push(scan.total(rest));
                totals
            }
        }
    }

    fn run(self, scan: Scan, values: &[Fr], starts: &[Fr], out: &mut [Fr]) {
        match self {
            Self::Whole => scan.run(values, starts[0], out),
            #[cfg(target_arch = "x86_64")]
            Self::Segments(ifma) => {
                let rest = SEGMENTS * segment_len(values.len());
                let (of_segments, of_rest) = starts.split_first_chunk().expect("a part and more");
                ifma.scan(scan, values, *of_segments, out);
                scan.run(&values[rest..], of_rest[0], &mut out[rest..]);
            }
        }
    }
}

impl CpuDevice {
    /// What each of `values` meets.
    pub(super) fn scan(&self, values: &[Fr], scan: Scan) -> Vec<Fr> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let (mut way, mut chunk_len) = (Way::Whole, self.chunk_len(values.len()));
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
