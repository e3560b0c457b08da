//! Retries: one type of `net` has their pauses and decides what of their failures is logged.
//!
//! A file that pairs the parts of that type by hand, or uses one alone, is listed with the reason.

use crate::Findings;
use crate::scan;
use crate::tree::Tree;

/// Where the type and its parts are defined.
const HOME: &str = "net/src/";

/// The parts of `Retry`.
const PARTS: [&str; 2] = ["Backoff", "Outage"];

/// Files of programs that name a part of `Retry`, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("agent/src/agent.rs", "claims share the outage of `Link` with heartbeats and offers"),
    ("agent/src/agent/claim.rs", "claims share the outage of `Link` with heartbeats and offers"),
    ("agent/src/agent/offer.rs", "offers share the outage of `Link` with heartbeats and claims"),
    ("agent/src/heartbeat.rs", "beats share the outage of `Link` with claims and offers"),
    ("agent/src/link.rs", "one connection that several loops use"),
    ("broker/client/src/client.rs", "repeats for a bounded time, and returns the last error"),
    ("broker/src/broker.rs", "requests fail between others that succeed"),
    ("broker/src/retention.rs", "one epoch fails while others succeed"),
    ("l1/src/data/sources.rs", "writes fail between others that succeed"),
    ("l1/src/failover.rs", "repeats a few times, and returns the last error"),
    ("node/src/rpc/blobs.rs", "reads fail between others that succeed"),
    ("node/src/peers.rs", "many transactions at once, each logged by its own attempts"),
    ("prover-node/src/jobs/health.rs", "one connection that all jobs use"),
    ("prover-node/src/jobs/mod.rs", "calls share the outage of `Health`"),
    ("prover-node/src/lease.rs", "renewals share the outage of `Health`"),
    ("prover-node/src/ports.rs", "the next turn of the controller repeats it"),
    (
        "sequencer/src/committee.rs",
        "repeats until the slot's time is over; a member is away between slots",
    ),
    ("sequencer/src/sequencer.rs", "a pause that the node ends; nothing is repeated in it"),
    ("service/src/http.rs", "accepts fail between others that succeed"),
    ("service/src/http/slots.rs", "connections are closed between others that are served"),
    ("service/src/http/tls.rs", "handshakes fail between others that succeed"),
    ("service/src/lib.rs", "exports the parts again"),
    ("service/src/preflight.rs", "the subcommand `check` repeats until its time is over"),
    ("service/src/traces/export.rs", "batches fail between others that are taken"),
];

/// Compares the files that name a part with [`EXCEPTIONS`].
pub(crate) fn check(tree: &Tree) -> Findings {
    check_except(tree, EXCEPTIONS)
}

fn check_except(tree: &Tree, exceptions: &[(&str, &str)]) -> Findings {
    let mut findings = Findings::new();
    let of_programs = |path: &str| {
        path.contains("/src/")
            && !path.starts_with("xtask/")
            && !path.starts_with(HOME)
            && !path.contains("/tests")
    };
    for file in tree.rust().filter(|file| of_programs(&file.path)) {
        let code = scan::scan(&file.text).code;
        let lines = PARTS.iter().find_map(|part| {
            let line = scan::lines_with_word(&code, part).first().copied()?;
            Some((part, line))
        });
        let is_excused = exceptions.iter().any(|(path, _)| *path == file.path);
        match lines {
            Some((part, line)) if !is_excused => findings.push(format!(
                "{}:{line}: `{part}` by hand; use `Retry`, or list the file in xtask/src/retries.rs with a reason",
                file.path
            )),
            None if is_excused => findings.push(format!(
                "{}: names no part of `Retry`; take it off the list in xtask/src/retries.rs",
                file.path
            )),
            _ => {}
        }
    }
    for (path, _) in exceptions.iter().filter(|(path, _)| tree.text(path).is_none()) {
        findings.push(format!("{path}: is listed in xtask/src/retries.rs but not in the tree"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_by_hand_is_named_and_so_is_an_exception_that_is_not_needed() {
        let tree = Tree::of(&[
            ("net/src/retry.rs", "struct Retry(Backoff, Outage);\n"),
            ("a/src/good.rs", "// A Backoff by itself.\nfn f(retry: &mut Retry) {}\n"),
            ("a/src/tests/x.rs", "fn f(retry: Backoff) {}\n"),
            (
                "a/src/pair.rs",
                "\nlet retry = Backoff::new(a, b);\nlet outage = Outage::default();\n",
            ),
            ("a/src/half.rs", "let outage = net::Outage::default();\n"),
            ("a/src/excused.rs", "let outage = Outage::default();\n"),
            ("a/src/clean.rs", "fn f() {}\n"),
        ]);
        let exceptions =
            [("a/src/excused.rs", "r"), ("a/src/clean.rs", "r"), ("a/src/gone.rs", "r")];
        let findings = check_except(&tree, &exceptions);
        let starts = [
            "a/src/pair.rs:2: `Backoff` by hand",
            "a/src/half.rs:1: `Outage` by hand",
            "a/src/clean.rs: names no part",
            "a/src/gone.rs: is listed",
        ];
        assert_eq!(findings.len(), starts.len(), "{findings:?}");
        for start in starts {
            assert!(findings.iter().any(|finding| finding.starts_with(start)), "{findings:?}");
        }
    }
}
