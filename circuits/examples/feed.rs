//! How many proofs a second the cores of this machine can feed to a card: from a job's input to its witness, children
//! verified, as an agent prepares jobs while others prove. Says what limits it: the share of time in the kernel, and
//! how much slower a thread is beside others, by what threads share: memory, its pages, and halves of one core.
//!
//! `cargo run --release -p rollmill-circuits --example feed -- [SECONDS] [THREADS]...`
//!
//! 5 seconds each, and 1, 2, 4 and so on up to all cores unless given.

use std::error::Error;
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;
use rollmill_circuits::jobs;
use rollmill_circuits::keyset::KeySet;

/// What a card is to be fed with, on 16 cores.
const TARGET: f64 = 80.0;
const CORES: f64 = 16.0;
/// Jobs about as full blocks have them, in which there are as many merges as leaves.
const MIX: [&str; 8] = [
    "00-tx_base",
    "03-tx_merge",
    "01-tx_base",
    "03-tx_merge",
    "02-tx_base",
    "03-tx_merge",
    "06-tx_base",
    "08-block_merge",
];
/// Times of a process in `/proc` are in hundredths of a second on Linux.
const TICKS: f64 = 100.0;

/// What the kernel knows of this process: page faults, and seconds in user mode and in the kernel.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    faults: f64,
    user: f64,
    system: f64,
}

impl Usage {
    /// Zeros where there is no `/proc`.
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in parentheses may have spaces; the fields after it are counted from the third.
        let fields: Vec<&str> = match text.rsplit_once(')') {
            Some((_, rest)) => rest.split_whitespace().collect(),
            None => Vec::new(),
        };
        let field = |number: usize| {
            fields.get(number - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0)
        };
        Self { faults: field(10), user: field(14) / TICKS, system: field(15) / TICKS }
    }

    fn since(self, before: Self) -> Self {
        Self {
            faults: self.faults - before.faults,
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

/// Witnesses a second, and what they took.
#[derive(Debug, Clone, Copy)]
struct Speed {
    threads: usize,
    per_second: f64,
    proofs: f64,
    usage: Usage,
}

fn measure(
    set: &KeySet,
    inputs: &[(&str, Vec<u8>)],
    threads: usize,
    length: Duration,
) -> Result<Speed, Box<dyn Error>> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
    let (before, started) = (Usage::now(), Instant::now());
    // One loop for each thread of the pool, which also computes the columns of its witnesses.
    let done = pool.broadcast(|context| {
        let mut count = 0usize;
        while started.elapsed() < length {
            let (kind, input) = &inputs[(context.index() + count) % inputs.len()];
            let made = jobs::witness(set, kind, input);
            let (_, witness) = made.map_err(|error| error.to_string())?;
            // As an agent does after the proof.
            std::hint::black_box(witness).recycle();
            count += 1;
        }
        Ok::<usize, String>(count)
    });
    let seconds = started.elapsed().as_secs_f64();
    let usage = Usage::now().since(before);
    let proofs = done.into_iter().sum::<Result<usize, String>>()? as f64;
    Ok(Speed { threads, per_second: proofs / seconds, proofs, usage })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let length = Duration::from_secs(numbers.next().transpose()?.unwrap_or(5).max(1));
    let mut counts = numbers.collect::<Result<Vec<u64>, _>>()?;
    if counts.is_empty() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        counts = (0..).map(|log| 1 << log).take_while(|count| *count < cores).collect();
        counts.push(cores);
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let set = KeySet::from_bytes(&std::fs::read(format!("{folder}/keys.set"))?)?;
    let mut inputs = Vec::new();
    for name in MIX {
        inputs.push((&name[3..], std::fs::read(format!("{folder}/{name}.input"))?));
    }
    // Once, so that the first figure has no first use in it.
    jobs::witness(&set, inputs[0].0, &inputs[0].1)?;

    println!(
        "threads  witnesses/s  of one thread's, %  ms of a core each  in the kernel, %  page faults each"
    );
    let mut speeds = Vec::new();
    for threads in counts {
        let speed = measure(&set, &inputs, (threads as usize).max(1), length)?;
        let first: &Speed = speeds.first().unwrap_or(&speed);
        let one = first.per_second / first.threads as f64;
        let Usage { faults, user, system } = speed.usage;
        println!(
            "{:7}  {:11.1}  {:18.0}  {:17.1}  {:16.0}  {:16.0}",
            speed.threads,
            speed.per_second,
            100.0 * speed.per_second / (one * speed.threads as f64),
            1e3 * (user + system) / speed.proofs,
            100.0 * system / (user + system).max(1e-9),
            faults / speed.proofs
        );
        speeds.push(speed);
    }
    if let Some(last) = speeds.last() {
        let each = last.per_second / last.threads as f64;
        println!(
            "{TARGET} proofs a second take {:.1} cores, each as fast as with {} at work; {:.0} % of {CORES} are left",
            TARGET / each,
            last.threads,
            100.0 * (1.0 - TARGET / each / CORES)
        );
    }
    Ok(())
}
