//! Circuits and artifacts made by hand: the tests need no compiler of Noir.

use std::collections::BTreeMap;

use acir::circuit::{Circuit, Opcode, Program, PublicInputs};
use acir::native_types::{Expression, Witness, WitnessMap};
use acir::{AcirField, FieldElement, SerializationFormat};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_acir::artifact::{DebugInfo, Function};
use rollmill_acir::lower::{Options, lower};
use rollmill_acir::plain::broken;
use rollmill_acir::solve::{NoOracles, solve};
use rollmill_plonk::check::check;
use rollmill_plonk::layout::{Layout, Witness as Rows};

pub(crate) type F = FieldElement;

/// A circuit whose parameters, all private, are the first witnesses.
pub(crate) fn circuit(parameters: u32, opcodes: Vec<Opcode<F>>) -> Circuit<F> {
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
pub(crate) fn function(circuit: Circuit<F>) -> Function {
    Function {
        name: "main".to_owned(),
        program: Program { functions: vec![circuit], unconstrained_functions: Vec::new() },
        errors: BTreeMap::new(),
        debug: DebugInfo::default(),
    }
}

/// `Σ q · a · b + Σ q · a + constant`, with numbers of witnesses.
pub(crate) fn expression(
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
pub(crate) fn bytecode(program: &Program<F>) -> Vec<u8> {
    Program::serialize_program_with_format(program, SerializationFormat::MsgpackCompact)
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The values of the first witnesses.
pub(crate) fn inputs(values: &[F]) -> WitnessMap<F> {
    let numbered = values.iter().enumerate().map(|(i, value)| (Witness(i as u32), *value));
    WitnessMap::from(numbered.collect::<BTreeMap<_, _>>())
}

/// The circuit with this witness in rows of small cells, with outputs of their own.
pub(crate) fn laid_out(circuit: &Circuit<F>, witness: Option<&WitnessMap<F>>) -> (Layout, Rows) {
    let options = Options { cell_bits: 8, own_outputs: true, ..Options::default() };
    lower(circuit, witness, &options).unwrap().builder.finish(None).unwrap()
}

/// Whether the rows hold.
pub(crate) fn holds(circuit: &Circuit<F>, witness: &WitnessMap<F>) -> bool {
    let (layout, rows) = laid_out(circuit, Some(witness));
    check(&layout, &rows).is_ok()
}

/// Solves a function, and compares the rows with the plain reading: for the solver's witness, and for `changes`
/// witnesses with a value that is changed.
pub(crate) fn compare(function: &Function, values: &[F], changes: usize) -> WitnessMap<F> {
    let witness = solve(function, inputs(values), &mut NoOracles).unwrap();
    let circuit = function.circuit().unwrap();
    assert_eq!(broken(circuit, &witness), None, "the solver's witness, read plainly");
    let (layout, rows) = laid_out(circuit, Some(&witness));
    check(&layout, &rows).unwrap();
    let (without, _) = laid_out(circuit, None);
    assert_eq!(layout.fingerprint(), without.fingerprint(), "the rows depend on the witness");
    let seed: u64 = rand::random();
    println!("seed {seed}, {} rows", layout.rows_used);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let all: Vec<(Witness, F)> = witness.clone().into_iter().collect();
    for change in 0..changes {
        // Each witness comes first once, so that small circuits have each of them changed.
        let (name, value) =
            all[if change < all.len() { change } else { rng.gen_range(0..all.len()) }];
        let other = all[rng.gen_range(0..all.len())].1;
        let changed = match rng.gen_range(0..6) {
            0 => value + F::one(),
            1 => value - F::one(),
            2 => -value,
            3 => value + F::from(1u128 << rng.gen_range(0..127)),
            4 => other,
            _ => F::from(rng.r#gen::<u128>()),
        };
        let mut witness = witness.clone();
        witness.insert(name, changed);
        let plain = broken(circuit, &witness);
        let ours = holds(circuit, &witness);
        assert_eq!(
            ours,
            plain.is_none(),
            "{name} changed from {value} to {changed}; plainly {plain:?}"
        );
    }
    witness
}
