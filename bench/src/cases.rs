//! Field, hash, MSM and NTT, each compared with arkworks' result before it is timed.

use ark_ec::scalar_mul::variable_base::VariableBaseMSM;
use ark_ec::{CurveGroup, PrimeGroup, ScalarMul};
use ark_ff::{AdditiveGroup, FftField, Field, PrimeField};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rayon::prelude::*;
use rollmill_algebra::device::{Coeff, Column, Device};
use rollmill_algebra::{Fr, G1Affine, G1Projective, poseidon2};

use crate::floor::{self, Bits, Work};
use crate::measure::{Bench, Case, Squarings};
use crate::peers::beside::low_halves;
use crate::{BenchError, Subject, peers, products_of};

/// Products of one permutation of Poseidon2 with four elements: x^5 is three products; four in each
/// of 8 full rounds, one and four more for the diagonal in each of 56 partial ones.
const PERMUTATION_PRODUCTS: f64 = (8 * 4 * 3 + 56 * (3 + 4)) as f64;

/// Longer MSMs repeat this many points: making more, and summing them on the host, would take longer than everything
/// else.
const POINTS_MAX: usize = 1 << 20;

/// Elements that look uniform and are equal in every run.
pub(crate) fn elements(n: usize, seed: u64) -> Vec<Fr> {
    let chunk = 1 << 12;
    let mut out = vec![Fr::ZERO; n];
    out.par_chunks_mut(chunk).enumerate().for_each(|(part, values)| {
        let mut x = poseidon2::hash(seed, &[Fr::from(part as u64)]);
        for value in values {
            // Squaring and adding gives elements without a pattern that would help an MSM.
            x = x.square() + Fr::from(0x9e37_79b9_7f4a_7c15u64);
            *value = x;
        }
    });
    out
}

/// Scalars of a distribution by name; see docs/book/bench.md.
pub(crate) fn scalars(distribution: &str, n: usize) -> Vec<Fr> {
    let uniform = elements(n, 1);
    let low = |x: &Fr| Fr::from(x.into_bigint().0[0] & 0xffff);
    let each = |f: &(dyn Fn(usize, &Fr) -> Fr + Sync)| -> Vec<Fr> {
        uniform.par_iter().enumerate().map(|(i, x)| f(i, x)).collect()
    };
    match distribution {
        "u16" => each(&|_, x| low(x)),
        // The wires of a circuit of this kind: limbs mostly, zeros, some full elements.
        "plonk" => each(&|i, x| match i % 10 {
            0..=5 => low(x),
            6 | 7 => Fr::ZERO,
            _ => *x,
        }),
        "equal" => vec![uniform.first().copied().unwrap_or_default(); n],
        "signs" => each(&|i, _| if i % 2 == 0 { Fr::ONE } else { -Fr::ONE }),
        "sparse" => each(&|i, x| if i % 64 == 0 { *x } else { Fr::ZERO }),
        _ => uniform,
    }
}

/// Products independent of each other.
pub(crate) fn field<D: Device>(bench: &mut Bench<'_>, device: &D) -> Result<(), BenchError> {
    let n = 1usize << 16;
    let values = elements(n, 2);
    let failed = || BenchError::failed("field products");
    let column = device.upload(&values).map_err(failed())?;
    let per_row = products_of(&Squarings);
    let case = Case {
        group: "field",
        name: format!("field product x{}", Squarings::PER_ROW << 16),
        n: n as u64 * per_row,
        work: Work { row_products: (n as u64 * per_row) as f64, ..Work::default() },
    };
    let plain = |x: &Fr| -> Fr {
        (0..8u64).map(|i| (0..32).fold(*x + Fr::from(i + 2), |chain, _| chain.square())).sum()
    };
    let got = device.rows(&Squarings, &[&column]).map_err(failed())?;
    let got = device.download(&got[0]).map_err(failed())?;
    check(&case, "rollmill", got == values.par_iter().map(plain).collect::<Vec<_>>())?;
    bench.own(&case, || {
        let out = device.rows(&Squarings, &[&column]).map_err(failed())?;
        device.download(&out[0]).map_err(failed())
    })?;
    bench.arkworks(&case, || values.par_iter().map(plain).collect::<Vec<_>>());
    Ok(())
}

/// Permutations on the host: no witness computes them on a device.
pub(crate) fn poseidon2(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let n = 1usize << 14;
    let states: Vec<[Fr; 4]> =
        elements(4 * n, 3).chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect();
    // A GPU's ceilings do not apply to the host.
    let on_card = bench.results.ceilings.wide_multiply_adds_per_second.is_some();
    let row_products = if on_card { 0.0 } else { n as f64 * PERMUTATION_PRODUCTS };
    let one_by_one = |states: &mut [[Fr; 4]]| states.iter_mut().for_each(poseidon2::permute);
    let mut expected = states.clone();
    one_by_one(&mut expected);
    let mut time = |name: &str, permute: fn(&mut [[Fr; 4]])| {
        let case = Case {
            group: "poseidon2",
            name: name.to_owned(),
            n: n as u64,
            work: Work { row_products, ..Work::default() },
        };
        let run = || {
            let mut states = states.clone();
            states.par_chunks_mut(64).for_each(permute);
            states
        };
        check(&case, "rollmill", run() == expected)?;
        bench.own(&case, || Ok(run()))
    };
    time("poseidon2 2^14 on the host", one_by_one)?;
    time("poseidon2 2^14 on the host, in batches", poseidon2::permute_all)
}

/// MSMs, by size and distribution.
pub(crate) fn msm<D: Device>(bench: &mut Bench<'_>, device: &D) -> Result<(), BenchError> {
    let most = 1usize << bench.plan.sizes.end();
    // Points, scalars, and about two copies in the device's own forms.
    bench.require_memory("msm", most as u64 * 4 * (64 + 32))?;
    let distinct = most.min(POINTS_MAX);
    eprintln!("bench: making {distinct} points");
    // With a pattern some partial sums would be equal, which does not happen in a real SRS.
    let few: Vec<G1Affine> = G1Projective::generator().batch_mul(&elements(distinct, 4));
    let points: Vec<G1Affine> = (0..most).map(|i| few[i % distinct]).collect();
    let registered =
        device.register_bases(&points).map_err(BenchError::failed("registering bases"))?;
    for log_n in bench.plan.sizes.clone() {
        for distribution in bench.plan.distributions.clone() {
            bench.go_on()?;
            let n = 1usize << log_n;
            let values = scalars(&distribution, n);
            let case = Case {
                group: "msm",
                name: format!("msm 2^{log_n} {distribution}"),
                n: n as u64,
                work: floor::msm(&Bits::of(&values)),
            };
            let failed = || BenchError::failed(case.name.clone());
            let bases = &points[..n];
            let small = (distribution == "u16").then(|| low_halves(&values));
            let column = match &small {
                Some(small) => device.upload_u16(small),
                None => device.upload(&values),
            }
            .map_err(failed())?;
            let expected = expected_sum(&few[..n.min(distinct)], &values);
            let got = device.commit(&registered, &[&column]).map_err(failed())?;
            check(&case, "rollmill", got == [expected])?;
            bench.own(&case, || device.commit(&registered, &[&column]).map_err(failed()))?;
            match &small {
                Some(small) => bench.arkworks(&case, || G1Projective::msm_u16(bases, small)),
                None => bench.arkworks(&case, || G1Projective::msm_unchecked(bases, &values)),
            }
            halo2curves(bench, &case, bases, &values, &expected)?;
        }
    }
    match bench.peers.barretenberg.clone() {
        Some(bb) => peers::barretenberg::msm(bench, &bb),
        None => Ok(()),
    }
}

/// The sum over points that repeat with the period of `distinct`, by arkworks: scalars of the same point are added
/// first, so that a long sum costs as much as a short one.
fn expected_sum(distinct: &[G1Affine], scalars: &[Fr]) -> G1Affine {
    let (head, rest) = scalars.split_at(distinct.len().min(scalars.len()));
    let mut folded = head.to_vec();
    for part in rest.chunks(distinct.len()) {
        folded.par_iter_mut().zip(part).for_each(|(sum, scalar)| *sum += scalar);
    }
    G1Projective::msm_unchecked(distinct, &folded).into_affine()
}

/// The MSM by halo2curves, if it is requested and the build has it.
#[cfg(feature = "peers")]
fn halo2curves(
    bench: &mut Bench<'_>,
    case: &Case,
    bases: &[G1Affine],
    values: &[Fr],
    expected: &G1Affine,
) -> Result<(), BenchError> {
    const NAME: &str = "halo2curves";
    if !bench.peers.halo2curves {
        return Ok(());
    }
    let input = peers::halo2::Input::of(bases, values);
    let right = input.as_ref().is_some_and(|input| peers::halo2::equal(&input.msm(), expected));
    check(case, NAME, right)?;
    let runs = bench.plan.runs;
    bench.time(case, NAME, runs, || Ok(input.as_ref().map(peers::halo2::Input::sum)))
}

#[cfg(not(feature = "peers"))]
fn halo2curves(
    _: &mut Bench<'_>,
    _: &Case,
    _: &[G1Affine],
    _: &[Fr],
    _: &G1Affine,
) -> Result<(), BenchError> {
    Ok(())
}

/// Transforms, one column and a batch, on the subgroup and on a coset.
pub(crate) fn ntt<D: Subject>(bench: &mut Bench<'_>, device: &D) -> Result<(), BenchError> {
    const BATCH: usize = 8;
    let most = 1u64 << bench.plan.sizes.end();
    bench.require_memory("ntt", most * 32 * (2 * BATCH as u64 + 4))?;
    for log_n in bench.plan.sizes.clone() {
        bench.go_on()?;
        let n = 1usize << log_n;
        let values = elements(n, 5);
        let missing = || BenchError::Failed {
            what: format!("ntt 2^{log_n}"),
            reason: "there is no subgroup of this size".to_owned(),
        };
        let domain = Radix2EvaluationDomain::<Fr>::new(n).ok_or_else(missing)?;
        let coset = domain.get_coset(Fr::GENERATOR).ok_or_else(missing)?;
        let case = |name: String, columns: usize| {
            let one = floor::ntt(n as u64);
            let times = columns as f64;
            let (products, bytes) = (one.products * times, one.bytes * times);
            let work = Work { products, bytes, ..one };
            Case { group: "ntt", name, n: (n * columns) as u64, work }
        };
        let failed = || BenchError::failed(format!("ntt 2^{log_n}"));
        let column = Column::<_, Coeff>::new(device.upload(&values).map_err(failed())?);

        let plain = case(format!("ntt 2^{log_n}"), 1);
        let got = device.to_lagrange(&[&column]).map_err(failed())?;
        let got = device.download(&got[0].buffer).map_err(failed())?;
        check(&plain, "rollmill", got == domain.fft(&values))?;
        // A transform is only queued; what counts is when it is done.
        bench.own(&plain, || {
            let out = device.to_lagrange(&[&column]).map_err(failed())?;
            device.wait().map_err(failed()).map(|()| out)
        })?;
        bench.arkworks(&plain, || domain.fft(&values));

        let shifted = case(format!("ntt 2^{log_n} coset"), 1);
        let got = device.to_coset(&[&column], Fr::GENERATOR).map_err(failed())?;
        let got = device.download(&got[0].buffer).map_err(failed())?;
        check(&shifted, "rollmill", got == coset.fft(&values))?;
        bench.own(&shifted, || {
            let out = device.to_coset(&[&column], Fr::GENERATOR).map_err(failed())?;
            device.wait().map_err(failed()).map(|()| out)
        })?;
        bench.arkworks(&shifted, || coset.fft(&values));

        let batch = case(format!("ntt 2^{log_n} x{BATCH}"), BATCH);
        let columns = [&column; BATCH];
        bench.own(&batch, || {
            let out = device.to_lagrange(&columns).map_err(failed())?;
            device.wait().map_err(failed()).map(|()| out)
        })?;
    }
    Ok(())
}

fn check(case: &Case, implementation: &str, right: bool) -> Result<(), BenchError> {
    match right {
        true => Ok(()),
        false => Err(BenchError::Wrong {
            what: case.name.clone(),
            implementation: implementation.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a long MSM would be compared with a sum that is not its own.
    #[test]
    fn the_sum_over_repeated_points_is_that_of_the_long_msm() {
        let points: Vec<G1Affine> = G1Projective::generator().batch_mul(&elements(16, 4));
        for n in [1, 16, 17, 64, 100] {
            let scalars = elements(n, 1);
            let long: Vec<G1Affine> = (0..n).map(|i| points[i % 16]).collect();
            let expected = G1Projective::msm_unchecked(&long, &scalars).into_affine();
            assert_eq!(expected_sum(&points[..n.min(16)], &scalars), expected, "{n}");
        }
    }
}
