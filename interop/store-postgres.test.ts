/**
 * The store in a real PostgreSQL: what every store has to do, and what happens when the server, the way to it or another
 * program does what it should not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { authenticate } from "@alknet/core/access";
import { identityStoreConformance } from "@alknet/core/conformance";
import type { IdentityStore, IdentityStoreOptions } from "@alknet/core/identity-store";
import { type Logger, silentLogger } from "@alknet/core/log";
import type { PeerEntry } from "@alknet/core/peers";
import {
  type PostgresStoreOptions,
  openPostgresStore,
} from "@alknet/store-postgres/postgres-store";
import type { TableMapping } from "@alknet/store-sql/table-mapping";
import postgres from "postgres";
import { freePort } from "@alknet/core/testing-port";
import { makePki, type Pki } from "../bench/pki.ts";
import { HERE, type Postgres, startPostgres } from "./postgres.ts";

const A = `ed25519:${"a".repeat(64)}`;
const B = `ed25519:${"b".repeat(64)}`;

const stack = new AsyncDisposableStack();
let server: Postgres;
let port = 0;
let pki: Pki;
let admin: postgres.Sql;
let schemas = 0;

before(async () => {
  port = await freePort();
  pki = stack.use(await makePki());
  server = stack.use(
    await startPostgres(HERE, port, {
      hba: ["host all locked,fleet all scram-sha-256"],
      tls: { certificate: pki.named.certificatePem, key: pki.named.keyPem },
    }),
  );
  admin = connect(port);
  stack.defer(() => admin.end());
});

after(() => stack.disposeAsync());

/** Of an administrator, or of another program. */
function connect(at: number): postgres.Sql {
  return postgres({
    host: "localhost",
    port: at,
    username: "postgres",
    onnotice: () => {},
    max: 4,
  });
}

/** One connection, to begin and to commit on. */
function single(): AsyncDisposable & { sql: postgres.Sql } {
  const sql = postgres({
    host: "localhost",
    port,
    username: "postgres",
    onnotice: () => {},
    max: 1,
  });
  return { sql, [Symbol.asyncDispose]: () => sql.end() };
}

function url(query: Record<string, string> = {}, user = "postgres"): string {
  return `postgres://${user}@localhost:${port}/postgres?${new URLSearchParams(query).toString()}`;
}

function newSchema(): string {
  return `store_${schemas++}`;
}

function open(schema: string, options: PostgresStoreOptions = {}): Promise<IdentityStore> {
  return openPostgresStore({ url: url({ application_name: schema }), schema, ...options });
}

function peer(peerId: string, fingerprint: string, rest: Partial<PeerEntry> = {}): PeerEntry {
  return {
    peerId,
    fingerprints: [fingerprint],
    scopes: ["ssh:shell", "git:read"],
    enabled: true,
    ...rest,
  };
}

/** Resolves when `holds` does, which is asked whenever something about the store changes. */
function until(store: IdentityStore, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!holds()) return;
      for (const stop of stops) stop();
      resolve();
    };
    const stops = [store.onstate(look), store.subscribe(look)];
    look();
  });
}

const isStale = (store: IdentityStore): Promise<void> =>
  until(store, () => store.state.kind === "stale");
const isReady = (store: IdentityStore): Promise<void> =>
  until(store, () => store.state.kind === "ready");

/** Lines of errors and of what else is told, in the order of their coming. */
function recorder(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const note = (level: string) => (_: object, message: string) =>
    void lines.push(`${level} ${message}`);
  const logger = { ...silentLogger, info: note("info"), warn: note("warn"), error: note("error") };
  return { logger, lines };
}

identityStoreConformance("PostgreSQL", async () => {
  const schema = newSchema();
  return {
    open: (options?: IdentityStoreOptions) => open(schema, options),
    [Symbol.asyncDispose]: async () =>
      void (await admin.unsafe(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)),
  };
});

const USERS = `CREATE TABLE users (
  no BIGINT GENERATED ALWAYS AS IDENTITY,
  login VARCHAR(64) PRIMARY KEY,
  "public keys" TEXT[] NOT NULL DEFAULT '{}',
  rights JSONB,
  active BOOLEAN NOT NULL DEFAULT TRUE,
  token TEXT,
  shown TEXT,
  places VARCHAR[],
  things JSON,
  city TEXT DEFAULT 'Berlin'
)`;

function usersIn(schema: string): TableMapping {
  const columns = {
    peer_id: "login",
    fingerprints: "public keys",
    scopes: "rights",
    enabled: "active",
    auth_token_hash: "token",
    display_name: "shown",
    addresses: "places",
    resources: "things",
  };
  return { peers: { name: "users", schema, columns } };
}

identityStoreConformance("PostgreSQL over a table of users", async () => {
  const schema = newSchema();
  await admin.unsafe(`CREATE SCHEMA ${schema}; ${USERS.replace("users", `${schema}.users`)}`);
  return {
    open: (options?: IdentityStoreOptions) => open(schema, { tables: usersIn(schema), ...options }),
    [Symbol.asyncDispose]: async () => void (await admin.unsafe(`DROP SCHEMA ${schema} CASCADE`)),
  };
});

test("a mapped table keeps what is not mapped, and its own types", async () => {
  const schema = newSchema();
  await admin.unsafe(
    `CREATE SCHEMA ${schema}; ${USERS.replace("users", `${schema}.users`)};
     INSERT INTO ${schema}.users (login, "public keys", city) VALUES ('Den', '{${A}}', 'Paris')`,
  );
  await using store = await open(schema, { tables: usersIn(schema) });
  assert.equal(store.resolveFingerprint(A)?.id, "Den");
  await store.changePeer("den", (entry) => ({ ...entry!, scopes: ["git:read"], enabled: false }));
  const rows = await admin.unsafe(
    `SELECT login, "public keys" AS keys, rights, active, city FROM ${schema}.users`,
  );
  assert.deepEqual(
    [...rows],
    [{ login: "Den", keys: [A], rights: ["git:read"], active: false, city: "Paris" }],
  );
  const missing = usersIn(schema);
  await assert.rejects(open(schema, { tables: { peers: { ...missing.peers!, name: "people" } } }), {
    name: "TypeError",
    message: /cannot map peers to table people.*expected the columns "login"/,
  });
});

test("a peer that another program disables, and tells of, is cut off on every node at once", async () => {
  const schema = newSchema();
  await using den = await open(schema);
  await using shed = await open(schema);
  await den.putPeer(peer("laptop", A));
  const { change } = await den.putPeer(peer("phone", B));
  await shed.effectOf(change);
  const cut = [den, shed].map(async (store) => {
    const laptop = authenticate(store, { kind: "fingerprint", fingerprint: A });
    const phone = authenticate(store, { kind: "fingerprint", fingerprint: B });
    const { signal } = laptop.grant("ssh:shell");
    const others = [phone.revoked, phone.grant("ssh:shell").signal];
    await Promise.all([once(signal, "abort"), once(laptop.revoked, "abort")]);
    assert.ok(others.every((each) => !each.aborted));
    assert.equal(store.resolveFingerprint(A), undefined);
  });
  await admin.begin(async (sql) => {
    await sql.unsafe(`UPDATE ${schema}.peers SET enabled = 0 WHERE peer_id = 'laptop'`);
    await sql.unsafe(`NOTIFY peers_changed, '{"peers":["laptop"]}'`);
  });
  await Promise.all(cut);
});

test("a message that names nothing, or is none of ours, is a reason to read everything", async () => {
  const schema = newSchema();
  await using store = await open(schema);
  const messages = ["", "{", "null", '{"peers":"x"}', "x".repeat(7_900)];
  for (const [at, message] of messages.entries()) {
    await admin.begin(async (sql) => {
      await sql.unsafe(
        `INSERT INTO ${schema}.peers (peer_id, fingerprints) VALUES ('p${at}', '[]')`,
      );
      await sql`SELECT pg_notify('peers_changed', ${message})`;
    });
    await until(store, () => store.peer(`p${at}`) !== undefined);
  }
});

test("a change that only the table of notifications tells of is seen, too", async () => {
  const schema = newSchema();
  await using store = await open(schema);
  await admin.begin(async (sql) => {
    await sql.unsafe(`INSERT INTO ${schema}.peers (peer_id) VALUES ('laptop')`);
    await sql.unsafe(
      `INSERT INTO ${schema}.notifications (channel, payload) VALUES ('peers_changed', '{"peers":["laptop"]}')`,
    );
  });
  await until(store, () => store.peer("laptop") !== undefined);
});

test("a transaction that is rolled back tells nobody", async () => {
  const schema = newSchema();
  await using store = await open(schema);
  await using other = await open(schema);
  await store.putPeer(peer("laptop", A));
  const heard: string[] = [];
  const ended = Promise.withResolvers<void>();
  const listening = await admin.listen("peers_changed", (message) => {
    heard.push(message);
    if (message === "end") ended.resolve();
  });
  const failure = new Error("no");
  await assert.rejects(
    store.changePeer("laptop", () => {
      throw failure;
    }),
    (error) => error === failure,
  );
  await assert.rejects(store.putPeer(peer("phone", A)), { code: "DUPLICATE_FINGERPRINT" });
  await assert.rejects(
    admin.begin(async (sql) => {
      await sql.unsafe(`DELETE FROM ${schema}.peers`);
      await sql.unsafe(`NOTIFY peers_changed`);
      throw failure;
    }),
    (error) => error === failure,
  );
  const { change } = await store.putPeer(peer("desk", B));
  await other.effectOf(change);
  assert.equal(other.peers.length, 2);
  // Messages come in the order of the commits: what came before it would be here.
  await admin.notify("peers_changed", "end");
  await ended.promise;
  assert.deepEqual(heard, [`{"change":${change},"peers":["desk"]}`, "end"]);
  await listening.unlisten();
});

test("a connection that is cut off is made again, and what was changed meanwhile is seen", async () => {
  const schema = newSchema();
  const { logger, lines } = recorder();
  await using store = await open(schema, { logger });
  await store.putPeer(peer("laptop", A));
  const stale = isStale(store);
  // The change is made at the very moment of the loss, and its message is lost with the connection.
  await using program = single();
  await program.sql.unsafe(
    `BEGIN;
     SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = '${schema}';
     UPDATE ${schema}.peers SET enabled = 0;
     NOTIFY peers_changed, '{"peers":["laptop"]}';
     COMMIT`,
  );
  await stale;
  await until(
    store,
    () => store.state.kind === "ready" && store.resolveFingerprint(A) === undefined,
  );
  assert.deepEqual(
    lines.map((line) => line.replace(/:.*/, "")),
    [
      "error the store cannot be read, its last contents stay in force",
      "info the store can be read again",
    ],
  );
  // It writes and hears as before.
  await using other = await open(schema);
  const { change } = await other.putPeer(peer("phone", B));
  await store.effectOf(change);
  assert.equal(store.resolveFingerprint(B)?.id, "phone");
  await store.removePeer("phone");
});

test("while the server is down the peers of before stay in force; when it is back nothing was missed", async () => {
  const schema = newSchema();
  const { logger, lines } = recorder();
  await using store = await open(schema, { logger });
  await store.putPeer(peer("laptop", A));
  await store.putPeer(peer("phone", B));
  await server.stop();
  const reason = /^the connection to postgres:\/\/postgres@localhost:\d+\/postgres was lost: /;
  await until(store, () => store.state.kind === "stale" && reason.test(store.state.reason));
  assert.equal(store.resolveFingerprint(A)?.id, "laptop");
  await assert.rejects(store.putPeer(peer("desk", A)), { code: "STORE_UNAVAILABLE" });
  await assert.rejects(store.reload(), { code: "STORE_UNAVAILABLE" });
  // Where the store does not find it, somebody changes something.
  const elsewhere = await freePort();
  await server.start(elsewhere);
  const other = connect(elsewhere);
  await other.unsafe(`UPDATE ${schema}.peers SET enabled = 0 WHERE peer_id = 'laptop'`);
  await other.end();
  await server.stop();
  assert.equal(store.state.kind, "stale");
  await server.start();
  await isReady(store);
  assert.equal(store.resolveFingerprint(A), undefined);
  assert.equal(store.resolveFingerprint(B)?.id, "phone");
  assert.equal(lines.filter((line) => line.startsWith("error")).length, 1, lines.join("\n"));
  await store.putPeer(peer("desk", A));
});

test("a store that is closed while the server is down is closed", async () => {
  const schema = newSchema();
  const store = await open(schema);
  await server.stop();
  await isStale(store);
  await store.close();
  await server.start();
});

test("what another program is changing is waited for, and not undone", async () => {
  const schema = newSchema();
  await using store = await open(schema);
  await store.putPeer(peer("laptop", A));
  let narrowed: Promise<unknown> | undefined;
  await admin.begin(async (sql) => {
    await sql.unsafe(`UPDATE ${schema}.peers SET enabled = 0 WHERE peer_id = 'laptop'`);
    narrowed = store.changePeer("laptop", (entry) => ({ ...entry!, scopes: ["git:read"] }));
    for (let waits = 0; waits === 0;) {
      const [row] = await admin`
        SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE application_name = ${schema} AND wait_event_type = 'Lock'`;
      waits = Number(row?.["n"]);
    }
  });
  await narrowed;
  assert.equal(store.peer("laptop")?.enabled, false);
  assert.deepEqual(store.peer("laptop")?.scopes, ["git:read"]);
});

test("stores that are opened all at once make the tables once", async () => {
  const schema = `we"ird'; DROP SCHEMA public; -- $1 é`;
  const stores = await Promise.all(Array.from({ length: 6 }, () => open(schema)));
  try {
    const made = await Promise.all(
      stores.map((store, at) => store.putPeer(peer(`p${at}`, `SHA256:${String(at).repeat(64)}`))),
    );
    const newest = Math.max(...made.map(({ change }) => change));
    for (const store of stores) {
      await store.effectOf(newest);
      await store.reload();
      assert.equal(store.peers.length, 6);
    }
  } finally {
    for (const store of stores) await store.close();
  }
});

test("old notifications and audit entries go", async () => {
  const schema = newSchema();
  {
    await using _made = await open(schema);
  }
  await admin.unsafe(
    `INSERT INTO ${schema}.notifications (channel) SELECT 'records_changed' FROM generate_series(1, 5000);
     INSERT INTO ${schema}.audit (at, actor, action, subject, detail) SELECT 0, '', '', '', '{}' FROM generate_series(1, 15000)`,
  );
  await using store = await open(schema);
  await store.putPeer(peer("laptop", A));
  const [counts] = await admin.unsafe(
    `SELECT (SELECT count(*)::int FROM ${schema}.notifications) AS n, (SELECT count(*)::int FROM ${schema}.audit) AS a`,
  );
  assert.deepEqual([counts?.["n"], counts?.["a"]], [1_024, 10_000]);
});

test("tables that are not ours, are newer, or may not be written are told apart", async () => {
  const schema = newSchema();
  {
    await using store = await open(schema);
    await store.putPeer(peer("laptop", A));
  }
  await admin.unsafe(
    `CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA ${schema} TO reader;
     GRANT SELECT ON ALL TABLES IN SCHEMA ${schema} TO reader`,
  );
  const asReader = { url: url({}, "reader"), schema };
  await using reader = await openPostgresStore({ ...asReader, readOnly: true });
  assert.equal(reader.resolveFingerprint(A)?.id, "laptop");
  await assert.rejects(reader.removePeer("laptop"), { code: "STORE_READ_ONLY" });
  await using unaware = await openPostgresStore(asReader);
  await assert.rejects(unaware.removePeer("laptop"), {
    code: "STORE_READ_ONLY",
    message: /the user of postgres:\/\/reader@.* may not do that: permission denied/,
  });
  assert.equal(unaware.resolveFingerprint(A)?.id, "laptop");
  await assert.rejects(openPostgresStore({ ...asReader, schema: "nowhere" }), {
    code: "STORE_READ_ONLY",
  });
  await assert.rejects(openPostgresStore({ ...asReader, schema: "nowhere", readOnly: true }), {
    code: "STORE_READ_ONLY",
    message: /its tables are not up to date/,
  });

  await admin.unsafe(`ALTER ROLE reader SET default_transaction_read_only = on;
     GRANT ALL ON ALL TABLES IN SCHEMA ${schema} TO reader`);
  await using guarded = await openPostgresStore(asReader);
  await assert.rejects(guarded.removePeer("laptop"), {
    code: "STORE_READ_ONLY",
    message: /read-only transaction/,
  });

  await admin.unsafe(`UPDATE ${schema}.versions SET version = 9 WHERE name = 'peers'`);
  for (const readOnly of [true, false]) {
    await assert.rejects(open(schema, { readOnly }), {
      code: "STORE_NEWER",
      message: /table peers has version 9, we know up to 1/,
    });
  }

  const theirs = newSchema();
  await admin.unsafe(`CREATE SCHEMA ${theirs}; CREATE TABLE ${theirs}.audit (x INT)`);
  await assert.rejects(open(theirs), {
    code: "STORE_CORRUPT",
    message: /has a table ".*"\."audit" that is not ours/,
  });
  const [row] = await admin`
    SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = ${theirs}`;
  assert.equal(row?.["n"], 1, "all of it was rolled back");
});

test("who is not let in learns why, and nobody learns the password", async () => {
  await admin.unsafe(`CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'right'`);
  const at = (password: string): string =>
    `postgres://locked:${password}@localhost:${port}/postgres`;
  const schema = newSchema();
  await assert.rejects(openPostgresStore({ url: at("hunter2"), schema }), (error) => {
    assert.ok(error instanceof Error);
    assert.equal((error as { code?: unknown }).code, "STORE_UNAVAILABLE");
    assert.match(error.message, /password authentication failed for user "locked"/);
    const { cause } = error;
    assert.ok(!`${error.stack} ${JSON.stringify(error)} ${String(cause)}`.includes("hunter2"));
    assert.ok(!JSON.stringify(cause).includes("hunter2"));
    return true;
  });
  await using store = await openPostgresStore({ url: at("right"), schema });
  assert.equal(store.label, `postgres://locked@localhost:${port}/postgres`);
  await store.putPeer(peer("laptop", A));

  const closed = await freePort();
  await assert.rejects(openPostgresStore({ url: `postgres://localhost:${closed}/x` }), {
    code: "STORE_UNAVAILABLE",
    message: /ECONNREFUSED/,
  });
  await assert.rejects(openPostgresStore({ url: `postgres://postgres@localhost:${port}/none` }), {
    code: "STORE_UNAVAILABLE",
    message: /database "none" does not exist/,
  });
});

test("a server is verified by its certificate and its name", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alknet-store-"));
  try {
    const [root, other] = [join(folder, "root.pem"), join(folder, "other.pem")];
    writeFileSync(root, pki.root);
    using strangers = await makePki();
    writeFileSync(other, strangers.root);
    const schema = newSchema();
    await using store = await openPostgresStore({
      url: url({ sslrootcert: root, sslmode: "verify-full" }),
      schema,
    });
    await store.putPeer(peer("laptop", A));
    await using unverified = await openPostgresStore({ url: url({ sslmode: "require" }), schema });
    assert.equal(unverified.peers.length, 1);
    const [row] = await admin`
      SELECT count(*)::int AS n FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
      WHERE ssl AND application_name = 'alknet'`;
    assert.ok(Number(row?.["n"]) >= 4);
    const verified = { sslmode: "verify-full" };
    const refusals = [
      url(verified),
      url({ ...verified, sslrootcert: other }),
      url({ ...verified, sslrootcert: join(folder, "none.pem") }),
      url({ ...verified, sslrootcert: root }).replace("localhost", "127.0.0.1"),
    ];
    for (const refused of refusals) {
      await assert.rejects(openPostgresStore({ url: refused, schema }), {
        code: "STORE_UNAVAILABLE",
      });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("behind a pooler no statement is prepared under a name", async () => {
  await admin.unsafe(
    `CREATE ROLE pooled LOGIN SUPERUSER; ALTER ROLE pooled SET log_statement = 'all'`,
  );
  const schema = newSchema();
  const asPooled = { url: url({}, "pooled"), schema };
  {
    await using store = await openPostgresStore({ ...asPooled, prepare: false });
    await store.putPeer(peer("laptop", A));
    await store.putPeer(peer("laptop", A, { enabled: false }));
  }
  assert.match(server.log, /execute <unnamed>: UPDATE/);
  assert.doesNotMatch(server.log, /execute [a-z0-9]+: UPDATE/);
  await using store = await openPostgresStore(asPooled);
  await store.putPeer(peer("laptop", A, { enabled: true }));
  assert.match(server.log, /execute [a-z0-9]+: UPDATE/);
});

test("a postgres() that a program has already says where the server is, and stays as it is", async () => {
  const schema = newSchema();
  const sql = postgres({
    host: "localhost",
    port,
    username: "postgres",
    password: () => "none",
    transform: postgres.toCamel as never,
    max: 1,
  });
  try {
    await using store = await openPostgresStore({ sql, schema });
    await store.putPeer(peer("laptop", A, { resources: { a: ["b"] } }));
    await using again = await openPostgresStore({ sql, schema });
    assert.deepEqual(again.peer("laptop")?.resources, { a: ["b"] });
    assert.equal(store.label, `postgres://postgres@localhost:${port}/postgres`);
    await sql`SELECT 1`;
  } finally {
    await sql.end();
  }
});

test("the command line of several machines has one store, by a URL and a file with the password", async () => {
  await admin.unsafe(`CREATE ROLE fleet LOGIN PASSWORD 'hunter2'`);
  await admin.unsafe(`CREATE DATABASE fleet OWNER fleet`);
  const folder = mkdtempSync(join(tmpdir(), "alknet-store-"));
  try {
    const alknet = async (name: string, ...words: string[]): Promise<string> => {
      const home = join(folder, name);
      mkdirSync(home, { recursive: true, mode: 0o700 });
      writeFileSync(join(home, "password"), "hunter2\n", { mode: 0o600 });
      writeFileSync(
        join(home, "alknet.toml"),
        `[store]\nurl = "postgres://fleet@localhost:${port}/fleet"\npassword_file = "password"\n`,
      );
      const env = { ...process.env, ALKNET_HOME: home };
      const { stdout } = await promisify(execFile)("./alknet", words, { env });
      return stdout;
    };
    await alknet("den", "peers", "add", "laptop", A, "--grant", "tunnel:dial:db.internal:5432");
    const list = await alknet("shed", "peers", "list", "--json");
    assert.ok(list.includes(A), list);
    await alknet("shed", "peers", "disable", "laptop");
    assert.match(await alknet("den", "peers", "show", "laptop", "--json"), /"enabled":\s*false/);
    assert.doesNotMatch(await alknet("den", "config", "show"), /hunter2/);
    const doctor = alknet("den", "doctor", "--json").catch(
      (error: { stdout: string }) => error.stdout,
    );
    assert.match(await doctor, /postgres:\/\/fleet@localhost/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
