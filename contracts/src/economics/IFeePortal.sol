// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title The bridge of the fee asset: AZT held here is what notes and balances on L2 are worth.
/// @notice One unit on L2 is 10^9 base units of the token.
interface IFeePortal {
    /// @notice `units` were deposited for `to`; `block` appends them as leaf `index` of the message tree.
    event Deposited(bytes32 indexed to, uint64 units, uint64 block, uint64 index);
    /// @notice `units` were paid to `recipient`, whose withdrawal is in transaction `tx` of `block`.
    event Withdrawn(address indexed recipient, uint64 units, uint64 block, uint16 tx);
    /// @notice `amount` base units of fees were sent to Rewards.
    event Released(uint256 amount);

    /// @notice The caller is not Rewards.
    error NotRewards(address caller);
    /// @notice The rollup names another contract in this one's place.
    error NotTied(address rollup);
    /// @notice The amount is not a multiple of a unit on L2.
    error AmountNotWholeUnits(uint256 amount);
    /// @notice The amount is 2^64 units on L2 or more.
    error AmountTooLarge(uint256 amount);

    /// @notice Takes `amount` of the token from the caller. `to` claims it on L2.
    /// @param to     Address on L2, canonical and not 0.
    /// @param amount A multiple of 10^9, not 0, below 10^9 * 2^64.
    /// @return number Block that appends the deposit.
    /// @return index  Index of its leaf, which the claim states.
    function deposit(bytes32 to, uint256 amount) external returns (uint64 number, uint64 index);

    /// @notice Pays a withdrawal of a proven block to its recipient. Anyone may call.
    /// @param path Siblings from the withdrawal's leaf up, see `IOutbox.consume`.
    function withdraw(
        uint64 number,
        uint16 transaction,
        address recipient,
        uint64 units,
        bytes32[] calldata path
    ) external;

    /// @notice Sends fees of proven blocks to Rewards. Rewards only.
    function release(uint256 amount) external;

    /// @notice The token that is bridged.
    function TOKEN() external view returns (IERC20);
}
