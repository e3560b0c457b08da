//! Chooses the notes of a transaction, and builds, proves and sends it.

use ark_ff::UniformRand;
use rand::{CryptoRng, RngCore};
use rollmill_circuits::client::{ClientWitness, INPUTS, InputNote, OUTPUTS, Payer};
use rollmill_errors::Bare;
use rollmill_node_client::wire::BlockRef;
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::note::{self, NoteOrigin};
use rollmill_protocol::tx::{SLOTS, log_hash};
use rollmill_protocol::{
    BlockBody, EthAddress, Fr, Genesis, Header, Log, Note, Pair, ProofKind, Tx,
};

use super::order::{FeePayer, Order, Purpose, Quote, Terms};
use super::sent::{Word, after_rejection};
use super::{ClientProver, Delivery, IdempotencyKey, OwnedNote, Wallet, node_error};
use crate::error::PxeError;
use crate::keys::{Address, point_to_bytes};
use crate::logs::{self, LogNote};

/// The anchor is a block whose number is a multiple of this, unless an input is newer, so that the anchor
/// does not mark the moment at which a transaction was created.
pub(super) const ANCHOR_STEP: u64 = 8;

/// The notes and values of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// None to two notes.
    pub(super) inputs: Vec<OwnedNote>,
    pub(super) outputs: [(Address, u64); OUTPUTS],
    pub(super) notes_in: u64,
    pub(super) notes_out: u64,
    /// Value that comes back in an output.
    pub(super) change: u64,
}

/// What the wallet takes from a node to create a transaction, checked against the blocks it has read.
struct Basis {
    genesis: Genesis,
    /// The last block that was read.
    tip: Header,
    terms: Terms,
    balance: u64,
}

impl Wallet {
    /// Builds, proves and sends a private payment whose fee comes from notes. Returns the transaction.
    ///
    /// # Errors
    /// As [`Self::prepare`], and [`PxeError::Node`] when the node rejects the transaction and does not
    /// have it; then its notes stay spendable. If the node does not respond, the notes stay locked until
    /// [`Self::sync`] gets a response.
    pub async fn transfer(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        to: &Address,
        amount: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Tx, PxeError> {
        self.send(node, prover, &Order::transfer(*to, amount), rng).await
    }

    /// As [`Self::transfer`], for any order.
    ///
    /// # Errors
    /// As [`Self::transfer`].
    pub async fn send(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        order: &Order,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Tx, PxeError> {
        match self.deliver(node, prover, order, None, rng, &mut |_| Ok(())).await? {
            Delivery::Accepted(tx) => {
                self.report(&tx.hash());
                Ok(tx)
            }
            // Without a key there is no earlier order.
            Delivery::Earlier(earlier) => {
                Err(PxeError::Unconfirmed { hash: to_hex(&earlier.tx_hash) })
            }
            Delivery::Unknown(tx, error) => {
                self.report(&tx.hash());
                Err(error)
            }
        }
    }

    /// As [`Self::send`], but passes the state to `keep` before anything is sent, so that a crash
    /// at any step leaves a record of what may have been sent. The caller informs the user, calls
    /// [`Self::report`] and stores the state again.
    ///
    /// An order with a key that an earlier order had makes no transaction: the result is that of the earlier one.
    /// What `keep` stores has the key, so this holds after a crash at any step too.
    ///
    /// # Errors
    /// Only when nothing was sent, or the node rejected it finally: then the order may be repeated, after a
    /// rejection with another key. Every later outcome is a [`Delivery`]. Those of [`Self::recall`] come first.
    pub async fn deliver(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        order: &Order,
        key: Option<&IdempotencyKey>,
        rng: &mut (impl RngCore + CryptoRng),
        keep: &mut (dyn FnMut(&Self) -> Result<(), PxeError> + Send),
    ) -> Result<Delivery, PxeError> {
        if let Some(earlier) = self.repeated(key, order)? {
            return Ok(earlier);
        }
        rollmill_service::failpoint!("pxe.before_proof");
        let tx = self.prepare(node, prover, order, rng).await?;
        self.hold(&tx, key, order);
        rollmill_service::failpoint!("pxe.before_intent");
        if let Err(error) = keep(self) {
            self.give_back(&tx.hash(), "it was not sent");
            self.unbind(&tx.hash());
            return Err(error);
        }
        rollmill_service::failpoint!("pxe.after_intent");
        let sent = node.send_transaction(&tx).await;
        rollmill_service::failpoint!("pxe.after_send");
        match sent {
            Ok(_) => {
                self.state.keyed.accept(&tx.hash());
                Ok(Delivery::Accepted(tx))
            }
            Err(error) if error.rejects_transaction() => self.rejected(node, tx, error).await,
            Err(error) => Ok(Delivery::Unknown(tx, node_error(error))),
        }
    }

    /// The outcome of a transaction that the node rejects. Its notes are free only if the node does not have it.
    async fn rejected(
        &mut self,
        node: &NodeClient,
        tx: Tx,
        rejection: ClientError,
    ) -> Result<Delivery, PxeError> {
        let hash = tx.hash();
        match after_rejection(node, &hash, &rejection).await {
            Word::Known => {
                self.state.keyed.accept(&hash);
                Ok(Delivery::Accepted(tx))
            }
            Word::Wait => {
                let hash = to_hex(&hash);
                Ok(Delivery::Unknown(tx, PxeError::Unconfirmed { hash }))
            }
            Word::Gone(reason) => {
                self.give_back(&hash, &reason);
                Err(node_error(rejection))
            }
        }
    }

    /// What the order's transaction would do. Nothing is proven or sent.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub async fn quote(&self, node: &NodeClient, order: &Order) -> Result<Quote, PxeError> {
        let basis = self.basis(node, order).await?;
        let plan = self.plan(order, basis.terms.fee.max, basis.balance)?;
        Ok(Quote {
            fee: basis.terms.fee,
            change: plan.change,
            notes_in: plan.notes_in,
            balance: basis.balance,
            expiry_slot: basis.terms.expiry_slot,
        })
    }

    /// Builds and proves the transaction of an order without sending it.
    ///
    /// # Errors
    /// [`PxeError::Funds`] and [`PxeError::Fee`] when notes or balance do not cover it, those of
    /// [`Self::check_deposit`] for a claim, [`PxeError::Node`] for answers that do not belong to the
    /// blocks that were read, [`PxeError::NoTree`], [`PxeError::Prove`].
    pub async fn prepare(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        order: &Order,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Tx, PxeError> {
        let basis = self.basis(node, order).await?;
        let plan = self.plan(order, basis.terms.fee.max, basis.balance)?;
        let anchor = self.anchor(node, &plan, basis.tip).await?;
        let anchor_header_hash = anchor.hash();
        let inputs = self.inputs(&plan, &anchor, rng)?;
        let (outputs, tags, logs) = self.outputs(&plan, rng);
        let mut log_hashes = [Fr::from(0u64); SLOTS];
        log_hashes.iter_mut().zip(&logs).for_each(|(hash, log)| *hash = log_hash(log));
        let payer = self.payer(order.fee_payer, &inputs[0]);
        let (claim_index, claim_amount) = match order.purpose {
            Purpose::Claim { deposit, .. } => (deposit.index, deposit.amount),
            _ => (0, 0),
        };
        let (withdraw_recipient, withdraw_amount) = match order.purpose {
            Purpose::Withdraw { to, amount } => (to, amount),
            _ => (EthAddress::default(), 0),
        };
        let witness = ClientWitness {
            sender: self.keys.account(),
            anchor,
            inputs,
            outputs,
            tags,
            log_hashes,
            payer,
            gas: basis.terms.gas,
            notes_in: plan.notes_in,
            notes_out: plan.notes_out,
            claim_index,
            claim_amount,
            withdraw_recipient,
            withdraw_amount,
            expiry_slot: basis.terms.expiry_slot,
            vk_root: basis.genesis.vk_root,
        };
        let mut seed = [0u8; 32];
        rng.fill_bytes(&mut seed);
        let client_proof = prover.prove(&witness, seed)?;
        Ok(Tx {
            chain_id: witness.anchor.chain_id,
            version: witness.anchor.version,
            anchor_header_hash,
            body: BlockBody { effects: witness.effects(), logs },
            proof_kind: ProofKind::BuiltIn,
            pair: Pair::trivial(),
            client_proof,
        })
    }

    /// Parameters, tip and terms.
    async fn basis(&self, node: &NodeClient, order: &Order) -> Result<Basis, PxeError> {
        let genesis = node.genesis().await.map_err(node_error)?;
        let bare = |error: rollmill_protocol::DecodeError| Bare(&error).to_string();
        genesis.config.check().map_err(|error| PxeError::Node(bare(error)))?;
        let tip = self.header(node, self.state.next_block.saturating_sub(1)).await?;
        // The version is a hash over chain id, contract, key root and parameters.
        if (genesis.chain_id, genesis.version()) != (tip.chain_id, tip.version) {
            let why = "its genesis file is not that of its blocks";
            return Err(PxeError::Node(why.to_owned()));
        }
        if let Purpose::Claim { deposit, .. } = &order.purpose {
            self.check_deposit(node, &tip, deposit).await?;
        }
        let now = (self.clock)();
        let terms = Terms::new(&genesis.config, &tip, now, order.expiry_epochs)?;
        let balance = match order.fee_payer {
            FeePayer::Notes => 0,
            FeePayer::Account => {
                self.fee_balance(node).await?.saturating_sub(self.balance_in_flight())
            }
        };
        Ok(Basis { genesis, tip, terms, balance })
    }

    /// The header of a block that was read, one of the last ones.
    async fn header(&self, node: &NodeClient, number: u64) -> Result<Header, PxeError> {
        let recent = &self.state.recent;
        let known = match number {
            0 => Some(&self.state.network),
            _ => recent.iter().find(|(block, _)| *block == number).map(|(_, hash)| hash),
        };
        let info = node.header(BlockRef::Number(number)).await.map_err(node_error)?;
        let info = info.ok_or_else(|| PxeError::Node(format!("it has no block {number}")))?;
        let header = info.decode().map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
        let is_known = known.is_some_and(|known| *known == to_hex(&info.header_hash));
        if is_known && header.block_number == number {
            Ok(header)
        } else {
            Err(PxeError::Node(format!("block {number} is another one than before")))
        }
    }

    /// The header that the inputs are proven against.
    async fn anchor(
        &self,
        node: &NodeClient,
        plan: &Plan,
        tip: Header,
    ) -> Result<Header, PxeError> {
        let rounded = tip.block_number - tip.block_number % ANCHOR_STEP;
        let is_newer = |note: &OwnedNote| note.block > rounded;
        if rounded == tip.block_number || plan.inputs.iter().any(is_newer) {
            return Ok(tip);
        }
        self.header(node, rounded).await
    }

    /// Notes, maximum fee and value that moves: everything that needs no node. `balance` is the public
    /// balance of a paying account.
    pub(super) fn plan(&self, order: &Order, max_fee: u64, balance: u64) -> Result<Plan, PxeError> {
        let own = self.address();
        let from_notes = order.fee_payer == FeePayer::Notes;
        // With the maximum, whatever a block's prices are, the refund is not below zero.
        let allowance = if from_notes { max_fee } else { 0 };
        if let Purpose::Claim { deposit, keep } = order.purpose {
            let funds = u128::from(balance) + u128::from(deposit.amount);
            let Some(free) = funds.checked_sub(max_fee.into()).filter(|_| !from_notes) else {
                let balance = u64::try_from(funds).unwrap_or(u64::MAX);
                return Err(PxeError::Fee { needed: max_fee, balance });
            };
            let free = u64::try_from(free).unwrap_or(u64::MAX).min(deposit.amount);
            let notes_in = if keep { 0 } else { free };
            let outputs = [(own, notes_in), (own, 0)];
            return Ok(Plan { inputs: vec![], outputs, notes_in, notes_out: 0, change: 0 });
        }
        if !from_notes && balance < max_fee {
            return Err(PxeError::Fee { needed: max_fee, balance });
        }
        let (amount, payee, leaves) = match order.purpose {
            Purpose::Transfer { to, amount } => (amount, Some((to, amount)), 0),
            Purpose::Withdraw { amount, .. } => (amount, None, amount),
            Purpose::Claim { .. } => (0, None, 0),
        };
        let too_much = PxeError::Funds {
            wanted: u64::MAX,
            fee: allowance,
            spendable: 0,
            balance: self.balance(),
        };
        let needed = amount.checked_add(allowance).ok_or(too_much)?;
        let inputs = self.choose(needed, allowance)?;
        let total = inputs.iter().fold(0u64, |sum, note| sum.saturating_add(note.value));
        let change = total.saturating_sub(needed);
        let outputs = match payee {
            Some(payee) => [payee, (own, change)],
            None => [(own, change), (own, 0)],
        };
        // At most `needed`, which does not wrap.
        Ok(Plan { inputs, outputs, notes_in: 0, notes_out: allowance + leaves, change })
    }

    /// The notes that a plan spends, with their paths, and dummies in place of those that it does not.
    fn inputs(
        &self,
        plan: &Plan,
        anchor: &Header,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<[InputNote; INPUTS], PxeError> {
        let mut inputs = [InputNote::dummy(Fr::rand(rng)), InputNote::dummy(Fr::rand(rng))];
        for (input, own) in inputs.iter_mut().zip(&plan.inputs) {
            let origin =
                NoteOrigin { first_nullifier: own.first_nullifier, index: own.index_in_tx };
            let (value, randomness) = (own.value, own.randomness);
            let leaf = Note { owner: self.owner, value, randomness }.unique(&origin);
            let path = self.note_path(own, &leaf, anchor)?;
            *input =
                InputNote { value, randomness, origin, leaf_index: Some(own.leaf_index), path };
        }
        Ok(inputs)
    }

    /// The notes that a plan creates, with the tags and the logs by which their owners find them.
    fn outputs(
        &mut self,
        plan: &Plan,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> ([Note; OUTPUTS], [Fr; SLOTS], Vec<Log>) {
        let sender = self.address().vpk;
        let mut tags = [Fr::from(0u64); SLOTS];
        let mut logs = Vec::with_capacity(OUTPUTS);
        let notes = plan.outputs.map(|(to, value)| {
            let note = Note { owner: to.to_field(), value, randomness: Fr::rand(rng) };
            let plain = LogNote { value, randomness: note.randomness, sender };
            let key = hex::encode(point_to_bytes(&to.vpk));
            let contact = self.state.contacts.entry(key).or_default();
            let secret = logs::pair_secret(&self.keys.vsk, &to.vpk, &note.owner);
            tags[logs.len()] = logs::tag(&secret, contact.sent);
            contact.sent += 1;
            logs.push(logs::encrypt(&to, &plain, rng));
            note
        });
        (notes, tags, logs)
    }

    /// Who pays, given the first input, whose nullifier makes the refund's randomness.
    fn payer(&self, fee_payer: FeePayer, first: &InputNote) -> Payer {
        match fee_payer {
            FeePayer::Account => Payer::Account(self.keys.account()),
            FeePayer::Notes => {
                let unique = first.note(self.owner).unique(&first.origin);
                let nullifier = note::nullifier(&unique, &self.keys.nsk);
                let randomness = self.keys.refund_randomness(&nullifier);
                Payer::Notes { owner: self.owner, randomness }
            }
        }
    }

    /// One or two notes worth at least `needed`, of which `fee` for the fee: the smallest single one, else
    /// the two largest. Notes of a dropped transaction come first, if they are enough.
    fn choose(&self, needed: u64, fee: u64) -> Result<Vec<OwnedNote>, PxeError> {
        let may = |note: &&OwnedNote| self.spend_pending || note.block <= self.proven;
        let mut notes: Vec<&OwnedNote> = self.spendable().filter(may).collect();
        notes.sort_by_key(|n| n.value);
        let back: Vec<&OwnedNote> = notes.iter().copied().filter(|n| n.given_back).collect();
        let enough = |notes: Vec<&OwnedNote>| -> Option<Vec<OwnedNote>> {
            if let Some(note) = notes.iter().find(|n| n.value >= needed) {
                return Some(vec![(*note).clone()]);
            }
            let two: Vec<OwnedNote> =
                notes.iter().rev().take(INPUTS).map(|n| (*n).clone()).collect();
            let total = two.iter().try_fold(0u64, |sum, n| sum.checked_add(n.value));
            total.is_some_and(|total| total >= needed).then_some(two)
        };
        let of_back = if back.is_empty() { None } else { enough(back) };
        if let Some(chosen) = of_back.or_else(|| enough(notes.clone())) {
            return Ok(chosen);
        }
        let two = notes.iter().rev().take(INPUTS);
        let spendable = two.fold(0u64, |sum, n| sum.saturating_add(n.value));
        let balance = notes.iter().fold(0u64, |sum, n| sum.saturating_add(n.value));
        Err(PxeError::Funds { wanted: needed, fee, spendable, balance })
    }
}
