#!/usr/bin/env python3
"""Writes the inputs of the programs of this folder: Prover.toml of each.

Signatures and digests are computed here, by the formulas of FIPS 186-5 and by Python's hashlib. The same inputs come
out each time.
"""

import hashlib
import os

HERE = os.path.dirname(os.path.abspath(__file__))

# Curves of SEC 2: prime, a, order, generator.
K1 = (
    2**256 - 2**32 - 977, 0,
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8),
)
R1_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
R1 = (
    R1_PRIME, R1_PRIME - 3,
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5),
)
# The generator of Grumpkin.
GRUMPKIN = (1, 17631683881184975370165255887551781615748388533673675138860)


def add(curve, p, q):
    prime, a, _, _ = curve
    if p is None:
        return q
    if q is None:
        return p
    if p[0] == q[0]:
        if (p[1] + q[1]) % prime == 0:
            return None
        slope = (3 * p[0] * p[0] + a) * pow(2 * p[1], -1, prime)
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, prime)
    x = (slope * slope - p[0] - q[0]) % prime
    return x, (slope * (p[0] - x) - p[1]) % prime


def times(curve, point, scalar):
    total = None
    while scalar:
        if scalar & 1:
            total = add(curve, total, point)
        point = add(curve, point, point)
        scalar >>= 1
    return total


def number(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def sign(curve, digest):
    """Key and signature `r‖s` with the lower one of both values of s, which Noir asks for."""
    _, _, order, generator = curve
    key, nonce = number("key") % order, number("nonce") % order
    x, y = times(curve, generator, key)
    r = times(curve, generator, nonce)[0] % order
    s = pow(nonce, -1, order) * (int.from_bytes(digest, "big") + r * key) % order
    s = min(s, order - s)
    part = lambda value: list(value.to_bytes(32, "big"))
    return {"x": part(x), "y": part(y), "signature": part(r) + part(s)}


def fields(text, count):
    """Field elements below 2^248, as texts."""
    return [hex(number(f"{text} {i}") >> 8) for i in range(count)]


def words(text, count, bits):
    """Numbers of so many bits, as texts: TOML has 63 bits only."""
    return [hex(number(f"{text} {i}") % 2**bits) for i in range(count)]


def octets(text, count):
    return [number(f"{text} {i}") % 256 for i in range(count)]


def sudoku():
    """A solution by shifts of a row, its digits and lines shuffled, and its puzzle with two of three cells empty."""
    digits = [4, 9, 2, 7, 1, 8, 5, 3, 6]
    lines = [1, 0, 2, 5, 3, 4, 6, 8, 7]
    solution = [[digits[(3 * (i % 3) + i // 3 + j) % 9] for j in lines] for i in lines]
    puzzle = [[cell if (i + 2 * j) % 3 == 0 else 0 for j, cell in enumerate(row)] for i, row in enumerate(solution)]
    return {"puzzle": puzzle, "solution": solution}


def programs():
    message = bytes(octets("message", 32))
    digest = hashlib.sha256(message).digest()
    padded = message + b"\x80" + bytes(29) + b"\x01\x00"
    block = [hex(int.from_bytes(padded[i:i + 4], "big")) for i in range(0, 64, 4)]
    return {
        "assert_zero": {"x": 3, "y": 35},
        "range": {"a": 200, "b": 50_000, "c": 3_000_000_000, "d": hex(2**63), "e": hex(2**100 - 1)},
        "rom": {"table": fields("table", 32), "at": [number(f"at {i}") % 32 for i in range(16)]},
        "ram": {"given": fields("given", 32), "at": [number(f"at {i}") % 32 for i in range(16)]},
        "brillig": {"x": 3_000_000_019},
        "poseidon2": {"words": fields("word", 4)},
        "multi_scalar_mul": dict(zip("ab", fields("scalar", 2))),
        "embedded_curve_add": {"x": hex(GRUMPKIN[0]), "y": hex(GRUMPKIN[1])},
        "sha256_compression": {"block": block},
        "logic": {**dict(zip("ab", words("short", 2, 32))), **dict(zip("cd", words("long", 2, 64)))},
        "aes128": {"text": octets("text", 32), "iv": octets("iv", 16), "key": octets("secret", 16)},
        "ecdsa_secp256k1": {**sign(K1, digest), "digest": list(digest)},
        "ecdsa_secp256r1": {**sign(R1, digest), "digest": list(digest)},
        "blake2s": {"message": octets("long message", 64)},
        "blake3": {"message": octets("long message", 64)},
        "keccakf1600": {"state": words("lane", 25, 64)},
        "merkle_path": {
            "leaf": fields("leaf", 1)[0], "index": number("place") % 2**32, "siblings": fields("sibling", 32),
        },
        "sha256_preimage": {"message": list(message), "digest": list(digest)},
        "signed_message": {**sign(K1, digest), "message": list(message)},
        "sudoku": sudoku(),
        "big_loop": {"x": 7},
    }


def toml(value):
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def main():
    for name, inputs in programs().items():
        lines = [f"{key} = {toml(value)}\n" for key, value in inputs.items()]
        with open(os.path.join(HERE, name, "Prover.toml"), "w", encoding="utf-8") as file:
            file.writelines(lines)


if __name__ == "__main__":
    main()
