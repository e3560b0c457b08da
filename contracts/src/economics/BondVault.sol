// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IRollup} from "../IRollup.sol";
import {IBondVault} from "./IBondVault.sol";

/// @title Bonds of proposers.
/// @dev What the Rollup calls moves numbers only and never the token, so that no payee and no token can
///      make a proposal, a proof or a prune revert. A lost bond becomes Rewards' free part, which anyone
///      may send there.
contract BondVault is IBondVault, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    struct Account {
        uint128 free;
        uint128 locked;
    }

    /// @notice The rollup of this deployment.
    IRollup public immutable ROLLUP;
    /// @inheritdoc IBondVault
    IERC20 public immutable TOKEN;
    /// @notice Gets what is left of lost bonds.
    address public immutable REWARDS;

    mapping(address => Account) private _accounts;
    mapping(uint256 epoch => uint96) private _shared;

    modifier onlyRollup() {
        if (msg.sender != address(ROLLUP)) revert NotRollup(msg.sender);
        _;
    }

    constructor(IRollup rollup, IERC20 token) {
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.bondVault) != address(this)) revert NotTied(address(rollup));
        ROLLUP = rollup;
        TOKEN = token;
        REWARDS = address(all.rewards);
    }

    /// @inheritdoc IBondVault
    function deposit(address account, uint256 amount) external nonReentrant {
        _accounts[account].free += SafeCast.toUint128(amount);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(account, amount);
    }

    /// @inheritdoc IBondVault
    function withdraw(uint256 amount) external nonReentrant {
        _take(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
    }

    /// @inheritdoc IBondVault
    function collect() external nonReentrant {
        uint256 amount = _accounts[REWARDS].free;
        _accounts[REWARDS].free = 0;
        TOKEN.safeTransfer(REWARDS, amount);
        emit Collected(amount);
    }

    /// @inheritdoc IBondVault
    function lock(uint64 epoch, address account, uint96 amount) external onlyRollup {
        _take(account, amount);
        _accounts[account].locked += amount;
        emit BondLocked(epoch, account, amount);
    }

    /// @inheritdoc IBondVault
    function release(uint64 epoch, address account, uint96 amount) external onlyRollup {
        Account memory a = _accounts[account];
        _accounts[account] = Account({free: a.free + amount, locked: a.locked - amount});
        emit BondReturned(epoch, account, amount);
    }

    /// @inheritdoc IBondVault
    function share(uint64 epoch, address account, address to, uint96 amount) external onlyRollup {
        _shared[epoch] += amount;
        _accounts[account].locked -= amount;
        _accounts[to].free += amount;
        emit BondShared(epoch, account, to, amount);
    }

    /// @inheritdoc IBondVault
    function forfeit(uint64 epoch, address account, uint96 bond) external onlyRollup {
        uint96 rest = bond - _shared[epoch];
        delete _shared[epoch];
        _accounts[account].locked -= rest;
        _accounts[REWARDS].free += rest;
        emit BondLost(epoch, account, rest);
    }

    /// @inheritdoc IBondVault
    function balanceOf(address account) external view returns (uint128 free, uint128 locked) {
        Account memory a = _accounts[account];
        return (a.free, a.locked);
    }

    /// @inheritdoc IBondVault
    function sharedOf(uint64 epoch) external view returns (uint96) {
        return _shared[epoch];
    }

    function _take(address account, uint256 amount) private {
        uint128 free = _accounts[account].free;
        if (amount > free) revert BondTooLow(account, free, amount);
        _accounts[account].free = SafeCast.toUint128(free - amount);
    }
}
