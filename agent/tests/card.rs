//! Sensors of a card, with a fake management library. A process finds its library at its start, so each
//! case is a process of its own.

use std::path::Path;
use std::process::Command;

use rollmill_agent::card;
use rollmill_agent::nvml::{Card, Reading};
use rollmill_agent_testing as testing;

const CASE: &str = "ROLLMILL_TEST_CASE";

/// What the fake reports.
const FULL: Reading = Reading {
    temperature_celsius: Some(61.0),
    power_watts: Some(312.5),
    power_limit_watts: Some(700.0),
    energy_joules: Some(1234.5),
    utilization: Some(0.97),
    memory_utilization: Some(0.4),
    memory_used_bytes: Some((2u64 << 30) as f64),
    memory_total_bytes: Some((80u64 << 30) as f64),
    sm_clock_hertz: Some(1.98e9),
    memory_clock_hertz: Some(2.619e9),
    throttle_reasons: Some(5),
    ecc_corrected: Some(3.0),
    ecc_uncorrected: Some(0.0),
    xid_errors: Some(2.0),
};

/// Opens the card of a UUID in a process that finds libraries in `folder`.
fn case(uuid: &str, folder: &Path, faults: &str) -> String {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--ignored", "--exact", "card::one_case", "--nocapture"])
        .env("LD_LIBRARY_PATH", folder)
        .env("ROLLMILL_FAKE_NVML", faults)
        .env(CASE, uuid)
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{uuid} with {faults}: {printed}\n{errors}");
    let found = printed.lines().find_map(|line| line.split_once("outcome: "));
    found.unwrap_or_else(|| panic!("{uuid} with {faults}: {printed}\n{errors}")).1.to_owned()
}

#[test]
#[ignore = "not a test: the process that each case of the tests starts"]
fn one_case() {
    let uuid = std::env::var(CASE).expect("a UUID");
    let registry = rollmill_service::prometheus::Registry::new();
    card::export(&registry, &uuid).expect("no failure of its own");
    let families = registry.gather().len();
    let printed = match Card::open(&uuid) {
        Err(error) => error.to_string(),
        Ok(card) => {
            let driver = card.driver().unwrap_or_default();
            // Another user of the library that ends must not end this one's readings.
            drop(Card::open(&uuid));
            format!("{:?}, driver {driver}", card.read())
        }
    };
    println!("outcome: {printed}, {families} metrics");
}

#[test]
fn a_card_is_found_by_its_uuid_and_reports_every_reading() {
    let printed = |reading: Reading| format!("{reading:?}, driver 580.95.05, 12 metrics");
    let library = testing::management("libnvidia-ml.so.1", &[]);
    assert_eq!(case(testing::UUID, library.path(), ""), printed(FULL));
    // Part of a card, which has another prefix here.
    assert_eq!(case(testing::UUID, library.path(), "part=1"), printed(FULL));
    // An older driver's name of a function, and the other name of the file.
    let old = testing::management("libnvidia-ml.so", &["-DOLD"]);
    assert_eq!(case(testing::UUID, old.path(), ""), printed(FULL));
}

#[test]
fn what_is_missing_or_fails_leaves_out_its_own_reading_alone() {
    let printed = |reading: Reading, metrics: usize| {
        format!("{reading:?}, driver 580.95.05, {metrics} metrics")
    };
    let library = testing::management("libnvidia-ml.so.1", &[]);
    for (faults, reading, metrics) in [
        ("power=3", Reading { power_watts: None, ..FULL }, 11),
        ("clock=999", Reading { sm_clock_hertz: None, memory_clock_hertz: None, ..FULL }, 11),
        ("ecc=3", Reading { ecc_corrected: None, ecc_uncorrected: None, ..FULL }, 11),
        ("throttle=3", Reading { throttle_reasons: None, ..FULL }, 11),
        ("memory=15", Reading { memory_used_bytes: None, memory_total_bytes: None, ..FULL }, 10),
        ("events=3", Reading { xid_errors: None, ..FULL }, 11),
        ("register=3", Reading { xid_errors: None, ..FULL }, 11),
    ] {
        assert_eq!(
            case(testing::UUID, library.path(), faults),
            printed(reading, metrics),
            "{faults}"
        );
    }
    let poor = testing::management("libnvidia-ml.so.1", &["-DPOOR"]);
    let without = Reading { power_watts: None, ..FULL };
    assert_eq!(case(testing::UUID, poor.path(), ""), printed(without, 11));
}

#[test]
fn errors_of_a_card_are_counted_as_they_come() {
    let library = testing::management("libnvidia-ml.so.1", &[]);
    for (faults, reading) in [
        ("ecc_uncorrected=2", Reading { ecc_uncorrected: Some(2.0), ..FULL }),
        ("xids=1", Reading { xid_errors: Some(3.0), ..FULL }),
    ] {
        let printed = format!("{reading:?}, driver 580.95.05, 12 metrics");
        assert_eq!(case(testing::UUID, library.path(), faults), printed, "{faults}");
    }
}

#[test]
fn without_the_library_or_the_card_there_are_no_metrics_and_a_reason() {
    let library = testing::management("libnvidia-ml.so.1", &[]);
    let hollow = testing::management("libnvidia-ml.so.1", &["-DHOLLOW"]);
    let empty = tempfile::tempdir().unwrap();
    let other = "GPU-10010203-0405-0607-0809-0a0b0c0d0e0f";
    for (uuid, folder, faults, wanted) in [
        (other, &library, "", &["AGT-063", other, "error 6"][..]),
        (testing::UUID, &library, "find=15", &["AGT-063", "error 15"]),
        (testing::UUID, &library, "init=9", &["AGT-062", "error 9"]),
        (testing::UUID, &hollow, "", &["AGT-061", "nvmlDeviceGetHandleByUUID"]),
        // A machine with a driver has the real one, which does not know the card either.
        (testing::UUID, &empty, "", &["AGT-06"]),
    ] {
        let printed = case(uuid, folder.path(), faults);
        assert!(printed.ends_with(", 0 metrics"), "{faults}: {printed}");
        for part in wanted {
            assert!(printed.contains(part), "{faults}: {printed}");
        }
    }
}
