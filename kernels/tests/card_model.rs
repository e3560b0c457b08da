//! The page of the model of a card has what the model computes.

use std::path::Path;

const START: &str = "<!-- computed by kernels/src/model.rs -->\n";
const END: &str = "<!-- end of what is computed -->\n";

/// With `ROLLMILL_BLESS=1` the tables of the page are written instead.
#[test]
fn the_page_of_the_model_has_what_the_kernels_counts_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book/card-model.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (head, rest) = page.split_once(START).expect("the start of the tables");
    let (held, tail) = rest.split_once(END).expect("their end");
    let computed = rollmill_kernels::card_model();
    if std::env::var("ROLLMILL_BLESS").is_ok_and(|value| value == "1") {
        let page = format!("{head}{START}\n{computed}\n{END}{tail}");
        std::fs::write(&path, page).expect("written");
        return;
    }
    assert!(
        held.trim() == computed.trim(),
        "the tables are stale: run this test with ROLLMILL_BLESS=1"
    );
}
