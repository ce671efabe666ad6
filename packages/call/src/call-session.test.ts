import assert from "node:assert/strict";
import { once } from "node:events";
import { suite, test } from "node:test";
import { type ConnectionPair, connectionPair, FakeClock } from "@alknet/core/testing";
import { CallError, isConnectionLost } from "./call-error.ts";
import { callSession, type CallSessionOptions } from "./call-session.ts";
import { stream, withEventId } from "./output-stream.ts";
import type { CallSession, Dispatch, IncomingCall } from "./session.ts";

interface Sessions extends AsyncDisposable {
  readonly pair: ConnectionPair;
  readonly client: CallSession;
  readonly server: CallSession;
}

function sessions(
  multiplexed: boolean,
  server: Dispatch | CallSessionOptions,
  client: Dispatch | CallSessionOptions = {},
): Sessions {
  const pair = connectionPair({ alpn: "alknet/call", multiplexed });
  const begin = (end: "client" | "server", options: Dispatch | CallSessionOptions): CallSession =>
    callSession(pair[end], typeof options === "function" ? { dispatch: options } : options);
  const both = { client: begin("client", client), server: begin("server", server) };
  return {
    pair,
    ...both,
    async [Symbol.asyncDispose]() {
      await both.client.close();
      await both.server.close();
      for (const session of [both.client, both.server]) {
        assert.deepEqual(session.stats(), IDLE, "nothing is left");
      }
    },
  };
}

const IDLE = {
  outgoing: 0,
  incoming: 0,
  running: 0,
  held: 0,
  streams: 0,
  outgoingBytes: 0,
  incomingBytes: 0,
  deadlines: 0,
};

/** A handler that answers when the test says so. */
function gatedDispatch(): {
  dispatch: Dispatch;
  calls: GatedCall[];
  arrived: (count: number) => Promise<void>;
} {
  const calls: GatedCall[] = [];
  let wake = (): void => {};
  return {
    calls,
    dispatch(call) {
      const answer = Promise.withResolvers<unknown>();
      calls.push({ call, ...answer });
      wake();
      return answer.promise;
    },
    async arrived(count) {
      while (calls.length < count) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

interface GatedCall extends PromiseWithResolvers<unknown> {
  readonly call: IncomingCall;
}

async function* countTo(end: number): AsyncGenerator<number> {
  for (let i = 0; i < end; i++) yield i;
}

async function all(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Resolves when `call` is aborted, with the reason. */
async function abortOf(call: IncomingCall): Promise<Error> {
  return await new Promise((resolve) => call.onabort(resolve));
}

for (const multiplexed of [true, false]) {
  suite(multiplexed ? "on many streams" : "on one stream", () => {
    test("call() gets the output, be it there at once, later, or none", async () => {
      await using both = sessions(multiplexed, ({ operation, input }) =>
        operation === "now" ? input : operation === "later" ? Promise.resolve(input) : undefined,
      );
      const { client } = both;
      const input = { text: "é€😀\u2028\ud83d", numbers: [1.5, -0, 2 ** 53], nothing: null };
      for (const operation of ["now", "later"]) {
        assert.deepEqual(
          await client.call(operation, input),
          JSON.parse(JSON.stringify(input)) as unknown,
        );
      }
      assert.equal(await client.call("none", 1), null);
      assert.deepEqual(await client.call("now", undefined), {});
    });

    test("either end may call, and calls cross", async () => {
      await using both = sessions(
        multiplexed,
        async ({ session, input }) => await session.call("back", input),
        async ({ operation, input }) => `${operation} ${String(input)}`,
      );
      const answers = Array.from(
        { length: 100 },
        async (_, i) => await both.client.call("there", i),
      );
      assert.deepEqual(
        await Promise.all(answers),
        Array.from({ length: 100 }, (_, i) => `back ${i}`),
      );
    });

    test("a call carries who calls and for whom, as it was given", async () => {
      let got: IncomingCall | undefined;
      await using both = sessions(multiplexed, (call) => void (got = call));
      const forwardedFor = { id: "alice", scopes: ["a:b"], resources: { fs: ["x"] } };
      await both.client.call("fs/list", 1, { authToken: "t", forwardedFor, timeout: 1_234 });
      assert.equal(got?.operation, "fs/list");
      assert.equal(got.authToken, "t");
      assert.deepEqual(got.forwardedFor, forwardedFor);
      assert.equal(got.timeout, 1_234);
      assert.equal(got.session, both.server);
      await both.client.call("fs/list", 1);
      assert.equal(got.authToken, undefined);
      assert.equal(got.forwardedFor, undefined);
      assert.equal(got.timeout, undefined);
    });

    test("a CallError goes over as it is, and anything else as INTERNAL without its text", async () => {
      const lines: object[] = [];
      const logger = {
        debug() {},
        info() {},
        warn() {},
        error: (fields: object) => lines.push(fields),
      };
      const secret = new Error("password is hunter2");
      const dispatch: Dispatch = async ({ operation }) => {
        if (operation === "declared") {
          throw new CallError("FILE_NOT_FOUND", "no such file", { details: { path: "/é" } });
        }
        if (operation === "retryable") throw new CallError("BUSY", "later", { retryable: true });
        return await Promise.reject(operation === "text" ? "hunter2" : secret);
      };
      await using both = sessions(multiplexed, { dispatch, logger });
      const failed = async (operation: string): Promise<CallError> =>
        await both.client.call(operation, {}).then(
          () => assert.fail("expected a failure"),
          (error: CallError) => error,
        );
      const declared = await failed("declared");
      assert.ok(declared instanceof CallError);
      assert.equal(declared.code, "FILE_NOT_FOUND");
      assert.equal(declared.message, "no such file");
      assert.equal(declared.retryable, false);
      assert.deepEqual(declared.details, { path: "/é" });
      assert.equal(isConnectionLost(declared), false);
      const retryable = await failed("retryable");
      assert.equal(retryable.retryable, true);
      assert.equal("details" in JSON.parse(JSON.stringify(retryable)), false);
      for (const operation of ["error", "text"]) {
        const internal = await failed(operation);
        assert.equal(internal.code, "INTERNAL");
        assert.doesNotMatch(JSON.stringify([internal, internal.message]), /hunter2/);
      }
      assert.equal((lines[0] as { err: unknown }).err, secret);
      assert.equal(lines.length, 2);
    });

    test("without a dispatch every operation is NOT_FOUND", async () => {
      await using both = sessions(multiplexed, {});
      await assert.rejects(both.client.call("fs/list", {}), {
        code: "NOT_FOUND",
        message: "operation not found: fs/list",
      });
    });

    test("what JSON cannot say fails that call or item, and no other", async () => {
      const logger = { debug() {}, info() {}, warn() {}, error() {} };
      const dispatch: Dispatch = ({ operation }) => {
        if (operation === "items") return stream([1, 2n, 3]);
        if (operation === "details") throw new CallError("X", "x", { details: { big: 1n } });
        return 1n;
      };
      await using both = sessions(multiplexed, { dispatch, logger });
      const { client } = both;
      await assert.rejects(client.call("output", {}), { code: "INTERNAL" });
      await assert.rejects(client.call("details", {}), { code: "INTERNAL" });
      const items = client.subscribe("items", {});
      assert.deepEqual(await items.next(), { value: 1, done: false });
      await assert.rejects(items.next(), { code: "INTERNAL" });
      assert.equal((await items.next()).done, true);
      await assert.rejects(client.call("echo", 1n), TypeError);
      await assert.rejects(client.call("echo", Symbol("s")), TypeError);
      await assert.rejects(client.subscribe("echo", () => 1).next(), TypeError);
      assert.equal(client.stats().outgoing, 0);
    });

    test("subscribe() yields each item, in order, then ends", async () => {
      await using both = sessions(multiplexed, ({ input }) => stream(countTo(input as number)));
      for (const count of [0, 1, 15, 16, 17, 1_000]) {
        const items = await all(both.client.subscribe("count", count));
        assert.deepEqual(
          items,
          Array.from({ length: count }, (_, i) => i),
        );
      }
    });

    test("a subscription may begin later, iterate without waiting, and be read ahead", async () => {
      await using both = sessions(multiplexed, async () => stream(["a", "b"]));
      const items = both.client.subscribe("letters", {});
      assert.deepEqual(
        await Promise.all([items.next(), items.next(), items.next(), items.next()]),
        [
          { value: "a", done: false },
          { value: "b", done: false },
          { value: undefined, done: true },
          { value: undefined, done: true },
        ],
      );
    });

    test("an error is the last item of a subscription, once", async () => {
      await using both = sessions(multiplexed, () =>
        stream(
          (async function* () {
            yield* [1, 2];
            throw new CallError("GONE", "gone");
          })(),
        ),
      );
      const items = both.client.subscribe("items", {});
      assert.deepEqual([(await items.next()).value, (await items.next()).value], [1, 2]);
      await assert.rejects(items.next(), { code: "GONE" });
      assert.deepEqual(await items.next(), { value: undefined, done: true });
    });

    test("items carry their event ids, and the last one is told to who resumes", async () => {
      let resumedFrom: string | undefined;
      await using both = sessions(multiplexed, ({ lastEventId }) => {
        resumedFrom = lastEventId;
        return stream([withEventId("id é", 1), 2]);
      });
      const items = both.client.subscribe("items", {}, { lastEventId: "41" });
      assert.equal(items.lastEventId, undefined);
      assert.equal((await items.next()).value, 1);
      assert.equal(items.lastEventId, "id é");
      assert.equal((await items.next()).value, 2);
      assert.equal(items.lastEventId, "id é");
      assert.equal(resumedFrom, "41");
      await items.return();
    });

    test("a producer is asked for no more than the window, and for more as items are read", async () => {
      let made = 0;
      let pulled = (): void => {};
      const source = (async function* () {
        for (;;) {
          pulled();
          yield made++;
        }
      })();
      await using both = sessions(multiplexed, ({ operation }) =>
        operation === "count" ? stream(source) : undefined,
      );
      const items = both.client.subscribe("count", {}, { window: 4 });
      // One is made and waits for a reader at most: with no room nothing is asked for.
      while (made < 4) await new Promise<void>((resolve) => (pulled = resolve));
      await both.client.call("settle", {});
      assert.equal(made, 4);
      for (let i = 0; i < 100; i++) assert.equal((await items.next()).value, i);
      await both.client.call("settle", {});
      assert.ok(made >= 100 && made <= 104, `${made} items`);
      await items.return();
    });

    test("break, return(), disposal, signal and time-out cancel the handler over there", async () => {
      const clock = new FakeClock();
      const { dispatch, calls, arrived } = gatedDispatch();
      let ended = 0;
      const endless = (call: IncomingCall): unknown =>
        stream(
          (async function* () {
            try {
              for (;;) yield 1;
            } finally {
              ended++;
              dispatch(call);
            }
          })(),
        );
      await using both = sessions(
        multiplexed,
        {
          dispatch: (call) => (call.operation === "endless" ? endless(call) : dispatch(call)),
          clock,
        },
        { clock },
      );
      const { client } = both;
      for await (const item of client.subscribe("endless", {})) {
        assert.equal(item, 1);
        break;
      }
      await arrived(1);
      await client.subscribe("endless", {}).return();
      {
        await using items = client.subscribe("endless", {});
        await items.next();
      }
      const controller = new AbortController();
      const items = client.subscribe("endless", {}, { signal: controller.signal });
      await items.next();
      const reason = new Error("enough");
      controller.abort(reason);
      await assert.rejects(items.next(), reason);
      assert.equal((await items.next()).done, true);
      await arrived(3);
      assert.equal(ended, 3);

      const call = client.call("wait", {}, { signal: AbortSignal.any([controller.signal]) });
      await assert.rejects(call, reason);
      const second = new AbortController();
      const pending = client.call("wait", {}, { signal: second.signal });
      await arrived(4);
      const aborted = abortOf(calls[3]!.call);
      second.abort(reason);
      await assert.rejects(pending, reason);
      assert.equal((await aborted).name, "AbortError");
      assert.equal(calls[3]!.call.aborted, true);
      assert.equal(calls[3]!.call.signal.aborted, true);
      const late = client.call("wait", {}, { timeout: 50 });
      await arrived(5);
      const timedOut = abortOf(calls[4]!.call);
      clock.advance(50);
      await assert.rejects(late, {
        code: "TIMEOUT",
        retryable: true,
        message: "request timed out",
      });
      await timedOut;
      for (const each of calls) each.resolve(undefined);
    });

    test("a call that was cancelled before it left is never begun", async () => {
      let begun = 0;
      await using both = sessions(multiplexed, () => void begun++);
      const controller = new AbortController();
      const call = both.client.call("a", {}, { signal: controller.signal });
      controller.abort();
      await assert.rejects(call, { name: "AbortError" });
      const subscription = both.client.subscribe("a", {});
      await subscription.return();
      await assert.rejects(both.client.call("a", {}, { signal: controller.signal }));
      await both.client.call("b", {});
      assert.equal(begun, 1);
    });

    test("a handler is aborted with TIMEOUT at 30 s, or sooner if its caller waits for less", async () => {
      const clock = new FakeClock();
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, { dispatch, clock });
      const long = both.client.call("a", {}, { timeout: Infinity });
      const longer = both.client.call("a", {}, { timeout: 60_000 });
      const short = both.client.call("a", {}, { timeout: 1_000 });
      await arrived(3);
      assert.deepEqual(
        calls.map(({ call }) => call.deadline),
        [30_000, 30_000, 1_000],
      );
      const aborts = calls.map(({ call }) => once(call.signal, "abort"));
      clock.advance(1_000);
      await assert.rejects(short, { code: "TIMEOUT", retryable: true });
      await aborts[2];
      assert.equal(calls[0]!.call.aborted, false);
      clock.advance(29_000);
      await assert.rejects(long, { code: "TIMEOUT", retryable: true });
      await assert.rejects(longer, { code: "TIMEOUT" });
      await Promise.all(aborts);
      assert.equal((calls[0]!.call.signal.reason as CallError).code, "TIMEOUT");
      // An answer that comes too late is nobody's.
      for (const { resolve } of calls) resolve("late");
      assert.equal(both.server.stats().running, 3);
    });

    test("a subscription has no deadline, but the one its subscriber asks for", async () => {
      const clock = new FakeClock();
      const calls: IncomingCall[] = [];
      const sources: PromiseWithResolvers<void>[] = [];
      const dispatch: Dispatch = async (call) => {
        calls.push(call);
        if (call.operation === "told") call.subscribed();
        const source = Promise.withResolvers<void>();
        sources.push(source);
        return stream(
          (async function* () {
            yield call.deadline ?? null;
            await source.promise;
          })(),
        );
      };
      await using both = sessions(multiplexed, { dispatch, clock });
      const { client } = both;
      const endless = client.subscribe("a", {});
      const told = client.subscribe("told", {});
      const short = client.subscribe("told", {}, { timeout: 90_000 });
      assert.equal((await endless.next()).value, null);
      assert.equal((await told.next()).value, null);
      assert.equal((await short.next()).value, 90_000);
      clock.advance(90_000);
      await assert.rejects(short.next(), { code: "TIMEOUT" });
      assert.equal(client.stats().outgoing, 2);
      for (const { resolve } of sources) resolve();
      assert.equal((await endless.next()).done, true);
      assert.equal((await told.next()).done, true);
    });

    test("fail() of an incoming call answers it at once, and aborts what runs", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, dispatch);
      const pending = both.client.call("a", {});
      await arrived(1);
      const { call, resolve } = calls[0]!;
      const error = new CallError("FORBIDDEN", "access revoked");
      const aborted = abortOf(call);
      call.fail(error);
      await assert.rejects(pending, { code: "FORBIDDEN" });
      assert.equal(await aborted, error);
      call.fail(error);
      resolve("late");
      // Also to who listens too late.
      assert.equal(await abortOf(call), error);
      assert.equal(call.signal.reason, error);
    });

    test("calls, aborts and a long subscription on one stream do not hold up one another", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, (call) =>
        call.operation === "wait"
          ? dispatch(call)
          : call.operation === "now"
            ? 1
            : stream(countTo(1e9)),
      );
      const { client } = both;
      // Not read: its window is full, and it waits.
      const unread = client.subscribe("count", {});
      const waiting = client.call("wait", {});
      const busy = client.subscribe("count", {});
      const controller = new AbortController();
      const cancelled = client.call("wait", {}, { signal: controller.signal });
      await arrived(2);
      for (let i = 0; i < 1_000; i++) {
        assert.equal((await busy.next()).value, i);
        if (i % 10 === 0) assert.equal(await client.call("now", {}), 1);
      }
      controller.abort();
      await assert.rejects(cancelled);
      calls[0]!.resolve("done");
      assert.equal(await waiting, "done");
      assert.equal((await unread.next()).value, 0);
      calls[1]!.resolve(undefined);
      await unread.return();
      await busy.return();
    });

    test("a large input and output pass, others meanwhile", async () => {
      await using both = sessions(multiplexed, ({ input }) => input);
      const large = "é".repeat(2 ** 20);
      const [echo, small] = await Promise.all([
        both.client.call("echo", large),
        both.client.call("echo", "small"),
      ]);
      assert.equal(echo, large);
      assert.equal(small, "small");
      await assert.rejects(both.client.call("echo", "x".repeat(64 * 2 ** 20)), RangeError);
    });

    test("more calls than the limit are refused with LIMIT, those of cancelled handlers counted", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, { dispatch, limits: { incomingCalls: 2 } });
      const { client } = both;
      const controller = new AbortController();
      const first = client.call("a", {}, { signal: controller.signal });
      const second = client.call("a", {});
      await arrived(2);
      await assert.rejects(client.call("a", {}), { code: "LIMIT", retryable: true });
      controller.abort();
      await assert.rejects(first);
      await assert.rejects(client.call("a", {}), { code: "LIMIT" });
      for (const { resolve } of calls) resolve("done");
      assert.equal(await second, "done");
      const third = client.call("a", {});
      await arrived(3);
      calls[2]!.resolve("again");
      assert.equal(await third, "again");
    });

    test("calls of ours are limited, and so is the input of the peer's", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(
        multiplexed,
        { dispatch, limits: { incomingBytes: 1_000 } },
        { limits: { outgoingCalls: 2 } },
      );
      const { client } = both;
      // One is let in, whatever its size.
      const first = client.call("a", "x".repeat(5_000));
      await arrived(1);
      await assert.rejects(client.call("a", "x"), { code: "LIMIT" });
      const second = client.call("a", "x").catch((error: CallError) => error.code);
      await assert.rejects(client.call("a", "x"), { code: "LIMIT" });
      assert.equal(await second, "LIMIT");
      calls[0]!.resolve("done");
      assert.equal(await first, "done");
    });

    test("a lost connection fails every call with INTERNAL once, and aborts every handler", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      const both = sessions(multiplexed, (call) =>
        call.operation === "wait" ? dispatch(call) : stream(countTo(1e9)),
      );
      const { client, server } = both;
      const items = client.subscribe("count", {});
      await items.next();
      const pending = [client.call("wait", {}), client.call("wait", {})];
      await arrived(2);
      const aborts = calls.map(({ call }) => abortOf(call));
      const outcomes = Promise.allSettled(pending);
      both.pair.server.abort(6, "fault");
      for (const outcome of await outcomes) {
        assert.ok(outcome.status === "rejected" && isConnectionLost(outcome.reason));
        assert.equal(outcome.reason.code, "INTERNAL");
        assert.equal(outcome.reason.message, "connection closed");
      }
      await Promise.all(aborts);
      await assert.rejects(all(items), isConnectionLost);
      await assert.rejects(client.call("wait", {}), isConnectionLost);
      await assert.rejects(client.subscribe("count", {}).next(), isConnectionLost);
      for (const { resolve } of calls) resolve("late");
      await Promise.all([client.closed, server.closed]);
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(client.stats(), IDLE);
      assert.deepEqual(server.stats(), IDLE);
    });

    test("close() has calls of the peer answered, fails ours, and tells both ends apart", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, dispatch, dispatch);
      const { client, server } = both;
      const theirs = client.call("a", {});
      const ours = server.call("a", {});
      const items = server.subscribe("a", {});
      await arrived(3);
      const failed = assert.rejects(ours, isConnectionLost);
      const ended = assert.rejects(items.next(), isConnectionLost);
      const closing = server.close();
      await failed;
      await ended;
      for (const { resolve } of calls) resolve("answered");
      assert.equal(await theirs, "answered");
      await closing;
      assert.equal(server.close(), closing);
      assert.equal((await server.closed).by, "local");
      assert.equal((await client.closed).by, "peer");
      assert.equal((await client.closed).name, "OK");
    });

    test("close() waits for an answer no longer than it may", async () => {
      const clock = new FakeClock();
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, { dispatch, clock, limits: { drain: 500 } });
      const pending = assert.rejects(both.client.call("a", {}), isConnectionLost);
      await arrived(1);
      const closing = both.server.close();
      clock.advance(500);
      await closing;
      await pending;
      assert.equal(calls[0]!.call.aborted, true);
      calls[0]!.resolve("late");
    });

    test("a connection that drains takes no new calls, finishes those it has, and closes", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      await using both = sessions(multiplexed, (call) =>
        call.operation === "wait" ? dispatch(call) : stream(countTo(1e9)),
      );
      const { client, server, pair } = both;
      const items = client.subscribe("count", {});
      await items.next();
      const pending = client.call("wait", {});
      await arrived(1);
      pair.server.drain();
      await assert.rejects(client.call("wait", {}), { code: "LIMIT", retryable: true });
      calls[0]!.resolve("finished");
      assert.equal(await pending, "finished");
      await assert.rejects(all(items), isConnectionLost);
      assert.equal((await server.closed).by, "local");
    });

    test("a subscription that is called is stopped, and a call that is subscribed to has one item", async () => {
      const { dispatch, calls, arrived } = gatedDispatch();
      let ended = false;
      await using both = sessions(multiplexed, (call) =>
        call.operation === "one"
          ? 1
          : stream(
              (async function* () {
                try {
                  for (let i = 0; ; i++) {
                    yield i;
                    await new Promise((resolve) => setImmediate(resolve));
                  }
                } finally {
                  ended = true;
                  dispatch(call);
                }
              })(),
            ),
      );
      assert.equal(await both.client.call("items", {}), 0);
      await arrived(1);
      assert.ok(ended);
      calls[0]!.resolve(undefined);
      const items = both.client.subscribe("one", {});
      assert.equal((await items.next()).value, 1);
      await items.return();
    });

    test("options out of range are told to their caller", async () => {
      await using both = sessions(multiplexed, () => 1);
      const { client } = both;
      for (const timeout of [-1, NaN]) {
        await assert.rejects(client.call("a", {}, { timeout }), RangeError);
      }
      for (const window of [0, 1.5, NaN, 2 ** 31]) {
        await assert.rejects(client.subscribe("a", {}, { window }).next(), RangeError);
      }
    });
  });
}
