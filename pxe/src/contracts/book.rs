//! The contracts that the wallet knows: registered, listed, removed, and read back with every hash checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollmill_acir::artifact::Function;
use rollmill_algebra::poseidon2;
use rollmill_plonk::key::VerifyingKey;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::note;
use rollmill_protocol::private::address_partial;
use rollmill_pxe_store::{Contract, Scope, Store, View};

use super::class::{Class, parse};
use super::error::ContractError;

/// The tag `init` of the Noir library, in ASCII.
const INIT: u64 = 0x696e_6974;

/// Makes the keys of private functions.
pub trait FunctionKeys {
    /// The verifying keys of these functions, in their order.
    ///
    /// # Errors
    /// [`ContractError::Private`] for what is no private function, [`ContractError::Prove`].
    fn keys(&self, functions: &[Function]) -> Result<Vec<VerifyingKey>, ContractError>;
}

/// Hash of the words that a contract is made with, which its address has: `H(init; words)`.
pub fn init_hash(words: &[Fr]) -> Fr {
    poseidon2::hash(INIT, words)
}

/// What an address has of its contract beside the keys.
pub fn partial(contract: &Contract) -> Fr {
    let Contract { class_id, salt, init_hash, deployer, .. } = contract;
    address_partial(class_id, salt, init_hash, deployer)
}

/// The address of an instance.
pub fn address(contract: &Contract) -> Fr {
    note::address(&contract.keys_hash, &partial(contract))
}

/// The class of an artifact, with keys that are made now.
///
/// # Errors
/// Those of [`Class::new`] and of `keys`.
pub fn class_of(json: &[u8], keys: &dyn FunctionKeys) -> Result<Class, ContractError> {
    let made = keys.keys(&parse(json)?.functions)?;
    Class::new(json, made)
}

/// Registers an instance of a class whose artifact is `json`, in one step. If `expected` is given, it must be its
/// address. Returns the address. Registering a contract again changes nothing.
///
/// # Errors
/// [`ContractError::Address`], [`ContractError::NoClass`] for an instance of another class, [`ContractError::Damaged`]
/// for an artifact of another class, and those of the store.
pub fn register(
    store: &Store,
    (class, json): (&Class, &[u8]),
    contract: &Contract,
    expected: Option<&Fr>,
) -> Result<Fr, ContractError> {
    let keys = class.keys();
    if super::class::artifact_hash(json) != keys.artifact_hash {
        return Err(ContractError::Damaged { what: "the artifact".to_owned() });
    }
    if contract.class_id != *class.id() {
        return Err(ContractError::NoClass { class_id: contract.class_id });
    }
    let got = address(contract);
    if let Some(expected) = expected.filter(|expected| **expected != got) {
        return Err(ContractError::Address { expected: *expected, got });
    }
    store.step(&Scope::default(), |step| {
        step.add_class(class.id(), json)?;
        step.add_class_keys(class.id(), &keys)?;
        step.set_contract(&got, contract)
    })?;
    Ok(got)
}

/// Forgets a contract. Its notes stay, and are there again once it is registered again.
///
/// # Errors
/// [`ContractError::Unknown`], and those of the store.
pub fn remove(store: &Store, address: &Fr) -> Result<(), ContractError> {
    match store.step(&Scope::default(), |step| step.remove_contract(address))? {
        true => Ok(()),
        false => Err(ContractError::Unknown { address: *address }),
    }
}

/// A registered contract with its class.
#[derive(Debug)]
pub struct Deployed {
    pub address: Fr,
    pub instance: Contract,
    pub class: Arc<Class>,
}

impl Deployed {
    /// The names of its private functions, for messages.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> =
            self.class.functions().iter().map(|function| function.name.as_str()).collect();
        names.join(", ")
    }
}

/// The contracts of a store, each read once. What the store has of them is not trusted: an address is a hash over all.
#[derive(Debug, Default)]
pub struct Book {
    classes: BTreeMap<Fr, Arc<Class>>,
    contracts: BTreeMap<Fr, Arc<Deployed>>,
}

impl Book {
    /// The contract at an address.
    ///
    /// # Errors
    /// [`ContractError::Unknown`], [`ContractError::NoClass`], and [`ContractError::Damaged`] where address or class
    /// are not the hash of what the store has.
    pub fn deployed(
        &mut self,
        view: &View<'_>,
        address: &Fr,
    ) -> Result<Arc<Deployed>, ContractError> {
        if let Some(known) = self.contracts.get(address) {
            return Ok(Arc::clone(known));
        }
        let instance = instance(view, address)?;
        let class = self.class(view, &instance.class_id)?;
        let deployed = Arc::new(Deployed { address: *address, instance, class });
        self.contracts.insert(*address, Arc::clone(&deployed));
        Ok(deployed)
    }

    fn class(&mut self, view: &View<'_>, id: &Fr) -> Result<Arc<Class>, ContractError> {
        if let Some(known) = self.classes.get(id) {
            return Ok(Arc::clone(known));
        }
        let (Some(json), Some(keys)) = (view.class(id)?, view.class_keys(id)?) else {
            return Err(ContractError::NoClass { class_id: *id });
        };
        let class = Arc::new(Class::read(id, &json, &keys)?);
        self.classes.insert(*id, Arc::clone(&class));
        Ok(class)
    }
}

/// What the address of a contract is a hash of.
///
/// # Errors
/// [`ContractError::Unknown`], and [`ContractError::Damaged`] where the address is the hash of something else.
pub fn instance(view: &View<'_>, address: &Fr) -> Result<Contract, ContractError> {
    let instance = view.contract(address)?;
    let instance = instance.ok_or(ContractError::Unknown { address: *address })?;
    match self::address(&instance) == *address {
        true => Ok(instance),
        false => {
            let what = format!("the contract {}", to_hex(address));
            Err(ContractError::Damaged { what })
        }
    }
}
