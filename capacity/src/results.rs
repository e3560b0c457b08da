//! Seconds per circuit, from the files that measured runs wrote.

use std::path::Path;

use rollmill_errors::InWords;
use rollmill_protocol::circuit::Circuit;
use serde::Deserialize;
use serde_json::Value;

use crate::CapacityError;

/// What the proof of a circuit takes an agent, witness included, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds {
    /// Median.
    pub p50: f64,
    /// 95 of 100 proofs take less; the median where one run was measured.
    pub p95: f64,
}

/// Seconds per circuit, by its place in [`Circuit::ALL`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    of: Vec<Option<Seconds>>,
}

/// A proof as `cargo xtask circuits --prove` and `rollmill-devnet` write it.
#[derive(Debug, Deserialize)]
struct Proof {
    circuit: String,
    witness_seconds: f64,
    proving_seconds: Option<f64>,
}

/// A line of `rollmill-bench run`.
#[derive(Debug, Deserialize)]
struct Entry {
    group: String,
    name: String,
    implementation: String,
    median_seconds: f64,
    max_seconds: f64,
}

/// The measured case of `rollmill-bench` that the circuits of an epoch are like: they have 2^17 rows. Only that of a
/// block without transactions has fewer, so that its time is an upper bound.
const BENCH_CASE: &str = "proof 2^17";

impl Results {
    /// Reads files. A circuit that several know is taken from the first.
    ///
    /// # Errors
    /// [`CapacityError::Read`], [`CapacityError::Foreign`].
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, CapacityError> {
        let mut results = Self { of: vec![None; Circuit::ALL.len()] };
        for path in paths {
            let shown = path.as_ref().display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| CapacityError::Read {
                path: shown.clone(),
                reason: InWords(&error).to_string(),
            })?;
            results.add(&shown, &text)?;
        }
        Ok(results)
    }

    fn add(&mut self, path: &str, text: &str) -> Result<(), CapacityError> {
        let foreign =
            |reason: &str| CapacityError::Foreign { path: path.into(), reason: reason.into() };
        let file: Value =
            serde_json::from_str(text).map_err(|_| foreign("it is no JSON document"))?;
        let proofs = if file.is_array() { &file } else { &file["jobs"] };
        let found = match proofs.as_array() {
            Some(_) => self.add_proofs(proofs),
            None => self.add_bench(&file["entries"]),
        };
        match found {
            Some(true) => Ok(()),
            Some(false) => Err(foreign("it has no positive time of a circuit")),
            None => Err(foreign("it has another form")),
        }
    }

    /// Proofs of circuits, several of each where they ran as jobs. `None` for another form.
    fn add_proofs(&mut self, proofs: &Value) -> Option<bool> {
        let proofs: Vec<Proof> = serde_json::from_value(proofs.clone()).ok()?;
        let mut found = false;
        for (circuit, place) in Circuit::ALL.into_iter().zip(0..) {
            let of_circuit = proofs.iter().filter(|proof| proof.circuit == circuit.name());
            let mut seconds: Vec<f64> = of_circuit
                .filter_map(|proof| Some(proof.witness_seconds + proof.proving_seconds?))
                .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
                .collect();
            seconds.sort_by(f64::total_cmp);
            let at = |part: f64| seconds.get((seconds.len() as f64 * part) as usize).copied();
            if let (Some(p50), Some(p95)) = (at(0.5), at(0.95)) {
                self.set(place, Seconds { p50, p95 });
                found = true;
            }
        }
        Some(found)
    }

    /// The bench measures a circuit of its own, of as many rows as those of an epoch, without a witness.
    fn add_bench(&mut self, entries: &Value) -> Option<bool> {
        let entries: Vec<Entry> = serde_json::from_value(entries.clone()).ok()?;
        let ours = entries.iter().find(|entry| {
            (entry.group.as_str(), entry.name.as_str(), entry.implementation.as_str())
                == ("proof", BENCH_CASE, "rollmill")
        });
        let seconds = ours.map(|entry| Seconds {
            p50: entry.median_seconds,
            p95: entry.max_seconds.max(entry.median_seconds),
        });
        let Some(seconds) = seconds.filter(|seconds| seconds.p50.is_finite() && seconds.p50 > 0.0)
        else {
            return Some(false);
        };
        for (circuit, place) in Circuit::ALL.into_iter().zip(0..) {
            if circuit.is_job() {
                self.set(place, seconds);
            }
        }
        Some(true)
    }

    fn set(&mut self, place: usize, seconds: Seconds) {
        let known = &mut self.of[place];
        *known = known.or(Some(seconds));
    }

    /// What the circuit takes.
    ///
    /// # Errors
    /// [`CapacityError::Missing`].
    pub fn of(&self, circuit: Circuit) -> Result<Seconds, CapacityError> {
        let place = Circuit::ALL.iter().position(|other| *other == circuit);
        let known = place.and_then(|place| self.of.get(place).copied().flatten());
        known.ok_or_else(|| CapacityError::Missing { circuit: circuit.name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(texts: &[&str]) -> Result<Results, CapacityError> {
        let mut results = Results { of: vec![None; Circuit::ALL.len()] };
        for text in texts {
            results.add("file", text)?;
        }
        Ok(results)
    }

    #[test]
    fn the_recorded_results_are_read_in_each_of_the_three_forms() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/results");
        let circuits = Results::read(&[folder.join("circuits-zen5-2cores.json")]).unwrap();
        let tx_base = circuits.of(Circuit::TxBase).unwrap();
        assert!((tx_base.p50 - 1.441_097).abs() < 1e-6, "{tx_base:?}");
        let bench = Results::read(&[folder.join("bench-proof-zen4-2cores.json")]).unwrap();
        assert_eq!(bench.of(Circuit::TxMerge).unwrap().p50, 2.233_106_5);
        let jobs = Results::read(&[folder.join("devnet-demo-zen5-2cores.json")]).unwrap();
        let tx_base = jobs.of(Circuit::TxBase).unwrap();
        assert!(tx_base.p50 < tx_base.p95, "{tx_base:?}");
        let missing = jobs.of(Circuit::BlockMerge).unwrap_err();
        assert_eq!(missing.to_string().split(':').next(), Some("CAP-003"));
    }

    #[test]
    fn a_later_file_adds_what_the_earlier_ones_lack() {
        let one = r#"[{"circuit":"tx_base","witness_seconds":0.5,"proving_seconds":1.5}]"#;
        let two = r#"[{"circuit":"tx_base","witness_seconds":9,"proving_seconds":9},
                      {"circuit":"tx_merge","witness_seconds":1,"proving_seconds":2}]"#;
        let both = results(&[one, two]).unwrap();
        assert_eq!(both.of(Circuit::TxBase).unwrap().p50, 2.0);
        assert_eq!(both.of(Circuit::TxMerge).unwrap().p50, 3.0);
    }

    #[test]
    fn a_file_of_something_else_is_rejected_with_the_reason() {
        for text in [
            "",
            "{}",
            "[1]",
            "[]",
            r#"{"entries":[]}"#,
            r#"{"jobs":[]}"#,
            r#"[{"circuit":"tx_base","witness_seconds":-1,"proving_seconds":0}]"#,
        ] {
            let error = results(&[text]).unwrap_err().to_string();
            assert!(
                error.starts_with("CAP-002: file holds no results of proofs"),
                "{text}: {error}"
            );
        }
    }
}
