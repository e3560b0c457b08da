// SPDX-License-Identifier: MIT OR Apache-2.0
// Generated from the protocol's layouts by `cargo xtask gen`; do not edit.
pragma solidity 0.8.37;

// Numbers that the contracts share with the circuits. The order of fields is that of their
// declaration in the crate `protocol`. At the level of the file, so that one can be the length
// of an array.

// Indices in the public inputs of an epoch root, and how many there are.
uint256 constant EPOCH_CHAIN_ID = 0;
uint256 constant EPOCH_VERSION = 1;
uint256 constant EPOCH_VK_ROOT = 2;
uint256 constant EPOCH_PROTOCOL_VERSION = 3;
uint256 constant EPOCH_PROVER_ID = 4;
uint256 constant EPOCH_PREV_ARCHIVE_ROOT = 5;
uint256 constant EPOCH_END_ARCHIVE_ROOT = 6;
uint256 constant EPOCH_FIRST_BLOCK = 7;
uint256 constant EPOCH_LAST_BLOCK = 8;
uint256 constant EPOCH_EPOCH = 9;
uint256 constant EPOCH_SLOTS_PER_EPOCH = 10;
uint256 constant EPOCH_CHAIN_START = 11;
uint256 constant EPOCH_CHAIN_END = 12;
uint256 constant EPOCH_OUT_HASH = 13;
uint256 constant EPOCH_NUM_CONSTRAINTS = 14;
uint256 constant EPOCH_PAIR = 15;
uint256 constant EPOCH_WORDS = 25;

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
uint256 constant LINK_CHAIN_PREV = 0;
uint256 constant LINK_HEADER_HASH = 1;
uint256 constant LINK_DATA_HASH = 2;
uint256 constant LINK_ARCHIVE_ROOT = 3;
uint256 constant LINK_SLOT = 4;
uint256 constant LINK_COINBASE = 5;
uint256 constant LINK_TOTAL_FEES = 6;
uint256 constant LINK_WORDS = 7;

// Indices of the 32-byte words of a header's bytes.
uint256 constant HEADER_CHAIN_ID = 0;
uint256 constant HEADER_VERSION = 1;
uint256 constant HEADER_BLOCK_NUMBER = 2;
uint256 constant HEADER_SLOT = 3;
uint256 constant HEADER_TIMESTAMP = 4;
uint256 constant HEADER_COINBASE = 5;
uint256 constant HEADER_FEE_PER_L2_GAS = 6;
uint256 constant HEADER_FEE_PER_DA_GAS = 7;
uint256 constant HEADER_TOTAL_FEES = 8;
uint256 constant HEADER_TX_COUNT = 9;
uint256 constant HEADER_LAST_ARCHIVE_ROOT = 10;
uint256 constant HEADER_STATE_TX_STATE_NOTE_ROOT = 11;
uint256 constant HEADER_STATE_TX_STATE_NOTE_COUNT = 12;
uint256 constant HEADER_STATE_TX_STATE_NULLIFIER_ROOT = 13;
uint256 constant HEADER_STATE_TX_STATE_NULLIFIER_COUNT = 14;
uint256 constant HEADER_STATE_TX_STATE_PUBLIC_DATA_ROOT = 15;
uint256 constant HEADER_STATE_TX_STATE_PUBLIC_DATA_COUNT = 16;
uint256 constant HEADER_STATE_MESSAGE_ROOT = 17;
uint256 constant HEADER_STATE_MESSAGE_COUNT = 18;
uint256 constant HEADER_TXS_CHAIN = 19;
uint256 constant HEADER_IN_HASH = 20;
uint256 constant HEADER_OUT_HASH = 21;
uint256 constant HEADER_WORDS = 22;

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
