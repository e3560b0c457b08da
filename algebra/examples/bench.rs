//! Times the CPU device beside arkworks in one run and prints medians in milliseconds.
//!
//! `cargo run -p rollmill-algebra --example bench [threads] [runs] [filter]`. Results are checked
//! against arkworks before they are timed.

use std::time::Instant;

use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::{FftField, Field, UniformRand};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::device::{Coeff, Column, Expr, Memory, Msm, Ntt, Row, RowKernel, Vector};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective};

struct Bench {
    runs: usize,
    filter: String,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    fn median_ms<T>(&self, mut work: impl FnMut() -> T) -> f64 {
        let mut times: Vec<f64> = (0..self.runs)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(work());
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    fn line(&self, name: &str, ours: f64, theirs: Option<f64>) {
        match theirs {
            Some(theirs) => println!(
                "{name:<34} {ours:>9.2} ms   arkworks {theirs:>9.2} ms   {:>5.2}x",
                theirs / ours
            ),
            None => println!("{name:<34} {ours:>9.2} ms"),
        }
    }
}

fn points(n: usize) -> Vec<G1Affine> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let step = G1Projective::rand(&mut rng).into_affine();
    let sums = std::iter::successors(Some(G1Projective::rand(&mut rng)), |p| Some(*p + step));
    G1Projective::normalize_batch(&sums.take(n).collect::<Vec<_>>())
}

/// A gate of the size that a quotient has: about 60 products a row.
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

fn main() {
    let mut args = std::env::args().skip(1);
    let threads: usize = args.next().and_then(|x| x.parse().ok()).unwrap_or(0);
    let runs: usize = args.next().and_then(|x| x.parse().ok()).unwrap_or(5);
    let bench = Bench { runs, filter: args.next().unwrap_or_default() };

    let device = CpuDevice::new(threads);
    let peer = rayon::ThreadPoolBuilder::new().num_threads(device.threads()).build().unwrap();
    println!("{}, median of {runs}", device.name());
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    if bench.wants("msm") {
        msm(&bench, &device, &peer, &mut rng);
    }
    if bench.wants("ntt") {
        ntt(&bench, &device, &peer, &mut rng);
    }
    if bench.wants("vector") {
        vector(&bench, &device, &mut rng);
    }
}

fn msm(bench: &Bench, device: &CpuDevice, peer: &rayon::ThreadPool, rng: &mut ChaCha8Rng) {
    let bases = points(1 << 18);
    let held = device.register_bases(&bases).unwrap();
    for log_n in [14, 16, 17, 18] {
        let n = 1 << log_n;
        let scalars: Vec<Fr> = (0..n).map(|_| Fr::rand(rng)).collect();
        let column = device.upload(&scalars).unwrap();
        let expected = G1Projective::msm(&bases[..n], &scalars).unwrap().into_affine();
        assert_eq!(device.commit(&held, &[&column]).unwrap()[0], expected);
        let ours = bench.median_ms(|| device.commit(&held, &[&column]));
        let theirs =
            bench.median_ms(|| peer.install(|| G1Projective::msm(&bases[..n], &scalars).unwrap()));
        bench.line(&format!("msm 2^{log_n} uniform"), ours, Some(theirs));

        let small: Vec<u16> = (0..n).map(|_| rng.r#gen()).collect();
        let column = device.upload_u16(&small).unwrap();
        let ours = bench.median_ms(|| device.commit(&held, &[&column]));
        let theirs =
            bench.median_ms(|| peer.install(|| G1Projective::msm_u16(&bases[..n], &small)));
        bench.line(&format!("msm 2^{log_n} u16"), ours, Some(theirs));

        if log_n == 17 {
            let equal = device.upload(&vec![scalars[0]; n]).unwrap();
            bench.line("msm 2^17 equal", bench.median_ms(|| device.commit(&held, &[&equal])), None);
            let full = device.upload(&scalars).unwrap();
            let mut columns = vec![&column; 8];
            columns.extend([&full; 4]);
            let ours = bench.median_ms(|| device.commit(&held, &columns));
            bench.line("msm 2^17, 8 u16 and 4 uniform", ours, None);
        }
    }
}

fn ntt(bench: &Bench, device: &CpuDevice, peer: &rayon::ThreadPool, rng: &mut ChaCha8Rng) {
    for log_n in [14, 16, 17, 18, 20] {
        let n = 1 << log_n;
        let values: Vec<Fr> = (0..n).map(|_| Fr::rand(rng)).collect();
        let column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
        let domain = Radix2EvaluationDomain::<Fr>::new(n).unwrap();
        let out = device.to_lagrange(&[&column]).unwrap();
        assert_eq!(device.download(&out[0].buffer).unwrap(), domain.fft(&values));
        let ours = bench.median_ms(|| device.to_lagrange(&[&column]).unwrap());
        let theirs = bench.median_ms(|| peer.install(|| domain.fft(&values)));
        bench.line(&format!("ntt 2^{log_n}"), ours, Some(theirs));
        let ours = bench.median_ms(|| device.to_coset(&[&column], Fr::GENERATOR).unwrap());
        let coset = domain.get_coset(Fr::GENERATOR).unwrap();
        let theirs = bench.median_ms(|| peer.install(|| coset.fft(&values)));
        bench.line(&format!("ntt 2^{log_n} coset"), ours, Some(theirs));
        if log_n == 17 {
            let columns = vec![&column; 12];
            let ours = bench.median_ms(|| device.to_lagrange(&columns).unwrap());
            bench.line("ntt 2^17, 12 columns", ours, None);
        }
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
    let line = |name: &str, ms| bench.line(&format!("vector 2^17 {name}"), ms, None);
    line("rows, 120 products", bench.median_ms(|| device.rows(&Gate, &refs).unwrap()));
    line("invert", bench.median_ms(|| device.invert(&mut columns[0].clone()).unwrap()));
    line("prefix product", bench.median_ms(|| device.prefix_product(refs[0]).unwrap()));
    line("evaluate", bench.median_ms(|| device.evaluate(&[&poly], point).unwrap()));
    line("divide", bench.median_ms(|| device.divide_by_linear(&poly, point).unwrap()));
    let terms: Vec<_> = refs.iter().map(|column| (*column, point)).collect();
    line("combine 4", bench.median_ms(|| device.linear_combination(&terms).unwrap()));
}
