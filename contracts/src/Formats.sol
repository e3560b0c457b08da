// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon2} from "./Poseidon2.sol";
import {DaInput, IRollup} from "./IRollup.sol";
import "./Layout.sol" as Layout;

/// @title What the contracts hash as the circuits do, and the bounds that the circuits rely on.
library Formats {
    uint256 internal constant COMMITMENT_BYTES = 48;
    uint256 private constant GENESIS_TIME_BITS = 40;
    uint256 private constant SLOTS_PER_EPOCH_MAX = 1024;
    /// @dev A prune takes back all of them in one transaction, at about 19,000 gas each today. With this bound
    ///      it fits into the 2^24 gas of a transaction (EIP-7825) even if gas prices of storage grow sixfold.
    uint256 private constant UNPROVEN_EPOCHS_MAX = 128;

    /// @notice Requires the bounds of docs/book/protocol-2.md, and that both verifiers' keys are in the tree.
    function checkParameters(IRollup.Parameters memory p) internal view {
        IRollup.Config memory c = p.config;
        _canonical("genesisArchiveRoot", p.genesisArchiveRoot);
        _canonical("vkRoot", p.vkRoot);
        _require("chainid", block.chainid <= type(uint64).max);
        _require("genesisTime", c.genesisTime >> GENESIS_TIME_BITS == 0);
        _require("slotSeconds", c.slotSeconds != 0 && c.slotSeconds <= type(uint16).max);
        _require("slotsPerEpoch", c.slotsPerEpoch != 0 && c.slotsPerEpoch <= SLOTS_PER_EPOCH_MAX);
        _gas("l2Gas", Layout.L2_GAS_PER_TX, c.l2GasLimit, c.l2GasTarget);
        _gas("daGas", Layout.DA_GAS_PER_TX, c.daGasLimit, c.daGasTarget);
        _require("minFeePerGas", c.minFeePerGas != 0 && c.minFeePerGas <= Layout.PRICE_MAX);
        _require("messageSubtreeHeight", c.messageSubtreeHeight == Layout.MESSAGE_SUBTREE_HEIGHT);
        _require("proofWindowSeconds", p.proofWindowSeconds >= c.slotSeconds);
        _require("challengeSeconds", p.challengeSeconds >= c.slotSeconds);
        // A longer grace could keep every epoch after a late one in time until its proofs end.
        _require(
            "proofGraceSeconds",
            p.proofGraceSeconds >= c.slotSeconds && p.proofGraceSeconds <= p.challengeSeconds
        );
        _require(
            "maxUnprovenEpochs",
            p.maxUnprovenEpochs >= 2 && p.maxUnprovenEpochs <= UNPROVEN_EPOCHS_MAX
        );
        _key(Layout.ROLE_EPOCH_ROOT_1, p.oneBlock, p.vkRoot);
        _key(Layout.ROLE_EPOCH_ROOT_2, p.moreBlocks, p.vkRoot);
    }

    function configHash(IRollup.Config memory c) internal pure returns (bytes32) {
        uint256[] memory words = new uint256[](Layout.CONFIG_WORDS);
        words[Layout.CONFIG_GENESIS_TIME] = c.genesisTime;
        words[Layout.CONFIG_SLOT_SECONDS] = c.slotSeconds;
        words[Layout.CONFIG_SLOTS_PER_EPOCH] = c.slotsPerEpoch;
        words[Layout.CONFIG_L2_GAS_LIMIT] = c.l2GasLimit;
        words[Layout.CONFIG_L2_GAS_TARGET] = c.l2GasTarget;
        words[Layout.CONFIG_DA_GAS_LIMIT] = c.daGasLimit;
        words[Layout.CONFIG_DA_GAS_TARGET] = c.daGasTarget;
        words[Layout.CONFIG_MIN_FEE_PER_GAS] = c.minFeePerGas;
        words[Layout.CONFIG_MESSAGE_SUBTREE_HEIGHT] = c.messageSubtreeHeight;
        return bytes32(Poseidon2.hash(Layout.DOMAIN_CONFIG, words));
    }

    /// @notice The link of a block. Its root hashes, z and the chain before are canonical already; each
    ///         packed word has at most 224 bits, and so is below the field's order.
    function link(bytes32 chain, IRollup.ProposeArgs calldata args, DaInput calldata data)
        internal
        pure
        returns (bytes32)
    {
        uint256[] memory words = new uint256[](Layout.LINK_WORDS);
        words[Layout.LINK_CHAIN_BEFORE] = uint256(chain);
        words[Layout.LINK_HEADER_HASH] = uint256(args.headerHash);
        words[Layout.LINK_ARCHIVE_ROOT] = uint256(args.archiveRoot);
        words[Layout.LINK_SLOT_COUNT_PRICES] = uint256(args.slot) | uint256(args.txCount) << 48
            | uint256(args.feePerL2Gas) << 64 | uint256(args.feePerDaGas) << 128;
        words[Layout.LINK_COINBASE_L2_GAS] =
            uint256(uint160(args.coinbase)) | uint256(args.l2GasUsed) << 160;
        words[Layout.LINK_FEES_DA_GAS] = uint256(args.totalFees) | uint256(args.daGasUsed) << 128;
        words[Layout.LINK_IN_HASH] = uint256(args.inHash);
        words[Layout.LINK_OUT_ROOT] = uint256(args.outRoot);
        if (args.txCount != 0) {
            bytes calldata c = data.commitment;
            words[Layout.LINK_Z] = data.z;
            words[Layout.LINK_Y_LO_C0] =
                (data.y & type(uint128).max) | uint256(uint96(bytes12(c[0:12]))) << 128;
            words[Layout.LINK_Y_HI_C1] = data.y >> 128 | uint256(uint96(bytes12(c[12:24]))) << 128;
            words[Layout.LINK_C2_C3] = uint192(bytes24(c[24:48]));
        }
        return bytes32(Poseidon2.hash(Layout.DOMAIN_CHAIN, words));
    }

    /// @dev The leaf over the verifier's key must lead to the root under which the circuits were built.
    ///      This finds a wrong pair of artifacts; against a dishonest deployer only a review helps.
    function _key(uint256 role, IRollup.RootKey memory key, bytes32 vkRoot) private view {
        uint256[] memory words = new uint256[](Layout.VK_WORDS);
        words[Layout.VK_ROLE] = role;
        words[Layout.VK_DIGEST] = uint256(key.verifier.vkDigest());
        words[Layout.VK_LOG_N] = Layout.EPOCH_ROOT_LOG_N;
        words[Layout.VK_N_PUBLIC_INPUTS] = Layout.EPOCH_WORDS;
        words[Layout.VK_CHARGED_ROWS] = key.chargedRows;
        words[Layout.VK_PROTOCOL_VERSION] = Layout.PROTOCOL_VERSION;
        words[Layout.VK_TRANSCRIPT] = Layout.TRANSCRIPT_KECCAK;
        uint256 node = Poseidon2.hash(Layout.DOMAIN_VK_LEAF, words);
        for (uint256 level; level < Layout.VK_TREE_HEIGHT; level++) {
            uint256 sibling = uint256(key.path[level]);
            (uint256 a, uint256 b) = (role >> level) & 1 == 1 ? (sibling, node) : (node, sibling);
            node = uint256(Poseidon2.hash2(Layout.DOMAIN_NODE, a, b));
        }
        if (bytes32(node) != vkRoot) revert IRollup.KeyNotInTree(role, vkRoot, bytes32(node));
    }

    function _gas(string memory name, uint256 perTx, uint256 limit, uint256 target) private pure {
        _require(name, limit >= perTx && limit <= perTx * Layout.MAX_TXS);
        _require(name, target != 0 && target <= limit);
    }

    function _canonical(string memory name, bytes32 value) private pure {
        _require(name, uint256(value) < Poseidon2.P);
    }

    function _require(string memory name, bool holds) private pure {
        if (!holds) revert IRollup.ParameterOutOfRange(name);
    }
}
