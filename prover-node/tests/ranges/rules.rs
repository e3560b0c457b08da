//! The rules one by one.

use rollmill_protocol::Fr;
use rollmill_prover_node::ranges::{
    Chain, Command, Effect, Entry, Finalized, GaveUp, Inclusion, Intent, Own, Parking, Policy,
    Proof, RangeBlock, Root, Row, Schedule, Sent, State, SubmitFailure, plan, step,
};

use crate::POLICY;

pub(crate) const EPOCH: u64 = 2;
/// Epochs of 35 seconds, and an L1 block each second: epoch 2 ends at 105, its proof is in time until 140 and
/// accepted until 155.
const SCHEDULE: Schedule = Schedule {
    genesis_time: 0,
    epoch_seconds: 35,
    proof_window_seconds: 35,
    challenge_seconds: 15,
};
const ACCEPTED_UNTIL: u64 = 155;

fn block(number: u64, hash: u64) -> RangeBlock {
    RangeBlock { number, header_hash: Fr::from(hash), l1_block: 100 + number }
}

fn finalized(at: u64, pending: u64, proven: u64) -> Option<Finalized> {
    Some(Finalized { l1_block: at, l1_time: at, pending, proven })
}

/// [`chain`] with L1 at this block.
fn chain_at(head: u64) -> Chain {
    Chain { l1_head: head, l1_time: head, ..chain() }
}

/// Blocks 4 to 6 of epoch 2, which is over; 3 is proven; L1 is at block 110.
fn chain() -> Chain {
    Chain {
        l1_head: 110,
        l1_time: 110,
        finalized: finalized(100, 3, 3),
        pending: 6,
        proven: 3,
        schedule: SCHEDULE,
        epochs: [(EPOCH, vec![block(4, 4), block(5, 5), block(6, 6)])].into(),
        lease: Some(9),
    }
}

fn root() -> Root {
    Root { digest: "r".into(), last: block(6, 6) }
}

pub(crate) fn inclusion() -> Inclusion {
    Inclusion { attempt: 1, tx_hash: "0x1".into(), l1_block: 111, gas_used: 1, fee_wei: 1 }
}

const INTENT: Intent = Intent { fence: 9, l1_block: 110 };

/// A frozen row with its root, in the given state.
pub(crate) fn row(state: State) -> Row {
    let mut row = Row::new(1, EPOCH, chain().epochs[&EPOCH].clone());
    row.frozen = true;
    row.accepted_until = Some(ACCEPTED_UNTIL);
    row.root = (!matches!(state, State::Planned | State::Proving)).then(root);
    row.state = state;
    row
}

fn good() -> Own {
    Own { place: true, gathered: true, root_readable: true, ..Own::default() }
}

fn to(row: &Row, chain: &Chain, own: &Own) -> (State, Vec<Effect>) {
    let done = step(row, chain, own, &POLICY);
    (done.row.state, done.effects)
}

fn parked(parking: Parking) -> State {
    State::Parked { parking, intent: None }
}

/// Every state that is not an end, with a row that may be in it.
pub(crate) fn live() -> Vec<Row> {
    vec![
        row(State::Planned),
        row(State::Proving),
        row(State::RootReady),
        row(State::Submitting { intent: INTENT }),
        row(State::Included { inclusion: inclusion(), intent: INTENT }),
        row(parked(Parking::Stale)),
        row(parked(Parking::Covered)),
        row(parked(Parking::Late)),
        row(parked(Parking::Operator { reason: "x".into() })),
    ]
}

#[test]
fn a_range_starts_at_its_epochs_first_block_whatever_is_proven() {
    let mut chain = chain();
    chain.proven = 4;
    let rows = plan(&[], &chain, &POLICY, 7);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].id, rows[0].first(), rows[0].last()), (7, 4, 6));
    assert!(plan(&rows, &chain, &POLICY, 8).is_empty(), "planned twice");
    chain.proven = 6;
    assert!(plan(&[], &chain, &POLICY, 7).is_empty(), "nothing is unproven");
}

#[test]
fn a_planned_range_grows_with_its_epoch_and_is_frozen_with_its_end() {
    let mut chain = chain_at(104);
    let all = chain.epochs[&EPOCH].clone();
    chain.epochs.insert(EPOCH, all[..1].to_vec());
    let mut row = plan(&[], &chain, &POLICY, 1).remove(0);
    for count in 1..=3 {
        chain.epochs.insert(EPOCH, all[..count].to_vec());
        row = step(&row, &chain, &Own { gathered: true, ..Own::default() }, &POLICY).row;
        assert_eq!((row.last(), row.frozen), (3 + count as u64, false));
    }
    (chain.l1_head, chain.l1_time) = (105, 105);
    row = step(&row, &chain, &good(), &POLICY).row;
    assert_eq!((row.last(), row.frozen, row.state.clone()), (6, true, State::Proving));
}

#[test]
fn prefixes_are_cut_and_the_next_range_is_longer() {
    let policy = Policy { prefix_blocks: 2, ..POLICY };
    let chain = chain_at(104);
    let first = plan(&[], &chain, &policy, 1).remove(0);
    let first = step(&first, &chain, &Own::default(), &policy).row;
    assert_eq!((first.first(), first.last(), first.frozen), (4, 5, true));
    let next = plan(std::slice::from_ref(&first), &chain, &policy, 2).remove(0);
    assert_eq!((next.first(), next.last(), next.frozen), (4, 6, false));
    assert!(plan(&[first, next.clone()], &chain, &policy, 3).is_empty(), "it may grow");
    // It ends with the epoch, or with the next multiple.
    let more = Chain {
        epochs: [(EPOCH, (4..=9).map(|n| block(n, n)).collect())].into(),
        pending: 9,
        ..chain
    };
    let grown = step(&next, &more, &Own::default(), &policy).row;
    assert_eq!((grown.first(), grown.last(), grown.frozen), (4, 7, true));
    let last = plan(&[grown], &more, &policy, 3).remove(0);
    assert_eq!((last.first(), last.last()), (4, 9));
}

/// Goal: a reorg may move a block into an epoch, in front of a range that is there already.
#[test]
fn a_gap_before_a_range_is_planned() {
    let mut tail = row(State::RootReady);
    tail.blocks.remove(0);
    let rows = plan(&[tail], &chain(), &POLICY, 2);
    assert_eq!((rows[0].first(), rows[0].last()), (4, 6));
}

#[test]
fn no_more_ranges_are_proven_than_there_are_places() {
    let own = Own { place: false, ..good() };
    assert_eq!(to(&row(State::Planned), &chain(), &own), (State::Planned, vec![]));
}

#[test]
fn a_range_whose_transactions_are_missing_takes_no_place() {
    let own = Own { gathered: false, ..good() };
    assert_eq!(to(&row(State::Planned), &chain(), &own), (State::Planned, vec![Effect::Gather]));
}

#[test]
fn a_restarted_process_goes_on_proving() {
    assert_eq!(to(&row(State::Proving), &chain(), &good()), (State::Proving, vec![Effect::Prove]));
}

#[test]
fn a_root_for_other_blocks_is_not_taken() {
    let other = Root { last: block(6, 66), ..root() };
    let own = Own { proof: Proof::Ready(other), ..good() };
    assert_eq!(to(&row(State::Proving), &chain(), &own), (State::Proving, vec![Effect::Prove]));
}

#[test]
fn a_root_leads_to_an_intent_that_is_written_before_it_is_sent() {
    let own = Own { proof: Proof::Ready(root()), root_readable: false, ..good() };
    let done = step(&row(State::Proving), &chain(), &own, &POLICY);
    assert_eq!(done.row.root, Some(root()));
    assert_eq!(done.row.state, State::Submitting { intent: INTENT });
    assert_eq!(done.effects, vec![Effect::Stop, Effect::Submit]);
}

#[test]
fn a_dry_run_sends_nothing() {
    let policy = Policy { dry_run: true, ..POLICY };
    let done = step(&row(State::RootReady), &chain(), &good(), &policy);
    assert_eq!((done.row.state, done.effects), (State::RootReady, vec![]));
}

#[test]
fn without_the_lease_nothing_is_sent() {
    let chain = Chain { lease: None, ..chain() };
    for state in [State::RootReady, State::Submitting { intent: INTENT }] {
        assert_eq!(to(&row(state), &chain, &good()), (State::RootReady, vec![]));
    }
}

#[test]
fn a_standby_that_met_a_held_lease_submits_once_it_has_it() {
    let held = Chain { lease: None, ..chain() };
    let waiting = step(&row(State::RootReady), &held, &good(), &POLICY).row;
    let (state, effects) = to(&waiting, &chain(), &good());
    assert_eq!(state, State::Submitting { intent: INTENT });
    assert_eq!(effects, vec![Effect::Submit]);
}

#[test]
fn a_range_waits_for_the_one_before_it() {
    let chain = Chain { proven: 2, ..chain() };
    assert_eq!(to(&row(State::RootReady), &chain, &good()), (State::RootReady, vec![]));
}

#[test]
fn a_proven_prefix_does_not_stop_a_longer_proof() {
    let chain = Chain { proven: 5, ..chain() };
    assert_eq!(to(&row(State::RootReady), &chain, &good()).1, vec![Effect::Submit]);
}

#[test]
fn what_the_sender_has_is_not_submitted_again() {
    let own = Own { sent: Some(Sent::Pending), ..good() };
    let before = row(State::Submitting { intent: INTENT });
    assert_eq!(to(&before, &chain(), &own), (before.state.clone(), vec![]));
}

#[test]
fn an_intent_that_the_sender_does_not_have_is_handed_over_again() {
    let before = row(State::Submitting { intent: INTENT });
    assert_eq!(to(&before, &chain(), &good()), (before.state.clone(), vec![Effect::Submit]));
}

#[test]
fn a_reorg_that_drops_the_proof_leads_back_to_the_intent() {
    let before = row(State::Included { inclusion: inclusion(), intent: INTENT });
    let own = Own { sent: Some(Sent::Pending), ..good() };
    assert_eq!(to(&before, &chain(), &own).0, State::Submitting { intent: INTENT });
}

#[test]
fn a_proof_that_the_sender_forgot_is_sent_under_another_number() {
    let before = row(State::Included { inclusion: inclusion(), intent: INTENT });
    let done = step(&before, &chain(), &good(), &POLICY);
    assert_eq!((done.row.attempt, done.effects), (2, vec![Effect::Submit]));
    assert!(matches!(done.row.state, State::Submitting { .. }));
}

#[test]
fn an_included_proof_ends_only_with_finality() {
    let own = Own { sent: Some(Sent::Included(inclusion())), ..good() };
    let before = row(State::Submitting { intent: INTENT });
    let mut chain = Chain { proven: 6, ..chain_at(150) };
    let mid = step(&before, &chain, &own, &POLICY).row;
    assert_eq!(mid.state, State::Included { inclusion: inclusion(), intent: INTENT });
    chain.finalized = None;
    assert_eq!(to(&mid, &chain, &own).0, mid.state);
    chain.finalized = finalized(120, 6, 6);
    assert_eq!(to(&mid, &chain, &own).0, State::Final { inclusion: inclusion() });
}

#[test]
fn a_node_behind_the_final_block_ends_nothing() {
    let chain = Chain { finalized: finalized(500, 6, 6), ..chain() };
    for before in live() {
        assert!(!to(&before, &chain, &good()).0.is_end(), "{before:?}");
    }
}

#[test]
fn a_revert_is_not_final_and_its_successors_wait_longer() {
    let reverted = Own { sent: Some(Sent::Reverted { tx_hash: "0x2".into() }), ..good() };
    let mut row = row(State::Submitting { intent: INTENT });
    let mut chain = chain();
    let mut pauses = Vec::new();
    for attempt in 2..=5 {
        row = step(&row, &chain, &reverted, &POLICY).row;
        assert_eq!((row.attempt, row.state.clone()), (attempt, State::RootReady));
        pauses.push(row.not_before - chain.l1_head);
        (chain.l1_head, chain.l1_time) = (row.not_before, row.not_before);
        row = step(&row, &chain, &good(), &POLICY).row;
        assert!(matches!(row.state, State::Submitting { .. }));
    }
    assert_eq!(pauses, [2, 4, 8, 16]);
    (chain.l1_head, chain.l1_time) = (141, 141);
    let done = step(&row, &chain, &reverted, &POLICY);
    assert!(matches!(done.row.state, State::Parked { parking: Parking::Operator { .. }, .. }));
    assert!(matches!(done.effects[..], [Effect::Capture { .. }]));
}

#[test]
fn a_revert_that_the_chain_explains_is_no_failure() {
    let reverted = Own { sent: Some(Sent::Reverted { tx_hash: "0x2".into() }), ..good() };
    let before = row(State::Submitting { intent: INTENT });
    let done = step(&before, &Chain { proven: 6, ..chain() }, &reverted, &POLICY).row;
    assert_eq!((done.failures, done.attempt), (0, 2));
    assert_eq!(done.state, parked(Parking::Covered));
    let late = step(&before, &chain_at(155), &reverted, &POLICY).row;
    assert_eq!((late.failures, late.state), (0, parked(Parking::Late)));
}

#[test]
fn a_lost_nonce_costs_an_attempt_and_no_failure() {
    let own = Own { sent: Some(Sent::Lost), ..good() };
    let done = step(&row(State::Submitting { intent: INTENT }), &chain(), &own, &POLICY).row;
    assert_eq!((done.attempt, done.failures, done.not_before), (2, 0, 111));
}

#[test]
fn rejections_of_the_simulation_map_to_facts() {
    let reason = String::new;
    let before = row(State::Submitting { intent: INTENT });
    let rejected = |failure| {
        let own = Own { failure: Some(failure), ..good() };
        step(&before, &chain(), &own, &POLICY)
    };
    for failure in
        [SubmitFailure::Order { reason: reason() }, SubmitFailure::Late { reason: reason() }]
    {
        let done = rejected(failure);
        assert_eq!((done.row.state, done.row.attempt), (State::RootReady, 1));
        assert_eq!((done.row.not_before, done.row.failures, done.effects), (111, 0, vec![]));
    }
    let transient = rejected(SubmitFailure::Transient { reason: reason() });
    assert_eq!(
        (transient.row.state, transient.effects),
        (before.state.clone(), vec![Effect::Submit])
    );
    let unknown = rejected(SubmitFailure::Unknown { reason: reason() });
    assert_eq!((unknown.row.state, unknown.row.failures), (State::RootReady, 1));
    let rejected = rejected(SubmitFailure::Rejected { reason: "no".into() });
    assert_eq!(rejected.row.state, parked(Parking::Operator { reason: "no".into() }));
    assert_eq!(rejected.effects, vec![Effect::Capture { reason: "no".into() }]);
}

#[test]
fn a_rejected_proof_is_sent_again_only_by_an_operator() {
    let mut before = row(parked(Parking::Operator { reason: "no".into() }));
    before.captured = true;
    for own in [good(), Own { sent: Some(Sent::Pending), ..good() }] {
        assert_eq!(to(&before, &chain(), &own).0, before.state);
    }
    let own = Own { command: Some(Command::Retry), ..good() };
    assert_eq!(to(&before, &chain(), &own).1, vec![Effect::Submit]);
    let own = Own { command: Some(Command::Abandon), ..good() };
    assert_eq!(to(&before, &chain(), &own).0, State::GivenUp { reason: GaveUp::Abandoned });
}

/// Goal: the rest of an epoch whose first blocks were abandoned could not be submitted.
#[test]
fn blocks_that_come_to_an_abandoned_range_are_abandoned_with_it() {
    let mut abandoned = row(State::GivenUp { reason: GaveUp::Abandoned });
    abandoned.blocks.truncate(2);
    abandoned.frozen = false;
    assert_eq!(plan(std::slice::from_ref(&abandoned), &chain(), &POLICY, 2), []);
    // After one that was cut on purpose the next one follows.
    abandoned.frozen = true;
    assert_eq!(plan(&[abandoned], &chain(), &POLICY, 2).len(), 1);
}

#[test]
fn an_abandoned_range_is_not_planned_again() {
    let own = Own { command: Some(Command::Abandon), ..good() };
    let row = step(&row(State::Proving), &chain(), &own, &POLICY).row;
    assert!(plan(&[row], &chain(), &POLICY, 2).is_empty());
}

#[test]
fn a_damaged_root_is_proven_again() {
    let own = Own { root_readable: false, gathered: false, ..good() };
    for state in [State::RootReady, State::Submitting { intent: INTENT }] {
        let done = step(&row(state), &chain(), &own, &POLICY).row;
        assert_eq!((done.state, done.root), (State::Planned, None));
    }
}

#[test]
fn a_reorg_stops_the_work_on_what_it_took_and_brings_it_back() {
    let mut stale = chain();
    stale.epochs.insert(EPOCH, vec![block(4, 4), block(5, 55)]);
    for before in live() {
        let done = step(&before, &stale, &good(), &POLICY);
        if matches!(before.state, State::Parked { parking: Parking::Operator { .. }, .. }) {
            continue;
        }
        let State::Parked { parking: Parking::Stale, intent } = &done.row.state else {
            panic!("{:?} led to {:?}", before.state, done.row.state)
        };
        let stops = before.state == State::Proving;
        let expected = if stops { vec![Effect::Stop, Effect::Cancel] } else { vec![] };
        assert_eq!((done.row.cleanup, done.effects), (stops, expected));
        let back = step(&done.row, &chain(), &good(), &POLICY).row.state;
        let expected = match (intent, &before.root) {
            (_, Some(_)) => State::Submitting { intent: INTENT },
            (_, None) => State::Proving,
        };
        assert_eq!(back, expected, "from {:?}", before.state);
    }
}

#[test]
fn the_other_branch_is_a_range_of_its_own() {
    let mut other = chain();
    other.epochs.insert(EPOCH, vec![block(4, 4), block(5, 55)]);
    let rows = plan(&[row(parked(Parking::Stale))], &other, &POLICY, 2);
    assert_eq!((rows[0].first(), rows[0].last()), (4, 5));
}

#[test]
fn jobs_of_a_stopped_range_are_cancelled_until_it_is_done() {
    let mut before = row(parked(Parking::Stale));
    before.cleanup = true;
    let mut stale = chain();
    stale.epochs.clear();
    let asked = step(&before, &stale, &good(), &POLICY);
    assert_eq!((asked.row.cleanup, asked.effects), (true, vec![Effect::Cancel]));
    let done = step(&before, &stale, &Own { cleaned: true, ..good() }, &POLICY);
    assert_eq!((done.row.cleanup, done.effects), (false, vec![]));
}

#[test]
fn blocks_that_finality_left_out_end_the_range() {
    let gone = Chain { finalized: finalized(109, 3, 3), epochs: [].into(), pending: 3, ..chain() };
    for before in live() {
        let state = to(&before, &gone, &good()).0;
        assert_eq!(state, State::GivenUp { reason: GaveUp::Stale }, "{:?}", before.state);
    }
}

/// Goal: a number that went to a block of another epoch is seen too.
#[test]
fn a_final_block_of_another_epoch_under_the_same_number_ends_the_range() {
    let finalized = finalized(109, 6, 3);
    let epochs = [(EPOCH + 1, vec![block(4, 44), block(5, 55), block(6, 66)])].into();
    let replaced = Chain { finalized, epochs, ..chain() };
    let state = to(&row(parked(Parking::Stale)), &replaced, &good()).0;
    assert_eq!(state, State::GivenUp { reason: GaveUp::Stale });
}

#[test]
fn somebody_elses_final_proof_ends_the_range() {
    let chain = Chain { finalized: finalized(112, 6, 6), proven: 6, ..chain_at(120) };
    for before in live() {
        if matches!(before.state, State::Included { .. }) {
            continue;
        }
        assert_eq!(to(&before, &chain, &good()).0, State::Superseded, "{:?}", before.state);
        // Its own transaction is on the way: this may be the proof that was accepted.
        let own = Own { sent: Some(Sent::Pending), ..good() };
        assert!(!to(&before, &chain, &own).0.is_end());
    }
}

/// Goal: a range whose final facts L1 reorganises is worked on again, under a new attempt number.
/// Method: each end, the chain that it follows from, and the chain that denies it.
#[test]
fn an_end_that_l1_takes_back_opens_the_range_again() {
    let proven = Chain { proven: 6, ..chain() };
    let closed = chain_at(200);
    let gone = Chain { epochs: [].into(), pending: 3, ..chain() };
    let ends = [
        (State::Final { inclusion: inclusion() }, &proven),
        (State::Superseded, &proven),
        (State::GivenUp { reason: GaveUp::Stale }, &gone),
        (State::GivenUp { reason: GaveUp::Late }, &closed),
    ];
    for (state, holds) in ends {
        let before = row(state.clone());
        assert_eq!(step(&before, holds, &good(), &POLICY).row, before, "{state:?} holds");
        let chain_now = Chain { lease: None, ..chain() };
        let after = step(&before, &chain_now, &good(), &POLICY).row;
        assert_eq!(after.state, State::RootReady, "{state:?} is denied");
        assert_eq!((after.attempt, after.first_attempt, &after.root), (2, 2, &before.root));
        let rootless = Row { root: None, ..before.clone() };
        assert_eq!(step(&rootless, &chain_now, &good(), &POLICY).row.state, State::Proving);
        if matches!(state, State::Final { .. } | State::Superseded) {
            // L1's final state, read a moment earlier or later, still has the proof.
            let other = Chain { finalized: finalized(100, 6, 6), ..chain() };
            assert_eq!(step(&before, &other, &good(), &POLICY).row, before);
        }
        // A node that reads L1 again from before the end knows nothing.
        let mut before = row(state);
        before.log.push(Entry { l1_block: chain().l1_head + 1, what: "ended".into() });
        assert_eq!(step(&before, &chain(), &good(), &POLICY).row, before);
    }
    let abandoned = row(State::GivenUp { reason: GaveUp::Abandoned });
    assert_eq!(step(&abandoned, &chain(), &good(), &POLICY).row, abandoned);
}

#[test]
fn a_closed_window_parks_and_its_finality_ends() {
    let late = chain_at(ACCEPTED_UNTIL);
    for before in [row(State::Planned), row(State::Proving), row(State::RootReady)] {
        assert_eq!(to(&before, &late, &good()).0, parked(Parking::Late));
    }
    let not_yet = Chain { finalized: finalized(154, 6, 3), ..chain_at(170) };
    assert_eq!(to(&row(State::Proving), &not_yet, &good()).0, parked(Parking::Late));
    let over = Chain { finalized: finalized(155, 6, 3), ..chain_at(170) };
    for before in [row(State::Proving), row(parked(Parking::Late))] {
        assert_eq!(to(&before, &over, &good()).0, State::GivenUp { reason: GaveUp::Late });
    }
}

#[test]
fn a_reorg_that_reopens_the_window_resumes() {
    let before = row(parked(Parking::Late));
    assert_eq!(to(&before, &chain(), &good()).1, vec![Effect::Submit]);
}

/// Goal: deadlines follow from time, whenever the epoch's blocks were proposed and however fast L1 is.
#[test]
fn a_proof_is_sent_until_its_epochs_last_second_and_not_after() {
    for (time, sent) in [(104, true), (154, true), (155, false), (156, false)] {
        let chain = Chain { l1_head: 100_000, l1_time: time, finalized: None, ..chain() };
        let effects = to(&row(State::RootReady), &chain, &good()).1;
        assert_eq!(effects == vec![Effect::Submit], sent, "second {time}");
    }
    let at = Schedule { genesis_time: 1000, ..SCHEDULE };
    assert_eq!((at.epoch_at(1104), at.epoch_at(1105), at.epoch_at(0)), (2, 3, 0));
    assert_eq!((at.window_end(2), at.accepted_until(2)), (1140, 1155));
    assert_eq!(at.accepted_until(u64::MAX), u64::MAX, "a number from outside does not wrap");
}

#[test]
fn a_proof_that_cannot_be_made_is_captured_and_left_to_an_operator() {
    let own = Own { proof: Proof::Failed { reason: "bad input".into() }, ..good() };
    let done = step(&row(State::Proving), &chain(), &own, &POLICY);
    assert_eq!(done.row.state, parked(Parking::Operator { reason: "bad input".into() }));
    let capture = Effect::Capture { reason: "bad input".into() };
    assert_eq!(done.effects, vec![Effect::Stop, capture.clone(), Effect::Cancel]);
    // Requested until it is there, whatever crashes meanwhile.
    let asked = step(&done.row, &chain(), &Own { cleaned: true, ..good() }, &POLICY);
    assert_eq!((asked.row.captured, asked.effects), (false, vec![capture]));
    let own = Own { captured: true, ..good() };
    let kept = step(&asked.row, &chain(), &own, &POLICY);
    assert_eq!((kept.row.captured, kept.effects), (true, vec![]));
}

/// Goal: a turn may be repeated. Every live state, over a grid of facts.
#[test]
fn a_second_step_on_the_same_facts_changes_nothing_more() {
    let mut other = chain();
    other.epochs.insert(EPOCH, vec![block(4, 44)]);
    let chains = [
        chain(),
        other,
        Chain { proven: 6, ..chain() },
        chain_at(170),
        Chain { proven: 6, finalized: finalized(160, 6, 6), ..chain_at(170) },
        Chain { lease: None, ..chain() },
    ];
    let sents = [
        None,
        Some(Sent::Pending),
        Some(Sent::Included(inclusion())),
        Some(Sent::Reverted { tx_hash: "0x2".into() }),
        Some(Sent::Lost),
    ];
    for chain in &chains {
        for sent in &sents {
            for root_readable in [true, false] {
                for before in live() {
                    let own = Own { sent: sent.clone(), root_readable, ..good() };
                    // An outcome without an attempt is not a fact.
                    let is_settled = matches!(sent, Some(Sent::Reverted { .. } | Sent::Lost));
                    if is_settled && before.intent().is_none() {
                        continue;
                    }
                    let once = step(&before, chain, &own, &POLICY);
                    let twice = step(&once.row, chain, &own, &POLICY);
                    assert_eq!(once.row.state.as_str(), twice.row.state.as_str(), "{before:?}");
                    assert_eq!(once.row.attempt, twice.row.attempt, "{before:?}");
                }
            }
        }
    }
}
