//! The structured reference string as a file: one encoding, all damage detected, every lie rejected.

use std::io::{Cursor, Read};

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::PrimeField;
use rollmill_algebra::{Fr, G1Affine, G2Affine};
use rollmill_plonk::srs::{Origin, Pinned, Srs, SrsError, development_tau};
use sha2::{Digest, Sha256};

fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 32);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

#[test]
fn every_flipped_bit_and_every_missing_or_added_byte_is_rejected() {
    let srs = Srs::development(2);
    let bytes = srs.to_bytes();
    assert_eq!(Srs::from_bytes(&bytes).unwrap().powers, srs.powers);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(Srs::from_bytes(&flipped).is_err(), "byte {at}, bit {bit}");
        }
        assert!(Srs::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(Srs::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

/// Goal: a changed SRS with a new digest is rejected by the encoding of points or by the pairing check, or is
/// another valid SRS, for which there are no keys.
#[test]
fn a_change_with_a_new_digest_is_found_by_the_check_or_is_another_srs() {
    let srs = Srs::development(1);
    let bytes = srs.to_bytes();
    for at in 0..bytes.len() - 32 {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let Ok(other) = Srs::from_bytes(&resealed(changed)) else { continue };
        let found = other.check(7).is_err() || other.id() != srs.id();
        // The mark of a development SRS cannot be removed, so changing it has no effect.
        let same = other.origin == Origin::Development && other.powers == srs.powers;
        assert!(found || same, "byte {at}");
    }
}

#[test]
fn powers_of_two_secrets_or_out_of_order_are_rejected() {
    let srs = Srs::development(2);
    srs.check(1).unwrap();
    let mut swapped = srs.clone();
    swapped.powers.swap(1, 2);
    assert!(matches!(swapped.check(1), Err(SrsError::Powers)));
    let mut repeated = srs.clone();
    repeated.powers[5] = repeated.powers[4];
    assert!(matches!(repeated.check(1), Err(SrsError::Powers)));
    let mut no_generator = srs.clone();
    no_generator.powers.rotate_left(1);
    assert!(matches!(no_generator.check(1), Err(SrsError::Generator)));
    let mut other_secret = srs.clone();
    other_secret.tau_g2 = (srs.tau_g2 * Fr::from(2u64)).into();
    assert!(matches!(other_secret.check(1), Err(SrsError::Powers)));
    let mut none = srs;
    none.tau_g2 = G2Affine::identity();
    assert!(none.check(1).is_err());
}

#[test]
fn a_development_srs_cannot_pass_for_a_ceremonys() {
    let mut bytes = Srs::development(1).to_bytes();
    assert_eq!(bytes[8], 1);
    bytes[8] = 0;
    let read = Srs::from_bytes(&resealed(bytes)).unwrap();
    assert_eq!(read.origin, Origin::Development);
    assert!(matches!(read.require_ceremony(1), Err(SrsError::Development { chain_id: 1 })));
    read.require_ceremony(31337).unwrap();
    // geth's default for private networks of any purpose.
    assert!(read.require_ceremony(1337).is_err());
}

/// An SRS of a τ that is not a known one.
fn ceremony(powers: usize) -> Srs {
    let tau = development_tau() + Fr::from(1u64);
    let scalars = rollmill_algebra::field::powers(tau, powers);
    Srs {
        powers: scalars.iter().map(|x| (G1Affine::generator() * x).into_affine()).collect(),
        tau_g2: (G2Affine::generator() * tau).into_affine(),
        origin: Origin::Ceremony,
    }
}

fn flat(srs: &Srs) -> (Vec<u8>, Vec<u8>) {
    let g1 = srs.powers.iter().flat_map(rollmill_algebra::bytes::g1_to_bytes).collect();
    // Barretenberg's order of a coordinate in G2 is c0 before c1; EIP-197's, ours, the other way.
    let ours = rollmill_algebra::bytes::g2_to_bytes(&srs.tau_g2);
    let g2 = [32..64, 0..32, 96..128, 64..96].map(|range| ours[range].to_vec()).concat();
    (g1, g2)
}

#[test]
fn flat_files_are_imported_with_every_check() {
    let srs = ceremony(10);
    let (g1, g2) = flat(&srs);
    assert_eq!(srs.to_flat(), (g1.clone(), g2.clone().try_into().unwrap()));
    let import = |g1: &[u8], g2: &[u8]| Srs::import_flat(g1, g2, None, 3);
    let imported = import(&g1, &g2).unwrap();
    assert_eq!((&imported.powers, imported.tau_g2), (&srs.powers, srs.tau_g2));
    assert_eq!(imported.origin, Origin::Ceremony);
    for at in 0..g1.len() {
        let mut changed = g1.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(import(&changed, &g2).is_err(), "G1 byte {at}");
        if at % 64 != 0 {
            assert!(import(&g1[..at], &g2).is_err(), "G1 cut at {at}");
        }
    }
    for at in 0..g2.len() {
        let mut changed = g2.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(import(&g1, &changed).is_err(), "G2 byte {at}");
        assert!(import(&g1, &g2[..at]).is_err(), "G2 cut at {at}");
    }
    assert!(import(&[], &g2).is_err());
    assert!(import(&g1, &[&g2[..], &[0]].concat()).is_err());
}

#[test]
fn as_many_powers_are_kept_as_are_asked_for() {
    let srs = ceremony(10);
    let (g1, g2) = flat(&srs);
    let some = Srs::import_flat(&g1[..], &g2[..], Some(3), 3).unwrap();
    assert_eq!(some.powers, srs.powers[..3]);
    // What lies behind is not read, so a file of any length will do.
    let cut = Srs::import_flat(&g1[..3 * 64 + 1], &g2[..], Some(3), 3).unwrap();
    assert_eq!(cut.powers, some.powers);
    let rejected = Srs::import_flat(&g1[..], &g2[..], Some(srs.powers.len() + 1), 3).unwrap_err();
    assert_eq!(rejected, SrsError::TooShort { need: srs.powers.len() + 1, have: srs.powers.len() });
    assert_eq!(Srs::development_of(3).powers, Srs::development(1).powers[..3]);
    assert_eq!(Srs::development_of(0).powers.len(), 1);
}

#[test]
fn a_pinned_digest_is_compared_with_that_of_the_whole_file() {
    let bytes = Srs::development(1).to_bytes();
    let digest = hex::encode(Sha256::digest(&bytes));
    let pinned = |bytes: &[u8], digest: &str| Pinned::new(Cursor::new(bytes.to_vec()), digest);
    pinned(&bytes, &digest).unwrap();
    let mut read = Vec::new();
    pinned(&bytes, &digest.to_uppercase()).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    let rejected = pinned(&bytes[1..], &digest).unwrap_err();
    assert!(matches!(rejected, SrsError::Pinned { .. }), "{rejected}");
}

/// Goal: nobody can choose τ in G2 once the combination is known, so that it holds for points that are no
/// powers.
#[test]
fn a_tau_made_to_fit_the_combination_of_the_points_alone_is_rejected() {
    let seed = 5u64;
    let (one, a, b) = (Fr::from(1u64), Fr::from(7u64), Fr::from(11u64));
    let powers: Vec<G1Affine> =
        [one, a, b].iter().map(|x| (G1Affine::generator() * x).into_affine()).collect();
    let mut hasher = Sha256::new();
    hasher.update(seed.to_be_bytes());
    powers.iter().for_each(|point| hasher.update(rollmill_algebra::bytes::g1_to_bytes(point)));
    let rho = Fr::from_be_bytes_mod_order(&hasher.finalize());
    // Σ ρ^i P_{i+1} is τ Σ ρ^i P_i for this ρ and this τ.
    let tau = (a + rho * b) / (one + rho * a);
    let tau_g2 = (G2Affine::generator() * tau).into_affine();
    let made = Srs { powers, tau_g2, origin: Origin::Ceremony };
    assert_eq!(made.check(seed), Err(SrsError::Powers));
}

/// A file's header is checked before its points: each lie alone, with a new digest.
#[test]
fn a_file_that_says_another_version_length_or_start_is_rejected_by_name() {
    let srs = Srs::development(1);
    let bytes = srs.to_bytes();
    let with = |at: usize, mask: u8| {
        let mut changed = bytes.clone();
        changed[at] ^= mask;
        Srs::from_bytes(&resealed(changed)).unwrap_err()
    };
    assert_eq!(with(7, 3), SrsError::Magic);
    assert!(matches!(with(16, 1), SrsError::Length { .. }));
    let mut other = srs.clone();
    other.powers.rotate_left(1);
    assert_eq!(Srs::from_bytes(&other.to_bytes()).unwrap_err(), SrsError::Generator);
    // Two rows and what blinding needs.
    srs.require(2).unwrap();
    assert_eq!(srs.require(3), Err(SrsError::TooShort { need: 11, have: 10 }));
}
