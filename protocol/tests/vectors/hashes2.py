"""Hashes, bytes and trees of protocol 2's model. No code of the crates.

Poseidon2's constants are read from the crate `algebra`, which checks them against Noir's.
"""

import bisect
import hashlib
import pathlib
import re

try:
    # GMP's integers take half the time, where they are installed. They only stand in products below.
    from gmpy2 import mpz as big
except ImportError:
    big = int

R = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
"""Order of BN254's scalar field: every word of the protocol is below it."""
Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of BLS12-381's scalar field: the words of a blob."""

# ---------------------------------------------------------------- Poseidon2

_SOURCE = pathlib.Path(__file__).parents[3] / "algebra/src/poseidon2/constants.rs"
_R = big(R)
_WORDS = [big(int(w, 16)) for w in re.findall(r'hex\(\s*"([0-9a-f]{64})"', _SOURCE.read_text())]
_FIRST = [_WORDS[i * 4 : i * 4 + 4] for i in range(4)]
_LAST = [_WORDS[i * 4 : i * 4 + 4] for i in range(4, 8)]
_INNER = _WORDS[32:88]
_D0, _D1, _D2, _D3 = _WORDS[88:92]


def permute(a, b, c, d):
    """The permutation. Values stay unreduced between two products, which is what makes it bearable."""
    a, b, c, d = 5 * a + 7 * b + c + 3 * d, 4 * a + 6 * b + c + d, a + 3 * b + 5 * c + 7 * d, a + b + 4 * c + 6 * d
    for rounds in (_FIRST, _LAST):
        for k0, k1, k2, k3 in rounds:
            a += k0
            b += k1
            c += k2
            d += k3
            x = a * a % _R
            a = x * x % _R * a % _R
            x = b * b % _R
            b = x * x % _R * b % _R
            x = c * c % _R
            c = x * x % _R * c % _R
            x = d * d % _R
            d = x * x % _R * d % _R
            a, b, c, d = 5 * a + 7 * b + c + 3 * d, 4 * a + 6 * b + c + d, a + 3 * b + 5 * c + 7 * d, a + b + 4 * c + 6 * d
        if rounds is _FIRST:
            for k in _INNER:
                a += k
                x = a * a % _R
                a = x * x % _R * a % _R
                s = a + b + c + d
                a = a * _D0 + s
                b = (b * _D1 + s) % _R
                c = (c * _D2 + s) % _R
                d = (d * _D3 + s) % _R
    return int(a % _R), int(b % _R), int(c % _R), int(d % _R)


def h(tag, *words):
    """The sponge with rate 3; tag and length stand in the capacity."""
    n = len(words)
    a = b = c = 0
    d = tag + (n << 64)
    if not n:
        return permute(a, b, c, d)[0]
    for i in range(0, n, 3):
        a += words[i]
        if i + 1 < n:
            b += words[i + 1]
        if i + 2 < n:
            c += words[i + 2]
        a, b, c, d = permute(a, b, c, d)
    return a


TAGS = {
    "NODE": 1, "NOTE": 2, "UNIQUE_NOTE": 3, "NULLIFIER": 4, "NPK": 5, "ADDRESS": 6, "TX": 7, "TXS_CHAIN": 8,
    "HEADER": 9, "CHAIN": 10, "NULLIFIER_LEAF": 11, "PUBLIC_DATA_LEAF": 12, "FEE_BALANCE_SLOT": 13, "VK_LEAF": 14,
    "TAG": 15, "TRANSCRIPT": 17, "VK_DIGEST": 18, "GENESIS": 19, "FOLD": 20,
    "CONFIG": 21, "BLOB_Z": 22, "LOG_HASH": 23, "MESSAGE_IN": 24, "FEE_DEPOSIT": 25, "CLAIM": 26, "MESSAGE_OUT": 27,
    "WITHDRAW": 28, "NOTE_PARTIAL": 29, "KEYS": 30, "ADDRESS_PARTIAL": 31, "CLASS": 32, "FUNCTION": 33,
    "SILO_NOTE": 34, "SILO_NULLIFIER": 35, "SILO_TAG": 36, "CALL": 37, "APP_KEY": 38, "MESSAGE_CHAIN": 48,
}  # fmt: skip
TAG_OF_TAG = TAGS["TAG"]
NODE, NOTE, UNIQUE_NOTE, NULLIFIER, NPK, ADDRESS = (TAGS[n] for n in "NODE NOTE UNIQUE_NOTE NULLIFIER NPK ADDRESS".split())

# ---------------------------------------------------------------- bytes


def word(x):
    return x.to_bytes(32, "big")


def hx(x):
    return "0x" + word(x).hex()


def hxs(xs):
    return [hx(x) for x in xs]


def sha(data):
    return hashlib.sha256(data).digest()


_ROTATIONS = [1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44]
_LANES = [10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1]
_M64 = (1 << 64) - 1


def _iota():
    """Round constants of Keccak-f from its linear feedback shift register."""
    state, out = 1, []
    for _ in range(24):
        rc = 0
        for j in range(7):
            if state & 1:
                rc ^= 1 << ((1 << j) - 1)
            state = (state << 1) ^ (0x171 if state >> 7 else 0)
        out.append(rc)
    return out


_RC = _iota()


def keccak(data, padding=0x01):
    """Keccak-256 as on L1."""
    rate = 136
    data = bytearray(data) + bytes([padding]) + b"\0" * (-(len(data) + 1) % rate)
    data[-1] |= 0x80
    s = [0] * 25
    for at in range(0, len(data), rate):
        for i in range(rate // 8):
            s[i] ^= int.from_bytes(data[at + 8 * i : at + 8 * i + 8], "little")
        for rc in _RC:
            c = [s[x] ^ s[x + 5] ^ s[x + 10] ^ s[x + 15] ^ s[x + 20] for x in range(5)]
            for x in range(5):
                n = c[(x + 1) % 5]
                d = c[(x + 4) % 5] ^ ((n << 1 | n >> 63) & _M64)
                for y in range(0, 25, 5):
                    s[x + y] ^= d
            t = s[1]
            for lane, rot in zip(_LANES, _ROTATIONS):
                s[lane], t = (t << rot | t >> (64 - rot)) & _M64, s[lane]
            for y in range(0, 25, 5):
                r = s[y : y + 5]
                for x in range(5):
                    s[x + y] = r[x] ^ (~r[(x + 1) % 5] & r[(x + 2) % 5] & _M64)
            s[0] ^= rc
    return b"".join(x.to_bytes(8, "little") for x in s[:4])


# ---------------------------------------------------------------- trees

EMPTY = [0]
for _ in range(40):
    EMPTY.append(h(NODE, EMPTY[-1], EMPTY[-1]))


class Tree:
    """A tree in which absent nodes are empty subtrees. `base` is the height of what its leaves stand for."""

    def __init__(self, height, base=0):
        self.height, self.base, self.count = height, base, 0
        self.nodes = [{} for _ in range(height + 1)]
        self.dirty = set()

    def set(self, index, leaf):
        assert 0 <= index < 1 << self.height
        self.nodes[0][index] = leaf
        self.dirty.add(index)

    def append(self, *leaves):
        for leaf in leaves:
            if leaf != EMPTY[self.base]:
                self.set(self.count, leaf)
            self.count += 1

    def node(self, level, index):
        return self.nodes[level].get(index, EMPTY[level + self.base])

    def root(self):
        at = {i >> 1 for i in self.dirty}
        for level in range(self.height):
            for i in at:
                self.nodes[level + 1][i] = h(NODE, self.node(level, 2 * i), self.node(level, 2 * i + 1))
            at = {i >> 1 for i in at}
        self.dirty.clear()
        return self.node(self.height, 0)

    def path(self, index):
        self.root()
        return [self.node(level, (index >> level) ^ 1) for level in range(self.height)]

    def leaves(self):
        return [self.nodes[0].get(i, EMPTY[self.base]) for i in range(self.count)]


def climb(leaf, index, path):
    """The root that a path leads to."""
    for level, sibling in enumerate(path):
        leaf = h(NODE, sibling, leaf) if index >> level & 1 else h(NODE, leaf, sibling)
    return leaf


def naive_root(leaves, height, base=0):
    """The root rebuilt from all leaves, row by row: what [`Tree.root`] is checked against."""
    row = list(leaves)
    for level in range(base, base + height):
        if not row:
            return EMPTY[base + height]
        if len(row) % 2:
            row.append(EMPTY[level])
        # Empty subtrees are known; the rest is hashed.
        empty, above = [EMPTY[level]] * 2, EMPTY[level + 1]
        row = [above if row[i : i + 2] == empty else h(NODE, *row[i : i + 2]) for i in range(0, len(row), 2)]
    return row[0] if row else EMPTY[base + height]


class Indexed:
    """An indexed tree: leaves (key, value, next key, next index), linked in the order of the keys."""

    def __init__(self, height, with_value):
        self.tree, self.with_value = Tree(height), with_value
        self.leaves, self.keys, self.index = [[0, 0, 0, 0]], [0], {0: 0}
        self._write(0)

    def _write(self, i):
        self.tree.set(i, self._hash(self.leaves[i]))
        self.tree.count = len(self.leaves)

    def _hash(self, leaf):
        key, value, next_key, next_index = leaf
        if self.with_value:
            return h(TAGS["PUBLIC_DATA_LEAF"], key, value, next_key, next_index)
        return h(TAGS["NULLIFIER_LEAF"], key, next_key, next_index)

    def __contains__(self, key):
        return key in self.index

    def get(self, key):
        return self.leaves[self.index[key]][1] if key in self.index else None

    def insert(self, key, value=0):
        assert key not in self.index and 0 < key < R
        at = bisect.bisect_left(self.keys, key)
        low, new = self.index[self.keys[at - 1]], len(self.leaves)
        self.leaves.append([key, value, *self.leaves[low][2:]])
        self.leaves[low][2:] = [key, new]
        self.keys.insert(at, key)
        self.index[key] = new
        self._write(low)
        self._write(new)

    def update(self, key, value):
        self.leaves[self.index[key]][1] = value
        self._write(self.index[key])

    def naive(self):
        """The root from the entries alone: links found anew by sorting."""
        entries = [leaf[:2] for leaf in self.leaves]
        ordered = sorted(k for k, _ in entries)
        after = dict(zip(ordered, ordered[1:] + [0]))
        index = {k: i for i, (k, _) in enumerate(entries)}
        leaves = [[k, v, after[k], index[after[k]] if after[k] else 0] for k, v in entries]
        return naive_root([self._hash(leaf) for leaf in leaves], self.tree.height)
