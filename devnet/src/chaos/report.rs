//! What a run under faults found.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The result of a run under faults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChaosReport {
    pub seed: u64,
    pub seconds: f64,
    pub reorgs: u32,
    pub kills: u32,
    pub freezes: u32,
    /// Times that a process was asked to exit.
    #[serde(default)]
    pub terminations: u32,
    /// Times that an endpoint before L1 failed as a whole.
    #[serde(default, rename = "spells")]
    pub endpoint_faults: u32,
    /// Requests to the endpoints, and those that failed or got a false response on purpose.
    #[serde(default)]
    pub l1_requests: u64,
    #[serde(default)]
    pub l1_requests_failed: u64,
    /// Transfers that are in a block of the chain at the end.
    pub transfers: u64,
    pub blocks: u64,
    pub proofs_on_l1: u64,
    /// L1 transactions of proposer and prover that reverted, and their gas.
    pub reverted: u64,
    pub reverted_gas: u64,
    /// Gas of those that succeeded.
    pub gas: u64,
    /// Seconds from the last fault until the chain had settled.
    pub calm_seconds: f64,
    /// Jobs that the broker accepted a result of, none of them twice.
    #[serde(default)]
    pub jobs_done: u64,
    /// How soon the network recovered, by kind of fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<FaultRow>,
}

/// The faults of one kind. Others may have come before the network had recovered from one of them, so the times are
/// those of all of them together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultRow {
    pub fault: String,
    /// How often the network recovered from it.
    pub recovered: u32,
    /// How often no recovery was seen by the end of the run.
    pub unseen: u32,
    /// From the end of the fault until what it hit worked again: half of the times at most this. Absent without any.
    pub median_seconds: Option<f64>,
    pub longest_seconds: Option<f64>,
}

impl ChaosReport {
    pub(super) fn summary(&self) -> String {
        format!(
            "{} reorganisations, {} kills, {} freezes, {} terminations, {} endpoint faults, {} of {} L1 requests \
             failed; {} blocks with {} transfers, {} proofs; {} L1 transactions reverted for {} gas beside {} gas of the \
             others; settled {:.0} s after the last fault",
            self.reorgs,
            self.kills,
            self.freezes,
            self.terminations,
            self.endpoint_faults,
            self.l1_requests_failed,
            self.l1_requests,
            self.blocks,
            self.transfers,
            self.proofs_on_l1,
            self.reverted,
            self.reverted_gas,
            self.gas,
            self.calm_seconds
        )
    }

    /// The table of faults. There is a report only of a run that lost nothing and did nothing twice.
    pub(crate) fn write_recoveries(&self, text: &mut String) -> std::fmt::Result {
        if self.recoveries.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n{:<34} {:>5} {:>4} {:>5} {:>9} {:>9}",
            "fault", "times", "lost", "twice", "median s", "longest s"
        )?;
        let (lost, twice) = (0, 0);
        for row in &self.recoveries {
            let seconds =
                |of: Option<f64>| of.map_or_else(|| "-".to_owned(), |of| format!("{of:.1}"));
            write!(
                text,
                "{:<34} {:>5} {:>4} {:>5} {:>9} {:>9}",
                row.fault,
                row.recovered + row.unseen,
                lost,
                twice,
                seconds(row.median_seconds),
                seconds(row.longest_seconds),
            )?;
            match row.unseen {
                0 => writeln!(text)?,
                unseen => writeln!(text, "  no recovery seen: {unseen}")?,
            }
        }
        writeln!(
            text,
            "(seconds: from the end of the fault until the process said that it can work, the nodes followed L1 to its \
             last block, or the job was granted again; {} jobs done, none twice)",
            self.jobs_done
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fault_is_a_row_with_its_seconds() {
        let row = |fault: &str, unseen, median_seconds, longest_seconds| {
            let fault = fault.to_owned();
            FaultRow { fault, recovered: 3, unseen, median_seconds, longest_seconds }
        };
        let mut report = ChaosReport { jobs_done: 80, ..ChaosReport::default() };
        let mut text = String::new();
        report.write_recoveries(&mut text).unwrap();
        assert_eq!(text, "");
        report.recoveries = vec![
            row("broker killed", 0, Some(1.5), Some(4.0)),
            row("L1 reorganised", 1, None, None),
        ];
        report.write_recoveries(&mut text).unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        assert!(lines.contains(&"broker killed 3 0 0 1.5 4.0".to_owned()), "{text}");
        assert!(
            lines.contains(&"L1 reorganised 4 0 0 - - no recovery seen: 1".to_owned()),
            "{text}"
        );
        assert!(text.contains("80 jobs done, none twice"), "{text}");
    }
}
