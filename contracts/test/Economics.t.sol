// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IBondVault} from "../src/economics/IBondVault.sol";
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

    /// Blocks of these numbers in the slots of the same numbers, each signed by everyone.
    function _blocks(uint48 from, uint48 to) private {
        for (uint48 i = from; i <= to; i++) {
            _propose(i);
        }
    }

    /// Blocks 1 to 3 in epoch 0, block 4 in epoch 1, so that epoch 0 is over.
    function _four() private {
        _blocks(1, 4);
    }

    /// Once it is over, the epoch's proof is settled by whoever wants to.
    function _settle() private {
        VM.warp(_end(0));
        rollup.settle(0);
    }

    function test_fees_and_reward_go_to_coinbase_signers_and_the_longest_proof() public {
        _blocks(1, 3);
        _prove(0, 1, 100);
        IRollup.EpochArgs memory args = _range(0, 3, 250);
        args.prover = address(0x2222);
        rollup.submitEpochProof(args, "proof");
        assertEq(all.rewards.owedTo(address(0x2222)), 0, "a longer proof may still come");
        uint256 paid = 250 * uint256(_rates().feePerConstraint);
        VM.expectEmit(address(all.rewards));
        emit IRewards.EpochPaid(0, address(0x2222), 250, paid);
        _settle();
        assertEq(all.rewards.owedTo(PROVER), 0, "overtaken: its work was done again");
        assertEq(all.rewards.owedTo(address(0x2222)), paid, "the longest proof");

        uint256 before = token.balanceOf(address(all.rewards));
        VM.expectEmit(address(all.rewards));
        emit IRewards.BlocksClaimed(1, 3, 3, 3 * FEES);
        all.rewards.claimBlocks(1, 3, _members());
        assertEq(token.balanceOf(address(all.rewards)), before + 3 * FEES, "released");
        uint256 each = FEES * 2_000 / 10_000 / 3;
        for (uint256 i; i < 3; i++) {
            assertEq(all.rewards.owedTo(_members()[i]), 3 * each, "signer");
        }
        assertEq(all.rewards.owedTo(PROVER), 0, "no part of the fees");
        assertEq(all.rewards.owedTo(address(0x2222)), paid + 3 * (FEES / 10), "prover");
        assertEq(
            all.rewards.owedTo(COINBASE),
            3 * (FEES - FEES / 10 - 3 * each + 5e18),
            "coinbase, with what divisions left"
        );
        assertEq(all.rewards.totalOwed(), paid + 3 * (FEES + 5e18), "total");
        require(all.rewards.isClaimed(3) && !all.rewards.isClaimed(4), "claimed");
    }

    /// A part that was proven before a prune is all that there will be.
    function test_a_prune_pays_the_longest_proof_of_the_epoch_that_it_cuts() public {
        _four();
        _prove(0, 1, 100);
        VM.warp(_challengeEnd(0) + 1);
        VM.expectEmit(address(rollup));
        emit IRollup.EpochSettled(0);
        rollup.prune();
        assertEq(all.rewards.owedTo(PROVER), 100 * uint256(_rates().feePerConstraint), "pay");
        all.rewards.claimBlocks(1, 1, _members());
    }

    /// Goal: who sends a proposal gains nothing by leaving signers out. Method: one block with everyone's
    /// signature and one without member 2's; only member 2 may notice.
    function test_the_part_of_a_member_that_did_not_sign_is_nobodys() public {
        _keys(4);
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1e18);
        uint256 each = FEES * 2_000 / 10_000 / 4;
        uint256 funds;
        for (uint48 i = 1; i < 3; i++) {
            VM.warp(_time(i));
            IRollup.ProposeArgs memory args = _block(i - 1, i);
            bytes32 chain = rollup.blockRecord(i - 1).chain;
            // Members 0, 1 and 3; the proposer of slot 1 is member 1. Then everyone.
            IRollup.Attestations memory a = i == 1
                ? _attest(11, rollup.blockDigest(i, i, _link(chain, args, _da(0))))
                : _attested(args, _da(0));
            rollup.propose(args, a, _da(0));
        }
        _prove(0, 2, 5);
        _settle();
        uint256[2][5] memory got;
        for (uint64 n; n < 2; n++) {
            all.rewards.claimBlocks(n + 1, n + 1, _members());
            for (uint256 i; i < 5; i++) {
                address who = i < 4 ? _members()[i] : COINBASE;
                got[i][n] = all.rewards.owedTo(who);
            }
            funds += FEES;
            assertEq(all.rewards.feesOwed(), funds - each, "what is owed of the fees");
        }
        for (uint256 i; i < 5; i++) {
            uint256 second = got[i][1] - got[i][0];
            assertEq(i == 2 ? each : got[i][0], second, "the same for everyone else");
        }
        assertEq(got[2][0], 0, "member 2 did not sign");
        assertEq(got[3][0], each, "member 3 did");
        // It pays for proofs and blocks, as what governance funds does.
        assertEq(token.balanceOf(address(all.rewards)) - all.rewards.feesOwed(), each, "for pay");
    }

    function test_each_block_is_claimed_once_and_only_of_one_settled_epoch() public {
        _blocks(1, 3);
        address[] memory members = _members();
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 0, 1));
        all.rewards.claimBlocks(1, 3, members);
        _prove(0, 3, 200);
        VM.expectRevert(abi.encodeWithSelector(IRewards.RangeEmpty.selector, 3, 2));
        all.rewards.claimBlocks(3, 2, members);
        VM.expectRevert(abi.encodeWithSelector(IRewards.EpochNotSettled.selector, 0));
        all.rewards.claimBlocks(1, 3, members);
        _settle();
        (members[0], members[1]) = (members[1], members[0]);
        VM.expectPartialRevert(IRewards.CommitteeWrong.selector);
        all.rewards.claimBlocks(1, 3, members);
        members = _members();
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 3, 4));
        all.rewards.claimBlocks(3, 4, members);
        _blocks(4, 4);
        _prove(1, 4, 100);
        VM.expectRevert(abi.encodeWithSelector(IRewards.BlocksAcrossEpochs.selector, 0, 4));
        all.rewards.claimBlocks(3, 4, members);
        // Somebody claims one block before.
        all.rewards.claimBlocks(2, 2, members);
        uint256 before = token.balanceOf(address(all.rewards));
        VM.expectEmit(address(all.rewards));
        emit IRewards.BlocksClaimed(1, 3, 2, 2 * FEES);
        all.rewards.claimBlocks(1, 3, members);
        assertEq(token.balanceOf(address(all.rewards)), before + 2 * FEES, "released");
        assertEq(
            all.rewards.totalOwed(),
            200 * uint256(_rates().feePerConstraint) + 3 * (FEES + 5e18),
            "owed"
        );
        VM.expectRevert(abi.encodeWithSelector(IRewards.AlreadyClaimed.selector, 1, 3));
        all.rewards.claimBlocks(1, 3, members);
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
        all.rewards.claimBlocks(1, 3, _members());
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

    function test_a_token_that_fails_stops_no_proposal_proof_or_prune() public {
        HostileToken h = _hostile();
        h.fail(true);
        _four();
        VM.warp(_windowEnd(0) + 1);
        _prove(0, 3, 5);
        VM.warp(_challengeEnd(1) + 1);
        rollup.prune();
        assertEq(rollup.tips().pending, 3, "pruned");
        VM.expectRevert(abi.encodeWithSignature("SafeERC20FailedOperation(address)", address(h)));
        all.bondVault.collect();
        h.fail(false);
        all.bondVault.collect();
    }
}
