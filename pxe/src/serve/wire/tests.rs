use serde_json::json;

use super::*;

#[test]
fn an_amount_is_one_string_of_digits_and_no_number() {
    for amount in [0, 1, u64::MAX] {
        let text = json!(amount.to_string());
        assert_eq!(serde_json::to_value(Amount(amount)).unwrap(), text);
        assert_eq!(serde_json::from_value::<Amount>(text).unwrap(), Amount(amount));
    }
    let wrong =
        [json!(5), json!("05"), json!("+5"), json!("-1"), json!(""), json!(" 5"), json!("1e3")];
    for wrong in wrong.into_iter().chain([json!("18446744073709551616"), json!(null)]) {
        assert!(serde_json::from_value::<Amount>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_stage_is_reached_by_the_states_after_it_only() {
    let reached = |state: TxState, stage: Stage| state.stage().is_some_and(|has| has >= stage);
    assert!(reached(TxState::Finalized, Stage::Included));
    assert!(reached(TxState::Proven, Stage::Proven));
    assert!(!reached(TxState::Included, Stage::Proven));
    for state in [TxState::Unknown, TxState::Pending, TxState::Dropped] {
        assert!(!reached(state, Stage::Included));
    }
}
