// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Tests cast what they have made, and a transfer that fails shows in what they compare.
// forge-lint: disable-start(unsafe-typecast, erc20-unchecked-transfer, incorrect-shift)

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";

import {IDataAvailability} from "../src/data/IDataAvailability.sol";
import {IBondVault} from "../src/economics/IBondVault.sol";
import {IFeePortal} from "../src/economics/IFeePortal.sol";
import {IRewards} from "../src/economics/IRewards.sol";
import {IRegistry} from "../src/governance/IRegistry.sol";
import {IInbox} from "../src/messages/IInbox.sol";
import {IOutbox} from "../src/messages/IOutbox.sol";
import {ISelection} from "../src/selection/ISelection.sol";
import {IStaking} from "../src/selection/IStaking.sol";
import {DaInput, IRollup} from "../src/IRollup.sol";
import "../src/Layout.sol" as Layout;
import {DataDouble, VerifierDouble} from "./Doubles.sol";
import {IAztToken, IDeployments, IHasher} from "./Interfaces.sol";
import {Test} from "./vm/Vm.sol";

/// @notice A whole deployment: four slots of ten seconds an epoch, a proof window of two epochs, a
///         challenge period of one, and one proposer, unless a test says otherwise.
abstract contract Fixture is Test {
    uint256 internal constant P =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;
    string internal constant VECTORS = "../protocol/tests/vectors/protocol2.json";
    // Where forge finds the contracts.
    string internal constant ROLLUP = "src/Rollup.sol:Rollup";
    string internal constant INBOX = "src/messages/Inbox.sol:Inbox";
    string internal constant OUTBOX = "src/messages/Outbox.sol:Outbox";
    string internal constant FEE_PORTAL = "src/economics/FeePortal.sol:FeePortal";
    string internal constant REWARDS = "src/economics/Rewards.sol:Rewards";
    string internal constant BOND_VAULT = "src/economics/BondVault.sol:BondVault";
    string internal constant STAKING = "src/selection/Staking.sol:Staking";
    string internal constant COMMITTEE = "src/selection/FixedCommittee.sol:FixedCommittee";
    string internal constant REGISTRY = "src/governance/Registry.sol:Registry";
    uint64 internal constant GENESIS = 1_700_000_000;
    uint256 internal constant SLOT = 10;
    uint64 internal constant SLOTS = 4;
    uint256 internal constant EPOCH = SLOT * SLOTS;
    uint256 internal constant BOND = 100e18;
    uint256 internal constant MANY = 1e30;
    address internal constant COINBASE = address(0xC0FFEE);
    address internal constant PROVER = address(0x9407E4);

    IHasher internal hasher;
    IAztToken internal token;
    IRollup internal rollup;
    IRollup.Contracts internal all;
    VerifierDouble internal one;
    VerifierDouble internal more;
    DataDouble internal data;
    IDataAvailability internal availability;
    /// Keys of the committee, in order.
    uint256[] internal keys;
    // What the next deployment takes. Committees are drawn out of stakers if `isStaked`, or else fixed.
    bool internal isStaked;
    uint32 internal slotsPerEpoch = uint32(SLOTS);
    uint32 internal proofWindow = uint32(2 * EPOCH);
    uint32 internal challenge = uint32(EPOCH);
    uint32 internal grace = 2 * uint32(SLOT);

    function setUp() public virtual {
        VM.warp(GENESIS);
        VM.roll(100);
        hasher = IHasher(VM.deployCode("Hasher.sol:Hasher"));
        token = _deployToken(address(this), MANY);
        _keys(1);
        _deploy(address(token));
    }

    /// A token whose first supply is this contract's.
    function _deployToken(address minter, uint256 supply) internal returns (IAztToken) {
        bytes memory args = abi.encode(minter, address(this), supply);
        return IAztToken(VM.deployCode("src/governance/AztToken.sol:AztToken", args));
    }

    function _deployList(address timelock) internal returns (IDeployments) {
        bytes memory args = abi.encode(token, timelock);
        return IDeployments(VM.deployCode("src/governance/Deployments.sol:Deployments", args));
    }

    /// Votes begin an hour after a proposal and last two days; four percent must take part.
    function _deployGovernor(IAztToken azt, address timelock, uint256 threshold)
        internal
        returns (IGovernor)
    {
        bytes memory args = abi.encode(azt, timelock, 1 hours, 2 days, threshold, 4);
        return IGovernor(payable(VM.deployCode("src/governance/Governance.sol:Governance", args)));
    }

    function _deployTimelock(address[] memory proposers, address[] memory executors)
        internal
        returns (address)
    {
        bytes memory args = abi.encode(1 days, proposers, executors, address(0));
        return VM.deployCode("TimelockController.sol:TimelockController", args);
    }

    function _keys(uint256 n) internal {
        delete keys;
        for (uint256 i; i < n; i++) {
            keys.push(0xA11CE + i);
        }
    }

    function _members() internal view returns (address[] memory members) {
        members = new address[](keys.length);
        for (uint256 i; i < keys.length; i++) {
            members[i] = VM.addr(keys[i]);
        }
    }

    /// Deploys all contracts but the token, each at its predicted address, and funds the members' bonds.
    function _deploy(address azt) internal {
        _deployVerifiers();
        data = new DataDouble();
        availability = _deployData();
        address selection = _deploySelection();
        _deployTied(azt, selection);
        if (azt == address(token)) _fundBonds();
    }

    function _deployVerifiers() internal {
        string memory json = VM.readFile(VECTORS);
        one = new VerifierDouble(VM.parseJsonBytes32(json, ".key_tree.digests[7]"));
        more = new VerifierDouble(VM.parseJsonBytes32(json, ".key_tree.digests[8]"));
    }

    /// Returns 0 if the selection is deployed after the Rollup, just before the Registry.
    function _deploySelection() internal virtual returns (address) {
        if (isStaked) return address(0);
        return VM.deployCode(COMMITTEE, abi.encode(_members()));
    }

    function _deployData() internal virtual returns (IDataAvailability) {
        return data;
    }

    function _deployTied(address azt, address selection) internal {
        _predictAll(VM.getNonce(address(this)) + 1, selection);
        IRollup.Parameters memory p = _parameters();
        p.contracts = all;
        rollup = IRollup(VM.deployCode(ROLLUP, abi.encode(p)));
        _deployOthers(azt, selection);
    }

    /// @param first Nonce of the first contract after the Rollup.
    function _predictAll(uint256 first, address selection) internal {
        all.dataAvailability = availability;
        all.inbox = IInbox(_predict(first));
        all.outbox = IOutbox(_predict(first + 1));
        all.feePortal = IFeePortal(_predict(first + 2));
        all.rewards = IRewards(_predict(first + 3));
        all.bondVault = IBondVault(_predict(first + 4));
        bool isFixed = selection != address(0);
        all.selection = ISelection(isFixed ? selection : _predict(first + 5));
        all.registry = IRegistry(_predict(isFixed ? first + 5 : first + 6));
    }

    function _deployOthers(address azt, address selection) internal {
        bytes memory tied = abi.encode(rollup, azt);
        VM.deployCode(INBOX, abi.encode(rollup));
        VM.deployCode(OUTBOX, abi.encode(rollup));
        VM.deployCode(FEE_PORTAL, tied);
        VM.deployCode(REWARDS, tied);
        VM.deployCode(BOND_VAULT, tied);
        if (selection == address(0)) VM.deployCode(STAKING, tied);
        VM.deployCode(REGISTRY, abi.encode(rollup, address(this), _rates()));
    }

    function _predict(uint256 nonce) internal view returns (address) {
        return VM.computeCreateAddress(address(this), nonce);
    }

    function _fundBonds() internal {
        token.approve(address(all.bondVault), MANY);
        address[] memory members = _members();
        for (uint256 i; i < members.length; i++) {
            all.bondVault.deposit(members[i], 1000 * BOND);
        }
    }

    function _config() internal view virtual returns (IRollup.Config memory c) {
        c.genesisTime = GENESIS;
        c.slotSeconds = uint32(SLOT);
        c.slotsPerEpoch = slotsPerEpoch;
        c.l2GasLimit = 3_200_000;
        c.l2GasTarget = 1_600_000;
        c.daGasLimit = 64_000;
        c.daGasTarget = 32_000;
        c.minFeePerGas = 1;
        c.messageSubtreeHeight = 6;
    }

    function _parameters() internal view virtual returns (IRollup.Parameters memory p) {
        string memory json = VM.readFile(VECTORS);
        p.genesisArchiveRoot = bytes32(uint256(0x9e));
        p.vkRoot = VM.parseJsonBytes32(json, ".key_tree.root");
        p.config = _config();
        p.oneBlock = _rootKey(json, one, "epoch_root_1");
        p.moreBlocks = _rootKey(json, more, "epoch_root_2");
        p.proofWindowSeconds = proofWindow;
        p.challengeSeconds = challenge;
        p.proofGraceSeconds = grace;
        p.maxUnprovenEpochs = 6;
    }

    function _rootKey(string memory json, VerifierDouble verifier, string memory role)
        private
        pure
        returns (IRollup.RootKey memory key)
    {
        key.verifier = verifier;
        string memory rows = string.concat(".key_tree.charged_rows.", role);
        key.chargedRows = uint64(VM.parseJsonUint(json, rows));
        string memory path = string.concat(".key_tree.", role, "_path");
        bytes32[] memory siblings = VM.parseJsonBytes32Array(json, path);
        for (uint256 i; i < 5; i++) {
            key.path[i] = siblings[i];
        }
    }

    function _rates() internal view virtual returns (IRegistry.Rates memory r) {
        r.feePerConstraint = 3e9;
        r.blockReward = 5e18;
        r.proposerBps = 7_000;
        r.attesterBps = 2_000;
        r.proverBps = 1_000;
        r.challengeShareBps = 5_000;
        r.committeeSize = 4;
        r.bondAmount = uint96(BOND);
        r.minStake = 1000e18;
    }

    // ------------------------------------------------------------ blocks

    function _time(uint256 slot) internal pure returns (uint256) {
        return GENESIS + slot * SLOT;
    }

    /// The block after `parent` in `slot`, without transactions.
    function _block(uint64 parent, uint48 slot)
        internal
        view
        returns (IRollup.ProposeArgs memory args)
    {
        args.blockNumber = parent + 1;
        args.slot = slot;
        args.previousArchiveRoot = rollup.blockRecord(parent).archiveRoot;
        args.archiveRoot = keccak256(abi.encode("archive", parent, slot)) >> 8;
        args.headerHash = keccak256(abi.encode("header", parent, slot)) >> 8;
        args.inHash = all.inbox.hashOf(parent + 1);
        args.coinbase = COINBASE;
        args.totalFees = 1000;
    }

    function _da(uint16 txCount) internal pure returns (DaInput memory d) {
        if (txCount == 0) return d;
        d.blobIndex = 1;
        d.z = 0x2222;
        d.y = (uint256(7) << 128) | 8;
        d.commitment =
            bytes.concat(bytes12(uint96(0xa1)), bytes12(uint96(0xa2)), bytes24(uint192(0xa3)));
        d.proof = new bytes(48);
    }

    /// The blob of the model's vectors, in place 0. Cheat codes for blobs last for one test function.
    function _blob() internal returns (DaInput memory d) {
        string memory json = VM.readFile(VECTORS);
        d.z = VM.parseJsonUint(json, ".blob.z");
        d.y = VM.parseJsonUint(json, ".blob.y");
        d.commitment = VM.parseJsonBytes(json, ".blob.commitment");
        d.proof = VM.parseJsonBytes(json, ".blob.proof");
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = VM.parseJsonBytes32(json, ".blob.versioned_hash");
        VM.blobhashes(hashes);
    }

    /// The link as the page states it, apart from the contract's own code.
    function _link(bytes32 chain, IRollup.ProposeArgs memory args, DaInput memory d)
        internal
        view
        returns (bytes32)
    {
        uint256[] memory w = new uint256[](12);
        w[0] = uint256(chain);
        w[1] = uint256(args.headerHash);
        w[2] = uint256(args.archiveRoot);
        w[3] = uint256(args.slot) + uint256(args.txCount) * 2 ** 48 + uint256(args.feePerL2Gas) * 2
            ** 64 + uint256(args.feePerDaGas) * 2 ** 128;
        w[4] = uint256(uint160(args.coinbase)) + uint256(args.l2GasUsed) * 2 ** 160;
        w[5] = uint256(args.totalFees) + uint256(args.daGasUsed) * 2 ** 128;
        w[6] = uint256(args.inHash);
        w[7] = uint256(args.outRoot);
        if (args.txCount != 0) {
            (uint256 c0, uint256 c1, uint256 c2) = _parts(d.commitment);
            w[8] = d.z;
            w[9] = d.y % 2 ** 128 + c0 * 2 ** 128;
            w[10] = d.y / 2 ** 128 + c1 * 2 ** 128;
            w[11] = c2;
        }
        return hasher.hash(10, w);
    }

    function _parts(bytes memory commitment)
        internal
        pure
        returns (uint256 c0, uint256 c1, uint256 c2)
    {
        for (uint256 i; i < 48; i++) {
            uint256 b = uint8(commitment[i]);
            if (i < 12) c0 = c0 * 256 + b;
            else if (i < 24) c1 = c1 * 256 + b;
            else c2 = c2 * 256 + b;
        }
    }

    /// Signatures of the fixture's members in `bitmap`, addresses of the others.
    function _attest(uint256 bitmap, bytes32 digest)
        internal
        view
        returns (IRollup.Attestations memory)
    {
        return _attestBy(_members(), bitmap, digest);
    }

    /// The same of a committee out of the fixture's members, in any order.
    function _attestBy(address[] memory committee, uint256 bitmap, bytes32 digest)
        internal
        view
        returns (IRollup.Attestations memory a)
    {
        a.bitmap = bitmap;
        for (uint256 i; i < committee.length; i++) {
            a.signaturesOrAddresses = bytes.concat(
                a.signaturesOrAddresses,
                (bitmap >> i) & 1 == 1
                    ? _signature(_keyOf(committee[i]), digest)
                    : abi.encodePacked(committee[i])
            );
        }
    }

    function _keyOf(address member) internal view returns (uint256) {
        for (uint256 i; i < keys.length; i++) {
            if (VM.addr(keys[i]) == member) return keys[i];
        }
        revert("not a member");
    }

    function _signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _everyone() internal view returns (uint256) {
        return (1 << keys.length) - 1;
    }

    function _attested(IRollup.ProposeArgs memory args, DaInput memory d)
        internal
        view
        returns (IRollup.Attestations memory)
    {
        bytes32 before = rollup.blockRecord(args.blockNumber - 1).chain;
        bytes32 chain = _link(before, args, d);
        return _attest(_everyone(), rollup.blockDigest(args.blockNumber, args.slot, chain));
    }

    /// Proposes these arguments with everybody's signature.
    function _submit(IRollup.ProposeArgs memory args) internal {
        DaInput memory d = _da(args.txCount);
        IRollup.Attestations memory a = _attested(args, d);
        rollup.propose(args, a, d);
    }

    /// Proposes the next block in `slot`, at that slot's start.
    function _propose(uint48 slot) internal {
        VM.warp(_time(slot));
        _submit(_block(_parent(), slot));
    }

    /// The tip that `propose` will build on.
    function _parent() internal view returns (uint64) {
        IRollup.Tips memory t = rollup.tips();
        (,, bool pruneDue) = rollup.deadlines(0);
        return pruneDue ? t.proven : t.pending;
    }

    // ------------------------------------------------------------ proofs

    function _range(uint64 epoch, uint64 last, uint64 work)
        internal
        pure
        returns (IRollup.EpochArgs memory args)
    {
        args.epoch = epoch;
        args.lastBlock = last;
        args.prover = PROVER;
        args.numConstraints = work;
        for (uint256 i; i < 10; i++) {
            args.pair[i] = 1000 + i;
        }
    }

    function _prove(uint64 epoch, uint64 last, uint64 work) internal {
        rollup.submitEpochProof(_range(epoch, last, work), "proof");
    }

    function _end(uint256 epoch) internal pure returns (uint256) {
        return GENESIS + (epoch + 1) * EPOCH;
    }

    function _windowEnd(uint256 epoch) internal pure returns (uint256) {
        return _end(epoch) + 2 * EPOCH;
    }

    function _challengeEnd(uint256 epoch) internal pure returns (uint256) {
        return _windowEnd(epoch) + EPOCH;
    }

    function _free(address who) internal view returns (uint256 free) {
        (free,) = all.bondVault.balanceOf(who);
    }

    function _locked(address who) internal view returns (uint256 locked) {
        (, locked) = all.bondVault.balanceOf(who);
    }
}

/// @notice A deployment whose committees are drawn out of stakers.
abstract contract StakedFixture is Fixture {
    uint256 internal constant STAKE = 1000e18;

    constructor() {
        isStaked = true;
    }

    function _vote(uint256 key, uint64 number, uint64 slot, bytes32 chain)
        internal
        view
        returns (IStaking.Vote memory v)
    {
        (v.number, v.slot, v.chain) = (number, slot, chain);
        v.signature = _signature(key, rollup.blockDigest(number, slot, chain));
    }
}
