//! The gates, written once over [`Expr`].
//!
//! From this one definition come the prover's quotient, the native verifier, the in-circuit verifier
//! and the Solidity verifier. Every constraint must vanish on every row; a constraint that uses a
//! rotation is switched by a fixed column that is zero on the last rows, or by `active`.
//!
//! Notation: `w_k(r)` is routed column `k` at rotation `r`, `l_k(r)` limb column `k`, `c_k` coefficient
//! `k`, `B = 2^cell_bits`. A *pack* joins four limb cells: `p_0 = Σ l_i(0)·B^i`, `p_1` likewise of
//! `l_4..l_7(0)`, `p_2` and `p_3` of the next row. With 16-bit cells a non-native element is the four
//! 64-bit limbs `p_0..p_3`, weight `2^64` apart.
//!
//! Degrees: every constraint is of degree at most 6 in the columns, selectors included, so the
//! quotient has degree below `5n` (`docs/book/arithmetization.md` lists each).

use rollmill_algebra::device::Expr;
use rollmill_algebra::{Fr, poseidon2};

use crate::shape::{COEFFICIENTS, HELPERS, LIMBS, ROUTED, column_cosets, fixed, kind};
use crate::weaken::{self, gone};

/// Everything a constraint can see at one row (or, for a verifier, at ζ).
#[derive(Debug, Clone)]
pub struct Cells<E> {
    /// Routed columns at rotations 0, 1, 2.
    pub w: [[E; ROUTED]; 3],
    /// Limb columns at rotations 0, 1.
    pub l: [[E; LIMBS]; 2],
    /// Fixed columns.
    pub fixed: [E; fixed::COUNT],
    /// Multiplicities of the table side of the bus.
    pub m: E,
    /// Lookup helpers.
    pub h: [E; HELPERS],
    /// Permutation product at rotations 0, 1.
    pub z: [E; 2],
    /// Bus sum at rotations 0, 1.
    pub s: [E; 2],
    /// The identity polynomial X.
    pub x: E,
    /// Zero on blinding rows, one elsewhere.
    pub active: E,
    /// Lagrange polynomial of row 0.
    pub first: E,
    /// Lagrange polynomial of the first blinding row.
    pub last: E,
    /// Public inputs in the first rows, zero elsewhere.
    pub public: E,
}

/// Challenges drawn after the wires and the multiplicities were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenges<T> {
    /// Joins the parts of a ROM tuple.
    pub eta: T,
    /// Shifts bus fingerprints and permutation names.
    pub beta: T,
    /// Shifts permutation terms.
    pub gamma: T,
}

impl Challenges<Fr> {
    /// The challenges as constants of the type that gates are evaluated in.
    pub fn lift<E: Expr>(&self) -> Challenges<E> {
        let Self { eta, beta, gamma } = *self;
        Challenges { eta: E::constant(eta), beta: E::constant(beta), gamma: E::constant(gamma) }
    }
}

/// Modulus of the non-native field as limbs of 64 bits: BN254's base field.
pub const MODULUS_LIMBS: [u64; 4] =
    [0x3c208c16d87cfd47, 0x97816a916871ca8d, 0xb85045b68181585d, 0x30644e72e131a029];
/// The quotient of a non-native product is signed: its packed cells hold `q + 2^255`.
pub const QUOTIENT_OFFSET_TOP: u64 = 1 << 63;
/// Carries are signed: their five packed cells hold `c + 2^79`.
pub const CARRY_OFFSET_BITS: u32 = 79;

/// The constants of the gates in the type they are evaluated in.
#[derive(Debug, Clone)]
pub struct Constants<E> {
    pub challenges: Challenges<E>,
    eta_powers: [E; 11],
    cell: [E; 5],
    one: E,
    kinds: [E; 5],
    kind_scale: [E; 5],
    two64: E,
    two128: E,
    two192: E,
    modulus: [E; 4],
    modulus_native: E,
    quotient_offset: E,
    carry_offset: E,
    cosets: [E; ROUTED],
    diag: [E; 4],
}

/// `2^bits` in Fr.
pub fn power_of_two(bits: u32) -> Fr {
    ark_ff::Field::pow(&Fr::from(2u64), [u64::from(bits)])
}

impl<E: Expr> Constants<E> {
    /// Prepares the constants for one set of challenges and one width of limb cells.
    pub fn new(challenges: Challenges<E>, cell_bits: u32) -> Self {
        let mut eta_powers: [E; 11] = std::array::from_fn(|_| E::constant(Fr::from(1u64)));
        for i in 1..11 {
            eta_powers[i] = eta_powers[i - 1].clone() * challenges.eta.clone();
        }
        let k = |v: Fr| E::constant(v);
        let native = MODULUS_LIMBS.iter().enumerate().fold(Fr::from(0u64), |acc, (i, limb)| {
            acc + Fr::from(*limb) * power_of_two(64 * i as u32)
        });
        // 1 / Π_{j ≠ i} (i − j) over j in 0..=4: 24, −6, 4, −6, 24.
        let inv = |v: i64| {
            let abs = Fr::from(v.unsigned_abs());
            let abs = if v < 0 { -abs } else { abs };
            ark_ff::Field::inverse(&abs).unwrap_or_default()
        };
        Self {
            challenges,
            eta_powers,
            cell: std::array::from_fn(|i| k(power_of_two(cell_bits * i as u32))),
            one: k(Fr::from(1u64)),
            kinds: std::array::from_fn(|i| k(Fr::from(i as u64))),
            kind_scale: [24i64, -6, 4, -6, 24].map(|v| k(inv(v))),
            two64: k(power_of_two(64)),
            two128: k(power_of_two(128)),
            two192: k(power_of_two(192)),
            modulus: MODULUS_LIMBS.map(|v| k(Fr::from(v))),
            modulus_native: k(native),
            quotient_offset: k(Fr::from(QUOTIENT_OFFSET_TOP)),
            carry_offset: k(power_of_two(CARRY_OFFSET_BITS)),
            cosets: column_cosets().map(k),
            diag: poseidon2::INTERNAL_DIAG.map(k),
        }
    }
}

/// Takes the constraints as they are made: a prover folds them, `check` looks at each.
pub trait Sink<E> {
    /// A group of constraints `selector · term`, one for each of `terms`.
    fn group(&mut self, gate: Gate, selector: &E, terms: &[E]);
    /// One constraint with no selector of its own.
    fn single(&mut self, gate: Gate, term: E);
}

/// Names of the gates, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    Arithmetic,
    Vector,
    Product,
    Square,
    Carry,
    PoseidonEntry,
    PoseidonExternal,
    PoseidonInternal,
    RangeHelper,
    Bus,
    BusStart,
    BusEnd,
    Permutation,
    PermutationStart,
    PermutationEnd,
}

impl Gate {
    /// Every gate, in the order in which [`constraints`] makes them.
    pub const ALL: [Self; 15] = [
        Self::Arithmetic,
        Self::Vector,
        Self::Product,
        Self::Square,
        Self::Carry,
        Self::PoseidonEntry,
        Self::PoseidonExternal,
        Self::PoseidonInternal,
        Self::RangeHelper,
        Self::Bus,
        Self::BusStart,
        Self::BusEnd,
        Self::Permutation,
        Self::PermutationStart,
        Self::PermutationEnd,
    ];

    /// How many constraints the gate makes.
    pub const fn equations(self) -> usize {
        match self {
            Self::Vector | Self::Product | Self::Square | Self::Carry | Self::PoseidonEntry => 4,
            Self::PoseidonExternal | Self::PoseidonInternal => 12,
            Self::RangeHelper => 2,
            Self::Arithmetic
            | Self::Bus
            | Self::BusStart
            | Self::BusEnd
            | Self::Permutation
            | Self::PermutationStart
            | Self::PermutationEnd => 1,
        }
    }

    /// The gate's name in lower case, words joined by underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Vector => "vector",
            Self::Product => "product",
            Self::Square => "square",
            Self::Carry => "carry",
            Self::PoseidonEntry => "poseidon_entry",
            Self::PoseidonExternal => "poseidon_external",
            Self::PoseidonInternal => "poseidon_internal",
            Self::RangeHelper => "range_helper",
            Self::Bus => "bus",
            Self::BusStart => "bus_start",
            Self::BusEnd => "bus_end",
            Self::Permutation => "permutation",
            Self::PermutationStart => "permutation_start",
            Self::PermutationEnd => "permutation_end",
        }
    }
}

/// How many constraints [`constraints`] makes: the number of powers of α needed.
pub const CONSTRAINTS: usize = {
    let (mut sum, mut i) = (0, 0);
    while i < Gate::ALL.len() {
        sum += Gate::ALL[i].equations();
        i += 1;
    }
    sum
};

/// Folds constraints with powers of α: the one value that must vanish.
#[derive(Debug)]
pub struct Fold<'a, E> {
    powers: &'a [E],
    next: usize,
    sum: Option<E>,
}

impl<'a, E: Expr> Fold<'a, E> {
    /// `powers[i] = α^i`, at least [`CONSTRAINTS`] of them.
    pub fn new(powers: &'a [E]) -> Self {
        Self { powers, next: 0, sum: None }
    }
    /// The folded value.
    pub fn finish(self) -> E {
        self.sum.unwrap_or_else(|| E::constant(Fr::from(0u64)))
    }
    fn add(&mut self, value: E) {
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + value,
            None => value,
        });
    }
}

impl<E: Expr> Sink<E> for Fold<'_, E> {
    fn group(&mut self, _gate: Gate, selector: &E, terms: &[E]) {
        let mut inner: Option<E> = None;
        for term in terms {
            let weighted = term.clone() * self.powers[self.next].clone();
            self.next += 1;
            inner = Some(match inner {
                Some(sum) => sum + weighted,
                None => weighted,
            });
        }
        if let Some(inner) = inner {
            self.add(selector.clone() * inner);
        }
    }
    fn single(&mut self, _gate: Gate, term: E) {
        let weighted = term * self.powers[self.next].clone();
        self.next += 1;
        self.add(weighted);
    }
}

/// The external matrix of Poseidon2 for t = 4, by additions and doublings (Poseidon2 paper,
/// eprint 2023/323, section 5.1).
pub fn external_matrix<E: Expr>(x: &[E; 4]) -> [E; 4] {
    let double = |v: &E| v.clone() + v.clone();
    let t0 = x[0].clone() + x[1].clone();
    let t1 = x[2].clone() + x[3].clone();
    let t2 = double(&x[1]) + t1.clone();
    let t3 = double(&x[3]) + t0.clone();
    let t4 = double(&double(&t1)) + t3.clone();
    let t5 = double(&double(&t0)) + t2.clone();
    let t6 = t3 + t5.clone();
    let t7 = t2 + t4.clone();
    [t6, t5, t7, t4]
}

fn fifth<E: Expr>(x: E) -> E {
    let square = x.square();
    square.square() * x
}

fn dot<E: Expr>(a: &[E], b: &[E]) -> E {
    let mut terms = a.iter().zip(b).map(|(x, y)| x.clone() * y.clone());
    let first = terms.next().unwrap_or_else(|| E::constant(Fr::from(0u64)));
    terms.fold(first, |acc, t| acc + t)
}

/// `v_0 + 2^64 v_1 + 2^128 v_2 + 2^192 v_3`.
fn native<E: Expr>(k: &Constants<E>, v: &[E; 4]) -> E {
    v[0].clone()
        + v[1].clone() * k.two64.clone()
        + v[2].clone() * k.two128.clone()
        + v[3].clone() * k.two192.clone()
}

/// The four packs of a row: `p_0, p_1` of its own limb cells, `p_2, p_3` of the next row's.
pub fn packs<E: Expr>(k: &Constants<E>, l: &[[E; LIMBS]; 2]) -> [E; 4] {
    let pack = |cells: &[E]| dot(cells, &k.cell[..4]);
    [pack(&l[0][..4]), pack(&l[0][4..]), pack(&l[1][..4]), pack(&l[1][4..])]
}

/// Positions 0..=4 of `a · b − q · M`, as the group sums `s_0 + 2^64 s_1`, `s_2 + 2^64 s_3`, `s_4` and
/// the native value. `a · b − q · M ≡ s_0 + … + 2^256 s_4 (mod 2^320)`.
fn product_groups<E: Expr>(k: &Constants<E>, a: &[E; 4], b: &[E; 4], q: &[E; 4]) -> [E; 4] {
    let s: [E; 5] = std::array::from_fn(|position| {
        let mut sum: Option<E> = None;
        for i in 0..4 {
            if position < i || position - i > 3 {
                continue;
            }
            let j = position - i;
            let term = a[i].clone() * b[j].clone() - q[i].clone() * k.modulus[j].clone();
            sum = Some(match sum {
                Some(acc) => acc + term,
                None => term,
            });
        }
        sum.unwrap_or_else(|| E::constant(Fr::from(0u64)))
    });
    let [s0, s1, s2, s3, s4] = s;
    [
        s0 + s1 * k.two64.clone(),
        s2 + s3 * k.two64.clone(),
        s4,
        native(k, a) * native(k, b) - native(k, q) * k.modulus_native.clone(),
    ]
}

/// Fingerprint of the ROM tuple of a row: (address in `w_0(0)`, table in `w_3(0)`, the eight values of
/// the next two rows). The last power of η is a tag that keeps tuples apart from range values.
fn fingerprint<E: Expr>(k: &Constants<E>, w: &[[E; ROUTED]; 3]) -> E {
    let e = &k.eta_powers;
    let zero = || E::constant(Fr::from(0u64));
    let part = |name: &str, part: E| if gone(name) { zero() } else { part };
    let value = |row: usize| -> [E; ROUTED] {
        std::array::from_fn(|i| part(weaken::VALUE[ROUTED * (row - 1) + i], w[row][i].clone()))
    };
    part("gates.part.fingerprint.table", w[0][3].clone())
        + part("gates.part.fingerprint.address", w[0][0].clone()) * e[1].clone()
        + dot(&value(1), &e[2..6])
        + dot(&value(2), &e[6..10])
        + part("gates.part.fingerprint.tag", e[10].clone())
}

/// Makes every constraint of the arithmetization at one row.
pub fn constraints<E: Expr, S: Sink<E>>(k: &Constants<E>, x: &Cells<E>, sink: &mut S) {
    #[cfg(feature = "weaken")]
    let sink = &mut weaken::Weakened::new(sink);
    all(k, x, sink);
}

fn all<E: Expr, S: Sink<E>>(k: &Constants<E>, x: &Cells<E>, sink: &mut S) {
    let f = |i: usize| x.fixed[i].clone();
    let c: [E; COEFFICIENTS] = std::array::from_fn(|i| f(fixed::C + i));
    let w = &x.w;

    // Arithmetic: Σ c_i w_i + c_4 w_0 w_1 + c_5 w_2 w_3 + c_6 w_3(1) + c_7, and on the first rows the
    // public inputs, which stand in w_0.
    let linear = dot(&w[0], &c[..4])
        + c[4].clone() * (w[0][0].clone() * w[0][1].clone())
        + c[5].clone() * (w[0][2].clone() * w[0][3].clone())
        + c[6].clone() * w[1][3].clone()
        + c[7].clone();
    sink.single(Gate::Arithmetic, f(fixed::ARITH) * linear - x.public.clone());

    // Selectors of the wide gates: Lagrange polynomials of the kind over {0, 1, 2, 3, 4}.
    let d: [E; 5] = std::array::from_fn(|i| f(fixed::KIND) - k.kinds[i].clone());
    let d01 = d[0].clone() * d[1].clone();
    let d34 = d[3].clone() * d[4].clone();
    let d012 = d01.clone() * d[2].clone();
    let d034 = d[0].clone() * d34.clone();
    let selector = |value: u64| -> E {
        let product = match value {
            kind::VEC => d034.clone() * d[2].clone(),
            kind::MUL => d01.clone() * d34.clone(),
            kind::CARRY => d012.clone() * d[4].clone(),
            _ => d012.clone() * d[3].clone(),
        };
        product * k.kind_scale[value as usize].clone()
    };

    let p = packs(k, &x.l);
    let vec_terms: [E; 4] = std::array::from_fn(|i| {
        c[0].clone() * w[0][i].clone()
            + c[1].clone() * w[1][i].clone()
            + c[2].clone() * w[2][i].clone()
            + c[3].clone() * p[i].clone()
    });
    sink.group(Gate::Vector, &selector(kind::VEC), &vec_terms);

    // Non-native product: w(2) = groups of w(0) · w(1) − q · M, with q in the limb cells.
    let q = [p[0].clone(), p[1].clone(), p[2].clone(), p[3].clone() - k.quotient_offset.clone()];
    let product = product_groups(k, &w[0], &w[1], &q);
    let terms: [E; 4] = std::array::from_fn(|i| product[i].clone() - w[2][i].clone());
    sink.group(Gate::Product, &selector(kind::MUL), &terms);

    // Non-native square less an element: w(2) = groups of w(0)² − w(1) − q · M.
    let square = product_groups(k, &w[0], &w[0], &q);
    let minus = [
        w[1][0].clone() + w[1][1].clone() * k.two64.clone(),
        w[1][2].clone() + w[1][3].clone() * k.two64.clone(),
        E::constant(Fr::from(0u64)),
        native(k, &w[1]),
    ];
    let terms: [E; 4] =
        std::array::from_fn(|i| square[i].clone() - minus[i].clone() - w[2][i].clone());
    sink.group(Gate::Square, &selector(kind::SQR), &terms);

    // Carries: the groups in w(0), plus a linear part out of the next two rows, vanish modulo 2^320
    // and natively.
    let low = dot(&w[1][..2], &c[..2]) + dot(&w[2][..2], &c[4..6]);
    let high = dot(&w[1][2..], &c[2..4]) + dot(&w[2][2..], &c[6..8]);
    let signed = |cells: [&E; 5]| -> E {
        let mut sum = E::constant(Fr::from(0u64)) - k.carry_offset.clone();
        for (cell, weight) in cells.into_iter().zip(&k.cell) {
            sum = sum + cell.clone() * weight.clone();
        }
        sum
    };
    let (l0, l1) = (&x.l[0], &x.l[1]);
    let c1 = signed([&l0[0], &l0[1], &l0[2], &l0[3], &l0[4]]);
    let c2 = signed([&l0[5], &l0[6], &l0[7], &l1[0], &l1[1]]);
    let c3 = signed([&l1[2], &l1[3], &l1[4], &l1[5], &l1[6]]);
    let terms = [
        w[0][0].clone() + low.clone() - c1.clone() * k.two128.clone(),
        w[0][1].clone() + high.clone() + c1 - c2.clone() * k.two128.clone(),
        w[0][2].clone() + c2 - c3 * k.two64.clone(),
        w[0][3].clone() + low + high * k.two128.clone(),
    ];
    sink.group(Gate::Carry, &selector(kind::CARRY), &terms);

    poseidon(k, x, sink);
    bus(k, x, sink);
    permutation(k, x, sink);
}

fn poseidon<E: Expr, S: Sink<E>>(k: &Constants<E>, x: &Cells<E>, sink: &mut S) {
    let w = &x.w;
    let c = &x.fixed[fixed::C..fixed::C + COEFFICIENTS];

    // Entry layer: w(2) = M_E · (w(0) + w(1)): the state and what is absorbed.
    let entry = x.fixed[fixed::READ].clone() * x.fixed[fixed::WRITE].clone();
    let sum: [E; 4] = std::array::from_fn(|i| w[0][i].clone() + w[1][i].clone());
    let mixed = external_matrix(&sum);
    let terms: [E; 4] = std::array::from_fn(|i| w[2][i].clone() - mixed[i].clone());
    sink.group(Gate::PoseidonEntry, &entry, &terms);

    // Two external rounds: S-box outputs in the limb cells, state of the next row.
    let l = &x.l[0];
    let first: [E; 4] = std::array::from_fn(|i| l[i].clone());
    let second: [E; 4] = std::array::from_fn(|i| l[4 + i].clone());
    let middle = external_matrix(&first);
    let out = external_matrix(&second);
    let mut terms: Vec<E> = Vec::with_capacity(12);
    for i in 0..4 {
        terms.push(l[i].clone() - fifth(w[0][i].clone() + c[i].clone()));
    }
    for i in 0..4 {
        terms.push(l[4 + i].clone() - fifth(middle[i].clone() + c[4 + i].clone()));
    }
    for i in 0..4 {
        terms.push(w[1][i].clone() - out[i].clone());
    }
    sink.group(Gate::PoseidonExternal, &x.fixed[fixed::EXTERNAL], &terms);

    // Eight internal rounds: one S-box each, its output in a limb cell.
    let mut state = w[0].clone();
    let mut terms: Vec<E> = Vec::with_capacity(12);
    for j in 0..8 {
        terms.push(l[j].clone() - fifth(state[0].clone() + c[j].clone()));
        state[0] = l[j].clone();
        let sum = (state[0].clone() + state[1].clone()) + (state[2].clone() + state[3].clone());
        state = std::array::from_fn(|i| state[i].clone() * k.diag[i].clone() + sum.clone());
    }
    for i in 0..4 {
        terms.push(w[1][i].clone() - state[i].clone());
    }
    sink.group(Gate::PoseidonInternal, &x.fixed[fixed::INTERNAL], &terms);
}

/// Σ of `1 / term` with the denominators cleared: (Π terms, Σ_j Π_{i≠j} terms).
fn cleared_sum<E: Expr>(t: [E; 4]) -> (E, E) {
    let [a, b, c, d] = t;
    let (ab, cd) = (a.clone() * b.clone(), c.clone() * d.clone());
    let sum = (a + b) * cd.clone() + (c + d) * ab.clone();
    (ab * cd, sum)
}

/// As [`cleared_sum`], of all terms but one.
fn cleared_sum_without<E: Expr>(mut t: [E; 4], left_out: usize) -> (E, E) {
    t.swap(left_out, 3);
    let [a, b, c, _] = t;
    let ab = a.clone() * b.clone();
    (ab.clone() * c.clone(), ab + (a + b) * c)
}

/// A sum of fractions with one denominator.
#[derive(Debug, Clone)]
pub struct Fraction<E> {
    pub numerator: E,
    pub denominator: E,
}

/// What a row adds to the lookup bus: the two helpers' range cells, and the ROM and table side.
pub fn bus_fractions<E: Expr>(k: &Constants<E>, x: &Cells<E>) -> [Fraction<E>; HELPERS + 1] {
    let beta = &k.challenges.beta;
    let everywhere = match gone("gates.part.bus.active") {
        true => k.one.clone(),
        false => x.active.clone(),
    };
    let ranged = match gone("gates.part.bus.ranged") {
        true => everywhere,
        false => everywhere - x.fixed[fixed::EXTERNAL].clone() - x.fixed[fixed::INTERNAL].clone(),
    };
    let helper = |j: usize| {
        let t: [E; 4] = std::array::from_fn(|i| x.l[0][4 * j + i].clone() + beta.clone());
        let (denominator, sum) = match (0..4).find(|i| gone(weaken::LIMB[4 * j + i])) {
            Some(i) => cleared_sum_without(t, i),
            None => cleared_sum(t),
        };
        Fraction { numerator: ranged.clone() * sum, denominator }
    };
    let (read, write) = (x.fixed[fixed::READ].clone(), x.fixed[fixed::WRITE].clone());
    let rom_gone = gone("gates.part.bus.rom");
    let of_rom = |term: E| if rom_gone { E::constant(Fr::from(0u64)) } else { term };
    let reads = read.clone() * (k.one.clone() - write.clone());
    let writes = write * (k.one.clone() - read);
    let rom = fingerprint(k, &x.w) + beta.clone();
    let table = x.fixed[fixed::TABLE].clone() + beta.clone();
    let rest = Fraction {
        numerator: (of_rom(reads) - of_rom(writes.clone() * x.m.clone())) * table.clone()
            - (k.one.clone() - writes) * x.m.clone() * rom.clone(),
        denominator: rom * table,
    };
    [helper(0), helper(1), rest]
}

/// The lookup bus (logUp, eprint 2022/1530): range cells and ROM reads on one side, the range table
/// and ROM writes with their multiplicities on the other.
fn bus<E: Expr, S: Sink<E>>(k: &Constants<E>, x: &Cells<E>, sink: &mut S) {
    let [first, second, rest] = bus_fractions(k, x);
    let helper = |j: usize, f: Fraction<E>| x.h[j].clone() * f.denominator - f.numerator;
    sink.group(Gate::RangeHelper, &x.active, &[helper(0, first), helper(1, second)]);
    let step = x.s[1].clone() - x.s[0].clone() - x.h[0].clone() - x.h[1].clone();
    sink.group(Gate::Bus, &x.active, &[step * rest.denominator - rest.numerator]);
    sink.group(Gate::BusStart, &x.first, &[x.s[0].clone()]);
    sink.group(Gate::BusEnd, &x.last, &[x.s[0].clone()]);
}

/// The permutation argument (PLONK, eprint 2019/953, section 5) over the routed columns.
fn permutation<E: Expr, S: Sink<E>>(k: &Constants<E>, x: &Cells<E>, sink: &mut S) {
    let Challenges { beta, gamma, .. } = &k.challenges;
    let mut left = x.z[0].clone();
    let mut right = x.z[1].clone();
    let beta_x = beta.clone() * x.x.clone();
    for i in (0..ROUTED).filter(|i| !gone(weaken::COLUMN[*i])) {
        let shifted = x.w[0][i].clone() + gamma.clone();
        left = left * (shifted.clone() + beta_x.clone() * k.cosets[i].clone());
        right = right * (shifted + beta.clone() * x.fixed[fixed::SIGMA + i].clone());
    }
    sink.group(Gate::Permutation, &x.active, &[right - left]);
    let one_off = x.z[0].clone() - k.one.clone();
    sink.group(Gate::PermutationStart, &x.first, std::slice::from_ref(&one_off));
    sink.group(Gate::PermutationEnd, &x.last, &[one_off]);
}
