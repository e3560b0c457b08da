// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../src/IVerifier.sol";
import {Golden} from "./Golden.sol";

/// @notice How a generated verifier calls the precompiles: with how much gas, and what follows from a failure. That the
///         other verifier calls them by the same text is required by `mutants.js`.
contract VerifierTest is Golden {
    // Precompiles by address.
    address private constant POWER = address(5);
    address private constant ADD = address(6);
    address private constant MUL = address(7);
    address private constant PAIRING = address(8);

    IVerifier private _it;
    bytes32[] private _inputs;
    bytes private _proof;

    function setUp() public {
        (bytes32[] memory inputs, bytes memory proof) = _golden();
        _inputs = inputs;
        _proof = proof;
        _it = _verifier(inputs);
    }

    /// Goal: a precompile that fails burns a bounded amount, whichever it is. Method: each is called with its cap, of
    /// which a call without one would get many times as much.
    function _requireCap(address precompile, uint64 cap) private {
        VM.expectCall(precompile, 0, cap, "");
        require(_it.verify(_proof, _inputs), "rejected");
    }

    function test_multiplications_have_a_cap() public {
        _requireCap(MUL, 30_000);
    }

    function test_additions_have_a_cap() public {
        _requireCap(ADD, 3_000);
    }

    function test_the_pairing_has_a_cap() public {
        _requireCap(PAIRING, 400_000);
    }

    function test_the_exponentiation_has_a_cap() public {
        _requireCap(POWER, 300_000);
    }

    /// Goal: no failure of a precompile is taken for a success. Method: the pairing says 1 to everything, so that only
    /// the failure of another precompile can make the verifier reject; then it is the pairing that says so and fails.
    function test_a_precompile_that_fails_is_no_success() public {
        bytes memory yes = abi.encode(uint256(1));
        address[3] memory failing = [POWER, ADD, MUL];
        for (uint256 i; i < 3; i++) {
            VM.mockCall(PAIRING, "", yes);
            require(_it.verify(_proof, _inputs), "nothing fails");
            // Without data, so that what the verifier reads instead of a result is its own argument, a point of the curve.
            VM.mockCallRevert(failing[i], "", "");
            require(!_it.verify(_proof, _inputs), "a failure counts as a success");
            VM.clearMockedCalls();
        }
        VM.mockCallRevert(PAIRING, "", yes);
        require(!_it.verify(_proof, _inputs), "a pairing that fails");
    }
}
