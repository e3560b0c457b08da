//! ACIR read plainly, opcode by opcode: the slow twin of the rows of [`crate::lower`].
//!
//! It says of any assignment of the witnesses, honest or not, whether the opcodes hold. Functions are computed by the
//! libraries that Noir's solver uses, which share no code with the gadgets.

use std::collections::BTreeMap;

use acir::circuit::Circuit;
use acir::circuit::opcodes::{BlackBoxFuncCall, FunctionInput, MemOp, MemOpKind, Opcode};
use acir::native_types::{Expression, Witness, WitnessMap};
use acir::{AcirField, FieldElement};
use acvm::blackbox_solver::{
    BlackBoxFunctionSolver, aes128_encrypt, bit_and, bit_xor, blake2s, blake3,
    ecdsa_secp256k1_verify, ecdsa_secp256r1_verify, keccakf1600, sha256_compression,
};
use bn254_blackbox_solver::Bn254BlackBoxSolver;

use crate::ecdsa::{Curve, EcdsaCall};

type Input = FunctionInput<FieldElement>;

/// The first opcode that does not hold; `None` where all hold.
///
/// Opcodes that [`crate::lower`] does not support never hold, and neither does one whose witnesses have no value.
pub fn broken(
    circuit: &Circuit<FieldElement>,
    witness: &WitnessMap<FieldElement>,
) -> Option<usize> {
    let mut reading = Reading { witness, memory: BTreeMap::new() };
    circuit.opcodes.iter().position(|opcode| reading.holds(opcode) != Some(true))
}

struct Reading<'a> {
    witness: &'a WitnessMap<FieldElement>,
    memory: BTreeMap<u32, Vec<FieldElement>>,
}

impl Reading<'_> {
    fn value(&self, witness: Witness) -> Option<FieldElement> {
        self.witness.get(&witness).copied()
    }

    fn input(&self, input: &Input) -> Option<FieldElement> {
        match input {
            FunctionInput::Constant(value) => Some(*value),
            FunctionInput::Witness(witness) => self.value(*witness),
        }
    }

    /// The inputs as numbers below `2^bits`.
    fn numbers(&self, inputs: &[Input], bits: u32) -> Option<Vec<u64>> {
        let number = |input: &Input| {
            let value = self.input(input)?;
            if value.num_bits() > bits { None } else { value.try_to_u64() }
        };
        inputs.iter().map(number).collect()
    }

    fn bytes(&self, inputs: &[Input]) -> Option<Vec<u8>> {
        let numbers = self.numbers(inputs, 8)?;
        Some(numbers.into_iter().map(|number| number as u8).collect())
    }

    fn are(
        &self,
        outputs: &[Witness],
        expected: impl IntoIterator<Item = FieldElement>,
    ) -> Option<bool> {
        let values: Option<Vec<FieldElement>> =
            outputs.iter().map(|output| self.value(*output)).collect();
        Some(values? == expected.into_iter().collect::<Vec<_>>())
    }

    fn are_numbers(
        &self,
        outputs: &[Witness],
        expected: impl IntoIterator<Item = u64>,
    ) -> Option<bool> {
        self.are(outputs, expected.into_iter().map(FieldElement::from))
    }

    /// Whether the opcode holds; `None` where something in it has no value or not its form.
    fn holds(&mut self, opcode: &Opcode<FieldElement>) -> Option<bool> {
        match opcode {
            Opcode::AssertZero(expression) => Some(self.evaluate(expression)?.is_zero()),
            Opcode::BlackBoxFuncCall(call) => self.black_box(call),
            Opcode::MemoryInit { block_id, init, .. } => {
                let cells: Option<Vec<FieldElement>> =
                    init.iter().map(|cell| self.value(*cell)).collect();
                Some(self.memory.insert(block_id.as_u32(), cells?).is_none())
            }
            Opcode::MemoryOp { block_id, op } => self.access(block_id.as_u32(), op),
            Opcode::BrilligCall { .. } => Some(true),
            Opcode::Call { .. } => None,
        }
    }

    fn evaluate(&self, expression: &Expression<FieldElement>) -> Option<FieldElement> {
        let mut sum = expression.q_c;
        for (factor, x, y) in &expression.mul_terms {
            sum += *factor * self.value(*x)? * self.value(*y)?;
        }
        for (factor, x) in &expression.linear_combinations {
            sum += *factor * self.value(*x)?;
        }
        Some(sum)
    }

    fn access(&mut self, block: u32, op: &MemOp) -> Option<bool> {
        let (index, value) = (self.value(op.index)?, self.value(op.value)?);
        let cell = self.memory.get_mut(&block)?.get_mut(index.try_to_u32()? as usize)?;
        match op.operation {
            MemOpKind::Read => Some(*cell == value),
            MemOpKind::Write => {
                *cell = value;
                Some(true)
            }
        }
    }

    fn black_box(&self, call: &BlackBoxFuncCall<FieldElement>) -> Option<bool> {
        match call {
            BlackBoxFuncCall::RANGE { input, num_bits } => {
                Some(self.input(input)?.num_bits() <= *num_bits)
            }
            BlackBoxFuncCall::AND { lhs, rhs, num_bits, output } => {
                self.logic([lhs, rhs], *num_bits, *output, bit_and)
            }
            BlackBoxFuncCall::XOR { lhs, rhs, num_bits, output } => {
                self.logic([lhs, rhs], *num_bits, *output, bit_xor)
            }
            BlackBoxFuncCall::Poseidon2Permutation { inputs, outputs } => {
                let inputs: Option<Vec<FieldElement>> =
                    inputs.iter().map(|input| self.input(input)).collect();
                self.are(outputs, Bn254BlackBoxSolver.poseidon2_permutation(&inputs?).ok()?)
            }
            BlackBoxFuncCall::Sha256Compression { inputs, hash_values, outputs } => {
                let words = |inputs: &[Input]| -> Option<Vec<u32>> {
                    Some(self.numbers(inputs, 32)?.into_iter().map(|word| word as u32).collect())
                };
                let block: [u32; 16] = words(&inputs[..])?.try_into().ok()?;
                let mut state: [u32; 8] = words(&hash_values[..])?.try_into().ok()?;
                sha256_compression(&mut state, &block);
                self.are_numbers(&outputs[..], state.map(u64::from))
            }
            BlackBoxFuncCall::Keccakf1600 { inputs, outputs } => {
                let state: [u64; 25] = self.numbers(&inputs[..], 64)?.try_into().ok()?;
                self.are_numbers(&outputs[..], keccakf1600(state).ok()?)
            }
            BlackBoxFuncCall::Blake2s { inputs, outputs } => {
                let digest = blake2s(&self.bytes(inputs)?).ok()?;
                self.are_numbers(&outputs[..], digest.map(u64::from))
            }
            BlackBoxFuncCall::Blake3 { inputs, outputs } => {
                let digest = blake3(&self.bytes(inputs)?).ok()?;
                self.are_numbers(&outputs[..], digest.map(u64::from))
            }
            BlackBoxFuncCall::AES128Encrypt { inputs, iv, key, outputs } => {
                let start: [u8; 16] = self.bytes(&iv[..])?.try_into().ok()?;
                let key: [u8; 16] = self.bytes(&key[..])?.try_into().ok()?;
                let ciphertext = aes128_encrypt(&self.bytes(inputs)?, start, key).ok()?;
                self.are_numbers(outputs, ciphertext.into_iter().map(u64::from))
            }
            BlackBoxFuncCall::EmbeddedCurveAdd { input1, input2, predicate, outputs } => {
                let on = self.bit(predicate)?;
                let [x1, y1] = [self.input(&input1[0])?, self.input(&input1[1])?];
                let [x2, y2] = [self.input(&input2[0])?, self.input(&input2[1])?];
                let (x, y) = Bn254BlackBoxSolver.ec_add(&x1, &y1, &x2, &y2, on).ok()?;
                self.are(&[outputs.0, outputs.1], [x, y])
            }
            BlackBoxFuncCall::MultiScalarMul { points, scalars, predicate, outputs } => {
                let on = self.bit(predicate)?;
                let values = |inputs: &[Input],
                              from: usize,
                              step: usize|
                 -> Option<Vec<FieldElement>> {
                    inputs.iter().skip(from).step_by(step).map(|input| self.input(input)).collect()
                };
                let (points, low, high) =
                    (values(points, 0, 1)?, values(scalars, 0, 2)?, values(scalars, 1, 2)?);
                let (x, y) = Bn254BlackBoxSolver.multi_scalar_mul(&points, &low, &high, on).ok()?;
                self.are(&[outputs.0, outputs.1], [x, y])
            }
            BlackBoxFuncCall::EcdsaSecp256k1 { .. } | BlackBoxFuncCall::EcdsaSecp256r1 { .. } => {
                self.ecdsa(call)
            }
            BlackBoxFuncCall::RecursiveAggregation { .. } => None,
        }
    }

    fn ecdsa(&self, call: &BlackBoxFuncCall<FieldElement>) -> Option<bool> {
        let call = EcdsaCall::of(call)?;
        if !self.bit(call.predicate)? {
            return self.are_numbers(&[call.output], [1]);
        }
        let verify = match call.curve {
            Curve::Secp256k1 => ecdsa_secp256k1_verify,
            Curve::Secp256r1 => ecdsa_secp256r1_verify,
        };
        let [x, y] = call.key.map(|number| self.bytes(number));
        let x: [u8; 32] = x?.try_into().ok()?;
        let y: [u8; 32] = y?.try_into().ok()?;
        let signature: [u8; 64] = self.bytes(call.signature)?.try_into().ok()?;
        let hash: [u8; 32] = self.bytes(call.hash)?.try_into().ok()?;
        let is_valid = verify(&hash, &x, &y, &signature).ok()?;
        self.are_numbers(&[call.output], [u64::from(is_valid)])
    }

    fn bit(&self, predicate: &Input) -> Option<bool> {
        let value = self.input(predicate)?;
        (value.is_zero() || value.is_one()).then(|| value.is_one())
    }

    fn logic(
        &self,
        [left, right]: [&Input; 2],
        bits: u32,
        output: Witness,
        function: fn(FieldElement, FieldElement, u32) -> FieldElement,
    ) -> Option<bool> {
        let (left, right) = (self.input(left)?, self.input(right)?);
        if left.num_bits() > bits || right.num_bits() > bits {
            return Some(false);
        }
        self.are(&[output], [function(left, right, bits)])
    }
}
