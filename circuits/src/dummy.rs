//! Circuits laid out over dummy witnesses: the rows are the same for every witness, so these
//! serve setup and measurements. No proof of them verifies.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::gas::{FeePerGas, GasSettings};
use rollmill_protocol::note::ViewingKey;
use rollmill_protocol::state::{AnchorWitness, EffectsTransition};
use rollmill_protocol::tree::{IndexedLeaf, IndexedUpdate, SubtreeAppend};
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{
    Circuit, Constants, EthAddress, Header, Note, TxEffects, TxState, TxTransition,
};

use crate::block_merge::BlockMergeWitness;
use crate::block_root::BlockRootWitness;
use crate::children::Child;
use crate::client::{ClientWitness, InputNote};
use crate::epoch_root::EpochRootWitness;
use crate::gadgets::charge::OpenedLeaf;
use crate::tx_base::TxBaseWitness;
use crate::{block_merge, block_root, client, epoch_root, tx_base, tx_merge};

fn zero() -> Fr {
    Fr::from(0u64)
}

/// A layout's value whose field elements are all zero, which is in every range.
macro_rules! zeros {
    ($layout:ident) => {
        $layout::from_fields(&[zero(); $layout::FIELDS]).expect("zero is in every range")
    };
}

fn client_witness() -> ClientWitness {
    let note = Note { owner: zero(), value: 0, randomness: zero() };
    ClientWitness {
        nsk: zero(),
        viewing: ViewingKey { x: zero(), y: zero() },
        anchor: zeros!(Header),
        inputs: [InputNote::dummy(zero()), InputNote::dummy(zero())],
        outputs: [note; 2],
        tags: [zero(); SLOTS],
        log_hashes: [zero(); SLOTS],
        gas: GasSettings::default(),
    }
}

fn tx_base_witness() -> TxBaseWitness {
    let notes = SubtreeAppend {
        start_index: 0,
        leaves: Vec::new(),
        subtree_root: zero(),
        path: Vec::new(),
        root_before: zero(),
        root_after: zero(),
    };
    let fee_payment = IndexedUpdate {
        leaf: IndexedLeaf::default(),
        index: 0,
        path: Vec::new(),
        value_after: zero(),
        root_before: zero(),
        root_after: zero(),
    };
    TxBaseWitness {
        constants: zeros!(Constants),
        price: FeePerGas { l2: 0, da: 0 },
        effects: TxEffects {
            nullifiers: [zero(); SLOTS],
            note_hashes: [zero(); SLOTS],
            tags: [zero(); SLOTS],
            log_hashes: [zero(); SLOTS],
            messages: [zero(); 2],
            fee_payer: zero(),
            gas: GasSettings::default(),
        },
        transition: TxTransition {
            anchor: AnchorWitness { index: 0, path: Vec::new(), archive_root: zero() },
            effects: EffectsTransition {
                tx_hash: zero(),
                start: zeros!(TxState),
                end: zeros!(TxState),
                notes,
                nullifiers: [const { None }; SLOTS],
                fee_payment,
                fee: 0,
                txs_chain_start: zero(),
                txs_chain_end: zero(),
            },
        },
    }
}

fn block_root_witness() -> BlockRootWitness {
    let leaf = OpenedLeaf::dummy;
    BlockRootWitness {
        constants: zeros!(Constants),
        prover_id: EthAddress::default(),
        parent: zeros!(Header),
        header: zeros!(Header),
        parent_path: Vec::new(),
        append_path: Vec::new(),
        archive_root_before: zero(),
        chain_prev: zero(),
        data_hash: zero(),
        charges: [Circuit::TxBase, Circuit::TxMerge, Circuit::BlockRoot0].map(leaf),
    }
}

/// The circuit over a dummy witness.
pub fn build(circuit: Circuit) -> Builder {
    let children: Vec<_> = (0..circuit.child_count()).map(|_| Child::dummy(circuit)).collect();
    let pair = || children.first_chunk().expect("a merge has two children");
    let charge = OpenedLeaf::dummy(circuit);
    match circuit.family() {
        Family::Client => client::build(&client_witness()),
        Family::TxBase => tx_base::build(&tx_base_witness(), &children[0]),
        Family::TxMerge => tx_merge::build(&zeros!(Constants), pair()),
        Family::BlockRoot => block_root::build(&block_root_witness(), &children),
        Family::BlockMerge => {
            block_merge::build(&BlockMergeWitness { constants: zeros!(Constants), charge }, pair())
        }
        Family::EpochRoot => {
            let witness =
                EpochRootWitness { constants: zeros!(Constants), slots_per_epoch: 0, charge };
            epoch_root::build(&witness, &children)
        }
    }
}
