// Values on the wire: parameters are checked before they are sent, and results before they are returned.

import { ArgumentError, InvalidResponseError } from "./errors.js";

/** A field element. */
export const HASH = /^0x[0-9a-f]{64}$/;
const KEY = /^[A-Za-z0-9._:-]{8,64}$/;
const AMOUNT_MAX = 2n ** 64n - 1n;
/** Deepest nesting of an argument. */
const DEPTH_MAX = 64;

/** The body of a request. */
export function body(method, request) {
  try {
    return JSON.stringify(request);
  } catch {
    // A bigint, or an object that is a part of itself.
    throw new ArgumentError(`${method}: a parameter is of no type that it can have`);
  }
}

export function checkedKey(key) {
  if (key !== null && (typeof key !== "string" || !KEY.test(key))) {
    throw new ArgumentError("idempotencyKey: 8 to 64 ASCII letters, digits, '-', '_', '.' or ':' expected, or null");
  }
  return key;
}

export function milliseconds(name, value) {
  // Timers take 31 bits.
  if (!Number.isFinite(value) || value < 0 || value > 2 ** 31 - 1) {
    throw new ArgumentError(`${name}: a number of milliseconds expected`);
  }
  return value;
}

/** Parameters of a transfer or a withdrawal, without the account. Absent ones are left out of the JSON. */
export function payment(given) {
  const { to, amount, feePayer, spendPending, expiryEpochs } = given ?? {};
  if (typeof to !== "string") {
    throw new ArgumentError("to: the text of an address expected");
  }
  return {
    to,
    amount: written(amount),
    fee_payer: feePayer,
    spend_pending: spendPending,
    expiry_epochs: epochs(expiryEpochs),
  };
}

/** An amount on the wire. A number is not taken: above 2^53 it would be another amount. */
export function written(amount) {
  if (typeof amount !== "bigint" || amount < 0n || amount > AMOUNT_MAX) {
    throw new ArgumentError("amount: a bigint of units below 2^64 expected");
  }
  return amount.toString();
}

/** A whole number on the wire. JSON writes NaN as null, which would count as absent. */
export function counted(name, value) {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new ArgumentError(`${name}: a whole number expected`);
  }
  return value;
}

export function epochs(value) {
  return value == null ? value : counted("expiryEpochs", value);
}

export function read(value, name) {
  if (typeof value !== "string" || !/^\d{1,20}$/.test(value)) {
    throw new InvalidResponseError(`${name}: an amount expected`);
  }
  return BigInt(value);
}

/** Arguments on the wire. JSON has no bigint, and a number above 2^53 would be another one. */
export function arguments_(value, depth = 0) {
  if (depth > DEPTH_MAX) {
    throw new ArgumentError("args: nested too deeply, or a part of itself");
  }
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new ArgumentError("args: a bigint expected in place of a number that is not whole or too large");
  }
  if (Array.isArray(value)) {
    return value.map((one) => arguments_(one, depth + 1));
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, arguments_(one, depth + 1)]));
  }
  return value;
}

export function word(value, name) {
  if (typeof value !== "string" || !HASH.test(value)) {
    throw new InvalidResponseError(`${name}: 0x and 64 hexadecimal digits expected`);
  }
  return value;
}

export function whole(value, name) {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidResponseError(`${name}: a whole number expected`);
  }
  return value;
}

export function text(value, name) {
  if (typeof value !== "string") {
    throw new InvalidResponseError(`${name}: a text expected`);
  }
  return value;
}

export function record(value, name) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidResponseError(`${name}: an object expected`);
  }
  return value;
}

export function list(value, name) {
  if (!Array.isArray(value)) {
    throw new InvalidResponseError(`${name}: a list expected`);
  }
  return value;
}

export function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
