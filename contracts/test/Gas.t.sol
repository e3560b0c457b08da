// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";

import {IDataAvailability} from "../src/data/IDataAvailability.sol";
import {IBondVault} from "../src/economics/IBondVault.sol";
import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {IRewards} from "../src/economics/IRewards.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IInbox} from "../src/messages/IInbox.sol";
import {ISelection} from "../src/selection/ISelection.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import {IVerifier} from "../src/IVerifier.sol";
import {Fixture, StakedFixture} from "./Fixture.sol";
import {Golden} from "./Golden.sol";
import {OutTree} from "./OutTree.sol";

/// @notice What each action costs, from cold storage: the call alone, and the whole transaction with its base
///         and its calldata. `gas.js` makes a page of both. Refunds and the price of blobs are apart.
abstract contract GasFixture is Fixture {
    /// Bytes of an epoch proof.
    uint256 internal constant PROOF_BYTES = 0xd60;

    /// Calls from cold storage and records both figures under this name.
    function _run(string memory name, address target, bytes memory call) internal {
        _cool();
        (bool done, bytes memory answer) = target.call(call);
        require(done, string(answer));
        uint256 used = VM.snapshotGasLastCall("Calls", name);
        VM.snapshotValue("Transactions", name, used + _intrinsic(call));
    }

    /// What a transaction costs before its first instruction: its base, and four gas for a zero byte of calldata,
    /// sixteen for another one (EIP-2028). The floor of EIP-7623 is below what these calls use.
    function _intrinsic(bytes memory call) private pure returns (uint256 gas) {
        gas = 21_000;
        for (uint256 i; i < call.length; i++) {
            gas += call[i] == 0 ? 4 : 16;
        }
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
        VM.cool(address(all.dataAvailability));
        VM.cool(address(token));
        VM.cool(address(one));
        VM.cool(address(more));
    }

    function _bytes(uint256 n) internal pure returns (bytes memory all_) {
        all_ = new bytes(n);
        for (uint256 i; i < n; i++) {
            all_[i] = 0x5a;
        }
    }
}

/// @notice The generated verifier and the proof of the golden epoch.
contract GasVerifierTest is GasFixture, Golden {
    function test_the_verifier_accepts_the_golden_epoch() public {
        (bytes32[] memory inputs, bytes memory proof) = _golden();
        IVerifier verifier = _verifier(inputs);
        VM.cool(address(verifier));
        bool yes = verifier.verify(proof, inputs);
        VM.snapshotGasLastCall("Calls", "verifier");
        require(yes, "rejected");
        // Another prover's name, another range, another proof.
        for (uint256 i = 5; i < 10; i += 4) {
            inputs[i] = bytes32(uint256(inputs[i]) ^ 1);
            require(!verifier.verify(proof, inputs), "another statement was accepted");
            inputs[i] = bytes32(uint256(inputs[i]) ^ 1);
        }
        proof[PROOF_BYTES - 1] ^= 0x01;
        require(!verifier.verify(proof, inputs), "another proof was accepted");
    }

    /// Goal: a proof made to burn gas costs its sender a bounded amount. Method: each word of a good proof is
    /// replaced by 1, which is canonical and puts a point off the curve; a precompile that rejects a point burns
    /// all that it is given.
    function test_a_proof_that_makes_precompiles_fail_burns_a_bounded_amount() public {
        (bytes32[] memory inputs, bytes memory proof) = _golden();
        IVerifier verifier = _verifier(inputs);
        uint256 most;
        for (uint256 place; place < PROOF_BYTES; place += 32) {
            bytes memory bad = bytes.concat(proof);
            assembly ("memory-safe") {
                mstore(add(add(bad, 0x20), place), 1)
            }
            uint256 before = gasleft();
            require(!verifier.verify(bad, inputs), "accepted");
            uint256 used = before - gasleft();
            if (used > most) most = used;
        }
        // An honest verification and the cap of the pairing, which is the largest.
        require(most < 1_000_000, "no bound");
    }
}

/// @notice Proposals with a real blob, which BlobAvailability opens.
abstract contract GasProposeFixture is GasFixture {
    function _size() internal pure virtual returns (uint256);

    function _deployData() internal override returns (IDataAvailability) {
        return IDataAvailability(VM.deployCode("src/data/BlobAvailability.sol:BlobAvailability"));
    }

    function setUp() public virtual override {
        super.setUp();
        _keys(_size());
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1000e9);
        _propose(1);
        VM.warp(_time(2));
    }

    /// A block as full as it can be: every word of its arguments is long.
    function _full(uint64 parent, uint48 slot, uint16 txCount)
        internal
        view
        returns (IRollup.ProposeArgs memory args)
    {
        args = _block(parent, slot);
        args.txCount = txCount;
        if (txCount != 0) args.outRoot = keccak256("out") >> 8;
        (args.feePerL2Gas, args.feePerDaGas) = (1 << 40, 1 << 40);
        (args.l2GasUsed, args.daGasUsed) = (100_000 * txCount, 2_000 * txCount);
        args.totalFees = uint128(txCount) * (102_000 << 40);
    }

    /// Proposes with a quorum of signatures and nothing more.
    function _measure(string memory name, uint16 txCount) internal {
        DaInput memory d;
        if (txCount != 0) d = _blob();
        IRollup.ProposeArgs memory args = _full(1, 2, txCount);
        bytes32 digest = rollup.blockDigest(2, 2, _link(rollup.blockRecord(1).chain, args, d));
        // The proposer of slot 2 is member 2, or the only one.
        IRollup.Attestations memory a = _attest((1 << (2 * keys.length / 3 + 1)) - 1, digest);
        name = string.concat(name, "_committee_", VM.toString(_size()));
        _run(name, address(rollup), abi.encodeCall(IRollup.propose, (args, a, d)));
        assertEq(rollup.tips().pending, 2, "proposed");
    }

    function test_propose_without_transactions() public {
        _measure("propose_0_txs", 0);
    }

    function test_propose_1_transaction() public {
        _measure("propose_1_tx", 1);
    }

    function test_propose_32_transactions() public {
        _measure("propose_32_txs", 32);
    }
}

contract GasOneTest is GasProposeFixture {
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

    function test_propose_first_block_of_an_epoch() public {
        VM.warp(_time(SLOTS));
        IRollup.ProposeArgs memory args = _full(1, uint48(SLOTS), 0);
        IRollup.Attestations memory a = _attested(args, _da(0));
        _run(
            "propose_first_of_epoch",
            address(rollup),
            abi.encodeCall(IRollup.propose, (args, a, _da(0)))
        );
    }

    /// Rollup and BlobAvailability together: an opening that is not the blob's stops the block.
    function test_a_proposal_needs_its_own_blob() public {
        DaInput memory d = _blob();
        IRollup.ProposeArgs memory args = _full(1, 2, 1);
        d.y ^= 1;
        IRollup.Attestations memory a = _attested(args, d);
        VM.expectRevert(IDataAvailability.OpeningWrong.selector);
        rollup.propose(args, a, d);
        d.y ^= 1;
        d.blobIndex = 1;
        VM.expectPartialRevert(IDataAvailability.BlobMissing.selector);
        rollup.propose(args, a, d);
        d.blobIndex = 0;
        a = _attested(args, d);
        rollup.propose(args, a, d);
        assertEq(rollup.blockRecord(2).txCount, 1, "proposed");
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
        IRollup.EpochArgs memory args = _range(0, 1, 5);
        for (uint256 i; i < 10; i++) {
            args.pair[i] = uint256(keccak256(abi.encode(i))) >> 128;
        }
        bytes memory call = abi.encodeCall(IRollup.submitEpochProof, (args, _bytes(PROOF_BYTES)));
        _run("submit_without_verifier", address(rollup), call);
        VM.warp(_end(0));
        _run("settle", address(rollup), abi.encodeCall(IRollup.settle, (0)));
    }

    /// A whole epoch that is over is proven and settled at once.
    function test_submit_after_the_end() public {
        VM.warp(_end(0));
        IRollup.EpochArgs memory args = _range(0, 1, 5);
        for (uint256 i; i < 10; i++) {
            args.pair[i] = uint256(keccak256(abi.encode(i))) >> 128;
        }
        bytes memory call = abi.encodeCall(IRollup.submitEpochProof, (args, _bytes(PROOF_BYTES)));
        _run("submit_and_settle_without_verifier", address(rollup), call);
    }

    function test_deposit_and_send() public {
        bytes32 to = keccak256("to") >> 8;
        _run("deposit", address(all.feePortal), abi.encodeCall(IFeePortal.deposit, (to, 12345e9)));
        _run("send", address(all.inbox), abi.encodeCall(IInbox.send, (to, to, to)));
        token.approve(address(all.bondVault), MANY);
        _run(
            "bond_deposit",
            address(all.bondVault),
            abi.encodeCall(IBondVault.deposit, (address(this), BOND))
        );
    }
}

contract GasFourTest is GasProposeFixture {
    function _size() internal pure override returns (uint256) {
        return 4;
    }
}

contract GasTwentyFourTest is GasProposeFixture {
    function _size() internal pure override returns (uint256) {
        return 24;
    }
}

contract GasFortyEightTest is GasProposeFixture {
    function _size() internal pure override returns (uint256) {
        return 48;
    }
}

/// @notice Committees of 48 out of 64 stakers.
contract GasStakingTest is GasFixture, StakedFixture {
    IStaking private _staking;

    function _rates() internal view override returns (IRegistry.Rates memory r) {
        r = super._rates();
        r.committeeSize = 48;
    }

    function setUp() public override {
        super.setUp();
        VM.warp(GENESIS - 100);
        _keys(64);
        _deploy(address(token));
        _staking = IStaking(address(all.selection));
        token.approve(address(_staking), MANY);
        for (uint256 i; i < 64; i++) {
            _staking.deposit(VM.addr(keys[i]), address(this), STAKE);
        }
        for (uint64 e; e < 3; e++) {
            VM.warp(_time(SLOTS * e));
            if (e < 2) _staking.recordSeed();
        }
    }

    function test_stake_and_seed() public {
        _run(
            "stake",
            address(_staking),
            abi.encodeCall(IStaking.deposit, (address(0xB0B), address(this), STAKE))
        );
        _run("record_seed", address(_staking), abi.encodeCall(IStaking.recordSeed, ()));
        VM.warp(block.timestamp + 1);
        _run("exit", address(_staking), abi.encodeCall(IStaking.initiateExit, (VM.addr(keys[9]))));
    }

    /// The draw happens in the first block of an epoch only.
    function test_propose_draws_a_committee() public {
        uint48 slot = uint48(3 * SLOTS);
        VM.warp(_time(slot));
        IRollup.ProposeArgs memory args = _block(0, slot);
        bytes32 digest = rollup.blockDigest(1, slot, _link(0, args, _da(0)));
        address[] memory members = _staking.committee(3);
        address proposer = _staking.proposerOf(slot);
        (uint256 bitmap, uint256 others) = (0, 0);
        for (uint256 i; i < 48; i++) {
            // The proposer and 32 others are the quorum of 48.
            bool signs = members[i] == proposer || others < 32;
            if (signs) bitmap |= 1 << i;
            if (signs && members[i] != proposer) others++;
        }
        IRollup.Attestations memory a = _attestBy(members, bitmap, digest);
        _run(
            "propose_first_of_epoch_draws_48",
            address(rollup),
            abi.encodeCall(IRollup.propose, (args, a, _da(0)))
        );
    }
}

/// @notice Claims and withdrawals of a proven epoch of 32 blocks and 48 members.
contract GasProvenTest is GasFixture {
    bytes32[] private _leaves;

    function _config() internal view override returns (IRollup.Config memory c) {
        c = super._config();
        c.slotsPerEpoch = 64;
    }

    function setUp() public override {
        super.setUp();
        _keys(48);
        _deploy(address(token));
        token.approve(address(all.feePortal), MANY);
        all.feePortal.deposit(bytes32(uint256(7)), 1000e9 * 1000);
        uint256[] memory words = new uint256[](2);
        (words[0], words[1]) = (0xB0B, 20);
        for (uint256 i; i < 64; i++) {
            _leaves.push(hasher.hash(28, words));
        }
        for (uint48 i = 1; i < 33; i++) {
            VM.warp(_time(i));
            IRollup.ProposeArgs memory args = _block(i - 1, i);
            args.txCount = 32;
            args.outRoot = OutTree.root(hasher, _leaves);
            _submit(args);
        }
        VM.warp(_time(64));
        _prove(0, 32, 5);
        token.transfer(address(all.rewards), 1000e18);
    }

    function test_withdraw() public {
        bytes32[] memory path = OutTree.path(hasher, _leaves, 31, 0);
        bytes memory call = abi.encodeCall(IFeePortal.withdraw, (1, 31, address(0xB0B), 20, path));
        _run("withdraw_of_32_txs", address(all.feePortal), call);
    }

    function test_claim_blocks_and_claim() public {
        bytes memory call = abi.encodeCall(IRewards.claimBlocks, (1, 1, _members()));
        _run("claim_1_block_committee_48", address(all.rewards), call);
        call = abi.encodeCall(IRewards.claimBlocks, (1, 32, _members()));
        _run("claim_31_blocks_committee_48", address(all.rewards), call);
        _run("claim", address(all.rewards), abi.encodeCall(IRewards.claim, (COINBASE)));
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
contract PruneTest is GasFixture {
    uint256 private constant TX_GAS_CAP = 1 << 24;
    uint16 private constant EPOCHS = 128;

    function setUp() public override {
        slotsPerEpoch = 1;
        proofWindow = uint32(600 * SLOT);
        super.setUp();
        _fill(EPOCHS);
    }

    function _deploySelection() internal override returns (address) {
        return address(new SelectionDouble());
    }

    function _parameters() internal view override returns (IRollup.Parameters memory p) {
        p = super._parameters();
        p.maxUnprovenEpochs = EPOCHS;
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
        _cool();
        uint256 before = gasleft();
        rollup.prune();
        uint256 used = before - gasleft();
        VM.snapshotValue("Calls", "prune_128_epochs", used);
        VM.snapshotValue("Transactions", "prune_128_epochs", used + 21_000 + 4 * 16);
        // With a proposal on top, which prunes by itself, and at four times today's prices.
        require(4 * used + 21_000 + 1_000_000 < TX_GAS_CAP, "a prune does not fit a transaction");
        assertEq(rollup.tips().pending, 0, "pending");
        assertEq(_free(all.selection.proposerOf(1)), 0, "the first bond is lost");
        assertEq(_free(all.selection.proposerOf(EPOCHS)), BOND, "the last one is back");
        assertEq(_locked(all.selection.proposerOf(EPOCHS)), 0, "and unlocked");
    }

    function test_prune_1_epoch() public {
        VM.warp(GENESIS);
        _deploy(address(token));
        _fill(1);
        _run("prune_1_epoch", address(rollup), abi.encodeCall(IRollup.prune, ()));
    }
}

contract GasVoteTest is GasFixture {
    IGovernor private _governor;
    uint256 private _proposal;

    function setUp() public override {
        super.setUp();
        address[] memory nobody = new address[](0);
        _governor = _deployGovernor(token, _deployTimelock(nobody, nobody), 0);
        token.delegate(address(this));
        VM.warp(GENESIS + 1);
        _proposal = _governor.propose(new address[](1), new uint256[](1), new bytes[](1), "nothing");
        VM.warp(GENESIS + 2 hours);
    }

    function test_vote() public {
        VM.cool(address(_governor));
        _run("vote", address(_governor), abi.encodeCall(IGovernor.castVote, (_proposal, 1)));
    }
}
