//! The seeds of drawn committees, on the real contracts.

use std::sync::Arc;

use rollmill_l1::abi::{AztToken, Staking};
use rollmill_l1::alloy::eips::BlockId;
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::economics::Call;
use rollmill_l1::{Seeds, TxRequest};
use rollmill_l1_testing::{
    Anvil, Network, SLOT_SECONDS, SLOTS_PER_EPOCH, Setup, config, root_leaves, sender, signer,
};
use rollmill_protocol::Fr;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::seed::SeedKeeper;
use rollmill_service::prometheus::Registry;

const EPOCH_SECONDS: u64 = SLOTS_PER_EPOCH * SLOT_SECONDS;

/// A deployment whose committees are drawn from four stakes: those of accounts 1 and 2, and two of nobody here.
struct Case {
    network: Network,
    seeds: Seeds,
}

impl Case {
    async fn new(anvil: &Anvil) -> Self {
        let client = anvil.client().await;
        let now = client.latest().await.unwrap().timestamp;
        let setup = Setup {
            leaves: &root_leaves(Fr::from(1u64)),
            window: 20_000,
            config: config(now),
            members: Vec::new(),
            genesis: &|_, _| Fr::from(0x9eu64),
        };
        let network = Network::with(client, setup).await;
        let seeds = network.rollup.selection(&network.info).seeds().await.unwrap().unwrap();
        let case = Self { network, seeds };
        // After the start of epoch 0, however fast the deployment was: with stakes of its first second, the sets of an
        // epoch earlier would have them.
        case.at(0, 1).await;
        let amount = U256::from(1_000);
        let spender = case.staking();
        let approve = AztToken::approveCall { spender, value: amount * U256::from(4) };
        case.send("approve", Call::new(case.network.token, &approve)).await;
        let others = [0xa1, 0xa2].map(Address::with_last_byte);
        for attester in [signer(1).address(), signer(2).address()].into_iter().chain(others) {
            let deposit = Staking::depositCall { attester, withdrawer: attester, amount };
            case.send(&format!("stake/{attester}"), Call::new(spender, &deposit)).await;
        }
        case
    }

    fn staking(&self) -> Address {
        self.network.info.contracts.selection
    }

    async fn send(&self, purpose: &str, call: Call) {
        let receipt = self.network.sender.send(TxRequest::of(purpose, call)).await.unwrap();
        assert!(receipt.succeeded, "{purpose}");
    }

    /// Lets time pass until this part of an epoch, in sixteenths.
    async fn at(&self, epoch: u64, sixteenths: u64) {
        let start = self.network.config.genesis_time + epoch * EPOCH_SECONDS;
        self.network.at_second(start + sixteenths * EPOCH_SECONDS / 16).await;
    }

    async fn is_recorded(&self, epoch: u64) -> bool {
        let head = self.network.client.latest().await.unwrap();
        self.seeds.is_recorded(epoch, head.hash.into()).await.unwrap()
    }

    /// Transactions of an account that are in blocks.
    async fn count(&self, account: usize) -> u64 {
        let count = self.network.client.provider().get_transaction_count(signer(account).address());
        count.await.unwrap()
    }

    async fn committee(&self, epoch: u64) -> usize {
        let selection = self.network.rollup.selection(&self.network.info);
        let proposer = selection.proposer_of(epoch * SLOTS_PER_EPOCH).await.unwrap();
        if proposer.is_zero() { 0 } else { selection.committee(epoch).await.unwrap().len() }
    }
}

/// The keeper of an account, and its figures.
struct Member {
    keeper: SeedKeeper,
    metrics: Registry,
    _folder: tempfile::TempDir,
}

impl Member {
    async fn new(case: &Case, account: usize) -> Self {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Registry::new());
        let network = &case.network;
        let sender = Arc::new(sender(&network.client, folder.path(), account).await);
        let figures = Metrics::new(&metrics).unwrap();
        let keeper = SeedKeeper::new(&network.rollup, &network.info, sender, figures).await;
        Self { keeper: keeper.unwrap().unwrap(), metrics, _folder: folder }
    }

    async fn step(&self) -> bool {
        self.keeper.step().await.unwrap()
    }

    fn figure(&self, name: &str) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }
}

/// Goal: the members together record one seed an epoch, within it, so that committees come about and go on; whoever has
/// no stake records none.
///
/// Method: nobody proposes. The set of epoch 4 is the first that has the stakes, and its seed is recorded in epoch 2.
#[tokio::test]
async fn members_record_the_seed_of_each_epoch_once() {
    let anvil = Anvil::start();
    let case = Case::new(&anvil).await;
    let members = [Member::new(&case, 1).await, Member::new(&case, 2).await];
    let stranger = Member::new(&case, 0).await;
    for member in &members {
        assert!(!member.step().await, "the seed of epoch 0 has no use");
    }
    for epoch in 1..=5 {
        let mut recorded = 0;
        for sixteenths in 0..16 {
            case.at(epoch, sixteenths).await;
            for member in &members {
                recorded += usize::from(member.step().await);
            }
            assert!(!stranger.step().await, "it has no stake");
            assert_eq!(recorded == 1, case.is_recorded(epoch).await, "{sixteenths} of {epoch}");
            // The last of four has its turn two steps after the start of the epoch, and one of both does not propose.
            assert!(recorded == 1 || sixteenths == 0, "{sixteenths} of {epoch}");
        }
        assert_eq!(recorded, 1, "in epoch {epoch}");
        let count = case.count(1).await + case.count(2).await;
        assert_eq!(count, epoch, "one transaction an epoch");
        let committee = case.committee(epoch + 2).await;
        assert_eq!(committee, if epoch == 1 { 0 } else { 4 }, "committee of epoch {}", epoch + 2);
    }
    let total: f64 =
        members.iter().map(|it| it.figure("rollmill_sequencer_seeds_recorded_total")).sum();
    assert_eq!(total, 5.0);
    assert_eq!(stranger.figure("rollmill_sequencer_seed_missing"), 0.0);
}

/// Goal: a seed that somebody else recorded costs a member nothing, and an epoch in which nobody recorded one is shown.
#[tokio::test]
async fn what_another_recorded_is_not_recorded_again() {
    let anvil = Anvil::start();
    let case = Case::new(&anvil).await;
    let (member, stranger) = (Member::new(&case, 1).await, Member::new(&case, 0).await);
    case.at(2, 0).await;
    case.send("seed", case.seeds.record()).await;
    for sixteenths in [1, 8, 15] {
        case.at(2, sixteenths).await;
        assert!(!member.step().await);
    }
    assert_eq!((case.count(1).await, member.figure("rollmill_sequencer_seed_missing")), (0, 0.0));
    // Without it the epoch after the next has no committee.
    case.at(4, 0).await;
    assert_eq!((case.committee(4).await, case.committee(5).await), (4, 0));
    assert!(!stranger.step().await);
    assert_eq!(stranger.figure("rollmill_sequencer_seed_missing"), 1.0);
}

/// Goal: nobody takes a drawn committee for the final one before its epoch's first proposal, which decides its size.
#[tokio::test]
async fn a_drawn_committee_is_not_decided_before_a_proposal() {
    let anvil = Anvil::start();
    let case = Case::new(&anvil).await;
    case.at(2, 0).await;
    case.send("seed", case.seeds.record()).await;
    case.at(4, 0).await;
    let selection = case.network.rollup.selection(&case.network.info);
    let at = BlockId::from(case.network.client.latest().await.unwrap().hash);
    let duty = selection.duty_at(4 * SLOTS_PER_EPOCH, 4, at).await.unwrap().unwrap();
    assert_eq!(duty.members.len(), 4);
    assert!(!selection.is_decided(4, at).await.unwrap());
}

/// Goal: of two members that call in one L1 block one records the seed, and the other's revert is no failure.
#[tokio::test]
async fn a_lost_race_is_no_failure() {
    let anvil = Anvil::start();
    let case = Case::new(&anvil).await;
    let (first, second) = (Member::new(&case, 1).await, Member::new(&case, 2).await);
    // Everybody's turn has come.
    case.at(2, 14).await;
    let provider = case.network.client.provider();
    provider.anvil_set_auto_mine(false).await.unwrap();
    let mining = async {
        for account in [1, 2] {
            let account = signer(account).address();
            let sent =
                || async { provider.get_transaction_count(account).pending().await.unwrap() == 1 };
            while !sent().await {
                tokio::task::yield_now().await;
            }
        }
        provider.anvil_mine(Some(1), None).await.unwrap();
    };
    let (a, b, ()) = tokio::join!(first.step(), second.step(), mining);
    assert!(a != b, "{a} and {b}");
    assert_eq!((case.count(1).await, case.count(2).await), (1, 1));
    assert!(case.is_recorded(2).await);
    assert!(!first.step().await && !second.step().await);
}

/// Goal: a fixed committee needs no seeds, and nobody watches any.
#[tokio::test]
async fn a_fixed_committee_has_no_seeds() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 20_000).await;
    let sender = Arc::new(sender(&network.client, network.folder.path(), 1).await);
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let keeper = SeedKeeper::new(&network.rollup, &network.info, sender, metrics).await.unwrap();
    assert!(keeper.is_none());
    let selection = network.rollup.selection(&network.info);
    assert!(selection.is_decided(0, BlockId::latest()).await.unwrap());
}
