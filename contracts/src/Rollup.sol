// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IDataAvailability} from "./data/IDataAvailability.sol";
import {IBondVault} from "./economics/IBondVault.sol";
import {IFeePortal} from "./economics/IFeePortal.sol";
import {IRewards} from "./economics/IRewards.sol";
import {IRegistry} from "./governance/IRegistry.sol";
import {IInbox} from "./messages/IInbox.sol";
import {IOutbox} from "./messages/IOutbox.sol";
import {Poseidon2} from "./Poseidon2.sol";
import {ISelection} from "./selection/ISelection.sol";
import {Formats} from "./Formats.sol";
import {DaInput, IRollup} from "./IRollup.sol";
import {IVerifier} from "./IVerifier.sol";
import "./Layout.sol" as Layout;

/// @title The chain of blocks and its proofs.
/// @dev All parameters are immutable and nobody owns the contract. What changes a rule is another
///      deployment; rates are read from the Registry at use. It calls contracts of its own deployment
///      only, and none of them calls an account or the token within such a call.
contract Rollup is IRollup {
    /// @notice Bit of an epoch's state: a proof came late.
    uint8 public constant STATE_LATE = 1;
    /// @notice Bit of an epoch's state: the bond is settled.
    uint8 public constant STATE_SETTLED = 2;
    uint256 private constant BPS = 10_000;
    bytes32 private constant DOMAIN_TYPE = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    bytes32 private constant NAME_HASH = keccak256("Rollmill");
    bytes32 private constant VERSION_HASH = keccak256("2");
    bytes32 private constant BLOCK_TYPE =
        keccak256("Block(uint64 number,uint64 slot,bytes32 chain)");

    IDataAvailability private immutable _DATA;
    ISelection private immutable _SELECTION;
    IInbox private immutable _INBOX;
    IRewards private immutable _REWARDS;
    IBondVault private immutable _BOND_VAULT;
    IRegistry private immutable _REGISTRY;
    IOutbox private immutable _OUTBOX;
    IFeePortal private immutable _FEE_PORTAL;
    IVerifier private immutable _ONE_BLOCK;
    IVerifier private immutable _MORE_BLOCKS;

    bytes32 private immutable _VK_ROOT;
    bytes32 private immutable _CONFIG_HASH;
    uint64 private immutable _VERSION;
    uint64 private immutable _GENESIS_TIME;
    uint32 private immutable _SLOT_SECONDS;
    uint32 private immutable _SLOTS_PER_EPOCH;
    uint32 private immutable _PROOF_WINDOW;
    uint32 private immutable _CHALLENGE;
    uint32 private immutable _PROOF_GRACE;
    uint16 private immutable _MAX_UNPROVEN_EPOCHS;

    Tips private _tips;
    /// @dev Records above the pending tip are leftovers of pruned blocks, and no getter shows them.
    mapping(uint256 number => BlockRecord) private _blocks;
    mapping(uint256 epoch => EpochRecord) private _epochs;

    constructor(Parameters memory p) {
        Formats.checkParameters(p);
        _DATA = p.contracts.dataAvailability;
        _SELECTION = p.contracts.selection;
        _INBOX = p.contracts.inbox;
        _REWARDS = p.contracts.rewards;
        _BOND_VAULT = p.contracts.bondVault;
        _REGISTRY = p.contracts.registry;
        _OUTBOX = p.contracts.outbox;
        _FEE_PORTAL = p.contracts.feePortal;
        _ONE_BLOCK = p.oneBlock.verifier;
        _MORE_BLOCKS = p.moreBlocks.verifier;
        _VK_ROOT = p.vkRoot;
        _CONFIG_HASH = Formats.configHash(p.config);
        _VERSION = uint64(
            bytes8(keccak256(abi.encode(block.chainid, address(this), p.vkRoot, _CONFIG_HASH)))
        );
        _GENESIS_TIME = p.config.genesisTime;
        _SLOT_SECONDS = p.config.slotSeconds;
        _SLOTS_PER_EPOCH = p.config.slotsPerEpoch;
        _PROOF_WINDOW = p.proofWindowSeconds;
        _CHALLENGE = p.challengeSeconds;
        _PROOF_GRACE = p.proofGraceSeconds;
        _MAX_UNPROVEN_EPOCHS = p.maxUnprovenEpochs;
        // Genesis is in slot 0, and chain, out root, coinbase and fees are 0.
        _blocks[0].archiveRoot = p.genesisArchiveRoot;
        _blocks[0].l1Block = SafeCast.toUint48(block.number);
    }

    /// @inheritdoc IRollup
    /// @dev The slot must be the current one: a block for an earlier slot would belong to an epoch whose
    ///      deadlines run already. Rules that need no other contract come first, so that a late
    ///      proposal costs little. Header hash and archive root are taken on trust, because the link
    ///      contains them and the epoch's proof opens every link.
    function propose(
        ProposeArgs calldata args,
        Attestations calldata attestations,
        DaInput calldata data
    ) external {
        if (_pruneDue()) _prune();
        Tips memory t = _tips;
        BlockRecord storage previous = _blocks[t.pending];
        uint64 current = currentSlot();
        if (args.slot != current) revert SlotNotCurrent(current, args.slot);
        if (args.slot <= previous.slot) revert SlotOutOfOrder(previous.slot, args.slot);
        if (args.blockNumber != t.pending + 1) {
            revert BlockOutOfOrder(t.pending + 1, args.blockNumber);
        }
        if (args.previousArchiveRoot != previous.archiveRoot) {
            revert PreviousArchiveRootWrong(previous.archiveRoot, args.previousArchiveRoot);
        }
        Poseidon2.requireCanonical(uint256(args.archiveRoot));
        Poseidon2.requireCanonical(uint256(args.headerHash));
        Poseidon2.requireCanonical(uint256(args.outRoot));
        Poseidon2.requireCanonical(data.z);
        if (args.txCount > Layout.MAX_TXS) {
            revert TooManyTransactions(Layout.MAX_TXS, args.txCount);
        }
        uint64 epoch = args.slot / _SLOTS_PER_EPOCH;
        uint64 oldest = _oldestUnproven(t, epoch);
        if (epoch - oldest >= _MAX_UNPROVEN_EPOCHS) revert TooManyUnprovenEpochs(oldest, epoch);

        bytes32 inHash = _INBOX.consume(args.blockNumber);
        if (inHash != args.inHash) revert InHashWrong(inHash, args.inHash);
        bytes32 versionedHash = _commit(args.txCount, data);
        bytes32 chain = Formats.link(previous.chain, args, data);
        (address proposer, uint64 signers) = _SELECTION.attest(
            epoch, args.slot, blockDigest(args.blockNumber, args.slot, chain), attestations
        );
        _extendEpoch(epoch, SafeCast.toUint48(args.blockNumber), proposer);
        _record(args, chain, signers);
        _emitProposed(args, data, chain, versionedHash, signers, proposer);
    }

    /// @inheritdoc IRollup
    /// @dev The verifier is called before any state changes, and by STATICCALL. When a prune is due, no
    ///      proof is acceptable: the oldest unproven epoch is past its challenge period, and later ones
    ///      wait for it.
    function submitEpochProof(EpochArgs calldata args, bytes calldata proof) external {
        (uint256 windowEnd, uint256 challengeEnd) = _deadlines(args.epoch);
        if (block.timestamp > challengeEnd) {
            revert ChallengeOver(args.epoch, challengeEnd, block.timestamp);
        }
        bytes32[] memory inputs = publicInputs(args);
        EpochRecord memory e = _epochs[args.epoch];
        IVerifier verifier = args.lastBlock == e.firstBlock ? _ONE_BLOCK : _MORE_BLOCKS;
        if (!verifier.verify(proof, inputs)) revert ProofRejected(args.epoch, args.lastBlock);
        // The circuits prove that work grows with every block.
        if (args.numConstraints <= e.constraintsPaid) {
            revert WorkNotGrowing(e.constraintsPaid, args.numConstraints);
        }
        uint64 delta = args.numConstraints - e.constraintsPaid;
        uint48 firstAdded = e.lastProven == 0 ? e.firstBlock : e.lastProven + 1;
        bool late = block.timestamp > Math.max(windowEnd, _graceEnd(e.firstBlock));

        e.lastProven = SafeCast.toUint48(args.lastBlock);
        e.constraintsPaid = args.numConstraints;
        if (e.lastProven == e.lastBlock) e.completedAt = SafeCast.toUint40(block.timestamp);
        if (late) e.state |= STATE_LATE;
        _epochs[args.epoch] = e;
        _tips.proven = e.lastProven;
        _tips.provenEpoch = SafeCast.toUint48(args.epoch);
        emit EpochProven(
            args.epoch, e.firstBlock, firstAdded, e.lastProven, args.prover, delta, late
        );
        _REWARDS.recordProver(args.epoch, args.prover);
        if (late) _share(args.epoch, e, args.prover, e.lastProven - firstAdded + 1);
        _settle(args.epoch);
    }

    /// @inheritdoc IRollup
    function prune() external {
        if (!_pruneDue()) revert NothingToPrune();
        _prune();
    }

    /// @inheritdoc IRollup
    function settle(uint64 epoch) external {
        if (!_settle(epoch)) revert NothingToSettle(epoch);
    }

    // ------------------------------------------------------------ views

    /// @inheritdoc IRollup
    function publicInputs(EpochArgs calldata args) public view returns (bytes32[] memory inputs) {
        EpochRecord memory e = _epochs[args.epoch];
        if (e.firstBlock == 0) revert EpochWithoutBlocks(args.epoch);
        uint48 proven = _tips.proven;
        if (e.firstBlock - 1 > proven) revert EpochBeforeNotProven(e.firstBlock, proven);
        uint48 earliest = e.lastProven == 0 ? e.firstBlock : e.lastProven + 1;
        if (args.lastBlock < earliest || args.lastBlock > e.lastBlock) {
            revert RangeEndWrong(earliest, e.lastBlock, args.lastBlock);
        }
        BlockRecord storage before = _blocks[e.firstBlock - 1];
        BlockRecord storage end = _blocks[args.lastBlock];

        inputs = new bytes32[](Layout.EPOCH_WORDS);
        inputs[Layout.EPOCH_CHAIN_ID] = bytes32(block.chainid);
        inputs[Layout.EPOCH_VERSION] = bytes32(uint256(_VERSION));
        inputs[Layout.EPOCH_VK_ROOT] = _VK_ROOT;
        inputs[Layout.EPOCH_PROTOCOL_VERSION] = bytes32(Layout.PROTOCOL_VERSION);
        inputs[Layout.EPOCH_CONFIG_HASH] = _CONFIG_HASH;
        inputs[Layout.EPOCH_PROVER_ID] = bytes32(uint256(uint160(args.prover)));
        inputs[Layout.EPOCH_PREV_ARCHIVE_ROOT] = before.archiveRoot;
        inputs[Layout.EPOCH_END_ARCHIVE_ROOT] = end.archiveRoot;
        inputs[Layout.EPOCH_FIRST_BLOCK] = bytes32(uint256(e.firstBlock));
        inputs[Layout.EPOCH_LAST_BLOCK] = bytes32(uint256(args.lastBlock));
        inputs[Layout.EPOCH_EPOCH] = bytes32(uint256(args.epoch));
        inputs[Layout.EPOCH_CHAIN_START] = before.chain;
        inputs[Layout.EPOCH_CHAIN_END] = end.chain;
        inputs[Layout.EPOCH_NUM_CONSTRAINTS] = bytes32(uint256(args.numConstraints));
        for (uint256 i; i < Layout.PAIR_WORDS; i++) {
            uint256 word = args.pair[i];
            // One word of each side is a scalar, the others are halves of coordinates.
            if (i % Layout.PAIR_R_X_LO == Layout.PAIR_S_L) Poseidon2.requireCanonical(word);
            else if (word > type(uint128).max) revert Poseidon2.NotCanonical(word);
            inputs[Layout.EPOCH_PAIR + i] = bytes32(word);
        }
    }

    /// @inheritdoc IRollup
    function blockDigest(uint64 number, uint64 slot, bytes32 chain) public view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, NAME_HASH, VERSION_HASH, block.chainid, address(this))
        );
        bytes32 message = keccak256(abi.encode(BLOCK_TYPE, number, slot, chain));
        return MessageHashUtils.toTypedDataHash(domain, message);
    }

    /// @inheritdoc IRollup
    function tips() external view returns (Tips memory) {
        return _tips;
    }

    /// @inheritdoc IRollup
    function currentSlot() public view returns (uint64) {
        if (block.timestamp < _GENESIS_TIME) return 0;
        return SafeCast.toUint64((block.timestamp - _GENESIS_TIME) / _SLOT_SECONDS);
    }

    /// @inheritdoc IRollup
    function deadlines(uint64 epoch)
        external
        view
        returns (uint256 windowEnd, uint256 challengeEnd, bool pruneDue)
    {
        (windowEnd, challengeEnd) = _deadlines(epoch);
        pruneDue = _pruneDue();
    }

    /// @inheritdoc IRollup
    function canPropose(uint64 slot, address who) external view returns (bool) {
        Tips memory t = _tips;
        (uint256 free,) = _BOND_VAULT.balanceOf(who);
        if (_pruneDue()) {
            // A proposal would prune first, which returns the bonds of the later epochs.
            uint64 last = _blocks[t.pending].slot / _SLOTS_PER_EPOCH;
            for (uint64 e = _oldestUnproven(t, 0) + 1; e <= last; e++) {
                if (_epochs[e].bondPoster == who) free += _epochs[e].bond;
            }
            t.pending = t.proven;
        }
        uint64 epoch = slot / _SLOTS_PER_EPOCH;
        if (slot < currentSlot() || slot <= _blocks[t.pending].slot) return false;
        if (epoch - _oldestUnproven(t, epoch) >= _MAX_UNPROVEN_EPOCHS) return false;
        // Nobody's slot is nobody's, not the zero address's.
        if (who == address(0) || _SELECTION.proposerOf(slot) != who) return false;
        bool opens = t.pending == 0 || _blocks[t.pending].slot / _SLOTS_PER_EPOCH != epoch;
        return !opens || free >= _REGISTRY.bondAmount();
    }

    /// @inheritdoc IRollup
    function blockRecord(uint64 number) external view returns (BlockRecord memory) {
        uint48 pending = _tips.pending;
        if (number > pending) revert BlockUnknown(pending, number);
        return _blocks[number];
    }

    /// @inheritdoc IRollup
    function epochRecord(uint64 epoch) external view returns (EpochRecord memory) {
        return _epochs[epoch];
    }

    /// @inheritdoc IRollup
    function provenOut(uint64 number) external view returns (bytes32 outRoot, uint16 txCount) {
        BlockRecord storage b = _proven(number);
        return (b.outRoot, b.txCount);
    }

    /// @inheritdoc IRollup
    function provenFees(uint64 number)
        external
        view
        returns (address coinbase, uint48 slot, uint128 totalFees, uint64 signers)
    {
        BlockRecord storage b = _proven(number);
        return (b.coinbase, b.slot, b.totalFees, b.signers);
    }

    /// @inheritdoc IRollup
    function contracts() external view returns (Contracts memory) {
        return Contracts({
            dataAvailability: _DATA,
            selection: _SELECTION,
            inbox: _INBOX,
            outbox: _OUTBOX,
            feePortal: _FEE_PORTAL,
            rewards: _REWARDS,
            bondVault: _BOND_VAULT,
            registry: _REGISTRY
        });
    }

    /// @inheritdoc IRollup
    function schedule() external view returns (Schedule memory) {
        return Schedule({
            genesisTime: _GENESIS_TIME,
            slotSeconds: _SLOT_SECONDS,
            slotsPerEpoch: _SLOTS_PER_EPOCH,
            proofWindowSeconds: _PROOF_WINDOW,
            challengeSeconds: _CHALLENGE,
            proofGraceSeconds: _PROOF_GRACE,
            maxUnprovenEpochs: _MAX_UNPROVEN_EPOCHS
        });
    }

    /// @inheritdoc IRollup
    function vkRoot() external view returns (bytes32) {
        return _VK_ROOT;
    }

    /// @inheritdoc IRollup
    function verifiers() external view returns (IVerifier, IVerifier) {
        return (_ONE_BLOCK, _MORE_BLOCKS);
    }

    /// @inheritdoc IRollup
    function version() external view returns (uint64) {
        return _VERSION;
    }

    /// @inheritdoc IRollup
    function configHash() external view returns (bytes32) {
        return _CONFIG_HASH;
    }

    // ------------------------------------------------------------ inside

    /// @dev A block without transactions has no data, and one encoding of that.
    function _commit(uint16 txCount, DaInput calldata data) private view returns (bytes32) {
        if (txCount != 0) {
            // The link takes the commitment apart, whatever source of data checks it.
            if (data.commitment.length != Formats.COMMITMENT_BYTES) {
                revert CommitmentLengthWrong(data.commitment.length);
            }
            return _DATA.commit(data);
        }
        if (data.blobIndex | data.z | data.y | data.commitment.length | data.proof.length != 0) {
            revert DataWithoutTransactions();
        }
        return 0;
    }

    /// @dev The epoch of the first unproven block, or `epoch` if there is none.
    function _oldestUnproven(Tips memory t, uint64 epoch) private view returns (uint64) {
        return t.pending == t.proven ? epoch : _blocks[t.proven + 1].slot / _SLOTS_PER_EPOCH;
    }

    function _extendEpoch(uint64 epoch, uint48 number, address proposer) private {
        EpochRecord storage e = _epochs[epoch];
        if (e.firstBlock != 0) {
            e.lastBlock = number;
            return;
        }
        uint96 bond = _REGISTRY.bondAmount();
        (e.firstBlock, e.lastBlock) = (number, number);
        (e.bondPoster, e.bond) = (proposer, bond);
        _BOND_VAULT.lock(epoch, proposer, bond);
    }

    function _record(ProposeArgs calldata args, bytes32 chain, uint64 signers) private {
        _blocks[args.blockNumber] = BlockRecord({
            archiveRoot: args.archiveRoot,
            chain: chain,
            outRoot: args.outRoot,
            coinbase: args.coinbase,
            slot: args.slot,
            l1Block: SafeCast.toUint48(block.number),
            totalFees: args.totalFees,
            signers: signers,
            txCount: args.txCount
        });
        _tips.pending = SafeCast.toUint48(args.blockNumber);
    }

    function _emitProposed(
        ProposeArgs calldata args,
        DaInput calldata data,
        bytes32 chain,
        bytes32 versionedHash,
        uint64 signers,
        address proposer
    ) private {
        emit BlockProposed(
            args.blockNumber,
            args.archiveRoot,
            args.headerHash,
            chain,
            args.slot,
            args.coinbase,
            args.totalFees,
            args.txCount,
            versionedHash,
            data.z,
            data.y,
            data.commitment,
            args.inHash,
            args.outRoot,
            signers,
            proposer
        );
    }

    /// @dev A proof is in time for some while after the epoch before was completed, so that a late proof
    ///      of that one does not cost an honest poster its bond. Genesis is proven from the start.
    function _graceEnd(uint48 firstBlock) private view returns (uint256) {
        if (firstBlock == 1) return 0;
        uint64 before = _blocks[firstBlock - 1].slot / _SLOTS_PER_EPOCH;
        return uint256(_epochs[before].completedAt) + _PROOF_GRACE;
    }

    /// @dev The share of a whole epoch, for the part that this proof added. The epoch is over, so its
    ///      number of blocks is final, and the parts of all late proofs are at most the share.
    function _share(uint64 epoch, EpochRecord memory e, address prover, uint256 added) private {
        uint256 blocks = uint256(e.lastBlock) - e.firstBlock + 1;
        uint256 amount = uint256(e.bond) * _REGISTRY.challengeShareBps() * added / (BPS * blocks);
        _BOND_VAULT.share(epoch, e.bondPoster, prover, SafeCast.toUint96(amount));
    }

    function _settle(uint64 epoch) private returns (bool) {
        EpochRecord memory e = _epochs[epoch];
        if (
            e.firstBlock == 0 || e.lastProven != e.lastBlock || e.state & STATE_SETTLED != 0
                || block.timestamp < _end(epoch)
        ) return false;
        _close(epoch, e, e.state & STATE_LATE != 0);
        return true;
    }

    /// @dev The epoch's longest proof is known now, so that one is paid. A shorter one that was overtaken did
    ///      work which the longer one repeated, and would earn for taking that one's pay away.
    function _close(uint64 epoch, EpochRecord memory e, bool bondIsLost) private {
        _epochs[epoch].state = e.state | STATE_SETTLED;
        emit EpochSettled(epoch);
        _REWARDS.payEpoch(epoch, e.constraintsPaid);
        if (bondIsLost) _BOND_VAULT.forfeit(epoch, e.bondPoster, e.bond);
        else _BOND_VAULT.release(epoch, e.bondPoster, e.bond);
    }

    /// @dev Whether the oldest unproven epoch is past its challenge period.
    function _pruneDue() private view returns (bool) {
        Tips memory t = _tips;
        if (t.pending == t.proven) return false;
        (, uint256 challengeEnd) = _deadlines(_oldestUnproven(t, 0));
        return block.timestamp > challengeEnd;
    }

    /// @dev Takes back every block that is not proven. The oldest unproven epoch loses its bond and keeps
    ///      the record of its proven part; later ones get theirs back and lose their record. Each costs
    ///      a few words, and `maxUnprovenEpochs` bounds their number.
    function _prune() private {
        Tips memory t = _tips;
        uint64 first = _oldestUnproven(t, 0);
        uint64 last = _blocks[t.pending].slot / _SLOTS_PER_EPOCH;
        _tips.pending = t.proven;
        emit Pruned(first, t.proven, t.pending);

        EpochRecord memory e = _epochs[first];
        if (e.lastProven == 0) {
            delete _epochs[first];
            _BOND_VAULT.forfeit(first, e.bondPoster, e.bond);
        } else {
            _epochs[first].lastBlock = e.lastProven;
            _epochs[first].completedAt = SafeCast.toUint40(block.timestamp);
            _close(first, e, true);
        }
        for (uint64 epoch = first + 1; epoch <= last; epoch++) {
            e = _epochs[epoch];
            if (e.firstBlock == 0) continue;
            delete _epochs[epoch];
            _BOND_VAULT.release(epoch, e.bondPoster, e.bond);
        }
    }

    function _proven(uint64 number) private view returns (BlockRecord storage) {
        uint48 proven = _tips.proven;
        if (number == 0 || number > proven) revert BlockNotProven(proven, number);
        return _blocks[number];
    }

    function _end(uint64 epoch) private view returns (uint256) {
        return uint256(_GENESIS_TIME) + (uint256(epoch) + 1) * _SLOTS_PER_EPOCH * _SLOT_SECONDS;
    }

    function _deadlines(uint64 epoch)
        private
        view
        returns (uint256 windowEnd, uint256 challengeEnd)
    {
        windowEnd = _end(epoch) + _PROOF_WINDOW;
        challengeEnd = windowEnd + _CHALLENGE;
    }
}
