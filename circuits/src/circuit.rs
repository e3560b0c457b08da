//! What is fixed about each circuit's rows. What a circuit states and verifies is in
//! [`rollmill_protocol::circuit`].

use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_plonk::shape::{WIRES, fixed};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_protocol::Circuit;
use rollmill_protocol::circuit::Verifier;

use crate::{client, private};

/// Bits of a limb cell of every circuit that verifies proofs: non-native arithmetic needs this width.
pub const RANGE_CELL_BITS: u32 = 16;
/// Base-2 logarithm of the number of rows of every circuit that verifies proofs: the smallest that fits the range
/// table with a ROM, and two verifications.
pub const RANGE_LOG_N: u32 = 17;
/// Bits of a limb cell of BlockRoot without ranges, which has no non-native arithmetic: the widest whose range table
/// fits in its rows.
pub const EMPTY_BLOCK_CELL_BITS: u32 = 12;
/// Base-2 logarithm of the number of rows of BlockRoot without ranges.
pub const EMPTY_BLOCK_LOG_N: u32 = 13;
/// Wire columns of every circuit.
pub const WIRE_COLUMNS: usize = WIRES;
/// Fixed columns of every circuit.
pub const FIXED_COLUMNS: usize = fixed::COUNT;
/// Bytes of every proof.
pub const PROOF_LEN: usize = PROOF_BYTES;

/// What is fixed about a circuit's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Base-2 logarithm of the number of rows.
    pub log_n: u32,
    /// Bits of a limb cell.
    pub cell_bits: u32,
    /// The budget for `log_n`, which `cargo xtask circuits` checks. Raise it only on purpose.
    pub log_n_max: u32,
    /// Order in which an idle agent loads keys, lowest first; `None` if wallets prove the circuit.
    pub warmed: Option<u8>,
}

/// What a parent must know of a child's rows, besides their commitments, to verify a proof. Parents accept a constant
/// list of these, and the key determines which one it is (decision 48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dimensions {
    /// Base-2 logarithm of the number of rows.
    pub log_n: u32,
    /// Bits of a limb cell.
    pub cell_bits: u32,
}

const fn row(log_n: u32, cell_bits: u32, log_n_max: u32, warmed: Option<u8>) -> Size {
    Size { log_n, cell_bits, log_n_max, warmed }
}

/// The table of sizes. Keys are loaded in the order of how many jobs an epoch has for them: many
/// transactions, some blocks and one root.
pub const fn size(circuit: Circuit) -> Size {
    const N: u32 = RANGE_LOG_N;
    const BITS: u32 = RANGE_CELL_BITS;
    const KERNEL: Size = row(private::LOG_N, private::CELL_BITS, 17, None);
    match circuit {
        Circuit::Client => row(client::LOG_N, client::CELL_BITS, 15, None),
        Circuit::TxBase => row(N, BITS, 17, Some(0)),
        Circuit::TxMerge => row(N, BITS, 18, Some(1)),
        Circuit::BlockRoot0 => row(EMPTY_BLOCK_LOG_N, EMPTY_BLOCK_CELL_BITS, 13, Some(6)),
        Circuit::BlockRoot1 => row(N, BITS, 18, Some(3)),
        Circuit::BlockRoot2 => row(N, BITS, 18, Some(2)),
        Circuit::BlockMerge => row(N, BITS, 18, Some(4)),
        Circuit::EpochRoot1 => row(N, BITS, 18, Some(7)),
        Circuit::EpochRoot2 => row(N, BITS, 18, Some(5)),
        Circuit::PrivateInit
        | Circuit::PrivateInner
        | Circuit::PrivateTail
        | Circuit::PrivateInit2 => KERNEL,
    }
}

/// Base-2 logarithm of a circuit's number of rows.
pub const fn log_n(circuit: Circuit) -> u32 {
    size(circuit).log_n
}

/// Bits of a circuit's limb cells.
pub const fn cell_bits(circuit: Circuit) -> u32 {
    size(circuit).cell_bits
}

/// Number of rows and width of limb cells of a circuit.
pub const fn dimensions(circuit: Circuit) -> Dimensions {
    let Size { log_n, cell_bits, .. } = size(circuit);
    Dimensions { log_n, cell_bits }
}

/// The transcript of a circuit's proofs: the cheapest one for its verifier.
pub const fn transcript(circuit: Circuit) -> TranscriptKind {
    match circuit.verifier() {
        Verifier::Circuit => TranscriptKind::Poseidon2,
        Verifier::L1 => TranscriptKind::Keccak,
    }
}

/// The circuits whose proofs L1 verifies, each with the name of its verifier contract, in the order in
/// which the Rollup takes them.
pub fn contracts() -> Vec<(Circuit, String)> {
    Circuit::ALL
        .into_iter()
        .filter(|circuit| circuit.verifier() == Verifier::L1)
        .map(|circuit| (circuit, format!("{circuit:?}Verifier")))
        .collect()
}

/// The circuits whose keys an idle agent loads, in order.
pub fn warm_order() -> Vec<Circuit> {
    let mut order: Vec<_> =
        Circuit::ALL.into_iter().filter(|circuit| size(*circuit).warmed.is_some()).collect();
    order.sort_by_key(|circuit| size(*circuit).warmed);
    order
}
