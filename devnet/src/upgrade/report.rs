//! What the run prints: what happened and when, what was rejected, and where every token is.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, JobReport};

/// The result of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpgradeReport {
    /// What happened, in order.
    pub steps: Vec<UpgradeStep>,
    /// Each proof that L1 accepted.
    pub epochs: Vec<UpgradeEpoch>,
    /// What was made for one deployment and rejected by the other.
    pub rejections: Vec<Crossed>,
    /// Numbers of epochs of which both deployments had jobs in the one queue.
    pub shared_epochs: Vec<u64>,
    /// Jobs that agents finished, by deployment.
    pub jobs: Vec<(String, u64)>,
    /// Each proof of these jobs.
    pub proofs: Vec<JobReport>,
    /// Where every token is at the end.
    pub holdings: Vec<Held>,
    /// Supply of the token, in AZT, and sum of the holdings.
    pub minted: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradeStep {
    /// Since the start of the run.
    pub seconds: f64,
    /// Name of the deployment, or `both`.
    pub of: String,
    pub what: String,
}

/// A proof that L1 accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeEpoch {
    pub of: String,
    pub epoch: u64,
    pub first_block: u64,
    pub last_block: u64,
    pub gas: u64,
    pub l1_tx: String,
}

/// Something that was made for one deployment and sent to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    pub what: String,
    /// Who rejected it.
    pub by: String,
    /// With which words.
    pub answer: String,
}

/// What an account or contract holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub holder: String,
    pub azt: String,
    /// What it is for; empty for an account.
    pub of_that: String,
}

impl UpgradeReport {
    /// The output for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n{:>8}  {:<6} what", "seconds", "of")?;
        for UpgradeStep { seconds, of, what } in &self.steps {
            writeln!(text, "{seconds:>8.1}  {of:<6} {what}")?;
        }
        writeln!(
            text,
            "\n{:<6} {:>6}  {:<9} {:>9}  L1 transaction",
            "of", "epoch", "blocks", "gas"
        )?;
        for epoch in &self.epochs {
            let blocks = format!("{}..{}", epoch.first_block, epoch.last_block);
            let UpgradeEpoch { of, epoch, gas, l1_tx, .. } = epoch;
            writeln!(text, "{of:<6} {epoch:>6}  {blocks:<9} {gas:>9}  {l1_tx}")?;
        }
        let jobs: Vec<String> = self.jobs.iter().map(|(of, n)| format!("{of} {n}")).collect();
        writeln!(
            text,
            "jobs on one broker: {}; epochs with jobs of both: {:?}",
            jobs.join(", "),
            self.shared_epochs
        )?;
        writeln!(text, "\n{:<44} {:<16} answer", "sent to the other deployment", "rejected by")?;
        for Crossed { what, by, answer } in &self.rejections {
            writeln!(text, "{what:<44} {by:<16} {answer}")?;
        }
        writeln!(text, "\n{:<18} {:>27}  of that", "held by", "AZT")?;
        for Held { holder, azt, of_that } in &self.holdings {
            let line = format!("{holder:<18} {azt:>27}  {of_that}");
            writeln!(text, "{}", line.trim_end())?;
        }
        writeln!(text, "{:<18} {:>27}  = minted", "sum", self.minted)
    }

    /// Writes the report as JSON. The file is complete or absent.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_json(&self, path: &Path) -> Result<(), Error> {
        crate::report::write_json(self, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_has_steps_epochs_rejections_and_the_sum() {
        let report = UpgradeReport {
            steps: vec![UpgradeStep { seconds: 1.25, of: "alpha".into(), what: "listed".into() }],
            epochs: vec![UpgradeEpoch {
                of: "beta".into(),
                epoch: 7,
                first_block: 1,
                last_block: 2,
                gas: 600_000,
                l1_tx: "0xab".into(),
            }],
            rejections: vec![Crossed {
                what: "withdrawal from alpha".into(),
                by: "node of beta".into(),
                answer: "NODE-001".into(),
            }],
            shared_epochs: vec![7],
            jobs: vec![("alpha".into(), 3), ("beta".into(), 4)],
            holdings: vec![Held { holder: "user".into(), azt: "5".into(), of_that: String::new() }],
            minted: "5".into(),
            ..UpgradeReport::default()
        };
        let text = report.text();
        for line in [
            "     1.2  alpha  listed",
            "beta        7  1..2         600000  0xab",
            "jobs on one broker: alpha 3, beta 4; epochs with jobs of both: [7]",
        ] {
            assert!(text.lines().any(|of| of == line), "{line}\n{text}");
        }
        assert!(text.contains("node of beta     NODE-001"), "{text}");
        assert!(text.trim_end().ends_with("5  = minted"), "{text}");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<UpgradeReport>(&json).unwrap(), report);
    }
}
