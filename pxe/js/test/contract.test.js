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
