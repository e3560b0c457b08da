//! PLONK with KZG over BN254: arithmetization, keys, prover, verifiers.
//!
//! No I/O, no clock, no runtime: a proof is a function of its inputs.
//!
//! A circuit is written with a [`builder::Builder`], which lays out rows and computes the witness at
//! once. [`key::setup`] commits to the circuit, [`prover::prove`] proves on any
//! [`Device`](rollmill_algebra::device::Device) (CPU, CUDA, wgpu, or your own), and
//! [`verifier::verify`] checks 3,424 bytes with one pairing product. [`solidity::generate`] writes the
//! same verifier as a contract.
//!
//! # Example
//! A secret `x` with `x³ + x + 5 = 35`:
//! ```
//! use rollmill_algebra::{CpuDevice, Fr};
//! use rollmill_plonk::builder::Builder;
//! use rollmill_plonk::key::{Bases, ProvingKey, setup};
//! use rollmill_plonk::prover::{Blinding, prove};
//! use rollmill_plonk::srs::Srs;
//! use rollmill_plonk::transcript::TranscriptKind;
//! use rollmill_plonk::verifier::verify;
//!
//! // One public input; limbs of 4 bits for range checks, which this circuit does not need.
//! let mut b = Builder::new(1, 4);
//! let x = b.witness(Fr::from(3u64));
//! let square = b.mul(x, x);
//! let y = b.mul_add(square, x, Fr::from(1u64), Some(x), Fr::from(5u64));
//! b.set_public(0, y);
//! let (layout, witness) = b.finish(None)?;
//!
//! // A development SRS, whose secret is public: for tests and development chains only.
//! let device = CpuDevice::default();
//! let log_n = layout.shape.log_n;
//! let srs = Srs::development(log_n);
//! let bases = Bases::new(&device, &srs, &srs.lagrange(log_n)?)?;
//! let columns = layout.fixed_columns();
//! let vk = setup(&device, &bases, srs.id(), layout.shape, &columns)?;
//! let key = ProvingKey::new(&device, vk.clone(), &columns)?;
//!
//! // The seed must be secret and fresh; the proof is zero-knowledge.
//! let (kind, blinding) = (TranscriptKind::Keccak, Blinding::On { seed: [7; 32] });
//! let proof = prove(&device, &key, &bases, kind, &witness, blinding)?;
//! assert_eq!(proof.to_bytes().len(), 3_424);
//! verify(kind, &vk, &srs.tau_g2, &[Fr::from(35u64)], &proof, None)?;
//! assert!(verify(kind, &vk, &srs.tau_g2, &[Fr::from(36u64)], &proof, None).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! `examples/cubic.rs` also verifies it on chain; `examples/hybrid.rs` is a device in about 100 lines.

pub mod analysis;
pub mod builder;
pub mod check;
mod commitment_check;
pub mod conformance;
pub mod gates;
pub mod key;
pub mod layout;
pub mod proof;
pub mod prover;
mod recycled;
pub mod resident;
mod rom;
mod row;
pub mod schedule;
pub mod shape;
pub mod solidity;
pub mod srs;
pub mod transcript;
pub mod verifier;
pub mod weaken;

pub use rollmill_algebra::G2Affine;
pub use rollmill_algebra::bytes::{G2_BYTES, g2_from_bytes, g2_to_bytes};

/// The generator G of the curve. The scalars of a pair are multiples of it.
pub fn generator() -> rollmill_algebra::G1Affine {
    <rollmill_algebra::G1Affine as ark_ec::AffineRepr>::generator()
}
