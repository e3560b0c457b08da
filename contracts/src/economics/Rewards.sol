// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {IRegistry} from "../governance/IRegistry.sol";
import {ISelection} from "../selection/ISelection.sol";
import {IRollup} from "../IRollup.sol";
import {IFeePortal} from "./IFeePortal.sol";
import {IRewards} from "./IRewards.sol";

/// @title Pay of provers, proposers and validators.
/// @dev Fees come out of the FeePortal, block rewards and proofs out of what governance funds. An empty
///      treasury delays pay and blocks nothing: accruing moves numbers only.
contract Rewards is IRewards, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using BitMaps for BitMaps.BitMap;

    struct Range {
        /// 0 if no accepted proof ended with this block.
        uint48 first;
        address prover;
    }

    uint256 private constant BPS = 10_000;
    /// @notice Base units of the token in one unit on L2.
    uint256 public constant UNIT = 1e9;

    IRollup public immutable ROLLUP;
    IERC20 public immutable TOKEN;
    IFeePortal public immutable FEE_PORTAL;
    IRegistry public immutable REGISTRY;
    ISelection public immutable SELECTION;
    uint64 public immutable SLOTS_PER_EPOCH;

    /// @inheritdoc IRewards
    uint256 public feesOwed;
    /// @dev Parts of fees, which users paid: always there, and nobody else's claim can take them.
    mapping(address => uint256) private _fees;
    /// @dev Pay for proofs and blocks, which there may be no funds for.
    uint256 private _payOwed;
    mapping(address => uint256) private _pay;
    /// @dev The blocks that an accepted proof added, by the last of them.
    mapping(uint256 lastBlock => Range) private _ranges;
    BitMaps.BitMap private _claimed;

    constructor(IRollup rollup, IERC20 token) {
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.rewards) != address(this)) revert NotTied(address(rollup));
        ROLLUP = rollup;
        TOKEN = token;
        FEE_PORTAL = all.feePortal;
        REGISTRY = all.registry;
        SELECTION = all.selection;
        SLOTS_PER_EPOCH = rollup.schedule().slotsPerEpoch;
    }

    /// @inheritdoc IRewards
    function accrueProof(address prover, uint64 delta, uint64 firstAdded, uint64 lastBlock)
        external
    {
        if (msg.sender != address(ROLLUP)) revert NotRollup(msg.sender);
        _ranges[lastBlock] = Range({first: SafeCast.toUint48(firstAdded), prover: prover});
        uint256 amount = uint256(REGISTRY.rates().feePerConstraint) * delta;
        _pay[prover] += amount;
        _payOwed += amount;
        emit ProofAccrued(prover, firstAdded, lastBlock, amount);
    }

    /// @inheritdoc IRewards
    function claimBlocks(
        uint64 from,
        uint64 to,
        address[] calldata committee,
        uint64[] calldata rangeEnds
    ) external nonReentrant {
        if (to < from) revert RangeEmpty(from, to);
        if (rangeEnds.length != uint256(to) - from + 1) {
            revert HintsWrong(uint256(to) - from + 1, rangeEnds.length);
        }
        (, uint48 firstSlot,,) = ROLLUP.provenFees(from);
        uint64 epoch = firstSlot / SLOTS_PER_EPOCH;
        bytes32 expected = SELECTION.committeeHash(epoch);
        bytes32 got = keccak256(abi.encodePacked(committee));
        if (got != expected) revert CommitteeWrong(expected, got);

        IRegistry.Rates memory rates = REGISTRY.rates();
        uint256[] memory earned = new uint256[](committee.length);
        uint256 fees;
        for (uint256 i; i < rangeEnds.length; i++) {
            fees += _claimBlock(SafeCast.toUint64(from + i), epoch, rangeEnds[i], rates, earned);
        }
        for (uint256 i; i < earned.length; i++) {
            if (earned[i] != 0) _fees[committee[i]] += earned[i];
        }
        feesOwed += fees;
        _payOwed += uint256(rates.blockReward) * rangeEnds.length;
        emit BlocksClaimed(from, to, fees);
        FEE_PORTAL.release(fees);
    }

    /// @inheritdoc IRewards
    function claim(address who) external nonReentrant returns (uint256 amount) {
        uint256 fees = _fees[who];
        // What fees do not need pays for proofs and blocks, in the order of claims.
        uint256 free = TOKEN.balanceOf(address(this)) - feesOwed;
        uint256 pay = Math.min(_pay[who], free);
        _fees[who] = 0;
        feesOwed -= fees;
        _pay[who] -= pay;
        _payOwed -= pay;
        amount = fees + pay;
        TOKEN.safeTransfer(who, amount);
        emit Paid(who, amount);
    }

    /// @inheritdoc IRewards
    function owedTo(address who) external view returns (uint256) {
        return _fees[who] + _pay[who];
    }

    /// @inheritdoc IRewards
    function totalOwed() external view returns (uint256) {
        return feesOwed + _payOwed;
    }

    /// @inheritdoc IRewards
    function isClaimed(uint64 number) external view returns (bool) {
        return _claimed.get(number);
    }

    /// @dev Credits coinbase and prover, adds the signers' parts to `earned`, and returns the fees.
    ///      What a division leaves goes to the coinbase.
    function _claimBlock(
        uint64 number,
        uint64 epoch,
        uint64 rangeEnd,
        IRegistry.Rates memory rates,
        uint256[] memory earned
    ) private returns (uint256 fees) {
        (address coinbase, uint48 slot, uint128 totalFees, uint64 signers) =
            ROLLUP.provenFees(number);
        if (slot / SLOTS_PER_EPOCH != epoch) revert BlocksAcrossEpochs(epoch, number);
        if (_claimed.get(number)) revert AlreadyClaimed(number);
        _claimed.set(number);
        Range memory range = _ranges[rangeEnd];
        if (range.first == 0 || number < range.first || number > rangeEnd) {
            revert RangeEndWrong(number, rangeEnd);
        }
        fees = totalFees * UNIT;
        uint256 toProver = fees * rates.proverBps / BPS;
        uint256 count;
        for (uint256 i; i < earned.length; i++) {
            count += (signers >> i) & 1;
        }
        // A quorum is at least one.
        uint256 each = fees * rates.attesterBps / BPS / count;
        for (uint256 i; i < earned.length; i++) {
            earned[i] += each * ((signers >> i) & 1);
        }
        _fees[range.prover] += toProver;
        _fees[coinbase] += fees - toProver - each * count;
        _pay[coinbase] += rates.blockReward;
    }
}
