// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DaInput} from "../IRollup.sol";

/// @title A source of block data.
/// @dev Whatever the source is, it must bind the same (commitment, z, y): the commitment is that of a
///      polynomial whose coefficients anybody can read, and y, canonical, is its value at z.
interface IDataAvailability {
    error CommitmentLengthWrong(uint256 got);
    error ProofLengthWrong(uint256 got);
    error BlobMissing(uint256 blobIndex, bytes32 expected, bytes32 got);
    error OpeningWrong();

    /// @notice Reverts unless the data is published with this L1 transaction and opens as stated.
    /// @return versionedHash Under which readers find the data.
    function commit(DaInput calldata data) external view returns (bytes32 versionedHash);
}
