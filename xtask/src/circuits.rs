//! `cargo xtask circuits`: the size of every circuit against its budget.
//!
//! The figures come from the circuits themselves through [`measure`]; this module only checks and
//! prints them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::circuit::size;
use rollmill_circuits::registry::{self, Keys};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_protocol::Circuit;
use serde::Serialize;

use crate::Findings;

/// What one circuit costs. Sizes in rows, columns or bytes; absent figures were not measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CircuitSize {
    pub(crate) circuit: &'static str,
    /// Rows in use, without padding and blinding rows.
    pub(crate) rows: u64,
    /// Base-2 logarithm of the padded number of rows.
    pub(crate) log_n: u32,
    /// Most that `log_n` may be.
    #[serde(skip)]
    pub(crate) log_n_max: u32,
    pub(crate) wires: u32,
    pub(crate) fixed_columns: u32,
    pub(crate) public_inputs: u32,
    pub(crate) proof_bytes: u64,
    pub(crate) witness_seconds: Option<f64>,
    pub(crate) proving_seconds: Option<f64>,
    pub(crate) memory_bytes_peak: Option<u64>,
}

/// Sizes of every circuit, measured on the circuits' own code. `prove` asks for one proof of each as
/// well, over a dummy witness, with the development SRS.
fn measure(prove: bool) -> anyhow::Result<Vec<CircuitSize>> {
    let keys = if prove { Some(keys()?) } else { None };
    let start = Instant::now();
    let mut sizes = Vec::with_capacity(Circuit::ALL.len());
    for circuit in Circuit::ALL {
        let report = registry::report(circuit)?;
        reset_memory_peak();
        let seconds = match &keys {
            Some(keys) => Some(registry::measure(keys, circuit, &|| start.elapsed())?),
            None => None,
        };
        sizes.push(CircuitSize {
            circuit: report.circuit,
            rows: report.rows,
            log_n: report.log_n,
            log_n_max: size(circuit).log_n_max,
            wires: report.wires,
            fixed_columns: report.fixed_columns,
            public_inputs: report.public_inputs,
            proof_bytes: report.proof_bytes,
            witness_seconds: seconds.map(|s| s.witness_seconds),
            proving_seconds: seconds.map(|s| s.proving_seconds),
            memory_bytes_peak: seconds.and_then(|_| memory_peak_bytes()),
        });
    }
    Ok(sizes)
}

/// Keys under the development SRS, one resident at a time so that a circuit's peak is its own.
fn keys() -> anyhow::Result<Keys<CpuDevice>> {
    let store = Arc::new(DirStore::new(cache_dir(None)));
    rollmill_algebra::cpu::map_large_arrays();
    let device = Arc::new(CpuDevice::default());
    let srs = registry::open_srs(store.as_ref(), crate::verifiers::DEVELOPMENT_CHAIN_ID)?;
    let set = registry::make_keys(device.as_ref(), &srs, store.as_ref(), &|_, _| {})?;
    Ok(Keys::new(device, set, srs, store, 1)?)
}

/// Asks the kernel to count this process's peak memory anew. Where it cannot, peaks only grow.
fn reset_memory_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn memory_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Prints the table, writes the JSON file if asked, and returns budgets that are broken.
pub(crate) fn run(json: Option<&Path>, prove: bool) -> anyhow::Result<Findings> {
    let sizes = measure(prove)?;
    print!("{}", table(&sizes));
    if let Some(path) = json {
        let mut text = serde_json::to_string_pretty(&sizes)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(check(&sizes))
}

fn check(sizes: &[CircuitSize]) -> Findings {
    sizes
        .iter()
        .filter(|size| size.log_n > size.log_n_max)
        .map(|size| {
            format!(
                "circuit {}: {} rows are padded to 2^{}, the budget is 2^{}; make it smaller, or raise \
                 the budget in circuits/src/circuit.rs",
                size.circuit, size.rows, size.log_n, size.log_n_max
            )
        })
        .collect()
}

fn table(sizes: &[CircuitSize]) -> String {
    let seconds = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    let mut text = format!(
        "{:<14} {:>8} {:>6} {:>7} {:>6} {:>6} {:>7} {:>7} {:>10} {:>10} {:>9}\n",
        "circuit",
        "rows",
        "padded",
        "budget",
        "wires",
        "fixed",
        "inputs",
        "proof B",
        "witness s",
        "proving s",
        "peak MiB",
    );
    for size in sizes {
        let memory = size.memory_bytes_peak.map_or("-".into(), |bytes| format!("{}", bytes >> 20));
        text.push_str(&format!(
            "{:<14} {:>8} {:>6} {:>7} {:>6} {:>6} {:>7} {:>7} {:>10} {:>10} {:>9}\n",
            size.circuit,
            size.rows,
            format!("2^{}", size.log_n),
            format!("2^{}", size.log_n_max),
            size.wires,
            size.fixed_columns,
            size.public_inputs,
            size.proof_bytes,
            seconds(size.witness_seconds),
            seconds(size.proving_seconds),
            memory,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(circuit: Circuit, log_n: u32) -> CircuitSize {
        CircuitSize {
            circuit: circuit.name(),
            rows: (1 << log_n) - 10,
            log_n,
            log_n_max: super::size(circuit).log_n_max,
            wires: 8,
            fixed_columns: 12,
            public_inputs: 33,
            proof_bytes: 3000,
            witness_seconds: None,
            proving_seconds: Some(1.5),
            memory_bytes_peak: Some(5 << 20),
        }
    }

    #[test]
    fn a_circuit_over_its_budget_is_rejected_and_within_it_passes() {
        let findings = check(&[
            size(Circuit::TxMerge, 18),
            size(Circuit::Client, 14),
            size(Circuit::TxBase, 18),
        ]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("tx_base"), "{findings:?}");
        assert!(findings[0].contains("padded to 2^18, the budget is 2^17"), "{findings:?}");
    }

    #[test]
    fn the_table_shows_a_dash_for_what_was_not_measured() {
        let table = table(&[size(Circuit::TxBase, 17)]);
        let row = table.lines().nth(1).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            cells,
            ["tx_base", "131062", "2^17", "2^17", "8", "12", "33", "3000", "-", "1.50", "5"]
        );
    }
}
