#!/usr/bin/env node
// Makes the page of costs on L1 of the gas that forge measured.
//
//   node gas.js           write docs/book/gas.md
//   node gas.js --check   fail if the page is not what the figures give
"use strict";
const fs = require("fs");
const path = require("path");

const PAGE = "../docs/book/gas.md";
// Figures that Aztec published, each with its source, by the row of ours that they stand beside.
const AZTEC = require("./gas-aztec.json");
const VERIFIER = "verifier";

// Every measured call in the order of the page, with what it is. A figure without a row is an error.
const TABLES = [
  [
    "Blocks",
    "A proposal has the signatures of a quorum and the addresses of the other members. With transactions it opens " +
      "its blob. The number of transactions changes the blob only, not the call.",
    [
      ["propose_0_txs_committee_1", "`propose`, no transactions, committee of 1"],
      ["propose_1_tx_committee_1", "`propose`, 1 transaction, committee of 1"],
      ["propose_32_txs_committee_1", "`propose`, 32 transactions, committee of 1"],
      ["propose_0_txs_committee_4", "`propose`, no transactions, committee of 4"],
      ["propose_1_tx_committee_4", "`propose`, 1 transaction, committee of 4"],
      ["propose_32_txs_committee_4", "`propose`, 32 transactions, committee of 4"],
      ["propose_0_txs_committee_24", "`propose`, no transactions, committee of 24"],
      ["propose_1_tx_committee_24", "`propose`, 1 transaction, committee of 24"],
      ["propose_32_txs_committee_24", "`propose`, 32 transactions, committee of 24"],
      ["propose_0_txs_committee_48", "`propose`, no transactions, committee of 48"],
      ["propose_1_tx_committee_48", "`propose`, 1 transaction, committee of 48"],
      ["propose_32_txs_committee_48", "`propose`, 32 transactions, committee of 48"],
      ["propose_first_of_epoch", "`propose`, first of its epoch, which locks a bond; no transactions, committee of 1"],
      ["propose_first_of_epoch_draws_48", "the same, when the committee of 48 is drawn out of 64 stakers"],
      ["blob_commit", "part of `propose`: the opening of the blob, 50,000 of it for the precompile"],
    ],
  ],
  [
    "Proofs",
    "",
    [
      ["submit", "`submitEpochProof`, before the end of the epoch"],
      ["submit_and_settle", "`submitEpochProof`, which settles the epoch as well"],
      [VERIFIER, "part of both: the generated verifier, with the proof of the golden epoch of `circuits`"],
      ["settle", "`settle`"],
      ["prune_1_epoch", "`prune` of one epoch"],
      ["prune_128_epochs", "`prune` of 128 epochs, the most that a deployment can have unproven"],
    ],
  ],
  [
    "Bridge",
    "",
    [
      ["deposit", "`FeePortal.deposit`"],
      ["withdraw_of_32_txs", "`FeePortal.withdraw` out of a block of 32 transactions"],
      ["send", "`Inbox.send`"],
    ],
  ],
  [
    "Pay, stakes and votes",
    "",
    [
      ["claim_1_block_committee_48", "`claimBlocks` of 1 block, committee of 48, first of the epoch"],
      ["claim_31_blocks_committee_48", "`claimBlocks` of 31 further blocks"],
      ["claim", "`claim`"],
      ["bond_deposit", "`BondVault.deposit`"],
      ["stake", "`Staking.deposit`"],
      ["exit", "`initiateExit`"],
      ["record_seed", "`recordSeed`"],
      ["vote", "`castVote`"],
    ],
  ],
];
// Calls that a test makes with a verifier that only says yes; the page adds the real one.
const WITHOUT_VERIFIER = "_without_verifier";

function main(argv) {
  const check = argv.includes("--check");
  const unknown = argv.find((flag) => flag !== "--check");
  if (unknown !== undefined) fail(`gas.js knows --check only, not ${unknown}`);
  const calls = figures("Calls");
  const transactions = figures("Transactions");
  const verifier = calls[VERIFIER];
  if (verifier === undefined) fail(`${VERIFIER} was not measured`);
  for (const all of [calls, transactions]) {
    for (const name of Object.keys(all).filter((name) => name.endsWith(WITHOUT_VERIFIER))) {
      all[name.slice(0, -WITHOUT_VERIFIER.length)] = all[name] + verifier;
      delete all[name];
    }
  }
  const named = TABLES.flatMap(([, , rows]) => rows.map(([name]) => name));
  for (const name of Object.keys(calls).concat(Object.keys(transactions))) {
    if (!named.includes(name)) fail(`gas.js has no row for ${name}`);
  }
  const text = page(calls, transactions);
  const file = path.join(__dirname, PAGE);
  if (!check) fs.writeFileSync(file, text);
  else if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== text) {
    fail("docs/book/gas.md is not what was measured. Run node gas.js and commit.");
  }
  console.log(`${check ? "checked" : "wrote"} docs/book/gas.md`);
}

function page(calls, transactions) {
  const parts = [
    `# Costs on L1

Gas of every call to the contracts, measured by \`contracts/test/Gas.t.sol\` from cold storage and written by
\`contracts/gas.js\`; do not edit. A change of a figure fails the tests until it is committed.

*Call* is the execution of the call. *Transaction* adds the 21,000 of a transaction and its calldata (4 gas for a zero byte, 16 for
another); it is what a sender pays for, before refunds and besides the price of a blob, which is 131,072 units of blob gas for each
block with transactions.
`,
  ];
  for (const [title, note, rows] of TABLES) {
    parts.push(`\n## ${title}\n\n${note === "" ? "" : `${wrap(note)}\n\n`}| what | call | transaction |\n| --- | ---: | ---: |\n`);
    for (const [name, what] of rows) {
      if (calls[name] === undefined) fail(`${name} was not measured`);
      const whole = transactions[name] === undefined ? "" : group(transactions[name]);
      parts.push(`| ${what} | ${group(calls[name])} | ${whole} |\n`);
    }
  }
  parts.push(beside(calls, transactions));
  return parts.join("");
}

// Aztec's figures, in the order of their file.
function beside(calls, transactions) {
  const sources = Object.entries(AZTEC.sources);
  const parts = [`\n## Beside Aztec's\n\n${wrap(BESIDE)}\n\n`];
  parts.push("| Rollmill | gas | Aztec | gas | which |\n| --- | ---: | --- | ---: | --- |\n");
  const titles = new Map(TABLES.flatMap(([, , rows]) => rows));
  for (const { ours, what, theirs, gas, is, source } of AZTEC.rows) {
    if (calls[ours] === undefined) fail(`gas-aztec.json names ${ours}, which was not measured`);
    const at = sources.findIndex(([name]) => name === source);
    if (gas !== null && at < 0) fail(`gas-aztec.json gives no source for ${theirs}`);
    const [figure, which] = gas === null ? ["not published", ""] : [group(gas), `${is}, source ${at + 1}`];
    parts.push(`| ${what ?? titles.get(ours)} | ${group(transactions[ours] ?? calls[ours])} | ${theirs} | ${figure} | ${which} |\n`);
  }
  parts.push("\nSources:\n\n");
  for (const [at, [, { path: file, commit, what }]] of sources.entries()) {
    const link = `[\`${file}\`](${AZTEC.repository}/blob/${commit}/${file}) at \`${commit.slice(0, 10)}\``;
    parts.push(`${at + 1}. ${link}.\n${wrap(what).replace(/^/gm, "   ")}\n`);
  }
  return parts.join("");
}

// What must be known to compare the two.
const BESIDE =
  "Ours is the transaction, or the call where no transaction is listed above. Aztec's are those that its repository publishes; " +
  "forge measured them as transactions of their own, base and calldata included, unless the source says otherwise. The two do " +
  "not do the same work. Aztec's `propose` keeps a hash of the committee's signatures and checks the proposer's; whoever " +
  "submits the proof brings the others, so `submitEpochRootProof` pays for them. Ours checks a quorum with each proposal, and " +
  "its proof pays for none. Our figures include the verifier and the opening of the blob, Aztec's neither: that verifier's " +
  "price is not published there. Ours hash messages with Poseidon2 where Aztec hashes with SHA-256, a precompile. Our " +
  "`propose` keeps the five words of a block; Aztec's fee model on L1 and its slashing have no counterpart here. Ours is the " +
  "proof of one block, and the fees and rewards of blocks are credited by `claimBlocks` (above), which grows with the blocks, as " +
  "Aztec's proof does.";

// Lines of at most 130 characters, as the other pages have them.
function wrap(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines[lines.length - 1];
    if (last === "") lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= 130) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join("\n");
}

function figures(snapshot) {
  const text = fs.readFileSync(path.join(__dirname, "snapshots", `${snapshot}.json`), "utf8");
  return Object.fromEntries(Object.entries(JSON.parse(text)).map(([name, gas]) => [name, whole(gas, name)]));
}

function whole(text, name) {
  if (!/^[0-9]+$/.test(text)) fail(`the gas of ${name} is no number: ${text}`);
  return Number(text);
}

function group(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

main(process.argv.slice(2));
