//! The circuits: what each states, which proofs it verifies, and what verifies its proofs.

use crate::layout::Encode;
use crate::private::KernelInputs;
use crate::public_inputs::{BlockRange, ClientInputs, EpochRoot, TxRange};

/// The verifier of a circuit's proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verifier {
    /// Another circuit; of client proofs, nodes as well.
    Circuit,
    /// The contract.
    L1,
}

impl Verifier {
    /// The transcript of the proofs it verifies, as in key leaves: 0 for Poseidon2, 1 for Keccak.
    pub const fn transcript(self) -> u64 {
        match self {
            Self::Circuit => 0,
            Self::L1 => 1,
        }
    }
}

/// Makes both enums, and everything that is fixed about each circuit, from one table.
macro_rules! circuits {
    ($(
        $(#[doc = $family_doc:literal])+
        $family:ident: states $inputs:ident, verified by $verifier:ident {
            $(
                $(#[doc = $doc:literal])+
                $circuit:ident = $name:literal, verifies $count:literal of [$($child:ident)*];
            )+
        }
    )+) => {
        /// Circuits that prove the same statement and differ in how many proofs they verify.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Family {
            $($(#[doc = $family_doc])+ $family,)+
        }

        /// A circuit, which is also a place in the verification-key tree and, unless wallets prove it, a type of job.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Circuit {
            $($($(#[doc = $doc])+ $circuit,)+)+
        }

        impl Circuit {
            /// Every circuit; a circuit's position here is its role and its index in the key tree.
            pub const ALL: [Self; [$($($name,)+)+].len()] = [$($(Self::$circuit,)+)+];

            /// The name, which is also the job type.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$circuit => $name,)+)+
                }
            }

            /// The statement, which other circuits may share.
            pub const fn family(self) -> Family {
                match self {
                    $($(Self::$circuit)|+ => Family::$family,)+
                }
            }

            /// Number of public inputs.
            pub const fn n_public(self) -> usize {
                match self.family() {
                    $(Family::$family => $inputs::FIELDS,)+
                }
            }

            /// Where in the public inputs the carried pair starts.
            pub const fn pair_at(self) -> usize {
                match self.family() {
                    $(Family::$family => const {
                        <$inputs as Encode>::PAIR_AT.expect("every statement carries a pair")
                    },)+
                }
            }

            /// Number of proofs a proof of this circuit verifies whose keys are in the key tree. Init and inner verify
            /// a function's proof besides, and init2 two, whose keys are in the classes of their contracts.
            pub const fn child_count(self) -> usize {
                match self {
                    $($(Self::$circuit => $count,)+)+
                }
            }

            /// Circuits whose proofs this circuit accepts, the same for each of its children.
            pub const fn accepts(self) -> &'static [Self] {
                match self {
                    $($(Self::$circuit => &[$(Self::$child),*],)+)+
                }
            }

            /// The verifier of its proofs.
            pub const fn verifier(self) -> Verifier {
                match self.family() {
                    $(Family::$family => Verifier::$verifier,)+
                }
            }
        }
    };
}

// Roles 13 and 14 are reserved for more circuits of the private kernel (private_reset) and for root_wrap. Their leaves
// are 0, and so are 15 to 31, which are free.
//
// A block of one run takes a TxBase only, and an epoch of one run a block only: two or more are proven by
// the variant for two, so that the rows charged do not depend on a choice.
circuits! {
    /// What a sender knows of one transaction, without calls.
    Client: states ClientInputs, verified by Circuit {
        /// A transfer of the built-in client.
        Client = "client", verifies 0 of [];
    }
    /// One transaction takes effect.
    TxBase: states TxRange, verified by Circuit {
        /// One transaction.
        TxBase = "tx_base", verifies 1 of [Client PrivateTail];
    }
    /// Two adjacent runs of transactions become one.
    TxMerge: states TxRange, verified by Circuit {
        /// Two runs of transactions.
        TxMerge = "tx_merge", verifies 2 of [TxBase TxMerge];
    }
    /// A run of transactions is a whole block.
    BlockRoot: states BlockRange, verified by Circuit {
        /// A block without transactions.
        BlockRoot0 = "block_root_0", verifies 0 of [];
        /// A block of one run.
        BlockRoot1 = "block_root_1", verifies 1 of [TxBase];
        /// A block of two runs.
        BlockRoot2 = "block_root_2", verifies 2 of [TxBase TxMerge];
    }
    /// Two adjacent runs of blocks become one.
    BlockMerge: states BlockRange, verified by Circuit {
        /// Two runs of blocks.
        BlockMerge = "block_merge", verifies 2 of [BlockRoot0 BlockRoot1 BlockRoot2 BlockMerge];
    }
    /// A run of blocks lies inside one epoch.
    EpochRoot: states EpochRoot, verified by L1 {
        /// An epoch of one run.
        EpochRoot1 = "epoch_root_1", verifies 1 of [BlockRoot0 BlockRoot1 BlockRoot2];
        /// An epoch of two runs.
        EpochRoot2 = "epoch_root_2", verifies 2 of [BlockRoot0 BlockRoot1 BlockRoot2 BlockMerge];
    }
    /// A private call changes what its transaction has done so far.
    Kernel: states KernelInputs, verified by Circuit {
        /// The first call of a transaction.
        PrivateInit = "private_init", verifies 0 of [];
        /// A nested call.
        PrivateInner = "private_inner", verifies 1 of [PrivateInit PrivateInner PrivateInit2];
    }
    /// All private calls of a transaction together state what a client proof states.
    Tail: states ClientInputs, verified by Circuit {
        /// The end of a transaction of private calls.
        PrivateTail = "private_tail", verifies 1 of [PrivateInit PrivateInner PrivateInit2];
    }
    /// The first two private calls of a transaction begin it. States what [`Family::Kernel`] states.
    KernelStart: states KernelInputs, verified by Circuit {
        /// The first call of a transaction, and the last of those that it made.
        PrivateInit2 = "private_init2", verifies 0 of [];
    }
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
    pub const fn role(self) -> u64 {
        self as u64
    }

    /// False for circuits that wallets prove, on the user's machine: agents have no jobs for them.
    pub const fn is_job(self) -> bool {
        !matches!(
            self.family(),
            Family::Client | Family::Kernel | Family::Tail | Family::KernelStart
        )
    }
}

impl std::fmt::Display for Circuit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
