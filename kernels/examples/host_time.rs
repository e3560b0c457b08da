//! How long the host alone takes for a proof: with a driver on which every call returns at once. What a card
//! computes is recorded from the emulator first, which takes minutes at 2^17 rows.
//!
//! `cargo run --release -p rollmill-kernels --example host_time -- [LOG_ROWS] [RUNS] [SLICES]`
//!
//! 17, 200 and 16 unless given. So many slices has the table of multiples on a card of 8 GB or more, for 2^17 rows;
//! with one slice the host joins about 20 windows of each commitment, by 253 doublings.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rollmill_kernels::{CudaDevice, CudaOptions, Emulation, compile_emulator};
use rollmill_plonk::conformance::full_circuit;
use rollmill_plonk::key::{Bases, Budget, ProvingKey, setup};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;

/// The SRS, the keys and their cosets at 2^17 rows take about one.
const MEMORY: u64 = 8 << 30;
/// What a card chooses at 2^17 rows, see `Slices::cheapest`.
const SLICES: u32 = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let log_n = numbers.next().transpose()?.unwrap_or(17);
    let runs = numbers.next().transpose()?.unwrap_or(200).max(1);
    let slices = numbers.next().transpose()?.unwrap_or(SLICES).max(1);
    let folder: PathBuf = std::env::temp_dir().join("rollmill-emulator");
    let library = compile_emulator(Path::new(env!("CARGO_MANIFEST_DIR")), &folder)?;
    let emulation = Emulation { late: false, memory_bytes: MEMORY, ..Emulation::new(library) };
    let options = CudaOptions { table_slices: Some(slices), ..CudaOptions::default() };
    let (device, replay) = CudaDevice::replayed(&emulation, &options)?;

    let (layout, witness) = full_circuit(log_n);
    let srs = Srs::development(log_n);
    let bases = Bases::new(&device, &srs, &srs.lagrange(log_n)?)?;
    let columns = layout.fixed_columns();
    let vk = setup(&device, &bases, srs.id(), layout.shape, &columns)?;
    let key = ProvingKey::new(&device, vk, &columns)?.with_budget(&Budget::new(MEMORY / 2));
    let kind = TranscriptKind::Poseidon2;
    let once = || prove(&device, &key, &bases, kind, &witness, Blinding::Off);
    eprintln!("2^{log_n} rows: recording a proof on the emulator");
    // The first one keeps what later ones find, the second allocates what they use again.
    once()?;
    once()?;
    replay.record();
    let before = device.calls();
    let expected = once()?.to_bytes();
    let calls = device.calls().since(&before);

    let (mut milliseconds, mut copying) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        replay.repeat();
        let started = Instant::now();
        let proof = once()?;
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
        copying.push(replay.copying().as_secs_f64() * 1e3);
        assert!(proof.to_bytes() == expected, "the recorded proof");
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (whole, copied) = (median(&mut milliseconds), median(&mut copying));
    println!("2^{log_n} rows: {calls:?}");
    println!(
        "host time of a proof: median {whole:.2} ms, least {:.2} ms, of {runs} runs; copies of uploads: median \
         {copied:.2} ms",
        milliseconds[0]
    );
    Ok(())
}
