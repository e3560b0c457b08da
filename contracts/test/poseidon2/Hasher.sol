// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon2} from "../../src/Poseidon2.sol";

/// @notice Poseidon2 behind a call, for tests that compile without the optimizer, which its assembly needs.
contract Hasher {
    function hash(uint256 domain, uint256[] memory words) external pure returns (bytes32) {
        return bytes32(Poseidon2.hash(domain, words));
    }
}
