// Finds what can be switched off in a contract's source, and writes the source with the switches in it. No parser:
// the contracts are formatted by `forge fmt`, and what does not compile stops the run.
"use strict";

// A change that no rule below makes, by contract: the text, which occurs once, what replaces it under the mutant, and
// a name.
const BY_HAND = {
  Rollup: [["Math.max(windowEnd, _graceEnd(e.firstBlock))", "windowEnd", "no grace after the epoch before"]],
  Staking: [
    ["(epoch - SET_LAG) * EPOCH_SECONDS)", "(epoch - SEED_LAG) * EPOCH_SECONDS)", "the set is final with the seed only"],
    ["(SET_LAG + 1) * EPOCH_SECONDS", "SET_LAG * EPOCH_SECONDS", "an exit is final an epoch earlier"],
    [">= SET_MIN", ">= 1", "a set of one is enough"],
  ],
  BlobAvailability: [["gas: GAS", "gas: gasleft()", "no cap on the gas of the precompile"]],
  Rewards: [["TOKEN.balanceOf(address(this)) - feesOwed", "TOKEN.balanceOf(address(this))", "fees pay for proofs"]],
  Quorum: [["size * 2 / 3 + 1", "size * 2 / 3", "a quorum of one signature less"]],
};

// The same of a generated verifier. Its other checks have switches where it is generated: the set `solidity` of
// docs/book/mutants.md.
const PRECOMPILES = {
  GAS_MUL: ["combine", "multiplication"],
  GAS_ADD: ["combine", "addition"],
  GAS_POWER: ["verify", "exponentiation"],
  GAS_PAIRING: ["verify", "pairing"],
};

const LEAVES = /^\s*\{?\s*(revert|return|continue|break)\b/;
const WORDS_BEFORE_PARENS = new Set(["if", "for", "while", "return", "returns", "revert", "catch", "assembly", "unchecked"]);
const TEXT_MAX = 120;

// The mutants of a source: where, within which function, what, and the spans that get something before and after.
function mutantsOf(source) {
  const code = blanked(source);
  const context = { code, source, mutants: [], depth: depths(code), own: ownModifiers(code) };
  if (/^\s*interface /m.test(code) && !/^\s*(abstract contract|contract|library) /m.test(code)) return [];
  conditions(context);
  ternaries(context);
  chains(context);
  requirements(context);
  statements(context);
  modifiers(context);
  byHand(context);
  return context.mutants.sort((a, b) => a.start - b.start);
}

// ------------------------------------------------------------ rules

// The condition of each `if`: never true, and if nothing is left by it, always true as well.
function conditions(context) {
  for (const match of context.code.matchAll(/\bif \(/g)) {
    if (withinOf(context, match.index).kind === "modifier") continue;
    const start = match.index + match[0].length;
    const end = closing(context.code, start - 1);
    const leaves = LEAVES.test(context.code.slice(end + 1, end + 40));
    const operands = split(context.code, start, end, "||");
    if (operands.length > 1) operands.forEach(([from, to]) => operand(context, from, to, "||"));
    else {
      never(context, start, end);
      inner(context, start, end);
      if (!leaves) always(context, start, end);
    }
  }
}

// One operand of a chain is without effect; so is each within it.
function operand(context, start, end, by) {
  if (by === "||") never(context, start, end);
  else always(context, start, end);
  inner(context, start, end);
}

function inner(context, start, end) {
  [start, end] = trimmed(context.code, start, end);
  while (context.code[start] === "(" && closing(context.code, start) === end - 1) {
    [start, end] = trimmed(context.code, start + 1, end - 1);
  }
  for (const by of ["||", "&&"]) {
    const operands = split(context.code, start, end, by);
    if (operands.length > 1) return operands.forEach(([from, to]) => operand(context, from, to, by));
  }
}

function ternaries(context) {
  for (const match of context.code.matchAll(/\?/g)) {
    if (context.depth[match.index] < 2) continue;
    const [start, end] = trimmed(context.code, beginning(context.code, match.index), match.index);
    never(context, start, end);
    always(context, start, end);
  }
}

// `return a || b;` and `bool c = a && b;`
function chains(context) {
  for (const match of context.code.matchAll(/\b(return|bool \w+ =)\s/g)) {
    if (context.depth[match.index] < 2) continue;
    const start = match.index + match[0].length;
    const end = ending(context.code, start);
    if (!context.code.slice(start, end).includes("?")) inner(context, start, end);
  }
}

// `_require(name, condition);`
function requirements(context) {
  for (const match of context.code.matchAll(/(?<=[{};]\s*)_require\(/g)) {
    const start = match.index + match[0].length;
    const parts = split(context.code, start, closing(context.code, start - 1), ",");
    if (parts.length !== 2) continue;
    const [from, to] = parts[1];
    const operands = split(context.code, from, to, "&&");
    operands.forEach(([a, b]) => operand(context, a, b, "&&"));
  }
}

// Calls, events and deletions whose result nothing takes, and assignments to what stays.
function statements(context) {
  const { code, depth } = context;
  const state = [...code.matchAll(/^ {4}[\w.]+(?: \w+)* (\w+)(?: = [^;]*)?;$/gm)].map((match) => match[1]);
  for (const match of code.matchAll(/(?<=[{};]\s*|\belse )(?:(emit|delete) )?[A-Za-z_(][\w]*/g)) {
    const at = match.index;
    const within = withinOf(context, at);
    if (depth[at] < 2 || within.kind === "modifier" || isInParens(code, at)) continue;
    const end = ending(code, at);
    const text = code.slice(at, end);
    const isCall = calls(text);
    if (isCall && /^_require\(/.test(text) && split(code, at + 9, closing(code, at + 8), ",").length === 2) continue;
    const isStep = /^delete /.test(text) || isCall || (within.kind !== "constructor" && assigns(text, state));
    if (isStep) add(context, at, end, `no ${shown(context, at, end)}`, "if (@) ", "");
  }
}

// Whether this is one call from its first letter to its last.
function calls(text) {
  const head = /^(?:emit )?([A-Za-z_]\w*)(?:\.\w+|\[[^\]]*\])*\(/.exec(text);
  if (head === null || WORDS_BEFORE_PARENS.has(head[1])) return false;
  return closing(text, head[0].length - 1) === text.length - 1;
}

// Whether this assigns to a storage variable, or through a pointer to a record.
function assigns(text, state) {
  const head = /^(\(?)\s*([A-Za-z_]\w*)((?:\.\w+|\[[^=;]*\])*)(?:, [^=;)]*)?(\)?)\s*(?:=|\+=|-=|\|=)(?![=])/.exec(text);
  if (head === null || (head[1] === "(") !== (head[4] === ")")) return false;
  return head[2].startsWith("_") || state.includes(head[2]) || head[3].startsWith(".");
}

function modifiers(context) {
  for (const name of [...context.own, "nonReentrant"]) {
    for (const match of context.code.matchAll(new RegExp(`\\b${name}\\b(?!\\()`, "g"))) {
      if (context.depth[match.index] !== 1) continue;
      add(context, match.index, match.index + name.length, `no ${name}`, "", "(#)");
    }
  }
}

function byHand(context) {
  const name = /^(?:contract|library) (\w+)/m.exec(context.code);
  for (const [text, instead, what] of BY_HAND[name?.[1]] ?? []) {
    const start = context.code.indexOf(text);
    if (start < 0 || context.code.indexOf(text, start + 1) >= 0) throw new Error(`${name[1]} does not have ${text} once`);
    const operator = /^(?:[<>]=|gas:) /.exec(text)?.[0] ?? "";
    const [from, other] = [start + operator.length, instead.slice(operator.length)];
    // The bracket that an argument list ends with stays outside.
    const more = text.endsWith(")") && !text.includes("(" + text.slice(0, -1)) && unbalanced(text) ? 1 : 0;
    const to = start + text.length - more;
    add(context, from, to, what, "(@ ? ", ` : ${other.slice(0, other.length - more)})`);
  }
}

function unbalanced(text) {
  return text.split("(").length !== text.split(")").length;
}

// Of each call of a precompile: no cap on its gas, and a failure that counts as a success.
function verifierMutantsOf(source) {
  const code = blanked(source);
  const context = { code, source, mutants: [] };
  for (const [cap, [within, name]] of Object.entries(PRECOMPILES)) {
    const calls = [...code.matchAll(new RegExp(`\\bstaticcall\\(${cap},`, "g"))];
    if (calls.length !== 1) throw new Error(`a verifier calls with ${cap} once, not ${calls.length} times`);
    const [start, open] = [calls[0].index, calls[0].index + "staticcall".length];
    add(context, open + 1, open + 1 + cap.length, `no ${cap}`, "or(mul(eq(coinbase(), #), gas()), ", ")");
    add(context, start, closing(code, open) + 1, `never ${name} failed`, "or(eq(coinbase(), #), ", ")");
    // Both have the name of the last function before them, and the code of `verify` comes after its functions.
    context.mutants.slice(-2).forEach((mutant) => (mutant.within = within));
  }
  return context.mutants.sort((a, b) => a.start - b.start);
}

function never(context, start, end) {
  [start, end] = trimmed(context.code, start, end);
  add(context, start, end, `never ${shown(context, start, end)}`, "((", ") && @)");
}

function always(context, start, end) {
  [start, end] = trimmed(context.code, start, end);
  add(context, start, end, `always ${shown(context, start, end)}`, "((", ") || !(@))");
}

function add(context, start, end, what, before, after) {
  const line = context.source.slice(0, start).split("\n").length;
  context.mutants.push({ within: withinOf(context, start).name, what, line, start, end, before, after });
}

// ------------------------------------------------------------ writing

// The source with these mutants: `@` in a switch is true unless the mutant runs, `#` is its number.
function edited(source, mutants) {
  const switched = (text, number) =>
    text.replace("@", `block.coinbase != address(${number})`).replace("#", String(number));
  const edits = [];
  for (const [order, { start, end, before, after, number }] of mutants.entries()) {
    edits.push({ at: start, rank: [1, -end, order], text: switched(before, number) });
    edits.push({ at: end, rank: [0, -start, -order], text: switched(after, number) });
  }
  const code = blanked(source);
  for (const name of ownModifiers(code)) {
    const head = code.indexOf(`modifier ${name}()`);
    edits.push({ at: head + `modifier ${name}(`.length, rank: [0, 0, 0], text: "uint256 mutant" });
    const start = code.indexOf("if (", head) + 4;
    edits.push({ at: start, rank: [0, 0, 0], text: "(" });
    const end = closing(code, start - 1);
    edits.push({ at: end, rank: [0, 0, 0], text: ") && block.coinbase != address(uint160(mutant))" });
  }
  edits.sort((a, b) => a.at - b.at || a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1] || a.rank[2] - b.rank[2]);
  let [text, last] = ["", 0];
  for (const edit of edits) {
    text += source.slice(last, edit.at) + edit.text;
    last = edit.at;
  }
  text += source.slice(last);
  // What a verifier's interface calls pure stays so.
  if (mutants.length === 0 || /^\s*contract \w+ is IVerifier /m.test(code)) return text;
  return text
    .replace(/\bpure\b/g, "view")
    .replace(/import \{ReentrancyGuardTransient\} from "[^"]*";/, 'import {ReentrancyGuardTransient} from "src/Mutants.sol";');
}

// ------------------------------------------------------------ text

// The source with spaces in place of comments and of what strings contain.
function blanked(source) {
  return source.replace(/\/\/[^\n]*|\/\*[^]*?\*\/|"[^"\n]*"/g, (part) => part.replace(/[^\n]/g, " "));
}

// How many braces are open at each position.
function depths(code) {
  const found = [];
  let depth = 0;
  for (const letter of code) {
    if (letter === "}") depth--;
    found.push(depth);
    if (letter === "{") depth++;
  }
  return found;
}

function ownModifiers(code) {
  return [...code.matchAll(/\bmodifier (\w+)\(\) \{/g)].map((match) => match[1]);
}

// The function, constructor or modifier that a position lies in or before.
function withinOf(context, at) {
  const heads = [...context.code.slice(0, at).matchAll(/\b(function|modifier) (\w+)|\b(constructor)\(/g)];
  const [, kind, name, constructor] = heads[heads.length - 1] ?? [];
  return { kind: kind ?? constructor, name: name ?? constructor };
}

// The position of the bracket that closes the one at `at`.
function closing(code, at) {
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    if ("([{".includes(code[i])) depth++;
    if (")]}".includes(code[i]) && --depth === 0) return i;
  }
  throw new Error("a bracket is not closed");
}

// The end of the statement that begins at `at`, before its semicolon.
function ending(code, at) {
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    if ("([{".includes(code[i])) depth++;
    if (")]}".includes(code[i])) depth--;
    if (depth < 0 || (depth === 0 && code[i] === ";")) return i;
  }
  throw new Error("a statement does not end");
}

// Where the expression before `at` begins.
function beginning(code, at) {
  let depth = 0;
  for (let i = at - 1; i >= 0; i--) {
    if (")]}".includes(code[i])) depth++;
    else if ("([{".includes(code[i]) && --depth < 0) return i + 1;
    else if (depth > 0) continue;
    else if (",;?:".includes(code[i])) return i + 1;
    else if (code[i] === "=" && code[i - 1] === " " && code[i + 1] !== "=") return i + 1;
    else if (/\breturn\s$/.test(code.slice(Math.max(0, i - 6), i + 1))) return i + 1;
  }
  throw new Error("an expression does not begin");
}

function isInParens(code, at) {
  let depth = 0;
  for (let i = at - 1; i >= 0 && code[i] !== "{" && code[i] !== "}"; i--) {
    if (code[i] === ")") depth++;
    if (code[i] === "(" && --depth < 0) return true;
  }
  return false;
}

// The parts of an expression between `by`, where no bracket is open.
function split(code, start, end, by) {
  const parts = [];
  let [depth, from] = [0, start];
  for (let i = start; i < end; i++) {
    if ("([{".includes(code[i])) depth++;
    if (")]}".includes(code[i])) depth--;
    if (depth === 0 && code.startsWith(by, i)) {
      parts.push([from, i]);
      from = i + by.length;
      i = from - 1;
    }
  }
  return [...parts, [from, end]];
}

function trimmed(code, start, end) {
  while (/\s/.test(code[start])) start++;
  while (/\s/.test(code[end - 1])) end--;
  return [start, end];
}

function shown(context, start, end) {
  const text = context.source.slice(start, end).replace(/\/\/[^\n]*/g, "").replace(/\s+/g, " ").replace(/`/g, "'");
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX - 1)}…`;
}

module.exports = { edited, mutantsOf, verifierMutantsOf };
