import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import * as fc from "fast-check";
import { FrameQueue } from "./frame-queue.ts";

test("FrameQueue gives out texts in one, buffers alone, in order", () => {
  const queue = new FrameQueue();
  for (const frame of ["ab", "cd", Buffer.from("ef"), "gh", Buffer.from("ij")]) queue.push(frame);
  assert.equal(queue.bytes, 10);
  assert.equal(queue.take(3), "abcd");
  assert.deepEqual(queue.take(3), Buffer.from("ef"));
  assert.equal(queue.take(3), "gh");
  assert.deepEqual(queue.take(3), Buffer.from("ij"));
  assert.equal(queue.take(3), undefined);
  assert.equal(queue.bytes, 0);
});

test("FrameQueue takes back what was not taken, once", () => {
  const queue = new FrameQueue();
  const [first, second, third] = ["a", Buffer.from("b"), "c"].map((frame) => queue.push(frame));
  assert.equal(queue.cancel(second!), true);
  assert.equal(queue.cancel(second!), false);
  assert.equal(queue.bytes, 2);
  assert.equal(queue.take(1), "a");
  assert.equal(queue.cancel(first!), false);
  assert.equal(queue.take(1), "c");
  assert.equal(queue.cancel(third!), false);
  assert.equal(queue.cancel(99), false);
});

test("FrameQueue is an array, whatever is pushed, taken and taken back", () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("push" as const),
      text: fc.stringMatching(/^[a-z]{1,9}$/),
      isBuffer: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("many" as const), count: fc.integer({ min: 1, max: 1_500 }) }),
    fc.record({ kind: fc.constant("take" as const), bytes: fc.integer({ min: 1, max: 2_000 }) }),
    fc.record({ kind: fc.constant("cancel" as const), number: fc.nat(4_000) }),
    fc.record({ kind: fc.constant("clear" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new FrameQueue();
      const waiting = new Map<number, string>();
      let next = 0;
      const push = (frame: string | Buffer): void => {
        const number = queue.push(frame);
        assert.equal(number, next++);
        waiting.set(number, frame.toString());
      };
      for (const each of steps) {
        if (each.kind === "push") push(each.isBuffer ? Buffer.from(each.text) : each.text);
        else if (each.kind === "many") for (let i = 0; i < each.count; i++) push("x");
        else if (each.kind === "cancel") {
          assert.equal(queue.cancel(each.number), waiting.delete(each.number));
        } else if (each.kind === "clear") {
          queue.clear();
          waiting.clear();
        } else {
          const taken = queue.take(each.bytes)?.toString();
          assert.equal(taken === undefined, waiting.size === 0);
          let rest = taken ?? "";
          for (const [number, text] of waiting) {
            if (rest === "") break;
            assert.ok(rest.startsWith(text));
            rest = rest.slice(text.length);
            waiting.delete(number);
          }
          assert.equal(rest, "");
        }
        assert.equal(queue.bytes, [...waiting.values()].join("").length);
      }
    }),
  );
});
