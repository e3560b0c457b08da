// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../src/IVerifier.sol";
import * as Layout from "../src/Layout.sol";
import {Poseidon2} from "../src/Poseidon2.sol";
import {Rollup} from "../src/Rollup.sol";
import {VerifierDouble} from "./VerifierDouble.sol";
import {Test} from "./Vm.sol";

/// @notice A deployment with four slots an epoch, ten seconds a slot, a window of five L1 blocks.
abstract contract RollupFixture is Test {
    uint256 internal constant P = Poseidon2.P;
    address internal constant PROPOSER = address(0xA11CE);
    uint64 internal constant GENESIS_TIME = 1_700_000_000;
    uint32 internal constant SLOT_SECONDS = 10;
    uint32 internal constant SLOTS_PER_EPOCH = 4;
    uint64 internal constant WINDOW = 5;

    VerifierDouble internal verifier;
    Rollup internal rollup;

    function setUp() public virtual {
        _deploy();
    }

    function _deploy() internal {
        VM.warp(GENESIS_TIME);
        VM.roll(100);
        verifier = new VerifierDouble();
        rollup = new Rollup(_parameters());
    }

    function _parameters() internal view returns (Rollup.Parameters memory) {
        return Rollup.Parameters({
            genesisArchiveRoot: bytes32(uint256(0x9e)),
            vkRoot: bytes32(uint256(0x77)),
            verifier: IVerifier(address(verifier)),
            proposer: PROPOSER,
            rollupVersion: 3,
            protocolVersion: 2,
            genesisTime: GENESIS_TIME,
            slotSeconds: SLOT_SECONDS,
            slotsPerEpoch: SLOTS_PER_EPOCH,
            proofWindowL1Blocks: WINDOW
        });
    }

    /// The next block of the pending chain, in `slot`.
    function _next(uint64 slot) internal view returns (Rollup.ProposeArgs memory) {
        return _nextOn(rollup.pendingTip(), slot);
    }

    /// A block on top of block `tip`, in `slot`.
    function _nextOn(uint64 tip, uint64 slot)
        internal
        view
        returns (Rollup.ProposeArgs memory args)
    {
        args.blockNumber = tip + 1;
        args.slot = slot;
        args.previousArchiveRoot = rollup.blockRecord(tip).archiveRoot;
        args.archiveRoot = keccak256(abi.encode("archive", tip, slot)) >> 8;
        args.headerHash = keccak256(abi.encode("header", tip, slot)) >> 8;
        args.coinbase = address(0xC0FFEE);
        args.totalFees = 1000;
    }

    /// Proposes the next block in `slot`, at the beginning of that slot unless it is running already.
    function _propose(uint64 slot) internal {
        uint256 time = GENESIS_TIME + slot * SLOT_SECONDS;
        if (block.timestamp < time) VM.warp(time);
        Rollup.ProposeArgs memory args = _next(slot);
        _asProposer();
        rollup.propose(args, "data");
    }

    /// The next call is an L1 transaction of the proposer's.
    function _asProposer() internal {
        VM.prank(PROPOSER, PROPOSER);
    }

    function _range(uint64 first, uint64 last)
        internal
        pure
        returns (Rollup.EpochArgs memory args)
    {
        args.firstBlock = first;
        args.lastBlock = last;
        args.prover = address(0x1d);
        args.outHash = bytes32(uint256(0x0f));
        args.numConstraints = 123_456;
        for (uint256 i; i < Layout.PAIR_WORDS; i++) {
            args.pair[i] = 1000 + i;
        }
    }

    function _prove(uint64 first, uint64 last) internal {
        verifier.set(VerifierDouble.Answer.Yes);
        rollup.submitEpochProof(_range(first, last), "proof");
    }
}
