import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { race } from "./race.ts";

/** Attempts that the test settles by hand. */
function attempts(count: number) {
  return Array.from({ length: count }, () => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    promise.catch(() => {});
    const attempt = {
      started: false,
      signal: undefined as AbortSignal | undefined,
      resolve,
      reject,
      run: (signal: AbortSignal): Promise<string> => {
        attempt.started = true;
        attempt.signal = signal;
        return promise;
      },
    };
    return attempt;
  });
}

function begin(count: number, signal: AbortSignal = new AbortController().signal) {
  const clock = new FakeClock();
  const list = attempts(count);
  const discarded: string[] = [];
  const won = race({
    attempts: list.map(({ run }) => run),
    stagger: 250,
    isFinal: (error) => (error as Error).message === "final",
    discard: (late) => discarded.push(late),
    signal,
    clock,
  });
  won.catch(() => {});
  return { clock, list, discarded, won };
}

/** Let promises settle. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function started(list: { started: boolean }[]): number {
  return list.filter((it) => it.started).length;
}

test("race() starts attempts a little apart, and takes the first that succeeds", async () => {
  const { clock, list, discarded, won } = begin(3);
  await settle();
  assert.equal(started(list), 1);
  clock.advance(249);
  await settle();
  assert.equal(started(list), 1);
  clock.advance(1);
  await settle();
  assert.equal(started(list), 2);
  list[1]!.resolve("second");
  assert.equal(await won, "second");
  assert.ok(list[0]!.signal?.aborted);
  clock.advance(1_000);
  await settle();
  assert.equal(started(list), 2, "nothing starts after the race");
  list[0]!.resolve("first, too late");
  await settle();
  assert.deepEqual(discarded, ["first, too late"]);
});

test("race() goes on at once when all that were started have failed, and gives each its turn once", async () => {
  const { clock, list, won } = begin(3);
  await settle();
  list[0]!.reject(new Error("no"));
  await settle();
  assert.equal(started(list), 2);
  // The turn of the second was taken already.
  clock.advance(250);
  await settle();
  assert.equal(started(list), 3);
  list[2]!.resolve("third");
  assert.equal(await won, "third");
});

test("race() ends with an answer that is final", async () => {
  const { clock, list, won } = begin(3);
  await settle();
  clock.advance(250);
  await settle();
  list[1]!.reject(new Error("final"));
  await assert.rejects(won, { message: "final" });
  assert.ok(list[0]!.signal?.aborted);
  assert.equal(started(list), 2);
});

test("race() that all lose throws all their errors, in their order", async () => {
  const { clock, list, won } = begin(2);
  await settle();
  clock.advance(250);
  await settle();
  list[1]!.reject(new Error("b"));
  list[0]!.reject(new Error("a"));
  await assert.rejects(won, (error: AggregateError) => {
    assert.deepEqual(
      error.errors.map(({ message }: Error) => message),
      ["a", "b"],
    );
    return true;
  });
});

test("race() heeds its signal, before and in the middle", async () => {
  const abort = new AbortController();
  const { list, won } = begin(2, abort.signal);
  await settle();
  const reason = new Error("enough");
  abort.abort(reason);
  await assert.rejects(won, reason);
  assert.ok(list[0]!.signal?.aborted);
  const second = begin(1, abort.signal);
  await assert.rejects(second.won, reason);
  assert.equal(started(second.list), 0);
});
