//! Multi-scalar multiplication on host threads: the bucket method, every addition in affine form.
//!
//! Cost: a column of `n` scalars of `bits` bits takes about `⌈bits / c⌉ · (n + 2^c)` additions for a
//! window of `c` bits. An affine addition is six field products once its inversion is shared.
//!
//! Sources: bucket method, Bernstein, Doumen, Lange and Oosterwijk, section 4,
//! <https://eprint.iacr.org/2012/549>; shared inversions by Montgomery's trick. The additions of one
//! batch never touch the same sum, since each batch adds the points of a bucket in disjoint pairs;
//! that needs no queue of conflicts, and a bucket that contains every entry costs no more than others.

pub(super) mod affine;
#[cfg(test)]
pub(super) mod cases;
mod groups;
mod pairs;
pub(super) mod plan;

use std::borrow::Cow;
use std::ops::Range;

use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use rayon::prelude::*;

use self::affine::{Adder, Flat, SIGN, Scratch};
use self::groups::Accumulator;
pub(super) use self::groups::Accumulators;
use self::plan::{Cuts, Folded, Part, plan_column};
use super::recycler::Recycler;
use super::{CpuBuffer, CpuDevice, pages, shape};
use crate::device::{DeviceBuffer, DeviceError, Msm};
use crate::{Fr, G1Affine, G1Projective};

/// Bases in the form the additions read.
#[derive(Debug)]
pub struct CpuBases {
    /// Knows the form of the points, so that bases stay good on any CPU device.
    adder: Adder,
    points: Vec<Flat>,
    /// Whether some point is the identity, which buckets leave out.
    has_identity: bool,
}

/// Most bytes of digits of the columns that are committed to together, unless one column alone needs more.
const DIGIT_BYTES_MAX: usize = 64 << 20;

/// Approximate bytes of a scalar's digits.
fn digit_bytes(column: &CpuBuffer) -> usize {
    if column.as_small().is_some() { 8 } else { 72 }
}

/// One window of one part of a column, over some of its entries.
struct Task {
    part: usize,
    window: u32,
    entries: Range<usize>,
}

/// Points left to add with a weight of `2^bit`.
type Weighted = (u32, G1Affine);

impl Msm for CpuDevice {
    type Bases = CpuBases;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<CpuBases, DeviceError> {
        let adder = self.adder();
        Ok(self.pool.install(|| CpuBases {
            adder,
            points: {
                let mut points = pages::zeroed(bases.len());
                let import = |(point, base): (&mut Flat, &G1Affine)| *point = adder.import(base);
                points.par_iter_mut().zip(bases).for_each(import);
                points
            },
            has_identity: bases.iter().any(|base| base.is_zero()),
        }))
    }

    fn commit(
        &self,
        bases: &CpuBases,
        columns: &[&CpuBuffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        if let Some(column) = columns.iter().find(|column| column.len() > bases.points.len()) {
            let expected = format!("columns of at most {} scalars", bases.points.len());
            return shape("commit", expected, column.len().to_string());
        }
        Ok(self.pool.install(|| {
            let mut sums = Vec::with_capacity(columns.len());
            let mut rest = columns;
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |column: &&&CpuBuffer| {
                    bytes += column.len() * digit_bytes(column);
                    bytes <= DIGIT_BYTES_MAX
                };
                let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
                sums.extend(self.commit_in_pool(bases, now));
                rest = later;
            }
            sums
        }))
    }
}

impl CpuDevice {
    fn adder(&self) -> Adder {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            return Adder::Ifma(ifma);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2 {
            return Adder::Avx2(avx2);
        }
        Adder::Scalar(self.scalar)
    }

    /// [`Folded::new`] on each scalar.
    fn fold(&self, scalars: &[Fr], out: &mut [Folded]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            return ifma.fold(scalars, out);
        }
        for (out, scalar) in out.iter_mut().zip(scalars) {
            *out = Folded::new(scalar);
        }
    }

    fn cut(&self, cuts: &Cuts, scalars: &[Folded], rows: &mut [&mut [u32]]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            return ifma.cut(cuts, scalars, rows);
        }
        cuts.cut(scalars, rows);
    }

    fn cut_small(&self, cuts: &Cuts, scalars: &[u16], rows: &mut [&mut [u32]]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            return ifma.cut_small(cuts, scalars, rows);
        }
        cuts.cut_small(scalars, rows);
    }

    fn commit_in_pool(&self, bases: &CpuBases, columns: &[&CpuBuffer]) -> Vec<G1Affine> {
        let planned: Vec<Vec<Part>> =
            columns.par_iter().map(|column| plan_column(self, column)).collect();
        let (owners, parts): (Vec<usize>, Vec<Part>) = planned
            .into_iter()
            .enumerate()
            .flat_map(|(column, parts)| parts.into_iter().map(move |part| (column, part)))
            .unzip();

        let tasks = self.tasks(&parts);
        // Each thread takes the next task when it is done with one: were the list split in the middle,
        // the small ones would all be in one half.
        let mut buckets: Vec<(usize, Vec<Flat>)> = tasks
            .iter()
            .enumerate()
            .par_bridge()
            .map(|(i, task)| (i, fill_buckets(self, bases, &parts[task.part], task)))
            .collect();
        buckets.sort_unstable_by_key(|(i, _)| *i);
        let buckets: Vec<Vec<Flat>> = buckets.into_iter().map(|(_, buckets)| buckets).collect();

        let weighted = self.reduce(bases.adder, &parts, &tasks, &buckets);
        parts.into_iter().for_each(|part| part.release(self));
        buckets.into_iter().for_each(|buckets| self.recycler.release(buckets));
        let sums: Vec<G1Projective> = (0..columns.len())
            .into_par_iter()
            .map(|column| {
                let of_column = weighted.iter().filter(|(part, _)| owners[*part] == column);
                horner_over_bits(of_column.flat_map(|(_, points)| points))
            })
            .collect();
        G1Projective::normalize_batch(&sums)
    }

    /// All windows of all parts, the large ones first. Windows are cut when there are too few to keep
    /// the threads busy, and those that would be left for some of the threads at the end.
    fn tasks(&self, parts: &[Part]) -> Vec<Task> {
        let mut windows: Vec<(usize, u32)> = parts
            .iter()
            .enumerate()
            .flat_map(|(i, part)| (0..part.shape.windows()).map(move |window| (i, window)))
            .collect();
        windows.sort_by_key(|(part, _)| std::cmp::Reverse(parts[*part].len()));
        let threads = self.threads();
        let all = if threads == 1 { 1 } else { (4 * threads).div_ceil(windows.len().max(1)) };
        let even = windows.len() - windows.len() % threads;
        let mut tasks = Vec::new();
        for (i, (part, window)) in windows.into_iter().enumerate() {
            let cuts = if i < even { all } else { all.max(threads) };
            let len = parts[part].len();
            // In a chunk not much longer than the number of buckets, the buckets would be most of
            // the work.
            let chunk_len = len.div_ceil(cuts).max(4 * parts[part].shape.buckets(window));
            for start in (0..len).step_by(chunk_len) {
                tasks.push(Task { part, window, entries: start..len.min(start + chunk_len) });
            }
        }
        tasks
    }

    /// Turns buckets into points with weights. Windows are reduced together as far as the threads
    /// allow, since their additions share inversions.
    fn reduce(
        &self,
        adder: Adder,
        parts: &[Part],
        tasks: &[Task],
        buckets: &[Vec<Flat>],
    ) -> Vec<(usize, Vec<Weighted>)> {
        let mut windows: Vec<(usize, u32, Vec<&[Flat]>)> = Vec::new();
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.sort_by_key(|i| (tasks[*i].part, tasks[*i].window));
        for i in order {
            let task = &tasks[i];
            match windows.last_mut() {
                Some((part, window, chunks)) if (*part, *window) == (task.part, task.window) => {
                    chunks.push(&buckets[i]);
                }
                _ => windows.push((task.part, task.window, vec![&buckets[i]])),
            }
        }
        let together = windows.len().div_ceil(2 * self.threads()).max(1);
        windows
            .par_chunks(together)
            .flat_map_iter(|windows| {
                let chunks: Vec<&[&[Flat]]> = windows.iter().map(|w| w.2.as_slice()).collect();
                let sums = self.accumulators.with(adder, self.tuning.block(), |accumulator| {
                    reduce_windows(&self.recycler, accumulator, adder, &chunks)
                });
                windows.iter().zip(sums).map(|((part, window, _), sums)| {
                    let low = parts[*part].shape.low_bit(*window);
                    (*part, (low..).zip(sums).collect())
                })
            })
            .collect()
    }
}

/// Additions of the same pairs again and again, for a profile.
pub(super) struct Adding {
    adder: Adder,
    pairs: Vec<[u32; 2]>,
    out: Vec<Flat>,
    scratch: Scratch,
}

impl Adding {
    /// Adds the pairs, and returns a word of the sums.
    pub(super) fn add(&mut self, bases: &CpuBases) -> u64 {
        self.adder.add_pairs(&bases.points, &self.pairs, &mut self.out, &mut self.scratch);
        self.out.iter().fold(0, |sum, point| sum.wrapping_add(point.x_words()[0]))
    }
}

impl CpuDevice {
    /// Pairs of the first `n` points, a power of two, in no order of memory.
    pub(super) fn adding(&self, n: usize, pairs: usize) -> Adding {
        // An odd step visits every point before it comes back to the first; neighbours are a pair with different
        // points.
        let place = |i: usize| (i.wrapping_mul(0x9e37_79b1) % n) as u32;
        let pairs: Vec<[u32; 2]> = (0..pairs)
            .map(|k| [place(2 * k), place(2 * k + 1) | ((k as u32 & 1) * SIGN)])
            .collect();
        let out = vec![Flat::IDENTITY; pairs.len()];
        Adding { adder: self.adder(), pairs, out, scratch: Scratch::default() }
    }
}

/// Sorts the entries of one window by bucket and sums each bucket.
fn fill_buckets(device: &CpuDevice, bases: &CpuBases, part: &Part, task: &Task) -> Vec<Flat> {
    let count = part.shape.buckets(task.window);
    let mut digits = Cow::Borrowed(part.digits(task.window, task.entries.clone()));
    if bases.has_identity {
        for (digit, entry) in digits.to_mut().iter_mut().zip(task.entries.clone()) {
            if bases.points[part.base(entry) as usize].is_identity() {
                *digit = 0;
            }
        }
    }

    // A counting sort. `ends[b]` is where bucket b's next entry goes; afterwards, where b ends.
    let mut ends = vec![0u32; count + 1];
    for digit in digits.iter() {
        ends[(digit & !SIGN) as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends[1..] {
        total += *end;
        *end = total - *end;
    }
    let mut order = vec![0u32; total as usize];
    for (digit, entry) in digits.iter().zip(task.entries.clone()) {
        let bucket = (digit & !SIGN) as usize;
        if bucket != 0 {
            order[ends[bucket] as usize] = part.base(entry) | digit & SIGN;
            ends[bucket] += 1;
        }
    }
    let mut out = device.recycler.take(count);
    device.accumulators.with(bases.adder, device.tuning.block(), |accumulator| {
        accumulator.sum_groups(&bases.points, &order, &ends[1..], &mut out);
    });
    out
}

/// For each window, whose buckets are the sums of those of its chunks, the points `T_l` with
/// `Σ_j j · bucket[j] = Σ_l 2^l · T_l`, where j counts from 1.
///
/// `Σ_j j·C[j] = Σ_odd C[j] + 2 · Σ_j j · (C[2j] + C[2j + 1])`, so each level halves the buckets and
/// sums the odd ones: about two affine additions per bucket in all, in few large batches.
fn reduce_windows(
    recycler: &Recycler,
    accumulator: &mut Accumulator,
    adder: Adder,
    windows: &[&[&[Flat]]],
) -> Vec<Vec<G1Affine>> {
    let entries: usize = windows.iter().flat_map(|w| w.iter()).map(|chunk| chunk.len()).sum();
    let buckets: usize = windows.iter().map(|w| w[0].len()).sum();
    // The buckets of the first level exist twice if they were in chunks; all other levels have at most as
    // many again; and each level has one sum per window.
    let sums = windows.len() * (usize::BITS as usize);
    let mut points: Vec<Flat> = recycler.take(entries + 2 * buckets + sums);
    points.clear();
    points.extend(windows.iter().flat_map(|w| w.iter().copied().flatten()));

    // Level 0: chunks of one window, bucket by bucket. `level` holds (start in points, buckets).
    let mut level: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    for chunks in windows {
        level.push((start, chunks[0].len()));
        start += chunks.len() * chunks[0].len();
    }
    if windows.iter().any(|chunks| chunks.len() > 1) {
        let groups = windows.iter().zip(&level).flat_map(|(chunks, (start, count))| {
            (0..*count).map(move |b| (0..chunks.len()).map(move |chunk| start + chunk * count + b))
        });
        level =
            append_sums(accumulator, &mut points, groups, level.iter().map(|(_, count)| *count));
    }

    let mut levels = Vec::new();
    while level.iter().any(|(_, count)| *count > 0) {
        levels.push(level.clone());
        // Bucket j is at start + j − 1.
        let groups = level.iter().flat_map(|(start, count)| {
            let (start, count) = (*start, *count);
            (1..=count / 2)
                .map(move |j| (2 * j..=(2 * j + 1).min(count)).map(move |index| start + index - 1))
        });
        level =
            append_sums(accumulator, &mut points, groups, level.iter().map(|(_, count)| count / 2));
    }

    let odd = (0..windows.len()).flat_map(|w| {
        levels.iter().map(move |level| {
            let (start, count) = level[w];
            (0..count).step_by(2).map(move |index| start + index)
        })
    });
    let n_levels = levels.len();
    let sums = append_sums(accumulator, &mut points, odd, (0..windows.len()).map(|_| n_levels));
    let sums = sums
        .into_iter()
        .map(|(start, count)| {
            points[start..start + count].iter().map(|point| adder.export(point)).collect()
        })
        .collect();
    recycler.release(points);
    sums
}

/// Sums `groups` of points and appends the sums, one per group, to `points`. `counts` has the number of
/// groups of each window. Returns where each window's sums start, and their number.
fn append_sums<G: Iterator<Item = usize>>(
    accumulator: &mut Accumulator,
    points: &mut Vec<Flat>,
    groups: impl Iterator<Item = G>,
    counts: impl Iterator<Item = usize>,
) -> Vec<(usize, usize)> {
    let (mut order, mut ends) = (Vec::new(), Vec::new());
    for group in groups {
        order.extend(group.filter(|i| !points[*i].is_identity()).map(|i| i as u32));
        ends.push(order.len() as u32);
    }
    let mut start = points.len();
    points.resize(start + ends.len(), Flat::IDENTITY);
    let (points, sums) = points.split_at_mut(start);
    accumulator.sum_groups(points, &order, &ends, sums);
    counts
        .map(|count| {
            start += count;
            (start - count, count)
        })
        .collect()
}

/// `Σ 2^bit · point`, by doublings from the highest bit down.
fn horner_over_bits<'a>(points: impl Iterator<Item = &'a Weighted>) -> G1Projective {
    let mut by_bit: Vec<Vec<G1Affine>> = Vec::new();
    for (bit, point) in points.filter(|(_, point)| !point.is_zero()) {
        let bit = *bit as usize;
        if by_bit.len() <= bit {
            by_bit.resize(bit + 1, Vec::new());
        }
        by_bit[bit].push(*point);
    }
    by_bit.iter().rev().fold(G1Projective::ZERO, |sum, points| {
        points.iter().fold(sum.double(), |sum, point| sum + point)
    })
}
