import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import * as fc from "fast-check";
import { z } from "zod";
import { CallError } from "./call-error.ts";
import { type CallPair, callPair } from "./test-fixture.ts";
import { operation, type OperationContext } from "./operation.ts";
import type { CallSession } from "./session.ts";

const any = { input: z.unknown(), output: z.unknown() };

type Outcome = "open" | "answered" | "failed" | "forbidden" | "cancelled" | "lost";

/** A call, or a subscription, as its caller sees it. */
interface Made {
  readonly controller: AbortController;
  outcome: Outcome;
  settled: number;
}

/** A handler that runs until it is told to finish. */
interface Running {
  readonly context: OperationContext;
  readonly finish: PromiseWithResolvers<unknown>;
  /** To finish. */
  told: boolean;
}

/** Two nodes, and what goes on between them. */
class World {
  readonly running: Running[] = [];
  readonly made: Made[] = [];
  /** What composed calls came to: each settles once too. */
  inner = { begun: 0, settled: 0 };
  pair: CallPair;
  readonly #multiplexed: boolean;

  constructor(multiplexed: boolean) {
    this.#multiplexed = multiplexed;
    this.pair = this.#connect();
  }

  #connect(): CallPair {
    const wait = (context: OperationContext): Promise<unknown> => {
      const finish = Promise.withResolvers<unknown>();
      this.running.push({ context, finish, told: false });
      return finish.promise;
    };
    const leaf = operation({ ...any, name: "m/leaf", type: "query", handler: (_, it) => wait(it) });
    const tree = operation({
      ...any,
      name: "m/tree",
      type: "query",
      composes: { operations: ["m/leaf"] },
      handler: async (input, context) => {
        const policy = input === "continue" ? "continue-running" : "abort-dependents";
        for (const _ of [1, 2]) {
          this.inner.begun++;
          const settled = (): number => this.inner.settled++;
          void context.env.invoke("m/leaf", {}, { policy }).then(settled, settled);
        }
        return await wait(context);
      },
    });
    const items = operation({
      ...any,
      name: "m/items",
      type: "subscription",
      async *handler(_, context) {
        yield 1;
        yield await wait(context);
      },
    });
    return callPair({ operations: [leaf, tree, items], multiplexed: this.#multiplexed });
  }

  call(run: (client: CallSession, signal: AbortSignal) => Promise<unknown>): void {
    const controller = new AbortController();
    const made: Made = { controller, outcome: "open", settled: 0 };
    this.made.push(made);
    const settle = (outcome: Outcome): void => {
      made.outcome = outcome;
      made.settled++;
    };
    void run(this.pair.client, controller.signal).then(
      () => settle("answered"),
      (error: unknown) => settle(outcomeOf(error)),
    );
  }

  async reconnect(): Promise<void> {
    const before = this.pair;
    before.client.connection.abort(0);
    await this.#leavesNothing(before);
    this.pair = this.#connect();
  }

  /** Whatever was under way, nothing is left of it. */
  async #leavesNothing(pair: CallPair): Promise<void> {
    await Promise.all([pair.client.closed, pair.server.closed]);
    for (const { finish } of this.running.splice(0)) finish.resolve(0);
    await turns();
    for (const session of [pair.client, pair.server]) {
      assert.deepEqual(new Set(Object.values(session.stats())), new Set([0]));
    }
    // No right is held any more: nothing falls with them.
    const none = pair.identities.peers.map((it) => ({ ...it, scopes: [] }));
    assert.deepEqual(pair.identities.replace(none), { connections: 0, grants: 0 });
  }

  async end(): Promise<void> {
    await this.pair.client.close();
    await this.#leavesNothing(this.pair);
    for (const { outcome, settled } of this.made)
      assert.deepEqual([settled, outcome !== "open"], [1, true]);
    assert.equal(this.inner.settled, this.inner.begun);
  }
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof CallError)) return "cancelled";
  if (error.code === "FORBIDDEN") return "forbidden";
  return error.message === "connection closed" ? "lost" : "failed";
}

/** Long enough for what is in memory to arrive, be answered, and come back. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 6; turn++) await setImmediate();
}

async function read(client: CallSession, signal: AbortSignal): Promise<void> {
  for await (const _ of client.subscribe("m/items", {}, { signal }));
}

const at = fc.nat(7);
const command = fc.oneof(
  fc.record({ kind: fc.constantFrom("leaf", "tree", "continue", "items") }),
  fc.record({ kind: fc.constantFrom("finish", "fail", "abort"), at }),
  fc.record({ kind: fc.constantFrom("revoke", "permit", "reconnect", "turns") }),
);
type Command = { readonly kind: string; readonly at?: number };

async function step(world: World, { kind, at: place = 0 }: Command): Promise<void> {
  const running = world.running[place % Math.max(1, world.running.length)];
  if (running !== undefined && (kind === "finish" || kind === "fail")) running.told = true;
  switch (kind) {
    case "leaf":
      return world.call((client, signal) => client.call("m/leaf", {}, { signal }));
    case "tree":
    case "continue":
      return world.call((client, signal) => client.call("m/tree", kind, { signal }));
    case "items":
      return world.call(read);
    case "finish":
      return running?.finish.resolve(place);
    case "fail":
      return running?.finish.reject(new Error("it failed"));
    case "abort":
      return world.made[place % Math.max(1, world.made.length)]?.controller.abort();
    case "revoke":
      // Before it takes effect for those that have begun, they have to.
      await turns();
      world.pair.permit([]);
      await turns();
      // Who stood on it is told, and its handler as well.
      for (const { outcome } of world.made) assert.notEqual(outcome, "open");
      for (const { context, told } of world.running) {
        if (!told && !context.internal) assert.equal(context.signal.aborted, true);
      }
      return;
    case "permit":
      return world.pair.permit(["call:invoke"]);
    case "reconnect":
      return await world.reconnect();
    default:
      return await turns();
  }
}

for (const multiplexed of [true, false]) {
  const way = multiplexed ? "many streams" : "one stream";
  test(`in any order of calls, aborts, revocations and reconnects each call settles once and nothing is left, over ${way}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 24 }), async (commands) => {
        const world = new World(multiplexed);
        for (const each of commands) await step(world, each);
        await world.end();
      }),
      { numRuns: 300 },
    );
  });
}
