#!/usr/bin/env python3
"""A second, naive model of the protocol's hashes, trees and encodings.

It shares no code with the crate and rebuilds every tree from its leaves, so that an error in one of
the two shows as a difference. Poseidon2's constants are read from the algebra room, which checks
them against Noir's.

Usage: python3 model.py > protocol.json
"""

import hashlib
import json
import pathlib
import re

R = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
SOURCE = pathlib.Path(__file__).parents[3] / "algebra/src/poseidon2/constants.rs"
WORDS = [int(w, 16) for w in re.findall(r'hex\(\s*"([0-9a-f]{64})"', SOURCE.read_text())]
EXTERNAL = [WORDS[i * 4 : i * 4 + 4] for i in range(8)]
INTERNAL = WORDS[32:88]
DIAGONAL = WORDS[88:92]
M4 = [[5, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6]]


def mix(s):
    return [sum(m * x for m, x in zip(row, s)) % R for row in M4]


def permute(s):
    s = mix(s)
    for rc in EXTERNAL[:4]:
        s = mix([pow(x + c, 5, R) for x, c in zip(s, rc)])
    for rc in INTERNAL:
        s = [pow(s[0] + rc, 5, R)] + s[1:]
        total = sum(s)
        s = [(x * d + total) % R for x, d in zip(s, DIAGONAL)]
    for rc in EXTERNAL[4:]:
        s = mix([pow(x + c, 5, R) for x, c in zip(s, rc)])
    return s


def h(domain, *inputs):
    s = [0, 0, 0, domain + (len(inputs) << 64)]
    for i in range(0, max(len(inputs), 1), 3):
        chunk = list(inputs[i : i + 3]) + [0] * 4
        s = permute([(x + y) % R for x, y in zip(s, chunk[:3] + [0])])
    return s[0]


NODE, NOTE, UNIQUE, NULLIFIER, NPK, ADDRESS, TX, TXS_CHAIN, HEADER, CHAIN = range(1, 11)
NULLIFIER_LEAF, PUBLIC_LEAF, FEE_SLOT, VK_LEAF, TAG, _, _, _, GENESIS = range(11, 20)

EMPTY = [0]
for _ in range(32):
    EMPTY.append(h(NODE, EMPTY[-1], EMPTY[-1]))


def root(leaves, height):
    row = list(leaves)
    for level in range(height):
        if len(row) % 2:
            row.append(EMPTY[level])
        row = [h(NODE, row[i], row[i + 1]) for i in range(0, len(row), 2)]
        if not row:
            return EMPTY[height]
    return row[0]


def indexed(entries):
    """Leaves (key, value, next key, next index) of these (key, value) in order of insertion."""
    keys = sorted(k for k, _ in entries)
    index = {k: i for i, (k, _) in enumerate(entries)}
    out = []
    for key, value in entries:
        at = keys.index(key) + 1
        after = keys[at] if at < len(keys) else 0
        out.append((key, value, after, index[after] if after else 0))
    return out


def sha_field(data):
    return int.from_bytes(b"\0" + hashlib.sha256(data).digest()[1:], "big")


def word(x):
    return x.to_bytes(32, "big")


def hx(x):
    return "0x" + word(x).hex()


class State:
    def __init__(self):
        self.notes, self.nullifiers, self.public, self.archive = [], [(0, 0)], [(0, 0)], []

    def refs(self):
        nulls = [h(NULLIFIER_LEAF, k, n, i) for k, _, n, i in indexed(self.nullifiers)]
        public = [h(PUBLIC_LEAF, *leaf) for leaf in indexed(self.public)]
        return [
            root(self.notes, 32), len(self.notes),
            root(nulls, 32), len(nulls),
            root(public, 32), len(public),
            EMPTY[32], 0,
        ]

    def archive_root(self):
        return root(self.archive, 24)


def main():
    chain_id, version, time = 31337, 1, 1_700_000_000
    price = (2, 3)
    nsk = [1000 + i for i in range(3)]
    vpk = [(2000 + i, 3000 + i) for i in range(3)]
    npk = [h(NPK, k) for k in nsk]
    address = [h(ADDRESS, n, *v) for n, v in zip(npk, vpk)]
    notes = [(address[i % 3], 100 * (i + 1), 7000 + i) for i in range(11)]
    balances = [(address[0], 10_000_000), (address[1], 500_000)]

    origin = h(GENESIS, chain_id, version)
    hashes = [h(NOTE, *n) for n in notes]
    leaves = [h(UNIQUE, origin, i, x) for i, x in enumerate(hashes)]

    state = State()
    state.notes = leaves + [0] * (-len(leaves) % 8)
    state.public += [(h(FEE_SLOT, a), v) for a, v in balances]
    header0 = [chain_id, version, 0, 0, time, 0, *price, 0, 0, state.archive_root(), *state.refs(), 0, 0, 0]
    header0_hash = h(HEADER, *header0)
    state.archive.append(header0_hash)

    fee = 100_000 * price[0] + 2_000 * price[1]
    txs, txs_chain = [], 0
    for t in range(2):
        nulls = [h(NULLIFIER, leaves[2 * t + j], nsk[t]) for j in range(2)] + [0] * 6
        made = [h(UNIQUE, nulls[0], j, h(NOTE, address[j], 5 + t, 90 + j)) for j in range(2)] + [0] * 6
        logs = [bytes([t * 16 + j]) * 128 for j in range(2)]
        tags = [h(TAG, 42 + t, j) for j in range(2)] + [0] * 6
        log_hashes = [sha_field(log) for log in logs] + [0] * 6
        gas = [10, 20, 150_000, 4_000, 0, 0]
        fields = nulls + made + tags + log_hashes + [0, 0] + [address[t]] + gas
        tx_hash = h(TX, *fields)
        txs_chain = h(TXS_CHAIN, txs_chain, tx_hash)
        txs.append((fields, logs, tx_hash))
        state.notes += made
        state.nullifiers += [(n, 0) for n in nulls if n]
        slot = h(FEE_SLOT, address[t])
        state.public = [(k, v - fee if k == slot else v) for k, v in state.public]

    coinbase, slot, last = int("c0" * 20, 16), 5, state.archive_root()
    header1 = [chain_id, version, 1, slot, time + 60, coinbase, *price, 2 * fee, 2, last, *state.refs(), txs_chain, 0, 0]
    header1_hash = h(HEADER, *header1)
    state.archive.append(header1_hash)

    data = b"\x01" + b"".join(map(word, header1))
    for fields, logs, _ in txs:
        data += b"".join(map(word, fields)) + b"".join(logs)
    data_hash = sha_field(data)
    chain = h(CHAIN, 0, header1_hash, data_hash, state.archive_root(), slot, coinbase, 2 * fee)

    fields, logs, _ = txs[0]
    tx_bytes = b"\x01" + chain_id.to_bytes(8, "big") + version.to_bytes(8, "big") + word(header0_hash)
    tx_bytes += b"".join(map(word, fields)) + b"".join(logs) + (3).to_bytes(4, "big") + b"abc"

    json.dump(
        {
            "hash_0": hx(h(7)), "hash_1": hx(h(7, 1)), "hash_4": hx(h(7, 1, 2, 3, 4)),
            "empty_roots": [hx(x) for x in EMPTY],
            "genesis": {
                "format": 1, "chain_id": chain_id, "rollup_version": version, "timestamp": time,
                "fee_per_l2_gas": price[0], "fee_per_da_gas": price[1],
                "notes": [{"owner": hx(o), "value": v, "randomness": hx(r)} for o, v, r in notes],
                "fee_balances": [{"address": hx(a), "amount": v} for a, v in balances],
            },
            "keys": [
                {"nsk": hx(k), "vpk_x": hx(v[0]), "vpk_y": hx(v[1]), "npk": hx(n), "address": hx(a)}
                for k, v, n, a in zip(nsk, vpk, npk, address)
            ],
            "note_hashes": [hx(x) for x in hashes],
            "unique": [hx(x) for x in leaves],
            "nullifier_0": hx(h(NULLIFIER, leaves[0], nsk[0])),
            "fee_slots": [hx(h(FEE_SLOT, a)) for a, _ in balances],
            "genesis_header": [hx(x) for x in header0],
            "genesis_header_hash": hx(header0_hash),
            "genesis_archive_root": hx(last),
            "txs": [
                {"fields": [hx(x) for x in f], "logs": ["0x" + log.hex() for log in ls], "hash": hx(x)}
                for f, ls, x in txs
            ],
            "tx_0_bytes_with_proof_abc": "0x" + tx_bytes.hex(),
            "header": [hx(x) for x in header1],
            "header_hash": hx(header1_hash),
            "archive_root": hx(state.archive_root()),
            "data_sha256": "0x" + hashlib.sha256(data).hexdigest(),
            "data_hash": hx(data_hash),
            "chain": hx(chain),
        },
        __import__("sys").stdout, indent=1,
    )


main()
