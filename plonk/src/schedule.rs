//! The schedule of a proof: what each round sends and draws, and where each column is opened.
//!
//! Two tables define it, [`ROUNDS`] and [`OPENINGS`]. The prover, the encoding of a proof, the native
//! verifier, the verifier in a circuit and the Solidity verifier compute every position, number and order from
//! them; tests compare them with the tables of `docs/book/protocol.md`.

use std::ops::Range;

use crate::shape::{
    HELPERS, LIMBS, NEXT_ROTATIONS, QUOTIENT_CHUNKS, ROUTED, ROUTED_ROTATIONS, fixed,
};

/// An enum and the list of its values.
macro_rules! listed {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$value_meta:meta])* $value:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_meta])* $value),* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value),*];
        }
    };
}

listed! {
    /// Columns, or points, that are sent and opened together.
    pub enum Group {
        /// Routed wires.
        Routed,
        /// Limb wires.
        Limbs,
        /// Multiplicities.
        Multiplicities,
        /// Permutation product.
        Product,
        /// Lookup helpers.
        Helpers,
        /// Bus sum.
        Sum,
        /// Quotient chunks.
        Chunks,
        /// Fixed columns, whose commitments are in the verifying key; no round sends them.
        Fixed,
        /// Opening quotient W.
        Opening,
        /// Opening W′ of the linearised combination at z′.
        OpeningAtZPrime,
    }
}

listed! {
    /// What a verifier draws.
    pub enum Challenge {
        /// Joins the parts of a ROM tuple.
        Eta,
        /// Shifts bus fingerprints and permutation names.
        Beta,
        /// Shifts permutation terms.
        Gamma,
        /// Folds the constraints.
        Alpha,
        /// The point at which every column is opened.
        Zeta,
        /// One short coefficient for each claim.
        Rho,
        /// The point at which the combination of all claims is opened.
        ZPrime,
        /// Seed of the coefficients that fold pairs.
        Fold,
    }
}

/// What a prover sends in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Commitments to these groups, in this order.
    Points(&'static [Group]),
    /// All evaluations, in the order of [`OPENINGS`].
    Evaluations,
}

/// One round of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// What the prover sends.
    pub sends: Message,
    /// What the verifier draws then, at one squeeze of the transcript.
    pub draws: &'static [Challenge],
}

/// The rounds, after the key's digest and the public inputs were absorbed.
pub const ROUNDS: &[Round] = {
    use Challenge::*;
    use Group::*;
    &[
        Round {
            sends: Message::Points(&[Routed, Limbs, Multiplicities]),
            draws: &[Eta, Beta, Gamma],
        },
        Round { sends: Message::Points(&[Product, Helpers, Sum]), draws: &[Alpha] },
        Round { sends: Message::Points(&[Chunks]), draws: &[Zeta] },
        Round { sends: Message::Evaluations, draws: &[Rho] },
        Round { sends: Message::Points(&[Opening]), draws: &[ZPrime] },
        Round { sends: Message::Points(&[OpeningAtZPrime]), draws: &[Fold] },
    ]
};

/// Columns that are opened at the same points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpeningSet {
    /// At how many points: ζ, then ζω, ζω² and so on.
    pub points: usize,
    /// Which columns, in the order of the claims.
    pub groups: &'static [Group],
}

/// The opening sets, in the order of the claims; each set is opened at more points than the one before.
pub const OPENINGS: &[OpeningSet] = {
    use Group::*;
    &[
        OpeningSet { points: 1, groups: &[Multiplicities, Helpers, Chunks, Fixed] },
        OpeningSet { points: NEXT_ROTATIONS, groups: &[Limbs, Product, Sum] },
        OpeningSet { points: ROUTED_ROTATIONS, groups: &[Routed] },
    ]
};

impl Group {
    /// How many columns or points the group has.
    pub const fn count(self) -> usize {
        match self {
            Self::Routed => ROUTED,
            Self::Limbs => LIMBS,
            Self::Helpers => HELPERS,
            Self::Chunks => QUOTIENT_CHUNKS,
            Self::Fixed => fixed::COUNT,
            Self::Multiplicities
            | Self::Product
            | Self::Sum
            | Self::Opening
            | Self::OpeningAtZPrime => 1,
        }
    }

    /// The letter of the group in the book.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Routed => "w",
            Self::Limbs => "l",
            Self::Multiplicities => "m",
            Self::Product => "z",
            Self::Helpers => "h",
            Self::Sum => "s",
            Self::Chunks => "t",
            Self::Fixed => "fixed columns",
            Self::Opening => "W",
            Self::OpeningAtZPrime => "W′",
        }
    }

    /// Index of the group's first point in a proof.
    ///
    /// # Panics
    /// For a group that no round sends. At compile time wherever it is used in a constant.
    pub const fn point(self) -> usize {
        let (mut at, mut round) = (0, 0);
        while round < ROUNDS.len() {
            if let Message::Points(groups) = ROUNDS[round].sends {
                let mut i = 0;
                while i < groups.len() {
                    if groups[i] as usize == self as usize {
                        return at;
                    }
                    at += groups[i].count();
                    i += 1;
                }
            }
            round += 1;
        }
        panic!("no round sends this group")
    }

    /// Indices of the group's points in a proof.
    pub const fn points(self) -> Range<usize> {
        self.point()..self.point() + self.count()
    }

    /// Index of the evaluation of one of the group's columns at ζω^rotation.
    ///
    /// # Panics
    /// For a group that is not opened, or not at this point. At compile time wherever it is used in a
    /// constant.
    pub const fn evaluation(self, column: usize, rotation: usize) -> usize {
        assert!(column < self.count(), "the group has fewer columns");
        let (mut at, mut set) = (0, 0);
        while set < OPENINGS.len() {
            let OpeningSet { points, groups } = OPENINGS[set];
            let mut i = 0;
            while i < groups.len() {
                if groups[i] as usize == self as usize {
                    assert!(rotation < points, "the group is not opened at this point");
                    return at + points * column + rotation;
                }
                at += points * groups[i].count();
                i += 1;
            }
            set += 1;
        }
        panic!("no set opens this group")
    }
}

impl Round {
    /// How many points the prover sends in this round.
    pub const fn points(&self) -> usize {
        match self.sends {
            Message::Points(groups) => count(groups),
            Message::Evaluations => 0,
        }
    }
}

impl OpeningSet {
    /// How many columns are in the set: its claims.
    pub const fn claims(&self) -> usize {
        count(self.groups)
    }
}

const fn count(groups: &[Group]) -> usize {
    let (mut sum, mut i) = (0, 0);
    while i < groups.len() {
        sum += groups[i].count();
        i += 1;
    }
    sum
}

/// Points of a proof before the evaluations.
pub const COMMITMENTS: usize = {
    let (mut sum, mut i) = (0, 0);
    while !matches!(ROUNDS[i].sends, Message::Evaluations) {
        sum += ROUNDS[i].points();
        i += 1;
    }
    sum
};

/// All points of a proof.
pub const POINTS: usize = {
    let (mut sum, mut i) = (0, 0);
    while i < ROUNDS.len() {
        sum += ROUNDS[i].points();
        i += 1;
    }
    sum
};

/// All columns that are opened; each has one short coefficient.
pub const CLAIMS: usize = {
    let (mut sum, mut i) = (0, 0);
    while i < OPENINGS.len() {
        sum += OPENINGS[i].claims();
        i += 1;
    }
    sum
};

/// All evaluations of a proof.
pub const EVALUATIONS: usize = {
    let (mut sum, mut i) = (0, 0);
    while i < OPENINGS.len() {
        sum += OPENINGS[i].points * OPENINGS[i].claims();
        i += 1;
    }
    sum
};

/// Points at which any column is opened: ζ and its rotations.
pub const OPENING_POINTS: usize = OPENINGS[OPENINGS.len() - 1].points;

/// One claim: a column and the evaluations it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The group of the column.
    pub group: Group,
    /// Which column of the group.
    pub column: usize,
    /// Index of the set in [`OPENINGS`].
    pub set: usize,
    /// Index of its evaluation at ζ; those at the further points follow.
    pub evaluation: usize,
}

impl Claim {
    /// Picks the claim's column out of what a proof has for its points and a key for its fixed columns.
    pub fn pick<T: Copy>(&self, points: &[T], fixed: &[T]) -> T {
        match self.group {
            Group::Fixed => fixed[self.column],
            sent => points[sent.point() + self.column],
        }
    }

    /// Indices of the claim's evaluations: at ζ, ζω and so on.
    pub fn evaluations(&self) -> Range<usize> {
        self.evaluation..self.evaluation + OPENINGS[self.set].points
    }
}

/// The claims in order.
pub const CLAIM_ORDER: [Claim; CLAIMS] = {
    let mut order = [Claim { group: Group::Fixed, column: 0, set: 0, evaluation: 0 }; CLAIMS];
    let (mut next, mut set) = (0, 0);
    while set < OPENINGS.len() {
        let mut i = 0;
        while i < OPENINGS[set].groups.len() {
            let group = OPENINGS[set].groups[i];
            let mut column = 0;
            while column < group.count() {
                let evaluation = group.evaluation(column, 0);
                order[next] = Claim { group, column, set, evaluation };
                next += 1;
                column += 1;
            }
            i += 1;
        }
        set += 1;
    }
    order
};

/// What was drawn so far.
#[derive(Debug, Clone)]
pub struct Drawn<V> {
    values: Vec<Option<V>>,
    /// The short value of each claim; empty before its round.
    pub rho: Vec<V>,
}

impl<V: Copy> Drawn<V> {
    /// Nothing.
    pub fn new() -> Self {
        Self { values: vec![None; Challenge::ALL.len()], rho: Vec::new() }
    }

    /// Takes what was drawn in a round: [`Round::draws`] in order, or a short value for each claim.
    ///
    /// # Panics
    /// If there are not as many values as the round draws: a bug of the caller.
    pub fn put(&mut self, round: &Round, values: Vec<V>) {
        if round.draws == [Challenge::Rho] {
            assert_eq!(values.len(), CLAIMS, "each claim has one short value");
            self.rho = values;
            return;
        }
        assert_eq!(values.len(), round.draws.len(), "a round draws what the schedule lists");
        for (challenge, value) in round.draws.iter().zip(values) {
            self.values[*challenge as usize] = Some(value);
        }
    }

    /// A challenge that one round draws alone or with others, so not [`Challenge::Rho`].
    ///
    /// # Panics
    /// If no round before has drawn it: the schedule contradicts its user.
    pub fn get(&self, challenge: Challenge) -> V {
        match self.values[challenge as usize] {
            Some(value) => value,
            None => panic!("{challenge:?} is used before the schedule draws it"),
        }
    }
}

impl<V: Copy> Default for Drawn<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// A transcript that replays a proof.
pub trait Channel {
    /// A challenge.
    type Value: Copy;
    /// Absorbs the proof's points of these indices.
    fn absorb_points(&mut self, points: Range<usize>);
    /// Absorbs all evaluations.
    fn absorb_evaluations(&mut self);
    /// Draws challenges.
    fn squeeze(&mut self, count: usize) -> Vec<Self::Value>;
    /// Draws short values.
    fn squeeze_short(&mut self, count: usize) -> Vec<Self::Value>;
}

/// Replays the rounds of a proof and draws every challenge.
pub fn replay<C: Channel>(channel: &mut C) -> Drawn<C::Value> {
    let mut drawn = Drawn::new();
    let mut sent = 0;
    for round in ROUNDS {
        match round.sends {
            Message::Points(_) => channel.absorb_points(sent..sent + round.points()),
            Message::Evaluations => channel.absorb_evaluations(),
        }
        sent += round.points();
        let values = match round.draws {
            [Challenge::Rho] => channel.squeeze_short(CLAIMS),
            several => channel.squeeze(several.len()),
        };
        drawn.put(round, values);
    }
    drawn
}
