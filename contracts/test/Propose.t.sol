// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {ISelection} from "../src/selection/ISelection.sol";
import {IBondVault} from "../src/economics/IBondVault.sol";
import {IInbox} from "../src/messages/IInbox.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {Poseidon2} from "../src/Poseidon2.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./vm/Vm.sol";

/// @notice Every rule of `propose` at its bound.
contract ProposeTest is Fixture {
    function _expect(bytes memory revertData, IRollup.ProposeArgs memory args, DaInput memory d)
        private
    {
        IRollup.Attestations memory a = _attested(args, d);
        if (revertData.length == 4) VM.expectPartialRevert(bytes4(revertData));
        else VM.expectRevert(revertData);
        rollup.propose(args, a, d);
    }

    function test_record_tips_and_event_contain_what_was_proposed() public {
        VM.warp(_time(2));
        VM.roll(110);
        IRollup.ProposeArgs memory args = _block(0, 2);
        args.txCount = 32;
        args.outRoot = bytes32(P - 1);
        args.totalFees = type(uint128).max;
        args.feePerL2Gas = type(uint64).max;
        args.feePerDaGas = type(uint64).max - 1;
        args.l2GasUsed = type(uint64).max - 2;
        args.daGasUsed = type(uint64).max - 3;
        args.coinbase = address(type(uint160).max);
        DaInput memory d = _da(32);
        bytes32 chain = _link(0, args, d);
        IRollup.Attestations memory a = _attested(args, d);
        VM.recordLogs();
        rollup.propose(args, a, d);
        _compareEvent(args, d, chain);
        _compareState(args, chain);
    }

    function _compareEvent(IRollup.ProposeArgs memory args, DaInput memory d, bytes32 chain)
        private
    {
        Vm.Log[] memory logs = VM.getRecordedLogs();
        Vm.Log memory log = logs[logs.length - 1];
        assertEq(log.emitter, address(rollup), "emitter");
        assertEq(log.topics[0], IRollup.BlockProposed.selector, "topic");
        assertEq(log.topics[1], bytes32(uint256(1)), "block");
        assertEq(log.topics[2], args.archiveRoot, "archive root");
        bytes memory want = bytes.concat(
            abi.encode(args.headerHash, chain, args.slot, args.coinbase, args.totalFees),
            abi.encode(args.txCount, sha256(d.commitment), d.z, d.y, 14 * 32),
            abi.encode(args.inHash, args.outRoot, 1, VM.addr(keys[0]), 48),
            d.commitment,
            bytes16(0)
        );
        assertEq(keccak256(log.data), keccak256(want), "data");
    }

    function _compareState(IRollup.ProposeArgs memory args, bytes32 chain) private view {
        IRollup.BlockRecord memory r = rollup.blockRecord(1);
        assertEq(r.archiveRoot, args.archiveRoot, "archive root");
        assertEq(r.chain, chain, "chain");
        assertEq(r.outRoot, args.outRoot, "out root");
        assertEq(r.coinbase, args.coinbase, "coinbase");
        assertEq(r.slot, 2, "slot");
        assertEq(r.l1Block, 110, "L1 block");
        assertEq(r.totalFees, type(uint128).max, "fees");
        assertEq(r.signers, 1, "signers");
        assertEq(r.txCount, 32, "transactions");
        IRollup.EpochRecord memory e = rollup.epochRecord(0);
        assertEq(e.firstBlock, 1, "first");
        assertEq(e.lastBlock, 1, "last");
        assertEq(e.bondPoster, VM.addr(keys[0]), "poster");
        assertEq(e.bond, BOND, "bond");
        assertEq(_locked(VM.addr(keys[0])), BOND, "locked");
        assertEq(rollup.tips().pending, 1, "pending");
        assertEq(rollup.tips().proven, 0, "proven");
    }

    /// The link in words of any size, compared with the fixture's own packing.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_link_packs_every_field(
        IRollup.ProposeArgs memory args,
        uint256 z,
        uint256 y,
        bytes32 a,
        bytes16 b
    ) public {
        VM.warp(_time(3));
        IRollup.ProposeArgs memory next = _block(0, 3);
        args.blockNumber = 1;
        args.slot = 3;
        args.previousArchiveRoot = next.previousArchiveRoot;
        args.inHash = 0;
        args.archiveRoot = bytes32(uint256(args.archiveRoot) % P);
        args.headerHash = bytes32(uint256(args.headerHash) % P);
        args.outRoot = bytes32(uint256(args.outRoot) % P);
        args.txCount = args.txCount % 33;
        DaInput memory d = _da(args.txCount);
        if (args.txCount != 0) (d.z, d.y, d.commitment) = (z % P, y, bytes.concat(a, b));
        IRollup.Attestations memory signed = _attested(args, d);
        rollup.propose(args, signed, d);
        assertEq(rollup.blockRecord(1).chain, _link(0, args, d), "chain");
    }

    /// forge-config: default.fuzz.runs = 128
    function testFuzz_only_the_current_slot_above_the_last(uint8 slot, uint8 now_) public {
        _propose(5);
        VM.warp(_time(now_) + (now_ % SLOT));
        IRollup.ProposeArgs memory args = _block(1, slot);
        (,, bool due) = rollup.deadlines(0);
        if (due) args = _block(0, slot);
        if (slot != now_) {
            _expect(
                abi.encodeWithSelector(IRollup.SlotNotCurrent.selector, now_, slot), args, _da(0)
            );
        } else if (slot <= 5 && !due) {
            _expect(abi.encodeWithSelector(IRollup.SlotOutOfOrder.selector, 5, slot), args, _da(0));
        } else {
            _submit(args);
        }
    }

    function test_slot_0_is_genesis() public {
        VM.warp(_time(1) - 1);
        _expect(abi.encodeWithSelector(IRollup.SlotOutOfOrder.selector, 0, 0), _block(0, 0), _da(0));
        VM.warp(GENESIS - 1);
        assertEq(rollup.currentSlot(), 0, "before genesis");
        VM.warp(_time(1));
        _submit(_block(0, 1));
    }

    function test_number_and_parent_must_follow() public {
        _propose(1);
        VM.warp(_time(2));
        IRollup.ProposeArgs memory args = _block(1, 2);
        args.blockNumber = 1;
        _expect(abi.encodeWithSelector(IRollup.BlockOutOfOrder.selector, 2, 1), args, _da(0));
        args.blockNumber = 3;
        IRollup.Attestations memory a;
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockOutOfOrder.selector, 2, 3));
        rollup.propose(args, a, _da(0));
        args.blockNumber = 2;
        bytes32 right = args.previousArchiveRoot;
        args.previousArchiveRoot = bytes32(uint256(right) ^ 1);
        _expect(
            abi.encodeWithSelector(
                IRollup.PreviousArchiveRootWrong.selector, right, args.previousArchiveRoot
            ),
            args,
            _da(0)
        );
        args.previousArchiveRoot = right;
        _submit(args);
    }

    function test_words_must_be_canonical() public {
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        args.archiveRoot = bytes32(P);
        _expectField(args, _da(0));
        args = _block(0, 1);
        args.headerHash = bytes32(P);
        _expectField(args, _da(0));
        args = _block(0, 1);
        args.outRoot = bytes32(P);
        _expectField(args, _da(0));
        args = _block(0, 1);
        args.txCount = 1;
        DaInput memory d = _da(1);
        d.z = P;
        _expectField(args, d);
        // The largest canonical values pass, and so the largest header, archive and out root.
        d.z = P - 1;
        (args.archiveRoot, args.headerHash, args.outRoot) =
        (bytes32(P - 1), bytes32(P - 1), bytes32(P - 1));
        IRollup.Attestations memory a = _attested(args, d);
        rollup.propose(args, a, d);
    }

    function _expectField(IRollup.ProposeArgs memory args, DaInput memory d) private {
        IRollup.Attestations memory a;
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        rollup.propose(args, a, d);
    }

    function test_33_transactions_are_too_many() public {
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        args.txCount = 33;
        _expect(abi.encodeWithSelector(IRollup.TooManyTransactions.selector, 32, 33), args, _da(33));
    }

    function test_in_hash_must_be_the_inboxs() public {
        all.inbox.send(0, 0, 0);
        _propose(1);
        VM.warp(_time(2));
        IRollup.ProposeArgs memory args = _block(1, 2);
        bytes32 right = args.inHash;
        require(right != 0, "a message");
        args.inHash = 0;
        _expect(abi.encodeWithSelector(IRollup.InHashWrong.selector, right, 0), args, _da(0));
        args.inHash = right;
        _submit(args);
    }

    function test_no_transactions_means_no_data_in_one_encoding() public {
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        IRollup.Attestations memory a = _attested(args, _da(0));
        for (uint256 i; i < 5; i++) {
            DaInput memory d = _da(0);
            if (i == 0) d.blobIndex = 1;
            if (i == 1) d.z = 1;
            if (i == 2) d.y = 1;
            if (i == 3) d.commitment = new bytes(48);
            if (i == 4) d.proof = new bytes(48);
            VM.expectRevert(IRollup.DataWithoutTransactions.selector);
            rollup.propose(args, a, d);
        }
        rollup.propose(args, a, _da(0));
    }

    function test_data_must_be_there_with_a_commitment_of_48_bytes() public {
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        args.txCount = 1;
        IRollup.Attestations memory a;
        for (uint256 n = 47; n < 50; n += 2) {
            DaInput memory d = _da(1);
            d.commitment = new bytes(n);
            VM.expectRevert(abi.encodeWithSelector(IRollup.CommitmentLengthWrong.selector, n));
            rollup.propose(args, a, d);
        }
        data.set(true);
        VM.expectRevert("no data");
        rollup.propose(args, a, _da(1));
        data.set(false);
        _submit(args);
    }

    function test_blocks_reach_max_unproven_epochs_and_no_further() public {
        // Epoch 0 is the oldest unproven; 6 epochs from it may have blocks.
        _propose(1);
        VM.warp(_time(6 * SLOTS - 1));
        // The prune of epoch 0 is due later only: its challenge period ends with epoch 3. So prove it
        // that late that the bound is met first.
        _deployWith(12);
        _propose(1);
        for (uint48 e = 1; e < 6; e++) {
            _propose(e * uint48(SLOTS) + 1);
        }
        VM.warp(_time(6 * SLOTS));
        IRollup.ProposeArgs memory args = _block(6, uint48(6 * SLOTS));
        _expect(abi.encodeWithSelector(IRollup.TooManyUnprovenEpochs.selector, 0, 6), args, _da(0));
        require(!rollup.canPropose(uint48(6 * SLOTS), VM.addr(keys[0])), "canPropose");
        // The oldest unproven epoch moves with the proof.
        _prove(0, 1, 10);
        require(rollup.canPropose(uint48(6 * SLOTS), VM.addr(keys[0])), "canPropose");
        _submit(args);
    }

    function _deployWith(uint32 epochs) private {
        VM.warp(GENESIS);
        proofWindow = epochs * uint32(EPOCH);
        _deploy(address(token));
    }

    function test_only_the_proposers_signature_over_this_very_link_counts() public {
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        bytes32 digest = rollup.blockDigest(1, 1, _link(0, args, _da(0)));
        bytes32 committee = all.selection.committeeHash(0);
        // Another key, another fact of the block, another kind of digest.
        IRollup.Attestations memory a = IRollup.Attestations(1, _signature(99, digest));
        VM.expectPartialRevert(ISelection.CommitteeWrong.selector);
        rollup.propose(args, a, _da(0));
        a = _attest(1, digest);
        args.coinbase = address(1);
        VM.expectPartialRevert(ISelection.CommitteeWrong.selector);
        rollup.propose(args, a, _da(0));
        args.coinbase = COINBASE;
        require(committee == keccak256(abi.encode(VM.addr(keys[0]))), "committee");
        // Anybody may send it.
        VM.prank(address(0xB0B));
        rollup.propose(args, a, _da(0));
    }

    function test_a_bond_that_is_too_low_stops_the_first_block_of_an_epoch_only() public {
        address who = VM.addr(keys[0]);
        _propose(1);
        uint256 free = _free(who);
        VM.prank(who);
        all.bondVault.withdraw(free);
        require(rollup.canPropose(2, who), "the epoch has its bond");
        _propose(2);
        VM.warp(_time(SLOTS));
        require(!rollup.canPropose(uint48(SLOTS), who), "canPropose");
        _expect(
            abi.encodeWithSelector(IBondVault.BondTooLow.selector, who, 0, BOND),
            _block(2, uint48(SLOTS)),
            _da(0)
        );
        all.bondVault.deposit(who, BOND - 1);
        _expect(
            abi.encodeWithSelector(IBondVault.BondTooLow.selector, who, BOND - 1, BOND),
            _block(2, uint48(SLOTS)),
            _da(0)
        );
        all.bondVault.deposit(who, 1);
        require(rollup.canPropose(uint48(SLOTS), who), "canPropose");
        _submit(_block(2, uint48(SLOTS)));
        assertEq(_locked(who), 2 * BOND, "locked");
    }

    function test_canPropose_asks_for_a_bond_of_the_first_epoch_too() public {
        address who = VM.addr(keys[0]);
        require(rollup.canPropose(1, who), "with a bond");
        uint256 free = _free(who);
        VM.prank(who);
        all.bondVault.withdraw(free);
        require(!rollup.canPropose(1, who), "without");
    }

    /// Goal: `canPropose` is what `propose` does when it prunes first. Method: an oldest epoch that is too old
    /// but for the prune, and a poster with nothing but the bonds in the epochs that are undone.
    function test_canPropose_counts_the_prune_that_is_due() public {
        address who = VM.addr(keys[0]);
        _propose(1);
        VM.warp(_time(8 * SLOTS));
        require(rollup.canPropose(8 * SLOTS, who), "nothing is unproven after a prune");
        VM.warp(_time(1));
        _propose(uint48(SLOTS));
        uint256 free = _free(who);
        VM.prank(who);
        all.bondVault.withdraw(free);
        VM.warp(_challengeEnd(0) + 1);
        uint48 slot = uint48(rollup.currentSlot());
        require(rollup.canPropose(slot, who), "the bond of epoch 1 comes back");
        uint256 before = rollup.tips().pending;
        assertEq(before, 2, "not yet pruned");
        _submit(_block(0, slot));
        // Now the bond is in this epoch; once it is lost, there is none.
        VM.warp(_challengeEnd(slot / SLOTS) + 1);
        slot = uint48(rollup.currentSlot());
        require(!rollup.canPropose(slot, who), "the bond of the oldest epoch is lost");
        _expect(
            abi.encodeWithSelector(IBondVault.BondTooLow.selector, who, 0, BOND),
            _block(0, slot),
            _da(0)
        );
    }

    /// A prune returns its bond to each poster, and to nobody else.
    function test_canPropose_counts_the_own_bonds_only() public {
        _keys(2);
        VM.warp(GENESIS);
        _deploy(address(token));
        (address first, address second) = (VM.addr(keys[0]), VM.addr(keys[1]));
        // Even slots are the first member's, and so are the bonds of epochs 0 and 1.
        _propose(2);
        _propose(uint48(SLOTS));
        uint256[2] memory free = [_free(first), _free(second)];
        VM.prank(first);
        all.bondVault.withdraw(free[0]);
        VM.prank(second);
        all.bondVault.withdraw(free[1]);
        VM.warp(_challengeEnd(0) + 1);
        uint48 slot = uint48(rollup.currentSlot());
        assertEq(slot % 2, 0, "the fixture's times");
        require(rollup.canPropose(slot, first), "with the bond of epoch 1");
        require(!rollup.canPropose(slot + 1, second), "without a bond");
    }

    function test_canPropose_follows_slot_and_proposer() public {
        address who = VM.addr(keys[0]);
        _propose(2);
        require(!rollup.canPropose(2, who), "taken");
        require(rollup.canPropose(3, who), "next");
        require(!rollup.canPropose(3, address(1)), "stranger");
        VM.warp(_time(5));
        require(!rollup.canPropose(4, who), "past");
        require(rollup.canPropose(5, who), "now");
        // Past a prune the old tip does not count.
        VM.warp(_challengeEnd(0) + 1);
        require(rollup.canPropose(rollup.currentSlot(), who), "after a prune");
    }

    /// Strict decoding: a calldata word with dirty upper bits is rejected, so is a cut one.
    function test_arguments_have_one_encoding_of_each_value() public {
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        bytes memory call = abi.encodeCall(IRollup.propose, (args, _attested(args, _da(0)), _da(0)));
        uint256[14] memory bits =
            [uint256(64), 48, 256, 256, 256, 256, 256, 160, 128, 16, 64, 64, 64, 64];
        for (uint256 i; i < 14; i++) {
            if (bits[i] == 256) continue;
            bytes memory dirty = bytes.concat(call);
            uint256 lowest = 4 + 32 * i + 31 - bits[i] / 8;
            dirty[lowest] = 0x01;
            (bool wrong,) = address(rollup).call(dirty);
            require(!wrong, "dirty bits were accepted");
        }
        bytes memory cut = new bytes(call.length - 65);
        for (uint256 i; i < cut.length; i++) {
            cut[i] = call[i];
        }
        (bool done,) = address(rollup).call(cut);
        require(!done, "cut arguments were accepted");
        (done,) = address(rollup).call(call);
        require(done, "the call itself");
    }

    function test_records_above_the_tip_are_unknown() public {
        _propose(1);
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockUnknown.selector, 1, 2));
        rollup.blockRecord(2);
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 0, 1));
        rollup.provenOut(1);
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 0, 0));
        rollup.provenFees(0);
        _prove(0, 1, 5);
        rollup.provenOut(1);
        rollup.provenFees(1);
    }
}
