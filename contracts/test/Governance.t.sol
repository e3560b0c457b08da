// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";

import {IRewards} from "../src/economics/IRewards.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IRollup} from "../src/IRollup.sol";
import {Fixture} from "./Fixture.sol";
import {IAztToken, IDeployments} from "./Interfaces.sol";

/// @notice Rates, deployments, and a vote from proposal to execution. This contract is the timelock of
///         the fixture's own token and registry.
contract GovernanceTest is Fixture {
    // ------------------------------------------------------------ Registry

    function _rejects(string memory rate, IRegistry.Rates memory r) private {
        VM.expectRevert(abi.encodeWithSelector(IRegistry.RateOutOfRange.selector, rate));
        all.registry.setRates(r);
    }

    function test_rates_are_bounded() public {
        IRegistry.Rates memory r = _rates();
        r.feePerConstraint = 1e15;
        r.blockReward = 1e22;
        r.challengeShareBps = 10_000;
        r.committeeSize = 64;
        r.bondAmount = 1e24;
        r.minStake = 1e24;
        all.registry.setRates(r);
        require(keccak256(abi.encode(all.registry.rates())) == keccak256(abi.encode(r)), "stored");
        assertEq(all.registry.bondAmount(), 1e24, "bond");
        assertEq(all.registry.challengeShareBps(), 10_000, "share");
        r.feePerConstraint++;
        _rejects("feePerConstraint", r);
        r.feePerConstraint--;
        r.blockReward++;
        _rejects("blockReward", r);
        r.blockReward--;
        r.challengeShareBps++;
        _rejects("challengeShareBps", r);
        r.challengeShareBps--;
        r.committeeSize++;
        _rejects("committeeSize", r);
        r.committeeSize = 3;
        _rejects("committeeSize", r);
        r.committeeSize = 4;
        r.bondAmount++;
        _rejects("bondAmount", r);
        r.bondAmount--;
        r.minStake++;
        _rejects("minStake", r);
        r.minStake = 0;
        _rejects("minStake", r);
        r.minStake = 1;
        r.proverBps++;
        _rejects("proposerBps + attesterBps + proverBps", r);
        r.proverBps -= 2;
        _rejects("proposerBps + attesterBps + proverBps", r);
        r.proverBps++;
        all.registry.setRates(r);
    }

    function test_a_changed_rate_is_read_at_use() public {
        _propose(1);
        _propose(2);
        _prove(0, 1, 10);
        IRegistry.Rates memory r = _rates();
        r.feePerConstraint = 7e9;
        all.registry.setRates(r);
        _prove(0, 2, 20);
        VM.warp(_end(0));
        rollup.settle(0);
        assertEq(all.rewards.owedTo(PROVER), 20 * 7e9, "owed");
    }

    // ------------------------------------------------------------ Deployments

    function test_deployments_are_added_named_and_funded() public {
        IDeployments list = _deployList(address(this));
        VM.expectRevert(abi.encodeWithSignature("DeploymentUnknown(uint256)", 0));
        list.canonical();
        assertEq(list.add("testnet-alpha", all.registry), 0, "id");
        IRegistry alpha = all.registry;
        uint64 version = rollup.version();
        bytes4 known = bytes4(keccak256("DeploymentKnown(string,uint64)"));
        VM.expectRevert(abi.encodeWithSelector(known, "testnet-alpha-again", version));
        list.add("testnet-alpha-again", alpha);
        VM.warp(GENESIS);
        _deploy(address(token));
        VM.expectRevert(abi.encodeWithSelector(known, "testnet-alpha", rollup.version()));
        list.add("testnet-alpha", all.registry);
        VM.expectRevert(abi.encodeWithSignature("NameMissing()"));
        list.add("", all.registry);
        assertEq(list.add("testnet-beta", all.registry), 1, "id");
        assertEq(list.count(), 2, "count");
        assertEq(list.canonical().version, version, "alpha is canonical");
        list.setCanonical(1);
        assertEq(list.canonical().version, rollup.version(), "beta is canonical");
        assertEq(address(list.deployment(0).registry), address(alpha), "alpha stays");
        bytes memory unknown = abi.encodeWithSignature("DeploymentUnknown(uint256)", 2);
        VM.expectRevert(unknown);
        list.setCanonical(2);
        VM.expectRevert(unknown);
        list.fund(2, 1);
        VM.expectRevert(unknown);
        list.deployment(2);
        token.approve(address(list), 50);
        list.fund(1, 50);
        assertEq(token.balanceOf(address(all.rewards)), 50, "funded");
    }

    /// A registry that answers otherwise after it was added redirects nothing.
    function test_funds_go_to_the_rewards_that_were_added() public {
        IDeployments list = _deployList(address(this));
        list.add("testnet-alpha", all.registry);
        assertEq(list.deployment(0).rewards, address(all.rewards), "rewards");
        token.approve(address(list), 50);
        RegistryDouble other = new RegistryDouble(IRollup(address(1)), address(this), token);
        VM.etch(address(all.registry), address(other).code);
        list.fund(0, 50);
        assertEq(token.balanceOf(address(all.rewards)), 50, "funded");
    }

    function test_what_is_added_is_tied_and_in_the_token() public {
        IDeployments list = _deployList(address(this));
        RegistryDouble other = new RegistryDouble(rollup, address(this), token);
        VM.expectRevert(abi.encodeWithSignature("NotTied(address)", address(rollup)));
        list.add("testnet-alpha", IRegistry(address(other)));
        other = new RegistryDouble(rollup, address(this), IAztToken(address(1)));
        VM.expectRevert(
            abi.encodeWithSignature("TokenWrong(address,address)", address(token), address(1))
        );
        list.add("testnet-alpha", IRegistry(address(other)));
    }

    function test_a_registry_of_another_timelock_is_not_added() public {
        IDeployments list = _deployList(address(1));
        VM.prank(address(1));
        VM.expectRevert(
            abi.encodeWithSignature("TimelockWrong(address,address)", address(1), address(this))
        );
        list.add("testnet-alpha", all.registry);
    }

    // ------------------------------------------------------------ a vote

    address private _timelock;
    IGovernor private _governor;
    IAztToken private _azt;

    function _deployGovernance() private {
        uint64 nonce = VM.getNonce(address(this));
        address[] memory proposers = new address[](1);
        proposers[0] = _predict(nonce + 2);
        // Anybody executes what has passed and waited.
        address[] memory executors = new address[](1);
        _timelock = _deployTimelock(proposers, executors);
        _azt = _deployToken(_timelock, 1000e18);
        _governor = _deployGovernor(_azt, _timelock, 10e18);
        assertEq(address(_governor), proposers[0], "prediction");
    }

    function test_holders_fund_rewards_by_a_vote_and_nobody_else_mints() public {
        _deployGovernance();
        VM.expectRevert(abi.encodeWithSignature("NotMinter(address)", address(this)));
        _azt.mint(address(this), 1);
        _azt.delegate(address(this));
        VM.warp(block.timestamp + 1);
        address[] memory targets = new address[](1);
        bytes[] memory calls = new bytes[](1);
        targets[0] = address(_azt);
        calls[0] = abi.encodeCall(IAztToken.mint, (address(all.rewards), 500e18));
        uint256[] memory values = new uint256[](1);
        bytes32 text = keccak256("fund");

        VM.prank(address(0xB0B));
        VM.expectRevert(
            abi.encodeWithSelector(
                IGovernor.GovernorInsufficientProposerVotes.selector, address(0xB0B), 0, 10e18
            )
        );
        _governor.propose(targets, values, calls, "fund");
        uint256 id = _governor.propose(targets, values, calls, "fund");
        VM.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        _governor.castVote(id, 1);
        VM.warp(block.timestamp + 1 hours + 1);
        // A holder of today without votes at the snapshot has none.
        _azt.transfer(address(0xB0B), 400e18);
        VM.prank(address(0xB0B));
        _azt.delegate(address(0xB0B));
        VM.prank(address(0xB0B));
        assertEq(_governor.castVote(id, 0), 0, "votes after the snapshot");
        assertEq(_governor.castVote(id, 1), 1000e18, "votes");
        VM.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        _governor.queue(targets, values, calls, text);
        VM.warp(block.timestamp + 2 days + 1);
        _governor.queue(targets, values, calls, text);
        VM.expectPartialRevert(
            bytes4(keccak256("TimelockUnexpectedOperationState(bytes32,bytes32)"))
        );
        _governor.execute(targets, values, calls, text);
        VM.warp(block.timestamp + 1 days);
        VM.prank(address(0xB0B));
        _governor.execute(targets, values, calls, text);
        assertEq(_azt.balanceOf(address(all.rewards)), 500e18, "funded");
        VM.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        _governor.execute(targets, values, calls, text);
    }

    /// Goal: what did not pass a vote gets into neither contract. Method: what may change something in the
    /// timelock, but for the execution of what has waited, and each setting of the Governor, called by
    /// the deployer, by a stranger and by other contracts.
    function test_nobody_passes_the_vote_or_changes_its_rules() public {
        _deployGovernance();
        address[4] memory callers =
            [address(this), address(0xB0B), address(_azt), address(all.registry)];
        for (uint256 i; i < callers.length; i++) {
            bytes[] memory tries = _callsOfTheTimelock(callers[i]);
            bytes4 expected = bytes4(keccak256("AccessControlUnauthorizedAccount(address,bytes32)"));
            for (uint256 j; j < tries.length; j++) {
                _rejectsCaller(_timelock, callers[i], tries[j], expected);
            }
            bytes memory delay = abi.encodeWithSignature("updateDelay(uint256)", 0);
            expected = bytes4(keccak256("TimelockUnauthorizedCaller(address)"));
            _rejectsCaller(_timelock, callers[i], delay, expected);
            tries = _callsOfTheGovernor(callers[i]);
            expected = IGovernor.GovernorOnlyExecutor.selector;
            for (uint256 j; j < tries.length; j++) {
                _rejectsCaller(address(_governor), callers[i], tries[j], expected);
            }
        }
    }

    function _callsOfTheTimelock(address caller) private view returns (bytes[] memory tries) {
        bytes memory mint = abi.encodeCall(IAztToken.mint, (caller, 1));
        tries = new bytes[](5);
        tries[0] = abi.encodeWithSignature(
            "schedule(address,uint256,bytes,bytes32,bytes32,uint256)",
            address(_azt),
            0,
            mint,
            bytes32(0),
            bytes32(0),
            1 days
        );
        tries[1] = abi.encodeWithSignature(
            "scheduleBatch(address[],uint256[],bytes[],bytes32,bytes32,uint256)",
            new address[](1),
            new uint256[](1),
            new bytes[](1),
            bytes32(0),
            bytes32(0),
            1 days
        );
        tries[2] = abi.encodeWithSignature("cancel(bytes32)", bytes32(0));
        bytes32 proposer = keccak256("PROPOSER_ROLE");
        tries[3] = abi.encodeWithSignature("grantRole(bytes32,address)", proposer, caller);
        tries[4] =
            abi.encodeWithSignature("revokeRole(bytes32,address)", proposer, address(_governor));
    }

    function _callsOfTheGovernor(address caller) private pure returns (bytes[] memory tries) {
        tries = new bytes[](6);
        tries[0] = abi.encodeWithSignature("setVotingDelay(uint48)", 0);
        tries[1] = abi.encodeWithSignature("setVotingPeriod(uint32)", 1);
        tries[2] = abi.encodeWithSignature("setProposalThreshold(uint256)", 0);
        tries[3] = abi.encodeWithSignature("updateQuorumNumerator(uint256)", 0);
        tries[4] = abi.encodeWithSignature("updateTimelock(address)", caller);
        tries[5] = abi.encodeWithSignature("relay(address,uint256,bytes)", caller, 0, "");
    }

    function _rejectsCaller(address target, address caller, bytes memory call, bytes4 expected)
        private
    {
        VM.prank(caller);
        (bool done, bytes memory answer) = target.call(call);
        require(!done && bytes4(answer) == expected, VM.toString(uint32(bytes4(call))));
    }

    function test_permit_spends_without_a_transaction_of_the_owner() public {
        uint256 key = 0xC0DE;
        address owner = VM.addr(key);
        token.mint(owner, 5);
        bytes32 form = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 digest = keccak256(
            abi.encodePacked(
                hex"1901",
                token.DOMAIN_SEPARATOR(),
                keccak256(abi.encode(form, owner, address(this), 5, 0, block.timestamp))
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        token.permit(owner, address(this), 5, block.timestamp, v, r, s);
        token.transferFrom(owner, address(this), 5);
        VM.expectPartialRevert(bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
        token.permit(owner, address(this), 5, block.timestamp, v, r, s);
    }
}

/// @notice A registry that says what a test wants.
contract RegistryDouble {
    IRollup public immutable ROLLUP;
    address public immutable TIMELOCK;
    IAztToken public immutable TOKEN;

    constructor(IRollup rollup, address timelock, IAztToken token) {
        (ROLLUP, TIMELOCK, TOKEN) = (rollup, timelock, token);
    }
}
