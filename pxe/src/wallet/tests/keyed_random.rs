//! Two clients of one account in random turns, with a kill at each step of a request, a node that forgets, rejects
//! and does not respond: each key makes one transaction at most, and whoever repeats its request learns which.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::*;

const SEEDS: u64 = 16;
const STEPS: usize = 60;
const ORDERS_OF_CLIENT: usize = 8;

/// Where the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    Never,
    BeforeProof,
    BeforeIntent,
    AfterIntent,
    AfterSend,
    BeforeAnswer,
}

const KILLS: [Kill; 6] = [
    Kill::Never,
    Kill::BeforeProof,
    Kill::BeforeIntent,
    Kill::AfterIntent,
    Kill::AfterSend,
    Kill::BeforeAnswer,
];

/// What a client learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing: the process was killed.
    None,
    /// Its transaction.
    Made(Fr),
    /// Its transaction was dropped.
    Dropped,
    /// An error after which nothing was sent.
    Failed,
}

/// Makes no proof: the node of these tests does not verify any.
#[derive(Debug)]
struct Unproven;

impl ClientProver for Unproven {
    fn prove(&self, _witness: &ClientWitness, _seed: [u8; 32]) -> Result<Vec<u8>, PxeError> {
        Ok(vec![7; 10])
    }
}

/// A payment that a client wants to make once. No two amounts are the same.
struct Wish {
    key: IdempotencyKey,
    order: Order,
    amount: u64,
    /// The transaction whose intent reached the disk.
    made: Option<Fr>,
    told: Option<Fr>,
    is_done: bool,
}

struct World {
    chain: Node,
    node: NodeClient,
    /// The state that survives a kill.
    disk: Vec<u8>,
    rng: ChaCha20Rng,
    /// Of the first client, then of the second.
    wishes: Vec<Wish>,
    kills: BTreeMap<Kill, usize>,
    repeats: usize,
    dropped: usize,
}

impl World {
    async fn new(seed: u64, shutdown: &Shutdown) -> Self {
        let notes = (0..12).map(|i| genesis_note(2, 60 * UNIT + i)).collect();
        let chain = Node::new(Ledger::new(notes, &[], 1, Fr::zero()));
        let node = NodeClient::new(&chain.serve(shutdown).await).unwrap();
        let wish = |i: u64| {
            let amount = (i + 1) * UNIT;
            Wish {
                key: format!("key-{i:05}").parse().unwrap(),
                order: Order::transfer(keys(1).address(), amount),
                amount,
                made: None,
                told: None,
                is_done: false,
            }
        };
        Self {
            chain,
            node,
            disk: Wallet::new(keys(2)).state().to_bytes().unwrap(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            wishes: (0..2 * ORDERS_OF_CLIENT as u64).map(wish).collect(),
            kills: BTreeMap::new(),
            repeats: 0,
            dropped: 0,
        }
    }

    /// The wallet as the next process finds it.
    fn opened(&self) -> Wallet {
        let mut wallet = Wallet::with_state(keys(2), State::from_bytes(&self.disk).unwrap());
        wallet.set_clock(|| 0);
        wallet
    }

    /// A process that does a request up to where it is killed.
    async fn request(&mut self, at: usize, kill: Kill) -> Answer {
        let mut wallet = self.opened();
        wallet.sync(&self.node).await.unwrap();
        if kill == Kill::BeforeProof {
            return Answer::None;
        }
        self.disk = wallet.state().to_bytes().unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(self.rng.r#gen());
        let (wish, disk, node) = (&mut self.wishes[at], &mut self.disk, &self.node);
        let before = wish.made;
        let (key, order, made) = (wish.key.clone(), wish.order, &mut wish.made);
        let mut keep = |wallet: &Wallet| {
            let full = std::io::ErrorKind::StorageFull.into();
            let killed = PxeError::File { path: "killed".into(), source: full };
            if kill == Kill::BeforeIntent {
                return Err(killed);
            }
            *disk = wallet.state().to_bytes().unwrap();
            let earlier = wallet.recall(&key, &order).unwrap().expect("the key of the intent");
            assert_eq!(*made, None, "{key} makes a second transaction");
            *made = Some(earlier.tx_hash);
            if kill == Kill::AfterIntent { Err(killed) } else { Ok(()) }
        };
        let sent = wallet.deliver(node, &Unproven, &order, Some(&key), &mut rng, &mut keep).await;
        if matches!(kill, Kill::BeforeIntent | Kill::AfterIntent | Kill::AfterSend) {
            return Answer::None;
        }
        self.disk = wallet.state().to_bytes().unwrap();
        if kill == Kill::BeforeAnswer {
            return Answer::None;
        }
        match sent {
            Ok(Delivery::Accepted(tx) | Delivery::Unknown(tx, _)) => Answer::Made(tx.hash()),
            Ok(Delivery::Earlier(earlier)) => {
                assert_eq!(Some(earlier.tx_hash), before, "the transaction of another key");
                self.repeats += 1;
                Answer::Made(earlier.tx_hash)
            }
            Err(PxeError::KeyDropped { .. }) => Answer::Dropped,
            Err(PxeError::Funds { .. } | PxeError::Node(_)) => Answer::Failed,
            Err(error) => panic!("{error}"),
        }
    }

    /// A client sends a request: its next one, the one that it repeats, or at times an old one.
    async fn ask(&mut self) {
        let client = self.rng.gen_range(0..2) * ORDERS_OF_CLIENT;
        let own = client..client + ORDERS_OF_CLIENT;
        let next = own.clone().find(|at| !self.wishes[*at].is_done).unwrap_or(own.start);
        let at = if self.rng.gen_bool(0.2) { self.rng.gen_range(own) } else { next };
        let kill = KILLS[self.rng.gen_range(0..KILLS.len())];
        *self.kills.entry(kill).or_default() += 1;
        let answer = self.request(at, kill).await;
        self.learn(at, answer);
    }

    fn learn(&mut self, at: usize, answer: Answer) {
        let wish = &mut self.wishes[at];
        match answer {
            Answer::None | Answer::Failed => {}
            Answer::Made(hash) => {
                assert_eq!(*wish.told.get_or_insert(hash), hash, "{} has two answers", wish.key);
                assert_eq!(wish.made, Some(hash));
                wish.is_done = true;
            }
            Answer::Dropped => {
                assert!(wish.made.is_some(), "{} was never made", wish.key);
                self.dropped += 1;
                wish.is_done = true;
            }
        }
    }

    /// Another order with the key of one that was made is an error, whoever sends it.
    fn misuse(&mut self) {
        let made: Vec<usize> =
            (0..self.wishes.len()).filter(|at| self.wishes[*at].made.is_some()).collect();
        if made.is_empty() {
            return;
        }
        let wish = &self.wishes[made[self.rng.gen_range(0..made.len())]];
        let other = Order::transfer(keys(1).address(), wish.amount + 1);
        let error = self.opened().recall(&wish.key, &other).unwrap_err();
        assert!(matches!(error, PxeError::KeyReused { .. }), "{error}");
    }

    /// Builds a block of everything that waits; it may be proven at once.
    fn build(&mut self) {
        for (hash, why) in self.chain.build() {
            let rule = why.rule();
            let is_known = matches!(rule, Some("expired" | "price" | "nullifier_spent"));
            assert!(is_known, "{}: {rule:?}", to_hex(&hash));
        }
        if self.rng.gen_bool(0.5) {
            let tip = self.chain.ledger().tip().block_number;
            self.chain.pool().proven = tip;
        }
    }

    async fn step(&mut self) {
        match self.rng.gen_range(0..14) {
            0 | 1 => self.build(),
            2 => self.chain.pool().waiting.clear(),
            3 => self.chain.pool().silent ^= true,
            // A final rejection, and one that leaves open whether the transaction arrived.
            4 => self.chain.pool().rejects_with = Some("NODE-021"),
            5 => self.chain.pool().rejects_with = Some("NODE-024"),
            6 | 7 => self.chain.pool().rejects_with = None,
            8 => self.misuse(),
            _ => self.ask().await,
        }
    }

    /// The node works again, and both clients repeat all of their requests.
    async fn finish(&mut self) {
        self.chain.pool().silent = false;
        self.chain.pool().rejects_with = None;
        for _ in 0..2 {
            for at in 0..self.wishes.len() {
                let answer = self.request(at, Kill::Never).await;
                self.learn(at, answer);
            }
            self.calm().await;
        }
    }

    /// Builds blocks until each transaction is in one or can be in none. Prices fall in blocks with few transactions.
    async fn calm(&mut self) {
        for _ in 0..90 {
            let mut wallet = self.opened();
            wallet.sync(&self.node).await.unwrap();
            self.disk = wallet.state().to_bytes().unwrap();
            if wallet.sent_transactions().all(|sent| sent.included_in.is_some()) {
                return;
            }
            self.build();
        }
        panic!("transactions are in no block after 90 blocks");
    }

    /// Each amount arrived once if its client was informed of a transaction that is not dropped, and else not at all.
    async fn check(&self) {
        let mut payee = Wallet::new(keys(1));
        payee.sync(&self.node).await.unwrap();
        let mut payer = self.opened();
        payer.sync(&self.node).await.unwrap();
        for wish in &self.wishes {
            let arrived = payee.notes().iter().filter(|note| note.value == wish.amount).count();
            let expected = match payer.recall(&wish.key, &wish.order) {
                Ok(Some(earlier)) => {
                    assert_eq!(wish.told, Some(earlier.tx_hash), "{}", wish.key);
                    1
                }
                Ok(None) | Err(PxeError::KeyDropped { .. }) => 0,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(arrived, expected, "{} of {}", wish.key, wish.amount);
        }
        let made: BTreeSet<Fr> = self.wishes.iter().filter_map(|wish| wish.made).collect();
        let received: BTreeSet<Fr> = self.chain.pool().received.iter().copied().collect();
        assert!(received.is_subset(&made), "a transaction without an intent");
    }
}

#[tokio::test]
async fn two_clients_that_repeat_their_requests_pay_each_of_them_once_whatever_is_killed() {
    let mut kills: BTreeMap<Kill, usize> = BTreeMap::new();
    let (mut made, mut repeats, mut dropped) = (0, 0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let shutdown = Shutdown::new();
        let mut world = World::new(seed, &shutdown).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.finish().await;
        world.check().await;
        for (kill, count) in &world.kills {
            *kills.entry(*kill).or_default() += count;
        }
        made += world.wishes.iter().filter(|wish| wish.made.is_some()).count();
        (repeats, dropped) = (repeats + world.repeats, dropped + world.dropped);
        shutdown.start();
    }
    println!("{made} transactions, {repeats} repeats, {dropped} dropped, kills {kills:?}");
    assert!(KILLS.iter().all(|kill| kills.get(kill).is_some_and(|count| *count > 20)), "{kills:?}");
    assert!(made > 100 && repeats > 100 && dropped > 2, "{made} {repeats} {dropped}");
}
