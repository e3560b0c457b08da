//! What goes wrong is one error each, with one line, and nothing is computed elsewhere instead. A trap
//! of ICICLE's that is not avoided ends the test's process.

mod common;

use ark_ec::AffineRepr;
use rollmill_algebra::device::{Coeff, Column, DeviceError, Memory, Msm, Ntt};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_icicle::{IcicleDevice, IcicleError, Options, Place, devices};

use common::{Fake, built, file};

fn line(error: &impl ToString) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

fn values(n: u64) -> Vec<Fr> {
    (1..=n).map(Fr::from).collect()
}

fn points(n: usize) -> Vec<G1Affine> {
    vec![G1Affine::generator(); n]
}

fn transform(device: &IcicleDevice, log_n: u32) -> Result<(), DeviceError> {
    let column = Column::<_, Coeff>::new(device.upload(&values(1 << log_n))?);
    device.to_lagrange(&[&column]).map(drop)
}

fn commit(device: &IcicleDevice, n: usize) -> Result<(), DeviceError> {
    let bases = device.register_bases(&points(n))?;
    device.commit(&bases, &[&device.upload(&values(n as u64))?]).map(drop)
}

#[test]
fn an_absent_library_is_named_with_the_folder_that_was_looked_in() {
    let folder = tempfile::TempDir::new().unwrap();
    let error = devices(Some(folder.path())).unwrap_err();
    let text = line(&error);
    assert!(text.starts_with("ICI-001"), "{text}");
    for part in [&file("icicle_device"), folder.path().to_str().unwrap(), "ROLLMILL_ICICLE_DIR"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Some of the libraries are none of them.
    let fake = Fake::new(&[]);
    std::fs::remove_file(fake.path(&file("icicle_curve_bn254"))).unwrap();
    let text = line(&fake.try_open("0").unwrap_err());
    assert!(text.starts_with("ICI-001") && text.contains("icicle_curve_bn254"), "{text}");
}

#[test]
fn a_file_that_is_no_library_is_rejected() {
    let fake = Fake::new(&[]);
    std::fs::write(fake.path("copy"), "not a library").unwrap();
    let text = line(&fake.try_open("0").unwrap_err());
    assert!(text.starts_with("ICI-001"), "{text}");
}

#[test]
fn a_library_without_a_function_is_rejected_with_both_names() {
    for (name, symbol) in [
        ("icicle_device", "icicle_is_device_available"),
        ("icicle_field_bn254", "bn254_ntt"),
        ("icicle_curve_bn254", "bn254_msm"),
    ] {
        let fake = Fake::new(&[]);
        let path = fake.path(&file(name));
        std::fs::remove_file(&path).unwrap();
        std::fs::copy(built("rollmill_hollow_icicle"), path).unwrap();
        let error = fake.try_open("0").unwrap_err();
        let expected = IcicleError::Symbol { library: file(name), symbol: symbol.to_owned() };
        assert_eq!(error, expected);
        assert!(line(&error).starts_with("ICI-002"), "{error}");
    }
}

/// Setting such a device would end the process.
#[test]
fn a_device_that_is_not_registered_is_rejected_with_those_that_are() {
    let fake = Fake::new(&["devices=CPU"]);
    for asked in ["CUDA", "CUDA:0", "1", "CPU:1", "", "no such device"] {
        let text = line(&fake.try_open(asked).unwrap_err());
        assert!(text.starts_with("ICI-003") && text.contains("CPU:0"), "{text}");
        assert!(text.contains(&format!("`{asked}`")), "{text}");
    }
    fake.behave(&["devices="]);
    let text = line(&fake.try_open("0").unwrap_err());
    assert!(text.starts_with("ICI-003") && text.contains("none"), "{text}");
}

#[test]
fn a_device_that_is_no_longer_registered_is_not_set() {
    let fake = Fake::new(&[]);
    let device = fake.open();
    let bases = device.register_bases(&points(4)).unwrap();
    fake.behave(&["devices=CUDA"]);
    for outcome in [commit(&device, 4), transform(&device, 4)] {
        let text = line(&outcome.unwrap_err());
        assert!(text.starts_with("DEV-004") && text.contains("ICI-004"), "{text}");
        assert!(text.contains("icicle_is_device_available"), "{text}");
    }
    // Its memory is left alone rather than given to another device.
    drop(bases);
}

#[test]
fn devices_are_listed_accelerators_first_and_opened_by_number_or_name() {
    let fake = Fake::new(&["devices=CPU,CUDA", "count=2"]);
    let found = devices(Some(fake.folder.path())).unwrap();
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["CUDA:0", "CUDA:1", "CPU:0", "CPU:1"]);
    for (asked, name) in [("0", "CUDA:0"), ("2", "CPU:0"), ("cuda:1", "CUDA:1"), ("CPU", "CPU:0")] {
        assert_eq!(fake.try_open(asked).unwrap().id().to_string(), name);
    }
    // A kind whose devices do not respond has none.
    fake.behave(&["fail icicle_set_device=13"]);
    assert_eq!(devices(Some(fake.folder.path())), Ok(Vec::new()));
}

#[test]
fn backends_beside_the_libraries_are_loaded() {
    let fake = Fake::new(&[]);
    std::fs::create_dir(fake.path("backend")).unwrap();
    drop(fake.open());
    assert!(fake.path("backend/asked").exists());
}

#[test]
fn a_device_that_computes_wrong_values_is_not_opened() {
    for (behaviour, part) in [
        ("wrong msm from=1", "an MSM of 200"),
        ("off the curve", "not on the curve"),
        ("wrong ntt", "a transform of 4096"),
        ("no cosets", "a coset"),
        ("large value", "not below the modulus"),
    ] {
        let error = Fake::new(&[behaviour]).try_open("0").unwrap_err();
        assert!(matches!(error, IcicleError::Wrong { .. }), "{behaviour}: {error}");
        let text = line(&error);
        assert!(text.starts_with("ICI-005") && text.contains(part), "{behaviour}: {text}");
    }
}

/// The first sum over a set of bases is compared, for any length.
#[test]
fn a_first_msm_that_is_wrong_is_rejected_and_so_is_everything_after_it() {
    let fake = Fake::new(&["wrong msm from=300"]);
    let device = fake.open();
    assert_eq!(commit(&device, 299), Ok(()));
    let bases = device.register_bases(&points(300)).unwrap();
    // Nothing but zeros is no test.
    let zeros = device.upload(&vec![Fr::from(0u64); 299]).unwrap();
    assert_eq!(device.commit(&bases, &[&zeros]), Ok(vec![G1Affine::identity()]));
    let column = device.upload(&values(300)).unwrap();
    let error = device.commit(&bases, &[&column]).unwrap_err();
    let text = line(&error);
    assert!(matches!(error, DeviceError::Failed { .. }), "{text}");
    assert!(text.contains("ICI-005") && text.contains("an MSM of 300"), "{text}");
    for outcome in [commit(&device, 4), transform(&device, 4)] {
        assert!(line(&outcome.unwrap_err()).contains("ICI-005"));
    }
}

#[test]
fn a_call_that_fails_is_named_with_its_code() {
    for (call, code, words) in [
        ("bn254_msm", 14, "unknown error"),
        ("bn254_ntt", 11, "invalid argument"),
        ("bn254_ntt_init_domain", 10, "not implemented"),
        ("bn254_ntt_release_domain", 1, "invalid device"),
        ("icicle_copy_to_device", 6, "copy failed"),
        ("icicle_set_device", 13, "licence"),
    ] {
        let fake = Fake::new(&[]);
        let device = fake.open();
        fake.behave(&[&format!("fail {call}={code}")]);
        let outcomes = [commit(&device, 4), transform(&device, 13)];
        let failed: Vec<DeviceError> = outcomes.into_iter().filter_map(Result::err).collect();
        assert!(!failed.is_empty(), "{call}");
        for error in &failed {
            let text = line(error);
            assert!(text.starts_with("DEV-004") && text.contains("ICI-004"), "{text}");
            for part in [call, &format!("code {code}"), words] {
                assert!(text.contains(part), "{text}");
            }
        }
        // A failed call is not an arithmetic error of the device, so the device continues.
        fake.behave(&[]);
        assert_eq!((commit(&device, 4), transform(&device, 13)), (Ok(()), Ok(())), "{call}");
    }
}

#[test]
fn a_device_that_fails_its_test_is_not_opened() {
    let text = line(&Fake::new(&["fail bn254_msm=14"]).try_open("0").unwrap_err());
    assert!(text.starts_with("ICI-004") && text.contains("code 14"), "{text}");
}

#[test]
fn more_memory_than_there_is_is_rejected_with_the_numbers_and_the_device_goes_on() {
    let limit = 1 << 16;
    let fake = Fake::new(&[&format!("memory={limit}")]);
    let device = fake.open();
    let error = device.register_bases(&points(2000)).unwrap_err();
    let DeviceError::Memory { needed_bytes, free_bytes, .. } = error else { panic!("{error}") };
    assert_eq!((needed_bytes, free_bytes), (64 * 2000, limit));
    // Each takes more than half.
    for _ in 0..3 {
        assert_eq!(commit(&device, 600), Ok(()));
    }
    // A copy that fails releases what it was to fill.
    fake.behave(&[&format!("memory={limit}"), "fail icicle_copy_to_device=6"]);
    for _ in 0..3 {
        assert!(matches!(device.register_bases(&points(600)), Err(DeviceError::Failed { .. })));
    }
    fake.behave(&[&format!("memory={limit}"), "fail bn254_ntt=2"]);
    let error = transform(&device, 4).unwrap_err();
    assert!(matches!(error, DeviceError::Memory { operation: "to_lagrange", .. }), "{error}");
}

#[test]
fn the_name_and_the_report_say_what_runs_where() {
    let fake = Fake::new(&["devices=CUDA,CPU"]);
    let device = fake.open();
    let name = device.name();
    assert!(name.starts_with("hybrid(icicle(CUDA:0)+cpu-") && name.ends_with(')'), "{name}");
    let in_icicle: Vec<&str> = device
        .report()
        .into_iter()
        .filter_map(|(operation, place)| (place == Place::Icicle).then_some(operation))
        .collect();
    assert_eq!(in_icicle, ["commit", "transforms"]);
    // An option is an option: the folder alone decides.
    let nowhere = Options { folder: Some("/nonexistent".into()), ..Options::default() };
    assert!(matches!(IcicleDevice::open("0", &nowhere), Err(IcicleError::NotFound { .. })));
}
