//! The circuits: what each states, which proofs it verifies, and who verifies its proofs.

use crate::layout::Encode;
use crate::public_inputs::{BlockRange, ClientInputs, EpochRoot, TxRange};

/// Circuits that prove the same statement and differ in how many proofs they verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// One transfer, proven by its sender.
    Client,
    /// One transaction takes effect.
    TxBase,
    /// Two adjacent runs of transactions become one.
    TxMerge,
    /// A run of transactions is a whole block.
    BlockRoot,
    /// Two adjacent runs of blocks become one.
    BlockMerge,
    /// A run of blocks lies inside one epoch.
    EpochRoot,
}

/// Who verifies the proofs of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verifier {
    /// Another circuit; of client proofs, nodes as well.
    Circuit,
    /// The contract.
    L1,
}

/// Makes the enum of the circuits, and everything that is fixed about each, of one table.
macro_rules! circuits {
    ($(
        $(#[doc = $doc:literal])+
        $circuit:ident = $name:literal: $family:ident, states $inputs:ident,
            verifies $count:literal of [$($child:ident)*], verified by $verifier:ident;
    )+) => {
        /// A circuit, which is also a type of job and a place in the verification-key tree.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Circuit {
            $($(#[doc = $doc])+ $circuit,)+
        }

        impl Circuit {
            /// Every circuit; a circuit's place here is its role and its index in the key tree.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$circuit),+];

            /// The name, which is also the job type.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$circuit => $name,)+
                }
            }

            /// The statement, which other circuits may share.
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$circuit => Family::$family,)+
                }
            }

            /// Number of public inputs.
            pub const fn n_public(self) -> usize {
                match self {
                    $(Self::$circuit => $inputs::FIELDS,)+
                }
            }

            /// Where in the public inputs the carried pair starts; `None` when there is none.
            pub const fn pair_at(self) -> Option<usize> {
                match self {
                    $(Self::$circuit => <$inputs as Encode>::PAIR_AT,)+
                }
            }

            /// Number of proofs a proof of this circuit verifies.
            pub const fn child_count(self) -> usize {
                match self {
                    $(Self::$circuit => $count,)+
                }
            }

            /// Circuits whose proofs this circuit accepts, the same for each of its children.
            pub const fn accepts(self) -> &'static [Self] {
                match self {
                    $(Self::$circuit => &[$(Self::$child),*],)+
                }
            }

            /// Who verifies its proofs.
            pub const fn verifier(self) -> Verifier {
                match self {
                    $(Self::$circuit => Verifier::$verifier,)+
                }
            }
        }
    };
}

// A block of one run takes a TxBase only, and an epoch of one run a block only: two or more are proven by
// the variant for two, so that the rows charged do not depend on a choice.
circuits! {
    /// One transfer.
    Client = "client": Client, states ClientInputs,
        verifies 0 of [], verified by Circuit;
    /// One transaction.
    TxBase = "tx_base": TxBase, states TxRange,
        verifies 1 of [Client], verified by Circuit;
    /// Two runs of transactions.
    TxMerge = "tx_merge": TxMerge, states TxRange,
        verifies 2 of [TxBase TxMerge], verified by Circuit;
    /// A block without transactions.
    BlockRoot0 = "block_root_0": BlockRoot, states BlockRange,
        verifies 0 of [], verified by Circuit;
    /// A block of one run.
    BlockRoot1 = "block_root_1": BlockRoot, states BlockRange,
        verifies 1 of [TxBase], verified by Circuit;
    /// A block of two runs.
    BlockRoot2 = "block_root_2": BlockRoot, states BlockRange,
        verifies 2 of [TxBase TxMerge], verified by Circuit;
    /// Two runs of blocks.
    BlockMerge = "block_merge": BlockMerge, states BlockRange,
        verifies 2 of [BlockRoot0 BlockRoot1 BlockRoot2 BlockMerge], verified by Circuit;
    /// An epoch of one run.
    EpochRoot1 = "epoch_root_1": EpochRoot, states EpochRoot,
        verifies 1 of [BlockRoot0 BlockRoot1 BlockRoot2], verified by L1;
    /// An epoch of two runs.
    EpochRoot2 = "epoch_root_2": EpochRoot, states EpochRoot,
        verifies 2 of [BlockRoot0 BlockRoot1 BlockRoot2 BlockMerge], verified by L1;
}

impl Circuit {
    /// The circuit of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|circuit| circuit.name() == name)
    }

    /// The circuit of a family that verifies this many proofs, if there is one.
    pub fn variant(family: Family, children: usize) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|circuit| circuit.family() == family && circuit.child_count() == children)
    }

    /// Index in the key tree, and the role in its leaf.
    pub fn role(self) -> u64 {
        self as u64
    }
}

impl std::fmt::Display for Circuit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
