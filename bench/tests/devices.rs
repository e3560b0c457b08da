//! The program `rollmill-bench` on each kind of device: what is measured, and what ends it with one line.

use std::path::Path;
use std::process::{Command, Output};

use rollmill_algebra::CpuDevice;
use rollmill_algebra::device::Memory;
use rollmill_bench::result::Results;

fn bench(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    rollmill_agent_testing::without_icicle(env!("CARGO_BIN_EXE_rollmill-bench"), arguments)
}

/// A machine with an NVIDIA driver, built from the emulator, that has `faults`.
fn with_driver(arguments: &[&str], faults: &str) -> Output {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    rollmill_agent_testing::run_with_driver(program(arguments), scratch, faults)
}

/// The one line with which it fails.
fn line_of(arguments: &[&str], output: &Output) -> String {
    assert!(!output.status.success(), "{arguments:?} was accepted");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let ends: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(ends.len(), 1, "{arguments:?}: {text}");
    ends[0].to_owned()
}

#[test]
fn a_card_is_measured_with_its_sensors_and_each_fault_of_it_ends_with_a_line_of_its_own() {
    let ntt = ["run", "--only", "ntt", "--sizes", "14", "--peers", "none", "--runs", "1"];
    for (arguments, faults, expected) in [
        (
            &["--device", "cuda:0"][..],
            "devices=0",
            &["AGT-032", "no CUDA device", "there are: none"][..],
        ),
        (&["--device", "cuda:0"], "memory=1000000", &["BEN-002", "B of device memory"]),
        (
            &["--device", "cuda:0"],
            "launch=719,after=2",
            &["BEN-002", "was lost", "emulated card 0"],
        ),
    ] {
        let arguments = [arguments, &ntt].concat();
        let line = line_of(&arguments, &with_driver(&arguments, faults));
        for part in expected {
            assert!(line.contains(part), "{arguments:?} with {faults:?}: {line}");
        }
    }
    // The same work on a card without a fault, with its sensors' readings.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.json");
    let json = ["--json", file.to_str().unwrap()];
    let arguments = [&["--device", "cuda:0"], &ntt[..], &json].concat();
    let output = with_driver(&arguments, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = Results::read(&file).unwrap();
    let card = results.card.unwrap();
    assert_eq!(
        (card.uuid.as_str(), card.driver.as_deref()),
        (rollmill_agent_testing::UUID, Some("580.95.05"))
    );
    assert_eq!(
        (card.power_limit_watts, card.throttled),
        (Some(700.0), vec!["power_cap".to_owned()])
    );
    assert!(results.entries.iter().all(|entry| entry.sm_clock_hertz == Some(1.98e9)));
    assert!(results.ceilings.wide_multiply_adds_per_second > Some(0.0));
}

/// A path without vectors is measured beside one with them, and nowhere else.
#[test]
fn the_scalar_path_is_a_peer_where_it_is_not_the_device_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scalar.json");
    let sums = ["run", "--only", "msm,ntt", "--sizes", "8", "--peers", "scalar", "--runs", "1"];
    let arguments = [&["--device", "cpu"], &sums[..], &["--json", file.to_str().unwrap()]].concat();
    let output = bench(&arguments);
    let scalar = CpuDevice::scalar(0).name() == CpuDevice::default().name();
    if scalar {
        let line = line_of(&arguments, &output);
        assert!(line.contains("BEN-007") && line.contains("the device that is measured"), "{line}");
    } else {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let entries = Results::read(&file).unwrap().entries;
        let of = |who: &str| entries.iter().filter(|e| e.implementation == who).count();
        assert_eq!((of("rollmill"), of("scalar")), (6 + 3, 6 + 2));
    }
    let arguments = [&["--device", "cuda:0"], &sums[..]].concat();
    let line = line_of(&arguments, &with_driver(&arguments, ""));
    assert!(
        line.contains("BEN-007") && line.contains("compared with the CPU device only"),
        "{line}"
    );
}

/// Goal: a hybrid's floors are of the adapter where the adapter works, for each form of limbs it has.
#[test]
fn a_graphics_adapter_is_measured_in_each_form_of_limbs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adapter.json");
    let json = file.to_str().unwrap();
    let arguments =
        ["--device", "wgpu:software", "run", "--only", "field", "--peers", "none", "--runs", "1"];
    let output = bench(&[&arguments[..], &["--json", json]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = Results::read(&file).unwrap();
    assert!(results.ceilings.adapter_products_per_second > Some(0.0));
    let names: Vec<&str> = results.entries.iter().map(|entry| entry.name.as_str()).collect();
    for form in ["u64 limbs", "u32 limbs"] {
        assert!(names.iter().any(|name| name.contains(form)), "{names:?}");
    }
}
