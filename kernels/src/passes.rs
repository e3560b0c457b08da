//! Compares every pass of an MSM on a device with its plain twin, so that a wrong sum on a card names the pass.
//!
//! Each pass reads what the twins of the passes before it computed, so one wrong pass does not make others wrong.

mod twins;

use std::collections::BTreeSet;

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field, PrimeField};
use rollmill_algebra::device::{DeviceError, Memory};
use rollmill_algebra::{Fq, Fr, G1Affine, G1Projective};
use sha2::{Digest, Sha256};

use crate::arena::{At, Block};
use crate::declared::{self, Call};
use crate::device::{CudaBuffer, CudaDevice};
use crate::msm::{Batch, Counters, Job, OP, base_bytes};
use crate::plan::{Reach, Slices, plan};
use crate::sizes::{AFFINE, BINS, Load, PAIR, Sizes, XYZZ};
use twins::{Column, Cut, Piece};

/// Columns to commit to, and the slices of the bases that they are committed with.
#[derive(Debug)]
struct Case {
    name: &'static str,
    columns: Vec<Vec<Fr>>,
    slices: Slices,
    /// As a power of two: the least, with which a window has the most groups, and longer ones.
    segment: u32,
}

/// The comparison of one case.
struct Check<'a> {
    device: &'a CudaDevice,
    name: &'static str,
    columns: Vec<Column<'a>>,
    batch: Batch<'a>,
    sizes: Sizes,
    /// Bases of all slices.
    bases: Vec<G1Affine>,
    stride: usize,
    compared: BTreeSet<&'static str>,
    wrong: Vec<String>,
}

impl CudaDevice {
    /// Runs each pass of an MSM by itself, on uniform, skewed and short columns that follow from `seed` and with
    /// and without multiples of the bases. Returns the passes whose results differ from their twin's, with the
    /// case. A declared kernel that is not compared counts as wrong.
    ///
    /// # Errors
    /// As of any operation of the device.
    pub fn wrong_msm_passes(&self, seed: u64) -> Result<Vec<String>, DeviceError> {
        let bases = bases(700);
        let mut wrong = Vec::new();
        let mut compared = BTreeSet::new();
        for case in cases(seed) {
            let buffers: Vec<CudaBuffer> =
                case.columns.iter().map(|column| self.upload(column)).collect::<Result<_, _>>()?;
            let mut check = Check::new(self, &case, &bases, &buffers)?;
            check.digits()?;
            check.partition()?;
            check.pieces()?;
            check.sums()?;
            check.multiples(&bases)?;
            wrong.append(&mut check.wrong);
            compared.append(&mut check.compared);
        }
        let declared = declared::all().map(|kernel| kernel.name);
        let passes = declared.filter(|name| name.starts_with("msm_"));
        wrong.extend(
            passes
                .filter(|pass| !compared.contains(pass))
                .map(|pass| format!("{pass}: not compared")),
        );
        Ok(wrong)
    }

    /// Copies numbers of 32 bits to the device.
    fn put(&self, numbers: &[u32]) -> Result<Block, DeviceError> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.upload_bytes(OP, &bytes)
    }

    /// The first numbers of a block.
    fn numbers(&self, from: At<'_>, count: usize) -> Result<Vec<u32>, DeviceError> {
        let words = self.download_words(OP, from, count.div_ceil(2))?;
        let numbers = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        Ok(numbers.take(count).collect())
    }

    /// Copies sums to the device, in coordinates whose ZZ is not 1.
    fn put_sums(&self, points: &[G1Projective]) -> Result<Block, DeviceError> {
        let mut bytes = Vec::with_capacity(points.len() * XYZZ as usize);
        for (i, point) in G1Projective::normalize_batch(points).iter().enumerate() {
            let z = Fq::from(i as u64 + 2);
            let (zz, zzz) = (z.square(), z.square() * z);
            let scaled = |(x, y): (Fq, Fq)| [x * zz, y * zzz, zz, zzz];
            let coordinates = point.xy().map_or([Fq::ZERO; 4], scaled);
            let limbs = coordinates.iter().flat_map(|x| x.0.0);
            limbs.for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        }
        self.upload_bytes(OP, &bytes)
    }

    /// The first sums of a block; `None` if one of them is not a point of the curve.
    fn sums(&self, from: At<'_>, count: usize) -> Result<Option<Vec<G1Projective>>, DeviceError> {
        let words = self.download_words(OP, from, 16 * count)?;
        Ok(self.checked_sums(&words).ok())
    }
}

/// A scalar that follows from the seed.
fn scalar(seed: u64, i: u64) -> Fr {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(i.to_le_bytes());
    Fr::from_le_bytes_mod_order(&hasher.finalize())
}

/// Multiples of the generator by powers of two, the identity among them.
fn bases(n: usize) -> Vec<G1Affine> {
    let mut point = G1Projective::from(G1Affine::generator());
    let mut points = Vec::with_capacity(n);
    for _ in 0..n {
        points.push(point);
        point.double_in_place();
    }
    points[5] = G1Projective::ZERO;
    G1Projective::normalize_batch(&points)
}

fn cases(seed: u64) -> Vec<Case> {
    let uniform = |from: u64, n: u64| (from..from + n).map(|i| scalar(seed, i)).collect::<Vec<_>>();
    let skewed = vec![
        vec![scalar(seed, 0); 700],
        (0..500u64).map(|i| Fr::from(i & 1)).collect(),
        vec![Fr::ONE, -Fr::ONE, Fr::from(1u64 << 16), -Fr::from(255u64), Fr::ZERO],
    ];
    let columns = vec![uniform(0, 300), uniform(1000, 257), uniform(2000, 31)];
    let of = |name, columns: &Vec<Vec<Fr>>, slices, segment| {
        let columns = columns.clone();
        Case { name, columns, slices, segment }
    };
    vec![
        of("uniform", &columns, Slices::ONE, 2),
        of("skewed", &skewed, Slices::ONE, 5),
        of("uniform, two slices", &columns, Slices { span: 127, count: 2 }, 3),
        of("skewed, all slices", &skewed, Slices { span: 11, count: 24 }, 2),
    ]
}

impl<'a> Check<'a> {
    fn new(
        device: &'a CudaDevice,
        case: &'a Case,
        bases: &[G1Affine],
        buffers: &'a [CudaBuffer],
    ) -> Result<Self, DeviceError> {
        let (mut jobs, mut columns) = (Vec::new(), Vec::new());
        for (column, buffer) in case.columns.iter().zip(buffers) {
            let (reach, n) = (Reach::new(&twins::msm_classify(column)), column.len());
            let plan = plan(&reach, case.slices, |_| 0, 0);
            let (Some(plan), Some(scalars)) = (plan, buffer.start()) else { continue };
            jobs.push(Job { scalars, n, plan, load: Load::of(plan, &reach, n as u64) });
            columns.push((column.as_slice(), plan));
        }
        let batch = device.batch(&jobs, bases.len(), Some(case.segment))?;
        let mut all = bases.to_vec();
        for slice in 1..case.slices.count as usize {
            let last = &all[(slice - 1) * bases.len()..];
            let next = twins::msm_multiples(last, case.slices.span);
            all.extend(G1Projective::normalize_batch(&next));
        }
        Ok(Self {
            device,
            name: case.name,
            columns,
            sizes: batch.sizes,
            batch,
            bases: all,
            stride: bases.len(),
            compared: BTreeSet::new(),
            wrong: Vec::new(),
        })
    }

    fn note(&mut self, pass: &'static str, right: bool) {
        self.compared.insert(pass);
        if !right {
            self.wrong.push(format!("{pass}: {}", self.name));
        }
    }

    fn run(&self, call: Call<'_>, grid: [u32; 2]) -> Result<(), DeviceError> {
        self.device.run(OP, call, grid)
    }

    fn zeroed(&self, bytes: u64) -> Result<Block, DeviceError> {
        self.device.zeroed(OP, bytes)
    }

    /// What the scalars' digits decide.
    fn digits(&mut self) -> Result<(), DeviceError> {
        let (device, sizes) = (self.device, self.sizes);
        let expected: Vec<u32> =
            self.columns.iter().flat_map(|(column, _)| twins::msm_classify(column)).collect();
        let out = self.zeroed(4 * expected.len() as u64)?;
        let call = declared::msm_classify(&self.batch.columns, out.start());
        self.run(call, sizes.grid_of_scalars())?;
        let found = device.numbers(out.start(), expected.len())?;
        self.note("msm_classify", found == expected);

        let counts = twins::msm_count(&self.columns);
        let out = self.zeroed(4 * counts.len() as u64)?;
        let call = declared::msm_count(&self.batch.columns, out.start());
        self.run(call, sizes.grid_of_scalars())?;
        let found = device.numbers(out.start(), counts.len())?;
        self.note("msm_count", found == counts);
        self.scans(&counts)?;

        let offsets = twins::msm_scan_counts(&counts);
        let expected = twins::msm_scatter(&self.columns, self.stride);
        let total: usize = expected.iter().map(Vec::len).sum();
        let (cursors, out) = (device.put(&offsets)?, self.zeroed(4 * total as u64)?);
        let call = declared::msm_scatter(&self.batch.columns, cursors.start(), out.start());
        self.run(call, sizes.grid_of_scalars())?;
        let found = device.numbers(out.start(), total)?;
        self.note("msm_scatter", same_buckets(&found, &expected));
        Ok(())
    }

    /// The digits sorted by bins and tiles: with as few keys of a bin as there can be, and with so many that a tile does
    /// not count all of them in shared memory.
    fn partition(&mut self) -> Result<(), DeviceError> {
        let (device, sizes) = (self.device, self.sizes);
        let keys = sizes.load.keys as usize;
        for shift in [sizes.shift(), sizes.shift() + 3, 13] {
            let expected = twins::msm_bins(&self.columns, shift);
            let bins = self.zeroed(4 * BINS)?;
            let call = declared::msm_bins(&self.batch.columns, shift, bins.start());
            self.run(call, sizes.grid_of_partition())?;
            let found = device.numbers(bins.start(), BINS as usize)?;
            self.note("msm_bins", found == expected);

            let sorted_bins = twins::msm_partition(&self.columns, self.stride, shift);
            let bins = device.put(&twins::msm_scan_counts(&expected))?;
            let all: Vec<[u32; 2]> = sorted_bins.concat();
            let out = self.zeroed(PAIR * all.len() as u64)?;
            let call =
                declared::msm_partition(&self.batch.columns, shift, bins.start(), out.start());
            self.run(call, sizes.grid_of_partition())?;
            let numbers = device.numbers(out.start(), 2 * all.len())?;
            let found: Vec<[u32; 2]> =
                numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
            self.note("msm_partition", same_buckets(&found, &sorted_bins));

            let pairs = device.put(all.as_flattened())?;
            let total = device.put(&[all.len() as u32])?;
            let counts = twins::msm_tile_count(&all, keys);
            let out = self.zeroed(4 * counts.len() as u64)?;
            let call = declared::msm_tile_count(pairs.start(), total.start(), shift, out.start());
            self.run(call, sizes.grid_of_tiles())?;
            let found = device.numbers(out.start(), counts.len())?;
            self.note(
                "msm_tile_count",
                found == counts && counts == twins::msm_count(&self.columns),
            );

            let expected = twins::msm_tile_scatter(&all, keys);
            let cursors = device.put(&twins::msm_scan_counts(&counts))?;
            let out = self.zeroed(4 * all.len() as u64)?;
            let (from, to) = (pairs.start(), out.start());
            let call = declared::msm_tile_scatter(from, total.start(), shift, cursors.start(), to);
            self.run(call, sizes.grid_of_tiles())?;
            let found = device.numbers(out.start(), all.len())?;
            self.note("msm_tile_scatter", same_buckets(&found, &expected));
        }
        Ok(())
    }

    /// The prefix sums of the counters, in three passes.
    fn scans(&mut self, counts: &[u32]) -> Result<(), DeviceError> {
        let (device, sizes) = (self.device, self.sizes);
        let (n, grid) = (counts.len(), sizes.grid_of_scan());
        let counters = device.put(counts)?;
        let folds = twins::msm_fold_counts(counts);
        let out = self.zeroed(4 * folds.len() as u64)?;
        let call = declared::msm_fold_counts(out.start(), counters.start(), n as u64);
        self.run(call, grid)?;
        let found = device.numbers(out.start(), folds.len())?;
        self.note("msm_fold_counts", found == folds);

        let scanned = twins::msm_scan_folds(&folds);
        let out = device.put(&folds)?;
        self.run(declared::msm_scan_folds(out.start(), folds.len() as u32), [1, 1])?;
        let found = device.numbers(out.start(), folds.len())?;
        // More numbers than a block has threads.
        let many = device.put(counts)?;
        self.run(declared::msm_scan_folds(many.start(), n as u32), [1, 1])?;
        let expected = twins::msm_scan_counts(counts);
        let right = found == scanned && device.numbers(many.start(), n)? == expected;
        self.note("msm_scan_folds", right);

        let before = device.put(&scanned)?;
        let (offsets, cursors) = (self.zeroed(4 * n as u64)?, self.zeroed(4 * n as u64)?);
        let call = declared::msm_scan_counts(
            offsets.start(),
            cursors.start(),
            counters.start(),
            before.start(),
            n as u64,
        );
        self.run(call, grid)?;
        let right = device.numbers(offsets.start(), n)? == expected
            && device.numbers(cursors.start(), n)? == expected;
        self.note("msm_scan_counts", right);
        Ok(())
    }

    /// How the buckets are cut.
    fn pieces(&mut self) -> Result<(), DeviceError> {
        let (device, sizes) = (self.device, self.sizes);
        let (keys, length) = (sizes.load.keys as u32, sizes.length);
        let counts = twins::msm_count(&self.columns);
        let offsets = device.put(&twins::msm_scan_counts(&counts))?;
        let expected = twins::msm_sizes(&counts, length);
        let out = self.zeroed(4 * expected.len() as u64)?;
        let call = declared::msm_sizes(offsets.start(), keys, length, out.start());
        self.run(call, sizes.grid_of_keys())?;
        let found = device.numbers(out.start(), expected.len())?;
        self.note("msm_sizes", found == expected);

        let blocks = sizes.blocks();
        let starts = twins::msm_scan_counts(&expected);
        let counters = self.zeroed(blocks[0])?;
        let Counters { found, .. } = Counters::new(&sizes, counters.start());
        let bins = device.put(&starts)?;
        let (pieces, cuts) = (self.zeroed(blocks[5])?, self.zeroed(blocks[6])?);
        let call = declared::msm_order(
            offsets.start(),
            keys,
            length,
            bins.start(),
            found,
            pieces.start(),
            cuts.start(),
        );
        self.run(call, sizes.grid_of_keys())?;
        let (expected, expected_cuts) = twins::msm_order(&counts, length);
        let totals = device.numbers(found, 2)?;
        let pieces = triples(&device.numbers(pieces.start(), 3 * expected.len())?)
            .map(|[start, length, slot]| Piece { start, length, slot })
            .collect();
        let cuts = triples(&device.numbers(cuts.start(), 3 * expected_cuts.len())?)
            .map(|[key, slot, pieces]| Cut { key, slot, pieces })
            .collect();
        let cut_pieces: u32 = expected_cuts.iter().map(|cut| cut.pieces).sum();
        let right = totals == [expected_cuts.len() as u32, cut_pieces]
            && same_order(keys, (pieces, cuts), (&expected, &expected_cuts));
        self.note("msm_order", right);
        Ok(())
    }

    /// Sums of points.
    fn sums(&mut self) -> Result<(), DeviceError> {
        let (device, sizes) = (self.device, self.sizes);
        let keys = sizes.load.keys as usize;
        let counts = twins::msm_count(&self.columns);
        let entries = twins::msm_scatter(&self.columns, self.stride).concat();
        let (pieces, cuts) = twins::msm_order(&counts, sizes.length);
        let cut_pieces: u32 = cuts.iter().map(|cut| cut.pieces).sum();
        let slots = keys + cut_pieces as usize;

        let expected = twins::msm_accumulate(&pieces, &entries, &self.bases);
        let words = pieces.iter().flat_map(|piece| [piece.start, piece.length, piece.slot]);
        let order = device.put(&words.collect::<Vec<_>>())?;
        let total = device.put(&[pieces.len() as u32])?;
        let entries = device.put(&entries)?;
        let bases = device.upload_bytes(OP, &base_bytes(&self.bases))?;
        let out = self.zeroed(XYZZ * slots as u64)?;
        let call = declared::msm_accumulate(
            order.start(),
            total.start(),
            entries.start(),
            bases.start(),
            out.start(),
        );
        self.run(call, sizes.grid_of_pieces())?;
        let mut all = vec![G1Projective::ZERO; slots];
        expected.iter().for_each(|(slot, sum)| all[*slot as usize] = *sum);
        // Slots that no piece is of stay zero.
        let found = device.sums(out.start(), slots)?;
        self.note("msm_accumulate", found.as_ref() == Some(&all));

        let merged = twins::msm_merge(&cuts, &all);
        let sums = device.put_sums(&all)?;
        let words = cuts.iter().flat_map(|cut| [cut.key, cut.slot, cut.pieces]);
        // At least one, so that there is a block.
        let list = device.put(&words.chain([0; 3]).collect::<Vec<_>>())?;
        let count = device.put(&[cuts.len() as u32])?;
        let blocks = sizes.merging_blocks(self.device.card.driver.multiprocessors());
        self.run(declared::msm_merge(list.start(), count.start(), sums.start()), [blocks, 1])?;
        merged.iter().for_each(|(key, sum)| all[*key as usize] = *sum);
        let found = device.sums(sums.start(), slots)?;
        self.note("msm_merge", found.as_ref() == Some(&all));
        self.reductions(&counts, &all[..keys])
    }

    /// The sums of windows.
    fn reductions(&mut self, counts: &[u32], buckets: &[G1Projective]) -> Result<(), DeviceError> {
        let (device, sizes) = (self.device, self.sizes);
        let (segment, groups) = (sizes.log_segment, sizes.groups as usize);
        let windows = sizes.load.windows as u32;
        let [by_group, by_window] = sizes.grids_of_warps();
        let (totals, weighted) = twins::msm_reduce(&self.columns, buckets, segment);
        let sums = device.put_sums(buckets)?;
        let offsets = device.put(&twins::msm_scan_counts(counts))?;
        let bytes = XYZZ * groups as u64;
        let (first, second) = (self.zeroed(bytes)?, self.zeroed(bytes)?);
        let call = declared::msm_reduce(
            sums.start(),
            offsets.start(),
            &self.batch.windows,
            windows,
            segment,
            groups as u32,
            first.start(),
            second.start(),
        );
        self.run(call, by_group)?;
        let right = device.sums(first.start(), groups)?.as_ref() == Some(&totals)
            && device.sums(second.start(), groups)?.as_ref() == Some(&weighted);
        self.note("msm_reduce", right);

        let expected = twins::msm_finish(&self.columns, (&totals, &weighted), segment);
        let (first, second) = (device.put_sums(&totals)?, device.put_sums(&weighted)?);
        let out = self.zeroed(XYZZ * u64::from(windows))?;
        let call = declared::msm_finish(
            first.start(),
            second.start(),
            &self.batch.windows,
            windows,
            segment,
            out.start(),
        );
        self.run(call, by_window)?;
        let found = device.sums(out.start(), windows as usize)?;
        self.note("msm_finish", found.as_ref() == Some(&expected));
        Ok(())
    }

    /// A slice of the table from the one before it.
    fn multiples(&mut self, bases: &[G1Affine]) -> Result<(), DeviceError> {
        let (device, bits, n) = (self.device, 11, bases.len());
        let expected = G1Projective::normalize_batch(&twins::msm_multiples(bases, bits));
        let from = device.upload_bytes(OP, &base_bytes(bases))?;
        let out = self.zeroed(AFFINE * n as u64)?;
        let call = declared::msm_multiples(from.start(), n as u64, bits, out.start());
        self.run(call, [n.div_ceil(128) as u32, 1])?;
        let words = device.download_words(OP, out.start(), 8 * n)?;
        let found: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.note("msm_multiples", found == base_bytes(&expected));
        Ok(())
    }
}

/// Whether what was found bucket after bucket is expected, in any order within each.
fn same_buckets<T: Ord + Clone>(found: &[T], expected: &[Vec<T>]) -> bool {
    let mut rest = found;
    expected.iter().all(|bucket| {
        let (own, others) = rest.split_at(bucket.len());
        rest = others;
        sorted(own) == sorted(bucket)
    })
}

fn sorted<T: Ord + Clone>(values: &[T]) -> Vec<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
}

fn triples(numbers: &[u32]) -> impl Iterator<Item = [u32; 3]> {
    numbers.chunks_exact(3).map(|triple| [triple[0], triple[1], triple[2]])
}

/// Whether pieces and cuts are the expected ones, up to the order of pieces of one length and to which slots a cut
/// bucket has.
fn same_order(
    keys: u32,
    (pieces, cuts): (Vec<Piece>, Vec<Cut>),
    (expected, expected_cuts): (&[Piece], &[Cut]),
) -> bool {
    if !pieces.is_sorted_by(|a, b| a.length >= b.length) {
        return false;
    }
    // The slots of the cuts follow each other without a hole.
    let mut by_slot = cuts.clone();
    by_slot.sort_by_key(|cut| cut.slot);
    let mut free = keys;
    for cut in &by_slot {
        if cut.slot != free {
            return false;
        }
        free = free.saturating_add(cut.pieces);
    }
    // Slots of the same bucket among the expected cuts.
    let moved = |slot: u32| {
        if slot < keys {
            return Some(slot);
        }
        let cut = by_slot.iter().rev().find(|cut| cut.slot <= slot)?;
        let other = expected_cuts.iter().find(|other| other.key == cut.key)?;
        Some(other.slot.wrapping_add(slot - cut.slot))
    };
    let moved_pieces: Option<Vec<Piece>> =
        pieces.into_iter().map(|piece| Some(Piece { slot: moved(piece.slot)?, ..piece })).collect();
    let moved_cuts: Option<Vec<Cut>> =
        cuts.into_iter().map(|cut| Some(Cut { slot: moved(cut.slot)?, ..cut })).collect();
    moved_pieces.is_some_and(|pieces| sorted(&pieces) == sorted(expected))
        && moved_cuts.is_some_and(|cuts| sorted(&cuts) == sorted(expected_cuts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_the_same_up_to_what_a_card_leaves_open() {
        let counts = [20, 3, 0, 17, 5, 5, 0];
        let (pieces, cuts) = twins::msm_order(&counts, 8);
        let same = |pieces: &[Piece], other: &[Cut]| {
            same_order(
                6,
                (pieces.to_vec(), other.to_vec()),
                (&twins::msm_order(&counts, 8).0, &cuts),
            )
        };
        assert!(same(&pieces, &cuts));
        // The second cut bucket takes its slots first.
        let turned = [Cut { slot: 9, ..cuts[0] }, Cut { slot: 6, ..cuts[1] }];
        let slot = |slot: u32| match slot {
            6..9 => slot + 3,
            9..12 => slot - 3,
            _ => slot,
        };
        let other: Vec<Piece> =
            pieces.iter().map(|piece| Piece { slot: slot(piece.slot), ..*piece }).collect();
        assert!(same(&other, &turned));
        assert!(!same(&other, &cuts), "slots of another bucket");
        let mut shorter_first = pieces.clone();
        shorter_first.reverse();
        assert!(!same(&shorter_first, &cuts));
        let mut twice = pieces.clone();
        twice[1] = twice[0];
        assert!(!same(&twice, &cuts));
        assert!(!same(&pieces, &[cuts[0], cuts[0]]));
    }
}
