//! The tables `coded!` of the error types, and the rules that hold them to be the one place of a code.
//!
//! Works on text that rustfmt has laid out, with one arm on a line.

use std::collections::{BTreeMap, BTreeSet};

use super::{code_of, is_shipped};
use crate::Findings;
use crate::scan::{self, is_word};
use crate::tree::{File, Tree};

/// Error types without a code of their own, each with its reason.
const UNCODED: &[(&str, &str, &str)] = &[
    (
        "algebra/src/pair.rs",
        "PairError",
        "a detail of what a decoder or verifier says, with its code",
    ),
    ("l1/src/amount.rs", "NotAnAmount", VALUE),
    ("net/src/address.rs", "AddressError", "the reason in a client's error, which has the code"),
    ("net/src/pem.rs", "PemError", "the reason in `Error::Tls`, which has the code"),
    ("node/src/pool/mod.rs", "ProofRejected", "a verifier's reason, which NODE-022 carries"),
    ("net/src/transport.rs", "TransportError", "a client's error is made of it, with its own code"),
    ("service/src/error.rs", "Exit", "a child's exit code, passed on without a message"),
    ("service/src/values.rs", "Bounds", VALUE),
    ("service/src/values.rs", "Guarded", VALUE),
];
const VALUE: &str = "a value parser's text; the error of the setting has the code";

/// Files of shipped code with functions whose error is a text: how many times each names such a result, and why.
const TEXTS: &[(&str, usize, &str)] = &[
    ("agent/src/accelerator.rs", 1, "the reason in `ChoiceError`"),
    ("agent/src/calibration.rs", 1, "why a file is ignored, for the log"),
    ("agent/src/devices.rs", 2, "the reason in `ChoiceError`, and a value parser for clap"),
    ("agent/src/srs.rs", 1, PARSER),
    ("bench/src/peers/barretenberg.rs", 1, "why a peer cannot run, a cell of the table of results"),
    ("bench/src/peers/scalar.rs", 1, "why a peer cannot run, a cell of the table of results"),
    ("bench/src/result.rs", 2, "the reason in `BenchError::Foreign`"),
    (
        "broker/client/src/routes.rs",
        5,
        "what is wrong with a part of a path; the broker's code is BRK-010",
    ),
    ("broker/client/src/size.rs", 1, "what serde says of a number that is no class"),
    ("broker/src/aztec/headers.rs", 2, PARSER),
    ("broker/src/cli.rs", 3, "a line of the table that `rollmill-broker check` prints"),
    ("broker/src/commands.rs", 3, PARSER),
    ("broker/src/doctor.rs", 13, "a line of the table that `rollmill-broker doctor` prints"),
    ("broker/src/embedded/mod.rs", 2, "the reason in `EmbeddedError`"),
    ("broker/src/objects/address.rs", 1, PARSER),
    ("broker/src/store/sql/parameter.rs", 6, "the reason in `BrokerError::Corrupt`"),
    ("broker/src/store/tokens.rs", 1, "what of a row cannot be read, for the log"),
    ("validator/src/evidence.rs", 1, "why nothing is kept, for the log"),
    ("service/src/traces/settings.rs", 1, "a map whose values are texts"),
    ("devnet/src/faults.rs", 1, "what a kill did not show, the reason in `Error`"),
    ("devnet/src/options.rs", 1, "a help text to print, no error"),
    ("devnet/src/tokens.rs", 1, "what does not balance, the reason in `Error`"),
    ("devnet/src/upgrade/mod.rs", 1, "a map whose values are names"),
    ("devnet/src/upgrade/queue.rs", 1, "what one queue shows, the reason in `Error`"),
    ("devnet/src/upgrade/story.rs", 1, "what a contract answered, a line of the report"),
    (
        "devnet/src/tampering.rs",
        4,
        "what a node or a contract answered to a forgery, a line of the report",
    ),
    ("kernels/src/emulated.rs", 2, "the reason in `CudaError`"),
    ("l1/cli/src/args.rs", 3, PARSER),
    ("l1/deployment/src/facts.rs", 2, "the reason in `DeployError::Fact`"),
    (
        "l1/src/evidence.rs",
        2,
        "the reason in the error of the command that reads it, or for the log",
    ),
    ("l1/src/client.rs", 1, "the revert reason that the contract gave"),
    ("l1/src/intent.rs", 1, "the reason in `L1Error::IntentFile`, or in `L1Error::Dropped`"),
    ("l1/src/keys.rs", 1, "the reason in `L1Error::Key`"),
    ("l1/src/sealed.rs", 2, "the reason in `L1Error::IntentFile`"),
    ("l1/src/sidecars.rs", 2, "the reason in `L1Error::IntentFile`, or in `L1Error::Dropped`"),
    ("node/src/account.rs", 1, "the detail of the condition `account`"),
    ("noir/src/files.rs", 7, "the reason in `NoirError::KeyFile` or `NoirError::ProofFile`"),
    ("noir/src/inputs.rs", 1, "the reason in `NoirError::Inputs`"),
    ("net/src/tls.rs", 1, "why no server can be verified, the reason in the error of a request"),
    ("node/src/config.rs", 1, PARSER),
    (
        "prover-node/src/capture.rs",
        1,
        "what is wrong with a captured job, a line that `replay` prints",
    ),
    ("prover-node/src/ranges/store.rs", 1, "the reason in `StoreError::File`"),
    ("pxe/src/cli.rs", 3, PARSER),
    ("pxe/src/cli/contracts.rs", 3, PARSER),
    ("pxe/src/keys.rs", 2, "the reason in `PxeError`"),
    ("pxe/src/serve/access.rs", 3, "the reason in `PxeError`"),
    ("pxe/src/serve/origin.rs", 2, PARSER),
    ("service/src/conditions.rs", 2, "what `/readyz` shows of a condition"),
    ("service/src/descriptors.rs", 1, "what `/readyz` shows of a condition"),
    ("service/src/failpoints.rs", 2, "what is wrong with a variable of tests"),
    ("service/src/log.rs", 1, PARSER),
    ("service/src/secret.rs", 1, "the reason in `Guarded`"),
    (
        "service/src/settings/layers.rs",
        2,
        "the message of `Error::Setting`, and a help text to print",
    ),
    ("service/src/values.rs", 2, PARSER),
    ("shaders/src/kernel.rs", 1, "the reason in `DeviceError::Failed`, kept for each pipeline"),
    ("shaders/src/program.rs", 1, "the same, for the pieces of a program"),
];

/// Why a value parser of an option returns a text.
const PARSER: &str = "a value parser; clap quotes its text in the error of the option";

/// The codes of one error type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// Lines (from 1) of the table: its first and its last.
    pub(super) lines: (usize, usize),
    pub(super) arms: Vec<Arm>,
}

/// One arm of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arm {
    /// The line (from 1).
    pub(super) line: usize,
    /// The variant; none for a struct.
    pub(super) variant: Option<String>,
    /// None where an inner error or a value has the code.
    pub(super) code: Option<String>,
    /// What the word after the code means, if the arm stands for all values of its variant.
    pub(super) handling: &'static str,
}

/// A source file, split as the rules need it.
pub(super) struct Source<'a> {
    pub(super) lines: Vec<&'a str>,
    /// The same without comments and texts.
    pub(super) code: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a File, scanned: &'a scan::Scanned) -> Self {
        Self { lines: file.text.lines().collect(), code: scanned.code.lines().collect() }
    }

    /// All tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let starts =
            (0..self.code.len()).filter(|at| self.code[*at].trim_end().ends_with("coded! {"));
        starts.filter_map(|at| self.table(at)).collect()
    }

    fn table(&self, at: usize) -> Option<Table> {
        let name = self.code.get(at + 1)?.trim().strip_suffix(" {")?.to_owned();
        let end = (at + 2..self.code.len()).find(|line| self.code[*line].trim() == "}")?;
        let arms = (at + 2..end).filter_map(|line| self.arm(line)).collect();
        Some(Table { name, lines: (at + 1, end + 2), arms })
    }

    fn arm(&self, at: usize) -> Option<Arm> {
        let (pattern, _) = self.code[at].split_once("=>")?;
        let (_, value) = self.lines[at].split_once("=>")?;
        // Two variants of one code would leave one of them without a row on the page.
        let rest = pattern.trim().strip_prefix("Self").filter(|rest| !rest.contains("Self"))?;
        let variant = rest.strip_prefix("::").map(|rest| {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        let fields = rest.trim_start_matches("::").trim_start_matches(is_word).trim();
        let is_whole = ["", "(_)", "(..)", "{ .. }"].contains(&fields);
        let mut parts = value.trim().trim_end_matches(',').split('"');
        let code = match (parts.next(), parts.next()) {
            (Some(""), Some(code)) => Some(code.to_owned()),
            _ => None,
        };
        let handling = match parts.next().map(str::trim).filter(|_| is_whole) {
            Some("usage") => "exit 2",
            Some("retried") => "retried",
            Some("permanent") => "permanent",
            _ => "",
        };
        Some(Arm { line: at + 1, variant, code, handling })
    }

    /// Index (from 0) of the line that declares the type.
    fn declaration_of(&self, name: &str) -> Option<usize> {
        self.code.iter().position(|line| {
            ["enum ", "struct "].iter().any(|word| {
                line.split_once(word).is_some_and(|(_, rest)| {
                    rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_word))
                })
            })
        })
    }

    /// Index (from 0) of the line that declares what an arm of `table` stands for.
    pub(super) fn declaration(&self, table: &Table, arm: &Arm) -> Option<usize> {
        let start = self.declaration_of(&table.name)?;
        let Some(variant) = &arm.variant else { return Some(start) };
        (start + 1..self.code.len()).take_while(|at| self.code[*at] != "}").find(|at| {
            let line = self.code[*at].trim_start();
            line.strip_prefix(variant.as_str()).is_some_and(|rest| !rest.starts_with(is_word))
        })
    }

    /// The attributes above line `at`, texts included, and the declaration that starts there.
    fn attributes_and_fields(&self, at: usize) -> (String, String) {
        // An item with a code has a doc comment, directly above its attributes.
        let above = (0..at).rev().take_while(|line| !self.lines[*line].trim().starts_with("///"));
        let first = above.last().unwrap_or(at);
        let indentation = |line: &str| line.len() - line.trim_start().len();
        let of_item = |line: &&usize| {
            **line == at || indentation(self.code[**line]) > indentation(self.code[at])
        };
        let fields: Vec<usize> = (at..self.code.len()).collect();
        let fields = fields.iter().take_while(of_item).map(|line| self.code[*line]);
        (self.lines[first..at].join("\n"), fields.collect::<Vec<_>>().join("\n"))
    }
}

/// The type of each field of a declaration, by what a message calls it: `0` or `source`.
fn fields(declaration: &str) -> Vec<(String, String)> {
    let Some(open) = declaration.find(['(', '{']) else { return Vec::new() };
    let is_tuple = declaration[open..].starts_with('(');
    let inner = declaration[open + 1..].trim_end().trim_end_matches([',', ')', '}']);
    let named = inner.split(',').enumerate().filter_map(|(index, field)| {
        let field = field.rsplit(']').next()?.trim();
        match is_tuple {
            true => Some((index.to_string(), field.to_owned())),
            false => {
                let (name, of) = field.split_once(':')?;
                Some((name.trim().trim_start_matches("pub ").to_owned(), of.trim().to_owned()))
            }
        }
    });
    named.map(|(name, of)| (name, last_word(&of).to_owned())).collect()
}

/// What [`last_word`] makes of an I/O error.
const IO_ERROR: &str = "io::Error";

/// The last segment of a path, without what it is generic over; [`IO_ERROR`], or empty for another type of a
/// foreign crate.
fn last_word(path: &str) -> &str {
    let path = path.split('<').next().unwrap_or(path);
    if ["io::Error", "std::io::Error"].contains(&path) {
        return IO_ERROR;
    }
    let is_foreign = path.split_once("::").is_some_and(|(first, _)| {
        !first.starts_with("rollmill_") && !["crate", "self", "super"].contains(&first)
    });
    match is_foreign {
        true => "",
        false => path.rsplit("::").next().unwrap_or(path).trim(),
    }
}

/// Error types without a table, codes outside the tables or in two of them, errors that are texts, and messages
/// that would show two codes or the number of an I/O error.
pub(super) fn check(tree: &Tree) -> Findings {
    // The trees of tests have none of the files that are excused.
    let is_whole = tree.text("xtask/src/errors/tables.rs").is_some();
    let (uncoded, excused) = if is_whole { (UNCODED, TEXTS) } else { (&[][..], &[][..]) };
    let mut findings = check_except(tree, uncoded);
    findings.extend(texts(tree, excused));
    findings
}

/// Results whose error is a text, beyond those that are excused.
fn texts(tree: &Tree, excused: &[(&str, usize, &str)]) -> Findings {
    let mut findings = Findings::new();
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for file in tree.rust().filter(|file| is_shipped(file)) {
        let scanned = scan::scan(&file.text);
        let end = scan::test_module_line(&scanned.code).unwrap_or(usize::MAX);
        let lines = scanned.code.lines().enumerate().take_while(|(at, _)| at + 1 < end);
        for (at, line) in lines {
            let times = line.matches("Result<").count().min(line.matches(", String>").count());
            found.entry(&file.path).or_default().extend(std::iter::repeat_n(at + 1, times));
        }
    }
    for (path, lines) in &found {
        let allowed = excused.iter().find(|entry| entry.0 == *path).map_or(0, |entry| entry.1);
        if lines.len() > allowed {
            let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
            findings.push(format!(
                "{path}: errors that are texts on line {}, {allowed} excused; give each a variant of an error \
                 type with a code, or excuse it in TEXTS in xtask/src/errors/tables.rs",
                lines.join(", ")
            ));
        }
    }
    for (path, allowed, _) in excused {
        let times = found.get(path).map_or(0, Vec::len);
        if times < *allowed {
            findings.push(format!(
                "{path}: {times} errors are texts, {allowed} are excused; correct TEXTS in \
                 xtask/src/errors/tables.rs"
            ));
        }
    }
    findings
}

pub(super) fn check_except(tree: &Tree, excused: &[(&str, &str, &str)]) -> Findings {
    let files: Vec<(&File, scan::Scanned)> = tree
        .rust()
        .filter(|file| is_shipped(file))
        .map(|file| (file, scan::scan(&file.text)))
        .collect();
    let coded: BTreeSet<String> = files
        .iter()
        .flat_map(|(file, scanned)| Source::new(file, scanned).tables())
        .map(|table| table.name)
        .collect();
    let mut findings = Findings::new();
    let mut needed = Vec::new();
    let mut owners: BTreeMap<String, Owner> = BTreeMap::new();
    for (file, scanned) in &files {
        let source = Source::new(file, scanned);
        let tables = source.tables();
        let end = scan::test_module_line(&scanned.code).unwrap_or(usize::MAX);
        let literals = scanned.literals.iter().filter(|literal| literal.line < end);
        findings.extend(outside(file, literals, &tables));
        for (line, name) in error_types(&source.code).filter(|(line, _)| *line < end) {
            let excuse = excused.iter().find(|entry| (entry.0, entry.1) == (&*file.path, &*name));
            match excuse {
                Some(entry) => needed.push((entry.0, entry.1)),
                None if tables.iter().any(|table| table.name == name) => {}
                None => findings.push(format!(
                    "{}:{line}: {name} has no table `coded!`; give each of its variants a code",
                    file.path
                )),
            }
        }
        for table in &tables {
            for arm in &table.arms {
                findings.extend(of_another(file, table, arm, &mut owners));
                findings.extend(shown(file, &source, (table, arm), &coded));
            }
        }
    }
    let spare = excused.iter().filter(|(path, name, _)| !needed.contains(&(*path, *name)));
    findings.extend(spare.map(|(path, name, _)| {
        format!(
            "{path}: {name} needs no excuse; take it off the list in xtask/src/errors/tables.rs"
        )
    }));
    findings
}

/// Codes outside the tables of a file.
fn outside<'a>(
    file: &File,
    literals: impl Iterator<Item = &'a scan::Literal>,
    tables: &[Table],
) -> Findings {
    let mut findings = Findings::new();
    for literal in literals {
        let is_in = |table: &&Table| (table.lines.0..=table.lines.1).contains(&literal.line);
        let Some(code) = code_of(&literal.text) else { continue };
        match tables.iter().find(is_in) {
            None => findings.push(format!(
                "{}:{}: {code} stands outside a table `coded!`; make it a variant of an error type",
                file.path, literal.line
            )),
            Some(table) => {
                let is_its =
                    |arm: &Arm| arm.line == literal.line && arm.code.as_deref() == Some(code);
                if !table.arms.iter().any(is_its) {
                    findings.push(format!(
                        "{}:{}: {code} is not on the line of its arm; write one arm on one line, for one variant",
                        file.path, literal.line
                    ));
                }
            }
        }
    }
    findings
}

/// The type and file of a code, and its variant.
type Owner = (String, Option<String>);

/// A code that another variant has already.
fn of_another(
    file: &File,
    table: &Table,
    arm: &Arm,
    owners: &mut BTreeMap<String, Owner>,
) -> Option<String> {
    let code = arm.code.as_ref()?;
    let owner = (format!("{} of {}", table.name, file.path), arm.variant.clone());
    let first = owners.entry(code.clone()).or_insert_with(|| owner.clone());
    (*first != owner).then(|| {
        format!(
            "{}:{}: {code} is the code of another error, in {}; choose a new number",
            file.path, arm.line, first.0
        )
    })
}

/// Causes that a message shows as they are, with their code or the number of an I/O error.
fn shown(
    file: &File,
    source: &Source<'_>,
    (table, arm): (&Table, &Arm),
    coded: &BTreeSet<String>,
) -> Findings {
    let mut findings = Findings::new();
    let Some(at) = source.declaration(table, arm) else { return findings };
    let (attributes, declaration) = source.attributes_and_fields(at);
    for (field, of) in fields(&declaration) {
        let (place, field) = (format!("{}:{}", file.path, at + 1), format!("{{{field}}}"));
        if !attributes.contains(&field) {
            continue;
        }
        if of == IO_ERROR {
            findings.push(format!(
                "{place}: the message shows {field} with the number of an I/O error; quote it with \
                 `rollmill_errors::InWords`"
            ));
        }
        // A message that has no code of its own takes that of the error it shows.
        if arm.code.is_some() && coded.contains(&of) && of != "Error" {
            findings.push(format!(
                "{place}: the message shows {field}, whose own message begins with a code; quote it with \
                 `rollmill_errors::Bare`"
            ));
        }
    }
    findings
}

/// Line (from 1) and name of each type that derives thiserror's `Error` or implements the trait itself.
fn error_types(code: &[&str]) -> impl Iterator<Item = (usize, String)> {
    let implemented = code.iter().enumerate().filter_map(|(at, line)| {
        let (head, name) = line.trim_start().split_once("Error for ")?;
        let is_trait = head.starts_with("impl") && head.ends_with([' ', ':', '>']);
        let end = name.find(|c| !is_word(c)).unwrap_or(name.len());
        is_trait.then(|| (at + 1, name[..end].to_owned()))
    });
    derived(code).chain(implemented)
}

/// As [`error_types`], of those that derive it.
fn derived(code: &[&str]) -> impl Iterator<Item = (usize, String)> {
    let derives = (0..code.len()).filter(|at| code[*at].contains("thiserror::Error"));
    derives.filter_map(|at| {
        (at + 1..code.len()).find_map(|line| {
            let (_, rest) =
                ["enum ", "struct "].iter().find_map(|word| code[line].split_once(word))?;
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            Some((line + 1, rest[..end].to_owned()))
        })
    })
}

#[cfg(test)]
mod tests;
