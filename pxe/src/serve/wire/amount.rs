//! Amounts as strings.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in units: a string of decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub u64);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // One text for each amount: no sign and no leading zero.
        let amount = text.parse().ok().filter(|amount: &u64| amount.to_string() == text);
        amount.map(Self).ok_or_else(|| D::Error::custom("a string of decimal digits expected"))
    }
}
