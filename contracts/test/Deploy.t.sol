// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Fixture} from "./Fixture.sol";

/// @notice Deployments that a test makes itself: what breaks every deployment fails these tests, and not only the
///         `setUp` of others.
contract DeployTest is Fixture {
    function setUp() public override {}

    function test_the_first_supply_is_the_holders() public {
        token = _deployToken(address(0xA), 123);
        assertEq(token.balanceOf(address(this)), 123, "holder");
        assertEq(token.totalSupply(), 123, "supply");
    }

    /// Both verifiers' keys are in the tree.
    function test_contracts_with_a_fixed_committee_are_accepted() public {
        Fixture.setUp();
        require(address(rollup.contracts().selection).code.length != 0, "committee");
        require(address(rollup.contracts().registry).code.length != 0, "registry");
        assertEq(rollup.blockRecord(0).archiveRoot, _parameters().genesisArchiveRoot, "genesis");
    }

    function test_contracts_with_stakers_are_accepted() public {
        isStaked = true;
        Fixture.setUp();
        assertEq(address(all.selection.TOKEN()), address(token), "stakes are in the token");
    }
}
