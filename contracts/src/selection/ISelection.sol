// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IRollup} from "../IRollup.sol";

/// @title Who may propose in a slot, and who vouches for a block.
interface ISelection {
    /// @notice The epoch has no seed, or too few members to draw from.
    error NoCommittee(uint64 epoch);
    /// @notice The bitmap names a member beyond the committee's size.
    error BitmapTooWide(uint256 size, uint256 bitmap);
    /// @notice The signatures and addresses have another length than the bitmap says.
    error AttestationsLengthWrong(uint256 expected, uint256 got);
    /// @notice The signers and the given addresses are not the committee, or a signature is wrong.
    error CommitteeWrong(bytes32 expected, bytes32 got);
    /// @notice Fewer members signed than a quorum needs.
    error QuorumMissed(uint256 needed, uint256 got);
    /// @notice The member whose turn it is did not sign.
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
