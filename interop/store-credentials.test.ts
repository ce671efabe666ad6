/**
 * Sealing all credentials of a store anew, by processes that are killed in the midst of it, in every step: all old or
 * all new, in SQLite and in PostgreSQL, and whoever does it again finishes it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { IdentityStore } from "@alknet/core/identity-store";
import { openPostgresStore } from "@alknet/store-postgres/postgres-store";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
import { freePort } from "@alknet/core/testing-port";
import { HERE, startPostgres } from "./postgres.ts";
import { type Ended, follow } from "./program.ts";

const PROVIDERS = ["a", "b", "c"];
const OLD = { key_version: 2, salt: new Uint8Array(0), iv: new Uint8Array(12) };
const DATA = Uint8Array.of(0, 1, 254, 255);

/** Run the process of `credential-process.ts` to its end. */
async function reseal(database: string, step: number): Promise<Ended> {
  const file = new URL("credential-process.ts", import.meta.url).pathname;
  const words = ["--conditions=@alknet/source", file, database, String(step)];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
  return await follow(child, "credential-process").ended;
}

/** `old` or `new`, of all that `store` has. */
async function stateOf(store: IdentityStore): Promise<"old" | "new"> {
  const found = store.credentials.list().map(({ provider, value: { key_version, data } }) => ({
    provider,
    key_version,
    data: [...data],
  }));
  const all = (key_version: number, data: number[]): object[] =>
    PROVIDERS.map((provider) => ({ provider, key_version, data }));
  const isOld = found[0]?.key_version === 2;
  assert.deepEqual(found, isOld ? all(2, [0, 1, 254, 255]) : all(3, [255, 254, 1, 0]));
  const noted = (await store.audit()).filter(({ action }) => action === "credential.reseal");
  assert.equal(noted.length, isOld ? 0 : PROVIDERS.length, "each has its line in the audit");
  return isOld ? "old" : "new";
}

/**
 * Kill in each step in turn, with a new database for each.
 *
 * @param make a database with the credentials in it, as the process is to open it, and a store as another process has it.
 */
async function killInEachStep(
  make: (step: number) => Promise<{ database: string; open: () => Promise<IdentityStore> }>,
): Promise<void> {
  // Look at all, then two for each, then tell, then commit; then it is done.
  const commit = 1 + 2 * PROVIDERS.length + 1;
  for (let step = 0; step <= commit + 1; step++) {
    const { database, open } = await make(step);
    {
      await using store = await open();
      for (const provider of PROVIDERS)
        await store.credentials.put(provider, { ...OLD, data: DATA });
    }
    const killed = await reseal(database, step);
    assert.equal(killed.signal, "SIGKILL", killed.stderr);
    {
      await using store = await open();
      assert.equal(await stateOf(store), step <= commit ? "old" : "new", `killed in step ${step}`);
    }
    const again = await reseal(database, -1);
    assert.equal(again.status, 0, again.stderr);
    await using store = await open();
    assert.equal(await stateOf(store), "new", "what was begun is finished");
  }
}

test("a process that seals all anew and is killed leaves all old or all new in SQLite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "alknet-reseal-"));
  try {
    await killInEachStep(async (step) => {
      const path = join(folder, `${step}.db`);
      return { database: path, open: () => openSqliteStore({ path }) };
    });
    using database = new DatabaseSync(join(folder, "0.db"));
    const check = database.prepare("PRAGMA integrity_check").get()!;
    assert.deepEqual(Object.values(check), ["ok"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a process that seals all anew and is killed leaves all old or all new in PostgreSQL", async () => {
  const port = await freePort();
  await using _server = await startPostgres(HERE, port);
  const url = `postgres://postgres@localhost:${port}/postgres`;
  await killInEachStep(async (step) => {
    const schema = `step_${step}`;
    return {
      database: `${url}?schema=${schema}`,
      open: () => openPostgresStore({ url, schema }),
    };
  });
});
