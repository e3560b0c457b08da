// What @aztec/foundation 5.2.0 imports of @aztec/bb.js 5.2.0, which is not on npm. No proof is made here, so all but
// random bytes fails when it is used.
import { randomBytes as bytes } from 'node:crypto';

const absent = name =>
  new Proxy(class {}, {
    get(_, member) {
      throw new Error(`${name}.${String(member)}: @aztec/bb.js 5.2.0 is not on npm`);
    },
  });

export const randomBytes = bytes;
export const Barretenberg = absent('Barretenberg');
export const BarretenbergSync = absent('BarretenbergSync');
export const BN254_G1_GENERATOR = { x: new Uint8Array(32), y: new Uint8Array(32) };
export const BN254_G2_GENERATOR = {
  x: [new Uint8Array(32), new Uint8Array(32)],
  y: [new Uint8Array(32), new Uint8Array(32)],
};
