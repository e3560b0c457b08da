// Number-theoretic transforms in natural order: the self-sorting form of Stockham, with a radix of up
// to 256 a pass, so that a transform of 2^24 elements reads and writes memory three times.
// Source: Govindaraju et al., "High Performance Discrete Fourier Transforms on Graphics Processors"
// (2008), section 3: pass with `done` = product of the radices before it reads elements j + r * n/R,
// turns them by omega_(done*R)^((j mod done) * r), transforms the R values and writes them to
// (j / done) * done * R + (j mod done) + r * done.
#pragma once

#include "field.cuh"

#define RM_NTT_BATCH 16
#define RM_NTT_LOG_ROOT 28
#define RM_NTT_LOG_LOW 14

struct NttColumns {
  const Fr* in[RM_NTT_BATCH];
  Fr* out[RM_NTT_BATCH];
};

// Powers of one element in two tables: base^e = low[e mod 2^14] * high[e / 2^14].
RM_DEV Fr power_from(const Fr* low, const Fr* high, u32 e) {
  const u32 rest = e & ((1u << RM_NTT_LOG_LOW) - 1);
  const Fr top = high[e >> RM_NTT_LOG_LOW];
  return rest == 0 ? top : mul(top, low[rest]);
}

// One pass. Each block transforms `1 << log_tile` neighbouring j, R = 1 << log_radix values each.
// `roots` are the two tables of the root of order 2^28. Where `scale_in` is not null, inputs are
// first multiplied by its powers (two tables); where `scale_out` is not null, outputs go to index
// -i mod n, which makes the inverse transform, and are multiplied by its powers.
RM_KERNEL(256) ntt_pass(NttColumns columns, u32 log_n, u32 log_done, u32 log_radix, u32 log_tile,
                        const Fr* roots, const Fr* scale_in, const Fr* scale_out, u32 low_len) {
  RM_SHARED(Fr, tile);
  const Fr* in = columns.in[blockIdx.y];
  Fr* out = columns.out[blockIdx.y];
  const u32 radix = 1u << log_radix, width = 1u << log_tile;
  const u32 log_stride = log_n - log_radix;
  const u32 n_mask = (u32)((1ull << log_n) - 1);
  const u32 done_mask = (1u << log_done) - 1;
  const u32 j0 = blockIdx.x << log_tile;
  const Fr* roots_high = roots + (1u << RM_NTT_LOG_LOW);
  // Exponents are in steps of the root of order 2^28.
  const u32 twist = RM_NTT_LOG_ROOT - log_done - log_radix;

  for (u32 k = threadIdx.x; k < radix * width; k += blockDim.x) {
    const u32 r = k >> log_tile, j = j0 + (k & (width - 1));
    const u32 i = j + (r << log_stride);
    Fr x = in[i];
    if (scale_in) x = mul(x, power_from(scale_in, scale_in + low_len, i));
    const u32 e = (j & done_mask) * r;
    if (e != 0) x = mul(x, power_from(roots, roots_high, e << twist));
    // Bit-reversed, as decimation in time wants it.
    const u32 at = log_radix == 0 ? 0 : __brev(r) >> (32 - log_radix);
    tile[at << log_tile | (k & (width - 1))] = x;
  }
  __syncthreads();

  for (u32 layer = 0; layer < log_radix; layer++) {
    for (u32 k = threadIdx.x; k < radix * width / 2; k += blockDim.x) {
      const u32 column = k & (width - 1), pair = k >> log_tile;
      const u32 low_bits = pair & ((1u << layer) - 1);
      const u32 a = (pair >> layer) << (layer + 1) | low_bits;
      Fr* pa = tile + (a << log_tile | column);
      Fr* pb = pa + (1u << (layer + log_tile));
      const Fr x = *pa;
      Fr y = *pb;
      if (low_bits != 0) {
        // A root of order 2^(layer + 1), and layer < 8: the high table alone has it.
        const u32 e = low_bits << (RM_NTT_LOG_ROOT - RM_NTT_LOG_LOW - layer - 1);
        y = mul(y, roots_high[e]);
      }
      *pa = add(x, y);
      *pb = sub(x, y);
    }
    __syncthreads();
  }

  for (u32 k = threadIdx.x; k < radix * width; k += blockDim.x) {
    // Before the first pass has spread values out, a block's outputs lie row after row.
    u32 r, c;
    if (log_done >= log_tile) {
      r = k >> log_tile;
      c = k & (width - 1);
    } else {
      r = k & (radix - 1);
      c = k >> log_radix;
    }
    const u32 j = j0 + c;
    u32 i = ((j >> log_done) << (log_done + log_radix)) + (j & done_mask) + (r << log_done);
    Fr x = tile[r << log_tile | c];
    if (scale_out) {
      i = (0u - i) & n_mask;
      x = mul(x, power_from(scale_out, scale_out + low_len, i));
    }
    out[i] = x;
  }
}
