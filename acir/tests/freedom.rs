//! What a prover may choose: the dimension of first-order changes of a witness that keep every equation.
//!
//! A constraint that goes missing leaves a freedom, whichever cells it joined. Words by bits have none, since no small
//! change of a bit is a bit. Ranges and tables are not seen here; their gadgets have tests of their own.

use acir::circuit::opcodes::{BlackBoxFuncCall, FunctionInput};
use acir::circuit::{Circuit, Opcode};
use acir::native_types::Witness;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_grumpkin::{Affine, Projective};
use rollmill_acir::solve::{NoOracles, solve};
use rollmill_plonk::analysis::freedom;

use crate::support::{F, circuit, expression, function, inputs, laid_out};

/// Freedoms of a circuit at the witness of these parameters.
fn free(circuit: Circuit<F>, values: &[F]) -> usize {
    let function = function(circuit);
    let witness = solve(&function, inputs(values), &mut NoOracles).unwrap();
    let (layout, rows) = laid_out(function.circuit().unwrap(), Some(&witness));
    let found = freedom::of(&layout, &rows).unwrap();
    // An inverse of zero is in no derivative.
    found.free.len() + found.unmentioned.len()
}

fn of_call(call: BlackBoxFuncCall<F>, values: &[F]) -> usize {
    free(circuit(values.len() as u32, vec![Opcode::BlackBoxFuncCall(call)]), values)
}

fn numbers(values: impl IntoIterator<Item = u64>) -> Vec<F> {
    values.into_iter().map(F::from).collect()
}

fn witnesses<const N: usize>(from: u32) -> Box<[FunctionInput<F>; N]> {
    Box::new(std::array::from_fn(|i| FunctionInput::Witness(Witness(from + i as u32))))
}

fn outputs<const N: usize>(from: u32) -> Box<[Witness; N]> {
    Box::new(std::array::from_fn(|i| Witness(from + i as u32)))
}

#[test]
fn of_a_sum_only_the_parameters_are_free() {
    let wide: Vec<(i64, u32, u32)> = (0..9u32).map(|i| (i64::from(i) + 1, i / 3, i % 3)).collect();
    let opcodes = vec![
        Opcode::AssertZero(expression(&wide, &[(5, 0), (7, 1), (1, 2), (-1, 3)], -9)),
        Opcode::AssertZero(expression(&[(1, 3, 0)], &[(2, 1), (-1, 4)], 1)),
    ];
    assert_eq!(free(circuit(3, opcodes), &numbers([3, 4, 5])), 3);
}

#[test]
fn of_a_permutation_only_the_state_is_free() {
    let call = BlackBoxFuncCall::Poseidon2Permutation {
        inputs: witnesses::<4>(0).to_vec(),
        outputs: outputs::<4>(4).to_vec(),
    };
    assert_eq!(of_call(call, &numbers([1, 2, 3, 4])), 4);
}

#[test]
fn functions_of_words_leave_nothing_free() {
    let [lhs, rhs] = *witnesses::<2>(0);
    let output = Witness(2);
    for call in [
        BlackBoxFuncCall::AND { lhs, rhs, num_bits: 32, output },
        BlackBoxFuncCall::XOR { lhs, rhs, num_bits: 32, output },
    ] {
        assert_eq!(of_call(call, &numbers([0xdead_beef, 0x1234_5678])), 0);
    }
    let call = BlackBoxFuncCall::Sha256Compression {
        inputs: witnesses(0),
        hash_values: witnesses(16),
        outputs: outputs(24),
    };
    assert_eq!(of_call(call, &numbers((0..24).map(|i| i * 0x1111_1111 % 0xffff_fffb))), 0);
    let call =
        BlackBoxFuncCall::Blake2s { inputs: witnesses::<3>(0).to_vec(), outputs: outputs(3) };
    assert_eq!(of_call(call, &numbers([97, 98, 99])), 0);
    let call = BlackBoxFuncCall::Blake3 { inputs: witnesses::<3>(0).to_vec(), outputs: outputs(3) };
    assert_eq!(of_call(call, &numbers([97, 98, 99])), 0);
}

fn times(scalar: u64) -> Affine {
    (Projective::generator() * ark_grumpkin::Fr::from(scalar)).into_affine()
}

/// Each point has one freedom, along the curve. An inverse of zero is a hint that nothing reads, and so is the slope of
/// opposite points.
#[test]
fn of_a_sum_of_points_only_the_points_are_free() {
    let opposite = (-times(5).into_group()).into_affine();
    for (p, q, expected, why) in [
        (times(5), times(7), 2, "two points"),
        (times(5), times(5), 2, "a point twice, and one inverse of zero"),
        (times(5), opposite, 4, "a point and its opposite, two inverses of zero, and a slope"),
    ] {
        let coordinates = |point: &Affine| {
            let (x, y) = point.xy().unwrap();
            [F::from_repr(x), F::from_repr(y)]
        };
        let values = [coordinates(&p), coordinates(&q)].concat();
        let call = BlackBoxFuncCall::EmbeddedCurveAdd {
            input1: witnesses(0),
            input2: witnesses(2),
            predicate: FunctionInput::Constant(F::from(1u128)),
            outputs: (Witness(4), Witness(5)),
        };
        assert_eq!(of_call(call, &values), expected, "{why}");
    }
}
