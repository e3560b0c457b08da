//! What a proof asks of the driver: how many calls, how long each takes on the card, and that nothing is taken from it
//! once it is warm.
//!
//! `calls.json` has the ceilings. `ROLLMILL_BLESS=1` writes what was counted, for all sizes that were run.
//! `ROLLMILL_TEST_ROWS=12,17` names the sizes as powers of two; 2^17 takes minutes on the emulator.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollmill_algebra::CpuDevice;
use rollmill_kernels::{Calls, CudaDevice, CudaOptions, Emulation, Fault};
use rollmill_plonk::conformance::{Ready, full_circuit};
use serde_json::{Value, json};

use common::proof::{all_cosets, circuit, proof_of};

/// What `calls.json` limits, by name.
fn counted(calls: &Calls) -> BTreeMap<&'static str, u64> {
    [
        ("launches", calls.launches),
        ("clears", calls.clears),
        ("copies", calls.copies),
        ("uploads", calls.uploads),
        ("uploaded_bytes", calls.uploaded_bytes),
        ("downloads", calls.downloads),
        ("synchronizations", calls.synchronizations),
    ]
    .into()
}

/// The calls of one proof with a kept key, after others.
fn calls_of_a_proof(log_n: u32) -> Calls {
    let emulation =
        Emulation { late: false, memory_bytes: 4 << 30, ..Emulation::new(common::library()) };
    let device = CudaDevice::emulated(&emulation, &CudaOptions::default()).expect("opens");
    let ready = Ready::new(&device, full_circuit(log_n), all_cosets(log_n));
    // The first one keeps the key's cosets and makes tables; the next ones find out how many blocks there have to be,
    // also where the two streams of a session have changed places.
    for _ in 0..3 {
        ready.prove().expect("a proof");
    }
    let before = device.calls();
    ready.prove().expect("a proof");
    device.calls().since(&before)
}

fn ceilings() -> (PathBuf, Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("calls.json");
    let text = std::fs::read_to_string(&path).expect("the ceilings");
    (path, serde_json::from_str(&text).expect("JSON"))
}

#[test]
fn a_proof_makes_no_more_calls_than_its_ceilings_and_takes_no_memory_from_the_driver() {
    let sizes = std::env::var("ROLLMILL_TEST_ROWS").unwrap_or_else(|_| "12".to_owned());
    let (path, mut held) = ceilings();
    let mut above = Vec::new();
    for log_n in sizes.split(',') {
        let calls = calls_of_a_proof(log_n.parse().expect("a power of two"));
        // No ceiling, which could be raised: each call stops the whole card.
        assert_eq!((calls.allocations, calls.releases), (0, 0), "2^{log_n} rows, when warm");
        let found = counted(&calls);
        println!("2^{log_n} rows: {found:?}");
        for (name, count) in &found {
            let most = held[log_n][name].as_u64().unwrap_or(0);
            if *count > most {
                above.push(format!("2^{log_n} rows: {count} {name}, at most {most} are allowed"));
            }
        }
        held[log_n] = json!(found);
    }
    if std::env::var("ROLLMILL_BLESS").is_ok_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(&held).expect("JSON");
        std::fs::write(&path, text + "\n").expect("written");
        return;
    }
    assert!(
        above.is_empty(),
        "{above:#?}\nlower counts, or raise calls.json with ROLLMILL_BLESS=1 and say why"
    );
}

fn small(device: &CudaDevice) -> Ready<'_, CudaDevice> {
    Ready::new(device, circuit(8, None), 1 << 30)
}

/// Goal: the program `host_time` measures a proof and nothing else. Method: the repeated proof has the recorded bytes,
/// makes the same calls, and runs no kernel, which a card that is lost after so many kernels shows.
#[test]
fn a_repeated_proof_is_the_recorded_one_and_computes_nothing() {
    let count = {
        let emulation = Emulation { late: false, ..Emulation::new(common::library()) };
        let device = CudaDevice::emulated(&emulation, &CudaOptions::default()).expect("opens");
        let ready = small(&device);
        (0..4).for_each(|_| _ = ready.prove().expect("a proof"));
        device.calls().launches
    };
    let fault = Some(Fault::LostAfter(count));
    let emulation = Emulation { late: false, fault, ..Emulation::new(common::library()) };
    let options = CudaOptions::default();
    let (device, replay) = CudaDevice::replayed(&emulation, &options).expect("opens");
    let ready = small(&device);
    // What is kept and allocated is there after three.
    (0..3).for_each(|_| _ = ready.prove().expect("a proof"));
    replay.record();
    let calls = |run: &dyn Fn() -> Vec<u8>| {
        let before = device.calls();
        (run(), device.calls().since(&before))
    };
    let prove = || ready.prove().expect("a proof").to_bytes();
    let recorded = calls(&prove);
    for _ in 0..2 {
        replay.repeat();
        assert!(calls(&prove) == recorded);
    }
}

/// A column of the table of times, by call.
fn column(table: &str, at: usize) -> BTreeMap<String, f64> {
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(cells).map(|row| (row[1].clone(), row[at].parse().expect("a number"))).collect()
}

/// Goal: every call is in the table once, also where streams run late and several work at a time, and the proof is the
/// same.
#[test]
fn the_table_of_times_has_every_call_of_a_proof() {
    let expected = proof_of(&CpuDevice::scalar(2), circuit(8, None)).to_bytes();
    for (late, shuffle) in [(false, None), (true, None), (true, Some(3))] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("calls-trace.md");
        let emulation = Emulation { late, shuffle, ..Emulation::new(common::library()) };
        let options = CudaOptions { trace: Some(path.clone()), ..CudaOptions::default() };
        let device = CudaDevice::emulated(&emulation, &options).expect("opens");
        let ready = Ready::new(&device, circuit(8, None), 0);
        for proof in ready.prove_at_once(2) {
            assert!(proof.expect("a proof").to_bytes() == expected);
        }
        let calls = device.calls();
        drop(ready);
        drop(device);
        let table = std::fs::read_to_string(&path).expect("the table");
        let counts = column(&table, 2);
        let of = |name: &str| counts.get(name).copied().unwrap_or(0.0) as u64;
        let others = ["copy to the device", "copy to the host", "copy", "fill"].map(of);
        assert_eq!(others, [calls.uploads, calls.downloads, calls.copies, calls.clears], "{table}");
        let all: f64 = counts.values().sum();
        assert_eq!(all as u64 - others.iter().sum::<u64>(), calls.launches, "{table}");
        let shares: f64 = column(&table, 5).values().sum();
        assert!((shares - 100.0).abs() < 5.0, "{table}");
        assert!(column(&table, 3).values().all(|microseconds| *microseconds >= 0.0), "{table}");
    }
}
