/**
 * A store of identities in SQL tables: what {@linkcode openIdentityStore} needs, on top of a driver.
 *
 * @module
 */

import type { ApiKeyEntry } from "@alknet/core/api-key";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { PeerEntry } from "@alknet/core/peers";
import type {
  BackendEvents,
  ChangedNames,
  Invitation,
  Loaded,
  StoreBackend,
  StoreTransaction,
} from "@alknet/core/store-backend";
import { StoreError } from "@alknet/core/store-error";
import { readCount } from "./column.ts";
import { NotificationReader } from "./notification-reader.ts";
import {
  readApiKey,
  readAudit,
  readCredential,
  readInvitation,
  readPeer,
  SharedTexts,
} from "./rows.ts";
import type { SqlDriver, SqlRow, SqlSession, SqlStatement } from "./sql-driver.ts";
import { type Statements, statements, type Upsert } from "./statements.ts";
import { type ResolvedTables, resolveTables } from "./table-mapping.ts";

export interface SqlBackendOptions {
  /** @default our names for everything */
  readonly tables?: ResolvedTables | undefined;
  readonly clock?: Clock | undefined;
}

/** Between two removals of old notifications and audit entries: so many changes. */
const PRUNE_EVERY = 64;

type Read = (row: SqlRow) => Loaded;

/** A store's backend on `driver`, which it closes. */
export function sqlBackend(driver: SqlDriver, options: SqlBackendOptions = {}): StoreBackend {
  const { tables = resolveTables(), clock = systemClock } = options;
  const sql = statements(driver.dialect, tables);
  const notifications = new NotificationReader(driver, sql);
  let untilPrune = 0;
  /** Peers as they were loaded last. */
  let inOrder: readonly PeerEntry[] = [];

  async function* load(known: {
    peer(peerId: string): PeerEntry | undefined;
    apiKey(prefix: string): ApiKeyEntry | undefined;
  }): AsyncGenerator<{ change: number; rows: readonly Loaded[] }> {
    let change = 0;
    const shared = new SharedTexts();
    const before = inOrder;
    const now: PeerEntry[] = [];
    let at = 0;
    // Tables are read in one order: most often the next row is the next entry of the last time, which no map has to
    // be asked for.
    const knownPeer = (peerId: string): PeerEntry | undefined => {
      for (let ahead = 0; ahead < 2; ahead++) {
        const next = before[at + ahead];
        if (next?.peerId !== peerId) continue;
        at += ahead + 1;
        return next;
      }
      return known.peer(peerId);
    };
    const peer = (row: SqlRow): Loaded => {
      const loaded = readPeer(row, knownPeer, shared);
      if (loaded.kind === "peer") now.push(loaded.entry);
      return loaded;
    };
    const knownApiKey = (prefix: string): ApiKeyEntry | undefined => known.apiKey(prefix);
    const readers: readonly Read[] = [peer, (row) => readApiKey(row, knownApiKey), readCredential];
    // First the number of the change that they are as of.
    for await (const { of, rows } of driver.batches([
      sql.newest,
      sql.peers,
      sql.apiKeys,
      sql.credentials,
    ])) {
      const read = readers[of - 1];
      if (read === undefined) change = readCount("id", rows[0]?.[0]);
      yield { change, rows: read === undefined ? [] : rows.map(read) };
    }
    inOrder = now;
  }

  async function rows(names: ChangedNames): Promise<readonly Loaded[]> {
    const { peers = [], apiKeys = [], credentials = [] } = names;
    const found: Loaded[] = [];
    // One statement is one moment.
    const look = async (
      named: readonly string[],
      query: () => SqlStatement,
      read: Read,
    ): Promise<void> => {
      if (named.length === 0) return;
      for (const row of await driver.query(query())) found.push(read(row));
    };
    await look(
      peers,
      () => sql.peersNamed(peers),
      (row) => readPeer(row),
    );
    await look(
      apiKeys,
      () => sql.apiKeysNamed(apiKeys),
      (row) => readApiKey(row),
    );
    await look(credentials, () => sql.credentials, readCredential);
    return found;
  }

  async function transaction<T>(run: (transaction: StoreTransaction) => Promise<T>): Promise<T> {
    return await driver.transaction(async (session) => {
      const within = new Within(session, sql, clock);
      const result = await run(within);
      const newest = await within.finish();
      if (newest !== undefined && untilPrune-- <= 0) {
        untilPrune = PRUNE_EVERY;
        await session.query(sql.pruneNotifications(newest));
        await session.query(sql.pruneAudit);
      }
      return result;
    });
  }

  return {
    label: driver.label,
    load,
    rows,
    transaction,
    invitations: async () => {
      const found = await driver.query(sql.invitations);
      return found.flatMap((row) => readable(() => readInvitation(row)));
    },
    invitation: async (secretHash) => {
      const [row] = await driver.query(sql.invitation({ secretHash }));
      if (row === undefined) return undefined;
      try {
        return readInvitation(row);
      } catch (error) {
        throw unreadable("invitation", (error as Error).message, error);
      }
    },
    audit: async ({ after, limit }) => {
      const found = await driver.query(sql.audit(after, limit));
      return found.toReversed().flatMap((row) => readable(() => readAudit(row)));
    },
    watch: (events: BackendEvents) => notifications.watch(events),
    close: async () => {
      notifications.close();
      await driver.close();
    },
  };
}

/** One transaction, and what it has written. */
class Within implements StoreTransaction {
  readonly #session: SqlSession;
  readonly #sql: Statements;
  readonly #clock: Clock;
  #wrote = false;
  /** Number of the notification, once there is one. */
  #notified: number | undefined;

  constructor(session: SqlSession, sql: Statements, clock: Clock) {
    this.#session = session;
    this.#sql = sql;
    this.#clock = clock;
  }

  /** Every commit has a notification: one without is that of a program which forgot it. */
  async finish(): Promise<number | undefined> {
    if (this.#wrote && this.#notified === undefined) await this.notify({});
    return this.#notified;
  }

  async peer(peerId: string): Promise<PeerEntry | undefined> {
    const rows = await this.#session.query(this.#sql.forUpdate(this.#sql.peersNamed([peerId])));
    const found = rows.map((row) => {
      const loaded = readPeer(row);
      if (loaded.kind !== "peer") throw unusable(loaded);
      return loaded.entry;
    });
    return found.find((entry) => entry.peerId === peerId) ?? found[0];
  }

  async apiKey(prefix: string): Promise<ApiKeyEntry | undefined> {
    const [row] = await this.#session.query(this.#sql.apiKeysNamed([prefix]));
    if (row === undefined) return undefined;
    const loaded = readApiKey(row);
    if (loaded.kind !== "apiKey") throw unusable(loaded);
    return loaded.entry;
  }

  async holdersOf(credential: string): Promise<readonly string[]> {
    const isToken = credential.startsWith("sha256:");
    const query = isToken
      ? this.#sql.peersWithToken(credential)
      : this.#sql.peersWithKey(credential);
    const rows = query === undefined ? [] : await this.#session.query(query);
    const holders: string[] = [];
    for (const row of rows) {
      const loaded = readPeer(row);
      // What cannot be read lets nobody in.
      if (loaded.kind !== "peer" || !loaded.entry.enabled) continue;
      const { peerId, fingerprints, tokenHash } = loaded.entry;
      if (tokenHash === credential || fingerprints.includes(credential)) holders.push(peerId);
    }
    if (!isToken) return holders;
    for (const row of await this.#session.query(this.#sql.apiKeysWithToken(credential))) {
      const loaded = readApiKey(row);
      if (loaded.kind === "apiKey") holders.push(loaded.entry.prefix);
    }
    return holders;
  }

  async putPeer(entry: PeerEntry): Promise<void> {
    await this.#upsert(this.#sql.putPeer(entry));
  }

  async deletePeer(peerId: string): Promise<void> {
    await this.#write(this.#sql.deletePeer(peerId));
  }

  async putApiKey(entry: ApiKeyEntry): Promise<void> {
    await this.#upsert(this.#sql.putApiKey(entry));
  }

  async deleteApiKey(prefix: string): Promise<void> {
    await this.#write(this.#sql.deleteApiKey(prefix));
  }

  async credentials(providers?: readonly string[]): Promise<readonly Loaded[]> {
    const query =
      providers === undefined ? this.#sql.credentials : this.#sql.credentialsNamed(providers);
    return (await this.#session.query(this.#sql.forUpdate(query))).map(readCredential);
  }

  async putCredential(
    ...[provider, value]: Parameters<StoreTransaction["putCredential"]>
  ): Promise<void> {
    await this.#upsert(this.#sql.putCredential(provider, value));
  }

  async deleteCredential(provider: string): Promise<void> {
    await this.#write(this.#sql.deleteCredential(provider));
  }

  async invitation(by: { id: string } | { secretHash: string }): Promise<Invitation | undefined> {
    const [row] = await this.#session.query(this.#sql.forUpdate(this.#sql.invitation(by)));
    if (row === undefined) return undefined;
    try {
      return readInvitation(row);
    } catch (error) {
      throw unreadable("invitation", (error as Error).message, error);
    }
  }

  async putInvitation(invitation: Invitation): Promise<void> {
    await this.#upsert(this.#sql.putInvitation(invitation));
  }

  async deleteInvitation(id: string): Promise<void> {
    await this.#write(this.#sql.deleteInvitation(id));
  }

  async addAudit(entry: Parameters<StoreTransaction["addAudit"]>[0]): Promise<void> {
    await this.#write(this.#sql.addAudit(entry));
  }

  async notify(names: ChangedNames): Promise<number> {
    const [row] = await this.#session.query(this.#sql.notify(names, this.#clock.wallTime()));
    this.#notified = readCount("id", row?.[0]);
    const channel = this.#sql.notifyChannel(names, this.#notified);
    if (channel !== undefined) await this.#session.query(channel);
    return this.#notified;
  }

  async #write(statement: SqlStatement): Promise<void> {
    this.#wrote = true;
    await this.#session.query(statement);
  }

  async #upsert([update, insert]: Upsert): Promise<void> {
    this.#wrote = true;
    const updated = await this.#session.query(update);
    if (updated.length === 0) await this.#session.query(insert);
  }
}

/** A row that cannot be read is not written over: somebody may want to mend it. */
function unusable(loaded: Loaded): StoreError {
  return loaded.kind === "broken"
    ? unreadable(loaded.subject, loaded.message)
    : unreadable(loaded.kind, "it is another kind of row");
}

function unreadable(subject: string, message: string, cause?: unknown): StoreError {
  return new StoreError("STORE_CORRUPT", `the row of ${subject} cannot be used: ${message}`, {
    cause,
    hint: "mend or delete the row with the database's own tools",
  });
}

/** A row that cannot be read costs no other. */
function readable<T>(read: () => T): T[] {
  try {
    return [read()];
  } catch {
    return [];
  }
}
