// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IHasher} from "./Interfaces.sol";

/// @notice The tree of messages to L1 built from all leaves, which the Outbox's walk is compared with.
library OutTree {
    /// @param leaves Two for each transaction, in order.
    function root(IHasher hasher, bytes32[] memory leaves) internal pure returns (bytes32) {
        return _node(hasher, leaves, 0, leaves.length / 2);
    }

    function path(IHasher hasher, bytes32[] memory leaves, uint256 transaction, uint256 which)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        bytes32[] memory found = new bytes32[](7);
        uint256 n;
        uint256 first;
        uint256 count = leaves.length / 2;
        while (count > 1) {
            uint256 left = _left(count);
            if (transaction - first < left) {
                found[n++] = _node(hasher, leaves, first + left, count - left);
                count = left;
            } else {
                found[n++] = _node(hasher, leaves, first, left);
                (first, count) = (first + left, count - left);
            }
        }
        found[n++] = leaves[2 * transaction + 1 - which];
        siblings = new bytes32[](n);
        for (uint256 i; i < n; i++) {
            siblings[i] = found[n - 1 - i];
        }
    }

    function _node(IHasher hasher, bytes32[] memory leaves, uint256 first, uint256 count)
        private
        pure
        returns (bytes32)
    {
        if (count == 0) return 0;
        if (count == 1) return _hash(hasher, leaves[2 * first], leaves[2 * first + 1]);
        uint256 left = _left(count);
        return _hash(
            hasher,
            _node(hasher, leaves, first, left),
            _node(hasher, leaves, first + left, count - left)
        );
    }

    function _left(uint256 count) private pure returns (uint256) {
        for (uint256 k = 32;; k /= 2) {
            if (k < count) return k;
        }
        return 0;
    }

    function _hash(IHasher hasher, bytes32 a, bytes32 b) private pure returns (bytes32) {
        uint256[] memory words = new uint256[](2);
        (words[0], words[1]) = (uint256(a), uint256(b));
        return hasher.hash(1, words);
    }
}
