#!/usr/bin/env node
// Runs the forge of node_modules, whatever the working directory: `node forge.js test` for the contracts of
// this folder, `node contracts/forge.js test --root DIR` for another project.
"use strict";
const { spawnSync } = require("child_process");

const platform = `${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
let binary;
try {
  const name = process.platform === "win32" ? "forge.exe" : "forge";
  binary = require.resolve(`@foundry-rs/forge-${platform}/bin/${name}`);
} catch {
  console.error(`forge for ${platform} is not installed: run npm ci --ignore-scripts in ${__dirname}`);
  process.exit(1);
}
const args = process.argv.slice(2);
// A root is relative to where the command was typed. From this folder forge would find nothing there, and
// answer "Nothing to compile" with exit status 0.
const rooted = args.some((arg) => arg === "--root" || arg.startsWith("--root="));
const cwd = rooted ? process.cwd() : __dirname;
const done = spawnSync(binary, args, { cwd, stdio: "inherit" });
process.exit(done.status ?? 1);
