//! The circuits that wallets prove: the built-in client and those of the private kernel. No job is of their families.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Device;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::key::{ProvingKey, setup};
use rollmill_plonk::prover::Blinding;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::note::ViewingKey;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{
    ChargedRows, Circuit, ClientInputs, Constants, EthAddress, Header, Note, Pair,
};

use super::input::{Job, RangeData, zero, zeros};
use super::{JobError, Output};
use crate::circuit::{log_n, transcript};
use crate::client::{self, AccountKeys, ClientWitness, InputNote, Payer};
use crate::keyset::KeySet;
use crate::private;
use crate::registry::{Keys, RegistryError};

/// The input of a job that cannot exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoJob {}

impl Job for NoJob {
    fn circuit(&self) -> Circuit {
        match *self {}
    }

    fn children(&self) -> &[Output] {
        match *self {}
    }

    fn of(_: &dyn RangeData, _: Subject, _: Vec<Output>) -> Result<Option<Self>, JobError> {
        Ok(None)
    }

    fn write(&self, _: &mut Writer) {
        match *self {}
    }

    fn read(_: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        Err(JobError::Kind { got: circuit.name().to_owned() })
    }

    fn expected(&self, _: &ChargedRows, _: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        match *self {}
    }

    fn build(&self, _: &KeySet) -> Result<Builder, JobError> {
        match *self {}
    }

    fn dummy(circuit: Circuit) -> Builder {
        private::dummy(circuit).unwrap_or_else(transfer)
    }
}

/// The built-in client over placeholders.
fn transfer() -> Builder {
    let note = Note { owner: zero(), value: 0, randomness: zero() };
    let viewing = ViewingKey { x: zero(), y: zero() };
    let witness = ClientWitness {
        sender: AccountKeys { nsk: zero(), viewing },
        anchor: zeros!(Header),
        inputs: [InputNote::dummy(zero()), InputNote::dummy(zero())],
        outputs: [note; 2],
        tags: [zero(); SLOTS],
        log_hashes: [zero(); SLOTS],
        payer: Payer::Notes { owner: zero(), randomness: zero() },
        gas: GasSettings::default(),
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        expiry_slot: 0,
        vk_root: zero(),
    };
    client::build(&witness)
}

/// Proves a transfer, blinded by `seed`, which must be secret and fresh. Returns the proof.
///
/// # Errors
/// As [`prove_blinded`].
pub fn prove_client<D: Device>(
    keys: &Keys<D>,
    witness: &ClientWitness,
    seed: [u8; 32],
) -> Result<Vec<u8>, JobError> {
    Ok(prove_blinded(keys, Circuit::Client, client::build(witness), seed)?.proof)
}

/// Proves `circuit`, which `b` lays out with its witness (see [`crate::private`]), as a wallet does: blinded by `seed`,
/// which must be secret and fresh.
///
/// # Errors
/// [`JobError::Unsatisfied`] when the witness is not valid, or when what the proof owes for those below does not hold;
/// those of the registry and the prover.
pub fn prove_blinded<D: Device>(
    keys: &Keys<D>,
    circuit: Circuit,
    b: Builder,
    seed: [u8; 32],
) -> Result<Output, JobError> {
    let loaded = keys.proving_key(circuit)?;
    let (layout, laid) = b.finish(Some(log_n(circuit)))?;
    let (key, bases, kind) = (&loaded.key, &loaded.bases, transcript(circuit));
    let proof = keys.prove(key, bases, kind, &laid, Blinding::On { seed })?.to_bytes();
    if let Err(rejected) = keys.set().verify(circuit, &laid.public, &proof) {
        let reason = match check(&layout, &laid) {
            Err(violation) => violation.to_string(),
            Ok(()) => rejected.to_string(),
        };
        return Err(JobError::Unsatisfied { reason });
    }
    Ok(Output { circuit, public: laid.public, proof })
}

/// A valid proof with these public inputs and no witness, under a key of its own. Tests use it to show that verifiers
/// insist on the client circuit's key.
pub fn prove_unconstrained<D: Device>(
    keys: &Keys<D>,
    inputs: &ClientInputs,
) -> Result<Vec<u8>, JobError> {
    let circuit = Circuit::Client;
    let fields = inputs.to_fields();
    let mut b = Builder::new(fields.len(), client::CELL_BITS);
    for (i, value) in fields.into_iter().enumerate() {
        let var = b.witness(value);
        b.set_public(i, var);
    }
    let (layout, laid) = b.finish(Some(log_n(circuit)))?;
    let loaded = keys.proving_key(circuit)?;
    let columns = layout.fixed_columns();
    let (device, srs) = (keys.device(), loaded.key.vk.srs_id);
    let vk =
        setup(device, &loaded.bases, srs, layout.shape, &columns).map_err(RegistryError::Key)?;
    let key = ProvingKey::new(device, vk, &columns).map_err(RegistryError::Key)?;
    let kind = transcript(circuit);
    let proof = keys.prove(&key, &loaded.bases, kind, &laid, Blinding::Off)?;
    Ok(proof.to_bytes())
}
