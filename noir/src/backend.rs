//! Keys and proofs of Noir programs, on any device.

use rollmill_acir::artifact::{Function, Visibility};
use rollmill_acir::lower::{Options, lower};
use rollmill_acir::solve::{NoOracles, solve_while, witness_file};
use rollmill_acir::values::{check_return, decode_return, encode};
use rollmill_algebra::G2Affine;
use rollmill_algebra::device::Device;
use rollmill_circuits::maker::{self, MadeKey};
use rollmill_circuits::registry::{RegistryError, SRS_NAME};
use rollmill_circuits::store::Store;
use rollmill_plonk::check::check;
use rollmill_plonk::key::{Bases, ProvingKey, layout_digest};
use rollmill_plonk::layout::{FixedColumns, Layout};
use rollmill_plonk::prover::{Blinding, prove_while};
use rollmill_plonk::srs::{Origin, Srs, development_tau_g2};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier;
use serde_json::{Map, Value};

use crate::NoirError;
use crate::files::{KeyFile, ProofFile, field_text};

/// What makes keys and proofs.
#[derive(Debug)]
pub struct Backend<'a, D: Device> {
    /// Where the work runs.
    pub device: &'a D,
    /// Where the SRS is, and what is kept between runs.
    pub store: &'a dyn Store,
    /// The chain that the proofs are for: a development SRS is rejected on all but development chains.
    pub chain_id: u64,
}

/// How a proof is made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// How the circuit is laid out.
    pub options: &'a Options,
    /// The values of the parameters, by name.
    pub inputs: &'a Map<String, Value>,
    /// The key to prove with; without one it is made, or taken from the store.
    pub key: Option<&'a KeyFile>,
    /// Which hash makes the challenges.
    pub transcript: TranscriptKind,
    /// Random and secret: it hides the witness.
    pub seed: [u8; 32],
}

impl<D: Device> Backend<'_, D> {
    /// The key of a function.
    ///
    /// # Errors
    /// Those of the artifact, of its rows, of the SRS, the store and the device.
    pub fn key(&self, function: &Function, options: &Options) -> Result<KeyFile, NoirError> {
        let layout = lower(function.circuit()?, None, options)?.builder.layout(None)?;
        tracing::info!(rows = layout.rows_used, log_n = layout.shape.log_n, "circuit laid out");
        let srs = self.srs(layout.shape.log_n)?;
        let MadeKey { vk, rows_used, layout_digest } = self.made(&srs, &layout)?;
        Ok(KeyFile {
            function: function.name.clone(),
            rows: rows_used,
            layout_digest,
            tau_g2: srs.tau_g2,
            vk,
        })
    }

    /// A proof that a function accepts its inputs, verified before it is returned. `goes_on` is asked between the
    /// opcodes of the program and between the rounds of the proof.
    ///
    /// # Errors
    /// Those of the inputs and of the program, of the SRS, the store and the device; [`NoirError::OtherProgram`] and
    /// [`NoirError::OtherSrs`] for a key that does not belong to the program; [`NoirError::Wrong`] for a device that
    /// computes wrongly; [`NoirError::Stopped`] once `goes_on` returns false.
    pub fn prove(
        &self,
        function: &Function,
        order: &Order<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<ProofFile, NoirError> {
        let inputs = encode(function, order.inputs)?;
        let witness = solve_while(function, inputs, &mut NoOracles, goes_on)?;
        check_return(function, order.inputs, &witness)?;
        let is_public = |visibility: Visibility| visibility == Visibility::Public;
        let returned = match &function.abi.returns {
            Some(returns) if is_public(returns.visibility) => decode_return(function, &witness)?,
            _ => None,
        };
        tracing::info!("witness computed");
        let lowered = lower(function.circuit()?, Some(&witness), order.options)?;
        let (layout, rows) = lowered.builder.finish(None)?;
        let log_n = layout.shape.log_n;
        tracing::info!(rows = layout.rows_used, log_n, "circuit laid out");
        let srs = self.srs(log_n)?;
        let columns = layout.fixed_columns();
        let vk = match order.key {
            Some(key) => {
                require_belongs(key, &columns, &layout, &srs)?;
                key.vk.clone()
            }
            None => self.made(&srs, &layout)?.vk,
        };
        drop(layout);
        let points = maker::lagrange(self.store, &srs, log_n)?;
        let bases = Bases::new(self.device, &srs, &points)?;
        let key = ProvingKey::new(self.device, vk, &columns)?;
        tracing::info!("proving key loaded");
        let (kind, blinding) = (order.transcript, Blinding::On { seed: order.seed });
        let proof = prove_while(self.device, &key, &bases, kind, &rows, blinding, goes_on)?;
        let verified = verifier::verify(kind, &key.vk, &srs.tau_g2, &rows.public, &proof, None);
        if let Err(error) = verified {
            // The rows are checked only now: it takes a third of the time of a proof, and the solver has checked the
            // program's assertions.
            let lowered = lower(function.circuit()?, Some(&witness), order.options)?;
            check(&lowered.builder.finish(None)?.0, &rows)?;
            let reason = rollmill_errors::Bare(&error).to_string();
            return Err(NoirError::Wrong { device: self.device.name(), reason });
        }
        tracing::info!("proof verified");
        let key_digest = key.vk.digest();
        Ok(ProofFile { transcript: kind, key_digest, public: rows.public, proof, returned })
    }

    /// The SRS in the store, or on a development chain one that is made, if the store has none that is long enough.
    /// That one is not stored, because other programs expect theirs to be as long as the rollup's circuits need.
    fn srs(&self, log_n: u32) -> Result<Srs, RegistryError> {
        if let Some(bytes) = self.store.get(SRS_NAME)? {
            let srs = Srs::from_bytes(&bytes)?;
            srs.require_ceremony(self.chain_id)?;
            if srs.origin == Origin::Ceremony {
                srs.require_secret()?;
                srs.require(1 << log_n)?;
            }
            if srs.require(1 << log_n).is_ok() {
                return Ok(srs);
            }
        }
        // Checked first, because making a long one takes minutes.
        require_chain(&development_tau_g2(), self.chain_id)?;
        tracing::info!(log_n, "development SRS missing or too short, generation started");
        let srs = Srs::development(log_n);
        tracing::info!(log_n, "development SRS generated");
        Ok(srs)
    }

    /// The key of a layout, made or taken from the store after a check.
    fn made(&self, srs: &Srs, layout: &Layout) -> Result<MadeKey, RegistryError> {
        let again = || Ok::<_, RegistryError>(layout.clone());
        let layouts: [&dyn Fn() -> Result<Layout, RegistryError>; 1] = [&again];
        let heard = |_: usize, reused: bool| match reused {
            true => tracing::info!("verification key taken from the store"),
            false => tracing::info!("verification key made"),
        };
        let mut made = maker::make(self.device, srs, self.store, &layouts, &heard)?;
        Ok(made.pop().expect("there is one key for each layout"))
    }
}

/// The witness of a function as a file that other provers of Noir programs read. `goes_on` is asked between the opcodes
/// of the program.
///
/// # Errors
/// Those of the inputs and of the program.
pub fn witness(
    function: &Function,
    inputs: &Map<String, Value>,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<u8>, NoirError> {
    let encoded = encode(function, inputs)?;
    let witness = solve_while(function, encoded, &mut NoOracles, goes_on)?;
    check_return(function, inputs, &witness)?;
    Ok(witness_file(witness)?)
}

/// Checks that a key was made for this layout and this SRS. The commitments themselves are not compared: with false
/// ones the proof does not verify, which is checked.
fn require_belongs(
    key: &KeyFile,
    columns: &FixedColumns,
    layout: &Layout,
    srs: &Srs,
) -> Result<(), NoirError> {
    let is_of_layout =
        key.vk.shape == layout.shape && key.layout_digest == layout_digest(&layout.shape, columns);
    if !is_of_layout {
        return Err(NoirError::OtherProgram { key: key.digest() });
    }
    match key.tau_g2 == srs.tau_g2 {
        true => Ok(()),
        false => Err(NoirError::OtherSrs { key: key.digest() }),
    }
}

/// Rejects the development SRS on all but development chains: its τ is public, so anyone can prove anything under it.
fn require_chain(tau_g2: &G2Affine, chain_id: u64) -> Result<(), RegistryError> {
    if *tau_g2 == development_tau_g2() {
        // Its length does not matter here.
        Srs::development_of(1).require_ceremony(chain_id)?;
    }
    Ok(())
}

/// Verifies a proof for a chain. The key decides what the proof is about: get it, or its digest, from a source that
/// you trust.
///
/// # Errors
/// [`NoirError::Registry`] for a key under the development SRS on a chain with value, [`NoirError::OtherKey`] and
/// [`NoirError::Verify`]
pub fn verify(key: &KeyFile, proof: &ProofFile, chain_id: u64) -> Result<(), NoirError> {
    require_chain(&key.tau_g2, chain_id)?;
    if proof.key_digest != key.vk.digest() {
        let (proof, key) = (field_text(&proof.key_digest), key.digest());
        return Err(NoirError::OtherKey { proof, key });
    }
    let ProofFile { transcript, public, proof, .. } = proof;
    verifier::verify(*transcript, &key.vk, &key.tau_g2, public, proof, None)?;
    Ok(())
}
