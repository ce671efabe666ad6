import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { identityStoreConformance } from "@alknet/core/conformance";
import type { PeerEntry } from "@alknet/core/peers";
import { Kysely, type SqliteDatabase, SqliteDialect } from "kysely";
import { createIdentityStore } from "./create-identity-store.ts";
import type { BetterSqliteLike } from "./sqlite-handle.ts";
import type { TableMapping } from "./table-mapping.ts";

/** It has no types of its own; this is what Kysely and we use of it. */
const BetterSqlite = createRequire(import.meta.url)("better-sqlite3") as new (
  path: string,
) => BetterSqliteLike & SqliteDatabase;

/** A table as a program might have it, with columns that are none of ours. */
const USERS = `CREATE TABLE users (
  "user ""no""" INTEGER PRIMARY KEY,
  login VARCHAR(64) NOT NULL,
  public_keys TEXT,
  rights TEXT,
  active BOOLEAN NOT NULL DEFAULT TRUE,
  token TEXT,
  city TEXT DEFAULT 'Berlin'
)`;

const MAPPING = {
  peers: {
    name: "users",
    columns: {
      peer_id: "login",
      fingerprints: "public_keys",
      scopes: "rights",
      enabled: "active",
      auth_token_hash: "token",
    },
  },
} satisfies TableMapping;

const KEY = `ed25519:${"0".repeat(64)}`;
const LAPTOP: PeerEntry = {
  peerId: "laptop",
  fingerprints: [KEY],
  scopes: ["ssh:shell"],
  enabled: true,
};

/** A folder for a database, which is removed with all connections to it. */
async function place(): Promise<AsyncDisposable & { path: string; closers: (() => unknown)[] }> {
  const folder = await mkdtemp(join(tmpdir(), "alknet-store-sql-"));
  const closers: (() => unknown)[] = [];
  return {
    path: join(folder, "app.db"),
    closers,
    async [Symbol.asyncDispose]() {
      for (const close of closers) await close();
      await rm(folder, { recursive: true });
    },
  };
}

function nodeSqlite(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
  return database;
}

identityStoreConformance(
  "node:sqlite over a table of users",
  async () => {
    const { path, closers, [Symbol.asyncDispose]: dispose } = await place();
    const first = nodeSqlite(path);
    first.exec(USERS);
    closers.push(() => first.close());
    return {
      open: (options) => {
        const database = nodeSqlite(path);
        closers.push(() => database.close());
        return createIdentityStore({ database, tables: MAPPING, ...options });
      },
      [Symbol.asyncDispose]: dispose,
    };
  },
  { without: ["resources", "displayName", "addresses"] },
);

identityStoreConformance("better-sqlite3", async () => {
  const { path, closers, [Symbol.asyncDispose]: dispose } = await place();
  return {
    open: (options) => {
      const database = new BetterSqlite(path);
      database.pragma("journal_mode = WAL");
      database.pragma("synchronous = OFF");
      closers.push(() => database.close());
      return createIdentityStore({ database, ...options });
    },
    [Symbol.asyncDispose]: dispose,
  };
});

identityStoreConformance(
  "Kysely over a table of users",
  async () => {
    const { path, closers, [Symbol.asyncDispose]: dispose } = await place();
    const first = nodeSqlite(path);
    first.exec(USERS);
    closers.push(() => first.close());
    return {
      open: (options) => {
        const better = new BetterSqlite(path);
        better.pragma("synchronous = OFF");
        const database = new Kysely<object>({ dialect: new SqliteDialect({ database: better }) });
        closers.push(() => database.destroy());
        return createIdentityStore({ database, tables: MAPPING, ...options });
      },
      [Symbol.asyncDispose]: dispose,
    };
  },
  { without: ["resources", "displayName", "addresses"] },
);

test("createIdentityStore() leaves alone what it does not know", async () => {
  await using at = await place();
  const database = nodeSqlite(at.path);
  at.closers.push(() => database.close());
  database.exec(USERS);
  database.exec(
    `INSERT INTO users (login, public_keys, city) VALUES ('Den', '["${KEY}"]', 'Paris')`,
  );
  await using store = await createIdentityStore({ database, tables: MAPPING });
  assert.equal(store.resolveFingerprint(KEY)?.id, "Den");
  await store.changePeer("den", (entry) => ({ ...entry!, scopes: ["git:read"] }));
  const rows = database.prepare(`SELECT * FROM users`).all();
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [
      {
        'user "no"': 1,
        login: "Den",
        public_keys: `["${KEY}"]`,
        rights: '["git:read"]',
        active: 1,
        token: null,
        city: "Paris",
      },
    ],
  );
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  assert.deepEqual(
    tables.map(({ name }) => name).filter((name) => !String(name).startsWith("sqlite_")),
    [
      "users",
      "alknet_api_keys",
      "alknet_credentials",
      "alknet_invitations",
      "alknet_notifications",
      "alknet_audit",
    ],
  );
});

test("createIdentityStore() refuses to lose what a table has no column for", async () => {
  using database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE users (login TEXT, keys TEXT)");
  await using store = await createIdentityStore({
    database,
    tables: { peers: { name: "users", columns: { peer_id: "login", fingerprints: "keys" } } },
  });
  await store.putPeer({ ...LAPTOP, scopes: [] });
  const refused: [Partial<PeerEntry>, RegExp][] = [
    [{ scopes: ["ssh:shell"] }, /cannot keep scopes of "laptop": table users has no column/],
    [{ enabled: false }, /cannot keep enabled/],
    [{ displayName: "x" }, /cannot keep display_name/],
    [{ addresses: ["den.example:1"] }, /cannot keep addresses/],
    [{ resources: { a: ["b"] } }, /cannot keep resources/],
  ];
  for (const [change, message] of refused) {
    await assert.rejects(store.putPeer({ ...LAPTOP, scopes: [], ...change }), {
      name: "TypeError",
      message,
    });
  }
  assert.deepEqual(store.resolveFingerprint(KEY)?.scopes, []);
  assert.equal((await store.audit()).length, 1);
});

test("createIdentityStore() says what is wrong with a mapping, or a database", async () => {
  using database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE users (login TEXT)");
  await assert.rejects(
    createIdentityStore({
      database,
      tables: { peers: { name: "users", columns: { peer_id: "login", fingerprints: "keys" } } },
    }),
    { name: "TypeError", message: /cannot map peers to table users.*keys/ },
  );
  await assert.rejects(createIdentityStore({ database: {} as DatabaseSync }), {
    name: "TypeError",
    message: /expected DatabaseSync of node:sqlite, Database of better-sqlite3 13, or a Kysely/,
  });
});

test("createIdentityStore() keeps out of a transaction of the connection's owner", async () => {
  using database = new DatabaseSync(":memory:");
  await using store = await createIdentityStore({ database });
  database.exec("BEGIN");
  const written = store.putPeer(LAPTOP);
  // It waits for as long as the transaction goes on.
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(store.peer("laptop"), undefined);
  database.exec("ROLLBACK");
  await written;
  assert.equal(store.resolveFingerprint(KEY)?.id, "laptop");
});

test("createIdentityStore() sees what a program writes on the same connection and tells nobody of", async () => {
  await using at = await place();
  const database = nodeSqlite(at.path);
  at.closers.push(() => database.close());
  await using store = await createIdentityStore({ database });
  await store.putPeer(LAPTOP);
  const told = new Promise<void>((resolve) => {
    store.subscribe(() => {
      if (store.resolveFingerprint(KEY) === undefined) resolve();
    });
  });
  database.exec("UPDATE alknet_peers SET enabled = 0");
  await told;
  assert.equal(store.peer("laptop")?.enabled, false);
});

test("close() waits for what it has under way in a database that stays its owner's", async () => {
  const kysely = new Kysely<object>({
    dialect: new SqliteDialect({ database: new BetterSqlite(":memory:") }),
  });
  const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const database = {
    selectFrom: (table: never) => kysely.selectFrom(table),
    connection: () => kysely.connection(),
    async executeQuery(query: { readonly sql: string }) {
      // The look for news, which is its own idea.
      if (query.sql === "SELECT 1") {
        asked.resolve();
        await answer.promise;
      }
      return await kysely.executeQuery(query as never);
    },
    withoutPlugins: () => database,
    isTransaction: false,
  };
  const store = await createIdentityStore({ database });
  await asked.promise;
  let closed = false;
  const closing = store.close().then(() => (closed = true));
  for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate);
  assert.equal(closed, false);
  answer.resolve();
  await closing;
  await kysely.destroy();
});
