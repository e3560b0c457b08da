//! Contracts: classes with their functions, and addresses.
//!
//! Nothing has to be looked up: an address is a hash over the class, and the class over the keys of its functions.

use rollmill_algebra::{Fr, poseidon2};

use super::error::KernelError;
use crate::domain;
use crate::note;
use crate::tree::{parents, root_from_path};

/// Height of a class's tree of private functions.
pub const FUNCTION_HEIGHT: usize = 7;

/// A leaf of a class's tree of functions: `hash(FUNCTION, [selector, vk_digest, log_n])`.
pub fn function_leaf(selector: &Fr, vk_digest: &Fr, log_n: u64) -> Fr {
    poseidon2::hash(domain::FUNCTION, &[*selector, *vk_digest, log_n.into()])
}

/// A class: `hash(CLASS, [artifact_hash, private_functions_root, public_bytecode_commitment])`.
pub fn class_id(artifact_hash: &Fr, functions_root: &Fr, bytecode_commitment: &Fr) -> Fr {
    poseidon2::hash(domain::CLASS, &[*artifact_hash, *functions_root, *bytecode_commitment])
}

/// What an address says about its contract: `hash(ADDRESS_PARTIAL, [class_id, salt, init_hash, deployer])`.
pub fn address_partial(class_id: &Fr, salt: &Fr, init_hash: &Fr, deployer: &Fr) -> Fr {
    poseidon2::hash(domain::ADDRESS_PARTIAL, &[*class_id, *salt, *init_hash, *deployer])
}

/// The tree of a class's functions. Leaves without a function are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionTree {
    /// From the leaves to the root.
    levels: Vec<Vec<Fr>>,
}

impl FunctionTree {
    /// The tree with these leaves from the left; `None` when there are more than `2^FUNCTION_HEIGHT`.
    pub fn new(leaves: &[Fr]) -> Option<Self> {
        let mut row = leaves.to_vec();
        if row.len() > 1 << FUNCTION_HEIGHT {
            return None;
        }
        row.resize(1 << FUNCTION_HEIGHT, Fr::from(0u64));
        let mut levels = vec![row];
        for level in 0..FUNCTION_HEIGHT {
            levels.push(parents(&levels[level]));
        }
        Some(Self { levels })
    }

    /// The class's `private_functions_root`.
    pub fn root(&self) -> Fr {
        self.levels[FUNCTION_HEIGHT][0]
    }

    /// Siblings of a leaf, lowest first; `None` when the tree has no such leaf.
    pub fn path(&self, index: u64) -> Option<[Fr; FUNCTION_HEIGHT]> {
        let index = usize::try_from(index).ok()?;
        let sibling = |level: usize| self.levels[level][(index >> level) ^ 1];
        (index < 1 << FUNCTION_HEIGHT).then(|| std::array::from_fn(sibling))
    }
}

/// The key that a function's proof was verified with, and how it leads to the address of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFunction {
    /// Digest of the key.
    pub vk_digest: Fr,
    /// Base-2 logarithm of its number of rows.
    pub log_n: u64,
    /// Place in the class's tree of functions, and the siblings there.
    pub index: u64,
    pub path: [Fr; FUNCTION_HEIGHT],
    /// The rest of the class.
    pub artifact_hash: Fr,
    pub bytecode_commitment: Fr,
    /// The rest of the instance.
    pub salt: Fr,
    pub init_hash: Fr,
    pub deployer: Fr,
    /// The keys of the address.
    pub keys_hash: Fr,
}

impl ContractFunction {
    /// The address of the contract whose function `selector` has this key.
    ///
    /// # Errors
    /// [`KernelError::Range`] when the index lies beyond the tree.
    pub fn address(&self, selector: &Fr) -> Result<Fr, KernelError> {
        if self.index >> FUNCTION_HEIGHT != 0 {
            return Err(KernelError::Range { what: "function index" });
        }
        let leaf = function_leaf(selector, &self.vk_digest, self.log_n);
        let root = root_from_path(&leaf, self.index, &self.path);
        let class = class_id(&self.artifact_hash, &root, &self.bytecode_commitment);
        let partial = address_partial(&class, &self.salt, &self.init_hash, &self.deployer);
        Ok(note::address(&self.keys_hash, &partial))
    }
}
