//! Evidence that an account signed two blocks of one slot, which costs its stake: as a file, and as the call that
//! reports it.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::abi::Staking;
use crate::abi::staking::IStaking::Vote;
use crate::attest::{self, SIGNATURE_BYTES};
use crate::economics::Call;

/// Version of the file.
const FORMAT: u32 = 1;

/// A block of the slot, and the account's signature of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub number: u64,
    /// The link.
    pub chain: B256,
    pub signature: Bytes,
}

/// Two blocks of one slot that one account signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    format: u32,
    pub chain_id: u64,
    pub rollup: Address,
    pub attester: Address,
    pub slot: u64,
    pub first: Statement,
    pub second: Statement,
}

impl Evidence {
    /// What two statements show, if they are of different blocks and by one account.
    ///
    /// # Errors
    /// Why they show nothing.
    pub fn new(
        (chain_id, rollup): (u64, Address),
        slot: u64,
        first: Statement,
        second: Statement,
    ) -> Result<Self, String> {
        if (first.number, first.chain) == (second.number, second.chain) {
            return Err("both signatures are of one block".to_owned());
        }
        let by = |statement: &Statement| {
            let signature = <&[u8; SIGNATURE_BYTES]>::try_from(&statement.signature[..]).ok()?;
            let Statement { number, chain, .. } = statement;
            let digest = attest::block_digest(chain_id, rollup, *number, slot, *chain);
            attest::recover(&digest, signature)
        };
        match (by(&first), by(&second)) {
            (Some(attester), Some(other)) if attester == other => {
                Ok(Self { format: FORMAT, chain_id, rollup, attester, slot, first, second })
            }
            (Some(_), Some(_)) => Err("the signatures are of two accounts".to_owned()),
            _ => Err("a signature is not of the form that the contract takes".to_owned()),
        }
    }

    /// Reads a file of evidence and checks its signatures.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let found: Self = serde_json::from_str(text)
            .map_err(|error| format!("it has another form (line {})", error.line()))?;
        if found.format != FORMAT {
            return Err(format!("it has format {}, this release reads {FORMAT}", found.format));
        }
        let checked = Self::new(
            (found.chain_id, found.rollup),
            found.slot,
            found.first.clone(),
            found.second.clone(),
        )?;
        match checked.attester == found.attester {
            true => Ok(checked),
            false => {
                Err(format!("the signatures are {}'s, not {}'s", checked.attester, found.attester))
            }
        }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None: all of it has a form in JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// The call that reports it to the contract with the stakes. The caller gets a tenth of the stake.
    pub fn report(&self, staking: Address) -> Call {
        let vote = |statement: &Statement| {
            let Statement { number, chain, signature } = statement.clone();
            Vote { number, slot: self.slot, chain, signature }
        };
        let (a, b) = (vote(&self.first), vote(&self.second));
        Call::new(staking, &Staking::slashEquivocationCall { a, b })
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;
    use alloy::signers::SignerSync;
    use alloy::signers::local::PrivateKeySigner;

    use super::*;

    const DOMAIN: (u64, Address) = (31337, Address::repeat_byte(0xa0));
    const SLOT: u64 = 9;

    fn key(number: u64) -> PrivateKeySigner {
        format!("{number:064x}").parse().unwrap()
    }

    fn statement(key: &PrivateKeySigner, number: u64, name: &str) -> Statement {
        let chain = keccak256(name);
        let digest = attest::block_digest(DOMAIN.0, DOMAIN.1, number, SLOT, chain);
        let signature = key.sign_hash_sync(&digest).unwrap().as_bytes().to_vec().into();
        Statement { number, chain, signature }
    }

    #[test]
    fn two_blocks_of_one_account_are_evidence_and_are_read_again() {
        let key = key(7);
        for (number, name) in [(5, "another"), (6, "a")] {
            let (a, b) = (statement(&key, 5, "a"), statement(&key, number, name));
            let evidence = Evidence::new(DOMAIN, SLOT, a, b).unwrap();
            assert_eq!(evidence.attester, key.address());
            let text = evidence.to_json().unwrap();
            assert_eq!(Evidence::read(&text).unwrap(), evidence);
            assert!(!evidence.report(DOMAIN.1).input.is_empty());
        }
    }

    #[test]
    fn what_shows_nothing_is_rejected() {
        let (own, other) = (key(7), key(8));
        let first = || statement(&own, 5, "a");
        let cut = |statement: Statement| Statement {
            signature: statement.signature[..64].to_vec().into(),
            ..statement
        };
        for (second, why) in [
            (first(), "one block"),
            (statement(&other, 5, "b"), "two accounts"),
            (cut(statement(&own, 5, "b")), "form"),
        ] {
            let error = Evidence::new(DOMAIN, SLOT, first(), second).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // Signatures of another slot or deployment are another account's, as far as anybody can tell.
        let pair = || (first(), statement(&own, 5, "b"));
        let (a, b) = pair();
        assert!(Evidence::new(DOMAIN, SLOT + 1, a, b).is_err());
        let (a, b) = pair();
        let evidence = Evidence::new(DOMAIN, SLOT, a, b).unwrap();
        let text = evidence.to_json().unwrap();
        for (from, to, why) in [
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("\"slot\": 9", "\"slot\": 10", "accounts"),
            ("\"slot\"", "\"slots\"", "another form"),
        ] {
            let error = Evidence::read(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
        let framed = Evidence { attester: other.address(), ..evidence };
        let error = Evidence::read(&framed.to_json().unwrap()).unwrap_err();
        assert!(error.contains("the signatures are"), "{error}");
    }
}
