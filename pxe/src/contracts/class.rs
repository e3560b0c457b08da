//! Classes of contracts: an artifact with the keys of its functions, under an id that is a hash of both.

use ark_ff::PrimeField;
use rollmill_acir::artifact::{Artifact, Function, Limits};
use rollmill_acir::private::selector;
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::private::FUNCTION_SIZES;
use rollmill_plonk::key::VerifyingKey;
use rollmill_protocol::Fr;
use rollmill_protocol::private::{
    ContractFunction, FUNCTION_HEIGHT, FunctionTree, class_id, function_leaf,
};
use rollmill_pxe_store::{ClassKeys, Contract, FunctionKey};
use sha2::{Digest, Sha256};

use super::error::ContractError;

/// The commitment of a class without public functions. There are none yet.
const NO_BYTECODE: u64 = 0;

/// A class: its private functions and their keys.
#[derive(Debug)]
pub struct Class {
    id: Fr,
    artifact_hash: Fr,
    bytecode_commitment: Fr,
    artifact: Artifact,
    functions: Vec<Keyed>,
    tree: FunctionTree,
}

/// A function's key, and by what its contract is called.
#[derive(Debug)]
struct Keyed {
    selector: Fr,
    vk: VerifyingKey,
    digest: Fr,
}

/// The hash of an artifact that its class is a hash of: SHA-256 of the file's bytes as a number, modulo the order of
/// the field. One space more is another class.
pub fn artifact_hash(json: &[u8]) -> Fr {
    Fr::from_be_bytes_mod_order(&Sha256::digest(json))
}

impl Class {
    /// The class of an artifact whose private functions have these keys, in their order.
    ///
    /// # Errors
    /// [`ContractError::Artifact`], and [`ContractError::NotAClass`] for a program, for functions that have one
    /// selector or none, and for keys that no function has.
    pub fn new(json: &[u8], keys: Vec<VerifyingKey>) -> Result<Self, ContractError> {
        let artifact = parse(json)?;
        Self::of(artifact, artifact_hash(json), Fr::from(NO_BYTECODE), keys)
    }

    /// The class with this id out of what the store has of it, all of which is checked.
    ///
    /// # Errors
    /// [`ContractError::Damaged`] unless the id is the hash of what is there, and the errors of [`Self::new`].
    pub fn read(id: &Fr, json: &[u8], kept: &ClassKeys) -> Result<Self, ContractError> {
        let damaged = || {
            let what = format!("the class {}", rollmill_protocol::field::to_hex(id));
            ContractError::Damaged { what }
        };
        let keys: Option<Vec<VerifyingKey>> =
            kept.functions.iter().map(|key| VerifyingKey::from_bytes(&key.vk).ok()).collect();
        let keys = keys.ok_or_else(damaged)?;
        let hash = artifact_hash(json);
        if hash != kept.artifact_hash {
            return Err(damaged());
        }
        let class = Self::of(parse(json)?, hash, kept.bytecode_commitment, keys)?;
        let selectors = class.functions.iter().map(|function| &function.selector);
        let are_same = selectors.eq(kept.functions.iter().map(|key| &key.selector));
        match class.id == *id && are_same {
            true => Ok(class),
            false => Err(damaged()),
        }
    }

    fn of(
        artifact: Artifact,
        artifact_hash: Fr,
        bytecode_commitment: Fr,
        keys: Vec<VerifyingKey>,
    ) -> Result<Self, ContractError> {
        let no_class = |why: String| ContractError::NotAClass { why };
        if keys.len() != artifact.functions.len() {
            let (got, expected) = (keys.len(), artifact.functions.len());
            return Err(no_class(format!("it has {expected} functions and {got} keys")));
        }
        let mut functions: Vec<Keyed> = Vec::with_capacity(keys.len());
        for (function, vk) in artifact.functions.iter().zip(keys) {
            let name = &function.name;
            let selector = selector(name)
                .ok_or_else(|| no_class(format!("{name:?} has more than 31 bytes")))?;
            if functions.iter().any(|other| other.selector == selector) {
                return Err(no_class(format!("two functions have the name {name:?}")));
            }
            let size = Dimensions { log_n: vk.shape.log_n, cell_bits: vk.shape.cell_bits };
            if vk.shape.n_public != 1 || !FUNCTION_SIZES.contains(&size) {
                return Err(no_class(format!("the key of {name:?} is that of no function")));
            }
            let digest = vk.digest();
            functions.push(Keyed { selector, vk, digest });
        }
        let leaf = |function: &Keyed| {
            let log_n = u64::from(function.vk.shape.log_n);
            function_leaf(&function.selector, &function.digest, log_n)
        };
        let leaves: Vec<Fr> = functions.iter().map(leaf).collect();
        let max = 1 << FUNCTION_HEIGHT;
        let tree = FunctionTree::new(&leaves)
            .ok_or_else(|| no_class(format!("it has more than {max} private functions")))?;
        let id = class_id(&artifact_hash, &tree.root(), &bytecode_commitment);
        Ok(Self { id, artifact_hash, bytecode_commitment, artifact, functions, tree })
    }

    /// `H(CLASS; artifact_hash, functions_root, bytecode_commitment)`.
    pub fn id(&self) -> &Fr {
        &self.id
    }

    /// The name that the artifact gives it.
    pub fn name(&self) -> &str {
        self.artifact.contract.as_deref().unwrap_or_default()
    }

    /// Its private functions, in the order of their keys.
    pub fn functions(&self) -> &[Function] {
        &self.artifact.functions
    }

    /// The function of this name.
    ///
    /// # Errors
    /// [`ContractError::Artifact`] with the names that there are.
    pub fn named(&self, name: &str) -> Result<&Function, ContractError> {
        Ok(self.artifact.function(name)?)
    }

    /// Index of the function with this selector, and the function.
    pub(crate) fn called(&self, selector: &Fr) -> Option<(usize, &Function)> {
        let index = self.functions.iter().position(|function| function.selector == *selector)?;
        self.artifact.functions.get(index).map(|function| (index, function))
    }

    /// The verifying key of a function.
    pub(crate) fn key(&self, index: usize) -> Option<&VerifyingKey> {
        self.functions.get(index).map(|function| &function.vk)
    }

    /// How the key of a function leads to the address of an instance. `None` for an index that no function has.
    pub(crate) fn of_contract(
        &self,
        index: usize,
        instance: &Contract,
    ) -> Option<ContractFunction> {
        let function = self.functions.get(index)?;
        // At most 128.
        let place = index as u64;
        Some(ContractFunction {
            vk_digest: function.digest,
            log_n: function.vk.shape.log_n.into(),
            index: place,
            path: self.tree.path(place)?,
            artifact_hash: self.artifact_hash,
            bytecode_commitment: self.bytecode_commitment,
            salt: instance.salt,
            init_hash: instance.init_hash,
            deployer: instance.deployer,
            keys_hash: instance.keys_hash,
        })
    }

    /// What the store keeps beside the artifact.
    pub fn keys(&self) -> ClassKeys {
        let key = |function: &Keyed| FunctionKey {
            selector: function.selector,
            vk: function.vk.to_bytes(),
        };
        ClassKeys {
            artifact_hash: self.artifact_hash,
            bytecode_commitment: self.bytecode_commitment,
            functions: self.functions.iter().map(key).collect(),
        }
    }
}

/// The contract of an artifact.
pub(crate) fn parse(json: &[u8]) -> Result<Artifact, ContractError> {
    let artifact = Artifact::parse(json, &Limits::default())?;
    if artifact.contract.is_none() || artifact.functions.is_empty() {
        let why = "it is no contract with private functions".to_owned();
        return Err(ContractError::NotAClass { why });
    }
    Ok(artifact)
}
