// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IBondVault} from "../src/economics/IBondVault.sol";
import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {IRewards} from "../src/economics/IRewards.sol";
import {IRollup} from "../src/IRollup.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {HostileToken} from "./Doubles.sol";
import {StakedFixture} from "./Fixture.sol";
import {OutTree} from "./OutTree.sol";

/// @notice Goal: no function that moves tokens can be entered while another one moves them. Method: a token that
///         calls back within each transfer, and must meet the guard and nothing else.
contract ReentrancyTest is StakedFixture {
    HostileToken private _token;
    IStaking private _staking;

    function setUp() public override {
        super.setUp();
        VM.warp(GENESIS - 100);
        _keys(4);
        _token = new HostileToken();
        _deploy(address(_token));
        _staking = IStaking(address(all.selection));
        _token.mint(address(this), MANY);
        _token.approve(address(_staking), MANY);
        _token.approve(address(all.bondVault), MANY);
        _token.approve(address(all.feePortal), MANY);
        for (uint256 i; i < 4; i++) {
            _staking.deposit(VM.addr(keys[i]), address(this), STAKE);
            all.bondVault.deposit(VM.addr(keys[i]), 10 * BOND);
        }
    }

    /// The call within the last transfer met the guard.
    function _guarded(string memory what) private {
        require(!_token.done(), what);
        assertEq(
            keccak256(_token.answer()),
            keccak256(abi.encodeWithSignature("ReentrancyGuardReentrantCall()")),
            what
        );
        _token.set(address(0), "");
    }

    function _callBack(address target, bytes memory call) private {
        _token.set(target, call);
    }

    function test_bonds() public {
        address vault = address(all.bondVault);
        bytes memory call = abi.encodeCall(IBondVault.collect, ());
        _callBack(vault, call);
        all.bondVault.deposit(address(this), 5);
        _guarded("deposit");
        _callBack(vault, call);
        all.bondVault.withdraw(5);
        _guarded("withdraw");
        _callBack(vault, call);
        all.bondVault.collect();
        _guarded("collect");
        _callBack(vault, abi.encodeCall(IBondVault.deposit, (vault, 0)));
        all.bondVault.collect();
        _guarded("deposit within");
        _callBack(vault, abi.encodeCall(IBondVault.withdraw, (0)));
        all.bondVault.collect();
        _guarded("withdraw within");
    }

    function test_stakes() public {
        address where = address(_staking);
        (address a, address b) = (VM.addr(keys[0]), VM.addr(keys[1]));
        _staking.initiateExit(a);
        _staking.initiateExit(b);
        VM.warp(_challengeEnd(4));
        // The other one's stake could be paid.
        bytes memory call = abi.encodeCall(IStaking.finalizeExit, (b));
        _callBack(where, call);
        _staking.deposit(address(0xB0B), address(this), STAKE);
        _guarded("deposit");
        _callBack(where, call);
        _staking.finalizeExit(a);
        _guarded("finalizeExit");
        _callBack(where, call);
        _staking.slashEquivocation(_vote(keys[2], 1), _vote(keys[2], 2));
        _guarded("slashEquivocation");
        _callBack(where, abi.encodeCall(IStaking.deposit, (a, b, STAKE)));
        _staking.finalizeExit(b);
        _guarded("deposit within");
        IStaking.Vote memory v;
        _callBack(where, abi.encodeCall(IStaking.slashEquivocation, (v, v)));
        _staking.slashEquivocation(_vote(keys[3], 1), _vote(keys[3], 2));
        _guarded("slashEquivocation within");
        assertEq(_token.balanceOf(where), STAKE, "the stake of the newcomer");
    }

    function _vote(uint256 key, uint256 chain) private view returns (IStaking.Vote memory) {
        return _vote(key, 0, 3, bytes32(chain));
    }

    function test_bridge_and_rewards() public {
        address portal = address(all.feePortal);
        all.feePortal.deposit(bytes32(uint256(7)), 1000e9 * 1000);
        bytes32[] memory path = _provenBlock();
        bytes memory call = abi.encodeCall(IFeePortal.withdraw, (1, 1, address(0xB0B), 20, path));
        _callBack(portal, call);
        all.feePortal.deposit(bytes32(uint256(7)), 1e9);
        _guarded("deposit");
        _callBack(portal, call);
        all.feePortal.withdraw(1, 0, address(0xB0B), 20, path);
        _guarded("withdraw");
        _callBack(portal, abi.encodeCall(IFeePortal.deposit, (bytes32(uint256(7)), 0)));
        VM.prank(address(all.rewards));
        all.feePortal.release(0);
        _guarded("release and deposit within");

        address[] memory members = _staking.committee(3);
        _callBack(address(all.rewards), abi.encodeCall(IRewards.claim, (PROVER)));
        all.rewards.claimBlocks(1, 1, members);
        _guarded("claimBlocks");
        _token.mint(address(all.rewards), 1e18);
        _callBack(address(all.rewards), abi.encodeCall(IRewards.claim, (COINBASE)));
        all.rewards.claim(PROVER);
        _guarded("claim");
        _callBack(address(all.rewards), abi.encodeCall(IRewards.claimBlocks, (1, 1, members)));
        all.rewards.claim(COINBASE);
        _guarded("claimBlocks within");
    }

    /// One proven block of two transactions with a withdrawal of 20 units each. Their paths are the same.
    function _provenBlock() private returns (bytes32[] memory path) {
        uint256[] memory words = new uint256[](2);
        (words[0], words[1]) = (0xB0B, 20);
        bytes32[] memory leaves = new bytes32[](4);
        leaves[0] = leaves[2] = hasher.hash(28, words);
        for (uint64 e; e < 3; e++) {
            VM.warp(_time(SLOTS * e));
            _staking.recordSeed();
        }
        uint48 slot = uint48(3 * SLOTS);
        VM.warp(_time(slot));
        IRollup.ProposeArgs memory args = _block(0, slot);
        args.txCount = 2;
        args.outRoot = OutTree.root(hasher, leaves);
        bytes32 digest = rollup.blockDigest(1, slot, _link(0, args, _da(2)));
        rollup.propose(args, _attestBy(_staking.committee(3), 15, digest), _da(2));
        VM.warp(_end(3));
        _prove(3, 1, 5);
        return OutTree.path(hasher, leaves, 0, 0);
    }
}
