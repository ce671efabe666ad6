/**
 * The stores of the revocation bench, and a program that changes them by SQL alone, as somebody else's would.
 *
 * @module
 */

import { utimesSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { IdentityStore } from "@alknet/core/identity-store";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";

/** A program that writes the tables. */
export interface Writer extends AsyncDisposable {
  /** Disable a peer, and tell. @returns when COMMIT had returned, by the machine's own clock, in nanoseconds. */
  disable(peerId: string): Promise<bigint>;
}

/** The store at a path. */
export async function openBenchStore(where: string): Promise<IdentityStore> {
  return await openSqliteStore({ path: where });
}

/** Fill a fresh store. */
export async function seed(
  where: string,
  peers: readonly { readonly peerId: string; readonly fingerprint: string }[],
): Promise<void> {
  await using store = await openBenchStore(where);
  for (const { peerId, fingerprint } of peers) {
    await store.putPeer({ peerId, fingerprints: [fingerprint], scopes: [], enabled: true });
  }
}

export async function writerOf(where: string): Promise<Writer> {
  const database = new DatabaseSync(where);
  // Whatever else is written at the moment.
  database.exec("PRAGMA busy_timeout = 5000");
  const disable = database.prepare("UPDATE peers SET enabled = 0 WHERE peer_id = ?");
  const notify = database.prepare(
    "INSERT INTO notifications (channel, payload) VALUES ('peers_changed', ?)",
  );
  return {
    async disable(peerId) {
      database.exec("BEGIN IMMEDIATE");
      disable.run(peerId);
      notify.run(JSON.stringify({ peers: [peerId] }));
      database.exec("COMMIT");
      const committed = process.hrtime.bigint();
      const now = new Date();
      utimesSync(`${where}.notify`, now, now);
      return committed;
    },
    async [Symbol.asyncDispose]() {
      database.close();
    },
  };
}
