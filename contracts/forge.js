#!/usr/bin/env node
// Runs the forge of node_modules in this folder, whatever the working directory: `node forge.js test`.
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
const done = spawnSync(binary, process.argv.slice(2), { cwd: __dirname, stdio: "inherit" });
process.exit(done.status ?? 1);
