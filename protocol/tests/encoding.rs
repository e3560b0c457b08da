//! Canonical bytes: one encoding a value, and no panic on any input.

use ark_ff::{BigInteger, Field, PrimeField};
use proptest::prelude::*;
use rollmill_algebra::Fr;
use rollmill_protocol::blob::{self, BLOB_BYTES, BlobFr, TX_WORDS};
use rollmill_protocol::codec::Reader;
use rollmill_protocol::field::{from_hex, to_bytes, to_hex};
use rollmill_protocol::tx::{LOG_BYTES, log_bytes, log_words};
use rollmill_protocol::{BlockBody, BlockData, DecodeError, Genesis, Header, Pair, ProofKind, Tx};

use rollmill_protocol_testing::{body, body_from_notes, builder, genesis, start, tx, value};

fn sample_tx() -> Vec<u8> {
    tx(3, value(1, 1)).to_bytes()
}

fn sample_block() -> Vec<u8> {
    let (header, store) = start();
    let mut builder = builder(&header, store);
    for i in 0..2 {
        builder.apply(&tx(i, header.hash())).unwrap();
    }
    builder.apply_body(&body_from_notes(2, 5)).unwrap();
    builder.finish().unwrap().0.data().to_bytes()
}

/// Requires that `bytes` are rejected, or are another value than the one of `good`, and that what is
/// accepted encodes back to the same bytes.
fn rejected_or_other<T: PartialEq>(
    good: &T,
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        assert!(value != *good, "two encodings of one value");
        assert_eq!(encode(&value), bytes);
    }
}

#[test]
fn every_flipped_byte_of_a_transaction_is_rejected_or_another_value() {
    let good = sample_tx();
    let tx = Tx::from_bytes(&good).unwrap();
    assert_eq!(tx.to_bytes(), good);
    for i in 0..good.len() {
        for mask in [1, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[i] ^= mask;
            rejected_or_other(&tx, &bytes, Tx::from_bytes, Tx::to_bytes);
        }
    }
}

#[test]
fn every_flipped_byte_of_a_block_is_rejected_or_another_value() {
    let good = sample_block();
    let data = BlockData::from_bytes(&good).unwrap();
    assert_eq!(data.to_bytes(), good);
    for i in 0..good.len() {
        let mut bytes = good.clone();
        bytes[i] ^= 1 << (i % 8);
        rejected_or_other(&data, &bytes, BlockData::from_bytes, BlockData::to_bytes);
    }
}

/// The header is bound by its hash alone; everything after it by the header's running hash and the
/// log hashes. So no change behind the header decodes.
#[test]
fn every_flipped_byte_behind_a_blocks_header_is_rejected() {
    let good = sample_block();
    for i in (1 + Header::BYTES)..good.len() {
        let mut bytes = good.clone();
        bytes[i] ^= 1;
        assert!(BlockData::from_bytes(&bytes).is_err(), "byte {i}");
    }
}

#[test]
fn every_missing_or_added_byte_is_rejected() {
    let (tx, block) = (sample_tx(), sample_block());
    for n in 0..tx.len() {
        assert!(Tx::from_bytes(&tx[..n]).is_err(), "{n} bytes");
    }
    for n in (0..block.len()).step_by(7) {
        assert!(BlockData::from_bytes(&block[..n]).is_err(), "{n} bytes");
    }
    let mut long = tx;
    long.push(0);
    assert_eq!(
        Tx::from_bytes(&long).unwrap_err().to_string(),
        "PRO-002: transaction: 1 bytes after the end"
    );
    let mut long = block;
    long.push(0);
    assert!(matches!(BlockData::from_bytes(&long), Err(DecodeError::Trailing { extra: 1, .. })));
}

#[test]
fn a_number_at_or_above_the_modulus_is_rejected() {
    let mut top = to_bytes(&-Fr::from(1u64));
    assert_eq!(Reader::new("x", &top).fr().unwrap(), -Fr::from(1u64));
    top[31] += 1;
    assert_eq!(Reader::new("x", &top).fr(), Err(DecodeError::NotCanonical { what: "x" }));
    assert!(from_hex(&format!("0x{}", "f".repeat(64))).is_err());
    assert!(from_hex("0x01").is_err());
    assert!(from_hex(&to_hex(&value(1, 1))[2..]).is_err());
    assert_eq!(from_hex(&to_hex(&value(1, 1))).unwrap(), value(1, 1));
}

/// The modulus, big-endian.
fn order() -> [u8; 32] {
    let mut order = to_bytes(&-Fr::from(1u64));
    order[31] += 1;
    order
}

/// Adds the modulus to the word at a place; `false` when the sum does not fit.
fn add_order(word: &mut [u8]) -> bool {
    let mut carry = 0;
    for (byte, more) in word.iter_mut().zip(order()).rev() {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    carry == 0
}

/// Goal: no word has two encodings. Method: to each word of a transaction and of a block its other encoding
/// below 2^256, which is by the modulus larger.
#[test]
fn every_word_that_is_not_canonical_is_rejected() {
    let good = sample_tx();
    let logs = 2 * 5 * 32;
    let body = 17 + 32 + 50 * 32 + logs;
    let pair = body + 1;
    let words = (17..body).step_by(32).chain((pair..pair + 10 * 32).step_by(32));
    for at in words {
        let mut bytes = good.clone();
        assert!(add_order(&mut bytes[at..at + 32]), "byte {at}");
        let rejected = Tx::from_bytes(&bytes).unwrap_err();
        assert!(matches!(rejected, DecodeError::NotCanonical { .. }), "byte {at}: {rejected}");
    }
    let good = sample_block();
    for at in (1..good.len()).step_by(32) {
        let mut bytes = good.clone();
        assert!(add_order(&mut bytes[at..at + 32]), "byte {at}");
        let rejected = BlockData::from_bytes(&bytes).unwrap_err();
        assert!(matches!(rejected, DecodeError::NotCanonical { .. }), "byte {at}: {rejected}");
    }
}

#[test]
fn the_proof_kind_and_its_pair_are_read_strictly() {
    let mut tx = tx(0, value(1, 1));
    let at = tx.to_bytes().len() - tx.client_proof.len() - 4 - 10 * 32 - 1;
    for kind in 0..=255 {
        let mut bytes = tx.to_bytes();
        bytes[at] = kind;
        assert_eq!(Tx::from_bytes(&bytes).is_ok(), kind <= 1, "kind {kind}");
    }
    // Another pair than the trivial one is the private kernel's.
    tx.pair = Pair { s_l: value(1, 2), ..Pair::trivial() };
    let rejected = Tx::from_bytes(&tx.to_bytes()).unwrap_err();
    assert_eq!(rejected.to_string(), "PRO-007: pair: the built-in client has the trivial pair");
    tx.proof_kind = ProofKind::PrivateTail;
    assert_eq!(Tx::from_bytes(&tx.to_bytes()), Ok(tx));
}

/// The 128 bytes of a log of the built-in client have one form in words.
#[test]
fn the_words_of_a_log_are_read_strictly() {
    let bytes: [u8; LOG_BYTES] = std::array::from_fn(|i| 255 - i as u8);
    let words = log_words(&bytes);
    assert_eq!(log_bytes(&words), Some(bytes));
    let (word, padding) = (Fr::from(2u64).pow([248]), Fr::from(1u64));
    for (i, more) in [(0, word), (1, word), (2, word), (3, word), (4, word), (4, padding)] {
        let mut other = words;
        other[i] += more;
        assert_eq!(log_bytes(&other), None, "word {i}");
    }
}

fn sample_txs() -> Vec<BlockBody> {
    vec![body(1), body_from_notes(2, 7), body(3)]
}

#[test]
fn a_blob_is_read_strictly() {
    let txs = sample_txs();
    let good = blob::encode(&txs).unwrap();
    assert_eq!(blob::decode(&good, 3).as_ref(), Ok(&txs));
    assert!(blob::decode(&good, 2).is_err(), "a word behind the last transaction");
    assert!(blob::decode(&good, 4).is_err(), "no first nullifier");
    assert!(blob::decode(&good, 33).is_err());
    assert!(blob::decode(&good[1..], 3).is_err());
    for i in [0, 31, 32, 4095 * 32, BLOB_BYTES - 1] {
        let mut bytes = good.clone();
        bytes[i] ^= 1;
        // Every coefficient changes with any value, to one that is not below r or not the words of a block.
        assert!(blob::decode(&bytes, 3).is_err(), "byte {i}");
    }
    let mut bytes = good.clone();
    bytes[..32].fill(0xff);
    assert_eq!(blob::decode(&bytes, 3), Err(DecodeError::NotCanonical { what: "blob" }));

    let words = blob::block_words(&txs);
    assert_eq!(words.len(), 3 * TX_WORDS);
    let decode = |words: &[Fr]| blob::decode(&blob::encode_words(words).unwrap(), 3);
    // The third log of the first transaction is absent, and so is its tag.
    let mut absent = words.clone();
    absent[24 + 2 * 5] = Fr::from(1u64);
    let rejected = decode(&absent).unwrap_err().to_string();
    assert_eq!(rejected, "PRO-007: blob: a word of an absent log is not zero");
    let mut gap = words.clone();
    gap[16] = Fr::from(0u64);
    assert!(decode(&gap).is_err(), "a log without its tag");
    let mut long = words.clone();
    long.push(Fr::from(1u64));
    assert!(decode(&long).is_err());
    // A log of five zeros is there if its tag is.
    let mut zeros = words;
    zeros[24..29].fill(Fr::from(0u64));
    assert_eq!(decode(&zeros).unwrap()[0].logs[0], [0u64; 5].map(Fr::from));
    assert!(blob::encode_words(&vec![Fr::from(1u64); 4097]).is_err());
    assert!(blob::encode(&vec![body(0); 33]).is_err());
}

/// A coefficient may be any integer below q; a word is below r.
#[test]
fn a_coefficient_that_is_no_word_is_rejected() {
    let mut bytes = blob::encode_words(&[]).unwrap();
    // The polynomial r, constant: every value is r, which is below q.
    for value in bytes.chunks_exact_mut(32) {
        value.copy_from_slice(&order());
    }
    let rejected = blob::decode_words(&bytes);
    assert_eq!(rejected, Err(DecodeError::NotCanonical { what: "word of a blob" }));
}

/// The definition of docs/book/protocol-2.md, term by term: ω, the reversed bits, the sum of powers.
#[test]
fn each_element_is_the_polynomials_value_at_its_root_of_unity() {
    let words: Vec<Fr> = (1..=200u64).map(Fr::from).collect();
    let bytes = blob::encode_words(&words).unwrap();
    let mut exponent = BlobFr::MODULUS;
    exponent.sub_with_borrow(&1u64.into());
    (0..12).for_each(|_| exponent.div2());
    let omega = BlobFr::from(7u64).pow(exponent);
    assert_eq!(omega.pow([4096u64]), BlobFr::from(1u64));
    for index in [0usize, 1, 2, 3, 1000, 2048, 4095] {
        let reversed = (0..12).fold(0u64, |sum, bit| sum << 1 | (index as u64 >> bit & 1));
        let point = omega.pow([reversed]);
        let terms = words.iter().zip(0u64..).map(|(w, k)| blob::to_blob_field(w) * point.pow([k]));
        let sum = terms.sum::<BlobFr>().into_bigint().to_bytes_be();
        let at = 32 * index;
        assert_eq!(bytes[at..at + 32], sum, "element {index}");
    }
}

#[test]
fn a_count_that_no_block_may_have_is_rejected_before_anything_is_read() {
    let mut bytes = sample_block();
    // tx_count is the header's twelfth field; its word ends 12 words after the version byte.
    bytes[1 + 12 * 32 - 1] = 33;
    let rejected = BlockData::from_bytes(&bytes).unwrap_err();
    assert!(matches!(rejected, DecodeError::OutOfRange { .. }), "{rejected}");
}

#[test]
fn a_genesis_file_is_read_strictly() {
    let text = genesis().to_json();
    assert_eq!(Genesis::from_json(&text).unwrap(), genesis());
    for (from, to, code) in [
        ("\"format\": 2", "\"format\": 1", "PRO-081"),
        ("\"genesis_time\"", "\"time\"", "PRO-080"),
        ("\"slot_seconds\": 12", "\"slot_seconds\": 0", "PRO-084"),
        ("\"rollup\": \"0x", "\"rollup\": \"0x00", "PRO-080"),
        ("\"amount\": ", "\"amount\": -", "PRO-080"),
        ("\"owner\": \"0x", "\"owner\": \"", "PRO-080"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let rejected = Genesis::from_json(&changed).unwrap_err().to_string();
        assert!(rejected.starts_with(code), "{rejected}");
    }
    let mut twice = genesis();
    twice.fee_balances[1].address = twice.fee_balances[0].address;
    let rejected = twice.build(rollmill_protocol::tree::MemoryStore::new()).unwrap_err();
    assert_eq!(rejected.to_string(), "PRO-082: genesis balance 1 repeats an address");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let mut versioned = bytes.clone();
        versioned.insert(0, 2);
        for bytes in [bytes, versioned] {
            prop_assert!(Tx::from_bytes(&bytes).is_err());
            prop_assert!(BlockData::from_bytes(&bytes).is_err());
            let _ = Header::from_bytes(&bytes);
        }
    }

    #[test]
    fn no_change_of_several_bytes_makes_a_decoder_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut tx = sample_tx();
        for (at, byte) in edits {
            let at = at.index(tx.len());
            tx[at] = byte;
        }
        let _ = Tx::from_bytes(&tx);
        tx.truncate(cut.index(tx.len()));
        prop_assert!(Tx::from_bytes(&tx).is_err());
    }

    #[test]
    fn any_header_survives_its_bytes(seed: u64, a: u64, b: u64, c: u128) {
        let (mut header, _) = start();
        header.slot = a >> 16;
        header.timestamp = b;
        header.total_fees = c;
        header.txs_chain = value(5, seed);
        let bytes = header.to_bytes();
        prop_assert_eq!(bytes.len(), Header::BYTES);
        prop_assert_eq!(Header::from_bytes(&bytes).unwrap(), header);
    }
}
