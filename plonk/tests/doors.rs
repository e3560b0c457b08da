//! Every way to read a structured reference string, with every lie that stays on the curve: the code that
//! rejects each, so that a decoder's rejection does not hide a missing check.

use std::io::Cursor;

use ark_bn254::{Fq, Fq2};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, Field, PrimeField};
use rollmill_algebra::bytes::g1_to_bytes;
use rollmill_algebra::field::{omega, powers};
use rollmill_algebra::{Fr, G1Affine, G2Affine};
use rollmill_plonk::srs::{Origin, Srs, SrsError, development_tau};
use sha2::{Digest, Sha256};

/// Powers in G1: 2^(2+1) − 1, as a `.ptau` file of power 2 has.
const COUNT: usize = 7;

/// An SRS as its points, before they are encoded for one of the doors.
#[derive(Clone)]
struct Points {
    g1: Vec<G1Affine>,
    tau_g2: G2Affine,
    /// Powers in G2, which only a `.ptau` file has; the second is `tau_g2`.
    g2: Vec<G2Affine>,
}

fn times(scalar: Fr) -> G1Affine {
    (G1Affine::generator() * scalar).into_affine()
}

fn times_g2(scalar: Fr) -> G2Affine {
    (G2Affine::generator() * scalar).into_affine()
}

impl Points {
    fn of(tau: Fr) -> Self {
        Self {
            g1: powers(tau, COUNT).into_iter().map(times).collect(),
            tau_g2: times_g2(tau),
            g2: powers(tau, 4).into_iter().map(times_g2).collect(),
        }
    }
}

/// A τ that nobody is asked to keep, but that is none of the known ones.
fn secret() -> Fr {
    Fr::from_be_bytes_mod_order(&Sha256::digest("the secret of the tests"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Our own file, as keys are made from it.
    Own,
    Flat,
    Ptau,
}

const DOORS: [Door; 3] = [Door::Own, Door::Flat, Door::Ptau];

/// EIP-197's encoding of any point of the twist.
fn g2_bytes(point: &G2Affine) -> Vec<u8> {
    let number = |x: Fq| x.into_bigint().to_bytes_be();
    if point.is_zero() {
        return vec![0; 128];
    }
    [point.x.c1, point.x.c0, point.y.c1, point.y.c0].into_iter().flat_map(number).collect()
}

fn montgomery(x: Fq) -> Vec<u8> {
    (x * Fq::from(2u64).pow([256])).into_bigint().to_bytes_le()
}

fn through(door: Door, points: &Points) -> Result<Srs, SrsError> {
    let g1: Vec<u8> = points.g1.iter().flat_map(g1_to_bytes).collect();
    match door {
        Door::Own => {
            let mut bytes =
                Srs { powers: Vec::new(), tau_g2: times_g2(secret()), origin: Origin::Ceremony }
                    .to_bytes();
            bytes.truncate(9);
            bytes.extend((points.g1.len() as u64).to_be_bytes());
            bytes.extend(g2_bytes(&points.tau_g2));
            bytes.extend(g1);
            let digest = Sha256::digest(&bytes);
            bytes.extend_from_slice(&digest);
            let srs = Srs::from_bytes(&bytes)?;
            srs.check(11)?;
            srs.require_secret()?;
            Ok(srs)
        }
        Door::Flat => {
            let ours = g2_bytes(&points.tau_g2);
            let g2 = [32..64, 0..32, 96..128, 64..96].map(|range| ours[range].to_vec()).concat();
            Srs::import_flat(&g1[..], &g2[..], None, 11)
        }
        Door::Ptau => {
            let g1: Vec<u8> =
                points.g1.iter().flat_map(|p| [p.x, p.y]).flat_map(montgomery).collect();
            let mut high = points.g2.clone();
            high[1] = points.tau_g2;
            let coordinates = |p: &G2Affine| {
                let zero = Fq2::new(Fq::from(0u64), Fq::from(0u64));
                let (x, y) = if p.is_zero() { (zero, zero) } else { (p.x, p.y) };
                [x.c0, x.c1, y.c0, y.c1]
            };
            let g2: Vec<u8> = high.iter().flat_map(coordinates).flat_map(montgomery).collect();
            let header = [
                &32u32.to_le_bytes()[..],
                &Fq::MODULUS.to_bytes_le(),
                &[2, 0, 0, 0],
                &[2, 0, 0, 0],
            ];
            let sections =
                [(1u32, header.concat()), (2, g1), (3, g2), (7, 1u32.to_le_bytes().to_vec())];
            let mut bytes = b"ptau\x01\0\0\0\x04\0\0\0".to_vec();
            for (kind, contents) in sections {
                bytes.extend(kind.to_le_bytes());
                bytes.extend((contents.len() as u64).to_le_bytes());
                bytes.extend(contents);
            }
            Srs::import_ptau(&mut Cursor::new(bytes), None, 11)
        }
    }
}

/// The code of a verdict.
fn code(verdict: Result<Srs, SrsError>) -> String {
    match verdict {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string().split(':').next().unwrap_or_default().to_owned(),
    }
}

/// A point of the twist that is not in the group that pairings are over.
fn outside_the_subgroup() -> G2Affine {
    (1u64..)
        .filter_map(|x| {
            let x = Fq2::new(Fq::from(x), Fq::from(1u64));
            let b = <ark_bn254::g2::Config as ark_ec::short_weierstrass::SWCurveConfig>::COEFF_B;
            let y = (x * x * x + b).sqrt()?;
            Some(G2Affine::new_unchecked(x, y))
        })
        .find(|point| !point.is_in_correct_subgroup_assuming_on_curve())
        .expect("most points of the twist are outside")
}

#[test]
fn an_honest_srs_passes_every_door() {
    for door in DOORS {
        let srs = through(door, &Points::of(secret())).unwrap_or_else(|e| panic!("{door:?}: {e}"));
        assert_eq!(srs.powers.len(), COUNT, "{door:?}");
        assert_eq!(srs.origin, Origin::Ceremony);
        srs.require_ceremony(1).unwrap();
    }
}

#[test]
fn points_of_the_curve_that_are_no_powers_are_rejected_by_the_pairing() {
    let good = Points::of(secret());
    let g = G1Affine::generator();
    let mut lies: Vec<(String, Points, &str)> = Vec::new();
    let mut lie = |what: String, code, change: &dyn Fn(&mut Points)| {
        let mut points = good.clone();
        change(&mut points);
        lies.push((what, points, code));
    };
    for at in 0..COUNT {
        // The first one must be the generator, and the check of that comes first.
        let rejected = if at == 0 { "PLK-044" } else { "PLK-045" };
        lie(format!("another multiple at {at}"), rejected, &|p| p.g1[at] = times(Fr::from(77u64)));
        lie(format!("the opposite at {at}"), rejected, &|p| p.g1[at] = -p.g1[at]);
        if at + 1 < COUNT {
            lie(format!("{at} and the next swapped"), rejected, &|p| p.g1.swap(at, at + 1));
        }
    }
    lie("all points the generator".to_owned(), "PLK-045", &|p| p.g1.fill(g));
    lie("all points one other".to_owned(), "PLK-044", &|p| p.g1.fill(times(Fr::from(5u64))));
    lie("[τ] of another τ".to_owned(), "PLK-045", &|p| p.tau_g2 = times_g2(Fr::from(3u64)));
    lie("[τ] of the opposite".to_owned(), "PLK-045", &|p| p.tau_g2 = -p.tau_g2);
    for (what, points, expected) in lies {
        for door in DOORS {
            assert_eq!(code(through(door, &points)), expected, "{door:?}: {what}");
        }
    }
}

#[test]
fn tau_in_g2_must_be_a_point_of_the_right_group() {
    let good = Points::of(secret());
    let mut identity = good.clone();
    identity.tau_g2 = G2Affine::identity();
    let mut outside = good.clone();
    outside.tau_g2 = outside_the_subgroup();
    for door in DOORS {
        assert_eq!(code(through(door, &identity)), "PLK-044", "{door:?}");
        assert_eq!(code(through(door, &outside)), "PLK-042", "{door:?}");
    }
}

#[test]
fn powers_in_g2_that_are_none_are_rejected() {
    let good = Points::of(secret());
    for at in [0, 2, 3] {
        let mut points = good.clone();
        points.g2[at] = times_g2(Fr::from(9u64));
        assert_eq!(code(through(Door::Ptau, &points)), "PLK-045", "power {at}");
    }
    let mut points = good.clone();
    points.g2[3] = outside_the_subgroup();
    assert_eq!(code(through(Door::Ptau, &points)), "PLK-045", "outside the subgroup");
}

/// Goal: a valid SRS whose τ is known is not a ceremony's.
#[test]
fn a_secret_that_anyone_can_find_is_rejected_at_every_door() {
    let one = Fr::from(1u64);
    let development = development_tau();
    let inverse = |x: Fr| x.inverse().expect("not zero");
    // Of order 3, and of 13: both divide r − 1.
    let of_order = |d: u64| {
        let exponent: num::Exponent = num::exponent(d);
        let root = Fr::from(5u64).pow(exponent);
        assert!(root != one && root.pow([d]) == one);
        root
    };
    let mut known = vec![
        ("1", one),
        ("2", Fr::from(2u64)),
        ("−1", -one),
        ("−12345", -Fr::from(12_345u64)),
        ("2^20 − 1", Fr::from((1u64 << 20) - 1)),
        ("1/3", inverse(Fr::from(3u64))),
        ("−1/65537", -inverse(Fr::from(65_537u64))),
        ("the development τ", development),
        ("its opposite", -development),
        ("its inverse", inverse(development)),
        ("the opposite of its inverse", -inverse(development)),
        ("of order 3", of_order(3)),
    ];
    // Of 7 powers the fifth is the last of a two-power index, so orders up to 4 · 2^14 are tried.
    let roots = [2, 3, 7, 15, 16].map(|bits| (format!("of order 2^{bits}"), omega(bits)));
    known.extend(roots.iter().map(|(what, root)| (&**what, *root)));
    known.push(("another of order 2^16", omega(16).pow([12_345])));
    for (what, tau) in known {
        for door in DOORS {
            assert_eq!(code(through(door, &Points::of(tau))), "PLK-072", "{door:?}: {what}");
        }
    }
    for (what, tau) in [("2^64", Fr::from(2u64).pow([64])), ("an order of 2^18", omega(18))] {
        let found = through(Door::Own, &Points::of(tau));
        assert!(found.is_ok(), "{what} is beyond what is tried: {found:?}");
    }
}

/// `(r − 1) / d`.
mod num {
    use super::{Fr, PrimeField};

    pub(super) type Exponent = [u64; 4];

    pub(super) fn exponent(d: u64) -> Exponent {
        let mut limbs = Fr::MODULUS.0;
        limbs[0] -= 1;
        let mut rest = 0u128;
        for limb in limbs.iter_mut().rev() {
            let word = rest << 64 | u128::from(*limb);
            *limb = (word / u128::from(d)) as u64;
            rest = word % u128::from(d);
        }
        assert_eq!(rest, 0, "d divides r − 1");
        limbs
    }
}

/// Each kind of known τ, with an SRS that no other kind rejects.
#[test]
fn each_kind_of_known_secret_is_named() {
    let inverse = |x: Fr| x.inverse().expect("not zero");
    let third = Fr::from(5u64).pow(num::exponent(3));
    for (tau, what) in [
        (development_tau(), "it is the development τ"),
        (-development_tau(), "with the opposite sign"),
        (Fr::from(999u64), "it is an integer"),
        (inverse(Fr::from(999u64)), "it is the inverse of an integer"),
        (third, "its order is 3"),
        (omega(15), "it is a root of unity"),
    ] {
        let error = through(Door::Own, &Points::of(tau)).unwrap_err().to_string();
        assert!(error.starts_with("PLK-072") && error.contains(what), "{error}");
    }
}

/// Source of the point: Aztec's published verifiers and Barretenberg's `bn254_g2.dat`.
#[test]
fn the_point_of_a_known_ceremony_is_a_point_and_is_recognised() {
    let bytes = hex::decode(
        "260e01b251f6f1c7e7ff4e580791dee8ea51d87a358e038b4efe30fac09383c1\
         0118c4d5b837bcc2bc89b5b398b5974e9f5944073b32078b7e231fec938883b0\
         04fc6369f7110fe3d25156c1bb9a72859cf2a04641f99ba4ee413c80da6a5fe4\
         22febda3c0c0632a56475b4214e5615e11e6dd3f96e6cea2854a87d4dacc5e55",
    );
    let bytes: [u8; 128] = bytes.unwrap().try_into().unwrap();
    let tau_g2 = rollmill_plonk::g2_from_bytes(&bytes).expect("on the twist, in the subgroup");
    let mut srs = through(Door::Own, &Points::of(secret())).unwrap();
    assert_eq!(srs.ceremony(), None);
    srs.tau_g2 = tau_g2;
    assert_eq!(srs.ceremony(), Some("Aztec Ignition"));
    // The name is of [τ] alone: powers that are not its are found by the check.
    assert_eq!(srs.check(1), Err(SrsError::Powers));
}
