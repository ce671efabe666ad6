/**
 * A process that seals all credentials of a store anew and kills itself at a given step, for
 * `store-credentials.test.ts`: `credential-process.ts DATABASE STEP`.
 *
 * DATABASE is the path of a SQLite file, or `postgres://…` with `?schema=`. Steps are the calls that the store makes
 * of its transaction, from 0; the one after the last of them is the commit, which `STEP` kills before it is made, and
 * the next is right after it. It prints `steps N` if it was not killed. To seal is to write `key_version` 3, and to turn every bit.
 *
 * @module
 */

import { openIdentityStore } from "@alknet/core/identity-store";
import { silentLogger } from "@alknet/core/log";
import { systemClock } from "@alknet/core/clock";
import type { StoreBackend, StoreTransaction } from "@alknet/core/store-backend";
import { postgresDriver } from "@alknet/store-postgres/postgres-driver";
import { parsePostgresUrl } from "@alknet/store-postgres/postgres-url";
import { sqlBackend } from "@alknet/store-sql/sql-backend";
import { sqliteDriver } from "@alknet/store-sql/sqlite-driver";
import { resolveTables } from "@alknet/store-sql/table-mapping";
import { openDatabaseFile } from "@alknet/store-sqlite/database-file";

const [database = "", fatal = ""] = process.argv.slice(2);
let steps = 0;

function step(): void {
  if (steps++ === Number(fatal)) process.kill(process.pid, "SIGKILL");
}

/** Counts what is asked of a transaction. */
function counted(transaction: StoreTransaction): StoreTransaction {
  return new Proxy(transaction, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        step();
        return Reflect.apply(member, target, args);
      };
    },
  });
}

async function backendOf(): Promise<StoreBackend> {
  const options = { readOnly: false, logger: silentLogger };
  if (!database.startsWith("postgres:")) {
    const connections = await openDatabaseFile({ ...options, path: database, create: false });
    return sqlBackend(sqliteDriver(connections));
  }
  const url = new URL(database);
  const schema = url.searchParams.get("schema") ?? "";
  url.searchParams.delete("schema");
  const server = parsePostgresUrl(url.href);
  const driver = postgresDriver({ ...options, server, prepare: true, clock: systemClock });
  return sqlBackend(driver, { tables: resolveTables(undefined, { schema }) });
}

const backend = await backendOf();
await using store = await openIdentityStore({
  ...backend,
  async transaction(run) {
    const result = await backend.transaction(async (transaction) => {
      const done = await run(counted(transaction));
      step();
      return done;
    });
    step();
    return result;
  },
});
await store.credentials.reseal(3, (_, { salt, iv, data }) => ({
  key_version: 3,
  salt,
  iv,
  data: data.map((byte) => ~byte),
}));
process.stdout.write(`steps ${steps}\n`);
