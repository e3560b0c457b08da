// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../IVerifier.sol";

/// @title A verifier that says which key it has.
interface IRootVerifier is IVerifier {
    /// @notice Digest of the verification key, as a leaf of the key tree contains it.
    function vkDigest() external view returns (bytes32);
}
