//! The host's path to a real card, with a driver library built from the emulator. A process finds its
//! driver when it starts, so each case runs in its own process.

mod common;

use std::process::{Command, Output};

use rollmill_algebra::device::{DeviceError, Memory, Vector, Work};
use rollmill_algebra::{CpuDevice, Fr, plain};
use rollmill_kernels::{COMPILED, CudaDevice, CudaOptions};

use common::proof::proof_on;

const CASE: &str = "ROLLMILL_TEST_CASE";

/// Runs one case of [`one_case`] with a driver on which `faults` go wrong.
fn case(name: &str, faults: &str) -> String {
    let program = std::env::current_exe().expect("this program");
    let output: Output = Command::new(program)
        .args(["--ignored", "--exact", "one_case", "--nocapture"])
        .env("LD_LIBRARY_PATH", common::driver())
        .env("ROLLMILL_EMULATED_CUDA", faults)
        .env(CASE, name)
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
    let card = if name == "open second" { "1" } else { "0" };
    let device = match CudaDevice::open(card, image, &CudaOptions::default()) {
        Ok(device) => device,
        Err(error) => return error.to_string(),
    };
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
        ("work", "launch=1", &["DEV-004", "CUD-008", "cuLaunchKernel", "INVALID_VALUE"]),
    ] {
        let printed = case(name, faults);
        for part in expected {
            assert!(printed.contains(part), "{name} with {faults:?}: {printed}");
        }
    }
}
