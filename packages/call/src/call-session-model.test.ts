import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConnectionPair, connectionPair } from "@alknet/core/testing";
import * as fc from "fast-check";
import { CallError, isConnectionLost } from "./call-error.ts";
import { callSession } from "./call-session.ts";
import type { Subscription } from "./caller.ts";
import { stream } from "./output-stream.ts";
import type { CallSession, Dispatch, IncomingCall } from "./session.ts";

type Side = "client" | "server";

/** How a call of ours may end. */
type Outcome = "pending" | "answered" | "revoked" | "cancelled" | "lost";

/** A handler that has been begun, and how often it was told to stop. */
interface Handler {
  readonly call: IncomingCall;
  readonly answer: (output: unknown) => void;
  aborts: number;
  returned: boolean;
}

/** A call or subscription of one side. */
interface Begun {
  readonly cancel: () => void;
  outcome: Outcome;
  settled: number;
}

/** Two nodes, each of which calls the other, with one connection after another. */
class World {
  readonly #multiplexed: boolean;
  readonly handlers: Handler[] = [];
  readonly begun: Begun[] = [];
  readonly subscriptions: { readonly items: Subscription<unknown>; read: number; busy: boolean }[] =
    [];
  readonly #sessions: CallSession[] = [];
  #pair!: ConnectionPair;
  client!: CallSession;
  server!: CallSession;

  constructor(multiplexed: boolean) {
    this.#multiplexed = multiplexed;
    this.connect();
  }

  connect(): void {
    this.#pair = connectionPair({ alpn: "alknet/call", multiplexed: this.#multiplexed });
    this.client = callSession(this.#pair.client, { dispatch: this.#dispatch });
    this.server = callSession(this.#pair.server, { dispatch: this.#dispatch });
    this.#sessions.push(this.client, this.server);
  }

  readonly #dispatch: Dispatch = (call) => {
    const { operation, input } = call;
    if (operation === "now") return input;
    if (operation === "later") return Promise.resolve(input);
    if (operation === "fail") throw new CallError("DECLARED", "as declared");
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const handler: Handler = { call, answer: resolve, aborts: 0, returned: false };
    this.handlers.push(handler);
    call.onabort(() => {
      handler.aborts++;
      resolve(undefined);
    });
    void promise.then(() => (handler.returned = true));
    if (operation === "wait") return promise;
    return stream(
      (async function* () {
        for (let i = 0; i < (input as number); i++) yield i;
        await promise;
      })(),
    );
  };

  call(side: Side, operation: string, size: number): void {
    const controller = new AbortController();
    const begun: Begun = { cancel: () => controller.abort(), outcome: "pending", settled: 0 };
    this.begun.push(begun);
    const input = { number: this.begun.length, text: "x".repeat(size) };
    this[side].call(operation, input, { signal: controller.signal }).then(
      (output) => {
        begun.settled++;
        begun.outcome = "answered";
        if (operation !== "wait") assert.deepEqual(output, input);
      },
      (error: unknown) => {
        begun.settled++;
        begun.outcome = outcomeOf(error);
      },
    );
  }

  subscribe(side: Side, count: number, window: number): void {
    const controller = new AbortController();
    const begun: Begun = { cancel: () => controller.abort(), outcome: "pending", settled: 0 };
    this.begun.push(begun);
    const items = this[side].subscribe("items", count, { window, signal: controller.signal });
    const subscription = { items, read: 0, busy: false };
    this.subscriptions.push(subscription);
    this.#follow.set(subscription.items, begun);
  }

  readonly #follow = new Map<Subscription<unknown>, Begun>();

  /** Read up to `count` items; what is not there yet is waited for in the background. */
  read(index: number, count: number): void {
    const subscription = this.subscriptions[index % this.subscriptions.length];
    if (subscription === undefined || subscription.busy) return;
    const begun = this.#follow.get(subscription.items)!;
    subscription.busy = true;
    const next = async (): Promise<void> => {
      for (let i = 0; i < count && begun.settled === 0; i++) {
        const { done, value } = await subscription.items.next();
        if (done === true) {
          begun.settled++;
          begun.outcome = "answered";
        } else {
          assert.equal(value, subscription.read++);
        }
      }
    };
    next()
      .catch((error: unknown) => {
        begun.settled++;
        begun.outcome = outcomeOf(error);
      })
      .finally(() => (subscription.busy = false));
  }

  leave(index: number): void {
    const subscription = this.subscriptions[index % this.subscriptions.length];
    if (subscription === undefined) return;
    const begun = this.#follow.get(subscription.items)!;
    void subscription.items.return();
    if (begun.settled > 0 || subscription.busy) return;
    begun.settled++;
    begun.outcome = "cancelled";
  }

  async disconnect(how: "close" | "abort", side: Side): Promise<void> {
    if (how === "close") await this[side].close();
    else this.#pair[side].abort(6, "cut");
    await Promise.all([this.client.closed, this.server.closed]);
  }

  /** Let everything go on that can. */
  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Everything that is cancelled ends on both nodes, and once: while the connection lives, and with it. */
  async check(): Promise<void> {
    const { length } = this.handlers;
    for (let i = 0; i < this.begun.length; i += 2) this.begun[i]!.cancel();
    for (let i = 0; i < this.subscriptions.length; i++) this.leave(i);
    for (let i = 0; i < length; i += 2) this.handlers[i]!.answer("in the end");
    await this.settle();
    for (const { cancel } of this.begun) cancel();
    await this.settle();
    this.#checkStats({ exceptStreams: true });
    await this.disconnect("abort", "client");
    // Who reads some items already is not waiting for more than is there.
    await this.settle();
    for (let i = 0; i < this.subscriptions.length; i++) this.read(i, 1e6);
    await this.settle();
    for (const { settled, outcome } of this.begun) {
      assert.equal(settled, 1);
      assert.notEqual(outcome, "pending");
    }
    for (const { aborts, returned } of this.handlers) {
      assert.ok(aborts <= 1);
      assert.ok(returned);
    }
    this.#checkStats({ exceptStreams: false });
  }

  #checkStats({ exceptStreams }: { exceptStreams: boolean }): void {
    for (const session of this.#sessions) {
      const left = Object.entries(session.stats()).filter(([, count]) => count !== 0);
      assert.deepEqual(
        left.filter(([name]) => !exceptStreams || name !== "streams"),
        [],
      );
    }
  }
}

function outcomeOf(error: unknown): Outcome {
  if (isConnectionLost(error)) return "lost";
  if (error instanceof CallError && error.code === "FORBIDDEN") return "revoked";
  if (error instanceof CallError && error.code === "DECLARED") return "answered";
  // It came while the other side was closing.
  if (error instanceof CallError && error.code === "LIMIT") return "lost";
  assert.equal((error as Error).name, "AbortError", String(error));
  return "cancelled";
}

type Command = fc.AsyncCommand<object, World>;

function command(text: string, run: (world: World) => void | Promise<void>): Command {
  return {
    check: () => true,
    run: async (_, world) => await run(world),
    toString: () => text,
  };
}

const side = fc.constantFrom<Side>("client", "server");
const index = fc.nat(50);

const commands = [
  fc
    .tuple(
      side,
      fc.constantFrom("now", "later", "wait", "wait", "fail"),
      fc.constantFrom(0, 300, 90_000),
    )
    .map(([by, operation, size]) =>
      command(`${by} calls ${operation}, ${size}`, (world) => world.call(by, operation, size)),
    ),
  fc
    .tuple(side, fc.nat(60), fc.constantFrom(1, 2, 16, 256))
    .map(([by, count, window]) =>
      command(`${by} subscribes, ${count} items, window ${window}`, (world) =>
        world.subscribe(by, count, window),
      ),
    ),
  fc
    .tuple(index, fc.integer({ min: 1, max: 40 }))
    .map(([at, count]) => command(`read ${count} of ${at}`, (world) => world.read(at, count))),
  index.map((at) => command(`leave ${at}`, (world) => world.leave(at))),
  index.map((at) => command(`cancel ${at}`, ({ begun }) => begun[at % begun.length]?.cancel())),
  index.map((at) =>
    command(`answer ${at}`, ({ handlers }) => handlers[at % handlers.length]?.answer("answer")),
  ),
  index.map((at) =>
    command(`revoke ${at}`, ({ handlers }) =>
      handlers[at % handlers.length]?.call.fail(new CallError("FORBIDDEN", "access revoked")),
    ),
  ),
  fc.constant(command("settle", async (world) => await world.settle())),
  fc.tuple(fc.constantFrom("close" as const, "abort" as const), side).map(([how, by]) =>
    command(`${by}: ${how}, reconnect`, async (world) => {
      // Two handlers would have to be waited for otherwise.
      for (const { answer } of world.handlers) answer("closing");
      await world.disconnect(how, by);
      world.connect();
    }),
  ),
];

for (const multiplexed of [true, false]) {
  test(`each call settles once and nothing is left, whatever two nodes do, on ${
    multiplexed ? "many streams" : "one stream"
  }`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: "max" }), async (steps) => {
        const world = new World(multiplexed);
        await fc.asyncModelRun(() => ({ model: {}, real: world }), steps);
        await world.check();
      }),
      { numRuns: 150 },
    );
  });
}
