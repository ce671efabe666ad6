import assert from "node:assert/strict";
import { test } from "node:test";
import { bindLocal } from "./bind-local.ts";

/** Binds at what is free, as the system would. */
function system(taken: readonly string[], failure: string = "EADDRINUSE") {
  const bound: string[] = [];
  let next = 40_000;
  return {
    bound,
    bind: async (address: string, wanted: number) => {
      const port = wanted === 0 ? next++ : wanted;
      const place = `${address} ${port}`;
      if (taken.includes(place) || taken.includes(address)) {
        throw Object.assign(new Error(`${failure} ${place}`), { code: failure });
      }
      bound.push(place);
      return {
        address: { address, port },
        async close() {
          bound.splice(bound.indexOf(place), 1);
        },
      };
    },
  };
}

test("bindLocal() takes localhost for both loopbacks, and an address for itself", async () => {
  for (const [host, expected] of [
    ["localhost", ["127.0.0.1 80", "::1 80"]],
    ["127.0.0.1", ["127.0.0.1 80"]],
    ["::", [":: 80"]],
  ] as const) {
    const { bind, bound } = system([]);
    const locals = await bindLocal(host, 80, bind);
    assert.deepEqual(
      locals.map(({ address }) => `${address.address} ${address.port}`),
      expected,
    );
    assert.deepEqual(bound, expected);
  }
});

test("bindLocal() has one port at both loopbacks, another one where the second has somebody", async () => {
  const { bind, bound } = system(["::1 40000", "::1 40001"]);
  await bindLocal("localhost", 0, bind);
  assert.deepEqual(bound, ["127.0.0.1 40002", "::1 40002"]);
});

test("bindLocal() binds nothing where one loopback is taken", async () => {
  for (const [taken, port] of [
    ["::1 80", 80],
    ["127.0.0.1 80", 80],
    ["::1", 0],
  ] as const) {
    const { bind, bound } = system([taken]);
    await assert.rejects(bindLocal("localhost", port, bind), { code: "EADDRINUSE" });
    assert.deepEqual(bound, []);
  }
});

test("bindLocal() does with the one loopback that a machine has", async () => {
  for (const failure of ["EADDRNOTAVAIL", "EAFNOSUPPORT"]) {
    const { bind, bound } = system(["::1"], failure);
    await bindLocal("localhost", 80, bind);
    assert.deepEqual(bound, ["127.0.0.1 80"]);
    const none = system(["127.0.0.1", "::1"], failure);
    await assert.rejects(bindLocal("localhost", 80, none.bind), { code: failure });
  }
});
