//! Private functions of contracts: programs whose proofs the private kernel verifies.
//!
//! Such a function returns the words of one [`PrivateCall`] as `return_data`. Its proof states their digest, which is
//! that of the kernel, and nothing else. What the words say is checked by the kernel (`rollmill_protocol::private`), so
//! any function with this return type may belong to a contract.

use std::collections::BTreeMap;

use acir::FieldElement;
use acir::brillig::{ForeignCallParam, ForeignCallResult};
use acir::circuit::opcodes::{BlockType, Opcode};
use acir::native_types::{Witness, WitnessMap};
use ark_ff::PrimeField;
use rollmill_algebra::{Fr, poseidon2};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::private::{FUNCTION_CELL_BITS, FUNCTION_SIZES};
use rollmill_plonk::layout::{Layout, LayoutError, Witness as Rows};
use rollmill_protocol::domain;
use rollmill_protocol::private::PrivateCall;
use serde_json::{Map, Value};

use crate::artifact::{ArtifactError, Function};
use crate::lower::{LowerError, Options, Statement, lower};
use crate::solve::{OracleError, Oracles, SolveError, solve_while};
use crate::values::ValueError;

/// Base-2 logarithm of the largest number of rows.
const LOG_N_MAX: u32 = FUNCTION_SIZES[FUNCTION_SIZES.len() - 1].log_n;

/// How the circuit of a private function is laid out: as the kernel verifies it.
pub const OPTIONS: Options = Options {
    cell_bits: FUNCTION_CELL_BITS,
    rows_max: 1 << LOG_N_MAX,
    own_outputs: false,
    statement: Statement::ReturnData { domain: domain::CALL, cells: PrivateCall::<Fr>::CELLS },
};

/// The domain of [`args_hash`]: `args` in ASCII. The kernel compares such hashes and never opens one.
pub const ARGS_DOMAIN: u64 = 0x6172_6773;
/// The domain of [`returns_hash`]: `rets` in ASCII.
pub const RETURNS_DOMAIN: u64 = 0x7265_7473;

/// Words that every function is given before its arguments: contract, selector, sender, whether the call is static,
/// hash of the anchor's header, chain id, version, hash of the gas settings, and the counter before the call.
pub const GIVEN: usize = 9;

/// Why a program is no private function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// The artifact has no circuit.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The opcodes cannot be laid out.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The rows are no circuit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The function has more rows than the private kernel verifies.
    ///
    /// Do: Make the function smaller, or move a part of it to another function and call that one.
    #[error("{code}: the function needs 2^{log_n} rows, and the kernel verifies at most 2^{log_n_max}", code = self.code())]
    Size { log_n: u32, log_n_max: u32 },
    /// The witness lacks a word that the function returns.
    ///
    /// Do: Compute the witness with the same artifact.
    #[error("{code}: the witness lacks words of the call that the function returns", code = self.code())]
    Words,
    /// The arguments have another number of words than the function takes.
    ///
    /// Do: Pass the arguments that the function declares.
    #[error("{code}: {name} takes {expected} words as arguments, got {got}", code = self.code())]
    Arguments { name: String, expected: usize, got: usize },
    /// There is no witness.
    #[error(transparent)]
    Solve(#[from] SolveError),
}

rollmill_errors::coded! {
    PrivateError {
        Self::Artifact(error) => (error),
        Self::Lower(error) => (error),
        Self::Layout(error) => (error),
        Self::Size { .. } => "ACR-044" usage,
        Self::Words => "ACR-045",
        Self::Arguments { .. } => "ACR-046" usage,
        Self::Solve(error) => (error),
    }
}

/// What a private function asks of the wallet that executes it, in words.
pub trait WordOracles {
    /// The answer of the oracle `name`. Each input is the words of one parameter, of any number.
    ///
    /// # Errors
    /// [`OracleError`]
    fn answer(&mut self, name: &str, inputs: &[Vec<Fr>]) -> Result<Answer, OracleError>;
}

/// What an oracle returns, as its declaration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Word(Fr),
    /// An array, or an array of arrays, in the order of its words.
    Words(Vec<Fr>),
}

/// [`WordOracles`] as the solver asks them. What `println` writes is dropped.
struct InWords<'a>(&'a mut dyn WordOracles);

impl Oracles for InWords<'_> {
    fn call(
        &mut self,
        name: &str,
        inputs: &[ForeignCallParam<FieldElement>],
    ) -> Result<ForeignCallResult<FieldElement>, OracleError> {
        if name == "print" {
            return Ok(ForeignCallResult { values: Vec::new() });
        }
        let words = |input: &ForeignCallParam<FieldElement>| -> Vec<Fr> {
            input.fields().into_iter().map(|word| word.into_repr()).collect()
        };
        let words: Vec<Vec<Fr>> = inputs.iter().map(words).collect();
        Ok(match self.0.answer(name, &words)? {
            Answer::Nothing => ForeignCallResult { values: Vec::new() },
            Answer::Word(word) => FieldElement::from_repr(word).into(),
            Answer::Words(words) => {
                let words: Vec<FieldElement> =
                    words.into_iter().map(FieldElement::from_repr).collect();
                words.into()
            }
        })
    }
}

/// A function that was executed: all its values, and the call that it returned.
#[derive(Clone)]
pub struct Execution {
    witness: WitnessMap<FieldElement>,
    call: PrivateCall<Fr>,
}

/// Without the witness, which has secrets.
impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execution").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Execution {
    /// What the function says.
    pub fn call(&self) -> &PrivateCall<Fr> {
        &self.call
    }

    /// The rows of the function that was executed, see [`finish`].
    ///
    /// # Errors
    /// As [`finish`].
    pub fn finish(&self, function: &Function) -> Result<(Layout, Rows), PrivateError> {
        finish(function, &self.witness)
    }
}

/// Executes a function with the words that it is given and those of its arguments. `goes_on` is asked as
/// [`solve_while`] asks it.
///
/// # Errors
/// [`PrivateError::Arguments`], [`PrivateError::Solve`], and those of [`call`].
pub fn execute(
    function: &Function,
    given: &[Fr; GIVEN],
    args: &[Fr],
    oracles: &mut dyn WordOracles,
    goes_on: &dyn Fn() -> bool,
) -> Result<Execution, PrivateError> {
    let circuit = function.circuit()?;
    let parameters = circuit.private_parameters.len();
    let are_first =
        circuit.private_parameters.iter().zip(0u32..).all(|(witness, i)| witness.0 == i);
    if !are_first || parameters != GIVEN + args.len() {
        let (name, expected) = (function.name.clone(), parameters.saturating_sub(GIVEN));
        return Err(PrivateError::Arguments { name, expected, got: args.len() });
    }
    let words = given.iter().chain(args).map(|word| FieldElement::from_repr(*word));
    let inputs: BTreeMap<Witness, FieldElement> = (0u32..).map(Witness).zip(words).collect();
    let witness = solve_while(function, WitnessMap::from(inputs), &mut InWords(oracles), goes_on)?;
    let call = call(function, &witness)?;
    Ok(Execution { witness, call })
}

/// The words of a function's arguments out of named values, in the order of their declaration. The first parameter of
/// a function is what it is given, and no argument.
///
/// # Errors
/// [`ValueError`] for a value that is missing, unknown or of another type.
pub fn arguments(function: &Function, named: &Map<String, Value>) -> Result<Vec<Fr>, ValueError> {
    let parameters = function.abi.parameters.get(1..).unwrap_or_default();
    let is_known = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
    if let Some(path) = named.keys().find(|name| !is_known(name)) {
        let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
        return Err(ValueError::Unknown { path: path.clone(), known: known.join(", ") });
    }
    let mut words = Vec::new();
    for parameter in parameters {
        let value = named.get(&parameter.name).ok_or_else(|| ValueError::Missing {
            path: parameter.name.clone(),
            expected: "an argument of the function".to_owned(),
        })?;
        let encoded = parameter.of.encode(&parameter.name, value)?;
        words.extend(encoded.into_iter().map(|word| word.into_repr()));
    }
    Ok(words)
}

/// Hash of the arguments of a call: `hash(ARGS_DOMAIN, words)`.
pub fn args_hash(words: &[Fr]) -> Fr {
    poseidon2::hash(ARGS_DOMAIN, words)
}

/// Hash of the values that a call returns to its caller: `hash(RETURNS_DOMAIN, words)`.
pub fn returns_hash(words: &[Fr]) -> Fr {
    poseidon2::hash(RETURNS_DOMAIN, words)
}

/// The selector of a function by its name: the name's bytes as a number, the first one highest. `None` for more than 31
/// bytes, as two such names could have one selector.
pub fn selector(name: &str) -> Option<Fr> {
    let bytes = name.as_bytes();
    (bytes.len() < 32).then(|| Fr::from_be_bytes_mod_order(bytes))
}

/// The layout of a function, for its key. It needs no inputs.
///
/// # Errors
/// [`PrivateError`] for every program whose proofs the kernel does not verify.
pub fn layout(function: &Function) -> Result<Layout, PrivateError> {
    let layout = lower(function.circuit()?, None, &OPTIONS)?.builder.layout(None)?;
    require_size(&layout)?;
    Ok(layout)
}

/// The layout of a function, and the rows of one witness. The one public input is the digest of the call that
/// [`call`] returns.
///
/// # Errors
/// As [`layout`].
pub fn finish(
    function: &Function,
    witness: &WitnessMap<FieldElement>,
) -> Result<(Layout, Rows), PrivateError> {
    let lowered = lower(function.circuit()?, Some(witness), &OPTIONS)?;
    let (layout, rows) = lowered.builder.finish(None)?;
    require_size(&layout)?;
    Ok((layout, rows))
}

fn require_size(layout: &Layout) -> Result<(), PrivateError> {
    let (log_n, cell_bits) = (layout.shape.log_n, layout.shape.cell_bits);
    match FUNCTION_SIZES.contains(&Dimensions { log_n, cell_bits }) {
        true => Ok(()),
        false => Err(PrivateError::Size { log_n, log_n_max: LOG_N_MAX }),
    }
}

/// The call that a witness of a function returns.
///
/// # Errors
/// [`PrivateError::Artifact`], [`PrivateError::Lower`] for a program that returns something else, and
/// [`PrivateError::Words`].
pub fn call(
    function: &Function,
    witness: &WitnessMap<FieldElement>,
) -> Result<PrivateCall<Fr>, PrivateError> {
    let circuit = function.circuit()?;
    OPTIONS.statement.public_inputs(circuit)?;
    let returned = circuit.opcodes.iter().filter_map(|opcode| match opcode {
        Opcode::MemoryInit { init, block_type: BlockType::ReturnData, .. } => Some(init),
        _ => None,
    });
    let word = |number| witness.get(number).map(|value| value.into_repr());
    let words: Option<Vec<Fr>> = returned.flatten().map(word).collect();
    words.and_then(|words| PrivateCall::from_slice(&words)).ok_or(PrivateError::Words)
}
