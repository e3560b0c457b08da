//! Compiled Noir programs and contracts: JSON with ACIR in it, as `nargo` writes it.
//!
//! A file comes from outside. Whatever its bytes are, [`Artifact::parse`] returns an artifact or an error, and reads no
//! more than [`Limits`] allow: JSON, then base64, then gzip or deflate, each bounded before it is expanded.

mod abi;
mod debug;

use std::collections::BTreeMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use acir::FieldElement;
use acir::circuit::{Circuit, Program};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::{DeflateDecoder, GzDecoder};
use serde::Deserialize;

pub use self::abi::{AbiField, AbiType, ErrorType};
pub use self::debug::{DebugInfo, SourceLine};

/// What a file may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the JSON.
    pub file_bytes: u64,
    /// Bytes of one function's bytecode, decompressed.
    pub bytecode_bytes: u64,
    /// Bytes of one function's debug information, decompressed.
    pub debug_bytes: u64,
}

impl Default for Limits {
    /// 64 MiB each. The largest contract of Aztec's library has 9 MB of JSON.
    fn default() -> Self {
        const SIZE: u64 = 64 << 20;
        Self { file_bytes: SIZE, bytecode_bytes: SIZE, debug_bytes: SIZE }
    }
}

/// Why a file is no artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A part of the artifact is larger than the limit.
    ///
    /// Do: Check that the file is an artifact. If it is, raise the limit that the message names.
    #[error("{code}: {part} has more than {limit} bytes", code = self.code())]
    TooLarge { part: String, limit: u64 },
    /// The file is not the JSON of a compiled program or contract.
    ///
    /// Do: Compile the program again with `nargo compile`, and pass the file from its directory `target`.
    #[error("{code}: not the JSON of a compiled Noir program or contract: {reason}", code = self.code())]
    Json { reason: String },
    /// A part of the artifact is not base64.
    ///
    /// Do: Compile the program again; the file is damaged.
    #[error("{code}: {part} is not base64", code = self.code())]
    Base64 { part: String },
    /// A part of the artifact cannot be decompressed: it is damaged or cut off.
    ///
    /// Do: Compile the program again; the file is damaged.
    #[error("{code}: {part} is damaged or cut off: it cannot be decompressed", code = self.code())]
    Compressed { part: String },
    /// The bytecode is not ACIR in a format of Noir 1.0.
    ///
    /// Do: Compile the program again with Noir 1.0.0-beta.22 or later. Earlier releases write another format.
    #[error("{code}: {part} is not ACIR of Noir 1.0: {reason}", code = self.code())]
    Bytecode { part: String, reason: String },
    /// The debug information is not that of Noir 1.0.
    ///
    /// Do: Compile the program again with Noir 1.0.0-beta.22 or later.
    #[error("{code}: {part} is not debug information of Noir 1.0: {reason}", code = self.code())]
    Debug { part: String, reason: String },
    /// The artifact has no function of this name, or a contract has no private function.
    ///
    /// Do: Choose one of the private functions that the message lists.
    #[error("{code}: the artifact has no private function {name:?}; it has [{known}]", code = self.code())]
    NoFunction { name: String, known: String },
    /// The program consists of several circuits or of none. Functions with `#[fold]` become circuits of their own,
    /// which are not supported.
    ///
    /// Do: Remove `#[fold]` from the program and compile it again.
    #[error("{code}: the program has {count} circuits, not one; compile it without #[fold]", code = self.code())]
    Circuits { count: usize },
}

rollmill_errors::coded! {
    ArtifactError {
        Self::TooLarge { .. } => "ACR-001" usage,
        Self::Json { .. } => "ACR-002" usage,
        Self::Base64 { .. } => "ACR-003" usage,
        Self::Compressed { .. } => "ACR-004" usage,
        Self::Bytecode { .. } => "ACR-005" usage,
        Self::Debug { .. } => "ACR-006" usage,
        Self::NoFunction { .. } => "ACR-007" usage,
        Self::Circuits { .. } => "ACR-008" usage,
    }
}

/// A compiled program, or the private functions of a compiled contract.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Name of the contract; `None` for a program.
    pub contract: Option<String>,
    /// The functions with ACIR: the one of a program, or those of a contract that are marked private.
    pub functions: Vec<Function>,
}

/// A function that can be proven.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name; `main` for a program.
    pub name: String,
    /// One circuit, and the unconstrained functions that compute hints for it.
    pub program: Program<FieldElement>,
    /// Types of the payloads of failed assertions, by selector.
    pub errors: BTreeMap<u64, ErrorType>,
    /// Where each opcode comes from.
    pub debug: DebugInfo,
}

impl Function {
    /// The circuit.
    ///
    /// # Errors
    /// [`ArtifactError::Circuits`] where there is not exactly one.
    pub fn circuit(&self) -> Result<&Circuit<FieldElement>, ArtifactError> {
        match self.program.functions.as_slice() {
            [circuit] => Ok(circuit),
            circuits => Err(ArtifactError::Circuits { count: circuits.len() }),
        }
    }
}

/// A program or a contract, as JSON. Fields that are not read here may have any form.
#[derive(Deserialize)]
struct File {
    name: Option<String>,
    functions: Option<Vec<FileFunction>>,
    /// noir_wasm writes the artifact of a program inside this field.
    program: Option<Box<File>>,
    abi: Option<FileAbi>,
    bytecode: Option<String>,
    debug_symbols: Option<String>,
    #[serde(default)]
    file_map: BTreeMap<u32, debug::SourceFile>,
}

#[derive(Deserialize)]
struct FileFunction {
    name: String,
    #[serde(default)]
    custom_attributes: Vec<String>,
    abi: Option<FileAbi>,
    bytecode: String,
    debug_symbols: Option<String>,
}

#[derive(Deserialize)]
struct FileAbi {
    #[serde(default)]
    error_types: BTreeMap<u64, ErrorType>,
}

/// Marks a private function among the attributes of a contract's function.
const PRIVATE: &str = "abi_private";

impl Artifact {
    /// Reads the JSON of a program or a contract.
    ///
    /// # Errors
    /// [`ArtifactError`]
    pub fn parse(json: &[u8], limits: &Limits) -> Result<Self, ArtifactError> {
        if json.len() as u64 > limits.file_bytes {
            return Err(ArtifactError::TooLarge {
                part: "the file".to_owned(),
                limit: limits.file_bytes,
            });
        }
        let file: File = serde_json::from_slice(json)
            .map_err(|error| ArtifactError::Json { reason: error.to_string() })?;
        let file = match file.program {
            Some(program) => *program,
            None => file,
        };
        let functions = match (file.functions, file.bytecode) {
            (Some(functions), _) => {
                let is_private = |function: &FileFunction| {
                    function.custom_attributes.iter().any(|attribute| attribute == PRIVATE)
                };
                functions.into_iter().filter(is_private).collect()
            }
            (None, Some(bytecode)) => {
                let (name, abi) = ("main".to_owned(), file.abi);
                let custom_attributes = Vec::new();
                let debug_symbols = file.debug_symbols;
                vec![FileFunction { name, custom_attributes, abi, bytecode, debug_symbols }]
            }
            (None, None) => {
                let reason = "it has neither `bytecode` nor `functions`".to_owned();
                return Err(ArtifactError::Json { reason });
            }
        };
        let files = &file.file_map;
        let functions: Result<Vec<Function>, ArtifactError> =
            functions.into_iter().map(|function| function.decode(files, limits)).collect();
        Ok(Self { contract: file.name, functions: functions? })
    }

    /// The function of this name.
    ///
    /// # Errors
    /// [`ArtifactError::NoFunction`]
    pub fn function(&self, name: &str) -> Result<&Function, ArtifactError> {
        self.functions.iter().find(|function| function.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.functions.iter().map(|f| f.name.as_str()).collect();
            ArtifactError::NoFunction { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

impl FileFunction {
    fn decode(
        self,
        files: &BTreeMap<u32, debug::SourceFile>,
        limits: &Limits,
    ) -> Result<Function, ArtifactError> {
        let part = format!("the bytecode of {:?}", self.name);
        let program = bytecode(&part, &self.bytecode, limits.bytecode_bytes)?;
        let debug = match self.debug_symbols.as_deref() {
            None | Some("") => DebugInfo::default(),
            Some(text) => {
                let part = format!("the debug information of {:?}", self.name);
                let compressed = from_base64(&part, text)?;
                let json =
                    expand(&part, DeflateDecoder::new(compressed.as_slice()), limits.debug_bytes)?;
                DebugInfo::parse(&json, files)
                    .map_err(|error| ArtifactError::Debug { part, reason: error.to_string() })?
            }
        };
        let errors = self.abi.map(|abi| abi.error_types).unwrap_or_default();
        Ok(Function { name: self.name, program, errors, debug })
    }
}

fn from_base64(part: &str, text: &str) -> Result<Vec<u8>, ArtifactError> {
    STANDARD.decode(text).map_err(|_| ArtifactError::Base64 { part: part.to_owned() })
}

/// All bytes of a decoder, of which there may be at most `limit`.
fn expand(part: &str, decoder: impl Read, limit: u64) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = Vec::new();
    decoder
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|_| ArtifactError::Compressed { part: part.to_owned() })?;
    match bytes.len() as u64 > limit {
        true => Err(ArtifactError::TooLarge { part: part.to_owned(), limit }),
        false => Ok(bytes),
    }
}

fn bytecode(part: &str, text: &str, limit: u64) -> Result<Program<FieldElement>, ArtifactError> {
    let compressed = from_base64(part, text)?;
    // The crate `acir` decompresses without a bound, so the size is measured first.
    expand(part, GzDecoder::new(compressed.as_slice()), limit)?;
    let malformed = |reason: String| ArtifactError::Bytecode { part: part.to_owned(), reason };
    // Its readers return errors, but their dependencies are many and the bytes are anybody's.
    let read = || Program::<FieldElement>::deserialize_program(&compressed);
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(program)) => Ok(program),
        Ok(Err(error)) => Err(malformed(error.to_string())),
        Err(_) => Err(malformed("its reader panicked".to_owned())),
    }
}
