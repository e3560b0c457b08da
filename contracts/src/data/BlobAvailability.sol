// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DaInput} from "../IRollup.sol";
import {IDataAvailability} from "./IDataAvailability.sol";

/// @title Block data in one blob of the L1 transaction (EIP-4844).
/// @dev Stateless. The point evaluation precompile rejects z and y that are not canonical in
///      BLS12-381's scalar field, so one opening has one encoding.
contract BlobAvailability is IDataAvailability {
    address private constant POINT_EVALUATION = address(0x0a);
    /// @dev A failing precompile burns all it is given, hence a cap. It is twenty times today's price of 50,000,
    ///      since the contract cannot be changed and prices can: at a price above the cap no transaction, and
    ///      so no withdrawal, would be possible for good.
    uint256 private constant GAS = 1_000_000;
    uint256 private constant FIELD_ELEMENTS = 4096;
    uint256 private constant BLS_MODULUS =
        0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    /// @inheritdoc IDataAvailability
    function commit(DaInput calldata data) external view returns (bytes32 versionedHash) {
        // Bytes of another length would shift in the precompile's input.
        if (data.commitment.length != 48) revert CommitmentLengthWrong(data.commitment.length);
        if (data.proof.length != 48) revert ProofLengthWrong(data.proof.length);
        versionedHash = (sha256(data.commitment) & bytes32(type(uint256).max >> 8))
            | bytes32(uint256(1) << 248);
        bytes32 blob = blobhash(data.blobIndex);
        if (blob != versionedHash) revert BlobMissing(data.blobIndex, versionedHash, blob);
        (bool done, bytes memory answer) = POINT_EVALUATION.staticcall{gas: GAS}(
            abi.encodePacked(versionedHash, data.z, data.y, data.commitment, data.proof)
        );
        if (!done || answer.length != 64) revert OpeningWrong();
        (uint256 elements, uint256 modulus) = abi.decode(answer, (uint256, uint256));
        if (elements != FIELD_ELEMENTS || modulus != BLS_MODULUS) revert OpeningWrong();
    }
}
