//! The file of results: written by one run, read by any later version that knows its schema.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::BenchError;

/// Version of the file's form. Raised with every change that an older reader would misread.
pub const SCHEMA: u32 = 1;
/// A result file has some kilobytes; a larger file is not one.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// One run on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    pub schema: u32,
    /// The device's own name, with its threads.
    pub device: String,
    pub machine: Machine,
    pub rollmill_version: String,
    /// Commit of the checkout it ran in; `None` outside of one.
    pub commit: Option<String>,
    pub command: Vec<String>,
    /// Start of the run, in seconds since 1970 UTC.
    pub unix_seconds: u64,
    pub ceilings: Ceilings,
    /// The reports of an NVIDIA card; `None` without NVML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// Peers that are missing and were not requested by name.
    #[serde(default)]
    pub absent_peers: Vec<AbsentPeer>,
    /// Why figures are missing: what ended the run before its end. None of a whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    pub entries: Vec<Entry>,
}

/// A peer that was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsentPeer {
    pub name: String,
    /// Why, in one line.
    pub reason: String,
}

/// What the figures depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    /// Vector extensions that matter here.
    pub extensions: Vec<String>,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Load average over one minute before the run: what else the machine was doing.
    pub load_before: f64,
}

/// A card as its sensors saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub uuid: String,
    /// Version of the driver.
    pub driver: Option<String>,
    pub memory_bytes: Option<f64>,
    pub power_limit_watts: Option<f64>,
    pub celsius_before: Option<f64>,
    pub celsius_after: Option<f64>,
    /// Reasons for which its clocks were throttled after any of the operations.
    pub throttled: Vec<String>,
}

/// The device's maximum speeds, from which floors are computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceilings {
    /// Products in Fr per second, independent of each other, over all threads; of a graphics adapter
    /// those where its row kernels run.
    pub products_per_second: f64,
    /// Bytes per second, read and written together, when memory is copied: a card's, else the host's.
    pub bytes_per_second: f64,
    /// The same products on a graphics adapter, where the other operations run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter_products_per_second: Option<f64>,
    /// Multiply-adds of 32 by 32 to 64 bits per second that a card issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wide_multiply_adds_per_second: Option<f64>,
}

/// One operation at one size by one implementation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `field`, `poseidon2`, `msm`, `ntt`, `proof` or `circuit`.
    pub group: String,
    /// The operation, such as `msm 2^18 uniform`. Unique within an implementation.
    pub name: String,
    /// Elements, or rows of a proof.
    pub n: u64,
    /// `rollmill` or a peer's name.
    pub implementation: String,
    pub runs: u32,
    pub median_seconds: f64,
    pub min_seconds: f64,
    pub max_seconds: f64,
    /// Proofs at a time; the times are then seconds per proof. None of a proof alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Least time that the operations and bytes allow at the ceilings; none for a peer.
    pub floor_seconds: Option<f64>,
    /// Peak memory of the process during the runs, if the kernel reports it.
    pub memory_bytes_peak: Option<u64>,
    /// Mean power of the card over the runs, if they took long enough to measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<f64>,
    /// Clock of the card's multiprocessors right after the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_hertz: Option<f64>,
    /// What the figure measures, if it differs from Rollmill's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Ceilings {
    /// Text for a line of a table.
    pub fn words(&self) -> String {
        let mut text = format!(
            "{:.0} M products a second, {:.1} GB a second",
            self.products_per_second / 1e6,
            self.bytes_per_second / 1e9
        );
        if let Some(products) = self.adapter_products_per_second {
            text += &format!(", {:.0} M products a second on the adapter", products / 1e6);
        }
        if let Some(wide) = self.wide_multiply_adds_per_second {
            text += &format!(
                ", {:.0} G wide multiply-adds a second, {:.0} a product",
                wide / 1e9,
                wide / self.products_per_second
            );
        }
        text
    }
}

/// A median below this part of the floor is no disturbance of the ceilings: one of the two is wrong.
const FLOOR_PART: f64 = 0.25;
/// More than any device computes, draws or runs at.
const ELEMENTS_PER_SECOND_MAX: f64 = 1e13;
const WATTS_MAX: f64 = 1e4;
const HERTZ_MAX: f64 = 1e10;
/// Longer than anyone measures.
const SECONDS_MAX: f64 = 1e6;

impl Entry {
    /// Rejects figures that no run has: one line on what is wrong.
    fn require_plausible(&self) -> Result<(), String> {
        let name = &self.name;
        if self.fraction().is_some_and(|fraction| fraction > 1.0 / FLOOR_PART) {
            return Err(format!("`{name}` is far faster than its floor allows"));
        }
        if self.n as f64 / self.min_seconds > ELEMENTS_PER_SECOND_MAX
            || self.max_seconds > SECONDS_MAX
        {
            return Err(format!("the times of `{name}` are not those of {} elements", self.n));
        }
        if self.watts.is_some_and(|watts| watts > WATTS_MAX)
            || self.sm_clock_hertz.is_some_and(|hertz| hertz > HERTZ_MAX)
        {
            return Err(format!("no card has the power or the clock of `{name}`"));
        }
        let log_n = name.split([' ', ',']).find_map(|word| word.strip_prefix("2^"));
        let log_n: Option<u32> = log_n.and_then(|digits| digits.parse().ok());
        if log_n.is_some_and(|log_n| self.n.trailing_zeros() < log_n) {
            return Err(format!("`{name}` has {} elements", self.n));
        }
        Ok(())
    }

    /// Floor divided by median; at most 1.
    pub fn fraction(&self) -> Option<f64> {
        self.floor_seconds.map(|floor| floor / self.median_seconds)
    }
}

impl Results {
    /// Entries of Rollmill itself.
    pub fn own(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.implementation == "rollmill")
    }

    /// Writes the file. Whoever reads it meanwhile, or after a kill, finds a whole one: the old or the new.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let failed =
            |reason: String| BenchError::Write { path: path.display().to_string(), reason };
        let mut text = serde_json::to_string_pretty(self).map_err(|e| failed(e.to_string()))?;
        text.push('\n');
        // A link stays a link, and what is no file (`/dev/stdout`) is not replaced by one.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let outcome = match std::fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => std::fs::write(&path, text),
            _ => rollmill_files::write(&path, &[text.as_bytes()]),
        };
        outcome.map_err(|error| failed(rollmill_errors::InWords(&error).to_string()))
    }

    /// Reads a file of results.
    ///
    /// # Errors
    /// [`BenchError::Read`]; [`BenchError::Foreign`] and [`BenchError::Schema`] for a file that is not a run's.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let shown = path.display().to_string();
        let unreadable = |reason: String| BenchError::Read { path: shown.clone(), reason };
        let metadata = std::fs::metadata(path)
            .map_err(|error| unreadable(rollmill_errors::InWords(&error).to_string()))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(BenchError::Foreign {
                path: shown,
                reason: format!("it has {} bytes", metadata.len()),
            });
        }
        let bytes = std::fs::read(path)
            .map_err(|error| unreadable(rollmill_errors::InWords(&error).to_string()))?;
        Self::from_bytes(&bytes, &shown)
    }

    /// As [`Self::read`], from bytes; `path` is for messages.
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, BenchError> {
        let foreign = |reason: String| BenchError::Foreign { path: path.to_owned(), reason };
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| foreign(error.to_string()))?;
        let schema = value.get("schema").and_then(serde_json::Value::as_u64);
        let schema = schema.ok_or_else(|| foreign("it names no schema".to_owned()))?;
        if schema != u64::from(SCHEMA) {
            return Err(BenchError::Schema { path: path.to_owned(), got: schema });
        }
        let results: Self =
            serde_json::from_value(value).map_err(|error| foreign(error.to_string()))?;
        results.check().map_err(foreign)?;
        Ok(results)
    }

    fn check(&self) -> Result<(), String> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let ceilings = self.ceilings;
        let every = [
            Some(ceilings.products_per_second),
            Some(ceilings.bytes_per_second),
            ceilings.adapter_products_per_second,
            ceilings.wide_multiply_adds_per_second,
        ];
        if !every.into_iter().flatten().all(positive) {
            return Err("a ceiling is not a positive number".to_owned());
        }
        let wide = ceilings.wide_multiply_adds_per_second;
        if wide.is_some_and(|wide| wide < ceilings.products_per_second) {
            return Err("a product takes many multiply-adds, not less than one".to_owned());
        }
        for (at, entry) in self.entries.iter().enumerate() {
            let Entry { name, min_seconds, median_seconds, max_seconds, .. } = entry;
            let ordered = min_seconds <= median_seconds && median_seconds <= max_seconds;
            let floor = entry.floor_seconds.is_none_or(positive);
            if !positive(*min_seconds) || !max_seconds.is_finite() || !ordered || !floor {
                return Err(format!("the times of `{name}` are not a minimum, median and maximum"));
            }
            if ![entry.watts, entry.sm_clock_hertz].into_iter().flatten().all(positive) {
                return Err(format!("the power or the clock of `{name}` is not a positive number"));
            }
            if entry.runs == 0 || entry.n == 0 || entry.in_flight == Some(0) {
                return Err(format!("`{name}` was not run"));
            }
            entry.require_plausible()?;
            let twice = self.entries[..at]
                .iter()
                .any(|e| e.name == *name && e.implementation == entry.implementation);
            if twice {
                return Err(format!("`{name}` by {} is there twice", entry.implementation));
            }
        }
        Ok(())
    }
}

/// A run for tests.
#[cfg(test)]
pub(crate) fn sample(device: &str, speed: f64) -> Results {
    let entry = |group: &str, name: &str, n: u64, seconds: f64| Entry {
        group: group.into(),
        name: name.into(),
        n,
        implementation: "rollmill".into(),
        runs: 10,
        median_seconds: seconds / speed,
        min_seconds: 0.9 * seconds / speed,
        max_seconds: 1.2 * seconds / speed,
        in_flight: None,
        floor_seconds: Some(0.5 * seconds / speed),
        memory_bytes_peak: Some(1 << 30),
        watts: None,
        sm_clock_hertz: None,
        note: None,
    };
    let mut entries = vec![
        entry("msm", "msm 2^16 uniform", 1 << 16, 0.03),
        entry("msm", "msm 2^18 uniform", 1 << 18, 0.1),
        entry("ntt", "ntt 2^18", 1 << 18, 0.005),
        entry("proof", "proof 2^17", 1 << 17, 2.4),
    ];
    entries.push(Entry {
        implementation: "arkworks".into(),
        floor_seconds: None,
        note: Some("as it does it".into()),
        ..entries[0].clone()
    });
    Results {
        schema: SCHEMA,
        device: device.into(),
        machine: Machine {
            cpu: "a processor".into(),
            cores: 2,
            extensions: vec!["avx512ifma".into()],
            memory_bytes: 1 << 34,
            kernel: "Linux 6".into(),
            load_before: 0.1,
        },
        rollmill_version: "0.1.0".into(),
        commit: None,
        command: vec!["rollmill-bench".into(), "run".into()],
        unix_seconds: 1_795_000_000,
        ceilings: Ceilings {
            products_per_second: 4e8,
            bytes_per_second: 2e10,
            adapter_products_per_second: None,
            wide_multiply_adds_per_second: None,
        },
        card: None,
        absent_peers: vec![AbsentPeer { name: "halo2curves".into(), reason: "not built".into() }],
        unfinished: None,
        entries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(results: &Results) -> Vec<u8> {
        serde_json::to_vec(results).unwrap()
    }

    #[test]
    fn what_a_card_said_is_kept_and_what_no_card_says_is_rejected() {
        let mut results = sample("cuda", 1.0);
        results.ceilings.wide_multiply_adds_per_second = Some(8e12);
        results.card = Some(Card { uuid: "GPU-1".into(), ..Card::default() });
        results.entries[0].watts = Some(312.5);
        results.entries[0].sm_clock_hertz = Some(1.98e9);
        assert_eq!(Results::from_bytes(&bytes(&results), "x").unwrap(), results);
        for spoil in [
            |r: &mut Results| r.entries[0].watts = Some(-1.0),
            |r: &mut Results| r.entries[0].sm_clock_hertz = Some(0.0),
            |r: &mut Results| r.ceilings.wide_multiply_adds_per_second = Some(0.0),
            |r: &mut Results| r.ceilings.adapter_products_per_second = Some(-4.0),
        ] {
            let mut other = results.clone();
            spoil(&mut other);
            let error = Results::from_bytes(&bytes(&other), "x").unwrap_err();
            assert_eq!(error.code(), "BEN-005", "{error}");
        }
    }

    #[test]
    fn a_run_reads_as_it_was_written() {
        let results = sample("cpu", 1.0);
        assert_eq!(Results::from_bytes(&bytes(&results), "x").unwrap(), results);
    }

    #[test]
    fn a_run_from_before_peers_were_listed_is_still_read() {
        let mut value = serde_json::to_value(sample("cpu", 1.0)).unwrap();
        value.as_object_mut().unwrap().remove("absent_peers");
        for entry in value["entries"].as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("note");
        }
        let read = Results::from_bytes(&serde_json::to_vec(&value).unwrap(), "x").unwrap();
        assert!(read.absent_peers.is_empty() && read.entries.iter().all(|e| e.note.is_none()));
    }

    #[test]
    fn what_is_no_run_is_rejected_by_its_code() {
        let code =
            |bytes: &[u8]| Results::from_bytes(bytes, "x.json").unwrap_err().code().to_owned();
        assert_eq!(code(b""), "BEN-005");
        assert_eq!(code(b"{}"), "BEN-005");
        assert_eq!(code(b"[1]"), "BEN-005");
        assert_eq!(code(b"{\"schema\": 2}"), "BEN-006");
        assert_eq!(code(b"{\"schema\": 1}"), "BEN-005");
        type Change = fn(&mut Results);
        let changes: [Change; 14] = [
            |r| r.ceilings.products_per_second = 0.0,
            |r| r.entries[0].median_seconds = 0.0,
            |r| r.entries[0].min_seconds = 2.0 * r.entries[0].max_seconds,
            |r| r.entries[1].floor_seconds = Some(-1.0),
            |r| r.entries[2].runs = 0,
            |r| r.entries[2].n = 0,
            |r| r.entries[1].name = r.entries[0].name.clone(),
            |r| r.entries[0].floor_seconds = Some(5.0 * r.entries[0].median_seconds),
            |r| r.entries[0].min_seconds = 1e-9,
            |r| r.entries[0].max_seconds = 1e9,
            |r| r.entries[0].watts = Some(1e6),
            |r| r.entries[0].n = 1000,
            |r| r.entries[3].in_flight = Some(0),
            |r| r.ceilings.wide_multiply_adds_per_second = Some(1e8),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut results = sample("cpu", 1.0);
            change(&mut results);
            assert_eq!(code(&bytes(&results)), "BEN-005", "change {at}");
        }
    }

    /// Goal: a damaged file is rejected with a one-line error or read as plausible figures.
    #[test]
    fn every_changed_or_missing_byte_is_rejected_or_still_a_run() {
        let bytes = bytes(&sample("cpu", 1.0));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                match Results::from_bytes(&changed, "x.json") {
                    Ok(results) => assert!(results.check().is_ok()),
                    Err(error) => {
                        let line = error.to_string();
                        assert!(line.contains("x.json") && !line.contains('\n'), "{line}");
                    }
                }
            }
            assert!(Results::from_bytes(&bytes[..at], "x.json").is_err(), "cut at {at}");
        }
    }
}
