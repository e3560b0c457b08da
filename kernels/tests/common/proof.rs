//! A small proof on any device.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Device;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, Budget, ProvingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, ProveError, prove};
use rollmill_plonk::shape::{QUOTIENT_CHUNKS, fixed};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

/// A circuit with arithmetic, ranges, hashes and the ROM.
pub(crate) fn circuit(cell_bits: u32, log_n: Option<u32>) -> (Layout, Witness) {
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
    b.finish(log_n).expect("fits")
}

pub(crate) fn proof_on<D: Device>(device: &D, cell_bits: u32) -> Proof {
    proof_of(device, circuit(cell_bits, None))
}

pub(crate) fn proof_of<D: Device>(device: &D, circuit: (Layout, Witness)) -> Proof {
    Ready::new(device, circuit, 0).prove().expect("proof")
}

/// Keys and a witness on a device.
pub(crate) struct Ready<'a, D: Device> {
    device: &'a D,
    srs: Srs,
    bases: Bases<D>,
    pub(crate) key: ProvingKey<D>,
    witness: Witness,
}

impl<'a, D: Device> Ready<'a, D> {
    /// The key may keep so many bytes of what it could compute again.
    pub(crate) fn new(
        device: &'a D,
        (layout, witness): (Layout, Witness),
        kept_bytes: u64,
    ) -> Self {
        let srs = Srs::development(layout.shape.log_n);
        let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
        let bases = Bases::new(device, &srs, &lagrange).expect("registered");
        let columns = layout.fixed_columns();
        let vk = setup(device, &bases, srs.id(), layout.shape, &columns).expect("key");
        let key = ProvingKey::new(device, vk, &columns).expect("key");
        let key = key.with_budget(&Budget::new(kept_bytes));
        Self { device, srs, bases, key, witness }
    }

    pub(crate) fn prove(&self) -> Result<Proof, ProveError> {
        let blinding = Blinding::On { seed: [7; 32] };
        let kind = TranscriptKind::Poseidon2;
        let proof = prove(self.device, &self.key, &self.bases, kind, &self.witness, blinding)?;
        let (vk, public) = (&self.key.vk, &self.witness.public);
        verify(kind, vk, &self.srs.tau_g2, public, &proof, None).expect("it verifies");
        Ok(proof)
    }

    /// So many proofs at a time, each from a thread of its own.
    pub(crate) fn prove_at_once(&self, count: usize) -> Vec<Result<Proof, ProveError>> {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..count).map(|_| scope.spawn(|| self.prove())).collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }
}

/// Bytes of a key's columns on all cosets of the quotient.
pub(crate) fn all_cosets(log_n: u32) -> u64 {
    (QUOTIENT_CHUNKS * (fixed::COUNT + 1)) as u64 * (32 << log_n)
}
