// Contracts by their artifacts: the repository's token, against a service that answers as the test says.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { ArgumentError, Contract, MODULUS, Pxe } from "../index.js";
import { encodeArguments } from "../contract.js";
import { typesOf } from "../types.js";
import { TOKEN, serve } from "./fake.js";

const ADDRESS = `0x${"ab".repeat(32)}`;
const HASH = `0x${"0c".repeat(32)}`;
const artifact = await readFile(new URL("../../../noir/artifacts/token.json", import.meta.url), "utf8");
const field = (n) => `0x${n.toString(16).padStart(64, "0")}`;

async function using(answer, work) {
  const service = await serve(answer);
  try {
    const pxe = new Pxe({ url: service.url, token: TOKEN, retryMs: 1 });
    return await work(pxe, service.requests);
  } finally {
    await service.close();
  }
}

test("a method sends the call of its function, by order or by name", async () => {
  const simulated = {
    returns: [], calls: 2, nullifiers: 3, note_hashes: 2, logs: 2, messages: 0,
    fee_payer: HASH, fee: "7", fee_max: "9", expiry_slot: 5,
  };
  const answers = { pxe_simulateCall: simulated, pxe_call: { hash: HASH, receipt: "accepted" } };
  await using(
    (method) => ({ result: answers[method] }),
    async (pxe, requests) => {
      const token = Contract.at(ADDRESS, artifact, pxe.account("rollmill1alice"));
      assert.deepEqual(Object.keys(token.methods).sort(), ["burn", "mint", "transfer", "transfer_from"]);
      const call = token.methods.transfer(5n, 2n ** 64n - 1n);
      assert.deepEqual(token.methods.transfer({ amount: 2n ** 64n - 1n, to: "0x5" }).call, call.call);
      assert.equal(requests.length, 0);
      assert.equal((await call.simulate()).fee, 7n);
      const sent = await call.send({ idempotencyKey: "key-of-the-test" });
      assert.equal(sent.hash, HASH);
      const args = { to: field(5), amount: "18446744073709551615" };
      const common = { account: "rollmill1alice", contract: ADDRESS, function: "transfer", args };
      assert.deepEqual(requests[0].params, common);
      assert.deepEqual(requests[1].params, { ...common, idempotency_key: "key-of-the-test" });
    },
  );
});

test("an argument that the function cannot take is named before anything is sent", () => {
  const account = new Pxe({ token: TOKEN }).account("rollmill1alice");
  const { methods } = Contract.at(ADDRESS, artifact, account);
  for (const [given, part] of [
    [[5n], "2 arguments expected (to, amount), 1 given"],
    [[5n, 1n, 1n], "3 given"],
    [[{ to: 5n }], "1 given"],
    [[5n, 5], "transfer.amount: a bigint from 0 to 18446744073709551615"],
    [[5n, "5"], "transfer.amount"],
    [[5n, -1n], "transfer.amount"],
    [[5n, 2n ** 64n], "transfer.amount"],
    [[5, 5n], "transfer.to"],
    [[-1n, 5n], "transfer.to"],
    [[MODULUS, 5n], "transfer.to"],
    [[field(MODULUS), 5n], "transfer.to"],
    [["5", 5n], "transfer.to"],
    [[null, 5n], "transfer.to"],
  ]) {
    assert.throws(
      () => methods.transfer(...given),
      (error) => error instanceof ArgumentError && error.message.includes(part),
      part,
    );
  }
  assert.equal(methods.transfer(MODULUS - 1n, 0n).call.args.to, field(MODULUS - 1n));
  assert.equal(methods.toString, undefined);
});

test("structs, lists, tuples, texts and signed integers are checked to their ends", () => {
  const u8 = { kind: "integer", sign: "unsigned", width: 8 };
  const parameters = [
    { name: "pair", type: { kind: "struct", fields: [{ name: "a", type: u8 }, { name: "b", type: { kind: "boolean" } }] } },
    { name: "list", type: { kind: "array", length: 2, type: { kind: "integer", sign: "signed", width: 8 } } },
    { name: "both", type: { kind: "tuple", fields: [u8, { kind: "string", length: 2 }] } },
  ];
  const good = { pair: { a: 255n, b: true }, list: [-128n, 127n], both: [0n, "ab"] };
  assert.deepEqual(encodeArguments("f", parameters, [good]), good);
  for (const [changed, part] of [
    [{ pair: { a: 256n, b: true } }, "f.pair.a"],
    [{ pair: { a: 1n } }, "f.pair: an object with a, b"],
    [{ pair: { a: 1n, b: true, c: 1n } }, "f.pair: an object"],
    [{ pair: { a: 1n, b: 1 } }, "f.pair.b"],
    [{ list: [1n] }, "f.list: a list of 2"],
    [{ list: [-129n, 0n] }, "f.list[0]"],
    [{ list: [0n, 128n] }, "f.list[1]"],
    [{ both: [0n, "é!"] }, "f.both[1]: a text of 2 bytes"],
  ]) {
    assert.throws(() => encodeArguments("f", parameters, [{ ...good, ...changed }]), (error) => error.message.includes(part));
  }
});

test("notes, authorizations and capabilities are read as the service writes them", async () => {
  const note = { leaf_index: 4, block: 1, tx: HASH, content: [field(5)], state: "spendable", spent_in: null };
  const answers = {
    pxe_contractNotes: [note],
    pxe_authorize: { message: HASH },
    pxe_capabilities: { app: "shop", accounts: ["rollmill1alice"], contracts: [], asset: false, rights: "read" },
  };
  await using(
    (method) => ({ result: answers[method] }),
    async (pxe, requests) => {
      const token = Contract.at(ADDRESS, JSON.parse(artifact), pxe.account("rollmill1alice"));
      const [found] = await token.notes();
      assert.deepEqual([found.content, found.transaction, found.spentIn], [[5n], HASH, null]);
      assert.equal(await token.methods.burn(1n).authorize(HASH), HASH);
      assert.deepEqual([requests[1].params.caller, requests[1].params.args], [HASH, { amount: "1" }]);
      assert.deepEqual(await pxe.capabilities(), answers.pxe_capabilities);
    },
  );
});

test("types have each private function by order and by name", () => {
  const types = typesOf(artifact);
  assert.ok(types.includes("  transfer(to_: FieldLike, amount_: bigint): Interaction;\n"));
  assert.ok(types.includes("  transfer(named: { to: FieldLike; amount: bigint }): Interaction;\n"));
  assert.ok(types.includes("export type TokenContract = Contract<TokenMethods>;"));
  assert.throws(() => typesOf("{"), ArgumentError);
  const odd = JSON.stringify({
    name: "A\nB",
    functions: [{ name: "a-b", custom_attributes: ["abi_private"], abi: { parameters: [] } }],
  });
  assert.ok(typesOf(odd).includes('  "a-b"(): Interaction;'));
  assert.ok(!typesOf(odd).includes("A\nB"));
});

/** An artifact of one private function with these parameters, beside what the kernel passes. */
const taking = (...parameters) => ({
  name: "Odd",
  functions: [
    {
      name: "f",
      custom_attributes: ["abi_private"],
      abi: { parameters: [{ name: "inputs", type: { kind: "field" } }, ...parameters] },
    },
  ],
});
const u = (width) => ({ kind: "integer", sign: "unsigned", width });

test("names of JavaScript's own are names like others", () => {
  const account = new Pxe({ token: TOKEN }).account("rollmill1alice");
  const fields = ["__proto__", "constructor"].map((name) => ({ name, type: u(8) }));
  const artifact = taking(
    { name: "__proto__", type: { kind: "struct", fields } },
    { name: "toString", type: { kind: "field" } },
  );
  artifact.functions[0].name = "__proto__";
  // As it comes out of a file.
  const { methods } = Contract.at(ADDRESS, JSON.stringify(artifact), account);
  assert.deepEqual(Object.keys(methods), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(methods), null);
  const value = JSON.parse('{ "__proto__": 1, "constructor": 2 }', (_, n) => (typeof n === "number" ? BigInt(n) : n));
  const { args } = Object.getOwnPropertyDescriptor(methods, "__proto__").value(value, 3n).call;
  assert.deepEqual(Object.keys(args), ["__proto__", "toString"]);
  const struct = Object.getOwnPropertyDescriptor(args, "__proto__").value;
  assert.deepEqual(Object.entries(struct), [["__proto__", 1n], ["constructor", 2n]]);
  assert.equal({}.constructor, Object);
  // What every object inherits is no argument.
  assert.throws(() => encodeArguments("f", [{ name: "toString", type: { kind: "field" } }], [{}]), ArgumentError);
});

test("integers are exact to both ends of each width", () => {
  for (const width of [1, 8, 32, 64, 128]) {
    const end = 1n << BigInt(width);
    const parameters = [{ name: "n", type: u(width) }];
    assert.deepEqual(encodeArguments("f", parameters, [end - 1n]), { n: end - 1n });
    for (const wrong of [end, -1n, 1, "1", true, null, [1n]]) {
      assert.throws(() => encodeArguments("f", parameters, [wrong]), ArgumentError, `${width}: ${wrong}`);
    }
  }
  const text = [{ name: "t", type: { kind: "string", length: 3 } }];
  assert.deepEqual(encodeArguments("f", text, ["€"]), { t: "€" });
  // Half of a character would be written as 3 other bytes.
  assert.throws(() => encodeArguments("f", text, ["\ud800"]), ArgumentError);
});

test("an artifact whose values cannot be told apart or encoded is none", () => {
  const account = new Pxe({ token: TOKEN }).account("rollmill1alice");
  const deep = (n) => (n === 0 ? { kind: "field" } : { kind: "array", length: 1, type: deep(n - 1) });
  const field = { kind: "field" };
  const struct = (...fields) => ({ name: "s", type: { kind: "struct", fields } });
  const wrong = [
    taking({ name: "a", type: field }, { name: "a", type: field }),
    taking(struct({ name: "a", type: field }, { name: "a", type: field })),
    taking(null),
    taking({ name: 5, type: field }),
    taking({ name: "n", type: { kind: "integer", sign: "unsigned" } }),
    taking({ name: "n", type: u(1.5) }),
    taking({ name: "n", type: u(2 ** 40) }),
    taking({ name: "n", type: { kind: "integer", sign: "none", width: 8 } }),
    taking({ name: "t", type: { kind: "tuple" } }),
    taking({ name: "t", type: { kind: "struct" } }),
    taking({ name: "t", type: { kind: "array", type: field } }),
    taking({ name: "t", type: { kind: "string", length: -1 } }),
    taking({ name: "t", type: deep(40) }),
    { ...taking(), functions: [...taking().functions, ...taking().functions] },
  ];
  for (const artifact of wrong) {
    for (const use of [() => Contract.at(ADDRESS, artifact, account), () => typesOf(artifact)]) {
      assert.throws(use, (error) => error instanceof ArgumentError, JSON.stringify(artifact).slice(0, 200));
    }
  }
  // A type that is not known has no values, and the other functions can be called.
  const unknown = taking({ name: "q", type: { kind: "quaternion" } });
  assert.throws(() => Contract.at(ADDRESS, unknown, account).methods.f(1n), ArgumentError);
  // What is not private has no method, whatever its attributes are.
  const other = { ...taking().functions[0], custom_attributes: 5 };
  assert.deepEqual(Object.keys(Contract.at(ADDRESS, { name: "A", functions: [other] }, account).methods), []);
});

test("what JSON has no form for is an argument error, and nothing is sent", async () => {
  await using(
    () => ({ result: null }),
    async (pxe, requests) => {
      const account = pxe.account("rollmill1alice");
      const ring = {};
      ring.ring = ring;
      const call = { contract: ADDRESS, function: "f" };
      for (const work of [
        () => pxe.registerContract({ artifact: "{}", init: [5n] }),
        () => pxe.registerContract({ artifact: "{}", salt: 5n }),
        () => pxe.registerContract(null),
        () => pxe.call("pxe_status", ring),
        () => account.simulateCall({ ...call, args: ring }),
        () => account.simulateCall({ ...call, from: 5n }),
        () => account.call({ ...call, from: 5n }),
        () => account.call(null),
        () => account.contractNotes(5n),
        () => account.authorize(null),
        () => account.transfer(null),
        () => account.transfer({ to: "rollmill1bob", amount: 1n, feePayer: 1n }),
        () => account.claim({ keep: 1n }),
        () => Contract.register(pxe, account, { artifact: "{}" }),
        () => Contract.register(pxe, account, null),
        () => Contract.register(pxe, {}, { artifact }),
      ]) {
        const isFalse = (error) => error instanceof ArgumentError && error.mayHaveBeenSent === false;
        await assert.rejects(work(), isFalse, `${work}`);
      }
      assert.equal(requests.length, 0);
    },
  );
});
