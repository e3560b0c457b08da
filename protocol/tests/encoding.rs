//! Canonical bytes: one encoding a value, and no panic on any input.

use proptest::prelude::*;
use rollmill_algebra::Fr;
use rollmill_protocol::codec::Reader;
use rollmill_protocol::field::{from_hex, to_bytes, to_hex};
use rollmill_protocol::{BlockData, DecodeError, Genesis, Header, Tx};

use rollmill_protocol_testing::{builder, genesis, start, tx, value};

fn sample_tx() -> Vec<u8> {
    tx(3, value(1, 1)).to_bytes()
}

fn sample_block() -> Vec<u8> {
    let (header, store) = start();
    let mut builder = builder(&header, store);
    for i in 0..3 {
        builder.apply(&tx(i, header.hash())).unwrap();
    }
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

#[test]
fn a_count_that_no_block_may_have_is_rejected_before_anything_is_read() {
    let mut bytes = sample_block();
    // tx_count is the header's tenth field; its word ends 10 words after the version byte.
    bytes[1 + 10 * 32 - 1] = 33;
    let rejected = BlockData::from_bytes(&bytes).unwrap_err();
    assert!(matches!(rejected, DecodeError::OutOfRange { .. }), "{rejected}");
}

#[test]
fn a_genesis_file_is_read_strictly() {
    let text = genesis().to_json();
    assert_eq!(Genesis::from_json(&text).unwrap(), genesis());
    for (from, to, code) in [
        ("\"format\": 1", "\"format\": 2", "PRO-081"),
        ("\"timestamp\"", "\"time\"", "PRO-080"),
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
        versioned.insert(0, 1);
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
        header.slot = a;
        header.timestamp = b;
        header.total_fees = c;
        header.txs_chain = value(5, seed);
        let bytes = header.to_bytes();
        prop_assert_eq!(bytes.len(), Header::BYTES);
        prop_assert_eq!(Header::from_bytes(&bytes).unwrap(), header);
    }
}
