export * from "./errors.js";

/** Where the service listens unless its settings say otherwise. */
export const DEFAULT_URL: string;

/** How a single call ends early. */
export interface CallOptions {
  signal?: AbortSignal;
  /** Longest time for the whole call, in milliseconds. */
  timeoutMs?: number;
}

export interface PxeOptions {
  /** Address of the service; http:// to this machine only. */
  url?: string;
  /** The access token: the text of the file that the service names in its log. */
  token: string;
  /** Longest time of a call, in milliseconds; 6.5 minutes if absent. */
  timeoutMs?: number;
  /** Pause before a wait that ended early, or a payment without a result, is repeated, in ms; 1000 if absent. */
  retryMs?: number;
  /** Replaces the global fetch. */
  fetch?: typeof fetch;
}

export interface Tips {
  pending: number;
  verified: number;
  proven: number;
  finalized: number;
}

export interface Reason {
  code: string;
  message: string;
}

export interface ServiceStatus {
  version: string;
  protocolVersion: number;
  accounts: number;
  nodeUrl: string;
  /** null if the node does not answer. */
  tips: Tips | null;
  nodeError: Reason | null;
}

/** All in units. */
export interface Balance {
  /** In notes of blocks that are proven on L1. */
  proven: bigint;
  /** In notes of later blocks that the node has verified. */
  pending: bigint;
  /** In notes of blocks that nobody has proven. */
  unverified: bigint;
  /** In notes that sent transactions spend which may still be included. */
  locked: bigint;
  /** The public balance, which pays fees. */
  public: bigint;
}

export interface Note {
  value: bigint;
  leafIndex: number;
  block: number;
  certainty: "proven" | "pending" | "unverified";
  state: "spendable" | "held" | "spent";
  spentIn: number | null;
}

export interface Payment {
  /** rollmill1… of a transfer; 0x and 40 digits, an account on L1, of a withdrawal. */
  to: string;
  /** In units. */
  amount: bigint;
  /** Who pays the fee: "notes" names nobody, "self" is the public balance of the account, which is named. */
  feePayer?: "notes" | "self";
  /** Whether notes of blocks that are not proven on L1 may be spent. */
  spendPending?: boolean;
  /** Whole epochs after the current one in which a block may include the transaction. */
  expiryEpochs?: number;
  /**
   * Lets the payment be repeated without paying twice: 8 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`. A random
   * one if absent. With null there is none, and a call without a result is not sent again. A simulation ignores it.
   */
  idempotencyKey?: string | null;
}

export interface ClaimOptions {
  /** The oldest deposit that can be claimed if absent. */
  deposit?: { index: number; amount: bigint };
  /** Leave the amount in the public balance. */
  keep?: boolean;
  expiryEpochs?: number;
}

export interface Quote {
  fee: bigint;
  feeMax: bigint;
  change: bigint;
  publicBalance: bigint;
  expirySlot: number;
}

/** A registered contract. */
export interface RegisteredContract {
  address: string;
  /** The name that its artifact gives it. */
  name: string;
  classId: string;
  /** The account of the store whose keys its address has. */
  account: string | null;
  /** Names of its private functions. */
  functions: string[];
}

/** Field elements are 0x and 64 digits. */
export interface ContractRegistration {
  /** The text of the compiled contract's file, as it is. */
  artifact: string;
  /** The address that the contract must have. */
  address?: string;
  salt?: string;
  deployer?: string;
  /** Words that the contract was made with. */
  init?: string[];
  keysHash?: string;
  /** The account of the store whose contract it is; then `init` and `keysHash` must be absent. */
  account?: string;
}

/** An argument of a function: a field element is a bigint, a whole number or a text with 0x. */
export type Argument = bigint | number | boolean | string | Argument[] | { [name: string]: Argument };

export interface ContractCall {
  /** Address of the contract. */
  contract: string;
  /** Name of its private function. */
  function: string;
  args?: { [name: string]: Argument };
  /** Address of the account's contract; the only one if absent. */
  from?: string;
}

/** A call that is sent. */
export interface SentContractCall extends ContractCall {
  /** Whole epochs after the current one in which a block may include the transaction. */
  expiryEpochs?: number;
  /** As that of a payment. */
  idempotencyKey?: string | null;
}

/** What a call would do. Entries that hide how many there are count too. */
export interface SimulatedCall {
  /** The words that the called function returned. */
  returns: string[];
  calls: number;
  nullifiers: number;
  noteHashes: number;
  logs: number;
  messages: number;
  feePayer: string;
  fee: bigint;
  feeMax: bigint;
  expirySlot: number;
}

/** A transaction of contracts that was sent. */
export interface HistoryEntry {
  transaction: SentTransaction;
  /** What was ordered, for people. */
  order: string;
  state: "pending" | Stage | "dropped";
  block: number | null;
  /** Why it was dropped. */
  reason: string | null;
}

export type Stage = "included" | "proven" | "finalized";

export interface TransactionStatus {
  state: "unknown" | "pending" | Stage | "dropped";
  block: number | null;
  /** Why it was dropped, or cannot be in the next block. */
  reason: string | null;
}

export interface WaitOptions extends CallOptions {
  /** "included" if absent. */
  stage?: Stage;
}

/** A connection to a wallet service. */
export class Pxe {
  constructor(options: PxeOptions);
  status(options?: CallOptions): Promise<ServiceStatus>;
  accounts(options?: CallOptions): Promise<Account[]>;
  contracts(options?: CallOptions): Promise<RegisteredContract[]>;
  /** What the token allows. */
  capabilities(options?: CallOptions): Promise<Capabilities>;
  /** Makes the keys of the contract's functions, which takes seconds for each. */
  registerContract(
    contract: ContractRegistration,
    options?: CallOptions,
  ): Promise<{ address: string; notes: number }>;
  /** An account by its address. Nothing is asked yet. */
  account(address: string): Account;
  /** A transaction by its hash. Nothing is asked yet. */
  transaction(hash: string): SentTransaction;
  /** Calls a method with named parameters, and returns its result as it is. */
  call(method: string, params?: object, options?: CallOptions): Promise<unknown>;
  /**
   * As `call`, for parameters with an `idempotency_key`: sends them up to four times, or `attempts` times, until there
   * is a result.
   */
  callRepeatedly(
    method: string,
    params: { idempotency_key: string },
    options?: CallOptions & { attempts?: number },
  ): Promise<unknown>;
}

/** An account of the service's store; `Pxe` makes it. */
export class Account {
  private constructor();
  readonly address: string;
  readonly label: string | null;
  /** Number of the seed and index in it; null for imported keys, and if the service was not asked. */
  readonly origin: { seed: number; index: number } | null;
  /** Reads the chain; returns the number of the last block that was read. */
  sync(options?: CallOptions): Promise<number>;
  balance(options?: CallOptions): Promise<Balance>;
  notes(options?: CallOptions): Promise<Note[]>;
  /** The transactions whose blocks are not proven. */
  sent(options?: CallOptions): Promise<SentTransaction[]>;
  /** What a transfer would cost. Nothing is sent. */
  simulateTransfer(transfer: Payment, options?: CallOptions): Promise<Quote>;
  /** What a call of a contract would do. Nothing is proven or sent. */
  simulateCall(call: ContractCall, options?: CallOptions): Promise<SimulatedCall>;
  /** Executes, proves and sends a call of a contract, which takes minutes: 40 at most unless `timeoutMs` is set. */
  call(call: SentContractCall, options?: CallOptions): Promise<SentTransaction>;
  /** The notes of a contract that the account received, the spent ones too. */
  contractNotes(contract: string, options?: CallOptions): Promise<ContractNote[]>;
  /** Lets the contract `caller` make one call on behalf of the account. Returns what was signed. */
  authorize(call: ContractCall & { caller: string }, options?: CallOptions): Promise<string>;
  /** The transactions of contracts that the account sent, the oldest first. */
  history(options?: CallOptions): Promise<HistoryEntry[]>;
  transfer(transfer: Payment, options?: CallOptions): Promise<SentTransaction>;
  /** Recipient and amount are public. */
  withdraw(withdrawal: Payment, options?: CallOptions): Promise<SentTransaction>;
  claim(claim?: ClaimOptions, options?: CallOptions): Promise<SentTransaction>;
}

/** A transaction that was sent; `Account` and `Pxe` make it. */
export class SentTransaction {
  private constructor();
  readonly hash: string;
  /** What the node said when it was sent; null if it was sent before. */
  readonly receipt: "accepted" | "unknown" | null;
  /** Why the receipt is "unknown". */
  readonly doubt: Reason | null;
  /** The block that contains it, as of the last answer. */
  readonly block: number | null;
  /** Whether an earlier request with the same idempotency key made it; nothing was sent then. */
  readonly repeated: boolean;
  /** The idempotency key of the payment; null if it had none. */
  readonly idempotencyKey: string | null;
  status(options?: CallOptions): Promise<TransactionStatus>;
  /**
   * Waits until it has reached a stage, 30 minutes at most unless `timeoutMs` says otherwise, and up to 30 s longer for
   * a service that does not answer. Fails with DroppedError if the node drops it, with TimeoutError if it does not get
   * that far in time.
   */
  wait(options?: WaitOptions): Promise<TransactionStatus>;
}

/** What a token allows. For the owner, `app`, `accounts` and `contracts` are null: everything. */
export interface Capabilities {
  app: string | null;
  accounts: string[] | null;
  contracts: string[] | null;
  /** Whether the built-in asset was granted. */
  asset: boolean;
  rights: "read" | "spend";
}

/** A note of a contract. */
export interface ContractNote {
  leafIndex: number;
  block: number;
  /** Hash of the transaction that created it. */
  transaction: string;
  content: bigint[];
  state: "spendable" | "held" | "spent";
  spentIn: number | null;
}

/** A field element: a bigint below the modulus, or 0x and hexadecimal digits. */
export type FieldLike = bigint | string;

/** Modulus of the scalar field. */
export const MODULUS: bigint;

/** A call with its arguments. Nothing happened yet. */
export class Interaction {
  private constructor();
  readonly call: Readonly<ContractCall>;
  simulate(options?: CallOptions & { from?: string }): Promise<SimulatedCall>;
  send(
    options?: CallOptions & { from?: string; expiryEpochs?: number; idempotencyKey?: string | null },
  ): Promise<SentTransaction>;
  /** Lets the contract `caller` make this call on behalf of the account, once. */
  authorize(caller: string, options?: CallOptions & { from?: string }): Promise<string>;
}

/** Methods of a contract without generated types. */
export type AnyMethods = { readonly [name: string]: (...args: any[]) => Interaction };

/** A contract that calls are made of by one account. `rollmill-js-types` writes types of its methods. */
export class Contract<Methods = AnyMethods> {
  private constructor();
  readonly address: string;
  readonly name: string;
  readonly methods: Readonly<Methods>;
  /** The contract at an address. `artifact` is the text of its file, or what JSON.parse makes of it. */
  static at<M = AnyMethods>(address: string, artifact: string | object, account: Account): Contract<M>;
  /** Registers the contract with the service, and returns it. Nothing is sent. */
  static register<M = AnyMethods>(
    pxe: Pxe,
    account: Account,
    contract: ContractRegistration,
    options?: CallOptions,
  ): Promise<Contract<M>>;
  notes(options?: CallOptions): Promise<ContractNote[]>;
}
