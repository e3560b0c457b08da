// Contracts: registered, simulated, called and listed, against a service that answers as the test says.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ArgumentError, InvalidResponseError } from "../index.js";
import { failure, rejected, using } from "./fake.js";

const ALICE = "rollmill1alice";
const HASH = `0x${"ab".repeat(32)}`;

test("contracts are registered, listed and called", async () => {
  const answers = {
    pxe_registerContract: { address: HASH, notes: 1 },
    pxe_contracts: [
      { address: HASH, name: "Token", class_id: HASH, account: null, functions: ["mint"] },
    ],
    pxe_simulateCall: {
      returns: [HASH],
      calls: 2,
      nullifiers: 2,
      note_hashes: 4,
      logs: 3,
      messages: 0,
      fee_payer: HASH,
      fee: "7",
      fee_max: "28",
      expiry_slot: 99,
    },
  };
  await using(
    (method) => ({ result: answers[method] }),
    async (pxe, { requests }) => {
      const made = await pxe.registerContract({ artifact: "{}", salt: HASH, keysHash: HASH });
      assert.deepEqual(made, { address: HASH, notes: 1 });
      assert.deepEqual(requests[0].params, { artifact: "{}", salt: HASH, keys_hash: HASH });
      const [contract] = await pxe.contracts();
      assert.deepEqual([contract.name, contract.classId, contract.account], ["Token", HASH, null]);
      assert.deepEqual(contract.functions, ["mint"]);
      const args = { to: HASH, amount: 2n ** 63n, deep: [{ on: true, n: 5 }] };
      const done = await pxe.account(ALICE).simulateCall({ contract: HASH, function: "mint", args });
      assert.deepEqual([done.returns, done.calls, done.noteHashes], [[HASH], 2, 4]);
      assert.equal(done.feePayer, HASH);
      assert.deepEqual([done.fee, done.feeMax, done.expirySlot], [7n, 28n, 99]);
      const { params } = requests[2];
      assert.deepEqual(params.args, { to: HASH, amount: `${2n ** 63n}`, deep: [{ on: true, n: 5 }] });
      assert.deepEqual([params.account, params.function], [ALICE, "mint"]);
      const calls = [{}, { contract: HASH }, { contract: HASH, function: "f", args: { n: 2 ** 60 } }];
      for (const wrong of calls) {
        assert.ok((await failure(pxe.account(ALICE).simulateCall(wrong))) instanceof ArgumentError);
      }
      assert.ok((await failure(pxe.registerContract({}))) instanceof ArgumentError);
      assert.equal(requests.length, 3);
    },
  );
});

test("a call of a contract is sent with a key until there is a result, and is waited for", async () => {
  // Its proofs take longer than the service lets a client wait.
  const answers = [rejected("PXE-045"), ...Array(8).fill(rejected("PXE-044"))];
  await using(
    (method, params, count) => {
      if (method === "pxe_call") {
        return answers[count - 1] ?? { result: { hash: HASH, receipt: "accepted", repeated: count > 1 } };
      }
      return { result: { reached: true, state: "proven", block: 5 } };
    },
    async (pxe, { requests }) => {
      const account = pxe.account(ALICE);
      const call = { contract: HASH, function: "mint", args: { to: HASH, amount: 5n }, expiryEpochs: 2 };
      const sent = await account.call(call);
      assert.deepEqual([sent.hash, sent.receipt, sent.repeated], [HASH, "accepted", true]);
      assert.equal(requests.length, 10);
      const keys = new Set(requests.map(({ params }) => params.idempotency_key));
      assert.deepEqual([...keys], [sent.idempotencyKey]);
      const { params } = requests[0];
      assert.deepEqual([params.account, params.function, params.expiry_epochs], [ALICE, "mint", 2]);
      assert.deepEqual(params.args, { to: HASH, amount: "5" });
      assert.deepEqual(await sent.wait({ stage: "proven" }), { state: "proven", block: 5, reason: null });
      for (const wrong of [undefined, {}, { ...call, idempotencyKey: "short" }, { ...call, expiryEpochs: -1 }]) {
        assert.ok((await failure(account.call(wrong))) instanceof ArgumentError);
      }
    },
    { retryMs: 0 },
  );
});

test("a call without a key is sent once, and says that it may have been sent", async () => {
  await using(
    () => rejected("PXE-045"),
    async (pxe, { requests }) => {
      const call = { contract: HASH, function: "mint", idempotencyKey: null };
      const error = await failure(pxe.account(ALICE).call(call));
      assert.deepEqual([error.code, error.mayHaveBeenSent, requests.length], ["PXE-045", true, 1]);
    },
  );
});

test("the history names each transaction and its outcome", async () => {
  const history = [
    { hash: HASH, order: "call", state: "dropped", block: null, reason: "it expired" },
    { hash: HASH, order: "call", state: "included", block: 3 },
  ];
  await using(
    () => ({ result: history }),
    async (pxe) => {
      const [dropped, included] = await pxe.account(ALICE).history();
      assert.deepEqual([dropped.transaction.hash, dropped.state, dropped.reason], [HASH, "dropped", "it expired"]);
      assert.deepEqual([included.order, included.block, included.reason], ["call", 3, null]);
    },
  );
});

test("an answer about contracts that is none is an error", async () => {
  const wrong = {
    pxe_call: { hash: "0x1" },
    pxe_history: [{ hash: HASH, order: 5, state: "pending" }],
    pxe_registerContract: { address: "0x1", notes: 0 },
    pxe_contracts: [{ address: HASH, name: 5, class_id: HASH, functions: [] }],
    pxe_simulateCall: { returns: "none" },
  };
  await using(
    (method) => ({ result: wrong[method] }),
    async (pxe) => {
      const calls = [
        () => pxe.registerContract({ artifact: "{}" }),
        () => pxe.contracts(),
        () => pxe.account(ALICE).simulateCall({ contract: HASH, function: "f" }),
        () => pxe.account(ALICE).call({ contract: HASH, function: "f" }),
        () => pxe.account(ALICE).history(),
      ];
      for (const call of calls) {
        assert.ok((await failure(call())) instanceof InvalidResponseError);
      }
    },
  );
});
