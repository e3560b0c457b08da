// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {DaInput, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./Fixture.sol";

/// @notice The contracts compared with the independent model's vectors.
contract VectorsTest is Fixture {
    address private constant MODEL_ROLLUP =
        address(uint160(0x00a0A0a0A0A0a0A0a0A0a0a0A0A0a0a0A0A0A0A0A0));
    uint256 private constant RECORD_WORDS = 5;
    string private _json;

    function setUp() public override {
        super.setUp();
        _json = VM.readFile(VECTORS);
    }

    /// Goal: the same chain of blocks as in the model. Method: all contracts at the model's address,
    /// chain id and config; the model's messages and blocks through `send`, `sendDeposit` and `propose`.
    function test_an_epoch_of_the_model_is_the_same_on_l1() public {
        _deployModel();
        assertEq(rollup.configHash(), VM.parseJsonBytes32(_json, ".config.hash"), "config hash");
        assertEq(rollup.version(), VM.parseJsonUint(_json, ".version.version"), "version");
        for (uint256 i; i < 6; i++) {
            string memory path_ = string.concat(".epoch.blocks[", VM.toString(i), "]");
            _sendMessages(path_);
            _replay(path_, i + 1);
            (uint64 open,) = all.inbox.state();
            assertEq(open, VM.parseJsonUint(_json, string.concat(path_, ".inbox_open")), "open");
            _compareRecord(path_, i + 1);
            _compareInputs(path_, i + 1);
        }
        // Withdrawals and messages of these blocks are tested in Messages.t.sol.
    }

    function test_inbox_follows_the_models_script() public {
        for (uint256 i; i < 13; i++) {
            string memory path_ = string.concat(".inbox[", VM.toString(i), "]");
            if (VM.keyExistsJson(_json, string.concat(path_, ".send"))) {
                uint256 n = VM.parseJsonUint(_json, string.concat(path_, ".send"));
                uint64 number;
                uint64 index;
                for (uint256 j; j < n; j++) {
                    (number, index,) = all.inbox.send(0, 0, 0);
                }
                assertEq(
                    number, VM.parseJsonUint(_json, string.concat(path_, ".last_block")), "block"
                );
                assertEq(
                    index, VM.parseJsonUint(_json, string.concat(path_, ".last_index")), "index"
                );
            } else {
                uint64 n = uint64(VM.parseJsonUint(_json, string.concat(path_, ".propose")));
                VM.prank(address(rollup));
                assertEq(all.inbox.consume(n), all.inbox.hashOf(n), "hash");
            }
            (uint64 open,) = all.inbox.state();
            assertEq(open, VM.parseJsonUint(_json, string.concat(path_, ".open")), "open");
        }
    }

    function test_forms_are_the_models() public {
        VM.prank(address(1));
        // Index 64 is the first of block 2.
        (,, bytes32 leaf) =
            all.inbox.send(bytes32(uint256(2)), bytes32(uint256(3)), bytes32(uint256(4)));
        assertEq(leaf, VM.parseJsonBytes32(_json, ".forms.message_in"), "general message");
        assertEq(
            all.inbox.hashOf(2), VM.parseJsonBytes32(_json, ".forms.message_chain_of_one"), "one"
        );
        VM.prank(address(all.feePortal));
        (,, leaf) = all.inbox.sendDeposit(VM.parseJsonBytes32(_json, ".forms.address"), 9);
        assertEq(leaf, VM.parseJsonBytes32(_json, ".forms.fee_deposit"), "deposit");
        assertEq(all.inbox.hashOf(2), VM.parseJsonBytes32(_json, ".forms.message_chain"), "two");
    }

    function test_events_have_the_models_topics() public view {
        assertEq(IRollup.BlockProposed.selector, _topic("BlockProposed"), "BlockProposed");
        assertEq(IRollup.EpochProven.selector, _topic("EpochProven"), "EpochProven");
        assertEq(IRollup.Pruned.selector, _topic("Pruned"), "Pruned");
        assertEq(IRollup.EpochSettled.selector, _topic("EpochSettled"), "EpochSettled");
        assertEq(
            keccak256("MessageSent(uint64,uint64,bytes32,uint8,address,bytes32,bytes32,bytes32)"),
            _topic("MessageSent"),
            "MessageSent"
        );
        assertEq(
            keccak256("MessageConsumed(uint64,uint16,uint8,bytes32)"),
            _topic("MessageConsumed"),
            "MessageConsumed"
        );
    }

    function test_validators_sign_the_models_digest() public {
        _deployModel();
        assertEq(
            rollup.blockDigest(1, 2, bytes32(uint256(3))),
            VM.parseJsonBytes32(_json, ".l1.block_digest"),
            "digest"
        );
    }

    function _topic(string memory name) private view returns (bytes32) {
        return VM.parseJsonBytes32(_json, string.concat(".l1.topics.", name));
    }

    /// Runs the Rollup's creation code at the model's address, then the others'.
    function _deployModel() private {
        VM.chainId(VM.parseJsonUint(_json, ".version.chain_id"));
        IRollup.Parameters memory p = _parameters();
        p.config.slotSeconds = 72;
        p.config.slotsPerEpoch = 8;
        p.config.l2GasTarget = 200_000;
        p.config.daGasTarget = 8_000;
        p.proofWindowSeconds = p.challengeSeconds = p.proofGraceSeconds = 576;
        p.genesisArchiveRoot = VM.parseJsonBytes32(_json, ".epoch.genesis.archive_root");
        _predictAll(VM.getNonce(address(this)), address(all.selection));
        p.contracts = all;
        VM.etch(MODEL_ROLLUP, bytes.concat(VM.getCode(ROLLUP), abi.encode(p)));
        (bool done, bytes memory code) = MODEL_ROLLUP.call("");
        require(done, "constructor");
        VM.etch(MODEL_ROLLUP, code);
        rollup = IRollup(MODEL_ROLLUP);
        _deployOthers(address(token), address(all.selection));
        _fundBonds();
    }

    function _sendMessages(string memory path_) private {
        for (uint256 i;; i++) {
            string memory m = string.concat(path_, ".messages_sent[", VM.toString(i), "]");
            if (!VM.keyExistsJson(_json, m)) return;
            bytes32 recipient = VM.parseJsonBytes32(_json, string.concat(m, ".recipient"));
            bytes32 content = VM.parseJsonBytes32(_json, string.concat(m, ".content"));
            bytes32 leaf;
            if (VM.parseJsonUint(_json, string.concat(m, ".kind")) == 0) {
                VM.prank(address(uint160(VM.parseJsonUint(_json, string.concat(m, ".sender")))));
                (,, leaf) = all.inbox
                    .send(
                        recipient,
                        content,
                        VM.parseJsonBytes32(_json, string.concat(m, ".secret_hash"))
                    );
            } else {
                VM.prank(address(all.feePortal));
                (,, leaf) = all.inbox.sendDeposit(recipient, uint64(uint256(content)));
            }
            assertEq(leaf, VM.parseJsonBytes32(_json, string.concat(m, ".leaf")), "leaf");
        }
    }

    function _replay(string memory path_, uint256 number) private {
        bytes32[] memory h = VM.parseJsonBytes32Array(_json, string.concat(path_, ".header"));
        IRollup.ProposeArgs memory args;
        args.blockNumber = uint64(number);
        args.slot = uint48(uint256(h[3]));
        args.previousArchiveRoot = h[12];
        args.archiveRoot = VM.parseJsonBytes32(_json, string.concat(path_, ".archive_root"));
        args.headerHash = VM.parseJsonBytes32(_json, string.concat(path_, ".header_hash"));
        args.coinbase = address(uint160(uint256(h[5])));
        args.feePerL2Gas = uint64(uint256(h[6]));
        args.feePerDaGas = uint64(uint256(h[7]));
        args.l2GasUsed = uint64(uint256(h[8]));
        args.daGasUsed = uint64(uint256(h[9]));
        args.totalFees = uint128(uint256(h[10]));
        args.txCount = uint16(uint256(h[11]));
        args.inHash = h[22];
        args.outRoot = h[23];
        DaInput memory d;
        if (args.txCount != 0) {
            d.z = VM.parseJsonUint(_json, string.concat(path_, ".z"));
            d.y = VM.parseJsonUint(_json, string.concat(path_, ".y"));
            d.commitment = VM.parseJsonBytes(_json, string.concat(path_, ".commitment"));
            d.proof = new bytes(48);
        }
        VM.warp(GENESIS + 72 * uint256(args.slot));
        VM.roll(1_000 + args.slot);
        IRollup.Attestations memory a = _attested(args, d);
        rollup.propose(args, a, d);
    }

    /// The five words of a block's record as they lie in storage.
    function _compareRecord(string memory path_, uint256 number) private view {
        bytes32[] memory words = VM.parseJsonBytes32Array(_json, string.concat(path_, ".record"));
        uint256 slot = uint256(keccak256(abi.encode(number, _blocksSlot())));
        for (uint256 i; i < RECORD_WORDS; i++) {
            assertEq(VM.load(address(rollup), bytes32(slot + i)), words[i], "record");
        }
        assertEq(
            rollup.blockRecord(uint64(number)).chain,
            VM.parseJsonBytes32(_json, string.concat(path_, ".chain")),
            "chain"
        );
    }

    /// The mapping of blocks follows the word of the tips, wherever that one is.
    function _blocksSlot() private view returns (uint256 slot) {
        IRollup.Tips memory t = rollup.tips();
        bytes32 tips = bytes32(
            uint256(t.pending) + uint256(t.proven) * 2 ** 48 + uint256(t.provenEpoch) * 2 ** 96
        );
        while (VM.load(address(rollup), bytes32(slot)) != tips) slot++;
        return slot + 1;
    }

    function _compareInputs(string memory path_, uint256 number) private {
        bytes32[] memory want = VM.parseJsonBytes32Array(_json, string.concat(path_, ".epoch_root"));
        IRollup.EpochArgs memory args;
        args.epoch = uint64(uint256(want[10]));
        args.lastBlock = uint64(number);
        args.prover = address(uint160(uint256(want[5])));
        args.numConstraints = uint64(uint256(want[13]));
        for (uint256 i; i < 10; i++) {
            args.pair[i] = uint256(want[14 + i]);
        }
        // Only the first epoch's can be asked for, until it is proven; it is block 1 alone.
        if (args.epoch != 0) VM.store(address(rollup), bytes32(_blocksSlot() - 1), _provenOne());
        bytes32[] memory got = rollup.publicInputs(args);
        assertEq(got.length, want.length, "words");
        for (uint256 i; i < got.length; i++) {
            assertEq(got[i], want[i], string.concat("public input ", VM.toString(i)));
        }
    }

    function _provenOne() private view returns (bytes32) {
        return bytes32(uint256(rollup.tips().pending) + 2 ** 48);
    }
}
