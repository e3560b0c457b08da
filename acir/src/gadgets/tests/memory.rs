use super::super::memory::{Access, History, memory, ram_given};
use super::*;

/// An access as numbers: whether it writes, address, value.
type Plain = (bool, i64, i64);

fn lay_out(b: &mut Builder, cells: &[i64], accesses: &[Plain]) -> (Vec<Var>, Vec<Access>) {
    let cells = cells.iter().map(|cell| b.witness(integer(*cell))).collect();
    let access = |b: &mut Builder, (write, address, value): Plain| {
        let (address, value) = (b.witness(integer(address)), b.witness(integer(value)));
        Access { write, address, value }
    };
    let accesses = accesses.iter().map(|plain| access(b, *plain)).collect();
    (cells, accesses)
}

fn honest(cells: &[i64], accesses: &[Plain]) -> bool {
    holds(|b| {
        let (cells, accesses) = lay_out(b, cells, accesses);
        memory(b, &cells, &accesses);
    })
}

/// Whether the accesses are those of an array.
fn is_true(cells: &[i64], accesses: &[Plain]) -> bool {
    let mut cells = cells.to_vec();
    accesses.iter().all(|(write, address, value)| {
        let Some(cell) = usize::try_from(*address).ok().and_then(|at| cells.get_mut(at)) else {
            return false;
        };
        if *write {
            *cell = *value;
        }
        *cell == *value
    })
}

#[test]
fn arrays_hold_exactly_where_each_read_returns_the_last_write() {
    let mut rng = random();
    for round in 0..300 {
        let length = rng.gen_range(0..4);
        let cells: Vec<i64> = (0..length).map(|_| rng.gen_range(0..3)).collect();
        let may_write = round % 3 > 0;
        let mut now = cells.clone();
        let mut accesses: Vec<Plain> = Vec::new();
        for _ in 0..rng.gen_range(0..6) {
            let write = may_write && rng.gen_bool(0.5);
            let address = rng.gen_range(0..length.max(1));
            let cell = now.get(address as usize).copied().unwrap_or(0);
            let value = if write { rng.gen_range(0..3) } else { cell };
            if let Some(cell) = now.get_mut(address as usize) {
                *cell = value;
            }
            accesses.push((write, address, value));
        }
        if !accesses.is_empty() && rng.gen_bool(0.6) {
            let at = rng.gen_range(0..accesses.len());
            match rng.gen_bool(0.5) {
                true => accesses[at].1 = rng.gen_range(-1..length + 1),
                false => accesses[at].2 = rng.gen_range(-1..3),
            }
        }
        let expected = is_true(&cells, &accesses);
        assert_eq!(honest(&cells, &accesses), expected, "{cells:?}, {accesses:?}");
    }
}

/// All lists of `length` numbers below `bound`.
fn lists(length: usize, bound: u64) -> impl Iterator<Item = Vec<u64>> {
    let count = bound.pow(length as u32);
    (0..count).map(move |mut number| {
        let mut digit = || {
            let digit = number % bound;
            number /= bound;
            digit
        };
        (0..length).map(|_| digit()).collect()
    })
}

/// Whether some history makes the accesses hold: every time that an entry could name, and the value of the entry of
/// that time. Other values would be in no entry.
fn some_history_holds(cells: &[i64], accesses: &[Plain]) -> bool {
    let entries = cells.len() + accesses.len();
    let value = |time: u64| match (time as usize).checked_sub(cells.len()) {
        None => cells[time as usize],
        Some(k) => accesses[k].2,
    };
    lists(entries, entries as u64).any(|next| {
        lists(accesses.len(), entries as u64).any(|times| {
            let history = History {
                next: next.iter().map(|time| Fr::from(*time)).collect(),
                taken: times.iter().map(|time| (Fr::from(*time), integer(value(*time)))).collect(),
            };
            holds(|b| {
                let (cells, accesses) = lay_out(b, cells, accesses);
                ram_given(b, &cells, &accesses, &history);
            })
        })
    })
}

#[test]
fn no_history_makes_a_false_access_hold() {
    let (read, write) = (false, true);
    assert!(some_history_holds(&[10], &[(write, 0, 20), (read, 0, 20)]));
    for (accesses, why) in [
        ([(write, 0, 20), (read, 0, 10)], "a value that was overwritten"),
        ([(read, 0, 20), (write, 0, 20)], "a value that is written later"),
        ([(read, 0, 20), (read, 0, 20)], "two reads that vouch for each other"),
        ([(write, 1, 20), (read, 1, 20)], "an address beyond the array"),
        ([(write, -1, 20), (read, -1, 20)], "an address below zero"),
    ] {
        assert!(!some_history_holds(&[10], &accesses), "{why}");
    }
    assert!(!some_history_holds(&[10, 20], &[(read, 0, 20)]), "a value of another address");
    assert!(!some_history_holds(&[], &[(write, 0, 0)]), "an array without cells");
}

#[test]
fn two_arrays_do_not_serve_each_other() {
    let both = |value: i64| {
        holds(|b| {
            let access = [(false, 0, value), (true, 0, 7)];
            let (first, accesses) = lay_out(b, &[101], &access);
            let (second, others) = lay_out(b, &[201], &[(false, 0, 201), (true, 0, 8)]);
            memory(b, &first, &accesses);
            memory(b, &second, &others);
        })
    };
    assert!(both(101));
    assert!(!both(201));
}

#[test]
fn an_access_to_an_array_that_is_written_takes_few_rows() {
    let rows = |count: usize| {
        let mut b = Builder::new(0, 12);
        let accesses: Vec<Plain> = (0..count).map(|i| (i % 2 == 0, 0, 5)).collect();
        let (cells, accesses) = lay_out(&mut b, &[5; 4], &accesses);
        memory(&mut b, &cells, &accesses);
        b.rows_with_waiting()
    };
    let each = (rows(200) - rows(100)) as f64 / 100.0;
    println!("{each} rows for each access");
    assert!(each < 8.0, "{each}");
}
