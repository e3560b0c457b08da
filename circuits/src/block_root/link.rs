//! The block's link in the chain that L1 keeps: all that L1 checks, pays by or publishes of a block.
//!
//! Several numbers share a word. Each is in its range, so that a word has one opening.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::blob::{Commitment, CommitmentLayout, HalvesLayout};
use rollmill_protocol::block::ChainLinkLayout;
use rollmill_protocol::domain;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::layout::Encode;
use rollmill_protocol::public_inputs::TxRangeLayout;

use crate::gadgets::uint::range_bits;
use crate::weaken::gone;

/// The block's data: the commitment to its polynomial, and the polynomial's value at the point z.
pub(super) struct Data {
    z: Var,
    y: HalvesLayout<Var>,
    /// The parts of the commitment.
    commitment: CommitmentLayout<Var>,
}

/// Constrains the data of a block: z follows from the transactions and the commitment, so that the commitment was
/// fixed before anybody knew z. A block without transactions has no data.
pub(super) fn data(
    b: &mut Builder,
    range: Option<&TxRangeLayout<Var>>,
    header: &HeaderLayout<Var>,
    commitment: &Commitment,
) -> Data {
    let zero = Builder::ZERO;
    let Some(range) = range else {
        return Data {
            z: zero,
            y: HalvesLayout { lo: zero, hi: zero },
            commitment: CommitmentLayout { first: zero, second: zero, last: zero },
        };
    };
    data_given(b, range, header, commitment.cells())
}

/// [`data`] of a range, with the parts of the commitment as the prover chooses them.
fn data_given(
    b: &mut Builder,
    range: &TxRangeLayout<Var>,
    header: &HeaderLayout<Var>,
    commitment: CommitmentLayout<Fr>,
) -> Data {
    let commitment = commitment.map(|part| b.witness(part));
    for (part, bits) in commitment.to_vec().into_iter().zip(Commitment::BITS) {
        if !gone("circuits.block_root.commitment") {
            range_bits(b, part, bits);
        }
    }
    let y = range.y.clone();
    for half in [y.lo, y.hi] {
        if !gone("circuits.block_root.y") {
            range_bits(b, half, 128);
        }
    }
    let CommitmentLayout { first, second, last } = commitment.clone();
    let high = b.linear(&[(power_of_two(96), first), (Fr::from(1u64), second)], Fr::from(0u64));
    let z = b.hash(domain::BLOB_Z, &[header.txs_chain, high, last]);
    if !gone("circuits.block_root.z") {
        b.assert_equal(range.z, z);
    }
    Data { z, y, commitment }
}

/// The chain after the block.
pub(super) fn chain_after(
    b: &mut Builder,
    chain_before: Var,
    header: &HeaderLayout<Var>,
    header_hash: Var,
    archive_root: Var,
    data: Data,
) -> Var {
    let link = ChainLinkLayout {
        chain_before,
        header_hash,
        archive_root,
        slot: header.slot,
        tx_count: header.tx_count,
        fee_per_l2_gas: header.fee_per_l2_gas,
        fee_per_da_gas: header.fee_per_da_gas,
        coinbase: header.coinbase,
        l2_gas_used: header.l2_gas_used,
        total_fees: header.total_fees,
        da_gas_used: header.da_gas_used,
        in_hash: header.in_hash,
        out_root: header.out_root,
        z: data.z,
        y: data.y,
        commitment: data.commitment,
    };
    let words = link.pack(|parts| {
        let mut at = 0;
        let mut terms = Vec::with_capacity(parts.len());
        for (part, bits) in parts {
            terms.push((power_of_two(at), *part));
            at += bits;
        }
        b.linear(&terms, Fr::from(0u64))
    });
    b.hash(domain::CHAIN, &words.into_vec())
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::poseidon2;
    use rollmill_plonk::check::check;

    use super::*;

    /// Attack: a part beyond its bits, which runs into the value beside it in a word of the link, or which the other
    /// part of its half makes up for.
    #[test]
    fn parts_of_a_commitment_beyond_their_bits_are_rejected() {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        let accepted = |parts: [Fr; 3]| {
            let [first, second, last] = parts;
            let high = first * power_of_two(96) + second;
            let cells = [zero; TxRangeLayout::<Fr>::CELLS];
            let mut range = TxRangeLayout::from_slice(&cells).expect("its length");
            range.z = poseidon2::hash(domain::BLOB_Z, &[zero, high, last]);
            let cells = [zero; HeaderLayout::<Fr>::CELLS];
            let header = HeaderLayout::from_slice(&cells).expect("its length");
            let mut b = Builder::new(0, 10);
            let range = range.map(|cell| b.witness(cell));
            let header = header.map(|cell| b.witness(cell));
            data_given(&mut b, &range, &header, CommitmentLayout { first, second, last });
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        let top = Commitment::BITS.map(power_of_two);
        assert!(accepted(top.map(|limit| limit - one)));
        for i in 0..3 {
            let mut parts = [one; 3];
            parts[i] = top[i];
            assert!(!accepted(parts), "part {i}");
        }
        assert!(!accepted([-one, power_of_two(96), one]), "a part that the other makes up for");
    }
}
