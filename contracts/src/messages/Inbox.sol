// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon2} from "../Poseidon2.sol";
import {IRollup} from "../IRollup.sol";
import "../Layout.sol" as Layout;
import {IInbox} from "./IInbox.sol";

/// @title Messages from L1 to L2, as one running hash per block.
/// @dev A number takes at most 64 leaves. `open` is at least tip + 2 after each proposal, so the hash of
///      block n never changes once block n - 1 was proposed, and a block after a prune finds the same.
contract Inbox is IInbox {
    /// @notice Most messages that one block appends.
    uint64 public constant LEAVES_PER_BLOCK = uint64(1) << uint64(Layout.MESSAGE_SUBTREE_HEIGHT);
    uint8 private constant GENERAL = 0;
    uint8 private constant DEPOSIT = 1;

    /// @notice The rollup of this deployment.
    IRollup public immutable ROLLUP;
    /// @notice The only contract that can send deposits.
    address public immutable FEE_PORTAL;

    /// @dev Block 1 has no messages, so that its proposer knows them.
    uint64 private _open = 2;
    uint64 private _count;
    mapping(uint256 number => bytes32) private _hashes;

    constructor(IRollup rollup) {
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.inbox) != address(this)) revert NotTied(address(rollup));
        ROLLUP = rollup;
        FEE_PORTAL = address(all.feePortal);
    }

    /// @inheritdoc IInbox
    function send(bytes32 recipient, bytes32 content, bytes32 secretHash)
        external
        returns (uint64 number, uint64 index, bytes32 leaf)
    {
        Poseidon2.requireCanonical(uint256(recipient));
        Poseidon2.requireCanonical(uint256(content));
        Poseidon2.requireCanonical(uint256(secretHash));
        (number, index) = _next();
        uint256[] memory words = new uint256[](5);
        words[0] = uint160(msg.sender);
        words[1] = uint256(recipient);
        words[2] = uint256(content);
        words[3] = uint256(secretHash);
        words[4] = index;
        leaf = bytes32(Poseidon2.hash(Layout.DOMAIN_MESSAGE_IN, words));
        _append(number, leaf);
        emit MessageSent(number, index, leaf, GENERAL, msg.sender, recipient, content, secretHash);
    }

    /// @inheritdoc IInbox
    function sendDeposit(bytes32 to, uint64 units)
        external
        returns (uint64 number, uint64 index, bytes32 leaf)
    {
        if (msg.sender != FEE_PORTAL) revert NotFeePortal(msg.sender);
        Poseidon2.requireCanonical(uint256(to));
        // Nobody could claim either.
        if (to == 0) revert RecipientMissing();
        if (units == 0) revert AmountMissing();
        (number, index) = _next();
        uint256[] memory words = new uint256[](3);
        words[0] = uint256(to);
        words[1] = units;
        words[2] = index;
        leaf = bytes32(Poseidon2.hash(Layout.DOMAIN_FEE_DEPOSIT, words));
        _append(number, leaf);
        emit MessageSent(
            number, index, leaf, DEPOSIT, address(0), to, bytes32(uint256(units)), bytes32(0)
        );
    }

    /// @inheritdoc IInbox
    function consume(uint64 number) external returns (bytes32) {
        if (msg.sender != address(ROLLUP)) revert NotRollup(msg.sender);
        uint64 open = _open;
        if (number >= open) revert StillOpen(open, number);
        if (open == number + 1) {
            _open = open + 1;
            _count = 0;
        }
        return _hashes[number];
    }

    /// @inheritdoc IInbox
    function hashOf(uint64 number) external view returns (bytes32) {
        return _hashes[number];
    }

    /// @inheritdoc IInbox
    function state() external view returns (uint64 open, uint64 count) {
        return (_open, _count);
    }

    function _next() private view returns (uint64 number, uint64 index) {
        number = _open;
        index = (number - 1) * LEAVES_PER_BLOCK + _count;
    }

    function _append(uint64 number, bytes32 leaf) private {
        _hashes[number] =
            Poseidon2.hash2(Layout.DOMAIN_MESSAGE_CHAIN, uint256(_hashes[number]), uint256(leaf));
        uint64 count = _count + 1;
        if (count == LEAVES_PER_BLOCK) {
            _open = number + 1;
            count = 0;
        }
        _count = count;
    }
}
