#!/usr/bin/env python3
"""An independent model of both transcripts, written from docs/book/transcript.md alone.

Prints transcript.json: the challenges of a proof whose messages are derived from SHA-256 of their
number. Poseidon2's constants are read from the Rust table, which has its own known answer.
Run: python3 plonk/tests/vectors/transcript.py > plonk/tests/vectors/transcript.json
"""
import hashlib
import json
import pathlib
import re

R = 21888242871839275222246405745257275088548364400416034343698204186575808495617
Q = 21888242871839275222246405745257275088696311157297823662689037894645226208583

text = (pathlib.Path(__file__).parents[3] / "algebra/src/poseidon2/constants.rs").read_text()
CONSTANTS = [int(word, 16) for word in re.findall(r'"([0-9a-f]{64})"', text)]
EXTERNAL, INTERNAL, DIAGONAL = CONSTANTS[:32], CONSTANTS[32:88], CONSTANTS[88:92]
assert len(DIAGONAL) == 4, len(CONSTANTS)
MATRIX = [[5, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6]]


def permute(s):
    def external(s):
        return [sum(m * v for m, v in zip(row, s)) % R for row in MATRIX]

    s = external(s)
    for i in range(64):
        if 4 <= i < 60:
            s[0] = pow(s[0] + INTERNAL[i - 4], 5, R)
            total = sum(s)
            s = [(v * d + total) % R for v, d in zip(s, DIAGONAL)]
        else:
            k = i if i < 4 else i - 56
            s = external([pow(v + c, 5, R) for v, c in zip(s, EXTERNAL[4 * k:4 * k + 4])])
    return s


def keccak256(data):
    rotations = [[0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61], [28, 55, 25, 21, 56], [27, 20, 39, 8, 14]]
    mask = (1 << 64) - 1
    rol = lambda v, n: ((v << n) | (v >> (64 - n))) & mask if n else v
    rounds, lfsr = [], 1
    for _ in range(24):
        value = 0
        for j in range(7):
            if lfsr & 1:
                value |= 1 << ((1 << j) - 1)
            lfsr = (lfsr << 1) ^ (0x171 if lfsr & 0x80 else 0)
        rounds.append(value)
    data = bytearray(data) + b"\x01"
    data += b"\0" * (-len(data) % 136)
    data[-1] |= 0x80
    a = [[0] * 5 for _ in range(5)]
    for block in range(0, len(data), 136):
        for i in range(17):
            a[i % 5][i // 5] ^= int.from_bytes(data[block + 8 * i:block + 8 * i + 8], "little")
        for constant in rounds:
            c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
            d = [c[(x - 1) % 5] ^ rol(c[(x + 1) % 5], 1) for x in range(5)]
            a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
            b = [[0] * 5 for _ in range(5)]
            for x in range(5):
                for y in range(5):
                    b[y][(2 * x + 3 * y) % 5] = rol(a[x][y], rotations[x][y])
            a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y] & mask) for y in range(5)] for x in range(5)]
            a[0][0] ^= constant
    return b"".join(a[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
assert permute([0, 1, 2, 3])[0] == 0x01BD538C2EE014ED5141B29E9AE240BF8DB3FE5B9A38629A9647CF8D76C01737


def be(v):
    return v.to_bytes(32, "big")


class Poseidon:
    def __init__(self, n):
        self.s, self.q = [0, 0, 0, 17 + (n << 64)], []

    def scalar(self, v):
        self.q.append(v)

    def point(self, p):
        self.q += [p[0] % R, p[1] % R]

    def squeeze(self, k):
        for i in range(0, max(len(self.q), 1), 3):
            part = self.q[i:i + 3] + [0, 0, 0]
            self.s = permute([(a + b) % R for a, b in zip(self.s, part[:3] + [0])])
        self.q, out = [], []
        while len(out) < k:
            if out:
                self.s = permute(self.s)
            out += self.s[:min(3, k - len(out))]
        return out

    def short(self, k):
        return [h for e in self.squeeze((k + 1) // 2) for h in (e % 2**128, e >> 128)][:k]


class Keccak:
    def __init__(self, n):
        self.s, self.b = keccak256(b"rollmill plonk v1" + be(n)), b""

    def scalar(self, v):
        self.b += be(v)

    def point(self, p):
        self.b += be(p[0]) + be(p[1])

    def states(self, k):
        out = []
        for _ in range(k):
            self.s, self.b = keccak256(self.s + self.b), b""
            out.append(int.from_bytes(self.s, "big"))
        return out

    def squeeze(self, k):
        return [s % 2**253 for s in self.states(k)]

    def short(self, k):
        return [h for s in self.states((k + 1) // 2) for h in (s % 2**128, s >> 128)][:k]


def message(i, modulus):
    return int.from_bytes(hashlib.sha256(b"message %d" % i).digest(), "big") % modulus


def run(kind):
    n_public, at = 3, 0

    def scalars(t, k):
        nonlocal at
        for _ in range(k):
            t.scalar(message(at, R))
            at += 1

    def points(t, k):
        nonlocal at
        for _ in range(k):
            t.point((message(at, Q), message(at + 1, Q)))
            at += 2

    t = kind(n_public)
    scalars(t, 1 + n_public)
    points(t, 13)
    out = {"first": t.squeeze(3)}
    points(t, 4)
    out["alpha"] = t.squeeze(1)
    points(t, 5)
    out["zeta"] = t.squeeze(1)
    scalars(t, 59)
    out["short"] = t.short(41)
    points(t, 1)
    out["z_prime"] = t.squeeze(1)
    points(t, 1)
    out["fold"] = t.squeeze(1)
    return {name: [hex(v) for v in values] for name, values in out.items()}


print(json.dumps({"poseidon2": run(Poseidon), "keccak": run(Keccak)}, indent=1))
