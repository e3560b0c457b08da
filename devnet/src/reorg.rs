//! Reorganisations of the local L1.

use std::time::Duration;

use rollmill_l1::L1Client;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::anvil::ReorgOptions;
use rollmill_l1::alloy::transports::TransportError;
use tokio::time::{Instant, sleep};

/// anvil's error for a state that it does not have: `DataUnavailable` of its backend.
const NO_STATE: i64 = -32001;
/// How long anvil may take to write a state.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// Replaces the newest `depth` blocks of anvil by as many empty ones.
///
/// anvil keeps the states of its newest blocks in memory and writes those before them to disk, in a task that it does
/// not wait for. A block whose state is still being written is asked for again.
///
/// # Errors
/// What anvil answered, at once or after [`LIMIT`].
pub(crate) async fn reorganise(l1: &L1Client, depth: u64) -> Result<(), TransportError> {
    let start = Instant::now();
    loop {
        let options = ReorgOptions { depth, tx_block_pairs: Vec::new() };
        match l1.provider().anvil_reorg(options).await {
            Err(error) if is_being_written(&error) && start.elapsed() < LIMIT => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

fn is_being_written(error: &TransportError) -> bool {
    error.as_error_resp().is_some_and(|answer| answer.code == NO_STATE)
}
