//! Tests of the emulator itself, and of the kernels' arithmetic against its twin on the host.

use std::path::{Path, PathBuf};

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField, UniformRand};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fq, Fr, G1Affine, G1Projective};

use crate::driver::Argument::{Pointer, U32, U64};
use crate::driver::{Argument, Driver, Launch, Source, Stream};
use crate::emulated::{EmulatedDriver, Emulation, compile_emulator};
use crate::error::CudaError;

/// The one that these tests use.
const STREAM: Stream = 0;

/// The kernels, compiled for the emulator.
pub(crate) fn library() -> PathBuf {
    let program = std::env::current_exe().expect("the test program");
    let folder = program.parent().expect("its folder").join("emulator");
    compile_emulator(Path::new(env!("CARGO_MANIFEST_DIR")), &folder).expect("the kernels compile")
}

fn driver(reverse: bool) -> EmulatedDriver {
    // Arithmetic by emulated instructions too, in the order that is the less usual one.
    let emulation = Emulation { reverse, exact: reverse, ..Emulation::new(library()) };
    let driver = EmulatedDriver::open(&emulation).expect("opens");
    assert_eq!(driver.new_stream(), Ok(STREAM));
    driver
}

fn run(
    driver: &EmulatedDriver,
    kernel: &str,
    [grid, block]: [u32; 2],
    arguments: Vec<Argument>,
) -> Result<(), CudaError> {
    let launch = Launch { kernel, grid: [grid, 1, 1], block, shared_bytes: 0, arguments };
    driver.launch(STREAM, &launch)?;
    driver.synchronize(STREAM)
}

fn put(driver: &EmulatedDriver, bytes: &[u8]) -> u64 {
    let pointer = driver.allocate(bytes.len() as u64).unwrap();
    driver.send(STREAM, pointer, Source::Bytes(bytes)).unwrap();
    pointer
}

fn words(driver: &EmulatedDriver, from: u64, n: usize) -> Vec<u32> {
    let mut bytes = vec![0; 4 * n];
    driver.copy_out(STREAM, from, &mut bytes).unwrap();
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn word_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn a_missing_barrier_gives_a_wrong_sum_in_both_orders_and_a_barrier_the_right_one() {
    for reverse in [false, true] {
        let driver = driver(reverse);
        let numbers: Vec<u32> = (0..128).collect();
        let input = put(&driver, &word_bytes(&numbers));
        let output = driver.allocate(512).unwrap();
        let sums = |with_barrier| {
            let arguments = vec![Pointer(output), Pointer(input), U32(with_barrier)];
            run(&driver, "test_block_sum", [2, 64], arguments).unwrap();
            words(&driver, output, 128)
        };
        let right: Vec<u32> = (0..128).map(|i| numbers[i / 64 * 64..][..64].iter().sum()).collect();
        assert_eq!(sums(1), right);
        assert_ne!(sums(0), right);
    }
}

#[test]
fn a_barrier_that_some_threads_never_reach_is_an_error() {
    let driver = driver(false);
    let output = driver.allocate(256).unwrap();
    let outcome = run(&driver, "test_divergent_barrier", [1, 64], vec![Pointer(output)]);
    let Err(CudaError::Lost { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("barrier"), "{reason}");
}

#[test]
fn unknown_kernels_and_wrong_arguments_are_errors() {
    let outcome = run(&driver(false), "no_such_kernel", [1, 32], vec![]);
    assert!(format!("{outcome:?}").contains("no kernel"), "{outcome:?}");
    let outcome = run(&driver(false), "test_divergent_barrier", [1, 32], vec![U32(1)]);
    assert!(format!("{outcome:?}").contains("does not take"), "{outcome:?}");
}

#[test]
fn writes_beside_a_block_and_after_its_release_are_found() {
    let driver = driver(false);
    let input = put(&driver, &word_bytes(&[1; 64]));
    let short = driver.allocate(64).unwrap();
    run(&driver, "test_block_sum", [1, 64], vec![Pointer(short), Pointer(input), U32(1)]).unwrap();
    assert!(driver.release(short).is_err(), "the guard behind the block was written");

    let driver = self::driver(false);
    let input = put(&driver, &word_bytes(&[1; 64]));
    let gone = driver.allocate(256).unwrap();
    driver.release(gone).unwrap();
    let arguments = vec![Pointer(gone), Pointer(input), U32(1)];
    let outcome = run(&driver, "test_block_sum", [1, 64], arguments);
    assert!(matches!(outcome, Err(CudaError::Lost { .. })), "{outcome:?}");
}

#[test]
fn warp_operations_give_what_a_card_gives() {
    for reverse in [false, true] {
        let driver = driver(reverse);
        let numbers: Vec<u32> = (0..64u32).map(|i| i.wrapping_mul(2_654_435_761) >> 7).collect();
        let input = put(&driver, &word_bytes(&numbers));
        let output = driver.allocate(1024).unwrap();
        run(&driver, "test_warp", [1, 64], vec![Pointer(output), Pointer(input)]).unwrap();
        let out = words(&driver, output, 256);
        for i in 0..64 {
            let warp = &numbers[i / 32 * 32..][..32];
            let mask = |holds: &dyn Fn(u32) -> bool| {
                (0..32).filter(|lane| holds(warp[*lane])).fold(0u32, |all, lane| all | 1 << lane)
            };
            assert_eq!(out[i], mask(&|x| x & 1 == 1), "ballot, thread {i}");
            assert_eq!(out[64 + i], warp[3], "shuffle, thread {i}");
            assert_eq!(out[128 + i], warp[(i % 32 + 1).min(31)], "shuffle down, thread {i}");
            assert_eq!(out[192 + i], mask(&|x| x & 3 == numbers[i] & 3), "match, thread {i}");
        }
    }
}

/// Values at the ends of a field, with limbs of all ones and all zeros, and random ones.
fn edge_values<F: PrimeField<BigInt = BigInt<4>> + UniformRand>(seed: u64) -> Vec<F> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = vec![F::ZERO, F::ONE, -F::ONE, F::from(2u64), -F::from(2u64)];
    for k in 0..4 {
        let mut limbs = [0u64; 4];
        limbs[k] = u64::MAX >> if k == 3 { 4 } else { 0 };
        values.extend(F::from_bigint(BigInt(limbs)));
    }
    values.extend((0..200).map(|_| F::rand(&mut rng)));
    values
}

fn limbs<F: Copy>(values: &[F], of: impl Fn(F) -> [u64; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| of(*value)).flat_map(u64::to_le_bytes).collect()
}

fn check_field<F: PrimeField<BigInt = BigInt<4>>>(field: &str, of: impl Fn(F) -> [u64; 4] + Copy) {
    let edge = edge_values::<F>(1);
    // Every edge value with every other of the first few, then random pairs.
    let mut a = Vec::new();
    let mut b = Vec::new();
    for (i, x) in edge.iter().enumerate() {
        for y in if i < 9 { &edge[..12] } else { &edge[i..=i] } {
            a.push(*x);
            b.push(if i < 9 { *y } else { edge[edge.len() - 1 - i % 9] });
        }
    }
    let n = a.len();
    let products: Vec<F> = (0..n).map(|i| a[i] * b[i]).collect();
    let squares: Vec<F> = a.iter().map(F::square).collect();
    let dot = |terms: usize| {
        let products = |i: usize| [a[i] * b[i], b[i] * b[i], a[i] * a[i], b[i] * a[i]];
        (0..n).map(|i| products(i)[..terms].iter().sum()).collect::<Vec<F>>()
    };
    let expected: [(&str, Vec<F>); 16] = [
        ("add", (0..n).map(|i| a[i] + b[i]).collect()),
        ("sub", (0..n).map(|i| a[i] - b[i]).collect()),
        ("mul_plain", products.clone()),
        ("mul", products.clone()),
        ("sqr", squares.clone()),
        ("neg", a.iter().map(|x| -*x).collect()),
        ("inv", a.iter().map(|x| x.inverse().unwrap_or(F::ZERO)).collect()),
        ("to and from a number", a.clone()),
        ("mul_columns", products.clone()),
        ("sqr_columns", squares.clone()),
        ("mul_sub", (0..n).map(|i| a[i] * b[i] - b[i] * b[i]).collect()),
        ("mul_sub_columns", (0..n).map(|i| a[i] * a[i] - b[i] * a[i]).collect()),
        ("dot of two", dot(2)),
        ("dot of three", dot(3)),
        ("dot of four", dot(4)),
        ("dot_of_columns", dot(4)),
    ];
    for exact in [false, true] {
        let driver = driver(exact);
        let (left, right) = (put(&driver, &limbs(&a, of)), put(&driver, &limbs(&b, of)));
        let out = driver.allocate((32 * expected.len() * n) as u64).unwrap();
        let grid = [n.div_ceil(128) as u32, 128];
        let held = |count: usize| {
            let mut bytes = vec![0; 32 * count * n];
            driver.copy_out(STREAM, out, &mut bytes).unwrap();
            bytes
        };
        let arguments = vec![Pointer(out), Pointer(left), Pointer(right), U64(n as u64)];
        run(&driver, &format!("test_{field}"), grid, arguments.clone()).unwrap();
        for ((name, values), got) in expected.iter().zip(held(expected.len()).chunks(32 * n)) {
            assert_eq!(got, limbs(values, of), "{field}: {name}, exact: {exact}");
        }
        // The kernels whose instructions are counted.
        run(&driver, &format!("measure_product_{field}"), grid, arguments).unwrap();
        assert_eq!(held(1), limbs(&products, of), "{field}: counted product, exact: {exact}");
        let arguments = vec![Pointer(out), Pointer(left), U64(n as u64)];
        run(&driver, &format!("measure_square_{field}"), grid, arguments).unwrap();
        assert_eq!(held(1), limbs(&squares, of), "{field}: counted square, exact: {exact}");
    }
}

#[test]
fn field_operations_agree_with_the_host() {
    check_field::<Fr>("fr", |x| x.0.0);
    check_field::<Fq>("fq", |x| x.0.0);
}

/// The kernels that measure a card compute something, so that nothing of them can be left out.
#[test]
fn measuring_kernels_compute_what_they_are_timed_for() {
    let n = 40;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let values: Vec<Fr> = (0..n).map(|_| Fr::rand(&mut rng)).collect();
    let factors: Vec<Fr> = (0..n).map(|_| Fr::rand(&mut rng)).collect();
    for exact in [false, true] {
        let driver = driver(exact);
        let out = put(&driver, &limbs(&values, |x| x.0.0));
        let right = put(&driver, &limbs(&factors, |x| x.0.0));
        let arguments = vec![Pointer(out), Pointer(right), U64(n), U32(5)];
        run(&driver, "measure_products", [1, 256], arguments.clone()).unwrap();
        let expected: Vec<Fr> = (0..n as usize).map(|i| values[i] * factors[i].pow([5])).collect();
        let mut bytes = vec![0; 32 * n as usize];
        driver.copy_out(STREAM, out, &mut bytes).unwrap();
        assert_eq!(bytes, limbs(&expected, |x| x.0.0));

        run(&driver, "measure_wide", [1, 256], arguments).unwrap();
        let got = words(&driver, out, n as usize);
        for (factor, got) in factors.iter().zip(got) {
            assert_eq!(got, wide_sums(factor, 5));
        }
    }
}

/// Twin of `measure_wide`: four sums modulo 2^256, each of products at the even limbs.
fn wide_sums(factor: &Fr, rounds: usize) -> u32 {
    let limb = |i: usize| factor.0.0[i / 2] >> (32 * (i % 2)) & 0xffff_ffff;
    let mut all = 0u64;
    for lane in 0..4usize {
        let mut sum: [u64; 4] =
            std::array::from_fn(|k| (lane + 2 * k) as u64 | ((lane + 2 * k + 1) as u64) << 32);
        for step in (0..rounds).flat_map(|_| 0..16) {
            let mut carry = 0;
            for (k, sum) in sum.iter_mut().enumerate() {
                let product = u128::from(limb(2 * k) * limb((step + lane) % 8));
                let total = u128::from(*sum) + product + carry;
                *sum = total as u64;
                carry = total >> 64;
            }
        }
        all ^= sum.iter().fold(0, |all, word| all ^ word);
    }
    (all ^ all >> 32) as u32
}

#[test]
fn points_add_in_every_special_case() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (p, q) = (G1Affine::rand(&mut rng), G1Affine::rand(&mut rng));
    let (zero, double) = (G1Affine::identity(), (p + p).into_affine());
    let all = [zero, p, -p, q, double, -double];
    let pairs: Vec<(G1Affine, G1Affine)> =
        all.iter().flat_map(|a| all.iter().map(|b| (*a, *b))).collect();
    let n = pairs.len();
    let point_bytes = |points: Vec<G1Affine>| {
        let numbers: Vec<Fq> = points
            .iter()
            .flat_map(|point| point.xy().map_or([Fq::ZERO; 2], |(x, y)| [x, y]))
            .collect();
        limbs(&numbers, |x: Fq| x.0.0)
    };
    let driver = driver(false);
    let left = put(&driver, &point_bytes(pairs.iter().map(|pair| pair.0).collect()));
    let right = put(&driver, &point_bytes(pairs.iter().map(|pair| pair.1).collect()));
    let scales: Vec<Fq> = (0..n).map(|_| Fq::rand(&mut rng)).collect();
    let scale = put(&driver, &limbs(&scales, |x: Fq| x.0.0));
    let out = driver.allocate(4 * 128 * n as u64).unwrap();
    let arguments =
        vec![Pointer(out), Pointer(left), Pointer(right), Pointer(scale), U64(n as u64)];
    run(&driver, "test_points", [1, 128], arguments).unwrap();
    let mut bytes = vec![0; 4 * 128 * n];
    driver.copy_out(STREAM, out, &mut bytes).unwrap();
    let number = |bytes: &[u8]| {
        let limb =
            |i: usize| bytes[8 * i..8 * i + 8].iter().rev().fold(0, |l, b| l << 8 | u64::from(*b));
        Fq::new_unchecked(BigInt([limb(0), limb(1), limb(2), limb(3)]))
    };
    for (i, sum) in bytes.chunks_exact(128).enumerate() {
        let (a, b) = pairs[i % n];
        let expected: G1Projective = if i / n == 2 { a + a } else { a + b };
        let [x, y, zz, zzz] = std::array::from_fn(|k| number(&sum[32 * k..32 * k + 32]));
        if zz == Fq::ZERO {
            assert_eq!(expected, G1Projective::ZERO, "form {}, {a} and {b}", i / n);
            continue;
        }
        let affine = G1Affine::new_unchecked(x / zz, y / zzz);
        assert_eq!(expected, affine, "form {}, {a} and {b}", i / n);
        assert_eq!(zz * zz * zz, zzz * zzz);
    }
}
