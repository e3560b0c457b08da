//! What a whole epoch takes and costs on devices like the measured one.
//!
//! Every proof of the rollup has 2^17 rows, and the bench measured such proofs alone and several at a time. The graph
//! of an epoch's proofs follows from its blocks and transactions: neighbours are merged pairwise until at most two
//! ranges remain, first in each block and then over all blocks.

use std::fmt;
use std::str::FromStr;

use clap::{Arg, ArgMatches, value_parser};
use rollmill_service::values;

use crate::BenchError;
use crate::result::Results;

/// Rows of a proof of the rollup, as a power of two.
pub(crate) const LOG_ROWS: u32 = 17;
const ROWS: u64 = 1 << LOG_ROWS;
/// The most blocks, and the most transactions in a block.
const MOST: u64 = 4096;

/// An epoch: so many blocks with so many transactions each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    blocks: u64,
    txs: u64,
}

impl FromStr for Epoch {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let rejected = || BenchError::Argument {
            what: "epoch",
            expected: format!(
                "BLOCKSxTXS, such as 32x16: blocks and the transactions of each, 1 to {MOST}"
            ),
            got: text.to_owned(),
        };
        let (blocks, txs) = text.split_once('x').ok_or_else(rejected)?;
        let number = |text: &str| text.parse().ok().filter(|n| (1..=MOST).contains(n));
        match (number(blocks), number(txs)) {
            (Some(blocks), Some(txs)) => Ok(Self { blocks, txs }),
            _ => Err(rejected()),
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.blocks, self.txs)
    }
}

/// Merges of each level over so many neighbours, until at most two ranges remain.
fn merges(mut ranges: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    while ranges > 2 {
        levels.push(ranges / 2);
        ranges -= ranges / 2;
    }
    levels
}

impl Epoch {
    fn all_txs(&self) -> u64 {
        self.blocks * self.txs
    }

    /// Proofs of each level, those first that need no other: transactions, their merges, blocks, their merges, the
    /// root. Those of a level can be made at a time.
    fn levels(&self) -> Vec<u64> {
        let mut levels = vec![self.all_txs()];
        levels.extend(merges(self.txs).into_iter().map(|merges| merges * self.blocks));
        levels.push(self.blocks);
        levels.extend(merges(self.blocks));
        levels.push(1);
        levels
    }

    fn proofs(&self) -> u64 {
        self.levels().into_iter().sum()
    }
}

/// Measured seconds per proof for numbers of proofs at a time, in order, beginning with one alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Speeds(Vec<Speed>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Speed {
    in_flight: u64,
    seconds: f64,
    watts: Option<f64>,
}

impl Speeds {
    /// Those of a run; `None` if it measured no proof of the rollup's size.
    pub(crate) fn of(results: &Results) -> Option<Self> {
        let proofs = results.own().filter(|entry| entry.group == "proof" && entry.n == ROWS);
        let mut speeds: Vec<Speed> = proofs
            .map(|entry| Speed {
                in_flight: u64::from(entry.in_flight.unwrap_or(1)),
                seconds: entry.median_seconds,
                watts: entry.watts,
            })
            .collect();
        speeds.sort_by(|a, b| a.in_flight.cmp(&b.in_flight).then(a.seconds.total_cmp(&b.seconds)));
        // Of a number that was measured twice the better counts: alone and with one place in flight.
        speeds.dedup_by_key(|speed| speed.in_flight);
        let is_whole = speeds.first().is_some_and(|speed| speed.in_flight == 1);
        is_whole.then_some(Self(speeds))
    }

    fn best(&self) -> Speed {
        let best = self.0.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
        best.copied().unwrap_or(self.0[0])
    }

    /// Seconds for `proofs` proofs of one level on one device: rounds of the best number at a time, and the rest as the
    /// next number that was measured.
    fn seconds(&self, proofs: u64) -> f64 {
        let best = self.best();
        let (rounds, rest) = (proofs / best.in_flight, proofs % best.in_flight);
        let last = self.0.iter().find(|speed| speed.in_flight >= rest).unwrap_or(&best);
        let last = if rest == 0 { 0.0 } else { last.in_flight as f64 * last.seconds };
        (rounds * best.in_flight) as f64 * best.seconds + last
    }
}

/// The arguments of [`asked`], besides the price.
pub(crate) fn arguments() -> [Arg; 3] {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        arg(
            "epoch",
            "BLOCKSxTXS",
            "State what an epoch of so many blocks with so many transactions each takes, from the proofs of 2^17 rows \
             [default: none]",
        ),
        arg("devices", "N", "Devices that prove the epoch [1 to 10000]")
            .default_value("1")
            .value_parser(values::whole(1..=10_000_u16)),
        arg("utilization", "PART", "Part of the time in which a device proves [above 0, to 1]")
            .default_value("1")
            .value_parser(value_parser!(f64)),
    ]
}

/// The epoch that the arguments ask for, and the devices without their price.
pub(crate) fn asked(matches: &ArgMatches) -> Result<Option<(Epoch, Fleet)>, BenchError> {
    let utilization = matches.get_one::<f64>("utilization").copied().unwrap_or(1.0);
    if !(utilization > 0.0 && utilization <= 1.0) {
        let expected = "a part above 0, up to 1".to_owned();
        let got = utilization.to_string();
        return Err(BenchError::Argument { what: "utilization", expected, got });
    }
    let devices = u64::from(matches.get_one::<u16>("devices").copied().unwrap_or(1));
    let fleet = Fleet { devices, price: None, utilization };
    let Some(text) = matches.get_one::<String>("epoch") else { return Ok(None) };
    Ok(Some((text.parse()?, fleet)))
}

/// What an epoch takes by the figures of a run; `None` if they lack a proof of the rollup's size alone.
pub fn estimate(results: &Results, (epoch, fleet): (Epoch, Fleet)) -> Option<String> {
    Some(Estimate::of(epoch, fleet, &Speeds::of(results)?).to_string())
}

/// Devices that prove together, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    pub devices: u64,
    /// Dollars per hour of one device.
    pub price: Option<f64>,
    /// Part of the time in which a device proves.
    pub utilization: f64,
}

/// What an epoch takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    epoch: Epoch,
    fleet: Fleet,
    best: Speed,
    /// From the first proof to the root, with nothing else to prove.
    seconds: f64,
    /// Of all proofs, where the devices are busy with others as well.
    dollars: Option<f64>,
    joules: Option<f64>,
}

impl Estimate {
    pub(crate) fn of(epoch: Epoch, fleet: Fleet, speeds: &Speeds) -> Self {
        let best = speeds.best();
        let on_one = |proofs: u64| speeds.seconds(proofs.div_ceil(fleet.devices));
        let seconds = epoch.levels().into_iter().map(on_one).sum();
        let busy = epoch.proofs() as f64 * best.seconds;
        let dollars = fleet.price.map(|price| price / 3600.0 * busy / fleet.utilization);
        let joules = best.watts.map(|watts| watts * busy);
        Self { epoch, fleet, best, seconds, dollars, joules }
    }

    fn dollars_per_million(&self) -> Option<f64> {
        self.dollars.map(|dollars| dollars / self.epoch.all_txs() as f64 * 1e6)
    }

    /// The cell of a table.
    pub(crate) fn cell(&self) -> String {
        let mut text = format!("{:.3} s", self.seconds);
        if let (Some(epoch), Some(million)) = (self.dollars, self.dollars_per_million()) {
            text += &format!(", {epoch:.6} USD, {million:.2} USD a million transactions");
        }
        if let Some(joules) = self.joules {
            text += &format!(", {joules:.0} J");
        }
        text
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, fleet, best, .. } = self;
        let Epoch { blocks, txs } = epoch;
        writeln!(
            f,
            "epoch of {blocks} blocks with {txs} transactions each: {} proofs, {} levels",
            epoch.proofs(),
            epoch.levels().len()
        )?;
        writeln!(
            f,
            "- {:.3} s on {} of this device, {} in flight: {:.2} proofs a second each",
            self.seconds,
            fleet.devices,
            best.in_flight,
            1.0 / best.seconds
        )?;
        if let (Some(price), Some(dollars), Some(million)) =
            (fleet.price, self.dollars, self.dollars_per_million())
        {
            writeln!(
                f,
                "- {dollars:.6} USD, {million:.2} USD a million transactions, at {price} USD an hour and {:.0} % used",
                fleet.utilization * 100.0
            )?;
        }
        if let (Some(watts), Some(joules)) = (best.watts, self.joules) {
            let each = joules / epoch.all_txs() as f64;
            writeln!(f, "- {joules:.0} J at {watts:.0} W, {each:.2} J a transaction")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Entry, sample};

    fn epoch(text: &str) -> Epoch {
        text.parse().unwrap()
    }

    fn speeds(measured: &[(u64, f64)], watts: Option<f64>) -> Speeds {
        let speed = |(in_flight, seconds)| Speed { in_flight, seconds, watts };
        Speeds(measured.iter().copied().map(speed).collect())
    }

    #[test]
    fn proofs_of_an_epoch_are_those_of_its_graph() {
        // Two blocks of two transfers: four transactions, two blocks, the root.
        assert_eq!(epoch("2x2").levels(), [4, 2, 1]);
        // One of a single transaction needs no merge either.
        assert_eq!(epoch("1x1").levels(), [1, 1, 1]);
        // 5 ranges become 3, then 2.
        assert_eq!(epoch("1x5").levels(), [5, 2, 1, 1, 1]);
        // In each of 32 blocks 16 ranges become 8, 4, 2; 32 blocks become 16, 8, 4, 2.
        let levels = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1];
        assert_eq!(epoch("32x16").levels(), levels);
        // n ranges take n − 2 merges.
        assert_eq!(epoch("32x16").proofs(), 512 + 32 * 14 + 32 + 30 + 1);
        for text in ["", "4", "0x4", "4x0", "x", "4x4x4", "5000x1", "-1x2"] {
            let error = text.parse::<Epoch>().unwrap_err();
            assert_eq!(error.code(), "BEN-001", "{text}");
        }
    }

    /// By hand: one device that makes a proof in 50 ms alone, two in 60, four in 80.
    #[test]
    fn seconds_dollars_and_joules_of_an_epoch_are_those_of_its_levels() {
        let measured = speeds(&[(1, 0.05), (2, 0.03), (4, 0.02)], Some(500.0));
        assert_eq!(measured.seconds(4), 0.08);
        assert_eq!(measured.seconds(3), 0.08, "as four, the next that was measured");
        assert_eq!(measured.seconds(2), 0.06);
        assert_eq!(measured.seconds(9), 0.16 + 0.05);
        let fleet = Fleet { devices: 1, price: Some(3.6), utilization: 0.5 };
        // Levels of 4, 2 and 1: 80, 60 and 50 ms.
        let one = Estimate::of(epoch("2x2"), fleet, &measured);
        assert!((one.seconds - 0.19).abs() < 1e-12);
        // 7 proofs of 20 ms are 140 ms of a device that costs 0.001 dollars a second and is used by half.
        assert!((one.dollars.unwrap() - 0.00028).abs() < 1e-12);
        assert!((one.dollars_per_million().unwrap() - 70.0).abs() < 1e-9);
        assert!((one.joules.unwrap() - 70.0).abs() < 1e-9);
        assert_eq!(one.cell(), "0.190 s, 0.000280 USD, 70.00 USD a million transactions, 70 J");
        let text = one.to_string();
        for part in [
            "epoch of 2 blocks with 2 transactions each: 7 proofs, 3 levels\n",
            "- 0.190 s on 1 of this device, 4 in flight: 50.00 proofs a second each\n",
            "70.00 USD a million transactions, at 3.6 USD an hour and 50 % used\n",
            "- 70 J at 500 W, 17.50 J a transaction\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        // On two devices the levels take 2, 1 and 1 proofs on each; the dollars stay.
        let two = Estimate::of(epoch("2x2"), Fleet { devices: 2, ..fleet }, &measured);
        assert!((two.seconds - 0.16).abs() < 1e-12 && two.dollars == one.dollars);
    }

    #[test]
    fn speeds_are_those_of_the_rollups_proofs() {
        let mut results = sample("card", 1.0);
        assert_eq!(Speeds::of(&results), Some(speeds(&[(1, 2.4)], None)));
        let alone = results.entries.iter().find(|entry| entry.group == "proof").unwrap().clone();
        let of = |in_flight, seconds| Entry {
            name: format!("proof 2^17, {in_flight} in flight"),
            in_flight: Some(in_flight),
            median_seconds: seconds,
            ..alone.clone()
        };
        results.entries.extend([of(4, 1.0), of(1, 2.0), of(2, 1.5)]);
        let other = Entry { name: "proof 2^18".into(), n: 1 << 18, ..alone.clone() };
        results.entries.push(other);
        assert_eq!(Speeds::of(&results), Some(speeds(&[(1, 2.0), (2, 1.5), (4, 1.0)], None)));
        results.entries.retain(|entry| entry.in_flight.is_some_and(|count| count > 1));
        assert_eq!(Speeds::of(&results), None, "the last levels have single proofs");
    }
}
