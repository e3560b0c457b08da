// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Messages from L1 to L2, by the block that will append them.
interface IInbox {
    /// @notice Kind 0 is a general message. Kind 1 is a deposit: `recipient` gets `content` units, and
    ///         sender and secret hash are 0.
    event MessageSent(
        uint64 indexed block,
        uint64 index,
        bytes32 leaf,
        uint8 kind,
        address sender,
        bytes32 recipient,
        bytes32 content,
        bytes32 secretHash
    );

    /// @notice The caller is not the rollup.
    error NotRollup(address caller);
    /// @notice The caller is not the FeePortal.
    error NotFeePortal(address caller);
    /// @notice The rollup names another contract in this one's place.
    error NotTied(address rollup);
    /// @notice A deposit to the address 0 could not be claimed.
    error RecipientMissing();
    /// @notice A deposit of 0 units could not be claimed.
    error AmountMissing();
    /// @notice Messages can still be sent to the block of this number.
    error StillOpen(uint64 open, uint64 got);

    /// @notice Sends a message from the caller.
    /// @return number Block that appends it; it can be used from the block after that.
    /// @return index  Index of its leaf in the message tree.
    /// @return leaf   The leaf.
    function send(bytes32 recipient, bytes32 content, bytes32 secretHash)
        external
        returns (uint64 number, uint64 index, bytes32 leaf);

    /// @notice Appends a deposit. The FeePortal only, so that no circuit needs to know an L1 address.
    function sendDeposit(bytes32 to, uint64 units)
        external
        returns (uint64 number, uint64 index, bytes32 leaf);

    /// @notice What block `number` appends. The Rollup only. From here on `number + 1` takes no more.
    function consume(uint64 number) external returns (bytes32 inHash);

    /// @notice Running hash of a number's leaves so far; 0 without leaves.
    function hashOf(uint64 number) external view returns (bytes32);
    /// @notice The number that is being filled, and how many leaves it has.
    function state() external view returns (uint64 open, uint64 count);
}
