//! One circuit with every gate, and false statements about it, each with the switch of the check that
//! rejects it.

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::gates::{CONSTRAINTS, Cells, Challenges, Constants, Gate, Sink, constraints};
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, prove_with};
use rollmill_plonk::shape::{LIMBS, ROUTED, fixed};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::{VerifyError, verify};
use rollmill_plonk::weaken::of_constraint;

use crate::cheats::{Cheat, Cheater, Lie, ROM_PLACES};

pub const KINDS: [TranscriptKind; 2] = [TranscriptKind::Poseidon2, TranscriptKind::Keccak];
pub const CELL_BITS: u32 = 4;

/// A false statement and the prover who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The equation of a gate that does not hold.
    pub bent: Option<(Gate, usize)>,
    pub lie: Option<Lie>,
    pub cheat: Cheat,
    /// The switch of the check that rejects it.
    pub held_by: String,
}

/// The wide gates, each on random rows that satisfy it but for the bent equation.
fn wide_rows(b: &mut Builder, bent: Option<(Gate, usize)>) {
    // Rows of small limb cells, which both packs and carries are made of.
    let small = [[1u16, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 0]];
    let wide = [
        (Gate::Vector, FixedRow::vector([1, 2, 3, 1])),
        (Gate::Product, FixedRow::product()),
        (Gate::Square, FixedRow::square()),
        (Gate::Carry, FixedRow::carry(1, -1)),
    ];
    for (seed, (gate, row)) in wide.into_iter().enumerate() {
        let seed = 10 * (seed as u64 + 1);
        let w = [numbers(seed), numbers(seed + 1), numbers(seed + 2)];
        let mut cells: GateCells =
            (w, small.map(|cells| cells.map(|cell| Fr::from(u64::from(cell)))));
        solve(gate, &row, &mut cells, bent);
        let rows =
            [(row, small[0]), (FixedRow::blank(), small[1]), (FixedRow::blank(), [0; LIMBS])];
        for (values, (row, limbs)) in cells.0.into_iter().zip(rows) {
            let vars = values.map(|v| b.witness(v));
            b.raw_row(vars, &row, limbs);
        }
    }
}

/// The gates of Poseidon2, each on random rows that satisfy it but for the bent equation.
fn poseidon_rows(b: &mut Builder, bent: Option<(Gate, usize)>) {
    let rc = [11u64, 22, 33, 44, 55, 66, 77, 88].map(Fr::from);
    let hashes = [
        (Gate::PoseidonEntry, FixedRow::poseidon_entry()),
        (Gate::PoseidonExternal, FixedRow::external(rc)),
        (Gate::PoseidonInternal, FixedRow::internal(rc)),
    ];
    for (seed, (gate, row)) in hashes.into_iter().enumerate() {
        let seed = 100 * (seed as u64 + 1);
        let w = [numbers(seed), numbers(seed + 1), numbers(seed + 2)];
        let mut cells: GateCells = (w, [[Fr::from(0u64); LIMBS]; 2]);
        solve(gate, &row, &mut cells, bent);
        let vars = cells.0.map(|values| values.map(|v| b.witness(v)));
        match row.external || row.internal {
            true => b.full_row(vars[0], &row, cells.1[0]),
            false => b.raw_row(vars[0], &row, [0; LIMBS]),
        };
        for vars in &vars[1..] {
            b.raw_row(*vars, &FixedRow::blank(), [0; LIMBS]);
        }
    }
}

impl Statement {
    fn bent(gate: Gate, equation: usize) -> Self {
        let held_by = of_constraint(gate, equation);
        Self { bent: Some((gate, equation)), lie: None, cheat: Cheat::None, held_by }
    }

    fn lie(lie: Lie, cheat: Cheat, held_by: impl Into<String>) -> Self {
        Self { bent: None, lie: Some(lie), cheat, held_by: held_by.into() }
    }
}

/// A statement that violates this equation of this gate and no other. A new gate does not compile until
/// it has a case.
pub fn violation(gate: Gate, equation: usize) -> Statement {
    let name = of_constraint(gate, equation);
    match gate {
        Gate::Arithmetic
        | Gate::Vector
        | Gate::Product
        | Gate::Square
        | Gate::Carry
        | Gate::PoseidonEntry
        | Gate::PoseidonExternal
        | Gate::PoseidonInternal => Statement::bent(gate, equation),
        Gate::RangeHelper => Statement::lie(Lie::Limb(0), Cheat::PushHelper(equation), name),
        Gate::Bus => Statement::lie(Lie::Rom(2), Cheat::ZeroSum, name),
        Gate::BusStart => Statement::lie(Lie::Multiplicity, Cheat::ShiftSum, name),
        Gate::BusEnd => Statement::lie(Lie::Limb(7), Cheat::None, name),
        Gate::Permutation => Statement::lie(Lie::Tie(0), Cheat::OneProduct, name),
        Gate::PermutationStart => Statement::lie(Lie::Tie(1), Cheat::ScaleProduct, name),
        Gate::PermutationEnd => Statement::lie(Lie::Tie(2), Cheat::None, name),
    }
}

/// One violation of each constraint.
pub fn violations() -> Vec<Statement> {
    let all: Vec<_> = Gate::ALL
        .into_iter()
        .flat_map(|gate| (0..gate.equations()).map(move |i| violation(gate, i)))
        .collect();
    assert_eq!(all.len(), CONSTRAINTS);
    all
}

/// Every cheat with every lie that it can hide, and every lie of an honest prover.
pub fn cheats() -> Vec<Statement> {
    let mut out = Vec::new();
    for lie in [Lie::Limb(3), Lie::Rom(0), Lie::Multiplicity, Lie::Untagged] {
        for cheat in Cheat::OF_THE_BUS {
            let (gate, equation) = match cheat {
                Cheat::ShiftSum => (Gate::BusStart, 0),
                Cheat::ZeroSum => (Gate::Bus, 0),
                Cheat::PushHelper(i) => (Gate::RangeHelper, i),
                Cheat::None | Cheat::ScaleProduct | Cheat::OneProduct => {
                    unreachable!("not of the bus")
                }
            };
            out.push(Statement::lie(lie, cheat, of_constraint(gate, equation)));
        }
        out.push(Statement::lie(lie, Cheat::None, of_constraint(Gate::BusEnd, 0)));
    }
    for column in 0..ROUTED {
        for cheat in Cheat::OF_THE_PERMUTATION {
            let gate = match cheat {
                Cheat::ScaleProduct => Gate::PermutationStart,
                _ => Gate::Permutation,
            };
            out.push(Statement::lie(Lie::Tie(column), cheat, of_constraint(gate, 0)));
        }
        let end = of_constraint(Gate::PermutationEnd, 0);
        out.push(Statement::lie(Lie::Tie(column), Cheat::None, end));
    }
    out
}

/// Statements that only one part of a fingerprint or of a fraction rejects.
pub fn parts() -> Vec<Statement> {
    let limbs = (0..LIMBS).map(|k| (Lie::Limb(k), format!("gates.part.limb{k}")));
    let places = (0..ROM_PLACES).map(|place| {
        let name = match place {
            0 => "table".to_owned(),
            1 => "address".to_owned(),
            _ => format!("value{}", place - 2),
        };
        (Lie::Rom(place), format!("gates.part.fingerprint.{name}"))
    });
    limbs
        .chain(places)
        .chain([
            (Lie::Untagged, "gates.part.fingerprint.tag".to_owned()),
            (Lie::Rom(5), "gates.part.bus.rom".to_owned()),
        ])
        .map(|(lie, name)| Statement::lie(lie, Cheat::None, name))
        .collect()
}

/// Every false statement, first those that only the switched-off check rejects.
pub fn all() -> Vec<Statement> {
    let mut all = violations();
    all.extend(cheats());
    all.extend(parts());
    let off = std::env::var(rollmill_plonk::weaken::VARIABLE).unwrap_or_default();
    all.sort_by_key(|statement| statement.held_by != off);
    all
}

/// A circuit with its witness.
pub struct Made {
    pub layout: Layout,
    pub witness: Witness,
    /// Row of a ROM read whose cells nothing else ties.
    pub read: usize,
}

/// The terms of one gate at one row, without their selector.
struct Terms {
    gate: Gate,
    found: Vec<Fr>,
}

impl Sink<Fr> for Terms {
    fn group(&mut self, gate: Gate, _selector: &Fr, terms: &[Fr]) {
        if gate == self.gate {
            self.found = terms.to_vec();
        }
    }
    fn single(&mut self, gate: Gate, term: Fr) {
        self.group(gate, &term, &[term]);
    }
}

/// Cells of a gate: routed ones at three rotations, limb ones at two.
type GateCells = ([[Fr; ROUTED]; 3], [[Fr; LIMBS]; 2]);

fn terms(gate: Gate, row: &FixedRow, (w, l): &GateCells) -> Vec<Fr> {
    let zero = Fr::from(0u64);
    let mut columns = [zero; fixed::COUNT];
    columns[..fixed::SIGMA].copy_from_slice(&row.cells());
    let cells = Cells {
        w: *w,
        l: *l,
        fixed: columns,
        m: zero,
        h: [zero; 2],
        z: [zero; 2],
        s: [zero; 2],
        x: zero,
        active: zero,
        first: zero,
        last: zero,
        public: zero,
    };
    let challenges = Challenges { eta: zero, beta: zero, gamma: zero };
    let mut sink = Terms { gate, found: Vec::new() };
    constraints(&Constants::new(challenges, CELL_BITS), &cells, &mut sink);
    sink.found
}

/// The cell that equation `i` of a gate is solved for, in which it is linear with this sign.
fn unknown(gate: Gate, i: usize, (w, l): &mut GateCells) -> (&mut Fr, bool) {
    match gate {
        Gate::Arithmetic => (&mut w[0][2], false),
        Gate::Vector | Gate::Carry => (&mut w[0][i], true),
        Gate::Product | Gate::Square => (&mut w[2][i], false),
        Gate::PoseidonEntry => (&mut w[2][i], true),
        Gate::PoseidonExternal | Gate::PoseidonInternal if i < LIMBS => (&mut l[0][i], true),
        Gate::PoseidonExternal | Gate::PoseidonInternal => (&mut w[1][i - LIMBS], true),
        Gate::RangeHelper
        | Gate::Bus
        | Gate::BusStart
        | Gate::BusEnd
        | Gate::Permutation
        | Gate::PermutationStart
        | Gate::PermutationEnd => unreachable!("the arguments' columns are the prover's"),
    }
}

/// Solves a gate's equations one after the other, the bent one for one more than it takes.
fn solve(gate: Gate, row: &FixedRow, cells: &mut GateCells, bent: Option<(Gate, usize)>) {
    for i in 0..gate.equations() {
        let (slot, _) = unknown(gate, i, cells);
        *slot = Fr::from(0u64);
        let term = terms(gate, row, cells)[i];
        let (slot, positive) = unknown(gate, i, cells);
        *slot = if positive { -term } else { term };
        if bent == Some((gate, i)) {
            *slot += Fr::from(1u64);
        }
    }
}

fn numbers(seed: u64) -> [Fr; 4] {
    std::array::from_fn(|i| Fr::from(seed * 0x9e37_79b9 + i as u64) * Fr::from(seed + 3))
}

/// Lays out every gate once, on values of its own.
pub fn circuit(bent: Option<(Gate, usize)>) -> Made {
    let mut b = Builder::new(2, CELL_BITS);
    let (x, y) = (b.witness(Fr::from(3u64)), b.witness(Fr::from(5u64)));
    b.set_public(0, x);
    b.set_public(1, y);

    let mut row = FixedRow { arith: true, ..FixedRow::blank() };
    (row.c[2], row.c[4], row.c[7]) = (-Fr::from(1u64), Fr::from(1u64), Fr::from(7u64));
    let zero = [[Fr::from(0u64); ROUTED]; 3];
    let mut cells: GateCells = (zero, [[Fr::from(0u64); LIMBS]; 2]);
    (cells.0[0][0], cells.0[0][1]) = (Fr::from(3u64), Fr::from(5u64));
    solve(Gate::Arithmetic, &row, &mut cells, bent);
    let out = b.witness(cells.0[0][2]);
    b.raw_row([x, y, out, Builder::ZERO], &row, [0; LIMBS]);

    wide_rows(&mut b, bent);
    poseidon_rows(&mut b, bent);

    let (table, address) = (b.constant_u64(1), b.constant_u64(4));
    let values = [numbers(7), numbers(8)];
    let [first, second] = values.map(|values| values.map(|v| b.witness(v)));
    b.rom_write(table, address, first, second);
    // Copies that nothing ties to what they are copies of.
    let copy = [table, address].map(|v| b.value(v)).map(|v| b.witness(v));
    let [first, second] = values.map(|values| values.map(|v| b.witness(v)));
    let read = FixedRow::read([Fr::from(0u64); 8]);
    let row = b.raw_row([copy[1], Builder::ZERO, Builder::ZERO, copy[0]], &read, [0; LIMBS]);
    b.raw_row(first, &FixedRow::blank(), [0; LIMBS]);
    b.raw_row(second, &FixedRow::blank(), [0; LIMBS]);
    b.note_read(row, copy[0], copy[1]);

    let (layout, witness) = b.finish(None).expect("the circuit fits");
    Made { layout, witness, read: row }
}

impl Statement {
    /// The witness of the statement.
    pub fn witness(&self) -> Made {
        let mut made = circuit(self.bent);
        if let Some(lie) = self.lie {
            lie.tell(&made.layout, &mut made.witness, Some(made.read));
        }
        made
    }
}

/// What proving and verifying take.
pub struct Setting {
    pub device: CpuDevice,
    pub srs: Srs,
    pub bases: Bases<CpuDevice>,
    pub key: ProvingKey<CpuDevice>,
}

impl Setting {
    pub fn new(layout: &Layout) -> Self {
        let device = CpuDevice::new(1);
        let srs = Srs::development(layout.shape.log_n);
        let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
        let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
        let columns = layout.fixed_columns();
        let vk = setup(&device, &bases, srs.id(), layout.shape, &columns).expect("a key");
        let key = ProvingKey::new(&device, vk, &columns).expect("a key");
        Self { device, srs, bases, key }
    }

    pub fn prove(&self, kind: TranscriptKind, witness: &Witness, cheat: Cheat) -> Proof {
        let mut cheater = Cheater { cheat, end: self.key.vk.shape.usable_rows() };
        let blinding = Blinding::On { seed: [1; 32] };
        prove_with(&self.device, &self.key, &self.bases, kind, witness, blinding, &mut cheater)
            .expect("bytes, whatever the witness")
    }

    pub fn decide(
        &self,
        kind: TranscriptKind,
        public: &[Fr],
        proof: &Proof,
    ) -> Result<(), VerifyError> {
        verify(kind, &self.key.vk, &self.srs.tau_g2, public, proof, None)
    }

    /// The verdict on a statement.
    pub fn verdict(&self, kind: TranscriptKind, statement: &Statement) -> Result<(), VerifyError> {
        let witness = statement.witness().witness;
        let proof = self.prove(kind, &witness, statement.cheat);
        self.decide(kind, &witness.public, &proof)
    }
}
