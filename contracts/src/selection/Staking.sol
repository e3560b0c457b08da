// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IRegistry} from "../governance/IRegistry.sol";
import {IRollup} from "../IRollup.sol";
import {ISelection} from "./ISelection.sol";
import {IStaking} from "./IStaking.sol";
import {Quorum} from "./Quorum.sol";

/// @title Committees sampled out of stakers.
/// @dev The committee of epoch e is drawn from the set as it was at the start of epoch e - 3, with a seed
///      that is recorded in epoch e - 2: by its first proposal, or before that by anyone. So the set cannot
///      change any more when the seed can first be known. An epoch without a seed has no committee and its
///      slots stay empty, as those of epochs 0 to 2, whose set or seed would be older than the chain.
///      Whoever records a seed can choose among the values of `prevrandao` until another does, which is
///      accepted.
contract Staking is IStaking, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Checkpoints for Checkpoints.Trace160;

    uint256 private constant SET_LAG = 3;
    uint256 private constant SEED_LAG = 2;
    /// @dev The least set of which one member may fail: a quorum of fewer is everyone.
    uint256 private constant SET_MIN = 4;
    uint256 private constant REPORTER_PART = 10;

    /// @notice The rollup of this deployment.
    IRollup public immutable ROLLUP;
    /// @inheritdoc ISelection
    IERC20 public immutable TOKEN;
    /// @notice Has the least stake and the size of committees.
    IRegistry public immutable REGISTRY;
    /// @notice Gets nine tenths of a slashed stake.
    address public immutable REWARDS;
    /// @notice Unix time at which slot 0 begins.
    uint256 public immutable GENESIS_TIME;
    /// @notice Seconds of an epoch.
    uint256 public immutable EPOCH_SECONDS;
    /// @notice Slots of an epoch.
    uint64 public immutable SLOTS_PER_EPOCH;
    /// @notice Seconds from leaving the set to the stake's return: the epochs in which the member may
    ///         still sit in a committee, and the time in which evidence can still matter.
    uint256 public immutable EXIT_DELAY;

    mapping(address attester => Attester) private _attesters;
    /// @dev The set as an array with a history: member by index, and how many there are, by time.
    mapping(uint256 index => Checkpoints.Trace160) private _members;
    Checkpoints.Trace160 private _size;
    /// @dev By the epoch in which it was recorded; never 0 then.
    mapping(uint256 epoch => uint256) private _seeds;
    mapping(uint256 epoch => Drawn) private _drawn;

    struct Drawn {
        bytes32 hash;
        uint8 size;
        /// What the proposers are drawn with, too.
        uint248 seed;
    }

    constructor(IRollup rollup, IERC20 token) {
        IRollup.Contracts memory all = rollup.contracts();
        IRollup.Schedule memory s = rollup.schedule();
        if (address(all.selection) != address(this)) revert NotTied(address(rollup));
        ROLLUP = rollup;
        TOKEN = token;
        REGISTRY = all.registry;
        REWARDS = address(all.rewards);
        GENESIS_TIME = s.genesisTime;
        SLOTS_PER_EPOCH = s.slotsPerEpoch;
        EPOCH_SECONDS = uint256(s.slotsPerEpoch) * s.slotSeconds;
        EXIT_DELAY = (SET_LAG + 1) * EPOCH_SECONDS + s.proofWindowSeconds + s.challengeSeconds;
    }

    // ------------------------------------------------------------ stakers

    /// @inheritdoc IStaking
    function deposit(address attester, address withdrawer, uint256 amount) external nonReentrant {
        if (attester == address(0) || withdrawer == address(0)) revert AccountMissing();
        if (_attesters[attester].status != Status.None) revert AttesterKnown(attester);
        uint256 least = REGISTRY.rates().minStake;
        if (amount < least) revert StakeTooLow(least, amount);
        uint160 index = _size.latest();
        _attesters[attester] = Attester({
            withdrawer: withdrawer,
            stake: SafeCast.toUint96(amount),
            exitAt: 0,
            index: SafeCast.toUint32(index),
            status: Status.Active
        });
        _members[index].push(_now(), uint160(attester));
        _size.push(_now(), index + 1);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(attester, withdrawer, amount);
    }

    /// @inheritdoc IStaking
    function initiateExit(address attester) external {
        Attester storage a = _attesters[attester];
        if (msg.sender != a.withdrawer) revert NotWithdrawer(msg.sender);
        if (a.status != Status.Active) revert NotActive(attester);
        _remove(a);
        a.status = Status.Exiting;
        a.exitAt = SafeCast.toUint48(block.timestamp + EXIT_DELAY);
        emit ExitInitiated(attester, a.exitAt);
    }

    /// @inheritdoc IStaking
    function finalizeExit(address attester) external nonReentrant {
        Attester memory a = _attesters[attester];
        if (a.status != Status.Exiting) revert NotExiting(attester);
        if (block.timestamp < a.exitAt) revert ExitTooEarly(a.exitAt, block.timestamp);
        delete _attesters[attester];
        TOKEN.safeTransfer(a.withdrawer, a.stake);
        emit ExitFinalized(attester, a.stake);
    }

    /// @inheritdoc IStaking
    function slashEquivocation(Vote calldata a, Vote calldata b) external nonReentrant {
        if (a.slot != b.slot || (a.number == b.number && a.chain == b.chain)) {
            revert NotEquivocation();
        }
        address attester = _signer(a);
        if (_signer(b) != attester) revert NotEquivocation();
        Attester storage s = _attesters[attester];
        if (s.status != Status.Active && s.status != Status.Exiting) revert NotSlashable(attester);
        uint256 stake = s.stake;
        if (s.status == Status.Active) _remove(s);
        s.stake = 0;
        s.status = Status.Slashed;
        uint256 toReporter = stake / REPORTER_PART;
        TOKEN.safeTransfer(REWARDS, stake - toReporter);
        TOKEN.safeTransfer(msg.sender, toReporter);
        emit Slashed(attester, a.slot, msg.sender, stake);
    }

    /// @inheritdoc IStaking
    function attesterOf(address attester) external view returns (Attester memory) {
        return _attesters[attester];
    }

    // ------------------------------------------------------------ selection

    /// @inheritdoc ISelection
    function attest(
        uint64 epoch,
        uint64 slot,
        bytes32 digest,
        IRollup.Attestations calldata attestations
    ) external returns (address proposer, uint64 signers) {
        if (msg.sender != address(ROLLUP)) revert NotRollup(msg.sender);
        Drawn memory drawn = _drawn[epoch];
        if (drawn.size == 0) {
            drawn = _record(_sample(epoch), epoch);
            _drawn[epoch] = drawn;
            if (_seeds[epoch] == 0) _recordSeed(epoch);
            emit CommitteeSampled(epoch, drawn.hash, drawn.size);
        }
        return Quorum.check(drawn.hash, drawn.size, _turn(drawn, slot), digest, attestations);
    }

    /// @inheritdoc IStaking
    function recordSeed() external {
        if (block.timestamp < GENESIS_TIME) revert TooEarly(GENESIS_TIME, block.timestamp);
        uint64 epoch = SafeCast.toUint64((block.timestamp - GENESIS_TIME) / EPOCH_SECONDS);
        if (_seeds[epoch] != 0) revert SeedKnown(epoch);
        _recordSeed(epoch);
    }

    /// @inheritdoc ISelection
    function proposerOf(uint64 slot) external view returns (address) {
        uint64 epoch = slot / SLOTS_PER_EPOCH;
        if (!_canDraw(epoch)) return address(0);
        address[] memory members = committee(epoch);
        return members[_turn(_record(members, epoch), slot)];
    }

    /// @inheritdoc ISelection
    /// @dev Known from the moment at which its seed is recorded, but for its size, which is a rate and read
    ///      at the epoch's first proposal.
    function committee(uint64 epoch) public view returns (address[] memory) {
        uint8 size = _drawn[epoch].size;
        return size == 0 ? _sample(epoch) : _draw(epoch, size);
    }

    /// @inheritdoc ISelection
    function committeeHash(uint64 epoch) external view returns (bytes32) {
        return _drawn[epoch].hash;
    }

    // ------------------------------------------------------------ inside

    function _sample(uint64 epoch) private view returns (address[] memory) {
        return _draw(epoch, REGISTRY.rates().committeeSize);
    }

    /// @dev The first `wanted` steps of a Fisher-Yates shuffle of the set's indices. Only swapped indices
    ///      are kept, so the cost does not depend on the size of the set.
    function _draw(uint64 epoch, uint256 wanted) private view returns (address[] memory members) {
        if (!_canDraw(epoch)) revert NoCommittee(epoch);
        uint96 time = _frozenAt(epoch);
        uint256 size = _size.upperLookupRecent(time);
        uint256 seed = seedOf(epoch);
        uint256 n = wanted < size ? wanted : size;
        members = new address[](n);
        // Position i holds index `moved[i]` in place of its own, for the positions `places`.
        uint256[] memory places = new uint256[](n);
        uint256[] memory moved = new uint256[](n);
        for (uint256 i; i < n; i++) {
            uint256 place = i + uint256(keccak256(abi.encode(seed, i))) % (size - i);
            uint256 here = _at(places, moved, i, i);
            uint256 index = _at(places, moved, i, place);
            members[i] = address(_members[index].upperLookupRecent(time));
            places[i] = place;
            moved[i] = here;
        }
    }

    /// @dev What lies at `place` after `steps` swaps; the last swap that touched it counts.
    function _at(uint256[] memory places, uint256[] memory moved, uint256 steps, uint256 place)
        private
        pure
        returns (uint256)
    {
        while (steps > 0) {
            steps--;
            if (places[steps] == place) return moved[steps];
        }
        return place;
    }

    /// @dev Whether the epoch has a seed and enough members to draw from.
    function _canDraw(uint64 epoch) private view returns (bool) {
        return epoch >= SET_LAG && _seeds[epoch - SEED_LAG] != 0
            && _size.upperLookupRecent(_frozenAt(epoch)) >= SET_MIN;
    }

    /// @dev When the set of the epoch became final: one epoch before its seed could be recorded.
    function _frozenAt(uint64 epoch) private view returns (uint96) {
        return SafeCast.toUint96(GENESIS_TIME + (epoch - SET_LAG) * EPOCH_SECONDS);
    }

    /// @inheritdoc IStaking
    function seedOf(uint64 epoch) public view returns (uint248) {
        uint256 value = epoch < SEED_LAG ? 0 : _seeds[epoch - SEED_LAG];
        return value == 0 ? 0 : uint248(bytes31(keccak256(abi.encode(value, epoch))));
    }

    /// @dev Never 0, which means "not recorded".
    function _recordSeed(uint64 epoch) private {
        _seeds[epoch] = uint256(keccak256(abi.encode(block.prevrandao))) | 1;
        emit SeedRecorded(epoch);
    }

    function _record(address[] memory members, uint64 epoch) private view returns (Drawn memory) {
        return Drawn({
            hash: Quorum.hash(members), size: SafeCast.toUint8(members.length), seed: seedOf(epoch)
        });
    }

    function _turn(Drawn memory drawn, uint64 slot) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(drawn.seed, slot))) % drawn.size;
    }

    /// @dev The last member takes the place of the one that leaves.
    function _remove(Attester storage a) private {
        uint160 last = _size.latest() - 1;
        if (a.index != last) {
            uint160 other = _members[last].latest();
            _members[a.index].push(_now(), other);
            _attesters[address(other)].index = a.index;
        }
        _size.push(_now(), last);
    }

    function _signer(Vote calldata vote) private view returns (address) {
        bytes32 digest = ROLLUP.blockDigest(vote.number, vote.slot, vote.chain);
        return ECDSA.recoverCalldata(digest, vote.signature);
    }

    function _now() private view returns (uint96) {
        return SafeCast.toUint96(block.timestamp);
    }
}
