//! Prints the size of every circuit, part by part.
//!
//! `cargo run -p rollmill-circuits --example sizes`

use rollmill_circuits::jobs;
use rollmill_protocol::Circuit;

fn main() {
    for circuit in Circuit::ALL {
        let builder = jobs::dummy(circuit);
        let laid = builder.rows();
        let sections = builder.section_rows();
        match builder.finish(None) {
            Ok((layout, _)) => {
                println!("{circuit}: {} rows, 2^{}", layout.rows_used, layout.shape.log_n);
            }
            Err(error) => println!("{circuit}: {laid} rows and more, {error}"),
        }
        for (name, rows) in sections {
            println!("  {rows:>8}  {name}");
        }
    }
}
