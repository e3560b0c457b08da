//! Inputs and return values: from names and numbers to witnesses and back, by the types of the program's ABI.
//!
//! The form is that of JSON, in which `Prover.toml` can be written as well: an object for a struct, an array for an
//! array or a tuple, a text for a text. Numbers are numbers or texts, the latter decimal or hexadecimal with `0x` in
//! front, since numbers of JSON and TOML end at 64 bits.
//!
//! A value of true or false is also read from 0 and 1, as a number or a text, since Noir's tools read them.
//!
//! Values are flattened in the order of their declaration. No message contains a value, because it may be a secret.

use std::collections::BTreeMap;

use acir::native_types::{Witness, WitnessMap};
use acir::{AcirField, FieldElement};
use num_bigint::BigUint;
use serde_json::{Map, Value};

use crate::artifact::{AbiField, AbiType, ArtifactError, Function, Visibility};

/// Name of the return value in messages and among the inputs, where Noir's own tools write it.
pub const RETURN: &str = "return";

/// Most characters of a number. The longest one, a field element in decimals, has 77.
const DIGITS_MAX: usize = 128;
/// Most values, arrays, structs and tuples that a return value may consist of: types come from outside, and an array
/// of empty tuples takes no witness.
const NODES_MAX: usize = 1 << 22;
/// Numbers up to this size are numbers of JSON when they are decoded, and texts above it: JavaScript reads no larger
/// ones exactly.
const EXACT_MAX: u128 = (1 << 53) - 1;

/// Why values do not fit the types of a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// An input is missing.
    ///
    /// Do: Add a value of this name to the inputs.
    #[error("{code}: the inputs lack `{path}`, {expected}", code = self.code())]
    Missing { path: String, expected: String },
    /// An input has a name that the program does not have.
    ///
    /// Do: Correct the name, or remove the value.
    #[error("{code}: the program has no input `{path}`; at this place it has [{known}]", code = self.code())]
    Unknown { path: String, known: String },
    /// An input is of another kind than the program's.
    ///
    /// Do: Write the value as the message says.
    #[error("{code}: input `{path}` must be {expected}, got {got}", code = self.code())]
    Kind { path: String, expected: String, got: &'static str },
    /// An array, a tuple or a text has another length than the program's.
    ///
    /// Do: Correct the length. The length of a text is in bytes of UTF-8.
    #[error("{code}: input `{path}` must have length {expected}, got {got}", code = self.code())]
    Length { path: String, expected: u64, got: u64 },
    /// A number is too large or too small for its type.
    ///
    /// Do: Correct the number, or widen the type in the program.
    #[error("{code}: input `{path}` is out of range: it must be {expected}", code = self.code())]
    Range { path: String, expected: String },
    /// The types of the artifact do not fit its circuit: no compiler writes such a program.
    ///
    /// Do: Compile the program again.
    #[error("{code}: the types of the program do not fit its circuit: {reason}", code = self.code())]
    Abi { reason: String },
    /// What the program returns is not of its return type.
    ///
    /// Do: Compile the program again. A text that the program makes of bytes must be UTF-8.
    #[error("{code}: the value of `{path}` that the program computes is not {expected}", code = self.code())]
    Decode { path: String, expected: String },
    /// The inputs state another return value than the program computes.
    ///
    /// Do: Correct `return` in the inputs or remove it, or correct the program.
    #[error("{code}: the program returns another value than the one that the inputs state as `return`", code = self.code())]
    Returned,
    /// The artifact has not exactly one circuit.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

rollmill_errors::coded! {
    ValueError {
        Self::Missing { .. } => "ACR-060" usage,
        Self::Unknown { .. } => "ACR-061" usage,
        Self::Kind { .. } => "ACR-062" usage,
        Self::Length { .. } => "ACR-063" usage,
        Self::Range { .. } => "ACR-064" usage,
        Self::Abi { .. } => "ACR-065" usage,
        Self::Decode { .. } => "ACR-066",
        Self::Returned => "ACR-067" usage,
        Self::Artifact(error) => (error),
    }
}

/// The witnesses of a function's parameters. A value named [`RETURN`] is left to [`check_return`], unless a parameter
/// has that name.
///
/// # Errors
/// [`ValueError`]
pub fn encode(
    function: &Function,
    inputs: &Map<String, Value>,
) -> Result<WitnessMap<FieldElement>, ValueError> {
    let circuit = function.circuit()?;
    let parameters = &function.abi.parameters;
    if let Some(name) = inputs.keys().find(|name| {
        name.as_str() != RETURN && !parameters.iter().any(|parameter| parameter.name == **name)
    }) {
        let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
        return Err(ValueError::Unknown { path: name.clone(), known: known.join(", ") });
    }
    let mut values = Vec::new();
    for parameter in parameters {
        let name = &parameter.name;
        let value = inputs.get(name).ok_or_else(|| ValueError::Missing {
            path: name.clone(),
            expected: parameter.of.describe(),
        })?;
        Encoder { path: name.clone(), out: &mut values }.value(&parameter.of, value)?;
    }
    let of_circuit = || circuit.private_parameters.iter().chain(&circuit.public_parameters.0);
    let count = of_circuit().count();
    if count != values.len() || of_circuit().any(|witness| witness.0 as usize >= values.len()) {
        let reason =
            format!("its parameters are {} witnesses, the circuit's {count}", values.len());
        return Err(ValueError::Abi { reason });
    }
    // Numbers of witnesses have 32 bits, and the circuit has as many parameters.
    let numbered = (0u32..).map(Witness).zip(values);
    Ok(WitnessMap::from(numbered.collect::<BTreeMap<_, _>>()))
}

/// What a function returns, from a witness of its circuit; `None` where it returns nothing.
///
/// # Errors
/// [`ValueError::Abi`], [`ValueError::Decode`] and [`ValueError::Artifact`]
pub fn decode_return(
    function: &Function,
    witness: &WitnessMap<FieldElement>,
) -> Result<Option<Value>, ValueError> {
    let Some(returns) = &function.abi.returns else { return Ok(None) };
    returns.of.decode(RETURN, &returned(function, witness)?).map(Some)
}

/// Compares the return value that the inputs state under [`RETURN`], if they do, with the one of a witness. Noir's
/// tools compare it as well: whoever states it expects it. A return value that is not public is not compared.
///
/// # Errors
/// [`ValueError::Returned`] where they differ, and those of [`encode`] and [`decode_return`]
pub fn check_return(
    function: &Function,
    inputs: &Map<String, Value>,
    witness: &WitnessMap<FieldElement>,
) -> Result<(), ValueError> {
    let Some(stated) = inputs.get(RETURN) else { return Ok(()) };
    let Some(returns) = &function.abi.returns else { return Ok(()) };
    let is_parameter = function.abi.parameters.iter().any(|parameter| parameter.name == RETURN);
    if is_parameter || returns.visibility != Visibility::Public {
        return Ok(());
    }
    match returns.of.encode(RETURN, stated)? == returned(function, witness)? {
        true => Ok(()),
        false => Err(ValueError::Returned),
    }
}

/// The values of the witnesses that a function's circuit returns.
fn returned(
    function: &Function,
    witness: &WitnessMap<FieldElement>,
) -> Result<Vec<FieldElement>, ValueError> {
    let value = |number: &Witness| {
        witness.get(number).copied().ok_or_else(|| ValueError::Abi {
            reason: format!("the witness lacks {number}, which the circuit returns"),
        })
    };
    function.circuit()?.return_values.0.iter().map(value).collect()
}

impl AbiType {
    /// The value as field elements, in the order of the witnesses. Messages call it `name`.
    ///
    /// # Errors
    /// [`ValueError`]
    pub fn encode(&self, name: &str, value: &Value) -> Result<Vec<FieldElement>, ValueError> {
        let mut out = Vec::new();
        Encoder { path: name.to_owned(), out: &mut out }.value(self, value)?;
        Ok(out)
    }

    /// The value that these field elements are. Messages call it `name`.
    ///
    /// # Errors
    /// [`ValueError::Decode`] where they are of another type, and [`ValueError::Abi`] where there are more or fewer.
    pub fn decode(&self, name: &str, values: &[FieldElement]) -> Result<Value, ValueError> {
        let (path, nodes) = (name.to_owned(), NODES_MAX);
        let mut decoder = Decoder { path, values: values.iter(), nodes };
        let value = decoder.value(self)?;
        match decoder.values.len() {
            0 => Ok(value),
            rest => Err(ValueError::Abi {
                reason: format!(
                    "`{name}` takes {} witnesses, the circuit has {}",
                    values.len() - rest,
                    values.len()
                ),
            }),
        }
    }

    /// What a value of the type must be, in words.
    fn describe(&self) -> String {
        match self {
            Self::Field => "a number below the modulus of the field".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Integer { sign, width } => format!("a whole number of {width} bits, {sign}"),
            Self::String { length } => format!("a text of {length} bytes"),
            Self::Array { length, .. } => format!("an array of {length}"),
            Self::Tuple { fields } => {
                format!("an array of {}, one for each of a tuple", fields.len())
            }
            Self::Struct { fields } => {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                format!("an object with the fields {}", names.join(", "))
            }
        }
    }
}

/// Whether an integer type is signed, or an error where it is none of Noir's.
fn is_signed(sign: &str, width: u32) -> Result<bool, ValueError> {
    match (sign, width) {
        ("unsigned", 1..=128) => Ok(false),
        ("signed", 1..=64) => Ok(true),
        _ => {
            let reason = format!("it has integers of {width} bits, {sign}");
            Err(ValueError::Abi { reason })
        }
    }
}

/// What a value from outside is.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => {
            "a number with a fraction or of more than 64 bits; write large numbers in quotes"
        }
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Flattens values.
struct Encoder<'a> {
    /// Where it is, such as `notes[3].owner`.
    path: String,
    out: &'a mut Vec<FieldElement>,
}

impl Encoder<'_> {
    fn value(&mut self, of: &AbiType, value: &Value) -> Result<(), ValueError> {
        match (of, value) {
            (AbiType::Field, _) => {
                let number = self.number(of, value)?;
                if number.size >= modulus() {
                    return Err(self.range(of.describe()));
                }
                let size = element(&number.size);
                self.out.push(if number.is_negative { -size } else { size });
                Ok(())
            }
            (AbiType::Integer { sign, width }, _) => self.integer(of, value, sign, *width),
            (AbiType::Boolean, Value::Bool(bit)) => {
                self.out.push(FieldElement::from(*bit));
                Ok(())
            }
            (AbiType::Boolean, Value::Number(_) | Value::String(_)) => {
                let Number { is_negative, size } = self.number(of, value)?;
                let is_bit = size.bits() == 0 || size.bits() == 1 && !is_negative;
                if !is_bit {
                    return Err(self.range(of.describe()));
                }
                self.out.push(element(&size));
                Ok(())
            }
            (AbiType::String { length }, Value::String(text)) => {
                self.length(*length, text.len())?;
                self.out.extend(text.bytes().map(|byte| FieldElement::from(u128::from(byte))));
                Ok(())
            }
            (AbiType::Array { length, of }, Value::Array(items)) => {
                self.length(*length, items.len())?;
                let mut items = items.iter().enumerate();
                items.try_for_each(|(i, item)| self.below(&format!("[{i}]"), of, item))
            }
            (AbiType::Tuple { fields }, Value::Array(items)) => {
                self.length(fields.len() as u64, items.len())?;
                let mut items = fields.iter().zip(items).enumerate();
                items.try_for_each(|(i, (of, item))| self.below(&format!(".{i}"), of, item))
            }
            (AbiType::Struct { fields }, Value::Object(values)) => self.fields(fields, values),
            _ => Err(self.kind(of, value)),
        }
    }

    /// A value inside of the present one.
    fn below(&mut self, step: &str, of: &AbiType, value: &Value) -> Result<(), ValueError> {
        let before = self.path.len();
        self.path.push_str(step);
        self.value(of, value)?;
        self.path.truncate(before);
        Ok(())
    }

    fn fields(
        &mut self,
        fields: &[AbiField],
        values: &Map<String, Value>,
    ) -> Result<(), ValueError> {
        let at = |name: &str| format!("{}.{name}", self.path);
        if let Some(name) = values.keys().find(|name| !fields.iter().any(|f| f.name == **name)) {
            let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(ValueError::Unknown { path: at(name), known: known.join(", ") });
        }
        for AbiField { name, of } in fields {
            let value = values.get(name).ok_or_else(|| ValueError::Missing {
                path: format!("{}.{name}", self.path),
                expected: of.describe(),
            })?;
            self.below(&format!(".{name}"), of, value)?;
        }
        Ok(())
    }

    fn integer(
        &mut self,
        of: &AbiType,
        value: &Value,
        sign: &str,
        width: u32,
    ) -> Result<(), ValueError> {
        let is_signed = is_signed(sign, width)?;
        let Number { is_negative, size } = self.number(of, value)?;
        let one = BigUint::from(1u8);
        let end = &one << width;
        // The first numbers that are too large: above zero, and below it.
        let (above, below) = match is_signed {
            true => (&one << (width - 1), (&one << (width - 1)) + &one),
            false => (end.clone(), one),
        };
        let limit = if is_negative { below } else { above };
        if size >= limit {
            return Err(self.range(of.describe()));
        }
        let is_below_zero = is_negative && size.bits() > 0;
        self.out.push(element(&if is_below_zero { end - size } else { size }));
        Ok(())
    }

    fn number(&self, of: &AbiType, value: &Value) -> Result<Number, ValueError> {
        let number = match value {
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(size), _) => Some(Number { is_negative: false, size: size.into() }),
                (None, Some(number)) => {
                    Some(Number { is_negative: true, size: number.unsigned_abs().into() })
                }
                (None, None) => None,
            },
            Value::String(text) => Number::parse(text),
            _ => None,
        };
        number.ok_or_else(|| self.kind(of, value))
    }

    fn kind(&self, of: &AbiType, value: &Value) -> ValueError {
        let got = match (of, value) {
            (AbiType::Field | AbiType::Integer { .. }, Value::String(_)) => {
                "a text that is no number, decimal or hexadecimal with 0x in front"
            }
            _ => kind(value),
        };
        ValueError::Kind { path: self.path.clone(), expected: of.describe(), got }
    }

    fn range(&self, expected: String) -> ValueError {
        ValueError::Range { path: self.path.clone(), expected }
    }

    fn length(&self, expected: u64, got: usize) -> Result<(), ValueError> {
        match got as u64 == expected {
            true => Ok(()),
            false => Err(ValueError::Length { path: self.path.clone(), expected, got: got as u64 }),
        }
    }
}

/// A whole number of any size.
struct Number {
    is_negative: bool,
    size: BigUint,
}

impl Number {
    /// Reads `-12` or `0x1f`. `None` where the text is no number or longer than any that fits.
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (radix, digits) = match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            Some(digits) => (16, digits),
            None => (10, rest),
        };
        // The library reads underscores and a plus sign as well.
        let are_digits = digits.chars().all(|digit| digit.is_digit(radix));
        if digits.is_empty() || digits.len() > DIGITS_MAX || !are_digits {
            return None;
        }
        let size = BigUint::parse_bytes(digits.as_bytes(), radix)?;
        Some(Self { is_negative, size })
    }
}

/// The field's modulus. Of this crate's own type of integers: the field's crate has another version of it.
fn modulus() -> BigUint {
    BigUint::from_bytes_be(&FieldElement::modulus().to_bytes_be())
}

/// A number below the modulus.
fn element(number: &BigUint) -> FieldElement {
    FieldElement::from_be_bytes_reduce(&number.to_bytes_be())
}

/// Builds values from field elements.
struct Decoder<'a> {
    path: String,
    values: std::slice::Iter<'a, FieldElement>,
    /// How many more values there may be, whole ones and parts.
    nodes: usize,
}

impl Decoder<'_> {
    fn value(&mut self, of: &AbiType) -> Result<Value, ValueError> {
        self.nodes = self.nodes.checked_sub(1).ok_or_else(|| ValueError::Abi {
            reason: format!("`{}` has more than {NODES_MAX} parts", self.path),
        })?;
        match of {
            AbiType::Field => {
                let hex = self.take()?.to_hex();
                Ok(Value::String(format!("0x{hex}")))
            }
            AbiType::Boolean => match self.take()? {
                bit if bit.is_zero() => Ok(Value::Bool(false)),
                bit if bit.is_one() => Ok(Value::Bool(true)),
                _ => Err(self.wrong(of)),
            },
            AbiType::Integer { sign, width } => {
                let is_signed = is_signed(sign, *width)?;
                let bits = self.take()?.try_into_u128();
                let bits = bits.filter(|bits| bits.checked_shr(*width).unwrap_or(0) == 0);
                let bits = bits.ok_or_else(|| self.wrong(of))?;
                Ok(match is_signed && bits >> (width - 1) == 1 {
                    true => number(true, (1u128 << *width) - bits),
                    false => number(false, bits),
                })
            }
            AbiType::String { length } => {
                let mut bytes = Vec::new();
                for _ in 0..*length {
                    let byte = self.take()?.try_to_u32().and_then(|byte| u8::try_from(byte).ok());
                    bytes.push(byte.ok_or_else(|| self.wrong(of))?);
                }
                String::from_utf8(bytes).map(Value::String).map_err(|_| self.wrong(of))
            }
            AbiType::Array { length, of } => {
                (0..*length).map(|i| self.below(&format!("[{i}]"), of)).collect()
            }
            AbiType::Tuple { fields } => {
                let items = fields.iter().enumerate();
                items.map(|(i, of)| self.below(&format!(".{i}"), of)).collect()
            }
            AbiType::Struct { fields } => {
                let mut values = Map::new();
                for AbiField { name, of } in fields {
                    let value = self.below(&format!(".{name}"), of)?;
                    values.insert(name.clone(), value);
                }
                Ok(Value::Object(values))
            }
        }
    }

    fn below(&mut self, step: &str, of: &AbiType) -> Result<Value, ValueError> {
        let before = self.path.len();
        self.path.push_str(step);
        let value = self.value(of)?;
        self.path.truncate(before);
        Ok(value)
    }

    fn take(&mut self) -> Result<FieldElement, ValueError> {
        self.values.next().copied().ok_or_else(|| ValueError::Abi {
            reason: format!("the circuit has no witness for `{}`", self.path),
        })
    }

    fn wrong(&self, of: &AbiType) -> ValueError {
        ValueError::Decode { path: self.path.clone(), expected: of.describe() }
    }
}

fn number(is_negative: bool, size: u128) -> Value {
    let sign = if is_negative { "-" } else { "" };
    match i64::try_from(size) {
        Ok(exact) if size <= EXACT_MAX => Value::from(if is_negative { -exact } else { exact }),
        _ => Value::String(format!("{sign}{size}")),
    }
}
