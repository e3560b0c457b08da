// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IBondVault} from "../src/economics/IBondVault.sol";
import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {IRewards} from "../src/economics/IRewards.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IInbox} from "../src/messages/IInbox.sol";
import {IOutbox} from "../src/messages/IOutbox.sol";
import {ISelection} from "../src/selection/ISelection.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {Fixture, StakedFixture} from "./Fixture.sol";
import {IAztToken, IDeployments} from "./Interfaces.sol";

/// @notice Who may call what: every function that changes state, against every role.
contract AccessTest is StakedFixture {
    enum Role {
        Anyone,
        Rollup,
        FeePortal,
        Rewards,
        Timelock
    }

    struct Row {
        string artifact;
        string name;
        address target;
        bytes call;
        Role role;
    }

    Row[] private _rows;
    IDeployments private _list;

    function setUp() public override {
        super.setUp();
        _list = _deployList(address(this));
        _rollupRows();
        _economyRows();
        _otherRows();
    }

    function _add(
        string memory artifact,
        string memory name,
        address target,
        bytes memory call,
        Role role
    ) private {
        _rows.push(Row(artifact, name, target, call, role));
    }

    function _rollupRows() private {
        address r = address(rollup);
        IRollup.ProposeArgs memory args;
        IRollup.Attestations memory none;
        _add(
            "Rollup",
            "propose",
            r,
            abi.encodeCall(IRollup.propose, (args, none, _da(0))),
            Role.Anyone
        );
        _add(
            "Rollup",
            "submitEpochProof",
            r,
            abi.encodeCall(IRollup.submitEpochProof, (_range(0, 1, 1), "")),
            Role.Anyone
        );
        _add("Rollup", "prune", r, abi.encodeCall(IRollup.prune, ()), Role.Anyone);
        _add("Rollup", "settle", r, abi.encodeCall(IRollup.settle, (0)), Role.Anyone);
        address i = address(all.inbox);
        _add("Inbox", "send", i, abi.encodeCall(IInbox.send, (0, 0, 0)), Role.Anyone);
        _add(
            "Inbox",
            "sendDeposit",
            i,
            abi.encodeCall(IInbox.sendDeposit, (bytes32(uint256(1)), 1)),
            Role.FeePortal
        );
        _add("Inbox", "consume", i, abi.encodeCall(IInbox.consume, (1)), Role.Rollup);
        address o = address(all.outbox);
        bytes32[] memory path;
        _add(
            "Outbox",
            "consume",
            o,
            abi.encodeCall(IOutbox.consume, (1, 0, 0, 0, 0, path)),
            Role.Anyone
        );
        _add(
            "Outbox",
            "consumeWithdrawal",
            o,
            abi.encodeCall(IOutbox.consumeWithdrawal, (1, 0, address(1), 1, path)),
            Role.FeePortal
        );
    }

    function _economyRows() private {
        address f = address(all.feePortal);
        bytes32[] memory path;
        _add("FeePortal", "deposit", f, abi.encodeCall(IFeePortal.deposit, (0, 1e9)), Role.Anyone);
        _add(
            "FeePortal",
            "withdraw",
            f,
            abi.encodeCall(IFeePortal.withdraw, (1, 0, address(1), 1, path)),
            Role.Anyone
        );
        _add("FeePortal", "release", f, abi.encodeCall(IFeePortal.release, (0)), Role.Rewards);
        address w = address(all.rewards);
        _add(
            "Rewards",
            "recordProver",
            w,
            abi.encodeCall(IRewards.recordProver, (1, address(1))),
            Role.Rollup
        );
        _add("Rewards", "payEpoch", w, abi.encodeCall(IRewards.payEpoch, (1, 1)), Role.Rollup);
        _add(
            "Rewards",
            "claimBlocks",
            w,
            abi.encodeCall(IRewards.claimBlocks, (1, 0, new address[](0))),
            Role.Anyone
        );
        _add("Rewards", "claim", w, abi.encodeCall(IRewards.claim, (address(1))), Role.Anyone);
        address b = address(all.bondVault);
        _add("BondVault", "deposit", b, abi.encodeCall(IBondVault.deposit, (b, 0)), Role.Anyone);
        _add("BondVault", "withdraw", b, abi.encodeCall(IBondVault.withdraw, (0)), Role.Anyone);
        _add("BondVault", "collect", b, abi.encodeCall(IBondVault.collect, ()), Role.Anyone);
        _add("BondVault", "lock", b, abi.encodeCall(IBondVault.lock, (0, b, 0)), Role.Rollup);
        _add("BondVault", "release", b, abi.encodeCall(IBondVault.release, (0, b, 0)), Role.Rollup);
        _add("BondVault", "share", b, abi.encodeCall(IBondVault.share, (0, b, b, 0)), Role.Rollup);
        _add("BondVault", "forfeit", b, abi.encodeCall(IBondVault.forfeit, (0, b, 0)), Role.Rollup);
    }

    function _otherRows() private {
        address s = address(all.selection);
        IRollup.Attestations memory none;
        IStaking.Vote memory v;
        _add(
            "Staking", "attest", s, abi.encodeCall(ISelection.attest, (0, 0, 0, none)), Role.Rollup
        );
        _add("Staking", "recordSeed", s, abi.encodeCall(IStaking.recordSeed, ()), Role.Anyone);
        _add("Staking", "deposit", s, abi.encodeCall(IStaking.deposit, (s, s, 0)), Role.Anyone);
        _add("Staking", "initiateExit", s, abi.encodeCall(IStaking.initiateExit, (s)), Role.Anyone);
        _add("Staking", "finalizeExit", s, abi.encodeCall(IStaking.finalizeExit, (s)), Role.Anyone);
        _add(
            "Staking",
            "slashEquivocation",
            s,
            abi.encodeCall(IStaking.slashEquivocation, (v, v)),
            Role.Anyone
        );
        _add(
            "Registry",
            "setRates",
            address(all.registry),
            abi.encodeCall(IRegistry.setRates, (_rates())),
            Role.Timelock
        );
        address d = address(_list);
        _add(
            "Deployments",
            "add",
            d,
            abi.encodeCall(IDeployments.add, ("a", all.registry)),
            Role.Timelock
        );
        _add(
            "Deployments",
            "setCanonical",
            d,
            abi.encodeCall(IDeployments.setCanonical, (0)),
            Role.Timelock
        );
        _add("Deployments", "fund", d, abi.encodeCall(IDeployments.fund, (0, 0)), Role.Timelock);
        address t = address(token);
        _add("AztToken", "mint", t, abi.encodeCall(IAztToken.mint, (t, 1)), Role.Timelock);
    }

    function _caller(uint256 role) private view returns (address) {
        address[8] memory callers = [
            address(0xB0B),
            address(rollup),
            address(all.feePortal),
            address(all.rewards),
            address(this),
            address(all.inbox),
            address(all.bondVault),
            VM.addr(keys[0])
        ];
        return callers[role];
    }

    /// An error that is about the caller and nothing else.
    function _isAccess(bytes memory answer) private pure returns (bool) {
        if (answer.length < 4) return false;
        bytes4 e = bytes4(answer);
        return e == IInbox.NotRollup.selector || e == IInbox.NotFeePortal.selector
            || e == IFeePortal.NotRewards.selector || e == IRegistry.NotTimelock.selector
            || e == bytes4(keccak256("NotMinter(address)"));
    }

    function test_every_function_rejects_every_caller_but_its_own() public {
        for (uint256 i; i < _rows.length; i++) {
            Row memory row = _rows[i];
            for (uint256 role; role < 8; role++) {
                VM.prank(_caller(role));
                (bool done, bytes memory answer) = row.target.call(row.call);
                bool denied = !done && _isAccess(answer);
                bool may = row.role == Role.Anyone || uint256(row.role) == role;
                require(denied != may, string.concat(row.artifact, ".", row.name));
                // Nothing else may keep the owner of a right from it, in a state where it makes sense.
                if (!may) {
                    assertEq(
                        keccak256(answer),
                        keccak256(
                            abi.encodePacked(bytes4(answer), uint256(uint160(_caller(role))))
                        ),
                        "the error names the caller"
                    );
                }
            }
        }
    }

    /// Goal: no function is missing above. Method: the functions of each artifact that can change state.
    function test_the_table_is_complete() public view {
        string[10] memory artifacts = [
            "Rollup",
            "Inbox",
            "Outbox",
            "FeePortal",
            "Rewards",
            "BondVault",
            "Staking",
            "Registry",
            "Deployments",
            "FixedCommittee"
        ];
        uint256 found;
        for (uint256 i; i < artifacts.length; i++) {
            string[] memory names = _changing(artifacts[i]);
            for (uint256 j; j < names.length; j++) {
                require(
                    _isListed(artifacts[i], names[j]), string.concat(artifacts[i], ".", names[j])
                );
                found++;
            }
        }
        // The token's own row is not counted: the rest of it is OpenZeppelin's, see below.
        assertEq(found, _rows.length - 1, "rows");
    }

    /// What OpenZeppelin gives the token moves or delegates what is the caller's, or what the holder signed for. A function
    /// that a new release adds is looked at before it is listed here.
    function test_the_token_has_no_function_beside_its_own_and_those_of_its_holders() public view {
        string[6] memory holders =
            ["approve", "transfer", "transferFrom", "permit", "delegate", "delegateBySig"];
        string[] memory names = _changing("AztToken");
        uint256 found;
        for (uint256 i; i < names.length; i++) {
            bool known = _isListed("AztToken", names[i]);
            for (uint256 j; j < holders.length; j++) {
                known = known || keccak256(bytes(names[i])) == keccak256(bytes(holders[j]));
            }
            require(known, names[i]);
            found++;
        }
        assertEq(found, holders.length + 1, "functions");
    }

    /// The names of an artifact's functions that may change something.
    function _changing(string memory artifact) private view returns (string[] memory names) {
        string memory json = VM.readFile(string.concat("artifacts/", artifact, ".json"));
        names = new string[](64);
        uint256 found;
        for (uint256 j;; j++) {
            string memory entry = string.concat(".abi[", VM.toString(j), "]");
            if (!VM.keyExistsJson(json, entry)) break;
            string memory kind = VM.parseJsonString(json, string.concat(entry, ".type"));
            if (keccak256(bytes(kind)) != keccak256("function")) continue;
            string memory mutability =
                VM.parseJsonString(json, string.concat(entry, ".stateMutability"));
            bytes32 m = keccak256(bytes(mutability));
            if (m == keccak256("view") || m == keccak256("pure")) continue;
            names[found++] = VM.parseJsonString(json, string.concat(entry, ".name"));
        }
        assembly ("memory-safe") {
            mstore(names, found)
        }
    }

    function _isListed(string memory artifact, string memory name) private view returns (bool) {
        bytes32 want = keccak256(abi.encode(artifact, name));
        for (uint256 i; i < _rows.length; i++) {
            if (keccak256(abi.encode(_rows[i].artifact, _rows[i].name)) == want) return true;
        }
        return false;
    }
}

/// @notice Two deployments of the same contracts share nothing.
contract TwoDeploymentsTest is Fixture {
    function test_what_is_signed_or_proven_for_one_is_worth_nothing_in_the_other() public {
        IRollup alpha = rollup;
        IRollup.Contracts memory alphas = all;
        RootAndMore memory kept = RootAndMore(address(one), address(more));
        VM.warp(GENESIS);
        _deploy(address(token));
        require(alpha.version() != rollup.version(), "versions");

        // The same proposal with the same signature.
        VM.warp(_time(1));
        IRollup.ProposeArgs memory args = _block(0, 1);
        IRollup.Attestations memory a = _attested(args, _da(0));
        rollup.propose(args, a, _da(0));
        VM.expectPartialRevert(ISelection.CommitteeWrong.selector);
        alpha.propose(args, a, _da(0));
        assertEq(alpha.tips().pending, 0, "alpha");

        // The public inputs of a proof differ in the version.
        bytes32 digest = alpha.blockDigest(1, 1, _link(0, args, _da(0)));
        alpha.propose(args, _attest(1, digest), _da(0));
        bytes32[] memory x = alpha.publicInputs(_range(0, 1, 5));
        bytes32[] memory y = rollup.publicInputs(_range(0, 1, 5));
        uint256 different;
        for (uint256 i; i < x.length; i++) {
            if (x[i] != y[i]) different++;
        }
        assertEq(different, 1, "one word");
        require(x[1] != y[1], "the version");
        one.expect(y);
        rollup.submitEpochProof(_range(0, 1, 5), "proof");
        require(kept.one != address(one), "verifiers");

        // A message of one is unknown to the other, and so is a bond.
        all.inbox.send(0, 0, 0);
        (, uint64 count) = alphas.inbox.state();
        assertEq(count, 0, "inbox");
        VM.expectRevert(abi.encodeWithSelector(IRollup.BlockNotProven.selector, 0, 1));
        alphas.outbox.consume(1, 0, 0, 0, 0, new bytes32[](1));
        address who = VM.addr(keys[0]);
        (uint128 free,) = alphas.bondVault.balanceOf(who);
        uint256 here = _free(who);
        VM.prank(who);
        all.bondVault.withdraw(here);
        (uint128 later,) = alphas.bondVault.balanceOf(who);
        assertEq(later, free, "bonds");
    }

    struct RootAndMore {
        address one;
        address more;
    }
}
