//! Proofs of a small circuit that uses every gate but the non-native ones: accepted when honest,
//! rejected with any byte changed, equal for equal seeds.

use std::cell::Cell;
use std::sync::OnceLock;

use rayon::prelude::*;
use rollmill_algebra::Fr;
use rollmill_algebra::bytes::{FIELD_BYTES, fr_from_slice, fr_to_bytes};
use rollmill_algebra::cpu::{CpuDevice, CpuPath};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::{EVALUATIONS, PROOF_BYTES, Proof, ProofError};
use rollmill_plonk::prover::{Blinding, ProveError, prove, prove_while};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::{VerifyError, verify};

struct Fixture {
    device: CpuDevice,
    srs: Srs,
    bases: Bases<CpuDevice>,
    key: ProvingKey<CpuDevice>,
    witness: Witness,
}

fn toy(x: u64) -> (Layout, Witness) {
    let mut b = Builder::new(2, 8);
    let x = b.witness(Fr::from(x));
    let y = b.witness(Fr::from(5u64));
    b.set_public(0, x);
    let product = b.mul(x, y);
    let terms: Vec<_> = (1..12u64).map(|i| (Fr::from(i), if i % 2 == 0 { x } else { y })).collect();
    let sum = b.linear(&terms, Fr::from(7u64));
    let bit = b.bit(true);
    let chosen = b.select(bit, product, sum);
    b.range(chosen, 6);
    b.range(product, 32);
    let digest = b.hash(9, &[x, y, product, chosen]);
    b.set_public(1, digest);
    let id = b.constant_u64(1);
    let address = b.constant_u64(4);
    b.rom_write(id, address, [x, y, product, sum], [chosen, digest, bit, x]);
    let copy = b.add(address, Builder::ZERO);
    let row = b.raw_row([copy, x, y, id], &FixedRow::read([Fr::from(0u64); 8]), [0; 8]);
    b.raw_row([x, y, product, sum], &FixedRow::blank(), [0; 8]);
    b.raw_row([chosen, digest, bit, x], &FixedRow::blank(), [0; 8]);
    b.note_read(row, id, copy);
    b.finish(None).expect("fits")
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| Fixture::on(CpuDevice::new(2)))
}

impl Fixture {
    fn on(device: CpuDevice) -> Self {
        let (layout, witness) = toy(3);
        let srs = Srs::development(layout.shape.log_n);
        let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
        let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
        let columns = layout.fixed_columns();
        let vk = setup(&device, &bases, srs.id(), layout.shape, &columns).expect("key");
        let key = ProvingKey::new(&device, vk, &columns).expect("key");
        Self { device, srs, bases, key, witness }
    }
}

fn make(kind: TranscriptKind, witness: &Witness, seed: u8) -> Proof {
    let f = fixture();
    let blinding = Blinding::On { seed: [seed; 32] };
    prove(&f.device, &f.key, &f.bases, kind, witness, blinding).expect("proves")
}

fn decide(kind: TranscriptKind, public: &[Fr], proof: &Proof) -> Result<(), VerifyError> {
    let f = fixture();
    verify(kind, &f.key.vk, &f.srs.tau_g2, public, proof, None)
}

const KINDS: [TranscriptKind; 2] = [TranscriptKind::Poseidon2, TranscriptKind::Keccak];

#[test]
fn an_honest_proof_is_accepted_under_both_transcripts() {
    for kind in KINDS {
        let witness = &fixture().witness;
        let proof = make(kind, witness, 1);
        assert_eq!(decide(kind, &witness.public, &proof), Ok(()));
        assert_eq!(proof.to_bytes().len(), PROOF_BYTES);
        assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let witness = &fixture().witness;
    let kind = TranscriptKind::Poseidon2;
    assert_eq!(make(kind, witness, 1), make(kind, witness, 1));
    assert_ne!(make(kind, witness, 1).wires, make(kind, witness, 2).wires);
}

#[test]
fn checking_the_devices_msms_changes_no_byte() {
    let plain = fixture();
    let mut checked = Fixture::on(CpuDevice::new(2));
    checked.bases = checked.bases.with_checked_msms(true);
    let of = |f: &Fixture| {
        let (kind, blinding) = (TranscriptKind::Keccak, Blinding::On { seed: [4; 32] });
        prove(&f.device, &f.key, &f.bases, kind, &f.witness, blinding).expect("proves")
    };
    assert_eq!(of(&checked), of(plain));
}

/// The portable path is the twin with which every other path is compared, also that with other threads.
#[test]
fn keys_and_proofs_of_every_path_of_the_cpu_are_the_same_bytes() {
    let portable = Fixture::on(CpuDevice::portable(1));
    let others = CpuPath::ALL.into_iter().filter_map(|path| CpuDevice::on_path(path, 2));
    for other in others.map(Fixture::on) {
        let name = other.device.path();
        assert_eq!(portable.key.vk, other.key.vk, "{name}");
        for kind in KINDS {
            for blinding in [Blinding::Off, Blinding::On { seed: [9; 32] }] {
                let of = |f: &Fixture| {
                    prove(&f.device, &f.key, &f.bases, kind, &f.witness, blinding).expect("proves")
                };
                let proofs = [&portable, &other].map(|f| of(f).to_bytes());
                assert_eq!(proofs[0], proofs[1], "{name}, {kind:?}");
            }
        }
    }
}

#[test]
fn an_unblinded_proof_is_accepted() {
    let f = fixture();
    let kind = TranscriptKind::Poseidon2;
    let proof =
        prove(&f.device, &f.key, &f.bases, kind, &f.witness, Blinding::Off).expect("proves");
    assert_eq!(decide(kind, &f.witness.public, &proof), Ok(()));
}

#[test]
fn another_public_input_is_rejected() {
    let witness = &fixture().witness;
    let proof = make(TranscriptKind::Poseidon2, witness, 1);
    for i in 0..witness.public.len() {
        let mut public = witness.public.clone();
        public[i] += Fr::from(1u64);
        assert!(decide(TranscriptKind::Poseidon2, &public, &proof).is_err());
    }
    let short = &witness.public[..1];
    let rejected = decide(TranscriptKind::Poseidon2, short, &proof);
    assert_eq!(rejected, Err(VerifyError::PublicInputs { expected: 2, got: 1 }));
}

/// Goal: no bit of a public input or of a proof is idle. Method: flip each; what still decodes goes to
/// the verifier.
#[test]
fn every_flipped_byte_is_rejected() {
    let witness = &fixture().witness;
    let words = witness.public.len();
    for kind in KINDS {
        let mut good: Vec<u8> = witness.public.iter().flat_map(fr_to_bytes).collect();
        good.extend(make(kind, witness, 1).to_bytes());
        let verdict = |bytes: &[u8]| -> Option<Result<(), VerifyError>> {
            let (public, proof) = bytes.split_at(FIELD_BYTES * words);
            let public: Result<Vec<Fr>, _> =
                public.chunks(FIELD_BYTES).map(fr_from_slice).collect();
            Some(decide(kind, &public.ok()?, &Proof::from_bytes(proof).ok()?))
        };
        assert_eq!(verdict(&good), Some(Ok(())));
        let decoded: usize = (0..8 * good.len())
            .into_par_iter()
            .map(|bit| {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let verdict = verdict(&bytes);
                assert_ne!(verdict, Some(Ok(())), "{kind:?}: byte {}, bit {}", bit / 8, bit % 8);
                usize::from(verdict.is_some())
            })
            .sum();
        // A number has 254 bits: nearly every flip in one leaves a number, and the verifier must see it.
        assert!(decoded >= 250 * (words + EVALUATIONS), "{kind:?}: {decoded} were decoded");
    }
}

#[test]
fn a_proof_that_misses_a_byte_or_has_one_more_is_rejected() {
    let proof = make(TranscriptKind::Poseidon2, &fixture().witness, 1).to_bytes();
    for len in [0, 1, PROOF_BYTES / 2, PROOF_BYTES - 1] {
        assert_eq!(Proof::from_bytes(&proof[..len]), Err(ProofError::Length { got: len }));
    }
    for i in 0..PROOF_BYTES {
        let missing = [&proof[..i], &proof[i + 1..]].concat();
        assert_eq!(Proof::from_bytes(&missing), Err(ProofError::Length { got: PROOF_BYTES - 1 }));
    }
    let more = [&proof[..], &[0]].concat();
    assert_eq!(Proof::from_bytes(&more), Err(ProofError::Length { got: PROOF_BYTES + 1 }));
}

/// Goal: the arguments bind every cell. Method: change one cell of the witness after layout; the
/// prover still makes bytes, and the verifier rejects them.
#[test]
fn a_changed_cell_gives_no_valid_proof() {
    let f = fixture();
    let used = toy(3).0.rows_used;
    for (column, row) in [(0, 3), (3, 9), (5, used - 1), (4, 2), (1, used + 3), (8, 20)] {
        let mut witness = f.witness.clone();
        witness.wires[column][row] += Fr::from(300u64);
        let proof = make(TranscriptKind::Poseidon2, &witness, 1);
        let rejected = decide(TranscriptKind::Poseidon2, &witness.public, &proof);
        assert!(rejected.is_err(), "column {column} row {row}");
    }
    for row in [0, 3, 100] {
        let mut witness = f.witness.clone();
        witness.m[row] += Fr::from(1u64);
        let proof = make(TranscriptKind::Poseidon2, &witness, 1);
        let rejected = decide(TranscriptKind::Poseidon2, &witness.public, &proof);
        assert_eq!(rejected, Err(VerifyError::Quotient), "multiplicity {row}");
    }
}

#[test]
fn a_verifying_key_survives_its_encoding_and_no_shorter_one() {
    let vk = &fixture().key.vk;
    let bytes = vk.to_bytes();
    assert_eq!(VerifyingKey::from_bytes(&bytes).as_ref(), Ok(vk));
    assert!(VerifyingKey::from_bytes(&bytes[1..]).is_err());
}

/// Goal: a proof that nobody wants any more ends after the round that it is in, and one that is needed to its end is the
/// same as any other.
#[test]
fn a_proof_ends_after_the_round_in_which_nobody_wants_it_any_more() {
    let f = fixture();
    let kind = TranscriptKind::Poseidon2;
    let made = |goes_on: &dyn Fn() -> bool| {
        prove_while(&f.device, &f.key, &f.bases, kind, &f.witness, Blinding::Off, goes_on)
    };
    let asked = Cell::new(0);
    let all = made(&|| {
        asked.set(asked.get() + 1);
        true
    });
    let plain = prove(&f.device, &f.key, &f.bases, kind, &f.witness, Blinding::Off);
    assert!(all.unwrap().to_bytes() == plain.unwrap().to_bytes());
    let rounds = asked.take();
    assert!(rounds >= 4, "{rounds}");
    for wanted in 0..rounds {
        let stopped = made(&|| {
            asked.set(asked.get() + 1);
            asked.get() <= wanted
        });
        assert_eq!(stopped.err(), Some(ProveError::Stopped), "wanted for {wanted} rounds");
        assert_eq!(asked.take(), wanted + 1, "no further round follows");
    }
}
