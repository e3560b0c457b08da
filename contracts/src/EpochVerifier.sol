// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "./IVerifier.sol";
import * as Layout from "./Layout.sol";

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
        if (publicInputs.length <= Layout.EPOCH_LAST_BLOCK) return false;
        bool isOne =
            publicInputs[Layout.EPOCH_FIRST_BLOCK] == publicInputs[Layout.EPOCH_LAST_BLOCK];
        return (isOne ? ONE_BLOCK : MORE_BLOCKS).verify(proof, publicInputs);
    }
}
