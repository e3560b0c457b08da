//! Accounts that are contracts of Noir, a token and a sponsor: private transactions whose fees somebody else pays.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_deployment::{Amount, ContractBalance, L2Contract};
use rollmill_l1::Azt;
use rollmill_node_client::NodeClient;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::tx::NO_EXPIRY;
use rollmill_protocol::{Fr, Tx};
use rollmill_pxe::contracts::prover::ContractProver;
use rollmill_pxe::contracts::{
    CallRequest, Class, ContractCall, ContractError, EntryTerms, Environment, Limits, NamedCall,
    abandon_planned, class_of, execute, init_hash, named_call, plan, ready, register, signing_key,
    sync,
};
use rollmill_pxe::error::PxeError;
use rollmill_pxe_store::{Account, Contract, Cost, MasterKeys, Scope, Store};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::scenario::Running;
use crate::{ANVIL_CHAIN_ID, Error, Network, Options, PrivateCallReport, Progress, StepReport};

/// By how many blocks an epoch is longer for each transfer, which is proven while the epoch runs.
pub const BLOCKS_PER_TRANSFER: u32 = 4;
/// Public balance of the sponsor at genesis, in units: enough for any run.
const SPONSORED: u64 = 1 << 50;
/// The most units that the sponsor pays for one transaction.
const LIMIT: u64 = 1 << 40;
/// What is minted, in units of the token.
pub const MINTED: u64 = 1_000_000;
/// Accounts: one that mints and sends, and one that receives.
const ACCOUNTS: usize = 2;
/// The amount of the first transfer, in units of the token. Each further one is 1 more.
const FIRST_TRANSFER: u64 = 1_000;
/// How long one transaction may take to prove.
const PROOF_LIMIT: Duration = Duration::from_secs(600);
/// Nobody else reads the store of a development network.
const PASSWORD: &str = "rollmill-devnet";
const COST: Cost = Cost { log_n: 1, r: 1, p: 1 };

const ACCOUNT: &[u8] = include_bytes!("../../noir/artifacts/schnorr_account.json");
const TOKEN: &[u8] = include_bytes!("../../noir/artifacts/token.json");
const SPONSOR: &[u8] = include_bytes!("../../noir/artifacts/sponsor.json");

/// The wallet of all accounts, in one store.
#[derive(Debug)]
pub struct Contracts {
    of: Arc<Wallets>,
    rng: ChaCha20Rng,
    reports: Vec<PrivateCallReport>,
}

#[derive(Debug)]
struct Wallets {
    store: Store,
    scope: Scope,
    prover: ContractProver,
    at: Registered,
}

/// What the store of a run has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Registered {
    /// Each account, and the address of its contract.
    accounts: Vec<(Account, Fr)>,
    token: Fr,
    sponsor: Fr,
}

/// A call of the token, by the name of the function and its arguments.
#[derive(Debug, Clone)]
struct TokenCall {
    function: &'static str,
    args: Value,
}

impl Contracts {
    /// Opens or creates the store at `path` and registers `count` accounts, of which the first may mint, the token and
    /// the sponsor. Keys of functions that `folder` lacks are made, with a line for each contract. What the store has
    /// already stays as it is. `count` is at least 1.
    ///
    /// # Errors
    /// [`Error::Wallet`], [`Error::Spawn`].
    pub async fn open(
        path: &Path,
        folder: &Path,
        seed: u64,
        count: usize,
        progress: &mut Progress,
    ) -> Result<Self, Error> {
        let (path, folder) = (path.to_owned(), folder.to_owned());
        let (sender, mut lines) = unbounded_channel();
        let opening = tokio::task::spawn_blocking(move || {
            Wallets::open(&path, &folder, seed, count, &sender)
        });
        while let Some(line) = lines.recv().await {
            progress.line(&line);
        }
        let of = opening.await.map_err(ended)??;
        // Separate from the stream of random numbers for the keys.
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(3);
        Ok(Self { of: Arc::new(of), rng, reports: Vec::new() })
    }

    /// The public balance that the sponsor has at genesis.
    pub fn balance(&self) -> ContractBalance {
        let public_azt = Amount(Azt::from_units(SPONSORED));
        ContractBalance { address: L2Contract(self.of.at.sponsor), public_azt }
    }

    /// Number of accounts.
    pub fn len(&self) -> usize {
        self.of.at.accounts.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.of.at.accounts.is_empty()
    }

    /// The sponsor's address.
    pub fn sponsor(&self) -> Fr {
        self.of.at.sponsor
    }

    /// Figures of the transactions so far.
    pub fn reports(&self) -> &[PrivateCallReport] {
        &self.reports
    }

    /// A private mint of [`MINTED`] by account 0 for itself, proven and not sent.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn mint(&mut self, node: &NodeClient, progress: &mut Progress) -> Result<Tx, Error> {
        let args = json!({ "to": self.of.named(0), "amount": MINTED });
        let call = TokenCall { function: "mint", args };
        self.prove(0, call, format!("private mint of {MINTED} tokens"), node, progress).await
    }

    /// A private transfer of account 0 to another one, proven and not sent. The block of what it spends must be on the
    /// chain.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn transfer(
        &mut self,
        to: usize,
        amount: u64,
        node: &NodeClient,
        progress: &mut Progress,
    ) -> Result<Tx, Error> {
        let args = json!({ "to": self.of.named(to), "amount": amount });
        let call = TokenCall { function: "transfer", args };
        let what = format!("private transfer of {amount} tokens to account {to}");
        self.prove(0, call, what, node, progress).await
    }

    async fn prove(
        &mut self,
        from: usize,
        call: TokenCall,
        what: String,
        node: &NodeClient,
        progress: &mut Progress,
    ) -> Result<Tx, Error> {
        progress.status(format!("account {from} proves a {what}"));
        let (of, node) = (Arc::clone(&self.of), node.clone());
        let mut seed = [0u8; 32];
        self.rng.fill_bytes(&mut seed);
        let (sender, mut steps) = unbounded_channel();
        let handle = tokio::runtime::Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            handle.block_on(of.proven(from, &call, &node, seed, &sender))
        });
        let start = Instant::now();
        let (mut made, mut last): (Vec<StepReport>, Instant) = (Vec::new(), start);
        while let Some((step, rows, at)) = steps.recv().await {
            let seconds = at.saturating_duration_since(last).as_secs_f64();
            last = at;
            progress
                .status(format!("account {from}: proof {} of a {what}: {step}", made.len() + 1));
            made.push(StepReport { step, rows, seconds });
        }
        let tx = work.await.map_err(ended)??;
        require_payer(&tx.effects().fee_payer, &self.of.at.sponsor)?;
        let seconds = last.saturating_duration_since(start).as_secs_f64();
        let count = made.len();
        progress.line(&format!(
            "account {from} proved a {what}: {count} proofs, {seconds:.2} s; the sponsor pays the fee"
        ));
        self.reports.push(PrivateCallReport { what, seconds, steps: made });
        Ok(tx)
    }

    /// What account `index` has of the token, after a look at the node.
    ///
    /// # Errors
    /// [`Error::Wallet`].
    pub async fn balance_of(&self, index: usize, node: &NodeClient) -> Result<u64, Error> {
        sync::follow(&self.of.store, node).await?;
        Ok(self.of.held(index)?)
    }
}

impl Running {
    /// Proves and sends the transfers of the token, each once the block of what it spends is there: first that of `mint`.
    /// Returns them without `mint`.
    pub(crate) async fn transfer_tokens(
        &mut self,
        mint: Tx,
        options: &Options,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<Vec<Tx>, Error> {
        let (mut before, mut sent) = (mint, Vec::new());
        for i in 0..options.tokens_sent() {
            self.wait_for(std::slice::from_ref(&before), network, progress).await?;
            let Some(contracts) = &mut self.contracts else { break };
            let amount = FIRST_TRANSFER + u64::from(i);
            let tx = contracts.transfer(1, amount, &self.node, progress).await?;
            self.send(std::slice::from_ref(&tx), network, progress).await?;
            sent.push(tx.clone());
            before = tx;
        }
        Ok(sent)
    }

    /// Requires the recipient of the transfers to have all of them, and the sender the rest of what was minted; nothing
    /// in a run without a token.
    ///
    /// # Errors
    /// [`Error::Unpaid`], [`Error::Wallet`].
    pub(crate) async fn check_tokens(
        &self,
        options: &Options,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let Some(contracts) = &self.contracts else { return Ok(()) };
        let expected: u64 = (0..options.tokens_sent()).map(|i| FIRST_TRANSFER + u64::from(i)).sum();
        let mut held = [0; ACCOUNTS];
        for (account, held) in held.iter_mut().enumerate() {
            *held = contracts.balance_of(account, &self.node).await?;
        }
        require_held(held, expected)?;
        progress
            .line(&format!("account 1 has {expected} tokens in notes, for which the sponsor paid"));
        Ok(())
    }
}

/// Requires the sponsor to pay for a transaction.
fn require_payer(payer: &Fr, sponsor: &Fr) -> Result<(), Error> {
    match payer == sponsor {
        true => Ok(()),
        false => {
            let reason = format!("{} pays the fee instead of the sponsor", to_hex(payer));
            Err(Error::Unpaid { what: "private transaction", reason })
        }
    }
}

/// Requires the sender and the recipient of transfers to have what these made of [`MINTED`]: nothing is lost, and
/// nothing comes from nowhere.
fn require_held(held: [u64; ACCOUNTS], sent: u64) -> Result<(), Error> {
    let expected = [MINTED.saturating_sub(sent), sent];
    for (account, (got, expected)) in held.into_iter().zip(expected).enumerate() {
        if got != expected {
            let reason = format!("account {account} has {got} of {expected} tokens");
            return Err(Error::Unpaid { what: "transfer of tokens", reason });
        }
    }
    Ok(())
}

/// The contracts of a run, if it has a token.
///
/// # Errors
/// As [`Contracts::open`].
pub(crate) async fn open(
    options: &Options,
    network: &Network,
    folder: &Path,
    progress: &mut Progress,
) -> Result<Option<Contracts>, Error> {
    if options.tokens_sent() == 0 {
        return Ok(None);
    }
    let path = network.dir.data("wallet.pxe");
    let contracts = Contracts::open(&path, folder, options.seed, ACCOUNTS, progress).await?;
    progress.line(&format!("sponsor of private transactions: {}", to_hex(&contracts.sponsor())));
    Ok(Some(contracts))
}

/// A task that did not end by itself.
fn ended(error: tokio::task::JoinError) -> Error {
    Error::Spawn { name: "the wallet of contracts".into(), source: std::io::Error::other(error) }
}

/// Random words of a transaction.
fn word(rng: &mut ChaCha20Rng) -> Fr {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    Fr::from(u128::from_be_bytes(bytes))
}

impl Wallets {
    fn open(
        path: &Path,
        folder: &Path,
        seed: u64,
        count: usize,
        lines: &UnboundedSender<String>,
    ) -> Result<Self, PxeError> {
        let prover = ContractProver::open(Some(folder), ANVIL_CHAIN_ID)?.keeping_keys();
        let mut classes = Vec::new();
        for (name, json) in [("account", ACCOUNT), ("token", TOKEN), ("sponsor", SPONSOR)] {
            let start = Instant::now();
            let class = class_of(json, &prover)?;
            let (keys, seconds) = (class.functions().len(), start.elapsed().as_secs_f64());
            // The receiver is gone only when nobody needs the result any more.
            let _ =
                lines.send(format!("keys of the {keys} functions of the {name}: {seconds:.1} s"));
            classes.push(class);
        }
        let store = opened(path)?;
        let at = registered(&store, &classes, seed, count)?;
        let scope = Scope::of(at.accounts.iter().map(|(account, _)| *account));
        // A run that was killed may have left one that it never proved.
        abandon_planned(&store, &scope)?;
        Ok(Self { store, scope, prover, at })
    }

    /// The address of an account's contract.
    fn address(&self, index: usize) -> Fr {
        self.at.accounts.get(index).map(|(_, address)| *address).unwrap_or_default()
    }

    /// An account's address as an argument.
    fn named(&self, index: usize) -> String {
        to_hex(&self.address(index))
    }

    /// The notes of the token that an account can spend.
    fn held(&self, index: usize) -> Result<u64, PxeError> {
        let Some((account, owner)) = self.at.accounts.get(index) else { return Ok(0) };
        let view = self.store.view(&self.scope)?;
        let notes = view.spendable(account, &self.at.token, owner)?;
        let value = |word: &Fr| rollmill_protocol::field::to_u64("value", word).unwrap_or(0);
        Ok(notes.iter().filter_map(|note| note.note.content.first()).map(value).sum())
    }

    /// The calls of an account: the sponsor, then the token.
    fn calls(
        &self,
        call: &TokenCall,
        environment: &Environment,
    ) -> Result<[ContractCall; 2], PxeError> {
        let gas = environment.gas;
        let gas = json!({
            "max_fee_per_l2_gas": gas.max_fee_per_l2_gas,
            "max_fee_per_da_gas": gas.max_fee_per_da_gas,
            "l2_gas_limit": gas.l2_gas_limit,
            "da_gas_limit": gas.da_gas_limit,
            "l2_teardown_gas_limit": gas.l2_teardown_gas_limit,
            "da_teardown_gas_limit": gas.da_teardown_gas_limit,
        });
        let named = |contract: Fr, function: &str, args: &Value| {
            let args = args.as_object().cloned().unwrap_or_default();
            let call = NamedCall { contract, function: function.to_owned(), args, from: None };
            named_call(&self.store, &call)
        };
        let sponsored = named(self.at.sponsor, "sponsor", &json!({ "gas": gas, "limit": LIMIT }))?;
        Ok([sponsored, named(self.at.token, call.function, &call.args)?])
    }

    /// Executes, plans and proves a transaction. The store has it as ready to be sent.
    async fn proven(
        &self,
        from: usize,
        call: &TokenCall,
        node: &NodeClient,
        seed: [u8; 32],
        steps: &UnboundedSender<(String, u64, Instant)>,
    ) -> Result<Tx, PxeError> {
        let mut rng = ChaCha20Rng::from_seed(seed);
        sync::follow(&self.store, node).await?;
        let environment = sync::environment(&self.store, node).await?;
        let account = self.address(from);
        let calls = self.calls(call, &environment)?;
        let random = [word(&mut rng), word(&mut rng)];
        let terms = EntryTerms { pays: false, expiry_slot: NO_EXPIRY };
        let request = CallRequest::of_account(&environment, account, &calls, terms, random)?;
        let start = Instant::now();
        let goes_on = || start.elapsed() < PROOF_LIMIT;
        let mut seed = [0u8; 32];
        rng.fill_bytes(&mut seed);
        let (of, limits) = ((&self.store, &self.scope), Limits::default());
        let executed = execute(of, &request, &environment, limits, seed, &goes_on)?;
        let paths = sync::paths(&self.store, &environment.anchor, &executed.leaves())?;
        let simulated = executed.join(&paths)?;
        let sender = self.at.accounts.get(from).map(|(account, _)| *account);
        let sender =
            sender.ok_or(ContractError::AccountContract { why: "there is no such one" })?;
        // A run that is interrupted starts with another network: its orders need no record.
        let intent = plan(&self.store, &self.scope, &simulated, (sender, b"devnet"))?;
        let mut told = |made: &rollmill_pxe::contracts::prover::Progress| {
            // The receiver is gone only when nobody needs the result any more.
            let _ = steps.send((made.what.clone(), made.rows as u64, Instant::now()));
        };
        let proven = self.prover.prove(&simulated, &mut rng, &mut told, &goes_on)?;
        let tx = proven.into_tx();
        ready(&self.store, &self.scope, &intent, (&tx.hash(), tx.to_bytes().as_slice()), true)?;
        Ok(tx)
    }
}

/// Adds the accounts and registers their contracts, the token and the sponsor, whose classes are given in this order.
/// What the store has already stays as it is.
fn registered(
    store: &Store,
    classes: &[Class],
    seed: u64,
    count: usize,
) -> Result<Registered, PxeError> {
    let [account, token, sponsor] = classes else {
        return Err(ContractError::NotAClass { why: "three classes expected".into() }.into());
    };
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(2);
    let zero = Fr::from(0u64);
    let deploy = |class: &Class, json: &[u8], init: &[Fr], keys_hash: Fr| {
        let (class_id, init_hash) = (*class.id(), init_hash(init));
        let made = Contract { class_id, salt: zero, init_hash, deployer: zero, keys_hash };
        register(store, (class, json), &made, None)
    };
    let known: Vec<Account> = store.accounts()?.into_iter().map(|info| info.account).collect();
    let mut accounts = Vec::with_capacity(count);
    for i in 0..count {
        let keys = MasterKeys::generate(&mut rng);
        if !known.contains(&keys.account()) {
            store.add_keys(&keys, &format!("account {i}"))?;
        }
        let address = deploy(account, ACCOUNT, &signing_key(&keys), keys.keys_hash())?;
        accounts.push((keys.account(), address));
    }
    let minter = accounts.first().map_or(zero, |(_, address)| *address);
    let token = deploy(token, TOKEN, &[minter], zero)?;
    let sponsor = deploy(sponsor, SPONSOR, &[Fr::from(LIMIT)], zero)?;
    Ok(Registered { accounts, token, sponsor })
}

/// The store at a path, created if there is none.
fn opened(path: &Path) -> Result<Store, PxeError> {
    Ok(match path.exists() {
        true => Store::open(path, PASSWORD)?,
        false => Store::create(path, PASSWORD, COST)?,
    })
}

#[cfg(test)]
mod tests {
    use rollmill_algebra::G1Affine;
    use rollmill_circuits::private::FUNCTION_CELL_BITS;
    use rollmill_plonk::key::VerifyingKey;
    use rollmill_plonk::shape::{Shape, fixed};

    use super::*;

    /// Classes with keys that are made up: nothing is proven here.
    fn classes() -> [Class; 3] {
        let shape = Shape { log_n: 13, n_public: 1, cell_bits: FUNCTION_CELL_BITS };
        let key = |number: u64| VerifyingKey {
            shape,
            srs_id: Fr::from(number),
            fixed: [G1Affine::new_unchecked(1u64.into(), 2u64.into()); fixed::COUNT],
        };
        [(ACCOUNT, 2), (TOKEN, 4), (SPONSOR, 1)]
            .map(|(json, functions)| Class::new(json, (0..functions).map(key).collect()).unwrap())
    }

    #[test]
    fn tokens_that_are_lost_or_come_from_nowhere_and_fees_of_another_payer_end_the_run() {
        assert!(require_held([MINTED - 5, 5], 5).is_ok());
        for wrong in [[MINTED - 5, 4], [MINTED - 4, 5], [MINTED, 5], [0, 5], [MINTED, 0]] {
            assert_eq!(require_held(wrong, 5).unwrap_err().code(), "NET-037", "{wrong:?}");
        }
        let (sponsor, other) = (Fr::from(3u64), Fr::from(4u64));
        assert!(require_payer(&sponsor, &sponsor).is_ok());
        assert_eq!(require_payer(&other, &sponsor).unwrap_err().code(), "NET-037");
    }

    /// Goal: a wallet that a run left behind is used again, and nothing is in it twice.
    #[test]
    fn the_store_of_an_earlier_run_has_the_same_accounts_and_contracts() {
        let folder = tempfile::tempdir().unwrap();
        let (path, classes) = (folder.path().join("wallet.pxe"), classes());
        let run = |seed: u64| {
            let store = opened(&path).unwrap();
            let at = registered(&store, &classes, seed, 2).unwrap();
            let contracts = store.view(&Scope::default()).unwrap().contracts().unwrap().len();
            (at, store.accounts().unwrap().len(), contracts)
        };
        let first = run(5);
        assert_eq!((first.1, first.2), (2, 4));
        assert_eq!(run(5), first);
        // Another seed is two more accounts, and a token of another minter; the sponsor is nobody's.
        let other = run(6);
        assert_eq!((other.1, other.2), (4, 7));
        assert_eq!(other.0.sponsor, first.0.sponsor);
        assert_ne!(other.0.token, first.0.token);
    }
}
