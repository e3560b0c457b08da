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
    typed::Block { number, slot, chain }.eip712_signing_hash(&domain(chain_id, rollup))
}

/// The EIP-712 domain of everything that is signed for a deployment.
pub(crate) fn domain(chain_id: u64, rollup: Address) -> Eip712Domain {
    Eip712Domain::new(
        Some("Rollmill".into()),
        Some("2".into()),
        Some(U256::from(chain_id)),
        Some(rollup),
        None,
    )
}

/// Bytes of a signature: r, s, and 27 or 28.
pub const SIGNATURE_BYTES: usize = 65;

/// Who made a signature of a digest. As the contract does, it takes one form of each signature only: s in the
/// lower half of the order, and 27 or 28 at the end. `None` for anything else.
pub fn recover(digest: &B256, signature: &[u8; SIGNATURE_BYTES]) -> Option<Address> {
    let signature = read(signature)?;
    signature.recover_address_from_prehash(digest).ok()
}

/// A signature of the form that the contract takes.
pub fn read(bytes: &[u8; SIGNATURE_BYTES]) -> Option<Signature> {
    if !matches!(bytes[SIGNATURE_BYTES - 1], 27 | 28) {
        return None;
    }
    let signature = Signature::from_raw_array(bytes).ok()?;
    signature.normalize_s().is_none().then_some(signature)
}

/// Who proposes in a slot, and whose signatures the block needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    pub slot: u64,
    pub epoch: u64,
    pub proposer: Address,
    /// The committee of the epoch, in the contract's order.
    pub members: Vec<Address>,
}

impl Duty {
    /// Signatures that a block of the slot needs, the proposer's included.
    pub fn quorum(&self) -> usize {
        quorum(self.members.len())
    }
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

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use alloy::signers::SignerSync;
    use alloy::signers::local::PrivateKeySigner;

    use super::*;

    /// Order of secp256k1 (SEC 2, section 2.4.1).
    const ORDER: &str = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    #[test]
    fn one_form_of_a_signature_is_read_and_no_other() {
        let signer: PrivateKeySigner = format!("{:064x}", 7).parse().unwrap();
        let digest = B256::with_last_byte(9);
        let signature = signer.sign_hash_sync(&digest).unwrap();
        let bytes = signature.as_bytes();
        assert_eq!(recover(&digest, &bytes), Some(signer.address()));
        assert_ne!(recover(&B256::ZERO, &bytes), Some(signer.address()));
        // The same signature with -s and the other parity, which precompiles accept.
        let order: U256 = ORDER.parse().unwrap();
        let twin = Signature::new(signature.r(), order - signature.s(), !signature.v());
        assert_eq!(twin.recover_address_from_prehash(&digest).unwrap(), signer.address());
        assert_eq!(recover(&digest, &twin.as_bytes()), None);
        for v in (0..=255).filter(|v| *v != bytes[64]) {
            let mut other = bytes;
            other[64] = v;
            assert_ne!(recover(&digest, &other), Some(signer.address()), "v = {v}");
        }
        assert_eq!(recover(&digest, &[0; 65]), None);
        assert_eq!(recover(&digest, &[0xff; 65]), None);
    }
}
