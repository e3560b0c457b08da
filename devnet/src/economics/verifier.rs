//! A stand-in for the verifiers of epoch proofs, since the scenarios are about money and not about proofs.
//!
//! It accepts exactly one proof of a statement: the hash of the statement's public inputs. So it binds all of them, as
//! a real proof does: a copied proof with another prover, another range or another deployment is rejected. It proves
//! nothing, since anybody can hash; no deployment outside a scenario has it.

use rollmill_l1::abi::IVerifier;
use rollmill_l1::alloy::primitives::{B256, Bytes, keccak256};
use rollmill_l1::alloy::sol_types::SolCall;

/// The proof that the stand-in accepts for these public inputs.
pub(crate) fn proof(public_inputs: &[B256]) -> Vec<u8> {
    keccak256(public_inputs.concat()).to_vec()
}

/// Creation code of a stand-in that states this key digest.
pub(crate) fn creation_code(vk_digest: B256) -> Bytes {
    let runtime = runtime(vk_digest);
    // The runtime is below 256 bytes.
    let length = runtime.len() as u8;
    // PUSH1 length, PUSH1 10, PUSH0, CODECOPY, PUSH1 length, PUSH0, RETURN: 10 bytes with the length's byte.
    let copy = [0x60, length, 0x60, 10, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3];
    [&copy[..], &runtime].concat().into()
}

/// What the contract runs. `verify(bytes proof, bytes32[] publicInputs)` has the offsets of both as its arguments, counted
/// from byte 4 of the calldata; a length is in front of either's content.
fn runtime(vk_digest: B256) -> Vec<u8> {
    let mut code = Vec::new();
    // PUSH0 CALLDATALOAD PUSH1 224 SHR: the function's selector.
    code.extend([0x5f, 0x35, 0x60, 0xe0, 0x1c]);
    // PUSH4 selector EQ PUSH1 target JUMPI; the target is written below.
    code.push(0x63);
    code.extend(IVerifier::vkDigestCall::SELECTOR);
    code.extend([0x14, 0x60]);
    let target = code.len();
    code.extend([0, 0x57]);
    // Place of the inputs' length: PUSH1 36 CALLDATALOAD PUSH1 4 ADD; DUP1 CALLDATALOAD PUSH1 5 SHL: their bytes.
    code.extend([0x60, 0x24, 0x35, 0x60, 0x04, 0x01, 0x80, 0x35, 0x60, 0x05, 0x1b]);
    // DUP1 DUP3 PUSH1 32 ADD PUSH0 CALLDATACOPY: the inputs to memory. PUSH0 KECCAK256: their hash.
    code.extend([0x80, 0x82, 0x60, 0x20, 0x01, 0x5f, 0x37, 0x5f, 0x20]);
    // The proof's first word: PUSH1 4 CALLDATALOAD PUSH1 36 ADD CALLDATALOAD. EQ PUSH0 MSTORE: the answer.
    code.extend([0x60, 0x04, 0x35, 0x60, 0x24, 0x01, 0x35, 0x14, 0x5f, 0x52]);
    // PUSH1 32 PUSH0 RETURN.
    code.extend([0x60, 0x20, 0x5f, 0xf3]);
    // JUMPDEST PUSH32 digest PUSH0 MSTORE PUSH1 32 PUSH0 RETURN. The code before is below 256 bytes.
    code[target] = code.len() as u8;
    code.extend([0x5b, 0x7f]);
    code.extend(vk_digest);
    code.extend([0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_jumps_to_a_jump_destination_and_is_copied_whole() {
        let digest = B256::with_last_byte(7);
        let code = creation_code(digest);
        let runtime = runtime(digest);
        assert_eq!(usize::from(code[1]), runtime.len());
        assert_eq!(&code[10..], &runtime[..]);
        let target = usize::from(runtime[12]);
        assert_eq!((runtime[11], runtime[13], runtime[target]), (0x60, 0x57, 0x5b));
        assert_eq!(runtime[target + 2..target + 34], digest[..]);
    }

    /// The hash of one word of zeros (EIP-1052 and many others quote it).
    #[test]
    fn the_proof_is_keccak_256_of_the_public_inputs() {
        let expected = "290decd9548b62a8d60345a988386fc84ba6bc95484008f6362f93160ef3e563";
        assert_eq!(rollmill_l1::alloy::hex::encode(proof(&[B256::ZERO])), expected);
    }
}
