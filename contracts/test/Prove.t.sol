// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IBondVault} from "../src/economics/IBondVault.sol";
import {IRollup} from "../src/IRollup.sol";
import {Poseidon2} from "../src/Poseidon2.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./vm/Vm.sol";

/// @notice Every rule of `submitEpochProof`, `prune` and `settle` at its bound.
contract ProveTest is Fixture {
    address private _who;

    function setUp() public override {
        super.setUp();
        _who = VM.addr(keys[0]);
    }

    function _fails(bytes memory revertData, IRollup.EpochArgs memory args) private {
        VM.expectRevert(revertData);
        rollup.submitEpochProof(args, "proof");
    }

    /// Blocks 1 to 3 in epoch 0, block 4 in epoch 1.
    function _four() private {
        _propose(1);
        _propose(2);
        _propose(3);
        _propose(uint48(SLOTS));
    }

    function test_verifier_is_asked_about_exactly_the_stored_facts() public {
        _four();
        IRollup.EpochArgs memory args = _range(0, 3, 77);
        bytes32[] memory want = new bytes32[](24);
        want[0] = bytes32(block.chainid);
        want[1] = bytes32(uint256(rollup.version()));
        want[2] = rollup.vkRoot();
        want[3] = bytes32(uint256(2));
        want[4] = rollup.configHash();
        want[5] = bytes32(uint256(uint160(PROVER)));
        want[6] = bytes32(uint256(0x9e));
        want[7] = rollup.blockRecord(3).archiveRoot;
        want[8] = bytes32(uint256(1));
        want[9] = bytes32(uint256(3));
        want[12] = rollup.blockRecord(3).chain;
        want[13] = bytes32(uint256(77));
        for (uint256 i; i < 10; i++) {
            want[14 + i] = bytes32(1000 + i);
        }
        more.expect(want);
        one.set(false);
        rollup.submitEpochProof(args, "proof");
        // The next epoch begins with the last block of this one.
        want[6] = want[7];
        want[7] = rollup.blockRecord(4).archiveRoot;
        want[8] = want[9] = bytes32(uint256(4));
        want[10] = bytes32(uint256(1));
        want[11] = want[12];
        want[12] = rollup.blockRecord(4).chain;
        one.set(true);
        one.expect(want);
        more.set(false);
        rollup.submitEpochProof(_range(1, 4, 77), "proof");
        assertEq(rollup.tips().proven, 4, "proven");
        assertEq(rollup.tips().provenEpoch, 1, "epoch");
    }

    function test_a_no_and_a_reentering_verifier_change_nothing() public {
        _four();
        more.set(false);
        _fails(abi.encodeWithSelector(IRollup.ProofRejected.selector, 0, 3), _range(0, 3, 5));
        more.set(true);
        more.reenter(
            address(rollup), abi.encodeCall(IRollup.submitEpochProof, (_range(0, 1, 3), "proof"))
        );
        VM.expectRevert("reentry failed");
        rollup.submitEpochProof(_range(0, 3, 5), "proof");
        assertEq(rollup.tips().proven, 0, "proven");
    }

    function test_range_is_the_epochs_first_block_to_one_that_is_not_proven() public {
        _fails(abi.encodeWithSelector(IRollup.EpochWithoutBlocks.selector, 0), _range(0, 1, 5));
        _four();
        _fails(abi.encodeWithSelector(IRollup.EpochBeforeNotProven.selector, 4, 0), _range(1, 4, 5));
        _fails(abi.encodeWithSelector(IRollup.RangeEndWrong.selector, 1, 3, 0), _range(0, 0, 5));
        _fails(abi.encodeWithSelector(IRollup.RangeEndWrong.selector, 1, 3, 4), _range(0, 4, 5));
        _prove(0, 2, 5);
        _fails(abi.encodeWithSelector(IRollup.RangeEndWrong.selector, 3, 3, 2), _range(0, 2, 9));
        _fails(abi.encodeWithSelector(IRollup.EpochBeforeNotProven.selector, 4, 2), _range(1, 4, 5));
        _prove(0, 3, 9);
        _fails(abi.encodeWithSelector(IRollup.RangeEndWrong.selector, 4, 4, 3), _range(1, 3, 5));
        _prove(1, 4, 5);
        _fails(abi.encodeWithSelector(IRollup.RangeEndWrong.selector, 4, 3, 3), _range(0, 3, 99));
    }

    /// A block may follow one that is proven, within one epoch.
    function test_a_proven_prefix_grows_with_its_epoch() public {
        _propose(1);
        _prove(0, 1, 5);
        assertEq(rollup.epochRecord(0).completedAt, _time(1), "completed");
        _propose(2);
        _prove(0, 2, 8);
        IRollup.EpochRecord memory e = rollup.epochRecord(0);
        assertEq(e.firstBlock, 1, "first");
        assertEq(e.lastProven, 2, "last proven");
        assertEq(e.constraintsPaid, 8, "paid");
        assertEq(e.completedAt, _time(2), "completed");
        assertEq(e.state, 0, "state");
    }

    function test_pair_words_must_be_canonical() public {
        _four();
        for (uint256 i; i < 10; i++) {
            bool scalar = i == 4 || i == 9;
            IRollup.EpochArgs memory args = _range(0, 3, 5);
            args.pair[i] = scalar ? P : uint256(1) << 128;
            _fails(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, args.pair[i]), args);
            args.pair[i]--;
            rollup.publicInputs(args);
        }
    }

    function test_work_must_grow() public {
        _four();
        _prove(0, 1, 5);
        _fails(abi.encodeWithSelector(IRollup.WorkNotGrowing.selector, 5, 5), _range(0, 2, 5));
        _prove(0, 2, 6);
    }

    /// Goal: what is paid for an epoch depends on its longest proof only. Method: any order of prefixes.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_the_longest_proof_is_paid_whatever_came_before(uint256 seed) public {
        _deployLong();
        uint64 blocks = 3 + uint64(seed % 8);
        for (uint48 i = 1; i <= blocks; i++) {
            _propose(i);
        }
        uint64 last;
        while (last < blocks) {
            seed = uint256(keccak256(abi.encode(seed)));
            last += 1 + uint64(seed % (blocks - last));
            _prove(0, last, last * 1000 + 7);
        }
        assertEq(all.rewards.owedTo(PROVER), 0, "not settled");
        VM.warp(GENESIS + 16 * SLOT);
        rollup.settle(0);
        assertEq(
            all.rewards.owedTo(PROVER),
            uint256(_rates().feePerConstraint) * (blocks * 1000 + 7),
            "owed"
        );
        assertEq(all.rewards.totalOwed(), all.rewards.owedTo(PROVER), "total");
    }

    function _deployLong() private {
        VM.warp(GENESIS);
        slotsPerEpoch = 16;
        _deploy(address(token));
    }

    // ------------------------------------------------------------ deadlines

    function test_deadlines_follow_from_the_end_of_the_epoch() public view {
        for (uint64 e; e < 3; e++) {
            (uint256 windowEnd, uint256 challengeEnd, bool due) = rollup.deadlines(e);
            assertEq(windowEnd, _windowEnd(e), "window");
            assertEq(challengeEnd, _challengeEnd(e), "challenge");
            require(!due, "nothing is pending");
        }
        // No epoch number overflows.
        rollup.deadlines(type(uint64).max);
    }

    function test_proof_counts_in_time_until_the_window_ends() public {
        _four();
        VM.warp(_windowEnd(0));
        VM.expectEmit(address(rollup));
        emit IRollup.EpochProven(0, 1, 1, 3, PROVER, 9, false);
        VM.expectEmit(address(rollup));
        emit IRollup.EpochSettled(0);
        _prove(0, 3, 9);
        assertEq(_free(PROVER), 0, "share");
        assertEq(_locked(_who), BOND, "the bond of epoch 1 stays");
        assertEq(_free(_who), 999 * BOND, "returned");
        assertEq(rollup.epochRecord(0).state, 2, "settled");
    }

    function test_later_proofs_share_half_the_bond_by_blocks() public {
        _four();
        _prove(0, 1, 5);
        assertEq(rollup.epochRecord(0).completedAt, 0, "not complete");
        VM.warp(_windowEnd(0) + 1);
        VM.expectEmit(address(rollup));
        emit IRollup.EpochProven(0, 1, 2, 2, PROVER, 1, true);
        _prove(0, 2, 6);
        // Half the bond times one of three blocks.
        assertEq(_free(PROVER), BOND / 6, "first share");
        assertEq(all.bondVault.sharedOf(0), BOND / 6, "shared");
        assertEq(rollup.epochRecord(0).state, 1, "late");
        VM.warp(_challengeEnd(0));
        _prove(0, 3, 7);
        assertEq(_free(PROVER), 2 * (BOND / 6), "both shares");
        assertEq(_free(address(all.rewards)), BOND - 2 * (BOND / 6), "the rest is lost");
        assertEq(all.bondVault.sharedOf(0), 0, "nothing is left to share");
        assertEq(_locked(_who), BOND, "the bond of epoch 1 stays");
        assertEq(rollup.epochRecord(0).state, 3, "late and settled");
        assertEq(_free(_who), 998 * BOND, "poster");
    }

    function test_no_proof_after_the_challenge_period() public {
        _four();
        VM.warp(_challengeEnd(0) + 1);
        _fails(
            abi.encodeWithSelector(
                IRollup.ChallengeOver.selector, 0, _challengeEnd(0), block.timestamp
            ),
            _range(0, 3, 5)
        );
    }

    function test_grace_after_the_epoch_before_was_completed() public {
        _four();
        VM.warp(_challengeEnd(0));
        _prove(0, 3, 5);
        // The window of epoch 1 ends now, and its grace period two slots later.
        assertEq(_challengeEnd(0), _windowEnd(1), "the fixture's times");
        VM.warp(_challengeEnd(0) + 2 * SLOT);
        _prove(1, 4, 5);
        assertEq(_free(PROVER), BOND / 2, "share of epoch 0 only");
        assertEq(rollup.epochRecord(1).state, 2, "in time and settled");
    }

    function test_grace_ends() public {
        _four();
        VM.warp(_challengeEnd(0));
        _prove(0, 3, 5);
        VM.warp(_challengeEnd(0) + 2 * SLOT + 1);
        _prove(1, 4, 5);
        assertEq(_free(PROVER), BOND, "share of both");
        assertEq(rollup.epochRecord(1).state, 3, "late");
    }

    /// The first epoch follows genesis, which has no completion that a late proof could move.
    function test_first_epoch_has_no_grace() public {
        _propose(1);
        _propose(2);
        VM.warp(_windowEnd(0) + 1);
        _prove(0, 1, 5);
        _prove(0, 2, 6);
        assertEq(_free(PROVER), BOND / 4 + BOND / 4, "both are late");
    }

    /// Nor does its own completion, which an early proof of its first blocks makes.
    function test_first_epoch_has_no_grace_after_its_own_first_blocks() public {
        proofWindow = uint32(SLOT);
        challenge = grace = uint32(4 * EPOCH);
        _deployLong();
        _propose(10);
        _prove(0, 1, 5);
        _propose(11);
        VM.warp(GENESIS + 17 * SLOT + 1);
        require(block.timestamp < rollup.epochRecord(0).completedAt + grace, "within a grace");
        _prove(0, 2, 6);
        assertEq(_free(PROVER), BOND / 4, "late");
    }

    // ------------------------------------------------------------ settle

    function test_settle_needs_a_proven_epoch_that_is_over_and_works_once() public {
        bytes memory nothing = abi.encodeWithSelector(IRollup.NothingToSettle.selector, 0);
        VM.expectRevert(nothing);
        rollup.settle(0);
        // Not even after its end, when it has no block.
        VM.warp(_end(0));
        VM.expectRevert(nothing);
        rollup.settle(0);
        _propose(3);
        VM.warp(_end(0));
        VM.expectRevert(nothing);
        rollup.settle(0);
        VM.warp(_end(0) - 1);
        _prove(0, 1, 5);
        VM.expectRevert(nothing);
        rollup.settle(0);
        VM.warp(_end(0));
        VM.expectEmit(address(rollup));
        emit IRollup.EpochSettled(0);
        rollup.settle(0);
        assertEq(_free(_who), 1000 * BOND, "returned");
        assertEq(_locked(_who), 0, "locked");
        VM.expectRevert(nothing);
        rollup.settle(0);
    }

    // ------------------------------------------------------------ prune

    function test_prune_is_due_after_the_challenge_period_only() public {
        _four();
        VM.warp(_challengeEnd(0));
        VM.expectRevert(IRollup.NothingToPrune.selector);
        rollup.prune();
        VM.warp(_challengeEnd(0) + 1);
        (,, bool due) = rollup.deadlines(7);
        require(due, "due");
        VM.expectEmit(address(rollup));
        emit IRollup.Pruned(0, 0, 4);
        rollup.prune();
        assertEq(rollup.tips().pending, 0, "pending");
        assertEq(_free(address(all.rewards)), BOND, "the bond of epoch 0 is lost");
        assertEq(_free(_who), 999 * BOND, "the bond of epoch 1 is back");
        assertEq(_locked(_who), 0, "locked");
        assertEq(rollup.epochRecord(0).firstBlock, 0, "no record of epoch 0");
        assertEq(rollup.epochRecord(0).bond, 0, "no bond of epoch 0");
        assertEq(rollup.epochRecord(1).firstBlock, 0, "no record of epoch 1");
        VM.expectRevert(IRollup.NothingToPrune.selector);
        rollup.prune();
    }

    /// Goal: an epoch without blocks is left alone. Method: one between two that have a block each.
    function test_prune_returns_one_bond_for_each_later_epoch_with_blocks() public {
        _propose(1);
        _propose(uint48(2 * SLOTS));
        VM.warp(_challengeEnd(0) + 1);
        VM.recordLogs();
        rollup.prune();
        Vm.Log[] memory logs = VM.getRecordedLogs();
        assertEq(logs.length, 3, "Pruned, BondLost, BondReturned");
        assertEq(logs[1].topics[0], IBondVault.BondLost.selector, "lost");
        assertEq(logs[2].topics[0], IBondVault.BondReturned.selector, "returned");
        assertEq(uint256(logs[2].topics[1]), 2, "the bond of epoch 2");
        assertEq(_free(_who), 999 * BOND, "free");
    }

    function test_prune_keeps_the_proven_part_of_an_epoch() public {
        _four();
        VM.warp(_windowEnd(0) + 1);
        _prove(0, 1, 5);
        bytes32 chain = rollup.blockRecord(1).chain;
        VM.warp(_challengeEnd(0) + 1);
        VM.expectEmit(address(rollup));
        emit IRollup.EpochSettled(0);
        rollup.prune();
        IRollup.EpochRecord memory e = rollup.epochRecord(0);
        assertEq(e.firstBlock, 1, "first");
        assertEq(e.lastBlock, 1, "last");
        assertEq(e.lastProven, 1, "last proven");
        assertEq(e.completedAt, _challengeEnd(0) + 1, "completed by the prune");
        assertEq(e.state, 3, "late and settled");
        assertEq(rollup.tips().pending, 1, "pending");
        assertEq(rollup.blockRecord(1).chain, chain, "chain");
        assertEq(_free(PROVER), BOND / 6, "share");
        assertEq(_free(address(all.rewards)), BOND - BOND / 6, "rest");
        VM.expectRevert(abi.encodeWithSelector(IRollup.NothingToSettle.selector, 0));
        rollup.settle(0);
    }

    function test_propose_prunes_and_reopens_an_epoch_that_lost_its_record() public {
        _propose(1);
        uint48 slot = uint48(4 * SLOTS);
        VM.warp(_challengeEnd(0));
        // Epoch 4 begins as the challenge period of epoch 0 ends; a prune is not due yet.
        assertEq(rollup.currentSlot(), slot, "slot");
        _submit(_block(1, slot));
        assertEq(rollup.tips().pending, 2, "no prune yet");
        VM.warp(_time(slot + 1));
        VM.expectEmit(address(rollup));
        emit IRollup.Pruned(0, 0, 2);
        _submit(_block(0, slot + 1));
        assertEq(rollup.tips().pending, 1, "built on genesis");
        IRollup.EpochRecord memory e = rollup.epochRecord(4);
        assertEq(e.firstBlock, 1, "first");
        assertEq(e.lastBlock, 1, "last");
        assertEq(_locked(_who), BOND, "one bond");
        _prove(4, 1, 5);
        assertEq(rollup.tips().proven, 1, "proven");
    }

    function test_the_same_messages_are_consumed_after_a_prune() public {
        all.inbox.send(0, 0, 0);
        _propose(1);
        _propose(2);
        bytes32 before = all.inbox.hashOf(2);
        require(before != 0, "a message");
        VM.warp(_challengeEnd(0) + 1);
        rollup.prune();
        uint48 slot = uint48(rollup.currentSlot()) + 1;
        _propose(slot);
        _propose(slot + 1);
        assertEq(all.inbox.hashOf(2), before, "hash");
        assertEq(rollup.tips().pending, 2, "pending");
    }
}
