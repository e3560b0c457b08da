// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DaInput} from "../IRollup.sol";

/// @title A source of block data.
/// @dev Whatever the source is, it must bind the same (commitment, z, y): the commitment is that of a
///      polynomial whose coefficients anybody can read, and y, canonical, is its value at z.
interface IDataAvailability {
    /// @notice A KZG commitment has 48 bytes.
    error CommitmentLengthWrong(uint256 got);
    /// @notice A KZG proof has 48 bytes.
    error ProofLengthWrong(uint256 got);
    /// @notice The L1 transaction has no blob of this hash at this index.
    error BlobMissing(uint256 blobIndex, bytes32 expected, bytes32 got);
    /// @notice The proof does not show that the polynomial has the value y at z.
    error OpeningWrong();

    /// @notice Reverts unless the data is published with this L1 transaction and opens as stated.
    /// @return versionedHash Under which readers find the data.
    function commit(DaInput calldata data) external view returns (bytes32 versionedHash);
}
