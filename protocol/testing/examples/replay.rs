//! Plays the blocks that the Python model writes to standard input, and says what was in them:
//! `python3 protocol/tests/vectors/model2.py --random SEED N | cargo run -p rollmill-protocol-testing --example replay`.

use std::collections::BTreeMap;
use std::io::BufRead;

use rollmill_protocol_testing::model::Player;

fn main() {
    let mut player: Option<Player> = None;
    for line in std::io::stdin().lock().lines() {
        let line = serde_json::from_str(&line.expect("a line")).expect("JSON");
        match &mut player {
            None => player = Some(Player::new(&line)),
            Some(player) => drop(player.block(&line)),
        }
    }
    let seen = player.expect("a genesis").seen;
    let mut rules = BTreeMap::new();
    for rule in &seen.rejected {
        *rules.entry(rule.as_str()).or_insert(0) += 1;
    }
    println!(
        "{} blocks, {} transactions: {} paid from balances, {} of them new, {} claims, {} withdrawals; {} messages \
         from L1",
        seen.blocks,
        seen.txs,
        seen.payers,
        seen.new_slots,
        seen.claims,
        seen.withdrawals,
        seen.messages
    );
    println!("{} rejected: {rules:?}", seen.rejected.len());
}
