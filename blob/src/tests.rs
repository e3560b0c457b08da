//! The blob of the model in `protocol/tests/vectors`, the library's own arithmetic, and data that is no block's.

use ark_ff::{BigInteger, Field, PrimeField};
use c_kzg::{Bytes48, Cell};
use proptest::prelude::*;
use rollmill_algebra::field::from_u64;
use rollmill_protocol::blob::{self as words, BlobFr};
use sha2::{Digest, Sha256};

use super::*;

/// What the model in Python computed, which shares no code with this crate.
fn model() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/vectors/protocol2.json");
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["blob"].take()
}

fn array<const N: usize>(value: &serde_json::Value) -> [u8; N] {
    let text = value.as_str().unwrap().strip_prefix("0x").unwrap();
    hex::decode(text).unwrap().try_into().unwrap()
}

fn word(value: &serde_json::Value) -> Fr {
    bytes::fr_from_bytes(&array(value)).unwrap()
}

fn words_of(model: &serde_json::Value) -> Vec<Fr> {
    model["words"].as_array().unwrap().iter().map(word).collect()
}

fn blob_of(words: &[Fr]) -> Blob {
    Blob::from_bytes(&words::encode_words(words).unwrap()).unwrap()
}

/// A value as 32 bytes.
fn value(of: BlobFr) -> [u8; 32] {
    of.into_bigint().to_bytes_be().try_into().unwrap()
}

fn value_at(coefficients: &[Fr], z: &Fr) -> [u8; 32] {
    value(words::evaluate(coefficients, &words::to_blob_field(z)))
}

fn numbers(count: usize) -> Vec<Fr> {
    (1..=count as u64).map(from_u64).collect()
}

#[test]
fn the_blob_of_the_model_has_its_values_commitment_and_proof() {
    let model = model();
    let words = words_of(&model);
    let blob = blob_of(&words);
    for (index, value) in model["values"].as_object().unwrap() {
        let at = 32 * index.parse::<usize>().unwrap();
        assert_eq!(blob.as_bytes()[at..at + 32], array::<32>(value), "element {index}");
    }
    let digest: [u8; 32] = Sha256::digest(blob.as_bytes()).into();
    assert_eq!(digest, array(&model["blob_sha256"]));
    let z = word(&model["z"]);
    assert_eq!(value_at(&words, &z), array(&model["y"]));

    let kzg = Kzg::start();
    let commitment = kzg.commit(&blob).unwrap();
    assert_eq!(commitment.0, array(&model["commitment"]));
    assert_eq!(commitment.versioned_hash(), array(&model["versioned_hash"]));
    assert!(kzg.is_named(&blob, &commitment.versioned_hash()).unwrap());
    let (y, proof) = kzg.prove(&blob, &z).unwrap();
    assert_eq!((y, proof.0), (array(&model["y"]), array(&model["proof"])));
}

#[test]
fn no_other_value_point_proof_or_commitment_is_accepted() {
    let kzg = Kzg::start();
    let blob = blob_of(&numbers(82));
    let (commitment, z) = (kzg.commit(&blob).unwrap(), from_u64(77));
    let (y, proof) = kzg.prove(&blob, &z).unwrap();
    assert!(kzg.verify(&commitment, &z, &y, &proof).unwrap());
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let other = kzg.commit(&blob_of(&numbers(83))).unwrap();
    let (_, other_proof) = kzg.prove(&blob, &from_u64(78)).unwrap();
    let other_y: [u8; 32] = flipped(&y).try_into().unwrap();
    let no_point: [u8; 48] = flipped(&commitment.0).try_into().unwrap();
    for (commitment, z, y, proof) in [
        (commitment, from_u64(78), y, proof),
        (commitment, z, other_y, proof),
        (commitment, z, [0xff; 32], proof),
        (commitment, z, y, other_proof),
        (commitment, z, y, Proof(no_point)),
        (commitment, z, y, Proof([0; 48])),
        (other, z, y, proof),
        (Commitment([0xff; 48]), z, y, proof),
    ] {
        assert!(!kzg.verify(&commitment, &z, &y, &proof).unwrap());
    }
    assert!(!kzg.is_named(&blob, &other.versioned_hash()).unwrap());
}

#[test]
fn only_a_blobs_bytes_are_a_blob() {
    let blob = blob_of(&numbers(5));
    assert_eq!(Blob::from_bytes(blob.as_bytes()).unwrap(), blob);
    for length in [0, 32, BYTES - 1, BYTES + 1] {
        let error = Blob::from_bytes(&vec![0; length]).unwrap_err();
        assert_eq!(error, BlobError::Length { what: "blob", expected: BYTES, got: length });
    }
    assert_eq!(BlobFr::MODULUS.to_bytes_be(), Q);
    let order = value(-BlobFr::from(1u64));
    let mut bytes = blob.as_bytes().to_vec();
    bytes[32 * 17..32 * 18].copy_from_slice(&order);
    Blob::from_bytes(&bytes).unwrap();
    bytes[32 * 18 - 1] += 1;
    assert_eq!(Blob::from_bytes(&bytes), Err(BlobError::NotCanonical { index: 17 }));
}

#[test]
fn a_sidecars_cell_proofs_verify_and_the_empty_one_is_what_the_library_computes() {
    let kzg = Kzg::start();
    let blob = blob_of(&numbers(82));
    let sidecar = kzg.sidecar(blob.clone()).unwrap();
    assert_eq!(sidecar.commitment(), kzg.commit(&blob).unwrap());
    let settings = c_kzg::ethereum_kzg_settings(0);
    let native = c_kzg::Blob::from_bytes(blob.as_bytes()).unwrap();
    let cells: Vec<Cell> = settings.compute_cells(&native).unwrap().to_vec();
    let commitments = vec![Bytes48::from(sidecar.commitment().0); CELLS];
    let indices: Vec<u64> = (0..CELLS as u64).collect();
    let proofs: Vec<Bytes48> = sidecar.cell_proofs().iter().map(|p| Bytes48::from(p.0)).collect();
    assert_eq!(proofs.len(), CELLS);
    let verified = settings.verify_cell_kzg_proof_batch(&commitments, &indices, &cells, &proofs);
    assert!(verified.unwrap());

    let empty = kzg.sidecar(blob_of(&[])).unwrap();
    assert_eq!(empty, Sidecar::empty());
}

#[test]
fn a_sidecars_bytes_mean_the_sidecar() {
    let kzg = Kzg::start();
    let sidecar = kzg.sidecar(blob_of(&numbers(3))).unwrap();
    let bytes = sidecar.to_bytes();
    assert_eq!(bytes.len(), SIDECAR_BYTES);
    assert_eq!(Sidecar::from_bytes(&bytes).unwrap(), sidecar);
    for length in [0, BYTES, SIDECAR_BYTES - 1] {
        let error = Sidecar::from_bytes(&bytes[..length]).unwrap_err();
        let expected = SIDECAR_BYTES;
        assert_eq!(error, BlobError::Length { what: "sidecar", expected, got: length });
    }
}

fn any_word() -> impl Strategy<Value = Fr> {
    prop_oneof![
        any::<[u64; 4]>().prop_map(|limbs| {
            let shift = Fr::from(1u64 << 32).square();
            limbs.iter().fold(Fr::from(0u64), |sum, limb| sum * shift + Fr::from(*limb))
        }),
        Just(Fr::from(0u64)),
        Just(-Fr::from(1u64)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The library evaluates the blob's values, the protocol its coefficients.
    #[test]
    fn the_library_computes_the_same_value(words in prop::collection::vec(any_word(), 0..100), z in any_word()) {
        let blob = blob_of(&words);
        let (y, _) = Kzg::start().prove(&blob, &z).unwrap();
        prop_assert_eq!(y, value_at(&words, &z));
    }
}

/// Goal: no blob fills a log or the output of a failed test; two of them can still be told apart.
#[test]
fn debug_output_is_short_and_tells_blobs_apart() {
    let kzg = Kzg::start();
    let shown = [1, 2].map(|words| {
        let blob = blob_of(&numbers(words));
        let sidecar = kzg.sidecar(blob.clone()).unwrap();
        [format!("{blob:?}"), format!("{sidecar:?}"), format!("{:#?}", Some(sidecar))]
    });
    for text in shown.iter().flatten() {
        assert!(text.len() < 1_000, "{text}");
        assert!(text.contains("131072 bytes, SHA-256 0x"), "{text}");
    }
    assert_ne!(shown[0], shown[1]);
}
