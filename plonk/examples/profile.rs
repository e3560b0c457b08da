//! Times one proof of a circuit with the cell mix of a recursive verifier, step by step.
//!
//! `cargo run -p rollmill-plonk --example profile -- LOG_N`

use std::time::Instant;

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

fn main() {
    let log_n: u32 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(17);
    let device = CpuDevice::default();
    let timed =
        |name: &str, start: Instant| println!("{name:>12} {:8.3} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let mut b = Builder::new(2, 16);
    let mut x = b.witness(Fr::from(3u64));
    b.set_public(0, x);
    for i in 0..(1usize << log_n) / 4 {
        if i % 8 == 0 {
            x = b.hash(9, &[x, x]);
        }
        let halves = rollmill_plonk::transcript::halves(&b.value(x));
        let low = b.witness(Fr::from(halves.0 as u64));
        b.range(low, 64);
        x = b.mul(x, low);
    }
    b.set_public(1, x);
    let (layout, witness) = b.finish(Some(log_n)).expect("fits");
    timed("witness", start);
    let start = Instant::now();
    let srs = Srs::development(log_n);
    let lagrange = srs.lagrange(log_n).expect("long enough");
    let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
    timed("srs", start);
    let start = Instant::now();
    let columns = layout.fixed_columns();
    let vk = setup(&device, &bases, srs.id(), layout.shape, &columns).expect("key");
    timed("setup", start);
    let start = Instant::now();
    let key = ProvingKey::new(&device, vk, &columns).expect("key");
    timed("key", start);
    for _ in 0..2 {
        let start = Instant::now();
        let kind = TranscriptKind::Poseidon2;
        let proof = prove(&device, &key, &bases, kind, &witness, Blinding::Off).expect("proves");
        timed("prove", start);
        let start = Instant::now();
        verify(kind, &key.vk, &srs.tau_g2, &witness.public, &proof, None).expect("verifies");
        timed("verify", start);
    }
}
