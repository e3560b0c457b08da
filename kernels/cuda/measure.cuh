// Kernels for measuring. One product a thread, whose instructions are counted when the kernels are
// compiled; and chains long enough to say how many products and how many wide multiply-adds a card
// does in a second, which bounds everything else.
#pragma once

#include "vector.cuh"

#define RM_MEASURE_LANES 4
#define RM_MEASURE_STEPS 16

// out[i] = a[i] * b[i] in Fr, whose instructions are counted.
// Launched by `check_field` of the tests, one thread per product.
// Twin: the host's field, in `check_field`.
RM_KERNEL(256) measure_product_fr(Fr* out, const Fr* a, const Fr* b, u64 n) {
  const u64 i = global_index();
  if (i < n) out[i] = mul(a[i], b[i]);
}

// The same in Fq.
// Launched by `check_field` of the tests, one thread per product.
// Twin: the host's field, in `check_field`.
RM_KERNEL(256) measure_product_fq(Fq* out, const Fq* a, const Fq* b, u64 n) {
  const u64 i = global_index();
  if (i < n) out[i] = mul(a[i], b[i]);
}

// out[i] = a[i] * a[i] in Fr, whose instructions are counted.
// Launched by `check_field` of the tests, one thread per square.
// Twin: the host's field, in `check_field`.
RM_KERNEL(256) measure_square_fr(Fr* out, const Fr* a, u64 n) {
  const u64 i = global_index();
  if (i < n) out[i] = sqr(a[i]);
}

// The same in Fq.
// Launched by `check_field` of the tests, one thread per square.
// Twin: the host's field, in `check_field`.
RM_KERNEL(256) measure_square_fq(Fq* out, const Fq* a, u64 n) {
  const u64 i = global_index();
  if (i < n) out[i] = sqr(a[i]);
}

// out[i] = a[i] * b[i] - (a[i] + b[i]) * (a[i] - b[i]).
// Launched by `kernels/tests/ptx.rs`, which interprets its instructions.
// Twin: the host's field, in `kernels/tests/ptx.rs`.
RM_KERNEL(256) measure_sum_fq(Fq* out, const Fq* a, const Fq* b, u64 n) {
  const u64 i = global_index();
  if (i >= n) return;
  const Fq x = a[i], y = b[i];
  out[i] = mul_sub(x, y, add(x, y), sub(x, y));
}

// values[i] = values[i] * factors[i]^rounds.
// Launched by `measure_rates`, one thread per value.
// Twin: the host's field, in `measuring_kernels_compute_what_they_are_timed_for`.
RM_KERNEL(256) measure_products(Fr* values, const Fr* factors, u64 n, u32 rounds) {
  const u64 i = global_index();
  if (i >= n) return;
  Fr x = values[i];
  const Fr y = factors[i];
#pragma unroll 1
  for (u32 r = 0; r < rounds; r++) x = mul(x, y);
  values[i] = x;
}

// RM_MEASURE_LANES sums of eight limbs take four wide multiply-adds a step each, in the chains that
// products are made of; RM_MEASURE_STEPS steps a round.
// Launched by `measure_rates`, one thread per factor.
// Twin: `wide_sums` of the tests.
RM_KERNEL(256) measure_wide(u32* out, const Fr* factors, u64 n, u32 rounds) {
  const u64 i = global_index();
  if (i >= n) return;
  const Fr x = factors[i];
  u32 sums[RM_MEASURE_LANES][8];
#pragma unroll
  for (int lane = 0; lane < RM_MEASURE_LANES; lane++)
#pragma unroll
    for (int k = 0; k < 8; k++) sums[lane][k] = lane + k;
#pragma unroll 1
  for (u32 r = 0; r < rounds; r++) {
#pragma unroll
    for (int step = 0; step < RM_MEASURE_STEPS; step++)
#pragma unroll
      for (int lane = 0; lane < RM_MEASURE_LANES; lane++)
        add_even_limbs(sums[lane], x.l, x.l[(step + lane) % 8], 0);
  }
  u32 all = 0;
#pragma unroll
  for (int lane = 0; lane < RM_MEASURE_LANES; lane++)
#pragma unroll
    for (int k = 0; k < 8; k++) all ^= sums[lane][k];
  out[i] = all;
}
