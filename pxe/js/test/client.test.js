// Every method and every error of the client, against a service that answers as the test says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import {
  AbortedError,
  ArgumentError,
  DroppedError,
  InvalidResponseError,
  Pxe,
  ServiceError,
  TimeoutError,
  UnreachableError,
} from "../index.js";
import { TOKEN, failure, rejected, serve, using } from "./fake.js";

const ALICE = "rollmill1alice";
const HASH = `0x${"ab".repeat(32)}`;
const PAYMENT = { to: "rollmill1bob", amount: 120n };

test("a request has the token, the content type and JSON-RPC's form", async () => {
  await using(
    () => ({ result: { block: 7 } }),
    async (pxe, { requests }) => {
      assert.equal(await pxe.account(ALICE).sync(), 7);
      const [{ headers, http, jsonrpc, method, params }] = requests;
      assert.deepEqual([http, jsonrpc, method], ["POST", "2.0", "pxe_sync"]);
      assert.deepEqual(params, { account: ALICE });
      assert.equal(headers["content-type"], "application/json");
      assert.equal(headers.authorization, `Bearer ${TOKEN}`);
      assert.equal(headers.cookie, undefined);
    },
  );
});

test("the status names the service and its node", async () => {
  const tips = { pending: 4, verified: 3, proven: 2, finalized: 1 };
  const result = { version: "0.1.0", protocol_version: 2, accounts: 2, node_url: "http://n:1" };
  await using(
    (method, params, count) => {
      const why = { code: "NDC-001", message: "m" };
      const node = count === 1 ? { tips, node_error: null } : { tips: null, node_error: why };
      return { result: { ...result, ...node } };
    },
    async (pxe) => {
      const status = await pxe.status();
      assert.deepEqual([status.version, status.protocolVersion, status.accounts], ["0.1.0", 2, 2]);
      assert.deepEqual([status.tips, status.nodeError, status.nodeUrl], [tips, null, "http://n:1"]);
      const without = await pxe.status();
      assert.deepEqual([without.tips, without.nodeError.code], [null, "NDC-001"]);
    },
  );
});

test("the accounts are objects that ask the service", async () => {
  const answer = (method) =>
    method === "pxe_accounts"
      ? {
          result: [
            { address: ALICE, label: "alice", seed: 1, index: 0 },
            { address: "rollmill1x", label: "old", seed: null, index: null },
          ],
        }
      : { result: { block: 3 } };
  await using(answer, async (pxe, { requests }) => {
    const [alice, imported] = await pxe.accounts();
    assert.deepEqual([alice.address, alice.label, alice.origin], [ALICE, "alice", { seed: 1, index: 0 }]);
    assert.equal(imported.origin, null);
    assert.equal(await imported.sync(), 3);
    assert.deepEqual(requests[1].params, { account: "rollmill1x" });
  });
});

test("amounts are bigints, exact above 2^53", async () => {
  const large = "18446744073709551615";
  const answers = {
    pxe_balance: { proven: large, pending: "1", unverified: "0", locked: "2", public: "3" },
    pxe_notes: [
      { value: large, leaf_index: 5, block: 0, certainty: "proven", state: "spent", spent_in: 2 },
      { value: "1", leaf_index: 6, block: 1, certainty: "pending", state: "held", spent_in: null },
    ],
    pxe_sent: [
      { hash: HASH, block: null },
      { hash: HASH, block: 4 },
    ],
    pxe_simulateTransfer: { fee: "1", fee_max: "4", change: "5", public_balance: "0", expiry_slot: 71 },
  };
  await using(
    (method) => ({ result: answers[method] }),
    async (pxe, { requests }) => {
      const alice = pxe.account(ALICE);
      const balance = await alice.balance();
      assert.deepEqual(balance, { proven: 2n ** 64n - 1n, pending: 1n, unverified: 0n, locked: 2n, public: 3n });
      const notes = await alice.notes();
      assert.deepEqual(notes[0], {
        value: 2n ** 64n - 1n,
        leafIndex: 5,
        block: 0,
        certainty: "proven",
        state: "spent",
        spentIn: 2,
      });
      assert.equal(notes[1].spentIn, null);
      const sent = await alice.sent();
      assert.deepEqual(sent.map(({ hash, block }) => [hash, block]), [[HASH, null], [HASH, 4]]);
      const quote = await alice.simulateTransfer({ ...PAYMENT, amount: 2n ** 53n + 1n });
      assert.deepEqual(quote, { fee: 1n, feeMax: 4n, change: 5n, publicBalance: 0n, expirySlot: 71 });
      assert.deepEqual(requests[3].params, { account: ALICE, to: PAYMENT.to, amount: "9007199254740993" });
    },
  );
});

test("a transfer, a withdrawal and a claim pass their options on and return a transaction", async () => {
  const doubt = { code: "NDC-001", message: "no answer" };
  await using(
    (method) => {
      const received = method === "pxe_claim" ? { receipt: "unknown", doubt } : { receipt: "accepted", doubt: null };
      return { result: { hash: HASH, ...received } };
    },
    async (pxe, { requests }) => {
      const alice = pxe.account(ALICE);
      const options = { feePayer: "self", spendPending: true, expiryEpochs: 3 };
      const sent = await alice.transfer({ ...PAYMENT, ...options, idempotencyKey: "rent-2026-11" });
      assert.deepEqual([sent.hash, sent.receipt, sent.doubt], [HASH, "accepted", null]);
      assert.deepEqual([sent.repeated, sent.idempotencyKey], [false, "rent-2026-11"]);
      await alice.withdraw({ to: `0x${"d1".repeat(20)}`, amount: 5n, idempotencyKey: null });
      const claimed = await alice.claim();
      assert.deepEqual([claimed.receipt, claimed.doubt], ["unknown", doubt]);
      await alice.claim({ deposit: { index: 448, amount: 5000n }, keep: true, expiryEpochs: 1 });
      assert.deepEqual(
        requests.map(({ method, params }) => [method, params]),
        [
          [
            "pxe_transfer",
            {
              account: ALICE,
              to: PAYMENT.to,
              amount: "120",
              fee_payer: "self",
              spend_pending: true,
              expiry_epochs: 3,
              idempotency_key: "rent-2026-11",
            },
          ],
          ["pxe_withdraw", { account: ALICE, to: `0x${"d1".repeat(20)}`, amount: "5" }],
          ["pxe_claim", { account: ALICE }],
          ["pxe_claim", { account: ALICE, deposit: { index: 448, amount: "5000" }, keep: true, expiry_epochs: 1 }],
        ],
      );
    },
  );
});

test("a transaction is asked for its status, and a wait asks until the stage is reached", async () => {
  const pending = { state: "pending", block: null, reason: "nonce" };
  await using(
    (method, params, count) => {
      if (method === "pxe_transaction") {
        return { result: pending };
      }
      const reached = count === 3;
      return { result: { reached, state: reached ? "proven" : "included", block: 9, reason: null } };
    },
    async (pxe, { requests }) => {
      const sent = pxe.transaction(HASH);
      assert.deepEqual(await sent.status(), pending);
      assert.equal(sent.block, null);
      const status = await sent.wait({ stage: "proven" });
      assert.deepEqual([status.state, status.block, sent.block], ["proven", 9, 9]);
      assert.deepEqual(requests[1].params, { hash: HASH, stage: "proven", seconds: 60 });
      assert.equal(requests.length, 3);
    },
  );
});

test("a wait ends with the transaction, with its time or with its signal", async () => {
  const waited = (state, reason = null) => ({ result: { reached: false, state, block: null, reason } });
  await using(
    () => waited("dropped", "NODE-021: spent"),
    async (pxe) => {
      const error = await failure(pxe.transaction(HASH).wait());
      assert.ok(error instanceof DroppedError);
      assert.deepEqual([error.code, error.hash, error.reason], ["dropped", HASH, "NODE-021: spent"]);
    },
  );
  await using(
    () => waited("pending"),
    async (pxe, { requests }) => {
      const error = await failure(pxe.transaction(HASH).wait({ timeoutMs: 0 }));
      assert.ok(error instanceof TimeoutError && error.message.includes("not included"), inspect(error));
      assert.deepEqual(requests.map(({ params }) => params.seconds), [0]);
    },
  );
  const controller = new AbortController();
  await using(
    (method, params, count) => {
      if (count === 2) {
        controller.abort(new Error("enough"));
      }
      return waited("pending");
    },
    async (pxe) => {
      const error = await failure(pxe.transaction(HASH).wait({ signal: controller.signal }));
      assert.ok(error instanceof AbortedError, inspect(error));
      assert.equal(error.cause.message, "enough");
    },
  );
});

test("an error of the service has its code, its number and its method", async () => {
  for (const [code, number, status] of [
    ["PXE-004", -32000, 200],
    ["PXE-042", -32602, 200],
    ["PXE-043", -32000, 200],
    ["PXE-044", -32005, 503],
    ["NDC-001", -32000, 200],
  ]) {
    await using(
      () => ({ status, ...rejected(code, number) }),
      async (pxe) => {
        const error = await failure(pxe.account(ALICE).transfer(PAYMENT));
        assert.ok(error instanceof ServiceError);
        assert.deepEqual([error.code, error.number, error.status], [code, number, status]);
        assert.deepEqual([error.method, error.mayHaveBeenSent], ["pxe_transfer", false]);
        assert.equal(error.message, `${code}: why`);
      },
    );
  }
  // The service's own frame answers these, without JSON-RPC.
  const body = JSON.stringify({ code: "SVC-013", message: "a page of another site" });
  await using(
    () => ({ status: 403, body }),
    async (pxe) => {
      const error = await failure(pxe.status());
      assert.deepEqual([error.code, error.number, error.status], ["SVC-013", null, 403]);
    },
  );
});

test("a wrong token is an error of the service that does not show the token", async () => {
  const answer = () => ({ result: null });
  await using(
    answer,
    async (pxe) => {
      const error = await failure(pxe.status());
      assert.deepEqual([error.code, error.number, error.status], ["PXE-036", -32001, 401]);
      assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes("wrong-secret"));
      assert.ok(!inspect(pxe, { depth: 9, showHidden: true }).includes("wrong-secret"));
      assert.ok(!JSON.stringify(pxe).includes("wrong-secret"));
    },
    { token: "wrong-secret" },
  );
});

test("after an error a sending method says whether the transaction may have been sent", async () => {
  const expect = async (answer, type, code, options) => {
    await using(answer, async (pxe) => {
      const sending = await failure(pxe.account(ALICE).transfer(PAYMENT, options));
      assert.ok(sending instanceof type, inspect(sending));
      assert.deepEqual([sending.code, sending.mayHaveBeenSent], [code, true]);
      const reading = await failure(pxe.account(ALICE).balance(options));
      assert.deepEqual([reading.code, reading.mayHaveBeenSent], [code, false]);
    });
  };
  // An earlier call's transaction was sent, so a program that repeats this one unseen would pay twice.
  await expect(() => rejected("PXE-018"), ServiceError, "PXE-018");
  await expect(() => rejected("PXE-045"), ServiceError, "PXE-045");
  await expect(() => rejected("PXE-046", -32603), ServiceError, "PXE-046");
  await expect(() => "break", UnreachableError, "unreachable");
  await expect(() => "hang", TimeoutError, "timeout", { timeoutMs: 1 });
  await expect(() => ({ status: 200, body: "<html>" }), InvalidResponseError, "invalid_response");
  await expect(() => ({ status: 200, body: "null" }), InvalidResponseError, "invalid_response");
  await expect(() => ({ result: null }), InvalidResponseError, "invalid_response");
  await expect(() => ({ error: { code: 5, message: "x" } }), InvalidResponseError, "invalid_response");
  const other = JSON.stringify({ jsonrpc: "2.0", id: 99, result: {} });
  await expect(() => ({ status: 200, body: other }), InvalidResponseError, "invalid_response");
});

test("a deadline of fetch itself is a timeout after which the transaction may have been sent", async () => {
  for (const code of ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"]) {
    const fetch = async () => {
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("late"), { code }) });
    };
    const pxe = new Pxe({ token: TOKEN, fetch, retryMs: 1 });
    const error = await failure(pxe.account(ALICE).transfer(PAYMENT));
    assert.ok(error instanceof TimeoutError, inspect(error));
    assert.deepEqual([error.code, error.mayHaveBeenSent], ["timeout", true]);
  }
});

test("each payment has a key of its own, which all of its attempts share", async () => {
  const sent = { hash: HASH, receipt: "accepted", doubt: null };
  const answers = [
    "break",
    rejected("PXE-045"),
    { status: 503, ...rejected("PXE-044", -32005) },
    { result: { ...sent, repeated: true } },
    { result: { ...sent, repeated: false } },
  ];
  await using(
    (method, params, count) => answers[count - 1],
    async (pxe, { requests }) => {
      const alice = pxe.account(ALICE);
      const first = await alice.transfer(PAYMENT);
      const second = await alice.transfer(PAYMENT);
      const keys = requests.map(({ params }) => params.idempotency_key);
      assert.deepEqual([first.repeated, second.repeated], [true, false]);
      assert.deepEqual([first.idempotencyKey, second.idempotencyKey], [keys[0], keys[4]]);
      assert.deepEqual(keys, [keys[0], keys[0], keys[0], keys[0], keys[4]]);
      assert.match(keys[0], /^[0-9a-f]{32}$/);
      assert.notEqual(keys[0], keys[4]);
    },
  );
});

test("a payment without a result ends after four attempts, and only what may change is repeated", async () => {
  for (const [answer, code, attempts, mayHaveBeenSent] of [
    [() => "break", "unreachable", 4, true],
    [() => rejected("PXE-046", -32603), "PXE-046", 4, true],
    [() => ({ status: 503, ...rejected("PXE-044", -32005) }), "PXE-044", 4, false],
    [() => rejected("PXE-004"), "PXE-004", 1, false],
    [() => rejected("PXE-064"), "PXE-064", 1, false],
    [() => ({ status: 200, body: "<html>" }), "invalid_response", 1, true],
    // The first attempt may have been sent, whatever becomes of the second.
    [(method, params, count) => (count === 1 ? "break" : rejected("PXE-036", -32001)), "PXE-036", 2, true],
    // The service says that the transaction of the first attempt was dropped.
    [(method, params, count) => (count === 1 ? "break" : rejected("PXE-065")), "PXE-065", 2, false],
  ]) {
    await using(answer, async (pxe, { requests }) => {
      const payment = { ...PAYMENT, idempotencyKey: "rent-2026-11" };
      const error = await failure(pxe.account(ALICE).transfer(payment));
      assert.deepEqual([error.code, requests.length, error.mayHaveBeenSent], [code, attempts, mayHaveBeenSent]);
      assert.equal(error.idempotencyKey, "rent-2026-11");
    });
  }
});

test("a payment without a key is sent once", async () => {
  await using(
    () => "break",
    async (pxe, { requests }) => {
      const payment = { ...PAYMENT, idempotencyKey: null };
      const error = await failure(pxe.account(ALICE).transfer(payment));
      assert.deepEqual([error.code, error.mayHaveBeenSent, error.idempotencyKey], ["unreachable", true, null]);
      assert.deepEqual(requests.map(({ params }) => params), [{ account: ALICE, to: PAYMENT.to, amount: "120" }]);
    },
  );
});

test("a simulation sends no key", async () => {
  const quote = { fee: "1", fee_max: "4", change: "5", public_balance: "0", expiry_slot: 71 };
  await using(
    () => ({ result: quote }),
    async (pxe, { requests }) => {
      await pxe.account(ALICE).simulateTransfer({ ...PAYMENT, idempotencyKey: "rent-2026-11" });
      assert.equal(requests[0].params.idempotency_key, undefined);
    },
  );
});

test("where nothing listens nothing was sent", async () => {
  const { url, close } = await serve(() => "hang");
  await close();
  const error = await failure(new Pxe({ url, token: TOKEN, retryMs: 1 }).account(ALICE).transfer(PAYMENT));
  assert.deepEqual([error.code, error.mayHaveBeenSent], ["unreachable", false]);
  assert.ok(error.message.includes(url));
});

test("a signal ends a call, before it is sent and while it waits", async () => {
  const controller = new AbortController();
  await using(
    () => {
      controller.abort();
      return "hang";
    },
    async (pxe, { requests }) => {
      const alice = pxe.account(ALICE);
      const during = await failure(alice.transfer(PAYMENT, { signal: controller.signal }));
      assert.deepEqual([during.code, during.mayHaveBeenSent], ["aborted", true]);
      const before = await failure(alice.transfer(PAYMENT, { signal: controller.signal }));
      assert.deepEqual([before.code, before.mayHaveBeenSent], ["aborted", false]);
      assert.equal(requests.length, 1);
    },
  );
});

test("a result that is not what the method returns is an error", async () => {
  const cases = [
    ["pxe_sync", { block: "7" }, (account) => account.sync()],
    ["pxe_balance", { proven: 5 }, (account) => account.balance()],
    ["pxe_notes", {}, (account) => account.notes()],
    ["pxe_notes", [null], (account) => account.notes()],
    ["pxe_sent", [{ hash: "0x1" }], (account) => account.sent()],
    ["pxe_simulateTransfer", [], (account) => account.simulateTransfer(PAYMENT)],
    ["pxe_accounts", [{ address: 1 }], (account, pxe) => pxe.accounts()],
    ["pxe_transaction", { state: null }, (account, pxe) => pxe.transaction(HASH).status()],
  ];
  for (const [method, result, call] of cases) {
    await using(
      (asked) => (assert.equal(asked, method), { result }),
      async (pxe) => {
        const error = await failure(call(pxe.account(ALICE), pxe));
        assert.ok(error instanceof InvalidResponseError, `${method}: ${inspect(error)}`);
      },
    );
  }
});

test("arguments that no call can use are rejected before anything is sent", async () => {
  const url = "http://127.0.0.1:9";
  for (const options of [
    { token: "" },
    { token: "two\nlines" },
    { url: "nonsense", token: TOKEN },
    { url: "http://wallet.example:8590", token: TOKEN },
    { url: "http://127.0.0.1.example:8590", token: TOKEN },
    { url: "http://user:word@127.0.0.1:8590", token: TOKEN },
    { url, token: TOKEN, timeoutMs: -1 },
    { url, token: TOKEN, timeoutMs: Infinity },
  ]) {
    assert.throws(() => new Pxe(options), ArgumentError, inspect(options));
  }
  for (const accepted of ["http://localhost:1", "http://[::1]:1", "http://127.9.9.9:1", "https://wallet.example"]) {
    assert.ok(new Pxe({ url: accepted, token: `${TOKEN}\n` }));
  }
  const pxe = new Pxe({ url, token: TOKEN });
  const alice = pxe.account(ALICE);
  for (const call of [
    () => alice.transfer({ ...PAYMENT, amount: 120 }),
    () => alice.transfer({ ...PAYMENT, amount: "120" }),
    () => alice.transfer({ ...PAYMENT, amount: -1n }),
    () => alice.transfer({ ...PAYMENT, amount: 2n ** 64n }),
    () => alice.transfer({ amount: 1n }),
    () => alice.transfer(),
    () => alice.transfer({ ...PAYMENT, idempotencyKey: "short" }),
    () => alice.transfer({ ...PAYMENT, idempotencyKey: "k".repeat(65) }),
    () => alice.transfer({ ...PAYMENT, idempotencyKey: "no spaces please" }),
    () => alice.withdraw({ ...PAYMENT, idempotencyKey: 12345678 }),
    () => alice.transfer({ ...PAYMENT, expiryEpochs: NaN }),
    () => alice.transfer({ ...PAYMENT, expiryEpochs: 8n }),
    () => alice.claim({ deposit: { index: 1, amount: 5 } }),
    () => alice.claim({ deposit: { index: 1n, amount: 5n } }),
    () => alice.claim({ deposit: { amount: 5n } }),
    () => alice.claim({ expiryEpochs: 0.5 }),
    () => alice.sync({ timeoutMs: NaN }),
    () => pxe.transaction(HASH).wait({ stage: "done" }),
  ]) {
    const error = await failure(call());
    assert.ok(error instanceof ArgumentError, inspect(error));
  }
  assert.throws(() => pxe.account(""), ArgumentError);
  assert.throws(() => pxe.transaction("0x1"), ArgumentError);
});
