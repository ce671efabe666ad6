import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { KeyCache } from "./key-cache.ts";

/** A cache, its clock, and every key that was made for it, in order. */
function made(options: { ttl?: number; size?: number }) {
  const time = { now: 0 };
  const keys: Uint8Array[] = [];
  const cache = new KeyCache({ ttl: 100, size: 3, ...options, now: () => time.now });
  const use = (name: string) =>
    cache.use(name, () => {
      const key = new Uint8Array(32).fill(1);
      keys.push(key);
      return key;
    }).privateKey;
  return { cache, time, keys, use };
}

const isWiped = (key: Uint8Array | undefined): boolean => key!.every((byte) => byte === 0);

test("use() derives once while the time lasts, and again after it, wiping the old one", () => {
  const { time, keys, use } = made({ ttl: 100 });
  const first = use("a");
  time.now = 99;
  assert.equal(use("a"), first);
  time.now = 100;
  assert.notEqual(use("a"), first);
  assert.equal(keys.length, 2);
  assert.ok(isWiped(first));
});

test("a use does not make a key's time longer", () => {
  const { time, keys, use } = made({ ttl: 100 });
  for (time.now = 0; time.now <= 100; time.now += 20) use("a");
  assert.equal(keys.length, 2);
});

test("use() lets the one go that was unused longest, and wipes it", () => {
  const { cache, keys, use } = made({ size: 3 });
  for (const name of ["a", "b", "c", "a", "d"]) use(name);
  assert.equal(cache.size, 3);
  assert.deepEqual(keys.map(isWiped), [false, true, false, false]);
});

test("what is made after a time wipes all whose time is over", () => {
  const { cache, time, keys, use } = made({ ttl: 100 });
  use("a");
  use("b");
  time.now = 100;
  use("c");
  assert.equal(cache.size, 1);
  assert.deepEqual(keys.map(isWiped), [true, true, false]);
});

test("clear() wipes all", () => {
  const { cache, keys, use } = made({});
  for (const name of ["a", "b", "c"]) use(name);
  cache.clear();
  assert.equal(cache.size, 0);
  assert.ok(keys.every(isWiped));
});

test("a derivation that throws leaves the cache as it was", () => {
  const { cache, use } = made({ size: 1 });
  const kept = use("a");
  assert.throws(() =>
    cache.use("b", () => {
      throw new Error("no key");
    }),
  );
  assert.equal(use("a"), kept);
  assert.ok(!isWiped(kept));
});

test("a cache never holds more than its size, nor a key that is wiped, nor leaks one that is not", () => {
  const step = fc.record({ name: fc.constantFrom("a", "b", "c", "d", "e"), wait: fc.nat(60) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step), (size, steps) => {
      const { cache, time, keys, use } = made({ size, ttl: 100 });
      for (const { name, wait } of steps) {
        time.now += wait;
        assert.ok(!isWiped(use(name)));
        assert.ok(cache.size <= size);
        assert.equal(keys.filter((key) => !isWiped(key)).length, cache.size);
      }
    }),
  );
});
