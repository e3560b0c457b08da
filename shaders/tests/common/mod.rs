//! The software adapter that every test names explicitly, so that a test never runs on a card by chance. Only
//! `ROLLMILL_ADAPTER` names another: see `benches/gpu.sh`.

#![allow(dead_code, reason = "each test program uses a part")]

use rollmill_shaders::{AdapterChoice, LimbForm, Options, WgpuDevice};

pub(crate) const FORMS: [LimbForm; 2] = [LimbForm::U64, LimbForm::U32];

pub(crate) fn options(limbs: LimbForm) -> Options {
    // Cannot fail: anything but an index or a keyword is a part of a name.
    let named = std::env::var("ROLLMILL_ADAPTER").ok().and_then(|name| name.parse().ok());
    let adapter = named.unwrap_or(AdapterChoice::Software);
    Options { limbs: Some(limbs), host_threads: 2, ..Options::new(adapter) }
}

/// Opens the software adapter. A machine without one fails here, with the reason.
pub(crate) fn open(options: &Options) -> WgpuDevice {
    WgpuDevice::open(options).unwrap_or_else(|error| panic!("{error}"))
}
