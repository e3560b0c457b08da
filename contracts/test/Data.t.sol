// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IDataAvailability} from "../src/data/IDataAvailability.sol";
import {DaInput} from "../src/IRollup.sol";
import {Test} from "./vm/Vm.sol";

/// @notice The blob of the model's vectors, opened by Ethereum's own precompile.
contract DataTest is Test {
    /// The order of BLS12-381's scalar field.
    uint256 private constant Q = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    IDataAvailability private _blobs;
    DaInput private _input;
    bytes32 private _hash;

    function setUp() public {
        _blobs = IDataAvailability(VM.deployCode("src/data/BlobAvailability.sol:BlobAvailability"));
        string memory json = VM.readFile("../protocol/tests/vectors/protocol2.json");
        _input.z = VM.parseJsonUint(json, ".blob.z");
        _input.y = VM.parseJsonUint(json, ".blob.y");
        _input.commitment = VM.parseJsonBytes(json, ".blob.commitment");
        _input.proof = VM.parseJsonBytes(json, ".blob.proof");
        _hash = VM.parseJsonBytes32(json, ".blob.versioned_hash");
        _input.blobIndex = 1;
        _publish();
    }

    /// Cheat codes for blobs last for one test function only.
    function _publish() private {
        bytes32[] memory hashes = new bytes32[](2);
        hashes[1] = _hash;
        VM.blobhashes(hashes);
    }

    function test_the_models_opening_is_accepted() public {
        _publish();
        assertEq(_blobs.commit(_input), _hash, "versioned hash");
        VM.snapshotGasLastCall("Calls", "blob_commit");
    }

    function test_another_blob_of_the_transaction_is_not_it() public {
        _publish();
        DaInput memory d = _input;
        d.blobIndex = 0;
        VM.expectRevert(abi.encodeWithSelector(IDataAvailability.BlobMissing.selector, 0, _hash, 0));
        _blobs.commit(d);
        d.blobIndex = 2;
        VM.expectRevert(abi.encodeWithSelector(IDataAvailability.BlobMissing.selector, 2, _hash, 0));
        _blobs.commit(d);
    }

    function test_lengths_are_48_bytes() public {
        _publish();
        for (uint256 n = 47; n < 50; n += 2) {
            DaInput memory d = _input;
            d.commitment = new bytes(n);
            VM.expectRevert(
                abi.encodeWithSelector(IDataAvailability.CommitmentLengthWrong.selector, n)
            );
            _blobs.commit(d);
            d = _input;
            d.proof = new bytes(n);
            VM.expectRevert(abi.encodeWithSelector(IDataAvailability.ProofLengthWrong.selector, n));
            _blobs.commit(d);
        }
    }

    /// A chain whose precompile does something else must not pass for Ethereum.
    function test_another_answer_of_the_precompile_is_no_opening() public {
        bytes[4] memory answers = [
            abi.encode(uint256(4095), Q),
            abi.encode(uint256(4096), Q - 1),
            bytes(""),
            abi.encode(uint256(4096), Q, uint256(0))
        ];
        for (uint256 i; i < 4; i++) {
            _publish();
            VM.mockCall(address(0x0a), "", answers[i]);
            VM.expectRevert(IDataAvailability.OpeningWrong.selector);
            _blobs.commit(_input);
        }
    }

    /// Whatever a failing precompile says.
    function test_a_precompile_that_fails_opens_nothing() public {
        _publish();
        VM.mockCallRevert(address(0x0a), "", abi.encode(uint256(4096), Q));
        VM.expectRevert(IDataAvailability.OpeningWrong.selector);
        _blobs.commit(_input);
    }

    function test_a_wrong_opening_is_rejected_at_a_bounded_price() public {
        _publish();
        uint256 honest = gasleft();
        _blobs.commit(_input);
        honest -= gasleft();
        for (uint256 i; i < 5; i++) {
            DaInput memory d = _input;
            if (i == 0) d.y ^= 1;
            if (i == 1) d.z ^= 1;
            if (i == 2) d.proof[47] ^= 0x01;
            // Congruent, but not canonical.
            if (i == 3) d.y += Q;
            if (i == 4) d.z += Q;
            uint256 before = gasleft();
            VM.expectRevert(IDataAvailability.OpeningWrong.selector);
            _blobs.commit(d);
            // The precompile burns what it is given when it fails: the cap. It bounds what a wrong opening
            // costs, and is far from the price, which Ethereum may raise.
            uint256 used = before - gasleft();
            require(used < 1_100_000, "no bound");
            require(used > 10 * honest, "the cap is near the price");
        }
    }
}
