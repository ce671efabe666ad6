import assert from "node:assert/strict";
import { test } from "node:test";
import { createEndpoint } from "@alknet/core/endpoint";
import { createIdentity } from "@alknet/core/identity-file";
import { MemoryDatabase } from "@alknet/core/memory-store";
import type { PeerEntry } from "@alknet/core/peers";
import { connectionPair } from "@alknet/core/testing";
import { staticIdentities } from "@alknet/core/static-identities";
import { z } from "zod";
import { fails } from "./test-fixture.ts";
import { CALL_ALPN, callHandler, type CallHandlerOptions } from "./call-handler.ts";
import { createCallPeers } from "./call-peers.ts";
import { callSession } from "./call-session.ts";
import { createDispatch } from "./dispatch.ts";
import { type AnyOperation, operation } from "./operation.ts";
import { createRegistry } from "./registry.ts";
import type { CallSession } from "./session.ts";

const nothing = z.object({});

/** A node with a store of identities, and a peer `alice` that has dialed it. */
async function realNode(transport: "quic" | "tcp", options: CallHandlerOptions, scopes: string[]) {
  const stack = new AsyncDisposableStack();
  const [den, laptop] = [createIdentity(), createIdentity()];
  const store = stack.use(await new MemoryDatabase().open());
  const { fingerprint } = laptop;
  const alice: PeerEntry = { peerId: "alice", fingerprints: [fingerprint], scopes, enabled: true };
  await store.putPeer(alice);
  const node = stack.use(
    await createEndpoint({
      identity: den,
      identities: store,
      handlers: [callHandler(options)],
      listen: ["127.0.0.1:0"],
    }),
  );
  const dialing = { identity: laptop, transports: [transport] as const };
  const target = `${den.fingerprint}@127.0.0.1:${node.addresses[0]!.port}`;
  const client = callSession(await node.dialer.dial(target, CALL_ALPN, dialing));
  stack.use(client);
  return { store, alice, client, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A query and a subscription that tell when they run, and when they have been stopped. */
function endless() {
  const started = { call: Promise.withResolvers<void>(), items: Promise.withResolvers<void>() };
  const stopped = { call: Promise.withResolvers<string>(), items: Promise.withResolvers<void>() };
  const wait = operation({
    name: "a/wait",
    type: "query",
    input: nothing,
    output: z.null(),
    handler: (_, { signal }) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          stopped.call.resolve((signal.reason as Error).message);
          reject(signal.reason as Error);
        });
        started.call.resolve();
      }),
  });
  const items = operation({
    name: "a/items",
    type: "subscription",
    input: nothing,
    output: z.number(),
    async *handler(_, { signal }) {
      try {
        started.items.resolve();
        yield 1;
        await new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason as Error));
        });
      } finally {
        stopped.items.resolve();
      }
    },
  });
  const ping = operation({
    name: "b/ping",
    type: "query",
    input: nothing,
    output: z.string(),
    handler: () => "pong",
  });
  return { registry: createRegistry([wait, items, ping]), started, stopped };
}

for (const transport of ["quic", "tcp"] as const) {
  test(`a scope that a store takes back ends calls and subscriptions under way, over ${transport}`, async () => {
    const { registry, started, stopped } = endless();
    const scopes = ["call:invoke:a/*", "call:invoke:b/*"];
    await using node = await realNode(transport, { registry }, scopes);
    const call = fails(node.client.call("a/wait", {}));
    const items = node.client.subscribe("a/items", {});
    assert.deepEqual(await items.next(), { done: false, value: 1 });
    const ended = fails(items.next());
    await started.call.promise;
    await node.store.putPeer({ ...node.alice, scopes: ["call:invoke:b/*"] });
    const text = 'access revoked: peer "alice" no longer has call:invoke';
    for (const { code, message } of await Promise.all([call, ended])) {
      assert.deepEqual([code, message], ["FORBIDDEN", text]);
    }
    assert.equal(await stopped.call.promise, text);
    await stopped.items.promise;
    // The connection goes on, with what is left.
    assert.equal(await node.client.call("b/ping", {}), "pong");
    assert.equal((await fails(node.client.call("a/wait", {}))).code, "FORBIDDEN");
  });

  test(`a peer that a store removes loses the connection, and its handlers stop, over ${transport}`, async () => {
    const { registry, started, stopped } = endless();
    await using node = await realNode(transport, { registry }, ["call:invoke"]);
    const call = fails(node.client.call("a/wait", {}));
    await started.call.promise;
    await node.store.removePeer("alice");
    const { code, message } = await call;
    assert.deepEqual([code, message], ["INTERNAL", "connection closed"]);
    await stopped.call.promise;
    const reason = await node.client.closed;
    if (transport === "quic") assert.equal(reason.name, "REVOKED");
  });
}

test("callHandler() lets in who is known, and whoever proves a key where strangers are welcome", () => {
  const registry = createRegistry([]);
  const { access, alpns, tls } = callHandler({ registry });
  assert.deepEqual([access, alpns, tls], ["peers", ["alknet/call"], "node"]);
  assert.equal(callHandler({ registry, strangers: true }).access, "keyed");
});

/** One connection to a handler in memory, as the peer `id` that answers `operations`. */
function connect(options: CallHandlerOptions, id: string, operations: readonly AnyOperation[]) {
  const fingerprint = `ed25519:${"1".repeat(64)}`;
  const known = (peerId: string) =>
    staticIdentities([
      { peerId, fingerprints: [fingerprint], scopes: ["call:invoke"], enabled: true },
    ]);
  const pair = connectionPair({
    alpn: CALL_ALPN,
    auth: {
      server: { identities: known(id), fingerprint },
      client: { identities: known("hub"), fingerprint },
    },
  });
  const served = callHandler(options).handle(pair.server);
  const dispatch = createDispatch({ registry: createRegistry(operations) });
  const client: CallSession = callSession(pair.client, { dispatch });
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client.close();
      await served;
    },
  };
}

test("callHandler() imports what a peer brings when it connects, from those it was told to, and anew each time", async () => {
  const peers = createCallPeers();
  const attached: string[] = [];
  let changed = Promise.withResolvers<void>();
  const watched: typeof peers = {
    ...peers,
    async attach(peer, session, options) {
      await peers.attach(peer, session, options);
      attached.push(peer);
      changed.resolve();
    },
  };
  const run = (answer: string) =>
    operation({
      name: "jobs/run",
      type: "query",
      input: nothing,
      output: z.string(),
      handler: () => answer,
    });
  const options: CallHandlerOptions = {
    registry: createRegistry([]),
    peers: watched,
    imports: ({ id }) => (id === "den" ? { expose: true } : undefined),
  };
  await using alice = connect(options, "alice", [run("alice")]);
  assert.equal((await fails(alice.client.call("jobs/run", {}))).code, "NOT_FOUND");
  for (const answer of ["first", "second"]) {
    changed = Promise.withResolvers();
    await using _den = connect(options, "den", [run(answer)]);
    await changed.promise;
    assert.equal(await alice.client.call("jobs/run", {}), answer);
  }
  assert.equal((await fails(alice.client.call("jobs/run", {}))).code, "NOT_FOUND");
  assert.deepEqual(attached, ["den", "den"]);
});

test("callHandler() goes on with a peer whose operations it cannot take", async () => {
  const warned = Promise.withResolvers<string>();
  const quiet = { debug() {}, info() {}, error() {} };
  const logger = { ...quiet, warn: (_: object, message: string) => warned.resolve(message) };
  const broken = operation({
    name: "services/list",
    type: "query",
    input: z.unknown(),
    output: z.unknown(),
    handler: () => "nonsense",
  });
  const registry = createRegistry([]);
  const options = { registry, logger, peers: createCallPeers(), imports: () => ({}) };
  await using den = connect(options, "den", [broken]);
  assert.equal(await warned.promise, "operations of a peer not imported");
  assert.deepEqual(await den.client.call("services/list-peers", {}), {
    peers: [{ peer_id: "local", operations: [] }],
  });
});
