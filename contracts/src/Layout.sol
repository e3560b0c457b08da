// SPDX-License-Identifier: MIT OR Apache-2.0
// Generated from the protocol's layouts by `cargo xtask gen`; do not edit.
pragma solidity 0.8.37;

// Numbers that the contracts share with the circuits: docs/book/protocol-2.md has their meaning. At the
// level of the file, so that one can be the length of an array.

// Indices in the public inputs of an epoch root, and how many there are.
uint256 constant EPOCH_CHAIN_ID = 0;
uint256 constant EPOCH_VERSION = 1;
uint256 constant EPOCH_VK_ROOT = 2;
uint256 constant EPOCH_PROTOCOL_VERSION = 3;
uint256 constant EPOCH_CONFIG_HASH = 4;
uint256 constant EPOCH_PROVER_ID = 5;
uint256 constant EPOCH_PREV_ARCHIVE_ROOT = 6;
uint256 constant EPOCH_END_ARCHIVE_ROOT = 7;
uint256 constant EPOCH_FIRST_BLOCK = 8;
uint256 constant EPOCH_LAST_BLOCK = 9;
uint256 constant EPOCH_EPOCH = 10;
uint256 constant EPOCH_CHAIN_START = 11;
uint256 constant EPOCH_CHAIN_END = 12;
uint256 constant EPOCH_NUM_CONSTRAINTS = 13;
uint256 constant EPOCH_PAIR = 14;
uint256 constant EPOCH_WORDS = 24;

// Indices in the pair, with which those inputs end.
uint256 constant PAIR_L_X_LO = 0;
uint256 constant PAIR_L_X_HI = 1;
uint256 constant PAIR_L_Y_LO = 2;
uint256 constant PAIR_L_Y_HI = 3;
uint256 constant PAIR_S_L = 4;
uint256 constant PAIR_R_X_LO = 5;
uint256 constant PAIR_R_X_HI = 6;
uint256 constant PAIR_R_Y_LO = 7;
uint256 constant PAIR_R_Y_HI = 8;
uint256 constant PAIR_S_R = 9;
uint256 constant PAIR_WORDS = 10;

// Indices in what one link of the block chain hashes, after the domain tag.
uint256 constant LINK_CHAIN_BEFORE = 0;
uint256 constant LINK_HEADER_HASH = 1;
uint256 constant LINK_ARCHIVE_ROOT = 2;
uint256 constant LINK_SLOT_COUNT_PRICES = 3;
uint256 constant LINK_COINBASE_L2_GAS = 4;
uint256 constant LINK_FEES_DA_GAS = 5;
uint256 constant LINK_IN_HASH = 6;
uint256 constant LINK_OUT_ROOT = 7;
uint256 constant LINK_Z = 8;
uint256 constant LINK_Y_LO_C0 = 9;
uint256 constant LINK_Y_HI_C1 = 10;
uint256 constant LINK_C2_C3 = 11;
uint256 constant LINK_WORDS = 12;

// Indices in what the config hash contains, after the domain tag.
uint256 constant CONFIG_GENESIS_TIME = 0;
uint256 constant CONFIG_SLOT_SECONDS = 1;
uint256 constant CONFIG_SLOTS_PER_EPOCH = 2;
uint256 constant CONFIG_L2_GAS_LIMIT = 3;
uint256 constant CONFIG_L2_GAS_TARGET = 4;
uint256 constant CONFIG_DA_GAS_LIMIT = 5;
uint256 constant CONFIG_DA_GAS_TARGET = 6;
uint256 constant CONFIG_MIN_FEE_PER_GAS = 7;
uint256 constant CONFIG_MESSAGE_SUBTREE_HEIGHT = 8;
uint256 constant CONFIG_WORDS = 9;

// Words of a header.
uint256 constant HEADER_WORDS = 24;

// A leaf of the key tree, and what the leaves of the two epoch roots contain.
uint256 constant VK_ROLE = 0;
uint256 constant VK_DIGEST = 1;
uint256 constant VK_LOG_N = 2;
uint256 constant VK_N_PUBLIC_INPUTS = 3;
uint256 constant VK_CHARGED_ROWS = 4;
uint256 constant VK_PROTOCOL_VERSION = 5;
uint256 constant VK_TRANSCRIPT = 6;
uint256 constant VK_WORDS = 7;
uint256 constant VK_TREE_HEIGHT = 5;
uint256 constant ROLE_EPOCH_ROOT_1 = 7;
uint256 constant ROLE_EPOCH_ROOT_2 = 8;
uint256 constant EPOCH_ROOT_LOG_N = 17;
uint256 constant TRANSCRIPT_KECCAK = 1;

// Limits.
uint256 constant PROTOCOL_VERSION = 2;
uint256 constant MAX_TXS = 32;
uint256 constant MESSAGE_SUBTREE_HEIGHT = 6;
uint256 constant L2_GAS_PER_TX = 100000;
uint256 constant DA_GAS_PER_TX = 2000;
uint256 constant PRICE_MAX = 1099511627776;

// Domain tags of Poseidon2.
uint256 constant DOMAIN_NODE = 1;
uint256 constant DOMAIN_NOTE = 2;
uint256 constant DOMAIN_UNIQUE_NOTE = 3;
uint256 constant DOMAIN_NULLIFIER = 4;
uint256 constant DOMAIN_NPK = 5;
uint256 constant DOMAIN_ADDRESS = 6;
uint256 constant DOMAIN_TX = 7;
uint256 constant DOMAIN_TXS_CHAIN = 8;
uint256 constant DOMAIN_HEADER = 9;
uint256 constant DOMAIN_CHAIN = 10;
uint256 constant DOMAIN_NULLIFIER_LEAF = 11;
uint256 constant DOMAIN_PUBLIC_DATA_LEAF = 12;
uint256 constant DOMAIN_FEE_BALANCE_SLOT = 13;
uint256 constant DOMAIN_VK_LEAF = 14;
uint256 constant DOMAIN_TAG = 15;
uint256 constant DOMAIN_TRANSCRIPT = 17;
uint256 constant DOMAIN_VK_DIGEST = 18;
uint256 constant DOMAIN_GENESIS = 19;
uint256 constant DOMAIN_FOLD = 20;
uint256 constant DOMAIN_CONFIG = 21;
uint256 constant DOMAIN_BLOB_Z = 22;
uint256 constant DOMAIN_LOG_HASH = 23;
uint256 constant DOMAIN_MESSAGE_IN = 24;
uint256 constant DOMAIN_FEE_DEPOSIT = 25;
uint256 constant DOMAIN_CLAIM = 26;
uint256 constant DOMAIN_MESSAGE_OUT = 27;
uint256 constant DOMAIN_WITHDRAW = 28;
uint256 constant DOMAIN_NOTE_PARTIAL = 29;
uint256 constant DOMAIN_KEYS = 30;
uint256 constant DOMAIN_SILO_TAG = 36;
uint256 constant DOMAIN_MESSAGE_CHAIN = 48;
