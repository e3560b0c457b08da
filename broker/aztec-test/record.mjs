// Records what Aztec's clients send, byte for byte, for broker/tests/aztec_wire.rs:
// `node record.mjs VERSION > ../tests/aztec/VERSION.json`. A stub answers each call with null or a status, so that the
// facade, the agent and each method of the client send what they send. Run it again after a new version is pinned.
import { createServer } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { load, prover } from './package.mjs';

const [version] = process.argv.slice(2);
const recorded = [];
const answers = {
  enqueueProvingJob: { status: 'not-found' },
  getProvingJobStatus: { status: 'in-queue' },
  getCompletedJobs: [],
};
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const raw = Buffer.concat(chunks);
  const gzip = request.headers['content-encoding'] === 'gzip';
  const body = (gzip ? gunzipSync(raw) : raw).toString('utf8');
  const headers = Object.fromEntries(
    ['content-type', 'accept-encoding', 'content-encoding']
      .filter(name => request.headers[name])
      .map(name => [name, request.headers[name]]),
  );
  recorded.push({ path: request.url, headers, body });
  const calls = JSON.parse(body);
  response.setHeader('content-type', 'application/json');
  response.end(
    JSON.stringify(
      calls.map(({ id, method }) => ({ jsonrpc: '2.0', id, result: answers[method.split('_')[1]] ?? null })),
    ),
  );
}).listen(0, '127.0.0.1', async () => {
  const aztec = await load(version);
  const url = `http://127.0.0.1:${server.address().port}${version === 'v4' ? '' : '/aztec/rm_token'}`;
  const client = aztec.client(url);
  const facade = aztec.facade(client, 60_000);
  facade.getBaseParityProof(aztec.work.input(1), undefined, 5).catch(() => {});
  while (recorded.length === 0) await new Promise(resolve => setTimeout(resolve, 5));
  const { id } = JSON.parse(recorded[0].body)[0].params[0];
  const uri = 'data:application/json;charset=utf-8,%7B%22type%22%3A16%2C%22result%22%3A%22AQ%3D%3D%22%7D';
  for (const call of [
    () => client.getProvingJob({ allowList: [] }),
    () => client.getProvingJob({ allowList: [16, 0] }),
    () => client.getProvingJob(),
    () => client.reportProvingJobProgress(id, 1700000000001, { allowList: [] }),
    () => client.reportProvingJobError(id, 'Failed to load proof inputs', true, { allowList: [] }),
    () => client.reportProvingJobError(id, 'no'),
    () => client.reportProvingJobSuccess(id, uri, { allowList: [] }),
    () => client.getProvingJobStatus(id),
    () => client.getCompletedJobs([]),
    () => client.getCompletedJobs([id]),
    () => client.cancelProvingJob(id),
    () => Promise.all([client.getCompletedJobs([]), client.getProvingJobStatus(id)]),
  ]) {
    await call();
  }
  process.stdout.write(`${JSON.stringify(recorded, undefined, 1)}\n`, () => process.exit(0));
});
