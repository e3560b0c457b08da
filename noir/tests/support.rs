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
    let number = json!({"kind": "integer", "sign": "unsigned", "width": 32});
    let pair = json!({"kind": "struct", "path": "Pair", "fields": [
        {"name": "a", "type": number}, {"name": "b", "type": number}]});
    let abi = json!({
        "parameters": [
            {"name": "pair", "type": pair, "visibility": "private"},
            {"name": "sum", "type": {"kind": "field"}, "visibility": "public"}],
        "return_type": {"abi_type": number, "visibility": "public"},
        "error_types": {}});
    file(circuit, abi)
}

/// `main(terms: pub [Field; count], sum: Field)`: asserts that `sum` is the sum of the terms and of seven.
pub(crate) fn sum_of(count: u32) -> Value {
    let mut terms: Vec<(F, Witness)> = (0..count).map(|i| (F::from(1i64), Witness(i))).collect();
    terms.push((F::from(-1i64), Witness(count)));
    let sum = Expression { mul_terms: Vec::new(), linear_combinations: terms, q_c: F::from(7i64) };
    let circuit = Circuit {
        function_name: "main".to_owned(),
        opcodes: vec![Opcode::AssertZero(sum)],
        private_parameters: [Witness(count)].into(),
        public_parameters: PublicInputs((0..count).map(Witness).collect()),
        return_values: PublicInputs::default(),
        assert_messages: Vec::new(),
    };
    let terms = json!({"kind": "array", "length": count, "type": {"kind": "field"}});
    let abi = json!({
        "parameters": [
            {"name": "terms", "type": terms, "visibility": "public"},
            {"name": "sum", "type": {"kind": "field"}, "visibility": "private"}],
        "return_type": null,
        "error_types": {}});
    file(circuit, abi)
}

/// The JSON of a program, as a compiler writes it.
fn file(circuit: Circuit<F>, abi: Value) -> Value {
    let program = Program { functions: vec![circuit], unconstrained_functions: Vec::new() };
    let bytecode =
        Program::serialize_program_with_format(&program, SerializationFormat::MsgpackCompact);
    json!({
        "noir_version": "1.0.0",
        "abi": abi,
        "bytecode": STANDARD.encode(bytecode),
        "debug_symbols": "",
        "file_map": {},
    })
}
