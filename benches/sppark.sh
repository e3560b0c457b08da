#!/usr/bin/env bash
# Makes a program that measures another library's MSM on the same card: sppark's, for BN254, with bases that stay on the
# card. Nothing of sppark is in this repository: cargo fetches its crate, and the compiler comes as pinned Python packages,
# which `cargo xtask gen --cuda` uses too. Takes some minutes, and about 250 MB of downloads the first time.
#
# usage: benches/sppark.sh FILE
#
# The program: `FILE JSON LOG_N...` writes JSON again after each size. Its times contain the upload of the scalars, 32
# bytes each; those of `rollmill-bench` do not.
set -euo pipefail

file=$(realpath -m "${1:?usage: benches/sppark.sh FILE}")
cache=${ROLLMILL_CACHE:-$HOME/.cache/rollmill}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compiler that xtask/src/cuda.rs names, and headers that our own kernels do not need.
environment=$cache/nvcc
[ -x "$environment/bin/pip" ] || python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --no-deps nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
    nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
toolkit=$(echo "$environment"/lib/python3*/site-packages/nvidia/cu13)

mkdir -p "$work/src" "$work/cuda"
cat >"$work/Cargo.toml" <<'END'
[package]
name = "sppark-msm"
version = "0.0.0"
edition = "2024"
publish = false

[dependencies]
sppark = { version = "=0.1.16", features = ["cuda"] }
# Without `portable` the names of its assembly are not those that sppark calls.
blst = { version = "0.3", features = ["portable"] }
ark-bn254 = { version = "0.6", default-features = false, features = ["std", "curve"] }
ark-ec = { version = "0.6", default-features = false, features = ["std", "parallel"] }
ark-ff = { version = "0.6", default-features = false, features = ["std", "parallel"] }

[build-dependencies]
cc = "1"

[workspace]
END
cat >"$work/build.rs" <<'END'
fn main() {
    let mut build = cc::Build::new();
    build.cuda(true).flag("-std=c++17").define("FEATURE_BN254", None);
    for arch in ["80", "86", "89", "90", "100", "120"] {
        build.flag("-gencode").flag(format!("arch=compute_{arch},code=sm_{arch}"));
    }
    for name in ["DEP_SPPARK_ROOT", "DEP_BLST_C_SRC"] {
        if let Ok(folder) = std::env::var(name) {
            build.include(folder);
        }
    }
    build.file("cuda/msm.cu").compile("msm");
}
END
cat >"$work/cuda/msm.cu" <<'END'
#include <cuda.h>

#include <ff/alt_bn128-fp2.hpp>

#include <ec/jacobian_t.hpp>
#include <ec/xyzz_t.hpp>

using point_t = jacobian_t<fp_t>;
using bucket_t = xyzz_t<fp_t>;
using affine_t = bucket_t::affine_t;
using scalar_t = fr_t;

#define SPPARK_DONT_INSTANTIATE_TEMPLATES
#include <msm/pippenger.cuh>

#ifndef __CUDA_ARCH__
using Sums = msm_t<bucket_t, point_t, affine_t, scalar_t>;

extern "C" Sums* peer_open(const affine_t* points, size_t n) {
  try {
    return new Sums(points, n);
  } catch (...) {
    return nullptr;
  }
}

extern "C" int peer_sum(Sums* sums, const scalar_t* scalars, size_t n, point_t* out) {
  return sums->invoke(*out, static_cast<const affine_t*>(nullptr), n, scalars, false).code;
}

extern "C" void peer_close(Sums* sums) { delete sums; }
#endif
END
cat >"$work/src/main.rs" <<'END'
//! Times sppark's MSM with bases on the card. Each result is compared with the sum that its scalars give.

use std::ffi::{c_int, c_void};
use std::time::Instant;

use ark_bn254::{Fq, Fr, G1Affine, G1Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field, PrimeField};
// For what their build scripts link.
use blst as _;
use sppark as _;

/// A coordinate or a scalar as the card has it.
type Limbs = [u64; 4];

unsafe extern "C" {
    fn peer_open(points: *const [Limbs; 2], n: usize) -> *mut c_void;
    fn peer_sum(sums: *mut c_void, scalars: *const Limbs, n: usize, out: *mut [Limbs; 3]) -> c_int;
    fn peer_close(sums: *mut c_void);
}

const RUNS: usize = 7;
/// Longer MSMs repeat these points.
const POINTS: usize = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: sppark JSON LOG_N...")?;
    let sizes = arguments.map(|text| text.parse::<u32>()).collect::<Result<Vec<_>, _>>()?;
    let largest = 1usize << sizes.iter().max().ok_or("no sizes")?;

    // The multiples 1, 2, 3 … of the generator, so that the sum is known.
    let period = largest.min(POINTS);
    let mut multiple = G1Projective::ZERO;
    let multiples: Vec<G1Projective> = (0..period)
        .map(|_| {
            multiple += G1Affine::generator();
            multiple
        })
        .collect();
    let points: Vec<[Limbs; 2]> =
        G1Projective::normalize_batch(&multiples).iter().map(|point| [point.x.0.0, point.y.0.0]).collect();
    let points: Vec<[Limbs; 2]> = (0..largest).map(|i| points[i % period]).collect();
    let mut value = Fr::from(7u64);
    let scalars: Vec<Fr> = (0..largest)
        .map(|_| {
            value = value.square() + Fr::from(0x9e37_79b9_7f4a_7c15u64);
            value
        })
        .collect();
    let canonical: Vec<Limbs> = scalars.iter().map(|scalar| scalar.into_bigint().0).collect();

    let mut entries = Vec::new();
    for log_n in sizes {
        let n = 1usize << log_n;
        // SAFETY: `n` points are there; each is two coordinates in Montgomery form.
        let sums = unsafe { peer_open(points.as_ptr(), n) };
        if sums.is_null() {
            return Err("no card, or no memory for the bases".into());
        }
        let once = || {
            let mut out = [[0; 4]; 3];
            let started = Instant::now();
            // SAFETY: `n` scalars are there, and `out` has three coordinates.
            let code = unsafe { peer_sum(sums, canonical.as_ptr(), n, &raw mut out) };
            (code, out, started.elapsed().as_secs_f64())
        };
        let (code, out, _) = once();
        let [x, y, z] = out.map(|limbs| Fq::new_unchecked(ark_ff::BigInt(limbs)));
        let factor: Fr = scalars[..n].iter().enumerate().map(|(i, s)| *s * Fr::from((i % period + 1) as u64)).sum();
        let expected = (G1Affine::generator() * factor).into_affine();
        if code != 0 || G1Projective::new_unchecked(x, y, z).into_affine() != expected {
            return Err(format!("2^{log_n}: code {code}, or a wrong sum").into());
        }
        let mut seconds: Vec<f64> = (0..RUNS).map(|_| once().2).collect();
        seconds.sort_by(f64::total_cmp);
        // SAFETY: opened above, and not used after this.
        unsafe { peer_close(sums) };
        let median = seconds[RUNS / 2];
        println!("sppark: msm 2^{log_n} uniform: {:.3} ms", 1e3 * median);
        entries.push(format!(
            "{{\"name\": \"msm 2^{log_n} uniform\", \"implementation\": \"sppark\", \"n\": {n}, \"runs\": {RUNS}, \
             \"median_seconds\": {median:e}, \"least_seconds\": {:e}}}",
            seconds[0]
        ));
        let text = format!("{{\"scalars\": \"uploaded in each run\", \"entries\": [{}]}}\n", entries.join(", "));
        std::fs::write(format!("{file}.new"), text)?;
        std::fs::rename(format!("{file}.new"), &file)?;
    }
    Ok(())
}
END

cd "$work"
NVCC=$toolkit/bin/nvcc NVCC_APPEND_FLAGS="-L$toolkit/lib" RUSTFLAGS="-L native=$toolkit/lib" \
    PATH="$toolkit/bin:$PATH" cargo build --release >&2
strip -o "$file" target/release/sppark-msm
echo "$file: $(stat -c %s "$file") B" >&2
