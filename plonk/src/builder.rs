//! Lays out a circuit row by row, together with its witness.
//!
//! The same code runs for setup and for proving: it must make the same rows whatever the values are,
//! so a circuit never branches on a value. A value that cannot satisfy the circuit is still laid out;
//! [`crate::check`] then names the gate and the row, and no proof of it verifies.
//!
//! Every routed cell has a [`Var`]. The permutation ties cells with the same variable together; an unused
//! cell has [`Builder::ZERO`], so no routed cell is free.

mod hash;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use ark_ff::{Field, PrimeField};
use rollmill_algebra::Fr;

use crate::layout::FixedRow;
use crate::rom::RomEntry;
use crate::row::RowHasher;
use crate::shape::{LIMBS, ROUTED};
use crate::weaken::gone;

/// A value of the circuit, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub(crate) u32);

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
    pub(crate) cell_bits: u32,
    pub(crate) values: Vec<Fr>,
    pub(crate) routed: Vec<[Var; ROUTED]>,
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
    pub(crate) n_public: u32,
    pending_next: Option<Var>,
    pack_queue: Vec<Var>,
    /// Arithmetic rows that can be placed anywhere, kept to fill rows that a wide gadget leaves free.
    loose: Vec<([Var; ROUTED], u32)>,
    /// ROM tables handed out so far.
    tables: u64,
    sections: Vec<(String, usize)>,
}

/// Coefficients of one arithmetic row; see [`crate::gates`].
pub type Coefficients = [Fr; 8];

impl Builder {
    /// The variable that is always zero.
    pub const ZERO: Var = Var(0);

    /// Starts a circuit with `n_public` public inputs and limb cells of `cell_bits` bits (at most 16).
    pub fn new(n_public: usize, cell_bits: u32) -> Self {
        assert!((1..=16).contains(&cell_bits), "limb cells have 1 to 16 bits");
        let mut this = Self {
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
            n_public: n_public as u32,
            pending_next: None,
            pack_queue: Vec::new(),
            loose: Vec::new(),
            tables: 0,
            sections: Vec::new(),
        };
        // Public inputs are in the first rows; `set_public` names their variables later.
        let mut public = FixedRow::blank();
        public.c[0] = Fr::from(1u64);
        public.arith = true;
        for _ in 0..n_public {
            this.push([Self::ZERO; 4], &public, LimbRow::Small([0; LIMBS]));
        }
        // 0 = ZERO
        this.push([Self::ZERO; 4], &public, LimbRow::Small([0; LIMBS]));
        this.constants.insert(Fr::from(0u64), Self::ZERO);
        this
    }

    /// Rows laid out so far.
    pub fn rows(&self) -> usize {
        self.routed.len()
    }

    /// Marks the start of a named part of the circuit, for reports of where rows go.
    pub fn section(&mut self, name: &str) {
        self.sections.push((name.to_owned(), self.rows()));
    }

    /// The named parts and the number of rows of each, in order.
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
    pub fn value(&self, var: Var) -> Fr {
        self.values[var.0 as usize]
    }

    /// A new variable that nothing constrains yet.
    pub fn witness(&mut self, value: Fr) -> Var {
        self.values.push(value);
        Var(self.values.len() as u32 - 1)
    }

    /// Makes `var` public input number `index`; the last call for an index counts. An input that no call
    /// names is the constant zero.
    pub fn set_public(&mut self, index: usize, var: Var) {
        assert!(index < self.n_public as usize, "public input {index} of {}", self.n_public);
        self.routed[index][0] = var;
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

    fn push(&mut self, w: [Var; ROUTED], fixed: &FixedRow, limbs: LimbRow) -> usize {
        let id = self.template(fixed);
        self.routed.push(w);
        self.limbs.push(limbs);
        self.fixed.push(id);
        self.routed.len() - 1
    }

    /// Gives the row after the last one its `w_3` if an arithmetic row promised one.
    pub fn flush_next(&mut self) {
        if let Some(var) = self.pending_next.take() {
            let w = [Self::ZERO, Self::ZERO, Self::ZERO, var];
            self.push(w, &FixedRow::blank(), LimbRow::Small([0; LIMBS]));
        }
    }

    /// Appends a row as it is: the base of every wide gadget. Returns its number. A sequence of such
    /// rows stays adjacent as long as no other method is called in between.
    pub fn raw_row(&mut self, w: [Var; ROUTED], fixed: &FixedRow, limbs: [u16; LIMBS]) -> usize {
        self.flush_next();
        self.push(w, fixed, LimbRow::Small(limbs))
    }

    /// Appends an arithmetic row; one that is tied to no neighbour may be laid out later, where a wide
    /// gadget leaves a row free. A cell that is `None` does not matter to the row's equation (its
    /// coefficients are zero) and holds zero, or takes in a promised `w_3`.
    pub fn arith_row(&mut self, w: [Option<Var>; ROUTED], c: Coefficients, next: Option<Var>) {
        let mut w = w;
        let promised = self.pending_next.is_some();
        if let Some(promised) = self.pending_next {
            if w[3].is_none() || w[3] == Some(promised) {
                w[3] = Some(promised);
                self.pending_next = None;
            } else {
                self.flush_next();
            }
        }
        let mut row = FixedRow::blank();
        row.c = c;
        row.arith = true;
        let vars = w.map(|v| v.unwrap_or(Self::ZERO));
        if next.is_none() && !promised {
            let id = self.template(&row);
            self.loose.push((vars, id));
            return;
        }
        self.push(vars, &row, LimbRow::Small([0; LIMBS]));
        self.pending_next = next;
    }

    /// Appends a row whose routed cells and gate do not matter to the gadget around it: an arithmetic
    /// row that waited for such a place, or an empty row.
    pub fn filler_row(&mut self, limbs: [u16; LIMBS]) -> usize {
        self.flush_next();
        match self.loose.pop() {
            Some((w, id)) => {
                self.routed.push(w);
                self.limbs.push(LimbRow::Small(limbs));
                self.fixed.push(id);
                self.routed.len() - 1
            }
            None => self.push([Self::ZERO; ROUTED], &FixedRow::blank(), LimbRow::Small(limbs)),
        }
    }

    /// A ROM table that no other part of the circuit uses: its name as a constant.
    pub fn new_table(&mut self) -> Var {
        self.tables += 1;
        self.constant_u64(self.tables)
    }

    /// A constant; each constant takes one row a circuit.
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
    pub fn constant_u64(&mut self, value: u64) -> Var {
        self.constant(Fr::from(value))
    }

    /// `Σ coefficient · var + constant`, in about one row for every three terms.
    pub fn linear(&mut self, terms: &[(Fr, Var)], constant: Fr) -> Var {
        let value = terms.iter().fold(constant, |acc, (c, v)| acc + *c * self.value(*v));
        let out = self.witness(value);
        self.linear_into(terms, constant, out);
        out
    }

    /// Constrains `out = Σ coefficient · var + constant`.
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
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        self.linear(&[(Fr::from(1u64), a), (Fr::from(1u64), b)], Fr::from(0u64))
    }

    /// `a − b`.
    pub fn sub(&mut self, a: Var, b: Var) -> Var {
        self.linear(&[(Fr::from(1u64), a), (-Fr::from(1u64), b)], Fr::from(0u64))
    }

    /// `k · a + c`.
    pub fn scale(&mut self, a: Var, k: Fr, c: Fr) -> Var {
        self.linear(&[(k, a)], c)
    }

    /// `a · b`.
    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        self.mul_add(a, b, Fr::from(1u64), None, Fr::from(0u64))
    }

    /// `k · a · b + d + constant`.
    pub fn mul_add(&mut self, a: Var, b: Var, k: Fr, d: Option<Var>, constant: Fr) -> Var {
        let addend = d.map(|d| self.value(d)).unwrap_or_default();
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
    pub fn bit(&mut self, value: bool) -> Var {
        let var = self.witness(Fr::from(u64::from(value)));
        self.assert_bool(var);
        var
    }

    /// `bit · a + (1 − bit) · b`. `bit` must already be constrained to 0 or 1.
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
    pub fn is_zero(&mut self, a: Var) -> Var {
        let value = self.value(a);
        let answer = Fr::from(u64::from(value == Fr::from(0u64)));
        self.is_zero_given(a, value.inverse().unwrap_or_default(), answer)
    }

    /// [`Self::is_zero`] with the inverse and the answer that the prover claims.
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

    /// Constrains `0 ≤ a < 2^bits`, for `bits` up to four limb cells. The check is laid out later,
    /// four at a time.
    pub fn range(&mut self, a: Var, bits: u32) {
        let slot = 4 * self.cell_bits;
        assert!(
            bits <= slot,
            "a range check covers at most {slot} bits (four cells of {}), got {bits}",
            self.cell_bits
        );
        if !gone("gadgets.range.pack") {
            self.pack_queue.push(a);
        }
        if bits < slot && !gone("gadgets.range.narrow") {
            // a < 2^slot and a · 2^(slot − bits) < 2^slot; neither product wraps modulo r.
            let scaled = self.scale(a, crate::gates::power_of_two(slot - bits), Fr::from(0u64));
            self.pack_queue.push(scaled);
        }
        while self.pack_queue.len() >= 4 {
            let rest = self.pack_queue.split_off(4);
            let four = std::mem::replace(&mut self.pack_queue, rest);
            self.pack_rows([four[0], four[1], four[2], four[3]]);
        }
    }

    /// Two rows that constrain four variables to four limb cells each.
    fn pack_rows(&mut self, vars: [Var; 4]) {
        let cells = vars.map(|v| self.cells_of(self.value(v)));
        let first = std::array::from_fn(|i| cells[i / 4][i % 4]);
        let second = std::array::from_fn(|i| cells[2 + i / 4][i % 4]);
        self.raw_row(vars, &FixedRow::pack(), first);
        self.filler_row(second);
    }

    /// The lowest four limb cells of a value.
    pub fn cells_of(&self, value: Fr) -> [u16; 4] {
        let bits = value.into_bigint().0;
        let mask = (1u64 << self.cell_bits) - 1;
        std::array::from_fn(|i| {
            let shift = self.cell_bits * i as u32;
            ((bits[0] >> shift) & mask) as u16
        })
    }

    /// Appends a row whose limb cells hold elements of full width, which its gate must be one to allow.
    /// Returns its number.
    pub fn full_row(&mut self, w: [Var; 4], fixed: &FixedRow, cells: [Fr; LIMBS]) -> usize {
        self.full_limbs.push(cells);
        let index = self.full_limbs.len() as u32 - 1;
        self.push(w, fixed, LimbRow::Full(index))
    }

    /// Places the pending rows, and those that every circuit must contain.
    pub(crate) fn end(&mut self) {
        while !self.pack_queue.is_empty() {
            let mut four = [Self::ZERO; 4];
            let take = self.pack_queue.len().min(4);
            for (slot, var) in four.iter_mut().zip(self.pack_queue.drain(..take)) {
                *slot = var;
            }
            self.pack_rows(four);
        }
        self.flush_next();
        for (w, id) in std::mem::take(&mut self.loose) {
            self.routed.push(w);
            self.limbs.push(LimbRow::Small([0; LIMBS]));
            self.fixed.push(id);
        }
        // A key must not commit to a zero column: see `Layout::fixed_columns`.
        if !self.palette.iter().any(|row| row.external) {
            self.permute([Self::ZERO; 4], [Self::ZERO; 4]);
        }
        if !self.palette.iter().any(|row| row.kind != 0) {
            self.pack_rows([Self::ZERO; 4]);
        }
    }
}
