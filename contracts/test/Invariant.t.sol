// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {Handler} from "./Handler.sol";

/// @notice What holds after any steps of proposers, provers, users, stakers and time.
contract InvariantTest {
    Handler private _handler;

    function setUp() public {
        _handler = new Handler();
        _handler.setUp();
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// forge calls only these.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory s = new bytes4[](22);
        // Blocks, proofs and time come more often than the rest.
        (s[0], s[1], s[2]) =
        (Handler.propose.selector, Handler.propose.selector, Handler.propose.selector);
        (s[3], s[4]) = (Handler.prove.selector, Handler.prove.selector);
        (s[5], s[6]) = (Handler.pass.selector, Handler.pass.selector);
        (s[7], s[8]) = (Handler.proveWrongly.selector, Handler.prune.selector);
        (s[9], s[10]) = (Handler.settle.selector, Handler.deposit.selector);
        (s[11], s[12]) = (Handler.send.selector, Handler.withdraw.selector);
        (s[13], s[14]) = (Handler.claimNext.selector, Handler.claim.selector);
        (s[15], s[16]) = (Handler.fund.selector, Handler.collect.selector);
        (s[17], s[18]) = (Handler.stakeAgain.selector, Handler.exit.selector);
        (s[19], s[20]) = (Handler.slash.selector, Handler.setRates.selector);
        s[21] = Handler.proveAgain.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(_handler), s);
    }

    /// forge-config: default.invariant.fail-on-revert = true
    function invariant_the_chain_and_the_money_add_up() external view {
        require(bytes(_handler.broken()).length == 0, _handler.broken());
        _handler.checkToken();
        _handler.checkBonds();
        _handler.checkPay();
    }

    /// Goal: the handler reaches what the invariants are about. Method: one such history.
    function test_handler_proves_in_time_and_late_prunes_pays_and_slashes() external {
        _handler.deposit(1e9);
        _handler.propose(5, 5);
        _handler.propose(6, 6);
        _handler.prove(0, 0);
        _handler.proveAgain(0);
        _handler.proveWrongly(0, 2);
        for (uint256 i; i < 3; i++) {
            _handler.pass(38);
        }
        _handler.prove(1, 1);
        require(_handler.lateProofs() == 1, "late");
        _handler.withdraw(0);
        _handler.withdraw(0);
        _handler.claimNext(0);
        _handler.claimNext(0);
        _handler.fund(type(uint64).max);
        _handler.claim(8);
        _handler.propose(7, 7);
        _handler.exit(0);
        _handler.slash(0);
        for (uint256 i; i < 9; i++) {
            _handler.pass(79);
        }
        _handler.prune();
        _handler.exit(0);
        _handler.stakeAgain(0);
        _handler.collect();
        _handler.setRates(1e15);
        _handler.propose(8, 8);
        require(_handler.lastProven() == 2, "proven");
        require(_handler.prunes() == 1, "pruned");
        require(_handler.slashes() == 1 && _handler.withdrawals() == 1, "slashed, withdrawn");
        this.invariant_the_chain_and_the_money_add_up();
    }
}
