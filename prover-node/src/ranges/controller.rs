//! Turns: reads the facts, steps every row, writes the changes, then runs the effects of the steps.

use std::collections::BTreeMap;
use std::future::Future;

use rollmill_broker_client::EpochOutcome;
use rollmill_service::Failure;

use super::facts::{Chain, Own, Policy};
use super::row::{Row, State};
use super::step::{Effect, is_contradicted, plan, step};
use super::store::RowStore;

/// Facts and effects of the outside world, as the controller needs them.
pub trait Ports {
    /// The facts that are the same for all rows. Blocks are read for the epochs with unproven blocks and
    /// for those of `rows`.
    fn chain(&mut self, rows: &[Row]) -> impl Future<Output = Result<Chain, Failure>> + Send;

    /// The facts of one row. `place` is left to the controller.
    fn own(&mut self, row: &Row) -> impl Future<Output = Own> + Send;

    /// Runs an effect of a step. Nothing is returned: its result is a fact of the next turn.
    fn perform(&mut self, row: &Row, effect: &Effect) -> impl Future<Output = ()> + Send;

    /// Tells the broker that an epoch needs nothing more, since every range of it has ended. Called in every turn: a
    /// broker that did not hear of it, or lost it, hears of it again.
    fn close(&mut self, epoch: u64, outcome: EpochOutcome) -> impl Future<Output = ()> + Send;

    /// Called with each written row and its facts; discards facts that the row now contains.
    fn written(&mut self, row: &Row, own: &Own);

    /// A named point of a turn. Tests end the process here.
    ///
    /// # Errors
    /// Whatever ends the turn at this point.
    fn pass(&mut self, point: &'static str) -> Result<(), Failure>;
}

/// The points of [`Ports::pass`], in the order of a turn.
pub const POINTS: [&str; 6] = [
    "turn.begin",
    "row.before_write",
    "row.after_write",
    "effect.before",
    "effect.after",
    "turn.end",
];

/// The rows of one prover node.
#[derive(Debug)]
pub struct Controller {
    store: RowStore,
    rows: Vec<Row>,
    policy: Policy,
}

impl Controller {
    /// Continues the rows of an earlier process.
    pub fn open(store: RowStore, policy: Policy) -> Result<Self, Failure> {
        let rows = store.load()?;
        Ok(Self { store, rows, policy })
    }

    /// Every row, ended ones included.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Runs one turn. A turn that fails half-way, or is repeated, does no harm.
    ///
    /// # Errors
    /// When facts cannot be read or rows cannot be written; nothing was done on the failed row then.
    pub async fn turn<P: Ports>(&mut self, ports: &mut P) -> Result<(), Failure> {
        ports.pass("turn.begin")?;
        let chain = ports.chain(&self.rows).await?;
        for index in 0..self.rows.len() {
            self.advance(index, &chain, ports).await?;
        }
        let next_id = self.rows.iter().map(|row| row.id + 1).max().unwrap_or(1);
        for row in plan(&self.rows, &chain, &self.policy, next_id) {
            tracing::info!(
                range = row.id,
                epoch = row.epoch,
                first_block = row.first(),
                last_block = row.last(),
                "range planned"
            );
            self.store.put(&row)?;
            self.rows.push(row);
            self.advance(self.rows.len() - 1, &chain, ports).await?;
        }
        for (epoch, outcome) in ended(&self.rows) {
            ports.close(epoch, outcome).await;
        }
        self.store.forget(&mut self.rows)?;
        ports.pass("turn.end")
    }

    async fn advance<P: Ports>(
        &mut self,
        index: usize,
        chain: &Chain,
        ports: &mut P,
    ) -> Result<(), Failure> {
        let row = &self.rows[index];
        if row.state.is_end() && !row.cleanup && !is_contradicted(row, chain) {
            return Ok(());
        }
        let mut own = ports.own(row).await;
        own.command = self.store.command(row.id);
        let proving = self.rows.iter().filter(|row| row.state == State::Proving).count();
        own.place = proving < self.policy.ranges_max;
        let step = step(row, chain, &own, &self.policy);
        if step.row != *row {
            if step.row.state != row.state {
                tracing::info!(
                    range = row.id,
                    epoch = row.epoch,
                    first_block = row.first(),
                    last_block = step.row.last(),
                    from = row.state.as_str(),
                    to = step.row.state.as_str(),
                    l1_block = chain.l1_head,
                    "range state changed"
                );
            }
            ports.pass("row.before_write")?;
            self.store.put(&step.row)?;
            self.rows[index] = step.row;
            ports.pass("row.after_write")?;
        }
        if own.command.is_some() || self.rows[index].state.is_end() {
            self.store.take_command(self.rows[index].id)?;
        }
        ports.written(&self.rows[index], &own);
        for effect in &step.effects {
            ports.pass("effect.before")?;
            ports.perform(&self.rows[index], effect).await;
            ports.pass("effect.after")?;
        }
        Ok(())
    }
}

/// The epochs of which every range has ended and is cleaned up. Where outcomes differ, the one that is worth more of a look:
/// given up, then superseded, then final.
pub fn ended(rows: &[Row]) -> BTreeMap<u64, EpochOutcome> {
    let mut epochs: BTreeMap<u64, Option<EpochOutcome>> = BTreeMap::new();
    for row in rows {
        let outcome = match row.state {
            State::Final { .. } => Some(EpochOutcome::Final),
            State::Superseded => Some(EpochOutcome::Superseded),
            State::GivenUp { .. } => Some(EpochOutcome::GivenUp),
            State::Planned
            | State::Proving
            | State::RootReady
            | State::Submitting { .. }
            | State::Included { .. }
            | State::Parked { .. } => None,
        };
        let outcome = outcome.filter(|_| !row.cleanup);
        let known = epochs.entry(row.epoch).or_insert(outcome);
        *known = match (*known, outcome) {
            (Some(a), Some(b)) => Some(telling(a, b)),
            _ => None,
        };
    }
    epochs.into_iter().filter_map(|(epoch, outcome)| Some((epoch, outcome?))).collect()
}

/// Of two outcomes the one whose epoch is worth more of a look.
fn telling(a: EpochOutcome, b: EpochOutcome) -> EpochOutcome {
    let is = |outcome| a == outcome || b == outcome;
    [EpochOutcome::GivenUp, EpochOutcome::Superseded].into_iter().find(|o| is(*o)).unwrap_or(a)
}
