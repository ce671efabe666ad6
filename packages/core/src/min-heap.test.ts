import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type HeapEntry, MinHeap } from "./min-heap.ts";

test("MinHeap always has the least first, whatever is removed", () => {
  const step = fc.oneof(fc.record({ push: fc.nat(50) }), fc.record({ remove: fc.nat(50) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const heap = new MinHeap<HeapEntry>();
      const model: HeapEntry[] = [];
      for (const each of steps) {
        if ("push" in each) {
          const entry = { key: each.push, heapIndex: -1 };
          heap.push(entry);
          model.push(entry);
        } else {
          const [entry] = model.splice(each.remove % Math.max(1, model.length), 1);
          if (entry === undefined) continue;
          heap.remove(entry);
          heap.remove(entry);
          assert.equal(entry.heapIndex, -1);
        }
        assert.equal(heap.size, model.length);
        assert.equal(heap.first?.key, model.map(({ key }) => key).toSorted((a, b) => a - b)[0]);
      }
    }),
  );
});
