// A process of Aztec's own code: `worker.mjs agent VERSION URL` or `worker.mjs producer VERSION URL JOBS EPOCH`. A
// producer prints a line for each result that arrived, and fails at the first wrong one.
import { load, prover } from './package.mjs';

const [role, version, url, jobs, epoch] = process.argv.slice(2);
const aztec = await load(version);
const broker = aztec.client(url);

if (role === 'agent') {
  aztec.agent(broker, prover(aztec.work, 300), 200).start();
  console.log('ready');
} else {
  const facade = aztec.facade(broker, 200);
  facade.start();
  await Promise.all(
    Array.from({ length: Number(jobs) }, async (_, seed) => {
      const result = await facade.getBaseParityProof(aztec.work.input(seed), undefined, Number(epoch));
      if (!aztec.work.isRight(seed, result)) {
        throw new Error(`the result of job ${seed} is not its own`);
      }
      console.log(`result ${seed}`);
    }),
  );
  await facade.stop();
  process.exit(0);
}
