// Contracts by their artifacts: methods with the names of the private functions, and arguments checked by their ABI
// before anything is sent.

import { ArgumentError } from "./errors.js";

/** Modulus of the scalar field of BN254: field elements are below it. */
export const MODULUS = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;
const ADDRESS = /^0x[0-9a-f]{64}$/;
/** Digits of a field element as text. */
const FIELD = /^0x[0-9a-f]{1,64}$/i;
/** Half of a pair of UTF-16, which no UTF-8 has: it would be another character. */
const LONE = /[\ud800-\udfff]/u;
/** Deepest nesting of a type. An artifact is a file of somebody. */
const DEPTH_MAX = 16;

/** A contract's artifact, from its text or parsed. Returns its name, and its private functions with parameters. */
export function readArtifact(artifact) {
  let parsed = artifact;
  if (typeof artifact === "string") {
    try {
      parsed = JSON.parse(artifact);
    } catch {
      throw new ArgumentError("artifact: the text of a compiled contract expected");
    }
  }
  if (typeof parsed?.name !== "string" || !Array.isArray(parsed.functions)) {
    throw new ArgumentError("artifact: a compiled contract expected");
  }
  const functions = new Map();
  for (const found of parsed.functions) {
    const parameters = found?.abi?.parameters;
    if (typeof found?.name !== "string" || !Array.isArray(parameters)) {
      throw new ArgumentError("artifact: a function without a name or parameters");
    }
    const attributes = found.custom_attributes;
    if (!Array.isArray(attributes) || !attributes.includes("abi_private")) {
      continue;
    }
    if (functions.has(found.name)) {
      throw new ArgumentError(`artifact: two functions of the name ${found.name}`);
    }
    // The first parameter is what the kernel passes.
    functions.set(found.name, members(found.name, parameters.slice(1), 0));
  }
  return { name: parsed.name, functions };
}

/**
 * Named values with their types, each checked. Two of one name would leave a value out, and give its place to the other
 * one's.
 */
function members(path, list, depth) {
  if (!Array.isArray(list)) {
    throw new ArgumentError(`${path}: the artifact has a struct without fields`);
  }
  const names = new Set();
  return list.map((one) => {
    if (typeof one?.name !== "string" || names.has(one.name)) {
      throw new ArgumentError(`${path}: the artifact has a value without a name of its own`);
    }
    names.add(one.name);
    return { name: one.name, type: checkedType(`${path}.${one.name}`, one.type, depth) };
  });
}

/** A type of the artifact, all parts of which an argument can be encoded by. One that is not known has no values. */
function checkedType(path, type, depth) {
  const wrong = (what) => new ArgumentError(`${path}: the artifact has ${what}`);
  if (depth > DEPTH_MAX) {
    throw wrong("a type that is nested too deeply");
  }
  const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
  switch (type?.kind) {
    case "integer":
      if (!["signed", "unsigned"].includes(type.sign) || !isCount(type.width) || type.width < 1 || type.width > 128) {
        throw wrong("an integer without a sign or a width from 1 to 128");
      }
      return { kind: "integer", sign: type.sign, width: type.width };
    case "string":
      if (!isCount(type.length)) {
        throw wrong("a text without a length");
      }
      return { kind: "string", length: type.length };
    case "array":
      if (!isCount(type.length)) {
        throw wrong("a list without a length");
      }
      return { kind: "array", length: type.length, type: checkedType(`${path}[]`, type.type, depth + 1) };
    case "tuple":
      if (!Array.isArray(type.fields)) {
        throw wrong("a tuple without fields");
      }
      return { kind: "tuple", fields: type.fields.map((one, i) => checkedType(`${path}[${i}]`, one, depth + 1)) };
    case "struct":
      return { kind: "struct", fields: members(path, type.fields, depth + 1) };
    default:
      return { kind: type?.kind };
  }
}

/** A contract that calls are made of by one account. */
export class Contract {
  #account;

  constructor(address, name, functions, account) {
    this.address = address;
    this.name = name;
    this.#account = account;
    const entries = Array.from(functions, ([method, parameters]) => [method, this.#method(method, parameters)]);
    // No prototype, so that no function has a name that exists already.
    this.methods = Object.freeze(Object.assign(Object.create(null), Object.fromEntries(entries)));
    Object.freeze(this);
  }

  /**
   * The contract at an address. `artifact` is the text of its file, or what JSON.parse makes of it; `account` makes the
   * calls. Nothing is asked: the service must have it registered.
   */
  static at(address, artifact, account) {
    if (typeof address !== "string" || !ADDRESS.test(address)) {
      throw new ArgumentError("address: 0x and 64 hexadecimal digits in lower case expected");
    }
    checkAccount(account);
    const { name, functions } = readArtifact(artifact);
    return new Contract(address, name, functions, account);
  }

  /**
   * Registers the contract with the service of `pxe`, and returns it. Nothing is sent: a contract of private functions
   * exists as soon as somebody knows its artifact and with which words it was made, which make its address.
   */
  static async register(pxe, account, contract, options) {
    const { artifact, ...instance } = contract ?? {};
    // Before anything is registered.
    checkAccount(account);
    readArtifact(artifact);
    const { address } = await pxe.registerContract({ artifact, ...instance }, options);
    return Contract.at(address, artifact, account);
  }

  /** The notes of the contract that the account received, the spent ones too. */
  notes(options) {
    return this.#account.contractNotes(this.address, options);
  }

  #method(method, parameters) {
    return (...given) => {
      const args = encodeArguments(method, parameters, given);
      return new Interaction(this.#account, { contract: this.address, function: method, args });
    };
  }
}

/** A call with its arguments. Nothing happened yet. */
export class Interaction {
  #account;

  constructor(account, call) {
    this.#account = account;
    this.call = Object.freeze(call);
    Object.freeze(this);
  }

  /** What it would do, and its fee. Nothing is proven or sent. `from` names the account's contract. */
  simulate(given) {
    const { from, ...options } = given ?? {};
    return this.#account.simulateCall({ ...this.call, from }, options);
  }

  /** Sends it. `from`, `expiryEpochs` and `idempotencyKey` are those of `account.call`. */
  send(given) {
    const { from, expiryEpochs, idempotencyKey, ...options } = given ?? {};
    return this.#account.call({ ...this.call, from, expiryEpochs, idempotencyKey }, options);
  }

  /** Lets the contract `caller` make this call on behalf of the account, once. */
  authorize(caller, given) {
    const { from, ...options } = given ?? {};
    return this.#account.authorize({ ...this.call, caller, from }, options);
  }
}

function checkAccount(account) {
  if (typeof account?.simulateCall !== "function" || typeof account.call !== "function") {
    throw new ArgumentError("account: an account of a wallet service expected");
  }
}

/** Arguments by name, from a list in the order of the parameters, or from one object that has their names. */
export function encodeArguments(method, parameters, given) {
  const [only] = given;
  const isNamed = given.length === 1 && isRecord(only) && parameters.some(({ name }) => Object.hasOwn(only, name));
  // One parameter may be a struct with a member of the same name: then the object is that of the names only if it fits.
  const values = isNamed && fits(parameters, only) ? parameters.map(({ name }) => only[name]) : given;
  if (values.length !== parameters.length) {
    const names = parameters.map(({ name }) => name).join(", ");
    throw new ArgumentError(`${method}: ${parameters.length} arguments expected (${names}), ${values.length} given`);
  }
  const entries = parameters.map(({ name, type }, i) => [name, encode(`${method}.${name}`, type, values[i], 0)]);
  return Object.fromEntries(entries);
}

function fits(parameters, named) {
  const names = Object.keys(named);
  return names.length === parameters.length && parameters.every(({ name }) => Object.hasOwn(named, name));
}

function encode(path, type, value, depth) {
  if (depth > DEPTH_MAX) {
    throw new ArgumentError(`${path}: the type is nested too deeply`);
  }
  const wrong = (expected) => new ArgumentError(`${path}: ${expected} expected`);
  switch (type?.kind) {
    case "field":
      return encodeField(value, wrong);
    case "integer":
      return encodeInteger(type, value, wrong);
    case "boolean":
      if (typeof value !== "boolean") {
        throw wrong("true or false");
      }
      return value;
    case "string":
      // Noir's strings have a fixed number of bytes.
      if (typeof value !== "string" || LONE.test(value) || new TextEncoder().encode(value).length !== type.length) {
        throw wrong(`a text of ${type.length} bytes`);
      }
      return value;
    case "array":
      if (!Array.isArray(value) || value.length !== type.length) {
        throw wrong(`a list of ${type.length}`);
      }
      return value.map((one, i) => encode(`${path}[${i}]`, type.type, one, depth + 1));
    case "tuple":
      if (!Array.isArray(value) || value.length !== type.fields.length) {
        throw wrong(`a list of ${type.fields.length}`);
      }
      return value.map((one, i) => encode(`${path}[${i}]`, type.fields[i], one, depth + 1));
    case "struct":
      return encodeStruct(path, type, value, depth, wrong);
    default:
      throw new ArgumentError(`${path}: a type that this package does not know`);
  }
}

function encodeField(value, wrong) {
  const expected = "a bigint from 0 to the modulus of the field, or a text of 0x and hexadecimal digits";
  const isText = typeof value === "string" && FIELD.test(value);
  const number = isText ? BigInt(value) : value;
  if (typeof number !== "bigint" || number < 0n || number >= MODULUS) {
    throw wrong(expected);
  }
  return `0x${number.toString(16).padStart(64, "0")}`;
}

/** A number is not taken: above 2^53 it would be another one. */
function encodeInteger({ sign, width }, value, wrong) {
  const bits = BigInt(width);
  const [low, high] = sign === "signed" ? [-(1n << (bits - 1n)), 1n << (bits - 1n)] : [0n, 1n << bits];
  if (typeof value !== "bigint" || value < low || value >= high) {
    throw wrong(`a bigint from ${low} to ${high - 1n}`);
  }
  return value;
}

function encodeStruct(path, { fields }, value, depth, wrong) {
  const names = fields.map(({ name }) => name);
  if (!isRecord(value) || !fits(fields, value)) {
    throw wrong(`an object with ${names.join(", ")}`);
  }
  const entries = fields.map(({ name, type }) => [name, encode(`${path}.${name}`, type, value[name], depth + 1)]);
  return Object.fromEntries(entries);
}

function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
