"""Execution of whole blocks under protocol 2, for the model: inbox, rules, public inputs, plan.

A rejection is named; docs/book/protocol-2.md lists the names and the order of the rules.
"""

from formats2 import *


class Rejected(Exception):
    """Why a transaction or block is not provable."""


def require(holds, name):
    if not holds:
        raise Rejected(name)


# ---------------------------------------------------------------- messages from L1


class Inbox:
    """At most 64 leaves by block number, and their running hash. Number n takes no more before block n can be built."""

    def __init__(self):
        self.open, self.leaves, self.hashes = 2, {}, {}

    def send(self, leaf_of):
        """Appends `leaf_of(index)`; returns block number, index and leaf."""
        n = self.open
        leaves = self.leaves.setdefault(n, [])
        index = (n - 1) * SUBTREE + len(leaves)
        leaves.append(leaf_of(index))
        self.hashes[n] = h(TAGS["MESSAGE_CHAIN"], self.hashes.get(n, 0), leaves[-1])
        if len(leaves) == SUBTREE:
            self.open += 1
        return n, index, leaves[-1]

    def consume(self, n):
        """What Rollup calls in `propose` of block n: number n + 1 takes no more messages; returns number n's hash."""
        assert n < self.open, "a block cannot follow"
        if self.open == n + 1:
            self.open += 1
        return self.hashes.get(n, 0)


# ---------------------------------------------------------------- rules of one transaction


def check_shape(effects, logs):
    """Rules that need no state. Returns the effects by name."""
    require(len(effects) == len(EFFECTS), "length")
    for (name, bits), value in zip(EFFECTS, effects):
        require(0 <= value < (1 << bits if bits else R), "range")
    f = dict(zip(EFFECT_NAMES, effects))
    nulls, notes, tags, hashes, messages = (effects[i:j] for i, j in ((0, 8), (8, 16), (16, 24), (24, 32), (32, 34)))
    require(nulls[0], "first_nullifier_absent")
    for values in (nulls, notes, tags, hashes):
        present = [v != 0 for v in values]
        require(present == sorted(present, reverse=True), "gap")
    require([t != 0 for t in tags] == [x != 0 for x in hashes], "tag_and_log")
    require(len(logs) == sum(x != 0 for x in hashes), "log")
    for log, x in zip(logs, hashes):
        require(len(log) == LOG_WORDS and all(0 <= w < R for w in log) and log_hash(log) == x, "log")
    require(f["public_calls_hash"] == 0, "public_calls")
    require(f["claim_amount"] != 0 or f["claim_index"] == 0, "claim_shape")
    require(f["claim_amount"] == 0 or f["fee_payer"] != 0, "claim_without_payer")
    require((f["withdraw_amount"] != 0) == (f["withdraw_recipient"] != 0), "withdraw_shape")
    require(f["withdraw_amount"] == 0 or messages[0] == 0, "message_0_taken")
    require((f["refund_partial"] != 0) == (f["fee_payer"] == 0), "refund_shape")
    require(f["fee_payer"] != 0 or notes[7] == 0, "note_7_taken")
    return f


def fee_of(f, prices):
    """Gas of both kinds and the fee."""
    use = (L2_GAS + f["gas.l2_teardown_gas_limit"], DA_GAS + f["gas.da_teardown_gas_limit"])
    require(prices[0] <= f["gas.max_fee_per_l2_gas"] and prices[1] <= f["gas.max_fee_per_da_gas"], "price")
    require(use[0] <= f["gas.l2_gas_limit"] and use[1] <= f["gas.da_gas_limit"], "gas_limit")
    fee = prices[0] * use[0] + prices[1] * use[1]
    require(fee < 1 << 64, "fee_overflow")
    return use, fee


class State:
    """The five trees, and the running values of the block under construction."""

    def __init__(self):
        self.notes, self.nullifiers = Tree(NOTE_HEIGHT), Indexed(NULLIFIER_HEIGHT, False)
        self.public, self.archive = Indexed(PUBLIC_HEIGHT, True), Tree(ARCHIVE_HEIGHT)
        self.messages, self.message_leaves = Tree(MESSAGE_HEIGHT - SUBTREE_HEIGHT, SUBTREE_HEIGHT), {}

    def tx_state(self):
        return [self.notes.root(), self.notes.count, self.nullifiers.tree.root(), self.nullifiers.tree.count,
                self.public.tree.root(), self.public.tree.count]  # fmt: skip

    def append_messages(self, leaves):
        """Appends the subtree of one block, empty ones included."""
        assert len(leaves) <= SUBTREE and all(leaves)
        n = self.messages.count
        for i, leaf in enumerate(leaves):
            self.message_leaves[n * SUBTREE + i] = leaf
        self.messages.append(naive_root(leaves, SUBTREE_HEIGHT))

    def message_path(self, index):
        """All 38 siblings of a message's leaf."""
        tree = Tree(SUBTREE_HEIGHT)
        first = index // SUBTREE * SUBTREE
        tree.append(*(self.message_leaves.get(first + i, 0) for i in range(SUBTREE)))
        return tree.path(index - first) + self.messages.path(index // SUBTREE)

    def check_naive(self):
        """Every root against one that is rebuilt from the leaves."""
        assert self.notes.root() == naive_root(self.notes.leaves(), NOTE_HEIGHT)
        assert self.archive.root() == naive_root(self.archive.leaves(), ARCHIVE_HEIGHT)
        assert self.nullifiers.tree.root() == self.nullifiers.naive()
        assert self.public.tree.root() == self.public.naive()
        leaves = [self.message_leaves.get(i, 0) for i in range(self.messages.count * SUBTREE)]
        assert self.messages.root() == naive_root(leaves, MESSAGE_HEIGHT)

    def apply(self, effects, f, use, fee, slot):
        """One transaction: its effects as list and by name. A rejection leaves everything as it was."""
        require(slot <= f["expiry_slot"], "expired")
        nulls = [n for n in effects[:8] if n]
        require(len(set(nulls)) == len(nulls), "nullifier_repeated")
        require(not any(n in self.nullifiers for n in nulls), "nullifier_spent")
        if f["claim_amount"]:
            leaf = deposit_leaf(f["fee_payer"], f["claim_amount"], f["claim_index"])
            require(self.message_leaves.get(f["claim_index"]) == leaf, "claim_unknown")
            claim = claim_nullifier(leaf)
            require(claim not in self.nullifiers and claim not in nulls, "claim_spent")
            nulls.append(claim)
        key = fee_slot(f["fee_payer"])
        before = (self.public.get(key) or 0) if f["fee_payer"] else 0
        left = before + f["claim_amount"] + f["notes_out"] - fee - f["withdraw_amount"] - f["notes_in"]
        require(left >= 0, "value_too_low")
        require(left < 1 << 64, "value_overflow")

        notes = list(effects[8:16])
        if f["fee_payer"]:
            if key in self.public:
                self.public.update(key, left)
            else:
                self.public.insert(key, left)
        else:
            notes[7] = unique(nulls[0], 7, note_hash(f["refund_partial"], left))
        self.notes.append(*notes)
        for n in nulls:
            self.nullifiers.insert(n)
        out = [effects[32], effects[33]]
        if f["withdraw_amount"]:
            out[0] = withdraw_leaf(f["withdraw_recipient"], f["withdraw_amount"])
        return {"use": use, "fee": fee, "left": left, "out": out, "notes": notes, "tx_hash": tx_hash(effects)}


# ---------------------------------------------------------------- ranges and the plan


def merge_plan(row):
    """Neighbours pairwise from the left, an odd one passes up, until at most two are left."""
    merges = []
    while len(row) > 2:
        pairs = [row[i : i + 2] for i in range(0, len(row), 2)]
        merges += [p for p in pairs if len(p) == 2]
        row = [tuple(p) if len(p) == 2 else p[0] for p in pairs]
    return row, merges


def join_tx(left, right):
    """What TxMerge states of two adjacent runs."""
    for name in CONSTANTS + ["anchor_archive_root", "message_root", "slot", "fee_per_l2_gas", "fee_per_da_gas", "z"]:
        require(left[name] == right[name], "constants")
    for name, _ in TX_STATE:
        require(left["end." + name] == right["start." + name], "gap")
    require(left["txs_chain_end"] == right["txs_chain_start"], "gap")
    require(left["tx_count"] in (1, 2, 4, 8, 16) and 1 <= right["tx_count"] <= left["tx_count"], "shape")
    out = dict(left)
    out.update({"end." + n: right["end." + n] for n, _ in TX_STATE})
    out["txs_chain_end"] = right["txs_chain_end"]
    for name in ("fees_sum", "tx_count", "l2_gas_used", "da_gas_used"):
        out[name] = left[name] + right[name]
    (yl, pl), (yr, pr) = ((halves(r, "y"), halves(r, "pow")) for r in (left, right))
    out.update(split("y", (yl + pl * yr) % Q) | split("pow", pl * pr % Q))
    out["out_root"] = h(NODE, left["out_root"], right["out_root"])
    return out


def halves(row, name):
    return row[name + "_lo"] + (row[name + "_hi"] << 128)


def split(name, value):
    return {name + "_lo": value & (1 << 128) - 1, name + "_hi": value >> 128}


def join_blocks(left, right, rows):
    """What BlockMerge states of two adjacent runs of blocks; `rows` is what its own proof is charged."""
    for name in CONSTANTS:
        require(left[name] == right[name], "constants")
    require(left["end_archive_root"] == right["prev_archive_root"], "gap")
    require(left["chain_end"] == right["chain_start"], "gap")
    require(left["last_block"] + 1 == right["first_block"], "gap")
    require(left["last_slot"] < right["first_slot"], "gap")
    out = dict(left)
    out.update({n: right[n] for n in ("end_archive_root", "last_block", "last_slot", "chain_end")})
    out["num_constraints"] = left["num_constraints"] + right["num_constraints"] + rows
    return out


# ---------------------------------------------------------------- the chain


class Chain:
    """A deployment: config, state, inbox, and the last block's header and link."""

    def __init__(self, chain_id, rollup, vk_root, config, rows, genesis_prices, notes, balances, prover=0):
        for name, bits in CONFIG_FIELDS:
            assert 0 <= config[name] < 1 << bits, name
        assert config["l2_gas_limit"] >= L2_GAS and config["da_gas_limit"] >= DA_GAS, "no transaction fits a block"
        assert config["l2_gas_limit"] <= 32 * L2_GAS and config["da_gas_limit"] <= 32 * DA_GAS
        assert 1 <= config["l2_gas_target"] <= config["l2_gas_limit"]
        assert 1 <= config["da_gas_target"] <= config["da_gas_limit"]
        assert 1 <= config["min_fee_per_gas"] <= PRICE_MAX and 1 <= config["slots_per_epoch"] <= 1024
        assert config["slot_seconds"] >= 1 and config["message_subtree_height"] == SUBTREE_HEIGHT
        self.config, self.rows = config, rows
        self.config_hash = config_hash(config)
        self.chain_id = chain_id
        self.version = version_of(chain_id, rollup, vk_root, self.config_hash)
        self.constants = dict(zip(CONSTANTS, (chain_id, self.version, vk_root, PROTOCOL_VERSION, self.config_hash, prover)))
        self.state, self.inbox, self.chain = State(), Inbox(), 0
        origin = h(TAGS["GENESIS"], chain_id, self.version)
        self.genesis_leaves = [unique(origin, i, note_hash(note_partial(o, r), v)) for i, (o, v, r) in enumerate(notes)]
        self.state.notes.append(*self.genesis_leaves, *[0] * (-len(notes) % SLOTS))
        for who, amount in balances:
            self.state.public.insert(fee_slot(who), amount)
        values = {"fee_per_l2_gas": genesis_prices[0], "fee_per_da_gas": genesis_prices[1]}
        self.header = self._header(0, 0, 0, values)
        self.state.archive.append(header_hash(self.header))
        self.epoch_range = None

    def field(self, name):
        return self.header[HEADER_NAMES.index(name)]

    def prices(self):
        """The next block's prices: a function of the parent's header and the config."""
        return tuple(
            next_price(self.field(f"fee_per_{k}_gas"), self.field(f"{k}_gas_used"), self.config[f"{k}_gas_target"],
                       self.config["min_fee_per_gas"])
            for k in ("l2", "da")
        )  # fmt: skip

    def _header(self, number, slot, coinbase, values):
        """`values` has the rest by name; what is left out is 0, the trees' fields are read."""
        s = self.state
        values = {
            "chain_id": self.chain_id, "version": self.version, "block_number": number, "slot": slot,
            "timestamp": self.config["genesis_time"] + slot * self.config["slot_seconds"], "coinbase": coinbase,
            "last_archive_root": s.archive.root(), "message_root": s.messages.root(),
            "message_count": s.messages.count * SUBTREE,
            **dict(zip((n for n, _ in TX_STATE), s.tx_state())), **values,
        }  # fmt: skip
        header = [values.pop(n, 0) for n in HEADER_NAMES]
        assert not values, values
        for (name, bits), value in zip(HEADER_FIELDS, header):
            assert 0 <= value < (1 << bits if bits else R), name
        return header

    def open_block(self, slot, coinbase):
        return Block(self, slot, coinbase)


class Block:
    """A block under construction over its chain's state."""

    def __init__(self, chain, slot, coinbase):
        require(chain.field("slot") < slot < 1 << 48, "slot")
        require(0 <= coinbase < 1 << 160, "coinbase")
        self.chain, self.slot, self.coinbase = chain, slot, coinbase
        self.number = chain.field("block_number") + 1
        assert self.number < 1 << ARCHIVE_HEIGHT
        self.prices = chain.prices()
        self.txs, self.use, self.fees, self.hash = [], [0, 0], 0, 0
        self.start = chain.header[13:19]
        self.archive_root = chain.state.archive.root()

    def apply(self, effects, logs, with_range=False):
        """Adds a transaction. The message tree is still the parent's, so a claim sees no message of this block."""
        require(len(self.txs) < MAX_TXS, "block_full")
        config = self.chain.config
        f = check_shape(effects, logs)
        use, fee = fee_of(f, self.prices)
        limits = (config["l2_gas_limit"], config["da_gas_limit"])
        require(all(u + v <= limit for u, v, limit in zip(self.use, use, limits)), "block_gas")
        tx = self.chain.state.apply(effects, f, use, fee, self.slot)
        before, self.hash = self.hash, txs_chain_next(self.hash, tx["tx_hash"])
        self.use = [u + v for u, v in zip(self.use, use)]
        self.fees += tx["fee"]
        tx.update(effects=effects, logs=logs, chain_start=before, chain_end=self.hash)
        if with_range:
            tx["start"], tx["end"] = self.txs[-1]["end"] if self.txs else self.start, self.chain.state.tx_state()
        self.txs.append(tx)
        return tx

    def finish(self, commitment):
        """Closes the block. `commitment` is the blob's; it is ignored without transactions."""
        c = self.chain
        s, config, parent_chain = c.state, c.config, c.chain
        message_root = s.messages.root()
        self.tx_state_end = s.tx_state()
        # What BlockRoot does: it opens the running hash to the leaves and appends them as a subtree.
        in_hash, leaves = c.inbox.consume(self.number), c.inbox.leaves.get(self.number, [])
        assert in_hash == message_chain(leaves)
        s.append_messages(leaves)
        pairs = [tx["out"] for tx in self.txs]
        values = {
            "fee_per_l2_gas": self.prices[0], "fee_per_da_gas": self.prices[1], "l2_gas_used": self.use[0],
            "da_gas_used": self.use[1], "total_fees": self.fees, "tx_count": len(self.txs), "txs_chain": self.hash,
            "in_hash": in_hash, "out_root": out_root(pairs),
        }  # fmt: skip
        header = c._header(self.number, self.slot, self.coinbase, values)
        assert header[20] == SUBTREE * self.number
        self.words = [w for tx in self.txs for w in tx_words(tx["effects"], tx["logs"])]
        self.z = self.y = 0
        if not self.txs:
            commitment = bytes(48)
        else:
            self.z = blob_z(self.hash, commitment)
            self.y = evaluate(self.words, self.z)
        c.header, self.header, self.commitment, self.pairs = header, header, commitment, pairs
        s.archive.append(header_hash(header))
        self.archive_after = s.archive.root()
        self.link = link_words(parent_chain, header, self.archive_after, self.z, self.y, commitment)
        c.chain = self.chain_after = link(self.link)
        self.message_root_before = message_root
        rows, n = c.rows, len(self.txs)
        self.range = {
            **c.constants, "prev_archive_root": self.archive_root, "end_archive_root": self.archive_after,
            "first_block": self.number, "last_block": self.number, "first_slot": self.slot, "last_slot": self.slot,
            "chain_start": parent_chain, "chain_end": self.chain_after,
            "num_constraints": rows["tx_base"] * n + rows["tx_merge"] * max(0, n - 2) + rows[f"block_root_{min(n, 2)}"],
        }  # fmt: skip
        self.range.update(zip(PAIR_FIELDS, TRIVIAL_PAIR))
        self._extend_epoch()
        return self

    def _extend_epoch(self):
        """What EpochRoot states of the epoch's blocks so far: a proof always starts at the epoch's first block."""
        c = self.chain
        epoch = self.slot // c.config["slots_per_epoch"]
        if c.epoch_range is None or c.epoch_range[0] != epoch:
            c.epoch_range = (epoch, [])
        blocks = c.epoch_range[1]
        blocks.append((self.range, len(self.txs)))
        whole = blocks[0][0]
        for r, _ in blocks[1:]:
            whole = join_blocks(whole, r, 0)
        m = len(blocks)
        own = c.rows[f"epoch_root_{min(m, 2)}"] + c.rows["block_merge"] * max(0, m - 2)
        self.epoch_root = {n: {**whole, "epoch": epoch}[n] for n in EPOCH_ROOT}
        self.epoch_root["num_constraints"] += own
        assert self.epoch_root["num_constraints"] == num_constraints(c.rows, [n for _, n in blocks])

    def tx_ranges(self):
        """Public inputs of every TxBase, then of every TxMerge of the plan in its order; needs `with_range`."""
        base = []
        for tx in self.txs:
            r = {
                **self.chain.constants, "anchor_archive_root": self.archive_root, "message_root": self.message_root_before,
                "slot": self.slot, "fee_per_l2_gas": self.prices[0], "fee_per_da_gas": self.prices[1],
                **{"start." + n: v for (n, _), v in zip(TX_STATE, tx["start"])},
                **{"end." + n: v for (n, _), v in zip(TX_STATE, tx["end"])},
                "txs_chain_start": tx["chain_start"], "txs_chain_end": tx["chain_end"], "fees_sum": tx["fee"],
                "tx_count": 1, "l2_gas_used": tx["use"][0], "da_gas_used": tx["use"][1], "z": self.z,
                **split("y", evaluate(tx_words(tx["effects"], tx["logs"]), self.z)), **split("pow", pow(self.z, TX_WORDS, Q)),
                "out_root": h(NODE, *tx["out"]),
            }  # fmt: skip
            r.update(zip(PAIR_FIELDS, TRIVIAL_PAIR))
            base.append({n: r[n] for n in TX_RANGE})
        row, merges = merge_plan(list(range(len(base))))
        made = dict(enumerate(base))
        for left, right in merges:
            made[(left, right)] = join_tx(made[left], made[right])
        if row:
            top = made[row[0]] if len(row) == 1 else join_tx(made[row[0]], made[row[1]])
            f = dict(zip(HEADER_NAMES, self.header))
            assert (top["tx_count"], top["fees_sum"], top["out_root"]) == (f["tx_count"], f["total_fees"], f["out_root"])
            assert (top["l2_gas_used"], top["da_gas_used"]) == (f["l2_gas_used"], f["da_gas_used"])
            assert (top["txs_chain_start"], top["txs_chain_end"], halves(top, "y")) == (0, f["txs_chain"], self.y)
            assert [top["start." + n] for n, _ in TX_STATE] == self.start
            assert [top["end." + n] for n, _ in TX_STATE] == self.header[13:19]
        return base, [made[(a, b)] for a, b in merges]

    def check(self):
        """What an independent reader finds in the blob, and L1 in its own words."""
        if self.txs:
            blob = blob_encode(self.words)
            assert blob_decode(blob, len(self.txs)) == [(tx["effects"], tx["logs"]) for tx in self.txs]
            assert evaluate_blob(blob, self.z) == self.y
        for tx, leaves in enumerate(self.pairs):
            for which, leaf in enumerate(leaves):
                path = out_path(self.pairs, tx, which)
                assert out_walk(leaf, tx, which, len(self.pairs), path) == self.header[23]
        low, high = self.chain.config["min_fee_per_gas"], PRICE_MAX
        assert all(low <= p <= high for p in self.prices)
