//! The gates, each in a file of its own, written once over [`Expr`].
//!
//! From this one definition come the prover's quotient, the native verifier, the in-circuit verifier
//! and the Solidity verifier. Every constraint must vanish on every row; a constraint that uses a
//! rotation is switched by a fixed column that is zero on the last rows, or by `active`.
//!
//! To add a gate, write its file (formula, constraints, constructor of its rows, test vectors) and name it in the
//! list of [`Gate`]. Numbers of constraints, selectors of the wide gates and names follow from the list.
//!
//! Notation: `w_k(r)` is routed column `k` at rotation `r`, `l_k(r)` limb column `k`, `c_k` coefficient
//! `k`, `B = 2^cell_bits`. A *pack* joins four limb cells: `p_0 = Σ l_i(0)·B^i`, `p_1` likewise of
//! `l_4..l_7(0)`, `p_2` and `p_3` of the next row. With 16-bit cells a non-native element is the four
//! 64-bit limbs `p_0..p_3`, weight `2^64` apart.
//!
//! Degrees: every constraint is of degree at most 6 in the columns, selectors included, so the
//! quotient has degree below `5n` ([`crate::analysis::degree`] computes each, and
//! `docs/book/arithmetization.md` lists them).

mod arithmetic;
mod bus;
mod bus_end;
mod bus_start;
mod carry;
mod permutation;
mod permutation_end;
mod permutation_start;
mod poseidon_entry;
mod poseidon_external;
mod poseidon_internal;
mod product;
mod range_helper;
mod square;
mod vector;
#[cfg(test)]
mod vectors;

use rollmill_algebra::device::Expr;
use rollmill_algebra::{Fr, poseidon2};

pub use self::bus::bus_fractions;
pub(crate) use self::permutation::fraction as permutation_fraction;
use crate::layout::FixedRow;
use crate::shape::{COEFFICIENTS, HELPERS, LIMBS, ROUTED, column_cosets, fixed};
#[cfg(feature = "weaken")]
use crate::weaken;

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
/// The quotient of a non-native product is signed: its packed cells contain `q + 2^255`.
pub const QUOTIENT_OFFSET_TOP: u64 = 1 << 63;
/// Carries are signed: their five packed cells contain `c + 2^79`.
pub const CARRY_OFFSET_BITS: u32 = 79;

/// Limb cells that a gate joins at most: those of a carry.
pub const JOINED_CELLS: usize = 5;

/// The constants of the gates in the type they are evaluated in.
#[derive(Debug, Clone)]
pub struct Constants<E> {
    pub challenges: Challenges<E>,
    eta_powers: [E; 11],
    cell: [E; JOINED_CELLS],
    one: E,
    kinds: [E; WIDE + 1],
    kind_scale: [E; WIDE + 1],
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

/// A small integer in Fr.
pub(crate) fn signed(value: i64) -> Fr {
    let abs = Fr::from(value.unsigned_abs());
    if value < 0 { -abs } else { abs }
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
        // 1 / Π_{j ≠ i} (i − j) over all kinds j, none included.
        let scale = |i: usize| {
            let others = (0..=WIDE).filter(|j| *j != i);
            let product: Fr = others.map(|j| signed(i as i64 - j as i64)).product();
            ark_ff::Field::inverse(&product).expect("two kinds differ by less than the modulus")
        };
        Self {
            challenges,
            eta_powers,
            cell: std::array::from_fn(|i| k(power_of_two(cell_bits * i as u32))),
            one: k(Fr::from(1u64)),
            kinds: std::array::from_fn(|i| k(Fr::from(i as u64))),
            kind_scale: std::array::from_fn(|i| k(scale(i))),
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

    /// [`Self::new`] where the width of limb cells is not a constant: `weights[i]` must be `2^(i · width)`.
    pub fn with_weights(challenges: Challenges<E>, weights: [E; JOINED_CELLS]) -> Self {
        // Of the constants only the weights depend on the width.
        Self { cell: weights, ..Self::new(challenges, 0) }
    }
}

/// Receives the constraints one by one: a prover folds them, `check` evaluates each.
pub trait Sink<E> {
    /// A group of constraints `selector · term`, one for each of `terms`.
    fn group(&mut self, gate: Gate, selector: &E, terms: &[E]);
    /// One constraint with no selector of its own.
    fn single(&mut self, gate: Gate, term: E);
}

/// A group of constraints that are switched together.
struct Switched<E, const EQUATIONS: usize> {
    selector: E,
    terms: [E; EQUATIONS],
}

impl<E, const EQUATIONS: usize> Switched<E, EQUATIONS> {
    fn give<S: Sink<E>>(self, gate: Gate, sink: &mut S) {
        sink.group(gate, &self.selector, &self.terms);
    }
}

/// One constraint with no selector of its own.
struct Single<E>(E);

impl<E> Single<E> {
    fn give<S: Sink<E>>(self, gate: Gate, sink: &mut S) {
        sink.single(gate, self.0);
    }
}

/// Lists the gates: name and file of each, `wide` for those that share the column of kinds, and `argument` for
/// those over columns that the prover makes after the wires.
macro_rules! gates {
    (@kind $file:ident wide) => { Some($file::KIND) };
    (@kind $file:ident argument) => { None };
    (@kind $file:ident) => { None };
    (@of_row $function:ident $default:expr, $file:ident $row:ident wide) => {
        $file::$function($row)
    };
    (@of_row $function:ident $default:expr, $file:ident $row:ident argument) => { $default };
    (@of_row $function:ident $default:expr, $file:ident $row:ident) => { $default };
    (@argument argument) => { true };
    (@argument wide) => { false };
    (@argument) => { false };
    ($($gate:ident in $file:ident $($class:ident)?),* $(,)?) => {
        /// The gates.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Gate {
            $(#[doc = concat!("See `gates/", stringify!($file), ".rs`.")] $gate),*
        }

        impl Gate {
            /// Every gate, in the order in which [`constraints`] makes them.
            pub const ALL: [Self; [$($file::EQUATIONS),*].len()] = [$(Self::$gate),*];

            /// How many constraints the gate makes.
            pub const fn equations(self) -> usize {
                match self { $(Self::$gate => $file::EQUATIONS),* }
            }

            /// The gate's name in lower case, words joined by underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$gate => stringify!($file)),* }
            }

            /// The gate's value in the column of kinds, if it is a wide gate.
            pub const fn kind(self) -> Option<u64> {
                match self { $(Self::$gate => gates!(@kind $file $($class)?)),* }
            }

            /// Whether the gate reads columns that the prover makes in round 2.
            pub const fn is_argument(self) -> bool {
                match self { $(Self::$gate => gates!(@argument $($class)?)),* }
            }

            fn limb_cells(self, row: &FixedRow) -> usize {
                match self { $(Self::$gate => gates!(@of_row limb_cells 0, $file row $($class)?)),* }
            }

            fn limb_rows(self, row: &FixedRow) -> [bool; 3] {
                match self {
                    $(Self::$gate => gates!(@of_row limb_rows [false; 3], $file row $($class)?)),*
                }
            }

            /// The wide gate of a kind; `None` for 0 and for numbers that are no kind.
            pub fn of_kind(kind: u64) -> Option<Self> {
                Self::ALL.into_iter().find(|gate| gate.kind() == Some(kind))
            }
        }

        fn all<E: Expr, S: Sink<E>>(v: &View<'_, E>, sink: &mut S) {
            $($file::constraints(v).give(Gate::$gate, sink);)*
        }
    };
}

gates! {
    Arithmetic in arithmetic,
    Vector in vector wide,
    Product in product wide,
    Square in square wide,
    Carry in carry wide,
    PoseidonEntry in poseidon_entry,
    PoseidonExternal in poseidon_external,
    PoseidonInternal in poseidon_internal,
    RangeHelper in range_helper argument,
    Bus in bus argument,
    BusStart in bus_start argument,
    BusEnd in bus_end argument,
    Permutation in permutation argument,
    PermutationStart in permutation_start argument,
    PermutationEnd in permutation_end argument,
}

/// How many wide gates there are. Their kinds are 1 to this number; 0 is no wide gate.
pub const WIDE: usize = {
    let (mut wide, mut kinds, mut i) = (0, 0u64, 0);
    while i < Gate::ALL.len() {
        if let Some(kind) = Gate::ALL[i].kind() {
            assert!(kinds & 1 << kind == 0, "two wide gates have one kind");
            kinds |= 1 << kind;
            wide += 1;
        }
        i += 1;
    }
    assert!(kinds == (1 << (wide + 1)) - 2, "the kinds of the wide gates are 1, 2, 3 and so on");
    wide
};

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

impl FixedRow {
    /// How many limb cells the row's wide gate reads: those of the row from the first on, then those of the next.
    pub fn limb_cells(&self) -> usize {
        Gate::of_kind(self.kind).map_or(0, |gate| gate.limb_cells(self))
    }

    /// Whether the row's wide gate takes the routed cells of this row, of the next and of the one after it for
    /// limbs, whose ranges other rows must enforce.
    pub fn limb_rows(&self) -> [bool; 3] {
        Gate::of_kind(self.kind).map_or([false; 3], |gate| gate.limb_rows(self))
    }
}

/// A sum of fractions with one denominator.
#[derive(Debug, Clone)]
pub struct Fraction<E> {
    /// Above the line.
    pub numerator: E,
    /// Below it.
    pub denominator: E,
}

/// One row as the gates see it: its cells, and what several gates compute of them.
struct View<'a, E> {
    k: &'a Constants<E>,
    x: &'a Cells<E>,
    packs: [E; 4],
    /// Selectors of the wide gates, by kind less one.
    kinds: [E; WIDE],
    /// What the range helpers must be.
    helpers: [Fraction<E>; HELPERS],
}

impl<'a, E: Expr> View<'a, E> {
    fn new(k: &'a Constants<E>, x: &'a Cells<E>) -> Self {
        let helpers = range_helper::fractions(k, x);
        Self { k, x, packs: packs(k, &x.l), kinds: kind_selectors(k, x), helpers }
    }
    /// The coefficients of the row.
    fn c(&self) -> &[E] {
        &self.x.fixed[fixed::C..fixed::C + COEFFICIENTS]
    }
    /// The selector of the wide gate of this kind.
    fn kind(&self, kind: u64) -> E {
        self.kinds[kind as usize - 1].clone()
    }
    /// The quotient of a non-native product, which is signed.
    fn quotient(&self) -> [E; 4] {
        let [p0, p1, p2, p3] = self.packs.clone();
        [p0, p1, p2, p3 - self.k.quotient_offset.clone()]
    }
}

/// Selectors of the wide gates: Lagrange polynomials of the kind over 0 and all kinds. Products of the lower and
/// of the upper half are shared.
fn kind_selectors<E: Expr>(k: &Constants<E>, x: &Cells<E>) -> [E; WIDE] {
    const MIDDLE: usize = (WIDE + 1).div_ceil(2);
    let d: [E; WIDE + 1] =
        std::array::from_fn(|i| x.fixed[fixed::KIND].clone() - k.kinds[i].clone());
    let join = |product: Option<E>, i: usize| match product {
        Some(product) => Some(product * d[i].clone()),
        None => Some(d[i].clone()),
    };
    // below[i] is the product over the kinds up to i, in the lower half.
    let mut product = None;
    let below: [E; MIDDLE] = std::array::from_fn(|i| {
        product = join(product.take(), i);
        product.clone().expect("at least one factor")
    });
    let upper = (MIDDLE..=WIDE).fold(None, join).expect("a wide gate is in the upper half");
    std::array::from_fn(|i| {
        let kind = i + 1;
        let others = if kind < MIDDLE {
            let start = below[kind - 1].clone() * upper.clone();
            d[kind + 1..MIDDLE].iter().fold(start, |product, d| product * d.clone())
        } else {
            let lower = below[MIDDLE - 1].clone();
            match (MIDDLE..=WIDE).filter(|other| *other != kind).fold(None, join) {
                Some(others) => lower * others,
                None => lower,
            }
        };
        others * k.kind_scale[kind].clone()
    })
}

/// Makes every constraint of the arithmetization at one row.
pub fn constraints<E: Expr, S: Sink<E>>(k: &Constants<E>, x: &Cells<E>, sink: &mut S) {
    #[cfg(feature = "weaken")]
    let sink = &mut weaken::Weakened::new(sink);
    all(&View::new(k, x), sink);
}
