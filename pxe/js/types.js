#!/usr/bin/env node
// Prints types for the methods of a contract:
//
//   rollmill-js-types token.json > token.d.ts

import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { readArtifact } from "./contract.js";
import { PxeError } from "./errors.js";

/** What a name of TypeScript may be without quotes. */
const NAME = /^[A-Za-z_$][A-Za-z0-9_$]*$/;

/** The module of types for an artifact. */
export function typesOf(artifact) {
  const { name, functions } = readArtifact(artifact);
  const known = name.replace(/[^A-Za-z0-9_$]/g, "_").replace(/^(?=[0-9])/, "_");
  const lines = [
    `// Types of the contract ${known}, written by rollmill-js-types. Do not edit.`,
    "",
    'import type { Contract, FieldLike, Interaction } from "rollmill-pxe-client";',
    "",
    `export interface ${known}Methods {`,
  ];
  for (const [method, parameters] of functions) {
    const inOrder = parameters.map((parameter, i) => `${label(parameter.name, i)}: ${typeOf(parameter.type)}`);
    const named = parameters.map((parameter) => `${member(parameter.name)}: ${typeOf(parameter.type)}`);
    lines.push(`  ${member(method)}(${inOrder.join(", ")}): Interaction;`);
    if (parameters.length > 0) {
      lines.push(`  ${member(method)}(named: { ${named.join("; ")} }): Interaction;`);
    }
  }
  lines.push("}", "", `export type ${known}Contract = Contract<${known}Methods>;`, "");
  return lines.join("\n");
}

function member(name) {
  return NAME.test(name) ? name : JSON.stringify(name);
}

/** The name of a parameter in a list, where words of the language are no names. */
function label(name, i) {
  return NAME.test(name) ? `${name}_` : `argument${i}`;
}

function typeOf(type) {
  switch (type?.kind) {
    case "field":
      return "FieldLike";
    case "integer":
      return "bigint";
    case "boolean":
      return "boolean";
    case "string":
      return "string";
    case "array":
      return `Array<${typeOf(type.type)}>`;
    case "tuple":
      return `[${type.fields.map(typeOf).join(", ")}]`;
    case "struct":
      return `{ ${type.fields.map((one) => `${member(one.name)}: ${typeOf(one.type)}`).join("; ")} }`;
    default:
      return "never";
  }
}

async function main() {
  const [file, ...rest] = process.argv.slice(2);
  if (!file || file.startsWith("-") || rest.length > 0) {
    console.error("usage: rollmill-js-types ARTIFACT.json > TYPES.d.ts");
    return 2;
  }
  try {
    process.stdout.write(typesOf(await readFile(file, "utf8")));
    return 0;
  } catch (error) {
    const isOurs = error instanceof PxeError;
    console.error(isOurs ? error.message : `cannot read ${file}: ${error.code ?? "unknown error"}; check the path`);
    return 1;
  }
}

// npm runs it by a link.
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main();
}
