//! The state of notes whose transaction was sent: locked as long as it may be included, and no longer.

use super::*;

/// Bob's wallet on a chain whose genesis gives him 500 units of a test, and block 1 a note of 20.
pub(super) struct Case {
    pub(super) chain: Node,
    pub(super) node: NodeClient,
    pub(super) wallet: Wallet,
    rng: ChaCha20Rng,
    shutdown: Shutdown,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

impl Case {
    pub(super) async fn new() -> Self {
        let shutdown = Shutdown::new();
        let ledger = Ledger::new(vec![genesis_note(2, 500 * UNIT)], &[], 1, Fr::zero());
        let chain = Node::new(ledger);
        let node = NodeClient::new(&chain.serve(&shutdown).await).unwrap();
        let rng = ChaCha20Rng::seed_from_u64(7);
        let mut case = Self { chain, node, wallet: Wallet::new(keys(2)), rng, shutdown };
        case.wallet.set_clock(|| 0);
        case.chain.ledger().publish(1, &[Self::first()]);
        case.sync().await;
        assert_eq!(case.wallet.balance(), 520 * UNIT);
        case
    }

    fn first() -> BlockBody {
        body(&[Fr::from(1u64)], &[payment(&keys(1), &keys(2), 20 * UNIT, 0)])
    }

    pub(super) async fn sync(&mut self) {
        self.wallet.sync(&self.node).await.unwrap();
    }

    pub(super) async fn send(&mut self, order: Order) -> Result<Tx, PxeError> {
        self.wallet.send(&self.node, &CheckedOnly, &order, &mut self.rng).await
    }

    pub(super) async fn transfer(&mut self, amount: u64) -> Result<Tx, PxeError> {
        self.send(Order::transfer(keys(1).address(), amount)).await
    }

    pub(super) fn set_status(&self, tx: &Tx, status: TxStatus) {
        self.chain.pool().statuses.insert(tx.hash(), status);
    }

    /// The node forgets what it knows of transactions that are in no block.
    pub(super) fn forget(&self) {
        let mut pool = self.chain.pool();
        pool.waiting.clear();
        pool.statuses.clear();
    }

    /// Builds a block in the next slot with the transaction in it.
    pub(super) fn include(&self, tx: &Tx) {
        self.chain.pool().waiting.retain(|waiting| waiting.hash() != tx.hash());
        let slot = self.chain.ledger().tip().slot + 1;
        let rejected = self.chain.ledger().include(slot, std::slice::from_ref(tx));
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    /// Replaces the blocks after this number with an empty one.
    pub(super) fn replace(&self, number: usize) {
        let mut ledger = self.chain.ledger();
        let slot = ledger.tip().slot + 1;
        ledger.cut(number);
        ledger.publish(slot, &[]);
    }
}

fn dropped(reason: &str) -> TxStatus {
    TxStatus::Dropped { reason: reason.to_owned() }
}

/// Goal: notes are locked as long as the transaction may be included, released when the node drops it,
/// and spent first, so that the dropped one can never land beside the one that pays again.
#[tokio::test]
async fn notes_of_a_dropped_transaction_come_back_and_are_spent_before_others() {
    let mut case = Case::new().await;
    let first = case.transfer(300 * UNIT).await.unwrap();
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (20 * UNIT, 500 * UNIT));
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 * UNIT, "it may still land");

    case.forget();
    case.set_status(&first, dropped("it waited for more than 256 blocks"));
    case.sync().await;
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (520 * UNIT, 0));
    // The note of 20 would be the smallest that is enough.
    let again = case.transfer(15 * UNIT).await.unwrap();
    assert_eq!(again.effects().nullifiers[0], first.effects().nullifiers[0]);

    // The one that pays again lands; a copy of the first that appears later holds nothing.
    case.include(&again);
    case.sync().await;
    assert_eq!(case.wallet.balance(), (20 + 485) * UNIT - FEE);
    assert!(case.wallet.spendable().all(|note| !note.given_back));
}

/// Goal: a transaction whose last slot has passed locks nothing, whatever the node says of it.
#[tokio::test]
async fn notes_of_an_expired_transaction_come_back() {
    let mut case = Case::new().await;
    let order = Order { expiry_epochs: 2, ..Order::transfer(keys(1).address(), 300 * UNIT) };
    let tx = case.send(order).await.unwrap();
    // Slot 1 is in epoch 0 of eight slots.
    assert_eq!(tx.effects().expiry_slot, 23);
    let quote = case.wallet.quote(&case.node, &Order { expiry_epochs: 5, ..order }).await;
    assert!(matches!(quote, Err(PxeError::Funds { .. })), "{quote:?}");
    case.chain.ledger().publish(22, &[]);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 * UNIT, "the next slot is its last");

    let copy = case.wallet.state().clone();
    case.chain.ledger().publish(23, &[]);
    case.set_status(&tx, TxStatus::Pending { parked: None });
    case.sync().await;
    assert_eq!(case.wallet.balance(), 520 * UNIT);
    assert!(case.wallet.spendable().any(|note| note.given_back), "it is spent before others");
    let slot = 24;
    let rejected = case.chain.ledger().include(slot, std::slice::from_ref(&tx));
    assert!(rejected[0].1.to_string().contains("is after the transaction's last"), "{rejected:?}");

    // A block in its last slot includes it: it has not expired.
    case.chain.ledger().cut(2);
    assert!(case.chain.ledger().include(23, &[tx]).is_empty());
    case.wallet = Wallet::with_state(keys(2), copy);
    case.sync().await;
    assert_eq!(case.wallet.balance(), (20 + 200) * UNIT - FEE);
}

/// Goal: a chain without blocks does not make a transaction expire at once.
#[tokio::test]
async fn an_expiry_starts_from_the_clock_if_no_block_is_newer() {
    let mut case = Case::new().await;
    for (clock, epochs, expected) in [
        (|| 0, 1, 15),
        // Slot 100, in epoch 12.
        (|| 1_000 + 100 * 12, 1, 14 * 8 - 1),
        (|| u64::MAX, 1_000_000, NO_EXPIRY),
    ] as [(fn() -> u64, u64, u64); 3]
    {
        case.wallet.set_clock(clock);
        let order = Order { expiry_epochs: epochs, ..Order::transfer(keys(1).address(), UNIT) };
        let quote = case.wallet.quote(&case.node, &order).await.unwrap();
        assert_eq!(quote.expiry_slot, expected);
    }
}

/// Goal: a node that lost a transaction gets it again, and its response decides.
#[tokio::test]
async fn a_transaction_that_the_node_does_not_know_is_sent_again() {
    let mut case = Case::new().await;
    let tx = case.transfer(300 * UNIT).await.unwrap();
    assert_eq!(case.chain.pool().received.len(), 1);
    case.forget();
    case.sync().await;
    assert_eq!(case.chain.pool().received, [tx.hash(), tx.hash()]);
    assert_eq!(case.wallet.balance(), 20 * UNIT, "the node took it once more");
    // What may change keeps the notes back.
    for code in ["NODE-023", "NODE-024", "NODE-004"] {
        case.forget();
        case.chain.pool().rejects_with = Some(code);
        case.sync().await;
        assert_eq!(case.wallet.balance(), 20 * UNIT, "{code}");
    }
    for code in ["NODE-020", "NODE-021", "NODE-022", "NODE-025", "NODE-026"] {
        let mut wallet = Wallet::with_state(keys(2), case.wallet.state().clone());
        case.chain.pool().rejects_with = Some(code);
        wallet.sync(&case.node).await.unwrap();
        assert_eq!(wallet.balance(), 520 * UNIT, "{code}");
    }
}

#[tokio::test]
async fn a_rejected_transfer_holds_nothing_back_and_one_without_an_answer_does() {
    let mut case = Case::new().await;
    case.chain.pool().rejects_with = Some("NODE-021");
    let error = case.transfer(300 * UNIT).await.unwrap_err();
    assert!(error.to_string().contains("NODE-021"), "{error}");
    assert_eq!(case.wallet.balance(), 520 * UNIT);

    case.chain.pool().rejects_with = None;
    case.chain.pool().silent = true;
    case.transfer(300 * UNIT).await.unwrap_err();
    assert_eq!(case.wallet.balance(), 20 * UNIT, "it may have arrived");
    case.chain.pool().silent = false;
    let hash = *case.chain.pool().received.last().unwrap();
    case.chain.pool().statuses.insert(hash, dropped("as the test says"));
    // Locks survive the end of the process.
    let kept = case.wallet.state().to_bytes().unwrap();
    case.wallet = Wallet::with_state(keys(2), State::from_bytes(&kept).unwrap());
    assert_eq!(case.wallet.balance(), 20 * UNIT);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 520 * UNIT);
}

/// Fault: the block that held the transaction is taken off the chain, twice: once it waits in the pool
/// again, once its anchor is gone as well. When its block is proven it is forgotten.
#[tokio::test]
async fn after_a_reorganisation_a_transaction_holds_its_notes_again_until_the_node_drops_it() {
    let mut case = Case::new().await;
    let tx = case.transfer(300 * UNIT).await.unwrap();
    case.include(&tx);
    case.sync().await;
    assert_eq!(case.wallet.balance(), (20 + 200) * UNIT - FEE, "change and refund came");

    case.replace(1);
    case.set_status(&tx, TxStatus::Pending { parked: None });
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 * UNIT, "it waits in the pool again");
    let error = case.transfer(400 * UNIT).await.unwrap_err();
    assert!(matches!(error, PxeError::Funds { .. }), "{error}");

    case.include(&tx);
    case.sync().await;
    assert_eq!(case.wallet.balance(), (20 + 200) * UNIT - FEE);

    // The first block goes as well, and with it the note of 20.
    case.replace(0);
    case.forget();
    case.chain.pool().rejects_with = Some("NODE-021");
    case.sync().await;
    assert_eq!(case.wallet.balance(), 500 * UNIT);

    case.chain.pool().rejects_with = None;
    let tx = case.transfer(100 * UNIT).await.unwrap();
    case.include(&tx);
    case.sync().await;
    assert_eq!(case.wallet.state.sent.len(), 1, "its block may go");
    case.chain.pool().proven = 2;
    case.sync().await;
    assert!(case.wallet.state.sent.is_empty());
    assert_eq!(case.wallet.balance(), 400 * UNIT - FEE);
}

/// Two transactions over the same note, from two copies of the wallet: one lands, the other is over,
/// and the note that only the other one spends is free.
#[tokio::test]
async fn a_transaction_whose_nullifier_another_one_published_holds_nothing_back() {
    let mut case = Case::new().await;
    let mut copy = Wallet::with_state(keys(2), case.wallet.state().clone());
    let both = case.transfer(510 * UNIT).await.unwrap();
    assert_eq!(case.wallet.balance(), 0);
    case.forget();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let to = keys(1).address();
    let one = copy.transfer(&case.node, &CheckedOnly, &to, 300 * UNIT, &mut rng).await.unwrap();
    case.set_status(&both, TxStatus::Pending { parked: None });
    case.include(&one);
    case.sync().await;
    assert_eq!(case.wallet.balance(), (20 + 200) * UNIT - FEE, "the copy's change is found too");
    assert!(case.wallet.state.sent.is_empty());
}

/// Goal: neither the anchor nor what leaves the notes marks a transaction, unless its inputs force it to.
#[tokio::test]
async fn the_anchor_is_rounded_down_unless_an_input_is_newer() {
    let mut case = Case::new().await;
    let anchor = |case: &Case, tx: &Tx| {
        let ledger = case.chain.ledger();
        (0..).find(|n| ledger.header(*n).unwrap().hash() == tx.anchor_header_hash).unwrap()
    };
    // The genesis note is in block 0, the note of 20 in block 1.
    let tx = case.transfer(300 * UNIT).await.unwrap();
    assert_eq!(anchor(&case, &tx), 0);
    let tx = case.transfer(10 * UNIT).await.unwrap();
    assert_eq!(anchor(&case, &tx), 1);
    case.forget();
    case.chain.pool().rejects_with = Some("NODE-021");
    (2..=11).for_each(|slot| drop(case.chain.ledger().publish(slot, &[])));
    case.sync().await;
    case.chain.pool().rejects_with = None;
    let tx = case.transfer(510 * UNIT).await.unwrap();
    assert_eq!(anchor(&case, &tx), 8);
    assert_eq!(tx.effects().notes_out, FEE_MAX);
    case.include(&tx);
}

/// Goal: with the account as payer notes pay no fee, and what waits counts against the balance.
#[tokio::test]
async fn a_public_balance_pays_if_asked_and_no_more_often_than_it_can() {
    let mut case = Case::new().await;
    let payer = Order::transfer(keys(1).address(), 15 * UNIT).paid_by(FeePayer::Account);
    let error = case.send(payer).await.unwrap_err();
    assert!(matches!(error, PxeError::Fee { needed: FEE_MAX, balance: 0 }), "{error}");

    let deposit = case.chain.ledger().deposit(owner(2), 2 * FEE_MAX);
    (2..=3).for_each(|slot| drop(case.chain.ledger().publish(slot, &[])));
    case.sync().await;
    let keep = Purpose::Claim { deposit, keep: true };
    let claim = case.send(Order { purpose: keep, ..Order::claim(deposit) }).await.unwrap();
    assert_eq!(claim.effects().notes_in, 0);
    case.include(&claim);
    case.sync().await;
    assert_eq!(case.chain.ledger().balance(&owner(2)), 2 * FEE_MAX - FEE);

    let tx = case.send(payer).await.unwrap();
    assert_eq!((tx.effects().fee_payer, tx.effects().notes_out), (owner(2), 0));
    // The first may take FEE_MAX, so the rest covers no second.
    let second = Order { purpose: Purpose::Transfer { to: keys(1).address(), amount: 1 }, ..payer };
    let error = case.send(second).await.unwrap_err();
    let left = FEE_MAX - FEE;
    assert!(matches!(error, PxeError::Fee { balance, .. } if balance == left), "{error}");
    case.include(&tx);
    case.sync().await;
    assert_eq!(case.wallet.balance(), (500 + 5) * UNIT, "no fee from notes");
    assert_eq!(case.chain.ledger().balance(&owner(2)), 2 * FEE_MAX - 2 * FEE);
    assert!(case.send(second).await.is_ok());
}
