//! A deployment in a scenario: its blocks, proofs and payments, sent to L1 and entered into the books.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollmill_l1::abi::{self, Attestations, DaInput, EpochArgs, ProposeArgs};
use rollmill_l1::alloy::primitives::aliases::U48;
use rollmill_l1::alloy::primitives::{Address, B256, U256, keccak256};
use rollmill_l1::alloy::signers::SignerSync;
use rollmill_l1::blob::{Blob, Kzg, Sidecar};
use rollmill_l1::{DeploymentInfo, L1Error, RollupContract, attest};
use rollmill_protocol::blob::encode;
use rollmill_protocol::block::txs_chain;
use rollmill_protocol::gas::{self, GasSettings};
use rollmill_protocol::message::{OUT_LEAVES, out_root};
use rollmill_protocol::tx::{MESSAGES, NO_EXPIRY, SLOTS};
use rollmill_protocol::{
    BlockBody, ChainLink, Commitment, EthAddress, FeePerGas, Fr, Gas, Opening, TxEffects,
};

use super::ledger::{ClaimedBlock, Ledger};
use super::money::{Times, charged_rows};
use super::stage::{Call, Role, Stage, getter};
use super::verifier;
use crate::{ANVIL_CHAIN_ID, Error};

/// Prices of every block here, so that a transaction costs about one AZT.
const PRICE: FeePerGas = FeePerGas { l2: 10_007, da: 5_003 };

/// A block to be proposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    pub slot: u64,
    pub txs: u64,
    /// The members that do not sign, by their place in the committee.
    pub absent: &'static [usize],
    /// A withdrawal of its first transaction: recipient and units.
    pub withdrawal: Option<(Address, u64)>,
    /// Distinguishes two blocks of one slot.
    pub salt: u64,
}

impl Draft {
    /// A block without transactions that everybody signs.
    pub(crate) fn at(slot: u64) -> Self {
        Self { slot, txs: 0, absent: &[], withdrawal: None, salt: 0 }
    }

    pub(crate) fn with_txs(self, txs: u64) -> Self {
        Self { txs, ..self }
    }
}

/// A block ready for its signatures.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub args: ProposeArgs,
    pub data: DaInput,
    pub sidecar: Option<Arc<Sidecar>>,
    /// What is signed.
    pub link: B256,
    /// The transactions' messages to L1.
    pub leaves: Vec<[Fr; OUT_LEAVES]>,
}

/// A block of the pending chain.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub slot: u64,
    pub txs: u64,
    pub link: B256,
    pub archive_root: B256,
    pub leaves: Vec<[Fr; OUT_LEAVES]>,
    facts: ClaimedBlock,
}

/// One deployment.
#[derive(Debug)]
pub(crate) struct Chain {
    pub name: &'static str,
    pub rollup: RollupContract,
    pub info: DeploymentInfo,
    pub times: Times,
    pub money: Ledger,
    pub token: Address,
    /// Who may be in a committee.
    pub members: Vec<Role>,
    /// The pending chain, from block 1.
    pub blocks: Vec<Placed>,
    pub proven: usize,
    /// Prover of the longest proof of each epoch.
    provers: BTreeMap<u64, Address>,
}

impl Chain {
    pub(crate) fn new(
        name: &'static str,
        rollup: RollupContract,
        info: DeploymentInfo,
        times: Times,
        money: Ledger,
        token: Address,
    ) -> Self {
        let (members, blocks, provers) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { name, rollup, info, times, money, token, members, blocks, proven: 0, provers }
    }

    /// A step's text, with the deployment's name if there are several.
    pub(crate) fn step(&self, text: &str) -> String {
        if self.name.is_empty() { text.to_owned() } else { format!("{}: {text}", self.name) }
    }

    pub(crate) fn epoch(&self, slot: u64) -> u64 {
        slot / self.times.slots_per_epoch
    }

    /// Numbers of an epoch's blocks.
    fn numbers(&self, epoch: u64) -> impl Iterator<Item = u64> + '_ {
        let of_epoch = move |(_, block): &(u64, &Placed)| self.epoch(block.slot) == epoch;
        (1..).zip(&self.blocks).filter(of_epoch).map(|(number, _)| number)
    }

    // ------------------------------------------------------------ blocks

    /// The committee of a slot and the place of its proposer.
    pub(crate) async fn committee(&self, slot: u64) -> Result<(Vec<Address>, usize), Error> {
        let duty = self.rollup.selection(&self.info).duty(slot, self.epoch(slot)).await?;
        let found = duty.and_then(|duty| {
            let place = duty.members.iter().position(|member| *member == duty.proposer)?;
            Some((duty.members, place))
        });
        let reason = || format!("there is none in slot {slot}");
        found.ok_or_else(|| L1Error::Decode { what: "committee", reason: reason() }.into())
    }

    pub(crate) fn role(&self, account: Address) -> Result<Role, Error> {
        for role in &self.members {
            if role.address()? == account {
                return Ok(*role);
            }
        }
        let reason = format!("{account} is nobody's here");
        Err(L1Error::Decode { what: "member", reason }.into())
    }

    /// Builds the block after the tip. Header hash and archive root are made up: the circuits would open them, and
    /// the stand-ins of the verifiers do not.
    pub(crate) async fn build(
        &self,
        stage: &Stage,
        draft: Draft,
        coinbase: Address,
    ) -> Result<Built, Error> {
        let number = self.blocks.len() as u64 + 1;
        let made_up = |what: &str| {
            let seed = format!("{what} of block {number} in slot {}, {}", draft.slot, draft.salt);
            // The upper byte is 0, so that it is a field element.
            B256::from(U256::from_be_bytes(keccak256(seed).0) >> 8_usize)
        };
        let bodies: Vec<BlockBody> = (0..draft.txs).map(|i| body(number, i, draft)).collect();
        let leaves: Vec<_> = bodies.iter().map(|body| body.effects.out_leaves()).collect();
        let (opening, data, sidecar) = publish(bodies).await?;
        let fee = gas::fee(PRICE, Gas::PER_TX).unwrap_or_default();
        let inbox = abi::Inbox::new(self.info.contracts.inbox, stage.client.provider().clone());
        let in_hash = inbox.hashOf(number).call().await.map_err(getter("hashOf"))?;
        let previous = match self.blocks.last() {
            Some(block) => block.archive_root,
            None => abi::word(&self.info.genesis_archive_root),
        };
        let args = ProposeArgs {
            blockNumber: number,
            slot: U48::saturating_from(draft.slot),
            previousArchiveRoot: previous,
            archiveRoot: made_up("archive root"),
            headerHash: made_up("header"),
            inHash: in_hash,
            outRoot: abi::word(&out_root(&leaves)),
            coinbase,
            totalFees: u128::from(fee) * u128::from(draft.txs),
            txCount: u16::try_from(draft.txs).unwrap_or(u16::MAX),
            feePerL2Gas: PRICE.l2,
            feePerDaGas: PRICE.da,
            l2GasUsed: Gas::PER_TX.l2 * draft.txs,
            daGasUsed: Gas::PER_TX.da * draft.txs,
        };
        let before = self.blocks.last().map_or(B256::ZERO, |block| block.link);
        let link = link(&args, before, &opening)?;
        Ok(Built { args, data, sidecar, link, leaves })
    }

    /// Signatures of the committee, but for those who are absent.
    pub(crate) fn sign(
        &self,
        built: &Built,
        committee: &[Address],
        absent: &[usize],
    ) -> Result<Attestations, Error> {
        let mut signed = Vec::new();
        for (place, member) in committee.iter().enumerate() {
            let signature = match absent.contains(&place) {
                true => None,
                false => Some(self.signature(self.role(*member)?, &built.args, built.link)?),
            };
            signed.push((*member, signature));
        }
        Ok(attest::attestations(&signed))
    }

    /// A member's signature of a block.
    pub(crate) fn signature(
        &self,
        member: Role,
        args: &ProposeArgs,
        link: B256,
    ) -> Result<rollmill_l1::alloy::primitives::Signature, Error> {
        let (number, slot) = (args.blockNumber, args.slot.to());
        let digest =
            attest::block_digest(ANVIL_CHAIN_ID, self.rollup.address(), number, slot, link);
        member.signer()?.sign_hash_sync(&digest).map_err(|_| Error::L1Key)
    }

    /// The call that proposes a block.
    pub(crate) fn proposal(&self, built: &Built, signed: Attestations) -> Call {
        let input = abi::propose_calldata(built.args.clone(), signed, built.data.clone());
        Call { to: self.rollup.address(), input, sidecar: built.sidecar.clone() }
    }

    /// A proposal with its proposer and its committee, to be sent in the draft's slot.
    pub(crate) async fn drafted(
        &self,
        stage: &Stage,
        draft: Draft,
    ) -> Result<(Call, Built, Vec<Address>, usize), Error> {
        let (committee, place) = self.committee(draft.slot).await?;
        let built = self.build(stage, draft, committee[place]).await?;
        let signed = self.sign(&built, &committee, draft.absent)?;
        Ok((self.proposal(&built, signed), built, committee, place))
    }

    /// Proposes a block in its slot, and expects that its proposer's bond is locked if it opens an epoch.
    pub(crate) async fn propose(&mut self, stage: &mut Stage, draft: Draft) -> Result<(), Error> {
        stage.until(self.times.slot(draft.slot)).await?;
        let (call, built, committee, place) = self.drafted(stage, draft).await?;
        let (epoch, proposer) = (self.epoch(draft.slot), committee[place]);
        let by = self.role(proposer)?;
        let number = built.args.blockNumber;
        let step = self.step(&format!("propose block {number}"));
        stage.send(by, &step, call).await?;
        let opens = self.numbers(epoch).next().is_none();
        if opens {
            self.money.bond_locked(epoch, proposer);
        }
        let signed = |(i, member)| (member, !draft.absent.contains(&i));
        let facts = ClaimedBlock {
            coinbase: proposer,
            units: built.args.totalFees,
            committee: committee.into_iter().enumerate().map(signed).collect(),
        };
        let signers = facts.committee.iter().filter(|(_, signed)| *signed).count();
        stage.say(self.step(&format!(
            "block {number} in slot {}, epoch {epoch}, by {by}; transactions: {}, signatures: {signers}{}",
            draft.slot,
            draft.txs,
            if opens { "; bond locked" } else { "" },
        )));
        self.blocks.push(Placed {
            slot: draft.slot,
            txs: draft.txs,
            link: built.link,
            archive_root: built.args.archiveRoot,
            leaves: built.leaves,
            facts,
        });
        self.tips(stage).await
    }

    /// Requires that L1's tips are those of the scenario.
    pub(crate) async fn tips(&self, stage: &Stage) -> Result<(), Error> {
        let tips = self.rollup.tips().await?;
        let expected = (self.blocks.len() as u64, self.proven as u64);
        stage.require("pending and proven tip", expected, (tips.pending, tips.proven))
    }

    /// Everything that is not proven is dropped.
    pub(crate) fn pruned(&mut self) {
        self.blocks.truncate(self.proven);
    }

    // ------------------------------------------------------------ proofs

    /// Arguments and proof of an epoch's blocks up to `last`, with the rows that the circuits would count.
    pub(crate) async fn proof(
        &self,
        prover: Address,
        epoch: u64,
        last: u64,
    ) -> Result<(EpochArgs, Vec<u8>), Error> {
        let args = EpochArgs {
            epoch,
            lastBlock: last,
            prover,
            numConstraints: self.rows(epoch, last),
            pair: std::array::from_fn(|i| U256::from(i + 1)),
        };
        let inputs = self.rollup.public_inputs(args.clone()).await?;
        Ok((args, verifier::proof(&inputs)))
    }

    /// Charged rows of a proof of an epoch's blocks up to `last`.
    pub(crate) fn rows(&self, epoch: u64, last: u64) -> u64 {
        let numbers = self.numbers(epoch).filter(|number| *number <= last);
        let counts: Vec<u64> = numbers.map(|number| self.blocks[number as usize - 1].txs).collect();
        charged_rows().epoch(&counts).unwrap_or_default()
    }

    pub(crate) fn submission(&self, args: EpochArgs, proof: Vec<u8>) -> Call {
        let input = abi::submit_calldata(args, proof);
        Call { to: self.rollup.address(), input, sidecar: None }
    }

    /// Proves an epoch up to a block, in the name of the sender. Returns the charged rows.
    pub(crate) async fn prove(
        &mut self,
        stage: &mut Stage,
        by: Role,
        epoch: u64,
        last: u64,
    ) -> Result<u64, Error> {
        let (args, proof) = self.proof(by.address()?, epoch, last).await?;
        let rows = args.numConstraints;
        let step = self.step(&format!("prove epoch {epoch} to block {last}"));
        stage.send(by, &step, self.submission(args, proof)).await?;
        stage.book.name(by.address()?, by.to_string());
        self.proved(by.address()?, epoch, last);
        stage.say(self.step(&format!("{by} proves epoch {epoch} to block {last}: {rows} rows")));
        self.tips(stage).await?;
        Ok(rows)
    }

    /// Enters a proof that L1 accepted.
    pub(crate) fn proved(&mut self, prover: Address, epoch: u64, last: u64) {
        self.proven = last as usize;
        self.provers.insert(epoch, prover);
    }

    /// Expects that an epoch is settled: its longest proof is paid.
    pub(crate) fn settled(&mut self, stage: &mut Stage, epoch: u64) {
        let last = self.numbers(epoch).filter(|number| *number <= self.proven as u64).last();
        let rows = self.rows(epoch, last.unwrap_or_default());
        let prover = self.provers.get(&epoch).copied().unwrap_or_default();
        self.money.epoch_paid(prover, rows);
        let prover = stage.book.named(prover);
        stage.say(self.step(&format!("epoch {epoch} is settled: {rows} rows paid to {prover}")));
    }

    // ------------------------------------------------------------ payments

    /// The call that claims the fees of an epoch's proven blocks, the blocks, and their prover.
    pub(crate) fn claim_of(&self, epoch: u64) -> Option<(Call, Vec<ClaimedBlock>, Address)> {
        let proven = self.proven as u64;
        let numbers: Vec<u64> = self.numbers(epoch).filter(|number| *number <= proven).collect();
        let (from, to) = (*numbers.first()?, *numbers.last()?);
        let blocks: Vec<ClaimedBlock> =
            numbers.iter().map(|number| self.blocks[*number as usize - 1].facts.clone()).collect();
        let committee = blocks[0].committee.iter().map(|(member, _)| *member).collect();
        let claim = abi::Rewards::claimBlocksCall { from, to, committee };
        let prover = *self.provers.get(&epoch)?;
        Some((Call::new(self.money.rewards, &claim), blocks, prover))
    }

    /// Claims an epoch's blocks.
    pub(crate) async fn claim_blocks(
        &mut self,
        stage: &mut Stage,
        epoch: u64,
    ) -> Result<(), Error> {
        let Some((call, blocks, prover)) = self.claim_of(epoch) else { return Ok(()) };
        let step = self.step(&format!("claim the blocks of epoch {epoch}"));
        stage.send(Role::Anyone, &step, call).await?;
        self.money.claimed_blocks(&mut stage.book, &blocks, prover);
        Ok(())
    }

    /// The call that pays an account what Rewards owes it.
    pub(crate) fn claim_for(&self, who: Address) -> Call {
        Call::new(self.money.rewards, &abi::Rewards::claimCall { who })
    }

    /// Pays an account what Rewards owes it.
    pub(crate) async fn claim(&mut self, stage: &mut Stage, who: Address) -> Result<u128, Error> {
        let step = self.step(&format!("pay {}", stage.book.named(who)));
        stage.send(Role::Anyone, &step, self.claim_for(who)).await?;
        Ok(self.money.claimed(&mut stage.book, who))
    }

    /// Everybody is paid: the blocks of `epochs` are claimed, lost bonds collected, and every account takes what it is
    /// owed and its free bond.
    pub(crate) async fn pay_out(&mut self, stage: &mut Stage, epochs: &[u64]) -> Result<(), Error> {
        for epoch in epochs {
            self.claim_blocks(stage, *epoch).await?;
        }
        let collect = abi::BondVault::collectCall {};
        let step = self.step("collect lost bonds");
        stage.send(Role::Anyone, &step, Call::new(self.money.vault, &collect)).await?;
        self.money.collected(&mut stage.book);
        for who in self.money.owed.keys().copied().collect::<Vec<_>>() {
            self.claim(stage, who).await?;
        }
        let mut takers = self.members.clone();
        takers.extend([Role::Prover, Role::Rival, Role::Challenger]);
        for role in takers {
            let who = role.address()?;
            let free = self.money.bonds.get(&who).map_or(0, |account| account.free);
            if free != 0 {
                let withdraw = abi::BondVault::withdrawCall { amount: U256::from(free) };
                let call = Call::new(self.money.vault, &withdraw);
                stage.send(role, &self.step("withdraw the free bond"), call).await?;
                self.money.bond_withdrawn(&mut stage.book, who);
            }
        }
        Ok(())
    }

    /// The holder pays a bond for an account.
    pub(crate) async fn deposit_bond(
        &mut self,
        stage: &mut Stage,
        account: Address,
        amount: u128,
    ) -> Result<(), Error> {
        let deposit = abi::BondVault::depositCall { account, amount: U256::from(amount) };
        let call = Call::new(self.money.vault, &deposit);
        stage.send(Role::Holder, &self.step("deposit a bond"), call).await?;
        let holder = Role::Holder.address()?;
        self.money.bond_deposited(&mut stage.book, holder, account, amount);
        Ok(())
    }

    /// Deposits units for an account on L2. The caller's allowance is there.
    pub(crate) async fn deposit_for_l2(
        &mut self,
        stage: &mut Stage,
        by: Role,
        units: u128,
    ) -> Result<(), Error> {
        let amount = U256::from(units) * U256::from(super::money::UNIT);
        let deposit = abi::FeePortal::depositCall { to: B256::with_last_byte(7), amount };
        let call = Call::new(self.money.portal, &deposit);
        stage.send(by, &self.step("deposit for L2"), call).await?;
        self.money.deposited(&mut stage.book, by.address()?, units);
        Ok(())
    }
}

/// A transaction's public part: as small as one can be. Its first nullifier makes it unique.
fn body(number: u64, index: u64, draft: Draft) -> BlockBody {
    let withdrawal = draft.withdrawal.filter(|_| index == 0);
    let (recipient, units) = withdrawal.unwrap_or_default();
    let mut nullifiers = [Fr::from(0u64); SLOTS];
    nullifiers[0] = Fr::from(1 + index + 64 * (number + 1_000 * draft.salt));
    let effects = TxEffects {
        nullifiers,
        note_hashes: [Fr::from(0u64); SLOTS],
        tags: [Fr::from(0u64); SLOTS],
        log_hashes: [Fr::from(0u64); SLOTS],
        messages: [Fr::from(0u64); MESSAGES],
        public_calls_hash: Fr::from(0u64),
        fee_payer: Fr::from(0u64),
        gas: GasSettings {
            max_fee_per_l2_gas: PRICE.l2,
            max_fee_per_da_gas: PRICE.da,
            l2_gas_limit: Gas::PER_TX.l2,
            da_gas_limit: Gas::PER_TX.da,
            l2_teardown_gas_limit: 0,
            da_teardown_gas_limit: 0,
        },
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress(recipient.into_array()),
        withdraw_amount: units,
        // Whoever paid in notes gets the change in a note.
        refund_partial: Fr::from(1u64),
        expiry_slot: NO_EXPIRY,
    };
    BlockBody { effects, logs: Vec::new() }
}

/// The blob of a block with its opening; nothing without transactions.
async fn publish(
    bodies: Vec<BlockBody>,
) -> Result<(Opening, DaInput, Option<Arc<Sidecar>>), Error> {
    let hashes = TxEffects::tx_hashes(bodies.iter().map(|body| &body.effects));
    let chain = txs_chain(&hashes);
    if bodies.is_empty() {
        return Ok((Opening::new(&chain, &bodies, Commitment::default()), abi::no_data(), None));
    }
    let failed = |error: &dyn std::fmt::Display| {
        Error::from(L1Error::Decode { what: "blob", reason: error.to_string() })
    };
    let bytes = encode(&bodies).map_err(|error| failed(&error))?;
    let work = tokio::task::spawn_blocking(move || {
        let kzg = Kzg::start();
        let sidecar = kzg.sidecar(Blob::from_bytes(&bytes)?)?;
        let opening = Opening::new(&chain, &bodies, Commitment(sidecar.commitment().0));
        let (_, proof) = kzg.prove(sidecar.blob(), &opening.z)?;
        Ok::<_, rollmill_l1::blob::BlobError>((opening, sidecar, proof))
    });
    let made = work.await.map_err(|error| failed(&error))?;
    let (opening, sidecar, proof) = made.map_err(|error| failed(&error))?;
    Ok((opening, abi::da_input(&opening, &proof.0), Some(Arc::new(sidecar))))
}

/// The link of a block, which L1 computes by itself and validators sign.
fn link(args: &ProposeArgs, before: B256, opening: &Opening) -> Result<B256, Error> {
    let element = |word: &B256| {
        let reason = format!("{word} is no field element");
        abi::element(word).ok_or(L1Error::Decode { what: "link", reason })
    };
    let link = ChainLink {
        chain_before: element(&before)?,
        header_hash: element(&args.headerHash)?,
        archive_root: element(&args.archiveRoot)?,
        slot: args.slot.to(),
        tx_count: args.txCount.into(),
        fee_per_l2_gas: args.feePerL2Gas,
        fee_per_da_gas: args.feePerDaGas,
        coinbase: EthAddress(args.coinbase.into_array()),
        l2_gas_used: args.l2GasUsed,
        da_gas_used: args.daGasUsed,
        total_fees: args.totalFees,
        in_hash: element(&args.inHash)?,
        out_root: element(&args.outRoot)?,
        z: opening.z,
        y: opening.y,
        commitment: opening.commitment,
    };
    Ok(abi::word(&link.chain()))
}
