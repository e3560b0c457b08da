// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
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

    struct Epoch {
        /// Of the longest accepted proof.
        address prover;
        bool isPaid;
    }

    uint256 private constant BPS = 10_000;
    /// @notice Base units of the token in one unit on L2.
    uint256 public constant UNIT = 1e9;

    /// @notice The rollup of this deployment.
    IRollup public immutable ROLLUP;
    /// @inheritdoc IRewards
    IERC20 public immutable TOKEN;
    /// @notice Has the fees that users paid.
    IFeePortal public immutable FEE_PORTAL;
    /// @notice Has the rates.
    IRegistry public immutable REGISTRY;
    /// @notice Knows the committees, whose members earn parts of fees.
    ISelection public immutable SELECTION;
    /// @notice Slots of an epoch.
    uint64 public immutable SLOTS_PER_EPOCH;

    /// @inheritdoc IRewards
    uint256 public feesOwed;
    /// @dev Parts of fees, which users paid: always there, and nobody else's claim can take them.
    mapping(address => uint256) private _fees;
    /// @dev Pay for proofs and blocks, which there may be no funds for.
    uint256 private _payOwed;
    mapping(address => uint256) private _pay;
    mapping(uint256 epoch => Epoch) private _epochs;
    BitMaps.BitMap private _claimed;

    modifier onlyRollup() {
        if (msg.sender != address(ROLLUP)) revert NotRollup(msg.sender);
        _;
    }

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
    function recordProver(uint64 epoch, address prover) external onlyRollup {
        _epochs[epoch].prover = prover;
    }

    /// @inheritdoc IRewards
    function payEpoch(uint64 epoch, uint64 rows) external onlyRollup {
        address prover = _epochs[epoch].prover;
        _epochs[epoch].isPaid = true;
        uint256 amount = uint256(REGISTRY.rates().feePerConstraint) * rows;
        _pay[prover] += amount;
        _payOwed += amount;
        emit EpochPaid(epoch, prover, rows, amount);
    }

    /// @inheritdoc IRewards
    function claimBlocks(uint64 from, uint64 to, address[] calldata committee)
        external
        nonReentrant
    {
        if (to < from) revert RangeEmpty(from, to);
        (, uint48 firstSlot,,) = ROLLUP.provenFees(from);
        uint64 epoch = firstSlot / SLOTS_PER_EPOCH;
        bytes32 expected = SELECTION.committeeHash(epoch);
        bytes32 got = keccak256(abi.encodePacked(committee));
        if (got != expected) revert CommitteeWrong(expected, got);
        Epoch memory e = _epochs[epoch];
        if (!e.isPaid) revert EpochNotSettled(epoch);

        IRegistry.Rates memory rates = REGISTRY.rates();
        uint256[] memory earned = new uint256[](committee.length);
        (uint64 count, uint256 fees, uint256 owed) = (0, 0, 0);
        for (uint64 number = from; number <= to; number++) {
            (address coinbase, uint48 slot, uint128 units, uint64 signers) =
                ROLLUP.provenFees(number);
            if (slot / SLOTS_PER_EPOCH != epoch) revert BlocksAcrossEpochs(epoch, number);
            // Somebody else's claim of a part must not stop the rest.
            if (_claimed.get(number)) continue;
            _claimed.set(number);
            count++;
            fees += units * UNIT;
            owed += _credit(units * UNIT, coinbase, e.prover, signers, rates, earned);
        }
        if (count == 0) revert AlreadyClaimed(from, to);
        for (uint256 i; i < earned.length; i++) {
            if (earned[i] != 0) _fees[committee[i]] += earned[i];
        }
        feesOwed += owed;
        _payOwed += uint256(rates.blockReward) * count;
        emit BlocksClaimed(from, to, count, fees);
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

    /// @dev Credits a block's coinbase and its epoch's prover, adds the signers' parts to `earned`, and returns
    ///      what of the fees is owed now. The part of a member that did not sign is owed to nobody and pays
    ///      for proofs and blocks: whoever sends a block could leave signers out, and must not gain by it.
    ///      What a division leaves goes to the coinbase.
    function _credit(
        uint256 fees,
        address coinbase,
        address prover,
        uint64 signers,
        IRegistry.Rates memory rates,
        uint256[] memory earned
    ) private returns (uint256 owed) {
        uint256 toProver = fees * rates.proverBps / BPS;
        // A committee has at least one member.
        uint256 each = fees * rates.attesterBps / BPS / earned.length;
        owed = fees;
        for (uint256 i; i < earned.length; i++) {
            if ((signers >> i) & 1 == 1) earned[i] += each;
            else owed -= each;
        }
        _fees[prover] += toProver;
        _fees[coinbase] += fees - toProver - each * earned.length;
        _pay[coinbase] += rates.blockReward;
    }
}
