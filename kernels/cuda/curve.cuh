// Points of BN254's G1, y^2 = x^3 + 3. Affine points hold the identity as (0, 0), which is not on the
// curve. Sums are kept as (X, Y, ZZ, ZZZ) with x = X / ZZ, y = Y / ZZZ and ZZ^3 = ZZZ^2; the identity
// has ZZ = 0. Formulas: Explicit-Formulas Database, short Weierstrass, "XYZZ", a = 0.
// Every case is handled: identities, equal and opposite points.
#pragma once

#include "field.cuh"

struct Affine {
  Fq x, y;
  RM_DEV bool is_identity() const { return x.is_zero() && y.is_zero(); }
};

struct Xyzz {
  Fq x, y, zz, zzz;
  RM_DEV bool is_identity() const { return zz.is_zero(); }
  RM_DEV static Xyzz identity() { return {Fq::zero(), Fq::zero(), Fq::zero(), Fq::zero()}; }
  RM_DEV static Xyzz from(const Affine& p) {
    if (p.is_identity()) return identity();
    return {p.x, p.y, Fq::one(), Fq::one()};
  }
};

// 2p, "mdbl-2008-s-1", for p that is not the identity. No point of G1 has y = 0.
RM_DEV Xyzz dbl_affine(const Affine& p) {
  const Fq u = dbl(p.y);
  const Fq v = sqr(u);
  const Fq w = mul(u, v);
  const Fq s = mul(p.x, v);
  const Fq xx = sqr(p.x);
  const Fq m = add(dbl(xx), xx);
  const Fq x = sub(sqr(m), dbl(s));
  const Fq y = mul_sub(m, sub(s, x), w, p.y);
  return {x, y, v, w};
}

// 2p, "dbl-2008-s-1".
RM_DEV Xyzz dbl(const Xyzz& p) {
  if (p.is_identity()) return p;
  const Fq u = dbl(p.y);
  const Fq v = sqr(u);
  const Fq w = mul(u, v);
  const Fq s = mul(p.x, v);
  const Fq xx = sqr(p.x);
  const Fq m = add(dbl(xx), xx);
  const Fq x = sub(sqr(m), dbl(s));
  const Fq y = mul_sub(m, sub(s, x), w, p.y);
  return {x, y, mul(v, p.zz), mul(w, p.zzz)};
}

// Doubling where a sum was asked for: so rare that one copy, out of the way, does for all sums.
RM_NOINLINE Xyzz dbl_affine_rare(Affine p) { return dbl_affine(p); }
RM_NOINLINE Xyzz dbl_rare(Xyzz p) { return dbl(p); }

// sum += p, "madd-2008-s".
RM_DEV void add_mixed(Xyzz& sum, const Affine& p) {
  if (p.is_identity()) return;
  if (sum.is_identity()) {
    sum = Xyzz::from(p);
    return;
  }
  const Fq dx = sub(mul(p.x, sum.zz), sum.x);
  const Fq dy = sub(mul(p.y, sum.zzz), sum.y);
  if (dx.is_zero()) {
    sum = dy.is_zero() ? dbl_affine_rare(p) : Xyzz::identity();
    return;
  }
  const Fq pp = sqr(dx);
  const Fq ppp = mul(dx, pp);
  const Fq q = mul(sum.x, pp);
  const Fq x = sub(sub(sqr(dy), ppp), dbl(q));
  sum.y = mul_sub(dy, sub(q, x), sum.y, ppp);
  sum.x = x;
  sum.zz = mul(sum.zz, pp);
  sum.zzz = mul(sum.zzz, ppp);
}

// sum += p, "add-2008-s".
RM_DEV void add_full(Xyzz& sum, const Xyzz& p) {
  if (p.is_identity()) return;
  if (sum.is_identity()) {
    sum = p;
    return;
  }
  const Fq u1 = mul(sum.x, p.zz);
  const Fq s1 = mul(sum.y, p.zzz);
  const Fq dx = sub(mul(p.x, sum.zz), u1);
  const Fq dy = sub(mul(p.y, sum.zzz), s1);
  if (dx.is_zero()) {
    sum = dy.is_zero() ? dbl_rare(sum) : Xyzz::identity();
    return;
  }
  const Fq pp = sqr(dx);
  const Fq ppp = mul(dx, pp);
  const Fq q = mul(u1, pp);
  const Fq x = sub(sub(sqr(dy), ppp), dbl(q));
  sum.y = mul_sub(dy, sub(q, x), s1, ppp);
  sum.x = x;
  sum.zz = mul(mul(sum.zz, p.zz), pp);
  sum.zzz = mul(mul(sum.zzz, p.zzz), ppp);
}

// a + b, one copy of the code for all that need not save the call.
RM_NOINLINE Xyzz sum_of(Xyzz a, Xyzz b) {
  add_full(a, b);
  return a;
}
