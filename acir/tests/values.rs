//! Inputs and return values by their types: what is read, what is rejected and where, and that nothing is lost.

use acir::AcirField;
use acir::circuit::Opcode;
use acir::native_types::Witness;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_acir::artifact::{
    Abi, AbiField, AbiParameter, AbiReturn, AbiType, Artifact, Function, Limits, Visibility,
};
use rollmill_acir::solve::{NoOracles, solve};
use rollmill_acir::values::{ValueError, check_return, decode_return, encode};
use serde_json::{Map, Value, json};

use crate::artifact::file;
use crate::support::{F, bytecode, circuit, expression, function};

fn integer(sign: &str, width: u32) -> AbiType {
    AbiType::Integer { sign: sign.to_owned(), width }
}

fn field(name: &str, of: AbiType) -> AbiField {
    AbiField { name: name.to_owned(), of }
}

fn array(length: u64, of: AbiType) -> AbiType {
    AbiType::Array { length, of: Box::new(of) }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// A function with these parameters, and as many witnesses.
fn taking(parameters: &[(&str, AbiType)], witnesses: u32) -> Function {
    let parameters = parameters.iter().map(|(name, of)| AbiParameter {
        name: (*name).to_owned(),
        of: of.clone(),
        visibility: Visibility::Private,
    });
    let mut function = function(circuit(witnesses, Vec::new()));
    function.abi = Abi { parameters: parameters.collect(), returns: None };
    function
}

/// A note: a struct with a tuple, a text and an array of structs in it.
fn note() -> AbiType {
    let point = AbiType::Struct {
        fields: vec![field("x", AbiType::Field), field("is_infinite", AbiType::Boolean)],
    };
    let pair = AbiType::Tuple { fields: vec![integer("unsigned", 64), integer("signed", 8)] };
    AbiType::Struct {
        fields: vec![
            field("owners", array(2, point)),
            field("amount", pair),
            field("memo", AbiType::String { length: 3 }),
        ],
    }
}

#[test]
fn values_are_flattened_in_the_order_of_their_declaration() {
    let function = taking(&[("note", note()), ("nonce", AbiType::Field)], 10);
    let inputs = json!({
        "nonce": "0x2a",
        "note": {
            "memo": "hé",
            "amount": ["18446744073709551615", -2],
            "owners": [{"x": 7, "is_infinite": false}, {"is_infinite": true, "x": "-1"}]},
        // What Noir's tools write beside the inputs.
        "return": 5,
    });
    let witness = encode(&function, &object(inputs)).unwrap();
    let expected = [
        F::from(7u64),
        F::from(0u64),
        -F::one(),
        F::one(),
        F::from(u64::MAX),
        F::from(254u64),
        F::from(u64::from(b'h')),
        F::from(0xc3u64),
        F::from(0xa9u64),
        F::from(42u64),
    ];
    for (number, value) in (0u32..).zip(expected) {
        assert_eq!(witness.get(&Witness(number)), Some(&value), "witness {number}");
    }
    assert_eq!(witness.into_iter().count(), expected.len());
}

#[test]
fn each_wrong_input_is_named_by_its_path() {
    let function = taking(&[("note", note())], 9);
    let good = json!({
        "owners": [{"x": 7, "is_infinite": false}, {"x": 8, "is_infinite": true}],
        "amount": [1, 2],
        "memo": "abc"});
    let error = |pointer: &str, value: Value| {
        let mut note = good.clone();
        *note.pointer_mut(pointer).unwrap() = value;
        encode(&function, &object(json!({"note": note}))).unwrap_err()
    };
    for (pointer, value, code, path) in [
        ("/owners/1/x", json!(true), "ACR-062", "`note.owners[1].x`"),
        ("/owners/1/x", json!("12g"), "ACR-062", "`note.owners[1].x`"),
        ("/owners/1/x", json!("1_000"), "ACR-062", "`note.owners[1].x`"),
        ("/owners/1/x", json!("+1"), "ACR-062", "`note.owners[1].x`"),
        ("/owners/1/x", json!(""), "ACR-062", "`note.owners[1].x`"),
        ("/owners/1/x", json!("1".repeat(500)), "ACR-062", "`note.owners[1].x`"),
        ("/owners/1/x", json!(1.5), "ACR-062", "`note.owners[1].x`"),
        ("/owners/0", json!({"x": 1}), "ACR-060", "`note.owners[0].is_infinite`"),
        ("/owners/0", json!([1, true]), "ACR-062", "`note.owners[0]`"),
        (
            "/owners/0",
            json!({"x": 1, "is_infinite": true, "y": 2}),
            "ACR-061",
            "`note.owners[0].y`",
        ),
        ("/owners/0/is_infinite", json!("yes"), "ACR-062", "`note.owners[0].is_infinite`"),
        ("/owners/0/is_infinite", json!(null), "ACR-062", "`note.owners[0].is_infinite`"),
        ("/owners/0/is_infinite", json!(2), "ACR-064", "`note.owners[0].is_infinite`"),
        ("/owners/0/is_infinite", json!("-1"), "ACR-064", "`note.owners[0].is_infinite`"),
        ("/owners", json!([]), "ACR-063", "`note.owners`"),
        ("/amount", json!([1]), "ACR-063", "`note.amount`"),
        ("/amount/0", json!(-1), "ACR-064", "`note.amount.0`"),
        ("/amount/0", json!("18446744073709551616"), "ACR-064", "`note.amount.0`"),
        ("/amount/1", json!(128), "ACR-064", "`note.amount.1`"),
        ("/amount/1", json!(-129), "ACR-064", "`note.amount.1`"),
        ("/memo", json!("é"), "ACR-063", "`note.memo`"),
        ("/memo", json!(null), "ACR-062", "`note.memo`"),
    ] {
        let error = error(pointer, value.clone());
        assert_eq!(error.code(), code, "{pointer} = {value}: {error}");
        assert!(error.to_string().contains(path), "{pointer} = {value}: {error}");
    }
    let missing = encode(&function, &Map::new()).unwrap_err();
    assert_eq!(missing.code(), "ACR-060");
    let unknown = encode(&function, &object(json!({"note": good, "nota": 1}))).unwrap_err();
    assert_eq!(unknown.code(), "ACR-061");
    assert!(unknown.to_string().contains("[note]"), "{unknown}");
}

#[test]
fn ranges_end_where_their_types_say() {
    let unsigned = |width: u32, value: &str| {
        integer("unsigned", width).encode("x", &json!(value)).map(|values| values[0])
    };
    assert_eq!(unsigned(1, "1"), Ok(F::one()));
    assert!(unsigned(1, "2").is_err());
    assert_eq!(unsigned(8, "0xFF"), Ok(F::from(255u64)));
    assert!(unsigned(8, "0x100").is_err());
    assert_eq!(unsigned(128, &u128::MAX.to_string()), Ok(F::from(u128::MAX)));
    assert!(unsigned(128, "340282366920938463463374607431768211456").is_err());
    assert_eq!(unsigned(8, "-0"), Ok(F::from(0u64)));
    let signed = |width: u32, value: &str| {
        integer("signed", width).encode("x", &json!(value)).map(|values| values[0])
    };
    assert_eq!(signed(8, "127"), Ok(F::from(127u64)));
    assert!(signed(8, "128").is_err());
    assert_eq!(signed(8, "-128"), Ok(F::from(128u64)));
    assert!(signed(8, "-129").is_err());
    assert_eq!(signed(64, "-1"), Ok(F::from(u64::MAX)));
    assert_eq!(signed(64, "-0"), Ok(F::from(0u64)));
    // The modulus is rejected, where a library would reduce it to zero.
    let modulus = F::modulus();
    let in_field = |value: String| AbiType::Field.encode("x", &json!(value)).map(|v| v[0]);
    assert_eq!(in_field((modulus.clone() - 1u32).to_string()), Ok(-F::one()));
    assert_eq!(in_field(format!("-{}", modulus.clone() - 1u32)), Ok(F::one()));
    assert!(matches!(in_field(modulus.to_string()), Err(ValueError::Range { .. })));
    assert!(matches!(in_field(format!("0x{}", "f".repeat(64))), Err(ValueError::Range { .. })));
}

#[test]
fn bits_are_read_as_numbers_too() {
    let bit = |value: Value| AbiType::Boolean.encode("x", &value).map(|values| values[0]);
    for value in [json!(true), json!(1), json!("1"), json!("0x01")] {
        assert_eq!(bit(value.clone()), Ok(F::one()), "{value}");
    }
    for value in [json!(false), json!(0), json!("0"), json!("0x00")] {
        assert_eq!(bit(value.clone()), Ok(F::from(0u64)), "{value}");
    }
}

#[test]
fn types_that_no_compiler_writes_are_errors() {
    let one = json!(1);
    for of in
        [integer("signed", 0), integer("signed", 65), integer("both", 8), integer("unsigned", 129)]
    {
        assert_eq!(of.encode("x", &one).unwrap_err().code(), "ACR-065", "{of:?}");
        assert_eq!(of.decode("x", &[F::one()]).unwrap_err().code(), "ACR-065", "{of:?}");
    }
    // As many parameters as the circuit has.
    let function = taking(&[("x", AbiType::Field)], 2);
    let error = encode(&function, &object(json!({"x": 1}))).unwrap_err();
    assert_eq!(error.code(), "ACR-065", "{error}");
    // An array that takes nothing must not take for ever.
    let endless = array(u64::MAX, AbiType::Tuple { fields: Vec::new() });
    assert_eq!(endless.decode("x", &[]).unwrap_err().code(), "ACR-065");
    assert_eq!(array(2, AbiType::Field).decode("x", &[F::one()]).unwrap_err().code(), "ACR-065");
    assert_eq!(AbiType::Field.decode("x", &[F::one(); 2]).unwrap_err().code(), "ACR-065");
}

#[test]
fn values_of_another_type_are_not_decoded() {
    for (of, value) in [
        (AbiType::Boolean, 2u64),
        (integer("unsigned", 8), 256),
        (integer("signed", 8), 256),
        (AbiType::String { length: 1 }, 256),
        // Half of a character.
        (AbiType::String { length: 1 }, 0xc3),
    ] {
        let error = array(1, of).decode("return", &[F::from(value)]).unwrap_err();
        assert_eq!(error.code(), "ACR-066", "{error}");
        assert!(error.to_string().contains("`return[0]`"), "{error}");
    }
}

/// A type of at most this depth.
fn any_type(rng: &mut ChaCha8Rng, depth: u32) -> AbiType {
    match rng.gen_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => AbiType::Field,
        1 => AbiType::Boolean,
        2 => integer("unsigned", rng.gen_range(1..=128)),
        3 => integer("signed", rng.gen_range(1..=64)),
        4 => AbiType::String { length: rng.gen_range(0..6) },
        5 => array(rng.gen_range(0..4), any_type(rng, depth - 1)),
        6 => AbiType::Tuple {
            fields: (0..rng.gen_range(0..4)).map(|_| any_type(rng, depth - 1)).collect(),
        },
        _ => AbiType::Struct {
            fields: (0..rng.gen_range(0..4))
                .map(|i| field(&format!("f{i}"), any_type(rng, depth - 1)))
                .collect(),
        },
    }
}

/// Field elements that are a value of this type.
fn any_value(rng: &mut ChaCha8Rng, of: &AbiType, out: &mut Vec<F>) {
    match of {
        AbiType::Field => out.push(F::from_be_bytes_reduce(&rng.r#gen::<[u8; 32]>())),
        AbiType::Boolean => out.push(F::from(rng.r#gen::<bool>())),
        AbiType::Integer { width, .. } => {
            // Both ends of the range come often.
            let largest = u128::MAX >> (128 - *width);
            out.push(F::from(match rng.gen_range(0..4) {
                0 => 0,
                1 => largest,
                2 => largest / 2 + 1,
                _ => rng.r#gen::<u128>() & largest,
            }));
        }
        AbiType::String { length } => {
            out.extend((0..*length).map(|_| F::from(u128::from(rng.gen_range(0..128u8)))));
        }
        AbiType::Array { length, of } => (0..*length).for_each(|_| any_value(rng, of, out)),
        AbiType::Tuple { fields } => fields.iter().for_each(|of| any_value(rng, of, out)),
        AbiType::Struct { fields } => fields.iter().for_each(|f| any_value(rng, &f.of, out)),
    }
}

#[test]
fn what_is_decoded_encodes_to_the_same_witnesses() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..2_000 {
        let of = any_type(&mut rng, 3);
        let mut values = Vec::new();
        any_value(&mut rng, &of, &mut values);
        let decoded = of.decode("x", &values).unwrap();
        assert_eq!(of.encode("x", &decoded).as_ref(), Ok(&values), "{of:?} {decoded}");
        // The text of the JSON loses nothing either.
        let again: Value = serde_json::from_str(&decoded.to_string()).unwrap();
        assert_eq!(again, decoded);
    }
}

#[test]
fn a_program_returns_what_its_type_says() {
    // y = x · x, returned as (y, -3).
    let square = Opcode::AssertZero(expression(&[(1, 0, 0)], &[(-1, 1)], 0));
    let constant = Opcode::AssertZero(expression(&[], &[(1, 2)], -253));
    let mut circuit = circuit(1, vec![square, constant]);
    circuit.return_values.0 = [Witness(1), Witness(2)].into();
    let program =
        acir::circuit::Program { functions: vec![circuit], unconstrained_functions: Vec::new() };
    let mut file = file(&bytecode(&program), &[]);
    file["abi"]["parameters"] =
        json!([{"name": "x", "type": {"kind": "field"}, "visibility": "private"}]);
    let fields = json!([
        {"kind": "integer", "sign": "unsigned", "width": 32},
        {"kind": "integer", "sign": "signed", "width": 8}]);
    file["abi"]["return_type"] =
        json!({"abi_type": {"kind": "tuple", "fields": fields}, "visibility": "public"});
    let text = file.to_string();
    let artifact = Artifact::parse(text.as_bytes(), &Limits::default()).unwrap();
    let main = artifact.function("main").unwrap();
    assert!(matches!(&main.abi.returns, Some(AbiReturn { visibility: Visibility::Public, .. })));
    let inputs = encode(main, &object(json!({"x": 9}))).unwrap();
    let witness = solve(main, inputs, &mut NoOracles).unwrap();
    assert_eq!(decode_return(main, &witness), Ok(Some(json!([81, -3]))));
    // What the inputs state as the return value is what is expected.
    let stated =
        |value: Value| check_return(main, &object(json!({"x": 9, "return": value})), &witness);
    assert_eq!(stated(json!(["0x51", -3])), Ok(()));
    assert_eq!(stated(json!([81, 3])).unwrap_err().code(), "ACR-067");
    assert_eq!(stated(json!([81])).unwrap_err().code(), "ACR-063");
    assert_eq!(check_return(main, &object(json!({"x": 9})), &witness), Ok(()));
    let parameters_only = encode(main, &object(json!({"x": 9}))).unwrap();
    assert_eq!(decode_return(main, &parameters_only).unwrap_err().code(), "ACR-065");
}
