// Runs CUDA kernels on the host: one fiber a thread, one block at a time, in an order that the caller
// chooses. Threads run until they meet a barrier, so that a missing one gives a wrong result every
// time in one of the two orders; a barrier that some threads of a block never meet is an error.
#include "shim.h"

#include <cstdio>
#include <mutex>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace rm_emulator {

Place place;
u32 carry;
bool exact;
u64 limb_products;

namespace {

constexpr size_t STACK_BYTES = 64 << 10;
constexpr u32 WARP = 32;

enum class State { Ready, AtBlockBarrier, AtWarpExchange, Done };

struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer;
#else
  ucontext_t context;
#endif
  State state;
  dim3 thread;
  u32 carry;
  u32 exchanges;
};

// What a lane gave in an exchange, and in which.
struct Given {
  u64 value;
  u32 exchange;
};

Kernel* kernels = nullptr;
std::vector<Fiber> fibers;
std::vector<unsigned char> stacks;
std::vector<unsigned char> shared;
// Of this exchange and the one before: a lane that runs ahead is one exchange ahead at most.
std::vector<Given> given[2];
u32 running;
Thunk thunk;
void** arguments;
std::mutex one_launch;

#if defined(__x86_64__)
void* scheduler_pointer;
// Saves the registers that a call keeps and goes on with another stack.
extern "C" void rm_switch(void** save, void* to);
asm(R"(
.text
.globl rm_switch
.hidden rm_switch
.type rm_switch,@function
rm_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size rm_switch, .-rm_switch
)");
#else
ucontext_t scheduler_context;
#endif

void leave(State state) {
  Fiber& fiber = fibers[running];
  fiber.state = state;
  fiber.carry = carry;
#if defined(__x86_64__)
  rm_switch(&fiber.stack_pointer, scheduler_pointer);
#else
  swapcontext(&fiber.context, &scheduler_context);
#endif
}

void body() {
  thunk(arguments);
  leave(State::Done);
  __builtin_trap();
}

void enter(u32 index) {
  Fiber& fiber = fibers[index];
  running = index;
  place.thread = fiber.thread;
  carry = fiber.carry;
  fiber.state = State::Ready;
#if defined(__x86_64__)
  rm_switch(&scheduler_pointer, fiber.stack_pointer);
#else
  swapcontext(&scheduler_context, &fiber.context);
#endif
}

void prepare(u32 index, dim3 block) {
  Fiber& fiber = fibers[index];
  fiber.state = State::Ready;
  fiber.carry = 0;
  fiber.exchanges = 0;
  fiber.thread = {index % block.x, index / block.x % block.y, index / (block.x * block.y)};
  unsigned char* stack = stacks.data() + STACK_BYTES * index;
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + STACK_BYTES) & ~15ull);
  *--top = nullptr;  // a return address would stand here
  *--top = reinterpret_cast<void*>(body);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = STACK_BYTES;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, body, 0);
#endif
}

enum Outcome { OK = 0, NO_KERNEL = 1, DIVERGENT_BARRIER = 2, DIVERGENT_WARP = 3, ARGUMENTS = 4 };

// Runs a warp until each of its threads is done or waits at the block's barrier.
Outcome run_warp(u32 from, u32 to, bool reverse) {
  for (;;) {
    for (u32 i = from; i < to; i++) {
      const u32 index = reverse ? to - 1 - (i - from) : i;
      const State state = fibers[index].state;
      if (state == State::Ready || state == State::AtWarpExchange) enter(index);
    }
    u32 exchanging = 0, live = 0;
    for (u32 i = from; i < to; i++) {
      exchanging += fibers[i].state == State::AtWarpExchange;
      live += fibers[i].state != State::Done;
    }
    if (exchanging == 0) return OK;
    if (exchanging != live) return DIVERGENT_WARP;
  }
}

Outcome run_block(dim3 block, size_t shared_bytes, bool reverse) {
  const u32 threads = block.x * block.y * block.z;
  // What a block finds in shared memory is not what it may rely on.
  shared.assign(shared_bytes + 16, 0xa5);
  for (u32 i = 0; i < threads; i++) prepare(i, block);
  for (std::vector<Given>& all : given) all.assign(threads, Given{0, 0});
  const u32 warps = (threads + WARP - 1) / WARP;
  for (;;) {
    for (u32 i = 0; i < warps; i++) {
      const u32 warp = reverse ? warps - 1 - i : i;
      const u32 to = (warp + 1) * WARP < threads ? (warp + 1) * WARP : threads;
      const Outcome outcome = run_warp(warp * WARP, to, reverse);
      if (outcome != OK) return outcome;
    }
    u32 done = 0;
    for (u32 i = 0; i < threads; i++) done += fibers[i].state == State::Done;
    if (done == threads) return OK;
    if (done != 0) return DIVERGENT_BARRIER;
    for (u32 i = 0; i < threads; i++) fibers[i].state = State::Ready;
  }
}

}  // namespace

Kernel::Kernel(const char* name, Thunk thunk, const size_t* sizes, size_t count)
    : name(name), thunk(thunk), sizes(sizes), count(count), next(kernels) {
  kernels = this;
}

unsigned char* shared_memory() {
  return reinterpret_cast<unsigned char*>(
      (reinterpret_cast<uintptr_t>(shared.data()) + 15) & ~static_cast<uintptr_t>(15));
}

void block_barrier() { leave(State::AtBlockBarrier); }

const u64* warp_exchange(u64 mine, u32* present) {
  const u32 index = running;
  const u32 base = index / WARP * WARP;
  const u32 exchange = ++fibers[index].exchanges;
  std::vector<Given>& all = given[exchange & 1];
  all[index] = {mine, exchange};
  leave(State::AtWarpExchange);
  static u64 values[WARP];
  *present = 0;
  for (u32 lane = 0; lane < WARP && base + lane < all.size(); lane++) {
    values[lane] = all[base + lane].value;
    if (all[base + lane].exchange == exchange) *present |= 1u << lane;
  }
  return values;
}

}  // namespace rm_emulator

using namespace rm_emulator;

// Whether there is a kernel of that name.
extern "C" int rm_has(const char* name) {
  for (Kernel* kernel = kernels; kernel; kernel = kernel->next)
    if (strcmp(kernel->name, name) == 0) return 1;
  return 0;
}

// The bytes of each parameter of a kernel. 0 where there is none of that name.
extern "C" int rm_sizes(const char* name, const size_t** sizes, size_t* count) {
  for (Kernel* kernel = kernels; kernel; kernel = kernel->next) {
    if (strcmp(kernel->name, name) != 0) continue;
    *sizes = kernel->sizes;
    *count = kernel->count;
    return 1;
  }
  return 0;
}

// Products of limbs in all kernels so far.
extern "C" u64 rm_limb_products() {
  const std::lock_guard<std::mutex> lock(one_launch);
  return limb_products;
}

// Runs a kernel to its end. `grid` and `block` have three numbers each, `sizes` the bytes of each of
// `count` arguments. 0, or why it did not run.
extern "C" int rm_launch(const char* name, const u32* grid, const u32* block, size_t shared_bytes,
                         void** kernel_arguments, const size_t* sizes, size_t count, int reverse,
                         int exact_arithmetic) {
  const std::lock_guard<std::mutex> lock(one_launch);
  Kernel* kernel = kernels;
  while (kernel && strcmp(kernel->name, name) != 0) kernel = kernel->next;
  if (!kernel) return NO_KERNEL;
  if (kernel->count != count) return ARGUMENTS;
  for (size_t i = 0; i < count; i++)
    if (kernel->sizes[i] != sizes[i]) return ARGUMENTS;
  exact = exact_arithmetic != 0;
  thunk = kernel->thunk;
  arguments = kernel_arguments;
  const dim3 block_dim = {block[0], block[1], block[2]};
  const u32 threads = block[0] * block[1] * block[2];
  if (fibers.size() != threads) fibers.resize(threads);
  if (stacks.size() < STACK_BYTES * threads) stacks.resize(STACK_BYTES * threads);
  place.block_dim = block_dim;
  place.grid_dim = {grid[0], grid[1], grid[2]};
  const u64 blocks = (u64)grid[0] * grid[1] * grid[2];
  for (u64 i = 0; i < blocks; i++) {
    const u64 at = reverse ? blocks - 1 - i : i;
    place.block = {(u32)(at % grid[0]), (u32)(at / grid[0] % grid[1]), (u32)(at / grid[0] / grid[1])};
    const Outcome outcome = run_block(block_dim, shared_bytes, reverse != 0);
    if (outcome != OK) return outcome;
  }
  return OK;
}
