//! Layouts: both conversions, the indices and the ranges follow from one list of typed fields.

use ark_ff::{AdditiveGroup, Field};
use rollmill_algebra::Fr;
use rollmill_protocol::block::{ChainLink, ChainLinkLayout, LinkWordsLayout};
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::layout::{CellInfo, Range};
use rollmill_protocol::public_inputs::EpochRootLayout;
use rollmill_protocol::version::{ENCODING_VERSION, PROTOCOL_VERSION};
use rollmill_protocol::{
    BlockRange, ClientInputs, Config, Constants, DecodeError, EpochRoot, Header, Pair, StateRefs,
    TxEffects, TxRange, TxState,
};
use rollmill_protocol_testing::config;
use rollmill_protocol_testing::model::sha256;

/// The smallest row that each layout decodes, which only its shape decides.
fn least(infos: &[CellInfo]) -> Vec<Fr> {
    let mut row = vec![Fr::ZERO; infos.len()];
    if let Some(at) = infos.iter().position(|info| info.name == "pair.l.x_lo") {
        row.splice(at.., Pair::trivial().to_fields());
    }
    // A transaction has a first nullifier and a fee payer, whose claim may have an index.
    if infos[0].name == "nullifiers.0" {
        for name in ["nullifiers.0", "fee_payer", "claim_amount"] {
            row[infos.iter().position(|info| info.name == name).unwrap()] = Fr::ONE;
        }
    }
    row
}

/// Tries the ends of every cell's range: the decoder accepts the last value, returns it, and rejects
/// the next one with the cell's name.
fn has_its_ranges<T>(
    infos: Vec<CellInfo>,
    decode: impl Fn(&[Fr]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<Fr>,
) {
    let row = least(&infos);
    assert_eq!(encode(&decode(&row).unwrap()), row);
    for wrong in [&row[1..], &[row.clone(), vec![Fr::ZERO]].concat()] {
        assert!(matches!(decode(wrong), Err(DecodeError::Length { .. })));
    }
    for (i, CellInfo { name, range, doc }) in infos.into_iter().enumerate() {
        assert!(!doc.is_empty(), "{name} has no documentation");
        let with = |value| {
            let mut row = row.clone();
            row[i] = value;
            row
        };
        match range {
            // Halves of coordinates and of a blob's values are bound by more than a range, and so is what comes
            // only with something else.
            _ if name.starts_with("pair.") || ["y_hi", "pow_hi"].contains(&name.as_str()) => {}
            _ if ["public_calls_hash", "refund_partial"].contains(&name.as_str()) => {}
            _ if name.starts_with("withdraw_") => {}
            // Entries of a list follow each other.
            Range::Field
                if name.contains('.') && name.ends_with(|c: char| ('1'..='9').contains(&c)) => {}
            Range::Field if name.starts_with("tags.") || name.starts_with("log_hashes.") => {}
            Range::Field => {
                let row = with(-Fr::ONE);
                assert_eq!(encode(&decode(&row).unwrap()), row, "{name}");
            }
            Range::Bits(bits) => {
                let limit = Fr::from(2u64).pow([u64::from(bits)]);
                let row = with(limit - Fr::ONE);
                assert_eq!(encode(&decode(&row).unwrap()), row, "{name}");
                let rejected = decode(&with(limit)).err().unwrap();
                let short = name.rsplit('.').next().unwrap();
                // The halves and the parts of one value have its name.
                let short = short.strip_suffix("_lo").unwrap_or(short);
                let short = if name.starts_with("commitment.") { "commitment" } else { short };
                assert!(
                    matches!(rejected, DecodeError::OutOfRange { what, .. } if what == short),
                    "{name}: {rejected}"
                );
            }
        }
    }
}

#[test]
fn every_cell_has_the_range_and_the_name_of_its_field() {
    macro_rules! check {
        ($($name:ident)+) => {$(
            has_its_ranges($name::cell_infos(), $name::from_fields, $name::to_fields);
        )+};
    }
    check! {
        TxState StateRefs Header ChainLink GasSettings TxEffects Constants ClientInputs TxRange
        BlockRange EpochRoot
    }
}

/// The bounds of a config stand in its own table, which its decoder asks.
#[test]
fn a_config_is_decoded_exactly_within_its_bounds() {
    let good = config();
    assert_eq!(Config::from_fields(&good.to_fields()), Ok(good));
    let limits = |config: &Config| (config.l2_gas_limit, config.da_gas_limit);
    let (l2, da) = limits(&good);
    for (i, (min, max)) in [
        (0, (1 << 40) - 1),
        (1, (1 << 16) - 1),
        (1, 1024),
        (good.l2_gas_target, 3_200_000),
        (1, l2),
        (good.da_gas_target, 64_000),
        (1, da),
        (1, 1 << 40),
        (6, 6u64),
    ]
    .into_iter()
    .enumerate()
    {
        let with = |value: u64| {
            let mut fields = good.to_fields();
            fields[i] = value.into();
            Config::from_fields(&fields)
        };
        for value in [min, max] {
            let read = with(value).unwrap();
            assert_eq!(read.to_fields()[i], Fr::from(value));
            assert_eq!(read.check(), Ok(()));
        }
        assert!(with(max + 1).is_err(), "field {i}");
        if let Some(below) = min.checked_sub(1) {
            assert!(with(below).is_err(), "field {i}");
        }
    }
    let least = Config { l2_gas_limit: 99_999, l2_gas_target: 1, ..good };
    assert!(least.check().is_err(), "no transaction fits");
    let least = Config { da_gas_limit: 1_999, da_gas_target: 1, ..good };
    assert!(least.check().is_err(), "no transaction fits");
}

/// Goal: no two links have one hash. Method: every bit of every part changes one word, and each word in its
/// own way, so that no change of one part is undone by another.
#[test]
fn every_bit_of_a_link_changes_its_words() {
    let infos = ChainLink::cell_infos();
    let pack = |cells: &[Fr]| {
        let parts = ChainLinkLayout::from_slice(cells).unwrap();
        parts.pack(|parts| {
            parts.iter().rev().fold(Fr::ZERO, |word, (part, bits)| {
                word * Fr::from(2u64).pow([u64::from(*bits)]) + part
            })
        })
    };
    let mut seen: Vec<Vec<Fr>> = Vec::new();
    for (i, info) in infos.iter().enumerate() {
        let bits = match info.range {
            Range::Field => 253,
            Range::Bits(bits) => bits,
        };
        for bit in 0..bits {
            let mut cells = vec![Fr::ZERO; infos.len()];
            cells[i] = Fr::from(2u64).pow([u64::from(bit)]);
            seen.push(pack(&cells).into_vec());
        }
    }
    assert!(seen.iter().all(|words| words.iter().filter(|word| **word != Fr::ZERO).count() == 1));
    let total = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), total, "two parts meet in one bit");
    assert_eq!(LinkWordsLayout::<Fr>::CELLS, 12);
}

/// The order in which the contract's generated constants count.
#[test]
fn a_rows_indices_count_its_cells_in_order() {
    let indices = EpochRootLayout::<usize>::indices();
    assert_eq!(indices.constants.chain_id, 0);
    assert_eq!(indices.first_block, 8);
    assert_eq!(indices.pair.l.x_lo, 14);
    assert_eq!(indices.into_vec(), (0..EpochRoot::FIELDS).collect::<Vec<_>>());
}

/// Goal: a change of a header's bytes fails with the versions that must change.
#[test]
fn a_header_of_another_layout_needs_new_versions() {
    let mut cells = String::new();
    for CellInfo { name, range, .. } in Header::cell_infos() {
        cells += &format!("{name}: {range}\n");
    }
    let pinned = "0xa5eae3c032a10225368040e37f13b2a10f6254f5f0a8d37f004f971da2ebd2c2";
    assert_eq!(
        (sha256(cells.as_bytes()).as_str(), PROTOCOL_VERSION, ENCODING_VERSION),
        (pinned, 2, 2),
        "the header's layout changed: raise PROTOCOL_VERSION and ENCODING_VERSION \
         (protocol/src/version.rs), FORMAT (circuits/src/jobs/input.rs) and SCHEMA \
         (node/src/store/mod.rs) as docs/versions.md says, and then pin the new digest here"
    );
}
