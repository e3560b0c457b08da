//! Developer commands, run as `cargo xtask COMMAND`.
//!
//! Each command checks one promise of the repository against the files themselves, so that the
//! promise cannot rot unnoticed: the dependencies between crates (`deps`), the house rules (`tidy`), the
//! generated files (`gen`), the sizes of the circuits (`circuits`). `test` runs them all, then every
//! test, and counts.
//!
//! Exit codes: 0 all is well; 1 a rule is broken or a test failed, each finding on a line of its
//! own; 2 wrong usage; 3 the command could not do its work (a file or a program is missing).

mod alerts;
mod circuits;
mod cuda;
mod dashboards;
mod deps;
mod errors;
mod features;
mod functions;
mod generate;
mod generated;
mod kernels;
mod layouts;
mod logs;
mod manifests;
mod models;
mod mutants;
mod names;
mod operating;
mod package;
mod pages;
mod retries;
mod scan;
mod sources;
mod suite;
mod switches;
mod tidy;
mod tree;
mod unused;
mod verifiers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a check found: one line each, in the form `path:line: what is wrong; what to do`.
type Findings = Vec<String>;

/// Check, generate and test this repository
///
/// Exit codes: 0 success, 1 findings or failed tests, 2 invalid command line, 3 a file or a program is missing.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check dependencies between crates, heavy crates and versions
    Deps,
    /// Check the house rules
    ///
    /// The rules concern the length of files and functions, unsafe code, leftovers, error codes, decision records,
    /// the README and the pages of the book.
    Tidy,
    /// Write generated files
    ///
    /// Without an option: those that need neither a build of the tests nor a network, which are the pages of errors
    /// and layouts, Solidity constants and verifiers, and vectors. `--list` prints every generated file with what
    /// writes and what compares it.
    Gen {
        /// Compare only; print each file that differs and exit with 1
        #[arg(long)]
        check: bool,
        /// Print the table of all generated files and write nothing
        #[arg(long, conflicts_with_all = ["check", "all", "cuda"])]
        list: bool,
        /// Write the files of tests and scripts too, in order; then print what is left to do apart
        #[arg(long, conflicts_with = "check")]
        all: bool,
        /// Compile the CUDA kernels too; installs the pinned compiler in the cache directory first
        #[arg(long)]
        cuda: bool,
    },
    /// Print the size of every circuit and its budget
    Circuits {
        /// Write the table as JSON to this file [default: none]
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also prove each circuit once, to measure its time and its peak memory
        #[arg(long)]
        prove: bool,
    },
    /// Remove one check at a time and require that a test fails
    Mutants {
        /// Set to run; can be repeated [default: all but the last three]
        ///
        /// The sets are gates, zk, transcript, verifier, srs, keys, solidity, gadgets and circuits; `all` runs all of
        /// them.
        #[arg(long = "set", value_name = "SET")]
        sets: Vec<String>,
        /// Run only mutants whose names contain this text [default: all]
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Write the results to `docs/book/mutants.md`
        #[arg(long)]
        write: bool,
    },
    /// Build the programs in release mode and pack them for operators
    ///
    /// The archive is `rollmill-VERSION-TARGET.tar.gz`; the last line is its path.
    Package {
        /// Directory for the archive [default: `package` in Cargo's target directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Run every check and every test, Rust and Solidity
    ///
    /// The last line is 'N passed, N failed'.
    Test {
        /// Use `cargo test` even if cargo-nextest is installed
        #[arg(long)]
        no_nextest: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            eprintln!("xtask: {} finding(s)", findings.len());
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// Everything that `cargo xtask deps` checks.
fn dependencies(root: &std::path::Path) -> anyhow::Result<Findings> {
    let mut findings = deps::check_workspace(root)?;
    findings.extend(features::check(root)?);
    findings.extend(manifests::check(&manifests::load(root)?));
    Ok(findings)
}

/// Everything that `cargo xtask tidy` checks.
fn tidied(root: &std::path::Path) -> anyhow::Result<Findings> {
    let tree = tree::Tree::load(root)?;
    let mut findings = tidy::check(&tree);
    findings.extend(functions::check(&tree));
    findings.extend(logs::check(&tree));
    findings.extend(kernels::check(&tree));
    findings.extend(retries::check(&tree));
    findings.extend(sources::check(&tree));
    findings.extend(switches::check(&tree));
    findings.extend(names::check(&tree));
    findings.extend(operating::check(&tree));
    findings.extend(pages::check(&tree));
    findings.extend(generated::check(&tree));
    findings.extend(alerts::check(&tree));
    findings.extend(mutants::page::check(&tree, &switches::all(), &tidy::names_of_tests(&tree)));
    Ok(findings)
}

fn run(command: Command) -> anyhow::Result<Findings> {
    let root = tree::root()?;
    match command {
        Command::Deps => dependencies(&root),
        Command::Tidy => Ok(tidied(&root)?),
        Command::Gen { list: true, .. } => {
            print!("{}", generated::table());
            Ok(Findings::new())
        }
        Command::Gen { check: true, cuda, .. } => generate::check(&root, cuda),
        Command::Gen { check: false, cuda, all, .. } => {
            generate::write(&root, cuda)?;
            if all {
                generated::write_all(&root)?;
            }
            Ok(Findings::new())
        }
        Command::Circuits { json, prove } => circuits::run(json.as_deref(), prove),
        Command::Mutants { sets, only, write } => {
            mutants::run(&root, &sets, only.as_deref(), write)
        }
        Command::Package { out } => package::run(&root, out.as_deref()).map(|()| Findings::new()),
        Command::Test { no_nextest } => suite::run(&root, no_nextest),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
