// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

import {IRegistry} from "../src/governance/IRegistry.sol";

/// @notice What tests call of contracts that have no interface of their own in src/.
interface IAztToken is IERC20, IERC20Permit, IVotes {
    function mint(address to, uint256 amount) external;
}

interface IDeployments {
    struct Deployment {
        string name;
        IRegistry registry;
        uint64 version;
        address rewards;
    }

    function add(string calldata name, IRegistry registry) external returns (uint256);
    function setCanonical(uint256 id) external;
    function fund(uint256 id, uint256 amount) external;
    function count() external view returns (uint256);
    function deployment(uint256 id) external view returns (Deployment memory);
    function canonical() external view returns (Deployment memory);
}

interface IHasher {
    function hash(uint256 domain, uint256[] memory words) external pure returns (bytes32);
}
