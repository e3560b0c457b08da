// The two prime fields of BN254 in Montgomery form: eight limbs of 32 bits, least first, R = 2^256.
// The bytes of an element are those that the host keeps, so that nothing is converted on the way.
// Every value is below the modulus before and after every operation.
#pragma once

#include "platform.cuh"
#include "product.cuh"

// The order of the curve's group.
struct FrModulus {
  static constexpr u32 INV = 0xefffffffu;  // -p^-1 mod 2^32
  static constexpr u64 INV64 = 0xc2e1f593efffffffull;
  RM_DEV static constexpr u32 p(int i) {
    constexpr u32 v[8] = {0xf0000001u, 0x43e1f593u, 0x79b97091u, 0x2833e848u,
                          0x8181585du, 0xb85045b6u, 0xe131a029u, 0x30644e72u};
    return v[i];
  }
  // R mod p: the element 1.
  RM_DEV static constexpr u32 r(int i) {
    constexpr u32 v[8] = {0x4ffffffbu, 0xac96341cu, 0x9f60cd29u, 0x36fc7695u,
                          0x7879462eu, 0x666ea36fu, 0x9a07df2fu, 0x0e0a77c1u};
    return v[i];
  }
  // R^2 mod p.
  RM_DEV static constexpr u32 r2(int i) {
    constexpr u32 v[8] = {0xae216da7u, 0x1bb8e645u, 0xe35c59e3u, 0x53fe3ab1u,
                          0x53bb8085u, 0x8c49833du, 0x7f4e44a5u, 0x0216d0b1u};
    return v[i];
  }
};

// The field of the curve's coordinates.
struct FqModulus {
  static constexpr u32 INV = 0xe4866389u;
  static constexpr u64 INV64 = 0x87d20782e4866389ull;
  RM_DEV static constexpr u32 p(int i) {
    constexpr u32 v[8] = {0xd87cfd47u, 0x3c208c16u, 0x6871ca8du, 0x97816a91u,
                          0x8181585du, 0xb85045b6u, 0xe131a029u, 0x30644e72u};
    return v[i];
  }
  RM_DEV static constexpr u32 r(int i) {
    constexpr u32 v[8] = {0xc58f0d9du, 0xd35d438du, 0xf5c70b3du, 0x0a78eb28u,
                          0x7879462cu, 0x666ea36fu, 0x9a07df2fu, 0x0e0a77c1u};
    return v[i];
  }
  RM_DEV static constexpr u32 r2(int i) {
    constexpr u32 v[8] = {0x538afa89u, 0xf32cfc5bu, 0xd44501fbu, 0xb5e71911u,
                          0x0a417ff6u, 0x47ab1effu, 0xcab8351fu, 0x06d89f71u};
    return v[i];
  }
};

template <class M>
struct alignas(16) Fe {
  u32 l[8];

  RM_DEV static Fe zero() {
    Fe out;
#pragma unroll
    for (int i = 0; i < 8; i++) out.l[i] = 0;
    return out;
  }
  RM_DEV static Fe one() {
    Fe out;
#pragma unroll
    for (int i = 0; i < 8; i++) out.l[i] = M::r(i);
    return out;
  }
  RM_DEV static Fe r_squared() {
    Fe out;
#pragma unroll
    for (int i = 0; i < 8; i++) out.l[i] = M::r2(i);
    return out;
  }
  RM_DEV static Fe modulus() {
    Fe out;
#pragma unroll
    for (int i = 0; i < 8; i++) out.l[i] = M::p(i);
    return out;
  }
  RM_DEV bool is_zero() const {
    u32 all = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) all |= l[i];
    return all == 0;
  }
};

typedef Fe<FrModulus> Fr;
typedef Fe<FqModulus> Fq;

template <class M>
RM_DEV bool eq(Fe<M> a, Fe<M> b) {
  u32 diff = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) diff |= a.l[i] ^ b.l[i];
  return diff == 0;
}

// a - b as 256-bit numbers into `out`; all bits set where that is negative.
RM_DEV u32 sub_limbs_cc(u32* out, const u32* a, const u32* b) {
  out[0] = sub_cc(a[0], b[0]);
#pragma unroll
  for (int i = 1; i < 8; i++) out[i] = subc_cc(a[i], b[i]);
  return subc(0, 0);
}

// a + b modulo 2^256 into `out`.
RM_DEV void add_limbs_cc(u32* out, const u32* a, const u32* b) {
  out[0] = add_cc(a[0], b[0]);
#pragma unroll
  for (int i = 1; i < 7; i++) out[i] = addc_cc(a[i], b[i]);
  out[7] = addc(a[7], b[7]);
}

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
RM_DEV u32 sub_limbs(u32* out, const u32* a, const u32* b) { return sub_limbs_cc(out, a, b); }
RM_DEV void add_limbs(u32* out, const u32* a, const u32* b) { add_limbs_cc(out, a, b); }
#else
// On a host the emulated instructions are slow. They run where a launch asks for them; elsewhere what
// computes the same with the host's own words does.
RM_NOINLINE u32 sub_limbs_exact(u32* out, const u32* a, const u32* b) { return sub_limbs_cc(out, a, b); }
RM_NOINLINE void add_limbs_exact(u32* out, const u32* a, const u32* b) { add_limbs_cc(out, a, b); }

RM_DEV u32 sub_limbs(u32* out, const u32* a, const u32* b) {
  if (rm_emulator::exact) return sub_limbs_exact(out, a, b);
  u32 borrow = 0;
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    const u64 t = (u64)a[i] - b[i] - borrow;
    out[i] = (u32)t;
    borrow = (u32)(t >> 63);
  }
  return 0u - borrow;
}

RM_DEV void add_limbs(u32* out, const u32* a, const u32* b) {
  if (rm_emulator::exact) return add_limbs_exact(out, a, b);
  u32 carry = 0;
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    const u64 t = (u64)a[i] + b[i] + carry;
    out[i] = (u32)t;
    carry = (u32)(t >> 32);
  }
}
#endif

// a, or a - p where that is not negative. For a below 2p.
template <class M>
RM_DEV Fe<M> reduce_once(const Fe<M>& a) {
  const Fe<M> p = Fe<M>::modulus();
  Fe<M> less;
  const u32 borrow = sub_limbs(less.l, a.l, p.l);
  Fe<M> out;
#pragma unroll
  for (int i = 0; i < 8; i++) out.l[i] = borrow ? a.l[i] : less.l[i];
  return out;
}

template <class M>
RM_DEV Fe<M> add(Fe<M> a, Fe<M> b) {
  Fe<M> sum;  // below 2p, which is below 2^255
  add_limbs(sum.l, a.l, b.l);
  return reduce_once(sum);
}

template <class M>
RM_DEV Fe<M> sub(Fe<M> a, Fe<M> b) {
  Fe<M> out;
  const u32 borrow = sub_limbs(out.l, a.l, b.l);
  Fe<M> p;
#pragma unroll
  for (int i = 0; i < 8; i++) p.l[i] = borrow & M::p(i);
  add_limbs(out.l, out.l, p.l);
  return out;
}

template <class M>
RM_DEV Fe<M> neg(Fe<M> a) {
  return sub(Fe<M>::zero(), a);
}

template <class M>
RM_DEV Fe<M> dbl(Fe<M> a) {
  return add(a, a);
}

// a * b / R by rows, after "Analyzing and Comparing Montgomery Multiplication Algorithms" (Koc, Acar,
// Kaliski 1996), method CIOS: the plain form that the others are held to.
template <class M>
RM_DEV Fe<M> mul_plain(const Fe<M>& a, const Fe<M>& b) {
  u32 t[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < 8; i++) {
    u64 carry = 0;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const u64 x = (u64)a.l[j] * b.l[i] + t[j] + carry;
      t[j] = (u32)x;
      carry = x >> 32;
    }
    u64 top = (u64)t[8] + carry;
    t[8] = (u32)top;
    t[9] = (u32)(top >> 32);
    const u32 q = t[0] * M::INV;
    carry = ((u64)q * M::p(0) + t[0]) >> 32;
#pragma unroll
    for (int j = 1; j < 8; j++) {
      const u64 x = (u64)q * M::p(j) + t[j] + carry;
      t[j - 1] = (u32)x;
      carry = x >> 32;
    }
    top = (u64)t[8] + carry;
    t[7] = (u32)top;
    t[8] = t[9] + (u32)(top >> 32);
  }
  Fe<M> out;
#pragma unroll
  for (int i = 0; i < 8; i++) out.l[i] = t[i];
  return reduce_once(out);
}

#if !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
// The same on a host with 64-bit limbs: only for the speed of emulated tests.
template <class M>
RM_DEV Fe<M> mul_wide(const Fe<M>& a, const Fe<M>& b) {
  u64 x[4], y[4], p[4], t[6] = {0, 0, 0, 0, 0, 0};
  for (int i = 0; i < 4; i++) {
    x[i] = (u64)a.l[2 * i + 1] << 32 | a.l[2 * i];
    y[i] = (u64)b.l[2 * i + 1] << 32 | b.l[2 * i];
    p[i] = (u64)M::p(2 * i + 1) << 32 | M::p(2 * i);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    u64 carry = 0;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const unsigned __int128 v = (unsigned __int128)x[j] * y[i] + t[j] + carry;
      t[j] = (u64)v;
      carry = (u64)(v >> 64);
    }
    t[4] += carry;  // no overflow: p is below 2^254
    const u64 q = t[0] * M::INV64;
    carry = (u64)(((unsigned __int128)q * p[0] + t[0]) >> 64);
#pragma GCC unroll 4
    for (int j = 1; j < 4; j++) {
      const unsigned __int128 v = (unsigned __int128)q * p[j] + t[j] + carry;
      t[j - 1] = (u64)v;
      carry = (u64)(v >> 64);
    }
    t[3] = t[4] + carry;
    t[4] = 0;
  }
  Fe<M> out;
  for (int i = 0; i < 4; i++) {
    out.l[2 * i] = (u32)t[i];
    out.l[2 * i + 1] = (u32)(t[i] >> 32);
  }
  return reduce_once(out);
}
#endif

// a * b / R and a * a / R in even and odd columns.
template <class M>
RM_DEV Fe<M> mul_columns(Fe<M> a, Fe<M> b) {
  Fe<M> out;
  product_columns<M>(out.l, a.l, b.l);
  return reduce_once(out);
}

template <class M>
RM_DEV Fe<M> sqr_columns(Fe<M> a) {
  Fe<M> out;
  square_columns<M>(out.l, a.l);
  return reduce_once(out);
}

// (a * b - c * d) / R.
template <class M>
RM_DEV Fe<M> mul_sub_columns(Fe<M> a, Fe<M> b, Fe<M> c, Fe<M> d) {
  Fe<M> minus;  // p - c, which is p for 0: no matter to a factor
  sub_limbs_cc(minus.l, Fe<M>::modulus().l, c.l);
  Fe<M> out;
  product_sum_columns<M>(out.l, a.l, b.l, minus.l, d.l);
  return reduce_once(out);
}

// (sum of a[k] * b[k]) / R.
template <int K, class M>
RM_DEV Fe<M> dot_of_columns(const Fe<M> (&a)[K], const Fe<M> (&b)[K]) {
  const u32 *x[K], *y[K];
#pragma unroll
  for (int k = 0; k < K; k++) {
    x[k] = a[k].l;
    y[k] = b[k].l;
  }
  Fe<M> out;
  dot_columns<M, K>(out.l, x, y);
  return reduce_once(out);
}

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
template <class M>
RM_DEV Fe<M> mul(Fe<M> a, Fe<M> b) {
  return mul_columns(a, b);
}

template <class M>
RM_DEV Fe<M> sqr(Fe<M> a) {
  return sqr_columns(a);
}

// a * b - c * d.
template <class M>
RM_DEV Fe<M> mul_sub(Fe<M> a, Fe<M> b, Fe<M> c, Fe<M> d) {
  return mul_sub_columns(a, b, c, d);
}

// Sum of a[k] * b[k], of up to four.
template <int K, class M>
RM_DEV Fe<M> dot(const Fe<M> (&a)[K], const Fe<M> (&b)[K]) {
  return dot_of_columns(a, b);
}
#else
template <class M>
RM_NOINLINE Fe<M> mul_exact(const Fe<M>& a, const Fe<M>& b) {
  return mul_columns(a, b);
}

template <class M>
RM_NOINLINE Fe<M> sqr_exact(const Fe<M>& a) {
  return sqr_columns(a);
}

template <class M>
RM_NOINLINE Fe<M> mul_sub_exact(const Fe<M>& a, const Fe<M>& b, const Fe<M>& c, const Fe<M>& d) {
  return mul_sub_columns(a, b, c, d);
}

template <int K, class M>
RM_NOINLINE Fe<M> dot_exact(const Fe<M> (&a)[K], const Fe<M> (&b)[K]) {
  return dot_of_columns(a, b);
}

// Each notes how many products of limbs it takes on a card.
template <class M>
RM_DEV Fe<M> mul(Fe<M> a, Fe<M> b) {
  rm_emulator::limb_products += 128;
  return rm_emulator::exact ? mul_exact(a, b) : mul_wide(a, b);
}

template <class M>
RM_DEV Fe<M> sqr(Fe<M> a) {
  rm_emulator::limb_products += 100;
  return rm_emulator::exact ? sqr_exact(a) : mul_wide(a, a);
}

template <class M>
RM_DEV Fe<M> mul_sub(Fe<M> a, Fe<M> b, Fe<M> c, Fe<M> d) {
  rm_emulator::limb_products += 192;
  return rm_emulator::exact ? mul_sub_exact(a, b, c, d) : sub(mul_wide(a, b), mul_wide(c, d));
}

template <int K, class M>
RM_DEV Fe<M> dot(const Fe<M> (&a)[K], const Fe<M> (&b)[K]) {
  rm_emulator::limb_products += 64 * (K + 1);
  if (rm_emulator::exact) return dot_exact(a, b);
  Fe<M> sum = mul_wide(a[0], b[0]);
  for (int k = 1; k < K; k++) sum = add(sum, mul_wide(a[k], b[k]));
  return sum;
}
#endif

// Out of Montgomery form: the number that a stands for.
template <class M>
RM_DEV Fe<M> to_number(Fe<M> a) {
  Fe<M> one = Fe<M>::zero();
  one.l[0] = 1;
  return mul(a, one);
}

// Into Montgomery form, for a number below p.
template <class M>
RM_DEV Fe<M> from_number(Fe<M> a) {
  return mul(a, Fe<M>::r_squared());
}

// a^e for an exponent of 64 bits.
template <class M>
RM_DEV Fe<M> pow_u64(Fe<M> a, u64 e) {
  Fe<M> out = Fe<M>::one();
  for (; e != 0; e >>= 1) {
    if (e & 1) out = mul(out, a);
    a = sqr(a);
  }
  return out;
}

// 1 / a by Fermat's little theorem; 0 for 0.
template <class M>
RM_DEV Fe<M> inv(const Fe<M>& a) {
  Fe<M> out = Fe<M>::one();
#pragma unroll 1
  for (int bit = 253; bit >= 0; bit--) {
    out = sqr(out);
    // p - 2: both moduli end in a limb above 1.
    u32 limb = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i == bit >> 5) limb = M::p(i) - (i == 0 ? 2u : 0u);
    if (limb >> (bit & 31) & 1) out = mul(out, a);
  }
  return out;
}
