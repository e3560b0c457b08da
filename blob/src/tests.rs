//! The blob of the model in `protocol/tests/vectors`, the library's own arithmetic, and data that is no block's.

use ark_ff::Field;
use c_kzg::{Bytes48, Cell};
use proptest::prelude::*;
use rollmill_algebra::field::from_u64;
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

/// A blob with any coefficients, also those that are no words.
fn of_coefficients(mut coefficients: Vec<Element>) -> Blob {
    coefficients.resize(ELEMENTS, Element::from(0u64));
    fft::evaluate(&mut coefficients);
    Blob::of_values(&coefficients)
}

fn numbers(count: usize) -> Vec<Fr> {
    (1..=count as u64).map(from_u64).collect()
}

#[test]
fn the_blob_of_the_model_has_its_values_commitment_and_proof() {
    let model = model();
    let words = words_of(&model);
    let blob = Blob::from_words(&words).unwrap();
    for (index, value) in model["values"].as_object().unwrap() {
        let at = 32 * index.parse::<usize>().unwrap();
        assert_eq!(blob.as_bytes()[at..at + 32], array::<32>(value), "element {index}");
    }
    let digest: [u8; 32] = Sha256::digest(blob.as_bytes()).into();
    assert_eq!(digest, array(&model["blob_sha256"]));
    assert_eq!(blob.to_words(words.len()).unwrap(), words);
    let z = word(&model["z"]);
    assert_eq!(evaluate(&words, &z), array(&model["y"]));

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
    let blob = Blob::from_words(&numbers(82)).unwrap();
    let (commitment, z) = (kzg.commit(&blob).unwrap(), from_u64(77));
    let (y, proof) = kzg.prove(&blob, &z).unwrap();
    assert!(kzg.verify(&commitment, &z, &y, &proof).unwrap());
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let other = kzg.commit(&Blob::from_words(&numbers(83)).unwrap()).unwrap();
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

/// The definition of docs/book/protocol-2.md, term by term: ω, the reversed bits, the sum of powers.
#[test]
fn each_element_is_the_polynomials_value_at_its_root_of_unity() {
    let words = numbers(200);
    let blob = Blob::from_words(&words).unwrap();
    let exponent: num_exponent::Limbs = num_exponent::q_minus_one_over_4096();
    let omega = Element::from(7u64).pow(exponent);
    assert_eq!(omega.pow([4096u64]), Element::from(1u64));
    for index in [0usize, 1, 2, 3, 1000, 2048, 4095] {
        let reversed = (0..12).fold(0u64, |sum, bit| sum << 1 | (index as u64 >> bit & 1));
        let point = omega.pow([reversed]);
        let terms = words.iter().zip(0u64..).map(|(w, power)| element(w) * point.pow([power]));
        let at = 32 * index;
        assert_eq!(blob.as_bytes()[at..at + 32], encode(&terms.sum()), "element {index}");
    }
}

mod num_exponent {
    use ark_ff::{BigInteger, PrimeField};

    pub(super) type Limbs = [u64; 4];

    /// (q − 1)/4096.
    pub(super) fn q_minus_one_over_4096() -> Limbs {
        let mut q = super::Element::MODULUS;
        q.sub_with_borrow(&1u64.into());
        (0..12).for_each(|_| q.div2());
        q.0
    }
}

#[test]
fn only_a_blobs_bytes_are_a_blob() {
    let blob = Blob::from_words(&numbers(5)).unwrap();
    assert_eq!(Blob::from_bytes(blob.as_bytes()).unwrap(), blob);
    for length in [0, 32, BYTES - 1, BYTES + 1] {
        let error = Blob::from_bytes(&vec![0; length]).unwrap_err();
        assert_eq!(error, BlobError::Length { what: "blob", expected: BYTES, got: length });
    }
    let order = encode(&-Element::from(1u64));
    let mut bytes = blob.as_bytes().to_vec();
    bytes[32 * 17..32 * 18].copy_from_slice(&order);
    Blob::from_bytes(&bytes).unwrap();
    bytes[32 * 18 - 1] += 1;
    assert_eq!(Blob::from_bytes(&bytes), Err(BlobError::NotCanonical { index: 17 }));
}

#[test]
fn words_after_the_end_and_words_that_are_none_are_named() {
    let blob = Blob::from_words(&numbers(82)).unwrap();
    assert_eq!(blob.to_words(82).unwrap(), numbers(82));
    assert_eq!(blob.to_words(81), Err(BlobError::AfterEnd { index: 81, count: 81 }));
    assert_eq!(blob.to_words(83).unwrap()[82], Fr::from(0u64));
    assert_eq!(blob.to_words(ELEMENTS + 1), Err(BlobError::TooManyWords { got: ELEMENTS + 1 }));
    let error = Blob::from_words(&vec![from_u64(1); ELEMENTS + 1]).unwrap_err();
    assert_eq!(error, BlobError::TooManyWords { got: ELEMENTS + 1 });

    let largest = element(&-Fr::from(1u64));
    let mut coefficients = vec![Element::from(3u64), largest, Element::from(4u64)];
    of_coefficients(coefficients.clone()).to_words(3).unwrap();
    coefficients[1] += Element::from(1u64);
    let error = of_coefficients(coefficients).to_words(3).unwrap_err();
    assert_eq!(error, BlobError::NotAWord { index: 1 });
    let mut last = vec![Element::from(0u64); ELEMENTS];
    last[ELEMENTS - 1] = -Element::from(1u64);
    let error = of_coefficients(last).to_words(0).unwrap_err();
    assert_eq!(error, BlobError::AfterEnd { index: ELEMENTS - 1, count: 0 });
}

#[test]
fn a_sidecars_cell_proofs_verify_and_the_empty_one_is_what_the_library_computes() {
    let kzg = Kzg::start();
    let blob = Blob::from_words(&numbers(82)).unwrap();
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

    let empty = kzg.sidecar(Blob::from_words(&[]).unwrap()).unwrap();
    assert_eq!(empty, Sidecar::empty());
}

#[test]
fn a_sidecars_bytes_mean_the_sidecar() {
    let kzg = Kzg::start();
    let sidecar = kzg.sidecar(Blob::from_words(&numbers(3)).unwrap()).unwrap();
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

    #[test]
    fn what_was_written_is_read(words in prop::collection::vec(any_word(), 0..300), more in 0usize..50) {
        let blob = Blob::from_words(&words).unwrap();
        let read = blob.to_words(words.len() + more).unwrap();
        prop_assert_eq!(&read[..words.len()], &words[..]);
        prop_assert!(read[words.len()..].iter().all(|word| *word == Fr::from(0u64)));
        prop_assert_eq!(Blob::from_bytes(blob.as_bytes()).unwrap(), blob);
    }

    /// The library evaluates the blob's values, this crate its coefficients.
    #[test]
    fn the_library_computes_the_same_value(words in prop::collection::vec(any_word(), 0..100), z in any_word()) {
        let blob = Blob::from_words(&words).unwrap();
        let (y, _) = Kzg::start().prove(&blob, &z).unwrap();
        prop_assert_eq!(y, evaluate(&words, &z));
    }
}
