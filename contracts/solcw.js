#!/usr/bin/env node
// Makes npm's `solc` (the compiler as WebAssembly) answer as the native compiler would, so that
// forge can use it. forge calls a compiler in two ways only:
//
//   solcw.js --version                               one line `Version: x.y.z+commit.hash...`
//   solcw.js --standard-json [--base-path DIR]       JSON on standard input, JSON on standard output
//            [--include-path DIR]... [FILE]
//
// The version is read from the package's own files: loading 9 MB of WebAssembly to learn it would
// cost 0.4 s on every call of forge.
"use strict";
const fs = require("fs");
const path = require("path");

const VERSION = "0.8.37+commit.f401782d";

function main(argv) {
  const installed = require("solc/package.json").version;
  if (installed !== VERSION.split("+")[0]) {
    throw new Error(`solc ${installed} is installed, ${VERSION} is pinned: run npm ci --ignore-scripts`);
  }
  if (argv.includes("--version")) {
    console.log(`solc, the solidity compiler commandline interface\nVersion: ${VERSION}.Linux.g++`);
    return;
  }
  let base = process.cwd();
  const include = [];
  let file = null;
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === "--base-path") base = argv[++i];
    else if (argv[i] === "--include-path") include.push(argv[++i]);
    else if (argv[i] === "--allow-paths") i++;
    else if (!argv[i].startsWith("-")) file = argv[i];
  }
  const input = fs.readFileSync(file === null ? 0 : file, "utf8");
  const find = (wanted) => {
    for (const dir of [base, ...include]) {
      const candidate = path.resolve(dir, wanted);
      if (fs.existsSync(candidate)) return { contents: fs.readFileSync(candidate, "utf8") };
    }
    return { error: `not found: ${wanted}` };
  };
  process.stdout.write(require("solc").compile(input, { import: find }));
}

main(process.argv.slice(2));
