//! Amounts of the token: counted in base units, written in AZT.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::U256;

/// Decimals of the token on L1.
const DECIMALS: usize = 18;
/// Base units of 1 AZT.
const BASE: u128 = 10_u128.pow(DECIMALS as u32);
/// Base units of one unit on L2, as the FeePortal has it.
const UNIT: u128 = 1_000_000_000;

/// An amount of the token in base units, 10^18 of which are 1 AZT. Below 2^128 base units, as the
/// contracts keep balances of bonds.
///
/// Its text is the amount in AZT with at most 18 decimals: `0.5`, `100`. It is read exactly, never by way of a
/// floating point number.
///
/// ```
/// use rollmill_l1::Azt;
/// let amount: Azt = "1.000000001".parse().unwrap();
/// assert_eq!((amount.base_units(), amount.units()), (1_000_000_001_000_000_000, Some(1_000_000_001)));
/// assert_eq!(amount.to_string(), "1.000000001");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Azt(u128);

impl Azt {
    pub const ZERO: Self = Self(0);

    /// An amount in base units.
    pub const fn new(base_units: u128) -> Self {
        Self(base_units)
    }

    /// An amount in units of L2.
    pub const fn from_units(units: u64) -> Self {
        Self(units as u128 * UNIT)
    }

    /// A word of a contract. One of 2^128 and above, such as an allowance without end, counts as 2^128 − 1.
    pub fn from_word(word: U256) -> Self {
        Self(u128::try_from(word).unwrap_or(u128::MAX))
    }

    pub const fn base_units(self) -> u128 {
        self.0
    }

    /// The amount as a contract takes it.
    pub fn word(self) -> U256 {
        U256::from(self.0)
    }

    /// Whole units of L2; `None` if it has a part of a unit, or is beyond 2^64 − 1 units.
    pub fn units(self) -> Option<u64> {
        if !self.0.is_multiple_of(UNIT) {
            return None;
        }
        u64::try_from(self.0 / UNIT).ok()
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, at most 2^128 − 1 base units.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of this amount; nothing if `other` is more.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The nearest floating point number of AZT, for a figure under `/metrics` only.
    pub fn to_metric(self) -> f64 {
        self.0 as f64 / BASE as f64
    }
}

impl fmt::Display for Azt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / BASE, self.0 % BASE);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let part = format!("{part:0DECIMALS$}");
        write!(f, "{whole}.{}", part.trim_end_matches('0'))
    }
}

impl fmt::Debug for Azt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} AZT")
    }
}

/// As its text, since a number of JSON would lose digits.
impl serde::Serialize for Azt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAmount {
    why: &'static str,
}

impl fmt::Display for NotAnAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an amount of AZT such as 100 or 0.5 ({})", self.why)
    }
}

impl std::error::Error for NotAnAmount {}

impl FromStr for Azt {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let no = |why| Err(NotAnAmount { why });
        let (whole, part) = match text.split_once('.') {
            None => (text, ""),
            Some((_, "")) => return no("a digit is missing after the point"),
            Some(parts) => parts,
        };
        if whole.is_empty() {
            return no("a digit is missing before the point");
        }
        if !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
            return no("digits and one point only");
        }
        if part.len() > DECIMALS {
            return no("at most 18 decimals");
        }
        let too_large = NotAnAmount { why: "below 2^128 base units" };
        let digits = format!("{whole}{part:0<DECIMALS$}");
        // Nothing but digits, so only the size can be wrong.
        digits.parse().map(Self).map_err(|_| too_large)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: text and base units are one to one, whatever the amount.
        #[test]
        fn every_amount_is_read_back_from_its_text(base: u128) {
            let amount = Azt::new(base);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }

        /// Method: the digits are moved by hand, and zeros added at both ends.
        #[test]
        fn a_text_with_a_point_is_its_digits(
            whole in 0..u64::MAX, part in "[0-9]{0,18}", zeros in 0..4_usize,
        ) {
            let text = format!("{}{whole}{}{part}", "0".repeat(zeros), if part.is_empty() { "" } else { "." });
            let mut base = u128::from(whole);
            for digit in format!("{part:0<18}").bytes() {
                base = base * 10 + u128::from(digit - b'0');
            }
            prop_assert_eq!(text.parse::<Azt>().map(Azt::base_units), Ok(base));
        }

        /// Goal: no text that is not an amount is taken for one, and none panics.
        #[test]
        fn other_texts_are_rejected(text in "[-+0-9.,_ eExX]{0,30}|\\PC{0,12}") {
            let shape = |text: &str| {
                let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
                let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                digits(whole) && digits(part) && part.len() <= 18
            };
            if !shape(&text) {
                prop_assert!(text.parse::<Azt>().is_err(), "{text}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let most = "340282366920938463463.374607431768211455";
        assert_eq!(most.parse(), Ok(Azt::new(u128::MAX)));
        assert_eq!(Azt::new(u128::MAX).to_string(), most);
        for (text, why) in [
            ("340282366920938463463.374607431768211456", "2^128"),
            ("0.0000000000000000001", "18 decimals"),
            ("1.", "after the point"),
            (".5", "before the point"),
            ("", "before the point"),
            ("-1", "digits"),
            ("1e3", "digits"),
            ("1.2.3", "digits"),
            ("١", "digits"),
        ] {
            let error = text.parse::<Azt>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(("0".parse(), "00.10".parse()), (Ok(Azt::ZERO), Ok(Azt::new(BASE / 10))));
    }

    #[test]
    fn units_of_l2_are_whole_or_none() {
        assert_eq!(Azt::from_units(u64::MAX).units(), Some(u64::MAX));
        assert_eq!(Azt::new(UNIT + 1).units(), None);
        assert_eq!(Azt::new((u128::from(u64::MAX) + 1) * UNIT).units(), None);
        assert_eq!(Azt::from_word(U256::MAX), Azt::new(u128::MAX));
        assert_eq!(serde_json::to_string(&Azt::from_units(500_000_000)).unwrap(), "\"0.5\"");
    }
}
