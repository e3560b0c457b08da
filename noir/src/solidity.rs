//! Verifiers for Ethereum.

use rollmill_plonk::solidity;

use crate::NoirError;
use crate::files::KeyFile;

pub use rollmill_plonk::solidity::INTERFACE;

/// File name of the interface that a verifier imports from its own folder.
pub const INTERFACE_FILE: &str = "IVerifier.sol";

/// The source of a contract of this name that verifies the proofs of a program with the transcript `keccak`.
///
/// Its function `verify` takes the fields `proof` and `public_inputs` of a proof file. A contract for a key under the
/// development SRS rejects every proof, except on development chains.
///
/// # Errors
/// [`NoirError::ContractName`]
pub fn contract(key: &KeyFile, name: &str) -> Result<String, NoirError> {
    if name.is_empty() || !solidity::is_identifier(name) {
        return Err(NoirError::ContractName { name: name.to_owned() });
    }
    Ok(solidity::generate(&key.vk, &key.tau_g2, name, None))
}
