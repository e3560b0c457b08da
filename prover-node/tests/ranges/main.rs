//! The rules of ranges against an L1 that reorganises: each rule alone, then random schedules of two
//! prover nodes, one broker and one L1, with a kill at any point of a turn.

mod ending;
mod rules;
mod store;
mod world;

use std::sync::Arc;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_prover_node::ranges::controller::{Controller, POINTS};
use rollmill_prover_node::ranges::store::RowStore;
use rollmill_prover_node::ranges::{GaveUp, Policy, Row, State};
use tempfile::TempDir;
use world::{Node, World};

const POLICY: Policy = Policy { prefix_blocks: 0, ranges_max: 4, dry_run: false };

/// A prover node: its disk, its rows, and what dies with it.
struct Prover {
    disk: TempDir,
    node: Node,
    controller: Controller,
    policy: Policy,
}

impl Prover {
    fn new(index: usize, world: &Arc<Mutex<World>>, seed: u64, policy: Policy) -> Self {
        let disk = tempfile::tempdir_in(memory()).unwrap();
        let rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(31) + index as u64);
        let controller = Controller::open(RowStore::open(disk.path()).unwrap(), policy).unwrap();
        Self { node: Node::new(index, Arc::clone(world), rng), disk, controller, policy }
    }

    fn kill(&mut self) {
        self.node.restart();
        let store = RowStore::open(self.disk.path()).unwrap();
        // A crash damages no row: what is written is written whole, and can be read again.
        assert_eq!(store.read().unwrap().1, []);
        self.controller = Controller::open(store, self.policy).unwrap();
    }

    /// A turn; the process dies if it does not end. Returns whether it ended.
    fn turn(&mut self) -> bool {
        let before: Vec<Row> = self.controller.rows().to_vec();
        let ended = block_on(self.controller.turn(&mut self.node));
        if ended.is_err() {
            self.kill();
        }
        self.check(&before);
        ended.is_ok()
    }

    /// No row ends without a final fact.
    fn check(&self, before: &[Row]) {
        let world = self.node.world.lock();
        for row in self.controller.rows() {
            let was = before.iter().find(|old| old.id == row.id);
            if !row.state.is_end() || was.is_some_and(|old| old.state.is_end()) {
                continue;
            }
            let at = world.finalized.unwrap_or_else(|| panic!("no finality, yet ended: {row:?}"));
            let chain = &world.l1[at as usize];
            let last = row.blocks.last().unwrap();
            let there = chain.pending.iter().find(|(_, block)| block.number == last.number);
            let holds = there.is_some_and(|(_, block)| block.is_same(last));
            match &row.state {
                State::Final { .. } => {
                    assert!(holds && chain.proven >= last.number, "{row:?}");
                    assert!(world.final_success(self.node.index, row).is_some(), "{row:?}");
                }
                State::Superseded => assert!(holds && chain.proven >= last.number, "{row:?}"),
                State::GivenUp { reason: GaveUp::Stale } => assert!(!holds, "{row:?}"),
                State::GivenUp { reason: GaveUp::Late } => {
                    assert!(chain.proven < last.number, "{row:?}");
                    assert!(row.accepted_until.is_some_and(|end| at >= end), "{row:?}");
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
}

/// A folder in memory, since a row is forced to disk at each write.
fn memory() -> std::path::PathBuf {
    let shared = std::path::PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What L1 finalizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finality {
    None,
    Kept,
    /// Sometimes it reorganises finalized blocks.
    Broken,
}

/// Runs a random schedule, then lets L1 calm down, and checks that everything that could be proven is.
fn schedule(seed: u64, policy: Policy, finality: Finality, steps: u32) -> (u64, u64) {
    let finalizes = finality != Finality::None;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let window = rng.gen_range(12..40);
    let world = Arc::new(Mutex::new(World::new(window, finalizes)));
    let mut provers: Vec<Prover> =
        (0..2).map(|index| Prover::new(index, &world, seed, policy)).collect();
    let deepest = rng.gen_range(1..=20);
    for prover in &mut provers {
        prover.node.faults = true;
        prover.node.crash_one_in = rng.gen_range(20..200);
    }
    for _ in 0..steps {
        let prover = &mut provers[rng.gen_range(0..2)];
        match rng.gen_range(0..100) {
            0..=24 => world.lock().mine(rng.gen_bool(0.5), rng.gen_bool(0.8)),
            25..=27 => {
                let depth = rng.gen_range(1..=deepest);
                let mut world = world.lock();
                if finality == Finality::Broken && rng.gen_bool(0.3) {
                    world.forget_finality(depth);
                }
                let taken = world.reorg(depth, rng.gen_bool(0.5));
                for _ in 0..taken + rng.gen_range(0..2) {
                    world.mine(rng.gen_bool(0.5), rng.gen_bool(0.5));
                }
            }
            28..=39 => prover.node.renew(),
            40..=49 => prover.node.tick(),
            50..=57 => prover.node.work(),
            58..=59 => prover.kill(),
            60 => prover.node.damage_roots(),
            61..=63 => world.lock().finalize(20),
            _ => drop(prover.turn()),
        }
        let world = world.lock();
        assert!(world.successes().values().all(|count| *count <= 1), "proven twice");
    }
    for prover in &mut provers {
        (prover.node.faults, prover.node.crash_one_in) = (false, 0);
    }
    calm(&world, &mut provers);
    let world = world.lock();
    (world.sent, world.doomed)
}

/// L1 continues without faults for longer than a window. Every epoch whose window leaves some blocks of
/// time at the beginning is proven in the end, and with finality no row is left open.
fn calm(world: &Arc<Mutex<World>>, provers: &mut [Prover]) {
    // The lease of a dead holder, a back-off after failed attempts, proving, submission.
    let needed = 10;
    let (open, rounds) = {
        let world = world.lock();
        let tip = world.tip();
        let oldest = tip.pending.get(tip.proven as usize).map(|(epoch, _)| *epoch);
        let until = oldest.map(|oldest| world.schedule().accepted_until(oldest));
        let open = until.is_some_and(|until| until > world.head() + needed);
        (open.then(|| tip.pending.last().map(|(_, block)| *block)).flatten(), world.window + 30)
    };
    for _ in 0..rounds {
        for prover in provers.iter_mut() {
            prover.node.renew();
            prover.node.tick();
            assert!(prover.turn());
            prover.node.work();
            assert!(prover.turn());
        }
        let mut world = world.lock();
        world.mine(false, true);
        world.finalize(3);
    }
    let world = world.lock();
    if let Some(last) = open {
        assert!(
            world.tip().proven >= last.number,
            "block {} is not proven, but {} is; {:#?}; {:#?}",
            last.number,
            world.tip().proven,
            world
                .tip()
                .pending
                .iter()
                .skip(world.tip().proven as usize)
                .map(|(e, b)| format!("{e}: {b:?}"))
                .collect::<Vec<_>>(),
            provers
                .iter()
                .map(|p| p
                    .controller
                    .rows()
                    .iter()
                    .filter(|row| row.last() + 6 > world.tip().proven)
                    .map(brief)
                    .collect::<Vec<_>>())
                .collect::<Vec<_>>()
        );
    }
    for prover in provers.iter() {
        let left = open_rows(&prover.controller);
        assert!(world.finalized.is_none() || left.is_empty(), "rows are left open: {left:#?}");
    }
}

/// The seeds of a run, or the one that `ROLLMILL_SEED` names.
fn seeds(all: std::ops::Range<u64>) -> Vec<u64> {
    let one = std::env::var("ROLLMILL_SEED").ok().and_then(|seed| seed.parse().ok());
    one.map_or_else(|| all.collect(), |seed| vec![seed])
}

fn open_rows(controller: &Controller) -> Vec<&Row> {
    controller.rows().iter().filter(|row| !row.state.is_end()).collect()
}

/// Goal: whatever L1 reorganises and whenever a process crashes, at most one proof of a range succeeds,
/// no row ends without a final fact, and what can be proven is.
#[test]
fn random_schedules_of_two_provers_and_a_reorganising_l1() {
    let (mut sent, mut doomed) = (0, 0);
    for seed in seeds(0..120) {
        let result = schedule(seed, POLICY, Finality::Kept, 400);
        (sent, doomed) = (sent + result.0, doomed + result.1);
    }
    println!("{sent} proofs sent, {doomed} of them reverted");
    assert!(sent > 500, "the schedules hardly send anything: {sent}");
    assert!(doomed * 2 < sent, "{doomed} of {sent} proofs reverted");
}

/// Goal: the same for ranges that are cut before their epoch ends.
#[test]
fn random_schedules_with_prefixes() {
    for seed in 1000..1040 {
        schedule(seed, Policy { prefix_blocks: 2, ranges_max: 2, ..POLICY }, Finality::Kept, 300);
    }
}

/// Goal: a chain that finalizes nothing ends no row, and is proven all the same.
#[test]
fn random_schedules_without_finality() {
    for seed in 2000..2030 {
        schedule(seed, POLICY, Finality::None, 300);
    }
}

/// Goal: a reorganisation of finalized blocks breaks no rule either.
#[test]
fn random_schedules_with_broken_finality() {
    for seed in seeds(3000..3040) {
        schedule(seed, POLICY, Finality::Broken, 400);
    }
}

/// Goal: a node killed at each point of a turn, in each state of its range, continues after its
/// restart; and if it does not come back, the other submits once the lease has run out.
#[test]
fn a_kill_at_each_point_of_each_turn_costs_nothing() {
    for point in POINTS {
        for turn in 0..14 {
            for returns in [true, false] {
                kill_at(point, turn, returns);
            }
        }
    }
}

fn kill_at(point: &'static str, turn: u32, returns: bool) {
    let world = Arc::new(Mutex::new(World::new(40, true)));
    let mut provers: Vec<Prover> =
        (0..2).map(|index| Prover::new(index, &world, 7, POLICY)).collect();
    for _ in 0..3 {
        world.lock().mine(true, true);
    }
    for _ in 0..world::EPOCH_L1_BLOCKS {
        world.lock().mine(false, true);
    }
    for now in 0..14 {
        let first = &mut provers[0];
        first.node.renew();
        first.node.tick();
        first.node.crash_at = (now == turn).then_some(point);
        first.turn();
        first.node.crash_at = None;
        first.node.work();
        if now == turn && !returns {
            break;
        }
        if now % 3 == 2 {
            world.lock().mine(false, true);
        }
    }
    if returns {
        calm(&world, &mut provers);
    } else {
        let waited = world.lock().head();
        calm(&world, &mut provers[1..]);
        let world = world.lock();
        let proven = world.l1.iter().position(|block| block.proven == 3).unwrap() as u64;
        // One lease (6 ticks, each an L1 block here), proving and inclusion.
        assert!(proven <= waited + 10, "{point}, turn {turn}: {waited} to {proven}");
    }
    assert_eq!(world.lock().tip().proven, 3, "{point}, turn {turn}");
}

/// A row in a line.
fn brief(row: &Row) -> String {
    let log: Vec<String> = row.log.iter().map(|e| format!("{}@{}", e.what, e.l1_block)).collect();
    let (first, last) = (row.first(), row.last());
    format!(
        "{}: epoch {} blocks {first}-{last} end {:?} attempt {} failures {}: {}",
        row.id,
        row.epoch,
        row.accepted_until,
        row.attempt,
        row.failures,
        log.join(" ")
    )
}
