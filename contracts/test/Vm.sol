// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The cheat codes these tests use, at forge's fixed address.
interface Vm {
    function prank(address sender) external;
    function prank(address sender, address origin) external;
    function etch(address target, bytes calldata code) external;
    function store(address target, bytes32 slot, bytes32 value) external;
    function warp(uint256 timestamp) external;
    function roll(uint256 blockNumber) external;
    function assume(bool condition) external;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectEmit() external;
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
}

/// @notice What every test contract starts from.
abstract contract Test {
    Vm internal constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function assertEq(uint256 got, uint256 expected, string memory what) internal pure {
        require(got == expected, what);
    }

    function assertEq(bytes32 got, bytes32 expected, string memory what) internal pure {
        require(got == expected, what);
    }
}
