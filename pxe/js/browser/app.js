// A wallet in a page: accounts, balances and private transfers, by the wallet service of this machine.

import { Pxe, PxeError } from "../index.js";
import { words } from "./words.js";

const $ = (id) => document.getElementById(id);
const WAIT_MS = 2 * 60 * 60_000;
const STAGES = [["included", "in a block on L1"], ["proven", "proven on L1"]];

let pxe = null;
let accounts = [];
let contracts = [];
/** What the user was shown and may confirm. */
let order = null;
/** How often the form has changed. */
let changes = 0;
/** The address of a contract. */
const ADDRESS = /^0x[0-9a-f]{64}$/;

function say(text) {
  $("message").textContent = text;
}

/** Runs a handler with its button disabled, and shows its error. */
async function busy(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof PxeError)) {
      console.error(error);
    }
    say(words(error));
  } finally {
    button.disabled = false;
  }
}

function option(value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}

function nameOf({ label, address }) {
  const short = `${address.slice(0, 14)}…${address.slice(-6)}`;
  return label ? `${label} (${short})` : short;
}

async function connect() {
  say("Connecting…");
  pxe = new Pxe({ url: $("url").value, token: $("token").value });
  const [rights, found, registered] = [await pxe.capabilities(), await pxe.accounts(), await pxe.contracts()];
  $("token").value = "";
  accounts = found;
  contracts = registered.filter(({ functions }) => functions.includes("transfer"));
  $("from").replaceChildren(...accounts.map((account) => option(account.address, nameOf(account))));
  const asset = rights.asset ? [option("", "the built-in asset")] : [];
  const tokens = contracts.map(({ name, address }) => option(address, `${name} ${address.slice(0, 10)}…`));
  $("contract").replaceChildren(...asset, ...tokens);
  await refresh(rights);
  document.body.dataset.state = "live";
  $("entry").hidden = true;
  $("accounts").hidden = false;
  $("pay").hidden = rights.rights !== "spend" || accounts.length === 0;
  say(accounts.length === 0 ? "This token gives access to no account." : "Connected.");
  $("accounts-title").tabIndex = -1;
  $("accounts-title").focus();
}

async function refresh(given) {
  const { asset } = given ?? (await pxe.capabilities());
  const rows = [];
  for (const account of accounts) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = nameOf(account);
    head.title = account.address;
    row.append(head);
    const balance = asset ? await account.balance() : null;
    const shown = balance && [balance.proven, balance.pending + balance.unverified, balance.locked, balance.public];
    for (const amount of shown ?? ["–", "–", "–", "–"]) {
      const cell = document.createElement("td");
      cell.textContent = amount.toLocaleString("en");
      row.append(cell);
    }
    rows.push(row);
  }
  $("rows").replaceChildren(...rows);
}

/** Shows what the transfer would cost. Nothing is sent. */
async function quote() {
  const account = accounts.find(({ address }) => address === $("from").value);
  const [to, contract, text] = [$("to").value.trim(), $("contract").value, $("amount").value.trim()];
  if (!/^\d{1,20}$/.test(text)) {
    say("Enter the amount as a whole number of units.");
    return;
  }
  // The service reads any number as an address, also one with a sign.
  if (contract !== "" && !ADDRESS.test(to)) {
    say("Enter the address of the recipient's contract: 0x and 64 hexadecimal digits in lower case.");
    return;
  }
  const amount = BigInt(text);
  const asked = changes;
  say("Asking for the fee…");
  $("stages").hidden = true;
  let quoted;
  if (contract === "") {
    const payment = { to, amount, spendPending: $("pending").checked };
    const { fee, feeMax } = await account.simulateTransfer(payment);
    quoted = { fee, feeMax, what: "", send: (idempotencyKey) => account.transfer({ ...payment, idempotencyKey }) };
  } else {
    const call = { contract, function: "transfer", args: { to, amount } };
    const { fee, feeMax } = await account.simulateCall(call);
    const send = (idempotencyKey) => account.call({ ...call, idempotencyKey });
    quoted = { fee, feeMax, what: " of the token", send };
  }
  if (asked !== changes) {
    say("The transfer was changed meanwhile. Ask for its fee again.");
    return;
  }
  order = quoted;
  // One key for the order, so that a second press of the button never pays twice.
  order.key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  const [shown, fee, most] = [amount, order.fee, order.feeMax].map((n) => n.toLocaleString("en"));
  $("quote").textContent =
    `Send ${shown} units${order.what} to ${to}? The fee is ${fee} units now, and ${most} at most.`;
  $("confirm").hidden = false;
  say("");
  $("send").focus();
}

function stage(text) {
  const item = document.createElement("li");
  item.textContent = text;
  $("stages").append(item);
  say(text);
}

async function send() {
  $("stages").replaceChildren();
  $("stages").hidden = false;
  stage("The service makes the proof and sends the transfer…");
  lock(true);
  let sent;
  try {
    sent = await order.send(order.key);
  } catch (error) {
    order.inDoubt = error.mayHaveBeenSent === true;
    throw error;
  } finally {
    lock(false);
  }
  forget();
  stage(`Sent: ${sent.hash}`);
  for (const [name, text] of STAGES) {
    const { block } = await sent.wait({ stage: name, timeoutMs: WAIT_MS });
    stage(`Block ${block}: ${text}.`);
  }
  await refresh();
}

/** While an order is sent nothing may replace it, or say that it was not sent: its key makes it one payment. */
function lock(isLocked) {
  for (const field of [...$("order").elements, $("cancel")]) {
    field.disabled = isLocked;
  }
}

function forget() {
  changes += 1;
  order = null;
  $("confirm").hidden = true;
}

$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter ?? $("entry").querySelector("button"), connect);
});
$("refresh").addEventListener("click", () => busy($("refresh"), () => refresh()));
$("order").addEventListener("submit", (event) => {
  event.preventDefault();
  forget();
  busy(event.submitter ?? $("order").querySelector("button"), quote);
});
// What was confirmed is what was shown.
$("order").addEventListener("input", forget);
$("send").addEventListener("click", () => busy($("send"), send));
$("cancel").addEventListener("click", () => {
  const inDoubt = order?.inDoubt === true;
  forget();
  say(inDoubt ? "The transfer may have been sent. Look at the balances." : "Nothing was sent.");
  $("amount").focus();
});
