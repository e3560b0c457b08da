#!/usr/bin/env python3
"""A second, naive model of protocol 2: formats, rules and whole blocks. It shares no code with the crates.

`hashes2.py` has hashes and trees, `formats2.py` layouts, blobs and L1 words, `chain2.py` the rules of transactions and blocks,
`random2.py` wallets and mistakes. docs/book/protocol-2.md is the specification that all four follow.

Usage: python3 model2.py > protocol2.json          fixed vectors
       python3 model2.py --random SEED N           genesis, then N random blocks, one JSON object a line
"""

import pathlib
import sys

# The vectors are made with `python3 -I`, which does not look beside the script.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import hashlib  # noqa: E402
import json  # noqa: E402

from chain2 import *  # noqa: E402
from random2 import CHAIN_ID, CONFIG, PROVER, ROLLUP, ROWS, Rng, World, vk_tree  # noqa: E402

FULL_CHECK_EVERY = 64

# KZG commitment to the blob of `blob()`, and the proof of its value at the point that follows from it. Computed with
# c-kzg 2.1.8 over Ethereum's setup, which this model does not have; c-kzg found the same value.
SAMPLE_COMMITMENT = bytes.fromhex(
    "921a9d1d2d7525d6ccbc2dbbc7a9456036fabf8d7065eb763ca8a76c0614a27ace5f3bf320795c7c18dd59fec64813f0"
)
SAMPLE_PROOF = "950c562387edf6af523a1747ab8f64b5c4b6fb0ad6c2e62dcd0c971b52ca4d1599ff163a620f225e53beb7a450c5b2f2"

EVENTS = {
    "Rollup": [
        "BlockProposed(uint64,bytes32,bytes32,bytes32,uint64,address,uint128,uint16,bytes32,uint256,uint256,bytes,bytes32,bytes32,uint64,address)",
        "EpochProven(uint64,uint64,uint64,uint64,address,uint64,bool)",
        "Pruned(uint64,uint64,uint64)",
        "EpochSettled(uint64)",
    ],
    "Inbox": ["MessageSent(uint64,uint64,bytes32,uint8,address,bytes32,bytes32,bytes32)"],
    "Outbox": ["MessageConsumed(uint64,uint16,uint8,bytes32)"],
}


def described(layout):
    """The fields in order; 0 bits stand for any field element."""
    return [{"name": n, "bits": b} for n, b in layout]


def formats():
    """Hashes and forms, each over small distinct inputs."""
    v = {"hash": [hx(h(7, *range(1, n + 1))) for n in range(8)], "empty_roots": hxs(EMPTY)}
    v["keccak"] = [{"bytes": "0x" + d.hex(), "digest": "0x" + keccak(d).hex()} for d in (b"", b"abc", bytes(range(200)))]
    config, (tree, leaves) = config_hash(CONFIG), vk_tree()
    vk_root = tree.root()
    v["config"] = {"fields": CONFIG, "hash": hx(config)}
    digest = keccak(word(CHAIN_ID) + word(ROLLUP) + word(vk_root) + word(config))
    v["version"] = {"chain_id": CHAIN_ID, "rollup": hx(ROLLUP), "vk_root": hx(vk_root), "config_hash": hx(config),
                    "keccak": "0x" + digest.hex(), "version": version_of(CHAIN_ID, ROLLUP, vk_root, config)}  # fmt: skip
    assert v["version"]["version"] == int.from_bytes(digest[:8], "big")
    root_1 = CIRCUITS.index("epoch_root_1")
    assert all(climb(leaf, i, tree.path(i)) == vk_root for i, leaf in enumerate(leaves))
    assert naive_root(leaves, VK_HEIGHT) == vk_root
    v["key_tree"] = {
        "height": VK_HEIGHT, "circuits": CIRCUITS, "reserved": RESERVED_ROLES, "charged_rows": ROWS,
        "digests": [hx(h(TAGS["VK_DIGEST"], i)) for i in range(len(CIRCUITS))], "leaves": hxs(leaves), "root": hx(vk_root),
        "epoch_root_1_path": hxs(tree.path(root_1)), "epoch_root_2_path": hxs(tree.path(root_1 + 1)),
    }  # fmt: skip
    nsk, vpk = 1000, (2000, 3000)
    who = address(npk(nsk), vpk)
    partial = note_partial(who, 77)
    note = note_hash(partial, 5)
    leaf = unique(88, 7, note)
    in_leaf, out_leaf, deposit = message_in(1, 2, 3, 4, 64), message_out(1, 2, 3), deposit_leaf(who, 9, 65)
    v["forms"] = {
        "npk": hx(npk(nsk)), "address": hx(who), "address_of_contract": hx(address(npk(nsk), vpk, 6)),
        "note_partial": hx(partial), "note": hx(note), "unique_note": hx(leaf), "nullifier": hx(nullifier(leaf, nsk)),
        "fee_slot": hx(fee_slot(who)), "silo_note": hx(h(TAGS["SILO_NOTE"], 17, 3)),
        "silo_nullifier": hx(h(TAGS["SILO_NULLIFIER"], 17, 3)), "silo_tag": hx(silo_tag(17, 3)),
        "app_key": hx(h(TAGS["APP_KEY"], nsk, 17)), "log_hash": hx(log_hash([1, 2, 3, 4, 5])),
        "log_words_of_bytes_0_to_127": hxs(log_words(bytes(range(128)))), "log_hash_of_zeros": hx(log_hash([0] * 5)), "message_in": hx(in_leaf), "fee_deposit": hx(deposit),
        "message_chain": hx(message_chain([in_leaf, deposit])), "message_chain_of_one": hx(message_chain([in_leaf])),
        "claim": hx(claim_nullifier(deposit)), "message_out": hx(out_leaf), "withdraw": hx(withdraw_leaf(2, 3)),
        "partial_of_contract": hx(h(TAGS["ADDRESS_PARTIAL"], 1, 2, 3, 4)),
        "class": hx(h(TAGS["CLASS"], 1, 2, 3)), "function": hx(h(TAGS["FUNCTION"], 1, 2, 3)),
    }  # fmt: skip
    # Forms that take as many words must not meet.
    single = [x for x in v["forms"].values() if isinstance(x, str)]
    assert len(set(single)) == len(single)
    return v


def prices():
    """The price rule at its bounds; each result is within them, and no price above the least is stuck.

    Only genesis can have a price of 0 or above the cap.
    """
    cases = []
    for price in (0, 1, 2, 7, 8, 9, 1000, 1 << 39, PRICE_MAX - 1, PRICE_MAX, PRICE_MAX + 1, (1 << 64) - 1):
        for used, target in ((0, 1_600_000), (1, 1_600_000), (1_599_999, 1_600_000), (1_600_000, 1_600_000),
                             (1_600_001, 1_600_000), (3_200_000, 1_600_000), (3_200_000, 1), (0, 1), (1, 1)):  # fmt: skip
            for least in (1, 8, PRICE_MAX):
                result = next_price(price, used, target, least)
                assert least <= result <= PRICE_MAX
                cases.append([price, used, target, least, result])
    price = PRICE_MAX
    for _ in range(400):
        price = next_price(price, 0, 1_600_000, 1)
    assert price == 1
    # Every fee of a block within its gas limits, and so the sum, is below 2^62.
    assert PRICE_MAX * (3_200_000 + 64_000) < 1 << 62
    # The largest timestamp fits 64 bits.
    assert (1 << 40) - 1 + ((1 << 48) - 1) * ((1 << 16) - 1) < 1 << 64
    return cases


def work():
    """Charged rows, with the figures of protocol 1 as a second example; they grow with every block."""
    old = dict.fromkeys(CIRCUITS, 0) | {"tx_base": 76_792, "tx_merge": 114_951, "block_root_2": 116_712, "epoch_root_2": 114_988}
    assert num_constraints(old, [2, 2]) == 655_580
    cases = [[0], [1], [2], [32], [0, 0], [1, 0], [2, 2], [0, 0, 0], [5, 32, 1, 0, 3]]
    for counts in cases:
        for more in (0, 1, 2, 32):
            assert num_constraints(ROWS, counts + [more]) > num_constraints(ROWS, counts)
    return [{"counts": c, "num_constraints": num_constraints(ROWS, c)} for c in cases]


def inbox():
    """A script of sends, blocks and prunes, and a long random one that only checks that blocks can follow."""
    box, script = Inbox(), []

    def send(n):
        for _ in range(n):
            block, index, _ = box.send(lambda i: i + 1_000_000)
        script.append({"send": n, "last_block": block, "last_index": index, "open": box.open})

    def propose(n):
        script.append({"propose": n, "in_hash": hx(box.consume(n)), "open": box.open})

    send(3)  # for block 2: block 1 has none
    propose(1)
    send(64)  # all that block 3 takes
    send(1)  # for block 4
    propose(2)
    propose(3)  # block 4 takes no more
    send(2)
    propose(2)  # after a prune back to block 1: the same hash, nothing moves
    propose(3)
    propose(4)
    send(200)
    propose(5)
    propose(6)
    assert script[1]["in_hash"] == hx(0) and script[4]["in_hash"] == script[7]["in_hash"] != hx(0)

    rng, box, tip, seen = Rng(1), Inbox(), 0, {}
    for _ in range(200):
        step = rng.randrange(10)
        if step < 5:
            for _ in range(rng.choice((1, 2, 63, 64))):
                box.send(lambda i: i + 1)
        elif step < 9:
            tip += 1
            # The hash is that of all leaves of the number, and never changes once the block was proposed.
            value = box.consume(tip)
            assert value == message_chain(box.leaves.get(tip, []))
            assert seen.setdefault(tip, value) == value
            # The next block's leaves are known from now on, whatever else is sent.
            assert box.open >= tip + 2
            seen.setdefault(tip + 1, box.hashes.get(tip + 1, 0))
        else:
            tip -= rng.randrange(min(tip, 20) + 1)
    for n, leaves in box.leaves.items():
        assert [leaf - 1 for leaf in leaves] == list(range((n - 1) * SUBTREE, (n - 1) * SUBTREE + len(leaves)))
    return script


def outbox():
    """Trees of messages to L1 for every number of transactions, and paths at the edges."""
    cases = []
    for n in range(33):
        pairs = [(h(1, 2 * i), h(1, 2 * i + 1)) for i in range(n)]
        root = out_root(pairs)
        row, merges = merge_plan(list(range(n)))

        def of(node):
            return h(NODE, *pairs[node]) if isinstance(node, int) else h(NODE, of(node[0]), of(node[1]))

        # The prover's plan makes this very tree.
        assert root == (0 if not n else of(row[0]) if len(row) == 1 else h(NODE, of(row[0]), of(row[1])))
        for tx in sorted({0, n // 2, n - 1} if n else ()):
            for which in (0, 1):
                path = out_path(pairs, tx, which)
                assert len(path) <= 6 and out_walk(pairs[tx][which], tx, which, n, path) == root
                assert out_walk(pairs[tx][which], tx, which, n, path + [0]) is None
                other = out_walk(pairs[tx][which], tx, 1 - which, n, path)
                assert other != root
        case = {"tx_count": n, "root": hx(root)}
        if n:
            case["paths"] = [
                {"tx": tx, "which": w, "leaf": hx(pairs[tx][w]), "path": hxs(out_path(pairs, tx, w))}
                for tx, w in {(0, 0), (n - 1, 1), (out_split(n) % n if n > 1 else 0, 0)}
            ]
            case["paths"].sort(key=lambda p: (p["tx"], p["which"]))
        cases.append(case)
    return cases


def blob():
    """Encoding, decoding, both evaluations, and blobs that a reader must reject."""
    words = [h(1, i) for i in range(2 * TX_WORDS)]
    values = blob_encode(words)
    z = blob_z(words[0], SAMPLE_COMMITMENT)
    y = evaluate(words, z)
    assert evaluate_blob(values, z) == y
    # Values of two monomials, from the definition.
    for k in (0, 1, 4095):
        monomial = blob_encode([0] * k + [1])
        assert all(monomial[i] == pow(ROOTS[REVERSED[i]], k, Q) for i in (0, 1, 2, 4095))
    assert pow(ROOTS[1], 2048, Q) == Q - 1
    for change in (lambda w: w[: 2 * TX_WORDS] + [1], lambda w: w[:63] + [5] + w[64:]):
        try:
            # A word beyond the last transaction, a word of an absent log.
            blob_decode(blob_encode(change([1] + [0] * 163)), 2)
        except ValueError:
            continue
        raise AssertionError("a wrong blob was read")
    return {
        "words": hxs(words), "txs_chain": hx(words[0]), "z": hx(z), "y": hx(y),
        "blob_sha256": "0x" + sha(blob_bytes(values)).hex(),
        "values": {i: hx(values[i]) for i in (0, 1, 2, 3, 2048, 4095)}, "commitment": "0x" + SAMPLE_COMMITMENT.hex(),
        "proof": "0x" + SAMPLE_PROOF, "versioned_hash": "0x" + versioned_hash(SAMPLE_COMMITMENT).hex(),
    }  # fmt: skip


def l1():
    """Packed words of storage, EIP-712 digests, event topics."""
    m = {b: (1 << b) - 1 for b in (8, 16, 40, 48, 64, 96, 128, 160)}
    domain = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    domain = keccak(domain + keccak(b"Rollmill") + keccak(b"2") + word(CHAIN_ID) + word(ROLLUP))

    def typed(kind, *words):
        return "0x" + keccak(b"\x19\x01" + domain + keccak(keccak(kind) + b"".join(map(word, words)))).hex()

    # Full fields meet no neighbour and fill their word.
    assert block_record(0, 0, 0, m[160], m[48], m[48], m[128], m[64], m[16])[3:] == [(1 << 256) - 1, (1 << 208) - 1]
    assert epoch_record(m[48], m[48], m[48], m[64], m[40], m[8], m[160], m[96]) == [(1 << 256) - 1] * 2
    return {
        "tips": hx(tips_word(1, 2, 3)),
        "block_record": hxs(block_record(11, 12, 13, PROVER, 5, 6, 7, 8, 9)),
        "epoch_record": hxs(epoch_record(1, 2, 3, 4, 5, 6, PROVER, 7)),
        "eip712_domain": "0x" + domain.hex(),
        "block_digest": typed(b"Block(uint64 number,uint64 slot,bytes32 chain)", 1, 2, 3),
        "quote_digest": typed(b"ProverQuote(address prover,uint64 epoch,uint256 fee,uint64 validUntilSlot)", PROVER, 1, 2, 3),
        "topics": {s.split("(")[0]: "0x" + keccak(s.encode()).hex() for ss in EVENTS.values() for s in ss},
    }  # fmt: skip


def epoch():
    """Blocks of no, one, two and more transactions, with the public inputs of every proof."""
    world, out = World(1), []
    genesis = world.genesis_line()
    for count in (0, 1, 2, 0, 3, 7):
        block, sent, anchors, rejected = world.block(count, with_range=True)
        block.check()
        world.check_supply()
        line = world.line(block, sent, anchors, rejected)
        base, merges = block.tx_ranges()
        c = world.chain
        line["tx_base"] = [hxs(r.values()) for r in base]
        line["tx_merge"] = [hxs(r.values()) for r in merges]
        line["client"] = [
            hxs([CHAIN_ID, c.version, c.constants["constants.vk_root"], PROTOCOL_VERSION, world.headers[a], tx["tx_hash"]]
                + TRIVIAL_PAIR)
            for tx, a in zip(block.txs, anchors)
        ]  # fmt: skip
        line["out_leaves"] = [hxs(pair) for pair in block.pairs]
        out.append(line)
    state = world.chain.state
    state.check_naive()
    index = world.claimed[0][2]
    leaf, path = state.message_leaves[index], state.message_path(index)
    assert climb(leaf, index, path) == state.messages.root()
    first = out[-1]["txs"][0]
    effects, logs = ([int(w, 16) for w in first["effects"]], [[int(w, 16) for w in log] for log in first["logs"]])
    data = tx_bytes(CHAIN_ID, world.chain.version, world.headers[0], effects, logs, 0, TRIVIAL_PAIR, b"abc")
    try:
        world.chain.open_block(world.slot, 0)
        raise AssertionError("a slot was taken twice")
    except Rejected as error:
        assert str(error) == "slot"
    return {
        "genesis": genesis, "blocks": out,
        "message_path": {"index": index, "leaf": hx(leaf), "path": hxs(path), "root": hx(state.messages.root())},
        "tx_bytes_of_last_block_tx_0_with_proof_abc": "0x" + data.hex(),
    }  # fmt: skip


def bounds():
    """A block at the bounds of what is provable, with the step beyond each bound."""
    world = World(3)
    genesis = world.genesis_line()
    world.slot = 4
    block = world.chain.open_block(world.slot, (1 << 160) - 1)
    payer, limit, rejected = world.accounts[0], CONFIG["l2_gas_limit"], []
    top = (1 << 64) - 1

    def tx(i, name=None, **changes):
        """Applies a transaction of payer 0 with these words; it is accepted, or rejected by this name."""
        first = h(TAGS["SILO_NULLIFIER"], 16, i)
        e = world.effects(nullifiers=[first], logs=[], gas=[*block.prices, L2_GAS, DA_GAS, 0, 0],
                          fee_payer=payer.address, expiry_slot=block.slot)  # fmt: skip
        for key, value in changes.items():
            e[EFFECT_NAMES.index(key.replace("__", "."))] = value
        try:
            result = block.apply(e, [])
        except Rejected as error:
            assert str(error) == name, (str(error), name)
            rejected.append((len(block.txs), e, [], name))
        else:
            assert name is None
            return result

    fee = block.prices[0] * L2_GAS + block.prices[1] * DA_GAS
    least = world.balance(payer) - fee
    # Every rule that no state is asked for, broken by one word or two.
    spare = h(TAGS["SILO_NULLIFIER"], 16, 99)
    from_notes = {"fee_payer": 0, "refund_partial": 5, "notes_out": fee}
    for name, changes in (
        ("range", {"expiry_slot": NO_EXPIRY + 1}), ("range", {"claim_amount": 1, "claim_index": 1 << MESSAGE_HEIGHT}),
        ("first_nullifier_absent", {"nullifiers__0": 0}), ("gap", {"nullifiers__2": spare}), ("gap", {"note_hashes__1": 1}),
        ("gap", {"tags__0": 1, "log_hashes__1": 1}), ("tag_and_log", {"tags__0": 1}), ("tag_and_log", {"log_hashes__0": 1}),
        ("log", {"tags__0": 1, "log_hashes__0": log_hash([0] * LOG_WORDS)}), ("public_calls", {"public_calls_hash": 1}),
        ("claim_shape", {"claim_index": 1}), ("claim_without_payer", {"claim_amount": 1, **from_notes}),
        ("withdraw_shape", {"withdraw_amount": 1}), ("withdraw_shape", {"withdraw_recipient": 1}),
        ("message_0_taken", {"withdraw_amount": 1, "withdraw_recipient": 1, "messages__0": 1}),
        ("refund_shape", {"refund_partial": 5}), ("refund_shape", {"fee_payer": 0}),
        ("note_7_taken", {f"note_hashes__{i}": 1 + i for i in range(SLOTS)} | from_notes),
        ("price", {"gas__max_fee_per_l2_gas": block.prices[0] - 1}), ("price", {"gas__max_fee_per_da_gas": block.prices[1] - 1}),
        ("gas_limit", {"gas__l2_teardown_gas_limit": 1}), ("gas_limit", {"gas__da_gas_limit": DA_GAS - 1}),
        ("gas_limit", {"gas__l2_teardown_gas_limit": top, "gas__l2_gas_limit": top}),
        ("fee_overflow", {"gas__da_teardown_gas_limit": top - DA_GAS, "gas__da_gas_limit": top}),
        ("nullifier_repeated", {"nullifiers__1": h(TAGS["SILO_NULLIFIER"], 16, 0)}),
        ("claim_unknown", {"claim_amount": 1}),
    ):  # fmt: skip
        tx(0, name, **changes)
    tx(0, "expired", expiry_slot=block.slot - 1)
    tx(0, "value_overflow", notes_out=top - least + 1)
    assert tx(0, notes_out=top - least)["left"] == top
    tx(0, "nullifier_spent")
    tx(1, "value_too_low", withdraw_amount=top - fee + 1, withdraw_recipient=(1 << 160) - 1)
    assert tx(1, withdraw_amount=top - fee, withdraw_recipient=(1 << 160) - 1)["left"] == 0
    # A stranger's slot is inserted with a balance of 0.
    count = world.chain.state.public.tree.count
    assert tx(2, fee_payer=7, notes_out=fee)["left"] == 0 and world.chain.state.public.tree.count == count + 1
    # Without a payer a refund of 0 is a note all the same, and notes of value 0 leave slot 7 alone.
    tx(3, "value_too_low", fee_payer=0, refund_partial=5, notes_out=fee - 1)
    none = tx(3, fee_payer=0, refund_partial=5, notes_out=fee)
    assert none["notes"][7] == unique(h(TAGS["SILO_NULLIFIER"], 16, 3), 7, note_hash(5, 0))
    # The rest of the block's L2 gas in one transaction, and one unit more.
    rest = limit - block.use[0] - L2_GAS
    paid = {"notes_out": block.prices[0] * (L2_GAS + rest) + block.prices[1] * DA_GAS, "gas__l2_gas_limit": top}
    tx(4, "block_gas", gas__l2_teardown_gas_limit=rest + 1, **paid)
    tx(4, gas__l2_teardown_gas_limit=rest, **paid)
    tx(5, "block_gas", notes_out=fee)
    assert block.use[0] == limit
    block.finish(bytes([255]) * 48)
    block.check()
    world.headers.append(header_hash(block.header))
    line = world.line(block, [], [0] * len(block.txs), rejected)

    # 32 transactions, not 33; the last slot of all.
    block = world.chain.open_block(NO_EXPIRY, 0)
    fee = block.prices[0] * L2_GAS + block.prices[1] * DA_GAS
    for i in range(MAX_TXS):
        tx(100 + i, notes_out=fee, expiry_slot=NO_EXPIRY)
    tx(200, "block_full", notes_out=fee, expiry_slot=NO_EXPIRY)
    block.finish(bytes(48))
    block.check()
    assert block.header[11] == MAX_TXS and block.header[4] < 1 << 64
    try:
        world.chain.open_block(NO_EXPIRY + 1, 0)
        raise AssertionError("a slot of 49 bits")
    except Rejected as error:
        assert str(error) == "slot"
    world.chain.state.check_naive()
    return {"genesis": genesis, "block": line}


def self_checks():
    # SHA3-256 differs from Keccak-256 in one byte of padding, so the library's checks the permutation.
    for n in (0, 1, 135, 136, 137, 500):
        data = bytes(i % 251 for i in range(n))
        assert keccak(data, 0x06) == hashlib.sha3_256(data).digest()
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert len(set(TAGS.values())) == len(TAGS)
    # A path of each height holds as many leaves as the specification says.
    assert MAX_TXS * TX_WORDS == 2_624 <= BLOB_WORDS and MESSAGE_HEIGHT - SUBTREE_HEIGHT == ARCHIVE_HEIGHT


def fixed():
    self_checks()
    layouts = {"effects": described(EFFECTS), "header": described(HEADER_FIELDS), "config": described(CONFIG_FIELDS),
               "link": LINK_FIELDS, "client": CLIENT_INPUTS, "tx_range": TX_RANGE, "block_range": BLOCK_RANGE,
               "epoch_root": EPOCH_ROOT}  # fmt: skip
    json.dump(
        {
            "protocol_version": PROTOCOL_VERSION, "tags": TAGS, "layouts": layouts,
            "heights": {"notes": NOTE_HEIGHT, "nullifiers": NULLIFIER_HEIGHT, "public_data": PUBLIC_HEIGHT,
                        "messages": MESSAGE_HEIGHT, "archive": ARCHIVE_HEIGHT, "keys": VK_HEIGHT},
            **formats(), "prices": prices(), "work": work(), "inbox": inbox(), "out_trees": outbox(), "blob": blob(),
            "l1": l1(), "bounds": bounds(), "epoch": epoch(),
        },
        sys.stdout, indent=1,
    )  # fmt: skip


def stream(seed, count):
    self_checks()
    world = World(seed)
    print(json.dumps(world.genesis_line()))
    for i in range(count):
        made = world.block()
        world.check_supply()
        if i < 8 or i % FULL_CHECK_EVERY == 0:
            made[0].check()
        print(json.dumps(world.line(*made)), flush=True)
    world.chain.state.check_naive()


def main(args):
    if args[:1] == ["--random"] and len(args) == 3:
        stream(int(args[1]), int(args[2]))
    elif args:
        sys.exit(__doc__)
    else:
        fixed()


if __name__ == "__main__":
    main(sys.argv[1:])
