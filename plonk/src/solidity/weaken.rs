//! Generated verifiers with one check left out; see [`crate::weaken`].

use crate::schedule::Group;
use crate::weaken::gone;

/// Name of the switch, the text of the source, and the text that replaces it without the check.
const EDITS: [(&str, &str, &str); 16] = [
    (
        "solidity.range.inputs",
        "let ok := scalars(publicInputs.offset, add(publicInputs.offset, PUBLIC_BYTES))",
        "let ok := 1",
    ),
    ("solidity.range.points", "ok := and(ok, points(at, add(at, AT_EVALUATIONS)))", ""),
    (
        "solidity.range.evaluations",
        "ok := and(ok, scalars(add(at, AT_EVALUATIONS), add(at, AT_OPENING)))",
        "",
    ),
    (
        "solidity.range.opening",
        "ok := and(ok, points(add(at, AT_OPENING), add(at, PROOF_BYTES)))",
        "",
    ),
    (
        "solidity.length.proof",
        "and(eq(proof.length, PROOF_BYTES), eq(publicInputs.length, N_PUBLIC))",
        "eq(publicInputs.length, N_PUBLIC)",
    ),
    (
        "solidity.length.inputs",
        "and(eq(proof.length, PROOF_BYTES), eq(publicInputs.length, N_PUBLIC))",
        "eq(proof.length, PROOF_BYTES)",
    ),
    (
        "solidity.transcript.key",
        "mstore(add(BUFFER, 0x20), VK_DIGEST)",
        "mstore(add(BUFFER, 0x20), 0)",
    ),
    (
        "solidity.gates",
        "let r := mload(POWER_MODULUS)\n",
        "let r := mload(POWER_MODULUS)\n r := 1\n",
    ),
    ("solidity.precompiles", "if iszero(combine(POINTS, ", "if lt(combine(POINTS, "),
    (
        "solidity.pair.half",
        "good := iszero(shr(128, or(or(x_low, x_high), or(y_low, y_high))))",
        "good := 1",
    ),
    (
        "solidity.pair.range",
        "good := and(good, and(lt(x, Q), lt(sub(y, 1), sub(Q, 1))))\n                mstore(point, x)",
        "mstore(point, x)",
    ),
    ("solidity.pair.precompiles", "if iszero(combine(POINTS_L, ", "if lt(combine(POINTS_L, "),
    ("solidity.pair.left", "mstore(SCALARS_L, u)", "mstore(SCALARS_L, 0)"),
    ("solidity.pair.right", "mstore(SCALARS_R, u)", "mstore(SCALARS_R, 0)"),
    ("solidity.pairing", "and(ok, eq(mload(0x00), 1))", "ok"),
    ("solidity.chain", "if iszero(eq(chainid(), 31337)) { refuse() }", ""),
];

/// Name of the switch, and the group whose round the transcript then does not absorb.
const NOT_ABSORBED: [(&str, Group); 4] = [
    ("solidity.transcript.arguments", Group::Product),
    ("solidity.transcript.chunks", Group::Chunks),
    ("solidity.transcript.w", Group::Opening),
    ("solidity.transcript.w_prime", Group::OpeningAtZPrime),
];

/// The source without the check that is switched off.
///
/// # Panics
/// When the source does not contain the check: the table is out of date.
pub(super) fn weakened(source: String) -> String {
    if let Some((name, group)) = NOT_ABSORBED.into_iter().find(|(name, _)| gone(name)) {
        let from = super::rounds::absorbs(group);
        assert!(source.contains(&from), "{name}: the source has no `{from}`");
        return source.replacen(&from, "state := next(state)", 1);
    }
    let Some((name, from, to)) = EDITS.into_iter().find(|(name, ..)| gone(name)) else {
        return source;
    };
    let is_of_a_pair = name.starts_with("solidity.pair.");
    let to = match name {
        "solidity.precompiles" | "solidity.pair.precompiles" => {
            // `lt(x, 0)` never holds; the line's other parts stay.
            let Some(at) = source.find(from) else {
                assert!(is_of_a_pair, "{name}: the source has no `{from}`");
                return source;
            };
            let line = source[at..].lines().next().expect("the text that was found is in a line");
            let weakened = line.replacen("iszero(", "lt(", 1).replacen(
                ") { refuse() }",
                ", 0) { refuse() }",
                1,
            );
            // `if iszero(combine(…)) { refuse() }` becomes `if lt(combine(…), 0) { refuse() }`.
            return source.replacen(line, &weakened, 1);
        }
        _ => to,
    };
    // A verifier without a carried pair has no code for one, one of a ceremony none for chains.
    assert!(
        source.contains(from) || is_of_a_pair || name == "solidity.chain",
        "{name}: the source has no `{from}`"
    );
    source.replacen(from, to, 1)
}
