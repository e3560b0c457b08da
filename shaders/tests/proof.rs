//! A whole proof on the adapter is, byte for byte, the CPU's.

mod common;

use rollmill_plonk::conformance::proof_is_the_cpus;
use rollmill_shaders::Options;

#[test]
fn keys_and_proofs_are_byte_equal_to_the_cpus() {
    for form in common::forms() {
        proof_is_the_cpus(&common::open(&common::options(form)));
    }
    let many_buffers = Options { chunk_elements: Some(256), ..common::any_form() };
    proof_is_the_cpus(&common::open(&many_buffers));
}
