//! A value that never appears in output.

use std::fmt;

use crate::values::Guarded;

/// A secret, given in the settings as a reference: `file:PATH` or `env:NAME`.
///
/// The reference may be shown and is what [`Debug`](fmt::Debug) shows; the value is read while the settings are
/// parsed, and leaves only through [`Secret::reveal`]. A literal value is refused
/// everywhere, since files get copied and command lines are public on the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    reference: String,
    value: String,
}

impl Secret {
    /// A secret made in the process itself, shown as `generated`. It cannot be read back from
    /// printed settings.
    pub fn generated(value: impl Into<String>) -> Self {
        Self { reference: "generated".into(), value: value.into() }
    }

    /// The value. Hand it to the one place that needs it and keep no copy.
    pub fn reveal(&self) -> &str {
        &self.value
    }

    fn resolve(reference: String) -> Result<Self, String> {
        let value = if let Some(path) = reference.strip_prefix("file:") {
            std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read the secret in {path}: {error}"))?
        } else if let Some(name) = reference.strip_prefix("env:") {
            std::env::var(name)
                .map_err(|_| format!("the secret's variable {name} is not set or not UTF-8"))?
        } else {
            // The value is not repeated: it may be the secret itself.
            return Err("expected file:PATH or env:NAME; a secret is never given literally".into());
        };
        let value = value.trim_end_matches(['\r', '\n']).to_owned();
        if value.is_empty() {
            return Err(format!("the secret at {reference} is empty"));
        }
        Ok(Self { reference, value })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.reference)
    }
}

impl std::str::FromStr for Secret {
    type Err = Guarded;

    fn from_str(reference: &str) -> Result<Self, Guarded> {
        Self::resolve(reference.to_owned()).map_err(Guarded)
    }
}
