import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { EncryptedData } from "@alknet/core/store-backend";
import { createIdentityStore } from "./create-identity-store.ts";

/** A table of somebody else's, with no types: anything may be in it. */
function untyped(): DatabaseSync {
  const database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE secrets (provider, key_version, salt, iv, data)");
  return database;
}

function open(database: DatabaseSync): Promise<IdentityStore> {
  return createIdentityStore({ database, tables: { credentials: { name: "secrets" } } });
}

const IV = new Uint8Array(12).fill(1);
const DATA = new Uint8Array(40).fill(2);
const NONE = new Uint8Array(0);
const GOOD: EncryptedData = { key_version: 2, salt: NONE, iv: IV, data: DATA };

test("rows of credentials that cannot be used are told of, without what is in them, and cost no other", async () => {
  using database = untyped();
  const insert = database.prepare("INSERT INTO secrets VALUES (?, ?, ?, ?, ?)");
  insert.run("good", 2, NONE, IV, DATA);
  insert.run("plain", 2, NONE, IV, "hunter2-in-plaintext");
  insert.run("null", 2, null, IV, DATA);
  insert.run("version", -1, NONE, IV, DATA);
  insert.run("text", "two", NONE, IV, DATA);
  insert.run("large", 2, NONE, IV, new Uint8Array(65_600));
  insert.run("together", 2, new Uint8Array(40_000), IV, new Uint8Array(40_000));
  insert.run("a name", 2, NONE, IV, DATA);
  insert.run(null, 2, NONE, IV, DATA);
  await using store = await open(database);
  assert.deepEqual(
    store.credentials.list().map(({ provider }) => provider),
    ["good"],
  );
  assert.deepEqual(
    store.problems.map(({ subject }) => subject),
    ["plain", "null", "version", "text", "large", "together", '"a name"', "(object)"].map(
      (it) => `credential ${it}`,
    ),
  );
  const [plain] = store.problems;
  assert.match(plain!.message, /cannot read column data: .*got text of 20 characters/);
  assert.ok(!JSON.stringify(store.problems).includes("hunter2"));
});

test("a change of one credential shows what another program has written to the others", async () => {
  using database = untyped();
  const insert = database.prepare("INSERT INTO secrets VALUES (?, ?, ?, ?, ?)");
  for (const provider of ["a", "b"]) insert.run(provider, 2, NONE, IV, DATA);
  await using store = await open(database);
  // Nobody is told of it: it may be that the news are late.
  database.exec("UPDATE secrets SET key_version = 3");
  await store.credentials.put("c", { ...GOOD, key_version: 3 });
  assert.deepEqual(
    store.credentials.list().map(({ provider, value }) => [provider, value.key_version]),
    [
      ["a", 3],
      ["b", 3],
      ["c", 3],
    ],
  );
});

test("a credential that cannot be used can be replaced and removed, and is left alone by reseal()", async () => {
  using database = untyped();
  const insert = database.prepare("INSERT INTO secrets VALUES (?, ?, ?, ?, ?)");
  for (const provider of ["a", "b", "c"]) insert.run(provider, 2, null, IV, DATA);
  insert.run("good", 2, NONE, IV, DATA);
  await using store = await open(database);
  await store.credentials.put("a", GOOD);
  await store.credentials.delete("b");
  const { providers } = await store.credentials.reseal(3, (_, value) => ({
    ...value,
    key_version: 3,
  }));
  assert.deepEqual(providers, ["a", "good"]);
  await store.reload();
  const rows = database.prepare(
    "SELECT provider, key_version, salt IS NULL AS broken FROM secrets",
  );
  assert.deepEqual(
    rows.all().map((row) => Object.values(row)),
    [
      ["a", 3, 0],
      ["c", 2, 1],
      ["good", 3, 0],
    ],
  );
  assert.deepEqual(
    store.problems.map(({ subject }) => subject),
    ["credential c"],
  );
});

test("a row that another program spoils is as if it were not there, until it is mended", async () => {
  using database = untyped();
  await using store = await open(database);
  await store.credentials.put("github", GOOD);
  database.exec("UPDATE secrets SET iv = 'x'");
  await store.reload();
  assert.equal(store.credentials.get("github"), undefined);
  assert.equal(store.problems.length, 1);
  await store.credentials.put("github", GOOD);
  assert.deepEqual(store.credentials.get("github")?.key_version, 2);
  await store.reload();
  assert.deepEqual(store.problems, []);
});
