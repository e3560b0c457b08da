//! Artifacts made by hand: the tests need no compiler of Noir.

use acir::circuit::{Circuit, Opcode, Program, PublicInputs};
use acir::native_types::{Expression, Witness};
use acir::{FieldElement, SerializationFormat};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

type F = FieldElement;

/// `main(pair: Pair, sum: pub Field) -> pub u32`: asserts that the sum of the pair is `sum`, and returns the product.
/// With `factor` times the product: another program of the same shape.
pub(crate) fn artifact(factor: i64) -> Value {
    let sum = Expression {
        mul_terms: Vec::new(),
        linear_combinations: [(1i64, 0u32), (1, 1), (-1, 2)]
            .map(|(q, witness)| (F::from(q), Witness(witness)))
            .to_vec(),
        q_c: F::from(0i64),
    };
    let product = Expression {
        mul_terms: vec![(F::from(factor), Witness(0), Witness(1))],
        linear_combinations: vec![(F::from(-1i64), Witness(3))],
        q_c: F::from(0i64),
    };
    let circuit = Circuit {
        function_name: "main".to_owned(),
        opcodes: vec![Opcode::AssertZero(sum), Opcode::AssertZero(product)],
        private_parameters: [Witness(0), Witness(1)].into(),
        public_parameters: PublicInputs([Witness(2)].into()),
        return_values: PublicInputs([Witness(3)].into()),
        assert_messages: Vec::new(),
    };
    let program = Program { functions: vec![circuit], unconstrained_functions: Vec::new() };
    let bytecode =
        Program::serialize_program_with_format(&program, SerializationFormat::MsgpackCompact);
    let number = json!({"kind": "integer", "sign": "unsigned", "width": 32});
    let pair = json!({"kind": "struct", "path": "Pair", "fields": [
        {"name": "a", "type": number}, {"name": "b", "type": number}]});
    json!({
        "noir_version": "1.0.0",
        "abi": {
            "parameters": [
                {"name": "pair", "type": pair, "visibility": "private"},
                {"name": "sum", "type": {"kind": "field"}, "visibility": "public"}],
            "return_type": {"abi_type": number, "visibility": "public"},
            "error_types": {}},
        "bytecode": STANDARD.encode(bytecode),
        "debug_symbols": "",
        "file_map": {},
    })
}
