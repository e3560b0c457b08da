//! The subcommands for contracts: they are registered in a store and called, and the call's transaction is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ark_ff::UniformRand;
use rand::rngs::OsRng;
use rollmill_node_client::NodeClient;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_pxe::contracts::prover::{ContractProver, Progress};
use rollmill_pxe::contracts::{
    self, Book, CallDelivery, CallOrder, CallProver, CallQuote, CallStage, CallState, Deployed,
    Environment, SimulatedTransaction, Told, Wanted, sync,
};
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keys::ViewingSecret;
use rollmill_pxe::wallet::{EXPIRY_EPOCHS, Earlier, seconds};
use rollmill_pxe_store::{Account, Contract, MasterKeys, Scope, Store};
use rollmill_service::{Failure, Outcome};

use crate::cli::contracts::{Call, ContractCommand, Register, SendCall};
use crate::cli::{Config, Stage, Wait};
use crate::home;
use crate::{confirm, finish, print_hash, repeat, unknown};

/// Most bytes of an artifact; larger files are not read.
const ARTIFACT_BYTES_MAX: u64 = 64 << 20;
/// Shortest time that `--wait` gives the node, so that a wait of no time has a result too.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// `rollmill-pxe contract …`.
pub(crate) async fn manage(config: &Config, command: ContractCommand) -> Outcome {
    let store = open(config)?;
    match command {
        ContractCommand::Register(register) => add(config, &store, &register).await,
        ContractCommand::List => list(&store),
        ContractCommand::Show { address } => show(&store, &address),
        ContractCommand::Contact { address, partial, label } => {
            let (account, _) = account(config, &store)?;
            let added = contracts::add_contact(&store, account, (&address, &partial), &label)?;
            println!("{}", to_hex(&added));
            Ok(())
        }
        ContractCommand::Allow { call, caller } => {
            let (account, keys) = account(config, &store)?;
            let genesis = NodeClient::new(&config.node_url)?.genesis().await?;
            let deployment = (genesis.chain_id, genesis.version());
            let named = call.named();
            let allowed =
                contracts::named_authorization(&store, &keys, &named, caller, deployment)?;
            let scope = Scope::of([account]);
            let message =
                contracts::allow(&store, &scope, &allowed, &ViewingSecret::rand(&mut OsRng))?;
            println!("{}", to_hex(&message));
            Ok(())
        }
        ContractCommand::Remove { address } => Ok(contracts::remove(&store, &address)?),
    }
}

/// `rollmill-pxe simulate …`.
pub(crate) async fn simulate(config: &Config, call: &Call) -> Outcome {
    let (store, node) = (Arc::new(open(config)?), NodeClient::new(&config.node_url)?);
    let (account, keys) = account(config, &store)?;
    sync::follow(&store, &node).await?;
    let named = call.named.named();
    let build = |environment: &Environment, expiry_slot| {
        let random = [Fr::rand(&mut OsRng), Fr::rand(&mut OsRng)];
        contracts::named_request(&store, &keys, &named, (environment, expiry_slot), random)
    };
    let terms = (EXPIRY_EPOCHS, seconds());
    let wanted = until(call);
    let done = contracts::simulate((&store, &node), account, terms, build, &wanted).await?;
    print(&done.transaction);
    Ok(())
}

/// `rollmill-pxe call …`.
pub(crate) async fn call(config: &Config, call: &SendCall) -> Outcome {
    let (store, node) = (Arc::new(open(config)?), NodeClient::new(&config.node_url)?);
    let wanted = until(&call.call);
    // What a command left that was killed.
    contracts::abandon_planned(&store, &sync::own_scope(&store)?)?;
    let (account, _) = account(config, &store)?;
    contracts::refresh(&store, &node, seconds()).await?;
    let order = CallOrder { call: call.call.named.named(), expiry_epochs: call.expiry_epochs };
    let key = call.repeat.idempotency_key.as_ref();
    match key {
        Some(key) => {
            if let Some(earlier) = contracts::recall(&store, account, key, &order)? {
                return repeat_call((&*store, &node), account, &earlier, call.wait).await;
            }
        }
        None => tell_interrupted(&store, account)?,
    }
    let now = seconds();
    let prepared = contracts::prepare((&store, &node), account, &order, now, &wanted).await?;
    print(&prepared.simulated);
    announce(&prepared.quote);
    if call.dry_run {
        println!("nothing sent");
        return Ok(());
    }
    confirm(call.yes)?;
    let chain_id = prepared.simulated.request().chain_id;
    let prover: Arc<dyn CallProver> =
        Arc::new(ContractProver::open(config.keys_dir.as_deref(), chain_id)?);
    let told: Told = Box::new(|made: &Progress| {
        eprintln!("{} of {}: {} proven", made.done, made.total, made.what);
    });
    let of = (&store, &node);
    let sent = contracts::deliver(of, &prover, prepared, key, (told, &wanted)).await?;
    let (hash, doubt) = match sent {
        CallDelivery::Accepted(hash) => (hash, None),
        CallDelivery::Unknown(hash, error) => (hash, Some(error)),
        CallDelivery::Earlier(earlier) => {
            return repeat_call((&*store, &node), account, &earlier, call.wait).await;
        }
    };
    // From here on the transaction was sent, or may have been: no error may be reported as "not sent".
    print_hash(&hash)?;
    rollmill_service::failpoint!("pxe.before_report");
    if let Err(error) = contracts::report(&store, account, &hash) {
        tracing::warn!(%error, "transaction sent; that it was reported is not kept");
    }
    rollmill_service::failpoint!("pxe.after_report");
    match doubt {
        Some(_) => finish((&hash, doubt), call.wait, &node).await,
        None => wait_for((&*store, &node), (account, &hash), call.wait).await,
    }
}

/// Reports the transaction of an earlier command with the same idempotency key, and waits for it as that one did.
async fn repeat_call(
    of: (&Store, &NodeClient),
    account: Account,
    earlier: &Earlier,
    wait: Wait,
) -> Outcome {
    repeat(earlier, Wait { wait: None, ..wait }, of.1).await?;
    wait_for(of, (account, &earlier.tx_hash), wait).await
}

/// With `--wait`, waits until the transaction of a call has reached the stage, and prints how far it has come. What the
/// node has lost meanwhile is sent again.
async fn wait_for(
    of: (&Store, &NodeClient),
    (account, hash): (Account, &Fr),
    wait: Wait,
) -> Outcome {
    let Some(stage) = wait.wait else { return Ok(()) };
    let start = tokio::time::Instant::now();
    // The node has some time for its first answer in any case.
    let until = start + Duration::from_secs(wait.wait_seconds).max(FIRST_ANSWER);
    let waited = contracts::wait(of, (account, hash), CallStage::from(stage), until, seconds).await;
    let state = waited.map_err(|error| unknown(error.into()))?;
    let reached = state.stage().is_some_and(|has| has >= CallStage::from(stage));
    match state {
        CallState::Dropped { reason } => Err(unknown(PxeError::Dropped { reason }.into()).into()),
        state if reached => {
            println!("{}", text(state));
            Ok(())
        }
        _ => {
            let (stage, seconds) = (stage.as_str().to_owned(), wait.wait_seconds);
            Err(unknown(PxeError::Late { stage, seconds }.into()).into())
        }
    }
}

impl From<Stage> for CallStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Included => Self::Included,
            Stage::Proven => Self::Proven,
            Stage::Finalized => Self::Finalized,
        }
    }
}

/// How far a transaction has come, for people.
fn text(state: CallState) -> String {
    match state {
        CallState::Pending => "pending".to_owned(),
        CallState::Included { block } => format!("included in block {block}"),
        CallState::Proven { block } => format!("proven in block {block}"),
        CallState::Finalized { block } => format!("finalized in block {block}"),
        CallState::Dropped { reason } => format!("dropped: {reason}"),
    }
}

/// Fails once for transactions of interrupted commands: a user who repeats such a command would pay twice.
fn tell_interrupted(store: &Store, account: Account) -> Outcome {
    let interrupted = contracts::unreported(store, account)?;
    if interrupted.is_empty() {
        return Ok(());
    }
    for hash in &interrupted {
        if let Err(error) = contracts::report(store, account, hash) {
            tracing::warn!(%error, "wallet state not saved; the next command repeats this");
        }
    }
    let hashes: Vec<String> = interrupted.iter().map(to_hex).collect();
    Err(unknown(PxeError::Interrupted { hashes: hashes.join(", ") }.into()).into())
}

/// What is about to be paid.
fn announce(quote: &CallQuote) {
    let CallQuote { fee, payer, balance, expiry_slot } = quote;
    let payer = to_hex(payer);
    eprintln!(
        "fee {} now and at most {}, from the public balance {balance} of {payer}",
        fee.now, fee.max
    );
    eprintln!("valid up to slot {expiry_slot}");
    eprintln!("warning: the transaction names that contract as the payer of the fee");
}

/// `rollmill-pxe history`.
pub(crate) async fn history(config: &Config) -> Outcome {
    let (store, node) = (open(config)?, NodeClient::new(&config.node_url)?);
    contracts::abandon_planned(&store, &sync::own_scope(&store)?)?;
    let (account, _) = account(config, &store)?;
    contracts::refresh(&store, &node, seconds()).await?;
    for sent in contracts::history((&store, &node), account).await? {
        println!("{}  {}  {}", to_hex(&sent.tx_hash), text(sent.state), sent.order);
    }
    Ok(())
}

/// Reads the chain for contracts and settles what was sent, if the store has contracts or transactions of them.
pub(crate) async fn refresh(store: &Store, node: &NodeClient) -> Result<(), PxeError> {
    if !contracts::is_used(store)? {
        return Ok(());
    }
    contracts::abandon_planned(store, &sync::own_scope(store)?)?;
    contracts::refresh(store, node, seconds()).await
}

/// Whether the time of a call is left.
fn until(call: &Call) -> Wanted {
    let end = Instant::now() + Duration::from_secs(call.deadline_seconds);
    Arc::new(move || Instant::now() < end)
}

fn open(config: &Config) -> Result<Store, Failure> {
    let path = config.store.as_ref().ok_or(PxeError::NoStore)?;
    let password = home::password(config, "password of the store")?;
    Ok(Store::open(path, &password).map_err(PxeError::Store)?)
}

/// The account that the settings name.
fn account(config: &Config, store: &Store) -> Result<(Account, MasterKeys), PxeError> {
    let account = home::choose(store, config.account.as_ref())?;
    let scope = Scope::of([account]);
    let keys = store.view(&scope)?.master_keys(&account)?;
    Ok((account, keys))
}

async fn add(config: &Config, store: &Store, register: &Register) -> Outcome {
    let json = artifact(register)?;
    let node = NodeClient::new(&config.node_url)?;
    let chain_id = node.genesis().await?.chain_id;
    let (keys_hash, init) = if register.own {
        let (_, keys) = account(config, store)?;
        (keys.keys_hash(), contracts::signing_key(&keys).to_vec())
    } else {
        (register.keys_hash, register.init.0.clone())
    };
    let prover = ContractProver::open(config.keys_dir.as_deref(), chain_id)?;
    let class = contracts::class_of(&json, &prover)?;
    let contract = Contract {
        class_id: *class.id(),
        salt: register.salt,
        init_hash: contracts::init_hash(&init),
        deployer: register.deployer,
        keys_hash,
    };
    let expected = register.address.as_ref();
    let address = contracts::register(store, (&class, &json), &contract, expected)?;
    println!("{}", to_hex(&address));
    // What was received before is found in what was kept of it.
    let scope = sync::own_scope(store)?;
    sync::follow(store, &node).await?;
    let found = contracts::decode_deferred(store, &scope, &address)?;
    sync::mark_spent(store, &node, &found).await?;
    if !found.is_empty() {
        eprintln!("{} notes found that were received before", found.len());
    }
    Ok(())
}

/// The bytes of the artifact's file.
fn artifact(register: &Register) -> Result<Vec<u8>, PxeError> {
    use std::io::Read;
    let path = &register.artifact;
    let mut json = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(ARTIFACT_BYTES_MAX.saturating_add(1)).read_to_end(&mut json));
    read.map_err(|source| PxeError::File { path: path.display().to_string(), source })?;
    Ok(json)
}

fn list(store: &Store) -> Outcome {
    let scope = sync::own_scope(store)?;
    let view = store.view(&scope)?;
    let mut own = Vec::new();
    for account in scope.accounts() {
        own.push(view.master_keys(account)?.keys_hash());
    }
    let mut book = Book::default();
    for (address, contract) in view.contracts()? {
        let name = match book.deployed(&view, &address) {
            Ok(deployed) => deployed.class.name().to_owned(),
            Err(error) => error.to_string(),
        };
        let whose = if own.contains(&contract.keys_hash) { "  account" } else { "" };
        println!("{}  {name}{whose}", to_hex(&address));
    }
    Ok(())
}

fn show(store: &Store, address: &Fr) -> Outcome {
    let scope = Scope::default();
    let view = store.view(&scope)?;
    let deployed = Book::default().deployed(&view, address)?;
    let Deployed { instance, class, .. } = &*deployed;
    println!("address {}", to_hex(address));
    println!("name {}", class.name());
    println!("class {}", to_hex(class.id()));
    println!("salt {}", to_hex(&instance.salt));
    println!("init {}", to_hex(&instance.init_hash));
    println!("deployer {}", to_hex(&instance.deployer));
    println!("keys {}", to_hex(&instance.keys_hash));
    println!("partial {}", to_hex(&contracts::partial(instance)));
    for function in class.functions() {
        let parameters = function.abi.parameters.get(1..).unwrap_or_default();
        let names: Vec<&str> = parameters.iter().map(|one| one.name.as_str()).collect();
        println!("function {}({})", function.name, names.join(", "));
    }
    Ok(())
}

/// What a transaction would do.
fn print(simulated: &SimulatedTransaction) {
    for call in simulated.calls() {
        let name = call.function().map_or("", |function| function.name.as_str());
        let returns: Vec<String> = call.returns().iter().map(to_hex).collect();
        let contract = to_hex(&call.deployed().address);
        println!("call {contract} {name} returns [{}]", returns.join(", "));
    }
    let effects = &simulated.effects;
    let shown = |words: &[Fr]| words.iter().filter(|word| **word != Fr::from(0u64)).count();
    println!("nullifiers {}", shown(&effects.nullifiers));
    println!("notes {}", shown(&effects.note_hashes));
    println!("logs {}", simulated.logs.len());
    println!("messages {}", shown(&effects.messages));
    println!("fee payer {}", to_hex(&effects.fee_payer));
}
