import assert from "node:assert/strict";
import { test } from "node:test";
import { candidatesOf, keyOf, systemResolve } from "./candidates.ts";

const pinned = { kind: "pinned", fingerprints: [] } as const;

test("candidatesOf() has IPv6 and IPv4 in turn, each address once, names resolved", async () => {
  const names: Record<string, string[]> = {
    "a.example": ["2001:db8::1", "2001:db8::2", "192.0.2.1"],
    "b.example": ["192.0.2.2", "2001:db8::1", "fe80::1%eth0", "not an address"],
  };
  const addresses = [
    { host: "192.0.2.9", port: 1 },
    { host: "a.example", port: 1 },
    { host: "b.example", port: 1 },
    { host: "a.example", port: 2 },
  ];
  const found = await candidatesOf({ addresses, expected: pinned }, async (host) => names[host]!);
  assert.deepEqual(found.map(keyOf), [
    "[2001:db8::1]:1",
    "192.0.2.9:1",
    "[2001:db8::2]:1",
    "192.0.2.1:1",
    "[fe80::1%eth0]:1",
    "192.0.2.2:1",
    "[2001:db8::1]:2",
    "192.0.2.1:2",
    "[2001:db8::2]:2",
  ]);
  assert.deepEqual(
    found.slice(0, 2).map(({ serverName }) => serverName),
    ["a.example", undefined],
  );
});

test("candidatesOf() does with the names that resolve, and says so when none does", async () => {
  const addresses = [
    { host: "gone.example", port: 1 },
    { host: "here.example", port: 1 },
  ];
  const resolve = async (host: string): Promise<string[]> => {
    if (host === "here.example") return ["192.0.2.1"];
    throw new Error(`${host} is not known`);
  };
  const found = await candidatesOf({ addresses, expected: pinned }, resolve);
  assert.deepEqual(found.map(keyOf), ["192.0.2.1:1"]);
  const gone = { addresses: addresses.slice(0, 1), expected: pinned };
  await assert.rejects(async () => await candidatesOf(gone, resolve), {
    code: "NAME_NOT_FOUND",
    message: 'no address is known for "gone.example"',
  });
});

test("candidatesOf() tries a bounded number of addresses", async () => {
  const many = Array.from({ length: 1_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const addresses = [{ host: "many.example", port: 1 }];
  const found = await candidatesOf({ addresses, expected: pinned }, async () => many);
  assert.equal(found.length, 32);
});

test("systemResolve() asks the system", async () => {
  const found = await systemResolve("localhost");
  assert.ok(found.includes("127.0.0.1") || found.includes("::1"));
});
