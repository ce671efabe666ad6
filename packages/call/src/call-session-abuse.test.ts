import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { suite, test, type TestContext } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type ConnectionPair, connectionPair } from "@alknet/core/testing";
import type { CallError } from "./call-error.ts";
import { callSession, type CallSessionOptions } from "./call-session.ts";
import { stream } from "./output-stream.ts";
import type { CallSession, IncomingCall, Dispatch } from "./session.ts";
import { type Frame, encodeFrame, FrameReader, MAX_BODY } from "./wire/frame.ts";

interface Event {
  readonly type: string;
  readonly id: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** A stream of a peer that sends what it likes. */
class RawStream {
  readonly duplex: Duplex;
  readonly #reader = new FrameReader();
  readonly #events: Event[] = [];
  #wake = (): void => {};
  #reading = false;

  constructor(duplex: Duplex) {
    this.duplex = duplex;
    duplex.on("error", () => {});
  }

  send(...events: (Partial<Event> | string)[]): boolean {
    return this.sendBytes(Buffer.concat(events.map((event) => frameOf(event))));
  }

  sendBytes(bytes: Buffer): boolean {
    return this.duplex.write(bytes);
  }

  /** Resolves when the other end has taken what was sent. */
  async sent(): Promise<void> {
    if (this.duplex.writableNeedDrain) await once(this.duplex, "drain");
  }

  async next(): Promise<Event> {
    if (!this.#reading) {
      this.#reading = true;
      this.duplex.on("data", (chunk: Buffer) => {
        this.#reader.push(chunk, (body) => this.#events.push(JSON.parse(body) as Event));
        this.#wake();
      });
      this.duplex.on("close", () => this.#wake());
    }
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) return event;
      if (this.duplex.destroyed) throw new Error("the stream has ended");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async closed(): Promise<void> {
    this.duplex.resume();
    if (this.duplex.closed) return;
    await new Promise<void>((resolve) => this.duplex.once("close", resolve));
  }
}

function frameOf(event: Partial<Event> | string): Buffer {
  const body = typeof event === "string" ? event : JSON.stringify(event);
  const frame: Frame = encodeFrame("", body, "");
  return typeof frame === "string" ? Buffer.from(frame, "latin1") : frame;
}

function requested(id: string, operation: string, input: unknown = {}, more: object = {}): Event {
  return { type: "call.requested", id, payload: { operationId: `/${operation}`, input, ...more } };
}

/** Answers when nobody wants it any more. */
async function untilAborted(call: IncomingCall): Promise<void> {
  await new Promise<void>((resolve) => call.onabort(() => resolve()));
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

interface Abused extends AsyncDisposable {
  readonly pair: ConnectionPair;
  readonly session: CallSession;
  open(): Promise<RawStream>;
}

/** A session as the server, and a peer that is not. */
function abused(
  multiplexed: boolean,
  dispatch: Dispatch,
  options: CallSessionOptions = {},
  window?: number,
): Abused {
  const pair = connectionPair({ alpn: "alknet/call", multiplexed, window });
  const session = callSession(pair.server, { dispatch, logger: silent, ...options });
  return {
    pair,
    session,
    open: async () => new RawStream(await pair.client.open()),
    async [Symbol.asyncDispose]() {
      pair.client.abort(0);
      await session.closed;
      await turns(3);
      assert.deepEqual(
        Object.entries(session.stats()).filter(([, count]) => count !== 0),
        [],
        "nothing is left",
      );
    },
  };
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Run until `done`, for as long as something goes on. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await turns(1);
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes held by this process that are reachable. */
async function held(): Promise<number> {
  // What the first has found to be garbage may be counted until the second.
  collect();
  await turns(2);
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Run `work`, and say what is held before, at its most and after. */
async function flat(
  context: TestContext,
  most: number,
  work: (measure: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const before = await held();
  let peak = before;
  await work(async () => {
    peak = Math.max(peak, await held());
  });
  const after = await held();
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  context.diagnostic(`held before ${mib(before)}, at most ${mib(peak)}, after ${mib(after)}`);
  assert.ok(peak - before < most, `${mib(peak - before)} more at most`);
  assert.ok(after - before < 4 * 2 ** 20, `${mib(after - before)} more after`);
}

const MIB = 2 ** 20;

const MALFORMED: Readonly<Record<string, Buffer>> = {
  "a length of 0": Buffer.alloc(4),
  "a length of 64 MiB and a byte": Buffer.from([4, 0, 0, 1]),
  "a length of 4 GiB less a byte": Buffer.alloc(4, 0xff),
  "a body that is not UTF-8": Buffer.from([0, 0, 0, 2, 0x22, 0xff]),
  "a body that is not JSON": frameOf('{"type":"call.aborted"'),
  "a body that is no envelope": frameOf("[]"),
  "an id that is no text": frameOf(
    '{"type":"call.requested","id":1,"payload":{"operationId":"/a"}}',
  ),
  "100,000 brackets": frameOf("[".repeat(100_000)),
};

for (const [what, bytes] of Object.entries(MALFORMED)) {
  test(`${what} ends that stream, and other calls go on`, async () => {
    const waiting = Promise.withResolvers<string>();
    await using node = abused(true, ({ operation, input }) =>
      operation === "wait" ? waiting.promise : input,
    );
    const other = await node.open();
    other.send(requested("1", "wait"));
    const broken = await node.open();
    broken.send(requested("2", "wait"), requested("3", "echo", 7));
    assert.equal((await broken.next()).id, "3");
    broken.sendBytes(bytes);
    await broken.closed();
    await until(() => node.session.stats().incoming === 1);
    waiting.resolve("done");
    assert.deepEqual((await other.next()).payload, { output: "done" });
    other.send(requested("4", "echo", 8));
    assert.deepEqual((await other.next()).payload, { output: 8 });
  });

  test(`${what} ends a connection that has one stream, and that alone`, async () => {
    await using node = abused(false, ({ input }) => input);
    await using another = abused(false, ({ input }) => input);
    const broken = await node.open();
    broken.sendBytes(bytes);
    await broken.closed();
    assert.equal((await node.session.closed).by, "local");
    assert.equal((await node.session.closed).name, "PROTOCOL");
    const other = await another.open();
    other.send(requested("1", "echo", 1));
    assert.deepEqual((await other.next()).payload, { output: 1 });
  });
}

test("a stream that is reset, or ends within a frame, has its calls aborted, and no others", async () => {
  const aborted: string[] = [];
  await using node = abused(true, (call) => {
    call.onabort(() => aborted.push(call.id));
    return untilAborted(call);
  });
  const other = await node.open();
  other.send(requested("1", "wait"));
  const cut = await node.open();
  cut.send(requested("2", "wait"));
  cut.duplex.end(frameOf(requested("3", "wait")).subarray(0, 20));
  const reset = await node.open();
  reset.send(requested("4", "wait"));
  await until(() => node.session.stats().incoming === 3 || aborted.length > 0);
  reset.duplex.destroy(Object.assign(new Error("gone"), { code: "INTERNAL" }));
  await until(() => aborted.length === 2);
  assert.deepEqual(aborted.toSorted(), ["2", "4"]);
  assert.equal(node.session.stats().incoming, 1);
});

test("a reset of the stream that our calls are on fails those, and no others", async () => {
  await using node = abused(true, () => 1);
  const calls = [1, 2].map((it) => node.session.call("a", it));
  const shared = new RawStream((await node.pair.client.accept())!);
  await shared.next();
  const items = node.session.subscribe("b", {});
  const own = new RawStream((await node.pair.client.accept())!);
  const { id } = await own.next();
  shared.duplex.destroy(Object.assign(new Error("gone"), { code: "INTERNAL" }));
  for (const call of calls) {
    await assert.rejects(call, { code: "INTERNAL", message: "connection closed" });
  }
  assert.equal(node.session.stats().outgoing, 1);
  own.send({ type: "call.responded", id, payload: { output: 7 } });
  assert.deepEqual(await items.next(), { value: 7, done: false });
  // The next call goes on a new one, which has begun with credit for the subscription.
  const next = node.session.call("c", {});
  const fresh = new RawStream((await node.pair.client.accept())!);
  assert.equal((await fresh.next()).type, "call.credit");
  const again = await fresh.next();
  fresh.send({ type: "call.responded", id: again.id, payload: { output: "again" } });
  assert.equal(await next, "again");
  await items.return();
});

test("credit for a subscription that is held is not lost", async () => {
  await using node = abused(
    false,
    ({ operation }) => (operation === "much" ? "x".repeat(MIB) : stream([1, 2])),
    {},
    MIB / 2,
  );
  const raw = await node.open();
  raw.send(requested("1", "much"), requested("2", "items", {}, { window: 1 }), {
    type: "call.credit",
    id: "2",
    payload: { items: 2 },
  });
  await until(() => node.session.stats().held === 1);
  await raw.sent();
  await turns(2);
  assert.equal((await raw.next()).id, "1");
  const types = [];
  for (let i = 0; i < 3; i++) types.push((await raw.next()).type);
  assert.equal(types.at(-1), "call.completed");
});

test("a stream per call, ended after its request, is answered and ended", async () => {
  await using node = abused(true, ({ operation, input }) =>
    operation === "items" ? stream([1, 2]) : Promise.resolve(input),
  );
  for (const [operation, types] of [
    ["echo", ["call.responded"]],
    ["items", ["call.responded", "call.responded", "call.completed"]],
  ] as const) {
    const one = await node.open();
    one.duplex.end(frameOf(requested("1", operation)));
    for (const type of types) assert.equal((await one.next()).type, type);
    await one.closed();
    assert.equal(one.duplex.readableEnded, true);
  }
  await until(() => node.session.stats().streams === 0);
});

test("an abort on a stream of its own reaches a call of another", async () => {
  let reason: Error | undefined;
  await using node = abused(true, (call) => {
    call.onabort((error) => (reason = error));
    return untilAborted(call);
  });
  const one = await node.open();
  one.send(requested("1", "wait"));
  await until(() => node.session.stats().incoming === 1);
  const two = await node.open();
  two.duplex.end(frameOf({ type: "call.aborted", id: "1", payload: {} }));
  await until(() => reason !== undefined);
  assert.equal(reason?.name, "AbortError");
});

test("an answer on another stream than the request's is taken, and so is one after its stream ended", async () => {
  await using node = abused(true, () => 1);
  const first = node.session.call("a", {});
  const theirs = new RawStream((await node.pair.client.accept())!);
  const request = await theirs.next();
  assert.equal(request.payload["operationId"], "/a");
  theirs.duplex.end();
  const other = await node.open();
  other.send({ type: "call.responded", id: request.id, payload: { output: "elsewhere" } });
  assert.equal(await first, "elsewhere");
  // The stream that ended is used no more.
  const second = node.session.call("b", {});
  const fresh = new RawStream((await node.pair.client.accept())!);
  fresh.send({ type: "call.error", id: (await fresh.next()).id, payload: { code: "NO" } });
  await assert.rejects(second, { code: "NO" });
});

suite("on one stream", () => {
  test("a peer may end its side, and is still answered", async () => {
    const answer = Promise.withResolvers<unknown>();
    await using node = abused(false, () => answer.promise);
    const raw = await node.open();
    raw.duplex.end(frameOf(requested("1", "wait")));
    await until(() => node.session.stats().incoming === 1);
    await assert.rejects(node.session.call("a", {}), { message: "connection closed" });
    answer.resolve("late");
    assert.deepEqual((await raw.next()).payload, { output: "late" });
    await raw.closed();
  });

  test("an id that is open is refused with INVALID_INPUT, and free again once it was answered", async () => {
    const answers: PromiseWithResolvers<unknown>[] = [];
    await using node = abused(false, () => {
      const answer = Promise.withResolvers<unknown>();
      answers.push(answer);
      return answer.promise;
    });
    const raw = await node.open();
    raw.send(requested("1", "a"), requested("1", "b"));
    const refused = await raw.next();
    assert.deepEqual([refused.type, refused.id], ["call.error", "1"]);
    assert.equal(refused.payload["code"], "INVALID_INPUT");
    answers[0]!.resolve("first");
    assert.deepEqual((await raw.next()).payload, { output: "first" });
    raw.send(requested("1", "c"));
    await until(() => answers.length === 2);
    answers[1]!.resolve("again");
    assert.deepEqual((await raw.next()).payload, { output: "again" });
  });

  test("a request that is none is answered, and events of unknown types or ids are ignored", async () => {
    await using node = abused(false, ({ input }) => input);
    const raw = await node.open();
    raw.send(
      { type: "call.requested", id: "1", payload: {} },
      { type: "call.paused", id: "1", payload: {} },
      { type: "call.responded", id: "1", payload: { output: 1 } },
      { type: "call.completed", id: "__proto__", payload: {} },
      { type: "call.error", id: "toString", payload: {} },
      { type: "call.aborted", id: "constructor", payload: {} },
      { type: "call.credit", id: "1", payload: { items: 5 } },
      '{"type":"call.requested","id":"__proto__","payload":{"operationId":"/echo","input":{"__proto__":{"polluted":1}}}}',
    );
    const refused = await raw.next();
    assert.deepEqual([refused.id, refused.payload["code"]], ["1", "INVALID_INPUT"]);
    const echoed = await raw.next();
    assert.equal(echoed.id, "__proto__");
    assert.equal(JSON.stringify(echoed.payload), '{"output":{"__proto__":{"polluted":1}}}');
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  });

  test("frames arrive cut at every byte", async () => {
    await using node = abused(false, ({ input }) => input);
    const raw = await node.open();
    const frames = Buffer.concat(
      [requested("1", "é", "€"), requested("2", "é", "😀")].map(frameOf),
    );
    for (const byte of frames) {
      raw.sendBytes(Buffer.of(byte));
      await raw.sent();
    }
    assert.deepEqual((await raw.next()).payload, { output: "€" });
    assert.deepEqual((await raw.next()).payload, { output: "😀" });
    for (let at = 1; at < frames.length; at++) {
      raw.sendBytes(frames.subarray(0, at));
      await turns(1);
      raw.sendBytes(frames.subarray(at));
      assert.equal((await raw.next()).id, "1");
      assert.equal((await raw.next()).id, "2");
    }
  });

  test("a value of 100,000 levels is echoed, or fails that call alone", async () => {
    await using node = abused(false, ({ input }) => input);
    const raw = await node.open();
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    raw.send(
      `{"type":"call.requested","id":"1","payload":{"operationId":"/echo","input":${deep}}}`,
      requested("2", "echo", 2),
    );
    const [first, second] = [await raw.next(), await raw.next()];
    assert.ok(first.type === "call.responded" || first.payload["code"] === "INTERNAL");
    assert.deepEqual(second.payload, { output: 2 });
  });

  test("100,000 aborts of calls that run leave nothing, and memory is flat", async (context) => {
    let aborted = 0;
    await using node = abused(false, (call) => {
      if (call.operation === "now") return 1;
      const { promise, reject } = Promise.withResolvers<never>();
      call.onabort((reason) => {
        aborted++;
        reject(reason);
      });
      return promise;
    });
    const raw = await node.open();
    await flat(context, 8 * MIB, async (measure) => {
      for (let i = 0; i < 100_000; i += 1_000) {
        const batch = Array.from({ length: 1_000 }, (_, at) => `${i + at}`);
        raw.send(...batch.map((id) => requested(id, "wait")));
        raw.send(...batch.map((id) => ({ type: "call.aborted", id, payload: {} })));
        await raw.sent();
        if (i % 20_000 === 0) await measure();
      }
      await until(() => aborted === 100_000);
      await until(() => node.session.stats().running === 0);
    });
    raw.send(requested("now", "now"));
    assert.deepEqual((await raw.next()).payload, { output: 1 });
  });

  test("a flood of responses that nobody asked for is ignored, and memory is flat", async (context) => {
    await using node = abused(false, () => 1);
    const raw = await node.open();
    const batch = Array.from({ length: 1_000 }, (_, i) => ({
      type: "call.responded",
      id: `${i}`,
      payload: { output: "x".repeat(200) },
    }));
    // 54 MB pass.
    await flat(context, 8 * MIB, async (measure) => {
      for (let i = 0; i < 200; i++) {
        raw.send(...batch);
        await raw.sent();
        if (i % 40 === 0) await measure();
      }
      raw.send(requested("1", "a"));
      assert.deepEqual((await raw.next()).payload, { output: 1 });
    });
  });

  test("a subscriber that knows no window, and one that ignores it, are bounded", async (context) => {
    await using node = abused(false, () => 1);
    const items = node.session.subscribe("a", {}, { window: 16 });
    const raw = new RawStream(await node.pair.client.open());
    const { id, payload } = await raw.next();
    assert.equal(payload["window"], 16);
    const calls = node.session.call("b", {});
    const other = (await raw.next()).id;
    await flat(context, 8 * MIB, async () => {
      for (let i = 0; i < 100; i++) {
        raw.send(
          ...Array.from({ length: 100 }, () => ({
            type: "call.responded",
            id,
            payload: { output: "x".repeat(1_000) },
          })),
        );
        await raw.sent();
      }
      raw.send({ type: "call.responded", id: other, payload: { output: "fine" } });
      assert.equal(await calls, "fine");
    });
    let read = 0;
    const error = await (async () => {
      for await (const _ of items) read++;
    })().then(
      () => assert.fail("expected an overflow"),
      (failure: CallError) => failure,
    );
    assert.equal(error.code, "OVERFLOW");
    assert.equal(read, 1_025);
    assert.deepEqual([(await raw.next()).type, node.session.stats().outgoing], ["call.aborted", 0]);
  });

  test("a peer that never reads has no more begun for it, and memory is bounded", async (context) => {
    const answer = "x".repeat(1_000);
    let begun = 0;
    await using node = abused(false, () => {
      begun++;
      return answer;
    });
    const raw = await node.open();
    await flat(context, 24 * MIB, async (measure) => {
      let isTaken = true;
      let sent = 0;
      while (isTaken && sent < 500_000) {
        isTaken = raw.send(...Array.from({ length: 100 }, (_, i) => requested(`${sent + i}`, "a")));
        sent += 100;
        await turns(2);
        isTaken = !raw.duplex.writableNeedDrain;
      }
      await measure();
      // Our reading stopped before all was sent, and it resumes.
      assert.ok(sent < 500_000, `${sent} requests sent`);
      assert.ok(begun < 3_000, `${begun} calls begun`);
      assert.ok(node.session.stats().held <= 1_024 + 1_000);
      for (let i = 0; i < sent; i++)
        assert.deepEqual((await raw.next()).payload, { output: answer });
      assert.equal(begun, sent);
    });
  });

  test("requests that were held go on also where the transport has taken all answers at once", async () => {
    const answer = "x".repeat(1_000);
    // More than all of them: no write is ever told to wait.
    await using node = abused(false, () => answer, {}, 16 * MIB);
    const raw = await node.open();
    raw.send(...Array.from({ length: 5_000 }, (_, i) => requested(`${i}`, "a")));
    for (let i = 0; i < 5_000; i++) assert.equal((await raw.next()).id, `${i}`);
  });

  test("a peer that never reads while we wait for it is held, refused, then cut off", async (context) => {
    await using node = abused(false, () => "x".repeat(1_000));
    const waiting = node.session.call("a", {}).catch((error: CallError) => error.message);
    const raw = await node.open();
    await flat(context, 48 * MIB, async (measure) => {
      for (let sent = 0; !raw.duplex.destroyed; sent += 500) {
        raw.send(...Array.from({ length: 500 }, (_, i) => requested(`${sent + i}`, "a")));
        await until(() => raw.duplex.destroyed || !raw.duplex.writableNeedDrain);
        if (sent % 10_000 === 0) await measure();
      }
      assert.equal((await node.session.closed).name, "LIMIT");
    });
    assert.equal(await waiting, "connection closed");
  });

  test("a subscription that is not read stops its producer, whatever window it claims", async () => {
    let made = 0;
    await using node = abused(false, () =>
      stream(
        (async function* () {
          for (;;) {
            made++;
            yield "x".repeat(1_000);
          }
        })(),
      ),
    );
    const raw = await node.open();
    raw.send(requested("1", "a"), requested("2", "a", {}, { window: 2 ** 31 - 1 }));
    let before = -1;
    while (made !== before) {
      before = made;
      await turns(5);
    }
    assert.ok(made < 1_300, `${made} items made`);
    assert.ok(node.session.stats().outgoingBytes < 1.2 * MIB);
  });

  test("100,000 calls that are cancelled leave nothing behind, though the peer never reads", async (context) => {
    await using node = abused(false, () => 1);
    const raw = await node.open();
    await flat(context, 12 * MIB, async (measure) => {
      for (let i = 0; i < 100_000; i++) {
        const controller = new AbortController();
        const call = node.session.call(
          "a",
          { text: "x".repeat(100) },
          { signal: controller.signal },
        );
        // Some have left by then, and need an abort.
        if (i % 100 === 0) await turns(1);
        controller.abort();
        await assert.rejects(call);
        if (i % 20_000 === 0) await measure();
      }
      assert.ok(node.session.stats().outgoingBytes < MIB);
    });
    assert.equal((await raw.next()).type, "call.requested");
  });

  test("two ends that ask each other for more than fits do not wait for each other", async () => {
    const answer = "x".repeat(100_000);
    const pair = connectionPair({ alpn: "alknet/call", multiplexed: false });
    const [a, b] = [pair.client, pair.server].map((end) =>
      callSession(end, { dispatch: () => answer }),
    );
    const calls = Array.from({ length: 2_000 }, (_, i) => (i % 2 === 0 ? a! : b!).call("a", i));
    for (const call of calls) assert.equal(await call, answer);
    await a!.close();
    await b!.close();
  });

  test("deadlines that a peer makes up cost a bounded number of timers", async () => {
    await using node = abused(false, untilAborted);
    const raw = await node.open();
    for (let i = 0; i < 10_000; i++) {
      raw.send(requested(`${i}`, "a", {}, { timeout_ms: 20_000 - i }));
    }
    await until(() => node.session.stats().incoming === 10_000);
    assert.equal(node.session.stats().deadlines, 10_000);
    for (let i = 0; i < 10_000; i++) raw.send({ type: "call.aborted", id: `${i}`, payload: {} });
    await until(() => node.session.stats().incoming === 0);
    assert.equal(node.session.stats().deadlines, 0);
  });
});

test("answers that are not read are bounded over all streams, and others go on", async (context) => {
  const pair = connectionPair({ alpn: "alknet/call", maxStreams: 300 });
  const session = callSession(pair.server, { dispatch: () => "x".repeat(1_000) });
  // The requests that are held come on top: 1,500 for each stream.
  await flat(context, 200 * MIB, async (measure) => {
    for (let i = 0; i < 256; i++) {
      const raw = new RawStream(await pair.client.open());
      raw.send(...Array.from({ length: 1_500 }, (_, at) => requested(`${i} ${at}`, "a")));
      await turns(2);
    }
    await measure();
    const { outgoingBytes } = session.stats();
    context.diagnostic(`${outgoingBytes} bytes wait to be sent on 256 streams`);
    assert.ok(outgoingBytes < 80 * MIB);
    const raw = new RawStream(await pair.client.open());
    raw.send(requested("last", "a"));
    assert.equal((await raw.next()).id, "last");
    pair.client.abort(0);
    await session.closed;
  });
});

test("frames that have begun and do not come in full are bounded over all streams", async (context) => {
  const pair = connectionPair({ alpn: "alknet/call" });
  const session = callSession(pair.server, { limits: { partialBytes: 4 * MIB } });
  await flat(context, 16 * MIB, async (measure) => {
    const streams: RawStream[] = [];
    for (let i = 0; i < 8; i++) {
      const raw = new RawStream(await pair.client.open());
      const header = Buffer.alloc(4);
      header.writeUInt32BE(MAX_BODY);
      raw.sendBytes(Buffer.concat([header, Buffer.alloc(MIB)]));
      streams.push(raw);
      await until(() => raw.duplex.destroyed || !raw.duplex.writableNeedDrain);
      await measure();
    }
    assert.equal(streams.filter(({ duplex }) => duplex.destroyed).length, 5);
    assert.ok(session.stats().incomingBytes <= 4 * MIB);
    pair.client.abort(0);
    await session.closed;
  });
  assert.equal(session.stats().incomingBytes, 0);
});
