"""Changes each value that reader2.py compares, one at a time, and prints what the reader names.

    python3 protocol/tests/vectors/reader2_cases.py --l1 URL --rollup ADDRESS --from-block N --genesis FILE --blobs DIR

The arguments are the reader's; the place of the blobs must be an archive. The first block with one transaction is the
one that is changed: the transaction must have a note and a log, and the block must append the only message from L1.
Prints one JSON line for each case: its name, and what the reader says, "" if it notices nothing.
"""

import copy
import http.server
import json
import pathlib
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import reader2  # noqa: E402
from chain2 import *  # noqa: E402

# Words of the data of BlockProposed and of MessageSent, in their order.
PROPOSED = ("header_hash", "chain", "slot", "coinbase", "total_fees", "tx_count", "versioned_hash", "z", "y", "at",
            "in_hash", "out_root")  # fmt: skip
SENT = ("index", "leaf", "kind", "sender", "recipient", "content", "secret_hash")


class Altered(reader2.L1):
    """An L1 that answers as the real one but for one change, and notes what it was asked."""

    def __init__(self, url, change=lambda method, params, result: result):
        self.change, self.asked = change, []
        super().__init__(url)

    def call(self, method, *params):
        self.asked.append((method, params))
        return self.change(method, params, super().call(method, *params))


def with_log(event, alter):
    """Changes the logs of an event: `alter` takes the list of them and changes it."""
    topic = "0x" + keccak(event.encode()).hex()

    def change(method, _, result):
        if method != "eth_getLogs" or not any(log["topics"][0] == topic for log in result):
            return result
        mine = [log for log in result if log["topics"][0] == topic]
        others = [log for log in result if log["topics"][0] != topic]
        alter(mine)
        return mine + others

    return change


def one_more(text, at):
    """Hexadecimal text whose word `at` is one higher."""
    words = bytearray.fromhex(text[2:])
    place = slice(32 * at, 32 * at + 32)
    words[place] = ((int.from_bytes(words[place], "big") + 1) % (1 << 256)).to_bytes(32, "big")
    return "0x" + words.hex()


def more_data(log, at):
    log["data"] = one_more(log["data"], at)


def more_topic(log, at):
    log["topics"][at] = one_more(log["topics"][at], 0)


def with_tips(at):
    """Changes a word of the Rollup's tips."""
    selector = "0x" + keccak(b"tips()")[:4].hex()
    return lambda method, params, result: (
        one_more(result, at) if method == "eth_call" and params[0]["data"] == selector else result
    )


def digested(data):
    """An archive's file."""
    return data + sha(data)


def said(act):
    try:
        act()
    except (reader2.Differs, Rejected, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


class Cases:
    """The deployment's chain before its block with one transaction, and that block's log."""

    def __init__(self, args):
        self.args, self.genesis = args, json.loads(pathlib.Path(args.genesis).read_text())
        self.l1, self.start = Altered(args.l1), reader2.chain_of(self.genesis, args.rollup)
        chain = copy.deepcopy(self.start)
        blocks, _, _ = reader2.followed(self.l1, args, chain)
        for block in blocks:
            if block["tx_count"] == 1:
                self.block = block
                break
            reader2.play(chain, block, args.blobs)
        self.chain = chain

    def follow(self, change):
        """What the reader finds on a changed L1 before it executes a block: the chain at its start, and the blocks."""
        chain = copy.deepcopy(self.start)
        blocks, _, _ = reader2.followed(Altered(self.args.l1, change), self.args, chain)
        return chain, blocks

    def play(self, block, place=None):
        return reader2.play(copy.deepcopy(self.chain), block, place or self.args.blobs)

    def altered(self, change):
        """The block as the reader reads it from a changed L1, executed."""
        block = self.follow(change)[1][self.block["number"] - 1]
        return self.play(block)

    def fields(self):
        """One change of each word and topic of BlockProposed, and of the commitment."""
        at = self.block["number"] - 1
        cases = {name: lambda logs, word=word: more_data(logs[at], word) for word, name in enumerate(PROPOSED)}
        del cases["at"]
        cases["archive_root"] = lambda logs: more_topic(logs[at], 2)
        # The commitment comes after the 14 words and its length.
        cases["commitment"] = lambda logs: more_data(logs[at], 15)
        for name, alter in cases.items():
            change = with_log(reader2.BLOCK_PROPOSED, alter)
            yield f"BlockProposed.{name}", lambda change=change: self.altered(change)

    def history(self):
        """Changes that the reader notices before it executes anything."""
        changes = {
            "BlockProposed.number": (reader2.BLOCK_PROPOSED, lambda logs: more_topic(logs[0], 1)),
            "BlockProposed is missing": (reader2.BLOCK_PROPOSED, lambda logs: logs.pop()),
            "MessageSent.block": (reader2.MESSAGE_SENT, lambda logs: more_topic(logs[0], 1)),
            "MessageSent is missing": (reader2.MESSAGE_SENT, lambda logs: logs.pop()),
        }
        for word, name in enumerate(SENT):
            changes[f"MessageSent.{name}"] = (reader2.MESSAGE_SENT, lambda logs, word=word: more_data(logs[0], word))
        for name, (event, alter) in changes.items():
            yield name, lambda event=event, alter=alter: self.messages(with_log(event, alter))
        for at, name in enumerate(("pending", "proven")):
            yield f"tips.{name}", lambda at=at: self.follow(with_tips(at))
        genesis = {**self.genesis, "rollup": f"0x{1:040x}"}
        yield "genesis.rollup", lambda: reader2.chain_of(genesis, self.args.rollup)

    def messages(self, change):
        """Executes all blocks of a changed L1: a missing message shows in the block that appends it."""
        chain, blocks = self.follow(change)
        for block in blocks:
            reader2.play(chain, block, self.args.blobs)

    def data(self):
        """Changes of the transaction's words, in a blob that is well-formed and in an archive's file that is not."""
        versioned = self.block["versioned_hash"]
        ((effects, logs),) = blob_decode(reader2.blob_of(self.args.blobs, versioned), 1)

        words = tx_words(effects, logs)

        def with_words(changed):
            return digested(blob_bytes(blob_encode(changed)))

        # In a blob: nullifiers, notes and tags, then the words of the logs, then the other effects.
        after = {name: 24 + LOG_WORDS * SLOTS + at - 32 for at, name in enumerate(EFFECT_NAMES) if at >= 32}
        places = {"nullifier": 0, "note": 8, "tag": 16, "gas": after["gas.max_fee_per_l2_gas"]}
        places.update((f"log word {at}", 24 + at) for at in range(LOG_WORDS))
        for name, at in places.items():
            changed = [*words[:at], words[at] + 1, *words[at + 1 :]]
            yield f"blob's {name}", lambda changed=changed: self.with_file(with_words(changed))
        yield "blob's word after the transaction", lambda: self.with_file(with_words([*words, 1]))
        honest = with_words(words)
        yield "archive's digest", lambda: self.with_file(honest[:-1] + bytes([honest[-1] ^ 1]))
        yield "node's blob is short", lambda: self.from_node(honest[: 32 * (BLOB_WORDS - 1)])

    def with_file(self, data):
        name = f"{self.block['versioned_hash']:064x}"
        with tempfile.TemporaryDirectory() as place:
            path = pathlib.Path(place) / name[-2:] / name
            path.parent.mkdir()
            path.write_bytes(data)
            self.play(self.block, place)

    def from_node(self, data):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            try:
                self.play(self.block, f"http://127.0.0.1:{server.server_port}")
            finally:
                thread.join()

    def moments(self):
        """Whether all was read as of one block, and what the reader says if that block leaves the chain."""

        def one_block():
            asked = self.l1.asked
            reader2.same("blocks that were chosen", sum("latest" in params for _, params in asked), 1)
            for method, params in asked:
                if method == "eth_call":
                    reader2.same("block of a call", params[1], {"blockHash": self.l1.hash})
                if method == "eth_getLogs":
                    reader2.same("last block of logs", int(params[0]["toBlock"], 16), self.l1.head)

        yield "honest moment", one_block

        def replaced(method, params, result):
            return {**result, "hash": "0x" + "22" * 32} if params[0] == hex(self.l1.head) else result

        yield "L1 block replaced", lambda: Altered(self.args.l1, replaced).stays()
        yield "L1 block gone", lambda: Altered(self.args.l1, lambda _, p, r: r if p[0] == "latest" else None).stays()

    def all(self):
        yield "honest block", lambda: self.play(self.block)
        for cases in (self.fields, self.history, self.data, self.moments):
            yield from cases()


def main(words):
    for name, act in Cases(reader2.parsed(words)).all():
        print(json.dumps({"case": name, "said": said(act)}))


if __name__ == "__main__":
    main(sys.argv[1:])
