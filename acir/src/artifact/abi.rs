//! Types of the payloads of failed assertions, and such payloads in words.

use acir::{AcirField, FieldElement};
use serde::Deserialize;

/// The type of a value in Noir's ABI.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum AbiType {
    /// A field element.
    Field,
    /// `length` values of one type.
    Array {
        /// How many.
        length: u64,
        /// Of which type.
        #[serde(rename = "type")]
        of: Box<AbiType>,
    },
    /// An integer of `width` bits; a negative one is its two's complement.
    Integer {
        /// `signed` or `unsigned`.
        sign: String,
        /// Bits.
        width: u32,
    },
    /// 0 or 1.
    Boolean,
    /// `length` bytes, one in each field element.
    String {
        /// Bytes.
        length: u64,
    },
    /// Named values.
    Struct {
        /// In the order of their declaration.
        fields: Vec<AbiField>,
    },
    /// Values without names.
    Tuple {
        /// In their order.
        fields: Vec<AbiType>,
    },
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AbiField {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub of: AbiType,
}

/// The type of an assertion's payload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "error_kind", rename_all = "lowercase")]
pub enum ErrorType {
    /// A text that is part of the artifact; the payload is empty.
    String {
        /// The text.
        string: String,
    },
    /// A text with values in it.
    FmtString {
        /// Bytes of the text.
        length: u64,
        /// Types of the values.
        item_types: Vec<AbiType>,
    },
    /// A value.
    Custom(AbiType),
}

/// Longest message that is made of a payload, in bytes: a payload may be as large as the program's memory.
const MESSAGE_BYTES_MAX: usize = 2_000;

impl ErrorType {
    /// The payload in words. A payload that is too short for its type ends with `…`.
    pub fn message(&self, payload: &[FieldElement]) -> String {
        let mut text = String::new();
        let mut rest = payload.iter();
        let is_whole = match self {
            Self::String { string } => {
                text.push_str(string);
                true
            }
            Self::Custom(of) => of.write(&mut rest, &mut text),
            Self::FmtString { length, item_types } => {
                let mut template = String::new();
                let read = bytes(*length, &mut rest, &mut template);
                // The number of values comes between the text and the values.
                read && rest.next().is_some() && fill(&template, item_types, &mut rest, &mut text)
            }
        };
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let is_short = text.len() <= MESSAGE_BYTES_MAX;
        text.truncate(end);
        if !is_whole || !is_short {
            text.push('…');
        }
        text
    }
}

/// Replaces each `{name}` of a template by the next value.
fn fill<'a>(
    template: &str,
    items: &[AbiType],
    payload: &mut impl Iterator<Item = &'a FieldElement>,
    out: &mut String,
) -> bool {
    let mut rest = template;
    for item in items {
        let Some((before, after)) = rest.split_once('{') else { break };
        let Some((_, after)) = after.split_once('}') else { break };
        out.push_str(before);
        if !item.write(payload, out) {
            return false;
        }
        rest = after;
    }
    out.push_str(rest);
    true
}

fn bytes<'a>(
    length: u64,
    payload: &mut impl Iterator<Item = &'a FieldElement>,
    out: &mut String,
) -> bool {
    let mut text = Vec::new();
    for _ in 0..length {
        let Some(byte) = payload.next() else {
            out.push_str(&String::from_utf8_lossy(&text));
            return false;
        };
        text.push(byte.try_to_u32().and_then(|b| u8::try_from(b).ok()).unwrap_or(b'?'));
    }
    out.push_str(&String::from_utf8_lossy(&text));
    true
}

impl AbiType {
    /// Writes the next value of a payload, and returns whether it was all there.
    fn write<'a>(
        &self,
        payload: &mut impl Iterator<Item = &'a FieldElement>,
        out: &mut String,
    ) -> bool {
        // An array of empty structs takes nothing from the payload, so its length must not decide how long this runs.
        if out.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        match self {
            Self::Field | Self::Boolean | Self::Integer { .. } => match payload.next() {
                Some(value) => {
                    out.push_str(&self.scalar(value));
                    true
                }
                None => false,
            },
            Self::String { length } => {
                out.push('"');
                let is_whole = bytes(*length, payload, out);
                out.push('"');
                is_whole
            }
            Self::Array { length, of } => {
                let items = (0..*length).map(|_| ("", of.as_ref()));
                write_list(['[', ']'], items, payload, out)
            }
            Self::Tuple { fields } => {
                write_list(['(', ')'], fields.iter().map(|of| ("", of)), payload, out)
            }
            Self::Struct { fields } => {
                let items = fields.iter().map(|field| (field.name.as_str(), &field.of));
                write_list(['{', '}'], items, payload, out)
            }
        }
    }

    fn scalar(&self, value: &FieldElement) -> String {
        match self {
            Self::Boolean => (!value.is_zero()).to_string(),
            Self::Integer { sign, width } if sign == "signed" && (1..=64).contains(width) => {
                match value.try_into_u128() {
                    Some(bits) if bits >> (width - 1) == 1 => {
                        (bits as i128 - (1i128 << width)).to_string()
                    }
                    Some(bits) => bits.to_string(),
                    None => hex(value),
                }
            }
            Self::Integer { .. } => match value.try_into_u128() {
                Some(bits) => bits.to_string(),
                None => hex(value),
            },
            _ => hex(value),
        }
    }
}

fn hex(value: &FieldElement) -> String {
    format!("0x{}", value.to_hex())
}

fn write_list<'a, 'b>(
    [open, close]: [char; 2],
    items: impl Iterator<Item = (&'b str, &'b AbiType)>,
    payload: &mut impl Iterator<Item = &'a FieldElement>,
    out: &mut String,
) -> bool {
    out.push(open);
    for (i, (name, of)) in items.enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if !name.is_empty() {
            out.push_str(name);
            out.push_str(": ");
        }
        if !of.write(payload, out) {
            return false;
        }
    }
    out.push(close);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[u64]) -> Vec<FieldElement> {
        values.iter().map(|v| FieldElement::from(*v)).collect()
    }

    fn read(json: &str) -> ErrorType {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn payloads_are_written_by_their_types() {
        let text = read(r#"{"error_kind": "string", "string": "no change"}"#);
        assert_eq!(text.message(&[]), "no change");
        let format = read(
            r#"{"error_kind": "fmtstring", "length": 9, "item_types": [
                {"kind": "integer", "sign": "signed", "width": 8}, {"kind": "boolean"}]}"#,
        );
        let payload: Vec<u64> = b"{x} or {y".iter().map(|b| u64::from(*b)).collect();
        let payload = [payload, vec![2, 0xff, 1]].concat();
        assert_eq!(format.message(&values(&payload)), "-1 or {y");
        let custom = read(
            r#"{"error_kind": "custom", "kind": "struct", "path": "E", "fields": [
                {"name": "at", "type": {"kind": "array", "length": 2, "type":
                    {"kind": "integer", "sign": "unsigned", "width": 32}}},
                {"name": "name", "type": {"kind": "string", "length": 2}},
                {"name": "pair", "type": {"kind": "tuple", "fields": [{"kind": "boolean"}]}}]}"#,
        );
        let payload = values(&[7, 8, 104, 105, 0]);
        assert_eq!(custom.message(&payload), r#"{at: [7, 8], name: "hi", pair: (false)}"#);
    }

    #[test]
    fn a_payload_of_the_wrong_length_or_size_ends_early() {
        let array = |length: u64, of: AbiType| {
            ErrorType::Custom(AbiType::Array { length, of: Box::new(of) })
        };
        assert_eq!(array(3, AbiType::Boolean).message(&values(&[1])), "[true, …");
        let endless = array(u64::MAX, AbiType::Tuple { fields: Vec::new() });
        assert!(endless.message(&[]).len() < MESSAGE_BYTES_MAX + 10);
        let huge = AbiType::Integer { sign: "signed".to_owned(), width: 0 };
        assert_eq!(ErrorType::Custom(huge).message(&values(&[5])), "5");
    }
}
