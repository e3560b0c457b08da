// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IBondVault} from "../src/economics/IBondVault.sol";
import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {IRewards} from "../src/economics/IRewards.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./Fixture.sol";
import {HostileToken} from "./Doubles.sol";

/// @notice Who is paid what.
contract EconomicsTest is Fixture {
    uint256 private constant FEES = 1000e9;

    function setUp() public override {
        super.setUp();
        _keys(3);
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1000e18);
        token.transfer(address(all.rewards), 1000e18);
    }

    /// Blocks 1 to 3 in epoch 0 with other signers each; block 4 in epoch 1.
    function _four() private {
        for (uint48 i = 1; i <= 4; i++) {
            VM.warp(_time(i));
            IRollup.ProposeArgs memory args = _block(i - 1, i);
            bytes32 chain = _link(rollup.blockRecord(i - 1).chain, args, _da(0));
            // A quorum of three is three; for fewer signers the record is changed below.
            rollup.propose(args, _attest(7, rollup.blockDigest(i, i, chain)), _da(0));
        }
    }

    function _ends(uint64 a, uint64 b, uint64 c) private pure returns (uint64[] memory e) {
        e = new uint64[](3);
        (e[0], e[1], e[2]) = (a, b, c);
    }

    function test_fees_and_reward_go_to_coinbase_signers_and_first_prover() public {
        _four();
        _prove(0, 1, 100);
        IRollup.EpochArgs memory args = _range(0, 3, 250);
        args.prover = address(0x2222);
        rollup.submitEpochProof(args, "proof");
        uint256 paid = uint256(_rates().feePerConstraint);
        assertEq(all.rewards.owedTo(PROVER), 100 * paid, "first proof");
        assertEq(all.rewards.owedTo(address(0x2222)), 150 * paid, "second proof");

        uint256 before = token.balanceOf(address(all.rewards));
        VM.expectEmit(address(all.rewards));
        emit IRewards.BlocksClaimed(1, 3, 3 * FEES);
        all.rewards.claimBlocks(1, 3, _members(), _ends(1, 3, 3));
        assertEq(token.balanceOf(address(all.rewards)), before + 3 * FEES, "released");
        uint256 each = FEES * 2_000 / 10_000 / 3;
        for (uint256 i; i < 3; i++) {
            assertEq(all.rewards.owedTo(_members()[i]), 3 * each, "signer");
        }
        assertEq(all.rewards.owedTo(PROVER), 100 * paid + FEES / 10, "prover of block 1");
        assertEq(all.rewards.owedTo(address(0x2222)), 150 * paid + 2 * (FEES / 10), "of 2 and 3");
        assertEq(
            all.rewards.owedTo(COINBASE),
            3 * (FEES - FEES / 10 - 3 * each + 5e18),
            "coinbase, with what divisions left"
        );
        assertEq(all.rewards.totalOwed(), 250 * paid + 3 * (FEES + 5e18), "total");
        require(all.rewards.isClaimed(3) && !all.rewards.isClaimed(4), "claimed");
    }

    function test_only_signers_share() public {
        _keys(4);
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1e18);
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        // Members 0, 1 and 3; the proposer of slot 1 is member 1.
        bytes32 digest = rollup.blockDigest(1, 1, _link(0, args, _da(0)));
        rollup.propose(args, _attest(11, digest), _da(0));
        _prove(0, 1, 5);
        uint64[] memory ends = new uint64[](1);
        ends[0] = 1;
        all.rewards.claimBlocks(1, 1, _members(), ends);
        uint256 each = uint256(1000e9) * 2_000 / 10_000 / 3;
        assertEq(all.rewards.owedTo(_members()[2]), 0, "member 2 did not sign");
        assertEq(all.rewards.owedTo(_members()[3]), each, "member 3 did");
    }

    function test_each_block_is_claimed_once_with_right_hints() public {
        _four();
        address[] memory members = _members();
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 0, 1));
        all.rewards.claimBlocks(1, 3, members, _ends(1, 3, 3));
        _prove(0, 1, 100);
        _prove(0, 3, 200);
        VM.expectRevert(abi.encodeWithSelector(IRewards.RangeEmpty.selector, 3, 2));
        all.rewards.claimBlocks(3, 2, members, new uint64[](0));
        VM.expectRevert(abi.encodeWithSelector(IRewards.HintsWrong.selector, 2, 3));
        all.rewards.claimBlocks(1, 2, members, _ends(1, 3, 3));
        // Another range's end, an end that no proof had, one before the block.
        VM.expectRevert(abi.encodeWithSelector(IRewards.RangeEndWrong.selector, 1, 3));
        all.rewards.claimBlocks(1, 3, members, _ends(3, 3, 3));
        VM.expectRevert(abi.encodeWithSelector(IRewards.RangeEndWrong.selector, 2, 2));
        all.rewards.claimBlocks(1, 3, members, _ends(1, 2, 3));
        VM.expectRevert(abi.encodeWithSelector(IRewards.RangeEndWrong.selector, 2, 1));
        all.rewards.claimBlocks(1, 3, members, _ends(1, 1, 3));
        (members[0], members[1]) = (members[1], members[0]);
        VM.expectPartialRevert(IRewards.CommitteeWrong.selector);
        all.rewards.claimBlocks(1, 3, members, _ends(1, 3, 3));
        members = _members();
        _prove(1, 4, 100);
        uint64[] memory two = new uint64[](2);
        (two[0], two[1]) = (3, 4);
        VM.expectRevert(abi.encodeWithSelector(IRewards.BlocksAcrossEpochs.selector, 0, 4));
        all.rewards.claimBlocks(3, 4, members, two);
        all.rewards.claimBlocks(1, 3, members, _ends(1, 3, 3));
        VM.expectRevert(abi.encodeWithSelector(IRewards.AlreadyClaimed.selector, 1));
        all.rewards.claimBlocks(1, 3, members, _ends(1, 3, 3));
    }

    function test_an_empty_treasury_delays_pay_and_blocks_nothing() public {
        VM.prank(address(all.rewards));
        token.transfer(address(1), 1000e18);
        _four();
        _prove(0, 3, 1e9);
        uint256 owed = all.rewards.owedTo(PROVER);
        assertEq(owed, 3e18, "owed");
        assertEq(all.rewards.claim(PROVER), 0, "nothing there");
        token.transfer(address(all.rewards), 1e18);
        VM.expectEmit(address(all.rewards));
        emit IRewards.Paid(PROVER, 1e18);
        assertEq(all.rewards.claim(PROVER), 1e18, "what there is");
        assertEq(all.rewards.owedTo(PROVER), 2e18, "the rest");
        assertEq(all.rewards.totalOwed(), 2e18, "total");
        token.transfer(address(all.rewards), 9e18);
        assertEq(all.rewards.claim(PROVER), 2e18, "the rest, not more");
        assertEq(token.balanceOf(PROVER), 3e18, "all of it");
    }

    /// A prover without funds for its pay releases the fees of others, which anyone may, and claims first.
    function test_fees_of_others_never_pay_for_proofs() public {
        VM.prank(address(all.rewards));
        token.transfer(address(1), 1000e18);
        _four();
        _prove(0, 3, 1e9);
        assertEq(all.rewards.owedTo(PROVER), 3e18, "pay of the prover");
        all.rewards.claimBlocks(1, 3, _members(), _ends(3, 3, 3));
        uint256 fees = 3 * FEES;
        assertEq(all.rewards.feesOwed(), fees, "fees");
        assertEq(all.rewards.claim(PROVER), 3 * (FEES / 10), "its share of the fees, no pay");
        uint256 each = FEES * 2_000 / 10_000 / 3;
        for (uint256 i; i < 3; i++) {
            assertEq(all.rewards.claim(_members()[i]), 3 * each, "signer");
        }
        assertEq(all.rewards.claim(COINBASE), fees - 3 * (FEES / 10) - 9 * each, "coinbase");
        assertEq(all.rewards.feesOwed(), 0, "all fees are paid");
        assertEq(token.balanceOf(address(all.rewards)), 0, "and nothing is left");
        assertEq(all.rewards.totalOwed(), 3e18 + 3 * 5e18, "pay waits for funds");
        token.transfer(address(all.rewards), 4e18);
        assertEq(all.rewards.claim(PROVER), 3e18, "the pay");
        assertEq(all.rewards.claim(COINBASE), 1e18, "in the order of claims");
    }

    // ------------------------------------------------------------ bonds

    function test_free_part_can_be_withdrawn_by_its_owner_only() public {
        all.bondVault.deposit(address(0xB0B), 7);
        VM.expectRevert(abi.encodeWithSelector(IBondVault.BondTooLow.selector, address(this), 0, 7));
        all.bondVault.withdraw(7);
        VM.startPrank(address(0xB0B));
        VM.expectRevert(
            abi.encodeWithSelector(IBondVault.BondTooLow.selector, address(0xB0B), 7, 8)
        );
        all.bondVault.withdraw(8);
        all.bondVault.withdraw(7);
        VM.stopPrank();
        assertEq(token.balanceOf(address(0xB0B)), 7, "paid");
    }

    function test_lost_bonds_reach_rewards() public {
        _four();
        VM.warp(_challengeEnd(0) + 1);
        rollup.prune();
        uint256 before = token.balanceOf(address(all.rewards));
        VM.prank(address(0xB0B));
        all.bondVault.collect();
        assertEq(token.balanceOf(address(all.rewards)), before + BOND, "collected");
        all.bondVault.collect();
        assertEq(token.balanceOf(address(all.rewards)), before + BOND, "once");
    }

    /// An account of which somebody else is the late prover keeps what it has.
    function test_a_poster_can_be_its_own_late_prover() public {
        _four();
        VM.warp(_windowEnd(0) + 1);
        address poster = rollup.epochRecord(0).bondPoster;
        IRollup.EpochArgs memory args = _range(0, 3, 5);
        args.prover = poster;
        uint256 free = _free(poster);
        rollup.submitEpochProof(args, "proof");
        assertEq(_free(poster), free + BOND / 2, "half comes back");
    }

    function test_without_a_bond_nothing_is_locked_or_lost() public {
        IRegistry.Rates memory r = _rates();
        r.bondAmount = 0;
        all.registry.setRates(r);
        _four();
        VM.warp(_windowEnd(0) + 1);
        _prove(0, 3, 5);
        VM.warp(_challengeEnd(1) + 1);
        rollup.prune();
        assertEq(_free(address(all.rewards)), 0, "lost");
        assertEq(_locked(rollup.epochRecord(0).bondPoster), 0, "locked");
    }

    // ------------------------------------------------------------ hostile token

    function _hostile() private returns (HostileToken h) {
        h = new HostileToken();
        _deploy(address(h));
        h.mint(address(this), MANY);
        h.approve(address(all.bondVault), MANY);
        h.approve(address(all.feePortal), MANY);
        for (uint256 i; i < 3; i++) {
            all.bondVault.deposit(_members()[i], 10 * BOND);
        }
    }

    function test_a_token_that_calls_back_gets_nothing_twice() public {
        HostileToken h = _hostile();
        h.set(address(all.bondVault), abi.encodeCall(IBondVault.collect, ()));
        all.bondVault.deposit(address(this), 5);
        require(h.reentryFailed(), "deposit");
        all.bondVault.withdraw(5);
        require(h.reentryFailed(), "withdraw");
        all.bondVault.collect();
        require(h.reentryFailed(), "collect");
        h.set(
            address(all.feePortal), abi.encodeCall(IFeePortal.deposit, (bytes32(uint256(1)), 1e9))
        );
        all.feePortal.deposit(bytes32(uint256(1)), 1e9);
        require(h.reentryFailed(), "portal");
        h.set(address(all.rewards), abi.encodeCall(IRewards.claim, (PROVER)));
        _four();
        _prove(0, 3, 5);
        h.mint(address(all.rewards), 1e18);
        assertEq(all.rewards.claim(PROVER), 15e9, "once");
        require(h.reentryFailed(), "claim");
    }

    function test_a_token_that_fails_stops_no_proposal_proof_or_prune() public {
        HostileToken h = _hostile();
        h.fail(true);
        _four();
        VM.warp(_windowEnd(0) + 1);
        _prove(0, 3, 5);
        VM.warp(_challengeEnd(1) + 1);
        rollup.prune();
        assertEq(rollup.tips().pending, 3, "pruned");
        VM.expectRevert();
        all.bondVault.collect();
        h.fail(false);
        all.bondVault.collect();
    }
}
