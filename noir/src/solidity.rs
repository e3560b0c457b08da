//! Verifiers for Ethereum.

use rollmill_plonk::solidity;

use crate::NoirError;
use crate::files::KeyFile;

pub use rollmill_plonk::solidity::INTERFACE;

/// File name of the interface that a verifier imports from its own folder.
pub const INTERFACE_FILE: &str = "IVerifier.sol";
/// Names that the contract cannot have beside its interface and its function. Its file must not replace that of the
/// interface either, on disks that read capital letters as small ones.
const TAKEN: [&str; 2] = ["IVerifier", "verify"];

/// The source of a contract of this name that verifies the proofs of a program with the transcript `keccak`.
///
/// Its function `verify` takes the fields `proof` and `public_inputs` of a proof file. A contract for a key under the
/// development SRS rejects every proof, except on development chains.
///
/// # Errors
/// [`NoirError::ContractName`]
pub fn contract(key: &KeyFile, name: &str) -> Result<String, NoirError> {
    let is_taken = TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken));
    if name.is_empty() || is_taken || !solidity::is_identifier(name) {
        return Err(NoirError::ContractName { name: name.to_owned() });
    }
    Ok(solidity::generate(&key.vk, &key.tau_g2, name, None))
}
