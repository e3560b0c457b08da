// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon2} from "../Poseidon2.sol";
import {IRollup} from "../IRollup.sol";
import "../Layout.sol" as Layout;
import {IOutbox} from "./IOutbox.sol";

/// @title Messages from L2 to L1.
/// @dev The tree of a block has one shape per number of transactions: the left child has the largest
///      power of two below the number, the right child the rest, and a transaction's node is over its
///      two leaves. So the place of a leaf fixes its path's length and turns.
contract Outbox is IOutbox {
    /// @notice The rollup of this deployment.
    IRollup public immutable ROLLUP;
    /// @notice The only contract that can consume withdrawals.
    address public immutable FEE_PORTAL;

    /// @dev Bit 2 * transaction + which, for at most 32 transactions.
    mapping(uint256 number => uint256) private _consumed;

    constructor(IRollup rollup) {
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.outbox) != address(this)) revert NotTied(address(rollup));
        ROLLUP = rollup;
        FEE_PORTAL = address(all.feePortal);
    }

    /// @inheritdoc IOutbox
    function consume(
        uint64 number,
        uint16 transaction,
        uint8 which,
        bytes32 l2Contract,
        bytes32 content,
        bytes32[] calldata path
    ) external returns (bytes32 leaf) {
        if (which > 1) revert WhichWrong(which);
        Poseidon2.requireCanonical(uint256(l2Contract));
        Poseidon2.requireCanonical(uint256(content));
        uint256[] memory words = new uint256[](3);
        words[0] = uint256(l2Contract);
        words[1] = uint160(msg.sender);
        words[2] = uint256(content);
        leaf = bytes32(Poseidon2.hash(Layout.DOMAIN_MESSAGE_OUT, words));
        _consume(number, transaction, which, leaf, path);
    }

    /// @inheritdoc IOutbox
    function consumeWithdrawal(
        uint64 number,
        uint16 transaction,
        address recipient,
        uint64 units,
        bytes32[] calldata path
    ) external returns (bytes32 leaf) {
        if (msg.sender != FEE_PORTAL) revert NotFeePortal(msg.sender);
        leaf = Poseidon2.hash2(Layout.DOMAIN_WITHDRAW, uint160(recipient), units);
        _consume(number, transaction, 0, leaf, path);
    }

    /// @inheritdoc IOutbox
    function isConsumed(uint64 number, uint16 transaction, uint8 which)
        external
        view
        returns (bool)
    {
        if (transaction >= Layout.MAX_TXS || which > 1) return false;
        return _consumed[number] & _bit(transaction, which) != 0;
    }

    function _consume(
        uint64 number,
        uint16 transaction,
        uint8 which,
        bytes32 leaf,
        bytes32[] calldata path
    ) private {
        (bytes32 outRoot, uint16 txCount) = ROLLUP.provenOut(number);
        if (transaction >= txCount) revert TransactionUnknown(txCount, transaction);
        uint256 bit = _bit(transaction, which);
        if (_consumed[number] & bit != 0) revert AlreadyConsumed(number, transaction, which);
        bytes32 root = _walk(transaction, which, txCount, leaf, path);
        if (root != outRoot) revert PathWrong(outRoot, root);
        _consumed[number] |= bit;
        emit MessageConsumed(number, transaction, which, leaf);
    }

    /// @dev Finds the turns from the count down to the leaf, then hashes from the leaf up.
    function _walk(
        uint256 transaction,
        uint256 which,
        uint256 txCount,
        bytes32 leaf,
        bytes32[] calldata path
    ) private pure returns (bytes32 node) {
        // Bit d says whether the path turns right at depth d.
        uint256 turns;
        uint256 depth;
        while (txCount > 1) {
            uint256 left = 1;
            while (left * 2 < txCount) left *= 2;
            if (transaction >= left) {
                turns |= uint256(1) << depth;
                transaction -= left;
                txCount -= left;
            } else {
                txCount = left;
            }
            depth++;
        }
        turns |= which << depth;
        depth++;
        if (path.length != depth) revert PathLengthWrong(depth, path.length);
        node = leaf;
        for (uint256 i; i < depth; i++) {
            uint256 sibling = uint256(path[i]);
            Poseidon2.requireCanonical(sibling);
            bool right = (turns >> (depth - 1 - i)) & 1 == 1;
            (uint256 a, uint256 b) = right ? (sibling, uint256(node)) : (uint256(node), sibling);
            node = Poseidon2.hash2(Layout.DOMAIN_NODE, a, b);
        }
    }

    function _bit(uint16 transaction, uint8 which) private pure returns (uint256) {
        return uint256(1) << (2 * uint256(transaction) + which);
    }
}
