// A wallet service that answers as a test says, and keeps what it was asked.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { inspect } from "node:util";

import { Pxe, PxeError } from "../index.js";

export const TOKEN = "a-token-of-the-tests";

/**
 * Serves until `close`. `answer(method, params, count)` returns `{ result }`, `{ error }`, `{ status, body }` for a
 * response written by hand, `"hang"` for none, or `"break"` for a connection that breaks.
 */
export async function serve(answer) {
  const requests = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const { id, jsonrpc, method, params } = JSON.parse(body);
      requests.push({ method, params, jsonrpc, headers: request.headers, http: request.method });
      const send = (status, text) => {
        response.writeHead(status, { "content-type": "application/json", connection: "close" });
        response.end(text);
      };
      if (request.headers.authorization !== `Bearer ${TOKEN}`) {
        const error = { code: -32001, message: "PXE-036: no token", data: { code: "PXE-036" } };
        return send(401, JSON.stringify({ jsonrpc: "2.0", id: null, error }));
      }
      const answered = answer(method, params, requests.length);
      if (answered === "hang") {
        return undefined;
      }
      if (answered === "break") {
        return request.socket.destroy();
      }
      if ("body" in answered) {
        return send(answered.status, answered.body);
      }
      return send(answered.status ?? 200, JSON.stringify({ jsonrpc: "2.0", id, ...answered }));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections?.();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, requests, close };
}

/** An error of the service. */
export function rejected(code, number = -32000) {
  return { error: { code: number, message: `${code}: why`, data: { code } } };
}

/** Runs `work` with a client of a service that answers so. */
export async function using(answer, work, options = {}) {
  const service = await serve(answer);
  try {
    return await work(new Pxe({ url: service.url, token: TOKEN, retryMs: 1, ...options }), service);
  } finally {
    await service.close();
  }
}

/** The error with which `promise` fails. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof PxeError, inspect(error));
    return error;
  }
  return assert.fail("it did not fail");
}
