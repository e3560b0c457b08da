// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Bonds of proposers: the first block of an epoch locks one, and a proof in time returns it.
interface IBondVault {
    /// @notice The free part of `account` grew by `amount` base units.
    event Deposited(address indexed account, uint256 amount);
    /// @notice `account` took `amount` base units out of its free part.
    event Withdrawn(address indexed account, uint256 amount);
    /// @notice `account` locked `amount` base units as the epoch's bond.
    event BondLocked(uint64 indexed epoch, address indexed account, uint256 amount);
    /// @notice The epoch's bond is free again.
    event BondReturned(uint64 indexed epoch, address indexed account, uint256 amount);
    /// @notice `amount` of the epoch's bond of `account` went to `to`, who proved the epoch late.
    event BondShared(
        uint64 indexed epoch, address indexed account, address indexed to, uint256 amount
    );
    /// @notice `amount`, what was left of the epoch's bond of `account`, went to Rewards.
    event BondLost(uint64 indexed epoch, address indexed account, uint256 amount);
    /// @notice `amount` of lost bonds was sent to Rewards.
    event Collected(uint256 amount);

    /// @notice The caller is not the rollup.
    error NotRollup(address caller);
    /// @notice The rollup names another contract in this one's place.
    error NotTied(address rollup);
    /// @notice The account has less in its free part than is needed.
    error BondTooLow(address account, uint256 free, uint256 needed);

    /// @notice Adds to an account's free part. Anyone may pay for any account.
    function deposit(address account, uint256 amount) external;
    /// @notice Pays out of the caller's free part.
    function withdraw(uint256 amount) external;
    /// @notice Sends lost bonds to Rewards. Anyone may call.
    function collect() external;

    /// @notice Moves an epoch's bond from free to locked. The Rollup only, as the three below.
    function lock(uint64 epoch, address account, uint96 amount) external;
    /// @notice Moves it from locked to free.
    function release(uint64 epoch, address account, uint96 amount) external;
    /// @notice Gives a part of an epoch's locked bond to a late prover, who may withdraw it.
    function share(uint64 epoch, address account, address to, uint96 amount) external;
    /// @notice Gives what is left of an epoch's locked bond to Rewards.
    function forfeit(uint64 epoch, address account, uint96 bond) external;

    /// @notice The free and the locked part of an account, in base units.
    function balanceOf(address account) external view returns (uint128 free, uint128 locked);
    /// @notice What late provers got of an epoch's bond that is still locked.
    function sharedOf(uint64 epoch) external view returns (uint96);
    /// @notice The token of bonds.
    function TOKEN() external view returns (IERC20);
}
