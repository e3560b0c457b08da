//! Quotes from a prover node to proposers, over HTTP, with a proposer's own code at the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rollmill_l1::Azt;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_prover_node::metrics::Metrics;
use rollmill_prover_node::quotes::{QuoteError, Quoter};
use rollmill_sequencer::quotes::{Admission, Market, QuoteBook, QuoteServer, SlotReader, router};
use rollmill_sequencer_client::{QuoteClient, Reason};
use rollmill_service::prometheus::{Registry, TextEncoder};
use rollmill_service::{Secret, Shutdown, listen, serve};
use tokio::net::TcpListener;

const CHAIN_ID: u64 = 7;
const ROLLUP: Address = Address::repeat_byte(0xa0);
const SLOTS_PER_EPOCH: u64 = 8;
/// In epoch 5.
const SLOT: u64 = 43;

fn key(i: u64) -> PrivateKeySigner {
    format!("{:064x}", i + 1).parse().unwrap()
}

/// What both ends take for the slot of L1's head.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(SLOT)))
    }

    fn set(&self, slot: u64) {
        self.0.store(slot, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A proposer that takes the quotes of prover 0 until it is dropped.
struct Proposer {
    book: Arc<QuoteBook>,
    address: String,
    shutdown: Shutdown,
}

impl Proposer {
    async fn start(clock: &Clock, rollup: Address) -> Self {
        Self::at(listen("127.0.0.1:0", "x").await.unwrap(), clock, rollup)
    }

    fn at(listener: TcpListener, clock: &Clock, rollup: Address) -> Self {
        let market = Market { chain_id: CHAIN_ID, rollup, slots_per_epoch: SLOTS_PER_EPOCH };
        let provers = Some([key(0).address()].into());
        let metrics = rollmill_sequencer::metrics::Metrics::new(&Registry::new()).unwrap();
        let book = Arc::new(QuoteBook::new(market, provers, metrics));
        let (address, shutdown) = (listener.local_addr().unwrap().to_string(), Shutdown::new());
        let clock = clock.clone();
        let slot: SlotReader = Arc::new(move || Ok(clock.get()));
        let (token, admission) = (Secret::generated("secret"), Admission::default());
        let server = QuoteServer::new(Arc::clone(&book), slot, Some(token), admission);
        tokio::spawn(serve(listener, router(Arc::new(server)), shutdown.clone()));
        Self { book, address, shutdown }
    }

    fn client(&self, token: &str) -> QuoteClient {
        QuoteClient::new(&format!("http://{}", self.address), Some(token)).unwrap()
    }

    /// Fee and last slot of the cheapest quote.
    fn cheapest(&self, epoch: u64, slot: u64) -> Option<(u64, u64)> {
        let quote = self.book.cheapest(epoch, slot)?;
        Some((quote.fee.units().unwrap(), quote.valid_until_slot))
    }
}

impl Drop for Proposer {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

fn quoter(i: u64, fee: u64, clock: &Clock, registry: &Registry) -> Quoter {
    let clock = clock.clone();
    Quoter {
        key: key(i),
        chain_id: CHAIN_ID,
        rollup: ROLLUP,
        slots_per_epoch: SLOTS_PER_EPOCH,
        fee: Azt::from_units(fee),
        valid_slots: 10,
        slot: Arc::new(move || Ok(clock.get())),
        metrics: Metrics::new(registry).unwrap(),
    }
}

fn figure(registry: &Registry, line: &str) -> bool {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    text.lines().any(|found| found == line)
}

/// Goal: the present epoch and the next always have a valid quote, and nothing is sent in vain to be remembered: a
/// proposer that lost its memory has the quotes after the next step.
#[tokio::test]
async fn a_proposer_always_has_valid_quotes_of_two_epochs() {
    let (clock, registry) = (Clock::new(), Registry::new());
    let proposer = Proposer::start(&clock, ROLLUP).await;
    let client = proposer.client("secret");
    let quoter = quoter(0, 9, &clock, &registry);
    assert_eq!(quoter.step(&client).await.unwrap().new, 2);
    assert_eq!(proposer.cheapest(5, SLOT), Some((9, 50)));
    assert_eq!(proposer.cheapest(6, SLOT), Some((9, 50)));
    assert_eq!(quoter.step(&client).await.unwrap().new, 0, "nothing is new in the same slot");
    for slot in SLOT..SLOT + 40 {
        clock.set(slot);
        quoter.step(&client).await.unwrap();
        for epoch in [slot / 8, slot / 8 + 1] {
            let (_, until) = proposer.cheapest(epoch, slot).unwrap();
            assert!(until >= slot + 5, "in slot {slot}");
        }
    }
    let (address, slot) = (proposer.address.clone(), clock.get());
    drop(proposer);
    let restarted = loop {
        // The first one closes its listener a moment after it is told to.
        if let Ok(listener) = listen(&address, "x").await {
            break Proposer::at(listener, &clock, ROLLUP);
        }
        tokio::task::yield_now().await;
    };
    let mut new = 0;
    loop {
        // A failed request went over a connection to the first one.
        let error = match quoter.step(&client).await {
            Ok(sent) => {
                new += sent.new;
                let Some(error) = sent.rejected else { break };
                error.to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(error.starts_with("SQC-003"), "{error}");
    }
    // A request that failed may have arrived.
    assert!((1..=2).contains(&new), "{new}");
    assert!(restarted.cheapest(slot / 8, slot).is_some());
    assert!(restarted.cheapest(slot / 8 + 1, slot).is_some());
}

/// Goal: a node that restarts with another fee changes its quote: at once if it asks less, else with the next one.
#[tokio::test]
async fn another_fee_replaces_the_earlier_one() {
    let (clock, registry) = (Clock::new(), Registry::new());
    let proposer = Proposer::start(&clock, ROLLUP).await;
    let client = proposer.client("secret");
    quoter(0, 9, &clock, &Registry::new()).step(&client).await.unwrap();
    quoter(0, 8, &clock, &Registry::new()).step(&client).await.unwrap();
    assert_eq!(proposer.cheapest(5, SLOT), Some((8, 50)));
    let dearer = quoter(0, 12, &clock, &registry);
    let error = dearer.step(&client).await.unwrap_err();
    assert!(error.to_string().starts_with("SEQ-031"), "{error}");
    assert!(figure(&registry, "rollmill_prover_node_quotes_failed_total{reason=\"superseded\"} 2"));
    assert_eq!(proposer.cheapest(5, SLOT), Some((8, 50)));
    clock.set(45);
    assert_eq!(dearer.step(&client).await.unwrap().new, 2);
    assert_eq!(proposer.cheapest(5, 45), Some((12, 55)));
}

#[tokio::test]
async fn what_a_proposer_does_not_take_is_counted_by_reason() {
    let clock = Clock::new();
    let right = Proposer::start(&clock, ROLLUP).await;
    let elsewhere = Proposer::start(&clock, Address::repeat_byte(0xa1)).await;
    let gone = listen("127.0.0.1:0", "x").await.unwrap().local_addr().unwrap();
    let gone = QuoteClient::new(&format!("http://{gone}"), None).unwrap();
    let late = Clock::new();
    // Of its two epochs the later one has just ended for the proposer.
    late.set(SLOT - 2 * SLOTS_PER_EPOCH);
    for (prover, own_clock, client, reason) in [
        (0, &clock, right.client("other"), Reason::Token),
        (1, &clock, right.client("secret"), Reason::Prover),
        (0, &clock, elsewhere.client("secret"), Reason::Prover),
        (0, &late, right.client("secret"), Reason::Terms),
        (0, &clock, gone, Reason::Unreachable),
    ] {
        let registry = Registry::new();
        let error = quoter(prover, 9, own_clock, &registry).step(&client).await.unwrap_err();
        let QuoteError::Proposer(error) = error else { panic!("{error}") };
        assert_eq!(error.reason(), reason, "{error}");
        let label = reason.label();
        let line = format!("rollmill_prover_node_quotes_failed_total{{reason=\"{label}\"}} 2");
        assert!(figure(&registry, &line), "{line}");
        assert!(figure(&registry, "rollmill_prover_node_quotes_posted_total 0"));
    }
    assert_eq!(right.cheapest(5, SLOT), None);
}

/// Goal: a quote that a proposer does not take is no failure of the others: it gets them at the usual pace.
#[tokio::test]
async fn a_proposer_that_takes_one_of_the_quotes_is_not_taken_for_one_that_takes_none() {
    let (clock, registry) = (Clock::new(), Registry::new());
    let proposer = Proposer::start(&clock, ROLLUP).await;
    let client = proposer.client("secret");
    // Of its two epochs the first one is over for the proposer.
    let late = Clock::new();
    late.set(SLOT - SLOTS_PER_EPOCH);
    let mut quoter = quoter(0, 9, &late, &registry);
    quoter.valid_slots = 32;
    for new in [1, 0] {
        let sent = quoter.step(&client).await.unwrap();
        assert_eq!(sent.new, new);
        let error = sent.rejected.unwrap();
        assert_eq!(error.reason(), Reason::Terms, "{error}");
    }
    assert!(proposer.cheapest(5, SLOT).is_some());
    assert!(figure(&registry, "rollmill_prover_node_quotes_failed_total{reason=\"terms\"} 2"));
    assert!(figure(&registry, "rollmill_prover_node_quotes_posted_total 1"));
}

/// Goal: one proposer that does not answer keeps no other from its quotes, and the task ends with the process.
#[tokio::test]
async fn the_task_serves_all_proposers_and_ends_at_the_shutdown() {
    let (clock, registry) = (Clock::new(), Registry::new());
    let proposers = [Proposer::start(&clock, ROLLUP).await, Proposer::start(&clock, ROLLUP).await];
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let mut clients = vec![QuoteClient::new(&silent_url, None).unwrap()];
    clients.extend(proposers.iter().map(|proposer| proposer.client("secret")));
    let shutdown = Shutdown::new();
    let quoter = quoter(0, 9, &clock, &registry);
    let running = tokio::spawn(quoter.run(clients, shutdown.clone()));
    let (_connection, _) = silent.accept().await.unwrap();
    for proposer in &proposers {
        while proposer.cheapest(6, SLOT).is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(proposer.cheapest(5, SLOT), Some((9, 50)));
    }
    // They are counted when the responses are here, a moment after the proposers have the quotes.
    while !figure(&registry, "rollmill_prover_node_quotes_posted_total 4") {
        tokio::task::yield_now().await;
    }
    shutdown.start();
    running.await.unwrap();
}
