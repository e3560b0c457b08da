//! What a transaction of contracts shows, compared for two transfers that have nothing in common but the token.

use std::collections::BTreeSet;

use ark_ff::Zero;
use rollmill_protocol::field::to_bytes;
use rollmill_protocol::private::silo_note;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{BlockBody, Fr, Note, TxEffects};
use serde_json::json;

use super::nested::{max_fee, simulated, sponsor, sponsored};
use super::town::{Town, json};
use crate::contracts::*;
use crate::keys::Keys;
use crate::logs;

/// Who pays the fee.
#[derive(Clone, Copy, PartialEq)]
enum Payer {
    Own,
    Sponsor,
}

/// The transaction of one account that pays another out of its note, and what must not be seen in it.
fn transfer(
    (from, to): (usize, usize),
    amount: u64,
    payer: Payer,
) -> (SimulatedTransaction, Vec<Fr>) {
    let mut town = Town::new();
    town.hold(from);
    let arguments = json!({ "to": json(&town.accounts[to]), "amount": amount });
    let call = town.token_call("transfer", arguments);
    let request = match payer {
        Payer::Own => town.request(from, &[call]),
        Payer::Sponsor => {
            let limit = max_fee(&town);
            let pays = sponsored(&town, sponsor(&town, limit), limit);
            town.request_that(from, &[pays, call], false)
        }
    };
    let done = simulated(&town, &request).expect("a transaction");
    // An amount is a small number, which may be a part of other words: that the form does not depend on it, the test
    // compares.
    let mut secrets = vec![town.accounts[to], town.token];
    if payer == Payer::Sponsor {
        secrets.push(town.accounts[from]);
    }
    for keys in &town.keys {
        let keys = Keys::from_master(keys);
        secrets.extend([keys.nsk, keys.address().npk, keys.address().to_field()]);
    }
    secrets.extend(done.notes.iter().map(|note| note.leaf));
    for holder in [from, to] {
        let keys = Keys::from_master(&town.keys[holder]);
        for found in done.logs.iter().filter_map(|log| logs::decrypt(&keys, log)) {
            let (owner, value, randomness) = (town.accounts[holder], found.value, found.randomness);
            let hash = Note { owner, value, randomness }.hash();
            secrets.extend([randomness, hash, silo_note(&town.token, &hash)]);
        }
    }
    (done, secrets)
}

/// The effects without the words that look random, and without who pays.
fn form(effects: &TxEffects) -> TxEffects {
    let none = [Fr::zero(); SLOTS];
    TxEffects {
        nullifiers: none,
        note_hashes: none,
        tags: none,
        log_hashes: none,
        fee_payer: Fr::zero(),
        ..effects.clone()
    }
}

fn random(effects: &TxEffects) -> Vec<Fr> {
    [effects.nullifiers, effects.note_hashes, effects.tags, effects.log_hashes].concat()
}

/// Compares two transactions but for who pays.
fn compare(
    (one, of_one): (&SimulatedTransaction, Vec<Fr>),
    (two, of_two): (&SimulatedTransaction, Vec<Fr>),
) {
    assert_eq!(form(&one.effects), form(&two.effects));
    assert_eq!(one.calls().len(), two.calls().len());
    assert_eq!(one.logs.len(), two.logs.len());
    let (first, second) = (random(&one.effects), random(&two.effects));
    let present = |words: &[Fr]| words.iter().map(|word| !word.is_zero()).collect::<Vec<_>>();
    assert_eq!(present(&first), present(&second), "as many words in each place");
    let words: BTreeSet<Fr> = first.iter().copied().filter(|word| !word.is_zero()).collect();
    assert_eq!(words.len(), present(&first).iter().filter(|is| **is).count(), "no word twice");
    let bytes = |done: &SimulatedTransaction| {
        let body = BlockBody { effects: done.effects.clone(), logs: done.logs.clone() };
        body.to_bytes()
    };
    assert_eq!(bytes(one).len(), bytes(two).len());
    for (done, secrets) in [(one, of_one), (two, of_two)] {
        let bytes = bytes(done);
        for secret in secrets {
            let secret = to_bytes(&secret);
            let is_there = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!is_there, "{secret:?} is in the transaction");
        }
        // The one address that is declared is there, so the search finds what it looks for.
        let payer = to_bytes(&done.effects.fee_payer);
        assert!(bytes.windows(payer.len()).any(|window| window == payer));
    }
}

/// Goal: who sees a transfer of a token learns who pays its fee, and neither sender, recipient, amount nor token beyond
/// that. Method: two transfers in opposite directions with other amounts, and equal random numbers.
#[test]
fn a_transfer_of_a_token_has_one_form_but_for_who_pays() {
    let (one, of_one) = transfer((0, 1), 30, Payer::Own);
    let (two, of_two) = transfer((1, 0), 77, Payer::Own);
    assert_ne!(one.effects.fee_payer, two.effects.fee_payer, "each account pays for itself");
    compare((&one, of_one), (&two, of_two));
}

/// Goal: a sponsor hides that too. Method: as before, through account, sponsor and token.
#[test]
fn a_sponsored_transfer_of_a_token_has_one_form_whoever_pays_whom() {
    let (one, of_one) = transfer((0, 1), 30, Payer::Sponsor);
    let (two, of_two) = transfer((1, 0), 77, Payer::Sponsor);
    assert_eq!(one.effects.fee_payer, two.effects.fee_payer, "the sponsor pays for both");
    compare((&one, of_one), (&two, of_two));
}
