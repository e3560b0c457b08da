// Runs Aztec's facade and agent, versions 4 and 5, against Rollmill's broker: `node test.mjs BROKER [JOBS]`.
//
// Two tenants, one of each version, each with a producer of a hundred jobs and two agents. After 30 results of each
// tenant one of its agents is killed; after 60 the broker and its PostgreSQL are killed, and started again. Every
// result must arrive and be that of its own input. The test ends with status 1 otherwise, or after ten minutes.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [program, count = '100'] = process.argv.slice(2);
const jobs = Number(count);
if (!program || !Number.isInteger(jobs)) {
  console.error('usage: node test.mjs BROKER [JOBS]');
  process.exit(2);
}
const dir = mkdtempSync(join(tmpdir(), 'rollmill-aztec-'));
const data = join(dir, 'data');
const children = new Set();
const say = text => console.log(`aztec: ${text}`);

function cleanUp() {
  for (const child of children) child.kill('SIGKILL');
  // The private PostgreSQL notices that its broker is gone and ends.
  rmSync(dir, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
}

function fail(text) {
  console.error(`aztec: FAILED: ${text}`);
  cleanUp();
  process.exit(1);
}

setTimeout(() => fail('not done after ten minutes'), 600_000).unref();

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function token(label, role, tenant) {
  const made = spawnSync(program, ['--data-dir', data, 'tokens', 'add', label, role, tenant], { encoding: 'utf8' });
  if (made.status !== 0) fail(`tokens add: ${made.stderr}`);
  return made.stdout.trim().split(/\s+/).at(-1);
}

function start(command, args, onLine) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, LOG_LEVEL: 'error' } });
  children.add(child);
  child.on('exit', () => children.delete(child));
  createInterface({ input: child.stdout }).on('line', onLine ?? (() => {}));
  return child;
}

const worker = (args, onLine) => start(process.execPath, [new URL('./worker.mjs', import.meta.url).pathname, ...args], onLine);

const tenants = [
  { version: 'v4', results: new Set() },
  { version: 'v5', results: new Set() },
];
const [v4, v5] = tenants;
const rootToken = join(dir, 'root.token');
writeFileSync(rootToken, token('four', 'operator', 'four'), { mode: 0o600 });
const tokens = { producer: token('five-producer', 'producer', 'five'), agent: token('five-agent', 'agent', 'five') };
const port = await freePort();
const url = `http://127.0.0.1:${port}`;
// Programs of version 4 have no path in their URL.
v4.urls = { producer: url, agent: url };
v5.urls = { producer: `${url}/aztec/${tokens.producer}`, agent: `${url}/aztec/${tokens.agent}` };

const startBroker = () =>
  start(program, [
    '--data-dir', data, '--listen', `127.0.0.1:${port}`, '--lease-seconds', '5',
    '--disk-free-min-percent', '1', '--aztec-root-token', `file:${rootToken}`,
  ]);

let broker = startBroker();
let restarted = false;
const began = Date.now();

async function healthy() {
  for (;;) {
    const answer = await fetch(`${url}/status`).catch(() => undefined);
    if (answer?.ok) return;
    if (broker.exitCode !== null) fail(`the broker ended with status ${broker.exitCode}`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

async function restart() {
  restarted = true;
  broker.kill('SIGKILL');
  await once(broker, 'exit');
  say('the broker was killed');
  broker = startBroker();
  await healthy();
  say('the broker is back');
}

function onResult(tenant, line) {
  if (!line.startsWith('result ')) return;
  tenant.results.add(line);
  if (tenant.results.size === Math.ceil(jobs * 0.3)) {
    tenant.agents[0].kill('SIGKILL');
    say(`${tenant.version}: an agent was killed after ${tenant.results.size} results`);
  }
  if (!restarted && tenants.every(each => each.results.size >= Math.ceil(jobs * 0.6))) {
    restart().catch(error => fail(String(error)));
  }
}

await healthy();
const producers = tenants.map(tenant => {
  const { version, urls } = tenant;
  tenant.agents = [1, 2].map(() => worker(['agent', version, urls.agent]));
  return worker(['producer', version, urls.producer, String(jobs), '5'], line => onResult(tenant, line));
});
const ended = await Promise.all(producers.map(async child => (await once(child, 'exit'))[0]));
for (const [place, status] of ended.entries()) {
  const { version, results } = tenants[place];
  if (status !== 0) fail(`${version}: the producer ended with status ${status} after ${results.size} results`);
  if (results.size !== jobs) fail(`${version}: ${results.size} of ${jobs} results`);
}
if (!restarted) fail('the broker was not restarted');
say(`${jobs} jobs of each version done in ${((Date.now() - began) / 1000).toFixed(1)} s, each with its own result`);
cleanUp();
process.exit(0);
