//! The examples do what they describe: new users start from them.

#[path = "../examples/cubic.rs"]
#[allow(dead_code, unreachable_pub)] // The example's own `main`, and what it shows.
mod cubic;
#[path = "../examples/device.rs"]
#[allow(dead_code, unreachable_pub)] // The example's own `main`, and what it shows.
mod device;
#[path = "../examples/hybrid.rs"]
#[allow(dead_code, unreachable_pub)] // The example's own `main`, and what it shows.
mod hybrid;

use std::path::Path;
use std::process::Command;

use rollmill_algebra::Fr;

/// Goal: the project that the example writes verifies the proof in an EVM and rejects two others.
#[test]
fn the_cubic_example_is_proven_and_verified_on_chain() {
    let out = tempfile::tempdir().expect("a folder");
    let proven = cubic::prove_cubic(3, [1; 32]).expect("proven");
    assert_eq!(proven.public, [Fr::from(35u64)]);
    cubic::write_project(&proven, out.path()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/forge.js");
    let run = Command::new("node").arg(script).args(["test", "--root"]).arg(out.path()).output();
    let run = run.expect("node is not installed: run `make setup`");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(
        text.contains("3 passed; 0 failed"),
        "{text}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// Goal: the device with buffers of its own obeys the laws and proves as the CPU does.
#[test]
fn the_slow_device_obeys_every_law_and_proves_as_the_cpu_does() {
    rollmill_algebra::conformance::run_all(&device::SlowDevice, 1);
    rollmill_plonk::conformance::proof_is_the_cpus(&device::SlowDevice);
}

/// Goal: so does the one that adds up by itself and leaves the rest to the CPU device.
#[test]
fn the_hybrid_device_obeys_every_law_and_proves_as_the_cpu_does() {
    let lines = include_str!("../examples/hybrid.rs").lines().count();
    assert!(
        lines <= 110,
        "docs/book/library.md promises a device in about 100 lines, it has {lines}"
    );
    let device = hybrid::HybridDevice::default();
    rollmill_algebra::conformance::run_all(&device, 1);
    rollmill_plonk::conformance::proof_is_the_cpus(&device);
}
