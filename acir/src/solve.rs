//! Witnesses: runs a program with Noir's own solver.
//!
//! The solver is trusted with nothing: whatever it computes must satisfy the rows. It runs unconstrained functions,
//! asks the caller's [`Oracles`] for what the program does not know, and stops at the first opcode that cannot hold.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use acir::FieldElement;
use acir::SerializationFormat;
use acir::brillig::{ForeignCallParam, ForeignCallResult};
use acir::circuit::OpcodeLocation;
use acir::native_types::{WitnessMap, WitnessStack};
use acvm::pwg::{
    ACVM, ACVMStatus, BrilligSolverStatus, OpcodeResolutionError, ResolvedAssertionPayload,
    StepResult,
};
use bn254_blackbox_solver::Bn254BlackBoxSolver;

use crate::artifact::{ArtifactError, Function, SourceLine};

/// Answers what a program asks of the world: `#[oracle(name)]` functions.
pub trait Oracles {
    /// The values that the oracle returns.
    ///
    /// # Errors
    /// [`OracleError`]
    fn call(
        &mut self,
        name: &str,
        inputs: &[ForeignCallParam<FieldElement>],
    ) -> Result<ForeignCallResult<FieldElement>, OracleError>;
}

/// For programs that ask nothing. It takes what `println` writes, and drops it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOracles;

impl Oracles for NoOracles {
    fn call(
        &mut self,
        name: &str,
        _inputs: &[ForeignCallParam<FieldElement>],
    ) -> Result<ForeignCallResult<FieldElement>, OracleError> {
        match name {
            "print" => Ok(ForeignCallResult { values: Vec::new() }),
            _ => Err(OracleError::Unknown { name: name.to_owned() }),
        }
    }
}

/// Why an oracle does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OracleError {
    /// There is no oracle of this name.
    ///
    /// Do: Run the program where the oracle is, or correct the name in the program.
    #[error("{code}: there is no oracle {name:?}", code = self.code())]
    Unknown { name: String },
    /// The oracle has no answer.
    ///
    /// Do: Do what the reason says.
    #[error("{code}: oracle {name:?}: {reason}", code = self.code())]
    Failed { name: String, reason: String },
}

rollmill_errors::coded! {
    OracleError {
        Self::Unknown { .. } => "ACR-020" usage,
        Self::Failed { .. } => "ACR-021",
    }
}

/// Why there is no witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError {
    /// The program rejects its inputs: an assertion fails, or an index is out of bounds. The message is the
    /// program's own where it has one, and names the line of the source.
    ///
    /// Do: Correct the inputs, or the program at that line.
    #[error("{code}: the program rejects its inputs: {}", .0, code = self.code())]
    Rejected(Box<Failure>),
    /// An opcode cannot be computed: an input is missing, or the artifact is malformed.
    ///
    /// Do: Pass a value for each parameter. If all are there, compile the program again.
    #[error("{code}: the program cannot be executed: {}", .0, code = self.code())]
    Unsolvable(Box<Failure>),
    /// The solver panicked, on an artifact that no compiler writes.
    ///
    /// Do: Compile the program again. If it panics again, report the program.
    #[error("{code}: the solver panicked: {}", .0, code = self.code())]
    Panicked(Box<Failure>),
    /// The unconstrained functions of the program take too many steps: they may not end at all.
    ///
    /// Do: Correct the loop at that line of the program.
    #[error("{code}: the program does not end: {}", .0, code = self.code())]
    Steps(Box<Failure>),
    /// Nobody wanted the witness any more while it was computed.
    ///
    /// Do: Nothing. Execute the program again if the witness is needed after all.
    #[error("{code}: stopped before the witness was computed, since nobody wants it any more", code = self.code())]
    Stopped,
    /// The witness cannot be written as a file of Noir's tools.
    ///
    /// Do: Report it with the program.
    #[error("{code}: the witness cannot be written as a file: {reason}; report it with the program", code = self.code())]
    Unwritten { reason: String },
    /// The artifact cannot be executed.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// An oracle does not answer.
    #[error(transparent)]
    Oracle(#[from] OracleError),
}

rollmill_errors::coded! {
    SolveError {
        Self::Rejected(_) => "ACR-022" usage,
        Self::Unsolvable(_) => "ACR-023",
        Self::Panicked(_) => "ACR-024",
        Self::Steps(_) => "ACR-025",
        Self::Stopped => "ACR-026",
        Self::Unwritten { .. } => "ACR-027",
        Self::Artifact(error) => (error),
        Self::Oracle(error) => (error),
    }
}

/// What failed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// Number of the opcode.
    pub opcode: usize,
    /// Lines of the source, the innermost first and its callers after it; empty without debug information.
    pub stack: Vec<SourceLine>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, opcode, stack } = self;
        match stack.split_first() {
            None => write!(f, "{reason} (opcode {opcode})"),
            Some((at, callers)) => {
                write!(f, "{reason} (at {at}")?;
                for caller in callers {
                    write!(f, ", called at {caller}")?;
                }
                write!(f, ")")
            }
        }
    }
}

/// Maximum steps of all unconstrained functions together in one call of [`solve`]: about ten seconds (estimate). A step
/// executes one opcode of Brillig; one that asks an oracle takes two. The opcodes of ACIR are not counted: each is
/// executed once, so they are as many as the artifact has.
const STEPS_MAX: u64 = 1 << 28;
/// Steps between two questions whether the witness is still wanted: a few milliseconds (estimate).
const STEPS_UNASKED: u64 = 1 << 16;

/// The values of all witnesses of a function's circuit, from those of its parameters.
///
/// # Errors
/// [`SolveError`]
pub fn solve(
    function: &Function,
    inputs: WitnessMap<FieldElement>,
    oracles: &mut dyn Oracles,
) -> Result<WitnessMap<FieldElement>, SolveError> {
    solve_while(function, inputs, oracles, &|| true)
}

/// As [`solve`], while the witness is needed: `goes_on` is asked before each opcode of ACIR, and again and again in a
/// long unconstrained function.
///
/// # Errors
/// As [`solve`], and [`SolveError::Stopped`] once `goes_on` returns false.
pub fn solve_while(
    function: &Function,
    inputs: WitnessMap<FieldElement>,
    oracles: &mut dyn Oracles,
    goes_on: &dyn Fn() -> bool,
) -> Result<WitnessMap<FieldElement>, SolveError> {
    solve_within(function, inputs, oracles, STEPS_MAX, goes_on)
}

/// A witness as a file that other tools of Noir read: a stack of one map of values, in compact MessagePack and gzip.
///
/// # Errors
/// [`SolveError::Unwritten`]
///
/// # Source
/// `WitnessStack` in <https://docs.rs/acir/1.0.0>.
pub fn witness_file(witness: WitnessMap<FieldElement>) -> Result<Vec<u8>, SolveError> {
    WitnessStack::from(witness)
        .serialize_with_format(SerializationFormat::MsgpackCompact)
        .map_err(|error| SolveError::Unwritten { reason: error.to_string() })
}

/// [`solve_while`] with a limit of steps.
fn solve_within(
    function: &Function,
    inputs: WitnessMap<FieldElement>,
    oracles: &mut dyn Oracles,
    steps_max: u64,
    goes_on: &dyn Fn() -> bool,
) -> Result<WitnessMap<FieldElement>, SolveError> {
    let circuit = function.circuit()?;
    let solver = Bn254BlackBoxSolver;
    let unconstrained = &function.program.unconstrained_functions;
    let mut machine =
        ACVM::new(&solver, &circuit.opcodes, inputs, unconstrained, &circuit.assert_messages);
    let failure = |reason: &str, opcode: usize| {
        let (reason, stack) = (reason.to_owned(), function.debug.opcode(opcode));
        Box::new(Failure { reason, opcode, stack })
    };
    let mut limits = Limits { steps: steps_max, goes_on };
    while *machine.get_status() == ACVMStatus::InProgress {
        let opcode = machine.instruction_pointer();
        // The solver asserts what Noir's compiler guarantees, and an artifact may come from elsewhere.
        let step = AssertUnwindSafe(|| step(&mut machine, &mut limits, oracles));
        match catch_unwind(step) {
            Ok(Ok(())) => {}
            Ok(Err(Stop::Oracle(error))) => return Err(error.into()),
            Ok(Err(Stop::Unwanted)) => return Err(SolveError::Stopped),
            Ok(Err(Stop::Steps)) => {
                let reason =
                    format!("its unconstrained functions take more than {steps_max} steps");
                return Err(SolveError::Steps(failure(&reason, opcode)));
            }
            Ok(Err(Stop::Failed(error))) => return Err(explain(function, opcode, *error)),
            Ok(Err(Stop::Call)) => {
                let reason = "it calls another circuit; compile it without #[fold]";
                return Err(SolveError::Unsolvable(failure(reason, opcode)));
            }
            Err(_) => {
                return Err(SolveError::Panicked(failure("the artifact is malformed", opcode)));
            }
        }
    }
    Ok(machine.finalize())
}

/// Why the solver stops before its end.
enum Stop {
    Oracle(OracleError),
    Unwanted,
    Steps,
    Failed(Box<OpcodeResolutionError<FieldElement>>),
    Call,
}

/// What ends a program that may not end itself.
struct Limits<'a> {
    /// Steps that are left to unconstrained functions.
    steps: u64,
    goes_on: &'a dyn Fn() -> bool,
}

impl Limits<'_> {
    /// Before each opcode of ACIR.
    fn require_wanted(&self) -> Result<(), Stop> {
        if (self.goes_on)() { Ok(()) } else { Err(Stop::Unwanted) }
    }

    /// Before each step of an unconstrained function.
    fn count(&mut self) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(1).ok_or(Stop::Steps)?;
        match self.steps.is_multiple_of(STEPS_UNASKED) {
            true => self.require_wanted(),
            false => Ok(()),
        }
    }
}

type Machine<'a> = ACVM<'a, FieldElement, Bn254BlackBoxSolver>;

/// Solves one opcode. An unconstrained function is executed step by step, so that its steps can be counted.
fn step(
    machine: &mut Machine<'_>,
    limits: &mut Limits<'_>,
    oracles: &mut dyn Oracles,
) -> Result<(), Stop> {
    limits.require_wanted()?;
    let status = match machine.step_into_brillig() {
        StepResult::Status(status) => status,
        StepResult::IntoBrillig(mut solver) => loop {
            limits.count()?;
            match solver.step().map_err(|error| Stop::Failed(Box::new(error)))? {
                BrilligSolverStatus::InProgress => {}
                BrilligSolverStatus::Finished => break machine.finish_brillig_with_solver(solver),
                BrilligSolverStatus::ForeignCallWait(call) => {
                    let answer =
                        oracles.call(&call.function, &call.inputs).map_err(Stop::Oracle)?;
                    solver.resolve_pending_foreign_call(answer);
                }
            }
        },
    };
    match status {
        ACVMStatus::Solved | ACVMStatus::InProgress => Ok(()),
        ACVMStatus::Failure(error) => Err(Stop::Failed(Box::new(error))),
        ACVMStatus::RequiresAcirCall(_) => Err(Stop::Call),
        // Foreign calls are answered above.
        ACVMStatus::RequiresForeignCall(_) => Err(Stop::Call),
    }
}

/// A failure of the solver in the program's words, with the lines of its source.
fn explain(
    function: &Function,
    opcode: usize,
    error: OpcodeResolutionError<FieldElement>,
) -> SolveError {
    let stack = function.debug.opcode(opcode);
    let words = |payload: Option<ResolvedAssertionPayload<FieldElement>>, default: &str| {
        let own = payload.and_then(|payload| message(function, payload));
        own.unwrap_or_else(|| default.to_owned())
    };
    let rejected = |reason: String, stack: Vec<SourceLine>| {
        SolveError::Rejected(Box::new(Failure { reason, opcode, stack }))
    };
    match error {
        OpcodeResolutionError::UnsatisfiedConstrain { payload, .. } => {
            rejected(words(payload, "a constraint is not satisfied"), stack)
        }
        OpcodeResolutionError::IndexOutOfBounds { array_size, payload, .. } => {
            let default = format!("an index is out of the bounds of an array of {array_size}");
            rejected(words(payload, &default), stack)
        }
        OpcodeResolutionError::InvalidInputBitSize { invalid_input_bit_size, .. } => {
            let bits = invalid_input_bit_size.max_bits;
            rejected(format!("a value has more than {bits} bits"), stack)
        }
        OpcodeResolutionError::BrilligFunctionFailed { function_id, call_stack, payload } => {
            let reason = words(payload, "an unconstrained function fails");
            let inner = call_stack.iter().rev().flat_map(|location| match location {
                OpcodeLocation::Brillig { brillig_index, .. } => {
                    function.debug.unconstrained(function_id.as_u32(), *brillig_index)
                }
                OpcodeLocation::Acir(_) => Vec::new(),
            });
            let stack = inner.chain(stack).collect();
            rejected(reason, stack)
        }
        other => {
            let reason = other.to_string();
            SolveError::Unsolvable(Box::new(Failure { reason, opcode, stack }))
        }
    }
}

fn message(function: &Function, payload: ResolvedAssertionPayload<FieldElement>) -> Option<String> {
    match payload {
        ResolvedAssertionPayload::String(text) => Some(text),
        ResolvedAssertionPayload::Raw(raw) => {
            let of = function.errors.get(&raw.selector.as_u64())?;
            Some(of.message(&raw.data))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use acir::AcirField;
    use acir::brillig::{BitSize, HeapVector, IntegerBitSize, MemoryAddress, Opcode as Brillig};
    use acir::circuit::brillig::{BrilligBytecode, BrilligFunctionId};
    use acir::circuit::{Circuit, Opcode, Program};
    use acir::native_types::Expression;

    use super::*;
    use crate::artifact::{Abi, DebugInfo};

    fn function(
        opcodes: Vec<Opcode<FieldElement>>,
        bytecode: Vec<Brillig<FieldElement>>,
    ) -> Function {
        let unconstrained = BrilligBytecode { function_name: "inner".to_owned(), bytecode };
        Function {
            name: "main".to_owned(),
            program: Program {
                functions: vec![Circuit { opcodes, ..Circuit::default() }],
                unconstrained_functions: vec![unconstrained],
            },
            abi: Abi::default(),
            errors: BTreeMap::new(),
            debug: DebugInfo::default(),
        }
    }

    /// A call of the unconstrained function.
    fn call() -> Opcode<FieldElement> {
        Opcode::BrilligCall {
            id: BrilligFunctionId::new(0),
            inputs: Vec::new(),
            outputs: Vec::new(),
            predicate: Expression { q_c: FieldElement::one(), ..Expression::default() },
        }
    }

    fn endless() -> Vec<Brillig<FieldElement>> {
        vec![Brillig::Jump { location: 0 }]
    }

    /// The code of two steps: it returns nothing.
    fn short() -> Vec<Brillig<FieldElement>> {
        let zero = MemoryAddress::direct(0);
        let bit_size = BitSize::Integer(IntegerBitSize::U32);
        vec![
            Brillig::Const { destination: zero, bit_size, value: FieldElement::zero() },
            Brillig::Stop { return_data: HeapVector { pointer: zero, size: zero } },
        ]
    }

    fn within(
        function: &Function,
        steps_max: u64,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<WitnessMap<FieldElement>, SolveError> {
        solve_within(function, WitnessMap::new(), &mut NoOracles, steps_max, goes_on)
    }

    /// True so many times.
    fn asked_at_most(times: u64, asked: &Cell<u64>) -> impl Fn() -> bool {
        move || {
            asked.set(asked.get() + 1);
            asked.get() <= times
        }
    }

    #[test]
    fn a_function_that_never_ends_is_stopped() {
        let found = within(&function(vec![call()], endless()), 1_000, &|| true).unwrap_err();
        assert_eq!(found.code(), "ACR-025", "{found}");
        assert!(found.to_string().contains("1000 steps"), "{found}");
    }

    /// Goal: what the limit counts. Method: two calls of two steps each, with an opcode of ACIR between them.
    #[test]
    fn the_steps_of_all_calls_count_and_the_opcodes_of_acir_do_not() {
        let holds = || Opcode::AssertZero(Expression::default());
        let twice = function(vec![call(), holds(), call()], short());
        within(&twice, 4, &|| true).unwrap();
        for (steps_max, opcode) in [(3, 2), (2, 2), (1, 0), (0, 0)] {
            match within(&twice, steps_max, &|| true) {
                Err(SolveError::Steps(failure)) => assert_eq!(failure.opcode, opcode),
                other => panic!("{steps_max} steps: {other:?}"),
            }
        }
        within(&function(vec![holds(); 10], Vec::new()), 0, &|| true).unwrap();
    }

    #[test]
    fn a_witness_that_nobody_wants_is_stopped_before_the_next_opcode() {
        let many = function(vec![Opcode::AssertZero(Expression::default()); 10], Vec::new());
        for times in 0..10 {
            let asked = Cell::new(0);
            let found = within(&many, STEPS_MAX, &asked_at_most(times, &asked)).unwrap_err();
            assert_eq!(found, SolveError::Stopped);
            assert_eq!((found.code(), asked.get()), ("ACR-026", times + 1));
        }
        let asked = Cell::new(0);
        within(&many, STEPS_MAX, &asked_at_most(10, &asked)).unwrap();
        assert_eq!(asked.get(), 10);
    }

    #[test]
    fn an_unconstrained_function_that_nobody_wants_is_stopped_within_it() {
        let asked = Cell::new(0);
        let goes_on = asked_at_most(3, &asked);
        // Once before the opcode, and then in its loop.
        let found = within(&function(vec![call()], endless()), STEPS_MAX, &goes_on).unwrap_err();
        assert_eq!((found, asked.get()), (SolveError::Stopped, 4));
    }
}
