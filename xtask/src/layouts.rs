//! Tables of layouts for the contracts and the book, generated from the layouts themselves: the numbers
//! that the contracts share with the circuits, and the page of fields.

use std::fmt::Write as _;

use rollmill_circuits::circuit::log_n;
use rollmill_protocol::block::{ChainLink, LinkWordsLayout};
use rollmill_protocol::circuit::Verifier;
use rollmill_protocol::gas::{
    DA_GAS_PER_TX, FEE_PER_GAS_MAX, GasSettings, L2_GAS_PER_TX, MAX_TXS_PER_BLOCK,
};
use rollmill_protocol::layout::CellInfo;
use rollmill_protocol::message::MESSAGE_SUBTREE_HEIGHT;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeafLayout};
use rollmill_protocol::{
    BlockRange, Circuit, ClientInputs, Config, Constants, EpochRoot, Fr, Header, StateRefs,
    TxEffects, TxRange, TxState, domain,
};

use crate::generate::Output;
use crate::tree::Tree;

const CONTRACT: &str = "contracts/src/Layout.sol";
const PAGE: &str = "docs/book/layouts.md";

/// Fields of this name are numbered on their own, after their own start: the contract loops over them.
const PAIR: &str = "pair.";

/// Writes `contracts/src/Layout.sol`.
pub(crate) fn contract(_tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let epoch = EpochRoot::cell_infos();
    let (inputs, pair): (Vec<_>, Vec<_>) =
        epoch.iter().enumerate().partition(|(_, cell)| !cell.name.starts_with(PAIR));
    let start = pair.first().map(|(i, _)| *i).ok_or_else(|| anyhow::anyhow!("no pair"))?;
    anyhow::ensure!(
        start + pair.len() == epoch.len(),
        "the pair is not last: {CONTRACT} says it is"
    );

    let mut constants: Vec<(String, u64)> = Vec::new();
    let mut groups: Vec<(&str, usize)> = Vec::new();
    let mut group = |title, rows: Vec<(String, u64)>| {
        groups.push((title, rows.len()));
        constants.extend(rows);
    };
    let counted = |prefix: &str, names: Vec<String>| {
        let words = (format!("{prefix}_WORDS"), names.len() as u64);
        let rows = (0..).zip(names).map(|(i, name)| (constant(prefix, &name), i));
        rows.chain([words]).collect::<Vec<_>>()
    };
    let single = |name: &str, value: u64| (name.to_owned(), value);

    let mut rows: Vec<_> =
        inputs.iter().map(|(i, cell)| (constant("EPOCH", &cell.name), *i as u64)).collect();
    rows.push(single("EPOCH_PAIR", start as u64));
    rows.push(single("EPOCH_WORDS", epoch.len() as u64));
    group("Indices in the public inputs of an epoch root, and how many there are.", rows);

    let mut rows: Vec<_> =
        pair.iter().map(|(i, cell)| (constant("", &cell.name), (i - start) as u64)).collect();
    rows.push(single("PAIR_WORDS", pair.len() as u64));
    group("Indices in the pair, with which those inputs end.", rows);

    let link = counted("LINK", LinkWordsLayout::<Fr>::cell_names());
    group("Indices in what one link of the block chain hashes, after the domain tag.", link);
    let config = Config::cell_infos().into_iter().map(|cell| cell.name).collect();
    group(
        "Indices in what the config hash contains, after the domain tag.",
        counted("CONFIG", config),
    );
    group("Words of a header.", vec![single("HEADER_WORDS", Header::FIELDS as u64)]);

    let mut rows = counted("VK", VkLeafLayout::<Fr>::cell_names());
    rows.extend([
        single("VK_TREE_HEIGHT", VK_TREE_HEIGHT as u64),
        single("ROLE_EPOCH_ROOT_1", Circuit::EpochRoot1.role()),
        single("ROLE_EPOCH_ROOT_2", Circuit::EpochRoot2.role()),
        single("EPOCH_ROOT_LOG_N", log_n(Circuit::EpochRoot1).into()),
        single("TRANSCRIPT_KECCAK", Verifier::L1.transcript()),
    ]);
    group("A leaf of the key tree, and what the leaves of the two epoch roots contain.", rows);

    let limits = vec![
        single("PROTOCOL_VERSION", PROTOCOL_VERSION),
        single("MAX_TXS", MAX_TXS_PER_BLOCK as u64),
        single("MESSAGE_SUBTREE_HEIGHT", MESSAGE_SUBTREE_HEIGHT as u64),
        single("L2_GAS_PER_TX", L2_GAS_PER_TX),
        single("DA_GAS_PER_TX", DA_GAS_PER_TX),
        single("PRICE_MAX", FEE_PER_GAS_MAX),
    ];
    group("Limits.", limits);

    let tags = domain::ALL.iter().map(|(name, tag)| (format!("DOMAIN_{name}"), *tag));
    group("Domain tags of Poseidon2.", tags.collect());

    let mut names: Vec<&str> = constants.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    anyhow::ensure!(names.len() == constants.len(), "two constants of {CONTRACT} have one name");
    Ok(vec![Output::text(CONTRACT, solidity(&groups, &constants))])
}

/// `pair.l.x_lo` as `PAIR_L_X_LO`; constants of every range omit their struct's name.
fn constant(prefix: &str, name: &str) -> String {
    let name = name.strip_prefix("constants.").unwrap_or(name);
    let name = name.replace('.', "_").to_uppercase();
    if prefix.is_empty() { name } else { format!("{prefix}_{name}") }
}

fn solidity(groups: &[(&str, usize)], constants: &[(String, u64)]) -> String {
    let mut text = String::from(
        "// SPDX-License-Identifier: MIT OR Apache-2.0\n\
         // Generated from the protocol's layouts by `cargo xtask gen`; do not edit.\n\
         pragma solidity 0.8.37;\n\n\
         // Numbers that the contracts share with the circuits: docs/book/protocol-2.md has their meaning. At the\n\
         // level of the file, so that one can be the length of an array.\n",
    );
    let mut rest = constants.iter();
    for (title, rows) in groups {
        let _ = writeln!(text, "\n// {title}");
        for (name, value) in rest.by_ref().take(*rows) {
            let _ = writeln!(text, "uint256 constant {name} = {value};");
        }
    }
    text
}

/// Writes the page of layouts.
pub(crate) fn page(_tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let mut text = String::from(
        "# Layouts\n\n\
         Generated from the declarations in the crate `protocol` by `cargo xtask gen`; do not edit.\n\n\
         Each table lists the field elements of one layout in order: what is hashed, encoded or made a public\n\
         input. Decoders reject a value outside its range. An integer is a field element below the given bound.\n\
         [Who forces each field](fields.md) states what the circuits and L1 require beyond this.\n",
    );
    macro_rules! tables {
        ($($name:ident $where:literal;)+) => {$(
            table(&mut text, stringify!($name), $where, &$name::cell_infos());
        )+};
    }
    tables! {
        Header "hashed under `HEADER` into the archive's leaf; the words of a header's bytes";
        StateRefs "part of `Header`";
        TxState "part of `StateRefs` and `TxRange`";
        TxEffects "hashed under `TX` into the transaction's hash";
        GasSettings "part of `TxEffects`";
        ChainLink "parts of a link; packed into the words that are hashed under `CHAIN`, on L1 too";
        Config "hashed under `CONFIG`, on L1 too";
        Constants "part of every range";
        ClientInputs "public inputs of a client proof";
        TxRange "public inputs of TxBase and TxMerge";
        BlockRange "public inputs of BlockRoot and BlockMerge";
        EpochRoot "public inputs of EpochRoot, which the contract computes";
    }
    text.push_str("\n## Domain tags\n\nThe first input of every hash, one for each use.\n\n");
    text.push_str("| tag | name |\n| --- | --- |\n");
    for (name, tag) in domain::ALL {
        let _ = writeln!(text, "| {tag} | `{name}` |");
    }
    Ok(vec![Output::text(PAGE, text)])
}

fn table(text: &mut String, name: &str, place: &str, cells: &[CellInfo]) {
    let _ = writeln!(text, "\n## `{name}`\n\n{} field elements; {place}.\n", cells.len());
    text.push_str("| index | field | range | meaning |\n| --- | --- | --- | --- |\n");
    for (i, CellInfo { name, range, doc }) in cells.iter().enumerate() {
        // Links of the documentation have no target in the book.
        let doc = doc.replace(['[', ']'], "");
        let _ = writeln!(text, "| {i} | `{name}` | {range} | {doc} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_named_after_their_fields() {
        assert_eq!(constant("EPOCH", "constants.vk_root"), "EPOCH_VK_ROOT");
        assert_eq!(constant("", "pair.l.x_lo"), "PAIR_L_X_LO");
        let text = solidity(&[("A.", 1), ("B.", 1)], &[("A_X".into(), 0), ("B_Y".into(), 3)]);
        assert!(text.contains("\n// A.\nuint256 constant A_X = 0;\n\n// B.\n"));
    }
}
