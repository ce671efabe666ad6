import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { BufferedSubscription } from "./buffered-subscription.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("a reader that is always behind keeps no more than twice what it has not read", async () => {
  const subscription = new BufferedSubscription({
    window: 8,
    unreadItems: 8,
    credit() {},
    cancel() {},
  });
  const read: WeakRef<object>[] = [];
  const send = (): void => void subscription.output({}, undefined, 10);
  send();
  send();
  for (let at = 0; at < 1_000; at++) {
    send();
    const { value } = await subscription.next();
    read.push(new WeakRef(value as object));
  }
  // A reference is let go of between turns.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  const kept = read.filter((item) => item.deref() !== undefined).length;
  assert.ok(kept <= 4, `${kept} items that were read are kept`);
});

test("items come in the order in which they were sent, however far behind the reader is", async () => {
  const subscription = new BufferedSubscription({
    window: 100,
    unreadItems: 100,
    credit() {},
    cancel() {},
  });
  let sent = 0;
  let read = 0;
  for (const [sending, reading] of [
    [5, 2],
    [7, 9],
    [1, 2],
    [50, 20],
    [3, 33],
  ] as const) {
    for (let i = 0; i < sending; i++) subscription.output(sent++, undefined, 1);
    for (let i = 0; i < reading; i++) assert.equal((await subscription.next()).value, read++);
  }
  assert.equal(read, sent);
});
