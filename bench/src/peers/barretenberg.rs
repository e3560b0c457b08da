//! Barretenberg's command line program `bb`: MSMs and whole proofs, timed by its own clock.
//!
//! It has no command for a single MSM. The commitment to the quotient of the KZG opening in a proof is
//! one MSM of as many full scalars as the circuit's domain has elements, and `--bench_out_hierarchical`
//! reports its time. docs/book/bench.md describes what is compared and what is not.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rollmill_algebra::Fr;
use rollmill_algebra::bytes::fr_to_bytes;
use rollmill_plonk::srs::Srs;
use serde_json::Value;
use tempfile::TempDir;

use super::acir::{Acir, INPUT};
use super::child;
use crate::BenchError;
use crate::measure::{Bench, Case, Taken};
use crate::mix::{Mix, START, lay};
use rollmill_agent::srs::export_bb;

/// Its name in results.
const NAME: &str = "barretenberg";
/// Where npm's `@aztec/bb.js` keeps the program, under a folder that has `contracts`.
const IN_NPM: &str = "contracts/node_modules/@aztec/bb.js/build";
/// Without blinding, as the bench's own proofs, and with the cheaper of its transcripts.
const TARGET: &str = "evm-no-zk";
/// A larger SRS takes minutes to generate.
const LOG_DOMAIN_MAX: u32 = 20;
/// Below, its fixed rows are not few against the domain.
const LOG_DOMAIN_MIN: u32 = 12;
/// Memory of a proof per gate.
const BYTES_PER_GATE: u64 = 2 << 10;
/// Gates short of a full domain, for rows that it adds.
const SLACK: u64 = 64;
/// Gates of one permutation, and of a circuit of ours without any; its own count is queried afterwards.
const GATES_PER_HASH: u64 = 73;
const GATES_FIXED: u64 = 20;

/// The program, and a folder for its files.
#[derive(Debug)]
pub(crate) struct Barretenberg {
    program: PathBuf,
    version: String,
    threads: usize,
    folder: TempDir,
    /// Logarithm of the powers in the folder.
    powers: Cell<u32>,
}

impl Barretenberg {
    /// Uses `given`, else `bb` on the path, else the one of an npm folder here or above. Returns in one line
    /// why there is none.
    pub(crate) fn find(given: Option<&Path>, threads: usize) -> Result<Self, String> {
        let program = match given {
            Some(path) => path.to_owned(),
            None => on_path().or_else(in_npm).ok_or_else(|| {
                format!("there is no bb on the path and none in {IN_NPM}; name it with --bb")
            })?,
        };
        // It runs in its own directory, where a relative path would not resolve.
        let program = std::path::absolute(&program).map_err(|error| {
            format!("{} is no path: {}", program.display(), rollmill_errors::InWords(&error))
        })?;
        let shown = program.display();
        let output = command(&program).arg("--version").output().map_err(|error| {
            format!("{shown} cannot be run: {}", rollmill_errors::InWords(&error))
        })?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // Another program of this name, for Clojure, prints its name first.
        let plausible = version.starts_with(|c: char| c.is_ascii_digit()) && version.len() < 80;
        if !output.status.success() || !plausible {
            return Err(format!("{shown} is not Barretenberg's bb: --version prints no version"));
        }
        let folder =
            tempfile::Builder::new().prefix("rollmill-bench-").tempdir().map_err(|error| {
                format!("there is no folder for its files: {}", rollmill_errors::InWords(&error))
            })?;
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Ok(Self { program, version, threads, folder, powers: Cell::new(0) })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has powers for domains of this size in the folder.
    fn provide(&self, log_n: u32) -> Result<(), BenchError> {
        if self.powers.get() < log_n {
            eprintln!("bench: making powers for {NAME}, 2^{log_n}");
            export_bb(&Srs::development(log_n), &self.at("crs"))
                .map_err(|error| failed("its SRS", error.to_string()))?;
            self.powers.set(log_n);
        }
        Ok(())
    }

    /// Writes a circuit and its witness, and generates its key. Returns Barretenberg's count of gates.
    fn prepare(&self, circuit: &Acir, output: u32) -> Result<u64, BenchError> {
        for (name, bytes) in
            [("program.gz", circuit.program(output)), ("witness.gz", circuit.witness_file())]
        {
            let path = self.at(name);
            std::fs::write(&path, bytes).map_err(|error| BenchError::Write {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        let counted = self.run("gates", &["-b", "program.gz", "-t", TARGET])?;
        let counted: Value = serde_json::from_slice(&counted.stdout)
            .map_err(|error| failed("bb gates", error.to_string()))?;
        let gates = counted["functions"][0]["circuit_size"].as_u64();
        let gates = gates.ok_or_else(|| failed("bb gates", "it names no circuit_size".into()))?;
        Ok(gates)
    }

    /// Proves what [`Self::prepare`] wrote and reads the times.
    fn prove(&self, new_sums: bool) -> Result<Proof, BenchError> {
        let mut command = self.command("prove");
        command.args(["-b", "program.gz", "-w", "witness.gz", "-k", "out/vk", "-o", "out"]);
        command.args(["-t", TARGET, "-c", "crs", "--bench_out_hierarchical", "times.json"]);
        if new_sums {
            command.env("BB_MSM_NEW", "1");
        }
        let (output, memory) =
            child::run(&mut command).map_err(|error| failed("bb prove", error.to_string()))?;
        done("prove", Ok(output))?;
        let read = |name: &str| {
            std::fs::read(self.at(name)).map_err(|error| {
                failed(
                    "bb prove",
                    format!("it left no {name}: {}", rollmill_errors::InWords(&error)),
                )
            })
        };
        let times = serde_json::from_slice(&read("times.json")?)
            .map_err(|error| failed("the times of bb", error.to_string()))?;
        Ok(Proof { proof: read("out/proof")?, public: read("out/public_inputs")?, times, memory })
    }

    /// Proves once with its new MSM and once with its usual one, and checks the proof: the same bytes,
    /// the public values of our own circuit, and accepted but for the pairing, which asks for a
    /// ceremony's τ that is compiled in.
    fn checked(&self, what: &str, public: [Fr; 2]) -> Result<Proof, BenchError> {
        let wrong = || BenchError::Wrong { what: what.to_owned(), implementation: NAME.to_owned() };
        self.run("write_vk", &["-b", "program.gz", "-o", "out", "-t", TARGET, "-c", "crs"])?;
        let usual = self.prove(false)?;
        let proof = self.prove(true)?;
        let public: Vec<u8> = public.iter().flat_map(fr_to_bytes).collect();
        if proof.proof != usual.proof || proof.public != public {
            return Err(wrong());
        }
        let mut command = self.command("verify");
        command.args(["-p", "out/proof", "-k", "out/vk", "-i", "out/public_inputs"]);
        command.args(["-t", TARGET, "-c", "crs"]);
        let output = command.output().map_err(|error| failed("bb verify", error.to_string()))?;
        match output.status.success() || only_the_pairing(&printed(&output)) {
            true => Ok(proof),
            false => Err(wrong()),
        }
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Result<Output, BenchError> {
        done(name, self.command(name).args(arguments).output())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = command(&self.program);
        command.current_dir(self.folder.path()).arg(name);
        command.env("HARDWARE_CONCURRENCY", self.threads.to_string());
        // Set by the user for another run.
        command.env_remove("BB_MSM_NEW").env_remove("BB_MSM_LEGACY").env_remove("CRS_PATH");
        command
    }
}

struct Proof {
    proof: Vec<u8>,
    public: Vec<u8>,
    times: Value,
    /// The most memory of the program.
    memory: Option<u64>,
}

impl Proof {
    /// Seconds and calls of a scope.
    fn scope(&self, name: &str, parent: &str) -> Result<(f64, u64), BenchError> {
        let found = self.times[name].as_array().and_then(|entries| {
            let entry = entries.iter().find(|entry| entry["parent"] == parent)?;
            Some((entry["time"].as_f64()? / 1e9, entry["count"].as_u64()?))
        });
        let missing = || {
            let reason = format!(
                "they have no `{name}` under `{parent}`; this bb is not one of those known"
            );
            failed("the times of bb", reason)
        };
        found.filter(|(seconds, _)| *seconds > 0.0).ok_or_else(missing)
    }

    fn msm_scope(&self) -> Result<(f64, u64), BenchError> {
        self.scope("CommitmentKey::commit", "KZG::compute_opening_proof")
    }

    /// The proof, once circuit and witness are laid out.
    fn whole(&self) -> Result<f64, BenchError> {
        Ok(self.scope("UltraProver::construct_proof", "CircuitProve")?.0)
    }

    /// Logarithm of its domain: one commitment to a folding each, but for the last.
    fn log_domain(&self) -> Result<u32, BenchError> {
        let (_, folds) = self.scope("CommitmentKey::commit", "GeminiProver::prove")?;
        Ok(folds as u32 + 1)
    }
}

/// MSMs of the sizes in the plan that it supports.
pub(crate) fn msm(bench: &mut Bench<'_>, bb: &Barretenberg) -> Result<(), BenchError> {
    let (from, to) = (*bench.plan.sizes.start(), *bench.plan.sizes.end());
    let sizes = from.max(LOG_DOMAIN_MIN)..=to.min(LOG_DOMAIN_MAX);
    if sizes.is_empty() || !bench.plan.distributions.iter().any(|name| name == "uniform") {
        eprintln!(
            "bench: sums by {NAME}: left out, it has them of uniform scalars and of 2^{LOG_DOMAIN_MIN} to 2^{LOG_DOMAIN_MAX}"
        );
        return Ok(());
    }
    bench.require_memory(NAME, BYTES_PER_GATE << sizes.end())?;
    bb.provide(*sizes.end())?;
    for log_n in sizes {
        let n = 1u64 << log_n;
        let case = Case {
            group: "msm",
            name: format!("msm 2^{log_n} uniform"),
            n,
            work: Default::default(),
        };
        let (circuit, output) = full(log_n);
        let gates = bb.prepare(&circuit, output)?;
        if !(n - 2 * SLACK..=n).contains(&gates) {
            let reason = format!("its circuit for 2^{log_n} has {gates} gates");
            return Err(failed("bb gates", reason));
        }
        let first = bb.checked(&case.name, [Fr::from(START), circuit.value(output)])?;
        let domain = first.log_domain()?;
        if (domain, first.msm_scope()?.1) != (log_n, 1) {
            let reason = format!("its domain for 2^{log_n} has 2^{domain} elements");
            return Err(failed("bb prove", reason));
        }
        let (mut seconds, mut proofs, mut memory) = (Vec::new(), Vec::new(), None);
        for _ in 0..bench.plan.proof_runs.max(1) {
            let proof = bb.prove(true)?;
            memory = memory.max(proof.memory);
            seconds.push(proof.msm_scope()?.0);
            proofs.push(proof.whole()?);
        }
        let note = format!(
            "bb {}, {} threads: the commitment in KZG's opening of a proof, points and scalars of its own; that proof, of {gates} gates, takes {:.3} s",
            bb.version,
            bb.threads,
            median(proofs)
        );
        bench.record(&case, NAME, Taken { seconds, memory, ..Taken::default() }, Some(note));
    }
    Ok(())
}

/// The circuit of the bench's own proof of `2^log_n` rows: the same hashes, range checks and products.
/// `rows` is what ours takes without padding.
pub(crate) fn proof(
    bench: &mut Bench<'_>,
    bb: &Barretenberg,
    log_n: u32,
    rows: usize,
    public: [Fr; 2],
) -> Result<(), BenchError> {
    let name = format!("proof 2^{log_n}");
    let mut circuit = Acir::new();
    let output = lay(&mut circuit, INPUT, log_n);
    let gates = bb.prepare(&circuit, output)?;
    let log_domain = (gates + SLACK / 2).next_power_of_two().ilog2();
    if log_domain > LOG_DOMAIN_MAX {
        eprintln!(
            "bench: {name:<28} {NAME}: left out, {gates} gates need a domain above 2^{LOG_DOMAIN_MAX}"
        );
        return Ok(());
    }
    bench.require_memory(NAME, BYTES_PER_GATE << log_domain)?;
    bb.provide(log_domain)?;
    let first = bb.checked(&name, public)?;
    let domain = first.log_domain()?;
    let (mut seconds, mut whole, mut memory) = (Vec::new(), Vec::new(), None);
    for _ in 0..bench.plan.proof_runs.max(1) {
        let proof = bb.prove(true)?;
        memory = memory.max(proof.memory);
        seconds.push(proof.whole()?);
        whole.push(proof.scope("UltraHonkAPI::prove", "_root")?.0);
    }
    let note = format!(
        "bb {}, {} threads, {TARGET}: the same work takes {gates} gates there, in a domain of 2^{domain}, and {rows} rows here; \
         its proof alone, {:.3} s with the circuit laid out from its file",
        bb.version,
        bb.threads,
        median(whole)
    );
    let case = Case { group: "proof", name, n: 1 << log_n, work: Default::default() };
    bench.record(&case, NAME, Taken { seconds, memory, ..Taken::default() }, Some(note));
    Ok(())
}

/// A circuit that fills a domain but for a few rows. Permutations, since they take the fewest bytes a
/// gate, and squares for the rest.
fn full(log_n: u32) -> (Acir, u32) {
    let expected = (1u64 << log_n) - SLACK - GATES_FIXED;
    let mut circuit = Acir::new();
    let mut x = INPUT;
    for _ in 0..expected / GATES_PER_HASH {
        x = circuit.hash(x);
    }
    for _ in 0..expected % GATES_PER_HASH {
        x = circuit.square(x);
    }
    (circuit, x)
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}

fn failed(what: &str, reason: String) -> BenchError {
    BenchError::Failed { what: what.to_owned(), reason }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Output of a command that must succeed.
fn done(name: &str, output: std::io::Result<Output>) -> Result<Output, BenchError> {
    let what = format!("bb {name}");
    let output = output.map_err(|error| failed(&what, error.to_string()))?;
    if !output.status.success() {
        let printed = printed(&output);
        let last = printed.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output");
        return Err(failed(&what, format!("{}: {last}", output.status)));
    }
    Ok(output)
}

fn printed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether the proof was rejected by the pairing, which comes last.
fn only_the_pairing(printed: &str) -> bool {
    printed.contains("verification failed at pairing check")
}

fn on_path() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("bb")).find(|path| path.is_file())
}

fn in_npm() -> Option<PathBuf> {
    let system = if cfg!(target_os = "macos") { "macos" } else { "linux" };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let here = std::env::current_dir().ok()?;
    let program = format!("{IN_NPM}/{processor}-{system}/bb");
    here.ancestors().map(|folder| folder.join(&program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a program into a folder. A child writes it: a process that forks while a file is open for writing
    /// keeps it from being run.
    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("bb");
        let write = Command::new("sh")
            .args([
                "-c",
                r#"rm -f "$2"; printf '#!/bin/sh\n%s\n' "$1" > "$2"; chmod +x "$2""#,
                "sh",
            ])
            .arg(script)
            .arg(&path)
            .status();
        assert!(write.unwrap().success());
        path
    }

    #[test]
    fn what_is_not_the_program_is_rejected_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        let reason = Barretenberg::find(Some(&missing), 1).unwrap_err();
        assert!(reason.contains("cannot be run") && !reason.contains('\n'), "{reason}");
        for script in ["echo babashka v1.12.0", "exit 1", "true", "echo 5.0.0; exit 1"] {
            let reason = Barretenberg::find(Some(&program(folder.path(), script)), 1).unwrap_err();
            assert!(reason.contains("is not Barretenberg's"), "{script}: {reason}");
        }
        let found = Barretenberg::find(Some(&program(folder.path(), "echo 5.0.0")), 3).unwrap();
        assert_eq!((found.version.as_str(), found.threads), ("5.0.0", 3));
    }

    fn times(text: &str) -> Proof {
        let times = serde_json::from_str(text).unwrap();
        Proof { proof: vec![], public: vec![], times, memory: None }
    }

    #[test]
    fn times_are_read_by_scope_and_parent_and_their_absence_is_said() {
        let proof = times(
            r#"{"CommitmentKey::commit": [
                {"parent": "GeminiProver::prove", "time": 5000000, "count": 15},
                {"parent": "KZG::compute_opening_proof", "time": 191365624, "count": 1}]}"#,
        );
        assert_eq!(proof.msm_scope().unwrap(), (0.191365624, 1));
        assert_eq!(proof.log_domain().unwrap(), 16);
        for text in [
            "{}",
            "[]",
            r#"{"CommitmentKey::commit": []}"#,
            r#"{"CommitmentKey::commit": [{"parent": "KZG::compute_opening_proof"}]}"#,
            r#"{"CommitmentKey::commit": [{"parent": "KZG::compute_opening_proof", "time": 0, "count": 1}]}"#,
        ] {
            let error = times(text).msm_scope().unwrap_err();
            assert!(error.to_string().contains("KZG::compute_opening_proof"), "{error}");
        }
    }

    #[test]
    fn a_proof_rejected_before_the_pairing_is_wrong() {
        assert!(only_the_pairing(
            "UltraVerifier: verification failed at pairing check (mem: 7 MiB)"
        ));
        assert!(!only_the_pairing(
            "UltraVerifier: verification failed at reduction step (mem: 7 MiB)"
        ));
        assert!(!only_the_pairing(""));
    }

    /// Goal: no figure is taken from a program whose output is inconsistent.
    #[test]
    fn a_program_is_believed_only_if_its_proofs_agree_with_ours_and_with_each_other() {
        const PAIRING: &str = "verification failed at pairing check";
        let folder = tempfile::tempdir().unwrap();
        let at =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let script = format!(
            r#"kept={}
            case $1 in
            --version) echo 5.0.0;;
            gates) cat $kept/gates;;
            write_vk) mkdir -p out && echo key > out/vk;;
            prove) cp $kept/proof$BB_MSM_NEW out/proof && cp $kept/public out/public_inputs &&
                cp $kept/times times.json;;
            verify) cat $kept/said; exit $(cat $kept/status);;
            *) echo unknown; exit 2;;
            esac"#,
            folder.path().display()
        );
        let path = program(folder.path(), &script);
        let bb = Barretenberg::find(Some(&path), 1).unwrap();
        let (circuit, output) = full(LOG_DOMAIN_MIN);
        let public = [Fr::from(START), circuit.value(output)];
        let right: Vec<u8> = public.iter().flat_map(fr_to_bytes).collect();
        let reset = || {
            at("gates", br#"{"functions": [{"acir_opcodes": 1, "circuit_size": 4032}]}"#);
            at("proof", b"proof");
            at("proof1", b"proof");
            at("public", &right);
            at("times", b"{}");
            at("said", PAIRING.as_bytes());
            at("status", b"1");
        };
        let checked = || {
            let gates = bb.prepare(&circuit, output)?;
            bb.checked("a proof", public).map(|_| gates)
        };
        reset();
        assert_eq!(checked().unwrap(), 4032);
        at("said", b"verified");
        at("status", b"0");
        checked().unwrap();
        for (name, bytes, code) in [
            ("proof1", &b"proog"[..], "BEN-003"),
            ("public", &right[1..], "BEN-003"),
            ("said", b"verification failed at reduction step", "BEN-003"),
            ("times", b"{", "BEN-002"),
            ("gates", b"{}", "BEN-002"),
        ] {
            reset();
            at(name, bytes);
            let error = checked().unwrap_err();
            assert_eq!(error.code(), code, "{name}: {error}");
        }
        reset();
        std::fs::remove_file(folder.path().join("proof1")).unwrap();
        let error = checked().unwrap_err();
        assert!(error.to_string().starts_with("BEN-002: bb prove failed: exit status"), "{error}");
    }
}
