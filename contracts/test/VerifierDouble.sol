// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../src/IVerifier.sol";

/// @notice A verifier that returns what a test configures, well-formed or not.
contract VerifierDouble is IVerifier {
    enum Answer {
        No,
        Yes,
        Revert,
        NotABoolean,
        TooShort,
        Empty,
        AllGas,
        Reenter
    }

    Answer public answer;
    address private _rollup;
    bytes private _call;
    bytes32[] private _expected;

    function set(Answer next) external {
        answer = next;
    }

    function reenter(address rollup, bytes calldata call) external {
        answer = Answer.Reenter;
        _rollup = rollup;
        _call = call;
    }

    /// @notice From now on a yes is given only for exactly these public inputs.
    function expect(bytes32[] calldata inputs) external {
        _expected = inputs;
    }

    function verify(bytes calldata, bytes32[] calldata inputs) external view returns (bool) {
        if (_expected.length != 0) {
            require(inputs.length == _expected.length, "number of public inputs");
            for (uint256 i; i < inputs.length; i++) {
                require(inputs[i] == _expected[i], "public input");
            }
        }
        Answer a = answer;
        if (a == Answer.Revert) revert("no proof of mine");
        if (a == Answer.AllGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (a == Answer.NotABoolean) {
            assembly ("memory-safe") {
                mstore(0, 2)
                return(0, 32)
            }
        }
        if (a == Answer.TooShort) {
            assembly ("memory-safe") {
                mstore(0, not(0))
                return(0, 31)
            }
        }
        if (a == Answer.Empty) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        if (a == Answer.Reenter) {
            address rollup = _rollup;
            bytes memory data = _call;
            bool done;
            // A view function cannot be compiled with a plain call, so the call is by hand.
            assembly ("memory-safe") {
                done := staticcall(gas(), rollup, add(data, 0x20), mload(data), 0, 0)
            }
            require(done, "reentry refused");
        }
        return a == Answer.Yes;
    }
}
