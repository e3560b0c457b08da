// The instructions of PTX that pass a carry on, one function each (PTX ISA 9.0, section "Extended-Precision
// Integer Arithmetic Instructions"). A name says what the instruction reads and writes: `c` after the
// operation takes the carry in, `_cc` leaves a new one. Between an instruction that leaves a carry and
// the one that takes it may stand others, as long as they leave the flag alone.
// The twins for the host do the same with a flag of the emulator, so that it runs the very sequence of
// instructions that a card runs.
#pragma once

#include "platform.cuh"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

// `volatile` keeps the order, on which the flag depends.
#define RM_PTX_2(name, text)                                              \
  RM_DEV u32 name(u32 a, u32 b) {                                         \
    u32 out;                                                              \
    asm volatile(text ".u32 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));   \
    return out;                                                           \
  }
#define RM_PTX_3(name, text)                                                             \
  RM_DEV u32 name(u32 a, u32 b, u32 c) {                                                 \
    u32 out;                                                                             \
    asm volatile(text ".u32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));      \
    return out;                                                                          \
  }

RM_PTX_2(add_cc, "add.cc")
RM_PTX_2(addc_cc, "addc.cc")
RM_PTX_2(addc, "addc")
RM_PTX_2(sub_cc, "sub.cc")
RM_PTX_2(subc_cc, "subc.cc")
RM_PTX_2(subc, "subc")
RM_PTX_3(mad_lo_cc, "mad.lo.cc")
RM_PTX_3(madc_lo_cc, "madc.lo.cc")
RM_PTX_3(madc_hi, "madc.hi")
RM_PTX_3(madc_hi_cc, "madc.hi.cc")

#else

// A sum that may have a 33rd bit.
inline u32 rm_leave_carry(u64 sum) {
  rm_emulator::carry = (u32)(sum >> 32);
  return (u32)sum;
}
// A difference that may be negative; the flag says whether something was borrowed.
inline u32 rm_leave_borrow(u64 difference) {
  rm_emulator::carry = (u32)(difference >> 63);
  return (u32)difference;
}
inline u64 rm_low(u32 a, u32 b) { return (u32)(a * b); }
inline u64 rm_high(u32 a, u32 b) { return (u64)a * b >> 32; }

#define RM_TWIN_2(name, value) \
  RM_DEV u32 name(u32 a, u32 b) { return value; }
#define RM_TWIN_3(name, value) \
  RM_DEV u32 name(u32 a, u32 b, u32 c) { return value; }

RM_TWIN_2(add_cc, rm_leave_carry((u64)a + b))
RM_TWIN_2(addc_cc, rm_leave_carry((u64)a + b + rm_emulator::carry))
RM_TWIN_2(addc, a + b + rm_emulator::carry)
RM_TWIN_2(sub_cc, rm_leave_borrow((u64)a - b))
RM_TWIN_2(subc_cc, rm_leave_borrow((u64)a - b - rm_emulator::carry))
RM_TWIN_2(subc, a - b - rm_emulator::carry)
RM_TWIN_3(mad_lo_cc, rm_leave_carry(rm_low(a, b) + c))
RM_TWIN_3(madc_lo_cc, rm_leave_carry(rm_low(a, b) + c + rm_emulator::carry))
RM_TWIN_3(madc_hi, (u32)(rm_high(a, b) + c + rm_emulator::carry))
RM_TWIN_3(madc_hi_cc, rm_leave_carry(rm_high(a, b) + c + rm_emulator::carry))

#endif
