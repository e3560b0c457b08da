//! Field elements and addresses as bytes, integers and text.

use std::fmt;

use ark_ff::PrimeField;
use rollmill_algebra::{Fr, bytes};

use crate::codec::DecodeError;

/// 32 bytes, big-endian, canonical.
pub fn to_bytes(value: &Fr) -> [u8; 32] {
    bytes::fr_to_bytes(value)
}

/// The element these 32 big-endian bytes encode; `None` when they are not below the modulus.
pub fn from_bytes(word: &[u8; 32]) -> Option<Fr> {
    bytes::fr_from_bytes(word).ok()
}

/// The integer, when it is below 2^64.
pub fn to_u64(what: &'static str, value: &Fr) -> Result<u64, DecodeError> {
    let limbs = value.into_bigint().0;
    if limbs[1..] == [0, 0, 0] {
        Ok(limbs[0])
    } else {
        Err(out_of_range(what, u64::MAX.to_string(), value))
    }
}

/// The integer, when it is below 2 to the power of `bits`, which is at most 64.
pub fn to_bits(what: &'static str, value: &Fr, bits: u32) -> Result<u64, DecodeError> {
    let limbs = value.into_bigint().0;
    if limbs[1..] == [0, 0, 0] && limbs[0].checked_shr(bits).unwrap_or(0) == 0 {
        Ok(limbs[0])
    } else {
        Err(out_of_range_bits(what, bits, value))
    }
}

/// The integer, when it is below 2^128.
pub fn to_u128(what: &'static str, value: &Fr) -> Result<u128, DecodeError> {
    let limbs = value.into_bigint().0;
    if limbs[2..] == [0, 0] {
        Ok(u128::from(limbs[0]) | u128::from(limbs[1]) << 64)
    } else {
        Err(out_of_range_u128(what, value))
    }
}

/// The error of a value that has more bits.
pub(crate) fn out_of_range_bits(what: &'static str, bits: u32, value: &Fr) -> DecodeError {
    out_of_range(what, format!("2^{bits} - 1"), value)
}

/// The error of a value that is not below 2^128.
pub(crate) fn out_of_range_u128(what: &'static str, value: &Fr) -> DecodeError {
    out_of_range(what, u128::MAX.to_string(), value)
}

fn out_of_range(what: &'static str, max: String, value: &Fr) -> DecodeError {
    DecodeError::OutOfRange { what, max, got: to_hex(value) }
}

/// The integer of at most 31 big-endian bytes.
pub(crate) fn from_short_bytes<const N: usize>(bytes: &[u8; N]) -> Fr {
    const { assert!(N < 32, "31 bytes are below the modulus") };
    let mut word = [0; 32];
    word[32 - N..].copy_from_slice(bytes);
    from_bytes(&word).expect("248 bits are below the modulus")
}

/// `0x` and 64 hexadecimal digits.
pub fn to_hex(value: &Fr) -> String {
    format!("0x{}", hex::encode(to_bytes(value)))
}

/// The element that [`to_hex`] wrote. Upper-case digits are accepted; a short form is not.
pub fn from_hex(text: &str) -> Result<Fr, DecodeError> {
    let bytes: [u8; 32] = fixed_from_hex("field element", text)?;
    from_bytes(&bytes).ok_or(DecodeError::NotCanonical { what: "field element" })
}

/// Exactly `N` bytes from `0x`-prefixed hexadecimal.
pub fn fixed_from_hex<const N: usize>(
    what: &'static str,
    text: &str,
) -> Result<[u8; N], DecodeError> {
    let mut out = [0; N];
    hex::decode_to_slice(digits(what, text)?, &mut out)
        .map_err(|error| DecodeError::Hex { what, reason: error.to_string() })?;
    Ok(out)
}

/// Bytes from `0x`-prefixed hexadecimal.
pub fn bytes_from_hex(what: &'static str, text: &str) -> Result<Vec<u8>, DecodeError> {
    hex::decode(digits(what, text)?)
        .map_err(|error| DecodeError::Hex { what, reason: error.to_string() })
}

fn digits<'a>(what: &'static str, text: &'a str) -> Result<&'a str, DecodeError> {
    text.strip_prefix("0x")
        .ok_or_else(|| DecodeError::Hex { what, reason: "0x expected in front".to_owned() })
}

/// An Ethereum address: 160 bits, as a field element the big-endian integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EthAddress(pub [u8; 20]);

impl EthAddress {
    /// Bits of an address.
    pub const BITS: u32 = 160;

    /// The address as a field element.
    pub fn to_field(self) -> Fr {
        from_short_bytes(&self.0)
    }

    /// The address of a field element below 2^160.
    pub fn from_field(what: &'static str, value: &Fr) -> Result<Self, DecodeError> {
        let bytes = to_bytes(value);
        if bytes[..12].iter().any(|byte| *byte != 0) {
            return Err(out_of_range(what, "2^160 - 1".to_owned(), value));
        }
        let mut out = [0; 20];
        out.copy_from_slice(&bytes[12..]);
        Ok(Self(out))
    }

    /// The address from `0x` and 40 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, DecodeError> {
        Ok(Self(fixed_from_hex("address", text)?))
    }
}

impl fmt::Display for EthAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl serde::Serialize for EthAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EthAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).map_err(serde::de::Error::custom)
    }
}

/// Field element as text in JSON: `#[serde(with = "rollmill_protocol::field::serde_fr")]`.
pub mod serde_fr {
    use rollmill_algebra::Fr;
    use serde::Deserialize;

    /// Writes [`super::to_hex`].
    pub fn serialize<S: serde::Serializer>(value: &Fr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_hex(value))
    }

    /// Reads [`super::from_hex`].
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fr, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::from_hex(&text).map_err(serde::de::Error::custom)
    }
}

/// List of field elements as text in JSON.
pub mod serde_frs {
    use rollmill_algebra::Fr;
    use serde::Deserialize;
    use serde::ser::SerializeSeq;

    /// Writes each element with [`super::to_hex`].
    pub fn serialize<S: serde::Serializer>(
        values: &[Fr],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(values.len()))?;
        for value in values {
            seq.serialize_element(&super::to_hex(value))?;
        }
        seq.end()
    }

    /// Reads each element with [`super::from_hex`].
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Fr>, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| super::from_hex(text).map_err(serde::de::Error::custom))
            .collect()
    }
}

/// `u64` as decimal text in JSON, for readers whose numbers end at 2^53.
pub mod serde_u64_text {
    use serde::Deserialize;

    /// Writes the decimal number without leading zeros.
    pub fn serialize<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads exactly what [`serialize`] writes.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value: u64 = text.parse().map_err(serde::de::Error::custom)?;
        if value.to_string() == text {
            Ok(value)
        } else {
            Err(serde::de::Error::custom("a decimal number without sign or leading zeros expected"))
        }
    }
}

/// Byte string as `0x` text in JSON.
pub mod serde_hex {
    use serde::Deserialize;

    /// Writes `0x` and two digits a byte.
    pub fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0x{}", hex::encode(bytes)))
    }

    /// Reads `0x` and two digits a byte.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::bytes_from_hex("bytes", &text).map_err(serde::de::Error::custom)
    }
}
