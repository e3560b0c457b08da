//! Runs what the compiler made of the arithmetic, instruction by instruction: the emulator runs twins of
//! the instructions that pass a carry on, and this runs their very text.

use std::collections::HashMap;

use ark_ff::{BigInt, PrimeField, UniformRand};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fq, Fr};

/// Kernels in PTX, written with the image and compared with its sources by digests.
const PTX: &str = include_str!("../arithmetic.ptx");

struct Kernel<'a> {
    parameters: Vec<&'a str>,
    lines: Vec<&'a str>,
}

/// The kernel of that name.
fn kernel(name: &str) -> Kernel<'_> {
    let begin = format!(".visible .entry {name}(\n");
    let rest = &PTX[PTX.find(&begin).expect("the kernel is there") + begin.len()..];
    let (head, body) = rest.split_once("{\n").expect("a body");
    let parameters = head.lines().filter_map(|line| line.strip_prefix(".param .u64 "));
    Kernel {
        parameters: parameters.map(|name| name.trim_end_matches(',')).collect(),
        lines: body[..body.find("\n}").expect("an end")].lines().collect(),
    }
}

/// A thread of PTX. Source of the meaning of each instruction: PTX ISA 9.0.
#[derive(Default)]
struct Thread<'a> {
    registers: HashMap<&'a str, u64>,
    carry: u64,
    memory: Vec<u32>,
}

impl<'a> Thread<'a> {
    fn value(&self, operand: &str) -> u64 {
        match operand {
            "%tid.x" => 0,
            "%ctaid.x" => 0,
            "%ntid.x" => 256,
            _ if operand.starts_with('%') => self.registers[operand],
            // Negative ones are written as such.
            _ => operand.parse::<i64>().expect("a number") as u64,
        }
    }

    fn word(&self, operand: &str) -> u64 {
        self.value(operand) & 0xffff_ffff
    }

    /// Sets a register of 32 bits and, where `flagged`, the carry, which is one bit.
    fn set(&mut self, to: &'a str, wide: u64, flagged: bool) {
        self.registers.insert(to, wide & 0xffff_ffff);
        if flagged {
            self.carry = wide >> 32 & 1;
        }
    }

    /// The place in memory of `[%rd3+16]`.
    fn place(&self, operand: &str) -> usize {
        let inner = operand.trim_matches(['[', ']']);
        let (base, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        (self.value(base) + offset.parse::<u64>().expect("an offset")) as usize / 4
    }

    fn run(&mut self, kernel: &Kernel<'a>, arguments: &[u64]) {
        let mut at = 0;
        while let Some(line) = kernel.lines.get(at) {
            at += 1;
            if line.starts_with('.') || line.ends_with(':') {
                continue;
            }
            let text = line.trim_end_matches(';');
            let (operation, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let operands: Vec<&str> = rest
                .split([',', '{', '}'])
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .collect();
            if operation == "ret" {
                return;
            }
            if let Some(condition) = operation.strip_prefix('@') {
                let (branch, label) = (operands[0].split_once(' ').expect("a branch"), "bra");
                assert_eq!(branch.0, label, "{line}");
                if self.value(condition) != 0 {
                    let target = format!("{}:", branch.1.trim());
                    at = kernel.lines.iter().position(|line| *line == target).expect("a label");
                }
                continue;
            }
            self.step(operation, &operands, &kernel.parameters, arguments);
        }
    }

    fn step(&mut self, operation: &str, o: &[&'a str], parameters: &[&str], arguments: &[u64]) {
        let flagged = operation.contains(".cc.");
        let name = operation.split('.').next().unwrap_or_default();
        let carry = if name.ends_with('c') && name != "sub" { self.carry } else { 0 };
        match operation {
            "ld.param.u64" => {
                let name = o[1].trim_matches(['[', ']']);
                let index = parameters.iter().position(|other| *other == name).expect("known");
                self.registers.insert(o[0], arguments[index]);
            }
            "ld.global.v4.u32" => {
                let place = self.place(o[4]);
                for (k, to) in o[..4].iter().enumerate() {
                    self.registers.insert(to, u64::from(self.memory[place + k]));
                }
            }
            "st.global.v4.u32" => {
                let place = self.place(o[0]);
                for (k, from) in o[1..].iter().enumerate() {
                    self.memory[place + k] = self.word(from) as u32;
                }
            }
            "mov.u32" | "cvt.u32.u64" => self.set(o[0], self.value(o[1]), false),
            "cvt.u64.u32" | "cvta.to.global.u64" => {
                self.registers.insert(o[0], self.value(o[1]));
            }
            "add.s64" => {
                self.registers.insert(o[0], self.value(o[1]).wrapping_add(self.value(o[2])));
            }
            "shl.b64" => {
                self.registers.insert(o[0], self.value(o[1]) << self.value(o[2]));
            }
            "shr.u64" => {
                self.registers.insert(o[0], self.value(o[1]) >> self.value(o[2]));
            }
            "shl.b32" => self.set(o[0], self.word(o[1]) << self.value(o[2]), false),
            "shr.u32" => self.set(o[0], self.word(o[1]) >> self.value(o[2]), false),
            "or.b32" => self.set(o[0], self.word(o[1]) | self.word(o[2]), false),
            "and.b32" => self.set(o[0], self.word(o[1]) & self.word(o[2]), false),
            "setp.ge.u64" => {
                self.registers.insert(o[0], u64::from(self.value(o[1]) >= self.value(o[2])));
            }
            "setp.eq.s32" => {
                self.registers.insert(o[0], u64::from(self.word(o[1]) == self.word(o[2])));
            }
            "selp.b32" => {
                let from = if self.value(o[3]) != 0 { o[1] } else { o[2] };
                self.set(o[0], self.word(from), false);
            }
            "mul.wide.u32" => {
                self.registers.insert(o[0], self.word(o[1]) * self.word(o[2]));
            }
            "mul.lo.s32" => self.set(o[0], self.word(o[1]) * self.word(o[2]), false),
            "mad.lo.cc.u32" | "madc.lo.cc.u32" => {
                let low = (self.word(o[1]) * self.word(o[2])) & 0xffff_ffff;
                self.set(o[0], low + self.word(o[3]) + carry, flagged);
            }
            "madc.hi.cc.u32" | "madc.hi.u32" => {
                let high = (self.word(o[1]) * self.word(o[2])) >> 32;
                self.set(o[0], high + self.word(o[3]) + carry, flagged);
            }
            "add.cc.u32" | "addc.cc.u32" | "addc.u32" => {
                self.set(o[0], self.word(o[1]) + self.word(o[2]) + carry, flagged);
            }
            "sub.cc.u32" | "subc.cc.u32" | "subc.u32" => {
                let difference = self.word(o[1]).wrapping_sub(self.word(o[2]) + carry);
                self.set(o[0], difference, flagged);
            }
            _ => panic!("unknown instruction {operation} {o:?}"),
        }
    }
}

/// Runs one thread on `inputs`; the first parameter of a kernel is where its output goes.
fn run<F: PrimeField>(
    kernel: &Kernel<'_>,
    inputs: &[F],
    of: fn(F) -> [u64; 4],
    from: fn([u64; 4]) -> F,
) -> F {
    let mut thread = Thread { memory: vec![0xcdcd_cdcd; 8], ..Thread::default() };
    let mut arguments = vec![0];
    for input in inputs {
        arguments.push(4 * thread.memory.len() as u64);
        let limbs = of(*input).into_iter().flat_map(|limb| [limb as u32, (limb >> 32) as u32]);
        thread.memory.extend(limbs);
    }
    arguments.push(1);
    assert_eq!(arguments.len(), kernel.parameters.len());
    thread.run(kernel, &arguments);
    let limb =
        |k: usize| u64::from(thread.memory[2 * k]) | u64::from(thread.memory[2 * k + 1]) << 32;
    from(std::array::from_fn(limb))
}

/// Pairs of values at the ends of a field, random ones, and such whose limbs in memory are often all
/// ones or zero, which carries need.
fn pairs<F: PrimeField + UniformRand>(from: fn([u64; 4]) -> F) -> Vec<[F; 2]> {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let ends = [F::ZERO, F::ONE, -F::ONE, F::from(2u64), -F::from(2u64)];
    let mut pairs: Vec<[F; 2]> = ends.iter().flat_map(|a| ends.iter().map(|b| [*a, *b])).collect();
    pairs.extend((0..40).map(|_| [F::rand(&mut rng), F::rand(&mut rng)]));
    let mut half = || match rng.gen_range(0..4) {
        0 => 0,
        1 => rng.r#gen::<u32>(),
        _ => u32::MAX,
    };
    let mut spiked = || {
        let mut limbs: [u64; 4] =
            std::array::from_fn(|_| u64::from(half()) << 32 | u64::from(half()));
        // Both moduli are above 2^253.
        limbs[3] >>= 3;
        from(limbs)
    };
    pairs.extend((0..400).map(|_| [spiked(), spiked()]));
    pairs
}

#[test]
fn products_squares_and_sums_as_compiled_agree_with_the_host() {
    let of_r = |x: Fr| x.0.0;
    let from_r: fn([u64; 4]) -> Fr = |limbs| Fr::new_unchecked(BigInt(limbs));
    for [a, b] in pairs(from_r) {
        assert_eq!(run(&kernel("measure_product_fr"), &[a, b], of_r, from_r), a * b, "{a} {b}");
        assert_eq!(run(&kernel("measure_square_fr"), &[a], of_r, from_r), a * a, "{a}");
    }
    let of_q = |x: Fq| x.0.0;
    let from_q: fn([u64; 4]) -> Fq = |limbs| Fq::new_unchecked(BigInt(limbs));
    for [a, b] in pairs(from_q) {
        let expected = a * b - (a + b) * (a - b);
        assert_eq!(run(&kernel("measure_sum_fq"), &[a, b], of_q, from_q), expected, "{a} {b}");
    }
}

#[test]
fn leaving_out_any_one_carry_of_a_product_is_seen() {
    let of = |x: Fr| x.0.0;
    let from: fn([u64; 4]) -> Fr = |limbs| Fr::new_unchecked(BigInt(limbs));
    let whole = kernel("measure_product_fr");
    let pairs = pairs(from);
    let mut tried = 0;
    for at in (0..whole.lines.len()).filter(|at| whole.lines[*at].starts_with("madc.lo.cc")) {
        let without = whole.lines[at].replace("madc.lo", "mad.lo");
        let mut lines = whole.lines.clone();
        lines[at] = &without;
        let spoilt = Kernel { parameters: whole.parameters.clone(), lines };
        let seen = pairs.iter().any(|[a, b]| run(&spoilt, &[*a, *b], of, from) != *a * *b);
        assert!(seen, "no input of this test needs the carry of line {at}: {without}");
        tried += 1;
    }
    assert!(tried > 90, "only {tried} instructions take a carry");
}
