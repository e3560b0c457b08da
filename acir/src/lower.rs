//! ACIR as rows: each opcode becomes the gadgets that constrain it.
//!
//! Public inputs are those of a [`Statement`].
//!
//! What the rows enforce is what [`crate::plain`] reads, opcode by opcode. Witnesses that no opcode constrains, such as
//! the outputs of unconstrained functions, stay free.

mod blackbox;

use std::collections::{BTreeMap, HashMap};

use acir::FieldElement;
use acir::circuit::Circuit;
use acir::circuit::opcodes::{BlockType, FunctionInput, MemOpKind, Opcode};
use acir::native_types::{Expression, Witness, WitnessMap};
use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};

use crate::gadgets::aes;
use crate::gadgets::memory::{Access, memory};
use crate::gadgets::polynomial::Polynomial;

/// Rows of a cell of an array, and of an access to it, at least.
const MEMORY_ROWS: usize = 3;
/// Rows of a cell in the digest of a databus block, at least: 13 for three cells.
const DIGEST_ROWS: usize = 4;

/// The kind of the rows of public inputs, with those of the digests among them.
const PUBLIC: &str = "public inputs";

/// The domain of the digests of databus blocks of [`Statement::Program`]: `acir` in ASCII.
pub const DATABUS_DOMAIN: u64 = 0x6163_6972;

/// What the proofs of a circuit state: their public inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Statement {
    /// The public parameters, then the return values, both by their witness numbers, and then
    /// `hash(DATABUS_DOMAIN, cells)` for each block of the databus, in the order of the opcodes.
    #[default]
    Program,
    /// One word: `hash(domain, cells)` of what the circuit returns as `return_data`. A circuit with another public
    /// word, or with another number of cells, is rejected.
    ReturnData {
        /// Domain tag of the hash.
        domain: u64,
        /// Number of field elements.
        cells: usize,
    },
}

impl Statement {
    /// Number of public inputs of a circuit.
    ///
    /// # Errors
    /// [`LowerError::Statement`] for a circuit that cannot state this.
    pub fn public_inputs(self, circuit: &Circuit<FieldElement>) -> Result<usize, LowerError> {
        let Self::ReturnData { cells, .. } = self else { return Ok(public_inputs(circuit)) };
        let rejected = |reason: String| Err(LowerError::Statement { cells, reason });
        let words = circuit.public_parameters.0.len() + circuit.return_values.0.len();
        if words > 0 {
            return rejected(format!("it has {words} public parameters or return values"));
        }
        let blocks: Vec<(&BlockType, usize)> = databus(circuit).collect();
        match blocks.as_slice() {
            [(BlockType::ReturnData, returned)] if *returned == cells => Ok(1),
            [(BlockType::ReturnData, returned)] => rejected(format!("it returns {returned}")),
            _ => {
                let count = blocks.len();
                rejected(format!("it has {count} blocks of the databus, not return data alone"))
            }
        }
    }

    /// The domain of the digests of databus blocks.
    const fn domain(self) -> u64 {
        match self {
            Self::Program => DATABUS_DOMAIN,
            Self::ReturnData { domain, .. } => domain,
        }
    }
}

/// The kinds of the databus blocks and their numbers of cells, in the order of the opcodes.
fn databus(circuit: &Circuit<FieldElement>) -> impl Iterator<Item = (&BlockType, usize)> {
    circuit.opcodes.iter().filter_map(|opcode| match opcode {
        Opcode::MemoryInit { init, block_type, .. } if block_type.is_databus() => {
            Some((block_type, init.len()))
        }
        _ => None,
    })
}

/// How a circuit is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bits of the limb cells, 1 to 16. A circuit has at least as many rows as the range table, `2^cell_bits`.
    pub cell_bits: u32,
    /// Most rows that a circuit may have.
    pub rows_max: usize,
    /// Gives each output of an opcode a variable of its own with the witness's value, and one row that makes it equal
    /// to what the opcode computes. Without it, an output *is* what the opcode computes, and a witness with another
    /// value there goes unnoticed, as the proof is about the right one. Tests that change witnesses set it.
    pub own_outputs: bool,
    /// What the proofs state.
    pub statement: Statement,
}

impl Default for Options {
    fn default() -> Self {
        let statement = Statement::Program;
        Self { cell_bits: 12, rows_max: 1 << 22, own_outputs: false, statement }
    }
}

/// Why a circuit cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// The program uses an opcode that is not supported.
    ///
    /// Do: Write the program without the function that the message names.
    #[error("{code}: opcode {opcode}: {name} is not supported", code = self.code())]
    Unsupported { opcode: usize, name: String },
    /// An opcode is malformed: no compiler writes such a program.
    ///
    /// Do: Compile the program again.
    #[error("{code}: opcode {opcode} is malformed: {reason}", code = self.code())]
    Malformed { opcode: usize, reason: &'static str },
    /// The circuit has too many rows.
    ///
    /// Do: Make the program smaller, or raise the limit.
    #[error("{code}: the circuit has more than {limit} rows, at opcode {opcode} of {opcodes}", code = self.code())]
    TooManyRows { opcode: usize, opcodes: usize, limit: usize },
    /// The circuit makes other words public than the ones that its proofs are to state: it is no private function of a
    /// contract.
    ///
    /// Do: Return the words of one private call as `return_data`, and remove `pub` and `call_data` from the parameters.
    #[error("{code}: the circuit does not state {cells} words of return data alone: {reason}", code = self.code())]
    Statement { cells: usize, reason: String },
}

rollmill_errors::coded! {
    LowerError {
        Self::Unsupported { .. } => "ACR-040" usage,
        Self::Malformed { .. } => "ACR-041" usage,
        Self::TooManyRows { .. } => "ACR-042" usage,
        Self::Statement { .. } => "ACR-043" usage,
    }
}

/// What the opcodes of one kind take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// How many there are.
    pub opcodes: usize,
    /// Their rows. Where a row waits for a place that a later opcode offers, it still counts here, so together the
    /// kinds may have more rows than the circuit.
    pub rows: usize,
}

/// A circuit in rows.
#[derive(Debug)]
pub struct Lowered {
    /// With all opcodes in it, to be finished.
    pub builder: Builder,
    /// Rows by kind of opcode.
    pub costs: BTreeMap<String, Cost>,
}

/// Number of public inputs of a circuit that states [`Statement::Program`].
pub fn public_inputs(circuit: &Circuit<FieldElement>) -> usize {
    let words = circuit.public_parameters.0.len() + circuit.return_values.0.len();
    words + databus(circuit).count()
}

/// Lays a circuit out, with a witness or without one. The rows are the same: without a witness all of its values are 0.
///
/// # Errors
/// [`LowerError`]
///
/// # Panics
/// If `cell_bits` is not 1 to 16.
pub fn lower(
    circuit: &Circuit<FieldElement>,
    witness: Option<&WitnessMap<FieldElement>>,
    options: &Options,
) -> Result<Lowered, LowerError> {
    let opcodes = circuit.opcodes.len();
    let within = |rows: usize, opcode: usize| match rows > options.rows_max {
        true => Err(LowerError::TooManyRows { opcode, opcodes, limit: options.rows_max }),
        false => Ok(()),
    };
    let n_public = options.statement.public_inputs(circuit)?;
    // Each has a row from the start.
    within(n_public, 0)?;
    let mut lowering = Lowering {
        b: Builder::new(n_public, options.cell_bits),
        variables: HashMap::new(),
        values: witness,
        own_outputs: options.own_outputs,
        blocks: BTreeMap::new(),
        databus: Vec::new(),
        later: 0,
        aes: None,
        costs: BTreeMap::new(),
    };
    // Beside the rows of the public inputs every circuit has one for zero.
    lowering.count(PUBLIC.to_owned(), 0, 1);
    // Parameters first: an output that is one of them must equal it.
    for parameter in circuit.private_parameters.iter().chain(&circuit.public_parameters.0) {
        lowering.variable(*parameter);
    }
    for (number, opcode) in circuit.opcodes.iter().enumerate() {
        let before = lowering.b.rows_with_waiting();
        // An opcode of any length must not take memory before it is rejected.
        within(before.saturating_add(blackbox::rows_at_least(opcode)), number)?;
        let kind = lowering.opcode(opcode).map_err(|problem| problem.at(number))?;
        lowering.count(kind, 1, before);
        within(lowering.b.rows_with_waiting().saturating_add(lowering.later), number)?;
    }
    lowering.memories();
    lowering.public(circuit, options.statement);
    within(lowering.b.rows_with_waiting(), opcodes)?;
    Ok(Lowered { builder: lowering.b, costs: lowering.costs })
}

/// What is wrong with an opcode.
#[derive(Debug)]
enum Problem {
    Unsupported(String),
    Malformed(&'static str),
}

impl Problem {
    fn at(self, opcode: usize) -> LowerError {
        match self {
            Self::Unsupported(name) => LowerError::Unsupported { opcode, name },
            Self::Malformed(reason) => LowerError::Malformed { opcode, reason },
        }
    }
}

/// An array of the program.
#[derive(Debug)]
struct Block {
    cells: Vec<Var>,
    accesses: Vec<Access>,
}

/// A circuit on its way.
#[derive(Debug)]
struct Lowering<'a> {
    b: Builder,
    variables: HashMap<Witness, Var>,
    values: Option<&'a WitnessMap<FieldElement>>,
    own_outputs: bool,
    blocks: BTreeMap<u32, Block>,
    /// Cells of the databus blocks, in the order of the opcodes.
    databus: Vec<Vec<Var>>,
    /// Less than the rows of memory blocks and digests, which come after the last opcode. A cell may be one byte of
    /// bytecode.
    later: usize,
    aes: Option<aes::Table>,
    costs: BTreeMap<String, Cost>,
}

impl Lowering<'_> {
    /// The variable of a witness.
    fn variable(&mut self, witness: Witness) -> Var {
        if let Some(variable) = self.variables.get(&witness) {
            return *variable;
        }
        let value = self.values.and_then(|values| values.get(&witness));
        let variable = self.b.witness(value.map(|value| value.into_repr()).unwrap_or_default());
        self.variables.insert(witness, variable);
        variable
    }

    /// Makes an output witness what an opcode computes. A witness that occurred before is constrained to equal it.
    fn output(&mut self, witness: Witness, computed: Var) {
        if self.own_outputs {
            self.variable(witness);
        }
        match self.variables.get(&witness) {
            Some(before) => {
                let before = *before;
                self.b.assert_equal(before, computed);
            }
            None => _ = self.variables.insert(witness, computed),
        }
    }

    fn input(&mut self, input: &FunctionInput<FieldElement>) -> Var {
        match input {
            FunctionInput::Constant(value) => self.b.constant(value.into_repr()),
            FunctionInput::Witness(witness) => self.variable(*witness),
        }
    }

    fn inputs<const N: usize>(&mut self, inputs: &[FunctionInput<FieldElement>; N]) -> [Var; N] {
        std::array::from_fn(|i| self.input(&inputs[i]))
    }

    /// Lays out an opcode and returns its kind.
    fn opcode(&mut self, opcode: &Opcode<FieldElement>) -> Result<String, Problem> {
        match opcode {
            Opcode::AssertZero(expression) => {
                self.polynomial(expression).assert_zero(&mut self.b);
                Ok("AssertZero".to_owned())
            }
            Opcode::BlackBoxFuncCall(call) => {
                self.black_box(call)?;
                Ok(call.name().to_owned())
            }
            Opcode::MemoryInit { block_id, init, block_type } => {
                let cells: Vec<Var> = init.iter().map(|witness| self.variable(*witness)).collect();
                if !matches!(block_type, BlockType::Memory) {
                    self.later = self.later.saturating_add(cells.len().saturating_mul(DIGEST_ROWS));
                    self.databus.push(cells.clone());
                }
                let block = Block { cells, accesses: Vec::new() };
                match self.blocks.insert(block_id.as_u32(), block) {
                    None => Ok("MemoryInit".to_owned()),
                    Some(_) => Err(Problem::Malformed("it initialises a memory block again")),
                }
            }
            Opcode::MemoryOp { block_id, op } => {
                let (address, value) = (self.variable(op.index), self.variable(op.value));
                let write = matches!(op.operation, MemOpKind::Write);
                let Some(block) = self.blocks.get_mut(&block_id.as_u32()) else {
                    return Err(Problem::Malformed("its memory block is not initialised"));
                };
                // An array that is never accessed has no rows.
                let cells = if block.accesses.is_empty() { block.cells.len() } else { 0 };
                self.later = self.later.saturating_add((cells + 1).saturating_mul(MEMORY_ROWS));
                block.accesses.push(Access { write, address, value });
                Ok("MemoryOp".to_owned())
            }
            // Its outputs are hints: other opcodes constrain them.
            Opcode::BrilligCall { .. } => Ok("BrilligCall".to_owned()),
            Opcode::Call { .. } => {
                Err(Problem::Unsupported("a call of another circuit".to_owned()))
            }
        }
    }

    fn polynomial(&mut self, expression: &Expression<FieldElement>) -> Polynomial {
        let mut polynomial = Polynomial::default().plus(expression.q_c.into_repr());
        for (factor, x, y) in &expression.mul_terms {
            let (x, y) = (self.variable(*x), self.variable(*y));
            polynomial = polynomial.product(factor.into_repr(), x, y);
        }
        for (factor, x) in &expression.linear_combinations {
            let x = self.variable(*x);
            polynomial = polynomial.term(factor.into_repr(), x);
        }
        polynomial
    }

    /// The rows of the memory blocks, which take all accesses together.
    fn memories(&mut self) {
        for block in std::mem::take(&mut self.blocks).into_values() {
            let before = self.b.rows_with_waiting();
            memory(&mut self.b, &block.cells, &block.accesses);
            let is_written = block.accesses.iter().any(|access| access.write);
            let kind = if is_written { "memory written" } else { "memory only read" };
            self.count(kind.to_owned(), block.accesses.len(), before);
        }
    }

    fn public(&mut self, circuit: &Circuit<FieldElement>, statement: Statement) {
        let before = self.b.rows_with_waiting();
        let witnesses = circuit.public_parameters.0.iter().chain(&circuit.return_values.0);
        let mut public: Vec<Var> = witnesses.map(|witness| self.variable(*witness)).collect();
        for cells in std::mem::take(&mut self.databus) {
            public.push(self.b.hash(statement.domain(), &cells));
        }
        for (index, variable) in public.into_iter().enumerate() {
            self.b.set_public(index, variable);
        }
        self.count(PUBLIC.to_owned(), 0, before);
    }

    fn count(&mut self, kind: String, opcodes: usize, before: usize) {
        let rows = self.b.rows_with_waiting().saturating_sub(before);
        let cost = self.costs.entry(kind).or_default();
        cost.opcodes += opcodes;
        cost.rows += rows;
    }

    /// The table of AES's S-box.
    fn aes_table(&mut self) -> aes::Table {
        match self.aes {
            Some(table) => table,
            None => *self.aes.insert(aes::Table::new(&mut self.b)),
        }
    }
}

/// The value of a constant input.
fn constant(input: &FunctionInput<FieldElement>) -> Option<Fr> {
    match input {
        FunctionInput::Constant(value) => Some(value.into_repr()),
        FunctionInput::Witness(_) => None,
    }
}
