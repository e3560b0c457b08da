//! The rules of `rollmill-broker-rules` against the broker's statements on a real PostgreSQL: random events with
//! printed seeds, first without faults and then with requests and answers that get lost, connections that end and
//! replicas that are replaced.
//!
//! `ROLLMILL_SEED=N` repeats one run, `ROLLMILL_SCHEDULES=N` sets the number of schedules with faults.

mod found;
pub(crate) mod link;
mod op;
mod second;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use link::{Link, Lost};
use op::{Foretold, Op, Reply, foretell, is_paused, opening, perform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{Rules, Store, Tenant};
use rollmill_broker_client::{Digest, EpochState, FailureClass, JobState};
use rollmill_broker_rules::{Answer, Deadline, Event, Stored, step};
use rollmill_broker_testing::TestSchema;
use second::Tally;
use sqlx::{Connection, PgConnection};
use world::{
    AGENTS, EPOCH, JOBS, OTHER, Observed, REJECTIONS_MAX, Shelf, damage, input, is_large, job_id,
    observe, upload,
};

use crate::support::agent;

/// Tries of one request, of which at most one meets a fault that was armed for it.
const TRIES: u32 = 8;

/// Two replicas on one database, and what they should find there.
struct Lab {
    schema: TestSchema,
    /// Reads, damages and moves clocks; no fault meets it.
    by_hand: PgConnection,
    calm: Store,
    links: Vec<Link>,
    replicas: Vec<Store>,
    shelf: Shelf,
    seen: Observed,
    rng: ChaCha8Rng,
    seed: u64,
    faults: u64,
    tally: Tally,
}

fn rules() -> Rules {
    // Times that nothing reaches by itself; the driver moves them.
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    Rules {
        lease: hours(1),
        hard_limit: hours(10),
        rejections_max: REJECTIONS_MAX,
        live: hours(24),
        ..Rules::default()
    }
}

/// Records each change of a state. Every statement begins with a comment that names its file.
const WATCH: [&str; 3] = [
    "CREATE TABLE seen (statement text, was text, becomes text)",
    "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
         IF TG_OP = 'INSERT' THEN
             INSERT INTO seen VALUES (split_part(substr(current_query(), 4), ':', 1), NULL, NEW.state);
         ELSIF OLD.state <> NEW.state THEN
             INSERT INTO seen VALUES (split_part(substr(current_query(), 4), ':', 1), OLD.state, NEW.state);
         END IF;
         RETURN NULL;
     END $$",
    "CREATE TRIGGER see AFTER INSERT OR UPDATE ON job FOR EACH ROW EXECUTE FUNCTION see()",
];

impl Lab {
    async fn new() -> Self {
        let schema = TestSchema::with(rules()).await;
        let options = schema.connect_options();
        let mut by_hand = PgConnection::connect_with(&options).await.unwrap();
        for statement in WATCH {
            sqlx::raw_sql(statement).execute(&mut by_hand).await.unwrap();
        }
        let calm = schema.store().await;
        let links: Vec<Link> = (0..2).map(|_| Link::new(&options)).collect();
        let mut replicas = Vec::new();
        for link in &links {
            replicas.push(replica(&schema, link).await);
        }
        // Whoever opens a session for the first time has none that it ends.
        for name in AGENTS {
            calm.open_session(&opening(agent(name))).await.unwrap();
        }
        let seen = observe(&mut by_hand).await;
        let rng = ChaCha8Rng::seed_from_u64(0);
        let shelf = Shelf::default();
        Self {
            schema,
            by_hand,
            calm,
            links,
            replicas,
            shelf,
            seen,
            rng,
            seed: 0,
            faults: 0,
            tally: Tally::default(),
        }
    }

    async fn sql(&mut self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.by_hand).await.unwrap();
    }

    /// An empty database again, with agents that are free, and the inputs of all jobs.
    async fn start_again(&mut self, seed: u64) {
        println!("seed {seed}");
        (self.seed, self.rng) = (seed, ChaCha8Rng::seed_from_u64(seed));
        for statement in [
            "DELETE FROM job",
            "DELETE FROM artifact",
            "DELETE FROM artifact_body",
            "DELETE FROM epoch",
            "DELETE FROM seen",
            "UPDATE agent SET rejected = 0, quarantined_at = NULL, draining_by = NULL",
        ] {
            self.sql(statement).await;
        }
        self.shelf = Shelf::default();
        for index in 0..JOBS {
            self.shelf.put(upload(&self.calm, EPOCH, input(index)).await, EPOCH);
        }
        self.seen = observe(&mut self.by_hand).await;
        assert_eq!(self.seen.world.epoch, Some(EpochState::Open));
    }

    /// One event: of a clock, of the world outside, or a request.
    async fn turn(&mut self, with_faults: bool) {
        match self.rng.gen_range(0..10) {
            0 | 1 => self.tick().await,
            2 => self.tamper().await,
            _ => {
                let op = Op::draw(&mut self.rng, &self.seen.world);
                self.prepare(&op).await;
                self.request(&op, with_faults).await;
            }
        }
    }

    /// Moves one of the times that a job has, in the database and in what is expected.
    async fn tick(&mut self) {
        let job = self.rng.gen_range(0..JOBS);
        if self.seen.world.seconds[job].is_some() && self.rng.gen_bool(0.5) {
            return self.tick_second(job).await;
        }
        let Some(row) = &mut self.seen.world.rows[job] else { return };
        let end_limit = self.rng.gen_bool(0.3);
        let statement = match (&mut row.lease, row.state) {
            (Some(lease), _) if end_limit => {
                (lease.is_over, lease.limit_is_over) = (true, true);
                "UPDATE job SET lease_expires_at = now() - interval '1 s',
                                hard_limit_at = now() - interval '1 s' WHERE id = $1"
            }
            (Some(lease), _) => {
                lease.is_over = true;
                "UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE id = $1"
            }
            (None, JobState::Delayed) if !end_limit => {
                row.pause_is_over = true;
                "UPDATE job SET ready_at = now() - interval '1 s' WHERE id = $1"
            }
            (None, _) if row.deadline == Deadline::Ahead => {
                row.deadline = Deadline::Passed;
                "UPDATE job SET deadline_at = now() - interval '1 s' WHERE id = $1"
            }
            (None, _) => return,
        };
        let id = job_id(job);
        sqlx::query(statement).bind(id.as_str()).execute(&mut self.by_hand).await.unwrap();
        self.compare("a tick").await;
    }

    /// An input or a result is lost, an epoch is dropped, exclusions are forgiven.
    async fn tamper(&mut self) {
        match self.rng.gen_range(0..12) {
            0..6 => {
                let job = self.rng.gen_range(0..JOBS);
                let digest = job_id(job).input();
                damage(&mut self.by_hand, digest, is_large(job)).await;
                self.shelf.damage(digest, is_large(job));
            }
            6..11 => self.forgive().await,
            _ => {
                self.calm.drop_epoch(&Tenant::default(), EPOCH).await.unwrap();
                self.shelf.drop_epoch(EPOCH);
                self.seen.world.epoch = None;
                self.seen.world.rows.fill(None);
                self.seen.world.seconds.fill(None);
            }
        }
        self.compare("an event outside").await;
    }

    /// The broker looks twice, and much time passes in between.
    async fn forgive(&mut self) {
        let mut expected = 0;
        let before = self.seen.world.clone();
        for row in self.seen.world.rows.iter_mut().flatten() {
            let event = Event::Forgive { nobody_is_left: before.nobody_is_left(row) };
            let forgiven = step(row, &event);
            expected += usize::from(forgiven.answer == Ok(Answer::Changed(true)));
            *row = forgiven.row;
        }
        self.calm.forgive().await.unwrap();
        self.sql("UPDATE job SET stuck_at = stuck_at - interval '30 days'").await;
        assert_eq!(self.calm.forgive().await.unwrap().len(), expected, "seed {}", self.seed);
    }

    /// What an honest client does before it asks, and what breaks meanwhile.
    async fn prepare(&mut self, op: &Op) {
        match op {
            Op::Complete { job, agent, result, .. } if self.rng.gen_bool(0.9) => {
                let bytes = [None, Some(agent)].map(|wrong| world::result(*job, wrong));
                let is_it = |bytes: &Vec<u8>| Digest::of(bytes) == *result;
                let Some(bytes) = bytes.into_iter().find(is_it) else { return };
                if self.seen.world.epoch == Some(EpochState::Open) && self.rng.gen_bool(0.9) {
                    self.shelf.put(upload(&self.calm, EPOCH, bytes).await, EPOCH);
                } else {
                    self.shelf.put(upload(&self.calm, OTHER, bytes).await, OTHER);
                }
            }
            Op::LoseResult { result, .. } => {
                damage(&mut self.by_hand, *result, false).await;
                self.shelf.damage(*result, false);
            }
            Op::Fail { job, class: FailureClass::InputMissing, .. } if self.rng.gen_bool(0.7) => {
                let input = job_id(*job).input();
                damage(&mut self.by_hand, input, is_large(*job)).await;
                self.shelf.damage(input, is_large(*job));
            }
            Op::Reject { result, .. } if self.rng.gen_bool(0.1) => {
                damage(&mut self.by_hand, *result, false).await;
                self.shelf.damage(*result, false);
            }
            _ => {}
        }
    }

    /// Sends a request until it is answered. The answer, the rows and what the feed shows are what the rules say; after
    /// a try without an answer the rows are those before it or those after it.
    async fn request(&mut self, op: &Op, with_faults: bool) {
        let with_faults = with_faults && op.is_one_transaction();
        for attempt in 0..TRIES {
            let which = self.rng.gen_range(0..self.replicas.len());
            let strikes = with_faults && attempt < 2 && self.rng.gen_bool(0.4);
            let is_armed = strikes && self.strike(which).await;
            let foretold = foretell(&self.seen.world, &self.shelf, op);
            self.sql("DELETE FROM seen").await;
            let reply = perform(&self.replicas[which], &self.seen, op).await;
            let struck = self.links[which].disarm();
            self.faults += u64::from(is_armed && struck);
            self.links[which].settle().await;
            self.pin(&foretold).await;
            match reply {
                Ok(reply) => return self.answered(op, foretold, reply).await,
                Err(error) if with_faults => {
                    let now = observe(&mut self.by_hand).await;
                    let is_either = now.world == self.seen.world || now.world == foretold.world;
                    assert!(
                        is_either,
                        "seed {}: {op:?} failed ({error}) and left {:#?}\nafter {:#?}",
                        self.seed, now.world, self.seen.world
                    );
                    self.seen = now;
                    self.assert_seconds();
                }
                Err(error) => panic!("seed {}: {op:?}: {error}", self.seed),
            }
        }
        panic!("seed {}: {op:?} had no answer in {TRIES} tries", self.seed);
    }

    async fn answered(&mut self, op: &Op, foretold: Foretold, reply: Reply) {
        let seed = self.seed;
        let before = self.seen.clone();
        assert_eq!(reply, foretold.reply, "seed {seed}: {op:?} on {:#?}", before.world);
        self.shelve(op, &reply);
        self.seen.world = foretold.world;
        self.compare(&format!("{op:?} on {:#?}", before.world)).await;
        self.tally(op, &before, &reply);
        let moves = "SELECT statement, was, becomes FROM seen ORDER BY 1, 2, 3";
        let mut moves: Vec<(String, Option<String>, String)> =
            sqlx::query_as(moves).fetch_all(&mut self.by_hand).await.unwrap();
        moves.sort();
        let mut expected = foretold.moves;
        expected.sort();
        assert_eq!(moves, expected, "seed {seed}: {op:?}");
        for job in 0..JOBS {
            // A job that was just added is in no feed.
            let is_told =
                before.seqs[job].is_some() && self.seen.changes[job] != before.changes[job];
            assert_eq!(is_told, foretold.told[job], "seed {seed}: {op:?}, job {job}");
        }
    }

    /// Keeps up with what a request stored.
    fn shelve(&mut self, op: &Op, reply: &Reply) {
        match (op, reply) {
            (Op::Upload { job }, Reply::One(Ok(_))) => {
                self.shelf.put(job_id(*job).input(), EPOCH);
            }
            // Accepted from another epoch, now or before its answer was lost: copied.
            (
                Op::Complete { result, in_lane: false, .. },
                Reply::One(Ok(Answer::Completed(done))),
            ) if self.shelf.stored(*result) == Stored::Elsewhere
                && done.outcome == rollmill_broker_client::CompleteOutcome::Accepted =>
            {
                self.shelf.put(*result, EPOCH);
            }
            _ => {}
        }
    }

    /// Reads the database and compares it with what is expected.
    async fn compare(&mut self, after: &str) {
        let now = observe(&mut self.by_hand).await;
        assert_eq!(now.world, self.seen.world, "seed {}: after {after}", self.seed);
        self.seen = now;
        self.assert_seconds();
    }

    /// Pauses last until the driver ends them.
    async fn pin(&mut self, foretold: &Foretold) {
        for (job, row) in foretold.world.rows.iter().enumerate() {
            if row.as_ref().is_some_and(is_paused) {
                let statement = "UPDATE job SET ready_at = now() + interval '1 h'
                                 WHERE id = $1 AND state = 'delayed'";
                let id = job_id(job);
                sqlx::query(statement).bind(id.as_str()).execute(&mut self.by_hand).await.unwrap();
            }
        }
    }

    /// Prepares a fault for the next request, or does it. Returns whether one waits for its message.
    async fn strike(&mut self, which: usize) -> bool {
        let link = &self.links[which];
        let after = self.rng.gen_range(0..8);
        match self.rng.gen_range(0..10) {
            0..3 => link.arm(Lost::Request, after),
            3..8 => link.arm(Lost::Answer, after),
            8 => {
                // The server ends the connection that the pool would use next.
                let end = "SELECT pg_terminate_backend(pg_backend_pid())";
                let ended = sqlx::query(end).execute(self.replicas[which].pool()).await;
                assert!(ended.is_err(), "seed {}: the backend was ended", self.seed);
                self.faults += 1;
                return false;
            }
            _ => {
                let new = replica(&self.schema, link).await;
                std::mem::replace(&mut self.replicas[which], new).close().await;
                self.faults += 1;
                return false;
            }
        }
        true
    }

    /// What holds at the end of every schedule, by the record of attempts.
    fn assert_nothing_is_lost_or_twice(&self) {
        for row in self.seen.world.rows.iter().flatten() {
            let running = row.history.iter().filter(|attempt| {
                attempt.outcome == rollmill_broker_client::AttemptOutcome::Running
            });
            assert_eq!(
                running.count(),
                usize::from(row.state == JobState::Leased),
                "seed {}: {row:#?}",
                self.seed
            );
            let mut leases: BTreeMap<u64, u32> = BTreeMap::new();
            for lease in row.history.iter().filter_map(|attempt| attempt.lease_epoch) {
                *leases.entry(lease.0).or_default() += 1;
            }
            assert!(leases.values().all(|count| *count == 1), "seed {}: {row:#?}", self.seed);
            assert_eq!(leases.len() as u64, row.lease_epoch.0, "seed {}: {row:#?}", self.seed);
        }
    }

    /// From wherever a schedule stopped, without a fault and with one honest agent that nobody suspects, every job
    /// becomes final.
    async fn finish(&mut self) {
        self.calm.open_epoch(&Tenant::default(), EPOCH).await.unwrap();
        self.seen = observe(&mut self.by_hand).await;
        let name = agent("d");
        self.calm.open_session(&opening(name.clone())).await.unwrap();
        for job in 0..JOBS {
            self.shelf.put(upload(&self.calm, EPOCH, input(job)).await, EPOCH);
        }
        for statement in [
            "UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE state = 'leased'",
            "UPDATE job SET ready_at = now() - interval '1 s' WHERE state = 'delayed'",
            "UPDATE job SET deadline_at = NULL",
        ] {
            self.sql(statement).await;
        }
        self.calm.expire(0.0).await.unwrap();
        self.sql("UPDATE job SET ready_at = now() - interval '1 s' WHERE state = 'delayed'").await;
        self.calm.promote().await.unwrap();
        self.seen = observe(&mut self.by_hand).await;
        for job in 0..JOBS {
            let row = self.seen.world.rows[job].as_ref();
            let Some(row) = row.filter(|row| row.state == JobState::Ready) else { continue };
            let lease_epoch = rollmill_broker_client::LeaseEpoch(row.lease_epoch.0 + 1);
            // A result that nobody has made, so that no rejection stands against it.
            let bytes = world::result(job, Some(&name));
            let result = upload(&self.calm, EPOCH, bytes).await;
            let claim = Op::Claim { job, agent: name.clone() };
            let granted = perform(&self.calm, &self.seen, &claim).await.unwrap();
            assert_eq!(granted, Reply::One(Ok(Answer::Granted(Some(lease_epoch)))));
            let agent = name.clone();
            let complete = Op::Complete { job, agent, lease_epoch, result, in_lane: true };
            perform(&self.calm, &self.seen, &complete).await.unwrap();
        }
        self.seen = observe(&mut self.by_hand).await;
        for row in self.seen.world.rows.iter().flatten() {
            assert!(row.state.is_final(), "seed {}: {row:#?}", self.seed);
        }
        self.sql("DELETE FROM agent WHERE id = 'd'").await;
    }
}

/// Another replica, which reaches the server by this way.
async fn replica(schema: &TestSchema, link: &Link) -> Store {
    let objects = Objects::in_directory(schema.objects()).unwrap();
    let options = link.options(&schema.connect_options());
    Store::connect(options, objects, rules()).await.unwrap()
}

/// The seeds of a run, or the one that `ROLLMILL_SEED` names.
fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("ROLLMILL_SEED") {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

/// Goal: the model explores what the broker does. Method: random events on three jobs; after each the rows, the
/// attempts, the answer, the statement that moved the job, the charges and the feed are those that the rules say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_does_what_the_rules_say() {
    let mut lab = Lab::new().await;
    let mut states = BTreeMap::<&str, u64>::new();
    for seed in seeds(12) {
        lab.start_again(seed).await;
        for _ in 0..120 {
            lab.turn(false).await;
            for row in lab.seen.world.rows.iter().flatten() {
                *states.entry(row.state.as_str()).or_default() += 1;
            }
        }
        lab.assert_nothing_is_lost_or_twice();
    }
    println!("jobs seen by state: {states:?}; {:?}", lab.tally);
    if std::env::var_os("ROLLMILL_SEED").is_none() {
        assert_eq!(states.len(), JobState::ALL.len(), "{states:?}");
        lab.tally.assert_all();
    }
}

/// Fault: requests and answers are lost, connections end and replicas are replaced, while two replicas serve. Nothing
/// is half done, nothing has two effects, and every job can still be finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_fault_schedules_lose_nothing_and_do_nothing_twice() {
    let count = std::env::var("ROLLMILL_SCHEDULES").ok().and_then(|count| count.parse().ok());
    let seeds = seeds(count.unwrap_or(20));
    let mut lab = Lab::new().await;
    for seed in &seeds {
        lab.start_again(*seed).await;
        for _ in 0..40 {
            lab.turn(true).await;
        }
        lab.assert_nothing_is_lost_or_twice();
        lab.finish().await;
    }
    println!("{} schedules, {} faults, {:?}", seeds.len(), lab.faults, lab.tally);
    assert!(lab.faults > 0 || seeds.len() < 2, "no fault came to pass");
}
