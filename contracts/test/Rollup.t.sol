// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../src/IVerifier.sol";
import * as Layout from "../src/Layout.sol";
import {Rollup} from "../src/Rollup.sol";
import {RollupFixture} from "./RollupFixture.sol";
import {VerifierDouble} from "./VerifierDouble.sol";

contract ProposeTest is RollupFixture {
    /// Source of the digests: the definition of the chain in exact integers, with another SHA-256.
    function test_chain_matches_known_digests() public {
        VM.warp(GENESIS_TIME + 3 * SLOT_SECONDS);
        Rollup.ProposeArgs memory args;
        args.blockNumber = 1;
        args.slot = 3;
        args.previousArchiveRoot = bytes32(uint256(0x9e));
        args.archiveRoot = bytes32(uint256(0x2222));
        args.headerHash = bytes32(uint256(0x1111));
        args.coinbase = address(0xC0FFEE);
        args.totalFees = 1000;
        _asProposer();
        rollup.propose(args, "rollmill block data");
        Rollup.BlockRecord memory first = rollup.blockRecord(1);
        assertEq(
            first.dataHash,
            0x0035ec7ce0b3d8ab42af635da5a9df9dda56bc86dd361728a227f31423a55140,
            "data hash"
        );
        assertEq(
            first.chain,
            0x05f39560448ec25d0ed7e6477ee5539cc6ad0ba138321a0098e96e605b023950,
            "first link"
        );

        VM.warp(GENESIS_TIME + 9 * SLOT_SECONDS);
        args.blockNumber = 2;
        args.slot = 9;
        args.previousArchiveRoot = args.archiveRoot;
        args.archiveRoot = bytes32(uint256(0x4444));
        args.headerHash = bytes32(uint256(0x3333));
        args.coinbase = address(0);
        args.totalFees = type(uint128).max;
        _asProposer();
        rollup.propose(args, "");
        assertEq(
            rollup.blockRecord(2).chain,
            0x13ffc2f2083bb4a4633dab6da6b8101645a4af2dc529efa24337bc0f22d70a2c,
            "second link"
        );
    }

    function test_record_and_event_say_what_was_proposed() public {
        VM.warp(GENESIS_TIME + 2 * SLOT_SECONDS);
        VM.roll(110);
        Rollup.ProposeArgs memory args = _next(2);
        _asProposer();
        rollup.propose(args, "data");
        Rollup.BlockRecord memory record = rollup.blockRecord(1);
        assertEq(rollup.pendingTip(), 1, "pending tip");
        assertEq(rollup.provenTip(), 0, "proven tip");
        assertEq(record.archiveRoot, args.archiveRoot, "archive root");
        assertEq(record.slot, 2, "slot");
        assertEq(record.l1Block, 110, "L1 block");
        assertEq(record.totalFees, 1000, "fees");
        require(record.coinbase == args.coinbase, "coinbase");
        assertEq(record.dataHash, sha256("data") & bytes32(type(uint256).max >> 8), "data hash");
    }

    function testFuzz_only_the_proposer_proposes(address sender) public {
        VM.assume(sender != PROPOSER);
        VM.warp(GENESIS_TIME + SLOT_SECONDS);
        Rollup.ProposeArgs memory args = _next(1);
        VM.prank(sender, sender);
        VM.expectRevert(abi.encodeWithSelector(Rollup.ProposerWrong.selector, PROPOSER, sender));
        rollup.propose(args, "data");
    }

    function testFuzz_number_slot_and_parent_must_follow(
        uint64 number,
        uint64 slot,
        bytes32 parent,
        uint32 elapsed
    ) public {
        _propose(5);
        VM.warp(GENESIS_TIME + 5 * SLOT_SECONDS + elapsed);
        uint64 current = rollup.currentSlot();
        Rollup.ProposeArgs memory args = _next(slot);
        bytes32 right = args.previousArchiveRoot;

        args.blockNumber = number;
        args.previousArchiveRoot = parent;
        if (number != 2) VM.expectPartialRevert(Rollup.BlockOutOfOrder.selector);
        else if (parent != right) VM.expectPartialRevert(Rollup.PreviousArchiveRootWrong.selector);
        _asProposer();
        rollup.propose(args, "data");

        args.blockNumber = 2;
        args.previousArchiveRoot = right;
        if (slot != current) VM.expectPartialRevert(Rollup.SlotNotCurrent.selector);
        else if (slot <= 5) VM.expectPartialRevert(Rollup.SlotOutOfOrder.selector);
        _asProposer();
        rollup.propose(args, "data");
    }

    function testFuzz_only_the_current_slot_is_accepted(uint64 slot, uint16 elapsed) public {
        _propose(5);
        VM.warp(GENESIS_TIME + 5 * SLOT_SECONDS + elapsed);
        uint64 current = rollup.currentSlot();
        if (elapsed % 2 == 0) slot = current + 2 - slot % 4;
        Rollup.ProposeArgs memory args = _next(slot);
        if (slot != current) {
            VM.expectRevert(abi.encodeWithSelector(Rollup.SlotNotCurrent.selector, current, slot));
        } else if (slot <= 5) {
            VM.expectRevert(abi.encodeWithSelector(Rollup.SlotOutOfOrder.selector, 5, slot));
        }
        _asProposer();
        rollup.propose(args, "data");
        assertEq(rollup.pendingTip(), slot == current && slot > 5 ? 2 : 1, "pending tip");
    }

    /// Nodes read a block's data out of the L1 transaction's own input, so nothing else may propose.
    function test_only_a_plain_account_proposes_and_only_by_the_transaction_itself() public {
        VM.warp(GENESIS_TIME + SLOT_SECONDS);
        Rollup.ProposeArgs memory args = _next(1);
        // A contract that is the proposer, called by somebody.
        VM.expectRevert(abi.encodeWithSelector(Rollup.ProposalNested.selector, address(0xB0B), 0));
        VM.prank(PROPOSER, address(0xB0B));
        rollup.propose(args, "data");
        // An account that runs a contract's code (EIP-7702) and calls itself.
        VM.etch(PROPOSER, abi.encodePacked(hex"ef0100", address(0xC0DE)));
        VM.expectRevert(abi.encodeWithSelector(Rollup.ProposalNested.selector, PROPOSER, 23));
        _asProposer();
        rollup.propose(args, "data");
        VM.etch(PROPOSER, "");
        _asProposer();
        rollup.propose(args, "data");
        assertEq(rollup.pendingTip(), 1, "pending tip");
    }

    function testFuzz_roots_must_be_canonical(uint256 root, uint256 header) public {
        VM.warp(GENESIS_TIME + SLOT_SECONDS);
        Rollup.ProposeArgs memory args = _next(1);
        args.archiveRoot = bytes32(root);
        args.headerHash = bytes32(header);
        if (root >= P || header >= P) VM.expectPartialRevert(Rollup.NotCanonical.selector);
        _asProposer();
        rollup.propose(args, "data");
    }

    function test_the_modulus_itself_is_not_canonical() public {
        VM.warp(GENESIS_TIME + SLOT_SECONDS);
        Rollup.ProposeArgs memory args = _next(1);
        args.archiveRoot = bytes32(P);
        VM.expectRevert(abi.encodeWithSelector(Rollup.NotCanonical.selector, "archiveRoot", P));
        _asProposer();
        rollup.propose(args, "data");
        args.archiveRoot = bytes32(P - 1);
        _asProposer();
        rollup.propose(args, "data");
    }

    function test_no_slot_has_come_before_genesis() public {
        VM.warp(GENESIS_TIME - 1);
        assertEq(rollup.currentSlot(), 0, "slot");
        Rollup.ProposeArgs memory args = _next(1);
        VM.expectRevert(abi.encodeWithSelector(Rollup.SlotNotCurrent.selector, 0, 1));
        _asProposer();
        rollup.propose(args, "data");
    }

    function test_gas_of_propose() public {
        bytes memory data = new bytes(2048);
        _propose(1);
        VM.warp(GENESIS_TIME + 2 * SLOT_SECONDS);
        Rollup.ProposeArgs memory args = _next(2);
        _asProposer();
        uint256 start = gasleft();
        rollup.propose(args, data);
        VM.snapshotValue("Rollup", "propose_2048_bytes_execution", start - gasleft());
    }
}

contract ParametersTest is RollupFixture {
    function test_getters_show_the_parameters() public view {
        Rollup.Parameters memory p = _parameters();
        require(
            keccak256(abi.encode(p)) == keccak256(abi.encode(rollup.parameters())), "parameters"
        );
        assertEq(rollup.blockRecord(0).archiveRoot, p.genesisArchiveRoot, "genesis archive root");
        assertEq(rollup.blockRecord(0).chain, bytes32(0), "genesis chain");
    }

    function test_unusable_parameters_are_rejected() public {
        for (uint256 i; i < 8; i++) {
            Rollup.Parameters memory p = _parameters();
            bytes memory expected;
            if (i == 0) {
                p.genesisArchiveRoot = bytes32(P);
                expected =
                    abi.encodeWithSelector(Rollup.NotCanonical.selector, "genesisArchiveRoot", P);
            } else if (i == 1) {
                p.vkRoot = bytes32(type(uint256).max);
                expected = abi.encodeWithSelector(
                    Rollup.NotCanonical.selector, "vkRoot", type(uint256).max
                );
            } else {
                string memory name;
                if (i == 2) (p.verifier, name) = (IVerifier(address(0xdead)), "verifier");
                if (i == 3) (p.proposer, name) = (address(0), "proposer");
                if (i == 4) (p.slotSeconds, name) = (0, "slotSeconds");
                if (i == 5) (p.slotsPerEpoch, name) = (0, "slotsPerEpoch");
                if (i == 6) (p.slotsPerEpoch, name) = (1025, "slotsPerEpoch");
                if (i == 7) (p.proofWindowL1Blocks, name) = (0, "proofWindowL1Blocks");
                expected = abi.encodeWithSelector(Rollup.ParameterOutOfRange.selector, name);
            }
            VM.expectRevert(expected);
            new Rollup(p);
        }
    }
}

contract SubmitTest is RollupFixture {
    /// Blocks 1, 2 and 3 in epoch 0, block 4 in epoch 1, block 5 in epoch 2.
    function setUp() public override {
        super.setUp();
        _propose(1);
        _propose(2);
        _propose(3);
        _propose(4);
        _propose(8);
    }

    function test_verifier_is_asked_about_exactly_the_stored_facts() public {
        Rollup.EpochArgs memory args = _range(1, 3);
        bytes32[] memory inputs = new bytes32[](Layout.EPOCH_WORDS);
        // What is not set below cannot be what the contract computes: a new public input is named here.
        for (uint256 i; i < inputs.length; i++) {
            inputs[i] = bytes32(type(uint256).max);
        }
        inputs[Layout.EPOCH_CHAIN_ID] = bytes32(block.chainid);
        inputs[Layout.EPOCH_VERSION] = bytes32(uint256(3));
        inputs[Layout.EPOCH_VK_ROOT] = bytes32(uint256(0x77));
        inputs[Layout.EPOCH_PROTOCOL_VERSION] = bytes32(uint256(2));
        inputs[Layout.EPOCH_PROVER_ID] = bytes32(uint256(uint160(args.prover)));
        inputs[Layout.EPOCH_PREV_ARCHIVE_ROOT] = bytes32(uint256(0x9e));
        inputs[Layout.EPOCH_END_ARCHIVE_ROOT] = rollup.blockRecord(3).archiveRoot;
        inputs[Layout.EPOCH_FIRST_BLOCK] = bytes32(uint256(1));
        inputs[Layout.EPOCH_LAST_BLOCK] = bytes32(uint256(3));
        inputs[Layout.EPOCH_EPOCH] = 0;
        inputs[Layout.EPOCH_SLOTS_PER_EPOCH] = bytes32(uint256(4));
        inputs[Layout.EPOCH_CHAIN_START] = 0;
        inputs[Layout.EPOCH_CHAIN_END] = rollup.blockRecord(3).chain;
        inputs[Layout.EPOCH_OUT_HASH] = args.outHash;
        inputs[Layout.EPOCH_NUM_CONSTRAINTS] = bytes32(uint256(123_456));
        for (uint256 i; i < Layout.PAIR_WORDS; i++) {
            inputs[Layout.EPOCH_PAIR + i] = bytes32(1000 + i);
        }
        verifier.expect(inputs);
        _prove(1, 3);
        assertEq(rollup.provenTip(), 3, "proven tip");
        assertEq(rollup.pendingTip(), 5, "pending tip");

        // The next epoch starts where this one ended.
        inputs[Layout.EPOCH_PREV_ARCHIVE_ROOT] = inputs[Layout.EPOCH_END_ARCHIVE_ROOT];
        inputs[Layout.EPOCH_END_ARCHIVE_ROOT] = rollup.blockRecord(4).archiveRoot;
        inputs[Layout.EPOCH_FIRST_BLOCK] = bytes32(uint256(4));
        inputs[Layout.EPOCH_LAST_BLOCK] = bytes32(uint256(4));
        inputs[Layout.EPOCH_EPOCH] = bytes32(uint256(1));
        inputs[Layout.EPOCH_CHAIN_START] = inputs[Layout.EPOCH_CHAIN_END];
        inputs[Layout.EPOCH_CHAIN_END] = rollup.blockRecord(4).chain;
        verifier.expect(inputs);
        _prove(4, 4);
        Rollup.ProofRecord memory record = rollup.proofRecord(4);
        require(record.prover == address(0x1d), "prover");
        assertEq(record.numConstraints, 123_456, "constraints");
        assertEq(record.firstBlock, 4, "first block");
    }

    function test_a_prefix_of_an_epoch_may_be_proven_and_then_the_rest() public {
        _prove(1, 2);
        assertEq(rollup.provenTip(), 2, "prefix");
        _prove(3, 3);
        assertEq(rollup.provenTip(), 3, "rest");
    }

    function test_only_a_yes_moves_the_tip() public {
        for (uint256 i; i < 8; i++) {
            VerifierDouble.Answer answer = VerifierDouble.Answer(i);
            if (answer == VerifierDouble.Answer.Yes) continue;
            if (answer == VerifierDouble.Answer.Reenter) continue;
            verifier.set(answer);
            if (answer == VerifierDouble.Answer.No) {
                VM.expectRevert(abi.encodeWithSelector(Rollup.ProofRejected.selector, 1, 3));
            } else {
                VM.expectRevert();
            }
            rollup.submitEpochProof{gas: 5_000_000}(_range(1, 3), "proof");
            assertEq(rollup.provenTip(), 0, "proven tip");
        }
    }

    function test_a_verifier_cannot_reenter() public {
        verifier.reenter(
            address(rollup), abi.encodeCall(Rollup.submitEpochProof, (_range(1, 3), "proof"))
        );
        VM.expectRevert();
        rollup.submitEpochProof{gas: 5_000_000}(_range(1, 3), "proof");
        assertEq(rollup.provenTip(), 0, "proven tip");
    }

    function test_a_range_is_proven_once() public {
        _prove(1, 3);
        VM.expectRevert(abi.encodeWithSelector(Rollup.RangeEndWrong.selector, 4, 5, 3));
        rollup.submitEpochProof(_range(1, 3), "proof");
    }

    /// Goal: a proof of a prefix of an epoch does not invalidate the proof of the whole epoch that is
    /// on its way. Method: each prefix, then the whole epoch from its first block.
    function test_a_proven_prefix_does_not_spoil_the_proof_of_the_whole_epoch() public {
        bytes32[] memory inputs = rollup.epochPublicInputs(_range(1, 3));
        _prove(1, 1);
        verifier.expect(inputs);
        _prove(1, 3);
        assertEq(rollup.provenTip(), 3, "proven tip");
        assertEq(rollup.proofRecord(3).firstBlock, 1, "first block");
        // What is proven already is not proven again.
        VM.expectPartialRevert(Rollup.RangeEndWrong.selector);
        rollup.submitEpochProof(_range(1, 2), "proof");
        // A range that starts with proven blocks stays in one epoch.
        VM.expectPartialRevert(Rollup.RangeAcrossEpochs.selector);
        rollup.submitEpochProof(_range(3, 4), "proof");
    }

    function testFuzz_ranges_start_by_the_tip_and_stay_in_one_epoch(
        uint8 proven,
        uint8 first,
        uint8 last
    ) public {
        proven %= 4;
        if (proven > 0) _prove(1, proven);
        verifier.set(VerifierDouble.Answer.Yes);
        if (last % 2 == 0) (first, last) = (first % 7, last % 7);
        bool starts = first != 0 && first <= proven + 1;
        bool ends = last > proven && last <= 5;
        // Blocks 1 to 3 are epoch 0, block 4 is epoch 1, block 5 is epoch 2.
        bool one = (first <= 3) == (last <= 3) && (first <= 3 || first == last);
        if (!starts) VM.expectPartialRevert(Rollup.RangeStartWrong.selector);
        else if (!ends) VM.expectPartialRevert(Rollup.RangeEndWrong.selector);
        else if (!one) VM.expectPartialRevert(Rollup.RangeAcrossEpochs.selector);
        rollup.submitEpochProof(_range(first, last), "proof");
        assertEq(rollup.provenTip(), starts && ends && one ? last : proven, "proven tip");
    }

    function testFuzz_words_must_be_canonical(uint8 which, uint256 word) public {
        verifier.set(VerifierDouble.Answer.Yes);
        Rollup.EpochArgs memory args = _range(1, 3);
        which %= uint8(Layout.PAIR_WORDS + 1);
        uint256 bound = P;
        if (which < Layout.PAIR_WORDS) {
            if (!_isScalar(which)) bound = 1 << 128;
            if (word % 2 == 0) word %= bound;
            args.pair[which] = word;
        } else {
            args.outHash = bytes32(word);
        }
        if (word >= bound) VM.expectPartialRevert(Rollup.NotCanonical.selector);
        rollup.submitEpochProof(args, "proof");
    }

    /// Whether word `i` of the pair is a scalar; the others are halves of coordinates.
    function _isScalar(uint256 i) private pure returns (bool) {
        return i == Layout.PAIR_S_L || i == Layout.PAIR_S_R;
    }

    function test_every_word_at_its_bound_is_rejected_and_below_it_accepted() public {
        verifier.set(VerifierDouble.Answer.Yes);
        for (uint256 i; i < Layout.PAIR_WORDS; i++) {
            Rollup.EpochArgs memory args = _range(1, 3);
            uint256 bound = _isScalar(i) ? P : 1 << 128;
            args.pair[i] = bound;
            VM.expectRevert(abi.encodeWithSelector(Rollup.NotCanonical.selector, "pair", bound));
            rollup.epochPublicInputs(args);
            args.pair[i] = bound - 1;
            assertEq(rollup.epochPublicInputs(args)[Layout.EPOCH_PAIR + i], bytes32(bound - 1), "word");
        }
    }

    function test_records_beyond_the_chain_are_not_shown() public {
        VM.expectRevert(abi.encodeWithSelector(Rollup.BlockUnknown.selector, 5, 6));
        rollup.blockRecord(6);
        VM.expectRevert(abi.encodeWithSelector(Rollup.ProofUnknown.selector, 3));
        rollup.proofRecord(3);
    }

    function test_gas_of_submission_without_the_verifier() public {
        verifier.set(VerifierDouble.Answer.Yes);
        Rollup.EpochArgs memory args = _range(1, 3);
        bytes memory proof = new bytes(3400);
        uint256 start = gasleft();
        rollup.submitEpochProof(args, proof);
        VM.snapshotValue("Rollup", "submit_epoch_proof_without_verifier", start - gasleft());
    }
}

contract PruneTest is RollupFixture {
    function test_window_closes_after_its_last_block_once_the_epoch_is_over() public {
        VM.roll(200);
        _propose(1);
        VM.roll(202);
        _propose(2);
        VM.roll(203);
        _propose(4);
        (bool open, uint64 epoch, uint256 last) = rollup.proofDeadline();
        require(open && epoch == 0 && last == 202 + WINDOW, "deadline of epoch 0");

        VM.roll(last);
        require(!rollup.pruneDue(), "the last block of the window is inside it");
        VM.expectRevert(Rollup.NothingToPrune.selector);
        rollup.prune();

        VM.roll(last + 1);
        require(rollup.pruneDue(), "the window is over");
        verifier.set(VerifierDouble.Answer.Yes);
        VM.expectRevert(
            abi.encodeWithSelector(Rollup.ProofWindowClosed.selector, 0, last, last + 1)
        );
        rollup.submitEpochProof(_range(1, 2), "proof");
        rollup.prune();
        assertEq(rollup.pendingTip(), 0, "pending tip");
        VM.expectRevert(abi.encodeWithSelector(Rollup.BlockUnknown.selector, 0, 1));
        rollup.blockRecord(1);
    }

    function test_window_stays_open_while_the_epoch_lasts() public {
        VM.roll(200);
        _propose(1);
        VM.roll(1000);
        require(!rollup.pruneDue(), "slots 2 and 3 are still to come");
        _prove(1, 1);
        assertEq(rollup.provenTip(), 1, "proven tip");
    }

    function test_prune_keeps_what_is_proven_and_the_chain_goes_on() public {
        VM.roll(200);
        _propose(1);
        _prove(1, 1);
        _propose(2);
        _propose(5);
        bytes32 chain = rollup.blockRecord(1).chain;
        VM.warp(GENESIS_TIME + 100 * SLOT_SECONDS);
        VM.roll(300);
        rollup.prune();
        assertEq(rollup.pendingTip(), 1, "pending tip");
        assertEq(rollup.provenTip(), 1, "proven tip");
        assertEq(rollup.blockRecord(1).chain, chain, "chain");
        _propose(100);
        assertEq(rollup.pendingTip(), 2, "proposed anew");
        VM.roll(300 + WINDOW);
        _prove(2, 2);
    }

    /// Goal: nobody has to call `prune`, and nothing is appended to a chain that missed its window.
    function test_propose_prunes_first_when_due() public {
        VM.roll(200);
        _propose(1);
        _prove(1, 1);
        _propose(2);
        _propose(5);
        VM.warp(GENESIS_TIME + 100 * SLOT_SECONDS);
        VM.roll(300);
        // On top of the doomed blocks: rejected, and nothing changes.
        Rollup.ProposeArgs memory doomed = _next(100);
        VM.expectRevert(abi.encodeWithSelector(Rollup.BlockOutOfOrder.selector, 2, 4));
        _asProposer();
        rollup.propose(doomed, "data");
        assertEq(rollup.pendingTip(), 3, "nothing changed");
        // On top of the proven tip: the doomed blocks go, and this one is in.
        Rollup.ProposeArgs memory args = _nextOn(1, 100);
        VM.expectEmit();
        emit Rollup.Pruned(0, 1, 3);
        _asProposer();
        rollup.propose(args, "data");
        assertEq(rollup.pendingTip(), 2, "pending tip");
        assertEq(rollup.blockRecord(2).slot, 100, "the new block");
        require(!rollup.pruneDue(), "the new block has its own window");
    }

    /// A block for an old slot moved the deadline of its epoch, and so reopened a closed window.
    function test_a_closed_window_stays_closed() public {
        VM.roll(200);
        _propose(1);
        (,, uint256 last) = rollup.proofDeadline();
        VM.warp(GENESIS_TIME + 4 * SLOT_SECONDS);
        VM.roll(last + 1);
        require(rollup.pruneDue(), "closed");
        for (uint64 slot = 2; slot < 4; slot++) {
            Rollup.ProposeArgs memory args = _next(slot);
            VM.expectPartialRevert(Rollup.BlockOutOfOrder.selector);
            _asProposer();
            rollup.propose(args, "data");
            args = _nextOn(0, slot);
            VM.expectRevert(abi.encodeWithSelector(Rollup.SlotNotCurrent.selector, 4, slot));
            _asProposer();
            rollup.propose(args, "data");
        }
        require(rollup.pruneDue(), "still closed");
    }

    function test_deadlines_of_later_epochs_are_shown_too() public {
        VM.roll(200);
        _propose(1);
        VM.roll(202);
        _propose(5);
        VM.roll(203);
        _propose(6);
        VM.roll(204);
        _propose(9);
        uint256[4] memory last = [200 + WINDOW, 203 + WINDOW, 203 + WINDOW, uint256(204) + WINDOW];
        for (uint64 n = 1; n <= 4; n++) {
            (uint64 epoch, uint256 got) = rollup.proofDeadlineOf(n);
            assertEq(epoch, n == 1 ? 0 : n == 4 ? 2 : 1, "epoch");
            assertEq(got, last[n - 1], "last L1 block");
        }
        VM.expectRevert(abi.encodeWithSelector(Rollup.BlockUnknown.selector, 4, 5));
        rollup.proofDeadlineOf(5);
        _prove(1, 1);
        VM.expectRevert(abi.encodeWithSelector(Rollup.BlockUnknown.selector, 4, 1));
        rollup.proofDeadlineOf(1);
    }

    /// The whole bound of an epoch costs no more than one block.
    function test_gas_of_the_window_does_not_grow_with_the_epoch() public {
        VM.roll(200);
        uint256[2] memory gas;
        for (uint64 slot = 1; slot < 4; slot++) {
            _propose(slot);
            uint256 start = gasleft();
            rollup.pruneDue();
            gas[slot == 1 ? 0 : 1] = start - gasleft();
        }
        require(gas[1] <= gas[0] + 5000, "the window reads more words for more blocks");
    }

    function test_nothing_to_prune_when_all_is_proven() public {
        _propose(1);
        _prove(1, 1);
        VM.warp(GENESIS_TIME + 100 * SLOT_SECONDS);
        VM.roll(1000);
        (bool open,,) = rollup.proofDeadline();
        require(!open && !rollup.pruneDue(), "nothing is open");
        VM.expectRevert(Rollup.NothingToPrune.selector);
        rollup.prune();
    }
}
