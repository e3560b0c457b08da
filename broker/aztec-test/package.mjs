// Loads Aztec's packages as they are installed, and makes work for them: inputs that are told apart, and a circuit
// prover that makes a result which shows the input it was made of.
import { createHash } from 'node:crypto';

/** The facade, the agent and the client of `version` (v4 or v5), made as Aztec's own programs make them. */
export async function load(version) {
  const root = new URL(`./${version}/node_modules/@aztec/`, import.meta.url);
  const at = path => import(new URL(path, root).href);
  const broker = 'prover-client/dest/proving_broker';
  const [rpc, facade, agent, store, telemetry, undici] = await Promise.all([
    at(`${broker}/rpc.js`),
    at(`${broker}/broker_prover_facade.js`),
    at(`${broker}/proving_agent.js`),
    at(`${broker}/proof_store/inline_proof_store.js`),
    at('telemetry-client/dest/wrappers/fetch.js'),
    at('foundation/dest/json-rpc/client/undici.js'),
  ]);
  const backoff = rpc.proverBrokerBackoff ?? [1, 2, 3];
  const client = url => {
    const fetch = telemetry.makeTracedFetch(
      backoff,
      false,
      undici.makeUndiciFetch(new undici.Agent({ connections: 10 })),
    );
    return rpc.createProvingJobBrokerClient(url, {}, fetch);
  };
  const proofStore = new store.InlineProofStore();
  return {
    client,
    facade: (broker, pollMs) => new facade.BrokerCircuitProverFacade(broker, proofStore, undefined, pollMs),
    agent: (broker, prover, pollMs) => new agent.ProvingAgent(broker, proofStore, prover, [], pollMs),
    work: version === 'v4' ? await realWork(at) : plainWork(),
  };
}

/** Version 4: inputs and proofs of Aztec's own classes. */
async function realWork(at) {
  const [parity, proofs, keys, fields, constants] = await Promise.all([
    at('stdlib/dest/parity/index.js'),
    at('stdlib/dest/proofs/index.js'),
    at('stdlib/dest/vks/index.js'),
    at('foundation/dest/curves/bn254/index.js'),
    at('constants/dest/constants.gen.js'),
  ]);
  const { Fr } = fields;
  return {
    input: seed =>
      new parity.ParityBasePrivateInputs(
        Array.from({ length: constants.NUM_MSGS_PER_BASE_PARITY }, (_, n) => new Fr(BigInt(seed * 1000 + n))),
        new Fr(7n),
      ),
    prove: (inputs, epoch) => ({
      inputs: new parity.ParityPublicInputs(inputs.msgs[1], new Fr(BigInt(epoch)), inputs.vkTreeRoot),
      proof: proofs.makeRecursiveProof(constants.RECURSIVE_PROOF_LENGTH),
      verificationKey: keys.VerificationKeyData.makeFakeHonk(),
    }),
    isRight: (seed, result) => result.inputs.shaRoot.toBigInt() === BigInt(seed * 1000 + 1),
  };
}

/** Version 5, of which npm lacks the classes: bytes, every tenth of 2 MB, so that they go to the object store. */
function plainWork() {
  const bytes = seed => {
    const size = seed % 10 === 0 ? 2_000_000 : 9_000;
    const block = createHash('sha512').update(String(seed)).digest();
    return Buffer.alloc(size, block);
  };
  const digest = text => createHash('sha256').update(text).digest('hex');
  return {
    input: seed => {
      const buffer = bytes(seed);
      return { toBuffer: () => buffer, toJSON: () => buffer.toString('base64') };
    },
    prove: inputs => ({ made: digest(inputs), proof: inputs }),
    isRight: (seed, result) => {
      const text = bytes(seed).toString('base64');
      return result.made === digest(text) && result.proof === text;
    },
  };
}

/** A circuit prover that needs `ms` for a proof and stops when it is told to. */
export const prover = (work, ms) => ({
  getBaseParityProof: (inputs, signal, epoch) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(work.prove(inputs, epoch)), ms);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(new Error('aborted'));
      });
    }),
});
