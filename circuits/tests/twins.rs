//! TxBase, TxMerge and BlockRoot state what their twins state of transactions that use every slot, and what an
//! independent model states of its blocks.

use rollmill_algebra::Fr;
use rollmill_circuits::block_root::{BlockInput, BlockRootWitness, variant};
use rollmill_circuits::tx_base::TxBaseWitness;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_protocol::{BlockRange, Circuit, ClientInputs, Pair, TxEffects, TxRange};
use rollmill_protocol_testing::model::{Played, Player, frs, key_leaves, vectors};
use serde_json::Value;

use crate::common::mutate::Mutator;
use crate::common::parts::{joined, lay_block_root, lay_tx_base, lay_tx_merge, runs};
use crate::common::{config, constants, full_block, opened_in, outcome, rows, value};

/// The public inputs of a circuit whose witness is valid.
fn stated(b: Builder) -> Vec<Fr> {
    let (layout, witness) = b.finish(None).unwrap();
    assert_eq!(check(&layout, &witness), Ok(()));
    witness.public
}

fn block_range(ranges: &[TxRange], w: &BlockRootWitness) -> Vec<Fr> {
    let ranges: Vec<_> = ranges.iter().map(TxRange::layout).collect();
    stated(lay_block_root(&ranges, w, [w.block.parent.layout(), w.block.header.layout()]))
}

/// Goal: every slot of a transaction is laid out. The words of its effects are all there, but for the one that must
/// be zero.
#[test]
fn transactions_that_use_every_slot_state_what_their_twins_state() {
    let case = full_block();
    for (i, info) in TxEffects::cell_infos().iter().enumerate() {
        let words = case.txs.iter().map(|(tx, _)| tx.effects().to_fields()[i]);
        let is_used = words.into_iter().any(|word| word != Fr::from(0u64));
        assert_eq!(is_used, info.name != "public_calls_hash", "{}", info.name);
    }
    for i in 0..case.txs.len() {
        let client = ClientInputs::of(&case.txs[i].0, constants().vk_root);
        let b = lay_tx_base(&case.tx_base_witness(i), client);
        let (layout, witness) = b.finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()), "transaction {i}");
        assert_eq!(witness.public, case.tx_range(i, constants()).to_fields());
        Mutator::new(layout, witness).run_from(3, 31);
    }
    let ranges = runs(case.tx_ranges(constants()));
    let link = case.block.chain_link(value(9, 1), &case.opening());
    let (pair, block) = (Pair::trivial(), &case.block);
    let native =
        BlockRange::of_block(&ranges, block, &link, constants(), &config(), &rows(), pair).unwrap();
    let w = case.block_root_witness(ranges.len(), value(9, 1));
    assert_eq!(block_range(&ranges, &w), native.to_fields());
}

/// Attacks in every slot: a nullifier that is not inserted, and a log that the blob has otherwise.
#[test]
fn no_slot_is_left_out() {
    let case = full_block();
    let rejected = |change: &dyn Fn(&mut TxBaseWitness)| {
        let mut w = case.tx_base_witness(0);
        change(&mut w);
        outcome(lay_tx_base(&w, ClientInputs::of(&case.txs[0].0, constants().vk_root))).is_err()
    };
    assert!(!rejected(&|_| ()));
    for slot in 0..8 {
        assert!(rejected(&|w| w.transition.effects.nullifiers[slot] = None), "nullifier {slot}");
        assert!(rejected(&|w| w.body.logs[slot][slot % 5] += Fr::from(1u64)), "log {slot}");
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Compares every proof of a block with the model's public inputs.
fn compare(player: &Player, line: &Value) -> impl FnOnce(Played) + use<> {
    let (constants, config) = (player.constants(), player.config());
    let range = |fields: &Value| TxRange::from_fields(&frs(fields)).unwrap();
    let base: Vec<TxRange> = list(&line["tx_base"]).iter().map(range).collect();
    let merges: Vec<TxRange> = list(&line["tx_merge"]).iter().map(range).collect();
    let clients: Vec<Vec<Fr>> = list(&line["client"]).iter().map(frs).collect();
    let expected = frs(&line["block_range"]);
    move |played: Played| {
        let Played { block, commitment, chain_before, txs } = played;
        let opening = block.opening(commitment);
        assert_eq!(txs.len(), base.len());
        for (i, (tx, transition)) in txs.into_iter().enumerate() {
            let client = ClientInputs::of(&tx, constants.vk_root);
            assert_eq!(client.to_fields(), clients[i]);
            let w = TxBaseWitness {
                constants,
                slot: block.header.slot,
                price: block.header.fee_per_gas(),
                z: opening.z,
                body: tx.body,
                transition,
            };
            assert_eq!(stated(lay_tx_base(&w, client)), base[i].to_fields(), "transaction {i}");
        }
        let mut merges = merges.into_iter();
        let ranges = joined(base, |left, right| {
            let merged = merges.next().expect("a merge");
            let stated = stated(lay_tx_merge(constants, &left.layout(), &right.layout()));
            assert_eq!(stated, merged.to_fields());
            merged
        });
        assert_eq!(merges.next(), None);
        let leaves = key_leaves();
        let charges = [Circuit::TxBase, Circuit::TxMerge, variant(ranges.len())];
        let charges = charges.map(|circuit| opened_in(&leaves, circuit));
        let input = BlockInput::new(constants, config, &block, commitment, chain_before);
        let stated = block_range(&ranges, &BlockRootWitness::new(input, charges));
        assert_eq!(stated, expected, "block {}", block.header.block_number);
    }
}

/// Blocks of 0, 1, 2, 3 and 7 transactions, of every kind that the model makes.
#[test]
fn the_proofs_of_the_models_blocks_state_what_the_model_states() {
    let vectors = vectors();
    let epoch = &vectors["epoch"];
    let mut player = Player::new(&epoch["genesis"]);
    let mut counts = Vec::new();
    for line in list(&epoch["blocks"]) {
        let compare = compare(&player, line);
        let played = player.block(line);
        counts.push(played.txs.len());
        compare(played);
    }
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts, [0, 1, 2, 3, 7]);
}
