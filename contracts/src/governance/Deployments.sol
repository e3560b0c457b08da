// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IRollup} from "../IRollup.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title The list of deployments that governance recognizes.
/// @dev No code of a deployment ever changes: an upgrade is another entry here. Old entries stay, since
///      their FeePortal stays open.
contract Deployments {
    using SafeERC20 for IERC20;

    struct Deployment {
        string name;
        IRegistry registry;
        uint64 version;
        /// Whom `fund` pays, as the Rollup named it when the deployment was added.
        address rewards;
    }

    /// @notice The token of governance and of every deployment.
    IERC20 public immutable TOKEN;
    /// @notice The only account that can change the list.
    address public immutable TIMELOCK;

    Deployment[] private _list;
    mapping(bytes32 nameHash => bool) private _named;
    mapping(uint64 version => bool) private _known;
    uint256 private _canonical;

    /// @notice A deployment was added to the list.
    event DeploymentAdded(uint256 indexed id, string name, address registry, uint64 version);
    /// @notice New users should take this deployment from now on.
    event CanonicalSet(uint256 indexed id);
    /// @notice `amount` base units were sent to the Rewards of a deployment.
    event Funded(uint256 indexed id, address rewards, uint256 amount);

    /// @notice The caller is not the timelock.
    error NotTimelock(address caller);
    /// @notice The list has a deployment of this name or of this version.
    error DeploymentKnown(string name, uint64 version);
    /// @notice A deployment must have a name.
    error NameMissing();
    /// @notice The list has no deployment of this number.
    error DeploymentUnknown(uint256 id);
    /// @notice The Registry answers to another timelock.
    error TimelockWrong(address expected, address got);
    /// @notice The deployment has another token.
    error TokenWrong(address expected, address got);
    /// @notice The rollup names another Registry.
    error NotTied(address rollup);

    modifier onlyTimelock() {
        if (msg.sender != TIMELOCK) revert NotTimelock(msg.sender);
        _;
    }

    constructor(IERC20 token, address timelock) {
        TOKEN = token;
        TIMELOCK = timelock;
    }

    /// @notice Adds a deployment, such as `testnet-beta`. The first one is canonical. The timelock only.
    function add(string calldata name, IRegistry registry)
        external
        onlyTimelock
        returns (uint256 id)
    {
        if (bytes(name).length == 0) revert NameMissing();
        IRollup rollup = registry.ROLLUP();
        uint64 version = rollup.version();
        bytes32 nameHash = keccak256(bytes(name));
        if (_named[nameHash] || _known[version]) revert DeploymentKnown(name, version);
        if (registry.TIMELOCK() != TIMELOCK) revert TimelockWrong(TIMELOCK, registry.TIMELOCK());
        IERC20 token = registry.TOKEN();
        if (address(token) != address(TOKEN)) revert TokenWrong(address(TOKEN), address(token));
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.registry) != address(registry)) revert NotTied(address(rollup));
        _named[nameHash] = true;
        _known[version] = true;
        id = _list.length;
        _list.push(
            Deployment({
                name: name, registry: registry, version: version, rewards: address(all.rewards)
            })
        );
        emit DeploymentAdded(id, name, address(registry), version);
    }

    /// @notice Names the deployment that new users should take. The timelock only.
    function setCanonical(uint256 id) external onlyTimelock {
        _require(id);
        _canonical = id;
        emit CanonicalSet(id);
    }

    /// @notice Sends the timelock's tokens to a deployment's Rewards, by allowance. The timelock only.
    function fund(uint256 id, uint256 amount) external onlyTimelock {
        _require(id);
        address rewards = _list[id].rewards;
        TOKEN.safeTransferFrom(msg.sender, rewards, amount);
        emit Funded(id, rewards, amount);
    }

    /// @notice How many deployments the list has.
    function count() external view returns (uint256) {
        return _list.length;
    }

    /// @notice A deployment by its number; they are numbered from 0 in the order in which they were added.
    function deployment(uint256 id) public view returns (Deployment memory) {
        _require(id);
        return _list[id];
    }

    /// @notice The deployment that new users should take.
    function canonical() external view returns (Deployment memory) {
        return deployment(_canonical);
    }

    function _require(uint256 id) private view {
        if (id >= _list.length) revert DeploymentUnknown(id);
    }
}
