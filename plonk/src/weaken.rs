//! A switch that takes one check or one constraint out of a test build.
//!
//! A constraint whose absence no property test notices is not tested. With the feature `weaken`, the
//! environment variable `ROLLMILL_WEAKEN` names one switch of the registry ([`switches`]), and the code
//! that carries this name behaves as if its check were not written. `cargo xtask mutants` runs the tests
//! once for each name and requires one of them to fail.
//!
//! Without the feature [`gone`] is `false` at compile time, so the check cannot be switched off. No
//! manifest turns the feature on; `cargo xtask deps` checks that.

use std::borrow::Cow;

#[cfg(feature = "weaken")]
pub use rollmill_algebra::weaken::set;
pub use rollmill_algebra::weaken::{VARIABLE, gone};

use crate::gates::Gate;

/// One check or constraint that a test build can leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// What to put into [`VARIABLE`]: the set, a dot, and the rest of the name.
    pub name: Cow<'static, str>,
    /// Why no test notices, for a switch whose loss is harmless; `None` for all others, which must be
    /// noticed.
    pub harmless: Option<&'static str>,
}

impl Switch {
    /// A switch that a test must notice.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), harmless: None }
    }

    /// A switch whose loss no test can notice, and the argument why that is harmless.
    pub const fn harmless(name: &'static str, why: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), harmless: Some(why) }
    }

    /// The set that the switch belongs to: its name up to the first dot.
    pub fn set(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }
}

/// Name of the switch of one constraint of the gates.
pub fn of_constraint(gate: Gate, equation: usize) -> String {
    format!("gates.{}.{equation}", gate.name())
}

/// Every switch of this crate but those of the constraints, which [`switches`] adds.
const NAMED: &[Switch] = &[
    Switch::new("gates.part.bus.rom"),
    Switch::new("gates.part.bus.ranged"),
    Switch::harmless(
        "gates.part.bus.active",
        "the equation that reads it is itself switched by `active`, so it is equivalent without",
    ),
    Switch::new("gates.part.fingerprint.table"),
    Switch::new("gates.part.fingerprint.address"),
    Switch::new("gates.part.fingerprint.value0"),
    Switch::new("gates.part.fingerprint.value1"),
    Switch::new("gates.part.fingerprint.value2"),
    Switch::new("gates.part.fingerprint.value3"),
    Switch::new("gates.part.fingerprint.value4"),
    Switch::new("gates.part.fingerprint.value5"),
    Switch::new("gates.part.fingerprint.value6"),
    Switch::new("gates.part.fingerprint.value7"),
    Switch::new("gates.part.fingerprint.tag"),
    Switch::new("gates.part.limb0"),
    Switch::new("gates.part.limb1"),
    Switch::new("gates.part.limb2"),
    Switch::new("gates.part.limb3"),
    Switch::new("gates.part.limb4"),
    Switch::new("gates.part.limb5"),
    Switch::new("gates.part.limb6"),
    Switch::new("gates.part.limb7"),
    Switch::new("gates.part.permutation.column0"),
    Switch::new("gates.part.permutation.column1"),
    Switch::new("gates.part.permutation.column2"),
    Switch::new("gates.part.permutation.column3"),
    Switch::new("zk.column.wire0"),
    Switch::new("zk.column.wire1"),
    Switch::new("zk.column.wire2"),
    Switch::new("zk.column.wire3"),
    Switch::new("zk.column.wire4"),
    Switch::new("zk.column.wire5"),
    Switch::new("zk.column.wire6"),
    Switch::new("zk.column.wire7"),
    Switch::new("zk.column.wire8"),
    Switch::new("zk.column.wire9"),
    Switch::new("zk.column.wire10"),
    Switch::new("zk.column.wire11"),
    Switch::new("zk.column.m"),
    Switch::new("zk.column.z"),
    Switch::new("zk.column.h0"),
    Switch::new("zk.column.h1"),
    Switch::new("zk.column.s"),
    Switch::new("zk.cells"),
    Switch::new("zk.chunk.0.b"),
    Switch::new("zk.chunk.0.c"),
    Switch::new("zk.chunk.1.b"),
    Switch::new("zk.chunk.1.c"),
    Switch::new("zk.chunk.2.b"),
    Switch::new("zk.chunk.2.c"),
    Switch::new("zk.chunk.3.b"),
    Switch::new("zk.chunk.3.c"),
    Switch::new("zk.stream.kind"),
    Switch::new("zk.stream.key"),
    Switch::new("zk.stream.public"),
    Switch::new("zk.stream.wires"),
    Switch::new("zk.stream.m"),
    Switch::new("zk.stream.seed"),
    Switch::new("transcript.n_public"),
    Switch::new("transcript.key"),
    Switch::new("transcript.public"),
    Switch::new("transcript.evaluations"),
    Switch::new("transcript.wire0"),
    Switch::new("transcript.wire1"),
    Switch::new("transcript.wire2"),
    Switch::new("transcript.wire3"),
    Switch::new("transcript.wire4"),
    Switch::new("transcript.wire5"),
    Switch::new("transcript.wire6"),
    Switch::new("transcript.wire7"),
    Switch::new("transcript.wire8"),
    Switch::new("transcript.wire9"),
    Switch::new("transcript.wire10"),
    Switch::new("transcript.wire11"),
    Switch::new("transcript.m"),
    Switch::new("transcript.z"),
    Switch::new("transcript.h0"),
    Switch::new("transcript.h1"),
    Switch::new("transcript.s"),
    Switch::new("transcript.chunk0"),
    Switch::new("transcript.chunk1"),
    Switch::new("transcript.chunk2"),
    Switch::new("transcript.chunk3"),
    Switch::new("transcript.chunk4"),
    Switch::new("transcript.w"),
    Switch::new("transcript.w_prime"),
    Switch::new("verifier.public_inputs"),
    Switch::new("verifier.quotient"),
    Switch::new("verifier.pairing"),
    Switch::new("verifier.pair"),
    Switch::new("verifier.pair.half"),
    Switch::new("verifier.pair.modulus"),
    Switch::new("verifier.pair.curve"),
    Switch::new("verifier.pair.identity"),
    Switch::new("verifier.proof.length"),
    Switch::new("verifier.proof.identity"),
    Switch::new("verifier.key.length"),
    Switch::new("verifier.key.log_n"),
    Switch::new("verifier.key.cell_bits"),
    Switch::new("verifier.key.n_public"),
    Switch::new("verifier.key.identity"),
    Switch::new("verifier.key.made_identity"),
    Switch::new("verifier.key.digest.shape"),
    Switch::new("verifier.key.digest.srs"),
    Switch::new("verifier.key.digest.fixed"),
    Switch::new("verifier.key.layout.shape"),
    Switch::new("verifier.key.layout.columns"),
    Switch::new("verifier.rom.twice"),
    Switch::new("verifier.rom.unmatched"),
    Switch::new("srs.magic"),
    Switch::new("srs.length"),
    Switch::new("srs.digest"),
    Switch::new("srs.generator"),
    Switch::new("srs.origin"),
    Switch::new("srs.require"),
    Switch::new("srs.development_chain"),
    Switch::new("srs.pinned"),
    Switch::new("srs.pinned.parts"),
    Switch::new("srs.check.generator"),
    Switch::new("srs.check.identity"),
    Switch::new("srs.check.tau_in_hash"),
    Switch::new("srs.check.powers"),
    Switch::new("srs.flat.length"),
    Switch::new("srs.flat.short"),
    Switch::new("srs.flat.check"),
    Switch::new("srs.flat.known"),
    Switch::new("srs.ptau.subgroup"),
    Switch::new("srs.ptau.check"),
    Switch::new("srs.ptau.powers_g2"),
    Switch::new("srs.ptau.known"),
    Switch::new("srs.ptau.contributions"),
    Switch::new("srs.known.development"),
    Switch::new("srs.known.opposite"),
    Switch::new("srs.known.integer"),
    Switch::new("srs.known.inverse"),
    Switch::new("srs.known.order"),
    Switch::new("srs.known.root"),
    Switch::new("keys.srs.check"),
    Switch::new("keys.srs.secret"),
    Switch::new("keys.layout"),
    Switch::new("keys.powers"),
    Switch::new("keys.shape"),
    Switch::new("keys.columns"),
    Switch::new("keys.lagrange"),
    Switch::new("keys.root"),
    Switch::new("solidity.range.inputs"),
    Switch::new("solidity.range.points"),
    Switch::new("solidity.range.evaluations"),
    Switch::new("solidity.range.opening"),
    Switch::new("solidity.length.proof"),
    Switch::new("solidity.length.inputs"),
    Switch::new("solidity.transcript.key"),
    Switch::new("solidity.transcript.arguments"),
    Switch::new("solidity.transcript.chunks"),
    Switch::new("solidity.transcript.w"),
    Switch::new("solidity.transcript.w_prime"),
    Switch::new("solidity.gates"),
    Switch::new("solidity.precompiles"),
    Switch::new("solidity.pair.half"),
    Switch::new("solidity.pair.range"),
    Switch::new("solidity.pair.precompiles"),
    Switch::new("solidity.pair.left"),
    Switch::new("solidity.pair.right"),
    Switch::new("solidity.pairing"),
    Switch::new("solidity.chain"),
];

/// Names of the switches by limb column.
pub(crate) const LIMB: [&str; crate::shape::LIMBS] = [
    "gates.part.limb0",
    "gates.part.limb1",
    "gates.part.limb2",
    "gates.part.limb3",
    "gates.part.limb4",
    "gates.part.limb5",
    "gates.part.limb6",
    "gates.part.limb7",
];

/// Names of the switches by value of a ROM tuple.
pub(crate) const VALUE: [&str; 8] = [
    "gates.part.fingerprint.value0",
    "gates.part.fingerprint.value1",
    "gates.part.fingerprint.value2",
    "gates.part.fingerprint.value3",
    "gates.part.fingerprint.value4",
    "gates.part.fingerprint.value5",
    "gates.part.fingerprint.value6",
    "gates.part.fingerprint.value7",
];

/// Names of the switches by column of the permutation.
pub(crate) const COLUMN: [&str; crate::shape::ROUTED] = [
    "gates.part.permutation.column0",
    "gates.part.permutation.column1",
    "gates.part.permutation.column2",
    "gates.part.permutation.column3",
];

/// Names of the switches by committed column that is blinded, in the order of sending.
pub(crate) const ZK_COLUMN: [&str; crate::shape::WIRES + 1 + 2 + crate::shape::HELPERS] = [
    "zk.column.wire0",
    "zk.column.wire1",
    "zk.column.wire2",
    "zk.column.wire3",
    "zk.column.wire4",
    "zk.column.wire5",
    "zk.column.wire6",
    "zk.column.wire7",
    "zk.column.wire8",
    "zk.column.wire9",
    "zk.column.wire10",
    "zk.column.wire11",
    "zk.column.m",
    "zk.column.z",
    "zk.column.h0",
    "zk.column.h1",
    "zk.column.s",
];

/// Names of the switches by point of a proof, in the order of sending.
pub(crate) const POINT: [&str; crate::proof::COMMITMENTS + 2] = [
    "transcript.wire0",
    "transcript.wire1",
    "transcript.wire2",
    "transcript.wire3",
    "transcript.wire4",
    "transcript.wire5",
    "transcript.wire6",
    "transcript.wire7",
    "transcript.wire8",
    "transcript.wire9",
    "transcript.wire10",
    "transcript.wire11",
    "transcript.m",
    "transcript.z",
    "transcript.h0",
    "transcript.h1",
    "transcript.s",
    "transcript.chunk0",
    "transcript.chunk1",
    "transcript.chunk2",
    "transcript.chunk3",
    "transcript.chunk4",
    "transcript.w",
    "transcript.w_prime",
];

/// Names of the switches by value that hides the quotient's chunks.
pub(crate) const ZK_CHUNK: [&str; 2 * (crate::shape::QUOTIENT_CHUNKS - 1)] = [
    "zk.chunk.0.b",
    "zk.chunk.0.c",
    "zk.chunk.1.b",
    "zk.chunk.1.c",
    "zk.chunk.2.b",
    "zk.chunk.2.c",
    "zk.chunk.3.b",
    "zk.chunk.3.c",
];

/// Every switch of this crate.
pub fn switches() -> Vec<Switch> {
    let constraint = |gate: Gate, equation| Switch {
        name: Cow::Owned(of_constraint(gate, equation)),
        harmless: None,
    };
    let constraints = Gate::ALL
        .into_iter()
        .flat_map(|gate| (0..gate.equations()).map(move |equation| constraint(gate, equation)));
    constraints.chain(NAMED.iter().cloned()).collect()
}

#[cfg(feature = "weaken")]
pub(crate) use on::Weakened;

#[cfg(feature = "weaken")]
mod on {
    use rollmill_algebra::Fr;
    use rollmill_algebra::device::Expr;

    use super::{Gate, of_constraint};
    use crate::gates::Sink;

    /// Passes constraints on, the one that is switched off as zero.
    pub(crate) struct Weakened<'a, S> {
        to: &'a mut S,
        gone: Option<(Gate, usize)>,
    }

    impl<'a, S> Weakened<'a, S> {
        pub(crate) fn new(to: &'a mut S) -> Self {
            // Looked up once per row. Most runs have no switched name, or one of another set.
            let name = rollmill_algebra::weaken::name();
            let gone = name.strip_prefix("gates.").and_then(|_| {
                let each = |gate: Gate| (0..gate.equations()).map(move |i| (gate, i));
                Gate::ALL.into_iter().flat_map(each).find(|(g, i)| of_constraint(*g, *i) == *name)
            });
            Self { to, gone }
        }
    }

    impl<E: Expr, S: Sink<E>> Sink<E> for Weakened<'_, S> {
        fn group(&mut self, gate: Gate, selector: &E, terms: &[E]) {
            match self.gone {
                Some((gone, equation)) if gone == gate => {
                    let mut terms = terms.to_vec();
                    terms[equation] = E::constant(Fr::from(0u64));
                    self.to.group(gate, selector, &terms);
                }
                _ => self.to.group(gate, selector, terms),
            }
        }
        fn single(&mut self, gate: Gate, term: E) {
            let gone = self.gone == Some((gate, 0));
            self.to.single(gate, if gone { E::constant(Fr::from(0u64)) } else { term });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constraint_has_a_switch_and_no_name_is_there_twice() {
        let all = switches();
        let of_constraints = all.len() - NAMED.len();
        assert_eq!(of_constraints, crate::gates::CONSTRAINTS);
        let names: std::collections::HashSet<_> = all.iter().map(|s| &s.name).collect();
        assert_eq!(names.len(), all.len());
        for name in LIMB
            .iter()
            .chain(&VALUE)
            .chain(&COLUMN)
            .chain(&ZK_COLUMN)
            .chain(&ZK_CHUNK)
            .chain(&POINT)
        {
            assert!(NAMED.iter().any(|switch| switch.name == *name), "{name} is not registered");
        }
    }

    /// Goal: the switch of a point or column leaves out that point or column.
    #[test]
    fn the_switches_are_in_the_order_of_sending() {
        use crate::schedule::{Group, Message, POINTS, ROUNDS};
        use crate::shape::{HELPERS, ROUTED, WIRES};
        let mut names = Vec::new();
        for round in ROUNDS {
            let Message::Points(groups) = round.sends else { continue };
            for group in groups {
                names.extend((0..group.count()).map(|i| match group {
                    Group::Routed => format!("wire{i}"),
                    Group::Limbs => format!("wire{}", ROUTED + i),
                    Group::Helpers => format!("h{i}"),
                    Group::Chunks => format!("chunk{i}"),
                    Group::Multiplicities => "m".into(),
                    Group::Product => "z".into(),
                    Group::Sum => "s".into(),
                    Group::Opening => "w".into(),
                    Group::OpeningAtZPrime => "w_prime".into(),
                    Group::Fixed => unreachable!("no round sends it"),
                }));
            }
        }
        for (set, list) in [("transcript", &POINT[..]), ("zk.column", &ZK_COLUMN)] {
            for (name, switch) in names.iter().zip(list) {
                assert_eq!(*switch, format!("{set}.{name}"));
            }
        }
        assert_eq!(POINT.len(), POINTS);
        assert_eq!(ZK_COLUMN.len(), WIRES + 1 + 2 + HELPERS);
    }
}
