//! A small proof on any device.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Device;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, prove};
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

pub(crate) fn proof_of<D: Device>(device: &D, (layout, witness): (Layout, Witness)) -> Proof {
    let srs = Srs::development(layout.shape.log_n);
    let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
    let bases = Bases::new(device, &srs, &lagrange).expect("registered");
    let columns = layout.fixed_columns();
    let vk = setup(device, &bases, srs.id(), layout.shape, &columns).expect("key");
    let key = ProvingKey::new(device, vk, &columns).expect("key");
    let blinding = Blinding::On { seed: [7; 32] };
    let kind = TranscriptKind::Poseidon2;
    let proof = prove(device, &key, &bases, kind, &witness, blinding).expect("proof");
    verify(kind, &key.vk, &srs.tau_g2, &witness.public, &proof, None).expect("it verifies");
    proof
}
