//! The device obeys every law, with either form of limbs, in one buffer and in many.

mod common;

use rollmill_algebra::conformance;
use rollmill_shaders::{LimbForm, Options};

#[test]
fn u64_limbs_obey_every_law() {
    conformance::run_all(&common::open(&common::options(LimbForm::U64)), 1);
}

#[test]
fn u32_limbs_obey_every_law() {
    conformance::run_all(&common::open(&common::options(LimbForm::U32)), 2);
}

#[test]
fn arrays_in_many_buffers_obey_every_law() {
    let options = Options { chunk_elements: Some(256), ..common::options(LimbForm::U64) };
    conformance::run_all(&common::open(&options), 3);
}
