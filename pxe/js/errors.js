// Why a call has no result. Every error has a `code`: that of the service (PXE-043, SVC-012), or a word of this file.

/** The base of all errors of this package. */
export class PxeError extends Error {
  /**
   * @param {string} code stable code, for programs
   * @param {string} message text for people
   * @param {{ cause?: unknown, mayHaveBeenSent?: boolean }} [options]
   */
  constructor(code, message, { cause, mayHaveBeenSent = false } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    /**
     * Whether a transaction, of this call or with PXE-018 of an earlier one, may have been sent although there is no
     * result: send it again with `idempotencyKey` only. If there is none, look at `account.sent()` first, and after a
     * call of a contract at `account.history()`.
     */
    this.mayHaveBeenSent = mayHaveBeenSent;
    /** The idempotency key of the request, with which it can be repeated; null if it had none. */
    this.idempotencyKey = null;
  }
}

/** An argument that no call can use. Nothing was sent. */
export class ArgumentError extends PxeError {
  /** @param {string} message */
  constructor(message) {
    super("argument", message);
  }
}

/** The service rejected the request, or could not do it. `code` is its stable code. */
export class ServiceError extends PxeError {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ method: string, number: number | null, status: number, mayHaveBeenSent: boolean }} details
   */
  constructor(code, message, { method, number, status, mayHaveBeenSent }) {
    super(code, message, { mayHaveBeenSent });
    this.method = method;
    /** JSON-RPC's number of the error; null if the request was rejected before it was read. */
    this.number = number;
    /** The HTTP status. */
    this.status = status;
  }
}

/** No service answers, or the connection broke. */
export class UnreachableError extends PxeError {
  /**
   * @param {string} message
   * @param {{ cause?: unknown, mayHaveBeenSent?: boolean }} [options]
   */
  constructor(message, options) {
    super("unreachable", message, options);
  }
}

/** The service did not answer in time, or the transaction did not get that far in time. */
export class TimeoutError extends PxeError {
  /**
   * @param {string} message
   * @param {{ cause?: unknown, mayHaveBeenSent?: boolean }} [options]
   */
  constructor(message, options) {
    super("timeout", message, options);
  }
}

/** The caller's AbortSignal ended the call. */
export class AbortedError extends PxeError {
  /**
   * @param {string} message
   * @param {{ cause?: unknown, mayHaveBeenSent?: boolean }} [options]
   */
  constructor(message, options) {
    super("aborted", message, options);
  }
}

/** What answers is no wallet service of this release. */
export class InvalidResponseError extends PxeError {
  /**
   * @param {string} message
   * @param {{ mayHaveBeenSent?: boolean }} [options]
   */
  constructor(message, options) {
    super("invalid_response", message, options);
  }
}

/** The node dropped the transaction; its notes are spendable again. */
export class DroppedError extends PxeError {
  /**
   * @param {string} hash
   * @param {string} reason
   */
  constructor(hash, reason) {
    super("dropped", `the node dropped transaction ${hash}: ${reason}`);
    this.hash = hash;
    this.reason = reason;
  }
}
