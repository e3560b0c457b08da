"""An independent reader of a deployment: every transaction of every block, from L1 and its blobs alone.

    python3 protocol/tests/vectors/reader2.py --l1 URL --rollup ADDRESS --from-block N --genesis FILE --blobs PLACE

PLACE is a blob archive's directory or the URL of a node, which has the blobs under /blobs/. The blocks are executed by
the model, which shares no code with the crates, and compared with what L1 has: header hash, archive root and link of
each block, the value of its blob at z, the leaves of its messages, and both tips. Everything is read as of one L1
block, the newest when the reader starts. Prints one JSON line for each block, and a last one with counts. If anything
differs, the exit code is 1, and all that differs in the first such block is named.

`reader2_cases.py` tests it: each value that is compared is changed alone.

The commitment is not computed again. What binds a blob's words is their execution: effects and logs lead to the
transactions' chain and so to the header hash that L1 has, and decoding is strict.
"""

import argparse
import json
import pathlib
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from chain2 import *  # noqa: E402
from random2 import ROWS  # noqa: E402

BLOCK_PROPOSED = ("BlockProposed(uint64,bytes32,bytes32,bytes32,uint64,address,uint128,uint16,bytes32,uint256,uint256,"
                  "bytes,bytes32,bytes32,uint64,address)")  # fmt: skip
PRUNED = "Pruned(uint64,uint64,uint64)"
EPOCH_PROVEN = "EpochProven(uint64,uint64,uint64,uint64,address,uint64,bool)"
MESSAGE_SENT = "MessageSent(uint64,uint64,bytes32,uint8,address,bytes32,bytes32,bytes32)"
INBOX_AT = 2
"""Place of the Inbox in what contracts() returns."""
LOGS_AT_ONCE = 1000
"""L1 blocks in one request for logs."""


class Differs(Exception):
    """What was read is not what L1 has."""


def same(what, got, expected):
    if got != expected:
        raise Differs(f"{what}: {got}, but L1 has {expected}")


def same_all(of, values):
    """Names all that differ: `values` are (what, got, expected)."""
    differences = [f"{what}: {hx(got)}, but L1 has {hx(want)}" for what, got, want in values if got != want]
    if differences:
        raise Differs(f"{of}: {'; '.join(differences)}")


class L1:
    """The few requests that a reader needs, all answered as of the block that is the newest now."""

    def __init__(self, url):
        self.url = url
        head = self.call("eth_getBlockByNumber", "latest", False)
        self.head, self.hash = int(head["number"], 16), head["hash"]

    def call(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            raise Differs(f"{method}: {answer['error']}")
        return answer["result"]

    def read(self, address, function):
        """The words that a function without arguments returns."""
        call = {"to": address, "data": "0x" + keccak(function.encode())[:4].hex()}
        return words_of(bytes.fromhex(self.call("eth_call", call, {"blockHash": self.hash})[2:]))

    def stays(self):
        """Requires that the block is still on L1's chain. Logs are named by numbers of blocks."""
        now = self.call("eth_getBlockByNumber", hex(self.head), False)
        same(f"hash of L1 block {self.head}", self.hash, now and now["hash"])

    def logs(self, address, start, events):
        """(name, words of the topics but the first, data) in L1's order."""
        names = {"0x" + keccak(event.encode()).hex(): event.split("(")[0] for event in events}
        for first in range(start, self.head + 1, LOGS_AT_ONCE):
            last = min(self.head, first + LOGS_AT_ONCE - 1)
            wanted = {"address": address, "fromBlock": hex(first), "toBlock": hex(last), "topics": [list(names)]}
            for log in self.call("eth_getLogs", wanted):
                topics = [int(topic, 16) for topic in log["topics"][1:]]
                yield names[log["topics"][0]], topics, bytes.fromhex(log["data"][2:])


def words_of(data):
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data) - 31, 32)]


class Told:
    """An Inbox as its events tell it: messages by the number of the block that appends them."""

    def __init__(self, l1, address, start):
        self.leaves = {}
        for _, (block,), data in l1.logs(address, start, [MESSAGE_SENT]):
            index, leaf, kind, sender, recipient, content, secret_hash = words_of(data)
            leaves = self.leaves.setdefault(block, [])
            same(f"index of a message of block {block}", (block - 1) * SUBTREE + len(leaves), index)
            made = deposit_leaf(recipient, content, index)
            if kind == 0:
                made = message_in(sender, recipient, content, secret_hash, index)
            else:
                same(f"kind of message {index}", kind, 1)
                same(f"sender of deposit {index}", hx(sender), hx(0))
                same(f"secret hash of deposit {index}", hx(secret_hash), hx(0))
            same(f"leaf of message {index}", hx(made), hx(leaf))
            leaves.append(leaf)

    def consume(self, block):
        return message_chain(self.leaves.get(block, []))


def proposed(topics, data):
    """The fields of BlockProposed by name."""
    w = words_of(data)
    names = ("header_hash", "chain", "slot", "coinbase", "total_fees", "tx_count", "versioned_hash", "z", "y", "at",
             "in_hash", "out_root")  # fmt: skip
    block = dict(zip(names, w), number=topics[0], archive_root=topics[1])
    at = block.pop("at")
    length = int.from_bytes(data[at : at + 32], "big")
    return {**block, "commitment": data[at + 32 : at + 32 + length]}


def history(l1, rollup, start):
    """The blocks of the chain, the number of pruned ones, and the last proven block."""
    blocks, pruned, proven = [], 0, 0
    for name, topics, data in l1.logs(rollup, start, [BLOCK_PROPOSED, PRUNED, EPOCH_PROVEN]):
        if name == "BlockProposed":
            block = proposed(topics, data)
            same("number of a block", block["number"], len(blocks) + 1)
            blocks.append(block)
        elif name == "Pruned":
            tip = words_of(data)[0]
            pruned += len(blocks) - tip
            del blocks[tip:]
        else:
            proven = max(proven, topics[1])
    return blocks, pruned, proven


def blob_of(place, versioned):
    """The 4,096 elements of a blob, from a node or an archive."""
    name = f"{versioned:064x}"
    if place.startswith("http"):
        with urllib.request.urlopen(f"{place}/blobs/0x{name}", timeout=30) as response:
            data = response.read()
    else:
        data = (pathlib.Path(place) / name[-2:] / name).read_bytes()
        data, digest = data[: 32 * BLOB_WORDS], data[32 * BLOB_WORDS :]
        same(f"SHA-256 of the archive's file {name}", sha(data).hex(), digest.hex())
    same(f"length of blob {name}", len(data), 32 * BLOB_WORDS)
    return words_of(data)


def chain_of(genesis, rollup):
    """The model's chain at a genesis file."""
    number = lambda text: int(text, 16)  # noqa: E731
    same("address of the Rollup", number(genesis["rollup"]), number(rollup))
    return Chain(
        genesis["chain_id"], number(rollup), number(genesis["vk_root"]), genesis["config"], ROWS,
        (genesis["fee_per_l2_gas"], genesis["fee_per_da_gas"]),
        [(number(n["owner"]), n["value"], number(n["randomness"])) for n in genesis["notes"]],
        [(number(b["address"]), b["amount"]) for b in genesis["fee_balances"]],
    )  # fmt: skip


def followed(l1, args, chain):
    """Gives the model's chain the messages from L1, and returns what :func:`history` does."""
    inbox = l1.read(args.rollup, "contracts()")[INBOX_AT]
    chain.inbox = Told(l1, f"0x{inbox:040x}", args.from_block)
    blocks, pruned, proven = history(l1, args.rollup, args.from_block)
    tips = l1.read(args.rollup, "tips()")
    same("number of blocks", len(blocks), tips[0])
    same("last proven block", proven, tips[1])
    return blocks, pruned, proven


def play(chain, block, place):
    """Executes a block of L1 and compares it. Returns its transactions as (effects, logs)."""
    n = block["number"]
    txs, blob, versioned = [], None, 0
    if block["tx_count"]:
        versioned = int.from_bytes(versioned_hash(block["commitment"]), "big")
        same(f"versioned hash of block {n}", hx(versioned), hx(block["versioned_hash"]))
        blob = blob_of(place, versioned)
        txs = blob_decode(blob, block["tx_count"])
    made = chain.open_block(block["slot"], block["coinbase"])
    for effects, logs in txs:
        made.apply(effects, logs)
    made.finish(block["commitment"])
    same_all(f"block {n}", (
        ("versioned hash", versioned, block["versioned_hash"]),
        # From the blob's values; the model computes it from the transactions' words.
        ("value of the blob", evaluate_blob(blob, made.z) if blob else made.y, block["y"]),
        ("z", made.z, block["z"]),
        ("fees", chain.field("total_fees"), block["total_fees"]),
        ("hash of messages from L1", chain.field("in_hash"), block["in_hash"]),
        ("root of messages to L1", chain.field("out_root"), block["out_root"]),
        ("header hash", header_hash(made.header), block["header_hash"]),
        ("archive root", made.archive_after, block["archive_root"]),
        ("link", chain.chain, block["chain"]),
    ))  # fmt: skip
    return txs


def read(args, out):
    genesis = json.loads(pathlib.Path(args.genesis).read_text())
    l1 = L1(args.l1)
    chain = chain_of(genesis, args.rollup)
    blocks, pruned, proven = followed(l1, args, chain)
    l1.stays()
    counts = dict.fromkeys(("transactions", "logs", "claims", "withdrawals"), 0)
    for block in blocks:
        txs = play(chain, block, args.blobs)
        counts["transactions"] += len(txs)
        for effects, logs in txs:
            f = dict(zip(EFFECT_NAMES, effects))
            counts["logs"] += len(logs)
            counts["claims"] += f["claim_amount"] != 0
            counts["withdrawals"] += f["withdraw_amount"] != 0
        line = {"number": block["number"], "slot": block["slot"], "proven": block["number"] <= proven,
                "txs": [{"effects": hxs(e), "logs": [hxs(log) for log in logs]} for e, logs in txs]}  # fmt: skip
        print(json.dumps(line), file=out)
    messages = sum(len(leaves) for leaves in chain.inbox.leaves.values())
    summary = {"blocks": len(blocks), "proven": proven, "pruned": pruned, **counts, "messages": messages}
    print(json.dumps(summary), file=out)


def parsed(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--l1", required=True, help="URL of an L1 node")
    parser.add_argument("--rollup", required=True, help="address of the contract Rollup")
    parser.add_argument("--from-block", required=True, type=int, help="L1 block at or before its deployment")
    parser.add_argument("--genesis", required=True, help="genesis file of the deployment")
    parser.add_argument("--blobs", required=True, help="directory of a blob archive, or URL of a node")
    return parser.parse_args(words)


def main(words):
    args = parsed(words)
    try:
        read(args, sys.stdout)
    except (Differs, Rejected, ValueError, OSError) as error:
        print(f"reader2: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
