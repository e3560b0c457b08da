"""Random blocks of protocol 2: wallets that know their notes, and every kind of transaction and mistake.

The generator is seeded and deterministic, so that an implementation in another language can replay its lines.
"""

import hashlib

from chain2 import *

# Example rows, near the measured layouts; an implementation takes those of its key leaves.
ROWS = {
    "client": 2_200, "tx_base": 94_000, "tx_merge": 115_200, "block_root_0": 6_000, "block_root_1": 62_000,
    "block_root_2": 118_600, "block_merge": 114_600, "epoch_root_1": 60_000, "epoch_root_2": 115_100,
    "private_init": 62_000, "private_inner": 118_000, "private_tail": 90_000,
    "private_init2": 116_000,
}  # fmt: skip
CONFIG = {
    "genesis_time": 1_700_000_000, "slot_seconds": 72, "slots_per_epoch": 8, "l2_gas_limit": 3_200_000,
    "l2_gas_target": 200_000, "da_gas_limit": 64_000, "da_gas_target": 8_000, "min_fee_per_gas": 1,
    "message_subtree_height": 6,
}  # fmt: skip
ROLLUP = int("a0" * 20, 16)
CHAIN_ID = 31337
PROVER = int("b1" * 20, 16)


def vk_tree(rows=ROWS):
    """The key tree with example digests; roles that no circuit has are 0."""
    public = [16, 45, 45, 25, 25, 25, 25, 24, 24, 13, 13, 16, 13]
    leaves = [
        vk_leaf(role, h(TAGS["VK_DIGEST"], role), 13 if role == 0 else 17, n, rows[name], name.startswith("epoch_root"))
        for role, (name, n) in enumerate(zip(CIRCUITS, public, strict=True))
    ]
    tree = Tree(VK_HEIGHT)
    tree.append(*leaves)
    return tree, leaves


class Rng:
    """Numbers from SHA-256 of seed and counter: the same under every version of Python."""

    def __init__(self, seed):
        self.seed, self.counter = seed.to_bytes(32, "big"), 0

    def randbytes(self, n):
        out = b""
        while len(out) < n:
            out += hashlib.sha256(self.seed + self.counter.to_bytes(8, "big")).digest()
            self.counter += 1
        return out[:n]

    def randrange(self, first, end=None):
        """Below `first`, or from `first` to below `end`; the bias is at most 2^−128."""
        low, high = (0, first) if end is None else (first, end)
        return low + int.from_bytes(self.randbytes(16 + (high.bit_length() + 7) // 8), "big") % (high - low)

    def choice(self, items):
        return items[self.randrange(len(items))]

    def sample(self, items, n):
        items = list(items)
        return [items.pop(self.randrange(len(items))) for _ in range(n)]


class Account:
    def __init__(self, i):
        self.nsk, self.vpk = 1_000 + i, (2_000 + i, 3_000 + i)
        self.address = address(npk(self.nsk), self.vpk)
        self.notes = []

    def own(self, partial, value, leaf):
        if value:
            self.notes.append((value, leaf, nullifier(leaf, self.nsk)))


class World:
    """A chain and the accounts on it, with the count of all value."""

    def __init__(self, seed):
        self.rng = rng = Rng(seed)
        self.accounts = [Account(i) for i in range(16)]
        # The first twelve have notes, four of them and one without notes have balances; three start with nothing.
        notes = [(self.accounts[i % 12].address, rng.randrange(1, 10**15), rng.randrange(R)) for i in range(27)]
        balances = [(self.accounts[i].address, 10**15 + i) for i in (0, 1, 2, 3, 12)]
        tree, _ = vk_tree()
        prices = (rng.randrange(1, 20), rng.randrange(1, 20))
        self.chain = Chain(CHAIN_ID, ROLLUP, tree.root(), CONFIG, ROWS, prices, notes, balances, PROVER)
        self.genesis = {"prices": prices, "notes": notes, "balances": balances}
        for i, ((_, value, randomness), leaf) in enumerate(zip(notes, self.chain.genesis_leaves)):
            who = self.accounts[i % 12]
            who.own(note_partial(who.address, randomness), value, leaf)
        self.supply = sum(v for _, v, _ in notes) + sum(v for _, v in balances)
        self.deposits, self.claimed, self.gone, self.slot, self.headers = [], [], 0, 0, [header_hash(self.chain.header)]

    # -- value

    def check_supply(self):
        """Notes, balances, deposits that nobody claimed, and what fees and withdrawals took away are all there is."""
        state = self.chain.state
        notes = sum(v for a in self.accounts for v, _, _ in a.notes)
        balances = sum(leaf[1] for leaf in state.public.leaves)
        waiting = sum(amount for _, amount, _, _ in self.deposits)
        assert notes + balances + waiting + self.gone == self.supply

    def balance(self, who):
        return self.chain.state.public.get(fee_slot(who.address)) or 0

    # -- messages

    def send_messages(self):
        rng, inbox, sent = self.rng, self.chain.inbox, []
        count = rng.choice([0, 0, 0, 1, 1, 2, 3]) if rng.randrange(40) else rng.choice([62, 64, 65, 140])
        for _ in range(count):
            if rng.randrange(3):
                who, amount = rng.choice(self.accounts), rng.randrange(1, 10**14)
                block, index, leaf = inbox.send(lambda i: deposit_leaf(who.address, amount, i))
                self.deposits.append((who, amount, index, block))
                self.supply += amount
                fields = {"kind": 1, "sender": 0, "recipient": who.address, "content": amount, "secret_hash": 0}
            else:
                fields = {"kind": 0, "sender": rng.randrange(1 << 160), "recipient": rng.randrange(R),
                          "content": rng.randrange(R), "secret_hash": rng.randrange(R)}  # fmt: skip
                block, index, leaf = inbox.send(
                    lambda i: message_in(*(fields[n] for n in ("sender", "recipient", "content", "secret_hash")), i)
                )
            sent.append({"block": block, "index": index, "leaf": leaf, **fields})
        return sent

    # -- transactions

    def settings(self, block, teardown):
        rng, prices = self.rng, block.prices
        down = (rng.randrange(1, 50_000), rng.randrange(1, 500)) if teardown else (0, 0)
        limits = [u + d + (rng.randrange(3) == 0) * rng.randrange(1000) for u, d in zip((L2_GAS, DA_GAS), down)]
        fee = prices[0] * (L2_GAS + down[0]) + prices[1] * (DA_GAS + down[1])
        return [p * rng.randrange(1, 5) for p in prices] + limits + list(down), fee

    def logs(self, count, contract):
        rng = self.rng
        logs = [[rng.randrange(R) for _ in range(LOG_WORDS)] for _ in range(count)]
        if count and rng.randrange(8) == 0:
            logs[-1] = [0] * LOG_WORDS  # present all the same
        tags = [silo_tag(contract, h(TAG_OF_TAG, rng.randrange(R), i)) for i in range(count)]
        return logs, tags

    def effects(self, **f):
        """A list of 50 from lists and names; what is left out is 0."""
        out = []
        for name, size in (("nullifiers", 8), ("note_hashes", 8), ("tags", 8)):
            out += list(f.get(name, [])) + [0] * (size - len(f.get(name, [])))
        hashes = [log_hash(log) for log in f["logs"]]
        out += hashes + [0] * (8 - len(hashes)) + (list(f.get("messages", [])) + [0, 0])[:2]
        out += [f.get("public_calls_hash", 0), f.get("fee_payer", 0)] + list(f["gas"])
        return out + [f.get(n, 0) for n in EFFECT_NAMES[42:49]] + [f["expiry_slot"]]

    def built_in(self, block, kind):
        """A transaction of the built-in client: two inputs, two outputs. None if funds are missing."""
        rng = self.rng
        gas, fee = self.settings(block, rng.randrange(10) == 0)
        sender = rng.choice(self.accounts)
        f = {"gas": gas, "expiry_slot": NO_EXPIRY if rng.randrange(2) else block.slot + rng.randrange(50)}
        payer, claim, inputs = None, None, rng.sample(sender.notes, min(len(sender.notes), rng.randrange(3)))
        if kind == "claim":
            ready = [d for d in self.deposits if d[3] < block.number]
            if not ready:
                return None
            claim = rng.choice(ready)
            payer, inputs = claim[0], []
            sender = payer if rng.randrange(2) else sender
            f["claim_amount"], f["claim_index"] = claim[1], claim[2]
        elif kind in ("payer", "withdraw_balance"):
            payer = rng.choice(self.accounts)
        elif kind == "top_up":
            payer = rng.choice(self.accounts)
        funds = sum(v for v, _, _ in inputs)
        notes_in = notes_out = 0
        if payer:
            left = self.balance(payer) + (claim[1] if claim else 0) - fee
            if kind == "top_up":
                notes_out = rng.randrange(funds + 1)
                left += notes_out
            if left < 0:
                return None
            if kind == "claim":
                notes_in = rng.choice([0, left, rng.randrange(left + 1)])
            if kind == "withdraw_balance" and left:
                f["withdraw_amount"] = rng.randrange(1, left + 1)
            f["fee_payer"] = payer.address
        else:
            amount = rng.randrange(1, 10**12) if kind == "withdraw_notes" else 0
            notes_out = fee + amount + rng.choice([0, rng.randrange(10**9)])
            if notes_out > funds:
                return None
            f["withdraw_amount"] = amount
            randomness = rng.randrange(R)
            f["refund_partial"] = note_partial(sender.address, randomness)
        if f.get("withdraw_amount"):
            f["withdraw_recipient"] = rng.randrange(1, 1 << 160)
        f["notes_in"], f["notes_out"] = notes_in, notes_out
        # Dummies fill up: value and origin are 0.
        nulls = [n for _, _, n in inputs]
        while len(nulls) < 2:
            dummy = unique(0, 0, note_hash(note_partial(sender.address, rng.randrange(R)), 0))
            nulls.append(nullifier(dummy, sender.nsk))
        total = funds + notes_in - notes_out
        first = rng.randrange(total + 1)
        outputs = []
        for i, value in enumerate((first, total - first)):
            who, randomness = rng.choice(self.accounts), rng.randrange(R)
            partial = note_partial(who.address, randomness)
            outputs.append((who, partial, value, unique(nulls[0], i, note_hash(partial, value))))
        logs, tags = self.logs(2, BUILT_IN_CONTRACT)
        effects = self.effects(nullifiers=nulls, note_hashes=[o[3] for o in outputs], tags=tags, logs=logs, **f)

        def settle(tx):
            for note in inputs:
                sender.notes.remove(note)
            for who, partial, value, leaf in outputs:
                who.own(partial, value, leaf)
            if not payer:
                sender.own(f["refund_partial"], tx["left"], tx["notes"][7])
            if claim:
                self.deposits.remove(claim)
                self.claimed.append(claim)
            self.gone += tx["fee"] + f.get("withdraw_amount", 0)

        return effects, logs, settle

    def contract(self, block):
        """A transaction of the private kernel: any counts, siloed values, messages to L1, a payer."""
        rng, contract = self.rng, self.rng.randrange(16, R)
        gas, fee = self.settings(block, rng.randrange(4) == 0)
        payers = [(a, None) for a in self.accounts if self.balance(a) >= fee]
        ready = [d for d in self.deposits if d[3] < block.number and self.balance(d[0]) + d[1] >= fee]
        if ready and rng.randrange(3) == 0:
            payers = [(d[0], d) for d in ready]
        if not payers:
            return None
        payer, claim = rng.choice(payers)
        claimed = {"claim_amount": claim[1], "claim_index": claim[2]} if claim else {}
        count = rng.choice([8, rng.randrange(1, 9)])
        nulls = [h(TAGS["SILO_NULLIFIER"], contract, rng.randrange(R)) for _ in range(count)]
        notes = [unique(nulls[0], i, h(TAGS["SILO_NOTE"], contract, rng.randrange(R))) for i in range(rng.randrange(9))]
        logs, tags = self.logs(rng.randrange(9), contract)
        messages = [message_out(contract, rng.randrange(1 << 160), rng.randrange(R)) if rng.randrange(2) else 0 for _ in range(2)]
        effects = self.effects(
            nullifiers=nulls, note_hashes=notes, tags=tags, logs=logs, messages=messages, gas=gas,
            fee_payer=payer.address, expiry_slot=block.slot + rng.randrange(9), **claimed,
        )  # fmt: skip

        def settle(tx):
            if claim:
                self.deposits.remove(claim)
                self.claimed.append(claim)
            self.gone += tx["fee"]

        return effects, logs, settle

    def transaction(self, block):
        for _ in range(8):
            kind = self.rng.choice(["payer", "notes", "notes", "claim", "top_up", "withdraw_balance", "withdraw_notes", "contract"])
            made = self.contract(block) if kind == "contract" else self.built_in(block, kind)
            if made:
                return made
        return None

    # -- mistakes

    def mistake(self, block, effects, logs):
        """One rule broken in a transaction that is valid: (effects, logs, name of the rejection)."""
        rng, e, logs = self.rng, list(effects), [list(log) for log in logs]
        f = dict(zip(EFFECT_NAMES, e))
        at = EFFECT_NAMES.index
        nulls = sum(n != 0 for n in e[:8])

        def put(**changes):
            for name, value in changes.items():
                e[at(name)] = value

        def gas(l2_teardown):
            e[at("gas.l2_teardown_gas_limit")] = l2_teardown
            e[at("gas.l2_gas_limit")] = L2_GAS + l2_teardown

        kind = rng.randrange(23)
        if kind == 0:
            e[0], name = 0, "first_nullifier_absent"
        elif kind == 1 and nulls < 7:
            e[7], name = 5, "gap"
        elif kind == 2:
            # A tag without a log, or the last log without its tag.
            e[16 if not logs else 15 + len(logs)], name = 0 if logs else 5, "tag_and_log"
        elif kind == 3 and logs:
            logs[0][4] = (logs[0][4] + 1) % R
            name = "log"
        elif kind == 4:
            name = "public_calls"
            put(public_calls_hash=1)
        elif kind == 5 and not f["claim_amount"]:
            name = "claim_shape"
            put(claim_index=64)
        elif kind == 6 and not f["fee_payer"]:
            name = "claim_without_payer"
            put(claim_index=64, claim_amount=1)
        elif kind == 7 and not f["withdraw_amount"]:
            name = "withdraw_shape"
            put(withdraw_recipient=7)
        elif kind == 8 and f["withdraw_amount"]:
            e[32], name = 9, "message_0_taken"
        elif kind == 9:
            name = "refund_shape"
            put(refund_partial=0 if f["refund_partial"] else 11)
        elif kind == 10 and not f["fee_payer"]:
            e[8:16], name = range(1, 9), "note_7_taken"
        elif kind == 11:
            name = "expired"
            put(expiry_slot=block.slot - 1)
        elif kind == 12:
            which = rng.randrange(2)
            e[36 + which], name = block.prices[which] - 1, "price"
        elif kind == 13:
            which = rng.randrange(2)
            e[38 + which], name = (L2_GAS, DA_GAS)[which] + e[40 + which] - 1, "gas_limit"
        elif kind == 14:
            gas((1 << 64) - 1 - L2_GAS)
            name = "fee_overflow"
        elif kind == 15 and (block.prices[0] + block.prices[1]) * 4 * 10**6 < 1 << 64:
            gas(CONFIG["l2_gas_limit"] - L2_GAS - block.use[0] + 1)
            name = "block_gas"
        elif kind == 16 and nulls < 8:
            e[nulls], name = e[0], "nullifier_repeated"
        elif kind == 17 and block.txs:
            e[0], name = rng.choice(block.txs)["effects"][0], "nullifier_spent"
        elif kind == 18 and f["claim_amount"]:
            name = "claim_unknown"
            put(claim_amount=f["claim_amount"] + 1)
        elif kind == 18 and f["fee_payer"] and any(d[3] >= block.number for d in self.deposits):
            # A deposit that is on L1 already, and in a later tree.
            who, amount, index, _ = next(d for d in self.deposits if d[3] >= block.number)
            name = "claim_unknown"
            put(fee_payer=who.address, claim_amount=amount, claim_index=index)
        elif kind == 19 and self.claimed and f["fee_payer"]:
            who, amount, index, _ = rng.choice(self.claimed)
            name = "claim_spent"
            put(fee_payer=who.address, claim_amount=amount, claim_index=index)
        elif kind == 20:
            name = "value_too_low"
            put(notes_in=(1 << 64) - 1)
        elif kind == 21 and f["fee_payer"] and self.chain.state.public.get(fee_slot(f["fee_payer"])):
            name = "value_overflow"
            put(notes_out=(1 << 64) - 1)
            _, fee = fee_of(f, block.prices)
            if (self.chain.state.public.get(fee_slot(f["fee_payer"])) + f["claim_amount"]
                    <= fee + f["withdraw_amount"] + f["notes_in"]):  # fmt: skip
                return None
        elif kind == 22:
            which = rng.choice([i for i, (_, bits) in enumerate(EFFECTS) if bits])
            e[which], name = 1 << EFFECTS[which][1], "range"
        else:
            return None
        return e, logs, name

    # -- blocks

    def size(self, block):
        """Counts, changed leaves and sums: what a rejection must leave alone."""
        s = self.chain.state
        trees = (s.notes, s.nullifiers.tree, s.public.tree, s.messages, s.archive)
        return [(t.count, sorted(t.dirty)) for t in trees], list(block.use), block.fees, block.hash, len(block.txs)

    def block(self, count=None, with_range=False):
        """Messages, then a block of about so many transactions. Returns the block and what a line needs."""
        rng = self.rng
        sent = self.send_messages()
        self.slot += 1 if rng.randrange(4) else rng.randrange(1, 20)
        block = self.chain.open_block(self.slot, rng.randrange(1 << 160))
        if count is None:
            count = rng.choice([0, 0, 1, 1, 1, 1, 2, 2, 3, rng.randrange(4, 9)]) if rng.randrange(32) else rng.randrange(9, 33)
        anchors, rejected = [], []
        for _ in range(count):
            made = self.transaction(block)
            if not made:
                continue
            effects, logs, settle = made
            if rng.randrange(4) == 0:
                wrong = next(filter(None, (self.mistake(block, effects, logs) for _ in range(9))), None)
                if wrong:
                    before = self.size(block)
                    try:
                        block.apply(*wrong[:2])
                    except Rejected as error:
                        # A block without gas for the transaction rejects it before the state is asked.
                        assert str(error) in (wrong[2], "block_gas"), (str(error), wrong[2])
                        assert self.size(block) == before, "a rejected transaction left something"
                        rejected.append((len(block.txs), *wrong[:2], str(error)))
                    else:
                        raise AssertionError("accepted: " + wrong[2])
            try:
                tx = block.apply(effects, logs, with_range)
            except Rejected as error:
                assert str(error) == "block_gas", error
                rejected.append((len(block.txs), effects, logs, "block_gas"))
                continue
            settle(tx)
            anchors.append(rng.randrange(block.number))
        block.finish(rng.randbytes(48))
        self.headers.append(header_hash(block.header))
        return block, sent, anchors, rejected

    def line(self, block, sent, anchors, rejected):
        """One block as plain data: what goes in, and what must come out.

        In: `messages_sent`, in order, before the block (kind 1 is a deposit of `content` units to `recipient`); `slot`,
        `coinbase`, `commitment`; `txs` with the block of their anchor; `rejected`, each to be tried before the
        transaction of its `before_tx`. Out: the rest; `left` is the payer's balance or the refund, `inbox_open` the
        number of the open tree after the block, `record` the block's words on L1 with l1Block 1,000 + slot and signer 0
        alone, `epoch_root` the inputs for the epoch's blocks so far. Pairs are the trivial one.
        """
        c = self.chain

        def shown(effects, logs):
            return {"effects": hxs(effects), "logs": [hxs(log) for log in logs]}

        txs = [
            {**shown(tx["effects"], tx["logs"]), "anchor_block": a, "tx_hash": hx(tx["tx_hash"]), "fee": hx(tx["fee"]),
             "left": hx(tx["left"])}
            for tx, a in zip(block.txs, anchors)
        ]  # fmt: skip
        f = dict(zip(HEADER_NAMES, block.header))
        blob = blob_bytes(blob_encode(block.words)) if block.txs else b""
        record = block_record(block.archive_after, block.chain_after, f["out_root"], f["coinbase"], f["slot"],
                              1_000 + f["slot"], f["total_fees"], 1, f["tx_count"])  # fmt: skip
        return {
            "block": block.number,
            "messages_sent": [{n: v if n in ("block", "index", "kind") else hx(v) for n, v in m.items()} for m in sent],
            "slot": block.slot, "coinbase": hx(block.coinbase), "commitment": "0x" + block.commitment.hex(), "txs": txs,
            "rejected": [{"before_tx": i, **shown(e, logs), "name": name} for i, e, logs, name in rejected],
            "header": hxs(block.header), "header_hash": hx(self.headers[-1]), "z": hx(block.z), "y": hx(block.y),
            "blob_sha256": "0x" + sha(blob).hex(), "link": hxs(block.link), "chain": hx(block.chain_after),
            "archive_root": hx(block.archive_after), "inbox_open": c.inbox.open, "record": hxs(record),
            "block_range": hxs(block.range[n] for n in BLOCK_RANGE),
            "epoch_root": hxs(block.epoch_root[n] for n in EPOCH_ROOT),
        }  # fmt: skip

    def genesis_line(self):
        c, g = self.chain, self.genesis
        return {
            "block": 0, "chain_id": CHAIN_ID, "rollup": hx(ROLLUP), "vk_root": hx(c.constants["constants.vk_root"]),
            "version": hx(c.version), "prover_id": hx(PROVER), "config": CONFIG, "charged_rows": ROWS,
            "fee_per_l2_gas": g["prices"][0], "fee_per_da_gas": g["prices"][1],
            "notes": [{"owner": hx(o), "value": v, "randomness": hx(x)} for o, v, x in g["notes"]],
            "fee_balances": [{"address": hx(a), "amount": v} for a, v in g["balances"]],
            "header": hxs(c.header), "header_hash": hx(self.headers[0]), "archive_root": hx(c.state.archive.root()),
        }  # fmt: skip
