import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/fake-clock";
import { MemoryDatabase } from "@alknet/core/memory-store";
import { EventLog } from "./event-log.ts";
import { type LogCursor, type LogEntry, logEntries, type LogOptions } from "./log-entries.ts";
import type { RefusalStatus } from "./operations/status-document.ts";

/** Changes `c1`, `c3`, … of a store and refusals `r2`, `r4`, …, each at its number of seconds. */
async function sources(count: number) {
  const clock = new FakeClock(0);
  const store = await new MemoryDatabase().open({ clock });
  const refusals = new EventLog<RefusalStatus>();
  const add = async (second: number): Promise<void> => {
    clock.advance(second * 1_000 - clock.wallTime());
    const time = new Date(second * 1_000).toISOString();
    if (second % 2 === 0) {
      refusals.add({ time, who: `r${second}`, alpn: "alknet/ping", reason: "not a peer" });
    } else await store.addAudit({ actor: "x", action: "a", subject: `c${second}`, detail: {} });
  };
  for (let second = 1; second <= count; second++) await add(second);
  return { store, refusals, add, [Symbol.asyncDispose]: () => store.close() };
}

const nameOf = (entry: LogEntry): string => (entry.kind === "refused" ? entry.who : entry.subject);

async function all(from: Parameters<typeof logEntries>[0], options: Partial<LogOptions>) {
  const { signal } = new AbortController();
  const placed: [string, LogCursor][] = [];
  const entries = logEntries(from, { lines: 100, follow: false, signal, ...options });
  for await (const [entry, at] of entries) placed.push([nameOf(entry), at]);
  return placed;
}

test("logEntries() gives the last of both kinds, in the order of time", async () => {
  await using it = await sources(6);
  const names = async (options: Partial<LogOptions>): Promise<string[]> =>
    (await all(it, options)).map(([name]) => name);
  assert.deepEqual(await names({}), ["c1", "r2", "c3", "r4", "c5", "r6"]);
  assert.deepEqual(await names({ lines: 3 }), ["r4", "c5", "r6"]);
  assert.deepEqual(await names({ lines: 0 }), []);
  const alone = await all({ store: it.store }, {});
  assert.deepEqual(
    alone.map(([name]) => name),
    ["c1", "c3", "c5"],
  );
});

test("logEntries() goes on after any of its entries, and misses and repeats none", async () => {
  await using it = await sources(6);
  const whole = await all(it, {});
  for (const [index, [, after]] of whole.entries()) {
    const rest = await all(it, { after });
    assert.deepEqual(rest, whole.slice(index + 1));
  }
  assert.deepEqual(await all(it, { after: { change: 0, refusal: 0 }, lines: 1 }), whole);
});

test("logEntries() follows both, from where it was, until it is told to stop", async () => {
  await using it = await sources(4);
  const stop = new AbortController();
  const entries = logEntries(it, { lines: 1, follow: true, signal: stop.signal });
  const next = async (): Promise<string> => nameOf((await entries.next()).value![0]);
  assert.equal(await next(), "r4");
  for (const second of [5, 6, 8, 9]) {
    const coming = next();
    await it.add(second);
    assert.equal(await coming, second % 2 === 0 ? `r${second}` : `c${second}`);
  }
  // Those that come while nobody asks are kept.
  for (const second of [10, 12, 14]) await it.add(second);
  assert.deepEqual([await next(), await next(), await next()], ["r10", "r12", "r14"]);
  const waiting = entries.next();
  stop.abort();
  assert.deepEqual(await waiting, { done: true, value: undefined });
});
