import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { parsePeer, type PeerEntry } from "@alknet/core/peers";
import * as fc from "fast-check";
import { createIdentityStore } from "./create-identity-store.ts";
import { readApiKey, readCredential, readPeer, writePeer } from "./rows.ts";
import type { SqlValue } from "./sql-driver.ts";
import { columnsOf } from "./table-mapping.ts";

const key = fc.stringMatching(/^(ed25519|SHA256):[0-9a-f]{64}$/);
const peer: fc.Arbitrary<PeerEntry> = fc
  .record(
    {
      peerId: fc.stringMatching(/^[B-NP-Zb-np-z0-9][A-Za-z0-9._-]{0,30}$/),
      fingerprints: fc.array(key, { maxLength: 4 }),
      scopes: fc.array(fc.constantFrom("ssh:shell", "git:read:a/*", "@dev", "*"), { maxLength: 4 }),
      enabled: fc.boolean(),
      displayName: fc.string({ unit: "grapheme", maxLength: 20 }),
      resources: fc.dictionary(fc.string(), fc.array(fc.string(), { maxLength: 3 }), {
        maxKeys: 3,
      }),
      tokenHash: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
    },
    { requiredKeys: ["peerId", "fingerprints", "scopes", "enabled"] },
  )
  .map((entry) => parsePeer(entry));

function rowOf(entry: PeerEntry): SqlValue[] {
  const values = writePeer(entry);
  return columnsOf("peers").map((name) => values[name]);
}

test("readPeer() undoes writePeer()", () => {
  fc.assert(
    fc.property(peer, (entry) => {
      assert.deepEqual(readPeer(rowOf(entry)), { kind: "peer", entry });
    }),
  );
});

test("readPeer() gives the entry of before if the row says the same, and never if it does not", () => {
  fc.assert(
    fc.property(peer, peer, (before, other) => {
      const same = readPeer(rowOf(before), () => before);
      assert.equal(same.kind === "peer" && same.entry, before);
      const changed = { ...other, peerId: before.peerId };
      assert.deepEqual(
        readPeer(rowOf(changed), () => before),
        { kind: "peer", entry: changed },
      );
    }),
  );
});

/** What may be in a column of SQLite, whatever its type. */
const cell: fc.Arbitrary<SqlValue | bigint> = fc.oneof(
  fc.constant(null),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.json(),
  fc.double(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom("laptop", "[]", '["ssh:shell"]', "{}", 0, 1),
  key.map((text) => JSON.stringify([text])),
);

test("a row of anything is an entry or broken, and never an exception", () => {
  fc.assert(
    fc.property(fc.array(cell, { maxLength: 10 }), (row) => {
      for (const read of [readPeer, readApiKey, readCredential]) {
        const loaded = read(row);
        if (loaded.kind === "broken") assert.ok(loaded.message.length > 0);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a table of anything costs no good row, and what is loaded from it is what is in it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(cell, { minLength: 8, maxLength: 8 })), async (rows) => {
      using database = new DatabaseSync(":memory:");
      const columns = columnsOf("peers");
      // No types: as a table of somebody else's may be.
      database.exec(`CREATE TABLE users (${columns.join(", ")})`);
      const insert = database.prepare(`INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
      const good = parsePeer({
        peerId: "good-one",
        fingerprints: [`SHA256:${"f".repeat(64)}`],
        scopes: ["git:read"],
        enabled: true,
      });
      for (const row of [...rows, rowOf(good)]) insert.run(...row);
      await using store = await createIdentityStore({
        database,
        tables: { peers: { name: "users" } },
      });
      assert.deepEqual(store.peer("good-one"), good);
      for (const entry of store.peers) assert.deepEqual(parsePeer(entry), entry);
    }),
    { numRuns: 100 },
  );
});
