//! Zero knowledge: what a verifier sees of a column is outnumbered by the random values in it, and no two
//! proofs share random values.

use std::collections::HashSet;

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::device::{DeviceError, Memory};
use rollmill_algebra::field::{batch_invert, omega};
use rollmill_plonk::layout::Witness;
use rollmill_plonk::proof::{COMMITMENTS, EVALUATIONS};
use rollmill_plonk::prover::{ARGUMENT_COLUMNS, Blinding, Poly, Probe, prove, prove_with};
use rollmill_plonk::shape::{LIMBS, QUOTIENT_CHUNKS, ROUTED, WIRES};
use rollmill_plonk::srs::development_tau;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk_testing::cheats::Cheat;
use rollmill_plonk_testing::statements::{KINDS, Setting, circuit};

/// Records blinding values, challenges and committed polynomials; raises one value, and keeps the
/// challenges of another run.
#[derive(Default)]
struct Tap {
    raise: Option<usize>,
    keep: Option<Vec<Vec<Fr>>>,
    drawn: Vec<Fr>,
    challenges: Vec<Vec<Fr>>,
    polys: Vec<Vec<Fr>>,
}

impl Probe<CpuDevice> for Tap {
    fn blinding(&mut self, index: usize, value: &mut Fr) {
        assert_eq!(index, self.drawn.len());
        if self.raise == Some(index) {
            *value += Fr::from(1u64);
        }
        self.drawn.push(*value);
    }
    fn challenges(&mut self, values: &mut [Fr]) {
        if let Some(keep) = &self.keep {
            values.copy_from_slice(&keep[self.challenges.len()]);
        }
        self.challenges.push(values.to_vec());
    }
    fn polynomials(
        &mut self,
        device: &CpuDevice,
        polys: &[Poly<CpuDevice>],
    ) -> Result<(), DeviceError> {
        for poly in polys {
            self.polys.push(device.download(&poly.buffer)?);
        }
        Ok(())
    }
}

fn tap(setting: &Setting, kind: TranscriptKind, witness: &Witness, seed: u8, mut tap: Tap) -> Tap {
    let Setting { device, key, bases, .. } = setting;
    let blinding = Blinding::On { seed: [seed; 32] };
    prove_with(device, key, bases, kind, witness, blinding, &mut tap).expect("bytes");
    tap
}

fn value(poly: &[Fr], x: Fr) -> Fr {
    poly.iter().rev().fold(Fr::from(0u64), |sum, c| sum * x + c)
}

/// Rank over the field, by elimination.
fn rank(mut rows: Vec<Vec<Fr>>) -> usize {
    let zero = Fr::from(0u64);
    let width = rows.first().map_or(0, Vec::len);
    let mut rank = 0;
    for column in 0..width {
        let Some(pivot) = (rank..rows.len()).find(|row| rows[*row][column] != zero) else {
            continue;
        };
        rows.swap(rank, pivot);
        let mut inverse = [rows[rank][column]];
        batch_invert(&mut inverse);
        let pivot = rows[rank].clone();
        for row in &mut rows[rank + 1..] {
            let factor = row[column] * inverse[0];
            row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
        }
        rank += 1;
    }
    rank
}

/// Random values in a committed column, in the order of sending, and how many values are seen of it: one
/// in its commitment, and its openings.
fn drawn_and_seen() -> Vec<(usize, usize)> {
    let routed = std::iter::repeat_n((6, 4), ROUTED);
    let limbs = std::iter::repeat_n((6, 3), LIMBS);
    routed.chain(limbs).chain([(6, 2), (5, 3), (6, 2), (6, 2), (5, 3)]).collect()
}

/// Goal: what is seen of a column is uniform. Method: the prover's own matrix, by differences: each random
/// value is raised by one while the challenges stay as they were. Commitments are taken as values at the
/// development τ, which is known.
#[test]
fn what_is_seen_of_each_column_is_hidden_by_as_many_random_values() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    let kind = TranscriptKind::Poseidon2;
    let base = tap(&setting, kind, &made.witness, 1, Tap::default());
    let columns = drawn_and_seen();
    assert_eq!(columns.len(), WIRES + 1 + ARGUMENT_COLUMNS);
    let of_columns: usize = columns.iter().map(|(drawn, _)| drawn).sum();
    const OF_CHUNKS: usize = 2 * (QUOTIENT_CHUNKS - 1);
    assert_eq!(base.drawn.len(), of_columns + OF_CHUNKS);
    let zeta = base.challenges[2][0];
    let w = omega(made.layout.shape.log_n);
    let points = [development_tau(), zeta, zeta * w, zeta * w * w];
    let seen = |tap: &Tap, column: usize, count: usize| -> Vec<Fr> {
        points[..count].iter().map(|x| value(&tap.polys[column], *x)).collect()
    };
    let raised = |index: usize| {
        let with =
            Tap { raise: Some(index), keep: Some(base.challenges.clone()), ..Tap::default() };
        tap(&setting, kind, &made.witness, 1, with)
    };
    let difference = |tap: &Tap, column: usize, count: usize| -> Vec<Fr> {
        let (new, old) = (seen(tap, column, count), seen(&base, column, count));
        new.iter().zip(old).map(|(new, old)| *new - old).collect()
    };

    let mut first = 0;
    for (column, (drawn, count)) in columns.iter().copied().enumerate() {
        assert!(count <= drawn, "column {column}: {count} seen, {drawn} drawn");
        let mut matrix = Vec::new();
        for index in first..first + drawn {
            let tap = raised(index);
            matrix.push(difference(&tap, column, count));
            // No other wire and no multiplicity has this value in it.
            for other in (0..=WIRES).filter(|other| *other != column) {
                assert_eq!(tap.polys[other], base.polys[other], "value {index}, column {other}");
            }
        }
        assert_eq!(rank(matrix), count, "column {column}");
        first += drawn;
    }
    let mut matrix = Vec::new();
    for index in first..first + OF_CHUNKS {
        let tap = raised(index);
        let chunks = (0..QUOTIENT_CHUNKS).map(|i| difference(&tap, columns.len() + i, 2));
        matrix.push(chunks.collect::<Vec<_>>().concat());
    }
    // Ten values are seen of the chunks; at ζ and at τ their sum is what the quotient is worth there.
    assert_eq!(rank(matrix), OF_CHUNKS, "the chunks");
}

/// Goal: nothing that can change a challenge leaves the blinding as it was; else two proofs would give
/// equations in the same unknowns.
#[test]
fn proofs_that_differ_in_anything_share_no_blinding_value() {
    let made = circuit(None);
    let mut setting = Setting::new(&made.layout);
    let [poseidon2, keccak] = KINDS;
    let one = Fr::from(1u64);
    let free = made.layout.rows_used + 2;
    let mut others = Vec::new();
    let mut wires = made.witness.clone();
    wires.wires[11][free] += one;
    others.push(("wires", wires));
    let mut m = made.witness.clone();
    m.m[3] += one;
    others.push(("m", m));
    let mut public = made.witness.clone();
    public.public[1] += one;
    others.push(("public inputs", public));

    let mut streams = vec![
        ("base", tap(&setting, poseidon2, &made.witness, 1, Tap::default()).drawn),
        ("transcript", tap(&setting, keccak, &made.witness, 1, Tap::default()).drawn),
        ("seed", tap(&setting, poseidon2, &made.witness, 2, Tap::default()).drawn),
    ];
    for (what, witness) in &others {
        streams.push((what, tap(&setting, poseidon2, witness, 1, Tap::default()).drawn));
    }
    setting.key.vk_digest += one;
    streams.push(("key", tap(&setting, poseidon2, &made.witness, 1, Tap::default()).drawn));
    let mut seen = HashSet::new();
    for (what, stream) in streams {
        for (i, value) in stream.into_iter().enumerate() {
            assert!(seen.insert(value), "another {what} gives value {i} a second time");
        }
    }
}

/// Necessary, and weak: after the first round everything differs because the challenges do.
#[test]
fn every_evaluation_and_every_point_differs_between_seeds() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    for kind in KINDS {
        let of = |seed: u8| {
            let Setting { device, key, bases, .. } = &setting;
            let blinding = Blinding::On { seed: [seed; 32] };
            prove(device, key, bases, kind, &made.witness, blinding).expect("a proof")
        };
        let (one, two) = (of(1), of(2));
        let (points, others) = (one.points(), two.points());
        assert_eq!(points.len(), COMMITMENTS + 2);
        let same = |i: &usize| points[*i] == others[*i];
        assert_eq!((0..points.len()).find(same), None, "{kind:?}: a point");
        let same = |i: &usize| one.evaluations[*i] == two.evaluations[*i];
        // The last value of the fixed columns' openings differs too, as ζ does.
        assert_eq!((0..EVALUATIONS).find(same), None, "{kind:?}: an evaluation");
        for proof in [&one, &two] {
            assert_eq!(setting.decide(kind, &made.witness.public, proof), Ok(()));
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_proof() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    for kind in KINDS {
        let of = || setting.prove(kind, &made.witness, Cheat::None);
        assert_eq!(of(), of());
    }
}
