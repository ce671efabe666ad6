import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import * as fc from "fast-check";
import type { SqlStatement } from "./sql-driver.ts";
import { statements } from "./statements.ts";
import { resolveTables } from "./table-mapping.ts";
import { createTables } from "./tables-sql.ts";

const KEY = `SHA256:${"0".repeat(64)}`;
const LAPTOP = { peerId: "laptop", fingerprints: [KEY], scopes: ["ssh:shell"], enabled: true };

function database(): DatabaseSync {
  const made = new DatabaseSync(":memory:");
  for (const sql of createTables("sqlite", resolveTables())) made.exec(sql);
  return made;
}

test("statements of single entries look at no whole table of ours", () => {
  using ours = database();
  const sql = statements("sqlite", resolveTables());
  const looked = [
    sql.peersWithKey(KEY),
    sql.peersWithToken("sha256:0")!,
    sql.peersNamed(["laptop", "phone"]),
    sql.apiKeysNamed(["alk_0000"]),
    sql.apiKeysWithToken("sha256:0"),
    sql.credentialsNamed(["github"]),
    sql.invitation({ id: "x" }),
    sql.invitation({ secretHash: "x" }),
    ...sql.putPeer(LAPTOP).slice(0, 1),
    sql.deletePeer("laptop"),
    sql.notifications(5, 10),
    sql.audit(5, 10),
    sql.newest,
    sql.pruneNotifications(5_000),
    sql.pruneAudit,
  ];
  for (const { sql: text, values } of looked) {
    const plan = ours.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...values);
    const scans = plan.filter(
      // The smallest or largest of an index is one entry; those with more keys than one are few.
      ({ detail }) => /^SCAN (?!.*by_keys)/.test(String(detail)) && !/max\(/.test(text),
    );
    assert.deepEqual(scans, [], text);
  }
});

test("statements have no text of a value in them, and as many placeholders as values", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 12 }), (text) => {
      for (const dialect of ["sqlite", "postgres"] as const) {
        const sql = statements(dialect, resolveTables());
        const made: SqlStatement[] = [
          sql.peersNamed([text, text]),
          sql.peersWithKey(text),
          sql.deletePeer(text),
          ...sql.putPeer({ ...LAPTOP, peerId: text, displayName: text, scopes: [text] }),
          ...sql.putApiKey({ prefix: text, hash: text, scopes: [text], description: text }),
          sql.notify({ peers: [text] }, 0),
          sql.notifyChannel({ peers: [text] }, 1) ?? sql.newest,
          sql.addAudit({ at: 0, actor: text, action: text, subject: text, detail: { text } }),
        ];
        for (const { sql: statement, values } of made) {
          assert.ok(!statement.includes(text));
          const places = statement.match(dialect === "sqlite" ? /\?/g : /\$[0-9]+/g) ?? [];
          assert.equal(places.length, values.length);
          if (dialect === "postgres") {
            assert.deepEqual(
              places,
              values.map((_, at) => `$${at + 1}`),
            );
          }
        }
      }
    }),
  );
});

test("peersWithKey() finds a key however its list is written", () => {
  using ours = database();
  const insert = ours.prepare("INSERT INTO peers (peer_id, fingerprints) VALUES (?, ?)");
  const other = `ed25519:${"1".repeat(64)}`;
  insert.run("one", JSON.stringify([KEY]));
  insert.run("second", JSON.stringify([other, KEY]));
  insert.run("spaced", `[ "${KEY}" ]`);
  insert.run("none", "[]");
  insert.run("another", JSON.stringify([other]));
  const { sql, values } = statements("sqlite", resolveTables()).peersWithKey(KEY);
  const names = ours
    .prepare(sql)
    .all(...values)
    .map((row) => Object.values(row)[0]);
  assert.deepEqual(new Set(names), new Set(["one", "second", "spaced"]));
});

test("forUpdate() waits for other programs in PostgreSQL, and leaves SQLite as it is", () => {
  const [sqlite, postgres] = (["sqlite", "postgres"] as const).map((dialect) => {
    const sql = statements(dialect, resolveTables());
    return sql.forUpdate(sql.peersNamed(["laptop"]));
  });
  assert.match(postgres!.sql, /IN \(\$1\) FOR UPDATE$/);
  assert.match(sqlite!.sql, /IN \(\?\)$/);
  assert.deepEqual(postgres!.values, ["laptop"]);
});
