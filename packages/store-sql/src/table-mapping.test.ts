import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import * as fc from "fast-check";
import { quoteName, resolveTables, type TableMapping } from "./table-mapping.ts";

test("quoteName() makes of any text one name, and of what can be none an error", () => {
  using database = new DatabaseSync(":memory:");
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" })), (name) => {
      let quoted: string;
      try {
        quoted = quoteName(name);
      } catch (error) {
        assert.equal((error as Error).name, "TypeError");
        // oxlint-disable-next-line no-control-regex
        assert.ok(name === "" || /[\u0000-\u001f\u007f]/.test(name) || !name.isWellFormed());
        return;
      }
      const [column] = database.prepare(`SELECT 1 AS ${quoted}`).columns();
      assert.equal(column?.name, name);
    }),
  );
  assert.throws(() => quoteName("x".repeat(129)), /expected 1 to 128 characters/);
  assert.throws(() => quoteName(undefined as unknown as string), TypeError);
});

test("resolveTables() names what is wrong, also to a program without types", () => {
  const wrong: [unknown, RegExp][] = [
    [{ users: {} }, /cannot map table "users": expected one of peers, api_keys/],
    [
      { peers: { columns: { peer_id: "a", fingerprints: "b", nick: "c" } } },
      /column "nick" of peers/,
    ],
    [{ peers: { columns: { peer_id: "a" } } }, /expected a name for its column fingerprints/],
    [
      { peers: { columns: { peer_id: "a", fingerprints: "a" } } },
      /two of its columns have one name/,
    ],
    [{ peers: { name: "" } }, /cannot use "" as the name/],
    [{ audit: { columns: { id: "x" } } }, /cannot map table audit: expected a name/],
  ];
  for (const [mapping, message] of wrong) {
    assert.throws(() => resolveTables(mapping as TableMapping), { name: "TypeError", message });
  }
});

test("resolveTables() quotes names and schemas, and puts prefix and schema before ours alone", () => {
  const mapping: TableMapping = { peers: { name: 'my "users"', schema: "app" }, api_keys: {} };
  const { peers, api_keys, audit } = resolveTables(mapping, { prefix: "alknet_", schema: 'a"b' });
  assert.equal(peers.quoted, '"app"."my ""users"""');
  assert.equal(peers.columns.get("peer_id"), '"peer_id"');
  assert.equal(peers.mapped, true);
  assert.equal(api_keys.quoted, '"alknet_api_keys"');
  assert.equal(audit.quoted, '"a""b"."alknet_audit"');
  assert.equal(audit.mapped, false);
});

test("a mapping with an unknown column is an error of types", () => {
  // @ts-expect-error there is no such column
  const unknown: TableMapping = { peers: { columns: { peer_id: "a", fingerprints: "b", x: "c" } } };
  // @ts-expect-error a peer needs its keys
  const missing: TableMapping = { peers: { columns: { peer_id: "a" } } };
  for (const mapping of [unknown, missing]) assert.throws(() => resolveTables(mapping), TypeError);
});
