import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { OverlayMap } from "./overlay-map.ts";

const key = fc.integer({ min: 0, max: 400 });
const changes = fc.array(fc.tuple(key, fc.option(fc.integer(), { nil: undefined })), {
  maxLength: 100,
});

test("OverlayMap is a Map, each version of which stays as it was", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.integer())), fc.array(changes), (first, steps) => {
      const naive = new Map(first);
      let map = new OverlayMap<number, number>(new Map(first));
      const versions: [OverlayMap<number, number>, Map<number, number>][] = [];
      for (const step of steps) {
        versions.push([map, new Map(naive)]);
        map = map.with(new Map(step));
        for (const [k, v] of new Map(step)) {
          if (v === undefined) naive.delete(k);
          else naive.set(k, v);
        }
      }
      versions.push([map, naive]);
      for (const [version, expected] of versions) {
        for (let k = 0; k <= 400; k++) assert.equal(version.get(k), expected.get(k));
        const values = [...version.values()].toSorted((a, b) => a - b);
        assert.deepEqual(
          values,
          [...expected.values()].toSorted((a, b) => a - b),
        );
      }
    }),
  );
});
