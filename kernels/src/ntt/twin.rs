//! The plain twin of each pass of a transform, and a comparison of the device's passes with it, so that a wrong
//! transform is traced to the first pass that is wrong.

use std::fmt;

use ark_ff::Field;
use rollmill_algebra::conformance::numbers;
use rollmill_algebra::device::{DeviceError, Memory};
use rollmill_algebra::field::horner;
use rollmill_algebra::{Fr, omega};

use super::{Pass, passes};
use crate::device::CudaDevice;

/// Up to this length every output of a pass is compared, above it some.
const COMPARED: usize = 1 << 12;

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

/// Factors of a pass besides the roots, each with a base: inputs times powers of it, and, for the inverse transform,
/// outputs times a factor and powers.
#[derive(Debug, Clone, Copy, Default)]
struct Scales {
    input: Option<Fr>,
    output: Option<(Fr, Fr)>,
}

/// Output `i` of a pass. The transform so far has left, in each residue class of indices modulo `n / done`, the
/// `done` values of a polynomial; the pass joins R of these classes, and the result at a root of order `done · R`
/// is Horner's rule over them.
fn output(pass: Pass, scales: Scales, input: &[Fr], i: usize) -> Fr {
    let Pass { log_n, log_done, log_radix, .. } = pass;
    let n = 1usize << log_n;
    // The inverse transform writes in the reverse order.
    let from = if scales.output.is_some() { (n - i) % n } else { i };
    let size = log_done + log_radix;
    let j = (from >> size) << log_done | from & ((1 << log_done) - 1);
    let joined: Vec<Fr> = (0..1usize << log_radix)
        .map(|r| j + (r << (log_n - log_radix)))
        .map(|at| input[at] * scales.input.map_or(Fr::ONE, |base| base.pow([at as u64])))
        .collect();
    let value = horner(&joined, omega(size).pow([(from & ((1 << size) - 1)) as u64]));
    scales.output.map_or(value, |(base, factor)| value * factor * base.pow([i as u64]))
}

impl CudaDevice {
    /// Runs each pass of transforms of `2^log_n` random elements by itself, with and without the factors of a coset,
    /// and returns those that differ from their twins. The lengths are those of [`rollmill_algebra::device::Ntt`].
    ///
    /// # Errors
    /// As of any operation of the device.
    pub fn wrong_passes_of_transforms(
        &self,
        log_n: u32,
        seed: u64,
    ) -> Result<Vec<WrongPass>, DeviceError> {
        let drawn = numbers(seed, "scales of passes", 3);
        let (base, factor) = (drawn[0], drawn[1]);
        let all = passes(log_n);
        let mut wrong = Vec::new();
        for (i, pass) in all.iter().enumerate() {
            let mut variants = vec![Scales::default()];
            if i == 0 {
                variants.push(Scales { input: Some(base), output: None });
            }
            if i + 1 == all.len() {
                variants.push(Scales { input: None, output: Some((base, factor)) });
            }
            for scales in variants {
                let (input, got) = self.run_alone(*pass, scales, seed)?;
                let step = (got.len() / COMPARED).max(1);
                // An odd distance, so that outputs of every row and column are among them.
                let mut compared = (0..got.len()).step_by(step | 1);
                let differs = |at: &usize| got[*at] != output(*pass, scales, &input, *at);
                if let Some(at) = compared.find(differs) {
                    let pass = format!("pass {} of {} of 2^{log_n}, {scales:?}", i + 1, all.len());
                    wrong.push(WrongPass { kernel: "ntt_pass", pass, at });
                }
            }
        }
        Ok(wrong)
    }

    /// The input of a pass, drawn by `seed`, and what the device makes of it.
    fn run_alone(
        &self,
        pass: Pass,
        scales: Scales,
        seed: u64,
    ) -> Result<(Vec<Fr>, Vec<Fr>), DeviceError> {
        const OP: &str = "compare_passes";
        let input = numbers(seed, &format!("input of {pass:?}"), 1 << pass.log_n);
        let from = self.upload(&input)?;
        let to = self.new_buffer(OP, input.len())?;
        let table = |base, factor| self.scale(OP, base, factor, pass.log_n);
        let before = scales.input.map(|base| table(base, Fr::ONE)).transpose()?;
        let after = scales.output.map(|(base, factor)| table(base, factor)).transpose()?;
        if let (Some(from), Some(to)) = (from.start(), to.start()) {
            let tables = [&before, &after].map(|table| table.as_ref().map(|block| block.start()));
            self.run_pass(OP, pass, &[from], &[to], tables)?;
        }
        Ok((input, self.download(&to)?))
    }
}
