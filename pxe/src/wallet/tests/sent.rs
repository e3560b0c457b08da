//! The state of notes whose transaction was sent: locked as long as it may be included, and no longer.

use rollmill_node_client::wire::TxStatus;

use super::*;

/// Generates no proof: the node of these tests does not verify it.
#[derive(Debug)]
pub(super) struct NoProof;

impl ClientProver for NoProof {
    fn prove(&self, _witness: &ClientWitness, _seed: [u8; 32]) -> Result<Vec<u8>, PxeError> {
        Ok(vec![7; 10])
    }
}

/// Bob's wallet on a chain whose genesis gives him 500, and block 1 a note of 20.
pub(super) struct Case {
    pub(super) chain: Chain,
    pub(super) node: NodeClient,
    pub(super) wallet: Wallet,
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
        let chain = Chain::new(1, keys(2).address().to_field());
        let node = chain.serve(&shutdown).await;
        let mut case = Self { chain, node, wallet: Wallet::new(keys(2)), shutdown };
        case.chain.set(vec![Self::first()]);
        case.sync().await;
        assert_eq!(case.wallet.balance(), 520);
        case
    }

    pub(super) fn first() -> BlockEffects {
        block(1, vec![tx(&[Fr::from(1u64)], &[payment(&keys(1), &keys(2), 20, 0)])])
    }

    pub(super) async fn sync(&mut self) {
        self.wallet.sync(&self.node).await.unwrap();
    }

    async fn transfer(&mut self, amount: u64) -> Result<Tx, PxeError> {
        let mut rng = ChaCha20Rng::seed_from_u64(amount);
        let to = keys(1).address();
        self.wallet.transfer(&self.node, &NoProof, &to, amount, &mut rng).await
    }

    pub(super) fn pool(&self) -> parking_lot::MutexGuard<'_, Pool> {
        self.chain.pool.lock()
    }

    pub(super) fn set_status(&self, tx: &Tx, status: TxStatus) {
        self.pool().statuses.insert(tx.hash(), status);
    }

    /// The block of this number with the transaction in it.
    pub(super) fn with(number: u64, tx: &Tx) -> BlockEffects {
        let info = TxEffectsInfo {
            tx_hash: tx.hash(),
            effects: tx.effects.to_fields(),
            logs: tx.logs.iter().map(|log| HexBytes(log.clone())).collect(),
            note_start_index: 60,
        };
        block(number, vec![info])
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
    let first = case.transfer(300).await.unwrap();
    assert_eq!(case.wallet.balance(), 20);
    case.set_status(&first, TxStatus::Pending { parked: None });
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20, "it may still land");

    case.set_status(&first, dropped("it waited for more than 256 blocks"));
    case.sync().await;
    assert_eq!(case.wallet.balance(), 520);
    // The note of 20 would be the smallest that is enough.
    let again = case.transfer(15).await.unwrap();
    assert_eq!(again.effects.nullifiers[0], first.effects.nullifiers[0]);

    // The one that pays again lands; a copy of the first that appears later holds nothing.
    case.chain.set(vec![Case::first(), Case::with(2, &again)]);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 + 485);
    assert!(case.wallet.spendable().all(|note| !note.given_back));
}

/// Goal: a node that lost a transaction gets it again, and its response decides.
#[tokio::test]
async fn a_transaction_that_the_node_does_not_know_is_sent_again() {
    let mut case = Case::new().await;
    let tx = case.transfer(300).await.unwrap();
    assert_eq!(case.pool().received.len(), 1);
    case.sync().await;
    assert_eq!(case.pool().received, [tx.hash(), tx.hash()]);
    assert_eq!(case.wallet.balance(), 20, "the node took it once more");
    // What may change keeps the notes back.
    for code in ["NODE-023", "NODE-024", "NODE-004"] {
        case.pool().rejects_with = Some(code);
        case.sync().await;
        assert_eq!(case.wallet.balance(), 20, "{code}");
    }
    for code in ["NODE-020", "NODE-021", "NODE-022", "NODE-025", "NODE-026"] {
        let mut wallet = Wallet::with_state(keys(2), case.wallet.state().clone());
        case.pool().rejects_with = Some(code);
        wallet.sync(&case.node).await.unwrap();
        assert_eq!(wallet.balance(), 520, "{code}");
    }
}

#[tokio::test]
async fn a_rejected_transfer_holds_nothing_back_and_one_without_an_answer_does() {
    let mut case = Case::new().await;
    case.pool().rejects_with = Some("NODE-021");
    let error = case.transfer(300).await.unwrap_err();
    assert!(error.to_string().contains("NODE-021"), "{error}");
    assert_eq!(case.wallet.balance(), 520);

    case.pool().rejects_with = None;
    case.pool().silent = true;
    case.transfer(300).await.unwrap_err();
    assert_eq!(case.wallet.balance(), 20, "it may have arrived");
    case.pool().silent = false;
    let hash = *case.pool().received.last().unwrap();
    case.pool().statuses.insert(hash, dropped("as the test says"));
    // Locks survive the end of the process.
    let kept = serde_json::to_vec(case.wallet.state()).unwrap();
    case.wallet = Wallet::with_state(keys(2), serde_json::from_slice(&kept).unwrap());
    assert_eq!(case.wallet.balance(), 20);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 520);
}

/// Fault: the block that held the transaction is taken off the chain, twice: once it waits in the pool
/// again, once its anchor is gone as well. When its block is proven it is forgotten.
#[tokio::test]
async fn after_a_reorganisation_a_transaction_holds_its_notes_again_until_the_node_drops_it() {
    let mut case = Case::new().await;
    let tx = case.transfer(300).await.unwrap();
    case.chain.set(vec![Case::first(), Case::with(2, &tx)]);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 + 200, "the change came");

    let empty = BlockEffects { header_hash: Fr::from(4242u64), ..block(2, vec![]) };
    case.chain.set(vec![Case::first(), empty]);
    case.set_status(&tx, TxStatus::Pending { parked: None });
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20, "it waits in the pool again");
    let error = case.transfer(400).await.unwrap_err();
    assert!(matches!(error, PxeError::Funds { .. }), "{error}");

    case.chain.set(vec![Case::first(), Case::with(2, &tx)]);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 + 200);

    // The first block goes as well, and with it the note of 20 and the anchor.
    let other = BlockEffects { header_hash: Fr::from(4243u64), ..block(1, vec![]) };
    case.chain.set(vec![other.clone()]);
    case.pool().statuses.clear();
    case.pool().rejects_with = Some("NODE-021");
    case.sync().await;
    assert_eq!(case.wallet.balance(), 500);

    case.pool().rejects_with = None;
    let tx = case.transfer(100).await.unwrap();
    case.chain.set(vec![other, Case::with(2, &tx)]);
    case.sync().await;
    assert_eq!(case.wallet.state.sent.len(), 1, "its block may go");
    case.pool().proven = 2;
    case.sync().await;
    assert!(case.wallet.state.sent.is_empty());
    assert_eq!(case.wallet.balance(), 400);
}

/// Two transactions over the same note, from two copies of the wallet: one lands, the other is over,
/// and the note that only the other one spends is free.
#[tokio::test]
async fn a_transaction_whose_nullifier_another_one_published_holds_nothing_back() {
    let mut case = Case::new().await;
    let mut copy = Wallet::with_state(keys(2), case.wallet.state().clone());
    let both = case.transfer(510).await.unwrap();
    assert_eq!(case.wallet.balance(), 0);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let to = keys(1).address();
    let one = copy.transfer(&case.node, &NoProof, &to, 300, &mut rng).await.unwrap();
    case.set_status(&both, TxStatus::Pending { parked: None });
    case.chain.set(vec![Case::first(), Case::with(2, &one)]);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 20 + 200);
    assert!(case.wallet.state.sent.is_empty());
}

/// A state of a release that did not store transactions: its marks are ignored and removed.
#[tokio::test]
async fn a_mark_without_a_transaction_is_taken_away() {
    let mut case = Case::new().await;
    let mut state = serde_json::to_value(case.wallet.state()).unwrap();
    state.as_object_mut().unwrap().remove("sent");
    state["notes"][0]["pending"] = true.into();
    state["notes"][0].as_object_mut().unwrap().remove("given_back");
    case.wallet = Wallet::with_state(keys(2), serde_json::from_value(state).unwrap());
    assert_eq!(case.wallet.balance(), 20);
    case.sync().await;
    assert_eq!(case.wallet.balance(), 520);
}
