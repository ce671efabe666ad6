import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { z } from "zod";
import { callPair, fails } from "./test-fixture.ts";
import { createCallPeers } from "./call-peers.ts";
import { fromCall } from "./from-call.ts";
import { type AnyOperation, operation, type OperationContext } from "./operation.ts";
import { withEventId } from "./output-stream.ts";
import type { ListedPeers } from "./services.ts";

const any = { input: z.unknown(), output: z.unknown() };

function query(
  name: string,
  handler: (input: unknown, context: OperationContext) => unknown,
  more: Partial<AnyOperation> = {},
): AnyOperation {
  return { ...operation({ name, type: "query", ...any, handler }), ...more };
}

/** A worker whose `jobs/run` says who it is, and for whom it takes the call to be. */
function worker(id: string): AnyOperation[] {
  return [
    query("jobs/run", (input, { caller, forwardedFor }) => ({
      by: id,
      input,
      caller: caller?.id,
      for: forwardedFor?.id,
    })),
    query(`${id}/only`, () => id),
  ];
}

/** A hub's operation that hands on what it is given. */
const compose = query("hub/run", (input, { env }) => env.invoke("jobs/run", input), {
  composes: { operations: ["jobs/*", { peer: "lab", operation: "**" }] },
});

test("fromCall() imports what the peer lets us call, under a prefix, those that are wanted", async () => {
  const operations = [
    ...worker("den"),
    query("a/internal", () => 1, { visibility: "internal" }),
    query("a/denied", () => 1, { access: { scopes: ["fs:read"] } }),
  ];
  await using pair = callPair({ operations });
  const names = async (options?: Parameters<typeof fromCall>[1]) =>
    (await fromCall(pair.client, options)).map((it) => it.operation.name);
  assert.deepEqual(await names(), ["jobs/run", "den/only"]);
  assert.deepEqual(await names({ prefix: "far", only: ["jobs/run", "nothing/here"] }), [
    "far/jobs/run",
  ]);
  const [imported] = await fromCall(pair.client);
  assert.deepEqual(
    [imported?.provenance, imported?.internal, imported?.authority.reaches("den/only")],
    ["from-call", true, false],
  );
});

test("fromCall() says why it cannot import", async () => {
  const answering = (list: unknown, schema: unknown = {}) => [
    query("services/list", () => list, { access: "anyone" }),
    query("services/schema", () => schema, { access: "anyone" }),
  ];
  const told = async (operations: AnyOperation[]) => {
    await using pair = callPair({ operations });
    return await fails(fromCall(pair.client));
  };
  const twice = { name: "a/b", namespace: "a", op_type: "query" };
  const schema = { ...twice, input_schema: {}, output_schema: {} };
  const list = { operations: [twice] };
  assert.equal((await told(answering({ operations: [twice, twice] }))).code, "SAME_PEER_COLLISION");
  assert.equal((await told(answering({}))).code, "SCHEMA_PARSE");
  assert.equal((await told(answering(list, { ...schema, op_type: "batch" }))).code, "SCHEMA_PARSE");
  const spaced = { operations: [{ ...twice, name: "a b/c" }] };
  assert.equal((await told(answering(spaced, schema))).code, "SCHEMA_PARSE");
  const many = Array.from({ length: 300 }, (_, at) => ({ ...twice, name: `a/b${at}` }));
  const large = { ...schema, input_schema: { title: "x".repeat(60_000) } };
  assert.equal((await told(answering({ operations: many }, large))).code, "SCHEMA_PARSE");
  const denied = [query("services/list", () => 1, { access: { scopes: ["fs:read"] } })];
  assert.equal((await told(denied)).code, "UNAUTHORIZED");
  await using pair = callPair();
  pair.server.connection.abort(0);
  assert.equal((await fails(fromCall(pair.client))).code, "TRANSPORT");
});

test("a hub's handler calls what its peers can do; they see whom it is for", async () => {
  const peers = createCallPeers();
  await using den = callPair({ operations: worker("den") });
  await peers.attach("den", den.client);
  await using hub = callPair({ operations: [compose], peers });
  // The caller of the worker is the hub (here by the name of alice), and the one it is for is the hub's caller.
  assert.deepEqual(await hub.client.call("hub/run", { frame: 1 }), {
    by: "den",
    input: { frame: 1 },
    caller: "alice",
    for: "alice",
  });
  assert.equal((await fails(hub.client.call("jobs/run", {}))).code, "NOT_FOUND");
});

test("what a caller claims to act for is not passed on: a hub tells whom it has seen itself", async () => {
  const peers = createCallPeers();
  await using den = callPair({ operations: worker("den") });
  await peers.attach("den", den.client);
  await using hub = callPair({ operations: [compose], peers });
  const forwardedFor = { id: "somebody else", scopes: ["*"], resources: {} };
  const answer = await hub.client.call("hub/run", {}, { forwardedFor });
  assert.equal((answer as { for: string }).for, "alice");
});

test("a peer's operations are called of that peer alone; of any, the first that came answers", async () => {
  const peers = createCallPeers();
  await using den = callPair({ operations: worker("den") });
  await using lab = callPair({ operations: worker("lab") });
  const byOf = (operationName: string) =>
    query(
      operationName,
      async (peer, { env }) => {
        const answer =
          peer === null
            ? await env.invoke("jobs/run", {})
            : await env.invokePeer(peer as string, "jobs/run", {});
        return (answer as { by: string }).by;
      },
      { composes: { operations: ["jobs/*"] } },
    );
  const pinned = query(
    "hub/pinned",
    (_, { env }) => [
      env.peerIds(),
      env.peerOperations("lab"),
      env.peerOperations("den"),
      env.contains("lab/only"),
      env.peerContains("lab", "lab/only"),
      env.peerContains("lab", "jobs/run"),
      env.peerContains("den", "den/only"),
    ],
    { composes: { operations: [{ peer: "lab", operation: "lab/*" }] } },
  );
  await using hub = callPair({ operations: [byOf("hub/by"), pinned], peers });
  await peers.attach("den", den.client);
  await peers.attach("lab", lab.client);
  const by = (peer: string | null) => hub.client.call("hub/by", peer);
  assert.deepEqual([await by(null), await by("den"), await by("lab")], ["den", "den", "lab"]);
  // A peer that is not there is not another.
  assert.deepEqual((await fails(by("far"))).details, { code: "NOT_FOUND" });
  assert.deepEqual(await hub.client.call("hub/pinned", null), [
    ["den", "lab"],
    ["lab/only"],
    [],
    false,
    true,
    false,
    false,
  ]);
});

test("a peer that calls is asked first itself", async () => {
  const peers = createCallPeers();
  await using den = callPair({ operations: worker("den") });
  await using hub = callPair({ operations: [compose], serves: worker("alice"), peers });
  await peers.attach("den", den.client);
  await peers.attach("alice", hub.server);
  assert.equal(((await hub.client.call("hub/run", {})) as { by: string }).by, "alice");
});

test("a disconnect takes away exactly that peer's operations, and ends what was under way there", async () => {
  const peers = createCallPeers();
  const stuck = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const hang = query("den/hang", () => {
    started.resolve();
    return stuck.promise;
  });
  await using den = callPair({ operations: [...worker("den"), hang] });
  await using lab = callPair({ operations: worker("lab") });
  await peers.attach("den", den.client, { expose: true });
  await peers.attach("lab", lab.client, { expose: true });
  await using hub = callPair({ peers });
  assert.equal(((await hub.client.call("jobs/run", {})) as { by: string }).by, "den");
  const call = fails(hub.client.call("den/hang", {}));
  await started.promise;
  den.server.connection.abort(0);
  const { code, message } = await call;
  assert.deepEqual([code, message], ["INTERNAL", "connection closed"]);
  await den.client.closed;
  assert.deepEqual(peers.ids(), ["lab"]);
  assert.equal(((await hub.client.call("jobs/run", {})) as { by: string }).by, "lab");
  assert.equal((await fails(hub.client.call("den/only", {}))).code, "NOT_FOUND");
  assert.equal(await hub.client.call("lab/only", {}), "lab");
  stuck.resolve();
});

test("a peer that comes back is asked anew, also before the old connection is known to be gone", async () => {
  const peers = createCallPeers();
  await using hub = callPair({ peers });
  await using before = callPair({ operations: worker("den") });
  await peers.attach("den", before.client, { expose: true });
  await using after = callPair({ operations: [query("jobs/new", () => "new")] });
  await peers.attach("den", after.client, { expose: true });
  assert.deepEqual(peers.ids(), ["den"]);
  assert.equal(await hub.client.call("jobs/new", {}), "new");
  assert.equal((await fails(hub.client.call("jobs/run", {}))).code, "NOT_FOUND");
  await before.server.close();
  await before.client.closed;
  assert.equal(await hub.client.call("jobs/new", {}), "new");
  await after.server.close();
  await after.client.closed;
  assert.deepEqual(peers.ids(), []);
});

test("an import that fails changes nothing", async () => {
  const peers = createCallPeers();
  await using den = callPair({
    operations: [query("services/list", () => ({}), { access: "anyone" })],
  });
  await assert.rejects(peers.attach("den", den.client), { code: "SCHEMA_PARSE" });
  assert.deepEqual(peers.ids(), []);
});

test("known mistake: list-peers shows kinds as they are, and nothing that the caller may not call", async () => {
  const peers = createCallPeers();
  const events = operation({
    name: "den/events",
    type: "subscription",
    ...any,
    async *handler() {},
  });
  await using den = callPair({ operations: [...worker("den"), events] });
  await using lab = callPair({ operations: worker("lab") });
  await peers.attach("den", den.client, { expose: true });
  // Not offered: for composition alone.
  await peers.attach("lab", lab.client);
  await using hub = callPair({ operations: [compose], peers });
  const shown = async () => {
    const { peers: list } = (await hub.client.call("services/list-peers", {})) as ListedPeers;
    return list.map(({ peer_id, operations }) => [
      peer_id,
      ...operations.map(({ name, op_type }) => `${name} ${op_type}`),
    ]);
  };
  assert.deepEqual(await shown(), [
    ["local", "hub/run query"],
    ["den", "jobs/run query", "den/only query", "den/events subscription"],
  ]);
  hub.permit(["call:invoke:den/*"]);
  assert.deepEqual(await shown(), [
    ["local"],
    ["den", "den/only query", "den/events subscription"],
  ]);
  assert.equal((await fails(hub.client.call("jobs/run", {}))).code, "FORBIDDEN");
  const schema = (name: string) => hub.client.call("services/schema", { name });
  assert.equal((await fails(schema("lab/only"))).code, "NOT_FOUND");
  assert.equal((await fails(schema("jobs/run"))).code, "NOT_FOUND");
  await schema("den/only");
});

test("a peer that is for composition alone does not hide one that is offered", async () => {
  const peers = createCallPeers();
  await using den = callPair({ operations: worker("den") });
  await using lab = callPair({ operations: worker("lab") });
  await peers.attach("den", den.client);
  await peers.attach("lab", lab.client, { expose: true });
  await using hub = callPair({ operations: [compose], peers });
  const by = async (name: string) => ((await hub.client.call(name, {})) as { by: string }).by;
  assert.deepEqual([await by("hub/run"), await by("jobs/run")], ["den", "lab"]);
});

test("no peer takes the place of the node's own operation", async () => {
  const peers = createCallPeers();
  await using den = callPair({
    operations: [query("hub/own", () => "den"), query("hub/internal", () => "den")],
  });
  await peers.attach("den", den.client, { expose: true });
  const operations = [
    query("hub/own", () => "hub"),
    query("hub/internal", () => "hub", { visibility: "internal" }),
  ];
  await using hub = callPair({ operations, peers });
  assert.equal(await hub.client.call("hub/own", {}), "hub");
  assert.equal((await fails(hub.client.call("hub/internal", {}))).code, "NOT_FOUND");
});

test("what is offered is under a rule of the hub's own", async () => {
  const peers = createCallPeers();
  await using den = callPair({ operations: worker("den") });
  await peers.attach("den", den.client, { prefix: "render", expose: { scopes: ["render:use"] } });
  await using hub = callPair({ peers });
  const call = () => hub.client.call("render/jobs/run", {});
  assert.equal((await fails(call())).message, "missing required scope: render:use");
  hub.permit(["render:use"]);
  assert.equal(((await call()) as { by: string }).by, "den");
});

test("what a peer answers is passed on as it is: declared errors, refusals, items with their ids", async () => {
  const peers = createCallPeers();
  const fail = operation({
    name: "jobs/fail",
    type: "mutation",
    input: z.object({ n: z.number() }),
    output: z.null(),
    errors: { FULL: { description: "the queue is full", details: z.object({ most: z.number() }) } },
    handler: (_, { error }) => {
      throw error("FULL", { most: 3 });
    },
  });
  const events = operation({
    name: "jobs/events",
    type: "subscription",
    ...any,
    resumable: true,
    async *handler(_, { lastEventId }) {
      yield `after ${lastEventId}`;
      yield withEventId("9", "nine");
    },
  });
  await using den = callPair({ operations: [fail, events] });
  await peers.attach("den", den.client, { expose: true });
  await using hub = callPair({ peers });
  const full = await fails(hub.client.call("jobs/fail", { n: 1 }));
  assert.deepEqual(
    [full.code, full.message, full.details],
    ["FULL", "the queue is full", { most: 3 }],
  );
  assert.equal((await fails(hub.client.call("jobs/fail", { n: "x" }))).code, "INVALID_INPUT");
  const items = hub.client.subscribe("jobs/events", {}, { lastEventId: "8" });
  assert.equal((await items.next()).value, "after 8");
  assert.equal(items.lastEventId, undefined);
  assert.equal((await items.next()).value, "nine");
  assert.equal(items.lastEventId, "9");
  assert.equal((await items.next()).done, true);
  den.permit([]);
  assert.equal((await fails(hub.client.call("jobs/fail", { n: 1 }))).code, "FORBIDDEN");
});

test("an abort crosses the hub: the worker's handler stops, and a subscription's too", async () => {
  const peers = createCallPeers();
  const stopped = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const wait = query("den/wait", async (_, { signal }) => {
    signal.addEventListener("abort", () => stopped.resolve());
    started.resolve();
    await stopped.promise;
  });
  const events = operation({
    name: "den/events",
    type: "subscription",
    ...any,
    async *handler(_, { signal }) {
      try {
        yield 1;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      } finally {
        left.resolve();
      }
    },
  });
  await using den = callPair({ operations: [wait, events] });
  await peers.attach("den", den.client, { expose: true });
  await using hub = callPair({ peers });
  const controller = new AbortController();
  const call = fails(hub.client.call("den/wait", {}, controller));
  await started.promise;
  controller.abort();
  await Promise.all([call, stopped.promise]);
  for await (const item of hub.client.subscribe("den/events", {})) {
    assert.equal(item, 1);
    break;
  }
  await left.promise;
});

test("one deadline bounds the whole tree, on both nodes", async () => {
  const clock = new FakeClock();
  const peers = createCallPeers();
  const contexts: OperationContext[] = [];
  const started = Promise.withResolvers<void>();
  const wait = query("jobs/run", (_, context) => {
    contexts.push(context);
    started.resolve();
    return new Promise(() => {});
  });
  await using den = callPair({ clock, operations: [wait] });
  await peers.attach("den", den.client, { clock });
  const slow = query("hub/run", (input, { env, deadline }) => {
    assert.equal(deadline, clock.now() + 10_000);
    clock.advance(4_000);
    return env.invoke("jobs/run", input);
  });
  await using hub = callPair({
    clock,
    peers,
    operations: [{ ...slow, composes: { operations: ["jobs/*"] } }],
  });
  const call = fails(hub.client.call("hub/run", {}, { timeout: 10_000 }));
  await started.promise;
  assert.equal(contexts[0]!.deadline, clock.now() + 6_000);
  clock.advance(6_000);
  assert.equal((await call).code, "TIMEOUT");
  assert.equal(contexts[0]!.signal.aborted, true);
});
