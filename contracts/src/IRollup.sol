// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDataAvailability} from "./data/IDataAvailability.sol";
import {IBondVault} from "./economics/IBondVault.sol";
import {IFeePortal} from "./economics/IFeePortal.sol";
import {IRewards} from "./economics/IRewards.sol";
import {IRegistry} from "./governance/IRegistry.sol";
import {IInbox} from "./messages/IInbox.sol";
import {IOutbox} from "./messages/IOutbox.sol";
import {ISelection} from "./selection/ISelection.sol";
import {IVerifier} from "./IVerifier.sol";
import {PAIR_WORDS, VK_TREE_HEIGHT} from "./Layout.sol";

/// @title The rollup's place on L1: which blocks were proposed, and which of them are proven.
/// @notice The pending chain is what has been proposed with its data; the proven chain is its prefix
///         whose epochs have an accepted proof. docs/book/protocol-2.md specifies every format here.
interface IRollup {
    /// @notice What the config hash contains. The circuits rely on the constructor's bounds.
    struct Config {
        /// Unix time at which slot 0 begins; below 2^40.
        uint64 genesisTime;
        /// 1 to 2^16 - 1.
        uint32 slotSeconds;
        /// 1 to 1,024.
        uint32 slotsPerEpoch;
        /// 100,000 to 3,200,000.
        uint32 l2GasLimit;
        /// 1 to the limit.
        uint32 l2GasTarget;
        /// 2,000 to 64,000.
        uint32 daGasLimit;
        /// 1 to the limit.
        uint32 daGasTarget;
        /// 1 to 2^40.
        uint64 minFeePerGas;
        /// 6.
        uint8 messageSubtreeHeight;
    }

    /// @notice A verifier of epoch proofs and where its key lies in the key tree.
    struct RootKey {
        IVerifier verifier;
        /// Rows that a proof of this circuit is charged.
        uint64 chargedRows;
        /// Siblings from the leaf up.
        bytes32[VK_TREE_HEIGHT] path;
    }

    /// @notice The other contracts of the deployment. Those deployed later are known by prediction.
    struct Contracts {
        IDataAvailability dataAvailability;
        ISelection selection;
        IInbox inbox;
        IOutbox outbox;
        IFeePortal feePortal;
        IRewards rewards;
        IBondVault bondVault;
        IRegistry registry;
    }

    /// @notice What a deployment fixes.
    struct Parameters {
        /// Archive root after the genesis block, which is block 0.
        bytes32 genesisArchiveRoot;
        /// Root of the tree of verification keys.
        bytes32 vkRoot;
        Config config;
        /// Verifies ranges of one block.
        RootKey oneBlock;
        /// Verifies ranges of two blocks and more.
        RootKey moreBlocks;
        /// Seconds after an epoch's end in which its bond comes back. At least one slot.
        uint32 proofWindowSeconds;
        /// Seconds after the window in which anybody's proof earns a share of the bond. At least one slot.
        uint32 challengeSeconds;
        /// Seconds after the completion of the epoch before in which a proof is in time. At least one slot,
        /// at most challengeSeconds.
        uint32 proofGraceSeconds;
        /// Epochs from the oldest unproven one that may have blocks, itself included. 2 to 128.
        uint16 maxUnprovenEpochs;
        Contracts contracts;
    }

    /// @notice When things happen; part of the parameters.
    struct Schedule {
        uint64 genesisTime;
        uint32 slotSeconds;
        uint32 slotsPerEpoch;
        uint32 proofWindowSeconds;
        uint32 challengeSeconds;
        uint32 proofGraceSeconds;
        uint16 maxUnprovenEpochs;
    }

    /// @notice One proposed block, as its proposer states it; the epoch's proof shows it true.
    struct ProposeArgs {
        uint64 blockNumber;
        uint48 slot;
        /// Names the parent, so that a proposal that outlived a prune or a reorg cannot land on another.
        bytes32 previousArchiveRoot;
        bytes32 archiveRoot;
        bytes32 headerHash;
        /// What the Inbox must return, so that a reorg of messages is found first.
        bytes32 inHash;
        bytes32 outRoot;
        address coinbase;
        uint128 totalFees;
        uint16 txCount;
        uint64 feePerL2Gas;
        uint64 feePerDaGas;
        uint64 l2GasUsed;
        uint64 daGasUsed;
    }

    /// @notice Who signed a block.
    struct Attestations {
        /// Bit i is set if committee member i signed.
        uint256 bitmap;
        /// For each member in order: 65 bytes of signature (r, s, v), or the 20 bytes of its address.
        bytes signaturesOrAddresses;
    }

    /// @notice The part of an epoch proof's public inputs that the contract cannot know itself.
    struct EpochArgs {
        uint64 epoch;
        /// The proof covers the epoch's first block to this one.
        uint64 lastBlock;
        /// The prover who is credited. The proof binds it.
        address prover;
        /// Work done, in charged rows. The proof binds it.
        uint64 numConstraints;
        /// L.x, L.y as low and high 128-bit halves, s_L, then R and s_R likewise.
        uint256[PAIR_WORDS] pair;
    }

    /// @notice The ends of the chains; one word of storage.
    struct Tips {
        /// Number of the last proposed block; 0 is genesis.
        uint48 pending;
        /// Number of the last proven block; never above `pending`.
        uint48 proven;
        /// Epoch of the last accepted proof.
        uint48 provenEpoch;
    }

    /// @notice What is kept of a block; five words of storage.
    struct BlockRecord {
        bytes32 archiveRoot;
        /// Hash chain over every block so far.
        bytes32 chain;
        bytes32 outRoot;
        address coinbase;
        uint48 slot;
        uint48 l1Block;
        uint128 totalFees;
        /// Bitmap of the committee's members that signed.
        uint64 signers;
        uint16 txCount;
    }

    /// @notice What is kept of an epoch; two words of storage.
    struct EpochRecord {
        /// 0 if the epoch has no block.
        uint48 firstBlock;
        uint48 lastBlock;
        /// 0 if no proof of the epoch was accepted.
        uint48 lastProven;
        /// Charged rows of the longest accepted proof, whose prover is paid for them.
        uint64 constraintsPaid;
        /// Time at which `lastProven` last became `lastBlock`.
        uint40 completedAt;
        /// Bit 0: a proof came late. Bit 1: the bond is settled.
        uint8 state;
        address bondPoster;
        /// The bond as it was locked; what was shared since is in the BondVault.
        uint96 bond;
    }

    /// @notice A block was proposed. `chain` covers every block up to it; `versionedHash`, `z`, `y` and
    ///         `commitment` say where its data is, 0 or empty without transactions; `signers` is the bitmap
    ///         of the committee's members that signed.
    event BlockProposed(
        uint64 indexed blockNumber,
        bytes32 indexed archiveRoot,
        bytes32 headerHash,
        bytes32 chain,
        uint64 slot,
        address coinbase,
        uint128 totalFees,
        uint16 txCount,
        bytes32 versionedHash,
        uint256 z,
        uint256 y,
        bytes commitment,
        bytes32 inHash,
        bytes32 outRoot,
        uint64 signers,
        address proposer
    );
    /// @notice Blocks `firstAdded` to `lastBlock` are proven now; the proof has `delta` charged rows more than
    ///         the longest one before.
    event EpochProven(
        uint64 indexed epoch,
        uint64 firstBlock,
        uint64 firstAdded,
        uint64 indexed lastBlock,
        address indexed prover,
        uint64 delta,
        bool inChallenge
    );
    /// @notice Blocks `provenTip + 1` to `prunedTip` are no longer part of the chain.
    event Pruned(uint64 indexed epoch, uint64 provenTip, uint64 prunedTip);
    /// @notice The epoch gets no more proofs: its pay was credited, its bond returned, or what is left of it
    ///         lost.
    event EpochSettled(uint64 indexed epoch);

    /// @notice The constructor's parameter is outside its bounds.
    error ParameterOutOfRange(string parameter);
    /// @notice The key of the circuit with this role gives another root of the key tree.
    error KeyNotInTree(uint256 role, bytes32 vkRoot, bytes32 got);
    /// @notice The block is not of the current slot.
    error SlotNotCurrent(uint64 current, uint64 got);
    /// @notice The block's slot is not above that of its parent.
    error SlotOutOfOrder(uint64 previous, uint64 got);
    /// @notice The block's number is not the next one.
    error BlockOutOfOrder(uint64 expected, uint64 got);
    /// @notice The block builds on another parent than the pending tip.
    error PreviousArchiveRootWrong(bytes32 expected, bytes32 got);
    /// @notice The block has more transactions than one may have.
    error TooManyTransactions(uint256 max, uint256 got);
    /// @notice The block's epoch is too far after the oldest one that is not proven.
    error TooManyUnprovenEpochs(uint64 oldest, uint64 got);
    /// @notice The Inbox has other messages for the block than its proposer states.
    error InHashWrong(bytes32 expected, bytes32 got);
    /// @notice The block has no transactions, and so may have no data.
    error DataWithoutTransactions();
    /// @notice A KZG commitment has 48 bytes.
    error CommitmentLengthWrong(uint256 got);
    /// @notice The epoch has no block.
    error EpochWithoutBlocks(uint64 epoch);
    /// @notice The block before the epoch's first one is not proven.
    error EpochBeforeNotProven(uint64 firstBlock, uint64 provenTip);
    /// @notice The proof's last block is not between the earliest that adds one and the epoch's last.
    error RangeEndWrong(uint64 earliest, uint64 latest, uint64 got);
    /// @notice The epoch's challenge period is over, so its proofs are no longer accepted.
    error ChallengeOver(uint64 epoch, uint256 challengeEnd, uint256 time);
    /// @notice The verifier rejects the proof.
    error ProofRejected(uint64 epoch, uint64 lastBlock);
    /// @notice The proof states no more charged rows than the longest accepted one of the epoch.
    error WorkNotGrowing(uint64 paid, uint64 got);
    /// @notice No prune is due.
    error NothingToPrune();
    /// @notice The epoch cannot be settled now, or was settled before.
    error NothingToSettle(uint64 epoch);
    /// @notice The block is above the pending tip.
    error BlockUnknown(uint64 pendingTip, uint64 got);
    /// @notice The block is genesis, or above the proven tip.
    error BlockNotProven(uint64 provenTip, uint64 got);

    /// @notice Appends a block to the pending chain. Prunes first when that is due. Anyone may call who
    ///         brings a quorum of the committee's signatures, the proposer's among them.
    function propose(
        ProposeArgs calldata args,
        Attestations calldata attestations,
        DaInput calldata data
    ) external;

    /// @notice Accepts a proof of an epoch from its first block to `args.lastBlock`. Anyone may call:
    ///         the proof binds the prover. The longest proof of an epoch is paid, once it is settled.
    function submitEpochProof(EpochArgs calldata args, bytes calldata proof) external;

    /// @notice Drops the pending blocks that are not proven, once the oldest unproven epoch is past its
    ///         challenge period. Anyone may call; `propose` does it by itself.
    function prune() external;

    /// @notice Credits the pay of a proven epoch, and returns its bond, or what is left of it to Rewards if a
    ///         proof was late. Anyone may call once the epoch is over; `submitEpochProof` does it by itself.
    function settle(uint64 epoch) external;

    /// @notice The public inputs that a proof with these arguments must have, in the circuit's order.
    function publicInputs(EpochArgs calldata args) external view returns (bytes32[] memory);

    /// @notice What validators sign of a block: an EIP-712 digest under this contract's domain.
    function blockDigest(uint64 number, uint64 slot, bytes32 chain) external view returns (bytes32);

    /// @notice The ends of the pending and of the proven chain.
    function tips() external view returns (Tips memory);
    /// @notice The slot of this L1 block's time; 0 before genesis.
    function currentSlot() external view returns (uint64);
    /// @notice When the epoch's bond stops coming back, when its proofs stop being accepted, and whether
    ///         a prune is due now, whichever epoch it is about.
    function deadlines(uint64 epoch)
        external
        view
        returns (uint256 windowEnd, uint256 challengeEnd, bool pruneDue);
    /// @notice Whether a proposal by `who` in `slot` would pass every rule that does not depend on its
    ///         content, on the chain as it is, and with the prune that is due now if one is. Time may make
    ///         another prune due before a future slot.
    function canPropose(uint64 slot, address who) external view returns (bool);
    /// @notice The record of a block of the pending chain.
    function blockRecord(uint64 number) external view returns (BlockRecord memory);
    /// @notice The record of an epoch; all 0 if it has no block.
    function epochRecord(uint64 epoch) external view returns (EpochRecord memory);
    /// @notice What the Outbox needs of a proven block.
    function provenOut(uint64 number) external view returns (bytes32 outRoot, uint16 txCount);
    /// @notice What Rewards needs of a proven block.
    function provenFees(uint64 number)
        external
        view
        returns (address coinbase, uint48 slot, uint128 totalFees, uint64 signers);
    /// @notice The other contracts of the deployment.
    function contracts() external view returns (Contracts memory);
    /// @notice When slots, epochs and the periods of proofs begin and end.
    function schedule() external view returns (Schedule memory);
    /// @notice Root of the tree of verification keys.
    function vkRoot() external view returns (bytes32);
    /// @notice The verifiers of ranges of one block and of more.
    function verifiers() external view returns (IVerifier oneBlock, IVerifier moreBlocks);
    /// @notice The deployment's number: the first 8 bytes of
    ///         keccak256(abi.encode(chainId, rollup, vkRoot, configHash)).
    function version() external view returns (uint64);
    /// @notice Hash of the configuration, which the circuits are bound to.
    function configHash() external view returns (bytes32);
}

/// @notice Where a block's data is, and the opening of its polynomial at z. All 0 or empty without
///         transactions.
struct DaInput {
    /// Index of the blob in the L1 transaction.
    uint256 blobIndex;
    /// Canonical in BN254's scalar field.
    uint256 z;
    /// The polynomial's value at z, canonical in BLS12-381's scalar field.
    uint256 y;
    /// KZG commitment, 48 bytes.
    bytes commitment;
    /// KZG proof, 48 bytes.
    bytes proof;
}
