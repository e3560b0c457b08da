// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IVerifier} from "./IVerifier.sol";
import * as Layout from "./Layout.sol";
import {PAIR_WORDS} from "./Layout.sol";
import {Poseidon2} from "./Poseidon2.sol";

/// @title The rollup's place on L1: which blocks were proposed, and which of them are proven.
/// @notice The pending chain is what the proposer has published; the proven chain is its prefix
///         whose epochs carry an accepted proof. The proven tip moves in one place only, after the
///         verifier's yes.
/// @dev All parameters are immutable and nobody owns the contract. What changes a rule is another
///      deployment.
contract Rollup {
    /// @notice What a deployment fixes.
    struct Parameters {
        /// Archive root after the genesis block, which is block 0.
        bytes32 genesisArchiveRoot;
        /// Root of the tree of verification keys that every circuit of the tree was built with.
        bytes32 vkRoot;
        IVerifier verifier;
        /// The one account that may propose.
        address proposer;
        /// Distinguishes deployments on one L1.
        uint64 rollupVersion;
        /// Version of the rules that the circuits enforce.
        uint64 protocolVersion;
        /// Unix time at which slot 0 begins.
        uint64 genesisTime;
        uint32 slotSeconds;
        uint32 slotsPerEpoch;
        /// L1 blocks within which an epoch must be proven. See `proofDeadline`.
        uint64 proofWindowL1Blocks;
    }

    /// @notice One proposed block, as its proposer states it; the epoch's proof shows it true.
    struct ProposeArgs {
        uint64 blockNumber;
        uint64 slot;
        /// Archive root the block builds on. Names the parent, so that a proposal which outlived a
        /// prune or a reorg cannot land on another one.
        bytes32 previousArchiveRoot;
        bytes32 archiveRoot;
        bytes32 headerHash;
        address coinbase;
        uint128 totalFees;
    }

    /// @notice What is kept of a block.
    struct BlockRecord {
        bytes32 archiveRoot;
        /// Hash chain over every block so far; see `propose`.
        bytes32 chain;
        bytes32 dataHash;
        address coinbase;
        uint48 slot;
        uint48 l1Block;
        uint128 totalFees;
    }

    /// @notice The part of an epoch proof's public inputs that this contract cannot know itself.
    struct EpochArgs {
        uint64 firstBlock;
        uint64 lastBlock;
        /// The prover who is credited. The proof binds it.
        address prover;
        /// Commitment to the messages from L2 to L1.
        bytes32 outHash;
        /// Work done, as the circuits count it.
        uint64 numConstraints;
        /// The folded pair of points: L.x, L.y as low and high 128-bit halves, s_L, then R and s_R
        /// likewise. The verifier checks e(L - s_L·G, [tau]) = e(R - s_R·G, [1]).
        uint256[PAIR_WORDS] pair;
    }

    /// @notice Who proved a range, and how much work that was.
    struct ProofRecord {
        address prover;
        uint48 firstBlock;
        uint48 numConstraints;
    }

    /// @notice Domain tag of the block chain's hash.
    uint256 public constant CHAIN_DOMAIN = Layout.DOMAIN_CHAIN;
    /// @notice Number of public inputs of an epoch proof.
    uint256 public constant PUBLIC_INPUTS = Layout.EPOCH_WORDS;
    /// @notice Bound of `slotsPerEpoch`, which bounds the loops over one epoch's blocks.
    uint32 public constant SLOTS_PER_EPOCH_MAX = 1024;

    bytes32 public immutable VK_ROOT;
    IVerifier public immutable VERIFIER;
    address public immutable PROPOSER;
    uint64 public immutable ROLLUP_VERSION;
    uint64 public immutable PROTOCOL_VERSION;
    uint64 public immutable GENESIS_TIME;
    uint32 public immutable SLOT_SECONDS;
    uint32 public immutable SLOTS_PER_EPOCH;
    uint64 public immutable PROOF_WINDOW_L1_BLOCKS;

    /// @notice Number of the last proposed block; 0 is genesis.
    uint64 public pendingTip;
    /// @notice Number of the last proven block; never above `pendingTip`.
    uint64 public provenTip;

    /// @dev Records above `pendingTip` are leftovers of pruned blocks, and no getter shows them.
    mapping(uint256 blockNumber => BlockRecord) private _blocks;
    /// @dev L1 block of the last block of an epoch, written when a later epoch's first block is
    ///      proposed. What a prune leaves here is written again before it is read: an epoch is asked
    ///      about only while it has blocks on the pending chain and a later epoch follows it there.
    mapping(uint256 epoch => uint256) private _epochLastL1Block;
    /// @dev By the last block of the proven range.
    mapping(uint256 lastBlock => ProofRecord) private _proofs;

    event BlockProposed(
        uint64 indexed blockNumber,
        bytes32 indexed archiveRoot,
        bytes32 headerHash,
        bytes32 dataHash,
        bytes32 chain,
        uint64 slot,
        address coinbase,
        uint128 totalFees
    );
    event EpochProven(
        uint64 indexed epoch,
        uint64 indexed lastBlock,
        address indexed prover,
        uint64 firstBlock,
        bytes32 archiveRoot,
        uint64 numConstraints
    );
    /// @notice Blocks `provenTip + 1` to `prunedTip` are no longer part of the chain.
    event Pruned(uint64 indexed epoch, uint64 provenTip, uint64 prunedTip);

    error ParameterOutOfRange(string parameter);
    error NotCanonical(string field, uint256 value);
    error ProposerWrong(address expected, address got);
    error BlockOutOfOrder(uint64 expected, uint64 got);
    error PreviousArchiveRootWrong(bytes32 expected, bytes32 got);
    error SlotOutOfOrder(uint64 previous, uint64 got);
    error SlotNotCurrent(uint64 current, uint64 got);
    error ProposalNested(address origin, uint256 senderCodeBytes);
    error RangeStartWrong(uint64 latest, uint64 got);
    error RangeEndWrong(uint64 earliest, uint64 latest, uint64 got);
    error RangeAcrossEpochs(uint64 firstEpoch, uint64 lastEpoch);
    error ProofWindowClosed(uint64 epoch, uint256 lastL1Block, uint256 l1Block);
    error ProofRejected(uint64 firstBlock, uint64 lastBlock);
    error NothingToPrune();
    error BlockUnknown(uint64 pendingTip, uint64 got);
    error ProofUnknown(uint64 lastBlock);

    constructor(Parameters memory p) {
        _requireCanonical("genesisArchiveRoot", uint256(p.genesisArchiveRoot));
        _requireCanonical("vkRoot", uint256(p.vkRoot));
        if (address(p.verifier).code.length == 0) revert ParameterOutOfRange("verifier");
        if (p.proposer == address(0)) revert ParameterOutOfRange("proposer");
        if (p.slotSeconds == 0) revert ParameterOutOfRange("slotSeconds");
        if (p.slotsPerEpoch == 0 || p.slotsPerEpoch > SLOTS_PER_EPOCH_MAX) {
            revert ParameterOutOfRange("slotsPerEpoch");
        }
        if (p.proofWindowL1Blocks == 0) revert ParameterOutOfRange("proofWindowL1Blocks");

        VK_ROOT = p.vkRoot;
        VERIFIER = p.verifier;
        PROPOSER = p.proposer;
        ROLLUP_VERSION = p.rollupVersion;
        PROTOCOL_VERSION = p.protocolVersion;
        GENESIS_TIME = p.genesisTime;
        SLOT_SECONDS = p.slotSeconds;
        SLOTS_PER_EPOCH = p.slotsPerEpoch;
        PROOF_WINDOW_L1_BLOCKS = p.proofWindowL1Blocks;
        // The chain of genesis is 0, its slot is 0, and it carries neither data nor fees.
        _blocks[0].archiveRoot = p.genesisArchiveRoot;
        _blocks[0].l1Block = SafeCast.toUint48(block.number);
    }

    /// @notice Appends a block to the pending chain and fixes its data. Prunes first when that is due,
    ///         so that nothing is ever appended to a chain that missed its window.
    /// @dev The data is not stored: it is this call's calldata, and its SHA-256 is. So that every node
    ///      finds it in the L1 transaction itself, the call must be that transaction: no contract, no
    ///      delegated account (EIP-7702) and no batch may make it.
    ///
    ///      The slot must be the current one. A block for an earlier slot would move the deadline of
    ///      an epoch that is over, and so reopen a window that has closed.
    ///
    ///      The contract takes the header hash and the archive root on trust, because `chain` binds them:
    ///
    ///        chain = Poseidon2(CHAIN_DOMAIN; chain before, headerHash, dataHash, archiveRoot,
    ///                          slot, coinbase, totalFees)
    ///
    ///      and the epoch's proof opens every link. A wrong block is therefore never proven.
    ///      Cost: three Poseidon2 permutations and five new words of storage, besides the data.
    /// @param args The block.
    /// @param data Canonical bytes of the block: its header, then the effects of its transactions.
    function propose(ProposeArgs calldata args, bytes calldata data) external {
        if (msg.sender != PROPOSER) revert ProposerWrong(PROPOSER, msg.sender);
        if (msg.sender != tx.origin || msg.sender.code.length != 0) {
            revert ProposalNested(tx.origin, msg.sender.code.length);
        }
        if (pruneDue()) _prune();
        uint64 parent = pendingTip;
        if (args.blockNumber != parent + 1) revert BlockOutOfOrder(parent + 1, args.blockNumber);
        BlockRecord storage previous = _blocks[parent];
        if (args.previousArchiveRoot != previous.archiveRoot) {
            revert PreviousArchiveRootWrong(previous.archiveRoot, args.previousArchiveRoot);
        }
        uint64 current = currentSlot();
        if (args.slot != current) revert SlotNotCurrent(current, args.slot);
        if (args.slot <= previous.slot) revert SlotOutOfOrder(previous.slot, args.slot);
        _requireCanonical("archiveRoot", uint256(args.archiveRoot));
        _requireCanonical("headerHash", uint256(args.headerHash));

        uint64 previousEpoch = epochOf(previous.slot);
        if (epochOf(args.slot) != previousEpoch) {
            _epochLastL1Block[previousEpoch] = previous.l1Block;
        }
        bytes32 dataHash = sha256(data) & bytes32(type(uint256).max >> 8);
        bytes32 chain = _chainNext(previous.chain, dataHash, args);
        _blocks[args.blockNumber] = BlockRecord({
            archiveRoot: args.archiveRoot,
            chain: chain,
            dataHash: dataHash,
            coinbase: args.coinbase,
            slot: SafeCast.toUint48(args.slot),
            l1Block: SafeCast.toUint48(block.number),
            totalFees: args.totalFees
        });
        pendingTip = args.blockNumber;
        emit BlockProposed(
            args.blockNumber,
            args.archiveRoot,
            args.headerHash,
            dataHash,
            chain,
            args.slot,
            args.coinbase,
            args.totalFees
        );
    }

    /// @notice Moves the proven tip to `args.lastBlock`, given a proof of a range that goes beyond it.
    /// @dev Anyone may call: the proof binds the prover, so a copied transaction credits the same one.
    ///      The range may be a prefix of its epoch, and may start at any block of the epoch up to the
    ///      one after the proven tip. So a proof of the whole epoch stays good when somebody proves a
    ///      prefix while it is on its way. The verifier is called with STATICCALL before any state
    ///      changes.
    /// @param args  What the proof claims beyond what this contract stores.
    /// @param proof Proof bytes; the verifier knows their length.
    function submitEpochProof(EpochArgs calldata args, bytes calldata proof) external {
        bytes32[] memory inputs = epochPublicInputs(args);
        (bool closed, uint64 epoch, uint256 lastL1Block) = _window(args.lastBlock);
        if (closed) revert ProofWindowClosed(epoch, lastL1Block, block.number);
        if (!VERIFIER.verify(proof, inputs)) revert ProofRejected(args.firstBlock, args.lastBlock);

        provenTip = args.lastBlock;
        _proofs[args.lastBlock] = ProofRecord({
            prover: args.prover,
            firstBlock: SafeCast.toUint48(args.firstBlock),
            numConstraints: SafeCast.toUint48(args.numConstraints)
        });
        emit EpochProven(
            epoch,
            args.lastBlock,
            args.prover,
            args.firstBlock,
            _blocks[args.lastBlock].archiveRoot,
            args.numConstraints
        );
    }

    /// @notice Drops the pending blocks that are not proven, once the oldest unproven epoch has
    ///         missed its window. Anyone may call; `propose` does it by itself.
    function prune() external {
        if (!pruneDue()) revert NothingToPrune();
        _prune();
    }

    /// @notice The public inputs that a proof of this range must have, in the circuit's order:
    ///         chain id, rollup version, vk root, protocol version, prover, archive roots before
    ///         and after, first and last block, epoch, slots per epoch, chain before and after, out
    ///         hash, number of constraints, and the pair's ten words.
    /// @dev Reverts unless the range starts no later than the block after the proven tip, ends beyond
    ///      the tip and lies in one epoch, and every word is canonical: two encodings of one scalar
    ///      would be two statements here and one inside the circuit.
    function epochPublicInputs(EpochArgs calldata args)
        public
        view
        returns (bytes32[] memory inputs)
    {
        uint64 proven = provenTip;
        uint64 pending = pendingTip;
        if (args.firstBlock == 0 || args.firstBlock > proven + 1) {
            revert RangeStartWrong(proven + 1, args.firstBlock);
        }
        if (args.lastBlock <= proven || args.lastBlock > pending) {
            revert RangeEndWrong(proven + 1, pending, args.lastBlock);
        }
        BlockRecord storage before = _blocks[args.firstBlock - 1];
        BlockRecord storage end = _blocks[args.lastBlock];
        uint64 epoch = epochOf(_blocks[args.firstBlock].slot);
        uint64 lastEpoch = epochOf(end.slot);
        if (epoch != lastEpoch) revert RangeAcrossEpochs(epoch, lastEpoch);
        _requireCanonical("outHash", uint256(args.outHash));

        inputs = new bytes32[](PUBLIC_INPUTS);
        inputs[Layout.EPOCH_CHAIN_ID] = bytes32(block.chainid);
        inputs[Layout.EPOCH_VERSION] = bytes32(uint256(ROLLUP_VERSION));
        inputs[Layout.EPOCH_VK_ROOT] = VK_ROOT;
        inputs[Layout.EPOCH_PROTOCOL_VERSION] = bytes32(uint256(PROTOCOL_VERSION));
        inputs[Layout.EPOCH_PROVER_ID] = bytes32(uint256(uint160(args.prover)));
        inputs[Layout.EPOCH_PREV_ARCHIVE_ROOT] = before.archiveRoot;
        inputs[Layout.EPOCH_END_ARCHIVE_ROOT] = end.archiveRoot;
        inputs[Layout.EPOCH_FIRST_BLOCK] = bytes32(uint256(args.firstBlock));
        inputs[Layout.EPOCH_LAST_BLOCK] = bytes32(uint256(args.lastBlock));
        inputs[Layout.EPOCH_EPOCH] = bytes32(uint256(epoch));
        inputs[Layout.EPOCH_SLOTS_PER_EPOCH] = bytes32(uint256(SLOTS_PER_EPOCH));
        inputs[Layout.EPOCH_CHAIN_START] = before.chain;
        inputs[Layout.EPOCH_CHAIN_END] = end.chain;
        inputs[Layout.EPOCH_OUT_HASH] = args.outHash;
        inputs[Layout.EPOCH_NUM_CONSTRAINTS] = bytes32(uint256(args.numConstraints));
        for (uint256 i; i < Layout.PAIR_WORDS; i++) {
            uint256 word = args.pair[i];
            // One word of each side is a scalar, the others are halves of coordinates.
            if (i % Layout.PAIR_R_X_LO == Layout.PAIR_S_L) _requireCanonical("pair", word);
            else if (word > type(uint128).max) revert NotCanonical("pair", word);
            inputs[Layout.EPOCH_PAIR + i] = bytes32(word);
        }
    }

    /// @notice The oldest unproven epoch and the last L1 block in which a proof of it is accepted.
    /// @dev The window is counted from the L1 block in which the epoch's last block so far was
    ///      proposed, the last moment that the contract sees by itself, and it never closes before
    ///      the epoch's last slot has passed.
    /// @return open        Whether there is an unproven block at all; the rest is 0 otherwise.
    /// @return epoch       The epoch of block `provenTip + 1`.
    /// @return lastL1Block Last L1 block of the window as the chain stands.
    function proofDeadline() external view returns (bool open, uint64 epoch, uint256 lastL1Block) {
        uint64 proven = provenTip;
        if (pendingTip == proven) return (false, 0, 0);
        (, epoch, lastL1Block) = _window(proven + 1);
        return (true, epoch, lastL1Block);
    }

    /// @notice The epoch of an unproven block and the last L1 block in which a proof of it is
    ///         accepted, as the chain stands: a further block of that epoch moves it.
    function proofDeadlineOf(uint64 blockNumber)
        external
        view
        returns (uint64 epoch, uint256 lastL1Block)
    {
        if (blockNumber <= provenTip || blockNumber > pendingTip) {
            revert BlockUnknown(pendingTip, blockNumber);
        }
        (, epoch, lastL1Block) = _window(blockNumber);
    }

    /// @notice Whether `prune` would succeed now.
    function pruneDue() public view returns (bool due) {
        uint64 proven = provenTip;
        if (pendingTip != proven) (due,,) = _window(proven + 1);
    }

    /// @notice The record of a block of the pending chain.
    function blockRecord(uint64 blockNumber) external view returns (BlockRecord memory) {
        uint64 pending = pendingTip;
        if (blockNumber > pending) revert BlockUnknown(pending, blockNumber);
        return _blocks[blockNumber];
    }

    /// @notice The record of the proof whose range ends with `lastBlock`.
    function proofRecord(uint64 lastBlock) external view returns (ProofRecord memory record) {
        record = _proofs[lastBlock];
        if (record.firstBlock == 0) revert ProofUnknown(lastBlock);
    }

    /// @notice What this deployment was made with.
    function parameters() external view returns (Parameters memory) {
        return Parameters({
            genesisArchiveRoot: _blocks[0].archiveRoot,
            vkRoot: VK_ROOT,
            verifier: VERIFIER,
            proposer: PROPOSER,
            rollupVersion: ROLLUP_VERSION,
            protocolVersion: PROTOCOL_VERSION,
            genesisTime: GENESIS_TIME,
            slotSeconds: SLOT_SECONDS,
            slotsPerEpoch: SLOTS_PER_EPOCH,
            proofWindowL1Blocks: PROOF_WINDOW_L1_BLOCKS
        });
    }

    /// @notice The slot of this L1 block's time; 0 before genesis.
    function currentSlot() public view returns (uint64) {
        if (block.timestamp < GENESIS_TIME) return 0;
        return SafeCast.toUint64((block.timestamp - GENESIS_TIME) / SLOT_SECONDS);
    }

    /// @notice The epoch that `slot` belongs to.
    function epochOf(uint64 slot) public view returns (uint64) {
        return slot / SLOTS_PER_EPOCH;
    }

    /// @dev Takes back every block that is not proven.
    function _prune() private {
        uint64 proven = provenTip;
        uint64 pending = pendingTip;
        pendingTip = proven;
        emit Pruned(epochOf(_blocks[proven + 1].slot), proven, pending);
    }

    /// @dev The epoch that the unproven block `n` of the pending chain belongs to, whether its proof
    ///      window has closed, and the window's last L1 block. Reads at most four words, however
    ///      many blocks the epoch has.
    function _window(uint64 n)
        private
        view
        returns (bool closed, uint64 epoch, uint256 lastL1Block)
    {
        epoch = epochOf(_blocks[n].slot);
        BlockRecord storage tip = _blocks[pendingTip];
        uint256 last = epochOf(tip.slot) == epoch ? tip.l1Block : _epochLastL1Block[epoch];
        lastL1Block = last + PROOF_WINDOW_L1_BLOCKS;
        closed = block.number > lastL1Block && epochOf(currentSlot()) > epoch;
    }

    function _chainNext(bytes32 chain, bytes32 dataHash, ProposeArgs calldata args)
        private
        pure
        returns (bytes32)
    {
        uint256[] memory link = new uint256[](Layout.LINK_WORDS);
        link[Layout.LINK_CHAIN_PREV] = uint256(chain);
        link[Layout.LINK_HEADER_HASH] = uint256(args.headerHash);
        link[Layout.LINK_DATA_HASH] = uint256(dataHash);
        link[Layout.LINK_ARCHIVE_ROOT] = uint256(args.archiveRoot);
        link[Layout.LINK_SLOT] = args.slot;
        link[Layout.LINK_COINBASE] = uint160(args.coinbase);
        link[Layout.LINK_TOTAL_FEES] = args.totalFees;
        return bytes32(Poseidon2.hash(CHAIN_DOMAIN, link));
    }

    function _requireCanonical(string memory field, uint256 value) private pure {
        if (value >= Poseidon2.P) revert NotCanonical(field, value);
    }
}
