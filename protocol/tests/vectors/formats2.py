"""Layouts, forms, prices, messages to L1, blobs and L1 words of protocol 2's model. No code of the crates."""

import functools

from hashes2 import *

# ---------------------------------------------------------------- constants

PROTOCOL_VERSION = ENCODING_VERSION = 2
NOTE_HEIGHT, NULLIFIER_HEIGHT, PUBLIC_HEIGHT, MESSAGE_HEIGHT, ARCHIVE_HEIGHT = 40, 40, 32, 38, 32
SUBTREE_HEIGHT = 6
SUBTREE = 1 << SUBTREE_HEIGHT
VK_HEIGHT = 5
SLOTS, LOG_WORDS, MESSAGES, MAX_TXS = 8, 5, 2, 32
TX_WORDS = 82
BLOB_WORDS = 4096
L2_GAS, DA_GAS = 100_000, 2_000
PRICE_MAX = 1 << 40
NO_EXPIRY = (1 << 48) - 1
BUILT_IN_CONTRACT = 1
TRIVIAL_PAIR = [1, 0, 2, 0, 1, 1, 0, 2, 0, 1]
"""Both sides are G − 1·G, and G is (1, 2)."""

CIRCUITS = [
    "client", "tx_base", "tx_merge", "block_root_0", "block_root_1", "block_root_2", "block_merge",
    "epoch_root_1", "epoch_root_2", "private_init", "private_inner", "private_tail",
    "private_init2",
]  # fmt: skip
RESERVED_ROLES = {13: "private_reset", 14: "root_wrap"}

# ---------------------------------------------------------------- layouts: (name, bits), 0 bits for any field element


def _many(name, n, bits=0):
    return [(f"{name}.{i}", bits) for i in range(n)]


EFFECTS = (
    _many("nullifiers", 8) + _many("note_hashes", 8) + _many("tags", 8) + _many("log_hashes", 8) + _many("messages", 2)
    + [("public_calls_hash", 0), ("fee_payer", 0)]
    + [(f"gas.{n}", 64) for n in ("max_fee_per_l2_gas", "max_fee_per_da_gas", "l2_gas_limit", "da_gas_limit",
                                  "l2_teardown_gas_limit", "da_teardown_gas_limit")]
    + [("notes_in", 64), ("notes_out", 64), ("claim_index", MESSAGE_HEIGHT), ("claim_amount", 64),
       ("withdraw_recipient", 160), ("withdraw_amount", 64), ("refund_partial", 0), ("expiry_slot", 48)]
)  # fmt: skip
TX_STATE = [("note_root", 0), ("note_count", 64), ("nullifier_root", 0), ("nullifier_count", 64),
            ("public_data_root", 0), ("public_data_count", 64)]  # fmt: skip
HEADER_FIELDS = (
    [("chain_id", 64), ("version", 64), ("block_number", 64), ("slot", 48), ("timestamp", 64), ("coinbase", 160),
     ("fee_per_l2_gas", 64), ("fee_per_da_gas", 64), ("l2_gas_used", 64), ("da_gas_used", 64), ("total_fees", 128),
     ("tx_count", 64), ("last_archive_root", 0)]
    + TX_STATE
    + [("message_root", 0), ("message_count", 64), ("txs_chain", 0), ("in_hash", 0), ("out_root", 0)]
)  # fmt: skip
CONFIG_FIELDS = [("genesis_time", 40), ("slot_seconds", 16), ("slots_per_epoch", 11), ("l2_gas_limit", 22),
                 ("l2_gas_target", 22), ("da_gas_limit", 16), ("da_gas_target", 16), ("min_fee_per_gas", 41),
                 ("message_subtree_height", 8)]  # fmt: skip
LINK_FIELDS = [
    "chain_before", "header_hash", "archive_root", "slot_count_prices", "coinbase_l2_gas", "fees_da_gas", "in_hash",
    "out_root", "z", "y_lo_c0", "y_hi_c1", "c2_c3",
]  # fmt: skip
PAIR_FIELDS = [f"pair.{n}" for n in ("l.x_lo", "l.x_hi", "l.y_lo", "l.y_hi", "s_l", "r.x_lo", "r.x_hi", "r.y_lo", "r.y_hi", "s_r")]
CONSTANTS = [f"constants.{n}" for n in ("chain_id", "version", "vk_root", "protocol_version", "config_hash", "prover_id")]
CLIENT_INPUTS = ["chain_id", "version", "vk_root", "protocol_version", "anchor_header_hash", "tx_hash"] + PAIR_FIELDS
TX_RANGE = (
    CONSTANTS + ["anchor_archive_root", "message_root", "slot", "fee_per_l2_gas", "fee_per_da_gas"]
    + [f"start.{n}" for n, _ in TX_STATE] + [f"end.{n}" for n, _ in TX_STATE]
    + ["txs_chain_start", "txs_chain_end", "fees_sum", "tx_count", "l2_gas_used", "da_gas_used",
       "z", "y_lo", "y_hi", "pow_lo", "pow_hi", "out_root"]
    + PAIR_FIELDS
)  # fmt: skip
BLOCK_RANGE = (
    CONSTANTS + ["prev_archive_root", "end_archive_root", "first_block", "last_block", "first_slot", "last_slot",
                 "chain_start", "chain_end", "num_constraints"]
    + PAIR_FIELDS
)  # fmt: skip
EPOCH_ROOT = (
    CONSTANTS + ["prev_archive_root", "end_archive_root", "first_block", "last_block", "epoch", "chain_start",
                 "chain_end", "num_constraints"]
    + PAIR_FIELDS
)  # fmt: skip

EFFECT_NAMES = [n for n, _ in EFFECTS]
HEADER_NAMES = [n for n, _ in HEADER_FIELDS]
assert (len(EFFECTS), len(HEADER_FIELDS), len(LINK_FIELDS), len(CLIENT_INPUTS)) == (50, 24, 12, 16)
assert (len(TX_RANGE), len(BLOCK_RANGE), len(EPOCH_ROOT)) == (45, 25, 24)

# ---------------------------------------------------------------- forms


def npk(nsk):
    return h(NPK, nsk)


def address(npk_, vpk, partial=0):
    return h(ADDRESS, h(TAGS["KEYS"], npk_, *vpk), partial)


def note_partial(owner, randomness):
    return h(TAGS["NOTE_PARTIAL"], owner, randomness)


def note_hash(partial, value):
    return h(NOTE, partial, value)


def unique(first_nullifier, index, note):
    return h(UNIQUE_NOTE, first_nullifier, index, note)


def nullifier(leaf, nsk):
    return h(NULLIFIER, leaf, nsk)


@functools.lru_cache(maxsize=4096)
def fee_slot(who):
    return h(TAGS["FEE_BALANCE_SLOT"], who)


def silo_tag(contract, tag):
    return h(TAGS["SILO_TAG"], contract, tag)


def log_hash(words):
    assert len(words) == LOG_WORDS
    return h(TAGS["LOG_HASH"], *words)


def log_words(data):
    """The built-in client's log: 128 bytes in words of 31 bytes, the last one padded with zeros on the right."""
    assert len(data) == 128
    return [int.from_bytes(data[31 * i : 31 * i + 31].ljust(31, b"\0"), "big") for i in range(LOG_WORDS)]


def message_in(sender, recipient, content, secret_hash, index):
    return h(TAGS["MESSAGE_IN"], sender, recipient, content, secret_hash, index)


def deposit_leaf(to, amount, index):
    return h(TAGS["FEE_DEPOSIT"], to, amount, index)


def message_chain(leaves):
    """The running hash of one block's messages from L1, from 0 on; the Inbox takes one step a message."""
    value = 0
    for leaf in leaves:
        value = h(TAGS["MESSAGE_CHAIN"], value, leaf)
    return value


def claim_nullifier(leaf):
    return h(TAGS["CLAIM"], leaf)


def message_out(contract, recipient, content):
    return h(TAGS["MESSAGE_OUT"], contract, recipient, content)


def withdraw_leaf(recipient, amount):
    return h(TAGS["WITHDRAW"], recipient, amount)


def tx_hash(effects):
    assert len(effects) == 50
    return h(TAGS["TX"], *effects)


def txs_chain_next(before, tx):
    return h(TAGS["TXS_CHAIN"], before, tx)


def header_hash(header):
    assert len(header) == 24
    return h(TAGS["HEADER"], *header)


def config_hash(config):
    return h(TAGS["CONFIG"], *(config[n] for n, _ in CONFIG_FIELDS))


def version_of(chain_id, rollup, vk_root, config):
    """The first 8 bytes, as on L1 `uint64(bytes8(keccak256(abi.encode(…))))`."""
    return int.from_bytes(keccak(word(chain_id) + word(rollup) + word(vk_root) + word(config))[:8], "big")


def vk_leaf(role, digest, log_n, n_public, charged_rows, transcript, protocol_version=PROTOCOL_VERSION):
    return h(TAGS["VK_LEAF"], role, digest, log_n, n_public, charged_rows, protocol_version, transcript)


# ---------------------------------------------------------------- prices, fees, work


def next_price(price, used, target, least):
    """The price after a block that used so much gas. It moves by at least 1 while use is off its target."""
    if used > target:
        price += max(1, price * (used - target) // (8 * target))
    elif used < target:
        price -= max(1, price * (target - used) // (8 * target))
    return min(max(price, least), PRICE_MAX)


def gas_used(effects):
    """L2 and DA gas of a transaction: the constant and the prepaid teardown."""
    return L2_GAS + effects[40], DA_GAS + effects[41]


def num_constraints(rows, counts):
    """Rows charged for an epoch of blocks with these numbers of transactions."""
    total = 0
    for n in counts:
        total += rows["tx_base"] * n + rows["tx_merge"] * max(0, n - 2) + rows[f"block_root_{min(n, 2)}"]
    m = len(counts)
    return total + rows["block_merge"] * max(0, m - 2) + rows[f"epoch_root_{min(m, 2)}"]


# ---------------------------------------------------------------- messages to L1


def out_split(n):
    """Transactions on the left: the largest power of two below their number."""
    return 1 << (n - 1).bit_length() - 1


@functools.lru_cache(maxsize=4096)
def _out_root(pairs):
    if len(pairs) == 1:
        return h(NODE, *pairs[0])
    k = out_split(len(pairs))
    return h(NODE, _out_root(pairs[:k]), _out_root(pairs[k:]))


def out_root(pairs):
    """Root over each transaction's two leaves; 0 without transactions."""
    return _out_root(tuple(map(tuple, pairs))) if pairs else 0


def out_path(pairs, tx, which):
    """Siblings from the leaf up."""
    if len(pairs) == 1:
        return [pairs[0][1 - which]]
    k = out_split(len(pairs))
    if tx < k:
        return out_path(pairs[:k], tx, which) + [out_root(pairs[k:])]
    return out_path(pairs[k:], tx - k, which) + [out_root(pairs[:k])]


def out_walk(leaf, tx, which, tx_count, path):
    """What the Outbox computes: directions from the count down, then hashes from the leaf up. None for a path of
    another length."""
    turns, n = [], tx_count
    while n > 1:
        k = out_split(n)
        turns.append(tx >= k)
        tx, n = (tx - k, n - k) if tx >= k else (tx, k)
    turns.append(bool(which))
    if len(turns) != len(path):
        return None
    for right, sibling in zip(reversed(turns), path):
        leaf = h(NODE, sibling, leaf) if right else h(NODE, leaf, sibling)
    return leaf


# ---------------------------------------------------------------- blobs

_Q = big(Q)
_W = pow(7, (Q - 1) // BLOB_WORDS, Q)
ROOTS = [1]
for _ in range(BLOB_WORDS - 1):
    ROOTS.append(ROOTS[-1] * _W % Q)
_BIG_ROOTS = [big(r) for r in ROOTS]
REVERSED = [int(f"{i:012b}"[::-1], 2) for i in range(BLOB_WORDS)]


def _fft(values, sign):
    """Values at the powers of the root of unity, in natural order."""
    n = len(values)
    if not any(values[1:]):
        # A constant polynomial: most parts of a blob of few transactions soon are.
        return values[:1] * n
    even, odd = _fft(values[::2], sign), _fft(values[1::2], sign)
    step, low, high = BLOB_WORDS // n * sign, [], []
    for i, (e, o) in enumerate(zip(even, odd)):
        t = o * _BIG_ROOTS[i * step % BLOB_WORDS] % _Q
        low.append((e + t) % _Q)
        high.append((e - t) % _Q)
    return low + high


def tx_words(effects, logs):
    """The 82 words of a transaction: its effects, each log hash replaced by the log's words."""
    words = list(effects[:24])
    for i in range(SLOTS):
        words += logs[i] if i < len(logs) else [0] * LOG_WORDS
    return words + list(effects[32:])


def blob_encode(words):
    """A blob's 4,096 field elements: the words are coefficients, the blob holds values, bit-reversed."""
    assert len(words) <= BLOB_WORDS and all(w < R for w in words)
    values = _fft(list(words) + [0] * (BLOB_WORDS - len(words)), 1)
    return [int(values[REVERSED[i]]) for i in range(BLOB_WORDS)]


def blob_bytes(blob):
    return b"".join(map(word, blob))


def blob_decode(blob, tx_count):
    """Effects and logs of a block, or ValueError: what an independent reader does."""
    if len(blob) != BLOB_WORDS or any(v >= Q for v in blob):
        raise ValueError("not a blob")
    values = [0] * BLOB_WORDS
    for i, v in enumerate(blob):
        values[REVERSED[i]] = v
    inverse = pow(BLOB_WORDS, -1, Q)
    words = [int(c * inverse % Q) for c in _fft(values, -1)]
    n = TX_WORDS * tx_count
    if any(words[n:]):
        raise ValueError("words after the last transaction")
    if any(w >= R for w in words[:n]):
        raise ValueError("a word is not canonical")
    txs = []
    for at in range(0, n, TX_WORDS):
        w = words[at : at + TX_WORDS]
        logs, hashes = [], []
        for i in range(SLOTS):
            log = w[24 + LOG_WORDS * i : 24 + LOG_WORDS * (i + 1)]
            present = w[16 + i] != 0
            if not present and any(log):
                raise ValueError("words of an absent log")
            if present:
                logs.append(log)
            hashes.append(log_hash(log) if present else 0)
        txs.append((w[:24] + hashes + w[64:], logs))
    return txs


def evaluate(words, z):
    """The polynomial with these coefficients at z."""
    y = 0
    for w in reversed(words):
        y = (y * z + w) % Q
    return y


def evaluate_blob(blob, z):
    """The same from the values: the barycentric formula that the KZG library of L1 uses."""
    differences = [(z - ROOTS[r]) % Q for r in REVERSED]
    assert all(differences), "z is a root of unity"
    before, product = [], 1
    for d in differences:
        before.append(product)
        product = product * d % Q
    inverse, total = pow(product, -1, Q), 0
    for i in range(BLOB_WORDS - 1, -1, -1):
        total += blob[i] * ROOTS[REVERSED[i]] % Q * (before[i] * inverse % Q)
        inverse = inverse * differences[i] % Q
    return total % Q * (pow(z, BLOB_WORDS, Q) - 1) % Q * pow(BLOB_WORDS, -1, Q) % Q


def blob_z(txs_chain, commitment):
    assert len(commitment) == 48
    return h(TAGS["BLOB_Z"], txs_chain, int.from_bytes(commitment[:24], "big"), int.from_bytes(commitment[24:], "big"))


def versioned_hash(commitment):
    return b"\x01" + sha(commitment)[1:]


# ---------------------------------------------------------------- words of L1


def pack(*fields):
    """Packs (value, bits) from the lowest bit up, as Solidity does with the members of a struct."""
    out = at = 0
    for value, bits in fields:
        assert 0 <= value < 1 << bits, (value, bits)
        out |= value << at
        at += bits
    assert at <= 256
    return out


def link_words(chain, header, archive_root, z, y, commitment):
    """Link v2. `header` is the list of 24; without transactions there is no blob, and z, y, commitment are 0."""
    f = dict(zip(HEADER_NAMES, header))
    c = [int.from_bytes(commitment[12 * i : 12 * i + 12], "big") for i in range(4)]
    words = [
        chain,
        header_hash(header),
        archive_root,
        pack((f["slot"], 48), (f["tx_count"], 16), (f["fee_per_l2_gas"], 64), (f["fee_per_da_gas"], 64)),
        pack((f["coinbase"], 160), (f["l2_gas_used"], 64)),
        pack((f["total_fees"], 128), (f["da_gas_used"], 64)),
        f["in_hash"],
        f["out_root"],
        z,
        pack((y & (1 << 128) - 1, 128), (c[0], 96)),
        pack((y >> 128, 128), (c[1], 96)),
        int.from_bytes(commitment[24:], "big"),
    ]
    assert all(w < R for w in words)
    return words


def link(words):
    return h(TAGS["CHAIN"], *words)


def tips_word(pending, proven, proven_epoch):
    return pack((pending, 48), (proven, 48), (proven_epoch, 48))


def block_record(archive_root, chain, out_root_, coinbase, slot, l1_block, total_fees, signers, tx_count):
    return [
        archive_root,
        chain,
        out_root_,
        pack((coinbase, 160), (slot, 48), (l1_block, 48)),
        pack((total_fees, 128), (signers, 64), (tx_count, 16)),
    ]


def epoch_record(first, last, last_proven, paid, completed_at, state, poster, bond):
    return [
        pack((first, 48), (last, 48), (last_proven, 48), (paid, 64), (completed_at, 40), (state, 8)),
        pack((poster, 160), (bond, 96)),
    ]


# ---------------------------------------------------------------- bytes of transactions


def tx_bytes(chain_id, version, anchor, effects, logs, kind, pair, proof):
    """What a wallet sends: present logs only, as five words each."""
    out = bytes([ENCODING_VERSION]) + chain_id.to_bytes(8, "big") + version.to_bytes(8, "big") + word(anchor)
    out += body_bytes(effects, logs) + bytes([kind]) + b"".join(map(word, pair))
    return out + len(proof).to_bytes(4, "big") + proof


def body_bytes(effects, logs):
    return b"".join(map(word, effects)) + b"".join(word(w) for log in logs for w in log)
