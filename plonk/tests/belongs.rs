//! Things that do not belong together are rejected before any work: a key and a witness of two circuits, bases of
//! another SRS or size, variables of another builder, two variables for one public input.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use ark_ec::{AffineRepr, CurveGroup};
use rollmill_algebra::field::powers;
use rollmill_algebra::{CpuDevice, Fr, G1Affine};
use rollmill_plonk::G2Affine;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::key::{Bases, KeyError, ProvingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, LayoutError, Witness};
use rollmill_plonk::prover::{Blinding, ProveError, prove};
use rollmill_plonk::solidity;
use rollmill_plonk::srs::{EXTRA_POWERS, Origin, Srs};
use rollmill_plonk::transcript::TranscriptKind;

const KIND: TranscriptKind = TranscriptKind::Keccak;

/// Circuits of one size that differ in one thing each.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Other {
    Nothing,
    Values,
    /// One more variable that no cell uses.
    Unused,
    Coefficient,
    Wiring,
    PublicInput,
    Gate,
    Order,
}

fn circuit(other: Other, log_n: Option<u32>) -> (Layout, Witness) {
    let is = |what| other == what;
    let mut b = Builder::new(1, 4);
    let x = b.witness(Fr::from(if is(Other::Values) { 4u64 } else { 3 }));
    if is(Other::Unused) {
        b.witness(Fr::from(1u64));
    }
    let y = b.mul(x, x);
    let sum = |b: &mut Builder| {
        let terms =
            [(Fr::from(1u64), x), (Fr::from(if is(Other::Coefficient) { 3u64 } else { 2 }), y)];
        b.linear(&terms, Fr::from(0u64))
    };
    let early = is(Other::Order).then(|| sum(&mut b));
    let product = b.mul(y, if is(Other::Wiring) { y } else { x });
    let z = early.unwrap_or_else(|| sum(&mut b));
    let row = if is(Other::Gate) { FixedRow::vector([1, 0, 0, 0]) } else { FixedRow::blank() };
    b.raw_row([Builder::ZERO; 4], &row, [0; 8]);
    b.set_public(0, if is(Other::PublicInput) { product } else { z });
    b.finish(log_n).expect("fits")
}

/// An SRS of another secret than the development SRS.
fn other_srs(log_n: u32) -> Srs {
    let tau = Fr::from(0x5eed_5eedu64);
    let count = (1 << log_n) + EXTRA_POWERS;
    let point = |scalar: Fr| (G1Affine::generator() * scalar).into_affine();
    Srs {
        powers: powers(tau, count).into_iter().map(point).collect(),
        tau_g2: (G2Affine::generator() * tau).into_affine(),
        origin: Origin::Ceremony,
    }
}

struct Setting {
    device: CpuDevice,
    bases: Bases<CpuDevice>,
    key: ProvingKey<CpuDevice>,
}

fn bases(device: &CpuDevice, srs: &Srs, log_n: u32) -> Bases<CpuDevice> {
    Bases::new(device, srs, &srs.lagrange(log_n).unwrap()).unwrap()
}

fn setting(layout: &Layout, srs: &Srs) -> Setting {
    let device = CpuDevice::new(1);
    let bases = bases(&device, srs, layout.shape.log_n);
    let columns = layout.fixed_columns();
    let vk = setup(&device, &bases, srs.id(), layout.shape, &columns).unwrap();
    let key = ProvingKey::new(&device, vk, &columns).unwrap();
    Setting { device, bases, key }
}

impl Setting {
    fn prove(&self, bases: &Bases<CpuDevice>, witness: &Witness) -> Result<(), ProveError> {
        prove(&self.device, &self.key, bases, KIND, witness, Blinding::Off).map(|_| ())
    }
}

#[test]
fn a_key_proves_the_witnesses_of_its_own_circuit_only() {
    let (layout, _) = circuit(Other::Nothing, None);
    let own = setting(&layout, &Srs::development(layout.shape.log_n));
    for same in [Other::Nothing, Other::Values, Other::Unused] {
        assert_eq!(own.prove(&own.bases, &circuit(same, None).1), Ok(()), "{same:?}");
    }
    for other in [Other::Coefficient, Other::Wiring, Other::PublicInput, Other::Gate, Other::Order]
    {
        let (other_layout, witness) = circuit(other, None);
        assert_eq!(other_layout.shape, layout.shape, "{other:?}: sizes alone tell them apart");
        assert_eq!(own.prove(&own.bases, &witness), Err(ProveError::Circuit), "{other:?}");
    }
}

#[test]
fn a_key_is_used_with_bases_of_its_own_srs_and_size() {
    let (layout, witness) = circuit(Other::Nothing, None);
    let log_n = layout.shape.log_n;
    let srs = Srs::development(log_n + 1);
    let own = setting(&layout, &srs);
    for (srs, log_n) in [(&other_srs(log_n), log_n), (&srs, log_n + 1)] {
        let rejected = own.prove(&bases(&own.device, srs, log_n), &witness);
        assert!(matches!(rejected, Err(ProveError::Bases { .. })), "{log_n}: {rejected:?}");
    }
}

#[test]
fn keys_are_made_of_one_srs_and_one_shape() {
    let (layout, _) = circuit(Other::Nothing, None);
    let own = setting(&layout, &Srs::development(layout.shape.log_n));
    let (columns, other) = (layout.fixed_columns(), other_srs(layout.shape.log_n));
    let rejected = setup(&own.device, &own.bases, other.id(), layout.shape, &columns);
    assert!(matches!(rejected, Err(KeyError::OtherSrs { .. })), "{rejected:?}");
    // Larger bases have a commitment for each column as well, of another polynomial.
    let log_n = layout.shape.log_n;
    let srs = Srs::development(log_n + 1);
    for other in [log_n - 1, log_n + 1] {
        let other = bases(&own.device, &srs, other);
        let rejected = setup(&own.device, &other, srs.id(), layout.shape, &columns);
        assert!(matches!(rejected, Err(KeyError::OtherSize { .. })), "{rejected:?}");
    }
    let (larger, _) = circuit(Other::Nothing, Some(log_n + 1));
    let rejected = ProvingKey::new(&own.device, own.key.vk.clone(), &larger.fixed_columns());
    let rejected = rejected.map(|_| ());
    assert!(matches!(rejected, Err(KeyError::Shape { .. })), "{rejected:?}");
}

thread_local! {
    /// Whether this thread expects a panic.
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Installs one hook for the process, which records the panics that a thread expects and passes on the others: tests
/// of this file run in threads of one process.
fn record_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_EXPECTED.get() {
                return others(info);
            }
            let message = info.payload_as_str().unwrap_or_default().to_owned();
            let file = info.location().map(|at| at.file().to_owned()).unwrap_or_default();
            PANIC.with(|last| last.replace(Some((message, file))));
        }));
    });
}

/// The message of a panic, and the file that it points at.
fn panic_of(run: impl FnOnce()) -> (String, String) {
    record_panics();
    IS_EXPECTED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_EXPECTED.set(false);
    assert!(outcome.is_err(), "nothing panicked");
    PANIC.with(|last| last.take()).expect("the hook ran")
}

/// Every method of the builder that takes variables, in one circuit and in another.
#[test]
fn a_variable_of_another_builder_is_rejected_at_the_call() {
    type Call = fn(&mut Builder, Var, Var);
    let calls: [(&str, Call); 27] = [
        ("value", |b, _, v| _ = b.value(v)),
        ("set_public", |b, _, v| b.set_public(0, v)),
        ("raw_row", |b, o, v| _ = b.raw_row([o, o, v, o], &FixedRow::blank(), [0; 8])),
        ("full_row", |b, o, v| {
            let row = FixedRow::external([Fr::from(0u64); 8]);
            b.full_row([o, v, o, o], &row, [Fr::from(0u64); 8]);
        }),
        ("arith_row", |b, _, v| {
            b.arith_row([None, None, None, Some(v)], [Fr::from(0u64); 8], None)
        }),
        ("arith_row's next", |b, _, v| b.arith_row([None; 4], [Fr::from(0u64); 8], Some(v))),
        ("linear", |b, o, v| {
            _ = b.linear(&[(Fr::from(1u64), o), (Fr::from(1u64), v)], Fr::from(0u64))
        }),
        ("linear_into", |b, o, v| b.linear_into(&[(Fr::from(1u64), o)], Fr::from(0u64), v)),
        ("add", |b, o, v| _ = b.add(o, v)),
        ("sub", |b, o, v| _ = b.sub(v, o)),
        ("scale", |b, _, v| _ = b.scale(v, Fr::from(2u64), Fr::from(0u64))),
        ("mul", |b, o, v| _ = b.mul(o, v)),
        ("mul_add", |b, o, v| _ = b.mul_add(o, o, Fr::from(1u64), Some(v), Fr::from(0u64))),
        ("assert_equal", |b, o, v| b.assert_equal(o, v)),
        ("assert_constant", |b, _, v| b.assert_constant(v, Fr::from(1u64))),
        ("assert_bool", |b, _, v| b.assert_bool(v)),
        ("select's bit", |b, o, v| _ = b.select(v, o, o)),
        ("select", |b, o, v| _ = b.select(o, o, v)),
        ("inverse", |b, _, v| _ = b.inverse(v)),
        ("is_zero", |b, _, v| _ = b.is_zero(v)),
        ("range", |b, _, v| b.range(v, 8)),
        ("permute's state", |b, o, v| _ = b.permute([o, o, v, o], [o; 4])),
        ("permute's input", |b, o, v| _ = b.permute([o; 4], [o, v, o, o])),
        ("hash", |b, o, v| _ = b.hash(1, &[o, v])),
        ("rom_write", |b, o, v| b.rom_write(o, o, [o; 4], [o, o, v, o])),
        ("note_write", |b, o, v| b.note_write(0, o, v)),
        ("note_read", |b, o, v| b.note_read(0, v, o)),
    ];
    for (method, call) in calls {
        let (mut b, mut other) = (Builder::new(1, 4), Builder::new(1, 4));
        let own = b.witness(Fr::from(1u64));
        // The same number in both.
        let foreign = other.witness(Fr::from(1u64));
        call(&mut b, own, own);
        let mut b = Builder::new(1, 4);
        let own = b.witness(Fr::from(1u64));
        let (message, file) = panic_of(|| call(&mut b, own, foreign));
        assert!(message.contains("belongs to another builder"), "{method}: {message}");
        assert_eq!(file, file!(), "{method}");
    }
}

/// Mistakes of the code that generates a contract, which a compiler would report much later or never.
#[test]
fn a_contract_has_a_name_and_its_carried_pair_among_its_inputs() {
    let (layout, _) = circuit(Other::Nothing, None);
    let srs = Srs::development(layout.shape.log_n);
    let vk = setting(&layout, &srs).key.vk;
    let generate = |name: &str, pair_at| _ = solidity::generate(&vk, &srs.tau_g2, name, pair_at);
    for name in ["Cubic", "_1", "$a"] {
        generate(name, None);
    }
    for name in ["", "1", "my verifier", "my-verifier", "Vérifier", "A{}contract B"] {
        let (message, file) = panic_of(|| generate(name, None));
        assert!(message.starts_with("a contract cannot be named"), "{name:?}: {message}");
        assert_eq!(file, file!());
    }
    for at in [0, usize::MAX] {
        let (message, _) = panic_of(|| generate("Cubic", Some(at)));
        assert!(message.ends_with("exceeds the 1 public inputs"), "{message}");
    }
}

#[test]
fn a_public_input_is_set_once() {
    let mut b = Builder::new(2, 4);
    let x = b.witness(Fr::from(1u64));
    b.set_public(0, x);
    let (message, file) = panic_of(|| b.set_public(0, x));
    let expected = format!("public input 0 was already set at {}:", file!());
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(file, file!());
    let (message, _) = panic_of(|| b.set_public(2, x));
    assert_eq!(message, "public input 2: the circuit has 2, numbered from 0");
    let missing = b.finish(None).map(|_| ());
    assert_eq!(missing, Err(LayoutError::PublicNotSet { index: 1, count: 2 }));
}
