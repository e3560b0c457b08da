//! The key of a function inside a circuit: that it is the called function's, in the class of the called contract.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::private::{ContractFunction, FUNCTION_HEIGHT};

use super::FUNCTION_SIZES;
use crate::circuit::Dimensions;
use crate::gadgets::fold::KeyCheck;
use crate::gadgets::merkle::{place, root, siblings};
use crate::gadgets::vk_tree::KeyVars;
use crate::weaken::gone;

/// A key by its place in the class of a contract. A proof under it has one public input and carries no pair, so no
/// proof of the kernel passes for one of a function.
#[derive(Debug, Clone, Copy)]
pub struct FunctionKey<'a> {
    /// The function and the contract that were called.
    pub selector: Var,
    pub contract: Var,
    pub witness: &'a ContractFunction,
}

impl KeyCheck for FunctionKey<'_> {
    type Known = ();
    fn n_public(&self) -> usize {
        1
    }
    fn sizes(&self) -> &[Dimensions] {
        &FUNCTION_SIZES
    }
    fn pair_at(&self) -> Option<usize> {
        None
    }
    fn constrain(self, b: &mut Builder, key: &KeyVars) {
        self.assert_leaf(b, key.digest, key.log_n);
    }
}

impl FunctionKey<'_> {
    /// Constrains the address of the contract whose function has the key with this digest and size to be the called
    /// one. It is the twin of [`ContractFunction::address`]; about 230 rows.
    pub fn assert_leaf(&self, b: &mut Builder, digest: Var, log_n: Var) {
        let w = self.witness;
        let leaf = b.hash(domain::FUNCTION, &[self.selector, digest, log_n]);
        let index = b.witness(w.index.into());
        let at = place(b, index, FUNCTION_HEIGHT);
        let path = siblings(b, &w.path, FUNCTION_HEIGHT);
        let functions = root(b, leaf, &at, &path);
        let mut word = |word: Fr| b.witness(word);
        let (artifact, bytecode) = (word(w.artifact_hash), word(w.bytecode_commitment));
        let instance = [w.salt, w.init_hash, w.deployer].map(&mut word);
        let keys = word(w.keys_hash);
        let class = b.hash(domain::CLASS, &[artifact, functions, bytecode]);
        let [salt, init_hash, deployer] = instance;
        let partial = b.hash(domain::ADDRESS_PARTIAL, &[class, salt, init_hash, deployer]);
        let address = b.hash(domain::ADDRESS, &[keys, partial]);
        if !gone("circuits.private.function.address") {
            b.assert_equal(address, self.contract);
        }
    }
}
