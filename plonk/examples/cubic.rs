//! Proves that a secret `x` satisfies `x³ + x + 5 = 35`, verifies the proof, and writes a forge project
//! with a Solidity verifier of the same circuit and the proof.
//!
//! ```sh
//! cargo run -p rollmill-plonk --example cubic -- /tmp/cubic
//! node contracts/forge.js test --root /tmp/cubic     # after `make setup`: an EVM verifies the proof
//! ```
//!
//! The key is made from a development SRS, whose secret is public: such a verifier accepts proofs on
//! development chains only. For a chain with value import the SRS of a ceremony (`Srs::import_ptau`).

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rollmill_algebra::bytes::fr_to_bytes;
use rollmill_algebra::{CpuDevice, Fr};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::solidity;
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;

/// The EVM hashes Keccak-256 cheaply, so a proof for a contract draws its challenges with it.
const TRANSCRIPT: TranscriptKind = TranscriptKind::Keccak;

/// What the prover made: everything a verifier needs.
#[derive(Debug)]
pub struct Proven {
    pub vk: VerifyingKey,
    pub srs: Srs,
    /// The public inputs: the value of `x³ + x + 5`.
    pub public: Vec<Fr>,
    pub proof: Proof,
}

/// The circuit, with its witness. It makes the same rows for every `x`.
pub fn circuit(x: u64) -> Result<(Layout, Witness), Box<dyn Error>> {
    // One public input; range checks work on limbs of 4 bits, of which this circuit has none.
    let mut b = Builder::new(1, 4);
    let x = b.witness(Fr::from(x));
    let square = b.mul(x, x);
    // x² · x · 1 + x + 5 in one row.
    let y = b.mul_add(square, x, Fr::from(1u64), Some(x), Fr::from(5u64));
    b.set_public(0, y);
    Ok(b.finish(None)?)
}

/// Makes keys and a zero-knowledge proof for `x` on the CPU, and verifies it.
pub fn prove_cubic(x: u64, seed: [u8; 32]) -> Result<Proven, Box<dyn Error>> {
    let (layout, witness) = circuit(x)?;
    // Names the row and the gate when the witness does not satisfy the circuit.
    check(&layout, &witness)?;

    let device = CpuDevice::default();
    let log_n = layout.shape.log_n;
    let srs = Srs::development(log_n);
    let bases = Bases::new(&device, &srs, &srs.lagrange(log_n)?)?;
    let columns = layout.fixed_columns();
    let vk = setup(&device, &bases, srs.id(), layout.shape, &columns)?;
    let key = ProvingKey::new(&device, vk.clone(), &columns)?;

    let blinding = Blinding::On { seed };
    let proof = prove(&device, &key, &bases, TRANSCRIPT, &witness, blinding)?;
    verify(TRANSCRIPT, &vk, &srs.tau_g2, &witness.public, &proof, None)?;
    Ok(Proven { vk, srs, public: witness.public, proof })
}

/// Writes a forge project to `out`: verifier, proof and a test that asks the one about the other.
pub fn write_project(proven: &Proven, out: &Path) -> Result<(), Box<dyn Error>> {
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts").canonicalize()?;
    let compiler = contracts.join("solcw.js");
    let config = format!(
        "[profile.default]\nsolc = \"{}\"\noffline = true\nevm_version = \"osaka\"\nvia_ir = true\noptimizer = true\n",
        compiler.display()
    );
    let verifier = solidity::generate(&proven.vk, &proven.srs.tau_g2, "Cubic", None);
    let literal = |bytes: &[u8]| format!("hex\"{}\"", hex::encode(bytes));
    let public: Vec<u8> = proven.public.iter().flat_map(fr_to_bytes).collect();
    let test = include_str!("cubic.t.sol.template")
        .replace("{{PROOF}}", &literal(&proven.proof.to_bytes()))
        .replace("{{PUBLIC}}", &literal(&public));
    fs::create_dir_all(out.join("src"))?;
    fs::create_dir_all(out.join("test"))?;
    fs::write(out.join("foundry.toml"), config)?;
    fs::write(out.join("src/IVerifier.sol"), solidity::INTERFACE)?;
    fs::write(out.join("src/Cubic.sol"), verifier)?;
    fs::write(out.join("test/Cubic.t.sol"), test)?;
    Ok(())
}

#[allow(dead_code)] // A test uses the parts of this example.
fn main() -> Result<(), Box<dyn Error>> {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("usage: cubic OUT_DIRECTORY".into());
    };
    // A real prover draws the seed from the system's random source and keeps it secret.
    let proven = prove_cubic(3, rand::random())?;
    write_project(&proven, &out)?;
    println!("x³ + x + 5 = {} is proven for a secret x and verified.", proven.public[0]);
    println!("{} bytes of proof; project in {}", proven.proof.to_bytes().len(), out.display());
    Ok(())
}
