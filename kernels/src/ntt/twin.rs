//! The plain twin of each pass of a transform, and a comparison of the device's passes with it, so that a wrong
//! transform is traced to the first pass that is wrong.

use std::fmt;

use ark_ff::Field;
use rollmill_algebra::conformance::numbers;
use rollmill_algebra::device::{DeviceError, Memory};
use rollmill_algebra::field::horner;
use rollmill_algebra::{Fr, omega};

use super::{Factors, Pass, Table, passes};
use crate::device::CudaDevice;

/// Up to this length every output of a pass is compared, above it some.
const COMPARED: usize = 1 << 12;
const OP: &str = "compare_passes";

/// A pass of a kernel whose output is not that of its twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongPass {
    /// The kernel.
    pub kernel: &'static str,
    /// Which pass, and on what.
    pub pass: String,
    /// The first output that differs.
    pub at: usize,
}

impl fmt::Display for WrongPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: output {} differs from its twin's in {}", self.kernel, self.at, self.pass)
    }
}

/// Output `i` of a pass. The transform so far has left, in each residue class of indices modulo `n / done`, the
/// `done` values of a polynomial; the pass joins R of these classes, and the result at a root of order `done · R`
/// is Horner's rule over them.
fn output(pass: Pass, factors: Factors, input: &[Fr], i: usize) -> Fr {
    let Pass { log_n, log_done, log_radix, .. } = pass;
    let n = 1usize << log_n;
    let from = if factors.backwards { (n - i) % n } else { i };
    let size = log_done + log_radix;
    let j = (from >> size) << log_done | from & ((1 << log_done) - 1);
    let joined: Vec<Fr> =
        (0..1usize << log_radix).map(|r| input[j + (r << (log_n - log_radix))]).collect();
    let point = factors.base * omega(size).pow([(from & ((1 << size) - 1)) as u64]);
    let value = horner(&joined, point) * factors.factor;
    factors.scale.map_or(value, |(base, factor)| value * factor * base.pow([i as u64]))
}

/// Entry `i` of a table.
fn factor_at(table: Table, i: usize) -> Fr {
    match table {
        Table::Twist { log_done, log_radix, base, factor } => {
            let (k, r) = (i & ((1 << log_done) - 1), i >> log_done);
            factor * base.pow([r as u64]) * omega(log_done + log_radix).pow([(k * r) as u64])
        }
        Table::Powers { base, factor, .. } => factor * base.pow([i as u64]),
    }
}

/// The first of `got` that differs, of all or of some.
fn first_difference(got: &[Fr], expected: impl Fn(usize) -> Fr) -> Option<usize> {
    // An odd distance, so that outputs of every row and column are among them.
    let step = (got.len() / COMPARED).max(1) | 1;
    (0..got.len()).step_by(step).find(|at| got[*at] != expected(*at))
}

impl CudaDevice {
    /// Runs each pass of transforms of `2^log_n` random elements by itself, with and without the factors of a coset
    /// and forwards and backwards, and makes each table of factors. Returns what differs from its twin. The lengths
    /// are those of [`rollmill_algebra::device::Ntt`].
    ///
    /// # Errors
    /// As of any operation of the device.
    pub fn wrong_passes_of_transforms(
        &self,
        log_n: u32,
        seed: u64,
    ) -> Result<Vec<WrongPass>, DeviceError> {
        let drawn = numbers(seed, "factors of passes", 4);
        let coset = Factors { base: drawn[0], factor: drawn[1], ..Factors::NONE };
        let back = Factors { scale: Some((drawn[2], drawn[3])), backwards: true, ..Factors::NONE };
        let mut variants = vec![Factors::NONE, coset];
        let all = passes(log_n);
        let mut wrong = Vec::new();
        for (i, pass) in all.iter().enumerate() {
            if i + 1 == all.len() {
                variants.push(Factors { backwards: true, ..coset });
                variants.push(back);
            }
            for factors in &variants {
                let described =
                    format!("pass {} of {} of 2^{log_n}, {factors:?}", i + 1, all.len());
                for table in factors.tables(*pass).into_iter().flatten() {
                    let block = self.factor_table(OP, table)?;
                    let got = self.download_elements(OP, block.start(), 1 << table.log_len())?;
                    if let Some(at) = first_difference(&got, |at| factor_at(table, at)) {
                        let pass = format!("the table of {described}");
                        wrong.push(WrongPass { kernel: "ntt_table", pass, at });
                    }
                }
                let (input, got) = self.run_alone(*pass, *factors, seed)?;
                let differs = first_difference(&got, |at| output(*pass, *factors, &input, at));
                if let Some(at) = differs {
                    wrong.push(WrongPass { kernel: "ntt_pass", pass: described, at });
                }
            }
        }
        Ok(wrong)
    }

    /// The input of a pass, drawn by `seed`, and what the device makes of it as one of several columns.
    fn run_alone(
        &self,
        pass: Pass,
        factors: Factors,
        seed: u64,
    ) -> Result<(Vec<Fr>, Vec<Fr>), DeviceError> {
        let input = numbers(seed, &format!("input of {pass:?}"), 1 << pass.log_n);
        let from = self.upload(&input)?;
        let other = self.upload(&vec![Fr::ONE; input.len()])?;
        let to = [self.new_buffer(OP, input.len())?, self.new_buffer(OP, input.len())?];
        let places = [other.start(), from.start()].into_iter().flatten().collect::<Vec<_>>();
        let targets = to.iter().filter_map(|buffer| buffer.start()).collect::<Vec<_>>();
        self.run_pass(OP, pass, factors, &places, &targets)?;
        Ok((input, self.download(&to[1])?))
    }
}
