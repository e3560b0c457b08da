//! What of a deployment is on L1: a file that is written before the first transaction and after each one.

use std::path::{Path, PathBuf};

use rollmill_l1::alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{DeployError, Plan};

/// Name of the journal in the folder of a deployment.
pub const JOURNAL_FILE: &str = "deploy-journal.json";
const FORMAT: u64 = 1;

/// A step that is in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    pub tx_hash: B256,
    pub l1_block: u64,
    pub gas: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    /// Digest of recipient and input.
    digest: String,
    done: Option<Done>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u64,
    chain_id: u64,
    account: Address,
    first_nonce: u64,
    /// L1's head before the first transaction.
    l1_start: u64,
    steps: Vec<Row>,
}

/// The journal of one deployment.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    contents: Contents,
}

impl Journal {
    /// Reads the journal in a folder; `None` if there is none.
    ///
    /// # Errors
    /// [`DeployError::File`], [`DeployError::Journal`].
    pub fn open(folder: &Path) -> Result<Option<Self>, DeployError> {
        let path = folder.join(JOURNAL_FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(DeployError::file("read", &path))?,
        };
        let wrong = |why: String| DeployError::Journal { path: path.clone(), why };
        let contents: Contents =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if contents.format != FORMAT {
            return Err(wrong(format!("format {FORMAT} expected, got {}", contents.format)));
        }
        Ok(Some(Self { path, contents }))
    }

    /// Begins a journal, before anything is sent.
    ///
    /// # Errors
    /// [`DeployError::File`].
    pub fn begin(
        folder: &Path,
        chain_id: u64,
        plan: &Plan,
        l1_start: u64,
    ) -> Result<Self, DeployError> {
        let row =
            |step: &crate::Step| Row { id: step.id.clone(), digest: step.digest(), done: None };
        let steps = plan.steps.iter().map(row).collect();
        let (account, first_nonce) = (plan.account, plan.first_nonce);
        let contents = Contents { format: FORMAT, chain_id, account, first_nonce, l1_start, steps };
        let journal = Self { path: folder.join(JOURNAL_FILE), contents };
        journal.write()?;
        Ok(journal)
    }

    /// Nonce of the first step.
    pub fn first_nonce(&self) -> u64 {
        self.contents.first_nonce
    }

    /// A block of L1 before every step: L1's head when the journal was started, or an earlier one if a reorg moved a step
    /// before that.
    pub fn l1_start(&self) -> u64 {
        let done = self.contents.steps.iter().filter_map(|row| row.done.as_ref());
        let first = done.map(|done| done.l1_block.saturating_sub(1)).min();
        first.unwrap_or(u64::MAX).min(self.contents.l1_start)
    }

    /// What is known of a step.
    pub fn done(&self, step: usize) -> Option<&Done> {
        self.contents.steps.get(step)?.done.as_ref()
    }

    /// The number of steps that are in a block.
    pub fn count(&self) -> usize {
        self.contents.steps.iter().filter(|row| row.done.is_some()).count()
    }

    /// Requires that the journal was started with this account on this chain.
    ///
    /// # Errors
    /// [`DeployError::JournalOther`].
    pub fn require_account(&self, chain_id: u64, account: Address) -> Result<(), DeployError> {
        let other = |what: String| DeployError::JournalOther { path: self.path.clone(), what };
        if self.contents.chain_id != chain_id {
            return Err(other(format!("chain ID, {}", self.contents.chain_id)));
        }
        match self.contents.account == account {
            true => Ok(()),
            false => Err(other(format!("account, {}", self.contents.account))),
        }
    }

    /// Requires that the journal was started with this plan.
    ///
    /// # Errors
    /// [`DeployError::JournalOther`] names the first step that differs.
    pub fn require(&self, plan: &Plan) -> Result<(), DeployError> {
        let rows = &self.contents.steps;
        let differs = rows
            .iter()
            .zip(&plan.steps)
            .find(|(row, step)| row.id != step.id || row.digest != step.digest());
        let what = match differs {
            Some((row, _)) => format!("step {} (other facts, keys or release)", row.id),
            None if rows.len() != plan.steps.len() => {
                format!("number of steps, {} (other facts)", rows.len())
            }
            None => return Ok(()),
        };
        Err(DeployError::JournalOther { path: self.path.clone(), what })
    }

    /// Records that a step is in a block.
    ///
    /// # Errors
    /// [`DeployError::File`].
    pub(crate) fn record(&mut self, step: usize, done: Done) -> Result<(), DeployError> {
        if let Some(row) = self.contents.steps.get_mut(step) {
            row.done = Some(done);
        }
        self.write()
    }

    fn write(&self) -> Result<(), DeployError> {
        // Texts and numbers, which always make JSON.
        let text = serde_json::to_string_pretty(&self.contents).unwrap_or_default();
        crate::file::replace(&self.path, text.as_bytes())
    }
}
