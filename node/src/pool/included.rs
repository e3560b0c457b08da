//! Transactions of blocks that are not finally proven: which are stored, and which are missing.
//!
//! The transactions themselves, with their client proofs, stay on disk.

use std::collections::{BTreeMap, HashMap};

use rollmill_protocol::Fr;

use super::ChainView;
use super::record::Record;
use crate::error::NodeError;
use crate::store::Snapshot;

#[derive(Debug, Clone, Copy)]
struct Place {
    block: u64,
    /// The header that the client proof refers to.
    anchor: Fr,
}

#[derive(Debug, Default)]
pub(super) struct Included {
    places: HashMap<Fr, Place>,
    /// Transactions of unproven blocks whose client proofs are missing, by block.
    missing: BTreeMap<u64, Vec<Fr>>,
    /// The last block that `missing` covers.
    followed: Option<u64>,
}

impl Included {
    pub(super) fn load(tables: &Snapshot) -> Result<Self, NodeError> {
        let mut included = Self::default();
        for (hash, bytes) in tables.included_entries()? {
            let record = Record::from_bytes(&hash, &bytes)?;
            let tx_hash = record.tx.hash();
            // The first refresh after a rewind returns a transaction without a block to the pool.
            let block = tables.tx_place(&tx_hash)?.map_or(u64::MAX, |(block, _)| block);
            included.add(tx_hash, block, record.tx.anchor_header_hash);
        }
        Ok(included)
    }

    pub(super) fn add(&mut self, tx_hash: Fr, block: u64, anchor: Fr) {
        self.places.insert(tx_hash, Place { block, anchor });
        if let Some(missing) = self.missing.get_mut(&block) {
            missing.retain(|hash| *hash != tx_hash);
            if missing.is_empty() {
                self.missing.remove(&block);
            }
        }
    }

    pub(super) fn contains(&self, tx_hash: &Fr) -> bool {
        self.places.contains_key(tx_hash)
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn missing(&self) -> &BTreeMap<u64, Vec<Fr>> {
        &self.missing
    }

    /// Transactions whose blocks were removed. The others' positions are updated.
    pub(super) fn without_block(&mut self, tables: &Snapshot) -> Result<Vec<Fr>, NodeError> {
        let mut back = Vec::new();
        for (hash, place) in &mut self.places {
            match tables.tx_place(hash)? {
                Some((block, _)) => place.block = block,
                None => back.push(*hash),
            }
        }
        Ok(back)
    }

    /// Follows the chain: `moved` were included, `back` are no longer. Returns those that can be
    /// deleted.
    pub(super) fn follow(
        &mut self,
        chain: &ChainView,
        moved: &[(Fr, Record)],
        back: &[Fr],
        rewound: bool,
    ) -> Result<Vec<Fr>, NodeError> {
        for hash in back {
            self.places.remove(hash);
        }
        for (hash, record) in moved {
            let block = chain.tables.tx_place(hash)?.map_or(u64::MAX, |(block, _)| block);
            self.places.insert(*hash, Place { block, anchor: record.tx.anchor_header_hash });
        }
        if rewound || self.followed.is_none() {
            self.missing.clear();
            self.followed = Some(chain.proven);
        }
        let from = self.followed.unwrap_or(chain.proven).max(chain.proven);
        for block in from + 1..=chain.pending {
            let mut missing = Vec::new();
            for hash in chain.tables.tx_hashes(block)? {
                if !self.has_proof(chain, &hash, block)? {
                    missing.push(hash);
                }
            }
            if !missing.is_empty() {
                self.missing.insert(block, missing);
            }
        }
        self.followed = Some(chain.pending);
        self.missing = self.missing.split_off(&(chain.proven + 1));
        let finished: Vec<Fr> = self
            .places
            .iter()
            .filter(|(_, place)| place.block <= chain.final_proven)
            .map(|(hash, _)| *hash)
            .collect();
        for hash in &finished {
            self.places.remove(hash);
        }
        Ok(finished)
    }

    /// Whether a transaction of `block` is stored with a proof about that block's past.
    fn has_proof(&self, chain: &ChainView, tx_hash: &Fr, block: u64) -> Result<bool, NodeError> {
        let Some(place) = self.places.get(tx_hash) else { return Ok(false) };
        let anchor = chain.tables.block_number(&place.anchor)?;
        Ok(anchor.is_some_and(|anchor| anchor < block))
    }

    pub(super) fn verified(&self, chain: &ChainView) -> u64 {
        let first = self.missing.keys().next();
        let before = first.map_or(chain.pending, |block| block.saturating_sub(1));
        before.max(chain.proven)
    }
}
