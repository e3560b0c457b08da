//! The transitions of a row: pure functions of the row and of facts.

use super::facts::{Chain, Command, Own, Policy, Proof, Sent, SubmitFailure};
use super::row::{GaveUp, Intent, Parking, RangeBlock, Row, State};

/// Attempts that may fail without a fact that explains it, before the range is parked for an operator.
pub const FAILURES_MAX: u32 = 5;

/// An effect of a step, run after its row has been written. It may be repeated or lost: the next turn
/// asks for it again as long as it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Fetch the transactions of the first block.
    Gather,
    /// Run the range's proving task, with the row's present blocks.
    Prove,
    /// Stop the proving task.
    Stop,
    /// Cancel jobs at the broker that no range needs.
    Cancel,
    /// Pass the present attempt to the sender.
    Submit,
    /// Capture what is needed to find out why the range failed.
    Capture { reason: String },
}

/// A row after a step, and its effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub row: Row,
    pub effects: Vec<Effect>,
}

/// Advances a row as far as the facts allow. Equal arguments return equal results, and a second step on
/// the same facts changes nothing.
pub fn step(before: &Row, chain: &Chain, own: &Own, policy: &Policy) -> Step {
    let mut turn = Turn { row: before.clone(), chain, own, policy, effects: Vec::new() };
    if is_contradicted(before, chain) {
        turn.open_again();
    }
    if !turn.row.state.is_end() {
        turn.follow();
        turn.obey();
        turn.take_sent();
        turn.finalize();
    }
    if !turn.row.state.is_end() {
        turn.park_or_resume();
        turn.forward();
    }
    turn.clean_up();
    Step { row: turn.row, effects: turn.effects }
}

/// The ranges that the chain needs and no row covers, at most one per epoch.
///
/// A range starts at its epoch's first block, whatever prefix of it is proven already: the contract accepts
/// no other start, and pays the longest proof alone. With `prefix_blocks`, each range is that much
/// longer than the one before; the broker has the proofs of the blocks that they share.
pub fn plan(rows: &[Row], chain: &Chain, policy: &Policy, next_id: u64) -> Vec<Row> {
    let mut planned = Vec::new();
    for (epoch, blocks) in &chain.epochs {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { continue };
        if last.number <= chain.proven {
            continue;
        }
        let is_here = |row: &&Row| {
            row.epoch == *epoch && row.first() == first.number && is_on_chain(row, chain)
        };
        let here: Vec<&Row> = rows.iter().filter(is_here).collect();
        // A range that may still grow takes further blocks, even if it is abandoned.
        let abandoned = State::GivenUp { reason: GaveUp::Abandoned };
        let grows = |row: &&Row| !row.frozen && (!row.state.is_end() || row.state == abandoned);
        if here.iter().any(grows) {
            continue;
        }
        let covered = here.iter().map(|row| row.blocks.len()).max().unwrap_or(0);
        let needed = &blocks[..blocks.len().min(policy.length_after(covered))];
        if needed.len() > covered && needed.last().is_some_and(|last| last.number > chain.proven) {
            planned.push(Row::new(next_id + planned.len() as u64, *epoch, needed.to_vec()));
        }
    }
    planned
}

fn is_on_chain(row: &Row, chain: &Chain) -> bool {
    let found = |block: &RangeBlock| {
        chain.block(row.epoch, block.number).is_some_and(|there| there.is_same(block))
    };
    row.blocks.iter().all(found)
}

/// Whether the chain contradicts what ended the row: removed blocks exist again, or a proof no longer
/// does. L1 does not exclude a reorganisation of finalized blocks; it makes it expensive.
pub(super) fn is_contradicted(row: &Row, chain: &Chain) -> bool {
    // A node that reads L1 again from an earlier block does not know this yet.
    let ended_at = row.log.last().map_or(0, |entry| entry.l1_block);
    let denied = match &row.state {
        State::Final { .. } | State::Superseded => {
            // The two facts may have been read at different times.
            chain.proven < row.last()
                && chain.finalized.is_none_or(|finalized| finalized.proven < row.last())
        }
        State::GivenUp { reason: GaveUp::Stale } => true,
        State::GivenUp { reason: GaveUp::Late } => !chain.is_closed(row.epoch),
        _ => false,
    };
    denied && chain.l1_head >= ended_at && is_on_chain(row, chain)
}

struct Turn<'a> {
    row: Row,
    chain: &'a Chain,
    own: &'a Own,
    policy: &'a Policy,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn head(&self) -> u64 {
        self.chain.l1_head
    }

    fn enter(&mut self, state: State) {
        if self.row.state != state {
            let what = match &state {
                State::Parked { parking: Parking::Operator { reason }, .. } => {
                    format!("{}: {reason}", state.as_str())
                }
                _ => state.as_str().to_owned(),
            };
            self.row.note(self.chain.l1_head, what);
            self.row.state = state;
        }
    }

    /// From the start, under attempt numbers that the sender does not know: it knows the earlier ones
    /// from the chain that was reorganised away.
    fn open_again(&mut self) {
        self.row.note(self.chain.l1_head, "L1 reorganised the fact that ended the range");
        self.row.attempt = self.row.attempt.saturating_add(1);
        self.row.first_attempt = self.row.attempt;
        (self.row.failures, self.row.not_before) = (0, 0);
        self.row.captured = false;
        // The root proof is still valid, and the client proofs may be deleted by now.
        self.resume(None);
    }

    fn is_on_chain(&self) -> bool {
        is_on_chain(&self.row, self.chain)
    }

    fn is_covered(&self) -> bool {
        self.chain.proven >= self.row.last()
    }

    /// L1 would reject a proof that is sent now, since the challenge period is over.
    fn is_late(&self) -> bool {
        self.chain.is_closed(self.row.epoch)
    }

    /// Updates the row's blocks from the chain while they are not decided, and their L1 blocks always.
    fn follow(&mut self) {
        let chain = self.chain;
        if self.row.frozen {
            for block in &mut self.row.blocks {
                if let Some(there) = chain.block(self.row.epoch, block.number)
                    && there.is_same(block)
                {
                    block.l1_block = there.l1_block;
                }
            }
        } else {
            // It was planned for more blocks than a multiple that another range covers.
            let max = self.policy.length_after(self.row.blocks.len().saturating_sub(1));
            let blocks = chain.blocks(self.row.epoch).iter();
            let blocks: Vec<RangeBlock> = blocks.take(max).copied().collect();
            if !blocks.is_empty() {
                self.row.frozen = chain.has_ended(self.row.epoch) || blocks.len() == max;
                self.row.blocks = blocks;
            }
        }
        self.row.accepted_until = Some(chain.schedule.accepted_until(self.row.epoch));
    }

    fn obey(&mut self) {
        match self.own.command {
            Some(Command::Abandon) => {
                self.leave_work();
                self.enter(State::GivenUp { reason: GaveUp::Abandoned });
            }
            Some(Command::Retry) => {
                if let State::Parked { parking: Parking::Operator { .. }, intent } = self.row.state
                {
                    (self.row.failures, self.row.not_before) = (0, 0);
                    self.resume(intent);
                }
            }
            None => {}
        }
    }

    /// Follows the transactions that were sent. An operator's parking stays unless the proof was accepted.
    fn take_sent(&mut self) {
        let can_be_sent = matches!(
            self.row.state,
            State::RootReady
                | State::Submitting { .. }
                | State::Included { .. }
                | State::Parked { .. }
        );
        if self.row.root.is_none() || !can_be_sent {
            return;
        }
        let intent = self.row.intent();
        let parked = matches!(self.row.state, State::Parked { .. });
        match &self.own.sent {
            Some(Sent::Included(inclusion)) => {
                if self.is_on_chain() {
                    let none = Intent { fence: 0, l1_block: inclusion.l1_block };
                    let intent = intent.unwrap_or(none);
                    self.enter(State::Included { inclusion: inclusion.clone(), intent });
                }
            }
            Some(Sent::Pending) => {
                if let State::Included { intent, .. } = self.row.state {
                    self.enter(State::Submitting { intent });
                }
            }
            Some(Sent::Reverted { tx_hash }) if intent.is_some() => {
                let what = format!("attempt {} reverted: {tx_hash}", self.row.attempt);
                self.row.note(self.chain.l1_head, what);
                self.next_attempt();
                let explained = !self.is_on_chain() || self.is_covered() || self.is_late();
                if !parked && !explained {
                    self.count_failure(format!("attempt reverted on L1: {tx_hash}"));
                }
            }
            Some(Sent::Lost) if intent.is_some() => {
                self.next_attempt();
                self.row.not_before = self.head().saturating_add(1);
            }
            Some(Sent::Reverted { .. } | Sent::Lost) => {}
            None => {
                if matches!(self.row.state, State::Included { .. }) && !self.is_covered() {
                    self.next_attempt();
                }
                if matches!(self.row.state, State::Submitting { .. }) {
                    self.take_failure();
                }
            }
        }
    }

    /// The attempt is over; the next one has a number of its own.
    fn next_attempt(&mut self) {
        self.row.attempt = self.row.attempt.saturating_add(1);
        if let State::Parked { intent, .. } = &mut self.row.state {
            *intent = None;
        } else {
            self.enter(State::RootReady);
        }
    }

    /// Nothing was sent: the attempt keeps its number.
    fn take_failure(&mut self) {
        let next_block = self.head().saturating_add(1);
        match &self.own.failure {
            None | Some(SubmitFailure::Transient { .. }) => {}
            Some(SubmitFailure::Order { reason } | SubmitFailure::Late { reason }) => {
                self.row.note(self.chain.l1_head, reason.clone());
                self.enter(State::RootReady);
                self.row.not_before = next_block;
            }
            Some(SubmitFailure::Rejected { reason }) => self.ask_operator(reason.clone()),
            Some(SubmitFailure::Unknown { reason }) => {
                self.enter(State::RootReady);
                self.count_failure(reason.clone());
            }
        }
    }

    /// Waits a doubling number of L1 blocks before the next attempt; after [`FAILURES_MAX`] failures,
    /// parks the range for an operator.
    fn count_failure(&mut self, reason: String) {
        self.row.failures += 1;
        if self.row.failures >= FAILURES_MAX {
            let reason = format!("{} attempts failed, the last one: {reason}", self.row.failures);
            return self.ask_operator(reason);
        }
        self.row.not_before = self.head().saturating_add(1 << self.row.failures);
    }

    fn ask_operator(&mut self, reason: String) {
        self.leave_work();
        let intent = None;
        self.row.captured = false;
        self.enter(State::Parked { parking: Parking::Operator { reason }, intent });
    }

    /// Ends the row if L1 finalized a fact that ends it.
    fn finalize(&mut self) {
        // A node that is behind L1's final block does not know the chain yet.
        let finalized = self.chain.finalized.filter(|at| self.head() >= at.l1_block);
        let (Some(at), Some(last)) = (finalized, self.row.blocks.last().copied()) else { return };
        let is_final = |block: &RangeBlock| block.l1_block <= at.l1_block;
        if !self.is_on_chain() {
            let is_gone = |block: &RangeBlock| {
                let other = self.chain.any(block.number);
                let replaced = other.is_some_and(|it| !it.is_same(block) && is_final(it));
                is_final(block) && (at.pending < block.number || replaced)
            };
            if self.row.blocks.iter().any(is_gone) {
                self.leave_work();
                self.enter(State::GivenUp { reason: GaveUp::Stale });
            }
            return;
        }
        if at.proven >= last.number && is_final(&last) {
            match &self.row.state {
                State::Included { inclusion, .. } => {
                    if inclusion.l1_block <= at.l1_block {
                        let inclusion = inclusion.clone();
                        self.enter(State::Final { inclusion });
                    }
                }
                // The sender has not polled yet: this may be the proof that covers the range.
                _ if self.own.sent == Some(Sent::Pending) => {}
                _ => {
                    self.leave_work();
                    self.enter(State::Superseded);
                }
            }
            return;
        }
        let is_accepted = matches!(self.row.state, State::Included { .. });
        if !is_accepted && at.l1_time >= self.chain.schedule.accepted_until(self.row.epoch) {
            self.leave_work();
            self.enter(State::GivenUp { reason: GaveUp::Late });
        }
    }

    fn park_or_resume(&mut self) {
        let is_accepted = matches!(self.row.state, State::Included { .. });
        let reason = if !self.is_on_chain() {
            Some(Parking::Stale)
        } else if is_accepted {
            None
        } else if self.is_covered() {
            Some(Parking::Covered)
        } else if self.is_late() {
            Some(Parking::Late)
        } else {
            None
        };
        match (&self.row.state, reason) {
            (State::Parked { parking: Parking::Operator { .. }, .. }, _) => {}
            (State::Parked { intent, .. }, None) => self.resume(*intent),
            (_, Some(parking)) => {
                let intent = self.row.intent();
                self.leave_work();
                self.enter(State::Parked { parking, intent });
            }
            (_, None) => {}
        }
    }

    /// Returns to the state from which it can continue.
    fn resume(&mut self, intent: Option<Intent>) {
        self.enter(match (intent, &self.row.root) {
            (Some(intent), Some(_)) => State::Submitting { intent },
            (_, Some(_)) => State::RootReady,
            (_, None) => State::Planned,
        });
    }

    /// Stops the work for the range.
    fn leave_work(&mut self) {
        if self.row.state == State::Proving {
            self.row.cleanup = true;
            self.effects.push(Effect::Stop);
        }
    }

    fn forward(&mut self) {
        self.drop_damaged_root();
        if self.row.state == State::Planned {
            if self.own.place && self.own.gathered {
                self.enter(State::Proving);
                self.row.cleanup = false;
            } else if !self.own.gathered {
                self.effects.push(Effect::Gather);
            }
        }
        if self.row.state == State::Proving {
            self.prove();
        }
        if self.row.state == State::RootReady
            && let Some(fence) = self.may_submit()
        {
            let intent = Intent { fence, l1_block: self.head() };
            self.enter(State::Submitting { intent });
        }
        if let State::Submitting { intent } = self.row.state
            && self.own.sent.is_none()
        {
            match self.may_submit() {
                Some(fence) => {
                    self.row.state = State::Submitting { intent: Intent { fence, ..intent } };
                    self.effects.push(Effect::Submit);
                }
                None => self.enter(State::RootReady),
            }
        }
    }

    /// A root that cannot be read is proven again: its jobs are finished at the broker.
    fn drop_damaged_root(&mut self) {
        let unsent = matches!(self.row.state, State::Submitting { .. }) && self.own.sent.is_none();
        if (unsent || self.row.state == State::RootReady) && !self.own.root_readable {
            self.row.note(self.chain.l1_head, "the root proof on disk cannot be read");
            self.row.root = None;
            self.enter(State::Planned);
        }
    }

    fn prove(&mut self) {
        let last = self.row.blocks.last().copied();
        match &self.own.proof {
            Proof::Ready(root)
                if self.row.frozen && last.is_some_and(|last| last.is_same(&root.last)) =>
            {
                self.row.root = Some(root.clone());
                self.enter(State::RootReady);
                self.effects.push(Effect::Stop);
            }
            Proof::Failed { reason } => self.ask_operator(reason.clone()),
            Proof::Open | Proof::Ready(_) => self.effects.push(Effect::Prove),
        }
    }

    /// The fence to submit under, if all requirements are met.
    fn may_submit(&self) -> Option<u64> {
        let in_window = !self.chain.is_closed(self.row.epoch);
        let is_next = self.row.first() <= self.chain.proven.saturating_add(1);
        let is_due = self.head() >= self.row.not_before;
        let ready = in_window && is_next && is_due && !self.policy.dry_run;
        self.chain.lease.filter(|_| ready)
    }

    fn clean_up(&mut self) {
        if let State::Parked { parking: Parking::Operator { reason }, .. } = &self.row.state
            && !self.row.captured
        {
            let reason = reason.clone();
            // A fact of this turn is about the state before it was parked.
            let is_new = !self.effects.is_empty();
            if self.own.captured && !is_new {
                self.row.captured = true;
            } else {
                self.effects.push(Effect::Capture { reason });
            }
        }
        let idle = self.row.state.is_end() || matches!(self.row.state, State::Parked { .. });
        if !self.row.cleanup || !idle {
            return;
        }
        if self.own.cleaned {
            self.row.cleanup = false;
        } else {
            self.effects.push(Effect::Cancel);
        }
    }
}
