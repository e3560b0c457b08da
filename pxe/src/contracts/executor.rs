//! Executes the functions of a transaction, one within the other, and answers what they ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ark_ff::Zero;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rollmill_acir::artifact::Function;
use rollmill_acir::private::{self, Execution, PrivateError};
use rollmill_acir::solve::SolveError;
use rollmill_protocol::private::{ContractFunction, gas_hash};
use rollmill_protocol::tx::log_hash;
use rollmill_protocol::{Fr, Log};
use rollmill_pxe_store::{Account, Scope, Store, View};

use super::book::{Book, Deployed};
use super::error::ContractError;
use super::oracles::Frame;
use super::owners::Owners;
use super::request::{CallRequest, Environment};

/// How much one transaction may execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls one within the other, the first one counted.
    pub depth: usize,
    /// Calls of a transaction.
    pub calls: usize,
}

impl Default for Limits {
    /// Eight calls wait at most in the kernel, so deeper ones would fail there.
    fn default() -> Self {
        Self { depth: 8, calls: 32 }
    }
}

/// What is called, by whom.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) contract: Fr,
    pub(crate) selector: Fr,
    pub(crate) sender: Fr,
    pub(crate) is_static: Fr,
    pub(crate) args: Vec<Fr>,
    pub(crate) start: Fr,
}

/// A call that was executed.
#[derive(Debug)]
pub struct Executed {
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) index: usize,
    pub(crate) of_contract: ContractFunction,
    pub(crate) execution: Execution,
    /// The logs that it wrote, in the order of its entries.
    pub(crate) logs: Vec<Log>,
    /// The words that it returned to its caller.
    pub(crate) returns: Vec<Fr>,
    pub(crate) nested: Vec<Self>,
}

impl Executed {
    /// The contract.
    pub fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    /// The function; `None` never happens for an executed one.
    pub fn function(&self) -> Option<&Function> {
        self.deployed.class.functions().get(self.index)
    }

    /// All values of the function, and what it says.
    pub fn execution(&self) -> &Execution {
        &self.execution
    }

    /// The words that it returned to its caller.
    pub fn returns(&self) -> &[Fr] {
        &self.returns
    }

    /// The calls that it made, in their order.
    pub fn nested(&self) -> &[Self] {
        &self.nested
    }
}

/// A note that was handed to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedNote {
    pub account: Account,
    pub nullifier: Fr,
    /// Its leaf, and the index of it.
    pub leaf: Fr,
    pub leaf_index: u64,
}

/// The next log of a pair of parties.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UsedTag {
    /// The sender.
    pub account: Account,
    pub(crate) secret: Fr,
    pub index: u64,
}

/// Without the secret, which tells all transfers of the pair.
impl std::fmt::Debug for UsedTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsedTag")
            .field("account", &self.account)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// All calls of a transaction as they were executed, before the kernel takes them.
#[derive(Debug)]
pub struct ExecutedTransaction {
    pub(crate) request: CallRequest,
    pub(crate) environment: Environment,
    pub(crate) owners: Owners,
    pub(crate) first: Executed,
    /// Notes that functions were given, in the order in which they asked.
    pub notes: Vec<UsedNote>,
    /// Tags that its logs have, in the order in which they were sealed.
    pub tags: Vec<UsedTag>,
    pub(crate) rng: StdRng,
}

impl ExecutedTransaction {
    /// The first call.
    pub fn first(&self) -> &Executed {
        &self.first
    }
}

/// Executes a request against what the store has. `seed` must be fresh and secret. `goes_on` is asked again and again,
/// also within functions that do not end. Nothing is written.
///
/// # Errors
/// [`ContractError`]; [`ContractError::Stopped`] once `goes_on` returns false.
pub fn execute(
    (store, scope): (&Store, &Scope),
    request: &CallRequest,
    environment: &Environment,
    limits: Limits,
    seed: [u8; 32],
    goes_on: &dyn Fn() -> bool,
) -> Result<ExecutedTransaction, ContractError> {
    let mut executor = Executor::new((store, scope), request, environment, limits, seed, goes_on)?;
    let tx = request.tx();
    let first = Called {
        contract: tx.origin,
        selector: tx.selector,
        sender: Fr::zero(),
        is_static: Fr::zero(),
        args: request.args.clone(),
        start: Fr::zero(),
    };
    let first = executor.run(&first, 0)?;
    let Executor { owners, notes, tags, rng, .. } = executor;
    let (request, environment) = (request.clone(), environment.clone());
    Ok(ExecutedTransaction { request, environment, owners, first, notes, tags, rng })
}

/// What all calls of a transaction share.
pub(crate) struct Executor<'s> {
    pub(crate) view: View<'s>,
    pub(crate) owners: Owners,
    pub(crate) book: Book,
    pub(crate) request: &'s CallRequest,
    pub(crate) environment: &'s Environment,
    limits: Limits,
    goes_on: &'s dyn Fn() -> bool,
    pub(crate) rng: StdRng,
    calls: usize,
    /// Nullifiers of the notes that were given, so that none is given twice.
    pub(crate) given: BTreeSet<Fr>,
    pub(crate) notes: Vec<UsedNote>,
    /// Index of the next log of a pair, by its secret.
    pub(crate) next_tags: BTreeMap<Fr, u64>,
    pub(crate) tags: Vec<UsedTag>,
    /// Words that calls returned, by their hash.
    pub(crate) returned: BTreeMap<Fr, Vec<Fr>>,
}

impl<'s> Executor<'s> {
    fn new(
        (store, scope): (&'s Store, &'s Scope),
        request: &'s CallRequest,
        environment: &'s Environment,
        limits: Limits,
        seed: [u8; 32],
        goes_on: &'s dyn Fn() -> bool,
    ) -> Result<Self, ContractError> {
        let view = store.view(scope)?;
        let owners = Owners::read(&view, scope)?;
        Ok(Self {
            view,
            owners,
            book: Book::default(),
            request,
            environment,
            limits,
            goes_on,
            rng: StdRng::from_seed(seed),
            calls: 0,
            given: BTreeSet::new(),
            notes: Vec::new(),
            next_tags: BTreeMap::new(),
            tags: Vec::new(),
            returned: BTreeMap::new(),
        })
    }

    /// Executes a call and all that it makes. `depth` calls wait for it.
    pub(crate) fn run(&mut self, called: &Called, depth: usize) -> Result<Executed, ContractError> {
        if depth >= self.limits.depth {
            return Err(ContractError::Depth { max: self.limits.depth });
        }
        if self.calls >= self.limits.calls {
            return Err(ContractError::Calls { max: self.limits.calls });
        }
        self.calls += 1;
        let deployed = self.book.deployed(&self.view, &called.contract)?;
        let no_function = || ContractError::NoFunction {
            contract: called.contract,
            selector: called.selector,
            known: deployed.names(),
        };
        let (index, function) = deployed.class.called(&called.selector).ok_or_else(no_function)?;
        let of_contract =
            deployed.class.of_contract(index, &deployed.instance).ok_or_else(no_function)?;
        let given = self.given_words(called);
        let goes_on = self.goes_on;
        let mut frame = Frame::new(self, called, depth);
        let executed = private::execute(function, &given, &called.args, &mut frame, goes_on);
        let Frame { nested, logs, failure, .. } = frame;
        let execution = match (executed, failure) {
            (Ok(execution), _) => execution,
            (Err(PrivateError::Solve(SolveError::Stopped)), _) => {
                return Err(ContractError::Stopped);
            }
            // What an oracle failed at says more than that it did.
            (Err(_), Some(failure)) => return Err(failure),
            (Err(error), None) => return Err(error.into()),
        };
        let logs = logs_of(&execution, &logs)?;
        let returns = self.returned.get(&execution.call().returns_hash).cloned();
        let returns = returns.unwrap_or_default();
        Ok(Executed { deployed, index, of_contract, execution, logs, returns, nested })
    }

    /// What every function is given before its arguments.
    fn given_words(&self, called: &Called) -> [Fr; private::GIVEN] {
        let Environment { anchor, gas } = self.environment;
        [
            called.contract,
            called.selector,
            called.sender,
            called.is_static,
            anchor.hash(),
            anchor.chain_id.into(),
            anchor.version.into(),
            gas_hash(gas),
            called.start,
        ]
    }
}

/// The words of the logs that a call states, out of those that it told the wallet with their counters.
fn logs_of(execution: &Execution, told: &[(Log, Fr)]) -> Result<Vec<Log>, ContractError> {
    let stated = execution.call().logs.iter().filter(|log| !log.log_hash.is_zero());
    let words = |log: &rollmill_protocol::private::LogEntry<Fr>| {
        let found = told
            .iter()
            .find(|(words, counter)| *counter == log.counter && log_hash(words) == log.log_hash);
        let why = "a call states a log without telling its words";
        let none = || ContractError::no_answer("rollmill_log_emitted", why);
        found.map(|(words, _)| *words).ok_or_else(none)
    };
    stated.map(words).collect()
}

/// Asks oracles as the function of a call would, for tests of what contracts may ask.
#[cfg(test)]
pub(super) fn asking<R>(
    of: (&Store, &Scope),
    request: &CallRequest,
    environment: &Environment,
    called: &Called,
    ask: impl FnOnce(&mut Frame<'_, '_>) -> R,
) -> Result<R, ContractError> {
    let (limits, seed) = (Limits::default(), [3; 32]);
    let always = || true;
    let mut executor = Executor::new(of, request, environment, limits, seed, &always)?;
    Ok(ask(&mut Frame::new(&mut executor, called, 0)))
}
