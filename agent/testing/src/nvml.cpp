// A management library for the tests: NVML's functions that the agent calls, of one card whose UUID is
// that of the emulated driver's first. $ROLLMILL_FAKE_NVML says what goes wrong, as words separated by
// commas: NAME=N makes the function NAME give N; ecc_uncorrected=N and xids=N are so many more errors of
// memory and of the driver. $ROLLMILL_FAKE_NVML_FILE names a file with such words instead, which is read at
// each call, so that a card can begin to fail. Compiled with -DOLD it has the older of two names, with
// -DPOOR it lacks a reading, with -DHOLLOW what finds a card. Source of the signatures: NVML API
// Reference.
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

typedef unsigned long long u64;
char card;
int starts;

// What goes wrong at the moment.
const char* faults() {
  const char* path = getenv("ROLLMILL_FAKE_NVML_FILE");
  if (!path) return getenv("ROLLMILL_FAKE_NVML");
  static thread_local char text[256];
  FILE* file = fopen(path, "r");
  const size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
  if (file) fclose(file);
  text[length] = 0;
  return text;
}

int fault(const char* name) {
  const char* at = faults();
  const size_t length = strlen(name);
  while (at && *at) {
    if (strncmp(at, name, length) == 0 && at[length] == '=') return atoi(at + length + 1);
    at = strchr(at, ',');
    if (at) at++;
  }
  return 0;
}

// What every query begins with: 1 is "uninitialized", 2 is "invalid argument".
int ready(const char* name, const void* of) {
  if (starts <= 0) return 1;
  if (of != &card) return 2;
  return fault(name);
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define READY(name, of) \
  if (const int code = ready(name, of)) return code

API nvmlInit_v2() {
  if (const int code = fault("init")) return code;
  starts++;
  return 0;
}
API nvmlShutdown() {
  starts--;
  return 0;
}
API nvmlSystemGetDriverVersion(char* out, unsigned room) {
  snprintf(out, room, "580.95.05");
  return fault("driver");
}
#ifndef HOLLOW
API nvmlDeviceGetHandleByUUID(const char* uuid, void** out) {
  if (starts <= 0) return 1;
  const char* prefix = fault("part") ? "MIG-" : "GPU-";
  const bool same = strncmp(uuid, prefix, 4) == 0 && strcmp(uuid + 4, "00010203-0405-0607-0809-0a0b0c0d0e0f") == 0;
  *out = &card;
  return same ? fault("find") : 6;
}
#endif
API nvmlDeviceGetTemperature(void* of, unsigned sensor, unsigned* out) {
  READY("temperature", of);
  *out = 61;
  return sensor == 0 ? 0 : 2;
}
#ifndef POOR
API nvmlDeviceGetPowerUsage(void* of, unsigned* out) {
  READY("power", of);
  *out = 312500;
  return 0;
}
#endif
API nvmlDeviceGetEnforcedPowerLimit(void* of, unsigned* out) {
  READY("power_limit", of);
  *out = 700000;
  return 0;
}
API nvmlDeviceGetTotalEnergyConsumption(void* of, u64* out) {
  READY("energy", of);
  *out = 1234500;
  return 0;
}
API nvmlDeviceGetUtilizationRates(void* of, unsigned* out) {
  READY("utilization", of);
  out[0] = 97;
  out[1] = 40;
  return 0;
}
API nvmlDeviceGetMemoryInfo(void* of, u64* out) {
  READY("memory", of);
  out[0] = 80ull << 30;
  out[1] = 78ull << 30;
  out[2] = 2ull << 30;
  return 0;
}
API nvmlDeviceGetClockInfo(void* of, unsigned clock, unsigned* out) {
  READY("clock", of);
  if (clock != 1 && clock != 2) return 2;
  *out = clock == 1 ? 1980 : 2619;
  return 0;
}
#ifdef OLD
API nvmlDeviceGetCurrentClocksThrottleReasons(void* of, u64* out) {
#else
API nvmlDeviceGetCurrentClocksEventReasons(void* of, u64* out) {
#endif
  READY("throttle", of);
  *out = 0x4 | 0x1;
  return 0;
}
API nvmlDeviceGetTotalEccErrors(void* of, unsigned kind, unsigned counter, u64* out) {
  READY("ecc", of);
  if (kind > 1 || counter != 0) return 2;
  *out = kind == 0 ? 3 : u64(fault("ecc_uncorrected"));
  return 0;
}

// Each set delivers two errors once, Xid 48 and 79, and then those that are added.
struct Event {
  void* device;
  u64 kind;
  u64 data;
  unsigned gpu_instance;
  unsigned compute_instance;
};
API nvmlEventSetCreate(void** out) {
  if (starts <= 0) return 1;
  if (const int code = fault("events")) return code;
  *out = new int(0);
  return 0;
}
API nvmlDeviceRegisterEvents(void* of, u64 kinds, void* set) {
  READY("register", of);
  return kinds == 0x8 && set ? 0 : 2;
}
API nvmlEventSetWait_v2(void* set, Event* out, unsigned ms) {
  if (starts <= 0) return 1;
  int& delivered = *static_cast<int*>(set);
  // 10 is "timeout".
  if (ms != 0 || delivered >= 2 + fault("xids")) return 10;
  *out = {&card, 0x8, delivered++ == 0 ? 48ull : 79ull, 0, 0};
  return 0;
}
API nvmlEventSetFree(void* set) {
  // A set has to be freed before the library is shut down.
  if (starts <= 0) return 1;
  delete static_cast<int*>(set);
  return 0;
}
