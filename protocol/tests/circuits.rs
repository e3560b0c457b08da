//! The table of circuits: each row agrees with the others.

use rollmill_algebra::pair::PAIR_INPUTS;
use rollmill_protocol::Circuit;
use rollmill_protocol::circuit::{Family, Verifier};

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
}

/// The pair is what a parent folds: it is last everywhere.
#[test]
fn every_statement_ends_in_a_pair() {
    for circuit in Circuit::ALL {
        assert_eq!(circuit.pair_at() + PAIR_INPUTS, circuit.n_public(), "{circuit}");
    }
}
