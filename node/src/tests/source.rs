//! L1's contracts as a source of events, against a scripted L1: what it reports of a block whose data no source has,
//! and that nothing is lost or reported twice on the way.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;
use rollmill_l1::alloy::primitives::{Address, B256, U256};
use rollmill_l1::{L1BlockRef, L1Error, abi};
use rollmill_l1_testing::script::{Chain, Emitted, INBOX, Script};
use rollmill_protocol::message::message_in;
use rollmill_protocol::{EthAddress, Fr, Opening, field};

use super::{Proposer, TestNode};
use crate::{
    BlobMissing, BlockBlobs, Data, GettingBlob, L1Event, L1Events, L1Position, L1SourceError,
    L1Update, Message, NodeError, ProposedBlock, RollupEvents, WantedBlob, position,
};

/// Blobs that a test makes available, and what was asked for.
#[derive(Debug, Default)]
struct Blobs {
    have: Mutex<BTreeMap<[u8; 32], Vec<u8>>>,
    asked: Mutex<Vec<WantedBlob>>,
}

impl BlockBlobs for Blobs {
    fn get<'a>(&'a self, wanted: &'a WantedBlob) -> GettingBlob<'a> {
        self.asked.lock().push(*wanted);
        let found = self.have.lock().get(&wanted.versioned_hash).cloned();
        Box::pin(async move { found.ok_or_else(|| BlobMissing("nobody has it".to_owned())) })
    }
}

/// A scripted L1, its source of events, and a proposer of real blocks.
struct Deployment {
    l1: Script,
    blobs: Arc<Blobs>,
    source: RollupEvents,
    proposer: Proposer,
    /// Blocks with transactions made so far: each has a blob of its own.
    made: u8,
}

impl Deployment {
    async fn new() -> Self {
        let (l1, blobs) = (Script::start().await, Arc::new(Blobs::default()));
        let source = Self::source(&l1, &blobs).await;
        Self { l1, blobs, source, proposer: Proposer::new(), made: 0 }
    }

    async fn source(l1: &Script, blobs: &Arc<Blobs>) -> RollupEvents {
        let inbox = EthAddress(INBOX.into_array());
        let blobs: Arc<Blobs> = Arc::clone(blobs);
        RollupEvents::new(l1.client().await, l1.contract().await, inbox, blobs)
    }

    /// The next block with transactions `ids`, its blob known to the source or not.
    fn block(&mut self, ids: &[u64], is_kept: bool) -> ProposedBlock {
        let event = self.proposer.event(ids);
        let L1Event::BlockProposed(mut block) = event else { unreachable!("a block") };
        if let Data::Blob(bytes) = &block.data {
            self.made += 1;
            block.versioned_hash = [self.made; 32];
            if is_kept {
                self.keep(block.versioned_hash, bytes);
            }
        }
        block
    }

    fn keep(&self, versioned_hash: [u8; 32], bytes: &[u8]) {
        self.blobs.have.lock().insert(versioned_hash, bytes.to_vec());
    }

    fn mine(&self, events: Vec<Emitted>) {
        self.l1.chain().mine(events);
    }

    /// What follows L1 block `number`, whose position is all that the node knows.
    async fn after(&mut self, number: u64) -> Result<Option<L1Update>, L1SourceError> {
        let known = [position(&self.at(number)), position(&self.at(0))];
        self.source.next(&known).await
    }

    fn at(&self, number: u64) -> L1BlockRef {
        self.l1.chain().at(number)
    }

    /// Requires an extension up to L1 block `to` with these events.
    async fn extends(&mut self, from: u64, to: u64, events: &[(u64, L1Event)]) {
        let update = self.after(from).await.unwrap();
        let Some(L1Update::Extend { to: place, time, finalized, events: found }) = update else {
            panic!("no extension after L1 block {from}")
        };
        let expected = self.at(to);
        assert_eq!((place, time), (position(&expected), expected.timestamp));
        assert_eq!(finalized, self.l1.chain().finalized);
        assert_eq!(brief(&found), brief(events));
    }

    /// Requires a way back to the known position `to`.
    async fn rewinds(&mut self, known: &[L1Position], to: L1Position) {
        match self.source.next(known).await.unwrap() {
            Some(L1Update::Rewind { to: found }) => assert_eq!(found, to),
            _ => panic!("no way back from L1 block {}", known[0].number),
        }
    }

    /// The error in place of what follows L1 block `from`.
    async fn error(&mut self, from: u64) -> L1SourceError {
        match self.after(from).await {
            Err(error) => error,
            Ok(_) => panic!("no error after L1 block {from}"),
        }
    }

    /// Requires the block's data to be reported as missing.
    async fn waits(&mut self, from: u64, block: &ProposedBlock) {
        let error = self.error(from).await;
        assert!(error.to_string().starts_with("NODE-015: "), "{error}");
        match error {
            L1SourceError::DataMissing { block: number, versioned_hash, reason } => {
                assert_eq!((number, versioned_hash), (block.block_number, block.versioned_hash));
                assert_eq!(reason, "nobody has it");
            }
            other => panic!("{other}"),
        }
    }
}

fn proposed(block: &ProposedBlock) -> Emitted {
    let commitment = match block.data {
        Data::None => Vec::new(),
        _ => block.commitment.0.to_vec(),
    };
    let opening = Opening { z: block.z, y: block.y, commitment: block.commitment };
    Emitted::Proposed(abi::Rollup::BlockProposed {
        blockNumber: block.block_number,
        archiveRoot: abi::word(&block.archive_root),
        headerHash: abi::word(&block.header_hash),
        chain: abi::word(&block.chain),
        slot: block.slot,
        coinbase: abi::address(block.coinbase),
        totalFees: block.total_fees,
        txCount: block.tx_count as u16,
        versionedHash: block.versioned_hash.into(),
        z: U256::from_be_bytes(field::to_bytes(&block.z)),
        y: U256::from_be_bytes(opening.y_bytes()),
        commitment: commitment.into(),
        inHash: abi::word(&block.in_hash),
        outRoot: abi::word(&block.out_root),
        signers: block.signers,
        proposer: Address::ZERO,
    })
}

fn pruned(proven_tip: u64, pruned_tip: u64) -> Emitted {
    let event = abi::Rollup::Pruned { epoch: 0, provenTip: proven_tip, prunedTip: pruned_tip };
    Emitted::Pruned(event)
}

fn proven(last_block: u64) -> Emitted {
    Emitted::Proven(abi::Rollup::EpochProven {
        epoch: 0,
        firstBlock: 1,
        firstAdded: 1,
        lastBlock: last_block,
        prover: Address::ZERO,
        delta: 1,
        inChallenge: false,
    })
}

/// A message of kind 0 with content 5, for block 2.
fn general(index: u64) -> (Emitted, Message) {
    let (sender, words) = (EthAddress([7; 20]), [4u64, 5, 6].map(Fr::from));
    let leaf = message_in(sender, &words[0], &words[1], &words[2], index);
    let event = abi::Inbox::MessageSent {
        block: 2,
        index,
        leaf: abi::word(&leaf),
        kind: 0,
        sender: abi::address(sender),
        recipient: abi::word(&words[0]),
        content: abi::word(&words[1]),
        secretHash: abi::word(&words[2]),
    };
    (Emitted::Sent(event), Message { block: 2, index, leaf, deposit: None })
}

/// A deposit as its event, and as the node must see it.
fn deposit(proposer: &mut Proposer, to: Fr, amount: u64) -> (abi::Inbox::MessageSent, Message) {
    let L1Event::MessageSent(message) = proposer.deposit(to, amount) else { unreachable!() };
    let event = abi::Inbox::MessageSent {
        block: message.block,
        index: message.index,
        leaf: abi::word(&message.leaf),
        kind: 1,
        sender: Address::ZERO,
        recipient: abi::word(&to),
        content: B256::from(U256::from(amount)),
        secretHash: B256::ZERO,
    };
    (event, message)
}

/// Events with a digest in place of each blob, which a failing comparison would print.
fn brief(events: &[(u64, L1Event)]) -> Vec<(u64, L1Event)> {
    let mut events = events.to_vec();
    for (_, event) in &mut events {
        if let L1Event::BlockProposed(ProposedBlock { data: Data::Blob(bytes), .. }) = event {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            *bytes = hasher.finish().to_be_bytes().to_vec();
        }
    }
    events
}

fn found(block: &ProposedBlock) -> L1Event {
    L1Event::BlockProposed(block.clone())
}

fn without_data(block: &ProposedBlock) -> L1Event {
    L1Event::BlockProposed(ProposedBlock { data: Data::Missing, ..block.clone() })
}

#[tokio::test]
async fn every_event_is_reported_as_the_contract_emitted_it() {
    let mut of = Deployment::new().await;
    let (sent, message) = deposit(&mut of.proposer, Fr::from(9u64), 250);
    let (general, other) = general(message.index + 1);
    let (empty, full) = (of.block(&[], true), of.block(&[0, 1], true));
    of.mine(vec![Emitted::Sent(sent), general, proposed(&empty)]);
    of.mine(vec![]);
    of.mine(vec![proposed(&full), proven(1)]);
    of.mine(vec![pruned(1, 2)]);
    of.l1.chain().finalized = Some(1);
    let events = [
        (1, L1Event::MessageSent(message)),
        (1, L1Event::MessageSent(other)),
        (1, found(&empty)),
        (3, found(&full)),
        (3, L1Event::EpochProven { last_block: 1 }),
        (4, L1Event::Pruned { proven_tip: 1 }),
    ];
    of.extends(0, 4, &events).await;
    assert!(of.after(4).await.unwrap().is_none());
    // A block without transactions has no blob; the other one is asked for once, with its L1 block.
    let wanted = WantedBlob { versioned_hash: full.versioned_hash, l1_block: of.at(3) };
    assert_eq!(*of.blobs.asked.lock(), [wanted]);
    // A process that starts again at any position gets the rest.
    for from in 0..4 {
        of.source = Deployment::source(&of.l1, &of.blobs).await;
        let rest: Vec<_> = events.iter().filter(|(at, _)| *at > from).cloned().collect();
        of.extends(from, 4, &rest).await;
    }
}

/// Fault: no source has the data of a block that is part of the chain. What is before its L1 block is followed, the
/// events of that L1 block stay together, and all of it comes once the data is there.
#[tokio::test]
async fn a_block_whose_data_is_missing_is_waited_for_after_all_that_is_before_its_l1_block() {
    let mut of = Deployment::new().await;
    let (first, second) = (of.block(&[0], true), of.block(&[1], false));
    let third = of.block(&[2], true);
    let (before, message_before) = general(64);
    let (beside, message_beside) = general(65);
    of.mine(vec![proposed(&first)]);
    of.mine(vec![before]);
    of.mine(vec![]);
    of.mine(vec![beside, proposed(&second), proposed(&third)]);
    of.mine(vec![proven(1)]);
    let message_before = (2, L1Event::MessageSent(message_before));
    of.extends(0, 3, &[(1, found(&first)), message_before.clone()]).await;
    of.extends(1, 3, &[message_before]).await;
    for from in [3, 3] {
        of.waits(from, &second).await;
    }
    let Data::Blob(bytes) = &second.data else { panic!("a blob") };
    of.keep(second.versioned_hash, bytes);
    let rest = [
        (4, L1Event::MessageSent(message_beside)),
        (4, found(&second)),
        (4, found(&third)),
        (5, L1Event::EpochProven { last_block: 1 }),
    ];
    of.extends(3, 5, &rest).await;
}

/// Goal: a first sync over final L1 blocks, which come many at a time, holds a bounded number of blobs and loses none.
/// Method: at most two of an update; the third is in the L1 block of the second, which stays whole.
#[tokio::test]
async fn an_update_ends_after_enough_blobs_with_the_events_of_its_l1_block() {
    let mut of = Deployment::new().await;
    of.source = of.source.with_blobs_max(2);
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|id| of.block(&[id], true));
    of.mine(vec![proposed(&first)]);
    of.mine(vec![proposed(&second), proposed(&third)]);
    of.mine(vec![]);
    of.mine(vec![proposed(&fourth)]);
    of.mine(vec![]);
    of.l1.chain().finalized = Some(5);
    let events = [(1, found(&first)), (2, found(&second)), (2, found(&third))];
    of.extends(0, 3, &events).await;
    of.extends(3, 5, &[(4, found(&fourth))]).await;
    assert!(of.after(5).await.unwrap().is_none());
}

#[tokio::test]
async fn a_block_that_l1_pruned_is_reported_without_its_data() {
    let mut of = Deployment::new().await;
    let (first, second) = (of.block(&[0], true), of.block(&[1], false));
    of.mine(vec![proposed(&first)]);
    of.mine(vec![proposed(&second)]);
    of.extends(0, 1, &[(1, found(&first))]).await;
    of.waits(1, &second).await;
    of.mine(vec![pruned(1, 2)]);
    let events = [(2, without_data(&second)), (3, L1Event::Pruned { proven_tip: 1 })];
    of.extends(1, 3, &events).await;
}

/// As above, but another block has the number by now.
#[tokio::test]
async fn a_block_that_another_one_replaced_after_a_prune_is_reported_without_its_data() {
    let mut of = Deployment::new().await;
    let first = of.block(&[0], true);
    let fork = of.proposer.clone();
    let second = of.block(&[1], false);
    of.proposer = fork;
    let other = of.block(&[2], true);
    for events in
        [vec![proposed(&first)], vec![proposed(&second)], vec![pruned(1, 2), proposed(&other)]]
    {
        of.mine(events);
    }
    let events = [
        (1, found(&first)),
        (2, without_data(&second)),
        (3, L1Event::Pruned { proven_tip: 1 }),
        (3, found(&other)),
    ];
    of.extends(0, 3, &events).await;
    // The same chain again under that number is the same block, and no prune of it.
    let mut of = Deployment::new().await;
    let only = of.block(&[0], false);
    of.mine(vec![proposed(&only)]);
    of.mine(vec![pruned(0, 1), proposed(&only)]);
    of.waits(0, &only).await;
}

/// Fault: the endpoint that answers for the contract is behind the one whose events were read. What it says of a block
/// that it does not have yet is no prune.
#[tokio::test]
async fn an_endpoint_that_is_behind_does_not_make_a_block_pruned() {
    let mut of = Deployment::new().await;
    let block = of.block(&[0], false);
    of.mine(vec![proposed(&block)]);
    of.mine(vec![]);
    for lag in [2, 1] {
        of.l1.chain().lag = lag;
        of.waits(0, &block).await;
    }
    of.mine(vec![pruned(0, 1)]);
    of.waits(0, &block).await;
    of.l1.chain().lag = 0;
    let events = [(1, without_data(&block)), (3, L1Event::Pruned { proven_tip: 0 })];
    of.extends(0, 3, &events).await;
}

/// Fault: another endpoint answers for the block's record than for the tips. It is behind, and still has the block that
/// had the number before a prune.
#[tokio::test]
async fn a_record_of_an_endpoint_that_is_behind_is_not_compared() {
    let mut of = Deployment::new().await;
    let first = of.block(&[0], true);
    let fork = of.proposer.clone();
    let old = of.block(&[1], true);
    of.proposer = fork;
    let block = of.block(&[2], false);
    for events in
        [vec![proposed(&first)], vec![proposed(&old)], vec![pruned(1, 2), proposed(&block)]]
    {
        of.mine(events);
    }
    of.l1.chain().before("eth_call", |chain| chain.before("eth_call", |chain| chain.lag = 1));
    let error = of.error(2).await;
    assert!(matches!(error, L1SourceError::L1(_)), "{error}");
    of.l1.chain().lag = 0;
    of.waits(2, &block).await;
}

#[tokio::test]
async fn a_reorganisation_goes_back_to_the_newest_known_position_that_is_still_there() {
    let mut of = Deployment::new().await;
    let block = of.block(&[0], true);
    for events in [vec![], vec![], vec![proposed(&block)]] {
        of.mine(events);
    }
    let known: Vec<L1Position> = [3, 2, 1, 0].map(|number| position(&of.at(number))).to_vec();
    of.extends(0, 3, &[(3, found(&block))]).await;
    {
        let mut chain = of.l1.chain();
        chain.drop_last(2);
        chain.mine(vec![]);
        chain.mine(vec![]);
        chain.mine(vec![proposed(&block)]);
    }
    // With what it remembers, and after a restart.
    for _ in 0..2 {
        of.rewinds(&known, known[2]).await;
        of.source = Deployment::source(&of.l1, &of.blobs).await;
    }
    // Of sparse positions it is the next older one.
    of.rewinds(&[known[0], known[1], known[3]], known[3]).await;
    of.extends(1, 4, &[(4, found(&block))]).await;
}

/// Fault: the server that answers lacks followed blocks, since it lags or L1 is shorter now. Goal: nothing is undone
/// until another block is in the place of one, so that no work on them is cancelled.
#[tokio::test]
async fn followed_blocks_that_are_merely_absent_are_waited_for() {
    let mut of = Deployment::new().await;
    for _ in 0..3 {
        of.mine(vec![]);
    }
    let known: Vec<L1Position> = [3, 2, 1, 0].map(|number| position(&of.at(number))).to_vec();
    of.extends(0, 3, &[]).await;
    of.l1.chain().drop_last(2);
    for _ in 0..2 {
        match of.source.next(&known).await {
            Err(L1SourceError::L1(L1Error::Behind { missing, followed })) => {
                assert_eq!((missing, followed), (2, 3));
            }
            other => panic!("{other:?}"),
        }
        of.source = Deployment::source(&of.l1, &of.blobs).await;
    }
    of.mine(vec![]);
    of.rewinds(&known, known[2]).await;
}

fn replace_head(chain: &mut Chain) {
    chain.drop_last(1);
    chain.mine(vec![]);
}

/// Fault: L1 replaces the block whose data is missing while the rollup is asked about it.
#[tokio::test]
async fn a_block_that_a_reorganisation_removed_meanwhile_is_rewound_next() {
    let mut of = Deployment::new().await;
    let block = of.block(&[0], false);
    for events in [vec![], vec![], vec![proposed(&block)]] {
        of.mine(events);
    }
    let replaced = position(&of.at(3));
    of.l1.chain().before("eth_call", replace_head);
    let update = of.after(0).await.unwrap();
    let Some(L1Update::Extend { to, events, .. }) = update else { panic!("no extension") };
    assert_eq!((to, brief(&events)), (replaced, vec![(3, without_data(&block))]));
    let known = [replaced, position(&of.at(2)), position(&of.at(0))];
    of.rewinds(&known, known[1]).await;
}

/// Fault: L1 replaces the block whose data is missing just before its parent is asked for, where the node would stop.
#[tokio::test]
async fn a_reorganisation_while_a_block_is_waited_for_is_no_position_to_stop_at() {
    let mut of = Deployment::new().await;
    let block = of.block(&[0], false);
    for events in [vec![], vec![], vec![proposed(&block)]] {
        of.mine(events);
    }
    // The rollup is asked for its tips and for the block's record; the next block that is read is the parent's child.
    of.l1.chain().before("eth_call", |chain| {
        chain.before("eth_call", |chain| chain.before("eth_getBlockByNumber", replace_head));
    });
    let error = of.error(0).await;
    assert!(matches!(error, L1SourceError::L1(_)), "{error}");
    of.extends(0, 3, &[]).await;
}

#[tokio::test]
async fn an_event_that_no_release_emits_is_an_error() {
    let not_canonical = B256::repeat_byte(0xff);
    let mut of = Deployment::new().await;
    let block = of.block(&[0], true);
    let Emitted::Proposed(event) = proposed(&block) else { unreachable!() };
    let (sent, _) = deposit(&mut of.proposer, Fr::from(9u64), 250);
    let change_block = |change: &dyn Fn(&mut abi::Rollup::BlockProposed)| {
        let mut changed = event.clone();
        change(&mut changed);
        Emitted::Proposed(changed)
    };
    let change_sent = |change: &dyn Fn(&mut abi::Inbox::MessageSent)| {
        let mut changed = sent.clone();
        change(&mut changed);
        Emitted::Sent(changed)
    };
    for malformed in [
        change_block(&|e| e.archiveRoot = not_canonical),
        change_block(&|e| e.headerHash = not_canonical),
        change_block(&|e| e.chain = not_canonical),
        change_block(&|e| e.inHash = not_canonical),
        change_block(&|e| e.outRoot = not_canonical),
        change_block(&|e| e.z = not_canonical.into()),
        change_block(&|e| e.y = not_canonical.into()),
        change_block(&|e| e.commitment = vec![1; 47].into()),
        change_sent(&|e| e.leaf = not_canonical),
        change_sent(&|e| e.recipient = not_canonical),
        change_sent(&|e| e.content = not_canonical),
        // Units beyond 64 bits, and a leaf that is not the deposit's.
        change_sent(&|e| e.content = B256::from(U256::from(1u128 << 64))),
        change_sent(&|e| e.content = B256::from(U256::from(251))),
        change_sent(&|e| e.index += 1),
    ] {
        of.l1.chain().mine(vec![malformed.clone()]);
        let error = of.error(0).await;
        assert!(error.to_string().starts_with("NODE-014: "), "{malformed:?}: {error}");
        of.l1.chain().drop_last(1);
    }
    // A kind that the follower does not know is an error of L1.
    of.mine(vec![change_sent(&|e| e.kind = 2)]);
    assert!(matches!(of.error(0).await, L1SourceError::L1(_)));
}

/// The whole way: contract events to blocks in the database, with a block that is missing, is pruned and comes again.
#[tokio::test]
async fn a_node_follows_the_contracts_over_a_block_that_is_lost() {
    let mut of = Deployment::new().await;
    let (sent, _) = deposit(&mut of.proposer, Fr::from(9u64), 250);
    let first = of.block(&[0], true);
    let fork = of.proposer.clone();
    let lost = of.block(&[1], false);
    of.proposer = fork;
    let again = of.block(&[2], true);
    assert_eq!(again.in_hash, lost.in_hash);
    assert_ne!(again.in_hash, first.in_hash, "the deposit belongs to block 2");
    for events in [vec![Emitted::Sent(sent), proposed(&first)], vec![proposed(&lost)]] {
        of.mine(events);
    }
    let start = position(&of.at(0));
    let test = TestNode::with(|settings| settings.l1_start = start);
    assert_eq!(follow(&mut of, &test).await.unwrap_err(), lost.block_number);
    assert_eq!(test.pending(), 1);
    of.mine(vec![pruned(0, 2)]);
    of.mine(vec![proposed(&first)]);
    of.mine(vec![proposed(&again)]);
    follow(&mut of, &test).await.unwrap();
    assert_eq!((test.pending(), test.node.tips().rejected), (2, None));
}

/// Applies everything that the source has. The error is the block that it waits for.
async fn follow(of: &mut Deployment, test: &TestNode) -> Result<(), u64> {
    loop {
        let known = test.node.known_positions().unwrap();
        match of.source.next(&known).await {
            Ok(Some(update)) => {
                let applied: Result<_, NodeError> = test.node.apply(&update);
                applied.unwrap();
            }
            Ok(None) => return Ok(()),
            Err(L1SourceError::DataMissing { block, .. }) => return Err(block),
            Err(error) => panic!("{error}"),
        }
    }
}
