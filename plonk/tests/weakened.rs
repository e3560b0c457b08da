//! Every false statement is accepted when the check that rejects it is switched off: the cheats of
//! `statements.rs` reach their check, and nothing else rejects them.
//!
//! One test, since the switch is the whole process's.

use rollmill_plonk::weaken;
use rollmill_plonk_testing::statements::{KINDS, Setting, all, circuit};

#[test]
fn each_false_statement_is_accepted_without_its_check() {
    for statement in all() {
        weaken::set(&statement.held_by);
        let setting = Setting::new(&circuit(None).layout);
        for kind in KINDS {
            let verdict = setting.verdict(kind, &statement);
            assert_eq!(verdict, Ok(()), "{kind:?}, {}: {statement:?}", statement.held_by);
        }
        weaken::set("");
    }
}
