// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../src/IVerifier.sol";
import {Test} from "./vm/Vm.sol";

/// @notice The proof of the golden epoch, which the circuits' tests keep, and its generated verifier.
abstract contract Golden is Test {
    uint256 internal constant GOLDEN_BYTES = 0xd60;
    uint256 private constant INPUTS = 24;
    /// A byte of the format and one of the circuit's role.
    uint256 private constant HEAD = 2;

    function _golden() internal view returns (bytes32[] memory inputs, bytes memory proof) {
        bytes memory file = VM.readFileBinary("../circuits/tests/golden/09-epoch_root_2.output");
        assertEq(file.length, HEAD + 32 * INPUTS + GOLDEN_BYTES, "bytes");
        inputs = new bytes32[](INPUTS);
        for (uint256 i; i < INPUTS; i++) {
            bytes32 word;
            assembly ("memory-safe") {
                word := mload(add(add(file, add(0x20, HEAD)), mul(i, 0x20)))
            }
            inputs[i] = word;
        }
        proof = new bytes(GOLDEN_BYTES);
        for (uint256 i; i < GOLDEN_BYTES; i++) {
            proof[i] = file[HEAD + 32 * INPUTS + i];
        }
    }

    function _verifier(bytes32[] memory inputs) internal returns (IVerifier) {
        VM.chainId(uint256(inputs[0]));
        return IVerifier(VM.deployCode("src/EpochRoot2Verifier.sol:EpochRoot2Verifier"));
    }
}
