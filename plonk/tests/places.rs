//! An error about a row names the line of the circuit's code that laid it out, and the section.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Place, Var};
use rollmill_plonk::check::{Violation, check};
use rollmill_plonk::layout::FixedRow;

fn violation(b: Builder) -> Violation {
    let (layout, witness) = b.finish(None).expect("fits");
    check(&layout, &witness).expect_err("the witness breaks the circuit")
}

fn place(violation: &Violation) -> &Place {
    match violation {
        Violation::Gate { row, .. }
        | Violation::Tie { row, .. }
        | Violation::Range { row, .. }
        | Violation::Rom { row } => row,
    }
}

fn assert_at(violation: &Violation, line: u32, section: Option<&str>) {
    let place = place(violation);
    let at = place.at.expect("a row of the circuit");
    assert_eq!(
        (at.file(), at.line(), place.section.as_deref()),
        (file!(), line, section),
        "{violation}"
    );
    assert!(violation.to_string().contains(&format!("row {place}")), "{violation}");
}

/// Rows that wait for a free place, behind rows of later sections.
#[test]
fn a_row_that_is_laid_out_later_belongs_to_the_call_that_asked_for_it() {
    let mut b = Builder::new(0, 4);
    let [x, y] = [3u64, 4].map(|value| b.witness(Fr::from(value)));
    b.section("sums");
    let line = line!() + 1;
    b.assert_equal(x, y);
    b.section("hashes");
    b.hash(1, &[x, y]);
    b.range(x, 16);
    let violation = violation(b);
    assert_at(&violation, line, Some("sums"));
    let text = violation.to_string();
    assert!(
        text.starts_with("PLK-010: gate Arithmetic, equation 0, is not satisfied at row "),
        "{text}"
    );
    assert!(
        text.ends_with(&format!(", laid out at {}:{line}:7 in section \"sums\"", file!())),
        "{text}"
    );
}

/// Goal: a message may go to a log, where no value of a witness belongs; whoever debugs sees them.
#[test]
fn a_message_has_no_value_of_the_witness() {
    let secret = 918_273_645u64;
    let wrong: [fn(&mut Builder, Var); 3] = [
        |b, x| {
            let other = b.witness(Fr::from(2u64));
            b.assert_equal(x, other);
        },
        |b, x| b.range(x, 8),
        |b, x| {
            let one = b.constant_u64(1);
            b.assert_equal(x, one);
        },
    ];
    for (case, wrong) in wrong.into_iter().enumerate() {
        let mut b = Builder::new(0, 4);
        let x = b.witness(-Fr::from(secret));
        wrong(&mut b, x);
        let violation = violation(b);
        let (shown, debugged) = (violation.to_string(), format!("{violation:?}"));
        let digits = (-Fr::from(secret)).to_string();
        assert!(
            !shown.contains(&secret.to_string()) && !shown.contains(&digits),
            "{case}: {shown}"
        );
        assert!(debugged.contains(&format!("-{secret}")), "{case}: {debugged}");
    }
}

/// Four range checks share a row.
#[test]
fn the_range_check_that_fails_is_named() {
    for wrong in 0..4 {
        let mut b = Builder::new(0, 4);
        let vars: Vec<Var> =
            (0..4).map(|i| b.witness(Fr::from(if i == wrong { 1u64 << 16 } else { 9 }))).collect();
        let mut lines = [0; 4];
        b.range(vars[0], 16);
        lines[0] = line!() - 1;
        b.section("first");
        b.range(vars[1], 16);
        lines[1] = line!() - 1;
        b.section("second");
        b.range(vars[2], 16);
        lines[2] = line!() - 1;
        b.range(vars[3], 16);
        lines[3] = line!() - 1;
        b.section("third");
        let section = [None, Some("first"), Some("second"), Some("second")][wrong];
        assert_at(&violation(b), lines[wrong], section);
    }
}

#[test]
fn public_inputs_limbs_ties_and_reads_are_named() {
    let lay = || {
        let mut b = Builder::new(1, 4);
        let x = b.witness(Fr::from(3u64));
        b.set_public(0, x);
        let at_public = line!() - 1;
        let (table, address) = (b.new_table(), b.constant_u64(5));
        b.section("rom");
        b.rom_write(table, address, [x; 4], [x; 4]);
        let at_write = line!() - 1;
        let read = FixedRow::read([Fr::from(0u64); 8]);
        let copies = [address, table].map(|var| b.value(var)).map(|value| b.witness(value));
        let row = b.raw_row([copies[0], Builder::ZERO, Builder::ZERO, copies[1]], &read, [0; 8]);
        let at_read = line!() - 1;
        b.raw_row([x; 4], &FixedRow::blank(), [0; 8]);
        b.raw_row([x; 4], &FixedRow::blank(), [0; 8]);
        b.note_read(row, copies[1], copies[0]);
        (b.finish(None).expect("fits"), row, [at_public, at_write, at_read])
    };
    let ((layout, witness), read, [at_public, at_write, at_read]) = lay();
    assert_eq!(check(&layout, &witness), Ok(()));
    let broken = |change: &dyn Fn(&mut rollmill_plonk::layout::Witness)| {
        let mut changed = witness.clone();
        change(&mut changed);
        check(&layout, &changed).expect_err("broken")
    };
    let one = Fr::from(1u64);
    assert_at(&broken(&|w| w.public[0] += one), at_public, None);
    assert_at(&broken(&|w| w.wires[4][read - 3] = Fr::from(16u64)), at_write, Some("rom"));
    assert_at(&broken(&|w| w.wires[1][read - 2] += one), at_write, Some("rom"));
    assert_at(&broken(&|w| w.wires[0][read] += one), at_read, Some("rom"));
    let padding = broken(&|w| w.wires[0][layout.rows_used + 1] += one);
    let row = layout.rows_used + 1;
    assert!(padding.to_string().contains(&format!("row {row}, which is padding")), "{padding}");
}

/// Goal: no method of the builder hides its caller. Method: the rows that one call lays out are of this file.
#[test]
fn every_method_names_its_caller() {
    type Call = fn(&mut Builder, Var);
    let calls: [(&str, Call); 22] = [
        ("raw_row", |b, v| _ = b.raw_row([v; 4], &FixedRow::blank(), [0; 8])),
        ("filler_row", |b, _| _ = b.filler_row([0; 8])),
        ("full_row", |b, v| {
            b.full_row([v; 4], &FixedRow::external([Fr::from(0u64); 8]), [Fr::from(0u64); 8]);
        }),
        ("arith_row", |b, v| b.arith_row([Some(v); 4], [Fr::from(0u64); 8], Some(v))),
        ("new_table", |b, _| _ = b.new_table()),
        ("constant", |b, _| _ = b.constant(Fr::from(77u64))),
        ("constant_u64", |b, _| _ = b.constant_u64(78)),
        ("linear", |b, v| _ = b.linear(&[(Fr::from(1u64), v); 9], Fr::from(0u64))),
        ("add", |b, v| _ = b.add(v, v)),
        ("sub", |b, v| _ = b.sub(v, Builder::ZERO)),
        ("scale", |b, v| _ = b.scale(v, Fr::from(2u64), Fr::from(0u64))),
        ("mul", |b, v| _ = b.mul(v, v)),
        ("mul_add", |b, v| _ = b.mul_add(v, v, Fr::from(1u64), Some(v), Fr::from(0u64))),
        ("assert_equal", |b, v| b.assert_equal(v, Builder::ZERO)),
        ("assert_constant", |b, v| b.assert_constant(v, Fr::from(1u64))),
        ("bit", |b, _| _ = b.bit(true)),
        ("select", |b, v| _ = b.select(v, v, v)),
        ("inverse", |b, v| _ = b.inverse(v)),
        ("is_zero", |b, v| _ = b.is_zero(v)),
        ("range", |b, v| (0..5).for_each(|_| b.range(v, 8))),
        ("hash", |b, v| _ = b.hash(1, &[v; 5])),
        ("rom_write", |b, v| b.rom_write(v, v, [v; 4], [v; 4])),
    ];
    for (method, call) in calls {
        let mut b = Builder::new(1, 4);
        let v = b.witness(Fr::from(1u64));
        b.set_public(0, v);
        call(&mut b, v);
        b.section("the end");
        let layout = b.layout(None).expect("fits");
        let places = (0..layout.rows_used)
            .flat_map(|row| (0..4).map(move |column| (row, column)))
            .map(|(row, column)| layout.place(row, Some(column)));
        let mut before = 0;
        for place in places {
            let at = place.at.expect("a row of the circuit");
            assert_eq!(at.file(), file!(), "{method} at row {}", place.row);
            before += usize::from(place.section.is_none());
        }
        // The public input and ZERO, each of four cells, and what the call laid out.
        assert!(before > 8, "{method} laid out nothing");
    }
}
