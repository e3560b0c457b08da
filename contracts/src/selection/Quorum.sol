// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IRollup} from "../IRollup.sol";
import {ISelection} from "./ISelection.sol";

/// @title A quorum of a committee that the caller knows by its hash only.
library Quorum {
    uint256 internal constant SIZE_MAX = 64;
    uint256 private constant SIGNATURE = 65;
    uint256 private constant ADDRESS = 20;

    /// @notice Signatures that a committee of this size needs.
    function needed(uint256 size) internal pure returns (uint256) {
        return size * 2 / 3 + 1;
    }

    function hash(address[] memory members) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(members));
    }

    /// @notice Recovers the signers, completes the list with the given addresses and compares its hash.
    /// @dev A wrong signature recovers another address, so the hash differs. Nothing may follow the last
    ///      entry and no bit may lie above the size: one quorum has one encoding for given signers.
    /// @param proposer Index of the member that must be among the signers.
    /// @return who     Its address.
    /// @return signers The bitmap.
    function check(
        bytes32 expected,
        uint256 size,
        uint256 proposer,
        bytes32 digest,
        IRollup.Attestations calldata a
    ) internal pure returns (address who, uint64 signers) {
        if (a.bitmap >> size != 0) {
            revert ISelection.BitmapTooWide(size, a.bitmap);
        }
        if ((a.bitmap >> proposer) & 1 == 0) revert ISelection.ProposerMissing(proposer);
        address[] memory members = new address[](size);
        bytes calldata list = a.signaturesOrAddresses;
        uint256 count;
        uint256 next;
        for (uint256 i; i < size; i++) {
            bool signed = (a.bitmap >> i) & 1 == 1;
            uint256 end = next + (signed ? SIGNATURE : ADDRESS);
            if (list.length < end) {
                revert ISelection.AttestationsLengthWrong(end, list.length);
            }
            members[i] = signed
                ? ECDSA.recoverCalldata(digest, list[next:end])
                : address(bytes20(list[next:end]));
            if (signed) count++;
            next = end;
        }
        if (list.length != next) revert ISelection.AttestationsLengthWrong(next, list.length);
        if (count < needed(size)) revert ISelection.QuorumMissed(needed(size), count);
        bytes32 got = hash(members);
        if (got != expected) revert ISelection.CommitteeWrong(expected, got);
        return (members[proposer], SafeCast.toUint64(a.bitmap));
    }
}
