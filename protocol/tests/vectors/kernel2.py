"""The private kernel for protocol 2's model: calls, contracts, state, and the rules by name. No code of the crates.

A call is a dict: single words by name, and a list of tuples for each kind of entry, absent ones left out at the end. The
state is a dict of lists without absent entries. docs/book/private.md is the specification.
"""

from formats2 import *

PRIVATE_TAGS = {
    "ADDRESS_PARTIAL": 31, "CLASS": 32, "FUNCTION": 33, "SILO_NOTE": 34, "SILO_NULLIFIER": 35, "CALL": 37,
    "APP_KEY": 38, "KERNEL_STATE": 39, "TX_REQUEST": 40, "GAS_SETTINGS": 41,
}  # fmt: skip
assert all(TAGS.get(name, tag) == tag for name, tag in PRIVATE_TAGS.items())
assert not {t for n, t in TAGS.items() if n not in PRIVATE_TAGS} & set(PRIVATE_TAGS.values())

FUNCTION_HEIGHT = 7
COUNTERS = 1 << 32
NULLIFIER_KEY = 1
NOBODY = 0
SIZES = (2, 4, 8)

SINGLE = [
    "contract", "selector", "sender", "is_static", "args_hash", "returns_hash", "anchor_header_hash", "chain_id",
    "version", "gas_hash", "start", "end", "min_revertible", "is_fee_payer", "expiry_slot",
]  # fmt: skip
REQUEST = ["contract", "selector", "sender", "is_static", "args_hash", "returns_hash", "start", "end"]
PUBLIC = ["contract", "calldata_hash", "sender", "is_static", "counter"]
READ = NOTE_ENTRY = ["value", "counter"]
NULLIFIER_ENTRY = ["value", "nullified", "counter"]
LOG = ["tag", "log_hash", "note_counter", "counter"]
KEY = ["npk", "app_key", "kind"]
MESSAGE = ["recipient", "content", "counter"]
LISTS = [
    ("note_reads", 8, READ), ("nullifier_reads", 4, READ), ("note_hashes", 8, NOTE_ENTRY), ("nullifiers", 8, NULLIFIER_ENTRY),
    ("logs", 8, LOG), ("keys", 4, KEY), ("calls", 4, REQUEST), ("public_calls", 4, PUBLIC), ("teardown", 0, PUBLIC[:4]),
    ("messages", 2, MESSAGE),
]  # fmt: skip
"""Name, number of entries and words of an entry; 0 for a single one."""

STATE_SINGLE = ["request_hash", "anchor_header_hash", "chain_id", "version", "gas_hash", "min_revertible", "fee_payer",
                "fee_payer_start", "expiry_slot"]  # fmt: skip
STATE_LISTS = [
    ("note_reads", 16, READ), ("nullifier_reads", 8, READ), ("note_hashes", 16, NOTE_ENTRY), ("nullifiers", 16, NULLIFIER_ENTRY),
    ("logs", 16, LOG), ("keys", 8, KEY), ("messages", 2, MESSAGE), ("stack", 8, REQUEST),
]  # fmt: skip
PRESENT_BY = {"logs": 1}
"""The word that is zero exactly in an absent entry, where it is not the first."""


def entry_names(name, count, words):
    return [f"{name}.{i}.{w}" for i in range(count) for w in words] if count else [f"{name}.{w}" for w in words]


CALL_NAMES = SINGLE + [n for entry in LISTS for n in entry_names(*entry)]
STATE_NAMES = STATE_SINGLE + [
    n for name, count, words in STATE_LISTS
    for i in range(count)
    for n in ([f"{name}.{i}.{w}" for w in words] if name == "stack"
              else [f"{name}.{i}.contract"] + [f"{name}.{i}.item.{w}" for w in words])
]  # fmt: skip
assert len(CALL_NAMES) == 185


class Broken(Exception):
    """A rule that a call or a transaction breaks."""


def require(holds, rule):
    if not holds:
        raise Broken(rule)


# ---------------------------------------------------------------- words


def call_words(call):
    out = [call[n] for n in SINGLE]
    for name, count, words in LISTS:
        entries = [e for e in call.get(name, [])]
        for i in range(max(count, 1)):
            out += entries[i] if i < len(entries) else [0] * len(words)
    assert len(out) == 185
    return out


def state_words(state):
    out = [state[n] for n in STATE_SINGLE]
    for name, count, words in STATE_LISTS:
        width = len(words) + (name != "stack")
        entries = [x for e in state[name] for x in e]
        out += entries + [0] * (count * width - len(entries))
    assert len(out) == len(STATE_NAMES)
    return out


def call_digest(call):
    return h(PRIVATE_TAGS["CALL"], *call_words(call))


def state_digest(state):
    return h(PRIVATE_TAGS["KERNEL_STATE"], *state_words(state))


def gas_hash(gas):
    return h(PRIVATE_TAGS["GAS_SETTINGS"], *gas)


def request_hash(q):
    return h(PRIVATE_TAGS["TX_REQUEST"], q["origin"], q["selector"], q["args_hash"], q["chain_id"], q["version"],
             gas_hash(q["gas"]), q["salt"])  # fmt: skip


def silo_note(contract, value):
    return h(PRIVATE_TAGS["SILO_NOTE"], contract, value)


def silo_nullifier(contract, value):
    return h(PRIVATE_TAGS["SILO_NULLIFIER"], contract, value)


def app_key(nsk, contract):
    return h(PRIVATE_TAGS["APP_KEY"], nsk, contract)


# ---------------------------------------------------------------- contracts


class Contract:
    """A class of functions by selector, each with the digest and size of its key, and one instance of it."""

    def __init__(self, seed, functions):
        self.functions, self.seed = dict(functions), seed
        self.tree = Tree(FUNCTION_HEIGHT)
        self.tree.append(*(h(PRIVATE_TAGS["FUNCTION"], s, *key) for s, key in self.functions.items()))
        self.words = {n: h(TAGS["VK_DIGEST"], seed, i) for i, n in enumerate(
            ("artifact_hash", "bytecode_commitment", "salt", "init_hash", "deployer", "keys_hash"))}  # fmt: skip
        self.address = address_of(self.function(next(iter(self.functions))), next(iter(self.functions)))

    def function(self, selector):
        """What shows that a key is that of this function."""
        index = list(self.functions).index(selector)
        digest, log_n = self.functions[selector]
        return {"vk_digest": digest, "log_n": log_n, "index": index, "path": self.tree.path(index), **self.words}


def address_of(f, selector):
    leaf = h(PRIVATE_TAGS["FUNCTION"], selector, f["vk_digest"], f["log_n"])
    class_id = h(PRIVATE_TAGS["CLASS"], f["artifact_hash"], climb(leaf, f["index"], f["path"]), f["bytecode_commitment"])
    partial = h(PRIVATE_TAGS["ADDRESS_PARTIAL"], class_id, f["salt"], f["init_hash"], f["deployer"])
    return h(ADDRESS, f["keys_hash"], partial)


# ---------------------------------------------------------------- one call


def present(call, name):
    """The entries of a list without the absent ones at its end, which must be zero."""
    entries, at = [tuple(e) for e in call.get(name, [])], PRESENT_BY.get(name, 0)
    n = next((i for i, e in enumerate(entries) if not e[at]), len(entries))
    for e in entries[n:]:
        require(not e[at], "gap")
        require(not any(e), "absent_words")
    return entries[:n]


def check_call(call):
    require(call["is_static"] < 2, "range")
    require(call["is_fee_payer"] < 2, "range")
    require(call["start"] < COUNTERS and call["end"] < COUNTERS, "range")
    require(call["expiry_slot"] <= NO_EXPIRY, "range")
    start, end = call["start"], call["end"]
    require(start < end, "counter_order")
    require(call["min_revertible"] == 0 or start < call["min_revertible"] < end, "revertible_outside")
    for name in ("note_reads", "nullifier_reads", "note_hashes", "nullifiers", "logs"):
        require(all(start < e[-1] < end for e in present(call, name)), "counter_outside")
    require(all(e[2] < COUNTERS for e in present(call, "logs")), "range")
    present(call, "keys")
    require(all(start < e[-1] < end for e in present(call, "messages")), "counter_outside")
    require(all(e[0] < 1 << 160 for e in present(call, "messages")), "range")
    require(not any(w for name in ("public_calls", "teardown") for e in call.get(name, []) for w in e), "public_calls")
    before = start
    for _, _, sender, static, _, _, first, last in present(call, "calls"):
        require(sender == call["contract"], "forged_sender")
        require(static < 2, "range")
        require(before < first < last < end, "call_interval")
        before = last
    if call["is_static"]:
        effects = [present(call, n) for n in ("note_hashes", "nullifiers", "logs", "messages")]
        require(not any(effects) and not call["is_fee_payer"] and not call["min_revertible"], "static_effect")
        require(all(nested[3] for nested in present(call, "calls")), "static_call")


def take(state, requested, call, function):
    """Checks a call against what was requested, and adds what it says to the state."""
    for name, rule in (("anchor_header_hash", "anchor"), ("chain_id", "chain"), ("version", "version"), ("gas_hash", "gas")):
        require(call[name] == state[name], f"wrong_{rule}")
    for name, rule in (("contract", "contract"), ("selector", "selector"), ("sender", "sender"), ("is_static", "static"),
                       ("args_hash", "args"), ("returns_hash", "returns"), ("start", "counters"), ("end", "counters")):  # fmt: skip
        require(call[name] == requested.get(name, call[name]), f"wrong_{rule}")
    check_call(call)
    require(function["index"] < 1 << FUNCTION_HEIGHT, "range")
    require(address_of(function, call["selector"]) == call["contract"], "not_of_contract")
    state = {n: list(v) if isinstance(v, list) else v for n, v in state.items()}
    for name, _, _ in STATE_LISTS[:-1]:
        state[name] += [(call["contract"], *e) for e in present(call, name)]
    state["stack"] += present(call, "calls")
    for name, count, _ in STATE_LISTS:
        require(len(state[name]) <= count, "too_many")
    if call["min_revertible"]:
        require(not state["min_revertible"], "revertible_twice")
        state["min_revertible"] = call["min_revertible"]
    if call["is_fee_payer"]:
        require(not state["fee_payer"], "two_fee_payers")
        state["fee_payer"], state["fee_payer_start"] = call["contract"], call["start"]
    state["expiry_slot"] = min(state["expiry_slot"], call["expiry_slot"])
    return state


def init(request, call, function):
    state = {"request_hash": request_hash(request), "anchor_header_hash": call["anchor_header_hash"],
             "chain_id": request["chain_id"], "version": request["version"], "gas_hash": gas_hash(request["gas"]),
             "min_revertible": 0, "fee_payer": 0, "fee_payer_start": 0, "expiry_slot": NO_EXPIRY}  # fmt: skip
    state |= {name: [] for name, _, _ in STATE_LISTS}
    requested = {"contract": request["origin"], "selector": request["selector"], "args_hash": request["args_hash"],
                 "sender": 0, "is_static": 0, "start": 0}  # fmt: skip
    return take(state, requested, call, function)


def inner(state, call, function):
    require(state["stack"], "stack_empty")
    # By the rule, and not by the order of the stack.
    top = max(state["stack"], key=lambda e: e[6])
    assert top == state["stack"][-1]
    rest = state | {"stack": [e for e in state["stack"] if e != top]}
    return take(rest, dict(zip(REQUEST, top)), call, function)


# ---------------------------------------------------------------- the whole transaction


def check_reads(state, w):
    header = w["anchor"]
    for kind, of, root in (("note", "note_hashes", header[13]), ("nullifier", "nullifiers", header[15])):
        for i, (contract, value, counter) in enumerate(state[f"{kind}_reads"]):
            # A nullifier that names a note hash disappears.
            equal = [e[-1] for e in state[of] if e[:2] == (contract, value) and (kind == "note" or not e[2])]
            if any(c < counter for c in equal):
                continue
            paths = w[f"{kind}_paths"]
            at = paths[i] if i < len(paths) else None
            if at is None:
                raise Broken(f"{kind}_too_late" if equal else f"{kind}_unknown")
            leaf, good = value, True
            if kind == "nullifier":
                leaf = h(TAGS["NULLIFIER_LEAF"], *at["leaf"])
                good = at["leaf"][0] == silo_nullifier(contract, value)
            good = good and len(at["path"]) == 40 and at["index"] < 1 << 40
            require(good and climb(leaf, at["index"], at["path"]) == root, f"{kind}_path")


def squash(state):
    """What is left of note hashes, nullifiers and logs, each in the order of the counters."""
    boundary = state["min_revertible"] or COUNTERS

    def late(counter):
        return counter >= boundary

    notes = sorted(state["note_hashes"], key=lambda e: e[-1])
    gone = set()
    for contract, value, nullified, counter in sorted(state["nullifiers"], key=lambda e: e[-1]):
        if not nullified:
            continue
        fits = [n[-1] for n in notes if n[:2] == (contract, nullified) and n[-1] < counter and n[-1] not in gone]
        require(fits, "nullified_unknown")
        fits = [at for at in fits if late(at) == late(counter)]
        require(fits, "nullified_across")
        gone |= {fits[0], counter}
    for contract, _, _, about, _ in state["logs"]:
        require(not about or any(n[0] == contract and n[-1] == about for n in notes), "log_note_unknown")

    def left(name, about=-1):
        return sorted((e for e in state[name] if e[about] not in gone), key=lambda e: e[-1])

    return left("note_hashes"), left("nullifiers"), left("logs", 3)


def tail(state, w):
    """The 50 words of the effects."""
    require(not state["stack"], "stack_not_empty")
    header = w["anchor"]
    require(header_hash(header) == state["anchor_header_hash"], "wrong_anchor")
    require(header[0] == state["chain_id"], "wrong_chain")
    require(header[1] == state["version"], "wrong_version")
    require(gas_hash(w["gas"]) == state["gas_hash"], "wrong_gas")
    counters = [e[-1] for name, _, _ in STATE_LISTS if name not in ("keys", "stack") for e in state[name]]
    require(len(set(counters)) == len(counters), "counter_repeated")
    check_reads(state, w)
    for i, (contract, npk_, key, kind) in enumerate(state["keys"]):
        require(kind == NULLIFIER_KEY, "key_kind")
        require(i < len(w["nsks"]) and npk(w["nsks"][i]) == npk_, "key_unknown")
        require(app_key(w["nsks"][i], contract) == key, "app_key_wrong")
    require(state["fee_payer"], "no_fee_payer")
    late = state["min_revertible"] and state["fee_payer_start"] >= state["min_revertible"]
    require(not late, "fee_payer_revertible")
    notes, nullifiers, logs = squash(state)
    size, padding = w["padding"]["size"], w["padding"]
    require(size in SIZES, "size")
    nulls = [silo_nullifier(c, v) for c, v, _, _ in nullifiers]
    # The first one makes notes unique that cannot be reverted, so it must be such a one itself.
    if not nullifiers or nullifiers[0][-1] >= (state["min_revertible"] or COUNTERS):
        nulls = [state["request_hash"]] + nulls
    require(len(nulls) <= size, "too_many_left")
    nulls += [silo_nullifier(NOBODY, padding["nullifiers"][i]) for i in range(len(nulls), size)]
    hashes = [silo_note(c, v) for c, v, _ in notes]
    require(len(hashes) <= size, "too_many_left")
    hashes += [silo_note(NOBODY, padding["note_hashes"][i]) for i in range(len(hashes), size)]
    leaves = [unique(nulls[0], i, x) for i, x in enumerate(hashes)]
    entries = [(silo_tag(c, tag), x) for c, tag, x, _, _ in logs]
    require(len(entries) <= size, "too_many_left")
    entries += [(silo_tag(NOBODY, padding["tags"][i]), padding["log_hashes"][i]) for i in range(len(entries), size)]
    require(all(x for _, x in entries), "padding_log")
    messages = [message_out(c, r, x) for c, r, x, _ in sorted(state["messages"], key=lambda e: e[-1])]

    def slots(values, n=SLOTS):
        return values + [0] * (n - len(values))

    effects = slots(nulls) + slots(leaves) + slots([t for t, _ in entries]) + slots([x for _, x in entries])
    effects += slots(messages, MESSAGES) + [0, state["fee_payer"], *w["gas"]] + [0] * 7 + [state["expiry_slot"]]
    assert len(effects) == len(EFFECTS)
    return effects
