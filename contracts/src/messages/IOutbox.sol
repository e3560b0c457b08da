// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Messages from L2 to L1, consumed once each when their block is proven.
interface IOutbox {
    /// @notice Leaf `which` of transaction `tx` of `block` was consumed.
    event MessageConsumed(uint64 indexed block, uint16 tx, uint8 which, bytes32 leaf);

    /// @notice The caller is not the FeePortal.
    error NotFeePortal(address caller);
    /// @notice The rollup names another contract in this one's place.
    error NotTied(address rollup);
    /// @notice The block has no transaction of this index.
    error TransactionUnknown(uint16 txCount, uint16 got);
    /// @notice A transaction has the leaves 0 and 1.
    error WhichWrong(uint8 got);
    /// @notice The path to this leaf has another number of siblings.
    error PathLengthWrong(uint256 expected, uint256 got);
    /// @notice The leaf and its path give another root than the block's.
    error PathWrong(bytes32 outRoot, bytes32 got);
    /// @notice The message was consumed before.
    error AlreadyConsumed(uint64 number, uint16 transaction, uint8 which);

    /// @notice Consumes a message whose recipient is the caller.
    /// @param number       Block of the message; it must be proven.
    /// @param transaction  Index of the transaction in its block.
    /// @param which        0 or 1: a transaction has two leaves.
    /// @param l2Contract   Contract on L2 that sent it.
    /// @param content      What it says.
    /// @param path         Siblings from the leaf up.
    function consume(
        uint64 number,
        uint16 transaction,
        uint8 which,
        bytes32 l2Contract,
        bytes32 content,
        bytes32[] calldata path
    ) external returns (bytes32 leaf);

    /// @notice Consumes a withdrawal, which is leaf 0 of its transaction. The FeePortal only.
    function consumeWithdrawal(
        uint64 number,
        uint16 transaction,
        address recipient,
        uint64 units,
        bytes32[] calldata path
    ) external returns (bytes32 leaf);

    /// @notice Whether a message was consumed.
    function isConsumed(uint64 number, uint16 transaction, uint8 which) external view returns (bool);
}
