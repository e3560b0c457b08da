//! Layouts: both conversions, the indices and the ranges follow from one list of typed fields.

use ark_ff::{AdditiveGroup, Field};
use rollmill_algebra::Fr;
use rollmill_protocol::block::{ChainLink, data_hash};
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::layout::{CellInfo, Range};
use rollmill_protocol::public_inputs::EpochRootLayout;
use rollmill_protocol::version::{ENCODING_VERSION, PROTOCOL_VERSION};
use rollmill_protocol::{
    BlockRange, ClientInputs, Constants, DecodeError, EpochRoot, Header, Pair, StateRefs,
    TxEffects, TxRange, TxState, field,
};

/// The smallest row that each layout decodes, which only its shape decides.
fn least(infos: &[CellInfo]) -> Vec<Fr> {
    let mut row = vec![Fr::ZERO; infos.len()];
    if let Some(at) = infos.iter().position(|info| info.name == "pair.l.x_lo") {
        row.splice(at.., Pair::trivial().to_fields());
    }
    // A transaction has a first nullifier.
    if infos[0].name == "nullifiers.0" {
        row[0] = Fr::ONE;
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
            // Halves of coordinates and messages are bound by more than a range.
            _ if name.starts_with("pair.") || name.starts_with("messages.") => {}
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

/// The order in which the contract's generated constants count.
#[test]
fn a_rows_indices_count_its_cells_in_order() {
    let indices = EpochRootLayout::<usize>::indices();
    assert_eq!(indices.constants.chain_id, 0);
    assert_eq!(indices.first_block, 7);
    assert_eq!(indices.pair.l.x_lo, 15);
    assert_eq!(indices.into_vec(), (0..EpochRoot::FIELDS).collect::<Vec<_>>());
}

/// Goal: a change of a header's bytes fails with the versions that must change.
#[test]
fn a_header_of_another_layout_needs_new_versions() {
    let mut cells = String::new();
    for CellInfo { name, range, .. } in Header::cell_infos() {
        cells += &format!("{name}: {range}\n");
    }
    let pinned = "0x00c6508891424689603be299c2a23dd6dab3f489c94f95d7ff13aa30a578f923";
    assert_eq!(
        (field::to_hex(&data_hash(cells.as_bytes())).as_str(), PROTOCOL_VERSION, ENCODING_VERSION),
        (pinned, 1, 1),
        "the header's layout changed: raise PROTOCOL_VERSION and ENCODING_VERSION \
         (protocol/src/version.rs), FORMAT (circuits/src/jobs/input.rs) and SCHEMA \
         (node/src/store/mod.rs) as docs/versions.md says, and then pin the new digest here"
    );
}
