//! The register of everything in the repository that a program writes: the files, what writes them and what
//! compares them. `cargo xtask gen --list` prints it, `gen --all` runs it in order, and the table of
//! `CONTRIBUTING.md` is made of it.
//!
//! A test that keeps a file writes it with `ROLLMILL_BLESS=1` and compares it otherwise. Each such test must be
//! named here, or `cargo xtask tidy` says so.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::Findings;
use crate::generate::Output;
use crate::tree::Tree;

/// The environment variable that makes a test write what it would compare.
pub(crate) const BLESS: &str = "ROLLMILL_BLESS";
/// The page with the table.
const PAGE: &str = "CONTRIBUTING.md";
const START: &str = "<!-- written by `cargo xtask gen` -->\n";
const END: &str = "<!-- end of what `cargo xtask gen` writes -->\n";

/// What writes a file.
enum Writer {
    /// `cargo xtask gen` itself.
    Gen,
    /// A test with [`BLESS`]: the crate's folder, the test file, and the name of the test if the file has others.
    Test(&'static str, &'static str, Option<&'static str>),
    /// The same of a crate whose tests are one program: the crate's folder and the module of the test.
    Module(&'static str, &'static str),
    /// A module of `devnet`'s tests that runs the programs, so that they must be built.
    TestOfPrograms(&'static str),
    /// A script of the file `package.json` in this folder.
    Npm(&'static str, &'static str),
    /// A command that `gen --all` leaves out, and why.
    Apart(&'static str, &'static str),
    /// Nobody but the author: from what.
    Hand(&'static str),
}

/// Files that are written together.
struct Row {
    files: &'static [&'static str],
    writer: Writer,
    /// What fails when a file is stale.
    compared_by: &'static str,
}

const GEN_CHECK: &str = "`cargo xtask gen --check`";

/// Every generated file, in the order in which a change of the first ones reaches the later ones.
const ROWS: &[Row] = &[
    Row {
        files: &["docs/errors.md", "docs/book/layouts.md", "contracts/src/Layout.sol"],
        writer: Writer::Gen,
        compared_by: GEN_CHECK,
    },
    Row {
        files: &["kernels/cuda/generated.cuh", "kernels/src/generated.rs"],
        writer: Writer::Test("kernels", "proof", Some("the_generated_kernels")),
        compared_by: "`the_generated_kernels_are_those_of_the_provers_programs`",
    },
    Row {
        files: &["circuits/src/registry.rs"],
        writer: Writer::Hand("`DEVELOPMENT_ROOT`, from the message of CIR-033"),
        compared_by: GEN_CHECK,
    },
    Row {
        files: &["contracts/src/EpochRoot1Verifier.sol", "contracts/src/EpochRoot2Verifier.sol"],
        writer: Writer::Gen,
        compared_by: GEN_CHECK,
    },
    Row {
        files: &["circuits/tests/golden/"],
        writer: Writer::Apart(
            "cargo run -p rollmill-circuits --example epoch -- KEYS --write circuits/tests/golden 3 0 1",
            "proves an epoch; KEYS is a folder for keys",
        ),
        compared_by: "`circuits/tests/epoch.rs`",
    },
    Row {
        files: &["circuits/tests/freedom.txt"],
        writer: Writer::Hand("from the message of the test, after you have explained each change"),
        compared_by: "`circuits/tests/analysis.rs`",
    },
    Row {
        files: &["contracts/artifacts/"],
        writer: Writer::Npm("contracts", "build"),
        compared_by: "`node build.js --check`, part of `make test`",
    },
    Row {
        files: &["contracts/snapshots/", "docs/book/gas.md"],
        writer: Writer::Npm("contracts", "snapshot"),
        compared_by: "forge and `node gas.js --check`, parts of `make test` (gas)",
    },
    Row {
        files: &["plonk/tests/fixtures/solidity/"],
        writer: Writer::Apart(
            "ROLLMILL_BLESS=1 cargo test -p rollmill-plonk --test all solidity",
            "makes new proofs",
        ),
        compared_by: "`the_solidity_verifier_agrees_with_the_native_one`",
    },
    Row {
        files: &["kernels/kernels.fatbin", "kernels/kernels.json", "kernels/arithmetic.ptx"],
        writer: Writer::Apart("cargo xtask gen --cuda", "downloads about 110 MB"),
        compared_by: "`cargo xtask gen --check`, by digests of the sources",
    },
    Row {
        files: &["protocol/tests/vectors/protocol2.json", "protocol/tests/vectors/stream2.jsonl"],
        writer: Writer::Gen,
        compared_by: "`cargo xtask gen --check` with `model2.py`; `protocol/tests/known_answers.rs` and `model.rs` with the crate",
    },
    Row {
        files: &["protocol/tests/vectors/private2.json"],
        writer: Writer::Gen,
        compared_by: "`cargo xtask gen --check` with `private2.py`; `protocol/tests/private.rs` with the crate",
    },
    Row {
        files: &["plonk/tests/vectors/transcript.json"],
        writer: Writer::Gen,
        compared_by: "`cargo xtask gen --check` with `transcript.py`, `plonk/tests/transcript.rs` with the crate",
    },
    Row {
        files: &["docs/book/mutants.md"],
        writer: Writer::Apart(
            "make mutants",
            "takes about an hour; `cargo xtask mutants --set SET --write` for one set",
        ),
        compared_by: "`cargo xtask tidy` compares its rows with the register of checks",
    },
    Row {
        files: &["docs/book/contract-mutants.md"],
        writer: Writer::Apart(
            "make mutants-contracts",
            "takes about an hour; `node contracts/mutants.js --refresh` when only lines have moved",
        ),
        compared_by: "`node mutants.js --check`, part of `make test`, compares its rows with the contracts",
    },
    Row {
        files: &["docs/http.md", "docs/openapi.json", "docs/book/states.md"],
        writer: Writer::Module("broker", "pages"),
        compared_by: "`broker/tests/pages.rs`",
    },
    Row {
        files: &["docs/metrics.md"],
        writer: Writer::Module("devnet", "metrics"),
        compared_by: "`the_page_lists_every_metric_as_it_is_declared`",
    },
    Row {
        files: &["docs/rpc.md"],
        writer: Writer::Test("node/client", "page", None),
        compared_by: "`the_page_lists_every_method_as_it_is_declared`",
    },
    Row {
        files: &["docs/book/pxe-service.md"],
        writer: Writer::Module("pxe", "page"),
        compared_by: "`the_page_has_every_method_and_member_as_they_are_declared` (its tables)",
    },
    Row {
        files: &["docs/cli.md", "docs/config.md", "docs/config/"],
        writer: Writer::TestOfPrograms("reference"),
        compared_by: "`the_pages_and_samples_are_what_the_programs_print`",
    },
    Row {
        files: &["docs/book/peers-zen4-2cores.svg"],
        writer: Writer::Module("bench", "plot"),
        compared_by: "`bench/tests/plot.rs`",
    },
    Row {
        files: &["CONTRIBUTING.md"],
        writer: Writer::Gen,
        compared_by: "`cargo xtask gen --check` (this table)",
    },
    Row {
        files: &[
            "deploy/grafana/broker.json",
            "deploy/grafana/chain.json",
            "deploy/grafana/cost.json",
            "deploy/grafana/devices.json",
            "deploy/grafana/operator.json",
        ],
        writer: Writer::Gen,
        compared_by: GEN_CHECK,
    },
    Row {
        files: &["docs/book/capacity.md"],
        writer: Writer::Test("capacity", "program", Some("the_page_shows")),
        compared_by: "`the_page_shows_what_the_program_prints` (its table, roughly)",
    },
    Row {
        files: &["kernels/calls.json"],
        writer: Writer::Test("kernels", "calls", Some("a_proof_makes_no_more_calls")),
        compared_by: "the same test, as ceilings; 2^17 rows with `ROLLMILL_TEST_ROWS=12,17`",
    },
    Row {
        files: &["docs/book/card-model.md"],
        writer: Writer::Test("kernels", "card_model", Some("the_page_of_the_model")),
        compared_by: "the same test (its tables)",
    },
    Row {
        files: &["docs/book/noir.md"],
        writer: Writer::Apart(
            "benches/noir.py --table benches/results/noir-NAME.json",
            "from a measurement; its table alone",
        ),
        compared_by: "nothing: a measurement is not repeatable",
    },
    Row {
        files: &["noir/artifacts/"],
        writer: Writer::Npm("noir", "build"),
        compared_by: "`node compile.js --check`, part of `make test`; `acir/tests/contracts.rs` by digests of the sources",
    },
];

impl Writer {
    /// What a person does to write the files, as the page says it.
    fn text(&self) -> String {
        match self {
            Self::Gen => "`make gen`".to_owned(),
            Self::Test(folder, file, name) => {
                let package = folder.replace('/', "-");
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                format!("`{BLESS}=1 cargo test -p rollmill-{package} --test {file}{name}`")
            }
            Self::Module(folder, module) => {
                let package = folder.replace('/', "-");
                format!("`{BLESS}=1 cargo test -p rollmill-{package} --test all {module}`")
            }
            Self::TestOfPrograms(module) => format!(
                "`make build`, then `{BLESS}=1 cargo test --workspace --features {} --test all {module}`",
                crate::features::SUITE
            ),
            Self::Npm(folder, script) => format!("`cd {folder} && npm run {script}`"),
            Self::Apart(command, why) => format!("`{command}` ({why})"),
            Self::Hand(from) => format!("by hand: {from}"),
        }
    }

    /// The command that `gen --all` runs; none for what it leaves out.
    fn command(&self) -> Option<Command> {
        let features = ["--features", crate::features::SUITE];
        let mut command;
        match self {
            // The features of the whole suite, so that nothing is built a second time.
            Self::Test(_, file, name) => {
                command = Command::new("cargo");
                command.args(["test", "--locked", "--workspace"]).args(features);
                command.args(["--test", file]).args(name.as_slice());
            }
            Self::Module(_, module) | Self::TestOfPrograms(module) => {
                command = Command::new("cargo");
                command.args(["test", "--locked", "--workspace"]).args(features);
                command.args(["--test", "all"]).arg(format!("{module}::"));
            }
            Self::Npm(folder, script) => {
                command = Command::new("npm");
                command.args(["--prefix", folder, "run", script]);
            }
            Self::Gen | Self::Apart(..) | Self::Hand(_) => return None,
        }
        command.env(BLESS, "1");
        Some(command)
    }

    /// The test that writes the files.
    fn test(&self) -> Option<String> {
        match self {
            Self::Test(folder, file, _) | Self::Module(folder, file) => {
                Some(format!("{folder}/tests/{file}.rs"))
            }
            Self::TestOfPrograms(file) => Some(format!("devnet/tests/{file}.rs")),
            Self::Apart(command, _) => {
                let (_, rest) = command.split_once("cargo test -p rollmill-")?;
                let (package, file) = rest.split_once(" --test ")?;
                let file = file.strip_prefix("all ").unwrap_or(file);
                Some(format!("{package}/tests/{file}.rs"))
            }
            Self::Gen | Self::Npm(..) | Self::Hand(_) => None,
        }
    }

    /// The file and the start of the name of the one test that writes the files.
    fn named_test(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Test(_, _, Some(name)) => Some((self.test()?, name)),
            _ => None,
        }
    }

    fn needs_programs(&self) -> bool {
        matches!(self, Self::TestOfPrograms(_))
    }
}

/// The table of the register, as the page shows it.
pub(crate) fn table() -> String {
    let mut table =
        String::from("| # | files | written by | compared by |\n| --- | --- | --- | --- |\n");
    for (at, row) in ROWS.iter().enumerate() {
        let files: Vec<String> = row.files.iter().map(|file| format!("`{file}`")).collect();
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            at + 1,
            files.join(", "),
            row.writer.text(),
            row.compared_by
        );
    }
    table
}

/// The page with the table in its place.
pub(crate) fn page(tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let Some(page) = tree.text(PAGE) else { return Ok(Vec::new()) };
    let (before, rest) =
        page.split_once(START).with_context(|| format!("{PAGE} lacks the line {START}"))?;
    let (_, after) =
        rest.split_once(END).with_context(|| format!("{PAGE} lacks the line {END}"))?;
    Ok(vec![Output::text(PAGE, format!("{before}{START}{}{END}{after}", table()))])
}

/// Runs every writer but `gen` itself, in order, and prints what is left to a person.
///
/// # Errors
/// When a writer cannot be started or fails; the message names its files and its command.
pub(crate) fn write_all(root: &Path) -> anyhow::Result<()> {
    let mut is_built = false;
    for row in ROWS {
        let Some(mut command) = row.writer.command() else { continue };
        if row.writer.needs_programs() && !is_built {
            let features = ["--features", crate::features::SUITE];
            let mut build = Command::new("cargo");
            build.args(["build", "--locked", "--workspace", "--bins"]).args(features);
            run(root, &mut build, "the programs")?;
            is_built = true;
        }
        run(root, &mut command, &row.files.join(", "))?;
    }
    for row in ROWS {
        if matches!(row.writer, Writer::Apart(..) | Writer::Hand(_)) {
            println!("gen: not written: {}; {}", row.files.join(", "), row.writer.text());
        }
    }
    Ok(())
}

fn run(root: &Path, command: &mut Command, files: &str) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    println!("gen: {files}: {shown}");
    let status = command.current_dir(root).status();
    let status = status.with_context(|| format!("cannot run {shown}; run `make setup`"))?;
    anyhow::ensure!(status.success(), "{files} not written: {shown} ended with {status}");
    Ok(())
}

/// Each test that writes what it compares is in the register, each file of the register exists, and there is one
/// name for the switch.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    let is_there = |file: &str| {
        tree.paths
            .iter()
            .any(|path| path == file || (file.ends_with('/') && path.starts_with(file)))
    };
    for file in ROWS.iter().flat_map(|row| row.files).filter(|file| !is_there(file)) {
        findings
            .push(format!("{file}: listed in xtask/src/generated.rs, but there is no such file"));
    }
    for (test, name) in ROWS.iter().filter_map(|row| row.writer.named_test()) {
        let has = |text: &str| text.contains(&format!("fn {name}"));
        if !tree.text(&test).is_none_or(has) {
            findings.push(format!(
                "{test}: has no test {name}…, which xtask/src/generated.rs would run to write a file"
            ));
        }
    }
    for file in tree.rust().filter(|file| !file.path.starts_with("xtask/")) {
        let is_known = ROWS.iter().any(|row| row.writer.test().as_deref() == Some(&file.path));
        if file.text.contains(&format!("\"{BLESS}\"")) && !is_known {
            findings.push(format!(
                "{}: writes a file with {BLESS}; add a row to ROWS in xtask/src/generated.rs",
                file.path
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_writes_a_file_and_is_not_registered_is_named() {
        let files: Vec<(&str, &str)> =
            ROWS.iter().flat_map(|row| row.files).map(|file| (*file, "")).collect();
        // A folder is there if a file lies in it.
        let mut files: Vec<(String, &str)> = files
            .into_iter()
            .map(|(path, text)| match path.ends_with('/') {
                true => (format!("{path}file"), text),
                false => (path.to_owned(), text),
            })
            .collect();
        let of = |files: &[(String, &str)]| {
            Tree::of(&files.iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>())
        };
        assert_eq!(check(&of(&files)), Findings::new());

        files.push(("broker/tests/pages.rs".into(), "var_os(\"ROLLMILL_BLESS\")"));
        assert_eq!(check(&of(&files)), Findings::new());
        files.push(("node/tests/pages.rs".into(), "var_os(\"ROLLMILL_BLESS\")"));
        files.push(("kernels/tests/proof.rs".into(), "fn another_name() {}"));
        files.retain(|(path, _)| path != "docs/rpc.md");
        let findings = check(&of(&files));
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].starts_with("docs/rpc.md: listed"), "{findings:?}");
        assert!(findings[1].starts_with("kernels/tests/proof.rs: has no test"), "{findings:?}");
        assert!(findings[2].starts_with("node/tests/pages.rs: writes"), "{findings:?}");
    }

    #[test]
    fn the_page_keeps_what_stands_around_the_table() {
        let old = format!("before\n{START}stale\n{END}after\n");
        let outputs = page(&Tree::of(&[(PAGE, &old)])).unwrap();
        let text = String::from_utf8(outputs[0].bytes.clone()).unwrap();
        assert_eq!(text, format!("before\n{START}{}{END}after\n", table()));
        let error = page(&Tree::of(&[(PAGE, "no marks")])).unwrap_err().to_string();
        assert!(error.starts_with("CONTRIBUTING.md lacks the line"), "{error}");
    }

    #[test]
    fn a_row_that_gen_all_leaves_out_says_why_or_from_what() {
        for row in ROWS {
            let text = row.writer.text();
            match &row.writer {
                Writer::Apart(_, why) | Writer::Hand(why) => assert!(!why.is_empty(), "{text}"),
                Writer::Gen => assert!(row.writer.command().is_none()),
                _ => assert!(row.writer.command().is_some(), "{text}"),
            }
        }
    }
}
