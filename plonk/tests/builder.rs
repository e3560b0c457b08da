//! The gate language: what the builder lays out satisfies the gates, and nothing else does.

use rollmill_algebra::{Fr, poseidon2};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::{Violation, check};
use rollmill_plonk::layout::{FixedRow, Layout, LayoutError, Witness};

fn toy() -> (Layout, Witness) {
    let mut b = Builder::new(2, 8);
    let x = b.witness(Fr::from(3u64));
    let y = b.witness(Fr::from(5u64));
    b.set_public(0, x);
    let product = b.mul(x, y);
    let terms: Vec<_> = (1..12u64).map(|i| (Fr::from(i), if i % 2 == 0 { x } else { y })).collect();
    let sum = b.linear(&terms, Fr::from(7u64));
    let bit = b.bit(true);
    let chosen = b.select(bit, product, sum);
    b.range(chosen, 6);
    b.range(product, 32);
    let digest = b.hash(9, &[x, y, product, chosen]);
    b.set_public(1, digest);
    let zero = b.is_zero(x);
    b.assert_constant(zero, Fr::from(0u64));
    let id = b.constant_u64(1);
    let address = b.constant_u64(4);
    b.rom_write(id, address, [x, y, product, sum], [chosen, digest, bit, x]);
    let mut c = [Fr::from(0u64); 8];
    c[0] = Fr::from(1u64);
    c[1] = -Fr::from(1u64);
    let copy = b.add(address, Builder::ZERO);
    let row = b.raw_row([copy, address, Builder::ZERO, id], &FixedRow::read(c), [0; 8]);
    b.raw_row([x, y, product, sum], &FixedRow::blank(), [0; 8]);
    b.raw_row([chosen, digest, bit, x], &FixedRow::blank(), [0; 8]);
    b.note_read(row, id, copy);
    assert_eq!(b.value(digest), poseidon2::hash(9, &[3u64, 5, 15, 15].map(Fr::from)));
    b.finish(None).expect("fits")
}

#[test]
fn an_honest_witness_is_accepted() {
    let (layout, witness) = toy();
    assert_eq!(check(&layout, &witness), Ok(()));
    assert_eq!(layout.shape.log_n, 9);
}

/// Goal: no used cell is free. Method: change one routed or limb cell at a time, on every used row.
/// Limb cells of rows whose packs nothing reads may change within their range; those are not counted.
#[test]
fn every_changed_routed_cell_is_rejected() {
    let (layout, witness) = toy();
    for row in 0..layout.rows_used {
        for column in 0..4 {
            let mut changed = witness.clone();
            changed.wires[column][row] += Fr::from(1u64);
            assert!(check(&layout, &changed).is_err(), "row {row} column {column}");
        }
    }
}

#[test]
fn a_limb_outside_the_table_is_named() {
    let (layout, mut witness) = toy();
    let row = layout.rows_used + 1;
    witness.wires[6][row] = Fr::from(256u64);
    let row = layout.place(row, None);
    assert_eq!(check(&layout, &witness), Err(Violation::Range { row, column: 2, bits: 8 }));
}

/// One ROM entry after the other, at these addresses, and a read of this one.
fn rom(addresses: &[u64], read: u64) -> Result<(Layout, Witness), LayoutError> {
    let mut b = Builder::new(0, 8);
    let table = b.new_table();
    let zeros = [Builder::ZERO; 4];
    for address in addresses {
        let address = b.constant_u64(*address);
        b.rom_write(table, address, zeros, zeros);
    }
    let address = b.constant_u64(read);
    let row = FixedRow::read([Fr::from(0u64); 8]);
    let row = b.raw_row([address, Builder::ZERO, Builder::ZERO, table], &row, [0; 8]);
    b.raw_row(zeros, &FixedRow::blank(), [0; 8]);
    b.raw_row(zeros, &FixedRow::blank(), [0; 8]);
    b.note_read(row, table, address);
    b.finish(None)
}

#[test]
fn a_rom_address_that_is_written_twice_is_rejected() {
    let (layout, witness) = rom(&[1, 2, 3], 2).expect("one entry an address");
    assert_eq!(check(&layout, &witness), Ok(()));
    for addresses in [[1, 2, 2], [1, 2, 1], [2, 2, 2]] {
        let rejected = rom(&addresses, 2).map(|_| ());
        assert!(
            matches!(rejected, Err(LayoutError::WrittenTwice { .. })),
            "{addresses:?}: {rejected:?}"
        );
    }
}

#[test]
fn a_rom_read_of_what_is_not_written_is_rejected() {
    let rejected = rom(&[1, 2, 3], 4).map(|_| ());
    assert!(matches!(rejected, Err(LayoutError::UnmatchedRead { .. })), "{rejected:?}");
}
