// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

/// @title The token of fees, bonds, stakes and votes, with 18 decimals.
/// @dev Votes are counted by time (ERC-6372), as everything else here is. Staked, bonded and bridged
///      tokens do not vote unless their contract delegates, and none does.
contract AztToken is ERC20, ERC20Permit, ERC20Votes {
    /// @notice The timelock of governance: the only account that can mint.
    address public immutable MINTER;

    /// @notice The caller is not the timelock.
    error NotMinter(address caller);

    /// @param minter The timelock.
    /// @param holder Gets the first supply.
    /// @param supply Base units.
    constructor(address minter, address holder, uint256 supply)
        ERC20("Rollmill AZT", "AZT")
        ERC20Permit("Rollmill AZT")
    {
        MINTER = minter;
        _mint(holder, supply);
    }

    /// @notice Creates tokens. The timelock only.
    function mint(address to, uint256 amount) external {
        if (msg.sender != MINTER) revert NotMinter(msg.sender);
        _mint(to, amount);
    }

    /// @notice The time by which votes are counted: seconds since 1970.
    function clock() public view override returns (uint48) {
        return uint48(block.timestamp);
    }

    /// @notice Says in the form of ERC-6372 that votes are counted by time.
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @notice The next nonce of a permit or a delegation that `owner` signs.
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }
}
