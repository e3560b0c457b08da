// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IRollup} from "../IRollup.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title A deployment's contracts and rates.
/// @dev Deployed last: its constructor requires that every predicted contract exists, so a deployment
///      with a Registry is complete. Rates beyond the bounds here are taken for wrong digits.
contract Registry is IRegistry {
    uint256 private constant BPS = 10_000;
    /// @dev The least committee of which one member may fail.
    uint256 private constant COMMITTEE_MIN = 4;
    uint256 private constant COMMITTEE_MAX = 64;
    /// @notice 0.001 of the token for a row.
    uint256 public constant FEE_PER_CONSTRAINT_MAX = 1e15;
    /// @notice 10,000 of the token.
    uint256 public constant BLOCK_REWARD_MAX = 1e22;
    /// @notice A million of the token, for bonds and stakes.
    uint256 public constant AMOUNT_MAX = 1e24;

    /// @inheritdoc IRegistry
    IRollup public immutable ROLLUP;
    /// @inheritdoc IRegistry
    IERC20 public immutable TOKEN;
    /// @inheritdoc IRegistry
    address public immutable TIMELOCK;

    Rates private _rates;

    constructor(IRollup rollup, address timelock, Rates memory first) {
        IRollup.Contracts memory all = rollup.contracts();
        if (address(all.registry) != address(this)) revert NotTied(address(rollup));
        _requireContract(timelock);
        _requireContract(address(all.dataAvailability));
        _requireContract(address(all.selection));
        _requireContract(address(all.inbox));
        _requireContract(address(all.outbox));
        _requireContract(address(all.feePortal));
        _requireContract(address(all.rewards));
        _requireContract(address(all.bondVault));
        ROLLUP = rollup;
        TOKEN = all.feePortal.TOKEN();
        _requireToken(all.rewards.TOKEN());
        _requireToken(all.bondVault.TOKEN());
        // A committee without stakes has no token.
        IERC20 staked = all.selection.TOKEN();
        if (address(staked) != address(0)) _requireToken(staked);
        TIMELOCK = timelock;
        _set(first);
    }

    /// @inheritdoc IRegistry
    function setRates(Rates calldata next) external {
        if (msg.sender != TIMELOCK) revert NotTimelock(msg.sender);
        _set(next);
    }

    /// @inheritdoc IRegistry
    function rates() external view returns (Rates memory) {
        return _rates;
    }

    /// @inheritdoc IRegistry
    function bondAmount() external view returns (uint96) {
        return _rates.bondAmount;
    }

    /// @inheritdoc IRegistry
    function challengeShareBps() external view returns (uint16) {
        return _rates.challengeShareBps;
    }

    function _set(Rates memory r) private {
        if (r.feePerConstraint > FEE_PER_CONSTRAINT_MAX) revert RateOutOfRange("feePerConstraint");
        if (r.blockReward > BLOCK_REWARD_MAX) revert RateOutOfRange("blockReward");
        if (uint256(r.proposerBps) + r.attesterBps + r.proverBps != BPS) {
            revert RateOutOfRange("proposerBps + attesterBps + proverBps");
        }
        if (r.challengeShareBps > BPS) revert RateOutOfRange("challengeShareBps");
        if (r.committeeSize < COMMITTEE_MIN || r.committeeSize > COMMITTEE_MAX) {
            revert RateOutOfRange("committeeSize");
        }
        if (r.bondAmount > AMOUNT_MAX) revert RateOutOfRange("bondAmount");
        if (r.minStake == 0 || r.minStake > AMOUNT_MAX) revert RateOutOfRange("minStake");
        _rates = r;
        emit RatesSet(r);
    }

    function _requireContract(address a) private view {
        if (a.code.length == 0) revert ContractMissing(a);
    }

    function _requireToken(IERC20 token) private view {
        if (address(token) != address(TOKEN)) revert TokenWrong(address(TOKEN), address(token));
    }
}
