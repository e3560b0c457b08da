//! What a prover may choose in each circuit, those of the private kernel too, and that every limb has its range.
//!
//! `freedom.txt` pins, for at least one real witness of each circuit, how many unknowns and independent
//! equations there are and how many unknowns are left to choose in each section ([`REASONS`] says why). A
//! constraint that goes missing anywhere changes it. No command writes the file: whoever changes a circuit
//! takes the new lines from the failing test, after an answer to the question why each new free unknown
//! may be chosen.

use std::collections::BTreeMap;
use std::fmt::Write;

use rollmill_algebra::Fr;
use rollmill_circuits::circuit::log_n;
use rollmill_circuits::client::{self, InputNote};
use rollmill_circuits::jobs;
use rollmill_circuits::private::tail::hints::counters;
use rollmill_plonk::analysis::{coverage, freedom};
use rollmill_plonk::builder::Builder;
use rollmill_protocol::Circuit;
use rollmill_protocol::private::KernelState;

use crate::common::golden::{self, file};
use crate::common::{genesis_chain, transfer, value};
use crate::private_whole::laid_out;

/// Why unknowns of a section may be chosen.
const REASONS: &[(&str, &str)] = &[
    (
        "start",
        "public inputs, and what they were made of, as far as no equation ties them to a witness",
    ),
    (
        "keys and anchor",
        "nsk, viewing key and the fields of the anchor's header, which its hash binds",
    ),
    (
        "inputs",
        "value, randomness, origin, index and path of a note, bound by the note tree's root",
    ),
    ("outputs", "owner, value and randomness of new notes, bound by balance and hash"),
    (
        "effects",
        "tags, logs, gas fields and what a wallet adds, bound by the transaction's hash as far as it is shown",
    ),
    ("transaction", "the transaction's fields and the anchor's path, bound by hashes and roots"),
    ("note hashes", "the path of the append, bound by the tree's root"),
    (
        "nullifiers",
        "low leaves and paths, bound by the tree's root; one inverse for each absent key",
    ),
    ("shape and logs", "words of logs, bound by their hashes; one inverse for each absent word"),
    (
        "value",
        "prices, the payer's entry and the path of a claim, bound by public inputs and the trees' roots",
    ),
    ("data", "the point and limbs of words and values, bound as integers"),
    (
        "key and points",
        "key, proof, public inputs and path of a child, bound by transcript and key tree",
    ),
    ("transcript and gates", "halves of 128 bits by which numbers are held below their moduli"),
    ("folding coefficients", "the same for the squeezed halves"),
    ("offset", "digits of the offset: tables bind them to integers below 16"),
    ("carried pair: tables", "limbs of curve points: bound as integers"),
    ("own pair: tables", "limbs of curve points: bound as integers"),
    ("own pair: sums over sets", "digits and limbs: bound by tables and as integers"),
    ("sum for L", "digits and limbs: bound by tables and as integers"),
    ("sum for R", "digits and limbs: bound by tables and as integers"),
    ("folded pair", "limbs of the folded points: bound as integers"),
    ("join", "parts of ranges, and the opened leaf of this circuit's charge"),
    ("header", "fields of both headers, bound by hashes, and parts of ranges"),
    ("archive", "paths in the archive, bound by its root"),
    ("messages", "leaves of messages, bound by their running hash; an inverse for each absent one"),
    ("rules", "the parameters, bound by their hash"),
    ("prices", "quotients, remainders and signs, bound as integers"),
    ("messages appended", "the path of the append, bound by the tree's root"),
    ("chain", "the commitment, the link before, and opened leaves of charges"),
    ("epoch", "slots an epoch has, quotients and remainders, bound as integers"),
    // The private kernel.
    ("digest of the call", "words of a call, bound by the digest that its proof states"),
    ("digest of the state", "words of the state, bound by the digest that its proof states"),
    ("call against its request", "words of the request, bound by its hash"),
    ("call", "parts of recipients; an inverse for each absent entry"),
    ("accumulation", "an inverse for each absent entry"),
    ("digest of the new state", "an inverse for each absent entry"),
    ("anchor and gas", "fields of the anchor's header and gas settings, bound by their hashes"),
    ("counters", "counters as read, bound by their table; an inverse for each absent entry"),
    ("reads", "paths and leaves, of those that are read bound by the trees' roots"),
    ("keys", "nsk of each key request, of those that are present bound by npk"),
    ("fee payer", "an inverse for a boundary that is not set"),
    ("notes that disappear", "an inverse for each absent entry"),
    ("random pair", "the pair that hides the others, bound by its own validity alone"),
];

fn job(circuit: Circuit, input: &[u8]) -> Builder {
    jobs::lay_out(&golden::keys(), circuit.name(), input).unwrap()
}

fn epoch_root(circuit: Circuit, ranges: &[&str]) -> Builder {
    golden::epoch_root(&golden::keys(), circuit, ranges)
}

/// A transfer of nothing: two dummies spent, two empty notes made, no logs.
fn nothing_sent() -> Builder {
    let (header, store) = genesis_chain();
    let mut w = transfer(&header, &store, 1);
    w.inputs = [0, 1].map(|i| InputNote::dummy(value(5, 90 + i)));
    for note in &mut w.outputs {
        note.value = 0;
    }
    w.tags = [Fr::from(0u64); 8];
    w.log_hashes = [Fr::from(0u64); 8];
    client::build(&w)
}

/// Name of a section in the table: a child's number is left out.
fn section_name(name: &str) -> &str {
    match name.strip_prefix("child ").and_then(|rest| rest.split_once(": ")) {
        Some((_, part)) => part,
        None => name,
    }
}

struct Case {
    name: &'static str,
    /// The lines of this case, as in `freedom.txt`.
    lines: String,
    /// How many unknowns no equation between field elements settles.
    chosen: usize,
    /// Free unknowns by section, for the report.
    places: String,
}

/// Entries of tables that are no limbs, but words whose range another circuit has checked: the tail compares the
/// counters by a table of them, and init and inner have required that each lies in its call.
fn checked_elsewhere(circuit: Circuit) -> usize {
    match circuit {
        Circuit::PrivateTail => counters(&KernelState::<Fr>::empty()).len(),
        _ => 0,
    }
}

fn count(name: &'static str, circuit: Circuit, b: Builder) -> Case {
    let sections = b.section_rows();
    let (layout, witness) = b.finish(Some(log_n(circuit))).unwrap();
    let covered = coverage::of(&layout);
    let is_entry = |gap: &coverage::Gap| match gap {
        coverage::Gap::Limb { row, column: 0 } => layout.fixed_row(row - 1).write,
        _ => false,
    };
    let (entries, gaps): (Vec<_>, Vec<_>) = covered.gaps.into_iter().partition(is_entry);
    assert_eq!(gaps, [], "{name}: integers that are not in their range");
    let in_tables = checked_elsewhere(circuit);
    assert_eq!(entries.len(), in_tables, "{name}: entries of tables that are not in their range");
    let verifies_nothing = matches!(circuit, Circuit::Client | Circuit::BlockRoot0);
    assert_eq!(covered.limbs == 0, verifies_nothing, "{name}: limbs");
    let found = freedom::of(&layout, &witness).unwrap();
    // Rows before the first section are the public inputs'.
    let counted: usize = sections.iter().map(|(_, rows)| rows).sum();
    let rows = layout.rows_used.max(counted);
    let mut ends = Vec::new();
    let mut at = layout.shape.n_public as usize + 1;
    for (section, rows) in &sections {
        at += rows;
        ends.push((section.as_str(), at));
    }
    let section_of = |row: usize| match row {
        _ if row <= layout.shape.n_public as usize => "start",
        _ => ends.iter().find(|(_, end)| row < *end).or(ends.last()).map_or("start", |s| s.0),
    };
    let mut by_section: BTreeMap<&str, Vec<freedom::Place>> = BTreeMap::new();
    for place in &found.free {
        by_section.entry(section_of(place.row())).or_default().push(*place);
    }
    let mut lines = String::new();
    let freedom::Freedom { unknowns, equations, rank, free, unmentioned } = &found;
    assert_eq!(unknowns - rank, free.len() + unmentioned.len(), "{name}: {rows} rows");
    writeln!(
        lines,
        "{name}: {unknowns} unknowns, {equations} equations, rank {rank}, {} integers, {} free",
        unmentioned.len(),
        free.len()
    )
    .unwrap();
    let mut places = String::new();
    for (section, of_section) in &by_section {
        let reason = REASONS.iter().find(|(name, _)| *name == section_name(section));
        assert!(reason.is_some(), "{name}: section {section} has free unknowns without a reason");
        writeln!(lines, "  {} {section}", of_section.len()).unwrap();
        writeln!(places, "{section}: {of_section:?}").unwrap();
    }
    Case { name, lines, chosen: free.len() + unmentioned.len(), places }
}

/// Free unknowns and integers as `freedom.txt` lists them.
fn pinned(name: &str) -> (String, usize) {
    let mut lines = String::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/freedom.txt");
    let all = std::fs::read_to_string(path).unwrap();
    let mut ours = false;
    for line in all.lines().filter(|line| !line.starts_with('#')) {
        if !line.starts_with(' ') {
            ours = line.split_once(": ").is_some_and(|(case, _)| case == name);
        }
        if ours {
            lines += line;
            lines += "\n";
        }
    }
    let first = lines.lines().next().unwrap_or_default();
    let number = |after: &str| {
        let words: Vec<&str> = first.split([' ', ',']).collect();
        let at = words.iter().position(|word| *word == after);
        at.and_then(|at| words[at - 1].parse::<usize>().ok()).unwrap_or(0)
    };
    (lines.clone(), number("integers") + number("free"))
}

/// A build without one constraint is held to the count alone: that the system has fewer equations is no
/// property.
fn compare(cases: &[Case]) {
    let mut report = String::new();
    for case in cases {
        let (lines, chosen) = pinned(case.name);
        if cfg!(feature = "weaken") && std::env::var_os("ROLLMILL_WEAKEN").is_some() {
            assert!(
                case.chosen <= chosen,
                "{}: {} may be chosen, not {chosen}",
                case.name,
                case.chosen
            );
            continue;
        }
        if lines != case.lines {
            println!("{}", case.places);
            write!(report, "--- pinned\n{lines}--- found\n{}", case.lines).unwrap();
        }
    }
    assert!(report.is_empty(), "other degrees of freedom than in freedom.txt\n{report}");
}

#[test]
fn every_circuit_has_a_case() {
    let pinned = include_str!("freedom.txt");
    for circuit in Circuit::ALL {
        let is_its = |line: &str| {
            line.strip_prefix(circuit.name()).is_some_and(|rest| rest.starts_with([',', ':']))
        };
        assert!(pinned.lines().any(is_its), "{circuit}: count its degrees of freedom here");
    }
}

#[test]
fn client() {
    let (header, store) = genesis_chain();
    let transfer = client::build(&transfer(&header, &store, 1));
    compare(&[
        count("client, one note and a dummy", Circuit::Client, transfer),
        count("client, two dummies and no log", Circuit::Client, nothing_sent()),
    ]);
}

#[test]
fn tx_base() {
    let case = |name, input| count(name, Circuit::TxBase, job(Circuit::TxBase, &file(input)));
    compare(&[
        case("tx_base, first of a block", "00-tx_base.input"),
        case("tx_base, alone in a block", "06-tx_base.input"),
    ]);
}

#[test]
fn tx_merge() {
    let outputs = ["01-tx_base.output", "02-tx_base.output"].map(file);
    let other = jobs::tx_merge_input(&outputs[0], &outputs[1]).unwrap();
    let case = |name, input: &[u8]| count(name, Circuit::TxMerge, job(Circuit::TxMerge, input));
    compare(&[
        case("tx_merge, of the first two", &file("03-tx_merge.input")),
        case("tx_merge, of the last two", &other),
    ]);
}

#[test]
fn block_root_0() {
    let input = file("05-block_root_0.input");
    compare(&[count("block_root_0", Circuit::BlockRoot0, job(Circuit::BlockRoot0, &input))]);
}

#[test]
fn block_root_1() {
    let input = file("07-block_root_1.input");
    compare(&[count("block_root_1", Circuit::BlockRoot1, job(Circuit::BlockRoot1, &input))]);
}

#[test]
fn block_root_2() {
    let input = file("04-block_root_2.input");
    let b = job(Circuit::BlockRoot2, &input);
    compare(&[count("block_root_2, of a tx_merge and a tx_base", Circuit::BlockRoot2, b)]);
}

#[test]
fn block_merge() {
    let outputs = ["05-block_root_0.output", "07-block_root_1.output"].map(file);
    let other = jobs::block_merge_input(&outputs[0], &outputs[1]).unwrap();
    let case =
        |name, input: &[u8]| count(name, Circuit::BlockMerge, job(Circuit::BlockMerge, input));
    compare(&[
        case("block_merge, of block_root_2 and block_root_0", &file("08-block_merge.input")),
        case("block_merge, of block_root_0 and block_root_1", &other),
    ]);
}

#[test]
fn epoch_root_1() {
    let case =
        |name, range| count(name, Circuit::EpochRoot1, epoch_root(Circuit::EpochRoot1, &[range]));
    compare(&[
        case("epoch_root_1, of block_root_0", "05-block_root_0.output"),
        case("epoch_root_1, of block_root_2", "04-block_root_2.output"),
    ]);
}

#[test]
fn epoch_root_2() {
    let other = ["04-block_root_2.output", "05-block_root_0.output"];
    compare(&[
        count(
            "epoch_root_2, of block_merge and block_root_1",
            Circuit::EpochRoot2,
            job(Circuit::EpochRoot2, &file("09-epoch_root_2.input")),
        ),
        count(
            "epoch_root_2, of block_root_2 and block_root_0",
            Circuit::EpochRoot2,
            epoch_root(Circuit::EpochRoot2, &other),
        ),
    ]);
}

fn of_kernel(circuit: Circuit) {
    compare(&[count(circuit.name(), circuit, laid_out(circuit))]);
}

#[test]
fn private_init() {
    of_kernel(Circuit::PrivateInit);
}

#[test]
fn private_init2() {
    of_kernel(Circuit::PrivateInit2);
}

#[test]
fn private_inner() {
    of_kernel(Circuit::PrivateInner);
}

#[test]
fn private_tail() {
    of_kernel(Circuit::PrivateTail);
}
