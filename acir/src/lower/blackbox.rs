//! The opcodes that name a function: hashes, curves, ranges.

use acir::FieldElement;
use acir::circuit::opcodes::{BlackBoxFuncCall, FunctionInput, Opcode};
use acir::native_types::Witness;
use ark_ff::One;
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::RANGE_BITS_MAX;
use rollmill_plonk::builder::{Builder, Var};

use super::{Lowering, Problem, constant};
use crate::ecdsa::{Curve, EcdsaCall};
use crate::gadgets::curve::{self, Point, affine};
use crate::gadgets::ecdsa::{self, SECP256K1, SECP256R1};
use crate::gadgets::scalar::{Scalar, multiply};
use crate::gadgets::{aes, blake2s, blake3, keccak, logic, range, sha256};

type Input = FunctionInput<FieldElement>;

/// Less than the rows of an opcode whose length the program chooses; 0 where a row takes at least a byte of bytecode.
pub(super) fn rows_at_least(opcode: &Opcode<FieldElement>) -> usize {
    /// For each byte of a message, and for each coordinate of a point.
    const MESSAGE: usize = 200;
    const COORDINATE: usize = 500;
    let Opcode::BlackBoxFuncCall(call) = opcode else { return 0 };
    match call {
        BlackBoxFuncCall::Blake2s { inputs, .. }
        | BlackBoxFuncCall::Blake3 { inputs, .. }
        | BlackBoxFuncCall::AES128Encrypt { inputs, .. } => inputs.len().saturating_mul(MESSAGE),
        BlackBoxFuncCall::MultiScalarMul { points, .. } => points.len().saturating_mul(COORDINATE),
        _ => 0,
    }
}

impl Lowering<'_> {
    pub(super) fn black_box(
        &mut self,
        call: &BlackBoxFuncCall<FieldElement>,
    ) -> Result<(), Problem> {
        match call {
            BlackBoxFuncCall::RANGE { input, num_bits } => {
                let value = self.input(input);
                range::range(&mut self.b, value, *num_bits);
                Ok(())
            }
            BlackBoxFuncCall::AND { lhs, rhs, num_bits, output } => {
                self.logic([lhs, rhs], *num_bits, *output, false)
            }
            BlackBoxFuncCall::XOR { lhs, rhs, num_bits, output } => {
                self.logic([lhs, rhs], *num_bits, *output, true)
            }
            BlackBoxFuncCall::Poseidon2Permutation { inputs, outputs } => {
                let Ok(inputs) = <&[Input; 4]>::try_from(inputs.as_slice()) else {
                    return Err(Problem::Malformed("Poseidon2 takes 4 inputs here"));
                };
                let state = self.inputs(inputs);
                let state = self.b.permute(state, [Builder::ZERO; 4]);
                self.outputs(outputs, &state)
            }
            BlackBoxFuncCall::Sha256Compression { inputs, hash_values, outputs } => {
                let (block, state) = (self.inputs(inputs), self.inputs(hash_values));
                let state = sha256::compress(&mut self.b, &block, &state);
                self.outputs(&outputs[..], &state)
            }
            BlackBoxFuncCall::Keccakf1600 { inputs, outputs } => {
                let state = self.inputs(inputs);
                let state = keccak::permute(&mut self.b, &state);
                self.outputs(&outputs[..], &state)
            }
            BlackBoxFuncCall::Blake2s { inputs, outputs } => {
                let message: Vec<Var> = inputs.iter().map(|input| self.input(input)).collect();
                let digest = blake2s::hash(&mut self.b, &message);
                self.outputs(&outputs[..], &digest)
            }
            BlackBoxFuncCall::Blake3 { inputs, outputs } => {
                let message: Vec<Var> = inputs.iter().map(|input| self.input(input)).collect();
                let digest = blake3::hash(&mut self.b, &message);
                self.outputs(&outputs[..], &digest)
            }
            BlackBoxFuncCall::AES128Encrypt { inputs, iv, key, outputs } => {
                self.aes([inputs, &iv[..], &key[..]], outputs)
            }
            BlackBoxFuncCall::EmbeddedCurveAdd { input1, input2, predicate, outputs } => {
                let sum = self.curve_add([&input1[..], &input2[..]], predicate)?;
                self.outputs(&[outputs.0, outputs.1], &[sum.x, sum.y])
            }
            BlackBoxFuncCall::MultiScalarMul { points, scalars, predicate, outputs } => {
                let sum = self.multi_scalar_mul(points, scalars, predicate)?;
                self.outputs(&[outputs.0, outputs.1], &[sum.x, sum.y])
            }
            BlackBoxFuncCall::EcdsaSecp256k1 { .. }
            | BlackBoxFuncCall::EcdsaSecp256r1 { .. }
            | BlackBoxFuncCall::RecursiveAggregation { .. } => match EcdsaCall::of(call) {
                Some(call) => self.ecdsa(&call),
                None => Err(Problem::Unsupported(call.name().to_owned())),
            },
        }
    }

    fn outputs(&mut self, witnesses: &[Witness], computed: &[Var]) -> Result<(), Problem> {
        if witnesses.len() != computed.len() {
            return Err(Problem::Malformed("it has another number of outputs than its function"));
        }
        for (witness, variable) in witnesses.iter().zip(computed) {
            self.output(*witness, *variable);
        }
        Ok(())
    }

    fn logic(
        &mut self,
        [left, right]: [&Input; 2],
        bits: u32,
        output: Witness,
        xor: bool,
    ) -> Result<(), Problem> {
        if !(1..=RANGE_BITS_MAX).contains(&bits) {
            return Err(Problem::Unsupported(format!("AND or XOR of {bits} bits")));
        }
        let (left, right) = (self.input(left), self.input(right));
        let result = logic::logic(&mut self.b, left, right, bits, xor);
        self.outputs(&[output], &[result])
    }

    fn aes(
        &mut self,
        [text, start, key]: [&[Input]; 3],
        outputs: &[Witness],
    ) -> Result<(), Problem> {
        if !text.len().is_multiple_of(aes::BLOCK) {
            return Err(Problem::Malformed("AES-128 takes whole blocks of 16 bytes"));
        }
        let mut all = |inputs: &[Input]| -> Vec<Var> {
            inputs.iter().map(|input| self.input(input)).collect()
        };
        let (text, start, key) = (all(text), all(start), all(key));
        let table = self.aes_table();
        let ciphertext = aes::encrypt(&mut self.b, &table, &text, &start, &key);
        self.outputs(outputs, &ciphertext)
    }

    fn ecdsa(&mut self, call: &EcdsaCall<'_>) -> Result<(), Problem> {
        let curve = match call.curve {
            Curve::Secp256k1 => &SECP256K1,
            Curve::Secp256r1 => &SECP256R1,
        };
        let on = self.predicate(call.predicate)?;
        let (r, s) = call.signature.split_at(32);
        let [x, y] = call.key.map(|inputs| self.number(inputs, on));
        let [r, s, hash] = [r, s, &call.hash[..]].map(|inputs| self.number(inputs, on));
        let signed = ecdsa::Signed { key: [&x, &y], r: &r, s: &s, hash: &hash };
        let is_valid = ecdsa::verify(&mut self.b, curve, &signed);
        let one = Fr::one();
        let verdict = match on {
            // Zeros are no valid signature, so a call that is off has the verdict 0 + 1 − 0.
            Some(on) => self.b.linear(&[(one, is_valid), (-one, on)], one),
            None => is_valid,
        };
        self.outputs(&[call.output], &[verdict])
    }

    /// The bytes of a number, zeros where the predicate is 0.
    fn number(&mut self, inputs: &[Input], on: Option<Var>) -> [Var; 32] {
        std::array::from_fn(|i| match inputs.get(i) {
            Some(input) => {
                let byte = self.input(input);
                on.map_or(byte, |on| self.b.mul(byte, on))
            }
            None => Builder::ZERO,
        })
    }

    /// The predicate of a call as a bit; `None` where the call is always on.
    fn predicate(&mut self, predicate: &Input) -> Result<Option<Var>, Problem> {
        match constant(predicate) {
            Some(value) if value.is_one() => Ok(None),
            Some(_) => Err(Problem::Malformed("its predicate is a constant other than 1")),
            None => {
                let bit = self.input(predicate);
                self.b.assert_bool(bit);
                Ok(Some(bit))
            }
        }
    }

    /// A point of the program, the identity where the predicate is 0. It is constrained to be a point.
    fn point(&mut self, coordinates: &[Input], on: Option<Var>) -> Result<curve::Encoded, Problem> {
        let [x, y] = coordinates else {
            return Err(Problem::Malformed("a point has two coordinates"));
        };
        let point = match (constant(x), constant(y)) {
            (Some(x), Some(y)) if affine([x, y]).is_none() => {
                return Err(Problem::Malformed("a constant point is not on the curve"));
            }
            (Some(x), Some(y)) => Point::constant(&mut self.b, [x, y]),
            (None, None) => Point { x: self.input(x), y: self.input(y) },
            _ => return Err(Problem::Malformed("one coordinate of a point is a constant")),
        };
        let point = match on {
            Some(on) => point.masked(&mut self.b, on),
            None => point,
        };
        Ok(point.encoded(&mut self.b))
    }

    fn curve_add(
        &mut self,
        [first, second]: [&[Input]; 2],
        predicate: &Input,
    ) -> Result<Point, Problem> {
        let on = self.predicate(predicate)?;
        let (first, second) = (self.point(first, on)?, self.point(second, on)?);
        Ok(curve::add(&mut self.b, &first, &second))
    }

    fn multi_scalar_mul(
        &mut self,
        points: &[Input],
        scalars: &[Input],
        predicate: &Input,
    ) -> Result<Point, Problem> {
        if points.len() != scalars.len() || points.is_empty() {
            return Err(Problem::Malformed("it has another number of points than of scalars"));
        }
        let on = self.predicate(predicate)?;
        let mut sum: Option<Point> = None;
        for (point, scalar) in points.chunks(2).zip(scalars.chunks(2)) {
            let point = self.point(point, on)?;
            let [low, high] = scalar else {
                return Err(Problem::Malformed("a scalar has two halves"));
            };
            let halves = [self.input(low), self.input(high)];
            let [low, high] = match on {
                Some(on) => halves.map(|half| self.b.mul(half, on)),
                None => halves,
            };
            let product = multiply(&mut self.b, &point, Scalar { low, high });
            sum = Some(match sum {
                None => product,
                Some(sum) => {
                    let (sum, product) = (sum.encoded(&mut self.b), product.encoded(&mut self.b));
                    curve::add(&mut self.b, &sum, &product)
                }
            });
        }
        sum.ok_or(Problem::Malformed("it has no point"))
    }
}
