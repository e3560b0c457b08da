//! The report of a run: a table for people and JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::chaos::ChaosReport;
use crate::failover::Takeover;
use crate::terminate::Termination;

/// The result of a run. Figures that were not obtained are absent, never guessed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub epochs: Vec<EpochReport>,
    pub jobs: Vec<JobReport>,
    /// Longest time from a kill until the work continued; absent when nothing was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
    /// Each kill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<Recovery>,
    /// Each tampered value and who rejected it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tampers: Vec<TamperReport>,
    /// Each kill of a submitting prover node, and how long another took to submit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takeovers: Vec<Takeover>,
    /// Each process that got SIGTERM in the middle of its work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminations: Vec<Termination>,
    /// Who signed each block, with a committee of several members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<BlockSignatures>,
    /// Each payment on L1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payments: Vec<PaymentReport>,
    /// Each private transaction of contracts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private_calls: Vec<PrivateCallReport>,
    /// The result of a run under faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<ChaosReport>,
}

/// An epoch that L1 accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    pub epoch: u64,
    pub blocks: u64,
    pub txs: u64,
    /// Hash of the L1 transaction that carried the root proof.
    pub l1_tx: String,
    /// `success` or `reverted`.
    pub l1_status: String,
    /// Gas that the L1 transaction used.
    pub gas: u64,
    /// Address of the verifier contract that accepted the proof.
    pub verifier: String,
    /// From the epoch's last block on L1 to its proof on L1.
    pub seconds: f64,
}

/// Who signed a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSignatures {
    pub block: u64,
    /// Name of the member that proposed it.
    pub proposer: String,
    /// Names of the members that signed, the proposer among them.
    pub signed: Vec<String>,
}

/// A private transaction of contracts, as the account proved it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivateCallReport {
    /// What it does.
    pub what: String,
    /// From the execution of its functions to its last proof.
    pub seconds: f64,
    /// Its proofs, in their order.
    pub steps: Vec<StepReport>,
}

/// One proof of a private transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// A function by contract and name, or a circuit of the private kernel.
    pub step: String,
    /// Rows that its circuit uses. The proof has the next power of two.
    pub rows: u64,
    pub seconds: f64,
}

/// What L1 paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReport {
    /// What for.
    pub what: String,
    pub to: String,
    /// The amount as a decimal number.
    pub azt: String,
}

/// One proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobReport {
    pub circuit: String,
    pub rows: u64,
    pub witness_seconds: f64,
    pub proving_seconds: f64,
    pub proof_bytes: u64,
    /// Who proved it: an agent's id, or the account for a client proof.
    pub agent: String,
}

/// A process that was killed on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Name of the process.
    pub killed: String,
    /// From the kill until the work continued.
    pub seconds: f64,
}

/// A tampered value that was sent to the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TamperReport {
    /// What was changed.
    pub kind: String,
    /// Where it should be rejected: the earliest place that can detect it.
    pub place: String,
    /// Whether it was rejected there.
    #[serde(rename = "refused")]
    pub rejected: bool,
    /// The text of the rejection, or what was wrong with it.
    pub answer: String,
}

impl Report {
    /// Records a kill and how long the work was interrupted.
    pub fn add_recovery(&mut self, recovery: Recovery) {
        self.recoveries.push(recovery);
        let longest = self.recoveries.iter().map(|recovery| recovery.seconds);
        self.recovery_seconds = longest.reduce(f64::max);
    }

    /// Tampered values that were not rejected where they should be.
    pub fn tampers_accepted(&self) -> usize {
        self.tampers.iter().filter(|tamper| !tamper.rejected).count()
    }

    /// The table: circuits, then epochs, then kills and tampered values if there were any.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_jobs(&mut text);
        let _ = self.write_private_calls(&mut text);
        let _ = self.write_epochs(&mut text);
        let _ = self.write_signatures(&mut text);
        let _ = self.write_payments(&mut text);
        let _ = self.write_terminations(&mut text);
        let _ = self.write_faults(&mut text);
        text
    }

    fn write_jobs(&self, text: &mut String) -> std::fmt::Result {
        if self.jobs.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "{:<14} {:>6} {:>9} {:>11} {:>11} {:>8}",
            "circuit", "proofs", "rows", "witness s", "proving s", "proof B"
        )?;
        let mut names: Vec<&str> = Vec::new();
        for job in &self.jobs {
            if !names.contains(&job.circuit.as_str()) {
                names.push(&job.circuit);
            }
        }
        for name in names {
            let jobs: Vec<&JobReport> = self.jobs.iter().filter(|j| j.circuit == name).collect();
            // The number of jobs is small enough to be exact in a double.
            let n = jobs.len() as f64;
            let mean =
                |value: fn(&JobReport) -> f64| jobs.iter().map(|j| value(j)).sum::<f64>() / n;
            writeln!(
                text,
                "{:<14} {:>6} {:>9} {:>11.2} {:>11.2} {:>8}",
                name,
                jobs.len(),
                jobs.iter().map(|j| j.rows).max().unwrap_or(0),
                mean(|j| j.witness_seconds),
                mean(|j| j.proving_seconds),
                jobs.iter().map(|j| j.proof_bytes).max().unwrap_or(0),
            )?;
        }
        writeln!(text, "(rows and bytes: the largest; seconds: the mean of a proof)")
    }

    fn write_private_calls(&self, text: &mut String) -> std::fmt::Result {
        for PrivateCallReport { what, seconds, steps } in &self.private_calls {
            writeln!(text, "\n{what}: {} proofs in {seconds:.1} s", steps.len())?;
            writeln!(text, "{:<32} {:>9} {:>9}", "step", "rows", "seconds")?;
            for StepReport { step, rows, seconds } in steps {
                writeln!(text, "{step:<32} {rows:>9} {seconds:>9.2}")?;
            }
        }
        Ok(())
    }

    fn write_signatures(&self, text: &mut String) -> std::fmt::Result {
        if self.signatures.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n{:<6} {:<14} signed by", "block", "proposed by")?;
        for BlockSignatures { block, proposer, signed } in &self.signatures {
            writeln!(text, "{block:<6} {proposer:<14} {}", signed.join(", "))?;
        }
        Ok(())
    }

    fn write_payments(&self, text: &mut String) -> std::fmt::Result {
        if self.payments.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n{:<24} {:<18} {:>24}", "payment", "to", "AZT")?;
        for PaymentReport { what, to, azt } in &self.payments {
            writeln!(text, "{what:<24} {to:<18} {azt:>24}")?;
        }
        Ok(())
    }

    fn write_epochs(&self, text: &mut String) -> std::fmt::Result {
        if self.epochs.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n{:<6} {:>6} {:>5} {:>9} {:>9}  {:<8} L1 transaction",
            "epoch", "blocks", "txs", "gas", "seconds", "status"
        )?;
        for epoch in &self.epochs {
            writeln!(
                text,
                "{:<6} {:>6} {:>5} {:>9} {:>9.1}  {:<8} {}",
                epoch.epoch,
                epoch.blocks,
                epoch.txs,
                epoch.gas,
                epoch.seconds,
                epoch.l1_status,
                epoch.l1_tx,
            )?;
        }
        let verifiers: std::collections::BTreeSet<&str> =
            self.epochs.iter().map(|epoch| epoch.verifier.as_str()).collect();
        for verifier in verifiers {
            writeln!(text, "verified on L1 by {verifier}")?;
        }
        Ok(())
    }

    fn write_terminations(&self, text: &mut String) -> std::fmt::Result {
        if self.terminations.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n{:<14} {:>9} {:>8} {:>13}  what it held",
            "after SIGTERM", "exit code", "seconds", "epoch final s"
        )?;
        for Termination { process, exit_code, seconds, final_seconds, held } in &self.terminations {
            writeln!(
                text,
                "{process:<14} {exit_code:>9} {seconds:>8.1} {final_seconds:>13.1}  {held}"
            )?;
        }
        Ok(())
    }

    fn write_faults(&self, text: &mut String) -> std::fmt::Result {
        for recovery in &self.recoveries {
            writeln!(
                text,
                "\n{} killed: work continued after {:.1} s",
                recovery.killed, recovery.seconds
            )?;
        }
        if let Some(chaos) = &self.chaos {
            chaos.write_recoveries(text)?;
        }
        if self.tampers.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n{:<34} {:<14} {:<8} answer", "tampered", "place", "rejected")?;
        for tamper in &self.tampers {
            writeln!(
                text,
                "{:<34} {:<14} {:<8} {}",
                tamper.kind,
                tamper.place,
                if tamper.rejected { "yes" } else { "NO" },
                tamper.answer,
            )?;
        }
        Ok(())
    }

    /// Writes the report as JSON. The file is complete or absent.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_json(&self, path: &Path) -> Result<(), Error> {
        write_json(self, path)
    }
}

/// Writes a report as JSON. The file is complete or absent.
pub(crate) fn write_json(report: &impl Serialize, path: &Path) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(std::io::Error::other)
        .map_err(Error::file("encode", path))?;
    text.push('\n');
    rollmill_files::write(path, &[text.as_bytes()]).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let job = |circuit: &str, proving_seconds| JobReport {
            circuit: circuit.into(),
            rows: 60_000,
            witness_seconds: 0.5,
            proving_seconds,
            proof_bytes: 2_900,
            agent: "agent-1".into(),
        };
        Report {
            epochs: vec![EpochReport {
                epoch: 1,
                blocks: 2,
                txs: 4,
                l1_tx: "0xab".into(),
                l1_status: "success".into(),
                gas: 612_345,
                verifier: "0xcd".into(),
                seconds: 201.5,
            }],
            jobs: vec![job("tx_base", 10.0), job("tx_base", 20.0), job("tx_merge", 40.0)],
            ..Report::default()
        }
    }

    /// The names are an interface: other programs read the file.
    #[test]
    fn the_json_has_the_promised_fields_and_no_others() {
        let value = serde_json::to_value(report()).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&value), ["epochs", "jobs"]);
        assert_eq!(
            keys(&value["epochs"][0]),
            ["blocks", "epoch", "gas", "l1_status", "l1_tx", "seconds", "txs", "verifier"]
        );
        assert_eq!(
            keys(&value["jobs"][0]),
            ["agent", "circuit", "proof_bytes", "proving_seconds", "rows", "witness_seconds"]
        );
    }

    #[test]
    fn recovery_seconds_are_those_of_the_slowest_recovery() {
        let mut report = report();
        report.add_recovery(Recovery { killed: "agent-1".into(), seconds: 3.0 });
        report.add_recovery(Recovery { killed: "broker".into(), seconds: 2.0 });
        assert_eq!(serde_json::to_value(&report).unwrap()["recovery_seconds"], 3.0);
        assert!(report.table().contains("broker killed: work continued after 2.0 s"));
    }

    #[test]
    fn the_table_has_one_row_per_circuit_and_one_per_epoch() {
        let table = report().table();
        let row = |head: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.starts_with(head)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(row("tx_base"), ["tx_base", "2", "60000", "0.50", "15.00", "2900"]);
        assert_eq!(row("1 "), ["1", "2", "4", "612345", "201.5", "success", "0xab"]);
        assert!(table.contains("verified on L1 by 0xcd"));
    }

    #[test]
    fn the_signatures_of_a_committee_are_a_table_of_their_own() {
        let mut report = report();
        assert!(!report.table().contains("signed by"));
        report.signatures.push(BlockSignatures {
            block: 3,
            proposer: "sequencer-2".into(),
            signed: vec!["sequencer".into(), "sequencer-2".into()],
        });
        let table = report.table();
        assert!(table.contains("3      sequencer-2    sequencer, sequencer-2\n"), "{table}");
    }

    #[test]
    fn a_private_transaction_is_a_table_of_its_proofs() {
        let mut report = report();
        assert!(!report.table().contains("proofs in"));
        let step = |step: &str| StepReport { step: step.into(), rows: 131_072, seconds: 1.5 };
        report.private_calls.push(PrivateCallReport {
            what: "transfer of 5".into(),
            seconds: 3.25,
            steps: vec![step("Token.transfer"), step("private_init")],
        });
        let table = report.table();
        assert!(table.contains("transfer of 5: 2 proofs in 3.2 s"), "{table}");
        let line = table.lines().find(|line| line.starts_with("private_init")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["private_init", "131072", "1.50"]);
    }

    #[test]
    fn each_process_that_was_terminated_is_a_row_with_what_it_held() {
        let mut report = report();
        assert!(!report.table().contains("SIGTERM"));
        report.terminations.push(Termination {
            process: "agent-2".into(),
            exit_code: 0,
            seconds: 0.3,
            final_seconds: 31.0,
            held: "tx_base, returned".into(),
        });
        let (table, row) = (report.table(), "agent-2 0 0.3 31.0 tx_base, returned");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(table.lines().any(|line| words(line) == row), "{table}");
    }

    #[test]
    fn an_accepted_tampered_value_is_marked() {
        let mut report = report();
        report.tampers.push(TamperReport {
            kind: "spent note".into(),
            place: "sequencer".into(),
            rejected: false,
            answer: "accepted".into(),
        });
        assert_eq!(report.tampers_accepted(), 1);
        assert!(report.table().contains(" NO "), "{}", report.table());
    }

    #[test]
    fn the_file_reads_back_and_a_folder_that_is_not_there_is_an_error_with_a_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        report().write_json(&path).unwrap();
        let read: Report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, report());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let error = report().write_json(&folder.path().join("no/run.json")).unwrap_err();
        assert!(error.to_string().starts_with("NET-007"), "{error}");
    }
}
