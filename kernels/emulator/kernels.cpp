// The kernels for the emulator, and small ones that test it and the arithmetic by themselves.
#include "../cuda/kernels.cu"

RM_REGISTER(vector_from_u16)
RM_REGISTER(vector_fold)
RM_REGISTER(vector_scan)
RM_REGISTER(vector_products)
RM_REGISTER(vector_invert_each)
RM_REGISTER(vector_invert_chunks)
RM_REGISTER(vector_evaluate)
RM_REGISTER(vector_divide)
RM_REGISTER(vector_combine)
RM_REGISTER(ntt_pass)
RM_REGISTER(ntt_table)
RM_REGISTER(rows_run)
RM_REGISTER(msm_classify)
RM_REGISTER(msm_count)
RM_REGISTER(msm_scatter)
RM_REGISTER(msm_bins)
RM_REGISTER(msm_partition)
RM_REGISTER(msm_tile_count)
RM_REGISTER(msm_tile_scatter)
RM_REGISTER(msm_fold_counts)
RM_REGISTER(msm_scan_counts)
RM_REGISTER(msm_scan_folds)
RM_REGISTER(msm_sizes)
RM_REGISTER(msm_order)
RM_REGISTER(msm_accumulate)
RM_REGISTER(msm_merge)
RM_REGISTER(msm_reduce)
RM_REGISTER(msm_finish)
RM_REGISTER(msm_multiples)
RM_REGISTER(measure_product_fr)
RM_REGISTER(measure_product_fq)
RM_REGISTER(measure_square_fr)
RM_REGISTER(measure_square_fq)
RM_REGISTER(measure_sum_fq)
RM_REGISTER(measure_products)
RM_REGISTER(measure_wide)

// Sums of blocks in shared memory, with or without the barrier that makes them right.
RM_KERNEL(64) test_block_sum(u32* out, const u32* in, u32 with_barrier) {
  __shared__ u32 held[64];
  held[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
  if (with_barrier) __syncthreads();
  u32 sum = 0;
  for (u32 i = 0; i < blockDim.x; i++) sum += held[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
RM_REGISTER(test_block_sum)

// Some threads never reach the barrier.
RM_KERNEL(64) test_divergent_barrier(u32* out) {
  if (threadIdx.x < 7) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
RM_REGISTER(test_divergent_barrier)

// What warp operations give.
RM_KERNEL(64) test_warp(u32* out, const u32* in) {
  const u32 x = in[threadIdx.x];
  out[threadIdx.x] = __ballot_sync(0xffffffffu, x & 1);
  out[64 + threadIdx.x] = __shfl_sync(0xffffffffu, x, 3);
  out[128 + threadIdx.x] = __shfl_down_sync(0xffffffffu, x, 1);
  out[192 + threadIdx.x] = __match_any_sync(0xffffffffu, x & 3);
}
RM_REGISTER(test_warp)

template <class M>
void test_field(Fe<M>* out, const Fe<M>* a, const Fe<M>* b, u64 n) {
  const u64 i = global_index();
  if (i >= n) return;
  out[i] = add(a[i], b[i]);
  out[n + i] = sub(a[i], b[i]);
  out[2 * n + i] = mul_plain(a[i], b[i]);
  out[3 * n + i] = mul(a[i], b[i]);
  out[4 * n + i] = sqr(a[i]);
  out[5 * n + i] = neg(a[i]);
  out[6 * n + i] = inv(a[i]);
  out[7 * n + i] = from_number(to_number(a[i]));
  out[8 * n + i] = mul_columns(a[i], b[i]);
  out[9 * n + i] = sqr_columns(a[i]);
  out[10 * n + i] = mul_sub(a[i], b[i], b[i], b[i]);
  out[11 * n + i] = mul_sub_columns(a[i], a[i], b[i], a[i]);
  const Fe<M> x[4] = {a[i], b[i], a[i], b[i]}, y[4] = {b[i], b[i], a[i], a[i]};
  const Fe<M> x2[2] = {x[0], x[1]}, y2[2] = {y[0], y[1]};
  const Fe<M> x3[3] = {x[0], x[1], x[2]}, y3[3] = {y[0], y[1], y[2]};
  out[12 * n + i] = dot(x2, y2);
  out[13 * n + i] = dot(x3, y3);
  out[14 * n + i] = dot(x, y);
  out[15 * n + i] = dot_of_columns(x, y);
}
RM_KERNEL(128) test_fr(Fr* out, const Fr* a, const Fr* b, u64 n) { test_field(out, a, b, n); }
RM_KERNEL(128) test_fq(Fq* out, const Fq* a, const Fq* b, u64 n) { test_field(out, a, b, n); }
RM_REGISTER(test_fr)
RM_REGISTER(test_fq)

// a + b by the mixed and by the full addition, 2 a, and a + b of sums scaled so that ZZ is not 1.
RM_KERNEL(128) test_points(Xyzz* out, const Affine* a, const Affine* b, const Fq* scale, u64 n) {
  const u64 i = global_index();
  if (i >= n) return;
  Xyzz sum = Xyzz::from(a[i]);
  const Fq z2 = sqr(scale[i]), z3 = mul(z2, scale[i]);
  Xyzz scaled = {mul(sum.x, z2), mul(sum.y, z3), mul(sum.zz, z2), mul(sum.zzz, z3)};
  out[2 * n + i] = dbl(scaled);
  out[3 * n + i] = scaled;
  add_full(out[3 * n + i], Xyzz::from(b[i]));
  add_mixed(scaled, b[i]);
  out[i] = scaled;
  add_full(sum, Xyzz::from(b[i]));
  out[n + i] = sum;
}
RM_REGISTER(test_points)
