//! Private functions of contracts: programs whose proofs the private kernel verifies.
//!
//! Such a function returns the words of one [`PrivateCall`] as `return_data`. Its proof states their digest, which is
//! that of the kernel, and nothing else. What the words say is checked by the kernel (`rollmill_protocol::private`), so
//! any function with this return type may belong to a contract.

use acir::FieldElement;
use acir::circuit::opcodes::{BlockType, Opcode};
use acir::native_types::WitnessMap;
use ark_ff::PrimeField;
use rollmill_algebra::{Fr, poseidon2};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::private::{FUNCTION_CELL_BITS, FUNCTION_SIZES};
use rollmill_plonk::layout::{Layout, LayoutError, Witness as Rows};
use rollmill_protocol::domain;
use rollmill_protocol::private::PrivateCall;

use crate::artifact::{ArtifactError, Function};
use crate::lower::{LowerError, Options, Statement, lower};

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
}

rollmill_errors::coded! {
    PrivateError {
        Self::Artifact(error) => (error),
        Self::Lower(error) => (error),
        Self::Layout(error) => (error),
        Self::Size { .. } => "ACR-044" usage,
        Self::Words => "ACR-045",
    }
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
