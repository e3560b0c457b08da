//! Witnesses by Noir's solver: what a failure says, and what the caller's oracles are asked.

use std::collections::BTreeMap;

use acir::AcirField;
use acir::brillig::{
    BitSize, ForeignCallParam, ForeignCallResult, HeapValueType, HeapVector, IntegerBitSize,
    MemoryAddress, Opcode as Brillig, ValueOrArray,
};
use acir::circuit::brillig::{BrilligBytecode, BrilligFunctionId, BrilligOutputs};
use acir::circuit::opcodes::{BlackBoxFuncCall, BlockId, BlockType, FunctionInput, MemOp};
use acir::circuit::{
    AssertionPayload, Circuit, ExpressionOrMemory, Opcode, OpcodeLocation, Program,
};
use acir::native_types::{Expression, Witness, WitnessMap};
use rollmill_acir::artifact::{Artifact, Function, Limits};
use rollmill_acir::solve::{NoOracles, OracleError, Oracles, SolveError, solve};
use serde_json::json;

use crate::artifact::{deflate, file};
use crate::support::{F, bytecode, circuit, expression, function, inputs};

/// The artifact of a program whose opcodes 0 and 1 come from two lines, the second through a call; opcode 6 of its
/// unconstrained function 0 comes from the first.
fn with_lines(program: &Program<F>) -> Function {
    let node = |parent: Option<u32>, start: u32, file: u32| {
        let span = json!({"start": start, "end": start});
        json!({"parent": parent, "value": {"span": span, "file": file}})
    };
    let nodes = [node(None, 0, 0), node(Some(0), 3, 50), node(Some(1), 8, 50)];
    let info = json!({"debug_infos": [{
        "brillig_locations": {"0": {"6": 1}},
        "location_tree": {"locations": nodes},
        "acir_locations": {"0": 1, "1": 2}}]});
    let mut file = file(&bytecode(program), &deflate(info.to_string().as_bytes()));
    file["abi"]["error_types"] = json!({
        "5": {"error_kind": "fmtstring", "length": 12, "item_types": [
            {"kind": "integer", "sign": "unsigned", "width": 32}]},
        "6": {"error_kind": "string", "string": "never zero"}});
    let json = file.to_string();
    let artifact = Artifact::parse(json.as_bytes(), &Limits::default()).unwrap();
    artifact.function("main").unwrap().clone()
}

fn program(circuit: Circuit<F>) -> Program<F> {
    Program { functions: vec![circuit], unconstrained_functions: Vec::new() }
}

fn message(function: &Function, values: &[u64]) -> String {
    let values: Vec<F> = values.iter().map(|value| F::from(*value)).collect();
    solve(function, inputs(&values), &mut NoOracles).unwrap_err().to_string()
}

#[test]
fn a_failed_assertion_says_what_the_program_says_and_where() {
    let is_seven = Opcode::AssertZero(expression(&[], &[(1, 0)], -7));
    let is_equal = Opcode::AssertZero(expression(&[], &[(1, 0), (-1, 1)], 0));
    let mut circuit = circuit(2, vec![is_seven, is_equal]);
    let text = b"{x} is wrong".iter();
    let mut payload: Vec<ExpressionOrMemory<F>> = text
        .map(|byte| F::from(u64::from(*byte)))
        .chain([F::one()])
        .map(|q_c| ExpressionOrMemory::Expression(Expression { q_c, ..Expression::default() }))
        .collect();
    payload.push(ExpressionOrMemory::Expression(Expression::from(Witness(0))));
    let payload = AssertionPayload { error_selector: 5, payload };
    circuit.assert_messages = vec![(OpcodeLocation::Acir(0), payload)];
    let function = with_lines(&program(circuit));
    assert_eq!(
        message(&function, &[8, 8]),
        "ACR-022: the program rejects its inputs: 8 is wrong (at src/main.nr:1:4)"
    );
    assert_eq!(
        message(&function, &[7, 8]),
        "ACR-022: the program rejects its inputs: a constraint is not satisfied (at src/main.nr:1:9, \
         called at src/main.nr:1:4)"
    );
    assert!(solve(&function, inputs(&[F::from(7u128); 2]), &mut NoOracles).is_ok());
}

#[test]
fn an_index_out_of_bounds_and_a_missing_input_are_told_apart() {
    let block_id = BlockId::new(0);
    let cells = vec![Witness(1)];
    let function = function(circuit(
        2,
        vec![
            Opcode::MemoryInit { block_id, init: cells, block_type: BlockType::Memory },
            Opcode::MemoryOp { block_id, op: MemOp::read_at_mem_index(Witness(0), Witness(2)) },
        ],
    ));
    let text = message(&function, &[1, 5]);
    assert!(text.contains("an array of 1") && text.ends_with("(opcode 1)"), "{text}");
    let error = solve(&function, WitnessMap::new(), &mut NoOracles).unwrap_err();
    assert!(matches!(error, SolveError::Unsolvable(_)), "{error}");
}

fn at(address: u32) -> MemoryAddress {
    MemoryAddress::direct(address)
}

fn constant(to: u32, value: u64, bit_size: BitSize) -> Brillig<F> {
    Brillig::Const { destination: at(to), bit_size, value: F::from(value) }
}

const ADDRESS: BitSize = BitSize::Integer(IntegerBitSize::U32);

/// A circuit that calls an unconstrained function without inputs for `w0`.
fn calls(bytecode: Vec<Brillig<F>>) -> Program<F> {
    let call = Opcode::BrilligCall {
        id: BrilligFunctionId::new(0),
        inputs: Vec::new(),
        outputs: vec![BrilligOutputs::Simple(Witness(0))],
        predicate: Expression { q_c: F::one(), ..Expression::default() },
    };
    let function = BrilligBytecode { function_name: "hint".to_owned(), bytecode };
    Program { functions: vec![circuit(0, vec![call])], unconstrained_functions: vec![function] }
}

#[test]
fn a_failure_of_an_unconstrained_function_says_where_it_is_and_who_called_it() {
    let selector = BitSize::Integer(IntegerBitSize::U64);
    let mut bytecode =
        vec![constant(0, 6, selector), constant(1, 1, ADDRESS), constant(2, 0, ADDRESS)];
    // Three that do nothing, so that the trap is opcode 6.
    bytecode.extend((0..3).map(|_| constant(9, 0, ADDRESS)));
    bytecode.push(Brillig::Trap { revert_data: HeapVector { pointer: at(2), size: at(1) } });
    let function = with_lines(&calls(bytecode));
    assert_eq!(
        message(&function, &[]),
        "ACR-022: the program rejects its inputs: never zero (at src/main.nr:1:4, called at \
         src/main.nr:1:4)"
    );
}

/// Answers one oracle with a number, and counts how often it was asked.
#[derive(Default)]
struct Numbers {
    asked: BTreeMap<String, usize>,
}

impl Oracles for Numbers {
    fn call(
        &mut self,
        name: &str,
        inputs: &[ForeignCallParam<F>],
    ) -> Result<ForeignCallResult<F>, OracleError> {
        assert!(inputs.is_empty());
        *self.asked.entry(name.to_owned()).or_default() += 1;
        match name {
            "number" => {
                Ok(ForeignCallResult { values: vec![ForeignCallParam::Single(F::from(42u64))] })
            }
            _ => {
                let reason = "it is asleep".to_owned();
                Err(OracleError::Failed { name: name.to_owned(), reason })
            }
        }
    }
}

fn asks(name: &str) -> Function {
    let call = Brillig::ForeignCall {
        function: name.to_owned(),
        destinations: vec![ValueOrArray::MemoryAddress(at(0))],
        destination_value_types: vec![HeapValueType::field()],
        inputs: Vec::new(),
        input_value_types: Vec::new(),
    };
    let stop = Brillig::Stop { return_data: HeapVector { pointer: at(2), size: at(1) } };
    let bytecode = vec![call, constant(1, 1, ADDRESS), constant(2, 0, ADDRESS), stop];
    let mut function = function(circuit(0, Vec::new()));
    function.program = calls(bytecode);
    function
}

#[test]
fn oracles_answer_by_name() {
    let mut oracles = Numbers::default();
    let witness = solve(&asks("number"), WitnessMap::new(), &mut oracles).unwrap();
    assert_eq!(witness.get(&Witness(0)), Some(&F::from(42u64)));
    assert_eq!(oracles.asked, BTreeMap::from([("number".to_owned(), 1)]));
    let error = solve(&asks("other"), WitnessMap::new(), &mut oracles).unwrap_err();
    assert_eq!(error.to_string(), "ACR-021: oracle \"other\": it is asleep");
    let error = solve(&asks("other"), WitnessMap::new(), &mut NoOracles).unwrap_err();
    assert_eq!(error.code(), "ACR-020", "{error}");
}

#[test]
fn a_panic_of_the_solver_is_an_error() {
    let one = FunctionInput::Constant(F::one());
    let call = BlackBoxFuncCall::MultiScalarMul {
        points: vec![one; 2],
        scalars: vec![one; 3],
        predicate: one,
        outputs: (Witness(0), Witness(1)),
    };
    let function = function(circuit(0, vec![Opcode::BlackBoxFuncCall(call)]));
    let error = solve(&function, WitnessMap::new(), &mut NoOracles).unwrap_err();
    assert!(matches!(error, SolveError::Panicked(_)), "{error}");
    // An unconstrained function that jumps out of its code.
    let mut function = function;
    function.program = calls(vec![Brillig::Jump { location: 99 }]);
    assert!(solve(&function, WitnessMap::new(), &mut NoOracles).is_err());
}
