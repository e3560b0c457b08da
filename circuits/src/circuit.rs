//! What is fixed about each circuit: its size, its public inputs, its children.

use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_plonk::shape::{WIRES, fixed};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::PAIR_INPUTS;
use rollmill_protocol::{BlockRange, Circuit, ClientInputs, EpochRoot, TxRange};

/// Bits of a limb cell of every circuit but the client's.
pub const RANGE_CELL_BITS: u32 = 16;
/// Base-2 logarithm of the number of rows of every circuit but the client's: the least that holds the
/// range table besides a ROM, and two verifications.
pub const RANGE_LOG_N: u32 = 17;
/// Wire columns of every circuit.
pub const WIRE_COLUMNS: usize = WIRES;
/// Fixed columns of every circuit.
pub const FIXED_COLUMNS: usize = fixed::COUNT;
/// Bytes of every proof.
pub const PROOF_LEN: usize = PROOF_BYTES;

/// Base-2 logarithm of a circuit's number of rows.
pub const fn log_n(circuit: Circuit) -> u32 {
    match circuit {
        Circuit::Client => crate::client::LOG_N,
        Circuit::TxBase
        | Circuit::TxMerge
        | Circuit::BlockRoot0
        | Circuit::BlockRoot1
        | Circuit::BlockRoot2
        | Circuit::BlockMerge
        | Circuit::EpochRoot1
        | Circuit::EpochRoot2 => RANGE_LOG_N,
    }
}

/// Bits of a circuit's limb cells.
pub const fn cell_bits(circuit: Circuit) -> u32 {
    match circuit {
        Circuit::Client => crate::client::CELL_BITS,
        Circuit::TxBase
        | Circuit::TxMerge
        | Circuit::BlockRoot0
        | Circuit::BlockRoot1
        | Circuit::BlockRoot2
        | Circuit::BlockMerge
        | Circuit::EpochRoot1
        | Circuit::EpochRoot2 => RANGE_CELL_BITS,
    }
}

/// Number of a circuit's public inputs.
pub const fn n_public(circuit: Circuit) -> usize {
    match circuit {
        Circuit::Client => ClientInputs::FIELDS,
        Circuit::TxBase | Circuit::TxMerge => TxRange::FIELDS,
        Circuit::EpochRoot1 | Circuit::EpochRoot2 => EpochRoot::FIELDS,
        Circuit::BlockRoot0 | Circuit::BlockRoot1 | Circuit::BlockRoot2 | Circuit::BlockMerge => {
            BlockRange::FIELDS
        }
    }
}

/// Where in the public inputs the carried pair starts: it is last.
pub const fn pair_at(circuit: Circuit) -> Option<usize> {
    match circuit {
        Circuit::Client => None,
        other => Some(n_public(other) - PAIR_INPUTS),
    }
}

/// The transcript of a circuit's proofs: Keccak where L1 verifies.
pub const fn transcript(circuit: Circuit) -> TranscriptKind {
    match circuit {
        Circuit::EpochRoot1 | Circuit::EpochRoot2 => TranscriptKind::Keccak,
        Circuit::Client
        | Circuit::TxBase
        | Circuit::TxMerge
        | Circuit::BlockRoot0
        | Circuit::BlockRoot1
        | Circuit::BlockRoot2
        | Circuit::BlockMerge => TranscriptKind::Poseidon2,
    }
}
