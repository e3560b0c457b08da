//! Adds up many groups of points, by rounds of pairwise additions.

use parking_lot::Mutex;

use super::affine::{Adder, Flat, Scratch};

/// Unused accumulators, at most as many as were in use at the same time.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Accumulators(Mutex<Vec<Accumulator>>);

impl Accumulators {
    /// Calls `sum` with an accumulator that reuses the memory of earlier calls.
    /// `block` is the number of entries that are added up together: large enough to share an inversion among
    /// thousands of additions, small enough that the points in between stay in the second-level cache (64 bytes
    /// each).
    pub(super) fn with<T>(
        &self,
        adder: Adder,
        block: usize,
        sum: impl FnOnce(&mut Accumulator) -> T,
    ) -> T {
        let idle = || self.0.lock();
        let kept = idle().pop();
        let mut accumulator = match kept {
            Some(kept) => Accumulator { adder, block, ..kept },
            None => Accumulator::new(adder, block),
        };
        let result = sum(&mut accumulator);
        idle().push(accumulator);
        result
    }
}

/// Memory of the rounds, kept between calls.
#[derive(Debug)]
pub(super) struct Accumulator {
    adder: Adder,
    block: usize,
    arena: Vec<Flat>,
    pairs: Vec<[u32; 2]>,
    current: Vec<u32>,
    ends: Vec<usize>,
    next: Vec<u32>,
    scratch: Scratch,
}

impl Accumulator {
    fn new(adder: Adder, block: usize) -> Self {
        Self {
            adder,
            block,
            arena: Vec::new(),
            pairs: Vec::new(),
            current: Vec::new(),
            ends: Vec::new(),
            next: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// `out[g] = Σ points[order[i]]` over `ends[g − 1] <= i < ends[g]` (from 0 for the first group).
    /// Entries may carry [`super::SIGN`] and never name the identity; an empty group yields it.
    pub(super) fn sum_groups(
        &mut self,
        points: &[Flat],
        order: &[u32],
        ends: &[u32],
        out: &mut [Flat],
    ) {
        // (group, sum) of every chunk of a group that is too long for one block.
        let mut partial: Vec<(usize, Flat)> = Vec::new();
        let mut group = 0;
        let mut start = 0;
        while group < ends.len() {
            // As many whole groups as fit.
            let first = group;
            while group < ends.len() && ends[group] as usize - start <= self.block {
                group += 1;
            }
            if group > first {
                let end = ends[group - 1] as usize;
                self.ends.clear();
                self.ends.extend(ends[first..group].iter().map(|e| *e as usize - start));
                self.sum_block(points, &order[start..end], &mut out[first..group]);
                start = end;
            } else {
                let end = ends[group] as usize;
                // Every chunk may sum to the identity.
                out[group] = Flat::IDENTITY;
                for chunk in order[start..end].chunks(self.block) {
                    let mut sum = [Flat::IDENTITY];
                    self.ends.clear();
                    self.ends.push(chunk.len());
                    self.sum_block(points, chunk, &mut sum);
                    if !sum[0].is_identity() {
                        partial.push((group, sum[0]));
                    }
                }
                start = end;
                group += 1;
            }
        }
        if !partial.is_empty() {
            self.sum_partial(&partial, out);
        }
    }

    /// Adds up the partial sums of long groups. Each block leaves one, so the recursion ends.
    fn sum_partial(&mut self, partial: &[(usize, Flat)], out: &mut [Flat]) {
        let points: Vec<Flat> = partial.iter().map(|(_, sum)| *sum).collect();
        let order: Vec<u32> = (0..points.len() as u32).collect();
        let runs: Vec<&[(usize, Flat)]> = partial.chunk_by(|a, b| a.0 == b.0).collect();
        let ends: Vec<u32> = runs
            .iter()
            .scan(0, |end, run| {
                *end += run.len() as u32;
                Some(*end)
            })
            .collect();
        let mut sums = vec![Flat::IDENTITY; runs.len()];
        self.sum_groups(&points, &order, &ends, &mut sums);
        for (run, sum) in runs.iter().zip(sums) {
            out[run[0].0] = sum;
        }
    }

    /// Sums the groups that end at `self.ends` in `order`.
    fn sum_block(&mut self, points: &[Flat], order: &[u32], out: &mut [Flat]) {
        // Round one reads the points in place and writes everything to the arena.
        let singles = self.pair_up(order, 0);
        let sums = self.pairs.len();
        let mut used = sums + singles.len();
        self.reserve(used);
        let to = &mut self.arena[..sums];
        let mut some_identity = self.adder.add_pairs(points, &self.pairs, to, &mut self.scratch);
        for (at, (place, entry)) in (sums..).zip(singles) {
            self.next[place] = at as u32;
            self.arena[at] = Flat::signed(points, entry);
        }
        loop {
            std::mem::swap(&mut self.current, &mut self.next);
            if some_identity {
                self.drop_identities();
            }
            if self.current.len() <= self.ends.len() && self.groups().all(|(s, e)| e - s <= 1) {
                break;
            }
            let done = used;
            let order = std::mem::take(&mut self.current);
            let singles = self.pair_up(&order, done);
            for (place, entry) in singles {
                self.next[place] = entry;
            }
            self.current = order;
            used += self.pairs.len();
            self.reserve(used);
            let (from, to) = self.arena[..used].split_at_mut(done);
            some_identity = self.adder.add_pairs(from, &self.pairs, to, &mut self.scratch);
        }
        for (slot, (start, end)) in out.iter_mut().zip(self.groups()) {
            *slot = if start == end {
                Flat::IDENTITY
            } else {
                self.arena[self.current[start] as usize]
            };
        }
    }

    /// Makes the arena at least `points` long. Points past those in use are of earlier blocks.
    fn reserve(&mut self, points: usize) {
        if self.arena.len() < points {
            self.arena.resize(points, Flat::IDENTITY);
        }
    }

    fn groups(&self) -> impl Iterator<Item = (usize, usize)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied())
    }

    /// Splits every group of `order` into pairs, whose sums will be at `base`, `base + 1`, … of the
    /// arena, and writes the groups of the next round to `next` and `ends`. Returns the entries left
    /// without a partner, with their places in `next`.
    fn pair_up(&mut self, order: &[u32], base: usize) -> Vec<(usize, u32)> {
        self.pairs.clear();
        self.next.clear();
        let mut singles = Vec::new();
        let mut start = 0;
        for end in &mut self.ends {
            let (pairs, rest) = order[start..*end].as_chunks();
            let first = (base + self.pairs.len()) as u32;
            self.next.extend(first..first + pairs.len() as u32);
            self.pairs.extend_from_slice(pairs);
            if let [entry] = rest {
                singles.push((self.next.len(), *entry));
                self.next.push(0);
            }
            start = *end;
            *end = self.next.len();
        }
        singles
    }

    /// Removes sums that are the identity from `current`.
    fn drop_identities(&mut self) {
        let mut kept = 0;
        let mut start = 0;
        for end in &mut self.ends {
            for i in start..*end {
                if !self.arena[self.current[i] as usize].is_identity() {
                    self.current[kept] = self.current[i];
                    kept += 1;
                }
            }
            start = *end;
            *end = kept;
        }
        self.current.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use ark_ec::AffineRepr;

    use super::super::affine::SIGN;
    use super::*;
    use crate::G1Affine;
    use crate::cpu::words::Scalar;

    const BLOCK: usize = 1 << 10;

    /// `out` may be memory of an earlier sum.
    #[test]
    fn every_sum_is_written_whatever_was_there() {
        for scalar in Scalar::available() {
            check_every_sum(Adder::Scalar(scalar));
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = crate::cpu::avx2::Avx2::detect() {
            check_every_sum(Adder::Avx2(avx2));
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::cpu::ifma::Ifma::detect() {
            check_every_sum(Adder::Ifma(ifma));
        }
    }

    fn check_every_sum(adder: Adder) {
        let point = adder.import(&G1Affine::generator());
        let mut accumulator = Accumulator::new(adder, BLOCK);
        // Empty; cancelling in one block; in chunks that each cancel; in chunks that do not; one point.
        let cancelling = |len: u32| (0..len).map(|i| (i % 2) * SIGN);
        let long = 3 * BLOCK as u32;
        let mut order: Vec<u32> = cancelling(6).chain(cancelling(long)).collect();
        let halves = [0, SIGN].map(|sign| std::iter::repeat_n(sign, long as usize));
        order.extend(halves.into_iter().flatten().chain([0]));
        let ends = [0, 6, 6 + long, 6 + 3 * long, 6 + 3 * long + 1];
        let mut out = [point; 5];
        out[4] = Flat::IDENTITY;
        accumulator.sum_groups(&[point], &order, &ends, &mut out);
        let nothing = Flat::IDENTITY;
        assert_eq!(out, [nothing, nothing, nothing, nothing, point]);
    }
}
