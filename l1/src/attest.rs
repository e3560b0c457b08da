//! What a committee signs of a block, and how signatures go to the contract.

use alloy::primitives::{Address, B256, Bytes, Signature, U256};
use alloy::sol_types::{Eip712Domain, SolStruct};

use crate::abi::Attestations;

mod typed {
    alloy::sol! {
        /// EIP-712 type of what is signed.
        #[derive(Debug)]
        struct Block {
            uint64 number;
            uint64 slot;
            bytes32 chain;
        }
    }
}

/// Largest committee.
pub const COMMITTEE_MAX: usize = 64;

/// The EIP-712 digest of a block under the rollup's domain. `chain` is the link, so that the signature covers
/// header, data, fees, coinbase and messages.
pub fn block_digest(chain_id: u64, rollup: Address, number: u64, slot: u64, chain: B256) -> B256 {
    let domain = Eip712Domain::new(
        Some("Rollmill".into()),
        Some("2".into()),
        Some(U256::from(chain_id)),
        Some(rollup),
        None,
    );
    typed::Block { number, slot, chain }.eip712_signing_hash(&domain)
}

/// Signatures that a committee of this size needs: two thirds plus one, the proposer's included.
pub const fn quorum(size: usize) -> usize {
    size * 2 / 3 + 1
}

/// The committee's signatures as the contract takes them: a bit for each member that signed; then, member
/// by member, 65 bytes of signature or 20 bytes of address. Members beyond [`COMMITTEE_MAX`] are left out.
pub fn attestations(members: &[(Address, Option<Signature>)]) -> Attestations {
    let mut bitmap = U256::ZERO;
    let mut list = Vec::new();
    for (i, (member, signature)) in members.iter().take(COMMITTEE_MAX).enumerate() {
        match signature {
            Some(signature) => {
                bitmap |= U256::from(1) << i;
                list.extend(signature.as_bytes());
            }
            None => list.extend(member),
        }
    }
    Attestations { bitmap, signaturesOrAddresses: Bytes::from(list) }
}
