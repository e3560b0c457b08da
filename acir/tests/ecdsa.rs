//! ECDSA: the rows say of every signature what Noir's library says.

use acir::circuit::Opcode;
use acir::circuit::opcodes::FunctionInput;
use acir::native_types::Witness;
use num_bigint::BigUint;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_acir::ecdsa::{Curve as CurveName, EcdsaCall};
use rollmill_acir::plain::broken;
use rollmill_acir::solve::{NoOracles, solve};

use crate::support::{F, circuit, compare, function, holds, inputs};

/// A curve, for the plain arithmetic that makes signatures here.
struct Curve {
    p: BigUint,
    n: BigUint,
    a: BigUint,
    generator: Point,
}

/// Coordinates; `None` for the identity.
type Point = Option<[BigUint; 2]>;

fn hex(text: &str) -> BigUint {
    BigUint::parse_bytes(text.as_bytes(), 16).unwrap()
}

/// Source: SEC 2, section 2.4.1.
fn secp256k1() -> Curve {
    Curve {
        p: hex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
        n: hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
        a: BigUint::from(0u32),
        generator: Some([
            hex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
            hex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
        ]),
    }
}

/// Source: SEC 2, section 2.4.2.
fn secp256r1() -> Curve {
    Curve {
        p: hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
        n: hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
        a: hex("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"),
        generator: Some([
            hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
            hex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        ]),
    }
}

fn inverse(value: &BigUint, m: &BigUint) -> BigUint {
    value.modpow(&(m - 2u32), m)
}

impl Curve {
    fn add(&self, first: &Point, second: &Point) -> Point {
        let (Some([x1, y1]), Some([x2, y2])) = (first, second) else {
            return first.clone().or_else(|| second.clone());
        };
        let p = &self.p;
        let slope = if x1 != x2 {
            (y2 + p - y1) * inverse(&((x2 + p - x1) % p), p) % p
        } else if y1 == y2 {
            (x1 * x1 * 3u32 + &self.a) * inverse(&(y1 * 2u32 % p), p) % p
        } else {
            return None;
        };
        let x = (&slope * &slope + p + p - x1 - x2) % p;
        let y = (slope * (x1 + p - &x) + p - y1) % p;
        Some([x, y])
    }

    fn times(&self, scalar: &BigUint, point: &Point) -> Point {
        (0..scalar.bits()).rev().fold(None, |sum, bit| {
            let double = self.add(&sum, &sum);
            if scalar.bit(bit) { self.add(&double, point) } else { double }
        })
    }
}

/// What a call is about.
#[derive(Clone)]
struct Case {
    key: [BigUint; 2],
    r: BigUint,
    s: BigUint,
    hash: BigUint,
}

/// A valid signature with a key and a nonce.
fn sign(curve: &Curve, key: &BigUint, nonce: &BigUint, hash: BigUint) -> Case {
    let n = &curve.n;
    let [x, _] = curve.times(nonce, &curve.generator).unwrap();
    let r = x % n;
    let s = inverse(nonce, n) * (&hash + &r * key) % n;
    // The lower one of s and −s.
    let s = if &s * 2u32 > *n { n - s } else { s };
    Case { key: curve.times(key, &curve.generator).unwrap(), r, s, hash }
}

fn bytes(value: &BigUint) -> Vec<F> {
    let bytes = value.to_bytes_be();
    let zeros = vec![0; 32 - bytes.len()];
    [zeros, bytes].concat().into_iter().map(|byte| F::from(u128::from(byte))).collect()
}

fn number<const N: usize>(from: u32) -> [FunctionInput<F>; N] {
    std::array::from_fn(|i| FunctionInput::Witness(Witness(from + i as u32)))
}

/// Compares the rows with the library, and returns the verdict. `on` is the predicate, where it is a witness. Without
/// `changes` the rows are laid out only once: there are many.
fn verdict(is_k1: bool, case: &Case, on: Option<u128>, changes: usize) -> F {
    let parts = [&case.key[0], &case.key[1], &case.r, &case.s, &case.hash];
    let mut values: Vec<F> = parts.into_iter().flat_map(bytes).collect();
    values.extend(on.map(F::from));
    let (x, y, signature, hash) = (number(0), number(32), number(64), number(128));
    let predicate = match on {
        Some(_) => FunctionInput::Witness(Witness(160)),
        None => FunctionInput::Constant(F::from(1u128)),
    };
    let call = EcdsaCall {
        curve: if is_k1 { CurveName::Secp256k1 } else { CurveName::Secp256r1 },
        key: [&x, &y],
        signature: &signature,
        hash: &hash,
        predicate: &predicate,
        output: Witness(161),
    };
    let opcode = call.to_call();
    assert_eq!(EcdsaCall::of(&opcode), Some(call));
    let function = function(circuit(values.len() as u32, vec![Opcode::BlackBoxFuncCall(opcode)]));
    let witness = match changes {
        0 => {
            let witness = solve(&function, inputs(&values), &mut NoOracles).unwrap();
            let circuit = function.circuit().unwrap();
            assert_eq!(broken(circuit, &witness), None);
            assert!(holds(circuit, &witness));
            witness
        }
        _ => compare(&function, &values, changes),
    };
    *witness.get(&Witness(161)).unwrap()
}

fn random() -> ChaCha8Rng {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// A number below the order of each curve.
fn scalar(rng: &mut ChaCha8Rng) -> BigUint {
    BigUint::from_bytes_be(&rng.r#gen::<[u8; 31]>())
}

fn signed(curve: &Curve, rng: &mut ChaCha8Rng) -> Case {
    let (key, nonce, hash) = (scalar(rng), scalar(rng), scalar(rng));
    sign(curve, &key, &nonce, hash)
}

/// `case` with a change.
fn with(case: &Case, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = case.clone();
    change(&mut case);
    case
}

const NO: u128 = 0;
const YES: u128 = 1;

#[test]
fn signatures_are_valid_exactly_where_the_library_says() {
    let curve = secp256k1();
    let mut rng = random();
    let good = signed(&curve, &mut rng);
    assert_eq!(verdict(true, &good, None, 2), F::from(YES));
    for (case, why) in [
        (with(&good, |case| case.hash += 1u32), "another message"),
        (with(&good, |case| case.s = &curve.n - &case.s), "the higher s"),
        (with(&good, |case| case.s = BigUint::from(0u32)), "s = 0"),
        (with(&good, |case| case.r = curve.n.clone()), "r = n"),
        (with(&good, |case| case.key[1] += 1u32), "a key off the curve"),
    ] {
        assert_eq!(verdict(true, &case, None, 0), F::from(NO), "{why}");
    }
    let curve = secp256r1();
    let good = signed(&curve, &mut rng);
    assert_eq!(verdict(false, &good, Some(1), 0), F::from(YES));
    for (case, why) in [
        (with(&good, |case| case.hash += 1u32), "another message"),
        (with(&good, |case| case.s = &curve.n - &case.s), "the higher s"),
    ] {
        assert_eq!(verdict(false, &case, None, 0), F::from(NO), "{why}");
    }
}

/// A valid signature whose sum of points has the abscissa `n + excess`, so that r is `excess`. The key follows from it.
fn beyond_the_order(curve: &Curve, excess: u32) -> Case {
    let (p, n) = (&curve.p, &curve.n);
    // x³ + ax
    let cubic = |x: &BigUint| (x * x % p * x + &curve.a * x) % p;
    let [gx, gy] = curve.generator.clone().unwrap();
    let constant = (&gy * &gy + p - cubic(&gx)) % p;
    let x = n + excess;
    let square = (cubic(&x) + constant) % p;
    let y = square.modpow(&((p + 1u32) >> 2u32), p);
    assert_eq!(&y * &y % p, square, "no point has this abscissa");
    let (r, s) = (BigUint::from(excess), BigUint::from(12_345u32));
    let hash = BigUint::from(0xdead_beef_u32);
    let sum = curve.times(&s, &Some([x, y]));
    let sum = curve.add(&sum, &curve.times(&(n - &hash), &curve.generator));
    let key = curve.times(&inverse(&r, n), &sum).unwrap();
    Case { key, r, s, hash }
}

#[test]
fn of_an_abscissa_above_the_order_the_residue_counts() {
    assert_eq!(verdict(true, &beyond_the_order(&secp256k1(), 2), None, 0), F::from(YES));
    assert_eq!(verdict(false, &beyond_the_order(&secp256r1(), 3), None, 0), F::from(YES));
}

/// The generator as the key, with `u1 = u2`, `u1 = −u2` and `u1 = 0`: equal and opposite points, and the identity.
#[test]
fn sums_of_every_kind_have_their_verdict() {
    let curve = secp256k1();
    let mut rng = random();
    let key = BigUint::from(1u32);
    let nonce = scalar(&mut rng);
    let [x, _] = curve.times(&nonce, &curve.generator).unwrap();
    let equal = sign(&curve, &key, &nonce, x % &curve.n);
    assert_eq!(verdict(true, &equal, None, 0), F::from(YES), "u1 = u2");
    let opposite = with(&equal, |case| case.hash = &curve.n - &case.r);
    assert_eq!(verdict(true, &opposite, None, 0), F::from(NO), "u1 = −u2");
    let nothing = sign(&curve, &key, &nonce, BigUint::from(0u32));
    assert_eq!(verdict(true, &nothing, None, 0), F::from(YES), "u1 = 0");
}

#[test]
fn a_call_that_is_off_takes_any_bytes_and_says_yes() {
    let garbage = Case {
        key: [BigUint::from(5u32), BigUint::from(6u32)],
        r: BigUint::from(0u32),
        s: BigUint::from(0u32),
        hash: BigUint::from(7u32),
    };
    assert_eq!(verdict(true, &garbage, Some(0), 2), F::from(YES));
}
