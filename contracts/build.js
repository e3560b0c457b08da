#!/usr/bin/env node
// Compiles the contracts and keeps what Rust needs of them, ABI and creation code, in artifacts/,
// so that `cargo build` needs neither node nor a compiler.
//
//   node build.js           compile and write artifacts/*.json
//   node build.js --check   compile and fail if an artifact is not what the sources give
//
// The output is a function of the sources, foundry.toml and the pinned compiler: the code ends with
// no hash of its metadata, and keys are written in a fixed order.
"use strict";
const fs = require("fs");
const path = require("path");
const { spawnSync } = require("child_process");

// Contracts that something outside this folder deploys or calls.
const WANTED = ["Rollup", "IVerifier", "EpochVerifier"];
// Optional ones: generated into src/ by the proving system.
const GENERATED = ["EpochRoot1Verifier", "EpochRoot2Verifier"];
// EIP-170: code longer than this cannot be deployed.
const CODE_BYTES_MAX = 24576;

function main(argv) {
  const check = argv.includes("--check");
  const unknown = argv.find((flag) => flag !== "--check");
  if (unknown !== undefined) fail(`build.js knows --check only, not ${unknown}`);

  const built = spawnSync(process.execPath, ["forge.js", "build", "--skip", "test"], {
    cwd: __dirname,
    encoding: "utf8",
  });
  if (built.status !== 0) fail(`forge build failed:\n${built.stdout}${built.stderr}`);

  const names = WANTED.concat(
    GENERATED.filter((name) => fs.existsSync(path.join(__dirname, "src", `${name}.sol`))),
  );
  const stale = [];
  for (const name of names) {
    const text = artifact(name);
    const target = path.join(__dirname, "artifacts", `${name}.json`);
    if (!check) {
      fs.mkdirSync(path.dirname(target), { recursive: true });
      fs.writeFileSync(target, text);
    } else if (!fs.existsSync(target) || fs.readFileSync(target, "utf8") !== text) {
      stale.push(`artifacts/${name}.json`);
    }
  }
  if (stale.length > 0) {
    fail(`not what the sources compile to: ${stale.join(", ")}. Run node build.js and commit.`);
  }
  console.log(`${check ? "checked" : "wrote"} ${names.map((n) => `artifacts/${n}.json`).join(", ")}`);
}

function artifact(name) {
  const file = path.join(__dirname, "out", `${name}.sol`, `${name}.json`);
  const { abi, bytecode, deployedBytecode } = JSON.parse(fs.readFileSync(file, "utf8"));
  const bytes = (deployedBytecode.object.length - 2) / 2;
  if (bytes > CODE_BYTES_MAX) fail(`${name} has ${bytes} B of code, ${CODE_BYTES_MAX} B are allowed`);
  return `${JSON.stringify({ contractName: name, abi, bytecode: bytecode.object }, null, 1)}\n`;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

main(process.argv.slice(2));
