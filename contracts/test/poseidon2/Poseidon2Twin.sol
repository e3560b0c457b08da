// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon2} from "../../src/Poseidon2.sol";

/// @notice The permutation as the paper writes it: every sum and product reduced, no cleverness.
library Poseidon2Twin {
    uint256 private constant P = Poseidon2.P;

    function permute(uint256[4] memory s) internal pure {
        uint256 k = Poseidon2._roundConstants();
        _external(s);
        for (uint256 round; round < 64; round++) {
            bool full = round < 4 || round >= 60;
            for (uint256 i; i < (full ? 4 : 1); i++) {
                uint256 x = addmod(s[i], _load(k), P);
                k += 32;
                uint256 x2 = mulmod(x, x, P);
                s[i] = mulmod(mulmod(x2, x2, P), x, P);
            }
            if (full) _external(s);
            else _internal(s);
        }
    }

    function _external(uint256[4] memory s) private pure {
        uint8[4][4] memory m = [[5, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6]];
        uint256[4] memory out;
        for (uint256 i; i < 4; i++) {
            for (uint256 j; j < 4; j++) {
                out[i] = addmod(out[i], mulmod(m[i][j], s[j], P), P);
            }
        }
        for (uint256 i; i < 4; i++) {
            s[i] = out[i];
        }
    }

    function _internal(uint256[4] memory s) private pure {
        uint256[4] memory diagonal = [Poseidon2.D0, Poseidon2.D1, Poseidon2.D2, Poseidon2.D3];
        uint256 sum;
        for (uint256 i; i < 4; i++) {
            sum = addmod(sum, s[i], P);
        }
        for (uint256 i; i < 4; i++) {
            s[i] = addmod(mulmod(s[i], diagonal[i], P), sum, P);
        }
    }

    function _load(uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(offset)
        }
    }
}
