//! Changed witness cells of every circuit, whole: its own part and the verifier of its children.
//!
//! The circuits' own parts are tried cell by cell in `client.rs`, `tx.rs` and `blocks.rs`, the verifier's
//! gadgets in `curve.rs`. Here it is the network's nine circuits as they are proven, over the golden epoch, and a
//! sample of their cells: `ROLLMILL_MUTATION_STEP` makes it finer, `ROLLMILL_SEED` takes another.

use std::collections::HashMap;

use rollmill_algebra::Fr;
use rollmill_circuits::circuit::log_n;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::layout::FixedRow;

use crate::common::golden;
use crate::common::mutate::{Free, Mutator};

fn number(variable: &str, default: usize) -> usize {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// Goal: no cell of a circuit is free but those that are listed, with their reasons, in
/// `docs/book/soundness.md`. Method: change one variable in all its cells, or one cell alone, and look
/// at the gates, ties and ROM reads that see it. `Mutator` panics on a free cell without a reason.
#[test]
fn changed_cells_of_every_whole_circuit_are_rejected() {
    let set = golden::keys();
    let step = number("ROLLMILL_MUTATION_STEP", 31);
    let start = number("ROLLMILL_SEED", 5) % step;
    println!("seed {start}");
    for circuit in golden::circuits() {
        let (layout, witness) = golden::whole(&set, circuit).finish(Some(log_n(circuit))).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()), "{circuit}");
        let mut mutator = Mutator::new(layout, witness);
        let (rows, variables) = (mutator.rows(), mutator.variables());
        let free: HashMap<Free, usize> = mutator.run_from(start, step);
        println!("{circuit}: {rows} rows, {variables} variables, every {step}th: free {free:?}");
    }
}

/// The check itself can fail: a variable that no gate sees is found.
#[test]
#[should_panic(expected = "is free")]
fn a_variable_that_nothing_binds_is_found() {
    let mut b = crate::common::small(0);
    let loose = b.witness(crate::common::value(0, 0));
    let bound = b.witness(crate::common::value(0, 1));
    b.raw_row([loose, bound, Builder::ZERO, Builder::ZERO], &FixedRow::blank(), [0; 8]);
    b.mul(bound, bound);
    let (layout, witness) = crate::common::finish(b);
    Mutator::new(layout, witness).run(1);
}

/// A value that stands only in a ROM entry is bound by the read of it, and an entry by its reads.
#[test]
fn a_value_that_only_the_rom_binds_is_bound() {
    let rom = |is_read: bool| {
        let mut b = crate::common::small(0);
        let (id, address) = (b.constant_u64(1), b.constant_u64(4));
        let value = b.witness(crate::common::value(0, 2));
        b.rom_write(id, address, [value; 4], [value; 4]);
        if is_read {
            let row = b.raw_row(
                [address, Builder::ZERO, Builder::ZERO, id],
                &FixedRow::read([Fr::from(0u64); 8]),
                [0; 8],
            );
            // Variables of their own, so that nothing ties the read to what was written.
            for _ in 0..2 {
                let copies = [(); 4].map(|()| b.witness(crate::common::value(0, 2)));
                b.raw_row(copies, &FixedRow::blank(), [0; 8]);
            }
            b.note_read(row, id, address);
        }
        let (layout, witness) = crate::common::finish(b);
        assert_eq!(check(&layout, &witness), Ok(()));
        let mut mutator = Mutator::new(layout, witness);
        (0..mutator.variables()).filter(|i| !mutator.variable_is_bound(*i, Fr::from(3u64))).count()
    };
    assert_eq!(rom(true), 0, "every one of the values is bound");
    assert_eq!(rom(false), 1, "an entry that nobody reads may hold anything");
}
