//! False statements, each rejected by one constraint: no other test would notice if the constraint
//! were not there.

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::device::{DeviceError, Memory, Vector};
use rollmill_algebra::field::{omega, powers};
use rollmill_plonk::gates::{Cells, Challenges, Constants, Gate, Sink, constraints};
use rollmill_plonk::prover::{ARGUMENT_COLUMNS, Blinding, Poly, Probe, prove_with};
use rollmill_plonk::shape::{BLINDING_ROWS, ROUTED, WIRES};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::VerifyError;
use rollmill_plonk::weaken::of_constraint;
use rollmill_plonk_testing::cheats::{Cheat, Cheater};
use rollmill_plonk_testing::statements;
use rollmill_plonk_testing::statements::{KINDS, Setting, all, circuit, violations};

/// A cheating prover's columns, at every row, and its challenges.
struct Recorder {
    cheater: Cheater,
    challenges: Option<Challenges<Fr>>,
    /// By row, then by column: wires, m, z, h0, h1, s.
    rows: Vec<Vec<Fr>>,
}

impl Probe<CpuDevice> for Recorder {
    fn challenges(&mut self, values: &mut [Fr]) {
        if let [eta, beta, gamma] = *values {
            self.challenges = Some(Challenges { eta, beta, gamma });
        }
    }
    fn arguments(
        &mut self,
        device: &CpuDevice,
        columns: &mut [<CpuDevice as Memory>::Buffer; ARGUMENT_COLUMNS],
    ) -> Result<(), DeviceError> {
        self.cheater.arguments(device, columns)
    }
    fn polynomials(
        &mut self,
        device: &CpuDevice,
        polys: &[Poly<CpuDevice>],
    ) -> Result<(), DeviceError> {
        if polys.len() == WIRES + 1 + ARGUMENT_COLUMNS {
            let n = polys[0].buffer_len(device)?;
            let polys: Vec<_> = polys.iter().collect();
            for x in powers(omega(n.trailing_zeros()), n) {
                self.rows.push(device.evaluate(&polys, x)?);
            }
        }
        Ok(())
    }
}

trait Length {
    fn buffer_len(&self, device: &CpuDevice) -> Result<usize, DeviceError>;
}

impl Length for Poly<CpuDevice> {
    fn buffer_len(&self, device: &CpuDevice) -> Result<usize, DeviceError> {
        Ok(device.download(&self.buffer)?.len())
    }
}

/// The equations that are not zero.
#[derive(Default)]
struct NonZero(std::collections::BTreeSet<String>);

impl Sink<Fr> for NonZero {
    fn group(&mut self, gate: Gate, selector: &Fr, terms: &[Fr]) {
        for (i, term) in terms.iter().enumerate() {
            if *selector * term != Fr::from(0u64) {
                self.0.insert(of_constraint(gate, i));
            }
        }
    }
    fn single(&mut self, gate: Gate, term: Fr) {
        self.group(gate, &Fr::from(1u64), &[term]);
    }
}

fn broken(rows: &[Vec<Fr>], challenges: Challenges<Fr>, made: &statements::Made) -> NonZero {
    let shape = made.layout.shape;
    let (n, usable) = (shape.n(), shape.usable_rows());
    let fixed = made.layout.fixed_columns();
    let constants = Constants::new(challenges, shape.cell_bits);
    let xs = powers(omega(shape.log_n), n);
    let flag = |on: bool| Fr::from(u64::from(on));
    let mut sink = NonZero::default();
    for row in 0..n {
        let at = |column: usize, r: usize| rows[(row + r) % n][column];
        const Z: usize = WIRES + 1;
        let cells = Cells {
            w: std::array::from_fn(|r| std::array::from_fn(|k| at(k, r))),
            l: std::array::from_fn(|r| std::array::from_fn(|k| at(ROUTED + k, r))),
            fixed: std::array::from_fn(|k| fixed[k][row]),
            m: at(WIRES, 0),
            h: [at(Z + 1, 0), at(Z + 2, 0)],
            z: [at(Z, 0), at(Z, 1)],
            s: [at(Z + 3, 0), at(Z + 3, 1)],
            x: xs[row],
            active: flag(row < n - BLINDING_ROWS),
            first: flag(row == 0),
            last: flag(row == usable),
            public: made.witness.public.get(row).copied().unwrap_or_default(),
        };
        constraints(&constants, &cells, &mut sink);
    }
    sink
}

#[test]
fn the_honest_statement_is_accepted() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    for kind in KINDS {
        let proof = setting.prove(kind, &made.witness, Cheat::None);
        assert_eq!(setting.decide(kind, &made.witness.public, &proof), Ok(()), "{kind:?}");
    }
}

/// Goal: each of the 53 constraints is held by a statement of its own. Method: every gate is evaluated on
/// every row with the columns and challenges of the cheating proof itself.
#[test]
fn each_violation_breaks_exactly_one_equation() {
    let setting = Setting::new(&circuit(None).layout);
    for statement in violations() {
        let made = statement.witness();
        let cheater = Cheater { cheat: statement.cheat, end: made.layout.shape.usable_rows() };
        let mut recorder = Recorder { cheater, challenges: None, rows: Vec::new() };
        let (kind, blinding) = (TranscriptKind::Poseidon2, Blinding::On { seed: [1; 32] });
        let Setting { device, key, bases, .. } = &setting;
        prove_with(device, key, bases, kind, &made.witness, blinding, &mut recorder)
            .expect("bytes");
        let challenges = recorder.challenges.expect("drawn");
        let broken = broken(&recorder.rows, challenges, &made).0;
        assert_eq!(broken.into_iter().collect::<Vec<_>>(), [&*statement.held_by], "{statement:?}");
    }
}

#[test]
fn each_false_statement_is_rejected() {
    let setting = Setting::new(&circuit(None).layout);
    for statement in all() {
        for kind in KINDS {
            let verdict = setting.verdict(kind, &statement);
            assert_eq!(verdict, Err(VerifyError::Quotient), "{kind:?}: {statement:?}");
        }
    }
}

#[test]
fn a_false_public_input_is_rejected() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    for kind in KINDS {
        for i in 0..made.witness.public.len() {
            let mut witness = made.witness.clone();
            witness.public[i] += Fr::from(1u64);
            let proof = setting.prove(kind, &witness, Cheat::None);
            assert_eq!(setting.decide(kind, &witness.public, &proof), Err(VerifyError::Quotient));
        }
    }
}
