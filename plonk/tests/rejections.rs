//! What decoders and the verifier refuse, one case for each check that no other check repeats.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, PrimeField};
use rollmill_algebra::bytes::G1_BYTES;
use rollmill_algebra::pair::PairPoint;
use rollmill_algebra::{Fq, Fr, G1Affine};
use rollmill_plonk::gates::power_of_two;
use rollmill_plonk::key::{KeyError, VerifyingKey, layout_digest, setup};
use rollmill_plonk::proof::{COMMITMENTS, EVALUATIONS, Proof, ProofError};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, PairError, VerifyError};
use rollmill_plonk_testing::cheats::Cheat;
use rollmill_plonk_testing::statements::{KINDS, Setting, circuit};

const KIND: TranscriptKind = TranscriptKind::Poseidon2;

#[test]
fn a_proof_has_one_length_and_no_identity() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    let bytes = setting.prove(KIND, &made.witness, Cheat::None).to_bytes();
    let longer = [&bytes[..], &[0; 64]].concat();
    assert_eq!(Proof::from_bytes(&longer), Err(ProofError::Length { got: longer.len() }));
    for part in 0..COMMITMENTS + 2 {
        let at = match part {
            COMMITMENTS.. => part * G1_BYTES + EVALUATIONS * 32,
            _ => part * G1_BYTES,
        };
        let mut changed = bytes.clone();
        changed[at..at + G1_BYTES].fill(0);
        assert_eq!(Proof::from_bytes(&changed), Err(ProofError::Identity { part }));
    }
}

#[test]
fn a_false_opening_is_rejected_by_the_pairing_and_a_wrong_count_before_it() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    let public = &made.witness.public;
    for kind in KINDS {
        let good = setting.prove(kind, &made.witness, Cheat::None);
        let mut proof = good.clone();
        proof.w_prime = -proof.w_prime;
        assert_eq!(setting.decide(kind, public, &proof), Err(VerifyError::Pairing));
        let rejected = setting.decide(kind, &public[..1], &good);
        assert_eq!(rejected, Err(VerifyError::PublicInputs { expected: 2, got: 1 }));
    }
}

#[test]
fn each_field_of_a_key_has_its_range() {
    let vk = Setting::new(&circuit(None).layout).key.vk;
    let bytes = vk.to_bytes();
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(VerifyingKey::from_bytes(&longer), Err(KeyError::Length { .. })));
    let rows = 1u32 << vk.shape.log_n;
    let cases = [
        ("log_n", 0, 3),
        ("log_n", 0, 26),
        ("n_public", 4, rows - 6),
        ("n_public", 4, u32::MAX),
        ("cell_bits", 8, 0),
        ("cell_bits", 8, 17),
    ];
    for (name, at, value) in cases {
        let mut changed = bytes.clone();
        // No more public inputs than the smallest size has rows for, so that one field is wrong alone.
        changed[4..8].copy_from_slice(&1u32.to_be_bytes());
        changed[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let rejected = VerifyingKey::from_bytes(&changed);
        let Err(KeyError::Field { field, got }) = rejected else {
            panic!("{name} {value}: {rejected:?}")
        };
        assert_eq!((field, got), (name, u64::from(value)));
    }
    for column in 0..vk.fixed.len() {
        let mut changed = bytes.clone();
        let at = bytes.len() - (vk.fixed.len() - column) * G1_BYTES;
        changed[at..at + G1_BYTES].fill(0);
        assert_eq!(VerifyingKey::from_bytes(&changed), Err(KeyError::Identity { column }));
    }
}

#[test]
fn a_key_is_not_made_of_a_column_of_zeros() {
    let made = circuit(None);
    let Setting { device, srs, bases, .. } = Setting::new(&made.layout);
    let mut columns = made.layout.fixed_columns().to_vec();
    columns[3].fill(Fr::from(0u64));
    let rejected = setup(&device, &bases, srs.id(), made.layout.shape, &columns);
    assert_eq!(rejected, Err(KeyError::Identity { column: 3 }));
}

#[test]
fn digests_of_keys_and_layouts_name_all_of_them() {
    let made = circuit(None);
    let vk = Setting::new(&made.layout).key.vk;
    let mut others: Vec<VerifyingKey> = Vec::new();
    let mut other = |change: &dyn Fn(&mut VerifyingKey)| {
        let mut key = vk.clone();
        change(&mut key);
        others.push(key);
    };
    other(&|key| key.shape.log_n += 1);
    other(&|key| key.shape.n_public += 1);
    other(&|key| key.shape.cell_bits += 1);
    other(&|key| key.srs_id += Fr::from(1u64));
    for column in 0..vk.fixed.len() {
        other(&|key| key.fixed[column] = -key.fixed[column]);
    }
    for other in &others {
        assert_ne!(other.digest(), vk.digest(), "{:?}", other.shape);
    }
    let columns = made.layout.fixed_columns();
    let digest = layout_digest(&made.layout.shape, &columns);
    for shape in others[..3].iter().map(|key| key.shape) {
        assert_ne!(layout_digest(&shape, &columns), digest, "{shape:?}");
    }
    for column in 0..columns.len() {
        let mut columns = columns.to_vec();
        columns[column][7] += Fr::from(1u64);
        assert_ne!(layout_digest(&made.layout.shape, &columns), digest, "column {column}");
    }
}

/// Each change is rejected by one check: without it the pair would be read as some pair.
#[test]
fn a_carried_pair_has_one_encoding_and_points_of_the_curve() {
    let g = G1Affine::generator();
    let point = |k: u64| (g * Fr::from(k)).into_affine();
    let pair = Pair { l: point(5), s_l: Fr::from(2u64), r: point(9), s_r: Fr::from(3u64) };
    let fields = pair.to_fields();
    assert_eq!(Pair::from_fields(&fields), Ok(pair));
    let rejected = |fields: &[Fr; PAIR_INPUTS]| Pair::from_fields(fields).expect_err("malformed");
    let points = [(0, PairPoint::L), (2, PairPoint::L), (5, PairPoint::R), (7, PairPoint::R)];
    for (coordinate, point) in points {
        for half in [coordinate, coordinate + 1] {
            let mut changed = fields;
            changed[half] += power_of_two(128);
            let got = changed[half];
            assert_eq!(rejected(&changed), PairError::Half { point, got }, "half {half}");
        }
        // The same coordinate and q.
        let number = |field: Fr| field.into_bigint();
        let mut sum = number(fields[coordinate + 1]);
        sum.0 = [0, 0, sum.0[0], sum.0[1]];
        sum.0[..2].copy_from_slice(&number(fields[coordinate]).0[..2]);
        assert!(!sum.add_with_carry(&Fq::MODULUS), "2q is below 2^256");
        let [a, b, c, d] = sum.0;
        let join = |low: u64, high: u64| Fr::from(u128::from(low) | u128::from(high) << 64);
        let mut changed = fields;
        (changed[coordinate], changed[coordinate + 1]) = (join(a, b), join(c, d));
        assert_eq!(rejected(&changed), PairError::Modulus { point });
    }
    for (start, point) in [(0, PairPoint::L), (5, PairPoint::R)] {
        let mut changed = fields;
        changed[start + 2] += Fr::from(1u64);
        assert_eq!(rejected(&changed), PairError::Curve { point });
        changed[start..start + 4].fill(Fr::from(0u64));
        assert_eq!(rejected(&changed), PairError::Curve { point }, "the identity");
    }
}
