//! The host's path to a real card, with a driver library built from the emulator. A process finds its
//! driver when it starts, so each case runs in its own process.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use rollmill_algebra::device::{DeviceError, Memory, Vector, Work};
use rollmill_algebra::{CpuDevice, Fr, plain};
use rollmill_kernels::{COMPILED, CudaDevice, CudaOptions};

use common::proof::proof_on;

const CASE: &str = "ROLLMILL_TEST_CASE";

/// Runs one case of [`one_case`] with a driver on which `faults` go wrong.
fn case(name: &str, faults: &str) -> String {
    traced_case(name, faults, None)
}

/// [`case`], with the file that kernels' times are written to.
fn traced_case(name: &str, faults: &str, trace: Option<&Path>) -> String {
    let program = std::env::current_exe().expect("this program");
    let output: Output = Command::new(program)
        .args(["--ignored", "--exact", "one_case", "--nocapture"])
        .env("LD_LIBRARY_PATH", common::driver())
        .env("ROLLMILL_EMULATED_CUDA", faults)
        .env(CASE, name)
        .envs(trace.map(|path| ("ROLLMILL_CUDA_TRACE", path)))
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} with {faults}: {printed}\n{errors}");
    let found = printed.lines().find_map(|line| line.split_once("outcome: "));
    found.unwrap_or_else(|| panic!("{name} with {faults}: {printed}\n{errors}")).1.to_owned()
}

fn outcome(name: &str) -> String {
    let image = match name {
        "open cut" => &COMPILED[..COMPILED.len() - 1],
        "open other" => &b"no image, but long enough for one"[..],
        _ => COMPILED,
    };
    let card = match name {
        "open second" => "1",
        "open slice" => "MIG-FF010203-0405-0607-0809-0a0b0c0d0e0f",
        _ => "0",
    };
    let device = match CudaDevice::open(card, image, &CudaOptions::default()) {
        Ok(device) => device,
        Err(error) => return error.to_string(),
    };
    if name == "open slice" {
        return device.uuid().unwrap_or("none").to_owned();
    }
    if name == "uploads" {
        return format!("{:?}", uploads(&device));
    }
    if name == "prove" {
        let expected = proof_on(&CpuDevice::scalar(1), 8);
        let same = proof_on(&device, 8).to_bytes() == expected.to_bytes();
        return format!("the proof is the CPU's: {same}");
    }
    if name == "sessions" {
        let run = || {
            let values: Vec<Fr> = (0..40u64).map(Fr::from).collect();
            let work = Work { name: "test", n: 1, columns: 1 };
            let session = device.session(work)?.expect("has sessions");
            let sums = session.prefix_sum(&device.upload(&values)?)?;
            Ok::<_, DeviceError>(session.download(&sums)? == plain::prefix_sum(&values))
        };
        return format!("right: {}", run() == Ok(true));
    }
    let work = || {
        let values: Vec<Fr> = (0..40_000u64).map(Fr::from).collect();
        let buffer = device.upload(&values)?;
        let sums = device.prefix_sum(&buffer)?;
        Ok::<_, DeviceError>(device.download(&sums)?.len())
    };
    match work() {
        Ok(length) => format!("{length} sums"),
        Err(error) => {
            // What was lost stays lost.
            let again = work().map_err(|error| error.to_string());
            format!("{error}; again: {again:?}")
        }
    }
}

/// Whether what was uploaded arrives although its source is overwritten at once, and although far more is queued than
/// pinned memory has chunks for.
fn uploads(device: &CudaDevice) -> Result<bool, DeviceError> {
    let values = |k: u64, n: u64| (0..n).map(|i| Fr::from(k * n + i)).collect::<Vec<Fr>>();
    let mut all = Vec::new();
    for k in 0..1200u64 {
        // Small ones, and now and then one that takes several chunks, or several threads as well.
        let n = match k % 100 {
            0 => 70_000,
            50 => 200_000,
            _ => 40,
        };
        let mut source = values(k, n);
        all.push((k, n, device.upload(&source)?));
        source.fill(Fr::from(9u64));
        std::hint::black_box(&source);
    }
    for (k, n, buffer) in &all {
        if device.download(buffer)? != values(*k, *n) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
#[ignore = "not a test: the process that each case of the tests starts"]
fn one_case() {
    let name = std::env::var(CASE).expect("the name of a case");
    println!("outcome: {}", outcome(&name));
}

#[test]
fn a_proof_through_the_driver_is_the_cpus_proof_byte_for_byte() {
    assert_eq!(case("prove", ""), "the proof is the CPU's: true");
}

#[test]
fn a_stream_waits_for_the_events_of_another() {
    assert_eq!(case("sessions", ""), "right: true");
    assert_eq!(case("sessions", "deaf=1"), "right: false");
}

/// Pinned memory must not be written to while a copy of it is queued. Where there is none, the host's memory must not
/// be left to a driver that reads it late.
#[test]
fn what_is_uploaded_arrives_whoever_reads_the_hosts_memory_and_when() {
    for faults in ["", "lazy=1", "pinned=2", "pinned=2,lazy=1"] {
        assert_eq!(case("uploads", faults), "Ok(true)", "{faults}");
    }
}

#[test]
fn the_times_of_kernels_are_in_the_file_that_the_environment_names() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver-trace.md");
    assert_eq!(traced_case("work", "", Some(&path)), "40000 sums");
    let table = std::fs::read_to_string(&path).expect("written");
    assert!(table.starts_with("emulated card 0: calls took "), "{table}");
    for call in ["vector_scan", "vector_fold", "copy to the device", "copy to the host"] {
        assert!(table.contains(&format!("\n| {call} | ")), "{call}: {table}");
    }
    let text = traced_case("work", "", Some(Path::new("/nonexistent/trace.md")));
    assert!(text.contains("CUD-008") && text.contains("/nonexistent/trace.md"), "{text}");
}

#[test]
fn a_slice_of_a_card_is_found_by_its_own_uuid() {
    let uuid = "MIG-ff010203-0405-0607-0809-0a0b0c0d0e0f";
    assert_eq!(case("open slice", "mig=1"), uuid);
    let text = case("open slice", "");
    assert!(text.contains("CUD-003") && text.contains("0 (GPU-00010203-0405-"), "{text}");
}

#[test]
fn each_way_to_fail_is_an_error_of_its_own() {
    for (name, faults, expected) in [
        ("work", "", &["40000 sums"][..]),
        ("work", "version=12080", &["40000 sums"]),
        ("open", "version=11080", &["CUD-002", "CUDA 11.8", "12.0 is needed"]),
        // No image of CUDA 13 for a driver of 12.8.
        ("open", "version=12080,image=222", &["CUD-002", "CUDA 12.8", "13.0 is needed"]),
        ("open", "init=999", &["CUD-001", "does not start", "UNKNOWN"]),
        ("open", "init=100", &["CUD-003", "`0`", "there are: none"]),
        ("open", "devices=0", &["CUD-003", "`0`", "there are: none"]),
        ("open second", "", &["CUD-003", "`1`", "there are: 0 (GPU-00010203-0405-"]),
        ("open", "image=200", &["CUD-004", "INVALID_IMAGE"]),
        ("open", "image=209", &["CUD-004", "NO_BINARY_FOR_GPU"]),
        ("open cut", "", &["CUD-004", "B, it has"]),
        ("open other", "", &["CUD-004", "does not begin like a fat binary"]),
        // By the budget, and by the card where another program has taken what was free.
        ("work", "memory=1000000", &["DEV-002", "needs"]),
        ("work", "allocate=2", &["DEV-002", "needs"]),
        (
            "work",
            "launch=719,after=1",
            &["DEV-003", "emulated card 0", "LAUNCH_FAILED", "again: Err"],
        ),
        ("work", "launch=46", &["DEV-003", "DEVICE_UNAVAILABLE", "again: Err"]),
        ("work", "launch=220", &["DEV-003", "NVLINK_UNCORRECTABLE", "again: Err"]),
        ("work", "launch=802", &["DEV-003", "SYSTEM_NOT_READY", "again: Err"]),
        ("work", "launch=805", &["DEV-003", "MPS_CONNECTION_FAILED", "again: Err"]),
        ("work", "launch=701", &["DEV-004", "CUD-008", "LAUNCH_OUT_OF_RESOURCES"]),
        ("work", "launch=1", &["DEV-004", "CUD-008", "cuLaunchKernel", "INVALID_VALUE"]),
    ] {
        let printed = case(name, faults);
        for part in expected {
            assert!(printed.contains(part), "{name} with {faults:?}: {printed}");
        }
    }
}
