// Element-wise work, scans, evaluations and divisions over Fr. What joins neighbours runs by levels of
// SEGMENT elements, those of one block: each thread folds a chunk of CHUNK, the threads join what they
// fold by shuffles, and one value for each segment is left for the next level. Where each element needs
// what comes before it, each thread then walks its chunk again from where its warp, its block and the
// level above say. One element is one 32-byte sector, so that a thread that walks its own chunk wastes
// no bandwidth.
// Evaluations, divisions and inversions take many vectors in one launch: a block's second index says
// which.
#pragma once

#include "field.cuh"

#define RM_CHUNK 16
#define RM_LOG_WARPS 3
#define RM_WARPS (1 << RM_LOG_WARPS)
#define RM_SEGMENT (32 * RM_WARPS * RM_CHUNK)

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

enum ScanKind { SCAN_SUM = 0, SCAN_PRODUCT = 1 };

RM_DEV Fr scan_start(u32 kind) { return kind == SCAN_SUM ? Fr::zero() : Fr::one(); }
RM_DEV Fr scan_step(u32 kind, const Fr& a, const Fr& b) {
  return kind == SCAN_SUM ? add(a, b) : mul(a, b);
}

RM_DEV Fr chunk_fold(u32 kind, const Fr* in, u64 from, u64 n) {
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  Fr sum = scan_start(kind);
  for (u64 i = from; i < to; i++) sum = scan_step(kind, sum, in[i]);
  return sum;
}

RM_DEV Fr shuffle(const Fr& x, u32 lane) {
  Fr out;
#pragma unroll
  for (int i = 0; i < 8; i++) out.l[i] = __shfl_sync(0xffffffffu, x.l[i], lane);
  return out;
}

// The fold of the values of all lanes up to this one. All lanes of the warp take part.
RM_DEV Fr fold_of_lanes(u32 kind, Fr value) {
  const u32 lane = threadIdx.x & 31;
#pragma unroll 1
  for (u32 d = 1; d < 32; d *= 2) {
    const Fr other = shuffle(value, (lane - d) & 31);
    if (lane >= d) value = scan_step(kind, other, value);
  }
  return value;
}

// out[b] = the fold of segment b.
// Launched by `fold`, a block for each segment.
// Twin: `prefix_sum` and `prefix_product` in `algebra/src/plain.rs`, for all launches of a scan.
RM_KERNEL(256) vector_fold(Fr* out, const Fr* in, u64 n, u32 kind) {
  __shared__ Fr totals[RM_WARPS];
  const u64 from = (u64)blockIdx.x * RM_SEGMENT + threadIdx.x * RM_CHUNK;
  const Fr sum = fold_of_lanes(kind, chunk_fold(kind, in, from, n));
  if ((threadIdx.x & 31) == 31) totals[threadIdx.x >> 5] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  Fr all = totals[0];
#pragma unroll 1
  for (u32 w = 1; w < RM_WARPS; w++) all = scan_step(kind, all, totals[w]);
  out[blockIdx.x] = all;
}

// out[i] = before[segment of i] folded with the elements of its segment before i. Without `before`, the
// one segment there is begins at the start.
// Launched by `scan_into`, a block for each segment.
// Twin: `prefix_sum` and `prefix_product` in `algebra/src/plain.rs`, for all launches of a scan.
RM_KERNEL(256) vector_scan(Fr* out, const Fr* in, const Fr* before, u64 n, u32 kind) {
  __shared__ Fr totals[RM_WARPS];
  const u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const u64 from = (u64)blockIdx.x * RM_SEGMENT + threadIdx.x * RM_CHUNK;
  const Fr through = fold_of_lanes(kind, chunk_fold(kind, in, from, n));
  if (lane == 31) totals[warp] = through;
  __syncthreads();
  Fr sum = before ? before[blockIdx.x] : scan_start(kind);
#pragma unroll 1
  for (u32 w = 0; w < warp; w++) sum = scan_step(kind, sum, totals[w]);
  const Fr below = shuffle(through, (lane - 1) & 31);
  if (lane > 0) sum = scan_step(kind, sum, below);
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  for (u64 i = from; i < to; i++) {
    const Fr x = in[i];
    out[i] = sum;
    sum = scan_step(kind, sum, x);
  }
}

// One of the vectors that are inverted in a launch, and the products of its chunks.
struct Inverted {
  Fr* values;
  Fr* products;
  u64 n;
};

// products[j] = the product of chunk j, zeros left out.
// Launched by `invert_in_place`, a thread for each chunk of each vector.
// Twin: `invert` in `algebra/src/plain.rs`, for all launches of an inversion.
RM_KERNEL(128) vector_products(const Inverted* items, u32 first) {
  const Inverted item = items[first + blockIdx.y];
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= item.n) return;
  const u64 to = from + RM_CHUNK < item.n ? from + RM_CHUNK : item.n;
  Fr product = one_for_zero(item.values[from]);
  for (u64 i = from + 1; i < to; i++) product = mul(product, one_for_zero(item.values[i]));
  item.products[j] = product;
}

// Each element by itself; zero stays zero.
// Launched by `invert_in_place`, a thread for each element.
// Twin: `invert` in `algebra/src/plain.rs`.
RM_KERNEL(128) vector_invert_each(const Inverted* items, u32 first) {
  const Inverted item = items[first + blockIdx.y];
  const u64 i = global_index();
  if (i < item.n) item.values[i] = inv(item.values[i]);
}

// Montgomery's trick within each chunk: products[j] is the inverse of the product of chunk j, zeros left
// out. Prefix products are kept in registers or local memory.
// Launched by `invert_in_place`, a thread for each chunk of each vector.
// Twin: `invert` in `algebra/src/plain.rs`, for all launches of an inversion.
RM_KERNEL(128) vector_invert_chunks(const Inverted* items, u32 first) {
  const Inverted item = items[first + blockIdx.y];
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= item.n) return;
  Fr* values = item.values + from;
  const u32 len = (u32)(from + RM_CHUNK < item.n ? RM_CHUNK : item.n - from);
  Fr before[RM_CHUNK];
  Fr product = Fr::one();
  for (u32 i = 0; i < len; i++) {
    before[i] = product;
    product = mul(product, one_for_zero(values[i]));
  }
  Fr rest = item.products[j];
  for (u32 i = len; i-- > 0;) {
    const Fr x = values[i];
    if (x.is_zero()) continue;
    values[i] = mul(rest, before[i]);
    rest = mul(rest, x);
  }
}

// One of the polynomials that are evaluated or divided in a launch. `steps[d]` is the point to the power
// RM_CHUNK * 2^d.
struct Polynomial {
  const Fr* in;
  Fr* out;
  const Fr* carry;
  u64 n;
  Fr point;
  Fr steps[5 + RM_LOG_WARPS];
};

RM_DEV Fr shuffle_down(const Fr& x, u32 lanes) {
  Fr out;
#pragma unroll
  for (int i = 0; i < 8; i++) out.l[i] = __shfl_down_sync(0xffffffffu, x.l[i], lanes);
  return out;
}

// In each of 2^levels lanes: the sum of its value and those of the lanes above, each times `step` once for
// each lane between. steps[d] is step^(2^d). All lanes of the warp take part.
RM_DEV Fr sum_of_lanes_above(Fr value, const Fr* steps, u32 levels) {
  const u32 lane = threadIdx.x & 31;
#pragma unroll 1
  for (u32 d = 0; d < levels; d++) {
    const Fr other = shuffle_down(value, 1u << d);
    if (lane + (1u << d) < 1u << levels) value = add(value, mul(other, steps[d]));
  }
  return value;
}

// The value of a chunk's coefficients, without those past the end.
RM_DEV Fr chunk_value(const Polynomial& item, u64 from) {
  const u64 to = from + RM_CHUNK < item.n ? from + RM_CHUNK : item.n;
  Fr sum = Fr::zero();
  for (u64 i = to; i > from; i--) sum = add(mul(sum, item.point), item.in[i - 1]);
  return sum;
}

// With the value of each thread's chunk, and `carry` from above the segment: totals[w] is that of warp w
// and everything above it.
RM_DEV void sum_warps(Fr* totals, const Polynomial& item, const Fr& value, const Fr& carry) {
  const u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const Fr sum = sum_of_lanes_above(value, item.steps, 5);
  if (lane == 0) totals[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    Fr total = lane < RM_WARPS ? totals[lane] : Fr::zero();
    if (lane == RM_WARPS - 1) total = add(total, mul(carry, item.steps[5]));
    total = sum_of_lanes_above(total, item.steps + 5, RM_LOG_WARPS);
    if (lane < RM_WARPS) totals[lane] = total;
  }
  __syncthreads();
}

// out[b] = the value at `point` of the coefficients of segment b.
// Launched by `evaluate_polynomials` and `divide_polynomials`, a block for each segment.
// Twin: `horner` in `algebra/src/field.rs`.
RM_KERNEL(256) vector_evaluate(const Polynomial* items, u32 first) {
  __shared__ Fr totals[RM_WARPS];
  const Polynomial& item = items[first + blockIdx.y];
  const u64 begin = (u64)blockIdx.x * RM_SEGMENT;
  if (begin >= item.n) return;
  const Fr value = chunk_value(item, begin + threadIdx.x * RM_CHUNK);
  sum_warps(totals, item, value, Fr::zero());
  if (threadIdx.x == 0) item.out[blockIdx.x] = totals[0];
}

// Synthetic division by X - point: out[i - 1] = in[i] + point * out[i]. carry[b] is what segment b gets
// from above it; without `carry`, the one segment there is gets zero.
// Launched by `divide_polynomials`, a block for each segment.
// Twin: none; `polynomials_match` in `algebra/src/conformance/vector.rs` holds quotients to their definition.
RM_KERNEL(256) vector_divide(const Polynomial* items, u32 first) {
  __shared__ Fr totals[RM_WARPS];
  const Polynomial& item = items[first + blockIdx.y];
  const u64 begin = (u64)blockIdx.x * RM_SEGMENT;
  if (begin >= item.n) return;
  const u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const u64 from = begin + threadIdx.x * RM_CHUNK;
  const Fr carry = item.carry ? item.carry[blockIdx.x] : Fr::zero();
  Fr value = chunk_value(item, from);
  sum_warps(totals, item, value, carry);
  // What comes into the warp is that of the warps above; with it, the lanes once more.
  const Fr above = warp == RM_WARPS - 1 ? carry : totals[warp + 1];
  if (lane == 31) value = add(value, mul(above, item.steps[0]));
  const Fr next = shuffle_down(sum_of_lanes_above(value, item.steps, 5), 1);
  Fr rest = lane == 31 ? above : next;
  // Read once, since for all that the compiler knows each store may change the item.
  const Fr* in = item.in;
  Fr* out = item.out;
  const Fr point = item.point;
  const u64 to = from + RM_CHUNK < item.n ? from + RM_CHUNK : item.n;
  for (u64 i = to; i > from; i--) {
    const Fr x = in[i - 1];
    out[i - 1] = rest;
    rest = add(mul(rest, point), x);
  }
}

struct Term {
  const Fr* values;
  u64 n;
  Fr factor;
};

RM_DEV Fr term_value(const Term& term, u64 i) { return i < term.n ? term.values[i] : Fr::zero(); }

// out[i] = sum of factor * values[i]; terms that are too short count as zero there.
// Launched by `linear_combination`, a thread for each element.
// Twin: none; `linear_combinations_match` in `algebra/src/conformance/vector.rs` holds it to the sum.
RM_KERNEL(256) vector_combine(Fr* out, const Term* terms, u32 count, u64 n) {
  const u64 i = global_index();
  if (i >= n) return;
  Fr sum = Fr::zero();
  u32 t = 0;
  // Four terms share a reduction.
#pragma unroll 1
  for (; t + 4 <= count; t += 4) {
    Fr x[4], y[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      x[k] = term_value(terms[t + k], i);
      y[k] = terms[t + k].factor;
    }
    sum = add(sum, dot(x, y));
  }
#pragma unroll 1
  for (; t < count; t++) sum = add(sum, mul(term_value(terms[t], i), terms[t].factor));
  out[i] = sum;
}
