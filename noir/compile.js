#!/usr/bin/env node
// Compiles the contracts of examples/ and the programs of programs/, and keeps what Rust needs of them in artifacts/,
// so that tests need neither node nor a compiler.
//
//   node compile.js           compile and write artifacts/*.json and artifacts/programs/*.json
//   node compile.js --check   compile and fail if an artifact is not what the sources give
//
// The output is a function of the sources and the pinned compiler. artifacts/sources.json has the digest of each
// source, by which a test notices that somebody forgot to compile.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

const EXAMPLES = path.join(__dirname, "examples");
const PROGRAMS = path.join(__dirname, "programs");
const ARTIFACTS = path.join(__dirname, "artifacts");
// Folders whose files the artifacts depend on.
const SOURCES = ["lib", "examples", "programs"];

async function main(argv) {
  const check = argv.includes("--check");
  const unknown = argv.find((flag) => flag !== "--check");
  if (unknown !== undefined) fail(`compile.js knows --check only, not ${unknown}`);
  const compiler = installed();

  const wanted = [["sources.json", `${JSON.stringify(digests(), null, 1)}\n`]];
  for (const name of fs.readdirSync(EXAMPLES).sort()) {
    wanted.push([`${name}.json`, await artifact(compiler, name)]);
  }
  for (const entry of fs.readdirSync(PROGRAMS, { withFileTypes: true })) {
    const { name } = entry;
    const is_program = entry.isDirectory() && fs.existsSync(path.join(PROGRAMS, name, "Nargo.toml"));
    if (is_program) wanted.push([`programs/${name}.json`, await program(compiler, name)]);
  }
  const stale = [];
  for (const [target, text] of wanted) {
    const file = path.join(ARTIFACTS, target);
    if (!check) {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text);
    } else if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== text) {
      stale.push(target);
    }
  }
  if (stale.length > 0) {
    fail(`not what the sources compile to: ${stale.join(", ")}. Run node compile.js and commit.`);
  }
  console.log(`${check ? "checked" : "wrote"} ${wanted.map(([target]) => target).join(", ")}`);
}

// Paths and SHA-256 of all sources.
function digests() {
  const files = [];
  const visit = (folder) => {
    for (const entry of fs.readdirSync(path.join(__dirname, folder), { withFileTypes: true })) {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(name);
      else if (/\.(nr|toml)$/.test(entry.name)) files.push(name);
    }
  };
  SOURCES.forEach(visit);
  const bytes = (name) => fs.readFileSync(path.join(__dirname, name));
  const digest = (name) => crypto.createHash("sha256").update(bytes(name)).digest("hex");
  return Object.fromEntries(files.sort().map((name) => [name, digest(name)]));
}

// Noir's compiler.
function installed() {
  try {
    return require("@noir-lang/noir_wasm");
  } catch (error) {
    return fail(`no compiler of Noir under ${__dirname}: run make setup (${error.code})`);
  }
}

// What the compiler makes of a folder.
async function compiled(compiler, folder, kind) {
  const log = [];
  const write = (line) => log.push(line);
  try {
    const sources = compiler.createFileManager(folder);
    return (await compiler[`compile_${kind}`](sources, undefined, write, write))[kind];
  } catch (error) {
    const places = (error.diagnostics ?? []).map((diagnostic) => `${diagnostic.file}: ${diagnostic.message}`);
    return fail(`${folder} does not compile:\n${[...places, String(error.message ?? error)].join("\n")}`);
  }
}

async function program(compiler, name) {
  const { noir_version, abi, bytecode, debug_symbols, file_map } = await compiled(
    compiler,
    path.join(PROGRAMS, name),
    "program",
  );
  const kept = { noir_version, abi: ordered(abi), bytecode, debug_symbols, file_map: files(name, { file_map }) };
  return `${JSON.stringify(kept, null, 1)}\n`;
}

async function artifact(compiler, name) {
  const contract = await compiled(compiler, path.join(EXAMPLES, name), "contract");
  const functions = contract.functions
    .map(({ name, custom_attributes, abi, bytecode, debug_symbols }) => ({
      name,
      custom_attributes,
      abi: ordered(abi),
      bytecode,
      debug_symbols,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const { noir_version } = contract;
  const kept = { noir_version, name: contract.name, functions, file_map: files(name, contract) };
  return `${JSON.stringify(kept, null, 1)}\n`;
}

// Objects with their keys in order, except those of fields, whose order is in arrays.
function ordered(value) {
  if (Array.isArray(value)) return value.map(ordered);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, ordered(value[key])]));
}

// The sources that lines of errors are in, with paths from this folder. Those of the standard library are left out.
function files(name, compiled) {
  const own = {};
  for (const [id, { source, path: file }] of Object.entries(compiled.file_map)) {
    const at = place(name, file);
    if (at !== undefined) own[id] = { source, path: at };
  }
  return own;
}

function place(name, file) {
  const candidates = [path.relative(__dirname, file), file.replace(/^\/?rollmill\//, "lib/src/")];
  return candidates.find((at) => !at.startsWith("..") && fs.existsSync(path.join(__dirname, at)));
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

main(process.argv.slice(2)).catch((error) => fail(error.stack ?? String(error)));
