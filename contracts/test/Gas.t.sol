// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";

import {IRegistry} from "../src/governance/IRegistry.sol";
import {ISelection} from "../src/selection/ISelection.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./Fixture.sol";
import {OutTree} from "./OutTree.sol";

/// @notice What each action costs, from cold storage. Blob data and calldata are apart.
abstract contract GasFixture is Fixture {
    function _size() internal pure virtual returns (uint256);

    function setUp() public override {
        super.setUp();
        _keys(_size());
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1000e9);
        _propose(1);
        VM.warp(_time(2));
    }

    function _measure(string memory name, uint16 txCount) internal {
        IRollup.ProposeArgs memory args = _block(1, 2);
        args.txCount = txCount;
        DaInput memory d = _da(txCount);
        bytes32 digest = rollup.blockDigest(2, 2, _link(rollup.blockRecord(1).chain, args, d));
        IRollup.Attestations memory a = _attest((1 << (2 * keys.length / 3 + 1)) - 1, digest);
        _cool();
        rollup.propose(args, a, d);
        VM.snapshotGasLastCall("Gas", name);
    }

    /// What was read to prepare the call is cold again.
    function _cool() internal {
        VM.cool(address(rollup));
        VM.cool(address(all.inbox));
        VM.cool(address(all.outbox));
        VM.cool(address(all.selection));
        VM.cool(address(all.bondVault));
        VM.cool(address(all.registry));
        VM.cool(address(all.rewards));
        VM.cool(address(all.feePortal));
        VM.cool(address(token));
        VM.cool(address(data));
        VM.cool(address(one));
        VM.cool(address(more));
    }
}

contract GasOneTest is GasFixture {
    function _size() internal pure override returns (uint256) {
        return 1;
    }

    /// Fetched from the code, the modulus of Poseidon2 would make a proposal 54,000 gas dearer.
    function test_rollup_pushes_the_modulus() public view {
        bytes memory code = address(rollup).code;
        uint256 pushes;
        for (uint256 i; i + 33 <= code.length; i++) {
            uint256 word;
            assembly ("memory-safe") {
                word := mload(add(add(code, 0x21), i))
            }
            if (word == P && code[i] == 0x7f) pushes++;
        }
        require(pushes > 20, "the modulus is not pushed");
    }

    function test_propose_without_transactions() public {
        _measure("propose_0_txs", 0);
    }

    function test_propose_1_transaction() public {
        _measure("propose_1_tx_without_blob_commit", 1);
    }

    function test_propose_32_transactions() public {
        _measure("propose_32_txs_without_blob_commit", 32);
    }

    function test_propose_first_block_of_an_epoch() public {
        VM.warp(_time(SLOTS));
        IRollup.ProposeArgs memory args = _block(1, uint48(SLOTS));
        IRollup.Attestations memory a = _attested(args, _da(0));
        _cool();
        rollup.propose(args, a, _da(0));
        VM.snapshotGasLastCall("Gas", "propose_first_of_epoch");
    }

    function test_late_proposal_costs_little() public {
        IRollup.ProposeArgs memory args = _block(1, 2);
        IRollup.Attestations memory a = _attested(args, _da(0));
        VM.warp(_time(3));
        _cool();
        uint256 before = gasleft();
        VM.expectRevert(abi.encodeWithSelector(IRollup.SlotNotCurrent.selector, 3, 2));
        rollup.propose(args, a, _da(0));
        require(before - gasleft() < 40_000, "gas");
    }

    function test_submit_and_settle() public {
        _cool();
        IRollup.EpochArgs memory args = _range(0, 1, 5);
        rollup.submitEpochProof(args, "proof");
        VM.snapshotGasLastCall("Gas", "submit_without_verifier");
        VM.warp(_end(0));
        _cool();
        rollup.settle(0);
        VM.snapshotGasLastCall("Gas", "settle");
    }

    function test_deposit_and_send() public {
        _cool();
        all.feePortal.deposit(bytes32(uint256(7)), 1e9);
        VM.snapshotGasLastCall("Gas", "deposit");
        _cool();
        all.inbox.send(bytes32(uint256(7)), 0, 0);
        VM.snapshotGasLastCall("Gas", "send");
    }
}

contract GasFourTest is GasFixture {
    function _size() internal pure override returns (uint256) {
        return 4;
    }

    function test_propose() public {
        _measure("propose_0_txs_committee_4", 0);
    }
}

contract GasTwentyFourTest is GasFixture {
    function _size() internal pure override returns (uint256) {
        return 24;
    }

    function test_propose() public {
        _measure("propose_0_txs_committee_24", 0);
    }
}

contract GasFortyEightTest is GasFixture {
    function _size() internal pure override returns (uint256) {
        return 48;
    }

    function test_propose() public {
        _measure("propose_0_txs_committee_48", 0);
    }
}

/// @notice Claims and withdrawals of a proven chain.
contract GasProvenTest is Fixture {
    bytes32[] private _leaves;

    function setUp() public override {
        super.setUp();
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1000e9 * 1000);
        uint256[] memory words = new uint256[](2);
        (words[0], words[1]) = (0xB0B, 20);
        for (uint256 i; i < 64; i++) {
            _leaves.push(hasher.hash(28, words));
        }
        for (uint48 i = 1; i < 3; i++) {
            VM.warp(_time(i));
            IRollup.ProposeArgs memory args = _block(i - 1, i);
            args.txCount = 32;
            args.outRoot = OutTree.root(hasher, _leaves);
            _submit(args);
        }
        _prove(0, 2, 5);
        token.transfer(address(all.rewards), 1000e18);
    }

    function test_withdraw() public {
        bytes32[] memory path = OutTree.path(hasher, _leaves, 31, 0);
        all.feePortal.withdraw(1, 31, address(0xB0B), 20, path);
        VM.snapshotGasLastCall("Gas", "withdraw_of_32_txs");
    }

    function test_claim_blocks_and_claim() public {
        VM.warp(_end(0));
        rollup.settle(0);
        all.rewards.claimBlocks(1, 2, _members());
        VM.snapshotGasLastCall("Gas", "claim_2_blocks");
        all.rewards.claim(COINBASE);
        VM.snapshotGasLastCall("Gas", "claim");
    }
}

/// @notice Names a proposer of its own for every slot, whoever signs.
contract SelectionDouble is ISelection {
    function attest(uint64, uint64 slot, bytes32, IRollup.Attestations calldata)
        external
        pure
        returns (address, uint64)
    {
        return (proposerOf(slot), 1);
    }

    function proposerOf(uint64 slot) public pure returns (address) {
        return address(uint160(0x10_0000 + slot));
    }

    function committee(uint64) external pure returns (address[] memory) {
        return new address[](0);
    }

    function committeeHash(uint64) external pure returns (bytes32) {
        return 0;
    }

    function TOKEN() external pure returns (IERC20) {
        return IERC20(address(0));
    }
}

/// @notice Prunes of as many epochs as a deployment can have unproven, each with a poster of its own.
contract PruneTest is Fixture {
    uint256 private constant TX_GAS_CAP = 1 << 24;
    uint16 private constant EPOCHS = 128;

    function setUp() public override {
        super.setUp();
        _fill(EPOCHS);
    }

    function _deploySelection() internal override returns (address) {
        return address(new SelectionDouble());
    }

    function _config() internal view override returns (IRollup.Config memory c) {
        c = super._config();
        c.slotsPerEpoch = 1;
    }

    function _parameters() internal view override returns (IRollup.Parameters memory p) {
        p = super._parameters();
        p.maxUnprovenEpochs = EPOCHS;
        p.proofWindowSeconds = uint32(600 * SLOT);
    }

    function _fill(uint48 n) private {
        token.approve(address(all.bondVault), MANY);
        IRollup.Attestations memory none;
        for (uint48 i = 1; i <= n; i++) {
            all.bondVault.deposit(all.selection.proposerOf(i), BOND);
            VM.warp(_time(i));
            IRollup.ProposeArgs memory args = _block(i - 1, i);
            rollup.propose(args, none, _da(0));
        }
        VM.warp(GENESIS + 5000 * SLOT);
    }

    /// If a prune did not fit a transaction, the chain would stop for good.
    function test_a_prune_at_the_bound_fits_a_transaction() public {
        uint256 before = gasleft();
        rollup.prune();
        uint256 used = before - gasleft();
        VM.snapshotValue("Gas", "prune_128_epochs", used);
        // With a proposal on top, which prunes by itself, and at four times today's prices.
        require(4 * used + 21_000 + 1_000_000 < TX_GAS_CAP, "a prune does not fit a transaction");
        assertEq(rollup.tips().pending, 0, "pending");
        assertEq(_free(all.selection.proposerOf(1)), 0, "the first bond is lost");
        assertEq(_free(all.selection.proposerOf(EPOCHS)), BOND, "the last one is back");
        assertEq(_locked(all.selection.proposerOf(EPOCHS)), 0, "and unlocked");
    }

    function test_prune_3_epochs() public {
        VM.warp(GENESIS);
        _deploy(address(token));
        _fill(3);
        VM.cool(address(rollup));
        VM.cool(address(all.bondVault));
        rollup.prune();
        VM.snapshotGasLastCall("Gas", "prune_3_epochs");
    }
}

contract GasVoteTest is Fixture {
    IGovernor private _governor;
    uint256 private _proposal;

    function setUp() public override {
        super.setUp();
        address[] memory nobody = new address[](0);
        address timelock = VM.deployCode(
            "TimelockController.sol:TimelockController",
            abi.encode(1 days, nobody, nobody, address(0))
        );
        _governor = IGovernor(
            payable(VM.deployCode(
                    "src/governance/Governance.sol:Governance",
                    abi.encode(token, timelock, 1 hours, 2 days, 0, 4)
                ))
        );
        token.delegate(address(this));
        VM.warp(GENESIS + 1);
        _proposal = _governor.propose(new address[](1), new uint256[](1), new bytes[](1), "nothing");
        VM.warp(GENESIS + 2 hours);
    }

    function test_vote() public {
        _governor.castVote(_proposal, 1);
        VM.snapshotGasLastCall("Gas", "vote");
    }
}
