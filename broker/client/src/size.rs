//! Size classes: which agents can hold which jobs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rules::{At, Described, Form, Violation};

/// The class of an agent, or the smallest class of agent that can hold a job: a number from 0 to
/// [`SizeClass::LARGEST`]. On the wire it is that number, and reading any other one fails.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct SizeClass(u8);

impl SizeClass {
    /// The class of jobs that every agent can hold.
    pub const SMALLEST: Self = Self(0);
    /// The class of agents that can hold every job.
    pub const LARGEST: Self = Self(3);

    /// The class of an agent with this much memory for one proof: 0 below 20 GiB, 1 from 20 GiB, 2 from 40 GiB, 3 from
    /// 76 GiB. A GPU that is sold with 24, 48 or 80 GB has a little less for its programs, and is of class 1, 2 or 3.
    pub const fn of_memory(bytes: u64) -> Self {
        match bytes >> 30 {
            0..20 => Self(0),
            20..40 => Self(1),
            40..76 => Self(2),
            _ => Self(3),
        }
    }

    /// The class of this number; `None` above [`Self::LARGEST`].
    pub fn new(number: u8) -> Option<Self> {
        (number <= Self::LARGEST.0).then_some(Self(number))
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The next larger class; `None` for the largest.
    pub fn larger(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// The classes of job that an agent of this class can hold, the smallest first.
    pub fn holds(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self)
    }
}

impl Described for SizeClass {
    const FORM: &'static Form =
        &Form::Whole { min: Self::SMALLEST.0 as i64, max: Self::LARGEST.0 as u64, format: "uint8" };

    fn check(&self, _: &At) -> Result<(), Violation> {
        Ok(())
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<SizeClass> for u8 {
    fn from(class: SizeClass) -> Self {
        class.0
    }
}

impl TryFrom<u8> for SizeClass {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("class is {number}; it is 0 to {}", Self::LARGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_its_number_and_no_number_beyond_the_largest_is_one() {
        for number in 0..=u8::MAX {
            let text = number.to_string();
            let read = serde_json::from_str::<SizeClass>(&text);
            assert_eq!(read.as_ref().ok().copied(), SizeClass::new(number), "{number}");
            match read {
                Ok(class) => assert_eq!(serde_json::to_string(&class).unwrap(), text),
                Err(error) => assert!(error.to_string().contains("it is 0 to 3"), "{error}"),
            }
        }
        assert!(serde_json::from_str::<SizeClass>("-1").is_err());
        assert_eq!(format!("{:>5}", SizeClass::LARGEST), "    3");
    }

    #[test]
    fn more_memory_never_makes_a_smaller_class_and_the_usual_gpus_are_told_apart() {
        let classes: Vec<SizeClass> = (0..200).map(|gib| SizeClass::of_memory(gib << 30)).collect();
        assert!(classes.is_sorted());
        assert_eq!(SizeClass::of_memory(u64::MAX), SizeClass::LARGEST);
        // MiB as `nvidia-smi` shows them: RTX 4090, A100 of 40 GB, L40S, A100 and H100 of 80 GB, H200.
        let usual = [(24_564, 1), (40_960, 2), (46_068, 2), (81_920, 3), (81_559, 3), (143_771, 3)];
        for (mib, class) in usual {
            assert_eq!(SizeClass::of_memory(mib << 20).number(), class, "{mib} MiB");
        }
        assert_eq!(SizeClass::of_memory((20 << 30) - 1), SizeClass::SMALLEST);
    }

    #[test]
    fn an_agent_holds_the_jobs_up_to_its_class() {
        let climbed: Vec<_> =
            std::iter::successors(Some(SizeClass::SMALLEST), |class| class.larger()).collect();
        assert_eq!(climbed, SizeClass::LARGEST.holds().collect::<Vec<_>>());
        assert_eq!(climbed.last(), Some(&SizeClass::LARGEST));
        assert!(SizeClass::SMALLEST.holds().eq([SizeClass::default()]));
    }
}
