//! What the time of a proof on this machine's CPU is made of, as the tables of docs/book/cpu.md.
//!
//! `cargo run --release -p rollmill-bench --example cpu_profile -- [LOG_N] [PATH] [THREADS] [PROOFS]`: rows of the
//! proof as a power of two (17), path of the CPU device (the fastest), threads (all), and proofs of which the median
//! counts (5). With 2^17 rows it takes about two minutes on two cores. Run it on a machine that does nothing else.
//!
//! Nothing is sampled: functions are the calls to the device, and causes follow from counts of operations and from
//! what an operation takes alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Barrier;
use std::time::Instant;

use rollmill_algebra::cpu::{Probe, Probing};
use rollmill_algebra::device::Memory;
use rollmill_algebra::{CpuDevice, CpuPath};
use rollmill_bench::{Accounts, Counted, mixed_circuit};
use rollmill_plonk::key::{Bases, Budget, ProvingKey, setup};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Products of an addition of points; one of them is a square.
const PRODUCTS_PER_PAIR: f64 = 6.0;
/// Runs of a probe, of which the median counts.
const RUNS: usize = 7;
/// Bytes for the key's columns, as an agent on a CPU has by default.
const KEY_CACHE: u64 = 400 << 20;

fn main() -> Outcome<()> {
    rollmill_algebra::cpu::map_large_arrays();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let log_n = u32::try_from(number(0, 17)?)?;
    let open = |threads: usize| match arguments.get(1).map(String::as_str) {
        None | Some("fastest") => Some(CpuDevice::new(threads)),
        Some(name) => CpuPath::ALL
            .into_iter()
            .find(|path| path.name() == name)
            .and_then(|path| CpuDevice::on_path(path, threads)),
    };
    let missing = "PATH is fastest, portable, adx, avx2 or ifma, and the processor must have it";
    let device = open(number(2, 0)?).ok_or(missing)?;
    let threads = device.threads();
    println!("Proof of 2^{log_n} rows on `{}`.\n", device.name());

    let costs = Costs::measure(&device)?;
    costs.print(threads);
    let proofs = number(3, 5)?.max(1);
    let all = Profile::measure(device, log_n, proofs)?;
    let one = match threads {
        1 => None,
        _ => Some(Profile::measure(open(1).ok_or(missing)?, log_n, proofs)?),
    };
    all.print_functions(&costs, one.as_ref());
    all.print_causes(&costs);
    if let Some(one) = &one {
        print_model(&all, one);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Nanoseconds of each kind of operation.
struct Costs {
    alone: Vec<(Probe, f64)>,
    /// While every other thread of the device does the same.
    beside: Vec<(Probe, f64)>,
    /// Of a page that is touched for the first time.
    fault: f64,
}

impl Costs {
    fn measure(device: &CpuDevice) -> Outcome<Self> {
        let mut costs = Self { alone: Vec::new(), beside: Vec::new(), fault: fault() };
        for kind in Probe::ALL {
            costs.alone.push((kind, time(&mut device.probe(kind)?, kind)));
            let threads = device.threads();
            let start = Barrier::new(threads);
            let run = || -> Option<f64> {
                // Also where it fails: the others wait.
                let probing = device.probe(kind);
                start.wait();
                probing.ok().map(|mut probing| time(&mut probing, kind))
            };
            let times: Vec<f64> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                all.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
            });
            costs.beside.push((kind, times.iter().sum::<f64>() / times.len().max(1) as f64));
        }
        Ok(costs)
    }

    /// Of a thread while the others work as well.
    fn of(&self, kind: Probe) -> f64 {
        self.beside.iter().find(|(known, _)| *known == kind).map_or(f64::NAN, |(_, cost)| *cost)
    }

    /// What an ideal loop would take for a product: the better of one by one and two at a time.
    fn product(&self) -> f64 {
        self.of(Probe::Products).min(self.of(Probe::ProductTwos))
    }

    fn print(&self, threads: usize) {
        println!("| operation on words | ns, one thread | ns, {threads} threads at once |");
        println!("| --- | ---: | ---: |");
        for ((kind, alone), (_, beside)) in self.alone.iter().zip(&self.beside) {
            println!("| {} | {alone:.1} | {beside:.1} |", kind.name());
        }
        println!("| first touch of a page of 4 KiB | {:.0} | |\n", self.fault);
    }
}

/// The median nanoseconds of an operation.
fn time(probing: &mut Probing, kind: Probe) -> f64 {
    let times = if kind == Probe::Inverses { 1 << 13 } else { 1 << 19 };
    std::hint::black_box(probing.run(times));
    let runs = (0..RUNS).map(|_| {
        let started = Instant::now();
        let (times, word) = probing.run(times);
        std::hint::black_box(word);
        started.elapsed().as_secs_f64() * 1e9 / times as f64
    });
    median(runs.collect())
}

/// Nanoseconds of the first write to a page.
fn fault() -> f64 {
    const BYTES: usize = 64 << 20;
    const PAGE: usize = 4 << 10;
    let runs = (0..RUNS).map(|_| {
        let mut memory = vec![0u8; BYTES];
        let started = Instant::now();
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        let seconds = started.elapsed().as_secs_f64();
        std::hint::black_box(memory);
        seconds * 1e9 / (BYTES / PAGE) as f64
    });
    median(runs.collect())
}

/// What the system counts of this process so far: seconds of processors, and pages touched for the first time.
fn counters() -> [f64; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<f64> =
        after_name.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or(0.0);
    // Fields 14, 15 and 10 of proc(5), in clock ticks of a hundredth and in pages.
    [(field(10) + field(11)) / 100.0, field(6)]
}

/// Proofs on one device.
struct Profile {
    threads: usize,
    /// Medians, in seconds.
    wall: f64,
    processors: f64,
    faults: f64,
    functions: BTreeMap<&'static str, Function>,
}

/// The calls of one kind in a proof.
#[derive(Default, Clone, Copy)]
struct Function {
    calls: u64,
    seconds: f64,
    /// Those that the floor counts.
    products: f64,
}

impl Profile {
    fn measure(device: CpuDevice, log_n: u32, proofs: usize) -> Outcome<Self> {
        let threads = device.threads();
        let device = Counted::new(device);
        let (layout, witness) = mixed_circuit(log_n)?;
        let srs = Srs::development(log_n);
        let bases = Bases::new(&device, &srs, &srs.lagrange(log_n)?)?;
        let columns = layout.fixed_columns();
        let vk = setup(&device, &bases, srs.id(), layout.shape, &columns)?;
        let key = ProvingKey::new(&device, vk, &columns)?.with_budget(&Budget::new(KEY_CACHE));
        drop((layout, columns));
        let kind = TranscriptKind::Poseidon2;
        let once = || prove(&device, &key, &bases, kind, &witness, Blinding::Off);
        // The first proof fills the key's cache.
        let proof = once()?;
        verify(kind, &key.vk, &srs.tau_g2, &witness.public, &proof, None)?;

        let (mut walls, mut processors, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        let mut counted: Vec<Accounts> = Vec::new();
        for _ in 0..proofs {
            let ([spent, touched], started) = (counters(), Instant::now());
            once()?;
            walls.push(started.elapsed().as_secs_f64());
            let [spent_now, touched_now] = counters();
            processors.push(spent_now - spent);
            faults.push(touched_now - touched);
            let (outcome, accounts) = device.account(once);
            outcome?;
            counted.push(accounts);
        }
        let mut functions: BTreeMap<&'static str, Function> = BTreeMap::new();
        for (kind, account) in counted.first().into_iter().flatten() {
            let of_runs = counted.iter().filter_map(|accounts| accounts.get(kind));
            let seconds = median(of_runs.map(|account| account.seconds).collect());
            let products = account.work.products + account.work.row_products;
            functions.insert(*kind, Function { calls: account.calls, seconds, products });
        }
        let (wall, processors, faults) = (median(walls), median(processors), median(faults));
        Ok(Self { threads, wall, processors, faults, functions })
    }

    /// Seconds outside the device: challenges, the order of rounds, copies.
    fn host(&self) -> f64 {
        (self.wall - self.functions.values().map(|function| function.seconds).sum::<f64>()).max(0.0)
    }

    fn function(&self, name: &str) -> Function {
        self.functions.get(name).copied().unwrap_or_default()
    }

    fn print_functions(&self, costs: &Costs, one: Option<&Self>) {
        let threads = self.threads;
        println!(
            "| function | calls | s, {threads} threads | share | floor, s | of the floor | s, 1 thread | serial, s |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        let mut floors = 0.0;
        for (name, function) in &self.functions {
            let floor = function.products * costs.product() * 1e-9 / threads as f64;
            floors += floor;
            let [alone, serial] = one.map_or([f64::NAN; 2], |one| {
                let alone = one.function(name).seconds;
                [alone, serial(alone, function.seconds, threads)]
            });
            println!(
                "| {name} | {} | {:.3} | {:.1} % | {floor:.3} | {:.0} % | {alone:.3} | {serial:.3} |",
                function.calls,
                function.seconds,
                100.0 * function.seconds / self.wall,
                100.0 * floor / function.seconds,
            );
        }
        let (host, wall) = (self.host(), self.wall);
        println!(
            "| outside the device | | {host:.3} | {:.1} % | | | | {host:.3} |",
            100.0 * host / wall
        );
        println!(
            "| **proof** | | **{wall:.3}** | | {floors:.3} | {:.0} % | {:.3} | |\n",
            100.0 * floors / wall,
            one.map_or(f64::NAN, |one| one.wall),
        );
    }

    /// Shares of the processors' time, in which a waiting thread counts.
    fn print_causes(&self, costs: &Costs) {
        let total = self.wall * self.threads as f64;
        let spent = |name: &str| self.function(name).seconds * self.threads as f64;
        let products = |name: &str| self.function(name).products * costs.product() * 1e-9;
        let pairs = self.function("commit").products / PRODUCTS_PER_PAIR * 1e-9;
        let near = costs.of(Probe::NearPairs);
        let far = costs.of(Probe::FarPairs);
        let all: f64 = self.functions.keys().map(|name| products(name)).sum();
        let in_pair = (near - PRODUCTS_PER_PAIR * costs.product()).max(0.0);
        let butterfly =
            costs.of(Probe::Sums) + costs.of(Probe::Differences) + costs.of(Probe::Reductions);
        let butterflies = self.function("transform").products * butterfly * 1e-9;
        let beyond = |name: &str| (spent(name) - products(name)).max(0.0);
        let others = ["evaluate", "combine", "divide", "prefix", "invert", "upload", "download"];
        let idle = (total - self.processors).max(0.0);
        let causes = [
            ("products, at the speed of an ideal loop", all),
            ("additions of points: sums, differences, waiting for products", pairs * in_pair),
            ("additions of points: loads from afar", pairs * (far - near).max(0.0)),
            (
                "commitments: digits, order, buckets, and threads that wait",
                (spent("commit") - pairs * far).max(0.0),
            ),
            ("transforms: sums and differences", butterflies),
            (
                "transforms: loads, stores, and threads that wait",
                (beyond("transform") - butterflies).max(0.0),
            ),
            ("rows beyond their products", beyond("rows")),
            ("other functions beyond their products", others.map(beyond).iter().sum()),
            ("outside the device, all threads", self.host() * self.threads as f64),
        ];
        println!("| cause | s of processors | share |\n| --- | ---: | ---: |");
        for (cause, seconds) in causes {
            println!("| {cause} | {seconds:.3} | {:.1} % |", 100.0 * seconds / total);
        }
        println!("| **all threads, from start to end** | **{total:.3}** | |\n");
        println!("Contained in these, and counted by the system:\n");
        println!("| counted | s of processors | share |\n| --- | ---: | ---: |");
        println!("| threads without work | {idle:.3} | {:.1} % |", 100.0 * idle / total);
        let faults = self.faults * costs.fault * 1e-9;
        println!(
            "| {:.0} pages touched for the first time | {faults:.3} | {:.1} % |\n",
            self.faults,
            100.0 * faults / total
        );
    }
}

/// What does not get faster with threads, if all else does so in proportion: `all = serial + (one − serial) / threads`.
fn serial(one: f64, all: f64, threads: usize) -> f64 {
    let threads = threads as f64;
    ((threads * all - one) / (threads - 1.0)).clamp(0.0, all)
}

/// One proof on many cores, and several at once, by Amdahl's law for each function.
fn print_model(all: &Profile, one: &Profile) {
    let names: Vec<&&str> = all.functions.keys().collect();
    let parts: Vec<[f64; 2]> = names
        .iter()
        .map(|name| {
            let alone = one.function(name).seconds;
            [alone, serial(alone, all.function(name).seconds, all.threads)]
        })
        .chain([[all.host(), all.host()]])
        .collect();
    let seconds = |cores: f64| -> f64 {
        parts.iter().map(|[alone, serial]| serial + (alone - serial) / cores).sum()
    };
    println!(
        "| cores | one proof, s | proofs a second, one at a time | two at a time | four | one on each core |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for cores in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0f64] {
        let at_once = |count: f64| match count <= cores {
            true => format!("{:.2}", count / seconds(cores / count)),
            false => "–".to_owned(),
        };
        println!(
            "| {cores} | {:.3} | {} | {} | {} | {} |",
            seconds(cores),
            at_once(1.0),
            at_once(2.0),
            at_once(4.0),
            at_once(cores)
        );
    }
}
