#!/usr/bin/env node
// Takes out one check or one step of the contracts at a time and requires a test to notice.
//
//   node mutants.js                run every mutant that did not run since sources or tests changed
//   node mutants.js --list         print the mutants with their numbers; runs nothing
//   node mutants.js --check        fail if docs/book/contract-mutants.md does not name every mutant of the sources,
//                                  or names a test that is not there; runs nothing
//   node mutants.js --refresh      write the page anew with the outcomes that it has; runs nothing
//   node mutants.js --write        write each outcome into the page as soon as it is known
//   node mutants.js --only N,M     run these, whatever ran before; with --write, the page keeps the outcomes of the others
//
// All mutants are compiled at once, in a copy outside of the sources: each is a condition that the address of the
// block's producer switches, which no contract reads and forge takes from its command line. The run begins
// without any mutant: then every test must pass, or a failure under a mutant means nothing.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const os = require("os");
const path = require("path");
const { spawnSync } = require("child_process");
const { edited, mutantsOf, verifierMutantsOf } = require("./mutations.js");

const PAGE = "docs/book/contract-mutants.md";
const ROOT = path.join(__dirname, "..");
// What a run needs besides src/ and test/, and the folders above that the tests read.
const CONFIG = ["foundry.toml", "forge.js", "solcw.js", "package.json", "package-lock.json"];
const READ_ABOVE = ["protocol", "circuits"];
// The files that the tests read there.
const READ = ["protocol/tests/vectors/protocol2.json", "circuits/tests/golden/09-epoch_root_2.output"];
// Generated: only the calls of precompiles have mutants here, and only in the verifier that tests have a proof for. The
// other one must have the same calls.
const GENERATED = "EpochRoot2Verifier.sol";
const WITHOUT_PROOF = "EpochRoot1Verifier.sol";
// Tests that compare figures, and Poseidon2's own, whose library has one check, which others reach.
const LEFT_OUT = ["Gas.t.sol", "poseidon2/Poseidon2.t.sol", "poseidon2/Poseidon2Twin.sol"];
// The invariants' random histories take longest and hold what the other tests hold.
const SLOW = "InvariantTest";
// The library as a contract for tests; its check has a switch, so it reads the block.
const HASHER = "test/poseidon2/Hasher.sol";
// The tests that deploy the contracts themselves. What breaks every deployment fails the `setUp` of the others, which
// says nothing about a contract, so that these run as well.
const DEPLOY_TESTS = "^DeployTest$";
const IS_SET_UP = /\.setUp`?$/;
// Contracts of tests that run first for a contract, because they are about it. If none notices, all run.
const OWN_TESTS = {
  Formats: "ParametersTest|ProposeTest",
  Rollup: "ProposeTest|ProveTest",
  BlobAvailability: "DataTest",
  Inbox: "MessagesTest|AccessTest",
  Outbox: "MessagesTest|AccessTest",
  FeePortal: "MessagesTest|AccessTest|ReentrancyTest",
  BondVault: "EconomicsTest|AccessTest|ReentrancyTest",
  Rewards: "EconomicsTest|AccessTest|ReentrancyTest",
  FixedCommittee: "CommitteeTest",
  Quorum: "CommitteeTest",
  Staking: "StakingTest|AccessTest|ReentrancyTest",
  EpochRoot2Verifier: "VerifierTest",
  AztToken: "AccessTest|GovernanceTest",
  Deployments: "AccessTest|GovernanceTest",
  Registry: "AccessTest|GovernanceTest|ParametersTest",
};
// Mutants that no test can notice, by name, with the reason. One that a test notices may not stand here.
const HARMLESS = {
  "Formats.checkParameters always block.chainid <= type(uint64).max":
    "forge takes no larger chain id, so no test can deploy under one; no chain has one",
  "Outbox.isConsumed never transaction >= Layout.MAX_TXS":
    "no message of such a transaction is ever consumed, so its bit is 0",
  "Rewards.claimBlocks always earned[i] != 0": "adds 0 to what a member earned; the check saves a write",
  "Staking._remove always a.index != last": "the last member takes its own place",
  "EpochRoot2Verifier.verify never exponentiation failed":
    "what it returns is multiplied with what it should invert, and compared with 1",
};
const SURVIVED = "survived";
const UNKNOWN = "not run";
const REASON = "harmless: ";
const ONLY_SET_UP = "no test notices its loss but a setUp that fails; write one in DeployTest";
const SECONDS_MAX = 900;

function main(argv) {
  const options = parse(argv);
  const mutants = all();
  requireTwins();
  for (const name of Object.keys(HARMLESS)) {
    if (!mutants.some((mutant) => mutant.name === name)) fail(`HARMLESS names ${name}, and there is no such mutant`);
  }
  if (options.list) {
    for (const mutant of mutants) console.log(`${mutant.number} ${place(mutant)} ${mutant.what}`);
    return;
  }
  const page = path.join(ROOT, PAGE);
  const old = fs.existsSync(page) ? rows(fs.readFileSync(page, "utf8")) : new Map();
  if (options.check) return check(page, mutants, old);
  if (options.refresh) return fs.writeFileSync(page, text(mutants, old));
  run(options, mutants, old, page);
}

function parse(argv) {
  const options = { list: false, check: false, refresh: false, write: false, only: null };
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i].replace(/^--/, "");
    if (!argv[i].startsWith("--") || !(name in options)) {
      fail(`mutants.js knows --list, --check, --refresh, --write and --only N,M, not ${argv[i]}`);
    }
    if (name !== "only") options[name] = true;
    else options.only = (argv[++i] ?? "").split(",").map(number);
  }
  return options;
}

function number(digits) {
  if (!/^[1-9][0-9]*$/.test(digits)) fail(`--only takes numbers of --list with commas between, not ${digits}`);
  return Number(digits);
}

// ------------------------------------------------------------ sources

// Every mutant of the present sources, numbered from 1 in the order of paths and positions.
function all() {
  const mutants = [];
  const names = new Map();
  for (const file of files("src")) {
    const source = fs.readFileSync(path.join(__dirname, file), "utf8");
    const base = path.basename(file);
    const found = base === WITHOUT_PROOF ? [] : (base === GENERATED ? verifierMutantsOf : mutantsOf)(source);
    for (const mutant of found) {
      const contract = path.basename(file, ".sol");
      const plain = `${contract}.${mutant.within} ${mutant.what}`;
      const times = (names.get(plain) ?? 0) + 1;
      names.set(plain, times);
      const name = times === 1 ? plain : `${plain} (${times})`;
      mutants.push({ ...mutant, file, contract, name, number: mutants.length + 1 });
    }
  }
  return mutants;
}

// Both verifiers are written from one template.
function requireTwins() {
  const [one, other] = [GENERATED, WITHOUT_PROOF].map((file) => {
    const source = fs.readFileSync(path.join(__dirname, "src", file), "utf8");
    const lines = source.split("\n");
    const caps = lines.filter((line) => /^\s*uint256 private constant GAS_\w+ = /.test(line));
    return [...caps, ...verifierMutantsOf(source).map((mutant) => lines[mutant.line - 1])].join("\n");
  });
  if (one !== other) fail(`${GENERATED} and ${WITHOUT_PROOF} call precompiles in other ways:\n${one}\n\n${other}`);
}

function place(mutant) {
  return `${mutant.contract}:${mutant.line} ${mutant.within}`;
}

function files(folder) {
  const found = [];
  for (const entry of fs.readdirSync(path.join(__dirname, folder), { withFileTypes: true })) {
    const at = `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...files(at));
    else if (entry.name.endsWith(".sol")) found.push(at);
  }
  return found.sort();
}

// ------------------------------------------------------------ runs

function run(options, mutants, old, page) {
  const unknown = (options.only ?? []).find((wanted) => wanted > mutants.length);
  if (unknown !== undefined) fail(`there is no mutant ${unknown}; --list has ${mutants.length}`);
  const { copy, digest } = build(mutants);
  const state = path.join(copy, "outcomes.json");
  const before = fs.existsSync(state) ? JSON.parse(fs.readFileSync(state, "utf8")) : {};
  const known = before.digest === digest ? before.known : {};
  const keep = () => fs.writeFileSync(state, JSON.stringify({ digest, known }, null, 1));
  const todo = mutants.filter((m) => (options.only === null ? known[m.name] === undefined : options.only.includes(m.number)));

  if (known[""] === undefined && todo.length > 0) {
    console.log("without a mutant");
    const failed = forge(copy, 0, []);
    if (failed !== null) fail(`${failed} fails without any mutant`);
    known[""] = SURVIVED;
    keep();
  }
  const outcomes = new Map(old);
  for (const [name, outcome] of Object.entries(known)) outcomes.set(name, words(name, outcome));
  const findings = [];
  for (const mutant of todo) {
    const started = Date.now();
    const outcome = noticed(copy, mutant, old.get(mutant.name)) ?? SURVIVED;
    known[mutant.name] = outcome;
    keep();
    outcomes.set(mutant.name, words(mutant.name, outcome));
    if (options.write) fs.writeFileSync(page, text(mutants, outcomes));
    const seconds = Math.round((Date.now() - started) / 1000);
    console.log(`${mutant.number} ${place(mutant)} ${mutant.what}: ${words(mutant.name, outcome)} (${seconds} s)`);
    if (HARMLESS[mutant.name] !== undefined && outcome !== SURVIVED) {
      findings.push(`${mutant.name}: ${outcome} notices its loss, so it is not harmless`);
    }
    if (IS_SET_UP.test(outcome)) findings.push(`${mutant.name}: ${ONLY_SET_UP}`);
    if (HARMLESS[mutant.name] === undefined && outcome === SURVIVED) {
      findings.push(`${mutant.name}: no test notices its loss; write one, or say in HARMLESS why it is harmless`);
    }
  }
  if (options.write) fs.writeFileSync(page, text(mutants, outcomes));
  findings.forEach((finding) => console.error(finding));
  console.log(`${todo.length} mutants ran, ${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}

// The copy with every mutant in it, and the digest of all that an outcome depends on.
function build(mutants) {
  const home = process.env.ROLLMILL_CACHE ?? path.join(os.homedir(), ".cache", "rollmill");
  const mine = crypto.createHash("sha256").update(__dirname).digest("hex").slice(0, 12);
  const copy = path.join(home, "contract-mutants", mine, "contracts");
  const hash = crypto.createHash("sha256");
  const wanted = new Map();
  for (const file of [...files("src"), ...files("test")]) {
    const source = fs.readFileSync(path.join(__dirname, file), "utf8");
    if (LEFT_OUT.includes(file.replace(/^test\//, ""))) continue;
    wanted.set(file, edited(source, mutants.filter((mutant) => mutant.file === file)));
  }
  wanted.set(HASHER, wanted.get(HASHER).replace(/\bpure\b/g, "view"));
  wanted.set("src/Mutants.sol", GUARD);
  for (const file of CONFIG) wanted.set(file, fs.readFileSync(path.join(__dirname, file), "utf8"));
  // A switch makes a function read the block, and what is left out leaves things unused.
  wanted.set("foundry.toml", wanted.get("foundry.toml").replace(/^deny = .*$/m, 'deny = "never"'));
  for (const [file, source] of [...wanted].sort()) hash.update(`${file}\n${source}\n`);
  for (const file of inputs()) hash.update(`${file}\n`).update(fs.readFileSync(path.join(ROOT, file)));
  for (const tool of [["forge.js", "--version"], ["solcw.js", "--version"]]) hash.update(printed(tool));

  for (const folder of ["src", "test"]) remove(path.join(copy, folder), copy, wanted);
  for (const [file, source] of wanted) {
    const to = path.join(copy, file);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    if (!fs.existsSync(to) || fs.readFileSync(to, "utf8") !== source) fs.writeFileSync(to, source);
  }
  // forge runs it as a program.
  fs.chmodSync(path.join(copy, "solcw.js"), 0o755);
  link(path.join(__dirname, "node_modules"), path.join(copy, "node_modules"));
  link(path.join(__dirname, "artifacts"), path.join(copy, "artifacts"));
  for (const folder of READ_ABOVE) link(path.join(ROOT, folder), path.join(copy, "..", folder));
  console.log(`compiling ${mutants.length} mutants in ${copy}`);
  const built = spawnSync(process.execPath, ["forge.js", "build"], { cwd: copy, encoding: "utf8" });
  if (built.status !== 0) fail(`the mutants do not compile:\n${built.stdout}${built.stderr}`);
  return { copy, digest: hash.digest("hex") };
}

// What tests read besides their sources.
function inputs() {
  for (const file of files("test")) {
    for (const [, at] of fs.readFileSync(path.join(__dirname, file), "utf8").matchAll(/"\.\.\/([\w./-]+\.\w+)"/g)) {
      if (!at.endsWith(".sol") && !READ.includes(at)) fail(`${file} reads ${at}, which READ does not name`);
    }
  }
  const artifacts = fs.readdirSync(path.join(__dirname, "artifacts")).sort();
  return [...READ, ...artifacts.map((file) => `contracts/artifacts/${file}`)];
}

// What a program of this folder prints.
function printed(args) {
  const done = spawnSync(process.execPath, args, { cwd: __dirname, encoding: "utf8" });
  if (done.status !== 0) fail(`${args.join(" ")} failed:\n${done.stderr}`);
  return done.stdout;
}

function remove(folder, copy, wanted) {
  if (!fs.existsSync(folder)) return;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) remove(at, copy, wanted);
    else if (!wanted.has(path.relative(copy, at))) fs.rmSync(at);
  }
}

function link(target, at) {
  fs.rmSync(at, { force: true });
  fs.symlinkSync(target, at);
}

// A guard like OpenZeppelin's, whose own cannot be switched from outside of it.
const GUARD = `// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

abstract contract ReentrancyGuardTransient {
    error ReentrancyGuardReentrantCall();
    bool transient private _isWithin;

    modifier nonReentrant(uint256 mutant) {
        bool active = block.coinbase != address(uint160(mutant));
        if (active) {
            if (_isWithin) revert ReentrancyGuardReentrantCall();
            _isWithin = true;
        }
        _;
        if (active) _isWithin = false;
    }
}
`;

// The test that notices the mutant: the one that did the last time, one about the contract, any. Only if there is no
// test, a `setUp`.
function noticed(copy, mutant, row) {
  const last = /^`(\w+)\.(\w+)`$/.exec(row ?? "");
  const exact = last === null ? null : ["--match-contract", `^${last[1]}$`, "--match-test", `^${last[2]}\\(`];
  const own = OWN_TESTS[mutant.contract];
  const passes = [exact, own === undefined ? null : ["--match-contract", own], []];
  for (const filter of passes.filter((filter) => filter !== null)) {
    const failed = forge(copy, mutant.number, filter, filter === exact);
    if (failed === null) continue;
    if (!IS_SET_UP.test(failed)) return failed;
    return forge(copy, mutant.number, ["--match-contract", DEPLOY_TESTS]) ?? failed;
  }
  return null;
}

// Runs tests under a mutant and returns one that failed, or null. That no test ran is an error, but for a test that
// the page names and that may be gone.
function forge(copy, mutant, filter, mayBeGone = false) {
  const coinbase = `0x${mutant.toString(16).padStart(40, "0")}`;
  const which = filter.length === 0 ? ["--no-match-contract", SLOW] : filter;
  const args = ["forge.js", "test", "--json", "--fail-fast", "--block-coinbase", coinbase, "--fuzz-seed", "1", ...which];
  const env = { ...process.env, FOUNDRY_FUZZ_RUNS: "32", FORGE_SNAPSHOT_CHECK: "false" };
  const done = spawnSync(process.execPath, args, {
    cwd: copy,
    env,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: SECONDS_MAX * 1000,
  });
  const said = `${done.stdout ?? ""}${done.stderr ?? ""}`.slice(-2000);
  if (done.error) fail(`forge did not end under mutant ${mutant}: ${done.error.message}`);
  const start = done.stdout.indexOf("{");
  if (start < 0) {
    if (mayBeGone && done.status === 0) return null;
    fail(`no test ran under mutant ${mutant}:\n${said}`);
  }
  let ran = 0;
  let failed = null;
  const suites = JSON.parse(done.stdout.slice(start));
  for (const [suite, { test_results: results }] of Object.entries(suites)) {
    for (const [signature, { status }] of Object.entries(results)) {
      ran++;
      if (status === "Failure") failed ??= `${suite.split(":").pop()}.${signature.split("(")[0]}`;
    }
  }
  if (ran === 0 && !mayBeGone) fail(`no test ran under mutant ${mutant}:\n${said}`);
  if ((done.status === 0) !== (failed === null)) fail(`forge ended with ${done.status} under mutant ${mutant}:\n${said}`);
  return failed;
}

// ------------------------------------------------------------ page

function words(name, outcome) {
  if (outcome !== SURVIVED) return `\`${outcome}\``;
  return HARMLESS[name] === undefined ? SURVIVED : `${REASON}${HARMLESS[name]}`;
}

function text(mutants, outcomes) {
  const contracts = [...new Set(mutants.map((mutant) => mutant.contract))].sort();
  const outcome = (mutant) => outcomes.get(mutant.name) ?? UNKNOWN;
  const parts = [INTRODUCTION];
  for (const contract of contracts) {
    const own = mutants.filter((mutant) => mutant.contract === contract).map(outcome);
    const seen = own.filter((words) => words.startsWith("`")).length;
    const harmless = own.filter((words) => words.startsWith(REASON)).length;
    parts.push(`| ${contract} | ${own.length} | ${seen} | ${harmless} | ${own.length - seen - harmless} |\n`);
  }
  for (const contract of contracts) {
    parts.push(`\n## ${contract}\n\n| at | left out | noticed by |\n| --- | --- | --- |\n`);
    for (const mutant of mutants.filter((mutant) => mutant.contract === contract)) {
      const what = mutant.name.slice(`${contract}.${mutant.within} `.length).replace(/\|/g, "\\|");
      parts.push(`| ${contract}:${mutant.line} \`${mutant.within}\` | \`${what}\` | ${outcome(mutant)} |\n`);
    }
  }
  return parts.join("");
}

const INTRODUCTION = `# Mutants of the contracts

Written by \`node mutants.js --write\` in \`contracts\`, part of \`make mutants\`; do not edit. \`make test\` compares it with the
sources. Each row is one check or one step of a contract: a condition that never holds or always does, a modifier, a call, an
event or an assignment that is left out. Of a generated verifier it is the cap on a precompile's gas, or that its failure counts;
its other checks are in [Mutants](mutants.md), whose tables are about the proof system. The tests of behaviour run until one fails, and
the row names it. That contracts cannot even be deployed does not count: then a test must fail that deploys them itself. Gas figures and
the invariants' random histories do not run, since other tests must notice.

| contract | mutants | noticed | harmless | survived or not run |
| --- | ---: | ---: | ---: | ---: |
`;

// Outcomes by the mutant's name.
function rows(page) {
  const found = new Map();
  for (const line of page.split("\n")) {
    const row = /^\| (\w+):\d+ `([^`]*)` \| `(.*)` \| (.*) \|$/.exec(line);
    if (row !== null) found.set(`${row[1]}.${row[2]} ${row[3].replace(/\\\|/g, "|")}`, row[4]);
  }
  return found;
}

function check(page, mutants, old) {
  const findings = [];
  const tests = files("test").map((file) => fs.readFileSync(path.join(__dirname, file), "utf8")).join("\n");
  for (const mutant of mutants) {
    const outcome = old.get(mutant.name);
    const test = /^`\w+\.(\w+)`$/.exec(outcome ?? "");
    if (IS_SET_UP.test(outcome ?? "")) findings.push(`${mutant.name}: ${ONLY_SET_UP}`);
    const why = HARMLESS[mutant.name];
    if (outcome === undefined || outcome === UNKNOWN) findings.push(`${mutant.name} has not run`);
    else if (outcome === SURVIVED) findings.push(`no test notices the loss of ${mutant.name}`);
    else if (test === null && outcome !== `${REASON}${why}`) findings.push(`${mutant.name} is not called harmless here for that reason`);
    else if (test !== null && why !== undefined) findings.push(`${mutant.name} is called harmless, and a test notices its loss`);
    else if (test !== null && !tests.includes(`function ${test[1]}(`)) findings.push(`there is no test ${test[1]} any more`);
  }
  if (findings.length === 0 && fs.readFileSync(page, "utf8") !== text(mutants, old)) {
    findings.push("lines moved or a mutant is gone: run node mutants.js --refresh");
  }
  if (findings.length > 0) {
    fail(`${PAGE}:\n${findings.join("\n")}\nRun node mutants.js --write and commit.`);
  }
  console.log(`checked ${PAGE}: ${mutants.length} mutants`);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

main(process.argv.slice(2));
