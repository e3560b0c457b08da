// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IRegistry} from "../src/governance/IRegistry.sol";
import {ISelection} from "../src/selection/ISelection.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {Fixture, StakedFixture} from "./Fixture.sol";

/// @notice Quorums of fixed committees.
contract CommitteeTest is Fixture {
    function setUp() public override {
        super.setUp();
        _keys(4);
        _deploy(address(token));
        VM.warp(_time(1));
    }

    function _digest() private view returns (bytes32) {
        return rollup.blockDigest(1, 1, _link(0, _block(0, 1), _da(0)));
    }

    function _fails(bytes memory revertData, IRollup.Attestations memory a) private {
        IRollup.ProposeArgs memory args = _block(0, 1);
        VM.expectRevert(revertData);
        rollup.propose(args, a, _da(0));
    }

    function test_three_of_four_with_the_proposer_are_a_quorum() public {
        bytes32 digest = _digest();
        // Slot 1 is member 1's.
        assertEq(all.selection.proposerOf(1), VM.addr(keys[1]), "proposer");
        _fails(abi.encodeWithSelector(ISelection.QuorumMissed.selector, 3, 2), _attest(3, digest));
        _fails(abi.encodeWithSelector(ISelection.ProposerMissing.selector, 1), _attest(13, digest));
        IRollup.ProposeArgs memory args = _block(0, 1);
        rollup.propose(args, _attest(11, digest), _da(0));
        assertEq(rollup.blockRecord(1).signers, 11, "signers");
        assertEq(rollup.epochRecord(0).bondPoster, VM.addr(keys[1]), "the proposer's bond");
    }

    function test_attestations_have_one_encoding() public {
        bytes32 digest = _digest();
        IRollup.Attestations memory a = _attest(15, digest);
        a.bitmap = 31;
        _fails(abi.encodeWithSelector(ISelection.BitmapTooWide.selector, 4, 31), a);
        a.bitmap = 15 | 1 << 255;
        _fails(abi.encodeWithSelector(ISelection.BitmapTooWide.selector, 4, a.bitmap), a);
        a = _attest(15, digest);
        a.signaturesOrAddresses = bytes.concat(a.signaturesOrAddresses, hex"00");
        _fails(abi.encodeWithSelector(ISelection.AttestationsLengthWrong.selector, 260, 261), a);
        a.signaturesOrAddresses = new bytes(0);
        _fails(abi.encodeWithSelector(ISelection.AttestationsLengthWrong.selector, 65, 0), a);
        a = _attest(11, digest);
        bytes memory cut = new bytes(214);
        for (uint256 i; i < 214; i++) {
            cut[i] = a.signaturesOrAddresses[i];
        }
        a.signaturesOrAddresses = cut;
        _fails(abi.encodeWithSelector(ISelection.AttestationsLengthWrong.selector, 215, 214), a);
    }

    function test_a_strangers_address_or_signature_is_no_member() public {
        bytes32 digest = _digest();
        IRollup.Attestations memory a = _attest(11, digest);
        keys[2] = 99;
        IRollup.ProposeArgs memory args = _block(0, 1);
        a = _attest(11, digest);
        VM.expectPartialRevert(ISelection.CommitteeWrong.selector);
        rollup.propose(args, a, _da(0));
        a = _attest(15, digest);
        VM.expectPartialRevert(ISelection.CommitteeWrong.selector);
        rollup.propose(args, a, _da(0));
    }

    function test_a_signature_with_high_s_is_rejected() public {
        bytes32 digest = _digest();
        IRollup.Attestations memory a = _attest(15, digest);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(keys[3], digest);
        uint256 n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes memory other = abi.encodePacked(r, n - uint256(s), v == 27 ? uint8(28) : uint8(27));
        for (uint256 i; i < 65; i++) {
            a.signaturesOrAddresses[195 + i] = other[i];
        }
        IRollup.ProposeArgs memory args = _block(0, 1);
        VM.expectRevert(
            abi.encodeWithSignature("ECDSAInvalidSignatureS(bytes32)", bytes32(n - uint256(s)))
        );
        rollup.propose(args, a, _da(0));
    }

    function test_quorums_of_every_size() public {
        for (uint256 n = 1; n <= 64; n += 9) {
            VM.warp(GENESIS);
            _keys(n);
            _deploy(address(token));
            VM.warp(_time(1));
            uint256 needed = 2 * n / 3 + 1;
            uint256 bitmap = (1 << needed) - 1;
            if (needed > 1) {
                _fails(
                    abi.encodeWithSelector(ISelection.QuorumMissed.selector, needed, needed - 1),
                    _attest(n == 1 ? 0 : (1 << (needed - 1)) - 1, _digest())
                );
            }
            IRollup.ProposeArgs memory args = _block(0, 1);
            IRollup.Attestations memory a = _attest(bitmap, _digest());
            rollup.propose(args, a, _da(0));
        }
    }

    function test_committee_is_1_to_64_distinct_accounts() public {
        _expectRejected(
            COMMITTEE,
            abi.encode(new address[](0)),
            abi.encodeWithSignature("SizeWrong(uint256)", 0)
        );
        _expectRejected(
            COMMITTEE,
            abi.encode(new address[](1)),
            abi.encodeWithSignature("MemberWrong(address)", address(0))
        );
        address[] memory two = new address[](2);
        (two[0], two[1]) = (address(1), address(1));
        _expectRejected(
            COMMITTEE, abi.encode(two), abi.encodeWithSignature("MemberWrong(address)", address(1))
        );
        _keys(65);
        _expectRejected(
            COMMITTEE, abi.encode(_members()), abi.encodeWithSignature("SizeWrong(uint256)", 65)
        );
        _keys(64);
        ISelection full = ISelection(VM.deployCode(COMMITTEE, abi.encode(_members())));
        assertEq(full.committee(0).length, 64, "members");
    }
}

/// @notice Committees sampled out of stakers.
contract StakingTest is StakedFixture {
    IStaking private _staking;

    function setUp() public override {
        super.setUp();
        VM.warp(GENESIS - 100);
        VM.prevrandao(bytes32(uint256(1)));
        _keys(6);
        _deploy(address(token));
        _staking = IStaking(address(all.selection));
        token.approve(address(_staking), MANY);
        for (uint256 i; i < 6; i++) {
            _staking.deposit(VM.addr(keys[i]), address(this), STAKE);
        }
    }

    /// Proposes with the signatures of the slot's whole committee.
    function _proposeSampled(uint48 slot) private {
        VM.warp(_time(slot));
        uint64 parent = _parent();
        IRollup.ProposeArgs memory args = _block(parent, slot);
        bytes32 digest = rollup.blockDigest(
            parent + 1, slot, _link(rollup.blockRecord(parent).chain, args, _da(0))
        );
        address[] memory members = _staking.committee(slot / SLOTS);
        rollup.propose(args, _attestBy(members, (1 << members.length) - 1, digest), _da(0));
    }

    /// Lets time pass to the start of `epoch`; somebody records a seed in each epoch on the way.
    function _reach(uint64 epoch) private {
        for (uint64 e = _epoch(); e < epoch; e++) {
            if (_time(SLOTS * e) > block.timestamp) VM.warp(_time(SLOTS * e));
            if (_staking.seedOf(e + 2) == 0) _staking.recordSeed();
        }
        VM.warp(_time(SLOTS * epoch));
    }

    function _epoch() private view returns (uint64) {
        return rollup.currentSlot() / SLOTS;
    }

    /// Committees are as large as the set from now on.
    function _takeEveryone() private {
        IRegistry.Rates memory r = _rates();
        r.committeeSize = 64;
        all.registry.setRates(r);
    }

    function _isMember(uint64 epoch, address who) private view returns (bool) {
        address[] memory members = _staking.committee(epoch);
        for (uint256 i; i < members.length; i++) {
            if (members[i] == who) return true;
        }
        return false;
    }

    function _noCommittee(uint64 epoch) private {
        VM.expectRevert(abi.encodeWithSelector(ISelection.NoCommittee.selector, epoch));
        _staking.committee(epoch);
        assertEq(_staking.proposerOf(epoch * SLOTS + 1), address(0), "nobody's slot");
    }

    function test_the_sampled_committee_and_the_slots_proposer_are_those_announced() public {
        _reach(3);
        address[] memory announced = _staking.committee(3);
        address proposer = _staking.proposerOf(3 * SLOTS + 1);
        assertEq(announced.length, 4, "size");
        assertEq(_staking.committeeHash(3), 0, "not drawn yet");
        VM.expectEmit(address(_staking));
        emit IStaking.SeedRecorded(3);
        VM.expectEmit(address(_staking));
        emit IStaking.CommitteeSampled(3, keccak256(abi.encodePacked(announced)), 4);
        _proposeSampled(uint48(3 * SLOTS + 1));
        assertEq(_staking.committeeHash(3), keccak256(abi.encodePacked(announced)), "committee");
        assertEq(rollup.epochRecord(3).bondPoster, proposer, "proposer");
        // Another rate changes the next epochs only.
        IRegistry.Rates memory r = _rates();
        r.committeeSize = 5;
        all.registry.setRates(r);
        assertEq(_staking.committee(3).length, 4, "recorded");
        _proposeSampled(uint48(3 * SLOTS + 2));
        _reach(4);
        assertEq(_staking.committee(4).length, 5, "next");
    }

    /// Goal: no member twice, all from the set. Method: many seeds, sizes below and above the set's.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_sampling_is_without_repetition(uint256 seed, uint8 size, uint8 extra) public {
        VM.warp(GENESIS - 50);
        uint256 total = 6 + extra % 40;
        for (uint256 i = 6; i < total; i++) {
            _staking.deposit(address(uint160(0x10000 + i)), address(this), STAKE);
        }
        IRegistry.Rates memory r = _rates();
        r.committeeSize = 4 + size % 61;
        all.registry.setRates(r);
        VM.prevrandao(bytes32(seed));
        _reach(3);
        address[] memory members = _staking.committee(uint64(3 + seed % 2));
        uint256 want = r.committeeSize < total ? r.committeeSize : total;
        assertEq(members.length, want, "size");
        for (uint256 i; i < want; i++) {
            require(_staking.attesterOf(members[i]).status == IStaking.Status.Active, "staked");
            for (uint256 j; j < i; j++) {
                require(members[i] != members[j], "twice");
            }
        }
    }

    function test_a_seed_is_recorded_once_by_a_proposal_or_by_anyone() public {
        VM.warp(GENESIS - 1);
        VM.expectRevert(
            abi.encodeWithSelector(IStaking.TooEarly.selector, GENESIS, block.timestamp)
        );
        _staking.recordSeed();
        _reach(3);
        assertEq(_staking.seedOf(1), 0, "no epoch before genesis has one");
        uint248 three = _staking.seedOf(3);
        require(three != 0 && three != _staking.seedOf(4), "epochs differ");
        assertEq(_staking.seedOf(5), 0, "not recorded yet");
        // The committee of an epoch is known as soon as its seed is.
        _noCommittee(5);
        VM.warp(_end(2) + 5);
        VM.prank(address(0xB0B));
        _staking.recordSeed();
        uint248 five = _staking.seedOf(5);
        require(five != 0, "recorded");
        _staking.committee(5);
        VM.expectRevert(abi.encodeWithSelector(IStaking.SeedKnown.selector, 3));
        _staking.recordSeed();
        VM.prevrandao(bytes32(uint256(2)));
        _proposeSampled(uint48(3 * SLOTS + 1));
        assertEq(_staking.seedOf(5), five, "a proposal comes too late");
        VM.prevrandao(bytes32(uint256(3)));
        _proposeSampled(uint48(4 * SLOTS));
        uint248 six = _staking.seedOf(6);
        require(six != 0, "a proposal records it");
        VM.prevrandao(bytes32(uint256(4)));
        _proposeSampled(uint48(4 * SLOTS + 1));
        assertEq(_staking.seedOf(6), six, "the first one only");
        VM.expectRevert(abi.encodeWithSelector(IStaking.SeedKnown.selector, 4));
        _staking.recordSeed();
        // What is recorded is the block's randomness, and nothing else.
        VM.warp(_end(4));
        _staking.recordSeed();
        require(
            _staking.seedOf(7)
                == uint248(
                    bytes31(
                        keccak256(
                            abi.encode(
                                uint256(keccak256(abi.encode(bytes32(uint256(4))))) | 1, uint64(7)
                            )
                        )
                    )
                ),
            "seed"
        );
    }

    function test_an_epoch_without_a_seed_has_no_committee_and_the_chain_goes_on_later() public {
        _reach(3);
        _proposeSampled(uint48(3 * SLOTS + 1));
        // Nobody records one in epoch 4, so epoch 6 has none; epochs 5 and 7 have one.
        VM.warp(_end(4));
        _staking.recordSeed();
        _noCommittee(6);
        // Without bonds, too, the zero address has no slot.
        IRegistry.Rates memory r = _rates();
        r.bondAmount = 0;
        all.registry.setRates(r);
        require(!rollup.canPropose(6 * SLOTS, address(0)), "nobody's slot");
        uint48 slot = uint48(6 * SLOTS);
        VM.warp(_time(slot));
        IRollup.ProposeArgs memory args = _block(1, slot);
        IRollup.Attestations memory none;
        VM.expectRevert(abi.encodeWithSelector(ISelection.NoCommittee.selector, 6));
        rollup.propose(args, none, _da(0));
        _proposeSampled(uint48(7 * SLOTS));
        assertEq(rollup.tips().pending, 2, "goes on");
    }

    /// Their set or seed would be known before the set is final.
    function test_epochs_0_to_2_have_no_committee() public {
        for (uint64 e; e < 3; e++) {
            _reach(e);
            _staking.recordSeed();
            _noCommittee(e);
        }
        VM.warp(_end(2));
        assertEq(_staking.committee(3).length, 4, "epoch 3 has one");
    }

    /// Goal: whoever knows the seed can no longer change the set. Method: a deposit and an exit in the very
    /// seconds of the borders, and right after the seed is recorded.
    function test_the_set_is_final_an_epoch_before_the_seed() public {
        _takeEveryone();
        (address first, address second) = (address(0x1A7E), address(0x1A7F));
        VM.warp(GENESIS);
        _staking.deposit(first, address(this), STAKE);
        VM.warp(GENESIS + 1);
        _staking.deposit(second, address(this), STAKE);
        VM.warp(_end(0));
        _staking.recordSeed();
        address[] memory known = _staking.committee(3);
        assertEq(known.length, 7, "the six and the one of genesis");
        require(_isMember(3, first) && !_isMember(3, second), "members");
        // All that may happen from now on.
        _staking.deposit(address(0x1A80), address(this), STAKE);
        _staking.initiateExit(VM.addr(keys[0]));
        require(
            keccak256(abi.encode(_staking.committee(3))) == keccak256(abi.encode(known)), "changed"
        );
        VM.warp(_end(1));
        _staking.recordSeed();
        // Changes of the second in which epoch 1 began count for epoch 4.
        assertEq(_staking.committee(4).length, 8, "eight: one left, one came");
        require(_isMember(4, second) && _isMember(4, address(0x1A80)), "came");
        require(!_isMember(4, VM.addr(keys[0])), "left");
        _staking.initiateExit(first);
        VM.warp(_end(1) + 1);
        _staking.initiateExit(second);
        _reach(6);
        require(!_isMember(5, first) && _isMember(5, second), "epoch 5");
        require(!_isMember(6, first) && !_isMember(6, second), "epoch 6");
        assertEq(_staking.committee(6).length, 6, "the last took their places");
    }

    /// The last member takes the place of one that leaves, and leaves that place when it goes.
    function test_a_member_that_was_moved_leaves_its_new_place() public {
        _takeEveryone();
        _staking.initiateExit(VM.addr(keys[0]));
        _staking.initiateExit(VM.addr(keys[5]));
        _reach(3);
        assertEq(_staking.committee(3).length, 4, "two left");
        for (uint256 i = 1; i < 5; i++) {
            require(_isMember(3, VM.addr(keys[i])), "stayed");
        }
    }

    /// With fewer than four everyone must sign, and three can be had for the price of three stakes.
    function test_a_set_of_fewer_than_four_has_no_committee() public {
        for (uint256 i; i < 2; i++) {
            _staking.initiateExit(VM.addr(keys[i]));
        }
        VM.warp(GENESIS + 1);
        _staking.initiateExit(VM.addr(keys[2]));
        _reach(4);
        assertEq(_staking.committee(3).length, 4, "four");
        _noCommittee(4);
    }

    function test_deposit_rules() public {
        VM.expectRevert(IStaking.AccountMissing.selector);
        _staking.deposit(address(0), address(1), STAKE);
        VM.expectRevert(IStaking.AccountMissing.selector);
        _staking.deposit(address(1), address(0), STAKE);
        VM.expectRevert(abi.encodeWithSelector(IStaking.StakeTooLow.selector, STAKE, STAKE - 1));
        _staking.deposit(address(1), address(1), STAKE - 1);
        VM.expectRevert(abi.encodeWithSelector(IStaking.AttesterKnown.selector, VM.addr(keys[0])));
        _staking.deposit(VM.addr(keys[0]), address(1), STAKE);
    }

    function test_exit_takes_as_long_as_evidence_can_matter() public {
        address who = VM.addr(keys[0]);
        VM.warp(GENESIS);
        VM.prank(address(1));
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotWithdrawer.selector, address(1)));
        _staking.initiateExit(who);
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotExiting.selector, who));
        _staking.finalizeExit(who);
        _staking.initiateExit(who);
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotActive.selector, who));
        _staking.initiateExit(who);
        // It may sit in epoch 3: four epochs, then the window and the challenge period of that one.
        uint256 exitAt = _challengeEnd(3);
        assertEq(_staking.attesterOf(who).exitAt, exitAt, "exit");
        VM.warp(exitAt - 1);
        VM.expectRevert(abi.encodeWithSelector(IStaking.ExitTooEarly.selector, exitAt, exitAt - 1));
        _staking.finalizeExit(who);
        VM.warp(exitAt);
        uint256 before = token.balanceOf(address(this));
        VM.prank(address(1));
        _staking.finalizeExit(who);
        assertEq(token.balanceOf(address(this)), before + STAKE, "stake");
        // It may come back.
        _staking.deposit(who, address(this), STAKE);
    }

    // ------------------------------------------------------------ slashing

    function test_two_blocks_of_one_slot_are_slashed_once() public {
        uint256 key = keys[2];
        address who = VM.addr(key);
        IStaking.Vote memory a = _vote(key, 5, 9, bytes32(uint256(1)));
        IStaking.Vote memory b = _vote(key, 5, 9, bytes32(uint256(2)));
        uint256 treasury = token.balanceOf(address(all.rewards));
        VM.expectEmit(address(_staking));
        emit IStaking.Slashed(who, 9, address(0xB0B), STAKE);
        VM.prank(address(0xB0B));
        _staking.slashEquivocation(a, b);
        assertEq(token.balanceOf(address(0xB0B)), STAKE / 10, "reporter");
        assertEq(token.balanceOf(address(all.rewards)), treasury + STAKE - STAKE / 10, "treasury");
        assertEq(_staking.attesterOf(who).stake, 0, "nothing is left");
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotSlashable.selector, who));
        _staking.slashEquivocation(a, b);
        VM.expectRevert(abi.encodeWithSelector(IStaking.AttesterKnown.selector, who));
        _staking.deposit(who, address(this), STAKE);
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotActive.selector, who));
        _staking.initiateExit(who);
        // It is in no later set.
        _takeEveryone();
        _reach(3);
        assertEq(_staking.committee(3).length, 5, "left the set");
    }

    function test_an_exiting_attester_can_be_slashed() public {
        address who = VM.addr(keys[2]);
        _staking.initiateExit(who);
        _staking.slashEquivocation(
            _vote(keys[2], 5, 9, bytes32(uint256(1))), _vote(keys[2], 6, 9, bytes32(uint256(1)))
        );
        _takeEveryone();
        _reach(3);
        assertEq(_staking.committee(3).length, 5, "left the set once");
        VM.warp(block.timestamp + 1e6);
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotExiting.selector, who));
        _staking.finalizeExit(who);
    }

    function test_what_is_no_equivocation() public {
        IStaking.Vote memory a = _vote(keys[2], 5, 9, bytes32(uint256(1)));
        bytes4 no = IStaking.NotEquivocation.selector;
        VM.expectRevert(no);
        _staking.slashEquivocation(a, a);
        IStaking.Vote memory b = _vote(keys[2], 5, 10, bytes32(uint256(2)));
        VM.expectRevert(no);
        _staking.slashEquivocation(a, b);
        b = _vote(keys[3], 5, 9, bytes32(uint256(2)));
        VM.expectRevert(no);
        _staking.slashEquivocation(a, b);
        // Strangers have nothing to lose.
        a = _vote(77, 5, 9, bytes32(uint256(1)));
        b = _vote(77, 5, 9, bytes32(uint256(2)));
        VM.expectRevert(abi.encodeWithSelector(IStaking.NotSlashable.selector, VM.addr(77)));
        _staking.slashEquivocation(a, b);
    }
}
