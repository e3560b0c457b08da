//! The table of circuits: each row agrees with the others.

use rollmill_algebra::pair::PAIR_INPUTS;
use rollmill_protocol::circuit::{Family, Verifier};
use rollmill_protocol::private::KernelInputs;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_tree};
use rollmill_protocol::{Circuit, ClientInputs, Fr};

/// Goal: what a parent verifies has one shape, whichever of the accepted circuits made it; and no
/// proof that L1 verifies, whose transcript no circuit knows, is anybody's child.
#[test]
fn circuits_that_one_parent_accepts_state_the_same_and_are_verified_by_it() {
    for parent in Circuit::ALL {
        let children = parent.accepts();
        assert_eq!(parent.child_count() > 0, !children.is_empty(), "{parent}");
        for child in children {
            assert_eq!(child.n_public(), children[0].n_public(), "{parent}: {child}");
            assert_eq!(child.pair_at(), children[0].pair_at(), "{parent}: {child}");
            assert_eq!(child.verifier(), Verifier::Circuit, "{parent}: {child}");
        }
    }
    let is_child = |circuit| Circuit::ALL.iter().any(|parent| parent.accepts().contains(circuit));
    let is_root = |circuit: &Circuit| circuit.verifier() == Verifier::L1;
    for circuit in &Circuit::ALL {
        assert!(is_child(circuit) != is_root(circuit), "{circuit} has no verifier, or two");
    }
}

#[test]
fn a_circuit_is_known_by_its_name_and_by_its_family_and_number_of_children() {
    for circuit in Circuit::ALL {
        assert_eq!(Circuit::from_name(circuit.name()), Some(circuit));
        assert_eq!(Circuit::variant(circuit.family(), circuit.child_count()), Some(circuit));
    }
    assert_eq!(Circuit::from_name("tx"), None);
    assert_eq!(Circuit::variant(Family::EpochRoot, 0), None);
    assert_eq!(Circuit::variant(Family::Tail, 0), None);
}

/// Goal: the kernel's circuits have the places that the specification reserved for them, and state what their parents
/// read: the tail what the built-in client states.
#[test]
fn the_kernel_has_the_roles_that_were_reserved_for_it() {
    let kernel = [
        (Circuit::PrivateInit, 9, "private_init", KernelInputs::FIELDS),
        (Circuit::PrivateInner, 10, "private_inner", KernelInputs::FIELDS),
        (Circuit::PrivateTail, 11, "private_tail", ClientInputs::FIELDS),
        (Circuit::PrivateInit2, 12, "private_init2", KernelInputs::FIELDS),
    ];
    for (circuit, role, name, n_public) in kernel {
        assert_eq!((circuit.role(), circuit.name()), (role, name));
        assert_eq!(circuit.n_public(), n_public, "{name}");
        assert!(circuit.role() < 1 << VK_TREE_HEIGHT, "{name}");
    }
    assert_eq!((Circuit::PrivateInner.n_public(), Circuit::PrivateInner.pair_at()), (13, 3));
    assert_eq!(Circuit::PrivateTail.pair_at(), Circuit::Client.pair_at());
}

/// Goal: agents prove the circuits of an epoch and no other. Wallets prove what TxBase accepts, and what that accepts.
#[test]
fn wallets_prove_the_circuits_that_are_no_jobs() {
    for circuit in Circuit::ALL {
        let of_wallets = matches!(
            circuit.family(),
            Family::Client | Family::Kernel | Family::Tail | Family::KernelStart
        );
        assert_eq!(circuit.is_job(), !of_wallets, "{circuit}");
        for child in circuit.accepts() {
            let is_boundary = circuit == Circuit::TxBase;
            assert_eq!(circuit.is_job() && !is_boundary, child.is_job(), "{circuit}: {child}");
        }
    }
}

/// Goal: a leaf of one role is that of no other, nor of another key, size, number of rows or version.
#[test]
fn leaves_differ_by_each_of_their_words() {
    let leaf = VkLeaf {
        circuit: Circuit::PrivateInit,
        vk_digest: Fr::from(7u64),
        log_n: 17,
        n_public_inputs: 13,
        charged_rows: 9,
        protocol_version: 2,
    };
    let others = [
        VkLeaf { circuit: Circuit::PrivateInner, ..leaf },
        VkLeaf { vk_digest: Fr::from(8u64), ..leaf },
        VkLeaf { log_n: 16, ..leaf },
        VkLeaf { n_public_inputs: 16, ..leaf },
        VkLeaf { charged_rows: 0, ..leaf },
        VkLeaf { protocol_version: 3, ..leaf },
    ];
    assert!(others.iter().all(|other| other.hash() != leaf.hash()));
    let root = |leaf| vk_tree(&[leaf])[VK_TREE_HEIGHT][0];
    assert!(others.iter().all(|other| root(*other) != root(leaf)));
}

/// The pair is what a parent folds: it is last everywhere.
#[test]
fn every_statement_ends_in_a_pair() {
    for circuit in Circuit::ALL {
        assert_eq!(circuit.pair_at() + PAIR_INPUTS, circuit.n_public(), "{circuit}");
    }
}
