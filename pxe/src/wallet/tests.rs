//! What a wallet finds in blocks, what it must not believe, and what a reorganisation does to it.

mod deliver;
mod sent;

use std::sync::Arc;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_node_client::wire::{
    ErrorData, HeaderInfo, HexBytes, NotePath, Request, Response, RpcError, Tip, Tips, TxStatus,
    method,
};
use rollmill_protocol::genesis::GenesisNote;
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::version::VersionIds;
use rollmill_service::Shutdown;
use serde_json::{Value, json};

use super::*;

const ZERO: u64 = 0;

fn keys(name: u8) -> Keys {
    Keys::from_seed(&[name; 32])
}

/// A wallet of `name` that expects block 1.
fn wallet(name: u8) -> Wallet {
    let mut wallet = Wallet::new(keys(name));
    wallet.state.next_block = 1;
    wallet
}

/// What one payment adds to a transaction.
#[derive(Clone)]
struct Payment {
    note: Note,
    log: Vec<u8>,
    tag: Fr,
}

/// `value` from one account to another, as log number `counter` of that pair.
fn payment(from: &Keys, to: &Keys, value: u64, counter: u64) -> Payment {
    let address = to.address();
    let randomness = Fr::from(1000 * value + counter);
    let note = Note { owner: address.to_field(), value, randomness };
    let plain = LogNote { value, randomness, sender: from.address().vpk };
    let log = logs::encrypt(&address, &plain, &mut ChaCha20Rng::seed_from_u64(value + counter));
    let secret = logs::pair_secret(&from.vsk, &address.vpk, &address.to_field());
    Payment { note, log, tag: logs::tag(&secret, counter) }
}

/// A transaction of these payments that spends `nullifiers`; the first one is the notes' origin.
fn tx(nullifiers: &[Fr], payments: &[Payment]) -> TxEffectsInfo {
    let none = [Fr::from(ZERO); SLOTS];
    let mut effects = TxEffects {
        nullifiers: none,
        note_hashes: none,
        tags: none,
        log_hashes: none,
        messages: [Fr::from(ZERO); 2],
        fee_payer: Fr::from(5u64),
        gas: GasSettings::default(),
    };
    effects.nullifiers[..nullifiers.len()].copy_from_slice(nullifiers);
    for (i, payment) in payments.iter().enumerate() {
        let origin = NoteOrigin { first_nullifier: nullifiers[0], index: i as u64 };
        effects.note_hashes[i] = payment.note.unique(&origin);
        effects.tags[i] = payment.tag;
        effects.log_hashes[i] = log_hash(&payment.log);
    }
    TxEffectsInfo {
        tx_hash: effects.tx_hash(),
        effects: effects.to_fields(),
        logs: payments.iter().map(|payment| HexBytes(payment.log.clone())).collect(),
        note_start_index: 40,
    }
}

fn block(block_number: u64, txs: Vec<TxEffectsInfo>) -> BlockEffects {
    BlockEffects { block_number, header_hash: Fr::from(900 + block_number), txs }
}

fn seen(wallet: &Wallet, from: &Keys) -> Option<u64> {
    let key = hex::encode(point_to_bytes(&from.address().vpk));
    wallet.state.contacts.get(&key).map(|contact| contact.seen)
}

#[test]
fn a_payment_of_an_unknown_sender_is_found_by_trial_and_makes_the_sender_known() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let of_another = payment(&alice, &keys(3), 7, 0);
    let to_bob = payment(&alice, &bob, 30, 0);
    let first = Fr::from(77u64);
    wallet.read_block(&block(1, vec![tx(&[first], &[of_another, to_bob.clone()])])).unwrap();
    assert_eq!(wallet.balance(), 30);
    let [note] = wallet.notes() else { panic!("one note") };
    let origin = NoteOrigin { first_nullifier: first, index: 1 };
    assert_eq!((note.value, note.leaf_index, note.index_in_tx), (30, 41, 1));
    assert_eq!(note.nullifier, nullifier(&to_bob.note.unique(&origin), &bob.nsk));
    // The tag was not expected, so it counts for nothing; the next ones are.
    assert_eq!(seen(&wallet, &alice), Some(0));
}

#[test]
fn tags_of_a_known_sender_are_followed_within_the_window() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let mut number = 0;
    let mut pay = |wallet: &mut Wallet, counter: u64| {
        number += 1;
        let payment = payment(&alice, &bob, 10, counter);
        wallet.read_block(&block(number, vec![tx(&[Fr::from(number)], &[payment])])).unwrap();
        seen(wallet, &alice)
    };
    assert_eq!(pay(&mut wallet, 0), Some(0));
    assert_eq!(pay(&mut wallet, 0), Some(1));
    assert_eq!(pay(&mut wallet, TAG_WINDOW), Some(TAG_WINDOW + 1), "the last one that is expected");
    let next = TAG_WINDOW + 1;
    assert_eq!(pay(&mut wallet, next + TAG_WINDOW), Some(next), "one too far is not");
    assert_eq!(pay(&mut wallet, next + 3), Some(next + 4), "gaps are");
    assert_eq!(pay(&mut wallet, next), Some(next + 4), "an old one moves nothing back");
    assert_eq!(wallet.balance(), 60, "every payment was found all the same");
}

#[test]
fn a_wrong_tag_hides_no_payment_and_moves_no_counter() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let known = payment(&alice, &bob, 1, 0);
    let wrong = Payment { tag: payment(&alice, &keys(3), 1, 0).tag, ..payment(&alice, &bob, 2, 0) };
    let random = Payment { tag: Fr::from(4u64), ..payment(&alice, &bob, 4, 0) };
    for (i, payment) in [known, wrong, random].into_iter().enumerate() {
        let i = i as u64 + 1;
        wallet.read_block(&block(i, vec![tx(&[Fr::from(i)], &[payment])])).unwrap();
    }
    assert_eq!(wallet.balance(), 7);
    assert_eq!(seen(&wallet, &alice), Some(0));
}

#[test]
fn a_log_with_any_byte_changed_is_no_note_and_no_error() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let good = payment(&alice, &bob, 30, 0);
    let len = good.log.len() as u64;
    for i in 0..len {
        let mut changed = good.clone();
        changed.log[i as usize] ^= 1 << (i % 8);
        wallet.read_block(&block(i + 1, vec![tx(&[Fr::from(i + 1)], &[changed])])).unwrap();
    }
    let mut short = good.clone();
    short.log.pop();
    wallet.read_block(&block(len + 1, vec![tx(&[Fr::from(len + 1)], &[short])])).unwrap();
    assert!(wallet.notes().is_empty());
    wallet.read_block(&block(len + 2, vec![tx(&[Fr::from(len + 2)], &[good])])).unwrap();
    assert_eq!(wallet.balance(), 30);
}

/// A log is only the sender's word; what counts is the leaf that the transaction publishes.
#[test]
fn a_log_that_does_not_open_the_published_note_is_not_believed() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let honest = payment(&alice, &bob, 30, 0);
    let more = Note { value: 31, ..honest.note };
    let other = Note { randomness: Fr::from(1u64), ..honest.note };
    let theirs = Note { owner: alice.address().to_field(), ..honest.note };
    for (i, note) in [more, other, theirs].into_iter().enumerate() {
        let i = i as u64 + 1;
        let lie = Payment { note, ..honest.clone() };
        wallet.read_block(&block(i, vec![tx(&[Fr::from(i)], &[lie])])).unwrap();
    }
    // The right note, but in another slot of the transaction than its log.
    let of_another = payment(&alice, &keys(3), 7, 0);
    let mut swapped = tx(&[Fr::from(4u64)], &[honest, of_another]);
    swapped.logs.swap(0, 1);
    wallet.read_block(&block(4, vec![swapped])).unwrap();
    assert!(wallet.notes().is_empty());
    assert_eq!(seen(&wallet, &alice), None, "a liar does not become a contact");
}

#[test]
fn a_spent_note_leaves_the_balance_and_its_change_comes() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let payments = [payment(&alice, &bob, 30, 0), payment(&alice, &bob, 5, 1)];
    wallet.read_block(&block(1, vec![tx(&[Fr::from(1u64)], &payments)])).unwrap();
    assert_eq!(wallet.balance(), 35);
    let spent = wallet.notes()[0].nullifier;
    wallet.state.notes[0].pending = true;
    assert_eq!(wallet.balance(), 5, "a note that is about to be spent does not count");

    let foreign = tx(&[Fr::from(2u64)], &[payment(&alice, &keys(3), 9, 0)]);
    wallet.read_block(&block(2, vec![foreign])).unwrap();
    assert_eq!((wallet.balance(), wallet.notes()[0].spent_in), (5, None));

    let change = [payment(&bob, &alice, 10, 0), payment(&bob, &bob, 20, 0)];
    wallet.read_block(&block(3, vec![tx(&[spent], &change)])).unwrap();
    assert_eq!(wallet.balance(), 25);
    let note = &wallet.notes()[0];
    assert_eq!((note.spent_in, note.pending), (Some(3), false));
    assert_eq!(wallet.spendable().count(), 2);
}

#[test]
fn blocks_out_of_order_and_effects_that_cannot_be_read_change_nothing() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let good = tx(&[Fr::from(1u64)], &[payment(&alice, &bob, 30, 0)]);
    let assert_rejected = |wallet: &mut Wallet, block: BlockEffects| {
        let error = wallet.read_block(&block).unwrap_err();
        assert!(error.to_string().starts_with("PXE-005"), "{error}");
        assert!(wallet.notes().is_empty() && wallet.state.recent.is_empty());
        assert_eq!(wallet.state.next_block, 1);
    };
    assert_rejected(&mut wallet, block(2, vec![good.clone()]));
    assert_rejected(&mut wallet, block(0, vec![good.clone()]));
    // The first transaction of the block is good: it does not count without the second.
    let other_hash = TxEffectsInfo { tx_hash: Fr::from(3u64), ..good.clone() };
    assert_rejected(&mut wallet, block(1, vec![good.clone(), other_hash]));
    let mut short = good.clone();
    short.effects.pop();
    assert_rejected(&mut wallet, block(1, vec![good.clone(), short]));
    wallet.read_block(&block(1, vec![good])).unwrap();
    assert_eq!(wallet.balance(), 30);
}

#[test]
fn at_most_two_notes_are_spent_and_the_smallest_that_is_enough() {
    let (alice, bob) = (keys(1), keys(2));
    let mut wallet = wallet(2);
    let payments: Vec<Payment> =
        [30, 5, 20, 8].iter().zip(0..).map(|(v, i)| payment(&alice, &bob, *v, i)).collect();
    wallet.read_block(&block(1, vec![tx(&[Fr::from(1u64)], &payments)])).unwrap();
    let chosen = |wallet: &Wallet, amount: u64| -> Vec<u64> {
        wallet.choose(amount).unwrap().iter().map(|note| note.value).collect()
    };
    assert_eq!(chosen(&wallet, 0), [5]);
    assert_eq!(chosen(&wallet, 6), [8]);
    assert_eq!(chosen(&wallet, 30), [30]);
    assert_eq!(chosen(&wallet, 31), [30, 20]);
    assert_eq!(chosen(&wallet, 50), [30, 20]);
    let error = wallet.choose(51).unwrap_err();
    assert!(matches!(error, PxeError::Funds { wanted: 51, spendable: 50, balance: 63 }), "{error}");
    wallet.state.notes[0].pending = true;
    assert_eq!(chosen(&wallet, 25), [20, 8]);
}

/// The node's side of a sync: a genesis and blocks that can be replaced.
#[derive(Clone)]
struct Chain {
    genesis: Genesis,
    blocks: Arc<Mutex<Vec<BlockEffects>>>,
    pool: Arc<Mutex<Pool>>,
}

/// The node's status of transactions; it knows no others.
#[derive(Default)]
struct Pool {
    statuses: BTreeMap<Fr, TxStatus>,
    /// The code with which the node rejects transactions.
    rejects_with: Option<&'static str>,
    /// The node accepts transactions, but does not respond.
    silent: bool,
    received: Vec<Fr>,
    /// Number of the proven tip.
    proven: u64,
}

impl Chain {
    fn new(timestamp: u64, owner: Fr) -> Self {
        let note = GenesisNote { owner, value: 500, randomness: Fr::from(3u64) };
        let genesis = Genesis {
            format: 1,
            chain_id: 31337,
            rollup_version: 1,
            timestamp,
            fee_per_l2_gas: 1,
            fee_per_da_gas: 1,
            notes: vec![note],
            fee_balances: vec![],
        };
        Self { genesis, blocks: Arc::default(), pool: Arc::default() }
    }

    fn set(&self, blocks: Vec<BlockEffects>) {
        *self.blocks.lock() = blocks;
    }

    /// The node's response, `None` for none, or the code of a rejection.
    fn answer(&self, request: &Request) -> Result<Option<Value>, &'static str> {
        let mut pool = self.pool.lock();
        if request.method == method::SEND_TRANSACTION {
            let bytes: HexBytes = serde_json::from_value(request.params[0].clone()).unwrap();
            let tx_hash = Tx::from_bytes(&bytes.0).unwrap().hash();
            pool.received.push(tx_hash);
            let taken = || (!pool.silent).then(|| json!({ "tx_hash": to_hex(&tx_hash) }));
            return pool.rejects_with.map_or_else(|| Ok(taken()), Err);
        }
        Ok(Some(self.known(request, &pool)))
    }

    fn known(&self, request: &Request, pool: &Pool) -> Value {
        let blocks = self.blocks.lock();
        let header = self.genesis.build(MemoryStore::new()).unwrap().header;
        match request.method.as_str() {
            method::GET_GENESIS => json!(self.genesis),
            method::GET_VERSIONS => {
                let vk_root = Fr::from(ZERO);
                let ids =
                    VersionIds { chain_id: 31337, rollup_version: 1, protocol_version: 1, vk_root };
                let genesis_header_hash = header.hash();
                let software = "test".to_owned();
                json!(Versions { ids, software, slots_per_epoch: 8, genesis_header_hash })
            }
            method::GET_HEADER => {
                // The pending tip is a header that has its hash; of the others only the hashes are read.
                let found = match request.params[0].as_u64() {
                    Some(number) => blocks
                        .iter()
                        .find(|block| block.block_number == number)
                        .map(|block| block.header_hash),
                    None => Some(header.hash()),
                };
                json!(found.map(|header_hash| HeaderInfo {
                    header: header.to_bytes(),
                    header_hash,
                    archive_root: Fr::from(ZERO),
                    chain: Fr::from(ZERO),
                    data_hash: Fr::from(ZERO),
                    l1_block: 1,
                    proven: false,
                }))
            }
            method::GET_BLOCK_EFFECTS => {
                let from = request.params[0].as_u64().unwrap();
                let limit = request.params[1].as_u64().unwrap() as usize;
                let after = blocks.iter().filter(|block| block.block_number >= from);
                json!(after.take(limit).collect::<Vec<_>>())
            }
            method::GET_TIPS => {
                let tip = |block_number| Tip { block_number, header_hash: header.hash(), slot: 0 };
                let last = blocks.last().map_or(0, |block| block.block_number);
                let (pending, proven) = (tip(last), tip(pool.proven));
                let (verified, finalized) = (pending, proven);
                json!(Tips { pending, verified, proven, finalized, l1_block: 1, rejected: None })
            }
            method::GET_TRANSACTION_STATUS => {
                let hash = request.params[0].as_str().unwrap();
                let found = pool.statuses.iter().find(|(tx, _)| to_hex(tx) == hash);
                json!(found.map_or(&TxStatus::Unknown, |(_, status)| status))
            }
            method::GET_NOTE_PATH => {
                let (leaf, note_root) = (Fr::from(ZERO), Fr::from(ZERO));
                let leaf_index = request.params[0].as_u64().unwrap();
                json!(NotePath { leaf_index, leaf, path: vec![leaf; 32], note_root })
            }
            other => panic!("a sync does not ask for {other}"),
        }
    }

    async fn serve(&self, shutdown: &Shutdown) -> NodeClient {
        let chain = self.clone();
        let router = axum::Router::new().route(
            "/",
            axum::routing::post(move |axum::Json(request): axum::Json<Request>| async move {
                let (result, error) = match chain.answer(&request) {
                    Ok(result) => (result, None),
                    Err(code) => {
                        let (message, data) =
                            (format!("{code}: no"), ErrorData { code: code.to_owned() });
                        (None, Some(RpcError { code: -32000, message, data }))
                    }
                };
                let jsonrpc = "2.0".to_owned();
                axum::Json(Response { jsonrpc, id: request.id, result, error })
            }),
        );
        let listener = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(rollmill_service::serve(listener, router, shutdown.clone()));
        NodeClient::new(&url).unwrap()
    }
}

/// Goal: after a reorganisation the wallet's notes are those of the new chain, and no tag is used
/// twice.
#[tokio::test]
async fn a_reorganisation_is_noticed_and_read_again_and_tags_sent_are_not_forgotten() {
    let shutdown = Shutdown::new();
    let (alice, bob) = (keys(1), keys(2));
    let chain = Chain::new(1, bob.address().to_field());
    let node = chain.serve(&shutdown).await;
    let mut wallet = Wallet::new(keys(2));
    let pay = |number: u64, value: u64| {
        block(number, vec![tx(&[Fr::from(number)], &[payment(&alice, &bob, value, 0)])])
    };
    let many: Vec<BlockEffects> = (1..=2 * BLOCKS + 3).map(|number| pay(number, 1)).collect();
    chain.set(many.clone());
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 500 + 2 * BLOCKS + 3);
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 500 + 2 * BLOCKS + 3, "a second sync finds nothing twice");

    // The genesis note is spent, and the block that spent it is replaced.
    let spent = wallet.notes()[0].nullifier;
    let change = tx(&[spent], &[payment(&bob, &bob, 450, 0)]);
    let mut longer = many.clone();
    longer.push(block(2 * BLOCKS + 4, vec![change]));
    chain.set(longer);
    let to_alice = hex::encode(point_to_bytes(&alice.address().vpk));
    wallet.state.contacts.entry(to_alice.clone()).or_default().sent = 9;
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 450 + 2 * BLOCKS + 3);

    let mut replaced = many;
    replaced.truncate(3);
    replaced.push(BlockEffects { header_hash: Fr::from(4242u64), ..pay(4, 60) });
    chain.set(replaced);
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 500 + 3 + 60);
    assert_eq!(wallet.state.next_block, 5);
    assert_eq!(wallet.state.contacts[&to_alice].sent, 9);

    // A stored state continues where it was.
    let kept = serde_json::to_vec(wallet.state()).unwrap();
    let mut again = Wallet::with_state(keys(2), serde_json::from_slice(&kept).unwrap());
    again.sync(&node).await.unwrap();
    assert_eq!(again.notes(), wallet.notes());

    let other = Chain::new(2, bob.address().to_field()).serve(&shutdown).await;
    let error = wallet.sync(&other).await.unwrap_err();
    assert!(matches!(error, PxeError::Network { .. }), "{error}");
    assert_eq!(wallet.balance(), 563, "the state of the right network is kept");
    shutdown.start();
}
