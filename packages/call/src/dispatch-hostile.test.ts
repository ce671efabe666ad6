import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { staticIdentities } from "@alknet/core/static-identities";
import { connectionPair } from "@alknet/core/testing";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { z } from "zod";
import type { CallError } from "./call-error.ts";
import { CALLER_KEY, callPair } from "./test-fixture.ts";
import { callSession } from "./call-session.ts";
import { createDispatch } from "./dispatch.ts";
import { type AnyOperation, operation } from "./operation.ts";
import { createRegistry } from "./registry.ts";

/** What cannot even be asked whether it is a promise. */
const trap = {
  // oxlint-disable-next-line unicorn/no-thenable -- that is the point.
  get then(): unknown {
    throw new Error("a trap");
  },
};

const any = { input: z.unknown(), output: z.unknown() };

async function codeOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    (output) => assert.fail(`it gave ${JSON.stringify(output)}`),
    (error: unknown) => (error as CallError).code,
  );
}

test("the resource that a schema makes of an input is checked as the one that was shown", async () => {
  const access = { resourceType: "container", resourceId: "$.id" } as const;
  const ids: Readonly<Record<string, z.ZodType<{ id: string }>>> = {
    "a/default": z.object({ id: z.string().default("db") }),
    "a/coerced": z.object({ id: z.coerce.string() }),
    "a/lower": z.object({ id: z.string().toLowerCase() }),
  };
  const operations = Object.entries(ids).map(([name, input]): AnyOperation =>
    operation({ name, type: "query", input, output: z.string(), access, handler: ({ id }) => id }),
  );
  await using pair = callPair({ operations, resources: { container: ["web", "DB"] } });
  const { client } = pair;
  assert.equal(await client.call("a/default", { id: "web" }), "web");
  assert.equal(await client.call("a/coerced", { id: ["web"] }), "web");
  assert.equal(await client.call("a/lower", { id: "web" }), "web");
  assert.equal(await codeOf(client.call("a/default", {})), "FORBIDDEN");
  assert.equal(await codeOf(client.call("a/coerced", { id: ["db"] })), "FORBIDDEN");
  assert.equal(await codeOf(client.call("a/lower", { id: "DB" })), "FORBIDDEN");
});

test("a right to what a schema made of the input is held, and given back", async () => {
  const started = Promise.withResolvers<void>();
  const wait = operation({
    name: "a/wait",
    type: "query",
    input: z.object({ id: z.string().default("db") }),
    output: z.unknown(),
    access: { resourceType: "container", resourceId: "$.id" },
    handler: async (_, { signal }) => {
      started.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  await using pair = callPair({ operations: [wait], resources: { container: ["web", "db"] } });
  const call = codeOf(pair.client.call("a/wait", {}));
  await started.promise;
  pair.permit(["call:invoke"], { container: ["web"] });
  assert.equal(await call, "FORBIDDEN");
});

test("an id of any length is not told back in full", async () => {
  const access = { resourceType: "container", resourceId: "$.id" } as const;
  const stop = operation({ name: "a/stop", type: "query", ...any, access, handler: () => 1 });
  await using pair = callPair({ operations: [stop] });
  const error = await pair.client
    .call("a/stop", { id: "\0".repeat(100_000) })
    .catch((it: unknown) => it as CallError);
  assert.ok((error as CallError).message.length < 500);
});

test("a handler that has begun two calls and awaits one does not end the process when it is cancelled", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  const started = Promise.withResolvers<void>();
  const operations = [
    operation({
      name: "a/wait",
      type: "query",
      ...any,
      handler: () => new Promise<unknown>(() => {}),
    }),
    operation({
      name: "a/both",
      type: "query",
      ...any,
      composes: { operations: ["a/*"] },
      async handler(_, { env }) {
        const [one, two] = [env.invoke("a/wait", {}), env.invoke("a/wait", {})];
        void env.invokePeer("nobody", "a/wait", {});
        started.resolve();
        await one;
        await two;
      },
    }),
  ];
  const pair = callPair({ operations });
  const controller = new AbortController();
  const call = pair.client.call("a/both", {}, { signal: controller.signal });
  await started.promise;
  controller.abort();
  await assert.rejects(call, { name: "AbortError" });
  for (let turn = 0; turn < 5; turn++) await setImmediate();
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
  void pair.server.close();
});

test("outputs and iterators that throw when they are looked at fail their call alone, and hold nothing", async () => {
  const items = { [Symbol.asyncIterator]: () => ({ next: () => assert.fail("a trap") }) };
  const late = { toJSON: () => assert.fail("a trap") };
  const operations = [
    operation({ name: "a/then", type: "query", ...any, handler: () => trap }),
    operation({ name: "a/json", type: "query", ...any, handler: () => late }),
    operation({ name: "a/items", type: "subscription", ...any, handler: () => items }),
  ];
  await using pair = callPair({ operations, multiplexed: false });
  assert.equal(await codeOf(pair.client.call("a/then", {})), "INTERNAL");
  assert.equal(await codeOf(pair.client.call("a/json", {})), "INTERNAL");
  assert.equal(await codeOf(pair.client.subscribe("a/items", {}).next()), "INTERNAL");
  const none = pair.identities.peers.map((it) => ({ ...it, scopes: [] }));
  assert.deepEqual(pair.identities.replace(none), { connections: 0, grants: 0 });
  assert.equal(pair.server.stats().running, 0);
});

test("a dispatch that answers with a trap, or settles twice, fails that call alone", async () => {
  const pair = connectionPair({ alpn: "alknet/call", multiplexed: false });
  const twice = {
    // oxlint-disable-next-line unicorn/no-thenable -- that is the point.
    then(resolve: (it: unknown) => void, reject: (it: unknown) => void) {
      resolve(1);
      reject(new Error("again"));
      throw new Error("and again");
    },
  };
  await using server = callSession(pair.server, {
    dispatch: ({ operation: name }) => (name === "trap" ? trap : twice),
  });
  await using client = callSession(pair.client);
  assert.equal(await codeOf(client.call("trap", {})), "INTERNAL");
  assert.equal(await client.call("twice", {}), 1);
  assert.equal(server.stats().running, 0);
});

test("a schema that answers with what is no promise of ours is waited for", async () => {
  const input = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: () => ({
        // oxlint-disable-next-line unicorn/no-thenable -- that is the point.
        then: (resolve: (it: unknown) => void) => resolve({ issues: [{ message: "no" }] }),
      }),
    },
  } as unknown as StandardSchemaV1;
  const strict = operation({
    name: "a/strict",
    type: "query",
    input,
    output: z.unknown(),
    handler: () => 1,
  });
  await using pair = callPair({ operations: [strict] });
  assert.equal(await codeOf(pair.client.call("a/strict", {})), "INVALID_INPUT");
});

test("a listener of a call that was aborted before fails alone", async () => {
  const pair = connectionPair({ alpn: "alknet/call" });
  const told = Promise.withResolvers<void>();
  const quiet = { debug() {}, info() {}, warn() {} };
  const error = (_: object, text: string): void => {
    if (text === "a listener of an aborted call failed") told.resolve();
  };
  await using _server = callSession(pair.server, {
    logger: { ...quiet, error },
    dispatch(call) {
      call.onabort(() => call.onabort(() => assert.fail("a trap")));
      call.fail(new Error("over"));
      return 1;
    },
  });
  await using client = callSession(pair.client);
  assert.equal(await codeOf(client.call("a", {})), "INTERNAL");
  await told.promise;
});

test("tokens: none that is empty or endless is looked up, and too many on one connection are LIMIT", async () => {
  const tokens = Array.from({ length: 70 }, (_, i) => `token ${i}`);
  const hash = (text: string): string =>
    `sha256:${createHash("sha256").update(text).digest("hex")}`;
  const identities = staticIdentities([
    { peerId: "alice", fingerprints: [CALLER_KEY], scopes: [], enabled: true },
    ...tokens.map((token, i) => ({
      peerId: `robot${i}`,
      fingerprints: [],
      scopes: ["call:invoke"],
      enabled: true,
      tokenHash: hash(token),
    })),
  ]);
  const pair = connectionPair({
    alpn: "alknet/call",
    auth: { server: { identities, fingerprint: CALLER_KEY } },
  });
  const who = operation({
    name: "a/who",
    type: "query",
    ...any,
    handler: (_, { caller }) => caller?.id,
  });
  await using _server = callSession(pair.server, {
    dispatch: createDispatch({ registry: createRegistry([who]) }),
  });
  await using client = callSession(pair.client);
  for (const authToken of ["", "x".repeat(100_000)]) {
    assert.equal(await codeOf(client.call("a/who", {}, { authToken })), "FORBIDDEN");
  }
  let refused = 0;
  for (const [at, authToken] of tokens.entries()) {
    const answer = await client.call("a/who", {}, { authToken }).catch((error: unknown) => error);
    if (answer === `robot${at}`) continue;
    refused++;
    const { code, retryable } = answer as CallError;
    assert.deepEqual([code, retryable], ["LIMIT", false]);
  }
  assert.equal(refused, 6);
});
