#!/usr/bin/env python3
"""The numbers that the contracts of protocol 2 share with the circuits, as Solidity, from the model's layouts.

Usage: python3 solidity2.py > contracts/src/v2/Layout.sol
"""

import pathlib
import sys

# The file is made with `python3 -I`, which does not look beside the script.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from formats2 import *  # noqa: E402
from random2 import vk_tree  # noqa: E402

LOG_N = 17
"""Every circuit above the client's has 2^17 rows."""
HEAD = """\
// SPDX-License-Identifier: MIT OR Apache-2.0
// Generated from the model's layouts by `cargo xtask gen`; do not edit.
pragma solidity 0.8.37;

// Numbers that the contracts share with the circuits: docs/book/protocol-2.md has their meaning. At the
// level of the file, so that one can be the length of an array.
"""


def named(prefix, names):
    """Index by name, and the count. Constants of every range omit their group's name."""
    rows = [(f"{prefix}_{n.removeprefix('constants.').replace('.', '_').upper()}", i) for i, n in enumerate(names)]
    return rows + [(f"{prefix}_WORDS", len(names))]


def groups():
    start = len(EPOCH_ROOT) - len(PAIR_FIELDS)
    assert EPOCH_ROOT[start:] == PAIR_FIELDS, "the pair is not last"
    inputs = named("EPOCH", EPOCH_ROOT[:start])[:-1] + [("EPOCH_PAIR", start), ("EPOCH_WORDS", len(EPOCH_ROOT))]
    yield "Indices in the public inputs of an epoch root, and how many there are.", inputs
    pair = named("PAIR", [n.removeprefix("pair.") for n in PAIR_FIELDS])
    yield "Indices in the pair, with which those inputs end.", pair
    yield "Indices in what one link of the block chain hashes, after the domain tag.", named("LINK", LINK_FIELDS)
    yield "Indices in what the config hash contains, after the domain tag.", named("CONFIG", [n for n, _ in CONFIG_FIELDS])
    yield "Words of a header.", [("HEADER_WORDS", len(HEADER_FIELDS))]
    leaf = ["role", "digest", "log_n", "n_public_inputs", "charged_rows", "protocol_version", "transcript"]
    # The order is the one of the model's own leaf.
    tree, leaves = vk_tree({name: 1000 + i for i, name in enumerate(CIRCUITS)})
    role = CIRCUITS.index("epoch_root_1")
    words = dict(role=role, digest=h(TAGS["VK_DIGEST"], role), log_n=LOG_N, n_public_inputs=len(EPOCH_ROOT),
                 charged_rows=1000 + role, protocol_version=PROTOCOL_VERSION, transcript=1)  # fmt: skip
    assert h(TAGS["VK_LEAF"], *(words[n] for n in leaf)) == leaves[role]
    yield "A leaf of the key tree, and what the leaves of the two epoch roots contain.", named("VK", leaf) + [
        ("VK_TREE_HEIGHT", VK_HEIGHT), ("ROLE_EPOCH_ROOT_1", role), ("ROLE_EPOCH_ROOT_2", CIRCUITS.index("epoch_root_2")),
        ("EPOCH_ROOT_LOG_N", LOG_N), ("TRANSCRIPT_KECCAK", 1),
    ]  # fmt: skip
    yield "Limits.", [
        ("PROTOCOL_VERSION", PROTOCOL_VERSION), ("MAX_TXS", MAX_TXS), ("MESSAGE_SUBTREE_HEIGHT", SUBTREE_HEIGHT),
        ("L2_GAS_PER_TX", L2_GAS), ("DA_GAS_PER_TX", DA_GAS), ("PRICE_MAX", PRICE_MAX),
    ]  # fmt: skip
    yield "Domain tags of Poseidon2.", [(f"DOMAIN_{name}", tag) for name, tag in TAGS.items()]


def main():
    names = []
    sys.stdout.write(HEAD)
    for title, rows in groups():
        sys.stdout.write(f"\n// {title}\n")
        for name, value in rows:
            names.append(name)
            sys.stdout.write(f"uint256 constant {name} = {value};\n")
    assert len(set(names)) == len(names), "two constants have one name"


main()
