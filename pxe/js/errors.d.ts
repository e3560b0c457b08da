/** The base of all errors of this package. */
export class PxeError extends Error {
  /** The service's, such as PXE-043, or argument, unreachable, timeout, aborted, invalid_response, dropped. */
  readonly code: string;
  /**
   * Whether a transaction, of this call or with PXE-018 of an earlier one, may have been sent although there is no
   * result: send it again with `idempotencyKey` only. If there is none, look at `account.sent()` first, and after a
   * call of a contract at `account.history()`.
   */
  readonly mayHaveBeenSent: boolean;
  /** The idempotency key of the request, with which it can be repeated; null if it had none. */
  readonly idempotencyKey: string | null;
}
/** An argument that no call can use. Nothing was sent. */
export class ArgumentError extends PxeError {}
/** The service rejected the request, or could not do it. */
export class ServiceError extends PxeError {
  readonly method: string;
  /** JSON-RPC's number; null if the request was rejected before it was read. */
  readonly number: number | null;
  /** The HTTP status. */
  readonly status: number;
}
/** No service answers, or the connection broke. */
export class UnreachableError extends PxeError {}
/** The service did not answer in time, or the transaction did not get that far in time. */
export class TimeoutError extends PxeError {}
/** The caller's AbortSignal ended the call. */
export class AbortedError extends PxeError {}
/** What answers is no wallet service of this release. */
export class InvalidResponseError extends PxeError {}
/** The node dropped the transaction; its notes are spendable again. */
export class DroppedError extends PxeError {
  readonly hash: string;
  readonly reason: string;
}
