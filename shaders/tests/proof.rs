//! A whole proof on the adapter is, byte for byte, the CPU's.

mod common;

use rollmill_plonk::conformance::{Ready, circuit, proof_is_the_cpus};
use rollmill_shaders::{Options, Rows};

#[test]
fn keys_and_proofs_are_byte_equal_to_the_cpus() {
    for form in common::forms() {
        proof_is_the_cpus(&common::open(&common::options(form)));
    }
    let many_buffers = Options { chunk_elements: Some(256), ..common::any_form() };
    proof_is_the_cpus(&common::open(&many_buffers));
}

/// Goal: the two other ways to run the quotient make the same proof: on the host, which is the twin, and by kernels
/// that are written for it.
#[test]
fn proofs_are_byte_equal_wherever_the_quotient_is_computed() {
    for rows in [Rows::Host, Rows::Generated] {
        proof_is_the_cpus(&common::open(&Options { rows, ..common::any_form() }));
    }
}

/// Goal: a proof leaves its columns on the adapter; the points and the evaluations that it sends are not counted. With
/// row kernels on the host it copies each column that the quotient reads, on each coset.
#[test]
fn a_proof_copies_no_column_from_the_adapter() {
    let copied = |rows: Rows| {
        let device = common::open(&Options { rows, ..common::any_form() });
        let (layout, witness) = circuit(8, None);
        let n = 1 << layout.shape.log_n;
        let ready = Ready::new(&device, (layout, witness), 0);
        let before = device.downloaded_elements();
        ready.prove().expect("a proof");
        (device.downloaded_elements() - before) / n
    };
    assert_eq!(copied(Rows::Interpreted), 0);
    let columns = copied(Rows::Host);
    assert!(columns >= 5 * 18, "{columns} columns");
}
