//! Witnesses: runs a program with Noir's own solver.
//!
//! The solver is trusted with nothing: whatever it computes must satisfy the rows. It runs unconstrained functions,
//! asks the caller's [`Oracles`] for what the program does not know, and stops at the first opcode that cannot hold.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use acir::FieldElement;
use acir::brillig::{ForeignCallParam, ForeignCallResult};
use acir::circuit::OpcodeLocation;
use acir::native_types::WitnessMap;
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

/// Most steps of all unconstrained functions of one call together: about ten seconds (estimate).
const STEPS_MAX: u64 = 1 << 28;

/// The values of all witnesses of a function's circuit, from those of its parameters.
///
/// # Errors
/// [`SolveError`]
pub fn solve(
    function: &Function,
    inputs: WitnessMap<FieldElement>,
    oracles: &mut dyn Oracles,
) -> Result<WitnessMap<FieldElement>, SolveError> {
    solve_within(function, inputs, oracles, STEPS_MAX)
}

/// [`solve`] with a limit of steps.
pub(crate) fn solve_within(
    function: &Function,
    inputs: WitnessMap<FieldElement>,
    oracles: &mut dyn Oracles,
    steps_max: u64,
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
    let mut steps = steps_max;
    while *machine.get_status() == ACVMStatus::InProgress {
        let opcode = machine.instruction_pointer();
        // The solver asserts what Noir's compiler guarantees, and an artifact may come from elsewhere.
        let step = AssertUnwindSafe(|| step(&mut machine, &mut steps, oracles));
        match catch_unwind(step) {
            Ok(Ok(())) => {}
            Ok(Err(Stop::Oracle(error))) => return Err(error.into()),
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
    Steps,
    Failed(Box<OpcodeResolutionError<FieldElement>>),
    Call,
}

type Machine<'a> = ACVM<'a, FieldElement, Bn254BlackBoxSolver>;

/// Solves one opcode. An unconstrained function is executed step by step, so that its steps can be counted.
fn step(machine: &mut Machine<'_>, steps: &mut u64, oracles: &mut dyn Oracles) -> Result<(), Stop> {
    let status = match machine.step_into_brillig() {
        StepResult::Status(status) => status,
        StepResult::IntoBrillig(mut solver) => loop {
            *steps = steps.checked_sub(1).ok_or(Stop::Steps)?;
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
    use std::collections::BTreeMap;

    use acir::AcirField;
    use acir::brillig::Opcode as Brillig;
    use acir::circuit::brillig::{BrilligBytecode, BrilligFunctionId};
    use acir::circuit::{Circuit, Opcode, Program};
    use acir::native_types::Expression;

    use super::*;
    use crate::artifact::DebugInfo;

    #[test]
    fn a_function_that_never_ends_is_stopped() {
        let call = Opcode::BrilligCall {
            id: BrilligFunctionId::new(0),
            inputs: Vec::new(),
            outputs: Vec::new(),
            predicate: Expression { q_c: FieldElement::one(), ..Expression::default() },
        };
        let bytecode = vec![Brillig::Jump { location: 0 }];
        let endless = BrilligBytecode { function_name: "endless".to_owned(), bytecode };
        let function = Function {
            name: "main".to_owned(),
            program: Program {
                functions: vec![Circuit { opcodes: vec![call], ..Circuit::default() }],
                unconstrained_functions: vec![endless],
            },
            errors: BTreeMap::new(),
            debug: DebugInfo::default(),
        };
        let found = solve_within(&function, WitnessMap::new(), &mut NoOracles, 1_000).unwrap_err();
        assert_eq!(found.code(), "ACR-025", "{found}");
        assert!(found.to_string().contains("1000 steps"), "{found}");
    }
}
