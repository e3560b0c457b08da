// Client of the wallet service `rollmill-pxe serve`. `index.d.ts` has the types.

import {
  AbortedError,
  ArgumentError,
  DroppedError,
  InvalidResponseError,
  PxeError,
  ServiceError,
  TimeoutError,
  UnreachableError,
} from "./errors.js";
import {
  HASH,
  body,
  checkedKey,
  milliseconds,
  payment,
  written,
  counted,
  epochs,
  read,
  arguments_,
  word,
  whole,
  text,
  record,
  list,
  parsed,
} from "./wire.js";

export { Contract, Interaction, MODULUS } from "./contract.js";
export * from "./errors.js";

/** Where the service listens unless its settings say otherwise. */
export const DEFAULT_URL = "http://127.0.0.1:8590";
/** Longest wait of one pxe_wait, in seconds. */
const WAIT_SECONDS_MAX = 60;
/** How much longer than its work an answer may take, in milliseconds. */
const ANSWER_MS = 30_000;
/** The service answers each request within 6 minutes: 1 for its turn, 5 for the work. */
const DEFAULT_TIMEOUT_MS = 6 * 60_000 + ANSWER_MS;
const STAGES = ["included", "proven", "finalized"];
/** Methods that send a transaction. */
const SENDING = new Set(["pxe_transfer", "pxe_claim", "pxe_withdraw", "pxe_call"]);
/**
 * Errors of the service after which a transaction may have been sent: this request's, or with PXE-018 an earlier one's,
 * which the next request would pay again.
 */
const UNCERTAIN = new Set(["PXE-018", "PXE-045", "PXE-046"]);
/** Errors of the service after which a request with an idempotency key is sent again. */
const REPEATED = new Set(["PXE-044", "PXE-045", "PXE-046"]);
/** The transaction of an idempotency key was dropped. */
const KEY_DROPPED = "PXE-065";
/** How often a request with an idempotency key is sent at most. */
const ATTEMPTS_MAX = 4;
/** The same for a call of a contract, during whose proofs the service is busy for its account. */
const CALL_ATTEMPTS_MAX = 64;
/** How long the proofs of a call may take, and what comes before them, in milliseconds. */
const CALL_TIMEOUT_MS = 40 * 60_000;
/** How the fetch of Node.js names its own deadlines, which may be shorter than those of a call. */
const LATE = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"]);

/** A connection to a wallet service. */
export class Pxe {
  #url;
  // Private, so that no log of this object shows it.
  #token;
  #timeoutMs;
  #retryMs;
  #fetch;
  #nextId = 1;

  constructor({ url = DEFAULT_URL, token, timeoutMs = DEFAULT_TIMEOUT_MS, retryMs = 1000, fetch } = {}) {
    this.#url = checkedUrl(url);
    if (typeof token !== "string" || !/^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(token.trim())) {
      throw new ArgumentError("token: the text of the service's token file expected");
    }
    this.#token = token.trim();
    this.#timeoutMs = milliseconds("timeoutMs", timeoutMs);
    this.#retryMs = milliseconds("retryMs", retryMs);
    // Browsers call fetch on the global object only.
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
  }

  /** The service, and the tips of its node. */
  async status(options) {
    const status = record(await this.call("pxe_status", {}, options), "status");
    return {
      version: text(status.version, "version"),
      protocolVersion: whole(status.protocol_version, "protocol_version"),
      accounts: whole(status.accounts, "accounts"),
      nodeUrl: text(status.node_url, "node_url"),
      tips: status.tips ?? null,
      nodeError: status.node_error ?? null,
    };
  }

  /** The accounts of the store. */
  async accounts(options) {
    const accounts = list(await this.call("pxe_accounts", {}, options), "accounts");
    return accounts.map((found) => {
      const { address, label, seed, index } = record(found, "accounts");
      const origin = seed == null ? null : { seed, index };
      return new Account(this, text(address, "address"), { label: text(label, "label"), origin });
    });
  }

  /** What the token allows: everything for the owner, or what an application was granted. */
  async capabilities(options) {
    const found = record(await this.call("pxe_capabilities", {}, options), "capabilities");
    return {
      app: found.app ?? null,
      accounts: found.accounts ?? null,
      contracts: found.contracts ?? null,
      asset: found.asset === true,
      rights: text(found.rights, "rights"),
    };
  }

  /** The registered contracts. */
  async contracts(options) {
    const contracts = list(await this.call("pxe_contracts", {}, options), "contracts");
    return contracts.map((found) => record(found, "contract")).map((found) => ({
      address: word(found.address, "address"),
      name: text(found.name, "name"),
      classId: word(found.class_id, "class_id"),
      account: found.account ?? null,
      functions: list(found.functions, "functions").map((name) => text(name, "functions")),
    }));
  }

  /**
   * Registers a contract. `artifact` is the text of the compiled contract's file, as it is: its bytes are a part of the
   * address. `account` makes it the contract of an account of the store.
   */
  async registerContract(contract, options) {
    const { artifact, address, salt, deployer, init, keysHash, account } = contract ?? {};
    if (typeof artifact !== "string") {
      throw new ArgumentError("artifact: the text of a compiled contract expected");
    }
    const params = { artifact, address, salt, deployer, init, keys_hash: keysHash, account };
    const found = record(await this.call("pxe_registerContract", params, options), "registered");
    return { address: word(found.address, "address"), notes: whole(found.notes, "notes") };
  }

  /** An account by its address. Nothing is asked yet. */
  account(address) {
    return new Account(this, address);
  }

  /** A transaction by its hash. Nothing is asked yet. */
  transaction(hash) {
    return new SentTransaction(this, hash);
  }

  /**
   * Calls a method of the service with named parameters, and returns its result as it is.
   */
  async call(method, params = {}, options) {
    const { signal, timeoutMs = this.#timeoutMs } = options ?? {};
    const id = this.#nextId++;
    const isSending = SENDING.has(method);
    const request = { body: body(method, { jsonrpc: "2.0", id, method, params }), method, isSending };
    const { status, text } = await this.#post(request, signal, milliseconds("timeoutMs", timeoutMs));
    const answer = parsed(text);
    const error = answer?.error ?? (typeof answer?.code === "string" ? answer : null);
    if (error) {
      const code = error.data?.code ?? error.code;
      if (typeof code !== "string" || typeof error.message !== "string") {
        throw new InvalidResponseError(`${method}: an error without a code`, { mayHaveBeenSent: isSending });
      }
      const mayHaveBeenSent = isSending && UNCERTAIN.has(code);
      const number = typeof error.code === "number" ? error.code : null;
      throw new ServiceError(code, error.message, { method, number, status, mayHaveBeenSent });
    }
    if (answer?.jsonrpc !== "2.0" || answer.id !== id || !("result" in answer)) {
      const message = `${method}: HTTP ${status} without a response of a wallet service`;
      throw new InvalidResponseError(message, { mayHaveBeenSent: isSending });
    }
    return answer.result;
  }

  /**
   * As `call`, for parameters with an `idempotency_key`: what has no result is sent again with the same key, so that it
   * never pays twice. `timeoutMs` bounds all attempts together.
   */
  async callRepeatedly(method, params, options) {
    const { signal, timeoutMs = this.#timeoutMs, attempts = ATTEMPTS_MAX } = options ?? {};
    const end = Date.now() + milliseconds("timeoutMs", timeoutMs);
    let mayHaveBeenSent = false;
    for (let attempt = 1; ; attempt++) {
      const leftMs = attempt === 1 ? timeoutMs : Math.max(end - Date.now(), 0);
      try {
        return await this.call(method, params, { signal, timeoutMs: leftMs });
      } catch (error) {
        if (!(error instanceof PxeError)) {
          throw error;
        }
        mayHaveBeenSent ||= error.mayHaveBeenSent;
        const isOver = attempt >= attempts || Date.now() >= end;
        if (isOver || !isRepeatable(error)) {
          // An earlier attempt counts too, unless its transaction was dropped.
          error.mayHaveBeenSent = mayHaveBeenSent && error.code !== KEY_DROPPED;
          error.idempotencyKey = params.idempotency_key;
          throw error;
        }
      }
      await this.pause(Math.max(end - Date.now(), 0), signal);
    }
  }

  /** A pause between two waits of a service that stops early. */
  async pause(leftMs, signal) {
    const ms = Math.min(this.#retryMs, leftMs);
    await new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener("abort", end, { once: true });
    });
  }

  /** Status and text of the response to a request. */
  async #post({ body, method, isSending }, signal, timeoutMs) {
    if (signal?.aborted) {
      throw new AbortedError(`${method}: aborted before it was sent`, { cause: signal.reason });
    }
    const controller = new AbortController();
    let isLate = false;
    const abort = () => controller.abort();
    const timer = setTimeout(() => {
      isLate = true;
      abort();
    }, timeoutMs);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const response = await this.#fetch(this.#url, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${this.#token}` },
        body,
        signal: controller.signal,
        // A redirect would take the token elsewhere.
        redirect: "error",
        credentials: "omit",
        cache: "no-store",
        referrerPolicy: "no-referrer",
      });
      return { status: response.status, text: await response.text() };
    } catch (cause) {
      if (isLate) {
        const message = `${method}: no answer within ${timeoutMs} ms`;
        throw new TimeoutError(message, { mayHaveBeenSent: isSending });
      }
      if (signal?.aborted) {
        throw new AbortedError(`${method}: aborted`, { cause: signal.reason, mayHaveBeenSent: isSending });
      }
      if (LATE.has(cause?.cause?.code)) {
        throw new TimeoutError(`${method}: no answer in the time of fetch`, { cause, mayHaveBeenSent: isSending });
      }
      const isRefused = cause?.cause?.code === "ECONNREFUSED";
      const message = `${method}: no wallet service answers at ${this.#url}`;
      throw new UnreachableError(message, { cause, mayHaveBeenSent: isSending && !isRefused });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

/** An account of the service's store. */
export class Account {
  #pxe;

  constructor(pxe, address, { label = null, origin = null } = {}) {
    if (typeof address !== "string" || address === "") {
      throw new ArgumentError("address: the text of an address expected");
    }
    this.#pxe = pxe;
    this.address = address;
    this.label = label;
    this.origin = origin;
  }

  /** Reads the chain; returns the number of the last block that was read. */
  async sync(options) {
    const { block } = record(await this.#call("pxe_sync", {}, options), "block");
    return whole(block, "block");
  }

  /** The balances, in units. */
  async balance(options) {
    const balance = record(await this.#call("pxe_balance", {}, options), "balance");
    const names = ["proven", "pending", "unverified", "locked", "public"];
    return Object.fromEntries(names.map((name) => [name, read(balance[name], name)]));
  }

  /** All notes, the spent ones too. */
  async notes(options) {
    const notes = list(await this.#call("pxe_notes", {}, options), "notes");
    return notes.map((note) => record(note, "note")).map((note) => ({
      value: read(note.value, "value"),
      leafIndex: whole(note.leaf_index, "leaf_index"),
      block: whole(note.block, "block"),
      certainty: text(note.certainty, "certainty"),
      state: text(note.state, "state"),
      spentIn: note.spent_in ?? null,
    }));
  }

  /** The transactions whose blocks are not proven. */
  async sent(options) {
    const sent = list(await this.#call("pxe_sent", {}, options), "sent");
    return sent.map((found) => transaction(this.#pxe, record(found, "sent"), false));
  }

  /** What a transfer would cost. Nothing is sent. */
  async simulateTransfer(transfer, options) {
    const quote = record(await this.#call("pxe_simulateTransfer", payment(transfer), options), "quote");
    return {
      fee: read(quote.fee, "fee"),
      feeMax: read(quote.fee_max, "fee_max"),
      change: read(quote.change, "change"),
      publicBalance: read(quote.public_balance, "public_balance"),
      expirySlot: whole(quote.expiry_slot, "expiry_slot"),
    };
  }

  /** What a call of a contract would do. Nothing is proven or sent. */
  async simulateCall(call, options) {
    const found = record(await this.#call("pxe_simulateCall", called(call), options), "simulated");
    return {
      returns: list(found.returns, "returns").map((returned) => word(returned, "returns")),
      calls: whole(found.calls, "calls"),
      nullifiers: whole(found.nullifiers, "nullifiers"),
      noteHashes: whole(found.note_hashes, "note_hashes"),
      logs: whole(found.logs, "logs"),
      messages: whole(found.messages, "messages"),
      feePayer: word(found.fee_payer, "fee_payer"),
      fee: read(found.fee, "fee"),
      feeMax: read(found.fee_max, "fee_max"),
      expirySlot: whole(found.expiry_slot, "expiry_slot"),
    };
  }

  /**
   * Calls a contract: the service executes the call, proves its transaction, which takes minutes, and sends it. With an
   * idempotency key, a random one if there is none, a request without a result is sent again, up to 64 times within
   * `timeoutMs`, 40 minutes unless it is set, and never makes a second transaction. A null key turns that off.
   */
  async call(call, given) {
    const { timeoutMs = CALL_TIMEOUT_MS, ...options } = given ?? {};
    const { expiryEpochs, idempotencyKey } = call ?? {};
    const params = { account: this.address, ...called(call), expiry_epochs: epochs(expiryEpochs) };
    const key = idempotencyKey === undefined ? await newKey() : checkedKey(idempotencyKey);
    if (key === null) {
      const found = await this.#pxe.call("pxe_call", params, { ...options, timeoutMs });
      return transaction(this.#pxe, found, true);
    }
    const repeated = { ...options, timeoutMs, attempts: CALL_ATTEMPTS_MAX };
    const found = await this.#pxe.callRepeatedly("pxe_call", { ...params, idempotency_key: key }, repeated);
    return transaction(this.#pxe, found, true, key);
  }

  /** The notes of a contract that the account received, the spent ones too. */
  async contractNotes(contract, options) {
    const notes = list(await this.#call("pxe_contractNotes", { contract }, options), "notes");
    return notes.map((note) => record(note, "note")).map((note) => ({
      leafIndex: whole(note.leaf_index, "leaf_index"),
      block: whole(note.block, "block"),
      transaction: word(note.tx, "tx"),
      content: list(note.content, "content").map((one) => BigInt(word(one, "content"))),
      state: text(note.state, "state"),
      spentIn: note.spent_in ?? null,
    }));
  }

  /** Lets the contract `caller` make one call on behalf of the account. Nothing is sent. Returns what was signed. */
  async authorize(given, options) {
    const { caller, ...call } = given ?? {};
    if (typeof caller !== "string") {
      throw new ArgumentError("caller: the address of a contract expected");
    }
    const found = record(await this.#call("pxe_authorize", { caller, ...called(call) }, options), "authorized");
    return word(found.message, "message");
  }

  /** The transactions of contracts that the account sent, the oldest first. */
  async history(options) {
    const history = list(await this.#call("pxe_history", {}, options), "history");
    return history.map((found) => record(found, "history")).map((found) => ({
      transaction: transaction(this.#pxe, found, false),
      order: text(found.order, "order"),
      state: text(found.state, "state"),
      block: found.block ?? null,
      reason: found.reason ?? null,
    }));
  }

  /** Sends a private transfer. */
  transfer(transfer, options) {
    return this.#pay("pxe_transfer", transfer, options);
  }

  /** Withdraws to an account on L1. Recipient and amount are public. */
  withdraw(withdrawal, options) {
    return this.#pay("pxe_withdraw", withdrawal, options);
  }

  /** Claims a deposit on L1: the oldest one, unless `deposit` names one. */
  claim(given, options) {
    const { deposit, keep, expiryEpochs } = given ?? {};
    const params = () => ({
      deposit: deposit && { index: counted("index", deposit.index), amount: written(deposit.amount) },
      keep,
      expiry_epochs: epochs(expiryEpochs),
    });
    return this.#send("pxe_claim", params, options);
  }

  /** Sends a payment with its idempotency key, or with a new one; without any if the key is null. */
  async #pay(method, given, options) {
    const params = { account: this.address, ...payment(given) };
    const key = given.idempotencyKey === undefined ? await newKey() : checkedKey(given.idempotencyKey);
    if (key === null) {
      return transaction(this.#pxe, await this.#pxe.call(method, params, options), true);
    }
    const found = await this.#pxe.callRepeatedly(method, { ...params, idempotency_key: key }, options);
    return transaction(this.#pxe, found, true, key);
  }

  async #send(method, params, options) {
    return transaction(this.#pxe, await this.#call(method, params(), options), true);
  }

  #call(method, params, options) {
    return this.#pxe.call(method, { account: this.address, ...params }, options);
  }
}

/** A transaction that was sent. */
export class SentTransaction {
  #pxe;

  constructor(pxe, hash, { receipt = null, doubt = null, block = null, repeated = false, key = null } = {}) {
    if (typeof hash !== "string" || !HASH.test(hash)) {
      throw new ArgumentError("hash: 0x and 64 hexadecimal digits expected");
    }
    this.#pxe = pxe;
    this.hash = hash;
    this.receipt = receipt;
    this.doubt = doubt;
    this.block = block;
    this.repeated = repeated;
    this.idempotencyKey = key;
  }

  /** Its status as the node reports it now. */
  async status(options) {
    return this.#taken(await this.#pxe.call("pxe_transaction", { hash: this.hash }, options));
  }

  /**
   * Waits until it is `included`, `proven` or `finalized`. It fails with DroppedError if the node drops it, and with
   * TimeoutError after `timeoutMs`, or up to 30 s later if the service does not answer.
   */
  async wait(given) {
    const { stage = "included", timeoutMs = 30 * 60_000, signal } = given ?? {};
    if (!STAGES.includes(stage)) {
      throw new ArgumentError(`stage: one of ${STAGES.join(", ")} expected`);
    }
    const end = Date.now() + milliseconds("timeoutMs", timeoutMs);
    for (;;) {
      const started = Date.now();
      const left = Math.max(end - started, 0);
      const seconds = Math.min(Math.floor(left / 1000), WAIT_SECONDS_MAX);
      const options = { signal, timeoutMs: seconds * 1000 + ANSWER_MS };
      const waited = await this.#pxe.call("pxe_wait", { hash: this.hash, stage, seconds }, options);
      const status = this.#taken(waited);
      if (waited.reached === true) {
        return status;
      }
      if (status.state === "dropped") {
        throw new DroppedError(this.hash, status.reason ?? "no reason given");
      }
      const now = Date.now();
      if (now >= end) {
        throw new TimeoutError(`transaction ${this.hash} is ${status.state}, not ${stage}, after ${timeoutMs} ms`);
      }
      // Less than a second was left, or the service stops.
      if (now - started < seconds * 1000 || seconds === 0) {
        await this.#pxe.pause(end - now, signal);
      }
    }
  }

  #taken(status) {
    const { state, block, reason } = record(status, "status");
    this.block = block ?? null;
    return { state: text(state, "state"), block: block ?? null, reason: reason ?? null };
  }
}

/** The URL of a service. The token goes over plain HTTP to this machine only. */
function checkedUrl(given) {
  let url;
  try {
    url = new URL(given);
  } catch {
    throw new ArgumentError("url: http://127.0.0.1:PORT expected");
  }
  const isLoopback = ["localhost", "[::1]"].includes(url.hostname) || /^127(\.\d+){3}$/.test(url.hostname);
  const isSafe = url.protocol === "https:" || (url.protocol === "http:" && isLoopback);
  if (!isSafe || url.username || url.password || url.search || url.hash) {
    throw new ArgumentError("url: http:// of this machine, or https://, without user name and query expected");
  }
  return url.href;
}

/** Parameters of a call, without the account. */
function called(call) {
  const { contract, function: name, args, from } = call ?? {};
  if (typeof contract !== "string" || typeof name !== "string") {
    throw new ArgumentError("contract and function: an address and a name expected");
  }
  return { contract, function: name, args: args && arguments_(args), from };
}

/** A transaction out of a result. */
function transaction(pxe, found, mayHaveBeenSent, key = null) {
  const { hash, receipt = null, doubt = null, block = null, repeated = false } = found ?? {};
  if (typeof hash !== "string" || !HASH.test(hash)) {
    const error = new InvalidResponseError("hash: 0x and 64 hexadecimal digits expected", { mayHaveBeenSent });
    error.idempotencyKey = key;
    throw error;
  }
  return new SentTransaction(pxe, hash, { receipt, doubt, block, repeated: repeated === true, key });
}

/** Whether a request with an idempotency key may have a result if it is sent again. */
function isRepeatable(error) {
  if (error instanceof ServiceError) {
    return REPEATED.has(error.code);
  }
  return error instanceof UnreachableError || error instanceof TimeoutError;
}

/** A random idempotency key. */
async function newKey() {
  // Node.js 18 has no global crypto.
  const source = globalThis.crypto ?? (await import("node:crypto")).webcrypto;
  const bytes = source.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
