#!/usr/bin/env node
// Pays with a running wallet service and its devnet, and checks what comes of it.
//
//   node live.js URL TOKEN_FILE
//
// The store needs two accounts, of which one has notes: `pxe_accounts` lists them. It takes the first account that can
// pay, sends 1,000 units to another one, repeats that with the same idempotency key, and waits until it is included.
// The payee must have been paid once.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";

import { Pxe, ServiceError } from "./index.js";

const AMOUNT = 1000n;
const WAIT_MS = 10 * 60_000;

const [url, file] = process.argv.slice(2);
if (!url || !file) {
  console.error("usage: node live.js URL TOKEN_FILE");
  process.exit(2);
}
const token = await readFile(file, "utf8");
const pxe = new Pxe({ url, token });

const status = await pxe.status();
assert.ok(status.tips, `the node does not answer: ${status.nodeError?.message}`);
console.log(`service ${status.version}, node ${status.nodeUrl} at block ${status.tips.pending}`);

const wrong = new Pxe({ url, token: "wrong".padEnd(64, "0") });
await assert.rejects(wrong.status(), (error) => error instanceof ServiceError && error.code === "PXE-036");

const accounts = await pxe.accounts();
assert.ok(accounts.length >= 2, "the store has fewer than two accounts");
const total = async (account) => {
  const { proven, pending, unverified, locked } = await account.balance();
  return proven + pending + unverified + locked;
};
const payment = (to) => ({ to: to.address, amount: AMOUNT, spendPending: true });

let payer = null;
for (const account of accounts) {
  const other = accounts.find(({ address }) => address !== account.address);
  try {
    const quote = await account.simulateTransfer(payment(other));
    console.log(`${account.label}: a transfer costs ${quote.fee}, at most ${quote.feeMax}`);
    payer = { account, other };
    break;
  } catch (error) {
    assert.ok(error instanceof ServiceError && error.code === "PXE-004", error);
    console.log(`${account.label}: cannot pay`);
  }
}
assert.ok(payer, "no account can pay");

const { account, other } = payer;
const before = { payer: await total(account), payee: await total(other) };
const idempotencyKey = `live-${randomUUID()}`;
const keyed = { ...payment(other), idempotencyKey };
// Two clients at once, as after a lost response.
const client = new Pxe({ url, token }).account(account.address);
const [one, two] = await Promise.all([account.transfer(keyed), client.transfer(keyed)]);
assert.equal(one.hash, two.hash);
assert.deepEqual([one.repeated, two.repeated].sort(), [false, true]);
const sent = one.repeated ? two : one;
assert.equal(sent.receipt, "accepted", sent.doubt?.message);
const otherOrder = account.transfer({ ...keyed, amount: AMOUNT + 1n });
await assert.rejects(otherOrder, (error) => error instanceof ServiceError && error.code === "PXE-064");
assert.ok((await account.sent()).some(({ hash }) => hash === sent.hash));
console.log(`sent ${sent.hash}`);
const { state, block } = await sent.wait({ stage: "included", timeoutMs: WAIT_MS });
console.log(`${state} in block ${block}`);
const again = await account.transfer(keyed);
assert.deepEqual([again.hash, again.repeated, again.receipt], [sent.hash, true, "accepted"]);
await other.sync();
assert.equal((await total(other)) - before.payee, AMOUNT);
assert.ok(before.payer - (await total(account)) > AMOUNT, "the amount and a fee are gone");
console.log("ok");
