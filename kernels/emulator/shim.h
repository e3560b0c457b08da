// CUDA's words for a host compiler: kernels compile unchanged and run on the fibers of emulator.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

typedef uint32_t u32;
typedef unsigned long long u64;

#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define RM_DEV inline
#define RM_NOINLINE __attribute__((noinline)) inline
#define RM_KERNEL(threads) extern "C" void
#define RM_KERNEL_BLOCKS(threads, blocks) extern "C" void
// One block runs at a time, so that its shared memory is one array of the process.
#define __shared__ static
#define RM_SHARED(T, name) T* name = reinterpret_cast<T*>(rm_emulator::shared_memory())

struct dim3 {
  u32 x, y, z;
};

namespace rm_emulator {
// What a running thread can see.
struct Place {
  dim3 thread, block, block_dim, grid_dim;
};
extern Place place;
// The carry flag of the PTX instructions add.cc, madc and their kin; each thread has its own.
extern u32 carry;
// Whether arithmetic runs by emulated PTX instructions, as on a card, or by what gives the same faster.
extern bool exact;
// Products of two limbs that field products have taken so far: how much work kernels do, whatever runs it.
extern u64 limb_products;
unsigned char* shared_memory();
void block_barrier();
// Each live lane of the warp gives `mine`; afterwards all can read all. Lanes that left count as
// absent: `present` has a bit for each that takes part.
const u64* warp_exchange(u64 mine, u32* present);

typedef void (*Thunk)(void** arguments);
struct Kernel {
  const char* name;
  Thunk thunk;
  // Of the parameters, in bytes.
  const size_t* sizes;
  size_t count;
  Kernel* next;
  Kernel(const char* name, Thunk thunk, const size_t* sizes, size_t count);
};
template <class... A>
struct Sizes {
  static constexpr size_t bytes[] = {sizeof(A)...};
  static constexpr size_t count = sizeof...(A);
};
template <class... A>
Sizes<A...> sizes_of(void (*)(A...)) {
  return {};
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<typename std::remove_reference<A>::type*>(arguments[I])...);
}
template <class... A>
void call(void (*kernel)(A...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<A...>());
}
}  // namespace rm_emulator

// Makes a kernel known by its name.
#define RM_REGISTER(kernel)                                     \
  static rm_emulator::Kernel rm_register_##kernel(#kernel, [](void** arguments) { \
    rm_emulator::call(kernel, arguments);                       \
  }, decltype(rm_emulator::sizes_of(kernel))::bytes, decltype(rm_emulator::sizes_of(kernel))::count);

#define threadIdx (rm_emulator::place.thread)
#define blockIdx (rm_emulator::place.block)
#define blockDim (rm_emulator::place.block_dim)
#define gridDim (rm_emulator::place.grid_dim)

inline void __syncthreads() { rm_emulator::block_barrier(); }
inline void __syncwarp(u32 = 0xffffffffu) {
  u32 present;
  rm_emulator::warp_exchange(0, &present);
}
inline u32 __ballot_sync(u32, int predicate) {
  u32 present;
  const u64* all = rm_emulator::warp_exchange(predicate != 0, &present);
  u32 out = 0;
  for (u32 lane = 0; lane < 32; lane++)
    if ((present >> lane & 1) && all[lane]) out |= 1u << lane;
  return out;
}
// The lanes whose value is this lane's.
inline u32 __match_any_sync(u32, u32 value) {
  u32 present;
  const u64* all = rm_emulator::warp_exchange(value, &present);
  u32 out = 0;
  for (u32 lane = 0; lane < 32; lane++)
    if ((present >> lane & 1) && all[lane] == value) out |= 1u << lane;
  return out;
}
inline u32 __shfl_sync(u32, u32 value, u32 lane) {
  u32 present;
  return static_cast<u32>(rm_emulator::warp_exchange(value, &present)[lane & 31]);
}
inline u32 __shfl_down_sync(u32, u32 value, u32 delta) {
  const u32 lane = threadIdx.x & 31;
  u32 present;
  const u64* all = rm_emulator::warp_exchange(value, &present);
  return lane + delta < 32 ? static_cast<u32>(all[lane + delta]) : value;
}
inline int __popc(u32 x) { return __builtin_popcount(x); }
inline int __ffs(u32 x) { return __builtin_ffs(static_cast<int>(x)); }
inline int __clz(u32 x) { return x == 0 ? 32 : __builtin_clz(x); }
inline u32 __brev(u32 x) {
  u32 out = 0;
  for (int i = 0; i < 32; i++) out |= (x >> i & 1) << (31 - i);
  return out;
}
// Fibers take turns only at barriers, so that a plain read and write is atomic.
inline u32 atomicAdd(u32* at, u32 value) {
  const u32 before = *at;
  *at = before + value;
  return before;
}
inline u64 atomicAdd(u64* at, u64 value) {
  const u64 before = *at;
  *at = before + value;
  return before;
}
inline u32 atomicMax(u32* at, u32 value) {
  const u32 before = *at;
  if (value > before) *at = value;
  return before;
}
inline u32 atomicOr(u32* at, u32 value) {
  const u32 before = *at;
  *at = before | value;
  return before;
}
