//! Circuits and witnesses as Barretenberg reads them: ACIR, Noir's intermediate form.
//!
//! Written by hand, since the bench needs three kinds of gate and nothing else of Noir's tools. The tests
//! read what is written here with Noir's own `acir` crate.
//!
//! # Layout
//! A gzip stream of the byte 3 and a value in MessagePack. A structure is an array of its fields, a variant
//! of an enumeration a map from its name to its contents, a field element 32 bytes, big-endian.
//!
//! - Program: functions, unconstrained functions.
//! - Function: name, opcodes, private inputs, public inputs, return values, messages.
//! - Witness file: an array of one list of items `(function, map from witness to value)`.
//!
//! Source: <https://docs.rs/acir/1.0.0>.

use rollmill_algebra::bytes::fr_to_bytes;
use rollmill_algebra::{Fr, poseidon2};

use crate::mix::{HASH_DOMAIN, Mix, START, low_bits};

/// MessagePack with names for variants and arrays for structures.
const FORMAT: u8 = 3;

/// A circuit with its witness in the making. A cell is the index of a witness.
#[derive(Debug)]
pub(super) struct Acir {
    opcodes: Vec<u8>,
    count: u32,
    values: Vec<Fr>,
}

/// The public input.
pub(super) const INPUT: u32 = 0;
/// Two cells with constants, since bb accepts no constant as the input of a permutation.
const ZERO: u32 = 1;
const TAG: u32 = 2;

impl Acir {
    /// A circuit of the public input and the constants.
    pub(super) fn new() -> Self {
        let tag = Fr::from(u128::from(HASH_DOMAIN) | 2u128 << 64);
        let values = vec![Fr::from(START), Fr::from(0u64), tag];
        let mut acir = Self { opcodes: Vec::new(), count: 0, values };
        for (cell, value) in [(ZERO, Fr::from(0u64)), (TAG, tag)] {
            acir.assert_zero(&[], &[(-Fr::from(1u64), cell)], value);
        }
        acir
    }

    /// The value of a cell.
    pub(super) fn value(&self, cell: u32) -> Fr {
        self.values[cell as usize]
    }

    /// The square plus five: one gate.
    pub(super) fn square(&mut self, x: u32) -> u32 {
        let (one, five) = (Fr::from(1u64), Fr::from(5u64));
        let out = self.witness(self.value(x) * self.value(x) + five);
        self.assert_zero(&[(one, x, x)], &[(-one, out)], five);
        out
    }

    /// The file of the circuit, which makes `output` public.
    pub(super) fn program(&self, output: u32) -> Vec<u8> {
        let mut out = vec![FORMAT];
        array(&mut out, 2);
        array(&mut out, 1);
        array(&mut out, 6);
        text(&mut out, "main");
        array(&mut out, self.count);
        out.extend_from_slice(&self.opcodes);
        for list in [&[][..], &[INPUT], &[output], &[], &[]] {
            array(&mut out, list.len() as u32);
            list.iter().for_each(|cell| number(&mut out, *cell));
        }
        gzip(&out)
    }

    /// The file of the witness.
    pub(super) fn witness_file(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        array(&mut out, 1);
        array(&mut out, 1);
        array(&mut out, 2);
        number(&mut out, 0);
        map(&mut out, self.values.len() as u32);
        for (cell, value) in self.values.iter().enumerate() {
            number(&mut out, cell as u32);
            element(&mut out, value);
        }
        gzip(&out)
    }

    fn witness(&mut self, value: Fr) -> u32 {
        self.values.push(value);
        self.values.len() as u32 - 1
    }

    /// `Σ c·a·b + Σ c·a + constant = 0`.
    fn assert_zero(&mut self, products: &[(Fr, u32, u32)], linear: &[(Fr, u32)], constant: Fr) {
        let out = &mut self.opcodes;
        variant(out, "AssertZero");
        array(out, 3);
        array(out, products.len() as u32);
        for (factor, a, b) in products {
            array(out, 3);
            element(out, factor);
            number(out, *a);
            number(out, *b);
        }
        array(out, linear.len() as u32);
        for (factor, a) in linear {
            array(out, 2);
            element(out, factor);
            number(out, *a);
        }
        element(out, &constant);
        self.count += 1;
    }

    fn black_box(&mut self, name: &str) -> &mut Vec<u8> {
        self.count += 1;
        variant(&mut self.opcodes, "BlackBoxFuncCall");
        variant(&mut self.opcodes, name);
        array(&mut self.opcodes, 2);
        &mut self.opcodes
    }
}

impl Mix for Acir {
    type Cell = u32;

    fn hash(&mut self, x: u32) -> u32 {
        let inputs = [x, x, ZERO, TAG];
        let mut state = inputs.map(|cell| self.value(cell));
        poseidon2::permute(&mut state);
        let outputs = state.map(|value| self.witness(value));
        let out = self.black_box("Poseidon2Permutation");
        array(out, 4);
        inputs.iter().for_each(|cell| input(out, *cell));
        array(out, 4);
        outputs.iter().for_each(|cell| number(out, *cell));
        outputs[0]
    }

    fn times_low(&mut self, x: u32, bits: u32) -> u32 {
        let low = self.witness(low_bits(&self.value(x), bits));
        let out = self.black_box("RANGE");
        input(out, low);
        number(out, bits);
        let product = self.witness(self.value(x) * self.value(low));
        let one = Fr::from(1u64);
        self.assert_zero(&[(one, x, low)], &[(-one, product)], Fr::from(0u64));
        product
    }
}

fn input(out: &mut Vec<u8>, cell: u32) {
    variant(out, "Witness");
    number(out, cell);
}

fn variant(out: &mut Vec<u8>, name: &str) {
    map(out, 1);
    text(out, name);
}

/// The shortest form, as readers may insist on.
fn number(out: &mut Vec<u8>, value: u32) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend([0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((value as u16).to_be_bytes());
        }
        _ => {
            out.push(0xce);
            out.extend(value.to_be_bytes());
        }
    }
}

fn array(out: &mut Vec<u8>, length: u32) {
    sized(out, length, 0x90, 0xdc);
}

fn map(out: &mut Vec<u8>, length: u32) {
    sized(out, length, 0x80, 0xde);
}

fn sized(out: &mut Vec<u8>, length: u32, short: u8, long: u8) {
    match length {
        0..=15 => out.push(short | length as u8),
        16..=0xffff => {
            out.push(long);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(long + 1);
            out.extend(length.to_be_bytes());
        }
    }
}

/// Of at most 31 bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xa0 | text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn element(out: &mut Vec<u8>, value: &Fr) {
    out.extend([0xc4, 32]);
    out.extend_from_slice(&fr_to_bytes(value));
}

/// A gzip stream of stored blocks (RFC 1952, RFC 1951 section 3.2.4): the files live for one run.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(crc32(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|i| {
        (0..8).fold(i as u32, |x, _| if x & 1 == 1 { x >> 1 ^ 0xedb8_8320 } else { x >> 1 })
    });
    !bytes.iter().fold(!0u32, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use acir::FieldElement;
    use acir::circuit::opcodes::{BlackBoxFuncCall, FunctionInput};
    use acir::circuit::{Opcode, Program};
    use acir::native_types::{Witness, WitnessStack};

    use super::*;
    use crate::mix::{cell_bits, lay};

    /// A circuit with numbers of every length, and what it makes public.
    fn mixed() -> (Acir, u32) {
        let log_n = 10;
        let mut acir = Acir::new();
        let mut out = lay(&mut acir, INPUT, log_n);
        for _ in 0..70_000 {
            out = acir.square(out);
        }
        (acir, out)
    }

    #[test]
    fn noirs_own_reader_finds_the_gates_and_the_witness_satisfies_them() {
        let (made, output) = mixed();
        let program = Program::<FieldElement>::deserialize_program(&made.program(output)).unwrap();
        let mut stack = WitnessStack::<FieldElement>::deserialize(&made.witness_file()).unwrap();
        let values = stack.pop().unwrap().witness;
        assert!(program.unconstrained_functions.is_empty() && program.functions.len() == 1);
        let main = &program.functions[0];
        assert_eq!(main.public_parameters.0.iter().map(|w| w.0).collect::<Vec<_>>(), [INPUT]);
        assert_eq!(main.return_values.0.iter().map(|w| w.0).collect::<Vec<_>>(), [output]);
        let value = |cell: &Witness| values.get(cell).unwrap().into_repr();
        let of = |input: &FunctionInput<FieldElement>| match input {
            FunctionInput::Witness(cell) => value(cell),
            FunctionInput::Constant(_) => panic!("a constant"),
        };
        let (mut zeros, mut ranges, mut hashes) = (0, 0, 0);
        for opcode in &main.opcodes {
            match opcode {
                Opcode::AssertZero(sum) => {
                    let products = sum.mul_terms.iter();
                    let products: Fr =
                        products.map(|(c, a, b)| c.into_repr() * value(a) * value(b)).sum();
                    let linear = sum.linear_combinations.iter();
                    let linear: Fr = linear.map(|(c, a)| c.into_repr() * value(a)).sum();
                    assert_eq!(products + linear + sum.q_c.into_repr(), Fr::from(0u64));
                    zeros += 1;
                }
                Opcode::BlackBoxFuncCall(BlackBoxFuncCall::RANGE { input, num_bits }) => {
                    assert_eq!(*num_bits, 4 * cell_bits(10));
                    assert_eq!(low_bits(&of(input), *num_bits), of(input));
                    ranges += 1;
                }
                Opcode::BlackBoxFuncCall(BlackBoxFuncCall::Poseidon2Permutation {
                    inputs,
                    outputs,
                }) => {
                    let mut state: [Fr; 4] = std::array::from_fn(|i| of(&inputs[i]));
                    poseidon2::permute(&mut state);
                    assert_eq!(outputs.iter().map(value).collect::<Vec<_>>(), state);
                    hashes += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((zeros, ranges, hashes), (2 + 256 + 70_000, 256, 32));
    }

    #[test]
    fn the_same_circuit_of_ours_ends_in_the_same_value() {
        let log_n = 10;
        let mut acir = Acir::new();
        let theirs = lay(&mut acir, INPUT, log_n);
        let mut b = rollmill_plonk::builder::Builder::new(2, cell_bits(log_n));
        let start = b.witness(Fr::from(START));
        let ours = lay(&mut b, start, log_n);
        assert_eq!(acir.value(theirs), b.value(ours));
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
