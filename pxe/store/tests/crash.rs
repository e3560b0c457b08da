//! A crash at each write: the store opens with what it had before the step or after it, and never with a part.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_pxe_store::{Plan, Scope, Store};

use crate::support::{
    Memory, Op, PASSWORD, account, apply, fr, header, in_memory, note, nullifier, shown,
};

/// Steps of every kind. Calls `done` after each.
fn life(store: &Store, done: &mut dyn FnMut(&Store)) {
    let alice = account(1);
    let scope = Scope::of([alice]);
    for number in 1..=3 {
        store
            .read_block(&scope, &header(number), |block| {
                block.note(&alice, number, note(number, number))?;
                block.defer(&alice, &fr(2), (&fr(number), 0), vec![fr(1); 200])?;
                block.see_tag(&alice, &fr(3), number)
            })
            .expect("read");
        done(store);
    }
    let plan =
        Plan { request: vec![9; 3000], nullifiers: vec![nullifier(2)], secrets: vec![fr(3)] };
    let planned = store.step(&scope, |step| step.plan(&alice, &plan)).expect("planned");
    done(store);
    store
        .step(&scope, |step| step.ready(&alice, planned.number, &fr(1), &[5; 9000]))
        .expect("ready");
    done(store);
    store
        .read_block(&scope, &header(4), |block| {
            block.include(&alice, &fr(1))?;
            block.nullify(&alice, &nullifier(2))
        })
        .expect("read");
    done(store);
    store.rewind(2).expect("rewound");
    done(store);
    store.finalize(1).expect("finalized");
    done(store);
}

/// The bytes of an interrupted run: all that was done up to the last sync before `end`, and of what came after it
/// what `keep` chooses, of the last write only the first half if `is_torn`.
fn interrupted(start: &[u8], ops: &[Op], is_torn: bool, mut keep: impl FnMut() -> bool) -> Vec<u8> {
    let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
    let mut bytes = start.to_vec();
    for (at, op) in ops.iter().enumerate() {
        let is_last = at + 1 == ops.len();
        match op {
            // The length of a file is changed in order.
            Op::Write(..) if at >= synced && !is_last && !keep() => {}
            Op::Write(offset, data) if is_last && is_torn => {
                let half = data[..data.len() / 2].to_vec();
                apply(&mut bytes, &Op::Write(*offset, half));
            }
            op => apply(&mut bytes, op),
        }
    }
    bytes
}

#[test]
fn a_crash_at_any_write_leaves_the_state_before_the_step_or_after_it() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (memory, store) = in_memory();
    let start = memory.bytes();
    memory.take_log();
    let mut states = vec![shown(&store).expect("shown")];
    // Writes that were done when each step returned.
    let mut returned = vec![0];
    life(&store, &mut |store| {
        states.push(shown(store).expect("shown"));
        returned.push(memory.log_length());
    });
    drop(store);
    let ops = memory.take_log();
    assert!(returned.windows(2).all(|two| two[0] < two[1]), "{returned:?}");
    let mut seen = std::collections::BTreeSet::new();
    for end in 0..=ops.len() {
        let last = returned.iter().rposition(|done| *done <= end).expect("the start");
        for round in 0..4 {
            let mut keep = || round < 2 || rng.gen_bool(0.5);
            let bytes = interrupted(&start, &ops[..end], round % 2 == 1, &mut keep);
            let opened = Store::open_on(Memory::of(bytes), PASSWORD);
            let opened =
                opened.unwrap_or_else(|error| panic!("write {end}, round {round}: {error}"));
            let state = shown(&opened).expect("shown");
            let found = states.iter().position(|known| *known == state);
            let found = found.unwrap_or_else(|| panic!("write {end}, round {round}: {state}"));
            // A step that returned is never lost.
            assert!(found == last || found == last + 1, "write {end}: {found}, not {last}");
            seen.insert((found, last));
        }
    }
    // Both outcomes of some step occurred.
    assert!(seen.iter().any(|(found, last)| found > last), "{seen:?}");
}

/// Goal: a store that was opened after a crash goes on, and closes as a whole one.
#[test]
fn after_a_crash_steps_go_on_from_the_last_whole_one() {
    let (memory, store) = in_memory();
    let start = memory.bytes();
    memory.take_log();
    let mut middle = 0;
    let mut count = 0;
    life(&store, &mut |_| {
        count += 1;
        if count == 4 {
            middle = memory.log_length();
        }
    });
    drop(store);
    let ops = memory.take_log();
    let mut bytes = start;
    ops[..middle + 1].iter().for_each(|op| apply(&mut bytes, op));
    let crashed = Memory::of(bytes);
    let store = Store::open_on(crashed.clone(), PASSWORD).expect("opens");
    let scope = Scope::of([account(1)]);
    store.read_block(&scope, &header(4), |_| Ok(())).expect("read");
    let state = shown(&store).expect("shown");
    drop(store);
    let store = Store::open_on(crashed, PASSWORD).expect("opens");
    assert_eq!(shown(&store).expect("shown"), state);
}

/// A file that was cut is damaged, or it is the whole one.
#[test]
fn a_cut_file_is_damaged_and_never_opens_as_less() {
    let (memory, store) = in_memory();
    life(&store, &mut |_| ());
    let state = shown(&store).expect("shown");
    drop(store);
    let bytes = memory.bytes();
    for part in 0..64 {
        let cut = bytes.len() * part / 64;
        match Store::open_on(Memory::of(bytes[..cut].to_vec()), PASSWORD) {
            Err(error) => assert_eq!(error.code(), "PXS-006", "cut at {cut}: {error}"),
            Ok(store) => assert_eq!(shown(&store).expect("shown"), state, "cut at {cut}"),
        }
    }
}
