//! `.ptau` files: written here byte by byte as snarkjs documents them, and one that snarkjs made.

use std::io::Cursor;
use std::ops::Range;

use ark_bn254::{Fq, Fq2};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, Field, PrimeField};
use rollmill_algebra::{Fr, G1Affine, G2Affine};
use rollmill_plonk::srs::{Origin, Pinned, Srs, SrsError, development_tau};
use sha2::{Digest, Sha256};

/// Made by `snarkjs powersoftau new bn128 2`, `contribute` and `prepare phase2`.
const BY_SNARKJS: &[u8] = include_bytes!("fixtures/power2.ptau");

/// A file in the making, with the bytes that an import has no use for.
#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    unread: Vec<Range<usize>>,
}

impl File {
    fn new(sections: u32) -> Self {
        let mut bytes = b"ptau".to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(sections.to_le_bytes());
        Self { bytes, unread: Vec::new() }
    }

    fn section(&mut self, kind: u32, contents: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((contents.len() as u64).to_le_bytes());
        self.bytes.extend(contents);
        match kind {
            // The power of the ceremony that the file was cut from.
            1 => self.unread.push(at + 12 + 40..at + 12 + 44),
            2 | 3 => {}
            // How many contributions there are does not matter, as long as there is one.
            7 => self.unread.push(at + 12..self.bytes.len()),
            _ => self.unread.extend([at..at + 4, at + 12..self.bytes.len()]),
        }
    }

    fn is_unread(&self, at: usize) -> bool {
        self.unread.iter().any(|range| range.contains(&at))
    }
}

/// Little-endian in Montgomery form: x · 2^256 mod q.
fn coordinate(x: Fq) -> Vec<u8> {
    let radix = Fq::from(2u64).pow([256]);
    (x * radix).into_bigint().to_bytes_le()
}

fn g1(scalar: Fr) -> Vec<u8> {
    let point: G1Affine = (G1Affine::generator() * scalar).into_affine();
    [point.x, point.y].into_iter().flat_map(coordinate).collect()
}

fn g2(scalar: Fr) -> Vec<u8> {
    let point: G2Affine = (G2Affine::generator() * scalar).into_affine();
    let Fq2 { c0: x0, c1: x1, .. } = point.x;
    let Fq2 { c0: y0, c1: y1, .. } = point.y;
    [x0, x1, y0, y1].into_iter().flat_map(coordinate).collect()
}

fn header(power: u32) -> Vec<u8> {
    let prime = Fq::MODULUS.to_bytes_le();
    [&32u32.to_le_bytes()[..], &prime, &power.to_le_bytes(), &power.to_le_bytes()].concat()
}

/// Any number but one of the known τ.
fn secret(name: u64) -> Fr {
    development_tau() + Fr::from(name)
}

/// A whole file of τ as snarkjs lays it out; τ in G2 may be another.
fn file(power: u32, tau: Fr, tau_in_g2: Fr) -> File {
    let (alpha, beta) = (Fr::from(11u64), Fr::from(13u64));
    let row = |factor: Fr, count: usize, point: fn(Fr) -> Vec<u8>, tau: Fr| -> Vec<u8> {
        rollmill_algebra::field::powers(tau, count).iter().flat_map(|x| point(factor * x)).collect()
    };
    let n = 1usize << power;
    let mut file = File::new(7);
    file.section(1, &header(power));
    file.section(2, &row(Fr::from(1u64), 2 * n - 1, g1, tau));
    file.section(3, &row(Fr::from(1u64), n, g2, tau_in_g2));
    file.section(4, &row(alpha, n, g1, tau));
    file.section(5, &row(beta, n, g1, tau));
    file.section(6, &g2(beta));
    file.section(7, &1u32.to_le_bytes());
    file
}

fn import(bytes: &[u8]) -> Result<Srs, SrsError> {
    Srs::import_ptau(&mut Cursor::new(bytes), None, 3)
}

#[test]
fn a_file_holds_the_powers_of_its_tau() {
    let file = file(2, secret(5), secret(5));
    let srs = import(&file.bytes).unwrap();
    let of = |x: &Fr| (G1Affine::generator() * x).into_affine();
    let expected: Vec<_> = rollmill_algebra::field::powers(secret(5), 7).iter().map(of).collect();
    let tau_g2 = (G2Affine::generator() * secret(5)).into_affine();
    assert_eq!((&srs.powers, srs.tau_g2), (&expected, tau_g2));
    assert_eq!(srs.origin, Origin::Ceremony);
    let some = Srs::import_ptau(&mut Cursor::new(&file.bytes), Some(3), 3).unwrap();
    assert_eq!(some.powers, expected[..3]);
    let rejected = Srs::import_ptau(&mut Cursor::new(&file.bytes), Some(8), 3).unwrap_err();
    assert_eq!(rejected, SrsError::TooShort { need: 8, have: 7 });
}

#[test]
fn a_file_made_by_snarkjs_is_imported_as_a_ceremonys() {
    let srs = import(BY_SNARKJS).unwrap();
    assert_eq!(srs.powers.len(), 7);
    assert_eq!(srs.origin, Origin::Ceremony);
    srs.require_ceremony(1).unwrap();
    let again = Srs::from_bytes(&srs.to_bytes()).unwrap();
    assert_eq!((again.powers, again.origin), (srs.powers, Origin::Ceremony));
}

/// Goal: no byte of what is used can change, and no byte at all if the digest is pinned.
#[test]
fn every_flipped_byte_is_rejected_or_of_no_use() {
    let file = file(1, secret(5), secret(5));
    let srs = import(&file.bytes).unwrap();
    let digest = hex::encode(Sha256::digest(&file.bytes));
    let pinned = |bytes: &[u8]| Pinned::new(Cursor::new(bytes.to_vec()), &digest);
    pinned(&file.bytes).unwrap();
    let mut accepted = 0;
    for at in 0..file.bytes.len() {
        for mask in [1 << (at % 8), 0xff] {
            let mut changed = file.bytes.clone();
            changed[at] ^= mask;
            assert!(pinned(&changed).is_err(), "byte {at}");
            // An import of what is not read takes its time; some of it will do.
            if file.is_unread(at) && at % 16 != 0 {
                continue;
            }
            let Ok(other) = import(&changed) else { continue };
            accepted += 1;
            assert!(file.is_unread(at), "byte {at} by {mask:#x}");
            assert_eq!((&other.powers, other.tau_g2), (&srs.powers, srs.tau_g2), "byte {at}");
        }
    }
    assert!(accepted > 0, "the unused bytes are read");
}

#[test]
fn every_missing_or_added_byte_is_rejected() {
    let file = file(1, secret(5), secret(5)).bytes;
    for at in 0..file.len() {
        assert!(import(&file[..at]).is_err(), "cut at {at}");
        let without = [&file[..at], &file[at + 1..]].concat();
        assert!(import(&without).is_err(), "without byte {at}");
        let with = [&file[..at], &[0x5a], &file[at..]].concat();
        assert!(import(&with).is_err(), "one more at {at}");
    }
    assert!(import(&[&file[..], &[0]].concat()).is_err());
}

#[test]
fn a_file_of_two_secrets_or_out_of_order_is_rejected() {
    let (one, other) = (secret(5), secret(6));
    assert_eq!(import(&file(2, one, other).bytes).unwrap_err(), SrsError::Powers);
    // Every point in G2 counts, though only [τ] is kept.
    let mut mixed = File::new(4);
    mixed.section(1, &header(1));
    mixed.section(2, &[g1(Fr::from(1u64)), g1(one), g1(one * one)].concat());
    mixed.section(3, &[g2(other), g2(one)].concat());
    mixed.section(7, &1u32.to_le_bytes());
    assert_eq!(import(&mixed.bytes).unwrap_err(), SrsError::Powers);
    let mut rotated = File::new(4);
    rotated.section(1, &header(1));
    rotated.section(2, &[g1(one), g1(one * one), g1(one * one * one)].concat());
    rotated.section(3, &[g2(Fr::from(1u64)), g2(one)].concat());
    rotated.section(7, &1u32.to_le_bytes());
    assert_eq!(import(&rotated.bytes).unwrap_err(), SrsError::Generator);
}

#[test]
fn another_curve_another_version_and_missing_sections_are_rejected_in_one_line() {
    let good = file(1, secret(5), secret(5)).bytes;
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let mut twice = File::new(2);
    twice.section(1, &header(1));
    twice.section(1, &header(1));
    let mut bare = File::new(1);
    bare.section(1, &header(1));
    let mut unread = bare.clone();
    unread.section(7, &1u32.to_le_bytes());
    let [mut before_the_first, mut empty] = [bare.clone(), bare.clone()];
    before_the_first.section(7, &0u32.to_le_bytes());
    empty.section(7, &[]);
    for file in [&mut unread, &mut before_the_first, &mut empty] {
        file.bytes[8] = 2;
    }
    for (bytes, part) in [
        (with(0, b"zkey"), "PLK-070"),
        (with(4, &2u32.to_le_bytes()), "version 1"),
        (with(8, &65u32.to_le_bytes()), "at most 64 sections"),
        (with(24, &48u32.to_le_bytes()), "expected a prime of 32 bytes, got 48"),
        (with(28, &[1]), "the prime of bn128"),
        (with(60, &29u32.to_le_bytes()), "got 29 of 1"),
        (twice.bytes, "section 1 of the ptau file is wrong: it is there twice"),
        (bare.bytes, "section 7 of the ptau file is wrong: it is missing"),
        (unread.bytes, "section 2 of the ptau file is wrong: it is missing"),
        (before_the_first.bytes, "section 7 of the ptau file is wrong: it lists no contribution"),
        (empty.bytes, "section 7 of the ptau file is wrong: it has no number of contributions"),
    ] {
        let line = import(&bytes).unwrap_err().to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    }
}
