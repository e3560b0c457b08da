//! Programs that no compiler writes, or that are not supported: errors with the opcode's number, never a panic.

use acir::AcirField;
use acir::circuit::Opcode;
use acir::circuit::opcodes::{
    AcirFunctionId, BlackBoxFuncCall, BlockId, BlockType, FunctionInput, MemOp,
};
use acir::native_types::{Expression, Witness};
use rollmill_acir::artifact::ArtifactError;
use rollmill_acir::lower::{LowerError, Options, lower};

use crate::support::{F, circuit, expression, function};

fn error(opcode: Opcode<F>) -> LowerError {
    let first = Opcode::AssertZero(expression(&[], &[(1, 0)], 0));
    lower(&circuit(1, vec![first, opcode]), None, &Options::default()).unwrap_err()
}

fn call(call: BlackBoxFuncCall<F>) -> Opcode<F> {
    Opcode::BlackBoxFuncCall(call)
}

fn witness(number: u32) -> FunctionInput<F> {
    FunctionInput::Witness(Witness(number))
}

fn constant(value: u64) -> FunctionInput<F> {
    FunctionInput::Constant(F::from(value))
}

fn add(x: FunctionInput<F>, y: FunctionInput<F>, predicate: FunctionInput<F>) -> Opcode<F> {
    let input2 = Box::new([witness(2), witness(3)]);
    let outputs = (Witness(4), Witness(5));
    call(BlackBoxFuncCall::EmbeddedCurveAdd {
        input1: Box::new([x, y]),
        input2,
        predicate,
        outputs,
    })
}

fn multiply(points: u32, scalars: u32) -> Opcode<F> {
    let inputs = |count: u32| (0..count).map(witness).collect();
    call(BlackBoxFuncCall::MultiScalarMul {
        points: inputs(points),
        scalars: inputs(scalars),
        predicate: constant(1),
        outputs: (Witness(8), Witness(9)),
    })
}

#[test]
fn malformed_opcodes_are_errors() {
    let init = Opcode::MemoryInit {
        block_id: BlockId::new(0),
        init: vec![Witness(0)],
        block_type: BlockType::Memory,
    };
    let op = MemOp::read_at_mem_index(Witness(0), Witness(1));
    let poseidon = |inputs: u32, outputs: u32| {
        call(BlackBoxFuncCall::Poseidon2Permutation {
            inputs: (0..inputs).map(witness).collect(),
            outputs: (0..outputs).map(Witness).collect(),
        })
    };
    let aes = |text: u32, outputs: u32| {
        call(BlackBoxFuncCall::AES128Encrypt {
            inputs: (0..text).map(witness).collect(),
            iv: Box::new([witness(0); 16]),
            key: Box::new([witness(0); 16]),
            outputs: (0..outputs).map(Witness).collect(),
        })
    };
    for opcode in [
        Opcode::MemoryOp { block_id: BlockId::new(7), op },
        poseidon(3, 4),
        poseidon(4, 3),
        aes(15, 15),
        aes(16, 15),
        add(constant(1), constant(1), constant(1)),
        add(constant(1), witness(1), constant(1)),
        add(witness(0), witness(1), constant(0)),
        add(witness(0), witness(1), constant(2)),
        multiply(0, 0),
        multiply(2, 4),
        multiply(3, 3),
    ] {
        let text = format!("{opcode:?}");
        let error = error(opcode);
        assert!(matches!(error, LowerError::Malformed { opcode: 1, .. }), "{text}: {error}");
    }
    let twice = circuit(1, vec![init.clone(), init]);
    let error = lower(&twice, None, &Options::default()).unwrap_err();
    assert_eq!(error.code(), "ACR-041", "{error}");
}

#[test]
fn what_is_not_supported_is_named() {
    let logic = |num_bits: u32| {
        call(BlackBoxFuncCall::AND {
            lhs: witness(0),
            rhs: witness(0),
            num_bits,
            output: Witness(1),
        })
    };
    let recursion = call(BlackBoxFuncCall::RecursiveAggregation {
        verification_key: Vec::new(),
        proof: Vec::new(),
        public_inputs: Vec::new(),
        key_hash: witness(0),
        proof_type: 0,
        predicate: constant(1),
    });
    let other = Opcode::Call {
        id: AcirFunctionId::new(1),
        inputs: Vec::new(),
        outputs: Vec::new(),
        predicate: Expression { q_c: F::one(), ..Expression::default() },
    };
    for (opcode, name) in [
        (logic(0), "0 bits"),
        (logic(249), "249 bits"),
        (logic(u32::MAX), "bits"),
        (recursion, "recursive_aggregation"),
        (other, "another circuit"),
    ] {
        let error = error(opcode);
        assert!(matches!(error, LowerError::Unsupported { opcode: 1, .. }), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn a_program_of_several_circuits_or_of_none_is_an_error() {
    let mut function = function(circuit(1, Vec::new()));
    function.program.functions.push(circuit(1, Vec::new()));
    assert_eq!(function.circuit().unwrap_err(), ArtifactError::Circuits { count: 2 });
    function.program.functions.clear();
    assert_eq!(function.circuit().unwrap_err(), ArtifactError::Circuits { count: 0 });
}

#[test]
fn a_circuit_above_the_limit_of_rows_is_an_error_as_soon_as_it_is() {
    let keccak = call(BlackBoxFuncCall::Keccakf1600 {
        inputs: Box::new([witness(0); 25]),
        outputs: Box::new(std::array::from_fn(|i| Witness(i as u32 + 1))),
    });
    let circuit = circuit(1, vec![keccak; 1_000]);
    let options = Options { rows_max: 50_000, ..Options::default() };
    let error = lower(&circuit, None, &options).unwrap_err();
    assert_eq!(error, LowerError::TooManyRows { opcode: 0, opcodes: 1_000, limit: 50_000 });
}

/// A few bytes of bytecode for each input, and a gigabyte of rows for all: it must be rejected before they are laid out.
#[test]
fn an_opcode_of_a_million_inputs_is_an_error_at_once() {
    let input = witness(0);
    for opcode in [
        call(BlackBoxFuncCall::Blake3 {
            inputs: vec![input; 1_000_000],
            outputs: Box::new(std::array::from_fn(|i| Witness(i as u32 + 1))),
        }),
        call(BlackBoxFuncCall::MultiScalarMul {
            points: vec![input; 1_000_000],
            scalars: vec![input; 1_000_000],
            predicate: constant(1),
            outputs: (Witness(1), Witness(2)),
        }),
    ] {
        assert_eq!(error(opcode).code(), "ACR-042");
    }
}
