//! Quotes: what a prover asks for proving an epoch, signed by it and sent to proposers.
//!
//! A quote has no effect on L1: no contract reads one, and proofs are paid by the rates of the deployment.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolStruct;
use rollmill_protocol::DecodeError;
use rollmill_protocol::codec::{Reader, Writer};

use crate::amount::Azt;
use crate::attest::{self, SIGNATURE_BYTES};
use crate::error::L1Error;
use crate::wire;

mod typed {
    alloy::sol! {
        /// EIP-712 type of what is signed.
        #[derive(Debug)]
        struct ProverQuote {
            address prover;
            uint64 epoch;
            uint256 fee;
            uint64 validUntilSlot;
        }
    }
}

/// Version of the bytes below.
const FORMAT: u8 = 1;

/// Epochs after the present one that quotes are for.
pub const EPOCHS_AHEAD: u64 = 1;

/// Most slots from the one in which a quote is made to the last one in which it is valid.
pub const VALID_SLOTS_MAX: u64 = 1024;

/// What a prover asks for proving all blocks of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The account that signs the quote.
    pub prover: Address,
    pub epoch: u64,
    /// For the whole epoch, whatever it contains.
    pub fee: Azt,
    /// The last slot in which a proposer may take the quote.
    pub valid_until_slot: u64,
}

impl Quote {
    /// The EIP-712 digest of the quote under the rollup's domain, which is that of blocks too.
    pub fn digest(&self, chain_id: u64, rollup: Address) -> B256 {
        let Self { prover, epoch, fee, valid_until_slot } = *self;
        let fee = fee.word();
        let quote = typed::ProverQuote { prover, epoch, fee, validUntilSlot: valid_until_slot };
        quote.eip712_signing_hash(&attest::domain(chain_id, rollup))
    }

    /// Signs the quote. The same key makes the same signature of a quote each time.
    ///
    /// # Errors
    /// [`L1Error::Key`] if the key is not that of the quote's prover, or does not sign.
    pub fn sign(
        self,
        key: &PrivateKeySigner,
        chain_id: u64,
        rollup: Address,
    ) -> Result<SignedQuote, L1Error> {
        if key.address() != self.prover {
            return Err(L1Error::Key {
                from: format!("account {}", key.address()),
                reason: format!("a quote of prover {} was to be signed", self.prover),
            });
        }
        let signature = wire::signature(key, self.digest(chain_id, rollup))?.as_bytes();
        Ok(SignedQuote { quote: self, signature })
    }
}

/// A quote with a signature, which [`Self::is_signed_by_its_prover`] checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedQuote {
    pub quote: Quote,
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SignedQuote {
    /// Length of the canonical bytes.
    pub const BYTES: usize = 1 + 20 + 8 + 16 + 8 + SIGNATURE_BYTES;

    /// Canonical bytes: format byte, prover (20), epoch (8), fee in base units (16), last valid slot (8) and signature
    /// (65). Numbers are big-endian. The deployment is not part of them: the signature is over it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Quote { prover, epoch, fee, valid_until_slot } = self.quote;
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.raw(prover.as_slice());
        out.u64(epoch);
        out.raw(&fee.base_units().to_be_bytes());
        out.u64(valid_until_slot);
        out.raw(&self.signature);
        out.finish()
    }

    /// Reads canonical bytes. The signature is not checked.
    ///
    /// # Errors
    /// What is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("quote", bytes);
        from.version(FORMAT)?;
        let quote = Quote {
            prover: Address::from(from.array::<20>()?),
            epoch: from.u64()?,
            fee: Azt::new(u128::from_be_bytes(from.array()?)),
            valid_until_slot: from.u64()?,
        };
        let signature = from.array()?;
        from.finish()?;
        Ok(Self { quote, signature })
    }

    /// Whether the prover signed this quote for this deployment. One form of each signature counts, as with blocks
    /// ([`attest::recover`]).
    pub fn is_signed_by_its_prover(&self, chain_id: u64, rollup: Address) -> bool {
        let digest = self.quote.digest(chain_id, rollup);
        attest::recover(&digest, &self.signature) == Some(self.quote.prover)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Signature, U256};
    use proptest::prelude::*;

    use super::*;

    const ROLLUP: Address = Address::repeat_byte(0xa0);
    const CHAIN_ID: u64 = 31337;
    /// Order of secp256k1 (SEC 2, section 2.4.1).
    const ORDER: &str = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    fn key(secret: u64) -> PrivateKeySigner {
        format!("{secret:064x}").parse().unwrap()
    }

    fn quote() -> Quote {
        Quote {
            prover: key(7).address(),
            epoch: 42,
            fee: Azt::new(1_500_000_000_000_000_001),
            valid_until_slot: 1360,
        }
    }

    fn signed() -> SignedQuote {
        quote().sign(&key(7), CHAIN_ID, ROLLUP).unwrap()
    }

    /// Digests and signatures of `eth_account` 0.14.0 (PyPI): `encode_typed_data(full_message=…)` with the types as
    /// they are above and the domain name "Rollmill", version "2", chainId, verifyingContract;
    /// `Account.from_key("0x00…07").sign_message(…)`. It signs deterministically too (RFC 6979).
    #[test]
    fn digest_and_signature_are_those_of_another_implementation() {
        let largest =
            Quote { epoch: u64::MAX, fee: Azt::new(u128::MAX), valid_until_slot: 0, ..quote() };
        let elsewhere = "0x00112233445566778899aabbccddeeff00112233".parse().unwrap();
        for (quote, chain_id, rollup, digest, signature) in [
            (
                quote(),
                CHAIN_ID,
                ROLLUP,
                "f879dc8a758b0ed4fac2a3aebd805f074e439aba5e51bd4b6517bf7d3921d4c5",
                "6f1100d308925a5bb5a240c1307bd7c46115fcb8d89d1e438541bdbed031b386\
                 1fd2e75e1af047645e896b45c50e2a5e2a6dd0f7be8d2e23ab0a77cbbf6c6dc91b",
            ),
            (
                largest,
                1,
                elsewhere,
                "704a83625a153da9cb2d780be45b94b3dd9f02aeebbba66fe35c41ca7ee0d12e",
                "c515056a8ade32871f43423acf478417ab7c1abca4e20f25bd2ecd3989ca91ac\
                 0e1011cc164e395fa4222c609f900970387173ace91086e04f99fbe485a5a6ea1b",
            ),
        ] {
            assert_eq!(hex::encode(quote.digest(chain_id, rollup)), digest);
            let signed = quote.sign(&key(7), chain_id, rollup).unwrap();
            assert_eq!(hex::encode(signed.signature), signature);
            assert!(signed.is_signed_by_its_prover(chain_id, rollup));
        }
    }

    #[test]
    fn a_signature_counts_for_its_quote_its_deployment_and_its_prover_only() {
        let right = signed();
        assert!(right.is_signed_by_its_prover(CHAIN_ID, ROLLUP));
        assert!(!right.is_signed_by_its_prover(CHAIN_ID + 1, ROLLUP), "another chain");
        assert!(!right.is_signed_by_its_prover(CHAIN_ID, Address::repeat_byte(0xa1)));
        let quote = right.quote;
        for other in [
            Quote { prover: key(8).address(), ..quote },
            Quote { epoch: 43, ..quote },
            Quote { fee: Azt::new(quote.fee.base_units() - 1), ..quote },
            Quote { valid_until_slot: 1361, ..quote },
        ] {
            let other = SignedQuote { quote: other, ..right.clone() };
            assert!(!other.is_signed_by_its_prover(CHAIN_ID, ROLLUP), "{other:?}");
        }
        // A block's signature is none of a quote, although the domain is the same.
        let block = attest::block_digest(CHAIN_ID, ROLLUP, 1, 1, B256::ZERO);
        let signature = wire::signature(&key(7), block).unwrap().as_bytes();
        let of_block = SignedQuote { signature, ..right };
        assert!(!of_block.is_signed_by_its_prover(CHAIN_ID, ROLLUP));
        let error = quote.sign(&key(8), CHAIN_ID, ROLLUP).unwrap_err();
        assert!(matches!(error, L1Error::Key { .. }), "{error}");
    }

    #[test]
    fn the_high_form_of_a_signature_does_not_count() {
        let right = signed();
        let low = attest::read(&right.signature).unwrap();
        let order: U256 = ORDER.parse().unwrap();
        let high = Signature::new(low.r(), order - low.s(), !low.v());
        let digest = right.quote.digest(CHAIN_ID, ROLLUP);
        assert_eq!(high.recover_address_from_prehash(&digest).unwrap(), right.quote.prover);
        let twin = SignedQuote { signature: high.as_bytes(), ..right };
        assert!(!twin.is_signed_by_its_prover(CHAIN_ID, ROLLUP));
    }

    proptest! {
        #[test]
        fn a_quote_is_read_back_from_its_bytes(
            prover: [u8; 20], epoch: u64, fee: u128, valid_until_slot: u64,
            half: [u8; 32],
        ) {
            let (prover, fee) = (Address::from(prover), Azt::new(fee));
            let quote = Quote { prover, epoch, fee, valid_until_slot };
            let mut signature = [0; SIGNATURE_BYTES];
            signature[..32].copy_from_slice(&half);
            let signed = SignedQuote { quote, signature };
            let bytes = signed.to_bytes();
            prop_assert_eq!(bytes.len(), SignedQuote::BYTES);
            prop_assert_eq!(SignedQuote::from_bytes(&bytes), Ok(signed));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = SignedQuote::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn nothing_shorter_longer_or_of_another_format_is_read_and_each_byte_counts() {
        let right = signed();
        let bytes = right.to_bytes();
        for end in 0..bytes.len() {
            assert!(SignedQuote::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(SignedQuote::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            match SignedQuote::from_bytes(&other) {
                Ok(read) => {
                    assert_ne!(read, right, "byte {at}");
                    assert!(!read.is_signed_by_its_prover(CHAIN_ID, ROLLUP), "byte {at}");
                }
                Err(error) => assert_eq!(at, 0, "{error}"),
            }
        }
    }
}
