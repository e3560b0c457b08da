// A driver library made of the emulator: the functions of libcuda that the host side calls, so that its
// path to a real card runs unchanged where there is none. Streams are queues that run when something
// waits for them: that stream and what its events make it wait for, as if all others stood still.
// $ROLLMILL_EMULATED_CUDA says what goes wrong, as words separated by commas:
//   version=N      CUDA version of the driver, as cuDriverGetVersion counts (13000)
//   init=N         what cuInit gives
//   devices=N      number of cards (1)
//   image=N        what loading a module gives
//   memory=N       bytes of memory of the card (1 GiB)
//   allocate=N     what taking memory gives
//   launch=N       what a launch gives from the first that `after` says on, and every later call too
//   after=N        launches that go well before (0)
//   deaf=N         the wait of a stream for an event, counted from 1, that does nothing
//   pinned=N       what taking pinned memory gives
//   lazy=1         memory of the host is read when the copy runs, not when it is queued
//   mig=1          each card is a slice of one, with a UUID of its own
// Numbers are CUresult values of the driver API. Source of the signatures: CUDA Driver API reference.
#include "shim.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

extern "C" int rm_has(const char* name);
extern "C" int rm_sizes(const char* name, const size_t** sizes, size_t* count);
extern "C" int rm_launch(const char* name, const u32* grid, const u32* block, size_t shared_bytes,
                         void** kernel_arguments, const size_t* sizes, size_t count, int reverse,
                         int exact_arithmetic);

namespace {

constexpr int OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101,
              INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500,
              NOT_READY = 600, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719;

std::recursive_mutex lock;
typedef const std::lock_guard<std::recursive_mutex> Guard;
std::map<u64, size_t> blocks;
// Of the host: where it starts, and its bytes.
std::map<u64, size_t> pinned;
std::map<std::string, char*> functions;
size_t used;
u64 launches;
int broken = OK;
bool initialized;
char context, module;
u64 waits;

struct Stream;
// So many calls of a stream; what an event recorded last, and when that was reached if it has a time.
struct Event {
  Stream* stream = nullptr;
  u64 count = 0;
  bool timed = false;
  bool reached = false;
  std::chrono::steady_clock::time_point time = {};
};
// A call that was queued: work, or a wait for an event.
struct Call {
  std::function<int()> work;
  Event before;
};
struct Stream {
  std::deque<Call> calls;
  u64 run = 0;
};
thread_local void* current;

u64 setting(const char* name, u64 otherwise) {
  const char* at = getenv("ROLLMILL_EMULATED_CUDA");
  const size_t length = strlen(name);
  while (at && *at) {
    if (strncmp(at, name, length) == 0 && at[length] == '=') return strtoull(at + length + 1, nullptr, 10);
    at = strchr(at, ',');
    if (at) at++;
  }
  return otherwise;
}

// What every call of a context begins with.
int ready() {
  if (!initialized) return NOT_INITIALIZED;
  if (broken != OK) return broken;
  return current == &context ? OK : INVALID_CONTEXT;
}

// Runs the first `count` calls of a stream, and of others what these wait for.
int run_until(Stream* stream, u64 count) {
  while (broken == OK && stream->run < count) {
    const Call call = std::move(stream->calls.front());
    stream->calls.pop_front();
    if (call.before.stream) run_until(call.before.stream, call.before.count);
    if (call.work && broken == OK) broken = call.work();
    stream->run++;
  }
  return broken;
}

int finish(Stream* stream) { return run_until(stream, stream->run + stream->calls.size()); }

int queue(void* stream, std::function<int()> work) {
  ((Stream*)stream)->calls.push_back({std::move(work), {}});
  return OK;
}

// Whether a range lies in one block of these.
bool within(const std::map<u64, size_t>& blocks, u64 at, size_t bytes) {
  auto after = blocks.upper_bound(at);
  if (after == blocks.begin()) return false;
  --after;
  return at + bytes <= after->first + after->second;
}
bool holds(u64 at, size_t bytes) { return within(blocks, at, bytes); }

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define NEEDS_CONTEXT      \
  Guard guard(lock);       \
  if (const int code = ready()) return code

API cuInit(unsigned) {
  Guard guard(lock);
  const int code = (int)setting("init", OK);
  initialized = code == OK;
  return code;
}
API cuDriverGetVersion(int* version) {
  *version = (int)setting("version", 13000);
  return OK;
}
API cuDeviceGetCount(int* count) {
  *count = (int)setting("devices", 1);
  return initialized ? OK : NOT_INITIALIZED;
}
API cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < (int)setting("devices", 1) ? OK : INVALID_DEVICE;
}
API cuDeviceGetUuid(unsigned char* uuid, int device) {
  for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * device + i);
  return OK;
}
API cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  cuDeviceGetUuid(uuid, device);
  if (setting("mig", 0)) uuid[0] = 0xff;
  return OK;
}
API cuDeviceGetName(char* name, int room, int device) {
  snprintf(name, room, "emulated card %d", device);
  return OK;
}
API cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 16 ? 2 : 0;  // multiprocessors
  return OK;
}
API cuDevicePrimaryCtxRetain(void** out, int) {
  *out = &context;
  return initialized ? OK : NOT_INITIALIZED;
}
API cuDevicePrimaryCtxRelease_v2(int) { return OK; }
API cuCtxSetCurrent(void* to) {
  current = to;
  return OK;
}
API cuModuleLoadData(void** out, const void* image) {
  NEEDS_CONTEXT;
  if (const int code = (int)setting("image", OK)) return code;
  const unsigned char magic[4] = {0x50, 0xed, 0x55, 0xba};
  if (memcmp(image, magic, 4) != 0) return INVALID_IMAGE;
  *out = &module;
  return OK;
}
API cuModuleUnload(void*) { return OK; }
API cuModuleGetFunction(void** out, void* of, const char* name) {
  NEEDS_CONTEXT;
  if (of != &module) return INVALID_HANDLE;
  if (!rm_has(name)) return NOT_FOUND;
  char*& held = functions[name];
  if (!held) held = strdup(name);
  *out = held;
  return OK;
}
API cuStreamCreate(void** out, unsigned) {
  NEEDS_CONTEXT;
  *out = new Stream;
  return OK;
}
API cuStreamDestroy_v2(void* stream) {
  Guard guard(lock);
  delete (Stream*)stream;
  return OK;
}
API cuStreamSynchronize(void* stream) {
  NEEDS_CONTEXT;
  return finish((Stream*)stream);
}
API cuEventCreate(void** out, unsigned flags) {
  NEEDS_CONTEXT;
  Event* event = new Event;
  event->timed = !(flags & 2);  // CU_EVENT_DISABLE_TIMING
  *out = event;
  return OK;
}
API cuEventDestroy_v2(void* event) {
  delete (Event*)event;
  return OK;
}
API cuEventRecord(void* event, void* at) {
  NEEDS_CONTEXT;
  Stream* stream = (Stream*)at;
  Event* recorded = (Event*)event;
  recorded->reached = false;
  if (recorded->timed)
    queue(stream, [=] {
      recorded->reached = true;
      recorded->time = std::chrono::steady_clock::now();
      return OK;
    });
  recorded->stream = stream;
  recorded->count = stream->run + stream->calls.size();
  return OK;
}
// What was never recorded is over.
API cuEventQuery(void* event) {
  NEEDS_CONTEXT;
  const Event* asked = (const Event*)event;
  return !asked->stream || asked->stream->run >= asked->count ? OK : NOT_READY;
}
API cuEventSynchronize(void* event) {
  NEEDS_CONTEXT;
  const Event* asked = (const Event*)event;
  return asked->stream ? run_until(asked->stream, asked->count) : OK;
}
API cuEventElapsedTime(float* milliseconds, void* from, void* to) {
  NEEDS_CONTEXT;
  const Event *start = (const Event*)from, *end = (const Event*)to;
  if (!start->timed || !end->timed) return INVALID_HANDLE;
  if (!start->reached || !end->reached) return NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return OK;
}
API cuStreamWaitEvent(void* stream, void* event, unsigned) {
  NEEDS_CONTEXT;
  if (++waits != setting("deaf", 0)) ((Stream*)stream)->calls.push_back({nullptr, *(Event*)event});
  return OK;
}
API cuMemGetInfo_v2(size_t* free, size_t* total) {
  NEEDS_CONTEXT;
  *total = setting("memory", 1ull << 30);
  *free = *total - used;
  return OK;
}
API cuMemAlloc_v2(u64* out, size_t bytes) {
  NEEDS_CONTEXT;
  if (bytes == 0) return INVALID_VALUE;
  if (const int code = (int)setting("allocate", OK)) return code;
  if (bytes > setting("memory", 1ull << 30) - used) return OUT_OF_MEMORY;
  void* block = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!block) return OUT_OF_MEMORY;
  memset(block, 0xcd, bytes);
  *out = (u64)(uintptr_t)block;
  blocks[*out] = bytes;
  used += bytes;
  return OK;
}
API cuMemFree_v2(u64 at) {
  NEEDS_CONTEXT;
  const auto block = blocks.find(at);
  if (block == blocks.end()) return INVALID_VALUE;
  used -= block->second;
  free((void*)(uintptr_t)at);
  blocks.erase(block);
  return OK;
}
API cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  NEEDS_CONTEXT;
  if (const int code = (int)setting("pinned", OK)) return code;
  *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*out) return OUT_OF_MEMORY;
  memset(*out, 0xcd, bytes);
  pinned[(u64)(uintptr_t)*out] = bytes;
  return OK;
}
API cuMemFreeHost(void* at) {
  NEEDS_CONTEXT;
  if (!pinned.erase((u64)(uintptr_t)at)) return INVALID_VALUE;
  free(at);
  return OK;
}
API cuMemcpyHtoDAsync_v2(u64 to, const void* from, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  // Pinned memory is read when the copy runs. Other memory is copied before the call returns, on most systems.
  if (within(pinned, (u64)(uintptr_t)from, bytes) || setting("lazy", 0))
    return queue(stream, [=] {
      if (!holds(to, bytes)) return ILLEGAL_ADDRESS;
      memcpy((void*)(uintptr_t)to, from, bytes);
      return OK;
    });
  const std::string held((const char*)from, bytes);
  return queue(stream, [=] {
    if (!holds(to, held.size())) return ILLEGAL_ADDRESS;
    memcpy((void*)(uintptr_t)to, held.data(), held.size());
    return OK;
  });
}
API cuMemcpyDtoHAsync_v2(void* to, u64 from, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  return queue(stream, [=] {
    if (!holds(from, bytes)) return ILLEGAL_ADDRESS;
    memcpy(to, (const void*)(uintptr_t)from, bytes);
    return OK;
  });
}
API cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  return queue(stream, [=] {
    if (!holds(to, bytes) || !holds(from, bytes)) return ILLEGAL_ADDRESS;
    memmove((void*)(uintptr_t)to, (const void*)(uintptr_t)from, bytes);
    return OK;
  });
}
API cuMemsetD8Async(u64 at, unsigned char value, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  return queue(stream, [=] {
    if (!holds(at, bytes)) return ILLEGAL_ADDRESS;
    memset((void*)(uintptr_t)at, value, bytes);
    return OK;
  });
}
API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared_bytes, void* stream, void** arguments, void**) {
  NEEDS_CONTEXT;
  const int fault = (int)setting("launch", OK);
  if (fault != OK && launches >= setting("after", 0)) return broken = fault;
  launches++;
  const char* name = (const char*)function;
  const size_t* sizes;
  size_t count;
  if (!rm_sizes(name, &sizes, &count)) return INVALID_HANDLE;
  // Arguments are copied before the call returns.
  std::vector<std::vector<u64>> held(count);
  for (size_t i = 0; i < count; i++) {
    held[i].resize((sizes[i] + 7) / 8);
    memcpy(held[i].data(), arguments[i], sizes[i]);
  }
  return queue(stream, [=]() mutable {
    std::vector<void*> pointers;
    for (auto& words : held) pointers.push_back(words.data());
    const u32 grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
    const int outcome = rm_launch(name, grid, block, shared_bytes, pointers.data(), sizes, count, 0, 0);
    return outcome == 0 ? OK : LAUNCH_FAILED;
  });
}
API cuGetErrorName(int, const char** name) {
  *name = "an error of the emulated driver";
  return OK;
}
API cuGetErrorString(int code, const char** text) { return cuGetErrorName(code, text); }
