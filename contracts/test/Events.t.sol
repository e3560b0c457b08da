// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IBondVault} from "../src/economics/IBondVault.sol";
import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {Fixture, StakedFixture} from "./Fixture.sol";
import {IDeployments} from "./Interfaces.sol";

/// @notice Events of accounts and of governance, which programs and people outside read. Those of blocks, proofs, pay and
///         messages are compared where their rules are tested.
contract EventsTest is Fixture {
    event DeploymentAdded(uint256 indexed id, string name, address registry, uint64 version);
    event CanonicalSet(uint256 indexed id);
    event Funded(uint256 indexed id, address rewards, uint256 amount);

    function test_events_of_bonds() public {
        address vault = address(all.bondVault);
        address poster = VM.addr(keys[0]);
        VM.expectEmit(vault);
        emit IBondVault.Deposited(address(this), 7);
        all.bondVault.deposit(address(this), 7);
        VM.expectEmit(vault);
        emit IBondVault.Withdrawn(address(this), 6);
        all.bondVault.withdraw(6);
        VM.warp(_time(1));
        VM.expectEmit(vault);
        emit IBondVault.BondLocked(0, poster, BOND);
        _submit(_block(0, 1));
        _propose(uint48(SLOTS));
        VM.warp(_windowEnd(0) + 1);
        VM.expectEmit(vault);
        emit IBondVault.BondShared(0, poster, PROVER, BOND / 2);
        VM.expectEmit(vault);
        emit IBondVault.BondLost(0, poster, BOND / 2);
        _prove(0, 1, 5);
        VM.expectEmit(vault);
        emit IBondVault.BondReturned(1, poster, BOND);
        _prove(1, 2, 5);
        VM.expectEmit(vault);
        emit IBondVault.Collected(BOND / 2);
        all.bondVault.collect();
    }

    function test_event_of_released_fees() public {
        token.transfer(address(all.feePortal), 9);
        VM.prank(address(all.rewards));
        VM.expectEmit(address(all.feePortal));
        emit IFeePortal.Released(9);
        all.feePortal.release(9);
    }

    function test_events_of_governance() public {
        IRegistry.Rates memory r = _rates();
        r.blockReward = 1;
        VM.expectEmit(address(all.registry));
        emit IRegistry.RatesSet(r);
        all.registry.setRates(r);
        IDeployments list = _deployList(address(this));
        VM.expectEmit(address(list));
        emit DeploymentAdded(0, "testnet-alpha", address(all.registry), rollup.version());
        list.add("testnet-alpha", all.registry);
        VM.expectEmit(address(list));
        emit CanonicalSet(0);
        list.setCanonical(0);
        token.approve(address(list), 5);
        VM.expectEmit(address(list));
        emit Funded(0, address(all.rewards), 5);
        list.fund(0, 5);
    }
}

contract StakingEventsTest is StakedFixture {
    function test_events_of_stakes() public {
        address attester = address(0xB0B);
        IStaking staking = IStaking(address(all.selection));
        token.approve(address(staking), MANY);
        VM.expectEmit(address(staking));
        emit IStaking.Deposited(attester, address(this), STAKE + 1);
        staking.deposit(attester, address(this), STAKE + 1);
        uint256 exitAt = _challengeEnd(3);
        VM.expectEmit(address(staking));
        emit IStaking.ExitInitiated(attester, exitAt);
        staking.initiateExit(attester);
        VM.warp(exitAt);
        VM.expectEmit(address(staking));
        emit IStaking.ExitFinalized(attester, STAKE + 1);
        staking.finalizeExit(attester);
    }
}
