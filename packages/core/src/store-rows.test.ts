import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerEntry } from "./peers.ts";
import type { EncryptedData, Loaded } from "./store-backend.ts";
import { noRows, putRows, rowsOf } from "./store-rows.ts";

function row(peerId: string): Loaded & { kind: "peer"; entry: PeerEntry } {
  return { kind: "peer", entry: { peerId, fingerprints: [], scopes: [], enabled: true } };
}

const sealed: EncryptedData = {
  key_version: 1,
  salt: new Uint8Array(),
  iv: new Uint8Array(),
  data: new Uint8Array(),
};

test("rowsOf() has who was asked for and is not there as nobody", () => {
  const laptop = row("Laptop");
  const { peers, apiKeys, secrets } = rowsOf(
    { peers: ["LAPTOP", "phone"], apiKeys: ["alk_abcd"] },
    [laptop, { kind: "broken", subject: "peer x", message: "no" }],
  );
  assert.deepEqual([...peers], Object.entries({ laptop: laptop.entry, phone: undefined }));
  assert.deepEqual([...apiKeys], [["alk_abcd", undefined]]);
  assert.equal(secrets, undefined);
});

test("rowsOf() lets nobody in by a name that several rows have, however many they are", () => {
  for (const names of [
    ["den", "Den"],
    ["den", "Den", "den"],
  ]) {
    const { peers } = rowsOf({ peers: ["den"] }, names.map(row));
    assert.deepEqual([...peers], [["den", undefined]]);
  }
});

test("putRows() puts the newer over the older, and lets credentials be where none was asked for", () => {
  const into = noRows();
  const [before, after] = [row("den"), row("den")];
  putRows(
    into,
    rowsOf({ peers: ["den"], credentials: ["github"] }, [
      before,
      { kind: "credential", provider: "github", value: sealed },
    ]),
  );
  putRows(into, rowsOf({ peers: ["den", "phone"] }, [after]));
  assert.equal(into.peers.get("den"), after.entry);
  assert.ok(into.peers.has("phone"));
  assert.deepEqual([...(into.secrets ?? [])], [["github", sealed]]);
  putRows(into, rowsOf({ credentials: ["github"] }, []));
  assert.equal(into.secrets?.size, 0);
});
