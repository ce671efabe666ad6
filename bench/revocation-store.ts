/**
 * The stores of the revocation bench, and a program that changes them by SQL alone, as somebody else's would.
 *
 * @module
 */

import assert from "node:assert/strict";
import { utimesSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { IdentityStore } from "@alknet/core/identity-store";
import { openPostgresStore } from "@alknet/store-postgres/postgres-store";
import { parsePostgresUrl } from "@alknet/store-postgres/postgres-url";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
import postgres from "postgres";

/** A program that writes the tables. */
export interface Writer extends AsyncDisposable {
  /** Disable a peer, and tell. @returns when COMMIT had returned, by the machine's own clock, in nanoseconds. */
  disable(peerId: string): Promise<bigint>;
}

export interface SqliteWriter extends Writer {
  /** Leave a peer these rights and no others, and tell. @returns as {@linkcode Writer.disable} does. */
  leave(peerId: string, scopes: readonly string[]): Promise<bigint>;
}

/** The store at a path; or in PostgreSQL, by a URL whose `application_name` is the name of its schema. */
export async function openBenchStore(where: string): Promise<IdentityStore> {
  if (isUrl(where)) return await openPostgresStore({ url: where, schema: schemaOf(where) });
  return await openSqliteStore({ path: where });
}

/** Fill a fresh store. */
export async function seed(
  where: string,
  peers: readonly { readonly peerId: string; readonly fingerprint: string }[],
  scopes: readonly string[] = [],
): Promise<void> {
  await using store = await openBenchStore(where);
  for (const { peerId, fingerprint } of peers) {
    await store.putPeer({ peerId, fingerprints: [fingerprint], scopes, enabled: true });
  }
}

export async function writerOf(where: string): Promise<Writer> {
  return isUrl(where) ? writerOfPostgres(where) : writerOfSqlite(where);
}

function isUrl(where: string): boolean {
  return where.startsWith("postgres:");
}

function schemaOf(url: string): string {
  return parsePostgresUrl(url).applicationName;
}

function writerOfPostgres(url: string): Writer {
  const sql = postgres(url, { max: 1 });
  const table = `${schemaOf(url)}.peers`;
  return {
    async disable(peerId) {
      await sql.begin(async (transaction) => {
        const { count } = await transaction`
          UPDATE ${transaction(table)} SET enabled = 0 WHERE peer_id = ${peerId}`;
        assert.equal(count, 1);
        const names = JSON.stringify({ peers: [peerId] });
        await transaction`SELECT pg_notify('peers_changed', ${names})`;
      });
      return process.hrtime.bigint();
    },
    [Symbol.asyncDispose]: () => sql.end(),
  };
}

export function writerOfSqlite(where: string): SqliteWriter {
  const database = new DatabaseSync(where);
  // Whatever else is written at the moment.
  database.exec("PRAGMA busy_timeout = 5000");
  const disable = database.prepare("UPDATE peers SET enabled = 0 WHERE peer_id = ?");
  const leave = database.prepare("UPDATE peers SET scopes = ? WHERE peer_id = ?");
  const notify = database.prepare(
    "INSERT INTO notifications (channel, payload) VALUES ('peers_changed', ?)",
  );
  const change = (peerId: string, update: () => void): bigint => {
    database.exec("BEGIN IMMEDIATE");
    update();
    notify.run(JSON.stringify({ peers: [peerId] }));
    database.exec("COMMIT");
    const committed = process.hrtime.bigint();
    const now = new Date();
    utimesSync(`${where}.notify`, now, now);
    return committed;
  };
  return {
    disable: async (peerId) => change(peerId, () => disable.run(peerId)),
    leave: async (peerId, scopes) =>
      change(peerId, () => leave.run(JSON.stringify(scopes), peerId)),
    async [Symbol.asyncDispose]() {
      database.close();
    },
  };
}
