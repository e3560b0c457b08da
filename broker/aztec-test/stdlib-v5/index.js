// What the facade, the agent and the client of @aztec/prover-client 5.2.0 need of @aztec/stdlib 5.2.0, which is not
// on npm: the numbers of the types, the schemas of the wire, an error. The classes of inputs and proofs are left
// out; inputs and results here are whatever JSON holds.
import { z } from 'zod';

export const ProvingRequestType = {};
[
  'PUBLIC_VM',
  'PUBLIC_CHONK_VERIFIER',
  'PRIVATE_TX_BASE_ROLLUP',
  'PUBLIC_TX_BASE_ROLLUP',
  'TX_MERGE_ROLLUP',
  'BLOCK_ROOT_FIRST_ROLLUP',
  'BLOCK_ROOT_SINGLE_TX_FIRST_ROLLUP',
  'BLOCK_ROOT_EMPTY_TX_FIRST_ROLLUP',
  'BLOCK_ROOT_ROLLUP',
  'BLOCK_ROOT_SINGLE_TX_ROLLUP',
  'BLOCK_MERGE_ROLLUP',
  'CHECKPOINT_ROOT_ROLLUP',
  'CHECKPOINT_ROOT_SINGLE_BLOCK_ROLLUP',
  'CHECKPOINT_PADDING_ROLLUP',
  'CHECKPOINT_MERGE_ROLLUP',
  'ROOT_ROLLUP',
  'PARITY_BASE',
  'PARITY_ROOT',
].forEach((name, number) => {
  ProvingRequestType[name] = number;
  ProvingRequestType[number] = name;
});

export class ProvingError extends Error {
  static NAME = 'ProvingError';
  name = ProvingError.NAME;

  constructor(message, cause, retry = false) {
    super(message, { cause });
    this.retry = retry;
  }
}

const type = z.nativeEnum(ProvingRequestType);
export const ProvingJobId = z.string();
export const ProofUri = z.string();
export const ProvingJob = z.object({
  id: ProvingJobId,
  type,
  epochNumber: z.number().int(),
  inputsUri: ProofUri,
});
export const ProvingJobStatus = z.discriminatedUnion('status', [
  z.object({ status: z.literal('in-queue') }),
  z.object({ status: z.literal('in-progress') }),
  z.object({ status: z.literal('not-found') }),
  z.object({ status: z.literal('fulfilled'), value: ProofUri }),
  z.object({ status: z.literal('rejected'), reason: z.string() }),
  z.object({ status: z.literal('aborted') }),
]);
export const ProvingJobInputs = z.object({ type, inputs: z.any() });
export const ProvingJobResult = z.object({ type, result: z.any() });
export const makeProvingJobId = (epoch, number, hash) => `${epoch}:${ProvingRequestType[number]}:${hash}`;
export const optional = schema => schema.nullish().transform(value => value ?? undefined);
export const getVersioningResponseHandler = () => () => Promise.resolve();

// Loaded with the stores of proofs in files and buckets, and not used here.
export const getProvingJobInputClassFor = () => {
  throw new Error('@aztec/stdlib 5.2.0 is not on npm');
};
export const createFileStore = getProvingJobInputClassFor;
export const createReadOnlyFileStore = getProvingJobInputClassFor;
