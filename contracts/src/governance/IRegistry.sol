// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IRollup} from "../IRollup.sol";

/// @title A deployment's contracts and the rates that governance sets for it.
interface IRegistry {
    /// @notice Two words of storage. They are read at use: the timelock's delay is the notice.
    struct Rates {
        /// Base units of the token for one charged row of a proof.
        uint64 feePerConstraint;
        /// Base units of the token for the coinbase of each proven block.
        uint96 blockReward;
        /// Parts of a block's fees in ten-thousandths: coinbase, signers, prover. Their sum is 10,000.
        uint16 proposerBps;
        uint16 attesterBps;
        uint16 proverBps;
        /// Part of a bond that late proofs of a whole epoch earn, in ten-thousandths.
        uint16 challengeShareBps;
        /// Members of a sampled committee, 4 to 64.
        uint8 committeeSize;
        /// Base units that the first block of an epoch locks.
        uint96 bondAmount;
        /// Least base units of a stake; not 0.
        uint96 minStake;
    }

    /// @notice All rates were replaced.
    event RatesSet(Rates rates);

    /// @notice The caller is not the timelock.
    error NotTimelock(address caller);
    /// @notice The rollup names another Registry.
    error NotTied(address rollup);
    /// @notice There is no code at the address of a contract that the deployment needs.
    error ContractMissing(address got);
    /// @notice A contract of the deployment has another token.
    error TokenWrong(address expected, address got);
    /// @notice The rate is outside its bounds.
    error RateOutOfRange(string rate);

    /// @notice Replaces all rates. The timelock only.
    function setRates(Rates calldata next) external;

    /// @notice All rates as they are now.
    function rates() external view returns (Rates memory);
    /// @notice Base units that the first block of an epoch locks.
    function bondAmount() external view returns (uint96);
    /// @notice Part of a bond that late proofs of a whole epoch earn, in ten-thousandths.
    function challengeShareBps() external view returns (uint16);
    /// @notice The rollup of this deployment.
    function ROLLUP() external view returns (IRollup);
    /// @notice The token of fees, bonds and stakes.
    function TOKEN() external view returns (IERC20);
    /// @notice The only account that can change the rates.
    function TIMELOCK() external view returns (address);
}
