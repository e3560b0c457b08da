//! Times an adapter: field products in both forms of limbs, sums and transforms of 2^14.
//!
//! `cargo run -p rollmill-shaders --example adapter_bench -- [--adapter software|N|NAME] [--runs N] [--json FILE]`.
//! Every result is checked against the CPU before it is timed. Figures of a software adapter are for
//! noticing regressions on one machine; they do not apply to cards.

use std::time::Instant;

use ark_ec::CurveGroup;
use ark_ff::{AdditiveGroup, Field as _};
use rollmill_algebra::device::{Coeff, Column, Memory, Msm, Ntt};
use rollmill_algebra::{CpuDevice, Fq, Fr, G1Affine, G1Projective};
use rollmill_shaders::{AdapterChoice, Field, LimbForm, Options, WgpuDevice};
use serde_json::{Value, json};

const LOG_N: u32 = 14;
/// Products that each thread chains, so that uploads and downloads weigh little.
const CHAIN: u32 = 512;
const SOFTWARE: &str = "regression figures of a software adapter; they do not apply to real GPUs";
const CARD: &str = "figures of a card";

struct Arguments {
    adapter: AdapterChoice,
    runs: usize,
    json: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut out = Arguments { adapter: AdapterChoice::Software, runs: 5, json: None };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--adapter" => out.adapter = value.parse().unwrap_or(AdapterChoice::Software),
            "--runs" => {
                out.runs = value.parse().map_err(|_| format!("--runs {value}: not a number"))?;
            }
            "--json" => out.json = Some(value),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    out.runs = out.runs.max(1);
    Ok(out)
}

/// Seconds that the work takes.
#[derive(Clone, Copy)]
struct Seconds {
    best: f64,
    median: f64,
    /// Of all threads of this process together, in the run that took least: with a software adapter
    /// what other programs disturb least.
    processor: f64,
}

/// Times `work`, after one run that compiles.
fn time<T>(runs: usize, mut work: impl FnMut() -> T) -> Seconds {
    std::hint::black_box(work());
    let mut processor = f64::INFINITY;
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let (start, before) = (Instant::now(), processor_seconds());
            std::hint::black_box(work());
            processor = processor.min(processor_seconds() - before);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    Seconds { best: seconds[0], median: seconds[seconds.len() / 2], processor }
}

/// Processor time of all threads of this process, from the kernel's accounts; 0 where there are none.
fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = |path: std::path::PathBuf| -> Option<u64> {
        let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    threads.flatten().filter_map(|thread| nanoseconds(thread.path())).sum::<u64>() as f64 / 1e9
}

/// A sequence without a pattern: a linear congruence in the field.
fn scalars(n: usize) -> Vec<Fr> {
    let (a, b) = (Fr::from(5u64).pow([1 << 40]), Fr::from(7u64).pow([1 << 41]));
    std::iter::successors(Some(b), |x| Some(*x * x + a)).take(n).collect()
}

fn points(n: usize) -> Vec<G1Affine> {
    let generator: G1Affine = ark_ec::AffineRepr::generator();
    let step = generator * scalars(2)[1];
    let sums = std::iter::successors(Some(step), |point| Some(point.double() + generator));
    G1Projective::normalize_batch(&sums.take(n).collect::<Vec<_>>())
}

fn measure(form: LimbForm, arguments: &Arguments) -> Result<Value, Box<dyn std::error::Error>> {
    let options = Options { limbs: Some(form), ..Options::new(arguments.adapter.clone()) };
    let opened = Instant::now();
    let device = WgpuDevice::open(&options)?;
    let name = if form == LimbForm::U64 { "u64" } else { "u32" };
    let note = if device.adapter().software { SOFTWARE } else { CARD };
    println!("{} — {note}", device.name());
    let n = 1usize << LOG_N;
    let values = scalars(n);
    let mut results = Vec::new();
    let mut put = |what: &str, seconds: Seconds, unit: &str, amount: f64| {
        let [best, median, processor] =
            [seconds.best, seconds.median, seconds.processor].map(|seconds| amount / seconds);
        println!(
            "  {what:<18} {best:>8.2} {unit} at best, {median:>8.2} in the median, {processor:>8.2} a \
             processor second"
        );
        results.push(json!({
            "what": what, "limbs": name, "unit": unit, "best": best, "median": median,
            "per_processor_second": processor, "best_seconds": seconds.best,
            "median_seconds": seconds.median, "processor_seconds": seconds.processor,
        }));
    };

    let raw: Vec<[u64; 4]> = values.iter().map(|value| value.0.0).collect();
    let products = device.field_products(Field::Fr, &raw, &raw, CHAIN)?;
    assert_eq!(products[1], values[1].pow([u64::from(CHAIN) + 1]).0.0);
    let base: Vec<Fq> = values.iter().map(|value| Fq::from(value.0.0[0])).collect();
    let base: Vec<[u64; 4]> = base.iter().map(|value| value.0.0).collect();
    for (field, what, raw) in [(Field::Fr, "product Fr", &raw), (Field::Fq, "product Fq", &base)] {
        let seconds = time(arguments.runs, || device.field_products(field, raw, raw, CHAIN));
        put(what, seconds, "M a second", f64::from(CHAIN) * n as f64 / 1e6);
    }

    let cpu = CpuDevice::new(0);
    let column = Column::<_, Coeff>::new(device.upload(&values)?);
    let on_cpu = Column::<_, Coeff>::new(cpu.upload(&values)?);
    let (got, expected) = (device.to_lagrange(&[&column])?, cpu.to_lagrange(&[&on_cpu])?);
    assert_eq!(device.download(&got[0].buffer)?, cpu.download(&expected[0].buffer)?);
    let seconds = time(arguments.runs, || {
        let out = device.to_lagrange(&[&column]).map(|mut out| out.remove(0));
        out.and_then(|out| device.synchronize().map(|()| out))
    });
    put("ntt 2^14", seconds, "a second", 1.0);

    let bases = points(n);
    let (registered, on_cpu) = (device.register_bases(&bases)?, cpu.register_bases(&bases)?);
    let small: Vec<u16> = values.iter().map(|value| value.0.0[0] as u16).collect();
    let equal = vec![values[5]; n];
    for (what, column, expected) in [
        ("msm 2^14 uniform", device.upload(&values)?, cpu.upload(&values)?),
        ("msm 2^14 u16", device.upload_u16(&small)?, cpu.upload_u16(&small)?),
        ("msm 2^14 equal", device.upload(&equal)?, cpu.upload(&equal)?),
    ] {
        assert_eq!(device.commit(&registered, &[&column])?, cpu.commit(&on_cpu, &[&expected])?);
        let seconds = time(arguments.runs, || device.commit(&registered, &[&column]));
        put(what, seconds, "a second", 1.0);
    }
    assert_ne!(values[1], Fr::ZERO);
    Ok(json!({
        "device": device.name(), "driver": device.adapter().driver, "note": note,
        "seconds_in_all": opened.elapsed().as_secs_f64(), "results": results,
    }))
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    let mut devices = Vec::new();
    for form in [LimbForm::U64, LimbForm::U32] {
        devices.push(measure(form, &arguments)?);
    }
    if let Some(file) = &arguments.json {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let out = json!({
            "bench": "shaders", "machine": processor(), "commit": commit(),
            "command": format!("cargo run -p rollmill-shaders --example adapter_bench -- {}", given.join(" ")),
            "runs": arguments.runs, "devices": devices,
        });
        std::fs::write(file, serde_json::to_string_pretty(&out)? + "\n")?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// The processor's name and how many of its threads there are.
fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{threads} threads of {}", name.map_or("an unknown processor", |(_, name)| name))
}

/// The commit that the working tree is on, where git knows.
fn commit() -> String {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().into())
}
