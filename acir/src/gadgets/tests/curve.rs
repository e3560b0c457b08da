use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{BigInteger, PrimeField};
use ark_grumpkin::{Affine, Projective};

use super::super::curve::{
    Point, add, add_distinct_given, add_given, affine, coordinates, double_given, slope,
};
use super::super::scalar::{Odd, Scalar, by_digits, digits_given, multiply, odd, places};
use super::*;

type Order = ark_grumpkin::Fr;

fn point(b: &mut Builder, [x, y]: [Fr; 2]) -> Point {
    Point { x: b.witness(x), y: b.witness(y) }
}

fn is(b: &mut Builder, point: Point, [x, y]: [Fr; 2]) {
    b.assert_constant(point.x, x);
    b.assert_constant(point.y, y);
}

fn times(scalar: u64) -> Affine {
    (Projective::generator() * Order::from(scalar)).into_affine()
}

/// Points of each kind that an addition tells apart.
fn points() -> Vec<Affine> {
    vec![Affine::identity(), times(1), times(2), times(3), (-times(1).into_group()).into_affine()]
}

#[test]
fn a_point_is_on_the_curve_or_the_identity() {
    let encoded = |coordinates: [Fr; 2]| {
        holds(|b| {
            let point = point(b, coordinates);
            point.encoded(b);
        })
    };
    for point in points() {
        let [x, y] = coordinates(&point);
        assert!(encoded([x, y]));
        assert!(!encoded([x + integer(1), y]));
        assert!(!encoded([x, y + integer(1)]));
        assert_eq!(affine([x, y]), Some(point));
        assert_eq!(affine([x + integer(1), y]), None);
    }
}

/// Every pair of kinds: the sum is the library's, and a prover that chooses another slope has no other sum.
#[test]
fn sums_are_complete_and_have_one_value() {
    for p in points() {
        for q in points() {
            let expected = coordinates(&(p + q).into_affine());
            let (first, second) = (coordinates(&p), coordinates(&q));
            let ok = holds(|b| {
                let (p, q) = (point(b, first).encoded(b), point(b, second).encoded(b));
                let sum = add(b, &p, &q);
                is(b, sum, expected);
            });
            assert!(ok, "{p} + {q}");
            for wrong in [integer(0), slope(first, second) + integer(1), integer(-3)] {
                let mut got = None;
                let ok = holds(|b| {
                    let (p, q) = (point(b, first).encoded(b), point(b, second).encoded(b));
                    let sum = add_given(b, &p, &q, wrong);
                    got = Some([b.value(sum.x), b.value(sum.y)]);
                });
                assert!(!ok || got == Some(expected), "{p} + {q} with slope {wrong}");
            }
        }
    }
}

#[test]
fn chords_and_tangents_have_one_slope() {
    let (p, q) = (coordinates(&times(5)), coordinates(&times(7)));
    let chord = |q: [Fr; 2], slope: Fr| {
        holds(|b| {
            let (p, q) = (point(b, p), point(b, q));
            add_distinct_given(b, p, q, slope);
        })
    };
    assert!(chord(q, slope(p, q)));
    assert!(!chord(q, slope(p, q) + integer(1)));
    assert!(!chord(p, slope(p, p)), "equal points");
    assert!(!chord([p[0], -p[1]], integer(1)), "opposite points");
    let tangent = |slope: Fr| {
        holds(|b| {
            let p = point(b, p);
            let double = double_given(b, p, slope);
            is(b, double, coordinates(&times(10)));
        })
    };
    assert!(tangent(slope(p, p)));
    assert!(!tangent(slope(p, p) + integer(1)));
}

/// The halves of an integer of 256 bits.
fn halves(words: [u64; 4]) -> [Fr; 2] {
    let [a, b, c, d] = words;
    [[a, b], [c, d]].map(|[low, high]| Fr::from(u128::from(low) | u128::from(high) << 64))
}

fn product(base: [Fr; 2], [low, high]: [Fr; 2], expected: [Fr; 2]) -> bool {
    holds(|b| {
        let base = point(b, base).encoded(b);
        let scalar = Scalar { low: b.witness(low), high: b.witness(high) };
        let product = multiply(b, &base, scalar);
        is(b, product, expected);
    })
}

#[test]
fn products_are_those_of_the_library() {
    let mut rng = random();
    let minus = |small: u64| {
        let mut words = Order::MODULUS;
        words.sub_with_borrow(&Order::from(small).into_bigint());
        words.0
    };
    let mut scalars: Vec<[u64; 4]> =
        [0, 1, 2, 3, 15, 16, 17, 18, 19, 30, 31, 32].map(|small| [small, 0, 0, 0]).to_vec();
    scalars.extend([minus(1), minus(2), minus(18), [u64::MAX, u64::MAX, 0, 0], [0, 0, 1, 0]]);
    scalars.extend((0..4).map(|_| Order::rand(&mut rng).into_bigint().0));
    for words in scalars {
        let base = Projective::rand(&mut rng).into_affine();
        let scalar = Order::from_bigint(ark_ff::BigInt::new(words)).unwrap();
        let expected = coordinates(&(base * scalar).into_affine());
        assert!(product(coordinates(&base), halves(words), expected), "{words:?}");
    }
    let zero = [integer(0); 2];
    assert!(product(zero, halves([5, 6, 7, 8]), zero), "the identity");
    let other = coordinates(&times(4));
    assert!(!product(coordinates(&times(1)), halves([3, 0, 0, 0]), other), "a wrong product");
}

/// The scalar of the identity is constrained as any other: programs rely on it.
#[test]
fn scalars_are_below_the_order_for_every_point() {
    let order = halves(Order::MODULUS.0);
    let zero = [integer(0); 2];
    for base in [zero, coordinates(&times(1))] {
        for (scalar, why) in [
            (order, "the order"),
            ([order[0] + integer(1), order[1]], "one more"),
            ([integer(0), power_of_two(126)], "2^254"),
            ([power_of_two(200), integer(-1)], "halves of any size"),
            ([power_of_two(128), integer(0)], "a low half of 129 bits"),
            ([integer(-1), integer(1)], "a low half below zero"),
        ] {
            assert!(!product(base, scalar, zero), "{why}");
        }
    }
}

#[test]
fn digits_of_another_number_are_rejected() {
    let words = [0x1234_5678_9abc_def1, 77, 0x0fff, 5];
    let base = coordinates(&times(9));
    let scalar = Order::from_bigint(ark_ff::BigInt::new(words)).unwrap();
    let expected = coordinates(&(times(9) * scalar).into_affine());
    let with = |change: fn(&mut [u8; 64], &mut Odd)| {
        holds(|b| {
            let [low, high] = halves(words);
            let scalar = Scalar { low: b.witness(low), high: b.witness(high) };
            let mut odd = odd(b, scalar);
            let mut places = places(&odd);
            change(&mut places, &mut odd);
            let places = digits_given(b, scalar, &odd, &places);
            let base = point(b, base);
            let product = by_digits(b, base, &places);
            is(b, product, expected);
        })
    };
    assert!(with(|_, _| ()));
    // Without the expected product the digits alone must be rejected.
    let digits_alone = |change: fn(&mut [u8; 64], &mut Odd)| {
        holds(|b| {
            let [low, high] = halves(words);
            let scalar = Scalar { low: b.witness(low), high: b.witness(high) };
            let mut odd = odd(b, scalar);
            let mut places = places(&odd);
            change(&mut places, &mut odd);
            digits_given(b, scalar, &odd, &places);
        })
    };
    assert!(digits_alone(|_, _| ()));
    assert!(!digits_alone(|places, _| places[0] ^= 1));
    assert!(!digits_alone(|places, _| places[63] ^= 1));
    assert!(!digits_alone(|places, _| places[31] ^= 8));
    assert!(!digits_alone(|_, odd| odd.adds = integer(1)));
    assert!(!digits_alone(|_, odd| odd.adds = integer(2)));
    // 16 · 15 + 0 is 16 · 14 + 16: the sum is right, but no digit is 16.
    assert!(!with(|places, _| {
        let at = places.iter().skip(1).position(|place| *place > 0).unwrap();
        places[at] += 16;
        places[at + 1] -= 1;
    }));
}
