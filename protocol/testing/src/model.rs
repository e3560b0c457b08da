//! Plays what `protocol/tests/vectors/model2.py` writes: a genesis, then blocks with their messages from L1,
//! their transactions and the ones they reject. The model shares no code with the crate, so every value that
//! it states is a known answer.

use rollmill_protocol::blob::{self, Commitment};
use rollmill_protocol::block::BlockBody;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv, execute};
use rollmill_protocol::field::{fixed_from_hex, from_hex, to_bits, to_hex};
use rollmill_protocol::genesis::{GENESIS_FORMAT, GenesisBalance, GenesisNote};
use rollmill_protocol::message::{Inbox, deposit_leaf, message_in};
use rollmill_protocol::plan::Subject;
use rollmill_protocol::state::Settlement;
use rollmill_protocol::tree::{MemoryStore, Overlay};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::VkLeaf;
use rollmill_protocol::{
    ApplyError, BlockRange, ChargedRows, Circuit, ClientInputs, Config, Constants, DecodeError,
    EpochPlan, EpochRoot, EthAddress, Fr, Genesis, Header, Log, Opening, Pair, ProofKind, Tx,
    TxEffects, TxRange, TxTransition,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::witness;

type Base<'a> = Overlay<&'a MemoryStore>;

/// A field element of the model's JSON.
pub fn fr(value: &Value) -> Fr {
    from_hex(value.as_str().expect("text")).expect("a word")
}

/// A list of them.
pub fn frs(value: &Value) -> Vec<Fr> {
    list(value).iter().map(fr).collect()
}

/// An address in a word.
pub fn address(value: &Value) -> EthAddress {
    EthAddress::from_field("address", &fr(value)).expect("160 bits")
}

fn number(value: &Value) -> u64 {
    match value.as_u64() {
        Some(number) => number,
        None => to_bits("number", &fr(value), 64).expect("64 bits"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn logs(value: &Value) -> Vec<Log> {
    list(value).iter().map(|log| frs(log).try_into().expect("five words")).collect()
}

/// The config of a line.
pub fn config(value: &Value) -> Config {
    serde_json::from_value(value.clone()).expect("a config")
}

/// The charged rows of a line.
pub fn rows(value: &Value) -> ChargedRows {
    ChargedRows::new(|circuit| number(&value[circuit.name()]))
}

/// The genesis of the model's first line.
pub fn genesis(line: &Value) -> Genesis {
    let notes = list(&line["notes"]).iter().map(|note| GenesisNote {
        owner: fr(&note["owner"]),
        value: number(&note["value"]),
        randomness: fr(&note["randomness"]),
    });
    let balances = list(&line["fee_balances"]).iter().map(|balance| GenesisBalance {
        address: fr(&balance["address"]),
        amount: number(&balance["amount"]),
    });
    Genesis {
        format: GENESIS_FORMAT,
        chain_id: number(&line["chain_id"]),
        rollup: address(&line["rollup"]),
        vk_root: fr(&line["vk_root"]),
        config: config(&line["config"]),
        fee_per_l2_gas: number(&line["fee_per_l2_gas"]),
        fee_per_da_gas: number(&line["fee_per_da_gas"]),
        notes: notes.collect(),
        fee_balances: balances.collect(),
    }
}

/// What a player has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub blocks: usize,
    pub txs: usize,
    /// Transactions that a balance paid for, whose slot was there or not; the rest paid with notes.
    pub payers: usize,
    pub new_slots: usize,
    pub claims: usize,
    pub withdrawals: usize,
    pub messages: usize,
    /// Rules of the rejected transactions, in order.
    pub rejected: Vec<String>,
}

/// A block that was played, with what its proofs need.
#[derive(Debug)]
pub struct Played {
    pub block: Block,
    /// What the model states as the commitment to the blob; any 48 bytes.
    pub commitment: Commitment,
    /// L1's chain before the block.
    pub chain_before: Fr,
    pub txs: Vec<(Tx, TxTransition)>,
}

/// The fixed vectors, `protocol/tests/vectors/protocol2.json`.
pub fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/protocol2.json")).expect("JSON")
}

/// The leaves of the model's key tree, whose digests are examples.
pub fn key_leaves() -> Vec<VkLeaf> {
    let tree = &vectors()["key_tree"];
    let (digests, rows) = (frs(&tree["digests"]), rows(&tree["charged_rows"]));
    let leaf = |circuit: Circuit| VkLeaf {
        circuit,
        vk_digest: digests[circuit as usize],
        log_n: if circuit == Circuit::Client { 13 } else { 17 },
        n_public_inputs: circuit.n_public() as u64,
        charged_rows: rows.of(circuit),
        protocol_version: PROTOCOL_VERSION,
    };
    Circuit::ALL.into_iter().map(leaf).collect()
}

/// A chain that follows the model.
#[derive(Debug)]
pub struct Player {
    config: Config,
    rows: ChargedRows,
    constants: Constants,
    /// Hashes of all headers.
    headers: Vec<Fr>,
    tip: Header,
    store: MemoryStore,
    inbox: Inbox,
    chain: Fr,
    epoch: u64,
    /// Ranges and sizes of the epoch's blocks so far.
    ranges: Vec<(BlockRange, usize)>,
    pub seen: Seen,
}

impl Player {
    /// Starts with the model's first line.
    ///
    /// # Panics
    /// When the genesis is not the model's, as everything here: these are tests.
    pub fn new(line: &Value) -> Self {
        let genesis = genesis(line);
        assert_eq!(genesis.version(), number(&line["version"]), "version");
        let built = genesis.build(MemoryStore::new()).expect("a genesis");
        assert_eq!(built.header.to_fields(), frs(&line["header"]), "genesis header");
        assert_eq!(built.header.hash(), fr(&line["header_hash"]), "genesis header hash");
        assert_eq!(built.state.archive_root, fr(&line["archive_root"]), "genesis archive");
        Self {
            config: genesis.config,
            rows: rows(&line["charged_rows"]),
            constants: Constants {
                chain_id: genesis.chain_id,
                version: genesis.version(),
                vk_root: genesis.vk_root,
                protocol_version: PROTOCOL_VERSION,
                config_hash: genesis.config.hash(),
                prover_id: address(&line["prover_id"]),
            },
            headers: vec![built.header.hash()],
            tip: built.header,
            store: built.state.store,
            inbox: Inbox::new(),
            chain: Fr::from(0u64),
            epoch: u64::MAX,
            ranges: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// What every proof of the chain states in common.
    pub fn constants(&self) -> Constants {
        self.constants
    }

    /// The chain's parameters.
    pub fn config(&self) -> Config {
        self.config
    }

    /// Plays one line.
    ///
    /// # Panics
    /// When the crate and the model disagree about anything the line states.
    pub fn block(&mut self, line: &Value) -> Played {
        let block_number = number(&line["block"]);
        assert_eq!(block_number, self.tip.block_number + 1);
        self.send(&line["messages_sent"]);
        let env = BlockEnv {
            slot: number(&line["slot"]),
            coinbase: address(&line["coinbase"]),
            messages: self.inbox.leaves(block_number).to_vec(),
        };
        let (mut store, config) = (std::mem::take(&mut self.store), self.config);
        let mut builder = BlockBuilder::new(&self.tip, Overlay::new(&store), &config, env)
            .expect("the block follows its parent");
        let txs = list(&line["txs"]);
        let mut made = Vec::new();
        for (i, tx) in txs.iter().enumerate() {
            self.reject(&mut builder, line, i);
            made.push(self.tx(&mut builder, tx));
        }
        self.reject(&mut builder, line, txs.len());
        let (block, over) = builder.finish().expect("the block is closed");
        let (_, changes) = over.into_parts();
        assert_eq!(block.header.to_fields(), frs(&line["header"]), "header {block_number}");
        assert_eq!(block.header_hash, fr(&line["header_hash"]), "header hash {block_number}");
        let root = block.archive.append.root_after;
        assert_eq!(root, fr(&line["archive_root"]), "archive {block_number}");
        let chain_before = self.chain;
        let commitment = self.close(line, &block, &made);

        // A follower comes to the same block from what is published.
        let messages = self.inbox.leaves(block_number);
        let followed = execute(&self.tip, Overlay::new(&store), &config, &block.data(), messages);
        assert_eq!(followed.expect("the block is its header's").0, block);
        store.commit(&changes);
        self.store = store;
        self.headers.push(block.header_hash);
        self.tip = block.header.clone();
        self.seen.blocks += 1;
        let txs = made.into_iter().map(|made| (made.tx, made.transition)).collect();
        Played { block, commitment, chain_before, txs }
    }

    fn send(&mut self, sent: &Value) {
        for message in list(sent) {
            let (recipient, content) = (fr(&message["recipient"]), fr(&message["content"]));
            let leaf_of = |index| match number(&message["kind"]) {
                0 => {
                    let sender = address(&message["sender"]);
                    message_in(sender, &recipient, &content, &fr(&message["secret_hash"]), index)
                }
                _ => deposit_leaf(&recipient, number(&message["content"]), index),
            };
            let (block, index) = self.inbox.send(leaf_of);
            assert_eq!((block, index), (number(&message["block"]), number(&message["index"])));
            assert_eq!(self.inbox.leaves(block).last(), Some(&fr(&message["leaf"])));
            self.seen.messages += 1;
        }
    }

    /// Tries the transactions that must be rejected before the one of this index.
    fn reject(&mut self, builder: &mut BlockBuilder<Base<'_>>, line: &Value, before: usize) {
        let rejected = list(&line["rejected"]).iter();
        for tx in rejected.filter(|tx| number(&tx["before_tx"]) == before as u64) {
            let state = builder.state();
            let size = (state.refs, state.txs_chain, builder.globals(), builder.tx_count());
            let written = state.store.changes().clone();
            let rule = rule_of(builder, tx);
            assert_eq!(rule.as_deref(), tx["name"].as_str(), "block {}", line["block"]);
            let state = builder.state();
            let after = (state.refs, state.txs_chain, builder.globals(), builder.tx_count());
            assert_eq!(
                (after, state.store.changes()),
                (size, &written),
                "a rejection left something"
            );
            self.seen.rejected.extend(rule);
        }
    }

    /// Applies a transaction; returns it with what it did.
    fn tx(&mut self, builder: &mut BlockBuilder<Base<'_>>, line: &Value) -> Made {
        let effects = TxEffects::from_fields(&frs(&line["effects"])).expect("effects");
        let body = BlockBody { effects, logs: logs(&line["logs"]) };
        let globals = builder.globals();
        let tx = Tx {
            chain_id: globals.chain_id,
            version: globals.version,
            anchor_header_hash: self.headers[number(&line["anchor_block"]) as usize],
            body,
            proof_kind: ProofKind::BuiltIn,
            pair: Pair::trivial(),
            client_proof: b"abc".to_vec(),
        };
        assert_eq!(Tx::from_bytes(&tx.to_bytes()).as_ref(), Ok(&tx), "bytes of a transaction");
        assert_eq!(tx.hash(), fr(&line["tx_hash"]), "transaction hash");
        let before = builder.state().refs;
        let charge = builder.state().check_tx(&tx, &globals).expect("a good transaction");
        assert_eq!((charge.fee, charge.left), (number(&line["fee"]), number(&line["left"])));
        let transition = builder.apply(&tx).expect("a good transaction");
        witness::check(&transition, &before, &tx);
        match &transition.effects.settlement {
            Settlement::Payer { after, change, .. } => {
                assert_eq!(*after, charge.left);
                self.seen.payers += 1;
                let inserts = matches!(change, rollmill_protocol::state::BalanceChange::Insert(_));
                self.seen.new_slots += usize::from(inserts);
            }
            Settlement::Refund { value, .. } => assert_eq!(*value, charge.left),
        }
        self.seen.claims += usize::from(tx.effects().claim_amount != 0);
        self.seen.withdrawals += usize::from(tx.effects().withdraw_amount != 0);
        self.seen.txs += 1;
        Made { tx, transition, globals }
    }

    /// Checks the blob, the link, the inbox and the public inputs. Returns the commitment to the blob.
    fn close(&mut self, line: &Value, block: &Block, made: &[Made]) -> Commitment {
        let commitment = line["commitment"].as_str().expect("text");
        let commitment = Commitment(fixed_from_hex("commitment", commitment).expect("48 bytes"));
        let opening = block.opening(commitment);
        assert_eq!(opening.z, fr(&line["z"]), "z");
        assert_eq!(hex_of(opening.y), line["y"].as_str().expect("text"), "y");
        check_blob(line, block);
        let link = block.chain_link(self.chain, &opening);
        assert_eq!(link.words().into_vec(), frs(&line["link"]), "link");
        assert_eq!(link.chain(), fr(&line["chain"]), "chain");
        let in_hash = self.inbox.consume(block.header.block_number);
        assert_eq!(in_hash, Some(block.header.in_hash), "in_hash");
        assert_eq!(self.inbox.open(), number(&line["inbox_open"]), "open number");

        let range = self.range(line, block, &link, &opening, made);
        assert_eq!(range.to_fields(), frs(&line["block_range"]), "block range");
        assert_eq!(BlockRange::from_fields(&range.to_fields()), Ok(range));
        let epoch = self.config.epoch(block.header.slot);
        if epoch != self.epoch {
            (self.epoch, self.ranges) = (epoch, Vec::new());
        }
        self.ranges.push((range, made.len()));
        let root = self.epoch_root();
        assert_eq!(root.to_fields(), frs(&line["epoch_root"]), "epoch root");
        let counts: Vec<u64> = self.ranges.iter().map(|(_, n)| *n as u64).collect();
        assert_eq!(self.rows.epoch(&counts), Some(root.num_constraints), "charged rows");
        self.chain = link.chain();
        commitment
    }

    /// What BlockRoot states, through the plan of one block.
    fn range(
        &self,
        line: &Value,
        block: &Block,
        link: &rollmill_protocol::ChainLink,
        opening: &Opening,
        made: &[Made],
    ) -> BlockRange {
        let pair = Pair::trivial();
        let base: Vec<TxRange> = made
            .iter()
            .map(|Made { tx, transition, globals }| {
                let constants = self.constants;
                TxRange::of_tx(transition, &tx.body, constants, globals, opening.z, pair)
            })
            .collect();
        let plan = EpochPlan::new(&[made.len()]).expect("one block");
        let (mut done, mut merged): (Vec<Option<TxRange>>, _) = (Vec::new(), Vec::new());
        for node in &plan.nodes {
            let children: Vec<TxRange> =
                node.children.iter().filter_map(|child| done[*child]).collect();
            done.push(match (node.circuit, node.subject) {
                (Circuit::TxBase, Subject::Tx { tx, .. }) => Some(base[tx]),
                (Circuit::TxMerge, _) => {
                    let range = children[0].join(&children[1], pair).expect("runs join");
                    merged.push(range);
                    Some(range)
                }
                (_, Subject::Block { .. }) => {
                    self.check_public_inputs(line, block, &base, &merged, made);
                    let (config, rows) = (&self.config, &self.rows);
                    return BlockRange::of_block(
                        &children,
                        block,
                        link,
                        self.constants,
                        config,
                        rows,
                        pair,
                    )
                    .expect("the runs are the block");
                }
                _ => None,
            });
        }
        unreachable!("a plan has its block")
    }

    /// Compares what a fixed vector states besides a stream's line.
    fn check_public_inputs(
        &self,
        line: &Value,
        block: &Block,
        base: &[TxRange],
        merged: &[TxRange],
        made: &[Made],
    ) {
        let rows = |ranges: &[TxRange]| ranges.iter().map(TxRange::to_fields).collect::<Vec<_>>();
        let client = |made: &Made| ClientInputs::of(&made.tx, self.constants.vk_root).to_fields();
        let out: Vec<Vec<Fr>> = block.out_leaves().iter().map(|pair| pair.to_vec()).collect();
        for (name, got) in [
            ("tx_base", rows(base)),
            ("tx_merge", rows(merged)),
            ("client", made.iter().map(client).collect()),
            ("out_leaves", out),
        ] {
            if let Some(expected) = line.get(name) {
                let expected: Vec<Vec<Fr>> = list(expected).iter().map(frs).collect();
                assert_eq!(got, expected, "{name}");
            }
        }
        for range in base.iter().chain(merged) {
            assert_eq!(TxRange::from_fields(&range.to_fields()).as_ref(), Ok(range));
        }
    }

    /// What EpochRoot states of the epoch's blocks so far, through their plan.
    fn epoch_root(&self) -> EpochRoot {
        let pair = Pair::trivial();
        let counts: Vec<usize> = self.ranges.iter().map(|(_, n)| *n).collect();
        let plan = EpochPlan::new(&counts).expect("a block");
        let mut done: Vec<Option<BlockRange>> = Vec::new();
        for node in &plan.nodes {
            let children: Vec<BlockRange> =
                node.children.iter().filter_map(|child| done[*child]).collect();
            done.push(match node.subject {
                Subject::Block { block } => Some(self.ranges[block].0),
                Subject::Blocks { .. } => {
                    Some(children[0].join(&children[1], &self.rows, pair).expect("runs join"))
                }
                Subject::Epoch => {
                    let (config, rows) = (&self.config, &self.rows);
                    return EpochRoot::of_ranges(&children, config, rows, pair)
                        .expect("the runs are an epoch's");
                }
                _ => None,
            });
        }
        unreachable!("a plan has its root")
    }
}

/// A transaction of a block and what it did.
struct Made {
    tx: Tx,
    transition: TxTransition,
    globals: rollmill_protocol::TxGlobals,
}

/// The rule by which a transaction is rejected; `None` when it is not.
fn rule_of(builder: &mut BlockBuilder<Base<'_>>, tx: &Value) -> Option<String> {
    let effects = match TxEffects::from_fields(&frs(&tx["effects"])) {
        Ok(effects) => effects,
        Err(DecodeError::OutOfRange { .. }) => return Some("range".to_owned()),
        Err(DecodeError::Effects(error)) => return Some(error.rule().to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    match builder.apply_body(&BlockBody { effects, logs: logs(&tx["logs"]) }) {
        Ok(_) => None,
        Err(ApplyError::Rejected(rejection)) => Some(rejection.rule()?.to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// A value of a blob's polynomial as the model writes it.
pub fn hex_of(value: rollmill_protocol::BlobFr) -> String {
    use rollmill_protocol::layout::Encode;
    let halves = value.cells();
    let half = |cell: &Fr| to_hex(cell)[34..].to_owned();
    format!("0x{}{}", half(&halves.hi), half(&halves.lo))
}

/// `0x` and SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(Sha256::digest(bytes)))
}

fn check_blob(line: &Value, block: &Block) {
    let expected = line["blob_sha256"].as_str().expect("text");
    if block.txs.is_empty() {
        assert_eq!(sha256(&[]), expected, "no blob");
        return;
    }
    let bytes = blob::encode(&block.txs).expect("a block fits");
    assert_eq!(sha256(&bytes), expected, "blob");
    assert_eq!(blob::decode(&bytes, block.txs.len()).as_ref(), Ok(&block.txs), "blob's content");
}
