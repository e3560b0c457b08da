//! When an epoch is over.

use rollmill_broker_client::EpochOutcome;
use rollmill_prover_node::ranges::controller::ended;
use rollmill_prover_node::ranges::{GaveUp, Row, State};

use crate::rules::{EPOCH, inclusion, live, row};

/// Goal: an epoch is closed at the broker when, and only when, every range of it has ended and left no job behind.
#[test]
fn an_epoch_is_over_when_every_range_of_it_has_ended() {
    use EpochOutcome::{Final, GivenUp, Superseded};
    let is_final = || row(State::Final { inclusion: inclusion() });
    let superseded = || row(State::Superseded);
    let given_up = || row(State::GivenUp { reason: GaveUp::Abandoned });
    let over = |rows: &[Row]| ended(rows).get(&EPOCH).copied();
    assert_eq!(over(&[]), None);
    assert_eq!(over(&[is_final()]), Some(Final));
    assert_eq!(over(&[is_final(), superseded()]), Some(Superseded));
    assert_eq!(over(&[given_up(), is_final(), superseded()]), Some(GivenUp));
    for live in live() {
        assert_eq!(over(std::slice::from_ref(&live)), None, "{:?}", live.state);
        assert_eq!(over(&[is_final(), live.clone()]), None, "{:?}", live.state);
        assert_eq!(over(&[live.clone(), is_final()]), None, "{:?}", live.state);
        let other = Row { epoch: EPOCH + 1, ..live };
        assert_eq!(ended(&[is_final(), other]).len(), 1, "of another epoch");
    }
    assert_eq!(over(&[Row { cleanup: true, ..superseded() }]), None, "jobs are left");
}
