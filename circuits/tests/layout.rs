//! A circuit's rows are the same whatever its witness: else its key would serve one witness only.

use rollmill_circuits::circuit::{
    cell_bits, contracts, dimensions, log_n, size, transcript, warm_order,
};
use rollmill_circuits::jobs::dummy;
use rollmill_circuits::registry::{layout, report};
use rollmill_plonk::key::layout_digest;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::{Circuit, EpochPlan};

use crate::common::golden;

#[test]
fn every_witness_of_a_circuit_has_the_layout_of_the_recorded_keys() {
    let keys = golden::keys();
    for circuit in Circuit::ALL {
        let of_dummy = layout(circuit).unwrap();
        let digest = layout_digest(&of_dummy.shape, &of_dummy.fixed_columns());
        assert_eq!(digest, keys.key(circuit).layout_digest, "{circuit}: not what its key is for");
        // `private_whole.rs` compares the rows of the kernel's circuits.
        if golden::circuits().all(|known| known != circuit) {
            continue;
        }
        let (of_real, _) = golden::whole(&keys, circuit).finish(Some(log_n(circuit))).unwrap();
        assert_eq!(of_dummy.rows_used, of_real.rows_used, "{circuit}");
        for row in 0..of_dummy.rows_used {
            assert_eq!(of_dummy.fixed_row(row), of_real.fixed_row(row), "{circuit} row {row}");
        }
        let (dummy, real) = (of_dummy.sigma(), of_real.sigma());
        for column in 0..4 {
            let differs = (0..dummy[0].len()).find(|row| dummy[column][*row] != real[column][*row]);
            assert_eq!(differs, None, "{circuit}: ties of column {column}");
        }
    }
}

#[test]
fn every_circuit_fits_its_size_and_states_its_numbers() {
    for circuit in Circuit::ALL {
        let report = report(circuit).unwrap();
        assert_eq!(report.log_n, log_n(circuit), "{circuit}");
        assert_eq!(report.public_inputs as usize, circuit.n_public());
        // Rows to spare. The running hash of messages was chosen under this condition (decision 26).
        let spare = if circuit == Circuit::BlockRoot0 { 2_000 } else { 5_000 };
        assert!(report.rows + spare <= 1 << report.log_n, "{circuit}: {} rows", report.rows);
        assert!(cell_bits(circuit) == 16 || circuit.child_count() == 0, "{circuit}");
        let on_l1 = circuit.family() == Family::EpochRoot;
        assert_eq!(transcript(circuit) == TranscriptKind::Keccak, on_l1);
    }
}

/// No proof costs more than its circuit's rows and range table make necessary.
#[test]
fn every_circuit_has_the_least_number_of_rows_that_it_fits_in() {
    for circuit in Circuit::ALL {
        let least = dummy(circuit).layout(None).unwrap().shape.log_n;
        assert_eq!(log_n(circuit), least, "{circuit}");
    }
}

/// What the in-circuit verifier has as a constant for all children of a parent, and what it chooses among: more than
/// one size is worth rows only where blocks without transactions are accepted, or transactions of the built-in client.
#[test]
fn circuits_that_one_parent_accepts_differ_in_role_and_size_alone() {
    for parent in Circuit::ALL {
        let Some(first) = parent.accepts().first() else { continue };
        let mut sizes = Vec::new();
        for child in parent.accepts() {
            assert_eq!(child.n_public(), first.n_public(), "{parent}: {child}");
            assert_eq!(child.pair_at(), first.pair_at(), "{parent}: {child}");
            assert_eq!(transcript(*child), transcript(*first), "{parent}: {child}");
            sizes.push(dimensions(*child));
        }
        sizes.sort_unstable();
        sizes.dedup();
        let is_small = |child: &Circuit| matches!(child, Circuit::BlockRoot0 | Circuit::Client);
        let expected = if parent.accepts().iter().any(is_small) { 2 } else { 1 };
        assert_eq!(sizes.len(), expected, "{parent}: {sizes:?}");
    }
}

/// The Rollup takes the verifier of one block first, then that of more.
#[test]
fn the_contracts_of_the_roots_are_named_after_them() {
    let names = contracts().into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names, ["EpochRoot1Verifier", "EpochRoot2Verifier"]);
}

/// Goal: exactly what an epoch has jobs for is loaded, and one circuit after the other.
#[test]
fn keys_are_loaded_for_every_circuit_that_an_epoch_plans() {
    let plans = [vec![1], vec![0, 1, 3, 4]].map(|counts| EpochPlan::new(&counts).unwrap());
    let order = warm_order();
    for circuit in Circuit::ALL {
        let planned = plans.iter().any(|plan| plan.count(circuit) > 0);
        assert_eq!(order.contains(&circuit), planned, "{circuit}");
        assert_eq!(planned, circuit.is_job(), "{circuit}");
    }
    let ranks: Vec<_> = order.iter().map(|circuit| size(*circuit).warmed).collect();
    assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
    assert_eq!(order[0], Circuit::TxBase);
    assert_eq!(order[7], Circuit::EpochRoot1);
}
