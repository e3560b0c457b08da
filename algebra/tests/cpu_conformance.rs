//! The CPU device obeys every law, on each of its paths, with one thread and with several.
//!
//! A path whose instructions the processor lacks cannot be tested. `cargo xtask test` says which those are, and
//! `ROLLMILL_TEST_CPU_PATHS` names those that must be there, such as `portable,adx,avx2,ifma`.

use rollmill_algebra::{CpuDevice, CpuPath, conformance};

/// Checks the laws on this path, if the processor has it.
fn check_laws(path: CpuPath, threads: usize, seed: u64) {
    match CpuDevice::on_path(path, threads) {
        Some(device) => conformance::run_all(&device, seed),
        None => eprintln!("not run: this processor lacks the instructions of {path}"),
    }
}

#[test]
fn the_portable_path_obeys_every_law_on_one_thread() {
    check_laws(CpuPath::Portable, 1, 1);
}

#[test]
fn the_portable_path_obeys_every_law_on_many_threads() {
    check_laws(CpuPath::Portable, 5, 2);
}

#[test]
fn the_adx_path_obeys_every_law_on_one_thread() {
    check_laws(CpuPath::Adx, 1, 3);
}

#[test]
fn the_adx_path_obeys_every_law_on_many_threads() {
    check_laws(CpuPath::Adx, 5, 4);
}

#[test]
fn the_avx2_path_obeys_every_law_on_one_thread() {
    check_laws(CpuPath::Avx2, 1, 7);
}

#[test]
fn the_avx2_path_obeys_every_law_on_many_threads() {
    check_laws(CpuPath::Avx2, 5, 8);
}

#[test]
fn the_ifma_path_obeys_every_law_on_one_thread() {
    check_laws(CpuPath::Ifma, 1, 5);
}

#[test]
fn the_ifma_path_obeys_every_law_on_many_threads() {
    check_laws(CpuPath::Ifma, 5, 6);
}

#[test]
fn a_device_takes_the_fastest_path_of_the_processor() {
    let available: Vec<CpuPath> =
        CpuPath::ALL.into_iter().filter(|path| path.is_available()).collect();
    assert_eq!(available[0], CpuPath::Portable);
    let mut automatic = available.iter().rev().filter(|path| path.is_automatic());
    assert_eq!(Some(&CpuDevice::new(1).path()), automatic.next());
    let scalar = if CpuPath::Adx.is_available() { CpuPath::Adx } else { CpuPath::Portable };
    assert_eq!(CpuDevice::scalar(1).path(), scalar);
    assert_eq!(CpuDevice::portable(1).path(), CpuPath::Portable);
    for path in CpuPath::ALL {
        let device = CpuDevice::on_path(path, 1);
        assert_eq!(device.map(|device| device.path()), path.is_available().then_some(path));
    }
}

/// A run that must test every path fails on a processor that lacks one, instead of testing less.
#[test]
fn the_processor_has_the_paths_that_the_run_must_test() {
    let wanted = std::env::var("ROLLMILL_TEST_CPU_PATHS").unwrap_or_default();
    for name in wanted.split(',').filter(|name| !name.is_empty()) {
        let path = CpuPath::ALL.into_iter().find(|path| path.name() == name);
        let path = path.unwrap_or_else(|| panic!("ROLLMILL_TEST_CPU_PATHS: no path {name}"));
        assert!(path.is_available(), "this processor lacks the instructions of {path}");
    }
}
