//! Hashes, ciphers and curves: rows, plain reading and Noir's solver agree, and changed values are rejected.
//!
//! The circuits are large, so few witnesses are changed in each run; the seed is printed.

use acir::AcirField;
use acir::circuit::Opcode;
use acir::circuit::opcodes::{BlackBoxFuncCall, FunctionInput};
use acir::native_types::Witness;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::UniformRand;
use ark_grumpkin::{Affine, Projective};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{F, circuit, compare, function, holds};

fn random() -> ChaCha8Rng {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Inputs that are the witnesses from `from` on.
fn inputs<const N: usize>(from: u32) -> Box<[FunctionInput<F>; N]> {
    Box::new(std::array::from_fn(|i| FunctionInput::Witness(Witness(from + i as u32))))
}

fn outputs<const N: usize>(from: u32) -> Box<[Witness; N]> {
    Box::new(std::array::from_fn(|i| Witness(from + i as u32)))
}

fn compare_call(call: BlackBoxFuncCall<F>, values: &[F], changes: usize) {
    let circuit = circuit(values.len() as u32, vec![Opcode::BlackBoxFuncCall(call)]);
    compare(&function(circuit), values, changes);
}

fn words(rng: &mut ChaCha8Rng, count: usize, bits: u32) -> Vec<F> {
    (0..count).map(|_| F::from(rng.r#gen::<u64>() >> (64 - bits))).collect()
}

#[test]
fn sha256_is_the_librarys() {
    let values = words(&mut random(), 24, 32);
    let call = BlackBoxFuncCall::Sha256Compression {
        inputs: inputs(0),
        hash_values: inputs(16),
        outputs: outputs(24),
    };
    compare_call(call, &values, 4);
}

#[test]
fn blake2s_is_the_librarys() {
    let mut rng = random();
    for (length, changes) in [(0, 1), (3, 3), (64, 0), (65, 1)] {
        let values = words(&mut rng, length, 8);
        let inputs = (0..length as u32).map(|i| FunctionInput::Witness(Witness(i))).collect();
        compare_call(
            BlackBoxFuncCall::Blake2s { inputs, outputs: outputs(length as u32) },
            &values,
            changes,
        );
    }
}

#[test]
fn blake3_is_the_librarys() {
    let mut rng = random();
    for (length, changes) in [(0, 1), (3, 3), (64, 0), (65, 0), (1025, 0)] {
        let values = words(&mut rng, length, 8);
        let inputs = (0..length as u32).map(|i| FunctionInput::Witness(Witness(i))).collect();
        compare_call(
            BlackBoxFuncCall::Blake3 { inputs, outputs: outputs(length as u32) },
            &values,
            changes,
        );
    }
}

#[test]
fn keccak_is_the_librarys() {
    let values = words(&mut random(), 25, 64);
    compare_call(
        BlackBoxFuncCall::Keccakf1600 { inputs: inputs(0), outputs: outputs(25) },
        &values,
        1,
    );
}

#[test]
fn aes_is_the_librarys() {
    let values = words(&mut random(), 64, 8);
    let all = |from: u32| (from..from + 32).map(|i| FunctionInput::Witness(Witness(i))).collect();
    let call = BlackBoxFuncCall::AES128Encrypt {
        inputs: all(32),
        iv: inputs(0),
        key: inputs(16),
        outputs: (64..96).map(Witness).collect(),
    };
    compare_call(call, &values, 6);
}

fn field(point: &Affine) -> [F; 2] {
    point.xy().map_or([F::zero(); 2], |(x, y)| [F::from_repr(x), F::from_repr(y)])
}

fn generator() -> Affine {
    Projective::generator().into_affine()
}

fn one() -> FunctionInput<F> {
    FunctionInput::Constant(F::one())
}

#[test]
fn sums_of_points_of_every_kind_are_the_librarys() {
    let random_point = Projective::rand(&mut random()).into_affine();
    let opposite = (-random_point.into_group()).into_affine();
    let points = [Affine::identity(), random_point, opposite, generator()];
    for p in &points {
        for q in &points {
            let values = [field(p), field(q)].concat();
            let call = |predicate| BlackBoxFuncCall::EmbeddedCurveAdd {
                input1: inputs(0),
                input2: inputs(2),
                predicate,
                outputs: (Witness(5), Witness(6)),
            };
            compare_call(call(one()), &values, 12);
            for on in [0u128, 1] {
                let values = [&values[..], &[F::from(on)]].concat();
                compare_call(call(FunctionInput::Witness(Witness(4))), &values, 14);
            }
        }
    }
    // A constant point, and one point twice.
    let [x, y] = field(&generator()).map(FunctionInput::Constant);
    let call = BlackBoxFuncCall::EmbeddedCurveAdd {
        input1: Box::new([x, y]),
        input2: inputs(0),
        predicate: one(),
        outputs: (Witness(2), Witness(3)),
    };
    compare_call(call, &field(&random_point), 8);
    let call = BlackBoxFuncCall::EmbeddedCurveAdd {
        input1: inputs(0),
        input2: inputs(0),
        predicate: one(),
        outputs: (Witness(2), Witness(3)),
    };
    compare_call(call, &field(&random_point), 8);
}

/// Two times nothing is nothing, so that only the range of the predicate rejects it.
#[test]
fn a_predicate_that_is_no_bit_is_rejected() {
    let predicate = FunctionInput::Witness(Witness(4));
    let outputs = (Witness(5), Witness(6));
    for call in [
        BlackBoxFuncCall::EmbeddedCurveAdd {
            input1: inputs(0),
            input2: inputs(2),
            predicate,
            outputs,
        },
        BlackBoxFuncCall::MultiScalarMul {
            points: inputs::<2>(0).to_vec(),
            scalars: inputs::<2>(2).to_vec(),
            predicate,
            outputs,
        },
    ] {
        let circuit = circuit(5, vec![Opcode::BlackBoxFuncCall(call)]);
        for (on, good) in [(0u128, true), (1, true), (2, false)] {
            let mut values = vec![F::zero(); 7];
            values[4] = F::from(on);
            assert_eq!(holds(&circuit, &crate::support::inputs(&values)), good, "predicate {on}");
        }
    }
}

/// A call that is switched off constrains none of its inputs.
#[test]
fn calls_that_are_switched_off_take_any_inputs() {
    let odd = [F::from(5u128), -F::one(), F::zero(), F::from(u128::MAX)];
    let call = BlackBoxFuncCall::EmbeddedCurveAdd {
        input1: inputs(0),
        input2: inputs(2),
        predicate: FunctionInput::Witness(Witness(4)),
        outputs: (Witness(5), Witness(6)),
    };
    compare_call(call, &[&odd[..], &[F::zero()]].concat(), 14);
    let call = BlackBoxFuncCall::MultiScalarMul {
        points: inputs::<2>(0).to_vec(),
        scalars: inputs::<2>(2).to_vec(),
        predicate: FunctionInput::Witness(Witness(4)),
        outputs: (Witness(5), Witness(6)),
    };
    compare_call(call, &[&odd[..], &[F::zero()]].concat(), 14);
}

#[test]
fn products_of_points_and_scalars_are_the_librarys() {
    let mut rng = random();
    let half = |rng: &mut ChaCha8Rng, bits: u32| F::from(rng.r#gen::<u128>() >> (128 - bits));
    for points in 1..=2u32 {
        let mut values = Vec::new();
        for _ in 0..points {
            values.extend(field(&Projective::rand(&mut rng).into_affine()));
        }
        for _ in 0..points {
            values.extend([half(&mut rng, 128), half(&mut rng, 125)]);
        }
        let all = |from: u32| {
            (from..from + 2 * points).map(|i| FunctionInput::Witness(Witness(i))).collect()
        };
        let outputs = (Witness(4 * points), Witness(4 * points + 1));
        let call = |predicate| BlackBoxFuncCall::MultiScalarMul {
            points: all(0),
            scalars: all(2 * points),
            predicate,
            outputs,
        };
        compare_call(call(one()), &values, 12);
    }
    // The constant generator, as contracts use it, and the identity with a scalar that is out of range or not.
    let [x, y] = field(&generator()).map(FunctionInput::Constant);
    let call = BlackBoxFuncCall::MultiScalarMul {
        points: vec![x, y],
        scalars: inputs::<2>(0).to_vec(),
        predicate: one(),
        outputs: (Witness(2), Witness(3)),
    };
    compare_call(call, &[half(&mut rng, 128), half(&mut rng, 120)], 8);
    let call = BlackBoxFuncCall::MultiScalarMul {
        points: inputs::<2>(0).to_vec(),
        scalars: inputs::<2>(2).to_vec(),
        predicate: FunctionInput::Witness(Witness(4)),
        outputs: (Witness(5), Witness(6)),
    };
    let scalar = [F::from(7u128), F::zero(), F::one()];
    compare_call(call, &[&[F::zero(); 2][..], &scalar].concat(), 14);
}
