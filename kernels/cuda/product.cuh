// Montgomery products of eight limbs of 32 bits in the columns of even and of odd index.
//
// A product of limbs has 64 bits and starts at the column that is the sum of the limbs' indices. Those
// that start at an even column never overlap by half, and neither do those at an odd one; so a running
// total is kept as two numbers, `even` and `odd`, with
//     total = sum of even[k] * W^k + sum of odd[k] * W^(k + 1),   W = 2^32,
// and the carries of one number pass only from a 64-bit pair to the next. A card then has one
// instruction for each product of limbs (IMAD.WIDE adds 64 bits and takes and leaves a carry), where
// rows of low halves and rows of high halves would take two and as many additions.
//
// Each step adds x * y for one limb y of the other factor, and the multiple of p that makes the lowest
// column zero, and divides by W: what was odd is then even, and what was even is odd, two limbs down.
// Its column 1 has become column 0, and is added to the other number just before the multiple of p is
// chosen, so that the carry enters the chain of p's products that begins one column higher.
//
// Bounds: a step adds less than 3p * W, be it x * y with x < 2p and a multiple of p, or two products
// with x <= p and a multiple of p. So total < 3p before each step, which fits into eight limbs with
// p < 2^254, and total < 3p * (W + 1) before the division, which fits into nine. With four products
// with x <= p it is 5p in place of 3p, and 5p < 2^256 for both moduli, which are below 0.19 * 2^256;
// what four products and the multiples of p leave is below 4p * p / 2^256 + p < 2p. Source of the interleaved form: Montgomery, "Modular
// Multiplication Without Trial Division" (1985).
#pragma once

#include "ptx.cuh"

// (lo, hi) = x * y.
RM_DEV void wide(u32& lo, u32& hi, u32 x, u32 y) {
  const u64 t = (u64)x * y;
  lo = (u32)t;
  hi = (u32)(t >> 32);
}

// Adds x * y for the even limbs of x from index `from` on to the columns of the same index. Leaves the
// carry.
RM_DEV void add_even_limbs(u32* even, const u32* x, u32 y, int from) {
#pragma unroll
  for (int k = 0; k < 8; k += 2) {
    if (k < from) continue;
    even[k] = k - 2 < from ? mad_lo_cc(x[k], y, even[k]) : madc_lo_cc(x[k], y, even[k]);
    even[k + 1] = madc_hi_cc(x[k], y, even[k + 1]);
  }
}

// Adds x * y to a total that is already divided.
RM_DEV void add_row(u32* even, u32* odd, const u32* x, u32 y) {
#pragma unroll
  for (int k = 0; k < 8; k += 2) {
    odd[k] = k == 0 ? mad_lo_cc(x[k + 1], y, odd[k]) : madc_lo_cc(x[k + 1], y, odd[k]);
    odd[k + 1] = k == 6 ? madc_hi(x[k + 1], y, odd[k + 1]) : madc_hi_cc(x[k + 1], y, odd[k + 1]);
  }
  add_even_limbs(even, x, y, 0);
  odd[7] = addc(odd[7], 0);
}

// Divides the total by W, but for its column 1, which is given back, and adds x * y. The limbs of x
// below `from` count as zero. `first`: the total is zero, whatever the numbers hold.
RM_DEV u32 shift_and_add_row(u32* even, u32* odd, const u32* x, u32 y, int from, bool first) {
  if (first) {
#pragma unroll
    for (int k = 0; k < 8; k += 2) {
      wide(odd[k], odd[k + 1], x[k + 1], y);
      wide(even[k], even[k + 1], x[k], y);
    }
    return 0;
  }
  const u32 below = odd[1];
#pragma unroll
  for (int k = 0; k < 6; k += 2) {
    if (k + 1 < from) {
      odd[k] = odd[k + 2];
      odd[k + 1] = odd[k + 3];
      continue;
    }
    odd[k] = k - 1 < from ? mad_lo_cc(x[k + 1], y, odd[k + 2]) : madc_lo_cc(x[k + 1], y, odd[k + 2]);
    odd[k + 1] = madc_hi_cc(x[k + 1], y, odd[k + 3]);
  }
  if (from < 6) {
    odd[6] = madc_lo_cc(x[7], y, 0);
    odd[7] = madc_hi(x[7], y, 0);
  } else {
    wide(odd[6], odd[7], x[7], y);
  }
  if (from < 7) {
    add_even_limbs(even, x, y, from);
    odd[7] = addc(odd[7], 0);
  }
  return below;
}

// Adds column 1 from before the division, then the multiple of p that makes column 0 zero.
template <class M>
RM_DEV void clear_lowest(u32* even, u32* odd, u32 below, bool first) {
  const u32 p[8] = {M::p(0), M::p(1), M::p(2), M::p(3), M::p(4), M::p(5), M::p(6), M::p(7)};
  if (!first) even[0] = add_cc(even[0], below);
  const u32 q = even[0] * M::INV;
#pragma unroll
  for (int k = 0; k < 8; k += 2) {
    odd[k] = first && k == 0 ? mad_lo_cc(p[k + 1], q, odd[k]) : madc_lo_cc(p[k + 1], q, odd[k]);
    odd[k + 1] = k == 6 ? madc_hi(p[k + 1], q, odd[k + 1]) : madc_hi_cc(p[k + 1], q, odd[k + 1]);
  }
  add_even_limbs(even, p, q, 0);
  odd[7] = addc(odd[7], 0);
}

// One step. The caller swaps `even` and `odd` from one to the next.
template <class M>
RM_DEV void product_step(u32* even, u32* odd, const u32* x, u32 y, int from, bool first) {
  const u32 below = shift_and_add_row(even, odd, x, y, from, first);
  clear_lowest<M>(even, odd, below, first);
}

// One step of a sum of two products.
template <class M>
RM_DEV void product_sum_step(u32* even, u32* odd, const u32* x, u32 y, const u32* z, u32 w, bool first) {
  const u32 below = shift_and_add_row(even, odd, x, y, 0, first);
  add_row(even, odd, z, w);
  clear_lowest<M>(even, odd, below, first);
}

// The total of both numbers after the last step, divided by W. Below 2p.
RM_DEV void product_total(u32* out, const u32* even, const u32* odd) {
  out[0] = add_cc(odd[0], even[1]);
#pragma unroll
  for (int k = 1; k < 7; k++) out[k] = addc_cc(odd[k], even[k + 1]);
  out[7] = addc(odd[7], 0);
}

// a * b / R, below 2p.
template <class M>
RM_DEV void product_columns(u32* out, const u32* a, const u32* b) {
  u32 even[8], odd[8];
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    product_step<M>(even, odd, a, b[i], 0, i == 0);
    product_step<M>(odd, even, a, b[i + 1], 0, false);
  }
  // After an even number of steps the last one's `even` is ours called odd.
  product_total(out, odd, even);
}

// (a * b + c * d) / R, below 2p: one reduction for two products.
template <class M>
RM_DEV void product_sum_columns(u32* out, const u32* a, const u32* b, const u32* c, const u32* d) {
  u32 even[8], odd[8];
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    product_sum_step<M>(even, odd, a, b[i], c, d[i], i == 0);
    product_sum_step<M>(odd, even, a, b[i + 1], c, d[i + 1], false);
  }
  product_total(out, odd, even);
}

// One step of a sum of K products.
template <class M, int K>
RM_DEV void dot_step(u32* even, u32* odd, const u32* const* a, const u32* const* b, int i) {
  const u32 below = shift_and_add_row(even, odd, a[0], b[0][i], 0, i == 0);
#pragma unroll
  for (int k = 1; k < K; k++) add_row(even, odd, a[k], b[k][i]);
  clear_lowest<M>(even, odd, below, i == 0);
}

// (sum of a[k] * b[k]) / R for up to four products, below 2p: one reduction for all.
template <class M, int K>
RM_DEV void dot_columns(u32* out, const u32* const* a, const u32* const* b) {
  static_assert(1 <= K && K <= 4, "the total of more products has no room");
  u32 even[8], odd[8];
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    dot_step<M, K>(even, odd, a, b, i);
    dot_step<M, K>(odd, even, a, b, i + 1);
  }
  product_total(out, odd, even);
}

// a * a / R, below 2p. Each product of two different limbs is taken once, with one of them doubled:
// step i multiplies limb i with itself and with the limbs above it of 2a.
template <class M>
RM_DEV void square_columns(u32* out, const u32* a) {
  u32 even[8], odd[8], x[8], twice[8];
  twice[0] = twice[1] = 0;
#pragma unroll
  for (int j = 2; j < 8; j++) twice[j] = a[j] << 1 | a[j - 1] >> 31;
#pragma unroll
  for (int i = 0; i < 8; i++) {
#pragma unroll
    // The bit that comes into limb i + 1 of 2a from below belongs to limb i, which is not doubled.
    for (int j = 0; j < 8; j++) x[j] = j == i ? a[j] : j == i + 1 ? a[j] << 1 : twice[j];
    if (i % 2 == 0)
      product_step<M>(even, odd, x, a[i], i, i == 0);
    else
      product_step<M>(odd, even, x, a[i], i, false);
  }
  product_total(out, odd, even);
}
