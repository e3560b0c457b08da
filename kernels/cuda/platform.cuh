// What differs between the CUDA compilers and the emulator's host compiler.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
typedef unsigned int u32;
typedef unsigned long long u64;
#define RM_DEV __device__ __forceinline__
#define RM_NOINLINE __device__ __noinline__
#define RM_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
// The same where the compiler leaves registers for so many blocks of a multiprocessor.
#define RM_KERNEL_BLOCKS(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
// Blocks of shared memory whose size the launch chooses.
#define RM_SHARED(T, name)                        \
  extern __shared__ __align__(16) unsigned char rm_shared_bytes[]; \
  T* name = reinterpret_cast<T*>(rm_shared_bytes)
#else
#include "../emulator/shim.h"
#endif
