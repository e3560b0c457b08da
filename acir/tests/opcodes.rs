//! The opcodes that every program has: each one's rows hold for exactly the witnesses for which the opcode does.

use acir::AcirField;
use acir::brillig::{
    BinaryFieldOp, BitSize, HeapVector, IntegerBitSize, MemoryAddress, Opcode as Brillig,
};
use acir::circuit::Opcode;
use acir::circuit::brillig::{BrilligBytecode, BrilligFunctionId, BrilligInputs, BrilligOutputs};
use acir::circuit::opcodes::{BlackBoxFuncCall, BlockId, BlockType, FunctionInput, MemOp};
use acir::native_types::{Expression, Witness};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_acir::lower::{DATABUS_DOMAIN, public_inputs};
use rollmill_algebra::poseidon2;

use crate::support::{F, circuit, compare, expression, function, laid_out};

fn numbers(values: &[u64]) -> Vec<F> {
    values.iter().map(|value| F::from(*value)).collect()
}

fn range(witness: u32, num_bits: u32) -> Opcode<F> {
    let input = FunctionInput::Witness(Witness(witness));
    Opcode::BlackBoxFuncCall(BlackBoxFuncCall::RANGE { input, num_bits })
}

fn logic(
    xor: bool,
    lhs: FunctionInput<F>,
    rhs: FunctionInput<F>,
    num_bits: u32,
    output: u32,
) -> Opcode<F> {
    let output = Witness(output);
    Opcode::BlackBoxFuncCall(match xor {
        true => BlackBoxFuncCall::XOR { lhs, rhs, num_bits, output },
        false => BlackBoxFuncCall::AND { lhs, rhs, num_bits, output },
    })
}

#[test]
fn sums_of_products_hold_as_they_are_read() {
    // Every product of two parameters.
    let wide: Vec<(i64, u32, u32)> = (0..16u32).map(|i| (i64::from(i) + 1, i / 4, i % 4)).collect();
    let opcodes = vec![
        Opcode::AssertZero(expression(&[(1, 0, 1)], &[(-2, 2), (-1, 4)], 0)),
        Opcode::AssertZero(expression(&wide, &[(5, 0), (7, 1), (1, 2), (3, 3), (-1, 5)], -9)),
        // A bit, with its coefficients split, and terms that cancel.
        Opcode::AssertZero(expression(
            &[(1, 3, 3), (1, 3, 3)],
            &[(-1, 3), (3, 0), (-1, 3), (-3, 0)],
            0,
        )),
    ];
    compare(&function(circuit(4, opcodes)), &numbers(&[3, 4, 5, 1]), 60);
}

#[test]
fn ranges_hold_as_they_are_read() {
    for bits in [0, 1, 2, 8, 31, 32, 33, 64, 126, 128, 222, 248, 250, 253, 254, 300] {
        let opcodes = vec![range(0, bits)];
        compare(&function(circuit(1, opcodes)), &numbers(&[0]), 8);
        // A value with as many bits.
        if (1..=253).contains(&bits) {
            let top = F::from(2u128).pow(&F::from(u128::from(bits - 1)));
            compare(&function(circuit(1, vec![range(0, bits)])), &[top], 8);
        }
    }
    // A constant has a range as well.
    let input = FunctionInput::Constant(F::from(255u128));
    let opcode = Opcode::BlackBoxFuncCall(BlackBoxFuncCall::RANGE { input, num_bits: 8 });
    compare(&function(circuit(1, vec![opcode])), &numbers(&[1]), 2);
}

#[test]
fn and_and_xor_hold_as_they_are_read() {
    let witness = |number| FunctionInput::Witness(Witness(number));
    for bits in [1, 8, 32, 64, 128] {
        for xor in [false, true] {
            let mask = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
            let values = [
                0x1234_5678_9abc_def0_0fed_cba9_8765_4321 & mask,
                0xff00_ff00_1111_2222_3333_4444_5555_6667 & mask,
            ];
            let opcodes = vec![
                logic(xor, witness(0), witness(1), bits, 2),
                // With a constant, and an output that is there already.
                logic(xor, witness(0), FunctionInput::Constant(F::from(values[1])), bits, 2),
                logic(!xor, witness(0), witness(0), bits, 3),
            ];
            compare(&function(circuit(2, opcodes)), &values.map(F::from), 24);
        }
    }
}

#[test]
fn poseidon2_holds_as_it_is_read() {
    let inputs = (0..4).map(|number| FunctionInput::Witness(Witness(number))).collect();
    let outputs = (4..8).map(Witness).collect();
    let call = BlackBoxFuncCall::Poseidon2Permutation { inputs, outputs };
    let witness = compare(
        &function(circuit(4, vec![Opcode::BlackBoxFuncCall(call)])),
        &numbers(&[1, 2, 3, 4]),
        40,
    );
    let mut state = [1u64, 2, 3, 4].map(rollmill_algebra::Fr::from);
    poseidon2::permute(&mut state);
    assert_eq!(witness.get(&Witness(4)).unwrap().into_repr(), state[0]);
}

fn init(block: u32, cells: &[u32], block_type: BlockType) -> Opcode<F> {
    let init = cells.iter().map(|cell| Witness(*cell)).collect();
    Opcode::MemoryInit { block_id: BlockId::new(block), init, block_type }
}

fn access(block: u32, op: MemOp) -> Opcode<F> {
    Opcode::MemoryOp { block_id: BlockId::new(block), op }
}

#[test]
fn reads_of_an_array_hold_as_they_are_read() {
    let read = |index, value| access(0, MemOp::read_at_mem_index(Witness(index), Witness(value)));
    let opcodes = vec![
        init(0, &[0, 1, 2], BlockType::Memory),
        read(3, 5),
        read(4, 6),
        read(3, 7),
        // A block that nothing reads takes no rows.
        init(1, &[0, 1], BlockType::Memory),
    ];
    compare(&function(circuit(5, opcodes)), &numbers(&[10, 20, 30, 2, 0]), 60);
}

#[test]
fn accesses_to_arrays_that_are_written_hold_as_they_are_read() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..6 {
        // Parameters 0 to 3 are indices, 4 to 7 values; the blocks have four and two cells.
        let mut opcodes =
            vec![init(3, &[4, 5, 6, 7], BlockType::Memory), init(9, &[4, 5], BlockType::Memory)];
        let mut next = 8;
        for _ in 0..12 {
            let (block, indices) = if rng.gen_bool(0.6) { (3, 4) } else { (9, 2) };
            let index = Witness(rng.gen_range(0..indices));
            let op = match rng.gen_bool(0.4) {
                true => MemOp::write_to_mem_index(index, Witness(rng.gen_range(4..next))),
                false => {
                    next += 1;
                    MemOp::read_at_mem_index(index, Witness(next - 1))
                }
            };
            opcodes.push(access(block, op));
        }
        let values = numbers(&[0, 1, 2, 3, 100, 101, 102, 103]);
        compare(&function(circuit(8, opcodes)), &values, 30);
    }
}

/// A function that is not constrained: one divided by its input, with the constraint that makes it the inverse.
#[test]
fn outputs_of_unconstrained_functions_are_hints() {
    let at = MemoryAddress::direct;
    let constant = |to: u32, value: u64, bit_size: BitSize| Brillig::Const {
        destination: at(to),
        bit_size,
        value: F::from(value),
    };
    let address = BitSize::Integer(IntegerBitSize::U32);
    let bytecode = vec![
        constant(20, 1, address),
        constant(21, 0, address),
        Brillig::CalldataCopy {
            destination_address: at(0),
            size_address: at(20),
            offset_address: at(21),
        },
        constant(2, 1, BitSize::Field),
        Brillig::BinaryFieldOp {
            destination: at(1),
            op: BinaryFieldOp::Div,
            lhs: at(2),
            rhs: at(0),
        },
        constant(22, 1, address),
        constant(23, 1, address),
        Brillig::Stop { return_data: HeapVector { pointer: at(23), size: at(22) } },
    ];
    let call = Opcode::BrilligCall {
        id: BrilligFunctionId::new(0),
        inputs: vec![BrilligInputs::Single(Expression::from(Witness(0)))],
        outputs: vec![BrilligOutputs::Simple(Witness(1))],
        predicate: Expression { q_c: F::one(), ..Expression::default() },
    };
    let inverse = Opcode::AssertZero(expression(&[(1, 0, 1)], &[], -1));
    let mut function = function(circuit(1, vec![call.clone(), inverse]));
    let unconstrained = BrilligBytecode { function_name: "invert".to_owned(), bytecode };
    function.program.unconstrained_functions = vec![unconstrained];
    compare(&function, &numbers(&[5]), 20);
    // Without the constraint any hint is as good.
    function.program.functions = vec![circuit(1, vec![call])];
    compare(&function, &numbers(&[5]), 10);
}

#[test]
fn public_inputs_are_parameters_then_outputs_then_digests_of_the_databus() {
    let product = Opcode::AssertZero(expression(&[(1, 0, 1)], &[(-1, 3)], 0));
    let mut circuit = circuit(
        2,
        vec![
            product,
            init(0, &[0, 1], BlockType::CallData(0)),
            init(1, &[3], BlockType::ReturnData),
        ],
    );
    circuit.public_parameters.0 = [Witness(2), Witness(1)].into();
    circuit.private_parameters = [Witness(0)].into();
    circuit.return_values.0 = [Witness(3), Witness(1)].into();
    assert_eq!(public_inputs(&circuit), 6);
    let witness = compare(&function(circuit.clone()), &numbers(&[6, 7, 8]), 30);
    let (_, rows) = laid_out(&circuit, Some(&witness));
    let [six, seven, eight, product] = [6u64, 7, 8, 42].map(rollmill_algebra::Fr::from);
    let digests =
        [&[six, seven][..], &[product]].map(|cells| poseidon2::hash(DATABUS_DOMAIN, cells));
    assert_eq!(rows.public, [seven, eight, seven, product, digests[0], digests[1]]);
}
