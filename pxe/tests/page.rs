//! The tables of `docs/book/pxe-service.md` are what the service declares. `ROLLMILL_BLESS=1` writes them.

use std::fmt::Write as _;
use std::path::Path;

use rollmill_pxe::leaks;
use rollmill_pxe::serve::WAIT_SECONDS_MAX;
use rollmill_pxe::serve::api::methods;
use rollmill_pxe::serve::wire::{Member, shapes};

const PAGE: &str = "docs/book/pxe-service.md";
const START: &str = "<!-- written by pxe/tests/page.rs -->\n";
const END: &str = "<!-- end of what pxe/tests/page.rs writes -->\n";
const LEAKS_START: &str = "<!-- of pxe/src/leaks.rs, written by pxe/tests/page.rs -->\n";
const LEAKS_END: &str = "<!-- end of pxe/src/leaks.rs -->\n";

/// `name` of a parameter, with a question mark if it may be absent.
fn parameter(member: &Member) -> String {
    let is_optional = member.of.starts_with("Option");
    format!("`{}{}`", member.name, if is_optional { "?" } else { "" })
}

fn table() -> String {
    let mut table =
        "| method | parameters | result | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for method in methods() {
        let parameters: Vec<String> = method.parameters.iter().map(parameter).collect();
        let (name, result, meaning) = (method.name, method.result, method.meaning);
        let _ =
            writeln!(table, "| `{name}` | {} | `{result}` | {meaning} |", parameters.join(", "));
    }
    table.push_str("\n| of | member | type | meaning |\n| --- | --- | --- | --- |\n");
    for (of, members) in shapes() {
        for Member { name, of: kind, meaning } in members {
            let _ = writeln!(table, "| `{of}` | `{name}` | `{kind}` | {meaning} |");
        }
    }
    table
}

/// Compares the part of the page between two lines, or writes it.
fn compare(start: &str, end: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let found = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = found.split_once(start).expect("the line at which the tables start");
    let (_, after) = rest.split_once(end).expect("the line at which the tables end");
    let expected = format!("{before}{start}\n{table}\n{end}{after}");
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{PAGE} differs; ROLLMILL_BLESS=1 writes its tables");
    }
    assert_eq!(found, expected, "{PAGE} differs; ROLLMILL_BLESS=1 writes its tables");
}

/// In one test, since both parts are of one file.
#[test]
fn the_page_has_every_method_and_member_as_they_are_declared() {
    compare(START, END, &table());
    compare(LEAKS_START, LEAKS_END, &leaks::tables());
}

/// Goal: no row of the page names a test that is gone.
#[test]
fn each_leak_names_a_test_that_there_is() {
    let sources = ["src/wallet/tests/privacy.rs", "src/contracts/tests/privacy.rs"].map(|source| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).unwrap()
    });
    let named = leaks::LEAKS.iter().filter(|leak| !leak.test.is_empty());
    let tests: Vec<&str> = named.map(|leak| leak.test).collect();
    assert!(!tests.is_empty());
    for test in tests {
        let line = format!("fn {test}(");
        assert!(sources.iter().any(|source| source.contains(&line)), "{test}");
    }
}

/// Goal: no rename breaks a client of another release. A new method is added here.
#[test]
fn the_names_of_the_methods_are_those_of_every_release() {
    let names: Vec<&str> = methods().iter().map(|method| method.name).collect();
    assert_eq!(
        names,
        [
            "pxe_status",
            "pxe_accounts",
            "pxe_sync",
            "pxe_balance",
            "pxe_notes",
            "pxe_sent",
            "pxe_simulateTransfer",
            "pxe_transfer",
            "pxe_claim",
            "pxe_withdraw",
            "pxe_transaction",
            "pxe_wait",
            "pxe_registerContract",
            "pxe_contracts",
            "pxe_simulateCall",
            "pxe_call",
            "pxe_history",
            "pxe_contractNotes",
            "pxe_authorize",
            "pxe_capabilities",
        ]
    );
}

#[test]
fn the_bound_of_a_wait_is_the_one_that_the_page_names() {
    let all = shapes();
    let (_, members) = all.iter().find(|(name, _)| *name == "Waiting").unwrap();
    let seconds = members.iter().find(|member| member.name == "seconds").unwrap();
    assert!(seconds.meaning.contains(&format!("at most {WAIT_SECONDS_MAX}")), "{seconds:?}");
}
