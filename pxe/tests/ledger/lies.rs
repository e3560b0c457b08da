//! What a node may answer in place of the truth.

use rollmill_node_client::wire::{BlockEffects, Request};
use rollmill_protocol::block::txs_chain;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{BlockData, Fr, TxEffects};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Changes the answer to a request.
pub(crate) type Lie = Box<dyn FnMut(&Request, &mut Value) + Send>;

/// A lie about what one method returns.
pub(crate) fn about<T: Serialize + DeserializeOwned + 'static>(
    method: &'static str,
    mut change: impl FnMut(&mut T) + Send + 'static,
) -> Lie {
    Box::new(move |request: &Request, answer: &mut Value| {
        if request.method == method {
            let mut value: T = serde_json::from_value(answer.clone()).unwrap();
            change(&mut value);
            *answer = json!(value);
        }
    })
}

/// The block with other contents, of which its header says nothing.
fn changed(block: &BlockEffects, change: impl FnOnce(&mut BlockData)) -> BlockEffects {
    let mut data = block.decode().unwrap();
    change(&mut data);
    BlockEffects { data: data.to_bytes(), ..block.clone() }
}

/// Leaves out the logs of a transaction, and what its effects say of them.
fn without_logs(block: &mut BlockData) {
    let none = [Fr::from(0u64); SLOTS];
    for tx in &mut block.txs {
        tx.logs.clear();
        (tx.effects.tags, tx.effects.log_hashes) = (none, none);
    }
}

/// A block that no chain has: this one without its logs, with a header that fits.
pub(crate) fn made_up(block: &BlockEffects) -> BlockEffects {
    let mut data = block.decode().unwrap();
    without_logs(&mut data);
    let hashes = TxEffects::tx_hashes(data.txs.iter().map(|tx| &tx.effects));
    data.header.txs_chain = txs_chain(&hashes);
    BlockEffects::of(&data)
}

/// A way to change a list of blocks.
pub(crate) type OfBlocks = fn(&mut Vec<BlockEffects>);

/// Changes of a list of two blocks that show by themselves. The first block has a transaction with logs.
pub(crate) const IMPOSSIBLE: [(&str, OfBlocks); 8] = [
    ("another hash", |blocks| blocks[0].header_hash += Fr::from(1u64)),
    ("another number", |blocks| blocks[0].block_number += 1),
    ("no logs", |blocks| {
        blocks[0] = changed(&blocks[0], |block| block.txs[0].logs.clear());
    }),
    ("no logs, and effects that say so", |blocks| {
        blocks[0] = changed(&blocks[0], without_logs);
    }),
    ("no transactions", |blocks| blocks[0] = changed(&blocks[0], |block| block.txs.clear())),
    ("bytes are missing", |blocks| {
        blocks[0].data.pop();
    }),
    ("another order", |blocks| blocks.swap(0, 1)),
    ("the first one is missing", |blocks| {
        blocks.remove(0);
    }),
];
