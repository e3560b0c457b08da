//! Times the CPU device beside arkworks in one run and prints medians in milliseconds.
//!
//! `cargo run -p rollmill-algebra --example cpu_bench [threads] [runs] [filter] [path]`; a filter starts with
//! the name of a group: msm, ntt, vector, poseidon2 or inversion; a path is portable, adx, avx2 or ifma, by default the
//! fastest of the processor (poseidon2 always takes the fastest). Sums and transforms are checked against arkworks
//! before they are timed, and each time is followed by the least of the runs.

use std::time::Instant;

use ark_ec::{CurveGroup, PrimeGroup, ScalarMul, VariableBaseMSM};
use ark_ff::{FftField, Field, UniformRand};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::device::{Coeff, Column, Expr, Memory, Msm, Ntt, Row, RowKernel, Vector};
use rollmill_algebra::field::inverse;
use rollmill_algebra::poseidon2::{permute, permute_all};
use rollmill_algebra::{CpuDevice, CpuPath, Fr, G1Affine, G1Projective};

struct Bench {
    runs: usize,
    filter: String,
    peer: rayon::ThreadPool,
}

impl Bench {
    /// Median of the wall clock, median of the processor time of all threads, which other programs
    /// disturb less, and the least wall clock.
    fn median_ms<T>(&self, mut work: impl FnMut() -> T) -> [f64; 3] {
        let mut times: Vec<[f64; 2]> = (0..self.runs)
            .map(|_| {
                let (start, cpu) = (Instant::now(), cpu_ms());
                std::hint::black_box(work());
                [start.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu]
            })
            .collect();
        let mut median = |i: usize| {
            times.sort_by(|a, b| a[i].total_cmp(&b[i]));
            times[times.len() / 2][i]
        };
        let cpu = median(1);
        [median(0), cpu, times[0][0]]
    }

    /// Times `ours`, if the filter names it.
    fn time<T>(&self, name: &str, ours: impl FnMut() -> T) {
        if name.contains(&self.filter) {
            let [wall, cpu, least] = self.median_ms(ours);
            println!("{name:<32} {wall:>8.2} ms ({cpu:>8.2} cpu, {least:>8.2} least)");
        }
    }

    /// Times `ours` and, on the same threads, `theirs`.
    fn race<T, U: Send>(&self, name: &str, ours: impl FnMut() -> T, theirs: impl Fn() -> U + Sync) {
        if name.contains(&self.filter) {
            let [wall, cpu, least] = self.median_ms(ours);
            let [peer, ..] = self.median_ms(|| self.peer.install(&theirs));
            let ratio = peer / wall;
            println!(
                "{name:<32} {wall:>8.2} ms ({cpu:>8.2} cpu, {least:>8.2} least)   arkworks {peer:>8.2} ms {ratio:>6.2}x"
            );
        }
    }
}

/// Processor time of all threads of this process, from the kernel's accounts; 0 where there are none.
fn cpu_ms() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = |path: std::path::PathBuf| -> Option<u64> {
        let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    threads.flatten().filter_map(|thread| nanoseconds(thread.path())).sum::<u64>() as f64 / 1e6
}

/// Random points. Ones with a pattern would have equal sums, which a real SRS has not.
fn points(n: usize) -> Vec<G1Affine> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let scalars: Vec<Fr> = (0..n).map(|_| Fr::rand(&mut rng)).collect();
    G1Projective::generator().batch_mul(&scalars)
}

/// A gate of the size that a quotient has: about 60 products per row.
struct Gate;

impl RowKernel for Gate {
    type Constants<E: Expr> = E;
    fn constants<E: Expr>(&self) -> E {
        E::constant(Fr::from(12_345u64))
    }
    fn outputs(&self) -> usize {
        1
    }
    fn eval<E: Expr, R: Row<E>>(&self, alpha: &E, row: &R, out: &mut [E]) {
        let mut sum = row.cell(0, 0);
        for _ in 0..10 {
            for column in 0..4 {
                let fifth = row.cell(column, 0).square() * row.cell((column + 1) % 4, 1);
                sum = sum * alpha.clone() + fifth - row.cell(column, 1);
            }
        }
        out[0] = sum;
    }
}

/// A gate with other factors in each step and sums of several products, as the quotient's gates are.
struct Mixed;

impl RowKernel for Mixed {
    type Constants<E: Expr> = Vec<E>;
    fn constants<E: Expr>(&self) -> Vec<E> {
        (0..40u64).map(|i| E::constant(Fr::from(12_345u64 + i * i))).collect()
    }
    fn outputs(&self) -> usize {
        1
    }
    fn eval<E: Expr, R: Row<E>>(&self, alpha: &Vec<E>, row: &R, out: &mut [E]) {
        let mut sum = row.cell(0, 0);
        for i in 0..40 {
            let [a, c] = [0, 2].map(|k| row.cell((i + k) % 4, 0));
            let [b, d] = [i + 1, i * 7 / 4].map(|k| row.cell(k % 4, 1));
            let gate = a.clone() * (b.clone() + alpha[i].clone()) + c.clone() * (d.clone() - a)
                - b * alpha[39 - i].clone();
            sum = sum * alpha[0].clone() + gate * (c - d);
        }
        out[0] = sum;
    }
}

type Group = fn(&Bench, &CpuDevice, &mut ChaCha8Rng);

fn main() {
    let mut args = std::env::args().skip(1);
    let threads: usize = args.next().and_then(|x| x.parse().ok()).unwrap_or(0);
    let runs: usize = args.next().and_then(|x| x.parse().ok()).unwrap_or(5);
    let filter = args.next().unwrap_or_default();
    let device = match args.next() {
        None => CpuDevice::new(threads),
        Some(name) => CpuPath::ALL
            .into_iter()
            .find(|path| path.name() == name)
            .and_then(|path| CpuDevice::on_path(path, threads))
            .expect("the path is portable, adx, avx2 or ifma, and the processor has it"),
    };
    let peer = rayon::ThreadPoolBuilder::new().num_threads(device.threads()).build().unwrap();
    let bench = Bench { runs, filter, peer };

    println!("{}, median of {runs}", device.name());
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    // Each checks itself against arkworks first, which takes a while.
    let groups: [(&str, Group); 5] = [
        ("msm", msm),
        ("ntt", ntt),
        ("vector", vector),
        ("poseidon2", poseidon2),
        ("inversion", inversions),
    ];
    for (name, group) in groups {
        if bench.filter.is_empty() || bench.filter.starts_with(name) {
            group(&bench, &device, &mut rng);
        }
    }
}

fn msm(bench: &Bench, device: &CpuDevice, rng: &mut ChaCha8Rng) {
    let bases = points(1 << 18);
    let registered = device.register_bases(&bases).unwrap();
    for log_n in [14, 16, 17, 18] {
        let n = 1 << log_n;
        let bases = &bases[..n];
        let scalars: Vec<Fr> = (0..n).map(|_| Fr::rand(rng)).collect();
        let full = device.upload(&scalars).unwrap();
        let values: Vec<u16> = (0..n).map(|_| rng.r#gen()).collect();
        let small = device.upload_u16(&values).unwrap();
        let equal = device.upload(&vec![scalars[0]; n]).unwrap();
        let expected = [
            G1Projective::msm(bases, &scalars).unwrap().into_affine(),
            G1Projective::msm_u16(bases, &values).into_affine(),
        ];
        assert_eq!(device.commit(&registered, &[&full, &small]).unwrap(), expected);

        bench.race(
            &format!("msm 2^{log_n} uniform"),
            || device.commit(&registered, &[&full]),
            || G1Projective::msm(bases, &scalars).unwrap(),
        );
        bench.race(
            &format!("msm 2^{log_n} u16"),
            || device.commit(&registered, &[&small]),
            || G1Projective::msm_u16(bases, &values),
        );
        bench.time(&format!("msm 2^{log_n} equal"), || device.commit(&registered, &[&equal]));
        let mut columns = vec![&small; 8];
        columns.extend([&full; 4]);
        let name = format!("msm 2^{log_n}, 8 of u16, 4 uniform");
        bench.time(&name, || device.commit(&registered, &columns));
    }
}

fn ntt(bench: &Bench, device: &CpuDevice, rng: &mut ChaCha8Rng) {
    for log_n in [14, 16, 17, 18, 20] {
        let n = 1 << log_n;
        let values: Vec<Fr> = (0..n).map(|_| Fr::rand(rng)).collect();
        let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
        let domain = Radix2EvaluationDomain::<Fr>::new(n).unwrap();
        let coset = domain.get_coset(Fr::GENERATOR).unwrap();
        let out = device.to_lagrange(&[&column]).unwrap();
        assert_eq!(device.download(&out[0].buffer).unwrap(), domain.fft(&values));
        bench.race(
            &format!("ntt 2^{log_n}"),
            || device.to_lagrange(&[&column]).unwrap(),
            || domain.fft(&values),
        );
        bench.race(
            &format!("ntt 2^{log_n} coset"),
            || device.to_coset(&[&column], Fr::GENERATOR).unwrap(),
            || coset.fft(&values),
        );
        let columns = vec![&column; 12];
        bench.time(&format!("ntt 2^{log_n}, 12 columns"), || device.to_lagrange(&columns).unwrap());
    }
}

fn vector(bench: &Bench, device: &CpuDevice, rng: &mut ChaCha8Rng) {
    let n = 1 << 17;
    let columns: Vec<_> = (0..4)
        .map(|_| device.upload(&(0..n).map(|_| Fr::rand(rng)).collect::<Vec<_>>()).unwrap())
        .collect();
    let refs: Vec<_> = columns.iter().collect();
    let point = Fr::GENERATOR.pow([99]);
    let poly = Column::<_, Coeff>::new(columns[0].clone());
    let terms: Vec<_> = refs.iter().map(|column| (*column, point)).collect();
    bench.time("vector 2^17 rows, 120 products", || device.rows(&Gate, &refs).unwrap());
    bench.time("vector 2^17 rows, mixed gates", || device.rows(&Mixed, &refs).unwrap());
    bench.time("vector 2^17 invert", || device.invert(&mut columns[0].clone()).unwrap());
    let some: Vec<Fr> = (0..1000).map(|_| Fr::rand(rng)).collect();
    bench.race(
        "vector 1000 single inverses",
        || some.iter().map(|x| inverse(x).unwrap()).sum::<Fr>(),
        || some.iter().map(|x| x.inverse().unwrap()).sum::<Fr>(),
    );
    bench.time("vector 2^17 prefix product", || device.prefix_product(refs[0]).unwrap());
    bench.time("vector 2^17 prefix sum", || device.prefix_sum(refs[0]).unwrap());
    bench.time("vector 2^17 evaluate", || device.evaluate(&[&poly], point).unwrap());
    bench.time("vector 2^17 divide", || device.divide_by_linear(&poly, point).unwrap());
    bench.time("vector 2^17 combine 4", || device.linear_combination(&terms).unwrap());
}

/// Inversions one after the other, each of the one before.
fn inversions(bench: &Bench, _: &CpuDevice, _: &mut ChaCha8Rng) {
    let start = Fr::from(3u64);
    let chain = |invert: &dyn Fn(Fr) -> Fr| (0..1_000).fold(start, |x, _| invert(x) + Fr::ONE);
    bench.race(
        "inversions of a field, 1000",
        || chain(&|x| rollmill_algebra::field::inverse(&x).unwrap()),
        || chain(&|x| x.inverse().unwrap()),
    );
}

/// On one thread.
fn poseidon2(bench: &Bench, _: &CpuDevice, rng: &mut ChaCha8Rng) {
    let states: Vec<[Fr; 4]> =
        (0..1 << 12).map(|_| std::array::from_fn(|_| Fr::rand(rng))).collect();
    for n in [1, 2, 3, 4, 8, 16, states.len()] {
        let states = &states[..n];
        // Many times over, so that a few states are no shorter to measure.
        let times = (1 << 12) / n;
        let repeat = |permute: fn(&mut [[Fr; 4]])| {
            for _ in 0..times {
                permute(std::hint::black_box(&mut states.to_vec()));
            }
        };
        let each = |states: &mut [[Fr; 4]]| states.iter_mut().for_each(permute);
        bench.time(&format!("poseidon2 2^12 by {n}, one by one"), || repeat(each));
        bench.time(&format!("poseidon2 2^12 by {n}, at once"), || repeat(permute_all));
    }
}
