import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { nodeSqliteHandle } from "@alknet/store-sql/sqlite-handle";
import { createTables } from "@alknet/store-sql/tables-sql";
import { resolveTables } from "@alknet/store-sql/table-mapping";
import {
  APPLICATION_ID,
  checkFile,
  databaseId,
  fileKind,
  migrate,
  MIGRATIONS,
} from "./migrations.ts";

/** Tables and indexes, in the words of `CREATE`, without quotes and layout. */
function schema(database: DatabaseSync): string[] {
  return database
    .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    .all()
    .map(({ sql }) => String(sql).replaceAll('"', "").replaceAll(/\s+/g, " "))
    .toSorted();
}

test("migrate() ends with the tables that every other database gets", () => {
  using migrated = new DatabaseSync(":memory:");
  migrate(nodeSqliteHandle(migrated), "x");
  using made = new DatabaseSync(":memory:");
  for (const sql of createTables("sqlite", resolveTables())) made.exec(sql);
  // And one of its own: a file can be replaced by another.
  const tables = schema(migrated).filter((sql) => !sql.startsWith("CREATE TABLE meta "));
  assert.deepEqual(tables, schema(made));
  assert.match(databaseId(nodeSqliteHandle(migrated)) ?? "", /^[0-9a-f]{32}$/);
  assert.deepEqual(fileKind(nodeSqliteHandle(migrated)), {
    kind: "ours",
    version: MIGRATIONS.length,
  });
});

test("migrate() takes each step once, from whatever version", () => {
  const steps = [
    ["CREATE TABLE a (x)"],
    ["ALTER TABLE a ADD COLUMN y DEFAULT 2", "INSERT INTO a (x) VALUES (1)"],
    ["UPDATE a SET y = y + x"],
  ];
  for (let from = 0; from <= steps.length; from++) {
    using database = new DatabaseSync(":memory:");
    const handle = nodeSqliteHandle(database);
    migrate(handle, "x", steps.slice(0, from));
    migrate(handle, "x", steps);
    migrate(handle, "x", steps);
    assert.deepEqual({ ...database.prepare("SELECT * FROM a").get() }, { x: 1, y: 3 });
    assert.deepEqual(fileKind(handle), { kind: "ours", version: 3 });
  }
});

test("migrate() that fails leaves the version of before, inside a transaction", () => {
  using database = new DatabaseSync(":memory:");
  const handle = nodeSqliteHandle(database);
  migrate(handle, "x", [["CREATE TABLE a (x)"]]);
  database.exec("BEGIN");
  assert.throws(() =>
    migrate(handle, "x", [["CREATE TABLE a (x)"], ["CREATE TABLE b (x)", "nonsense"]]),
  );
  database.exec("ROLLBACK");
  assert.deepEqual(fileKind(handle), { kind: "ours", version: 1 });
  assert.equal(schema(database).length, 1);
});

test("checkFile() refuses what is newer or another program's", () => {
  assert.throws(() => checkFile({ kind: "ours", version: 2 }, "x.db", [[]]), {
    code: "STORE_NEWER",
    message: "x.db was written by a newer alknet: it has version 2, we know up to 1",
  });
  assert.throws(() => checkFile({ kind: "foreign", applicationId: 5 }, "x.db"), {
    code: "STORE_CORRUPT",
  });
  checkFile({ kind: "empty" }, "x.db");
  checkFile({ kind: "ours", version: 1 }, "x.db", [[]]);
  assert.equal(APPLICATION_ID.toString(16), "616c6b6e");
});
