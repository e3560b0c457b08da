// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IInbox} from "../messages/IInbox.sol";
import {IOutbox} from "../messages/IOutbox.sol";
import {IRollup} from "../IRollup.sol";
import {IFeePortal} from "./IFeePortal.sol";

/// @title The bridge of the fee asset.
/// @dev Pays withdrawals and fees of proven blocks only, and nobody can stop it. What the circuits
///      conserve on L2 bounds what leaves: genesis + deposits - withdrawals - released fees.
contract FeePortal is IFeePortal, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Base units of the token in one unit on L2.
    uint256 public constant UNIT = 1e9;

    /// @inheritdoc IFeePortal
    IERC20 public immutable TOKEN;
    /// @notice Takes the messages of deposits.
    IInbox public immutable INBOX;
    /// @notice Has the messages of withdrawals.
    IOutbox public immutable OUTBOX;
    /// @notice Gets the fees of proven blocks.
    address public immutable REWARDS;

    constructor(IRollup rollup, IERC20 token) {
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.feePortal) != address(this)) revert NotTied(address(rollup));
        TOKEN = token;
        INBOX = all.inbox;
        OUTBOX = all.outbox;
        REWARDS = address(all.rewards);
    }

    /// @inheritdoc IFeePortal
    function deposit(bytes32 to, uint256 amount)
        external
        nonReentrant
        returns (uint64 number, uint64 index)
    {
        if (amount % UNIT != 0) revert AmountNotWholeUnits(amount);
        if (amount / UNIT > type(uint64).max) revert AmountTooLarge(amount);
        uint64 units = SafeCast.toUint64(amount / UNIT);
        (number, index,) = INBOX.sendDeposit(to, units);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(to, units, number, index);
    }

    /// @inheritdoc IFeePortal
    function withdraw(
        uint64 number,
        uint16 transaction,
        address recipient,
        uint64 units,
        bytes32[] calldata path
    ) external nonReentrant {
        OUTBOX.consumeWithdrawal(number, transaction, recipient, units, path);
        TOKEN.safeTransfer(recipient, units * UNIT);
        emit Withdrawn(recipient, units, number, transaction);
    }

    /// @inheritdoc IFeePortal
    function release(uint256 amount) external nonReentrant {
        if (msg.sender != REWARDS) revert NotRewards(msg.sender);
        TOKEN.safeTransfer(REWARDS, amount);
        emit Released(amount);
    }
}
