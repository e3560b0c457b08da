//! Which device an agent proves on, and what happens where it cannot be used.
//!
//! A device that is named and cannot be used is an error unless the settings prefer it only; what was
//! chosen and why is logged at start and shown by `/status`. After the start nothing changes it: a
//! device that is lost ends the agent.

use std::fmt;
use std::str::FromStr;

/// One device among those of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By place in the kind's own list, from 0.
    Index(u32),
    /// By UUID (`GPU-…`) or by part of its name.
    Name(String),
}

/// What to prove on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best device there is: the first CUDA device, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(Selector),
    Wgpu(Selector),
    Icicle(Selector),
}

impl Choice {
    /// Whether a device other than the CPU is named.
    pub const fn is_accelerator(&self) -> bool {
        !matches!(self, Self::Auto | Self::Cpu)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(selector) => write!(f, "cuda:{selector}"),
            Self::Wgpu(selector) => write!(f, "wgpu:{selector}"),
            Self::Icicle(selector) => write!(f, "icicle:{selector}"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || "expected auto, cpu, cuda:N, wgpu:N or icicle:N".to_owned();
        let (kind, selector) = match text.split_once(':') {
            Some((_, "")) => return Err(unknown()),
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let selected = || match selector {
            None => Selector::Index(0),
            Some(name) => {
                name.parse().map_or_else(|_| Selector::Name(name.to_owned()), Selector::Index)
            }
        };
        match kind {
            "auto" if selector.is_none() => Ok(Self::Auto),
            "cpu" if selector.is_none() => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(selected())),
            "wgpu" => Ok(Self::Wgpu(selected())),
            "icicle" => Ok(Self::Icicle(selected())),
            _ => Err(unknown()),
        }
    }
}

/// What to do where the device cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fallback {
    /// Do not start without the device; with the device auto, not without an accelerator
    Require,
    /// Prove on the CPU instead, and log it
    Prefer,
    /// Prove on the CPU only, without looking for accelerators
    Off,
}

/// Where and how a graphics adapter runs row kernels, such as that of the quotient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AdapterRows {
    /// On CPU threads; each proof copies every column to the host
    Host,
    /// On the adapter, by a kernel that interprets programs
    Interpreted,
    /// On the adapter, by kernels written for each program; the first proof compiles them, which may take minutes
    Generated,
}

/// Why there is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// The device named by `--device` cannot be used.
    ///
    /// Do: Select another one (`rollmill-agent devices` lists them), or allow the CPU with `--fallback
    /// prefer`.
    #[error(
        "{}: device {device} cannot be used: {reason}; select another one with --device, or \
         allow the CPU with --fallback prefer",
        self.code()
    )]
    Unusable { device: String, reason: String },
    /// `--fallback require` is set, but no accelerator can be used.
    ///
    /// Do: Fix what the message names for each device (usually the driver), or drop `--fallback
    /// require` to prove on the CPU.
    #[error(
        "{}: --fallback require is set, but no accelerator can be used ({reasons}); fix one of them, or drop --fallback require",
        self.code()
    )]
    NoAccelerator { reasons: String },
}

rollmill_errors::coded! {
    ChoiceError {
        Self::Unusable { .. } => "AGT-032",
        Self::NoAccelerator { .. } => "AGT-033",
    }
}

/// A device that was chosen, and the reason in a few words.
#[derive(Debug)]
pub struct Chosen<T> {
    pub device: T,
    pub why: String,
    /// The device that was asked for could not be used.
    pub fell_back: bool,
}

/// Applies the policy. `open` opens a named device or returns one line on why it cannot; `cpu` opens
/// the CPU, which always works.
///
/// # Errors
/// [`ChoiceError`] where the policy leaves nothing to use.
pub fn choose<T>(
    choice: &Choice,
    fallback: Option<Fallback>,
    open: impl Fn(&Choice) -> Result<T, String>,
    cpu: impl FnOnce() -> T,
) -> Result<Chosen<T>, ChoiceError> {
    if fallback == Some(Fallback::Off) && !choice.is_accelerator() {
        let why = "fallback = off uses the CPU alone".to_owned();
        return Ok(Chosen { device: cpu(), why, fell_back: false });
    }
    let named = |device: &Choice| format!("{device} was asked for");
    match choice {
        Choice::Cpu => Ok(Chosen { device: cpu(), why: named(choice), fell_back: false }),
        Choice::Auto => {
            let first = Choice::Cuda(Selector::Index(0));
            match open(&first) {
                Ok(device) => {
                    let why = format!("{first} is the best device found");
                    Ok(Chosen { device, why, fell_back: false })
                }
                Err(reason) => {
                    let reasons = format!("{first}: {reason}");
                    if fallback == Some(Fallback::Require) {
                        return Err(ChoiceError::NoAccelerator { reasons });
                    }
                    Ok(Chosen { device: cpu(), why: reasons, fell_back: false })
                }
            }
        }
        Choice::Cuda(_) | Choice::Wgpu(_) | Choice::Icicle(_) => match open(choice) {
            Ok(device) => Ok(Chosen { device, why: named(choice), fell_back: false }),
            Err(reason) if fallback == Some(Fallback::Prefer) => {
                Ok(Chosen { device: cpu(), why: format!("{choice}: {reason}"), fell_back: true })
            }
            Err(reason) => Err(ChoiceError::Unusable { device: choice.to_string(), reason }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(choice: &str, fallback: Option<Fallback>, present: &[&str]) -> Result<String, String> {
        let choice: Choice = choice.parse()?;
        let open = |wanted: &Choice| {
            let name = wanted.to_string();
            if present.contains(&name.as_str()) { Ok(name) } else { Err("absent".to_owned()) }
        };
        match choose(&choice, fallback, open, || "cpu".to_owned()) {
            Ok(chosen) if chosen.fell_back => Ok(format!("{} for want of it", chosen.device)),
            Ok(chosen) => Ok(chosen.device),
            Err(error) => Err(error.code().to_owned()),
        }
    }

    #[test]
    fn each_policy_leads_where_its_help_says() {
        use Fallback::{Off, Prefer, Require};
        let gpu: &[&str] = &["cuda:0", "wgpu:1"];
        let none: &[&str] = &[];
        let ok = |text: &str| Ok(text.to_owned());
        let fails = |code: &str| Err(code.to_owned());
        for (choice, fallback, present, expected) in [
            ("auto", None, gpu, ok("cuda:0")),
            ("auto", None, none, ok("cpu")),
            ("auto", Some(Require), none, fails("AGT-033")),
            ("auto", Some(Require), gpu, ok("cuda:0")),
            ("auto", Some(Off), gpu, ok("cpu")),
            ("cpu", None, gpu, ok("cpu")),
            ("cpu", Some(Off), gpu, ok("cpu")),
            ("cuda:0", None, gpu, ok("cuda:0")),
            ("cuda:1", None, gpu, fails("AGT-032")),
            ("cuda:1", Some(Require), gpu, fails("AGT-032")),
            ("cuda:1", Some(Prefer), gpu, ok("cpu for want of it")),
            ("wgpu:1", None, gpu, ok("wgpu:1")),
            ("icicle:0", None, gpu, fails("AGT-032")),
        ] {
            assert_eq!(run(choice, fallback, present), expected, "{choice} {fallback:?}");
        }
    }

    #[test]
    fn a_device_reads_as_it_is_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:GPU-8f1", "wgpu:3", "wgpu:llvmpipe", "icicle:1"]
        {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(Selector::Index(0))));
        for text in ["", "gpu", "cuda:", "cpu:1", "auto:0", "CUDA:0"] {
            let error = text.parse::<Choice>().unwrap_err();
            assert_eq!(error, "expected auto, cpu, cuda:N, wgpu:N or icicle:N", "{text}");
        }
    }
}
