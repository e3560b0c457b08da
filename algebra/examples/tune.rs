#![allow(missing_docs)]
use ark_ec::{PrimeGroup, ScalarMul};
use ark_ff::{FftField, UniformRand};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::device::{Coeff, Column, Expr, Memory, Msm, Ntt, Row, RowKernel, Vector};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective};
fn cpu_ms() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    threads
        .flatten()
        .filter_map(|t| {
            let s = std::fs::read_to_string(t.path().join("schedstat")).ok()?;
            s.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum::<u64>() as f64
        / 1e6
}
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
/// Different products in each step, sums of two and three products, as gates have.
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
            let (a, b, c, d) = (
                row.cell(i % 4, 0),
                row.cell((i + 1) % 4, 1),
                row.cell((i + 2) % 4, 0),
                row.cell((i * 7 / 4) % 4, 1),
            );
            let gate = a.clone() * (b.clone() + alpha[i].clone()) + c.clone() * (d.clone() - a)
                - b * alpha[39 - i].clone();
            sum = sum * alpha[0].clone() + gate * (c - d);
        }
        out[0] = sum;
    }
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (op, log_n, runs) =
        (args[1].as_str(), args[2].parse::<u32>().unwrap(), args[3].parse::<usize>().unwrap());
    let threads = args.get(4).map_or(1, |x| x.parse().unwrap());
    let device = CpuDevice::scalar(threads);
    let n = 1usize << log_n;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values: Vec<Fr> = (0..n).map(|_| Fr::rand(&mut rng)).collect();
    let mut work: Box<dyn FnMut()> = match op {
        "msm" | "msm16" | "equal" => {
            let bases: Vec<G1Affine> = G1Projective::generator().batch_mul(&values);
            let registered = device.register_bases(&bases).unwrap();
            let full = if op == "msm" {
                device.upload(&values).unwrap()
            } else if op == "equal" {
                device.upload(&vec![values[0]; n]).unwrap()
            } else {
                device.upload_u16(&(0..n).map(|_| rng.r#gen()).collect::<Vec<_>>()).unwrap()
            };
            Box::new(move || {
                std::hint::black_box(device.commit(&registered, &[&full]).unwrap());
            })
        }
        "ntt" => {
            let c = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            Box::new(move || {
                std::hint::black_box(device.to_lagrange(&[&c]).unwrap());
            })
        }
        "coset" => {
            let c = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            Box::new(move || {
                std::hint::black_box(device.to_coset(&[&c], Fr::GENERATOR).unwrap());
            })
        }
        "icoset" => {
            let c =
                Column::<_, rollmill_algebra::device::Coset>::new(device.upload(&values).unwrap());
            Box::new(move || {
                std::hint::black_box(device.from_coset(&[&c], Fr::GENERATOR).unwrap());
            })
        }
        "rows" | "mixed" => {
            let cols: Vec<_> = (0..4)
                .map(|_| {
                    device.upload(&(0..n).map(|_| Fr::rand(&mut rng)).collect::<Vec<_>>()).unwrap()
                })
                .collect();
            let mixed = op == "mixed";
            Box::new(move || {
                let refs: Vec<_> = cols.iter().collect();
                std::hint::black_box(if mixed {
                    device.rows(&Mixed, &refs).unwrap()
                } else {
                    device.rows(&Gate, &refs).unwrap()
                });
            })
        }
        "invert" => {
            let c = device.upload(&values).unwrap();
            Box::new(move || {
                device.invert(&mut c.clone()).unwrap();
            })
        }
        "product" => {
            let c = device.upload(&values).unwrap();
            Box::new(move || {
                std::hint::black_box(device.prefix_product(&c).unwrap());
            })
        }
        "sum" => {
            let c = device.upload(&values).unwrap();
            Box::new(move || {
                std::hint::black_box(device.prefix_sum(&c).unwrap());
            })
        }
        "evaluate" => {
            let c = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            Box::new(move || {
                std::hint::black_box(device.evaluate(&[&c], Fr::GENERATOR).unwrap());
            })
        }
        "divide" => {
            let c = Column::<_, Coeff>::new(device.upload(&values).unwrap());
            Box::new(move || {
                std::hint::black_box(device.divide_by_linear(&c, Fr::GENERATOR).unwrap());
            })
        }
        "combine" => {
            let cols: Vec<_> = (0..4).map(|_| device.upload(&values).unwrap()).collect();
            Box::new(move || {
                let t: Vec<_> = cols.iter().map(|c| (c, Fr::GENERATOR)).collect();
                std::hint::black_box(device.linear_combination(&t).unwrap());
            })
        }
        "poseidon2" => {
            let states: Vec<[Fr; 4]> = values.chunks(4).map(|c| [c[0], c[1], c[2], c[3]]).collect();
            Box::new(move || {
                let mut s = states.clone();
                rollmill_algebra::poseidon2::permute_all(&mut s);
                std::hint::black_box(s);
            })
        }
        _ => panic!("{op}"),
    };
    for _ in 0..runs {
        let c = cpu_ms();
        let t = std::time::Instant::now();
        work();
        println!("{:.2} {:.2}", cpu_ms() - c, t.elapsed().as_secs_f64() * 1e3);
    }
}
