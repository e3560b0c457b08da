//! The money of a run, on both sides: a deposit that a new account claims on L2, a withdrawal that L1 pays, and
//! what proofs, fees and rewards come to.
//!
//! The deposit is sent before the first block. Block 1 takes no messages, so block 2 has it, and the claim is in a block
//! after that one.

use std::time::{Duration, Instant};

use rollmill_l1::abi::{AztToken, FeePortal, Rates, Rewards, Rollup, word};
use rollmill_l1::alloy::primitives::utils::format_units;
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::{L1Client, L1Error, TxSender};
use rollmill_node_client::NodeClient;
use rollmill_protocol::{EthAddress, Fr};
use rollmill_pxe::withdrawal::Withdrawal;

use crate::deployment::{
    DEPLOYER_KEY, Deployment, PROVER_KEY, TOKEN, UNIT, open_sender, send, signer,
};
use crate::report::PaymentReport;
use crate::scenario::POLL;
use crate::{Error, Network};

/// Units of the deposit, and of the withdrawal.
pub const DEPOSIT: u64 = 1 << 40;
pub const WITHDRAWAL: u64 = 1 << 30;
/// Blocks of the first epoch beside those of the transfers: the claim can only follow the block with the deposit.
pub const EXTRA_BLOCKS: u32 = 1;
/// Transactions of the first epoch that are not plain transfers.
pub const TXS: usize = 2;

/// Parts of a whole in which shares are counted.
const BPS: u64 = 10_000;
/// How long an epoch that is proven may take to be over.
const EPOCH_LIMIT: Duration = Duration::from_secs(600);
/// The bit of an epoch's record that says that its bond and its pay are settled.
const SETTLED: u8 = 2;

/// What a block of a proven epoch pays, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct PaidBlock {
    /// In units.
    pub fees: u128,
    pub coinbase: Address,
    /// Bitmap of the members that signed, by their place in the committee.
    pub signers: u64,
}

/// An epoch as L1 accepted it.
#[derive(Debug, Clone)]
pub struct Proven {
    pub epoch: u64,
    pub first_block: u64,
    pub last_block: u64,
    /// Rows that the prover is paid for.
    pub rows: u64,
    /// Its blocks.
    pub blocks: Vec<PaidBlock>,
}

/// The accounts on L1 of one run.
#[derive(Debug)]
pub struct Bridge {
    sender: TxSender,
    l1: L1Client,
    /// Who receives the withdrawal: an account that has nothing.
    pub recipient: Address,
}

impl Bridge {
    /// Opens the account that deposits and claims.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub async fn open(l1: &L1Client, network: &Network) -> Result<Self, Error> {
        let intents = network.dir.data("bridge-intents.json");
        let sender = open_sender(l1, DEPLOYER_KEY, &intents).await?;
        Ok(Self { sender, l1: l1.clone(), recipient: Address::repeat_byte(0x57) })
    }

    /// Deposits [`DEPOSIT`] for an address on L2.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub async fn deposit(&self, deployment: &Deployment, to: &Fr) -> Result<(), Error> {
        let portal = deployment.contracts.feePortal;
        let amount = base_units(DEPOSIT);
        let approve = AztToken::approveCall { spender: portal, value: amount };
        send(&self.sender, "deposit/approve", deployment.token, &approve).await?;
        let deposit = FeePortal::depositCall { to: word(to), amount };
        send(&self.sender, "deposit", portal, &deposit).await
    }

    /// Consumes the withdrawal of a transaction in a proven block, settles the proven epochs, claims what they pay,
    /// and compares every payment with what the rules say.
    ///
    /// # Errors
    /// [`Error::Unpaid`] if somebody was paid another amount.
    pub async fn settle(
        &self,
        deployment: &Deployment,
        node: &NodeClient,
        withdrawal: &Fr,
        proven: &[Proven],
    ) -> Result<Vec<PaymentReport>, Error> {
        let found = Withdrawal::find(node, withdrawal).await?;
        let withdraw = FeePortal::withdrawCall {
            number: found.block_number,
            transaction: u16::try_from(found.tx).unwrap_or(u16::MAX),
            recipient: Address::from(found.recipient.0),
            units: found.amount,
            path: found.path.iter().map(word).collect(),
        };
        send(&self.sender, "withdraw", deployment.contracts.feePortal, &withdraw).await?;
        let paid = self.balance(deployment, self.recipient).await?;
        let mut payments =
            vec![payment("withdrawal", "recipient on L1", paid, base_units(WITHDRAWAL))?];

        let prover = signer(PROVER_KEY)?.address();
        let payees: Vec<Address> = deployment.members.iter().copied().chain([prover]).collect();
        let mut before = Vec::new();
        for payee in &payees {
            before.push(self.balance(deployment, *payee).await?);
        }
        for of in proven {
            self.wait_for_end(deployment, of.epoch).await?;
            let record = self.l1.rollup(deployment.rollup).await?.epoch_record(of.epoch).await?;
            if record.state & SETTLED == 0 {
                let settle = Rollup::settleCall { epoch: of.epoch };
                let id = format!("settle/{}", of.epoch);
                send(&self.sender, &id, deployment.rollup, &settle).await?;
            }
            let claim = Rewards::claimBlocksCall {
                from: of.first_block,
                to: of.last_block,
                committee: deployment.members.clone(),
            };
            let id = format!("claim-blocks/{}", of.epoch);
            send(&self.sender, &id, deployment.contracts.rewards, &claim).await?;
        }
        let rows: u64 = proven.iter().map(|of| of.rows).sum();
        let blocks = proven.iter().flat_map(|of| &of.blocks);
        let mut due = earned(blocks, &deployment.members, &deployment.rates);
        due.push(U256::from(deployment.rates.feePerConstraint) * U256::from(rows));
        for (i, (who, due)) in payees.iter().zip(due).enumerate() {
            let claim = Rewards::claimCall { who: *who };
            send(&self.sender, &format!("claim/{who}"), deployment.contracts.rewards, &claim)
                .await?;
            let got = self.balance(deployment, *who).await? - before[i];
            payments.push(match (*who == prover, deployment.members.len()) {
                (true, _) => payment("proofs", "prover", got, due)?,
                (false, 1) => payment("fees and block rewards", "proposer", got, due)?,
                (false, _) => {
                    payment("fees and block rewards", &format!("member {}", i + 1), got, due)?
                }
            });
        }
        Ok(payments)
    }

    /// Waits until no further block can be in an epoch.
    async fn wait_for_end(&self, deployment: &Deployment, epoch: u64) -> Result<(), Error> {
        let slots = deployment.config.slots_per_epoch;
        let end = deployment.config.timestamp((epoch + 1).saturating_mul(slots));
        let limit = Instant::now() + EPOCH_LIMIT;
        loop {
            let now = self.l1.latest().await?.timestamp;
            if end.is_none_or(|end| now >= end) {
                return Ok(());
            }
            if Instant::now() >= limit {
                return Err(Error::Unpaid {
                    what: "epoch",
                    reason: format!("{epoch} does not end"),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn balance(&self, deployment: &Deployment, of: Address) -> Result<U256, Error> {
        let call = AztToken::balanceOfCall { account: of };
        let answer = self.l1.call(of, deployment.token, call.abi_encode().into()).await?;
        let broken = |reason| L1Error::Decode { what: "balance", reason };
        let answer = answer.map_err(broken)?;
        Ok(AztToken::balanceOfCall::abi_decode_returns(&answer)
            .map_err(|error| broken(error.to_string()))?)
    }

    /// The withdrawal's recipient as L2 has it.
    pub fn recipient_on_l2(&self) -> EthAddress {
        EthAddress(self.recipient.into_array())
    }
}

/// What each member of a committee earned with these blocks: the coinbase has the block reward and what the signers'
/// shares leave of the fees. The shares of members that did not sign stay with the contract. The prover's part is zero.
fn earned<'a>(
    blocks: impl Iterator<Item = &'a PaidBlock>,
    members: &[Address],
    rates: &Rates,
) -> Vec<U256> {
    let mut due = vec![U256::ZERO; members.len()];
    let count = U256::from(members.len());
    for block in blocks {
        let fees = U256::from(block.fees) * U256::from(UNIT);
        let each = fees * U256::from(rates.attesterBps) / U256::from(BPS) / count;
        for (i, member) in members.iter().enumerate() {
            if *member == block.coinbase {
                due[i] += fees - each * count + U256::from(rates.blockReward);
            }
            if block.signers >> i & 1 == 1 {
                due[i] += each;
            }
        }
    }
    due
}

/// Units of L2 in base units of the token.
pub(crate) fn base_units(units: u64) -> U256 {
    U256::from(units) * U256::from(UNIT)
}

/// A payment, when it is the one that is due.
fn payment(what: &'static str, to: &str, got: U256, due: U256) -> Result<PaymentReport, Error> {
    match got == due {
        true => Ok(PaymentReport { what: what.to_owned(), to: to.to_owned(), azt: azt(got) }),
        false => {
            Err(Error::Unpaid { what, reason: format!("{} AZT instead of {}", azt(got), azt(due)) })
        }
    }
}

/// An amount of the token in words.
pub(crate) fn azt(amount: U256) -> String {
    let digits = TOKEN.ilog10() as u8;
    let text = format_units(amount, digits).unwrap_or_else(|_| amount.to_string());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use rollmill_l1::alloy::primitives::aliases::U96;

    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(azt(U256::from(TOKEN)), "1");
        assert_eq!(azt(U256::from(TOKEN) * U256::from(120)), "120");
        assert_eq!(azt(U256::from(1)), "0.000000000000000001");
        assert_eq!(azt(U256::ZERO), "0");
        assert_eq!(azt(base_units(DEPOSIT)), "1099.511627776");
    }

    /// By hand: 1,000 units of fees, four members, a fifth to the signers, so 50 units each; member 3 did not sign.
    #[test]
    fn signers_share_a_part_of_the_fees_and_the_coinbase_has_the_rest() {
        let members: Vec<Address> = (1..=4).map(Address::repeat_byte).collect();
        let rates = Rates { blockReward: U96::from(7), ..crate::deployment::rate_facts().to_l1() };
        let block = PaidBlock { fees: 1_000, coinbase: members[1], signers: 0b1011 };
        let unit = U256::from(UNIT);
        let shares = [50, 850, 0, 50].map(|units| U256::from(units) * unit);
        let mut due = earned([block].iter(), &members, &rates);
        assert_eq!(due[1], shares[1] + U256::from(7));
        due[1] -= U256::from(7);
        assert_eq!(due, shares);
        let alone = PaidBlock { fees: 1_000, coinbase: members[0], signers: 1 };
        let due = earned([alone].iter(), &members[..1], &rates);
        assert_eq!(due, [U256::from(1_000) * unit + U256::from(7)]);
    }

    #[test]
    fn another_amount_is_an_error_that_names_both() {
        let due = U256::from(TOKEN);
        assert_eq!(payment("proofs", "prover", due, due).unwrap().azt, "1");
        let error = payment("proofs", "prover", U256::ZERO, due).unwrap_err().to_string();
        assert!(error.contains("proofs") && error.contains("0 AZT instead of 1"), "{error}");
    }
}
