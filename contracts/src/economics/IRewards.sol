// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title What provers, proposers and validators have earned. Everything is pulled.
interface IRewards {
    /// @notice `prover` is owed `amount` for the epoch's longest proof, of `rows` charged rows.
    event EpochPaid(uint64 indexed epoch, address indexed prover, uint64 rows, uint256 amount);
    /// @notice `count` blocks from `from` to `to` were claimed now, the others before.
    event BlocksClaimed(uint64 indexed from, uint64 indexed to, uint64 count, uint256 fees);
    event Paid(address indexed who, uint256 amount);

    error NotRollup(address caller);
    error NotTied(address rollup);
    error RangeEmpty(uint64 from, uint64 to);
    error BlocksAcrossEpochs(uint64 epoch, uint64 number);
    error CommitteeWrong(bytes32 expected, bytes32 got);
    error EpochNotSettled(uint64 epoch);
    error AlreadyClaimed(uint64 from, uint64 to);

    /// @notice Notes whose proof of the epoch is the longest so far. The Rollup only.
    function recordProver(uint64 epoch, address prover) external;

    /// @notice Credits the longest proof of an epoch that gets no more. The Rollup only.
    function payEpoch(uint64 epoch, uint64 rows) external;

    /// @notice Distributes the fees and rewards of blocks of one settled epoch, once each: blocks that were
    ///         claimed before are skipped. Anyone may call.
    /// @param committee The epoch's committee, in order.
    function claimBlocks(uint64 from, uint64 to, address[] calldata committee) external;

    /// @notice Pays the fees that `who` is owed, and for its proofs and blocks what there is besides everybody's
    ///         fees. Anyone may call.
    function claim(address who) external returns (uint256 amount);

    function owedTo(address who) external view returns (uint256);
    /// @notice Sum over all accounts, to be compared with the funds.
    function totalOwed() external view returns (uint256);
    /// @notice The part of it that is fees; the contract always has that much.
    function feesOwed() external view returns (uint256);
    function isClaimed(uint64 number) external view returns (bool);
    function TOKEN() external view returns (IERC20);
}
