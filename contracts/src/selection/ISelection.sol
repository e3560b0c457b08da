// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IRollup} from "../IRollup.sol";

/// @title Who may propose in a slot, and who vouches for a block.
interface ISelection {
    error NoCommittee(uint64 epoch);
    error BitmapTooWide(uint256 size, uint256 bitmap);
    error AttestationsLengthWrong(uint256 expected, uint256 got);
    error CommitteeWrong(bytes32 expected, bytes32 got);
    error QuorumMissed(uint256 needed, uint256 got);
    error ProposerMissing(uint256 index);

    /// @notice Checks a quorum of the epoch's committee over `digest`, the slot's proposer included.
    ///         The Rollup only, where the call changes state.
    /// @return proposer The slot's proposer.
    /// @return signers  Bitmap of the members that signed.
    function attest(
        uint64 epoch,
        uint64 slot,
        bytes32 digest,
        IRollup.Attestations calldata attestations
    ) external returns (address proposer, uint64 signers);

    /// @notice Who must sign as the proposer of `slot`; 0 if the slot has no committee, or none yet.
    function proposerOf(uint64 slot) external view returns (address);
    /// @notice The committee of an epoch, in order.
    function committee(uint64 epoch) external view returns (address[] memory);
    /// @notice keccak256 over the committee's addresses, 32 bytes each; 0 before an epoch's first proposal
    ///         if committees are drawn.
    function committeeHash(uint64 epoch) external view returns (bytes32);
    /// @notice What is staked; 0 if nothing is.
    function TOKEN() external view returns (IERC20);
}
