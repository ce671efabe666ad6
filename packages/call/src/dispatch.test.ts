import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { z } from "zod";
import { type CallError } from "./call-error.ts";
import { type CallPair, callPair, fails } from "./test-fixture.ts";
import { type AnyOperation, operation, type OperationContext } from "./operation.ts";
import { withEventId } from "./output-stream.ts";

const nothing = z.object({});
const path = z.object({ path: z.string() });

/** A query that says what it was given. */
function echo(name: string, more: Partial<AnyOperation> = {}): AnyOperation {
  const definition = { name, type: "query", input: path, output: z.unknown() } as const;
  return { ...operation({ ...definition, handler: (input) => input }), ...more };
}

async function nodeWith(
  run: (pair: CallPair) => Promise<void>,
  ...args: Parameters<typeof callPair>
): Promise<void> {
  await using pair = callPair(...args);
  await run(pair);
}

test("checks come in one order: existence, visibility, rights, input, handler", async () => {
  let handled = 0;
  const handler = () => handled++;
  await using pair = callPair({
    operations: [
      echo("a/internal", { visibility: "internal", handler }),
      echo("a/denied", { access: { scopes: ["fs:read"] }, handler }),
      echo("a/allowed", { handler }),
    ],
  });
  const told = async (name: string, input: unknown) => {
    const { code, message } = await fails(pair.client.call(name, input));
    return `${code} ${message}`;
  };
  assert.equal(await told("a/missing", {}), "NOT_FOUND operation not found: a/missing");
  assert.equal(await told("a/internal", {}), "NOT_FOUND operation not found: a/internal");
  // The input is wrong as well, which is nothing for those to know who may not call.
  assert.equal(await told("a/denied", { path: 5 }), "FORBIDDEN missing required scope: fs:read");
  assert.match(await told("a/allowed", { path: 5 }), /^INVALID_INPUT invalid input: path: /);
  assert.equal(handled, 0);
  assert.deepEqual(await pair.client.call("a/allowed", { path: "/" }), 0);
});

test("known mistake: input is validated before the handler, which gets what the schema makes of it", async () => {
  const given: unknown[] = [];
  const add = operation({
    name: "sum/add",
    type: "query",
    input: z.object({ a: z.number(), b: z.string().transform(Number).default(10) }),
    output: z.number(),
    handler(input) {
      given.push(input);
      return input.a + input.b;
    },
  });
  await using pair = callPair({ operations: [add] });
  assert.equal(await pair.client.call("sum/add", { a: 1 }), 11);
  assert.equal(await pair.client.call("sum/add", { a: 1, b: "2", c: 3 }), 3);
  const error = await fails(pair.client.call("sum/add", { a: "1", b: 2 }));
  assert.equal(error.code, "INVALID_INPUT");
  const { issues } = error.details as { issues: { path: string; message: string }[] };
  assert.deepEqual(
    issues.map((issue) => issue.path),
    ["a", "b"],
  );
  assert.deepEqual(given, [
    { a: 1, b: 10 },
    { a: 1, b: 2 },
  ]);
});

test("a schema that takes its time is waited for, on the way in and out", async () => {
  const later = z.object({ path: z.string().refine(async (it) => it !== "bad") });
  const read = operation({
    name: "fs/read",
    type: "query",
    input: later,
    output: later,
    handler: ({ path: it }) => ({ path: it === "turn" ? "bad" : it }),
  });
  await using pair = callPair({ operations: [read] });
  assert.deepEqual(await pair.client.call("fs/read", { path: "x" }), { path: "x" });
  const input = await fails(pair.client.call("fs/read", { path: "bad" }));
  assert.equal(input.code, "INVALID_INPUT");
  const output = await fails(pair.client.call("fs/read", { path: "turn" }));
  assert.equal(output.code, "INTERNAL");
});

const errors = {
  GONE: { description: "it is gone", details: z.object({ since: z.number() }), httpStatus: 410 },
  BUSY: { description: "try again" },
};

test("known mistake: declared errors pass with their details, everything else is INTERNAL", async () => {
  const failing = operation({
    name: "fs/fail",
    type: "query",
    input: z.object({ how: z.string() }),
    output: z.null(),
    errors,
    async handler({ how }, { error }) {
      if (how === "gone") throw error("GONE", { since: 5, secret: "hunter2" } as { since: number });
      if (how === "busy") throw error("BUSY", undefined, "still busy");
      if (how === "undeclared") throw error("OTHER" as "BUSY");
      if (how === "wrong details") throw error("GONE", { since: "hunter2" } as never);
      throw new Error("hunter2 is the password");
    },
  });
  await using pair = callPair({ operations: [failing] });
  const told = async (how: string) => {
    const { code, message, details } = await fails(pair.client.call("fs/fail", { how }));
    return { code, message, details };
  };
  assert.deepEqual(await told("gone"), {
    code: "GONE",
    message: "it is gone",
    details: { since: 5 },
  });
  assert.deepEqual(await told("busy"), {
    code: "BUSY",
    message: "still busy",
    details: undefined,
  });
  const internal = { code: "INTERNAL", message: "the operation failed" };
  assert.deepEqual(await told("undeclared"), { ...internal, details: { code: "OTHER" } });
  assert.deepEqual(await told("wrong details"), { ...internal, details: undefined });
  assert.deepEqual(await told("crash"), { ...internal, details: undefined });
  const crash = pair.log.find((line) => line.includes("hunter2 is the password"));
  assert.match(crash ?? "", /"operation":"fs\/fail","caller":"alice"/);
});

test("an error of a call that the handler made is not its own: INTERNAL, with the code in its details", async () => {
  const outer = operation({
    name: "a/outer",
    type: "query",
    input: nothing,
    output: z.unknown(),
    handler: (_, { env }) => env.invoke("a/elsewhere", {}),
  });
  await using pair = callPair({ operations: [outer] });
  const { code, details } = await fails(pair.client.call("a/outer", {}));
  assert.deepEqual([code, details], ["INTERNAL", { code: "NOT_FOUND" }]);
});

test("output is what its schema makes of it: what is not declared does not leave the node", async () => {
  const user = operation({
    name: "users/get",
    type: "query",
    input: nothing,
    output: z.object({ name: z.string() }),
    handler: () => ({ name: "alice", password: "hunter2" }),
  });
  const wrong = { ...user, name: "users/wrong", handler: () => ({ name: 5 }) };
  await nodeWith(
    async ({ client, log }) => {
      assert.deepEqual(await client.call("users/get", {}), { name: "alice" });
      assert.equal((await fails(client.call("users/wrong", {}))).code, "INTERNAL");
      assert.match(log.join("\n"), /not what its operation declares: name: /);
    },
    { operations: [user, wrong] },
  );
  await nodeWith(
    async ({ client }) => {
      assert.deepEqual(await client.call("users/wrong", {}), { name: 5 });
    },
    { operations: [wrong], checkOutput: false },
  );
});

test("what can be awaited is awaited, promise or not", async () => {
  // oxlint-disable-next-line unicorn/no-thenable
  const thenable = { then: (resolve: (value: number) => void) => resolve(5) };
  const query = echo("db/query", { handler: () => thenable });
  await using pair = callPair({ operations: [query] });
  assert.equal(await pair.client.call("db/query", { path: "" }), 5);
});

test("a handler that gives items for one output, or the other way round, is INVALID_OPERATION_TYPE", async () => {
  async function* items() {
    yield 1;
  }
  const subscription = { type: "subscription" } as const;
  await using pair = callPair({
    operations: [
      echo("a/items", { handler: () => items() }),
      echo("a/later", { handler: () => Promise.resolve(items()) }),
      echo("a/one", { ...subscription, handler: () => 1 }),
    ],
  });
  for (const name of ["a/items", "a/later", "a/one"]) {
    assert.equal(
      (await fails(pair.client.call(name, { path: "" }))).code,
      "INVALID_OPERATION_TYPE",
      name,
    );
  }
});

test("who subscribes to what has no items is told so", async () => {
  await using pair = callPair({ operations: [echo("a/one")] });
  const { code } = await fails(pair.client.subscribe("a/one", { path: "" }).next());
  assert.equal(code, "INVALID_OPERATION_TYPE");
});

const ROBOT = "robot's token";
const robot = {
  tokenHash: `sha256:${createHash("sha256").update(ROBOT).digest("hex")}`,
  scopes: ["fs:read"],
};

function whoami(access: AnyOperation["access"]): AnyOperation {
  return operation({
    name: "who/am-i",
    type: "query",
    input: nothing,
    output: z.unknown(),
    access,
    handler: (_, { caller, originator }) => [caller?.id ?? null, originator?.id ?? null],
  });
}

test("a token that resolves takes the place of the connection's identity, for its call", async () => {
  await using pair = callPair({ operations: [whoami({ scopes: ["fs:read"] })], robot });
  const { client } = pair;
  assert.equal((await fails(client.call("who/am-i", {}))).code, "FORBIDDEN");
  const asRobot = await client.call("who/am-i", {}, { authToken: ROBOT });
  assert.deepEqual(asRobot, ["robot", "robot"]);
  assert.equal((await fails(client.call("who/am-i", {}))).code, "FORBIDDEN");
});

test("known mistake: a configured token goes with every call and subscription, unless it brings its own", async () => {
  const items = operation({
    name: "who/follows",
    type: "subscription",
    input: nothing,
    output: z.unknown(),
    async *handler(_, { caller }) {
      yield caller?.id;
    },
  });
  const operations = [whoami("anyone"), { ...items, access: "anyone" as const }];
  await using pair = callPair({ operations, robot, authToken: ROBOT });
  const { client } = pair;
  assert.deepEqual(await client.call("who/am-i", {}), ["robot", "robot"]);
  assert.equal((await client.subscribe("who/follows", {}).next()).value, "robot");
  const error = await fails(client.call("who/am-i", {}, { authToken: "another" }));
  assert.equal(error.code, "FORBIDDEN");
});

test("a token that does not resolve is FORBIDDEN, never a silent fall-back, and a guess that failed", async () => {
  const penalties: string[] = [];
  await using pair = callPair({ operations: [whoami("anyone")], robot, scopes: ["*"] });
  const { connection } = pair.server;
  Object.assign(connection, { onpenalty: (it: string) => penalties.push(it) });
  const error = await fails(pair.client.call("who/am-i", {}, { authToken: "a guess" }));
  assert.deepEqual([error.code, error.message], ["FORBIDDEN", "the token is not known"]);
  assert.deepEqual(penalties, ["auth"]);
  assert.deepEqual(await pair.client.call("who/am-i", {}), ["alice", "alice"]);
});

test("a token alone lets nobody in: it refines a peer", async () => {
  await using pair = callPair({ operations: [whoami("anyone")], robot, caller: "stranger" });
  assert.deepEqual(await pair.client.call("who/am-i", {}), [null, null]);
  const error = await fails(pair.client.call("who/am-i", {}, { authToken: ROBOT }));
  assert.equal(error.code, "FORBIDDEN");
});

test("anonymous calls reach what anyone may call; the rest says that authentication is required", async () => {
  const restricted = { ...whoami(undefined), name: "who/else" };
  await using pair = callPair({ operations: [whoami("anyone"), restricted], caller: "stranger" });
  assert.deepEqual(await pair.client.call("who/am-i", {}), [null, null]);
  const error = await fails(pair.client.call("who/else", {}));
  assert.deepEqual([error.code, error.message], ["FORBIDDEN", "authentication required"]);
});

test("forwarded_for is shown to the handler, and never changes who may", async () => {
  const root = { id: "root", scopes: ["*"], resources: {} };
  const seen = operation({
    name: "who/for",
    type: "query",
    input: nothing,
    output: z.unknown(),
    handler: (_, { caller, forwardedFor, originator }) => ({
      caller: caller?.id,
      forwardedFor: forwardedFor?.id,
      originator: originator?.id,
    }),
  });
  const operations = [seen, whoami({ scopes: ["fs:read"] })];
  await using pair = callPair({ operations });
  const call = (name: string) => pair.client.call(name, {}, { forwardedFor: root });
  assert.equal((await fails(call("who/am-i"))).code, "FORBIDDEN");
  assert.deepEqual(await call("who/for"), {
    caller: "alice",
    forwardedFor: "root",
    originator: "alice",
  });
});

test("capabilities reach no handler of a caller who is denied, and no answer", async () => {
  const used: unknown[] = [];
  const fetch = echo("web/fetch", {
    access: { scopes: ["web:fetch"] },
    capabilities: { apiKey: "hunter2" },
    handler: (_: never, { capabilities }: OperationContext) => used.push(capabilities["apiKey"]),
  });
  await using pair = callPair({ operations: [fetch] });
  const call = () => pair.client.call("web/fetch", { path: "" });
  assert.equal((await fails(call())).code, "FORBIDDEN");
  assert.deepEqual(used, []);
  pair.permit(["web:fetch"]);
  await call();
  assert.deepEqual(used, ["hunter2"]);
  const schema = await pair.client.call("services/schema", { name: "web/fetch" });
  assert.doesNotMatch(JSON.stringify(schema), /hunter2|apiKey/);
});

/** A query that waits until it is told to stop, and one that waits for the test. */
function waiting(name: string) {
  const started = Promise.withResolvers<OperationContext>();
  const stopped = Promise.withResolvers<unknown>();
  const finish = Promise.withResolvers<number>();
  const wait = operation({
    name,
    type: "query",
    input: nothing,
    output: z.number(),
    handler(_, context) {
      context.signal.addEventListener("abort", () => stopped.resolve(context.signal.reason));
      started.resolve(context);
      return finish.promise;
    },
  });
  return { wait, started: started.promise, stopped: stopped.promise, finish };
}

for (const multiplexed of [true, false]) {
  const way = multiplexed ? "many streams" : "one stream";

  test(`a right that is revoked ends its calls with FORBIDDEN, and no others, over ${way}`, async () => {
    const one = waiting("a/one");
    const other = waiting("b/other");
    await using pair = callPair({
      multiplexed,
      operations: [one.wait, other.wait],
      scopes: ["call:invoke:a/*", "call:invoke:b/*"],
    });
    const first = fails(pair.client.call("a/one", {}));
    const second = pair.client.call("b/other", {});
    await Promise.all([one.started, other.started]);
    pair.permit(["call:invoke:b/*"]);
    const { code, message } = await first;
    assert.deepEqual(
      [code, message],
      ["FORBIDDEN", 'access revoked: peer "alice" no longer has call:invoke'],
    );
    assert.equal(((await one.stopped) as CallError).code, "FORBIDDEN");
    other.finish.resolve(7);
    assert.equal(await second, 7);
    one.finish.resolve(1);
  });

  test(`a subscription ends with FORBIDDEN when its right is revoked, over ${way}`, async () => {
    const left = Promise.withResolvers<void>();
    const ticks = operation({
      name: "clock/ticks",
      type: "subscription",
      input: nothing,
      output: z.number(),
      async *handler(_, { signal }) {
        try {
          yield 1;
          await new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => reject(signal.reason as Error));
          });
        } finally {
          left.resolve();
        }
      },
    });
    await using pair = callPair({ multiplexed, operations: [ticks] });
    const subscription = pair.client.subscribe("clock/ticks", {});
    assert.deepEqual(await subscription.next(), { done: false, value: 1 });
    pair.permit([]);
    assert.equal((await fails(subscription.next())).code, "FORBIDDEN");
    await left.promise;
  });
}

test("a handler takes further rights of its caller, which end the call when they are revoked", async () => {
  const held = Promise.withResolvers<void>();
  const write = operation({
    name: "fs/write",
    type: "mutation",
    input: path,
    output: z.null(),
    async handler({ path: it }, { rights }) {
      rights.grant("fs:write", it);
      held.resolve();
      return await new Promise<never>(() => {});
    },
  });
  const rights = ["call:invoke", "fs:write:/tmp/*"];
  await using pair = callPair({ operations: [write], scopes: rights });
  const denied = await fails(pair.client.call("fs/write", { path: "/etc/x" }));
  assert.deepEqual(
    [denied.code, denied.message],
    ["FORBIDDEN", "missing required scope: fs:write:/etc/x"],
  );
  const running = fails(pair.client.call("fs/write", { path: "/tmp/x" }));
  await held.promise;
  pair.permit(["call:invoke"]);
  assert.equal((await running).code, "FORBIDDEN");
});

test("rights are given back when the call is over, however it ends", async () => {
  const count = waiting("a/wait");
  const operations = [
    echo("a/sync"),
    echo("a/async", { handler: async () => 1 }),
    echo("a/throw", {
      handler: () => {
        throw new Error("no");
      },
    }),
    count.wait,
  ];
  await using pair = callPair({ operations });
  const call = (name: string, input: object) => pair.client.call(name, input).catch(() => {});
  for (const name of ["a/sync", "a/async", "a/throw"]) {
    await call(name, { path: "" });
    await call(name, { path: 5 });
  }
  const running = pair.client.call("a/wait", {}).catch(() => {});
  await count.started;
  // Exactly the one that runs stood on it.
  assert.deepEqual(
    pair.identities.replace([...pair.identities.peers.map((it) => ({ ...it, scopes: [] }))]),
    {
      connections: 0,
      grants: 1,
    },
  );
  await running;
  count.finish.resolve(1);
});

test("a subscription's items go through its schema; ids stay; an error is the last item", async () => {
  const items = operation({
    name: "log/lines",
    type: "subscription",
    input: nothing,
    output: z.object({ line: z.string() }),
    errors,
    resumable: true,
    async *handler(_, { lastEventId, error }) {
      yield { line: `after ${lastEventId}`, secret: "hunter2" };
      yield withEventId("8", { line: "b" });
      throw error("GONE", { since: 1 });
    },
  });
  await using pair = callPair({ operations: [items] });
  const subscription = pair.client.subscribe("log/lines", {}, { lastEventId: "7" });
  assert.deepEqual((await subscription.next()).value, { line: "after 7" });
  assert.equal(subscription.lastEventId, undefined);
  assert.deepEqual((await subscription.next()).value, { line: "b" });
  assert.equal(subscription.lastEventId, "8");
  const { code, details } = await fails(subscription.next());
  assert.deepEqual([code, details], ["GONE", { since: 1 }]);
  // A terminal error suppresses the completion: there is nothing after it.
  assert.deepEqual(await subscription.next(), { done: true, value: undefined });
});

test("an item that its schema does not take ends the subscription, and its handler", async () => {
  const left = Promise.withResolvers<void>();
  const items = operation({
    name: "log/lines",
    type: "subscription",
    input: nothing,
    output: z.number(),
    async *handler() {
      try {
        yield 1;
        yield "2" as unknown as number;
        assert.fail("asked for more");
      } finally {
        left.resolve();
      }
    },
  });
  await using pair = callPair({ operations: [items] });
  const subscription = pair.client.subscribe("log/lines", {});
  assert.equal((await subscription.next()).value, 1);
  assert.equal((await fails(subscription.next())).code, "INTERNAL");
  await left.promise;
});

test("the deadline is shown, raced, and TIMEOUT is retryable", async () => {
  const clock = new FakeClock();
  const slow = waiting("a/slow");
  await using pair = callPair({ clock, operations: [slow.wait] });
  const call = fails(pair.client.call("a/slow", {}, { timeout: 5_000 }));
  const { deadline } = await slow.started;
  assert.equal(deadline, clock.now() + 5_000);
  clock.advance(5_000);
  const { code, retryable } = await call;
  assert.deepEqual([code, retryable], ["TIMEOUT", true]);
  assert.equal(((await slow.stopped) as CallError).code, "TIMEOUT");
  slow.finish.resolve(1);
});

test("a subscription has no deadline but one that was asked for", async () => {
  const clock = new FakeClock();
  const deadlines: unknown[] = [];
  const ticks = operation({
    name: "clock/ticks",
    type: "subscription",
    input: nothing,
    output: z.number(),
    async *handler(_, { deadline }) {
      deadlines.push(deadline);
      yield 1;
    },
  });
  await using pair = callPair({ clock, operations: [ticks] });
  for (const timeout of [undefined, 1_000]) {
    for await (const item of pair.client.subscribe("clock/ticks", {}, { timeout })) {
      assert.equal(item, 1);
    }
  }
  assert.deepEqual(deadlines, [undefined, clock.now() + 1_000]);
});
