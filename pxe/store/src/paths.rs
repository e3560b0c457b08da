//! Forgets what only paths of spent notes need of the note tree.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_protocol::tree::frontier::{self, NOTE_SUBTREE_HEIGHT};

use crate::block::{FINALIZED, number};
use crate::error::StoreError;
use crate::file::Writer;
use crate::scope::Scope;
use crate::tables::{Accounts, Marks, Nodes, Notes, Nullified};

/// [`crate::Store::forget_paths`].
pub(crate) fn forget(
    writer: &mut Writer<'_>,
    scope: &Scope,
    keep: &BTreeSet<u64>,
) -> Result<usize, StoreError> {
    for (account, _) in writer.rows.all::<Accounts>()? {
        scope.check(&account)?;
    }
    let Some(finalized) = number(writer, FINALIZED)? else { return Ok(0) };
    let spent = spent(writer, scope, finalized)?;
    let (mut marks, mut removed) = (BTreeSet::new(), 0usize);
    for (position, _) in writer.rows.all::<Marks>()? {
        // Why a subtree without a known note is marked the store does not know, so it stays.
        if spent.get(&position) == Some(&true) && !keep.contains(&position) {
            writer.remove::<Marks>(&position)?;
            removed = removed.saturating_add(1);
        } else {
            marks.insert(position);
        }
    }
    if removed == 0 {
        return Ok(0);
    }
    // A node of a block that is not final stays in the list of what vanishes with the block, which does no harm.
    for ((level, index), _) in writer.rows.all::<Nodes>()? {
        if !frontier::is_needed(&marks, level, index) {
            writer.remove::<Nodes>(&(level, index))?;
        }
    }
    Ok(removed)
}

/// For each subtree with known notes of these accounts, whether the nullifiers of all of them are final.
fn spent(
    writer: &Writer<'_>,
    scope: &Scope,
    finalized: u64,
) -> Result<BTreeMap<u64, bool>, StoreError> {
    let mut spent = BTreeMap::new();
    for account in scope.accounts() {
        for ((_, leaf_index), note) in writer.rows.list::<Notes>(account)? {
            let block = writer.rows.get::<Nullified>(&(*account, note.nullifier))?;
            let is_final = block.is_some_and(|block| block <= finalized);
            let all = spent.entry(leaf_index >> NOTE_SUBTREE_HEIGHT).or_insert(true);
            *all &= is_final;
        }
    }
    Ok(spent)
}

#[cfg(test)]
mod tests {
    use rollmill_protocol::Fr;
    use rollmill_protocol::tree::Frontier;
    use rollmill_protocol::tx::SLOTS;

    use super::*;
    use crate::keys::MasterKeys;
    use crate::seal::Cost;
    use crate::store::{Header, Store};
    use crate::tables::{Account, Note};

    const COST: Cost = Cost { log_n: 1, r: 1, p: 1 };

    fn word(number: u64) -> Fr {
        Fr::from(number)
    }

    /// A note at a leaf, whose nullifier follows from it.
    fn note(leaf_index: u64) -> Note {
        Note {
            block: 0,
            tx_hash: word(1),
            contract: word(2),
            slot: word(3),
            kind: 1,
            content: vec![word(4)],
            unique: word(100 + leaf_index),
            nullifier: word(200 + leaf_index),
        }
    }

    fn positions(store: &Store) -> Vec<u64> {
        let scope = Scope::default();
        store.view(&scope).expect("a view").marks().expect("read").into_iter().collect()
    }

    fn nodes(store: &Store) -> BTreeSet<(u8, u64)> {
        let rows = store.rows().expect("rows").all::<Nodes>().expect("read");
        rows.into_iter().map(|(key, _)| key).collect()
    }

    /// Goal: marks and nodes go once the nullifiers of their notes are final, and not before, and what other notes need
    /// stays. Method: six blocks of one transaction each, of which every second one has a note.
    #[test]
    fn nodes_that_only_spent_notes_need_go_with_their_marks() {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::create(&folder.path().join("w.pxe"), "p", COST).expect("created");
        let account = Account(word(1));
        let (scope, marks) = (Scope::of([account]), BTreeSet::from([0, 2, 4]));
        let mut frontier = Frontier::new();
        for block in 1..=6u64 {
            let position = block - 1;
            let appended = [frontier.append(&[word(block); SLOTS]).expect("it fits")];
            let header = Header { number: block, hash: word(block), slot: block };
            store
                .read_block(&scope, &header, |step| {
                    if marks.contains(&position) {
                        step.note(&account, 8 * position, note(8 * position))?;
                    }
                    match block {
                        4 => step.nullify(&account, &note(0).nullifier)?,
                        6 => step.nullify(&account, &note(16).nullifier)?,
                        _ => false,
                    };
                    step.grow(&appended, &marks, &frontier)
                })
                .expect("read");
        }
        let none = BTreeSet::new();
        let forget = |keep: &BTreeSet<u64>| store.forget_paths(&scope, keep).expect("forgotten");
        assert_eq!(forget(&none), 0, "nothing is final");
        assert_eq!(nodes(&store), BTreeSet::from([(3, 1), (4, 1), (3, 3), (3, 5)]));
        store.finalize(4).expect("finalized");
        assert_eq!(forget(&none), 1);
        assert_eq!(positions(&store), [2, 4]);
        assert_eq!(nodes(&store), BTreeSet::from([(3, 3), (3, 5)]));
        store.finalize(6).expect("finalized");
        assert_eq!(forget(&BTreeSet::from([2])), 0, "it matters for another reason");
        assert_eq!(forget(&none), 1);
        assert_eq!((positions(&store), nodes(&store)), (vec![4], BTreeSet::from([(3, 5)])));
        assert_eq!(forget(&none), 0);
        // An account whose notes nobody has looked at.
        store.add_keys(&MasterKeys::generate(&mut rand::rngs::OsRng), "other").expect("added");
        let outside = store.forget_paths(&scope, &none).expect_err("not all accounts");
        assert_eq!(outside.code(), "PXS-009");
    }
}
