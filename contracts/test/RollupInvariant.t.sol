// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Rollup} from "../src/Rollup.sol";
import {RollupFixture} from "./RollupFixture.sol";
import {VerifierDouble} from "./VerifierDouble.sol";

/// @notice Does to a rollup what its users may do, in any order, and notes what must never happen.
contract Handler is RollupFixture {
    bool public tipMovedWithoutYes;
    bool public tipWentBack;
    bool public provenAbovePending;
    bool public windowWrong;
    bool public closedWindowReopened;
    uint64 public proofs;
    uint64 public prunes;
    /// Chain value of the oldest unproven block whose window was last seen closed.
    bytes32 private _closed;

    constructor() {
        _deploy();
    }

    /// The fuzzer calls every public function; this one must not start over.
    function setUp() public override {}

    modifier watched(bool yes) {
        uint64 before = rollup.provenTip();
        _;
        uint64 later = rollup.provenTip();
        if (later != before && !yes) tipMovedWithoutYes = true;
        if (later < before) tipWentBack = true;
        if (later > rollup.pendingTip()) provenAbovePending = true;
        _compareWindow();
    }

    /// The twin of the contract's window: walks over every block of the oldest unproven epoch.
    function _compareWindow() private {
        uint64 n = rollup.provenTip() + 1;
        uint64 pending = rollup.pendingTip();
        (bool open, uint64 gotEpoch, uint256 got) = rollup.proofDeadline();
        if (open != (n <= pending)) windowWrong = true;
        if (!open) return;
        uint64 epoch = rollup.epochOf(rollup.blockRecord(n).slot);
        bytes32 oldest = rollup.blockRecord(n).chain;
        while (n < pending && rollup.epochOf(rollup.blockRecord(n + 1).slot) == epoch) n++;
        uint256 last = uint256(rollup.blockRecord(n).l1Block) + WINDOW;
        if (gotEpoch != epoch || got != last) windowWrong = true;
        bool isOver = rollup.epochOf(rollup.currentSlot()) > epoch;
        if (rollup.pruneDue() != (block.number > last && isOver)) windowWrong = true;
        // Blocks that missed their window stay so, whatever is proposed after them.
        if (oldest == _closed && !rollup.pruneDue()) closedWindowReopened = true;
        if (rollup.pruneDue()) _closed = oldest;
    }

    function propose(uint8 slots) external watched(false) {
        uint64 slot = uint64(rollup.blockRecord(rollup.pendingTip()).slot) + 1 + slots % 3;
        uint64 current = rollup.currentSlot();
        if (slot > current) VM.warp(GENESIS_TIME + slot * SLOT_SECONDS);
        else slot = current;
        // Time has passed, so a prune may be due only now; `propose` then builds on the proven tip.
        bool due = rollup.pruneDue();
        Rollup.ProposeArgs memory args =
            _nextOn(due ? rollup.provenTip() : rollup.pendingTip(), slot);
        _asProposer();
        rollup.propose(args, "data");
        if (due) prunes++;
    }

    function submit(uint8 length, uint8 answer, bool shifted) external watched(answer % 8 == 1) {
        verifier.set(VerifierDouble.Answer(answer % 8));
        // Shifted: starts at a block that may be proven already, of this epoch or another.
        uint64 first = rollup.provenTip() + (shifted ? 0 : 1);
        try rollup.submitEpochProof{gas: 3_000_000}(_range(first, first + length % 3), "proof") {
            proofs++;
        } catch {}
    }

    function prune() external watched(false) {
        try rollup.prune() {
            prunes++;
        } catch {}
    }

    function pass(uint8 l1Blocks, uint8 slots) external watched(false) {
        VM.roll(block.number + l1Blocks % 8);
        VM.warp(block.timestamp + (slots % 8) * SLOT_SECONDS);
    }

    function tips() external view returns (uint64 proven, uint64 pending) {
        return (rollup.provenTip(), rollup.pendingTip());
    }
}

contract RollupInvariantTest {
    Handler private _handler;

    function setUp() public {
        _handler = new Handler();
    }

    /// forge calls only the handler.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_proven_tip_moves_only_on_the_verifiers_yes() external view {
        require(!_handler.tipMovedWithoutYes(), "the proven tip moved without a yes");
        require(!_handler.tipWentBack(), "the proven tip went back");
        require(!_handler.provenAbovePending(), "the proven tip is above the pending tip");
        require(!_handler.windowWrong(), "the window is not what a walk over the epoch gives");
        require(!_handler.closedWindowReopened(), "a closed window was reopened");
    }

    /// Goal: the handler reaches what the invariant is about. Method: the shortest such history.
    function test_handler_can_prove_and_prune() external {
        _handler.propose(0);
        _handler.submit(0, 1, false);
        require(_handler.proofs() == 1, "proven");
        _handler.propose(0);
        for (uint256 i; i < 3; i++) {
            _handler.pass(7, 7);
        }
        _handler.prune();
        require(_handler.prunes() == 1, "pruned");
        _handler.submit(0, 0, false);
        require(_handler.proofs() == 1, "a no proves nothing");
    }
}
