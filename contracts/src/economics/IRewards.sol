// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title What provers, proposers and validators have earned. Everything is pulled.
interface IRewards {
    event ProofAccrued(address indexed prover, uint64 firstAdded, uint64 lastBlock, uint256 amount);
    event BlocksClaimed(uint64 indexed from, uint64 indexed to, uint256 fees);
    event Paid(address indexed who, uint256 amount);

    error NotRollup(address caller);
    error NotTied(address rollup);
    error RangeEmpty(uint64 from, uint64 to);
    error HintsWrong(uint256 expected, uint256 got);
    error BlocksAcrossEpochs(uint64 epoch, uint64 number);
    error CommitteeWrong(bytes32 expected, bytes32 got);
    error RangeEndWrong(uint64 number, uint64 got);
    error AlreadyClaimed(uint64 number);

    /// @notice Credits a proof that added `firstAdded` to `lastBlock`. The Rollup only.
    function accrueProof(address prover, uint64 delta, uint64 firstAdded, uint64 lastBlock) external;

    /// @notice Distributes the fees and rewards of proven blocks of one epoch, once each. Anyone may call.
    /// @param committee The epoch's committee, in order.
    /// @param rangeEnds For each block, the last block of the proof that first covered it.
    function claimBlocks(
        uint64 from,
        uint64 to,
        address[] calldata committee,
        uint64[] calldata rangeEnds
    ) external;

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
