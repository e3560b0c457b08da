//! Whole proofs: a circuit that fills its rows as a recursive verifier does, and every circuit of the
//! rollup.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rollmill_algebra::Fr;
use rollmill_algebra::device::{Device, Memory};
use rollmill_circuits::Circuit;
use rollmill_circuits::registry::{Keys, load_key_set, measure};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, Budget, ProvingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

use crate::counted::Counted;
use crate::floor::Work;
use crate::measure::{Bench, Case};
use crate::{BenchError, Subject, mix, peers};
use rollmill_agent::Config;

/// Bytes of a proof and its key per row: twelve wires, five chunks of the quotient, fixed columns.
const BYTES_PER_ROW: u64 = 5 << 10;
/// A larger SRS takes minutes to generate, even on many cores.
const LOG_ROWS_MAX: u32 = 22;
/// Smaller sizes only measure the start of threads.
const LOG_ROWS_MIN: u32 = 10;
/// Proofs that each place in flight makes in a run, so that a run is mostly steady.
const PROOFS_EACH: usize = 3;
/// Runs with several proofs in flight: each is a mean of many proofs already.
const RUNS_IN_FLIGHT: usize = 3;

fn other<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> BenchError {
    let what = what.into();
    move |error| BenchError::Failed { what, reason: error.to_string() }
}

pub(crate) fn run<D: Subject>(
    bench: &mut Bench<'_>,
    device: D,
    config: &Config,
    srs: Option<Srs>,
) -> Result<(), BenchError> {
    let in_flight = bench.plan.in_flight(device.cuda().is_some());
    let device = Counted::waiting(device, D::wait);
    if bench.plan.wants("proof") {
        let sizes = proof_sizes(&bench.plan.sizes)?;
        for log_n in sizes {
            bench.go_on()?;
            synthetic(bench, &device, config, log_n, &in_flight)?;
        }
    }
    match srs {
        Some(srs) if bench.plan.wants("circuit") => circuits(bench, device, config, srs),
        _ => Ok(()),
    }
}

/// The requested sizes that a proof of this bench can have.
fn proof_sizes(requested: &RangeInclusive<u32>) -> Result<RangeInclusive<u32>, BenchError> {
    let (from, to) = ((*requested.start()).max(LOG_ROWS_MIN), (*requested.end()).min(LOG_ROWS_MAX));
    match from <= to {
        true => Ok(from..=to),
        false => Err(BenchError::Argument {
            what: "sizes",
            expected: format!("some of the sizes of proofs, {LOG_ROWS_MIN}..{LOG_ROWS_MAX}"),
            got: format!("{}..{}", requested.start(), requested.end()),
        }),
    }
}

/// The circuit of the bench in our own rows, with its witness.
///
/// # Errors
/// [`BenchError::Failed`] for a size that the circuit does not fit in.
pub fn fill(log_n: u32) -> Result<(Layout, Witness), BenchError> {
    let mut b = Builder::new(2, mix::cell_bits(log_n));
    let start = b.witness(Fr::from(mix::START));
    b.set_public(0, start);
    let end = mix::lay(&mut b, start, log_n);
    b.set_public(1, end);
    b.finish(Some(log_n)).map_err(other(format!("a circuit of 2^{log_n} rows")))
}

fn synthetic<D: Device>(
    bench: &mut Bench<'_>,
    device: &Counted<D>,
    config: &Config,
    log_n: u32,
    in_flight: &[usize],
) -> Result<(), BenchError> {
    let name = format!("proof 2^{log_n}");
    bench.require_memory(&name, BYTES_PER_ROW << log_n)?;
    let (layout, witness) = fill(log_n)?;
    let srs = Srs::development(log_n);
    let lagrange = srs.lagrange(log_n).map_err(other(&name))?;
    let bases = Bases::new(device, &srs, &lagrange).map_err(other(&name))?;
    let columns = layout.fixed_columns();
    let vk = setup(device, &bases, srs.id(), layout.shape, &columns).map_err(other(&name))?;
    let key = ProvingKey::new(device, vk, &columns).map_err(other(&name))?;
    let key = key.with_budget(&Budget::new(config.key_cache_bytes(device.memory_bytes())));
    let rows_used = layout.rows_used;
    let tau_g2 = srs.tau_g2;
    // Memory that a proof does not need must not count.
    drop((layout, columns, srs, lagrange));
    let kind = TranscriptKind::Poseidon2;
    let once = || {
        prove(device, &key, &bases, kind, &witness, Blinding::Off)
            .map_err(other(format!("proof 2^{log_n}")))
    };

    let proof = once()?;
    let right = verify(kind, &key.vk, &tau_g2, &witness.public, &proof, None).is_ok();
    if !right {
        return Err(BenchError::Wrong { what: name, implementation: "rollmill".to_owned() });
    }
    // The first proof filled the key's cache.
    let (counted, accounts) = device.account(once);
    counted?;
    let mut work = Work::default();
    for (operation, account) in accounts {
        work += account.work;
        let floor = account.work.seconds(&bench.results.ceilings);
        eprintln!(
            "bench:   of {name}: {operation:<10} {:>4} calls {:>8.3} s, floor {floor:.3} s",
            account.calls, account.seconds
        );
    }
    let case = Case { group: "proof", name, n: 1 << log_n, work };
    let runs = bench.plan.proof_runs;
    bench.time(&case, "rollmill", runs, once)?;
    for count in in_flight {
        several(bench, &case, *count, &once)?;
    }
    match (bench.peers.barretenberg.clone(), witness.public[..].try_into()) {
        (Some(bb), Ok(public)) => peers::barretenberg::proof(bench, &bb, log_n, rows_used, public),
        _ => Ok(()),
    }
}

/// Seconds per proof with `count` proofs in flight, each place making one after the other.
fn several(
    bench: &mut Bench<'_>,
    of: &Case,
    count: usize,
    once: &(impl Fn() -> Result<Proof, BenchError> + Sync),
) -> Result<(), BenchError> {
    let proofs = count * PROOFS_EACH;
    let run = || {
        let started = AtomicUsize::new(0);
        let place = || {
            while started.fetch_add(1, Ordering::Relaxed) < proofs {
                once()?;
            }
            Ok::<(), BenchError>(())
        };
        std::thread::scope(|scope| {
            let places: Vec<_> = (0..count).map(|_| scope.spawn(place)).collect();
            places.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| {
                    let (what, reason) = (of.name.clone(), "a thread panicked".to_owned());
                    Err(BenchError::Failed { what, reason })
                })
            })
        })
    };
    // The first proofs at a time take memory that later ones find.
    run()?;
    let mut taken = bench.take(bench.plan.proof_runs.min(RUNS_IN_FLIGHT), run)?;
    taken.seconds.iter_mut().for_each(|seconds| *seconds /= proofs as f64);
    let per_second = taken.seconds.iter().map(|seconds| 1.0 / seconds).fold(0.0, f64::max);
    let name = format!("{}, {count} in flight", of.name);
    eprintln!("bench:   of {name}: {per_second:.2} proofs a second at best");
    let case = Case { group: "proof", name, n: of.n, work: of.work };
    bench.record(&case, "rollmill", taken, None);
    bench.was_in_flight(count);
    Ok(())
}

fn circuits<D: Device>(
    bench: &mut Bench<'_>,
    device: Counted<D>,
    config: &Config,
    srs: Srs,
) -> Result<(), BenchError> {
    let store = Arc::new(DirStore::new(cache_dir(config.keys_dir.as_deref())));
    let set = load_key_set(store.as_ref()).map_err(other("the keys of the circuits"))?;
    // One resident key at a time, so that the peak of memory is a circuit's own.
    let device = Arc::new(device);
    let keys = Keys::new(device.clone(), set, srs, store, 1).map_err(other("the keys"))?;
    let keys = keys.with_cache(config.key_cache_bytes(device.memory_bytes()));
    let clock = Instant::now();
    for circuit in Circuit::ALL {
        let rows = 1u64 << keys.set().key(circuit).vk.shape.log_n;
        bench.go_on()?;
        bench.require_memory(circuit.name(), BYTES_PER_ROW * rows)?;
        let failed = || other(circuit.name());
        keys.proving_key(circuit).map_err(failed())?;
        let once = || measure(&keys, circuit, &|| clock.elapsed()).map_err(failed());
        once()?;
        let (counted, accounts) = device.account(once);
        counted?;
        let mut work = Work::default();
        accounts.values().for_each(|account| work += account.work);
        let case = Case {
            group: "circuit",
            name: format!("circuit {}, witness and proof", circuit.name()),
            n: rows,
            work,
        };
        let runs = bench.plan.proof_runs;
        bench.time(&case, "rollmill", runs, once)?;
    }
    Ok(())
}
