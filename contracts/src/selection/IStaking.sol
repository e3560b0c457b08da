// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISelection} from "./ISelection.sol";

/// @title Stakers, from whom committees are sampled.
/// @dev A report of equivocation can be copied by anyone who sees it before it is included, and an offender
///      can report itself: what slashing takes for certain is nine tenths of the stake. A stake may be
///      placed for an address without its consent: it costs the depositor the stake for the exit delay and
///      gives the address a duty that it may ignore.
interface IStaking is ISelection {
    enum Status {
        None,
        Active,
        Exiting,
        Slashed
    }

    struct Attester {
        address withdrawer;
        uint96 stake;
        /// When the stake can leave; 0 unless exiting.
        uint48 exitAt;
        /// Place in the set; without meaning unless active.
        uint32 index;
        Status status;
    }

    /// @notice A signature over a block, as evidence.
    struct Vote {
        uint64 number;
        uint64 slot;
        bytes32 chain;
        bytes signature;
    }

    /// @notice `amount` base units were staked for `attester`; only `withdrawer` can take them out.
    event Deposited(address indexed attester, address indexed withdrawer, uint256 amount);
    /// @notice `attester` left the set, and its stake can leave from `exitAt` on.
    event ExitInitiated(address indexed attester, uint256 exitAt);
    /// @notice The stake of `attester` was paid to its withdrawer.
    event ExitFinalized(address indexed attester, uint256 amount);
    /// @notice `attester` lost its whole stake of `amount` for two blocks of `slot`, which `reporter` showed.
    event Slashed(address indexed attester, uint64 slot, address indexed reporter, uint256 amount);
    /// @notice The committee of an epoch was drawn, at its first proposal.
    event CommitteeSampled(uint64 indexed epoch, bytes32 committeeHash, uint8 size);
    /// @notice The committee of epoch + 2 can be known from now on.
    event SeedRecorded(uint64 indexed epoch);

    /// @notice The caller is not the rollup.
    error NotRollup(address caller);
    /// @notice The rollup names another contract in this one's place.
    error NotTied(address rollup);
    /// @notice Attester and withdrawer must not be the address 0.
    error AccountMissing();
    /// @notice The attester has a stake, or was slashed.
    error AttesterKnown(address attester);
    /// @notice The stake is below the least one.
    error StakeTooLow(uint256 least, uint256 got);
    /// @notice The caller is not the attester's withdrawer.
    error NotWithdrawer(address caller);
    /// @notice The attester is not in the set.
    error NotActive(address attester);
    /// @notice The attester is not exiting.
    error NotExiting(address attester);
    /// @notice The stake cannot leave before `exitAt`.
    error ExitTooEarly(uint256 exitAt, uint256 time);
    /// @notice The two votes are not of one signer for two blocks of one slot.
    error NotEquivocation();
    /// @notice The signer has no stake.
    error NotSlashable(address attester);
    /// @notice Epoch 0 has not started.
    error TooEarly(uint256 genesisTime, uint256 time);
    /// @notice The epoch's seed is recorded.
    error SeedKnown(uint64 epoch);

    /// @notice Stakes `amount` of the caller's for `attester`, once; committees count heads, not stakes.
    ///         A slashed attester cannot come back.
    function deposit(address attester, address withdrawer, uint256 amount) external;
    /// @notice Leaves the set. The withdrawer only.
    function initiateExit(address attester) external;
    /// @notice Pays the stake to the withdrawer once the delay is over. Anyone may call.
    function finalizeExit(address attester) external;
    /// @notice Slashes an attester that signed two blocks of one slot. A tenth of the stake goes to the
    ///         caller, the rest to Rewards.
    function slashEquivocation(Vote calldata a, Vote calldata b) external;

    /// @notice Records the seed of the current epoch, with which the committee of the epoch after the next is
    ///         drawn. Anyone may call, once, unless the epoch had a proposal, which does it by itself.
    function recordSeed() external;

    /// @notice What is kept of an attester; all 0 if it never staked or its stake was paid back.
    function attesterOf(address attester) external view returns (Attester memory);
    /// @notice What the committee of an epoch is drawn with; 0 if it is not recorded.
    function seedOf(uint64 epoch) external view returns (uint248);
}
