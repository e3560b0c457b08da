//! The wallet's program, killed at each step of a transfer and run twice concurrently: nothing is paid
//! twice and nothing is lost. Real proofs; a fake node that follows the rules of a pool.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::{load_key_set, make_keys, open_srs};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_protocol::Fr;
use rollmill_protocol::field::{from_hex, to_hex};
use rollmill_protocol::genesis::GenesisNote;
use rollmill_protocol::message::{out_walk, withdraw_leaf};
use rollmill_protocol::{Circuit, EthAddress};
use rollmill_pxe::keys::Keys;
use rollmill_pxe::keystore;
use rollmill_service::{Shutdown, failpoints};

use crate::ledger::{FEE, FEE_MAX, Ledger, Node};

const UNIT: u64 = 1_000_000_000;
pub(crate) const AMOUNT: u64 = 120 * UNIT;
const NOTES: [u64; 2] = [1000 * UNIT, 700 * UNIT];
pub(crate) const TOTAL: u64 = NOTES[0] + NOTES[1];

/// A node of a chain whose genesis gives Alice two notes. Every block counts as proven.
fn node(alice: &Keys, balances: &[(Fr, u64)], vk_root: Fr) -> Node {
    let owner = alice.address().to_field();
    let note = |(i, value): (u64, u64)| GenesisNote { owner, value, randomness: Fr::from(i) };
    let notes = (3..).zip(NOTES).map(note).collect();
    let node = Node::new(Ledger::new(notes, balances, 1, vk_root));
    node.pool().proven = u64::MAX;
    node
}

/// Transactions that were ever taken, all of which have valid proofs.
fn taken(node: &Node, keys: &KeySet) -> usize {
    let (ledger, pool) = (node.ledger(), node.pool());
    for tx in &pool.waiting {
        let inputs = rollmill_protocol::ClientInputs::of(tx, ledger.genesis.vk_root);
        keys.verify(Circuit::Client, &inputs.to_fields(), &tx.client_proof).expect("a proof");
    }
    pool.waiting.len() + ledger.blocks().iter().map(|block| block.txs.len()).sum::<usize>()
}

/// As [`taken`], of the node of a case.
pub(crate) fn taken_of(case: &Case) -> usize {
    taken(&case.node, &case.keys)
}

/// Builds a block of everything that waits.
fn build(node: &Node) {
    let rejected = node.build();
    assert!(rejected.is_empty(), "{rejected:?}");
}

/// Alice's wallet in its own directory, before its first transfer.
pub(crate) struct Case {
    folder: tempfile::TempDir,
    pub(crate) node: Node,
    pub(crate) url: String,
    pub(crate) bob: String,
    pub(crate) keys: KeySet,
    shutdown: Shutdown,
    /// Alice's address, if her account is in a store.
    pub(crate) in_store: Option<String>,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

impl Case {
    async fn new() -> Self {
        Self::with_balances(&[]).await
    }

    /// With these public balances at genesis.
    async fn with_balances(balances: &[(Fr, u64)]) -> Self {
        let keys = made_keys();
        let (alice, bob) = (Keys::from_seed(&[1; 32]), Keys::from_seed(&[2; 32]));
        let (node, shutdown) = (node(&alice, balances, keys.root()), Shutdown::new());
        let url = node.serve(&shutdown).await;
        let folder = tempfile::tempdir().unwrap();
        let text = keystore::seal(&alice, "word", &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        std::fs::write(folder.path().join("alice.json"), text).unwrap();
        std::fs::write(folder.path().join("password"), "word").unwrap();
        let bob = bob.address().to_string();
        Self { folder, node, url, bob, keys, shutdown, in_store: None }
    }

    /// The same with Alice's account in a store.
    pub(crate) async fn in_store() -> Self {
        Self::in_store_with(&[]).await
    }

    /// The same with public balances.
    pub(crate) async fn in_store_with(balances: &[(Fr, u64)]) -> Self {
        let mut case = Self::with_balances(balances).await;
        case.import();
        case
    }

    /// Takes Alice's account into a store.
    fn import(&mut self) {
        self.store(&["create"]);
        let password = self.password();
        let imported = self.store(&["import", "--keystore-password", &password]);
        self.in_store = Some(imported.trim().to_owned());
    }

    /// Runs a subcommand of `store`.
    fn store(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-pxe"));
        command.arg("--store").arg(self.path("wallet.pxe"));
        command.arg("--keystore").arg(self.path("alice.json"));
        command.args(["--password", &self.password(), "store"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn password(&self) -> String {
        format!("file:{}", self.path("password").display())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-pxe"));
        match &self.in_store {
            None => command.arg("--keystore").arg(self.path("alice.json")),
            Some(account) => {
                command.arg("--store").arg(self.path("wallet.pxe")).args(["--account", account])
            }
        };
        command.args(["--node-url", &self.url, "--password", &self.password()]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn transfer(&self) -> Command {
        self.command(&["transfer", "--to", &self.bob, "--amount", &AMOUNT.to_string()])
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The files beside the keystore: only the state or the store, and the locks, whatever was killed.
    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let known = ["json", "state", "lock", "pxe"].map(Some);
        let extension = |path: &Path| path.extension().map(|e| e.to_string_lossy().into_owned());
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("password"))
            .filter(|path| !known.contains(&extension(path).as_deref()))
            .collect()
    }
}

/// The suite has made them before any test; a test that is run alone makes them once.
pub(crate) fn made_keys() -> KeySet {
    let store = DirStore::new(cache_dir(None));
    load_key_set(&store).unwrap_or_else(|_| {
        let srs = open_srs(&store, 31337).unwrap();
        make_keys(&CpuDevice::default(), &srs, &store, &|_, _| {}).unwrap()
    })
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where a transfer is killed; what the same command then prints; and how many transactions the node
/// has been sent afterwards.
const STEPS: [(&str, i32, usize); 7] = [
    ("pxe.before_proof", 0, 1),
    ("pxe.before_intent", 0, 1),
    // The second write of the command: the first one keeps what the sync found.
    ("pxe.before_rename@2", 0, 1),
    ("pxe.after_intent", 3, 1),
    ("pxe.after_send", 3, 1),
    ("pxe.before_report", 3, 1),
    // Its hash was printed, so a user who repeats the command wants another transfer.
    ("pxe.after_report", 0, 2),
];

/// Fault: SIGKILL at each step of a transfer, and the same command again, as a script would.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_killed_at_any_step_and_repeated_pays_once() {
    for (step, exit, sent) in STEPS {
        kill_and_repeat(&Case::new().await, step, exit, sent);
    }
}

/// The same with the account in a store.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_out_of_a_store_killed_at_any_step_and_repeated_pays_once() {
    for (step, exit, sent) in STEPS {
        let step = step.replace("before_rename", "before_commit");
        kill_and_repeat(&Case::in_store().await, &step, exit, sent);
    }
}

/// Fault: SIGKILL at each step of a transfer with an idempotency key. The same command again says which transaction it
/// made, without the detour of PXE-018, however often it is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_with_a_key_killed_at_any_step_and_repeated_names_its_one_transaction() {
    for (step, _, _) in STEPS {
        let case = Case::in_store().await;
        let step = step.replace("before_rename", "before_commit");
        let keyed = |amount: u64| {
            let amount = amount.to_string();
            let arguments = ["transfer", "--to", &case.bob, "--amount", &amount];
            let mut command = case.command(&arguments);
            command.args(["--idempotency-key", "a-key-of-the-tests"]);
            command
        };
        let killed = keyed(AMOUNT).env(failpoints::VARIABLE, &step).output().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{step}: {killed:?}");
        for _ in 0..2 {
            let again = keyed(AMOUNT).output().unwrap();
            assert_eq!(again.status.code(), Some(0), "{step}: {again:?}");
            let printed = String::from_utf8(again.stdout).unwrap();
            let received: BTreeSet<String> = case.node.pool().received.iter().map(to_hex).collect();
            assert_eq!(received, BTreeSet::from([printed.trim().to_owned()]), "{step}");
        }
        let other = keyed(AMOUNT + 1).output().unwrap();
        assert_eq!(other.status.code(), Some(1), "{step}: {other:?}");
        assert!(text(&other).contains("PXE-064"), "{step}: {other:?}");
        assert_eq!(taken(&case.node, &case.keys), 1, "{step}");
        build(&case.node);
        let balance = case.run(&["balance"]);
        let expected = format!("balance {}\n", TOTAL - (AMOUNT + FEE));
        assert!(balance.starts_with(&expected), "{step}: {balance}");
    }
}

fn kill_and_repeat(case: &Case, step: &str, exit: i32, sent: usize) {
    let killed = case.transfer().env(failpoints::VARIABLE, step).output().unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{step}: {killed:?}");
    let assert_told = !killed.stdout.is_empty();
    assert_eq!(assert_told, step.ends_with("_report"), "{step}: {killed:?}");

    // Another command in between reports it, and the next transfer reports it again.
    case.run(&["balance"]);
    let again = case.transfer().output().unwrap();
    assert_eq!(again.status.code(), Some(exit), "{step}: {again:?}");
    assert_eq!(text(&again).contains("PXE-018"), exit == 3, "{step}: {again:?}");
    assert_eq!(taken(&case.node, &case.keys), sent, "{step}");

    build(&case.node);
    let expected = format!("balance {}\n", TOTAL - (AMOUNT + FEE) * sent as u64);
    let balance = case.run(&["balance"]);
    assert!(balance.starts_with(&expected), "{step}: {balance}");
    assert_eq!(case.leftovers(), [""; 0].map(PathBuf::from), "{step}");
}

/// Goal: an account with its state moves into a store, where its phrase and its password are changed and used.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_moves_into_a_store_with_its_state() {
    let mut case = Case::new().await;
    let alice = Keys::from_seed(&[1; 32]).address().to_string();
    let before = case.run(&["balance"]);
    let states = |case: &Case, ending: &str| {
        let entries = std::fs::read_dir(case.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(ending)).count()
    };
    assert_eq!((states(&case, ".state"), states(&case, ".state.imported")), (1, 0));
    case.import();
    assert_eq!(case.in_store.as_ref(), Some(&alice));
    assert_eq!((states(&case, ".state"), states(&case, ".state.imported")), (0, 1));
    assert_eq!(case.run(&["balance"]), before);
    assert_eq!(case.run(&["address"]).trim(), alice);

    let accounts = case.store(&["accounts"]);
    assert_eq!(accounts.lines().count(), 2, "{accounts}");
    assert!(accounts.contains(&format!("{alice}  imported  imported")), "{accounts}");
    let first = accounts.lines().find(|line| line.contains("seed 1, index 0")).unwrap();
    assert_eq!(case.store(&["phrase"]).split_whitespace().count(), 24);
    let second = case.store(&["add", "--label", "savings"]);
    assert!(!first.contains(second.trim()) && second.trim() != alice);

    std::fs::write(case.path("other"), "another word").unwrap();
    let new = format!("file:{}", case.path("other").display());
    case.store(&["password", "--new-password", &new]);
    let wrong = case.command(&["balance"]).output().unwrap();
    assert!(text(&wrong).contains("PXS-005"), "{wrong:?}");
    std::fs::copy(case.path("other"), case.path("password")).unwrap();
    assert_eq!(case.run(&["balance"]), before);
    // Several accounts, and none is named.
    let store = case.path("wallet.pxe").display().to_string();
    case.in_store = None;
    let unnamed = case.command(&["--store", &store, "balance"]).output().unwrap();
    assert_eq!(unnamed.status.code(), Some(2), "{unnamed:?}");
    assert!(text(&unnamed).contains("PXE-034"), "{unnamed:?}");
}

/// Goal: an import that was killed before the state file got its new name is finished by the next one, and no command
/// starts the account anew from its keystore.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_finished_by_the_next_one_and_its_account_is_used_from_the_store_only() {
    let mut case = Case::new().await;
    let before = case.run(&["balance"]);
    case.import();
    let imported = {
        let entries = std::fs::read_dir(case.folder.path()).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|ending| ending == "imported")).unwrap()
    };
    let state = imported.with_extension("");
    std::fs::rename(&imported, &state).unwrap();
    let password = case.password();
    let again = case.store(&["import", "--keystore-password", &password]);
    assert_eq!(Some(again.trim()), case.in_store.as_deref());
    assert!(imported.exists() && !state.exists());
    assert_eq!(case.run(&["balance"]), before);

    case.in_store = None;
    let without = case.command(&["balance"]).output().unwrap();
    assert_eq!(without.status.code(), Some(1), "{without:?}");
    let why = text(&without);
    assert!(why.contains("PXE-003") && why.contains("a store has the account now"), "{why}");
    assert!(!state.exists());
}

/// Goal: what is wrong is named: the hash and the node, the file, the setting; in one line with one code.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_transaction_a_damaged_file_and_a_wrong_address_are_named() {
    let mut case = Case::new().await;
    let assert_told = |case: &Case, arguments: &[&str], parts: &[&str]| {
        let output = case.command(arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
        assert!(text.matches("PXE-").count() + text.matches("NDC-").count() == 1, "{text}");
    };
    let hash = to_hex(&Fr::from(7u64));
    let arguments = ["status", &hash, "--wait", "proven", "--wait-seconds", "0"];
    assert_told(&case, &arguments, &["PXE-024", &case.url, "the hash and --node-url"]);
    let state = case.path("other.state");
    std::fs::write(&state, "garbage that is no state").unwrap();
    let state = state.display().to_string();
    assert_told(
        &case,
        &["--state", &state, "balance"],
        &["PXE-003", &state, "--state", "what is lost"],
    );
    assert_told(&case, &["--state", "/proc/x/y", "balance"], &["PXE-008", "/proc/x/y", "--state"]);
    case.url = "http://127.0.0.1:9".to_owned();
    assert_told(&case, &["balance"], &["NDC-001", &case.url, "connection refused", "--node-url"]);
    std::fs::write(case.path("alice.json"), "garbage").unwrap();
    assert_told(
        &case,
        &["balance"],
        &["PXE-002", "alice.json", "not a keystore file", "--keystore"],
    );
}

/// Two concurrently: the second reports that the account is in use, and sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_transfers_at_once_the_second_waits_for_nobody_and_sends_nothing() {
    let case = Case::new().await;
    // The first hangs between storing its intent and sending it.
    let mut first = case.transfer();
    first.env(failpoints::VARIABLE, "pxe.after_intent:hang").stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    let lines = BufReader::new(first.stderr.take().unwrap()).lines();
    let is_stopped = lines.map_while(Result::ok).any(|line| line.contains("failpoint reached"));
    assert!(is_stopped, "the first one ended");

    let second = case.transfer().output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(text(&second).contains("PXE-013"), "{second:?}");
    assert_eq!(taken(&case.node, &case.keys), 0);

    first.kill().unwrap();
    first.wait().unwrap();
    let third = case.transfer().output().unwrap();
    assert_eq!(third.status.code(), Some(3), "{third:?}");
    assert_eq!(taken(&case.node, &case.keys), 1);
}

/// The same with the account in a store.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_transfers_out_of_one_store_the_second_sends_nothing() {
    let case = Case::in_store().await;
    let mut first = case.transfer();
    first.env(failpoints::VARIABLE, "pxe.after_intent:hang").stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    let lines = BufReader::new(first.stderr.take().unwrap()).lines();
    let is_stopped = lines.map_while(Result::ok).any(|line| line.contains("failpoint reached"));
    assert!(is_stopped, "the first one ended");
    let second = case.transfer().output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(text(&second).contains("PXS-001"), "{second:?}");
    assert_eq!(taken(&case.node, &case.keys), 0);
    first.kill().unwrap();
    first.wait().unwrap();
    let third = case.transfer().output().unwrap();
    assert_eq!(third.status.code(), Some(3), "{third:?}");
    assert_eq!(taken(&case.node, &case.keys), 1);
}

/// Whatever the order in which six commands come, the node gets one transaction for each that says that
/// it sent one.
#[tokio::test(flavor = "multi_thread")]
async fn many_transfers_at_once_pay_as_often_as_they_say() {
    let case = Case::new().await;
    let start = |_| case.transfer().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running: Vec<_> = (0..6).map(start).collect();
    let mut sent = 0;
    for child in running {
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => sent += 1,
            // In use by another, or its two notes are spent by those before it.
            Some(1) => {
                let why = text(&output);
                assert!(why.contains("PXE-013") || why.contains("PXE-004"), "{why}");
            }
            _ => panic!("{output:?}"),
        }
    }
    assert!(sent >= 1);
    assert_eq!(taken(&case.node, &case.keys), sent);
    build(&case.node);
    let balance = case.run(&["balance"]);
    assert!(
        balance.starts_with(&format!("balance {}\n", TOTAL - (AMOUNT + FEE) * sent as u64)),
        "{balance}"
    );
}

/// Goal: a deposit becomes a note, and value leaves again with the path that the contract asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_claimed_and_withdrawn_with_real_proofs() {
    let case = Case::new().await;
    let owner = Keys::from_seed(&[1; 32]).address().to_field();
    let none = case.command(&["claim"]).output().unwrap();
    assert!(text(&none).contains("PXE-028"), "{none:?}");
    let deposit = case.node.ledger().deposit(owner, 50 * UNIT);
    (0..2).for_each(|_| build(&case.node));
    let named = [deposit.index.to_string(), deposit.amount.to_string()];
    let dry = ["claim", "--index", &named[0], "--amount", &named[1], "--dry-run"];
    assert_eq!(case.run(&dry), "nothing sent\n");
    let claim = case.run(&["claim"]);
    assert!(from_hex(claim.trim()).is_ok(), "{claim}");
    let again = case.command(&dry[..5]).output().unwrap();
    assert!(text(&again).contains("PXE-025"), "{again:?}");
    assert_eq!(taken(&case.node, &case.keys), 1);
    build(&case.node);
    let balance = case.run(&["balance"]);
    let notes = TOTAL + 50 * UNIT - FEE_MAX;
    let public = FEE_MAX - FEE;
    let expected = format!("balance {notes}\npending 0\npublic balance {public}\n");
    assert_eq!(balance, expected);

    let to = format!("0x{}", "d1".repeat(20));
    let amount = (7 * UNIT).to_string();
    let withdraw = case.run(&["withdraw", "--to-l1", &to, "--amount", &amount]);
    let path = case.command(&["withdrawal-path", withdraw.trim()]).output().unwrap();
    assert!(text(&path).contains("PXE-029"), "{path:?}");
    let locked = case.run(&["balance"]);
    assert!(locked.contains("locked "), "{locked}");
    assert_eq!(taken(&case.node, &case.keys), 2);
    build(&case.node);
    let path = case.run(&["withdrawal-path", withdraw.trim()]);
    let siblings = path.split_once("path [").unwrap().1.trim_end().trim_end_matches(']');
    let siblings: Vec<Fr> = siblings.split(',').map(|text| from_hex(text).unwrap()).collect();
    let leaf = withdraw_leaf(EthAddress([0xd1; 20]), 7 * UNIT);
    let root = case.node.ledger().tip().out_root;
    assert_eq!(out_walk(&leaf, 0, 0, 1, &siblings), Some(root), "{path}");
    assert!(case.run(&["balance"]).starts_with(&format!("balance {}\n", notes - 7 * UNIT - FEE)));
}
