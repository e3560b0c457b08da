//! Inversions, evaluations and divisions of many vectors in one set of launches. What the vectors of all launches are
//! is one list in device memory; a launch takes some of it, and a block's second index says which.

use ark_ff::Field;
use rollmill_algebra::Fr;
use rollmill_algebra::device::DeviceError;

use super::{CHUNK, SEGMENT, THREADS};
use crate::arena::{At, Block};
use crate::device::{CudaDevice, ELEMENT};
use crate::launch::Argument::{Through, U32};
use crate::launch::Word;

/// Up to here each element is inverted by itself.
const INVERT_EACH: usize = 1024;
/// Powers of a point in an item of the kernels, the point to the powers `CHUNK · 2^d`.
const STEPS: usize = 8;
/// Threads of a block of the kernels for inversions.
const INVERTING: u32 = 128;

/// A launch on some items of a list.
#[derive(Debug)]
struct Group {
    kernel: &'static str,
    threads: u32,
    first: u32,
    count: u32,
    /// Of the item that needs the most.
    blocks: u32,
}

/// Items of one size for several launches, one after the other.
#[derive(Debug)]
struct Batch<'a> {
    item_words: usize,
    words: Vec<Word<'a>>,
    groups: Vec<Group>,
}

impl<'a> Batch<'a> {
    fn new(item_words: usize) -> Self {
        Self { item_words, words: Vec::new(), groups: Vec::new() }
    }

    /// Adds a launch, unless there are no items. Each has its words and the number of blocks that it needs.
    fn add(&mut self, kernel: &'static str, threads: u32, items: Vec<(Vec<Word<'a>>, usize)>) {
        let first = (self.words.len() / self.item_words) as u32;
        let (mut count, mut blocks) = (0u32, 0usize);
        for (words, needed) in items {
            self.words.extend(words);
            count += 1;
            blocks = blocks.max(needed);
        }
        if count > 0 {
            self.groups.push(Group { kernel, threads, first, count, blocks: blocks as u32 });
        }
    }
}

/// A polynomial by its coefficients, a point, and where the result goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polynomial<'a> {
    pub(super) from: At<'a>,
    pub(super) to: At<'a>,
    /// At least one.
    pub(super) n: usize,
    pub(super) point: Fr,
}

/// The lengths of a vector and of what is left when every `part` neighbours become one, until at most `most` are.
fn lengths(n: usize, part: usize, most: usize) -> Vec<usize> {
    let shorter = |n: &usize| (*n > most).then(|| n.div_ceil(part));
    std::iter::successors(Some(n), shorter).collect()
}

/// The powers of points that items have, each computed once: a proof opens most polynomials at one point.
#[derive(Debug, Default)]
struct Powers(Vec<(Fr, [Fr; STEPS])>);

impl Powers {
    fn steps(&mut self, point: Fr) -> [Fr; STEPS] {
        if let Some((_, steps)) = self.0.iter().find(|(known, _)| *known == point) {
            return *steps;
        }
        let mut next = point.pow([CHUNK as u64]);
        let steps = std::array::from_fn(|_| {
            let step = next;
            next.square_in_place();
            step
        });
        self.0.push((point, steps));
        steps
    }

    /// The point of the values of segments: to the power [`SEGMENT`], twice the last step.
    fn of_segments(&mut self, point: Fr) -> Fr {
        self.steps(point)[STEPS - 1].square()
    }

    /// A polynomial as the kernels take it, and its segments.
    fn item<'a>(
        &mut self,
        polynomial: Polynomial<'a>,
        carry: Option<At<'a>>,
    ) -> (Vec<Word<'a>>, usize) {
        let Polynomial { from, to, n, point } = polynomial;
        let mut words = Vec::with_capacity(8 + 4 * STEPS);
        words.extend([Word::In(Some(from)), Word::Out(Some(to))]);
        words.extend([Word::In(carry), Word::Number(n as u64)]);
        let elements = std::iter::once(point).chain(self.steps(point));
        words.extend(elements.flat_map(|element| element.0.0).map(Word::Number));
        (words, n.div_ceil(SEGMENT))
    }
}

/// Levels of polynomials: the values of a level's segments are the coefficients of the next, until one segment is
/// left. Their places are in one block.
struct Levels {
    lengths: Vec<Vec<usize>>,
    /// Elements before those of a level of a polynomial, from level 1 on.
    starts: Vec<Vec<u64>>,
    total: usize,
}

impl Levels {
    fn new(polynomials: &[Polynomial<'_>]) -> Self {
        let lengths: Vec<Vec<usize>> =
            polynomials.iter().map(|item| lengths(item.n, SEGMENT, SEGMENT)).collect();
        let (mut starts, mut total) = (Vec::with_capacity(lengths.len()), 0usize);
        for all in &lengths {
            let mut own = Vec::with_capacity(all.len());
            for length in all.iter().skip(1) {
                own.push(total as u64);
                total += length;
            }
            starts.push(own);
        }
        Self { lengths, starts, total }
    }

    fn depth(&self) -> usize {
        self.lengths.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// How many levels polynomial `i` has.
    fn of(&self, i: usize) -> usize {
        self.lengths[i].len()
    }

    /// Where level `level` of polynomial `i` is in a block for the levels from 1 on.
    fn place<'a>(&self, block: &'a Option<Block>, i: usize, level: usize) -> Option<At<'a>> {
        let start = *self.starts[i].get(level.checked_sub(1)?)?;
        Some(block.as_ref()?.start().plus(start * ELEMENT))
    }
}

impl CudaDevice {
    fn run_batch(&self, op: &'static str, batch: Batch<'_>) -> Result<(), DeviceError> {
        if batch.groups.is_empty() {
            return Ok(());
        }
        let list = self.upload_list(op, batch.words)?;
        for Group { kernel, threads, first, count, blocks } in batch.groups {
            let arguments = vec![Through(&list), U32(first)];
            self.launch_grid(op, kernel, [blocks, count, 1], threads, 0, arguments)?;
        }
        Ok(())
    }

    /// Inverts each element of each vector; zero stays zero. Vectors do not overlap.
    pub(super) fn invert_in_place(&self, vectors: &[(At<'_>, usize)]) -> Result<(), DeviceError> {
        const OP: &str = "invert";
        // The products of chunks of each vector, of chunks of these and so on.
        let products: Vec<Vec<Block>> = vectors
            .iter()
            .map(|(_, n)| {
                let levels = lengths(*n, CHUNK, INVERT_EACH).into_iter().skip(1);
                let blocks = levels.map(|n| self.take_scratch(OP, n, ELEMENT));
                blocks.collect::<Result<Vec<Block>, DeviceError>>()
            })
            .collect::<Result<_, _>>()?;
        let mut batch = Batch::new(3);
        // What is inverted at a level, the values or products that are yet to be, and the blocks that it needs.
        let item = |i: usize, level: usize, per_thread: usize| {
            let (values, n) = vectors[i];
            let n = lengths(n, CHUNK, INVERT_EACH)[level];
            let at = |level: usize| match level.checked_sub(1) {
                None => Some(values),
                Some(above) => products[i].get(above).map(Block::start),
            };
            let words =
                vec![Word::Out(at(level)), Word::Out(at(level + 1)), Word::Number(n as u64)];
            (words, n.div_ceil(per_thread * INVERTING as usize))
        };
        let folded = |level: usize| {
            let here = products.iter().enumerate().filter(|(_, levels)| level < levels.len());
            here.map(|(i, _)| item(i, level, CHUNK)).collect::<Vec<_>>()
        };
        let depth = products.iter().map(Vec::len).max().unwrap_or(0);
        for level in 0..depth {
            batch.add("vector_products", INVERTING, folded(level));
        }
        let last = products.iter().enumerate().map(|(i, levels)| item(i, levels.len(), 1));
        batch.add("vector_invert_each", INVERTING, last.collect());
        for level in (0..depth).rev() {
            batch.add("vector_invert_chunks", INVERTING, folded(level));
        }
        self.run_batch(OP, batch)
    }

    fn scratch(&self, op: &'static str, elements: usize) -> Result<Option<Block>, DeviceError> {
        if elements == 0 {
            return Ok(None);
        }
        self.take_scratch(op, elements, ELEMENT).map(Some)
    }

    /// The value of each polynomial at its point.
    pub(super) fn evaluate_polynomials(
        &self,
        op: &'static str,
        polynomials: &[Polynomial<'_>],
    ) -> Result<(), DeviceError> {
        let levels = Levels::new(polynomials);
        let sums = self.scratch(op, levels.total)?;
        let mut batch = Batch::new(4 + 4 + 4 * STEPS);
        let (mut powers, mut items) = (Powers::default(), polynomials.to_vec());
        for level in 0..levels.depth() {
            let mut launched = Vec::new();
            for (i, item) in items.iter_mut().enumerate().filter(|(i, _)| level < levels.of(*i)) {
                let next = levels.place(&sums, i, level + 1);
                let to = next.unwrap_or(item.to);
                launched.push(powers.item(Polynomial { to, ..*item }, None));
                if let Some(from) = next {
                    let (n, point) = (levels.lengths[i][level + 1], powers.of_segments(item.point));
                    *item = Polynomial { from, n, point, to: item.to };
                }
            }
            batch.add("vector_evaluate", THREADS, launched);
        }
        self.run_batch(op, batch)
    }

    /// The quotient of each polynomial by X − point.
    pub(super) fn divide_polynomials(
        &self,
        op: &'static str,
        polynomials: &[Polynomial<'_>],
    ) -> Result<(), DeviceError> {
        let levels = Levels::new(polynomials);
        let sums = self.scratch(op, levels.total)?;
        // The quotients of the sums are what comes into each segment from above.
        let carries = self.scratch(op, levels.total)?;
        let mut batch = Batch::new(4 + 4 + 4 * STEPS);
        let mut powers = Powers::default();
        // Of each level, with the quotient's place.
        let mut divided: Vec<Vec<Polynomial<'_>>> =
            polynomials.iter().map(|item| vec![*item]).collect();
        for level in 0..levels.depth() {
            let mut launched = Vec::new();
            for (i, all) in divided.iter_mut().enumerate() {
                let Some(above) = levels.place(&sums, i, level + 1) else { continue };
                let Some(to) = levels.place(&carries, i, level + 1) else { continue };
                let item = all[level];
                launched.push(powers.item(Polynomial { to: above, ..item }, None));
                let (n, point) = (levels.lengths[i][level + 1], powers.of_segments(item.point));
                all.push(Polynomial { from: above, to, n, point });
            }
            batch.add("vector_evaluate", THREADS, launched);
        }
        for level in (0..levels.depth()).rev() {
            let mut launched = Vec::new();
            for all in &divided {
                let Some(item) = all.get(level) else { continue };
                let carry = all.get(level + 1).map(|above| above.to);
                launched.push(powers.item(*item, carry));
            }
            batch.add("vector_divide", THREADS, launched);
        }
        self.run_batch(op, batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_become_shorter_until_a_block_is_enough() {
        assert_eq!(lengths(1, SEGMENT, SEGMENT), [1]);
        assert_eq!(lengths(4096, SEGMENT, SEGMENT), [4096]);
        assert_eq!(lengths(4097, SEGMENT, SEGMENT), [4097, 2]);
        assert_eq!(lengths((1 << 24) + 1, SEGMENT, SEGMENT), [(1 << 24) + 1, 4097, 2]);
        assert_eq!(lengths(1 << 17, CHUNK, INVERT_EACH), [1 << 17, 1 << 13, 1 << 9]);
        assert_eq!(lengths(1024, CHUNK, INVERT_EACH), [1024]);
    }

    #[test]
    fn steps_are_the_powers_that_threads_and_segments_are_apart() {
        let point = Fr::from(3u64);
        let mut powers = Powers::default();
        let steps = powers.steps(point);
        for (d, step) in steps.iter().enumerate() {
            assert_eq!(*step, point.pow([(CHUNK << d) as u64]));
        }
        assert_eq!(powers.steps(point), steps);
        assert_eq!(powers.of_segments(point), point.pow([SEGMENT as u64]));
    }
}
