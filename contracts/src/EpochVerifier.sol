// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "./IVerifier.sol";

/// @title Verifier of epoch proofs
/// @notice There are two root circuits: one for a range of one block, one for any longer range. This
///         contract hands a proof to the generated verifier of the circuit that the range calls for.
/// @dev The range stands in the public inputs, so a prover cannot choose: a proof of the other circuit
///      meets a key under which it does not verify.
contract EpochVerifier is IVerifier {
    /// @notice Verifies ranges of one block.
    IVerifier public immutable ONE_BLOCK;
    /// @notice Verifies ranges of two blocks and more.
    IVerifier public immutable MORE_BLOCKS;

    /// Indices of the range in the public inputs of an epoch root.
    uint256 private constant FIRST_BLOCK = 7;
    uint256 private constant LAST_BLOCK = 8;

    /// @notice A verifier was not given, or is no contract.
    error VerifierMissing(address got);

    constructor(IVerifier oneBlock, IVerifier moreBlocks) {
        if (address(oneBlock).code.length == 0) revert VerifierMissing(address(oneBlock));
        if (address(moreBlocks).code.length == 0) revert VerifierMissing(address(moreBlocks));
        ONE_BLOCK = oneBlock;
        MORE_BLOCKS = moreBlocks;
    }

    /// @inheritdoc IVerifier
    function verify(bytes calldata proof, bytes32[] calldata publicInputs)
        external
        view
        returns (bool)
    {
        if (publicInputs.length <= LAST_BLOCK) return false;
        bool isOne = publicInputs[FIRST_BLOCK] == publicInputs[LAST_BLOCK];
        return (isOne ? ONE_BLOCK : MORE_BLOCKS).verify(proof, publicInputs);
    }
}
