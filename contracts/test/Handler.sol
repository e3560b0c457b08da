// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IRewards} from "../src/economics/IRewards.sol";
import {IOutbox} from "../src/messages/IOutbox.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {Fixture, StakedFixture} from "./Fixture.sol";
import {OutTree} from "./OutTree.sol";

/// @notice Does to a deployment what its users may do, in any order, and notes what must never happen.
///         Every step is one that must succeed; what cannot happen now is left out.
contract Handler is StakedFixture {
    uint256 private constant ATTESTERS = 8;
    /// These neither leave nor are slashed, so that a committee always exists.
    uint256 private constant STAY = 4;
    uint64 private constant WORK = 1000;
    address[3] private _provers = [address(0x9001), address(0x9002), address(0x9003)];

    IStaking public staking;
    /// Units that exist on L2, as the circuits would conserve them.
    uint256 public unitsOnL2;
    uint256 public minted;
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public feesProposed;
    /// By block: units of the one withdrawal that it contains.
    mapping(uint64 => uint64) private _withdrawal;
    mapping(uint64 => uint64) private _fees;
    mapping(uint64 => bool) private _paid;
    /// Hash of the record when the block was proven, and the number of proofs it was covered by first.
    mapping(uint64 => bytes32) private _provenRecord;
    mapping(uint64 => uint64) public workOf;
    mapping(uint64 => address) public proverOf;
    /// Epochs whose longest proof was paid, and what each prover earned and was paid.
    mapping(uint64 => bool) private _isSettled;
    uint64 private _counted;
    mapping(address => uint256) private _earned;
    mapping(address => uint256) private _paidTo;
    uint64 public lastProven;
    uint64 private _lastClaimed;
    uint256 public steps;
    uint256 public prunes;
    uint256 public lateProofs;
    uint256 public slashes;
    uint256 public withdrawals;
    uint256 public claims;
    uint256 public changes;
    string public broken;
    address private _unused;

    /// Not in the constructor: this contract is the timelock, and the Registry requires that it has code.
    function setUp() public override {
        VM.warp(GENESIS - 100);
        VM.roll(100);
        VM.prevrandao(bytes32(uint256(1)));
        Fixture.setUp();
        // That deployment is not used any more, and keeps the bonds it got.
        _unused = address(all.bondVault);
        VM.warp(GENESIS - 100);
        _keys(ATTESTERS);
        minted = MANY;
        _deploy(address(token));
        staking = IStaking(address(all.selection));
        token.approve(address(staking), MANY);
        token.approve(address(all.feePortal), MANY);
        for (uint256 i; i < ATTESTERS; i++) {
            staking.deposit(VM.addr(keys[i]), address(this), STAKE);
        }
        VM.warp(GENESIS);
        // The first epoch with a committee.
        _advance(_time(3 * SLOTS));
    }

    /// The proven tip moves by proofs only, and what lies below it never changes.
    modifier watched(bool byProof) {
        _;
        steps++;
        IRollup.Tips memory t = rollup.tips();
        if (t.proven < lastProven) broken = "the proven tip went back";
        if (t.proven > lastProven && !byProof) broken = "the proven tip moved without a proof";
        if (t.proven > t.pending) broken = "the proven tip is above the pending tip";
        for (uint64 n = lastProven + 1; n <= t.proven; n++) {
            _provenRecord[n] = _record(n);
        }
        lastProven = t.proven;
        _countPay();
        uint64 sample = 1 + uint64(uint256(keccak256(abi.encode(steps))) % (lastProven + 1));
        if (sample <= lastProven && _record(sample) != _provenRecord[sample]) {
            broken = "a proven record changed";
        }
    }

    /// Each epoch is paid once, by its longest proof, at the rate of the step that settled it.
    function _countPay() private {
        uint64 end = rollup.tips().provenEpoch;
        for (uint64 e = _counted; e <= end; e++) {
            IRollup.EpochRecord memory r = rollup.epochRecord(e);
            // Below the last proven epoch, what has no block now will have none.
            if (e == _counted && e < end && (r.firstBlock == 0 || _isSettled[e])) _counted++;
            if (_isSettled[e] || r.state & 2 == 0) continue;
            _isSettled[e] = true;
            _earned[proverOf[e]] += uint256(all.registry.rates().feePerConstraint) * workOf[e];
        }
    }

    function _record(uint64 n) private view returns (bytes32) {
        return keccak256(abi.encode(rollup.blockRecord(n)));
    }

    /// Somebody records a seed in each epoch, so that committees go on.
    function _advance(uint256 time) private {
        while (block.timestamp < time) {
            uint64 epoch = rollup.currentSlot() / SLOTS;
            if (staking.seedOf(epoch + 2) == 0) staking.recordSeed();
            VM.warp(time < _end(epoch) ? time : _end(epoch));
        }
    }

    // ------------------------------------------------------------ steps

    function pass(uint16 elapsed) external watched(false) {
        _advance(block.timestamp + elapsed % (2 * EPOCH));
        VM.roll(block.number + 1 + elapsed % 7);
        VM.prevrandao(keccak256(abi.encode(elapsed, block.number)));
    }

    function propose(uint64 units, uint64 fees) external watched(false) {
        IRollup.Tips memory t = rollup.tips();
        uint64 parent = _parent();
        bool due = parent != t.pending;
        uint48 slot = uint48(rollup.currentSlot());
        if (slot <= rollup.blockRecord(parent).slot) {
            slot = rollup.blockRecord(parent).slot + 1;
            _advance(_time(slot));
            // The time that passed may have made a prune due.
            parent = _parent();
            due = parent != t.pending;
        }
        if (!due && t.pending != t.proven) {
            uint64 oldest = rollup.blockRecord(t.proven + 1).slot / SLOTS;
            if (slot / SLOTS - oldest >= 6) return;
        }
        if (due) {
            _undo(parent, t.pending);
            prunes++;
        }
        _proposeBlock(parent, slot, units, fees);
    }

    function _proposeBlock(uint64 parent, uint48 slot, uint64 units, uint64 fees) private {
        IRollup.ProposeArgs memory args = _block(parent, slot);
        uint64 n = args.blockNumber;
        // What a block takes out of L2 is at most what is there.
        _fees[n] = uint64(fees % (unitsOnL2 / 4 + 1));
        _withdrawal[n] = uint64(units % (unitsOnL2 / 4 + 1));
        unitsOnL2 -= uint256(_fees[n]) + _withdrawal[n];
        args.totalFees = _fees[n];
        args.txCount = 1;
        args.outRoot = OutTree.root(hasher, _leaves(n));
        DaInput memory d = _da(1);
        bytes32 digest =
            rollup.blockDigest(n, slot, _link(rollup.blockRecord(parent).chain, args, d));
        rollup.propose(args, _committee(slot, digest, fees), d);
    }

    function _leaves(uint64 n) private view returns (bytes32[] memory leaves) {
        uint256[] memory words = new uint256[](2);
        (words[0], words[1]) = (0xB0B, _withdrawal[n]);
        leaves = new bytes32[](2);
        leaves[0] = hasher.hash(28, words);
    }

    /// Everyone's signature, but for one member's if the seed says so and that one does not propose.
    function _committee(uint64 slot, bytes32 digest, uint256 seed)
        private
        view
        returns (IRollup.Attestations memory)
    {
        address[] memory members = staking.committee(slot / SLOTS);
        uint256 bitmap = (1 << members.length) - 1;
        uint256 silent = seed % (2 * members.length);
        if (silent < members.length && members[silent] != staking.proposerOf(slot)) {
            bitmap ^= 1 << silent;
        }
        return _attestBy(members, bitmap, digest);
    }

    /// Pruned blocks took nothing out of L2.
    function _undo(uint64 from, uint64 to) private {
        for (uint64 n = from + 1; n <= to; n++) {
            unitsOnL2 += uint256(_fees[n]) + _withdrawal[n];
        }
    }

    function prove(uint8 length, uint8 who) external watched(true) {
        IRollup.Tips memory t = rollup.tips();
        if (t.proven == t.pending) return;
        uint64 epoch = rollup.blockRecord(t.proven + 1).slot / SLOTS;
        (uint256 windowEnd, uint256 challengeEnd,) = rollup.deadlines(epoch);
        if (block.timestamp > challengeEnd) return;
        IRollup.EpochRecord memory e = rollup.epochRecord(epoch);
        uint64 last = t.proven + 1 + length % (e.lastBlock - t.proven);
        IRollup.EpochArgs memory args = _range(epoch, last, (last - e.firstBlock + 1) * WORK);
        args.prover = _provers[who % 3];
        rollup.submitEpochProof(args, "proof");
        workOf[epoch] = args.numConstraints;
        proverOf[epoch] = args.prover;
        if (block.timestamp > windowEnd) lateProofs++;
    }

    /// A proof that the verifier rejects, of any range, changes nothing.
    function proveWrongly(uint64 epoch, uint64 last) external watched(false) {
        one.set(false);
        more.set(false);
        try rollup.submitEpochProof(_range(epoch % 64, last % 64, 5), "proof") {
            broken = "a proof was accepted without a yes";
        } catch {}
        one.set(true);
        more.set(true);
    }

    /// A proof of blocks that are proven already changes nothing, although the verifier says yes and the work is the
    /// most that there is: whose proof was accepted stays the one that is paid.
    function proveAgain(uint64 seed) external watched(false) {
        if (lastProven == 0) return;
        uint64 last = 1 + seed % lastProven;
        uint64 epoch = rollup.blockRecord(last).slot / SLOTS;
        try rollup.submitEpochProof(_range(epoch, last, type(uint64).max), "proof") {
            broken = "blocks were proven twice";
        } catch {}
    }

    function prune() external watched(false) {
        IRollup.Tips memory t = rollup.tips();
        (,, bool due) = rollup.deadlines(0);
        if (!due) return;
        _undo(t.proven, t.pending);
        rollup.prune();
        prunes++;
    }

    function settle(uint64 epoch) external watched(false) {
        epoch = epoch % (rollup.currentSlot() / SLOTS + 1);
        IRollup.EpochRecord memory e = rollup.epochRecord(epoch);
        if (e.firstBlock == 0 || e.lastProven != e.lastBlock) return;
        if (e.state & 2 != 0 || block.timestamp < _end(epoch)) return;
        rollup.settle(epoch);
    }

    function deposit(uint64 units) external watched(false) {
        units = units % 1e12 + 1;
        all.feePortal.deposit(bytes32(uint256(7)), uint256(units) * 1e9);
        deposited += units;
        unitsOnL2 += units;
    }

    function send(bytes32 content) external watched(false) {
        all.inbox.send(0, bytes32(uint256(content) % P), 0);
    }

    function withdraw(uint64 seed) external watched(false) {
        if (lastProven == 0) return;
        uint64 n = 1 + seed % lastProven;
        bytes32[] memory path = new bytes32[](1);
        if (_paid[n]) {
            VM.expectRevert(abi.encodeWithSelector(IOutbox.AlreadyConsumed.selector, n, 0, 0));
            all.feePortal.withdraw(n, 0, address(0xB0B), _withdrawal[n], path);
            return;
        }
        all.feePortal.withdraw(n, 0, address(0xB0B), _withdrawal[n], path);
        _paid[n] = true;
        withdrawn += _withdrawal[n];
        withdrawals++;
    }

    /// Governance changes every rate at any time.
    function setRates(uint256 seed) external watched(false) {
        IRegistry.Rates memory r = _rates();
        r.feePerConstraint = uint64(seed % 1e15);
        r.blockReward = uint96(seed % 1e22);
        r.proverBps = uint16(seed % 4_000);
        r.attesterBps = uint16((seed >> 16) % 6_000);
        r.proposerBps = 10_000 - r.proverBps - r.attesterBps;
        r.challengeShareBps = uint16((seed >> 32) % 10_001);
        r.committeeSize = uint8(4 + (seed >> 48) % 5);
        r.bondAmount = uint96(BOND * ((seed >> 56) % 3));
        all.registry.setRates(r);
        changes++;
    }

    function claimNext(uint8 more_) external watched(false) {
        uint64 n = _lastClaimed + 1;
        if (n > lastProven) return;
        uint64 epoch = rollup.blockRecord(n).slot / SLOTS;
        if (rollup.epochRecord(epoch).state & 2 == 0) return;
        address[] memory members = staking.committee(epoch);
        uint64 last = rollup.epochRecord(epoch).lastProven;
        uint64 to = n + more_ % (last - n + 1);
        all.rewards.claimBlocks(n, to, members);
        VM.expectRevert(abi.encodeWithSelector(IRewards.AlreadyClaimed.selector, n, to));
        all.rewards.claimBlocks(n, to, members);
        uint256 bps = all.registry.rates().proverBps;
        for (; n <= to; n++) {
            feesProposed += _fees[n];
            _earned[proverOf[epoch]] += uint256(_fees[n]) * 1e9 * bps / 10_000;
        }
        _lastClaimed = to;
    }

    function claim(uint8 who) external watched(false) {
        address account = _accounts()[who % _accounts().length];
        uint256 before = token.balanceOf(account);
        uint256 amount = all.rewards.claim(account);
        if (token.balanceOf(account) != before + amount) broken = "paid another amount";
        _paidTo[account] += amount;
        claims++;
    }

    function fund(uint64 amount) external watched(false) {
        uint256 whole = uint256(amount) * 1e6;
        token.mint(address(all.rewards), whole);
        minted += whole;
    }

    function collect() external watched(false) {
        all.bondVault.collect();
    }

    function stakeAgain(uint8 who) external watched(false) {
        address attester = VM.addr(keys[STAY + who % (ATTESTERS - STAY)]);
        if (staking.attesterOf(attester).status != IStaking.Status.None) return;
        staking.deposit(attester, address(this), STAKE);
    }

    function exit(uint8 who) external watched(false) {
        address attester = VM.addr(keys[STAY + who % (ATTESTERS - STAY)]);
        IStaking.Attester memory a = staking.attesterOf(attester);
        if (a.status == IStaking.Status.Active) staking.initiateExit(attester);
        if (a.status == IStaking.Status.Exiting && block.timestamp >= a.exitAt) {
            staking.finalizeExit(attester);
        }
    }

    function slash(uint8 who) external watched(false) {
        // One of four at most, and the last attester only.
        if (who % 4 != 0) return;
        uint256 key = keys[ATTESTERS - 1];
        IStaking.Status status = staking.attesterOf(VM.addr(key)).status;
        if (status == IStaking.Status.None || status == IStaking.Status.Slashed) return;
        staking.slashEquivocation(_vote(key, 1), _vote(key, 2));
        slashes++;
    }

    function _vote(uint256 key, uint256 chain) private view returns (IStaking.Vote memory v) {
        v.slot = 3;
        v.chain = bytes32(chain);
        v.signature = _signature(key, rollup.blockDigest(0, 3, v.chain));
    }

    // ------------------------------------------------------------ sums

    function _accounts() private view returns (address[] memory a) {
        a = new address[](ATTESTERS + 5);
        for (uint256 i; i < ATTESTERS; i++) {
            a[i] = VM.addr(keys[i]);
        }
        for (uint256 i; i < 3; i++) {
            a[ATTESTERS + i] = _provers[i];
        }
        a[ATTESTERS + 3] = COINBASE;
        a[ATTESTERS + 4] = address(0xB0B);
    }

    function checkToken() external view {
        address[] memory a = _accounts();
        uint256 sum = token.balanceOf(address(this)) + token.balanceOf(_unused);
        for (uint256 i; i < a.length; i++) {
            sum += token.balanceOf(a[i]);
        }
        sum += token.balanceOf(address(all.feePortal)) + token.balanceOf(address(all.rewards))
        + token.balanceOf(address(all.bondVault)) + token.balanceOf(address(staking));
        assertEq(sum, minted, "AZT minted = AZT held");
        assertEq(token.totalSupply(), minted, "supply");
        assertEq(
            token.balanceOf(address(all.feePortal)),
            1e9 * (deposited - withdrawn - feesProposed),
            "the portal holds deposits less withdrawals and released fees"
        );
        require(
            token.balanceOf(address(all.feePortal)) >= 1e9 * unitsOnL2, "L2 has more than L1 holds"
        );
    }

    function checkBonds() external view {
        address[] memory a = _accounts();
        uint256 locked;
        uint256 free = _free(address(all.rewards));
        for (uint256 i; i < a.length; i++) {
            locked += _locked(a[i]);
            free += _free(a[i]);
        }
        assertEq(free + locked, token.balanceOf(address(all.bondVault)), "free + locked = held");
        uint256 want;
        for (uint64 e; e <= rollup.currentSlot() / SLOTS; e++) {
            IRollup.EpochRecord memory r = rollup.epochRecord(e);
            if (r.firstBlock != 0 && r.state & 2 == 0) {
                want += r.bond - all.bondVault.sharedOf(e);
            } else {
                assertEq(all.bondVault.sharedOf(e), 0, "nothing is left to share");
            }
        }
        assertEq(locked, want, "each bond is locked, returned, shared or lost");
    }

    function checkPay() external view {
        address[] memory a = _accounts();
        uint256 owed;
        for (uint256 i; i < a.length; i++) {
            owed += all.rewards.owedTo(a[i]);
        }
        assertEq(owed, all.rewards.totalOwed(), "total owed");
        for (uint256 i; i < 3; i++) {
            address p = _provers[i];
            assertEq(all.rewards.owedTo(p) + _paidTo[p], _earned[p], "a prover's earnings");
        }
        uint256 funds = token.balanceOf(address(all.rewards));
        require(funds >= all.rewards.feesOwed(), "fees are not backed");
        for (uint64 e; e <= rollup.currentSlot() / SLOTS; e++) {
            assertEq(rollup.epochRecord(e).constraintsPaid, workOf[e], "paid work of an epoch");
            (uint256 windowEnd, uint256 challengeEnd,) = rollup.deadlines(e);
            assertEq(windowEnd, _windowEnd(e), "a window moved");
            assertEq(challengeEnd, _challengeEnd(e), "a challenge period moved");
        }
    }
}
