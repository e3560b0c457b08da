// Number-theoretic transforms in natural order: the self-sorting form of Stockham, with a radix of up
// to 256 a pass, so that a transform of 2^24 elements reads and writes memory three times.
// Source: Govindaraju et al., "High Performance Discrete Fourier Transforms on Graphics Processors"
// (2008), section 3: pass with `done` = product of the radices before it reads elements j + r * n/R,
// turns them by omega_(done*R)^((j mod done) * r), transforms the R values and writes them to
// (j / done) * done * R + (j mod done) + r * done.
//
// Products. The turn is one product with a table of `done * R` factors, which for a coset also hold the
// powers of its shift: value r of a pass comes from coefficients whose indices differ by r * n/(done * R)
// from those of value 0, so that pass by pass all of shift^i is multiplied in, and no table is longer
// than the transform. Within a pass a thread holds eight values and computes up to three layers in
// registers. Layers whose roots are 1, which are those of the first values of each group, take no
// product: it is left out when the kernel is compiled. With layers of radix 2, half a product per
// element and layer is the least; radix 8 takes 12/8 for three layers, 5/8 for the first three.
#pragma once

#include "field.cuh"

#define RM_NTT_BATCH 16
#define RM_NTT_LOG_ROOT 28
#define RM_NTT_LOG_LOW 14
// The largest radix of a pass.
#define RM_NTT_LOG_RADIX 8
// Layers that a thread computes in registers, and values that it holds.
#define RM_NTT_BITS 3
#define RM_NTT_VALUES (1 << RM_NTT_BITS)

struct NttColumns {
  const Fr* in[RM_NTT_BATCH];
  Fr* out[RM_NTT_BATCH];
};

// The powers of the root of order 8, in Montgomery form.
struct NttEighth {
  RM_DEV static constexpr u32 limb(int power, int i) {
    constexpr u32 v[4][8] = {
        {0x4ffffffbu, 0xac96341cu, 0x9f60cd29u, 0x36fc7695u, 0x7879462eu, 0x666ea36fu, 0x9a07df2fu, 0x0e0a77c1u},
        {0xb5ad7c3fu, 0xf8ad4ae2u, 0x83cb85beu, 0x2d60c6ffu, 0x5d9429f7u, 0xd976fd2bu, 0x3f9ad9a9u, 0x24407ce7u},
        {0x9edcef8bu, 0x7f753d97u, 0xb1479120u, 0x5f3f172cu, 0x74096c6eu, 0x8db16279u, 0x39c108cfu, 0x2b377b35u},
        {0x125d6166u, 0x11da29b6u, 0x5389b195u, 0xb069b2a2u, 0xd1277a24u, 0x7ad23dd6u, 0xae748ed2u, 0x1dbb3113u}};
    return v[power][i];
  }
  RM_DEV static Fr to(int power) {
    Fr out;
#pragma unroll
    for (int i = 0; i < 8; i++) out.l[i] = limb(power, i);
    return out;
  }
};

// Half an element. A tile keeps all low halves and then all high ones, so that neighbouring threads
// read neighbouring 16 bytes.
struct alignas(16) NttHalf {
  u32 l[4];
};

struct NttTile {
  NttHalf* halves;
  u32 log_tile, size;

  // Shared memory has eight groups of banks of 16 bytes. A column's values lie 2^log_tile places apart;
  // the bits above the lowest three choose the group too, so that eight neighbouring columns of a row,
  // eight neighbouring rows of a column and every eighth row lie in different groups.
  RM_DEV u32 place(u32 row, u32 column) const {
    const u32 at = row << log_tile | column;
    return at ^ (at >> 3 & 7);
  }
  RM_DEV Fr get(u32 row, u32 column) const {
    const NttHalf low = halves[place(row, column)], high = halves[size + place(row, column)];
    Fr x;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      x.l[i] = low.l[i];
      x.l[4 + i] = high.l[i];
    }
    return x;
  }
  RM_DEV void put(u32 row, u32 column, const Fr& x) const {
    NttHalf low, high;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      low.l[i] = x.l[i];
      high.l[i] = x.l[4 + i];
    }
    halves[place(row, column)] = low;
    halves[size + place(row, column)] = high;
  }
};

// The layers that a thread computes at a time: `bits` of them, after `layer` that are done. They join
// values whose rows differ in these bits.
struct NttLayers {
  u32 log_radix, group, layer, bits;

  // Eight values are one group of three layers, two of two layers, or four of one.
  RM_DEV u32 group_of(u32 m) const { return group + (m >> bits) * ((1u << log_radix) >> RM_NTT_BITS); }
  RM_DEV u32 in_group(u32 m) const { return m & ((1u << bits) - 1); }
  // The row of value m.
  RM_DEV u32 row(u32 m) const {
    const u32 of = group_of(m), low = of & ((1u << layer) - 1);
    return (of - low) << bits | in_group(m) << layer | low;
  }
  // Rows hold inputs in bit-reversed order.
  RM_DEV u32 input(u32 m) const { return log_radix == 0 ? 0 : __brev(row(m)) >> (32 - log_radix); }
  // Exponent of the root of order 2^RM_NTT_LOG_RADIX that turns value m before layers after the first.
  RM_DEV u32 root(u32 m) const {
    const u32 low = group_of(m) & ((1u << layer) - 1);
    return low * (__brev(in_group(m)) >> (32 - bits)) << (RM_NTT_LOG_RADIX - layer - bits);
  }
  RM_DEV void compute(Fr* x) const {
#pragma unroll
    for (int t = 0; t < RM_NTT_BITS; t++) {
      if ((u32)t < bits) {
#pragma unroll
        for (int pair = 0; pair < RM_NTT_VALUES / 2; pair++) {
          const int low = pair & ((1 << t) - 1);
          const int a = (pair >> t) << (t + 1) | low, b = a | 1 << t;
          const Fr y = low == 0 ? x[b] : mul(x[b], NttEighth::to(low << (2 - t)));
          x[b] = sub(x[a], y);
          x[a] = add(x[a], y);
        }
      }
    }
  }
};

// What the values of a pass are multiplied with.
enum NttFactors { NTT_TWIST = 0, NTT_ROOTS = 1, NTT_SCALE = 2 };

// One pass. Each block transforms `1 << log_tile` neighbouring j, R = 1 << log_radix values each, of one
// of `count` columns; the blocks of all columns for the same j are neighbours, since they read the same
// factors. Value r of j is multiplied by twist[(j mod done) + r * done] and output i by scale[i], where
// these are not null. `roots` are the powers of the root of order 256. With `backwards`, outputs go to
// index -i mod n, which makes the inverse transform. A block has a thread for eight values.
// Launched by `run_pass`.
// Twin: `output` in `kernels/src/ntt/twin.rs`, for one output of a pass.
RM_KERNEL(128) ntt_pass(NttColumns columns, u32 count, u32 log_n, u32 log_done, u32 log_radix, u32 log_tile,
                        const Fr* roots, const Fr* twist, const Fr* scale, u32 backwards) {
  RM_SHARED(NttHalf, halves);
  const NttTile tile = {halves, log_tile, 1u << (log_radix + log_tile)};
  const Fr* in = columns.in[blockIdx.x % count];
  Fr* out = columns.out[blockIdx.x % count];
  const u32 n_mask = (u32)((1ull << log_n) - 1), done_mask = (1u << log_done) - 1;
  const u32 log_groups = log_radix > RM_NTT_BITS ? log_radix - RM_NTT_BITS : 0;
  const u32 j0 = (blockIdx.x / count) << log_tile;
  u32 column = threadIdx.x & ((1u << log_tile) - 1);
  NttLayers at = {log_radix, threadIdx.x >> log_tile, 0, log_radix < RM_NTT_BITS ? log_radix : RM_NTT_BITS};

  Fr x[RM_NTT_VALUES];
#pragma unroll
  for (int m = 0; m < RM_NTT_VALUES; m++) x[m] = in[j0 + column + (at.input(m) << (log_n - log_radix))];

  const Fr* factors = twist;
  u32 kind = NTT_TWIST;
#pragma unroll 1
  for (;;) {
    const u32 j = j0 + column, k = j & done_mask;
    const u32 first = ((j >> log_done) << (log_done + log_radix)) + k;
    auto factor = [&](u32 m) {
      if (kind == NTT_TWIST) return factors[k + (at.input(m) << log_done)];
      if (kind == NTT_ROOTS) return factors[at.root(m)];
      const u32 i = first + (at.row(m) << log_done);
      return factors[backwards ? (0u - i) & n_mask : i];
    };
    if (factors) {
      // The next factor is on its way during a product.
      Fr next = factor(0);
#pragma unroll
      for (int m = 0; m < RM_NTT_VALUES; m++) {
        const Fr y = next;
        if (m + 1 < RM_NTT_VALUES) next = factor(m + 1);
        if (kind != NTT_ROOTS || at.in_group(m) != 0) x[m] = mul(x[m], y);
      }
    }
    if (kind == NTT_SCALE) {
#pragma unroll
      for (int m = 0; m < RM_NTT_VALUES; m++) {
        const u32 i = first + (at.row(m) << log_done);
        out[backwards ? (0u - i) & n_mask : i] = x[m];
      }
      break;
    }

    at.compute(x);
    const u32 layer = at.layer + at.bits;
    if (layer == log_radix) {
      factors = scale;
      kind = NTT_SCALE;
      continue;
    }
    // A thread writes where it has read, so that one barrier is enough.
#pragma unroll
    for (int m = 0; m < RM_NTT_VALUES; m++) tile.put(at.row(m), column, x[m]);
    __syncthreads();
    at.layer = layer;
    at.bits = log_radix - layer < RM_NTT_BITS ? log_radix - layer : RM_NTT_BITS;
    if (layer + at.bits == log_radix && log_done < log_tile) {
      // Before the first pass has spread values out, a block's outputs lie row after row.
      column = threadIdx.x >> log_groups;
      at.group = threadIdx.x & ((1u << log_groups) - 1);
    }
#pragma unroll
    for (int m = 0; m < RM_NTT_VALUES; m++) x[m] = tile.get(at.row(m), column);
    factors = roots;
    kind = NTT_ROOTS;
  }
}

// Powers of the root of order 2^28 in two tables: root^e = roots[e mod 2^14] * roots[2^14 + e / 2^14].
RM_DEV Fr ntt_root(const Fr* roots, u32 e) {
  const u32 low = e & ((1u << RM_NTT_LOG_LOW) - 1);
  const Fr high = roots[(1u << RM_NTT_LOG_LOW) + (e >> RM_NTT_LOG_LOW)];
  return low == 0 ? high : mul(high, roots[low]);
}

// A table of factors: out[k + (r << log_low)] = starts[k] * steps[r] * w^(k * r), with w the root of order
// n = 2^log_n; without `starts` or `roots`, without that factor.
// Launched by `new_factor_table`, one thread for each factor.
// Twin: `factor_at` in `kernels/src/ntt/twin.rs`.
RM_KERNEL(256) ntt_table(Fr* out, const Fr* starts, const Fr* steps, const Fr* roots, u32 log_low, u32 log_n) {
  const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >> log_n) return;
  const u32 k = i & ((1u << log_low) - 1), r = i >> log_low;
  Fr x = steps[r];
  if (starts) x = mul(x, starts[k]);
  if (roots) x = mul(x, ntt_root(roots, (k * r) << (RM_NTT_LOG_ROOT - log_n)));
  out[i] = x;
}
