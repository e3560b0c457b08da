//! Lays out a circuit row by row, together with its witness.
//!
//! The same code runs for setup and for proving: it must make the same rows whatever the values are,
//! so a circuit never branches on a value. A value that cannot satisfy the circuit is still laid out;
//! [`crate::check`] then names the gate and the row, and no proof of it verifies.
//!
//! Every routed cell has a [`Var`]. The permutation ties cells with the same variable together; an unused
//! cell has [`Builder::ZERO`], so no routed cell is free.
//!
//! Mistakes of the calling code (a variable of another builder, a public input that is set twice) panic at the
//! line of the call.

mod hash;
mod place;
mod range;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};

use ark_ff::Field;
use rollmill_algebra::Fr;

use crate::layout::FixedRow;
use crate::rom::RomEntry;
use crate::row::RowHasher;
use crate::shape::{LIMBS, ROUTED};
use crate::weaken::gone;

pub use self::place::Place;
pub(crate) use self::place::{Origin, Origins};

/// A value of one circuit. Only the builder that returned it accepts it; [`Builder::ZERO`] belongs to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var {
    number: u32,
    /// The builder's own number; 0 for [`Builder::ZERO`].
    builder: u32,
}

/// The number for the next builder.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Limb cells of one row: range-checked small values, or S-box values on a Poseidon2 row.
#[derive(Debug, Clone, Copy)]
pub enum LimbRow {
    /// Range-checked cells.
    Small([u16; LIMBS]),
    /// Index into the list of full-width rows.
    Full(u32),
}

/// A circuit under construction, with its witness.
#[derive(Debug)]
pub struct Builder {
    number: u32,
    pub(crate) cell_bits: u32,
    pub(crate) values: Vec<Fr>,
    /// Numbers of the variables in the routed cells.
    pub(crate) routed: Vec<[u32; ROUTED]>,
    pub(crate) limbs: Vec<LimbRow>,
    pub(crate) full_limbs: Vec<[Fr; LIMBS]>,
    pub(crate) fixed: Vec<u32>,
    pub(crate) palette: Vec<FixedRow>,
    palette_index: HashMap<FixedRow, u32, BuildHasherDefault<RowHasher>>,
    pub(crate) rom: HashMap<(Fr, Fr), RomEntry>,
    /// The first two rows that write one address: a prover could read either.
    pub(crate) written_twice: Option<(u32, u32)>,
    /// Reads of entries that no row writes. A circuit with one has no proof.
    pub(crate) unmatched_reads: Vec<u32>,
    constants: HashMap<Fr, Var>,
    /// Where each public input was set.
    pub(crate) public: Vec<Option<&'static Location<'static>>>,
    pending_next: Option<(u32, Origin)>,
    pack_queue: Vec<(Var, Origin)>,
    /// Arithmetic rows that can be placed anywhere, kept to fill rows that a wide gadget leaves free.
    loose: Vec<([u32; ROUTED], u32, Origin)>,
    /// ROM tables handed out so far.
    tables: u64,
    sections: Vec<(String, usize)>,
    pub(crate) origins: Origins,
}

/// Coefficients of one arithmetic row; see [`crate::gates`].
pub type Coefficients = [Fr; 8];

impl Builder {
    /// The variable that is always zero.
    pub const ZERO: Var = Var { number: 0, builder: 0 };

    /// Starts a circuit with `n_public` public inputs and limb cells of `cell_bits` bits (at most 16).
    ///
    /// # Panics
    /// If `cell_bits` is not 1 to 16.
    #[track_caller]
    pub fn new(n_public: usize, cell_bits: u32) -> Self {
        assert!(
            (1..=16).contains(&cell_bits),
            "limb cells have 1 to 16 bits, `cell_bits` is {cell_bits}"
        );
        let mut this = Self {
            // 0 names the builder of `ZERO`.
            number: NEXT.fetch_add(1, Ordering::Relaxed).max(1),
            cell_bits,
            values: vec![Fr::from(0u64)],
            routed: Vec::new(),
            limbs: Vec::new(),
            full_limbs: Vec::new(),
            fixed: Vec::new(),
            palette: Vec::new(),
            palette_index: HashMap::default(),
            rom: HashMap::new(),
            written_twice: None,
            unmatched_reads: Vec::new(),
            constants: HashMap::new(),
            public: vec![None; n_public],
            pending_next: None,
            pack_queue: Vec::new(),
            loose: Vec::new(),
            tables: 0,
            sections: Vec::new(),
            origins: Origins::default(),
        };
        // Public inputs are in the first rows; `set_public` names their variables later. The row after them
        // is 0 = ZERO.
        let mut public = FixedRow::blank();
        public.c[0] = Fr::from(1u64);
        public.arith = true;
        let origin = this.origin();
        for _ in 0..=n_public {
            this.push([0; ROUTED], &public, LimbRow::Small([0; LIMBS]), origin);
        }
        this.constants.insert(Fr::from(0u64), Self::ZERO);
        this
    }

    /// Rows laid out so far.
    pub fn rows(&self) -> usize {
        self.routed.len()
    }

    /// Rows laid out so far and those that wait for a place: at most so many rows does the circuit take if it ends
    /// here, besides those that every circuit contains.
    pub fn rows_with_waiting(&self) -> usize {
        let packs = 2 * self.pack_queue.len().div_ceil(4);
        self.rows() + self.loose.len() + packs + usize::from(self.pending_next.is_some())
    }

    /// Starts a named part of the circuit, for reports of where rows go and of which part a witness breaks.
    pub fn section(&mut self, name: &str) {
        self.sections.push((name.to_owned(), self.rows()));
    }

    /// The named parts and the number of rows of each, in order. Range checks and some arithmetic rows are laid out
    /// later than their call, so they count for the section that is open by then, or for none.
    pub fn section_rows(&self) -> Vec<(String, usize)> {
        let ends = self.sections.iter().skip(1).map(|s| s.1).chain([self.rows()]);
        self.sections
            .iter()
            .zip(ends)
            .map(|((name, start), end)| (name.clone(), end - start))
            .collect()
    }

    /// Bits of a limb cell.
    pub fn cell_bits(&self) -> u32 {
        self.cell_bits
    }

    /// The value a variable has in this witness.
    ///
    /// # Panics
    /// If the variable belongs to another builder.
    #[track_caller]
    pub fn value(&self, var: Var) -> Fr {
        self.values[self.number_of(var) as usize]
    }

    /// A new variable that nothing constrains yet.
    pub fn witness(&mut self, value: Fr) -> Var {
        self.values.push(value);
        Var { number: self.values.len() as u32 - 1, builder: self.number }
    }

    /// Makes `var` public input number `index`. Each input is set once; [`Self::finish`] rejects a circuit with
    /// an input that is not set.
    ///
    /// # Panics
    /// If there is no such input, or it was set before.
    #[track_caller]
    pub fn set_public(&mut self, index: usize, var: Var) {
        let count = self.public.len();
        assert!(index < count, "public input {index}: the circuit has {count}, numbered from 0");
        if let Some(first) = self.public[index] {
            panic!("public input {index} was already set at {first}");
        }
        self.routed[index][0] = self.number_of(var);
        let origin = self.origin();
        self.public[index] = Some(origin.at);
        self.origins.set(index, origin);
    }

    /// The number of a variable of this builder.
    #[track_caller]
    fn number_of(&self, var: Var) -> u32 {
        assert!(
            var.builder == self.number || var == Self::ZERO,
            "this variable belongs to another builder: a circuit uses variables of its own builder only"
        );
        var.number
    }

    #[track_caller]
    fn numbers_of(&self, vars: [Var; ROUTED]) -> [u32; ROUTED] {
        // Not by `map`: a closure would hide the caller.
        let [a, b, c, d] = vars;
        [self.number_of(a), self.number_of(b), self.number_of(c), self.number_of(d)]
    }

    /// What a row that the caller lays out now is known by.
    #[track_caller]
    fn origin(&self) -> Origin {
        Origin { section: self.sections.len() as u32, at: Location::caller() }
    }

    fn template(&mut self, row: &FixedRow) -> u32 {
        if let Some(&id) = self.palette_index.get(row) {
            return id;
        }
        let id = self.palette.len() as u32;
        self.palette.push(row.clone());
        self.palette_index.insert(row.clone(), id);
        id
    }

    fn push(
        &mut self,
        w: [u32; ROUTED],
        fixed: &FixedRow,
        limbs: LimbRow,
        origin: Origin,
    ) -> usize {
        let id = self.template(fixed);
        self.push_template(w, id, limbs, origin)
    }

    /// [`Self::push`] with the number of the fixed cells in the palette.
    fn push_template(
        &mut self,
        w: [u32; ROUTED],
        id: u32,
        limbs: LimbRow,
        origin: Origin,
    ) -> usize {
        self.routed.push(w);
        self.limbs.push(limbs);
        self.fixed.push(id);
        self.origins.push(origin);
        self.routed.len() - 1
    }

    /// Gives the row after the last one its `w_3` if an arithmetic row promised one.
    pub fn flush_next(&mut self) {
        if let Some((var, origin)) = self.pending_next.take() {
            let w = [0, 0, 0, var];
            self.push(w, &FixedRow::blank(), LimbRow::Small([0; LIMBS]), origin);
        }
    }

    /// Appends a row as it is: the base of every wide gadget. Returns its number. A sequence of such
    /// rows stays adjacent as long as no other method is called in between.
    #[track_caller]
    pub fn raw_row(&mut self, w: [Var; ROUTED], fixed: &FixedRow, limbs: [u16; LIMBS]) -> usize {
        self.flush_next();
        let (w, origin) = (self.numbers_of(w), self.origin());
        self.push(w, fixed, LimbRow::Small(limbs), origin)
    }

    /// Appends an arithmetic row; one that is tied to no neighbour may be laid out later, where a wide
    /// gadget leaves a row free. A cell that is `None` does not matter to the row's equation (its
    /// coefficients are zero) and holds zero, or takes in a promised `w_3`.
    #[track_caller]
    pub fn arith_row(&mut self, w: [Option<Var>; ROUTED], c: Coefficients, next: Option<Var>) {
        let origin = self.origin();
        let mut vars = self.numbers_of(w.map(|v| v.unwrap_or(Self::ZERO)));
        let promised = self.pending_next.is_some();
        if let Some((promised, _)) = self.pending_next {
            if w[3].is_none() || vars[3] == promised {
                vars[3] = promised;
                self.pending_next = None;
            } else {
                self.flush_next();
            }
        }
        let mut row = FixedRow::blank();
        row.c = c;
        row.arith = true;
        if next.is_none() && !promised {
            let id = self.template(&row);
            self.loose.push((vars, id, origin));
            return;
        }
        self.push(vars, &row, LimbRow::Small([0; LIMBS]), origin);
        if let Some(next) = next {
            self.pending_next = Some((self.number_of(next), origin));
        }
    }

    /// Appends a row whose routed cells and gate do not matter to the gadget around it: an arithmetic
    /// row that waited for such a place, or an empty row.
    #[track_caller]
    pub fn filler_row(&mut self, limbs: [u16; LIMBS]) -> usize {
        self.flush_next();
        let limbs = LimbRow::Small(limbs);
        match self.loose.pop() {
            Some((w, id, origin)) => self.push_template(w, id, limbs, origin),
            None => self.push([0; ROUTED], &FixedRow::blank(), limbs, self.origin()),
        }
    }

    /// A ROM table that no other part of the circuit uses: its name as a constant.
    #[track_caller]
    pub fn new_table(&mut self) -> Var {
        self.tables += 1;
        self.constant_u64(self.tables)
    }

    /// A constant; each constant takes one row a circuit.
    #[track_caller]
    pub fn constant(&mut self, value: Fr) -> Var {
        if let Some(&var) = self.constants.get(&value) {
            return var;
        }
        let var = self.witness(value);
        let mut c = [Fr::from(0u64); 8];
        c[0] = Fr::from(1u64);
        c[7] = -value;
        self.arith_row([Some(var), None, None, None], c, None);
        self.constants.insert(value, var);
        var
    }

    /// A small integer as a constant.
    #[track_caller]
    pub fn constant_u64(&mut self, value: u64) -> Var {
        self.constant(Fr::from(value))
    }

    /// `Σ coefficient · var + constant`, in about one row for every three terms.
    #[track_caller]
    pub fn linear(&mut self, terms: &[(Fr, Var)], constant: Fr) -> Var {
        let mut value = constant;
        for (c, v) in terms {
            value += *c * self.value(*v);
        }
        let out = self.witness(value);
        self.linear_into(terms, constant, out);
        out
    }

    /// Constrains `out = Σ coefficient · var + constant`.
    #[track_caller]
    pub fn linear_into(&mut self, terms: &[(Fr, Var)], constant: Fr, out: Var) {
        let zero = Fr::from(0u64);
        let minus_one = -Fr::from(1u64);
        let mut rest = terms;
        let mut constant = constant;
        let mut acc: Option<Var> = None;
        loop {
            let carried = usize::from(acc.is_some());
            // The last row has the remaining terms, the carried sum, and the result.
            if rest.len() + carried < ROUTED {
                let mut w = [None; ROUTED];
                let mut c = [zero; 8];
                for (i, (k, v)) in rest.iter().enumerate() {
                    (w[i], c[i]) = (Some(*v), *k);
                }
                if let Some(acc) = acc {
                    (w[3], c[3]) = (Some(acc), Fr::from(1u64));
                }
                let slot = rest.len();
                (w[slot], c[slot]) = (Some(out), minus_one);
                c[7] = constant;
                self.arith_row(w, c, None);
                return;
            }
            let take = ROUTED - carried;
            let mut w = [None; ROUTED];
            let mut c = [zero; 8];
            let mut value = constant;
            for (i, (k, v)) in rest.iter().take(take).enumerate() {
                (w[i], c[i]) = (Some(*v), *k);
                value += *k * self.value(*v);
            }
            if let Some(acc) = acc {
                (w[3], c[3]) = (Some(acc), Fr::from(1u64));
                value += self.value(acc);
            }
            c[7] = constant;
            c[6] = minus_one;
            constant = zero;
            let next = self.witness(value);
            self.arith_row(w, c, Some(next));
            acc = Some(next);
            rest = &rest[take..];
        }
    }

    /// `a + b`.
    #[track_caller]
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        self.linear(&[(Fr::from(1u64), a), (Fr::from(1u64), b)], Fr::from(0u64))
    }

    /// `a − b`.
    #[track_caller]
    pub fn sub(&mut self, a: Var, b: Var) -> Var {
        self.linear(&[(Fr::from(1u64), a), (-Fr::from(1u64), b)], Fr::from(0u64))
    }

    /// `k · a + c`.
    #[track_caller]
    pub fn scale(&mut self, a: Var, k: Fr, c: Fr) -> Var {
        self.linear(&[(k, a)], c)
    }

    /// `a · b`.
    #[track_caller]
    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        self.mul_add(a, b, Fr::from(1u64), None, Fr::from(0u64))
    }

    /// `k · a · b + d + constant`.
    #[track_caller]
    pub fn mul_add(&mut self, a: Var, b: Var, k: Fr, d: Option<Var>, constant: Fr) -> Var {
        let addend = self.value(d.unwrap_or(Self::ZERO));
        let out = self.witness(k * self.value(a) * self.value(b) + addend + constant);
        let mut c = [Fr::from(0u64); 8];
        c[2] = -Fr::from(1u64);
        c[4] = k;
        c[7] = constant;
        if d.is_some() {
            c[3] = Fr::from(1u64);
        }
        self.arith_row([Some(a), Some(b), Some(out), d], c, None);
        out
    }

    /// Constrains `a = b`.
    #[track_caller]
    pub fn assert_equal(&mut self, a: Var, b: Var) {
        if a == b {
            return;
        }
        if gone("gadgets.equal") {
            return;
        }
        let mut c = [Fr::from(0u64); 8];
        c[0] = Fr::from(1u64);
        c[1] = -Fr::from(1u64);
        self.arith_row([Some(a), Some(b), None, None], c, None);
    }

    /// Constrains `a = value`.
    #[track_caller]
    pub fn assert_constant(&mut self, a: Var, value: Fr) {
        if gone("gadgets.constant") {
            return;
        }
        let mut c = [Fr::from(0u64); 8];
        c[0] = Fr::from(1u64);
        c[7] = -value;
        self.arith_row([Some(a), None, None, None], c, None);
    }

    /// Constrains `a` to 0 or 1.
    #[track_caller]
    pub fn assert_bool(&mut self, a: Var) {
        if gone("gadgets.bool") {
            return;
        }
        let mut c = [Fr::from(0u64); 8];
        c[0] = -Fr::from(1u64);
        c[4] = Fr::from(1u64);
        self.arith_row([Some(a), Some(a), None, None], c, None);
    }

    /// A new variable constrained to 0 or 1.
    #[track_caller]
    pub fn bit(&mut self, value: bool) -> Var {
        let var = self.witness(Fr::from(u64::from(value)));
        self.assert_bool(var);
        var
    }

    /// `bit · a + (1 − bit) · b`. `bit` must already be constrained to 0 or 1.
    #[track_caller]
    pub fn select(&mut self, bit: Var, a: Var, b: Var) -> Var {
        let (vb, va, vc) = (self.value(bit), self.value(a), self.value(b));
        let out = self.witness(vb * (va - vc) + vc);
        let mut c = [Fr::from(0u64); 8];
        c[3] = Fr::from(1u64);
        c[4] = Fr::from(1u64);
        c[5] = -Fr::from(1u64);
        c[6] = -Fr::from(1u64);
        self.arith_row([Some(bit), Some(a), Some(bit), Some(b)], c, Some(out));
        out
    }

    /// Constrains `a ≠ 0` and returns its inverse.
    #[track_caller]
    pub fn inverse(&mut self, a: Var) -> Var {
        let out = self.witness(self.value(a).inverse().unwrap_or_default());
        let mut c = [Fr::from(0u64); 8];
        c[4] = Fr::from(1u64);
        c[7] = -Fr::from(1u64);
        if !gone("gadgets.inverse") {
            self.arith_row([Some(a), Some(out), None, None], c, None);
        }
        out
    }

    /// 1 when `a` is zero, else 0.
    #[track_caller]
    pub fn is_zero(&mut self, a: Var) -> Var {
        let value = self.value(a);
        let answer = Fr::from(u64::from(value == Fr::from(0u64)));
        self.is_zero_given(a, value.inverse().unwrap_or_default(), answer)
    }

    /// [`Self::is_zero`] with the inverse and the answer that the prover claims.
    #[track_caller]
    pub fn is_zero_given(&mut self, a: Var, inverse: Fr, answer: Fr) -> Var {
        let inverse = self.witness(inverse);
        let out = self.witness(answer);
        // a · inverse + out − 1 = 0 and a · out = 0
        let mut c = [Fr::from(0u64); 8];
        c[2] = Fr::from(1u64);
        c[4] = Fr::from(1u64);
        c[7] = -Fr::from(1u64);
        if !gone("gadgets.zero.inverse") {
            self.arith_row([Some(a), Some(inverse), Some(out), None], c, None);
        }
        let mut c = [Fr::from(0u64); 8];
        c[4] = Fr::from(1u64);
        if !gone("gadgets.zero.product") {
            self.arith_row([Some(a), Some(out), None, None], c, None);
        }
        out
    }

    /// Appends a row whose limb cells hold elements of full width, which its gate must be one to allow.
    /// Returns its number.
    #[track_caller]
    pub fn full_row(&mut self, w: [Var; 4], fixed: &FixedRow, cells: [Fr; LIMBS]) -> usize {
        self.full_limbs.push(cells);
        let index = self.full_limbs.len() as u32 - 1;
        let (w, origin) = (self.numbers_of(w), self.origin());
        self.push(w, fixed, LimbRow::Full(index), origin)
    }

    /// Places the pending rows, and those that every circuit must contain.
    #[track_caller]
    pub(crate) fn end(&mut self) {
        let unused = [(Self::ZERO, self.origin()); 4];
        while !self.pack_queue.is_empty() {
            let mut four = unused;
            let take = self.pack_queue.len().min(4);
            for (slot, queued) in four.iter_mut().zip(self.pack_queue.drain(..take)) {
                *slot = queued;
            }
            self.pack_rows(four);
        }
        self.flush_next();
        for (w, id, origin) in std::mem::take(&mut self.loose) {
            self.push_template(w, id, LimbRow::Small([0; LIMBS]), origin);
        }
        // A key must not commit to a zero column: see `Layout::fixed_columns`.
        if !self.palette.iter().any(|row| row.external) {
            self.permute([Self::ZERO; 4], [Self::ZERO; 4]);
        }
        if !self.palette.iter().any(|row| row.kind != 0) {
            self.pack_rows(unused);
        }
        let names = std::mem::take(&mut self.sections);
        self.origins.sections = names.into_iter().map(|(name, _)| name).collect();
    }
}
