//! A worker whose proofs are its inputs reversed, for tests of what surrounds the proving.

use std::sync::Arc;

use rollmill_agent::heartbeat::Cancel;
use rollmill_agent::{Prepared, Warmed, WorkError, WorkOutput, Worker};
use rollmill_broker_client::WorkStats;

/// What a check of a proof does in a test, with the input.
type Verifying = dyn Fn(&[u8]) + Send + Sync;
/// What a load ahead does in a test.
type Warming = dyn Fn(&Cancel) -> Warmed + Send + Sync;

/// See the module.
pub(crate) struct Reversing {
    /// Called after each proof.
    pub(crate) proven: Box<dyn Fn() + Send + Sync>,
    /// Called with the input before each proof is accepted.
    pub(crate) verifying: Box<Verifying>,
    /// Called for each load ahead.
    pub(crate) warming: Box<Warming>,
}

impl Default for Reversing {
    fn default() -> Self {
        Self {
            proven: Box::new(|| {}),
            verifying: Box::new(|_| {}),
            warming: Box::new(|_| Warmed::Nothing),
        }
    }
}

impl Worker for Reversing {
    fn circuits(&self) -> Vec<(String, String)> {
        vec![("leaf".into(), "v1".into())]
    }

    fn prepare(
        self: Arc<Self>,
        _kind: &str,
        input: &[u8],
        _cancel: &Cancel,
    ) -> Result<Prepared, WorkError> {
        let result = input.iter().rev().copied().collect();
        Ok(Box::new(move |_| {
            (self.proven)();
            Ok(WorkOutput { result, stats: WorkStats::default() })
        }))
    }

    fn warm(&self, cancel: &Cancel) -> Result<Warmed, WorkError> {
        Ok((self.warming)(cancel))
    }

    fn verify(&self, _kind: &str, input: &[u8], _result: &[u8]) -> Result<(), WorkError> {
        (self.verifying)(input);
        Ok(())
    }
}
