import assert from "node:assert/strict";
import { test } from "node:test";
import { resolvePeers } from "./resolve-peers.ts";

const entry = { fingerprints: [], scopes: [], enabled: true };
const peers = [
  { ...entry, peerId: "Laptop", addresses: ["[2001:db8::1]:7433", "laptop.example:443"] },
  { ...entry, peerId: "gone", addresses: ["192.0.2.1:7433"], enabled: false },
  { ...entry, peerId: "nowhere" },
];

test("resolvePeers() takes NAME.alk for the peer's addresses, and leaves the rest to the system", async () => {
  const asked: string[] = [];
  const resolve = resolvePeers(
    () => peers,
    async (host) => {
      asked.push(host);
      return ["192.0.2.7"];
    },
  );
  assert.deepEqual(await resolve("laptop.alk"), ["2001:db8::1", "192.0.2.7"]);
  assert.deepEqual(await resolve("nowhere.alk"), []);
  assert.deepEqual(asked, ["laptop.example"]);
  for (const host of ["gone.alk", "nobody.alk", "laptop", "laptop.alk.example"]) {
    assert.deepEqual(await resolve(host), ["192.0.2.7"]);
    assert.equal(asked.at(-1), host);
  }
});

test("resolvePeers() takes those addresses of a peer that resolve, and fails where none does", async () => {
  const answers = new Map([["laptop.example", ["192.0.2.7"]]]);
  const resolve = (addresses: readonly string[]) =>
    resolvePeers(
      () => [{ ...entry, peerId: "laptop", addresses }],
      async (host) => answers.get(host) ?? assert.fail(`no ${host}`),
    )("laptop.alk");
  assert.deepEqual(await resolve(["moved.example:1", "laptop.example:1"]), ["192.0.2.7"]);
  assert.deepEqual(await resolve(["moved.example:1", "192.0.2.1:1"]), ["192.0.2.1"]);
  await assert.rejects(resolve(["moved.example:1", "gone.example:1"]), /no moved\.example/);
});
