//! Times one proof of a circuit with the cell mix of a recursive verifier, step by step.
//!
//! `cargo run -p rollmill-plonk --example profile -- LOG_N BUDGET_MIB`

use std::time::Instant;

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, Budget, ProvingKey, setup};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

/// Processor time so far in seconds, which other programs disturb less than the time that passes.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Clock ticks, by default a hundred a second: fields 14 and 15.
    let ticks = stat.split_whitespace().skip(13).take(2).filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Memory now and at its peak so far, if the system reports it.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    lines.collect::<Vec<_>>().join(" ")
}

fn main() {
    let log_n: u32 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(17);
    let device = CpuDevice::default();
    let before = std::cell::Cell::new(cpu());
    let timed = |name: &str, start: Instant| {
        let seconds = start.elapsed().as_secs_f64();
        let spent = cpu() - before.replace(cpu());
        println!("{name:>12} {seconds:8.3} s, {spent:6.2} s of processors {}", memory());
    };

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
    let mib: u64 = std::env::args().nth(2).and_then(|a| a.parse().ok()).unwrap_or(512);
    let key = ProvingKey::new(&device, vk, &columns).expect("key");
    let key = key.with_budget(&Budget::new(mib << 20));
    drop((layout, columns));
    timed("key", start);
    for _ in 0..4 {
        let start = Instant::now();
        let kind = TranscriptKind::Poseidon2;
        let proof = prove(&device, &key, &bases, kind, &witness, Blinding::Off).expect("proves");
        timed("prove", start);
        let start = Instant::now();
        verify(kind, &key.vk, &srs.tau_g2, &witness.public, &proof, None).expect("verifies");
        timed("verify", start);
    }
}
