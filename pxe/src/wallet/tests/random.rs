//! Random lives of four accounts on a chain that checks every rule: no value appears or vanishes, what a
//! wallet builds is accepted, and a wallet restored from its keys is as rich as the one that was there.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::SliceRandom;

use super::*;

const NAMES: [u8; 4] = [1, 2, 3, 9];
const STEPS: usize = 24;

struct World {
    chain: Node,
    node: NodeClient,
    wallets: Vec<Wallet>,
    rng: ChaCha20Rng,
    supply: u128,
    deposited: Vec<(usize, rollmill_node_client::wire::DepositInfo)>,
    withdrawn: u128,
    included: usize,
    uncovered: usize,
}

impl World {
    async fn new(seed: u64, shutdown: &Shutdown) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        // The last account starts with nothing.
        let notes: Vec<GenesisNote> = (0..9)
            .map(|i| genesis_note(NAMES[i % 3], rng.gen_range(1..60) * UNIT + i as u64))
            .collect();
        let balances = [(owner(1), 5 * UNIT)];
        let sum: u128 = notes.iter().map(|note| u128::from(note.value)).sum();
        let price = rng.gen_range(1..40);
        let chain = Node::new(Ledger::new(notes, &balances, price, Fr::zero()));
        let node = NodeClient::new(&chain.serve(shutdown).await).unwrap();
        let wallets = NAMES.map(|name| {
            let mut wallet = Wallet::new(keys(name));
            wallet.set_clock(|| 0);
            wallet
        });
        Self {
            chain,
            node,
            wallets: wallets.into(),
            rng,
            supply: sum + u128::from(5 * UNIT),
            deposited: vec![],
            withdrawn: 0,
            included: 0,
            uncovered: 0,
        }
    }

    async fn step(&mut self) {
        let who = self.rng.gen_range(0..NAMES.len());
        let amount = self.rng.gen_range(1..9 * UNIT);
        let other = self.wallets[self.rng.gen_range(0..NAMES.len())].address();
        let payer = if self.rng.gen_bool(0.3) { FeePayer::Account } else { FeePayer::Notes };
        let expiry_epochs = self.rng.gen_range(1..3);
        let order = match self.rng.gen_range(0..6) {
            0 => {
                let deposit = self.chain.ledger().deposit(owner(NAMES[who]), amount);
                self.supply += u128::from(amount);
                return self.deposited.push((who, deposit));
            }
            1 => Order::withdraw(EthAddress([7; 20]), amount),
            2 => match self.wallets[who].find_deposit(&self.node).await {
                Ok(deposit) => {
                    let keep = self.rng.gen_bool(0.3);
                    Order { purpose: Purpose::Claim { deposit, keep }, ..Order::claim(deposit) }
                }
                Err(error) => return assert!(matches!(error, PxeError::NoDeposit { .. })),
            },
            _ => Order::transfer(other, amount),
        };
        let order = Order { expiry_epochs, ..order.paid_by(payer) };
        let locked: BTreeSet<Fr> = self.wallets[who]
            .notes()
            .iter()
            .filter(|note| note.pending || note.spent_in.is_some())
            .map(|note| note.nullifier)
            .collect();
        let mut rng = ChaCha20Rng::seed_from_u64(self.rng.r#gen());
        match self.wallets[who].send(&self.node, &CheckedOnly, &order, &mut rng).await {
            Ok(tx) => {
                let mut spends = tx.effects().present_nullifiers();
                assert!(spends.all(|n| !locked.contains(n)), "a locked note is spent again");
            }
            // A released note is spent before others, and its dropped transaction may still wait.
            Err(PxeError::Funds { .. } | PxeError::Fee { .. }) => self.uncovered += 1,
            Err(error) => panic!("{error}"),
        }
    }

    /// Builds a block of some of the waiting transactions, and loses some others.
    async fn build(&mut self) {
        let mut txs = std::mem::take(&mut self.chain.pool().waiting);
        txs.shuffle(&mut self.rng);
        let keep = self.rng.gen_range(0..=txs.len());
        let left = txs.split_off(keep);
        let late = self.rng.gen_bool(0.15);
        let slot = self.chain.ledger().tip().slot + if late { 30 } else { 1 };
        let rejected = self.chain.ledger().include(slot, &txs);
        for (hash, why) in &rejected {
            // Each of these follows from what came between.
            let rule = why.rule();
            let is_known = matches!(rule, Some("expired" | "price" | "nullifier_spent"));
            assert!(is_known, "{}: {rule:?}", to_hex(hash));
        }
        let rejected: BTreeSet<Fr> = rejected.into_iter().map(|(hash, _)| hash).collect();
        for tx in txs.iter().filter(|tx| !rejected.contains(&tx.hash())) {
            self.withdrawn += u128::from(tx.effects().withdraw_amount);
            self.included += 1;
        }
        let lost = self.rng.gen_bool(0.2);
        let wait = left.into_iter().filter(|tx| !lost && tx.effects().expiry_slot > slot);
        self.chain.pool().waiting.extend(wait);
        for wallet in &mut self.wallets {
            wallet.sync(&self.node).await.unwrap();
        }
    }

    /// Notes, balances, deposits that nobody claimed, and what fees and withdrawals took are all there is.
    fn check_supply(&self) {
        let ledger = self.chain.ledger();
        let unspent = |wallet: &Wallet| -> u128 {
            let notes = wallet.notes().iter().filter(|note| note.spent_in.is_none());
            notes.map(|note| u128::from(note.value)).sum()
        };
        let notes: u128 = self.wallets.iter().map(unspent).sum();
        let balances: u128 =
            NAMES.iter().map(|name| u128::from(ledger.balance(&owner(*name)))).sum();
        let fees: u128 = ledger.blocks().iter().map(|block| block.header.total_fees).sum();
        let claimed = |(who, deposit): &&(usize, rollmill_node_client::wire::DepositInfo)| {
            let state = self.wallets[*who].hindrance(deposit);
            !matches!(state, Some(Hindrance::Claimed { .. }))
        };
        let waiting: u128 =
            self.deposited.iter().filter(claimed).map(|(_, d)| u128::from(d.amount)).sum();
        assert_eq!(notes + balances + fees + waiting + self.withdrawn, self.supply);
    }

    async fn check_restored(&self) {
        for (name, wallet) in NAMES.iter().zip(&self.wallets) {
            let mut restored = Wallet::new(keys(*name));
            restored.sync(&self.node).await.unwrap();
            let found = |wallet: &Wallet| -> BTreeSet<(Fr, u64, Option<u64>, u64)> {
                let notes = wallet.notes().iter();
                notes.map(|n| (n.nullifier, n.value, n.spent_in, n.leaf_index)).collect()
            };
            assert_eq!(found(&restored), found(wallet), "account {name}");
            assert_eq!(restored.state.claimed, wallet.state.claimed, "account {name}");
        }
    }
}

#[tokio::test]
async fn value_is_conserved_and_a_restored_wallet_finds_everything() {
    let (mut included, mut uncovered) = (0, 0);
    for seed in 0..6 {
        println!("seed {seed}");
        let shutdown = Shutdown::new();
        let mut world = World::new(seed, &shutdown).await;
        for wallet in &mut world.wallets {
            wallet.sync(&world.node).await.unwrap();
        }
        for _ in 0..STEPS {
            for _ in 0..world.rng.gen_range(0..4) {
                world.step().await;
            }
            world.build().await;
            world.check_supply();
        }
        world.check_restored().await;
        (included, uncovered) = (included + world.included, uncovered + world.uncovered);
        shutdown.start();
    }
    println!("{included} transactions included, {uncovered} orders not covered");
    assert!(included > 60, "{included} transactions");
}
