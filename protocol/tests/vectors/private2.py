#!/usr/bin/env python3
"""Cases of the private kernel for the model in `kernel2.py`: transactions of nested calls, and one case for each mistake.

Usage: python3 private2.py > private2.json
"""

import pathlib
import sys

# The vectors are made with `python3 -I`, which does not look beside the script.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import copy  # noqa: E402
import json  # noqa: E402

from kernel2 import *  # noqa: E402

CHAIN_ID, VERSION = 31337, 99
GAS = [10, 11, 100_000, 2_000, 0, 0]
NSK = 1234


def value(*seed):
    return h(TAGS["TAG"], *seed)


# ---------------------------------------------------------------- a chain to read, and contracts


ACCOUNT = Contract(1, [(11, (value(1, 1), 13)), (12, (value(1, 2), 14))])
TOKEN = Contract(2, [(21 + i, (value(2, i), 14)) for i in range(5)])
SPONSOR = Contract(3, [(31, (value(3, 1), 13))])
CONTRACTS = {c.address: c for c in (ACCOUNT, TOKEN, SPONSOR)}
assert len(CONTRACTS) == 3

OLD_NOTE = unique(555, 3, silo_note(TOKEN.address, 8_000))
OLD_NULLIFIER = 9_000
NOTES, NULLIFIERS = Tree(NOTE_HEIGHT), Indexed(NULLIFIER_HEIGHT, False)
NOTES.append(value(9), OLD_NOTE, value(10))
for key in (value(11), silo_nullifier(TOKEN.address, OLD_NULLIFIER), value(12)):
    NULLIFIERS.insert(key)
HEADER = [CHAIN_ID, VERSION, 5, 7, 1_700_000_000, 1, 2, 3, 4, 5, 6, 7, value(13), NOTES.root(), 3, NULLIFIERS.tree.root(),
          4, value(14), 1, value(15), 64, value(16), value(17), value(18)]  # fmt: skip
OLD_INDEX = NULLIFIERS.index[silo_nullifier(TOKEN.address, OLD_NULLIFIER)]


def nullifier_path(index):
    leaf = NULLIFIERS.leaves[index]
    return {"leaf": [leaf[0], *leaf[2:]], "index": index, "path": NULLIFIERS.tree.path(index)}


NOTE_PATH, NULLIFIER_PATH = {"index": 1, "path": NOTES.path(1)}, nullifier_path(OLD_INDEX)


# ---------------------------------------------------------------- execution


class Run:
    """Executes a script of calls: counters in order, one for each thing that happens."""

    def __init__(self, script, gas=GAS):
        self.counter, self.order, self.named = 0, [], {}
        self.gas = gas
        root = self.call(0, script)
        self.request = {"origin": root["contract"], "selector": root["selector"], "args_hash": root["args_hash"],
                        "chain_id": CHAIN_ID, "version": VERSION, "gas": gas, "salt": value(20)}  # fmt: skip
        waiting, self.calls = [root], []
        while waiting:
            self.calls.append(waiting.pop())
            waiting += self.calls[-1].pop("nested")
        self.functions = [CONTRACTS[c["contract"]].function(c["selector"]) for c in self.calls]
        self.tail = {
            "anchor": HEADER, "gas": gas, "note_paths": [None] * 16, "nullifier_paths": [None] * 8, "nsks": [NSK] * 8,
            "padding": {"size": 4} | {n: [value(21, i, j) for j in range(8)] for i, n in enumerate(
                ("note_hashes", "nullifiers", "tags", "log_hashes"))},
        }  # fmt: skip

    def next(self):
        self.counter += 1
        return self.counter

    def call(self, sender, script, static=0):
        contract, selector, *steps = script
        start = self.counter
        out = {n: 0 for n in SINGLE} | {n: [] for n, _, _ in LISTS} | {"nested": []}
        for kind, *args in steps:
            self.step(out, contract, kind, args, static)
        end = self.next()
        return out | {
            "contract": contract.address, "selector": selector, "sender": sender, "is_static": static,
            "args_hash": value(30, start), "returns_hash": value(31, start), "anchor_header_hash": header_hash(HEADER),
            "chain_id": CHAIN_ID, "version": VERSION, "gas_hash": gas_hash(self.gas), "start": start, "end": end,
            "expiry_slot": out["expiry_slot"] or NO_EXPIRY,
        }  # fmt: skip

    def step(self, out, contract, kind, args, static):
        at = self.next()
        if kind == "note":
            out["note_hashes"].append((args[0], at))
            self.named[args[0]] = at
        elif kind == "nullify":
            out["nullifiers"].append((*args, at) if len(args) == 2 else (args[0], 0, at))
        elif kind == "log":
            out["logs"].append((args[0], value(40, at), self.named.get(args[1], 0) if args[1:] else 0, at))
        elif kind == "read":
            out["note_reads"].append((args[0], at))
        elif kind == "read_nullifier":
            out["nullifier_reads"].append((args[0], at))
        elif kind == "key":
            out["keys"].append((npk(NSK), app_key(NSK, contract.address), NULLIFIER_KEY))
        elif kind == "message":
            out["messages"].append((*args, at))
        elif kind == "pay":
            out["is_fee_payer"] = 1
        elif kind == "revertible":
            out["min_revertible"] = at
        elif kind == "expires":
            out["expiry_slot"] = args[0]
        else:
            nested = self.call(contract.address, args[0], 1 if static or kind == "static" else 0)
            out["nested"].append(nested)
            out["calls"].append(tuple(nested[n] for n in REQUEST))


# ---------------------------------------------------------------- cases


def deep():
    """Three levels, four contracts' calls, a transient note with its log, old and new reads, messages, a key."""
    note = (TOKEN, 22, ("note", 7_000), ("log", 50, 7_000), ("read_nullifier", OLD_NULLIFIER))
    spend = (TOKEN, 23, ("read", 7_000), ("nullify", 7_100, 7_000), ("note", 7_200), ("log", 51, 7_200), ("message", 5, 6))
    view = (SPONSOR, 31)
    token = (TOKEN, 21, ("key",), ("read", OLD_NOTE), ("call", note), ("nullify", 8_100), ("call", spend), ("static", view),
             ("expires", 900))  # fmt: skip
    run = Run((ACCOUNT, 11, ("pay",), ("nullify", 100), ("revertible",), ("call", token), ("message", 7, 8), ("expires", 1_000)))
    run.tail["note_paths"][0] = NOTE_PATH
    # The last call is taken first, so reads stand in another order than they happened in.
    order = [e[0] for c in run.calls for e in c["note_reads"]]
    run.tail["note_paths"] = [NOTE_PATH if v == OLD_NOTE else None for v in order] + [None] * (16 - len(order))
    run.tail["nullifier_paths"][0] = NULLIFIER_PATH
    return run


def crowded():
    """As much of every kind as a transaction may have. The first call's entries stay, the second's disappear."""

    def call(selector, base, disappears):
        steps = []
        for note in range(base, base + 8):
            steps += [("note", note), ("log", note, note), ("read", note)]
            steps.append(("nullify", note + 100, note) if disappears else ("nullify", note + 100))
        steps += [("read_nullifier", 1_100 + i) for i in range(4)]
        return ("call", (TOKEN, selector, *steps, *[("key",)] * 4, ("message", 1, base)))

    run = Run((ACCOUNT, 11, ("pay",), call(21, 1_000, False), call(22, 2_000, True)))
    run.tail["padding"]["size"] = 8
    return run


def waiting(last):
    """After three calls, six wait and as many as the last one made."""
    leaf = ("call", (SPONSOR, 31))
    middle = (TOKEN, 21, leaf, leaf, leaf, ("call", (TOKEN, 22, *[leaf] * last)))
    return Run((ACCOUNT, 11, ("pay",), leaf, leaf, leaf, ("call", middle)))


def flat(*steps, pay=True):
    """One call of the account."""
    return Run((ACCOUNT, 11, *([("pay",)] if pay else []), *steps))


def good():
    """Transactions that hold."""
    yield "deep", deep()
    yield "empty", flat()
    run = flat(*(("note", 100 + i) for i in range(8)), *(("nullify", 200 + i) for i in range(8)))
    run.tail["padding"]["size"] = 8
    yield "full", run
    run = flat(("note", 5), ("note", 5), ("nullify", 6, 5), ("log", 1, 5), ("read", 5))
    run.tail["padding"]["size"] = 2
    yield "equal_notes", run
    yield "everything_disappears", flat(("note", 5), ("log", 1, 5), ("log", 2, 5), ("nullify", 6, 5))
    yield "both_revertible", flat(("revertible",), ("note", 5), ("nullify", 6, 5))
    # The nullifier takes the second of two equal notes, which is on its side of the boundary.
    yield "equal_notes_on_both_sides", flat(("note", 5), ("log", 1, 5), ("revertible",), ("note", 5), ("nullify", 6, 5))
    sponsor = (SPONSOR, 31, ("pay",))
    yield "sponsored", Run((ACCOUNT, 11, ("call", sponsor), ("revertible",), ("nullify", 1)))
    # Notes from before the boundary are made unique by a nullifier that cannot be reverted.
    yield "first_nullifier_is_revertible", flat(("note", 5), ("revertible",), ("nullify", 6), ("note", 7))
    gone = flat(("note", 5), ("nullify", 6, 5), ("note", 8), ("revertible",), ("nullify", 7))
    yield "first_nullifier_disappears_and_the_next_is_revertible", gone
    run = flat(("nullify", 6), ("note", 5))
    yield "first_nullifier_at_the_boundary", changed(run, 0, min_revertible=run.calls[0]["nullifiers"][0][-1])
    run = flat(("revertible",), *(("nullify", 11 + i) for i in range(7)))
    run.tail["padding"]["size"] = 8
    yield "request_and_seven_nullifiers", run
    yield "pending_nullifier", flat(("nullify", 6), ("read_nullifier", 6))
    below = (TOKEN, 22, ("read", OLD_NOTE))
    run = Run((ACCOUNT, 11, ("pay",), ("static", (TOKEN, 21, ("call", below)))))
    run.tail["note_paths"][0] = NOTE_PATH
    yield "static_all_the_way_down", run
    yield "every_list_is_full", crowded()
    yield "eight_calls_wait", waiting(2)


def changed(run, at=None, tail=None, request=None, **words):
    """A copy of a run with other words in one call, in the tail's witness or in the request."""
    run = copy.deepcopy(run)
    if at is not None:
        run.calls[at].update(words)
    run.tail.update(tail or {})
    run.request.update(request or {})
    return run


def bad_first():
    """Mistakes that the first call makes, or a call beside its caller."""
    base = flat(("nullify", 1), ("note", 2), ("note", 3))
    for name, words in {
        "wrong_contract": {"contract": TOKEN.address}, "wrong_selector": {"selector": 12}, "wrong_sender": {"sender": 5},
        "wrong_static": {"is_static": 1}, "wrong_args": {"args_hash": 5}, "wrong_counters": {"start": 1},
        "wrong_chain": {"chain_id": 1}, "wrong_version": {"version": 98}, "wrong_gas": {"gas_hash": 5},
        "range": {"end": COUNTERS}, "counter_order": {"end": 0}, "revertible_outside": {"min_revertible": base.calls[0]["end"]},
        "counter_outside": {"note_hashes": [(2, base.calls[0]["end"])]}, "gap": {"note_hashes": [(0, 0), (3, 2)]},
        "absent_words": {"note_hashes": [(2, 3), (0, 4)]}, "public_calls": {"public_calls": [(0, 0, 0, 0, 1)]},
    }.items():  # fmt: skip
        yield name, changed(base, 0, **words), name
    yield "range", changed(base, 0, is_fee_payer=2), "fee_payer_of_two"
    yield "range", changed(base, 0, expiry_slot=NO_EXPIRY + 1), "expiry_of_49_bits"
    yield "range", changed(base, 0, messages=[(1 << 160, 1, 2)]), "recipient_of_161_bits"
    yield "range", changed(base, 0, logs=[(1, 1, COUNTERS, 2)]), "note_counter_of_33_bits"
    yield "public_calls", changed(base, 0, teardown=[(0, 0, 0, 1)]), "teardown"
    yield "counter_outside", changed(base, 0, nullifiers=[(1, 0, 0)]), "counter_at_the_start"
    yield "counter_outside", changed(base, 0, messages=[(1, 1, 90)]), "message_after_the_end"
    yield "wrong_args", changed(base, request={"args_hash": 6}), "another_request"
    # The call and its function are real, but not those of the request.
    yield "wrong_contract", changed(base, request={"origin": TOKEN.address}), "request_of_another_contract"
    yield "wrong_selector", changed(base, request={"selector": 12}), "request_of_another_function"
    yield "counter_order", changed(flat(), 0, end=0), "call_that_ends_at_its_start"
    yield "absent_words", changed(base, 0, keys=[(0, 1, 0)]), "key_without_owner"
    run = copy.deepcopy(base)
    run.functions[0]["index"] = 1 << FUNCTION_HEIGHT
    yield "range", run, "function_beyond_the_tree"
    for name, words in {
        "key_of_another_function": ACCOUNT.function(12), "function_of_another_contract": TOKEN.function(21),
        "key_of_another_size": {"log_n": 14}, "another_place": {"index": 1}, "another_salt": {"salt": 5},
        "another_class": {"artifact_hash": 5}, "keys_of_another": {"keys_hash": 5},
    }.items():  # fmt: skip
        run = copy.deepcopy(base)
        run.functions[0] |= words
        yield "not_of_contract", run, name


def bad_nested():
    """Mistakes between a call and its caller."""
    base = deep()
    token = next(i for i, c in enumerate(base.calls) if c["selector"] == 21)
    yield "wrong_anchor", changed(base, token, anchor_header_hash=5), "wrong_anchor"
    for name, words in {
        "wrong_contract": {"contract": SPONSOR.address}, "wrong_selector": {"selector": 22}, "wrong_sender": {"sender": 5},
        "wrong_static": {"is_static": 1}, "wrong_args": {"args_hash": 5}, "wrong_returns": {"returns_hash": 5},
        "wrong_counters": {"end": base.calls[token]["end"] - 1},
    }.items():  # fmt: skip
        yield name, changed(base, token, **words), f"nested_{name}"
    nested = base.calls[0]["calls"][0]
    yield "wrong_contract", changed(base, 0, calls=[(SPONSOR.address, *nested[1:])]), "caller_calls_another_contract"
    yield "wrong_selector", changed(base, 0, calls=[(nested[0], 22, *nested[2:])]), "caller_calls_another_function"
    run = Run((ACCOUNT, 11, ("pay",), ("static", (TOKEN, 21, ("note", 1)))))
    yield "wrong_static", changed(run, 1, is_static=0), "call_with_effects_that_its_caller_calls_static"
    run = Run((ACCOUNT, 11, ("pay",), ("call", (TOKEN, 21))))
    yield "wrong_static", changed(run, 1, is_static=1), "call_that_only_its_own_proof_calls_static"
    yield "revertible_outside", changed(run, 1, min_revertible=1), "revertible_from_before_the_call"
    # A caller that names the token as the sender of its call, and the callee saw that sender.
    run, (nested, *rest) = copy.deepcopy(base), base.calls[0]["calls"]
    run.calls[0]["calls"] = [(*nested[:2], TOKEN.address, *nested[3:]), *rest]
    run.calls[token]["sender"] = TOKEN.address
    yield "forged_sender", run, "forged_sender"
    calls = base.calls[token]["calls"]
    for name, second in {
        "overlapping_calls": (*calls[1][:6], calls[0][7], calls[1][7]), "call_that_ends_first": (*calls[1][:6], calls[1][7], calls[1][6]),
        "call_beyond_its_caller": (*calls[1][:7], base.calls[token]["end"]),
    }.items():  # fmt: skip
        yield "call_interval", changed(base, token, calls=[calls[0], second]), name
    yield "call_interval", changed(base, token, calls=[calls[1], calls[0]]), "calls_out_of_order"
    yield "range", changed(base, token, calls=[(*calls[0][:3], 2, *calls[0][4:])]), "static_of_two"
    yield "gap", changed(base, token, calls=[(0,) * 8, calls[1]]), "gap_in_calls"
    for kind, step in {"note": ("note", 1), "nullifier": ("nullify", 1), "log": ("log", 1), "message": ("message", 1, 1),
                       "payer": ("pay",), "revertible": ("revertible",)}.items():  # fmt: skip
        yield "static_effect", Run((ACCOUNT, 11, ("static", (TOKEN, 21, step)))), f"static_{kind}"
    run = Run((ACCOUNT, 11, ("pay",), ("static", (TOKEN, 21, ("call", (TOKEN, 22))))))
    run.calls[1]["calls"] = [(*e[:3], 0, *e[4:]) for e in run.calls[1]["calls"]]
    yield "static_call", run, "static_call"
    paying = ("call", (SPONSOR, 31, ("pay",)))
    yield "two_fee_payers", Run((ACCOUNT, 11, ("pay",), paying)), "two_fee_payers"
    setting = ("call", (TOKEN, 21, ("revertible",)))
    yield "revertible_twice", Run((ACCOUNT, 11, ("pay",), ("revertible",), setting)), "revertible_twice"
    many = [("call", (TOKEN, 21, *(("note", 10 * i + j) for j in range(8)))) for i in range(1, 3)]
    yield "too_many", Run((ACCOUNT, 11, ("pay",), ("note", 1), *many)), "too_many_notes"
    messages = [("call", (TOKEN, 21, ("message", 1, 1), ("message", 1, 2)))] * 2
    yield "too_many", Run((ACCOUNT, 11, *messages)), "too_many_messages"
    yield "too_many", waiting(3), "nine_calls_wait"
    keys = [("call", (TOKEN, 21, *[("key",)] * 4))] * 3
    yield "too_many", Run((ACCOUNT, 11, *keys)), "too_many_keys"
    run = deep()
    run.calls.append(copy.deepcopy(run.calls[-1]))
    run.functions.append(run.functions[-1])
    yield "stack_empty", run, "call_that_nobody_made"


def bad_tail():
    """Mistakes that only the whole transaction shows."""
    base = deep()
    run = copy.deepcopy(base)
    run.calls.pop()
    yield "stack_not_empty", run, "call_without_proof"
    run = Run((ACCOUNT, 11, ("pay",), ("call", (SPONSOR, 31))))
    run.calls.pop()
    yield "stack_not_empty", run, "call_without_effects_and_without_proof"
    yield "wrong_anchor", changed(base, tail={"anchor": [*HEADER[:-1], 1]}), "another_header"
    yield "wrong_gas", changed(base, tail={"gas": [9, *GAS[1:]]}), "other_gas"
    run = changed(flat(), request={"version": 98})
    run.calls[0]["version"] = 98
    yield "wrong_version", run, "version_of_another_header"
    run = changed(flat(), request={"chain_id": 1})
    run.calls[0]["chain_id"] = 1
    yield "wrong_chain", run, "chain_of_another_header"
    # A call's note at a counter that a nested call's nullifier has.
    run = Run((ACCOUNT, 11, ("pay",), ("note", 5), ("call", (TOKEN, 21, ("nullify", 1)))))
    run.calls[0]["note_hashes"] = [(5, run.calls[1]["nullifiers"][0][-1])]
    yield "counter_repeated", run, "one_counter_in_two_calls"
    yield "note_unknown", flat(("read", 5)), "note_that_is_not_there"
    yield "note_too_late", flat(("read", 5), ("note", 5)), "read_before_it_exists"
    other = ("call", (TOKEN, 21, ("note", 5)))
    yield "note_unknown", Run((ACCOUNT, 11, ("pay",), other, ("read", 5))), "note_of_another_contract"
    run = flat(("read", OLD_NOTE))
    for name, path in {"other_index": NOTE_PATH | {"index": 2}, "short_path": NOTE_PATH | {"path": NOTE_PATH["path"][1:]},
                       "index_beyond_the_tree": NOTE_PATH | {"index": 1 | 1 << 40}}.items():  # fmt: skip
        yield "note_path", changed(run, tail={"note_paths": [path]}), f"note_{name}"
    # The value without its place, as if it were a note of this transaction.
    yield "note_path", changed(flat(("read", silo_note(TOKEN.address, 8_000))), tail={"note_paths": [NOTE_PATH]}), "old_note_as_new"
    yield "nullifier_unknown", flat(("read_nullifier", 5)), "nullifier_that_is_not_there"
    yield "nullifier_too_late", flat(("read_nullifier", 5), ("nullify", 5)), "nullifier_read_before_it_exists"
    # The nullifier is there, and disappears with the note that it names.
    yield "nullifier_unknown", flat(("note", 5), ("nullify", 6, 5), ("read_nullifier", 6)), "nullifier_that_disappears"
    # The nullifier is there, but another contract's.
    run = flat(("read_nullifier", OLD_NULLIFIER))
    yield "nullifier_path", changed(run, tail={"nullifier_paths": [NULLIFIER_PATH]}), "nullifier_of_another_contract"
    run = Run((TOKEN, 21, ("pay",), ("read_nullifier", OLD_NULLIFIER)))
    yield "nullifier_path", changed(run, tail={"nullifier_paths": [nullifier_path(1)]}), "another_nullifier"
    path = NULLIFIER_PATH | {"index": OLD_INDEX ^ 1}
    yield "nullifier_path", changed(run, tail={"nullifier_paths": [path]}), "nullifier_at_another_index"
    run = flat(("key",))
    npk_, key, _ = run.calls[0]["keys"][0]
    yield "key_kind", changed(run, 0, keys=[(npk_, key, 2)]), "key_of_another_kind"
    yield "key_unknown", changed(run, tail={"nsks": [NSK + 1]}), "another_master_key"
    yield "key_unknown", changed(run, tail={"nsks": []}), "no_master_key"
    # The key that the call used is that of another account than it names.
    run_of_other = changed(run, 0, keys=[(npk_, app_key(NSK + 1, ACCOUNT.address), 1)])
    yield "key_unknown", changed(run_of_other, tail={"nsks": [NSK + 1]}), "key_of_another_account"
    yield "app_key_wrong", changed(run, 0, keys=[(npk_, app_key(NSK, TOKEN.address), 1)]), "key_of_another_contract"
    yield "app_key_wrong", changed(run, 0, keys=[(npk_, NSK, 1)]), "master_key_as_application_key"
    yield "no_fee_payer", flat(("nullify", 1), pay=False), "nobody_pays"
    late = Run((ACCOUNT, 11, ("revertible",), ("call", (SPONSOR, 31, ("pay",)))))
    yield "fee_payer_revertible", late, "payer_in_the_revertible_part"
    yield "nullified_unknown", flat(("nullify", 6, 5)), "nullified_note_is_not_there"
    yield "nullified_unknown", flat(("nullify", 6, 5), ("note", 5)), "nullified_before_it_exists"
    yield "nullified_unknown", flat(("note", 5), ("nullify", 6, 5), ("nullify", 7, 5)), "nullified_twice"
    run = Run((ACCOUNT, 11, ("pay",), ("note", 5), ("call", (TOKEN, 21, ("nullify", 6, 5)))))
    yield "nullified_unknown", run, "nullified_note_of_another_contract"
    # Both would stay, and the note could be nullified again as a leaf.
    across = flat(("note", 5), ("log", 1, 5), ("revertible",), ("nullify", 6, 5))
    yield "nullified_across", across, "nullified_across_the_boundary"
    run = flat(("note", 5), ("revertible",), ("note", 5), ("nullify", 6, 5), ("nullify", 7, 5))
    yield "nullified_across", run, "other_note_across"
    run = flat(("note", 5), ("log", 1, 5))
    yield "log_note_unknown", changed(run, 0, logs=[(1, 2, 1, 3)]), "log_of_no_note"
    yield "size", changed(flat(), tail={"padding": deep().tail["padding"] | {"size": 3}}), "three_of_each"
    for kind, step in {"notes": "note", "nullifiers": "nullify", "logs": "log"}.items():
        run = flat(*((step, 10 + i) for i in range(5)))
        yield "too_many_left", run, f"five_{kind}_in_four_places"
    over = [("call", (TOKEN, 21, *(("nullify", 10 + j) for j in range(8))))]
    run = Run((ACCOUNT, 11, ("pay",), ("nullify", 1), *over))
    run.tail["padding"]["size"] = 8
    yield "too_many_left", run, "nine_nullifiers"
    run = flat(("revertible",), *(("nullify", 11 + i) for i in range(8)))
    run.tail["padding"]["size"] = 8
    yield "too_many_left", run, "request_and_eight_nullifiers"
    padding = deep().tail["padding"]
    yield "padding_log", changed(flat(), tail={"padding": padding | {"log_hashes": [1, 2, 3, 0, 5, 6, 7, 8]}}), "padding_without_log"


def result(run):
    """What the kernel states after each call, and the effects; or the rule that is broken, and after how many calls."""
    out = {"states": [], "call_digests": [hx(call_digest(c)) for c in run.calls]}
    try:
        state = init(run.request, run.calls[0], run.functions[0])
        out["states"].append(hx(state_digest(state)))
        for call, function in zip(run.calls[1:], run.functions[1:]):
            state = inner(state, call, function)
            out["states"].append(hx(state_digest(state)))
        effects = tail(state, run.tail)
    except Broken as error:
        return out | {"error": str(error)}
    return out | {"error": None, "effects": hxs(effects), "tx_hash": hx(tx_hash(effects))}


TABLES = {"functions": [], "paths": [], "paddings": [], "anchors": []}


def kept(table, item):
    """The item's index in a table, so that a long one stands in the file once."""
    if item not in TABLES[table]:
        TABLES[table].append(item)
    return TABLES[table].index(item)


def hexed(item):
    if isinstance(item, dict):
        return {k: v if k in ("index", "log_n", "size") else hexed(v) for k, v in item.items()}
    return hxs(item) if isinstance(item, list) else hx(item)


def case(name, run, expected):
    made = result(run)
    assert made["error"] == expected, (name, made["error"], expected)
    calls = [{n: hx(w) for n, w in zip(CALL_NAMES, call_words(c)) if w} for c in run.calls]
    w = run.tail
    cut = {k: [None if p is None else kept("paths", hexed(p)) for p in w[k]] for k in ("note_paths", "nullifier_paths")}
    return {
        "name": name, "request": hexed(run.request), "calls": calls,
        "functions": [kept("functions", hexed(f)) for f in run.functions],
        "tail": {"anchor": kept("anchors", hexed(w["anchor"])), "gas": hexed(w["gas"]), "nsks": hexed(w["nsks"]), **cut,
                 "padding": kept("paddings", hexed(w["padding"]))},
        **made,
    }  # fmt: skip


def check_meaning(cases):
    """That the good cases show what their names say."""
    made = {c["name"]: [int(w, 16) for w in c["effects"]] for c in cases if not c["error"]}
    f = {n: dict(zip(EFFECT_NAMES, w)) for n, w in made.items()}
    pads = deep().tail["padding"]
    request = flat().request
    assert f["empty"]["nullifiers.0"] == request_hash(request) and f["empty"]["nullifiers.4"] == 0
    first = silo_nullifier(ACCOUNT.address, 100)
    assert f["deep"]["nullifiers.0"] == first and f["deep"]["nullifiers.1"] == silo_nullifier(TOKEN.address, 8_100)
    assert f["deep"]["nullifiers.2"] == silo_nullifier(NOBODY, pads["nullifiers"][2])
    assert f["deep"]["note_hashes.0"] == unique(first, 0, silo_note(TOKEN.address, 7_200))
    assert f["deep"]["tags.0"] == silo_tag(TOKEN.address, 51) and f["deep"]["expiry_slot"] == 900
    assert f["deep"]["messages.0"] == message_out(TOKEN.address, 5, 6)
    assert f["deep"]["messages.1"] == message_out(ACCOUNT.address, 7, 8)
    both = f["equal_notes_on_both_sides"]
    first = both["nullifiers.0"]
    assert first not in (silo_nullifier(ACCOUNT.address, 6), 0) and both["tags.0"] == silo_tag(ACCOUNT.address, 1)
    assert both["note_hashes.0"] == unique(first, 0, silo_note(ACCOUNT.address, 5))
    assert both["note_hashes.1"] == unique(first, 1, silo_note(NOBODY, pads["note_hashes"][1]))
    for name in ("both_revertible", "everything_disappears"):
        assert f[name]["nullifiers.1"] == silo_nullifier(NOBODY, pads["nullifiers"][1])
        assert f[name]["tags.0"] == silo_tag(NOBODY, pads["tags"][0])
    assert f["sponsored"]["fee_payer"] == SPONSOR.address
    first = request_hash(request)
    for name, value in (("sponsored", 1), ("first_nullifier_is_revertible", 6), ("request_and_seven_nullifiers", 11),
                        ("first_nullifier_disappears_and_the_next_is_revertible", 7), ("first_nullifier_at_the_boundary", 6)):  # fmt: skip
        assert [f[name][f"nullifiers.{i}"] for i in range(2)] == [first, silo_nullifier(ACCOUNT.address, value)]
    assert f["request_and_seven_nullifiers"]["nullifiers.7"] == silo_nullifier(ACCOUNT.address, 17)
    assert f["first_nullifier_is_revertible"]["note_hashes.0"] == unique(first, 0, silo_note(ACCOUNT.address, 5))
    for i in range(8):
        assert f["every_list_is_full"][f"nullifiers.{i}"] == silo_nullifier(TOKEN.address, 1_100 + i)
        assert f["every_list_is_full"][f"tags.{i}"] == silo_tag(TOKEN.address, 1_000 + i)
    assert all(c["tx_hash"] for c in cases if not c["error"])
    # What every transaction shows passes the rules of a block's transactions.
    assert all(w["refund_partial"] == 0 and w["fee_payer"] for w in f.values())


def main():
    cases = [case(name, run, None) for name, run in good()]
    cases += [case(name, run, rule) for bad in (bad_first, bad_nested, bad_tail) for rule, run, name in bad()]
    names = [c["name"] for c in cases]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    check_meaning(cases)
    forms = {"function_trees": [hx(c.tree.root()) for c in (ACCOUNT, TOKEN, SPONSOR)],
             "addresses": [hx(c.address) for c in (ACCOUNT, TOKEN, SPONSOR)],
             "empty_call": hx(h(PRIVATE_TAGS["CALL"], *[0] * 185)),
             "empty_state": hx(h(PRIVATE_TAGS["KERNEL_STATE"], *[0] * len(STATE_NAMES)))}  # fmt: skip
    tables = {"tags": PRIVATE_TAGS, "call": CALL_NAMES, "state": STATE_NAMES, "sizes": SIZES, "forms": forms, **TABLES}
    write({**tables, "cases": cases})


def text(value):
    return json.dumps(value, separators=(",", ":"))


def rows(value):
    """A list of objects or of lists has a line for each, so that a change shows which one it is of."""
    if isinstance(value, list) and isinstance(value[0], (dict, list)):
        return "[\n" + ",\n".join(map(text, value)) + "\n]"
    return text(value)


def write(tables):
    """Prints the tables as one object, which takes a line for each case instead of one for each word."""
    print("{\n" + ",\n".join(f"{text(name)}:{rows(value)}" for name, value in tables.items()) + "\n}")


if __name__ == "__main__":
    main()
