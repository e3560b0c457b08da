//! Developer commands, run as `cargo xtask COMMAND`.
//!
//! Each command checks one promise of the repository against the files themselves, so that the
//! promise cannot rot unnoticed: the dependencies between crates (`deps`), the house rules (`tidy`), the
//! generated files (`gen`), the sizes of the circuits (`circuits`). `test` runs them all, then every
//! test, and counts.
//!
//! Exit codes: 0 all is well; 1 a rule is broken or a test failed, each finding on a line of its
//! own; 2 wrong usage; 3 the command could not do its work (a file or a program is missing).

mod circuits;
mod cuda;
mod deps;
mod errors;
mod features;
mod functions;
mod generate;
mod kernels;
mod layouts;
mod logs;
mod models;
mod mutants;
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

/// Rollmill's developer commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the dependencies between crates, the heavy crates and the versions, from `cargo metadata`.
    Deps,
    /// Check the house rules: length of files and functions, unsafe, leftovers, error codes, ADRs, README, pages of the book.
    Tidy,
    /// Write `docs/errors.md`, `docs/book/layouts.md`, `contracts/src/Layout.sol` and the Solidity verifiers
    /// of both root circuits again, with `--cuda` the compiled CUDA kernels too.
    ///
    /// `CONTRIBUTING.md` lists the other generated files and their commands.
    Gen {
        /// Compare only; name each file that differs and exit with 1.
        #[arg(long)]
        check: bool,
        /// Compile the CUDA kernels too; puts the pinned compiler into the cache folder first.
        #[arg(long)]
        cuda: bool,
    },
    /// Print the size of every circuit against its budget.
    Circuits {
        /// Write the same table as JSON to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also make one proof of each circuit, for its seconds and its peak memory.
        #[arg(long)]
        prove: bool,
    },
    /// Take out one check at a time and require a test to notice.
    Mutants {
        /// Sets to run: gates, zk, transcript, verifier, srs, keys, solidity, gadgets, circuits; or `all`.
        /// [default: all but the last three]
        #[arg(long = "set", value_name = "SET")]
        sets: Vec<String>,
        /// Run only the mutants whose names hold this text.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Put what became of each mutant into `docs/book/mutants.md`.
        #[arg(long)]
        write: bool,
    },
    /// Run every check and every test (Rust and Solidity); end with 'N passed, N failed'.
    Test {
        /// Use `cargo test` even where cargo-nextest is installed.
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
    Ok(findings)
}

/// Everything that `cargo xtask tidy` checks.
fn tidied(root: &std::path::Path) -> anyhow::Result<Findings> {
    let tree = tree::Tree::load(root)?;
    let mut findings = tidy::check(&tree);
    findings.extend(functions::check(&tree));
    findings.extend(logs::check(&tree));
    findings.extend(kernels::check(&tree));
    findings.extend(sources::check(&tree));
    findings.extend(switches::check(&tree));
    findings.extend(mutants::page::check(&tree, &switches::all(), &tidy::names_of_tests(&tree)));
    Ok(findings)
}

fn run(command: Command) -> anyhow::Result<Findings> {
    let root = tree::root()?;
    match command {
        Command::Deps => dependencies(&root),
        Command::Tidy => Ok(tidied(&root)?),
        Command::Gen { check: true, cuda } => generate::check(&root, cuda),
        Command::Gen { check: false, cuda } => {
            generate::write(&root, cuda).map(|()| Findings::new())
        }
        Command::Circuits { json, prove } => circuits::run(json.as_deref(), prove),
        Command::Mutants { sets, only, write } => {
            mutants::run(&root, &sets, only.as_deref(), write)
        }
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
