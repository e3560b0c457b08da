//! What the kernel's circuits state between two calls. The last one, [`crate::Circuit::PrivateTail`], states
//! [`crate::ClientInputs`].

use rollmill_algebra::Fr;
use rollmill_algebra::pair::Pair;

use crate::layout::layout;

layout! {
    /// What a proof of init, init2 or inner states.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct KernelInputs as KernelInputsLayout, "kernel inputs" {
        /// Digest of the state after the call.
        pub state: Fr,
        /// Root of the verification-key tree.
        pub vk_root: Fr,
        /// Version of the rules that the circuits enforce.
        pub protocol_version: u64,
        /// What is still owed for the proofs below.
        pub pair: Pair,
    }
}
