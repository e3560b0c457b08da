// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Bonds of proposers: the first block of an epoch locks one, and a proof in time returns it.
interface IBondVault {
    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);
    event BondLocked(uint64 indexed epoch, address indexed account, uint256 amount);
    event BondReturned(uint64 indexed epoch, address indexed account, uint256 amount);
    event BondShared(
        uint64 indexed epoch, address indexed account, address indexed to, uint256 amount
    );
    event BondLost(uint64 indexed epoch, address indexed account, uint256 amount);
    event Collected(uint256 amount);

    error NotRollup(address caller);
    error NotTied(address rollup);
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

    function balanceOf(address account) external view returns (uint128 free, uint128 locked);
    /// @notice What late provers got of an epoch's bond that is still locked.
    function sharedOf(uint64 epoch) external view returns (uint96);
    function TOKEN() external view returns (IERC20);
}
