//! Passes client proofs of attested blocks on to the node.

use std::sync::Arc;

use rollmill_node::{BlockSigner, Node};
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::Fr;
use rollmill_service::Shutdown;
use rollmill_validator_client::Proposal;

use crate::error::AttestError;

/// Whenever the chain moves, gives the node the client proofs that it lacks of blocks that were signed here, until
/// `shutdown` starts. The node keeps them until L1 has finalized a proof of the block, and serves them: a proposer
/// that shows the proofs to its committee only cannot make a block that nobody is able to prove.
pub async fn keep_proofs(node: Arc<Node>, signer: Arc<BlockSigner>, shutdown: Shutdown) {
    let mut tips = node.watch_tips();
    loop {
        tips.mark_unchanged();
        let (node, signer) = (Arc::clone(&node), Arc::clone(&signer));
        let kept = tokio::task::spawn_blocking(move || keep(&node, &signer)).await;
        match kept {
            Ok(Ok(0)) => {}
            Ok(Ok(txs)) => tracing::info!(txs, "client proofs of attested blocks kept"),
            Ok(Err(error)) => tracing::warn!(%error, "client proofs of attested blocks not kept"),
            Err(error) => tracing::error!(%error, "keeping client proofs panicked"),
        }
        tokio::select! {
            () = shutdown.started() => return,
            changed = tips.changed() => if changed.is_err() { return },
        }
    }
}

/// The number of transactions that the node has got.
fn keep(node: &Node, signer: &BlockSigner) -> Result<usize, AttestError> {
    let mut kept = 0;
    for (block, missing) in node.missing_proofs() {
        let Some(record) = node.block_record(BlockRef::Number(block))? else { continue };
        let Some(bytes) = signer.proposal(record.header.slot)? else { continue };
        // What was signed was read before.
        let Ok(proposal) = Proposal::from_bytes(&bytes) else { continue };
        kept += of_proposal(node, proposal, &missing);
    }
    Ok(kept)
}

fn of_proposal(node: &Node, proposal: Proposal, missing: &[Fr]) -> usize {
    let txs = proposal.txs.into_iter().filter(|tx| missing.contains(&tx.hash()));
    let kept = txs.map(|tx| node.keep_included(tx)).filter(|result| match result {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "client proof of an attested block not kept");
            false
        }
    });
    kept.count()
}
