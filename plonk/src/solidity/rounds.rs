//! The parts of the Solidity verifier that follow from the schedule of a proof: its transcript, and the order of
//! the commitments.

use std::fmt::Write;

use super::{POINT, WORD};
use crate::schedule::{
    CLAIM_ORDER, CLAIMS, COMMITMENTS, Challenge, Group, Message, OPENINGS, ROUNDS, Round,
};

// The template absorbs key and public inputs with the first round, copies W and W′ at once, and interpolates
// over one, two and three points.
const _: () = {
    assert!(matches!(ROUNDS[0].sends, Message::Points(_)));
    assert!(Group::Opening.point() == COMMITMENTS);
    assert!(Group::OpeningAtZPrime.point() == COMMITMENTS + 1);
    assert!(OPENINGS.len() == 3);
    assert!(OPENINGS[0].points == 1 && OPENINGS[1].points == 2 && OPENINGS[2].points == 3);
};

const INDENT: &str = "                ";

/// Sets the placeholders that the schedule fills.
pub(super) fn set(set: &mut dyn FnMut(&str, String)) {
    let mut sent = 0;
    let mut before = String::new();
    let mut after = String::new();
    let mut is_after = false;
    for (number, round) in ROUNDS.iter().enumerate() {
        let lines = if is_after { &mut after } else { &mut before };
        match round.sends {
            // The template's own, as is what it draws.
            Message::Evaluations => {
                assert_eq!(round.draws, [Challenge::Rho], "the template draws short values");
                is_after = true;
                continue;
            }
            // With the key and the public inputs before it.
            Message::Points(_) if number == 0 => {
                set("FIRST_ROUND_BYTES", format!("{:#x}", round.points() * POINT));
                set("FIRST_MESSAGE_BYTES", format!("{:#x}", 2 * WORD + round.points() * POINT));
            }
            Message::Points(_) => line(lines, &absorb(sent, round)),
        }
        draw(lines, round);
        sent += round.points();
    }
    set("ROUNDS_BEFORE", before);
    set("ROUNDS_AFTER", after);
    // Two short values come out of each state, so the last may be one too many.
    let end = if CLAIMS.is_multiple_of(2) { "SCALARS_W" } else { "SCALARS_W_PRIME" };
    set("SHORT_END", end.to_owned());
    set("AT_W_PRIME", in_proof(Group::OpeningAtZPrime.point()));
    for (i, opening) in OPENINGS.iter().enumerate() {
        set(&format!("STRIDE_{}", i + 1), format!("{:#x}", opening.points * WORD));
    }
    let mut copies = [String::new(), String::new()];
    for i in 0..OPENINGS.len() {
        copy(i, &mut copies);
    }
    let [before, after] = copies;
    set("COPIES_BEFORE", before);
    set("COPIES_AFTER", after);
}

fn line(to: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(to, "{INDENT}{text}");
}

/// The calldata address of a point of the proof.
fn in_proof(point: usize) -> String {
    let add = |to: &str, offset: usize| match offset {
        0 => to.to_owned(),
        _ => format!("add({to}, {offset:#x})"),
    };
    match point.checked_sub(COMMITMENTS) {
        None if point == 0 => "at".to_owned(),
        None => format!("add(at, {:#x})", point * POINT),
        Some(opening) => {
            let offset = match opening {
                0 => "AT_OPENING".to_owned(),
                _ => add("AT_OPENING", opening * POINT),
            };
            format!("add(at, {offset})")
        }
    }
}

fn absorb(first: usize, round: &Round) -> String {
    format!("state := absorb(state, {}, {:#x})", in_proof(first), round.points() * POINT)
}

/// The statement that absorbs the round that sends `group`; not of the first round.
#[cfg(feature = "weaken")]
pub(super) fn absorbs(group: Group) -> String {
    let mut sent = 0;
    for round in ROUNDS {
        if matches!(round.sends, Message::Points(groups) if groups.contains(&group)) {
            return absorb(sent, round);
        }
        sent += round.points();
    }
    unreachable!("no round sends {group:?}")
}

fn draw(to: &mut String, round: &Round) {
    for (i, challenge) in round.draws.iter().enumerate() {
        if i > 0 {
            line(to, "state := next(state)");
        }
        line(to, &format!("mstore({}, and(state, MASK_253))", word(*challenge)));
    }
}

/// The constant with a challenge's address.
fn word(challenge: Challenge) -> &'static str {
    match challenge {
        Challenge::Eta => "ETA",
        Challenge::Beta => "BETA",
        Challenge::Gamma => "GAMMA",
        Challenge::Alpha => "ALPHA",
        Challenge::Zeta => "ZETA",
        Challenge::ZPrime => "Z_PRIME",
        Challenge::Fold => "FOLD",
        Challenge::Rho => unreachable!("the short values have a word each"),
    }
}

/// Copies a set's commitments to the addresses of the claims; the template adds the key's between the two parts.
fn copy(set: usize, [before, after]: &mut [String; 2]) {
    let start = match set {
        0 => "POINTS".to_owned(),
        _ => format!("POINTS_{}", set + 1),
    };
    let first = CLAIM_ORDER.iter().position(|claim| claim.set == set).expect("no set is empty");
    for (i, claim) in CLAIM_ORDER.iter().enumerate() {
        if claim.set != set || claim.column != 0 || claim.group == Group::Fixed {
            continue;
        }
        let to = match i - first {
            0 => start.clone(),
            offset => format!("add({start}, {:#x})", offset * POINT),
        };
        let bytes = claim.group.count() * POINT;
        let from = in_proof(claim.group.point());
        let lines = if i < first_fixed() { &mut *before } else { &mut *after };
        let _ = writeln!(lines, "            calldatacopy({to}, {from}, {bytes:#x})");
    }
}

/// Number of the claim of the first fixed column.
pub(super) fn first_fixed() -> usize {
    let is_fixed = |claim: &crate::schedule::Claim| claim.group == Group::Fixed;
    CLAIM_ORDER.iter().position(is_fixed).expect("a set opens the fixed columns")
}
