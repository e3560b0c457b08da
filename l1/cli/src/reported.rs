//! Which transactions were reported to the user, in a file beside the journal.
//!
//! The journal makes a request that is repeated continue the first one. That is right for a command that died, and
//! wrong for one that is meant a second time. What tells them apart is whether the user has seen the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// The last reported attempt of each purpose.
#[derive(Debug)]
pub(crate) struct Reported {
    path: PathBuf,
    last: BTreeMap<String, u32>,
}

impl Reported {
    /// Opens the list that belongs to a journal. The journal's lock covers it.
    ///
    /// # Errors
    /// [`CliError::Reported`]
    pub(crate) fn open(journal: &Path) -> Result<Self, CliError> {
        let mut name = journal.file_name().unwrap_or_default().to_owned();
        name.push(".reported");
        let path = journal.with_file_name(name);
        let last = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|_| failure(&path, "it is damaged; move it away".to_owned()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(failure(&path, rollmill_errors::InWords(&error).to_string()));
            }
        };
        Ok(Self { path, last })
    }

    /// The attempt after the last one that was reported.
    pub(crate) fn next(&self, purpose: &str) -> u32 {
        self.last.get(purpose).map_or(0, |last| last.saturating_add(1))
    }

    /// Records that the user has seen the result of this attempt.
    ///
    /// # Errors
    /// [`CliError::Reported`]
    pub(crate) fn record(&mut self, purpose: &str, attempt: u32) -> Result<(), CliError> {
        self.last.insert(purpose.to_owned(), attempt);
        let write = || {
            let text = serde_json::to_string(&self.last)?;
            rollmill_files::write(&self.path, &[text.as_bytes()])
        };
        let words = |error| rollmill_errors::InWords(&error).to_string();
        write().map_err(|error: std::io::Error| failure(&self.path, words(error)))
    }
}

fn failure(path: &Path, why: String) -> CliError {
    CliError::Reported { path: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_across_openings_and_a_damaged_list_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("intents.json");
        let mut list = Reported::open(&journal).unwrap();
        assert_eq!(list.next("a"), 0);
        list.record("a", 3).unwrap();
        let list = Reported::open(&journal).unwrap();
        assert_eq!((list.next("a"), list.next("b")), (4, 0));
        std::fs::write(folder.path().join("intents.json.reported"), "x").unwrap();
        let error = Reported::open(&journal).unwrap_err();
        assert!(error.to_string().contains("intents.json.reported"), "{error}");
        assert_eq!(error.code(), "L1C-017");
    }
}
