//! What a scenario prints: its steps, who was paid what, and where every token is.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Scenario;
use super::book::Purpose;
use super::money::azt;
use crate::Error;

/// The results of a run. Amounts are base units of the token, as text, since they exceed what programs read as
/// a number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EconomicsReport {
    /// What was not real: the verifiers.
    pub note: String,
    pub scenarios: Vec<ScenarioReport>,
}

/// The result of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioReport {
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// What happened, in order.
    pub steps: Vec<String>,
    /// What L1 rejected, and with which error.
    pub rejections: Vec<Rejection>,
    pub payments: Vec<Payment>,
    /// Where every token is at the end.
    pub holdings: Vec<Holding>,
    /// Sum of the holdings, and supply of the token.
    pub minted: String,
}

/// A call that a contract rejected, as it must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub step: String,
    /// Signature of the contract's error.
    pub error: String,
}

/// What somebody was paid for one purpose by one contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub to: String,
    pub purpose: Purpose,
    pub by: String,
    pub amount: String,
}

/// What an account or contract holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub holder: String,
    pub amount: String,
    /// What the contract says it is for; empty for an account.
    pub of_that: String,
}

impl ScenarioReport {
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self {
            scenario: scenario.name().to_owned(),
            about: scenario.about(),
            steps: Vec::new(),
            rejections: Vec::new(),
            payments: Vec::new(),
            holdings: Vec::new(),
            minted: String::new(),
        }
    }

    pub(crate) fn rejected(&mut self, step: &str, signature: &str) {
        let name = signature.split('(').next().unwrap_or(signature);
        self.steps.push(format!("{step}: rejected, {name}"));
        self.rejections.push(Rejection { step: step.to_owned(), error: signature.to_owned() });
    }

    /// The output for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n== {}: {}\n", self.scenario, self.about)?;
        for step in &self.steps {
            writeln!(text, "  {step}")?;
        }
        let shown = |amount: &str| amount.parse().map_or_else(|_| amount.to_owned(), azt);
        writeln!(text, "\n{:<18} {:>27}  {:<28} paid by", "paid to", "AZT", "for")?;
        for payment in &self.payments {
            let (amount, purpose) = (shown(&payment.amount), payment.purpose.text());
            writeln!(text, "{:<18} {amount:>27}  {purpose:<28} {}", payment.to, payment.by)?;
        }
        writeln!(text, "\n{:<18} {:>27}  of that", "held by", "AZT")?;
        for holding in &self.holdings {
            let line = format!(
                "{:<18} {:>27}  {}",
                holding.holder,
                shown(&holding.amount),
                holding.of_that
            );
            writeln!(text, "{}", line.trim_end())?;
        }
        writeln!(text, "{:<18} {:>27}  = minted", "sum", shown(&self.minted))
    }
}

impl EconomicsReport {
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
    fn the_output_has_steps_payments_holdings_and_the_sum() {
        let mut report = ScenarioReport::new(Scenario::Honest);
        report.steps.push("block 1 in slot 1".into());
        report.rejected("the same proof again", "RangeEndWrong(uint64,uint64,uint64)");
        report.payments.push(Payment {
            to: "prover".into(),
            purpose: Purpose::ProofPay,
            by: "Rewards".into(),
            amount: "1500000000000000000".into(),
        });
        report.holdings.push(Holding {
            holder: "Rewards".into(),
            amount: "7".into(),
            of_that: "owed 0".into(),
        });
        report.minted = "7".into();
        let text = report.text();
        assert!(text.contains("  the same proof again: rejected, RangeEndWrong\n"), "{text}");
        let words = |head: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(head)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words("prover")[1], "1.5");
        assert_eq!(words("Rewards"), ["Rewards", "0.000000000000000007", "owed", "0"]);
        assert_eq!(words("sum").last().unwrap(), "minted");
    }
}
