// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IInbox} from "../src/messages/IInbox.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IRollup} from "../src/IRollup.sol";
import {IVerifier} from "../src/IVerifier.sol";
import {VerifierDouble} from "./Doubles.sol";
import {Fixture} from "./Fixture.sol";

/// @notice The bounds of the constructors, and how contracts are tied.
contract ParametersTest is Fixture {
    function _with() private view returns (IRollup.Parameters memory p) {
        p = _parameters();
        p.contracts = all;
    }

    function _try(IRollup.Parameters memory p) private returns (IRollup) {
        return IRollup(VM.deployCode(ROLLUP, abi.encode(p)));
    }

    function _rejects(string memory name, IRollup.Parameters memory p) private {
        _expectRejected(
            ROLLUP,
            abi.encode(p),
            abi.encodeWithSelector(IRollup.ParameterOutOfRange.selector, name)
        );
    }

    function test_config_is_bounded() public {
        IRollup.Parameters memory p = _with();
        p.genesisArchiveRoot = bytes32(P);
        _rejects("genesisArchiveRoot", p);
        p = _with();
        p.vkRoot = bytes32(P);
        _rejects("vkRoot", p);
        p = _with();
        p.config.genesisTime = 1 << 40;
        _rejects("genesisTime", p);
        p = _with();
        p.config.slotSeconds = 0;
        _rejects("slotSeconds", p);
        p.config.slotSeconds = 1 << 16;
        _rejects("slotSeconds", p);
        p = _with();
        p.config.slotsPerEpoch = 0;
        _rejects("slotsPerEpoch", p);
        p.config.slotsPerEpoch = 1025;
        _rejects("slotsPerEpoch", p);
        p = _with();
        p.config.minFeePerGas = 0;
        _rejects("minFeePerGas", p);
        p.config.minFeePerGas = (1 << 40) + 1;
        _rejects("minFeePerGas", p);
        p = _with();
        p.config.messageSubtreeHeight = 5;
        _rejects("messageSubtreeHeight", p);
        p.config.messageSubtreeHeight = 7;
        _rejects("messageSubtreeHeight", p);
    }

    function test_gas_is_bounded() public {
        IRollup.Parameters memory p = _with();
        p.config.l2GasTarget = 1;
        p.config.l2GasLimit = 99_999;
        _rejects("l2Gas", p);
        p.config.l2GasLimit = 3_200_001;
        _rejects("l2Gas", p);
        p = _with();
        p.config.l2GasTarget = 0;
        _rejects("l2Gas", p);
        p.config.l2GasTarget = p.config.l2GasLimit + 1;
        _rejects("l2Gas", p);
        p = _with();
        p.config.daGasTarget = 1;
        p.config.daGasLimit = 1_999;
        _rejects("daGas", p);
        p.config.daGasLimit = 64_001;
        _rejects("daGas", p);
        p = _with();
        p.config.daGasTarget = 0;
        _rejects("daGas", p);
        p.config.daGasTarget = p.config.daGasLimit + 1;
        _rejects("daGas", p);
    }

    function test_times_are_bounded() public {
        IRollup.Parameters memory p = _with();
        p.proofWindowSeconds = uint32(SLOT) - 1;
        _rejects("proofWindowSeconds", p);
        p = _with();
        p.challengeSeconds = uint32(SLOT) - 1;
        _rejects("challengeSeconds", p);
        p = _with();
        p.proofGraceSeconds = uint32(SLOT) - 1;
        _rejects("proofGraceSeconds", p);
        p.proofGraceSeconds = p.challengeSeconds + 1;
        _rejects("proofGraceSeconds", p);
        p = _with();
        p.maxUnprovenEpochs = 1;
        _rejects("maxUnprovenEpochs", p);
        p.maxUnprovenEpochs = 129;
        _rejects("maxUnprovenEpochs", p);
    }

    function test_the_bounds_themselves_are_accepted() public {
        IRollup.Parameters memory p = _with();
        p.config.genesisTime = (1 << 40) - 1;
        p.config.slotSeconds = 1;
        p.config.slotsPerEpoch = 1024;
        p.config.l2GasLimit = p.config.l2GasTarget = 100_000;
        p.config.daGasLimit = p.config.daGasTarget = 2_000;
        p.config.minFeePerGas = 1 << 40;
        p.proofWindowSeconds = p.challengeSeconds = p.proofGraceSeconds = 1;
        p.maxUnprovenEpochs = 2;
        _try(p);
        p.config.slotSeconds = (1 << 16) - 1;
        p.proofWindowSeconds = p.challengeSeconds = p.proofGraceSeconds = (1 << 16) - 1;
        p.config.l2GasLimit = 3_200_000;
        p.config.daGasLimit = 64_000;
        p.config.l2GasTarget = p.config.daGasTarget = 1;
        p.maxUnprovenEpochs = 128;
        IRollup other = _try(p);
        require(keccak256(abi.encode(other.contracts())) == keccak256(abi.encode(all)), "contracts");
        IRollup.Schedule memory s = other.schedule();
        assertEq(s.genesisTime, p.config.genesisTime, "genesis");
        assertEq(s.slotSeconds, p.config.slotSeconds, "slot");
        assertEq(s.slotsPerEpoch, 1024, "epoch");
        assertEq(s.proofWindowSeconds, p.proofWindowSeconds, "window");
        assertEq(s.challengeSeconds, p.challengeSeconds, "challenge");
        assertEq(s.proofGraceSeconds, p.proofGraceSeconds, "grace");
        assertEq(s.maxUnprovenEpochs, 128, "epochs");
        (IVerifier a, IVerifier b) = other.verifiers();
        require(address(a) == address(one) && address(b) == address(more), "verifiers");
    }

    function test_verifiers_must_have_the_keys_of_the_tree() public {
        for (uint256 i; i < 6; i++) {
            IRollup.Parameters memory p = _with();
            if (i == 0) (p.oneBlock.verifier, p.moreBlocks.verifier) = (more, one);
            if (i == 1) p.oneBlock.chargedRows++;
            if (i == 2) p.moreBlocks.chargedRows++;
            if (i == 3) p.oneBlock.path[4] = 0;
            if (i == 4) p.moreBlocks.path[1] = 0;
            if (i == 5) p.oneBlock.verifier = new VerifierDouble(bytes32(uint256(5)));
            bytes memory answer = _rejection(ROLLUP, abi.encode(p));
            require(bytes4(answer) == IRollup.KeyNotInTree.selector, "error");
        }
    }

    /// A contract that the Rollup does not name cannot be deployed, so a completed deployment is tied.
    function test_each_contract_requires_that_the_rollup_names_it() public {
        bytes memory tied = abi.encode(rollup, token);
        _notTied(INBOX, abi.encode(rollup));
        _notTied(OUTBOX, abi.encode(rollup));
        _notTied(FEE_PORTAL, tied);
        _notTied(REWARDS, tied);
        _notTied(BOND_VAULT, tied);
        _notTied(STAKING, tied);
        _notTied(REGISTRY, abi.encode(rollup, address(this), _rates()));
    }

    function _notTied(string memory artifact, bytes memory args) private {
        _expectRejected(
            artifact, args, abi.encodeWithSelector(IInbox.NotTied.selector, address(rollup))
        );
    }

    /// Goal: a deployment with a Registry is complete. Method: leave each contract out in turn.
    function test_registry_requires_every_contract() public {
        VM.warp(GENESIS);
        address[7] memory parts = [
            address(all.dataAvailability),
            address(all.selection),
            address(all.inbox),
            address(all.outbox),
            address(all.feePortal),
            address(all.rewards),
            address(all.bondVault)
        ];
        for (uint256 i; i < 7; i++) {
            bytes memory kept = parts[i].code;
            VM.etch(parts[i], "");
            _registry(abi.encodeWithSelector(IRegistry.ContractMissing.selector, parts[i]));
            VM.etch(parts[i], kept);
        }
        // Two tokens in one deployment.
        bytes memory code = parts[5].code;
        VM.etch(parts[5], address(new OtherToken()).code);
        _registry(abi.encodeWithSelector(IRegistry.TokenWrong.selector, address(token), address(1)));
        VM.etch(parts[5], code);
        code = parts[6].code;
        VM.etch(parts[6], address(new OtherToken()).code);
        _registry(abi.encodeWithSelector(IRegistry.TokenWrong.selector, address(token), address(1)));
        VM.etch(parts[6], code);
        // Stakes in another token; a committee without stakes, as the fixture's, has none.
        VM.etch(parts[1], address(new OtherToken()).code);
        _registry(abi.encodeWithSelector(IRegistry.TokenWrong.selector, address(token), address(1)));
    }

    function test_registry_requires_a_timelock_with_code() public {
        VM.warp(GENESIS);
        _timelock = address(0xB0B);
        _registry(abi.encodeWithSelector(IRegistry.ContractMissing.selector, _timelock));
    }

    address private _timelock = address(this);

    /// Runs the Registry's creation code at its address.
    function _registry(bytes memory revertData) private {
        address where = address(all.registry);
        bytes memory kept = where.code;
        VM.etch(where, bytes.concat(VM.getCode(REGISTRY), abi.encode(rollup, _timelock, _rates())));
        (bool done, bytes memory answer) = where.call("");
        VM.etch(where, kept);
        require(!done, "deployed");
        assertEq(keccak256(answer), keccak256(revertData), "error");
    }

    /// Forge takes no chain id of 2^64 and more, so this is about the largest that the bound allows.
    function test_chain_id_fits_64_bits() public {
        IRollup.Parameters memory p = _with();
        VM.chainId(type(uint64).max);
        _try(p);
    }
}

contract OtherToken {
    function TOKEN() external pure returns (address) {
        return address(1);
    }
}
