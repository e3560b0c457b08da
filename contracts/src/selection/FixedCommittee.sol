// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IRollup} from "../IRollup.sol";
import {ISelection} from "./ISelection.sol";
import {Quorum} from "./Quorum.sol";

/// @title A committee that never changes and proposes in turn. One member is a single proposer.
contract FixedCommittee is ISelection {
    /// @notice A committee has 1 to 64 members.
    error SizeWrong(uint256 got);
    /// @notice A member is the address 0, or is named twice.
    error MemberWrong(address member);

    bytes32 private immutable _HASH;
    uint256 private immutable _SIZE;
    address[] private _members;

    constructor(address[] memory members) {
        if (members.length == 0 || members.length > Quorum.SIZE_MAX) {
            revert SizeWrong(members.length);
        }
        for (uint256 i; i < members.length; i++) {
            if (members[i] == address(0)) revert MemberWrong(members[i]);
            for (uint256 j; j < i; j++) {
                if (members[i] == members[j]) revert MemberWrong(members[i]);
            }
        }
        _HASH = Quorum.hash(members);
        _SIZE = members.length;
        _members = members;
    }

    /// @inheritdoc ISelection
    function attest(uint64, uint64 slot, bytes32 digest, IRollup.Attestations calldata attestations)
        external
        view
        returns (address proposer, uint64 signers)
    {
        return Quorum.check(_HASH, _SIZE, slot % _SIZE, digest, attestations);
    }

    /// @inheritdoc ISelection
    function proposerOf(uint64 slot) external view returns (address) {
        return _members[slot % _SIZE];
    }

    /// @inheritdoc ISelection
    function committee(uint64) external view returns (address[] memory) {
        return _members;
    }

    /// @inheritdoc ISelection
    function TOKEN() external pure returns (IERC20) {
        return IERC20(address(0));
    }

    /// @inheritdoc ISelection
    function committeeHash(uint64) external view returns (bytes32) {
        return _HASH;
    }
}
