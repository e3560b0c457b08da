//! Messages from L1 in the database, those that no block has taken yet included.

use redb::ReadableTable;
use rollmill_protocol::Fr;
use rollmill_protocol::message::{MESSAGES_PER_BLOCK, first_message_index, message_block};

use super::{Bytes, Tables, Writer, fr_at, get, key, keys, u64_at, word};
use crate::error::NodeError;
use crate::l1_events::Message;

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredMessage {
    pub(crate) leaf: Fr,
    /// The L1 block with its event.
    pub(crate) l1_block: u64,
    /// Address and amount if it is a deposit.
    pub(crate) deposit: Option<(Fr, u64)>,
}

impl StoredMessage {
    fn value(&self) -> Vec<u8> {
        let mut value = key(&[&word(&self.leaf), &self.l1_block.to_be_bytes()]);
        if let Some((to, amount)) = &self.deposit {
            value.extend(key(&[&word(to), &amount.to_be_bytes()]));
        }
        value
    }

    fn from_value(value: &[u8]) -> Result<Self, NodeError> {
        let deposit = match value.len() > 40 {
            true => Some((fr_at(value, 40)?, u64_at(value, 72)?)),
            false => None,
        };
        Ok(Self { leaf: fr_at(value, 0)?, l1_block: u64_at(value, 32)?, deposit })
    }
}

fn deposit_key(to: &Fr, index: u64) -> Vec<u8> {
    key(&[&word(to), &index.to_be_bytes()])
}

impl<T: ReadableTable<Bytes, Bytes>> Tables<T> {
    /// The message with this index.
    pub(crate) fn message(&self, index: u64) -> Result<Option<StoredMessage>, NodeError> {
        let value = get(&self.messages, &index.to_be_bytes())?;
        value.map(|value| StoredMessage::from_value(&value)).transpose()
    }

    /// Leaves of the messages of a block, in order, as far as they are known.
    pub(crate) fn message_leaves(&self, block: u64) -> Result<Vec<Fr>, NodeError> {
        let Some(first) = first_message_index(block) else { return Ok(Vec::new()) };
        let from = first.to_be_bytes();
        let to = first.saturating_add(MESSAGES_PER_BLOCK as u64 - 1).to_be_bytes();
        let range = self.messages.range::<&[u8]>(&from[..]..=&to[..])?;
        range.map(|entry| fr_at(entry?.1.value(), 0)).collect()
    }

    /// The block that appends the newest message.
    pub(crate) fn last_message_block(&self) -> Result<Option<u64>, NodeError> {
        let newest = self.last_message()?;
        Ok(newest.map(|(index, _)| message_block(index)))
    }

    pub(super) fn last_message(&self) -> Result<Option<(u64, StoredMessage)>, NodeError> {
        let Some((index, value)) = self.messages.last()? else { return Ok(None) };
        Ok(Some((u64_at(index.value(), 0)?, StoredMessage::from_value(value.value())?)))
    }

    /// Index and amount of up to `limit` deposits to an address, by index from `from` on.
    pub(crate) fn deposits(
        &self,
        to: &Fr,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, NodeError> {
        // No message has the last index: the tree is lower.
        let found =
            keys(&self.deposits, &deposit_key(to, from), &deposit_key(to, u64::MAX), limit)?;
        found
            .iter()
            .map(|found| {
                let index = u64_at(found, 32)?;
                let message = self.message(index)?.and_then(|message| message.deposit);
                let deposit = message.ok_or_else(|| NodeError::corrupt("a deposit is missing"))?;
                Ok((index, deposit.1))
            })
            .collect()
    }
}

impl Writer<'_> {
    /// Appends a message of an L1 block: at the first index of a block, or behind another one of the same block.
    pub(crate) fn put_message(
        &mut self,
        l1_block: u64,
        message: &Message,
    ) -> Result<(), NodeError> {
        let Message { block, index, leaf, deposit } = *message;
        let inconsistent = |what: String| NodeError::Inconsistent { what };
        let first = first_message_index(block);
        let place = first.and_then(|first| index.checked_sub(first));
        let place = place.filter(|place| *place < MESSAGES_PER_BLOCK as u64);
        let place = place.ok_or_else(|| {
            inconsistent(format!("message {index} cannot be one of block {block}"))
        })?;
        if leaf == Fr::from(0u64) {
            return Err(inconsistent(format!("message {index} is absent")));
        }
        if self.message(index)?.is_some() {
            return Err(inconsistent(format!("message {index} was sent before")));
        }
        if place > 0 && self.message(index - 1)?.is_none() {
            return Err(inconsistent(format!("message {index} has none before it")));
        }
        let value = StoredMessage { leaf, l1_block, deposit }.value();
        self.messages.insert(index.to_be_bytes().as_slice(), value.as_slice())?;
        if let Some((to, _)) = deposit {
            self.deposits.insert(deposit_key(&to, index).as_slice(), [].as_slice())?;
        }
        Ok(())
    }

    /// Removes the messages of L1 blocks after `l1_block`. Indices rise with L1 blocks.
    pub(crate) fn undo_messages(&mut self, l1_block: u64) -> Result<(), NodeError> {
        loop {
            let Some((index, message)) = self.last_message()? else { return Ok(()) };
            if message.l1_block <= l1_block {
                return Ok(());
            }
            self.messages.remove(index.to_be_bytes().as_slice())?;
            if let Some((to, _)) = message.deposit {
                self.deposits.remove(deposit_key(&to, index).as_slice())?;
            }
        }
    }
}
