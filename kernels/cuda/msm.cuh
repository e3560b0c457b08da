// Multi-scalar multiplication by buckets (Pippenger 1976) with signed digits, for all columns of a commitment at
// once. Every pass covers every column: the key of a bucket counts through the columns, the windows of a column
// and the buckets of a window. The passes, in order:
//   classify                      how many scalars of a column have how many bits, once s and r - s are folded
//   count                         digits in each bucket
//   fold_counts, scan_folds, scan_counts   where the entries of each bucket start
//   sizes, scan_folds, order      buckets cut into pieces of bounded length, so that a bucket that holds everything
//                                 is the work of many threads; the longest first, so that the threads of a warp
//                                 end together
//   scatter                       (base, sign) of each digit, bucket by bucket
//   bins, scan_folds, partition, tile_count, tile_scatter   what count and scatter do, for many digits: partition.cuh
//   accumulate                    one thread per piece
//   merge                         the pieces of each bucket that was cut
//   reduce, finish                sum over b of (b + 1) * bucket b, for each window
// Sizes that depend on the scalars stay on the card: launches cover an upper bound, and threads without work leave.
// Zero digits and digits above the largest scalar leave no trace in any pass.
//
// The bases may come with multiples: slice j of the table has 2^(j * span) times each base, so that the digits of
// all slices share one set of buckets. Without a table there is one slice.
#pragma once

#include "curve.cuh"
#include "vector.cuh"

#define RM_NO_KEY 0xffffffffu
// Counters that one thread scans.
#define RM_COUNTERS 16
// Lengths of scalars in bits, 0 to 253, rounded up.
#define RM_LENGTHS 256

// A column of a commitment, with the plan for its digits.
struct MsmColumn {
  const Fr* scalars;
  u64 n;
  u32 bits;       // of the lowest windows of a slice
  u32 tall;       // how many windows have so many bits; those above have one less
  u32 windows;    // of a slice
  u32 slices;     // that the column's digits reach
  u32 first_key;  // of the lowest window
  u32 stride;     // bases in a slice of the table
};

// A window of a column, which has 2^log_buckets buckets. The list ends with one more, which has only `first_group`.
struct MsmWindow {
  u32 first_key;
  u32 log_buckets;
  u32 first_group;  // groups of a warp's buckets, counted through all windows
  u32 unused;
};

// A piece of a bucket: entries from `start`, and where its sum goes.
struct MsmPiece {
  u32 start, length, slot;
};

// A bucket of several pieces, whose sums are at `slot` and after.
struct MsmCut {
  u32 key, slot, pieces;
};

// The number s or r - s, whichever is smaller; says which.
RM_DEV Fr fold_scalar(const Fr& scalar, bool& negative) {
  const Fr s = to_number(scalar);
  Fr other;
  const Fr r = Fr::modulus();
  sub_limbs(other.l, r.l, s.l);
  Fr unused;
  // other < s exactly when the difference borrows.
  negative = sub_limbs(unused.l, other.l, s.l) != 0;
  return negative ? other : s;
}

RM_DEV u32 bit_length(const Fr& s) {
  u32 bits = 0;
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (s.l[i] != 0) bits = 32 * i + 32 - __clz(s.l[i]);
  return bits;
}

// Adds one to counters[key] for each lane with a key, one atomic for each distinct key of the warp;
// gives the value before, as if lanes had come one after the other. All lanes must call it.
RM_DEV u32 warp_count(u32* counters, u32 key) {
  const u32 lane = threadIdx.x & 31;
  const u32 peers = __match_any_sync(0xffffffffu, key);
  const u32 leader = __ffs(peers) - 1;
  u32 before = 0;
  if (lane == leader && key != RM_NO_KEY) before = atomicAdd(&counters[key], (u32)__popc(peers));
  before = __shfl_sync(0xffffffffu, before, leader);
  return before + __popc(peers & ((1u << lane) - 1));
}

// lengths[256 k + b] += number of scalars of column k with min(s, r - s) of b bits.
// Shapes: `columns` of grid.y; `lengths` of 256 each, zero before. Valid for b from 0 to 253.
// Launched by `classify`, one thread per scalar of the longest column, one row of blocks per column.
// Twin: `msm_classify` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_classify(const MsmColumn* columns, u32* lengths) {
  __shared__ u32 held[RM_LENGTHS];
  const MsmColumn column = columns[blockIdx.y];
  // A whole block leaves, or none of its threads.
  if ((u64)blockIdx.x * blockDim.x >= column.n) return;
  held[threadIdx.x] = 0;
  __syncthreads();
  const u64 i = global_index();
  bool negative;
  const u32 bits = i < column.n ? bit_length(fold_scalar(column.scalars[i], negative)) : RM_NO_KEY;
  warp_count(held, bits);
  __syncthreads();
  const u32 found = held[threadIdx.x];
  if (found != 0) atomicAdd(&lengths[RM_LENGTHS * blockIdx.y + threadIdx.x], found);
}

// The signed digits of one scalar, window after window, lowest first.
struct MsmDigits {
  Fr s;
  bool negative;
  u32 carry;
  RM_DEV MsmDigits(const MsmColumn& column, u64 i) {
    negative = false;
    carry = 0;
    s = i < column.n ? fold_scalar(column.scalars[i], negative) : Fr::zero();
  }
  // Magnitude of the next digit of c bits, from 0 to 2^(c - 1); says whether it counts negative.
  RM_DEV u32 next(u32 c, bool& minus) {
    const u32 raw = (s.l[0] & ((1u << c) - 1)) + carry;
#pragma unroll
    for (int i = 0; i < 8; i++) s.l[i] = s.l[i] >> c | (i < 7 ? s.l[i < 7 ? i + 1 : 7] << (32 - c) : 0);
    carry = raw > 1u << (c - 1);
    minus = negative != (carry != 0);
    return carry ? (1u << c) - raw : raw;
  }
};

// counts[key] += number of digits of magnitude d in window w of column k, for every slice, where
// key = first key of the window + d - 1 and d > 0.
// Shapes: `columns` of grid.y; `counts` of one per bucket, zero before. Valid for windows of 1 to 20 bits that
// together have one bit more than the longest scalar.
// Launched by `count_digits`, one thread per scalar of the longest column, one row of blocks per column.
// Twin: `msm_count` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_count(const MsmColumn* columns, u32* counts) {
  const MsmColumn column = columns[blockIdx.y];
  if ((u64)blockIdx.x * blockDim.x >= column.n) return;
  MsmDigits digits(column, global_index());
#pragma unroll 1
  for (u32 slice = 0; slice < column.slices; slice++) {
    u32 key = column.first_key;
#pragma unroll 1
    for (u32 w = 0; w < column.windows; w++) {
      const u32 bits = column.bits - (w >= column.tall ? 1 : 0);
      bool minus;
      const u32 d = digits.next(bits, minus);
      warp_count(counts, d == 0 ? RM_NO_KEY : key + d - 1);
      key += 1u << (bits - 1);
    }
  }
}

// entries[i] = 2 * (slice * stride + index of the scalar) + sign, for the i from where the digit's bucket starts to
// where the next does, in any order.
// Shapes: `columns` of grid.y; `cursors` of one per bucket, the offset of its entries before and of the next
// bucket's after; `entries` of the last offset.
// Launched by `scatter`, one thread per scalar of the longest column, one row of blocks per column.
// Twin: `msm_scatter` of `kernels/src/passes/twins.rs`, up to the order within a bucket.
RM_KERNEL(256) msm_scatter(const MsmColumn* columns, u32* cursors, u32* entries) {
  const MsmColumn column = columns[blockIdx.y];
  if ((u64)blockIdx.x * blockDim.x >= column.n) return;
  const u64 i = global_index();
  MsmDigits digits(column, i);
#pragma unroll 1
  for (u32 slice = 0; slice < column.slices; slice++) {
    u32 key = column.first_key;
#pragma unroll 1
    for (u32 w = 0; w < column.windows; w++) {
      const u32 bits = column.bits - (w >= column.tall ? 1 : 0);
      bool minus;
      const u32 d = digits.next(bits, minus);
      const u32 at = warp_count(cursors, d == 0 ? RM_NO_KEY : key + d - 1);
      if (d != 0) entries[at] = (slice * column.stride + (u32)i) << 1 | (minus ? 1u : 0u);
      key += 1u << (bits - 1);
    }
  }
}

// Where the counters of this thread start and end.
struct MsmCounters {
  u64 from, to;
  RM_DEV MsmCounters(u64 n) {
    from = global_index() * RM_COUNTERS;
    to = from + RM_COUNTERS < n ? from + RM_COUNTERS : n;
  }
};

// The sum of what the threads before this one have. All 256 threads of a block must call it.
RM_DEV u32 msm_scan_block(u32* held, u32 mine) {
  held[threadIdx.x] = mine;
  __syncthreads();
#pragma unroll 1
  for (u32 step = 1; step < 256; step *= 2) {
    const u32 before = threadIdx.x >= step ? held[threadIdx.x - step] : 0;
    __syncthreads();
    held[threadIdx.x] += before;
    __syncthreads();
  }
  return held[threadIdx.x] - mine;
}

// out[j] = sum of in[i] for i in block j of 4096.
// Shapes: `in` of n, `out` of one per block.
// Launched by `scan_counts`, one thread per 16 counters.
// Twin: `msm_fold_counts` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_fold_counts(u32* out, const u32* in, u64 n) {
  __shared__ u32 sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  const MsmCounters mine(n);
  u32 part = 0;
  for (u64 i = mine.from; i < mine.to; i++) part += in[i];
  if (part != 0) atomicAdd(&sum, part);
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// values[i] = sum of values[j] for j < i, in place.
// Shapes: `values` of n. Valid for any n; meant for a few thousand.
// Launched by `scan_in_place`, one block.
// Twin: `msm_scan_folds` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_scan_folds(u32* values, u32 n) {
  __shared__ u32 held[256];
  const u32 each = (n + 255) / 256;
  const u32 from = threadIdx.x * each < n ? threadIdx.x * each : n;
  const u32 to = from + each < n ? from + each : n;
  u32 part = 0;
  for (u32 i = from; i < to; i++) part += values[i];
  u32 sum = msm_scan_block(held, part);
  for (u32 i = from; i < to; i++) {
    const u32 x = values[i];
    values[i] = sum;
    sum += x;
  }
}

// offsets[i] = cursors[i] = folds[i / 4096] + sum of counts[j] for the j < i of the same block.
// Shapes: all of n but `folds`, which has one per block.
// Launched by `scan_counts`, one thread per 16 counters.
// Twin: `msm_scan_counts` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_scan_counts(u32* offsets, u32* cursors, const u32* counts, const u32* folds, u64 n) {
  __shared__ u32 held[256];
  const MsmCounters mine(n);
  u32 part = 0;
  for (u64 i = mine.from; i < mine.to; i++) part += counts[i];
  u32 sum = folds[blockIdx.x] + msm_scan_block(held, part);
  for (u64 i = mine.from; i < mine.to; i++) {
    const u32 x = counts[i];
    offsets[i] = sum;
    cursors[i] = sum;
    sum += x;
  }
}

// A bucket's entries as pieces: so many of the full length, and the rest.
struct MsmPieces {
  u32 start, full, rest;
  RM_DEV MsmPieces(const u32* offsets, u32 keys, u32 length, u64 key) {
    start = key < keys ? offsets[key] : 0;
    const u32 count = key < keys ? offsets[key + 1] - start : 0;
    full = count / length;
    rest = count % length;
  }
  RM_DEV u32 count() const { return full + (rest != 0 ? 1 : 0); }
};

// bins[length - size] += number of pieces of that size: the longest come first.
// Shapes: `offsets` of keys + 1, `bins` of length + 1, zero before; the last stays zero.
// Launched by `cut_pieces`, one thread per bucket.
// Twin: `msm_sizes` of `kernels/src/passes/twins.rs`.
RM_KERNEL(256) msm_sizes(const u32* offsets, u32 keys, u32 length, u32* bins) {
  const MsmPieces pieces(offsets, keys, length, global_index());
  warp_count(bins, pieces.rest != 0 ? length - pieces.rest : RM_NO_KEY);
  if (pieces.full != 0) atomicAdd(&bins[0], pieces.full);
}

// Writes the pieces in the order of their size. The sum of a bucket of one piece goes to sums[key]; those of one
// that is cut go to neighbouring slots from `keys` on, and the bucket to `cuts`. found[0] = buckets that are cut,
// found[1] = their pieces.
// Shapes: `offsets` of keys + 1; `bins` of length + 1, where each size starts before, and where the next does after;
// `found` zero before; `pieces` and `cuts` as many as there are at most.
// Launched by `cut_pieces`, one thread per bucket.
// Twin: `msm_order` of `kernels/src/passes/twins.rs`, up to the order within a size and of the slots.
RM_KERNEL(256) msm_order(const u32* offsets, u32 keys, u32 length, u32* bins, u32* found, MsmPiece* pieces,
                         MsmCut* cuts) {
  const u64 key = global_index();
  const MsmPieces mine(offsets, keys, length, key);
  const u32 last = warp_count(bins, mine.rest != 0 ? length - mine.rest : RM_NO_KEY);
  u32 slot = (u32)key;
  if (mine.count() > 1) {
    slot = keys + atomicAdd(&found[1], mine.count());
    cuts[atomicAdd(&found[0], 1u)] = {(u32)key, slot, mine.count()};
  }
  if (mine.full != 0) {
    const u32 first = atomicAdd(&bins[0], mine.full);
    for (u32 i = 0; i < mine.full; i++) pieces[first + i] = {mine.start + i * length, length, slot + i};
  }
  if (mine.rest != 0) pieces[last] = {mine.start + mine.full * length, mine.rest, slot + mine.full};
}

// sums[slot] = sum of the bases of a piece's entries, each with its sign.
// Shapes: `pieces` of `total`, a number on the card; `bases` of all slices. Valid for every case of equal, opposite
// and absent points. Formulas: curve.cuh.
// Launched by `accumulate`, one thread per piece that there can be at most.
// Twin: `msm_accumulate` of `kernels/src/passes/twins.rs`, as points.
RM_KERNEL(128) msm_accumulate(const MsmPiece* pieces, const u32* total, const u32* entries, const Affine* bases,
                              Xyzz* sums) {
  const u64 t = global_index();
  if (t >= *total) return;
  const MsmPiece piece = pieces[t];
  Xyzz sum = Xyzz::identity();
  for (u32 i = 0; i < piece.length; i++) {
    const u32 entry = entries[piece.start + i];
    Affine p = bases[entry >> 1];
    if (entry & 1) p.y = neg(p.y);
    add_mixed(sum, p);
  }
  sums[piece.slot] = sum;
}

// sums[key] = sum of sums[slot + i] for i below the pieces of each cut bucket, by a tree in shared memory.
// Shapes: `cuts` of `count`, a number on the card. Reads slots of pieces only, writes slots of buckets only.
// Launched by `merge`, one block per cut bucket at a time.
// Twin: `msm_merge` of `kernels/src/passes/twins.rs`, as points.
RM_KERNEL(128) msm_merge(const MsmCut* cuts, const u32* count, Xyzz* sums) {
  __shared__ Xyzz held[128];
  const u32 total = *count;
#pragma unroll 1
  for (u32 j = blockIdx.x; j < total; j += gridDim.x) {
    const MsmCut cut = cuts[j];
    Xyzz sum = Xyzz::identity();
#pragma unroll 1
    for (u32 i = threadIdx.x; i < cut.pieces; i += 128) sum = sum_of(sum, sums[cut.slot + i]);
    held[threadIdx.x] = sum;
    __syncthreads();
#pragma unroll 1
    for (u32 step = 64; step > 0; step /= 2) {
      if (threadIdx.x < step) held[threadIdx.x] = sum_of(held[threadIdx.x], held[threadIdx.x + step]);
      __syncthreads();
    }
    if (threadIdx.x == 0) sums[cut.key] = held[0];
  }
}

// 2^bits * p.
RM_NOINLINE Xyzz msm_times_power(Xyzz p, u32 bits) {
#pragma unroll 1
  for (u32 i = 0; i < bits; i++) p = dbl(p);
  return p;
}

// The sum of what this lane and those above it in its warp have. All lanes must call it.
RM_DEV Xyzz msm_sum_above(Xyzz* held, Xyzz mine) {
  const u32 lane = threadIdx.x & 31;
#pragma unroll 1
  for (u32 step = 1; step < 32; step *= 2) {
    held[threadIdx.x] = mine;
    __syncwarp();
    if (lane + step < 32) mine = sum_of(mine, held[threadIdx.x + step]);
    __syncwarp();
  }
  return mine;
}

// In lane 0: the sum of what all lanes of the warp have. All lanes must call it.
RM_DEV Xyzz msm_sum_of_warp(Xyzz* held, Xyzz mine) {
  const u32 lane = threadIdx.x & 31;
#pragma unroll 1
  for (u32 step = 16; step > 0; step /= 2) {
    held[threadIdx.x] = mine;
    __syncwarp();
    if (lane < step) mine = sum_of(mine, held[threadIdx.x + step]);
    __syncwarp();
  }
  return mine;
}

// The window that has this group.
RM_DEV u32 msm_window_of(const MsmWindow* windows, u32 count, u32 group) {
  u32 low = 0, high = count;  // windows[low].first_group <= group < windows[high].first_group
  while (high - low > 1) {
    const u32 middle = (low + high) / 2;
    if (windows[middle].first_group <= group)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// For each group of 32 * 2^log_segment buckets of a window: totals[g] = their sum, weighted[g] = sum over b of
// (b + 1) * bucket b, b counted from the group's first. A lane adds the buckets of its segment from the last to the
// first, which weighs them; a warp weighs the segments by sums over the lanes above.
// Shapes: `sums` and `offsets` of the buckets, of which empty ones are not read; `windows` of count + 1; `totals` and
// `weighted` of the groups.
// Launched by `reduce`, one warp per group.
// Twin: `msm_reduce` of `kernels/src/passes/twins.rs`, as points.
RM_KERNEL(128) msm_reduce(const Xyzz* sums, const u32* offsets, const MsmWindow* windows, u32 count, u32 log_segment,
                          u32 groups, Xyzz* totals, Xyzz* weighted) {
  __shared__ Xyzz held[128];
  const u32 group = (u32)(global_index() >> 5), lane = threadIdx.x & 31;
  // A whole warp leaves, or none of its lanes.
  if (group >= groups) return;
  const MsmWindow window = windows[msm_window_of(windows, count, group)];
  const u32 buckets = 1u << window.log_buckets;
  const u32 from = ((group - window.first_group) << 5 | lane) << log_segment;
  const u32 to = from + (1u << log_segment) < buckets ? from + (1u << log_segment) : buckets;
  Xyzz running = Xyzz::identity(), sum = Xyzz::identity();
#pragma unroll 1
  for (u32 b = to; b > from; b--) {
    const u32 key = window.first_key + b - 1;
    if (offsets[key + 1] != offsets[key]) running = sum_of(running, sums[key]);
    sum = sum_of(sum, running);
  }
  // The sum over the lanes of lane * running is that over the lanes but the first of what they and those above have.
  running = msm_sum_above(held, running);
  if (lane == 0) totals[group] = running;
  if (lane != 0) sum = sum_of(sum, msm_times_power(running, log_segment));
  sum = msm_sum_of_warp(held, sum);
  if (lane == 0) weighted[group] = sum;
}

// out[w] = sum over the groups g of window w, counted from its first, of weighted[g] + g * 32 * 2^log_segment *
// totals[g].
// Shapes: `windows` of count + 1, `out` of count.
// Launched by `reduce`, one warp per window.
// Twin: `msm_finish` of `kernels/src/passes/twins.rs`, as points.
RM_KERNEL(128) msm_finish(const Xyzz* totals, const Xyzz* weighted, const MsmWindow* windows, u32 count,
                          u32 log_segment, Xyzz* out) {
  __shared__ Xyzz held[128];
  const u32 w = (u32)(global_index() >> 5), lane = threadIdx.x & 31;
  if (w >= count) return;
  const u32 first = windows[w].first_group, groups = windows[w + 1].first_group - first;
  // Groups of a lane: a power of two.
  u32 log_each = 0;
  while (32u << log_each < groups) log_each++;
  const u32 from = lane << log_each;
  const u32 to = from + (1u << log_each) < groups ? from + (1u << log_each) : groups;
  Xyzz running = Xyzz::identity(), sum = Xyzz::identity();
#pragma unroll 1
  for (u32 g = to; g > from; g--) {
    sum = sum_of(sum, running);
    running = sum_of(running, totals[first + g - 1]);
  }
  running = msm_sum_above(held, running);
  if (lane != 0) sum = sum_of(sum, msm_times_power(running, log_each));
  sum = msm_times_power(sum, log_segment + 5);
#pragma unroll 1
  for (u32 g = from; g < to; g++) sum = sum_of(sum, weighted[first + g]);
  sum = msm_sum_of_warp(held, sum);
  if (lane == 0) out[w] = sum;
}

// out[i] = 2^bits * in[i], affine. Valid for every point of the curve; the identity stays (0, 0).
// Launched by `register_bases`, one thread per base, slice after slice of the table.
// Twin: `msm_multiples` of `kernels/src/passes/twins.rs`.
RM_KERNEL(128) msm_multiples(const Affine* in, u64 n, u32 bits, Affine* out) {
  const u64 i = global_index();
  if (i >= n) return;
  const Xyzz p = msm_times_power(Xyzz::from(in[i]), bits);
  // ZZ^3 = ZZZ^2, so that 1 / ZZ = (ZZ / ZZZ)^2. The inverse of zero is zero.
  const Fq inverse = inv(p.zzz);
  out[i] = {mul(p.x, sqr(mul(p.zz, inverse))), mul(p.y, inverse)};
}
