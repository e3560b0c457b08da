//! Proofs of a transaction of contracts on this machine's CPU: one for each function, and the kernel's over them.

use std::path::Path;
use std::sync::Arc;

use ark_ff::UniformRand;
use rand::{CryptoRng, RngCore};
use rollmill_acir::artifact::Function;
use rollmill_acir::private;
use rollmill_algebra::CpuDevice;
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::maker;
use rollmill_circuits::private::tail::hiding_pair;
use rollmill_circuits::private::{
    LOG_N, ProvenCall, ProvenState, build_init, build_init2, build_inner, build_tail,
};
use rollmill_circuits::registry::{RegistryError, load_key_set, open_srs};
use rollmill_circuits::store::{DirStore, Store, cache_dir};
use rollmill_errors::Bare;
use rollmill_plonk::check::check;
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, ProveError, prove_while};
use rollmill_plonk::resident::{Loaded, Resident};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::verify;
use rollmill_protocol::private::KernelInputs;
use rollmill_protocol::{BlockBody, Circuit, ClientInputs, Fr, Log, ProofKind, Tx, TxEffects};

use super::book::FunctionKeys;
use super::error::ContractError;
use super::executor::Executed;
use super::transaction::SimulatedTransaction;

/// A circuit inside another one verifies every proof but the last, and the network's the last one.
const KIND: TranscriptKind = TranscriptKind::Poseidon2;

/// A proof that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What was proven: a function by contract and name, or a circuit of the kernel.
    pub what: String,
    /// Rows that its circuit uses. The proof has the next power of two.
    pub rows: usize,
    /// Proofs that are made, and those that the transaction needs.
    pub done: usize,
    pub total: usize,
}

/// A transaction with its proof.
#[derive(Debug, Clone)]
pub struct ProvenTransaction {
    /// What it does to public state.
    pub effects: TxEffects,
    /// Its logs, in the order of the effects.
    pub logs: Vec<Log>,
    /// The proof of `private_tail`.
    pub proof: Proof,
    /// What the proof states.
    pub inputs: ClientInputs,
}

impl ProvenTransaction {
    /// The transaction as a node takes it.
    ///
    /// A node whose network has the keys of [`ContractProver::set`] verifies it.
    pub fn into_tx(self) -> Tx {
        let Self { effects, logs, proof, inputs } = self;
        Tx {
            chain_id: inputs.chain_id,
            version: inputs.version,
            anchor_header_hash: inputs.anchor_header_hash,
            body: BlockBody { effects, logs },
            proof_kind: ProofKind::PrivateTail,
            pair: inputs.pair,
            client_proof: proof.to_bytes(),
        }
    }
}

/// Circuits of the kernel for a transaction of three calls and more.
const KERNEL_CIRCUITS: usize = 3;

/// Proves with keys from a directory.
#[derive(Debug)]
pub struct ContractProver {
    device: CpuDevice,
    srs: Srs,
    store: Arc<dyn Store>,
    /// The network's verification keys, those of the kernel among them.
    set: KeySet,
    /// Bases of each size that was used, and keys of the kernel's circuits.
    resident: Resident<Circuit, CpuDevice>,
    keeps_keys: bool,
}

fn failed(what: &str, why: impl Into<String>) -> ContractError {
    ContractError::Prove { what: what.to_owned(), why: why.into() }
}

impl ContractProver {
    /// Opens the keys in `cache` (see [`cache_dir`]). A development SRS is accepted only on a development chain.
    ///
    /// # Errors
    /// [`ContractError::Prove`]
    pub fn open(cache: Option<&Path>, chain_id: u64) -> Result<Self, ContractError> {
        let store: Arc<dyn Store> = Arc::new(DirStore::new(cache_dir(cache)));
        let of = |error: RegistryError| failed("the keys", Bare(&error).to_string());
        let set = load_key_set(store.as_ref()).map_err(of)?;
        let srs = open_srs(store.as_ref(), chain_id).map_err(of)?;
        Self::new(CpuDevice::default(), srs, store, set)
    }

    /// A prover with this SRS, which has at least 2^17 powers and some more, and with the network's keys under it.
    ///
    /// # Errors
    /// [`ContractError::Prove`] for keys of another SRS.
    pub fn new(
        device: CpuDevice,
        srs: Srs,
        store: Arc<dyn Store>,
        set: KeySet,
    ) -> Result<Self, ContractError> {
        if srs.tau_g2 != *set.tau_g2() {
            let why = "they are of another SRS than the one in their directory";
            return Err(failed("the keys", why));
        }
        let resident = Resident::new(KERNEL_CIRCUITS);
        Ok(Self { device, srs, store, set, resident, keeps_keys: false })
    }

    /// Keeps the kernel's keys after their first proof, about 100 MiB each. For a program that proves again and again:
    /// a key takes a twentieth of the time of its proof.
    pub fn keeping_keys(mut self) -> Self {
        self.keeps_keys = true;
        self
    }

    /// The network's verification keys.
    pub const fn set(&self) -> &KeySet {
        &self.set
    }

    /// Proves a transaction. After each proof `progress` is told. `goes_on` is asked between the rounds of each proof.
    ///
    /// # Errors
    /// [`ContractError::Prove`], and [`ContractError::Stopped`] once `goes_on` returns false.
    pub fn prove(
        &self,
        simulated: &SimulatedTransaction,
        rng: &mut (impl RngCore + CryptoRng),
        progress: &mut dyn FnMut(&Progress),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<ProvenTransaction, ContractError> {
        // A proof for each function, one of the kernel for each call but the second, which shares the first's, and the
        // tail's.
        let functions = simulated.calls.len();
        let of_kernel = if functions < 2 { functions } else { functions - 1 };
        let total = functions + of_kernel + 1;
        let mut done = 0;
        let mut told = |what: String, rows: usize| {
            done += 1;
            progress(&Progress { what, rows, done, total });
        };
        let vk_root = self.set.root();
        let mut before: Option<ProvenState> = None;
        // The first of two or more calls waits for the second.
        let mut waiting: Option<ProvenCall> = None;
        for (executed, state) in simulated.calls.iter().zip(&simulated.states) {
            let (name, rows, call) = self.prove_call(executed, rng, goes_on)?;
            told(name, rows);
            let request = &simulated.request;
            let (circuit, builder) = match (&before, waiting.take()) {
                (Some(before), _) => (Circuit::PrivateInner, build_inner(vk_root, before, &call)),
                (None, Some(first)) => {
                    (Circuit::PrivateInit2, build_init2(vk_root, request, [&first, &call]))
                }
                (None, None) if functions > 1 => {
                    waiting = Some(call);
                    continue;
                }
                (None, None) => (Circuit::PrivateInit, build_init(vk_root, request, &call)),
            };
            let rows = builder.finish(Some(LOG_N));
            let rows = rows.map_err(|error| failed(circuit.name(), error.to_string()))?;
            let vk = &self.set.key(circuit).vk;
            let proof = self.proof((circuit.name(), vk), &rows, Some(circuit), rng, goes_on)?;
            let inputs = KernelInputs::from_fields(&rows.1.public)
                .map_err(|error| failed(circuit.name(), Bare(&error).to_string()))?;
            let (state, vk, opened) = (state.clone(), vk.clone(), self.set.opened(circuit));
            before = Some(ProvenState { inputs, state, proof, vk, opened });
            told(circuit.name().to_owned(), rows.0.rows_used);
        }
        let circuit = Circuit::PrivateTail;
        let last = before.ok_or_else(|| failed(circuit.name(), "there is no call"))?;
        let tau =
            self.srs.powers.get(1).ok_or_else(|| failed(circuit.name(), "the SRS is short"))?;
        let hiding = hiding_pair(tau, std::array::from_fn(|_| Fr::rand(rng)));
        let rows = build_tail(vk_root, &last, &simulated.witness, &hiding).finish(Some(LOG_N));
        let rows = rows.map_err(|error| failed(circuit.name(), error.to_string()))?;
        let vk = &self.set.key(circuit).vk;
        let proof = self.proof((circuit.name(), vk), &rows, Some(circuit), rng, goes_on)?;
        let inputs = ClientInputs::from_fields(&rows.1.public)
            .map_err(|error| failed(circuit.name(), Bare(&error).to_string()))?;
        told(circuit.name().to_owned(), rows.0.rows_used);
        let (effects, logs) = (simulated.effects.clone(), simulated.logs.clone());
        Ok(ProvenTransaction { effects, logs, proof, inputs })
    }

    /// The proof of a call's function, after the function's name and the rows that it uses.
    fn prove_call(
        &self,
        executed: &Executed,
        rng: &mut (impl RngCore + CryptoRng),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(String, usize, ProvenCall), ContractError> {
        let class = &executed.deployed.class;
        let function = executed.function().ok_or_else(|| failed("a call", "it has no function"))?;
        let name = format!("{}.{}", class.name(), function.name);
        let vk = class.key(executed.index).ok_or_else(|| failed(&name, "there is no key"))?;
        let rows = executed.execution.finish(function)?;
        let proof = self.proof((&name, vk), &rows, None, rng, goes_on)?;
        let (call, of_contract) = (executed.execution.call().clone(), executed.of_contract.clone());
        let (digest, vk) = (call.digest(), vk.clone());
        let used = rows.0.rows_used;
        Ok((name, used, ProvenCall { call, digest, function: of_contract, proof, vk }))
    }

    /// A key with the bases of its size. `circuit` is the kernel's, if it is none of a function.
    fn loaded(
        &self,
        (what, vk): (&str, &VerifyingKey),
        layout: &Layout,
        circuit: Option<Circuit>,
    ) -> Result<Arc<Loaded<CpuDevice>>, ContractError> {
        let kept = circuit.filter(|_| self.keeps_keys);
        if let Some(loaded) = kept.and_then(|circuit| self.resident.get(&circuit)) {
            return Ok(loaded);
        }
        let log_n = layout.shape.log_n;
        let bases = self.resident.bases(log_n, || {
            let points = maker::lagrange(self.store.as_ref(), &self.srs, log_n)?;
            Ok::<_, RegistryError>(Bases::new(&self.device, &self.srs, &points)?)
        });
        let bases = bases.map_err(|error| failed(what, Bare(&error).to_string()))?;
        if kept.is_some() {
            self.resident.evict_to_fit_one();
        }
        let key = ProvingKey::new(&self.device, vk.clone(), &layout.fixed_columns());
        let key = key.map_err(|error| failed(what, Bare(&error).to_string()))?;
        let loaded = Loaded { key, bases };
        Ok(match kept {
            Some(circuit) => self.resident.put(circuit, loaded),
            None => Arc::new(loaded),
        })
    }

    /// A blinded proof of these rows, which is verified before it is returned. `circuit` is the kernel's, if it is none
    /// of a function.
    fn proof(
        &self,
        (what, vk): (&str, &VerifyingKey),
        (layout, rows): &(Layout, Witness),
        circuit: Option<Circuit>,
        rng: &mut (impl RngCore + CryptoRng),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Proof, ContractError> {
        if !goes_on() {
            return Err(ContractError::Stopped);
        }
        let loaded = self.loaded((what, vk), layout, circuit)?;
        let mut seed = [0u8; 32];
        rng.fill_bytes(&mut seed);
        let blinding = Blinding::On { seed };
        let proof =
            prove_while(&self.device, &loaded.key, &loaded.bases, KIND, rows, blinding, goes_on);
        let proof = proof.map_err(|error| match error {
            ProveError::Stopped => ContractError::Stopped,
            error => failed(what, Bare(&error).to_string()),
        })?;
        let pair_at = circuit.map(Circuit::pair_at);
        match verify(KIND, vk, &self.srs.tau_g2, &rows.public, &proof, pair_at) {
            Ok(()) => Ok(proof),
            Err(rejected) => Err(match check(layout, rows) {
                Err(violation) => failed(what, violation.to_string()),
                Ok(()) => failed(what, Bare(&rejected).to_string()),
            }),
        }
    }
}

impl FunctionKeys for ContractProver {
    fn keys(&self, functions: &[Function]) -> Result<Vec<VerifyingKey>, ContractError> {
        let layouts: Result<Vec<Layout>, _> = functions.iter().map(private::layout).collect();
        made(&self.device, &self.srs, self.store.as_ref(), &layouts?)
    }
}

/// The keys of these layouts, made or taken from the store after a check.
fn made(
    device: &CpuDevice,
    srs: &Srs,
    store: &dyn Store,
    layouts: &[Layout],
) -> Result<Vec<VerifyingKey>, ContractError> {
    let again: Vec<_> =
        layouts.iter().map(|layout| move || Ok::<Layout, RegistryError>(layout.clone())).collect();
    let again: Vec<&dyn Fn() -> Result<Layout, RegistryError>> =
        again.iter().map(|again| again as &dyn Fn() -> _).collect();
    let made = maker::make(device, srs, store, &again, &|_, _| {});
    let made = made.map_err(|error| failed("the keys", Bare(&error).to_string()))?;
    Ok(made.into_iter().map(|key| key.vk).collect())
}
