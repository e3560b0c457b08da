// Multi-scalar multiplication by buckets (Pippenger 1976) with signed digits. A column runs through:
//   classify    bits of the largest scalar once s and r - s are folded, and of all together
//   count       how many digits fall into each bucket of each window
//   scatter     (base, sign) of each digit, bucket by bucket
//   pieces      buckets cut into pieces of bounded length, so that one that holds everything is the
//               work of many threads; ordered by length, so that the threads of a warp end together
//   accumulate  a thread a piece
//   merge       pieces of one bucket into one sum, 16 to 1 a level
//   reduce      sum over b of b * bucket b, by segments, then segments into windows
// Zero digits and digits above the largest scalar leave no trace in any of these.
#pragma once

#include "curve.cuh"
#include "vector.cuh"

#define RM_NO_KEY 0xffffffffu
#define RM_MERGE 16

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

// out[0] = most bits, out[1] and out[2] = sum of bits (low and high word).
RM_KERNEL(256) msm_classify(const Fr* scalars, u64 n, u32* out) {
  __shared__ u32 most;
  __shared__ u32 sum;
  if (threadIdx.x == 0) most = sum = 0;
  __syncthreads();
  const u64 i = global_index();
  if (i < n) {
    bool negative;
    const u32 bits = bit_length(fold_scalar(scalars[i], negative));
    atomicMax(&most, bits);
    atomicAdd(&sum, bits);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    atomicMax(&out[0], most);
    atomicAdd(reinterpret_cast<u64*>(out + 2), (u64)sum);
  }
}

// The signed digits of one scalar, window after window, lowest first.
struct Digits {
  Fr s;
  bool negative;
  u32 carry;
  RM_DEV Digits(const Fr* scalars, u64 i, u64 n) {
    negative = false;
    carry = 0;
    s = i < n ? fold_scalar(scalars[i], negative) : Fr::zero();
  }
  // Magnitude of the next digit, from 0 to 2^(c - 1); says whether it counts negative.
  RM_DEV u32 next(u32 c, bool& minus) {
    const u32 raw = (s.l[0] & ((1u << c) - 1)) + carry;
#pragma unroll
    for (int i = 0; i < 8; i++) s.l[i] = s.l[i] >> c | (i < 7 ? s.l[i < 7 ? i + 1 : 7] << (32 - c) : 0);
    carry = raw > 1u << (c - 1);
    minus = negative != (carry != 0);
    return carry ? (1u << c) - raw : raw;
  }
};

RM_KERNEL(256) msm_count(const Fr* scalars, u64 n, u32 c, u32 windows, u32* counts) {
  Digits digits(scalars, global_index(), n);
  for (u32 w = 0; w < windows; w++) {
    bool minus;
    const u32 d = digits.next(c, minus);
    warp_count(counts, d == 0 ? RM_NO_KEY : (w << (c - 1)) + d - 1);
  }
}

// `cursors` begins as the offset of each bucket and ends as that of the next.
RM_KERNEL(256) msm_scatter(const Fr* scalars, u64 n, u32 c, u32 windows, u32* cursors, u32* entries) {
  const u64 i = global_index();
  Digits digits(scalars, i, n);
  for (u32 w = 0; w < windows; w++) {
    bool minus;
    const u32 d = digits.next(c, minus);
    const u32 at = warp_count(cursors, d == 0 ? RM_NO_KEY : (w << (c - 1)) + d - 1);
    if (d != 0) entries[at] = (u32)i << 1 | (minus ? 1u : 0u);
  }
}

// Sums of chunks, and the exclusive sums from them: as vector_fold and vector_scan, over counters.
RM_KERNEL(256) msm_fold_counts(u32* out, const u32* in, u64 n) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  u32 sum = 0;
  for (u64 i = from; i < to; i++) sum += in[i];
  out[j] = sum;
}

RM_KERNEL(256) msm_scan_counts(u32* out, const u32* in, const u32* before, u64 n) {
  const u64 j = global_index();
  const u64 from = j * RM_CHUNK;
  if (from >= n) return;
  const u64 to = from + RM_CHUNK < n ? from + RM_CHUNK : n;
  u32 sum = before ? before[j] : 0;
  for (u64 i = from; i < to; i++) {
    const u32 x = in[i];
    out[i] = sum;
    sum += x;
  }
}

// pieces[k] = how many pieces of `length` bucket k is cut into; `most` = the largest of them.
RM_KERNEL(256) msm_pieces(const u32* counts, u64 keys, u32 length, u32* pieces, u32* most) {
  __shared__ u32 most_here;
  if (threadIdx.x == 0) most_here = 0;
  __syncthreads();
  const u64 k = global_index();
  if (k < keys) {
    const u32 p = counts[k] / length + (counts[k] % length != 0);
    pieces[k] = p;
    if (p != 0) atomicMax(&most_here, p);
  }
  __syncthreads();
  if (threadIdx.x == 0) atomicMax(most, most_here);
}

// The bucket whose run of offsets holds `slot`; `offsets` has one more entry than there are buckets.
RM_DEV u64 bucket_of(const u32* offsets, u64 keys, u32 slot) {
  u64 low = 0, high = keys;  // offsets[low] <= slot < offsets[high]
  while (high - low > 1) {
    const u64 middle = (low + high) / 2;
    if (offsets[middle] <= slot)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// A piece of a bucket: entries from `start`, and where its sum goes.
struct Piece {
  u32 start, length, slot;
};

RM_DEV Piece piece_at(const u32* offsets, const u32* slots, u64 keys, u32 length, u32 slot) {
  const u64 k = bucket_of(slots, keys, slot);
  const u32 start = offsets[k] + (slot - slots[k]) * length;
  const u32 rest = offsets[k + 1] - start;
  return {start, rest < length ? rest : length, slot};
}

// bins[length - size] = how many pieces have that size: the longest come first.
RM_KERNEL(256) msm_sizes(const u32* offsets, const u32* slots, u64 keys, u32 length, u32 total, u32* bins) {
  const u64 slot = global_index();
  u32 bin = RM_NO_KEY;
  if (slot < total) bin = length - piece_at(offsets, slots, keys, length, (u32)slot).length;
  warp_count(bins, bin);
}

// `bins` begins as where each size starts.
RM_KERNEL(256) msm_order(const u32* offsets, const u32* slots, u64 keys, u32 length, u32 total, u32* bins,
                         Piece* out) {
  const u64 slot = global_index();
  Piece piece = {0, 0, 0};
  u32 bin = RM_NO_KEY;
  if (slot < total) {
    piece = piece_at(offsets, slots, keys, length, (u32)slot);
    bin = length - piece.length;
  }
  const u32 at = warp_count(bins, bin);
  if (slot < total) out[at] = piece;
}

RM_KERNEL(128) msm_accumulate(const Piece* pieces, u32 total, const u32* entries, const Affine* bases, Xyzz* sums) {
  const u64 t = global_index();
  if (t >= total) return;
  const Piece piece = pieces[t];
  Xyzz sum = Xyzz::identity();
  for (u32 i = 0; i < piece.length; i++) {
    const u32 entry = entries[piece.start + i];
    Affine p = bases[entry >> 1];
    if (entry & 1) p.y = neg(p.y);
    add_mixed(sum, p);
  }
  sums[piece.slot] = sum;
}

// Sums up to RM_MERGE neighbours of one bucket.
RM_KERNEL(128) msm_merge(const Xyzz* in, const u32* offsets, const u32* slots, u64 keys, u32 total, Xyzz* out) {
  const u64 slot = global_index();
  if (slot >= total) return;
  const Piece piece = piece_at(offsets, slots, keys, RM_MERGE, (u32)slot);
  Xyzz sum = in[piece.start];
  for (u32 i = 1; i < piece.length; i++) add_full(sum, in[piece.start + i]);
  out[slot] = sum;
}

// For segment s of a window: the sum over its buckets of (index + 1) * bucket. `slots` says where a
// bucket's one sum is, if it has any.
RM_KERNEL(128) msm_reduce(const Xyzz* sums, const u32* slots, u32 log_buckets, u32 log_segment, u32 total, Xyzz* out) {
  const u64 t = global_index();
  if (t >= total) return;
  const u32 log_segments = log_buckets - log_segment;
  const u32 window = (u32)(t >> log_segments);
  const u32 first = ((u32)t & ((1u << log_segments) - 1)) << log_segment;
  const u64 base = ((u64)window << log_buckets) + first;
  Xyzz running = Xyzz::identity(), weighted = Xyzz::identity();
  for (u32 b = 1u << log_segment; b-- > 0;) {
    const u32 slot = slots[base + b];
    if (slots[base + b + 1] != slot) running = sum_of(running, sums[slot]);
    weighted = sum_of(weighted, running);
  }
  // The buckets' indices begin at `first`.
  Xyzz multiple = Xyzz::identity();
  for (u32 bit = 32 - __clz(first); bit-- > 0;) {
    multiple = dbl(multiple);
    if (first >> bit & 1) multiple = sum_of(multiple, running);
  }
  out[t] = sum_of(weighted, multiple);
}

// Sums up to RM_MERGE neighbours of each row of `length`.
RM_KERNEL(128) msm_sum(const Xyzz* in, u32 length, u32 rows, Xyzz* out) {
  const u64 t = global_index();
  const u32 shorter = (length + RM_MERGE - 1) / RM_MERGE;
  if (t >= (u64)rows * shorter) return;
  const u32 row = (u32)(t / shorter), from = (u32)(t % shorter) * RM_MERGE;
  const u32 to = from + RM_MERGE < length ? from + RM_MERGE : length;
  const Xyzz* values = in + (u64)row * length;
  Xyzz sum = values[from];
  for (u32 i = from + 1; i < to; i++) add_full(sum, values[i]);
  out[t] = sum;
}
