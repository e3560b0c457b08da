//! What goes over the wire: a proposal as canonical bytes, a signature as 65 bytes, an error as JSON.

use rollmill_protocol::blob::{COMMITMENT_BYTES, Commitment};
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::gas::MAX_TXS_PER_BLOCK;
use rollmill_protocol::{DecodeError, Fr, Header, Tx};
use serde::{Deserialize, Serialize};

/// `POST`: a [`Proposal`]'s bytes; the response is the signature.
pub const ATTEST_PATH: &str = "/attest";
/// `GET`: the validator's [`Identity`].
pub const IDENTITY_PATH: &str = "/identity";
/// Bytes of a signature: r, s, and 27 or 28.
pub const SIGNATURE_BYTES: usize = 65;
/// Bytes of the largest proposal.
pub const PROPOSAL_BYTES_MAX: usize = 1
    + 32
    + COMMITMENT_BYTES
    + SIGNATURE_BYTES
    + Header::BYTES
    + 1
    + MAX_TXS_PER_BLOCK * (4 + Tx::BYTES_MAX);

/// Version of the bytes below.
const FORMAT: u8 = 2;

/// A block that its proposer wants to be attested. The proposer's own signature comes with it: it says that the
/// slot's proposer stands for this block, and is one of those that L1 requires.
///
/// Messages from L1 are not part of it: each member has them from L1, and the header has their hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The link, which is signed.
    pub chain: Fr,
    /// KZG commitment of the block's blob; zeros without transactions.
    pub commitment: Commitment,
    /// The proposer's signature of number, slot and chain.
    pub signature: [u8; SIGNATURE_BYTES],
    pub header: Header,
    /// In order, with their client proofs.
    pub txs: Vec<Tx>,
}

/// The link stands for the block: up to 2.2 MiB of transactions belong to no log.
impl std::fmt::Debug for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposal")
            .field("block_number", &self.header.block_number)
            .field("slot", &self.header.slot)
            .field("chain", &self.chain)
            .field("txs", &self.txs.len())
            .finish_non_exhaustive()
    }
}

impl Proposal {
    /// Canonical bytes: format byte, chain, commitment, signature, header, number of transactions in one byte, and
    /// each transaction's counted bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.fr(&self.chain);
        out.raw(&self.commitment.0);
        out.raw(&self.signature);
        out.raw(&self.header.to_bytes());
        // A block never has more; a longer list gets a count that no reader takes.
        out.u8(u8::try_from(self.txs.len()).unwrap_or(u8::MAX));
        for tx in &self.txs {
            out.counted(&tx.to_bytes());
        }
        out.finish()
    }

    /// Reads canonical bytes. Shapes are checked, rules and proofs are not.
    ///
    /// # Errors
    /// What is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new("proposal", bytes);
        from.version(FORMAT)?;
        let chain = from.fr()?;
        let commitment = Commitment(from.array()?);
        let signature = from.array()?;
        let header = Header::from_bytes(from.raw(Header::BYTES)?)?;
        let count = usize::from(from.u8()?);
        if count > MAX_TXS_PER_BLOCK {
            let reason = format!("at most {MAX_TXS_PER_BLOCK} transactions expected, got {count}");
            return Err(DecodeError::Shape { what: "proposal", reason });
        }
        let txs = (0..count).map(|_| Tx::from_bytes(from.counted(Tx::BYTES_MAX)?));
        let txs = txs.collect::<Result<_, _>>()?;
        from.finish()?;
        Ok(Self { chain, commitment, signature, header, txs })
    }
}

/// Whose signatures a validator makes, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Address of the account that signs: `0x` and 40 digits.
    pub account: String,
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment, in decimal digits.
    pub rollup_version: String,
    /// Release of the program.
    pub software: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollmill_protocol_testing as chain;

    fn proposal(txs: u64) -> Proposal {
        let (header, _) = chain::start();
        let anchor = header.hash();
        Proposal {
            chain: Fr::from(7u64),
            commitment: Commitment([9; COMMITMENT_BYTES]),
            signature: [5; SIGNATURE_BYTES],
            header,
            txs: (0..txs).map(|i| chain::tx(i, anchor)).collect(),
        }
    }

    #[test]
    fn a_proposal_is_read_back_and_nothing_shorter_or_longer_is() {
        for count in [0, 1, 3] {
            let proposal = proposal(count);
            let bytes = proposal.to_bytes();
            assert_eq!(Proposal::from_bytes(&bytes).unwrap(), proposal);
            for end in 0..bytes.len() {
                assert!(Proposal::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
            }
            assert!(Proposal::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert!(Proposal::from_bytes(&proposal(33).to_bytes()).is_err());
    }

    /// Each byte belongs to one field: a changed one is another proposal or none.
    #[test]
    fn no_changed_byte_leaves_the_proposal_as_it_is() {
        let proposal = proposal(1);
        let bytes = proposal.to_bytes();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            if let Ok(other) = Proposal::from_bytes(&other) {
                assert_ne!(other, proposal, "byte {at}");
            }
        }
    }

    #[test]
    fn the_largest_proposal_has_as_many_bytes_as_is_said() {
        let mut proposal = proposal(1);
        let tx = &mut proposal.txs[0];
        tx.client_proof = vec![7; rollmill_protocol::tx::CLIENT_PROOF_BYTES_MAX];
        let least = tx.to_bytes().len();
        // All eight logs would have five words each.
        let missing = (rollmill_protocol::tx::SLOTS - tx.body.logs.len()) * 5 * 32;
        assert_eq!(least + missing, Tx::BYTES_MAX);
        proposal.txs = vec![proposal.txs[0].clone(); MAX_TXS_PER_BLOCK];
        let bytes = proposal.to_bytes().len();
        assert_eq!(bytes + MAX_TXS_PER_BLOCK * missing, PROPOSAL_BYTES_MAX);
    }

    /// Goal: a proposal in a log is one line, whatever its transactions.
    #[test]
    fn debug_output_of_a_full_proposal_is_short() {
        let shown = format!("{:?}", proposal(32));
        assert!(shown.len() < 1_000 && shown.contains("txs: 32"), "{shown}");
    }
}
