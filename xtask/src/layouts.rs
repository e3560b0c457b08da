//! Tables of layouts for the contracts and the book, generated from the layouts themselves: the numbers
//! that the contracts share with the circuits, and the page of fields.

use std::fmt::Write as _;

use rollmill_protocol::block::ChainLink;
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::layout::CellInfo;
use rollmill_protocol::{
    BlockRange, ClientInputs, Constants, EpochRoot, Header, StateRefs, TxEffects, TxRange, TxState,
    domain,
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

    let mut constants: Vec<(String, usize)> = Vec::new();
    let mut groups: Vec<(&str, usize)> = Vec::new();
    let mut group = |title, rows: Vec<(String, usize)>| {
        groups.push((title, rows.len()));
        constants.extend(rows);
    };
    let named = |prefix: &str, cells: &[(usize, &CellInfo)]| -> Vec<(String, usize)> {
        cells.iter().map(|(i, cell)| (constant(prefix, &cell.name), *i)).collect()
    };
    let counted = |prefix: &str, cells: &[CellInfo]| {
        let mut rows = named(prefix, &cells.iter().enumerate().collect::<Vec<_>>());
        rows.push((format!("{prefix}_WORDS"), cells.len()));
        rows
    };

    let mut rows = named("EPOCH", &inputs);
    rows.extend([("EPOCH_PAIR".to_owned(), start), ("EPOCH_WORDS".to_owned(), epoch.len())]);
    group("Indices in the public inputs of an epoch root, and how many there are.", rows);

    let mut rows: Vec<_> =
        pair.iter().map(|(i, cell)| (constant("", &cell.name), i - start)).collect();
    rows.push(("PAIR_WORDS".to_owned(), pair.len()));
    group("Indices in the pair, with which those inputs end.", rows);

    let link = counted("LINK", &ChainLink::cell_infos());
    group("Indices in what one link of the block chain hashes, after the domain tag.", link);

    let header = counted("HEADER", &Header::cell_infos());
    group("Indices of the 32-byte words of a header's bytes.", header);

    let tags = domain::ALL.iter().map(|(name, tag)| (format!("DOMAIN_{name}"), *tag as usize));
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

fn solidity(groups: &[(&str, usize)], constants: &[(String, usize)]) -> String {
    let mut text = String::from(
        "// SPDX-License-Identifier: MIT OR Apache-2.0\n\
         // Generated from the protocol's layouts by `cargo xtask gen`; do not edit.\n\
         pragma solidity 0.8.37;\n\n\
         // Numbers that the contracts share with the circuits. The order of fields is that of their\n\
         // declaration in the crate `protocol`. At the level of the file, so that one can be the length\n\
         // of an array.\n",
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
         [What enforces each header field](header.md) states what the circuits and L1 require beyond this.\n",
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
        ChainLink "hashed under `CHAIN`, on L1 too";
        Constants "part of every range";
        ClientInputs "public inputs of the client circuit";
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
