// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title What provers, proposers and validators have earned. Everything is pulled.
interface IRewards {
    /// @notice `prover` is owed `amount` for the epoch's longest proof, of `rows` charged rows.
    event EpochPaid(uint64 indexed epoch, address indexed prover, uint64 rows, uint256 amount);
    /// @notice `count` blocks from `from` to `to` were claimed now, the others before.
    event BlocksClaimed(uint64 indexed from, uint64 indexed to, uint64 count, uint256 fees);
    /// @notice `amount` base units were paid to `who`.
    event Paid(address indexed who, uint256 amount);

    /// @notice The caller is not the rollup.
    error NotRollup(address caller);
    /// @notice The rollup names another contract in this one's place.
    error NotTied(address rollup);
    /// @notice The last block is before the first one.
    error RangeEmpty(uint64 from, uint64 to);
    /// @notice The block is of another epoch than the first one of the range.
    error BlocksAcrossEpochs(uint64 epoch, uint64 number);
    /// @notice The given committee is not that of the epoch.
    error CommitteeWrong(bytes32 expected, bytes32 got);
    /// @notice The epoch is not settled, so its prover is not known for certain.
    error EpochNotSettled(uint64 epoch);
    /// @notice All blocks of the range were claimed before.
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

    /// @notice Base units that `who` has earned and not been paid.
    function owedTo(address who) external view returns (uint256);
    /// @notice Sum over all accounts, to be compared with the funds.
    function totalOwed() external view returns (uint256);
    /// @notice The part of it that is fees; the contract always has that much.
    function feesOwed() external view returns (uint256);
    /// @notice Whether the fees and the reward of a block were distributed.
    function isClaimed(uint64 number) external view returns (bool);
    /// @notice The token that is paid.
    function TOKEN() external view returns (IERC20);
}
