//! Transactions of contracts from an order to their blocks, against a chain in memory. Proofs are made up: the chain
//! follows every rule but theirs.

mod asked;
mod lies;
mod paths;
mod races;
mod waits;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ark_ff::Zero;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::{BlockBody, Fr, Pair, ProofKind, Tx};
use rollmill_protocol_testing::value;
use rollmill_pxe_store::{Account, Cost, MasterKeys, Scope, Store};
use rollmill_service::{Shutdown, failpoints};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::town::{MadeUp, deploy, json, rng};
use crate::contracts::prover::Progress;
use crate::contracts::*;
use crate::error::PxeError;
use crate::keys::Keys;
use crate::wallet::tests::ledger::{CONFIG, FEE, FEE_MAX, Ledger, Node};
use crate::wallet::{IdempotencyKey, KEY_SECONDS};

const COST: Cost = Cost { log_n: 1, r: 1, p: 1 };
const PASSWORD: &str = "word";
/// Public balance of each paying account: of a few transactions.
const BALANCE: u64 = 5 * FEE_MAX;
/// The time of genesis.
const NOW: u64 = CONFIG.genesis_time;

/// The transaction of what was simulated, with a proof that is none.
fn made_up(simulated: &SimulatedTransaction) -> Tx {
    let request = simulated.request();
    Tx {
        chain_id: request.chain_id,
        version: request.version,
        anchor_header_hash: simulated.witness.anchor.hash(),
        body: body(simulated),
        proof_kind: ProofKind::PrivateTail,
        pair: Pair::trivial(),
        client_proof: vec![7; 10],
    }
}

fn body(simulated: &SimulatedTransaction) -> BlockBody {
    BlockBody { effects: simulated.effects.clone(), logs: simulated.logs.clone() }
}

/// Makes proofs up for keys with this root.
pub(crate) struct MadeUpProofs {
    pub(crate) vk_root: Fr,
}

impl CallProver for MadeUpProofs {
    fn vk_root(&self) -> Fr {
        self.vk_root
    }

    fn prove_transaction(
        &self,
        simulated: &SimulatedTransaction,
        progress: &mut dyn FnMut(&Progress),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Tx, ContractError> {
        if !goes_on() {
            return Err(ContractError::Stopped);
        }
        progress(&Progress { what: "all".to_owned(), rows: 1, done: 1, total: 1 });
        Ok(made_up(simulated))
    }
}

/// A prover that ends only when nobody wants the proof any more.
struct Endless {
    entered: UnboundedSender<()>,
    ended: UnboundedSender<()>,
}

impl CallProver for Endless {
    fn vk_root(&self) -> Fr {
        Fr::zero()
    }

    fn prove_transaction(
        &self,
        _: &SimulatedTransaction,
        _: &mut dyn FnMut(&Progress),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Tx, ContractError> {
        self.entered.send(()).expect("a test");
        while goes_on() {
            std::thread::yield_now();
        }
        self.ended.send(()).expect("a test");
        Err(ContractError::Stopped)
    }
}

/// Two accounts whose contracts have a public balance, and a token that the first one may mint.
struct Harbour {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    chain: Node,
    node: NodeClient,
    accounts: [Account; 2],
    contracts: [Fr; 2],
    token: Fr,
    shutdown: Shutdown,
}

impl Drop for Harbour {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

/// The accounts of each store of these tests.
fn keys() -> [MasterKeys; 2] {
    let mut rng = rng(7);
    [MasterKeys::generate(&mut rng), MasterKeys::generate(&mut rng)]
}

fn path(folder: &Path) -> PathBuf {
    folder.join("wallet.pxe")
}

fn opened(folder: &Path) -> Arc<Store> {
    Arc::new(Store::open(&path(folder), PASSWORD).expect("a store"))
}

impl Harbour {
    async fn new() -> Self {
        Self::with_balance(BALANCE).await
    }

    async fn with_balance(balance: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::create(&path(folder.path()), PASSWORD, COST).expect("a store");
        let keys = keys();
        let contracts = [&keys[0], &keys[1]].map(|keys| {
            store.add_keys(keys, "account").expect("an account");
            deploy(&store, "schnorr_account", &signing_key(keys), keys.keys_hash(), &MadeUp)
        });
        let token = deploy(&store, "token", &[contracts[0]], value(91, 0), &MadeUp);
        let accounts = [keys[0].account(), keys[1].account()];
        for (from, to) in [(0, 1), (1, 0)] {
            let scope = Scope::default();
            let of_to = {
                let view = store.view(&scope).expect("a view");
                partial(&instance(&view, &contracts[to]).expect("a contract"))
            };
            let address = Keys::from_master(&keys[to]).address();
            add_contact(&store, accounts[from], (&address, &of_to), "other").expect("a contact");
        }
        let balances = contracts.map(|contract| (contract, balance));
        let chain = Node::new(Ledger::new(Vec::new(), &balances, 1, Fr::zero()));
        let shutdown = Shutdown::new();
        let url = chain.serve(&shutdown).await;
        let node = NodeClient::new(&url).expect("a URL");
        let store = Arc::new(store);
        Self { folder, store, chain, node, accounts, contracts, token, shutdown }
    }

    fn order(&self, function: &str, args: Value) -> CallOrder {
        let args = args.as_object().cloned().expect("named arguments");
        let function = function.to_owned();
        CallOrder::new(NamedCall { contract: self.token, function, args, from: None })
    }

    fn transfer(&self, to: usize, amount: u64) -> CallOrder {
        self.order("transfer", json!({ "to": json(&self.contracts[to]), "amount": amount }))
    }

    async fn send_with(
        &self,
        prover: impl CallProver + 'static,
        from: usize,
        order: &CallOrder,
        key: Option<&IdempotencyKey>,
    ) -> Result<CallDelivery, PxeError> {
        let (prover, of): (Arc<dyn CallProver>, _) = (Arc::new(prover), (&self.store, &self.node));
        let (told, wanted): (Told, Wanted) = (Box::new(|_: &Progress| ()), Arc::new(|| true));
        send(of, (self.accounts[from], order, key), &prover, NOW, (told, &wanted)).await
    }

    /// Sends an order that the node accepts; returns the hash of the transaction.
    async fn sent(&self, from: usize, order: &CallOrder) -> Fr {
        let sent = self.send_with(MadeUpProofs { vk_root: Fr::zero() }, from, order, None).await;
        let CallDelivery::Accepted(hash) = sent.expect("sent") else { panic!("not accepted") };
        report(&self.store, self.accounts[from], &hash).expect("reported");
        hash
    }

    async fn prepared(&self, from: usize, order: &CallOrder) -> PreparedCall {
        let wanted: Wanted = Arc::new(|| true);
        let of = (&self.store, &self.node);
        prepare(of, self.accounts[from], order, NOW, &wanted).await.expect("prepared")
    }

    /// Mints for the first account, in a block.
    async fn minted(&self, amount: u64) {
        let to = json(&self.contracts[0]);
        self.sent(0, &self.order("mint", json!({ "to": to, "amount": amount }))).await;
        self.build();
        self.refresh().await;
    }

    /// Builds a block of everything that waits.
    fn build(&self) {
        let rejected = self.chain.build();
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    async fn refresh(&self) {
        refresh(&self.store, &self.node, NOW).await.expect("refreshed");
    }

    async fn state(&self, from: usize, hash: &Fr) -> CallState {
        status((&self.store, &self.node), self.accounts[from], hash).await.expect("a state")
    }

    /// The values of the notes of the token that an account can spend, in order.
    fn spendable(&self, holder: usize) -> Vec<u64> {
        spendable(&self.store, (self.accounts[holder], self.contracts[holder]), self.token)
    }

    fn received(&self) -> Vec<Fr> {
        self.chain.pool().received.clone()
    }
}

fn spendable(store: &Store, (account, owner): (Account, Fr), token: Fr) -> Vec<u64> {
    let scope = Scope::of([account]);
    let view = store.view(&scope).expect("a view");
    let notes = view.spendable(&account, &token, &owner).expect("notes").into_iter();
    let value = |word: &Fr| rollmill_protocol::field::to_u64("value", word).expect("a value");
    let mut values: Vec<u64> = notes.map(|stored| value(&stored.note.content[0])).collect();
    values.sort_unstable();
    values
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().expect("a key")
}

/// Goal: what is ordered is in a block, its recipient finds it, and the next transaction spends what is left. Method:
/// minting, two transfers one after the other, and one back, each in a block.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_of_two_accounts_follow_each_other_into_blocks() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    assert_eq!(harbour.spendable(0), [100]);
    for (from, to, amount, after) in [
        (0, 1, 30, [vec![70], vec![30]]),
        (0, 1, 20, [vec![50], vec![20, 30]]),
        (1, 0, 45, [vec![45, 50], vec![5]]),
    ] {
        let hash = harbour.sent(from, &harbour.transfer(to, amount)).await;
        assert_eq!(harbour.state(from, &hash).await, CallState::Pending);
        harbour.build();
        harbour.refresh().await;
        let block = harbour.chain.ledger().tip().block_number;
        assert_eq!(harbour.state(from, &hash).await, CallState::Included { block });
        assert_eq!([harbour.spendable(0), harbour.spendable(1)], after);
    }
    harbour.chain.pool().proven = 2;
    let of = (&*harbour.store, &harbour.node);
    let sent = history(of, harbour.accounts[0]).await.expect("a history");
    let states: Vec<CallState> = sent.into_iter().map(|sent| sent.state).collect();
    let finalized = |block| CallState::Finalized { block };
    assert_eq!(states, [finalized(1), finalized(2), CallState::Included { block: 3 }]);
    let of_bob = history(of, harbour.accounts[1]).await.expect("a history");
    assert_eq!(of_bob.len(), 1, "what was received was not sent");
    assert!(of_bob[0].order.starts_with("call \"transfer\" of 0x"), "{}", of_bob[0].order);
    let balance = harbour.chain.ledger().balance(&harbour.contracts[0]);
    assert_eq!(balance, BALANCE - 3 * FEE);
}

/// Where a send is killed, and whether the transaction is on the disk then.
const STEPS: [(&str, bool); 5] = [
    ("pxe.before_plan", false),
    ("pxe.before_proof", false),
    ("pxe.before_intent", false),
    ("pxe.after_intent", true),
    ("pxe.after_send", true),
];

/// Fault: SIGKILL at each step of a send, by a process that this test starts from itself. The same order with its key
/// leads to one transaction, whatever was killed, and no note and no tag is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_killed_at_any_step_and_repeated_pays_once() {
    const CHILD: &str = "ROLLMILL_TEST_SEND";
    const NAME: &str = "contracts::tests::sends::a_send_killed_at_any_step_and_repeated_pays_once";
    if let Ok(of) = std::env::var(CHILD) {
        return send_alone(&of).await;
    }
    for (step, is_made) in STEPS {
        let mut harbour = Harbour::new().await;
        harbour.minted(100).await;
        let order = harbour.transfer(1, 30);
        let of = json!({
            "folder": harbour.folder.path(),
            "url": harbour.node.url(),
            "token": json(&harbour.token),
            "to": json(&harbour.contracts[1]),
        });
        // The store belongs to one process at a time.
        let kept = path(&harbour.folder.path().join("none"));
        let other = Store::create(&kept, PASSWORD, COST).expect("a store");
        harbour.store = Arc::new(other);
        let killed = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "--nocapture", NAME])
            .env(CHILD, of.to_string())
            .env(failpoints::VARIABLE, step)
            .output()
            .expect("a child");
        let signal = std::os::unix::process::ExitStatusExt::signal(&killed.status);
        assert_eq!(signal, Some(9), "{step}: {killed:?}");

        harbour.store = opened(harbour.folder.path());
        let scope = sync::own_scope(&harbour.store).expect("a scope");
        abandon_planned(&harbour.store, &scope).expect("given up");
        harbour.refresh().await;
        let free = harbour.spendable(0);
        assert_eq!(free.is_empty(), is_made, "{step}: {free:?}");
        let order_key = key("of-the-child");
        let prover = MadeUpProofs { vk_root: Fr::zero() };
        let again = harbour.send_with(prover, 0, &order, Some(&order_key)).await.expect("sent");
        let is_earlier = matches!(&again, CallDelivery::Earlier(earlier) if earlier.accepted);
        assert_eq!(is_earlier, is_made, "{step}: {again:?}");
        let mut received = harbour.received();
        received.drain(..1);
        received.dedup();
        assert_eq!(received.len(), 1, "{step}: one transaction beside the minting");
        harbour.build();
        harbour.refresh().await;
        assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![70], vec![30]), "{step}");
        // The next log of the pair is found too, so its tag is one that was not used.
        harbour.sent(0, &harbour.transfer(1, 5)).await;
        harbour.build();
        harbour.refresh().await;
        assert_eq!(harbour.spendable(1), [5, 30], "{step}");
    }
}

/// What the child does.
async fn send_alone(of: &str) {
    let of: Value = serde_json::from_str(of).expect("JSON");
    let text = |name: &str| of[name].as_str().expect("a text");
    let store = opened(Path::new(text("folder")));
    let node = NodeClient::new(text("url")).expect("a URL");
    let token = rollmill_protocol::field::from_hex(text("token")).expect("a word");
    let args = json!({ "to": of["to"], "amount": 30 }).as_object().cloned().expect("arguments");
    let function = "transfer".to_owned();
    let order = CallOrder::new(NamedCall { contract: token, function, args, from: None });
    let prover: Arc<dyn CallProver> = Arc::new(MadeUpProofs { vk_root: Fr::zero() });
    let (told, wanted): (Told, Wanted) = (Box::new(|_: &Progress| ()), Arc::new(|| true));
    let [keys, _] = keys();
    let order_key = key("of-the-child");
    let of = (keys.account(), &order, Some(&order_key));
    let sent = send((&store, &node), of, &prover, NOW, (told, &wanted)).await;
    panic!("the failpoint was not reached: {sent:?}");
}

/// Fault: a reorganization removes the block of a transaction. It is in flight again and sent again, and what was found
/// in the block is gone until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_a_removed_block_is_sent_again() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    harbour.build();
    harbour.refresh().await;
    assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![70], vec![30]));
    harbour.chain.ledger().cut(1);
    harbour.refresh().await;
    assert_eq!(harbour.state(0, &hash).await, CallState::Pending);
    // Its note is held, as before.
    assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![], vec![]));
    assert_eq!(harbour.received().iter().filter(|received| **received == hash).count(), 2);
    harbour.build();
    harbour.refresh().await;
    assert_eq!(harbour.state(0, &hash).await, CallState::Included { block: 2 });
    assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![70], vec![30]));
}

/// Fault: a node takes back a block that was final. It is an error, and what was read stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_back_what_is_final_is_an_error() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    harbour.chain.pool().proven = 1;
    harbour.refresh().await;
    harbour.chain.ledger().cut(0);
    let error = refresh(&harbour.store, &harbour.node, NOW).await.expect_err("final");
    assert_eq!(error.code(), "PXS-014");
    assert_eq!(harbour.spendable(0), [100]);
}

/// Goal: what the node drops releases its notes, and the next transaction spends those first, so that a copy of the
/// dropped one cannot be included beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_releases_its_notes_and_they_are_spent_first() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let order = harbour.transfer(1, 60);
    let order_key = key("of-the-dropped");
    let prover = || MadeUpProofs { vk_root: Fr::zero() };
    let sent = harbour.send_with(prover(), 0, &order, Some(&order_key)).await.expect("sent");
    let CallDelivery::Accepted(hash) = sent else { panic!("{sent:?}") };
    let nullifiers = harbour.chain.pool().waiting[0].effects().nullifiers;
    harbour.chain.pool().waiting.clear();
    let reason = "the pool is full".to_owned();
    harbour.chain.pool().statuses.insert(hash, TxStatus::Dropped { reason: reason.clone() });
    harbour.refresh().await;
    assert_eq!(harbour.state(0, &hash).await, CallState::Dropped { reason: reason.clone() });
    assert_eq!(
        known_state(&harbour.store, &hash, None).expect("known"),
        Some(CallState::Dropped { reason })
    );
    let again = harbour.send_with(prover(), 0, &order, Some(&order_key)).await;
    assert_eq!(again.expect_err("dropped").code(), "PXE-065");
    let other = harbour.send_with(prover(), 0, &harbour.transfer(1, 7), Some(&order_key)).await;
    assert_eq!(other.expect_err("another order").code(), "PXE-064");
    // A smaller note comes in, which would be chosen otherwise.
    let to = json(&harbour.contracts[0]);
    harbour.sent(0, &harbour.order("mint", json!({ "to": to, "amount": 65 }))).await;
    harbour.build();
    harbour.refresh().await;
    assert_eq!(harbour.spendable(0), [65, 100]);
    harbour.sent(0, &order).await;
    let spent = harbour.chain.pool().waiting[0].effects().nullifiers;
    let is_shared = nullifiers.iter().any(|one| !one.is_zero() && spent.contains(one));
    assert!(is_shared, "the released note is spent");
}

/// Goal: a transaction that cannot be in a later block is given up: after its last slot, and when another one has
/// published one of its nullifiers.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_no_later_block_can_have_is_given_up() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let order = CallOrder { expiry_epochs: 1, ..harbour.transfer(1, 30) };
    let hash = harbour.sent(0, &order).await;
    let last = harbour.chain.pool().waiting[0].effects().expiry_slot;
    assert_eq!(last, 2 * CONFIG.slots_per_epoch - 1);
    harbour.chain.pool().waiting.clear();
    harbour.chain.ledger().publish(last, &[]);
    harbour.refresh().await;
    let expired = harbour.state(0, &hash).await;
    let CallState::Dropped { reason } = &expired else { panic!("{expired:?}") };
    assert!(reason.contains("it expired"), "{reason}");
    assert_eq!(harbour.spendable(0), [100]);

    // Another program with the same keys spends the note.
    let other = harbour.prepared(0, &harbour.transfer(1, 40)).await;
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    harbour.chain.pool().waiting.clear();
    harbour.chain.ledger().publish(last + 1, &[body(&other.simulated)]);
    harbour.refresh().await;
    let replaced = harbour.state(0, &hash).await;
    let CallState::Dropped { reason } = &replaced else { panic!("{replaced:?}") };
    assert!(reason.contains("another transaction spent its notes"), "{reason}");
    assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![60], vec![40]));
}

/// Goal: nothing is proven that the network would reject or nobody can pay, and nothing is taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_network_and_an_empty_balance_are_errors_before_a_proof() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let order = harbour.transfer(1, 30);
    let other = MadeUpProofs { vk_root: Fr::from(5u64) };
    let error = harbour.send_with(other, 0, &order, None).await.expect_err("other keys");
    assert_eq!(error.code(), "PXE-070");
    let text = error.to_string();
    assert!(text.contains(&format!("0x{:064x}", 5)) && text.contains("--keys-dir"), "{text}");
    assert_eq!((harbour.spendable(0), harbour.received().len()), (vec![100], 1));

    let poor = Harbour::with_balance(FEE_MAX - 1).await;
    let mint = poor.order("mint", json!({ "to": json(&poor.contracts[0]), "amount": 1 }));
    let prover = MadeUpProofs { vk_root: Fr::zero() };
    let error = poor.send_with(prover, 0, &mint, None).await.expect_err("no balance");
    assert_eq!(error.code(), "PXE-071");
    let text = error.to_string();
    assert!(
        text.contains(&FEE_MAX.to_string()) && text.contains(&(FEE_MAX - 1).to_string()),
        "{text}"
    );
    assert!(poor.received().is_empty());
}

/// Goal: the balance that transactions in flight may take is not spent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_balance_pays_for_one_transaction_in_flight_at_a_time() {
    let harbour = Harbour::with_balance(2 * FEE_MAX - 1).await;
    let mint = harbour.order("mint", json!({ "to": json(&harbour.contracts[0]), "amount": 1 }));
    harbour.sent(0, &mint).await;
    let prover = || MadeUpProofs { vk_root: Fr::zero() };
    let error = harbour.send_with(prover(), 0, &mint, None).await.expect_err("taken");
    assert_eq!(error.code(), "PXE-071");
    harbour.build();
    harbour.sent(0, &mint).await;
}

/// Goal: what nobody waits for any more, or what is stopped, leaves nothing taken, while the process goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_is_stopped_or_dropped_gives_back_what_it_took() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let order = harbour.transfer(1, 30);
    for is_dropped in [true, false] {
        let (entered, mut is_entered) = unbounded_channel();
        let (ended, mut is_ended) = unbounded_channel();
        let prover: Arc<dyn CallProver> = Arc::new(Endless { entered, ended });
        let goes_on = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&goes_on);
        let (told, wanted): (Told, Wanted) =
            (Box::new(|_: &Progress| ()), Arc::new(move || asked.load(Ordering::Relaxed)));
        let of = (&harbour.store, &harbour.node);
        let mut sending =
            Box::pin(send(of, (harbour.accounts[0], &order, None), &prover, NOW, (told, &wanted)));
        tokio::select! {
            sent = &mut sending => panic!("{sent:?}"),
            _ = is_entered.recv() => {}
        }
        assert!(harbour.spendable(0).is_empty(), "its note is held");
        if is_dropped {
            drop(sending);
        } else {
            goes_on.store(false, Ordering::Relaxed);
            assert_eq!(sending.await.expect_err("stopped").code(), "PXE-058");
        }
        is_ended.recv().await.expect("the proof has ended");
        assert_eq!(harbour.spendable(0), [100]);
    }
    assert_eq!(harbour.received().len(), 1, "the minting");
}

/// Goal: an answer that was lost leaves one transaction, and the user of it is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_without_an_answer_is_sent_again_and_told() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let prover = || MadeUpProofs { vk_root: Fr::zero() };
    harbour.chain.pool().silent = true;
    let sent = harbour.send_with(prover(), 0, &harbour.transfer(1, 30), None).await.expect("sent");
    let CallDelivery::Unknown(hash, _) = sent else { panic!("{sent:?}") };
    harbour.chain.pool().silent = false;
    let (store, account) = (&harbour.store, harbour.accounts[0]);
    assert_eq!(unreported(store, account).expect("read"), [hash]);
    report(store, account, &hash).expect("reported");
    assert!(unreported(store, account).expect("read").is_empty());
    harbour.build();
    harbour.refresh().await;
    assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![70], vec![30]));

    harbour.chain.pool().rejects_with = Some("NODE-021");
    let rejected = harbour.send_with(prover(), 0, &harbour.transfer(1, 30), None).await;
    assert!(rejected.expect_err("rejected").to_string().contains("NODE-021"));
    assert_eq!(harbour.spendable(0), [70], "its note is free");
}

/// Goal: a transaction is forgotten some time after its block is final, and its key with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_finalized_transaction_and_its_key_are_kept_for_a_while() {
    let harbour = Harbour::new().await;
    let mint = harbour.order("mint", json!({ "to": json(&harbour.contracts[0]), "amount": 1 }));
    let order_key = key("of-the-minting");
    let prover = MadeUpProofs { vk_root: Fr::zero() };
    harbour.send_with(prover, 0, &mint, Some(&order_key)).await.expect("sent");
    harbour.build();
    harbour.build();
    harbour.chain.pool().proven = 2;
    let account = harbour.accounts[0];
    let known = |at: u64| {
        let (store, node, mint, order_key) = (&harbour.store, &harbour.node, &mint, &order_key);
        async move {
            refresh(store, node, at).await.expect("refreshed");
            recall(store, account, order_key, mint).expect("recalled").is_some()
        }
    };
    assert!(known(NOW).await);
    assert!(known(NOW + KEY_SECONDS - 1).await);
    assert!(!known(NOW + KEY_SECONDS).await);
    let of = (&*harbour.store, &harbour.node);
    assert!(history(of, harbour.accounts[0]).await.expect("a history").is_empty());
    let gone = status(of, harbour.accounts[0], &Fr::from(1u64)).await;
    assert_eq!(gone.expect_err("none").code(), "PXE-072");
}
