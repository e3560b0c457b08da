//! A program from its artifact to a proof.

use acir::circuit::opcodes::{BlackBoxFuncCall, BlockId, BlockType, FunctionInput, MemOp};
use acir::circuit::{Opcode, Program};
use acir::native_types::Witness;
use rollmill_acir::artifact::{Artifact, Limits};
use rollmill_acir::lower::{Options, lower};
use rollmill_acir::solve::{NoOracles, solve};
use rollmill_algebra::{CpuDevice, Fr, poseidon2};
use rollmill_plonk::check::check;
use rollmill_plonk::conformance::Ready;

use crate::artifact::file;
use crate::support::{F, bytecode, circuit, expression, inputs};

/// `y = a[i] · x`, written to the array and read again, with `i` and `x` of 8 bits and `y` public.
fn program() -> Program<F> {
    let range = |witness: u32| {
        let input = FunctionInput::Witness(Witness(witness));
        Opcode::BlackBoxFuncCall(BlackBoxFuncCall::RANGE { input, num_bits: 8 })
    };
    let block_id = BlockId::new(0);
    let (index, x, product, again) = (Witness(3), Witness(4), Witness(6), Witness(7));
    let mut circuit = circuit(
        5,
        vec![
            range(3),
            range(4),
            Opcode::MemoryInit {
                block_id,
                init: vec![Witness(0), Witness(1), Witness(2)],
                block_type: BlockType::Memory,
            },
            Opcode::MemoryOp { block_id, op: MemOp::read_at_mem_index(index, Witness(5)) },
            Opcode::AssertZero(expression(&[(1, 5, x.0)], &[(-1, product.0)], 0)),
            Opcode::MemoryOp { block_id, op: MemOp::write_to_mem_index(index, product) },
            Opcode::MemoryOp { block_id, op: MemOp::read_at_mem_index(index, again) },
        ],
    );
    circuit.return_values.0 = [again].into();
    Program { functions: vec![circuit], unconstrained_functions: Vec::new() }
}

#[test]
fn a_program_is_proven_with_a_key_that_needs_no_inputs() {
    let json = file(&bytecode(&program()), &[]).to_string();
    let artifact = Artifact::parse(json.as_bytes(), &Limits::default()).unwrap();
    let main = artifact.function("main").unwrap();
    let values = [10u64, 20, 30, 1, 7].map(F::from);
    let witness = solve(main, inputs(&values), &mut NoOracles).unwrap();
    let options = Options { cell_bits: 8, ..Options::default() };
    let circuit = main.circuit().unwrap();
    let key = lower(circuit, None, &options).unwrap().builder.layout(None).unwrap();
    let lowered = lower(circuit, Some(&witness), &options).unwrap();
    for (kind, cost) in &lowered.costs {
        println!("{kind}: {} opcodes, {} rows", cost.opcodes, cost.rows);
    }
    let (layout, rows) = lowered.builder.finish(None).unwrap();
    assert_eq!(layout.fingerprint(), key.fingerprint());
    check(&layout, &rows).unwrap();
    assert_eq!(rows.public, [Fr::from(140u64)]);
    let device = CpuDevice::default();
    // It verifies each proof that it makes.
    Ready::new(&device, (layout, rows), 0).prove().unwrap();
}

#[test]
fn a_witness_without_all_values_does_not_hold() {
    let main = program();
    let values = [10u64, 20, 30, 1, 7].map(F::from);
    // Nothing but the parameters: every other witness counts as zero.
    let parameters = inputs(&values);
    let lowered = lower(&main.functions[0], Some(&parameters), &Options::default()).unwrap();
    let (layout, rows) = lowered.builder.finish(None).unwrap();
    assert!(check(&layout, &rows).is_err());
}

#[test]
fn an_output_is_what_its_opcode_computes_whatever_the_witness_says() {
    let call = BlackBoxFuncCall::Poseidon2Permutation {
        inputs: (0..4).map(|number| FunctionInput::Witness(Witness(number))).collect(),
        outputs: (4..8).map(Witness).collect(),
    };
    let mut circuit = circuit(4, vec![Opcode::BlackBoxFuncCall(call)]);
    circuit.return_values.0 = [Witness(4)].into();
    let values = [1u64, 2, 3, 4, 999].map(F::from);
    let claimed = inputs(&values);
    let lowered = lower(&circuit, Some(&claimed), &Options::default()).unwrap();
    let (layout, rows) = lowered.builder.finish(None).unwrap();
    check(&layout, &rows).unwrap();
    let mut state = [1u64, 2, 3, 4].map(Fr::from);
    poseidon2::permute(&mut state);
    assert_eq!(rows.public, [state[0]]);
    // With outputs of their own, the claim is what the rows are about, and they do not hold.
    let options = Options { own_outputs: true, ..Options::default() };
    let lowered = lower(&circuit, Some(&claimed), &options).unwrap();
    let (layout, rows) = lowered.builder.finish(None).unwrap();
    assert!(check(&layout, &rows).is_err());
}
