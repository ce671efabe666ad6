import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { FakeClock } from "@alknet/core/testing";
import { z } from "zod";
import type { CallError } from "./call-error.ts";
import { callPair, fails } from "./test-fixture.ts";
import {
  type AnyOperation,
  type Composition,
  operation,
  type OperationContext,
} from "./operation.ts";
import { createSessionLayer } from "./session-layer.ts";

const any = { input: z.unknown(), output: z.unknown() };

/** A query with a handler of the test's. */
function query(
  name: string,
  handler: (input: unknown, context: OperationContext) => unknown,
  more: { composes?: Composition; access?: AnyOperation["access"] } & Partial<AnyOperation> = {},
): AnyOperation {
  return { ...operation({ name, type: "query", ...any, handler }), ...more };
}

/** One that calls another, and answers as it does; errors by code. */
function calling(name: string, other: string, composes: Composition): AnyOperation {
  const handler = async (input: unknown, { env }: OperationContext) => {
    try {
      return await env.invoke(other, input);
    } catch (error) {
      return (error as CallError).message;
    }
  };
  return query(name, handler, { composes });
}

/** A query that waits for the test, and for being stopped. */
function waiting(name: string, more: Parameters<typeof query>[2] = {}) {
  const started = Promise.withResolvers<OperationContext>();
  const stopped = Promise.withResolvers<Error>();
  const finish = Promise.withResolvers<unknown>();
  const wait = query(
    name,
    (_, context) => {
      context.signal.addEventListener("abort", () =>
        stopped.resolve(context.signal.reason as Error),
      );
      started.resolve(context);
      return finish.promise;
    },
    more,
  );
  return { wait, started: started.promise, stopped: stopped.promise, finish };
}

test("a composed call has a context of its own: fresh id, no metadata, no forwarded_for, same deadline", async () => {
  const contexts: OperationContext[] = [];
  const child = query("a/child", (_, context) => {
    contexts.push(context);
    assert.equal(context.metadata.size, 0);
    return null;
  });
  const parent = query(
    "a/parent",
    async (_, context) => {
      context.metadata.set("secret", "hunter2");
      contexts.push(context);
      await context.env.invoke(child, {});
      return await context.env.invoke(child, {});
    },
    { composes: { operations: [child] }, capabilities: { key: "k" } },
  );
  await using pair = callPair({ operations: [parent, child] });
  const forwardedFor = { id: "bob", scopes: [], resources: {} };
  await pair.client.call("a/parent", {}, { forwardedFor, timeout: 10_000 });
  const [root, first, second] = contexts as [OperationContext, OperationContext, OperationContext];
  assert.deepEqual(
    [root.internal, root.parentId, root.caller?.id, root.forwardedFor?.id],
    [false, undefined, "alice", "bob"],
  );
  for (const it of [first, second]) {
    assert.equal(it.internal, true);
    assert.equal(it.parentId, root.id);
    assert.match(it.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
    assert.equal(it.caller?.id, "a/parent");
    assert.equal(it.forwardedFor, undefined);
    assert.equal(it.lastEventId, undefined);
    assert.equal(it.deadline, root.deadline);
    // Those of the root: the parent's, whatever the child was registered with.
    assert.deepEqual(it.capabilities, { key: "k" });
  }
  assert.notEqual(first.id, second.id);
});

test("known mistake: the originator survives composition, where the caller is an authority", async () => {
  const who = (_: unknown, { caller, originator }: OperationContext) => [
    caller?.id,
    originator?.id,
  ];
  await using pair = callPair({
    operations: [
      query("a/leaf", who),
      calling("a/middle", "a/leaf", { operations: ["a/leaf"] }),
      calling("a/root", "a/middle", { operations: ["a/middle"] }),
    ],
  });
  assert.deepEqual(await pair.client.call("a/root", {}), ["a/middle", "alice"]);
});

test("outside its reach nothing exists for a handler; what is internal does, within it", async () => {
  const secret = query("b/secret", () => "found", { visibility: "internal" });
  const operations = [
    secret,
    calling("a/near", "b/secret", { operations: ["b/*"] }),
    calling("a/far", "b/secret", { operations: ["c/*"] }),
    query("a/look", (_, { env }) => [env.contains("b/secret"), env.contains("/a/near")], {
      composes: { operations: ["a/near"] },
    }),
  ];
  await using pair = callPair({ operations });
  assert.equal(await pair.client.call("a/near", {}), "found");
  assert.equal(await pair.client.call("a/far", {}), "operation not found: b/secret");
  assert.deepEqual(await pair.client.call("a/look", {}), [false, true]);
});

test("known mistake: a child is checked against its parent's authority, in all three positions", async () => {
  const restricted = { access: { scopes: ["fs:read"] } } as const;
  const leaf = query("fs/read", () => "read", restricted);
  const reach = { operations: ["fs/read", "b/*"] };
  const operations = [
    leaf,
    // The caller has the scope, and the handler does not: whom it acts for does not matter.
    calling("a/without", "fs/read", reach),
    // The handler has it, and its caller does not.
    calling("a/with", "fs/read", { ...reach, scopes: ["fs:read"] }),
    // In the middle: neither the root's authority counts, nor the child's own.
    calling("b/middle", "fs/read", reach),
    calling("a/deep", "b/middle", { ...reach, scopes: ["fs:read"] }),
  ];
  await using pair = callPair({ operations, scopes: ["call:invoke", "fs:read"] });
  const missing = "missing required scope: fs:read";
  assert.equal(await pair.client.call("a/without", {}), missing);
  assert.equal(await pair.client.call("a/deep", {}), missing);
  pair.permit(["call:invoke"]);
  assert.equal(await pair.client.call("a/with", {}), "read");
  assert.equal((await fails(pair.client.call("fs/read", {}))).code, "FORBIDDEN");
});

test("an operation of the session's is composed with the sandbox's rights, and never on the wire", async () => {
  const layer = createSessionLayer({ operations: ["fs/read"] });
  layer.add(calling("s/own", "fs/read", { operations: ["**"], scopes: ["*"] }));
  const operations = [
    query("fs/read", () => "read", { access: { scopes: ["fs:read"] } }),
    calling("a/agent", "s/own", { operations: ["s/*"], scopes: ["fs:read"] }),
  ];
  await using pair = callPair({ operations, sessionLayer: () => layer });
  assert.equal(await pair.client.call("a/agent", {}), "missing required scope: fs:read");
  assert.equal((await fails(pair.client.call("s/own", {}))).code, "NOT_FOUND");
});

test("a composed call is validated and its errors are its own, as on the wire", async () => {
  const child = operation({
    name: "b/child",
    type: "query",
    input: z.object({ n: z.number() }),
    output: z.number(),
    errors: { ODD: { description: "it is odd", details: z.object({ n: z.number() }) } },
    handler({ n }, { error }) {
      if (n % 2 === 1) throw error("ODD", { n });
      return n;
    },
  });
  const told: unknown[] = [];
  const parent = query(
    "a/parent",
    async (_, { env }) => {
      const n: number = await env.invoke(child, { n: 2 });
      for (const input of [{ n: 1 }, { n: "x" }]) {
        const error = await fails(env.invoke("b/child", input));
        told.push(error.code === "ODD" ? error.details : error.code);
      }
      return n;
    },
    { composes: { operations: [child] } },
  );
  await using pair = callPair({ operations: [parent, child] });
  assert.equal(await pair.client.call("a/parent", {}), 2);
  assert.deepEqual(told, [{ n: 1 }, "INVALID_INPUT"]);
});

test("a subscription cannot be invoked", async () => {
  const ticks = operation({ name: "c/ticks", type: "subscription", ...any, async *handler() {} });
  const parent = query("a/parent", (_, { env }) => env.invoke("c/ticks", {}), {
    composes: { operations: ["c/*"] },
  });
  await using pair = callPair({ operations: [parent, ticks] });
  const { details } = await fails(pair.client.call("a/parent", {}));
  assert.deepEqual(details, { code: "INVALID_OPERATION_TYPE" });
});

for (const multiplexed of [true, false]) {
  const way = multiplexed ? "many streams" : "one stream";

  test(`known mistake: an abort stops the handler and all that it has started, over ${way}`, async () => {
    const leaf = waiting("a/leaf");
    const middle = waiting("a/middle", { composes: { operations: ["a/leaf"] } });
    const root = waiting("a/root", { composes: { operations: ["a/middle"] } });
    await using pair = callPair({
      multiplexed,
      operations: [root.wait, middle.wait, leaf.wait],
    });
    const controller = new AbortController();
    const call = fails(pair.client.call("a/root", {}, { signal: controller.signal }));
    const inMiddle = fails((await root.started).env.invoke("a/middle", {}));
    const inLeaf = fails((await middle.started).env.invoke("a/leaf", {}));
    await leaf.started;
    controller.abort(new Error("enough"));
    assert.equal((await call).message, "enough");
    await Promise.all([root.stopped, middle.stopped, leaf.stopped]);
    // Also for who waits, whatever the handlers do about it.
    await Promise.all([inMiddle, inLeaf]);
    const { env } = await root.started;
    await fails(env.invoke("a/middle", {}));
    for (const it of [root, middle, leaf]) it.finish.resolve(null);
  });
}

test("ContinueRunning: what was started finishes, and starts nothing more", async () => {
  const leaf = waiting("a/leaf");
  const middle = waiting("a/middle", { composes: { operations: ["a/leaf"] } });
  const root = waiting("a/root", { composes: { operations: ["a/middle"] } });
  await using pair = callPair({ operations: [root.wait, middle.wait, leaf.wait] });
  const controller = new AbortController();
  const call = fails(pair.client.call("a/root", {}, { signal: controller.signal }));
  const policy = "continue-running";
  const inMiddle = (await root.started).env.invoke("a/middle", {}, { policy });
  // Inherited.
  const inLeaf = (await middle.started).env.invoke("a/leaf", {});
  await leaf.started;
  controller.abort();
  await call;
  await root.stopped;
  const refused = await fails((await middle.started).env.invoke("a/leaf", {}));
  assert.equal(refused.name, "AbortError");
  leaf.finish.resolve("leaf");
  middle.finish.resolve("middle");
  assert.deepEqual(await Promise.all([inLeaf, inMiddle]), ["leaf", "middle"]);
  assert.equal((await middle.started).signal.aborted, false);
  root.finish.resolve(null);
});

test("what was not begun when its caller is cancelled is not begun, whatever its policy", async () => {
  for (const policy of ["abort-dependents", "continue-running"] as const) {
    const checking = Promise.withResolvers<void>();
    const checked = Promise.withResolvers<boolean>();
    const input = z.unknown().refine(() => {
      checking.resolve();
      return checked.promise;
    });
    let begun = 0;
    const child = query("a/child", () => begun++, { input });
    const root = waiting("a/root", { composes: { operations: ["a/child"] } });
    await using pair = callPair({ operations: [root.wait, child] });
    const controller = new AbortController();
    const call = fails(pair.client.call("a/root", {}, controller));
    const inChild = fails((await root.started).env.invoke("a/child", {}, { policy }));
    await checking.promise;
    controller.abort();
    await call;
    await root.stopped;
    assert.notEqual((await inChild).name, "CallError");
    checked.resolve(true);
    await setImmediate();
    assert.equal(begun, 0);
    assert.deepEqual(pair.log, []);
    root.finish.resolve(null);
  }
});

test("ContinueRunning ends at the deadline all the same", async () => {
  for (const abortFirst of [false, true]) {
    const clock = new FakeClock();
    const child = waiting("a/child");
    const root = waiting("a/root", { composes: { operations: ["a/child"] } });
    await using pair = callPair({ clock, operations: [root.wait, child.wait] });
    const controller = new AbortController();
    const options = { signal: controller.signal, timeout: 5_000 };
    const call = fails(pair.client.call("a/root", {}, options));
    const policy = "continue-running";
    const inChild = fails((await root.started).env.invoke("a/child", {}, { policy }));
    await child.started;
    if (abortFirst) {
      controller.abort();
      await root.stopped;
    }
    clock.advance(5_000);
    assert.equal((await inChild).code, "TIMEOUT");
    assert.equal(((await child.stopped) as CallError).code, "TIMEOUT");
    await call;
    for (const it of [root, child]) it.finish.resolve(null);
  }
});

test("what a call has started ends with it, unless it was to continue", async () => {
  const left = waiting("a/left");
  const kept = waiting("a/kept");
  const ends: Promise<unknown>[] = [];
  const root = query(
    "a/root",
    async (_, { env }) => {
      ends.push(fails(env.invoke("a/left", {})));
      ends.push(env.invoke("a/kept", {}, { policy: "continue-running" }));
      await Promise.all([left.started, kept.started]);
      return null;
    },
    { composes: { operations: ["a/*"] } },
  );
  await using pair = callPair({ operations: [root, left.wait, kept.wait] });
  await pair.client.call("a/root", {});
  assert.equal((await left.stopped).name, "AbortError");
  assert.equal(((await ends[0]) as Error).name, "AbortError");
  kept.finish.resolve("kept");
  assert.equal(await ends[1], "kept");
  left.finish.resolve(null);
});

test("a composed call is cancelled by its own signal, and its caller goes on", async () => {
  const child = waiting("a/child");
  const controller = new AbortController();
  const root = query(
    "a/root",
    async (_, { env }) => (await fails(env.invoke("a/child", {}, controller))).message,
    { composes: { operations: ["a/*"] } },
  );
  await using pair = callPair({ operations: [root, child.wait] });
  const call = pair.client.call("a/root", {});
  await child.started;
  controller.abort(new Error("not needed"));
  assert.equal(await call, "not needed");
  await child.stopped;
  child.finish.resolve(null);
});

test("a revoked right of the root ends all that it has started", async () => {
  const child = waiting("a/child");
  const root = waiting("a/root", { composes: { operations: ["a/*"] } });
  await using pair = callPair({ operations: [root.wait, child.wait] });
  const call = fails(pair.client.call("a/root", {}));
  const inChild = fails((await root.started).env.invoke("a/child", {}));
  await child.started;
  pair.permit([]);
  assert.equal((await call).code, "FORBIDDEN");
  assert.equal((await inChild).code, "FORBIDDEN");
  await Promise.all([root.stopped, child.stopped]);
  for (const it of [root, child]) it.finish.resolve(null);
});

test("closing the connection stops handlers and what they have started", async () => {
  const child = waiting("a/child");
  const root = waiting("a/root", { composes: { operations: ["a/*"] } });
  await using pair = callPair({ operations: [root.wait, child.wait] });
  const call = fails(pair.client.call("a/root", {}));
  const inChild = fails((await root.started).env.invoke("a/child", {}));
  await child.started;
  pair.client.connection.abort(0);
  assert.equal((await call).message, "connection closed");
  await Promise.all([inChild, root.stopped, child.stopped]);
  for (const it of [root, child]) it.finish.resolve(null);
});
