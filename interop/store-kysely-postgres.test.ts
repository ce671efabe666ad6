/**
 * The store on Kysely with a real PostgreSQL, over a table with columns of PostgreSQL's own types.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { after, before } from "node:test";
import { identityStoreConformance } from "@alknet/core/conformance";
import { createIdentityStore } from "@alknet/store-sql/create-identity-store";
import { Kysely, PostgresDialect, type PostgresPool } from "kysely";
import postgres from "postgres";
import { freePort } from "@alknet/core/testing-port";
import type { Namespace } from "./netns.ts";
import { startPostgres } from "./postgres.ts";

const stack = new AsyncDisposableStack();
let port = 0;
let databases = 0;

before(async () => {
  port = await freePort();
  // On this machine's loopback: this very process is its client.
  const here = { spawn } as unknown as Namespace;
  stack.use(await startPostgres(here, port));
});

after(() => stack.disposeAsync());

const USERS = `CREATE TABLE users (
  login TEXT PRIMARY KEY,
  keys JSONB NOT NULL DEFAULT '[]',
  rights JSONB,
  active SMALLINT NOT NULL DEFAULT 1,
  token TEXT,
  shown TEXT,
  places JSONB,
  things JSONB
)`;

identityStoreConformance("Kysely and PostgreSQL", async () => {
  const name = `test_${databases++}`;
  await using owner = connect("postgres");
  await owner.sql.unsafe(`CREATE DATABASE ${name}`);
  await using first = connect(name);
  await first.sql.unsafe(USERS);
  const kept = new AsyncDisposableStack();
  return {
    open: async (options) => {
      const { sql } = kept.use(connect(name));
      const database = new Kysely<object>({ dialect: new PostgresDialect({ pool: poolOf(sql) }) });
      return await createIdentityStore({
        database,
        tables: {
          peers: {
            name: "users",
            schema: "public",
            columns: {
              peer_id: "login",
              fingerprints: "keys",
              scopes: "rights",
              enabled: "active",
              auth_token_hash: "token",
              display_name: "shown",
              addresses: "places",
              resources: "things",
            },
          },
        },
        ...options,
      });
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
});

type Sql = ReturnType<typeof postgres>;

function connect(database: string): AsyncDisposable & { sql: Sql } {
  // It would print that tables are there already.
  const quiet = { onnotice: () => {}, max: 3 };
  const sql = postgres({ host: "localhost", port, database, username: "postgres", ...quiet });
  return { sql, [Symbol.asyncDispose]: () => sql.end() };
}

/** What Kysely's dialect wants of `pg`, on postgres.js. */
function poolOf(sql: Sql): PostgresPool {
  const connectOne = async () => {
    const connection = await sql.reserve();
    return {
      query: async (text: string, values: readonly unknown[]) => {
        // As `pg` does: every value is sent as text or bytes, and the server knows what it is for.
        const sent = values.map((value) => (typeof value === "number" ? String(value) : value));
        const rows = await connection.unsafe(text, sent as never[]);
        return { command: rows.command, rowCount: rows.count, rows: [...rows] };
      },
      release: () => connection.release(),
    };
  };
  return { connect: connectOne as never, end: () => sql.end(), options: {} };
}
