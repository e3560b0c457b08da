//! Circuits and artifacts made by hand: the tests need no compiler of Noir.

use std::collections::BTreeMap;

use acir::circuit::{Circuit, Opcode, Program, PublicInputs};
use acir::native_types::{Expression, Witness};
use acir::{FieldElement, SerializationFormat};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rollmill_acir::artifact::{DebugInfo, Function};

pub type F = FieldElement;

/// A circuit whose parameters, all private, are the first witnesses.
pub fn circuit(parameters: u32, opcodes: Vec<Opcode<F>>) -> Circuit<F> {
    Circuit {
        function_name: "main".to_owned(),
        opcodes,
        private_parameters: (0..parameters).map(Witness).collect(),
        public_parameters: PublicInputs::default(),
        return_values: PublicInputs::default(),
        assert_messages: Vec::new(),
    }
}

/// A function with this circuit and without unconstrained functions.
pub fn function(circuit: Circuit<F>) -> Function {
    Function {
        name: "main".to_owned(),
        program: Program { functions: vec![circuit], unconstrained_functions: Vec::new() },
        errors: BTreeMap::new(),
        debug: DebugInfo::default(),
    }
}

/// `Σ q · a · b + Σ q · a + constant`, with numbers of witnesses.
pub fn expression(
    products: &[(i64, u32, u32)],
    linear: &[(i64, u32)],
    constant: i64,
) -> Expression<F> {
    Expression {
        mul_terms: products
            .iter()
            .map(|(q, a, b)| (F::from(*q), Witness(*a), Witness(*b)))
            .collect(),
        linear_combinations: linear.iter().map(|(q, a)| (F::from(*q), Witness(*a))).collect(),
        q_c: F::from(constant),
    }
}

/// The bytes of a program as a compiler writes them: gzip of MessagePack.
pub fn bytecode(program: &Program<F>) -> Vec<u8> {
    Program::serialize_program_with_format(program, SerializationFormat::MsgpackCompact)
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
