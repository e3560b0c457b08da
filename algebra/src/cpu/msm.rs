//! Multi-scalar multiplication on host threads: the bucket method, every addition in affine form.
//!
//! Cost: a column of `n` scalars of `bits` bits takes about `⌈bits / c⌉ · (n + 2^c)` additions for a
//! window of `c` bits. An affine addition is six field products once its inversion is shared.
//!
//! Sources: bucket method, Bernstein, Doumen, Lange and Oosterwijk, section 4,
//! <https://eprint.iacr.org/2012/549>; shared inversions by Montgomery's trick. The additions of one
//! batch never touch the same sum, since each batch adds the points of a bucket in disjoint pairs;
//! that needs no queue of conflicts, and a bucket that holds everything costs no more than others.

pub(super) mod affine;
mod groups;
pub(super) mod plan;

use std::ops::Range;

use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use rayon::prelude::*;

use self::affine::{Adder, Flat, SIGN};
use self::groups::Summer;
use self::plan::{Folded, PIECE, Part, plan_column};
use super::{CpuBuffer, CpuDevice, shape};
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
            points: bases.par_iter().map(|base| adder.import(base)).collect(),
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
        Ok(self.pool.install(|| self.commit_in_pool(bases, columns)))
    }
}

impl CpuDevice {
    fn adder(&self) -> Adder {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            return Adder::Ifma(ifma);
        }
        Adder::Scalar
    }

    fn fold(&self, scalars: &[Fr]) -> Vec<Folded> {
        let mut out = vec![Folded::ZERO; scalars.len()];
        let pieces = out.par_chunks_mut(PIECE).zip(scalars.par_chunks(PIECE));
        pieces.for_each(|(out, scalars)| {
            #[cfg(target_arch = "x86_64")]
            if let Some(ifma) = self.ifma {
                return ifma.fold(scalars, out);
            }
            for (out, scalar) in out.iter_mut().zip(scalars) {
                *out = Folded::new(scalar);
            }
        });
        out
    }

    fn commit_in_pool(&self, bases: &CpuBases, columns: &[&CpuBuffer]) -> Vec<G1Affine> {
        let planned: Vec<Vec<Part>> =
            columns.par_iter().map(|column| plan_column(column, |s| self.fold(s))).collect();
        let (owners, parts): (Vec<usize>, Vec<Part>) = planned
            .into_iter()
            .enumerate()
            .flat_map(|(column, parts)| parts.into_iter().map(move |part| (column, part)))
            .unzip();

        let tasks = self.tasks(&parts);
        // One task at a time for each thread, the large ones first, so that none is left for the end.
        let buckets: Vec<Vec<Flat>> = tasks
            .par_iter()
            .with_max_len(1)
            .map(|task| fill_buckets(bases, &parts[task.part], task))
            .collect();

        let weighted = self.reduce(bases.adder, &parts, &tasks, &buckets);
        let sums: Vec<G1Projective> = (0..columns.len())
            .into_par_iter()
            .map(|column| {
                let of_column = weighted.iter().filter(|(part, _)| owners[*part] == column);
                horner_over_bits(of_column.flat_map(|(_, points)| points))
            })
            .collect();
        G1Projective::normalize_batch(&sums)
    }

    /// All windows of all parts; windows are cut when there are too few to keep the threads busy.
    fn tasks(&self, parts: &[Part]) -> Vec<Task> {
        let windows: usize = parts.iter().map(|part| part.shape.windows() as usize).sum();
        let cuts =
            if self.threads() == 1 { 1 } else { (4 * self.threads()).div_ceil(windows.max(1)) };
        let mut tasks = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            // In a piece not much longer than the buckets are many, the buckets would be most of
            // the work.
            let len = part.len().div_ceil(cuts).max(4 * part.shape.buckets(0));
            for window in 0..part.shape.windows() {
                for start in (0..part.len()).step_by(len) {
                    let entries = start..part.len().min(start + len);
                    tasks.push(Task { part: i, window, entries });
                }
            }
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(task.entries.len()));
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
                Some((part, window, pieces)) if (*part, *window) == (task.part, task.window) => {
                    pieces.push(&buckets[i]);
                }
                _ => windows.push((task.part, task.window, vec![&buckets[i]])),
            }
        }
        let together = windows.len().div_ceil(2 * self.threads()).max(1);
        windows
            .par_chunks(together)
            .flat_map_iter(|windows| {
                let pieces: Vec<&[&[Flat]]> = windows.iter().map(|w| w.2.as_slice()).collect();
                let sums = reduce_windows(adder, &pieces);
                windows.iter().zip(sums).map(|((part, window, _), sums)| {
                    let low = parts[*part].shape.low_bit(*window);
                    (*part, (low..).zip(sums).collect())
                })
            })
            .collect()
    }
}

/// Sorts the entries of one window by bucket and sums each bucket.
fn fill_buckets(bases: &CpuBases, part: &Part, task: &Task) -> Vec<Flat> {
    let count = part.shape.buckets(task.window);
    let mut digits = Vec::with_capacity(task.entries.len());
    part.digits(task.window, task.entries.clone(), &mut digits);
    if bases.has_identity {
        for (digit, entry) in digits.iter_mut().zip(task.entries.clone()) {
            if bases.points[part.base(entry) as usize].is_identity() {
                *digit = 0;
            }
        }
    }

    // A counting sort. `ends[b]` is where bucket b's next entry goes; afterwards, where b ends.
    let mut ends = vec![0u32; count + 1];
    for digit in &digits {
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
    let mut out = vec![Flat::IDENTITY; count];
    Summer::new(bases.adder).sum_groups(&bases.points, &order, &ends[1..], &mut out);
    out
}

/// For each window, given as pieces whose buckets add up, the points `T_l` with
/// `Σ_j j · bucket[j] = Σ_l 2^l · T_l`, where j counts from 1.
///
/// `Σ_j j·C[j] = Σ_odd C[j] + 2 · Σ_j j · (C[2j] + C[2j + 1])`, so each level halves the buckets and
/// sums the odd ones: about two affine additions a bucket in all, in few large batches.
fn reduce_windows(adder: Adder, windows: &[&[&[Flat]]]) -> Vec<Vec<G1Affine>> {
    let mut summer = Summer::new(adder);
    let mut points: Vec<Flat> =
        windows.iter().flat_map(|w| w.iter().copied().flatten().copied()).collect();

    // Level 0: pieces of one window, bucket by bucket. `level` holds (start in points, buckets).
    let mut level: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    for pieces in windows {
        level.push((start, pieces[0].len()));
        start += pieces.len() * pieces[0].len();
    }
    if windows.iter().any(|pieces| pieces.len() > 1) {
        let groups = windows.iter().zip(&level).flat_map(|(pieces, (start, count))| {
            (0..*count).map(move |b| (0..pieces.len()).map(move |piece| start + piece * count + b))
        });
        level =
            append_sums(&mut summer, &mut points, groups, level.iter().map(|(_, count)| *count));
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
            append_sums(&mut summer, &mut points, groups, level.iter().map(|(_, count)| count / 2));
    }

    let odd = (0..windows.len()).flat_map(|w| {
        levels.iter().map(move |level| {
            let (start, count) = level[w];
            (0..count).step_by(2).map(move |index| start + index)
        })
    });
    let n_levels = levels.len();
    let sums = append_sums(&mut summer, &mut points, odd, (0..windows.len()).map(|_| n_levels));
    sums.into_iter()
        .map(|(start, count)| {
            points[start..start + count].iter().map(|point| adder.export(point)).collect()
        })
        .collect()
}

/// Sums `groups` of points and appends the sums, one a group, to `points`. `counts` says how many of
/// the groups belong to each window; gives where each window's sums start, and their number.
fn append_sums<G: Iterator<Item = usize>>(
    summer: &mut Summer,
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
    let mut sums = vec![Flat::IDENTITY; ends.len()];
    summer.sum_groups(points, &order, &ends, &mut sums);
    points.extend(sums);
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
