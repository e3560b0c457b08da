// The passes of a multi-scalar multiplication that partition its digits. They do what count and scatter of msm.cuh do,
// for many digits: these are partitioned by the highest bits of their keys first, so that a block meets few keys and
// counts them in shared memory. The passes, in order: bins, scan_folds of msm.cuh, partition, tile_count, tile_scatter.
#pragma once

#include "msm.cuh"

// Bins of a partition: keys by their highest bits.
#define RM_BINS 2048u
// Scalars of a thread of the passes that partition, so that a block has many digits for each bin.
#define RM_SCALARS 8u
// Digits of a tile, which a block sorts, and its keys from the first key of its first bin that are counted in shared
// memory.
#define RM_TILE 4096u
#define RM_TILE_KEYS 4096u

// A digit: the key of its bucket, and the entry that scatter writes for it.
struct MsmPair {
  u32 key, entry;
};

// Calls f(key, entry) for each digit of scalar i that is not zero.
template <class F>
RM_DEV void msm_each_digit(const MsmColumn& column, u64 i, F f) {
  if (i >= column.n) return;
  MsmDigits digits(column, i);
#pragma unroll 1
  for (u32 slice = 0; slice < column.slices; slice++) {
    u32 key = column.first_key;
#pragma unroll 1
    for (u32 w = 0; w < column.windows; w++) {
      const u32 bits = column.bits - (w >= column.tall ? 1 : 0);
      bool minus;
      const u32 d = digits.next(bits, minus);
      if (d != 0) f(key + d - 1, (slice * column.stride + (u32)i) << 1 | (minus ? 1u : 0u));
      key += 1u << (bits - 1);
    }
  }
}

// held[b] = number of this block's digits in bin b. All 256 threads of a block must call it.
RM_DEV void msm_count_bins(const MsmColumn& column, u32 shift, u32* held) {
  for (u32 b = threadIdx.x; b < RM_BINS; b += 256) held[b] = 0;
  __syncthreads();
  const u64 from = (u64)blockIdx.x * (256 * RM_SCALARS) + threadIdx.x;
#pragma unroll 1
  for (u32 s = 0; s < RM_SCALARS; s++)
    msm_each_digit(column, from + 256 * s, [&](u32 key, u32) { atomicAdd(&held[key >> shift], 1u); });
  __syncthreads();
}

// bins[b] += number of digits with key >> shift equal to b.
// Shapes: `columns` of grid.y; `bins` of RM_BINS, zero before. Valid for keys below RM_BINS << shift.
// Launched by `partition`, one thread per RM_SCALARS scalars of the longest column, one row of blocks per column.
// Twin: `msm_bins` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_bins(const MsmColumn* columns, u32 shift, u32* bins) {
  __shared__ u32 held[RM_BINS];
  const MsmColumn column = columns[blockIdx.y];
  // A whole block leaves, or none of its threads.
  if ((u64)blockIdx.x * (256 * RM_SCALARS) >= column.n) return;
  msm_count_bins(column, shift, held);
  for (u32 b = threadIdx.x; b < RM_BINS; b += 256)
    if (held[b] != 0) atomicAdd(&bins[b], held[b]);
}

// pairs[i] = a digit of bin b, for the i from where the bin starts to where the next does, in any order.
// Shapes: as `msm_bins`; `bins` the start of each bin before and its end after; `pairs` of the last end.
// Launched by `partition`, as `msm_bins`.
// Twin: `msm_partition` of `kernels/src/passes/twins.rs`, up to the order within a bin.
RM_KERNEL(256) msm_partition(const MsmColumn* columns, u32 shift, u32* bins, MsmPair* pairs) {
  __shared__ u32 held[RM_BINS];
  const MsmColumn column = columns[blockIdx.y];
  if ((u64)blockIdx.x * (256 * RM_SCALARS) >= column.n) return;
  msm_count_bins(column, shift, held);
  // Places for all of the block's digits of a bin at a time.
  for (u32 b = threadIdx.x; b < RM_BINS; b += 256)
    if (held[b] != 0) held[b] = atomicAdd(&bins[b], held[b]);
  __syncthreads();
  const u64 from = (u64)blockIdx.x * (256 * RM_SCALARS) + threadIdx.x;
  u32* const places = held;
#pragma unroll 1
  for (u32 s = 0; s < RM_SCALARS; s++)
    msm_each_digit(column, from + 256 * s, [&](u32 key, u32 entry) {
      pairs[atomicAdd(&places[key >> shift], 1u)] = {key, entry};
    });
}

// The digits of a tile: where they start and end, and the first key of their first bin.
struct MsmTile {
  u32 from, to, first;
  RM_DEV MsmTile(const MsmPair* pairs, u32 total, u32 shift) {
    const u64 start = (u64)blockIdx.x * RM_TILE;
    from = start < total ? (u32)start : total;
    to = start + RM_TILE < total ? (u32)(start + RM_TILE) : total;
    first = from < total ? pairs[from].key >> shift << shift : 0;
  }
  // held[k] = number of digits with key first + k, and counters[key] += 1 for a key that is not among these. All 256
  // threads of a block must call it.
  RM_DEV void count(const MsmPair* pairs, u32* held, u32* counters) const {
    for (u32 k = threadIdx.x; k < RM_TILE_KEYS; k += 256) held[k] = 0;
    __syncthreads();
    for (u32 i = from + threadIdx.x; i < to; i += 256) {
      const u32 key = pairs[i].key;
      if (key - first < RM_TILE_KEYS)
        atomicAdd(&held[key - first], 1u);
      else if (counters)
        atomicAdd(&counters[key], 1u);
    }
    __syncthreads();
  }
};

// counts[key] += number of digits with that key.
// Shapes: `pairs` of `total`, a number on the card; `counts` of one per bucket, zero before.
// Launched by `count_tiles`, one block per tile that there can be at most.
// Twin: `msm_tile_count` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_tile_count(const MsmPair* pairs, const u32* total, u32 shift, u32* counts) {
  __shared__ u32 held[RM_TILE_KEYS];
  const MsmTile tile(pairs, *total, shift);
  if (tile.from == tile.to) return;
  tile.count(pairs, held, counts);
  for (u32 k = threadIdx.x; k < RM_TILE_KEYS; k += 256)
    if (held[k] != 0) atomicAdd(&counts[tile.first + k], held[k]);
}

// entries[i] = the entry of a digit, for the i from where its bucket starts to where the next does, in any order.
// Shapes: as `msm_tile_count`; `cursors` and `entries` as `msm_scatter`.
// Launched by `scatter_tiles`, as `msm_tile_count`.
// Twin: `msm_tile_scatter` of `kernels/src/passes/twins.rs`, up to the order within a bucket.
RM_KERNEL(256) msm_tile_scatter(const MsmPair* pairs, const u32* total, u32 shift, u32* cursors, u32* entries) {
  __shared__ u32 held[RM_TILE_KEYS];
  const MsmTile tile(pairs, *total, shift);
  if (tile.from == tile.to) return;
  tile.count(pairs, held, nullptr);
  for (u32 k = threadIdx.x; k < RM_TILE_KEYS; k += 256)
    if (held[k] != 0) held[k] = atomicAdd(&cursors[tile.first + k], held[k]);
  __syncthreads();
  for (u32 i = tile.from + threadIdx.x; i < tile.to; i += 256) {
    const MsmPair pair = pairs[i];
    const u32 at = pair.key - tile.first < RM_TILE_KEYS ? atomicAdd(&held[pair.key - tile.first], 1u)
                                                        : atomicAdd(&cursors[pair.key], 1u);
    entries[at] = pair.entry;
  }
}
