import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { LinkedList, type ListNode } from "./linked-list.ts";

test("LinkedList keeps the order of those that are left", () => {
  const step = fc.oneof(fc.record({ push: fc.nat() }), fc.record({ remove: fc.nat(50) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const list = new LinkedList<number>();
      const model: ListNode<number>[] = [];
      for (const each of steps) {
        if ("push" in each) model.push(list.push(each.push));
        else {
          const [node] = model.splice(each.remove % Math.max(1, model.length), 1);
          if (node !== undefined) list.remove(node);
        }
        assert.equal(list.first, model[0]?.value);
        assert.deepEqual(
          list.toArray(),
          model.map((node) => node.value),
        );
      }
    }),
  );
});
