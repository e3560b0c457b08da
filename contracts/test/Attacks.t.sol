// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IDataAvailability} from "../src/data/IDataAvailability.sol";
import {ISelection} from "../src/selection/ISelection.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {VerifierDouble} from "./Doubles.sol";
import {Fixture} from "./Fixture.sol";

/// @notice Attacks of a kind that no single rule is about: who calls, in which order, with how much gas. Every
///         attack and its tests: docs/book/attacks.md.
contract AttacksTest is Fixture {
    uint256 private constant DELEGATED = 0xDE1E;
    Relay private _relay;

    function setUp() public override {
        super.setUp();
        _relay = new Relay();
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 10_000e9);
    }

    /// The next block in `slot` with its signature, as a call.
    function _proposal(uint48 slot) private returns (bytes memory) {
        VM.warp(_time(slot));
        IRollup.ProposeArgs memory args = _block(_parent(), slot);
        return abi.encodeCall(IRollup.propose, (args, _attested(args, _da(0)), _da(0)));
    }

    /// An account with code, as EIP-7702 allows it.
    function _delegated() private returns (address account) {
        account = VM.addr(DELEGATED);
        VM.signAndAttachDelegation(address(_relay), DELEGATED);
        require(account.code.length == 23, "delegated");
    }

    // ------------------------------------------------------------ callers

    /// Goal: the rights to propose and to be paid are in what is signed and proven, whoever calls. Method: a
    /// contract and a delegated account send everything, and must appear nowhere.
    function test_a_contract_and_a_delegated_account_may_send_and_gain_nothing() public {
        address account = _delegated();
        address target = address(rollup);
        address poster = VM.addr(keys[0]);

        _relay.send(target, _proposal(1));
        bytes memory second = _proposal(2);
        VM.prank(account);
        Relay(account).send(target, second);
        assertEq(rollup.tips().pending, 2, "pending");
        assertEq(rollup.epochRecord(0).bondPoster, poster, "poster");
        assertEq(rollup.blockRecord(2).coinbase, COINBASE, "coinbase");

        _relay.send(target, abi.encodeCall(IRollup.submitEpochProof, (_range(0, 1, 5), "proof")));
        VM.warp(_end(0));
        bytes memory last = abi.encodeCall(IRollup.submitEpochProof, (_range(0, 2, 9), "proof"));
        VM.prank(account);
        Relay(account).send(target, last);
        assertEq(rollup.epochRecord(0).state, 2, "settled");
        assertEq(all.rewards.owedTo(PROVER), 9 * uint256(_rates().feePerConstraint), "prover");
        assertEq(_free(poster), 1000 * BOND, "the bond is back");
        assertEq(all.rewards.owedTo(account) + all.rewards.owedTo(address(_relay)), 0, "owed");
        assertEq(_free(account) + _free(address(_relay)), 0, "bonds");
    }

    /// One transaction can hold several calls, and one slot still has one block.
    function test_a_batch_has_one_block_for_a_slot() public {
        bytes[] memory calls = new bytes[](3);
        calls[0] = _proposal(1);
        IRollup.ProposeArgs memory args = _block(0, 1);
        (args.previousArchiveRoot, args.blockNumber) = (args.archiveRoot, 2);
        IRollup.Attestations memory none;
        calls[1] = abi.encodeCall(IRollup.propose, (args, none, _da(0)));
        calls[2] = calls[0];
        bytes[] memory answers = _relay.tryAll(address(rollup), calls);
        assertEq(answers[0].length, 0, "the first one");
        bytes memory used = abi.encodeWithSelector(IRollup.SlotOutOfOrder.selector, 1, 1);
        assertEq(keccak256(answers[1]), keccak256(used), "another block of the slot");
        assertEq(keccak256(answers[2]), keccak256(used), "the same block again");
        assertEq(rollup.tips().pending, 1, "pending");
    }

    // ------------------------------------------------------------ time

    /// Goal: no block reopens a window. Method: the deadlines of an epoch before and after its last block, and a
    /// block for one of its slots once it is over and once its window is.
    function test_no_block_moves_a_deadline() public {
        _propose(1);
        _propose(uint48(SLOTS - 1));
        uint256[2] memory times = [_end(0), _windowEnd(0) + 1];
        for (uint256 i; i < 2; i++) {
            VM.warp(times[i]);
            uint48 current = uint48(rollup.currentSlot());
            IRollup.ProposeArgs memory args = _block(2, 2);
            IRollup.Attestations memory a = _attested(args, _da(0));
            VM.expectRevert(abi.encodeWithSelector(IRollup.SlotNotCurrent.selector, current, 2));
            rollup.propose(args, a, _da(0));
            _submit(_block(_parent(), current));
            (uint256 windowEnd, uint256 challengeEnd,) = rollup.deadlines(0);
            assertEq(windowEnd, _windowEnd(0), "window");
            assertEq(challengeEnd, _challengeEnd(0), "challenge");
        }
    }

    // ------------------------------------------------------------ proofs of others

    /// Goal: whoever proves a prefix while a longer proof is on its way spoils nothing. Method: the longer proof's
    /// inputs are as they were, and all of the pay is its prover's.
    function test_a_prefix_spoils_no_longer_proof_and_earns_nothing() public {
        _propose(1);
        _propose(2);
        _propose(3);
        IRollup.EpochArgs memory whole = _range(0, 3, 77);
        more.expect(rollup.publicInputs(whole));
        for (uint64 last = 1; last < 3; last++) {
            IRollup.EpochArgs memory prefix = _range(0, last, last);
            prefix.prover = address(0xBAD);
            if (last == 2) more.expect(rollup.publicInputs(prefix));
            rollup.submitEpochProof(prefix, "prefix");
            bytes32[] memory inputs = rollup.publicInputs(whole);
            more.expect(inputs);
        }
        rollup.submitEpochProof(whole, "whole");
        VM.warp(_end(0));
        rollup.settle(0);
        all.rewards.claimBlocks(1, 3, _members());
        uint256 fees = 3 * (1000e9 / 10);
        assertEq(
            all.rewards.owedTo(PROVER), 77 * uint256(_rates().feePerConstraint) + fees, "the whole"
        );
        assertEq(all.rewards.owedTo(address(0xBAD)), 0, "the prefixes");
    }

    /// Goal: who copies a submission works for its prover. Method: the copy as it is, then with another name.
    function test_a_copied_submission_pays_the_prover_it_names() public {
        _propose(1);
        IRollup.EpochArgs memory args = _range(0, 1, 50);
        one.expect(rollup.publicInputs(args));
        IRollup.EpochArgs memory stolen = _range(0, 1, 50);
        stolen.prover = address(0xBAD);
        VM.startPrank(address(0xBAD));
        VM.expectRevert("public inputs");
        rollup.submitEpochProof(stolen, "proof");
        rollup.submitEpochProof(args, "proof");
        VM.stopPrank();
        VM.expectRevert(abi.encodeWithSelector(IRollup.RangeEndWrong.selector, 2, 1, 1));
        rollup.submitEpochProof(args, "proof");
        VM.warp(_end(0));
        rollup.settle(0);
        assertEq(all.rewards.owedTo(PROVER), 50 * uint256(_rates().feePerConstraint), "prover");
        assertEq(all.rewards.owedTo(address(0xBAD)), 0, "copier");
    }

    /// After a fork of L1 both chains have the same contracts at the same addresses.
    function test_what_was_signed_or_proven_on_one_chain_counts_on_no_other() public {
        bytes memory call = _proposal(1);
        uint256 here = block.chainid;
        VM.chainId(here + 1);
        (bool done, bytes memory answer) = address(rollup).call(call);
        require(!done && bytes4(answer) == ISelection.CommitteeWrong.selector, "signature");
        VM.chainId(here);
        (done,) = address(rollup).call(call);
        require(done, "on its chain");
        one.expect(rollup.publicInputs(_range(0, 1, 5)));
        VM.chainId(here + 1);
        VM.expectRevert("public inputs");
        rollup.submitEpochProof(_range(0, 1, 5), "proof");
    }

    // ------------------------------------------------------------ payees

    /// Goal: nobody can stop the chain by what his account does. Method: poster, coinbase and prover are accounts
    /// whose code rejects every call, in an epoch that is proven late and in one that is pruned.
    function test_payees_that_reject_every_call_stop_nothing() public {
        keys[0] = DELEGATED;
        VM.warp(GENESIS);
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 10_000e9);
        address poster = _delegated();
        (bool done,) = poster.call{value: 0}("");
        require(!done, "it rejects");
        address payee = address(_relay);
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        args.coinbase = payee;
        _submit(args);
        _propose(uint48(SLOTS));
        VM.warp(_windowEnd(0) + 1);
        IRollup.EpochArgs memory late = _range(0, 1, 5);
        late.prover = payee;
        rollup.submitEpochProof(late, "proof");
        assertEq(_free(payee), BOND / 2, "share");
        VM.warp(_challengeEnd(1) + 1);
        rollup.prune();
        assertEq(_locked(poster), 0, "nothing stays locked");
        all.bondVault.collect();
        all.rewards.claimBlocks(1, 1, _members());
        token.transfer(address(all.rewards), 100e18);
        uint256 owed = all.rewards.owedTo(payee);
        assertEq(all.rewards.claim(payee), owed, "paid");
        assertEq(token.balanceOf(payee), owed, "received");
    }

    // ------------------------------------------------------------ gas

    function _deployData() internal override returns (IDataAvailability) {
        return IDataAvailability(VM.deployCode("src/data/BlobAvailability.sol:BlobAvailability"));
    }

    /// Goal: a sender that gives too little gas changes nothing; no inner call fails unnoticed. Method: a proposal
    /// with a blob under any limit.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_a_proposal_with_too_little_gas_changes_nothing(uint256 gas_) public {
        VM.warp(_time(1));
        DaInput memory d = _blob();
        IRollup.ProposeArgs memory args = _block(0, 1);
        args.txCount = 1;
        bytes memory call = abi.encodeCall(IRollup.propose, (args, _attested(args, d), d));
        _allOrNothing(call, gas_ % 600_000);
        assertEq(rollup.tips().pending, 1, "pending");
        assertEq(rollup.blockRecord(1).txCount, 1, "record");
        assertEq(_locked(VM.addr(keys[0])), BOND, "bond");
        (uint64 open,) = all.inbox.state();
        assertEq(open, 3, "inbox");
    }

    /// The same of a late proof, which shares and settles.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_a_proof_with_too_little_gas_changes_nothing(uint256 gas_) public {
        _propose(1);
        VM.warp(_windowEnd(0) + 1);
        bytes memory call = abi.encodeCall(IRollup.submitEpochProof, (_range(0, 1, 5), "proof"));
        _allOrNothing(call, gas_ % 400_000);
        assertEq(rollup.tips().proven, 1, "proven");
        assertEq(rollup.epochRecord(0).state, 3, "late and settled");
        assertEq(_free(PROVER), BOND / 2, "share");
        assertEq(_free(address(all.rewards)), BOND / 2, "rest");
    }

    /// Calls with this limit; if that is too little, nothing has changed, and the call without a limit works.
    function _allOrNothing(bytes memory call, uint256 limit) private {
        bytes32 before = _state();
        (bool done,) = address(rollup).call{gas: limit}(call);
        if (done) return;
        assertEq(_state(), before, "changed");
        (done,) = address(rollup).call(call);
        require(done, "without a limit");
    }

    function _state() private view returns (bytes32) {
        (uint64 open, uint64 count) = all.inbox.state();
        address poster = VM.addr(keys[0]);
        return keccak256(
            abi.encode(
                rollup.tips(),
                rollup.epochRecord(0),
                VM.load(address(rollup), keccak256(abi.encode(1, 1))),
                open,
                count,
                _free(poster),
                _locked(poster),
                _free(PROVER),
                _free(address(all.rewards)),
                all.rewards.totalOwed()
            )
        );
    }

    /// A verifier that eats all gas costs whoever calls it, and nobody else: the record is as it was.
    function test_a_verifier_that_eats_its_gas_changes_nothing() public {
        _propose(1);
        VM.etch(address(one), address(new Glutton()).code);
        bytes32 before = _state();
        bytes memory call = abi.encodeCall(IRollup.submitEpochProof, (_range(0, 1, 5), "proof"));
        (bool done,) = address(rollup).call{gas: 1_000_000}(call);
        require(!done, "accepted");
        assertEq(_state(), before, "changed");
        VM.etch(address(one), address(new VerifierDouble(0)).code);
    }
}

/// @notice Sends what it is told to, and rejects every other call, payments too.
contract Relay {
    function send(address target, bytes calldata call) external {
        (bool done, bytes memory answer) = target.call(call);
        require(done, string(answer));
    }

    function tryAll(address target, bytes[] calldata calls)
        external
        returns (bytes[] memory answers)
    {
        answers = new bytes[](calls.length);
        for (uint256 i; i < calls.length; i++) {
            (, answers[i]) = target.call(calls[i]);
        }
    }
}

/// @notice A verifier that never answers.
contract Glutton {
    fallback() external {
        while (gasleft() > 0) {}
    }
}
