//! The first version of the file of intents, which is still read so that an upgrade loses nothing.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use crate::fees::Fees;
use crate::intent::{self, Form, State};
use crate::sealed;

/// The contents of the file. The order of the fields is that of the digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    version: u32,
    chain_id: u64,
    genesis_hash: B256,
    account: Address,
    intents: Vec<Intent>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    id: String,
    nonce: u64,
    to: Option<Address>,
    value: U256,
    input: Bytes,
    gas_limit: u64,
    digest: B256,
    attempts: Vec<Attempt>,
    state: State,
}

#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    tx_hash: B256,
    fees: Fees,
    sent_at_block: u64,
}

impl Contents {
    /// Converts the intents: each id becomes a purpose, and the number after a `#` the attempt. Every
    /// form counts as contained in some pool.
    pub(crate) fn migrate(self) -> sealed::Contents {
        let form = |Attempt { tx_hash, fees, sent_at_block }| Form {
            tx_hash,
            fees,
            sent_at_block,
            in_pool: true,
            priced_out: false,
        };
        let name = |id: &str| match id.rsplit_once('#').map(|(name, n)| (name, n.parse())) {
            Some((purpose, Ok(attempt))) => (purpose.to_owned(), attempt),
            _ => (id.to_owned(), 0),
        };
        let intents = (1..).zip(self.intents).map(|(seq, old)| intent::Intent {
            seq,
            purpose: name(&old.id).0,
            attempt: name(&old.id).1,
            nonce: old.nonce,
            to: old.to,
            value: old.value,
            input: old.input,
            blob: None,
            gas_limit: old.gas_limit,
            gas_spare: 0,
            is_simulated: true,
            expires: None,
            fence: None,
            digest: old.digest,
            forms: old.attempts.into_iter().map(form).collect(),
            state: old.state,
            retired: None,
        });
        sealed::Contents {
            version: sealed::VERSION,
            chain_id: self.chain_id,
            genesis_hash: self.genesis_hash,
            account: self.account,
            intents: intents.collect(),
        }
    }
}
