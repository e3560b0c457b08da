//! The adapter under test: the software adapter, or the one that `ROLLMILL_ADAPTER` names by its index in
//! `rollmill-agent devices` or by a part of its name. So a test never runs on a GPU by chance.
//!
//! An adapter that is missing fails every test. With `REQUIRE_GPU=1` so does a software adapter: a run that is meant
//! for a GPU cannot pass without one.

#![allow(dead_code, reason = "each test program uses a part")]

use rollmill_shaders::{AdapterChoice, LimbForm, Options, WgpuDevice};

const FORMS: [LimbForm; 2] = [LimbForm::U64, LimbForm::U32];

/// The adapter that the environment names.
fn named() -> Option<AdapterChoice> {
    let name = std::env::var("ROLLMILL_ADAPTER").ok().filter(|name| !name.is_empty())?;
    // Cannot fail: anything but an index or a keyword is a part of a name.
    name.parse().ok()
}

/// Whether the adapter under test has `form`. The software adapter must have every form; the tests of a form that a
/// GPU lacks print that they are left out.
pub(crate) fn has(form: LimbForm) -> bool {
    let Some(adapter) = named() else { return true };
    let known = open(&Options::new(adapter));
    let has = form == LimbForm::U32 || known.adapter().int64;
    if !has {
        println!("left out: {} has no 64-bit integers in shaders", known.adapter());
    }
    has
}

/// The forms of limbs that the adapter under test has.
pub(crate) fn forms() -> Vec<LimbForm> {
    FORMS.into_iter().filter(|form| has(*form)).collect()
}

/// The adapter under test, with its best form of limbs.
pub(crate) fn any_form() -> Options {
    Options { host_threads: 2, ..Options::new(named().unwrap_or(AdapterChoice::Software)) }
}

pub(crate) fn options(limbs: LimbForm) -> Options {
    Options { limbs: Some(limbs), ..any_form() }
}

/// Opens the adapter under test. Without it the test fails here, with the reason.
pub(crate) fn open(options: &Options) -> WgpuDevice {
    let device = WgpuDevice::open(options).unwrap_or_else(|error| panic!("{error}"));
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
    let adapter = device.adapter();
    assert!(!(required && adapter.software), "REQUIRE_GPU=1, but {adapter} computes on the CPU");
    device
}
