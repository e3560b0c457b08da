// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IRegistry} from "../src/governance/IRegistry.sol";
import {IRollup} from "../src/IRollup.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {Fixture, StakedFixture} from "./Fixture.sol";

/// @notice How records are packed into words of storage: each word is read and compared, and the one after it is empty.
///         Prices depend on it, and so does who reads storage with a proof.
contract StorageTest is Fixture {
    /// Word `index` of the record under `key` in the mapping whose place is `place`.
    function _word(address target, bytes32 key, uint256 place, uint256 index)
        private
        view
        returns (bytes32)
    {
        return VM.load(target, bytes32(uint256(keccak256(abi.encode(key, place))) + index));
    }

    function test_tips_take_one_word() public {
        _propose(1);
        _propose(2);
        _propose(uint48(SLOTS));
        _prove(0, 2, 5);
        _prove(1, 3, 5);
        bytes32 want = bytes32(uint256(3) | uint256(3) << 48 | uint256(1) << 96);
        assertEq(VM.load(address(rollup), 0), want, "pending, proven, epoch");
        // Then come the two mappings, and nothing after them.
        for (uint256 place = 1; place < 5; place++) {
            assertEq(VM.load(address(rollup), bytes32(place)), 0, "no other word");
        }
    }

    function test_a_block_takes_five_words() public {
        VM.warp(_time(3));
        VM.roll(0x11b10c);
        IRollup.ProposeArgs memory args = _block(0, 3);
        args.outRoot = bytes32(uint256(0x0a));
        args.totalFees = type(uint128).max - 1;
        args.txCount = 29;
        _submit(args);
        address r = address(rollup);
        bytes32 key = bytes32(uint256(1));
        assertEq(_word(r, key, 1, 0), args.archiveRoot, "archive root");
        assertEq(_word(r, key, 1, 1), _link(0, args, _da(29)), "chain");
        assertEq(_word(r, key, 1, 2), args.outRoot, "out root");
        uint256 fourth = uint256(uint160(COINBASE)) | uint256(3) << 160 | uint256(0x11b10c) << 208;
        assertEq(uint256(_word(r, key, 1, 3)), fourth, "coinbase, slot, L1 block");
        uint256 fifth = uint256(args.totalFees) | uint256(1) << 128 | uint256(29) << 192;
        assertEq(uint256(_word(r, key, 1, 4)), fifth, "fees, signers, transactions");
        assertEq(_word(r, key, 1, 5), 0, "no sixth word");
    }

    function test_an_epoch_takes_two_words() public {
        _propose(uint48(SLOTS));
        _propose(uint48(SLOTS) + 1);
        VM.warp(_windowEnd(1) + 1);
        _prove(1, 2, 0x77);
        address r = address(rollup);
        bytes32 key = bytes32(uint256(1));
        uint256 first = uint256(1) | uint256(2) << 48 | uint256(2) << 96 | uint256(0x77) << 144
            | block.timestamp << 208 | uint256(3) << 248;
        assertEq(uint256(_word(r, key, 2, 0)), first, "first, last, proven, rows, completed, state");
        uint256 second = uint256(uint160(VM.addr(keys[0]))) | BOND << 160;
        assertEq(uint256(_word(r, key, 2, 1)), second, "poster, bond");
        assertEq(_word(r, key, 2, 2), 0, "no third word");
    }

    function test_rates_take_two_words() public view {
        IRegistry.Rates memory r = _rates();
        uint256 shares = uint256(r.proposerBps) | uint256(r.attesterBps) << 16
            | uint256(r.proverBps) << 32 | uint256(r.challengeShareBps) << 48;
        uint256 first = uint256(r.feePerConstraint) | uint256(r.blockReward) << 64 | shares << 160
            | uint256(r.committeeSize) << 224;
        assertEq(uint256(VM.load(address(all.registry), 0)), first, "pay, shares, committee");
        uint256 second = uint256(r.bondAmount) | uint256(r.minStake) << 96;
        assertEq(uint256(VM.load(address(all.registry), bytes32(uint256(1)))), second, "amounts");
        assertEq(VM.load(address(all.registry), bytes32(uint256(2))), 0, "no third word");
    }

    function test_a_bond_account_an_epochs_pay_and_the_inbox_take_one_word_each() public {
        _propose(1);
        _propose(2);
        VM.warp(_end(0));
        _prove(0, 2, 5);
        _propose(uint48(SLOTS));
        bytes32 who = bytes32(uint256(uint160(VM.addr(keys[0]))));
        uint256 account = 999 * BOND | BOND << 128;
        assertEq(uint256(_word(address(all.bondVault), who, 0, 0)), account, "free, locked");
        assertEq(_word(address(all.bondVault), who, 0, 1), 0, "no second word");
        uint256 pay = uint256(uint160(PROVER)) | uint256(1) << 160;
        assertEq(uint256(_word(address(all.rewards), 0, 4, 0)), pay, "prover, paid");
        all.inbox.send(0, 0, 0);
        uint256 open = uint256(5) | uint256(1) << 64;
        assertEq(uint256(VM.load(address(all.inbox), 0)), open, "open, count");
    }
}

/// @notice The same of stakers and committees.
contract StakingStorageTest is StakedFixture {
    function test_an_attester_takes_two_words() public {
        VM.warp(GENESIS - 100);
        _keys(2);
        _deploy(address(token));
        IStaking staking = IStaking(address(all.selection));
        token.approve(address(staking), MANY);
        for (uint256 i; i < 2; i++) {
            staking.deposit(VM.addr(keys[i]), address(this), STAKE + i);
        }
        staking.initiateExit(VM.addr(keys[1]));
        uint256 place = uint256(keccak256(abi.encode(VM.addr(keys[1]), 0)));
        uint256 first = uint256(uint160(address(this))) | (STAKE + 1) << 160;
        assertEq(uint256(VM.load(address(staking), bytes32(place))), first, "withdrawer, stake");
        uint256 exitAt = staking.attesterOf(VM.addr(keys[1])).exitAt;
        uint256 second = exitAt | uint256(1) << 48 | uint256(IStaking.Status.Exiting) << 80;
        assertEq(
            uint256(VM.load(address(staking), bytes32(place + 1))), second, "exit, index, status"
        );
        assertEq(VM.load(address(staking), bytes32(place + 2)), 0, "no third word");
    }
}
