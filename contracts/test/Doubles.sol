// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IDataAvailability} from "../src/data/IDataAvailability.sol";
import {DaInput} from "../src/IRollup.sol";
import {IVerifier} from "../src/IVerifier.sol";

/// @notice A verifier of one root circuit that returns what a test configures.
contract VerifierDouble is IVerifier {
    bytes32 public immutable vkDigest;
    bool public yes = true;
    /// Calls back before it answers.
    address private _target;
    bytes private _call;
    bytes32 private _expected;

    constructor(bytes32 digest) {
        vkDigest = digest;
    }

    function set(bool next) external {
        yes = next;
    }

    /// @notice From now on only these public inputs are answered.
    function expect(bytes32[] calldata inputs) external {
        _expected = keccak256(abi.encodePacked(inputs));
    }

    function reenter(address target, bytes calldata call) external {
        _target = target;
        _call = call;
    }

    function verify(bytes calldata, bytes32[] calldata inputs) external view returns (bool) {
        require(_expected == 0 || keccak256(abi.encodePacked(inputs)) == _expected, "public inputs");
        if (_target != address(0)) {
            // A view function cannot be compiled with a plain call, so the call is by hand.
            address target = _target;
            bytes memory data = _call;
            bool done;
            assembly ("memory-safe") {
                done := staticcall(gas(), target, add(data, 0x20), mload(data), 0, 0)
            }
            require(done, "reentry failed");
        }
        return yes;
    }
}

/// @notice Data that is always there. Real openings are tested with `BlobAvailability` itself.
contract DataDouble is IDataAvailability {
    bool public missing;

    function set(bool next) external {
        missing = next;
    }

    function commit(DaInput calldata data) external view returns (bytes32) {
        require(!missing, "no data");
        return sha256(data.commitment);
    }
}

/// @notice A token that calls its payees and payers, and can be told to fail.
contract HostileToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    address public target;
    bytes public call;
    bool public fails;
    /// What the call within a transfer answered.
    bool public done;
    bytes public answer;
    bool private _isWithin;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function set(address target_, bytes calldata call_) external {
        target = target_;
        call = call_;
    }

    function fail(bool next) external {
        fails = next;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (fails) return false;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        if (target != address(0) && !_isWithin) {
            _isWithin = true;
            (done, answer) = target.call(call);
            _isWithin = false;
        }
        return true;
    }
}
