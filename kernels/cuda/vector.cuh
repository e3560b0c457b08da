// Element-wise work, scans and evaluations over Fr. Scans run by levels: each thread folds CHUNK
// neighbours, the folds are scanned in the same way, and each thread then walks its chunk again from
// where the level above says. One element is one 32-byte sector, so that a thread that walks its own
// chunk wastes no bandwidth.
#pragma once

#include "field.cuh"

#define RM_CHUNK 16

RM_DEV u64 global_index() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

// out[i] = in[i] as a field element.
RM_KERNEL(256) vector_from_u16(Fr* out, const unsigned short* in, u64 n) {
  const u64 i = global_index();
  if (i >= n) return;
  Fr x = Fr::zero();
  x.l[0] = in[i];
  out[i] = from_number(x);
}

RM_DEV Fr one_for_zero(const Fr& x) { return x.is_zero() ? Fr::one() : x; }

enum ScanKind { SCAN_SUM = 0, SCAN_PRODUCT = 1, SCAN_PRODUCT_SKIP_ZERO = 2 };

RM_DEV Fr scan_start(u32 kind) { return kind == SCAN_SUM ? Fr::zero() : Fr::one(); }
RM_DEV Fr scan_step(u32 kind, const Fr& a, const Fr& b) {
  if (kind == SCAN_SUM) return add(a, b);
  return mul(a, kind == SCAN_PRODUCT ? b : one_for_zero(b));
}

// out[j] = the fold of chunk j.
RM_KERNEL(256) vector_fold(Fr* out, const Fr* in, u64 n, u32 kind) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  Fr sum = scan_start(kind);
  for (u64 i = from; i < to; i++) sum = scan_step(kind, sum, in[i]);
  out[j] = sum;
}

// out[i] = before[chunk of i] folded with the elements of its chunk before i. Without `before`, the
// one chunk there is begins at the start.
RM_KERNEL(256) vector_scan(Fr* out, const Fr* in, const Fr* before, u64 n, u32 kind) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  Fr sum = before ? before[j] : scan_start(kind);
  for (u64 i = from; i < to; i++) {
    const Fr x = in[i];
    out[i] = sum;
    sum = scan_step(kind, sum, x);
  }
}

// Each element by itself; zero stays zero.
RM_KERNEL(128) vector_invert_each(Fr* values, u64 n) {
  const u64 i = global_index();
  if (i < n) values[i] = inv(values[i]);
}

// Montgomery's trick within each chunk: `inverse[j]` is the inverse of the product of chunk j, zeros
// left out. Prefix products are kept in registers or local memory.
RM_KERNEL(128) vector_invert_chunks(Fr* values, const Fr* inverse, u64 n) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u32 len = (u32)(from + RM_CHUNK < n ? RM_CHUNK : n - from);
  Fr before[RM_CHUNK];
  Fr product = Fr::one();
  for (u32 i = 0; i < len; i++) {
    before[i] = product;
    product = mul(product, one_for_zero(values[from + i]));
  }
  Fr rest = inverse[j];
  for (u32 i = len; i-- > 0;) {
    const Fr x = values[from + i];
    if (x.is_zero()) continue;
    values[from + i] = mul(rest, before[i]);
    rest = mul(rest, x);
  }
}

// out[j] = the value at `point` of the coefficients of chunk j.
RM_KERNEL(256) vector_horner(Fr* out, const Fr* in, u64 n, Fr point) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  Fr sum = Fr::zero();
  for (u64 i = to; i-- > from;) sum = add(mul(sum, point), in[i]);
  out[j] = sum;
}

// Synthetic division by X - point: out[i - 1] = in[i] + point * out[i]. `carry[j]` is what chunk j
// gets from above it; without, the one chunk there is gets zero.
RM_KERNEL(256) vector_divide(Fr* out, const Fr* in, const Fr* carry, u64 n, Fr point) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  Fr rest = carry ? carry[j] : Fr::zero();
  for (u64 i = to; i-- > from;) {
    const Fr x = in[i];
    out[i] = rest;
    rest = add(mul(rest, point), x);
  }
}

struct Term {
  const Fr* values;
  u64 n;
  Fr factor;
};

// out[i] = sum of factor * values[i]; terms that are too short count as zero there.
RM_KERNEL(256) vector_combine(Fr* out, const Term* terms, u32 count, u64 n) {
  const u64 i = global_index();
  if (i >= n) return;
  Fr sum = Fr::zero();
#pragma unroll 1
  for (u32 t = 0; t < count; t++) {
    const Term term = terms[t];
    if (i < term.n) sum = add(sum, mul(term.values[i], term.factor));
  }
  out[i] = sum;
}
