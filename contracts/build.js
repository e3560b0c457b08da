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

// Contracts that something outside this folder deploys or calls, by their source.
const WANTED = {
  "src/Rollup.sol": "Rollup",
  "src/IVerifier.sol": "IVerifier",
  "src/data/BlobAvailability.sol": "BlobAvailability",
  "src/messages/Inbox.sol": "Inbox",
  "src/messages/Outbox.sol": "Outbox",
  "src/economics/FeePortal.sol": "FeePortal",
  "src/economics/Rewards.sol": "Rewards",
  "src/economics/BondVault.sol": "BondVault",
  "src/selection/FixedCommittee.sol": "FixedCommittee",
  "src/selection/Staking.sol": "Staking",
  "src/governance/AztToken.sol": "AztToken",
  "src/governance/Governance.sol": "Governance",
  "src/governance/Registry.sol": "Registry",
  "src/governance/Deployments.sol": "Deployments",
  "@openzeppelin/contracts/governance/TimelockController.sol": "TimelockController",
};
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

  const sources = { ...WANTED };
  for (const name of GENERATED) {
    if (fs.existsSync(path.join(__dirname, "src", `${name}.sol`))) sources[`src/${name}.sol`] = name;
  }
  const wanted = Object.entries(sources).map(([source, name]) => [`artifacts/${name}.json`, source, name]);
  const stale = [];
  for (const [target, source, name] of wanted) {
    const text = artifact(source, name);
    const file = path.join(__dirname, target);
    if (!check) {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text);
    } else if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== text) {
      stale.push(target);
    }
  }
  if (stale.length > 0) {
    fail(`not what the sources compile to: ${stale.join(", ")}. Run node build.js and commit.`);
  }
  console.log(`${check ? "checked" : "wrote"} ${wanted.map(([target]) => target).join(", ")}`);
}

function artifact(source, name) {
  const file = path.join(__dirname, "out", path.basename(source), `${name}.json`);
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
