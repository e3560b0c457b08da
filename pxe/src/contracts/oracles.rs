//! The answers to the oracles of `docs/book/contracts.md`, each within its scope.
//!
//! A contract gets keys and notes for itself only, and of accounts of the scope only; an account's contract gets the
//! signatures that its owner asked for or allowed, and no others. What the wallet answers is checked by functions and
//! kernel, so a wrong row of the store makes no wrong transaction.

use std::collections::BTreeSet;

use ark_ff::{UniformRand, Zero};
use rollmill_acir::private::{Answer, WordOracles, args_hash, returns_hash};
use rollmill_acir::solve::OracleError;
use rollmill_protocol::private::{PER_CALL, PER_TX, app_key};
use rollmill_protocol::{Fr, Log, field};
use rollmill_pxe_store::{Account, Contract, Stage, StoredNote};

use super::book;
use super::discover::VALUE_NOTE;
use super::error::ContractError;
use super::executor::{Called, Executed, Executor, UsedNote, UsedTag};
use super::owners::Owner;
use crate::keys::{Address, ViewingSecret, point_from_bytes};
use crate::logs::{self, LogNote};

/// Words that one call may store as what it returns. The library's functions return a few.
const RETURNS_MAX: usize = 1024;
/// Lists of words that all calls of a transaction may store: some for each call. A function that does nothing else
/// would fill the memory.
const RETURNED_MAX: usize = 256;

/// A call that is being executed.
pub(crate) struct Frame<'e, 's> {
    executor: &'e mut Executor<'s>,
    called: &'e Called,
    depth: usize,
    pub(crate) nested: Vec<Executed>,
    /// Words of the logs that it wrote, with their counters.
    pub(crate) logs: Vec<(Log, Fr)>,
    /// Why an oracle had no answer.
    pub(crate) failure: Option<ContractError>,
}

/// The inputs of an oracle.
struct Asked<'a> {
    oracle: &'a str,
    inputs: &'a [Vec<Fr>],
}

impl Asked<'_> {
    fn malformed(&self) -> ContractError {
        ContractError::no_answer(self.oracle, "its inputs are not those of the library")
    }

    /// The one word of an input.
    fn word(&self, index: usize) -> Result<Fr, ContractError> {
        match self.inputs.get(index).map(Vec::as_slice) {
            Some([word]) => Ok(*word),
            _ => Err(self.malformed()),
        }
    }

    /// All words of an input.
    fn words(&self, index: usize) -> Result<&[Fr], ContractError> {
        self.inputs.get(index).map(Vec::as_slice).ok_or_else(|| self.malformed())
    }

    fn number(&self, index: usize) -> Result<u64, ContractError> {
        field::to_u64("oracle", &self.word(index)?).map_err(|_| self.malformed())
    }
}

impl WordOracles for Frame<'_, '_> {
    fn answer(&mut self, name: &str, inputs: &[Vec<Fr>]) -> Result<Answer, OracleError> {
        match self.answered(&Asked { oracle: name, inputs }) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(OracleError::Unknown { name: name.to_owned() }),
            Err(error) => {
                let reason = rollmill_errors::Bare(&error).to_string();
                self.failure = Some(error);
                Err(OracleError::Failed { name: name.to_owned(), reason })
            }
        }
    }
}

impl<'e, 's> Frame<'e, 's> {
    pub(crate) fn new(executor: &'e mut Executor<'s>, called: &'e Called, depth: usize) -> Self {
        Self { executor, called, depth, nested: Vec::new(), logs: Vec::new(), failure: None }
    }

    /// The answer; `None` for an oracle that does not exist.
    fn answered(&mut self, asked: &Asked<'_>) -> Result<Option<Answer>, ContractError> {
        Ok(Some(match asked.oracle {
            "rollmill_random" => Answer::Word(Fr::rand(&mut self.executor.rng)),
            "rollmill_get_account" => self.account(asked)?,
            "rollmill_get_instance" => {
                let instance = book::instance(&self.executor.view, &asked.word(0)?)?;
                let Contract { class_id, salt, init_hash, deployer, keys_hash } = instance;
                Answer::Words(vec![keys_hash, class_id, salt, init_hash, deployer])
            }
            "rollmill_get_app_key" => self.app_key(asked)?,
            "rollmill_get_notes" => self.notes(asked)?,
            "rollmill_seal_note" => self.seal_note(asked)?,
            "rollmill_log_emitted" => {
                if self.logs.len() >= PER_CALL {
                    return Err(asked.malformed());
                }
                let words: Log = asked.words(0)?.try_into().map_err(|_| asked.malformed())?;
                self.logs.push((words, asked.word(1)?));
                Answer::Nothing
            }
            "rollmill_store_returns" => self.store_returns(asked)?,
            "rollmill_load_returns" => {
                let returned = self.executor.returned.get(&asked.word(0)?).cloned();
                let none = || ContractError::no_answer(asked.oracle, "no call returned this");
                Answer::Words(returned.ok_or_else(none)?)
            }
            "rollmill_get_signing_key" => {
                let owner = self.own_account(asked, asked.word(0)?)?;
                Answer::Words(owner.signing_key().to_vec())
            }
            "rollmill_get_auth_witness" => self.auth_witness(asked)?,
            "rollmill_call_private" => {
                let args = asked.words(3)?.to_vec();
                if args_hash(&args) != asked.word(2)? {
                    return Err(asked.malformed());
                }
                self.nested_call(asked, args, asked.word(4)?, asked.word(5)?)?
            }
            "rollmill_call_prepared" => {
                let args = self.executor.request.prepared.get(&asked.word(2)?).cloned();
                let why = "the request has no arguments of this hash";
                let args = args.ok_or_else(|| ContractError::no_answer(asked.oracle, why))?;
                self.nested_call(asked, args, asked.word(3)?, asked.word(4)?)?
            }
            _ => return Ok(None),
        }))
    }

    fn refused(&self, asked: &Asked<'_>, what: &'static str) -> ContractError {
        let (oracle, contract) = (asked.oracle.to_owned(), self.called.contract);
        ContractError::Refused { oracle, contract, what }
    }

    /// Requires a contract to ask for itself.
    fn require_own(
        &self,
        asked: &Asked<'_>,
        contract: &Fr,
        what: &'static str,
    ) -> Result<(), ContractError> {
        match *contract == self.called.contract {
            true => Ok(()),
            false => Err(self.refused(asked, what)),
        }
    }

    /// The account whose contract asks, for itself.
    fn own_account(&self, asked: &Asked<'_>, address: Fr) -> Result<&Owner, ContractError> {
        self.require_own(asked, &address, "a signature of another account")?;
        let found = self.executor.owners.at(&address).map(|(owner, _)| owner);
        found.ok_or_else(|| self.refused(asked, "a signature of an account out of scope"))
    }

    fn account(&self, asked: &Asked<'_>) -> Result<Answer, ContractError> {
        let found = self.executor.owners.at(&asked.word(0)?);
        let (owner, partial) =
            found.ok_or_else(|| self.refused(asked, "the keys of an account out of scope"))?;
        let viewing = owner.viewing();
        Ok(Answer::Words(vec![owner.npk, viewing.x, viewing.y, partial]))
    }

    fn app_key(&self, asked: &Asked<'_>) -> Result<Answer, ContractError> {
        let contract = asked.word(1)?;
        self.require_own(asked, &contract, "a key of another contract")?;
        let owner = self.executor.owners.with_npk(&asked.word(0)?);
        let owner = owner.ok_or_else(|| self.refused(asked, "a key of an account out of scope"))?;
        Ok(Answer::Word(app_key(&owner.keys.nullifier(), &contract)))
    }

    fn store_returns(&mut self, asked: &Asked<'_>) -> Result<Answer, ContractError> {
        // An array without words may come as no input.
        let words = asked.inputs.get(1).cloned().unwrap_or_default();
        let hash = asked.word(0)?;
        let is_full = self.executor.returned.len() >= RETURNED_MAX;
        if is_full || words.len() > RETURNS_MAX || returns_hash(&words) != hash {
            return Err(asked.malformed());
        }
        self.executor.returned.insert(hash, words);
        Ok(Answer::Nothing)
    }

    fn nested_call(
        &mut self,
        asked: &Asked<'_>,
        args: Vec<Fr>,
        start: Fr,
        is_static: Fr,
    ) -> Result<Answer, ContractError> {
        let (contract, selector) = (asked.word(0)?, asked.word(1)?);
        let sender = self.called.contract;
        let called = Called { contract, selector, sender, is_static, args, start };
        let executed = self.executor.run(&called, self.depth.saturating_add(1))?;
        let call = executed.execution.call();
        let answer = vec![call.end, call.returns_hash];
        self.nested.push(executed);
        Ok(Answer::Words(answer))
    }

    /// The signature of the request itself, or one that the owner allowed before.
    fn auth_witness(&mut self, asked: &Asked<'_>) -> Result<Answer, ContractError> {
        let (address, message) = (asked.word(0)?, asked.word(1)?);
        let nonce = ViewingSecret::rand(&mut self.executor.rng);
        let owner = self.own_account(asked, address)?;
        let request = self.executor.request;
        if request.tx.origin == address && request.entry == Some(message) {
            return Ok(Answer::Words(owner.sign(&message, &nonce).to_vec()));
        }
        match self.executor.view.witness(&owner.account, &message)? {
            Some(witness) => Ok(Answer::Words(witness)),
            None => Err(ContractError::NotAllowed { account: address, message }),
        }
    }

    /// Notes that are worth an amount, and random words in the places that are left.
    fn notes(&mut self, asked: &Asked<'_>) -> Result<Answer, ContractError> {
        let (contract, owner, wanted) = (asked.word(0)?, asked.word(1)?, asked.word(2)?);
        self.require_own(asked, &contract, "notes of another contract")?;
        let count = usize::try_from(asked.number(3)?).map_err(|_| asked.malformed())?;
        if count > PER_TX {
            return Err(asked.malformed());
        }
        let found = self.executor.owners.at(&owner).map(|(owner, _)| owner.account);
        let account =
            found.ok_or_else(|| self.refused(asked, "notes of an account out of scope"))?;
        // Nobody has a note of more than 64 bits.
        let wanted = field::to_u64("amount", &wanted).unwrap_or(u64::MAX);
        let mut notes = self.spendable(&account, &contract, &owner)?;
        choose(&mut notes, wanted, count);
        let mut words = Vec::with_capacity(5 * count);
        for i in 0..count {
            words.extend(match notes.get(i) {
                Some(note) => {
                    self.executor.given.insert(note.used.nullifier);
                    self.executor.notes.push(note.used);
                    note.words()
                }
                None => {
                    let random = Fr::rand(&mut self.executor.rng);
                    [Fr::zero(), Fr::zero(), random, Fr::zero(), Fr::zero()]
                }
            });
        }
        Ok(Answer::Words(words))
    }

    /// The notes of an owner in the anchor's tree that no transaction uses, this one neither.
    fn spendable(
        &self,
        account: &Account,
        contract: &Fr,
        owner: &Fr,
    ) -> Result<Vec<Choice>, ContractError> {
        let last = self.executor.environment.anchor.block_number;
        let notes = self.executor.view.spendable(account, contract, owner)?;
        let free = notes.into_iter().filter(|stored| {
            stored.note.block <= last && !self.executor.given.contains(&stored.note.nullifier)
        });
        let released = self.released(account)?;
        let choice = |stored: StoredNote| {
            let choice = Choice::of(*account, &stored)?;
            Some(Choice { is_released: released.contains(&stored.note.nullifier), ..choice })
        };
        Ok(free.filter_map(choice).collect())
    }

    /// Nullifiers of the notes that dropped transactions of an account have released.
    fn released(&self, account: &Account) -> Result<BTreeSet<Fr>, ContractError> {
        let transactions = self.executor.view.transactions(account)?.into_iter();
        let dropped = transactions.filter(|one| one.row.stage == Stage::Dropped);
        Ok(dropped.flat_map(|one| one.row.nullifiers).collect())
    }

    /// Tag and words of a log for the owner of a new note.
    fn seal_note(&mut self, asked: &Asked<'_>) -> Result<Answer, ContractError> {
        let (contract, sender, owner) = (asked.word(0)?, asked.word(1)?, asked.word(2)?);
        self.require_own(asked, &contract, "a log of another contract")?;
        self.require_sender(asked, &sender)?;
        let (value, randomness) = (asked.number(3)?, asked.word(4)?);
        let executor = &mut *self.executor;
        // A caller that is no account, such as another contract, writes in the name of the user.
        let from =
            executor.owners.at(&sender).or_else(|| executor.owners.at(&executor.request.tx.origin));
        let from = from.map(|(from, _)| from).or_else(|| executor.owners.all().first());
        let from =
            from.ok_or_else(|| ContractError::no_answer(asked.oracle, "no account sends it"))?;
        let to = match executor.owners.at(&owner) {
            Some((own, _)) => Some(Address { npk: own.npk, vpk: own.vpk }),
            None => match executor.view.contact(&from.account, &owner)? {
                Some(contact) => {
                    let vpk = point_from_bytes(&contact.viewing);
                    vpk.map(|vpk| Address { npk: contact.npk, vpk })
                }
                None => None,
            },
        };
        let unknown = || {
            let why = format!(
                "the owner {} is neither an account nor a contact, so nothing can be encrypted to it",
                field::to_hex(&owner)
            );
            ContractError::no_answer(asked.oracle, why)
        };
        let to = to.ok_or_else(unknown)?;
        let secret = logs::pair_secret(&from.keys.viewing(), &to.vpk, &owner);
        let next = match executor.next_tags.get(&secret) {
            Some(next) => *next,
            None => executor.view.next_tag(&from.account, &secret)?,
        };
        let used = UsedTag { account: from.account, secret, index: next };
        let note = LogNote { value, randomness, sender: from.vpk };
        let log = logs::encrypt(&to, &note, &mut executor.rng);
        executor.next_tags.insert(secret, next.saturating_add(1));
        executor.tags.push(used);
        let mut words = vec![logs::tag(&secret, next)];
        words.extend(log);
        Ok(Answer::Words(words))
    }

    /// Requires a log to be in the name of the caller: another one would take the tags of somebody else.
    fn require_sender(&self, asked: &Asked<'_>, sender: &Fr) -> Result<(), ContractError> {
        match *sender == self.called.sender {
            true => Ok(()),
            false => Err(self.refused(asked, "a log in another's name")),
        }
    }
}

/// A note that may be given to a function.
#[derive(Debug, Clone, Copy)]
struct Choice {
    value: u64,
    randomness: Fr,
    first_nullifier: Fr,
    index: Fr,
    used: UsedNote,
    /// Whether a dropped transaction has released it.
    is_released: bool,
}

impl Choice {
    /// `None` for notes of another type.
    fn of(account: Account, stored: &StoredNote) -> Option<Self> {
        let note = &stored.note;
        let [value, randomness, first_nullifier, index] = note.content.as_slice() else {
            return None;
        };
        let used = UsedNote {
            account,
            nullifier: note.nullifier,
            leaf: note.unique,
            leaf_index: stored.leaf_index,
        };
        let value = field::to_u64("value", value).ok().filter(|_| note.kind == VALUE_NOTE)?;
        let (randomness, first_nullifier, index) = (*randomness, *first_nullifier, *index);
        Some(Self { value, randomness, first_nullifier, index, used, is_released: false })
    }

    /// The words of the oracle.
    fn words(&self) -> [Fr; 5] {
        [Fr::from(1u64), self.value.into(), self.randomness, self.first_nullifier, self.index]
    }
}

/// Leaves at most `count` notes that are worth `wanted`: the smallest single one, else the largest ones. Those that
/// dropped transactions have released come first, if they are enough: whoever has a copy of such a transaction cannot
/// get it included any more once they are spent.
fn choose(notes: &mut Vec<Choice>, wanted: u64, count: usize) {
    let mut released: Vec<Choice> = notes.iter().copied().filter(|note| note.is_released).collect();
    choose_among(&mut released, wanted, count);
    let sum = released.iter().fold(0u64, |sum, note| sum.saturating_add(note.value));
    if !released.is_empty() && sum >= wanted {
        *notes = released;
        return;
    }
    choose_among(notes, wanted, count);
}

/// As [`choose`], without a preference.
fn choose_among(notes: &mut Vec<Choice>, wanted: u64, count: usize) {
    notes.sort_by_key(|note| (note.value, note.used.leaf_index));
    let single = notes.iter().position(|note| note.value >= wanted);
    match single.filter(|_| count > 0) {
        Some(at) => *notes = notes.drain(at..=at).collect(),
        None => {
            notes.reverse();
            notes.truncate(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    fn note(value: u64, leaf_index: u64) -> Choice {
        let word = Fr::from(leaf_index);
        let account = Account(Fr::zero());
        let used = UsedNote { account, nullifier: word, leaf: word, leaf_index };
        Choice {
            value,
            randomness: word,
            first_nullifier: word,
            index: word,
            used,
            is_released: false,
        }
    }

    /// Goal: what so many notes can pay is paid, with as few as possible. Method: random notes against the sum of the
    /// largest ones.
    #[test]
    fn the_chosen_notes_are_enough_whenever_so_many_can_be() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        for _ in 0..1000 {
            let values: Vec<u64> = (0..rng.gen_range(0..6)).map(|_| rng.gen_range(0..20)).collect();
            let (wanted, count) = (rng.gen_range(0..40), rng.gen_range(0..4));
            let mut notes: Vec<Choice> =
                (0..).zip(&values).map(|(leaf, value)| note(*value, leaf)).collect();
            choose(&mut notes, wanted, count);
            let mut sorted = values.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let most: u64 = sorted.iter().take(count).sum();
            let chosen: u64 = notes.iter().map(|note| note.value).sum();
            assert!(notes.len() <= count, "{values:?}");
            assert_eq!(chosen >= wanted, most >= wanted, "{values:?}, {count} for {wanted}");
            if count > 0 && sorted.first().is_some_and(|largest| *largest >= wanted) {
                assert_eq!(notes.len(), 1, "{values:?}, {count} for {wanted}");
            }
        }
    }

    #[test]
    fn notes_of_a_dropped_transaction_are_spent_first_if_they_are_enough() {
        let released = |value, leaf| Choice { is_released: true, ..note(value, leaf) };
        let chosen = |wanted: u64, count: usize| {
            let mut notes = vec![note(20, 0), released(25, 1), note(10, 2), released(5, 3)];
            choose(&mut notes, wanted, count);
            notes.iter().map(|note| note.value).collect::<Vec<u64>>()
        };
        // Without the preference each would be the smallest single note, or the largest ones.
        assert_eq!(chosen(20, 2), [25]);
        assert_eq!(chosen(8, 2), [25]);
        assert_eq!(chosen(28, 2), [25, 5]);
        assert_eq!(chosen(3, 2), [5]);
        // They are not enough.
        assert_eq!(chosen(31, 2), [25, 20]);
        assert_eq!(chosen(28, 1), [25]);
    }
}
