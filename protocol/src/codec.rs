//! Canonical bytes: a writer and a strict reader.
//!
//! Integers are big-endian and of fixed width, field elements 32 bytes big-endian and below the
//! modulus, lists carry their length. A reader that has not consumed everything is an error, so no
//! value has two encodings.

use rollmill_algebra::Fr;

use crate::field;
use crate::tx::EffectsError;

/// Why bytes are not what they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value.
    ///
    /// Do: Get the data again; it is cut off or of another version.
    #[error("{code}: {what}: {needed} bytes expected, {left} left", code = self.code())]
    Truncated { what: &'static str, needed: usize, left: usize },
    /// Bytes follow the last value.
    ///
    /// Do: Get the data again; it is damaged or of another version.
    #[error("{code}: {what}: {extra} bytes after the end", code = self.code())]
    Trailing { what: &'static str, extra: usize },
    /// A field element is not below the modulus.
    ///
    /// Do: Correct the program or file that wrote it.
    #[error("{code}: {what}: field element is not canonical", code = self.code())]
    NotCanonical { what: &'static str },
    /// A number is outside its range.
    ///
    /// Do: Correct the program or file that wrote it; the message names the limit.
    #[error("{code}: {what}: at most {max} expected, got {got}", code = self.code())]
    OutOfRange { what: &'static str, max: String, got: String },
    /// The data has a format version that this build does not know.
    ///
    /// Do: Run the same release on both sides.
    #[error("{code}: {what}: version {expected} expected, got {got}", code = self.code())]
    Version { what: &'static str, expected: u64, got: u64 },
    /// A list has the wrong length.
    ///
    /// Do: Correct the program or file that wrote it; the message has both lengths.
    #[error("{code}: {what}: {expected} items expected, got {got}", code = self.code())]
    Length { what: &'static str, expected: usize, got: usize },
    /// Values contradict each other or the rules of their format.
    ///
    /// Do: Correct the program or file that wrote it; the message names the rule.
    #[error("{code}: {what}: {reason}", code = self.code())]
    Shape { what: &'static str, reason: String },
    /// The text is not hexadecimal of the right length.
    ///
    /// Do: Pass 0x and the number of hex digits in the message.
    #[error("{code}: {what}: {reason}", code = self.code())]
    Hex { what: &'static str, reason: String },
    /// The coordinates are not a point of the curve, or are the point at infinity.
    ///
    /// Do: Correct the program or file that wrote it.
    #[error("{code}: {what}: not a point of the curve", code = self.code())]
    NotOnCurve { what: &'static str },
    /// The effects or the logs of a transaction break a rule.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

rollmill_errors::coded! {
    DecodeError {
        Self::Truncated { .. } => "PRO-001",
        Self::Trailing { .. } => "PRO-002",
        Self::NotCanonical { .. } => "PRO-003",
        Self::OutOfRange { .. } => "PRO-004",
        Self::Version { .. } => "PRO-005",
        Self::Length { .. } => "PRO-006",
        Self::Shape { .. } => "PRO-007",
        Self::Hex { .. } => "PRO-008",
        Self::NotOnCurve { .. } => "PRO-009",
        Self::Effects(error) => (error),
    }
}

/// Appends values to a byte string.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty byte string.
    pub fn new() -> Self {
        Self::default()
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// 32 bytes, big-endian, canonical.
    pub fn fr(&mut self, value: &Fr) {
        self.bytes.extend_from_slice(&field::to_bytes(value));
    }

    /// Field elements one after another, without a count.
    pub fn frs(&mut self, values: &[Fr]) {
        for value in values {
            self.fr(value);
        }
    }

    /// Bytes as they are, without a count.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes preceded by their number as a `u32`.
    ///
    /// # Panics
    /// When there are 2^32 bytes or more, which no caller can build from checked input.
    pub fn counted(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("a byte string of this crate is below 4 GiB"));
        self.raw(bytes);
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes values from a byte string, strictly.
#[derive(Debug)]
pub struct Reader<'a> {
    what: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names the value in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, left: bytes }
    }

    /// Number of bytes not yet read.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// The next `n` bytes.
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        match self.left.split_at_checked(n) {
            Some((head, tail)) => {
                self.left = tail;
                Ok(head)
            }
            None => {
                Err(DecodeError::Truncated { what: self.what, needed: n, left: self.left.len() })
            }
        }
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A canonical field element.
    pub fn fr(&mut self) -> Result<Fr, DecodeError> {
        let bytes = self.array::<32>()?;
        field::from_bytes(&bytes).ok_or(DecodeError::NotCanonical { what: self.what })
    }

    /// `n` field elements.
    pub fn frs(&mut self, n: usize) -> Result<Vec<Fr>, DecodeError> {
        // The bytes are claimed before anything is allocated: a forged count costs nothing.
        let bytes = self.raw(n.saturating_mul(32))?;
        bytes
            .chunks_exact(32)
            .map(|chunk| {
                let mut word = [0; 32];
                word.copy_from_slice(chunk);
                field::from_bytes(&word).ok_or(DecodeError::NotCanonical { what: self.what })
            })
            .collect()
    }

    /// Bytes preceded by their number, at most `max`.
    pub fn counted(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let n = self.u32()? as usize;
        if n > max {
            return Err(DecodeError::OutOfRange {
                what: self.what,
                max: max.to_string(),
                got: n.to_string(),
            });
        }
        self.raw(n)
    }

    /// A version number that must be `expected`.
    pub fn version(&mut self, expected: u8) -> Result<(), DecodeError> {
        let got = self.u8()?;
        if got == expected {
            Ok(())
        } else {
            Err(DecodeError::Version {
                what: self.what,
                expected: u64::from(expected),
                got: u64::from(got),
            })
        }
    }

    /// Ends reading: everything must have been consumed.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { what: self.what, extra: self.left.len() })
        }
    }
}
