//! A small circuit's key and proof.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Device;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

fn circuit() -> (Layout, Witness) {
    let mut b = Builder::new(2, 8);
    let x = b.witness(Fr::from(3u64));
    let y = b.witness(Fr::from(5u64));
    b.set_public(0, x);
    let product = b.mul(x, y);
    b.range(product, 32);
    let digest = b.hash(7, &[x, y, product]);
    b.set_public(1, digest);
    b.finish(None).expect("the circuit fits")
}

/// The bytes of key and proof, which holds.
pub(crate) fn make<D: Device>(device: &D) -> (Vec<u8>, Vec<u8>) {
    let (layout, witness) = circuit();
    let log_n = layout.shape.log_n;
    let srs = Srs::development(log_n);
    let lagrange = srs.lagrange(log_n).expect("the string is long enough");
    let bases = Bases::new(device, &srs, &lagrange).expect("bases");
    let columns = layout.fixed_columns();
    let vk = setup(device, &bases, srs.id(), layout.shape, &columns).expect("verifying key");
    let key = ProvingKey::new(device, vk, &columns).expect("proving key");
    let kind = TranscriptKind::Poseidon2;
    let blinding = Blinding::On { seed: [7; 32] };
    let proof = prove(device, &key, &bases, kind, &witness, blinding).expect("a proof");
    assert_eq!(verify(kind, &key.vk, &srs.tau_g2, &witness.public, &proof, None), Ok(()));
    (key.vk.to_bytes(), proof.to_bytes())
}
