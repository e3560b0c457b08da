//! The operations that the kernels on words consist of, one kind at a time, so that a profile can say what a kernel's
//! time is made of. No product of this project calls them.

use ark_bn254::FqConfig as Q;

use super::CpuDevice;
use super::tuning::points;
use super::words::{Modulus, Products, Words, add, element, with_products};
use crate::device::{DeviceError, Msm};
use crate::field::inverse;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Products of which each takes the one before as a factor.
    ProductsInRow,
    /// Products that do not need each other, one after the other.
    Products,
    /// Products that do not need each other, two at a time. Two of these count as two.
    ProductTwos,
    /// Two rows of products, side by side.
    ProductTwosInRow,
    /// Squares that do not need each other.
    Squares,
    /// Sums of two products with one reduction.
    Dots,
    /// Sums of four, whose first factors lie beside each other.
    DotsOfFour,
    /// `a + b` without a reduction.
    Sums,
    /// `a + p − b`.
    Differences,
    /// Conditional subtractions of a multiple of p.
    Reductions,
    /// Inverses, each of the one before.
    Inverses,
    /// Additions of two points that the first cache holds, many with one inversion.
    NearPairs,
    /// The same of points all over 8 MiB.
    FarPairs,
}

impl Probe {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::ProductsInRow,
        Self::Products,
        Self::ProductTwos,
        Self::ProductTwosInRow,
        Self::Squares,
        Self::Dots,
        Self::DotsOfFour,
        Self::Sums,
        Self::Differences,
        Self::Reductions,
        Self::Inverses,
        Self::NearPairs,
        Self::FarPairs,
    ];

    /// In words, for a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProductsInRow => "product that waits for the one before",
            Self::Products => "product, independent",
            Self::ProductTwos => "product, independent, two at a time",
            Self::ProductTwosInRow => "product, two rows side by side",
            Self::Squares => "square, independent",
            Self::Dots => "sum of two products",
            Self::DotsOfFour => "sum of four products",
            Self::Sums => "sum",
            Self::Differences => "difference",
            Self::Reductions => "conditional subtraction",
            Self::Inverses => "inverse",
            Self::NearPairs => "addition of points in the first cache",
            Self::FarPairs => "addition of points all over 8 MiB",
        }
    }
}

/// Numbers that a probe works on: the first cache holds them.
const NUMBERS: usize = 64;
/// Pairs that share an inversion.
const PAIRS: usize = 1 << 13;
/// Points of the two kinds of additions.
const NEAR: usize = 1 << 8;
const FAR: usize = 1 << 17;

/// Runs one kind of operation again and again on the calling thread.
pub struct Probing {
    run: Box<dyn FnMut(usize) -> u64>,
}

impl std::fmt::Debug for Probing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probing").finish_non_exhaustive()
    }
}

impl Probing {
    /// Runs at least `times` operations and returns their number, and a word that depends on all of them.
    pub fn run(&mut self, times: usize) -> (usize, u64) {
        let rounds = times.div_ceil(PAIRS).max(1);
        (rounds * PAIRS, (self.run)(rounds))
    }
}

impl CpuDevice {
    /// Prepares a probe of the device's code for words, also on a device with vectors.
    ///
    /// # Errors
    /// Those of the device.
    pub fn probe(&self, kind: Probe) -> Result<Probing, DeviceError> {
        let scalar = self.scalar;
        if matches!(kind, Probe::NearPairs | Probe::FarPairs) {
            let n = if kind == Probe::NearPairs { NEAR } else { FAR };
            // Of its own, since the form of points depends on the path.
            let device = Self::on_words(1, scalar);
            let bases = device.register_bases(&points(n))?;
            let mut adding = device.adding(n, PAIRS);
            let run = move |rounds: usize| {
                (0..rounds).map(|_| adding.add(&bases)).fold(0, u64::wrapping_add)
            };
            return Ok(Probing { run: Box::new(run) });
        }
        let mut numbers: [Words; NUMBERS] = std::array::from_fn(|i| {
            let mut number = Q::ONE;
            number[0] ^= i as u64 * 0x9e37_79b9_7f4a_7c15;
            number
        });
        let run = move |rounds: usize| {
            for _ in 0..rounds * (PAIRS / NUMBERS) {
                with_products!(scalar, products => pass(products, kind, &mut numbers));
            }
            numbers.iter().flatten().fold(0, |sum: u64, word| sum.wrapping_add(*word))
        };
        Ok(Probing { run: Box::new(run) })
    }
}

/// As many operations as there are numbers.
///
/// Bounds, in multiples of q: numbers are below 2 and factors below 1, so products are below 1.38 and squares below
/// 1.76. A sum of two products is below 1.57. Those of three and four start with a number that was reduced below 1,
/// and are below 1.57 and 1.76. What is added to sums is far below 2^−64 each time.
#[inline(never)]
fn pass<P: Products>(products: P, kind: Probe, numbers: &mut [Words; NUMBERS]) {
    let factors: [Words; 8] = std::array::from_fn(|i| {
        products.less::<Q, 1>(&products.less::<Q, 1>(&numbers[NUMBERS - 8 + i]))
    });
    let [x, ..] = factors;
    match kind {
        Probe::ProductsInRow => {
            numbers[0] =
                (0..NUMBERS).fold(numbers[0], |row, i| products.mul::<Q>(&row, &factors[i % 8]));
        }
        Probe::ProductTwosInRow => {
            for i in 0..NUMBERS / 2 {
                let [a, b] = [numbers[0], numbers[1]];
                [numbers[0], numbers[1]] =
                    products.mul_two::<Q>([&a, &b], [&factors[i % 8], &factors[(i + 1) % 8]]);
            }
        }
        Probe::Products => {
            numbers.iter_mut().for_each(|number| *number = products.mul::<Q>(number, &x));
        }
        Probe::ProductTwos => {
            for [a, b] in numbers.as_chunks_mut::<2>().0 {
                [*a, *b] = products.mul_two::<Q>([&*a, &*b], [&x, &x]);
            }
        }
        Probe::Squares => {
            numbers.iter_mut().for_each(|number| *number = products.square::<Q>(number));
        }
        Probe::Dots => {
            for number in numbers {
                *number = products.dot::<Q>([&*number, &x], [&factors[1], &factors[2]]);
                *number = products.less::<Q, 1>(number);
            }
        }
        Probe::DotsOfFour => {
            let ones = [Q::ONE; 4];
            for number in numbers {
                *number = products.less::<Q, 1>(number);
                let values = [&*number, &x, &factors[1], &factors[2]];
                *number = products.dot_factors::<Q>(&ones, values);
            }
        }
        Probe::Sums => {
            let small = [1, 2, 3, 0];
            numbers.iter_mut().for_each(|number| *number = add(number, &small));
        }
        Probe::Differences => {
            let small = [1, 2, 3, 0];
            for number in numbers {
                // p is added each time: the number is kept low.
                let difference = products.sub::<Q, 1>(number, &small);
                *number = [difference[0], difference[1], difference[2], 0];
            }
        }
        Probe::Reductions => {
            numbers.iter_mut().for_each(|number| *number = products.less::<Q, 1>(number));
        }
        Probe::Inverses => {
            let start = element::<Q>(products.less::<Q, 1>(&numbers[0]));
            let end = (0..NUMBERS).fold(start, |x, _| inverse(&x).unwrap_or(start) + start);
            numbers[0] = end.0.0;
        }
        Probe::NearPairs | Probe::FarPairs => unreachable!("additions have their own run"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::words::{Checked, Scalar};

    /// Otherwise a profile would state the times of numbers that no kernel has. Method: the twin that checks each
    /// bound.
    #[test]
    fn probes_keep_to_the_bounds_and_count_what_they_run() {
        let device = CpuDevice::on_words(1, Scalar::Checked(Checked));
        for kind in Probe::ALL {
            let mut probing = device.probe(kind).unwrap();
            let (times, first) = probing.run(PAIRS + 1);
            assert_eq!(times, 2 * PAIRS, "{kind:?}");
            let again = device.probe(kind).unwrap().run(PAIRS + 1);
            assert_eq!(again, (times, first), "{kind:?} is the same work each time");
        }
    }
}
