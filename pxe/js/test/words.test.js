// The page's words for errors.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ArgumentError, TimeoutError } from "../index.js";
import { words } from "../browser/words.js";

test("an error has plain words, and a payment in doubt says so", () => {
  assert.match(words({ code: "PXE-036" }), /token is wrong/);
  assert.equal(words(new ArgumentError("amount: too much")), "amount: too much");
  assert.match(words(new TypeError("x is undefined")), /fault/);
  assert.ok(!words(new TimeoutError("late")).includes("may have been sent"));
  assert.match(words(new TimeoutError("late", { mayHaveBeenSent: true })), /may have been sent/);
});
