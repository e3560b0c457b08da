//! The law of whole proofs, which complements the laws of the devices in
//! [`rollmill_algebra::conformance`]: key and proof of one circuit with one seed are the same bytes on
//! every device.

use ark_ff::PrimeField;
use rollmill_algebra::device::Device;
use rollmill_algebra::{CpuDevice, Fr};

use crate::builder::Builder;
use crate::key::{Bases, Budget, ProvingKey, setup};
use crate::layout::{FixedRow, Layout, Witness};
use crate::proof::Proof;
use crate::prover::{Blinding, ProveError, prove};
use crate::srs::Srs;
use crate::transcript::TranscriptKind;
use crate::verifier::verify;

/// A circuit with arithmetic, ranges, hashes and the ROM, in `2^log_n` rows or as few as fit it.
///
/// # Panics
/// When it does not fit.
pub fn circuit(cell_bits: u32, log_n: Option<u32>) -> (Layout, Witness) {
    let mut b = Builder::new(2, cell_bits);
    let x = b.witness(Fr::from(3u64));
    let y = b.witness(Fr::from(5u64));
    b.set_public(0, x);
    let product = b.mul(x, y);
    let terms: Vec<_> = (1..12u64).map(|i| (Fr::from(i), if i % 2 == 0 { x } else { y })).collect();
    let sum = b.linear(&terms, Fr::from(7u64));
    b.range(product, 32);
    let digest = b.hash(9, &[x, y, product, sum]);
    b.set_public(1, digest);
    let id = b.constant_u64(1);
    let address = b.constant_u64(4);
    b.rom_write(id, address, [x, y, product, sum], [sum, digest, x, x]);
    let copy = b.add(address, Builder::ZERO);
    let row = b.raw_row([copy, x, y, id], &FixedRow::read([Fr::from(0u64); 8]), [0; 8]);
    b.raw_row([x, y, product, sum], &FixedRow::blank(), [0; 8]);
    b.raw_row([sum, digest, x, x], &FixedRow::blank(), [0; 8]);
    b.note_read(row, id, copy);
    b.finish(log_n).expect("the circuit fits")
}

/// A circuit that fills its rows with hashes, ranges and products, about as a recursive verifier does, so that its
/// columns are as full as those of a rollup's proof.
///
/// # Panics
/// When there are too few rows for it: below 2^10.
pub fn full_circuit(log_n: u32) -> (Layout, Witness) {
    let cell_bits = 16.min(log_n - 1);
    // A range takes four cells, and a part of it still has to be a number of 64 bits.
    let bits = 4 * cell_bits;
    let mut b = Builder::new(2, cell_bits);
    let start = b.witness(Fr::from(3u64));
    b.set_public(0, start);
    let mut x = start;
    for i in 0..(1usize << log_n) / 4 {
        if i % 8 == 0 {
            x = b.hash(9, &[x, x]);
        }
        let low = b.value(x).into_bigint().0[0] & (u64::MAX >> (64 - bits));
        let low = b.witness(Fr::from(low));
        b.range(low, bits);
        x = b.mul(x, low);
    }
    b.set_public(1, x);
    b.finish(Some(log_n)).expect("the circuit fits")
}

/// A circuit's key and witness, ready to be proven on a device.
#[derive(Debug)]
pub struct Ready<'a, D: Device> {
    device: &'a D,
    srs: Srs,
    bases: Bases<D>,
    pub key: ProvingKey<D>,
    witness: Witness,
}

impl<'a, D: Device> Ready<'a, D> {
    /// The key may keep so many bytes of what it could compute again.
    ///
    /// # Panics
    /// When the device fails.
    pub fn new(device: &'a D, (layout, witness): (Layout, Witness), kept_bytes: u64) -> Self {
        let log_n = layout.shape.log_n;
        let srs = Srs::development(log_n);
        let lagrange = srs.lagrange(log_n).expect("the SRS is long enough");
        let bases = Bases::new(device, &srs, &lagrange).expect("bases");
        let columns = layout.fixed_columns();
        let vk = setup(device, &bases, srs.id(), layout.shape, &columns).expect("verifying key");
        let key = ProvingKey::new(device, vk, &columns).expect("proving key");
        let key = key.with_budget(&Budget::new(kept_bytes));
        Self { device, srs, bases, key, witness }
    }

    /// The blinded proof, always of one seed.
    ///
    /// # Panics
    /// When the verifier rejects it.
    pub fn prove(&self) -> Result<Proof, ProveError> {
        let kind = TranscriptKind::Poseidon2;
        let blinding = Blinding::On { seed: [7; 32] };
        let proof = prove(self.device, &self.key, &self.bases, kind, &self.witness, blinding)?;
        let (vk, public) = (&self.key.vk, &self.witness.public);
        if let Err(error) = verify(kind, vk, &self.srs.tau_g2, public, &proof, None) {
            panic!("device {} makes a proof that does not verify: {error}", self.device.name());
        }
        Ok(proof)
    }

    /// So many proofs at a time, each from a thread of its own.
    ///
    /// # Panics
    /// When the verifier rejects one.
    pub fn prove_at_once(&self, count: usize) -> Vec<Result<Proof, ProveError>> {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..count).map(|_| scope.spawn(|| self.prove())).collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }
}

/// The verifying key's bytes and the blinded proof of a circuit on a device.
///
/// # Panics
/// When the device fails, or the verifier rejects the proof.
pub fn prove_on<D: Device>(device: &D, circuit: (Layout, Witness)) -> (Vec<u8>, Proof) {
    let ready = Ready::new(device, circuit, 0);
    let proof = ready.prove().expect("a proof");
    (ready.key.vk.to_bytes(), proof)
}

/// Key and proof are, byte for byte, those of the CPU's portable path.
///
/// # Panics
/// When they are not, or cannot be made.
pub fn proof_is_the_cpus<D: Device>(device: &D) {
    let (key, proof) = prove_on(device, circuit(8, None));
    let (expected_key, expected) = prove_on(&CpuDevice::portable(0), circuit(8, None));
    assert!(key == expected_key, "device {} makes another key", device.name());
    assert!(
        proof.to_bytes() == expected.to_bytes(),
        "device {} makes another proof",
        device.name()
    );
}
