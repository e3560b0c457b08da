// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {Poseidon2} from "../src/Poseidon2.sol";
import {IInbox} from "../src/messages/IInbox.sol";
import {IOutbox} from "../src/messages/IOutbox.sol";
import {IRollup} from "../src/IRollup.sol";
import {Fixture} from "./Fixture.sol";
import {OutTree} from "./OutTree.sol";

/// @notice Messages in both directions, and the portal.
contract MessagesTest is Fixture {
    // ------------------------------------------------------------ Inbox

    function test_inbox_rejects_what_no_node_could_hash_or_claim() public {
        bytes32 p = bytes32(P);
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        all.inbox.send(p, 0, 0);
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        all.inbox.send(0, p, 0);
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        all.inbox.send(0, 0, p);
        p = bytes32(P - 1);
        all.inbox.send(p, p, p);
        VM.startPrank(address(all.feePortal));
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        all.inbox.sendDeposit(bytes32(P), 1);
        VM.expectRevert(IInbox.RecipientMissing.selector);
        all.inbox.sendDeposit(0, 1);
        VM.expectRevert(IInbox.AmountMissing.selector);
        all.inbox.sendDeposit(p, 0);
        all.inbox.sendDeposit(p, type(uint64).max);
        VM.stopPrank();
    }

    function test_events_contain_the_leaf_and_its_words() public {
        (bytes32 a, bytes32 b, bytes32 c) =
            (bytes32(uint256(2)), bytes32(uint256(3)), bytes32(uint256(4)));
        uint256[] memory words = new uint256[](5);
        (words[0], words[1], words[2], words[3], words[4]) = (uint160(address(this)), 2, 3, 4, 64);
        VM.expectEmit(address(all.inbox));
        emit IInbox.MessageSent(2, 64, hasher.hash(24, words), 0, address(this), a, b, c);
        all.inbox.send(a, b, c);
        words = new uint256[](3);
        (words[0], words[1], words[2]) = (2, 7, 65);
        VM.expectEmit(address(all.inbox));
        emit IInbox.MessageSent(
            2, 65, hasher.hash(25, words), 1, address(0), a, bytes32(uint256(7)), 0
        );
        VM.prank(address(all.feePortal));
        all.inbox.sendDeposit(a, 7);
    }

    /// Goal: hashes, indices and the open number are those of lists of leaves. Method: random steps.
    /// forge-config: default.fuzz.runs = 16
    function testFuzz_inbox_is_its_naive_twin(uint256 seed) public {
        uint64 open = 2;
        uint64 tip;
        for (uint256 step; step < 40; step++) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (seed % 3 != 0) {
                uint256 n = seed % 5 == 0 ? 64 : 1 + seed % 2;
                for (uint256 i; i < n; i++) {
                    (uint64 number, uint64 index, bytes32 leaf) = all.inbox.send(0, 0, 0);
                    assertEq(number, open, "number");
                    assertEq(index, (open - 1) * 64 + _leaves[open].length, "index");
                    _leaves[open].push(leaf);
                    if (_leaves[open].length == 64) open++;
                }
            } else {
                tip = seed % 7 == 0 ? tip / 2 : tip + 1;
                if (tip == 0) continue;
                VM.prank(address(rollup));
                assertEq(all.inbox.consume(tip), _fold(tip), "hash");
                if (open == tip + 1) open++;
            }
            (uint64 got, uint64 count) = all.inbox.state();
            assertEq(got, open, "open");
            assertEq(count, _leaves[open].length, "count");
        }
        for (uint64 n = 1; n <= open; n++) {
            assertEq(all.inbox.hashOf(n), _fold(n), "final hash");
        }
    }

    mapping(uint256 => bytes32[]) private _leaves;

    function _fold(uint256 number) private view returns (bytes32 h) {
        uint256[] memory words = new uint256[](2);
        for (uint256 i; i < _leaves[number].length; i++) {
            (words[0], words[1]) = (uint256(h), uint256(_leaves[number][i]));
            h = hasher.hash(48, words);
        }
    }

    function test_a_number_that_is_open_cannot_be_consumed() public {
        VM.startPrank(address(rollup));
        VM.expectRevert(abi.encodeWithSelector(IInbox.StillOpen.selector, 2, 2));
        all.inbox.consume(2);
        all.inbox.consume(1);
        all.inbox.consume(2);
        VM.stopPrank();
    }

    // ------------------------------------------------------------ Outbox

    /// A proven block with these leaves.
    function _out(uint48 slot, bytes32[] memory leaves) private {
        VM.warp(_time(slot));
        IRollup.ProposeArgs memory args = _block(rollup.tips().pending, slot);
        args.txCount = uint16(leaves.length / 2);
        args.outRoot = OutTree.root(hasher, leaves);
        _submit(args);
        _prove(slot / SLOTS, args.blockNumber, slot + 1);
    }

    function _leavesOf(uint256 count) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](2 * count);
        for (uint256 i; i < leaves.length; i++) {
            leaves[i] = keccak256(abi.encode(i)) >> 8;
        }
    }

    function _message(address recipient, uint256 content) private view returns (bytes32) {
        uint256[] memory words = new uint256[](3);
        (words[0], words[1], words[2]) = (5, uint160(recipient), content);
        return hasher.hash(27, words);
    }

    function _withdrawal(address recipient, uint64 units) private view returns (bytes32) {
        uint256[] memory words = new uint256[](2);
        (words[0], words[1]) = (uint160(recipient), units);
        return hasher.hash(28, words);
    }

    /// forge-config: default.fuzz.runs = 48
    function testFuzz_every_leaf_of_every_shape_is_consumed_once(uint256 seed) public {
        uint256 count = 1 + seed % 32;
        uint16 transaction = uint16((seed >> 8) % count);
        uint8 which = uint8((seed >> 16) % 2);
        bytes32[] memory leaves = _leavesOf(count);
        bytes32 leaf = leaves[2 * uint256(transaction) + which] = _message(address(this), 9);
        _out(1, leaves);
        bytes32[] memory path = OutTree.path(hasher, leaves, transaction, which);
        bytes32 five = bytes32(uint256(5));
        bytes32 nine = bytes32(uint256(9));

        require(!all.outbox.isConsumed(1, transaction, which), "not yet");
        // The place of another leaf has another path, or other turns.
        VM.expectPartialRevert(IOutbox.PathWrong.selector);
        all.outbox.consume(1, transaction, 1 - which, five, nine, path);
        uint16 next = transaction + 1;
        bytes4 reason = IOutbox.PathWrong.selector;
        if (next >= count) {
            reason = IOutbox.TransactionUnknown.selector;
        } else if (OutTree.path(hasher, leaves, next, which).length != path.length) {
            reason = IOutbox.PathLengthWrong.selector;
        }
        VM.expectPartialRevert(reason);
        all.outbox.consume(1, next, which, five, nine, path);
        VM.expectEmit(address(all.outbox));
        emit IOutbox.MessageConsumed(1, transaction, which, leaf);
        all.outbox.consume(1, transaction, which, five, nine, path);
        require(all.outbox.isConsumed(1, transaction, which), "consumed");
        require(!all.outbox.isConsumed(1, transaction, 1 - which), "the other one is not");
        VM.expectRevert(
            abi.encodeWithSelector(IOutbox.AlreadyConsumed.selector, 1, transaction, which)
        );
        all.outbox.consume(1, transaction, which, five, nine, path);
    }

    function test_outbox_rejects_by_name() public {
        bytes32[] memory leaves = _leavesOf(3);
        leaves[3] = _message(address(this), 9);
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        args.txCount = 3;
        args.outRoot = OutTree.root(hasher, leaves);
        _submit(args);
        bytes32[] memory path = OutTree.path(hasher, leaves, 1, 1);
        bytes32 five = bytes32(uint256(5));
        bytes32 nine = bytes32(uint256(9));
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 0, 1));
        all.outbox.consume(1, 1, 1, five, nine, path);
        _prove(0, 1, 5);
        VM.expectRevert(abi.encodeWithSelector(IOutbox.TransactionUnknown.selector, 3, 3));
        all.outbox.consume(1, 3, 1, five, nine, path);
        VM.expectRevert(abi.encodeWithSelector(IOutbox.WhichWrong.selector, 2));
        all.outbox.consume(1, 1, 2, five, nine, path);
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        all.outbox.consume(1, 1, 1, bytes32(P), nine, path);
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, P));
        all.outbox.consume(1, 1, 1, five, bytes32(P), path);
        VM.expectRevert(abi.encodeWithSelector(IOutbox.PathLengthWrong.selector, 3, 4));
        all.outbox.consume(1, 1, 1, five, nine, new bytes32[](4));
        VM.expectRevert(abi.encodeWithSelector(IOutbox.PathLengthWrong.selector, 3, 2));
        all.outbox.consume(1, 1, 1, five, nine, new bytes32[](2));
        // A sibling plus the modulus has the same digest, and is another encoding.
        path[1] = bytes32(uint256(path[1]) + P);
        VM.expectRevert(abi.encodeWithSelector(Poseidon2.NotCanonical.selector, path[1]));
        all.outbox.consume(1, 1, 1, five, nine, path);
        path[1] = bytes32(uint256(path[1]) - P);
        // Another recipient.
        VM.prank(address(1));
        VM.expectPartialRevert(IOutbox.PathWrong.selector);
        all.outbox.consume(1, 1, 1, five, nine, path);
        all.outbox.consume(1, 1, 1, five, nine, path);
    }

    function test_a_block_without_transactions_has_no_messages() public {
        _propose(1);
        _prove(0, 1, 5);
        VM.expectRevert(abi.encodeWithSelector(IOutbox.TransactionUnknown.selector, 0, 0));
        all.outbox.consume(1, 0, 0, 0, 0, new bytes32[](1));
        require(!all.outbox.isConsumed(1, 32, 0), "no such transaction");
        require(!all.outbox.isConsumed(1, 0, 2), "no such leaf");
    }

    // ------------------------------------------------------------ FeePortal

    function test_deposit_takes_whole_units_and_sends_a_leaf() public {
        token.approve(address(all.feePortal), MANY);
        bytes32 to = bytes32(uint256(7));
        VM.expectRevert(abi.encodeWithSelector(IFeePortal.AmountNotWholeUnits.selector, 1e9 - 1));
        all.feePortal.deposit(to, 1e9 - 1);
        uint256 tooMuch = 1e9 << 64;
        VM.expectRevert(abi.encodeWithSelector(IFeePortal.AmountTooLarge.selector, tooMuch));
        all.feePortal.deposit(to, tooMuch);
        VM.expectRevert(IInbox.AmountMissing.selector);
        all.feePortal.deposit(to, 0);
        VM.expectEmit(address(all.feePortal));
        emit IFeePortal.Deposited(to, 5, 2, 64);
        (uint64 number, uint64 index) = all.feePortal.deposit(to, 5e9);
        assertEq(number, 2, "block");
        assertEq(index, 64, "index");
        assertEq(token.balanceOf(address(all.feePortal)), 5e9, "balance");
        all.feePortal.deposit(to, tooMuch - 1e9);
    }

    function test_withdrawal_pays_its_recipient_once_whoever_calls() public {
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 50e9);
        address recipient = address(0xB0B);
        bytes32[] memory leaves = _leavesOf(5);
        leaves[4] = _withdrawal(recipient, 20);
        // The same leaf as leaf 1 of its transaction is no withdrawal.
        leaves[7] = leaves[4];
        _out(1, leaves);
        bytes32[] memory path = OutTree.path(hasher, leaves, 2, 0);
        VM.expectPartialRevert(IOutbox.PathWrong.selector);
        all.feePortal.withdraw(1, 2, recipient, 21, path);
        VM.expectPartialRevert(IOutbox.PathWrong.selector);
        all.feePortal.withdraw(1, 2, address(1), 20, path);
        bytes32[] memory otherPath = OutTree.path(hasher, leaves, 3, 1);
        VM.expectPartialRevert(IOutbox.PathWrong.selector);
        all.feePortal.withdraw(1, 3, recipient, 20, otherPath);
        VM.expectEmit(address(all.feePortal));
        emit IFeePortal.Withdrawn(recipient, 20, 1, 2);
        all.feePortal.withdraw(1, 2, recipient, 20, path);
        assertEq(token.balanceOf(recipient), 20e9, "paid");
        require(all.outbox.isConsumed(1, 2, 0), "consumed");
        require(!all.outbox.isConsumed(1, 1, 2), "a transaction has two leaves");
        VM.expectRevert(abi.encodeWithSelector(IOutbox.AlreadyConsumed.selector, 1, 2, 0));
        all.feePortal.withdraw(1, 2, recipient, 20, path);
    }

    /// The form of a withdrawal is the model's.
    function test_withdrawal_leaf_is_the_models() public view {
        string memory json = VM.readFile(VECTORS);
        assertEq(
            _withdrawal(address(2), 3), VM.parseJsonBytes32(json, ".forms.withdraw"), "withdraw"
        );
        uint256[] memory words = new uint256[](3);
        (words[0], words[1], words[2]) = (1, 2, 3);
        assertEq(hasher.hash(27, words), VM.parseJsonBytes32(json, ".forms.message_out"), "message");
    }

    /// The twin's trees and paths are the model's, for every number of transactions.
    function test_out_trees_are_the_models() public view {
        string memory json = VM.readFile(VECTORS);
        uint256[] memory word = new uint256[](1);
        for (uint256 n = 1; n <= 32; n++) {
            bytes32[] memory leaves = new bytes32[](2 * n);
            for (uint256 i; i < 2 * n; i++) {
                word[0] = i;
                leaves[i] = hasher.hash(1, word);
            }
            string memory path_ = string.concat(".out_trees[", VM.toString(n), "]");
            assertEq(
                OutTree.root(hasher, leaves),
                VM.parseJsonBytes32(json, string.concat(path_, ".root")),
                "root"
            );
            path_ = string.concat(path_, ".paths[0]");
            uint256 transaction = VM.parseJsonUint(json, string.concat(path_, ".tx"));
            uint256 which = VM.parseJsonUint(json, string.concat(path_, ".which"));
            bytes32[] memory want = VM.parseJsonBytes32Array(json, string.concat(path_, ".path"));
            bytes32[] memory got = OutTree.path(hasher, leaves, transaction, which);
            assertEq(keccak256(abi.encodePacked(got)), keccak256(abi.encodePacked(want)), "path");
        }
    }
}
